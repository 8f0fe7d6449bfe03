"""A made-up market, the same to the last bit as in crates/formula/tests/references/made_up_market.rs.

Only +, -, *, / and comparisons of doubles are used, which every language
computes alike, so that the bars need not be stored.
"""

import datetime

import numpy as np

ROWS = 720
PAIRS = ["EUR/USD", "USD/JPY", "EUR/JPY", "GBP/USD", "EUR/GBP", "AUD/USD", "GBP/JPY"]
BLOCS = ["europe", "asia", "europe", "sterling", "europe", "commodity", "sterling"]
CURRENCIES = ["USD", "EUR", "GBP", "JPY", "AUD"]
VALUES = [1.0, 1.1, 1.27, 0.0068, 0.66]
RATES = [0.05, 0.03, 0.045, 0.001, 0.04]
MASK = (1 << 64) - 1
HOUR = 3_600_000


def uniform(row, lane, draw):
    """A number in [0, 1) by the finaliser of SplitMix64."""
    x = ((row * 1_000_003 + lane * 10_007 + draw + 1) * 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return float((x ^ (x >> 31)) >> 11) / 9007199254740992.0


def bell(row, lane, draw):
    """A sum of four uniform numbers, about 0, variance 1/3."""
    u = [uniform(row, lane, 4 * draw + k) for k in range(4)]
    return u[0] + u[1] + u[2] + u[3] - 2.0


def open_times():
    """Hours from Wednesday 2024-01-17 00:00 UTC without weekends."""
    time, times = 1_705_449_600_000, []
    while len(times) < ROWS:
        moment = datetime.datetime.fromtimestamp(time / 1000, datetime.UTC)
        closed = (
            (moment.weekday() == 4 and moment.hour >= 22)
            or moment.weekday() == 5
            or (moment.weekday() == 6 and moment.hour < 22)
        )
        if not closed:
            times.append(time)
        time += HOUR
    return times


def round_to(tick, price):
    return np.floor(price / tick + 0.5) * tick


def columns():
    """All columns, each rows x pairs."""
    names = ["open", "high", "low", "close", "volume", "bid", "ask", "bid_size", "ask_size", "microprice", "spread", "ofi", "trades", "buy_volume", "sell_volume", "signed_volume", "cap", "funding_rate", "base_rate", "quote_rate"]
    table = {name: np.full((ROWS, len(PAIRS)), np.nan) for name in names}
    values = list(VALUES)
    last = [None] * len(PAIRS)
    for row in range(ROWS):
        before = list(values)
        for which in range(1, len(values)):
            values[which] = values[which] * (1.0 + 0.002 * bell(row, 100 + which, 0))
        for lane, pair in enumerate(PAIRS):
            base, quote = (CURRENCIES.index(name) for name in pair.split("/"))
            old, new = before[base] / before[quote], values[base] / values[quote]
            tick = 0.001 if pair.endswith("JPY") else 0.00001
            path = [
                round_to(tick, (old + (new - old) * (step / 5.0)) * (1.0 + 0.0006 * bell(row, lane, step)))
                for step in range(6)
            ]
            if row % 97 == 3 * lane + 20:
                path = [last[lane]] * 6
            last[lane] = path[5]
            volume = float(np.floor(100.0 + 900.0 * uniform(row, lane, 30)))
            if lane == 4 and row % 211 == 5:
                volume = 0.0
            bar = {}
            if not (lane == 5 and 10 <= row % 50 <= 12):
                bar["open"] = path[0]
                bar["high"] = max(path)
                bar["low"] = min(path)
                bar["close"] = path[5]
                bar["volume"] = volume
            half = tick * (1.0 + np.floor(4.0 * uniform(row, lane, 31)))
            middle = path[5] + tick * (np.floor(5.0 * uniform(row, lane, 32)) - 2.0)
            bid, ask = middle - half, middle + half
            bid_size = 1.0 + np.floor(50.0 * uniform(row, lane, 33))
            ask_size = 1.0 + np.floor(50.0 * uniform(row, lane, 34))
            buy = np.floor(300.0 * uniform(row, lane, 35))
            sell = np.floor(300.0 * uniform(row, lane, 36)) + 1.0
            bar["bid"] = bid
            bar["ask"] = ask
            bar["bid_size"] = bid_size
            bar["ask_size"] = ask_size
            bar["microprice"] = (bid * ask_size + ask * bid_size) / (bid_size + ask_size)
            bar["spread"] = 2.0 * half * (0.8 + 0.4 * uniform(row, lane, 37))
            bar["ofi"] = np.floor(200.0 * bell(row, lane, 10))
            bar["trades"] = 1.0 + np.floor(40.0 * uniform(row, lane, 38))
            bar["buy_volume"] = buy
            bar["sell_volume"] = sell
            bar["signed_volume"] = buy - sell
            bar["cap"] = 1_000_000.0 + 1000.0 * lane
            bar["funding_rate"] = 0.0001 * bell(row // 8, lane, 11)
            bar["base_rate"] = RATES[base] + 0.001 * bell(row // 90, 200 + base, 0)
            bar["quote_rate"] = RATES[quote] + 0.001 * bell(row // 90, 200 + quote, 0)
            for name, value in bar.items():
                table[name][row, lane] = value
    return table


def clock():
    """Functions of the close time of each row."""
    moments = [
        datetime.datetime.fromtimestamp((time + HOUR) / 1000, datetime.UTC)
        for time in open_times()
    ]
    pick = lambda value: np.array([float(value(moment)) for moment in moments])
    return {
        "minute_of_day": pick(lambda m: 60 * m.hour + m.minute),
        "weekday": pick(lambda m: m.weekday()),
        "day_of_month": pick(lambda m: m.day),
        "month": pick(lambda m: m.month),
    }


class Lane:
    """The columns of one pair as attributes, and the whole table."""

    def __init__(self, table, times, lane):
        self.lane, self.table, self.pair = lane, table, PAIRS[lane]
        for name, values in table.items():
            setattr(self, name, values[:, lane])
        for name, values in times.items():
            setattr(self, name, values)


def derived(table):
    """Adds what the language makes of bars."""
    with np.errstate(all="ignore"):
        table["vwap"] = (table["high"] + table["low"] + table["close"]) / 3
        table["amount"] = table["vwap"] * table["volume"]
        returns = np.full_like(table["close"], np.nan)
        returns[1:] = table["close"][1:] / table["close"][:-1] - 1
        table["returns"] = returns
        counts = (~np.isnan(returns)).sum(axis=1)
        market = np.where(counts > 0, np.nansum(returns, axis=1) / np.maximum(counts, 1), np.nan)
        table["market"] = np.where(np.isnan(returns), np.nan, market[:, None])
    return table
