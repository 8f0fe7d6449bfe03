"""Reference values of the families volatility, microstructure, fx and returns.

Versions: see requirements.txt beside this file. Run from anywhere:

    python -m venv env && env/bin/pip install -r requirements.txt
    env/bin/pip install --no-deps mlfinpy==0.1.2
    env/bin/python generate.py            # rewrites the committed fixture
    env/bin/python generate.py all.json   # every row, for the parity table

The market is made up (market.py). Each reference is written from the formula's
paper, window by window, and knows nothing of the catalogue's expressions; EDGE
comes from `bidask`; the weights of RiskMetrics 2006 are checked against `arch`,
Parkinson's and Garman and Klass's volatility against `mlfinpy`.

For each formula and lane: known cells, their mean and root mean square over all
rows, and the values of a few rows.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import fx
import market
import microstructure
import returns
import volatility

OUTPUT = Path(__file__).parents[3] / "crates/formula/tests/fixtures/references.json"
# EUR/USD, and EUR/GBP: a cross, with bars without volume.
LANES = [0, 4]
ROWS = [170, 333, 561, 719]


def check_riskmetrics():
    """The mixture of volatility.py has the weights and decays of arch."""
    from arch.univariate import RiskMetrics2006

    model = RiskMetrics2006()
    taus = 4 * np.sqrt(2) ** np.arange(14)
    weights = 1 - np.log(taus) / np.log(1560)
    assert np.allclose(model._ewma_combination_weights(), weights / weights.sum(), rtol=1e-12)
    assert np.allclose(model._ewma_smoothing_parameters(), np.exp(-1 / taus), rtol=1e-12)


def check_mlfinpy(lane):
    """Parkinson and Garman-Klass are also those of mlfinpy (its Yang-Zhang is not
    the paper's: means are not taken off, closes are taken against the open before,
    and the Rogers-Satchell part is divided by n - 1)."""
    # Only this file: the package itself wants older libraries.
    package = importlib.util.find_spec("mlfinpy").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("peer", f"{package}/util/volatility.py")
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    ours = volatility.references()
    o, h, l, c = (pd.Series(getattr(lane, name)) for name in ("open", "high", "low", "close"))
    for window in (5, 10, 20, 60):
        for name, theirs in (
            ("parkinson", peer.get_parksinson_vol(h, l, window)),
            ("garman_klass", peer.get_garman_class_vol(o, h, l, c, window)),
        ):
            values = ours[f"volatility.{name}_{window}"](lane)
            assert np.allclose(values, theirs, rtol=1e-9, equal_nan=True), name


def short(value):
    return None if np.isnan(value) else float(f"{value:.12g}")


def main():
    check_riskmetrics()
    rows = list(range(market.ROWS)) if len(sys.argv) > 1 else ROWS
    table, times = market.derived(market.columns()), market.clock()
    lanes = [market.Lane(table, times, lane) for lane in LANES]
    check_mlfinpy(lanes[0])
    formulas = {}
    with np.errstate(all="ignore"):
        for family in (volatility, microstructure, fx, returns):
            for name, reference in family.references().items():
                formulas[name] = []
                for lane in lanes:
                    values = np.asarray(reference(lane), dtype=float)
                    values = np.where(np.isfinite(values), values, np.nan)
                    seen = values[~np.isnan(values)]
                    mean = seen.mean() if len(seen) else 0.0
                    size = np.sqrt((seen**2).mean()) if len(seen) else 0.0
                    cells = [short(values[row]) for row in rows]
                    formulas[name].append([len(seen), short(mean), short(size), cells])
    text = json.dumps({"lanes": LANES, "rows": rows, "formulas": formulas}, separators=(",", ":"))
    text = text.replace('],"', '],\n"')
    Path(sys.argv[1] if len(sys.argv) > 1 else OUTPUT).write_text(text + "\n")


if __name__ == "__main__":
    main()
