#!/bin/sh
# isoflop data: shards from every kind of text, and what damaged ones get.
# ctest: timeout=120 asan
. "$(dirname "$0")/lib.sh"
E_BUDGET=3 E_INPUT=4

help_ok data
small_text text.txt 60000
bytes=$(wc -c <text.txt)

run $E_OK data build --text text.txt --out shards --vocab 300 --json
cp "$OUT" built.json
json "j['vocab'] == 300 and j['train_bytes'] == math.floor($bytes * (1 - 0.02)) and j['train_bytes'] + j['val_bytes'] == $bytes"
json 'j["train_docs"] == 1 and j["val_docs"] == 1 and j["shards"] == 1 and j["train_tokens"] > 100'
json '"wall" in j["predicted"] and "wall" in j["measured"]'
run $E_OK data info shards --verify --json
tokens=$(json_get 'j["train_tokens"]' built.json) hash=$(json_get 'j["tokenizer_hash"]' built.json)
json "j['verified'] and j['train_tokens'] == $tokens and j['tokenizer_hash'] == '$hash' and j['vocab'] == 300"
run $E_OK data info shards
out_has "^training +$tokens "
out_has '^held out '
err_empty

# The tokens of the shards are those of the tokenizer beside them.
head -c "$(json_get 'j["train_bytes"]' built.json)" text.txt >train.txt
run $E_OK tokenizer encode shards train.txt --json
json "len(j) == $tokens"
python3 - "$OUT" shards/train-00000.bin <<'PY'
import json, struct, sys
ids = json.load(open(sys.argv[1]))
b = open(sys.argv[2], "rb").read()
at, = struct.unpack_from("<Q", b, 56)
assert list(struct.unpack_from("<%dH" % len(ids), b, at)) == ids
PY
[ $? -eq 0 ] || fail "shard and encoder disagree"

# The same text packed, from standard input, with a given tokenizer and in several shards.
gzip -k text.txt
run $E_OK data build --text text.txt.gz --out gz --vocab 300 --json
json "j['train_tokens'] == $tokens and j['tokenizer_hash'] == '$hash'"
run_in text.txt $E_OK data build --text - --out piped --tokenizer shards --json
json "j['train_tokens'] == $tokens and j['tokenizer_hash'] == '$hash'"
run $E_OK data build --text text.txt --out many --tokenizer shards --shard-tokens 5000 --val 0.1 --json
json "j['shards'] >= 3 and j['train_bytes'] == math.floor($bytes * (1 - 0.1))"
run $E_OK data info many --verify
run $E_OK data build --text text.txt --out part --vocab 300 --max-bytes 10000 --json
json 'j["train_bytes"] + j["val_bytes"] == 10000'

# JSON lines: documents, split as wholes; and bytes that are no UTF-8 are text like any other.
python3 -c '
import json
for i in range(200): print(json.dumps({"text": "document %d: snow \u2603 and %d more words" % (i, i * i)}))' >docs.jsonl
run $E_OK data build --text docs.jsonl --out docs --vocab 300 --val 0.2 --json
json 'j["train_docs"] + j["val_docs"] == 200 and 10 < j["val_docs"] < 90'
python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 20)' >bytes.txt
run $E_OK data build --text bytes.txt --out raw --vocab 300
run $E_OK data info raw --verify
printf '{"text": "fine"}\n{"text": 5}\n' >bad.jsonl
run $E_INPUT data build --text bad.jsonl --out x
err_has 'bad.jsonl.*2'

# Wrong ways.
: >empty
printf x >one
run $E_INPUT data build --text nothing.txt --out x
err_has 'nothing.txt'
run $E_INPUT data build --text empty --out x
err_has 'no text'
run $E_INPUT data build --text one --out x
err_has 'byte of text'
file_gone x
run $E_USAGE data bild --text text.txt
err_has 'did you mean "build"'
run $E_USAGE data build --text text.txt --vocba 300
err_has 'did you mean --vocab'
run $E_USAGE data build --text text.txt --vocab 10
run $E_USAGE data build --text text.txt --val 1.5
run $E_USAGE data build --text text.txt --vocab 300 --tokenizer shards
run $E_USAGE data info
run $E_BUDGET data build --text text.txt --out x --budget wall=1us
err_has 'least that would do'
run_in text.txt $E_BUDGET data build --text - --out x --budget 60s
err_has 'unknown|not known'
file_gone x
run $E_OK data build --text text.txt --dry-run --json --out x
json 'j["predicted"]["disk"][1] > 0'
file_gone x
run $E_INPUT data build --text text.txt --out x --tokenizer nowhere

# Damage is found and named.
run $E_INPUT data info nowhere
err_has 'nowhere'
cp -r shards torn
head -c 200 shards/train-00000.bin >torn/train-00000.bin
run $E_INPUT data info torn
err_has 'torn/train-00000.bin'
cp -r shards flipped
python3 -c '
f = open("flipped/train-00000.bin", "r+b")
f.seek(140); b = f.read(1); f.seek(140); f.write(bytes([b[0] ^ 1]))'
run $E_OK data info flipped
run $E_INPUT data info flipped --verify
err_has 'flipped/train-00000.bin'
out_empty
rm shards/val.bin
run $E_INPUT data info shards
err_has 'val.bin'
finish
