#!/bin/sh
# Looks at this machine before anything is paid for: GPU, memory, disk, versions. Says everything it
# finds and fails at the end if something will not do. The data itself is checked by ../verify.sh.
set -u
cd "$(dirname "$0")/.."
fault=0
say() { printf '%-10s %s\n' "$1" "$2"; }
bad() { say "$1" "NOT ENOUGH: $2"; fault=1; }
number() { sed -n "s/^ *\"$1\": *\([0-9.]*\),*$/\1/p" recipe/settings.json; }
short() { awk -v have="$1" -v need="$2" 'BEGIN { exit !(have + 0 < need + 0) }'; }

need_gpu=$(number gpu_gib)
need_ram=$(number ram_gib)
need_disk=$(number disk_gib)

if command -v nvidia-smi >/dev/null 2>&1; then
    nvidia-smi --query-gpu=name,driver_version,memory.total,memory.free --format=csv,noheader |
        while read -r line; do say GPU "$line"; done
    free=$(nvidia-smi --query-gpu=memory.free --format=csv,noheader,nounits | sort -n | head -n 1)
    gib=$(awk -v mib="$free" 'BEGIN { printf "%.1f", mib / 1024 }')
    if [ -n "$need_gpu" ] && short "$gib" "$need_gpu"; then
        bad GPU "$gib GiB free on the smallest, about $need_gpu needed"
    fi
elif [ "${ALLOW_CPU:-}" = 1 ]; then
    say GPU "none; training on the processor, as ALLOW_CPU=1 says"
else
    bad GPU "nvidia-smi is not there (ALLOW_CPU=1 trains without)"
fi

if [ -r /proc/meminfo ]; then
    ram=$(awk '/^MemAvailable:/ { printf "%.1f", $2 / 1048576 }' /proc/meminfo)
    if [ -n "$need_ram" ] && short "$ram" "$need_ram"; then
        bad memory "$ram GiB available, about $need_ram needed"
    else
        say memory "$ram GiB available${need_ram:+, about $need_ram needed}"
    fi
fi

disk=$(df -Pk . | awk 'NR == 2 { printf "%.1f", $4 / 1048576 }')
if [ -n "$need_disk" ] && short "$disk" "$need_disk"; then
    bad disk "$disk GiB free, about $need_disk needed"
else
    say disk "$disk GiB free${need_disk:+, about $need_disk needed}"
fi

python3 - recipe/requirements.txt <<'PYTHON' || fault=1
import importlib.metadata
import pathlib
import sys

wrong = 0
print(f"python     {sys.version.split()[0]}")
if sys.version_info < (3, 10):
    print("python     NOT ENOUGH: 3.10 or newer is needed")
    wrong = 1
for line in pathlib.Path(sys.argv[1]).read_text().splitlines():
    name, _, wanted = line.split("#")[0].strip().partition("==")
    if not wanted:
        continue
    try:
        found = importlib.metadata.version(name.split("[")[0])
    except importlib.metadata.PackageNotFoundError:
        found = None
    if found is None:
        print(f"{name:10} NOT THERE: pip install -r recipe/requirements.txt")
        wrong = 1
    elif found.split("+")[0] != wanted:
        print(f"{name:10} {found}, packed for {wanted}: may well do, but was not tried")
    else:
        print(f"{name:10} {found}")
sys.exit(wrong)
PYTHON

python3 recipe/bundle.py base
if [ "$fault" != 0 ]; then
    echo "preflight: this machine will not do (see above)" >&2
    exit 1
fi
echo "preflight: this machine will do"
