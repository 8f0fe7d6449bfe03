//! Operators for currencies: what the other pairs of a panel say about a pair,
//! and what happened since the start of a session or at the same hour before.
//!
//! `fx_` operators work across the pairs of one row and read the currencies from
//! the instruments' names.

use std::collections::BTreeMap;

use market::Instrument;

use super::{Axis, Call, Computation, Kind, Operator, Parameter, no_convention, no_warm_up, takes};
use crate::engine::{ByLane, ByRow, Kernel, by_lane, by_row, known};

use Kind::{Condition, Values, Window};

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

/// Folds a series from the bar on which a condition last held. Unknown values
/// take no part and show nothing.
#[derive(Clone)]
struct FoldSince {
    both: fn(f64, f64) -> f64,
    begun: bool,
    state: f64,
}

impl ByLane<2> for FoldSince {
    fn next(&mut self, [condition, x]: [f64; 2]) -> f64 {
        if !condition.is_nan() && condition != 0.0 {
            self.begun = true;
            self.state = f64::NAN;
        }
        if !self.begun || x.is_nan() {
            return f64::NAN;
        }
        self.state = if self.state.is_nan() {
            x
        } else {
            (self.both)(self.state, x)
        };
        self.state
    }
}

/// Means by season: a value per hour, weekday or whatever tells bars apart.
#[derive(Clone)]
struct Seasonal {
    window: usize,
    seasons: BTreeMap<u64, Vec<f64>>,
}

impl ByLane<2> for Seasonal {
    fn next(&mut self, [x, season]: [f64; 2]) -> f64 {
        if x.is_nan() || season.is_nan() {
            return f64::NAN;
        }
        let values = self.seasons.entry((season + 0.0).to_bits()).or_default();
        if values.len() == self.window {
            values.remove(0);
        }
        values.push(x);
        if values.len() < self.window {
            return f64::NAN;
        }
        values.iter().sum::<f64>() / self.window as f64
    }
}

const X: &[Parameter] = &[takes("x", Values)];
const CONDITION_X: &[Parameter] = &[takes("condition", Condition), takes("x", Values)];

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

const fn since(
    name: &'static str,
    meaning: &'static str,
    make: fn(&Call<'_>) -> Box<dyn Kernel>,
) -> Operator {
    Operator {
        axis: Axis::Time,
        parameters: CONDITION_X,
        ..across_pairs(name, meaning, make)
    }
}

fn fold_since(call: &Call<'_>, both: fn(f64, f64) -> f64) -> Box<dyn Kernel> {
    let state = FoldSince {
        both,
        begun: false,
        state: f64::NAN,
    };
    by_lane::<2, _>(call.lanes, state)
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
    since(
        "ts_sum_since",
        "the sum of {x} since {condition}, that bar included",
        |call| fold_since(call, |sum, x| sum + x),
    ),
    since(
        "ts_max_since",
        "the largest {x} since {condition}, that bar included",
        |call| fold_since(call, f64::max),
    ),
    since(
        "ts_min_since",
        "the smallest {x} since {condition}, that bar included",
        |call| fold_since(call, f64::min),
    ),
    Operator {
        parameters: &[
            takes("x", Values),
            takes("season", Values),
            takes("window", Window),
        ],
        computation: Computation::Kernel {
            make: |call| {
                let state = Seasonal {
                    window: call.window(0),
                    seasons: BTreeMap::new(),
                };
                by_lane::<2, _>(call.lanes, state)
            },
            warm_up: |call| call.window(0) - 1,
            convention: no_convention,
        },
        ..since(
            "ts_seasonal_mean",
            "the mean of the last {window} values of {x} on bars with the same {season}, this one included",
            |call| fold_since(call, f64::max),
        )
    },
];
