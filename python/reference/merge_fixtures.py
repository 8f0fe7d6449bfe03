"""Reference for merging an adapter into a base model: what PEFT's `merge_and_unload` makes of it.

    python3 -m venv venv && venv/bin/pip install -r python/reference/requirements-engine.txt
    venv/bin/python python/reference/merge_fixtures.py crates/weights/tests/fixtures

writes merge.json: for the model in tiny-llama/ and an adapter whose matrices come from `numbers`
below (the test computes the same, exact in f32), the merged weights of its four modules, as
hexadecimal bytes (f32, little-endian, Hugging Face's layout).
"""

import json
import pathlib
import sys
import tempfile
from importlib.metadata import version

import numpy as np
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import LlamaForCausalLM

RANK, ALPHA = 3, 6
MODULES = {
    "model.layers.0.self_attn.q_proj": (32, 32),
    "model.layers.1.self_attn.k_proj": (32, 16),
    "model.layers.1.self_attn.v_proj": (32, 16),
    "model.layers.1.mlp.down_proj": (64, 32),
}


def numbers(start, *shape):
    count = int(np.prod(shape))
    values = ((np.arange(start, start + count) * 37) % 129 - 64) / 256.0
    return torch.tensor(values.reshape(shape), dtype=torch.float32)


def main(out):
    model = LlamaForCausalLM.from_pretrained(out / "tiny-llama", dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        write_adapter(pathlib.Path(folder))
        merged = PeftModel.from_pretrained(model, folder).merge_and_unload()
    state = merged.state_dict()
    weights = {name: state[f"{name}.weight"].numpy().astype("<f4").tobytes().hex()
               for name in MODULES}
    document = {"peft": version("peft"), "transformers": version("transformers"),
                "torch": version("torch"), "weights": weights}
    (out / "merge.json").write_text(json.dumps(document) + "\n", encoding="utf-8")


def write_adapter(folder):
    tensors = {}
    for name, (width, height) in MODULES.items():
        prefix = f"base_model.model.{name}"
        tensors[f"{prefix}.lora_A.weight"] = numbers(0, RANK, width)
        tensors[f"{prefix}.lora_B.weight"] = numbers(1000, height, RANK)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    # One pattern that matches the four modules and no others.
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA,
        "target_modules": "|".join(name.replace(".", r"\.") for name in MODULES),
        "bias": "none", "lora_dropout": 0.0, "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
