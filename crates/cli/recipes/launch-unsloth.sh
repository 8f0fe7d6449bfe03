#!/bin/sh
# Starts one stage: sft or dpo, on one GPU.
set -eu
exec python3 recipe/train.py "$1"
