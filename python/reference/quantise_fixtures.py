"""Reference for the encoders of `weights::gguf`: what ggml itself makes of given values.

    python3 -m venv venv && venv/bin/pip install -r python/reference/requirements-gguf.txt
    venv/bin/python python/reference/quantise_fixtures.py crates/weights/tests/fixtures

writes quantise.json:

    edges   values chosen to be awkward (zeros, constants, one sign, outliers, tiny and large
            magnitudes) and the blocks ggml makes of them, as hexadecimal bytes
    bulk    the sha256 of the blocks ggml makes of COUNT values that `value(i)` below gives for
            every i; the test computes the same values, which are exact in f32

ggml is called through ctypes in the shared library of the wheel `xllamacpp`
(`ggml_quantize_chunk`, no importance matrix). Where the package `gguf` has an encoder of its
own, both must give the same bytes.
"""

import ctypes
import hashlib
import json
import pathlib
import sys
from importlib.metadata import version

import numpy as np
import xllamacpp
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as Type
from gguf.quants import quantize

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
IN_GGUF = {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"}
COUNT = 1 << 20
BLOCK = 256
SEED = 20261122


def main(out):
    encode = ggml()
    edges = edge_values(np.random.default_rng(SEED))
    bulk = values(COUNT)
    cases = []
    for name in TYPES:
        kind = Type[name]
        case = {"type": name, "blocks": encode(kind, edges).tobytes().hex(),
                "bulk_sha256": hashlib.sha256(encode(kind, bulk).tobytes()).hexdigest()}
        if name in IN_GGUF:
            for given in (edges, bulk):
                same = np.array_equal(python(kind, given), encode(kind, given))
                assert same, f"{name}: ggml and the package gguf differ"
        cases.append(case)
    document = {"xllamacpp": version("xllamacpp"), "gguf": version("gguf"), "count": COUNT,
                "edges": edges.astype("<f4").tobytes().hex(), "cases": cases}
    (out / "quantise.json").write_text(json.dumps(document) + "\n", encoding="utf-8")


def python(kind, given):
    coded = quantize(given.reshape(-1, BLOCK), kind)
    return np.frombuffer(coded.tobytes(), dtype=np.uint8)


def ggml():
    folder = pathlib.Path(xllamacpp.__file__).parent
    library = ctypes.CDLL(str(next(folder.glob("xllamacpp*.so"))))
    call = library.ggml_quantize_chunk
    call.restype = ctypes.c_size_t
    call.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                     ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]

    def encode(kind, given):
        count, size = GGML_QUANT_SIZES[kind]
        given = np.ascontiguousarray(given, dtype=np.float32)
        out = np.zeros(given.size // count * size, dtype=np.uint8)
        rows = given.size // BLOCK
        written = call(int(kind), given.ctypes.data, out.ctypes.data, 0, rows, BLOCK, None)
        assert written == out.size, (kind, written, out.size)
        return out

    return encode


def edge_values(rng):
    """One block of 256 after another."""
    normal = rng.standard_normal(BLOCK)
    outlier = normal * 0.02
    outlier[17], outlier[200] = 9.0, -7.5
    signs = np.where(rng.random(BLOCK) < 0.5, -1.0, 1.0)
    ramp = np.linspace(-1.0, 1.0, BLOCK)
    part = normal.copy()
    part[64:192] = 0.0
    blocks = [normal, np.zeros(BLOCK), np.full(BLOCK, 0.75), np.full(BLOCK, -0.75), np.abs(normal),
              -np.abs(normal), outlier, signs, ramp, np.repeat(ramp[::32], 32), part,
              normal * 1e-6, normal * 1e-20, normal * 1000.0, np.round(normal * 4) / 4]
    return np.concatenate(blocks).astype(np.float32)


def values(count):
    """Bell-shaped multiples of 2^-20 from a hash of the index (splitmix64); exact in f32. Every
    block of 32 has another size."""
    with np.errstate(over="ignore"):
        z = (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    quarters = sum((z >> np.uint64(16 * part)) & np.uint64(0xFFFF) for part in range(4))
    # Four numbers of 16 bits less their mean: at most 18 bits and a sign.
    centred = quarters.astype(np.int64) - 2 * 0xFFFF
    shift = (np.arange(count) // 32) % 7
    return (centred * 2.0 ** (-20.0 - shift)).astype(np.float32)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
