//! How numbers, tables and conventions are written in questions and answers.

use formula::Profile;
use formula::catalogue::Entry;
use formula::panel::Panel;
use formula::profile::{Position, RankScale, Seed, WarmUp};
use market::Timestamp;

use crate::seed;

/// Significant digits of a number in a text.
const DIGITS: usize = 6;

/// Returns a number as texts show it: six significant digits, no needless zeros.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return "unknown".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    if !(-5.0..9.0).contains(&magnitude) {
        let text = format!("{value:.*e}", DIGITS - 1);
        let Some((digits, exponent)) = text.split_once('e') else {
            return text;
        };
        return format!("{}e{exponent}", trimmed(digits));
    }
    let decimals = (DIGITS as f64 - 1.0 - magnitude).max(0.0) as usize;
    trimmed(&format!("{value:.decimals$}")).to_owned()
}

/// Takes off zeros behind the decimal point.
fn trimmed(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

/// Returns the number that a text shows for a value.
pub(crate) fn shown(value: f64) -> f64 {
    number(value).parse().unwrap_or(f64::NAN)
}

/// Chooses one of several ways of saying something by a name.
pub(crate) fn choice<'a>(ways: &[&'a str], seed: u64, name: &str) -> &'a str {
    ways[(seed::hash(seed, "way", name) % ways.len() as u64) as usize]
}

/// Returns an open time as texts show it.
pub(crate) fn time(open_time: i64) -> String {
    Timestamp(open_time).to_string()
}

/// Returns the conventions that a formula's operators follow, in words; nothing
/// where none matters.
pub(crate) fn conventions(entry: &Entry) -> String {
    let uses = |name: &str| {
        let mut operators = entry.expression.operators().into_iter();
        operators.any(|operator| operator.name == name)
    };
    let profile: Profile = entry.profile;
    let mut told = Vec::new();
    let scale = |scale: RankScale| match scale {
        RankScale::Fraction => "rank k of n divided by n, ties share the mean rank",
        RankScale::Unit => "(k - 1) / (n - 1), ties share the mean rank",
        RankScale::Ordinal => "the rank from 1 to n, ties share the mean rank",
    };
    if uses("cs_rank") || uses("group_rank") {
        told.push(format!(
            "cross-sectional ranks are {}",
            scale(profile.cross_rank)
        ));
    }
    if uses("ts_rank") {
        told.push(format!("ts_rank is {}", scale(profile.time_rank)));
    }
    if uses("ts_argmax") || uses("ts_argmin") {
        told.push(match profile.position {
            Position::FromOldest => "places count from 1 for the oldest bar".to_owned(),
            Position::BarsAgo => "places count bars ago, 0 for the newest".to_owned(),
        });
    }
    if uses("ts_std") || uses("ts_var") || uses("ts_cov") || uses("ts_zscore") {
        told.push(match profile.ddof {
            0 => "deviations divide by n".to_owned(),
            _ => "deviations divide by n - 1".to_owned(),
        });
    }
    if uses("ts_ema") || uses("ts_wilder") {
        told.push(match profile.seed {
            Seed::First => "recursive averages start with the first value".to_owned(),
            Seed::Mean => "recursive averages start with the mean of their first window".to_owned(),
        });
    }
    if profile.warm_up == WarmUp::Partial {
        told.push("a window that is not full yet uses the bars there are".to_owned());
    }
    if told.is_empty() {
        return String::new();
    }
    format!(" Conventions: {}.", told.join("; "))
}

/// Returns the instruments of a panel with the span of their bars.
pub(crate) fn spans(panel: &Panel) -> Vec<String> {
    let times = panel.open_time();
    panel
        .instruments()
        .iter()
        .enumerate()
        .filter_map(|(lane, instrument)| {
            let bars = panel.bars_of(lane);
            let (first, last) = (bars.first()?, bars.last()?);
            Some(format!(
                "{instrument} {} bars of {} from {} to {}",
                bars.len(),
                panel.timeframe(),
                time(times[*first as usize]),
                time(times[*last as usize])
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_six_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (1.08342119, "1.08342"),
            (-64_123.456_7, "-64123.5"),
            (0.000_123_456_78, "0.000123457"),
            (1.5e-9, "1.5e-9"),
            (123_456_789_012.0, "1.23457e11"),
            (100_000.0, "100000"),
            (f64::NAN, "unknown"),
        ] {
            assert_eq!(number(value), expected);
        }
        assert_eq!(shown(1.08342119), 1.08342);
    }
}
