"""Reference values for rsLoRA and LoRA+: PEFT's own scale and PEFT's own optimiser.

    python3 -m venv venv && venv/bin/pip install -r python/reference/requirements-engine.txt
    venv/bin/python python/reference/peft_variants.py crates/train/tests/fixtures

Reads model, adapter `adapter_qv` and sequences of `engine/tied` (see engine.py) and writes `variants/`:

    rslora_adapter/                      that adapter with `use_rslora`, as PEFT saves it
    reference.safetensors                <case>.step3.<module>.lora_A|lora_B, after 3 AdamW steps
    reference.json                       settings, and per case the losses before each step and after the last

The cases are `rslora` and `loraplus` (`peft.optimizers.create_loraplus_optimizer`). Everything is
float32, as PEFT computes it.
"""

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import peft
import torch
import torch.nn.functional as F
import transformers
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

STEPS = 3
RATIO = 4.0
OPTIMIZER = {"learning_rate": 1e-2, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01}


def adapted(directory, rslora):
    model = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    config = json.loads((directory / "adapter_qv" / "adapter_config.json").read_text())
    model = peft.get_peft_model(model, peft.LoraConfig(
        r=config["r"], lora_alpha=config["lora_alpha"], target_modules=config["target_modules"], lora_dropout=0.0,
        bias="none", task_type="CAUSAL_LM", use_rslora=rslora))
    values = load_file(directory / "adapter_qv" / "adapter_model.safetensors")
    with torch.no_grad():
        for name, parameter in trained(model).items():
            parameter.copy_(values[f"base_model.model.{name}.weight"])
    return model


def trained(model):
    strip = lambda name: name.removeprefix("base_model.model.").removesuffix(".default.weight")
    return {strip(name): p for name, p in model.named_parameters() if p.requires_grad}


def mean_loss(model, sequences):
    total, count = 0.0, 0
    for sequence in sequences:
        logits = model(input_ids=torch.tensor([sequence["tokens"]]), use_cache=False).logits[0]
        targets = [t for t, on in enumerate(sequence["supervised"]) if on]
        expected = torch.tensor([sequence["tokens"][t] for t in targets])
        total = total + F.cross_entropy(logits[torch.tensor(targets) - 1], expected, reduction="sum")
        count += len(targets)
    return total / count


def run(model, optimizer, sequences):
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = mean_loss(model, sequences)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    with torch.no_grad():
        losses.append(mean_loss(model, sequences).item())
    return {f"step{STEPS}.{name}": p.detach().clone() for name, p in trained(model).items()}, losses


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixtures", type=Path)
    fixtures = parser.parse_args().fixtures
    directory, out = fixtures / "engine" / "tied", fixtures / "variants"
    (out / "rslora_adapter").mkdir(parents=True, exist_ok=True)
    sequences = json.loads((directory / "reference.json").read_text())["sequences"]
    torch.set_num_threads(1)
    common = {"betas": (OPTIMIZER["beta1"], OPTIMIZER["beta2"]), "eps": OPTIMIZER["epsilon"]}
    model = adapted(directory, rslora=True)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        config = json.loads((Path(scratch) / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = directory.name
        config["target_modules"] = sorted(config["target_modules"])
        (out / "rslora_adapter" / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
        (out / "rslora_adapter" / "adapter_model.safetensors").write_bytes(
            (Path(scratch) / "adapter_model.safetensors").read_bytes())
    cases = {"rslora": (model, torch.optim.AdamW(
        trained(model).values(), lr=OPTIMIZER["learning_rate"], weight_decay=OPTIMIZER["weight_decay"], **common))}
    model = adapted(directory, rslora=False)
    cases["loraplus"] = (model, create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=OPTIMIZER["learning_rate"], loraplus_lr_ratio=RATIO,
        loraplus_weight_decay=OPTIMIZER["weight_decay"], **common))
    tensors, scalars = {}, {}
    for name, (model, optimizer) in cases.items():
        found, scalars[name] = run(model, optimizer, sequences)
        tensors |= {f"{name}.{key}": value for key, value in found.items()}
    save_file(tensors, out / "reference.safetensors")
    (out / "reference.safetensors").chmod(0o644)
    (out / "reference.json").write_text(json.dumps({
        "command": "python python/reference/peft_variants.py crates/train/tests/fixtures",
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "transformers": transformers.__version__, "peft": peft.__version__},
        "optimizer": OPTIMIZER, "loraplus_ratio": RATIO, "losses": scalars}, indent=1) + "\n")


if __name__ == "__main__":
    main()
