"""References of the microstructure family: EDGE by its authors' package, the
normal law by scipy, regressions by least squares, the rest by definition."""

import numpy as np
from bidask import edge
from scipy.stats import norm

from windows import (
    correlation,
    covariance,
    deviation,
    known,
    lag,
    mean,
    rolling,
    seasonal,
    slope,
    total,
    when,
    zscore,
)


def fold(statistic, *names):
    """A statistic of windows of columns."""
    return lambda d: lambda b: rolling(d, statistic, *[getattr(b, name) for name in names])


def step(b):
    return b.close - lag(b.close)


def log_step(b):
    return np.log(b.close) - np.log(lag(b.close))


def mid(b):
    return (b.bid + b.ask) / 2


def bulk_share(b, d):
    change = step(b)
    return norm.cdf(known(change / deviation(d, change)))


def tick_sign(b):
    """Sign of the last change that was not zero; 0 before any."""
    sign = np.sign(step(b))
    return np.nan_to_num(when(np.where(np.nan_to_num(sign) != 0, 1, 0), sign))


def volume_clock(buy, sell, bars, buckets):
    """VPIN by pouring each bar's volume, evenly mixed, into equal buckets."""
    out = np.full(len(buy), np.nan)
    volumes, full = [], []
    left, flow, size = 0.0, 0.0, 0.0
    for row in range(len(buy)):
        if np.isnan(buy[row]) or np.isnan(sell[row]):
            volumes, full, left, flow = [], [], 0.0, 0.0
            continue
        volumes.append(buy[row] + sell[row])
        if len(volumes) < bars:
            continue
        rest = volumes[-1]
        tilt = (buy[row] - sell[row]) / rest if rest > 0 else 0.0
        while rest > 1e-12:
            if left <= 1e-12:
                size = left = np.mean(volumes[-bars:])
                flow = 0.0
            part = min(rest, left)
            flow, left, rest = flow + tilt * part, left - part, rest - part
            if left <= 1e-12:
                full.append((abs(flow), size))
        if len(full) >= buckets:
            last = np.array(full[-buckets:])
            out[row] = last[:, 0].sum() / last[:, 1].sum()
    return out


def partial_slope(d, y, one, two):
    """Coefficient of `two` in a regression of y on one and two with intercept."""
    def solve(y, one, two):
        scales = one.std(), two.std()
        if min(scales) == 0:
            return np.nan
        design = np.column_stack([np.ones(len(y)), one / scales[0], two / scales[1]])
        return np.linalg.lstsq(design, y, rcond=None)[0][2] / scales[1]
    return rolling(d, solve, y, one, two)


def explained(y, *regressors):
    design = np.column_stack([np.ones(len(y))] + [x / x.std() for x in regressors])
    rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return 1 - (rest**2).sum() / ((y - y.mean()) ** 2).sum()


def corwin_schultz_pairs(h, l):
    """Spread and sigma of each two neighbouring bars."""
    beta = np.log(h[1:] / l[1:]) ** 2 + np.log(h[:-1] / l[:-1]) ** 2
    gamma = np.log(np.maximum(h[1:], h[:-1]) / np.minimum(l[1:], l[:-1])) ** 2
    below = 3 - 2 * np.sqrt(2)
    alpha = (np.sqrt(2 * beta) - np.sqrt(beta)) / below - np.sqrt(gamma / below)
    k2 = np.sqrt(8 / np.pi)
    sigma = (2**-0.5 * np.sqrt(beta) - np.sqrt(beta)) / (k2 * below) + np.sqrt(gamma / (k2**2 * below))
    return 2 * (np.exp(alpha) - 1) / (1 + np.exp(alpha)), sigma


def corwin_schultz(h, l):
    return np.maximum(corwin_schultz_pairs(h, l)[0], 0).mean()


def corwin_schultz_gaps(h, l, c):
    estimates = []
    for now in range(1, len(h)):
        high, low, last = h[now], l[now], c[now - 1]
        move = low - last if last < low else high - last if last > high else 0.0
        spread, _ = corwin_schultz_pairs(
            np.array([h[now - 1], high - move]), np.array([l[now - 1], low - move])
        )
        estimates.append(max(spread[0], 0.0))
    return np.mean(estimates)


def abdi_ranaldo(h, l, c, by_pairs):
    middle = (np.log(h) + np.log(l)) / 2
    close = np.log(c)
    square = 4 * (close[:-1] - middle[:-1]) * (close[:-1] - middle[1:])
    if by_pairs:
        return np.sqrt(np.maximum(square, 0)).mean()
    return np.sqrt(max(square.mean(), 0))


def roll_moment(c):
    moves = np.diff(np.log(c))
    return np.cov(moves[1:], moves[:-1])[0, 1]


def effective_tick(d):
    # The catalogue takes each bar's digits on the grid of its own window.
    def reference(b):
        means = mean(d, b.close)
        tick = 10 ** (np.floor(np.log10(means)) - 4)
        digits = np.where(np.isnan(tick), np.nan, np.round(b.close / tick) % 10)
        def share(digits, c):
            tens, fives = (digits == 0).mean(), (digits == 5).mean()
            ones = 1 - tens - fives
            fine = min(max(1.25 * ones, 0), 1)
            middle = min(max(2 * fives - 0.25 * ones, 0), 1 - fine)
            grid = 10 ** (np.floor(np.log10(c.mean())) - 4)
            return (fine + 5 * middle + 10 * (1 - fine - middle)) * grid / c.mean()
        return rolling(d, share, digits, b.close)
    return reference


def references():
    """Formula id to function of a lane's bars."""
    R = {}

    def put(name, make, sizes):
        for d in sizes:
            R[f"microstructure.{name}_{d}"] = make(d)

    # Order flow from trades
    put("trade_imbalance", fold(lambda b, s: (b - s).sum() / (b + s).sum(), "buy_volume", "sell_volume"), [1, 10, 50])
    put("trade_imbalance_z", lambda d: lambda b: zscore(d, b.buy_volume - b.sell_volume), [20, 60])
    put("buy_ratio", fold(lambda b, s: b.sum() / s.sum(), "buy_volume", "sell_volume"), [20])
    for k in (1, 5):
        R[f"microstructure.flow_persistence_{k}_100"] = lambda b, k=k: correlation(
            100, np.sign(b.signed_volume), lag(np.sign(b.signed_volume), k)
        )
    put("cumulative_delta", lambda d: lambda b: correlation(d, b.close, np.cumsum(b.signed_volume)), [20, 100])
    put(
        "absorption",
        lambda d: lambda b: np.log(total(d, abs(b.signed_volume)) / mean(d, b.volume))
        - np.log(total(d, abs(step(b))) / mean(d, b.high - b.low)),
        [20, 60],
    )
    put("vpin_bars", fold(lambda b, s: abs(b - s).sum() / (b + s).sum(), "buy_volume", "sell_volume"), [20, 50])
    for k in (50, 200):
        for d in (20, 50):
            R[f"microstructure.vpin_{k}_{d}"] = lambda b, k=k, d=d: volume_clock(b.buy_volume, b.sell_volume, k, d)

    # Quotes
    put("ofi", fold(lambda f, x, y: f.sum() / ((x + y) / 2).mean(), "ofi", "bid_size", "ask_size"), [1, 10, 50])

    def events(b):
        out = np.full(len(b.bid), np.nan)
        for n in range(1, len(out)):
            e = b.bid_size[n] if b.bid[n] >= b.bid[n - 1] else 0.0
            e -= b.bid_size[n - 1] if b.bid[n] <= b.bid[n - 1] else 0.0
            e -= b.ask_size[n] if b.ask[n] <= b.ask[n - 1] else 0.0
            e += b.ask_size[n - 1] if b.ask[n] >= b.ask[n - 1] else 0.0
            out[n] = e
        return out

    put("ofi_closing_quotes", lambda d: lambda b: total(d, events(b)), [1, 20])
    put("ofi_impact", lambda d: lambda b: slope(d, mid(b) - lag(mid(b)), b.ofi), [50, 100])
    put("ofi_fit", lambda d: lambda b: rolling(d, lambda y, x: explained(y, x), mid(b) - lag(mid(b)), b.ofi), [50, 100])
    queue = lambda b: (b.bid_size - b.ask_size) / (b.bid_size + b.ask_size)
    R["microstructure.queue_imbalance"] = queue
    put("queue_imbalance_mean", lambda d: lambda b: mean(d, queue(b)), [10, 50])
    R["microstructure.micro_premium"] = lambda b: (b.microprice - mid(b)) / (b.ask - b.bid)
    lean = lambda b: (b.ask - b.bid) * (b.bid_size / (b.bid_size + b.ask_size) - 0.5)
    put("micro_adjusted", lambda d: lambda b: slope(d, mid(b) - lag(mid(b)), lag(lean(b))) * lean(b), [100, 200])
    put("micro_momentum", lambda d: lambda b: (b.microprice - lag(b.microprice, d)) / mean(d, b.spread), [1, 5])
    R["microstructure.spread_relative"] = lambda b: b.spread / mid(b)
    put("spread_closing", lambda d: lambda b: mean(d, (b.ask - b.bid) / mid(b)), [20, 60])
    put("spread_z", lambda d: lambda b: zscore(d, np.log(b.spread)), [50, 200])
    put("spread_seasonal", lambda d: lambda b: b.spread / seasonal(b.spread, b.minute_of_day, d), [5, 20])
    put("spread_volatility", fold(lambda s: s.std(ddof=1) / s.mean(), "spread"), [20, 60])
    put(
        "spread_per_trade_volatility",
        lambda d: lambda b: mean(d, b.spread) / (deviation(d, mid(b) - lag(mid(b))) / np.sqrt(mean(d, b.trades))),
        [50, 100],
    )
    R["microstructure.quote_slope"] = lambda b: known((b.ask - b.bid) / (np.log(b.ask_size) + np.log(b.bid_size)))
    R["microstructure.log_quote_slope"] = lambda b: known(np.log(b.ask / b.bid) / np.log(b.ask_size * b.bid_size))
    put("depth_ratio", fold(lambda x, y: np.log((x + y)[-1] / (x + y).mean()), "bid_size", "ask_size"), [50, 200])
    put("effective_spread", lambda d: lambda b: mean(d, 2 * abs(b.close - mid(b)) / mid(b)), [1, 20])
    for k in (1, 5):
        def realised(b, k=k):
            side = np.sign(lag(b.close, k) - lag(mid(b), k))
            return 2 * side * (lag(b.close, k) - mid(b)) / lag(mid(b), k)
        def impact(b, k=k):
            side = np.sign(lag(b.close, k) - lag(mid(b), k))
            return 2 * side * (mid(b) - lag(mid(b), k)) / lag(mid(b), k)
        R[f"microstructure.realized_spread_{k}"] = realised
        R[f"microstructure.price_impact_{k}"] = impact

    def lee_ready(b):
        middle, ticks = mid(b), tick_sign(b)
        return np.where(b.close > middle, 1.0, np.where(b.close < middle, -1.0, ticks))

    put("lee_ready", lambda d: lambda b: mean(d, lee_ready(b)), [20, 50])
    R["microstructure.trade_size_50"] = fold(
        lambda b, s, t: np.log((b[-1] + s[-1]) / t[-1] / ((b + s).sum() / t.sum())), "buy_volume", "sell_volume", "trades"
    )(50)
    put("arrival", fold(lambda t: np.log(t[-1] / t.mean()), "trades"), [20, 100])
    R["microstructure.arrival_acceleration"] = fold(lambda t: np.log(t[5:].sum() / t[:5].sum()), "trades")(10)

    # Impact
    put("kyle", lambda d: lambda b: slope(d, step(b), b.signed_volume), [50, 100])
    put("kyle_fit", lambda d: lambda b: rolling(d, lambda y, x: explained(y, x), step(b), b.signed_volume), [50, 100])
    put(
        "hasbrouck",
        lambda d: lambda b: slope(d, log_step(b), np.sign(b.signed_volume) * np.sqrt(abs(b.signed_volume) * b.close)),
        [50, 100],
    )
    for k in (1, 5):
        R[f"microstructure.response_{k}_100"] = lambda b, k=k: mean(
            100, lag(np.sign(b.signed_volume), k) * np.log(b.close / lag(b.close, k))
        )
    put(
        "impact_excess",
        lambda d: lambda b: known(
            abs(log_step(b)) / (deviation(d, log_step(b)) * np.sqrt(abs(b.signed_volume) / mean(d, b.volume)))
        ),
        [50, 100],
    )
    R["microstructure.flow_predicts_100"] = lambda b: correlation(100, lag(b.signed_volume), b.returns)

    # Direction of volume from bars
    put("bulk_volume", lambda d: lambda b: b.volume * (2 * bulk_share(b, d) - 1), [20, 50])
    R["microstructure.bulk_vpin_bars_50"] = lambda b: total(50, abs(b.volume * (2 * bulk_share(b, 50) - 1))) / total(50, b.volume)
    for d in (20, 50):
        R[f"microstructure.bulk_vpin_50_{d}"] = lambda b, d=d: volume_clock(
            b.volume * bulk_share(b, 50), b.volume * (1 - bulk_share(b, 50)), 50, d
        )
    put("tick_rule", lambda d: lambda b: total(d, b.volume * tick_sign(b)) / total(d, b.volume), [20, 50])
    put(
        "up_down_volume",
        fold(lambda o, c, v: np.log(v[c > o].sum() / v[c < o].sum()), "open", "close", "volume"),
        [20, 50],
    )

    def location(h, l, c):
        return np.where(h == l, np.nan, ((c - l) - (h - c)) / np.where(h == l, 1, h - l))

    put(
        "close_location_flow",
        fold(lambda h, l, c, v: (v * np.nan_to_num(location(h, l, c))).sum() / v.sum(), "high", "low", "close", "volume"),
        [10, 50],
    )
    R["microstructure.close_location_autocorrelation_50"] = lambda b: correlation(
        50, location(b.high, b.low, b.close), lag(location(b.high, b.low, b.close))
    )
    put("kyle_bulk", lambda d: lambda b: slope(d, step(b), b.volume * (2 * bulk_share(b, d) - 1)), [50, 100])
    put("kyle_tick", lambda d: lambda b: slope(d, step(b), b.volume * np.sign(step(b))), [50, 100])
    put("hasbrouck_bars", lambda d: lambda b: slope(d, log_step(b), np.sign(log_step(b)) * np.sqrt(b.amount)), [50, 100])

    # Impact and liquidity from bars
    cost = lambda b: known(abs(b.returns) / b.amount)
    put("amihud", lambda d: lambda b: 1e6 * mean(d, cost(b)), [20, 60, 250])
    put("amihud_root", lambda d: lambda b: mean(d, np.sqrt(cost(b))), [20, 60])
    put("amihud_log_change", lambda d: lambda b: known(np.log(mean(d, cost(b)) / lag(mean(d, cost(b)), d))), [20, 60])
    R["microstructure.amihud_down_60"] = lambda b: 1e6 * rolling(60, lambda r, a: a[r < 0].mean(), b.returns, cost(b))
    R["microstructure.amihud_up_down_60"] = lambda b: rolling(
        60, lambda r, a: np.log(a[r > 0].mean() / a[r < 0].mean()), b.returns, cost(b)
    )
    put("amivest", fold(lambda a, r: a.sum() / abs(r).sum(), "amount", "returns"), [20, 60])
    put("martin", lambda d: lambda b: total(d, step(b) ** 2) / total(d, b.volume), [20, 60])

    def hui_heubel(turnover):
        return lambda d: lambda b: rolling(d, lambda h, l: (h.max() - l.min()) / l.min(), b.high, b.low) / turnover(b, d)

    put("hui_heubel", hui_heubel(lambda b, d: total(d, b.amount) / mean(d, b.cap)), [5, 20])
    put("hui_heubel_relative", hui_heubel(lambda b, d: mean(d, b.volume) / mean(10 * d, b.volume)), [5, 20])
    put("turnover", fold(lambda a, c: (a / c).mean(), "amount", "cap"), [20, 60])
    put("turnover_variation", fold(lambda a: np.log(a.std(ddof=1) / a.mean()), "amount"), [20, 60])
    put("volume_surprise", lambda d: lambda b: zscore(d, known(np.log(b.volume))), [20, 60])
    put("volume_seasonal", lambda d: lambda b: b.volume / seasonal(b.volume, b.minute_of_day, d), [5, 20])
    put("volume_concentration", fold(lambda v: len(v) * ((v / v.sum()) ** 2).sum(), "volume"), [20, 96])
    rolling_vwap = lambda b, d: total(d, b.vwap * b.volume) / total(d, b.volume)
    put("vwap_distance", lambda d: lambda b: np.log(b.close / rolling_vwap(b, d)), [20, 96])
    put(
        "price_dispersion",
        lambda d: lambda b: rolling(
            d, lambda v, x: np.sqrt((v * x**2).sum() / v.sum()), b.volume, np.log(b.vwap / rolling_vwap(b, d))
        ),
        [20, 96],
    )
    put(
        "return_reversal",
        lambda d: lambda b: partial_slope(
            d, b.returns - b.market, lag(b.returns), lag(np.sign(b.returns - b.market) * b.amount)
        ),
        [60, 120],
    )
    detrended = lambda b: known(np.log(b.volume)) - mean(50, known(np.log(b.volume)))
    put(
        "volume_return",
        lambda d: lambda b: partial_slope(d, b.returns, lag(b.returns), lag(b.returns * detrended(b))),
        [60, 120],
    )
    put(
        "price_delay",
        lambda d: lambda b: rolling(
            d, lambda y, x, z: 1 - explained(y, x) / explained(y, x, z), b.returns, b.market, lag(b.market)
        ),
        [60, 120],
    )
    put("invariance", fold(lambda r, a: (r.var(ddof=1) / a.mean()) ** (1 / 3), "returns", "amount"), [20, 60])
    put("range_per_amount", lambda d: lambda b: 1e6 * mean(d, known(np.log(b.high / b.low) / b.amount)), [20, 60])
    put(
        "liu",
        lambda d: lambda b: total(d, np.where(np.isnan(b.volume), np.nan, b.volume == 0))
        + 1 / total(d, b.volume / rolling(10 * d, np.max, b.volume)) / 1000,
        [20, 60],
    )

    # Spreads from bars
    put("roll", fold(lambda c: 2 * np.sqrt(max(-roll_moment(c), 0)), "close"), [20, 60, 120])
    put(
        "roll_signed",
        fold(lambda c: -2 * np.sign(roll_moment(c)) * np.sqrt(abs(roll_moment(c))), "close"),
        [60, 120],
    )

    def roll_serial(d):
        def reference(b):
            s = step(b)
            turn = (1 + correlation(d, np.sign(s), lag(np.sign(s)))) / 2
            return 2 * np.sqrt(np.maximum(-covariance(d, s, lag(s)), 0)) / (1 - turn) / b.close
        return reference

    put("roll_serial", roll_serial, [60, 120])
    put("noise_gamma", lambda d: lambda b: -covariance(d, log_step(b), lag(log_step(b))), [20, 60])
    R["microstructure.corwin_schultz"] = fold(corwin_schultz, "high", "low")(2)
    put("corwin_schultz", fold(corwin_schultz, "high", "low"), [20, 60])
    put("corwin_schultz_gaps", fold(corwin_schultz_gaps, "high", "low", "close"), [20, 60])
    put(
        "corwin_schultz_sigma",
        fold(lambda h, l: np.maximum(corwin_schultz_pairs(h, l)[1], 0).mean(), "high", "low"),
        [20, 60],
    )
    put("abdi_ranaldo", fold(lambda h, l, c: abdi_ranaldo(h, l, c, False), "high", "low", "close"), [20, 60])
    put("abdi_ranaldo_pairs", fold(lambda h, l, c: abdi_ranaldo(h, l, c, True), "high", "low", "close"), [20, 60])
    prices = ("open", "high", "low", "close")
    put("edge", fold(lambda *bars: edge(*bars), *prices), [21, 63, 126])
    put("edge_signed", fold(lambda *bars: edge(*bars, sign=True), *prices), [21, 63])
    put(
        "high_low_spread_share",
        fold(lambda o, h, l, c: edge(o, h, l, c) / np.log(h / l).mean(), *prices),
        [20, 60],
    )
    put("zeros", fold(lambda r: (r == 0).mean(), "returns"), [20, 60])
    put("zeros_traded", fold(lambda r, v: ((r == 0) & (v > 0)).mean(), "returns", "volume"), [20, 60])
    put("fht", fold(lambda r: 2 * r.std(ddof=1) * norm.ppf((1 + (r == 0).mean()) / 2), "returns"), [60, 120])
    put("thompson_waller", lambda d: lambda b: rolling(d, lambda s: abs(s[s != 0]).mean(), step(b)) / b.close, [20, 60])
    put(
        "wang_yau",
        lambda d: lambda b: rolling(d, lambda s, t: abs(s[s * t < 0]).mean(), step(b), lag(step(b))) / b.close,
        [20, 60],
    )
    put("effective_tick", effective_tick, [60, 120])
    put(
        "price_clustering",
        fold(lambda c: (np.round(c / 10 ** (np.floor(np.log10(c)) - 4)) % 10 == 0).mean() - 0.1, "close"),
        [60, 120],
    )
    put("interquartile_price", fold(lambda c: np.subtract(*np.quantile(c, [0.75, 0.25])) / c.mean(), "close"), [20, 60])
    put(
        "bounce_share",
        lambda d: lambda b: rolling(d, lambda s, t: (s * t < 0).sum() / (s * t != 0).sum(), step(b), lag(step(b))),
        [60, 120],
    )
    return R
