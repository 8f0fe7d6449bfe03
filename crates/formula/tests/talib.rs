//! Agreement with TA-Lib on the values written by
//! `python/reference/indicators_fixtures.py`: real candles and edge cases.
#![expect(
    clippy::unwrap_used,
    reason = "a fixture that does not parse fails its test"
)]

use std::collections::BTreeMap;

use serde::Deserialize;

/// The largest difference, relative to the scale of an output (100 for the RSI,
/// the largest price otherwise). Both sides work in double precision: recursions
/// are the same and differ by single roundings, while TA-Lib's running sums for
/// the bands may lose about seven of sixteen digits.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Case {
    name: String,
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
    outputs: BTreeMap<String, Vec<Option<f64>>>,
}

impl Case {
    /// Computes the output that the fixture calls `key`.
    fn compute(&self, key: &str) -> Vec<f64> {
        let words: Vec<&str> = key.split(' ').collect();
        let period = |word: &str| word.parse::<usize>().unwrap();
        let close = &self.close;
        match words[..] {
            ["rsi", p] => formula::rsi(close, period(p)),
            ["ema", p] => formula::ema(close, period(p)),
            ["atr", p] => formula::atr(&self.high, &self.low, close, period(p)),
            ["macd", ref line @ .., fast, slow, signal] => {
                let macd = formula::macd(close, period(fast), period(slow), period(signal));
                match line {
                    [] => macd.macd,
                    ["signal"] => macd.signal,
                    ["histogram"] => macd.histogram,
                    _ => panic!("unknown output {key}"),
                }
            }
            ["bollinger", line, p, width] => {
                let bands = formula::bollinger(close, period(p), width.parse().unwrap());
                match line {
                    "upper" => bands.upper,
                    "middle" => bands.middle,
                    "lower" => bands.lower,
                    _ => panic!("unknown output {key}"),
                }
            }
            _ => panic!("unknown output {key}"),
        }
    }

    fn check(&self, key: &str, expected: &[Option<f64>]) {
        let scale = if key.starts_with("rsi") {
            100.0
        } else {
            self.close.iter().copied().fold(0.0, f64::max)
        };
        let got = self.compute(key);
        assert_eq!(got.len(), expected.len(), "{}: {key}", self.name);
        for (row, (&got, &expected)) in got.iter().zip(expected).enumerate() {
            let equal = match expected {
                None => got.is_nan(),
                Some(value) => (got - value).abs() <= TOLERANCE * scale,
            };
            assert!(
                equal,
                "{}: {key}, row {row}: {got} is not {expected:?}",
                self.name
            );
        }
    }
}

#[test]
fn indicators_agree_with_talib() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures/talib.json")).unwrap();
    let mut known = 0;
    for case in &cases {
        for (key, expected) in &case.outputs {
            case.check(key, expected);
            known += expected.iter().flatten().count();
        }
    }
    // Guards against a fixture of nulls.
    assert!(cases.len() >= 19 && known > 5_000, "{known}");
}
