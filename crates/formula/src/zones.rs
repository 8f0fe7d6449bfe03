//! Words for indicator values, as prompts and reasons use them. Each function
//! states its thresholds; a value that is not known (NaN) has no word.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Below this RSI the market counts as oversold.
pub const RSI_OVERSOLD: f64 = 30.0;
/// Above this RSI the market counts as overbought.
pub const RSI_OVERBOUGHT: f64 = 70.0;
/// Below this share of the way from the lower to the upper Bollinger band the
/// price is near the lower one, and the same distance from the top near the
/// upper one.
pub const NEAR_BAND: f64 = 0.2;
/// The half-width of the flat zone around an average, in average true ranges of
/// the same timeframe: a close nearer than this is within a usual bar's noise.
pub const FLAT_BAND: f64 = 0.25;

/// Rounding in an average of equal prices, relative to the price.
const PRICE_ROUNDING: f64 = 1e-9;

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Returns the word, as it is also serialised.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }
    };
}

words! {
    /// The zone of a relative strength index.
    RsiZone {
        /// Below [`RSI_OVERSOLD`].
        Oversold => "oversold",
        /// From [`RSI_OVERSOLD`] to [`RSI_OVERBOUGHT`], both included.
        Neutral => "neutral",
        /// Above [`RSI_OVERBOUGHT`].
        Overbought => "overbought",
    }
}

words! {
    /// The MACD line relative to its signal line.
    MacdZone {
        /// Above the signal.
        Bullish => "bullish",
        /// On the signal exactly, as in a market that does not move.
        Neutral => "neutral",
        /// Below the signal.
        Bearish => "bearish",
    }
}

words! {
    /// The price relative to its Bollinger bands.
    BollingerZone {
        /// %B below 0.
        BelowLower => "below lower",
        /// %B from 0 to below [`NEAR_BAND`].
        NearLower => "near lower",
        /// %B from [`NEAR_BAND`] to `1 - NEAR_BAND`, both included.
        Middle => "middle",
        /// %B above `1 - NEAR_BAND`, up to 1.
        NearUpper => "near upper",
        /// %B above 1.
        AboveUpper => "above upper",
    }
}

words! {
    /// The price relative to one average.
    Side {
        /// Price above the average.
        Above => "above",
        /// Price on the average exactly.
        At => "at",
        /// Price below the average.
        Below => "below",
    }
}

words! {
    /// The order of several averages, shortest period first.
    Stack {
        /// Each average above the next longer one.
        Bullish => "bullish",
        /// Each average below the next longer one.
        Bearish => "bearish",
        /// Anything else.
        Mixed => "mixed",
    }
}

words! {
    /// The close of a bar relative to an average of its timeframe.
    Trend {
        /// Above by more than [`FLAT_BAND`] average true ranges.
        Up => "up",
        /// Within [`FLAT_BAND`] average true ranges.
        Flat => "flat",
        /// Below by more than [`FLAT_BAND`] average true ranges.
        Down => "down",
    }
}

/// Returns the zone of a relative strength index in `[0, 100]`.
pub fn rsi_zone(rsi: f64) -> Option<RsiZone> {
    known(&[rsi])?;
    Some(if rsi < RSI_OVERSOLD {
        RsiZone::Oversold
    } else if rsi > RSI_OVERBOUGHT {
        RsiZone::Overbought
    } else {
        RsiZone::Neutral
    })
}

/// Returns on which side of its signal the MACD line is.
pub fn macd_zone(macd: f64, signal: f64) -> Option<MacdZone> {
    known(&[macd, signal])?;
    Some(if macd > signal {
        MacdZone::Bullish
    } else if macd < signal {
        MacdZone::Bearish
    } else {
        MacdZone::Neutral
    })
}

/// Returns where the price stands between its bands, from
/// [`crate::percent_b`].
pub fn bollinger_zone(percent_b: f64) -> Option<BollingerZone> {
    known(&[percent_b])?;
    Some(if percent_b < 0.0 {
        BollingerZone::BelowLower
    } else if percent_b < NEAR_BAND {
        BollingerZone::NearLower
    } else if percent_b <= 1.0 - NEAR_BAND {
        BollingerZone::Middle
    } else if percent_b <= 1.0 {
        BollingerZone::NearUpper
    } else {
        BollingerZone::AboveUpper
    })
}

/// Returns on which side of an average the price is.
pub fn side(price: f64, average: f64) -> Option<Side> {
    known(&[price, average])?;
    Some(if price > average {
        Side::Above
    } else if price < average {
        Side::Below
    } else {
        Side::At
    })
}

/// Returns the order of averages given with the shortest period first. `None` if
/// one is unknown or there are fewer than two.
pub fn stack(averages: &[f64]) -> Option<Stack> {
    known(averages)?;
    if averages.len() < 2 {
        return None;
    }
    let all = |test: fn(f64, f64) -> bool| averages.windows(2).all(|w| test(w[0], w[1]));
    Some(if all(|shorter, longer| shorter > longer) {
        Stack::Bullish
    } else if all(|shorter, longer| shorter < longer) {
        Stack::Bearish
    } else {
        Stack::Mixed
    })
}

/// Returns the trend of a bar from its close, an average of closes (EMA(21) in
/// [`crate::FrameState`]) and the average true range, all in units of price.
pub fn trend(close: f64, average: f64, atr: f64) -> Option<Trend> {
    known(&[close, average, atr])?;
    let band = (FLAT_BAND * atr).max(PRICE_ROUNDING * close.abs());
    let distance = close - average;
    Some(if distance > band {
        Trend::Up
    } else if distance < -band {
        Trend::Down
    } else {
        Trend::Flat
    })
}

fn known(values: &[f64]) -> Option<()> {
    (!values.iter().any(|v| v.is_nan())).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_belong_to_the_calmer_word() {
        let check = |rsi, word| assert_eq!(rsi_zone(rsi).map(RsiZone::as_str), Some(word));
        check(29.99, "oversold");
        check(30.0, "neutral");
        check(70.0, "neutral");
        check(70.01, "overbought");
        let check = |b, word| assert_eq!(bollinger_zone(b).map(BollingerZone::as_str), Some(word));
        check(-0.01, "below lower");
        check(0.0, "near lower");
        check(0.2, "middle");
        check(0.8, "middle");
        check(0.81, "near upper");
        check(1.0, "near upper");
        check(1.01, "above upper");
    }

    #[test]
    fn sides_and_stacks() {
        assert_eq!(macd_zone(1.0, 0.5), Some(MacdZone::Bullish));
        assert_eq!(macd_zone(-1.0, 0.5), Some(MacdZone::Bearish));
        assert_eq!(macd_zone(0.0, 0.0), Some(MacdZone::Neutral));
        assert_eq!(side(2.0, 1.0), Some(Side::Above));
        assert_eq!(side(1.0, 2.0), Some(Side::Below));
        assert_eq!(side(1.0, 1.0), Some(Side::At));
        assert_eq!(stack(&[4.0, 3.0, 2.0, 1.0]), Some(Stack::Bullish));
        assert_eq!(stack(&[1.0, 2.0, 3.0, 4.0]), Some(Stack::Bearish));
        assert_eq!(stack(&[1.0, 2.0, 2.0]), Some(Stack::Mixed));
        assert_eq!(stack(&[1.0]), None);
    }

    #[test]
    fn trends_need_more_than_noise() {
        assert_eq!(trend(101.0, 100.0, 2.0), Some(Trend::Up));
        assert_eq!(trend(100.5, 100.0, 2.0), Some(Trend::Flat));
        assert_eq!(trend(99.0, 100.0, 2.0), Some(Trend::Down));
        assert_eq!(trend(0.1, 0.1 + 1e-17, 0.0), Some(Trend::Flat));
    }

    #[test]
    fn the_unknown_has_no_word() {
        let nan = f64::NAN;
        assert_eq!(rsi_zone(nan), None);
        assert_eq!(macd_zone(nan, 0.0), None);
        assert_eq!(bollinger_zone(nan), None);
        assert_eq!(side(1.0, nan), None);
        assert_eq!(stack(&[1.0, nan]), None);
        assert_eq!(trend(1.0, 1.0, nan), None);
    }

    #[test]
    fn words_are_what_is_serialised() {
        let text = serde_json::to_string(&BollingerZone::NearLower).unwrap();
        assert_eq!(text, "\"near lower\"");
        assert_eq!(format!("{:>9}", RsiZone::Neutral), "  neutral");
    }
}
