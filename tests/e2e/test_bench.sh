#!/bin/sh
# isoflop bench: every kind prints JSON lines with the numbers that the comparisons read.
# ctest: serial timeout=600
. "$(dirname "$0")/lib.sh"
E_INPUT=4
LIMIT=300

help_ok bench
cat "$ROOT"/src/text/*.c | head -c 100000 >text.txt

run $E_OK bench tokenizer text.txt --vocab 400 --repeats 1
json '[(l["phase"], l["bench"]) for l in lines][:2] == [("train", "tokenizer"), ("encode", "tokenizer")]'
json 'all(l["mb_per_s"] > 0 and l["bytes"] == 100000 for l in lines if "mb_per_s" in l and "bytes" in l)'
json 'len({l["ids_crc32"] for l in lines if l["phase"] == "encode"}) == 1'

python3 - <<'PY'
with open("runs.csv", "w") as f:
    print("params,tokens,loss", file=f)
    for i in range(6):
        for k in range(5):
            n, d = 1e7 * 3**i, 3e8 * 4**k
            print("%r,%r,%r" % (n, d, 1.8 + 480 / n**0.35 + 2100 / d**0.37 + 0.01 * ((7 * i + 3 * k) % 5 - 2)), file=f)
PY
run $E_OK bench fit runs.csv --count 50
json 'len(lines) == 1 and j["bench"] == "fit" and j["fits"] == 50 and j["points"] == 30 and j["fits_per_s"] > 0 and j["threads"] == 1'
objective=$(json_get 'j["objective"]')
# The identity as a resample gives the objective of the full fit.
seq -s ' ' 0 29 >same.txt
seq -s ',' 29 -1 0 >>same.txt
run $E_OK bench fit runs.csv --resamples same.txt --objectives
json "len(lines) == 3 and all(abs(l['objective'] - $objective) < 1e-9 for l in lines[:2])"

run $E_OK bench fit --law chinchilla --count 20
json 'len(lines) == 1 and j["law"] == "chinchilla" and j["fit_s"] > 0 and j["refit_s"] > 0 and j["resamples"] == 20 and j["rows"] == 100'
LAST="bench/fit_laws.sh"
checks=$((checks + 1))
ISOFLOP=$ISOFLOP "$ROOT/bench/fit_laws.sh" >"$OUT" || fail "bench/fit_laws.sh"
json 'len(lines) > 50 and len({l["law"] for l in lines}) == len(lines) and all(l["fit_s"] > 0 and l["refit_s"] > 0 and l["threads"] == 1 for l in lines)'
run $E_USAGE bench fit --law nobody
run $E_USAGE bench fit runs.csv --law chinchilla
run $E_USAGE bench gemm --law chinchilla

run $E_OK bench gemm --max 1024 --seconds 0.01
json '[l["m"] for l in lines if l.get("what") == "square"] == [1024] and all(l["bench"] == "gemm" for l in lines) and lines[0]["our_flop_per_s"] > 0'
json 'j["gemm_peak_flop_per_s"] >= lines[0]["our_flop_per_s"] and j["threads"] >= 1 and j["cpu"]'
json 'sum("what" in l for l in lines) == 11 and all(l["our_flop_per_s"] > 0 for l in lines if "what" in l)'
run $E_OK bench gemm --max 1024 --seconds 0.01 --precision bf16
json 'sum("what" in l for l in lines) == 11 and all(l["our_flop_per_s"] > 0 for l in lines if "what" in l)'
run $E_OK bench train --model 2,32,2/2,64,512,32 --batch 4 --steps 2 --warmup 1 --profile
json 'len(lines) == 1 and j["bench"] == "train" and j["params"] == 37024 and j["batch"] == 4 and j["seq"] == 32 and j["steps"] == 2'
json 'j["tok_per_s"] > 0 and 0 < j["mfu"] < 1.5 and abs(j["mfu"] - j["model_flop_per_s"] / j["gemm_peak_flop_per_s"]) < 1e-6 and j["profile"]'

# Wrong ways.
: >empty
run $E_USAGE bench
run $E_USAGE bench gem
err_has 'did you mean "gemm"'
run $E_USAGE bench gemm --secnds 1
err_has 'did you mean --seconds'
run $E_USAGE bench gemm --precision f8
run $E_USAGE bench train --steps 0
run $E_USAGE bench train --model nonsense
out_empty
run $E_USAGE bench tokenizer
run $E_USAGE bench tokenizer text.txt --vocab 5
run $E_INPUT bench tokenizer nothing.txt
err_has 'nothing.txt'
run $E_INPUT bench tokenizer empty
run $E_INPUT bench fit nothing.csv
err_has 'nothing.csv'
printf 'params,tokens,loss\n1e6,oops,3\n' >bad.csv
run $E_INPUT bench fit bad.csv
err_has 'line 2'
seq -s ' ' 1 30 >bad.txt
run $E_INPUT bench fit runs.csv --resamples bad.txt
err_has 'bad.txt, line 1'
finish
