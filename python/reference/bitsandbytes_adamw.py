"""Reference values for 8-bit AdamW: bitsandbytes' own optimiser on the CPU.

    python3 -m venv venv && venv/bin/pip install -r python/reference/requirements-bitsandbytes.txt
    venv/bin/python python/reference/bitsandbytes_adamw.py crates/train/tests/fixtures

writes `adamw_8bit/reference.safetensors`, from a fixed seed (N = 1, 2, 3 steps):

    <tensor>.start                         f32, the parameters before the first step
    <tensor>.gradient.N                    f32
    <tensor>.step.N                        f32, the parameters after step N
    large.first|second.codes.N             u8, the moments' codes after step N
    large.first|second.absmax.N            f32, one per block of 256
    small.first|second.N                   f32

`large` has 4,200 elements (the last block is short), `small` 96, below the 4,096 from which
bitsandbytes quantises the moments. `settings.json` holds the hyperparameters; the learning rate
changes from step to step.

bitsandbytes' CPU optimiser is Python (`backends/cpu/ops.py`); the 8-bit blocks are its torch kernels,
see bitsandbytes_pure.py.
"""

import argparse
import json
import platform
from pathlib import Path

import torch
from bitsandbytes_pure import bitsandbytes
from safetensors.torch import save_file

SEED = 20260301
SIZES = {"large": 4200, "small": 96}
RATES = [1e-2, 8e-3, 3e-3]
OPTIMIZER = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out / "adamw_8bit"
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    parameters = {name: torch.nn.Parameter(torch.randn(size, generator=generator) * 0.1)
                  for name, size in SIZES.items()}
    tensors = {f"{name}.start": p.detach().clone() for name, p in parameters.items()}
    optimizer = bitsandbytes.optim.AdamW8bit(
        parameters.values(), betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]), eps=OPTIMIZER["epsilon"],
        weight_decay=OPTIMIZER["weight_decay"])
    for step, rate in enumerate(RATES, 1):
        optimizer.param_groups[0]["lr"] = rate
        for name, p in parameters.items():
            # Gradients of very different sizes, some of them zero.
            p.grad = torch.randn(p.shape, generator=generator) ** 3 * 1e-2
            p.grad[::7] *= 1e-4
            p.grad[::11] = 0.0
            tensors[f"{name}.gradient.{step}"] = p.grad.clone()
        optimizer.step()
        for name, p in parameters.items():
            tensors[f"{name}.step.{step}"] = p.detach().clone()
            state = optimizer.state[p]
            for moment, number in (("first", 1), ("second", 2)):
                values = state[f"state{number}"].clone()
                if name == "small":
                    tensors[f"{name}.{moment}.{step}"] = values
                else:
                    assert values.dtype == torch.uint8
                    tensors[f"{name}.{moment}.codes.{step}"] = values
                    tensors[f"{name}.{moment}.absmax.{step}"] = state[f"absmax{number}"].clone()
    save_file(tensors, out / "reference.safetensors")
    (out / "reference.safetensors").chmod(0o644)
    settings = {
        "command": "python python/reference/bitsandbytes_adamw.py crates/train/tests/fixtures",
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "bitsandbytes": bitsandbytes.__version__},
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "learning_rates": RATES, "optimizer": OPTIMIZER, "seed": SEED,
    }
    (out / "settings.json").write_text(json.dumps(settings, indent=1) + "\n")


if __name__ == "__main__":
    main()
