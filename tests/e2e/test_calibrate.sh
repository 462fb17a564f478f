#!/bin/sh
# isoflop calibrate: the descriptor that is measured, shown again and kept; what a budget that is too small gets.
# ctest: serial timeout=300
. "$(dirname "$0")/lib.sh"
E_BUDGET=3 E_INPUT=4

help_ok calibrate
run $E_USAGE calibrate --quik
err_has 'did you mean --quick'

# Nothing measured yet.
run $E_INPUT calibrate --show
err_has 'isoflop calibrate'
out_empty

# Prices and refusals measure nothing.
run $E_OK calibrate --dry-run --json
json 'j["level"] == "full" and j["predicted"]["wall"][2] <= 60'
run $E_OK calibrate --quick --dry-run
out_has '^wall '
run $E_BUDGET calibrate --quick --budget 10ms
err_has 'wall'
err_has 'least that would do'
out_empty
run $E_BUDGET calibrate --budget 5s --dry-run --json
json 'j["error"]["kind"] == "budget too small"'
run $E_USAGE calibrate --budget 3parsec
err_has 'unit'
run $E_INPUT calibrate --show

run $E_OK calibrate --quick --json
json 'len(lines) == 1 and j["source"] == "calibrated" and j["threads"] >= 1'
json 'j["gemm_f32_flop_s"] > 1e8 and j["peak_f32_flop_s"] > 1e8 and j["dram_b_s"] > 1e7'
# No product is above its peak, whatever the neighbours do.
json 'j["gemm_f32_flop_s"] <= j["peak_f32_flop_s"] and (j["gemm_int8_op_s"] or 0) <= (j["peak_int8_op_s"] or 0)'
json 'j["training_precision"] in ("f32", "bf16") and len(j["training_precision_why"]) > 10'
json '(j["training_precision"] == "bf16") == (j["gemm_bf16_flop_s"] is not None and j["gemm_bf16_flop_s"] > 1.3 * j["gemm_f32_flop_s"])'
json 'j["energy_source"] == "rapl" or j["energy_source"].startswith("model:")'
json 'j["step_model"] is not None and j["measured"]["wall"] > 0 and j["predicted"]["wall"][0] > 0'
json 'j["predicted"]["peak_ram"][0] <= j["measured"]["peak_ram"] <= j["predicted"]["peak_ram"][2]'
id=$(json_get 'j["id"]') rate=$(json_get 'j["gemm_f32_flop_s"]')
file_there "$ISOFLOP_HOME/hw/$id.json"
file_there "$ISOFLOP_HOME/hw/$id.steps.json"

run $E_OK calibrate --show --json
json "j['id'] == '$id' and abs(j['gemm_f32_flop_s'] / $rate - 1) < 1e-6 and j['step_model'] is not None"
run $E_OK calibrate --show
out_has '^f32 products .*GFLOP/s'
out_has '^training precision +(f32|bf16): '
err_empty
# A damaged descriptor is told, not used.
echo '{' >"$ISOFLOP_HOME/hw/$id.json"
run $E_INPUT calibrate --show
err_has "$id"

run $E_OK runs --kind calibrate --json
json '[r["status"] for r in j["runs"]].count("done") == 1 and all(r["kind"] == "calibrate" for r in j["runs"])'
finish
