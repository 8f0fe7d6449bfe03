"""Reference values for the training engine: forward pass, LoRA gradients, AdamW.

    python3 -m venv venv && venv/bin/pip install -r python/reference/requirements-engine.txt
    venv/bin/python python/reference/engine.py crates/train/tests/fixtures/engine

Two tiny random Llama models are written as ordinary model directories
(`config.json` and `model.safetensors`, f32), and beside each what transformers,
PEFT and torch.optim compute from them:

    <model>/config.json, model.safetensors     the base model
    <model>/adapter_qv/, adapter_all/          PEFT directories, as PEFT itself saves them
    <model>/reference.json                     token ids, masks, losses, norms, settings
    <model>/reference.safetensors              logits, hidden states, gradients, parameters
    metadata.json                              versions, command, seeds, agreement f32 / f64

All stored values are computed in float64 and rounded once to float32. transformers
computes rotary angles, normalisation and softmax in float32 whatever the model's
dtype, so those three are replaced by float64 versions of the same formulas; the
unmodified library runs beside it in float32 and the script fails when the two
disagree by more than F32_TOLERANCE. The largest disagreement is recorded.

Names in reference.safetensors (S = sequence index, L = layer, T tokens, V vocabulary):

    base.logits.S [T, V]                       no adapter
    base.hidden.S.0 .. base.hidden.S.N [T, C]  input of layer 0, then output of each layer
    <adapter>.logits.S [T, V]                  adapter on
    <adapter>.grad.<module>.lora_A|lora_B      of the mean cross-entropy, first step
    <adapter>.step3.<module>.lora_A|lora_B     parameters after 3 AdamW steps
    qv.step1.<module>...                       parameters after the first
    <adapter>.clipped.grad.<module>...         first step's gradients clipped to max_norm
    <adapter>.clipped.step3.<module>...        parameters after 3 steps that all clip

`<module>` is the base model's name, `model.layers.0.self_attn.q_proj`.
The loss is the sum of the cross-entropy over the supervised tokens of all
sequences divided by their number; `supervised[t]` says whether token t is a target,
predicted from position t - 1. Sequences run one at a time, without padding.
"""

import argparse
import json
import math
import os
import platform
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy
import peft
import safetensors
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

STEPS = 3
OPTIMIZER = {"learning_rate": 1e-2, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01}
MAX_NORM = 1.0
# Relative to the largest magnitude of a tensor: float32 with some hundred additions per value.
F32_TOLERANCE = 2e-5

QV = ["q_proj", "v_proj"]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAPTERS = {
    "qv": {"rank": 4, "alpha": 8, "targets": QV},
    "all": {"rank": 2, "alpha": 8, "targets": ALL},
}
MODELS = {
    "tied": {
        "seed": 11,
        "hidden": 32, "layers": 2, "heads": 4, "kv_heads": 2, "ffn": 48, "vocab": 64,
        "theta": 10000.0, "tied": True,
    },
    "untied": {
        "seed": 12,
        "hidden": 48, "layers": 3, "heads": 6, "kv_heads": 2, "ffn": 64, "vocab": 96,
        "theta": 100000.0, "tied": False,
    },
}
# (length, first supervised token)
SEQUENCES = [(13, 6), (9, 4)]


def llama_config(spec):
    return LlamaConfig(
        vocab_size=spec["vocab"], hidden_size=spec["hidden"], intermediate_size=spec["ffn"],
        num_hidden_layers=spec["layers"], num_attention_heads=spec["heads"],
        num_key_value_heads=spec["kv_heads"], head_dim=8, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": spec["theta"]},
        tie_word_embeddings=spec["tied"], max_position_embeddings=128,
        bos_token_id=1, eos_token_id=2, pad_token_id=None, attn_implementation="eager",
    )


def random_weights(config, seed):
    """f32 weights by name: matrices N(0, 0.3), norms N(1, 0.2)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        names = {n: p.shape for n, p in LlamaForCausalLM(config).named_parameters()}
    weights = {}
    for name in sorted(names):
        noise = torch.randn(names[name], generator=generator)
        weights[name] = 1.0 + 0.2 * noise if name.endswith("norm.weight") else 0.3 * noise
    return weights


def random_sequences(spec):
    generator = torch.Generator().manual_seed(spec["seed"] + 100)
    result = []
    for length, first in SEQUENCES:
        tokens = torch.randint(3, spec["vocab"], (length,), generator=generator).tolist()
        result.append({"tokens": tokens, "supervised": [t >= first for t in range(length)]})
    return result


def random_adapter(config, adapter, seed):
    """f32 lora_A [r, in] ~ N(0, 0.25) and lora_B [out, r] ~ N(0, 0.15), by module name."""
    generator = torch.Generator().manual_seed(seed)
    hidden, ffn, rank = config.hidden_size, config.intermediate_size, adapter["rank"]
    q, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    shapes = {
        "q_proj": (q, hidden), "k_proj": (kv, hidden), "v_proj": (kv, hidden), "o_proj": (hidden, q),
        "gate_proj": (ffn, hidden), "up_proj": (ffn, hidden), "down_proj": (hidden, ffn),
    }
    result = {}
    for layer in range(config.num_hidden_layers):
        for target in adapter["targets"]:
            block = "self_attn" if target in ("q_proj", "k_proj", "v_proj", "o_proj") else "mlp"
            rows, columns = shapes[target]
            name = f"model.layers.{layer}.{block}.{target}"
            result[name + ".lora_A"] = 0.25 * torch.randn(rank, columns, generator=generator)
            result[name + ".lora_B"] = 0.15 * torch.randn(rows, rank, generator=generator)
    return result


def make_float64(model):
    """Doubles the model and replaces the steps that transformers pins to float32."""
    model.double()
    config = model.config
    for module in model.modules():
        kind = type(module).__name__
        if kind == "LlamaRMSNorm":
            module.forward = lambda x, m=module: m.weight * (
                x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + m.variance_epsilon))
        elif kind == "LlamaRotaryEmbedding":
            theta, width = config.rope_parameters["rope_theta"], config.head_dim

            def rotary(x, position_ids, theta=theta, width=width):
                frequency = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
                angle = position_ids[:, :, None].double() * frequency
                angle = torch.cat([angle, angle], dim=-1)
                return angle.cos(), angle.sin()

            module.forward = rotary
    return model


def attention_float64(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    key = modeling_llama.repeat_kv(key, module.num_key_value_groups)
    value = modeling_llama.repeat_kv(value, module.num_key_value_groups)
    scores = query @ key.transpose(2, 3) * scaling
    length = query.shape[2]
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


transformers.utils.logging.disable_progress_bar()
transformers.AttentionInterface.register("float64", attention_float64)


def load(directory, dtype):
    double = dtype == torch.float64
    model = LlamaForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="float64" if double else "eager")
    model.eval()
    return make_float64(model) if double else model


def attach(model, adapter, weights):
    config = peft.LoraConfig(
        r=adapter["rank"], lora_alpha=adapter["alpha"], target_modules=adapter["targets"],
        lora_dropout=0.0, bias="none", task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    model.eval()
    with torch.no_grad():
        parameters = lora_parameters(model)
        assert parameters.keys() == weights.keys(), parameters.keys() ^ weights.keys()
        for name, parameter in parameters.items():
            parameter.data = weights[name].to(model.dtype).clone()
    return model


def lora_parameters(model):
    """Trainable parameters under `model.layers.0.self_attn.q_proj.lora_A`."""
    result = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            short = name.removeprefix("base_model.model.").removesuffix(".default.weight")
            result[short] = parameter
    return result


def logits_of(model, tokens, hidden=False):
    output = model(input_ids=torch.tensor([tokens]), use_cache=False, output_hidden_states=hidden)
    return (output.logits[0], output.hidden_states) if hidden else output.logits[0]


def mean_loss(model, sequences):
    total, count = 0.0, 0
    for sequence in sequences:
        logits = logits_of(model, sequence["tokens"])
        targets = [t for t, s in enumerate(sequence["supervised"]) if s]
        rows = torch.tensor([t - 1 for t in targets])
        total = total + F.cross_entropy(
            logits[rows], torch.tensor([sequence["tokens"][t] for t in targets]), reduction="sum")
        count += len(targets)
    return total / count


def base_run(directory, sequences, dtype):
    model = load(directory, dtype)
    tensors = {}
    # The last hidden state of transformers is after the final norm; hooks give the layer's own output.
    collected = []
    for layer in model.model.layers:
        layer.register_forward_hook(lambda m, a, out: collected.append(out[0] if isinstance(out, tuple) else out))
    with torch.no_grad():
        for s, sequence in enumerate(sequences):
            collected.clear()
            tensors[f"base.logits.{s}"] = logits_of(model, sequence["tokens"])
            embedded = model.model.embed_tokens(torch.tensor([sequence["tokens"]]))
            for i, state in enumerate([embedded, *collected]):
                tensors[f"base.hidden.{s}.{i}"] = state[0]
        loss = mean_loss(model, sequences).item()
    return tensors, {"loss": loss}


def adapter_run(directory, name, adapter, weights, sequences, dtype):
    tensors, scalars = {}, {}
    for prefix, clip in ((name, False), (f"{name}.clipped", True)):
        model = attach(load(directory, dtype), adapter, weights)
        if not clip:
            with torch.no_grad():
                for s, sequence in enumerate(sequences):
                    tensors[f"{prefix}.logits.{s}"] = logits_of(model, sequence["tokens"])
        parameters = lora_parameters(model)
        optimizer = torch.optim.AdamW(
            parameters.values(), lr=OPTIMIZER["learning_rate"],
            betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]), eps=OPTIMIZER["epsilon"],
            weight_decay=OPTIMIZER["weight_decay"], foreach=False)
        losses, norms = [], []
        for step in range(1, STEPS + 1):
            optimizer.zero_grad()
            loss = mean_loss(model, sequences)
            loss.backward()
            limit = MAX_NORM if clip else math.inf
            norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), limit).item())
            losses.append(loss.item())
            if step == 1:
                for short, parameter in parameters.items():
                    tensors[f"{prefix}.grad.{short}"] = parameter.grad.clone()
            optimizer.step()
            if step == STEPS or (step == 1 and name == "qv" and not clip):
                for short, parameter in parameters.items():
                    tensors[f"{prefix}.step{step}.{short}"] = parameter.detach().clone()
        with torch.no_grad():
            losses.append(mean_loss(model, sequences).item())
        scalars["clipped" if clip else "plain"] = {"losses": losses, "gradient_norms": norms}
    return tensors, scalars


def largest_difference(a, b):
    """max |a - b| / max |b|, the measure of F32_TOLERANCE."""
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def write_tensors(path, tensors):
    """float32 safetensors with ordinary file permissions."""
    save_file({k: v.float().contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})
    path.chmod(0o644)


def write_model(directory, spec, classic):
    config = llama_config(spec)
    weights = random_weights(config, spec["seed"])
    directory.mkdir(parents=True, exist_ok=True)
    write_tensors(directory / "model.safetensors", weights)
    written = config.to_dict()
    keep = ["model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
            "num_attention_heads", "num_key_value_heads", "head_dim", "rms_norm_eps", "hidden_act",
            "rope_parameters", "tie_word_embeddings", "max_position_embeddings", "attention_bias",
            "mlp_bias", "bos_token_id", "eos_token_id", "pad_token_id"]
    document = {"architectures": ["LlamaForCausalLM"], **{k: written[k] for k in keep}}
    if classic:  # the layout before transformers 5
        rope = document.pop("rope_parameters")
        document |= {"rope_theta": rope["rope_theta"], "rope_scaling": None, "torch_dtype": "float32"}
    else:
        document["dtype"] = "float32"
    write_json(directory / "config.json", document)
    return config


def write_adapter(directory, target, adapter, weights):
    """Saves through PEFT, then keeps the two files that make an adapter."""
    model = attach(load(directory, torch.float32), adapter, weights)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        target.mkdir(exist_ok=True)
        config = json.loads((Path(scratch) / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = directory.name
        config["target_modules"] = sorted(config["target_modules"])
        write_json(target / "adapter_config.json", config)
        (target / "adapter_model.safetensors").write_bytes(
            (Path(scratch) / "adapter_model.safetensors").read_bytes())


def main():
    parser = argparse.ArgumentParser(description="writes the engine's reference fixtures")
    parser.add_argument("directory", type=Path)
    root = parser.parse_args().directory
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("highest")
    torch.set_num_threads(1)

    agreement = {}
    for name, spec in MODELS.items():
        directory = root / name
        config = write_model(directory, spec, classic=not spec["tied"])
        sequences = random_sequences(spec)
        tensors, scalars = base_run(directory, sequences, torch.float64)
        single, _ = base_run(directory, sequences, torch.float32)
        reference = {"sequences": sequences, "supervised_tokens": sum(sum(s["supervised"]) for s in sequences),
                     "base": scalars, "optimizer": OPTIMIZER, "max_norm": MAX_NORM, "steps": STEPS, "adapters": {}}
        for index, (label, adapter) in enumerate(ADAPTERS.items()):
            weights = random_adapter(config, adapter, spec["seed"] + 200 + index)
            more, scalars = adapter_run(directory, label, adapter, weights, sequences, torch.float64)
            more32, _ = adapter_run(directory, label, adapter, weights, sequences, torch.float32)
            tensors |= more
            single |= more32
            reference["adapters"][label] = {**adapter, "dropout": 0.0, **scalars}
            write_adapter(directory, directory / f"adapter_{label}", adapter, weights)
        worst = {}
        for key, value in tensors.items():
            kind = next((part for part in key.split(".") if part in ("logits", "hidden", "grad")), "step")
            worst[kind] = max(worst.get(kind, 0.0), largest_difference(single[key], value))
        for kind, value in worst.items():
            assert value < F32_TOLERANCE or kind == "step", f"{name}: {kind} differ by {value}"
        agreement[name] = worst
        write_tensors(directory / "reference.safetensors", tensors)
        write_json(directory / "reference.json", reference)

    write_json(root / "metadata.json", {
        "about": "float64 results of transformers, PEFT and torch.optim.AdamW, rounded to float32",
        "command": "python python/reference/engine.py crates/train/tests/fixtures/engine",
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "transformers": transformers.__version__, "peft": peft.__version__,
                     "safetensors": safetensors.__version__, "numpy": numpy.__version__},
        "models": MODELS,
        "largest_f32_difference": agreement,
    })


if __name__ == "__main__":
    main()
