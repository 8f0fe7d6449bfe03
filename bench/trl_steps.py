"""The peer of bench/steps.py: optimiser steps of transformers + PEFT (SFT) or TRL (DPO).

    python bench/trl_steps.py CONFIG_DIRECTORY EXAMPLES BATCH DTYPE

The model has the shape of `config.json` and random weights. SFT pads a batch to its longest example,
as TRL's collator does; DPO is TRL's own trainer, its reference the base with the adapter off. The last
line is JSON; the first step is left out of the rate.
"""

import json
import os
import resource
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import peft
import torch
import transformers


def lora():
    return peft.LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, target_modules=["q_proj", "v_proj"],
                           task_type="CAUSAL_LM")


def sft(model, examples, batch):
    model = peft.get_peft_model(model, lora())
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3)
    marks, tokens = [], 0
    for first in range(0, len(examples), batch):
        picked = examples[first:first + batch]
        longest = max(len(e["tokens"]) for e in picked)
        ids = torch.zeros(len(picked), longest, dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for row, example in enumerate(picked):
            n = len(example["tokens"])
            ids[row, :n] = torch.tensor(example["tokens"])
            mask[row, :n] = 1
            labels[row, example["prompt_len"]:n] = ids[row, example["prompt_len"]:n]
            tokens += n
        optimizer.zero_grad()
        model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        marks.append((time.perf_counter(), tokens))
    return marks, {"peft": peft.__version__}


def dpo(model, pairs, batch):
    import trl
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers

    size = model.config.vocab_size
    words = {f"t{i}": i for i in range(size)}
    core = Tokenizer(models.WordLevel(words, unk_token="t0"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="t0", pad_token="t0", eos_token="t2")
    text = lambda ids: " ".join(f"t{i}" for i in ids)
    rows = []
    for pair in pairs:
        n = pair["chosen"]["prompt_len"]
        rows.append({"prompt": text(pair["chosen"]["tokens"][:n]) + " ", "chosen": text(pair["chosen"]["tokens"][n:]),
                     "rejected": text(pair["rejected"]["tokens"][n:])})
    marks = []

    class Marks(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **more):
            done = min(state.global_step * batch, len(pairs))
            count = sum(len(p["chosen"]["tokens"]) + len(p["rejected"]["tokens"]) for p in pairs[:done])
            marks.append((time.perf_counter(), count))

    with tempfile.TemporaryDirectory() as scratch:
        arguments = trl.DPOConfig(
            output_dir=scratch, beta=0.1, report_to=[], per_device_train_batch_size=batch, use_cpu=True, bf16=False,
            gradient_checkpointing=False, num_train_epochs=1, save_strategy="no", logging_strategy="no",
            max_length=4096, disable_tqdm=True)
        trainer = trl.DPOTrainer(model=model, args=arguments, train_dataset=Dataset.from_list(rows),
                                 processing_class=tokenizer, peft_config=lora(), callbacks=[Marks()])
        trainer.train()
    return marks, {"trl": trl.__version__}


def main():
    directory, path, batch, dtype = sys.argv[1:5]
    torch.manual_seed(1)
    config = transformers.AutoConfig.from_pretrained(directory)
    torch.set_default_dtype(getattr(torch, dtype))
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    torch.set_default_dtype(torch.float32)
    listed = json.load(open(path))
    if "examples" in listed:
        marks, versions = sft(model, listed["examples"], int(batch))
    else:
        marks, versions = dpo(model, listed["pairs"], int(batch))
    rate = (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])
    print(json.dumps({
        "tokens_per_second": rate, "tokens": marks[-1][1], "steps": len(marks),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, **versions}}))


if __name__ == "__main__":
    main()
