"""Sampling and writing of a forex bridge beside the pandas script it replaces, alternately.

    python3 bench/bridge.py OUT_DIR --binary target/release/foretune [--rows 11036] [--pairs 51]

Makes a package of seeded random walks (PAIR/train.parquet, 575 features, ml_confidence,
ml_prediction, targets), then runs in turn

- `foretune dataset build --package` with the package's own signal, without audit and formula
  questions, 400 examples a pair, manifest and digests: once readings alone (features with their
  percentiles and leans: sampling and writing), once all four kinds (past cases, bootstrap,
  calibrated certainty: evidence that the script does not have);
- the usual script: pandas reads the table, draws 400 rows a pair, writes a prompt of every feature
  (or of 15) and an answer, a JSON line each.

Prints JSON lines: examples per CPU second of each, the ratio, peak memory. Needs numpy, pandas and
pyarrow; figures mean something only as ratios of one run.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

USUAL = r"""
import json, random, sys
import pandas as pd
package, out, width = sys.argv[1], sys.argv[2], int(sys.argv[3])
import pathlib
random.seed(17)
written = 0
with open(out, "w") as file:
    for folder in sorted(pathlib.Path(package).iterdir()):
        if not folder.is_dir():
            continue
        frame = pd.read_parquet(folder / "train.parquet")
        features = [c for c in frame.columns if c.startswith("f") or c in ("ret_1", "rsi_14")][:width]
        for _, row in frame.sample(n=400, random_state=17).iterrows():
            values = "\n".join(f"- {name}: {row[name]:.6f}" for name in features)
            direction = "BUY" if row["target_return_20"] > 0 else "SELL"
            prompt = f"Pair {folder.name}. Features:\n{values}\nML confidence {row['ml_confidence']:.2f}. Approve?"
            answer = f"DECISION: {direction}. The {features[0]} of {row[features[0]]:.4f} supports it."
            file.write(json.dumps({"messages": [
                {"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}) + "\n")
            written += 1
print(written)
"""


def package(folder, pairs, rows):
    import numpy
    import pandas

    if folder.exists():
        return
    random = numpy.random.default_rng(17)
    for index in range(pairs):
        price = numpy.exp(numpy.cumsum(random.normal(0, 4e-4, rows + 20)))
        columns = {"timestamp": pandas.to_datetime(1_600_000_200_000 + 900_000 * numpy.arange(rows), unit="ms", utc=True)}
        columns["ret_1"] = numpy.diff(price[: rows + 1]).astype("f4")
        columns["rsi_14"] = (50 + 10 * random.normal(size=rows)).astype("f4")
        noise = random.normal(size=(rows, 573)).astype("f4")
        for column in range(573):
            columns[f"f{column:03d}"] = noise[:, column]
        columns["ml_confidence"] = random.uniform(0.5, 0.6, rows).astype("f4")
        columns["ml_prediction"] = random.integers(0, 2, rows).astype("f4")
        columns["target_return_20"] = (price[20:] / price[:rows] - 1).astype("f4")
        name = f"{chr(65 + index // 26)}{chr(65 + index % 26)}AUSD"
        (folder / name).mkdir(parents=True)
        pandas.DataFrame(columns).to_parquet(folder / name / "train.parquet", compression="zstd", row_group_size=2048, index=False)


def run(command):
    """Returns CPU seconds, wall seconds and the peak memory in MB of a command."""
    start = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[0]} failed: {error.decode()[-2000:]}")
    return usage.ru_utime + usage.ru_stime, time.time() - start, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rows", type=int, default=11_036)
    parser.add_argument("--pairs", type=int, default=51)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    source = arguments.out / "package"
    package(source, arguments.pairs, arguments.rows)
    usual = arguments.out / "usual.py"
    usual.write_text(USUAL)
    examples = 400 * arguments.pairs
    ours = [arguments.binary, "dataset", "build", "--preset", "forex-bridge", "--package", str(source),
            "--out", str(arguments.out / "bridge"), "--no-audit", "--set", "bridge.formulas=0",
            "--set", "bridge.signal=columns", "--set", "bridge.columns_are_out_of_fold=true",
            "--set", "bridge.held_out_per_pair=0"]
    readings = [*ours, "--set", "bridge.readings_per_pair=400", "--set", "bridge.scenarios_per_pair=0",
                "--set", "bridge.preferences_per_pair=0", "--set", "bridge.calculations_per_pair=0"]
    names = {"foretune readings": readings, "foretune all kinds": ours}
    for width in (575, 15):
        names[f"pandas {width}"] = [sys.executable, str(usual), str(source), str(arguments.out / "usual.jsonl"), str(width)]
    rates = {name: [] for name in names}
    for turn in range(arguments.rounds):
        for name, command in names.items():
            cpu, wall, memory = run(command)
            rates[name].append(examples / cpu)
            print(json.dumps({"round": turn, "what": name, "examples_per_cpu_second": round(examples / cpu),
                              "wall_seconds": round(wall, 1), "peak_mb": round(memory)}), flush=True)
    middle = {name: sorted(values)[len(values) // 2] for name, values in rates.items()}
    print(json.dumps({"median": {name: round(value) for name, value in middle.items()},
                      "ratio": {f"{mine} / {name}": round(middle[mine] / value, 2)
                                for mine in names if mine.startswith("foretune")
                                for name, value in middle.items() if not name.startswith("foretune")}}))


if __name__ == "__main__":
    main()
