#!/bin/sh
# isoflop tokenizer: training, and round trips of any bytes.
# ctest: timeout=120 asan
. "$(dirname "$0")/lib.sh"
E_BUDGET=3 E_INPUT=4

help_ok tokenizer
small_text text.txt 60000
run $E_OK tokenizer train text.txt --vocab 320 --out tok --json
json 'j["vocab"] == 320 and j["merges"] >= 31 and j["eot"] == 287 and j["bytes"] >= 60000'
json '"wall" in j["predicted"] and "wall" in j["measured"]'
file_there tok/tokenizer.json
file_there tok/tokenizer_config.json
hash=$(json_get 'j["hash"]')
run $E_OK tokenizer train text.txt --vocab 320 --out again --threads 1
out_has '^vocabulary +320 entries'
same_file tok/tokenizer.json again/tokenizer.json
run $E_OK tokenizer train text.txt --vocab 300 --specials 0 --out plain --json
json "j['vocab'] == 300 and j['eot'] == -1 and j['hash'] != '$hash'"

# Round trips: text, every byte value twice in both orders, no bytes at all, one byte, names of special tokens.
python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) + bytes(range(255, -1, -1)) + b"\xff\xfe\x00 \xe2\x82")' >bytes
: >empty
printf x >one
printf 'a<|endoftext|>b<|reserved_3|>' >special
for f in text.txt bytes empty one special; do
  run $E_OK tokenizer encode tok $f
  cp "$OUT" ids
  run_in ids $E_OK tokenizer decode tok
  same_file "$OUT" $f
  run $E_OK tokenizer encode tok $f --json
  cp "$OUT" ids.json
  json 'isinstance(j, list) and all(0 <= i < 320 for i in j)' ids.json
  run $E_OK tokenizer decode tok ids.json
  same_file "$OUT" $f
done
run $E_OK tokenizer encode tok one
out_has '^[0-9]+$'
run_in text.txt $E_OK tokenizer encode tok
cp "$OUT" piped
run $E_OK tokenizer encode tok text.txt --threads 1
same_file "$OUT" piped

# Special tokens are parsed only when asked for.
run $E_OK tokenizer encode tok special --json
json '287 not in j'
run $E_OK tokenizer encode tok special --parse-specials --json
json '287 in j and 288 + 3 in j and len(j) == 4'
cp "$OUT" ids.json
run $E_OK tokenizer decode tok ids.json --json
json 'j["text"] == "a<|endoftext|>b<|reserved_3|>" and j["tokens"] == 4 and j["bytes"] == 29'

# Wrong ways.
run $E_INPUT tokenizer train nothing.txt --out x
err_has 'nothing.txt'
run $E_INPUT tokenizer train empty --out x
err_has 'no text'
file_gone x
run $E_USAGE tokenizer train
run $E_USAGE tokenizer trian text.txt
err_has 'did you mean "train"'
run $E_USAGE tokenizer train text.txt --vocba 300
err_has 'did you mean --vocab'
run $E_USAGE tokenizer train text.txt --vocab 288
err_has '289'
run $E_USAGE tokenizer train text.txt --specials 5
run $E_BUDGET tokenizer train text.txt --budget wall=1us --out x
err_has 'least that would do'
file_gone x
run $E_OK tokenizer train text.txt --dry-run --json --out x
json 'j["predicted"]["wall"][1] > 0'
file_gone x
run $E_INPUT tokenizer encode nowhere text.txt
run $E_INPUT tokenizer encode tok nothing.txt
mkdir garbage
head -c 200 bytes >garbage/tokenizer.json
run $E_INPUT tokenizer encode garbage text.txt
err_has 'garbage/tokenizer.json'
out_empty
echo '1 2 3 320' >bad
run $E_INPUT tokenizer decode tok bad
err_has 'line 1.*320.*vocabulary'
out_empty
printf '1 2\n3 x4\n' >bad
run $E_INPUT tokenizer decode tok bad
err_has 'line 2'
printf '1 -2\n' >bad
run $E_INPUT tokenizer decode tok bad
printf '99999999999999999999\n' >bad
run $E_INPUT tokenizer decode tok bad
finish
