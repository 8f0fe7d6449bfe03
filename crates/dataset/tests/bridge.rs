//! A bridge from generated packages: what it holds, that it repeats, what it refuses, and whether a
//! planted edge is found and an absent one is not.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use dataset::audit::{self, AuditRecord, AuditSettings, NullWorlds, Status, Subject};
use dataset::bridge::{
    self, Bridge, BridgeSettings, Kind, Reasoning, SignalSource, parse_verdict, read_held_out,
    read_training, verify,
};
use dataset::ensemble::EnsembleSettings;
use dataset::{Audited, DatasetError, Split};
use market::table::{WideColumn, WideOptions, WideValues, WideWriter};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const BAR: i64 = 900_000;
const HORIZON: usize = 8;
const PAIRS: [&str; 3] = ["AUDUSD", "EURUSD", "USDJPY"];
/// Rows of training, validation and test.
const PARTS: [(&str, usize); 3] = [("train", 5000), ("val", 800), ("test", 800)];

/// What the world holds.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one fault of its own"
)]
#[derive(Clone, Copy, Default)]
struct World {
    /// How strongly `rsi_14` tells the outcome, in standard deviations of it.
    edge: f64,
    /// Leaves out the target.
    without_target: bool,
    /// Adds a column that is the target under another name.
    leak: bool,
    /// Writes the user's own predictions.
    predictions: bool,
    /// Puts infinities into a column.
    infinite: bool,
    /// Gives the last pair a bar an hour.
    hourly_pair: bool,
}

/// Writes a package: seeded returns, features of the past, outcomes over [`HORIZON`] bars.
fn package(directory: &Path, world: World) {
    for (number, pair) in PAIRS.iter().enumerate() {
        let mut random = ChaCha8Rng::seed_from_u64(number as u64 + 1);
        let rows: usize = PARTS.iter().map(|(_, rows)| rows).sum::<usize>() + 3 * HORIZON;
        let mut noise = || (0..4).map(|_| random.random_range(-1.0..1.0)).sum::<f64>() * 5e-4;
        let signal: Vec<f64> = {
            let mut value = 0.0;
            (0..rows)
                .map(|_| {
                    value = 0.9 * value + noise() * 1000.0;
                    value
                })
                .collect()
        };
        let mut price = vec![1.0];
        for row in 1..rows + HORIZON {
            let told = signal.get(row - 1).copied().unwrap_or(0.0);
            let next = price[row - 1] * (1.0 + noise() + world.edge * 5e-4 * told);
            price.push(next);
        }
        let past = |row: usize, bars: usize| price[row] / price[row.saturating_sub(bars)] - 1.0;
        let outcome = |row: usize| price[row + HORIZON] / price[row] - 1.0;
        let mut start = 0;
        for (part, count) in PARTS {
            let range = start..start + count;
            start += count + HORIZON;
            let hourly = world.hourly_pair && number + 1 == PAIRS.len();
            let bar = if hourly { 4 * BAR } else { BAR };
            let times: Vec<i64> = range
                .clone()
                .map(|row| 1_600_000_000_000 / BAR * BAR + row as i64 * bar)
                .collect();
            let column = |f: &dyn Fn(usize) -> f64| -> Vec<f32> {
                range.clone().map(|row| f(row) as f32).collect()
            };
            let mut columns: Vec<(&str, Vec<f32>)> = vec![
                ("ret_1", column(&|row| past(row, 1))),
                ("ret_5", column(&|row| past(row, 5))),
                ("ret_20", column(&|row| past(row, 20))),
                ("rsi_14", column(&|row| 50.0 + 10.0 * signal[row])),
                ("macd", column(&|row| past(row, 12) - past(row, 26))),
                ("vol_20", column(&|row| past(row, 20).abs())),
                ("vpin", column(&|row| (row as f64 * 0.37).sin())),
                ("constant", column(&|_| 1.0)),
            ];
            if world.infinite {
                columns[1].1[700] = f32::INFINITY;
            }
            if !world.without_target {
                columns.push(("target_return_8", column(&outcome)));
            }
            if world.leak {
                columns.push(("innocent", column(&outcome)));
            }
            if world.predictions {
                columns.push((
                    "ml_confidence",
                    column(&|row| 0.5 + 0.1 * (row as f64).sin().abs()),
                ));
                columns.push((
                    "ml_prediction",
                    column(&|row| f64::from(u8::from(signal[row] > 0.0))),
                ));
            }
            let folder = directory.join(pair);
            fs::create_dir_all(&folder).unwrap();
            let names: Vec<(String, WideColumn)> = columns
                .iter()
                .map(|(name, _)| ((*name).to_owned(), WideColumn::F32))
                .collect();
            let path = folder.join(format!("{part}.parquet"));
            let options = WideOptions::default();
            let mut writer = WideWriter::create(&path, "timestamp", &names, &options).unwrap();
            for group in (0..count).collect::<Vec<_>>().chunks(1000) {
                let (from, to) = (group[0], group[group.len() - 1] + 1);
                let values: Vec<WideValues<'_>> = columns
                    .iter()
                    .map(|(_, values)| WideValues::F32(&values[from..to]))
                    .collect();
                writer.write_group(&times[from..to], &values).unwrap();
            }
            writer.finish().unwrap();
        }
    }
}

fn settings() -> BridgeSettings {
    BridgeSettings {
        horizon_bars: HORIZON,
        readings_per_pair: 30,
        scenarios_per_pair: 20,
        preferences_per_pair: 10,
        calculations_per_pair: 10,
        held_out_per_pair: 12,
        formulas: 0,
        past_rows: 400,
        shown_features: 6,
        analogues: 20,
        ..BridgeSettings::default()
    }
}

fn ensemble() -> EnsembleSettings {
    EnsembleSettings {
        folds: 3,
        trees: 40,
        ..EnsembleSettings::default()
    }
}

fn build(directory: &Path, settings: &BridgeSettings) -> Result<Bridge, DatasetError> {
    bridge::build(directory, settings, &ensemble(), &mut |_| {
        ControlFlow::Continue(())
    })
}

fn refusal(world: World, settings: &BridgeSettings) -> String {
    let folder = tempfile::tempdir().unwrap();
    package(folder.path(), world);
    build(folder.path(), settings).unwrap_err().to_string()
}

#[test]
fn a_bridge_holds_what_was_asked_for_and_is_ready_once_audited() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("package");
    package(&source, World::default());
    let built = build(&source, &settings()).unwrap();
    let out = folder.path().join("bridge");
    let settings = AuditSettings::quick(1);
    let report = built
        .audit(&settings, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    assert_eq!(report.red().count(), 0, "{:#?}", report.checks);
    let made = Audited::Made {
        report: &report,
        page: "<html></html>",
    };
    let (manifest, sheet) = bridge::write(&built, &source, &[], made, &out).unwrap();
    let count = |kind: Kind| sheet.kinds[&kind].n;
    assert_eq!(
        [
            Kind::Reading,
            Kind::Scenario,
            Kind::Preference,
            Kind::Calculation
        ]
        .map(count),
        [90, 60, 30, 30],
        "{:?}",
        sheet.notes
    );
    assert_eq!(sheet.held_out["validation"].n, 36);
    assert_eq!(sheet.pairs, 3);
    assert_eq!(sheet.features, 8);
    assert!(manifest.inputs.contains_key("EURUSD/train.parquet"));
    assert!(manifest.files.contains_key("ensemble/live.json"));
    // Prompts ask, answers argue with what the prompt shows, and end in the form.
    for example in &built.examples[&Kind::Scenario] {
        let answer = &example.messages[1].content;
        let label = example.about.label.as_deref().unwrap();
        assert!(answer.starts_with("<think>\n"), "{answer}");
        assert!(
            answer.contains(&format!("\nDECISION: {label} - ")),
            "{answer}"
        );
        assert_eq!(label == "APPROVE", example.about.net_return > 0.0);
        let through = example.about.upstream.trained_through.unwrap();
        assert!(through < example.about.decision_time);
    }
    for pair in &built.pairs {
        assert!(pair.chosen.contains(pair.about.label.as_deref().unwrap()));
        assert!(!pair.rejected.contains(&format!(
            "DECISION: {} ",
            pair.about.label.as_deref().unwrap()
        )));
        assert!(pair.about.outcome_return.abs() > 2e-4);
    }
    let listed = verify(&out).unwrap();
    assert!(listed.ready, "{listed:#?}");
    assert_eq!(listed.audit["truncation"], "green");
    // A data set without an audit is not ready.
    let bare = folder.path().join("bare");
    bridge::write(&built, &source, &[], Audited::Skipped, &bare).unwrap();
    assert!(!verify(&bare).unwrap().ready);
    assert_eq!(listed.counts[Kind::Scenario.file()], 60);
    let files = read_training(&out).unwrap();
    assert_eq!((files.conversations.len(), files.from_market), (180, 180));
    let held = read_held_out(&out, Split::Test).unwrap();
    assert_eq!(held, built.held_out[1]);
    for scenario in &held {
        let verdict = parse_verdict(&scenario.messages[1].content).unwrap();
        assert_eq!(scenario.about.label.as_deref(), Some(verdict.as_str()));
    }
    fs::write(out.join("test.jsonl"), "{}\n").unwrap();
    let refused = read_held_out(&out, Split::Test).unwrap_err().to_string();
    assert!(refused.contains("test.jsonl"), "{refused}");
    assert!(read_held_out(&out, Split::Train).is_err());
}

/// A bridge that hints at the outcome in every third prompt.
struct Leaky<'a>(&'a Bridge);

impl NullWorlds for Leaky<'_> {
    fn names(&self) -> Vec<&'static str> {
        self.0.names()
    }

    fn spacing(&self) -> i64 {
        self.0.spacing()
    }

    fn tells_nothing(&self, world: usize) -> bool {
        self.0.tells_nothing(world)
    }

    fn draw(
        &self,
        world: usize,
        settings: &AuditSettings,
        seed: u64,
    ) -> Result<Vec<AuditRecord>, DatasetError> {
        let mut records = self.0.draw(world, settings, seed)?;
        for record in records.iter_mut().step_by(3) {
            let hint = match record.label.as_deref() {
                Some("APPROVE") => "crowded",
                _ => "quiet",
            };
            record.prompt.push_str(&format!("\nTape: {hint}"));
        }
        Ok(records)
    }
}

/// An edge in the package is no edge in the world of shuffled outcomes; what tells the outcome
/// there is found.
#[test]
fn shuffled_outcomes_are_at_chance_and_a_leak_in_them_is_red() {
    let folder = tempfile::tempdir().unwrap();
    let edge = World {
        edge: 0.5,
        ..World::default()
    };
    package(folder.path(), edge);
    let built = build(folder.path(), &settings()).unwrap();
    let records = built.audit_records();
    let audited = |worlds: &dyn NullWorlds| {
        let subject = Subject {
            null_worlds: Some(worlds),
            rerender: None,
            ..built.subject(&records)
        };
        let report = audit::audit(&subject, &AuditSettings::quick(1), &mut |_| {
            ControlFlow::Continue(())
        });
        report.unwrap().check(6).unwrap().clone()
    };
    let clean = audited(&built);
    assert_eq!(clean.status, Status::Green, "{clean:#?}");
    let score = &clean.scores[0];
    assert!(score.low < score.chance && score.value < 0.56, "{clean:#?}");
    let red = audited(&Leaky(&built));
    assert_eq!(red.status, Status::Red, "{red:#?}");
}

#[test]
fn the_same_package_gives_the_same_bytes_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("package");
    package(&source, World::default());
    let write = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let out = folder.path().join(format!("bridge-{threads}"));
        pool.install(|| {
            let built = build(&source, &settings()).unwrap();
            bridge::write(&built, &source, &[], Audited::Unsaid, &out).unwrap();
        });
        fs::read(out.join("manifest.json")).unwrap()
    };
    assert_eq!(write(1), write(3));
}

#[test]
fn altered_and_missing_files_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("package");
    package(&source, World::default());
    let built = build(&source, &settings()).unwrap();
    let out = folder.path().join("bridge");
    bridge::write(&built, &source, &[], Audited::Unsaid, &out).unwrap();
    let path = out.join(Kind::Reading.file());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("BULLISH", "BEARISH", 1)).unwrap();
    let error = read_training(&out).unwrap_err();
    assert!(matches!(error, DatasetError::Altered { .. }), "{error}");
    assert!(!verify(&out).unwrap().ready);
    fs::remove_file(&path).unwrap();
    let listed = verify(&out).unwrap();
    let files = listed
        .items
        .iter()
        .find(|item| item.name == "files")
        .unwrap();
    assert!(
        !files.ok && files.found.contains(Kind::Reading.file()),
        "{files:?}"
    );
    // A bridge may be written over a bridge, not over anything else.
    bridge::write(&built, &source, &[], Audited::Unsaid, &out).unwrap();
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.txt"), "x").unwrap();
    let error = bridge::write(&built, &source, &[], Audited::Unsaid, &other).unwrap_err();
    assert!(matches!(error, DatasetError::NotADataset { .. }), "{error}");
}

#[test]
fn packages_that_cannot_be_used_are_refused() {
    let plain = World::default();
    let without_target = World {
        without_target: true,
        ..plain
    };
    let text = refusal(without_target, &settings());
    assert!(text.contains("no column `target_return_8`"), "{text}");
    let leak = World {
        leak: true,
        ..plain
    };
    let text = refusal(leak, &settings());
    assert!(text.contains("innocent"), "{text}");
    let wanted = BridgeSettings {
        pairs: 51,
        ..settings()
    };
    let text = refusal(plain, &wanted);
    assert!(text.contains("3 pairs, expected 51"), "{text}");
    let wanted = BridgeSettings {
        features: 575,
        ..settings()
    };
    let text = refusal(plain, &wanted);
    assert!(text.contains("8 features, expected 575"), "{text}");
    let wanted = BridgeSettings {
        key_features: vec!["target_return_8".to_owned(), "ret_1".to_owned()],
        ..settings()
    };
    let text = refusal(plain, &wanted);
    assert!(text.contains("bridge.key_features"), "{text}");
    let mixed = World {
        hourly_pair: true,
        ..plain
    };
    let text = refusal(mixed, &settings());
    assert!(
        text.contains("USDJPY") && text.contains("every 60 minutes"),
        "{text}"
    );
    // Where every signal pays, or none does, there is nothing to tell apart.
    let dear = BridgeSettings {
        cost: 0.09,
        ..settings()
    };
    let text = refusal(plain, &dear);
    assert!(text.contains("APPROVE never occurs"), "{text}");
    // The user's own predictions have to be declared.
    let own = World {
        predictions: true,
        ..plain
    };
    let wanted = BridgeSettings {
        signal: SignalSource::Columns,
        ..settings()
    };
    let text = refusal(own, &wanted);
    assert!(text.contains("columns_are_out_of_fold"), "{text}");
    // A pair whose training table is gone.
    let folder = tempfile::tempdir().unwrap();
    package(folder.path(), plain);
    fs::remove_file(folder.path().join("EURUSD/train.parquet")).unwrap();
    let text = build(folder.path(), &settings()).unwrap_err().to_string();
    assert!(text.contains("EURUSD"), "{text}");
}

#[test]
fn declared_predictions_are_used_and_infinities_counted() {
    let folder = tempfile::tempdir().unwrap();
    let world = World {
        predictions: true,
        infinite: true,
        ..World::default()
    };
    package(folder.path(), world);
    let wanted = BridgeSettings {
        columns_are_out_of_fold: true,
        reasoning: Reasoning::DecisionFirst,
        ..settings()
    };
    let built = build(folder.path(), &wanted).unwrap();
    assert!(built.ensemble.is_none());
    for example in &built.examples[&Kind::Scenario] {
        assert_eq!(example.about.upstream.kind, "columns");
        assert!(example.messages[1].content.starts_with("DECISION: "));
    }
    let infinite: u64 = built
        .sheet
        .instruments
        .values()
        .map(|counts| counts.infinite)
        .sum();
    assert_eq!(infinite, 9);
    // Without the declaration the ensemble judges, and the user is told.
    let built = build(folder.path(), &settings()).unwrap();
    assert!(built.ensemble.is_some());
    assert!(
        built
            .sheet
            .notes
            .iter()
            .any(|note| note.contains("columns_are_out_of_fold"))
    );
}

#[test]
fn a_planted_edge_is_found_and_an_absent_one_is_not() {
    let brier = |edge: f64| {
        let folder = tempfile::tempdir().unwrap();
        package(
            folder.path(),
            World {
                edge,
                ..World::default()
            },
        );
        let built = build(folder.path(), &settings()).unwrap();
        let sheet = built.sheet.calibration;
        assert!(sheet.judged > 100, "{sheet:?}");
        let rows: usize = sheet.reliability.iter().map(|cell| cell.2).sum();
        let paid = sheet
            .reliability
            .iter()
            .map(|cell| cell.1 * cell.2 as f64)
            .sum::<f64>();
        (sheet.brier_calibrated, sheet.brier_rate, paid / rows as f64)
    };
    let (calibrated, rate, paid) = brier(0.5);
    assert!(paid > 0.65, "{paid}");
    assert!(calibrated < rate - 0.004, "{calibrated} against {rate}");
    let (calibrated, rate, paid) = brier(0.0);
    assert!(paid < 0.55, "{paid}");
    // Chance: the certainty cannot beat the rate of payment by more than noise.
    assert!(calibrated > rate - 0.01, "{calibrated} against {rate}");
}

#[test]
fn stopping_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    package(folder.path(), World::default());
    let error = bridge::build(folder.path(), &settings(), &ensemble(), &mut |state| {
        if state.stage == bridge::BridgeStage::Examples {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .unwrap_err();
    assert!(matches!(error, DatasetError::Interrupted), "{error}");
}
