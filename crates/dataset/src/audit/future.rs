//! Check 12 for texts of unknown make: is a number of the prompt the value of a later bar?
//!
//! Numbers are compared place by place (the words before them). By chance a number now and then
//! equals a later price to its digits; a place that holds later prices does so line after line. A
//! number that a bar known at the decision has as well is no evidence.

use std::collections::BTreeMap;

use market::Bars;

use super::numbers::{Slot, Written, slots};
use super::planted::Told;
use super::record::AuditRecord;
use super::report::{Check, Finding, Kind};

/// The share of a place's numbers that must be later values, and how many.
const SHARE: f64 = 0.2;
const FEWEST: usize = 2;
/// Digits that a number needs before equality says something.
const DIGITS: usize = 3;
/// The same of a return, which is a small number.
const RETURN_DIGITS: usize = 2;
/// Later bars looked at where no horizon is known.
const BARS_AHEAD: usize = 24;
/// Later bars looked at most, and bars known at the decision whose values are no evidence.
const MOST_AHEAD: usize = 400;
const BARS_BACK: usize = 400;
/// Findings listed of one place.
const LISTED: usize = 5;

/// Makes check 12.
pub(super) fn future_values(records: &[AuditRecord], bars: &[Bars], horizon: Option<i64>) -> Check {
    if bars.is_empty() {
        return Check::not_possible(
            Kind::FutureValues,
            "no bars were given; name them with `--bars`",
        );
    }
    let mut check = Check::new(Kind::FutureValues);
    let mut places: BTreeMap<String, Place<'_>> = BTreeMap::new();
    let mut compared = 0;
    for record in records {
        let Some((bars, now)) = locate(record, bars) else {
            continue;
        };
        compared += 1;
        for slot in slots(&record.prompt) {
            let place = places.entry(slot.key.clone()).or_default();
            place.all += 1;
            if let Some(what) = later(&slot, bars, now, record, horizon) {
                place.matches.push((record, slot.text.to_owned(), what));
            }
        }
    }
    check.tried(format!(
        "{compared} of {} records lie within the bars; numbers in {} places of their prompts",
        records.len(),
        places.len()
    ));
    if compared == 0 {
        check.give_up(
            "no record's instrument and decision time lie within the bars; check the fields of the \
             instrument and the time, and whether times are those of a bar's open or close",
        );
    }
    for (key, place) in &places {
        let often =
            place.matches.len() >= FEWEST && place.matches.len() as f64 >= SHARE * place.all as f64;
        if !often {
            continue;
        }
        for (index, (record, text, what)) in place.matches.iter().enumerate() {
            let message = format!(
                "`{text}` behind `{key}` is {what}, and of no bar known at {}; so it is in {} of \
                 {} prompts that have this place: expected what was known at the decision",
                record.decision_time,
                place.matches.len(),
                place.all
            );
            let finding = Finding::at(&record.place, &record.id, message);
            if index < LISTED {
                check.found(finding);
            } else {
                check.found_total += 1;
            }
        }
    }
    check
}

/// A place in prompts, by the words before it.
#[derive(Default)]
struct Place<'a> {
    all: usize,
    matches: Vec<(&'a AuditRecord, String, String)>,
}

/// Returns a record's bars and how many of them were known at the decision.
fn locate<'a>(record: &AuditRecord, bars: &'a [Bars]) -> Option<(&'a Bars, usize)> {
    let bars = match (&record.instrument, bars) {
        (Some(name), bars) => bars
            .iter()
            .find(|bars| same(name, bars.instrument.as_str()))?,
        (None, [one]) => one,
        (None, _) => return None,
    };
    let time = record.decision_time.0;
    let known = bars
        .open_time
        .partition_point(|&open| bars.timeframe.next(open) <= time);
    // A decision far from the last known bar is not one on these bars.
    let near = known > 0
        && known < bars.len()
        && time - bars.close_time(known - 1) < 4 * bars.timeframe.milliseconds();
    near.then_some((bars, known))
}

/// Reports whether two names are of one instrument: `BTC/USDT`, `BTC_USDT`, `btcusdt`.
pub(super) fn same(one: &str, other: &str) -> bool {
    let plain = |name: &str| -> String {
        let pair = name.split(':').next().unwrap_or(name);
        let letters = pair.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|c| c.to_ascii_uppercase()).collect()
    };
    plain(one) == plain(other)
}

/// Returns which later value a number is, if it is one and none of the past.
fn later(
    slot: &Slot<'_>,
    bars: &Bars,
    now: usize,
    record: &AuditRecord,
    horizon: Option<i64>,
) -> Option<String> {
    let number = &slot.number;
    if number.significant < RETURN_DIGITS {
        return None;
    }
    let end = record.span.map(|span| span.1.0);
    let end = end.or_else(|| horizon.map(|horizon| record.decision_time.0 + horizon));
    let ahead = match end {
        // Bars that close within the span.
        Some(end) => (now..bars.len())
            .take_while(|&row| bars.close_time(row) <= end)
            .count(),
        None => BARS_AHEAD,
    };
    let rows = now..(now + ahead.clamp(1, MOST_AHEAD)).min(bars.len());
    let past = now.saturating_sub(BARS_BACK)..now;
    let columns = [
        ("close", &bars.close),
        ("high", &bars.high),
        ("low", &bars.low),
    ];
    let is = |value: f64| equals(number, value);
    let in_past = || {
        past.clone()
            .any(|row| columns.iter().any(|(_, c)| is(c[row])))
    };
    let instant = |row: usize| market::Timestamp(bars.close_time(row));
    // Every bar and every price; `1.0` and the like are left to returns.
    if number.significant >= DIGITS && number.unit.is_empty() {
        let found = rows.clone().find_map(|row| {
            columns
                .iter()
                .find(|(_, c)| is(c[row]))
                .map(|(name, _)| (row, *name))
        });
        if let Some((row, name)) = found {
            return (!in_past())
                .then(|| format!("the {name} of the bar closing at {}", instant(row)));
        }
    }
    let price = bars.close[now - 1];
    let last = rows.clone().next_back()?;
    let change = bars.close[last] / price - 1.0;
    let is_return = |change: f64| {
        let percent = number.unit.is_empty() || number.unit == "%";
        (percent && is(change * 100.0)) || (number.unit.is_empty() && is(change))
    };
    if !is_return(change) {
        return None;
    }
    // The change over as many bars before the decision, which a prompt may well show.
    let span = last + 1 - now;
    let earlier = [span, 24, 12, 6, 4, 1].into_iter().any(|back| {
        let before = (now - 1).checked_sub(back);
        before.is_some_and(|row| is_return(price / bars.close[row] - 1.0))
    });
    (!earlier).then(|| format!("the return until {}", instant(last)))
}

/// Reports whether a written number is a value rounded to its decimals, up to the sign where none
/// is written.
fn equals(number: &Written, value: f64) -> bool {
    if !value.is_finite() {
        return false;
    }
    let scale = 10_f64.powi(number.decimals as i32);
    let rounded = (value * scale).round();
    let own = (number.value * scale).round();
    own != 0.0 && (rounded == own || (!number.signed && rounded == -own))
}

/// Plants the close at the end of the horizon, for check 7.
pub(super) fn plant(
    records: &[AuditRecord],
    bars: &[Bars],
    horizon: Option<i64>,
    told: &mut Told<'_>,
) {
    let with_close = records.iter().filter_map(|record| {
        let (bars, now) = locate(record, bars)?;
        let close = bars.close[now];
        // Prices that hardly move are the same before and after.
        let text = format!("{close:.8}");
        let mut copy = record.clone();
        copy.prompt = format!("{}\nPlanted target: {text}", copy.prompt);
        let known = &bars.close[now.saturating_sub(BARS_BACK)..now];
        (!known.contains(&close)).then_some(copy)
    });
    let planted: Vec<AuditRecord> = with_close.take(20).collect();
    if planted.len() >= FEWEST {
        let found = future_values(&planted, bars, horizon).is_red();
        told(Kind::FutureValues, "the next close in the prompt", found);
    }
}

#[cfg(test)]
mod tests {
    use market::Timestamp;

    use super::super::report::Status;
    use super::*;
    use crate::world;

    const HORIZON: i64 = 12 * 3_600_000;

    /// Prompts on a random walk, with a line that may look ahead.
    fn check(line: impl Fn(&Bars, usize) -> String) -> Check {
        let bars = world::null(5, 60).unwrap().bars;
        let record = |row: usize| AuditRecord {
            id: row.to_string(),
            instrument: Some("nullusd".to_owned()),
            decision_time: Timestamp(bars[0].close_time(row)),
            prompt: format!("Price: {:.2}\n{}", bars[0].close[row], line(&bars[0], row)),
            ..AuditRecord::default()
        };
        let rows = (300..600).step_by(12);
        let records: Vec<AuditRecord> = rows.map(record).collect();
        future_values(&records, &bars, Some(HORIZON))
    }

    #[test]
    fn values_of_the_past_pass() {
        let past = check(|bars, row| {
            let change = bars.close[row] / bars.close[row - 12] - 1.0;
            format!(
                "12h change: {:.2}%\nDay high: {:.2}",
                change * 100.0,
                bars.high[row - 5]
            )
        });
        assert_eq!(past.status, Status::Green, "{past:?}");
    }

    #[test]
    fn later_prices_and_returns_are_found_at_several_roundings() {
        let target = |digits: usize| {
            check(move |bars, row| format!("Target: {:.digits$}", bars.close[row + 12]))
        };
        for digits in [1, 2, 4] {
            assert_eq!(target(digits).status, Status::Red, "{digits}");
        }
        let change = |bars: &Bars, row: usize| bars.close[row + 12] / bars.close[row] - 1.0;
        let percent = check(|bars, row| format!("Expected: {:+.2}%", change(bars, row) * 100.0));
        assert_eq!(percent.status, Status::Red, "{percent:?}");
        let fraction = check(|bars, row| format!("label_return={:.5}", change(bars, row)));
        assert_eq!(fraction.status, Status::Red);
        assert!(fraction.found[0].message.contains("return until"));
    }

    #[test]
    fn without_bars_it_is_not_possible() {
        let check = future_values(&[], &[], None);
        assert_eq!(check.status, Status::NotPossible);
        assert!(same("BTC/USDT:USDT", "btc_usdt") && !same("BTC/USDT", "ETH/USDT"));
    }
}
