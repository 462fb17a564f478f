#!/bin/sh
# isoflop sample: text from a small model; seeds, budgets, broken folders.
# ctest: timeout=300
. "$(dirname "$0")/lib.sh"
E_BUDGET=3 E_INPUT=4 E_UNAVAILABLE=7

help_ok sample
cat "$ROOT"/src/text/*.c "$ROOT"/src/cost/*.c | head -c 150000 >text.txt
run $E_OK train --text text.txt --steps 20 --batch 8 --model 2,32,2/2,64,512,32 --vocab 512 --out model --quiet
file_there model/model.safetensors

run $E_OK sample model --prompt 'static int' --max-tokens 12 --seed 1 --quiet
out_has '^static int'
err_empty
cp "$OUT" first
run $E_OK sample model --prompt 'static int' --max-tokens 12 --seed 1 --threads 1
same_file "$OUT" first
err_has '12 tokens.*tok/s'
run $E_OK sample model --prompt 'static int' --max-tokens 12 --seed 1 --json
json 'j["tokens"] == 12 and j["prompt"] == "static int" and j["stop"] in ("length", "end_of_text") and j["infer_flop"] > 0'
json '("static int" + j["text"]).strip() == open("first", encoding="utf-8", errors="replace").read().strip()'
json 'j["predicted"]["infer_flop"] == j["measured"]["infer_flop"] and j["measured"]["wall"] > 0'
run $E_OK sample model --prompt 'static int' --max-tokens 12 --seed 2 --json
json '("static int" + j["text"]).strip() != open("first", encoding="utf-8", errors="replace").read().strip()'
run $E_OK sample model --prompt a --max-tokens 8 --temperature 0 --seed 5 --json
greedy=$(json_get 'j["text"].encode().hex()')
run $E_OK sample model --prompt a --max-tokens 8 --top-k 1 --seed 9 --json
json "j['text'].encode().hex() == '$greedy'"
# A prompt pays for the logits of its last token alone: n rows of two layers, n (n + 1) / 2 keys, one row of the head.
run $E_OK sample model --prompt 'static int run' --max-tokens 1 --json
json 'j["prompt_tokens"] > 2'
json '(lambda n: j["infer_flop"] == n * 2 * 2 * (4 * 32 * 32 + 3 * 32 * 64) + 4 * 2 * 32 * n * (n + 1) / 2 + 2 * 512 * 32)(j["prompt_tokens"])'
# Without a prompt: from the start of a document; to the end of the context.
run $E_OK sample model --max-tokens 1000 --json
json 'j["prompt_tokens"] == 1 and j["tokens"] <= 32 and j["stop"] in ("context", "end_of_text")'
# Names of special tokens in a prompt are text, any bytes are a prompt, and JSON stays valid.
run $E_OK sample model --prompt '<|endoftext|>' --max-tokens 1 --json
json 'j["prompt_tokens"] > 1'
run $E_OK sample model --prompt "$(printf '\377\200')" --max-tokens 3 --json
json 'j["prompt"] == "\ufffd\ufffd"'

# Budgets.
run $E_OK sample model --prompt a --budget tok=5 --json
json 'j["tokens"] <= 5'
run $E_BUDGET sample model --prompt a --budget infer_flop=10
err_has 'infer_flop'
err_has 'least that would do'
out_empty
run $E_BUDGET sample model --budget wall=1us
run $E_BUDGET sample model --budget peak_ram=1kB
run $E_OK sample model --dry-run --json
json 'j["predicted"]["infer_flop"] > 0 and j["predicted"]["wall"][1] > 0 and "text" not in j'
run $E_OK sample model --budget 60s,infer_flop=1e12 --dry-run
out_has '^infer_flop '

# A GPT-2 folder: learned positions, biases, GELU. Prompts of one token, two and many, to the end of its twelve positions, against whole
# passes written in Python.
mkdir gpt2
cp model/tokenizer.json model/tokenizer_config.json gpt2/
python3 -S "$(dirname "$0")/gpt2_tiny.py" gpt2
for prompt in a ab 'int iso_pool'; do
  printf %s "$prompt" >prompt.txt
  run $E_OK tokenizer encode gpt2 prompt.txt
  cp "$OUT" prompt.ids
  n=$(($(wc -w <prompt.ids)))
  python3 -S "$(dirname "$0")/gpt2_tiny.py" gpt2 prompt.ids $((13 - n)) >new.ids
  cat prompt.ids new.ids >all.ids
  run $E_OK tokenizer decode gpt2 all.ids
  { cat "$OUT"; tail -c 1 "$OUT" | grep -q '^$' || echo; } >expected
  run $E_OK sample gpt2 --prompt "$prompt" --temperature 0 --quiet
  same_file "$OUT" expected
  run $E_OK sample gpt2 --prompt "$prompt" --temperature 0 --json
  json "j['prompt_tokens'] == $n and j['tokens'] == 13 - $n and j['stop'] == 'context'"
  json 'j["predicted"]["infer_flop"] == j["measured"]["infer_flop"] == j["infer_flop"]'
done
run $E_USAGE sample gpt2 --prompt "$(head -c 300 text.txt)"
err_has 'prompt of [0-9]+ tokens, the model reads at most 12'
sed -i 's/gelu_new/relu/' gpt2/config.json
run $E_UNAVAILABLE sample gpt2 --prompt a
err_has 'activation_function "relu" is not supported, gelu_new is'

# Sampling needs no home.
ISOFLOP_HOME=/proc/nowhere run $E_OK sample model --prompt a --max-tokens 2

# Wrong ways.
run $E_INPUT sample nowhere
err_has 'nowhere/config.json'
mkdir garbage
cp model/config.json model/tokenizer.json garbage/
head -c 300 model/model.safetensors >garbage/model.safetensors
run $E_INPUT sample garbage
err_has 'garbage'
echo '{"model_type": "llama"' >garbage/config.json
run $E_INPUT sample garbage
out_empty
cp -r model other
run $E_OK tokenizer train text.txt --vocab 600 --out other
run $E_INPUT sample other
err_has 'tokenizer has 600'
rm other/tokenizer.json
run $E_INPUT sample other
err_has 'tokenizer.json'
run $E_USAGE sample
run $E_USAGE sample model --temprature 1
err_has 'did you mean --temperature'
run $E_USAGE sample model --top-p 2
run $E_USAGE sample model --temperature -1
run $E_USAGE sample model --max-tokens 0
run $E_USAGE sample model --prompt "$(head -c 2000 text.txt)"
err_has 'prompt of [0-9]+ tokens'
run $E_USAGE sample model --budget 3parsec
finish
