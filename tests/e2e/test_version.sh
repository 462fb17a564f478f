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
finish
