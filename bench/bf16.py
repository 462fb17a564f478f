"""Final held-out loss of bf16 training minus f32, over paired seeds. usage: bf16.py ISOFLOP TEXT [SEEDS] [STEPS] [MODEL]

The same model, text, seed and steps in both precisions; met when the 90% interval of the mean difference (Student's t) lies within 0.3% of the loss.
After 300 steps the difference of a pair is still that of the precisions; by 600 the two runs have drifted apart almost as far as two seeds.
"""
import json, os, statistics, subprocess, sys, tempfile

program, text = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
seeds, steps, model = int((sys.argv[3:4] or [5])[0]), (sys.argv[4:5] or ["300"])[0], (sys.argv[5:6] or ["4,128,4/4,352,2048,256"])[0]
T90 = {2: 6.314, 3: 2.920, 4: 2.353, 5: 2.132, 6: 2.015, 7: 1.943, 8: 1.895, 9: 1.860, 10: 1.833}  # two-sided, by number of pairs
if seeds not in T90:
    sys.exit(f"bf16.py: {seeds} seeds, from 2 to 10 are known")


def loss(home, data, precision, seed):
    out = os.path.join(home, f"{precision}-{seed}")
    p = subprocess.run([program, "train", "--data", data, "--model", model, "--steps", steps, "--seed", str(seed), "--precision", precision, "--out", out,
                        "--json"], capture_output=True, text=True, env=os.environ | {"HOME": home})
    if p.returncode:
        sys.exit(f"bf16.py: {p.stderr.strip()[-300:]}")
    return json.loads(p.stdout.strip().splitlines()[-1])["val_loss_nats"]


with tempfile.TemporaryDirectory() as home:
    data = os.path.join(home, "shards")
    subprocess.run([program, "data", "build", "--text", text, "--out", data, "--vocab", model.split(",")[4]], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, env=os.environ | {"HOME": home})
    rows = []
    for seed in range(seeds):
        row = dict(bench="bf16", seed=seed, **{p: loss(home, data, p, seed) for p in ("f32", "bf16")})
        rows.append(row)
        print(json.dumps(row), flush=True)
base = statistics.mean(r["f32"] for r in rows)
d = [r["bf16"] - r["f32"] for r in rows]
mid, half = statistics.mean(d), T90[seeds] * statistics.stdev(d) / seeds ** 0.5
print(json.dumps(dict(bench="bf16", model=model, steps=int(steps), seeds=seeds, f32_nats=base, difference=mid / base, low=(mid - half) / base,
                      high=(mid + half) / base, met=max(abs(mid - half), abs(mid + half)) <= 0.003 * base)))
