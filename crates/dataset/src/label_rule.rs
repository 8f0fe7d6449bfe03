//! The rules by which what the price did becomes a label.
//!
//! Two rules look at the return over the whole horizon; two set barriers and look for the one that
//! is touched first (Lopez de Prado, "Advances in Financial Machine Learning", 2018, chapter 3).
//! What counts as a touch: [`crate::outcomes`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DatasetError, Decision};

/// How what the price did within the horizon becomes a label.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum LabelRule {
    /// BUY above one return, SELL below another, else HOLD. Returns are fractions: 0.02 is 2 %.
    Absolute {
        /// BUY if the return is greater, more than 0.
        #[serde(default = "two_percent")]
        buy_above: f64,
        /// SELL if the return is less, below 0.
        #[serde(default = "minus_two_percent")]
        sell_below: f64,
    },
    /// BUY above and SELL below `k * sigma * sqrt(h)`, where `sigma` is the standard deviation of
    /// the log return per bar over the last `window_bars` bars, known at the decision, and `h` the
    /// horizon in bars.
    Volatility {
        /// The multiple of the typical move.
        k: f64,
        /// Bars over which the volatility is measured.
        window_bars: usize,
    },
    /// BUY if the price touches `profit_k` typical moves above before `loss_k` below, SELL if it
    /// touches the lower barrier first, HOLD if the horizon ends before either. The typical move
    /// is that of [`LabelRule::Volatility`].
    TripleBarrier {
        /// The upper barrier in typical moves.
        profit_k: f64,
        /// The lower barrier in typical moves.
        loss_k: f64,
        /// Bars over which the volatility is measured.
        window_bars: usize,
    },
    /// The same with barriers at fixed distances, fractions of the price: 0.02 is 2 %.
    TripleBarrierAbsolute {
        /// How far above the decision's price the upper barrier is.
        #[serde(default = "two_percent")]
        profit: f64,
        /// How far below it the lower barrier is.
        #[serde(default = "two_percent")]
        loss: f64,
    },
}

fn two_percent() -> f64 {
    0.02
}

fn minus_two_percent() -> f64 {
    -0.02
}

impl Default for LabelRule {
    fn default() -> Self {
        Self::Absolute {
            buy_above: two_percent(),
            sell_below: minus_two_percent(),
        }
    }
}

impl LabelRule {
    /// Returns the bars over which the volatility that scales the rule is measured; none for a
    /// rule of fixed size.
    pub fn window_bars(self) -> Option<usize> {
        match self {
            Self::Absolute { .. } | Self::TripleBarrierAbsolute { .. } => None,
            Self::Volatility { window_bars, .. } | Self::TripleBarrier { window_bars, .. } => {
                Some(window_bars)
            }
        }
    }

    /// Reports whether the first barrier touched decides, and not the return over the horizon.
    pub fn first_touch(self) -> bool {
        matches!(
            self,
            Self::TripleBarrier { .. } | Self::TripleBarrierAbsolute { .. }
        )
    }

    /// Returns the returns that separate BUY from HOLD and HOLD from SELL, given the typical move
    /// over the horizon, `sigma * sqrt(h)`, which rules of fixed size do not use.
    pub fn thresholds(self, typical_move: f64) -> (f64, f64) {
        match self {
            Self::Absolute {
                buy_above,
                sell_below,
            } => (buy_above, sell_below),
            Self::Volatility { k, .. } => (k * typical_move, -k * typical_move),
            Self::TripleBarrier {
                profit_k, loss_k, ..
            } => (profit_k * typical_move, -loss_k * typical_move),
            Self::TripleBarrierAbsolute { profit, loss } => (profit, -loss),
        }
    }

    /// Returns the label of a return over the whole horizon, of rules that look at nothing else.
    /// A return exactly on a threshold is HOLD.
    pub fn decide(self, outcome_return: f64, typical_move: f64) -> Decision {
        let (above, below) = self.thresholds(typical_move);
        if outcome_return > above {
            Decision::Buy
        } else if outcome_return < below {
            Decision::Sell
        } else {
            Decision::Hold
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`DatasetError::Setting`] for the first value out of its range, naming it.
    pub(crate) fn validate(self) -> Result<(), DatasetError> {
        match self {
            Self::Absolute {
                buy_above,
                sell_below,
            } => {
                positive(
                    "label.buy_above",
                    buy_above,
                    "a fraction above 0, such as 0.02",
                )?;
                let expected = "a fraction between -1 and 0, such as -0.02";
                within("label.sell_below", sell_below, (-1.0, 0.0), expected)
            }
            Self::Volatility { k, window_bars } => {
                positive("label.k", k, MULTIPLE)?;
                window(window_bars)
            }
            Self::TripleBarrier {
                profit_k,
                loss_k,
                window_bars,
            } => {
                positive("label.profit_k", profit_k, MULTIPLE)?;
                positive("label.loss_k", loss_k, MULTIPLE)?;
                window(window_bars)
            }
            Self::TripleBarrierAbsolute { profit, loss } => {
                positive("label.profit", profit, "a fraction above 0, such as 0.02")?;
                let expected = "a fraction between 0 and 1, such as 0.02";
                within("label.loss", loss, (0.0, 1.0), expected)
            }
        }
    }

    /// Returns the rule in words, given the horizon in hours.
    pub fn words(self, hours: u32) -> String {
        let typical = |window_bars: usize| {
            format!(
                "a typical move is the volatility of the last {window_bars} bars times the square \
                 root of the horizon in bars"
            )
        };
        match self {
            Self::Absolute {
                buy_above,
                sell_below,
            } => format!(
                "BUY if the close {hours} hours after the decision is more than {}% above, SELL if \
                 it is more than {}% below, else HOLD",
                buy_above * 100.0,
                -sell_below * 100.0
            ),
            Self::Volatility { k, window_bars } => format!(
                "BUY if the close {hours} hours after the decision is more than {k} typical moves \
                 above, SELL if more than that below, else HOLD; {}",
                typical(window_bars)
            ),
            Self::TripleBarrier {
                profit_k,
                loss_k,
                window_bars,
            } => format!(
                "BUY if the price touches {profit_k} typical moves above the decision's close \
                 before {loss_k} below it, SELL if it touches the lower barrier first, HOLD if \
                 {hours} hours pass without a touch or one bar touches both; {}",
                typical(window_bars)
            ),
            Self::TripleBarrierAbsolute { profit, loss } => format!(
                "BUY if the price touches {} above the decision's close before {} below it, SELL \
                 if it touches the lower barrier first, HOLD if {hours} hours pass without a \
                 touch or one bar touches both",
                Percent(profit),
                Percent(loss)
            ),
        }
    }
}

const MULTIPLE: &str = "a number above 0, such as 1.0";

fn positive(name: &'static str, value: f64, expected: &str) -> Result<(), DatasetError> {
    within(name, value, (0.0, f64::INFINITY), expected)
}

/// Refuses a value that does not lie between two others.
fn within(
    name: &'static str,
    value: f64,
    (least, most): (f64, f64),
    expected: &str,
) -> Result<(), DatasetError> {
    if value > least && value < most {
        return Ok(());
    }
    Err(DatasetError::Setting {
        name,
        value: value.to_string(),
        expected: expected.to_owned(),
    })
}

fn window(window_bars: usize) -> Result<(), DatasetError> {
    if (2..=100_000).contains(&window_bars) {
        return Ok(());
    }
    Err(DatasetError::Setting {
        name: "label.window_bars",
        value: window_bars.to_string(),
        expected: "2 to 100000".to_owned(),
    })
}

/// A fraction as a percentage, without the noise of binary fractions.
pub(crate) struct Percent(pub(crate) f64);

impl fmt::Display for Percent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}%", (self.0 * 1e6).round() / 1e4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(rule: LabelRule) -> &'static str {
        match rule.validate().unwrap_err() {
            DatasetError::Setting { name, .. } => name,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn thresholds_themselves_are_hold() {
        let rule = LabelRule::default();
        let check = |value, expect| assert_eq!(rule.decide(value, 0.0), expect, "{value}");
        check(0.0201, Decision::Buy);
        check(0.02, Decision::Hold);
        check(-0.02, Decision::Hold);
        check(-0.0201, Decision::Sell);
        let rule = LabelRule::Volatility {
            k: 2.0,
            window_bars: 24,
        };
        assert_eq!(rule.decide(0.011, 0.005), Decision::Buy);
        assert_eq!(rule.decide(0.009, 0.005), Decision::Hold);
        assert_eq!(rule.decide(-0.011, 0.005), Decision::Sell);
    }

    #[test]
    fn values_out_of_range_are_named() {
        let absolute = |buy_above, sell_below| LabelRule::Absolute {
            buy_above,
            sell_below,
        };
        assert_eq!(refused(absolute(0.0, -0.1)), "label.buy_above");
        assert_eq!(refused(absolute(f64::INFINITY, -0.1)), "label.buy_above");
        assert_eq!(refused(absolute(0.1, 0.1)), "label.sell_below");
        let scaled = |k, window_bars| LabelRule::Volatility { k, window_bars };
        assert_eq!(refused(scaled(f64::NAN, 24)), "label.k");
        assert_eq!(refused(scaled(1.0, 1)), "label.window_bars");
        let barriers = |profit_k, loss_k, window_bars| LabelRule::TripleBarrier {
            profit_k,
            loss_k,
            window_bars,
        };
        assert_eq!(refused(barriers(-1.0, 1.0, 24)), "label.profit_k");
        assert_eq!(refused(barriers(1.0, 0.0, 24)), "label.loss_k");
        assert_eq!(refused(barriers(1.0, 1.0, 100_001)), "label.window_bars");
        let fixed = |profit, loss| LabelRule::TripleBarrierAbsolute { profit, loss };
        assert_eq!(refused(fixed(0.0, 0.02)), "label.profit");
        assert_eq!(refused(fixed(0.02, 1.0)), "label.loss");
        assert_eq!(refused(fixed(0.02, -0.02)), "label.loss");
        fixed(0.02, 0.01).validate().unwrap();
    }

    #[test]
    fn words_state_the_barriers_and_the_horizon() {
        let fixed = LabelRule::TripleBarrierAbsolute {
            profit: 0.03,
            loss: 0.015,
        };
        let words = fixed.words(12);
        assert!(words.contains("touches 3% above"), "{words}");
        assert!(words.contains("before 1.5% below"), "{words}");
        assert!(words.contains("12 hours pass"), "{words}");
        assert!(fixed.first_touch() && fixed.window_bars().is_none());
    }
}
