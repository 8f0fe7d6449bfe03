//! How sample answers are written, and what the chat template is told about reasoning.

use std::fs;
use std::path::Path;

use crate::support::{check, run, tiny};
use serde_json::{Value, json};

const SHORT: &str =
    "--steps 2 --set train.batch_size=2 --set train.validation_examples=4 --model model";

/// A folder with a tiny model, a data set and a trained run.
fn trained() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    tiny::write(&model);
    let built = run(folder.path(), "dataset build --world planted --blocks 80");
    check(&built, 0, &[]);
    let trained = run(folder.path(), &format!("train sft --out run {SHORT}"));
    check(&trained, 0, &[]);
    folder
}

/// Evaluates with more flags and returns the answers on the page.
fn answers(at: &Path, flags: &str) -> Vec<String> {
    let evaluated = run(
        at,
        &format!(
            "evaluate run --set evaluate.max_decisions=10 --set evaluate.calibration_decisions=10 \
             --set evaluate.replicates=100 --set check.max_new_tokens=24 {flags}"
        ),
    );
    check(&evaluated, 0, &[]);
    let page = fs::read_to_string(at.join("run/report.html")).unwrap();
    let parts = page.split("<dd><pre>").skip(1);
    let found: Vec<String> = parts
        .map(|part| part.split("</pre>").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        found.len(),
        6,
        "three prompts, answered by adapter and base"
    );
    found
}

#[test]
fn answers_are_drawn_by_seed_and_held_to_their_form() {
    let folder = trained();
    let at = folder.path();
    let greedy = answers(at, "");
    let is_decision = |answer: &String| {
        ["BUY", "SELL", "HOLD"]
            .iter()
            .any(|name| answer.starts_with(&format!("DECISION: {name} -")))
    };
    // A random model does not find the form by itself.
    assert!(!greedy.iter().all(is_decision), "{greedy:?}");
    assert_eq!(greedy, answers(at, "--temperature 0 --answer-seed 5"));
    let drawn = answers(at, "--temperature 1.5 --answer-seed 5");
    assert_ne!(greedy, drawn);
    assert_eq!(drawn, answers(at, "--temperature 1.5 --answer-seed 5"));
    assert_ne!(drawn, answers(at, "--temperature 1.5 --answer-seed 6"));
    // One token to draw from is the most probable one.
    assert_eq!(greedy, answers(at, "--temperature 1.5 --top-k 1"));
    assert_eq!(greedy, answers(at, "--temperature 1.5 --top-p 0.000001"));
    let held = answers(at, "--answer-form decision");
    assert!(held.iter().all(is_decision), "{held:?}");
    let held = answers(at, "--answer-form decision --temperature 2");
    assert!(held.iter().all(is_decision), "{held:?}");

    let refused = run(at, "evaluate run --temperature=-1");
    check(&refused, 2, &["answers.temperature"]);
    check(&run(at, "evaluate run --top-p 0"), 2, &["answers.top_p"]);
    check(
        &run(at, "evaluate run --answer-form essay"),
        2,
        &["decision"],
    );
    let short = "evaluate run --answer-form decision --set check.max_new_tokens=3 \
                 --set evaluate.max_decisions=10 --set evaluate.calibration_decisions=10";
    check(&run(at, short), 2, &["only 3 are allowed", "hint:"]);
}

#[test]
fn the_template_is_told_about_reasoning_when_asked_to() {
    let folder = trained();
    let at = folder.path();
    let path = at.join("model/tokenizer_config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let template = config["chat_template"].as_str().unwrap();
    config["chat_template"] = json!(format!(
        "{{% if enable_thinking is defined %}}{{{{ raise_exception('told ' ~ enable_thinking) }}}}\
         {{% endif %}}{template}"
    ));
    fs::write(&path, config.to_string()).unwrap();
    let train = |more: &str| run(at, &format!("train sft --out other {SHORT} {more}"));
    check(&train(""), 0, &[]);
    check(&train("--set model.thinking=template"), 0, &[]);
    check(&train("--set model.thinking=on"), 4, &["told True"]);
    check(&train("--set model.thinking=off"), 4, &["told False"]);
    check(&train("--set model.thinking=maybe"), 2, &["thinking"]);
}
