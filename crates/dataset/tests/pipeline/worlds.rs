//! The test worlds keep their promise through the whole pipeline.

use crate::common::quiet;
use dataset::world::{BLOCKS, World, null, planted, planted_digits};
use dataset::{Dataset, Decision, Example, Split};
use stats::metrics::{accuracy, balanced_accuracy};

/// Standard errors by which a share may miss its expectation: one test in 10,000 would.
const SIGMAS: f64 = 4.0;

fn dataset(world: &World) -> Dataset {
    quiet(&world.settings, &world.bars).unwrap()
}

fn labels(examples: &[Example]) -> Vec<usize> {
    examples.iter().map(|e| e.label.index()).collect()
}

fn margin(share: f64, n: usize) -> f64 {
    SIGMAS * (share * (1.0 - share) / n as f64).sqrt()
}

fn by_zone(example: &Example) -> Decision {
    match example.facts["rsi"].zone.as_deref().unwrap() {
        "oversold" => Decision::Buy,
        "overbought" => Decision::Sell,
        "neutral" => Decision::Hold,
        other => panic!("{other}"),
    }
}

fn by_digits(example: &Example) -> Decision {
    let fact = &example.facts["change_24h"];
    assert_eq!(fact.zone, None);
    let percent: f64 = fact.text.strip_suffix('%').unwrap().parse().unwrap();
    match percent {
        x if x < -1.5 => Decision::Buy,
        x if x > 1.5 => Decision::Sell,
        _ => Decision::Hold,
    }
}

fn check_rule(world: &World, rule: fn(&Example) -> Decision) {
    let dataset = dataset(world);
    let counts = dataset.datasheet.counts;
    assert_eq!(counts.train, 1500, "{:?}", dataset.datasheet.warnings);
    assert!(counts.test >= 300 && counts.validation >= 300, "{counts:?}");
    assert_eq!(dataset.datasheet.warnings, [""; 0]);
    for split in [Split::Validation, Split::Test] {
        let examples = dataset.split(split);
        let truth = labels(examples);
        let predicted: Vec<usize> = examples.iter().map(|e| rule(e).index()).collect();
        let got = accuracy(&truth, &predicted);
        let bayes = world.bayes_accuracy.unwrap();
        assert!(
            (got - bayes).abs() < margin(bayes, truth.len()),
            "{} {split}: {got}",
            world.name
        );
        // The same rule read the wrong way is not right: the check can fail.
        let wrong: Vec<usize> = predicted.iter().map(|p| (p + 1) % 3).collect();
        assert!(accuracy(&truth, &wrong) < 0.2);
    }
}

#[test]
fn the_word_rule_is_right_nine_times_in_ten() {
    for seed in [1, 2, 17] {
        check_rule(&planted(seed, BLOCKS).unwrap(), by_zone);
    }
}

#[test]
fn the_digit_rule_is_right_nine_times_in_ten() {
    for seed in [1, 17] {
        check_rule(&planted_digits(seed, BLOCKS).unwrap(), by_digits);
    }
}

fn logistic(dataset: &Dataset) -> (Vec<usize>, Vec<usize>) {
    let rows = |examples: &[Example]| -> Vec<Vec<f64>> {
        let row = |e: &Example| e.features.values().copied().collect();
        examples.iter().map(row).collect()
    };
    let model =
        stats::logistic::fit(&rows(&dataset.train), &labels(&dataset.train), 3, 1.0).unwrap();
    let predicted = rows(&dataset.test)
        .iter()
        .map(|row| stats::argmax(&model.probabilities(row)))
        .collect();
    (labels(&dataset.test), predicted)
}

#[test]
fn nothing_predicts_the_random_walk() {
    for seed in [1, 17] {
        let world = null(seed, BLOCKS).unwrap();
        let dataset = dataset(&world);
        let test = &dataset.datasheet.splits[&Split::Test];
        for class in [Decision::Buy, Decision::Sell] {
            let share = test.classes[&class] as f64 / test.n as f64;
            assert!((0.15..0.30).contains(&share), "{class}: {share}");
        }
        let chance = 1.0 / 3.0;
        // Balanced accuracy is a mean over classes of unequal size: half as wide again.
        let margin = 1.5 * margin(chance, test.n);
        let (truth, predicted) = logistic(&dataset);
        let got = balanced_accuracy(&truth, &predicted, 3);
        assert!((got - chance).abs() < margin, "logistic: {got}");
        let persistence: Vec<usize> = dataset.test.iter().map(|e| e.persistence.index()).collect();
        let got = balanced_accuracy(&truth, &persistence, 3);
        assert!((got - chance).abs() < margin, "persistence: {got}");
    }
}

#[test]
fn the_same_baseline_finds_the_planted_rule() {
    let dataset = dataset(&planted(17, BLOCKS).unwrap());
    let (truth, predicted) = logistic(&dataset);
    let got = balanced_accuracy(&truth, &predicted, 3);
    assert!(got > 0.8, "{got}");
}
