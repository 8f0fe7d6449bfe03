"""Time and peak memory of `foretune export gguf` on the shape of an 8B model.

    python bench/merge.py FORETUNE RUN SCRATCH [--type q4_k_m] [--rank 16] [--layers 32]

FORETUNE is the binary, RUN any run directory, whose settings are borrowed; SCRATCH is a directory
for the files made. The base model is a GGUF file of Llama-3.1-8B's shape in F16, 16 GB long, whose
weights are zeros that take no room on the disk (a sparse file); it is read, digested and merged like
any other. The adapter has the given rank on all seven linears of every layer. One JSON object is
printed: seconds, peak resident memory, sizes. Needs numpy, safetensors and gguf; SCRATCH is emptied
of what was made, unless --keep.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import time

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from safetensors.numpy import save_file

HIDDEN, INNER, HEADS, KV_HEADS, VOCABULARY = 4096, 14336, 32, 8, 128256
KEYS = HIDDEN // HEADS * KV_HEADS
LINEARS = {
    "attn_q": ("self_attn.q_proj", HIDDEN, HIDDEN), "attn_k": ("self_attn.k_proj", KEYS, HIDDEN),
    "attn_v": ("self_attn.v_proj", KEYS, HIDDEN), "attn_output": ("self_attn.o_proj", HIDDEN, HIDDEN),
    "ffn_gate": ("mlp.gate_proj", INNER, HIDDEN), "ffn_up": ("mlp.up_proj", INNER, HIDDEN),
    "ffn_down": ("mlp.down_proj", HIDDEN, INNER),
}


def main(given):
    scratch = given.scratch / "merge-8b"
    scratch.mkdir(parents=True)
    try:
        measure(given, scratch)
    finally:
        if not given.keep:
            shutil.rmtree(scratch)


def measure(given, scratch):
    base, run = scratch / "base.gguf", scratch / "run"
    sparse_base(base, given.layers)
    (run / "adapter").mkdir(parents=True)
    write_adapter(run / "adapter", given.rank, given.layers)
    manifest = json.loads((given.run / "manifest.json").read_text(encoding="utf-8"))
    manifest["model"] = manifest["settings"]["model"]["source"] = str(base)
    manifest["model_sha256"] = digest(base)
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    out = scratch / "merged.gguf"
    command = [given.foretune, "export", "gguf", run, "--type", given.type, "--out", out, "--json"]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.monotonic() - started
    if done.returncode != 0:
        sys.exit(done.stderr)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    told = json.loads(done.stdout)
    print(json.dumps({
        "command": " ".join(map(str, command)), "seconds": round(seconds, 1), "peak_bytes": peak,
        "base_bytes": base.stat().st_size, "base_bytes_on_disk": base.stat().st_blocks * 512,
        "merged_bytes": out.stat().st_size, "rank": given.rank, "layers": given.layers,
        "types": told["types"], "merged": told["merged"], "cores": os.cpu_count(),
    }, indent=1))


def sparse_base(path, layers):
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(8192)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500000.0)
    end = 0

    def add(name, *shape):
        nonlocal end
        size = int(np.prod(shape)) * (2 if len(shape) == 2 else 4)
        kind = np.dtype(np.float16 if len(shape) == 2 else np.float32)
        writer.add_tensor_info(name, shape, kind, size, GGMLQuantizationType.F16 if len(shape) == 2 else None)
        end += -(-size // 32) * 32

    add("token_embd.weight", VOCABULARY, HIDDEN)
    add("output.weight", VOCABULARY, HIDDEN)
    add("output_norm.weight", HIDDEN)
    for layer in range(layers):
        add(f"blk.{layer}.attn_norm.weight", HIDDEN)
        add(f"blk.{layer}.ffn_norm.weight", HIDDEN)
        for name, (_, rows, columns) in LINEARS.items():
            add(f"blk.{layer}.{name}.weight", rows, columns)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    header = path.stat().st_size
    os.truncate(path, -(-header // 32) * 32 + end)


def write_adapter(folder, rank, layers):
    rng = np.random.default_rng(8)
    tensors = {}
    for layer in range(layers):
        for module, rows, columns in LINEARS.values():
            prefix = f"base_model.model.model.layers.{layer}.{module}"
            a = rng.standard_normal((rank, columns), dtype=np.float32) / 64
            b = rng.standard_normal((rows, rank), dtype=np.float32) / 64
            tensors[f"{prefix}.lora_A.weight"], tensors[f"{prefix}.lora_B.weight"] = a, b
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "base",
        "r": rank, "lora_alpha": 2 * rank, "lora_dropout": 0.0, "bias": "none",
        "target_modules": sorted(module.split(".")[1] for module, _, _ in LINEARS.values()),
    }), encoding="utf-8")


def digest(path):
    told = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    return told.stdout.split()[0]


def parsed():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("foretune", type=pathlib.Path)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("scratch", type=pathlib.Path)
    parser.add_argument("--type", default="q4_k_m")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main(parsed())
