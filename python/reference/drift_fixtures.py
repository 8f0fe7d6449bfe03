"""Reference values for drift in the crate `stats`, from scipy and numpy.

Versions: see requirements-stats.txt beside this file. Run from anywhere:

    python -m venv env && env/bin/pip install -r requirements-stats.txt
    env/bin/python drift_fixtures.py

It rewrites crates/stats/tests/fixtures/drift.json. The stability index is computed here from
histograms of numpy (whose bins are closed on the left, so values are negated: an edge belongs to
the bin below it); a bin that a sample does not reach counts half a row.
"""

import json
from pathlib import Path

import numpy as np
from scipy.stats import ks_2samp

OUTPUT = Path(__file__).parents[2] / "crates/stats/tests/fixtures/drift.json"
BINS = 10


def stability(earlier, later):
    edges = np.unique(np.quantile(earlier, np.arange(1, BINS) / BINS))
    edges = edges[edges < np.max(earlier)]
    bounds = np.concatenate([[-np.inf], -edges[::-1], [np.inf]])
    share = [np.histogram(-sample, bounds)[0] for sample in (earlier, later)]
    a, b = (np.maximum(counts, 0.5) / counts.sum() for counts in share)
    return float(np.sum((b - a) * np.log(b / a))), len(bounds) - 1


def main():
    rng = np.random.default_rng(7)
    pairs = {
        "same": (rng.normal(size=300), rng.normal(size=120)),
        "shifted": (rng.normal(size=300), rng.normal(0.8, 1.5, size=90)),
        "ties": (rng.integers(0, 4, 200).astype(float), rng.integers(1, 6, 150).astype(float)),
        "apart": (rng.uniform(0, 1, 60), rng.uniform(2, 3, 40)),
    }
    cases = []
    for name, (earlier, later) in pairs.items():
        earlier, later = earlier.round(5), later.round(5)
        index, bins = stability(earlier, later)
        distance = float(ks_2samp(earlier, later).statistic)
        print(f"{name}: index {index:.5f} over {bins} bins, distance {distance:.5f}")
        cases.append(
            {
                "name": name,
                "earlier": earlier.tolist(),
                "later": later.tolist(),
                "index": index,
                "bins": bins,
                "distance": distance,
            }
        )
    OUTPUT.write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
