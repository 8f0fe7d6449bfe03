"""Writes crates/formula/tests/fixtures/alpha.json: what other libraries compute for
the formulas of Alpha101, Alpha158 and Alpha360.

The market is made of whole numbers by a small generator that the Rust test repeats
(crates/formula/tests/support/market.rs), so that both sides start from the same
bits. Prices are multiples of 1/128.

Peers: KunQuant in double precision, alpha101v, py-alpha-lib, pyqlib. Where a peer
computes another formula than the paper prints, its reading is written out and
stored as well: KunQuant's operator graph is printed in this project's notation,
py-alpha-lib rounds windows where the paper cuts them.

Run with the versions of requirements-alpha.txt and a g++:

    python python/reference/alpha_fixtures.py
"""

import base64
import json
import re
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd

INSTRUMENTS = 24
ROWS = 300
# Rows of which cells are stored: the last for Alpha101, whose windows reach back
# 252 bars, the first for Qlib, whose windows begin partial.
LAST = range(260, 300)
FIRST = range(0, 90)
SAMPLES = {"alpha101": 88, "alpha158": 40, "alpha360": 8}
# Bars that an instrument lacks, where the peer can do without.
HOLES = [(3, 285), (7, 270), (7, 271), (11, 100), (5, 12), (5, 13), (9, 40)]
ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "crates/formula/catalogue"
TARGET = ROOT / "crates/formula/tests/fixtures/alpha.json"
MASK = (1 << 64) - 1


# ---------------------------------------------------------------- market


class Generator:
    """SplitMix64 (Steele, Lea and Flood 2014)."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) >> 33) % limit


def market():
    names = ("open", "high", "low", "close", "vwap", "volume", "cap")
    table = {name: np.empty((ROWS, INSTRUMENTS)) for name in names}
    for lane in range(INSTRUMENTS):
        random = Generator(lane + 1)
        close = 640 * (lane + 1)
        span = max(4, close // 64)
        units = 1 + random.below(50)
        shares = 1000 + random.below(9000)
        for row in range(ROWS):
            open_ = max(8 * span, close + random.below(span // 2 + 1) - span // 4)
            close = max(8 * span, open_ + random.below(2 * span + 1) - span)
            high = max(open_, close) + random.below(span)
            low = min(open_, close) - random.below(span)
            vwap = low + random.below(high - low + 1)
            volume = units * (200 + random.below(1800))
            prices = [price / 128 for price in (open_, high, low, close, vwap)]
            for name, value in zip(names, [*prices, volume, shares * close]):
                table[name][row, lane] = value
    return table


def holed(table):
    table = {name: values.copy() for name, values in table.items()}
    for lane, row in HOLES:
        for values in table.values():
            values[row, lane] = np.nan
    return table


SUBINDUSTRY = np.arange(INSTRUMENTS) // 2
INDUSTRY = SUBINDUSTRY // 2
SECTOR = SUBINDUSTRY // 4


# ---------------------------------------------------------------- KunQuant

BINARY = {
    "Mul": "*",
    "Add": "+",
    "Sub": "-",
    "Div": "/",
    "Or": "||",
    "And": "&&",
    "GreaterThan": ">",
    "GreaterEqual": ">=",
    "LessThan": "<",
    "LessEqual": "<=",
    "Equals": "==",
    "Pow": "^",
}
CONSTANT = {
    "AddConst": "+",
    "SubConst": "-",
    "MulConst": "*",
    "DivConst": "/",
    "GreaterThanConst": ">",
    "LessThanConst": "<",
}
WINDOWED = {
    "WindowedSum": "ts_sum",
    "WindowedProduct": "ts_product",
    "WindowedMin": "ts_min",
    "WindowedMax": "ts_max",
    "WindowedAvg": "ts_mean",
    "WindowedStddev": "ts_std",
    "WindowedCovariance": "ts_cov",
    "WindowedCorrelation": "ts_corr",
    "TsArgMax": "ts_argmax",
    "TsArgMin": "ts_argmin",
    "TsRank": "ts_rank",
    "DecayLinear": "ts_decay_linear",
    "BackRef": "ts_delay",
}
ELEMENT = {
    "Rank": "cs_rank",
    "Scale": "cs_scale",
    "Abs": "abs",
    "Sign": "sign",
    "Log": "log",
    "Sqrt": "sqrt",
    "Max": "max",
    "Min": "min",
}


def number(value):
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") else text


def written(node):
    """An operator graph of KunQuant in the notation of this project."""
    kind = type(node).__name__
    inputs = [written(value) for value in node.inputs]
    if kind == "Input":
        return node.attrs["name"]
    if kind == "ConstantOp":
        value = number(node.attrs["value"])
        return f"({value})" if value.startswith("-") else value
    if kind in BINARY:
        return f"({inputs[0]} {BINARY[kind]} {inputs[1]})"
    if kind in CONSTANT:
        sides = [inputs[0], number(node.attrs["value"])]
        if sides[1].startswith("-"):
            sides[1] = f"({sides[1]})"
        if node.attrs.get("swap"):
            sides.reverse()
        return f"({sides[0]} {CONSTANT[kind]} {sides[1]})"
    if kind in WINDOWED:
        return f"{WINDOWED[kind]}({', '.join([*inputs, str(node.attrs['window'])])})"
    if kind in ELEMENT:
        return f"{ELEMENT[kind]}({', '.join(inputs)})"
    if kind == "Not":
        return f"(!{inputs[0]})"
    if kind == "Select":
        return f"({inputs[0]} ? {inputs[1]} : {inputs[2]})"
    if kind == "SetInfOrNanToValue":
        return f"fill({inputs[0]}, {number(node.attrs['value'])})"
    raise ValueError(f"no name for {kind} {node.attrs}")


def kunquant(table):
    from KunQuant.Driver import KunCompilerConfig
    from KunQuant.Op import Builder, Input, Output
    from KunQuant.Stage import Function
    from KunQuant.jit import cfake
    from KunQuant.predefined import Alpha101
    from KunQuant.runner import KunRunner

    names = ("open", "high", "low", "close", "volume", "vwap")
    builder = Builder()
    readings = {}
    with builder:
        columns = {name: Input(name) for name in names}
        data = Alpha101.AllData(**columns)
        for alpha in Alpha101.all_alpha:
            formula = alpha(data)
            readings[alpha.__name__] = written(formula)
            Output(formula, alpha.__name__)
    config = KunCompilerConfig(
        input_layout="TS",
        output_layout="TS",
        dtype="double",
        blocking_len=4,
        partition_factor=4,
        # Two passes over each window rather than running sums.
        options={"no_fast_stat": True},
    )
    with tempfile.TemporaryDirectory() as folder:
        library = cfake.compileit(
            [("alpha101", Function(builder.ops), config)],
            "alpha101",
            cfake.CppCompilerConfig(opt_level=1),
            tempdir=folder,
        )
        module = library.getModule("alpha101")
        inputs = {name: np.ascontiguousarray(table[name]) for name in names}
        executor = KunRunner.createSingleThreadExecutor()
        outputs = KunRunner.runGraph(executor, module, inputs, 0, ROWS)
    return {
        f"alpha101.{name[5:]}": (np.array(outputs[name]), readings[name], "foretune")
        for name in readings
    }


# ---------------------------------------------------------------- the paper's notation

NAMES = {
    "rank": "cs_rank",
    "correlation": "ts_corr",
    "covariance": "ts_cov",
    "delta": "ts_delta",
    "delay": "ts_delay",
    "stddev": "ts_std",
    "sum": "ts_sum",
    "product": "ts_product",
    "signedpower": "signed_power",
    "scale": "cs_scale",
    "indneutralize": "group_neutralize",
    "decay_linear": "ts_decay_linear",
}
LEVELS = [("||",), ("<", "=="), ("+", "-"), ("*", "/")]


class Reader:
    """Reads the paper's notation and writes this project's, as a peer means it.

    `whole` makes windows of printed numbers, `rules` rewrites calls and powers:
    a name to a function of the written arguments.
    """

    def __init__(self, text, whole, rules):
        self.tokens = re.findall(r"\d*\.?\d+\.?|[A-Za-z_.]+\d*|\|\||==|[^\s]", text)
        self.whole, self.rules = whole, rules

    def next(self, expected=None):
        token = self.tokens.pop(0)
        assert expected in (None, token), (expected, token, self.tokens[:5])
        return token

    def ahead(self):
        return self.tokens[0] if self.tokens else None

    def ternary(self):
        condition = self.level(0)
        if self.ahead() != "?":
            return condition
        self.next("?")
        yes = self.ternary()
        self.next(":")
        return f"({condition} ? {yes} : {self.ternary()})"

    def level(self, depth):
        if depth == len(LEVELS):
            return self.power()
        left = self.level(depth + 1)
        while self.ahead() in LEVELS[depth]:
            operator = self.next()
            left = f"({left} {operator} {self.level(depth + 1)})"
        return left

    def power(self):
        base = self.primary()
        if self.ahead() != "^":
            return base
        self.next("^")
        exponent = self.primary()
        rule = self.rules.get("^")
        return rule(base, exponent) if rule else f"({base} ^ {exponent})"

    def primary(self):
        token = self.next()
        if token == "(":
            inner = self.ternary()
            self.next(")")
            return inner
        if token == "-":
            return f"(-{self.primary()})"
        if self.ahead() == "(":
            return self.call(token.lower())
        if found := re.fullmatch(r"adv(\d+)", token):
            return f"adv({found[1]})"
        if token[0] in ".0123456789":
            return number(float(token))
        return token.split(".")[-1]

    def call(self, name):
        arguments = []
        self.next("(")
        while True:
            fractional = self.ahead() and re.fullmatch(r"\d+\.\d+", self.ahead())
            if fractional and self.tokens[1] == ")":
                arguments.append(str(self.whole(float(self.next()))))
            else:
                arguments.append(self.ternary())
            if self.next() == ")":
                break
        if name in ("min", "max") and arguments[-1].isdigit():
            name = f"ts_{name}"
        if name in self.rules:
            return self.rules[name](*arguments)
        return f"{NAMES.get(name, name)}({', '.join(arguments)})"


def canonical(text, whole, **rules):
    rules = {name.replace("power", "^"): rule for name, rule in rules.items()}
    return Reader(text, whole, rules).ternary()


# ---------------------------------------------------------------- alpha101v


def alpha101v(table):
    import alpha101v as library
    from alpha101v.panel import returns_from_close

    index = pd.date_range("2020-01-01", periods=ROWS)
    columns = [f"I{lane:02}" for lane in range(INSTRUMENTS)]
    frame = lambda values: pd.DataFrame(values, index=index, columns=columns)
    panel = {name: frame(values) for name, values in table.items()}
    panel["Open"] = panel.pop("open")
    panel["amount"] = frame(table["vwap"] * table["volume"])
    panel["returns"] = returns_from_close(panel["close"])
    for name, codes in (("sector", SECTOR), ("industry", INDUSTRY), ("subindustry", SUBINDUSTRY)):
        panel[f"ind_{name}"] = pd.Series(codes, index=columns)
    result = {}
    # A weighted mean needs all its values, rather than taking missing ones as 0.
    with library.operators.research_mode():
        for index_, entry in enumerate(formulas("alpha101")):
            values = library.run_factor(f"alpha{index_ + 1}", panel, dtype=np.float64)
            # Its minimum and maximum of two leave out what is unknown; its powers of
            # 0 are 0 and those of 1 are 1, whatever the exponent.
            reading = canonical(
                entry["expression"],
                int,
                min=lambda x, y: f"fill(min({x}, {y}), fill({x}, {y}))",
                max=lambda x, y: f"fill(max({x}, {y}), fill({x}, {y}))",
                power=lambda x, y: f"({x} ^ {y})"
                if y[0].isdigit()
                else f"({x} == 0 ? 0 : ({x} == 1 ? 1 : {x} ^ {y}))",
            )
            plain = canonical(entry["expression"], int)
            reading = None if reading == plain else reading
            result[entry["id"]] = (values.to_numpy(), reading, "foretune")
    return result


# ---------------------------------------------------------------- py-alpha-lib


def py_alpha_lib(table):
    import alpha
    from alpha.context import ExecContext
    from alpha.lang.to_python import to_python

    flat = {name: values.T.reshape(-1).copy() for name, values in table.items()}
    flat["vol"] = flat.pop("volume")
    flat["securityid"] = np.repeat(np.arange(INSTRUMENTS), ROWS)
    flat["tradetime"] = np.tile(np.arange(ROWS), INSTRUMENTS)
    codes = SECTOR * 1_000_000 + INDUSTRY * 10_000 + SUBINDUSTRY
    flat["indclass"] = np.repeat(codes, ROWS).astype(float)
    context = ExecContext(pd.DataFrame(flat), securities=INSTRUMENTS, trades=ROWS)
    alpha.set_ctx(groups=INSTRUMENTS, flags=alpha.FLAG_STRICTLY_CYCLE)
    result = {}
    for entry in formulas("alpha101"):
        # The paper's min and max of a constant are extrema over time; so far the
        # translation has no such rule.
        text = re.sub(r"min\((product.*?), 5\) \+", r"ts_min(\1, 5) +", entry["expression"])
        rounded = re.sub(
            r"(, )(\d+\.\d+)(\))", lambda found: f", {round(float(found[2]))})", text
        )
        # Its grammar has no number that begins with a point.
        program = to_python("f", rounded.replace(" .001", " 0.001"), as_function=True,
                            name_convertor=str.upper)
        space = {"np": np}
        exec(program, space)  # noqa: S102
        try:
            with np.errstate(all="ignore"):
                values = np.asarray(space["f"](context), dtype=np.float64)
        except Exception as error:  # noqa: BLE001
            print("py-alpha-lib", entry["id"], type(error).__name__, error)
            continue
        # Its neutralisation ranks what is left, from 0 to 1.
        reading = canonical(
            entry["expression"],
            round,
            indneutralize=lambda x, group: f"((cs_rank(group_neutralize({x}, {group}))"
            f" * cs_count({x}) - 1) / (cs_count({x}) - 1))",
        )
        plain = canonical(entry["expression"], int)
        reading = None if reading == plain else reading
        values = values.reshape(INSTRUMENTS, ROWS).T
        result[entry["id"]] = (values, reading, "foretune")
    return result


# ---------------------------------------------------------------- Qlib


def qlib(table):
    from qlib.config import C
    from qlib.data import ops
    from qlib.data.base import Expression, Feature
    from qlib.utils import parse_field

    def load(self, instrument, start, end, *rest):
        return self._load_internal(instrument, start, end, *rest)

    def column(self, instrument, start, end, *rest):
        return pd.Series(table[str(self)[1:]][:, instrument])

    # The expressions are Qlib's; only the reading of its data folder is not used,
    # which would round all columns to single precision.
    Expression.load = load
    Feature._load_internal = column
    ops.register_all_ops(C)
    space = {"Operators": ops.Operators, "Feature": Feature}
    result = {}
    for family in ("alpha158", "alpha360"):
        for entry in formulas(family):
            expression = eval(parse_field(entry["expression"]), space)  # noqa: S307
            lanes = []
            for lane in range(INSTRUMENTS):
                with np.errstate(all="ignore"):
                    values = expression.load(lane, None, None, "day")
                lanes.append(values.to_numpy(dtype=np.float64))
            result[entry["id"]] = (np.stack(lanes, axis=1), None, None)
    return result


# ---------------------------------------------------------------- fixture


def formulas(family):
    """The entries of a catalogue file, grids written out."""
    text = (CATALOGUE / f"{family}.toml").read_text(encoding="utf-8")
    for formula in tomllib.loads(text)["formula"]:
        for value in formula.get("for", {"d": [None]})["d"]:
            fill = lambda text: text.replace("{d}", str(value))
            yield {key: fill(formula[key]) for key in ("id", "expression")}


def stored(index, values, rows, samples):
    values = np.where(np.isfinite(values), values, np.nan)[rows.start : rows.stop].reshape(-1)
    chosen = [(17 * index + 131 * k) % len(values) for k in range(samples)]
    return base64.b64encode(values[chosen].astype("<f4").tobytes()).decode()


def main():
    full = market()
    peers = {
        "kunquant": (kunquant(full), LAST),
        "alpha101v": (alpha101v(holed(full)), LAST),
        "py-alpha-lib": (py_alpha_lib(full), LAST),
        "qlib": (qlib(holed(full)), FIRST),
    }
    fixture = {"generator": "python/reference/alpha_fixtures.py", "peers": []}
    for peer, (results, rows) in peers.items():
        entries = []
        for index, (name, (values, reading, notation)) in enumerate(results.items()):
            samples = SAMPLES[name.split(".")[0]]
            entry = {"id": name, "values": stored(index, values, rows, samples)}
            if reading is not None:
                entry |= {"reading": reading, "notation": notation}
            entries.append(entry)
        head = {"peer": peer, "rows": [rows.start, rows.stop]}
        fixture["peers"].append(head | {"formulas": entries})
    text = json.dumps(fixture).replace('{"id"', '\n{"id"').replace('{"peer"', '\n{"peer"')
    TARGET.write_text(text + "\n", encoding="utf-8")
    print({peer: len(results) for peer, (results, _) in peers.items()}, len(text), "bytes")


if __name__ == "__main__":
    main()
