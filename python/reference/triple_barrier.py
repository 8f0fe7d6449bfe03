"""Reference values for the labels by barriers of the crate `dataset`.

Two references. For whole bars (open, high, low, close, with holes) an oracle in pandas that follows
the definition in docs/labels.md: a window per decision, the first touch by index. For bars that are
one price each mlfinpy's implementation of snippet 3.2 of Lopez de Prado, "Advances in Financial
Machine Learning" (2018), which looks at closes only.

Versions: see requirements-labels.txt beside this file. Run from anywhere (mlfinpy states older
versions of pandas than it runs with, so it is installed without its dependencies):

    python -m venv env && env/bin/pip install -r requirements-labels.txt
    env/bin/pip install --no-deps mlfinpy==0.1.2
    env/bin/python triple_barrier.py

It rewrites crates/dataset/tests/fixtures/triple_barrier.json.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from mlfinpy.labeling.labeling import triple_barriers

OUTPUT = Path(__file__).parents[2] / "crates/dataset/tests/fixtures/triple_barrier.json"
START = pd.Timestamp("2021-05-01T00:00:00Z")
HOUR = pd.Timedelta(hours=1)


def make_bars(rng, hours, missing):
    """Hourly bars that open with a small jump now and then; stamps are those of the opening."""
    rows, close = [], 100.0
    for _ in range(hours):
        jump = rng.normal(scale=0.01) if rng.random() < 0.15 else 0.0
        opened = close * (1 + jump)
        close = opened * (1 + rng.normal(scale=0.006))
        high = max(opened, close) * (1 + abs(rng.normal(scale=0.004)))
        low = min(opened, close) * (1 - abs(rng.normal(scale=0.004)))
        rows.append([opened, high, low, close])
    frame = pd.DataFrame(rows, columns=["open", "high", "low", "close"]).round(6)
    frame.index = [START + HOUR * hour for hour in range(hours)]
    return frame.drop(frame.index[missing])


def typical_moves(bars, window, horizon):
    """The sample deviation of the last log returns times the root of the horizon, anew after holes."""
    block = (bars.index.to_series().diff() != HOUR).cumsum()
    log = np.log(bars["close"])
    returns = log.groupby(block).diff()
    sigma = returns.groupby(block).rolling(window).std(ddof=1)
    return sigma.droplevel(0).reindex(bars.index) * np.sqrt(horizon)


def label(bars, at, horizon, above, below):
    """What happened after the bar that opens at `at`: name, bars until then, return."""
    wanted = [at + HOUR * step for step in range(1, horizon + 1)]
    after = bars.reindex(wanted)
    if after["close"].isna().any():
        hole = after["close"].isna().to_numpy().argmax()
        return "tail" if wanted[hole] > bars.index[-1] else "gap"
    if np.isnan(above):
        return "warmup"
    price = bars.at[at, "close"]
    upper, lower = price * (1 + above), price * (1 - below)
    up = after["high"].ge(upper).to_numpy()
    down = after["low"].le(lower).to_numpy()
    touched = np.flatnonzero(up | down)
    if len(touched) == 0:
        return ["HOLD", horizon, after["close"].iloc[-1] / price - 1]
    step = touched[0]
    bar = after.iloc[step]
    if bar["open"] >= upper or bar["open"] <= lower:
        side = "BUY" if bar["open"] >= upper else "SELL"
        return [side, int(step) + 1, bar["open"] / price - 1]
    if up[step] and down[step]:
        return ["HOLD", int(step) + 1, bar["close"] / price - 1]
    level = upper if up[step] else lower
    return ["BUY" if up[step] else "SELL", int(step) + 1, level / price - 1]


def of_bars(bars, rule, horizon):
    if "window_bars" in rule:
        typical = typical_moves(bars, rule["window_bars"], horizon)
        above, below = rule["profit_k"] * typical, rule["loss_k"] * typical
    else:
        above = pd.Series(rule["profit"], index=bars.index)
        below = pd.Series(rule["loss"], index=bars.index)
    found = [label(bars, at, horizon, above[at], below[at]) for at in bars.index]
    kinds = [row if isinstance(row, str) else row[0] for row in found]
    print(rule, pd.Series(kinds).value_counts().to_dict())
    return found


def by_mlfinpy(closes, rule, horizon):
    """Labels and steps by mlfinpy of closes without holes; none where the horizon is cut off."""
    stamps = closes.index[:-horizon]
    events = pd.DataFrame(
        {
            "t1": closes.index[horizon:],
            "trgt": 1.0,
            "side": 1.0,
        },
        index=stamps,
    )
    levels = np.array([rule["profit"], rule["loss"]])
    found = triple_barriers(closes, events, levels, stamps)
    rows = []
    for at, row in found.iterrows():
        ends = {"BUY": row["pt"], "SELL": row["sl"], "HOLD": row["t1"]}
        side = min((name for name in ends if not pd.isna(ends[name])), key=ends.get)
        rows.append([side, int((ends[side] - at) / HOUR)])
    return rows


def main():
    rng = np.random.default_rng(20_210_501)
    bars = make_bars(rng, 260, [90, 91, 92, 170])
    horizon = 8
    rules = [
        {"kind": "triple_barrier", "profit_k": 1.0, "loss_k": 0.7, "window_bars": 24},
        {"kind": "triple_barrier_absolute", "profit": 0.012, "loss": 0.016},
        # So close that single bars reach both.
        {"kind": "triple_barrier_absolute", "profit": 0.004, "loss": 0.004},
    ]
    steps = rng.normal(scale=0.006, size=220)
    closes = pd.Series((100 * np.exp(np.cumsum(steps))).round(6))
    closes.index = [START + HOUR * hour for hour in range(len(closes))]
    rule = {"kind": "triple_barrier_absolute", "profit": 0.012, "loss": 0.016}
    fixture = {
        "horizon_hours": horizon,
        "open_time": [int(at.timestamp() * 1000) for at in bars.index],
        **{name: bars[name].tolist() for name in bars.columns},
        "cases": [{"rule": rule, "rows": of_bars(bars, rule, horizon)} for rule in rules],
        "closes": closes.tolist(),
        "closes_rule": rule,
        "closes_rows": by_mlfinpy(closes, rule, horizon),
    }
    OUTPUT.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
    print(pd.Series([row[0] for row in fixture["closes_rows"]]).value_counts().to_dict())
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
