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
run $E_OK runs --kind nothing
out_has 'no runs'

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
