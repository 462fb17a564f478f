#!/usr/bin/env bash
# Seconds per fit and per bootstrap refit of every law, on one thread, on synthetic runs of its own constants (bench/fit_laws.sh [LAW]).
set -euo pipefail
bench=$(cd "$(dirname "$0")" && pwd)
isoflop=${ISOFLOP:-$bench/../build/isoflop}
[ -x "$isoflop" ] || { echo "fit_laws.sh: $isoflop is not built: make, or set ISOFLOP" >&2; exit 2; }
exec "$isoflop" bench fit --law "${1:-all}" --threads 1
