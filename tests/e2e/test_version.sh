#!/bin/sh
# isoflop version: what is this build, in text and JSON; and how a mistyped verb is answered.
# ctest: timeout=60 asan
. "$(dirname "$0")/lib.sh"

version=$(sed -n 's/^project(isoflop VERSION \([0-9.]*\).*/\1/p' "$ROOT/CMakeLists.txt")
run $E_OK version
out_has "^isoflop $version"
out_has "gcc|GNU|clang|Clang"
err_empty
cp "$OUT" "$T/text"
run $E_OK --version
same_file "$OUT" "$T/text"

run $E_OK version --json
json 'len(lines) == 1 and isinstance(j, dict)'
json "j['version'] == '$version'"
json 'all(isinstance(j[k], str) and j[k] for k in ("version", "rev", "compiler"))'

help_ok version
run $E_USAGE verison
err_has 'did you mean.*version'
out_empty
# Nothing is suggested that is not near.
run $E_USAGE bananas
err_has 'no verb "bananas"$'
err_lacks 'did you mean'
# Under --json a wrong call is answered in JSON too, whatever the verb, and wherever it is noticed.
error='set(j) == {"error"} and j["error"]["kind"] == "bad argument" and j["error"]["message"] and j["error"]["hint"].startswith("isoflop ")'
run $E_USAGE bananas --json
json "$error"
run $E_USAGE help bananas --json
json "$error"
"$ISOFLOP" help --markdown | sed -n 's/^## isoflop //p' >verbs
checks=$((checks + 1))
[ "$(wc -l <verbs)" -gt 25 ] || fail "only $(wc -l <verbs) verbs found"
while read -r verb; do
  # shellcheck disable=SC2086  # a subverb is two words
  run $E_USAGE $verb --no-such-option --json
  json "$error and 'no-such-option' in j['error']['message']"
done <verbs
run $E_USAGE plan infer --json --model
json "$error"
finish
