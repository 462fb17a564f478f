#!/bin/sh
# isoflop plan distil: decisions and budgets of change against the laws the runs were made of, saved fits, and wrong calls.
# ctest: timeout=600
. "$(dirname "$0")/lib.sh"
E_INPUT=4 E_UNAVAILABLE=7

# Runs made of two laws, and a Python that decides with them.
cat >laws.py <<'PY'
import math
E, A, al, B, be, ga = math.exp(0.198850858745), math.exp(8.118207049406), 0.408, math.exp(9.808407346286), 0.431, 0.452
def alone(n, d): return E + (A / n**al + B / d**be) ** ga
def taught(n, d, lt):
    gap = (1 + (lt / (alone(n, d) * 1.3)) ** (1 / 0.1)) ** (-50 * 0.1)
    return lt + lt ** -2.5 * gap * (2200 / n**0.32 + 24000 / d**0.64) ** 0.76
def decide(cost, c, n, t, dt, lt=None):
    lt = lt or alone(t, dt)
    left = c - (6 * t * dt if cost == "train" else 0)
    d = left / (6 * n + (0 if cost == "free" else 2 * t))
    return alone(n, c / (6 * n)), taught(n, d, lt) if left > 0 else math.inf, d
def flips(cost, n, t, dt, lo, hi):
    out, c = [], lo
    f = lambda c: decide(cost, c, n, t, dt)[1] < decide(cost, c, n, t, dt)[0]
    while c < hi:
        if f(c) != f(c * 1.002): out.append(c * 1.001)
        c *= 1.002
    return out
PY
python3 - <<'PY'
from laws import *
out = ["params,tokens,teacher_loss,supervised_loss,student_loss"]
for n in (1e8, 3e8, 1e9, 3e9):
    for k in range(5):
        d = 4e9 * 3**k
        for lt in (1.9, 2.05, 2.2, 2.4, 2.7):
            out.append("%.17g,%.17g,%.17g,%.17g,%.17g" % (n, d, lt, alone(n, d), taught(n, d, lt)))
open("runs.csv", "w").write("\n".join(out) + "\n")
PY
against() { PYTHONPATH=. python3 -c "from laws import *; print(repr(list($1)))"; }

help_ok plan distil
# Without runs nothing is decided: the published constants are not confirmed.
run $E_UNAVAILABLE plan distil --student 1e9 --flop 1e21
err_has 'not confirmed'
err_has 'isoflop fit DATA.csv --law distillation'
run $E_OK why
out_has 'not confirmed'

for cost in free forward train; do
  truth=$(against "decide('$cost', 1e21, 1e9, 7e9, 1e10)")
  run $E_OK plan distil --student 1e9 --flop 1e21 --teacher 7e9 --teacher-tokens 1e10 --teacher-cost $cost --fit runs.csv --bootstrap 40 --json
  json "abs(j['alone']['loss']['value'] - $truth[0]) < 1e-4 and abs(j['student']['loss']['value'] - $truth[1]) < 1e-3"
  json "abs(j['student']['tokens'] / $truth[2] - 1) < 1e-9 and j['distil'] == ($truth[1] < $truth[0])"
  json 'j["kind"] == "distil" and all(r["lo"] <= r["value"] <= r["hi"] for r in (j["gain"], j["alone"]["loss"], j["student"]["loss"]))'
  json '[c["loss"] for c in j["costs"]] == sorted(c["loss"] for c in j["costs"]) and len(j["costs"]) == 3'
  truth=$(against "flips('$cost', 1e9, 7e9, 1e10, 1e17, 1e26)")
  json "len(j['flips']) == len($truth) and all(abs(f['train_flop']['value'] / w - 1) < 0.05 for f, w in zip(j['flips'], $truth))"
  json '0 <= j["refits_that_distil"] <= 1 and j["fits"][0]["points"] == 100 and j["fits"][0]["refits"] == 40'
  json 'j["best_teacher"]["student_loss"] > 1'
done

# Noise of 0.3% in the losses gives intervals, of the budget of change too.
python3 - <<'PY'
import random
random.seed(5)
rows = open("runs.csv").read().split()
out = [rows[0]]
for r in rows[1:]:
    v = [float(x) for x in r.split(",")]
    v[3] *= 1 + random.gauss(0, 0.003)
    v[4] *= 1 + random.gauss(0, 0.003)
    out.append(",".join("%.17g" % x for x in v))
open("noisy.csv", "w").write("\n".join(out) + "\n")
PY
truth=$(against "decide('forward', 1e21, 1e9, 7e9, 1e10) + (flips('forward', 1e9, 7e9, 1e10, 1e18, 1e23)[0],)")
run $E_OK plan distil --student 1e9 --flop 1e21 --teacher 7e9 --teacher-tokens 1e10 --fit noisy.csv --bootstrap 60 --json
json "0 < j['gain']['hi'] - j['gain']['lo'] < 0.1 and abs(j['student']['loss']['value'] - $truth[1]) < 0.02"
json "(lambda f: f['lo'] < f['value'] < f['hi'] and f['lo'] / 1.5 < $truth[3] < f['hi'] * 1.5)(j['flips'][0]['train_flop'])"

# A saved fit says the same as the runs do, without intervals; the supervised law too can be one's own.
run $E_OK fit runs.csv --law distillation --bootstrap 20 --json
cp "$OUT" fit.json
run $E_OK fit runs.csv --law distillation_supervised --column loss=supervised_loss --bootstrap 20 --json
cp "$OUT" alone.json
run $E_OK plan distil --student 1e9 --flop 1e21 --teacher 7e9 --teacher-tokens 1e11 --fit fit.json --supervised alone.json --json
truth=$(against "decide('forward', 1e21, 1e9, 7e9, 1e11)")
json "abs(j['student']['loss']['value'] - $truth[1]) < 1e-3 and j['student']['loss']['lo'] is None and j['refits_that_distil'] is None"
run $E_OK plan distil --student 1e9 --flop 1e21 --teacher-loss 2.1 --teacher-cost free --fit fit.json --json
truth=$(against "decide('free', 1e21, 1e9, 1, 1, 2.1)")
json "abs(j['student']['loss']['value'] - $truth[1]) < 1e-3 and j['teacher']['params'] is None and 'published' in j['fits'][1]['source']"
# No teacher named: the best one, no worse than any of a grid.
run $E_OK plan distil --student 1e9 --flop 1e21 --teacher-cost train --fit fit.json --json
truth=$(against "[min(decide('train', 1e21, 1e9, 1e7 * 1.2**i, s * 1e21 / (6e7 * 1.2**i))[1] for i in range(45) for s in (0.001 * 1.2**k for k in range(37)))]")
json "abs(j['student']['loss']['value'] - $truth[0]) < 3e-3 and j['student']['loss']['value'] < $truth[0] + 1e-3 and not j['teacher']['given']"
run $E_OK plan distil --student 1e9 --flop 1e21 --fit fit.json
out_has '^distil +(yes|no): '
out_has '^teacher, the best '
out_has '^laws from .*fit.json'
err_empty
run $E_OK why --json
json 'j["kind"] == "distil" and j["would_change"] and j["alternatives"] and any("2502.08606" in s for s in j["sources"])'

run $E_USAGE plan distil --flop 1e21 --fit fit.json
err_has 'student'
run $E_USAGE plan distil --student 1e9 --fit fit.json
err_has 'flop'
run $E_USAGE plan distil --student 1e9 --flop 1e21 --teacher-cost cheap --fit fit.json
err_has 'free, forward or train'
run $E_USAGE plan distil --student 1e9 --flop 1e21 --teacher 7e9 --fit fit.json
err_has 'teacher-tokens'
run $E_USAGE plan distil --student 1e9 --flop 1e21 --teacher-loss 2.1 --fit fit.json
err_has '--teacher is missing'
run $E_USAGE plan distil --student 1e9 --flop 1e21 --teacher 7e9 --teacher-loss 2.1 --teacher-cost train --fit fit.json
err_has 'teacher-tokens'
run $E_USAGE plan distil --student 1e9 --flop 1e21 --teacher-loss -2 --teacher-cost free --fit fit.json
run $E_USAGE plan distil --student 1e9 --flop 1e21 --fit fit.json --level 2
run $E_UNAVAILABLE plan distil --student 1e9 --flop 1e28 --teacher-loss 2.1 --teacher-cost free --fit fit.json
err_has 'outside the runs'
run $E_INPUT plan distil --student 1e9 --flop 1e21 --fit alone.json
err_has 'expected a fit of law distillation'
run $E_INPUT plan distil --student 1e9 --flop 1e21 --fit missing.json
echo 'params,tokens' >short.csv
run $E_INPUT plan distil --student 1e9 --flop 1e21 --fit short.csv
err_has 'columns'
finish
