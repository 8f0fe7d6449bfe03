//! Quotes and trades, and the bars that they make, against pandas.

use crate::common::{development_data, parquet_fixtures};
use market::ticks::{self, Quotes, TickFile, TickWarning, Trades, aggregate};
use market::{MarketError, Timeframe};
use serde_json::Value;

/// Sums of some dozen sizes and prices in two orders of addition; the spread is averaged over
/// milliseconds by the one and over spans by the other.
const TOLERANCE: f64 = 1e-9;

fn sample() -> (Quotes, Trades) {
    let folder = parquet_fixtures().join("ticks");
    let (quotes, _) = ticks::read_quotes(&folder.join("quotes.parquet")).unwrap();
    let (trades, _) = ticks::read_trades(&folder.join("trades.parquet")).unwrap();
    (quotes, trades)
}

#[test]
fn bars_of_ticks_are_as_pandas_makes_them() {
    let (quotes, trades) = sample();
    let text = std::fs::read(parquet_fixtures().join("ticks/ticks.json")).unwrap();
    let known: Value = serde_json::from_slice(&text).unwrap();
    let bars = aggregate(Some(&trades), Some(&quotes), "10s".parse().unwrap()).unwrap();
    let times: Vec<i64> = serde_json::from_value(known["open_time"].clone()).unwrap();
    assert_eq!(bars.open_time, times);
    assert_eq!(bars.fields().len(), 17);
    for (name, values) in bars.fields() {
        let expected: Vec<Option<f64>> = serde_json::from_value(known[name].clone()).unwrap();
        assert_eq!(values.len(), expected.len());
        for (row, (found, expected)) in values.iter().zip(expected).enumerate() {
            let close = match expected {
                None => found.is_nan(),
                Some(expected) => (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0),
            };
            assert!(close, "{name} row {row}: {found}, expected {expected:?}");
        }
    }
    // Two bars have no trades; the first and the last are not covered whole.
    assert_eq!(bars.trades.iter().filter(|count| **count == 0.0).count(), 2);
    assert!(!bars.complete[0] && !bars.complete[bars.len() - 1]);
    assert!(
        bars.complete[1..bars.len() - 1]
            .iter()
            .all(|complete| *complete)
    );
}

#[test]
fn the_aggressor_may_be_a_text() {
    let (_, expected) = sample();
    let path = parquet_fixtures().join("ticks/sides.parquet");
    let TickFile::Trades(trades, warnings) = ticks::read(&path).unwrap() else {
        panic!("not trades");
    };
    assert_eq!(trades, expected);
    assert_eq!(warnings, []);
    let path = parquet_fixtures().join("ticks/quotes.parquet");
    assert!(matches!(ticks::read(&path).unwrap(), TickFile::Quotes(..)));
    let error = ticks::read_trades(&path).unwrap_err();
    assert!(
        matches!(error, MarketError::NoColumnFor { role: "price", .. }),
        "{error}"
    );
    let bars = parquet_fixtures().join("bars/EURUSD_M15.parquet");
    assert!(matches!(
        ticks::read(&bars),
        Err(MarketError::NoColumnFor { .. })
    ));
}

#[test]
fn nothing_after_a_bars_close_changes_it() {
    let (quotes, trades) = sample();
    let frame: Timeframe = "5s".parse().unwrap();
    let whole = aggregate(Some(&trades), Some(&quotes), frame).unwrap();
    let close = (whole.open_time[9] + 5_000) * 1_000_000;
    let upto = |times: &[i64]| times.partition_point(|time| *time < close);
    let (q, t) = (upto(&quotes.time), upto(&trades.time));
    let quotes = Quotes {
        time: quotes.time[..q].to_vec(),
        bid: quotes.bid[..q].to_vec(),
        ask: quotes.ask[..q].to_vec(),
        bid_size: quotes.bid_size[..q].to_vec(),
        ask_size: quotes.ask_size[..q].to_vec(),
    };
    let trades = Trades {
        time: trades.time[..t].to_vec(),
        price: trades.price[..t].to_vec(),
        size: trades.size[..t].to_vec(),
        buyer_is_maker: trades.buyer_is_maker[..t].to_vec(),
    };
    let cut = aggregate(Some(&trades), Some(&quotes), frame).unwrap();
    assert_eq!(cut.len(), 10);
    for ((name, whole), (_, cut)) in whole.fields().into_iter().zip(cut.fields()) {
        let bits = |values: &[f64]| {
            values
                .iter()
                .map(|value| value.to_bits())
                .collect::<Vec<_>>()
        };
        assert_eq!(bits(&whole[..10]), bits(cut), "{name}");
    }
}

fn quotes() -> Quotes {
    let start = 1_739_743_200_000_000_000;
    Quotes {
        time: vec![start, start, start + 1, start + 2_000_000_000],
        bid: vec![100.0, 100.0, 101.0, 101.0],
        ask: vec![102.0, 102.0, 102.0, 101.0],
        bid_size: vec![1.0, 1.0, 2.0, 5.0],
        ask_size: vec![3.0, 3.0, 4.0, 0.0],
    }
}

#[test]
fn faults_of_ticks_name_their_row() {
    let expected = [
        TickWarning::Repeated { count: 1, row: 1 },
        TickWarning::Locked { count: 1, row: 3 },
    ];
    assert_eq!(quotes().validate("here").unwrap(), expected);
    let check = |spoil: fn(&mut Quotes), words: &str| {
        let mut quotes = quotes();
        spoil(&mut quotes);
        let error = quotes.validate("here").unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    };
    check(
        |quotes| quotes.bid[3] = 101.5,
        "`here` row 3: bid 101.5 is above ask 101",
    );
    check(
        |quotes| quotes.ask[1] = 0.0,
        "row 1: `ask` is 0, expected a positive price",
    );
    check(|quotes| quotes.bid[2] = f64::NAN, "row 2: `bid` is NaN");
    check(
        |quotes| quotes.ask_size[2] = -1.0,
        "row 2: `ask_size` is -1, expected zero or more",
    );
    check(|quotes| quotes.time[2] -= 2, "row 2: time");
    check(|quotes| quotes.time[0] = 1_739_743_200, "outside the years");
    check(|quotes| quotes.bid.truncate(3), "`bid` has 3 rows");
    check(|quotes| *quotes = Quotes::default(), "has no rows");
    let trades = Trades {
        time: vec![1_739_743_200_000_000_000; 2],
        price: vec![1.0, f64::INFINITY],
        size: vec![1.0; 2],
        buyer_is_maker: vec![true; 2],
    };
    assert_eq!(trades.validate("here").unwrap_err().row(), Some(1));
}

#[test]
fn quotes_alone_and_edges() {
    let bars = aggregate(None, Some(&quotes()), "1s".parse().unwrap()).unwrap();
    assert_eq!(bars.len(), 3);
    let names: Vec<_> = bars.fields().into_iter().map(|(name, _)| name).collect();
    let expected = [
        "bid",
        "ask",
        "bid_size",
        "ask_size",
        "spread",
        "ofi",
        "microprice",
    ];
    assert_eq!(names, expected);
    // The second quote changes nothing: +1 -1 -3 +3. The third: bid up, +2; ask same, -4 +3.
    assert_eq!(bars.ofi, [1.0, 0.0, 5.0 - 2.0 - 0.0]);
    // In the second bar the third quote stands although none arrives.
    assert_eq!((bars.bid[1], bars.spread[1]), (101.0, 1.0));
    assert_eq!(bars.microprice[2], 101.0);
    let error = aggregate(None, None, Timeframe::HOUR).unwrap_err();
    assert!(matches!(error, MarketError::Empty { .. }), "{error}");
    let mut far = quotes();
    far.time[3] = 4_000_000_000_000_000_000;
    let error = aggregate(None, Some(&far), "1s".parse().unwrap()).unwrap_err();
    assert!(matches!(error, MarketError::TooManyBars { .. }), "{error}");
}

#[test]
fn development_ticks_are_read() {
    let Some(folder) = development_data("ticks") else {
        return;
    };
    let name = |kind: &str| folder.join(format!("btcusdt_perp_20240808_{kind}.parquet"));
    let (quotes, _) = ticks::read_quotes(&name("quotes")).unwrap();
    let (trades, _) = ticks::read_trades(&name("trades")).unwrap();
    assert_eq!((quotes.len(), trades.len()), (66_089, 21_313));
    // The exchange's clock, in nanoseconds.
    assert_eq!(quotes.time[0], 1_723_161_256_313_000_000);
    let bars = aggregate(Some(&trades), Some(&quotes), "10s".parse().unwrap()).unwrap();
    assert!((34..37).contains(&bars.len()), "{}", bars.len());
    let total: f64 = bars.volume.iter().sum();
    assert!((total - trades.size.iter().sum::<f64>()).abs() < 1e-6);
    // True order flow moves the price: over these bars both go together.
    let moves: Vec<f64> = bars
        .microprice
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    let flows = &bars.ofi[1..];
    let product: f64 = moves.iter().zip(flows).map(|(a, b)| a * b).sum();
    assert!(product > 0.0, "{product}");
}
