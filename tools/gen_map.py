#!/usr/bin/env python3
# Writes docs/MAP.md: the first line of every source file, in reading order.
# usage: tools/gen_map.py [--check]
import os
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
OUT = "docs/MAP.md"
ENDINGS = (".h", ".c", ".def")
TAIL = (("include", "The installed header"), ("examples", "Programs built from isoflop.h alone"), ("bench", "Benchmarks beside peers"))


def layers():
    with open(os.path.join(ROOT, "tools/layers.txt"), encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                yield line.strip().split(None, 2)


def files(folder, endings):
    found = []
    for top, subs, names in os.walk(os.path.join(ROOT, folder)):
        subs.sort()
        found += [os.path.relpath(os.path.join(top, n), ROOT) for n in names if n.endswith(endings)]
    # A header before the file that implements it, files of the folder itself before its sub-folders.
    return sorted(found, key=lambda p: (p.count("/"), os.path.dirname(p), os.path.splitext(p)[0], -ord(p[-1])))


def purpose(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        line = f.readline()
        if line.startswith("#!"):
            line = f.readline()
    return line.strip().lstrip('/#"').rstrip('"').strip()


def section(title, folder, endings):
    found = files(folder, endings)
    if not found:
        return []
    lines = [f"## {title}", ""]
    lines += [f"- [{os.path.relpath(p, folder)}](../{p}): {purpose(p)}" for p in found]
    return lines + [""]


def build():
    lines = ["# Map", "", "The first line of every source file, bottom layer first. Written by `tools/gen_map.py`; do not edit.", ""]
    for number, folder, holds in layers():
        lines += section(f"{number} src/{folder}: {holds}", f"src/{folder}", ENDINGS)
    for folder, title in TAIL:
        lines += section(f"{folder}: {title}", folder, ENDINGS + (".py", ".sh"))
    return "\n".join(lines).rstrip("\n") + "\n"


def main():
    want, path = build(), os.path.join(ROOT, OUT)
    if "--check" not in sys.argv[1:]:
        with open(path, "w", encoding="utf-8") as f:
            f.write(want)
        return 0
    have = open(path, encoding="utf-8").read() if os.path.exists(path) else ""
    if have == want:
        return 0
    a, b = set(have.split("\n")), set(want.split("\n"))
    print(f"{OUT} is out of date; run 'make docs'")
    for line in sorted(b - a):
        print("  missing:", line)
    for line in sorted(a - b):
        print("  stale:  ", line)
    return 1


if __name__ == "__main__":
    sys.exit(main())
