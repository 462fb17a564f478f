#!/bin/sh
# isoflop plan cluster: schedulers compared on one job file, curves that are those of plan layout, what does not fit, and wrong calls.
# ctest: timeout=200 asan
. "$(dirname "$0")/lib.sh"
E_MEMORY=5 E_INPUT=4 E_UNAVAILABLE=7

help_ok plan cluster
run $E_OK help plan cluster
out_has 'isoflop plan train'

cat >jobs.csv <<'C'
name,model,batch,seq,tokens,arrival_h,deadline_h,devices,max_devices,priority
base,llama-7b,1024,4096,10e9,0,40,,,
big,llama-13b,1024,4096,10e9,1,60,,,
late,llama-7b,1024,4096,3e9,10,30,,32,
free,llama-7b,1024,4096,2e9,12,,16,,
small,gpt2-1.5b,512,1024,2e9,20,24,,,1
hopeless,llama-13b,1024,4096,5e9,20,20.5,,,
C
C="--cluster 64xa100-80"
run $E_OK plan cluster jobs.csv $C --region FR --json
json 'j["kind"] == "cluster" and j["devices"] == 64 and set(j["schedulers"]) == {"fifo", "sjf", "edf", "elastic", "elastic-data"}'
json 'len(j["jobs"]) == 6 and len(j["curves"]) == 3 and j["jobs"][0]["steps"] == math.ceil(10e9 / 1024 / 4096) and j["jobs"][3]["deadline_s"] is None'
json 'all(s["finished"] == 6 and s["with_deadline"] == 5 and s["makespan_s"] >= j["bound"]["makespan_s"] for s in j["schedulers"].values())'
json 'all(not o["promised"] or o["met"] for s in j["schedulers"].values() for o in s["jobs"]) and j["schedulers"]["elastic"]["promised"] > 0'
json 'not [o for o in j["schedulers"]["elastic"]["jobs"] if o["name"] == "hopeless"][0]["promised"]'
# Never more devices than there are, at any start.
json 'all(sum(h["devices"] for h in s["timeline"] if h["from_s"] <= g["from_s"] < h["to_s"]) <= 64 for s in j["schedulers"].values() for g in s["timeline"])'
json 'max(g["devices"] for s in j["schedulers"].values() for g in s["timeline"] if g["job"] == "late") <= 32'
json 'all(g["devices"] == 16 for s in ("fifo", "sjf", "edf") for g in j["schedulers"][s]["timeline"] if g["job"] == "free")'
# Device-hours, dollars, joules and grams are sums over the timeline and the curves.
json 'all(abs(sum((g["to_s"] - g["from_s"]) * g["devices"] for g in s["timeline"]) / 3600 / s["device_h"] - 1) < 1e-9 for s in j["schedulers"].values())'
json 'all(abs(s["usd"] / (s["device_h"] * j["machine"]["usd_per_hour"]) - 1) < 1e-9 and abs(s["co2_g"] / (s["energy_j"] / 3.6e6 * 56.039) - 1) < 1e-9 for s in j["schedulers"].values())'
json 'abs(j["schedulers"]["fifo"]["energy_j"] / sum(b["steps"] * [p for p in j["curves"][b["curve"]]["points"] if p["devices"] == b["request_devices"]][0]["energy_j"] for b in j["jobs"]) - 1) < 1e-9'
json 'all(len(c["points"]) > 3 and all(a["devices"] < b["devices"] and a["step_s"] > b["step_s"] for a, b in zip(c["points"], c["points"][1:])) for c in j["curves"])'
# Restarts are in the timeline: sixty seconds each, unless cut short.
json 'all(0 <= g["restart_s"] <= 60 + 1e-6 for s in j["schedulers"].values() for g in s["timeline"]) and j["schedulers"]["fifo"]["restarts"] == 0'
json 'set(j["best"]) == {"makespan", "mean_completion", "deadlines", "utilisation", "usd", "energy"} and j["chosen"] == j["best"]["deadlines"]'
json 'j["schedulers"][j["best"]["makespan"]]["makespan_s"] == min(s["makespan_s"] for s in j["schedulers"].values())'
json 'j["shadow"]["devices_more"] == 8 and j["binding"]'
# Intervals: all schedules played again with steps at the calibration's 90%, FIFO's work scales with them; energy and device-hours as steps do.
json '"residuals" in j["intervals"] and all(s[k]["lo"] <= s[k] <= s[k]["hi"] for s in j["schedulers"].values() for k in ("makespan_s", "mean_completion_s", "deadlines_met", "device_h", "usd", "energy_j"))'
json 'all(s["makespan_s"]["lo"] < s["makespan_s"] < s["makespan_s"]["hi"] for s in j["schedulers"].values())'
json 'abs(math.log(j["schedulers"]["elastic"]["makespan_s"]["hi"] / j["schedulers"]["elastic"]["makespan_s"])) < 2 * 1.645 * j["calibration"]["resid_sd_log_s"]'
cp "$OUT" plan

# The time of a step on 16 devices is that of the fastest layout of so many.
step=$(json_get '[p["step_s"] for p in j["curves"][0]["points"] if p["devices"] == 16][0]' plan)
run $E_OK plan layout --model llama-7b --cluster 16xa100-80 --batch 1024 --seq 4096 --json
json "j['fastest']['layout']['devices'] != 16 or abs(j['fastest']['step']['step_s']['value'] / $step - 1) < 1e-9"
json "j['fastest']['step']['step_s']['value'] <= $step * (1 + 1e-9)"
# A node more is what its plan says.
run $E_OK plan cluster jobs.csv --cluster 72xa100-80 --scheduler elastic --json
mk=$(json_get 'j["schedulers"]["elastic"]["makespan_s"] - j["schedulers"]["elastic"]["shadow"]["makespan_s_saved"]' plan)
json "abs(j['schedulers']['elastic']['makespan_s'] / $mk - 1) < 1e-9 and len(j['schedulers']) == 1"

# Options change what they say.
run $E_OK plan cluster jobs.csv $C --scheduler elastic --drop --json
json '[o["dropped"] and o["end_s"] is None for o in j["schedulers"]["elastic"]["jobs"] if o["name"] == "hopeless"] == [True]'
json 'j["schedulers"]["elastic"]["finished"] == 5'
run $E_OK plan cluster jobs.csv $C --scheduler elastic --restart 10m --json
json 'max(g["restart_s"] for g in j["schedulers"]["elastic"]["timeline"]) > 599 and j["restart_s"] == 600'
run $E_OK plan cluster jobs.csv --cluster 48xa100-80 --pow2 --json
json 'all(p["devices"] in (1, 2, 4, 8, 16, 32, 48, 56) for c in j["curves"] for p in c["points"])'
run $E_OK plan cluster jobs.csv $C --scheduler fifo,edf --usd-h 1 --json
json 'set(j["schedulers"]) == {"fifo", "edf"} and abs(j["schedulers"]["edf"]["usd"] / j["schedulers"]["edf"]["device_h"] - 1) < 1e-9'
cat >queue.csv <<'C'
name,model,batch,seq,steps,arrival_s,devices
first,gpt2-1.5b,512,1024,100,0,8
wide,gpt2-1.5b,512,1024,100,1,16
thin,gpt2-1.5b,512,1024,10,2,4
C
run $E_OK plan cluster queue.csv --cluster 16xa100-80 --scheduler fifo --json
json 'j["schedulers"]["fifo"]["jobs"][2]["start_s"] > j["schedulers"]["fifo"]["jobs"][1]["start_s"] and "deadlines" not in j["best"]'
run $E_OK plan cluster queue.csv --cluster 16xa100-80 --scheduler fifo --backfill --json
json 'j["schedulers"]["fifo"]["jobs"][2]["start_s"] == 2'

# Tables, and why.
run $E_OK plan cluster jobs.csv $C
out_has '^elastic-data '
out_has '^best makespan '
out_has '^timeline of '
out_has '^binding '
out_has '^shadow price .*8 devices more'
out_has '^times from '
err_empty
run $E_OK why --json
json 'j["kind"] == "cluster" and any("deadlines" in s for s in j["bound"]) and any("mean completion" in a["what"] for a in j["alternatives"])'
json 'any("devices more" in s for s in j["would_change"]) and any(s.startswith("times: ") for s in j["sources"])'

# Wrong files: what and where.
row() { head -1 jobs.csv >bad.csv; echo "$1" >>bad.csv; }
row 'x,lama-7b,64,2048,1e9,0,,,,'
run $E_INPUT plan cluster bad.csv $C
err_has 'bad.csv, line 2, job x: no model .*did you mean "llama-7b"'
err_lacks '--model'
out_empty
row 'x,llama-7b,64,2048,1e9,5,4,,,'
run $E_INPUT plan cluster bad.csv $C
err_has 'line 2: x has its deadline at 14400 s, but arrives at 18000 s'
row 'x,llama3-405b,64,2048,1e9,0,,,8,'
run $E_MEMORY plan cluster bad.csv $C --json
json 'j["error"]["kind"] and "bytes a device" in j["error"]["message"] and "bad.csv, line 2: x, on 1 to 8 devices" in j["error"]["message"]'
row 'x,llama-7b,64,2048,1e9,0,,,,'
run $E_MEMORY plan cluster bad.csv $C --memory-limit 256MiB
err_has '268435456 \(0.25 GiB\)'
sed 's/max_devices/min_devices/' jobs.csv | head -1 >bad.csv
echo 'x,llama-7b,64,2048,1e9,0,,,65,' >>bad.csv
run $E_INPUT plan cluster bad.csv $C
err_has 'no count of this cluster of 64'
row 'x,glm-5,64,2048,1e9,0,,,,'
run $E_UNAVAILABLE plan cluster bad.csv $C
err_has 'line 2'
row 'x,llama-7b,0,2048,1e9,0,,,,'
run $E_INPUT plan cluster bad.csv $C
err_has 'line 2.*batch'
echo 'nothing' >bad.csv
run $E_INPUT plan cluster bad.csv $C
run any plan cluster none.csv $C
[ "$CODE" -ne 0 ] || fail "a missing file is no plan"
# Wrong calls.
run $E_USAGE plan cluster $C
run $E_USAGE plan cluster jobs.csv
err_has 'cluster is missing'
run $E_USAGE plan cluster jobs.csv $C --scheduler lifo
err_has 'fifo, sjf, edf, elastic'
run $E_USAGE plan cluster jobs.csv $C --restart soon
run $E_USAGE plan cluster jobs.csv $C --pue 0.5
run $E_OK why
out_has 'Refused'
finish
