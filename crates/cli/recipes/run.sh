#!/bin/sh
# Checks the data, trains, and packs the adapter for the way back. Stopped on the way, it goes on
# where it was when started again.
#
#   PRICE_PER_HOUR=1.20 sh recipe/run.sh
#
# PROCESSES  processes to train with [default: one per GPU, 1 without]
# BASE       another name or path of the base model
# OUT        where results go [default: out]
# ALLOW_CPU  1 to train without a GPU
set -eu
cd "$(dirname "$0")/.."
OUT=${OUT:-$PWD/out}
export OUT
mkdir -p "$OUT"

echo "== Gate 2: the data is what was packed"
sh verify.sh
echo "== preflight"
sh recipe/preflight.sh

python3 recipe/bundle.py clock
trap 'python3 recipe/bundle.py cost' EXIT
trap 'exit 130' INT TERM
if [ -z "${PROCESSES:-}" ]; then
    PROCESSES=$(nvidia-smi --list-gpus 2>/dev/null | wc -l)
    [ "$PROCESSES" -gt 0 ] || PROCESSES=1
fi
export PROCESSES

last=sft
for stage in sft dpo; do
    [ "$stage" = sft ] || [ -f recipe/dpo_order.txt ] || continue
    last=$stage
    if [ -f "$OUT/$stage/adapter/adapter_model.safetensors" ]; then
        echo "== $stage: done before"
        continue
    fi
    echo "== $stage, $PROCESSES process(es)"
    sh recipe/launch.sh "$stage"
    [ -f "$OUT/$stage/adapter/adapter_model.safetensors" ] || {
        echo "$stage left no adapter in $OUT/$stage/adapter" >&2
        exit 1
    }
done

echo "== the adapter for the way back"
tar -C "$OUT/$last" -cf "$OUT/adapter.tar" adapter
(cd "$OUT" && sha256sum adapter.tar | tee adapter.tar.sha256)
echo "at home: tar -xf adapter.tar && foretune import adapter --dataset dataset --out runs/gpu"
