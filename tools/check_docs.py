#!/usr/bin/env python3
# Compares documentation with the program: docs/cli.md, and every block after <!-- run: isoflop ... --> in README.md and docs/*.md.
# usage: tools/check_docs.py [--write] PROGRAM
import difflib
import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
CLI = "docs/cli.md"
# The marker, then a fenced block that is the command's standard output.
BLOCK = re.compile(r"(<!-- run: (?P<cmd>.+?) -->\n+```[a-z]*\n)(?P<text>.*?)(?P<end>^```$)", re.S | re.M)


def output(program, command, home):
    argv = shlex.split(command)
    if not argv or argv[0] != "isoflop":
        raise ValueError(f"'{command}': a documented command starts with 'isoflop'")
    env = dict(os.environ, ISOFLOP_HOME=home, NO_COLOR="1", TERM="dumb", COLUMNS="100")
    done = subprocess.run([program] + argv[1:], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise ValueError(f"'{command}' ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout if done.stdout.endswith("\n") else done.stdout + "\n"


def renew(path, have, program, home):
    if path == CLI:
        have = output(program, "isoflop help --markdown", home)
    marks = have.count("<!-- run: ")
    blocks = list(BLOCK.finditer(have))
    if marks != len(blocks):
        raise ValueError(f"{marks} 'run' markers but {len(blocks)} are followed by a fenced block")
    return BLOCK.sub(lambda m: m.group(1) + output(program, m.group("cmd"), home) + m.group("end"), have)


def main():
    args = [a for a in sys.argv[1:] if a != "--write"]
    if len(args) != 1:
        print("usage: tools/check_docs.py [--write] PROGRAM", file=sys.stderr)
        return 2
    write, program, bad = "--write" in sys.argv[1:], os.path.abspath(args[0]), 0
    os.chdir(ROOT)
    paths = sorted({CLI, *glob.glob("*.md"), *glob.glob("docs/*.md")})
    with tempfile.TemporaryDirectory() as home:
        for path in paths:
            have = open(path, encoding="utf-8").read() if os.path.exists(path) else ""
            try:
                want = renew(path, have, program, home)
            except ValueError as e:
                print(f"{path}: {e}")
                bad = 1
                continue
            if want == have:
                continue
            if write:
                with open(path, "w", encoding="utf-8") as f:
                    f.write(want)
                continue
            bad = 1
            print(f"{path} differs from what the program prints; run 'make docs'")
            sys.stdout.writelines(difflib.unified_diff(have.splitlines(True), want.splitlines(True), path, "program"))
    return bad


if __name__ == "__main__":
    sys.exit(main())
