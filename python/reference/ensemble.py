"""Reference values for the ensemble: scikit-learn's isotonic regression, logistic regression and
histogram gradient boosting.

Versions: see requirements-ensemble.txt beside this file. Run from anywhere:

    python -m venv env && env/bin/pip install -r requirements-ensemble.txt
    env/bin/python ensemble.py

It rewrites crates/stats/tests/fixtures/isotonic.json and
crates/dataset/tests/fixtures/ensemble.json.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

ROOT = Path(__file__).parents[2]


def isotonic():
    """Cases with ties, weights of 0, level stretches and points outside."""
    cases = []
    for seed, n in enumerate([1, 2, 5, 40, 200]):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=n).round(1)
        y = (0.4 * x + rng.normal(size=n)).round(3)
        w = rng.integers(0, 4, size=n).astype(float)
        w[0] = 1.0
        fit = IsotonicRegression(out_of_bounds="clip").fit(x, y, sample_weight=w)
        at = np.concatenate([x, np.linspace(-4, 4, 23).round(3)])
        cases.append(
            {
                "x": x.tolist(),
                "y": y.tolist(),
                "weights": w.tolist(),
                "at": at.tolist(),
                "values": fit.predict(at).tolist(),
                "points_x": fit.X_thresholds_.tolist(),
                "points_y": fit.y_thresholds_.tolist(),
            }
        )
    return cases


def rows(n):
    """Rows that both languages make alike: a linear congruential generator, integers only.

    Eight features; the chance of a 1 has a bend, a product and two straight lines in it.
    """
    state = 12345
    features = np.empty((n, 8))
    draws = np.empty(n)
    for i in range(n):
        for j in range(9):
            state = (state * 1103515245 + 12345) % 2**31
            value = (state >> 8) / 2**23 * 2 - 1
            if j < 8:
                features[i, j] = np.float32(value)
            else:
                draws[i] = value
    a, b, c, d = (features[:, j] for j in range(4))
    score = 1.2 * a * b + 0.8 * np.abs(c) - 0.4 + 0.7 * d + 0.3 * features[:, 4]
    y = (draws < score).astype(int)
    features[:, 5] = np.where(np.arange(n) % 7 == 0, np.nan, features[:, 5])
    return features, y


def boosting():
    """The log loss of trees with the settings of the test, on rows not learned from."""
    x, y = rows(12000)
    train, test = slice(0, 6000), slice(6000, 12000)
    model = HistGradientBoostingClassifier(
        max_iter=100,
        learning_rate=0.1,
        max_depth=4,
        max_leaf_nodes=None,
        l2_regularization=1.0,
        min_samples_leaf=20,
        max_bins=255,
        early_stopping=False,
        random_state=0,
    ).fit(x[train], y[train])
    p = model.predict_proba(x[test])[:, 1]
    low, high = np.nanquantile(x[train], [0.01, 0.99], axis=0)
    clipped = np.where(np.isnan(x), np.nan, np.clip(x, low, high))
    mean = np.nanmean(clipped[train], axis=0)
    centred = np.where(np.isnan(clipped), 0.0, clipped - mean)
    scale = centred[train].std(axis=0)
    offset = centred[train].mean(axis=0)
    standard = (centred - offset) / scale
    # The penalty of the test is 0.01 a row on the two-class form, whose two opposite lines share
    # it: half of it on their difference.
    linear = LogisticRegression(C=1 / (0.5 * 0.01 * 6000), tol=1e-10, max_iter=10000)
    linear.fit(standard[train], y[train])
    q = linear.predict_proba(standard[test])[:, 1]
    rate = np.full(6000, y[train].mean())
    return {
        "rows": 12000,
        "learned": 6000,
        "ones": int(y.sum()),
        "trees": {"log_loss": log_loss(y[test], p), "brier": brier_score_loss(y[test], p)},
        "linear": {
            "log_loss": log_loss(y[test], q),
            "first_probabilities": q[:50].tolist(),
        },
        "rate": {"log_loss": log_loss(y[test], rate)},
    }


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    write(ROOT / "crates/stats/tests/fixtures/isotonic.json", isotonic())
    write(ROOT / "crates/dataset/tests/fixtures/ensemble.json", boosting())
