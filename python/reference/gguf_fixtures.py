"""Reference files for `weights`: blocks, metadata, a tiny model in both formats, rotary tables.

    python3 -m venv venv && venv/bin/pip install -r python/reference/requirements-gguf.txt
    venv/bin/python python/reference/gguf_fixtures.py crates/weights/tests/fixtures

writes, all from fixed seeds:

    dequantise.json   stored blocks and what the `gguf` package decodes them to, as
                      hexadecimal bytes (values: f32, little-endian)
    values.gguf       a file of the `gguf` package with one key of every metadata type
    tiny-llama.gguf   a random Llama whose linears are quantised, q and k permuted as
                      llama.cpp's converter does it, with a byte-level BPE tokenizer
    tiny-llama/       the same model as a Hugging Face directory, f32, q and k as they were
    rope.json         inverse frequencies of transformers for every rotary kind
                      (left as it is when torch is not installed)

The tokenizer's merges ignore every boundary between words, digits and white space, so
that what it answers depends on the pre-tokenizer alone. One word is a token no merge
leads to, so that taking whole pieces from the vocabulary (`ignore_merges`) shows too.
"""

import json
import pathlib
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

SEED = 20190301
BLOCKS = 3
TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
# Byte offsets of the half-precision scales of one block; random bytes elsewhere are valid.
SCALES = {
    "F16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}
HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, LAYERS = 32, 64, 4, 2, 8, 2
# A word of the corpus with its leading space, as byte-level BPE spells it.
UNREACHABLE = "\u0120oversold"
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = [
    "Asset: BTC/USD\nPrice: 9,123.45\nRSI(14): 28.3 (oversold)\nMACD: -12.07 below signal\n",
    "DECISION: BUY - RSI at 28.3 is oversold and price holds above 9,100.00.\n",
    "DECISION: SELL - 12 of 14 bars fell;  volume   thins out.\n\n\tThat's 1,234 in 2024.\n",
    "DECISION: HOLD - nothing's certain, we're waiting; they'll move 3.5 % first.\r\n",
    "if x == 10:\n    return {'a': [1, 2, 34567]}  # it's code\n\n\n        pass\n",
    "takerBuyVolume openInterest closePrice takerBuyVolume openInterest closePrice\n" * 3,
    "and/\nor/\nin/\nand/\nor/\nin/\n oversold? oversold! oversold\n" * 3,
    "Größe und Höhe: 12 Straßen; naïve café, 日本語のテキスト, Привет мир 2025!\n",
]


def main(out):
    rng = np.random.default_rng(SEED)
    out.mkdir(parents=True, exist_ok=True)
    write_blocks(rng, out / "dequantise.json")
    write_values(out / "values.gguf")
    write_model(rng, out)
    write_rope(out / "rope.json")


def write_blocks(rng, path):
    cases = []
    for name in TYPES:
        kind = Type[name]
        values, size = gguf.GGML_QUANT_SIZES[kind]
        count = BLOCKS if values > 1 else 64
        stored = rng.integers(0, 256, (count, size), dtype=np.uint8)
        if name in ("F32", "BF16"):
            numbers = rng.standard_normal(count).astype(np.float32)
            numbers[:4] = [0.0, -0.0, 1e-40, 65504.0]
            raw = quantize(numbers.reshape(1, -1), kind) if name == "BF16" else numbers
            stored = raw.reshape(-1).view(np.uint8).reshape(count, size)
        for at in SCALES.get(name, []):
            scales = rng.standard_normal(count).astype(np.float16)
            # A subnormal and a zero scale among them.
            scales[0], scales[-1] = np.float16(3e-7), np.float16(0.0)
            stored[:, at : at + 2] = scales.reshape(-1, 1).view(np.uint8)
        raw = stored.reshape(1, -1)
        if name in ("F32", "F16"):
            raw = raw.reshape(-1)
        decoded = dequantize(raw, kind).astype("<f4").reshape(-1)
        cases.append({"type": name, "stored": stored.tobytes().hex(),
                      "decoded": decoded.tobytes().hex()})
    dump(path, {"gguf": version("gguf"), "cases": cases})


def write_values(path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("t.uint8", 200)
    writer.add_int8("t.int8", -100)
    writer.add_uint16("t.uint16", 60000)
    writer.add_int16("t.int16", -30000)
    writer.add_uint32("t.uint32", 4000000000)
    writer.add_int32("t.int32", -2000000000)
    writer.add_float32("t.float32", 0.1)
    writer.add_bool("t.bool", True)
    writer.add_string("t.string", "größer")
    writer.add_array("t.array.int32", [1, -2, 3])
    writer.add_array("t.array.string", ["a", "", "日本"])
    writer.add_array("t.array.float32", [0.5, -0.25])
    writer.add_array("t.array.bool", [True, False])
    writer.add_uint64("t.uint64", 2**63)
    writer.add_int64("t.int64", -(2**62))
    writer.add_float64("t.float64", 0.1)
    writer.add_tensor("vector", np.arange(5, dtype=np.float32))
    writer.add_tensor("matrix", np.arange(6, dtype=np.float16).reshape(2, 3))
    finish(writer)


def write_model(rng, out):
    tokenizer = train_tokenizer()
    tokens = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    vocab = len(tokens)

    def normal(*shape):
        return (rng.standard_normal(shape) * 0.3).astype(np.float32)

    kinds = {"q_proj": Type.Q8_0, "k_proj": Type.Q4_1, "v_proj": Type.Q5_0, "o_proj": Type.Q5_1,
             "gate_proj": Type.Q4_0, "up_proj": Type.BF16, "down_proj": Type.Q8_0}
    shapes = {"q_proj": (HEADS * HEAD_DIM, HIDDEN), "k_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
              "v_proj": (KV_HEADS * HEAD_DIM, HIDDEN), "o_proj": (HIDDEN, HEADS * HEAD_DIM),
              "gate_proj": (INNER, HIDDEN), "up_proj": (INNER, HIDDEN),
              "down_proj": (HIDDEN, INNER)}
    stored_names = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v",
                    "o_proj": "attn_output", "gate_proj": "ffn_gate", "up_proj": "ffn_up",
                    "down_proj": "ffn_down"}
    writer = gguf.GGUFWriter(out / "tiny-llama.gguf", "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocab)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t in SPECIALS else 4 if t == "<think>" else 1 for t in tokens])
    writer.add_token_merges([" ".join(pair) for pair in merges(tokenizer)])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)

    hf = {}
    embedding = normal(vocab, HIDDEN).astype(np.float16)
    writer.add_tensor("token_embd.weight", embedding)
    hf["model.embed_tokens.weight"] = embedding.astype(np.float32)
    final = 1 + normal(HIDDEN)
    writer.add_tensor("output_norm.weight", final)
    hf["model.norm.weight"] = final
    for layer in range(LAYERS):
        for norm, stored in (("input_layernorm", "attn_norm"),
                             ("post_attention_layernorm", "ffn_norm")):
            values = 1 + normal(HIDDEN)
            writer.add_tensor(f"blk.{layer}.{stored}.weight", values)
            hf[f"model.layers.{layer}.{norm}.weight"] = values
        for module, kind in kinds.items():
            weight = normal(*shapes[module])
            heads = {"q_proj": HEADS, "k_proj": KV_HEADS}.get(module)
            if heads:
                # The converter's permutation: half-split pairs become neighbours.
                weight = weight.reshape(heads, 2, HEAD_DIM // 2, -1).swapaxes(1, 2)
                weight = weight.reshape(shapes[module])
            raw = quantize(weight, kind)
            writer.add_tensor(f"blk.{layer}.{stored_names[module]}.weight", raw, raw_dtype=kind)
            exact = dequantize(raw, kind).reshape(shapes[module])
            if heads:
                exact = exact.reshape(heads, HEAD_DIM // 2, 2, -1).swapaxes(1, 2)
                exact = exact.reshape(shapes[module])
            block = "self_attn" if module in ("q_proj", "k_proj", "v_proj", "o_proj") else "mlp"
            hf[f"model.layers.{layer}.{block}.{module}.weight"] = np.ascontiguousarray(exact)
    finish(writer)

    directory = out / "tiny-llama"
    directory.mkdir(exist_ok=True)
    save_file(hf, directory / "model.safetensors", {"format": "pt"})
    # The library makes it private to its owner.
    (directory / "model.safetensors").chmod(0o644)
    tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
    dump(directory / "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM,
        "rms_norm_eps": 1e-5, "max_position_embeddings": 512, "vocab_size": vocab,
        "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "dtype": "float32",
    })
    dump(directory / "tokenizer_config.json", {
        "bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "chat_template": TEMPLATE, "tokenizer_class": "PreTrainedTokenizerFast",
    })


def train_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=480, special_tokens=SPECIALS, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(CORPUS, trainer)
    trained = json.loads(tokenizer.to_str())
    merges = trained["model"]["merges"]
    assert UNREACHABLE in trained["model"]["vocab"], sorted(trained["model"]["vocab"])
    trained["model"]["merges"] = [pair for pair in merges if "".join(pair) != UNREACHABLE]
    tokenizer = Tokenizer.from_str(json.dumps(trained))
    tokenizer.add_tokens([AddedToken("<think>", normalized=False)])
    # The merges above cross every boundary; the boundaries come from here alone.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def merges(tokenizer):
    return json.loads(tokenizer.to_str())["model"]["merges"]


def write_rope(path):
    try:
        import torch  # noqa: F401
    except ImportError:
        print("torch is not installed, rope.json is left as it is", file=sys.stderr)
        return
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    settings = [
        (128, {"rope_type": "default", "rope_theta": 10000.0}),
        (64, {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}),
        (64, {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
              "rope_theta": 500000.0}),
        (128, yarn | {"rope_theta": 1000000.0}),
        (64, yarn | {"rope_theta": 10000.0, "truncate": False, "beta_fast": 16.0,
                     "mscale": 1.0, "mscale_all_dim": 0.707}),
        (64, yarn | {"rope_theta": 10000.0, "attention_factor": 1.25}),
    ]
    cases = []
    for head_dim, parameters in settings:
        config = LlamaConfig(head_dim=head_dim, max_position_embeddings=131072,
                             rope_parameters=dict(parameters))
        rotary = LlamaRotaryEmbedding(config)
        cases.append({
            "head_dim": head_dim, "max_position_embeddings": 131072,
            "rope_parameters": parameters, "attention_factor": float(rotary.attention_scaling),
            "inverse_frequencies": [float(f) for f in rotary.inv_freq],
        })
    dump(path, {"transformers": version("transformers"), "cases": cases})


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def version(package):
    from importlib.metadata import version as installed
    return installed(package)


def dump(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
