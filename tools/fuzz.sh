#!/bin/sh
# Runs every libFuzzer target of a build folder for a while, from the seeds in tests/fuzz/corpus/<thing>.
# usage: tools/fuzz.sh BUILD_DIR [SECONDS_EACH]
set -u
build=$(cd "$1" && pwd) || exit 2
seconds=${2:-60}
root=$(cd "$(dirname "$0")/.." && pwd)
bad="" ran=0
for target in "$build"/fuzz_*; do
  [ -f "$target" ] && [ -x "$target" ] || continue
  name=$(basename "$target" | sed 's/^fuzz_//')
  grown=$build/corpus/$name
  mkdir -p "$grown" "$build/crashes"
  seeds=""
  [ -d "$root/tests/fuzz/corpus/$name" ] && seeds=$root/tests/fuzz/corpus/$name
  echo "== $name: $seconds s"
  # shellcheck disable=SC2086
  "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$build/crashes/$name-" "$grown" $seeds || bad="$bad $name"
  ran=$((ran + 1))
done
[ $ran -gt 0 ] || { echo "fuzz: no targets in $build" >&2; exit 1; }
[ -z "$bad" ] || { echo "fuzz: failed:$bad; inputs are in $build/crashes" >&2; exit 1; }
echo "fuzz: $ran targets, nothing found"
