#!/bin/sh
# isoflop plan layout: the search, a given layout, whole runs, what does not fit, and wrong calls.
# ctest: timeout=200 asan
. "$(dirname "$0")/lib.sh"
E_MEMORY=5 E_INPUT=4 E_UNAVAILABLE=7

help_ok plan layout
run $E_OK help plan layout
out_has '^Examples:'

L="--model llama3-8b --cluster 64xa100-80"
run $E_OK plan layout $L --batch 4Mtok --seq 4096 --tokens 1Ttok --region FR --json
json 'j["kind"] == "layout" and j["batch_sequences"] == 1024 and j["batch_tokens"] == 1024 * 4096'
json 'j["fastest"]["fits"] and j["fastest"]["layout"]["devices"] <= 64 and 0.2 < j["fastest"]["step"]["mfu"]["value"] < 0.9'
json 'all(p["memory_bytes"] <= j["machine"]["memory_bytes"] and p["step_s"]["lo"] < p["step_s"]["value"] < p["step_s"]["hi"] for p in j["front"])'
json 'abs(sum(v for k, v in j["fastest"]["memory"].items() if k not in ("total_bytes", "host_bytes")) / j["fastest"]["memory"]["total_bytes"] - 1) < 1e-9'
json 'abs(sum(v for k, v in j["fastest"]["step"]["parts"].items() if k != "interval") / j["fastest"]["step"]["step_s"]["value"] - 1) < 1e-9'
json 'all(j["fastest"]["step"][k]["lo"] < j["fastest"]["step"][k]["value"] < j["fastest"]["step"][k]["hi"] for k in ("step_s", "usd", "energy_j", "mfu", "hfu", "tok_per_s"))'
json 'j["binding"] and j["shadow"]["step_s_per_gib"]["value"] >= 0 and j["shadow"]["step_s_per_device"]["lo"] > 0'
json 'j["run"]["wall_s"]["lo"] < j["run"]["wall_s"]["value"] < j["run"]["wall_s"]["hi"]'
json 'abs(j["run"]["wall_s"]["value"] / (j["run"]["steps"] * j["fastest"]["step"]["step_s"]["value"]) - 1) < 1e-9'
# Energy at the meter times France's grid; dollars are device-hours times the price.
json 'abs(j["run"]["co2_g"]["value"] / (j["run"]["energy_j"]["value"] / 3.6e6 * 56.039) - 1) < 1e-9'
json 'abs(j["run"]["usd"]["value"] / (j["run"]["wall_s"]["value"] / 3600 * j["fastest"]["layout"]["devices"] * j["machine"]["usd_per_hour"]) - 1) < 1e-9'
cp "$OUT" plan

# The plan's own layout, priced by hand, costs the same; a slower one costs more.
given=$(json_get '",".join("%s=%d" % (k, j["fastest"]["layout"][n]) for k, n in (("t","tensor"),("p","pipeline"),("d","data"),("c","context"),("mb","micro_batch"),("v","chunks"),("zero","zero"))) + ",sp=%d,offload=%d,schedule=%s,recompute=%s" % (j["fastest"]["layout"]["seq_parallel"], j["fastest"]["layout"]["offload"], j["fastest"]["layout"]["schedule"], j["fastest"]["layout"]["recompute"]) + "".join(",%s=%s" % (k, j["fastest"]["layout"][n]) for k, n in (("local","local"),("weights","weights_over"),("gradients","gradients_over"),("states","states_over")) if n in j["fastest"]["layout"])' plan)
step=$(json_get 'j["fastest"]["step"]["step_s"]["value"]' plan)
run $E_OK plan layout $L --batch 1024 --layout "$given" --json
json "abs(j['given']['step']['step_s']['value'] / $step - 1) < 1e-9"
run $E_OK plan layout $L --batch 1024 --layout t=8,d=8,mb=1,zero=1,recompute=full --json
json "j['given']['step']['step_s']['value'] > 1.05 * $step"
# 12 stages do not divide 80 layers: the last is short, then the first ones.
S="--model llama3-70b --cluster 96xa100-80 --batch 64"
run $E_OK plan layout $S --layout t=8,p=12,mb=1 --json
json 'j["given"]["stage_blocks"] == [6] * 3 + [7] * 8 + [6] and 0.985 < j["given"]["schedule_check"]["ratio"] < 1 + 1e-9'
run $E_OK plan layout $S --layout t=8,p=12,mb=1
out_has '^  stages +3 of 6 blocks, 8 of 7, 1 of 6$'
run $E_OK plan layout $S --layout t=8,p=10,mb=1 --json
json 'j["given"]["stage_blocks"] == [8] * 10'
run $E_USAGE plan layout $S --layout t=8,p=12,mb=1,schedule=zb_h1
err_has '80 layers, nor one or two more, .*gpipe and 1f1b take any number of stages'
run $E_USAGE plan layout --model llama3-8b --cluster 64xa100-80 --batch 64 --layout p=40,mb=1
err_has '32 layers are too few for pipeline x chunks = 40 stages'
# Schedules folded like a V: 1F1B's memory with less of a bubble, or less memory. Both ends of the model are on the first device.
P="--model llama3-70b --cluster 128xa100-80 --batch 256"
run $E_OK plan layout $P --layout t=8,p=8,d=2,mb=1,zero=1 --json
cp "$OUT" 1f1b
for s in zb_v v_half v_min; do
  run $E_OK plan layout $P --layout t=8,p=8,d=2,mb=1,zero=1,v=2,schedule=$s --json
  cp "$OUT" $s
  json 'j["given"]["layout"]["schedule"] == "'$s'" and abs(j["given"]["schedule_check"]["ratio"] - 1) < 0.05'
done
bubble_1f1b=$(json_get 'j["given"]["step"]["parts"]["bubble_s"]' 1f1b) act_1f1b=$(json_get 'j["given"]["memory"]["activations_bytes"]' 1f1b)
json "j['given']['memory']['activations_bytes'] < 0.55 * $act_1f1b"
run $E_OK plan layout $P --layout t=8,p=8,d=2,mb=1,zero=1,v=2,schedule=zb_v --json
json "j['given']['step']['parts']['bubble_s'] < 0.5 * $bubble_1f1b"
# A shape that is none is said as it was written.
run $E_USAGE plan layout --model gpt:32,4096,32,16384,51200 --cluster 8xh100 --batch 64
err_has 'gpt:32,4096,32,16384,51200.: not a model shape'
# DeepSeek-V3 as it was trained: by name and by its Hugging Face file; the step lies round the published 19.9 s, and 16-bit tokens take longer.
cat >v3.json <<EOF
{"model_type": "deepseek_v3", "num_hidden_layers": 61, "hidden_size": 7168, "num_attention_heads": 128, "num_key_value_heads": 128,
 "vocab_size": 129280, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
 "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256, "num_experts_per_tok": 8, "n_shared_experts": 1,
 "first_k_dense_replace": 3, "moe_layer_freq": 1, "n_group": 8, "topk_group": 4, "num_nextn_predict_layers": 1, "tie_word_embeddings": false}
EOF
D="--cluster 2048xh800 --batch 15360 --bf16-moments --layout p=16,d=128,e=64,mb=1,zero=1,recompute=selective,schedule=dualpipe"
run $E_OK plan layout --model deepseek-v3 $D --fp8 --json
json '671.0e9 < j["model"]["params"] < 671.1e9 and j["model"]["kv_bytes_per_token"] == 70272 and abs(j["model"]["train_flop_per_token"] / 250e9 - 1) < 0.003'
json 'j["numbers"]["products"] == "fp8" and j["numbers"]["weight_bytes"] == 1 and j["numbers"]["optimizer_bytes"] == 8'
json 'j["given"]["step"]["step_s"]["lo"] < 19.926 < j["given"]["step"]["step_s"]["hi"] and abs(j["given"]["schedule_check"]["ratio"] - 1) < 0.02'
v3_step=$(json_get 'j["given"]["step"]["step_s"]["value"]' "$OUT")
run $E_OK plan layout --model v3.json $D --fp8 --json
json "j['given']['step']['step_s']['value'] == $v3_step and j['model']['mtp'] == 1 and j['model']['groups_used'] == 4"
run $E_MEMORY plan layout --model deepseek-v3 $D
err_has 'activations take'
run $E_UNAVAILABLE plan layout --model deepseek-v3 --cluster 64xa100-80 --batch 256 --fp8
err_has 'no peak for fp8'
sed 's/"moe_layer_freq": 1/"moe_layer_freq": 2/' v3.json >other.json
run $E_UNAVAILABLE plan layout --model other.json $D --fp8
err_has 'one of 2 layers'
# A building block of its own: no worse than the named schedules in the memory they take, and less memory costs time.
run $E_OK plan layout $P --layout t=8,p=8,d=2,mb=1,zero=1,schedule=v_adaptive,held=10 --json
half=$(json_get 'j["given"]["step"]["step_s"]["value"]' v_half) half_b=$(json_get 'j["given"]["memory"]["activations_bytes"]' v_half)
json "j['given']['step']['step_s']['value'] < 1.01 * $half and j['given']['memory']['activations_bytes'] <= $half_b and j['given']['layout']['held_chunks'] == 10"
json 'all(a["held_chunks"] < b["held_chunks"] and a["bubble_share"] > b["bubble_share"] for a, b in zip(j["given"]["activation_trade"], j["given"]["activation_trade"][1:]))'
run $E_OK plan layout $P --layout t=8,p=8,d=2,mb=1,zero=1,schedule=v_adaptive --activation-limit 0.5
out_has "50% of 1F1B's \(8 chunks\)"
out_has 'schedule=v_adaptive,held=8'
run $E_USAGE plan layout $P --layout t=8,p=8,d=2,mb=1,zero=1,schedule=v_adaptive,held=3
err_has '8 chunks at the least'
run $E_USAGE plan layout $P --layout t=8,p=8,d=2,mb=1 --activation-limit 0.5
err_has 'goes with schedule=v_adaptive'
run $E_OK plan layout --model llama3-70b --cluster 64xa100-40 --batch 256 --blocks 0 --json
step0=$(json_get 'j["fastest"]["step"]["step_s"]["value"]' "$OUT")
run $E_OK plan layout --model llama3-70b --cluster 64xa100-40 --batch 256 --json
json "j['fastest']['step']['step_s']['value'] <= $step0 and 0 < j['search']['building_blocks'] <= 8"
# ZeRO++ on a slow network: a second copy a node saves a gather, numbers of 8 and 4 bits more; both cost what they say.
Z="--model llama3-8b --cluster 64xa100-80 --batch 1024"
run $E_OK plan layout $Z --layout d=64,mb=1,zero=3,recompute=full --json
zero3=$(json_get 'j["given"]["memory"]["weights_bytes"]' "$OUT")
run $E_OK plan layout $Z --layout d=64,mb=1,zero=3,local=8,weights=hpz,recompute=full --json
json "abs(j['given']['memory']['weights_bytes'] / $zero3 - 9) < 1e-9 and j['given']['layout']['weights_over'] == 'hpz'"
hpz=$(json_get 'j["given"]["step"]["rooflines"]["inter_link_s"]' "$OUT")
run $E_OK plan layout $Z --layout d=64,mb=1,zero=3,local=8,weights=hpz,quantised=1,recompute=full --json
json "j['given']['step']['rooflines']['inter_link_s'] < 0.4 * $hpz and j['given']['layout']['quantised']"
run $E_OK plan layout $Z --layout d=64,mb=1,zero=3,local=8,weights=local,gradients=local,states=all,recompute=full
out_has 'zero=3,.*local=8,weights=local,gradients=local,recompute=full'
run $E_USAGE plan layout $Z --layout d=64,zero=3,local=8,weights=node
err_has 'all, local'
run $E_USAGE plan layout $Z --layout d=64,zero=3,local=8,states=local
err_has 'as finely as gradients'
run $E_USAGE plan layout $Z --quantised-collectives --layout d=64
# Lossy collectives are tried only when they are asked for.
run $E_OK plan layout $Z --json
tried=$(json_get 'j["search"]["tried"]' "$OUT")
json 'not any(p.get("quantised") for p in j["front"])'
run $E_OK plan layout $Z --quantised-collectives --json
json "j['search']['tried'] > $tried"

# Prices and power usage are the user's to say.
run $E_OK plan layout $L --batch 1024 --layout t=8,d=8,mb=1,zero=1,recompute=full --usd-h 1 --pue 2 --json
json 'abs(j["given"]["step"]["usd"]["value"] / (64 * j["given"]["step"]["step_s"]["value"] / 3600) - 1) < 1e-9 and j["machine"]["name"] == "a100-80"'

# Tables name what binds and where times come from.
run $E_OK plan layout $L --batch 4Mtok --tokens 100Btok
out_has '^fastest: '
out_has '^binding '
out_has '^shadow price '
out_has '^  time .*\(.* to .*\)'
out_has '^times from '
err_empty
# Shapes in words and from a config.json plan alike.
run $E_OK plan layout --model 32,4096,32/8,14336,128256 --cluster 8xa100 --batch 64 --json
json 'j["model"]["layers"] == 32'
cat >config.json <<'J'
{"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
 "intermediate_size": 14336, "vocab_size": 128256, "rope_scaling": {"factor": 8.0}}
J
run $E_OK plan layout --model ./config.json --cluster 64xa100-80 --batch 1024 --json
json "abs(j['fastest']['step']['step_s']['value'] / $step - 1) < 1e-9"

# A device's own calibration is used: products at half the share of the peak are slower.
run $E_OK hw show a100 --json
python3 - "$OUT" plan >mine.json <<'P'
import json, sys
d = {k: v for k, v in json.load(open(sys.argv[1])).items() if k not in ("estimates", "tables")}
cal = dict(json.load(open(sys.argv[2]))["calibration"])
cal["gemm_eff"] /= 2
cal["source"] = "halved for a test"
d["name"], d["aliases"], d["layout_calibration"] = "mine", "", cal
print(json.dumps(d))
P
run $E_OK plan layout --model llama3-8b --cluster 64x./mine.json --batch 1024 --json
json "j['fastest']['step']['step_s']['value'] > 1.5 * $step and j['calibration']['source'] == 'halved for a test'"

# What does not fit is refused with the bytes.
run $E_MEMORY plan layout --model llama3-70b --cluster 4xa100 --batch 64
err_has 'needs [0-9]+ bytes a device .*, there are 80000000000|needs [0-9]+ bytes'
out_empty
run $E_MEMORY plan layout --model llama3-70b --cluster 64xa100 --batch 64 --memory-limit 4GiB
err_has '4294967296 \(4.00 GiB\)'
run $E_MEMORY plan layout $L --batch 1024 --layout d=64 --json
json 'j["error"]["kind"] and "bytes" in j["error"]["message"]'

# Wrong calls.
run $E_USAGE plan layout $L
err_has 'batch'
run $E_USAGE plan layout --model lama3-8b --cluster 8xa100 --batch 8
err_has 'did you mean "llama3-8b"'
run $E_USAGE plan layout --model my-own-model --cluster 64xa100-80 --batch 4Mtok
err_has 'no model "my-own-model"$'
run $E_USAGE plan layout --model llama3-8b --cluster 8xa10 --batch 8
err_has 'did you mean'
run $E_USAGE plan layout --model llama3-8b --cluster 0xa100 --batch 8
run $E_USAGE plan layout --model llama3-8b --cluster 8xa100 --batch 1tok
run $E_USAGE plan layout $L --batch 1024 --layout t=3,d=8
run $E_USAGE plan layout $L --batch 1024 --layout t=8,d=16
err_has '128 devices'
run $E_USAGE plan layout $L --batch 1024 --layout q=8
err_has 'keys are'
run $E_USAGE plan layout $L --batch 1024 --layout t=8,schedule=zigzag
run $E_USAGE plan layout $L --batch 1024 --pue 0.5
run $E_UNAVAILABLE plan layout --model glm-5 --cluster 8xh100 --batch 64
run $E_INPUT plan layout --model ./none.json --cluster 8xh100 --batch 64
run $E_USAGE plan lauout
err_has 'isoflop plan layout'
run $E_USAGE plan --json layout
err_has 'right after plan'
run $E_USAGE help plan lauout
run $E_OK runs --kind plan --json
json 'len(j["runs"]) > 5'
# Numbers that are none, and no device behind them.
for c in 1e3xh100 1kxh100 1.5xh100 1024 '8 x h100'; do
  run $E_USAGE plan layout --model llama3-8b --batch 8 --cluster "$c"
  err_has 'whole number of devices'
done
finish
