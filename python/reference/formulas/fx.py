"""References of the fx family: triangles by walking all third currencies, sessions
day by day from the clock, the rest by definition."""

import numpy as np

from market import BLOCS, CURRENCIES, PAIRS
from volatility import ewm  # noqa: F401  (the same helper)
from windows import (
    across,
    correlation,
    deviation,
    fold_since,
    known,
    lag,
    mean,
    residual,
    rolling,
    row_mean,
    row_rank,
    seasonal,
    since,
    slope,
    total,
    variance,
    when,
    zscore,
)

LEGS = [pair.split("/") for pair in PAIRS]


def log_table(b, bars=1):
    return across(b.table["close"], lambda x: np.log(x) - np.log(lag(x, bars)))


def ret(b):
    return np.log(b.close) - np.log(lag(b.close))


def implied(b, third):
    """Log price of the pair by way of `third`, NaN where a leg is missing."""
    def leg(base, quote):
        if [base, quote] in LEGS:
            return np.log(b.table["close"][:, LEGS.index([base, quote])])
        if [quote, base] in LEGS:
            return -np.log(b.table["close"][:, LEGS.index([quote, base])])
        return np.full(len(b.close), np.nan)
    base, quote = LEGS[b.lane]
    return leg(base, third) + leg(third, quote)


def deviation_from_parity(b):
    base, quote = LEGS[b.lane]
    ways = np.column_stack([implied(b, third) for third in CURRENCIES if third not in (base, quote)])
    return known(np.log(b.close) - row_mean(ways))


def held(b, table, currency):
    """Mean over the pairs that hold a currency, as if each were quoted in it."""
    columns = []
    for lane, (base, quote) in enumerate(LEGS):
        if currency == base:
            columns.append(table[:, lane])
        elif currency == quote:
            columns.append(-table[:, lane])
    return known(row_mean(np.column_stack(columns)))


def base(b, table):
    return held(b, table, LEGS[b.lane][0])


def quote(b, table):
    return held(b, table, LEGS[b.lane][1])


def dollar(b, table):
    return held(b, table, "USD")


def gap(b):
    return base(b, log_table(b)) - quote(b, log_table(b))


def sessions(b, start):
    """1 on the first bar that closes after minute `start` of the day, by going
    through the rows: the clock as minutes after the last start."""
    begins, before = np.zeros(len(b.close)), None
    for row, minute in enumerate(b.minute_of_day):
        after = (minute - 1 - start + 2880) % 1440
        begins[row] = float(before is not None and after < before)
        before = after
    return begins


def session_extremes(b, start):
    begins = sessions(b, start)
    return fold_since(begins, b.high, np.max), fold_since(begins, b.low, np.min)


def frozen_range(b, start, end):
    """High and low from `start` to `end`, told from the first bar after `end`."""
    high, low = session_extremes(b, start)
    ends = sessions(b, end)
    return when(ends, lag(high)), when(ends, lag(low))


def weekend(b):
    before = lag(b.weekday)
    return (np.isin(before, (4, 5)) & np.isin(b.weekday, (6, 0))).astype(float)


def references():
    """Formula id to function of a lane's bars."""
    R = {}

    def put(name, make, sizes):
        for d in sizes:
            R[f"fx.{name}_{d}"] = make(d)

    parity = deviation_from_parity
    R["fx.parity"] = parity
    R["fx.parity_dollar"] = lambda b: known(np.log(b.close) - implied(b, "USD"))
    put("parity_z", lambda d: lambda b: zscore(d, parity(b)), [50, 200])
    put("parity_noise", lambda d: lambda b: mean(d, abs(parity(b))), [20, 96])
    R["fx.parity_in_ranges"] = lambda b: parity(b) / mean(20, np.log(b.high / b.low))
    put("parity_reversion", lambda d: lambda b: slope(d, ret(b), lag(parity(b))), [100, 200])

    def parity_age(b):
        sign = np.sign(parity(b))
        return since(np.where(np.isnan(sign) | np.isnan(lag(sign)), 0, sign != lag(sign)))

    R["fx.parity_age"] = parity_age

    put("strength_base", lambda d: lambda b: total(d, base(b, log_table(b))), [1, 20, 96])
    put("strength_quote", lambda d: lambda b: total(d, quote(b, log_table(b))), [1, 20, 96])
    put("strength", lambda d: lambda b: total(d, gap(b)), [5, 20, 96])
    put("strength_scaled", lambda d: lambda b: rolling(d, lambda g: g.sum() / (g.std(ddof=1) * np.sqrt(len(g))), gap(b)), [20, 96])

    def strength_rank(d):
        def reference(b):
            table = log_table(b)
            strengths = np.column_stack([total(d, held(b, table, leg[0])) for leg in LEGS])
            # Pairs without a bar still have their base currency's strength.
            return rank_by_hand(strengths, b.lane)
        return reference

    def rank_by_hand(table, lane):
        rounded = np.round(table, 15)
        return row_rank(rounded, lane)

    put("strength_rank", strength_rank, [20, 96])
    put("strength_turn", lambda d: lambda b: mean(5, gap(b)) - mean(d, gap(b)), [20, 96])
    put("own_return", lambda d: lambda b: total(d, ret(b) - gap(b) / 2), [20, 96])
    put(
        "breadth",
        lambda d: lambda b: mean(d, base(b, across(b.table["close"], lambda x: np.sign(x - lag(x))))),
        [1, 20],
    )
    put(
        "driver",
        lambda d: lambda b: rolling(
            d, lambda x, y: np.log(np.sqrt((x**2).mean() / (y**2).mean())), base(b, log_table(b)), quote(b, log_table(b))
        ),
        [48, 96],
    )
    put(
        "driver_correlation",
        lambda d: lambda b: correlation(d, ret(b), base(b, log_table(b))) + correlation(d, ret(b), quote(b, log_table(b))),
        [48, 96],
    )
    put("catch_up", lambda d: lambda b: total(d, base(b, log_table(b)) - ret(b)), [5, 20])
    put("dollar_index", lambda d: lambda b: total(d, dollar(b, log_table(b))), [20, 96, 480])
    put("dollar_beta", lambda d: lambda b: slope(d, ret(b), dollar(b, log_table(b))), [60, 240])
    put("dollar_share", lambda d: lambda b: correlation(d, ret(b), dollar(b, log_table(b))) ** 2, [60, 240])
    put("dollar_residual", lambda d: lambda b: total(d, residual(96, ret(b), dollar(b, log_table(b)))), [5, 20])
    put("dollar_volatility", lambda d: lambda b: deviation(d, dollar(b, log_table(b))), [20, 96])
    put("dollar_lead", lambda d: lambda b: correlation(d, ret(b), lag(dollar(b, log_table(b)))), [100, 200])

    carry = lambda b: b.base_rate - b.quote_rate
    carries = lambda b: b.table["base_rate"] - b.table["quote_rate"]
    R["fx.carry"] = carry
    R["fx.forward_discount"] = lambda b: np.log1p(b.quote_rate / 4) - np.log1p(b.base_rate / 4)
    R["fx.forward_points"] = lambda b: b.close * (1 + b.quote_rate / 4) / (1 + b.base_rate / 4) - b.close
    year = 260 * 24
    put("carry_to_risk", lambda d: lambda b: carry(b) / (deviation(d, ret(b)) * np.sqrt(year)), [96, 480])
    excess = lambda b, d: np.log(b.close / lag(b.close, d)) + mean(d, carry(b)) * d / year
    put("excess_return", lambda d: lambda b: excess(b, d), [96, 480])

    def excess_rank(d):
        def reference(b):
            table = log_table(b, d)
            earned = across(carries(b), lambda x: mean(d, x)) * d / year
            return row_rank(table + earned, b.lane)
        return reference

    put("excess_rank", excess_rank, [96, 480])
    put("carry_change", lambda d: lambda b: carry(b) - lag(carry(b), d), [96, 480])
    R["fx.carry_rank"] = lambda b: row_rank(carries(b), b.lane)
    R["fx.carry_z_480"] = lambda b: zscore(480, carry(b))
    put("carry_trend", lambda d: lambda b: np.sign(carry(b)) * np.log(b.close / lag(b.close, d)), [96, 480])

    def skewness(x):
        n, m = len(x), x - x.mean()
        return np.sqrt(n * (n - 1)) / (n - 2) * (m**3).mean() / (m**2).mean() ** 1.5

    put("carry_crash", lambda d: lambda b: rolling(d, skewness, np.sign(carry(b)) * ret(b)), [240, 480])

    def carry_factor(d):
        def reference(b):
            weights = carries(b) - carries(b).mean(axis=1, keepdims=True)
            weights = weights / abs(weights).sum(axis=1, keepdims=True)
            parts = across(weights, lag) * b.table["returns"]
            factor = np.where(np.isnan(parts).all(axis=1), np.nan, np.nansum(parts, axis=1))
            factor[np.isnan(b.returns)] = np.nan
            return slope(d, b.returns, factor)
        return reference

    put("carry_factor_beta", carry_factor, [96, 240])
    R["fx.average_discount"] = lambda b: dollar(b, carries(b))
    R["fx.base_yield"] = lambda b: base(b, carries(b))
    R["fx.fama_480"] = lambda b: slope(480, np.log(b.close / lag(b.close, 20)), lag(-carry(b), 20))
    R["fx.funding_annual"] = lambda b: b.funding_rate * 1095
    put("funding_z", lambda d: lambda b: zscore(d, b.funding_rate), [168, 504])
    put("funding_carry", lambda d: lambda b: mean(d, b.funding_rate) * 3 * d / 24, [24, 168])
    R["fx.funding_relative"] = lambda b: b.funding_rate - b.table["funding_rate"].mean(axis=1)
    R["fx.funding_divergence_168"] = lambda b: zscore(168, b.funding_rate) - zscore(168, b.close)
    R["fx.funding_to_risk_168"] = lambda b: -b.funding_rate * 3 * np.sqrt(365) / (deviation(168, ret(b)) * np.sqrt(24))

    # Sessions
    put("session_return", lambda s: lambda b: np.log(b.close / when(sessions(b, s), b.open)), [0, 480, 780])

    def session_range(s):
        def reference(b):
            high, low = session_extremes(b, s)
            return np.log(high / low)
        return reference

    def session_place(s):
        def reference(b):
            high, low = session_extremes(b, s)
            return known((b.close - low) / (high - low))
        return reference

    put("session_range", session_range, [0, 480, 780])
    put("session_place", session_place, [0, 480, 780])
    put(
        "session_mean_distance",
        lambda s: lambda b: np.log(b.close / fold_since(sessions(b, s), b.close, np.mean)),
        [0, 480],
    )
    put(
        "session_vwap_distance",
        lambda s: lambda b: np.log(
            b.close
            / (fold_since(sessions(b, s), b.vwap * b.volume, np.sum) / fold_since(sessions(b, s), b.volume, np.sum))
        ),
        [0, 480],
    )

    def asia(statistic):
        def reference(b):
            high, low = frozen_range(b, 0, 480)
            return known(statistic(b, high, low))
        return reference

    R["fx.asian_range"] = asia(lambda b, h, l: np.log(h / l))
    R["fx.asian_breakout"] = asia(lambda b, h, l: np.where(np.isnan(h), np.nan, np.where(b.close > h, 1.0, np.where(b.close < l, -1.0, 0.0))))
    R["fx.asian_distance"] = asia(lambda b, h, l: (b.close - (h + l) / 2) / (h - l))
    R["fx.tokyo_return"] = lambda b: when(
        sessions(b, 480), np.log(lag(b.close) / when(sessions(b, 0), b.open))
    )

    def opening_range(s):
        def reference(b):
            high, low = frozen_range(b, s, s + 60)
            return known((b.close - low) / (high - low))
        return reference

    put("opening_range", opening_range, [480, 780])
    busy = lambda b: ((b.minute_of_day > 780) & (b.minute_of_day <= 1020)).astype(float)
    R["fx.overlap"] = busy
    put("overlap_share", lambda d: lambda b: rolling(d, lambda s, o: (s * o).sum() / s.sum(), abs(b.close - lag(b.close)), busy(b)), [96, 480])
    R["fx.weekend_gap"] = lambda b: when(weekend(b), np.log(b.open / lag(b.close)))
    R["fx.weekend_gap_left"] = lambda b: np.log(b.close / when(weekend(b), lag(b.close)))
    R["fx.week_age"] = lambda b: since(weekend(b))

    def days_left(b):
        lengths = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
        return lengths[b.month.astype(int)] - b.day_of_month

    new_month = lambda b: np.where(np.isnan(lag(b.month)), 0.0, b.month != lag(b.month))
    month_return = lambda b: np.log(b.close / when(new_month(b), b.open))
    R["fx.month_days_left"] = days_left
    R["fx.month_return"] = month_return
    R["fx.month_end_pressure"] = lambda b: np.where(np.isnan(month_return(b)), np.nan, np.where(days_left(b) <= 2, month_return(b), 0.0))
    R["fx.fix_minutes"] = lambda b: np.where(b.minute_of_day <= 960, 960 - b.minute_of_day, 2400 - b.minute_of_day)
    R["fx.fix_move"] = lambda b: when(b.minute_of_day == 960, np.log(b.close / b.open))

    def range_used(d):
        def reference(b):
            begins = sessions(b, 0)
            high, low = session_extremes(b, 0)
            today = np.log(high / low)
            finished, out, usual = [], np.full(len(today), np.nan), np.nan
            for row in range(len(today)):
                if begins[row] == 1:
                    if row and not np.isnan(today[row - 1]):
                        finished.append(today[row - 1])
                        usual = np.mean(finished[-d:]) if len(finished) >= d else np.nan
                    else:
                        usual = np.nan
                out[row] = today[row] / usual
            return known(out)
        return reference

    put("range_used", range_used, [5, 14])

    def yesterday(statistic):
        def reference(b):
            high, low = session_extremes(b, 0)
            begins = sessions(b, 0)
            return known(statistic(b.close, when(begins, lag(high)), when(begins, lag(low)), when(begins, lag(b.close))))
        return reference

    R["fx.yesterday_place"] = yesterday(lambda c, h, l, last: (c - l) / (h - l))
    R["fx.pivot_distance"] = yesterday(lambda c, h, l, last: np.log(3 * c / (h + l + last)))

    # Calendar
    put("hour_return", lambda d: lambda b: seasonal(ret(b), b.minute_of_day, d), [10, 20])

    def hour_persistence(d):
        def reference(b):
            r = ret(b)
            out = np.full(len(r), np.nan)
            for row in range(len(r)):
                same = [r[k] for k in range(row + 1) if b.minute_of_day[k] == b.minute_of_day[row] and not np.isnan(r[k])]
                if len(same) >= d and not np.isnan(r[row]):
                    last = np.array(same[-d:])
                    out[row] = last[:-1].mean() / np.sqrt((last**2).mean())
            return known(out)
        return reference

    put("hour_persistence", hour_persistence, [10, 20])
    put("weekday_return", lambda d: lambda b: seasonal(ret(b), b.weekday, d), [24, 96])
    put("week_hour_return", lambda d: lambda b: seasonal(ret(b), b.weekday * 10000 + b.minute_of_day, d), [2, 4])
    day = lambda b: 2 * np.pi * b.minute_of_day / 1440
    week = lambda b: 2 * np.pi * (b.weekday + b.minute_of_day / 1440) / 7
    R["fx.day_sine"] = lambda b: np.sin(day(b))
    R["fx.day_cosine"] = lambda b: np.cos(day(b))
    R["fx.day_sine_second"] = lambda b: np.sin(2 * day(b)) + np.cos(2 * day(b))
    R["fx.week_sine"] = lambda b: np.sin(week(b))
    R["fx.week_cosine"] = lambda b: np.cos(week(b))
    R["fx.month_cycle_sine"] = lambda b: np.sin(2 * np.pi * (b.day_of_month - 1) / 31)
    R["fx.month_cycle_cosine"] = lambda b: np.cos(2 * np.pi * (b.day_of_month - 1) / 31)
    R["fx.year_sine"] = lambda b: np.sin(np.pi / 6 * (b.month - 1))
    R["fx.year_cosine"] = lambda b: np.cos(np.pi / 6 * (b.month - 1))

    def round_distance(k):
        def reference(b):
            unit = 10.0 ** (np.floor(np.log10(b.close)) - 2) / k
            places = b.close / unit
            return places - np.round(places)
        return reference

    put("round_distance", round_distance, [1, 2])

    def round_age(b):
        unit = 10.0 ** (np.floor(np.log10(b.close)) - 2)
        crossed = np.floor(b.close / unit) != np.floor(lag(b.close) / unit)
        return since(np.where(np.isnan(lag(b.close)), 0, crossed))

    R["fx.round_age"] = round_age

    R["fx.value"] = lambda b: np.log(mean(52, lag(b.close, 234)) / b.close)

    # Common movement
    bloc = [lane for lane, name in enumerate(BLOCS)]
    members = lambda b: [lane for lane in bloc if BLOCS[lane] == BLOCS[b.lane]]
    own = lambda b, d: np.log(b.close / lag(b.close, d))
    put("bloc_deviation", lambda d: lambda b: own(b, d) - row_mean(log_table(b, d)[:, members(b)]), [5, 20, 96])
    put("bloc_correlation", lambda d: lambda b: correlation(d, ret(b), row_mean(log_table(b)[:, members(b)])), [60, 240])
    put("bloc_rank", lambda d: lambda b: row_rank(log_table(b, d)[:, members(b)], members(b).index(b.lane)), [20, 96])
    put(
        "dispersion",
        lambda d: lambda b: np.where(np.isnan(own(b, d)), np.nan, np.nanstd(np.nan_to_num(log_table(b, d), nan=np.nan), axis=1, ddof=1)),
        [5, 20, 96],
    )
    put(
        "comovement",
        lambda d: lambda b: variance(d, b.market) / row_mean(across(b.table["returns"], lambda x: variance(d, x))),
        [60, 240],
    )
    R["fx.correlation_change"] = lambda b: correlation(20, b.returns, b.market) - correlation(100, b.returns, b.market)
    put(
        "lead_lag",
        lambda d: lambda b: correlation(d, b.returns, lag(b.market)) - correlation(d, b.market, lag(b.returns)),
        [100, 200],
    )
    R["fx.market_breadth"] = lambda b: np.where(np.isnan(b.returns), np.nan, row_mean(np.sign(b.table["returns"])))
    sizes = lambda b: np.where(np.isnan(ret(b)), np.nan, row_mean(abs(log_table(b))))
    put("global_volatility", lambda d: lambda b: mean(d, sizes(b)), [20, 96])
    R["fx.volatility_innovation"] = lambda b: residual(200, sizes(b), lag(sizes(b)))
    put("volatility_beta", lambda d: lambda b: slope(d, ret(b), sizes(b) - lag(sizes(b))), [96, 240])
    return R
