"""Training speed against transformers + PEFT, run alternately; the last line is one JSON object.

    cargo build --release -p foretune-train --example throughput
    python bench/sft.py --python venv/bin/python MODEL CONFIG_DIRECTORY

MODEL is what foretune loads (a GGUF file or a directory), CONFIG_DIRECTORY holds the `config.json` of a
model of the same shape, PYTHON has the packages of python/reference/requirements-engine.txt.
Both train LoRA r 8 on q and v, dropout 0.05, all tokens supervised unless --supervised says fewer;
medians over rounds, each round's first step left out. The peer runs in each dtype named; its best
one counts. With --compile it goes through torch.compile; its first step, which compiles, is stated
apart.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def ours(binary, arguments):
    sizes = [str(v) for v in (arguments.rows, arguments.sequences, arguments.steps, arguments.supervised)]
    done = subprocess.run([binary, arguments.model, *sizes], capture_output=True, text=True, check=True)
    rates = [float(rate) for rate in re.findall(r"step \d+: (\d+) tokens/s", done.stdout)]
    peak = int(re.search(r"VmHWM:\s*(\d+) kB", done.stdout)[1]) * 1024
    return statistics.median(rates[1:]), peak


def peer(arguments, dtype):
    sizes = [str(v) for v in (arguments.rows, arguments.sequences, arguments.steps, arguments.supervised)]
    command = [arguments.python, str(ROOT / "bench/peft_sft.py"), arguments.config, *sizes, dtype]
    command += ["compile"] if arguments.compile else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    last = json.loads(done.stdout.strip().splitlines()[-1])
    return last["tokens_per_second"], last["peak_bytes"], last


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("config")
    parser.add_argument("--python", default="python3")
    parser.add_argument("--binary", default=str(ROOT / "target/release/examples/throughput"))
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--supervised", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--compile", action="store_true", help="let the peer use torch.compile")
    arguments = parser.parse_args()
    if arguments.supervised is None:
        arguments.supervised = arguments.rows - 1
    dtypes = arguments.dtypes.split(",")
    mine, theirs = [], {dtype: [] for dtype in dtypes}
    for number in range(arguments.rounds):
        mine.append(ours(arguments.binary, arguments))
        print(f"round {number + 1}: foretune {mine[-1][0]:.0f} tokens/s, {mine[-1][1] / 1e9:.2f} GB", flush=True)
        for dtype in dtypes:
            rate, peak, versions = peer(arguments, dtype)
            theirs[dtype].append((rate, peak, versions["first_step_seconds"]))
            print(f"round {number + 1}: {dtype}{' compiled' * arguments.compile} {rate:.0f} tokens/s, "
                  f"{peak / 1e9:.2f} GB, first step {versions['first_step_seconds']:.1f} s", flush=True)
    median = lambda runs, index: statistics.median(run[index] for run in runs)
    best = max(dtypes, key=lambda dtype: median(theirs[dtype], 0))
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    print(json.dumps({
        "name": "sft-compiled" if arguments.compile else "sft", "rows": arguments.rows, "sequences": arguments.sequences, "supervised": arguments.supervised,
        "ours": round(median(mine, 0), 1), "peer": round(median(theirs[best], 0), 1), "peer_dtype": best,
        "peer_first_step_seconds": round(median(theirs[best], 2), 1),
        "ratio": round(median(mine, 0) / median(theirs[best], 0), 3),
        "memory_ratio": round(median(mine, 1) / median(theirs[best], 1), 3),
        "host": f"{os.cpu_count()} cores, {processor()}", "commit": commit.stdout.strip(), "versions": {
            key: versions[key] for key in ("torch", "transformers", "peft")}}))


if __name__ == "__main__":
    main()
