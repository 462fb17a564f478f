#!/usr/bin/env python3
# Enforces the layer table (layers.txt) and the file rules of CONTRIBUTING.md over the source tree and its object files.
# usage: tools/check_layers.py [--objects BUILD_DIR] [ROOT]
import argparse
import os
import re
import subprocess
import sys

MAX_LINES, MAX_FUNCTION = 1000, 80
MUTABLE_OK = {"src/base/log.c"}  # the only place for mutable file-scope data
PUBLIC_OK = {"api", "cli"}  # may include isoflop.h
CODE = ("src", "include", "tests", "bench", "examples")
SCRIPTS = ("tools", "cmake", "tests", "bench")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
BARE_INLINE = re.compile(r"^(extern\s+)?(inline|__inline__)\b")
FAST_MATH = re.compile(r"-ffast-math|-Ofast|-funsafe-math|-ffinite-math|optimize\(.*fast|\bfloat_control\b")
UNDONE = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def load_layers(root):
    layers = {}
    with open(os.path.join(root, "tools/layers.txt"), encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                number, folder, _ = line.split(None, 2)
                layers[folder] = int(number)
    return layers


def walk(root, folders, endings):
    for top in folders:
        for folder, subs, names in os.walk(os.path.join(root, top)):
            subs[:] = sorted(s for s in subs if s not in ("corpus", "__pycache__"))
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.relpath(os.path.join(folder, name), root)


def check_includes(path, lines, layers, problems):
    parts = path.split("/")
    own = parts[1]
    if len(parts) < 3 or own not in layers:
        problems.append(f"{path}:1: not in a folder of tools/layers.txt; add a line there and to the table in docs/decisions.md")
        return
    for at, line in enumerate(lines, 1):
        m = INCLUDE.match(line)
        if not m:
            continue
        inc = m.group(1)
        if "/" not in inc:
            if inc.startswith("gen_") or (inc == "isoflop.h" and own in PUBLIC_OK):
                continue
            problems.append(f'{path}:{at}: "{inc}": write "layer/file.h", relative to src/')
            continue
        other = inc.split("/")[0]
        if other not in layers:
            problems.append(f'{path}:{at}: "{inc}": no such layer')
        elif other != own and layers[other] >= layers[own]:
            what = "a sibling" if layers[other] == layers[own] else "above it"
            problems.append(f'{path}:{at}: {own} (layer {layers[own]}) includes "{inc}" (layer {layers[other]}), {what}; take it as a callback or move it down')


def check_purpose(path, lines, problems):
    mark = "//" if path.endswith((".c", ".h", ".def", ".js")) else "#"
    first = 1 if lines and lines[0].startswith("#!") else 0
    line = lines[first].rstrip() if len(lines) > first else ""
    if path.endswith(".py") and re.match(r'^"""\S', line):
        return
    if not re.match(re.escape(mark) + r" \S.*[.!?)]$", line):
        problems.append(f"{path}:{first + 1}: the first line is one sentence of purpose: '{mark} What this file is for.'")


def long_functions(path, lines, warnings):
    start = None
    for at, line in enumerate(lines, 1):
        if start is None:
            # clang-format puts every function's opening brace at the end of its signature and its closing brace in column 0.
            if re.match(r"^(?!typedef|struct|enum|union|static const|const|#|//)\S?.*\)\s*\{\s*$", line) and not line.startswith(("  ", "}")):
                start = at
        elif line.startswith("}"):
            if at - start + 1 > MAX_FUNCTION:
                warnings.append(f"{path}:{start}: function of {at - start + 1} lines (the habit is {MAX_FUNCTION})")
            start = None


def check_sources(root, layers, problems, warnings):
    count = 0
    for path in walk(root, CODE, (".c", ".h", ".def")):
        with open(os.path.join(root, path), encoding="utf-8") as f:
            lines = f.read().split("\n")
        count += 1
        check_purpose(path, lines, problems)
        n = len(lines) - (lines[-1] == "")
        if n > MAX_LINES:
            problems.append(f"{path}: {n} lines; the limit is {MAX_LINES}, the habit 600")
        for at, line in enumerate(lines, 1):
            if FAST_MATH.search(line):
                problems.append(f"{path}:{at}: fast-math lets a NaN cost pass a budget check")
            if BARE_INLINE.match(line):
                problems.append(f"{path}:{at}: only 'static inline'")
            if UNDONE.search(line):
                problems.append(f"{path}:{at}: unfinished-work marker; do it or file an issue")
        if path.startswith("src/"):
            check_includes(path, lines, layers, problems)
        if path.startswith("examples/"):
            for at, line in enumerate(lines, 1):
                m = INCLUDE.match(line)
                if m and m.group(1) != "isoflop.h":
                    problems.append(f"{path}:{at}: examples include isoflop.h and system headers only")
        long_functions(path, lines, warnings)
    for path in walk(root, SCRIPTS, (".py", ".sh", ".cmake")):
        with open(os.path.join(root, path), encoding="utf-8") as f:
            check_purpose(path, f.read().split("\n"), problems)
    for path in ("CMakeLists.txt", "CMakePresets.json", "Makefile"):
        with open(os.path.join(root, path), encoding="utf-8") as f:
            for at, line in enumerate(f, 1):
                if FAST_MATH.search(line):
                    problems.append(f"{path}:{at}: fast-math lets a NaN cost pass a budget check")
    return count


def mutable_symbols(obj):
    """(section, symbol, bytes) of writable data in an object file; constants that need relocation are in .data.rel.ro."""
    table = subprocess.run(["objdump", "-t", obj], capture_output=True, text=True, check=True).stdout
    for line in table.splitlines():
        m = re.match(r"^[0-9a-f]+ (.{7}) (\S+)\s+([0-9a-f]+)\s+(?:\.hidden\s+)?(\S+)$", line)
        if not m or m.group(1)[6] not in "O ":
            continue
        section, size = m.group(2), int(m.group(3), 16)
        if size and re.match(r"^(\.data(?!\.rel\.ro)|\.bss|\.tdata|\.tbss|\*COM\*)", section):
            yield section, m.group(4), size


def check_objects(root, build, problems):
    count = 0
    for folder, _, names in os.walk(build):
        for name in sorted(names):
            obj = os.path.join(folder, name)
            m = re.search(r"/CMakeFiles/isoflop(?:_objs)?\.dir/(src/.*)\.o$", obj)
            if not m or not os.path.exists(os.path.join(root, m.group(1))):
                continue
            count += 1
            if m.group(1) in MUTABLE_OK:
                continue
            for section, symbol, size in mutable_symbols(obj):
                problems.append(f"{m.group(1)}: mutable file-scope '{symbol}' ({size} bytes in {section}); make it const or hang it on a handle")
    if count == 0:
        problems.append(f"{build}: no object files of src/ found; build first")
    return count


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--objects", metavar="BUILD_DIR", help="also look for mutable data in this build's object files (no sanitizers)")
    ap.add_argument("root", nargs="?", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    args = ap.parse_args()
    root = os.path.abspath(args.root)
    problems, warnings = [], []
    layers = load_layers(root)
    files = check_sources(root, layers, problems, warnings)
    objects = check_objects(root, os.path.abspath(args.objects), problems) if args.objects else 0
    for w in warnings:
        print("warning:", w)
    for p in problems:
        print("error:", p)
    print(f"{files} files, {objects} object files: {len(problems)} errors, {len(warnings)} warnings")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
