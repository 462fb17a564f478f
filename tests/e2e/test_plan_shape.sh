#!/bin/sh
# isoflop plan shape: lists of equal sizes, the fitted law against its closed form, a ranking worked out by hand, and wrong calls.
# ctest: timeout=200 asan
. "$(dirname "$0")/lib.sh"
E_INPUT=4 E_MEMORY=5 E_UNAVAILABLE=7

help_ok plan shape

# Sizes are equal within 5%, aspects within the limits, the one given is among them and the order is that of the step time.
run $E_OK plan shape --params 1B --cluster 8xa100-80 --json
json 'j["kind"] == "shape" and len(j["equal_params"]) > 20 and len(j["equal_flops"]) > 20'
json 'all(abs(s["params"] / j["model"]["params"] - 1) <= 0.05 for s in j["equal_params"])'
json 'all(abs(s["flop_per_tok"] / [g for g in j["equal_flops"] if g["given"]][0]["flop_per_tok"] - 1) <= 0.05 for s in j["equal_flops"])'
json 'all(33 <= s["width"] / s["layers"] <= 715 for k in ("equal_params", "equal_flops") for s in j[k]) and sum(s["given"] for s in j["equal_params"]) == 1'
json 'all(a["step_s"] <= b["step_s"] for a, b in zip(j["equal_params"], j["equal_params"][1:]))'
# 90% of the calibration's residuals on both sides.
json 'all(abs(math.log(s["step_s"]["hi"] / s["step_s"]) / 1.6448536 / j["calibration"]["resid_sd_log_s"] - 1) < 1e-6 and abs(s["step_s"]["lo"] * s["step_s"]["hi"] / s["step_s"] ** 2 - 1) < 1e-9 for s in j["equal_params"] if s["step_s"]) and "residuals" in j["intervals"]'
step=$(json_get '[s for s in j["equal_params"] if s["given"]][0]["step_s"]')
shape=$(json_get '"%d,%d,%d/%d,%d,%d" % tuple(j["model"][k] for k in ("layers", "width", "heads", "kv_heads", "mlp", "vocab"))')
# Its time is that of plan layout (whose shape in words does not tie the head: within its share).
run $E_OK plan layout --model "$shape" --cluster 8xa100-80 --seq 2048 --batch 256 --json
json "abs(j['fastest']['step']['step_s']['value'] / $step - 1) < 0.02"
run $E_OK plan shape --params 1B --aspect 100,150 --within 0.02 --json
json 'all(s["given"] or (100 <= s["width"] / s["layers"] <= 150 and abs(s["params"] / j["model"]["params"] - 1) <= 0.02) for s in j["equal_params"])'
json 'all(s["step_s"] is None and s["excess_error"] is None for s in j["equal_params"])'
json 'j["intervals"].startswith("none")'
# GPT-2 with its biases, and a size by law chinchilla: 9.058e9 parameters at 1e22.
run $E_OK plan shape --model gpt2-124m --seq 1024 --json
json '[s for s in j["equal_params"] if s["given"]][0]["layers"] == 12 and abs(j["model"]["params"] / 124.4e6 - 1) < 1e-3'
run $E_OK plan shape --flop 1e22 --json
json 'abs(j["model"]["params"] / 9.058e9 - 1) < 0.05 and "chinchilla" in j["size_rule"]'

# The law: exponents c / (a + b) and optima (alpha a C^c / (beta b))^(1 / (a + b)) of made-up runs come back.
python3 - >sweep.csv <<'P'
from math import exp
P = {"width": (2.25, .6, 10.15, .5, 12.3, .35, -2, 200, 3000), "layers": (.5, .7, 11, .8, 12, .36, -2, 4, 64), "d_ff": (2.5, .5, 10, .45, 12, .34, -2, 800, 12000)}
print("# made up\ndimension,value,train_flop,error")
for i in range(80):
    for d, (la, a, lb, b, lx, c, le, lo, hi) in P.items():
        x, C = lo * (hi / lo) ** ((i + 1) * .7548776662 % 1), 1e17 * 1e4 ** ((i + 1) * .5698402909 % 1)
        print("%s,%.9g,%.9g,%.12g" % (d, x, C, exp(la) * x**-a + (exp(lb) * x**b + exp(lx)) * C**-c + exp(le)))
P
run $E_OK plan shape --flop 1e20 --data sweep.csv --params 400M --bootstrap 40 --json
json 'sorted(j["law"]) == ["depth", "mlp", "width"] and all(v["rows"] == 80 for v in j["law"].values())'
json 'abs(j["law"]["width"]["s"]["value"] - .35 / 1.1) < 3e-3 and abs(j["law"]["depth"]["s"]["value"] - .36 / 1.5) < 3e-3 and abs(j["law"]["mlp"]["s"]["value"] - .34 / .95) < 3e-3'
json 'abs(j["law"]["width"]["best"]["value"] / (math.exp(2.25 - 10.15) * .6 / .5 * 1e20 ** .35) ** (1 / 1.1) - 1) < 0.01'
json 'all(v["s"]["lo"] <= v["s"]["value"] <= v["s"]["hi"] for v in j["law"].values())'
json 'all(a["excess_error"] <= b["excess_error"] and a["excess_error"] > -1e-6 for a, b in zip(j["equal_params"], j["equal_params"][1:]))'
json 'all(s["excess_error"]["lo"] <= s["excess_error"] <= s["excess_error"]["hi"] for s in j["equal_params"]) and any(s["excess_error"]["hi"] > s["excess_error"]["lo"] for s in j["equal_params"]) and "refits" in j["intervals"]'
run $E_OK plan shape --flop 1e20 --data sweep.csv --bootstrap 40
out_has '^width +grows as C\^s, s = 0\.318'
out_has '^depth '
err_empty
run $E_OK why
out_has 'ten times the compute: width x2\.08'
# Too far outside the runs there is no optimum, and it is said.
run $E_OK plan shape --flop 1e24 --data sweep.csv --bootstrap 0 --max-reach 20 --json
json 'all(v["best"] is None and "why_not" in v for v in j["law"].values())'

# The ranking by hand: deep and wide, base and narrow are of equal parameters; loss and score disagree on both pairs.
cat >runs.csv <<'C'
name,params,flops,speed,loss,score
deep,100e6,10,5,3.0,75
wide,105e6,6,9,2.9,71
base,220e6,20,3,2.6,80
narrow,210e6,21,,2.7,82
big,400e6,40,1,2.5,81
C
run $E_OK plan shape --rank upstream --data runs.csv --json
json '[r["name"] for r in j["runs"]] == ["big", "base", "narrow", "wide", "deep"]'
json '{r["name"]: r["beaten_by"]["params"] for r in j["runs"]} == {"big": None, "base": None, "narrow": "base", "wide": None, "deep": "wide"}'
json 'j["kendall_tau"]["equal_params"]["value"] == -1 and j["kendall_tau"]["equal_params"]["pairs"] == 2 and abs(j["kendall_tau"]["all"]["value"] - 0.4) < 1e-12'
json 'j["kendall_tau"]["equal_params"]["lo"] is None and j["kendall_tau"]["all"]["lo"] < 0.4 < j["kendall_tau"]["all"]["hi"]'
json '[(d["better_upstream"], d["better_downstream"]) for d in j["disagreements"]] == [("wide", "deep"), ("base", "narrow")]'
run $E_OK plan shape --rank downstream --data runs.csv --json
json '{r["name"]: r["beaten_by"]["params"] for r in j["runs"]} == {"big": "narrow", "base": "narrow", "narrow": None, "wide": "deep", "deep": None}'
json '{r["name"]: r["beaten_by"]["flops"] for r in j["runs"]}["wide"] is None and "speed" not in [r for r in j["runs"] if r["name"] == "narrow"][0]["beaten_by"]'
run $E_OK plan shape --rank downstream --data runs.csv
out_has '^disagreements +wide has the lower loss'
out_has '^narrow .*front'
err_empty
run $E_OK why
out_has 'deep instead of wide'
out_has 'no law'

run $E_USAGE plan shape
err_has 'nothing to shape'
run $E_USAGE plan shape --rank upstream
err_has 'measured'
run $E_USAGE plan shape --rank sideways --data runs.csv
run $E_USAGE plan shape --rank upstream --data runs.csv --params 1B
err_has 'exclude'
run $E_USAGE plan shape --data sweep.csv
err_has 'needs --flop'
run $E_USAGE plan shape --params 1B --seed 3
err_has 'goes with --data'
run $E_USAGE plan shape --params 1B --batch 64
err_has 'goes with --cluster'
run $E_USAGE plan shape --params 1B --model gpt2-124m
run $E_USAGE plan shape --params 1B --within 2
run $E_USAGE plan shape --params 1B --aspect 700
run $E_USAGE plan shape --params 1M --vocab 128k
run $E_USAGE plan shape --flop 1e20 --data sweep.csv --cluster 8xh100
run $E_INPUT plan shape --flop 1e20 --data runs.csv
err_has 'dimension'
run $E_INPUT plan shape --rank upstream --data sweep.csv
err_has 'no column params'
run $E_INPUT plan shape --rank upstream --data missing.csv
printf 'dimension,value,train_flop,error\nheight,3,1e18,0.5\n' >bad.csv
run $E_INPUT plan shape --flop 1e20 --data bad.csv
err_has 'line 2: dimension "height"'
head -6 sweep.csv >few.csv
run $E_INPUT plan shape --flop 1e20 --data few.csv
run $E_UNAVAILABLE plan shape --model mixtral-8x7b
finish
