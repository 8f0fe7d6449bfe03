//! More of the shadow service: a full disk while it is live, its settings, and the ledger of what was
//! judged. The folder, with its models and candles, is that of `shadow`.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::shadow::{HOUR, Service, ask, copy, folder, length, object, records, up_to_now};
use crate::support::{check, foretune, run};

#[cfg(unix)]
#[test]
fn a_live_service_on_a_full_disk_says_so_decides_nothing_and_loses_nothing() {
    let at = folder();
    up_to_now(&at.join("recent"));
    let of = |log: &str| {
        format!(
            "shadow --registry none --champion runs/a --challenger runs/b --log {log} \
             --late-after 360000 --listen 127.0.0.1:0 --data recent"
        )
    };
    // Hundred hours of decisions do not go into 16 blocks of 1024 bytes.
    let limited = format!(
        "trap '' XFSZ; ulimit -f 16; exec {} {}",
        env!("CARGO_BIN_EXE_foretune"),
        of("crowded")
    );
    let mut command = foretune(at);
    let environment: Vec<_> = command
        .get_envs()
        .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
        .collect();
    command = Command::new("bash");
    command.args(["-c", &limited]).current_dir(at);
    for (name, value) in environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let service = Service::of(&mut command);
    let health = service.until("/healthz", |status, _| status == 503);
    assert!(
        object(&health)["storage"]
            .as_str()
            .unwrap()
            .contains("ab_test_log"),
        "{health}"
    );
    let metrics = service.until("/metrics", |status, _| status == 200);
    assert!(metrics.contains("foretune_up 0"), "{metrics}");
    let written = length(&at.join("crowded"));
    let decided = |body: &str| object(body)["last_decision_time"].clone();
    let last = decided(&health);
    std::thread::sleep(Duration::from_millis(600));
    let (_, later) = ask(&service.address, "GET", "/healthz", b"");
    assert_eq!(
        (decided(&later), length(&at.join("crowded"))),
        (last, written)
    );
    // What is shown is on the disk: the last line of the log is the last decision shown.
    let lines = records(&at.join("crowded"));
    let on_disk = lines.iter().rev().find(|line| line["kind"] == "decision");
    assert_eq!(
        on_disk.map(|line| &line["decision_time"]),
        Some(&decided(&later))
    );
    drop(service);
    // With room again every bar is decided once, by both arms.
    let service = Service::start(at, &of("crowded"));
    service.until("/healthz", |status, body| {
        let hour = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64 / HOUR * HOUR;
        let last = object(body)["last_decision_time"]
            .as_str()
            .map(str::to_owned);
        status == 200
            && last.is_some_and(|last| last.parse::<market::Timestamp>().unwrap().0 >= hour - HOUR)
    });
    assert_eq!(service.interrupt().code, 0);
    let lines = records(&at.join("crowded"));
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for line in lines.iter().filter(|line| line["kind"] == "decision") {
        *seen
            .entry(line["id"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    assert!(
        seen.len() >= 95 && seen.values().all(|arms| *arms == 2),
        "{}",
        seen.len()
    );
}

#[test]
fn what_is_laid_down_may_stand_in_the_settings() {
    let at = folder();
    let text = "[data]\ndirectory = \"candles\"\n[shadow]\nchampion = \"runs/a\"\n\
                challengers = [\"runs/b\", \"base\"]\nlog = \"by-settings\"\nalpha = 0.1\n\
                metric = \"net_utility\"\nclip = 0.2\nminimum_blocks = 7\nmax_drawdown = 0.5\n\
                cost_per_side = 0.002\n";
    fs::write(at.join("settled.toml"), text).unwrap();
    let shadow = |more: &str| {
        let dates = "--from 2019-04-11 --to 2019-04-12";
        run(
            at,
            &format!("shadow --replay --settings settled.toml {dates} {more}"),
        )
    };
    check(&shadow(""), 0, &[]);
    let rule =
        |log: &str| object(&fs::read_to_string(at.join(log).join("preregistration.json")).unwrap());
    let found = rule("by-settings");
    for (key, value) in [
        ("metric", json!("net_utility")),
        ("alpha", json!(0.1)),
        ("minimum_blocks", json!(7)),
        ("clip", json!(0.2)),
        ("max_drawdown", json!(0.5)),
        ("cost_per_side", json!(0.002)),
    ] {
        assert_eq!(found[key], value, "{key}");
    }
    assert_eq!(found["arms"].as_array().unwrap().len(), 3);
    // A flag lies above the file, and everything else stays.
    let base = "--log by-flags --alpha 0.02 --metric brier --challenger runs/b";
    check(&shadow(base), 0, &[]);
    let found = rule("by-flags");
    assert_eq!(
        (&found["alpha"], &found["metric"], &found["clip"]),
        (&json!(0.02), &json!("brier"), &json!(0.2))
    );
    assert_eq!(found["arms"].as_array().unwrap().len(), 2);
    check(
        &shadow("--set shadow.max_drawdown=3"),
        2,
        &["`shadow.max_drawdown` is `3`"],
    );
    check(
        &shadow("--set shadow.listen=nowhere"),
        2,
        &["shadow.listen"],
    );
    check(&shadow("--set shadow.alfa=0.1"), 2, &["alfa", "alpha"]);
}

#[test]
fn every_adapter_that_was_judged_is_counted() {
    let at = folder();
    let own = at.join("counted");
    fs::create_dir_all(&own).unwrap();
    for name in ["runs", "model", "data"] {
        if !own.join(name).exists() {
            copy(&at.join(name), &own.join(name));
        }
    }
    let judge = |name: &str| {
        let done = run(
            &own,
            &format!(
                "evaluate runs/{name} --set evaluate.max_decisions=40 --set evaluate.replicates=100 --json"
            ),
        );
        check(&done, 0, &[]);
        object(&done.stdout)["trials"].clone()
    };
    let first = judge("a");
    assert_eq!((&first["number"], &first["trials"]), (&json!(0), &json!(1)));
    assert_eq!(
        (&first["luck"], &first["overfitting"]),
        (&json!(0.0), &Value::Null)
    );
    let second = judge("b");
    assert_eq!(
        (&second["number"], &second["trials"], &second["comparable"]),
        (&json!(1), &json!(2), &json!(2))
    );
    // The same again is no new trial, and knows of the other.
    let again = judge("a");
    assert_eq!((&again["number"], &again["trials"]), (&json!(0), &json!(2)));
    assert_eq!(again["sharpe"], first["sharpe"]);
    let ledger = fs::read_to_string(own.join("runs/trials.jsonl")).unwrap();
    assert_eq!(ledger.lines().count(), 2);
    let page = fs::read_to_string(own.join("runs/a/report.html")).unwrap();
    assert!(page.contains("Trial 1 of 2 in the ledger"));
    // A line taken out is noticed.
    let last = ledger.lines().last().unwrap();
    fs::write(own.join("runs/trials.jsonl"), format!("{last}\n")).unwrap();
    let done = run(
        &own,
        "evaluate runs/a --set evaluate.max_decisions=40 --set evaluate.replicates=100",
    );
    assert_ne!(done.code, 0);
    assert!(
        done.stderr.contains("trials.jsonl") && done.stderr.contains("lines are missing"),
        "{done:#?}"
    );
}
