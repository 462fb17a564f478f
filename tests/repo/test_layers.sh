#!/bin/sh
# Plants one violation of each rule in a small tree and demands that tools/check_layers.py names it.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
bad=0

fresh() {
  rm -rf "$T/tree"
  mkdir -p "$T/tree/tools" "$T/tree/src/base" "$T/tree/src/kern" "$T/tree/src/text" "$T/tree/src/graph" "$T/tree/src/cli" "$T/tree/examples"
  cp "$root/tools/layers.txt" "$T/tree/tools/"
  : >"$T/tree/Makefile"
  : >"$T/tree/CMakeLists.txt"
  : >"$T/tree/CMakePresets.json"
  printf '// A good file.\n#include "base/b.h"\n#include "kern/k.h"\nstatic const int one = 1;\nint k(void);\nint k(void) { return one; }\n' >"$T/tree/src/kern/k.c"
}
# expect NAME CODE PATTERN [ARG...]
expect() {
  name=$1 code=$2 pattern=$3
  shift 3
  out=$("$root/tools/check_layers.py" "$@" "$T/tree" 2>&1)
  got=$?
  if [ $got != "$code" ] || ! printf '%s\n' "$out" | grep -Eq "$pattern"; then
    echo "FAIL: $name: exit code $got, expected $code and /$pattern/ in:"
    printf '%s\n' "$out"
    bad=1
  fi
}
plant() { printf "$2" >"$T/tree/$1"; }

fresh; expect clean 0 '^1 files, 0 object files: 0 errors, 0 warnings'
fresh; plant src/kern/x.c '// X.\n#include "graph/g.h"\n'; expect upward 1 'src/kern/x.c:2: kern \(layer 2\) includes "graph/g.h" \(layer 3\), above'
fresh; plant src/kern/x.c '// X.\n#include "text/t.h"\n'; expect sibling 1 'x.c:2: .*sibling'
fresh; plant src/kern/x.c '// X.\n#include "k.h"\n'; expect bare_include 1 'x.c:2: "k.h": write'
fresh; plant src/kern/x.c '// X.\n#include "nosuch/k.h"\n'; expect unknown_layer 1 'x.c:2: .*no such layer'
fresh; plant src/kern/x.c '// X.\n#include "isoflop.h"\n'; expect public_below 1 'x.c:2: "isoflop.h"'
fresh; plant src/cli/x.c '// X.\n#include "isoflop.h"\n#include "gen_version.h"\n'; expect public_cli 0 ' 0 errors'
fresh; mkdir "$T/tree/src/odd"; plant src/odd/x.c '// X.\n'; expect unknown_folder 1 'src/odd/x.c:1: not in a folder'
fresh; plant src/kern/x.c '#include <math.h>\n'; expect no_purpose 1 'x.c:1: the first line'
fresh; plant src/kern/x.c '// no full stop\n'; expect no_sentence 1 'x.c:1: the first line'
fresh; { echo '// X.'; yes '' | head -1000; } >"$T/tree/src/kern/x.c"; expect too_long 1 'x.c: 1001 lines'
fresh; plant src/kern/x.c '// X.\n// TO''DO: later\n'; expect unfinished 1 'x.c:2: unfinished'
fresh; plant src/kern/x.c '// X.\ninline int f(void) { return 1; }\n'; expect bare_inline 1 "x.c:2: only 'static inline'"
fresh; plant CMakeLists.txt 'add_compile_options(-O3 -ffast''-math)\n'; expect fast_math 1 'CMakeLists.txt:1: fast-math'
fresh; plant examples/x.c '// X.\n#include "base/ctx.h"\n'; expect example_inside 1 'examples/x.c:2: examples include'
fresh; { printf '// X.\nint f(void) {\n'; yes '  g();' | head -90; echo '}'; } >"$T/tree/src/kern/x.c"; expect long_function 0 'warning: src/kern/x.c:2: function of 92 lines'

# Object files: constants and their relocated pointers are fine, writable data of any kind is not.
objects() {
  o=$T/tree/build/CMakeFiles/isoflop_objs.dir/src/kern
  mkdir -p "$o"
  ${CC:-cc} -fPIC -c "$T/tree/src/kern/$1" -o "$o/$1.o"
}
fresh; plant src/kern/x.c '// X.\nstatic const char *const names[] = {"a", "b"};\nconst char *f(int i);\nconst char *f(int i) { return names[i]; }\n'
objects x.c; expect const_table 0 '1 object files: 0 errors' --objects "$T/tree/build"
fresh; plant src/kern/x.c '// X.\nint f(void);\nint f(void) {\n  static int calls;\n  return ++calls;\n}\n'
objects x.c; expect bss 1 "x.c: mutable file-scope 'calls.*bss" --objects "$T/tree/build"
fresh; plant src/kern/x.c '// X.\nint shared = 3;\n'; objects x.c; expect data 1 "'shared'.*\.data" --objects "$T/tree/build"
fresh; plant src/kern/x.c '// X.\nconst char *f(void);\nstatic const char *name = "a";\nconst char *f(void) { return name ? name++ : 0; }\n'
objects x.c; expect data_rel 1 "'name'.*\.data\.rel" --objects "$T/tree/build"
fresh; plant src/kern/x.c '// X.\n_Thread_local int mine;\n'; objects x.c; expect tls 1 "'mine'.*\.tbss" --objects "$T/tree/build"
fresh; expect no_objects 1 'no object files' --objects "$T/tree/tools"
[ $bad = 0 ] && echo "all rules bite"
exit $bad
