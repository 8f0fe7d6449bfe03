"""Reference values for the decoder's families: logits, loss and LoRA gradients.

    python3 -m venv venv && venv/bin/pip install -r python/reference/requirements-engine.txt
    venv/bin/python python/reference/families.py crates/train/tests/fixtures

Writes `families/<name>/` for tiny random models of each family and rotary kind that engine.py does not
cover: `config.json` and `model.safetensors` as transformers saves them (f32), `adapter/` as PEFT
saves it, and

    reference.json           token ids, first supervised position, loss
    reference.safetensors    logits [T, V] with the adapter; grad.<module>.lora_A|lora_B of the mean
                             cross-entropy

transformers and PEFT compute in float32, one thread; the adapter is on every linear.
"""

import argparse
import json
import os
import platform
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import peft
import safetensors
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

SIZES = dict(
    vocab_size=80, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, rms_norm_eps=1e-6, max_position_embeddings=64, bos_token_id=1, eos_token_id=2,
    pad_token_id=None, attn_implementation="eager")
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
FAMILIES = {
    # An explicit head width that is not hidden / heads.
    "mistral": (transformers.MistralConfig, dict(head_dim=16, sliding_window=None, rope_parameters=PLAIN)),
    "qwen2": (transformers.Qwen2Config, dict(tie_word_embeddings=True, rope_parameters=PLAIN)),
    "qwen3": (transformers.Qwen3Config, dict(head_dim=16, tie_word_embeddings=False, rope_parameters=PLAIN)),
    "llama3-rotary": (transformers.LlamaConfig, dict(rope_parameters=LLAMA3)),
    "yarn-rotary": (transformers.Qwen2Config, dict(rope_parameters=YARN)),
    "linear-rotary": (transformers.LlamaConfig, dict(rope_parameters=LINEAR)),
    # Windows shorter than the sequence, on all layers and on the upper one.
    "mistral-window": (transformers.MistralConfig, dict(
        hidden_size=16, intermediate_size=24, sliding_window=7, rope_parameters=PLAIN)),
    "qwen2-window": (transformers.Qwen2Config, dict(
        hidden_size=16, intermediate_size=24, tie_word_embeddings=True, use_sliding_window=True,
        sliding_window=5, max_window_layers=1, rope_parameters=PLAIN)),
}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LENGTH, FIRST = 24, 15


def write(root, name, kind, options, seed):
    directory = root / name
    directory.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    config = kind(**{**SIZES, **options})
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    with torch.no_grad():
        for key, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1.0 + 0.2 * noise if "norm" in key else 0.3 * noise)
    model.save_pretrained(directory)
    for extra in directory.glob("generation_config.json"):
        extra.unlink()
    adapted = peft.get_peft_model(model, peft.LoraConfig(
        r=2, lora_alpha=4, target_modules=TARGETS, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM"))
    parameters = {}
    with torch.no_grad():
        for key, parameter in adapted.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
                parameters[key.removeprefix("base_model.model.").removesuffix(".default.weight")] = parameter
    adapted.eval()
    adapted.save_pretrained(directory / "adapter")
    (directory / "adapter" / "README.md").unlink(missing_ok=True)
    saved = directory / "adapter" / "adapter_config.json"
    settings = json.loads(saved.read_text())
    settings["base_model_name_or_path"], settings["target_modules"] = name, sorted(settings["target_modules"])
    saved.write_text(json.dumps(settings, indent=1) + "\n")
    tokens = torch.randint(3, SIZES["vocab_size"], (LENGTH,), generator=generator)
    logits = adapted(input_ids=tokens[None], use_cache=False).logits[0]
    loss = F.cross_entropy(logits[FIRST - 1:-1], tokens[FIRST:])
    loss.backward()
    tensors = {"logits": logits.detach(), **{f"grad.{k}": p.grad for k, p in parameters.items()}}
    path = directory / "reference.safetensors"
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})
    for file in directory.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    (directory / "reference.json").write_text(json.dumps(
        {"tokens": tokens.tolist(), "first": FIRST, "loss": loss.item()}) + "\n")


def main():
    parser = argparse.ArgumentParser(description="writes the reference fixtures of the families")
    parser.add_argument("directory", type=Path)
    root = parser.parse_args().directory / "families"
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    for index, (name, (kind, options)) in enumerate(FAMILIES.items()):
        write(root, name, kind, options, 40 + index)
    versions = {module.__name__: module.__version__ for module in (torch, transformers, peft, safetensors)}
    (root / "metadata.json").write_text(json.dumps({
        "about": "float32 results of transformers and PEFT",
        "command": "python python/reference/families.py crates/train/tests/fixtures",
        "versions": {"python": platform.python_version(), **versions}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
