"""Writes crates/formula/tests/fixtures/operators.json: what every operator of the
formula language gives on awkward data, computed the slow and plain way.

Every windowed operator is computed from scratch for each bar from the values of
its window (two passes, extended precision), so that nothing is shared with the
engine's running sums. The data holds holes, constant stretches, ties, zeros, an
outlier, a late start and values far from zero with a small spread.

Run with the versions of requirements-alpha.txt:

    python python/reference/operators_fixtures.py            # writes the fixture
    python python/reference/operators_fixtures.py --show 17  # prints case 17 in full

The fixture stores, for each case, which of its values are known (all of them, one
bit each) and a sample of the values themselves. The order of the cells of a case
is row after row; sample k is cell (17 + 31 * case + 97 * k) modulo the cells.
"""

import base64
import json
import math
import sys
from pathlib import Path

import numpy as np

ROWS = 72
LANES = 8
SAMPLES = 10
WINDOWS = (1, 2, 5, 20)
NAN = math.nan
LONG = np.longdouble
TARGET = Path(__file__).parents[2] / "crates/formula/tests/fixtures/operators.json"


# ---------------------------------------------------------------- data


def series(seed, holes, gap, constant):
    """One lane for each kind of trouble."""
    random = np.random.default_rng(seed)
    lanes = np.empty((ROWS, LANES))
    walk = random.normal(0, 0.5, (ROWS, LANES)).cumsum(axis=0)
    lanes[:, 0] = 100 + walk[:, 0]
    lanes[:, 1] = np.where(random.random(ROWS) < holes, NAN, 10 + walk[:, 1])
    lanes[:, 2] = np.repeat([0.1, 0.3, 7.7], ROWS // 3)
    lanes[constant:, 2] = random.normal(0, 1, ROWS - constant)
    lanes[:, 3] = random.integers(1, 4, ROWS)
    lanes[:, 4] = 1e8 + random.normal(0, 1, ROWS)
    lanes[:, 5] = 5 + walk[:, 5]
    lanes[:15, 5] = NAN
    lanes[gap, 5] = NAN
    lanes[:, 6] = random.normal(0, 1, ROWS)
    lanes[random.integers(0, ROWS, 12), 6] = 0.0
    lanes[30, 6] = 1e6
    lanes[:, 7] = 1.1 + 1e-6 * walk[:, 7]
    return lanes


X = series(1, 0.12, slice(40, 51), 50)
Y = 0.4 * X + series(2, 0.05, slice(44, 47), 42)
Y[:, 2] = series(3, 0.0, slice(0, 0), 30)[:, 2]
CONDITION = np.where(np.isnan(Y), NAN, (series(4, 0.1, slice(60, 62), 20) > X) * 1.0)
GROUP = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 2.0, 1.0, NAN])
SPECIAL = [NAN, 0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-9, 1e200, -1e200]
DATA = {"x": X, "y": Y, "condition": CONDITION}


# ---------------------------------------------------------------- helpers


def finite(value):
    value = float(value)
    return value if math.isfinite(value) else NAN


def windowed(inputs, window, function, lanes=LANES):
    """Applies `function` to the last `window` values (fewer at the beginning)."""
    output = np.full((ROWS, lanes), NAN)
    for lane in range(lanes):
        for row in range(ROWS):
            first = max(0, row - window + 1)
            slices = [data[first : row + 1, lane] for data in inputs]
            with np.errstate(all="ignore"):
                output[row, lane] = finite(function(*slices))
    return output


def of_known(function, window, partial, least=1):
    """The values of a window that are known: all of them, or (partial) what there is."""

    def wrapped(*slices):
        known = ~np.isnan(np.sum(slices, axis=0))
        if not partial and (len(known) < window or not known.all()):
            return NAN
        if known.sum() < least:
            return NAN
        return function(*[values[known].astype(LONG) for values in slices])

    return wrapped


def flat(values):
    return bool((values == values[0]).all())


def centred(values):
    return values * 0 if flat(values) else values - values.mean()


def spread(values):
    return (centred(values) ** 2).sum()


def common(x, y):
    return (centred(x) * centred(y)).sum()


def scaled(rank, count, scale):
    if scale == "ordinal":
        return rank
    if scale == "fraction":
        return rank / count
    return (rank - 1) / (count - 1) if count > 1 else 0.5


def rank_of(value, values):
    return (values < value).sum() + ((values == value).sum() + 1) / 2


def ratio(above, below):
    return above / below if below != 0 else NAN


# ---------------------------------------------------------------- windows


def correlation(rule):
    def function(x, y):
        if rule == "tolerance":
            if len(x) < 2:
                return NAN
            smallest = min(spread(x), spread(y)) / (len(x) - 1)
            if math.sqrt(smallest) <= 2e-5:
                return NAN
        below = np.sqrt(spread(x) * spread(y))
        if below == 0:
            return 0.0 if rule == "zero" else NAN
        return common(x, y) / below

    return function


def two(name):
    def slope(x, y):
        return ratio(common(x, y), spread(y))

    def intercept(x, y):
        return x.mean() - slope(x, y) * y.mean()

    return {"ts_beta": slope, "ts_alpha": intercept}[name]


def residual_of_two(window, partial):
    """The newest bar's residual: unknown where that bar is."""

    def function(x, y):
        known = ~np.isnan(x + y)
        if not known[-1] or (not partial and (len(x) < window or not known.all())):
            return NAN
        newest_x, newest_y = x[-1].astype(LONG), y[-1].astype(LONG)
        x, y = x[known].astype(LONG), y[known].astype(LONG)
        slope = ratio(common(x, y), spread(y))
        return newest_x - (x.mean() + slope * (newest_y - y.mean()))

    return function


def line(which, window, partial, tolerance):
    """A regression on the bars' places; partial windows use the known bars."""

    def function(x):
        known = ~np.isnan(x)
        if not partial and (len(x) < window or not known.all()):
            return NAN
        if known.sum() < 1:
            return NAN
        if window == 1 and which in ("ts_intercept", "ts_forecast", "ts_resid"):
            # A single bar has no direction but lies on its own line.
            return 0 if which == "ts_resid" else x[-1]
        places = np.arange(len(x), dtype=LONG)
        values, times = x[known].astype(LONG), places[known]
        slope = ratio(common(values, times), spread(times))
        at = lambda place: values.mean() + slope * (place - times.mean())
        if which == "ts_slope":
            return slope
        if which == "ts_intercept":
            return at(times[0])
        if which == "ts_forecast":
            return at(places[-1])
        if which == "ts_resid":
            return x[-1].astype(LONG) - at(places[-1])
        if tolerance and len(values) > 1 and math.sqrt(spread(values) / (len(values) - 1)) <= 2e-5:
            return NAN
        return ratio(common(values, times) ** 2, spread(values) * spread(times))

    return function


def place(largest, window, partial, position, newest):
    def function(x):
        known = ~np.isnan(x)
        if not known.any() or (not partial and (len(x) < window or not known.all())):
            return NAN
        best = np.nanmax(x) if largest else np.nanmin(x)
        where = np.flatnonzero(x == best)
        found = where[-1] if newest else where[0]
        oldest = np.flatnonzero(known)[0]
        return found - oldest + 1 if position == "from_oldest" else len(x) - 1 - found

    return function


def time_rank(window, partial, scale, least=False):
    def function(x):
        known = x[~np.isnan(x)]
        if np.isnan(x[-1]) or (not partial and len(known) < window):
            return NAN
        rank = (known < x[-1]).sum() + 1 if least else rank_of(x[-1], known)
        return scaled(rank, len(known), scale)

    return function


def moments(which):
    def function(x):
        n = len(x)
        if flat(x):
            return NAN
        m2, m3, m4 = ((centred(x) ** power).mean() for power in (2, 3, 4))
        if which == "ts_skew":
            return NAN if n < 3 else np.sqrt(LONG(n * (n - 1))) / (n - 2) * m3 / m2**1.5
        if n < 4:
            return NAN
        return (n - 1) / LONG((n - 2) * (n - 3)) * ((n + 1) * m4 / m2**2 - 3 * (n - 1))

    return function


def quantile(share):
    def function(x):
        ordered = np.sort(x)
        at = share * (len(x) - 1)
        below = math.floor(at)
        above = min(below + 1, len(x) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (at - below)

    return function


# ---------------------------------------------------------------- recursions


def by_lane(function, *inputs):
    output = np.full((ROWS, LANES), NAN)
    for lane in range(LANES):
        output[:, lane] = [
            finite(value) for value in function(*[data[:, lane] for data in inputs])
        ]
    return output


def exponential(weight, seed):
    """Each stretch without holes on its own, as a weighted sum of all its values."""

    def function(x):
        output, stretch = [], []
        for value in x:
            stretch = [] if math.isnan(value) else stretch + [LONG(value)]
            if len(stretch) < seed:
                output.append(NAN)
                continue
            average = sum(stretch[:seed], LONG(0)) / seed
            later = stretch[seed:]
            kept = (1 - LONG(weight)) ** len(later) * average
            for age, old in enumerate(reversed(later)):
                kept += LONG(weight) * (1 - LONG(weight)) ** age * old
            output.append(kept)
        return output

    return function


def cumulative(reduce):
    def function(x):
        output = []
        for row, value in enumerate(x):
            known = x[: row + 1][~np.isnan(x[: row + 1])]
            output.append(NAN if math.isnan(value) else reduce(known.astype(LONG)))
        return output

    return function


def last_known(x):
    output = []
    for row in range(ROWS):
        known = x[: row + 1][~np.isnan(x[: row + 1])]
        output.append(known[-1] if len(known) else NAN)
    return output


def held(condition, row):
    return np.flatnonzero(condition[: row + 1] == 1.0)


def since(condition):
    return [
        row - held(condition, row)[-1] if len(held(condition, row)) else NAN for row in range(ROWS)
    ]


def when(condition, x):
    return [
        x[held(condition, row)[-1]] if len(held(condition, row)) else NAN for row in range(ROWS)
    ]


# ---------------------------------------------------------------- cross-section


def across(function, instruments, group=None):
    """`function(value, members)` for each known value of the first `instruments`."""
    output = np.full((ROWS, LANES), NAN)
    for row in range(ROWS):
        for lane in range(instruments):
            value = X[row, lane]
            if np.isnan(value) or (group is not None and np.isnan(group[lane])):
                continue
            members = X[row, :instruments]
            if group is not None:
                members = members[group[:instruments] == group[lane]]
            members = members[~np.isnan(members)].astype(LONG)
            with np.errstate(all="ignore"):
                output[row, lane] = finite(function(LONG(value), members))
    return output


def deviation(ddof):
    return lambda _, v: np.sqrt(spread(v) / (len(v) - ddof)) if len(v) > ddof else NAN


def standard(ddof):
    def function(x, v):
        below = deviation(ddof)(x, v)
        return ratio(x - v.mean(), below)

    return function


ACROSS = {
    "mean": lambda x, v: v.mean(),
    "sum": lambda x, v: v.sum(),
    "count": lambda x, v: len(v),
    "min": lambda x, v: v.min(),
    "max": lambda x, v: v.max(),
    "demean": lambda x, v: LONG(0) if flat(v) else x - v.mean(),
}


# ---------------------------------------------------------------- single values


def guarded(function):
    def wrapped(*values):
        if any(math.isnan(value) for value in values):
            return NAN
        try:
            value = function(*values)
        except (ValueError, ZeroDivisionError, OverflowError):
            return NAN
        return NAN if isinstance(value, complex) else finite(value)

    return wrapped


def truth(function):
    return guarded(lambda *values: 1.0 if function(*values) else 0.0)


def power(x, y):
    """Unknown where either is, though IEEE 754 knows 1 to any power and any power of 0."""
    if math.isnan(x) or math.isnan(y):
        return NAN
    if y == 0 or x == 1:
        return 1.0
    return guarded(lambda x, y: x**y)(x, y)


def signed_power(x, y):
    if x == 0 or math.isnan(x):
        return NAN if math.isnan(x) else power(x, y)
    return finite(math.copysign(1.0, x) * power(abs(x), y))


COMPARISONS = {
    "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y,
    "greater": lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y,
    "equal": lambda x, y: x == y,
    "not_equal": lambda x, y: x != y,
}

BINARY = {
    "add": guarded(lambda x, y: x + y),
    "subtract": guarded(lambda x, y: x - y),
    "multiply": guarded(lambda x, y: x * y),
    "divide": guarded(lambda x, y: x / y),
    "power": power,
    "signed_power": signed_power,
    "modulo": guarded(lambda x, y: x - y * math.floor(x / y)),
    "min": guarded(min),
    "max": guarded(max),
    "atan2": guarded(math.atan2),
    "fill": lambda x, y: y if math.isnan(x) else x,
    "and": truth(lambda x, y: x != 0 and y != 0),
    "or": truth(lambda x, y: x != 0 or y != 0),
}


UNARY = {
    "negate": lambda x: -x,
    "abs": abs,
    "sign": lambda x: float(np.sign(x)),
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "log1p": math.log1p,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "cbrt": math.cbrt,
    "floor": lambda x: float(np.floor(x)),
    "ceil": lambda x: float(np.ceil(x)),
    "round": lambda x: float(np.rint(x)),
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "tanh": math.tanh,
    "atanh": math.atanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x > -700 else math.exp(x),
}


# ---------------------------------------------------------------- cases

CASES = []


def case(operator, inputs, constants, output, instruments=LANES, profile="paper", **conventions):
    CASES.append(
        {
            "operator": operator,
            "inputs": inputs,
            "constants": constants,
            "instruments": instruments,
            "profile": profile,
            "conventions": conventions,
            "output": np.asarray(output, dtype=np.float64),
        }
    )


def warm_ups():
    return (("full", False), ("partial", True))


def simple_windows():
    folds = {
        "ts_sum": np.sum,
        "ts_mean": lambda v: v[0] if flat(v) else np.mean(v),
        "ts_product": np.prod,
        "ts_min": np.min,
        "ts_max": np.max,
        "ts_median": quantile(0.5),
    }
    for window in WINDOWS:
        for name, partial in warm_ups():
            for operator, fold in folds.items():
                output = windowed([X], window, of_known(fold, window, partial))
                case(operator, ["x"], [window], output, warm_up=name)
            output = windowed([CONDITION], window, of_known(np.sum, window, partial))
            case("ts_count", ["condition"], [window], output, warm_up=name)
            for share in (0.2, 0.9):
                output = windowed([X], window, of_known(quantile(share), window, partial))
                case("ts_quantile", ["x"], [window, share], output, warm_up=name)
            for ddof in (0, 1):
                variance = lambda v: ratio(spread(v), len(v) - ddof)
                root = lambda v: np.sqrt(variance(v))
                covariance = lambda x, y: ratio(common(x, y), len(x) - ddof)
                for operator, function in (("ts_var", variance), ("ts_std", root)):
                    output = windowed([X], window, of_known(function, window, partial))
                    case(operator, ["x"], [window], output, warm_up=name, ddof=ddof)
                output = windowed([X, Y], window, of_known(covariance, window, partial))
                case("ts_cov", ["x", "y"], [window], output, warm_up=name, ddof=ddof)


def windows_of_two():
    for window in WINDOWS:
        for name, partial in warm_ups():
            for operator in ("ts_beta", "ts_alpha"):
                output = windowed([X, Y], window, of_known(two(operator), window, partial))
                case(operator, ["x", "y"], [window], output, warm_up=name)
            output = windowed([X, Y], window, residual_of_two(window, partial))
            case("ts_beta_resid", ["x", "y"], [window], output, warm_up=name)
            for rule in ("unknown", "zero", "tolerance"):
                output = windowed([X, Y], window, of_known(correlation(rule), window, partial))
                case("ts_corr", ["x", "y"], [window], output, warm_up=name, flat=rule)


def places_and_ranks():
    for window in WINDOWS:
        for name, partial in warm_ups():
            for position in ("from_oldest", "bars_ago"):
                for operator, largest in (("ts_argmax", True), ("ts_argmin", False)):
                    function = place(largest, window, partial, position, newest=False)
                    output = windowed([X], window, function)
                    case(operator, ["x"], [window], output, warm_up=name, position=position)
            for scale in ("fraction", "unit", "ordinal"):
                output = windowed([X], window, time_rank(window, partial, scale))
                case("ts_rank", ["x"], [window], output, warm_up=name, time_rank=scale)
            output = windowed([X], window, time_rank(window, partial, "ordinal", least=True))
            conventions = {"warm_up": name, "time_rank": "ordinal", "time_ties": "least"}
            case("ts_rank", ["x"], [window], output, **conventions)
        for operator, largest in (("ts_argmax", True), ("ts_argmin", False)):
            function = place(largest, window, False, "from_oldest", newest=True)
            output = windowed([X], window, function)
            case(operator, ["x"], [window], output, profile="talib")


def lines():
    for window in WINDOWS:
        for name, partial in warm_ups():
            for operator in ("ts_slope", "ts_intercept", "ts_forecast", "ts_resid"):
                output = windowed([X], window, line(operator, window, partial, False))
                case(operator, ["x"], [window], output, warm_up=name)
            for rule in ("unknown", "tolerance"):
                function = line("ts_rsquare", window, partial, rule == "tolerance")
                output = windowed([X], window, function)
                case("ts_rsquare", ["x"], [window], output, warm_up=name, flat=rule)
        weighted = lambda v: (v * np.arange(1, window + 1)).sum() / (window * (window + 1) / 2)
        absolute = lambda v: np.abs(centred(v)).mean()
        for operator, function in (
            ("ts_decay_linear", weighted),
            ("ts_mad", absolute),
            ("ts_skew", moments("ts_skew")),
            ("ts_kurt", moments("ts_kurt")),
        ):
            case(operator, ["x"], [window], windowed([X], window, of_known(function, window, False)))


def lags():
    for window in WINDOWS:
        before = np.vstack([np.full((window, LANES), NAN), X[:-window]])
        with np.errstate(all="ignore"):
            relative = X / before - 1
        case("ts_delay", ["x"], [window], before)
        case("ts_delta", ["x"], [window], X - before)
        case("ts_returns", ["x"], [window], np.where(np.isfinite(relative), relative, NAN))


def recursions():
    for window in WINDOWS:
        for seed, count in (("first", 1), ("mean", window)):
            for operator, weight in (("ts_ema", 2 / (window + 1)), ("ts_wilder", 1 / window)):
                output = by_lane(exponential(weight, count), X)
                case(operator, ["x"], [window], output, seed=seed)
    case("ts_ewm", ["x"], [0.3], by_lane(exponential(0.3, 1), X))
    case("ts_sma", ["x"], [7, 2], by_lane(exponential(2 / 7, 1), X))
    for operator, reduce in (
        ("ts_cumsum", np.sum),
        ("ts_cumprod", np.prod),
        ("ts_cummax", np.max),
        ("ts_cummin", np.min),
        ("ts_bars", len),
    ):
        case(operator, ["x"], [], by_lane(cumulative(reduce), X))
    case("ts_last", ["x"], [], by_lane(last_known, X))
    case("ts_since", ["condition"], [], by_lane(since, CONDITION))
    case("ts_when", ["condition", "x"], [], by_lane(when, CONDITION, X))


def cross_sections():
    for instruments in (LANES, 5, 1):
        for prefix, inputs, group in (("cs", ["x"], None), ("group", ["x", "group"], GROUP)):
            for name, function in ACROSS.items():
                full = "group_neutralize" if (prefix, name) == ("group", "demean") else f"{prefix}_{name}"
                case(full, inputs, [], across(function, instruments, group), instruments)
            for ddof in (0, 1):
                for name, function in (("std", deviation(ddof)), ("zscore", standard(ddof))):
                    output = across(function, instruments, group)
                    case(f"{prefix}_{name}", inputs, [], output, instruments, ddof=ddof)
            for scale in ("fraction", "unit", "ordinal"):
                rank = lambda x, v: scaled(rank_of(x, v), len(v), scale)
                output = across(rank, instruments, group)
                case(f"{prefix}_rank", inputs, [], output, instruments, cross_rank=scale)
        for total in (1.0, 20000.0):
            scale = lambda x, v: ratio(x * LONG(total), np.abs(v).sum())
            case("cs_scale", ["x"], [total], across(scale, instruments), instruments)


def single_values():
    pairs = [(x, y) for x in SPECIAL for y in SPECIAL]
    pad = -len(pairs) % LANES
    pairs += [(NAN, NAN)] * pad
    grid = lambda values: np.array(values, dtype=np.float64).reshape(-1, LANES)
    DATA["left"], DATA["right"] = (grid([pair[side] for pair in pairs]) for side in (0, 1))
    for operator, function in BINARY.items():
        case(operator, ["left", "right"], [], grid([function(x, y) for x, y in pairs]))
    for operator, holds in COMPARISONS.items():
        for rule in ("unknown", "false"):
            ieee = lambda x, y: 1.0 if holds(x, y) else 0.0
            function = truth(holds) if rule == "unknown" else ieee
            output = grid([function(x, y) for x, y in pairs])
            case(operator, ["left", "right"], [], output, comparison=rule)
    for operator, function in UNARY.items():
        case(operator, ["left"], [], grid([guarded(function)(x) for x, _ in pairs]))
    case("is_unknown", ["left"], [], grid([float(math.isnan(x)) for x, _ in pairs]))
    case("not", ["left"], [], grid([truth(lambda x: x == 0)(x) for x, _ in pairs]))
    choose = np.where(np.isnan(CONDITION), NAN, np.where(CONDITION != 0, X, Y))
    case("if_else", ["condition", "x", "y"], [], choose)


# ---------------------------------------------------------------- fixture


def packed(values):
    return base64.b64encode(np.asarray(values, dtype="<f8").tobytes()).decode()


def stored(index, one):
    output = one["output"].reshape(-1)
    chosen = [(17 + 31 * index + 97 * k) % len(output) for k in range(min(SAMPLES, len(output)))]
    known = np.packbits(~np.isnan(output), bitorder="little")
    entry = {key: value for key, value in one.items() if key != "output"}
    entry["known"] = base64.b64encode(known.tobytes()).decode()
    entry["sample"] = packed(output[chosen])
    return entry


def main():
    for build in (
        simple_windows,
        windows_of_two,
        places_and_ranks,
        lines,
        lags,
        recursions,
        cross_sections,
        single_values,
    ):
        build()
    if "--show" in sys.argv:
        one = CASES[int(sys.argv[-1])]
        print({key: value for key, value in one.items() if key != "output"})
        with np.printoptions(threshold=10**6, linewidth=200, precision=17):
            print(one["output"])
        return
    fixture = {
        "generator": "python/reference/operators_fixtures.py",
        "lanes": LANES,
        "data": {name: packed(values) for name, values in DATA.items()} | {"group": packed(GROUP)},
        "cases": [stored(index, one) for index, one in enumerate(CASES)],
    }
    with open(TARGET, "w", encoding="utf-8") as file:
        # One line a case keeps differences readable.
        head, cases = json.dumps(fixture).split('"cases": [', 1)
        file.write(head + '"cases": [\n' + cases.replace('}, {"operator"', '},\n{"operator"') + "\n")
    print(len(CASES), "cases,", TARGET.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
