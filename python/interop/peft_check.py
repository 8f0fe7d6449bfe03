"""PEFT's decisions for `foretune check`: the same prompts, the same adapter, another engine.

    python3 -m venv venv && venv/bin/pip install -r python/reference/requirements-engine.txt
    foretune check RUN                     # writes RUN/check/request.json
    venv/bin/python python/interop/peft_check.py RUN --base BASE [--answers N]
    foretune check RUN                     # compares RUN/check/peft.json too

BASE is the base model the run was trained on: a Hugging Face directory, or a GGUF file, which
transformers dequantises. Everything is computed in f32 on the CPU. For every prompt of the request
(which ends where an answer states its decision) the log-probabilities of the classes' tokens
are written, for the first N of them (8) a greedy answer too. The file is written to a
temporary name and renamed.
"""

import argparse
import hashlib
import json
import os
import pathlib
import sys
import tempfile
from importlib.metadata import version

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

LONGEST_ANSWER = 56


def main(arguments):
    folder = arguments.run / "check"
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    if request.get("schema") != 2:
        sys.exit(f"{folder / 'request.json'}: schema {request.get('schema')}, expected 2")
    place = located(arguments.base)
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, arguments.run / "adapter").eval()
    tokenizer = AutoTokenizer.from_pretrained(**place)
    decided, answers = [], []
    with torch.inference_mode():
        for number, prompt in enumerate(request["prompts"]):
            decided.append(decision(model, prompt["tokens"], request["labels"]))
            if number < arguments.answers:
                asked = prompt["tokens"][: len(prompt["tokens"]) - prompt["lead"]]
                answers.append(answer(model, tokenizer, asked, request["stop"]))
            print(f"{number + 1}/{len(request['prompts'])}", file=sys.stderr)
    write(folder / "peft.json", {
        "request_sha256": digest(folder / "request.json"),
        "adapter_sha256": digest(arguments.run / "adapter" / "adapter_model.safetensors"),
        "engine": f"peft {version('peft')}, transformers {version('transformers')}, "
                  f"torch {version('torch')}",
        "log_probabilities": decided, "answers": answers,
    })


def located(base):
    """The arguments by which transformers finds the model."""
    if base.is_dir():
        return {"pretrained_model_name_or_path": base}
    return {"pretrained_model_name_or_path": base.parent, "gguf_file": base.name}


def decision(model, tokens, labels):
    logits = model(torch.tensor([tokens])).logits[0, -1].double()
    return [float(value) for value in torch.log_softmax(logits, dim=-1)[labels]]


def answer(model, tokenizer, tokens, stop):
    prompt = torch.tensor([tokens])
    out = model.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), do_sample=False,
        max_new_tokens=LONGEST_ANSWER, eos_token_id=stop, pad_token_id=stop[0])
    return tokenizer.decode(out[0, len(tokens):], skip_special_tokens=True)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(path, document):
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".peft-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(document, file, allow_nan=False, indent=1)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


def parsed():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path, metavar="RUN")
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--answers", type=int, default=8, metavar="N")
    return parser.parse_args()


if __name__ == "__main__":
    main(parsed())
