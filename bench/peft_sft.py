"""The peer of bench/sft.py: training steps of transformers + PEFT, one JSON line at the end.

    python bench/peft_sft.py CONFIG_DIRECTORY ROWS SEQUENCES STEPS SUPERVISED DTYPE [compile]

The model has the shape of `config.json` and random weights: speed does not depend on their values.
With `compile` the model goes through torch.compile, which needs a C++ compiler; the first step, which
then compiles, is stated on its own. It is left out of the rate in either case.
"""

import json
import os
import resource
import statistics
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import peft
import torch
import transformers


def main():
    directory, rows, sequences, steps, supervised, dtype = sys.argv[1:7]
    compiled = sys.argv[7:] == ["compile"]
    rows, sequences, steps, supervised = int(rows), int(sequences), int(steps), int(supervised)
    torch.manual_seed(1)
    config = transformers.AutoConfig.from_pretrained(directory)
    torch.set_default_dtype(getattr(torch, dtype))
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    torch.set_default_dtype(torch.float32)
    model = peft.get_peft_model(model, peft.LoraConfig(
        r=8, lora_alpha=16, lora_dropout=0.05, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    model.train()
    step_model = torch.compile(model) if compiled else model
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    tokens = torch.randint(3, config.vocab_size, (sequences, rows))
    labels = tokens.clone()
    labels[:, :rows - supervised] = -100
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        optimizer.zero_grad()
        step_model(input_ids=tokens, labels=labels, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    print(json.dumps({
        "tokens_per_second": rows * sequences / statistics.median(seconds[1:]),
        "first_step_seconds": seconds[0], "compiled": compiled,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}))


if __name__ == "__main__":
    main()
