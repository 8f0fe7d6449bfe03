#!/bin/sh
# Builds the engine for 64-bit Arm and runs its tests under emulation, on a Debian machine:
#
#     bench/arm.sh [DIRECTORY] [CRATE...]
#
# DIRECTORY (default /tmp/foretune-arm) keeps the toolchain, the build and the output of each crate's
# tests; CRATEs default to those that compute. The standard library for Arm comes from Debian's own
# compiler (`rustc-web`, which follows Firefox's needs and is new enough for this workspace); its
# packages are unpacked into DIRECTORY, because they cannot be installed beside rustup. The linker and
# the emulator are installed, which needs root; all else does not. cargo is whichever is on the path.
#
# Emulation is some twenty times slower than the machine. Prints one line for each crate, then the
# sum; leaves with 1 when a test fails. FILTER names tests to run alone (default: all), COMMIT what to
# call sources that are no working copy. Documentation holds no tests, which would need a rustdoc of
# the same version. Three tests are left out because an emulator is not a system: two start a program
# of the same architecture or one that is not there, one measures the memory of its own process.
set -eu

directory=${1:-/tmp/foretune-arm}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- kernels weights formula market stats model train
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$directory/packages" "$directory/output"
directory=$(cd "$directory" && pwd)
toolchain=$directory/toolchain

if ! command -v qemu-aarch64 >/dev/null || ! command -v aarch64-linux-gnu-gcc >/dev/null; then
    apt-get update
    apt-get install -y --no-install-recommends qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
fi

if [ ! -x "$toolchain/usr/bin/rustc" ]; then
    # A package list of our own that knows both architectures; the machine's is left alone.
    lists=$directory/lists
    mkdir -p "$lists/partial"
    both="-o Dir::State::Lists=$lists -o APT::Architectures::=amd64 -o APT::Architectures::=arm64"
    # shellcheck disable=SC2086
    apt-get $both update
    version=$(apt-cache $both show rustc-web | sed -n 's/^Version: \([0-9]*\.[0-9]*\).*/\1/p' | sort -V | tail -1)
    llvm=$(apt-cache $both depends "libstd-rust-web-$version" | sed -n 's/.*Depends: \(libllvm[0-9]*\).*/\1/p' | head -1)
    # shellcheck disable=SC2086
    (cd "$directory/packages" && apt-get $both download rustc-web "libstd-rust-web-$version" "$llvm" \
        libstd-rust-web-dev "libstd-rust-web-dev:arm64")
    for package in "$directory"/packages/*.deb; do
        dpkg -x "$package" "$toolchain"
    done
fi

export LD_LIBRARY_PATH="$toolchain/usr/lib/x86_64-linux-gnu:$toolchain/usr/lib"
export RUSTC="$toolchain/usr/bin/rustc"
export CARGO_TARGET_DIR="$directory/target"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
# Line tables would double the size of what is built.
export CARGO_PROFILE_DEV_DEBUG=0

cd "$root"
echo "commit ${COMMIT:-$(git rev-parse --short HEAD)}"
echo "host   $(uname -srm), $(nproc) cores; $("$RUSTC" --version); $(qemu-aarch64 --version | head -1)"
failed=0
total=0
for crate in "$@"; do
    output=$directory/output/$crate.txt
    began=$(date +%s)
    if cargo test --target aarch64-unknown-linux-gnu -p "foretune-$crate" --lib --tests --no-fail-fast -- ${FILTER:-} --skip no_python_at_all --skip agrees_with_measured_peaks \
        --skip shards_become_nf4_without_the_model_in_memory >"$output" 2>&1; then
        outcome=passed
    else
        outcome=FAILED
        failed=1
    fi
    counts=$(awk '/^test result:/ { p += $4; f += $6; i += $8 } END { printf "%d passed, %d failed, %d ignored", p, f, i }' "$output")
    total=$((total + $(awk '/^test result:/ { p += $4 } END { print p + 0 }' "$output")))
    echo "$crate: $outcome: $counts ($(($(date +%s) - began)) s with the build)"
done
echo "sum: $total tests passed"
exit $failed
