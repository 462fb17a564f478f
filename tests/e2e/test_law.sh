#!/bin/sh
# isoflop law: the list, what one law says, predictions with published constants, and what is refused.
# ctest: timeout=400 cost=6 asan
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
json '[s["runs"] for s in j["sets"]][:3] == ["epoch_chinchilla"] * 3 and j["sets"][-1]["name"] == "krajewski2024_dense"'
json 'abs([s for s in j["sets"] if s["name"] == "besiroglu2024"][0]["prediction"] - 1.97341) < 2e-5'
json 'abs([s for s in j["sets"] if s["name"] == "besiroglu2024"][0]["optimum"]["params"] / 9.058e9 - 1) < 3e-4'
run $E_OK law show chinchilla --set hoffmann2022 --at 70B,1.4T
out_has 'loss = 1\.9[0-9]* nats per token'
out_has 'an extrapolation: 4.* times outside what its fit saw of'
out_lacks 'besiroglu'
run $E_OK law show chinchilla --flop 1e22
out_has 'optimum at C = 1e\+22 FLOP: params = 9\.0'

# Mixtures of experts: tables of two papers, with another input beside the budget, and the size where routing stops helping.
run $E_OK law show moe_fine_grained --at params=4.43e9,tokens=4.28e9,granularity=8
out_has 'loss = 3\.10[89]'
run $E_OK law show moe_joint --flop 1e21 --at experts=8 --json
json 'abs(j["sets"][0]["optimum"]["params"] / 3.8e9 - 1) < 0.012 and abs(j["sets"][0]["optimum"]["tokens"] / 44.3e9 - 1) < 0.012'
run $E_OK law show moe_sparsity --at params=1e9,tokens=2e10,active_share=0.05 --json
json 'abs(j["sets"][0]["prediction"] - 2.77534) < 1e-5'
run $E_OK law show moe-leverage --at active_share=0.031,granularity=12,train_flop=1e22 --json
json 'abs(j["sets"][0]["prediction"] - 7.2) < 0.07'
# Hyperparameters by size, tokens or compute.
run $E_OK law show step_lr --at params=1e9,tokens=1e11 --set li2025 --json
json 'abs(j["sets"][0]["prediction"] / 1.6325e-3 - 1) < 1e-4 and j["sets"][0]["reach"] == 1'
run $E_OK law show critical_batch --at 2.4e10 --json
json 'abs(j["sets"][0]["prediction"] / 512 - 2610) < 2'
run $E_OK law show parscale --at params=1571472384,streams=4 --set parscale2025_pile
out_has 'loss = 1\.9062'
# Constants that no source confirms, or none at all: fitted first, and then they predict.
run $E_UNAVAILABLE law show farseer --at 1e9,2e10
err_has 'not confirmed'
err_has 'isoflop fit DATA.csv --law farseer'
run $E_UNAVAILABLE law show distillation --at params=1e9,tokens=2e10,teacher_loss=2.0,supervised_loss=2.4
run $E_UNAVAILABLE law show power_lines_batch --at 1e10
run $E_UNAVAILABLE law show batch_steps --at 1e6
err_has 'no published constants'
{
  echo batch_tokens,steps
  for b in 20000 50000 100000 200000 500000 1000000 2000000; do echo "$b,$((1000 + 500000000 / b))"; done
} >steps.csv
run $E_OK fit steps.csv --law batch_steps --json
json 'abs(j["fit"]["params"]["log_b_crit"]["exp"] / 5e5 - 1) < 1e-6 and abs(j["fit"]["params"]["log_s_min"]["exp"] / 1000 - 1) < 1e-6'
# Columns by obvious names, whatever the law calls its inputs.
python3 - <<'PY'
with open("obvious.csv", "w") as f:
    print("Num Parameters,Training Tokens,Test Loss", file=f)
    for i in range(30):
        n, d = 10 ** (7 + 0.1 * i), 10 ** (9 + (0.37 * i) % 3)
        print("%r,%r,%r" % (n, d, ((6.4e13 / n) ** (0.076 / 0.103) + 1.8e13 / d) ** 0.103), file=f)
PY
run $E_OK fit obvious.csv --law kaplan --bootstrap 0 --json
json 'abs(j["fit"]["params"]["alpha_n"]["value"] - 0.076) < 1e-5 and abs(j["fit"]["params"]["alpha_d"]["value"] - 0.103) < 1e-5'
json '[t["set"] for t in j["published_against_fit"]] == ["kaplan2020"] and j["published_against_fit"][0]["df"] == 4 and j["published_against_fit"][0]["chi2"] is None'
run $E_OK fit obvious.csv --law kaplan --bootstrap 100 --flop 1e20 --json
best=$(json_get 'j["optimum"]["loss"]["value"]')
run $E_OK fit obvious.csv --law kaplan --bootstrap 100 --target "$best" --json
json 'abs(j["reached"]["train_flop"]["value"] / 1e20 - 1) < 1e-6 and j["reached"]["train_flop"]["lo"] <= j["reached"]["train_flop"]["value"] <= j["reached"]["train_flop"]["hi"]'
run 8 fit obvious.csv --law kaplan --bootstrap 0 --target 1e-9
run $E_OK fit obvious.csv --method parametric --bootstrap 0 --json
json 'j["points"] == 30'
# Worked numbers of other papers.
run $E_OK law show kaplan --at 1.5e9,22e9
out_has 'loss = 2\.3125'
run $E_OK law show kaplan-batch --at loss=2 --set kaplan2020
out_has 'batch_tokens = 7\.371.*e\+06 tokens'
run $E_OK law show kaplan-n --at 175B --json
json 'abs(j["sets"][0]["prediction"] - 1.60439) < 1e-5'
run $E_OK law show kaplan-params --at train_flop=8.64e19
out_has 'params = 1\.3e\+09'
run $E_OK law show data-constrained --at params=6.34e9,tokens=242e9,unique_tokens=25e9 --flop 1e22 --json
json 'abs(j["sets"][0]["prediction"] - 2.2256440889984477) < 1e-7 and j["sets"][0]["optimum"]["loss"] < 2.2257'
run $E_OK law show data-constrained --at 6.34e9,242e9
out_lacks 'unique_tokens ='
run $E_OK law show overtraining --set gadre2024_rpj --at params=1439795200,tokens=921468928000
out_has 'loss = 2\.519'
out_has 'an extrapolation: 11[0-9] times outside what its fit saw of tokens'
out_has 'fitted on params 1\.05e\+07 to 4\.12e\+08'
out_has 'fitted on tokens 2\.1e\+08 to 8\.24e\+09'
run $E_OK law show vocab-size --at params=7e9,width=4096 --json
json '[int(s["prediction"]) for s in j["sets"]] == [62280, 67450]'
run $E_OK law show precision --at params=1e8,tokens=1e10,weight_bits=4,act_bits=8,kv_bits=8 --flop 1e19
out_has 'kumar2024_no_offsets  NOT CONFIRMED'
out_has 'not confirmed by a primary source'
out_has 'optimum at C = 1e\+19 FLOP'
run 7 law show precision-ptq --set kumar2024_no_offsets --at params=1e9,tokens=20e9,post_bits=4
err_has 'not confirmed'
run $E_OK law show precision-ptq --at params=1e9,tokens=20e9,post_bits=4
out_has 'loss_increase = 0\.0282'
run $E_USAGE law show kaplan-n --flop 1e22
err_has 'does not split a compute budget'
# Published allocations: Porian et al.'s last protocol gives 77 B parameters to 5.88e23 FLOP, Chinchilla's envelope 67 B to Gopher's budget.
run $E_OK law show allocation_params --at train_flop=5.88e23 --json
json 'abs([s for s in j["sets"] if s["name"] == "porian_tuned"][0]["prediction"] / 77e9 - 1) < 3e-3 and len(j["sets"]) == 19'
json 'abs([s for s in j["sets"] if s["name"] == "porian_tuned_attention"][0]["prediction"] / 94.5e9 - 1) < 3e-3'
run $E_OK law show allocation-params --set chinchilla1 --at train_flop=5.76e23
out_has 'params = 6\.[67][0-9]*e\+10'
run $E_OK law show allocation_tokens --set llama3 --at train_flop=3.8e25
out_has 'tokens = 1\.655e\+13'
# Llama 3's 402 B parameters by its own count of FLOPs: 6 N D has 383.
run $E_OK law show allocation_tokens --set llama3 --at train_flop=3.8e25 --json
json 'abs(3.8e25 / (6 * j["sets"][0]["prediction"]) / 402e9 - 1) < 0.05'
# The critical batch of Zhang et al. by tokens: 22.91 sequences of 512 at a million of them, and its table by parameters.
run $E_OK law show critical_batch --at 1e6 --json
json 'abs(j["sets"][0]["prediction"] / 512 / 22.91 - 1) < 0.01'
for row in 85e6:752 151e6:985 302e6:1365 1200e6:2610; do
  run $E_OK law show critical_batch_params --set zhang2024_chinchilla --at params=${row%:*} --json
  json "abs(j['sets'][0]['prediction'] / 512 - ${row#*:}) < 1"
done
# A run against a line: Cerebras-GPT's (arXiv:2304.03208), on which 5.984e22 FLOP have 1.5066 nats.
run $E_OK law show compute_only --set cerebras2023 --at train_flop=5.984e22 --observed 1.6 --json
json 'abs(j["sets"][0]["prediction"] - 1.5066) < 1e-9 and abs(j["sets"][0]["observed_over"] - (1.6 / 1.5066 - 1)) < 1e-9'
run $E_OK law show compute_only --set cerebras2023 --at train_flop=5.984e22 --observed 1.5
out_has 'observed 1\.5: 0\.44% below the law'
run $E_USAGE law show compute_only --observed 1.6
err_has 'needs --at'
run $E_USAGE law show compute_only --at train_flop=1e20 --observed much
# The published rounding of the replication, and its law asked with constants of one's own.
run $E_OK law show chinchilla --with E=1.8172,A=482.01,B=2085.43,alpha=0.3478,beta=0.3658 --at 70B,1.4T --json
json 'abs(j["sets"][0]["prediction"] - 1.97341) < 6e-4'

# Intervals where the uncertainty of the constants is published, and a word where it is not.
run $E_OK law show chinchilla --set besiroglu2024 --at 70B,1.4T --flop 1e22 --json
json '(lambda s: s["interval"]["lo"] < s["prediction"] == s["interval"]["value"] < s["interval"]["hi"] and s["interval"]["level"] == 0.9 and "4,000 bootstraps" in s["uncertainty"]["source"])(j["sets"][0])'
json '(lambda o: all(o["intervals"][k]["lo"] < o[k] < o["intervals"][k]["hi"] for k in ("params", "tokens", "tokens_per_param", "loss")))(j["sets"][0]["optimum"])'
json '(lambda f: f["lo"] < f["value"] < f["hi"] and abs(f["value"] - 0.5126) < 1e-4 and abs(f["hi"] - f["lo"] - 2 * 1.645 * 0.020) < 0.004)(j["sets"][0]["facts"]["exponent_params"])'
wide=$(json_get 'j["sets"][0]["interval"]["hi"] - j["sets"][0]["interval"]["lo"]')
run $E_OK law show chinchilla --set besiroglu2024 --at 70B,1.4T --level 0.5 --json
json 'abs((j["sets"][0]["interval"]["hi"] - j["sets"][0]["interval"]["lo"]) / '"$wide"' - 0.67449 / 1.64485) < 1e-3'
run $E_OK law show step_lr --at params=1e9,tokens=1e11 --set li2025_bootstrap --json
json 'abs(j["sets"][0]["interval"]["lo"] / 0.0015454 - 1) < 0.01 and abs(j["sets"][0]["interval"]["hi"] / 0.0017866 - 1) < 0.01'
run $E_OK law show kaplan --at 1.5e9,22e9 --json
json 'j["sets"][0]["interval"] is None and j["sets"][0]["uncertainty"] is None'
run $E_OK law show kaplan --at 1.5e9,22e9
out_has 'uncertainty: none published, so there are no intervals'
out_lacks '\(.* to .*90%\)'
# Slopes by inputs and constants, elasticity of substitution 0.762 at the optimum of the unrounded constants.
run $E_OK law show chinchilla --set hoffmann2022 --flop 5.76e23 --json
at=$(json_get '"%r,%r" % (j["sets"][0]["optimum"]["params"], j["sets"][0]["optimum"]["tokens"])')
run $E_OK law show chinchilla --set hoffmann2022 --at "$at" --json
json '(lambda s: abs(s["substitution"] - 0.762) < 5e-4 and abs(s["elasticities"]["params"] / s["elasticities"]["tokens"] - 1) < 1e-6 and abs(s["by_constant"]["log_e"] - 1.69337) < 1e-4)(j["sets"][0])'
json '(lambda s: abs(s["slopes"]["tokens"] * float("'"$at"'".split(",")[1]) / s["prediction"] / s["elasticities"]["tokens"] - 1) < 1e-9)(j["sets"][0])'
# Inverses: compute for a loss, an input for a value; what is never reached is said.
run $E_OK law show chinchilla --set besiroglu2024 --target 2.14050 --json
json 'abs(j["sets"][0]["reached"]["train_flop"] / 1e22 - 1) < 1e-3 and abs(j["sets"][0]["reached"]["params"] / 9.058e9 - 1) < 1e-3'
run $E_OK law show overtraining --set gadre2024_c4 --target 2.5 --solve tokens --at params=1e9 --json
tokens=$(json_get 'j["sets"][0]["reached"]["tokens"]')
run $E_OK law show overtraining --set gadre2024_c4 --at params=1e9,tokens="$tokens" --json
json 'abs(j["sets"][0]["prediction"] - 2.5) < 1e-9'
run 8 law show chinchilla --set besiroglu2024 --target 1.8
err_has '1.8 is not among them'
run $E_USAGE law show chinchilla --solve tokens
err_has 'says it'
run $E_USAGE law show chinchilla --target 2 --solve colour
run $E_OK law show kaplan-n --target 1.60439 --json
json 'abs(j["sets"][0]["reached"]["params"] / 175e9 - 1) < 1e-4'
run $E_USAGE law show step_lr --target 1e-3
err_has 'solve INPUT'
run $E_USAGE law show overtraining --target 2.5 --solve tokens
err_has 'needs params'
# Sardana et al.: the quality of a 7B model for 1e11 served tokens is cheapest at 6B on 1.18 times the tokens, 0.85% cheaper.
run $E_OK law show chinchilla --set sardana2024 --at params=7e9,tokens=276.4e9 --json
quality=$(json_get 'j["sets"][0]["prediction"]')
run $E_OK law show chinchilla --set sardana2024 --target "$quality" --serve 1e11 --json
json '(lambda l: abs(l["params"] / 6.000e9 - 1) < 1e-3 and abs(l["tokens"] / 325.0e9 - 1) < 1e-3 and abs(l["change"] + 0.0085) < 1e-4)(j["sets"][0]["lifetime"])'
json 'abs(j["sets"][0]["reached"]["params"] / 7e9 - 1) < 1e-3 and abs(j["sets"][0]["reached"]["tokens"] / 276.4e9 - 1) < 1e-3'
run $E_OK law show chinchilla --set sardana2024 --target "$quality" --serve 1e11
out_has 'with 1e\+11 tokens served: params = (6|6.00.|5.99.)e\+09, tokens = 3.25e\+11, .* -0.85% against'
run $E_USAGE law show chinchilla --serve 1e11
err_has 'needs --target'
# An input chosen with the sizes at a budget; the vocabulary's table with the size held.
run $E_OK law show moe_fine_grained --flop 2.95e18 --best granularity --json
json 'abs(j["sets"][0]["best"]["at"] - 10.55) < 0.01 and abs(j["sets"][0]["optimum"]["loss"] - 3.108) < 5e-4'
run $E_OK law show vocab --flop 7.052387e21 --best vocab,params=7e9,width=4096 --json
json 'abs(j["sets"][0]["best"]["at"] / 59547 - 1) < 1e-4'
# Constants of one's own: another row of a table, or all of a law that has none.
run $E_OK law show chinchilla --with E=1.69,A=406.4,B=410.7,alpha=0.34,beta=0.28 --at 280B,300B --json
json 'abs(j["sets"][0]["prediction"] - 1.99326) < 1e-5 and j["sets"][0]["name"] == "given" and j["sets"][0]["interval"] is None and len(j["sets"]) == 1'
run $E_OK law show reward_bon --with alpha=0.9,beta=0.2 --best samples --json
json 'abs(j["sets"][0]["facts"]["peak_reward"]["value"] - 1.0125) < 1e-9 and abs(j["sets"][0]["best"]["reward"] - 1.0125) < 1e-9'
run $E_OK law show rl --with R0=0.1,A=0.61,B=2,Cmid=3000 --at rl_compute=3000 --json
json 'abs(j["sets"][0]["prediction"] - 0.355) < 1e-12'
run $E_OK law show chinchilla --set hoffmann2022 --with alpha=0.34 --at 70B,1.4T --json
json 'abs(j["sets"][0]["constants"]["beta"] - 0.2849083) < 1e-9 and j["sets"][0]["params"]["alpha"] == 0.34'
run $E_USAGE law show rl --with R0=0.1,A=0.61 --at rl_compute=3000
err_has 'B is missing'
run $E_USAGE law show farseer --with a1=-0.1 --at 1e9,2e10
err_has 'no confirmed set'
run $E_USAGE law show chinchilla --with gamma=3
err_has 'no constant called gamma'
run $E_USAGE law show chinchilla --with A=-1
run $E_USAGE law show chinchilla --level 1
run $E_USAGE law list --level 0.5
# Facts: the size where routing stops helping, what repetition is worth, another paper's table.
run $E_OK law show moe_routing --at params=370M,experts=64 --json
json 'abs(j["sets"][0]["facts"]["cutoff_params"]["value"] / 783e9 - 1) < 0.02'
run $E_OK law show data-constrained --at params=1e6,tokens=16e9,unique_tokens=1e9 --json
json 'abs(j["sets"][0]["facts"]["effective_epochs"]["value"] - 10.58246) < 1e-5 and abs(j["sets"][0]["facts"]["token_efficiency"]["value"] - 0.66140) < 1e-5'
run $E_OK law show precision
out_has 'best_bits = 7\.00'

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
json 'abs(math.log(j["best"]["at"]["value"]) - (1 - 1 / j["best"]["at"]["value"]) - 0.9**2 / 0.4**2) < 1e-6 and abs(j["best"]["reward"]["value"] - 0.9**2 / 0.8) < 1e-9'
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
# All names are looked at before the first row is printed.
run $E_USAGE law gmse int4 nosuch
err_has 'nosuch'
out_empty
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
run $E_USAGE law show chinchila
err_has 'unknown law "chinchila"; did you mean "chinchilla"\? isoflop law list'
err_lacks 'kaplan'
run $E_USAGE law show chinchilla --set nobody
err_has 'besiroglu2024'
run $E_USAGE law show chinchilla --flop 3parsec
finish
