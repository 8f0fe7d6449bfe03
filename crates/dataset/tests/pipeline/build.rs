//! The whole way from bars to a data set: counts, cuts, balance, and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::common::{HOUR, START, quiet, walk};
use dataset::{
    Dataset, DatasetError, DatasetSettings, Decision, Example, LabelRule, Split, Stage, build,
    claims,
};
use market::{Bars, Timeframe, Timestamp};
use proptest::prelude::*;

fn settings(per_class: usize) -> DatasetSettings {
    DatasetSettings {
        per_class,
        ..DatasetSettings::default()
    }
}

fn classes(examples: &[Example]) -> BTreeMap<Decision, usize> {
    let mut counts = BTreeMap::new();
    for example in examples {
        *counts.entry(example.label).or_default() += 1;
    }
    counts
}

fn two() -> [Bars; 2] {
    [
        walk("ETH/USD", 2, 1600, &[900, 901, 902]),
        walk("BTC/USD", 1, 1500, &[]),
    ]
}

#[test]
fn training_is_balanced_and_the_rest_keeps_its_mix() {
    let dataset = quiet(&settings(40), &two()).unwrap();
    let train = classes(&dataset.train);
    assert!(Decision::ALL.into_iter().all(|class| train[&class] == 40));
    let sheet = &dataset.datasheet;
    assert_eq!(sheet.counts.train, 120);
    assert_eq!(sheet.balance.used_per_class, 40);
    assert_eq!(sheet.splits[&Split::Test].n, dataset.test.len());
    assert!(sheet.splits[&Split::Test].effective_n < sheet.counts.test as f64 / 6.0);
    for (split, examples) in [
        (Split::Validation, &dataset.validation),
        (Split::Test, &dataset.test),
    ] {
        // Every labelled decision between the cuts is there: a balanced part would be smaller.
        assert_eq!(sheet.splits[&split].classes, {
            let mut counts = classes(examples);
            for class in Decision::ALL {
                counts.entry(class).or_default();
            }
            counts
        });
        assert!(examples.len() > 150);
    }
}

#[test]
fn every_row_is_accounted_for() {
    let dataset = quiet(&settings(40), &two()).unwrap();
    for (instrument, sheet) in &dataset.datasheet.instruments {
        let parts = [
            sheet.off_stride,
            sheet.warm_up,
            sheet.unlabelled_gap,
            sheet.unlabelled_tail,
            sheet.purged,
            sheet.embargoed,
            sheet.balanced_away,
            sheet.used,
        ];
        assert_eq!(parts.iter().sum::<usize>(), sheet.rows, "{instrument}");
        assert_eq!(sheet.unlabelled_tail, 12, "{instrument}");
    }
    let eth = &dataset.datasheet.instruments.values().nth(1).unwrap();
    assert_eq!((eth.gaps, eth.missing_bars, eth.unlabelled_gap), (1, 3, 12));
    // 199 rows of EMA(200) at the start and again after the gap.
    assert_eq!(eth.warm_up, 398);
    assert!(dataset.datasheet.warnings[0].starts_with("ETH/USD 1h: 1 gaps, 3 bars missing"));
    let page = dataset.datasheet.markdown();
    assert!(page.contains("| ETH/USD 1h | 1597 |"), "{page}");
}

#[test]
fn answers_state_their_label_and_no_number_of_their_own() {
    let dataset = quiet(&settings(40), &two()).unwrap();
    let mut templates = BTreeSet::new();
    for split in Split::ALL {
        for example in dataset.split(split) {
            let decision = dataset::parse_answer(example.answer());
            assert_eq!(decision, Some(example.label));
            claims::check(
                &example.id,
                example.answer(),
                example.prompt(),
                &example.facts,
            )
            .unwrap();
            let rule = dataset.settings.label;
            assert_eq!(rule.decide(example.outcome_return, 0.0), example.label);
            templates.insert(example.template.clone());
        }
    }
    assert!(templates.len() >= 30, "{templates:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// No training span meets a later part's span, across all instruments.
    #[test]
    fn parts_never_meet(seed in 0_u64..1000, stride in 1_u32..14, embargo in 0_u32..40) {
        let settings = DatasetSettings {
            decision_stride_bars: stride,
            embargo_hours: Some(embargo),
            ..settings(5)
        };
        let inputs = [walk("A/USD", seed, 1500, &[800]), walk("B/USD", seed + 1, 1700, &[])];
        let dataset = match quiet(&settings, &inputs) {
            Ok(dataset) => dataset,
            // A sparse draw may lack a class; then there is nothing to check.
            Err(DatasetError::EmptyClass { .. }) => return Ok(()),
            Err(error) => panic!("{error}"),
        };
        let ends = |examples: &[Example]| examples.iter().map(|e| e.span.1).max().unwrap();
        let starts = |examples: &[Example]| examples.iter().map(|e| e.span.0).min().unwrap();
        let embargo = i64::from(embargo) * HOUR;
        for (earlier, later) in [
            (&dataset.train, &dataset.validation),
            (&dataset.validation, &dataset.test),
        ] {
            prop_assert!(starts(later).0 - ends(earlier).0 >= embargo.max(1));
        }
        let step = i64::from(stride) * HOUR;
        for split in Split::ALL {
            for example in dataset.split(split) {
                prop_assert_eq!(example.decision_time.0 % step, 0);
            }
        }
    }
}

#[test]
fn a_short_class_is_matched_with_a_warning() {
    let dataset = quiet(&settings(100_000), &two()).unwrap();
    let sheet = &dataset.datasheet;
    let rarest = *sheet.balance.available.values().min().unwrap();
    assert_eq!(sheet.balance.used_per_class, rarest);
    assert_eq!(dataset.train.len(), 3 * rarest);
    let warned = sheet
        .warnings
        .iter()
        .any(|warning| warning.starts_with("asked for 100000 training examples of each class"));
    assert!(warned, "{:?}", sheet.warnings);
}

#[test]
fn what_cannot_be_built_is_refused() {
    let check = |settings: &DatasetSettings, bars: &[Bars], expect: &str| {
        let error = quiet(settings, bars).unwrap_err();
        let name = format!("{error:?}");
        assert!(name.starts_with(expect), "{expect}: {name}");
        error
    };
    let good = || walk("BTC/USD", 1, 1500, &[]);
    check(&settings(0), &[good()], "Setting");
    check(&settings(5), &[], "NoInput");
    check(&settings(5), &[good(), good()], "DuplicateInstrument");
    let mut other = good();
    other.timeframe = Timeframe::FOUR_HOURS;
    check(&settings(5), &[other], "Timeframe");
    let mut unsorted = good();
    unsorted.open_time.swap(3, 4);
    check(&settings(5), &[unsorted], "Market");
    let mut poisoned = good();
    poisoned.close[7] = f64::NAN;
    check(&settings(5), &[poisoned], "Market");
    let short = check(
        &settings(5),
        &[walk("BTC/USD", 1, 150, &[])],
        "NothingLabelled",
    );
    assert!(
        short
            .to_string()
            .contains("150 rows, 0 off stride, 150 in the warm-up"),
        "{short}"
    );
    assert!(short.hint().is_some());
    check(&settings(5), &[walk("BTC/USD", 1, 214, &[])], "Stats");
    let calm = DatasetSettings {
        label: LabelRule::Absolute {
            buy_above: 0.02,
            sell_below: -0.9,
        },
        ..settings(5)
    };
    let error = check(&calm, &[good()], "EmptyClass { class: Sell");
    assert!(error.to_string().contains("`SELL`"), "{error}");
}

#[test]
fn an_invented_number_stops_the_build() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("completions.toml");
    let source = dataset::Templates::load(&settings(5)).unwrap();
    let invented = source
        .completion_source()
        .replace("which favours a rise.", "with a win rate of 63%.");
    std::fs::write(&path, invented).unwrap();
    let settings = DatasetSettings {
        completion_templates: Some(path),
        ..settings(40)
    };
    match quiet(&settings, &two()).unwrap_err() {
        DatasetError::UnknownNumber { id, number } => {
            assert_eq!(number, "63%");
            assert!(id.contains("/USD@1h@2019-"), "{id}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_break_interrupts_at_every_stage() {
    let inputs = two();
    for stage in [Stage::Instruments, Stage::Examples] {
        let error = build(&settings(40), &inputs, None, &mut |progress| {
            if progress.stage == stage {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap_err();
        assert!(matches!(error, DatasetError::Interrupted), "{error}");
    }
}

#[test]
fn progress_ends_at_its_total() {
    let mut last = BTreeMap::new();
    build(&settings(40), &two(), None, &mut |progress| {
        last.insert(format!("{:?}", progress.stage), progress);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(last.len(), 2);
    for progress in last.values() {
        assert_eq!(progress.done, progress.total);
    }
}

#[test]
fn the_fear_and_greed_index_is_joined_with_its_lag() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fear.csv");
    let first = START / 1000 + 20 * 86_400;
    let mut rows = vec!["timestamp,value,classification".to_owned()];
    rows.extend((0..45).map(|day| format!("{},{},x", first + day * 86_400, 20 + day)));
    std::fs::write(&path, rows.join("\n")).unwrap();
    let index = market::sentiment::read_csv(&path).unwrap();
    let settings = DatasetSettings {
        fear_greed_max_age_hours: 48,
        ..settings(40)
    };
    let bars = [walk("BTC/USD", 1, 2400, &[])];
    let around = market::Surroundings {
        fear_greed: Some(index.clone()),
        ..market::Surroundings::default()
    };
    let dataset = build(&settings, &bars, Some(&around), &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    let mut shown = 0;
    for split in Split::ALL {
        for example in dataset.split(split) {
            let fact = &example.facts["fear_greed"];
            // A reading stamped on a day is known a day later.
            let day = (example.decision_time.0 / 1000 - 86_400 - first).div_euclid(86_400);
            let expect = match day {
                0..45 => format!("{}", 20 + day),
                // The last reading, published on day 45, may be 48 hours old.
                45 => "64".to_owned(),
                _ => "n/a".to_owned(),
            };
            let edge = Timestamp((first + 86_400 * 47) * 1000) == example.decision_time;
            assert!(fact.text == expect || edge, "{}: {fact:?}", example.id);
            shown += usize::from(fact.text != "n/a");
        }
    }
    assert!(shown > 50, "{shown}");
    let counted: usize = dataset
        .datasheet
        .splits
        .values()
        .map(|sheet| sheet.fear_greed_known)
        .sum();
    assert_eq!(counted, shown);
}

#[test]
fn bars_of_a_market_that_closes_need_that_said() {
    // Two days off each week.
    let weekend: Vec<usize> = (0..24 * 7 * 20).filter(|hour| hour % 168 >= 120).collect();
    let bars = [walk("EUR/USD", 1, 24 * 7 * 20, &weekend)];
    let error = quiet(&settings(20), &bars).unwrap_err();
    assert!(
        matches!(error, DatasetError::NothingLabelled { .. }),
        "{error}"
    );
    let settings = DatasetSettings {
        market_closed_hours: 60,
        ..settings(20)
    };
    let dataset: Dataset = quiet(&settings, &bars).unwrap();
    let sheet = dataset.datasheet.instruments.values().next().unwrap();
    assert_eq!(sheet.warm_up, 199);
    // Labels never cross the weekend, whatever indicators may.
    assert!(sheet.unlabelled_gap >= 12 * 17);
}
