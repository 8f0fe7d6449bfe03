"""Whole optimiser steps on examples like real ones, against PEFT (SFT) or TRL (DPO), run alternately.

    cargo build --release -p foretune-train --example steps
    python bench/steps.py sft|dpo --python venv/bin/python MODEL CONFIG_DIRECTORY

The last line is one JSON object. Examples are like the quickstart's: some 243 tokens that begin with
the same 91, the last 40 supervised; a pair has one prompt and two such answers. Both sides count the
tokens of the examples in full. PYTHON has the packages of python/reference/requirements-engine.txt.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import tempfile
from pathlib import Path

from sft import ROOT, processor


def last_line(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{command} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def examples(kind, count, rng):
    draw = lambda n: [rng.randrange(3, 40000) for _ in range(n)]
    shared = draw(91)
    made = []
    for _ in range(count):
        prompt = shared + draw(112 + rng.randrange(-10, 11))
        answer = lambda: {"tokens": prompt + draw(40), "prompt_len": len(prompt)}
        made.append(answer() if kind == "sft" else {"chosen": answer(), "rejected": answer()})
    return {"examples" if kind == "sft" else "pairs": made}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["sft", "dpo"])
    parser.add_argument("model")
    parser.add_argument("config")
    parser.add_argument("--python", default="python3")
    parser.add_argument("--binary", default=str(ROOT / "target/release/examples/steps"))
    parser.add_argument("--keep", default="stored")
    parser.add_argument("--pass-rows", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dtypes", default="float32")
    arguments = parser.parse_args()
    dtypes = arguments.dtypes.split(",")
    mine, theirs = [], {dtype: [] for dtype in dtypes}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(examples(arguments.kind, arguments.batch * arguments.steps, random.Random(3)), file)
        file.flush()
        for number in range(arguments.rounds):
            mine.append(last_line([arguments.binary, arguments.model, file.name, arguments.keep,
                                   str(arguments.pass_rows), str(arguments.batch)]))
            print(f"round {number + 1}: foretune {mine[-1]['tokens_per_second']:.0f} tokens/s, "
                  f"{mine[-1]['peak_bytes'] / 1e9:.2f} GB", flush=True)
            for dtype in dtypes:
                theirs[dtype].append(last_line([arguments.python, str(ROOT / "bench/trl_steps.py"), arguments.config,
                                                file.name, str(arguments.batch), dtype]))
                run = theirs[dtype][-1]
                print(f"round {number + 1}: {dtype} {run['tokens_per_second']:.0f} tokens/s, "
                      f"{run['peak_bytes'] / 1e9:.2f} GB", flush=True)
    median = lambda runs, key: statistics.median(run[key] for run in runs)
    best = max(dtypes, key=lambda dtype: median(theirs[dtype], "tokens_per_second"))
    ours, peer = median(mine, "tokens_per_second"), median(theirs[best], "tokens_per_second")
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    print(json.dumps({
        "name": f"steps-{arguments.kind}", "batch": arguments.batch, "keep": arguments.keep, "ours": round(ours, 1),
        "peer": round(peer, 1), "peer_dtype": best, "ratio": round(ours / peer, 3),
        "memory_ratio": round(median(mine, "peak_bytes") / median(theirs[best], "peak_bytes"), 3),
        "host": f"{os.cpu_count()} cores, {processor()}", "commit": commit.stdout.strip(),
        "versions": theirs[best][0]["versions"]}))


if __name__ == "__main__":
    main()
