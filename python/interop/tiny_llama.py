"""A random Llama of two layers with a byte-level tokenizer, written with the standard library alone.

It knows nothing; it lets a script run everything around a model in seconds. The same numbers each time.
"""

import json
import random
import struct

HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS = 32, 64, 2, 4, 2
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write(folder):
    """Writes config.json, tokenizer.json, tokenizer_config.json and model.safetensors."""
    letters = byte_letters()
    vocabulary = {text: at for at, text in enumerate(SPECIAL + letters)}
    write_json(folder / "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": len(vocabulary),
        "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "hidden_act": "silu",
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 4096,
        "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "torch_dtype": "float32",
    })
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "GPT2Tokenizer", "bos_token": SPECIAL[1], "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[2], "add_bos_token": False, "model_max_length": 4096, "chat_template": TEMPLATE,
    })
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = [{"id": at, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for at, text in enumerate(SPECIAL)]
    write_json(folder / "tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "ignore_merges": False, "vocab": vocabulary, "merges": []},
    })
    (folder / "model.safetensors").write_bytes(safetensors(shapes(len(vocabulary))))


def shapes(vocabulary):
    head = HIDDEN // HEADS
    found = {"model.embed_tokens.weight": [vocabulary, HIDDEN], "model.norm.weight": [HIDDEN]}
    for layer in range(LAYERS):
        for name, shape in {
            "input_layernorm": [HIDDEN], "post_attention_layernorm": [HIDDEN],
            "self_attn.q_proj": [HEADS * head, HIDDEN], "self_attn.k_proj": [KV_HEADS * head, HIDDEN],
            "self_attn.v_proj": [KV_HEADS * head, HIDDEN], "self_attn.o_proj": [HIDDEN, HEADS * head],
            "mlp.gate_proj": [INTERMEDIATE, HIDDEN], "mlp.up_proj": [INTERMEDIATE, HIDDEN],
            "mlp.down_proj": [HIDDEN, INTERMEDIATE],
        }.items():
            found[f"model.layers.{layer}.{name}.weight"] = shape
    return found


def safetensors(shapes):
    """Returns small numbers for matrices and about one for norms, as a safetensors file."""
    generator, header, data = random.Random(7), {}, b""
    for name, shape in sorted(shapes.items()):
        count = shape[0] * (shape[1] if len(shape) == 2 else 1)
        middle = 0.0 if len(shape) == 2 else 1.0
        values = struct.pack(f"<{count}f", *(middle + generator.uniform(-0.2, 0.2) for _ in range(count)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def byte_letters():
    """GPT-2's printable letter of each byte."""
    found, spare = [], 256
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174:
            found.append(chr(byte))
        else:
            found.append(chr(spare))
            spare += 1
    return found


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
