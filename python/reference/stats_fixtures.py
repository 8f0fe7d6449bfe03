"""Reference values for the crate `stats`, from scikit-learn, scipy and numpy.

Versions: see requirements-stats.txt beside this file. Run from anywhere:

    python -m venv env && env/bin/pip install -r requirements-stats.txt
    env/bin/python stats_fixtures.py

It rewrites crates/stats/tests/fixtures/reference.json.
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
)
from sklearn.preprocessing import StandardScaler

OUTPUT = Path(__file__).parents[2] / "crates/stats/tests/fixtures/reference.json"


def one_hot(y, classes):
    return np.eye(classes)[y]


def metrics(rng):
    n = 60
    truth = rng.choice(3, size=n, p=[0.2, 0.25, 0.55])
    logits = rng.normal(size=(n, 3)).round(4)
    logits[np.arange(n), truth] += 0.7
    probabilities = softmax(logits, axis=1)
    predicted = probabilities.argmax(axis=1)
    two = np.where(truth == 2, 0, truth)  # class 2 absent from the truth
    return {
        "truth": truth.tolist(),
        "truth_without_class_2": two.tolist(),
        "probabilities": probabilities.tolist(),
        "predicted": predicted.tolist(),
        "accuracy": accuracy_score(truth, predicted),
        "balanced_accuracy": balanced_accuracy_score(truth, predicted),
        "balanced_accuracy_without_class_2": recall_mean(two, predicted),
        "log_loss": log_loss(truth, probabilities, labels=[0, 1, 2]),
        "brier": float(((probabilities - one_hot(truth, 3)) ** 2).sum(axis=1).mean()),
        "confusion": confusion_matrix(truth, predicted, labels=[0, 1, 2]).tolist(),
    }


def recall_mean(truth, predicted):
    table = confusion_matrix(truth, predicted, labels=[0, 1, 2])
    present = table.sum(axis=1) > 0
    return float((np.diag(table)[present] / table.sum(axis=1)[present]).mean())


def reliability(rng):
    cases = []
    for n, bins, decimals in [(97, 10, 6), (40, 4, 6), (80, 8, 1)]:
        forecast = rng.beta(2, 3, size=n).round(decimals)
        happened = rng.random(n) < forecast
        observed, predicted = calibration_curve(
            happened, forecast, n_bins=bins, strategy="quantile"
        )
        cases.append(
            {
                "bins": bins,
                "forecast": forecast.tolist(),
                "happened": happened.tolist(),
                "observed": observed.tolist(),
                "mean_predicted": predicted.tolist(),
            }
        )
    return cases


def quantiles(rng):
    values = np.sort(rng.normal(size=23).round(4))
    levels = [0.0, 0.025, 0.1, 0.5, 0.9, 0.975, 1.0]
    return {
        "values": values.tolist(),
        "levels": levels,
        "expected": np.quantile(values, levels).tolist(),
    }


def logistic(rng):
    cases = []
    for n, d, classes, l2, weighted in [
        (80, 3, 3, 1.0, False),
        (120, 5, 4, 0.05, True),
        (60, 2, 2, 10.0, True),
    ]:
        x = (rng.normal(size=(n, d)) * 10.0 ** rng.integers(-3, 4, size=d)).round(6)
        slopes = rng.normal(size=(classes, d))
        scores = (x / x.std(axis=0)) @ slopes.T + rng.gumbel(size=(n, classes))
        y = scores.argmax(axis=1)
        weights = rng.uniform(0.1, 1.0, size=n).round(4) if weighted else np.ones(n)
        z = StandardScaler().fit_transform(x)
        if classes == 2:
            # scikit-learn fits two classes with one row of coefficients, whose
            # penalty differs from that of two opposite rows: minimise ours.
            coefficients, intercepts = minimise_two_classes(z, y, weights, l2)
        else:
            model = LogisticRegression(C=1.0 / l2, tol=1e-12, max_iter=100_000)
            model.fit(z, y, sample_weight=weights)
            coefficients, intercepts = model.coef_, model.intercept_
        intercepts = intercepts - intercepts.mean()
        cases.append(
            {
                "x": x.tolist(),
                "y": y.tolist(),
                "weights": weights.tolist(),
                "classes": classes,
                "l2": l2,
                "coefficients": coefficients.tolist(),
                "intercepts": intercepts.tolist(),
                "probabilities": softmax(z @ coefficients.T + intercepts, axis=1)[:5].tolist(),
            }
        )
    return cases


def minimise_two_classes(z, y, weights, l2):
    n, d = z.shape

    def loss(theta):
        theta = theta.reshape(2, d + 1)
        scores = z @ theta[:, :d].T + theta[:, d]
        data = -(weights * log_softmax(scores, axis=1)[np.arange(n), y]).sum()
        return data + 0.5 * l2 * (theta[:, :d] ** 2).sum()

    # The gradient by hand, so that the reference is good to many digits.
    def gradient(theta):
        theta = theta.reshape(2, d + 1)
        scores = z @ theta[:, :d].T + theta[:, d]
        error = weights[:, None] * (softmax(scores, axis=1) - one_hot(y, 2))
        result = np.column_stack([error.T @ z + l2 * theta[:, :d], error.sum(axis=0)])
        return result.ravel()

    found = minimize(loss, np.zeros(2 * (d + 1)), jac=gradient, method="BFGS", tol=1e-10)
    theta = found.x.reshape(2, d + 1)
    return theta[:, :d], theta[:, d]


def calibration(rng):
    cases = []
    for n, classes, l2 in [(150, 3, 1.0), (60, 4, 0.2)]:
        logits = (3 * rng.normal(size=(n, classes))).round(5)
        bias = rng.normal(size=classes)
        y = (logits / 2.5 + bias + rng.gumbel(size=(n, classes))).argmax(axis=1)
        weights = rng.uniform(0.1, 1.0, size=n).round(4)

        def loss(theta):
            scores = theta[0] * logits + theta[1:]
            data = -(weights * log_softmax(scores, axis=1)[np.arange(n), y]).sum()
            return data + 0.5 * l2 * ((theta[0] - 1) ** 2 + (theta[1:] ** 2).sum())

        def gradient(theta):
            scores = theta[0] * logits + theta[1:]
            error = weights[:, None] * (softmax(scores, axis=1) - one_hot(y, classes))
            slopes = np.concatenate([[(error * logits).sum()], error.sum(axis=0)])
            return slopes + l2 * (theta - np.eye(classes + 1)[0])

        start = np.concatenate([[1.0], np.zeros(classes)])
        found = minimize(loss, start, jac=gradient, method="BFGS", tol=1e-10)
        scores = found.x[0] * logits + found.x[1:]
        cases.append(
            {
                "logits": logits.tolist(),
                "y": y.tolist(),
                "weights": weights.tolist(),
                "l2": l2,
                "temperature": 1 / found.x[0],
                "bias": found.x[1:].tolist(),
                "probabilities": softmax(scores, axis=1)[:5].tolist(),
            }
        )
    return cases


def main():
    rng = np.random.default_rng(20190301)
    parts = [metrics, reliability, quantiles, logistic, calibration]
    document = {part.__name__: part(rng) for part in parts}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
