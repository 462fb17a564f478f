#!/bin/sh
# Every subverb of plan: predicted numbers are intervals of one form or say why not, and what binds has its price, in JSON and in text.
# ctest: timeout=600
. "$(dirname "$0")/lib.sh"

# covers KIND limited|free ARG...: the plan in JSON passes intervals.py.
seen=""
covers() {
  kind=$1 limited=$2
  shift 2
  seen="$seen $kind"
  run $E_OK plan "$kind" "$@" --json
  checks=$((checks + 1))
  python3 "$ROOT/tests/e2e/intervals.py" "$kind" "$limited" <"$OUT" || fail "plan $kind"
}

# The check itself sees a bare number, old keys, a null end without a reason and a missing price.
checks=$((checks + 1))
for bad in '"loss": 2.1' '"itl_s": {"lo": 1, "mid": 2, "hi": 3}' '"usd": {"value": 2, "lo": 1, "hi": null}' '"usd": {"value": 4, "lo": 1, "hi": 3}'; do
  printf '{"kind": "train", "binding": "usd", "shadow": {"a": 1}, "intervals": "x", %s}' "$bad" |
    python3 "$ROOT/tests/e2e/intervals.py" train limited >/dev/null && fail "intervals.py passes $bad"
done
printf '{"kind": "train", "intervals": "x", "loss": {"value": 2, "lo": 1, "hi": 3}}' | python3 "$ROOT/tests/e2e/intervals.py" train limited >/dev/null &&
  fail "intervals.py passes a plan without what binds"

covers train limited --budget 1e22flop --cluster 64xh100 --serve 1e12tok --compress int8:0.002:0.5 --capex 30000
json 'all(j["use"][k]["lo"] < j["use"][k]["hi"] for k in ("wall", "usd", "energy", "co2")) and j["optimum"]["params"]["lo"] < j["optimum"]["params"]["hi"]'
json 'j["ledger"]["co2_g"]["total"]["lo"] < j["ledger"]["co2_g"]["total"]["hi"] and abs(j["ledger"]["co2_g"]["total"]["hi"] / j["ledger"]["co2_g"]["total"] / (j["use"]["wall"]["hi"] / j["use"]["wall"]) - 1) < 1e-6'
covers train limited --budget usd=2e5,wall=30d --cluster 64xa100-80 --unique-tokens 10Btok
json 'j["steps"]["lo"] < j["steps"]["hi"]'
covers train limited --budget 1e22flop --cluster 64xh100 --law overtraining
covers hparams free --params 1.3e9 --tokens 3e10
json 'j["loss"]["lo"] < j["loss"]["hi"]'
covers vocab limited --params 3e9 --width 3200 --flop 1e22
covers precision limited --flop 1e22 --memory 4GB
json 'j["shadow"]["loss_per_percent_memory"] < 0 and j["shadow"]["loss_per_percent_train_flop"] < 0'
covers precision limited --flop 1e21
covers devices limited --params 1B --budget usd=500 --cluster 8xh100,16xa100-80 --batch 1Mtok
json 'j["shadow"]["limit"] == "usd" and j["shadow"]["loss_per_percent"] < 0'
covers layout limited --model llama3-8b --cluster 16xa100-80 --batch 512 --seq 4096 --tokens 1Ttok
covers layout limited --model llama3-8b --cluster 16xa100-80 --batch 512 --layout t=4,p=2,d=2 --measured 30s
covers shape free --params 1e9 --cluster 8xh100 --batch 1Mtok
covers memory limited --model 10m --batch 16 --limit 300MiB
json 'j["binding"] == "memory" and j["shadow"]["extra_share_per_gib"] > 0'
covers infer limited --model llama3-8b --device h100 --prompt 50k --output 1k --slo itl=30ms
json 'j["batching"]["batch"]["lo"] <= j["batching"]["batch"] <= j["batching"]["batch"]["hi"] and j["batching"]["itl_s"]["hi"] > j["batching"]["itl_s"]["lo"]'
json 'j["energy"]["choices"]["best_under_limit"]["j_per_tok"]["lo"] < j["energy"]["choices"]["best_under_limit"]["j_per_tok"]["hi"] and j["switch_s"]["lo"] > 0'
covers infer limited --model deepseek-v3 --device 8xh200 --format fp8 --prompt 4k --output 1k --host-kv 1TiB
covers infer limited --model llama3-8b --device h100 --prompt 4k --output 1k --ideal
covers infer limited --model llama-2-70b --device rtx4090 --prompt 500 --output 200 --format int4 --flash-rate 25GB --active 0.1,0.02,0.2
covers parscale limited --device l4 --prompt 1k --output 200 --slo itl=50ms
json 'j["shadow"]["limit"] == j["binding"] == "itl" and j["shadow"]["loss_with_10_percent_more"] <= 0'
covers ledger free --device 8xh100 --days 30 --region FR --capex 35000

cat >jobs.csv <<'C'
name,model,batch,seq,tokens,arrival_h,deadline_h
one,gpt2-1.5b,512,1024,2e9,0,24
two,gpt2-1.5b,512,1024,1e9,1,12
C
covers cluster limited jobs.csv --cluster 8xa100-80 --scheduler fifo,elastic
json 'all(s["makespan_s"]["lo"] < s["makespan_s"] < s["makespan_s"]["hi"] and s["jobs"][0]["end_s"]["lo"] < s["jobs"][0]["end_s"]["hi"] for s in j["schedulers"].values())'
awk 'BEGIN { print "arrival_s,prompt_tok,output_tok"; for (i = 0; i < 100; i++) printf "%g,%d,%d\n", i / 4, 20 + i * 37 % 1500, 10 + i * 53 % 200 }' >trace.csv
covers serve limited --model llama3-8b --trace trace.csv --slo ttft=2s,itl=80ms --fleet a10g,a100 --split
json 'j["usd_h"]["lo"] <= j["usd_h"] <= j["usd_h"]["hi"] and j["shadow"]["usd_h_per_req_per_s"]["lo"] < j["shadow"]["usd_h_per_req_per_s"]["hi"]'
printf 'share,a10g,a100\n0.5,10,40\n0.5,2,12\n' >tput.csv
covers serve limited --throughputs tput.csv --rate 30 --fleet a10g,a100

# Runs of laws with a little noise.
python3 - <<'PY'
import math, random
random.seed(5)
noise = lambda v: v * (1 + random.gauss(0, 0.001))
rows = ["params,tokens,teacher_loss,supervised_loss,student_loss"]
alone = lambda n, d: 1.22 + (3356 / n**0.408 + 18185 / d**0.431) ** 0.452
for n in (1e8, 1e9, 3e9):
    for d in (4e9, 3.6e10, 3.2e11):
        for t in (1.9, 2.1, 2.3, 2.6):
            gap = (1 + (t / (alone(n, d) * 1.3)) ** 10) ** -5
            rows.append("%g,%g,%g,%g,%g" % (n, d, t, noise(alone(n, d)), noise(t + t**-2.5 * gap * (2200 / n**0.32 + 24000 / d**0.64) ** 0.76)))
open("distil.csv", "w").write("\n".join(rows) + "\n")
rows = ["params,layers,heads,kv_heads,loss"]
for h, k, a in ((32, 8, 61), (16, 4, 62.5), (8, 1, 68)):
    for n, l in ((3e7, 6), (1e8, 12), (4e8, 24), (1.5e9, 28), (6e9, 36)):
        rows.append("%g,%d,%d,%d,%g" % (n, l, h, k, noise(a / n**0.2 + 1.6)))
open("heads.csv", "w").write("\n".join(rows) + "\n")
rows = ["pool,samples,pool_size,error"]
for name, b, tau in (("a", 0.20, 1.2), ("b", 0.16, 1.8)):
    for i in range(10):
        seen, at, y, r = 3e6 * 1.72**i, 1e6, 1.0, 0
        while at < seen:
            to = min((r + 1) * 12.8e6, seen)
            y, at, r = y * (to / at) ** -(b * 2 ** (-r / tau)), to, r + 1
        rows.append("%s,%g,12800000,%g" % (name, seen, noise(y + 0.1)))
open("pools.csv", "w").write("\n".join(rows) + "\n")
PY
covers distil limited --student 1e9 --flop 1e21 --teacher 7e9 --teacher-tokens 1e12 --fit distil.csv --bootstrap 25 --starts 20
json 'j["binding"] == "train_flop" and j["shadow"]["loss_per_percent"] < 0'
covers heads limited --data heads.csv --seq 32k --loss 2.6 --bootstrap 25 --starts 20
json 'j["shadow"]["cost_per_percent_lower_loss"] > 0 and j["best"]["elements"]["lo"] < j["best"]["elements"]["hi"]'
covers pools limited --data pools.csv --budgets 128M --bootstrap 25 --starts 20
json 'j["budgets"][0]["shadow"]["error_per_percent"] < 0'

# No subverb is left out.
checks=$((checks + 1)) subs=0
for sub in $("$ISOFLOP" help --markdown | sed -n 's/^## isoflop plan \([a-z]\)/\1/p'); do
  subs=$((subs + 1))
  case " $seen " in *" $sub "*) ;; *) fail "plan $sub is not looked at" ;; esac
done
[ "$subs" -gt 15 ] || fail "only $subs subverbs of plan found"

# The table has them too.
run $E_OK plan infer --model llama3-8b --device h100 --prompt 50k --output 1k --slo itl=30ms
for row in 'advised batch' 'least energy a token' 'shadow price' 'first token'; do out_has "^$row +.*\(.* to .*\)"; done
out_has '^intervals +90%'
run $E_OK plan pools --data pools.csv --budgets 128M --bootstrap 25 --starts 20
out_has '^held back by the samples: 1% more'
finish
