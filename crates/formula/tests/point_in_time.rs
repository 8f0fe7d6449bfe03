//! What a row says must not depend on what came later, nor on the unit of price.

use formula::{Gaps, Indicators, MultiTimeframe};
use market::{Bars, Instrument, Timeframe};
use proptest::prelude::*;

const HOUR: i64 = 3_600_000;
const FRAMES: [Timeframe; 3] = [Timeframe::HOUR, Timeframe::FOUR_HOURS, Timeframe::DAY];

/// Hourly bars from returns and bar heights, without the hours in `missing`.
fn bars(moves: &[(f64, f64)], missing: &[usize]) -> Bars {
    #[expect(clippy::unwrap_used, reason = "a valid name")]
    let mut bars = Bars::empty(Instrument::new("BTC/USD").unwrap(), Timeframe::HOUR);
    let mut close = 100.0;
    for (hour, (step, height)) in moves.iter().enumerate() {
        let open = close;
        close *= 1.0 + step;
        if missing.contains(&hour) {
            continue;
        }
        bars.open_time.push(hour as i64 * HOUR);
        bars.open.push(open);
        bars.high.push(open.max(close) * (1.0 + height));
        bars.low.push(open.min(close) * (1.0 - height));
        bars.close.push(close);
        bars.volume.push(1.0);
    }
    bars
}

fn moves() -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec((-0.03f64..0.03, 0.0f64..0.02), 650..800)
}

fn gaps() -> impl Strategy<Value = Gaps> {
    prop::sample::select(vec![Gaps::Restart, Gaps::ClosedUpTo(3 * HOUR)])
}

fn columns(i: &Indicators) -> [&[f64]; 15] {
    [
        &i.rsi,
        &i.macd,
        &i.macd_signal,
        &i.macd_histogram,
        &i.ema_9,
        &i.ema_21,
        &i.ema_50,
        &i.ema_200,
        &i.bollinger_upper,
        &i.bollinger_middle,
        &i.bollinger_lower,
        &i.percent_b,
        &i.atr,
        &i.change_24h,
        &i.volatility,
    ]
}

/// The columns of [`columns`] in units of price; the others have none.
const IN_PRICE: [bool; 15] = [
    false, true, true, true, true, true, true, true, true, true, true, false, true, false, false,
];

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn scaled(bars: &Bars, factor: f64) -> Bars {
    let mut bars = bars.clone();
    for column in [
        &mut bars.open,
        &mut bars.high,
        &mut bars.low,
        &mut bars.close,
    ] {
        for price in column.iter_mut() {
            *price *= factor;
        }
    }
    bars
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_prefix_gives_the_prefix(
        moves in moves(),
        missing in prop::collection::vec(0usize..650, 0..3),
        cut in 0.0f64..1.0,
        gaps in gaps(),
    ) {
        let bars = bars(&moves, &missing);
        let rows = (bars.len() as f64 * cut) as usize;
        let whole = Indicators::compute_with(&bars, gaps);
        let part = Indicators::compute_with(&bars.slice(0..rows), gaps);
        for (whole, part) in columns(&whole).iter().zip(columns(&part)) {
            prop_assert_eq!(bits(&whole[..rows]), bits(part));
        }
    }

    #[test]
    fn later_bars_never_change_an_earlier_view(
        moves in moves(),
        missing in prop::collection::vec(0usize..650, 0..3),
        decision in 0i64..650 * HOUR,
        factor in prop::sample::select(vec![f64::NAN, 1e3, 0.5]),
        gaps in gaps(),
    ) {
        let bars = bars(&moves, &missing);
        let view = |bars: &Bars| {
            let view = MultiTimeframe::compute_with(bars, &FRAMES, gaps);
            view.map(|view| view.as_of(decision))
        };
        let expected = view(&bars);
        for state in expected.iter().flatten().flatten() {
            prop_assert!(state.close_time.0 <= decision);
        }

        let known = (0..bars.len()).filter(|&row| bars.close_time(row) <= decision).count();
        prop_assert_eq!(&view(&bars.slice(0..known)), &expected);
        let mut poisoned = scaled(&bars, factor);
        for (column, original) in [
            (&mut poisoned.open, &bars.open),
            (&mut poisoned.high, &bars.high),
            (&mut poisoned.low, &bars.low),
            (&mut poisoned.close, &bars.close),
        ] {
            column[..known].copy_from_slice(&original[..known]);
        }
        prop_assert_eq!(&view(&poisoned), &expected);
    }

    #[test]
    fn the_unit_of_price_does_not_matter(moves in moves(), exponent in -20i32..20) {
        // A power of two, so that nothing is rounded.
        let factor = 2.0_f64.powi(exponent);
        let bars = bars(&moves, &[]);
        let plain = Indicators::compute(&bars);
        let other = Indicators::compute(&scaled(&bars, factor));
        for ((a, b), price) in columns(&plain).iter().zip(columns(&other)).zip(IN_PRICE) {
            let unit = if price { factor } else { 1.0 };
            let expected: Vec<f64> = a.iter().map(|v| v * unit).collect();
            prop_assert_eq!(bits(&expected), bits(b));
        }
    }
}

#[test]
fn the_view_has_something_to_say() {
    // Guards the properties above against views that are always empty.
    let moves: Vec<(f64, f64)> = (0..700)
        .map(|hour| (0.01 * f64::from(hour % 7 - 3), 0.01))
        .collect();
    let view = MultiTimeframe::compute(&bars(&moves, &[]), &FRAMES);
    let states = view.map(|view| view.as_of(649 * HOUR));
    assert!(states.is_ok_and(|states| states.iter().all(Option::is_some)));
}
