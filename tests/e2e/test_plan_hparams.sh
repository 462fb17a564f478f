#!/bin/sh
# isoflop plan hparams: values of the registered laws, their spread, the batch given or chosen, and wrong calls.
# ctest: timeout=120 asan
. "$(dirname "$0")/lib.sh"

help_ok plan hparams
# Step Law at 1e9 parameters and 1e11 tokens: rate 1.6325e-3, batch 1.1077e6 tokens (Li et al. 2025, arXiv:2503.04715).
run $E_OK plan hparams --params 1e9 --tokens 1e11 --json
json 'j["kind"] == "hparams" and j["train_flop"] == 6e20'
json '[abs(l["value"] / 1.6325e-3 - 1) < 1e-3 for l in j["laws"] if l["law"] == "step_lr" and l["set"] == "li2025"] == [True]'
json '[abs(l["value"] / 1.1077e6 - 1) < 1e-3 for l in j["laws"] if l["law"] == "step_batch" and l["set"] == "li2025"] == [True]'
# DeepSeek's rules at 6e20 FLOP: 0.3118 C^-0.125 and 0.2920 C^0.3271.
json '[abs(l["value"] / (0.3118 * 6e20 ** -0.125) - 1) < 1e-6 for l in j["laws"] if l["law"] == "budget_lr" and l["set"] == "deepseek2024"] == [True]'
json 'all(j[k]["lo"] <= j[k]["value"] <= j[k]["hi"] for k in ("lr", "batch_tokens", "weight_decay", "beta2"))'
json 'j["lr"]["laws"] >= 2 and all(j["lr"]["lo"] <= l["value"] <= j["lr"]["hi"] for l in j["laws"] if l["for"] == "lr" and l["used"])'
# The batch is a power of two of sequences near the laws' mean; the decay keeps its law's timescale at the chosen rate and batch.
json 'j["batch"]["sequences"] & (j["batch"]["sequences"] - 1) == 0 and abs(math.log2(j["batch"]["tokens"] / j["batch_tokens"]["value"])) <= 0.5'
json 'abs(j["timescale_of_decay"] / (1.084 * 100 ** -0.527) - 1) < 1e-3'
# Nothing that is not confirmed is used; every law names its paper.
json 'all(l["why_not"] and not l["used"] for l in j["laws"] if l["value"] is None) and all(l["paper"] for l in j["laws"])'
json 'abs(j["beta2"]["value"] / 0.95 ** (j["batch"]["tokens"] / 4e6) - 1) < 1e-9'
json 'j["sensitivity"]["twice_the_params"]["lr"]["value"] < j["lr"]["value"]'
wd=$(json_get 'j["weight_decay"]["value"] / j["batch"]["tokens"]')

# A batch of one's own: the decay follows in proportion.
run $E_OK plan hparams --params 1e9 --tokens 1e11 --batch 4Mtok --json
json "j['batch']['given'] and j['batch']['sequences'] == 2048 and abs(j['weight_decay']['value'] / j['batch']['tokens'] / $wd - 1) < 1e-6"
run $E_OK plan hparams --params 1e9 --tokens 1e11 --experts --json
json 'all("moe" in l["set"] for l in j["laws"] if l["used"] and l["for"] == "lr")'
run $E_OK plan hparams --model llama3-8b --tokens 1Ttok
out_has '^learning rate +[0-9.e-]+ \('
out_has '^published nearby +LLaMA 7B'
out_has '^batch +[0-9]+ sequences of 2048'
err_empty

run $E_USAGE plan hparams --params 1e9
err_has 'tokens'
run $E_USAGE plan hparams --tokens 1e9
err_has 'params'
run $E_USAGE plan hparams --params 1e9 --model llama3-8b --tokens 1e9
run $E_USAGE plan hparams --params 0 --tokens 1e9
run $E_USAGE plan hparams --params 1e30 --tokens 1e9
run $E_USAGE plan hparams --params 1e9 --tokens 5min
run $E_USAGE plan hparams --model lama-7b --tokens 1e9
err_has 'did you mean'
run $E_USAGE plan hparams --params 1e9 --tokens 1e3
err_has 'less than one sequence of 2048'
finish
