"""Runs isoflop demo over several seeds and grades its predictions: errors, interval coverage, overruns. usage: demo.py ISOFLOP [SEEDS] [SECONDS] [options]

Each run has an empty home. Errors compare the program's own predicted and measured; overruns count from process start to exit as
timed here, and outside_peak_b is the kernel's ru_maxrss, to hold against peak_ram. A value is [low, mean, high] or a number.
"""
import json, os, statistics, subprocess, sys, tempfile, time

program, seeds, seconds, extra = os.path.abspath(sys.argv[1]), int((sys.argv[2:3] or [8])[0]), float((sys.argv[3:4] or [90])[0]), sys.argv[4:]
RESOURCES = ("wall", "peak_ram", "bits_per_byte")


def mean(v):
    return v[1] if isinstance(v, list) else v


def one(seed):
    with tempfile.TemporaryDirectory() as home:
        t = time.monotonic()
        command = [program, "demo", "--budget", f"{seconds:g}s", "--seed", str(seed), "--json", *extra]
        p = subprocess.Popen(command, cwd=home, env=os.environ | {"HOME": home}, stdout=subprocess.PIPE, text=True)
        lines = p.stdout.read().strip().splitlines()
        _, status, usage = os.wait4(p.pid, 0)
        wall = time.monotonic() - t
    code = os.waitstatus_to_exitcode(status)
    if code or not lines:
        sys.exit(f"demo.py: seed {seed}: exit {code}")
    r = json.loads(lines[-1])
    row = dict(bench="demo", seed=seed, params=r.get("params"), tokens=r.get("tokens"), outside_wall_s=wall,
               outside_peak_b=usage.ru_maxrss * 1024, overrun_s=max(0.0, wall - seconds))
    for k in RESOURCES:
        guess = r["predicted"][k]
        truth = mean(r["measured"][k])
        row[k] = dict(predicted=guess, measured=truth, error=mean(guess) / truth - 1)
        if isinstance(guess, list):
            low, mid, high = guess
            row[k] |= dict(covered=low <= truth <= high, half_width=max(high - mid, mid - low) / mid)
    print(json.dumps(row), flush=True)
    return row


rows = [one(s) for s in range(seeds)]
out = dict(bench="demo", seeds=seeds, budget_s=seconds, overruns=sum(r["overrun_s"] > 0 for r in rows), worst_overrun_s=max(r["overrun_s"] for r in rows))
for k in RESOURCES:
    out[k] = dict(median_abs_error=statistics.median(abs(r[k]["error"]) for r in rows), covered=sum(r[k].get("covered", False) for r in rows),
                  widest_half_width=max(r[k].get("half_width", 0) for r in rows),
                  covered_by_4_percent=sum(r[k].get("covered", False) and r[k]["half_width"] <= .04 for r in rows))
out["met"] = (out["overruns"] == 0 and all(out[k]["median_abs_error"] <= .1 for k in ("wall", "peak_ram"))
              and out["bits_per_byte"]["covered_by_4_percent"] >= .75 * seeds)
print(json.dumps(out))
