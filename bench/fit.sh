#!/usr/bin/env bash
# 4,000 bootstrap refits of the Chinchilla form on one core beside SciPy on the same resamples (PEERS_VENV=V bench/fit.sh [CSV] [N]).
. "$(dirname "$0")/env.sh"
csv=${1:-$shared/data/scaling/epoch_chinchilla.csv}
n=${2:-4000}
"$py" "$bench/fit.py" make "$csv" "$tmp/resamples.jsonl" "$n"
pair fit --key fits_per_s --ours "'$isoflop' bench fit '$csv' --drop-highest 5 --resamples '$tmp/resamples.jsonl' --objectives --threads 1 | tee '$tmp/ours.jsonl'" \
    --peer scipy '([\d.]+) ms each' '1e3 / x' "'$py' '$peers/scipy_fit.py' '$csv' 200" --target 'ratio >= 40'
"$py" "$bench/fit.py" check "$csv" "$tmp/resamples.jsonl" "$tmp/ours.jsonl"
