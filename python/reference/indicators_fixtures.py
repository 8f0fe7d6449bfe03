"""Reference values for the crate `formula`, from TA-Lib.

Versions: see requirements-indicators.txt beside this file (the TA-Lib wheel
brings its own C library). Run from anywhere:

    python -m venv env && env/bin/pip install -r requirements-indicators.txt
    env/bin/python indicators_fixtures.py

It reads the candles in examples/data and rewrites
crates/formula/tests/fixtures/talib.json. NaN is written as null, values with 13
digits (the test asks for 9), bars in full.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow.feather
import talib

ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / "crates/formula/tests/fixtures/talib.json"


def candles(name, start, rows):
    """Returns high, low and close of real hourly bars."""
    table = pyarrow.feather.read_table(ROOT / f"examples/data/{name}-1h.feather")
    table = table.slice(start, rows)
    return [table.column(c).to_numpy().astype("f8") for c in ("high", "low", "close")]


def around(close, spread):
    """Returns bars with a relative spread around synthetic closes, with few digits."""
    close = np.asarray(close, dtype="f8")
    bars = [close * (1 + spread), close * (1 - spread), close]
    return [np.array([float(f"{v:.10g}") for v in line]) for line in bars]


def standard(high, low, close):
    """Returns the indicators with the periods that foretune shows."""
    macd, signal, histogram = talib.MACD(close, 12, 26, 9)
    upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    return {
        "rsi 14": talib.RSI(close, 14),
        "ema 9": talib.EMA(close, 9),
        "ema 21": talib.EMA(close, 21),
        "ema 50": talib.EMA(close, 50),
        "ema 200": talib.EMA(close, 200),
        "macd 12 26 9": macd,
        "macd signal 12 26 9": signal,
        "macd histogram 12 26 9": histogram,
        "bollinger upper 20 2": upper,
        "bollinger middle 20 2": middle,
        "bollinger lower 20 2": lower,
        "atr 14": talib.ATR(high, low, close, 14),
    }


def unusual(high, low, close):
    """Returns the same functions with other periods."""
    macd, signal, histogram = talib.MACD(close, 9, 4, 3)  # fast and slow exchanged
    upper, middle, lower = talib.BBANDS(close, 5, 1.5, 1.5)
    return {
        "rsi 2": talib.RSI(close, 2),
        "ema 2": talib.EMA(close, 2),
        "macd 9 4 3": macd,
        "macd signal 9 4 3": signal,
        "macd histogram 9 4 3": histogram,
        "bollinger upper 5 1.5": upper,
        "bollinger middle 5 1.5": middle,
        "bollinger lower 5 1.5": lower,
        "atr 1": talib.ATR(high, low, close, 1),
        "atr 5": talib.ATR(high, low, close, 5),
    }


def cases():
    rng = np.random.default_rng(20190301)
    walk = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=60)))
    yield "bitcoin", candles("BTC_USD", 5000, 260), standard
    yield "euro", candles("EUR_USD", 960, 100), standard
    yield "walk, other periods", around(walk, 0.003), unusual
    yield "constant", around(np.full(60, 0.1), 0.0), standard
    fall = np.r_[np.linspace(2e4, 100.1, 30), np.full(40, 100.1)]
    yield "constant after a fall", around(fall, 0.0), standard
    yield "rising", around(np.arange(1.0, 61.0), 0.01), standard
    yield "falling", around(np.arange(60.0, 0.0, -1.0), 0.01), standard
    yield "zigzag", around(np.where(np.arange(60) % 2, 1.1, 0.9), 0.02), standard
    yield "tiny price", around(1e-8 * walk, 0.003), standard
    yield "small moves of a large price", around(6e4 + 1e-3 * walk, 1e-7), standard
    for rows in (1, 8, 9, 14, 15, 19, 20, 33, 34):
        yield f"{rows} rows", around(walk[:rows], 0.003), standard


def plain(values, digits=17):
    return [None if np.isnan(v) else float(f"{v:.{digits}g}") for v in values]


def main():
    document = [
        {
            "name": name,
            "high": plain(bars[0]),
            "low": plain(bars[1]),
            "close": plain(bars[2]),
            "outputs": {key: plain(values, 13) for key, values in function(*bars).items()},
        }
        for name, bars, function in cases()
    ]
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(document, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
