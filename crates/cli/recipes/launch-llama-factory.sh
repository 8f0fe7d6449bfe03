#!/bin/sh
# Starts one stage: sft or dpo, with $PROCESSES processes; the adapter is put where run.sh looks.
set -eu
stage=$1
[ "$OUT" = "$PWD/out" ] || [ -e out ] || ln -s "$OUT" out
if [ "$stage" = dpo ]; then
    python3 recipe/bundle.py pairs "$OUT/dpo-in-order.jsonl"
elif [ -f recipe/tokens/sft.jsonl ]; then
    [ -d "$OUT/sft-in-order" ] || python3 recipe/bundle.py disk "$OUT/sft-in-order"
else
    python3 recipe/bundle.py ordered "$OUT/sft-in-order.jsonl"
fi
cp recipe/dataset_info.json "$OUT/dataset_info.json"
if [ "${PROCESSES:-1}" -gt 1 ]; then
    FORCE_TORCHRUN=1 NPROC_PER_NODE=$PROCESSES
    export FORCE_TORCHRUN NPROC_PER_NODE
fi
passes=$(python3 recipe/bundle.py accumulation "${PROCESSES:-1}")
llamafactory-cli train "recipe/llama-factory-$stage.yaml" gradient_accumulation_steps="$passes"
mkdir -p "$OUT/$stage/adapter"
cp "$OUT/$stage/adapter_config.json" "$OUT/$stage/adapter_model.safetensors" "$OUT/$stage/adapter/"
