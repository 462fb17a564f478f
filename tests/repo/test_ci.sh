#!/bin/sh
# Drives .ci/run with a scripted make and deps.sh: packages before make, ctest's count as the last line, make's exit code.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
bad=0
mkdir -p "$T/p/.ci" "$T/p/tools" "$T/bin"
cp "$root/.ci/run" "$T/p/.ci/run"
cat >"$T/p/tools/deps.sh" <<'X'
#!/bin/sh
echo "deps $*" >>"$LOG"
[ ! -e "$LOG.offline" ]
X
cat >"$T/bin/make" <<'X'
#!/bin/sh
echo "make $*" >>"$LOG"
[ -s "$LOG.says" ] && cat "$LOG.says"
[ ! -e "$LOG.fails" ] || { echo "make: *** [Makefile:40: check] Error 8" >&2; exit 2; }
X
chmod +x "$T/p/tools/deps.sh" "$T/bin/make"

# expect NAME CODE LAST: runs it; the exit code and the last line of what it prints
expect() {
  : >"$T/log"
  PATH="$T/bin:$PATH" LOG="$T/log" bash "$T/p/.ci/run" >"$T/out" 2>&1
  got=$?
  last=$(tail -n 1 "$T/out")
  [ $got = "$2" ] && [ "$last" = "$3" ] || { echo "FAIL: $1: exit code $got ($2), last line '$last' ('$3')"; cat "$T/out"; bad=1; }
}
printf '\n100%% tests passed, 0 tests failed out of 3\n\nTotal Test time (real) = 1 sec\n\nThe following tests did not run:\n\t2 - b (Skipped)\n' >"$T/log.says"
expect passed 0 '100% tests passed, 0 tests failed out of 3'
[ "$(cat "$T/log")" = "deps build check
make --no-print-directory check" ] || { echo "FAIL: what ran:"; cat "$T/log"; bad=1; }
printf '\n67%% tests passed, 1 tests failed out of 3\n\nThe following tests FAILED:\n\t2 - b (Failed)\n' >"$T/log.says"
: >"$T/log.fails"
expect failed 2 '67% tests passed, 1 tests failed out of 3'
# A build that fails has no count to show, and is no success.
echo 'error: expected ;' >"$T/log.says"
expect broken 2 'make: *** [Makefile:40: check] Error 8'
: >"$T/log.offline"
expect offline 1 ''
grep -q make "$T/log" && { echo "FAIL: offline: make ran without its packages"; bad=1; }
[ $bad = 0 ] && echo ".ci/run behaves"
exit $bad
