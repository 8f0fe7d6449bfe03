//! Statistics of a moving window that the elementary operators cannot say, and
//! the paths of wealth that risk measures read.
//!
//! Those over a window need it full whatever the profile, and look at every value
//! of it at every bar; those over all pairs of values cost the square of the window.

use super::{Axis, Call, Computation, Kind, Operator, no_convention, no_warm_up, takes, takes_or};
use crate::engine::{ByLane, by_lane, by_window};
use crate::statistics::{
    complexity, dependence, entropy, fractal, memory, order, paths, spectrum, unit_root,
};

use Kind::{Condition, Constant, Values, Window};

fn full(call: &Call<'_>) -> usize {
    call.window(0) - 1
}

/// A statistic of the last `window` values of `x`.
macro_rules! of_one {
    ($name:literal, [$($extra:expr),*], $meaning:literal, |$x:ident, $c:pat_param| $value:expr) => {
        Operator {
            name: $name,
            axis: Axis::Time,
            parameters: &[takes("x", Values), takes("window", Window), $($extra),*],
            gives: Values,
            meaning: $meaning,
            computation: Computation::Kernel {
                make: |call| {
                    let constants = call.constants.to_vec();
                    by_window(call.lanes, call.window(0), move |[$x]: [&[f64]; 1]| {
                        let $c = &constants[1..] else {
                            return f64::NAN;
                        };
                        $value
                    })
                },
                warm_up: full,
                convention: no_convention,
            },
        }
    };
}

/// A statistic of the last `window` values of `x` and `y`.
macro_rules! of_two {
    ($name:literal, [$($extra:expr),*], $meaning:literal, |$x:ident, $y:ident, $c:pat_param| $value:expr) => {
        Operator {
            parameters: &[
                takes("x", Values),
                takes("y", Values),
                takes("window", Window),
                $($extra),*
            ],
            computation: Computation::Kernel {
                make: |call| {
                    let constants = call.constants.to_vec();
                    by_window(call.lanes, call.window(0), move |[$x, $y]: [&[f64]; 2]| {
                        let $c = &constants[1..] else {
                            return f64::NAN;
                        };
                        $value
                    })
                },
                warm_up: full,
                convention: no_convention,
            },
            ..of_one!($name, [], $meaning, |_x, []| f64::NAN)
        }
    };
}

/// A statistic of the spectrum of the last `window` values of `x`.
macro_rules! of_spectrum {
    ($name:literal, [$($extra:expr),*], $meaning:literal, |$fourier:ident, $x:ident, $c:pat_param| $value:expr) => {
        Operator {
            parameters: &[takes("x", Values), takes("window", Window), $($extra),*],
            computation: Computation::Kernel {
                make: |call| {
                    let constants = call.constants.to_vec();
                    let $fourier = spectrum::Fourier::new(call.window(0));
                    by_window(call.lanes, call.window(0), move |[$x]: [&[f64]; 1]| {
                        let $c = &constants[1..] else {
                            return f64::NAN;
                        };
                        $value
                    })
                },
                warm_up: full,
                convention: no_convention,
            },
            ..of_one!($name, [], $meaning, |_x, []| f64::NAN)
        }
    };
}

/// A recursion over all of the past.
macro_rules! recursion {
    ($name:literal, [$($parameter:expr),+], $meaning:literal, |$call:ident| $state:expr) => {
        Operator {
            parameters: &[$($parameter),+],
            computation: Computation::Kernel {
                make: |$call| by_lane($call.lanes, $state),
                warm_up: no_warm_up,
                convention: no_convention,
            },
            ..of_one!($name, [], $meaning, |_x, []| f64::NAN)
        }
    };
}

/// The drawdown, or the periods since the peak.
#[derive(Clone)]
struct Fall {
    path: paths::Path,
    periods: bool,
}

impl ByLane<1> for Fall {
    fn next(&mut self, [x]: [f64; 1]) -> f64 {
        if x.is_nan() {
            self.path = paths::Path::default();
            return f64::NAN;
        }
        let drawdown = self.path.step(x);
        if self.periods {
            self.path.under
        } else {
            drawdown
        }
    }
}

/// Bars in a row on which a condition held.
#[derive(Clone)]
struct Streak(f64);

impl ByLane<1> for Streak {
    fn next(&mut self, [condition]: [f64; 1]) -> f64 {
        self.0 = if condition.is_nan() || condition == 0.0 {
            0.0
        } else {
            self.0 + 1.0
        };
        if condition.is_nan() { f64::NAN } else { self.0 }
    }
}

/// Page's running sum: what came in above `drift`, never below 0 (1954).
#[derive(Clone)]
struct Page {
    drift: f64,
    sum: f64,
}

impl ByLane<1> for Page {
    fn next(&mut self, [x]: [f64; 1]) -> f64 {
        if x.is_nan() {
            self.sum = 0.0;
            return f64::NAN;
        }
        self.sum = (self.sum + x - self.drift).max(0.0);
        self.sum
    }
}

/// The symmetric filter of Lopez de Prado (2018, section 2.5.2.1): 1 or -1 when
/// the sum of moves up or down since the last event reaches the threshold.
#[derive(Clone)]
struct Events {
    threshold: f64,
    up: f64,
    down: f64,
}

impl ByLane<1> for Events {
    fn next(&mut self, [x]: [f64; 1]) -> f64 {
        if x.is_nan() {
            (self.up, self.down) = (0.0, 0.0);
            return f64::NAN;
        }
        self.up = (self.up + x).max(0.0);
        self.down = (self.down + x).min(0.0);
        if self.down < -self.threshold {
            self.down = 0.0;
            -1.0
        } else if self.up > self.threshold {
            self.up = 0.0;
            1.0
        } else {
            0.0
        }
    }
}

pub(super) static OPERATORS: &[Operator] = &[
    recursion!(
        "ts_drawdown",
        [takes("x", Values)],
        "how far the wealth that the returns {x} build stands below its peak",
        |call| Fall {
            path: paths::Path::default(),
            periods: false
        }
    ),
    recursion!(
        "ts_underwater",
        [takes("x", Values)],
        "the number of bars since the wealth that the returns {x} build was at its peak",
        |call| Fall {
            path: paths::Path::default(),
            periods: true
        }
    ),
    recursion!(
        "ts_streak",
        [takes("condition", Condition)],
        "the number of bars in a row on which {condition}",
        |call| Streak(0.0)
    ),
    recursion!(
        "ts_page",
        [takes("x", Values), takes_or("drift", Constant, 0.0)],
        "Page's running sum of {x} above {drift}",
        |call| Page {
            drift: call.constants[0],
            sum: 0.0
        }
    ),
    recursion!(
        "ts_cusum_event",
        [takes("x", Values), takes("threshold", Constant)],
        "1 or -1 when the sum of {x} since the last event passes {threshold} up or down, 0 otherwise",
        |call| Events {
            threshold: call.constants[0],
            up: 0.0,
            down: 0.0
        }
    ),
    of_one!(
        "ts_hurst",
        [],
        "Hurst's exponent of the last {window} values of {x} by rescaled range",
        |x, []| memory::hurst_rescaled_range(x)
    ),
    of_one!(
        "ts_hurst_variance",
        [],
        "Hurst's exponent of the last {window} values of {x} by aggregated variance",
        |x, []| memory::hurst_aggregated_variance(x)
    ),
    of_one!(
        "ts_dfa",
        [],
        "the exponent of detrended fluctuation analysis of the last {window} values of {x}",
        |x, []| memory::detrended_fluctuation(x)
    ),
    of_one!(
        "ts_variance_ratio",
        [takes("q", Window)],
        "the variance of {q}-bar sums of {x} over {q} times its variance, in the last {window} bars",
        |x, [q]| memory::variance_ratio(x, *q as usize)
    ),
    of_one!(
        "ts_variance_ratio_z",
        [takes("q", Window)],
        "how many robust standard errors the variance ratio of {x} at {q} bars is above 1, in the last {window} bars",
        |x, [q]| memory::variance_ratio_z(x, *q as usize)
    ),
    of_one!(
        "ts_fracdiff",
        [takes("order", Constant)],
        "the fractional difference of {x} of order {order} with {window} weights",
        |x, [order]| memory::fractional_difference(x, *order)
    ),
    of_one!(
        "ts_adf",
        [takes("lags", Constant)],
        "the augmented Dickey-Fuller t-statistic of the last {window} values of {x} with {lags} lags",
        |x, [lags]| unit_root::dickey_fuller(x, *lags as usize)
    ),
    of_one!(
        "ts_sadf",
        [takes("shortest", Window), takes("lags", Constant)],
        "the largest Dickey-Fuller t-statistic with {lags} lags of {x} over all spans of {shortest} to {window} bars up to now",
        |x, [shortest, lags]| {
            unit_root::supremum_dickey_fuller(x, *shortest as usize, *lags as usize)
        }
    ),
    of_one!(
        "ts_kpss",
        [takes("lags", Window)],
        "the KPSS statistic of the last {window} values of {x} with {lags} lags",
        |x, [lags]| unit_root::kpss(x, *lags as usize)
    ),
    of_one!(
        "ts_autocorr",
        [takes("lag", Window)],
        "the autocorrelation at lag {lag} of the last {window} values of {x}",
        |x, [lag]| dependence::autocorrelation(x, *lag as usize)
    ),
    of_one!(
        "ts_partial_autocorr",
        [takes("lag", Window)],
        "the partial autocorrelation at lag {lag} of the last {window} values of {x}",
        |x, [lag]| dependence::partial_autocorrelation(x, *lag as usize)
    ),
    of_one!(
        "ts_ljung_box",
        [takes("lags", Window)],
        "the Ljung-Box statistic over {lags} lags of the last {window} values of {x}",
        |x, [lags]| dependence::ljung_box(x, *lags as usize)
    ),
    of_one!(
        "ts_long_run_var",
        [takes("lags", Window)],
        "the long-run variance with Bartlett weights over {lags} lags of the last {window} values of {x}",
        |x, [lags]| dependence::long_run_variance(x, *lags as usize)
    ),
    of_one!(
        "ts_sum_range",
        [],
        "the range of the running sum of deviations from their mean of the last {window} values of {x}",
        |x, []| memory::sum_range(x)
    ),
    of_two!(
        "ts_kendall",
        [],
        "Kendall's tau-b of {x} and {y} over the last {window} bars",
        |x, y, []| dependence::kendall(x, y)
    ),
    of_two!(
        "ts_rank_corr",
        [],
        "Spearman's rank correlation of {x} and {y} over the last {window} bars",
        |x, y, []| dependence::spearman(x, y)
    ),
    of_two!(
        "ts_distance_corr",
        [],
        "the distance correlation of {x} and {y} over the last {window} bars",
        |x, y, []| dependence::distance_correlation(x, y)
    ),
    of_two!(
        "ts_mutual_information",
        [takes("bins", Window)],
        "the mutual information in nats of {x} and {y} in {bins} bins each over the last {window} bars",
        |x, y, [bins]| dependence::mutual_information(x, y, *bins as usize)
    ),
    of_two!(
        "ts_transfer_entropy",
        [],
        "the transfer entropy in nats from {x} to {y}, each above its median or not, over the last {window} bars",
        |x, y, []| dependence::transfer_entropy(x, y)
    ),
    of_one!(
        "ts_entropy",
        [takes("bins", Window)],
        "the entropy in nats of the last {window} values of {x} in {bins} bins",
        |x, [bins]| entropy::histogram(x, *bins as usize)
    ),
    of_one!(
        "ts_renyi_entropy",
        [takes("bins", Window), takes("order", Constant)],
        "Renyi's entropy of order {order} of the last {window} values of {x} in {bins} bins",
        |x, [bins, order]| entropy::renyi(x, *bins as usize, *order)
    ),
    of_one!(
        "ts_tsallis_entropy",
        [takes("bins", Window), takes("order", Constant)],
        "Tsallis's entropy of order {order} of the last {window} values of {x} in {bins} bins",
        |x, [bins, order]| entropy::tsallis(x, *bins as usize, *order)
    ),
    of_one!(
        "ts_permutation_entropy",
        [takes("order", Window), takes_or("delay", Window, 1.0)],
        "the entropy of the order patterns of {order} values {delay} apart in the last {window} values of {x}, 1 at most",
        |x, [order, delay]| entropy::permutation(x, *order as usize, *delay as usize)
    ),
    of_one!(
        "ts_weighted_permutation_entropy",
        [takes("order", Window), takes_or("delay", Window, 1.0)],
        "the entropy of the order patterns of {order} values {delay} apart in the last {window} values of {x}, weighted by their variance, 1 at most",
        |x, [order, delay]| entropy::weighted_permutation(x, *order as usize, *delay as usize)
    ),
    of_one!(
        "ts_sample_entropy",
        [takes("length", Window), takes("tolerance", Constant)],
        "the sample entropy of the last {window} values of {x} for stretches of {length} within {tolerance} deviations",
        |x, [length, tolerance]| entropy::sample(x, *length as usize, *tolerance)
    ),
    of_one!(
        "ts_approximate_entropy",
        [takes("length", Window), takes("tolerance", Constant)],
        "the approximate entropy of the last {window} values of {x} for stretches of {length} within {tolerance} deviations",
        |x, [length, tolerance]| entropy::approximate(x, *length as usize, *tolerance)
    ),
    of_one!(
        "ts_lempel_ziv",
        [],
        "the Lempel-Ziv complexity of whether each of the last {window} values of {x} is above their median",
        |x, []| complexity::lempel_ziv(x)
    ),
    of_one!(
        "ts_theil_sen",
        [],
        "the median slope per bar between all pairs of the last {window} values of {x}",
        |x, []| order::theil_sen(x)
    ),
    of_one!(
        "ts_hodges_lehmann",
        [],
        "the median of the pairwise means of the last {window} values of {x}",
        |x, []| order::hodges_lehmann(x)
    ),
    of_one!(
        "ts_median_deviation",
        [],
        "the median distance of the last {window} values of {x} from their median",
        |x, []| order::median_deviation(x)
    ),
    of_one!(
        "ts_l_moment",
        [takes("order", Window)],
        "the L-moment of order {order} of the last {window} values of {x}",
        |x, [order]| order::l_moment(x, *order as usize)
    ),
    of_one!(
        "ts_hill",
        [takes("share", Constant)],
        "Hill's tail index of the largest {share} of the last {window} values of {x}",
        |x, [share]| order::hill(x, *share)
    ),
    of_one!(
        "ts_katz",
        [],
        "Katz's fractal dimension of the last {window} values of {x}",
        |x, []| fractal::katz(x)
    ),
    of_one!(
        "ts_petrosian",
        [],
        "Petrosian's fractal dimension of the last {window} values of {x}",
        |x, []| fractal::petrosian(x)
    ),
    of_one!(
        "ts_higuchi",
        [takes("thinnest", Window)],
        "Higuchi's fractal dimension of the last {window} values of {x} thinned up to {thinnest} times",
        |x, [thinnest]| fractal::higuchi(x, *thinnest as usize)
    ),
    of_one!(
        "ts_peaks",
        [takes("support", Window)],
        "the number of the last {window} values of {x} above their {support} neighbours on both sides",
        |x, [support]| complexity::peaks(x, *support as usize)
    ),
    Operator {
        parameters: &[takes("condition", Condition), takes("window", Window)],
        ..of_one!(
            "ts_longest_run",
            [],
            "the longest run of the last {window} bars on which {condition}",
            |x, []| complexity::longest_run(x)
        )
    },
    of_one!(
        "ts_longest_above_mean",
        [],
        "the longest run above their mean of the last {window} values of {x}",
        |x, []| complexity::longest_above_mean(x)
    ),
    of_one!(
        "ts_mean_crossings",
        [],
        "how often the last {window} values of {x} cross their mean",
        |x, []| complexity::mean_crossings(x)
    ),
    of_one!(
        "ts_benford",
        [],
        "the correlation of the first digits of the last {window} values of {x} with Benford's law",
        |x, []| complexity::benford(x)
    ),
    of_one!(
        "ts_mass_index",
        [takes("share", Constant)],
        "the share of the last {window} bars after which {share} of the sum of absolute {x} is reached",
        |x, [share]| complexity::mass_index(x, *share)
    ),
    of_one!(
        "ts_wave_share",
        [takes("period", Constant)],
        "the share of the variance of the last {window} values of {x} that a wave of {period} bars explains",
        |x, [period]| spectrum::wave_share(x, *period)
    ),
    of_spectrum!(
        "ts_spectral_entropy",
        [],
        "the entropy of the spectrum of the last {window} values of {x}, 1 at most",
        |fourier, x, []| fourier.entropy(x)
    ),
    of_spectrum!(
        "ts_spectral_centroid",
        [],
        "the mean frequency in cycles per bar of the last {window} values of {x}",
        |fourier, x, []| fourier.centroid(x)
    ),
    of_spectrum!(
        "ts_spectral_spread",
        [],
        "the spread of the frequencies in cycles per bar of the last {window} values of {x}",
        |fourier, x, []| fourier.spread(x)
    ),
    of_spectrum!(
        "ts_spectral_rolloff",
        [takes("share", Constant)],
        "the frequency in cycles per bar below which {share} of the power of the last {window} values of {x} lies",
        |fourier, x, [share]| fourier.rolloff(x, *share)
    ),
    of_spectrum!(
        "ts_spectral_flatness",
        [],
        "how flat the spectrum of the last {window} values of {x} is, 1 at most",
        |fourier, x, []| fourier.flatness(x)
    ),
    of_spectrum!(
        "ts_dominant_period",
        [],
        "the period in bars of the strongest wave in the last {window} values of {x}",
        |fourier, x, []| fourier.period(x)
    ),
    of_spectrum!(
        "ts_memory_parameter",
        [],
        "the memory parameter of Geweke and Porter-Hudak of the last {window} values of {x}",
        |fourier, x, []| fourier.memory(x)
    ),
];
