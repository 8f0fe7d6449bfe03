"""Reference values for what `stats` says about evidence, from scipy and arch.

Versions: see requirements-evidence.txt beside this file. Run from anywhere:

    python -m venv env && env/bin/pip install -r requirements-evidence.txt
    env/bin/python evidence.py

It rewrites crates/stats/tests/fixtures/evidence.json.
"""

import json
from pathlib import Path

import numpy as np
from arch.bootstrap import optimal_block_length
from scipy import special, stats

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


def main():
    document = {}
    for seed, part in enumerate([normal, beta, posterior, block_length]):
        document[part.__name__] = part(np.random.default_rng(20240106 + seed))
    OUTPUT.write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
