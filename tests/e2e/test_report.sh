#!/bin/sh
# isoflop report: a training run on the terminal, as JSON and as HTML; runs that are not there.
# ctest: timeout=300
. "$(dirname "$0")/lib.sh"
E_INPUT=4

help_ok report
run $E_USAGE report
err_has 'no demo and no training run'
out_empty
# A store whose only run failed: that one is shown.
run $E_INPUT train --text none.txt --steps 5 --out lost --quiet
run $E_OK report --json
json 'j["status"] == "failed"'
cat "$ROOT"/src/text/*.c "$ROOT"/src/cost/*.c | head -c 150000 >text.txt
run $E_OK train --text text.txt --steps 20 --batch 8 --model 2,32,2/2,64,512,32 --vocab 512 --out model --quiet --json
cp "$OUT" trained.json
id=$(json_get 'j["run"]' trained.json) bpb=$(json_get 'j["bits_per_byte"]' trained.json) params=$(json_get 'j["params"]' trained.json)

# The newest training run is the default, whatever ran after it.
run $E_OK tokenizer train text.txt --vocab 300 --out tok --quiet
run $E_OK report --json
json "j['id'] == '$id' and len(lines) == 1"
json "abs(j['bits_per_byte'] - $bpb) < 1e-6 and j['params'] == $params"
run $E_OK report
out_has 'bits|bpb'
out_has '^The bill'
err_empty
run $E_OK report "$(echo "$id" | cut -c 1-20)" --json
json "j['id'] == '$id'"
run $E_OK runs --kind tokenizer --json
run $E_OK report "$(json_get 'j["runs"][0]["id"]')"
out_has 'tokenizer'

# A newer run that failed is passed over, and the report says so; the run by its id is still to be had.
run $E_INPUT train --text none.txt --steps 5 --out lost --quiet
run $E_OK runs --kind train --json
lost=$(json_get 'j["runs"][0]["id"]')
json 'j["runs"][0]["status"] == "failed"'
run $E_OK report --json
json "j['id'] == '$id' and j['status'] == 'done'"
err_has "$lost is newer and failed"
run $E_OK report "$lost" --json
json "j['id'] == '$lost'"

run $E_OK report --html report.html
out_empty
err_has 'report.html'
file_there report.html
checks=$((checks + 1))
python3 - report.html "$id" <<'PY' || fail "the HTML report is not whole"
import json, re, sys
t = open(sys.argv[1], encoding="utf-8").read()
data = re.search(r'<script[^>]*id="iso-data"[^>]*>(.*?)</script>', t, re.S).group(1)
assert json.loads(data)["id"] == sys.argv[2]
assert not re.search(r'(src|href)="https?:', t) and t.rstrip().endswith("</html>")
PY
run $E_OK report --html both.html --json --quiet
json "j['id'] == '$id'"
err_empty
file_there both.html

# Wrong ways.
run $E_USAGE report 0XYZ
err_has '0XYZ'
run $E_INPUT report --html nowhere/report.html
err_has 'nowhere'
file_gone nowhere
run $E_INPUT report --store nowhere.db
err_has 'nowhere.db'
run $E_INPUT report --store text.txt
run $E_USAGE report --htlm x
err_has 'did you mean --html'
run $E_USAGE report a b
finish
