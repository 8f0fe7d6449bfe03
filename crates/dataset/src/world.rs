//! Test worlds: synthetic candles of which the truth is known.
//!
//! [`planted`] hides a rule that a model can read in the prompt's words, [`planted_digits`] one
//! that only digits state, [`null`] nothing at all. They go through the same code as real
//! candles and show that the machine can learn, and that it does not fool itself.
//!
//! # Why the Bayes accuracy is exactly 0.9
//! In the planted worlds the label of a decision is drawn after the candles up to it exist, by a
//! generator that sees only the rule's verdict on them: the verdict itself with probability 0.9,
//! each of the other two with 0.05. The return over the horizon is then drawn well inside that
//! label's range. So given everything known at the decision, the verdict has probability 0.9 and
//! nothing else more than 0.05: no predictor can be right more often than 0.9, and the rule is.
//!
//! # Why decisions are a day apart
//! A decision's horizon is 12 hours, and the 12 hours after it are spent on steering: they bring
//! the market to a state for the next decision that is drawn one third each, independent of every
//! label before. Within the horizon itself that is impossible: after a return of +2.4 % within 12
//! bars from RSI 30, Wilder's average gain cannot come out below three sevenths of the average
//! loss, so oversold could never follow a BUY from there.

mod path;

use market::{Bars, Instrument, Timeframe};

use crate::{DatasetError, DatasetSettings, Decision};
use path::Path;

/// The number of labelled decisions of a planted world that trains in minutes: 1,500 balanced
/// training examples and more than 300 to test on.
pub const BLOCKS: usize = 2400;

/// The accuracy of the best possible predictor in the planted worlds.
pub const BAYES_ACCURACY: f64 = 0.9;

/// Bars before the first decision, so that EMA(200) is warm at it and not a decision earlier.
const WARMUP: usize = 216;
/// Bars of a horizon, and of the steering after it.
const HALF: usize = 12;
/// Training examples wanted of each class.
const PER_CLASS: usize = 500;
/// Within the rule's zones, away from their edges: the RSI aimed at, by decision.
const RSI_TARGETS: [(f64, f64); 3] = [(15.0, 28.5), (71.5, 85.0), (33.0, 67.0)];
/// The 24 h change aimed at, by decision, away from the edges at -1.5 % and +1.5 %.
const CHANGE_TARGETS: [(f64, f64); 3] = [(-0.045, -0.017), (0.017, 0.045), (-0.013, 0.013)];
/// The size of the return over the horizon, by label, away from the thresholds at 2 %.
const BUY_RETURN: (f64, f64) = (0.024, 0.040);
const HOLD_RETURN: (f64, f64) = (0.0, 0.014);
/// The hourly volatility of the random walk: with it P(BUY) is 22.5 % and P(SELL) 22.0 %.
const NULL_VOLATILITY: f64 = 0.00757;

/// Synthetic candles with what is known about them.
#[derive(Debug, Clone)]
pub struct World {
    /// `planted`, `planted-digits` or `null`.
    pub name: String,
    /// The candles.
    pub bars: Vec<Bars>,
    /// The accuracy of the best possible predictor, where it is known by construction.
    pub bayes_accuracy: Option<f64>,
    /// The rule in words, if there is one.
    pub rule: Option<String>,
    /// The settings that fit the world.
    pub settings: DatasetSettings,
}

/// Returns a world in which the zone word of RSI(14) tells the label: oversold BUY, overbought
/// SELL, neutral HOLD, each with probability 0.9. [`BLOCKS`] is a good number of decisions.
///
/// # Errors
/// None for the names used here; the signature leaves room for a market that refuses them.
pub fn planted(seed: u64, blocks: usize) -> Result<World, DatasetError> {
    let mut path = Path::new(seed);
    path.wander(WARMUP - HALF);
    let mut verdict = steer_to_zone(&mut path);
    for _ in 0..blocks {
        live_through(&mut path, verdict);
        verdict = steer_to_zone(&mut path);
    }
    Ok(World {
        name: "planted".to_owned(),
        bars: vec![candles(path, "PLANTED/USD")?],
        bayes_accuracy: Some(BAYES_ACCURACY),
        rule: Some(
            "RSI(14) oversold: BUY, overbought: SELL, neutral: HOLD, each with probability 0.9"
                .to_owned(),
        ),
        settings: settings(2 * HALF),
    })
}

/// Returns a world in which the 24 h change tells the label: below -1.5 % BUY, above +1.5 % SELL,
/// else HOLD, each with probability 0.9. The prompt states that change in digits, without a word.
///
/// Words that describe the same path hint at it: the zone of the RSI alone predicts 59 % of the
/// labels. So what a model gets above that is what it has read in digits.
///
/// # Errors
/// As [`planted`].
pub fn planted_digits(seed: u64, blocks: usize) -> Result<World, DatasetError> {
    let mut path = Path::new(seed);
    path.wander(WARMUP - HALF);
    let mut verdict = steer_to_change(&mut path);
    for _ in 0..blocks {
        live_through(&mut path, verdict);
        verdict = steer_to_change(&mut path);
    }
    Ok(World {
        name: "planted-digits".to_owned(),
        bars: vec![candles(path, "DIGITS/USD")?],
        bayes_accuracy: Some(BAYES_ACCURACY),
        rule: Some(
            "24h change below -1.5%: BUY, above +1.5%: SELL, else: HOLD, each with probability 0.9"
                .to_owned(),
        ),
        settings: DatasetSettings {
            change_zone: false,
            ..settings(2 * HALF)
        },
    })
}

/// Returns a geometric random walk of constant volatility, as long as a planted world of so many
/// blocks. Nothing known at a decision tells its label.
///
/// # Errors
/// As [`planted`].
pub fn null(seed: u64, blocks: usize) -> Result<World, DatasetError> {
    let mut path = Path::new(seed);
    path.walk(WARMUP + 2 * HALF * blocks, NULL_VOLATILITY);
    Ok(World {
        name: "null".to_owned(),
        bars: vec![candles(path, "NULL/USD")?],
        bayes_accuracy: None,
        rule: None,
        settings: settings(HALF),
    })
}

fn settings(stride: usize) -> DatasetSettings {
    DatasetSettings {
        decision_stride_bars: stride as u32,
        per_class: PER_CLASS,
        ..DatasetSettings::default()
    }
}

/// Draws the label from the rule's verdict and lives through the horizon that deserves it.
fn live_through(path: &mut Path, verdict: Decision) {
    let label = if path.chance(BAYES_ACCURACY) {
        verdict
    } else {
        let others: Vec<Decision> = Decision::ALL
            .into_iter()
            .filter(|other| *other != verdict)
            .collect();
        others[usize::from(path.chance(0.5))]
    };
    // The size within a class pulls the price back to where it started; the label never does.
    let outcome_return = match label {
        Decision::Buy => path.sized(BUY_RETURN, 1.0),
        Decision::Sell => -path.sized(BUY_RETURN, -1.0),
        Decision::Hold => path.towards_start() * path.uniform(HOLD_RETURN),
    };
    path.bridge(HALF, path.last() * (1.0 + outcome_return));
}

/// Brings the RSI to a zone drawn one third each, and returns the rule's verdict on it.
fn steer_to_zone(path: &mut Path) -> Decision {
    let verdict = Decision::ALL[path.third()];
    let target = path.uniform(RSI_TARGETS[verdict.index()]);
    path.steer_rsi(HALF, target);
    verdict
}

/// Brings the 24 h change to a range drawn one third each, and returns the rule's verdict on it.
fn steer_to_change(path: &mut Path) -> Decision {
    let verdict = Decision::ALL[path.third()];
    let change = path.uniform(CHANGE_TARGETS[verdict.index()]);
    let day_ago = path.ago(HALF);
    path.bridge(HALF, day_ago * (1.0 + change));
    verdict
}

fn candles(mut path: Path, name: &str) -> Result<Bars, DatasetError> {
    // 2015-01-01T00:00:00Z, a multiple of every timeframe up to a day.
    const START: i64 = 1_420_070_400_000;
    let (open, high, low, close, volume) = path.candles();
    let hour = Timeframe::HOUR.milliseconds();
    Ok(Bars {
        instrument: Instrument::new(name)?,
        timeframe: Timeframe::HOUR,
        open_time: (0..close.len() as i64)
            .map(|row| START + row * hour)
            .collect(),
        open,
        high,
        low,
        close,
        volume,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(seed: u64, blocks: usize) -> [World; 3] {
        [
            planted(seed, blocks).unwrap(),
            planted_digits(seed, blocks).unwrap(),
            null(seed, blocks).unwrap(),
        ]
    }

    #[test]
    fn worlds_are_sound_bars_of_a_sane_price() {
        for seed in 0..4 {
            for world in all(seed, BLOCKS) {
                let bars = &world.bars[0];
                assert_eq!(bars.len(), WARMUP + 24 * BLOCKS, "{}", world.name);
                assert_eq!(bars.validate().unwrap(), [], "{}", world.name);
                world.settings.validate().unwrap();
                if world.bayes_accuracy.is_some() {
                    let (low, high) = bars
                        .close
                        .iter()
                        .fold((f64::MAX, 0.0_f64), |(l, h), x| (l.min(*x), h.max(*x)));
                    assert!(low > 1e3 && high < 1e5, "{}: {low} {high}", world.name);
                }
            }
        }
    }

    #[test]
    fn worlds_depend_on_the_seed_and_on_nothing_else() {
        for (one, same) in all(1, 20).into_iter().zip(all(1, 20)) {
            assert_eq!(one.bars, same.bars);
        }
        for (one, other) in all(1, 20).into_iter().zip(all(2, 20)) {
            assert_ne!(one.bars, other.bars);
        }
    }

    #[test]
    fn the_rsi_at_each_decision_is_that_of_the_formula_and_within_its_zone() {
        let world = planted(5, 300).unwrap();
        let bars = &world.bars[0];
        let rsi = formula::rsi(&bars.close, 14);
        let mut counts = [0; 3];
        for block in 0..=300 {
            let value = rsi[WARMUP - 1 + 24 * block];
            let inside = |(low, high): &(f64, f64)| (low - 1e-6..high + 1e-6).contains(&value);
            let zone = RSI_TARGETS.iter().position(inside);
            counts[zone.unwrap_or_else(|| panic!("block {block}: RSI {value}"))] += 1;
        }
        assert!(counts.iter().all(|count| *count > 70), "{counts:?}");
    }

    #[test]
    fn the_change_at_each_decision_is_within_its_range() {
        let world = planted_digits(5, 300).unwrap();
        let close = &world.bars[0].close;
        for block in 0..=300 {
            let row = WARMUP - 1 + 24 * block;
            let change = close[row] / close[row - 24] - 1.0;
            let inside = |(low, high): &(f64, f64)| (low - 1e-9..high + 1e-9).contains(&change);
            assert!(CHANGE_TARGETS.iter().any(inside), "block {block}: {change}");
        }
    }

    #[test]
    fn returns_over_the_horizon_keep_away_from_the_thresholds() {
        for world in [planted(9, 300).unwrap(), planted_digits(9, 300).unwrap()] {
            let close = &world.bars[0].close;
            for block in 0..300 {
                let row = WARMUP - 1 + 24 * block;
                let size = (close[row + 12] / close[row] - 1.0).abs();
                assert!(size < 0.015 || (0.0239..0.0401).contains(&size), "{size}");
            }
        }
    }
}
