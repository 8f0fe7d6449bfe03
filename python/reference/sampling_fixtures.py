"""Distributions that transformers' logits processors leave of a row of logits.

    venv/bin/python python/reference/sampling_fixtures.py crates/model/tests/fixtures/sampling.json

(environment: requirements-text.txt) Rows are seeded noise of several widths; one has ties at the
edge of top-k. Processors are applied in the order of `GenerationMixin._get_logits_processor`.
"""

import json
import pathlib
import sys

import torch
from transformers.generation.logits_process import (
    LogitsProcessorList, MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper,
    TopPLogitsWarper)

SETTINGS = [
    {}, {"temperature": 0.5}, {"temperature": 1.7}, {"top_k": 1}, {"top_k": 5}, {"top_k": 1000},
    {"top_p": 0.9}, {"top_p": 0.3}, {"top_p": 0.01}, {"min_p": 0.05}, {"min_p": 0.5}, {"min_p": 1.0},
    {"temperature": 0.7, "top_k": 8, "top_p": 0.85, "min_p": 0.1},
    {"temperature": 1.5, "top_k": 20, "top_p": 0.95}, {"top_p": 0.8, "min_p": 0.2},
]


def processors(how):
    steps = LogitsProcessorList()
    if "temperature" in how:
        steps.append(TemperatureLogitsWarper(how["temperature"]))
    if "top_k" in how:
        steps.append(TopKLogitsWarper(how["top_k"]))
    if "top_p" in how:
        steps.append(TopPLogitsWarper(how["top_p"]))
    if "min_p" in how:
        steps.append(MinPLogitsWarper(how["min_p"]))
    return steps


def main(path):
    generator = torch.Generator().manual_seed(20261122)
    rows = [torch.randn(40, generator=generator) * scale for scale in (0.3, 2.0, 6.0)]
    rows.append(torch.tensor([1.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.0, -1.0, 4.0]))
    cases = []
    for index, row in enumerate(rows):
        for how in SETTINGS:
            if index == 3 and ("top_p" in how or "min_p" in how):
                continue  # which of equal tokens goes first is nobody's promise
            scores = processors(how)(torch.zeros(1, 1, dtype=torch.long), row[None].clone())
            kept = torch.softmax(scores.double(), -1)[0]
            tokens = torch.nonzero(kept).flatten().tolist()
            cases.append({"row": index, "settings": how, "tokens": tokens,
                          "probabilities": [round(kept[t].item(), 9) for t in tokens]})
    document = {"rows": [[float(x) for x in row.tolist()] for row in rows], "cases": cases}
    path.write_text(json.dumps(document) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
