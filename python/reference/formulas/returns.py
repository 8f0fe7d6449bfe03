"""References of the returns family, by definition; lines by numpy's polyfit."""

import numpy as np

from volatility import true_range
from windows import (
    across,
    bottom,
    correlation,
    deviation,
    ewm,
    known,
    lag,
    line,
    mean,
    rank,
    residual,
    rolling,
    row_mean,
    row_rank,
    since,
    slope,
    top,
    total,
    zscore,
)

BLOC = {0: [0, 2, 4], 4: [0, 2, 4]}


def ret(b, bars=1):
    return np.log(b.close) - np.log(lag(b.close, bars))


def momentum_table(b, bars):
    return across(b.table["close"], lambda x: np.log(x) - np.log(lag(x, bars)))


def fitted(y):
    """Slope, the line's newest value and the share explained."""
    t = np.arange(len(y)) - (len(y) - 1) / 2
    steep, middle = np.polyfit(t, y, 1)
    rest = y - middle - steep * t
    spread = ((y - y.mean()) ** 2).sum()
    share = 1 - (rest**2).sum() / spread if spread > 0 else np.nan
    return steep, middle + steep * t[-1], share


def skewness(x):
    n, m = len(x), x - x.mean()
    return np.sqrt(n * (n - 1)) / (n - 2) * (m**3).mean() / (m**2).mean() ** 1.5


def run(b):
    """Rises in a row, falls with a minus, counted close by close."""
    out, ups, downs = np.full(len(b.close), np.nan), np.nan, np.nan
    for row in range(len(out)):
        change = b.close[row] - b.close[row - 1] if row else np.nan
        ups = 0.0 if change <= 0 else ups + 1
        downs = 0.0 if change >= 0 else downs + 1
        out[row] = ups - downs
    return out


def wilder(window, x):
    return ewm(x, 1 / window)


def references():
    """Formula id to function of a lane's bars."""
    R = {}

    def put(name, make, sizes):
        for d in sizes:
            R[f"returns.{name}_{d}"] = make(d)

    def closes(statistic):
        return lambda d: lambda b: rolling(d, statistic, b.close)

    def moves(statistic):
        return lambda d: lambda b: rolling(d, statistic, ret(b))

    def simple(statistic):
        return lambda d: lambda b: rolling(d, statistic, b.returns)

    def bars(statistic):
        return lambda d: lambda b: rolling(d, statistic, b.open, b.high, b.low, b.close)

    gap = lambda b: np.log(b.open / lag(b.close))
    body = lambda b: np.log(b.close / b.open)
    put("log", lambda d: lambda b: ret(b, d), [1, 2, 5, 10, 20, 60, 120])
    put("simple", lambda d: lambda b: (b.close - lag(b.close, d)) / lag(b.close, d), [2, 60])
    R["returns.gap"], R["returns.body"] = gap, body
    put("gap_sum", lambda d: lambda b: total(d, gap(b)), [5, 20, 60])
    put("body_sum", lambda d: lambda b: total(d, body(b)), [5, 20, 60])
    ratio = lambda x: x.mean() / x.std(ddof=1)
    put("tug_of_war", lambda d: lambda b: rolling(d, ratio, gap(b)) - rolling(d, ratio, body(b)), [20, 60])
    put("gap_reversal", lambda d: lambda b: correlation(d, gap(b), body(b)), [20, 60])

    # Momentum
    put("tsmom_sign", lambda d: lambda b: np.sign(ret(b, d)), [20, 60, 250])
    put(
        "tsmom_position",
        lambda d: lambda b: np.sign(ret(b, d)) * 0.4 / (np.sqrt(ewm(ret(b) ** 2, 1 / 61)) * np.sqrt(261 * 24)),
        [60, 250],
    )
    put("tsmom_scaled", moves(lambda x: x.sum() / (x.std(ddof=1) * np.sqrt(len(x)))), [20, 60, 120])
    put("sharpe", moves(ratio), [10, 20, 60])
    put("sortino", moves(lambda x: x.mean() / np.sqrt((np.minimum(x, 0) ** 2).mean())), [20, 60])
    for k in (5, 20):
        for d in (120, 240):
            R[f"returns.skip_{k}_{d}"] = lambda b, k=k, d=d: np.log(lag(b.close, k) / lag(b.close, d))
    put("reversal", lambda d: lambda b: -ret(b, d), [1, 5, 20])

    def frog_in_the_pan(c):
        steps = np.sign(np.diff(c))
        return np.sign(c[-1] - c[0]) * ((steps < 0).sum() - (steps > 0).sum()) / len(steps)

    put("frog_in_the_pan", lambda d: closes(frog_in_the_pan)(d + 1), [60, 250])
    put("efficiency", lambda d: closes(lambda c: abs(c[-1] - c[0]) / abs(np.diff(c)).sum())(d + 1), [10, 20, 60])
    put("efficiency_signed", moves(lambda x: x.sum() / abs(x).sum()), [10, 20, 60])
    put("return_over_range", bars(lambda o, h, l, c: np.log(c[-1] / o[0]) / np.log(h.max() / l.min())), [10, 20, 60])
    put(
        "residual_momentum",
        lambda d: lambda b: rolling(d, lambda x: x.sum() / x.std(ddof=1), residual(120, b.returns, b.market)),
        [20, 60],
    )
    put("acceleration", lambda d: lambda b: ret(b, d) - lag(ret(b, d), d), [5, 20, 60])
    put("max", simple(np.max), [20, 60])
    put("min", simple(lambda x: -x.min()), [20, 60])
    put("max_standardised", simple(lambda x: x.max() / x.std(ddof=1)), [20, 60])

    def tails(x):
        low, middle, high = np.quantile(x, [0.05, 0.5, 0.95])
        return (high + low - 2 * middle) / (high - low)

    put("upper_tail", simple(tails), [60, 120])
    put("skewness", simple(skewness), [60, 120])
    put("rank_now", lambda d: lambda b: rank(d, b.returns), [60, 120])
    put("price_rank", lambda d: lambda b: rank(d, b.close), [20, 60, 250])

    # Highs and lows
    put("high_ratio", bars(lambda o, h, l, c: c[-1] / h.max()), [60, 250, 480])
    put("low_ratio", bars(lambda o, h, l, c: np.log(c[-1] / l.min())), [60, 250])
    put("high_recency", bars(lambda o, h, l, c: (1 + np.argmax(h)) / len(h)), [60, 250])
    put("high_minus_low_age", bars(lambda o, h, l, c: (np.argmax(h) - np.argmin(l)) / len(h)), [20, 60])
    put("channel", bars(lambda o, h, l, c: (2 * c[-1] - h.max() - l.min()) / (h.max() - l.min())), [20, 55])
    above = lambda b, d: np.where(np.isnan(lag(top(d, b.high))), np.nan, b.close > lag(top(d, b.high)))
    below = lambda b, d: np.where(np.isnan(lag(bottom(d, b.low))), np.nan, b.close < lag(bottom(d, b.low)))
    put("breakout", lambda d: lambda b: above(b, d) - below(b, d), [20, 55])
    put("breakout_age", lambda d: lambda b: since(above(b, d)), [20, 55])
    put("breakdown_age", lambda d: lambda b: since(below(b, d)), [20, 55])
    put("drawdown", closes(lambda c: np.log(c[-1] / c.max())), [60, 250])
    put("max_drawdown", lambda d: lambda b: bottom(d, np.log(b.close / top(d, b.close))), [60])
    put(
        "ulcer",
        lambda d: lambda b: rolling(d, lambda x: np.sqrt((x**2).mean()), 100 * (b.close - top(d, b.close)) / top(d, b.close)),
        [20, 60],
    )

    def pullback(d):
        def reference(b):
            trend = ret(b, d)
            up, down = np.log(b.close / top(5, b.close)), np.log(b.close / bottom(5, b.close))
            return np.where(np.isnan(trend), np.nan, np.where(trend > 0, up, np.where(trend < 0, down, 0.0)))
        return reference

    put("pullback", pullback, [60, 120])

    # Moving averages and lines
    put("mean_distance", closes(lambda c: np.log(c[-1] / c.mean())), [10, 20, 50, 200])
    put("median_distance", closes(lambda c: np.log(c[-1] / np.median(c))), [20, 60])
    for k in (5, 10):
        for d in (50, 200):
            R[f"returns.crossover_{k}_{d}"] = closes(lambda c, k=k: np.log(c[-k:].mean() / c.mean()))(d)

    def cta(k):
        def reference(b):
            x = ewm(b.close, 1 / k) - ewm(b.close, 1 / (3 * k))
            y = x / deviation(63, b.close)
            z = y / deviation(252, y)
            return z * np.exp(-(z**2) / 4) / 0.89
        return reference

    put("cta", cta, [8, 16, 32])
    put("mean_slope", lambda d: closes(lambda c: np.log(c[5:].mean() / c[:-5].mean()))(d + 5), [20, 50])
    R["returns.ribbon"] = closes(
        lambda c: float(c[-5:].mean() > c[-20:].mean()) + float(c[-20:].mean() > c[-60:].mean())
        + float(c[-60:].mean() > c.mean()) - 1.5
    )(120)
    side = lambda b, d: np.where(np.isnan(mean(d, b.close)), np.nan, b.close > mean(d, b.close))
    put("above_mean_share", lambda d: lambda b: mean(d, side(b, d)), [20, 50])

    def cross_age(d):
        def reference(b):
            sign = np.sign(b.close - mean(d, b.close))
            return since(np.where(np.isnan(sign) | np.isnan(lag(sign)), 0, sign != lag(sign)))
        return reference

    put("cross_age", cross_age, [20, 50])
    put("bollinger", closes(lambda c: (c[-1] - c.mean()) / (2 * c.std(ddof=1))), [20, 50])
    put("bandwidth", lambda d: lambda b: rank(125, deviation(d, b.close) / mean(d, b.close)), [20, 50])
    put(
        "atr_distance",
        lambda d: lambda b: (b.close - ewm(b.close, 2 / (d + 1))) / wilder(14, np.where(np.isnan(lag(b.close)), np.nan, true_range(b))),
        [20, 50],
    )
    put("trend_slope", closes(lambda c: fitted(np.log(c))[0]), [20, 60, 120])

    def trend_t(c):
        steep, n = fitted(np.log(c))[0], len(c)
        t = np.arange(n) - (n - 1) / 2
        y = np.log(c)
        rest = y - y.mean() - steep * t
        return steep / np.sqrt((rest**2).sum() / (n - 2) / (t**2).sum())

    put("trend_t", closes(trend_t), [20, 60, 120])
    put("clenow", closes(lambda c: (np.exp(250 * fitted(np.log(c))[0]) - 1) * fitted(np.log(c))[2]), [60, 90])

    def trend_residual(c):
        y = np.log(c)
        _, end, share = fitted(y)
        return (y[-1] - end) / (y.std(ddof=1) * np.sqrt(1 - share))

    put("trend_residual", closes(trend_residual), [20, 60])
    put("forecast_gap", closes(lambda c: np.log(fitted(c)[1] / c[-1])), [20, 60])
    R["returns.consensus"] = lambda b: sum(np.sign(b.close - lag(b.close, d)) for d in (5, 20, 60, 120)) / 4
    R["returns.horizon_mean"] = lambda b: sum(ret(b, d) / np.sqrt(d) for d in (5, 20, 80)) / 3 / deviation(80, ret(b))
    R["returns.momentum_state"] = lambda b: (np.sign(ret(b, 20)) + np.sign(ret(b, 240))) / 2

    def smoothness(b):
        s = b.close - lag(b.close)
        twice = lambda x: ewm(ewm(x, 2 / 26), 2 / 14)
        return twice(s) / twice(abs(s)) - mean(60, s) / mean(60, abs(s))

    R["returns.smoothness_60"] = smoothness

    # Order of moves
    R["returns.run"] = run
    put("up_share", lambda d: closes(lambda c: (np.diff(c) > 0).mean())(d + 1), [20, 60])
    put("gain_loss", moves(lambda x: np.log(x[x > 0].sum() / -x[x < 0].sum())), [20, 60])
    put("payoff", moves(lambda x: np.log(x[x > 0].mean() / -x[x < 0].mean())), [20, 60])
    for k in (1, 2, 5):
        for d in (60, 120):
            R[f"returns.autocorrelation_{k}_{d}"] = lambda b, k=k, d=d: correlation(d, b.returns, lag(b.returns, k))
    reversion = lambda b, d: slope(d, ret(b), lag(np.log(b.close)))
    put("reversion_speed", lambda d: lambda b: -reversion(b, d), [60, 120])
    put("half_life", lambda d: lambda b: known(-np.log(2) / np.log(1 + reversion(b, d))), [60, 120])
    put("same_time", lambda d: lambda b: sum(lag(ret(b), k * d) for k in range(1, 6)) / 5, [24, 96])

    # Volume
    put("volume_weighted", lambda d: lambda b: rolling(d, lambda x, v: (x * v).sum() / v.sum(), b.returns, b.volume), [20, 60])
    log_volume = lambda b: known(np.log(b.volume))
    put("volume_confirmation", lambda d: lambda b: correlation(d, b.returns, log_volume(b) - lag(log_volume(b))), [20, 60])
    put("volume_divergence", lambda d: lambda b: zscore(d, b.close) - zscore(d, b.volume), [20, 60])

    def balance(b):
        flow = b.volume * np.sign(b.close - lag(b.close))
        return np.where(np.isnan(flow), np.nan, np.nancumsum(flow))

    put(
        "balance_slope",
        lambda d: lambda b: rolling(d, lambda x: np.polyfit(np.arange(len(x)), x, 1)[0], balance(b)) / mean(d, b.volume),
        [20, 60],
    )

    # Shapes of bars
    span = lambda b: b.high - b.low
    R["returns.body_share"] = lambda b: known((b.close - b.open) / span(b))
    R["returns.upper_shadow"] = lambda b: known((b.high - np.maximum(b.open, b.close)) / span(b))
    R["returns.lower_shadow"] = lambda b: known((np.minimum(b.open, b.close) - b.low) / span(b))
    put(
        "shadow_balance",
        bars(lambda o, h, l, c: (np.minimum(o, c) - l - h + np.maximum(o, c)).sum() / (h - l).sum()),
        [5, 20],
    )
    put("body_mean", bars(lambda o, h, l, c: abs(c - o).sum() / (h - l).sum()), [5, 20])
    R["returns.body_growth"] = lambda b: known((b.close - b.open) / abs(lag(b.close - b.open)))
    pair = lambda statistic: bars(statistic)(2)
    R["returns.inside_bar"] = pair(lambda o, h, l, c: float(h[1] <= h[0] and l[1] >= l[0]))
    R["returns.outside_bar"] = pair(lambda o, h, l, c: float(h[1] > h[0] and l[1] < l[0]) * np.sign(c[1] - o[1]))
    put(
        "stairs",
        lambda d: bars(lambda o, h, l, c: (np.sign(np.diff(h)) + np.sign(np.diff(l))).mean() / 2)(d + 1),
        [10, 20],
    )
    place = lambda b: known(((b.close - b.low) - (b.high - b.close)) / span(b))
    put("close_in_bar", lambda d: lambda b: mean(d, place(b)), [5, 20])

    # Across instruments
    put("momentum_rank", lambda d: lambda b: row_rank(momentum_table(b, d), b.lane), [20, 60, 120])
    R["returns.skip_rank"] = lambda b: row_rank(across(b.table["close"], lambda x: lag(np.log(x), 20) - lag(np.log(x), 240)), b.lane)
    put("reversal_rank", lambda d: lambda b: 1 - row_rank(momentum_table(b, d), b.lane), [1, 5])

    def contrarian(d):
        def reference(b):
            table = momentum_table(b, d)
            excess = table - row_mean(table)[:, None]
            return known(-excess[:, b.lane] / np.nansum(abs(excess), axis=1))
        return reference

    put("contrarian_weight", contrarian, [1, 5])
    put("relative_strength", lambda d: lambda b: total(d, b.returns - b.market), [20, 60])

    def scores(table, lane):
        seen = np.where(np.isnan(table).all(axis=1)[:, None], 0.0, table)
        return known((table[:, lane] - row_mean(table)) / np.nanstd(seen, axis=1, ddof=1))

    put("momentum_z", lambda d: lambda b: scores(momentum_table(b, d), b.lane), [20, 60])
    put(
        "sharpe_rank",
        lambda d: lambda b: row_rank(across(b.table["returns"], lambda x: rolling(d, ratio, x)), b.lane),
        [20, 60],
    )
    R["returns.rank_change"] = lambda b: row_rank(momentum_table(b, 20), b.lane) - row_rank(momentum_table(b, 120), b.lane)
    put("dispersion_scaled", lambda d: lambda b: mean(d, scores(b.table["returns"], b.lane)), [5, 20])
    put("beta", lambda d: lambda b: slope(d, b.returns, b.market), [60, 120])
    put(
        "alpha",
        lambda d: lambda b: rolling(d, lambda y, x: line(x / x.std(), y)[1], b.returns, b.market),
        [60, 120],
    )

    def coskewness(d):
        def reference(b):
            rest, shock = residual(d, b.returns, b.market), b.market - mean(d, b.market)
            return rolling(
                d, lambda e, m: (e * m**2).mean() / (np.sqrt((e**2).mean()) * (m**2).mean()), rest, shock
            )
        return reference

    put("coskewness", coskewness, [60, 120])
    R["returns.downside_beta_120"] = lambda b: rolling(
        120, lambda y, x: (y[x < 0] * x[x < 0]).sum() / (x[x < 0] ** 2).sum(), b.returns, b.market
    )
    put("group_momentum", lambda d: lambda b: row_mean(momentum_table(b, d)[:, BLOC[b.lane]]), [20, 60])
    return R
