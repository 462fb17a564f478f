#!/usr/bin/env bash
# GPT-2 124M, batch 4, sequence 64: one training step beside llm.c's CPU program (PEERS_VENV=V LLMC_DIR=D bench/llmc.sh).
. "$(dirname "$0")/env.sh"
dir=${LLMC_DIR:?a built copy of llm.c, see bench/README.md}
[ -f "$dir/gpt2_124M.bin" ] || "$py" "$bench/llmc_data.py" "$dir"
pair llmc --key tok_per_s --ours "'$isoflop' bench train --model gpt2-124m --precision f32 --threads 2" \
    --peer llm.c 'took ([\d.]+) ms' '256e3 / x' "cd '$dir' && OMP_NUM_THREADS=2 timeout 60 stdbuf -oL ./train_gpt2 | awk '/^step/ && n++' || true" --target 'ratio >= 3'
