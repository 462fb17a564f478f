# Helpers for the end-to-end scripts, sourced first: run a command, look at its exit code, output, JSON and files.
#
# ctest sets ISOFLOP (the program) and ISO_BUILD (the build folder). Each script gets its own empty folder $T, which is also
# the working directory, and an empty $ISOFLOP_HOME in it; both are removed at the end. A script ends with `finish`.
set -u
# Python is started hundreds of times: the interpreter itself comes before a version manager's wrapper (0.1 s a start).
PATH=$(python3 -c 'import os, sys; print(os.path.dirname(sys.executable))'):$PATH || exit 1
: "${ISOFLOP:?set ISOFLOP to the program under test}"
ISOFLOP=$(cd "$(dirname "$ISOFLOP")" && pwd)/$(basename "$ISOFLOP")
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
T=$(mktemp -d "${TMPDIR:-/tmp}/isoflop-e2e.XXXXXX")
trap 'rm -rf "$T"' EXIT
trap 'exit 130' INT TERM
cd "$T" || exit 1
export ISOFLOP_HOME="$T/home" NO_COLOR=1 TERM=dumb LC_ALL=C
mkdir "$ISOFLOP_HOME"
OUT=$T/stdout ERR=$T/stderr CODE=0 LAST="" checks=0 failed=0

# Exit codes of the program, as INTERFACES and `isoflop help` state them.
E_OK=0 E_FAIL=1 E_USAGE=2

fail() {
  failed=$((failed + 1))
  echo "FAIL: $*"
  echo "  command: $LAST"
  echo "  exit code: $CODE"
  [ -s "$OUT" ] && head -c 2000 "$OUT" | sed 's/^/  stdout: /'
  [ -s "$ERR" ] && tail -c 2000 "$ERR" | sed 's/^/  stderr: /'
  return 0
}
skip() { echo "SKIPPED: $*"; exit 77; }
# The last line of every script: a script that checked nothing does not pass.
finish() {
  [ "$checks" -gt 0 ] || { echo "FAIL: no checks ran"; exit 1; }
  [ "$failed" -eq 0 ] || { echo "$failed of $checks checks failed"; exit 1; }
  echo "$checks checks"
  exit 0
}

# run CODE ARG...: isoflop ARG... must end with CODE ("any" for no expectation). Never hangs longer than $LIMIT seconds.
run() {
  want=$1
  shift
  LAST="isoflop $*"
  checks=$((checks + 1))
  timeout -k 5 "${LIMIT:-120}" "$ISOFLOP" "$@" >"$OUT" 2>"$ERR" </dev/null
  CODE=$?
  [ "$want" = any ] || [ "$CODE" = "$want" ] || fail "expected exit code $want"
}
# run_in FILE CODE ARG...: the same with FILE as standard input.
run_in() {
  input=$1 want=$2
  shift 2
  LAST="isoflop $* <$input"
  checks=$((checks + 1))
  timeout -k 5 "${LIMIT:-120}" "$ISOFLOP" "$@" >"$OUT" 2>"$ERR" <"$input"
  CODE=$?
  [ "$want" = any ] || [ "$CODE" = "$want" ] || fail "expected exit code $want"
}

# Extended regular expressions, looked for line by line.
out_has() { checks=$((checks + 1)); grep -Eq -- "$1" "$OUT" || fail "stdout lacks /$1/"; }
err_has() { checks=$((checks + 1)); grep -Eq -- "$1" "$ERR" || fail "stderr lacks /$1/"; }
out_lacks() { checks=$((checks + 1)); ! grep -Eq -- "$1" "$OUT" || fail "stdout has /$1/"; }
err_lacks() { checks=$((checks + 1)); ! grep -Eq -- "$1" "$ERR" || fail "stderr has /$1/"; }
out_empty() { checks=$((checks + 1)); [ ! -s "$OUT" ] || fail "stdout should be empty"; }
err_empty() { checks=$((checks + 1)); [ ! -s "$ERR" ] || fail "stderr should be empty"; }
file_there() { checks=$((checks + 1)); [ -s "$1" ] || fail "$1 is missing or empty"; }
file_gone() { checks=$((checks + 1)); [ ! -e "$1" ] || fail "$1 should not exist"; }
same_file() { checks=$((checks + 1)); cmp "$1" "$2" || fail "$1 and $2 differ"; }

# An interval, {"value", "lo", "hi"}, counts as its value, and still has its keys. For the Python of json and json_get.
INTERVAL='class Interval(float):
    def __new__(cls, o): return float.__new__(cls, o["value"])
    def __init__(self, o): self.o = o
    def __getitem__(self, key): return self.o[key]
    def __contains__(self, key): return key in self.o
    def get(self, key, other=None): return self.o.get(key, other)
def interval(o): return Interval(o) if {"value", "lo", "hi"} <= set(o) and isinstance(o["value"], (int, float)) else o'
# json EXPR [FILE]: a Python expression over the document `j` (or, with several lines, the list `lines`) in stdout or FILE must be true.
#   json 'j["params"] > 0 and "wall" in j["measured"]'
json() {
  checks=$((checks + 1))
  python3 -S - "$1" "${2:-$OUT}" "$INTERVAL" <<'PY' || fail "not true: $1"
import json, math, sys
exec(sys.argv[3])
def refuse(word): raise ValueError("not JSON: " + word)
text = open(sys.argv[2], encoding="utf-8").read()
try:
    lines = [json.loads(l, parse_constant=refuse, object_hook=interval) for l in text.splitlines() if l.strip()]
except ValueError:
    try:
        lines = [json.loads(text, parse_constant=refuse, object_hook=interval)]
    except ValueError as e:
        sys.exit("  %s" % e)
if not lines:
    sys.exit("  no JSON: empty")
j = lines[-1]
try:
    ok = eval(sys.argv[1], {"j": j, "lines": lines, "math": math})
except (KeyError, IndexError, TypeError) as e:
    print("  %s: %s" % (type(e).__name__, e))
    ok = False
if not ok:
    print("  document: " + json.dumps(j)[:1500])
sys.exit(0 if ok else 1)
PY
}
# json_get EXPR [FILE]: prints the value, for use in a shell variable.
json_get() {
  python3 -S -c 'import json, sys
exec(sys.argv[3])
j = json.loads(open(sys.argv[2], encoding="utf-8").read().strip().splitlines()[-1], object_hook=interval)
print(eval(sys.argv[1]))' "$1" "${2:-$OUT}" "$INTERVAL"
}

# help_ok VERB [SUBVERB]: --help prints to stdout, opens with runnable examples, and ends with 0; an unknown flag is a usage error that names it.
help_ok() {
  run $E_OK "$@" --help
  out_has "^ *(\\$ )?isoflop $*"
  err_empty
  run $E_USAGE "$@" --no-such-flag
  err_has "no-such-flag"
  out_empty
}
# A small English text for quick runs: words of a fixed pseudo-random sequence, BYTES long at least.
small_text() {
  awk -v want="$2" 'BEGIN {
    n = split("the a of and to in is that it was for on are as with his they at be this from have or by one had not but what all were when we there can an your which their said if do will each about how up out them", w, " ")
    s = 12345
    while (size < want) {
      line = ""
      for (i = 0; i < 12; i++) { s = (s * 1103515245 + 12345) % 2147483648; line = line w[int(s / 65536) % n + 1] (i < 11 ? " " : ".") }
      print line
      size += length(line) + 1
    }
  }' >"$1"
}
