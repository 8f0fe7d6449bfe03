//! Signals for freqtrade: the command that writes them, and the strategy's own tests, which need
//! Python alone. The real freqtrade runs in `python/interop/freqtrade_backtest.py`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::interop::skipped;
use crate::support::{check, run};

fn strategy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/freqtrade")
}

/// Runs Python on arguments in `folder`; `None` where there is none of 3.11 or newer, which
/// freqtrade itself needs.
fn python(folder: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    let fits = "import sys; sys.exit(sys.version_info < (3, 11))";
    let asked = Command::new("python3").args(["-c", fits]).status();
    if !asked.is_ok_and(|status| status.success()) {
        skipped("python/freqtrade", "there is no python3 of 3.11 or newer");
        return None;
    }
    let done = Command::new("python3")
        .args(arguments)
        .current_dir(folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let text = [done.stdout, done.stderr].concat();
    Some((
        done.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

#[test]
fn a_log_becomes_signals_that_the_strategy_reads() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("log")).unwrap();
    crate::evaluate_log::write(&at.join("log"), 40, 7);
    let done = run(at, "export signals log --json");
    check(&done, 0, &[]);
    let told: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(told["signals"], 80);
    assert_eq!(told["arms"]["adapter"], 40);
    let text = fs::read_to_string(at.join("log/signals.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 80);
    // The file lies in the log's directory, whose readers leave it alone; it is replaced.
    check(&run(at, "evaluate --log log"), 0, &[]);
    let one = run(at, "export signals log --arm adapter");
    check(&one, 0, &[]);
    assert!(
        one.stdout.contains("40 signals on 1 instruments"),
        "{one:?}"
    );

    let none = run(at, "export signals log --arm nobody");
    check(&none, 2, &["no decision of an arm `nobody`", "`adapter`"]);
    fs::write(at.join("notes.txt"), "mine").unwrap();
    let other = run(at, "export signals log --out notes.txt");
    check(
        &other,
        2,
        &["`notes.txt` exists and holds no signals", "--out"],
    );
    check(&run(at, "export signals nowhere"), 3, &["nowhere"]);

    let read = "import sys; sys.path.insert(0, sys.argv[1]); import foretune_strategy as f; \
                s = f.Settings.of({}, {'signals_file': sys.argv[2], 'arm': 'adapter'}); \
                print(len(f.SignalBook.of_file(s).signals('BTC/USDT')))";
    let path = strategy();
    let arguments = ["-c", read, path.to_str().unwrap(), "log/signals.jsonl"];
    if let Some((well, text)) = python(at, &arguments) {
        assert!(well && text.trim() == "40", "{text}");
    }
}

#[test]
fn the_tests_of_the_strategy_pass() {
    let arguments = ["-m", "unittest", "-v", "test_foretune_strategy"];
    if let Some((well, text)) = python(&strategy(), &arguments) {
        assert!(well, "{text}");
        // None of them was left out.
        assert!(
            text.contains("\nOK") && !text.contains("skipped="),
            "{text}"
        );
    }
}
