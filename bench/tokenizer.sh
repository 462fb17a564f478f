#!/usr/bin/env bash
# Byte-level BPE of 8,192 entries beside Hugging Face (training) and tiktoken (encoding) (PEERS_VENV=V bench/tokenizer.sh [FILE]).
. "$(dirname "$0")/env.sh"
file=${1:-$(gcide)}
mb=$(($(stat -c %s "$file") / 1000))e-3
ours="'$isoflop' bench tokenizer '$file' --vocab 8192 --threads"
mkdir -p "$tmp/tok"
"$isoflop" bench tokenizer "$file" --vocab 8192 --repeats 1 --out "$tmp/tok" > "$tmp/train.log"
pair tokenizer-train-1 --key mb_per_s --select phase=train threads=1 --ours "$ours 1" \
    --peer hf-tokenizers 'train ([\d.]+) s' "$mb / x" "'$py' '$peers/bpe.py' '$file' 8192 1" --target 'ratio >= 2'
pair tokenizer-encode-1 --key mb_per_s --select phase=encode threads=1 --ours "$ours 1" \
    --peer tiktoken json x "'$py' '$bench/tiktoken_encode.py' '$tmp/tok/tokenizer.json' '$file'" \
    --target 'ratio >= 1 and tokens == peer["tokens"] and ids_crc32 == peer["ids_crc32"]'
pair tokenizer-encode-2 --key mb_per_s --select phase=encode threads=2 --ours "$ours 2" \
    --peer ours-1-thread 'json phase=encode threads=1' x "$ours 1" --target 'ratio >= 1.8'
