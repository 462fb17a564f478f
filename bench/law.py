"""Trains the recipe over a grid of sizes and token counts and fits the law that isoflop ships. usage: law.py ISOFLOP TEXT [--fit-only RUNS.jsonl] | law.py --floors

Two runs at a time, one thread each, some 50 minutes on two cores; prints each run, then the constants of src/loop/recipe.c. Needs SciPy.
--floors fits the coupled form with an irreducible term to the shipped law at the grid's runs: how little they tell it, and the constants with it.
"""
import json, math, os, subprocess, sys, tempfile
from concurrent.futures import ThreadPoolExecutor

SHAPES = {"2x32": (2, 32, 32, 96), "2x48": (2, 48, 16, 128), "2x64": (2, 64, 32, 192), "4x96": (4, 96, 32, 256), "4x128": (4, 128, 32, 352), "5x160": (5, 160, 32, 448), "6x192": (6, 192, 64, 512)}
GRID = [(n, d) for d in (.3, .6, 1.2, 2.5, 5, 10) for n in SHAPES if d <= {"2x32": 2.5, "2x48": 2.5, "6x192": 1.2, "5x160": 5}.get(n, 10)]
VOCAB, CTX = 2048, 256
SHIPPED = 14.594512, .822689, 15.951281, 82298, .229382  # log_n0, a, log_d0, d1, b


def config(name, tokens):
    """The recipe of src/loop/recipe.c."""
    layers, width, head, mlp = SHAPES[name]
    batch = max(1, int(max(1024, 1024 * math.sqrt(tokens / 4e6))) // CTX)
    steps = int(tokens // (batch * CTX))
    rate = 1e-2 * (width / 128) ** -.5
    model = dict(arch="llama", vocab=VOCAB, width=width, layers=layers, heads=width // head, kv_heads=width // head, head_dim=head, mlp=mlp, ctx=CTX,
                 tied=True, norm_eps=1e-5, rope_theta=10000.0)
    return dict(model=model, options=dict(optim="muon", schedule="wsd", lr=rate, muon_lr=rate, momentum=.85, decay=.7, weight_decay=.1, batch=batch, seq=CTX,
                                          steps=steps, warmup=max(10, min(steps // 50, 500)), seed=int(tokens / 1e5)))


def run(program, home, name, millions):
    with tempfile.TemporaryDirectory(dir=home) as out:
        job = config(name, millions * 1e6)
        with open(out + "/job.json", "w") as f:
            json.dump(job, f)
        p = subprocess.run([program, "train", "--data", home + "/shards", "--config", out + "/job.json", "--threads", "1", "--out", out + "/m", "--json"],
                           capture_output=True, text=True, env=os.environ | {"HOME": home})
        if p.returncode:
            sys.exit(f"law.py: {name} {millions}M: {p.stderr.strip()[-300:]}")
        r = json.loads(p.stdout.strip().splitlines()[-1])
    row = {k: r[k] for k in ("params", "tokens", "bits_per_byte")} | dict(shape=name)
    print(json.dumps(row), flush=True)
    return row


def fit(rows):
    import numpy as np
    from scipy.optimize import least_squares
    n, d, l = (np.array([r[k] for r in rows], float) for k in ("params", "tokens", "bits_per_byte"))
    w = np.sqrt(np.clip(d / 1.2e6, .3, 1))  # the longer runs are what is asked for
    coupled = lambda p: (np.exp(p[0] - p[1] * np.log(n / 1e6)) + np.exp(p[2]) / (d / 1e6 + np.exp(p[3]))) ** p[4]
    plain = lambda p: np.exp(p[0]) + np.exp(p[1] - p[2] * np.log(n / 1e6)) + np.exp(p[3] - p[4] * np.log(d / 1e6))
    best = lambda f, x: least_squares(lambda p: w * (np.log(f(p)) - np.log(l)), x, loss="soft_l1", f_scale=.01, max_nfev=20000).x
    rms = lambda f, p: float(np.sqrt(np.mean((np.log(f(p)) - np.log(l)) ** 2)))
    c, q = best(coupled, [.5, .6, 1.5, -1.5, .3]), best(plain, [-1.5, .6, -.1, -.4, .4])
    print(json.dumps(dict(law="coupled", runs=len(rows), log_n0=c[0] / c[1] + math.log(1e6), a=c[1], log_d0=c[2] + math.log(1e6), d1=1e6 * math.exp(c[3]),
                          b=c[4], rms=rms(coupled, c))))
    print(json.dumps(dict(law="chinchilla", runs=len(rows), log_a=q[1] + q[2] * math.log(1e6), log_b=q[3] + q[4] * math.log(1e6), log_e=q[0], alpha=q[2],
                          beta=q[4], rms=rms(plain, q))))
    for r, x in sorted(zip(rows, np.log(l / coupled(c))), key=lambda v: (v[0]["params"], v[0]["tokens"])):
        print(json.dumps(r | dict(residual=float(x))))


def params(name):
    layers, width, _, mlp = SHAPES[name]
    return VOCAB * width + layers * (4 * width * width + 3 * width * mlp + 2 * width) + width


def floors():
    import numpy as np
    from scipy.optimize import least_squares
    n, d = np.array([params(s) for s, _ in GRID], float), np.array([1e6 * m for _, m in GRID])
    coupled = lambda p: (np.exp(p[0] - p[1] * np.log(n / 1e6)) + np.exp(p[2]) / (d / 1e6 + np.exp(p[3]))) ** p[4]
    log_n0, a, log_d0, d1, b = SHIPPED
    shipped = coupled([a * (log_n0 - math.log(1e6)), a, log_d0 - math.log(1e6), math.log(d1 / 1e6), b])
    w = np.sqrt(np.clip(d / 1.2e6, .3, 1))
    p = [a * (log_n0 - math.log(1e6)), a, log_d0 - math.log(1e6), math.log(d1 / 1e6), b]
    for e in (.2, .4, .6):
        p = least_squares(lambda q: w * np.log((e + coupled(q)) / shipped), p, max_nfev=20000, xtol=1e-12, ftol=1e-12).x
        r = np.log((e + coupled(p)) / shipped)
        print(json.dumps(dict(e=e, log_n0=p[0] / p[1] + math.log(1e6), a=p[1], log_d0=p[2] + math.log(1e6), d1=1e6 * math.exp(p[3]), b=p[4],
                              rms=float(np.sqrt(np.mean(r * r))), largest=float(abs(r).max()))))


def main():
    if sys.argv[1:] == ["--floors"]:
        return floors()
    if len(sys.argv) > 3 and sys.argv[3] == "--fit-only":
        return fit([json.loads(x) for x in open(sys.argv[4])])
    program, text = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    with tempfile.TemporaryDirectory() as home:
        subprocess.run([program, "data", "build", "--text", text, "--out", home + "/shards", "--vocab", str(VOCAB)], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, env=os.environ | {"HOME": home})
        with ThreadPoolExecutor(2) as pool:
            fit(list(pool.map(lambda j: run(program, home, *j), GRID)))


main()
