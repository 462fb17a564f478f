#!/bin/sh
# isoflop why: every kind of plan explained from the store, the newest by default, refused ones and wrong calls.
# ctest: timeout=300
. "$(dirname "$0")/lib.sh"
E_INPUT=4 E_MEMORY=5

help_ok why
run $E_USAGE why
err_has 'no plan to explain'

run $E_OK plan train --budget wall=20d,usd=1e6 --cluster 64xa100-80 --serve 1e13tok --json
binding=$(json_get 'j["binding"]')
wall=$(json_get 'j["use"]["wall"]["value"]')
half=$(json_get 'j["isoloss"][1]["wall"]')
run $E_OK why --json
json "j['kind'] == 'train' and any(b.startswith('$binding: all of') for b in j['bound']) and 'plan train' in j['command']"
json 'any("does not bind" in b for b in j["bound"]) and any("1% more" in c for c in j["would_change"]) and any("serving" in c for c in j["would_change"])'
# What an alternative costs is what the plan says.
json "any(abs(a['ratio'] - $half / $wall) < 1e-6 for a in j['alternatives'])"
json 'any("besiroglu2024" in s for s in j["sources"]) and any("data sheet" in s for s in j["sources"]) and any("kWh" in s for s in j["sources"])'
train=$(json_get 'j["run"]')
run $E_OK why
out_has '^What bound'
out_has '^Alternatives'
out_has '^Where the numbers are from'
err_empty

run $E_OK plan layout --model llama3-8b --cluster 64xa100-80 --batch 4Mtok --json
run $E_OK why --json
json 'j["kind"] == "layout" and any("memory" in b for b in j["bound"]) and len(j["alternatives"]) >= 3 and all(a["ratio"] >= 1 - 1e-9 for a in j["alternatives"])'
run $E_OK plan hparams --params 1e9 --tokens 1e11
run $E_OK why --json
json 'j["kind"] == "hparams" and any("step_lr" in a["what"] for a in j["alternatives"]) and any("not confirmed" in b for b in j["bound"])'
run $E_OK plan infer --model llama3-8b --device h100 --prompt 4k --output 1k
run $E_OK why --json
json 'j["kind"] == "infer" and any("users" in b for b in j["bound"])'
run $E_OK plan memory --model 10m --batch 16 --limit 350MiB --json
extra=$(json_get 'j["plan"]["extra_share"]')
run $E_OK why --json
json "j['kind'] == 'memory' and any('computed again' in b for b in j['bound']) and all(a['ratio'] >= 1 - 1e-9 for a in j['alternatives']) and $extra > 0"
json 'any("more:" in c for c in j["would_change"]) and len(j["alternatives"]) >= 2'
printf 'arrival_s,prompt_tok,output_tok\n0,500,100\n1,800,200\n3,200,100\n' >trace.csv
run $E_OK plan serve --model llama3-8b --trace trace.csv --slo ttft=2s,itl=80ms --fleet l4,a100
run $E_OK why
out_has 'stops more requests'
run $E_MEMORY plan layout --model llama3-70b --cluster 4xa100 --batch 64
run $E_OK why
out_has '^Refused'
out_has 'needs [0-9]+ bytes'
run $E_OK why --json
json 'j["kind"] == "refused" and "bytes" in j["bound"][0]'
# The plan for this machine.
small_text text.txt 100000
run $E_OK plan --text text.txt --model 2,32,2/2,64,320,32 --vocab 320 --steps 10 --batch 2 --out m
run $E_OK why --json
json 'j["kind"] == "machine" and len(j["bound"]) >= 1'
# An older one by its id.
run $E_OK why "$train" --json
json "j['kind'] == 'train' and j['run'] == '$train'"

run $E_USAGE why nosuchrun
run $E_INPUT why --store none.db
run $E_USAGE why a b
finish
