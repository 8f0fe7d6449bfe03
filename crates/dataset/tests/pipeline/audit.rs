//! The audit on whole data sets: sound ones pass, and a fault of each kind turns its check red.

use std::ops::ControlFlow;

use dataset::audit::{
    AuditRecord, AuditReport, AuditSettings, Change, Future, Pipeline, Rendered, Rerender, Status,
    Step, Subject, audit, run,
};
use dataset::{Audited, Dataset, DatasetError, DatasetSettings, Split, build, world};
use market::{Bars, Timestamp};

use crate::common::{quiet, walk};

fn settings() -> AuditSettings {
    AuditSettings {
        samples: 24,
        cuts: 3,
        null_bars: 8192,
        probe_rows: 600,
        ..AuditSettings::default()
    }
}

fn silent(_: Step) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn status(report: &AuditReport, number: u8) -> Status {
    report.check(number).unwrap().status
}

#[track_caller]
fn green(report: &AuditReport, numbers: &[u8]) {
    for &number in numbers {
        let check = report.check(number).unwrap();
        assert_eq!(check.status, Status::Green, "{check:#?}");
    }
}

/// Two instruments with a gap in one of them.
fn inputs() -> [Bars; 2] {
    [
        walk("BTC/USD", 1, 4000, &[1500, 1501]),
        walk("ETH/USD", 2, 4000, &[]),
    ]
}

fn dataset(bars: &[Bars]) -> Dataset {
    let settings = DatasetSettings {
        decision_stride_bars: 3,
        per_class: 400,
        ..DatasetSettings::default()
    };
    quiet(&settings, bars).unwrap()
}

fn of_dataset(dataset: &Dataset, bars: &[Bars]) -> AuditReport {
    run(dataset, bars, None, &settings(), &mut silent).unwrap()
}

#[test]
fn a_sound_data_set_passes_and_the_report_is_the_same_on_any_threads() {
    let bars = inputs();
    let dataset = dataset(&bars);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| of_dataset(&dataset, &bars))
    };
    let report = on(1);
    assert!(report.passed, "{report:#?}");
    green(&report, &[1, 2, 3, 4, 6, 7, 8, 9, 10]);
    // No other model's prediction is used: said, and not counted as a pass.
    assert_eq!(status(&report, 5), Status::NotPossible);
    assert_eq!(report.checks.len(), 10);
    assert_eq!(on(3), report);
    let other = AuditSettings {
        seed: 5,
        ..settings()
    };
    let other = run(&dataset, &bars, None, &other, &mut silent).unwrap();
    assert_ne!(other.check(6), report.check(6));
    assert!(other.passed, "{other:#?}");
}

#[test]
fn a_planted_edge_is_of_the_past_and_no_leak() {
    let world = world::planted(17, 900).unwrap();
    let dataset = quiet(&world.settings, &world.bars).unwrap();
    let report = of_dataset(&dataset, &world.bars);
    assert!(report.passed, "{report:#?}");
    let probe = report.check(8).unwrap();
    assert!(
        probe
            .reason
            .as_deref()
            .unwrap()
            .contains("from the past alone"),
        "{probe:#?}"
    );
    green(&report, &[1, 2, 3, 4, 6, 7, 9, 10]);
}

#[test]
fn a_prompt_or_feature_that_is_not_of_its_bars_is_found() {
    let bars = inputs();
    let mut altered = dataset(&bars);
    let now = altered.train.len() - 1;
    for example in &mut altered.train[..now] {
        let future = example.outcome_return;
        example.features.insert("future_return".to_owned(), future);
    }
    let report = of_dataset(&altered, &bars);
    assert_eq!(status(&report, 1), Status::Red);
    let finding = &report.check(1).unwrap().found[0];
    assert!(finding.message.contains("`future_return`"), "{finding:?}");
    assert_eq!(finding.file.as_deref(), Some("examples.jsonl"));

    let mut altered = dataset(&bars);
    let Dataset {
        train,
        validation,
        test,
        ..
    } = &mut altered;
    for example in train.iter_mut().chain(validation).chain(test) {
        let label = example.label;
        example.messages[0].content += &format!("\nML prediction: {label}");
    }
    let report = of_dataset(&altered, &bars);
    assert_eq!(status(&report, 1), Status::Red);
    assert_eq!(status(&report, 3), Status::Red);
    // The regression reads it, and the prompts do not come from the past.
    let probe = report.check(8).unwrap();
    assert_eq!(probe.status, Status::Red, "{probe:#?}");
    assert!(probe.found[0].message.contains("prediction"), "{probe:#?}");
    assert!(!report.passed);
}

#[test]
fn invented_numbers_and_later_facts_are_found() {
    let bars = inputs();
    let mut altered = dataset(&bars);
    let line = 7;
    altered.train[line].messages[1].content += " (win rate 63.7%)";
    let fact = altered.test[3].facts.get_mut("rsi").unwrap();
    fact.available_at = Timestamp(fact.available_at.0 + 3_600_000);
    let report = of_dataset(&altered, &bars);
    let claims = report.check(9).unwrap();
    assert_eq!((claims.status, claims.found_total), (Status::Red, 1));
    assert_eq!(claims.found[0].place(), "examples.jsonl line 8");
    assert!(claims.found[0].message.contains("`63.7%`"));
    let known = report.check(4).unwrap();
    assert_eq!((known.status, known.found_total), (Status::Red, 1));
    assert_eq!(known.found[0].place(), "test.jsonl line 4");
}

#[test]
fn training_outcomes_in_the_test_part_are_found() {
    let bars = inputs();
    let mut altered = dataset(&bars);
    let start = altered.test[0].decision_time;
    altered.train.last_mut().unwrap().span.1 = start;
    let report = of_dataset(&altered, &bars);
    assert_eq!(status(&report, 10), Status::Red);
}

#[test]
fn bars_of_another_instrument_are_an_error() {
    let bars = inputs();
    let dataset = dataset(&bars);
    let error = run(&dataset, &bars[..1], None, &settings(), &mut silent).unwrap_err();
    assert!(error.to_string().contains("ETH/USD"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn an_audit_can_be_broken_off() {
    let bars = inputs();
    let dataset = dataset(&bars);
    let mut steps = 0;
    let error = run(&dataset, &bars, None, &settings(), &mut |_| {
        steps += 1;
        if steps == 4 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(error, Err(DatasetError::Interrupted)));
}

/// Records of another kind, whose prompt is their time and whatever `show` adds from changed
/// inputs; the label turns with a mirrored future.
fn records() -> Vec<AuditRecord> {
    (0..40)
        .map(|row| AuditRecord {
            id: row.to_string(),
            decision_time: Timestamp(row * 1000),
            prompt: format!("at {row}"),
            answers: vec!["BUY".to_owned()],
            label: Some(["UP", "DOWN"][(row % 2) as usize].to_owned()),
            ..AuditRecord::default()
        })
        .collect()
}

fn turned(record: &AuditRecord, change: &Change) -> Option<String> {
    let other = |label: &str| if label == "UP" { "DOWN" } else { "UP" };
    match change.future {
        Future::Cut | Future::Nan => None,
        Future::Noise => record.label.clone(),
        Future::Mirrored | Future::Thousandfold => {
            record.label.as_deref().map(other).map(str::to_owned)
        }
    }
}

fn with_renderer(rerender: &dyn Rerender) -> AuditReport {
    let records = records();
    let subject = Subject {
        rerender: Some(rerender),
        ..Subject::of_records("records", &records)
    };
    audit(&subject, &settings(), &mut silent).unwrap()
}

/// A renderer made of a function that may add to the prompt what it should not know.
fn renderer(
    leak: fn(&AuditRecord, &Change) -> &'static str,
) -> impl Fn(&[&AuditRecord], &Change) -> Result<Vec<Option<Rendered>>, DatasetError> + Sync {
    move |records, change| {
        let again = records.iter().map(|record| {
            Some(Rendered {
                prompt: format!("{}{}", record.prompt, leak(record, change)),
                label: turned(record, change),
                ..Rendered::default()
            })
        });
        Ok(again.collect())
    }
}

#[test]
fn other_kinds_of_record_are_audited_by_a_closure() {
    let report = with_renderer(&renderer(|_, _| ""));
    green(&report, &[1, 2, 3, 7, 9]);
    // What this kind does not have is said.
    for number in [4, 5, 6, 8, 10] {
        let check = report.check(number).unwrap();
        assert_eq!(check.status, Status::NotPossible);
        assert!(check.reason.is_some());
    }
    assert!(report.passed);
}

#[test]
fn each_change_of_the_future_has_its_check() {
    let only = |future: Future| -> fn(&AuditRecord, &Change) -> &'static str {
        match future {
            Future::Cut => |_, change| {
                if change.future == Future::Cut {
                    "!"
                } else {
                    ""
                }
            },
            Future::Nan => |_, change| {
                if change.future == Future::Nan {
                    "!"
                } else {
                    ""
                }
            },
            Future::Noise => |_, change| {
                if change.future == Future::Noise {
                    "!"
                } else {
                    ""
                }
            },
            Future::Thousandfold => |_, change| {
                if change.future == Future::Thousandfold {
                    "!"
                } else {
                    ""
                }
            },
            Future::Mirrored => |_, change| {
                if change.future == Future::Mirrored {
                    "!"
                } else {
                    ""
                }
            },
        }
    };
    for (future, red) in [
        (Future::Cut, 1),
        (Future::Nan, 2),
        (Future::Noise, 2),
        (Future::Thousandfold, 2),
        (Future::Mirrored, 3),
    ] {
        let report = with_renderer(&renderer(only(future)));
        let check = report.check(red).unwrap();
        assert_eq!(check.status, Status::Red, "{future:?}");
        assert!(
            check.found[0].message.contains(future.as_str()),
            "{check:?}"
        );
        for other in [1, 2, 3].into_iter().filter(|&other| other != red) {
            // A thousandfold also swaps labels.
            if (future, other) != (Future::Thousandfold, 3) {
                assert_eq!(status(&report, other), Status::Green, "{future:?} {other}");
            }
        }
    }
}

#[test]
fn a_record_that_cannot_be_made_without_the_future_is_found() {
    let vanishing = |records: &[&AuditRecord], change: &Change| {
        let gone = change.future == Future::Cut;
        let again = records.iter().map(|record| {
            (!gone).then(|| Rendered {
                prompt: record.prompt.clone(),
                label: turned(record, change),
                ..Rendered::default()
            })
        });
        Ok::<_, DatasetError>(again.collect())
    };
    let report = with_renderer(&vanishing);
    let check = report.check(1).unwrap();
    assert_eq!(check.status, Status::Red);
    assert!(check.found[0].message.contains("cannot be rendered"));
}

#[test]
fn a_renderer_that_ignores_the_change_is_shown_to_be_blind() {
    // It hands back what stands in the record: whatever leaked looks the same.
    let blind = |records: &[&AuditRecord], _: &Change| {
        let again = records.iter().map(|record| {
            Some(Rendered {
                prompt: record.prompt.clone(),
                features: record.features.clone(),
                label: record.label.clone(),
                ..Rendered::default()
            })
        });
        Ok::<_, DatasetError>(again.collect())
    };
    let report = with_renderer(&blind);
    assert_eq!(status(&report, 1), Status::Green);
    assert_eq!(status(&report, 3), Status::NotPossible);
    let check = report.check(7).unwrap();
    assert_eq!(check.status, Status::Red, "{check:#?}");
    assert!(check.found[0].message.contains("does not work"));
}

/// A pipeline that lets the outcome into its features, by a share of the decisions.
struct Leaky<'a> {
    bars: &'a [Bars],
    settings: DatasetSettings,
    leaks: bool,
}

impl Pipeline for Leaky<'_> {
    fn bars(&self) -> &[Bars] {
        self.bars
    }

    fn spacing(&self) -> i64 {
        12 * 3_600_000
    }

    fn walk_tells_nothing(&self) -> bool {
        true
    }

    fn records(&self, bars: &[Bars]) -> Result<Vec<AuditRecord>, DatasetError> {
        let dataset = build(&self.settings, bars, None, &mut |_| {
            ControlFlow::Continue(())
        })?;
        let mut records = AuditRecord::of_dataset(&dataset);
        if self.leaks {
            // A scaler that saw half the way to the outcome.
            for record in &mut records {
                let outcome = record.outcome_return.unwrap();
                let noise = (record.decision_time.0 / 3_600_000 % 17) as f64 / 8.0 - 1.0;
                record
                    .features
                    .insert("z".to_owned(), outcome + 0.03 * noise);
            }
        }
        Ok(records)
    }
}

#[test]
fn a_pipeline_that_knows_the_future_scores_above_chance_where_nothing_can_be_known() {
    let bars = inputs();
    let report = |leaks| {
        let pipeline = Leaky {
            bars: &bars,
            settings: DatasetSettings {
                decision_stride_bars: 12,
                ..DatasetSettings::default()
            },
            leaks,
        };
        let subject = Subject {
            pipeline: Some(&pipeline),
            ..Subject::of_records("pipeline", &[])
        };
        audit(&subject, &settings(), &mut silent).unwrap()
    };
    let clean = report(false);
    assert_eq!(status(&clean, 6), Status::Green, "{clean:#?}");
    let planted = &clean.check(7).unwrap().tried;
    assert!(
        planted.iter().any(|t| t.contains("null world")),
        "{planted:?}"
    );
    let leaky = report(true);
    let check = leaky.check(6).unwrap();
    assert_eq!(check.status, Status::Red, "{check:#?}");
    assert!(check.found[0].message.contains("second draw"));
}

#[test]
fn with_little_data_nothing_is_claimed() {
    let bars = [walk("BTC/USD", 3, 700, &[])];
    let settings_of = DatasetSettings {
        per_class: 20,
        ..DatasetSettings::default()
    };
    let dataset = quiet(&settings_of, &bars).unwrap();
    let report = of_dataset(&dataset, &bars);
    assert!(report.passed, "{report:#?}");
    assert_eq!(status(&report, 6), Status::NotPossible);
    assert_eq!(status(&report, 8), Status::NotPossible);
    assert_eq!(dataset.split(Split::Train).len(), 60);
}

#[test]
fn what_the_audit_refuses_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let bars = inputs();
    let mut altered = dataset(&bars);
    let write = |dataset: &Dataset, name: &str| {
        let report = of_dataset(dataset, &bars);
        let made = Audited::Made {
            report: &report,
            page: "<p>",
        };
        dataset.write_audited(&folder.path().join(name), made)
    };
    let manifest = write(&altered, "sound").unwrap();
    assert!(manifest.files.contains_key("audit.json"));
    assert!(manifest.audit.unwrap().contains(" 0 red"));
    assert!(Dataset::read(&folder.path().join("sound")).is_ok());

    altered.test[0].messages[0].content += "!";
    altered.train[0].messages[1].content += " 77.7%";
    let error = write(&altered, "leaky").unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("check 9 `claims` at examples.jsonl line 1"),
        "{text}"
    );
    assert!(error.hint().is_some());
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1);

    let skipped = altered.write_audited(&folder.path().join("skipped"), Audited::Skipped);
    assert_eq!(skipped.unwrap().audit.as_deref(), Some("skipped"));
}
