#!/bin/sh
# isoflop eval: the held-out loss of a model folder equals what its training reported; broken input.
# ctest: timeout=300
. "$(dirname "$0")/lib.sh"
E_BUDGET=3 E_INPUT=4

help_ok eval
cat "$ROOT"/src/text/*.c "$ROOT"/src/cost/*.c | head -c 150000 >text.txt
run $E_OK train --text text.txt --steps 20 --batch 8 --model 2,32,2/2,64,512,32 --vocab 512 --out model --quiet --json
bpb=$(json_get 'j["bits_per_byte"]') nats=$(json_get 'j["val_loss_nats"]') params=$(json_get 'j["params"]')
# The held-out part of one file: what floor(bytes * 0.98) leaves.
tail -c +147001 text.txt >held.txt

run $E_OK eval model held.txt --json
json "abs(j['bits_per_byte'] / $bpb - 1) < 1e-6 and abs(j['val_loss_nats'] / $nats - 1) < 1e-6 and j['params'] == $params"
json 'j["bytes"] == 3000 and j["documents"] == 1 and j["scored_tokens"] == j["tokens"] - 1 and j["seq"] == 32'
json 'abs(j["bits_per_byte"] - j["val_loss_nats"] / math.log(2) * j["tokens"] / j["bytes"]) < 1e-9'
json 'j["predicted"]["wall"][1] > 0 and j["measured"]["wall"] > 0 and j["seconds"] > 0 and j["measured"]["infer_flop"] > 0'
run $E_OK eval model held.txt
out_has '^loss +[0-9.]+ nats per token'
out_has '^bits per byte +[0-9.]+'
out_has '^wall '
gzip -k held.txt
run $E_OK eval model held.txt.gz --json
json "abs(j['bits_per_byte'] / $bpb - 1) < 1e-6"
run_in held.txt $E_OK eval model - --json --threads 1
json "abs(j['bits_per_byte'] / $bpb - 1) < 1e-6"
# Shorter windows see less, so the loss differs; the text is scored whole all the same.
run $E_OK eval model held.txt --seq 8 --json
json "j['seq'] == 8 and j['scored_tokens'] == j['tokens'] - 1 and j['val_loss_nats'] != $nats"
run $E_OK eval model held.txt --max-bytes 1000 --json
json 'j["bytes"] == 1000'
printf '{"text": "static int a;"}\n{"text": "static int b;"}\n' >docs.jsonl
run $E_OK eval model docs.jsonl --json
json 'j["documents"] == 2 and j["bytes"] == 26 and math.isfinite(j["bits_per_byte"])'
run $E_OK runs --kind eval --json
json 'len(j["runs"]) == 7 and all(r["status"] == "done" for r in j["runs"])'

# Prices and refusals.
run $E_OK eval model text.txt --dry-run --json
json 'j["predicted"]["wall"][1] > 0 and "bits_per_byte" not in j and j["tokens"] > 1000'
run $E_BUDGET eval model text.txt --budget infer_flop=1e3
err_has 'infer_flop'
err_has 'least that would do'
out_empty
run $E_BUDGET eval model text.txt --budget wall=1us --dry-run
run $E_BUDGET eval model text.txt --budget peak_ram=1kB
run $E_OK eval model held.txt --budget 300s,4GiB --quiet
err_empty

# Wrong ways.
: >empty
printf x >one
run $E_INPUT eval model nothing.txt
err_has 'nothing.txt'
run $E_INPUT eval model empty
err_has 'no text'
run $E_INPUT eval model one
err_has 'at least 2'
run $E_INPUT eval nowhere held.txt
err_has 'nowhere/config.json'
mkdir garbage
cp model/config.json model/tokenizer.json garbage/
head -c 5000 text.txt >garbage/model.safetensors
run $E_INPUT eval garbage held.txt
err_has 'garbage'
out_empty
run $E_USAGE eval model
run $E_USAGE eval model held.txt --sqe 8
err_has 'did you mean --seq'
run $E_USAGE eval model held.txt --seq 64
err_has 'at most 32'
run $E_USAGE eval model held.txt --precision f8
run $E_USAGE eval model held.txt --budget 3parsec
finish
