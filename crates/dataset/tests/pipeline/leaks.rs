//! Nothing from after the decision reaches a prompt, a feature or the persistence baseline, and
//! the outcome reaches nothing but the answer.

use crate::common::{quiet, walk};
use dataset::{
    AsOf, DatasetSettings, Decision, LabelRule, Series, Split, Templates, compose, facts,
    render_prompt,
};
use market::Bars;
use proptest::prelude::*;

/// All that may be known at a row, as bytes and bits.
#[derive(Debug, PartialEq)]
struct Seen {
    view: Option<AsOf>,
    prompt: Option<String>,
    features: Vec<u64>,
    persistence: Option<Decision>,
}

fn see(bars: &Bars, row: usize, settings: &DatasetSettings) -> Seen {
    let templates = Templates::load(settings).unwrap();
    let series = Series::new(bars, None, settings).unwrap();
    let view = series.view(row);
    let prompt = view
        .as_ref()
        .map(|view| render_prompt(view, &templates, settings).unwrap());
    let features = view.iter().flat_map(|view| {
        let features = view.features().into_values();
        features.map(f64::to_bits).collect::<Vec<u64>>()
    });
    Seen {
        features: features.collect(),
        prompt,
        persistence: series.outcomes().last_matured(row),
        view,
    }
}

/// Settings of every label rule.
fn ruled(rule: usize) -> DatasetSettings {
    let rules = [
        LabelRule::default(),
        LabelRule::Volatility {
            k: 1.0,
            window_bars: 48,
        },
        LabelRule::TripleBarrier {
            profit_k: 1.0,
            loss_k: 0.8,
            window_bars: 48,
        },
        LabelRule::TripleBarrierAbsolute {
            profit: 0.02,
            loss: 0.03,
        },
    ];
    DatasetSettings {
        label: rules[rule],
        ..DatasetSettings::default()
    }
}

/// Multiplies every price and volume from a row on.
fn poison(bars: &Bars, from: usize, factor: f64) -> Bars {
    let mut bars = bars.clone();
    for column in [
        &mut bars.open,
        &mut bars.high,
        &mut bars.low,
        &mut bars.close,
        &mut bars.volume,
    ] {
        for value in &mut column[from..] {
            *value *= factor;
        }
    }
    bars
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A history cut off at the decision gives the same bytes as the whole one.
    #[test]
    fn truncation_changes_nothing(
        seed in 0_u64..1000,
        row in 0_usize..900,
        missing in prop::collection::vec(0_usize..900, 0..3),
        rule in 0_usize..4,
    ) {
        let settings = ruled(rule);
        let bars = walk("BTC/USD", seed, 940, &missing);
        let row = row.min(bars.len() - 1);
        let whole = see(&bars, row, &settings);
        prop_assert_eq!(&see(&bars.slice(0..row + 1), row, &settings), &whole);
    }

    /// Whatever stands after the decision is not looked at.
    #[test]
    fn poison_after_the_decision_changes_nothing(
        seed in 0_u64..1000,
        row in 600_usize..900,
        rule in 0_usize..4,
    ) {
        let settings = ruled(rule);
        let bars = walk("BTC/USD", seed, 940, &[]);
        let clean = see(&bars, row, &settings);
        prop_assert!(clean.prompt.is_some());
        for factor in [f64::NAN, 1000.0, 0.5] {
            prop_assert_eq!(&see(&poison(&bars, row + 1, factor), row, &settings), &clean);
        }
        // The check can fail: the decision's own bar does change what is seen.
        prop_assert_ne!(&see(&poison(&bars, row, 1.5), row, &settings), &clean);
    }

    /// Turning the future upside down turns the label and leaves the prompt alone.
    #[test]
    fn the_outcome_is_not_in_the_prompt(seed in 0_u64..1000, row in 600_usize..900) {
        let settings = DatasetSettings::default();
        let bars = walk("BTC/USD", seed, 940, &[]);
        let mut turned = bars.clone();
        let now = bars.close[row];
        for after in row + 1..bars.len() {
            for column in [&mut turned.open, &mut turned.high, &mut turned.low, &mut turned.close] {
                column[after] = now * now / column[after];
            }
        }
        prop_assert_eq!(see(&bars, row, &settings), see(&turned, row, &settings));
        let label = |bars: &Bars| {
            let series = Series::new(bars, None, &settings).unwrap();
            series.outcomes().rows[row].unwrap().label
        };
        // Beyond 2.1 % one way is beyond 2 % the other way.
        let outcome = bars.close[row + 12] / now - 1.0;
        if outcome.abs() > 0.021 {
            prop_assert_eq!(label(&bars).opposite(), Some(label(&turned)));
        }
    }
}

#[test]
fn swapping_the_label_changes_the_answer_only() {
    let settings = DatasetSettings::default();
    let templates = Templates::load(&settings).unwrap();
    let bars = walk("BTC/USD", 1, 600, &[]);
    let view = Series::new(&bars, None, &settings)
        .unwrap()
        .view(500)
        .unwrap();
    let facts = facts(&view, &settings);
    let prompt = render_prompt(&view, &templates, &settings).unwrap();
    for decision in Decision::ALL {
        let answer = compose(&facts, decision, "id", &templates, 1).unwrap().text;
        assert!(answer.starts_with(&format!("DECISION: {decision} - ")));
        assert_eq!(render_prompt(&view, &templates, &settings).unwrap(), prompt);
    }
}

#[test]
fn every_prompt_of_a_data_set_is_that_of_its_truncated_history() {
    let settings = DatasetSettings {
        per_class: 20,
        decision_stride_bars: 5,
        ..DatasetSettings::default()
    };
    let bars = walk("BTC/USD", 3, 1500, &[700, 701]);
    let dataset = quiet(&settings, std::slice::from_ref(&bars)).unwrap();
    for split in Split::ALL {
        for example in dataset.split(split).iter().step_by(7) {
            let row = (0..bars.len())
                .find(|&row| bars.close_time(row) == example.decision_time.0)
                .unwrap();
            let seen = see(&bars.slice(0..row + 1), row, &settings);
            assert_eq!(seen.prompt.as_deref(), Some(example.prompt()));
            assert_eq!(seen.persistence, Some(example.persistence));
        }
    }
}

#[test]
fn prompts_of_one_data_set_share_the_instruction() {
    let settings = DatasetSettings {
        per_class: 20,
        ..DatasetSettings::default()
    };
    let inputs = [
        walk("BTC/USD", 3, 1500, &[]),
        walk("ETH/USDT:USDT", 4, 1500, &[]),
    ];
    let dataset = quiet(&settings, &inputs).unwrap();
    let instruction = |prompt: &str| prompt.split_once("\nAsset: ").unwrap().0.to_owned();
    let first = instruction(dataset.train[0].prompt());
    for split in Split::ALL {
        for example in dataset.split(split) {
            assert_eq!(instruction(example.prompt()), first);
        }
    }
}
