#!/usr/bin/env bash
# The best GEMM rate over squares of 1,024, 2,048 and 4,096, 2 threads, beside PyTorch's (PEERS_VENV=V bench/gemm.sh).
. "$(dirname "$0")/env.sh"
for precision in f32 $(cpu_has_bf16 && echo bf16); do
    pair "gemm-$precision" --key gemm_peak_flop_per_s --ours "'$isoflop' bench gemm --precision $precision --threads 2" \
        --peer torch json x "'$py' '$bench/torch_gemm.py' $precision"
done
