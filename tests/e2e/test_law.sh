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
