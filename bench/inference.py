"""Prefill, decoding and decision scoring against llama.cpp on the same GGUF, run alternately.

    cargo build --release -p foretune-model --example inference
    python bench/inference.py --python venv/bin/python MODEL

The last line is one JSON object. PYTHON has the wheel of python/check/requirements.txt. Scoring is
of 500 prompts of 240 tokens that share the first 150, as the prompts of one job do: ours all three
labels' log-probabilities, llama.cpp's the next token's most probable ones.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def last_line(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--python", default="python3")
    parser.add_argument("--binary", default=str(ROOT / "target/release/examples/inference"))
    parser.add_argument("--keep", default="stored,f32")
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    rng = random.Random(5)
    shared = [rng.randrange(3, 40000) for _ in range(150)]
    prompts = [shared + [rng.randrange(3, 40000) for _ in range(90)] for _ in range(arguments.prompts)]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"prompts": prompts, "labels": [[11], [12], [13]]}, file)
        file.flush()
        ours = {keep: [] for keep in arguments.keep.split(",")}
        theirs = []
        for number in range(arguments.rounds):
            for keep, runs in ours.items():
                runs.append(last_line([arguments.binary, arguments.model, keep, str(arguments.prefill),
                                       str(arguments.decode), file.name]))
                run = runs[-1]
                print(f"round {number + 1}: foretune {keep}: prefill {run['prefill']:.0f}, decode {run['decode']:.1f} "
                      f"tokens/s, scoring {run['scoring']['seconds']:.1f} s", flush=True)
            theirs.append(last_line([arguments.python, str(ROOT / "bench/llama_inference.py"), arguments.model,
                                     str(arguments.prefill), str(arguments.decode), file.name]))
            run = theirs[-1]
            print(f"round {number + 1}: llama.cpp: prefill {run['prefill']:.0f}, decode {run['decode']:.1f} tokens/s, "
                  f"scoring {run['scoring']}", flush=True)
    median = lambda values: statistics.median(values)
    best = lambda key: max(median([run[key] for run in runs]) for runs in ours.values())
    scoring = min(median([run["scoring"]["seconds"] for run in runs]) for runs in ours.values())
    scoring_peer = min(median([run["scoring"][way] for run in theirs]) for way in theirs[0]["scoring"])
    peers = {key: median([run[key] for run in theirs]) for key in ("prefill", "decode")}
    memory = min(median([run["peak_bytes"] for run in runs]) for runs in ours.values())
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    print(json.dumps({
        "name": "inference",
        "ours": {"prefill": best("prefill"), "decode": best("decode"), "scoring_seconds": scoring},
        "peer": {**peers, "scoring_seconds": scoring_peer},
        "ratio": {"prefill": best("prefill") / peers["prefill"], "decode": best("decode") / peers["decode"],
                  "scoring": scoring_peer / scoring},
        "memory_ratio": memory / median([run["peak_bytes"] for run in theirs]),
        "host": f"{os.cpu_count()} cores, {processor()}", "commit": commit.stdout.strip(),
        "version": theirs[0]["version"]}))


if __name__ == "__main__":
    main()
