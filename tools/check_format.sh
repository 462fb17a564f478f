#!/bin/sh
# Fails when a C file differs from what clang-format makes of it; `--fix` formats in place.
# usage: tools/check_format.sh [--fix]
set -eu
cd "$(dirname "$0")/.."
mode="--dry-run -Werror"
[ "${1:-}" = --fix ] && mode=-i
find src include tests bench examples -name '*.[ch]' -print0 2>/dev/null | xargs -0 -r clang-format $mode || {
  echo "format: run 'make format'" >&2
  exit 1
}
