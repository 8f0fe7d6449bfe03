"""How a training step's time and memory grow with sequence length, batch, rank and model size.

    cargo build --release -p foretune-train --example throughput
    python bench/scaling.py OUT_DIRECTORY

Writes `scaling.jsonl` (a line for each measurement) and `scaling.svg`. One of the four is varied at a
time, the others stay at 256 tokens, four sequences (one where the length is varied), rank 8 and a
Llama-shaped model of 35 million parameters with random weights; a sixth of the tokens is supervised.
A measurement is a process of its own: the median of its steps after the first, and its peak resident
memory. The last line on standard output is one JSON object with the exponents of growth, d log(time or
memory) / d log(value), between the two largest values of each. Needs numpy.
"""

import argparse
import json
import math
import os
import platform
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

import random_model

ROOT = Path(__file__).resolve().parent.parent
# As random_model.SHAPES; widths are multiples of 256, the block of the weights' form.
MODELS = {
    "256 x 4": ("llama", 4, 256, 1024, 4, 2, 64, 1e4, 4096, False),
    "512 x 8": ("llama", 8, 512, 2048, 8, 4, 64, 1e4, 4096, False),
    "768 x 12": ("llama", 12, 768, 3072, 12, 4, 64, 1e4, 4096, False),
    "1024 x 16": ("llama", 16, 1024, 4096, 16, 4, 64, 1e4, 4096, False),
}
USUAL = "512 x 8"
LABELS = {"length": "sequence length (tokens)", "batch": "sequences", "rank": "rank",
          "model": "frozen parameters"}


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def measure(binary, model, rows, sequences, rank, steps):
    arguments = [rows, sequences, steps, max(1, rows // 6), "f32", rows * sequences, 0, rank]
    done = subprocess.run([binary, model, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{binary} failed: {done.stderr[-2000:]}")
    seconds = [float(s) for s in re.findall(r"step \d+: \d+ tokens/s, ([\d.]+) s", done.stdout)]
    return {
        "rows": rows, "sequences": sequences, "rank": rank,
        "parameters": int(re.search(r"loaded (\d+) parameters", done.stdout)[1]),
        "seconds": statistics.median(seconds[1:]),
        "tokens_per_second": rows * sequences / statistics.median(seconds[1:]),
        "peak_bytes": int(re.search(r"VmHWM:\s*(\d+) kB", done.stdout)[1]) * 1024,
    }


def plan(quick):
    """Yields what is varied, its value (none: the number of parameters), model, rows, sequences, rank."""
    lengths = [64, 128] if quick else [256, 512, 1024, 2048, 4096, 8192]
    yield from (("length", n, USUAL, n, 1, 8) for n in lengths)
    rows = 32 if quick else 256
    yield from (("batch", n, USUAL, rows, n, 8) for n in ([1, 2] if quick else [1, 2, 4, 8, 16]))
    yield from (("rank", n, USUAL, rows, 4, n) for n in ([4, 8] if quick else [4, 16, 64, 256]))
    yield from (("model", None, name, rows, 4, 8) for name in list(MODELS)[:2 if quick else None])


def exponent(points, key):
    (x, y), (u, v) = [(point["value"], point[key]) for point in points[-2:]]
    return round(math.log(v / y) / math.log(u / x), 2)


def ticks(low, high):
    """Values 1, 2 and 5 times a power of ten from low to high."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [m * 10.0 ** p for p in powers for m in (1, 2, 5) if low <= m * 10.0 ** p <= high]


def short(value):
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{value:g}"


def panel(points, key, left, top, width, height, label, unit, scale):
    """One plot with logarithmic axes, as SVG."""
    xs, ys = [p["value"] for p in points], [p[key] / scale for p in points]
    y_low, y_high = min(ys) / 1.6, max(ys) * 1.6
    across = lambda x: left + width * math.log(x / xs[0]) / math.log(xs[-1] / xs[0])
    down = lambda y: top + height * (1 - math.log(y / y_low) / math.log(y_high / y_low))
    out = [f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#bbb"/>']
    for y in ticks(y_low, y_high):
        out.append(f'<line x1="{left}" y1="{down(y):.1f}" x2="{left + width}" y2="{down(y):.1f}" stroke="#eee"/>')
        out.append(f'<text x="{left - 6}" y="{down(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in xs:
        out.append(f'<text x="{across(x):.1f}" y="{top + height + 15}" text-anchor="middle">{short(x)}</text>')
    line = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in zip(xs, ys))
    out.append(f'<polyline points="{line}" fill="none" stroke="#1a6" stroke-width="2"/>')
    out += [f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="3.5" fill="#1a6"/>' for x, y in zip(xs, ys)]
    middle = left + width / 2
    out.append(f'<text x="{middle}" y="{top - 8}" text-anchor="middle" font-weight="bold">{unit}, grows with exponent '
               f'{exponent(points, key):g} at the end</text>')
    out.append(f'<text x="{middle}" y="{top + height + 32}" text-anchor="middle">{label}</text>')
    return out


def draw(measured, title):
    width, height, row = 330, 170, 260
    varied = [name for name in LABELS if any(m["varied"] == name for m in measured)]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="860" height="{40 + row * len(varied)}" '
           'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="430" y="24" text-anchor="middle" font-size="15">{title}</text>']
    for index, name in enumerate(varied):
        points = [m for m in measured if m["varied"] == name]
        top = 70 + index * row
        out += panel(points, "seconds", 70, top, width, height, LABELS[name], "seconds a step", 1)
        out += panel(points, "peak_bytes", 500, top, width, height, LABELS[name], "peak memory (GB)", 1e9)
    return "\n".join([*out, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--binary", default=str(ROOT / "target/release/examples/throughput"))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    measured = []
    with tempfile.TemporaryDirectory() as folder, open(arguments.out / "scaling.jsonl", "w") as lines:
        paths = {}
        for varied, value, model, rows, sequences, rank in plan(arguments.quick):
            if model not in paths:
                paths[model] = str(Path(folder) / f"{len(paths)}.gguf")
                random_model.write(MODELS[model], paths[model])
            found = measure(arguments.binary, paths[model], rows, sequences, rank, arguments.steps)
            found = {"varied": varied, "value": value or found["parameters"], "model": model, **found}
            measured.append(found)
            lines.write(json.dumps(found) + "\n")
            lines.flush()
            print(f"{varied} {found['value']}: {found['seconds']:.2f} s, {found['tokens_per_second']:.0f} tokens/s, "
                  f"{found['peak_bytes'] / 1e9:.2f} GB", flush=True)
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    host = f"{os.cpu_count()} cores, {processor()}"
    (arguments.out / "scaling.svg").write_text(draw(measured, f"A training step on {host}"))
    growth = {name: {key: exponent([m for m in measured if m["varied"] == name], key)
                     for key in ("seconds", "peak_bytes")} for name in LABELS}
    print(json.dumps({"name": "scaling", "ours": growth, "peer": None, "ratio": None, "memory_ratio": None,
                      "host": host, "commit": commit.stdout.strip()}))


if __name__ == "__main__":
    main()
