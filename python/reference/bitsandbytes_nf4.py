"""Reference values for 4-bit weights and 8-bit blocks: bitsandbytes' pure torch kernels.

    python3 -m venv venv && venv/bin/pip install -r python/reference/requirements-bitsandbytes.txt
    venv/bin/python python/reference/bitsandbytes_nf4.py crates/weights/tests/fixtures

writes `nf4/reference.safetensors`, from fixed seeds:

    nf4.code                      f32 [16], the values of the sixteen 4-bit codes
    dynamic_map.signed|unsigned   f32 [256], the maps of the 8-bit codes
    <case>.input                  f32 [rows, columns], what is quantised, in blocks of 64
    <case>.packed                 u8 [rows * columns / 2], two codes a byte, the first in the high half
    <case>.absmax                 f32 [blocks]
    <case>.dequantised            f32 [rows, columns]
    <case>.double.absmax          u8 [blocks], the codes of absmax less offset (blocks of 256)
    <case>.double.nested_absmax   f32 [blocks / 256, rounded up]
    <case>.double.offset          f32 [1], the mean of absmax
    <case>.double.dequantised     f32 [rows, columns]; the packed codes are those without
    blockwise.<map>.input         f32 [700], .codes u8 [700], .absmax f32 [3], .dequantised f32 [700]:
                                  8-bit quantisation in blocks of 256, with ties, zeros and a short last block

bitsandbytes_pure.py says why not its native CPU library. The cases are `plain` (6 x 192), `wide` (3 x 704) and `zeros` (4 x 128, with blocks that are zero).
`metadata.json` says which versions and which instruction set made the file: the mean is a sum whose
order depends on the processor, everything else is exact everywhere.
"""

import argparse
import json
import os
import platform
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
from bitsandbytes_pure import bitsandbytes, functional
from safetensors.torch import save_file

SEED = 20190301
BLOCK = 64
CASES = {"plain": (6, 192), "wide": (3, 704), "zeros": (4, 128)}


def matrix(name, shape, generator):
    values = torch.randn(shape, generator=generator) * 0.05
    if name == "zeros":
        flat = values.view(-1, BLOCK)
        flat[0] = 0.0
        flat[5] = 0.0
        # Values that stand exactly between two codes once divided by the block's largest.
        code = functional.get_4bit_type("nf4", device="cpu")
        flat[3, :15] = (code[:-1] + code[1:]) / 2
        flat[3, 15] = -1.0
        flat[3, 16:] = 0.0
    return values


def four_bit(name, values):
    packed, state = functional.quantize_4bit(values, blocksize=BLOCK, quant_type="nf4", compress_statistics=False)
    again, double = functional.quantize_4bit(values, blocksize=BLOCK, quant_type="nf4", compress_statistics=True)
    assert torch.equal(packed, again) and double.state2.blocksize == 256
    return {
        f"{name}.input": values,
        f"{name}.packed": packed.flatten(),
        f"{name}.absmax": state.absmax,
        f"{name}.dequantised": functional.dequantize_4bit(packed, state),
        f"{name}.double.absmax": double.absmax,
        f"{name}.double.nested_absmax": double.state2.absmax,
        f"{name}.double.offset": double.offset.reshape(1),
        f"{name}.double.dequantised": functional.dequantize_4bit(again, double),
    }


def blockwise(name, code, generator):
    values = torch.randn(700, generator=generator)
    if name == "unsigned":
        values = values.square() * 1e-3
    # Values that stand exactly between two codes once divided by the block's largest.
    middle = (code[:-1] + code[1:]) / 2
    values[256:511] = middle
    values[511] = 1.0
    values[600:620] = 0.0
    codes, state = functional.quantize_blockwise(values, code=code, blocksize=256)
    return {
        f"blockwise.{name}.input": values,
        f"blockwise.{name}.codes": codes,
        f"blockwise.{name}.absmax": state.absmax,
        f"blockwise.{name}.dequantised": functional.dequantize_blockwise(codes, state),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out / "nf4"
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    tensors = {"nf4.code": functional.get_4bit_type("nf4", device="cpu").clone()}
    for name, signed in (("signed", True), ("unsigned", False)):
        code = functional.create_dynamic_map(signed=signed)
        tensors[f"dynamic_map.{name}"] = code
        tensors |= blockwise(name, code, generator)
    for name, shape in CASES.items():
        tensors |= four_bit(name, matrix(name, shape, generator))
    save_file({name: value.contiguous() for name, value in tensors.items()}, out / "reference.safetensors")
    metadata = {
        "command": "python python/reference/bitsandbytes_nf4.py crates/weights/tests/fixtures",
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "bitsandbytes": bitsandbytes.__version__},
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "seed": SEED,
    }
    (out / "metadata.json").write_text(json.dumps(metadata, indent=1) + "\n")


if __name__ == "__main__":
    main()
