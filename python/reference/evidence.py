"""Reference values for what `stats` says about evidence, from scipy, arch,
statsmodels, skfolio, confseq and comparecast.

Versions: see requirements-evidence.txt beside this file. Run from anywhere:

    python -m venv env && env/bin/pip install -r requirements-evidence.txt
    env/bin/python evidence.py

It rewrites crates/stats/tests/fixtures/evidence.json.
"""

import itertools
import json
from pathlib import Path

import numpy as np

np.float_ = np.float64  # confseq 0.0.11 was written for numpy 1

from arch.bootstrap import SPA, StationaryBootstrap, optimal_block_length
from comparecast.confseq import confseq_eb
from comparecast.eprocess import eprocess_expm
from confseq.betting import betting_cs, betting_mart
from confseq.betting_strategies import lambda_aKelly
from scipy import optimize, special, stats
from skfolio.model_selection import CombinatorialPurgedCV
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_test
from statsmodels.stats.multitest import multipletests

OUTPUT = Path(__file__).parents[2] / "crates/stats/tests/fixtures/evidence.json"


def normal(rng):
    x = np.concatenate([np.linspace(-8, 8, 33), [-37.0, -20.0, -12.5, 1.999, 2.001]])
    p = np.array([1e-300, 1e-20, 1e-6, 0.01, 0.025, 0.3, 0.5, 0.7, 0.975, 0.999999])
    return {
        "x": x.tolist(),
        "cumulative": stats.norm.cdf(x).tolist(),
        "p": p.tolist(),
        "quantile": stats.norm.ppf(p).tolist(),
    }


def beta(rng):
    shapes = [0.5, 1.0, 2.5, 11.9, 12.1, 63.5, 237.0, 5000.5, 250000.5, 3e6]
    rows = []
    for a in shapes:
        for b in shapes[::3] + [0.5]:
            for p in [1e-6, 0.025, 0.5, 0.95]:
                x = special.betaincinv(a, b, p)
                if x < 1e-12 or x > 1 - 1e-12:
                    continue
                rows.append([a, b, p, x, special.betainc(a, b, x)])
    return {"rows": rows}


def posterior(rng):
    rows = []
    for wins, trials, a, b, level in [
        (63, 100, 0.5, 0.5, 0.95),
        (0, 10, 0.5, 0.5, 0.95),
        (10, 10, 0.5, 0.5, 0.99),
        (17.25, 31.5, 1.0, 1.0, 0.9),
        (5231, 10000, 2.0, 3.0, 0.975),
    ]:
        found = stats.beta(a + wins, b + trials - wins)
        rows.append([wins, trials, a, b, level, found.ppf(1 - level), found.ppf(level), found.mean()])
    return {"rows": rows}


def series(rng, n, memory):
    x = np.zeros(n)
    noise = rng.normal(size=n)
    for t in range(1, n):
        x[t] = memory * x[t - 1] + noise[t]
    return x.round(3)


def block_length(rng):
    cases = []
    for n, memory in [(12, 0.2), (60, 0.0), (150, 0.5), (400, 0.9), (250, -0.6), (300, 0.97)]:
        x = series(rng, n, memory)
        found = optimal_block_length(x)
        cases.append(
            {
                "series": x.tolist(),
                "stationary": float(found["stationary"].iloc[0]),
                "circular": float(found["circular"].iloc[0]),
            }
        )
    return cases


def mean_above(rng):
    cases = []
    for n, memory, shift, length in [(120, 0.6, 0.0, 6.0), (200, 0.0, 0.1, 1.0), (90, 0.8, 0.5, 12.0)]:
        x = series(rng, n, memory) + shift
        x = x.round(3)
        sampler = StationaryBootstrap(int(length), x, seed=5)
        means = sampler.apply(np.mean, 20_000)[:, 0]
        cases.append(
            {
                "series": x.tolist(),
                "threshold": 0.05,
                "length": length,
                "p_value": float((means - x.mean() >= x.mean() - 0.05).mean()),
            }
        )
    return cases


def conformal(rng):
    """The update rule of Gibbs and Candes, labels known four steps later."""
    scores = np.concatenate([rng.uniform(0, 0.5, 60), rng.uniform(0, 1, 60)]).round(4)
    target, step, delay = 0.2, 0.05, 4
    level, known, thresholds, levels = target, [], [], []
    for t in range(len(scores)):
        if len(known) and (1 - level) * (len(known) + 1) <= len(known):
            rank = int(np.ceil((1 - level) * (len(known) + 1)))
            threshold = np.sort(known)[rank - 1] if rank >= 1 else -np.inf
        else:
            threshold = np.inf
        thresholds.append(threshold)
        levels.append(level)
        if t >= delay:
            miss = scores[t - delay] > thresholds[t - delay]
            level += step * (target - miss)
            known.append(scores[t - delay])
    return {
        "target": target,
        "step": step,
        "delay": delay,
        "scores": scores.tolist(),
        "levels": levels,
    }


def mcnemar(rng):
    rows = []
    for b, c in [(0, 3), (1, 4), (5, 5), (12, 30), (200, 260), (0, 0), (1, 0)]:
        table = [[10, b], [c, 10]]
        rows.append([b, c, float(mcnemar_test(table, exact=True).pvalue) if b + c else 1.0])
    return {"rows": rows}


def sharpe(rng):
    cases = []
    for n, mean, benchmark, variance, trials in [
        (60, 0.1, 0.0, 0.01, 1),
        (250, 0.08, 0.02, 0.004, 12),
        (400, 0.2, 0.1, 0.02, 1500),
    ]:
        x = (mean + stats.skewnorm.rvs(-4, size=n, random_state=rng)).round(4)
        ratio = x.mean() / x.std(ddof=1)
        skewness = stats.skew(x)
        kurtosis = stats.kurtosis(x, fisher=False)
        deviation = np.sqrt((1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2) / (n - 1))
        z = stats.norm.ppf
        luck = 0.0
        if trials > 1:
            luck = np.sqrt(variance) * (
                (1 - np.euler_gamma) * z(1 - 1 / trials)
                + np.euler_gamma * z(1 - 1 / (trials * np.e))
            )
        cases.append(
            {
                "returns": x.tolist(),
                "benchmark": benchmark,
                "variance": variance,
                "trials": trials,
                "sharpe": ratio,
                "probabilistic": stats.norm.cdf((ratio - benchmark) / deviation),
                "luck": luck,
                "deflated": stats.norm.cdf((ratio - luck) / deviation),
            }
        )
    return cases


def overfitting(rng):
    cases = []
    for periods, columns, parts, skill in [(50, 5, 6, 0.0), (42, 4, 4, 0.4), (36, 7, 6, 0.0)]:
        x = rng.normal(size=(periods, columns)).round(3)
        x[:, 1] += skill
        length = periods // parts
        chunks = [x[i * length : (i + 1) * length] for i in range(parts)]
        logits = []
        for chosen in itertools.combinations(range(parts), parts // 2):
            inside = np.concatenate([chunks[i] for i in chosen])
            outside = np.concatenate([chunks[i] for i in range(parts) if i not in chosen])
            best = (inside.mean(0) / inside.std(0, ddof=1)).argmax()
            rank = stats.rankdata(outside.mean(0) / outside.std(0, ddof=1))[best]
            logits.append(special.logit(rank / (columns + 1)))
        cases.append(
            {
                "returns": x.round(3).tolist(),
                "parts": parts,
                "probability": float(np.mean(np.array(logits) <= 0)),
                "sorted_logits": sorted(logits),
            }
        )
    return cases


class Fixed:
    """Gives arch resamples that were drawn before."""

    def __init__(self, data, resamples):
        self.data, self.resamples = data, resamples

    def bootstrap(self, _):
        for rows in self.resamples:
            yield (self.data[rows],), {}


def superior(rng):
    n, models, replicates, length = 60, 4, 60, 5
    lead = (rng.normal(size=(n, models)) + [0.15, 0.0, -0.1, -2.0]).round(3)
    resamples = []
    sampler = StationaryBootstrap(length, np.arange(n), seed=3)
    for (rows,), _ in sampler.bootstrap(replicates):
        resamples.append(rows.astype(int))
    test = SPA(np.zeros(n), -lead, block_size=length, reps=replicates, studentize=False)
    test.bootstrap = Fixed(lead, resamples)
    test.compute()
    variance = test._loss_diff_var

    # Hansen's studentised statistic, which arch does not form.
    mean, unit = lead.mean(0), np.sqrt(variance)
    valid = mean >= -np.sqrt(variance / n * 2 * np.log(np.log(n)))
    centres = [np.maximum(mean, 0), np.where(valid, mean, 0), mean]
    best = (mean / unit).max()
    studentised = []
    for centre in centres:
        largest = [((lead[rows].mean(0) - centre) / unit).max() for rows in resamples]
        studentised.append(float((np.array(largest) > best).mean()))
    return {
        "lead": lead.tolist(),
        "mean_length": float(length),
        "resamples": [rows.tolist() for rows in resamples],
        "variance": variance.tolist(),
        "plain": test.pvalues.tolist(),
        "studentised": studentised,
    }


def bins_of(forecast, bins):
    edges = np.quantile(forecast, np.arange(1, bins) / bins)
    return np.searchsorted(edges, forecast, side="left")


def reliability(rng):
    cases = []
    for n, bins, decimals in [(120, 6, 4), (60, 5, 1)]:
        forecast = rng.beta(2, 3, size=n).round(decimals)
        happened = rng.random(n) < forecast * 0.8 + 0.05
        bin_ids = bins_of(forecast, bins)
        base = happened.mean()
        parts = {"reliability": 0.0, "resolution": 0.0, "within_bins": 0.0}
        debiased = 0.0
        for b in np.unique(bin_ids):
            p, y = forecast[bin_ids == b], happened[bin_ids == b].astype(float)
            share, m = len(p) / n, len(p)
            parts["reliability"] += share * (p.mean() - y.mean()) ** 2
            parts["resolution"] += share * (y.mean() - base) ** 2
            covariance = ((p - p.mean()) * (y - y.mean())).mean()
            parts["within_bins"] += share * (p.var() - 2 * covariance)
            gap = abs(p.mean() - y.mean())
            noise = np.sqrt(y.mean() * (1 - y.mean()) / m)
            folded = stats.foldnorm.mean(gap / noise, scale=noise) if noise > 0 else gap
            debiased += share * (2 * gap - folded)
        cases.append(
            {
                "forecast": forecast.tolist(),
                "happened": happened.tolist(),
                "bins": bins,
                "score": float(((forecast - happened) ** 2).mean()),
                "uncertainty": base * (1 - base),
                "debiased_ece": max(0.0, debiased),
                **parts,
            }
        )
    return cases


def temperature(rng):
    logits = (3 * rng.normal(size=(80, 3))).round(4)
    y = (logits / 2.2 + rng.gumbel(size=(80, 3))).argmax(axis=1)
    l2 = 0.5

    def loss(scale):
        data = -special.log_softmax(scale * logits, axis=1)[np.arange(80), y].sum()
        return data + 0.5 * l2 * (scale - 1) ** 2

    found = optimize.minimize_scalar(loss, bracket=(0.1, 1), tol=1e-12)
    return {"logits": logits.tolist(), "y": y.tolist(), "l2": l2, "temperature": 1 / found.x}


def cross_validation(rng):
    cases = []
    for n, groups, tested, horizon, embargo in [(60, 5, 2, 3, 0), (54, 6, 4, 2, 2), (80, 4, 2, 1, 5)]:
        splitter = CombinatorialPurgedCV(
            n_folds=groups, n_test_folds=tested, purged_size=horizon, embargo_size=embargo
        )
        folds = []
        for train, test in splitter.split(np.zeros((n, 1))):
            folds.append({"train": train.tolist(), "test": np.sort(np.concatenate(test)).tolist()})
        cases.append(
            {
                "n": n,
                "groups": groups,
                "tested": tested,
                "horizon": horizon,
                "embargo": embargo,
                "paths": int(splitter.n_test_paths),
                "folds": folds,
            }
        )
    return cases


def betting(rng):
    cases = []
    for n, lead, clip in [(60, 0.1, 1.0), (80, -0.05, 0.5), (50, 0.4, 0.4)]:
        scores = np.clip(lead + rng.normal(scale=0.4, size=n), -clip, clip).round(4)
        x = 0.5 + 0.5 * scores / clip
        capital = betting_mart(
            x,
            0.5,
            theta=1,
            trunc_scale=0.5,
            lambdas_fn_positive=lambda x, m: np.maximum(0, lambda_aKelly(x, m, trunc_scale=1)),
        )
        low, high = betting_cs(
            x, breaks=50, alpha=0.1, running_intersection=True, trunc_scale=0.5, theta=0.5
        )
        cases.append(
            {
                "scores": scores.tolist(),
                "clip": clip,
                "log_capital": np.log(capital).tolist(),
                "low": low.tolist(),
                "high": high.tolist(),
            }
        )
    return cases


def comparison(rng):
    cases = []
    for n, lead, clip in [(60, 0.15, 1.0), (60, 0.05, 0.5)]:
        x = np.clip(lead + rng.normal(scale=0.4, size=n), -clip, clip).round(4)
        found = confseq_eb(x, alpha=0.05, lo=-clip, hi=clip)
        e = eprocess_expm(x, c=2 * clip, v_opt=10.0, alpha_opt=0.025)
        cases.append(
            {
                "differences": x.tolist(),
                "clip": clip,
                "low": found.lcbs.tolist(),
                "high": found.ucbs.tolist(),
                "log_e": np.log(e).tolist(),
            }
        )
    return cases


def e_bh(rng):
    """e-BH is Benjamini and Hochberg's procedure on the inverses."""
    cases = []
    for n in [5, 12, 20]:
        e = np.exp(rng.normal(loc=2, scale=2.5, size=n)).round(3)
        rejected = multipletests(np.minimum(1, 1 / e), alpha=0.1, method="fdr_bh")[0]
        cases.append({"e_values": e.tolist(), "rejected": np.flatnonzero(rejected).tolist()})
    return cases


def main():
    parts = [
        normal,
        beta,
        posterior,
        block_length,
        mean_above,
        conformal,
        mcnemar,
        sharpe,
        overfitting,
        superior,
        reliability,
        temperature,
        cross_validation,
        betting,
        comparison,
        e_bh,
    ]
    document = {}
    for seed, part in enumerate(parts):
        document[part.__name__] = part(np.random.default_rng(20240106 + seed))
    OUTPUT.write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
