#!/bin/sh
# isoflop plan devices: the sweep's best is the best of what it lists, budgets, prices, attention, and wrong calls.
# ctest: timeout=200 asan
. "$(dirname "$0")/lib.sh"
E_BUDGET=3 E_MEMORY=5 E_UNAVAILABLE=7

help_ok plan devices
M="--params 1B --seq 2048 --batch 256"
run $E_OK plan devices $M --tokens 20Btok --devices a100,h100,l4,t4 --max-devices 64 --region FR --json
json 'j["kind"] == "devices" and j["objective"] == "loss-per-usd" and j["batch_sequences"] == 256'
# Seven counts of four kinds; one T4 holds no copy.
json 'len({(r["device"], r["devices"]) for r in j["runs"]}) == 27 and [(x["device"], x["devices"]) for x in j["left_out"]] == [("t4", 1)]'
json 'all(a["score"]["value"] >= b["score"]["value"] for a, b in zip(j["runs"], j["runs"][1:])) and j["best"]["score"] == j["runs"][0]["score"]'
# Scores are what they say: nats below ln V over dollars, and dollars are device-hours times the price.
json 'all(abs((math.log(32000) - r["loss"]["value"]) / r["usd"]["value"] / r["score"]["value"] - 1) < 1e-9 for r in j["runs"])'
json 'all(abs(r["tokens"]["value"] / r["usd"]["value"] / r["tok_per_usd"]["value"] - 1) < 1e-9 and abs(r["tokens"]["value"] / r["wall"]["value"] / r["tok_per_s"]["value"] - 1) < 1e-9 for r in j["runs"])'
json 'abs(j["best"]["usd"]["value"] / (j["best"]["wall"]["value"] / 3600 * j["best"]["devices"] * j["usd_per_device_hour"]) - 1) < 1e-9'
json 'abs(j["best"]["co2"]["value"] / (j["best"]["energy"]["value"] / 3.6e6 * 56.039) - 1) < 1e-9'
# A fixed number of tokens reaches one loss; flash attention and both ways of sharing are there, and plain attention is slower.
json 'len({r["loss"]["value"] for r in j["runs"]}) == 1 and {r["attention"] for r in j["runs"]} == {"flash", "plain"} and {"DDP", "FSDP"} <= {r["sharing"] for r in j["runs"]}'
json 'all(r["sharing"] != "FSDP" or r["layout"]["zero"] == 3 for r in j["runs"]) and all(r["sharing"] != "DDP" or r["layout"]["zero"] == 0 for r in j["runs"])'
json 'j["binding"] == max(j["lift"], key=j["lift"].get) and len(j["lift"]) == 6 and all(v >= -1e-9 for v in j["lift"].values())'
cp "$OUT" all

# A layout of the sweep costs what plan layout says.
given=$(json_get '"t=1,d=%d,mb=%d,zero=%d,recompute=%s" % tuple(j["best"]["layout"][k] for k in ("data", "micro_batch", "zero", "recompute"))' all)
dev=$(json_get '"%dx%s" % (j["best"]["devices"], j["best"]["device"])' all)
tok=$(json_get 'j["best"]["tok_per_s"]["value"]' all)
shape=$(json_get '"%d,%d,%d/%d,%d,%d" % tuple(j["model"][k] for k in ("layers", "width", "heads", "kv_heads", "mlp", "vocab"))' all)
run $E_OK plan layout --model "$shape" --cluster "$dev" --seq 2048 --batch 256 --layout "$given" --json
json "abs(j['given']['step']['tok_per_s']['value'] / $tok - 1) < 0.02"

# Prices decide: an H100 at the price of a T4 wins; the same list asked for speed wins by H100 whatever they cost.
run $E_OK plan devices $M --tokens 20Btok --cluster 8xa100,8xh100,8xl4,8xt4 --usd-h h100=0.5 --json
json 'j["best"]["device"] == "h100-sxm" and j["usd_per_device_hour"] == 0.5 and len({r["device"] for r in j["runs"]}) == 4'
run $E_OK plan devices $M --tokens 20Btok --cluster 8xa100,8xh100,8xl4,8xt4 --objective tokens-per-s --usd-h h100=500 --json
json 'j["best"]["device"] == "h100-sxm" and j["best"]["tok_per_s"]["value"] == max(r["tok_per_s"]["value"] for r in j["runs"])'
# A budget in dollars is spent, on the lowest loss; in seconds, the lowest loss is that of the most devices.
run $E_OK plan devices $M --budget usd=300 --devices a100,h100 --max-devices 16 --json
json 'all(r["usd"]["value"] <= 300 * (1 + 1e-9) and r["usd"]["value"] > 299 for r in j["runs"])'
json 'j["best"]["loss"]["value"] == min(r["loss"]["value"] for r in j["runs"]) and j["best"]["tokens"]["lo"] < j["best"]["tokens"]["hi"]'
run $E_OK plan devices $M --budget wall=1d --devices h100 --max-devices 32 --objective loss --json
json 'j["best"]["devices"] == 32 and j["best"]["wall"]["value"] <= 86400 * (1 + 1e-9)'
# Attention and micro-batches can be held.
run $E_OK plan devices $M --tokens 1Btok --cluster 8xa100 --attention plain --max-micro-batch 2 --json
json '{r["attention"] for r in j["runs"]} == {"plain"} and all(r["layout"]["micro_batch"] <= 2 for r in j["runs"])'
# Without a size the law chooses it for FLOPs; any layout adds to data parallelism.
run $E_OK plan devices --budget 1e21flop --devices a100 --max-devices 8 --any-layout --json
json 'abs(j["params"] / 2.85e9 - 1) < 0.1 and "model parallel" in {r["sharing"] for r in j["runs"]} and "step_batch" in j["batch_rule"]'
run $E_OK plan devices --model llama3-8b --tokens 1Btok --cluster 8xl4 --batch 64 --json
json 'all(r["sharing"] == "FSDP" for r in j["runs"])'

# The table names the bottleneck and what would lift it; why explains the stored plan.
run $E_OK plan devices $M --tokens 20Btok --cluster 8xh100,64xl4,12xh100
out_has '^best +.* x '
out_has '^bottleneck +(compute|memory bandwidth|links|launches|memory capacity)'
out_has 'twice the memory bandwidth: \+'
out_has '^left out +12 x h100-sxm: .*nodes of 8'
err_empty
run $E_OK why
out_has 'chosen by loss-per-usd'
out_has 'held back most by'
out_has 'dollars a token on 64 x l4'
out_has 'nats below ln\(vocabulary\)'

run $E_USAGE plan devices
err_has 'tokens and --budget are missing'
run $E_USAGE plan devices --tokens 1Btok --cluster 8xh100
err_has 'model and --params are missing'
run $E_USAGE plan devices $M --tokens 1Btok
err_has 'nothing to compare'
run $E_USAGE plan devices $M --tokens 1Btok --cluster 8xh10
err_has 'did you mean'
run $E_USAGE plan devices $M --tokens 1Btok --devices 8xh100
err_has 'without a count'
run $E_USAGE plan devices $M --tokens 1Btok --cluster 8xh100,
run $E_USAGE plan devices $M --tokens 1Btok --cluster 8xh100 --max-devices 4
run $E_USAGE plan devices $M --tokens 1Btok --cluster 8xh100 --usd-h l4=1
err_has 'not among'
run $E_USAGE plan devices $M --tokens 1Btok --cluster 8xh100 --usd-h h100=-1
run $E_USAGE plan devices $M --tokens 1Btok --cluster 8xh100 --objective cheap
err_has 'tokens-per-usd'
run $E_USAGE plan devices $M --tokens 1Btok --cluster 8xh100 --attention none
run $E_USAGE plan devices $M --tokens 1Btok --cluster 8xh100 --max-micro-batch 0
run $E_USAGE plan devices $M --tokens 1Btok --cluster 12xh100
err_has 'whole number of nodes'
run $E_USAGE plan devices --params 1B --batch 3 --tokens 1Btok --cluster 8xh100
err_has 'does not divide'
run $E_USAGE plan devices $M --budget disk=1GiB --cluster 8xh100
err_has 'does not bound'
run $E_USAGE plan devices $M --model llama3-8b --tokens 1Btok --cluster 8xh100
run $E_BUDGET plan devices $M --budget usd=0.0001 --cluster 8xh100
run $E_MEMORY plan devices $M --tokens 1Btok --cluster 1xt4
err_has 'bytes a device'
run $E_UNAVAILABLE plan devices --model mixtral-8x7b --tokens 1Btok --cluster 8xh100 --batch 64
err_has 'mixture of experts'
run $E_UNAVAILABLE plan devices $M --tokens 1Btok --cluster 8xh100 --law farseer
run $E_USAGE plan devices $M --tokens 1Btok --cluster 8xh100 --law step_lr
run $E_OK why
out_has 'Refused'
finish
