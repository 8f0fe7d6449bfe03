#!/bin/sh
# Starts one stage: sft or dpo, with $PROCESSES processes.
set -eu
stage=$1
if [ "${PROCESSES:-1}" -le 1 ]; then
    exec python3 recipe/train.py "$stage"
fi
if [ "${FSDP:-}" = 1 ]; then
    # The base is sharded over the GPUs: for models that do not fit one of them.
    exec accelerate launch --config_file recipe/fsdp.yaml --num_processes "$PROCESSES" recipe/train.py "$stage"
fi
exec torchrun --standalone --nproc_per_node "$PROCESSES" recipe/train.py "$stage"
