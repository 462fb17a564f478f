#!/bin/sh
# isoflop fit: a known law is found again from a CSV file and from the store; what bad tables get.
# ctest: timeout=300 cost=5 asan
. "$(dirname "$0")/lib.sh"

# One Ctrl-C ends work that has nothing to save, and a page half made is not there. $1 as soon as it waits for signals.
interrupted() {
  LAST="isoflop $*"
  "$ISOFLOP" "$@" >"$OUT" 2>"$ERR" &
  pid=$!
  until grep -q '^SigBlk:.*[2367abef]$' /proc/$pid/status 2>/dev/null; do sleep 0.01; done
  sleep 0.3
  kill -INT $pid
  for i in $(seq 1 200); do grep -q '^State:.*Z' /proc/$pid/status 2>/dev/null && break; sleep 0.1; done
  kill -KILL $pid 2>/dev/null
  wait $pid
  CODE=$?
  checks=$((checks + 1))
  [ $CODE = 130 ] || fail "expected to stop with 130"
}
python3 -c "
print('params,tokens,loss')
for i in range(60):
    n, d = 1e7 * 1.1 ** i, 1e9 * 1.13 ** (i * 7 % 60)
    print('%r,%r,%r' % (n, d, 1.8 + 480 / n ** 0.35 + 2000 / d ** 0.37))" >long.csv
interrupted fit long.csv --law farseer --bootstrap 1000000 --plot long.html
file_gone long.html
E_INPUT=4

help_ok fit

# Five budgets of nine sizes from a law without noise.
python3 - <<'PY'
import math
E, A, B, a, b = 1.8, 480.0, 2100.0, 0.35, 0.37
law = lambda n, d: E + A / n**a + B / d**b
with open("runs.csv", "w") as f, open("flops.csv", "w") as g:
    print("params,tokens,loss,protocol", file=f)
    print("# training FLOPs instead of tokens\nmodel size,train_flops,final_loss", file=g)
    for c in (1e18, 1e19, 1e20, 1e21, 1e22):
        for k in range(-4, 5):
            n = 0.07 * c**0.5 * 1.4**k
            d = c / (6 * n)
            print("%r,%r,%r,good" % (n, d, law(n, d)), file=f)
            print("%r,%r,%r" % (n, c, law(n, d)), file=g)
    print("1e9,1e10,9.9,bad", file=f)
PY
run $E_OK fit runs.csv --drop-highest 1 --bootstrap 200 --flop 1e21 --predict 70B,1.4T --json
json 'j["points"] == 45 and j["dropped"] == 1 and len(lines) == 1'
json 'all(abs(j["fit"]["params"][k]["value"] / v - 1) < 1e-3 for k, v in (("E", 1.8), ("A", 480), ("B", 2100), ("alpha", 0.35), ("beta", 0.37)))'
json 'j["fit"]["objective"] < 1e-9 and j["fit"]["params"]["alpha"]["lo"] <= 0.3501 and j["fit"]["params"]["alpha"]["hi"] >= 0.3499'
# The closed-form optimum and the parabolas: C = 6 N D, N* ~ C^(beta / (alpha + beta)).
json 'abs(6 * j["optimum"]["params"]["value"] * j["optimum"]["tokens"]["value"] / 1e21 - 1) < 1e-9'
json 'abs(j["optimum"]["exponent"]["value"] - 0.37 / 0.72) < 1e-4 and abs(j["compare"]["exponent_isoflop"] - 0.37 / 0.72) < 0.01'
json 'j["compare"]["agree"] and len(j["isoflop"]["levels"]) == 5 and len(j["parabola"]["levels"]) == 5'
json 'abs(j["prediction"]["loss"]["value"] - (1.8 + 480 / 70e9**0.35 + 2100 / 1.4e12**0.37)) < 1e-3 and j["prediction"]["extrapolation"]["train_flop"] > 1'
cp "$OUT" first
run $E_OK fit runs.csv --drop-highest 1 --bootstrap 200 --flop 1e21 --predict 70B,1.4T --json --threads 1
checks=$((checks + 1))
python3 -c '
import json
a, b = (json.load(open(p)) for p in ("first", "stdout"))
for j in (a, b):
    assert 0 < j["fit"]["fit_s"] < j["seconds"] and j["fit"]["refit_s"] > 0
    del j["seconds"], j["fit"]["fit_s"], j["fit"]["refit_s"]
assert a == b' || fail "the seed does not decide the fit"

run $E_OK fit runs.csv --drop-highest 1 --bootstrap 200 --flop 1e21 --predict 70B,1.4T
out_has '^45 points from runs.csv'
out_has '^alpha +0\.35'
out_has '^objective '
out_has 'IsoFLOP parabolas'
out_has '^N\* = .* C\^0\.5'
out_has '^optimum at C = 1e\+21 FLOP'
out_has 'extrapolation'
err_empty
run $E_OK fit flops.csv --bootstrap 0 --json
json 'j["points"] == 45 and abs(j["fit"]["params"]["beta"]["value"] - 0.37) < 1e-3 and j["fit"]["params"]["beta"]["lo"] is None'
run $E_OK fit runs.csv --where protocol=good --method isoflop --json
json 'j["points"] == 45 and j["fit"] is None and j["parabola"] is None and abs(j["n_exponent"]["value"] - 0.37 / 0.72) < 0.01'
json 'j["n_exponent"]["lo"] < j["n_exponent"]["value"] < j["n_exponent"]["hi"] and j["isoflop"]["n_exponent"] == j["n_exponent"] and j["isoflop"]["levels_used"] == 5'
run $E_OK fit runs.csv --where protocol=good --method parabola --json
json 'j["fit"] is None and j["isoflop"] is None and abs(j["parabola"]["a"]["value"] - 0.37 / 0.72) < 0.01'
run $E_OK fit flops.csv --method isoflop --flop 1e21 --bootstrap 100
out_has 'IsoFLOP curves'
out_has 'at C = 1e\+21 FLOP: N\* = '

# Groups: the same law under two protocols, one of which counts 0.8 C^-0.02 of the parameters; a third has too few runs.
python3 - <<'PY'
import csv
with open("groups.csv", "w") as f:
    print("count,run,params,train_flops,loss", file=f)
    for r in csv.DictReader(open("runs.csv")):
        if r["protocol"] == "good":
            n, d = float(r["params"]), float(r["tokens"])
            print("all,x,%r,%r,%s" % (n, 6 * n * d, r["loss"]), file=f)
            print("some,x,%r,%r,%s" % (0.8 * n * (6 * n * d)**-0.02, 6 * n * d, r["loss"]), file=f)
    print("few,x,1e9,1e20,3", file=f)
PY
run $E_OK fit groups.csv --method isoflop --group-by count,run --bootstrap 200 --json
json '[g["group"]["count"] for g in j["groups"]] == ["all", "some", "few"] and j["groups"][0]["group"]["run"] == "x"'
json 'abs(j["groups"][0]["n_exponent"]["value"] - j["groups"][1]["n_exponent"]["value"] - 0.02) < 2e-3 and j["groups"][2]["isoflop"] is None'
json '"share a budget" in j["groups"][2]["note"]'
run $E_OK fit groups.csv --method isoflop --group-by count --bootstrap 50
out_has '^some +isoflop +0\.4'
out_has '5 of 5 budgets'
out_has 'not fitted: .*share a budget'
run $E_INPUT fit groups.csv --group-by cuont
err_has "no column called 'cuont'"
err_has 'count'
run $E_OK fit flops.csv --method parametric --bootstrap 20
out_lacks 'parabolas'

# Training curves of twelve sizes: the size that is best after each amount of compute, by the same law. One size has two losses only.
python3 - <<'PY'
with open("curves.csv", "w") as f:
    print("params,tokens,loss", file=f)
    for s in range(12):
        n = 3e7 * 1.6**s
        for k in range(24):
            d = n * 0.7 * 1.35**k
            print("%r,%r,%r" % (n, d, 1.8 + 480 / n**0.35 + 2100 / d**0.37), file=f)
    print("7e6,1e9,4\n7e6,2e9,3.9", file=f)
PY
run $E_OK fit curves.csv --method envelope --json
json 'j["fit"] is None and j["envelope"]["sizes"] == 12 and j["envelope"]["sizes_short"] == 1 and j["envelope"]["steps"] >= 8'
json 'abs(j["envelope"]["n_exponent"]["value"] - 0.37 / 0.72) < 0.005 and abs(j["envelope"]["d_exponent"]["value"] - 0.35 / 0.72) < 0.005'
json 'j["envelope"]["n_exponent"]["lo"] <= 0.37 / 0.72 + 0.005 and j["envelope"]["n_exponent"]["hi"] >= 0.37 / 0.72 - 0.005'
run $E_OK fit curves.csv --method envelope --flop 1e21
out_has '^envelope of 12 training curves; 1 sizes'
out_has '^N\* = .* C\^0\.51'
out_has '^at C = 1e\+21 FLOP: N\* = '
run $E_OK fit curves.csv --bootstrap 20 --json
json 'j["envelope"]["steps"] >= 8 and j["fit"] is not None'
run $E_INPUT fit runs.csv --where protocol=good --method envelope
err_has 'token counts'
run $E_OK fit runs.csv --where protocol=good --bootstrap 20 --json
json 'j["envelope"] is None'

# What a new user's table may look like: other separators, losses that are all the same, a loss by another name, a column twice.
printf 'params;tokens;loss\n1e8;1e9;3\n' >semi.csv
run $E_INPUT fit semi.csv
err_has 'separated by semicolons, expected commas'
err_has "tr ';' ,"
python3 -c "
import itertools
print('params,tokens,loss')
for n, d in itertools.product((1e7, 3e7, 1e8, 3e8), (1e9, 3e9, 1e10)): print('%r,%r,2.5' % (n, d))" >flat.csv
run $E_INPUT fit flat.csv --bootstrap 20
err_has 'all 12 points have a loss of 2.5'
run $E_INPUT fit flat.csv --law kaplan --bootstrap 20
err_has 'all 12 rows have a loss of 2.5'
sed 's/loss/loss_c4/' runs.csv >other.csv
run $E_INPUT fit other.csv
err_has "column loss=COLUMN names it; this table has 'loss_c4'"
printf 'params,params,tokens,loss\n1e8,1e8,1e9,3\n' >twice.csv
run $E_INPUT fit twice.csv --law chinchilla
err_has 'columns 1 and 2 are both called params'
# FLOPs in --holdout go by any of their names, with a column of them or without.
run $E_OK fit runs.csv --where protocol=good --law chinchilla --holdout 'train_flops>5e21' --bootstrap 0 --json
json 'len(j["holdout"]["rows"]) == 9'

# Any law by name: estimate, held-out rows, limits, checklist.
run $E_OK fit runs.csv --where protocol=good --law chinchilla --bootstrap 100 --holdout 'train_flop>5e21' --predict 3e9,6e10 --flop 1e22 --json
json 'j["fit"]["law"] == "chinchilla" and j["fit"]["points"] == 36 and j["holdout"]["points"] == 9 and j["holdout"]["max_abs_error"] < 1e-3'
json 'all(abs(j["fit"]["params"][k]["value"] - v) < 1e-3 for k, v in (("alpha", 0.35), ("beta", 0.37))) and abs(j["fit"]["params"]["log_e"]["exp"] - 1.8) < 1e-3'
json 'all(not r["refused"] and r["reach"] <= 20 for r in j["holdout"]["rows"]) and [c["section"] for c in j["checklist"]][0] == "form"'
json 'abs(j["prediction"]["loss"]["value"] - (1.8 + 480 / 3e9**0.35 + 2100 / 6e10**0.37)) < 1e-3 and j["fit"]["objective"]["kind"] == "huber-log"'
json 'abs(6 * j["optimum"]["params"]["value"] * j["optimum"]["tokens"]["value"] / 1e22 - 1) < 1e-9 and j["optimum"]["reach_axis"] is not None'
json 'any(p["name"] == "besiroglu2024" and p["value"] >= j["fit"]["objective"]["value"] for p in j["fit"]["objective"]["published"])'
run $E_OK fit runs.csv --where protocol=good --law chinchilla --bootstrap 50 --holdout 'params>1e10' --max-reach 1.5
out_has '^alpha +0\.35'
out_has 'refused'
out_has 'to repeat this fit'
out_has 'arXiv:2502.18969'
run 7 fit runs.csv --where protocol=good --law chinchilla --bootstrap 0 --predict 1e14,1e13
err_has 'times outside the runs in train_flop'
err_has 'extrapolate'
run $E_OK fit runs.csv --where protocol=good --law chinchilla --bootstrap 0 --predict params=1e14,tokens=1e13 --extrapolate
out_has 'an extrapolation'
run $E_OK fit flops.csv --law chinchilla --bootstrap 0 --column 'params=`model size`' --rows 'params<1e10' --json
json 'j["fit"]["points"] < 45 and abs(j["fit"]["params"]["beta"]["value"] - 0.37) < 1e-2'
run $E_OK fit runs.csv --where protocol=good --law chinchilla,chinchilla --bootstrap 20 --holdout 'train_flop>5e21' --json
json 'len(j["comparison"]) == 2 and j["comparison"][0]["holdout"]["mean_abs_error"] < 1e-3'
run $E_OK fit runs.csv --where protocol=good --law chinchilla,chinchilla --bootstrap 20 --holdout 'train_flop>5e21'
out_has '^ +1 chinchilla +5 '
out_has '^36 rows fitted, 9 held out; objective huber-log, delta 0.001'
# Laws of other inputs: over-trained runs with the larger ones held out, a vocabulary sweep, repeated tokens.
python3 - <<'PY'
import math
alpha, a, b, E = 0.27, 212.0, 367.0, 1.84
with open("over.csv", "w") as f:
    print("name,params,tokens_per_param_mult,loss_c4_val,acc_a,acc_b", file=f)
    for i, n in enumerate((1e7, 3e7, 8e7, 1.5e8, 4e8, 1.4e9, 6.9e9)):
        for k in range(7):
            m = 20 * 2**k
            loss = (E + (a * m**(alpha / 2) + b * m**(-alpha / 2)) * (6 * m * n * n)**(-alpha / 2)) * (1 + 0.002 * math.sin(7 * i + 3 * k))
            err = 0.85 - 2.2 * math.exp(-0.71 * loss)
            print("r%d,%r,%d,%r,%r,%r" % (i, n, m // 20, loss, 1 - err + 0.01, 1 - err - 0.01), file=f)
f = lambda v: 0.00639222 * math.log(v)**2 - 0.15811069 * math.log(v) + 1.20470122
with open("vocab.csv", "w") as g, open("repeat.csv", "w") as h:
    print("vocab_size,embed_dim,num_characters,Non_vocab_parameters,FLOPs,Lossu", file=g)
    print("params,tokens,unique_tokens,loss", file=h)
    for d, n in ((512, 3e7), (768, 8e7), (1024, 3e8), (1536, 6e8)):
        for v in (4096, 16384, 65536):
            for chars in (1e9, 5e9, 2e10):
                tok = chars * f(v)
                loss = -5.5 + 1.83 / (n / 1e6)**0.45 + 0.2 / (v * d / 1e6)**0.67 + 2.1 / (tok / 1e9)**0.45
                print("%d,%d,%r,%r,%r,%r" % (v, d, chars, n, 6 * (n + v * d) * tok, loss), file=g)
        for u in (1e8, 1e9):
            for epochs in (1, 3, 10, 30, 90):
                un = min(n, (520.0 / 1480.0)**(1 / 0.35) * u)
                dd = u * (1 + 15 * (1 - math.exp((1 - epochs) / 15)))
                nn = un * (1 + 5 * (1 - math.exp((1 - n / un) / 5)))
                print("%r,%r,%r,%r" % (n, u * epochs, u, 1.87 + 520 / nn**0.35 + 1480 / dd**0.35), file=h)
PY
run $E_OK fit over.csv --law overtraining --column loss=loss_c4_val --column 'tokens=20*tokens_per_param_mult*params' --holdout 'params>5e8' --bootstrap 200 --json
json 'j["fit"]["points"] == 35 and j["holdout"]["points"] == 14 and j["holdout"]["used"] == 10 and j["holdout"]["max_abs_error"] < 0.005'
json 'abs(j["fit"]["params"]["alpha"]["value"] - 0.27) < 0.01 and sum(r["refused"] for r in j["holdout"]["rows"]) == 4'
run $E_OK fit over.csv --law overtraining,chinchilla,kaplan --column loss=loss_c4_val --column 'tokens=20*tokens_per_param_mult*params' --holdout 'params>5e8' --bootstrap 0 --json
# Over-training is the Chinchilla form with equal exponents: noise decides between the two.
json '{c["law"] for c in j["comparison"][:2]} == {"overtraining", "chinchilla"} and j["comparison"][2]["law"] == "kaplan"'
json 'j["comparison"][0]["holdout"]["mean_abs_error"] < 0.003 and j["comparison"][2]["holdout"]["mean_abs_error"] > 0.02'
run $E_OK fit over.csv --law overtraining-error --column 'error=1-(acc_a+acc_b)/2' --bootstrap 0 --predict 2.5 --json
json 'abs(j["prediction"]["error"]["value"] - (0.85 - 2.2 * math.exp(-0.71 * 2.5))) < 1e-6'
run $E_OK fit vocab.csv --law vocab --bootstrap 0 --json
json 'all(abs(j["fit"]["params"][k]["value"] - v) < 1e-3 for k, v in (("alpha1", 0.45), ("alpha2", 0.67))) and j["fit"]["objective"]["kind"] == "huber"'
run $E_OK fit repeat.csv --law data-constrained --bootstrap 0 --json
json 'abs(j["fit"]["params"]["log_rd"]["exp"] - 15) < 0.01 and abs(j["fit"]["params"]["log_rn"]["exp"] - 5) < 0.01'
run $E_USAGE fit runs.csv --law chinchilla,chinchilla
err_has 'holdout'
run $E_USAGE fit runs.csv --law nobody
run $E_USAGE fit runs.csv --holdout 'a>1'
err_has 'needs --law'
run $E_USAGE fit runs.csv --law chinchilla --method isoflop
run $E_INPUT fit runs.csv --law chinchilla --rows 'colour>1'
err_has 'colour'
run $E_USAGE fit runs.csv --law chinchilla --rows 'params>'
run $E_USAGE fit runs.csv --law chinchilla --objective cubic

# Laws side by side, ranked by what they predict; those that the table cannot feed say why. FLOPs follow from N and D.
run $E_OK fit runs.csv --where protocol=good --compare compute-only,vocab,chinchilla --bootstrap 20 --holdout 'train_flop>5e21' --json
json '[(c["rank"], c["law"]) for c in j["comparison"]] == [(1, "chinchilla"), (2, "compute_only"), (None, "vocab")]'
json 'j["comparison"][0]["mean_abs_error"] < 1e-3 < j["comparison"][1]["mean_abs_error"] and j["held_out"] == j["held_out_common"] == 9 and j["error_is"] == "relative"'
json 'all(c["params"] == p and c["points"] == 36 and c["fit_s"] > 0 and c["refit_s"] > 0 and c["objective"] == "huber-log" for c, p in zip(j["comparison"], (5, 3)))'
json 'j["comparison"][0]["objective_value"] < j["comparison"][1]["objective_value"] and [c["objective_rank"] for c in j["comparison"][:2]] == [1, 2]'
json '"no column for vocab" in j["comparison"][2]["note"] and abs(j["comparison"][1]["residuals_with_tokens_per_param"]["rho"]) <= 1'
run $E_OK fit runs.csv --where protocol=good --compare compute-only,vocab,chinchilla --bootstrap 0 --holdout 'train_flop>5e21'
out_has '^ +1 chinchilla +5 .* 1 .*\(p '
out_has '^ +- vocab +not fitted: .*no column for vocab'
run $E_USAGE fit runs.csv --compare chinchilla,kaplan
err_has 'holdout'
run $E_USAGE fit runs.csv --compare chinchilla --law chinchilla --holdout 'params>1'
run $E_USAGE fit runs.csv --compare chinchilla,nobody --holdout 'params>1'
err_has '^isoflop fit: --compare: '
run $E_INPUT fit runs.csv --compare vocab,step-lr --holdout 'params>1e10'

# One law, fitted in many ways: without noise only what is counted as a parameter matters.
python3 - <<'PY'
import csv
with open("counts.csv", "w") as f:
    print("params,params_no_embed,tokens,loss", file=f)
    for r in csv.DictReader(open("runs.csv")):
        if r["protocol"] == "good":
            n, d = float(r["params"]), float(r["tokens"])
            print("%r,%r,%r,%s" % (n, 0.5 * n, d, r["loss"]), file=f)
PY
run $E_OK fit counts.csv --law chinchilla --variants --flop 1e23 --bootstrap 20 --starts 60 --json
# a A N^-a = b B D^-b on C = 6 N D; half the parameters at the same loss is A / 2^a, and FLOPs of half the parameters are a budget twice as large.
json 'all(abs(next(v for v in j["variants"] if v["variant"].startswith(w))["tokens_per_param"] / (lambda n: c / (6 * n * n))((0.35 * 480 * f / (0.37 * 2100) * (c / 6)**0.37)**(1 / 0.72)) - 1) < 5e-3 for w, f, c in (("as asked", 1, 1e23), ("N is column params_no_embed", 0.5**0.35, 1e23), ("FLOPs of column params_no_embed", 1, 2e23)))'
json 'all(abs(v["tokens_per_param"] / j["asked"]["value"] - 1) < 5e-3 for v in j["variants"] if v["choice"] in ("objective", "rows dropped"))'
json 'j["answer_is"] == "tokens_per_param" and j["train_flop"] == 1e23 and j["spread"]["lo"] <= j["asked"]["value"] <= j["spread"]["hi"]'
json '{v["choice"] for v in j["variants"]} == {"as asked", "objective", "starts", "optimiser", "rows dropped", "parameter count", "FLOP count"}'
json '{v["variant"] for v in j["variants"] if v["choice"] == "optimiser"} == {"plain L-BFGS, sum over rows", "plain L-BFGS, mean over rows"}'
json 'j["largest_factor_by_choice"][j["moves_most"]] == max(v for v in j["largest_factor_by_choice"].values() if v)'
run $E_OK fit runs.csv --where protocol=good --law compute-only --column 'train_flop=6*params*tokens' --variants --predict 1e22 --bootstrap 0 --starts 40
out_has '^compute_only: loss at train_flop = 1e\+22'
out_has '^as asked '
out_has '^moves it most '
out_has 'parameter count: the table leaves no choice'
run $E_USAGE fit runs.csv --variants
err_has 'needs --law'
run $E_USAGE fit runs.csv --law chinchilla --variants --plot x.html
file_gone x.html

# The page: one file with its data, that loads nothing.
cat >page.py <<'PY'
import json, math, os, sys
from html.parser import HTMLParser
class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.data, self.canvases, self.rows, self.links, self.inside, self.table = "", [], {}, [], False, None
    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.links += [a[k] for k in ("src", "href", "action", "data", "poster") if a.get(k)]
        self.inside = tag == "script" and a.get("id") == "iso-data"
        if tag == "canvas": self.canvases.append(a["id"])
        if tag == "table": self.table = a.get("id")
        if tag == "tr" and self.table: self.rows[self.table] = self.rows.get(self.table, -1) + 1
    def handle_data(self, text):
        if self.inside: self.data += text
    def handle_endtag(self, tag):
        if tag == "table": self.table = None
def refuse(word): raise ValueError(word)
text = open(sys.argv[1], encoding="utf-8").read()
p = Page()
p.feed(text)
d = json.loads(p.data, parse_constant=refuse)
assert 150000 < os.path.getsize(sys.argv[1]) < 2000000, os.path.getsize(sys.argv[1])
assert all(l.startswith("data:") for l in p.links), p.links
assert "default-src 'none'" in text and "@import" not in text and "url(http" not in text and text.rstrip().endswith("</html>")
assert len(set(p.canvases)) == len(p.canvases)
assert len(d["rows"]["y"]) == len(d["rows"]["fit"]) == len(d["rows"]["train_flop"]) and all(len(x) == len(d["rows"]["y"]) for x in d["rows"]["x"])
law = lambda n, t: 1.8 + 480 / n**0.35 + 2100 / t**0.37
eval(sys.argv[2], {"d": d, "p": p, "law": law, "math": math}) or sys.exit("not true: " + sys.argv[2])
PY
page() { checks=$((checks + 1)); python3 page.py "$@" || fail "$1: the page is not whole"; }
run $E_OK fit runs.csv --where protocol=good --bootstrap 100 --flop 1e21 --plot fit.html
out_has '^alpha '
err_has 'fit.html written'
page fit.html 'd["law"] == "chinchilla" and len(d["rows"]["y"]) == 45 and p.canvases == ["c-fit", "c-resid", "c-res-0", "c-res-1", "c-res-2", "c-isoflop", "c-power"]'
page fit.html 'all(abs(f - law(n, t)) < 1e-3 for f, n, t in zip(d["rows"]["fit"], *d["rows"]["x"])) and p.rows == {"params": 5, "levels": 10}'
page fit.html 'len(d["curves"]["levels"]) == 5 == len(d["parabola"]["levels"]) and {v["method"] for v in d["power"]} == {"interpolated curves", "parabolas"}'
page fit.html 'all(abs(v["exponent"]["value"] - 0.37 / 0.72) < 0.01 and v["exponent"]["lo"] <= v["exponent"]["value"] <= v["exponent"]["hi"] for v in d["power"])'
page fit.html 'len(d["checklist"]) == 20 and "isoflop fit runs.csv" in d["command"] and [v["sign"] for v in d["params"]] == ["A", "B", "E", "alpha", "beta"]'
page fit.html 'all(abs(o["params"]["value"] / (0.35 * 480 / (0.37 * 2100) * (o["train_flop"] / 6)**0.37)**(1 / 0.72) - 1) < 0.01 for o in d["optimum"]) and len(d["optimum"]) == 17'
cp fit.html first.html
run $E_OK fit runs.csv --where protocol=good --law chinchilla --bootstrap 50 --holdout 'params>1e10' --max-reach 1.5 --plot fit.html --json
json 'j["fit"]["law"] == "chinchilla" and j["fit"]["fit_s"] > 0'
page fit.html 'len(d["held"]) == p.rows["held"] > 2 and any(h["refused"] for h in d["held"]) and all(h["refused"] or h["lo"] <= h["value"] <= h["hi"] for h in d["held"])'
page fit.html 'len(d["held"]) + len(d["rows"]["y"]) == 45 and len(d["curves"]["levels"]) >= 4 and p.canvases[-1] == "c-power"'
for method in isoflop parabola; do
  run $E_OK fit runs.csv --where protocol=good --method $method --bootstrap 50 --plot method.html
  page method.html 'd["law"] is None and p.canvases == ["c-isoflop", "c-power"] and len(d["power"]) == 1 and p.rows["levels"] == 5 and len(d["checklist"]) == 16'
done
run $E_OK fit curves.csv --method envelope --plot method.html
page method.html 'p.canvases == ["c-power"] and d["power"][0]["method"] == "envelope" and d["envelope"]["steps"] >= 8'
run $E_OK fit vocab.csv --law vocab --bootstrap 0 --plot method.html
page method.html 'd["inputs"][1]["name"] == "vocab" and d["params"][0]["lo"] is None and "c-power" not in p.canvases and not d["log_residuals"] and d["curves"] is None'
# What cannot be written is refused before the fit; what was there stays.
mkdir folder
run $E_INPUT fit runs.csv --plot folder
err_has 'folder: is a folder'
out_empty
run $E_INPUT fit runs.csv --law chinchilla --plot nowhere/fit.html
err_has 'nowhere/fit.html: cannot be written: folder nowhere: No such file'
out_empty
printf 'params,tokens,loss\n1e6,1e7,3\n2e6,1e7,2.9\n' >two.csv
run $E_INPUT fit two.csv --plot first.html
page first.html 'd["law"] == "chinchilla"'
checks=$((checks + 1))
[ "$(ls | grep -c '\.tmp\.')" = 0 ] || fail "temporary files are left"
run $E_USAGE fit groups.csv --group-by count --plot fit.html
run $E_USAGE fit runs.csv --compare chinchilla,kaplan --holdout 'params>1e10' --plot fit.html

# The same law from the store: points of the newest demo and the runs below it.
run $E_INPUT fit --store none.db
err_has 'none.db'
run $E_USAGE fit
err_has 'demo'
python3 - "$ISOFLOP_HOME/runs.db" <<'PY'
import csv, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
def insert(table, row):
    have = [r[1] for r in db.execute("pragma table_info(%s)" % table)]
    row = {k: v for k, v in row.items() if k in have}
    db.execute("insert into %s (%s) values (%s)" % (table, ",".join(row), ",".join("?" * len(row))), list(row.values()))
for id, parent, kind in (("01AAAAAAAAAAAAAAAAAAAAAAAA", None, "demo"), ("01BBBBBBBBBBBBBBBBBBBBBBBB", "01AAAAAAAAAAAAAAAAAAAAAAAA", "sweep")):
    insert("runs", dict(id=id, parent=parent, kind=kind, status="done", created="2026-01-01T00:00:00Z", pid=1))
for r in csv.DictReader(open("runs.csv")):
    if r["protocol"] == "good":
        row = dict(run="01BBBBBBBBBBBBBBBBBBBBBBBB", predicted=0, label="sweep", metric="bits_per_byte", quality=float(r["loss"]), n_params=float(r["params"]), d_tokens=float(r["tokens"]))
        insert("points", row)
insert("points", dict(run="01BBBBBBBBBBBBBBBBBBBBBBBB", predicted=1, label="plan", metric="bits_per_byte", quality=9.0, n_params=1e9, d_tokens=1e10))
db.commit()
PY
run $E_OK fit --bootstrap 50 --json
json 'j["points"] == 45 and j["metric"] == "bits_per_byte" and j["source"].startswith("01AAAA") and abs(j["fit"]["params"]["alpha"]["value"] - 0.35) < 1e-3'
run $E_OK fit --method isoflop --group-by run,label --bootstrap 50 --json
json 'len(j["groups"]) == 1 and j["groups"][0]["group"]["label"] == "sweep" and abs(j["groups"][0]["n_exponent"]["value"] - 0.37 / 0.72) < 0.01'
run $E_OK fit --law chinchilla --bootstrap 0 --json
json 'j["fit"]["points"] == 45 and j["metric"] == "bits_per_byte" and abs(j["fit"]["params"]["alpha"]["value"] - 0.35) < 1e-3'
run $E_OK fit --run 01B --bootstrap 0
out_has '^45 points from 01BBBB'
run $E_USAGE fit --run 01C
err_has '01C'

# Wrong ways: files, with line and column; options.
: >empty
printf x >one
run $E_INPUT fit nothing.csv
err_has 'nothing.csv'
run $E_INPUT fit empty
err_has 'empty'
run $E_INPUT fit one
err_has 'line 1'
printf 'params,tokens,loss\n1e6,1e7,3\n1e6,oops,3\n' >bad.csv
run $E_INPUT fit bad.csv
err_has 'bad.csv, line 3.*(column|tokens)'
out_empty
printf 'params,tokens,loss\n1e6,1e7\n' >bad.csv
run $E_INPUT fit bad.csv
err_has 'line 2'
printf 'params,tokens,loss\n1e6,1e7,3\n2e6,1e7,2.9\n' >few.csv
run $E_INPUT fit few.csv --json
json '"points" in j["error"]["message"]'
run $E_USAGE fit runs.csv --methd both
err_has 'did you mean --method'
run $E_USAGE fit runs.csv --method cubic
run $E_USAGE fit runs.csv --predict 70B
err_has 'N,D'
run $E_USAGE fit runs.csv --flop 3parsec
run $E_USAGE fit runs.csv --run 01B
run $E_USAGE fit runs.csv --level 90
# Wrong calls end with 2, files that do not fit the question with 4.
python3 - <<'PY'
import random
random.seed(4)
def loss(n, d): return 1.8 + 480 / n ** 0.35 + 2100 / d ** 0.37
with open("few.csv", "w") as f:
    print("params,tokens,loss", file=f)
    for i in range(40): print("1e9,2e10,%.9g" % (loss(1e9, 2e10) + random.gauss(0, 0.01)), file=f)
with open("odd.csv", "w") as f:
    print("params,tokens,loss", file=f)
    print("1e8,1e9,9", file=f)
    for i in range(60):
        n, d = 10 ** random.uniform(7, 10), 10 ** random.uniform(9, 12)
        print("%.9g,%.9g,%.9g" % (n, d, loss(n, d) * (1.5 if i == 30 else 1) * (1 + random.gauss(0, 0.003))), file=f)
PY
run $E_INPUT fit few.csv --law chinchilla
err_has '40 rows at 1 different inputs'
run $E_OK fit odd.csv --law chinchilla --drop-highest 1 --bootstrap 0 --json
json '33 in j["fit"]["diagnostics"]["outlier_lines"]'
run $E_USAGE fit odd.csv --law chinchilla --holdout 'params>'
err_has 'holdout: expression'
run $E_USAGE fit odd.csv --law chinchilla --rows 'params>1e8 or tokens>1'
run $E_USAGE fit odd.csv --law chinchilla --column 'loss=1+'
run $E_INPUT fit odd.csv --law chinchilla --holdout 'params>1e30' --bootstrap 0
err_has 'holds no row back'
run $E_USAGE fit odd.csv --law chinchila
err_has 'did you mean "chinchilla"'
run $E_USAGE fit odd.csv --bootstrap 1
err_has '20 or more resamples'
run $E_USAGE fit odd.csv --law chinchilla --bootstrap 19

finish
