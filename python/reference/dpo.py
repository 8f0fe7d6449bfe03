"""Reference values for preference training: TRL's DPO loss, rewards and gradients.

    python3 -m venv venv && venv/bin/pip install -r python/reference/requirements-engine.txt
    venv/bin/python python/reference/dpo.py crates/train/tests/fixtures

Reads the model and the adapter `adapter_qv` of `engine/tied` (see engine.py) and writes `dpo/`:

    reference.json           pairs (token ids), settings, and per case and step: loss, rewards, margin,
                             accuracy, log-probabilities
    reference.safetensors    <case>.grad.<module>.lora_A|lora_B of the first step,
                             <case>.step3.<module>... after 3 AdamW steps
    metadata.json            versions, command

The numbers are TRL's own: a `DPOTrainer` with a fresh adapter (so that its reference is the base
with the adapter off) whose weights are then set to those of the fixture; `_compute_loss` is called
on its own collator's batches. TRL has label smoothing in its losses of other names only: `aot` on
one pair at a time is the smoothed sigmoid loss, so that case adds up batches of one pair.
Everything is float32, as TRL computes it.
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
import safetensors
import torch
import transformers
import trl
from datasets import Dataset
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

STEPS = 3
BETA = 0.3
OPTIMIZER = {"learning_rate": 1e-2, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0}
# name: (TRL's loss, label smoothing, pairs in a batch)
CASES = {"sigmoid": ("sigmoid", 0.0, 3), "smoothed": ("aot", 0.2, 1)}
PAIRS = [
    {"prompt": [5, 9, 13, 22, 31], "chosen": [40, 41, 2], "rejected": [42, 2]},
    {"prompt": [5, 9, 13, 7, 8, 30], "chosen": [40, 2], "rejected": [40, 33, 34, 2]},
    {"prompt": [5, 9, 17], "chosen": [50, 51, 52, 2], "rejected": [53, 51, 2]},
]


def tokenizer(vocabulary):
    words = {f"t{i}": i for i in range(vocabulary)}
    inner = Tokenizer(models.WordLevel(words, unk_token="t0"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="t0", eos_token="t2", unk_token="t0")


def trainer_of(directory, loss, smoothing, scratch):
    model = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    words = tokenizer(model.config.vocab_size)
    spell = lambda ids: " ".join(f"t{i}" for i in ids)
    # TRL tokenizes what it is given; the batches below are made from the ids directly.
    rows = [{"prompt": spell(p["prompt"]) + " ", "chosen": spell(p["chosen"]), "rejected": spell(p["rejected"])}
            for p in PAIRS]
    config = json.loads((directory / "adapter_qv" / "adapter_config.json").read_text())
    arguments = trl.DPOConfig(
        output_dir=scratch, beta=BETA, loss_type=[loss], label_smoothing=smoothing, report_to=[],
        per_device_train_batch_size=len(PAIRS), use_cpu=True, bf16=False, gradient_checkpointing=False)
    trainer = trl.DPOTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=words,
        peft_config=peft.LoraConfig(
            r=config["r"], lora_alpha=config["lora_alpha"], target_modules=config["target_modules"],
            lora_dropout=0.0, bias="none", task_type="CAUSAL_LM"))
    values = load_file(directory / "adapter_qv" / "adapter_model.safetensors")
    with torch.no_grad():
        for name, parameter in parameters_of(trainer.model).items():
            block, factor = name.rsplit(".", 1)
            parameter.copy_(values[f"base_model.model.{block}.{factor}.weight"])
    trainer.model.train()
    return trainer


def parameters_of(model):
    result = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            result[name.removeprefix("base_model.model.").removesuffix(".default.weight")] = parameter
    return result


def run(directory, loss, smoothing, size, scratch):
    trainer = trainer_of(directory, loss, smoothing, scratch)
    parameters = parameters_of(trainer.model)
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=OPTIMIZER["learning_rate"], betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]),
        eps=OPTIMIZER["epsilon"], weight_decay=OPTIMIZER["weight_decay"], foreach=False)
    tensors, steps = {}, []
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        trainer._metrics["train"].clear()
        total = 0.0
        batches = [PAIRS[i:i + size] for i in range(0, len(PAIRS), size)]
        for batch in batches:
            inputs = trainer.data_collator([
                {"prompt_ids": p["prompt"], "chosen_ids": p["chosen"], "rejected_ids": p["rejected"]} for p in batch])
            value = trainer._compute_loss(trainer.model, inputs, False) / len(batches)
            value.backward()
            total += value.item()
        mean = lambda name: sum(trainer._metrics["train"][name]) / len(batches)
        steps.append({
            "loss": total, "reward_chosen": mean("rewards/chosen"), "reward_rejected": mean("rewards/rejected"),
            "reward_margin": mean("rewards/margins"), "reward_accuracy": mean("rewards/accuracies"),
            "logp_chosen": mean("logps/chosen"), "logp_rejected": mean("logps/rejected")})
        if step == 1:
            tensors |= {f"grad.{name}": p.grad.clone() for name, p in parameters.items()}
        optimizer.step()
    tensors |= {f"step{STEPS}.{name}": p.detach().clone() for name, p in parameters.items()}
    return tensors, steps


def main():
    parser = argparse.ArgumentParser(description="writes the reference fixtures of preference training")
    parser.add_argument("directory", type=Path)
    root = parser.parse_args().directory
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    target = root / "dpo"
    target.mkdir(exist_ok=True)
    tensors, cases = {}, {}
    for name, (loss, smoothing, size) in CASES.items():
        with tempfile.TemporaryDirectory() as scratch:
            found, steps = run(root / "engine" / "tied", loss, smoothing, size, scratch)
        tensors |= {f"{name}.{key}": value for key, value in found.items()}
        cases[name] = {"label_smoothing": smoothing, "steps": steps}
    path = target / "reference.safetensors"
    save_file({k: v.float().contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})
    path.chmod(0o644)
    document = {"beta": BETA, "optimizer": OPTIMIZER, "pairs": PAIRS, "cases": cases}
    (target / "reference.json").write_text(json.dumps(document, indent=1) + "\n")
    versions = {module.__name__: module.__version__ for module in (torch, transformers, peft, trl, safetensors)}
    (target / "metadata.json").write_text(json.dumps({
        "about": "float32 results of TRL's DPOTrainer on engine/tied with adapter_qv",
        "command": "python python/reference/dpo.py crates/train/tests/fixtures",
        "versions": {"python": platform.python_version(), **versions}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
