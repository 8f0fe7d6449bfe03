"""Trains the adapter as foretune would: `python recipe/train.py sft`, then `dpo` if there are pairs.

TRL's trainers do the work; what is overridden here is what makes the run the same as a native one:

- rows come in the packed order (`*_order.txt`), one line per optimiser step, whatever the number of
  processes;
- every token's loss weight is divided by the step's sum of weights before training starts, so
  that micro-batches, gradient accumulation and processes change nothing;
- the step size follows foretune's schedule;
- the adapter starts from the packed values, if they were packed.

Environment: BASE (another name or path of the base model), MICRO_BATCH (rows per device and pass,
default 1), PRICE_PER_HOUR, OUT (default `out`). Several processes: `torchrun` or `accelerate`.
A run that was stopped goes on from its last checkpoint.
"""

import json
import math
import os
import shutil
import sys
import time
from pathlib import Path

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import bundle

SETTINGS, SFT = bundle.SETTINGS, bundle.SETTINGS["sft"]
UNSLOTH = SETTINGS["recipe"] == "unsloth"
if UNSLOTH:
    # The loss is computed here, so the logits are needed.
    os.environ["UNSLOTH_RETURN_LOGITS"] = "1"
    from unsloth import FastLanguageModel  # before everything it changes

import torch
from accelerate import PartialState
from datasets import Dataset, load_from_disk
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, EarlyStoppingCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

WORLD = int(os.environ.get("WORLD_SIZE", "1"))
MAIN = int(os.environ.get("RANK", "0")) == 0
GPU = torch.cuda.is_available()
MICRO = int(os.environ.get("MICRO_BATCH", "1"))
FSDP = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
BF16 = GPU and SETTINGS["arithmetic"] == "bf16"
NF4 = GPU and SETTINGS["quantisation"] == "nf4"


def load_base():
    """Returns the base model, in four bits or bf16 on a GPU as the settings say, in f32 elsewhere."""
    where, revision = bundle.base(), SETTINGS["base"]["revision"]
    kind = torch.bfloat16 if BF16 else torch.float32
    if UNSLOTH:
        model, _ = FastLanguageModel.from_pretrained(
            where, max_seq_length=SFT["max_tokens"], load_in_4bit=NF4, dtype=kind, revision=revision
        )
        return model
    options = {"dtype": kind, "attn_implementation": "sdpa"}
    if NF4:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=kind,
            # FSDP shards what it can flatten: weights stored as the arithmetic's type.
            bnb_4bit_quant_storage=kind if FSDP else torch.uint8,
        )
        if not FSDP:
            options["device_map"] = {"": int(os.environ.get("LOCAL_RANK", "0"))}
    if where.endswith(".gguf"):
        path = Path(where)
        model = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, **options)
        # Its values are plain numbers by now; what they were read from is no obstacle to training.
        model.is_quantized, model.hf_quantizer = False, None
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        return model
    return AutoModelForCausalLM.from_pretrained(where, revision=revision, **options)


def adapted(model, start):
    """Returns the model with the adapter in `start`, or a fresh one."""
    lora = SETTINGS["lora"]
    if start.is_dir() and not UNSLOTH:
        return PeftModel.from_pretrained(
            model, str(start), is_trainable=True, autocast_adapter_dtype=not FSDP
        )
    torch.manual_seed(SFT["seed"])
    if UNSLOTH:
        model = FastLanguageModel.get_peft_model(
            model, r=lora["rank"], lora_alpha=lora["alpha"], lora_dropout=lora["dropout"],
            target_modules=lora["targets"], use_rslora=lora["rslora"], bias="none",
            use_gradient_checkpointing="unsloth" if SETTINGS["recompute"] else False,
            random_state=SFT["seed"],
        )
        if start.is_dir():
            from peft import set_peft_model_state_dict
            from safetensors.torch import load_file

            set_peft_model_state_dict(model, load_file(start / "adapter_model.safetensors"))
        return model
    config = LoraConfig(
        r=lora["rank"], lora_alpha=lora["alpha"], lora_dropout=lora["dropout"],
        target_modules=lora["targets"], use_rslora=lora["rslora"], bias="none", task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config, autocast_adapter_dtype=not FSDP)


def factor(step, total):
    """Returns foretune's factor on the peak step size at `step`, counted from 0."""
    warmup = math.ceil(total * SFT["warmup_ratio"])
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = min((step - warmup) / max(total - warmup, 1), 1.0)
    return {
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
        "linear": 1.0 - progress,
        "constant": 1.0,
    }[SFT["schedule"]]


class Native:
    """What both stages share: packed order, foretune's schedule, LoRA+ and the log."""

    loss_is_scaled_for_ga = True

    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def create_scheduler(self, num_training_steps, optimizer=None):
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda step: factor(step, num_training_steps)
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def create_optimizer(self, *arguments, **options):
        if SFT["loraplus_ratio"] != 1.0 and self.optimizer is None:
            named = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
            a = [p for name, p in named if "lora_B" not in name]
            b = [p for name, p in named if "lora_B" in name]
            rate = self.args.learning_rate
            kind = torch.optim.AdamW
            if SFT["optimizer"] == "adamw_8bit" and GPU:
                import bitsandbytes

                kind = bitsandbytes.optim.AdamW8bit
            self.optimizer = kind(
                [{"params": a, "lr": rate}, {"params": b, "lr": rate * SFT["loraplus_ratio"]}],
                betas=(SFT["beta1"], SFT["beta2"]), eps=SFT["eps"], weight_decay=SFT["weight_decay"],
            )
        return super().create_optimizer(*arguments, **options)

    began = None

    def note(self, record):
        """Appends to metrics.jsonl, in the fields of foretune's own log. What an earlier process logged
        behind the checkpoint that this one went on from is dropped."""
        if not MAIN:
            return
        path = Path(self.args.output_dir) / "metrics.jsonl"
        if self.began is None:
            rows = bundle.lines(path) if path.is_file() else []
            kept = [row for row in rows if row["step"] < record["step"]]
            bundle.write_lines(path, kept)
            self.began = time.time() - (kept[-1].get("seconds", 0.0) if kept else 0.0)
        record["seconds"] = time.time() - self.began
        if record.get("tokens"):
            record["tokens_per_second"] = record["tokens"] / max(record["seconds"], 1e-9)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


class Sft(Native, SFTTrainer):
    """Completion-only cross-entropy with packed weights."""

    plain = 0.0

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        weights, plain = inputs.pop("loss_weights"), inputs.pop("plain_weights")
        inputs.pop("labels", None)
        outputs = model(**inputs, use_cache=False)
        # Only rows that carry loss are widened to f32.
        on = weights[:, 1:] > 0
        losses = cross_entropy(outputs.logits[:, :-1][on].float(), inputs["input_ids"][:, 1:][on], reduction="none")
        loss = (losses * weights[:, 1:][on]).sum()
        if outputs.logits.requires_grad or model.training:
            self.plain += (losses * plain[:, 1:][on]).sum().detach()
            # Processes are averaged, and this is a sum over all of them.
            loss = loss * WORLD
        return (loss, outputs) if return_outputs else loss

    def log(self, logs, *arguments, **options):
        if "loss" in logs:
            logs["loss"] = float(self.accelerator.reduce(torch.as_tensor(self.plain, device=self.args.device), "sum"))
            self.plain = 0.0
            step, total = self.state.global_step, self.state.max_steps
            self.note(
                {
                    "step": step, "total_steps": total,
                    "examples": min(step * SFT["batch_size"], SFT["examples"]), "loss": logs["loss"],
                    "learning_rate": SFT["learning_rate"] * factor(step - 1, total),
                    "gradient_norm": float(logs.get("grad_norm", 0.0)),
                    "tokens": TOKENS[step], "rows": TOKENS[step], "tokens_per_second": 0.0,
                }
            )
            if MAIN and (step % 10 == 0 or step == total):
                print(f"step {step} of {total}, loss {logs['loss']:.4f}; {bundle.spoken_cost()}", flush=True)
        return super().log(logs, *arguments, **options)


class Dpo(Native, DPOTrainer):
    """TRL's own DPO loss on packed pairs; the reference is computed once."""

    # TRL averages over the pairs of a pass; passes of a step are then averaged.
    loss_is_scaled_for_ga = False

    def _prepare_dataset(self, dataset, *_):
        return dataset

    def log(self, logs, *arguments, **options):
        if "loss" in logs:
            step, total = self.state.global_step, self.state.max_steps
            self.note({"step": step, "total_steps": total, **{k: float(v) for k, v in logs.items() if k != "step"}})
            if MAIN and (step % 10 == 0 or step == total):
                print(f"step {step} of {total}, loss {logs['loss']:.4f}; {bundle.spoken_cost()}", flush=True)
        return super().log(logs, *arguments, **options)


def collate(rows):
    """Pads on the right; what is padded carries no loss."""
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(key, filler, kind):
        return torch.tensor([row[key] + [filler] * (longest - len(row[key])) for row in rows], dtype=kind)

    ones = [{"mask": [1] * len(row["input_ids"])} for row in rows]
    mask = torch.tensor([one["mask"] + [0] * (longest - len(one["mask"])) for one in ones])
    return {
        "input_ids": padded("input_ids", 0, torch.long),
        "attention_mask": mask,
        "loss_weights": padded("loss_weights", 0.0, torch.float32),
        "plain_weights": padded("plain_weights", 0.0, torch.float32),
    }


# Tokens seen after each step, filled in by `training_rows`.
TOKENS = [0]


def training_rows(tokens_of):
    """Returns rows in the order of training, weights divided by their step's sum.

    The last step may have fewer rows than a batch: rows without weight fill it up, so that every
    process has as many.
    """
    steps = bundle.order("sft")
    known = bundle.examples("sft", sorted({row for step in steps for row in step}), tokens_of)
    rows = []
    for step in steps:
        members = [known[row] for row in step]
        weight = sum(sum(member["weights"][1:]) for member in members)
        count = sum(sum(w > 0 for w in member["weights"][1:]) for member in members)
        TOKENS.append(TOKENS[-1] + sum(len(member["input_ids"]) for member in members))
        for member in members:
            ids = member["input_ids"]
            rows.append(
                {
                    "input_ids": ids,
                    "labels": [t if w > 0 else bundle.IGNORED for t, w in zip(ids, member["weights"])],
                    "loss_weights": [w / weight for w in member["weights"]],
                    "plain_weights": [float(w > 0) / count for w in member["weights"]],
                }
            )
        for _ in range(SFT["batch_size"] - len(members)):
            ids = members[0]["input_ids"][:2]
            rows.append({"input_ids": ids, "labels": [bundle.IGNORED] * 2,
                         "loss_weights": [0.0] * 2, "plain_weights": [0.0] * 2})
    return rows


def validation_rows(tokens_of):
    """Returns held-out rows whose mean loss is the mean over their supervised tokens."""
    wanted = SETTINGS["validation_rows"]
    known = bundle.examples("validation", wanted, tokens_of)
    members = [known[row] for row in wanted]
    count = sum(sum(w > 0 for w in member["weights"][1:]) for member in members)
    rows = []
    for member in members:
        plain = [float(w > 0) / count * len(members) for w in member["weights"]]
        rows.append({"input_ids": member["input_ids"], "labels": member["input_ids"],
                     "loss_weights": plain, "plain_weights": plain})
    return rows


def arguments(stage, batch, steps, rate):
    """Returns the trainer arguments that both stages share."""
    if batch % (WORLD * MICRO):
        sys.exit(
            f"a step of {batch} rows cannot be divided among {WORLD} processes of MICRO_BATCH={MICRO}; "
            f"use a number of processes that divides {batch}"
        )
    eight = SFT["optimizer"] == "adamw_8bit" and GPU
    recompute = SETTINGS["recompute"] and not UNSLOTH
    return {
        "output_dir": str(bundle.OUT / stage), "max_steps": steps,
        "per_device_train_batch_size": MICRO, "gradient_accumulation_steps": batch // (WORLD * MICRO),
        "per_device_eval_batch_size": 1, "learning_rate": rate, "lr_scheduler_type": "constant",
        "optim": "adamw_bnb_8bit" if eight else "adamw_torch",
        "weight_decay": SFT["weight_decay"], "adam_beta1": SFT["beta1"], "adam_beta2": SFT["beta2"],
        "adam_epsilon": SFT["eps"], "max_grad_norm": SFT["max_gradient_norm"],
        "logging_steps": 1, "save_steps": SFT["checkpoint_every"] or steps, "save_total_limit": 2,
        "report_to": [], "seed": SFT["seed"], "bf16": BF16, "use_cpu": not GPU, "disable_tqdm": True,
        "gradient_checkpointing": recompute,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if recompute else None,
        "ddp_find_unused_parameters": False, "remove_unused_columns": False, "max_length": None,
    }


def sft():
    tokens_of = bundle.tokenizer()
    rows = training_rows(tokens_of)
    options = arguments("sft", SFT["batch_size"], SFT["steps"], SFT["learning_rate"])
    callbacks, held_out = [], None
    if SFT["validate_every"] and SETTINGS["validation_rows"]:
        held_out = Dataset.from_list(validation_rows(tokens_of))
        options |= {"eval_strategy": "steps", "eval_steps": SFT["validate_every"], "prediction_loss_only": True}
        if SFT["keep"] == "best":
            options |= {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss",
                        "greater_is_better": False, "save_steps": SFT["validate_every"]}
        if SFT["early_stopping"]:
            options |= {"metric_for_best_model": "eval_loss", "greater_is_better": False}
            callbacks.append(EarlyStoppingCallback(SFT["early_stopping"]))
    model = load_base()
    widest = max(max(row["input_ids"]) for row in rows)
    if widest >= model.get_input_embeddings().num_embeddings:
        sys.exit(f"token {widest} is outside the vocabulary of {bundle.base()}: another base model than was packed for")
    model = adapted(model, bundle.HERE / "start")
    trainer = Sft(
        model=model,
        args=SFTConfig(dataset_kwargs={"skip_prepare_dataset": True}, **options),
        train_dataset=Dataset.from_list(rows), eval_dataset=held_out,
        processing_class=tokens_of, data_collator=collate, callbacks=callbacks,
    )
    finish(trainer, "sft")


def on_disk(rows, folder):
    """Returns rows as a data set that all processes read from one place: TRL caches the reference's scores
    beside it, and another process has to find them."""
    state = PartialState(cpu=not GPU)
    if state.is_main_process and not folder.is_dir():
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        Dataset.from_list(rows).save_to_disk(str(partial))
        os.replace(partial, folder)
    state.wait_for_everyone()
    return load_from_disk(str(folder))


def dpo():
    own = SETTINGS["dpo"]
    tokens_of = bundle.tokenizer()
    pairs = bundle.pairs(tokens_of)
    keys = ("prompt_ids", "chosen_ids", "rejected_ids")
    rows = [{key: pairs[row][key] for key in keys} for step in bundle.order("dpo") for row in step]
    start = bundle.OUT / "sft" / "adapter"
    model = adapted(load_base(), start if start.is_dir() else bundle.HERE / "start")
    trainer = Dpo(
        model=model,
        args=DPOConfig(
            beta=own["beta"], label_smoothing=own["label_smoothing"], loss_type=["sigmoid"],
            precompute_ref_log_probs=own["reference"] == "start", disable_dropout=False,
            **arguments("dpo", SFT["batch_size"], own["steps"], own["learning_rate"]),
        ),
        train_dataset=on_disk(rows, bundle.OUT / "dpo-rows"), processing_class=tokens_of,
    )
    if own["reference"] == "base" and "ref" in trainer.model.peft_config:
        # Without a copy of the start, TRL compares with the base, the adapter switched off.
        trainer.model.delete_adapter("ref")
    finish(trainer, "dpo")


def finish(trainer, stage):
    """Trains, from the last checkpoint if there is one, and saves the adapter."""
    folder = Path(trainer.args.output_dir)
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if last and MAIN:
        print(f"going on from {last}", flush=True)
    trainer.train(resume_from_checkpoint=last)
    made = folder / "adapter"
    trainer.save_model(str(made))
    trainer.accelerator.wait_for_everyone()
    if not MAIN:
        return
    for path in made.iterdir():
        if path.name not in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copy(folder / "metrics.jsonl", made / "metrics.jsonl")
    origin = {
        "kind": "foretune-adapter", "schema": 1, "recipe": SETTINGS["recipe"], "stage": stage,
        "base": bundle.base(), "base_sha256": SETTINGS["base"]["sha256"],
        "dataset_sha256": SETTINGS["dataset_sha256"], "processes": WORLD,
        "torch": torch.__version__, "device": torch.cuda.get_device_name(0) if GPU else "cpu",
    }
    (made / "foretune.json").write_text(json.dumps(origin, indent=2) + "\n")
    print(f"{stage}: adapter in {made}; {bundle.spoken_cost()}", flush=True)


if __name__ == "__main__":
    if UNSLOTH and WORLD > 1:
        sys.exit("unsloth trains on one GPU; pack with --recipe trl for several")
    stages = {"sft": sft, "dpo": dpo}
    if len(sys.argv) != 2 or sys.argv[1] not in stages:
        sys.exit(__doc__)
    stages[sys.argv[1]]()
