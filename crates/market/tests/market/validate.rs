//! Every fault and every oddity of a table of bars is found, with its row.

use crate::common::hourly;
use market::{Bars, MarketError, Timestamp, Warning};

const HOUR: i64 = 3_600_000;

/// Breaks sound bars and expects the error that `is` accepts, at `row`, with `text` in it.
fn check(breaks: impl Fn(&mut Bars), row: Option<usize>, text: &str, is: fn(&MarketError) -> bool) {
    let mut bars = hourly(10);
    bars.validate().unwrap();
    breaks(&mut bars);
    let error = bars.validate().unwrap_err();
    assert!(is(&error), "{error:?}");
    assert_eq!(error.row(), row, "{error}");
    let message = error.to_string();
    assert!(message.contains(text), "{message}");
    assert!(message.contains("BTC/USDT 1h"), "{message}");
    if let Some(row) = row {
        assert!(message.contains(&format!("row {row}")), "{message}");
    }
}

#[test]
fn sound_bars_pass_without_warnings() {
    assert_eq!(hourly(10).validate().unwrap(), []);
    assert_eq!(hourly(1).validate().unwrap(), []);
}

#[test]
fn no_rows() {
    let empty = |bars: &mut Bars| *bars = bars.slice(0..0);
    check(empty, None, "no rows", |error| {
        matches!(error, MarketError::Empty { .. })
    });
}

#[test]
fn columns_of_unequal_length() {
    let shorten = |bars: &mut Bars| bars.low.truncate(9);
    check(shorten, None, "`low` has 9 rows", |error| {
        matches!(error, MarketError::Length { .. })
    });
}

#[test]
fn times() {
    check(
        |bars| bars.open_time[4] = bars.open_time[3],
        Some(4),
        "duplicate",
        |error| matches!(error, MarketError::DuplicateTime { .. }),
    );
    check(
        |bars| bars.open_time.swap(4, 5),
        Some(5),
        "before the previous row",
        |error| matches!(error, MarketError::UnsortedTime { .. }),
    );
    check(
        |bars| bars.open_time[0] /= 1_000,
        Some(0),
        "outside the years 2009 to 2099",
        |error| matches!(error, MarketError::ImplausibleTime { .. }),
    );
}

#[test]
fn prices() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0] {
        let price = |error: &MarketError| matches!(error, MarketError::Price { .. });
        check(|bars| bars.open[2] = value, Some(2), "`open`", price);
        check(|bars| bars.high[3] = value, Some(3), "`high`", price);
        check(|bars| bars.low[4] = value, Some(4), "`low`", price);
        check(|bars| bars.close[9] = value, Some(9), "`close`", price);
    }
    check(
        |bars| (bars.high[7], bars.low[7]) = (bars.low[7], bars.high[7]),
        Some(7),
        "is below low",
        |error| matches!(error, MarketError::HighBelowLow { .. }),
    );
    let outside = |error: &MarketError| matches!(error, MarketError::OutsideRange { .. });
    check(
        |bars| bars.open[7] = bars.high[7] * 1.00001,
        Some(7),
        "`open`",
        outside,
    );
    check(
        |bars| bars.close[7] = bars.low[7] * 0.99999,
        Some(7),
        "`close`",
        outside,
    );
}

#[test]
fn rounding_of_the_four_prices_is_tolerated() {
    let mut bars = hourly(10);
    bars.open[7] = bars.high[7] * (1.0 + 1e-8);
    bars.close[7] = bars.low[7] * (1.0 - 1e-8);
    bars.validate().unwrap();
}

#[test]
fn volumes() {
    for value in [f64::NAN, f64::INFINITY, -1.0] {
        let volume = |error: &MarketError| matches!(error, MarketError::Volume { .. });
        check(|bars| bars.volume[1] = value, Some(1), "volume is", volume);
    }
}

#[test]
fn spacing() {
    check(
        |bars| {
            bars.open_time
                .iter_mut()
                .enumerate()
                .for_each(|(row, time)| *time += 3 * HOUR * row as i64);
        },
        None,
        "typically 4h apart",
        |error| matches!(error, MarketError::TimeframeMismatch { .. }),
    );
    check(
        |bars| bars.open_time[9] += HOUR / 2,
        Some(9),
        "90m after the previous row, not a multiple of 1h",
        |error| matches!(error, MarketError::Spacing { .. }),
    );
}

#[test]
fn months_have_to_open_on_the_first() {
    let time = |text: &&str| text.parse::<Timestamp>().unwrap().0;
    let monthly = |days: &[&str]| {
        let mut bars = hourly(days.len());
        bars.timeframe = "1M".parse().unwrap();
        bars.open_time = days.iter().map(time).collect();
        bars.validate()
    };
    let sound = ["2019-01-01", "2019-02-01", "2019-03-01", "2019-04-01"];
    assert_eq!(monthly(&sound).unwrap(), []);
    let error = monthly(&["2019-01-01", "2019-02-01", "2019-03-02", "2019-04-01"]).unwrap_err();
    assert!(
        matches!(error, MarketError::Spacing { row: 2, .. }),
        "{error}"
    );
    let error = monthly(&["2019-01-01", "2019-01-02", "2019-01-03", "2019-01-04"]).unwrap_err();
    assert!(
        matches!(error, MarketError::TimeframeMismatch { .. }),
        "{error}"
    );
}

#[test]
fn gaps_are_a_warning() {
    let mut bars = hourly(10);
    bars.open_time[4..]
        .iter_mut()
        .for_each(|time| *time += HOUR);
    bars.open_time[7..]
        .iter_mut()
        .for_each(|time| *time += 2 * HOUR);
    let warnings = bars.validate().unwrap();
    let [
        Warning::Gaps {
            count: 2,
            missing: 3,
            largest,
        },
    ] = warnings.as_slice()
    else {
        panic!("{warnings:?}");
    };
    assert_eq!(*largest, bars.gaps()[1]);
    assert!(
        warnings[0]
            .to_string()
            .starts_with("2 gaps, 3 bars missing")
    );
}

#[test]
fn other_oddities_are_warnings() {
    let mut bars = hourly(10);
    bars.open_time.iter_mut().for_each(|time| *time += HOUR / 2);
    bars.volume[3] = 0.0;
    for row in 5..10 {
        for column in [
            &mut bars.open,
            &mut bars.high,
            &mut bars.low,
            &mut bars.close,
        ] {
            column[row] *= 3.0;
        }
    }
    let warnings = bars.validate().unwrap();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(
        matches!(warnings[0], Warning::Misaligned { row: 0, .. }),
        "{warnings:?}"
    );
    assert!(
        matches!(
            warnings[1],
            Warning::Jump {
                count: 1,
                row: 5,
                ..
            }
        ),
        "{warnings:?}"
    );
    assert_eq!(warnings[2], Warning::ZeroVolume { count: 1, row: 3 });
    let json = serde_json::to_string(&warnings).unwrap();
    assert!(json.contains("\"kind\":\"zero_volume\""), "{json}");
    assert_eq!(
        serde_json::from_str::<Vec<Warning>>(&json).unwrap(),
        warnings
    );
}

#[test]
fn no_volume_at_all_is_not_odd() {
    let mut bars = hourly(10);
    bars.volume.fill(0.0);
    assert_eq!(bars.validate().unwrap(), []);
}
