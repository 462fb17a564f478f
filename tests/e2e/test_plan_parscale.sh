#!/bin/sh
# isoflop plan parscale: streams of a published model, the best of sizes and streams within limits, fits with intervals, wrong calls.
# ctest: timeout=300 asan
. "$(dirname "$0")/lib.sh"
M=36,1536,16/2,8320,151936

help_ok plan parscale
# The 1.6B model of the paper: sizes with prefixes, and what streams are worth by law parscale (Pile): N (1 + k ln P).
run $E_OK plan parscale --model $M --device a100-80 --prompt 64 --output 64 --json
json '[round(s["extra_params"]) for s in j["streams"]] == [0, 6050306, 12099076, 24196616]'
json 'all(abs(s["equal_params"]["value"] / s["params"] / (1 + math.exp(-1.09529059104) * math.log(s["streams"])) - 1) < 1e-9 for s in j["streams"])'
json 'all(a["loss"]["value"] > b["loss"]["value"] and a["memory_b"] < b["memory_b"] and a["itl_s"]["value"] < b["itl_s"]["value"] for a, b in zip(j["streams"], j["streams"][1:]))'
json 'j["best"]["streams"] == 8 == j["train_flop_times"] and j["best"]["plain"]["memory_b"] > 1.5 * j["best"]["memory_b"]'
json '10 < j["best"]["plain"]["memory_increase_times"] < 40 and j["best"]["loss"]["lo"] is None and "none" in j["intervals"]'
json 'all(s["itl_s"]["floor"] <= s["itl_s"]["lo"] <= s["itl_s"]["value"] <= s["itl_s"]["hi"] for s in j["streams"])'
# Large batches bury the gain in products: a stream more costs its full time.
run $E_OK plan parscale --model $M --device a100-80 --prompt 64 --output 64 --batch 512 --ideal --json
json 'j["streams"][3]["itl_s"]["value"] > 3 * j["streams"][0]["itl_s"]["value"] and j["streams"][3]["plain"]["request_increase_times"] < 1'
# Within limits: every row keeps them, the best row has the least loss, looser limits are no worse, and tight memory asks for streams.
run $E_OK plan parscale --device l4 --prompt 1k --output 200 --memory-limit 4GiB --slo itl=20ms --json
json 'all(s["memory_b"] <= 4 * 2 ** 30 and s["itl_s"]["value"] <= 0.02 for s in j["streams"] if s["fits"])'
json 'j["best"]["loss"]["value"] == min(s["loss"]["value"] for s in j["streams"] if s["fits"]) and j["best"]["streams"] > 1 and j["binding"] == "memory"'
tight=$(json_get 'j["best"]["loss"]["value"]')
run $E_OK plan parscale --device l4 --prompt 1k --output 200 --memory-limit 8GiB --json
json "j['best']['loss']['value'] < $tight"
run $E_OK plan parscale --device l4 --prompt 1k --output 200 --memory-limit 8GiB --slo itl=5ms
out_has '^binding +itl'
err_empty
run $E_OK why
out_has 'plain model of equal loss'
out_has '2505.10475'
# A fit gives intervals, which hold the constants behind the noise.
python3 - <<'PY' >runs.csv
import math, random
random.seed(4)
print("params,streams,loss")
for n in (3e8, 5e8, 7e8, 1.1e9, 1.6e9, 2.8e9, 4.4e9):
    for p in (1, 2, 4, 8):
        print(n, p, (math.exp(0.253546720573) + (math.exp(19.101333084) / (n * (1 + 0.334441 * math.log(p)))) ** 0.196281453328) * math.exp(random.gauss(0, 5e-4)), sep=",")
PY
run $E_OK plan parscale --model $M --device a100-80 --prompt 64 --output 64 --fit runs.csv --bootstrap 60 --json
json 'all(s["loss"]["lo"] <= s["loss"]["value"] <= s["loss"]["hi"] for s in j["streams"])'
json 'j["best"]["equal_params"]["lo"] < j["best"]["params"] * (1 + 0.334441 * math.log(8)) < j["best"]["equal_params"]["hi"]'

run $E_USAGE plan parscale --prompt 64 --output 64
err_has 'device'
run $E_USAGE plan parscale --device a100-80 --prompt 64
err_has 'output'
run $E_USAGE plan parscale --device a100-80 --prompt 64 --output 64 --set parscale
run $E_USAGE plan parscale --device a100-80 --prompt 64 --output 64 --slo tokens=3s
run $E_USAGE plan parscale --device a100-80 --prompt 64 --output 64 --streams 0
run 5 plan parscale --model llama3-70b --device l4 --prompt 64 --output 64
run 7 plan parscale --model llama3-8b --device a100-80 --prompt 64 --output 64 --slo ttft=1us
err_has 'ttft'
run 7 plan parscale --model deepseek-v3 --device 8xh200 --prompt 64 --output 64
finish
