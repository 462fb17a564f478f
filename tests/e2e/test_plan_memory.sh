#!/bin/sh
# isoflop plan memory: activations by hand, plans under limits against simpler strategies, offloading, shards, what is refused.
# ctest: timeout=300 cost=14 asan
. "$(dirname "$0")/lib.sh"
E_MEMORY=5 E_UNAVAILABLE=7

help_ok plan memory
SHAPE=12,256,4/4,704,1000,128
# Everything kept: what a layer's values take, by hand, in bytes of 2: norms with their statistics, q k v, o with its sums, mid, up (gate too), hidden, stream.
run $E_OK plan memory --model $SHAPE --batch 16 --limit 100GiB --json
json 'j["kind"] == "memory" and j["plan"]["kind"] == "keep all" and j["plan"]["extra_share"] == 0 and j["plan"]["optimal"]'
json 'j["job"]["batch"] == 16 and j["job"]["seq"] == 128 and j["job"]["params"] == 1000 * 256 + 12 * (4 * 256 * 256 + 3 * 256 * 704 + 2 * 256) + 256'
json 'len(j["layers"]) == 1 and (j["layers"][0]["from"], j["layers"][0]["to"]) == (0, 11)'
json 'j["layers"][0]["kept_bytes"] == 2 * 16 * 128 * (2 * (256 + 1) + 3 * 256 + (256 + 4) + 256 + 2 * 704 + 704 + 256)'
json 'j["bytes"]["weights"] == 2 * j["job"]["params"] and j["bytes"]["gradients"] == 4 * j["job"]["params"] and j["bytes"]["optimizer"] == 12 * j["job"]["params"]'
json 'abs(j["plan"]["total_bytes"] - j["plan"]["peak_bytes"] - 18 * j["job"]["params"] - 8 * 16 * 128) < 1'
# Only streams are kept at most when every layer is computed again: the forward pass, without each layer's last product but the last layer.
json 'len([s for s in j["strategies"] if s["strategy"] == "every k layers"][0]["points"]) == 11'
for k in 1 2 3 4 6 8 10; do
  total=$(json_get "int([p for p in [s for s in j['strategies'] if s['strategy'] == 'every k layers'][0]['points'] if p['k'] == $k][0]['total_bytes'])")
  extra=$(json_get "[p for p in [s for s in j['strategies'] if s['strategy'] == 'every k layers'][0]['points'] if p['k'] == $k][0]['extra_share']")
  cp "$OUT" all
  run $E_OK plan memory --model $SHAPE --batch 16 --limit "$total" --json
  json "j['plan']['total_bytes'] <= $total and j['plan']['extra_share'] < $extra"
  json 'j["plan"]["bound_share"] <= j["plan"]["extra_share"] + 1e-9 and j["plan"]["gap_share"] < 0.01'
  cp all "$OUT"
done
# The front falls.
json 'all(a["peak_bytes"] < b["peak_bytes"] and a["extra_share"] > b["extra_share"] for p in [[s for s in j["strategies"] if s["strategy"] == "best per block"][0]["points"]] for a, b in zip(p, p[1:]))'

# A cap on retention intervals: one computes nothing again; two are as good as any number here, and the plan without a cap is told beside it.
run $E_OK plan memory --model $SHAPE --batch 16 --limit 300MiB --json
extra=$(json_get 'j["plan"]["extra_share"]')
json '"retention_cap" not in j and j["plan"]["retention_intervals"] >= 2'
run $E_OK plan memory --model $SHAPE --batch 16 --limit 300MiB --retention-intervals 2 --json
json "abs(j['plan_any_intervals']['extra_share'] - $extra) < 1e-12 and $extra <= j['plan']['extra_share'] <= $extra * 1.01"
json 'j["retention_cap"] == 2 and j["plan"]["retention_intervals"] == 2'
run $E_OK plan memory --model $SHAPE --batch 16 --limit 300MiB --retention-intervals 2
out_has '^intervals +2 of a value at most, of 2 allowed'
run $E_MEMORY plan memory --model $SHAPE --batch 16 --limit 300MiB --retention-intervals 1
err_has 'allow more retention intervals'
run $E_USAGE plan memory --model $SHAPE --batch 16 --limit 300MiB --retention-intervals 6
err_has 'expected 1 to 5'
# The whole graph of 124M parameters: within 0.2% of a step of what any schedule must compute.
limits="2.8GiB 3.5GiB 5GiB"
[ -z "${ISOFLOP_TEST_SMALL:-}" ] || limits=3.5GiB
for limit in $limits; do
  run $E_OK plan memory --model 124m --batch 16 --seq 1024 --limit $limit --json
  json '0 <= j["plan"]["gap_share"] < 0.002'
done

# What the trainer can do itself under a limit in f32: its own price is below it, by weights, gradients, moments and the activations' arena.
run $E_OK plan memory --model $SHAPE --batch 16 --limit 350MiB --precision f32 --json
json 'j["trainer"]["total_bytes"] <= 350 * 2**20 and j["trainer"]["recompute_cheap"] and j["trainer"]["extra_share"] >= j["plan"]["extra_share"]'
flags="--recompute-layers $(json_get 'j["trainer"]["recompute_layers"]') --recompute-cheap"
run $E_OK plan memory --model $SHAPE --batch 16 --limit 350MiB --precision f32
out_has "^isoflop train +.*$flags"

# f32 doubles the values; bytes per parameter are the user's.
run $E_OK plan memory --model $SHAPE --batch 16 --limit 100GiB --precision f32 --json
json 'j["layers"][0]["kept_bytes"] == 4 * 16 * 128 * (2 * (256 + 1) + 3 * 256 + (256 + 4) + 256 + 2 * 704 + 704 + 256)'
json 'j["bytes"]["optimizer"] == 8 * j["job"]["params"]'
run $E_OK plan memory --model $SHAPE --batch 2ktok --limit 100GiB --bytes 1,2.5,3 --json
json 'j["job"]["batch"] == 16 and j["bytes"]["weights"] == j["job"]["params"] and j["bytes"]["gradients"] == 2.5 * j["job"]["params"]'

# Too little: the least is named, and does.
run $E_MEMORY plan memory --model $SHAPE --batch 16 --limit 50MiB
err_has 'does not fit: [0-9]+ bytes'
err_has 'ZeRO-3 over [0-9]+ devices'
least=$(sed -n 's/.*does not fit: \([0-9]*\) bytes.*/\1/p' "$ERR")
run $E_OK plan memory --model $SHAPE --batch 16 --limit "$least" --json
json "j['plan']['total_bytes'] <= $least and j['plan']['kind'] == 'recompute'"
run $E_MEMORY plan memory --model $SHAPE --batch 16 --limit $((least - 1))
# Too large for the device as it is: shards, and places off it.
run $E_OK plan memory --model llama3-8b --seq 2048 --device h100 --host-memory 400GiB --json
json '[s["zero"] for s in j["shards"]] == [1, 2, 3] and all(s["devices_least_activations"] <= s["devices_keep_all"] for s in j["shards"] if s["devices_keep_all"])'
json 'j["plan"]["place"] != "device" and j["plan"]["host_bytes"] >= 12 * j["job"]["params"] and j["plan"]["total_bytes"] <= j["bytes"]["limit"]'

# Seconds: offloading is taken when its link is fast, recomputation when it is slow.
base="--model 124m --batch 16 --limit 4GiB --device a100-80"
run $E_OK plan memory $base --json
json 'j["plan"]["kind"] == "recompute" and j["plan"]["step_s"] > j["plan"]["compute_s"]'
alone=$(json_get 'j["plan"]["step_s"]')
run $E_OK plan memory $base --host-memory 64GiB --json
json "j['plan']['step_s'] < $alone and j['plan']['activations_to_host_bytes'] > 0 and any(l['on_host'] for l in j['layers'])"
run $E_OK plan memory $base --host-memory 64GiB --host-rate 10MB --json
json "abs(j['plan']['step_s'] / $alone - 1) < 1e-6 and j['plan']['activations_to_host_bytes'] == 0"

run $E_OK plan memory $base --host-memory 64GiB
out_has '^plan +.*offload'
out_has '^layers? [0-9]'
out_has '^ZeRO-3 '
out_has '^best per block '
err_empty

# Refused.
run $E_USAGE plan memory --limit 1GiB
err_has 'model'
run $E_USAGE plan memory --model 124m
err_has 'limit'
run $E_USAGE plan memory --model 124n --limit 1GiB
run $E_USAGE plan memory --model 124m --limit 1GiB --precision int3
run $E_USAGE plan memory --model 124m --limit 1GiB --bytes 2,4
run $E_USAGE plan memory --model 124m --limit 1GiB --host-memory 1GiB
err_has 'device'
run $E_USAGE plan memory --model gpt2-124m --seq 2048 --limit 1GiB
err_has 'positions'
run $E_UNAVAILABLE plan memory --model mixtral-8x7b --limit 80GiB
err_has 'experts'
finish
