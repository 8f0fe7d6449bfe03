//! The page of a data set: its numbers against counts made here, its text as data.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use dataset::{Dataset, DatasetSettings, Decision, Example, Message, Split, build, world};
use market::Timestamp;
use serde_json::{Value, json};
use serve::ServeError;
use serve::report::dataset::{Page, Ruler, html, read};

/// Characters of all turns.
fn characters(turns: &[Message]) -> usize {
    turns.iter().map(|turn| turn.content.chars().count()).sum()
}

fn page(directory: &Path) -> Result<Page, ServeError> {
    let mut measure = |turns: &[Message]| Ok(characters(turns));
    read(
        directory,
        &mut Ruler {
            unit: "characters",
            note: "No tokenizer was given.".to_owned(),
            measure: &mut measure,
        },
    )
}

/// A data set of a made-up market, written.
fn written(directory: &Path) -> Dataset {
    let world = world::null(5, 260).unwrap();
    let settings = DatasetSettings {
        per_class: 90,
        decision_stride_bars: 4,
        ..world.settings
    };
    let dataset = build(&settings, &world.bars, None, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    dataset.write(directory).unwrap();
    dataset
}

fn in_time(dataset: &Dataset) -> impl Iterator<Item = &Example> {
    dataset
        .train
        .iter()
        .chain(&dataset.validation)
        .chain(&dataset.test)
}

#[test]
fn counts_are_those_of_the_examples() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("set");
    let dataset = written(&at);
    let page = page(&at).unwrap();

    // Parts: lines, classes, spans, and effective numbers as the builder has them.
    for (part, split) in page.parts.iter().zip(Split::ALL) {
        let examples = dataset.split(split);
        assert_eq!((part.part, part.n), (split, examples.len()));
        for class in Decision::ALL {
            let n = examples
                .iter()
                .filter(|example| example.label == class)
                .count();
            assert_eq!(
                part.classes.get(class.as_str()).copied().unwrap_or(0),
                n,
                "{split} {class}"
            );
        }
        let weights: f64 = examples.iter().map(|example| example.weight).sum();
        assert!((part.effective_n - weights).abs() < 1e-9, "{split}");
        assert_eq!(part.first, examples[0].decision_time);
        assert_eq!(part.last, examples.iter().map(|e| e.span.1).max().unwrap());
    }

    // Classes over time: every example once, in the period that its decision lies in.
    let [mix] = &page.mixes[..] else {
        panic!("{:?}", page.mixes)
    };
    for (place, period) in mix.periods.iter().enumerate() {
        let until = mix
            .periods
            .get(place + 1)
            .map_or(i64::MAX, |next| next.from.0);
        let within = |e: &&Example| (period.from.0..until).contains(&e.decision_time.0);
        for (class, n) in Decision::ALL.into_iter().zip(&period.counts) {
            let found = in_time(&dataset)
                .filter(within)
                .filter(|e| e.label == class)
                .count();
            assert_eq!(found, *n, "{place} {class}");
        }
    }

    // Spans: apart, with what the builder left out.
    assert_eq!(page.spans.touching, 0);
    assert_eq!(page.spans.longest, dataset.settings.horizon());
    let sheet = dataset.datasheet.instruments.values().next().unwrap();
    let row = &page.spans.rows[0];
    assert_eq!(row.purged, Some(sheet.purged as u64));
    assert_eq!(row.embargoed, Some(sheet.embargoed as u64));
    let [one, two] = &page.spans.boundaries[..] else {
        panic!("{:?}", page.spans.boundaries)
    };
    assert_eq!(one.cut, Some(dataset.datasheet.boundaries.train_end));
    assert_eq!(two.first_decision, dataset.test[0].decision_time);

    // Drift: recomputed from the facts of the examples.
    let rsi = page
        .drift
        .features
        .iter()
        .find(|feature| feature.name == "rsi")
        .unwrap();
    let values = |examples: &[Example]| -> Vec<f64> {
        examples
            .iter()
            .map(|e| e.facts["rsi"].text.parse().unwrap())
            .collect()
    };
    let (train, test) = (values(&dataset.train), values(&dataset.test));
    let index = stats::drift::population_stability(&train, &test, 10).index;
    assert_eq!(rsi.index, Some(index));
    assert!(rsi.is_number && rsi.missing == [0, 0]);
    let trend = page
        .drift
        .features
        .iter()
        .find(|feature| feature.name == "trend_1h")
        .unwrap();
    assert!(!trend.is_number && trend.index.is_some());
    let indices: Vec<f64> = page.drift.features.iter().filter_map(|f| f.index).collect();
    assert!(
        indices.windows(2).all(|pair| pair[0] >= pair[1]),
        "{indices:?}"
    );

    // Lengths and samples.
    let lengths: Vec<usize> = dataset
        .train
        .iter()
        .map(|e| characters(&e.messages))
        .collect();
    let file = &page.lengths.files[0];
    assert_eq!(
        (file.name.as_str(), file.measured),
        ("examples.jsonl", lengths.len())
    );
    assert_eq!(
        (file.shortest, file.longest),
        (
            *lengths.iter().min().unwrap(),
            *lengths.iter().max().unwrap()
        )
    );
    assert_eq!(
        page.lengths.histogram.counts.iter().sum::<usize>(),
        in_time(&dataset).count()
    );
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    for sample in &page.samples {
        *shown.entry(&sample.group).or_default() += 1;
        let example = dataset.train.iter().find(|e| e.id == sample.id).unwrap();
        assert_eq!(sample.group, example.label.as_str());
        assert_eq!(sample.turns[1].1, example.answer());
    }
    assert_eq!(
        shown,
        BTreeMap::from([("BUY", 3), ("HOLD", 3), ("SELL", 3)])
    );
    assert!(
        page.evidence.is_empty(),
        "a plain data set states no probability"
    );
}

#[test]
fn the_page_is_whole_the_same_again_and_runs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("set");
    written(&at);
    let text = html(&page(&at).unwrap());
    for part in [
        "Classes over time",
        "Parts, purges and embargoes",
        "Population stability index",
        "Length in characters",
        "Examples to read",
        "The same as a table",
        "No tokenizer was given.",
        "Between train and validation",
    ] {
        assert!(text.contains(part), "{part}");
    }
    for absent in [
        "<script",
        "http://",
        "https://",
        "NaN",
        "Did the evidence come true?",
    ] {
        assert!(!text.contains(absent), "{absent}");
    }
    assert_eq!(html(&page(&at).unwrap()), text);
    // Wherever it lies.
    let elsewhere = directory.path().join("other");
    std::fs::rename(&at, &elsewhere).unwrap();
    assert_eq!(html(&page(&elsewhere).unwrap()), text);
}

/// A bridge of scenarios that state what `stated` says, with what `paid` says.
fn bridge(at: &Path, rows: usize, stated: fn(usize) -> u32, paid: fn(usize) -> bool) {
    const HOUR: i64 = 3_600_000;
    std::fs::create_dir_all(at).unwrap();
    let line = |row: usize, split: &str| {
        let time = Timestamp(1_600_000_000_000 + 10 * HOUR * row as i64);
        let end = Timestamp(time.0 + 5 * HOUR);
        let fact = |text: String| json!({"text": text, "available_at": time});
        json!({
            "messages": [
                {"role": "user", "content": "Will it pay? <img src=x onerror=alert(1)>"},
                {"role": "assistant", "content": "DECISION: VETO - &amp; <b>no</b>"},
            ],
            "id": format!("A/B@{row}"), "kind": "scenario", "split": split, "instrument": "A/B",
            "timeframe": "1h", "decision_time": time, "span": [time, end],
            "label": if paid(row) { "APPROVE" } else { "VETO" },
            "outcome_return": 0.01, "net_return": 0.01, "weight": 1.0,
            "facts": {"certainty": fact(format!("{}.0%", stated(row))), "wide": fact("3.5 80%".to_owned())},
        })
        .to_string()
    };
    let lines = |from: usize, to: usize, split: &str| {
        (from..to)
            .map(|row| line(row, split) + "\n")
            .collect::<String>()
    };
    let cut = rows * 3 / 4;
    let formula = json!({"messages": [{"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": "A mean."}], "id": "f", "kind": "definition"});
    let files = [
        ("real_trade_scenarios.jsonl", lines(0, cut, "train")),
        ("formula_samples.jsonl", format!("{formula}\n")),
        ("test.jsonl", lines(cut, rows, "test")),
    ];
    let mut listed = serde_json::Map::new();
    for (name, text) in &files {
        std::fs::write(at.join(name), text).unwrap();
        let lines = text.lines().count();
        listed.insert(
            (*name).to_owned(),
            json!({"lines": lines, "bytes": text.len(), "sha256": ""}),
        );
    }
    let sheet =
        json!({"horizon_bars": 5, "notes": ["a <note>"], "shown": {"wide": "a wide value"}});
    std::fs::write(at.join("datasheet.json"), sheet.to_string()).unwrap();
    let manifest =
        json!({"kind": "foretune-bridge", "schema": 1, "version": "0.0.0", "files": listed});
    std::fs::write(at.join("manifest.json"), manifest.to_string()).unwrap();
}

#[test]
fn evidence_is_held_against_what_happened() {
    let directory = tempfile::tempdir().unwrap();
    // Says 20 % and 80 %; 1 of 4 and 3 of 4 come true.
    let stated = |row: usize| if row.is_multiple_of(2) { 20 } else { 80 };
    let paid = |row: usize| matches!(row % 8, 0 | 1 | 3 | 5);
    bridge(directory.path(), 400, stated, paid);
    let page = page(directory.path()).unwrap();
    let [certainty] = &page.evidence[..] else {
        panic!("{:?}", page.evidence)
    };
    assert_eq!(
        (certainty.name.as_str(), certainty.rows),
        ("certainty", 400)
    );
    assert!((certainty.base_rate - 0.5).abs() < 1e-12);
    // By hand: (1/4)(0.8^2) + (3/4)(0.2^2), the same on both sides.
    assert!(
        (certainty.brier - 0.19).abs() < 1e-12,
        "{}",
        certainty.brier
    );
    assert!((certainty.brier_of_rate - 0.25).abs() < 1e-12);
    let bins: Vec<(f64, f64, usize)> = certainty
        .bins
        .iter()
        .map(|bin| (bin.stated, bin.observed, bin.count))
        .collect();
    assert_eq!(bins.len(), 2);
    for ((stated, observed, count), expect) in bins.into_iter().zip([(0.2, 0.25), (0.8, 0.75)]) {
        assert!((stated - expect.0).abs() < 1e-12 && (observed - expect.1).abs() < 1e-12);
        assert_eq!(count, 200);
    }
    assert_eq!(certainty.parts.len(), 2);
    assert_eq!(certainty.parts[0].rows, 300);
    // What lines without a time hold is counted as files and lengths, and in no part.
    assert_eq!(page.files["formula_samples.jsonl"], 1);
    assert_eq!(page.parts.iter().map(|part| part.n).sum::<usize>(), 400);
    assert!(
        page.drift
            .features
            .iter()
            .any(|feature| feature.title == "a wide value")
    );

    let text = html(&page);
    assert!(text.contains("Did the evidence come true?"));
    // Text of examples and notes is data.
    assert!(!text.contains("<img") && text.contains("&lt;img src=x"));
    assert!(!text.contains("<b>no") && text.contains("&amp;amp; &lt;b&gt;no"));
    assert!(text.contains("a &lt;note&gt;"));
}

#[test]
fn parts_that_touch_are_said_to() {
    let directory = tempfile::tempdir().unwrap();
    bridge(directory.path(), 80, |_| 50, |row| row.is_multiple_of(2));
    let path = directory.path().join("real_trade_scenarios.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    lines[59]["span"][1] = json!(Timestamp(1_700_000_000_000));
    let text = lines
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
        + "\n";
    std::fs::write(&path, text).unwrap();
    let page = page(directory.path()).unwrap();
    assert_eq!(page.spans.touching, 1);
    assert!(html(&page).contains("1 outcomes of an earlier part reach into a later one"));
}

#[test]
fn what_is_no_data_set_is_refused_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(page(directory.path()), Err(ServeError::Io { .. })));
    bridge(directory.path(), 80, |_| 50, |_| true);
    let path = directory.path().join("test.jsonl");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.insert_str(text.find('\n').unwrap() + 1, "{\"messages\": 3}\n");
    std::fs::write(&path, text).unwrap();
    let error = page(directory.path()).unwrap_err().to_string();
    assert!(error.contains("test.jsonl` line 2"), "{error}");
    let manifest = directory.path().join("manifest.json");
    std::fs::write(&manifest, "{\"kind\": \"other\"}").unwrap();
    let error = page(directory.path()).unwrap_err().to_string();
    assert!(error.contains("`kind` is `other`"), "{error}");
}
