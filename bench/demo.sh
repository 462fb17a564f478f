#!/usr/bin/env bash
# The demo's predictions against what is measured over eight seeds at 90 s (bench/demo.sh [SEEDS] [SECONDS] [isoflop options]).
root=$(cd "$(dirname "$0")/.." && pwd)
exec python3 "$root/bench/demo.py" "${ISOFLOP:-$root/build/isoflop}" "$@"
