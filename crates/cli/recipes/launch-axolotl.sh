#!/bin/sh
# Starts one stage: sft or dpo, with $PROCESSES processes; the adapter is put where run.sh looks.
set -eu
stage=$1
if [ "$stage" = sft ]; then
    python3 recipe/bundle.py ordered "$OUT/sft-in-order.jsonl"
else
    python3 recipe/bundle.py pairs "$OUT/dpo-in-order.jsonl"
fi
# The configuration names files below `out`; OUT may lie elsewhere.
[ "$OUT" = "$PWD/out" ] || [ -e out ] || ln -s "$OUT" out
passes=$(python3 recipe/bundle.py accumulation "${PROCESSES:-1}")
accelerate launch --num_processes "${PROCESSES:-1}" -m axolotl.cli.train "recipe/axolotl-$stage.yaml" \
    --gradient_accumulation_steps "$passes"
mkdir -p "$OUT/$stage/adapter"
cp "$OUT/$stage/adapter_config.json" "$OUT/$stage/adapter_model.safetensors" "$OUT/$stage/adapter/"
