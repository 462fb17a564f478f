#!/bin/sh
# isoflop plan: prices without training, echoes what binds, refuses the impossible.
# ctest: timeout=300
. "$(dirname "$0")/lib.sh"

small_text text.txt 200000
help_ok plan
run $E_OK plan --help
out_has '^Subverbs'
out_has '^  layout '
run $E_USAGE plan lay
err_has 'isoflop plan layout'
run $E_OK plan --text text.txt --budget 60s --out m --json
json 'j["bits_per_byte"] is None and j["plan"]["params"] > 0 and j["plan"]["tokens"] > 0'
json 'j["predicted"]["wall"][0] <= j["predicted"]["wall"][1] <= j["predicted"]["wall"][2] <= 60.0001'
json 'j["plan"]["binding"] == "wall" and j["plan"]["shadow_bpb_per_log_budget"] < 0'
file_gone m/model.safetensors
run $E_OK plan --text text.txt --model 2,32,2/2,64,320,32 --vocab 320 --steps 10 --batch 2 --out m --json
json 'j["plan"]["config"]["layers"] == 2 and j["plan"]["tokens"] == 10 * 2 * 32'
run $E_OK plan --text text.txt --budget 1e11flop --out m
out_has 'bits per byte'
out_has 'binding'
run 3 plan --text text.txt --budget 1flop --out m
err_has 'least that would do'
run $E_USAGE plan --text text.txt --out m
finish
