#!/bin/sh
# isoflop plan train: published optimum, limits of every kind, shadow prices, serving, repeated data, what is refused.
# ctest: timeout=300
. "$(dirname "$0")/lib.sh"
E_BUDGET=3 E_MEMORY=5 E_UNAVAILABLE=7

help_ok plan train
# 1e24 FLOP: Besiroglu et al. 2024 have 9.601e10 parameters, 18.08 tokens each, loss 1.95925.
run $E_OK plan train --budget 1e24flop --cluster 1024xh100 --json
json 'j["kind"] == "train" and abs(j["optimum"]["params"] / 9.601e10 - 1) < 2e-3 and abs(j["optimum"]["loss"] - 1.95925) < 1e-4'
json 'abs(j["optimum"]["tokens"] / j["optimum"]["params"] / 18.08 - 1) < 5e-3'
json 'abs(j["optimum"]["closed_form"]["params"] / j["optimum"]["params"] - 1) < 2e-3'
json 'abs(j["shadow"]["numeric_over_closed_form"] - 1) < 2e-3 and j["shadow"]["by_limit"]["train_flop"]["loss_per_log"] < 0'
json 'j["binding"] == "train_flop" and j["use"]["train_flop"]["value"] <= 1e24 and 0.2 < j["mfu"] < 0.9'
# The MFU is the layout's: FLOPs of the model over those of the devices in that time.
json 'abs(j["step"]["model_flop"] * j["steps"] / (j["use"]["wall"]["value"] * j["layout"]["devices"] * j["device"]["peak_flop_s"]["bf16"]) / j["mfu"] - 1) < 1e-6'
json 'abs(j["model"]["params"] / j["optimum"]["params"] - 1) < 0.06 and j["layout"]["devices"] <= 1024'
json 'all(j["use"][k]["lo"] <= j["use"][k]["value"] <= j["use"][k]["hi"] for k in j["use"])'
json 'j["use"]["wall"]["lo"] < j["use"]["wall"]["hi"] and j["loss"]["lo"] < j["loss"]["value"] < j["loss"]["hi"]'
json 'abs(j["use"]["co2"]["value"] / (j["use"]["energy"]["value"] / 3.6e6 * j["prices"]["g_per_kwh"]) - 1) < 1e-9'
json 'abs(j["use"]["usd"]["value"] / (j["use"]["wall"]["value"] / 3600 * j["layout"]["devices"] * j["device"]["usd_h"]) - 1) < 1e-9'
json 'len(j["isoloss"]) >= 5 and all(o["train_flop"] >= 0.998 * j["use"]["train_flop"]["value"] for o in j["isoloss"])'
json 'any("extrapolation" in w for w in j["warnings"])'

# Other budgets: what binds is kept, and the tokens are uncertain instead of the time.
run $E_OK plan train --budget wall=20d --cluster 64xa100-80 --json
json 'j["binding"] == "wall" and j["use"]["wall"]["value"] <= 20 * 86400 and j["tokens"]["lo"] < j["tokens"]["value"] < j["tokens"]["hi"]'
run $E_OK plan train --budget '$100k' --cluster 64xa100-80 --json
json 'j["binding"] == "usd" and 99000 < j["use"]["usd"]["value"] <= 100000.001'
run $E_OK plan train --budget 2MWh --cluster 64xa100-80 --region FR --json
json 'j["binding"] == "energy" and j["use"]["energy"]["value"] <= 7.2e9 * 1.000001 and j["prices"]["region"] == "FR"'
run $E_OK plan train --budget 1t --cluster 64xa100-80 --json
json 'j["binding"] == "co2" and j["use"]["co2"]["value"] <= 1e6 * 1.000001'
run $E_OK plan train --budget 'usd=2e5,wall=30d,train_flop=1e23' --cluster 64xa100-80 --json
json 'j["use"]["usd"]["value"] <= 2e5 * 1.000001 and j["use"]["wall"]["value"] <= 30 * 86400 * 1.000001 and j["use"]["train_flop"]["value"] <= 1e23'
json 'sum(1 for v in j["shadow"]["by_limit"].values() if v["loss_per_log"] < 0) >= 1 and len(j["shadow"]["by_limit"]) == 3'
# Twice the price buys less.
run $E_OK plan train --budget '$100k' --cluster 64xa100-80 --usd-h 2 --json
cheap=$(json_get 'j["loss"]["value"]')
run $E_OK plan train --budget '$100k' --cluster 64xa100-80 --usd-h 4 --json
json "j['loss']['value'] > $cheap"

# The bill: parts add up, energy and dollars are those of the plan, owning costs hardware and electricity.
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --capex 50000 --staff 1e6 --idle-share 0.1 --embodied 500 --pue 1.25 --region DE --json
json 'abs(sum(j["ledger"]["co2_g"][k] for k in ("active", "idle", "overhead", "embodied")) / j["ledger"]["co2_g"]["total"] - 1) < 1e-9'
json 'abs(sum(j["ledger"]["energy_kwh"][k] for k in ("active", "idle", "overhead")) / j["ledger"]["energy_kwh"]["total"] - 1) < 1e-9'
json 'abs(j["ledger"]["energy_kwh"]["active"] * 1.25 * 3.6e6 / j["use"]["energy"]["value"] - 1) < 1e-9 and j["ledger"]["energy_kwh"]["idle"] > 0'
json 'abs(j["ledger"]["usd"]["rent"] / j["use"]["usd"]["value"] - 1) < 1e-9 and abs(j["ledger"]["co2_g"]["active"] / j["ledger"]["energy_kwh"]["active"] / 380.95 - 1) < 1e-9'
json 'abs(j["ledger"]["usd"]["hardware"] / (50000 * j["ledger"]["device_h"] / (6 * 8760 * 0.85)) - 1) < 1e-9'
json 'abs(j["ledger"]["usd"]["own_total"] - j["ledger"]["usd"]["hardware"] - j["ledger"]["usd"]["energy"] - 1e6) < 1 and j["ledger"]["own_after_h"] > 0'
json 'abs(j["ledger"]["co2_g"]["embodied"] / (5e5 * j["ledger"]["device_h"] / (6 * 8760 * 0.85)) - 1) < 1e-9'
# From so many served tokens on a smaller model is cheaper in FLOPs: both lives cost the same there.
json 'all(abs((o["train_flop"] + 2 * o["params"] * o["pays_from_served_tokens"]) / (j["use"]["train_flop"]["value"] + 2 * j["params"] * o["pays_from_served_tokens"]) - 1) < 1e-9 for o in j["isoloss"] if o["pays_from_served_tokens"])'
json 'sum(1 for o in j["isoloss"] if o["pays_from_served_tokens"]) >= 2'
# Amortised by progress (Cottier et al. 2024): 0.14 ln 10 of the value is used up in a year, 10^-0.14 of it is left after one; 19% is network.
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --capex 50000 --amortise progress --age 2 --server-ratio 1.64 --json
json 'abs(j["ledger"]["usd"]["hardware"] / (50000 / 0.81 * 10 ** -0.28 * 0.14 * math.log(10) * j["ledger"]["device_h"] / 8766) - 1) < 1e-9'
json 'abs(j["ledger"]["usd"]["network"] / j["ledger"]["usd"]["hardware"] - 0.19) < 1e-9 and abs(j["ledger"]["usd"]["server"] / j["ledger"]["usd"]["device"] - 0.64) < 1e-9'
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --capex 50000 --amortise progress --server-ratio 1.64
out_has 'amortised by progress'
out_has '% devices, .*% electricity'
run $E_USAGE plan train --budget 1e22flop --cluster 64xh100 --capex 50000 --amortise yearly
run $E_USAGE plan train --budget 1e22flop --cluster 64xh100 --capex 50000 --age 2
err_has 'progress'
run $E_USAGE plan train --budget 1e22flop --cluster 64xh100 --amortise progress
err_has 'capex'
run $E_USAGE plan train --budget 1e22flop --cluster 64xh100 --capex -1

# Serving: smaller and longer; the first-order condition holds, and more served tokens ask for a smaller model.
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --serve 1e12tok --json
json 'abs(j["serve"]["in_flop"]["foc_ratio"] - 1) < 1e-4 and abs(j["serve"]["in_usd"]["foc_ratio"] - 1) < 1e-4'
json 'j["serve"]["in_flop"]["params"] < j["optimum"]["params"] and j["serve"]["in_flop"]["change"] < 0 and j["serve"]["usd_per_mtok"] > 0'
json 'abs(j["serve"]["in_flop"]["train"] + j["serve"]["in_flop"]["serve"] - j["serve"]["in_flop"]["total"]) <= 1e-9 * j["serve"]["in_flop"]["total"]'
small=$(json_get 'j["serve"]["in_flop"]["params"]')
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --serve 1e14tok --serve-device l4 --json
json "j['serve']['in_flop']['params'] < $small and j['serve']['serve_device']['name'] == 'l4'"
# Ways to serve compressed: cheaper from some number of served tokens on, which lies where the choice says.
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --serve 1e13tok --compress int8:0.002:0.5,int4:0.03:0.3:1Btok,none:1:1 --json
json '[w["name"] for w in j["serve"]["ways"]] == ["plain", "int8", "int4", "none"] and sum(w["best"] for w in j["serve"]["ways"]) == 1'
json 'min(w["total"] for w in j["serve"]["ways"] if w["total"]) == [w["total"] for w in j["serve"]["ways"] if w["best"]][0]'
json 'j["serve"]["ways"][1]["pays_from_served_tokens"] < 1e13 and j["serve"]["ways"][1]["total"] < j["serve"]["ways"][0]["total"] and j["serve"]["ways"][2]["tune"] > 0'
json 'j["serve"]["ways"][3]["total"] is None'
from=$(json_get 'j["serve"]["ways"][1]["pays_from_served_tokens"]')
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --serve "$(python3 -c "print($from * 0.9)")tok" --compress int8:0.002:0.5 --json
json 'j["serve"]["ways"][0]["best"]'
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --serve "$(python3 -c "print($from * 1.1)")tok" --compress int8:0.002:0.5
out_has '^int8 .*the cheapest'
run $E_USAGE plan train --budget 1e22flop --cluster 64xh100 --serve 1e13tok --compress int8
run $E_USAGE plan train --budget 1e22flop --cluster 64xh100 --serve 1e13tok --compress int8:0.1:0.5x
run $E_USAGE plan train --budget 1e22flop --cluster 64xh100 --compress int8:0.1:0.5
# Repeated data.
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --unique-tokens 20Btok --json
json 'j["data"]["epochs"] > 8 and j["data"]["loss_with_repetition"] > j["loss"]["value"] and any("epochs" in w for w in j["warnings"])'
# The law does not know that tokens are repeated: its interval reaches to what they are worth, and the law that knows is named.
run $E_OK plan train --budget 1e23flop --cluster 64xh100 --unique-tokens 10Btok --json
json 'j["data"]["epochs"] > 50 and j["loss"]["hi"] >= j["data"]["loss_with_repetition"] > j["loss"]["value"]'
json 'any("--law data_constrained" in w for w in j["warnings"]) and "repetition" in j["loss_interval"]'
# A law of repeated data chooses with it: parameters lose their worth faster than repetition (Muennighoff et al. 2023), so fewer of them.
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --law data_constrained --json
free=$(json_get 'j["optimum"]["params"]')
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --law data_constrained --unique-tokens 5Btok --serve 1e11tok --json
json "j['optimum']['params'] < 0.8 * $free and 'closed_form' not in j['optimum'] and j['data']['loss_with_repetition'] == j['loss']['value'] and abs(j['serve']['in_flop']['foc_ratio'] - 1) < 1e-3"
# Sets of other text make no interval: C4, RedPajama and RefinedWeb.
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --law overtraining --json
json 'j["loss"]["hi"] is None and j["loss"]["lo"] is None and j["loss_interval"].startswith("none: no uncertainty") and j["loss"]["interval"] == j["loss_interval"] and "no other confirmed set" in j["loss_interval"]'
json '"params_of_other_sets" not in j["optimum"]'
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --law overtraining
out_has '^loss +[0-9.]+ nats per token; interval none: no uncertainty'
out_lacks 'other sets|nan'
# Tokens that are uncertain make an interval all the same.
run $E_OK plan train --budget wall=5d --cluster 64xh100 --law overtraining --json
json 'j["loss"]["lo"] < j["loss"]["value"] < j["loss"]["hi"] and "no other confirmed set" in j["loss_interval"]'
# Less than a model learns from, and a vocabulary that is larger than the optimum.
run $E_BUDGET plan train --budget 1e13flop --cluster 8xh100 --batch 1
err_has 'nats per token, and a uniform guess has 10\.37'
run $E_OK plan train --budget 3e14flop --cluster 8xh100 --json
json 'any("a vocabulary of 32000 leaves no smaller model" in w for w in j["warnings"])'
# Other constants.
run $E_OK plan train --budget 1e22flop --cluster 64xh100 --set hoffmann2022 --json
json 'j["law"]["set"] == "hoffmann2022" and "2203.15556" in j["law"]["source"] and j["tokens_per_param"] > 25'

run $E_OK plan train --budget 1e22flop --cluster 64xh100 --unique-tokens 20Btok --serve 1e12tok
out_has '^loss +[0-9.]+ \('
out_has '^binding +train_flop'
out_has '^shadow price '
out_has '^least dollars '
out_has '^note +an extrapolation|^note '
err_empty

# Refused.
run $E_MEMORY plan train --budget 1e40flop --cluster 8xh100
err_has 'parameters.*bytes'
run $E_MEMORY plan train --budget 1e22flop --cluster 8xh100 --memory-limit 100MiB
err_has 'needs [0-9]+ bytes'
run $E_BUDGET plan train --budget 1flop --cluster 8xh100
# A batch that the optimum cannot pay for leaves a smaller model, if there is one that makes a step.
run $E_OK plan train --budget 1e18flop --cluster 8xh100 --batch 4Gtok --vocab 4096 --json
json 'j["steps"] == 1 and j["params"] < j["optimum"]["params"]'
run $E_BUDGET plan train --budget 1e14flop --cluster 8xh100 --batch 100Mtok --vocab 256
err_has 'less than a step'
run $E_USAGE plan train --budget 1Ttok --cluster 8xh100
err_has 'nothing bounds the size'
run $E_USAGE plan train --budget 1GiB --cluster 8xh100
err_has 'does not bound'
run $E_USAGE plan train --cluster 8xh100
err_has 'budget'
run $E_USAGE plan train --budget 1e22flop
err_has 'cluster'
run $E_USAGE plan train --budget 1e22flop --cluster 8xh10
err_has 'did you mean'
run $E_USAGE plan train --budget 1e22flop --cluster 8xh100 --law chinchila
err_has 'chinchilla'
run $E_USAGE plan train --budget 1e22flop --cluster 8xh100 --set nobody
run $E_USAGE plan train --budget -3flop --cluster 8xh100
run $E_UNAVAILABLE plan train --budget 1e22flop --cluster 8xh100 --law farseer
err_has 'not confirmed'
run $E_USAGE plan train --budget 1e22flop --cluster 8xh100 --law step_lr
err_has 'split'
# Laws whose constants no primary source confirms plan nothing.
run $E_OK law list --json
cp "$OUT" laws
for law in $(json_get '" ".join(l["law"] for l in j["laws"] if l["sets"] and not l["confirmed"] and "params" in l["inputs"] and "tokens" in l["inputs"] and len(l["inputs"]) == 2 and l["target"] == "loss")' laws); do
  run $E_UNAVAILABLE plan train --budget 1e22flop --cluster 8xh100 --law "$law"
  err_has 'not confirmed'
done
finish
