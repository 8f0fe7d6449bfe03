"""Packages of features in which it is known what can be known, for a bridge and a trained judge.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 pyarrow==26.0.1
    venv/bin/python python/interop/bridge_worlds.py planted /tmp/planted
    venv/bin/python python/interop/bridge_worlds.py null /tmp/null
    foretune dataset build --preset forex-bridge --package /tmp/planted --set bridge.cost=0.0008 --out bridge

Each world has PAIRS pairs of ROWS bars of 15 minutes. A hidden state follows a slow autoregression;
`rsi_14` shows it. In the planted world a state beyond THRESHOLD standard deviations pulls the price
its way, so that a signal on the state's side pays most of the time there and is a coin elsewhere;
in the null world nothing does. `world.json` holds, for the outcomes of HORIZON bars, how often the
state's side pays after COST by whether the state is beyond the threshold, and the accuracy of the
best verdict that knows the state.
"""

import argparse
import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PAIRS = ("AUDUSD", "EURUSD", "GBPUSD", "NZDUSD", "USDCAD", "USDJPY")
ROWS = 16_000
HORIZON = 20
BAR = 900_000
FIRST = 1_600_000_200_000
COST = 8e-4
STEP = 4e-4
MEMORY = 0.985
THRESHOLD = 1.0
PULL = 0.5
PARTS = (("train", 0.0, 0.6), ("val", 0.6, 0.8), ("test", 0.8, 1.0))


def main(arguments):
    pull = PULL if arguments.world == "planted" else 0.0
    told = {True: [], False: []}
    for number, pair in enumerate(PAIRS):
        random = np.random.default_rng([arguments.seed, number])
        state = walk(random)
        drift = pull * STEP * np.sign(state) * (np.abs(state) > THRESHOLD)
        steps = STEP * random.standard_normal(ROWS + HORIZON)
        # What a bar's state pulls is the next bar.
        steps[1 : ROWS + 1] += drift[:ROWS]
        price = np.exp(np.cumsum(steps))
        outcome = price[HORIZON:] / price[:-HORIZON] - 1
        write(arguments.folder / pair, price[:ROWS], state, outcome, random)
        paid = np.sign(state) * outcome > COST
        for beyond in told:
            told[beyond].append(paid[(np.abs(state) > THRESHOLD) == beyond])
    shares = {beyond: np.concatenate(parts) for beyond, parts in told.items()}
    all_rows = sum(len(part) for part in shares.values())
    best = sum(max(part.mean(), 1 - part.mean()) * len(part) for part in shares.values()) / all_rows
    found = {
        "world": arguments.world,
        "seed": arguments.seed,
        "share_beyond": round(len(shares[True]) / all_rows, 4),
        "paid_beyond": round(float(shares[True].mean()), 4),
        "paid_elsewhere": round(float(shares[False].mean()), 4),
        "best_accuracy": round(float(best), 4),
    }
    (arguments.folder / "world.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


def walk(random):
    """Returns the hidden state of every row, of variance 1."""
    state = np.empty(ROWS)
    state[0] = random.standard_normal()
    noise = random.standard_normal(ROWS) * np.sqrt(1 - MEMORY**2)
    for row in range(1, ROWS):
        state[row] = MEMORY * state[row - 1] + noise[row]
    return state


def write(folder, price, state, outcome, random):
    folder.mkdir(parents=True, exist_ok=True)

    def past(bars):
        before = np.concatenate([np.full(bars, price[0]), price[:-bars]])
        return price / before - 1

    columns = {
        "rsi_14": 50 + 15 * state,
        "ret_1": past(1),
        "ret_5": past(5),
        "ret_20": past(20),
        "vol_20": np.abs(past(20)),
        "vpin": random.random(ROWS),
        f"target_return_{HORIZON}": outcome,
    }
    stamps = FIRST + BAR * np.arange(ROWS)
    for part, begin, end in PARTS:
        rows = slice(round(begin * ROWS), round(end * ROWS) - (HORIZON if end < 1 else 0))
        table = {"timestamp": pa.array(stamps[rows], pa.timestamp("ms", "UTC"))}
        table |= {name: pa.array(values[rows].astype("f4")) for name, values in columns.items()}
        pq.write_table(pa.table(table), folder / f"{part}.parquet", row_group_size=4_096)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("world", choices=("planted", "null"))
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=17)
    main(parser.parse_args())
