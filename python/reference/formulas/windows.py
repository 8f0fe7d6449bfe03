"""Plain helpers of the references: every window is looked at afresh."""

import numpy as np


def lag(x, bars=1):
    out = np.full(len(x), np.nan)
    out[bars:] = x[: len(x) - bars]
    return out


def known(x):
    return np.where(np.isfinite(x), x, np.nan)


def rolling(window, statistic, *series):
    """`statistic` of the last `window` values of each series where all are known."""
    series = [np.asarray(x, dtype=float) for x in series]
    out = np.full(len(series[0]), np.nan)
    for end in range(window, len(out) + 1):
        views = [x[end - window : end] for x in series]
        if not any(np.isnan(view).any() for view in views):
            out[end - 1] = statistic(*views)
    return known(out)


def total(window, x):
    return rolling(window, np.sum, x)


def mean(window, x):
    return rolling(window, np.mean, x)


def top(window, x):
    return rolling(window, np.max, x)


def bottom(window, x):
    return rolling(window, np.min, x)


def deviation(window, x):
    return rolling(window, lambda w: np.std(w, ddof=1), x)


def variance(window, x):
    return rolling(window, lambda w: np.var(w, ddof=1), x)


def covariance(window, x, y):
    return rolling(window, lambda a, b: np.cov(a, b)[0, 1], x, y)


def correlation(window, x, y):
    def one(a, b):
        a, b = a - a.mean(), b - b.mean()
        scale = np.sqrt((a * a).sum() * (b * b).sum())
        return (a * b).sum() / scale if scale > 0 else np.nan

    return rolling(window, one, x, y)


def line(x, y):
    """Slope and intercept of y on x by least squares."""
    design = np.column_stack([x - x.mean(), np.ones(len(x))])
    slope, middle = np.linalg.lstsq(design, y, rcond=None)[0]
    return slope, middle - slope * x.mean()


def slope(window, y, x):
    """Of y on x; the columns are scaled so that tiny units do no harm."""

    def one(b, a):
        spread = a.std()
        return line(a / spread, b)[0] / spread if spread > 0 else np.nan

    return rolling(window, one, y, x)


def residual(window, y, x):
    def one(b, a):
        spread = a.std()
        if spread == 0:
            return np.nan
        steep, start = line(a / spread, b)
        return b[-1] - start - steep * a[-1] / spread

    return rolling(window, one, y, x)


def ewm(x, weight):
    """Recursive average that starts anew after an unknown value."""
    out, state = np.full(len(x), np.nan), None
    for row, value in enumerate(x):
        if np.isnan(value):
            state = None
            continue
        state = value if state is None else (1 - weight) * state + weight * value
        out[row] = state
    return out


def rank(window, x):
    """Mean rank of the newest value over the window's length."""
    return rolling(window, lambda w: ((w < w[-1]).sum() + ((w == w[-1]).sum() + 1) / 2) / len(w), x)


def zscore(window, x):
    return known((x - mean(window, x)) / deviation(window, x))


def truth(condition, *operands):
    """1, 0, or unknown where an operand is."""
    unknown = np.zeros(len(condition), dtype=bool)
    for operand in operands:
        unknown |= np.isnan(operand)
    return np.where(unknown, np.nan, condition.astype(float))


def since(condition):
    """Bars since the condition (1) held."""
    out, count = np.full(len(condition), np.nan), np.nan
    for row, holds in enumerate(condition):
        count = 0.0 if holds == 1 else count + 1
        out[row] = count
    return out


def when(condition, x):
    """x as it was when the condition (1) last held."""
    out, state = np.full(len(x), np.nan), np.nan
    for row, holds in enumerate(condition):
        state = x[row] if holds == 1 else state
        out[row] = state
    return out


def fold_since(condition, x, fold):
    """Fold over the bars from the last on which the condition held."""
    out, start = np.full(len(x), np.nan), None
    for row, holds in enumerate(condition):
        start = row if holds == 1 else start
        if start is not None and not np.isnan(x[row]):
            out[row] = fold(x[start : row + 1][~np.isnan(x[start : row + 1])])
    return out


def seasonal(x, season, window):
    """Mean of the last `window` known values of the same season."""
    out = np.full(len(x), np.nan)
    for row in range(len(x)):
        if np.isnan(x[row]) or np.isnan(season[row]):
            continue
        same = [x[k] for k in range(row + 1) if season[k] == season[row] and not np.isnan(x[k])]
        if len(same) >= window:
            out[row] = np.mean(same[-window:])
    return out


def across(table, function):
    """Applies a function of a column to every lane of a table."""
    return np.column_stack([function(table[:, lane]) for lane in range(table.shape[1])])


def row_mean(table):
    """Mean over lanes of the known values."""
    with np.errstate(all="ignore"):
        return np.nansum(table, axis=1) / (~np.isnan(table)).sum(axis=1)


def row_rank(table, lane):
    """Mean rank of a lane over the number of known values."""
    x = table[:, [lane]]
    n = (~np.isnan(table)).sum(axis=1)
    ranks = (table < x).sum(axis=1) + ((table == x).sum(axis=1) + 1) / 2
    with np.errstate(all="ignore"):
        return np.where(np.isnan(x[:, 0]), np.nan, ranks / n)
