"""Writes a GGUF file with a real model's shape and random weights, to measure memory and time with.

    python bench/random_model.py ministral-8b OUT.gguf

Tensor types follow llama.cpp's Q4_K_M: Q4_K, and Q6_K for the head and for half of the layers'
value and down projections. The values are random but finite and of a usual size, so that a forward
pass stays finite. There is no tokenizer in it. Needs numpy.
"""

import argparse
import struct

import numpy

SHAPES = {
    # architecture, layers, hidden, feed-forward, heads, key/value heads, head width, theta, vocabulary, qkv bias
    "ministral-8b": ("llama", 36, 4096, 12288, 32, 8, 128, 1e8, 131072, False),
    "r1-distill-qwen-7b": ("qwen2", 28, 3584, 18944, 28, 4, 128, 1e4, 152064, True),
    "tiny": ("llama", 2, 256, 512, 4, 2, 64, 1e4, 512, False),
}
F32, Q4_K, Q6_K = 0, 12, 14
BLOCK_BYTES = {Q4_K: 144, Q6_K: 210}
ALIGNMENT = 32
CHUNK = 1 << 16


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def key_value(name, kind, value):
    kinds = {"u32": (4, "<I"), "f32": (6, "<f")}
    if kind == "str":
        return text(name) + struct.pack("<I", 8) + text(value)
    code, form = kinds[kind]
    return text(name) + struct.pack("<I", code) + struct.pack(form, value)


def tensors(shape):
    architecture, layers, hidden, forward, heads, kv_heads, width, _, vocabulary, bias = shape
    yield "token_embd.weight", (vocabulary, hidden), Q4_K
    for layer in range(layers):
        better = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
        high = Q6_K if better else Q4_K
        for name, rows, cols, kind in [
            ("attn_q", heads * width, hidden, Q4_K), ("attn_k", kv_heads * width, hidden, Q4_K),
            ("attn_v", kv_heads * width, hidden, high), ("attn_output", hidden, heads * width, Q4_K),
            ("ffn_gate", forward, hidden, Q4_K), ("ffn_up", forward, hidden, Q4_K),
            ("ffn_down", hidden, forward, high),
        ]:
            yield f"blk.{layer}.{name}.weight", (rows, cols), kind
            if bias and name in ("attn_q", "attn_k", "attn_v"):
                yield f"blk.{layer}.{name}.bias", (rows,), F32
        yield f"blk.{layer}.attn_norm.weight", (hidden,), F32
        yield f"blk.{layer}.ffn_norm.weight", (hidden,), F32
    yield "output_norm.weight", (hidden,), F32
    yield "output.weight", (vocabulary, hidden), Q6_K


def size(shape, kind):
    count = int(numpy.prod(shape))
    return count * 4 if kind == F32 else count // 256 * BLOCK_BYTES[kind]


def blocks(rng, count, kind, spread):
    """Random blocks whose values spread about `spread`."""
    data = rng.integers(0, 256, (count, BLOCK_BYTES[kind]), dtype=numpy.uint8)
    scale = numpy.empty((count, 1), "<f2")
    if kind == Q4_K:
        # value = d * scale6 * q4 - dmin * min6: both halves centred alike.
        scale[:] = spread / (31.0 * 4.6)
        data[:, 0:2] = scale.view(numpy.uint8)
        scale[:] = spread * 7.5 / (31.0 * 4.6)
        data[:, 2:4] = scale.view(numpy.uint8)
    else:
        scale[:] = spread / (73.0 * 18.5)
        data[:, 208:210] = scale.view(numpy.uint8)
    return data.tobytes()


def write(shape, out):
    """Writes a model of a shape like those of SHAPES to `out`; returns the bytes written."""
    architecture, layers, hidden, forward, heads, kv_heads, width, theta, vocabulary, _ = shape
    metadata = [
        key_value("general.architecture", "str", architecture),
        key_value(f"{architecture}.block_count", "u32", layers),
        key_value(f"{architecture}.context_length", "u32", 32768),
        key_value(f"{architecture}.embedding_length", "u32", hidden),
        key_value(f"{architecture}.feed_forward_length", "u32", forward),
        key_value(f"{architecture}.attention.head_count", "u32", heads),
        key_value(f"{architecture}.attention.head_count_kv", "u32", kv_heads),
        key_value(f"{architecture}.attention.key_length", "u32", width),
        key_value(f"{architecture}.attention.value_length", "u32", width),
        key_value(f"{architecture}.attention.layer_norm_rms_epsilon", "f32", 1e-5),
        key_value(f"{architecture}.rope.freq_base", "f32", theta),
        key_value(f"{architecture}.vocab_size", "u32", vocabulary),
    ]
    listed = list(tensors(shape))
    header = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(metadata)) + b"".join(metadata))
    offset = 0
    for name, extent, kind in listed:
        header += text(name) + struct.pack("<I", len(extent))
        header += b"".join(struct.pack("<Q", n) for n in reversed(extent)) + struct.pack("<IQ", kind, offset)
        offset += -(-size(extent, kind) // ALIGNMENT) * ALIGNMENT
    header += bytes(-len(header) % ALIGNMENT)
    rng = numpy.random.default_rng(7)
    with open(out, "wb") as file:
        file.write(header)
        for name, extent, kind in listed:
            if kind == F32:
                value = 0.01 if name.endswith("bias") else 1.0
                file.write(numpy.full(extent, value, "<f4").tobytes())
            else:
                left = int(numpy.prod(extent)) // 256
                while left:
                    count = min(left, CHUNK)
                    file.write(blocks(rng, count, kind, extent[1] ** -0.5))
                    left -= count
            file.write(bytes(-size(extent, kind) % ALIGNMENT))
    return offset + len(header)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("out")
    arguments = parser.parse_args()
    print(f"{arguments.out}: {write(SHAPES[arguments.shape], arguments.out)} bytes")


if __name__ == "__main__":
    main()
