"""Reference values for the family `statistics` of the formula catalogue.

Versions: see requirements-formula-statistics.txt beside this file. Run from anywhere:

    python -m venv env && env/bin/pip install -r requirements-formula-statistics.txt
    env/bin/python statistics_fixtures.py

It reads the return series of risk.json (run risk_fixtures.py first) and rewrites
crates/formula/tests/fixtures/statistics.json. Each value names where it is from:
the library that has the statistic, or `numpy`, code written here from the equation
that the catalogue cites. Bars are synthetic with a fixed seed; the third instrument
has coarse prices, so that equal closes occur. A value that does not exist is null.
"""

import json
import math
import warnings
from pathlib import Path

import antropy
import dcor
import numpy as np
import tsfresh.feature_extraction.feature_calculators as tf
from arch.unitroot import VarianceRatio
from scipy import optimize, stats
from statsmodels.regression.linear_model import OLS
from statsmodels.sandbox.stats.runs import runstest_1samp
from statsmodels.stats.diagnostic import acorr_ljungbox, het_arch, lilliefors
from statsmodels.stats.stattools import durbin_watson
from statsmodels.tsa.stattools import acf, adfuller, kpss, pacf

warnings.filterwarnings("ignore")
FIXTURES = Path(__file__).parents[2] / "crates/formula/tests/fixtures"
N = 330
ROWS = [120, 180, 240, 262, 290, 310, 329]
LIBRARIES = {}


def by(source, key, value):
    """Notes the source of a formula and hands its values on."""
    LIBRARIES[key] = source
    return value


# ---- Statistics of one window


def roll(function, window, *columns):
    """Applies a function to each full window of known values."""
    columns = [np.asarray(c, dtype=float) for c in columns]
    out = np.full(len(columns[0]), np.nan)
    for end in range(window, len(out) + 1):
        parts = [c[end - window : end] for c in columns]
        if all(np.isfinite(p).all() for p in parts):
            out[end - 1] = function(*parts)
    return out


def lag(x, k):
    out = np.full(len(x), np.nan)
    out[k:] = x[:-k]
    return out


def mean(x, w):
    return roll(np.mean, w, x)


def std(x, w):
    return roll(lambda v: np.std(v, ddof=1), w, x)


def var(x, w):
    return roll(lambda v: np.var(v, ddof=1), w, x)


def corr(x, y, w):
    return roll(lambda a, b: np.corrcoef(a, b)[0, 1], w, x, y)


def quantile(x, w, q):
    return roll(lambda v: np.quantile(v, q), w, x)


def rescaled(x):
    z = np.concatenate([[0], np.cumsum(x - x.mean())])
    return (z.max() - z.min()) / x.std()


def slope_of_logs(sizes, values):
    return np.polyfit(np.log(sizes), np.log(values), 1)[0]


def doubling(first, last):
    return [first * 2**k for k in range(30) if first * 2**k <= last]


def chunks(x, size):
    return x[: len(x) // size * size].reshape(-1, size)


def hurst(x):
    sizes = doubling(8, len(x))
    return slope_of_logs(sizes, [np.mean([rescaled(c) for c in chunks(x, s)]) for s in sizes])


def hurst_variance(x):
    sizes = doubling(1, len(x) // 8)
    return 1 + slope_of_logs(sizes, [chunks(x, s).mean(axis=1).var() for s in sizes]) / 2


def dfa(x):
    profile = np.cumsum(x - x.mean())
    sizes = doubling(4, len(x) // 4)

    def fluctuation(size):
        t = np.arange(size)
        return np.mean(
            [math.sqrt(np.mean((c - np.polyval(np.polyfit(t, c, 1), t)) ** 2)) for c in chunks(profile, size)]
        )

    return slope_of_logs(sizes, [fluctuation(s) for s in sizes])


def ratio(x, q, robust=True):
    """Returns arch's variance ratio of the path that sums x."""
    path = np.concatenate([[0], np.cumsum(x)])
    return VarianceRatio(path, lags=q, trend="c", overlap=True, robust=robust, debiased=True)


def gph(x):
    n, m = len(x), int(math.sqrt(len(x)))
    power = abs(np.fft.rfft(x - x.mean())[1 : m + 1]) ** 2
    w = 2 * math.pi * np.arange(1, m + 1) / n
    return -stats.linregress(np.log(4 * np.sin(w / 2) ** 2), np.log(power)).slope


def long_run(x, lags):
    d = x - x.mean()
    gamma = [np.dot(d[k:], d[: len(d) - k]) / len(d) for k in range(lags + 1)]
    return gamma[0] + 2 * sum((1 - k / (lags + 1)) * gamma[k] for k in range(1, lags + 1))


def hac_t(x, lags):
    model = OLS(x, np.ones(len(x)))
    return model.fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False}).tvalues[0]


def adf(x, lags):
    return adfuller(x, maxlag=lags, autolag=None, regression="c")


def sadf(x, shortest, lags):
    return max(adf(x[start:], lags)[0] for start in range(len(x) - shortest + 1))


def mutual(x, y, bins):
    joint = np.histogram2d(x, y, bins)[0] / len(x)
    outer = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    mask = joint > 0
    return np.sum(joint[mask] * np.log(joint[mask] / outer[mask]))


def entropy_of(*symbols):
    return stats.entropy(np.unique(np.column_stack(symbols), axis=0, return_counts=True)[1])


def transfer(x, y):
    """Transfer entropy from x to y as a difference of four joint entropies."""
    x, y = (x > np.median(x)).astype(int), (y > np.median(y)).astype(int)
    after, own, other = y[1:], y[:-1], x[:-1]
    return (
        entropy_of(after, own) - entropy_of(own) - entropy_of(after, own, other) + entropy_of(own, other)
    )


def shares(x, bins):
    counts = np.histogram(x, bins)[0] / len(x)
    return counts[counts > 0]


def weighted_permutation(x, order):
    windows = np.lib.stride_tricks.sliding_window_view(x, order)
    weights = {}
    for w in windows:
        key = tuple(np.argsort(w, kind="stable"))
        weights[key] = weights.get(key, 0) + w.var()
    return stats.entropy(list(weights.values())) / math.log(math.factorial(order))


def lempel_ziv(x):
    return antropy.lziv_complexity((x > np.median(x)).astype(int), normalize=True)


def sampen(x):
    return antropy.sample_entropy(x, order=2, tolerance=0.2 * x.std())


def hodges_lehmann(x):
    return np.median([(a + b) / 2 for i, a in enumerate(x) for b in x[i:]])


def hill(x, share):
    x = np.sort(x)[::-1]
    k = int(math.floor(share * len(x)))
    return 1 / np.mean(np.log(x[:k] / x[k])) if x[k] > 0 else math.nan


def spectrum(x):
    power = abs(np.fft.rfft(x - x.mean())[1:]) ** 2
    return np.arange(1, len(x) // 2 + 1) / len(x), power


def centroid(x):
    f, p = spectrum(x)
    return np.average(f, weights=p)


def spread(x):
    f, p = spectrum(x)
    return math.sqrt(np.average((f - centroid(x)) ** 2, weights=p))


def rolloff(x, share):
    f, p = spectrum(x)
    return f[np.argmax(np.cumsum(p) >= share * p.sum())]


def wave(x, period):
    d = x - x.mean()
    t = np.arange(len(x))
    return 2 * abs(np.sum(d * np.exp(-2j * math.pi * t / period))) ** 2 / (len(x) * np.sum(d**2))


def longest(flags):
    best = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        best = max(best, run)
    return best


def line_error(y):
    t = np.arange(len(y))
    return np.sum((y - np.polyval(np.polyfit(t, y, 1), t)) ** 2)


def line_t(y):
    line = stats.linregress(np.arange(len(y)), y)
    return line.slope / line.stderr


def ou(levels):
    """Fits changes on levels; returns slope, intercept and residual variance."""
    def fit(change, level):
        b, a = np.polyfit(level, change, 1)
        return b, a, np.sum((change - a - b * level) ** 2) / (len(change) - 1)

    change, level = np.diff(levels), levels[:-1]
    return fit(change, level)


def page(x, drift):
    out, total = np.full(len(x), np.nan), 0.0
    for t, value in enumerate(x):
        if np.isfinite(value):
            total = max(0.0, total + value - drift)
            out[t] = total
        else:
            total = 0.0
    return out


def events(x, threshold):
    out, up, down = np.full(len(x), np.nan), 0.0, 0.0
    for t, value in enumerate(x):
        if not np.isfinite(value):
            up = down = 0.0
            continue
        up, down = max(0.0, up + value), min(0.0, down + value)
        out[t] = 0.0
        if down < -threshold:
            down, out[t] = 0.0, -1.0
        elif up > threshold:
            up, out[t] = 0.0, 1.0
    return out


def since(flags):
    out, count = np.full(len(flags), np.nan), math.nan
    for t, flag in enumerate(flags):
        count = 0.0 if flag else count + 1
        out[t] = count
    return out


def streak(flags):
    out, run = [], 0
    for flag in flags:
        run = run + 1 if flag else 0
        out.append(run)
    return np.array(out, dtype=float)


# ---- Bars


def bars():
    rng = np.random.default_rng(5)
    common = rng.standard_t(5, N) * 0.004
    table = {}
    for name, digits, level in [("AAA/USD", 6, 1.2), ("BBB/USD", 4, 150.0), ("CCC/USD", 2, 9.0)]:
        volatility = 0.004 * np.exp(0.6 * np.sin(np.arange(N) / 25 + level))
        returns = 0.7 * common + rng.standard_t(4, N) * volatility
        returns[1:] += 0.1 * returns[:-1]
        close = np.round(level * np.exp(np.cumsum(returns)), digits)
        volume = np.round(np.exp(rng.normal(6, 1, N) + 60 * abs(returns)))
        table[name] = {"close": close, "volume": volume}
    return table


def features(close, volume, returns, market):
    """Returns the rolling formulas by name."""
    c, v, r, m = close, volume, returns, market
    lc = np.log(c)
    change = lambda x, k=1: x - lag(x, k)
    dl = change(lc)
    d = change(c)
    time = np.arange(1.0, len(c) + 1)
    out = {}

    def put(name, source, values):
        LIBRARIES[f"statistics.{name}"] = source
        out[f"statistics.{name}"] = values

    P, S, M, A, T, F = "numpy", "scipy", "statsmodels", "arch", "antropy", "tsfresh"
    for w in [64, 128, 256]:
        put(f"hurst_{w}", P, roll(hurst, w, r))
    for w in [64, 128]:
        put(f"hurst_variance_{w}", P, roll(hurst_variance, w, r))
        put(f"dfa_{w}", P, roll(dfa, w, r))
    put("generalised_hurst", P, np.log(mean(abs(change(lc, 8)), 100) / mean(abs(dl), 100)) / math.log(8))
    for q in [2, 5, 10]:
        put(f"variance_ratio_{q}", A, roll(lambda x: ratio(x, q).vr, 100, dl))
        put(f"variance_ratio_z_{q}", A, roll(lambda x: ratio(x, q).stat, 100, dl))
    # arch has the z of overlapping sums: (ratio - 1) over the root of 2(2q-1)(q-1)/(3qn).
    put("variance_ratio_z_constant", A, roll(lambda x: ratio(x, 4, False).stat, 100, dl))
    put("memory_parameter", P, roll(gph, 128, r))
    put("memory_of_volatility", P, roll(gph, 128, abs(r)))
    weights = np.array([(-1) ** k * math.prod((0.4 - j) / (j + 1) for j in range(k)) for k in range(60)])
    fd = roll(lambda x: np.dot(weights[::-1], x), 60, lc)
    put("fracdiff", P, fd)
    put("fracdiff_scaled", P, (fd - mean(fd, 60)) / std(fd, 60))
    put("reversion_speed", P, roll(lambda x: -np.log(1 + ou(x)[0]), 61, lc))
    put("equilibrium_gap", P, roll(lambda x: x[-1] + ou(x)[1] / ou(x)[0], 61, lc))

    def score(x):
        b, a, left = ou(x)
        return (x[-1] + a / b) / np.sqrt(left / (1 - (1 + b) ** 2))

    put("s_score", P, roll(score, 61, lc))
    for p in [1, 4]:
        put(f"adf_{p}", M, roll(lambda x: adf(x, p)[0], 100, lc))
    put("adf_p", M, roll(lambda x: adf(x, 1)[1], 60, lc))
    put("dickey_fuller", M, roll(lambda x: adf(x, 0)[0], 61, lc))
    put("kpss_price", M, roll(lambda x: kpss(x, regression="c", nlags=4)[0], 60, lc))
    put("kpss_returns", M, roll(lambda x: kpss(x, regression="c", nlags=4)[0], 100, r))
    put("sadf", M, roll(lambda x: sadf(x, 30, 1), 60, lc))
    put(
        "lo_rescaled_range",
        P,
        roll(lambda x: rescaled(x) * x.std() / math.sqrt(128 * long_run(x, 5)), 128, r),
    )
    put("long_run_ratio", P, roll(lambda x: long_run(x, 5) / x.var(), 100, r))
    put("newey_west_t", M, roll(lambda x: hac_t(x, 4), 60, r))
    for k in [1, 2, 5]:
        put(f"autocorrelation_{k}", M, roll(lambda x: acf(x, nlags=k)[k], 60, r))
    for k in [2, 3]:
        put(f"partial_autocorrelation_{k}", M, roll(lambda x: pacf(x, nlags=k, method="ldb")[k], 60, r))
    put("volatility_clustering", M, roll(lambda x: acf(x, nlags=1)[1], 60, abs(r)))
    put("leverage_effect", P, corr(lag(r, 1), r**2, 60))
    box = lambda x, k: acorr_ljungbox(x, lags=[k]).iloc[0]
    put("ljung_box", M, roll(lambda x: box(x, 10).lb_stat, 100, r))
    put("ljung_box_p", M, roll(lambda x: box(x, 5).lb_pvalue, 60, r))
    put("mcleod_li", M, roll(lambda x: box(x**2, 10).lb_stat, 100, r))
    # het_arch loses one value to its lag.
    put("arch_lm", M, roll(lambda x: het_arch(x, nlags=1)[0], 101, r))
    put("von_neumann", P, roll(lambda x: np.sum(np.diff(x) ** 2) / np.sum((x[1:] - x[1:].mean()) ** 2), 61, r))
    put("sign_persistence", P, roll(lambda x: np.mean(np.sign(x[1:]) * np.sign(x[:-1])), 61, r))
    put(
        "cowles_jones",
        P,
        roll(lambda x: np.sum(x[1:] * x[:-1] > 0) / np.sum(x[1:] * x[:-1] < 0), 101, r),
    )
    put("kendall_autocorrelation", S, roll(lambda x: stats.kendalltau(x[1:], x[:-1]).statistic, 61, r))
    put("mann_kendall", S, roll(lambda x: stats.kendalltau(x, np.arange(60)).statistic, 60, c))

    def kendall_score(x):
        """S over its deviation; tau-b equals S over the root of untied pairs."""
        tau = stats.kendalltau(x, np.arange(60)).statistic
        return tau * 1770 / math.sqrt(60 * 59 * 125 / 18)

    put("mann_kendall_z", S, roll(kendall_score, 60, r))
    put("spearman_trend", S, roll(lambda x: stats.spearmanr(x, np.arange(20)).statistic, 20, c))
    put("volume_rank_correlation", S, roll(lambda a, b: stats.spearmanr(a, b).statistic, 60, abs(r), v))
    dc = lambda a, b: dcor.distance_correlation(np.array(a), np.array(b))
    put("distance_autocorrelation", "dcor", roll(lambda x: dc(x[1:], x[:-1]), 61, r))
    put("distance_market", "dcor", roll(dc, 60, r, m))
    put("mutual_information", P, roll(lambda x: mutual(x[1:], x[:-1], 5), 101, r))
    put("mutual_information_volume", P, roll(lambda a, b: mutual(a, b, 5), 100, abs(r), v))
    put("transfer_entropy", P, roll(transfer, 100, m, r))
    put("transfer_entropy_net", P, roll(lambda a, b: transfer(a, b) - transfer(b, a), 100, m, r))
    put("market_lead", P, corr(r, lag(m, 1), 60))
    put("lead_lag_asymmetry", P, corr(r, lag(m, 1), 60) - corr(lag(r, 1), m, 60))
    put("idiosyncratic_share", S, roll(lambda a, b: 1 - stats.linregress(b, a).rvalue ** 2, 60, r, m))

    def left(a, b):
        f = stats.linregress(b, a)
        return a - f.intercept - f.slope * b

    put("idiosyncratic_volatility", S, roll(lambda a, b: np.std(left(a, b), ddof=1), 60, r, m))

    def shared(a, b):
        low_a, low_b = quantile(a, 100, 0.1), quantile(b, 100, 0.1)
        both = np.where(np.isfinite(low_a), (a < low_a) & (b < low_b), np.nan)
        return mean(both, 100) / 0.1

    put("tail_comovement", P, shared(r, m))
    path = np.concatenate([[np.nan], np.cumsum(m[1:])])
    put("cointegration_residual", S, roll(lambda a, b: left(a, b)[-1], 120, lc, path))
    put(
        "cointegration_z",
        S,
        roll(lambda a, b: left(a, b)[-1] / np.std(left(a, b), ddof=1), 120, lc, path),
    )
    for b in [5, 10]:
        put(f"entropy_{b}", F, roll(lambda x: tf.binned_entropy(x, b), 100, r))
    put("renyi_entropy", P, roll(lambda x: -math.log(np.sum(shares(x, 10) ** 2)), 100, r))
    put("tsallis_entropy", P, roll(lambda x: 1 - np.sum(shares(x, 10) ** 2), 100, r))
    up = np.where(np.isfinite(r), r > 0, np.nan)
    put("direction_entropy", S, roll(lambda x: stats.entropy([x.mean(), 1 - x.mean()], base=2) if 0 < x.mean() < 1 else np.nan, 60, up))

    def pattern(x, order, delay):
        n = len(x) - (order - 1) * delay
        keys = [tuple(np.argsort(x[i : i + order * delay : delay], kind="stable")) for i in range(n)]
        counts = np.unique(keys, axis=0, return_counts=True)[1]
        return stats.entropy(counts) / math.log(math.factorial(order))

    for order in [3, 4]:
        put(f"permutation_entropy_{order}", P, roll(lambda x: pattern(x, order, 1), 100, c))
    put("permutation_entropy_wide", P, roll(lambda x: pattern(x, 3, 3), 100, c))
    put("weighted_permutation_entropy", P, roll(lambda x: weighted_permutation(x, 3), 100, c))
    put("sample_entropy", T, roll(sampen, 100, r))
    put(
        "approximate_entropy",
        T,
        roll(lambda x: antropy.app_entropy(x, order=2, tolerance=0.2 * x.std()), 100, r),
    )
    put("lempel_ziv", T, roll(lempel_ziv, 100, r))
    put(
        "negentropy",
        S,
        roll(lambda x: stats.skew(x, bias=False) ** 2 / 12 + stats.kurtosis(x, bias=False) ** 2 / 48, 100, r),
    )
    put("katz_dimension", T, roll(antropy.katz_fd, 64, c))
    put("petrosian_dimension", T, roll(antropy.petrosian_fd, 64, c))
    put("higuchi_dimension", T, roll(lambda x: antropy.higuchi_fd(x, kmax=8), 64, c))
    mobility = np.sqrt(var(d, 60) / var(c, 60))
    put("hjorth_mobility", P, mobility)
    put("hjorth_complexity", P, np.sqrt(var(change(d), 60) / var(d, 60)) / mobility)
    put("teager_energy", P, roll(lambda x: np.mean(x[1:-1] ** 2 - x[2:] * x[:-2]), 22, r))
    put("theil_sen", S, roll(lambda x: stats.theilslopes(x).slope, 30, lc))
    put("theil_sen_scaled", S, roll(lambda x: stats.theilslopes(x).slope, 30, lc) * math.sqrt(30) / std(r, 30))
    put("hodges_lehmann", P, roll(hodges_lehmann, 40, r))
    robust = lambda x: (x[-1] - np.median(x)) / (1.4826 * stats.median_abs_deviation(x))
    put("robust_z", S, roll(robust, 60, c))
    put("robust_z_volume", S, roll(robust, 60, np.log1p(v)))
    moment = lambda x, k: stats.lmoment(x, order=k, standardize=False)
    put("l_scale", S, roll(lambda x: moment(x, 2), 60, r))
    put("l_skewness", S, roll(lambda x: stats.lmoment(x, order=3), 60, r))
    put("l_kurtosis", S, roll(lambda x: stats.lmoment(x, order=4), 60, r))
    q = lambda x, *p: np.quantile(x, p)
    put("bowley_skewness", P, roll(lambda x: (lambda a: (a[0] + a[2] - 2 * a[1]) / (a[2] - a[0]))(q(x, 0.25, 0.5, 0.75)), 60, r))
    put(
        "moors_kurtosis",
        P,
        roll(lambda x: (lambda e: (e[7] - e[5] + e[3] - e[1]) / (e[6] - e[2]))(q(x, *np.arange(9) / 8)), 100, r),
    )
    put(
        "crow_siddiqui",
        P,
        roll(lambda x: (lambda a: (a[3] - a[0]) / (a[2] - a[1]))(q(x, 0.025, 0.25, 0.75, 0.975)), 100, r),
    )
    put("pearson_median_skewness", P, roll(lambda x: 3 * (x.mean() - np.median(x)) / x.std(ddof=1), 60, r))
    put("geary", P, roll(lambda x: np.mean(abs(x - x.mean())) / x.std(), 60, r))
    put("studentised_range", P, roll(lambda x: np.ptp(x) / x.std(ddof=1), 60, r))
    put("hill_loss", P, roll(lambda x: hill(-x, 0.05), 200, r))
    put("hill_asymmetry", P, roll(lambda x: math.log(hill(x, 0.05) / hill(-x, 0.05)), 200, r))
    put("jarque_bera", S, roll(lambda x: stats.jarque_bera(x).statistic, 100, r))
    put("jarque_bera_p", S, roll(lambda x: stats.jarque_bera(x).pvalue, 60, r))
    put(
        "runs_z",
        M,
        roll(lambda x: runstest_1samp(x > 0, cutoff=0.5, correction=False)[0] if 0 < np.sum(x > 0) < 60 else np.nan, 60, r),
    )
    turns = lambda x: np.sum(np.diff(x)[1:] * np.diff(x)[:-1] < 0)
    put("turning_points", P, roll(lambda x: (turns(x) - 116 / 3) / math.sqrt(931 / 90), 60, c))
    put("difference_sign", P, roll(lambda x: (np.sum(np.diff(x) > 0) - 29.5) / math.sqrt(61 / 12), 60, c))
    put("longest_rise", P, roll(lambda x: longest(x > 0), 60, r))
    put("run_balance", P, roll(lambda x: longest(x > 0) - longest(x < 0), 60, r))
    put("streak", P, np.where(np.isfinite(r), streak(r > 0) - streak(r < 0), np.nan))
    put("longest_above_mean", F, roll(tf.longest_strike_above_mean, 60, c))
    put("longest_below_mean", F, roll(tf.longest_strike_below_mean, 60, c))
    put("mean_crossings", F, roll(lambda x: tf.number_crossing_m(x, x.mean()), 60, c))
    put("zero_crossings", P, roll(lambda x: np.mean(x[1:] * x[:-1] < 0), 61, r))
    for k in [1, 3, 5]:
        put(f"peaks_{k}", F, roll(lambda x: tf.number_peaks(x, k), 60, c))
    put("time_since_peak", P, since((lag(c, 1) > c) & (lag(c, 1) > lag(c, 2))))
    put("benford", F, roll(tf.benford_correlation, 100, v))
    # tsfresh counts zeros in the total, which scales but does not change a correlation.
    put("benford_changes", F, roll(tf.benford_correlation, 100, d))
    mass = lambda x: dict(tf.index_mass_quantile(x, [{"q": 0.5}]))["q_0.5"]
    put("mass_quantile", F, roll(mass, 60, v))
    put("mass_quantile_returns", F, roll(mass, 60, r))
    z = r / std(r, 60)
    for k in [1, 2]:
        put(f"c3_{k}", F, roll(lambda x: tf.c3(x, k), 60 + 2 * k, z))
        put(f"time_reversal_{k}", F, roll(lambda x: tf.time_reversal_asymmetry_statistic(x, k), 60 + 2 * k, z))
    put("cid", F, roll(lambda x: tf.cid_ce(x, False) / x.std(ddof=1), 60, c))
    put("mean_absolute_change", F, roll(lambda x: tf.mean_abs_change(x) / np.ptp(x), 60, c))
    put("second_derivative", F, roll(tf.mean_second_derivative_central, 60, c) / std(d, 60))
    put("symmetry", P, roll(lambda x: abs(x.mean() - np.median(x)) / np.ptp(x), 60, c))
    beyond = np.where(np.isfinite(std(r, 60)), abs(r - mean(r, 60)) > 2 * std(r, 60), np.nan)
    put("beyond_sigma", P, mean(beyond, 60))
    put("large_deviation", P, roll(lambda x: x.std(ddof=1) / np.ptp(x), 60, c))
    put("volume_variation", S, roll(lambda x: stats.variation(x, ddof=1), 60, v))
    chunk = [{"num_segments": 10, "segment_focus": 9}]
    put("energy_ratio_last", F, roll(lambda x: list(tf.energy_ratio_by_chunks(x, chunk))[0][1], 100, r))
    put("energy_drift", P, roll(lambda x: np.average(x**2, weights=np.arange(1, 51)) / np.mean(x**2), 50, r))
    put("trend_t", S, roll(line_t, 30, c))
    s5 = std(r, 5)
    put("aggregated_trend", S, roll(lambda x: stats.linregress(np.arange(60), x).slope / x.mean(), 60, s5))
    put("root_mean_square", F, roll(tf.root_mean_square, 60, r))
    low, top = quantile(c, 60, 0.25), quantile(c, 60, 0.75)
    inside = np.where(np.isfinite(low), (c > low) & (c < top), np.nan)

    def corridor(flags, moves):
        chosen = moves[flags > 0]
        return chosen.mean() / moves.mean() if len(chosen) else np.nan

    put("corridor_change", P, roll(corridor, 60, inside, abs(d)))
    rms = lambda x: math.sqrt(np.mean(x**2))
    put("crest_factor", P, roll(lambda x: abs(x).max() / rms(x), 60, r))
    put("shape_factor", P, roll(lambda x: rms(x) / abs(x).mean(), 60, r))
    put("impulse_factor", P, roll(lambda x: abs(x).max() / abs(x).mean(), 60, r))
    put("clearance_factor", P, roll(lambda x: abs(x).max() / np.mean(np.sqrt(abs(x))) ** 2, 60, r))
    put("waveform_length", P, roll(lambda x: abs(np.diff(x)).sum() / abs(x[1:]).sum(), 61, r))
    abrupt = np.where(np.isfinite(std(r, 60)), abs(change(r)) > std(r, 60), np.nan)
    put("willison", P, mean(abrupt, 60))
    put("slope_sign_changes", P, roll(lambda x: np.mean((x[1:-1] - x[2:]) * (x[1:-1] - x[:-2]) > 0), 62, r))
    put("spectral_entropy", P, roll(lambda x: stats.entropy(spectrum(x)[1]) / math.log(32), 64, r))
    put("spectral_centroid", P, roll(centroid, 64, r))
    put("spectral_spread", P, roll(spread, 64, r))
    put("spectral_rolloff", P, roll(lambda x: rolloff(x, 0.85), 64, r))
    put("spectral_flatness", S, roll(lambda x: stats.gmean(spectrum(x)[1]) / spectrum(x)[1].mean(), 64, r))
    gap = lc - mean(lc, 64)
    put("dominant_period", P, roll(lambda x: 64 / (1 + np.argmax(spectrum(x)[1])), 64, gap))
    for p in [5, 10, 20]:
        put(f"wave_share_{p}", P, roll(lambda x: wave(x, p), 60, r))
    put("mean_shift", S, roll(lambda x: stats.ttest_ind(x[30:], x[:30], equal_var=False).statistic, 60, r))
    put("variance_shift", P, roll(lambda x: math.log(x[30:].var() / x[:30].var()), 60, r))
    put("centred_cusum_squares", P, roll(lambda x: math.sqrt(30) * (np.sum(x[:30] ** 2) / np.sum(x**2) - 0.5), 60, r))

    def chow(x):
        parts = line_error(x[:20]) + line_error(x[20:])
        return (line_error(x) - parts) / 2 / (parts / 36)

    put("chow_trend", P, roll(chow, 40, c))
    unit = r / lag(std(r, 50), 1)
    put("page_up", P, page(unit, 0.5))
    put("page_down", P, page(-unit, 0.5))
    put("page_variance", P, page(unit**2, 1.5))
    put("cusum_event", P, events(unit, 3))
    put("bars_since_event", P, since(abs(events(unit, 3)) == 1))
    put("turbulence", P, (r - lag(mean(r, 100), 1)) ** 2 / lag(var(r, 100), 1))
    put("correlation_squared", P, corr(r, m, 60) ** 2)
    return out


def across(table, all_returns):
    """Fills in the formulas that look at all instruments, from their parts."""
    names = list(table)
    shock = np.array([table[n]["statistics.turbulence"] for n in names])
    smooth = np.array([mean(s, 10) for s in shock])
    r2 = np.array([table[n].pop("statistics.correlation_squared") for n in names])
    LIBRARIES.pop("statistics.correlation_squared")
    r = np.array(all_returns)
    for index, name in enumerate(names):
        for key, values in {
            "market_turbulence": shock.mean(axis=0),
            "relative_turbulence": np.log(smooth[index] / smooth.mean(axis=0)),
            "average_market_correlation": r2.mean(axis=0),
            "dispersion": r.std(axis=0, ddof=1) / abs(r).mean(axis=0),
        }.items():
            table[name][f"statistics.{key}"] = by("numpy", f"statistics.{key}", values)


# ---- Whole series


def splitmix(seed):
    mask = (1 << 64) - 1
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield ((z ^ (z >> 31)) >> 11) / 2**53


def bootstrap(x, block, draws, seed):
    """Returns stationary bootstrap series; the order of draws is the crate's."""
    u, n, out = splitmix(seed), len(x), []
    for _ in range(draws):
        at, places = 0, []
        for place in range(n):
            if place == 0 or next(u) < 1 / block:
                at = int(next(u) * n)
            else:
                at = (at + 1) % n
            places.append(at)
        out.append(x[places])
    return np.array(out)


def tests(r, b):
    P, S, M, A, T, F = "numpy", "scipy", "statsmodels", "arch", "antropy", "tsfresh"
    n, mu = len(r), r.mean()
    wealth, other = np.cumsum(np.log1p(r)), np.cumsum(np.log1p(b))
    draws = bootstrap(r, 10, 500, 1)
    means = draws.mean(axis=1)
    half = n // 2
    first, second = r[:half], r[half:]
    box = lambda x, k: acorr_ljungbox(x, lags=[k]).iloc[0]
    ones = np.ones(n)
    moved, gap = r[r != 0], (r - b)[r != b]
    signed = lambda x: stats.rankdata(abs(x))[x > 0].sum()
    rank_z = lambda x: (signed(x) - len(x) * (len(x) + 1) / 4) / math.sqrt(
        len(x) * (len(x) + 1) * (2 * len(x) + 1) / 24
    )
    d = r - mu
    steps = np.cumsum(d)
    span = max(steps.max(), 0) - min(steps.min(), 0)
    normal = np.sort(stats.norm.cdf((r - mu) / r.std(ddof=1)))
    place = np.arange(1, n + 1)
    cvm = np.sum((normal - (2 * place - 1) / (2 * n)) ** 2) + 1 / (12 * n)
    scores = stats.norm.ppf((place - 0.375) / (n + 0.25))
    sf = np.corrcoef(np.sort(r), scores)[0, 1] ** 2
    ln, lln = math.log(n), math.log(math.log(n))
    robust = lambda q: abs(ratio(r, q).stat)
    share = np.cumsum(r**2) / np.sum(r**2) - place / n
    beta = stats.linregress(other, wealth).slope
    f = stats.f.sf(second.var(ddof=1) / first.var(ddof=1), len(second) - 1, len(first) - 1)
    u, v = abs(first - np.median(first)), abs(second - np.median(second))
    c = np.corrcoef(r, b)[0, 1]
    lagged = np.column_stack([np.ones(n - 1), b[:-1], r[:-1]])
    tau = stats.kendalltau(r, place).statistic
    turns = np.sum(np.diff(r)[1:] * np.diff(r)[:-1] < 0)
    found = {
        "test_mean_t": (S, stats.ttest_1samp(r, 0).statistic),
        "test_mean_p": (S, stats.ttest_1samp(r, 0).pvalue),
        "test_mean_newey_west": (M, hac_t(r, 5)),
        "test_mean_newey_west_p": (M, 2 * stats.norm.sf(abs(hac_t(r, 10)))),
        "bootstrap_error": (P, means.std(ddof=1)),
        "bootstrap_t": (P, mu / means.std(ddof=1)),
        "bootstrap_p": (P, (np.sum(means - mu >= mu) + 1) / 501),
        "bootstrap_sharpe_t": (
            P,
            mu / r.std(ddof=1) / (means / draws.std(axis=1, ddof=1)).std(ddof=1),
        ),
        "test_sign_z": (P, (np.sum(r > 0) - np.sum(r < 0)) / math.sqrt(len(moved))),
        "test_sign_p": (S, stats.binomtest(int(np.sum(r > 0)), len(moved), 0.5, "greater").pvalue),
        "test_signed_rank_z": (S, rank_z(moved)),
        "test_jarque_bera": (S, stats.jarque_bera(r).statistic),
        "test_jarque_bera_p": (S, stats.jarque_bera(r).pvalue),
        "test_skewness_z": (S, stats.skewtest(r).statistic),
        "test_kurtosis_z": (S, stats.kurtosistest(r).statistic),
        "test_lilliefors": (M, lilliefors(r)[0]),
        "test_anderson_darling": (S, stats.anderson(r).statistic * (1 + 0.75 / n + 2.25 / n**2)),
        "test_cramer_von_mises": (P, cvm * (1 + 0.5 / n)),
        "test_shapiro_francia": (S, sf),
        "test_shapiro_francia_p": (
            S,
            stats.norm.sf(math.log(1 - sf), -1.2725 + 1.0521 * (lln - ln), 1.0308 - 0.26758 * (lln + 2 / ln)),
        ),
        "test_ljung_box": (M, box(r, 10).lb_stat),
        "test_ljung_box_p": (M, box(r, 20).lb_pvalue),
        "test_box_pierce": (M, acorr_ljungbox(r, lags=[3], boxpierce=True).iloc[0].bp_stat),
        "test_mcleod_li_p": (M, box(d**2, 10).lb_pvalue),
        "test_arch_p": (M, het_arch(d, nlags=1)[1]),
        "test_durbin_watson": (M, durbin_watson(d)),
        "test_variance_ratio_2": (A, ratio(r, 2).vr),
        "test_variance_ratio_5": (A, ratio(r, 5).vr),
        "test_variance_ratio_10": (A, ratio(r, 10).vr),
        "test_variance_ratio_p": (A, ratio(r, 5).pvalue),
        "test_chow_denning": (A, max(robust(q) for q in [2, 4, 8, 16])),
        "test_runs_z": (M, runstest_1samp(r > np.median(r), cutoff=0.5, correction=False)[0]),
        "test_turning_points_z": (P, (turns - 2 * (n - 2) / 3) / math.sqrt((16 * n - 29) / 90)),
        "test_difference_sign_z": (
            P,
            (np.sum(np.diff(r) > 0) - (n - 1) / 2) / math.sqrt((n + 1) / 12),
        ),
        "test_trend_kendall_z": (S, tau / math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))),
        "test_trend_spearman_p": (S, stats.spearmanr(r, place).pvalue),
        "test_adf": (M, adf(wealth, 1)[0]),
        "test_adf_p": (M, adf(wealth, 5)[1]),
        "test_engle_granger": (M, adf(wealth - beta * other, 1)[0]),
        "test_kpss": (M, kpss(r, regression="c", nlags=5)[0]),
        "test_lo_range": (P, span / math.sqrt(n * long_run(r, 5))),
        "test_hurst": (P, hurst(r)),
        "test_hurst_variance": (P, hurst_variance(abs(r))),
        "test_dfa": (P, dfa(r)),
        "test_higuchi": (T, antropy.higuchi_fd(wealth, kmax=10)),
        "test_entropy": (F, tf.binned_entropy(r, 20)),
        "test_permutation_entropy": (
            P,
            stats.entropy(
                np.unique(
                    [tuple(np.argsort(r[i : i + 4], kind="stable")) for i in range(n - 3)],
                    axis=0,
                    return_counts=True,
                )[1]
            )
            / math.log(24),
        ),
        "test_sample_entropy": (T, sampen(r)),
        "test_lempel_ziv": (T, lempel_ziv(r)),
        "test_l_skewness": (S, stats.lmoment(r, order=3)),
        "test_l_kurtosis": (S, stats.lmoment(r, order=4)),
        "test_hodges_lehmann": (S, hodges_lehmann(r) / (1.4826 * stats.median_abs_deviation(r))),
        "effective_periods": (P, n * r.var() / long_run(r, 10)),
        "test_half_means": (S, stats.ttest_ind(second, first, equal_var=False).statistic),
        "test_half_variances_p": (S, 2 * min(f, 1 - f)),
        "test_half_brown_forsythe": (S, stats.ttest_ind(v, u).statistic),
        "test_cusum_squares": (P, math.sqrt(n / 2) * abs(share).max()),
        "test_cusum_squares_p": (
            S,
            stats.kstwobign.sf(math.sqrt(n) * abs(share).max() * np.mean(r**2) / np.std(r**2)),
        ),
        "test_cusum_mean_p": (S, stats.kstwobign.sf(abs(steps).max() / math.sqrt(n * long_run(r, 5)))),
        "test_buishand_range": (P, span / (math.sqrt(n) * r.std())),
        "test_correlation_t": (S, (lambda f: f.slope / f.stderr)(stats.linregress(b, r))),
        "test_correlation_lower": (
            S,
            stats.pearsonr(r, b, alternative="greater").confidence_interval(0.95).low,
        ),
        "test_kendall_benchmark": (S, stats.kendalltau(r, b).statistic),
        "test_elliptical_correlation": (S, math.sin(math.pi / 2 * stats.kendalltau(r, b).statistic)),
        "test_spearman_benchmark": (S, stats.spearmanr(r, b).statistic),
        "test_distance_benchmark": ("dcor", dcor.distance_correlation(r, b)),
        "test_mutual_information_benchmark": (P, mutual(r, b, 8) - 49 / (2 * n)),
        "test_granger_t": (M, OLS(r[1:], lagged).fit().tvalues[1]),
        "test_paired_t": (S, stats.ttest_rel(r, b).statistic),
        "test_paired_signed_rank_z": (S, rank_z(gap)),
        "test_variance_against_benchmark_p": (S, stats.pearsonr(r + b, r - b).pvalue),
    }
    for key, (source, _) in found.items():
        LIBRARIES[f"statistics.{key}"] = source
    return {f"statistics.{key}": number(value) for key, (_, value) in found.items()}


def number(value):
    value = float(value)
    return float(f"{value:.13g}") if math.isfinite(value) else None


def main():
    table = bars()
    returns = [np.concatenate([[np.nan], t["close"][1:] / t["close"][:-1] - 1]) for t in table.values()]
    market = np.mean(returns, axis=0)
    found = {
        name: features(t["close"], t["volume"], r, market)
        for (name, t), r in zip(table.items(), returns)
    }
    across(found, returns)
    series = json.loads((FIXTURES / "risk.json").read_text())
    fixture = {
        "rows": ROWS,
        "bars": {n: {k: v.tolist() for k, v in t.items()} for n, t in table.items()},
        "features": {
            n: {key: [number(values[row]) for row in ROWS] for key, values in t.items()}
            for n, t in found.items()
        },
        "tests": {
            case["name"]: tests(np.array(case["r"]), np.array(case["benchmark"])) for case in series
        },
        "sources": LIBRARIES,
    }
    path = FIXTURES / "statistics.json"
    path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
