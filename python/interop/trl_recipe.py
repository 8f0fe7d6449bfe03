"""Runs the TRL recipe of `foretune pack` on the processor and compares it with the native training.

    python3 -m venv venv && venv/bin/pip install -r crates/cli/recipes/requirements-trl.txt
    venv/bin/python python/interop/trl_recipe.py --foretune target/release/foretune \
        --smollm2 SmolLM2-f32.gguf --out trl-recipe

On a tiny random Llama with its own tokenizer, then (with --smollm2) on SmolLM2-135M-Instruct as a GGUF
file of f32 values, which transformers loads by itself:

- `foretune train sft` and the recipe's `run.sh` learn from the same data set; losses are compared
  step by step and the adapters tensor by tensor, with one and with two processes, after a kill
  and a restart, and with dropout (where only the level can agree);
- with preference pairs, the recipe's DPO is compared with `foretune train dpo`;
- the adapter comes back through `foretune import`, `export lora-gguf` and `evaluate`; with
  `--check` through `foretune check` too.

Writes OUT.json (figures) and OUT.txt (the same to read), and fails when a bound does not hold.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Both compute in f32 and differ in the order of sums: 1e-6 of a loss of 5.6 nats. Adam divides small gradients
# by their own size, so what differs at first grows with the steps; a hundredfold is left for that.
SAME_LOSS = 1e-4
# As a share of the largest value of a tensor: where a gradient is next to nothing, its sign decides.
SAME_ADAPTER = 0.05
# The mean over the last half of the steps may differ so much where dropout masks differ, nats.
DROPOUT_LEVEL = 0.25
# A preference loss starts at ln 2.
SAME_PREFERENCE = 1e-4

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def write_tiny(folder):
    """A random Llama of two layers with a byte-level tokenizer."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {text: at for at, text in enumerate(SPECIAL + letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIAL])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIAL[1], eos_token=SPECIAL[2], pad_token=SPECIAL[2]
    )
    fast.chat_template = CHATML
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, rope_theta=10000.0,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    # One place for the template, in the file that every reader knows.
    template = folder / "chat_template.jinja"
    if template.exists():
        path = folder / "tokenizer_config.json"
        stated = json.loads(path.read_text())
        stated["chat_template"] = template.read_text()
        path.write_text(json.dumps(stated, indent=2))
        template.unlink()


class Bench:
    """One base model with its data set, native runs and bundles, in one folder."""

    def __init__(self, arguments, folder, model, settings):
        self.arguments, self.folder, self.model = arguments, folder, model
        self.settings = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FORETUNE_")}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        environment |= {"ALLOW_CPU": "1", "PRICE_PER_HOUR": "1.20", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        if arguments.cache:
            environment["FORETUNE_CACHE"] = str(arguments.cache)
        self.environment = environment

    def run(self, *words, **options):
        done = subprocess.run(
            list(map(str, words)), cwd=options.pop("cwd", self.folder), env=self.environment | options,
            text=True, capture_output=True,
        )
        if done.returncode:
            sys.exit(f"{' '.join(map(str, words))}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}")
        return done.stdout

    def foretune(self, *words):
        return self.run(Path(self.arguments.foretune).resolve(), *words)

    def native(self, name, *more):
        self.foretune("train", "sft", "--dataset", "dataset", "--model", self.model, "--out", name,
                      *self.settings, *more)
        return lines(self.folder / name / "metrics.jsonl", "loss")

    def bundle(self, name, *more):
        archive = f"{name}.tar.zst"
        self.foretune("pack", "--recipe", "trl", "--dataset", "dataset", "--model", self.model,
                      "--base", Path(self.model).resolve(), "--out", archive, *self.settings, *more)
        self.foretune("pack", "verify", archive)
        self.foretune("unpack", archive, "--out", name)
        return self.folder / name

    def recipe(self, bundle, processes, out="out"):
        began = time.time()
        text = self.run("sh", "recipe/run.sh", cwd=bundle, PROCESSES=str(processes), OUT=str(bundle / out))
        return text, time.time() - began


def lines(path, key):
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return [row for row in rows if key in row and "validation_loss" not in row]


def difference(left, right, key="loss"):
    assert [row["step"] for row in left] == [row["step"] for row in right], (len(left), len(right))
    return max(abs(a[key] - b[key]) for a, b in zip(left, right))


def adapters(left, right):
    """Returns the largest difference of two adapters, as a share of each tensor's largest value."""
    from safetensors.torch import load_file

    a, b = (load_file(path / "adapter_model.safetensors") for path in (left, right))
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    return max(float((a[k] - b[k]).abs().max() / a[k].abs().max().clamp_min(1e-12)) for k in a)


def write_pairs(dataset, path, count):
    """Preference pairs: the right answer against the same words with another decision."""
    rows = [json.loads(line) for line in (dataset / "examples.jsonl").read_text().splitlines()][:count]
    turned = {"BUY": "SELL", "SELL": "BUY", "HOLD": "BUY"}
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            answer = row["messages"][1]["content"]
            other = answer.replace(row["label"], turned[row["label"]], 1)
            pair = {"id": row["id"], "prompt": row["messages"][0]["content"], "chosen": answer, "rejected": other}
            file.write(json.dumps(pair) + "\n")


def killed(bench, bundle, after):
    """Starts the recipe, kills it once `after` steps are logged, starts it again to the end."""
    environment = bench.environment | {"PROCESSES": "1", "OUT": str(bundle / "killed")}
    process = subprocess.Popen(["sh", "recipe/run.sh"], cwd=bundle, env=environment, start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics = bundle / "killed" / "sft" / "metrics.jsonl"
    while process.poll() is None:
        if metrics.exists() and len(metrics.read_text().splitlines()) >= after:
            break
        time.sleep(0.02)
    logged = len(metrics.read_text().splitlines())
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    text, _ = bench.recipe(bundle, 1, "killed")
    assert "going on from" in text, text
    return logged, lines(metrics, "loss")


def import_back(bench, bundle, out, run, check):
    """Takes the adapter in and returns what the commands after it say."""
    bench.run("tar", "-xf", bundle / out / "adapter.tar", cwd=bundle / out)
    made = json.loads(bench.foretune("import", bundle / out / "adapter", "--dataset", "dataset", "--model", bench.model,
                                     "--out", run, *bench.settings, "--json"))
    exported = json.loads(bench.foretune("export", "lora-gguf", run, "--json"))
    found = {"rank": made["rank"], "parameters": made["parameters"], "steps": made["steps"],
             "gguf_bytes": exported["files"][0]["bytes"]}
    if check:
        told = json.loads(bench.foretune("check", run, "--json", "--set", "check.prompts=4",
                                         "--set", "check.form_rate=0", "--set", "check.max_new_tokens=24"))
        found["check"] = told
    return found


def tiny(arguments, root):
    folder = root / "tiny"
    (folder / "model").mkdir(parents=True)
    write_tiny(folder / "model")
    settings = {
        "train.batch_size": 4, "train.max_examples": 94, "train.epochs": 1.0, "train.learning_rate": 5e-3,
        "train.dropout": 0.0, "train.decision_weight": 8.0, "train.validate_every": 10,
        "train.validation_examples": 6, "train.checkpoint_every": 5, "train.max_tokens": 2048,
        "train.targets": '["q_proj","v_proj","down_proj"]', "train.loraplus_ratio": 2.0,
        "model.precision": '"f32"', "dpo.learning_rate": 1e-3,
    }
    bench = Bench(arguments, folder, folder / "model", settings)
    bench.foretune("dataset", "build", "--world", "planted", "--blocks", "160", "--out", "dataset")
    write_pairs(folder / "dataset", folder / "pairs.jsonl", 24)
    native = bench.native("native")
    found = {"model": "random Llama, 2 layers, 64 wide", "steps": len(native),
             "first_loss": native[0]["loss"], "last_loss": native[-1]["loss"]}
    bundle = bench.bundle("bundle", "--pairs", "pairs.jsonl")
    again = bench.bundle("again", "--pairs", "pairs.jsonl")
    same = (folder / "bundle.tar.zst").read_bytes() == (folder / "again.tar.zst").read_bytes()
    found["archive_bytes_equal"] = same
    shutil.rmtree(again)

    for processes in (1, 2):
        out = f"out{processes}"
        text, seconds = bench.recipe(bundle, processes, out)
        curve = lines(bundle / out / "sft" / "metrics.jsonl", "loss")
        found[f"processes_{processes}"] = {
            "loss_difference": difference(native, curve),
            "gradient_norm_difference": difference(native, curve, "gradient_norm"),
            "learning_rate_difference": difference(native, curve, "learning_rate"),
            "adapter_difference": adapters(folder / "native" / "adapter", bundle / out / "sft" / "adapter"),
            "seconds": round(seconds, 1),
            "cost_line": [line for line in text.splitlines() if "cost" in line][-1],
        }
    bench.foretune("train", "dpo", "--pairs", "pairs.jsonl", "--from", "native", "--out", "native-dpo", *bench.settings)
    preference = lines(folder / "native-dpo" / "metrics.jsonl", "reward_margin")
    for processes in (1, 2):
        curve = lines(bundle / f"out{processes}" / "dpo" / "metrics.jsonl", "loss")
        found[f"processes_{processes}"]["dpo_loss_difference"] = difference(preference, curve)
        found[f"processes_{processes}"]["dpo_losses"] = [curve[0]["loss"], curve[-1]["loss"]]
    logged, curve = killed(bench, bundle, 12)
    found["killed"] = {"after_steps": logged, "loss_difference": difference(native, curve)}
    found["imported"] = import_back(bench, bundle, "killed", "runs/back", False)

    bench.settings += ["--set", "train.dropout=0.05"]
    native = bench.native("native-dropout")
    bundle = bench.bundle("dropout")
    bench.recipe(bundle, 1)
    curve = lines(bundle / "out" / "sft" / "metrics.jsonl", "loss")
    half = len(native) // 2
    level = lambda rows: sum(row["loss"] for row in rows[half:]) / (len(rows) - half)
    found["dropout"] = {"level_difference": abs(level(native) - level(curve)), "largest": difference(native, curve)}

    text_only = bench.bundle("text", "--text-only", "--set", "train.dropout=0")
    shutil.copytree(bundle / "recipe" / "start", text_only / "recipe" / "start")
    bench.settings[-1] = "train.dropout=0"
    bench.recipe(text_only, 1)
    curve = lines(text_only / "out" / "sft" / "metrics.jsonl", "loss")
    native = lines(folder / "native" / "metrics.jsonl", "loss")
    found["text_only"] = {"loss_difference": difference(native, curve)}
    return found


def smollm2(arguments, root):
    folder = root / "smollm2"
    folder.mkdir()
    settings = {
        "train.batch_size": 4, "train.max_examples": 4 * arguments.steps, "train.dropout": 0.0,
        "train.validate_every": 0, "train.checkpoint_every": 0, "model.precision": '"f32"',
    }
    bench = Bench(arguments, folder, Path(arguments.smollm2).resolve(), settings)
    bench.environment["OMP_NUM_THREADS"] = "2"
    bench.foretune("dataset", "build", "--world", "planted", "--blocks", "160", "--out", "dataset")
    native = bench.native("native")
    bundle = bench.bundle("bundle")
    _, seconds = bench.recipe(bundle, 1)
    curve = lines(bundle / "out" / "sft" / "metrics.jsonl", "loss")
    return {
        "model": "SmolLM2-135M-Instruct, f32 values of the Q4_1 package",
        "native": [round(row["loss"], 4) for row in native],
        "trl": [round(row["loss"], 4) for row in curve],
        "loss_difference": difference(native, curve),
        "adapter_difference": adapters(folder / "native" / "adapter", bundle / "out" / "sft" / "adapter"),
        "recipe_seconds": round(seconds, 1),
        "imported": import_back(bench, bundle, "out", "runs/back", arguments.check),
    }


def judge(found):
    bounds = []

    def bound(name, value, limit):
        bounds.append({"what": name, "found": value, "bound": limit, "holds": value <= limit})

    t = found.get("tiny")
    for processes in (1, 2) if t else ():
        part = t[f"processes_{processes}"]
        bound(f"tiny, {processes} process(es): loss, nats", part["loss_difference"], SAME_LOSS)
        bound(f"tiny, {processes} process(es): step size", part["learning_rate_difference"], 1e-12)
        bound(f"tiny, {processes} process(es): adapter, share of the largest value", part["adapter_difference"], SAME_ADAPTER)
        bound(f"tiny, {processes} process(es): preference loss, nats", part["dpo_loss_difference"], SAME_PREFERENCE)
    if t:
        bound("tiny, killed and started again: loss, nats", t["killed"]["loss_difference"], SAME_LOSS)
        bound("tiny, tokenised on the other machine: loss, nats", t["text_only"]["loss_difference"], SAME_LOSS)
        bound("tiny, dropout 0.05: level of the loss, nats", t["dropout"]["level_difference"], DROPOUT_LEVEL)
    if "smollm2" in found:
        bound("SmolLM2: loss, nats", found["smollm2"]["loss_difference"], SAME_LOSS)
        bound("SmolLM2: adapter, share of the largest value", found["smollm2"]["adapter_difference"], SAME_ADAPTER)
    return bounds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foretune", required=True, help="the binary")
    parser.add_argument("--smollm2", help="SmolLM2-135M-Instruct as a GGUF file of f32 values")
    parser.add_argument("--steps", type=int, default=8, help="optimiser steps on SmolLM2")
    parser.add_argument("--only", choices=("tiny", "smollm2"), help="one part, added to the figures in OUT.json")
    parser.add_argument("--cache", help="FORETUNE_CACHE, for --check")
    parser.add_argument("--check", action="store_true", help="also run foretune check on SmolLM2's adapter")
    parser.add_argument("--work", help="keep the working folder here")
    parser.add_argument("--out", default="trl-recipe", help="OUT.json and OUT.txt")
    arguments = parser.parse_args()
    scratch = tempfile.TemporaryDirectory() if arguments.work is None else None
    root = Path(arguments.work or scratch.name)
    root.mkdir(parents=True, exist_ok=True)
    versions = {name: importlib.metadata.version(name)
                for name in ("torch", "transformers", "trl", "peft", "accelerate", "datasets")}
    found = {
        "command": " ".join(sys.argv), "versions": versions, "python": platform.python_version(),
        "host": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    earlier = Path(f"{arguments.out}.json")
    if arguments.only and earlier.is_file():
        kept = json.loads(earlier.read_text())
        found |= {part: kept[part] for part in ("tiny", "smollm2") if part in kept}
    if arguments.only != "smollm2":
        found["tiny"] = tiny(arguments, root)
    if arguments.smollm2 and arguments.only != "tiny":
        found["smollm2"] = smollm2(arguments, root)
    found["bounds"] = judge(found)
    Path(f"{arguments.out}.json").write_text(json.dumps(found, indent=2) + "\n")
    text = [f"{'holds' if b['holds'] else 'FAILS':6} {b['found']:.3g} (at most {b['bound']:g})  {b['what']}"
            for b in found["bounds"]]
    text += ["", json.dumps(found, indent=2)]
    Path(f"{arguments.out}.txt").write_text("\n".join(text) + "\n")
    print("\n".join(text))
    if not all(b["holds"] for b in found["bounds"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
