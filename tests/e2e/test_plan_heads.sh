#!/bin/sh
# isoflop plan heads: the pair and size against every pair by hand, contexts of change, refits, and wrong calls.
# ctest: timeout=300
. "$(dirname "$0")/lib.sh"
E_INPUT=4 E_NUMBERS=8 E_UNAVAILABLE=7

# Four pairs: fewer heads need a larger model for the same loss.
cat >heads.py <<'PY'
import math
PAIRS = {(32, 32): (60.0, 0.20, 1.60), (32, 8): (61.0, 0.20, 1.60), (16, 4): (62.5, 0.20, 1.60), (8, 1): (68.0, 0.20, 1.60), (4, 1): (72.0, 0.20, 2.55)}
SIZES = ((3e7, 6), (1e8, 12), (4e8, 24), (1.5e9, 28), (6e9, 36), (3e10, 60))
def layers(n):
    for (a, la), (b, lb) in zip(SIZES, SIZES[1:]):
        if a <= n <= b: return la + (lb - la) * math.log(n / a) / math.log(b / a)
def cost(h, k, loss, seq, d=64, w=0.9):
    a, b, e = PAIRS[(h, k)]
    if loss <= e: return None
    n = (a / (loss - e)) ** (1 / b)
    if not layers(n): return None
    each = seq * layers(n) * d
    m, c = n + 2 * each * k, 2 * n + 4 * each * h
    return w * m**0.5 + (1 - w) * c ** (1 / 3), n, m, c
def best(loss, seq, **o):
    return min((p for p in PAIRS if cost(*p, loss, seq, **o)), key=lambda p: cost(*p, loss, seq, **o)[0])
def changes(loss, lo, hi):
    out, s, was = [], lo, best(loss, lo)
    while s < hi:
        s *= 1.001
        now = best(loss, s)
        if now != was: out.append((s, was, now))
        was = now
    return out
PY
cat >make.py <<'PY'
from heads import *
import random, sys
random.seed(2)
print("params,layers,heads,kv_heads,loss")
for (h, k), (a, b, e) in PAIRS.items():
    for n, l in SIZES:
        print("%.17g,%d,%d,%d,%.17g" % (n, l, h, k, (a / n**b + e) * (1 + random.gauss(0, float(sys.argv[1])))))
PY
PYTHONPATH=. python3 make.py 0 >runs.csv
PYTHONPATH=. python3 make.py 0.001 >noisy.csv
against() { PYTHONPATH=. python3 -c "from heads import *; print($1)"; }

help_ok plan heads
for seq in 1000 131072; do
  run $E_OK plan heads --data runs.csv --seq $seq --loss 2.5 --bootstrap 30 --json
  truth=$(against "(best(2.5, $seq), {p: cost(*p, 2.5, $seq) for p in PAIRS})")
  json "(j['best']['heads'], j['best']['kv_heads']) == $truth[0] and j['kind'] == 'heads' and len(j['pairs']) == 5"
  json "all(abs(p['cost']['value'] / w[0] - 1) < 1e-4 and abs(p['params']['value'] / w[1] - 1) < 1e-4 for p in j['pairs'] for w in [$truth[1][(p['heads'], p['kv_heads'])]] if w)"
  json "all(abs(p['elements'] / w[2] - 1) < 1e-4 and abs(p['flop_per_tok'] / w[3] - 1) < 1e-4 for p in j['pairs'] for w in [$truth[1][(p['heads'], p['kv_heads'])]] if w)"
  json '[p["why_not"] for p in j["pairs"]][4].startswith("the loss lies below") and j["pairs"][4]["cost"]["value"] is None and j["layers_from"] == "the runs"'
  truth=$(against "changes(2.5, $seq / 64, $seq * 64)")
  json "len(j['changes']) == len($truth) and all(abs(c['seq'] / w[0] - 1) < 2e-3 and (c['to']['heads'], c['to']['kv_heads']) == w[2] for c, w in zip(j['changes'], $truth))"
done
# Other weights and head dimensions are taken.
run $E_OK plan heads --data runs.csv --seq 131072 --loss 2.6 --head-dim 128 --memory-weight 0 --bootstrap 0 --json
json '"outside the table" in j["pairs"][4]["why_not"]'
truth=$(against "[best(2.6, 131072, d=128, w=0), cost(16, 4, 2.6, 131072, d=128, w=0)[0]]")
json "(j['best']['heads'], j['best']['kv_heads']) == $truth[0] and abs(j['pairs'][2]['cost']['value'] / $truth[1] - 1) < 1e-4 and j['best']['params']['lo'] is None"

# Noise gives intervals, and shares of refits that add up.
run $E_OK plan heads --data noisy.csv --seq 131072 --loss 2.5 --bootstrap 60 --json
json 'j["best"]["params"]["lo"] < j["best"]["params"]["hi"] and abs(sum(p["refits_that_choose"] for p in j["pairs"]) - 1) < 1e-9'
run $E_OK plan heads --data noisy.csv --seq 131072 --loss 2.5 --bootstrap 40
out_has '^best +[0-9]+ query heads'
out_has ' 4/1  the loss lies below'
err_empty
run $E_OK why --json
json 'j["kind"] == "heads" and len(j["alternatives"]) >= 3 and j["would_change"] and any("2503.09579" in s for s in j["sources"])'
# Without layers those of a published family.
cut -d, -f1,3- runs.csv >plain.csv
run $E_OK plan heads --data plain.csv --seq 8k --loss 2.5 --bootstrap 0 --json
json '"family" in j["layers_from"] and 10 < j["best"]["layers"] < 60'

run $E_USAGE plan heads --seq 8k --loss 2.5
err_has 'data'
run $E_USAGE plan heads --data runs.csv --loss 2.5
err_has 'seq'
run $E_USAGE plan heads --data runs.csv --seq 8k
err_has 'loss'
run $E_USAGE plan heads --data runs.csv --seq 8k --loss 2.5 --memory-weight 2
run $E_USAGE plan heads --data runs.csv --seq 8k --loss -1
run $E_USAGE plan heads --data runs.csv --seq 8k --loss 2.5 --head-dim 0
run $E_NUMBERS plan heads --data runs.csv --seq 8k --loss 1.2
err_has 'none of 5 pairs'
run $E_INPUT plan heads --data missing.csv --seq 8k --loss 2.5
sed 's/kv_heads/groups/' runs.csv >named.csv
run $E_INPUT plan heads --data named.csv --seq 8k --loss 2.5
err_has 'kv_heads'
head -4 runs.csv >few.csv
run $E_INPUT plan heads --data few.csv --seq 8k --loss 2.5
err_has '32 heads with 32 kv heads'
sed 's/,16,4,/,16,5,/' runs.csv >odd.csv
run $E_USAGE plan heads --data odd.csv --seq 8k --loss 2.5
err_has 'multiple'
finish
