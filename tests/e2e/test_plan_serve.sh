#!/bin/sh
# isoflop plan serve: a fleet for a trace, its bound, simulation and shadow price; what does not fit, and wrong calls.
# ctest: timeout=300 asan
. "$(dirname "$0")/lib.sh"
E_MEMORY=5 E_INPUT=4 E_BUDGET=3

help_ok plan serve
awk 'BEGIN { print "arrival_s,prompt_tok,output_tok"; s = 7; for (i = 0; i < 400; i++) {
  s = (s * 1103515245 + 12345) % 2147483648; t += (s % 1000) / 4000
  s = (s * 1103515245 + 12345) % 2147483648; p = 20 + s % 1500
  s = (s * 1103515245 + 12345) % 2147483648; o = 10 + s % 200
  printf "%.3f,%d,%d\n", t, p, o } }' >trace.csv

S="--model llama3-8b --trace trace.csv --slo ttft=2s,itl=80ms"
run $E_OK plan serve $S --fleet a10g,l4,a100,h100 --json
json 'j["kind"] == "serve" and sum(j["fleet"].values()) >= 1 and j["slo_met"] is True'
json 'j["usd_h"]["value"] >= j["usd_h_bound"] * (1 - 1e-9) and j["trace"]["requests"] == 400'
json 'all(v is None or v >= j["usd_h"]["value"] * (1 - 1e-9) for v in j["usd_h_one_type"].values())'
json 'j["binding"] in ("cache", "itl", "ttft", "sequences") and j["shadow"]["usd_h_per_req_per_s"] > 0'
json 'abs(sum(b["share"] for b in j["buckets"]) - 1) < 1e-9'
run $E_OK plan serve $S --fleet a10g,l4,a100,h100
out_has '^fleet +[0-9]+ x '
out_has '^price an hour '
out_has '^binding '
out_has '^shadow price '
out_has '^simulated +limits met: [0-9.]+% of the requests'
out_has 'requests. means between tokens within [0-9.]+ ms'
err_empty
# Replicas of no stated size are as large as is cheapest: no stated size is cheaper, whatever the one that just holds the model costs.
B="--model llama3-70b --trace trace.csv --slo ttft=1s,itl=45ms"
run $E_OK plan serve $B --fleet h100 --json
free=$(json_get 'j["usd_h"]["value"]')
json 'j["slo_met"] is True and set(j["fleet"]) == {"2xh100-sxm", "4xh100-sxm", "8xh100-sxm"}'
for n in 2 4 8; do
  run any plan serve $B --fleet ${n}xh100 --json
  [ "$CODE" = 0 ] && json "j['slo_met'] is not True or j['usd_h']['value'] >= $free - 1e-9"
done
# Other traces' column names.
for head in timestamp,prompt_tokens,output_tokens arrived_at,num_prefill_tokens,num_decode_tokens 'Timestamp,Request tokens,Response tokens'; do
  sed "1s/.*/$head/" trace.csv >named.csv
  run $E_OK plan serve --model llama3-8b --trace named.csv --fleet a100 --no-simulate --json
  json 'j["trace"]["requests"] == 400'
done
sed '1s/output_tok/answers/' trace.csv >named.csv
run $E_INPUT plan serve --model llama3-8b --trace named.csv --fleet a100
err_has "no column .GeneratedTokens. \\(or .output_tok."
# Prices of the user's own: the fleet costs what its replicas do.
run $E_OK plan serve $S --fleet l4,a10g,a100,h100 --usd-h l4=0.7,a10g=1.01,a100=3.67,h100=7.516 --json
json 'abs(sum(n * (int(k.split("x")[0]) if k[0].isdigit() else 1) * {"l4": 0.7, "a10g": 1.01, "a100-80": 3.67, "h100-sxm": 7.516}[k.split("x", 1)[1] if k[0].isdigit() else k] for k, n in j["fleet"].items()) / j["usd_h"]["value"] - 1) < 1e-9'
run $E_USAGE plan serve $S --fleet l4 --usd-h t4=1
err_has 'no kind of --fleet'
run $E_USAGE plan serve $S --fleet l4 --usd-h l4=free
# Measured throughputs alone: the example of Melange's repository (arXiv:2404.14527), three A10G and an A100 for $6.70 an hour.
printf 'share,a10g,a100\n0.2,2,20\n0.1,1,20\n0.5,5,40\n0.2,2,20\n' >tput.csv
M="--rate 30 --fleet a10g,a100 --usd-h a10g=1.01,a100=3.67"
run $E_OK plan serve --throughputs tput.csv $M --slices 1 --json
json 'j["fleet"] == {"a10g": 3, "a100": 1} and abs(j["usd_h"]["value"] - 6.7) < 1e-9 and j["gap"] == 0'
json 'abs(j["usd_h_one_type"]["a10g"] - 12.12) < 1e-9 and abs(j["usd_h_one_type"]["a100"] - 7.34) < 1e-9'
run $E_OK plan serve --throughputs tput.csv $M --json
json 'j["usd_h"]["value"] <= 6.7 + 1e-9 and all(abs(sum(b["served_by"].values()) - 1) < 1e-9 for b in j["buckets"])'
run $E_OK plan serve --throughputs tput.csv $M --slices 1
out_has '^fleet +3 x a10g'
out_has '^price an hour +\$6\.70'
run $E_OK why
run $E_BUDGET plan serve --throughputs tput.csv --rate 30 --fleet a10g:1,a100:0
run $E_USAGE plan serve --throughputs tput.csv --fleet a10g,a100
err_has 'rate'
run $E_USAGE plan serve --throughputs tput.csv $M --model llama3-8b
run $E_USAGE plan serve --throughputs tput.csv --rate 30 --fleet mi250x
err_has 'price'
run $E_USAGE plan serve $S --fleet a100 --slices -1
run $E_USAGE plan serve $S --fleet a100 --split-by watts
run $E_USAGE plan serve $S --fleet a100 --split --split-by volts
# Whole sizes to one kind each cost no less than any proportion.
run $E_OK plan serve $S --fleet l4,a10g,a100 --rate 40 --no-simulate --json
mixed=$(json_get 'j["usd_h"]["value"]')
run $E_OK plan serve $S --fleet l4,a10g,a100 --rate 40 --no-simulate --slices 1 --json
json "j['usd_h']['value'] >= $mixed - 1e-9 and all(v == 1 for b in j['buckets'] for v in b['served_by'].values())"
# Pools split by phase for the least rent or the least power.
run $E_OK plan serve $S --fleet a10g,a100,h100 --no-simulate --split --json
usd=$(json_get 'j["phase_split"]["split"]["usd_h"]') watts=$(json_get 'j["phase_split"]["split"]["watts"]')
run $E_OK plan serve $S --fleet a10g,a100,h100 --no-simulate --split --split-by watts --json
json "j['phase_split']['split']['watts'] <= $watts and j['phase_split']['split']['usd_h'] >= $usd - 1e-9"
run $E_OK plan serve $S --fleet a10g,a100,h100 --no-simulate --split
out_has '^split by phase +\$[0-9.]+ an hour, [0-9.]+ kW; one mixed pool \$[0-9.]+, [0-9.]+ kW'
run $E_USAGE plan serve $S --fleet a100 --rate 1e9
err_has 'too many to simulate'
err_has 'no-simulate'
printf 'arrival_s,prompt_tok,output_tok\n0,5,3\n' >one.csv
run $E_USAGE plan serve --model llama3-8b --trace one.csv --fleet a100
err_has 'rate'
run $E_OK plan serve --model llama3-8b --trace one.csv --fleet a100 --rate 1
run $E_INPUT plan serve --throughputs tput.csv --rate 30 --fleet a10g,l4
err_has "no column 'l4'"
printf 'share,a10g\n0.2,-2\n' >bad.csv
run $E_INPUT plan serve --throughputs bad.csv --rate 30 --fleet a10g
err_has 'line 2'
run $E_INPUT plan serve --throughputs none.csv --rate 30 --fleet a10g
# Bursts need more than the mean load says, and get it: the fleet shown keeps the limits.
awk 'BEGIN { print "arrival_s,prompt_tok,output_tok"; for (i = 0; i < 640; i++) printf "%d,%d,100\n", 60 * int(i / 64), i % 2 ? 1990 : 1050 }' >bursts.csv
K="--model llama3-8b --trace bursts.csv"
run $E_OK plan serve $K --slo ttft=1s,itl=60ms --fleet a10g,a100,h100 --json
json 'j["slo_met"] is True and j["simulation"]["attained"]["slo"] >= 0.99 and j["headroom"] > 2 and "infeasible" not in j'
# Limits that no fleet keeps end with 3, the plan and the limit named.
run $E_BUDGET plan serve $K --slo ttft=1s,itl=60ms --fleet h100:1 --json
json 'j["slo_met"] is False and j["infeasible"]["limit"] == "replicas" and j["infeasible"]["attained_alone"]["slo"] == 1 and j["infeasible"]["attained"] < 0.99'
run $E_BUDGET plan serve $K --slo ttft=1s,itl=60ms --fleet h100:1
out_has '^simulated +LIMITS MISSED'
out_has '^no fleet found +100\.00% of the requests keep the limits alone'
err_empty
slow=$("$ISOFLOP" plan infer --model llama3-8b --device 8xh100 --prompt 1700 --output 100 --batch 1 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["ttft_s"]["value"])')
run $E_BUDGET plan serve $K --slo ttft=${slow}s --fleet 8xh100
out_has '^no fleet +keeps ttft for 99% of the requests: alone on a replica 50\.00% keep ttft, 100\.00% itl'
run $E_OK why
out_has 'simulated, the fleet keeps the limits for [0-9.]+% of the requests: ttft'
# Ten times the requests need more; kinds that do not hold the model are named.
run $E_OK plan serve $S --fleet a100 --no-simulate --rate 5 --json
few=$(json_get 'j["usd_h"]["value"]')
run $E_OK plan serve $S --fleet a100 --no-simulate --rate 100 --json
json "j['usd_h']['value'] > 3 * $few and j['slo_met'] is None"
run $E_OK plan serve --model llama3-70b --trace trace.csv --slo ttft=4s,itl=150ms --fleet 1xl4,4xa100 --split --json
json '"l4" in j["left_out"] and "GB" in j["left_out"]["l4"] and j["phase_split"] is not None'

# Requests longer than the model's context are counted.
printf 'arrival_s,prompt_tok,output_tok\n0,9000,10\n1,8000,192\n2,8000,193\n9,10,10\n' >long.csv
run $E_OK plan serve --model llama3-8b --trace long.csv --fleet a100 --json
json 'j["warnings"] == [w for w in j["warnings"] if "2 of 4 requests are longer than the context of 8192" in w] and len(j["warnings"]) == 1'
run $E_OK plan serve --model llama-3.1-8b --trace long.csv --fleet a100 --json
json 'j["warnings"] == []'

run $E_MEMORY plan serve --model bloom-176b --trace trace.csv --slo itl=1s --fleet t4,l4
err_has 'weights take .* GB'
run $E_BUDGET plan serve $S --fleet l4:0 --rate 1000 --no-simulate
run $E_USAGE plan serve $S --fleet a10,l4
err_has 'did you mean'
run $E_USAGE plan serve $S --fleet a100:x
run $E_USAGE plan serve $S --fleet a100,,l4
run $E_USAGE plan serve $S
err_has 'fleet'
run $E_USAGE plan serve --model llama3-8b --trace trace.csv --fleet a100 --slo itl=1parsec
run $E_USAGE plan serve --model llama3-8b --trace trace.csv --fleet a100 --slo speed=1s
run $E_USAGE plan serve $S --fleet a100 --rate 0
run $E_BUDGET plan serve --model llama3-8b --trace trace.csv --fleet a100 --slo ttft=1us
err_has 'bound by ttft .alone: first token 0\.[0-9]+ s, 0\.[0-9]+ s a token'
run $E_USAGE plan serve $S --fleet a100,l4,a100
err_has 'a100-80 is given twice'
run $E_USAGE plan serve $S --fleet a100 --backend nosuch
err_has 'knows no engine by name'
run 7 plan serve $S --fleet b300
err_has 'no price is known'
err_has 'hw add b300 --from'
run $E_INPUT plan serve --model llama3-8b --trace none.csv --fleet a100
printf 'arrival_s,prompt_tok,output_tok\n0,5,-3\n' >bad.csv
run $E_INPUT plan serve --model llama3-8b --trace bad.csv --fleet a100
err_has 'bad.csv, line 2|line 2'
finish
