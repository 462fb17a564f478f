#!/bin/sh
# isoflop plan precision: the published best precision, quantising, a memory to serve in, fits with intervals, wrong calls.
# ctest: timeout=300 asan
. "$(dirname "$0")/lib.sh"

help_ok plan precision
# Kumar et al. 2024: 7 to 8 bits whatever the compute; the FLOPs are 6/16 N D P.
for c in 1e19 1e21 1e24; do
  run $E_OK plan precision --flop $c --json
  json "abs(j['best']['cost_bits']['value'] - 7.002) < 2e-3 and j['chosen']['weight_bits'] == j['chosen']['act_bits'] == j['chosen']['kv_bits'] == 7"
  json "abs(6 / 16 * j['chosen']['params']['value'] * j['chosen']['tokens']['value'] * 7 / $c - 1) < 1e-9"
  json 'j["chosen"]["loss"]["lo"] is None and "none" in j["intervals"]'
  json 'min(b["loss_above_best"]["value"] for b in j["by_bits"]) == [b for b in j["by_bits"] if b["bits"] == 7][0]["loss_above_best"]["value"] >= 0'
done
# Table 2 with its offset: delta = .0598 e^1.1277 D^.5068 / N^.3439 e^(-4 / .5907), and the tokens beyond which more of them hurt.
run $E_OK plan precision --params 1e9 --tokens 20e9 --serve-bits 4 --json
json 'abs(j["chosen"]["post_loss"]["value"] / (0.0598 * math.exp(1.1277) * 20e9 ** 0.5068 / 1e9 ** 0.3439 * math.exp(-4 / 0.5907)) - 1) < 1e-6'
json 'abs([q for q in j["quantised"] if q["bits"] == 4][0]["critical_tokens"]["value"] / (0.4965 * 1.806e4 * 1e9 ** 0.3439 * math.exp(4 / 0.5907) / (0.5068 * 0.0598 * math.exp(1.1277))) ** (1 / (0.5068 + 0.4965)) - 1) < 1e-6'
json '[q["bits"] for q in j["quantised"] if q["more_data_hurts"]] == [3] and j["chosen"]["effective_params"] == 1e9'
json 'abs(j["chosen"]["flop"] / 1.2e20 - 1) < 1e-12'
# A memory: every way keeps to it, the best of them is chosen, and more memory is no worse.
run $E_OK plan precision --flop 1e22 --memory 4GB --json
json 'all(w["bytes"] <= 4e9 * (1 + 1e-12) for w in j["memory"]["ways"]) and min(w["loss"]["value"] for w in j["memory"]["ways"]) == j["chosen"]["loss"]["value"]'
json 'any(w["how"].startswith("quantised") for w in j["memory"]["ways"]) and any(w["memory_binds"] for w in j["memory"]["ways"])'
small=$(json_get 'j["chosen"]["loss"]["value"]')
run $E_OK plan precision --flop 1e22 --memory 16GB --json
json "j['chosen']['loss']['value'] < $small"
run $E_OK why
out_has 'memory: 1.6e\+10 bytes'
out_has '2411.04330'
run $E_OK plan precision --tokens 1e11 --memory 1GB --weight-bits 8 --json
json 'j["chosen"]["weight_bits"] == 8 and j["memory"]["bits"]["value"] <= 8 and all(w["weight_bits"] == 8 for w in j["memory"]["ways"])'
run $E_OK plan precision --flop 1e21 --weight-bits 4
out_has '^train in +4 bits of weights'
out_has '^intervals +none'
err_empty
# A fit of noisy runs of the published law: its constants lie in the intervals.
python3 - <<'PY' >runs.csv
import math, random
random.seed(1)
A, B, E, a = 4.299e3, 1.806e4, 2.7648, 0.4965
g, n = [2.6745, 2.2102, 0.9578], [0.3037, 1.4072, 2.4185]
print("params,tokens,weight_bits,act_bits,kv_bits,post_bits,loss")
for N in (3e7, 6e7, 1.1e8, 2.2e8):
    for D in (1.5e9, 5e9, 2.6e10):
        for b in ((16, 16, 16), (3, 16, 16), (5, 16, 16), (8, 16, 16), (16, 4, 16), (16, 6, 16), (16, 8, 16), (16, 16, 4), (16, 16, 5), (6, 6, 6), (4, 8, 8)):
            for post in ((0, 3, 4, 5, 6) if b == (16, 16, 16) else (0,)):
                ne = N * math.prod(1 - math.exp(n[k] - b[k] / g[k]) if b[k] < 16 else 1 for k in range(3))
                l = E + A / ne ** a + B / D ** a
                l += 0.0598 * math.exp(1.1277) * D ** 0.5068 / ne ** 0.3439 * math.exp(-post / 0.5907) if post else 0
                print(N, D, *("" if x in (0, 16) else x for x in (*b, post)), l * math.exp(random.gauss(0, 0.002)), sep=",")
PY
run $E_OK plan precision --flop 1e20 --fit runs.csv --bootstrap 60 --starts 30 --json
json 'j["best"]["cost_bits"]["lo"] < 7.002 < j["best"]["cost_bits"]["hi"] and j["chosen"]["params"]["lo"] < j["chosen"]["params"]["hi"]'
json 'all(q["loss_added"]["lo"] <= q["loss_added"]["value"] <= q["loss_added"]["hi"] for q in j["quantised"]) and j["fit"]["points"] == 180'
run $E_OK fit runs.csv --law precision --bootstrap 0 --starts 30 --json
cp "$OUT" fit.json
run $E_OK plan precision --flop 1e20 --fit fit.json --json
json '6.8 < j["best"]["cost_bits"]["value"] < 7.2 and "none" in j["intervals"]'

# Ctrl-C ends it there and then, and its row says so.
"$ISOFLOP" plan precision --flop 1e20 --fit runs.csv --bootstrap 1000000 >/dev/null 2>&1 &
pid=$!
for i in $(seq 1 300); do
  "$ISOFLOP" runs --json 2>/dev/null | grep -q '"running"' && break
  sleep 0.1
done
kill -INT $pid
wait $pid
CODE=$?
checks=$((checks + 1))
[ $CODE = 130 ] || fail "an interrupted plan ends with 130"
run $E_OK runs --json
out_has '"interrupted"'
out_lacks '"killed"'
out_lacks '"running"'

run $E_USAGE plan precision
err_has 'flop'
run $E_USAGE plan precision --params 1e9
run $E_USAGE plan precision --flop 1e20 --params 1e9 --tokens 1e10
run $E_USAGE plan precision --flop 1e20 --weight-bits 0
run $E_USAGE plan precision --flop 1e20 --memory 1GB --serve-bits 4
run 8 plan precision --flop 1e20 --act-bits 2
err_has '3 bits'
run 5 plan precision --params 1e9 --tokens 1e10 --memory 100MB
err_has 'memory'
finish
