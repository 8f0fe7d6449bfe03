"""Reads the recipes for axolotl, LLaMA-Factory, unsloth and accelerate with those programs' own parsers.

    python3 -m venv venv && venv/bin/pip install -r crates/cli/recipes/requirements-trl.txt
    venv/bin/pip download --no-deps -d wheels axolotl==0.19.0 llamafactory==0.9.5 unsloth==2026.10.9
    venv/bin/pip install pillow omegaconf pyyaml packaging
    venv/bin/python python/interop/recipes.py --foretune target/release/foretune --wheels wheels --out recipes.txt

None of the three runs without a GPU. So their wheels are unpacked beside the environment and only what reads a
configuration is imported: axolotl's pydantic schema, LLaMA-Factory's argument classes, unsloth's signatures as
its source states them. Checked are that every key is known to them, that every value arrives as it was meant, that
rows written by `bundle.py` are in the form they read, and that the pinned requirements agree with what the wheels
demand. Fails on the first difference.
"""

import argparse
import ast
import importlib.metadata
import inspect
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from email import message_from_string
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS = {
    "model.keep": '"nf4"', "train.learning_rate": 2e-4, "train.batch_size": 8, "train.max_examples": 40,
    "train.rank": 16, "train.alpha": 32.0, "train.weight_decay": 0.01, "train.optimizer": '"adamw_8bit"',
    "train.loraplus_ratio": 4.0, "train.rslora": "true", "dpo.beta": 0.2, "dpo.learning_rate": 5e-6,
    "train.schedule": '"constant"', "train.max_tokens": 4096,
}
TOLD = []


def tell(text):
    TOLD.append(text)
    print(text, flush=True)


def expect(where, found, expected):
    if found != expected and not (isinstance(expected, float) and abs(float(found) - expected) < 1e-12):
        sys.exit(f"{where}: {found!r}, expected {expected!r}")


def unpacked(wheels, name, folder):
    """Unpacks a wheel and returns its directory and metadata."""
    wheel = next(Path(wheels).glob(f"{name}-*.whl"))
    target = folder / name
    zipfile.ZipFile(wheel).extractall(target)
    text = next(target.glob("*.dist-info/METADATA")).read_text()
    return target, message_from_string(text)


def bundles(foretune, root):
    """Packs every recipe with pairs: with tokens of a tiny model and as text."""
    from trl_recipe import write_pairs, write_tiny

    environment = {k: v for k, v in os.environ.items() if not k.startswith("FORETUNE_")}
    run = lambda *words: subprocess.run([foretune, *map(str, words)], cwd=root, env=environment, check=True,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (root / "model").mkdir()
    write_tiny(root / "model")
    run("dataset", "build", "--world", "planted", "--blocks", "160", "--out", "dataset")
    write_pairs(root / "dataset", root / "pairs.jsonl", 8)
    sets = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    for recipe in ("trl", "axolotl", "unsloth", "llama-factory"):
        for form, more in (("tokens", ["--model", root / "model"]), ("text", ["--text-only", "--model", "hf:org/name@v1"])):
            name = f"{recipe}-{form}"
            run("pack", "--recipe", recipe, "--pairs", "pairs.jsonl", "--out", f"{name}.tar.zst", *sets, *more)
            run("unpack", f"{name}.tar.zst", "--out", name)


def requirements(recipe, metadata, package):
    """Compares the pins with what the wheel demands."""
    from packaging.requirements import Requirement

    pins = {}
    for line in (ROOT / "crates" / "cli" / "recipes" / f"requirements-{recipe}.txt").read_text().splitlines():
        name, _, version = line.split("#")[0].strip().partition("==")
        if version:
            pins[name] = version
    expect(f"{recipe}: pin of {package}", pins[package], metadata["Version"])
    compared = 0
    for text in metadata.get_all("Requires-Dist"):
        wanted = Requirement(text)
        if wanted.name in pins and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            if not wanted.specifier.contains(pins[wanted.name], prereleases=True):
                sys.exit(f"{recipe}: pins {wanted.name}=={pins[wanted.name]}, {package} demands {wanted.specifier}")
            compared += 1
    tell(f"{recipe}: {package} {metadata['Version']}, {compared} further pins agree with its demands")


def axolotl(root, wheels, scratch):
    import yaml

    target, metadata = unpacked(wheels, "axolotl", scratch)
    sys.path.insert(0, str(target))
    from axolotl.utils.schemas.config import AxolotlInputConfig

    requirements("axolotl", metadata, "axolotl")
    for form in ("tokens", "text"):
        for stage in ("sft", "dpo"):
            path = root / f"axolotl-{form}" / "recipe" / f"axolotl-{stage}.yaml"
            stated = yaml.safe_load(path.read_text())
            unknown = set(stated) - set(AxolotlInputConfig.model_fields)
            if unknown:
                sys.exit(f"{path}: axolotl does not know {sorted(unknown)}")
            read = AxolotlInputConfig(**json.loads(json.dumps(stated)))
            expect(path, float(read.learning_rate), 2e-4 if stage == "sft" else 5e-6)
            expect(path, (read.lora_r, read.lora_alpha, read.adapter, read.load_in_4bit), (16, 32, "qlora", True))
            expect(path, read.gradient_accumulation_steps * read.micro_batch_size, 8)
            expect(path, (read.curriculum_sampling, read.shuffle_merged_datasets, read.sample_packing), (True, False, False))
            expect(path, read.max_steps, 5 if stage == "sft" else 1)
            expect(path, read.weight_decay, 0.01)
            expect(path, read.loraplus_lr_ratio, 4.0)
            expect(path, read.peft_use_rslora, True)
            if stage == "dpo":
                expect(path, (str(read.rl.value), read.rl_beta), ("dpo", 0.2))
            tell(f"axolotl: {path.parent.parent.name}/{path.name}: {len(stated)} keys known, values as meant")


def llama_factory(root, wheels, scratch):
    import yaml

    target, metadata = unpacked(wheels, "llamafactory", scratch)
    sys.path.insert(0, str(target))
    os.environ["DISABLE_VERSION_CHECK"] = "1"
    from llamafactory.hparams import parser as theirs
    from transformers import HfArgumentParser

    requirements("llama-factory", metadata, "llamafactory")
    for form in ("tokens", "text"):
        for stage in ("sft", "dpo"):
            path = root / f"llama-factory-{form}" / "recipe" / f"llama-factory-{stage}.yaml"
            stated = yaml.safe_load(path.read_text())
            expect(path, stated["bf16"], True)
            # Without a GPU the arguments refuse bf16 as such.
            here = stated | {"bf16": False, "output_dir": str(scratch / "out")}
            model, data, training, tuning, _ = HfArgumentParser(theirs._TRAIN_ARGS).parse_dict(here)
            expect(path, (tuning.stage, tuning.finetuning_type, tuning.lora_rank, tuning.lora_alpha), (stage, "lora", 16, 32))
            expect(path, tuning.lora_target, ["q_proj", "v_proj"])
            expect(path, (tuning.disable_shuffling, tuning.use_rslora, tuning.loraplus_lr_ratio), (True, True, 4.0))
            expect(path, (model.quantization_bit, model.double_quantization), (4, True))
            expect(path, (data.cutoff_len, data.train_on_prompt, data.packing), (4096, False, False))
            expect(path, training.learning_rate, 2e-4 if stage == "sft" else 5e-6)
            expect(path, (training.max_steps, training.warmup_steps), (5, 1) if stage == "sft" else (1, 1))
            expect(path, training.gradient_accumulation_steps, 8)
            if stage == "dpo":
                expect(path, (tuning.pref_beta, tuning.pref_loss), (0.2, "sigmoid"))
            info = json.loads(path.with_name("dataset_info.json").read_text())
            if data.dataset and not set(data.dataset) <= set(info):
                sys.exit(f"{path}: {data.dataset} is not in dataset_info.json")
            tell(f"llama-factory: {path.parent.parent.name}/{path.name}: {len(stated)} keys known, values as meant")


def unsloth(wheels, scratch):
    target, metadata = unpacked(wheels, "unsloth", scratch)
    requirements("unsloth", metadata, "unsloth")
    source = ast.parse((target / "unsloth" / "models" / "loader.py").read_text())
    known = {}
    for path in ("loader.py", "llama.py"):
        for node in ast.walk(ast.parse((target / "unsloth" / "models" / path).read_text())):
            if isinstance(node, ast.FunctionDef) and node.name in ("from_pretrained", "get_peft_model"):
                known.setdefault(node.name, set()).update(a.arg for a in node.args.args + node.args.kwonlyargs)
    assert source
    used = 0
    for node in ast.walk(ast.parse((ROOT / "crates" / "cli" / "recipes" / "train.py").read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) \
                and getattr(node.func.value, "id", "") == "FastLanguageModel":
            unknown = {word.arg for word in node.keywords} - known[node.func.attr]
            if unknown:
                sys.exit(f"train.py: unsloth's {node.func.attr} does not take {sorted(unknown)}")
            used += len(node.keywords)
    tell(f"unsloth: {used} arguments of train.py are in its signatures")


def trl(root):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils import FullyShardedDataParallelPlugin
    from trl import DPOConfig, SFTConfig

    config = load_config_from_file(str(root / "trl-tokens" / "recipe" / "fsdp.yaml"))
    expect("fsdp.yaml", str(config.distributed_type.value), "FSDP")
    known = {f"fsdp_{name}" for name in inspect.signature(FullyShardedDataParallelPlugin).parameters}
    unknown = set(config.fsdp_config) - known
    if unknown - {"fsdp_version", "fsdp_offload_params"} - known:
        sys.exit(f"fsdp.yaml: accelerate does not know {sorted(unknown)}")
    fields = set(SFTConfig.__dataclass_fields__) & set(DPOConfig.__dataclass_fields__)
    function = next(node for node in ast.walk(ast.parse((ROOT / "crates/cli/recipes/train.py").read_text()))
                    if isinstance(node, ast.FunctionDef) and node.name == "arguments")
    keys = {key.value for node in ast.walk(function) if isinstance(node, ast.Dict) for key in node.keys} - {"use_reentrant"}
    if keys - fields:
        sys.exit(f"train.py: TRL does not know {sorted(keys - fields)}")
    tell(f"trl: fsdp.yaml read by accelerate {importlib.metadata.version('accelerate')}; {len(keys)} arguments known")


def rows(root):
    """Reads the ordered rows as axolotl and LLaMA-Factory do: as JSON lines, and from disk."""
    from datasets import load_dataset, load_from_disk

    for recipe, form in (("axolotl", "tokens"), ("axolotl", "text"), ("llama-factory", "tokens")):
        bundle = root / f"{recipe}-{form}"
        what, out = ("disk", "out/rows") if recipe == "llama-factory" else ("ordered", "out/rows.jsonl")
        subprocess.run([sys.executable, "recipe/bundle.py", what, out], cwd=bundle, check=True, stdout=subprocess.DEVNULL)
        if what == "disk":
            read = load_from_disk(str(bundle / out))
        else:
            read = load_dataset("json", data_files=str(bundle / out), split="train", cache_dir=str(root / "cache"))
        expect(f"{bundle.name}: rows", len(read), 40)
        wanted = ["messages"] if form == "text" else ["attention_mask", "input_ids", "labels"]
        expect(f"{bundle.name}: columns", sorted(read.column_names), wanted)
        tell(f"{recipe}: {len(read)} rows in order, columns {', '.join(wanted)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foretune", required=True)
    parser.add_argument("--wheels", required=True, help="folder with the wheels of axolotl, llamafactory, unsloth")
    parser.add_argument("--out", default="recipes.txt")
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    with tempfile.TemporaryDirectory() as folder:
        root, scratch = Path(folder) / "bundles", Path(folder) / "wheels"
        root.mkdir()
        bundles(str(Path(arguments.foretune).resolve()), root)
        trl(root)
        axolotl(root, arguments.wheels, scratch)
        llama_factory(root, arguments.wheels, scratch)
        unsloth(arguments.wheels, scratch)
        rows(root)
    tell("all as meant")
    Path(arguments.out).write_text("\n".join(TOLD) + "\n")


if __name__ == "__main__":
    main()
