"""How the ids of the catalogue's `talib` formulas map to calls of TA-Lib.

`talib.STOCHF_k_9` is TA-Lib's STOCHF with its first period set to 9, output
`fastk`; whatever the id does not say has TA-Lib's default.
"""

import itertools
import tomllib
from pathlib import Path

import numpy as np
import talib
from talib import abstract

CATALOGUE = Path(__file__).parents[2] / "crates/formula/catalogue"

# Short names of outputs, in TA-Lib's order; an empty one is not in the id.
OUTPUTS = {
    "ACCBANDS": ["upper", "middle", "lower"],
    "AROON": ["down", "up"],
    "BBANDS": ["upper", "middle", "lower"],
    "DONCHIAN": ["upper", "middle", "lower"],
    "ERI": ["bull", "bear"],
    "FRACTAL": ["high", "low"],
    "HA": ["open", "high", "low", "close"],
    "HT_PHASOR": ["inphase", "quadrature"],
    "HT_SINE": ["", "lead"],
    "KC": ["upper", "middle", "lower"],
    "KDJ": ["k", "d", "j"],
    "MACD": ["", "signal", "hist"],
    "MACDEXT": ["", "signal", "hist"],
    "MACDFIX": ["", "signal", "hist"],
    "MAMA": ["", "fama"],
    "MINMAX": ["min", "max"],
    "MINMAXINDEX": ["min", "max"],
    "SMI": ["", "signal"],
    "STOCH": ["k", "d"],
    "STOCHF": ["k", "d"],
    "STOCHRSI": ["k", "d"],
    "SUPERTREND": ["", "trend"],
    "VORTEX": ["plus", "minus"],
}

# Inputs other than those that TA-Lib names.
INPUTS = {
    name: ("returns",)
    for name in "ACOS ASIN ATAN COS COSH CUMSUM EXP SIN SINH TAN TANH".split()
} | {
    "MAVP": ("close", "cycle"),
    "MULT": ("close", "volume"),
}

# The parameter that a number in the id sets, where it is not the first.
PARAMETER = {"PERCENTILE": "percentile"}


# Kinds of average that an id may name, for all averages of the function.
AVERAGES = ("SMA", "EMA", "WMA", "RMA")


def ids(family):
    """Returns the ids of a family, grids expanded, with further names, wherever in
    the catalogue they stand."""
    found = []
    for path in sorted(CATALOGUE.glob("*.toml")):
        with open(path, "rb") as file:
            formulas = tomllib.load(file)["formula"]
        for formula in formulas:
            grid = formula.get("for", {})
            for values in itertools.product(*grid.values()):
                for text in [formula["id"], *formula.get("also", [])]:
                    for key, value in zip(grid, values):
                        text = text.replace("{" + key + "}", str(value))
                    if text.startswith(family + "."):
                        found.append(text)
    return found


def split(identifier):
    """Returns TA-Lib's function, its set parameters and the output's index."""
    words = identifier.split(".", 1)[1].split("_")
    known = set(talib.get_functions())
    length = max(n for n in range(1, len(words) + 1) if "_".join(words[:n]) in known)
    function, rest = "_".join(words[:length]), words[length:]
    defaults = abstract.Function(function).info["parameters"]
    names = [name for name in defaults if not name.endswith("matype")]
    if function in PARAMETER:
        names = [PARAMETER[function]]
    numbers = [int(word) for word in rest if word.isdigit()]
    chosen = {n: type(defaults[n])(v) for n, v in zip(names, numbers)}
    kinds = [word for word in rest if word in AVERAGES]
    for kind in kinds:
        averages = [name for name in defaults if name.endswith("matype")]
        chosen |= {name: getattr(talib.MA_Type, kind) for name in averages}
    output = "_".join(word for word in rest if not word.isdigit() and word not in kinds)
    return function, chosen, OUTPUTS.get(function, [""]).index(output)


def inputs(function, bars):
    """Returns the input arrays of a function in TA-Lib's order."""
    if function in INPUTS:
        return [bars[name] for name in INPUTS[function]]
    arrays = []
    for names in abstract.Function(function).info["input_names"].values():
        names = [names] if isinstance(names, str) else names
        arrays += [bars[name] for name in names]
    return arrays


def columns(bars):
    """Adds the derived columns that some functions are applied to."""
    close = bars["close"]
    returns = np.full(len(close), np.nan)
    returns[1:] = close[1:] / close[:-1] - 1
    return bars | {"returns": returns, "cycle": talib.HT_DCPERIOD(close)}


def compute(identifier, bars):
    """Returns the row of TA-Lib's first value and the whole output."""
    function, parameters, output = split(identifier)
    arrays = inputs(function, bars)
    begin = max(int(np.argmax(~np.isnan(array))) for array in arrays)
    abstract_function = abstract.Function(function)
    abstract_function.parameters = parameters
    begin += abstract_function.lookback
    values = getattr(talib, function)(*arrays, **parameters)
    values = values[output] if isinstance(values, tuple) else values
    return begin, values
