"""Reference values for the catalogue's TA-Lib formulas, from TA-Lib itself.

Versions: see requirements-talib.txt beside this file (the wheel brings its own C
library). Run from anywhere:

    python -m venv env && env/bin/pip install -r requirements-talib.txt
    env/bin/python talib_fixtures.py

It reads the ids in crates/formula/catalogue and rewrites
crates/formula/tests/fixtures/talib_catalogue.json: four instruments of synthetic
bars with, for every id and instrument, the first and the last value and a weighted
sum of each 80 rows (every row counts in one; see `weights`), and one instrument on
which every candle pattern fires, with all of its values.
"""

import json
from pathlib import Path

import numpy as np
import talib
from talib import abstract

import talib_calls

OUTPUT = Path(__file__).parents[2] / "crates/formula/tests/fixtures/talib_catalogue.json"
ROWS = 400
SEGMENT = 80
COLUMNS = ("open", "high", "low", "close", "volume")


def weights(rows):
    """Returns the weight of each row in the sums: from 1 to 2, without a pattern."""
    return 1.0 + np.mod(np.asarray(rows, dtype="f8") * 0.6180339887498949, 1.0)


def closes(kind, generator):
    """Returns closes that trend, range or jump."""
    if kind == "trending":
        return 100 * np.exp(np.cumsum(generator.normal(0.002, 0.012, ROWS)))
    if kind == "ranging":
        close = np.full(ROWS, 50.0)
        for row in range(1, ROWS):
            pull = 0.1 * (50 - close[row - 1])
            close[row] = close[row - 1] + pull + generator.normal(0, 0.6)
        return close + 2 * np.sin(np.arange(ROWS) / 5)
    return 1000 * np.exp(np.cumsum(generator.standard_t(3, ROWS) * 0.01))


def instrument(kind, generator):
    """Returns bars with two decimals; "halted" ones stand still now and then."""
    close = closes(kind, generator)
    gap = 0.02 if kind == "gapping" else 0.003
    opens = np.r_[close[0], close[:-1]] * (1 + generator.normal(0, gap, ROWS))
    wick = np.abs(generator.normal(0, 0.004, (2, ROWS)))
    high = np.maximum(opens, close) * (1 + wick[0])
    low = np.minimum(opens, close) * (1 - wick[1])
    volume = np.round(generator.lognormal(7, 0.5, ROWS))
    bars = dict(zip(COLUMNS, (opens, high, low, close, volume)))
    bars = {name: np.array([round(float(v), 2) for v in x]) for name, x in bars.items()}
    if kind == "halted":
        for start, end in ((0, 45), (150, 230)):
            for name in COLUMNS[:4]:
                bars[name][start:end] = bars["close"][start]
        bars["volume"][60:70] = 0
    if kind == "ranging":
        # Equal volumes on neighbouring bars.
        bars["volume"][0:399:7] = bars["volume"][1:400:7]
    return bars


def summary(begin, values):
    """Returns what the fixture keeps of one output."""
    values = np.asarray(values, dtype="f8")
    rows = np.arange(begin, ROWS)
    known = rows[np.isfinite(values[begin:])]
    sums = []
    for start in range(0, ROWS, SEGMENT):
        part = known[(known >= start) & (known < start + SEGMENT)]
        sums.append(float(f"{np.dot(weights(part), values[part]):.15g}"))
    unknown = [int(row) for row in rows if not np.isfinite(values[row])]
    ends = [float(f"{v:.12g}") if np.isfinite(v) else None for v in values[[begin, -1]]]
    return [begin, ends, sums, unknown]


def candles(seed, rows):
    """Returns random candles on a grid of whole prices, with many ties."""
    generator = np.random.default_rng(seed)
    sizes = generator.choice([0, 0, 1, 1, 2, 3, 4, 6, 8, 12, 20, 30], rows)
    body = sizes * generator.choice([-1, 1], rows)
    for row in np.flatnonzero(generator.random(rows) < 0.5):
        if row and body[row - 1]:
            body[row] = abs(body[row]) * np.sign(body[row - 1])
    steps = np.array([1, 2, 3, 5, 8, 12, 20, 30])
    gap = generator.choice(np.r_[-steps, steps], rows)
    gap[generator.random(rows) < 0.45] = 0
    wicks = generator.choice([0, 0, 0, 0, 1, 2, 4, 8, 15, 30], (2, rows))
    choice, again = generator.random((2, rows))
    back = generator.integers(1, 3, rows)
    opens, close = np.empty(rows), np.empty(rows)
    price = 2000.0
    for row in range(rows):
        opens[row] = price + gap[row]
        if row > 1 and choice[row] < 0.12:
            opens[row] = opens[row - 1]
        elif row > 1 and choice[row] < 0.25:
            opens[row] = (opens[row - 1] + close[row - 1]) // 2
        if not 500 < opens[row] < 4000:
            opens[row] = 2000.0
        close[row] = opens[row] + body[row]
        if row > 2 and again[row] < 0.06:
            close[row] = close[row - back[row]]
        price = close[row]
    high = np.maximum(opens, close) + wicks[0]
    low = np.minimum(opens, close) - wicks[1]
    return dict(zip(COLUMNS, (opens, high, low, close)))


def mat_hold():
    """Returns bars that form a mat hold after fifteen plain ones."""
    plain = [(100.0, 106.0, 98.0, 104.0), (104.0, 106.0, 98.0, 100.0)] * 8
    shape = [
        (100.0, 131.0, 99.0, 130.0),
        (135.0, 136.0, 132.0, 133.0),
        (129.0, 130.0, 127.0, 128.0),
        (127.0, 128.0, 124.0, 125.0),
        (127.0, 141.0, 126.0, 140.0),
        (140.0, 141.0, 138.0, 139.0),
    ]
    return dict(zip(COLUMNS, np.array(plain + shape).T))


def planted(times=3):
    """Returns bars on which every value of every pattern is seen some times, pieced
    together from stretches of random candles."""
    ids = talib_calls.ids("talib_candles")
    pieces = [mat_hold()]
    seen = {}
    for seed in range(1, 9):
        bars = candles(seed, 100_000)
        for identifier in ids:
            _, values = talib_calls.compute(identifier, bars)
            for value in map(int, np.unique(values[values != 0])):
                rows = np.flatnonzero(values == value)
                for row in rows[(rows > 30) & (rows < 99_990)][:times]:
                    if seen.get((identifier, value), 0) >= times:
                        break
                    # From sixteen bars before, for the averages, to three after.
                    piece = {name: x[row - 16 : row + 4] for name, x in bars.items()}
                    pieces.append(piece)
                    for other in ids:
                        _, there = talib_calls.compute(other, piece)
                        for found in map(int, there[there != 0]):
                            seen[other, found] = seen.get((other, found), 0) + 1
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in COLUMNS[:4]}


def main():
    generator = np.random.default_rng(20_240_601)
    kinds = ("trending", "ranging", "gapping", "halted")
    bars = {kind: instrument(kind, generator) for kind in kinds}
    expected = {}
    for identifier in talib_calls.ids("talib"):
        function, _, output = talib_calls.split(identifier)
        expected[identifier] = {
            "function": function,
            "output": abstract.Function(function).info["output_names"][output],
            "cases": [
                summary(*talib_calls.compute(identifier, talib_calls.columns(bars[kind])))
                for kind in kinds
            ],
        }
    shapes = planted()
    patterns = {}
    for identifier in talib_calls.ids("talib_candles"):
        begin, values = talib_calls.compute(identifier, shapes)
        fired = {
            str(value): [int(row) for row in np.flatnonzero(values == value)]
            for value in map(int, np.unique(values[values != 0]))
        }
        assert fired, f"{identifier} never fires"
        function = talib_calls.split(identifier)[0]
        patterns[identifier] = {"function": function, "begin": begin, "fired": fired}
    outputs = [
        [function, output]
        for function in talib.get_functions()
        for output in abstract.Function(function).info["output_names"]
    ]
    fixture = {
        "versions": {"wheel": talib.__version__, "library": talib.__ta_version__.decode()},
        "outputs": outputs,
        "segment": SEGMENT,
        "instruments": [
            {name: [float(v) for v in bars[kind][name]] for name in COLUMNS} for kind in kinds
        ],
        "expected": expected,
        "candles": {name: [int(v) for v in shapes[name]] for name in COLUMNS[:4]},
        "patterns": patterns,
    }
    text = json.dumps(fixture, separators=(",", ":")).replace(".0,", ",").replace(".0]", "]")
    OUTPUT.write_text(text + "\n")
    count = len(expected), len(patterns), len(outputs)
    print(f"{len(text)} bytes; {count} ids, patterns, outputs; {len(shapes['open'])} candles")


if __name__ == "__main__":
    main()
