//! `foretune estimate`, and the refusal of a training that would not fit.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{check, run, tiny};

fn estimate(at: &Path, arguments: &str) -> Value {
    let done = run(at, &format!("estimate --json {arguments}"));
    check(&done, 0, &[]);
    serde_json::from_str(&done.stdout).unwrap()
}

fn part(found: &Value, name: &str) -> u64 {
    let components = found["memory"]["components"].as_array().unwrap();
    let part = components.iter().find(|c| c["name"] == name).unwrap();
    part["bytes"].as_u64().unwrap()
}

/// The shape of an 8B model, without weights.
fn write_shape(at: &Path) {
    let config = json!({
        "architectures": ["MistralForCausalLM"], "vocab_size": 131_072, "hidden_size": 512,
        "intermediate_size": 1024, "num_hidden_layers": 36, "num_attention_heads": 8,
        "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-5, "rope_theta": 1e6, "tie_word_embeddings": false
    });
    fs::write(at.join("config.json"), config.to_string()).unwrap();
}

#[test]
fn counts_a_model_and_its_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("model")).unwrap();
    tiny::write(&at.join("model"));
    let found = estimate(
        at,
        "--model model --tokens 100 --rank 4 --batch 3 --memory 1GB",
    );
    // Two layers, rank 4: A of q and v [4, 32], B of q [32, 4] and of v [16, 4].
    assert_eq!(found["parameters"]["trained"], 2 * 4 * (32 + 32 + 32 + 16));
    assert_eq!(found["plan"]["rows_per_pass"], 300);
    assert_eq!(found["memory"]["fits"], true);
    let sum: u64 = found["memory"]["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(found["memory"]["step"].as_u64(), Some(sum));
    assert_eq!(found["calibration"], Value::Null);
    // The tiny model is stored in f32, so both ways of counting agree.
    let stored = estimate(at, "--model model --precision stored");
    let float = estimate(at, "--model model --precision f32");
    assert_eq!(
        part(&stored, "frozen_weights"),
        part(&float, "frozen_weights")
    );
    assert_eq!(part(&stored, "embedding"), part(&float, "embedding"));
    let all = estimate(
        at,
        "--model model --targets all --optimizer adamw_8bit --recompute on",
    );
    assert_eq!(all["plan"]["targets"].as_array().map(Vec::len), Some(7));
    let notes = all["notes"].to_string();
    assert!(notes.contains("--calibrate"), "{notes}");

    let told = run(at, "estimate --model model --memory 1kB");
    check(&told, 0, &[]);
    for words in ["frozen weights", "  [", "peak:", "does NOT fit", "note:"] {
        assert!(told.stdout.contains(words), "{words}: {}", told.stdout);
    }
}

#[test]
fn a_shape_is_enough_and_time_is_measured_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_shape(at);
    let plain = "--config config.json --tokens 64";
    let bytes = |precision: &str| {
        let found = estimate(at, &format!("{plain} --precision {precision}"));
        part(&found, "frozen_weights")
    };
    let (float, half, nf4) = (bytes("f32"), bytes("bf16"), bytes("nf4"));
    assert!(float > 2 * half - half / 10 && float < 2 * half + half / 10);
    let ratio = float as f64 / nf4 as f64;
    assert!((7.0..8.0).contains(&ratio), "{ratio}");
    let again = estimate(at, &format!("{plain} --recompute on"));
    let kept = estimate(at, plain);
    assert!(part(&again, "activations") * 4 < part(&kept, "activations"));

    let timed = estimate(
        at,
        &format!("{plain} --calibrate --examples 100 --epochs 2 --price-per-hour 3.6 --tflops 100"),
    );
    assert_eq!(timed["work"]["examples"], 200);
    assert_eq!(timed["work"]["tokens"], 200 * 64);
    let [here, rented] = &timed["times"].as_array().unwrap()[..] else {
        panic!("{timed}")
    };
    assert_eq!(
        (&here["measured"], &rented["measured"]),
        (&true.into(), &false.into())
    );
    for time in [here, rented] {
        let seconds: Vec<f64> = serde_json::from_value(time["seconds"].clone()).unwrap();
        assert!(seconds[0] > 0.0 && seconds[0] <= seconds[1] && seconds[1] <= seconds[2]);
        // At 3.6 an hour a second costs a thousandth.
        let cost = time["cost"][1].as_f64().unwrap();
        assert!(
            (cost - seconds[1] / 1000.0).abs() < 1e-9 * cost.max(1.0),
            "{time}"
        );
    }
    assert!(rented["basis"].as_str().unwrap().contains("rule of thumb"));
    let given = estimate(at, &format!("{plain} --examples 10 --tokens-per-second 64"));
    assert_eq!(given["times"][0]["seconds"][1], 10.0);
}

#[test]
fn what_cannot_be_estimated_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_shape(at);
    let cases = [
        ("--config config.json --precision stored", 2, "--model"),
        ("--config config.json --precision q3", 2, "f32, bf16, nf4"),
        (
            "--config config.json --rank 4096",
            2,
            "rank 4096 exceeds 512",
        ),
        ("--config config.json --targets w_proj", 2, "q_proj"),
        ("--config config.json --memory lots", 2, "8.5GB"),
        ("--config nowhere.json", 4, "nowhere.json"),
        ("--config config.json --model x", 2, "cannot be used with"),
    ];
    for (arguments, code, words) in cases {
        check(&run(at, &format!("estimate {arguments}")), code, &[words]);
    }
    fs::write(
        at.join("config.json"),
        "{\"architectures\":[\"GPT2LMHeadModel\"]}",
    )
    .unwrap();
    check(
        &run(at, "estimate --config config.json"),
        4,
        &["GPT2LMHeadModel", "Llama"],
    );
}

#[test]
fn a_training_that_would_not_fit_is_refused_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("model")).unwrap();
    tiny::write(&at.join("model"));
    check(
        &run(at, "dataset build --world planted --blocks 80"),
        0,
        &[],
    );
    let train = "train sft --model model --out run --steps 1 --set train.batch_size=2 \
                 --set train.validation_examples=2";
    check(
        &run(at, &format!("{train} --memory 1MB")),
        5,
        &[
            "would take about",
            "1.0 MB are available",
            "train.micro_batch_tokens",
            "--force",
        ],
    );
    assert!(!at.join("run").exists(), "nothing was written");
    check(
        &run(at, &format!("{train} --memory 1MB --force")),
        0,
        &["warning:", "starting all the same"],
    );
    check(&run(at, &format!("{train} --memory 4GB")), 0, &[]);
    let pairs = "{\"prompt\":\"What now?\",\"chosen\":\"DECISION: BUY - up.\",\"rejected\":\"DECISION: SELL - down.\"}\n";
    fs::write(at.join("pairs.jsonl"), pairs).unwrap();
    check(
        &run(
            at,
            "train dpo --pairs pairs.jsonl --from run --out dpo --memory 1MB",
        ),
        5,
        &["would take about"],
    );
}
