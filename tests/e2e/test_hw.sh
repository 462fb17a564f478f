#!/bin/sh
# isoflop hw: the list, descriptors of three origins, tables fitted, saved and graded, and what bad files and calls get.
# ctest: serial timeout=300
. "$(dirname "$0")/lib.sh"
E_INPUT=4 E_UNAVAILABLE=7

help_ok hw
run $E_OK hw list
out_has '^a100-80 +NVIDIA +gpu +312 TFLOP/s +80 +2039 +400 +3\.67'
out_has '^tpu-v5e .* - +1\.20'
err_empty
run $E_OK hw list --json
json 'len(j["devices"]) >= 17 and not any(d["saved"] or d["tables"] for d in j["devices"])'
json 'all(len(d["source"]) > 10 and len(d["date"]) >= 4 for d in j["devices"])'
run $E_OK hw show H100
out_has '^device +h100-sxm'
out_has '^bf16 +989\.4 TFLOP/s'
out_has '^price .*AWS'
run $E_OK hw show a100 --json
json 'j["name"] == "a100-80" and j["peak_flop_s"]["bf16"] == 312e12 and "fp8" not in j["peak_flop_s"] and j["intra"]["b_s"] == 300e9 and j["tables"] == [] and j["estimates"] == []'
out_lacks '"model"'
run $E_OK hw show a100
out_has '^power by phase +idle 63 W, prefill and training 400 W, decode 250 W: Splitwise'
out_has '^share of the host +256 GB at 51\.2 GB/s, 412\.5 W: DGX A100'
run $E_OK hw show t4
out_has '^planners take +idle_w = 10\.5, model: 0\.15 of the design power'
run $E_OK hw show t4 --json
json 'j["idle_w"] is None and all(e["source"] == "model" for e in j["estimates"]) and "idle_w" in [e["key"] for e in j["estimates"]]'

# Tables of a device whose law is known: the interpolation finds it again.
python3 - <<'PY'
import math, random
random.seed(1)
P, B = 312e12, 2039e9
def write(name, header, rows):
    with open(name, "w") as f:
        print(header, file=f)
        for r in rows: print(",".join("%r" % v for v in r), file=f)
def law(flop, b, x): return 5e-6 + math.hypot(1.3 * flop / P, 1.2 * b / B) * math.exp(0.2 * math.sin(math.log2(x)) + random.gauss(0, 0.01))
rows = []
for i in range(400):
    m, n, k = (int(2 ** random.uniform(3, 13)) for _ in range(3))
    rows.append((m, n, k, 1e3 * law(2 * m * n * k, 2 * (m * k + k * n + m * n), m)))
write("gemm.csv", "m,n,k,time_ms", rows)
rows = []
for i in range(200):
    b, t, kv, g = (int(2 ** random.uniform(0, e)) for e in (5, 11, 4, 3))
    rows.append((b, t, kv * g, kv, 128, 1e6 * law(2 * b * kv * g * 128 * t * (t + 1), 4 * b * t * 128 * kv * (g + 1), t)))
write("attn.csv", "batch,tokens,heads,kv_heads,head_dim,time_us", rows)
rows = []
for g in (2, 4, 8):
    for i in range(30):
        b = 4096 * 2 ** (i / 2)
        b = int(b)
        w = 2 * b * (g - 1) / g / 300e9
        rows.append((b, round(1e9 * (8e-6 + 1e-6 * (g - 1) + 1.25 * w)), g))
write("ar.csv", "bytes,time_ns,gpus", rows)
PY
run $E_OK hw test a100 --gemm gemm.csv --json
json 'j["n"] == 200 and j["fitted"] == 200 and j["kind"] == "gemm" and j["median_error"] < 0.06 and j["p90_error"] < 0.2 and j["mape"] > 0'
json 'len(j["worst"]) == 10 and set(j["worst"][0]["shape"]) == {"m", "n", "k"} and abs(j["worst"][0]["error"]) >= abs(j["worst"][9]["error"])'
json 'all(abs(w["predicted_s"] / w["measured_s"] - 1 - w["error"]) < 1e-9 for w in j["worst"])'
cp "$OUT" first
run $E_OK hw test a100 --gemm gemm.csv --json --threads 1
same_file first "$OUT"
run $E_OK hw test a100 --gemm gemm.csv --seed 3
out_has '^calibrated on +200 rows: a random half, seed 3'
out_has '^median error +[0-9.]+%'
out_has '^ +line +measured us'
run $E_OK hw test a100 --attention prefill:attn.csv --json
json 'j["kind"] == "prefill" and j["n"] == 100 and j["median_error"] < 0.12'
run $E_OK hw test a100 --allreduce ar.csv --above 1MiB --json
json 'j["kind"] == "collective" and j["mape"] < 0.02 and j["n"] > 30 and "1MiB" in j["calibrated_on"]'

run $E_OK hw fit a100 --gemm gemm.csv --attention prefill:attn.csv --allreduce ar.csv --json
json 'j["name"] == "a100-80" and [t["kind"] for t in j["tables"]] == ["gemm", "prefill", "collective"] and j["tables"][0]["rows"] == 400'
json 'all(0 <= t["median_error"] <= t["p90_error"] for t in j["tables"])'
file_there "$ISOFLOP_HOME/hw/a100-80.device.json"
run $E_OK hw list
out_has '^a100-80 .* saved gemm prefill collective$'
run $E_OK hw show a100-80gb
out_has '^gemm +400 rows of gemm.csv, fitted 20'
run $E_OK hw test a100 --gemm gemm.csv --saved --json
json 'j["n"] == 400 and j["fitted"] == 400 and j["median_error"] < 0.02 and "saved" in j["calibrated_on"]'
# Another fit replaces its own kind only.
run $E_OK hw fit a100 --gemm gemm.csv gemm.csv
out_has '800 rows of gemm.csv, gemm.csv'
run $E_OK hw show a100 --json
json 'len(j["tables"]) == 3 and len(j["tables"][0]["rows"]["m"]) == 800'
cp "$OUT" mine.json

# A descriptor of the user's own, and this machine.
run $E_OK hw add card --from mine.json
run $E_OK hw show card --json
json 'j["name"] == "card" and j["mem_b"] == 80e9 and len(j["tables"]) == 3'
run $E_OK hw show ./mine.json
out_has '^device +a100-80'
run $E_INPUT hw add box --from-calibration
err_has 'isoflop calibrate'
run $E_OK calibrate --quick --json
run $E_OK hw add box --from-calibration --json
json 'j["name"] == "box" and j["path"].endswith("hw/box.device.json")'
run $E_OK hw show box --json
json 'j["kind"] == "cpu" and j["peak_flop_s"]["f32"] > 1e8 and j["mem_b_s"] > 1e7 and "calibrate" in j["source"]'
run $E_OK hw list
out_has '^box .* saved'
out_has '^card .* saved gemm prefill collective$'

# Bad calls.
run $E_USAGE hw
run $E_USAGE hw lst
err_has 'did you mean "list"'
run $E_USAGE hw show
run $E_USAGE hw show h10
err_has 'did you mean "h100-sxm"'
run $E_USAGE hw list h100
run $E_USAGE hw fit a100
err_has '--gemm'
run $E_USAGE hw show a100 --gemm gemm.csv
run $E_USAGE hw add a100 --from mine.json
err_has 'another name of a100-80'
run $E_USAGE hw add x
run $E_USAGE hw add x --from mine.json --from-calibration
run $E_USAGE hw add ../x --from mine.json
run $E_USAGE hw test a100 --attention attn.csv
err_has 'prefill:attn.csv or decode:attn.csv'
run $E_USAGE hw test a100 --gemm gemm.csv --allreduce ar.csv
run $E_USAGE hw test a100 --gemm gemm.csv --num bf15
err_has 'did you mean "bf16"'
run $E_UNAVAILABLE hw test a100 --gemm gemm.csv --num fp8
err_has 'no peak for fp8'
run $E_USAGE hw test h100 --gemm gemm.csv --saved
err_has 'hw fit h100-sxm'

# Bad files, with lines.
bad() {
  printf "$1" >bad.csv
  run $E_INPUT hw test a100 --gemm bad.csv
  err_has "bad.csv$2"
  out_empty
}
bad '' ' is empty'
bad 'm,n,k\n1,2,3\n' ', line 1: no column for the time'
bad 'm,n,k,time_ms\n1,2,3,4\n1,2,3,nan\n' ', line 3, column 4 .time.'
bad 'm,n,k,time_ms\n1,2,3,-4\n' ', line 2, column 4'
bad 'm,n,k,time_ms\n1,2,3,4\n1,2' ', line 3: 2 fields'
head -n 12 gemm.csv >few.csv
run $E_INPUT hw test a100 --gemm few.csv --json
json '"rows" in j["error"]["message"]'
run $E_INPUT hw fit t4 --gemm gemm.csv --num f16
err_has 'gemm.csv, line'
err_has 'another device'
file_gone "$ISOFLOP_HOME/hw/t4.device.json"
run $E_INPUT hw test a100 --gemm none.csv
err_has 'none.csv'
echo '{"name": "a100-80"}' >"$ISOFLOP_HOME/hw/a100-80.device.json"
run $E_INPUT hw show a100
err_has 'a100-80.device.json'
finish
