"""Computes the computed answers of `foretune formulas examples` again, from their text, with Python alone.

    foretune formulas examples --out formulas
    python3 -m venv venv && venv/bin/pip install numpy
    venv/bin/python python/interop/knowledge.py formulas/formula_samples.jsonl --out knowledge-python.txt

A question of the kind `computation` shows a formula, its conventions and bars (or returns). They are read
from the question, and the formula is evaluated by the second evaluator of this repository, which has
its own parser and shares no code with the crate (`python/reference/formula_oracle.py`). The last line of
the answer has to state the same number.

What that evaluator does not know (an operator, a column, formulas over whole series) is counted by name and
not called right. Fails when a single answer differs.
"""

import argparse
import collections
import json
import math
import re
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "reference"))
import formula_oracle as oracle

# Answers have six significant digits: half a unit of the last one, and as much again for sums in another order.
DIGITS = 1e-5
# A difference of nearly equal numbers keeps fewer digits: relative to the largest number shown or computed
# on the way, f64 leaves this much after some hundred operations.
CANCELLED = 1e-12


class Unknown(Exception):
    """Something that the second evaluator does not cover."""


class Conventional(oracle.Evaluator):
    """The second evaluator under the conventions that a question states."""

    def __init__(self, columns, told):
        nothing = np.full_like(next(iter(columns.values())), np.nan)
        standard = ("open", "high", "low", "close", "volume")
        self.readable = None
        super().__init__({name: nothing for name in standard} | columns)
        # What a question shows takes the place of what would be derived.
        self.columns.update(columns)
        self.readable = set(columns) | {"vwap", "amount", "returns", "market"}
        self.parts.clear()
        ddof = 0 if "deviations divide by n;" in told + ";" else 1
        self.along["ts_var"] = oracle.over(lambda w: oracle.variance(w, ddof))
        self.along["ts_std"] = oracle.over(lambda w: np.sqrt(oracle.variance(w, ddof)))
        self.along["ts_zscore"] = oracle.over(lambda w: oracle.centred(w)[..., -1] / np.sqrt(oracle.variance(w, ddof)))
        self.along["ts_cov"] = lambda x, y, n: oracle.covariance(x, y, n, ddof)
        if "start with the mean of their first window" in told:
            self.along["ts_ema"] = lambda x, n: oracle.exponential(x, 2 / (n + 1), int(n))
            self.along["ts_wilder"] = lambda x, n: oracle.exponential(x, 1 / n, int(n))
        scales = {
            "rank k of n divided by n": lambda k, n: k / n,
            "(k - 1) / (n - 1)": lambda k, n: (k - 1) / (n - 1),
            "the rank from 1 to n": lambda k, n: k,
        }
        for words, scale in scales.items():
            if f"ts_rank is {words}" in told:
                self.along["ts_rank"] = oracle.over(lambda w, scale=scale: scale(position(w), w.shape[-1]))
            if f"cross-sectional ranks are {words}" in told:
                self.along["cs_rank"] = lambda x, scale=scale: across(x, scale)
        if "places count bars ago" in told:
            self.along["ts_argmax"] = oracle.over(lambda w: ago(w, True))
            self.along["ts_argmin"] = oracle.over(lambda w: ago(w, False))
        elif "places count from 1" in told:
            self.along["ts_argmax"] = oracle.over(lambda w: w.shape[-1] - ago(w, True))
            self.along["ts_argmin"] = oracle.over(lambda w: w.shape[-1] - ago(w, False))

    def compute(self, tree):
        if tree[0] == "name" and self.readable is not None and tree[1] not in self.readable:
            raise Unknown(f"the column {tree[1]}")
        if tree[0] == "call" and tree[1] not in self.element and tree[1] not in self.along:
            raise Unknown(f"the operator {tree[1]}")
        try:
            return super().compute(tree)
        except TypeError as error:
            raise Unknown(f"these arguments of {tree[1]}") from error


def position(w):
    """Rank of the last value of every window, from 1; ties share the mean."""
    last = w[..., -1:]
    ranks = (w < last).sum(axis=-1) + ((w == last).sum(axis=-1) + 1) / 2
    return np.where(np.isnan(w).any(axis=-1), np.nan, ranks)


def ago(w, largest):
    """Bars since the window's extreme, the newest of equals."""
    extreme = w.max(axis=-1, keepdims=True) if largest else w.min(axis=-1, keepdims=True)
    bars = np.argmax((w == extreme)[..., ::-1], axis=-1).astype(float)
    return np.where(np.isnan(w).any(axis=-1), np.nan, bars)


def across(x, scale):
    ranks = np.full(x.shape, np.nan)
    for row in range(x.shape[0]):
        have = ~np.isnan(x[row])
        for lane in np.flatnonzero(have):
            values = x[row][have]
            k = (values < x[row, lane]).sum() + ((values == x[row, lane]).sum() + 1) / 2
            ranks[row, lane] = scale(k, have.sum())
    return ranks


def read(question):
    """Returns expression, conventions, columns (rows x instruments) and the lane that is asked for."""
    expression = re.search(r"Formula: `([^`]+)`", question)
    told = re.search(r"Conventions: (.*)\.$", question.split("\nBars of")[0], re.M)
    body = question.split("\n")
    head = next((at for at, line in enumerate(body) if line.startswith("open_time")), None)
    if head is None:
        raise Unknown("formulas over a whole series of returns")
    names = body[head].split(",")[1:]
    if not names:
        raise Unknown("formulas of the clock alone")
    several = names[0] == "instrument"
    names = names[several:]
    asked = re.search(r" of (\S+) at the last bar", question)[1]
    lanes, rows = [], []
    for line in body[head + 1 :]:
        time, *cells = line.split(",")
        lane = cells.pop(0) if several else asked
        if lane not in lanes:
            lanes.append(lane)
        rows.append((time, lane, [float(cell) for cell in cells]))
    times = list(dict.fromkeys(time for time, _, _ in rows))
    columns = {name: np.full((len(times), len(lanes)), np.nan) for name in names}
    for time, lane, values in rows:
        for name, value in zip(names, values):
            columns[name][times.index(time), lanes.index(lane)] = value
    # Its parser reads plain decimals alone.
    plain = re.sub(r"\b\d+(?:\.\d+)?e-?\d+\b", lambda number: f"{float(number[0]):.20f}".rstrip("0"), expression[1])
    return plain, told[1] if told else "", columns, lanes.index(asked)


def compute(question):
    expression, told, columns, lane = read(question)
    evaluator = Conventional(columns, told)
    try:
        tree = oracle.Parser(expression, False).formula()
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise Unknown(f"the notation ({type(error).__name__})") from error
    value = float(evaluator.whole(evaluator.value(tree))[-1, lane])
    if math.isnan(value) and "a window that is not full" in told:
        # Here a window is full or unknown; a value that is known is the same under either convention.
        raise Unknown("windows that are not full")
    sizes = [np.nanmax(np.abs(part)) for part in evaluator.parts.values() if np.ndim(part) and np.isfinite(part).any()]
    shown = [np.nanmax(np.abs(column)) for column in columns.values()]
    return value, max(sizes + shown)


def agree(value, size, stated):
    if stated == "unknown":
        return not math.isfinite(value)
    stated = float(stated)
    return abs(value - stated) <= DIGITS * abs(stated) + CANCELLED * size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="formula_samples.jsonl")
    parser.add_argument("--out", default="knowledge-python.txt")
    arguments = parser.parse_args()
    same, unknown, wrong, families = 0, collections.Counter(), [], collections.Counter()
    formulas, all_formulas = set(), set()
    with open(arguments.file, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    computations = [row for row in rows if row["kind"] == "computation"]
    for row in computations:
        question, answer = (message["content"] for message in row["messages"])
        stated = answer.rsplit("Answer: ", 1)[1]
        all_formulas.add(row["formula"])
        try:
            value, size = compute(question)
        except Unknown as error:
            unknown[str(error)] += 1
            continue
        if agree(value, size, stated):
            same += 1
            families[row["family"]] += 1
            formulas.add(row["formula"])
        else:
            wrong.append(f"{row['id']}: {value!r}, the answer says {stated}")
    text = [
        f"{len(rows)} examples, {len(computations)} computations about {len(all_formulas)} formulas",
        f"{same} computed again from their text and equal, about {len(formulas)} formulas",
        f"{len(wrong)} differ",
        f"{sum(unknown.values())} not computed: the second evaluator does not know",
        *(f"  {count:5} {name}" for name, count in unknown.most_common()),
        "equal by family",
        *(f"  {count:5} {name}" for name, count in sorted(families.items())),
        *(f"DIFFERS {line}" for line in wrong),
    ]
    Path(arguments.out).write_text("\n".join(text) + "\n")
    print("\n".join(text))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
