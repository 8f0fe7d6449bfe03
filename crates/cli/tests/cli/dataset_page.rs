//! The page of a data set: written by a build, made again by `foretune report`, outside the
//! manifest; and a data set whose labels are barriers, from candles to its page.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::candles::Columns;
use crate::support::{check, run, tiny};

fn json(at: &Path, command: &str) -> Value {
    let done = run(at, &format!("{command} --json"));
    check(&done, 0, &[]);
    serde_json::from_str(&done.stdout).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_build_has_its_page_and_report_makes_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let build = "dataset build --no-audit --world planted --blocks 120 --out data";
    let built = run(at, build);
    check(&built, 0, &[]);
    assert!(
        built.stdout.contains("page: data/page.html"),
        "{}",
        built.stdout
    );
    let page = fs::read_to_string(at.join("data/page.html")).unwrap();
    assert!(page.contains("Length in characters") && !page.contains("<script"));
    let manifest = fs::read_to_string(at.join("data/manifest.json")).unwrap();
    assert!(!manifest.contains("page.html"));

    // Again, from the files alone; its numbers are those of the lines.
    fs::rename(at.join("data/page.html"), at.join("first.html")).unwrap();
    let told = json(at, "report data");
    assert_eq!(fs::read_to_string(at.join("data/page.html")).unwrap(), page);
    let mut classes: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines(&at.join("data/examples.jsonl")) {
        *classes
            .entry(line["label"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    assert_eq!(
        told["parts"][0]["classes"],
        serde_json::to_value(&classes).unwrap()
    );
    assert_eq!(told["spans"]["touching"], 0);

    // Built again: the data set and its page are the same bytes.
    check(&run(at, build), 0, &[]);
    assert_eq!(
        fs::read_to_string(at.join("data/manifest.json")).unwrap(),
        manifest
    );
    assert_eq!(fs::read_to_string(at.join("data/page.html")).unwrap(), page);

    // With a base model lengths are tokens: of this one a token a byte and some around.
    fs::create_dir(at.join("model")).unwrap();
    tiny::write(&at.join("model"));
    let told = json(at, "report data --base model");
    assert_eq!(told["lengths"]["unit"], "tokens");
    let shortest = told["lengths"]["files"][0]["shortest"].as_u64().unwrap();
    let content = |line: &Value| {
        let turns = line["messages"].as_array().unwrap();
        turns
            .iter()
            .map(|turn| turn["content"].as_str().unwrap().len() as u64)
            .sum::<u64>()
    };
    let fewest = lines(&at.join("data/examples.jsonl"))
        .iter()
        .map(content)
        .min()
        .unwrap();
    assert!(
        (fewest..fewest + 60).contains(&shortest),
        "{shortest} {fewest}"
    );

    check(
        &run(at, "report model --base model"),
        2,
        &["`model` is no data set", "--base"],
    );
    fs::write(at.join("data/test.jsonl"), "{]\n").unwrap();
    check(&run(at, "report data"), 3, &["test.jsonl` line 1"]);
}

#[test]
fn labels_of_barriers_go_from_candles_to_an_audited_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("candles")).unwrap();
    Columns::swinging(4000).write(&at.join("candles"), "BTC_USD-1h.feather");
    fs::write(
        at.join("foretune.toml"),
        "[data]\ndirectory = \"candles\"\n[dataset]\nper_class = 60\ndecision_stride_bars = 2\n\
         [dataset.label]\nkind = \"triple_barrier\"\nprofit_k = 0.9\nloss_k = 0.7\nwindow_bars = 48\n",
    )
    .unwrap();
    let told = json(at, "dataset build --out data");
    assert_eq!(told["datasheet"]["label"]["kind"], "triple_barrier");
    assert_eq!(told["audit"]["passed"], true);
    check(&run(at, "dataset verify data"), 0, &[]);
    let mut shorter = 0;
    for line in lines(&at.join("data/test.jsonl")) {
        let prompt = line["messages"][0]["content"].as_str().unwrap();
        assert!(
            prompt.starts_with("Will the price within 12 hours first touch 0.9x"),
            "{prompt}"
        );
        let time = |place: usize| -> market::Timestamp {
            line["span"][place].as_str().unwrap().parse().unwrap()
        };
        shorter += usize::from(time(1).0 - time(0).0 < 12 * 3_600_000);
    }
    assert!(shorter > 10, "{shorter}");
    let page = fs::read_to_string(at.join("data/page.html")).unwrap();
    assert!(page.contains("touches 0.9 typical moves above"));

    let refused = run(at, "dataset build --out other --set dataset.label.loss_k=0");
    check(&refused, 2, &["`label.loss_k` is `0`"]);
}
