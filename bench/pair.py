"""Runs ours and its peers in turn (A B A B) and prints each measurement and the ratio of the medians as JSON lines.

usage: pair.py NAME --key KEY --ours CMD --peer LABEL REGEX EXPR CMD [--peer ...] [--select K=V ...] [--better low] [--target EXPR] [--rounds N]

Ours: the last JSON line of its output that holds KEY and agrees with every --select. A peer: the median of EXPR over every
match x of REGEX in its output; "json K=V ..." instead of a REGEX means that it prints such a JSON line too. ratio > 1 means that ours is
better (than the best peer). The target may use the keys of ours' last record, wall_s, ratio, and peer[KEY] of the last best peer.
A peer that fails is reported and left out; ours failing ends the script with 1.
"""
import argparse, json, os, re, statistics, subprocess, sys, time


def record(text, key, select):
    found = None
    for line in text.splitlines():
        try:
            r = json.loads(line)
        except ValueError:
            continue
        if isinstance(r, dict) and r.get(key) is not None and all(str(r.get(k)) == v for k, v in select):
            found = r
    return found


def run(cmd):
    t = time.monotonic()
    p = subprocess.run(cmd, shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
    return p, time.monotonic() - t


def measure(cmd, key, regex, expr):
    p, wall = run(cmd)
    if regex.split()[0] == "json":
        r = record(p.stdout, key, [s.split("=", 1) for s in regex.split()[1:]])
    else:
        xs = [eval(expr, {"x": float(x)}) for x in re.findall(regex, p.stdout)]
        r = {key: statistics.median(xs)} if xs else None
    if p.returncode or r is None:
        print(f"pair.py: exit {p.returncode}, {'no ' + key if r is None else key + ' found'}: {cmd}\n{p.stderr[-2000:]}", file=sys.stderr)
        return None
    return r | {"wall_s": round(wall, 3)}


def main():
    a = argparse.ArgumentParser(usage=__doc__)
    a.add_argument("name")
    a.add_argument("--key", required=True)
    a.add_argument("--ours", required=True)
    a.add_argument("--peer", nargs=4, action="append", required=True)
    a.add_argument("--select", nargs="*", default=[])
    a.add_argument("--better", choices=["high", "low"], default="high")
    a.add_argument("--target")
    a.add_argument("--rounds", type=int, default=2)
    a = a.parse_args()
    best = max if a.better == "high" else min
    ours, peers, last = [], {}, {}
    for i in range(a.rounds):
        for label, regex, expr, cmd in [("ours", " ".join(["json", *a.select]), "x", a.ours), *a.peer]:
            r = measure(cmd, a.key, regex, expr)
            print(json.dumps(dict(bench=a.name, round=i, side=label, load1=round(os.getloadavg()[0], 2)) | (r or {a.key: None})), flush=True)
            if label == "ours":
                if r is None:
                    sys.exit(1)
                ours.append(r)
            elif r:
                peers.setdefault(label, []).append(r[a.key])
                last[label] = r
    mine, theirs = statistics.median(r[a.key] for r in ours), {k: statistics.median(v) for k, v in peers.items()}
    out = dict(bench=a.name, key=a.key, better=a.better, ours=mine, peers=theirs, rounds=a.rounds)
    if theirs:
        label = best(theirs, key=theirs.get)
        out |= dict(best_peer=label, ratio=mine / theirs[label] if a.better == "high" else theirs[label] / mine)
        if a.target:
            try:
                met = bool(eval(a.target, ours[-1] | {"ratio": out["ratio"], "peer": last[label]}))
            except (NameError, KeyError) as e:
                met = f"unknown: {e}"
            out |= dict(target=a.target, met=met)
    print(json.dumps(out))


main()
