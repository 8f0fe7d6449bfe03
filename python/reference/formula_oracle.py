"""A second evaluator of formulas, slow and plain, against which the crate's engine is
held: its own parser, whole columns as NumPy arrays (rows x instruments), two passes
over every window.

Written from the definitions in the crate's documentation, not from its code. Read
notations: the canonical one and that of Guotai Junan's report (upper case, `=` and
`&`). Values that are not known are NaN, and so is whatever needs them.
"""

import re

import numpy as np

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


def market(rows, instruments, seed=2017):
    """Bars in whole numbers of 1/128, so that the Rust test makes the same bits."""
    generator = Generator(seed)
    close = [8192 + 16 * i for i in range(instruments)]
    columns = {name: np.zeros((rows, instruments)) for name in ("open", "high", "low", "close", "volume")}
    for row in range(rows):
        for i in range(instruments):
            opened = close[i] + generator.below(5) - 2
            closed = max(opened + generator.below(161) - 80, 2000)
            high = max(opened, closed) + 1 + generator.below(60)
            low = min(opened, closed) - 1 - generator.below(60)
            volume = 100 + generator.below(900)
            if generator.below(20) == 0:
                volume += 4000
            close[i] = closed
            for name, value in (("open", opened), ("high", high), ("low", low), ("close", closed)):
                columns[name][row, i] = value / 128
            columns["volume"][row, i] = volume
    return columns


# ---------------------------------------------------------------- parser

TOKEN = re.compile(r"\s*(\d+\.?\d*|\.\d+|[A-Za-z_]\w*|&&|\|\||<=|>=|==|!=|[-+*/%^()<>=!?:,&|])")


class Parser:
    """Text to nested tuples: ("number", v), ("name", n), ("call", n, arguments)."""

    LEVELS = [
        {"||": "or", "|": "or", "OR": "or"},
        {"&&": "and", "&": "and", "AND": "and"},
        {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal"},
        {"+": "add", "-": "subtract"},
        {"*": "multiply", "/": "divide", "%": "modulo"},
    ]

    def __init__(self, text, gtja):
        self.tokens, at, text = [], 0, text.strip()
        while at < len(text):
            match = TOKEN.match(text, at)
            if not match:
                raise ValueError(f"unknown character at {at} of {text!r}")
            self.tokens.append(match[1])
            at = match.end()
        self.tokens.append(None)
        self.at, self.gtja, self.bound = 0, gtja, {}

    def take(self, token):
        if self.tokens[self.at] == token:
            self.at += 1
            return True
        return False

    def need(self, token):
        if not self.take(token):
            raise ValueError(f"expected {token!r}, found {self.tokens[self.at]!r}")

    def formula(self):
        body = self.expression()
        if self.take("where"):
            bound = []
            while True:
                name = self.tokens[self.at]
                self.at += 1
                self.need("=")
                bound.append((name, self.expression()))
                if not self.take(","):
                    break
            known = {}
            for name, part in bound:
                known[name] = replaced(part, known)
            body = replaced(body, known)
        if self.tokens[self.at] is not None:
            raise ValueError(f"left over: {self.tokens[self.at:]}")
        return body

    def expression(self):
        condition = self.binary(0)
        if self.take("?"):
            yes = self.expression()
            self.need(":")
            return ("call", "if_else", (condition, yes, self.expression()))
        return condition

    def binary(self, level):
        if level == len(self.LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while True:
            token = self.tokens[self.at]
            name = self.LEVELS[level].get(token)
            if level == 2 and token == "=" and self.gtja:
                name = "equal"
            if name is None:
                return left
            self.at += 1
            left = ("call", name, (left, self.binary(level + 1)))

    def unary(self):
        if self.take("-"):
            return ("call", "negate", (self.unary(),))
        if self.take("!"):
            return ("call", "not", (self.unary(),))
        base = self.primary()
        if self.take("^"):
            return ("call", "power", (base, self.unary()))
        return base

    def primary(self):
        token = self.tokens[self.at]
        self.at += 1
        if token == "(":
            inner = self.expression()
            self.need(")")
            return inner
        if token[0].isdigit() or token[0] == ".":
            return ("number", float(token))
        if self.take("("):
            arguments = []
            if not self.take(")"):
                arguments.append(self.expression())
                while self.take(","):
                    arguments.append(self.expression())
                self.need(")")
            return ("call", token, tuple(arguments))
        return ("name", token)


def replaced(tree, known):
    if tree[0] == "name":
        return known.get(tree[1], tree)
    if tree[0] == "call":
        return ("call", tree[1], tuple(replaced(part, known) for part in tree[2]))
    return tree


# ---------------------------------------------------------------- operators


def known(values):
    values = np.asarray(values, dtype=float)
    return np.where(np.isfinite(values), values, np.nan)


def windows(x, n):
    """The full windows of each row, oldest first; unknown where any value is."""
    n = int(n)
    result = np.full(x.shape + (n,), np.nan)
    if len(x) >= n:
        result[n - 1 :] = np.lib.stride_tricks.sliding_window_view(x, n, axis=0)
    result[np.isnan(result).any(axis=-1)] = np.nan
    return result


def over(statistic):
    return lambda x, n: known(statistic(windows(x, n)))


def centred(w):
    return w - w.mean(axis=-1, keepdims=True)


def variance(w, ddof):
    flat = w.max(axis=-1) == w.min(axis=-1)
    value = (centred(w) ** 2).sum(axis=-1) / (w.shape[-1] - ddof)
    return np.where(flat, 0.0 * value, value)


def correlation(x, y, n):
    missing = np.isnan(x) | np.isnan(y)
    wx = windows(np.where(missing, np.nan, x), n)
    wy = windows(np.where(missing, np.nan, y), n)
    vx, vy = variance(wx, 0), variance(wy, 0)
    value = (centred(wx) * centred(wy)).mean(axis=-1) / np.sqrt(vx * vy)
    return known(np.where((vx == 0) | (vy == 0), np.nan, value))


def covariance(x, y, n, ddof):
    return known((centred(windows(x, n)) * centred(windows(y, n))).sum(axis=-1) / (n - ddof))


def line(w):
    """Slope, value at the oldest bar, share of variance explained."""
    t = np.arange(w.shape[-1]) - (w.shape[-1] - 1) / 2
    slope = (centred(w) * t).sum(axis=-1) / (t**2).sum()
    explained = slope**2 * (t**2).sum() / (centred(w) ** 2).sum(axis=-1)
    return slope, w.mean(axis=-1) + slope * t[0], explained


def rank(w):
    newest = w[..., -1:]
    place = (w < newest).sum(axis=-1) + ((w == newest).sum(axis=-1) + 1) / 2
    return np.where(np.isnan(w).any(axis=-1), np.nan, place / w.shape[-1])


def place(w, largest):
    if not largest:
        w = -w
    best = np.argmax(np.where(np.isnan(w), -np.inf, w), axis=-1) + 1.0
    return np.where(np.isnan(w).any(axis=-1), np.nan, best)


def exponential(x, weight, seed):
    """Starts with the mean of the first `seed` values, anew after each gap."""
    result = np.full(x.shape, np.nan)
    for lane in range(x.shape[1]):
        past, average = [], np.nan
        for row, value in enumerate(x[:, lane]):
            if np.isnan(value):
                past, average = [], np.nan
                continue
            if np.isnan(average):
                past.append(value)
                if len(past) == seed:
                    average = np.mean(past)
            else:
                average = (1 - weight) * average + weight * value
            result[row, lane] = average
    return result


def folded(step):
    """A recursion of one lane: `step(state, *inputs)` gives state and result; the
    state is None at the start and after an unknown input."""

    def run(*inputs):
        result = np.full(inputs[0].shape, np.nan)
        for lane in range(inputs[0].shape[1]):
            state = None
            for row in range(len(inputs[0])):
                here = [x[row, lane] for x in inputs]
                if any(np.isnan(value) for value in here):
                    state = None
                    continue
                state, result[row, lane] = step(state, *here)
        return result

    return run


def biquad(x, b0, b1, b2, a1, a2):
    rest = 1 - a1 - a2
    gain = (b0 + b1 + b2) / rest if rest else 0.0

    def step(state, value):
        x1, x2, y1, y2 = state or (value, value, gain * value, gain * value)
        y = b0 * value + b1 * x1 + b2 * x2 + a1 * y1 + a2 * y2
        return (value, x1, y, y1), y

    return folded(step)(x)


def adaptive(x, weight):
    """Starts at the value before the first known weight."""
    result = np.full(x.shape, np.nan)
    for lane in range(x.shape[1]):
        average = np.nan
        for row in range(len(x)):
            value, w = x[row, lane], weight[row, lane]
            if np.isnan(value) or np.isnan(w):
                average = np.nan
                continue
            if np.isnan(average):
                before = x[row - 1, lane] if row else np.nan
                average = value if np.isnan(before) else before
            average += w * (value - average)
            result[row, lane] = average
    return result


def mcginley(x, n, factor):
    def step(average, value):
        if average is not None:
            value = average + (value - average) / (factor * n * (value / average) ** 4)
        return value, value

    return folded(step)(x)


def holt_winters(x, na, nb, nc):
    def step(state, value):
        f, v, a = state or (value, 0.0, 0.0)
        level = (1 - na) * (f + v + 0.5 * a) + na * value
        slope = (1 - nb) * (v + a) + nb * (level - f)
        curve = (1 - nc) * a + nc * (slope - v)
        return (level, slope, curve), level + slope + 0.5 * curve

    return folded(step)(x)


def trailing_stop(x, distance):
    def step(state, value, far):
        if state is None:
            stop = value - far
        else:
            before, stop = state
            if value > stop and before > stop:
                stop = max(stop, value - far)
            elif value < stop and before < stop:
                stop = min(stop, value + far)
            else:
                stop = value - far if value > stop else value + far
        return (value, stop), stop

    return folded(step)(x, distance)


def reversal_stop(x, distance):
    def step(state, value, far):
        side, best = state or (1, value)
        best = max(best, value) if side > 0 else min(best, value)
        if side * (value - (best - side * far)) < 0:
            side, best = -side, value
        return (side, best), best - side * far

    return folded(step)(x, distance)


def residual(y, a, b, c, n):
    """Unknown where the three series do not tell their slopes apart."""
    result = np.full(y.shape, np.nan)
    ws = [windows(x, n) for x in (y, a, b, c)]
    for row in range(len(y)):
        for lane in range(y.shape[1]):
            wy, *wx = (w[row, lane] for w in ws)
            if np.isnan(wy).any() or any(np.isnan(w).any() for w in wx):
                continue
            design = np.column_stack([np.ones(len(wy)), *wx])
            if np.linalg.matrix_rank(design) < 4:
                continue
            solution = np.linalg.lstsq(design, wy, rcond=None)[0]
            result[row, lane] = wy[-1] - design[-1] @ solution
    return result


def since(condition):
    result = np.full(condition.shape, np.nan)
    for row in range(len(condition)):
        before = result[row - 1] if row else np.nan
        result[row] = np.where(condition[row] > 0, 0.0, before + 1)
    return result


def when(condition, x):
    result = np.full(x.shape, np.nan)
    for row in range(len(x)):
        before = result[row - 1] if row else np.nan
        result[row] = np.where(condition[row] > 0, x[row], before)
    return result


def cumulated(function):
    """An unknown value adds nothing and shows nothing."""

    def run(x):
        filled = function(np.where(np.isnan(x), 0.0 if function is np.cumsum else 1.0, x), axis=0)
        return np.where(np.isnan(x), np.nan, filled)

    return run


def delayed(x, n):
    n = int(n)
    result = np.full(x.shape, np.nan)
    result[n:] = x[: len(x) - n]
    return result


def weighted(curve):
    return lambda x, n, *more: known(windows(x, n) @ (curve(int(n), *more) / curve(int(n), *more).sum()))


def bell(n, offset, sigma):
    return np.exp(-((np.arange(n) - offset * (n - 1)) ** 2) / (2 * (n / sigma) ** 2))


def fibonacci(n):
    numbers = [1.0, 1.0]
    while len(numbers) < n:
        numbers.append(numbers[-1] + numbers[-2])
    return np.array(numbers[:n])


def pascal(n):
    row = np.array([1.0])
    for _ in range(n - 1):
        row = np.convolve(row, [1.0, 1.0])
    return row


def cross_rank(x):
    less = (x[:, :, None] > x[:, None, :]).sum(axis=2)
    equal = (x[:, :, None] == x[:, None, :]).sum(axis=2)
    count = (~np.isnan(x)).sum(axis=1, keepdims=True)
    return np.where(np.isnan(x), np.nan, (less + (equal + 1) / 2) / count)


def across(function):
    return lambda x: np.where(np.isnan(x), np.nan, function(x, axis=1, keepdims=True))


def compared(test):
    return lambda x, y: np.where(np.isnan(x) | np.isnan(y), np.nan, test(x, y))


class Evaluator:
    """Evaluates trees over one market; equal parts once."""

    def __init__(self, columns, profile="paper"):
        self.columns = dict(columns)
        self.shape = columns["close"].shape
        self.talib = profile == "talib"
        ddof = 0 if self.talib else 1
        seed = (lambda n: int(n)) if self.talib else (lambda n: 1)
        self.parts = {}
        plain = {
            "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
            "power": lambda x, y: np.where(np.isnan(x) | np.isnan(y), np.nan, np.power(x, y)), "negate": np.negative, "abs": np.abs, "sign": np.sign,
            "log": np.log, "log2": np.log2, "log10": np.log10, "exp": np.exp, "sqrt": np.sqrt,
            "cos": np.cos, "sin": np.sin, "tanh": np.tanh, "min": np.minimum, "max": np.maximum,
            "less": compared(np.less), "less_equal": compared(np.less_equal),
            "greater": compared(np.greater), "greater_equal": compared(np.greater_equal),
            "equal": compared(np.equal), "not_equal": compared(np.not_equal),
            "and": compared(lambda x, y: (x != 0) & (y != 0)),
            "or": compared(lambda x, y: (x != 0) | (y != 0)),
            "not": lambda x: np.where(np.isnan(x), np.nan, x == 0),
            "if_else": lambda c, y, n: np.where(np.isnan(c), np.nan, np.where(c != 0, y, n)),
        }
        self.element = plain
        self.along = {
            "ts_delay": delayed,
            "ts_delta": lambda x, n: x - delayed(x, n),
            "ts_returns": lambda x, n=1: x / delayed(x, n) - 1,
            "ts_sum": over(lambda w: w.sum(axis=-1)),
            "ts_count": over(lambda w: w.sum(axis=-1)),
            "ts_mean": over(lambda w: w.mean(axis=-1)),
            "ts_product": over(lambda w: w.prod(axis=-1)),
            "ts_min": over(lambda w: w.min(axis=-1)),
            "ts_max": over(lambda w: w.max(axis=-1)),
            "ts_median": over(lambda w: np.median(w, axis=-1)),
            "ts_mad": over(lambda w: np.abs(centred(w)).mean(axis=-1)),
            "ts_rank": over(rank),
            "ts_argmax": over(lambda w: place(w, True)),
            "ts_argmin": over(lambda w: place(w, False)),
            "ts_var": over(lambda w: variance(w, ddof)),
            "ts_std": over(lambda w: np.sqrt(variance(w, ddof))),
            "ts_zscore": over(lambda w: centred(w)[..., -1] / np.sqrt(variance(w, ddof))),
            "ts_position": over(lambda w: (w[..., -1] - w.min(axis=-1)) / (w.max(axis=-1) - w.min(axis=-1))),
            "ts_corr": correlation,
            "ts_cov": lambda x, y, n: covariance(x, y, n, ddof),
            "ts_slope": over(lambda w: line(w)[0]),
            "ts_forecast": over(lambda w: line(w)[1] + line(w)[0] * (w.shape[-1] - 1)),
            "ts_resid": over(lambda w: w[..., -1] - line(w)[1] - line(w)[0] * (w.shape[-1] - 1)),
            "ts_rsquare": over(lambda w: line(w)[2]),
            "ts_decay_linear": weighted(lambda n: np.arange(1.0, n + 1)),
            "ts_ema": lambda x, n: exponential(x, 2 / (n + 1), seed(n)),
            "ts_wilder": lambda x, n: exponential(x, 1 / n, seed(n)),
            "ts_ewm": lambda x, w: exponential(x, w, 1),
            "ts_sma": lambda x, n, m: exponential(x, m / n, 1),
            "ts_cumsum": cumulated(np.cumsum),
            "ts_cumprod": cumulated(np.cumprod),
            "ts_bars": lambda x: np.where(np.isnan(x), np.nan, np.cumsum(~np.isnan(x), axis=0)),
            "ts_last": lambda x: when(~np.isnan(x), x),
            "ts_since": since,
            "ts_when": when,
            "ts_biquad": biquad,
            "ts_adaptive": adaptive,
            "ts_mcginley": mcginley,
            "ts_holt_winters": holt_winters,
            "ts_trailing_stop": trailing_stop,
            "ts_reversal_stop": reversal_stop,
            "ts_decaying_max": lambda x, decay: folded(lambda p, v: (max(v, decay * (p if p is not None else v)),) * 2)(x),
            "ts_alma": weighted(bell),
            "ts_fibonacci_mean": weighted(fibonacci),
            "ts_pascal_mean": weighted(pascal),
            "ts_sine_mean": weighted(lambda n: np.sin(np.arange(1, n + 1) * np.pi / (n + 1))),
            "ts_hann_mean": weighted(lambda n: 1 - np.cos(2 * np.pi * np.arange(1, n + 1) / (n + 1))),
            "ts_decay_exp_window": weighted(lambda n, factor: factor ** np.arange(n - 1.0, -1, -1)),
            "ts_regression_residual": residual,
            "cs_rank": cross_rank,
            "cs_mean": across(np.nanmean),
            "cs_sum": across(np.nansum),
        }
        derived = {
            "vwap": "(high + low + close) / 3",
            "amount": "vwap * volume",
            "returns": "close / ts_delay(close, 1) - 1",
            "market": "cs_mean(returns)",
        }
        for name, text in derived.items():
            self.columns[name] = self.canonical(text)

    def canonical(self, text):
        return self.whole(self.value(Parser(text, False).formula()))

    def whole(self, value):
        return known(np.broadcast_to(value, self.shape))

    def value(self, tree):
        if tree not in self.parts:
            with np.errstate(all="ignore"):
                self.parts[tree] = self.compute(tree)
        return self.parts[tree]

    def compute(self, tree):
        if tree[0] == "number":
            return tree[1]
        if tree[0] == "name":
            return self.columns[tree[1]]
        _, name, arguments = tree
        values = [self.value(part) for part in arguments]
        if name in self.element:
            result = self.element[name](*(np.asarray(v, dtype=float) for v in values))
            result = known(result)
            return float(result) if result.ndim == 0 else result
        values = [v if np.ndim(v) else float(v) for v in values]
        return known(self.along[name](*values))
