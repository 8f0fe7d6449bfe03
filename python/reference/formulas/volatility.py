"""References of the volatility family, each from its paper's definition of one
window. No library has most of them; pandas gives the bias-corrected moments."""

import numpy as np
from scipy.special import gamma

from windows import (
    correlation,
    deviation,
    ewm,
    known,
    lag,
    mean,
    rank,
    rolling,
    row_mean,
    row_rank,
    seasonal,
    total,
    zscore,
)

PI = np.pi


def mu(power):
    """The absolute moment of a standard normal value."""
    return 2 ** (power / 2) * gamma((power + 1) / 2) / gamma(0.5)


def log_returns(b):
    return known(np.log(b.close / lag(b.close)))


def true_range(b):
    last = lag(b.close)
    return np.maximum(b.high - b.low, np.maximum(abs(b.high - last), abs(b.low - last)))


def windowed(statistic, *columns):
    """A reference over columns of the bars."""
    def make(window):
        return lambda b: rolling(window, statistic, *[column(b) for column in columns])
    return make


def prices(statistic):
    """A statistic of a window of opens, highs, lows and closes."""
    return windowed(statistic, *[lambda b, n=n: getattr(b, n) for n in ("open", "high", "low", "close")])


def parkinson(o, h, l, c):
    return np.sqrt((np.log(h / l) ** 2).sum() / (4 * len(h) * np.log(2)))


def garman_klass(o, h, l, c):
    return np.sqrt((0.5 * np.log(h / l) ** 2 - (2 * np.log(2) - 1) * np.log(c / o) ** 2).mean())


def garman_klass_full(o, h, l, c):
    u, d, e = np.log(h) - np.log(o), np.log(l) - np.log(o), np.log(c) - np.log(o)
    return np.sqrt((0.511 * (u - d) ** 2 - 0.019 * (e * (u + d) - 2 * u * d) - 0.383 * e**2).mean())


def rogers_satchell(o, h, l, c):
    u, d, e = np.log(h / o), np.log(l / o), np.log(c / o)
    return np.sqrt((u * (u - e) + d * (d - e)).mean())


def meilijson(o, h, l, c):
    u, d, e = np.log(h / o), np.log(l / o), np.log(c / o)
    falls = e < 0
    u, d, e = np.where(falls, -d, u), np.where(falls, -u, d), abs(e)
    one = 2 * ((u - e) ** 2 + d**2)
    two = e**2
    three = 2 * (u - e - d) * e
    four = -(u - e) * d / (2 * np.log(2) - 5 / 4)
    return np.sqrt((0.273520 * one + 0.160358 * two + 0.365212 * three + 0.200910 * four).mean())


def yang_zhang(n):
    def one(o, h, l, c, last):
        jump, body = np.log(o / last), np.log(c / o)
        inner = rogers_satchell(o, h, l, c) ** 2
        k = 0.34 / (1.34 + (n + 1) / (n - 1))
        return np.sqrt(jump.var(ddof=1) + k * body.var(ddof=1) + (1 - k) * inner)
    return lambda b: rolling(n, one, b.open, b.high, b.low, b.close, lag(b.close))


def gkyz(o, h, l, c, last):
    return np.sqrt(
        (np.log(o / last) ** 2 + 0.5 * np.log(h / l) ** 2 - (2 * np.log(2) - 1) * np.log(c / o) ** 2).mean()
    )


def bipower(r):
    return mu(1) ** -2 * (abs(r[1:]) * abs(r[:-1])).sum()


def tripower_quarticity(r):
    n, a = len(r), abs(r) ** (4 / 3)
    return n * mu(4 / 3) ** -3 * n / (n - 2) * (a[2:] * a[1:-1] * a[:-2]).sum()


def jump_statistic(r):
    n, rv, bv = len(r), (r**2).sum(), bipower(r) * len(r) / (len(r) - 1)
    spread = ((PI / 2) ** 2 + PI - 5) / n * max(1, tripower_quarticity(r) / bv**2)
    return ((rv - bv) / rv) / np.sqrt(spread)


def triples(r):
    return np.sort(np.column_stack([abs(r[2:]), abs(r[1:-1]), abs(r[:-2])]), axis=1)


def median_rv(r):
    n = len(r)
    return PI / (6 - 4 * np.sqrt(3) + PI) * n / (n - 2) * (triples(r)[:, 1] ** 2).sum()


def median_rq(r):
    n = len(r)
    return 3 * PI * n / (9 * PI + 72 - 52 * np.sqrt(3)) * n / (n - 2) * (triples(r)[:, 1] ** 4).sum()


def minimum_rv(r):
    n = len(r)
    return PI / (PI - 2) * n / (n - 1) * (np.minimum(abs(r[1:]), abs(r[:-1])) ** 2).sum()


def tripower_variation(r):
    n, a = len(r), abs(r) ** (2 / 3)
    return mu(2 / 3) ** -3 * n / (n - 2) * (a[2:] * a[1:-1] * a[:-2]).sum()


def two_scale(n):
    def one(p):
        p, k = np.log(p), 5
        coarse = ((p[k:] - p[:-k]) ** 2).sum() / k
        fine = ((p[1:] - p[:-1]) ** 2).sum()
        share = (n - k + 1) / k / n
        return (coarse - share * fine) / (1 - share)
    return lambda b: rolling(n + 1, one, b.close)


def parzen(x):
    return 1 - 6 * x**2 + 6 * x**3 if x <= 0.5 else 2 * (1 - x) ** 3


def realized_kernel(n):
    def reference(b):
        r = log_returns(b)
        gammas = [rolling(n, lambda x, y: (x * y).sum(), r, lag(r, h) if h else r) for h in range(6)]
        return gammas[0] + 2 * sum(parzen(h / 6) * gammas[h] for h in range(1, 6))
    return reference


def riskmetrics_2006(b):
    """Zumbach's mixture; the weights are checked against arch by the generator."""
    square = log_returns(b) ** 2
    taus = 4 * np.sqrt(2) ** np.arange(14)
    weights = 1 - np.log(taus) / np.log(1560)
    weights /= weights.sum()
    return np.sqrt(sum(w * ewm(square, 1 - np.exp(-1 / t)) for w, t in zip(weights, taus)))


def garch(n, gjr):
    """The recursion, bar by bar, from the long-run variance the window implies."""
    def reference(b):
        r = log_returns(b)
        square = r**2
        long = mean(n, square)
        weight = np.where(r < 0, 0.08, 0.02) if gjr else 0.05
        shock, state = np.full(len(r), np.nan), None
        for row in range(len(r)):
            if np.isnan(square[row]):
                state = None
                continue
            news = (weight[row] if gjr else weight) * square[row]
            # Before the first return the past is taken to have been like it.
            state = news / 0.1 if state is None else 0.9 * state + news
            shock[row] = state
        # omega = (1 - 0.05 - 0.9) * long run; its geometric sum is omega / (1 - beta).
        return np.sqrt(0.05 * long / (1 - 0.9) + shock)
    return reference


def truncated(n):
    def reference(b):
        r = log_returns(b)
        limit = lag(np.sqrt(PI / 2 * mean(n, abs(r) * abs(lag(r)))))
        kept = np.where(np.isnan(limit), np.nan, np.where(abs(r) <= 3 * limit, r**2, 0.0))
        return total(n, kept)
    return reference


def robust_deviation(n):
    def reference(b):
        r = log_returns(b)
        return 1.482602218505602 * rolling(n, np.median, abs(r - rolling(n, np.median, r)))
    return reference


def seasonal_size(n):
    def reference(b):
        size = abs(log_returns(b))
        out = np.full(len(size), np.nan)
        for row in range(len(size)):
            same = [
                size[k] for k in range(row + 1)
                if b.minute_of_day[k] == b.minute_of_day[row] and not np.isnan(size[k])
            ]
            if len(same) >= n and not np.isnan(size[row]):
                out[row] = size[row] / np.mean(same[-n:-1])
        return known(out)
    return reference


def references():
    """Formula id to function of a lane's bars."""
    R = {}
    r = log_returns

    def returns(name, statistic, sizes):
        for d in sizes:
            R[f"volatility.{name}_{d}"] = windowed(statistic, r)(d)

    def bars(name, statistic, sizes):
        for d in sizes:
            R[f"volatility.{name}_{d}"] = prices(statistic)(d)

    returns("close", lambda x: np.std(x, ddof=1), [10, 20, 60, 120])
    returns("close_daily", lambda x: np.std(x, ddof=1) * np.sqrt(24), [20, 96])
    returns("zero_mean", lambda x: np.sqrt((x**2).mean()), [10, 20, 60])
    returns("mean_absolute", lambda x: np.sqrt(PI / 2) * abs(x).mean(), [10, 20, 60])
    returns("interquartile", lambda x: np.subtract(*np.quantile(x, [0.75, 0.25])) / 1.3489795003921634, [20, 60, 120])
    for d in (20, 60):
        R[f"volatility.median_absolute_{d}"] = robust_deviation(d)
        R[f"volatility.standardised_return_{d}"] = lambda b, d=d: known(r(b) / lag(deviation(d, r(b))))
    for k in (94, 97, 99):
        R[f"volatility.ewma_{k}"] = lambda b, k=k: np.sqrt(ewm(r(b) ** 2, 1 - k / 100))
    R["volatility.ewma_ratio"] = lambda b: known(np.log(np.sqrt(ewm(r(b) ** 2, 0.06) / ewm(r(b) ** 2, 0.01))))
    R["volatility.riskmetrics_2006"] = riskmetrics_2006
    for d in (250, 500):
        R[f"volatility.garch_fixed_{d}"] = garch(d, False)
    R["volatility.gjr_fixed_250"] = garch(250, True)

    bars("parkinson", parkinson, [5, 10, 20, 60])
    bars("garman_klass", garman_klass, [5, 10, 20, 60])
    bars("garman_klass_full", garman_klass_full, [10, 20, 60])
    bars("rogers_satchell", rogers_satchell, [5, 10, 20, 60])
    bars("meilijson", meilijson, [10, 20, 60])
    for d in (10, 20, 60):
        R[f"volatility.yang_zhang_{d}"] = yang_zhang(d)
        R[f"volatility.garman_klass_yang_zhang_{d}"] = lambda b, d=d: rolling(d, gkyz, b.open, b.high, b.low, b.close, lag(b.close))
    bars("log_range", lambda o, h, l, c: np.exp(np.log(np.log(h / l)).mean() - 0.43) if (h > l).all() else np.nan, [10, 20, 60])
    R["volatility.range_ewma"] = lambda b: np.sqrt(ewm(np.log(b.high / b.low) ** 2 / (4 * np.log(2)), 0.06))
    bars("realized_range", lambda o, h, l, c: (np.log(h / l) ** 2).sum() / (4 * np.log(2)), [20, 96])
    for d in (5, 14, 50):
        R[f"volatility.atr_simple_{d}"] = lambda b, d=d: mean(d, true_range(b)) / b.close
    R["volatility.true_range_log"] = lambda b: np.log(np.maximum(b.high, lag(b.close)) / np.minimum(b.low, lag(b.close)))
    for d in (50, 100):
        R[f"volatility.true_range_rank_{d}"] = lambda b, d=d: rank(d, true_range(b))
        R[f"volatility.atr_ratio_{d}"] = lambda b, d=d: mean(7, true_range(b)) / mean(d, true_range(b))
    for d in (14, 50):
        R[f"volatility.true_range_surprise_{d}"] = lambda b, d=d: known(true_range(b) / lag(mean(d, true_range(b))))
    bars("narrow_range", lambda o, h, l, c: float((h - l)[-1] == (h - l).min()), [4])
    bars("range_deviation", lambda o, h, l, c: np.std(np.log(h / l), ddof=1) / np.log(h / l).mean(), [20, 60])
    bars("range_close_ratio", lambda o, h, l, c: parkinson(o, h, l, c) ** 2 / (np.log(c / o) ** 2).mean(), [20, 60])
    bars("drift_share", lambda o, h, l, c: 1 - rogers_satchell(o, h, l, c) ** 2 / parkinson(o, h, l, c) ** 2, [20, 60])

    returns("realized_variance", lambda x: (x**2).sum(), [12, 24, 96, 480])
    returns("realized_volatility", lambda x: np.sqrt((x**2).sum()), [12, 24, 96, 480])
    returns("log_realized_variance", lambda x: np.log((x**2).sum()), [24, 96])
    returns("bipower", bipower, [24, 96])
    returns("jump", lambda x: max((x**2).sum() - bipower(x), 0), [24, 96])
    returns("relative_jump", lambda x: ((x**2).sum() - bipower(x)) / (x**2).sum(), [24, 96])
    returns("jump_statistic", jump_statistic, [48, 96])
    returns("quarticity", lambda x: len(x) / 3 * (x**4).sum(), [24, 96])
    returns("tripower_quarticity", tripower_quarticity, [24, 96])
    returns("tripower_variation", tripower_variation, [24, 96])
    returns("min_rv", minimum_rv, [24, 96])
    returns("med_rv", median_rv, [24, 96])
    returns("med_rq", median_rq, [24, 96])
    for d in (48, 96):
        R[f"volatility.truncated_variance_{d}"] = truncated(d)
    returns("semivariance_down", lambda x: (x[x < 0] ** 2).sum(), [24, 96])
    returns("semivariance_up", lambda x: (x[x > 0] ** 2).sum(), [24, 96])
    returns("signed_jump", lambda x: (x[x > 0] ** 2).sum() - (x[x < 0] ** 2).sum(), [24, 96])
    returns("relative_signed_jump", lambda x: ((x[x > 0] ** 2).sum() - (x[x < 0] ** 2).sum()) / (x**2).sum(), [24, 96])
    returns("good_bad", lambda x: np.log(np.sqrt((x[x > 0] ** 2).sum()) / np.sqrt((x[x < 0] ** 2).sum())), [24, 96])
    returns("realized_skewness", lambda x: np.sqrt(len(x)) * (x**3).sum() / (x**2).sum() ** 1.5, [48, 96])
    returns("realized_kurtosis", lambda x: len(x) * (x**4).sum() / (x**2).sum() ** 2, [48, 96])
    returns("zhou", lambda x: (x**2).sum() + 2 * len(x) / (len(x) - 1) * (x[1:] * x[:-1]).sum(), [96, 192])
    for d in (96, 192):
        R[f"volatility.two_scale_{d}"] = two_scale(d)
        R[f"volatility.realized_kernel_{d}"] = realized_kernel(d)
        R[f"volatility.noise_ratio_{d}"] = lambda b, d=d: known(-mean(d, r(b) * lag(r(b))) / mean(d, r(b) ** 2))

    simple = lambda b: b.close / lag(b.close) - 1
    for d in (24, 96):
        day = lambda b, d=d: np.sqrt(total(d, r(b) ** 2))
        R[f"volatility.har_day_{d}"] = lambda b, d=d: np.sqrt(total(d, simple(b) ** 2))
        R[f"volatility.har_week_{d}"] = lambda b, d=d, day=day: mean(5 * d, day(b))
        R[f"volatility.har_day_week_{d}"] = lambda b, d=d: np.log(5 * total(d, r(b) ** 2) / total(5 * d, r(b) ** 2))
    R["volatility.har_month_24"] = lambda b: mean(21 * 24, mean(24, np.sqrt(total(24, r(b) ** 2))))
    for k in (5, 10):
        for d in (60, 120):
            R[f"volatility.ratio_{k}_{d}"] = lambda b, k=k, d=d: deviation(k, r(b)) / deviation(d, r(b))
    for d in (60, 240):
        R[f"volatility.term_slope_{d}"] = lambda b, d=d: np.log(
            mean(d, np.log(b.close / lag(b.close, d // 10)) ** 2) / (d / 10 * mean(d, r(b) ** 2))
        )
    R["volatility.curvature"] = lambda b: known(
        np.log(deviation(5, r(b))) - 2 * np.log(deviation(20, r(b))) + np.log(deviation(80, r(b)))
    )
    for d in (10, 20):
        R[f"volatility.change_{d}"] = lambda b, d=d: known(np.log(deviation(d, r(b)) / lag(deviation(d, r(b)), d)))
    for d in (20, 60):
        R[f"volatility.vol_of_vol_{d}"] = lambda b, d=d: rolling(
            d, lambda x: x.std(ddof=1) / x.mean(), deviation(20, r(b))
        )
        R[f"volatility.vol_of_range_change_{d}"] = lambda b, d=d: deviation(
            d, known(np.log(b.high - b.low) - lag(np.log(b.high - b.low)))
        )
        R[f"volatility.downside_{d}"] = lambda b, d=d: rolling(d, lambda x: np.sqrt((np.minimum(x, 0) ** 2).mean()), r(b))
        R[f"volatility.upside_{d}"] = lambda b, d=d: rolling(d, lambda x: np.sqrt((np.maximum(x, 0) ** 2).mean()), r(b))
        R[f"volatility.downside_share_{d}"] = lambda b, d=d: rolling(d, lambda x: (x[x < 0] ** 2).sum() / (x**2).sum(), r(b))
        R[f"volatility.gap_share_{d}"] = lambda b, d=d: rolling(
            d,
            lambda o, c, last: (np.log(o / last) ** 2).sum() / ((np.log(o / last) ** 2).sum() + (np.log(c / o) ** 2).sum()),
            b.open, b.close, lag(b.close),
        )
        R[f"volatility.idiosyncratic_{d}"] = lambda b, d=d: rolling(
            d,
            lambda y, x: np.std(y - np.polyval(np.polyfit(x / x.std(), y, 1), x / x.std()), ddof=0) * np.sqrt(d / (d - 1)),
            b.returns, b.market,
        )
        R[f"volatility.market_share_{d}"] = lambda b, d=d: correlation(d, b.returns, b.market) ** 2
        R[f"volatility.relative_{d}"] = lambda b, d=d: np.log(
            deviation(d, b.returns)
            / row_mean(np.column_stack([deviation(d, b.table["returns"][:, k]) for k in range(b.table["returns"].shape[1])]))
        )
        R[f"volatility.cross_rank_{d}"] = lambda b, d=d: row_rank(
            np.column_stack([deviation(d, b.table["returns"][:, k]) for k in range(b.table["returns"].shape[1])]), b.lane
        )
        R[f"volatility.volume_correlation_{d}"] = lambda b, d=d: correlation(d, abs(b.returns), b.volume)
    for d in (100, 250):
        R[f"volatility.rank_{d}"] = lambda b, d=d: rank(d, deviation(20, r(b)))
        R[f"volatility.zscore_{d}"] = lambda b, d=d: zscore(d, known(np.log(deviation(20, r(b)))))
    for d in (60, 120):
        R[f"volatility.leverage_{d}"] = lambda b, d=d: correlation(d, lag(r(b)), r(b) ** 2)
        R[f"volatility.leverage_contemporaneous_{d}"] = lambda b, d=d: correlation(
            d, r(b), known(np.log(deviation(10, r(b))) - lag(np.log(deviation(10, r(b)))))
        )
        for k in (1, 5):
            R[f"volatility.clustering_{k}_{d}"] = lambda b, d=d, k=k: correlation(d, r(b) ** 2, lag(r(b) ** 2, k))
    for k in (1, 5):
        R[f"volatility.taylor_effect_{k}_120"] = lambda b, k=k: correlation(120, abs(r(b)), lag(abs(r(b)), k))
    for d in (10, 20):
        R[f"volatility.seasonal_{d}"] = seasonal_size(d)
    for d in (24, 96):
        R[f"volatility.deseasonalised_{d}"] = lambda b, d=d: np.sqrt(
            mean(d, known(r(b) / seasonal(abs(r(b)), b.minute_of_day, 20)) ** 2)
        )
        R[f"volatility.peak_share_{d}"] = lambda b, d=d: rolling(d, lambda x: (x**2).max() / (x**2).sum(), r(b))
        R[f"volatility.peak_age_{d}"] = lambda b, d=d: rolling(d, lambda x: len(x) - 1 - np.argmax(abs(x)), r(b))
    for d in (1, 20):
        R[f"volatility.cross_dispersion_{d}"] = lambda b, d=d: mean(
            d, np.where(np.isnan(b.returns), np.nan, np.nanstd(np.where(np.isnan(b.table["returns"]).all(axis=1)[:, None], 0, b.table["returns"]), axis=1, ddof=1))
        )
    return R
