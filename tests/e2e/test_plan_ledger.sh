#!/bin/sh
# isoflop plan ledger: published bills of energy and carbon to their digits, sums, what a device lends, and wrong calls.
# ctest: timeout=120 asan
. "$(dirname "$0")/lib.sh"

help_ok plan ledger
# Touvron et al. 2023 (arXiv:2302.13971), table 15: 400 W, PUE 1.1, 385 g; MWh cut to whole ones, tonnes rounded. Its 475 MWh of BLOOM are 476.5
# by its own formula.
while read -r hours mwh t; do
  run $E_OK plan ledger --device-hours "$hours" --watts 400 --pue 1.1 --carbon 385 --json
  json "int(j['energy_kwh']['total'] / 1e3 + 1e-9) - $mwh in (0, 1) and round(j['co2_g']['total'] / 1e6) == $t"
  json 'abs(sum(v for k, v in j["energy_kwh"].items() if k != "total") / j["energy_kwh"]["total"] - 1) < 1e-12'
done <<'ROWS'
809472 356 137
1082880 475 183
82432 36 14
135168 59 23
530432 233 90
1022362 449 173
ROWS
# Patterson et al. 2021 (arXiv:2104.10350), table 4: chips x days, watts with the host's, PUE, gross carbon; days have two or three digits.
while read -r devices days watts pue g mwh t; do
  run $E_OK plan ledger --device "${devices}xtpu-v3" --days "$days" --watts "$watts" --pue "$pue" --carbon "$g" --json
  json "abs(j['energy_kwh']['total'] / 1e3 / $mwh - 1) < 0.01 and abs(j['co2_g']['total'] / 1e6 / $t - 1) < 0.015"
done <<'ROWS'
512 20 310 1.12 545 85.7 46.7
1024 30 289 1.09 415 232 96.4
1024 3.1 288 1.09 201 24.1 4.8
200 6.8 208 1.10 431 7.5 3.2
ROWS
# Luccioni et al. 2022 (arXiv:2211.02001): 24.7 t of use, 14.6 t idle, 11.2 t embodied; 29.6 t with the PUE alone.
run $E_OK plan ledger --device-hours 1082990 --watts 400 --carbon 57 --idle 256646 --embodied 462.5 --json
json 'abs(j["co2_g"]["total"] / 50.5e6 - 1) < 0.001 and abs(j["co2_g"]["active"] / 24.7e6 - 1) < 0.001 and abs(j["co2_g"]["embodied"] / 11.2e6 - 1) < 0.002'
json 'abs(sum(v for k, v in j["co2_g"].items() if k != "total") / j["co2_g"]["total"] - 1) < 1e-12'
run $E_OK plan ledger --device-hours 1082990 --watts 400 --carbon 57 --pue 1.2
out_has '^carbon +29\.6 tCO2e'
out_has '^  overhead'
err_empty
# Llama 2 (arXiv:2307.09288), table 2: 0.4234 kg a kWh, no PUE.
run $E_OK plan ledger --device-hours 1720320 --watts 400 --carbon 423.4 --json
json 'abs(j["co2_g"]["total"] / 291.42e6 - 1) < 1e-3'
# BLOOM served on 16 GPUs for 18 days: 914 kWh, 230,768 requests of 3.96 Wh each; 19 to 20 kg a day are a grid of 374 to 394 g.
run $E_OK plan ledger --device-hours $((16 * 18 * 24)) --watts 132.234 --carbon 384 --json
json 'abs(j["energy_kwh"]["total"] / 914 - 1) < 1e-4 and abs(1e3 * j["energy_kwh"]["total"] / 230768 - 3.96) < 0.005'
json '19 < j["co2_g"]["total"] / 1e3 / 18 < 20'
# GPT-2: 32 TPU v3 for 168 hours at $8 in 2019, two hours of eight H100s at some $3 in 2026 (karpathy/nanochat).
run $E_OK plan ledger --device-hours $((32 * 168)) --watts 283 --usd-h 8 --json
json 'j["usd"]["rent_total"] == 43008'
run $E_OK plan ledger --device-hours 16 --watts 700 --usd-h 3 --json
json 'j["usd"]["rent_total"] == 48'
# A grid of one source of energy, in grams of its life cycle.
run $E_OK plan ledger --device-hours 1000 --watts 1000 --region wind --json
json 'j["g_per_kwh"] == 26 and abs(j["co2_g"]["total"] - 26e3) < 1e-6 and "per_source" in j["carbon_source"]'
run $E_USAGE plan ledger --device-hours 1000 --watts 1000 --region peat
err_has 'coal petroleum gas geothermal hydro nuclear solar wind'
# A device lends its power and price, a region its grid; owning costs its share of a life and electricity.
run $E_OK plan ledger --device 8xh100 --days 30 --region FR --capex 35000 --usd-kwh 0.1 --json
json 'j["device_h"] == 5760 and j["active_w"] == 700 and j["g_per_kwh"] == 56.039 and abs(j["usd"]["rent"] / (5760 * 6.88) - 1) < 1e-12'
json 'abs(j["usd"]["hardware"] / (35000 * 5760 / (6 * 8760 * 0.85)) - 1) < 1e-12 and abs(j["usd"]["own"] - j["usd"]["hardware"] - j["usd"]["energy"]) < 1e-6'
json 'abs(j["own_after_h"] * (6.88 - 0.7 * 0.1) / 35000 - 1) < 1e-9'
# The network of DeepSeek-V3's cluster (arXiv:2505.09343): 4.39 k$ an endpoint on two layers, in eight planes too, 7.5 k$ on three.
run $E_OK plan ledger --device 8xh100 --days 30 --capex 35000 --endpoints 16384 --planes 8 --json
json 'j["network"]["layers"] == 2 and abs(j["network"]["usd_per_endpoint"] - 4390) < 1e-6'
json 'abs(j["usd"]["network"] / (4390 * 5760 / (6 * 8760 * 0.85)) - 1) < 1e-9 and abs(j["usd"]["hardware"] / (39390 * 5760 / (6 * 8760 * 0.85)) - 1) < 1e-9'
run $E_OK plan ledger --device 8xh100 --days 30 --capex 35000 --endpoints 16384
out_has '^network +3 layers, 0\.07812 switches and 2 cables an endpoint, \$7500'
run $E_USAGE plan ledger --device 8xh100 --days 30 --planes 8
err_has 'needs --endpoints'
run $E_USAGE plan ledger --device 8xh100 --days 30 --endpoints 100 --radix 7
run $E_OK plan ledger --device 8xh100 --days 30 --region FR --capex 35000 --usd-kwh 0.1 --json
run $E_OK why
out_has 'carbon: active is 100'

run $E_USAGE plan ledger --watts 400
err_has 'device-hours'
run $E_USAGE plan ledger --device-hours 5
err_has 'watts'
run $E_USAGE plan ledger --device 8xtpu-v5e --days 2
err_has 'power'
run $E_USAGE plan ledger --device 8xh1000 --days 2
err_has 'did you mean'
run $E_USAGE plan ledger --device-hours 5 --watts 400 --pue 0.9
err_has 'PUE'
run $E_USAGE plan ledger --device-hours -5 --watts 400
run $E_USAGE plan ledger --device-hours 5 --watts 400 --used 0
run $E_USAGE plan ledger --device-hours 5 --days 2 --watts 400
finish
