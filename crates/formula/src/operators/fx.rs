//! Operators across the pairs of one row that know which currencies a pair holds:
//! what the other pairs of a panel say about a pair. Currencies are read from the
//! instruments' names.

use market::Instrument;

use super::{Axis, Call, Computation, Kind, Operator, Parameter, no_convention, no_warm_up, takes};
use crate::engine::{ByRow, Kernel, by_row, known};

use Kind::Values;

/// The dollar's name.
const DOLLAR: &str = "USD";

/// Returns base and quote of each instrument; no currencies for other names.
fn pairs(call: &Call<'_>) -> Vec<(String, String)> {
    call.instruments
        .iter()
        .map(|name| match Instrument::new(name) {
            Ok(instrument) => (
                instrument.base().to_owned(),
                instrument.quote().unwrap_or("").to_owned(),
            ),
            Err(_) => (String::new(), String::new()),
        })
        .collect()
}

/// One pair that prices a currency in another: its lane and whether it is quoted
/// the other way round.
type Leg = (usize, bool);

fn leg(pairs: &[(String, String)], base: &str, quote: &str) -> Option<Leg> {
    let place = |base: &str, quote: &str| {
        pairs
            .iter()
            .position(|pair| pair.0 == base && pair.1 == quote)
    };
    place(base, quote)
        .map(|lane| (lane, false))
        .or_else(|| place(quote, base).map(|lane| (lane, true)))
}

/// Prices of pairs through third currencies.
struct Cross {
    /// For each lane the two legs of each way round.
    ways: Vec<Vec<[Leg; 2]>>,
}

impl Cross {
    /// `only` leaves one third currency.
    fn new(call: &Call<'_>, only: Option<&str>) -> Self {
        let pairs = pairs(call);
        let mut currencies: Vec<&str> = pairs
            .iter()
            .flat_map(|pair| [pair.0.as_str(), pair.1.as_str()])
            .filter(|currency| !currency.is_empty() && only.is_none_or(|only| only == *currency))
            .collect();
        currencies.sort_unstable();
        currencies.dedup();
        let ways = pairs
            .iter()
            .map(|(base, quote)| {
                let others = currencies
                    .iter()
                    .filter(|other| *other != base && *other != quote);
                others
                    .filter_map(|other| {
                        Some([leg(&pairs, base, other)?, leg(&pairs, other, quote)?])
                    })
                    .collect()
            })
            .collect();
        Self { ways }
    }
}

impl ByRow<1> for Cross {
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        output.fill(f64::NAN);
        let log = |(lane, inverted): Leg| {
            if inverted {
                -x[lane].ln()
            } else {
                x[lane].ln()
            }
        };
        for (output, ways) in output.iter_mut().zip(&self.ways) {
            let (mut sum, mut count) = (0.0, 0.0);
            for &[first, second] in ways {
                let price = log(first) + log(second);
                if price.is_finite() {
                    sum += price;
                    count += 1.0;
                }
            }
            *output = known((sum / count).exp());
        }
    }
}

/// The mean of a quantity over the pairs that hold a currency, with a minus where
/// it is the quote currency.
struct Holding {
    /// For each lane the lanes that hold its currency.
    lanes: Vec<Vec<Leg>>,
}

impl Holding {
    fn new(call: &Call<'_>, currency: impl Fn(&(String, String)) -> &str) -> Self {
        let pairs = pairs(call);
        let lanes = pairs
            .iter()
            .map(|pair| {
                let currency = currency(pair);
                let holders = pairs.iter().enumerate().filter_map(|(lane, pair)| {
                    if currency.is_empty() {
                        None
                    } else if pair.0 == currency {
                        Some((lane, false))
                    } else {
                        (pair.1 == currency).then_some((lane, true))
                    }
                });
                holders.collect()
            })
            .collect();
        Self { lanes }
    }
}

impl ByRow<1> for Holding {
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        output.fill(f64::NAN);
        for (output, legs) in output.iter_mut().zip(&self.lanes) {
            let (mut sum, mut count) = (0.0, 0.0);
            for &(lane, inverted) in legs {
                if !x[lane].is_nan() {
                    sum += if inverted { -x[lane] } else { x[lane] };
                    count += 1.0;
                }
            }
            *output = known(sum / count);
        }
    }
}

const X: &[Parameter] = &[takes("x", Values)];

const fn across_pairs(
    name: &'static str,
    meaning: &'static str,
    make: fn(&Call<'_>) -> Box<dyn Kernel>,
) -> Operator {
    Operator {
        name,
        axis: Axis::CrossSection,
        parameters: X,
        gives: Values,
        meaning,
        computation: Computation::Kernel {
            make,
            warm_up: no_warm_up,
            convention: no_convention,
        },
    }
}

pub(super) static OPERATORS: &[Operator] = &[
    across_pairs(
        "fx_cross",
        "the pair's price by {x} of two other pairs, through each third currency, geometric mean",
        |call| by_row::<1, _>(call.lanes, Cross::new(call, None)),
    ),
    across_pairs(
        "fx_cross_dollar",
        "the pair's price by {x} of its two currencies' pairs with the US dollar",
        |call| by_row::<1, _>(call.lanes, Cross::new(call, Some(DOLLAR))),
    ),
    across_pairs(
        "fx_base",
        "the mean of {x} over all pairs that hold this pair's base currency, its sign turned where they are quoted in it",
        |call| by_row::<1, _>(call.lanes, Holding::new(call, |pair| &pair.0)),
    ),
    across_pairs(
        "fx_quote",
        "the mean of {x} over all pairs that hold this pair's quote currency, its sign turned where they are quoted in it",
        |call| by_row::<1, _>(call.lanes, Holding::new(call, |pair| &pair.1)),
    ),
    across_pairs(
        "fx_dollar",
        "the mean of {x} over all pairs that hold the US dollar, its sign turned where they are quoted in it",
        |call| by_row::<1, _>(call.lanes, Holding::new(call, |_| DOLLAR)),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    const UNKNOWN: f64 = f64::NAN;

    fn call<'a>(instruments: &'a [String], profile: &'a Profile) -> Call<'a> {
        Call {
            constants: &[],
            profile,
            lanes: 8,
            instruments,
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn row<T: ByRow<1>>(mut rowwise: T, values: &[f64]) -> Vec<f64> {
        let mut x = values.to_vec();
        x.resize(8, UNKNOWN);
        let mut output = vec![0.0; 8];
        rowwise.row([&x], &mut output);
        output
    }

    #[test]
    fn crosses_go_through_quotes_of_either_direction() {
        let pairs = names(&["EUR/USD", "USD/JPY", "EUR/JPY", "SPX500"]);
        let profile = Profile::PAPER;
        let values = row(
            Cross::new(&call(&pairs, &profile), None),
            &[1.25, 160.0, 210.0, 5000.0],
        );
        for (value, expect) in values.iter().zip([210.0 / 160.0, 210.0 / 1.25, 200.0]) {
            assert!((value / expect - 1.0).abs() < 1e-14, "{values:?}");
        }
        assert!(values[3..].iter().all(|value| value.is_nan()));
        // A missing leg leaves the crosses that need it unknown.
        let values = row(
            Cross::new(&call(&pairs, &profile), None),
            &[UNKNOWN, 160.0, 210.0, 1.0],
        );
        assert!(!values[0].is_nan() && values[1].is_nan() && values[2].is_nan());
        let values = row(
            Cross::new(&call(&pairs, &profile), Some(DOLLAR)),
            &[1.25, 160.0, 210.0],
        );
        assert!(values[0].is_nan() && values[1].is_nan() && (values[2] - 200.0).abs() < 1e-10);
    }

    #[test]
    fn holdings_turn_the_sign_of_quote_currencies() {
        let pairs = names(&["EUR/USD", "USD/JPY", "EUR/JPY"]);
        let profile = Profile::PAPER;
        let x = [0.02, 0.01, UNKNOWN];
        let of = |currency: fn(&(String, String)) -> &str| {
            row(Holding::new(&call(&pairs, &profile), currency), &x)
        };
        assert_eq!(of(|pair| &pair.0)[..3], [0.02, -0.005, 0.02]);
        assert_eq!(of(|pair| &pair.1)[..3], [-0.005, -0.01, -0.01]);
        assert_eq!(of(|_| DOLLAR)[..3], [-0.005; 3]);
    }
}
