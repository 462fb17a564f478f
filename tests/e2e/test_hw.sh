#!/bin/sh
# isoflop hw: the list, descriptors of three origins, tables fitted, saved and graded, and what bad files and calls get.
# ctest: timeout=300 cost=8
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
run $E_OK hw show h100-pcie
out_has '^figures +peaks without sparsity'
out_has '^bf16 +756\.5 TFLOP/s'
out_has '^memory +80 GB at 2 TB/s'
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
run $E_OK hw test a100 --gemm gemm.csv --json
json 'j["rows"] == 400 and j["fitted"] == 400 and "saved" in j["calibrated_on"]'
run $E_OK hw test a100 --gemm gemm.csv --seed 3 --json
json 'j["rows"] == 200 and j["fitted"] == 200 and "random half" in j["calibrated_on"]'
run $E_OK hw test a100 --allreduce ar.csv --above 1MiB --json
json 'j["fitted"] < 90 and "1MiB" in j["calibrated_on"]'
run $E_USAGE hw test a100 --gemm gemm.csv --saved --seed 3
err_has 'one of them'
run $E_USAGE hw test a100 --gemm gemm.csv --above 1MiB
err_has 'for --allreduce'
run $E_OK hw test a100 --gemm gemm.csv --saved --json
json 'j["n"] == 400 and j["fitted"] == 400 and j["median_error"] < 0.02 and "saved" in j["calibrated_on"]'
# Another fit replaces its own kind only.
run $E_OK hw fit a100 --gemm gemm.csv gemm.csv
out_has '800 rows of gemm.csv, gemm.csv'
run $E_OK hw show a100 --json
json 'len(j["tables"]) == 3 and len(j["tables"][0]["rows"]["m"]) == 800'
cp "$OUT" mine.json

# Whole runs: steps and serving points of a device whose laws are simple.
python3 - <<'PY2'
import math, random
random.seed(2)
with open("steps.csv", "w") as f:
    print("gpus,global_batch,micro_batch,d_model,heads,layers,seq_len,tensor,data,pipeline,iteration_ms", file=f)
    for layers, width in ((16, 1024), (24, 2048)):
        for t, d, p in ((1, 8, 1), (2, 4, 1), (4, 2, 1), (8, 1, 1), (1, 4, 2), (2, 2, 2), (4, 1, 2), (1, 2, 4), (2, 1, 4)):
            for mb in (1, 2):
                flop = 6 * 64 * 2048 * (12 * layers * width ** 2 + 51200 * width)
                m = 64 // d // mb
                moved = 3 * 64 * 2048 * layers * (30 * width + 13 * 16 * 2048)
                s = (flop / (312e12 * 0.6) + moved / (2039e9 * 0.6)) / 8 * (1 + (p - 1) / m) * (1 + 0.05 * math.log2(t)) * math.exp(random.gauss(0, 0.02))
                print(",".join(str(v) for v in (8, 64, mb, width, 16, layers, 2048, t, d, p, 1e3 * s)), file=f)
def points(name, system):
    with open(name, "w") as f:
        print("backend,model,system,precision,mode,prompt_tok,output_tok,batch_size,tp_size,pp_size,attention_dp_size,moe_tp_size,moe_ep_size,ttft_ms,tpot_ms", file=f)
        for model, gb in (("llama-3.1-8b", 8), ("qwen3-32b", 33)):
            for tp in (1, 2, 4):
                for batch in (1, 4, 16, 64):
                    s = 1.4 * gb / tp / 3.35 + 0.02 * batch * gb / tp / 8 + 2 + 0.5 * (tp > 1)
                    print(f"engine,{model},{system},fp8,agg,1024,512,{batch},{tp},1,,1,1,{30 + 3 * gb},{s * math.exp(random.gauss(0, 0.02))}", file=f)
points("points.csv", "h100_sxm")
points("card.csv", "card")
PY2
run $E_OK hw test a100 --layouts steps.csv --json
json 'j["name"] == "a100-80" and j["kind"] == "layouts" and j["source"] == "steps.csv" and "two thirds" in j["calibrated_on"]'
json 'j["check"]["rows"] == 36 and len(j["check"]["fitted"]) == 12 and j["check"]["held_out_third"]["splits"] == 20'
json 'all(j[k] == j["check"]["held_out_third"][k] for k in ("mape", "median_error", "p90_error")) and j["rows"] == 36 and len(j["worst"]) == 10'
json '0 < j["check"]["held_out_third"]["median_error"] < j["check"]["held_out_third"]["mape"] < j["check"]["held_out_third"]["p90_error"] < 0.4'
json '[b["degree"] for b in j["check"]["left_out"]["bias_by_tensor"]] == [1, 2, 4, 8] and sum(b["rows"] for b in j["check"]["left_out"]["bias_by_pipeline"]) == 36'
json 'j["check"]["left_out"]["choices"] == 2 and j["check"]["left_out"]["regret"] >= 0 and len(j["check"]["left_out"]["sizes"]) == 2'
json 'all(abs(w["predicted_s"] / w["measured_s"] - 1 - w["error"]) < 1e-9 and 2 <= w["line"] <= 37 for w in j["check"]["left_out"]["worst"])'
cp "$OUT" first
run $E_OK hw test a100 --layouts steps.csv --json --threads 1
same_file first "$OUT"
run $E_OK hw test a100 --layouts steps.csv --seed 5 --json
json 'j["check"]["held_out_third"] != None'
! cmp -s first "$OUT" || fail "another seed, the same splits"
run $E_USAGE hw test a100 --layouts steps.csv --saved
err_has 'no saved calibration of layouts'
run $E_OK hw fit a100 --layouts steps.csv
out_has '^layouts +36 rows of steps.csv, 12 numbers fitted'
out_has '^held-out third +mean error [0-9.]+%, median [0-9.]+%, 90% within [0-9.]+%'
out_has '^sizes left out +mean error'
out_has '^regret of choice +[0-9.]+% over 2 choices'
out_has '^bias by tensor +1: [+-]'
run $E_OK hw show a100
out_has '^training layouts +12 numbers fitted to 36 steps of steps.csv; spread'
out_has 'gemm_eff +0\.'
out_has '^gemm +800 rows'
run $E_OK hw list
out_has '^a100-80 .* saved gemm prefill collective layouts$'
# The saved numbers are those of all rows: they predict them better than numbers that have not seen them.
run $E_OK hw test a100 --layouts steps.csv --saved --json
json 'j["calibrated_on"] == "12 numbers fitted to 36 steps of steps.csv" and j["predicted"]["rows"] == 36'
json 'all(j[k] == j["predicted"][k] for k in ("rows", "mape", "median_error", "p90_error", "worst"))'
json "j['predicted']['mape'] < $(json_get 'j["check"]["left_out"]["mape"]' first)"
run $E_OK hw test a100 --layouts steps.csv
out_has '^calibrated on +12 numbers fitted to 36 steps of steps.csv .saved.'
run $E_OK hw fit h100 --serving points.csv --json
json 'j["name"] == "h100-sxm" and j["tables"] == [] and j["serving"]["rows"] == 24 and j["serving"]["rows_of_device"] == 24 and j["serving"]["left_out_by"] == "model"'
json 'j["serving"]["held_out_third"]["median_error"] < 0.2 and j["serving"]["left_out"]["kendall_tau"]["groups"] == 2'
json '[b["degree"] for b in j["serving"]["left_out"]["bias_by_tensor"]] == [1, 2, 4] and len(j["serving"]["left_out"]["models"]) == 2'
json 'j["serving"]["calibration"]["groups"] == [dict(system="h100-sxm", backend="engine", precision="fp8", points=24, scale=j["serving"]["calibration"]["groups"][0]["scale"], ttft_scale=j["serving"]["calibration"]["groups"][0]["ttft_scale"])]'
run $E_OK hw show h100
out_has '^serving +fitted to 24 points of points.csv; 90% of measured times are'
out_has 'engine, fp8: factor [0-9.]+ from 24 points'
run $E_OK hw test h100 --serving points.csv --json
json 'j["calibrated_on"] == "fitted to 24 points of points.csv" and j["predicted"]["rows"] == 24 and j["predicted"]["median_error"] < 0.2 and j["predicted"]["ttft"]["rows"] == 24'
run $E_OK hw test h100 --serving points.csv --seed 1
out_has '^serving +24 usable rows of 24 of points.csv, 24 of them on h100-sxm'
out_has '^first token +mean error'
out_has '^ +line +measured s'
run $E_OK hw fit a100 --layouts steps.csv --gemm gemm.csv --json
json '[t["kind"] for t in j["tables"]] == ["gemm"] and j["layouts"]["rows"] == 36'

# A descriptor of the user's own, and this machine.
run $E_OK hw add card --from mine.json
run $E_INPUT hw test card --serving points.csv
err_has 'none of them on card'
run $E_OK hw fit card --serving card.csv
out_has '24 of them on card'
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
out_has '^card .* saved gemm prefill collective serving$'

# Bad calls.
(head -1 steps.csv | sed 's/iteration_ms/iteration_sm/'; sed 1d steps.csv) >typo.csv
run $E_INPUT hw fit a100 --layouts typo.csv
err_has "line 1: no meaning is known for column [0-9]+, 'iteration_sm'"
err_has "hint: did you mean 'iteration_ms'"
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
run $E_USAGE hw show a100 --layouts steps.csv
run $E_USAGE hw test a100 --layouts steps.csv --serving points.csv
run $E_USAGE hw test a100 --layouts steps.csv --gemm gemm.csv
run $E_USAGE hw fit a101 --layouts steps.csv
err_has 'did you mean "a100-'
run $E_USAGE hw test a100 --layouts steps.csv --saved --seed 1
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
bad_runs() {
  printf "$2" >bad.csv
  run $E_INPUT hw "$4" h200 "--$1" bad.csv
  err_has "$3"
  out_empty
}
for action in fit test; do
  bad_runs layouts '' 'bad.csv is empty' $action
  bad_runs layouts 'gpus,global_batch\n8,8\n' "bad.csv, line 1: no column .micro_batch." $action
  bad_runs layouts "$(head -n 1 steps.csv)\n" 'bad.csv: no row below the header' $action
  bad_runs layouts "$(head -n 1 steps.csv)\n8,64,1,2048,16,16,2048,1,8,1,0\n" 'bad.csv, line 2, column 11 .iteration_ms.' $action
  bad_runs layouts "$(head -n 1 steps.csv)\n9,64,1,2048,16,16,2048,1,8,1,5\n" 'bad.csv, line 2: gpus is 9' $action
  bad_runs serving '' 'bad.csv is empty' $action
  bad_runs serving 'backend,model\nx,y\n' "bad.csv, line 1: no column .system." $action
  bad_runs serving "$(head -n 1 points.csv)\n" 'bad.csv: no row below the header' $action
  bad_runs serving "$(head -n 4 points.csv)\n" 'bad.csv: calibration: 3 usable points of 3, expected at least' $action
done
head -n 10 steps.csv >few.csv
run $E_OK hw fit a100 --layouts few.csv --json
json 'j["layouts"]["rows"] == 9 and j["layouts"]["fitted"] == ["arithmetic", "communication"] and j["layouts"]["left_out_by"] == "row" and j["layouts"]["left_out"]["mape"] < 0.3'
run $E_INPUT hw test a100 --layouts none.csv
err_has 'none.csv'
# Repeated rows are no more rows, and a unit that is off by a thousand is noticed either way.
{ head -n 1 steps.csv; for i in 1 2 3 4 5 6 7 8 9; do sed -n '2,5p' steps.csv; done; } >few.csv
run $E_INPUT hw fit a100 --layouts few.csv
err_has '36 rows of 4 different runs'
{ head -n 1 gemm.csv; for i in 1 2 3 4 5 6 7 8 9; do sed -n '2,5p' gemm.csv; done; } >few.csv
run $E_INPUT hw fit a100 --gemm few.csv
err_has '36 gemm rows of 4 different shapes'
sed '1s/time_ms/time_s/' gemm.csv >unit.csv
run $E_INPUT hw fit a100 --gemm unit.csv
err_has 'another device or time unit'
sed '1s/time_ms/time_us/' gemm.csv >unit.csv
run $E_INPUT hw fit a100 --gemm unit.csv
err_has 'time unit'
head -n 12 gemm.csv >few.csv
run $E_INPUT hw test a100 --gemm few.csv --seed 1 --json
json '"rows" in j["error"]["message"]'
run $E_INPUT hw fit t4 --gemm gemm.csv --num f16
err_has 'gemm.csv, line'
err_has 'another device'
file_gone "$ISOFLOP_HOME/hw/t4.device.json"
run $E_INPUT hw test a100 --gemm none.csv
err_has 'none.csv'
# A calibration that somebody edited.
python3 - "$ISOFLOP_HOME/hw/a100-80.device.json" <<'PY3'
import json, sys
d = json.load(open(sys.argv[1]))
d["layout_calibration"]["gemm_eff"] = 2
json.dump(d, open(sys.argv[1], "w"))
PY3
run $E_INPUT hw test a100 --layouts steps.csv
err_has 'layout_calibration: calibration: gemm_eff is 2'
echo '{"name": "a100-80"}' >"$ISOFLOP_HOME/hw/a100-80.device.json"
run $E_INPUT hw show a100
err_has 'a100-80.device.json'
if [ -n "${ISOFLOP_SHARED:-}" ]; then
  # Measured: vTrain's steps on one node and on several, and serving on H200.
  mkdir "$T/fresh"
  export ISOFLOP_HOME="$T/fresh"
  run $E_OK hw test a100 --layouts "$ISOFLOP_SHARED/data/planner/vtrain_single_node_a100.csv" --json
  json 'j["check"]["rows"] == 720 and j["check"]["held_out_third"]["mape"] < 0.05 and j["check"]["left_out"]["mape"] < 0.05 and j["check"]["left_out"]["regret"] < 0.03'
  run $E_OK hw fit a100 --layouts "$ISOFLOP_SHARED/data/planner/vtrain_single_node_a100.csv" --json
  run $E_OK hw test a100 --layouts "$ISOFLOP_SHARED/data/planner/vtrain_multi_node_a100.csv" --json
  json 'j["predicted"]["rows"] == 54 and len(j["predicted"]["worst"]) == 10'
  run $E_OK hw test h200 --serving "$ISOFLOP_SHARED/data/serving/measured_serving.csv" --json
  json 'j["check"]["rows"] == 1467 and j["check"]["held_out_third"]["median_error"] < 0.15 and j["check"]["left_out"]["kendall_tau"]["mean"] > 0.6'
else
  echo "measured runs: ISOFLOP_SHARED is not set: skipped"
fi
finish
