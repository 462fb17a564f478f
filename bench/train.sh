#!/usr/bin/env bash
# Training step, 2 threads, beside PyTorch eager and torch.compile (PEERS_VENV=V [PRECISIONS=bf16] bench/train.sh [10m] [50m] [124m]).
. "$(dirname "$0")/env.sh"
factor=1.3
grep -m1 '^cpu family' /proc/cpuinfo | grep -qw 26 && factor=1.6 # Zen 5, where PyTorch's own GEMM is slow
for model in ${*:-10m 50m 124m}; do
    for precision in ${PRECISIONS:-f32 $(cpu_has_bf16 && echo bf16)}; do
        target="mfu >= .6 and (ratio >= $factor or mfu >= .75)"
        [ $precision = bf16 ] && target="mfu >= .5 and ratio >= 1.3"
        pair "train-$model-$precision" --key tok_per_s --ours "'$isoflop' bench train --model $model --precision $precision --threads 2" \
            --peer eager '([\d.]+) tok/s' x "'$py' '$peers/torch_train.py' eager $precision $model" \
            --peer compile '([\d.]+) tok/s' x "'$py' '$peers/torch_train.py' compile $precision $model" --target "$target"
    done
done
