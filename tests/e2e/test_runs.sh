#!/bin/sh
# isoflop runs: the list of the store as a table and as JSON; stores that are none.
# ctest: timeout=60 asan
. "$(dirname "$0")/lib.sh"
E_INPUT=4 E_UNAVAILABLE=7

help_ok runs
run $E_OK runs
out_has 'no runs yet'
run $E_OK runs --json
json 'j == {"runs": []}'

small_text text.txt 20000
run $E_OK data build --text text.txt --out one --vocab 300 --quiet
run $E_OK data build --text text.txt --out two --vocab 300 --dry-run --quiet
run 3 data build --text text.txt --out two --vocab 300 --budget wall=1us --quiet
run $E_OK runs --json
json '[(r["kind"], r["status"]) for r in j["runs"]] == [("data", "failed"), ("plan", "done"), ("data", "done")]'
json '"data build" in j["runs"][2]["command"] and j["runs"][0]["id"] > j["runs"][1]["id"] > j["runs"][2]["id"]'
run $E_OK runs --kind data --limit 1 --json
json '[(r["kind"], r["status"]) for r in j["runs"]] == [("data", "failed")]'
run $E_OK runs --limit 0
out_has ' plan +done '
out_has ' data +failed '
err_empty
run $E_OK runs --kind demo
out_has 'no runs of this kind'
run $E_USAGE runs --kind nothing
err_has 'not one of demo'

# A store that cannot be written is read all the same; who wants to write is told where to. Root may write everything: it is not asked.
if [ "$(id -u)" != 0 ]; then
  chmod a-w home home/runs.db
  run $E_OK runs --kind data --limit 1 --json
  json '[r["status"] for r in j["runs"]] == ["failed"]'
  run 4 data build --text text.txt --out two --vocab 300
  err_has 'readonly'
  err_has 'ISOFLOP_HOME'
  chmod u+w home home/runs.db
fi

# What cannot be written to standard output is no success.
if [ -c /dev/full ]; then
  LAST="isoflop version >/dev/full" checks=$((checks + 1))
  "$ISOFLOP" version >/dev/full 2>"$ERR"
  CODE=$?
  [ $CODE = 6 ] || fail "a full disk ends with 6"
  err_has 'standard output cannot be written: No space'
fi

# A store elsewhere, and files that are none.
run $E_OK data build --text text.txt --out two --vocab 300 --store other.db --quiet
run $E_OK runs --store other.db --json
json 'len(j["runs"]) == 1'
run $E_INPUT runs --store nowhere.db
err_has 'nowhere.db'
file_gone nowhere.db
run $E_INPUT runs --store text.txt
err_has 'text.txt'
out_empty
run $E_USAGE runs --knd data
err_has 'did you mean --kind'
run $E_USAGE runs extra
run $E_USAGE runs --limit x
finish
