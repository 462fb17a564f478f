#!/usr/bin/env bash
# Held-out bits per byte for a wall-clock budget beside a hand-tuned PyTorch run (PEERS_VENV=V bench/lm.sh [TEXT] [SECONDS] [OUR_SECONDS]).
. "$(dirname "$0")/env.sh"
text=${1:-$(gcide)}
seconds=${2:-300}
ours_s=${3:-$seconds}
precision=f32
cpu_gains_by_bf16 && precision=bf16
rounds=${ROUNDS:-1}
for verb in ${VERBS:-train demo}; do # each in an empty home; the time is from process start to exit
    out=$([ $verb = train ] && echo "--out \$h/model" || true)
    pair "lm-$verb-${ours_s}s" --key bits_per_byte --better low --target "ratio > 1 and wall_s <= $ours_s" \
        --ours "h=\$(mktemp -d -p '$tmp'); cd \$h && HOME=\$h '$isoflop' $verb --text '$text' --budget ${ours_s}s --json $out" \
        --peer "torch-$precision-${seconds}s" '([\d.]+) bits/byte' x "'$py' '$peers/torch_lm.py' '$text' $seconds $precision 4 128 4 2048 256 4 4e-3"
done
