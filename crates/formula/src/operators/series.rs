//! Operators that turn a whole series into one number.
//!
//! They see the values that are known: periods on which any argument is unknown
//! are left out before ([`crate::engine::evaluate_series`]).

use super::{Axis, Computation, Kind, Operator, takes, takes_or};
use crate::statistics::{
    bootstrap, complexity, dependence, entropy, fractal, growth, memory, moments, normality, order,
    paths, unit_root,
};

use Kind::{Constant, Scalar, Values, Window};

/// A statistic of one series `x` and constants.
macro_rules! of_one {
    ($name:literal, [$($extra:expr),*], $meaning:literal, |$x:ident, $c:pat_param| $value:expr) => {
        Operator {
            name: $name,
            axis: Axis::Series,
            parameters: &[takes("x", Values), $($extra),*],
            gives: Scalar,
            meaning: $meaning,
            computation: Computation::Reduce(|series, constants| {
                let ([$x], $c) = (series, constants) else {
                    return f64::NAN;
                };
                $value
            }),
        }
    };
}

/// A statistic of two series `x` and `y`.
macro_rules! of_two {
    ($name:literal, [$($extra:expr),*], $meaning:literal, |$x:ident, $y:ident, $c:pat_param| $value:expr) => {
        Operator {
            name: $name,
            axis: Axis::Series,
            parameters: &[takes("x", Values), takes("y", Values), $($extra),*],
            gives: Scalar,
            meaning: $meaning,
            computation: Computation::Reduce(|series, constants| {
                let ([$x, $y], $c) = (series, constants) else {
                    return f64::NAN;
                };
                $value
            }),
        }
    };
}

pub(super) static OPERATORS: &[Operator] = &[
    of_one!(
        "series_count",
        [],
        "the number of known values of {x}",
        |x, []| x.len() as f64
    ),
    of_one!("series_sum", [], "the sum of {x}", |x, []| x.iter().sum()),
    of_one!("series_product", [], "the product of {x}", |x, []| x
        .iter()
        .product()),
    of_one!("series_mean", [], "the mean of {x}", |x, []| moments::mean(
        x
    )),
    of_one!(
        "series_first",
        [],
        "the first known value of {x}",
        |x, []| x[0]
    ),
    of_one!("series_last", [], "the last known value of {x}", |x, []| x
        [x.len() - 1]),
    of_one!("series_min", [], "the smallest {x}", |x, []| {
        x.iter().copied().fold(f64::NAN, f64::min)
    }),
    of_one!("series_max", [], "the largest {x}", |x, []| {
        x.iter().copied().fold(f64::NAN, f64::max)
    }),
    of_one!("series_median", [], "the median of {x}", |x, []| {
        order::median(x)
    }),
    of_one!(
        "series_quantile",
        [takes("quantile", Constant)],
        "the {quantile} quantile of {x}",
        |x, [quantile]| order::quantile(x, *quantile)
    ),
    of_one!(
        "series_var",
        [takes_or("ddof", Constant, 1.0)],
        "the variance of {x} with {ddof} degrees of freedom taken off",
        |x, [ddof]| moments::variance(x, *ddof)
    ),
    of_one!(
        "series_std",
        [takes_or("ddof", Constant, 1.0)],
        "the standard deviation of {x} with {ddof} degrees of freedom taken off",
        |x, [ddof]| moments::variance(x, *ddof).sqrt()
    ),
    of_one!(
        "series_skew",
        [],
        "the skewness of {x}, not corrected for the number of values",
        |x, []| moments::skewness(x)
    ),
    of_one!(
        "series_kurt",
        [],
        "the excess kurtosis of {x}, not corrected for the number of values",
        |x, []| moments::kurtosis(x)
    ),
    of_two!(
        "series_cov",
        [takes_or("ddof", Constant, 1.0)],
        "the covariance of {x} and {y} with {ddof} degrees of freedom taken off",
        |x, y, [ddof]| moments::covariance(x, y, *ddof)
    ),
    of_two!(
        "series_corr",
        [],
        "the correlation of {x} and {y}",
        |x, y, []| moments::correlation(x, y)
    ),
    of_two!("series_beta", [], "the slope of {x} on {y}", |x, y, []| {
        moments::slope(x, y)
    }),
    of_two!(
        "series_rank_corr",
        [],
        "Spearman's rank correlation of {x} and {y}",
        |x, y, []| dependence::spearman(x, y)
    ),
    of_two!(
        "series_kendall",
        [],
        "Kendall's tau-b of {x} and {y}",
        |x, y, []| dependence::kendall(x, y)
    ),
    of_two!(
        "series_distance_corr",
        [],
        "the distance correlation of {x} and {y}",
        |x, y, []| dependence::distance_correlation(x, y)
    ),
    of_two!(
        "series_mutual_information",
        [takes("bins", Window)],
        "the mutual information in nats of {x} and {y} in {bins} bins each",
        |x, y, [bins]| dependence::mutual_information(x, y, *bins as usize)
    ),
    of_one!(
        "series_autocorr",
        [takes_or("lag", Window, 1.0)],
        "the autocorrelation of {x} at lag {lag}",
        |x, [lag]| dependence::autocorrelation(x, *lag as usize)
    ),
    of_one!(
        "series_partial_autocorr",
        [takes("lag", Window)],
        "the partial autocorrelation of {x} at lag {lag}",
        |x, [lag]| dependence::partial_autocorrelation(x, *lag as usize)
    ),
    of_one!(
        "series_ljung_box",
        [takes("lags", Window)],
        "the Ljung-Box statistic of {x} over {lags} lags",
        |x, [lags]| dependence::ljung_box(x, *lags as usize)
    ),
    of_one!(
        "series_long_run_var",
        [takes("lags", Window)],
        "the long-run variance of {x} with Bartlett weights over {lags} lags",
        |x, [lags]| dependence::long_run_variance(x, *lags as usize)
    ),
    of_one!(
        "series_l_moment",
        [takes("order", Window)],
        "the L-moment of order {order} of {x}",
        |x, [order]| order::l_moment(x, *order as usize)
    ),
    of_one!(
        "series_hodges_lehmann",
        [],
        "the median of the pairwise means of {x}",
        |x, []| order::hodges_lehmann(x)
    ),
    of_one!(
        "series_hill",
        [takes("share", Constant)],
        "Hill's tail index of the largest {share} of {x}",
        |x, [share]| order::hill(x, *share)
    ),
    of_one!(
        "series_signed_rank",
        [],
        "the sum of the ranks by size of the positive {x}",
        |x, []| order::signed_rank(x)
    ),
    of_one!(
        "series_expectile",
        [takes("level", Constant)],
        "the {level} expectile of {x}",
        |x, [level]| growth::expectile(x, *level)
    ),
    of_one!(
        "series_entropic_var",
        [takes("level", Constant)],
        "the entropic value at risk of {x} at tail probability {level}, as a return",
        |x, [level]| growth::entropic_value_at_risk(x, *level)
    ),
    of_one!(
        "series_growth_fraction",
        [],
        "the multiple of the stake at which the mean logarithmic growth by {x} is largest",
        |x, []| growth::growth_fraction(x)
    ),
    of_one!(
        "series_drawdown_sum",
        [takes_or("power", Constant, 1.0)],
        "the sum over all falls of the wealth that {x} builds of their depth to the power of {power}",
        |x, [power]| paths::depth_sum(x, *power)
    ),
    of_one!(
        "series_deepest_drawdowns",
        [takes("count", Window)],
        "the mean depth of the {count} deepest falls of the wealth that {x} builds",
        |x, [count]| paths::deepest_mean(x, *count as usize)
    ),
    of_one!(
        "series_adf",
        [takes("lags", Constant)],
        "the augmented Dickey-Fuller t-statistic of {x} with a constant and {lags} lags",
        |x, [lags]| unit_root::dickey_fuller(x, *lags as usize)
    ),
    of_one!(
        "series_variance_ratio",
        [takes("q", Window)],
        "the variance of {q}-period sums of {x} over {q} times its variance",
        |x, [q]| memory::variance_ratio(x, *q as usize)
    ),
    of_one!(
        "series_variance_ratio_z",
        [takes("q", Window)],
        "how many robust standard errors the variance ratio of {x} at {q} periods is above 1",
        |x, [q]| memory::variance_ratio_z(x, *q as usize)
    ),
    of_one!(
        "series_hurst",
        [],
        "Hurst's exponent of {x} by rescaled range",
        |x, []| memory::hurst_rescaled_range(x)
    ),
    of_one!(
        "series_hurst_variance",
        [],
        "Hurst's exponent of {x} by aggregated variance",
        |x, []| memory::hurst_aggregated_variance(x)
    ),
    of_one!(
        "series_dfa",
        [],
        "the exponent of detrended fluctuation analysis of {x}",
        |x, []| memory::detrended_fluctuation(x)
    ),
    of_one!(
        "series_higuchi",
        [takes("thinnest", Window)],
        "Higuchi's fractal dimension of {x} thinned up to {thinnest} times",
        |x, [thinnest]| fractal::higuchi(x, *thinnest as usize)
    ),
    of_one!(
        "series_entropy",
        [takes("bins", Window)],
        "the entropy in nats of {x} in {bins} bins",
        |x, [bins]| entropy::histogram(x, *bins as usize)
    ),
    of_one!(
        "series_permutation_entropy",
        [takes("order", Window), takes_or("delay", Window, 1.0)],
        "the entropy of the order patterns of {order} values of {x} {delay} apart, 1 at most",
        |x, [order, delay]| entropy::permutation(x, *order as usize, *delay as usize)
    ),
    of_one!(
        "series_sample_entropy",
        [takes("length", Window), takes("tolerance", Constant)],
        "the sample entropy of {x} for stretches of {length} within {tolerance} deviations",
        |x, [length, tolerance]| entropy::sample(x, *length as usize, *tolerance)
    ),
    of_one!(
        "series_lempel_ziv",
        [],
        "the Lempel-Ziv complexity of whether {x} is above its median",
        |x, []| complexity::lempel_ziv(x)
    ),
    of_one!(
        "series_lilliefors",
        [],
        "the largest distance of the distribution of {x} from a normal one",
        |x, []| normality::lilliefors(x)
    ),
    of_one!(
        "series_anderson_darling",
        [],
        "the Anderson-Darling distance of {x} from normality",
        |x, []| normality::anderson_darling(x)
    ),
    of_one!(
        "series_cramer_von_mises",
        [],
        "the Cramer-von Mises distance of {x} from normality",
        |x, []| normality::cramer_von_mises(x)
    ),
    of_one!(
        "series_shapiro_francia",
        [],
        "the squared correlation of the sorted {x} with normal scores",
        |x, []| normality::shapiro_francia(x)
    ),
    of_one!(
        "series_bootstrap_error",
        [
            takes("block", Constant),
            takes("draws", Window),
            takes("seed", Constant)
        ],
        "the standard error of the mean of {x} by {draws} stationary bootstrap series of mean block {block} from seed {seed}",
        |x, [block, draws, seed]| bootstrap::mean_error(x, *block, *draws as usize, *seed as u64)
    ),
    of_one!(
        "series_bootstrap_ratio_error",
        [
            takes("block", Constant),
            takes("draws", Window),
            takes("seed", Constant)
        ],
        "the standard error of the mean over the standard deviation of {x} by {draws} stationary bootstrap series of mean block {block} from seed {seed}",
        |x, [block, draws, seed]| bootstrap::ratio_error(x, *block, *draws as usize, *seed as u64)
    ),
    of_one!(
        "series_bootstrap_p",
        [
            takes("block", Constant),
            takes("draws", Window),
            takes("seed", Constant)
        ],
        "the p-value that the mean of {x} is not above 0 by {draws} stationary bootstrap series of mean block {block} from seed {seed}",
        |x, [block, draws, seed]| bootstrap::mean_p(x, *block, *draws as usize, *seed as u64)
    ),
];
