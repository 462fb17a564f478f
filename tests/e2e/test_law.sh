#!/bin/sh
# isoflop law: the list, what one law says, predictions with published constants, and what is refused.
# ctest: timeout=120 asan
. "$(dirname "$0")/lib.sh"
E_UNAVAILABLE=7

help_ok law
run $E_OK law list
out_has '^chinchilla +loss +params, tokens +published'
err_empty
run $E_OK law list --json
json 'any(l["law"] == "chinchilla" and l["confirmed"] and l["inputs"] == ["params", "tokens"] and "2203.15556" in l["paper"] for l in j["laws"])'
cp "$OUT" list

# Every law passes its selftest, states its conventions and where each set comes from.
for law in $(json_get '" ".join(l["law"] for l in j["laws"])' list); do
  run $E_OK law show "$law" --json
  json 'j["selftest"] == "passed" and j["conventions"]["counts"] and all(s["source"] for s in j["sets"]) and len(j["inputs"]) >= 1'
  json 'all(len(s["params"]) == len(j["params"]) for s in j["sets"])'
  run $E_OK law show "$law"
  out_has '^selftest +passed'
done

# The replication's worked numbers.
run $E_OK law show chinchilla --at params=70B,tokens=1.4T --flop 1e22 --json
json 'abs([s for s in j["sets"] if s["name"] == "besiroglu2024"][0]["prediction"] - 1.97341) < 2e-5'
json 'abs([s for s in j["sets"] if s["name"] == "besiroglu2024"][0]["optimum"]["params"] / 9.058e9 - 1) < 3e-4'
run $E_OK law show chinchilla --set hoffmann2022 --at 70B,1.4T
out_has 'loss = 1\.9[0-9]* nats per token'
out_has 'an extrapolation: 4.* times outside what its fit saw of'
out_lacks 'besiroglu'
run $E_OK law show chinchilla --flop 1e22
out_has 'optimum at C = 1e\+22 FLOP: params = 9\.0'

# Published allocations: Porian et al.'s last protocol gives 77 B parameters to 5.88e23 FLOP, Chinchilla's envelope 67 B to Gopher's budget.
run $E_OK law show allocation_params --at train_flop=5.88e23 --json
json 'abs([s for s in j["sets"] if s["name"] == "porian_tuned"][0]["prediction"] / 77e9 - 1) < 3e-3 and len(j["sets"]) == 8'
run $E_OK law show allocation-params --set chinchilla1 --at train_flop=5.76e23
out_has 'params = 6\.[67][0-9]*e\+10'
run $E_OK law show allocation_tokens --set llama3 --at train_flop=3.8e25
out_has 'tokens = 1\.655e\+13'

# Laws that are fitted, never invented: no predictions without runs; with runs, the top decade held out, peaks and optimal dimensions.
for law in benchmark_compute benchmark_loss rl reward_bon reward_rl shape gqa compressed filtering; do
  run $E_OK law show $law
  out_has '^no published constants: fit it'
done
run $E_UNAVAILABLE law show rl --at rl_compute=1000
err_has 'no published constants; fit it first'
run $E_UNAVAILABLE law show reward_bon --best samples
run $E_USAGE law show reward_bon --best kl
err_has 'no input called kl'
run 8 law show chinchilla --best tokens,params=70B --set hoffmann2022
err_has 'no best tokens between'
python3 - <<'PY'
import math
with open("scores.csv", "w") as f:
    print("train_flop,score,chance", file=f)
    for i in range(40):
        c = 10 ** (18 + 5 * i / 39)
        print("%r,%r,0.25" % (c, 0.25 + 0.7 / (1 + (5e21 / c) ** 0.4) + 0.004 * math.sin(37 * i)), file=f)
with open("bon.csv", "w") as f:
    print("n,gold_reward", file=f)
    for k in range(1, 11):
        n = 2**k
        d = math.sqrt(math.log(n) - (n - 1) / n)
        print("%d,%r" % (n, d * (0.9 - 0.2 * d)), file=f)
PY
run $E_OK fit scores.csv --law benchmark_compute --column ceiling=0.95 --holdout 'train_flop>1e22' --bootstrap 100 --json
json 'j["holdout"]["points"] == 8 and j["holdout"]["mean_abs_error"] < 0.01 and abs(j["fit"]["params"]["slope"]["value"] - 0.4) < 0.02'
json 'abs(math.log(j["fit"]["params"]["log_c50"]["exp"] / 5e21)) < 0.2'
run $E_OK fit bon.csv --law reward_bon --best samples --bootstrap 50 --json
json 'abs(math.log(j["best"]["at"]["mid"]) - (1 - 1 / j["best"]["at"]["mid"]) - 0.9**2 / 0.4**2) < 1e-6 and abs(j["best"]["reward"]["mid"] - 0.9**2 / 0.8) < 1e-9'
run $E_OK fit bon.csv --law reward_bon --best samples --bootstrap 50
out_has '^best samples'
run 8 fit bon.csv --law reward_bon --best samples --bootstrap 0 --max-reach 1.01 --rows 'n<100'
err_has 'no best samples between'
run $E_USAGE fit runs.csv --best samples
err_has 'needs --law'

# Errors of formats on N(0,1): Max 1960, and the smaller of two magnitudes in closed form.
run $E_OK law gmse uniform2 int4 e2m1 1:2 --json
json 'abs(j["formats"][0]["gmse"] - 0.1188) < 1e-4 and abs(j["formats"][3]["gmse"] - (0.5 - 1 / math.pi)) < 1e-9 and j["formats"][3]["scale"] is None'
run $E_OK law gmse uniform4 sparse0.5
out_has '^uniform4 +0\.01154'
run $E_USAGE law gmse int99
err_has 'K:M'
run $E_USAGE law gmse
run $E_USAGE law gmse int4 --flop 1e21

run $E_USAGE law show chincilla
err_has 'did you mean "chinchilla"'
run $E_USAGE law
run $E_USAGE law lst
err_has 'did you mean "list"'
run $E_USAGE law show
run $E_USAGE law list chinchilla
run $E_USAGE law show chinchilla --at params=70B
err_has 'needs tokens'
run $E_USAGE law show chinchilla --at params=70B,colour=3
err_has 'no input called colour'
run $E_USAGE law show chinchilla --at params=-1,tokens=1
run $E_USAGE law show chinchilla --set nobody
err_has 'besiroglu2024'
run $E_USAGE law show chinchilla --flop 3parsec
finish
