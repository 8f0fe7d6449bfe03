//! The whole flow on a tiny model: quickstart, and its commands one by one.

use std::fs;
use std::path::Path;

use crate::interop::{is_missing, skipped};
use crate::support::{Run, check, finish, foretune, run, tiny};
use serde_json::Value;

/// Short enough for seconds, long enough for every step to have something to do.
const SHORT: &str = "--steps 3 --set train.batch_size=4 --set train.validation_examples=6 \
                     --set evaluate.max_decisions=12 --set evaluate.calibration_decisions=12 \
                     --set evaluate.replicates=100 --set check.max_new_tokens=8 --model model";

fn with_model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    tiny::write(&model);
    folder
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn quickstart_runs_through_and_says_what_it_skipped() {
    let folder = with_model();
    let at = folder.path();
    let done = run(
        at,
        &format!("quickstart --world planted --blocks 120 --json {SHORT}"),
    );
    check(
        &done,
        0,
        &[
            "[1/7]",
            "[7/7]",
            "train the adapter",
            "no comparison with llama.cpp",
        ],
    );
    let report = json(&done);
    let names: Vec<_> = report["arms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arm| arm["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["base", "adapter", "majority", "persistence", "logistic"]
    );
    for arm in report["arms"].as_array().unwrap() {
        for score in [
            "accuracy",
            "balanced_accuracy",
            "accuracy_as_answered",
            "balanced_accuracy_as_answered",
            "log_loss",
            "brier",
        ] {
            let (value, interval) = (&arm[score], &arm[format!("{score}_interval")]);
            assert!(value.is_number(), "{score} of {arm}");
            assert!(
                interval[0].as_f64() <= interval[1].as_f64(),
                "{score} of {arm}"
            );
        }
    }
    assert!(report["train"]["tokens_per_second"].as_f64() > Some(0.0));
    assert!(report["train"]["wall_seconds"].as_f64() > Some(0.0));
    assert!(report["train"]["peak_memory_bytes"].is_u64());
    assert_eq!(report["train"]["examples_used"], 12);
    assert_eq!(report["buy_and_hold"]["position_changes"], 2);
    let fitted_on = &report["evaluation"]["calibration_decisions"];
    assert!(fitted_on.as_u64() > Some(0));
    let findings = report["findings"].as_array().unwrap();
    let served = findings
        .iter()
        .find(|finding| finding["about"] == "as_answered")
        .unwrap();
    let text = served["text"].as_str().unwrap();
    assert!(
        text.contains("as llama.cpp serves it")
            && text.contains(&format!("{fitted_on} validation")),
        "{text}"
    );
    assert_eq!(report["world"]["bayes_accuracy"], 0.9);
    assert!(report["edge_over_majority"].is_number());
    assert!(report["edge_over_majority_interval"].is_array());
    assert!(report["dataset"]["counts"]["train"]["BUY"].as_u64() > Some(0));
    assert_eq!(report["check"], Value::Null);
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("no comparison with llama.cpp"),
        "{warnings}"
    );

    let out = at.join("runs/quickstart-planted");
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("no comparison with llama.cpp"));
    assert!(!page.contains("http://") || page.contains("http://www.w3.org"));
    let written: Value =
        serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(written["arms"], report["arms"]);
    let steps: Vec<_> = lines(&out.join("metrics.jsonl"))
        .into_iter()
        .filter(|line| line["loss"].is_number())
        .collect();
    assert_eq!(steps.len(), 3);
    let decisions = lines(&out.join("decisions.jsonl"));
    assert_eq!(decisions.len() % 5, 0);
    assert!(
        decisions
            .iter()
            .all(|record| record["outcome"]["label"].is_string())
    );
    for file in [
        "adapter.gguf",
        "adapter/adapter_model.safetensors",
        "settings.toml",
        "dataset/world.json",
    ] {
        assert!(out.join(file).exists(), "{file}");
    }
}

#[test]
fn the_commands_one_by_one_give_what_quickstart_gives() {
    let folder = with_model();
    let at = folder.path();
    let settings = SHORT.replace("--steps 3 ", "").replace("--model model", "");
    let all = run(
        at,
        &format!("quickstart --world null --blocks 120 --skip-check --json {SHORT}"),
    );
    check(&all, 0, &["skipped on request"]);
    check(
        &run(at, "dataset build --world null --blocks 120 --out data"),
        0,
        &[],
    );
    check(
        &run(
            at,
            &format!("train sft --dataset data --out runs/own {SHORT}"),
        ),
        0,
        &[],
    );
    let exported = run(at, "export lora-gguf runs/own --json");
    check(&exported, 0, &[]);
    let again = run(at, "export peft runs/own --out peft --json");
    check(&again, 0, &[]);
    let evaluated = run(at, &format!("evaluate runs/own --json {settings}"));
    check(&evaluated, 0, &[]);
    assert_eq!(json(&evaluated)["arms"], json(&all)["arms"]);
    let same = |name: &str| {
        let left = fs::read(at.join("runs/own").join(name)).unwrap();
        assert!(
            left == fs::read(at.join("runs/quickstart-null").join(name)).unwrap(),
            "{name}"
        );
    };
    same("adapter/adapter_model.safetensors");
    same("decisions.jsonl");
    let copy = fs::read(at.join("peft/adapter_model.safetensors")).unwrap();
    assert!(copy == fs::read(at.join("runs/own/adapter/adapter_model.safetensors")).unwrap());

    let gated = run(at, &format!("evaluate runs/own --gate {settings}"));
    assert_eq!(gated.code, 5, "{gated:?}");
    assert!(gated.stdout.contains("refused"));
    // The tiny directory's tokenizer has no merges, which llama.cpp does not take.
    check(&run(at, "check runs/own"), 4, &["GGUF", "hint:"]);
    fs::remove_file(at.join("model/model.safetensors")).unwrap();
    fs::remove_dir_all(at.join("model")).unwrap();
    check(&run(at, "evaluate runs/own"), 4, &["model"]);
}

#[test]
fn an_adapter_is_not_used_on_another_base() {
    let folder = with_model();
    let at = folder.path();
    check(
        &run(at, "dataset build --world planted --blocks 80"),
        0,
        &[],
    );
    check(&run(at, &format!("train sft {SHORT}")), 0, &[]);
    let config = at.join("model/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("10000.0", "20000.0")).unwrap();
    check(
        &run(at, "export lora-gguf runs/sft"),
        4,
        &["trained on", "hint:"],
    );
    check(&run(at, "evaluate runs/sft"), 4, &["trained on"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_checkpoint_to_resume_from() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let folder = with_model();
    let at = folder.path();
    check(
        &run(at, "dataset build --world planted --blocks 80"),
        0,
        &[],
    );
    let long = "train sft --out run --model model --set train.epochs=1000.0 --set train.max_examples=0 \
                --set train.batch_size=2 --set train.validate_every=0";
    let child = foretune(at)
        .args(long.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let metrics = at.join("run/metrics.jsonl");
    while fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() < 3)
        || !metrics.exists()
    {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "no step in a minute"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let signalled = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(signalled.success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(
        stderr.contains("interrupted after step") && stderr.contains("--resume"),
        "{stderr}"
    );
    assert!(!at.join("run/manifest.json").exists() && !at.join("run/adapter").exists());
    check(&run(at, "evaluate run"), 2, &["not a run"]);
}

#[test]
fn a_resumed_training_equals_an_uninterrupted_one() {
    let folder = with_model();
    let at = folder.path();
    check(
        &run(at, "dataset build --world planted --blocks 80"),
        0,
        &[],
    );
    check(&run(at, &format!("train sft --out whole {SHORT}")), 0, &[]);
    check(
        &run(at, &format!("train sft --out whole --resume {SHORT}")),
        0,
        &[],
    );
    check(&run(at, &format!("train sft --out other {SHORT}")), 0, &[]);
    let read =
        |run: &str| fs::read(at.join(run).join("adapter/adapter_model.safetensors")).unwrap();
    assert!(read("whole") == read("other"));
    let changed = run(
        at,
        &format!("train sft --out whole --resume {SHORT} --set train.seed=99"),
    );
    check(&changed, 2, &["checkpoint", "hint:"]);
}

#[test]
fn a_training_that_gets_worse_stops_and_keeps_its_best_adapter() {
    let folder = with_model();
    let at = folder.path();
    check(
        &run(at, "dataset build --world planted --blocks 80"),
        0,
        &[],
    );
    // Far too large a step: after the warm-up the loss rises.
    let settings = SHORT.replace("--steps 3", "--steps 40");
    let wild = "--set train.epochs=10.0 --set train.learning_rate=0.5 --set train.warmup_ratio=0.2 \
                --set train.validate_every=2 --set train.early_stopping=2 --set train.keep=best";
    let done = run(at, &format!("train sft --out run {settings} {wild}"));
    check(&done, 0, &[]);
    let manifest = fs::read_to_string(at.join("run/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let training = &manifest["training"];
    let (steps, kept) = (&training["steps"], &training["kept_step"]);
    assert_eq!(training["stopped_early"], true, "{training}");
    assert_eq!(steps.as_u64().unwrap(), kept.as_u64().unwrap() + 4);
    let said = [
        format!("stopped after step {steps}: the validation loss no longer fell"),
        format!("kept the adapter of step {kept}, whose validation loss is the lowest"),
    ];
    for text in said {
        assert!(done.stdout.contains(&text), "{done:?}");
    }
    let best = lines(&at.join("run/metrics.jsonl"))
        .into_iter()
        .filter(|line| line["validation_loss"].is_number())
        .min_by(|a, b| {
            let loss = |line: &Value| line["validation_loss"].as_f64().unwrap();
            loss(a).total_cmp(&loss(b))
        });
    assert_eq!(best.unwrap()["step"], *kept);
}

#[test]
fn preference_training_goes_on_from_a_run_and_is_evaluated_like_one() {
    let folder = with_model();
    let at = folder.path();
    check(
        &run(at, "dataset build --world planted --blocks 120 --out data"),
        0,
        &[],
    );
    check(
        &run(
            at,
            &format!("train sft --dataset data --out sft {SHORT} --set train.dropout=0"),
        ),
        0,
        &[],
    );
    let pairs: Vec<String> = lines(&at.join("data/examples.jsonl"))
        .iter()
        .take(6)
        .map(|example| {
            let turns = example["messages"].as_array().unwrap();
            let pair = serde_json::json!({
                "prompt": [turns[0]],
                "chosen": [turns[1]],
                "rejected": "DECISION: HOLD - no reason at all.",
            });
            pair.to_string()
        })
        .collect();
    let write = |lines: &[String]| fs::write(at.join("pairs.jsonl"), lines.join("\n")).unwrap();
    write(&pairs);
    let short = "--steps 4 --set train.epochs=2.0 --set train.batch_size=3 \
                 --set dpo.learning_rate=1e-2 --json";
    let done = run(
        at,
        &format!("train dpo --pairs pairs.jsonl --from sft --out dpo {short}"),
    );
    check(&done, 0, &[]);
    let history = json(&done)["preference"]["history"].clone();
    let first = &history[0];
    // Before the first step the model is its own reference.
    assert!((first["loss"].as_f64().unwrap() - 2.0_f64.ln()).abs() < 1e-4);
    assert!(
        history[3]["reward_margin"].as_f64() > Some(0.0),
        "{history}"
    );
    let settings = SHORT.replace("--steps 3 ", "").replace("--model model", "");
    check(&run(at, "export lora-gguf dpo"), 0, &[]);
    check(&run(at, &format!("evaluate dpo {settings}")), 0, &[]);

    let short = "--steps 1 --set train.max_tokens=400 --set train.too_long=cut_end --json";
    let cut = run(
        at,
        &format!("train dpo --pairs pairs.jsonl --from sft --out cut {short}"),
    );
    check(&cut, 0, &["6 of 6 examples are longer", "lost their end"]);
    assert_eq!(json(&cut)["training"]["examples_cut"], 6);

    let last = pairs.len() + 1;
    write(&[pairs, vec!["{\"prompt\":\"a\"}".to_owned()]].concat());
    check(
        &run(at, "train dpo --pairs pairs.jsonl --from sft --out other"),
        3,
        &["pairs.jsonl", &format!("line {last}"), "no field `chosen`"],
    );
    check(
        &run(
            at,
            "train dpo --pairs pairs.jsonl --from sft --set dpo.beta=-1",
        ),
        2,
        &["dpo.beta", "a positive number"],
    );
}

/// llama.cpp, from its wheel, loads the base and the exported adapter and answers as we do. A
/// machine without python3, pip or network says so and goes on.
#[test]
fn llama_cpp_answers_as_we_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    tiny::write_gguf(&at.join("model.gguf"));
    // The random model neither writes the form nor is asked to; every adapter matrix is trained,
    // on every projection, so that a wrongly permuted or scaled one shows.
    let settings = "--set check.form_rate=0 --set check.grounded=0 --set check.max_new_tokens=24 --set check.prompts=6 \
                    --set check.review=12 --set check.one_class=warn";
    let all = "--set train.targets=[\"q_proj\",\"k_proj\",\"v_proj\",\"o_proj\",\"gate_proj\",\"up_proj\",\"down_proj\"]";
    check(
        &run(at, "dataset build --world planted --blocks 120 --out data"),
        0,
        &[],
    );
    check(
        &run(
            at,
            &format!(
                "train sft --dataset data --out run --steps 12 --model model.gguf \
                 --set train.batch_size=4 --set train.learning_rate=2e-2 \
                 --set train.validation_examples=6 {all}"
            ),
        ),
        0,
        &[],
    );
    check(&run(at, "export lora-gguf run"), 0, &[]);
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("llama-cache");
    let arguments = format!("check run --json {settings}");
    let mut command = foretune(at);
    command
        .args(arguments.split_whitespace())
        .env("FORETUNE_CACHE", &cache);
    let compared = finish(&mut command);
    if is_missing(&compared) {
        skipped("llama_cpp_answers_as_we_do", &compared.stderr);
        return;
    }
    check(&compared, 0, &[]);
    let outcome = json(&compared);
    assert_eq!(outcome["prompts"], 6, "{outcome}");
    assert_eq!(outcome["mismatches"], 0, "{outcome}");
    // Ties end a comparison early; most answers must have been compared to their end.
    let exact = outcome["exact"].as_u64().unwrap();
    assert!(exact >= 3, "{outcome}");
    // The merged model decides as we do, too.
    let artefacts = outcome["gate"]["artefacts"].as_array().unwrap();
    let blessed = |artefact: &Value| artefact["blessed"] == true;
    assert!(
        artefacts.len() == 2 && artefacts.iter().all(blessed),
        "{outcome}"
    );
}
