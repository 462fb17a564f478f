#!/bin/sh
# isoflop plan pools: utilities found again, choices and budgets of change against every subset, and wrong calls.
# ctest: timeout=300
. "$(dirname "$0")/lib.sh"
E_INPUT=4 E_UNAVAILABLE=7

# Four pools of 12.8M samples (those of the released code's example), n0 = 1e6, a floor of 0.1; runs of 3M to 400M samples.
cat >pools.py <<'PY'
import math
N0, FLOOR = 1e6, 0.1
POOLS = {"a": (12.8e6, 0.20, 1.2), "b": (12.8e6, 0.16, 1.8), "c": (12.8e6, 0.11, 2.5), "d": (12.8e6, 0.06, 3.0)}
def error(use, seen):
    u = sum(POOLS[k][0] for k in use)
    y, j, n = 1.0, 0, N0
    while n < seen:
        to = min((j + 1) * u, seen)
        b = sum(POOLS[k][0] / u * POOLS[k][1] * 2 ** (-j * POOLS[k][0] / (u * POOLS[k][2])) for k in use)
        y *= (to / n) ** -b
        n, j = to, j + 1
    return y + FLOOR
SUBSETS = [[k for i, k in enumerate("abcd") if m >> i & 1] for m in range(1, 16)]
def best(seen): return min(SUBSETS, key=lambda u: error(u, seen))
def changes(lo, hi):
    out, s, was = [], lo, best(lo)
    while s < hi:
        s *= 1.002
        now = best(s)
        if now != was: out.append([s, was, now])
        was = now
    return out
PY
cat >make.py <<'PY'
from pools import *
import random, sys
noise = float(sys.argv[1])
random.seed(3)
print("pool,samples,pool_size,error")
for k in "abcd":
    for i in range(10):
        s = 3e6 * 1.72**i
        print("%s,%.17g,%.17g,%.17g" % (k, s, POOLS[k][0], error([k], s) * (1 + random.gauss(0, noise))))
PY
PYTHONPATH=. python3 make.py 0 >pools.csv
PYTHONPATH=. python3 make.py 0.002 >noisy.csv
against() { PYTHONPATH=. python3 -c "from pools import *; print($1)"; }

help_ok plan pools
run $E_OK plan pools --data pools.csv --budgets 5e6,32M,128Msamples,640e6 --bootstrap 30 --json
json 'j["kind"] == "pools" and [p["name"] for p in j["pools"]] == ["a", "b", "c", "d"] and j["fit"]["points"] == 40'
json 'all(abs(p["b"]["value"] / b - 1) < 1e-3 and abs(p["tau"]["value"] / t - 1) < 1e-2 for p, b, t in zip(j["pools"], (0.2, 0.16, 0.11, 0.06), (1.2, 1.8, 2.5, 3.0)))'
json 'abs(j["n0"] / 1e6 - 1) < 1e-2 and abs(j["d"] - 0.1) < 1e-3'
truth=$(against '[(best(s), error(best(s), s)) for s in (5e6, 32e6, 128e6, 640e6)]')
json "all(b['use'] == u and abs(b['error']['value'] - e) < 1e-4 for b, (u, e) in zip(j['budgets'], $truth))"
# Alternatives: none better, each pool alone and all of them among them, every one with the error that the mixture has.
json 'all(b["error"]["value"] < min(o["error"] for o in b["alternatives"]) for b in j["budgets"])'
json 'all({(k,) for k in "abcd"} | {tuple("abcd")} <= {tuple(o["use"]) for o in b["alternatives"]} | {tuple(b["use"])} for b in j["budgets"])'
others=$(json_get '[(o["use"], b["samples"], o["error"]) for b in j["budgets"] for o in b["alternatives"]]')
truth=$(against "max(abs(error(u, s) - e) for u, s, e in $others) < 1e-4")
checks=$((checks + 1))
[ "$truth" = True ] || fail "errors of the alternatives"
truth=$(against 'changes(1e6, 640e6 * 30)')
json "len(j['changes']) == len($truth) and all(c['from'] == w[1] and c['to'] == w[2] and abs(c['samples']['value'] / w[0] - 1) < 0.02 for c, w in zip(j['changes'], $truth))"

# Noise gives intervals that hold the truth, and refits that disagree near a change.
run $E_OK plan pools --data noisy.csv --budgets 128M --bootstrap 60 --json
json 'all(p["b"]["lo"] < p["b"]["hi"] and p["b"]["lo"] * 0.9 < b < p["b"]["hi"] * 1.1 for p, b in zip(j["pools"], (0.2, 0.16, 0.11, 0.06)))'
json 'j["budgets"][0]["error"]["lo"] < j["budgets"][0]["error"]["hi"] and 0 < j["budgets"][0]["refits_that_agree"] <= 1'
run $E_OK plan pools --data noisy.csv --budgets 1e8,1e9samples --bootstrap 30
out_has '^1e\+08 samples: train on a \+ b$'
out_has '^the choice changes +at '
err_empty
run $E_OK why --json
json 'j["kind"] == "pools" and len(j["bound"]) == 2 and j["would_change"] and any("2404.07177" in s for s in j["sources"])'
# A larger good pool needs no worse ones.
run $E_OK plan pools --data pools.csv --budgets 640M --sizes a=2B --bootstrap 0 --json
json 'j["budgets"][0]["use"] == ["a"] and j["pools"][0]["unique"] == 2e9 and j["pools"][0]["b"]["lo"] is None'

run $E_USAGE plan pools --budgets 1e8
err_has 'data'
run $E_USAGE plan pools --data pools.csv
err_has 'budgets'
run $E_USAGE plan pools --data pools.csv --budgets 1e8,many
run $E_USAGE plan pools --data pools.csv --budgets 1e8 --sizes z=3
err_has 'no pool "z"'
run $E_USAGE plan pools --data pools.csv --budgets 1e8 --level 0
run $E_UNAVAILABLE plan pools --data pools.csv --budgets 1e14
err_has 'outside the runs'
run $E_INPUT plan pools --data missing.csv --budgets 1e8
head -8 pools.csv >one.csv
run $E_INPUT plan pools --data one.csv --budgets 1e8
err_has 'two or more'
(head -4 pools.csv && tail -2 pools.csv) >few.csv
run $E_INPUT plan pools --data few.csv --budgets 1e8 --bootstrap 0
sed 's/error/loss/' pools.csv >named.csv
run $E_INPUT plan pools --data named.csv --budgets 1e8
err_has 'error'
sed '3s/[^,]*$/-1/' pools.csv >bad.csv
run $E_INPUT plan pools --data bad.csv --budgets 1e8
err_has 'line 3|row 3'
finish
