#!/bin/sh
# isoflop demo: the whole loop on a small text inside its budget, its report and store, interruption, absurd budgets.
# ctest: serial timeout=600
. "$(dirname "$0")/lib.sh"

python3 - <<'PY'
words = "river stone paper money light water house night school people story music time power table green".split()
text, x = [], 7
for i in range(120000):
    x = x * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
    text.append(words[(x >> 33) % len(words)] + (".\n" if x >> 60 == 3 else " "))
open("text.txt", "w").write("".join(text))
PY
help_ok demo
start=$(date +%s%N)
run $E_OK demo --budget 90s --text text.txt --out m --json
end=$(date +%s%N)
checks=$((checks + 1))
[ $(((end - start) / 1000000)) -le 90000 ] || fail "90 s took $(((end - start) / 1000000)) ms"
json 'j["params"] > 0 and j["tokens"] > 0 and 0 < j["bits_per_byte"] < 6'
json 'j["measured"]["wall"] <= 90 and j["predicted"]["bits_per_byte"][0] <= j["predicted"]["bits_per_byte"][2]'
json 'len(j["summary"]["fit"]["curve"]) > 0 and j["summary"]["sample"]'
file_there m/report.html
file_there m/model.safetensors
checks=$((checks + 1))
grep -q 'http[s]*://[^"]*\.js' m/report.html && fail "the report loads something from elsewhere"
run $E_OK runs --json
out_has '"demo"'
run $E_OK report --json
run $E_OK fit
out_has 'alpha'

# Ctrl-C saves; the same command goes on with the seconds that were left.
"$ISOFLOP" demo --budget 90s --text text.txt --out n --quiet >/dev/null 2>&1 &
pid=$!
sleep 25
kill -INT $pid
wait $pid
CODE=$?
LAST="isoflop demo (interrupted)"
checks=$((checks + 1))
[ $CODE = 130 ] || fail "an interrupted demo ends with 130"
run $E_OK demo --budget 90s --text text.txt --out n --json
json 'j["measured"]["wall"] <= 90 and j["bits_per_byte"] > 0'

run 3 demo --budget 1s --text text.txt --out x
run 3 demo --budget 5flop --text text.txt --out x
run $E_USAGE demo --budget 5q --text text.txt --out x
run $E_USAGE demo --budget 0s --text text.txt --out x
run 4 demo --budget 60s --text none.txt --out x
finish
