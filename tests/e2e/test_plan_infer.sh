#!/bin/sh
# isoflop plan infer: the published long-context roofline, intervals, memory, and wrong calls.
# ctest: timeout=120 asan
. "$(dirname "$0")/lib.sh"
E_MEMORY=5

help_ok plan infer
# Fu 2024, arXiv:2405.08944: Yi-34B-200K on two A100-80, 50k tokens of context: the cache takes 11.5 GiB a user.
run $E_OK plan infer --model yi-34b-200k --device 2xa100-80 --prompt 50k --output 250 --ideal --json
json 'j["kind"] == "infer" and j["devices"] == 2 and j["prompt_tok"] == 50000'
json 'abs(j["memory"]["kv_b_per_seq"] / (50250 * 60 * 8 * 128 * 2 * 2) - 1) < 1e-9'
json 'j["itl_s"]["value"] >= j["itl_s"]["floor"] and j["itl_s"]["bound"] == "memory" and j["ttft_s"]["bound"] == "compute"'
ideal=$(json_get 'j["itl_s"]["value"]')
run $E_OK plan infer --model yi-34b-200k --device 2xa100-80 --prompt 50k --output 250 --json
json 'j["itl_s"]["lo"] <= j["itl_s"]["value"] <= j["itl_s"]["hi"] and j["ttft_s"]["lo"] <= j["ttft_s"]["value"] <= j["ttft_s"]["hi"]'
json "j['itl_s']['value'] >= $ideal and j['switch_s']['value'] > 0 and 0 < j['usd_per_mtok_output']['lo'] < j['usd_per_mtok_output']['value'] < j['usd_per_mtok_output']['hi']"
json 'abs(j["energy"]["decode_j_per_tok"]["hi"] / j["energy"]["decode_j_per_tok"]["value"] / (j["itl_s"]["hi"] / j["itl_s"]["value"]) - 1) < 1e-9'
json '"memory" in j["binding"] and j["shadow"]["itl_s_per_sequence"]["value"] > 0 and j["batch"] == j["memory"]["users"]'
# The same at 4k on the rates that the paper takes, 2 TB/s and 20 GB/s: 0.91 GiB of cache, 0.89 s, 8.5 s for 250 tokens, 0.1 s to switch. It
# rounds 34.4 B parameters to 34 and takes a width of 4,096 for attention.
run $E_OK plan infer --model yi-34b-200k --device 1xa100-80 --prompt 4000 --output 1 --batch 1 --ideal --mem-share 1 --memory-rate 2TB --host-rate 20GB --json
json 'abs(j["memory"]["kv_b_per_seq"] / 2**30 - 0.91) < 0.01 and abs(j["ttft_s"]["value"] / 0.89 - 1) < 0.02 and abs(250 * j["itl_s"]["value"] / 8.5 - 1) < 0.02'
json 'abs(j["switch_s"]["value"] - 0.1) < 0.003 and 10 <= j["memory"]["users"] <= 13 and "causal half" in j["conventions"]'
# llm-analysis (github.com/cli99/llm-analysis, examples): LLaMA at 512 tokens, ms at peak and at 0.7 of FLOPs and 0.9 of bytes. It counts the
# head at every position and both halves of attention, and activations' bytes.
while read -r model device prefill decode options; do
  run $E_OK plan infer --model $model --device $device --prompt 512 --output 10 --batch 1 --mem-share 1 $options --json
  json "-0.05 < 1e3 * j['ttft_s']['value'] / $prefill - 1 < 0.01 and -0.025 < 1e3 * j['itl_s']['value'] / $decode - 1 < 0.01"
  json 'j["ttft_s"]["bound"] == "compute" and j["itl_s"]["bound"] == "memory" and j["ttft_s"]["hi"] is None'
done <<'ROWS'
llama-7b a100-80 22.41 6.73 --ideal
llama-13b a100-80 43.1 12.94 --ideal
llama-7b a100-80 31.89 7.48 --efficiency 0.7,0.9
llama-13b a100-80 61.38 14.38 --efficiency 0.7,0.9
llama-13b a100-40 62.15 18.97 --efficiency 0.7,0.9
llama-13b 2xa100-40 32.98 10.32 --efficiency 0.7,0.9 --exchange 10us
ROWS
json 'abs(1e3 * j["request_s"]["value"] / 136.15 - 1) < 0.025 and "0.7 of peak FLOPs" in j["calibration"]'
for row in 0.5,0.5:1.78 0.5,1:1.85 0.5,2:1.99 1,1:3.43; do
  run $E_OK plan infer --model llama-7b --device a100-80 --prompt 512 --output 32 --batch 1 --ideal --bytes "${row%:*}" --json
  json "-0.13 < 1e3 * j['itl_s']['value'] / ${row#*:} - 1 < 0 and j['memory']['weight_b_per_device'] == 6738149376 * ${row%%,*}"
done
# Llama-2-70B on two A100 of $2.21 an hour: seconds and dollars; 32 prompts at once.
run $E_OK plan infer --model llama-2-70b --device 2xa100-80 --prompt 128 --output 242 --batch 1 --efficiency 0.7,0.9 --exchange 10us --usd-h 2.21 --json
json 'abs(242 * j["itl_s"]["value"] / 9.425 - 1) < 0.01 and abs(j["usd_per_mtok_output"]["value"] / 47.8 - 1) < 0.01 and abs(j["usd_per_mtok_prompt"]["value"] / 0.383 - 1) < 0.1'
run $E_OK plan infer --model llama-2-70b --device 2xa100-80 --prompt 512 --output 512 --batch 32 --efficiency 0.7,0.9 --exchange 10us --mem-share 1 --json
json 'abs(512 * j["itl_s"]["value"] / 22.981 - 1) < 0.1 and abs(j["batch_prefill_s"]["value"] / (32 * j["ttft_s"]["value"]) - 1) < 0.02'
run $E_OK plan infer --model llama-2-70b --device 4xa100-80 --prompt 512 --output 512 --batch 32 --samples 4
out_has '^all prompts at once +'
out_has '^FLOPs of the samples +'
# Kinetics (arXiv:2506.05333) on B200, 562.5 FLOPs an element: 213.37 TFLOP to compute and 11480.45 for the cache at 256 and 16,384 tokens.
run $E_OK plan infer --model qwen3-4b --device b200 --prompt 256 --output 16384 --batch 1 --json
json 'j["eflop"]["flop_per_cached_element"] == 562.5 and abs(j["eflop"]["compute"] / 213.37e12 - 1) < 1e-3 and abs(j["eflop"]["memory"] / 11480.45e12 - 1) < 1e-4'
run $E_OK plan infer --model qwen3-32b --device b200 --prompt 256 --output 4096 --batch 1 --json
json 'abs(j["eflop"]["memory_share"] - 0.828) < 0.002'
# The 0.6B as the paper counts it, the head apart from the embedding: 56.39 and 8929.24.
cat >config.json <<'J'
{"model_type": "qwen3", "hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
 "intermediate_size": 3072, "vocab_size": 151936, "tie_word_embeddings": false}
J
run $E_OK plan infer --model ./config.json --device b200 --prompt 256 --output 16384 --batch 1 --json
json 'abs(j["eflop"]["compute"] / 56.39e12 - 1) < 1e-3 and abs(j["eflop"]["memory"] / 8929.24e12 - 1) < 1e-4'
run $E_OK plan infer --model deepseek-v3 --device 8xh200 --format fp8 --prompt 4k --output 1k --json
json 'j["eflop"] is None'
# More devices hold more users; a smaller batch is faster.
run $E_OK plan infer --model yi-34b-200k --device 2xa100-80 --prompt 50k --output 250 --json
users=$(json_get 'j["memory"]["users"]')
run $E_OK plan infer --model yi-34b-200k --device 4xa100-80 --prompt 50k --output 250 --json
json "j['memory']['users'] > 2 * $users"
run $E_OK plan infer --model yi-34b-200k --device 4xa100-80 --prompt 50k --output 250 --batch 1 --slo itl=40ms --format fp8
out_has '^first token +.*\(.* to .*\)'
out_has '^users '
out_has '^binding '
out_has '^shadow price '
err_empty
run $E_OK plan infer --model llama3-8b --device h100 --prompt 4k --output 1k --slo itl=1us --json
json '"none" in j["batching"] and j["energy"]["choices"]["best_under_limit"] is None'
run $E_OK plan infer --model deepseek-v3 --device 8xh200 --format fp8 --prompt 4k --output 1k --host-kv 1TiB --json
json '0 < j["experts_in_host_memory"]["tok_per_s"]["lo"] <= j["experts_in_host_memory"]["tok_per_s"]["value"] <= j["experts_in_host_memory"]["tok_per_s"]["hi"]'

# LLM in a flash (arXiv:2312.11514): OPT-6.7B in half of its memory, ms a token of the five ways to read; the rate of single rows, 1.25 GB/s, is the
# table's, that of bundles follows (tests/unit/test_serve_ondemand has the bytes).
half="--model opt-6.7b --device 1xl4 --mem-share 0.2815 --prompt 100 --output 20"
run $E_OK plan infer $half --flash-rate 6.1GB --flash-latency 5.21us --active 0.105,0.0233,0.2 --json
json '[w["name"] for w in j["weights_on_demand"]["ways"]] == "all held predicted windowed bundled".split() and j["weights_on_demand"]["chosen"] == "bundled"'
json 'all(abs(1e3 * w["read_s"] / ms - 1) < tol for w, ms, tol in zip(j["weights_on_demand"]["ways"], (2196, 1098, 738, 164, 87), (.01, .03, .03, .03, .12)))'
json 'j["batch"] == 1 and j["devices"] == 1 and j["itl_s"]["bound"] == "store" and j["itl_s"]["floor"] >= j["weights_on_demand"]["ways"][4]["read_s"] * (1 - 1e-9)'
json 'j["memory"]["weight_b_per_device"] == j["weights_on_demand"]["ways"][4]["held_b"] and j["ttft_s"]["value"] > 1'
# Reads are exact: what the interval stretches is the rest of a step, as in the advice, which goes through the model at both ends.
run $E_OK plan infer $half --flash-rate 6.1GB --json
json 'j["batching"]["batch"] == 1 and abs(j["itl_s"]["hi"] / j["batching"]["itl_s"]["hi"] - 1) < 1e-9 and j["itl_s"]["hi"] / j["itl_s"]["value"] < 1.1'
run $E_OK plan infer $half --flash-rate 6.1GB
out_has '^held +6\.[0-9]+ GiB .* <$'
out_has '^binding .*store'
run $E_MEMORY plan infer $half --batch 1000 --flash-rate 6.1GB
err_has 'GB of cache'
run $E_MEMORY plan infer --model opt-6.7b --device 1xl4 --mem-share 0.15 --prompt 100 --output 20 --flash-rate 6.1GB --active 0.1
err_has 'kept neurons'
run $E_OK plan infer --model llama3-8b --device h100 --prompt 1k --output 100 --json
json 'j["weights_on_demand"] is None'
whole=$(json_get 'j["itl_s"]["value"]')
run $E_OK plan infer --model llama3-8b --device h100 --prompt 1k --output 100 --flash-rate 6.1GB --json
json "j['itl_s']['value'] == $whole and j['weights_on_demand']['ways'][1]['read_b'] == 0"
run $E_OK plan infer --model gpt-oss-120b --device rtx4090 --prompt 1k --output 100 --flash-rate 25GB --json
json 'j["weights_on_demand"]["chosen"] == "routed" and j["weights_on_demand"]["ways"][2]["read_s"] < j["weights_on_demand"]["ways"][1]["read_s"] / 10'

# A request longer than the model was made for is warned of: by published contexts, a shape's own, a config's with its scaling.
ctx() { # MODEL PROMPT CONTEXT WARNINGS
  run $E_OK plan infer --model "$1" --device h100 --prompt $2 --output 100 --json
  json "j['model']['context_tok'] == $3 and len(j['warnings']) == $4 and j['ttft_s']['value'] > 0"
}
ctx llama3-8b 8092 8192 0
ctx llama3-8b 8093 8192 1
json '"8093 + 100 tokens" in j["warnings"][0] and "Meta-Llama-3-8B config.json" in j["warnings"][0] and j["model"]["context_source"]'
ctx meta-llama/Llama-3.1-8B-Instruct 100k 131072 0
ctx llama:4,256,4/4,512,1000,512 1k 512 1
ctx llama:4,256,4/4,512,1000 100k None 0
cfg() { # KEYS
  printf '{"model_type": "llama", "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512, "vocab_size": 1000%s}' "$1" >c.json
}
cfg ', "max_position_embeddings": 4096'
ctx ./c.json 4000 4096 1
cfg ', "max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 4.0}'
ctx ./c.json 4000 16384 0
cfg ', "max_position_embeddings": 32768, "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}'
ctx ./c.json 131k 131072 1
cfg ', "max_position_embeddings": 131072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}'
ctx ./c.json 100k 131072 0
cfg ', "max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": "four"}'
run 4 plan infer --model ./c.json --device h100 --prompt 1k --output 100
err_has 'factor'
run $E_OK plan infer --model yi-34b --device 2xa100-80 --prompt 50k --output 250
out_has '^context +up to 4096'
out_has '^warning +a request of 50000 \+ 250 tokens'
run $E_OK why
out_has 'longer than the context'

run $E_MEMORY plan infer --model llama3-405b --device h100 --prompt 1k --output 1k
err_has 'weights take .* GB'
err_has 'flash-rate'
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
I="--model llama3-8b --device h100 --prompt 1k --output 1k"
run $E_USAGE plan infer $I --efficiency 0.7
err_has 'two positive numbers'
run $E_USAGE plan infer $I --efficiency 0.7,1.2
err_has 'at most 1'
run $E_USAGE plan infer $I --efficiency 0.7,0.9 --ideal
run $E_USAGE plan infer $I --exchange 10us
run $E_USAGE plan infer $I --bytes 0,1
run $E_USAGE plan infer $I --samples 0
run $E_USAGE plan infer $I --usd-h -1
run $E_USAGE plan infer $I --memory-rate fast
run $E_USAGE plan infer $I --active 0.1
err_has 'flash-rate'
run $E_USAGE plan infer $I --flash-latency 1us
run $E_USAGE plan infer $I --flash-rate 0
run $E_USAGE plan infer $I --flash-rate 1GB --active 0.1,0.2
err_has 'one share or three'
run $E_USAGE plan infer $I --flash-rate 1GB --active 0.1,0.2,0.3
err_has 'fresh <= used <= kept'
run $E_USAGE plan infer $I --flash-rate 1GB --active 0.1,
finish
