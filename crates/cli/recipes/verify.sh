#!/bin/sh
# Checks every file of this bundle by sha256 (GNU coreutils alone; on macOS, shasum).
set -eu
cd "$(dirname "$0")"
if command -v sha256sum >/dev/null 2>&1; then
    sha256sum --check --strict --quiet SHA256SUMS
else
    shasum -a 256 --check --quiet SHA256SUMS
fi
echo "all $(wc -l <SHA256SUMS | tr -d ' ') files are as packed"
