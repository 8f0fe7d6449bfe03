"""Checks on demand that PEFT loads an adapter directory written by foretune.

    venv/bin/python python/reference/engine_peft_load.py BASE_DIR ADAPTER_DIR LOGITS_JSON [--tolerance 1e-3]

(requirements-engine.txt.) BASE_DIR is a transformers model directory (`config.json`,
`model.safetensors`), or a GGUF file, which transformers dequantises itself.
ADAPTER_DIR is a PEFT directory. LOGITS_JSON holds token ids and the logits that
foretune computed with the adapter on:

    {"sequences": [{"tokens": [1, 2, 3], "positions": [2], "logits": [[...V floats...]]}]}

`positions` names the rows that were dumped; without it every position is expected.
Prints one JSON object and exits with 1 when the largest difference exceeds the
tolerance, when PEFT reports missing or unexpected keys, or when the adapter turns
out to change nothing (a silent no-op would otherwise pass on an untrained adapter).
"""

import argparse
import json
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft
import torch
import transformers
from peft import PeftModel
from transformers import AutoModelForCausalLM


def load_base(path):
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    if path.is_file():
        return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, **options)
    return AutoModelForCausalLM.from_pretrained(path, **options)


def load_adapter(base, directory):
    """The model with the adapter, and what PEFT complained about."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(base, directory, autocast_adapter_dtype=False)
    complaints = [str(w.message) for w in caught if "key" in str(w.message).lower()]
    return model.eval(), complaints


def logits_of(model, sequence):
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([sequence["tokens"]]), use_cache=False).logits[0]
    return logits[sequence["positions"]] if "positions" in sequence else logits


def main():
    parser = argparse.ArgumentParser(description="compares foretune's logits with PEFT's")
    parser.add_argument("base", type=Path)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("logits", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    torch.set_float32_matmul_precision("highest")

    sequences = json.loads(arguments.logits.read_text())["sequences"]
    base = load_base(arguments.base).eval()
    without = [logits_of(base, s) for s in sequences]
    model, complaints = load_adapter(base, arguments.adapter)
    difference, change, disagreements, rows = 0.0, 0.0, 0, 0
    for sequence, plain in zip(sequences, without, strict=True):
        theirs = logits_of(model, sequence)
        ours = torch.tensor(sequence["logits"])
        if ours.shape != theirs.shape:
            sys.exit(f"logits of shape {tuple(ours.shape)} where PEFT has {tuple(theirs.shape)}")
        difference = max(difference, (ours - theirs).abs().max().item())
        change = max(change, (plain - theirs).abs().max().item())
        disagreements += (ours.argmax(-1) != theirs.argmax(-1)).sum().item()
        rows += len(ours)
    good = difference <= arguments.tolerance and change > 0.0 and not complaints
    print(json.dumps({
        "max_logit_difference": difference, "tolerance": arguments.tolerance,
        "largest_change_by_adapter": change, "argmax_disagreements": disagreements, "positions": rows,
        "peft_complaints": complaints,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
        "good": good,
    }, indent=1))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
