"""Formulas over a panel: against KunQuant (Alpha101), against TA-Lib (20 indicators), and the
575-feature package against writing alone. Run alternately, medians of the rounds.

    cargo build --release -p foretune-dataset --example formulas
    python bench/formulas.py alpha101|talib|package|live [--instruments 51] [--rows 11036] [--peer-python venv/bin/python]

The peers' packages are those of python/reference/requirements-alpha.txt and requirements-talib.txt.
KunQuant's time is without its compile step; both sides run on one thread and count processor seconds.
The last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from sft import ROOT, processor

TALIB_20 = ["talib.SMA_20", "talib.EMA_20", "talib.WMA_20", "talib.DEMA_20", "talib.TEMA_20",
            "talib.RSI_14", "talib.MACD", "talib.MACD_signal", "talib.MACD_hist", "talib.BBANDS_upper_20",
            "talib.BBANDS_lower_20", "talib.ATR_14", "talib.NATR_14", "talib.ADX_14",
            "talib.CCI_14", "talib.MFI_14", "talib.OBV", "talib.STOCHF_d", "talib.STOCH_d", "talib.WILLR_14",
            "talib.ROC_10", "talib.MOM_10", "talib.STDDEV_20", "talib.LINEARREG_SLOPE_14", "talib.AROONOSC_14"]

PEER = {
    "alpha101": r'''
import sys, time, json, resource
import numpy as np
from KunQuant.jit import cfake
from KunQuant.Driver import KunCompilerConfig
from KunQuant.Op import Builder, Input, Output
from KunQuant.Stage import Function
from KunQuant.predefined import Alpha101
from KunQuant.runner import KunRunner as kr
path, n, t = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
raw = np.fromfile(path, dtype=np.float64).reshape(5, t, n)
b = Builder()
with b:
    d = Alpha101.AllData(low=Input("low"), high=Input("high"), close=Input("close"), open=Input("open"),
                         amount=Input("amount"), volume=Input("volume"))
    for f in Alpha101.all_alpha:
        Output(f(d), f.__name__)
f = Function(b.ops)
lib = cfake.compileit([("alpha101", f, KunCompilerConfig(partition_factor=4, dtype="double", input_layout="TS",
                       output_layout="TS", options={"opt_reduce": True, "fast_log": True}))], "kun_alpha101",
                      cfake.CppCompilerConfig())
mod = lib.getModule("alpha101")
pad = (-n) % 8
grow = lambda x: np.ascontiguousarray(np.concatenate([x, x[:, :pad]], axis=1)) if pad else np.ascontiguousarray(x)
o, h, l, c, v = map(grow, raw)
inputs = dict(open=o, high=h, low=l, close=c, volume=v, amount=c * v)
ex = kr.createSingleThreadExecutor()
begun = time.process_time()
out = kr.runGraph(ex, mod, inputs, 0, t)
seconds = time.process_time() - begun
print(json.dumps(dict(columns=len(out), processor_seconds=seconds,
      million_values_per_processor_second=len(out) * n * t / seconds / 1e6,
      peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)))
''',
    "talib": r'''
import sys, time, json, resource
import numpy as np, talib
path, n, t = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
raw = np.fromfile(path, dtype=np.float64).reshape(5, t, n)
o, h, l, c, v = [[np.ascontiguousarray(x[:, i]) for i in range(n)] for x in raw]
columns = 0
begun = time.process_time()
for i in range(n):
    H, L, C, V = h[i], l[i], c[i], v[i]
    outs = [talib.SMA(C, 20), talib.EMA(C, 20), talib.WMA(C, 20), talib.DEMA(C, 20), talib.TEMA(C, 20),
            talib.RSI(C, 14), *talib.MACD(C), *talib.BBANDS(C, 20), talib.ATR(H, L, C, 14), talib.NATR(H, L, C, 14),
            talib.ADX(H, L, C, 14), talib.CCI(H, L, C, 14), talib.MFI(H, L, C, V, 14), talib.OBV(C, V),
            *talib.STOCH(H, L, C), talib.WILLR(H, L, C, 14), talib.ROC(C, 10), talib.MOM(C, 10),
            talib.STDDEV(C, 20), talib.LINEARREG_SLOPE(C, 14), talib.AROONOSC(H, L, 14)]
    columns = len(outs)
seconds = time.process_time() - begun
print(json.dumps(dict(columns=columns, processor_seconds=seconds,
      million_values_per_processor_second=columns * n * t / seconds / 1e6,
      peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)))
''',
}


def bars(path, instruments, rows):
    """Random walks, the same for both sides."""
    import numpy as np

    rng = np.random.default_rng(5)
    close = np.exp(np.cumsum(rng.normal(0, 0.001, (rows, instruments)), axis=0))
    opened = np.vstack([close[:1], close[:-1]])
    high = np.maximum(opened, close) * (1 + 0.0005 * rng.random((rows, instruments)))
    low = np.minimum(opened, close) * (1 - 0.0005 * rng.random((rows, instruments)))
    volume = np.round(1000 * rng.random((rows, instruments))) + 1
    np.stack([opened, high, low, close, volume]).tofile(path)


def last_line(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{command[:4]} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["alpha101", "talib", "package", "live"])
    parser.add_argument("--instruments", type=int, default=51)
    parser.add_argument("--rows", type=int, default=11036)
    parser.add_argument("--set", default="forex-575")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-python", default="python3")
    parser.add_argument("--binary", default=str(ROOT / "target/release/examples/formulas"))
    arguments = parser.parse_args()
    shape = [str(arguments.instruments), str(arguments.rows)]
    mine, theirs = [], []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/tmp")) as directory:
        raw = str(Path(directory) / "bars.f64")
        bars(raw, arguments.instruments, arguments.rows)
        for number in range(arguments.rounds):
            if arguments.kind in PEER:
                patterns = ["alpha101.*"] if arguments.kind == "alpha101" else TALIB_20
                mine.append(last_line([arguments.binary, "compute", raw, *shape, *patterns]))
                theirs.append(last_line([arguments.peer_python, "-c", PEER[arguments.kind], raw, *shape]))
                print(f"round {number + 1}: foretune {mine[-1]}\n         peer     {theirs[-1]}", flush=True)
            else:
                more = [str(Path(directory) / f"package{number}")] if arguments.kind == "package" else []
                mine.append(last_line([arguments.binary, arguments.kind, raw, *shape, arguments.set, *more]))
                print(f"round {number + 1}: {mine[-1]}", flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    line = dict(name=f"formulas-{arguments.kind}", instruments=arguments.instruments, rows=arguments.rows,
                host=processor(), commit=commit.stdout.strip())
    middle = lambda runs, key: statistics.median(run[key] for run in runs)
    if theirs:
        key = "million_values_per_processor_second"
        line |= dict(ours=middle(mine, key), peer=middle(theirs, key), columns=[mine[0]["formulas"], theirs[0]["columns"]],
                     ratio=middle(mine, key) / middle(theirs, key),
                     memory_ratio=middle(mine, "peak_bytes") / middle(theirs, "peak_bytes"))
    elif arguments.kind == "package":
        line |= dict(ours=middle(mine, "seconds"), peer=middle(mine, "writing_alone_seconds"),
                     ratio=middle(mine, "ratio"), peak_bytes=middle(mine, "peak_bytes"), memory_ratio=None)
    else:
        line |= dict(ours=middle(mine, "milliseconds_median"), p95=middle(mine, "milliseconds_p95"),
                     worst=middle(mine, "milliseconds_worst"), peer=None, ratio=None, memory_ratio=None)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
