"""Measures how far llama.cpp's log-probabilities are from an exact forward pass.

    venv/bin/python python/reference/engine_llama_deviation.py BASE REQUEST RESPONSE [--adapter PEFT_DIR]

REQUEST and RESPONSE are those of python/check/llama_client.py. BASE is the base model's
GGUF file (or a transformers directory): its dequantised weights are run in float32 by
transformers over prompt + answer, and every listed log-probability is compared. With an
adapter, PEFT_DIR is the PEFT form of the GGUF adapter in the request.

Quantised products in llama.cpp also round the *activations* (to blocks of 32 eight-bit
integers), so its answers differ from those of the same weights in float32. The tolerance
within which two decoders may disagree about the next token follows from this output:

    logprob[n]   |difference| over the n best tokens of each position
    pair         |difference| of (best - second best), which is what decides the token
    flips        exact gap at the positions where the most probable token differs
"""

import argparse
import json
from pathlib import Path

import torch
import transformers

from engine_peft_load import load_adapter, load_base


def quantiles(values):
    values = torch.tensor(values, dtype=torch.float64)
    points = {"median": 0.5, "p90": 0.9, "p99": 0.99}
    result = {name: torch.quantile(values, at).item() for name, at in points.items()}
    return {name: float(f"{value:.3g}") for name, value in (result | {"max": values.max().item()}).items()}


def main():
    parser = argparse.ArgumentParser(description="llama.cpp against an exact float32 forward pass")
    parser.add_argument("base", type=Path)
    parser.add_argument("request", type=Path)
    parser.add_argument("response", type=Path)
    parser.add_argument("--adapter", type=Path)
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    torch.set_float32_matmul_precision("highest")

    prompts = {p["id"]: p["tokens"] for p in json.loads(arguments.request.read_text())["prompts"]}
    results = json.loads(arguments.response.read_text())["results"]
    model = load_base(arguments.base).eval()
    if arguments.adapter:
        model, complaints = load_adapter(model, arguments.adapter)
        assert not complaints, complaints
    singles, pairs, flips, gaps = {1: [], 5: [], 10: []}, [], [], []
    for result in results:
        prompt = prompts[result["id"]]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + result["tokens"][:-1]]), use_cache=False).logits[0]
        exact = torch.log_softmax(logits[len(prompt) - 1:].double(), dim=-1)
        for row, position in zip(exact, result["positions"], strict=True):
            top = position["top"]
            for count, values in singles.items():
                values += [abs(row[t["id"]].item() - t["logprob"]) for t in top[:count]]
            theirs = top[0]["logprob"] - top[1]["logprob"]
            pairs.append(abs(theirs - (row[top[0]["id"]] - row[top[1]["id"]]).item()))
            best, second = row.topk(2).values.tolist()
            gaps.append(best - second)
            if row.argmax().item() != position["id"]:
                flips.append(round(best - row[position["id"]].item(), 4))
    print(json.dumps({
        "positions": len(gaps),
        "logprob": {str(count): quantiles(values) for count, values in singles.items()},
        "pair": quantiles(pairs), "flips": sorted(flips),
        "positions_with_exact_gap_below": {str(g): sum(gap < g for gap in gaps) for g in (0.01, 0.1, 0.5)},
    }, indent=1))


if __name__ == "__main__":
    main()
