#!/bin/sh
# isoflop plan infer: the published long-context roofline, intervals, memory, and wrong calls.
# ctest: timeout=120 asan
. "$(dirname "$0")/lib.sh"
E_MEMORY=5

help_ok plan infer
# Fu 2024, arXiv:2405.08944: Yi-34B-200K on two A100-80, 50k tokens of context: the cache takes 11.5 GiB a user.
run $E_OK plan infer --model yi-34b --device 2xa100-80 --prompt 50k --output 250 --ideal --json
json 'j["kind"] == "infer" and j["devices"] == 2 and j["prompt_tok"] == 50000'
json 'abs(j["memory"]["kv_b_per_seq"] / (50250 * 60 * 8 * 128 * 2 * 2) - 1) < 1e-9'
json 'j["itl_s"]["mid"] >= j["itl_s"]["floor"] and j["itl_s"]["bound"] == "memory" and j["ttft_s"]["bound"] == "compute"'
ideal=$(json_get 'j["itl_s"]["mid"]')
run $E_OK plan infer --model yi-34b --device 2xa100-80 --prompt 50k --output 250 --json
json 'j["itl_s"]["lo"] <= j["itl_s"]["mid"] <= j["itl_s"]["hi"] and j["ttft_s"]["lo"] <= j["ttft_s"]["mid"] <= j["ttft_s"]["hi"]'
json "j['itl_s']['mid'] >= $ideal and j['switch_s']['mid'] > 0 and 0 < j['usd_per_mtok_output']['lo'] < j['usd_per_mtok_output']['mid'] < j['usd_per_mtok_output']['hi']"
json 'abs(j["energy"]["decode_j_per_tok"]["hi"] / j["energy"]["decode_j_per_tok"]["mid"] / (j["itl_s"]["hi"] / j["itl_s"]["mid"]) - 1) < 1e-9'
json '"memory" in j["binding"] and j["shadow"]["itl_s_per_sequence"] > 0 and j["batch"] == j["memory"]["users"]'
# More devices hold more users; a smaller batch is faster.
users=$(json_get 'j["memory"]["users"]')
run $E_OK plan infer --model yi-34b --device 4xa100-80 --prompt 50k --output 250 --json
json "j['memory']['users'] > 2 * $users"
run $E_OK plan infer --model yi-34b --device 4xa100-80 --prompt 50k --output 250 --batch 1 --slo itl=40ms --format fp8
out_has '^first token +.*\(.* to .*\)'
out_has '^users '
out_has '^binding '
out_has '^shadow price '
err_empty
run $E_OK plan infer --model llama3-8b --device h100 --prompt 4k --output 1k --slo itl=1us --json
json '"none" in j["batching"] and j["energy"]["choices"]["best_under_limit"] is None'
run $E_OK plan infer --model deepseek-v3 --device 8xh200 --format fp8 --prompt 4k --output 1k --host-kv 1TiB --json
json 'j["experts_in_host_memory"]["tok_per_s"] > 0'

run $E_MEMORY plan infer --model llama3-405b --device h100 --prompt 1k --output 1k
err_has 'weights take .* GB'
run $E_MEMORY plan infer --model llama3-8b --device 1xh100 --prompt 4k --output 1k --batch 100000 --json
json '"GB" in j["error"]["message"]'
run $E_USAGE plan infer --model llama3-8b --prompt 1k --output 1k
err_has 'device'
run $E_USAGE plan infer --model llama3-8b --device h1000 --prompt 1k --output 1k
err_has 'did you mean'
run $E_USAGE plan infer --model llama-3-8 --device h100 --prompt 1k --output 1k
err_has 'did you mean'
run $E_USAGE plan infer --model llama3-8b --device h100 --prompt 1k
run $E_USAGE plan infer --model llama3-8b --device h100 --prompt 0 --output 1k
run $E_USAGE plan infer --model llama3-8b --device h100 --prompt 1k --output 1k --format fp3
run $E_USAGE plan infer --model llama3-8b --device h100 --prompt 1k --output 1k --slo ttft=1s
run $E_USAGE plan infer --model llama3-8b --device h100 --prompt 1k --output 1k --mem-share 1.5
run $E_OK plan infer --model llama3-8b --device h100 --prompt 1k --output 100 --json
json 'j["device"]["source"].endswith("nvidia-tensor-core-gpu-datasheet, 2023-03")'
run $E_USAGE plan infer --model llama3-8b --device h100 --prompt 1k --output 100 --eps -1
err_has 'eps: -1, expected 0 to 1'
finish
