//! A data set goes to another machine and is still itself there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{check, finish, foretune, run, tiny};
use serde_json::Value;

const SHORT: &str = "--set train.batch_size=3 --set train.max_examples=10 \
                     --set train.validation_examples=4 --model model";

/// A folder with a tiny model in `model`, and a data set in `dataset`.
fn with_both() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    tiny::write(&model);
    let built = run(folder.path(), "dataset build --world planted --blocks 80");
    check(&built, 0, &[]);
    folder
}

fn json_of(at: &Path, arguments: &str) -> Value {
    let done = run(at, &format!("{arguments} --json"));
    check(&done, 0, &[]);
    serde_json::from_str(&done.stdout).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Writes two preference pairs.
fn pairs(path: &Path) {
    let text = "{\"prompt\":\"Up?\",\"chosen\":\"DECISION: BUY - up\",\"rejected\":\"DECISION: SELL - up\"}\n\
                {\"id\":\"two\",\"prompt\":\"Down?\",\"chosen\":\"DECISION: SELL - down\",\"rejected\":\"DECISION: HOLD - down\"}\n";
    fs::write(path, text).unwrap();
}

#[test]
fn the_same_bundle_on_any_number_of_threads_and_itself_after_the_journey() {
    let folder = with_both();
    let at = folder.path();
    pairs(&at.join("pairs.jsonl"));
    let pack = format!("pack --recipe trl --pairs pairs.jsonl --out a/one.tar.zst {SHORT}");
    let told = json_of(at, &pack);
    let words = pack.replace("a/one", "b/two");
    let again = finish(
        foretune(at)
            .args(words.split_whitespace())
            .env("RAYON_NUM_THREADS", "1"),
    );
    check(&again, 0, &[]);
    let bytes = fs::read(at.join("a/one.tar.zst")).unwrap();
    assert!(bytes == fs::read(at.join("b/two.tar.zst")).unwrap());
    assert_eq!(told["bytes"], bytes.len());
    assert!(
        told["about"]["recipe"]["differences"]
            .as_array()
            .unwrap()
            .len()
            >= 3
    );

    let verified = json_of(at, "pack verify a/one.tar.zst");
    assert_eq!(verified["about"], told["about"]);
    let unpacked = json_of(at, "unpack a/one.tar.zst --out work");
    assert_eq!(unpacked["members"], verified["members"]);
    for name in [
        "examples.jsonl",
        "test.jsonl",
        "manifest.json",
        "templates/prompt.jinja",
    ] {
        let sent = fs::read(at.join("dataset").join(name)).unwrap();
        assert!(
            sent == fs::read(at.join("work/dataset").join(name)).unwrap(),
            "{name}"
        );
    }
    // The data set that arrived is one, the settings are ones.
    check(
        &run(
            at,
            &format!(
                "--settings work/foretune.toml train sft --dataset work/dataset --out r {SHORT}"
            ),
        ),
        0,
        &[],
    );
    check(
        &run(at, "unpack a/one.tar.zst --out work"),
        2,
        &["not an empty directory", "--out"],
    );
    let checked = |folder: &Path| {
        Command::new("sh")
            .arg("work/verify.sh")
            .current_dir(folder)
            .output()
            .unwrap()
    };
    let sound = checked(at);
    assert!(sound.status.success(), "{sound:?}");
    fs::write(at.join("work/dataset/test.jsonl"), "{}\n").unwrap();
    let altered = checked(at);
    assert!(!altered.status.success());
    assert!(String::from_utf8_lossy(&altered.stdout).contains("dataset/test.jsonl"));
}

#[test]
fn an_altered_archive_is_refused_with_its_member() {
    let folder = with_both();
    let at = folder.path();
    check(&run(at, "pack"), 0, &[]);
    let sound = fs::read(at.join("bundle.tar.zst")).unwrap();
    let mut tar = zstd::decode_all(&sound[..]).unwrap();
    let needle = b"\"split\":\"test\"";
    let place = tar.windows(needle.len()).position(|w| w == needle).unwrap();
    tar[place + 11] = b'b';
    fs::write(
        at.join("bad.tar.zst"),
        zstd::encode_all(&tar[..], 3).unwrap(),
    )
    .unwrap();
    for command in ["pack verify bad.tar.zst", "unpack bad.tar.zst --out work"] {
        let refused = run(at, command);
        check(
            &refused,
            3,
            &["member `dataset/test.jsonl` at byte", "is altered", "hint:"],
        );
    }
    assert!(!at.join("work").exists());
    fs::write(at.join("half.tar.zst"), &sound[..sound.len() / 2]).unwrap();
    check(
        &run(at, "pack verify half.tar.zst"),
        3,
        &["is damaged", "copy the archive again"],
    );
    check(&run(at, "pack verify nowhere"), 3, &["nowhere"]);
    // A data set that is not what its manifest says is not packed.
    fs::write(at.join("dataset/datasheet.md"), "other").unwrap();
    check(&run(at, "pack --out other.tar.zst"), 3, &["datasheet.md"]);
    assert!(!at.join("other.tar.zst").exists());
}

#[test]
fn what_is_there_is_not_overwritten() {
    let folder = with_both();
    let at = folder.path();
    fs::write(at.join("notes.txt"), "mine").unwrap();
    fs::write(at.join("empty"), "").unwrap();
    for out in ["notes.txt", "empty", "model"] {
        let done = run(at, &format!("pack --out {out}"));
        check(&done, 2, &["exists and is no zstd archive"]);
        let done = run(at, &format!("audit dataset --html {out}"));
        check(&done, 2, &["exists and is no HTML page"]);
    }
    assert_eq!(fs::read(at.join("notes.txt")).unwrap(), b"mine");
    let page = fs::read(at.join("dataset/audit.html")).unwrap();
    for command in [
        "pack --out dataset/audit.html",
        "pack --out dataset/deep/bundle.tar.zst",
        "audit dataset --html dataset/audit.html",
        "audit dataset/test.jsonl --html dataset/other.html",
    ] {
        check(&run(at, command), 2, &["lies in the data set"]);
    }
    assert!(fs::read(at.join("dataset/audit.html")).unwrap() == page);
    assert!(!at.join("dataset/deep").exists() && !at.join("dataset/other.html").exists());
    // What was written before is replaced.
    check(&run(at, "pack"), 0, &[]);
    check(&run(at, "pack"), 0, &[]);
    check(
        &run(at, "pack --pairs"),
        2,
        &["has no pairs of its own", "--pairs pairs.jsonl"],
    );
}

#[test]
fn formula_samples_go_along_when_asked_for() {
    let folder = with_both();
    let at = folder.path();
    let missing = run(at, "pack --include-formulas");
    check(
        &missing,
        3,
        &[
            "formulas/formula_samples.json",
            "foretune formulas examples --out formulas",
        ],
    );
    let samples = "{\"id\":\"a\"}\n{\"id\":\"b\"}\n";
    fs::create_dir(at.join("formulas")).unwrap();
    fs::write(at.join("formulas/formula_samples.jsonl"), samples).unwrap();
    let sheet = |digest: &str| {
        let text = format!("{{\"examples\":2,\"sha256\":\"{digest}\"}}");
        fs::write(at.join("formulas/formula_samples.json"), text).unwrap();
    };
    sheet("00");
    check(
        &run(at, "pack --include-formulas"),
        3,
        &["formula_samples.jsonl", "changed"],
    );
    // sha256sum of the two lines.
    sheet("aed840b5eabc1e092391c784bf8a6ae67a7c536cf1a521689af490f6ea9ac42b");
    let told = json_of(at, "pack --include-formulas");
    assert_eq!(told["about"]["formulas"], 2);
    let verified = json_of(at, "pack verify bundle.tar.zst");
    assert_eq!(
        verified["members"]["formulas/formula_samples.jsonl"]["bytes"],
        samples.len()
    );
}

/// Every recipe's scripts parse, and its rows are the native run's.
#[test]
fn a_recipe_has_the_rows_masks_and_order_of_the_native_run() {
    let folder = with_both();
    let at = folder.path();
    pairs(&at.join("pairs.jsonl"));
    for trainer in ["trl", "axolotl", "unsloth", "llama-factory"] {
        let pack =
            format!("pack --recipe {trainer} --pairs pairs.jsonl --out {trainer}.tar.zst {SHORT}");
        check(&run(at, &pack), 0, &[]);
        check(
            &run(at, &format!("unpack {trainer}.tar.zst --out {trainer}")),
            0,
            &[],
        );
        let recipe = at.join(trainer).join("recipe");
        for script in ["run.sh", "preflight.sh", "launch.sh"] {
            let parsed = Command::new("sh")
                .arg("-n")
                .arg(recipe.join(script))
                .output()
                .unwrap();
            assert!(parsed.status.success(), "{trainer} {script} {parsed:?}");
        }
        for script in fs::read_dir(&recipe)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if script.extension().is_some_and(|end| end == "py") {
                let parsed = Command::new("python3")
                    .args(["-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())"])
                    .arg(&script)
                    .output()
                    .unwrap();
                assert!(parsed.status.success(), "{parsed:?}");
            }
        }
        let ordered = Command::new("python3")
            .args(["recipe/bundle.py", "ordered", "out/rows.jsonl"])
            .current_dir(at.join(trainer))
            .output()
            .unwrap();
        assert!(ordered.status.success(), "{ordered:?}");
        same_rows(at, &at.join(trainer));
    }
}

/// Compares a bundle's rows with each other and with the log of a native run.
fn same_rows(at: &Path, bundle: &Path) {
    let recipe = bundle.join("recipe");
    let steps: Vec<Vec<usize>> = fs::read_to_string(recipe.join("sft_order.txt"))
        .unwrap()
        .lines()
        .map(|line| line.split(' ').map(|row| row.parse().unwrap()).collect())
        .collect();
    let sizes: Vec<usize> = steps.iter().map(Vec::len).collect();
    assert_eq!(sizes, [3, 3, 3, 1]);
    let rows = lines(&recipe.join("tokens/sft.jsonl"));
    let texts = lines(&bundle.join("dataset/examples.jsonl"));
    let find = |row: usize| rows.iter().find(|r| r["row"] == row).unwrap();
    for row in steps.iter().flatten() {
        assert_eq!(find(*row)["id"], texts[*row]["id"]);
    }
    // The native run's log counts the same tokens after every step.
    if !at.join("runs/native").exists() {
        check(
            &run(at, &format!("train sft --out runs/native {SHORT}")),
            0,
            &[],
        );
    }
    let log = lines(&at.join("runs/native/metrics.jsonl"));
    let counted: Vec<u64> = log
        .iter()
        .filter(|record| record["total_steps"].is_u64())
        .map(|record| record["tokens"].as_u64().unwrap())
        .collect();
    let mut sum = 0;
    let tokens: Vec<u64> = steps
        .iter()
        .map(|step| {
            for row in step {
                sum += find(*row)["input_ids"].as_array().unwrap().len() as u64;
            }
            sum
        })
        .collect();
    assert_eq!(tokens, counted);
    // A byte-level model: the supervised tokens spell the answer and its end, weighted tokens the
    // decision.
    let ordered = lines(&bundle.join("out/rows.jsonl"));
    assert_eq!(ordered.len(), 10);
    for (row, ordered) in steps.iter().flatten().zip(&ordered) {
        let encoded = find(*row);
        let answer = texts[*row]["messages"][1]["content"].as_str().unwrap();
        let mask = encoded["completion_mask"].as_array().unwrap();
        let on = mask.iter().filter(|on| **on == 1).count();
        assert_eq!(on, answer.len() + 1);
        let labels = ordered["labels"].as_array().unwrap();
        assert_eq!(ordered["input_ids"], encoded["input_ids"]);
        for ((label, id), on) in labels
            .iter()
            .zip(encoded["input_ids"].as_array().unwrap())
            .zip(mask)
        {
            assert_eq!(label == id, *on == 1, "{label} {id} {on}");
        }
        let decision = texts[*row]["label"].as_str().unwrap();
        assert_eq!(encoded["weights"].as_array().unwrap().len(), decision.len());
    }
    assert_eq!(lines(&recipe.join("tokens/pairs.jsonl")).len(), 2);
    assert!(recipe.join("start/adapter_model.safetensors").is_file());
    assert!(recipe.join("dpo_order.txt").is_file());
}

#[test]
fn a_recipe_needs_a_base_that_the_trainer_can_load() {
    let folder = with_both();
    let at = folder.path();
    let unnamed = run(
        at,
        "pack --recipe trl --text-only --model pypi:some-model==1.0#x.gguf",
    );
    check(&unnamed, 2, &["no model that trl loads", "--base"]);
    let named = "pack --recipe axolotl --text-only --model hf:org/model@v1 --out text.tar.zst";
    let told = json_of(at, named);
    assert_eq!(told["about"]["recipe"]["tokens"], false);
    check(&run(at, "unpack text.tar.zst --out text"), 0, &[]);
    let config = fs::read_to_string(at.join("text/recipe/axolotl-sft.yaml")).unwrap();
    for line in [
        "base_model: \"org/model\"",
        "revision_of_model: \"v1\"",
        "type: \"chat_template\"",
        "curriculum_sampling: true",
        "learning_rate: 0.002",
    ] {
        assert!(config.contains(line), "{line} is not in {config}");
    }
    assert!(!at.join("text/recipe/tokens").exists());
    check(
        &run(at, "pack --recipe trl --set train.alpha=1.5 --model model"),
        2,
        &["train.alpha"],
    );
    check(&run(at, "pack --base x"), 2, &["--recipe"]);
}
