#!/usr/bin/env bash
# Final loss of bf16 training minus f32 over five paired seeds (bench/bf16.sh [TEXT] [SEEDS] [STEPS] [MODEL]); without bf16 instructions it is emulated.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
text=${1:-$tmp/gcide.txt}
[ -n "${1:-}" ] || zcat /usr/share/dictd/gcide.dict.dz > "$text"
python3 "$root/bench/bf16.py" "${ISOFLOP:-$root/build/isoflop}" "$text" "${@:2}"
