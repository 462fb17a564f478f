"""Bootstrap resamples of a scaling-law CSV, and a check of our refits of them against SciPy's.

usage: fit.py make CSV RESAMPLES [N]       one resample a line: row numbers in ascending order of loss, the five highest losses left out
       fit.py check CSV RESAMPLES OURS     OURS: JSON lines {"resample": i, "objective": f}

log L = logsumexp(ln A - alpha ln N, ln B - beta ln D, ln E), D = C / 6N; objective: Huber loss (delta 1e-3) of the log residuals, summed.
"""
import csv, json, os, sys
os.environ["OMP_NUM_THREADS"] = "1"
import numpy as np
from scipy.optimize import minimize

DELTA, TOLERANCE = 1e-3, 1e-7


def load(path):
    with open(path) as f:
        rows = [(float(r["params"]), float(r["train_flops"]), float(r["loss"])) for r in csv.DictReader(f)]
    n, c, loss = np.array(rows).T
    return np.stack([np.log(n), np.log(c / (6 * n)), np.log(loss)]), np.argsort(loss, kind="stable")[:-5]


def objective(theta, x):
    a, b, e, alpha, beta = theta
    terms = np.stack([a - alpha * x[0], b - beta * x[1], np.full(x.shape[1], e)])
    pred = np.logaddexp.reduce(terms)
    r = pred - x[2]
    slope = np.clip(r, -DELTA, DELTA)
    w = np.exp(terms - pred) * slope  # d objective / d term
    return float((slope * (r - slope / 2)).sum()), np.array([w[0].sum(), w[1].sum(), w[2].sum(), -w[0] @ x[0], -w[1] @ x[1]])


def bfgs(start, x):
    return minimize(objective, start, args=(x,), jac=True, method="BFGS", options=dict(gtol=1e-8, maxiter=1000))


def make(path, out, n):
    kept, rng = load(path)[1], np.random.default_rng(0)
    with open(out, "w") as f:
        for _ in range(n):
            f.write(" ".join(map(str, rng.integers(0, len(kept), len(kept)))) + "\n")


def check(path, resamples, ours):
    data, kept = load(path)
    starts = [[a, b, .5, s, s] for a in (0, 5, 10) for b in (0, 5, 10) for s in (.3, .6)]
    full = min((bfgs(s, data[:, kept]) for s in starts), key=lambda r: r.fun)
    with open(ours) as f:
        fits = {r["resample"]: r for r in map(json.loads, f) if "resample" in r}
    worse, gap, count = 0, [], 0
    with open(resamples) as f:
        for i, line in enumerate(f):
            x = data[:, kept[list(map(int, line.split()))]]
            gap.append(fits[i]["objective"] - bfgs(full.x, x).fun)
            worse += gap[-1] > TOLERANCE
            count += 1
    print(json.dumps(dict(bench="fit-objective", resamples=count, worse_by_more_than_1e7=worse, better_by_more_than_1e7=int(sum(g < -TOLERANCE for g in gap)),
                          worst_gap=max(gap), best_gap=min(gap), scipy_full_objective=full.fun, scipy_full_theta=full.x.tolist(), met=worse == 0)))


if sys.argv[1] == "make":
    make(*sys.argv[2:4], int(sys.argv[4]) if len(sys.argv) > 4 else 4000)
else:
    check(*sys.argv[2:5])
