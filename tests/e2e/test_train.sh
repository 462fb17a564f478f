#!/bin/sh
# isoflop train: a bounded run, its files, exact resume and replay, threads, budgets that are too small, and the wrong ways.
# ctest: serial timeout=600
. "$(dirname "$0")/lib.sh"

python3 - <<'PY'
words = "the cat sat on a mat and looked at seven small birds while rain fell over old stone walls".split()
text, x = [], 1
for i in range(30000):
    x = x * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
    text.append(words[(x >> 33) % len(words)] + (".\n" if x >> 60 == 3 else " "))
open("text.txt", "w").write("".join(text))
PY
tiny="--model 2,32,2/2,64,320,32 --vocab 320 --batch 4 --seed 3"

help_ok train
# A text that is not there is refused before seconds go into measuring the machine.
run 4 train --text missing.txt --steps 5 --out x
err_has 'missing.txt'
err_lacks 'calibrate'
run $E_OK train --text text.txt $tiny --steps 40 --out a --json
json 'j["params"] > 10000 and j["tokens"] == 40 * 4 * 32'
json '0 < j["bits_per_byte"] < 8 and j["elapsed_s"] > 0'
json 'set(j["predicted"]) >= {"wall", "train_flop", "peak_ram", "energy", "bits_per_byte"}'
json 'j["measured"]["tok"] == j["tokens"] and abs(j["measured"]["train_flop"] / j["predicted"]["train_flop"] - 1) < 1e-9'
for f in config.json generation_config.json tokenizer.json tokenizer_config.json model.safetensors schedule.json; do file_there a/$f; done
file_gone a/checkpoint.safetensors
json 'j["model_type"] == "llama" and j["hidden_size"] == 32 and j["tie_word_embeddings"] is True' a/config.json

# The same seed gives the same bits, with another number of threads too; so does --replay.
run $E_OK train --text text.txt $tiny --steps 40 --out b --threads 1 --quiet
same_file a/model.safetensors b/model.safetensors
run $E_OK train --text text.txt --replay a --out c --quiet
same_file a/model.safetensors c/model.safetensors
run $E_OK runs --json
id=$(json_get '[r for r in j["runs"] if r["kind"] == "train" and (r["out_dir"] or "").endswith("/a")][0]["id"]')
run $E_OK train --text text.txt --replay "$id" --out c2 --quiet
same_file a/model.safetensors c2/model.safetensors
run $E_USAGE train --text text.txt --replay a --steps 5 --out c3
err_has 'exclude'
head -c 60000 text.txt > part.txt
run $E_USAGE train --text part.txt --replay a --out c3
err_has 'another text'
run $E_USAGE train --text text.txt --replay nothing --out c3
err_has 'neither a folder .* nor a run'

# The gradient noise scale, over at least the newer half of the steps; what is trained is the same bits with it.
run $E_OK train --text text.txt $tiny --micro 1 --steps 40 --out n0 --quiet
run $E_OK train --text text.txt $tiny --micro 1 --steps 40 --out n1 --json --measure-gns --log-jsonl n1.log
same_file n0/model.safetensors n1/model.safetensors
json 'j["gradient_noise"]["steps"] == 24 and j["gradient_noise"]["from_step"] == 16 and j["gradient_noise"]["batch_tok"] == 128'
json '(lambda g: g["noise_scale_tok"] > 0 and g["se_tok"] > 0 and abs(g["noise_scale_tok"] * g["grad_sq"] / g["trace"] - 1) < 1e-9)(j["gradient_noise"])'
json '(lambda g: abs((g["steps_over_fewest"] - 1) * (g["tokens_over_fewest"] - 1) - 1) < 1e-9)(j["gradient_noise"])'
noise=$(json_get 'j["gradient_noise"]["noise_scale_tok"]')
json "abs([l for l in lines if l['type'] == 'progress' and l['noise_scale_tok']][-1]['noise_scale_tok'] / $noise - 1) < 1e-6" n1.log
run $E_OK train --text text.txt --replay n0 --measure-gns --out n2 --quiet
out_has '^gradient noise scale [0-9]'
out_has '^critical batch '
same_file n0/model.safetensors n2/model.safetensors
# Refused before anything is read: this text is not there.
run $E_USAGE train --text nowhere.txt --model 2,32,2/2,64,320,32 --batch 1 --measure-gns --steps 5 --out x
err_has 'micro-batch'
run $E_USAGE train --text text.txt $tiny --micro 4 --measure-gns --steps 5 --out x

# Interrupted, then repeated: as if nothing had happened.
LAST="isoflop train (interrupted)"
long="3000 --micro 2 --measure-gns"
# Waits until process $1 has logged a training step in $2, or has ended.
training() {
  until grep -q '"phase":"train".*"step":[1-9]' "$2" 2>/dev/null || ! kill -0 "$1" 2>/dev/null; do sleep 0.01; done
}
"$ISOFLOP" train --text text.txt $tiny --steps $long --out d --quiet --log-jsonl d.log >/dev/null 2>&1 &
pid=$!
training $pid d.log
kill -INT $pid
wait $pid
CODE=$?
checks=$((checks + 1))
[ $CODE = 130 ] || fail "an interrupted run ends with 130"
file_there d/checkpoint.safetensors
run $E_USAGE train --text text.txt $tiny --steps $long --out d --seed 3 --seed 4
# A closed terminal saves too, and takes standard error with it; under nohup it is nothing.
LAST="isoflop train (terminal closed)"
"$ISOFLOP" train --text text.txt $tiny --steps 100000 --out hup --log-jsonl hup.log >/dev/null 2>&- &
pid=$!
training $pid hup.log
kill -HUP $pid
wait $pid
CODE=$?
checks=$((checks + 1))
[ $CODE = 130 ] || fail "a closed terminal ends a run with 130"
file_there hup/checkpoint.safetensors
# Nobody else works in a folder meanwhile.
nohup "$ISOFLOP" train --text text.txt $tiny --steps 100000 --out busy --quiet --log-jsonl busy.log >/dev/null 2>&1 &
pid=$!
training $pid busy.log
kill -HUP $pid
run $E_USAGE train --text text.txt $tiny --steps 5 --out busy
err_has 'another isoflop is at work'
kill -INT $pid
wait $pid
# Other options or another text do not go on with it.
run $E_USAGE train --text text.txt --model 2,32,2/2,64,320,32 --vocab 320 --batch 8 --seed 3 --steps $long --out d
err_has 'unfinished run .* another --batch'
head -c 100000 text.txt > other.txt
run $E_USAGE train --text other.txt $tiny --steps $long --out d
err_has 'unfinished run .* another text'
head -c 3000 d/checkpoint.safetensors > cut.safetensors
mkdir cut && cp d/job.json cut && mv cut.safetensors cut/checkpoint.safetensors
run 4 train --text text.txt $tiny --steps $long --out cut
err_has 'cut/checkpoint.safetensors.*cut short'
run $E_OK train --text text.txt $tiny --steps $long --out d --quiet --json
json 'j["measured"]["tok"] == j["tokens"] and abs(j["measured"]["train_flop"] / j["predicted"]["train_flop"] - 1) < 1e-9'
noise=$(json_get '{k: v for k, v in j["gradient_noise"].items() if k != "why_not"}')
file_gone d/checkpoint.safetensors
run $E_OK train --text text.txt $tiny --steps $long --out e --quiet --json
json "{k: v for k, v in j['gradient_noise'].items() if k != 'why_not'} == $noise and j['gradient_noise']['steps'] > 1500"
same_file d/model.safetensors e/model.safetensors

# A machine that stands still until the time is over: the model is kept, not scored.
LAST="isoflop train (stopped and continued)"
"$ISOFLOP" train --text text.txt $tiny --budget 8s --out late --quiet --log-jsonl late.log >"$OUT" 2>"$ERR" &
pid=$!
training $pid late.log
kill -STOP $pid
sleep 8
kill -CONT $pid
wait $pid
CODE=$?
checks=$((checks + 1))
[ $CODE = 3 ] || fail "a run whose time is over ends with 3"
err_has 'model is in late, not scored'
run $E_OK eval late text.txt --json
json 'j["bits_per_byte"] > 0'

# A full disk (here a limit on the size of one file, which the weights exceed): a clear end, nothing half written, and the same
# command goes on with room.
LAST="isoflop train (full disk)"
wide="--model 2,128,4/4,352,320,32 --vocab 320 --batch 4 --seed 3"
(trap '' XFSZ; ulimit -f 2000; exec timeout 120 "$ISOFLOP" train --text text.txt $wide --steps 10 --out full --quiet) >"$OUT" 2>"$ERR"
CODE=$?
checks=$((checks + 1))
[ $CODE != 0 ] && [ $CODE -lt 100 ] || fail "a full disk ends the run with an error"
err_has 'full/model.safetensors.*(large|full|space)'
file_gone full/model.safetensors
run $E_OK train --text text.txt $wide --steps 10 --out full --quiet
file_there full/model.safetensors

# Killed while it saves its checkpoint, at several moments: what is there is whole, and the run goes on to the same end.
LAST="isoflop train (killed)"
for wait in 0 0.002 0.004 0.008 0.016; do
  rm -f k.log
  "$ISOFLOP" train --text text.txt $tiny --steps $long --out k --quiet --log-jsonl k.log >/dev/null 2>&1 &
  pid=$!
  training $pid k.log
  kill -INT $pid
  sleep $wait
  kill -KILL $pid 2>/dev/null
  wait $pid 2>/dev/null
done
run $E_OK train --text text.txt $tiny --steps $long --out k --quiet
same_file d/model.safetensors k/model.safetensors

# What was chosen is repeated with --config; the command line goes before the file, and the tokenizer follows it.
run $E_OK train --text text.txt --config a/job.json --out c4 --quiet
same_file a/model.safetensors c4/model.safetensors
run $E_OK train --text text.txt --config a/job.json --steps 7 --batch 2 --out c5 --json
json 'j["tokens"] == 7 * 2 * 32'
run 3 train --text text.txt --config a/job.json --budget 1e8flop --out c6
err_has 'train_flop pays for'

# Starting from a model: its loss is where the other ended.
run $E_USAGE train --text text.txt --init a --vocab 400 --steps 5 --out f
err_has 'init excludes'
run $E_OK train --text text.txt --init a --steps 5 --batch 4 --out f --json
json 'j["bits_per_byte"] < 6'

# A budget in seconds is not overrun.
start=$(date +%s%N)
run $E_OK train --text text.txt --budget 20s --out g --json
end=$(date +%s%N)
checks=$((checks + 1))
[ $(((end - start) / 1000000)) -le 20000 ] || fail "20 s took $(((end - start) / 1000000)) ms"
json '15 < j["measured"]["wall"] <= 20 and j["measured"]["peak_ram"] > 1e6'
json 'j["measured"]["peak_ram"] <= 1.05 * j["predicted"]["peak_ram"][1] + 16 * 2 ** 20'
# Nor is one in what seconds use up, or in bytes moved; a number of steps stays that under a budget that would pay for more.
run $E_OK train --text text.txt --budget 60J --threads 1 --out en --json
json 'j["measured"]["energy"] <= 60 and j["plan"]["binding"] == "energy"'
run $E_OK train --text text.txt --budget usd=0.0001 --threads 1 --out en2 --json
json 'j["measured"]["usd"] <= 1e-4 and j["plan"]["binding"] == "usd"'
run $E_OK train --text text.txt --budget moved=2GiB --out mv --json
json '1e9 < j["measured"]["moved"] <= 2 ** 31 and j["plan"]["binding"] == "moved"'
run $E_OK train --text text.txt $tiny --steps 40 --budget 60s --out en3 --json
json 'j["tokens"] == 40 * 4 * 32'
run $E_OK train --text text.txt --budget 3e10flop --out h --json
json 'j["measured"]["train_flop"] <= 3e10'

# Budgets that do not pay for anything: exit 3, and what would.
run 3 train --text text.txt --budget 10flop --out x
err_has 'least that would do: --budget train_flop='
run $E_OK train --text text.txt --budget "$(sed -n 's/.*--budget //p' "$ERR")" --out least --json
json 'j["tokens"] > 0'
run 3 train --text text.txt --budget 60s,infer_flop=10 --out x
err_has 'least that would do: --budget infer_flop='
run 3 train --text text.txt --budget 60s,1KiB --out x
err_has 'least that would do: --budget .*peak_ram='
run 3 train --text text.txt --budget 60s,disk=10B --out x
err_has 'least that would do: --budget disk='
run 3 train --text text.txt --budget 60s,instr=1e12 --out x
err_has 'drop the limit on instr'
file_gone x/model.safetensors
run $E_USAGE train --text text.txt --budget 1GiB --out x
err_has 'nothing bounds'
run $E_USAGE train --text text.txt --steps 5 $tiny --lr 0 --out x
err_has 'lr must be more than zero'
run 3 train --text text.txt --budget 10ms --out x
run 3 train --text text.txt --budget 60s,1MiB --out x
run $E_USAGE train --text text.txt --budget 5parsec --out x
err_has 'unknown unit'
run $E_USAGE train --text text.txt --out x
err_has 'budget'
run $E_USAGE train --text text.txt --steps 5 --stepz 3
err_has 'did you mean --steps'
: > empty.txt
run 4 train --text empty.txt --steps 5 --out x
printf x > one.txt
run any train --text one.txt --steps 5 --out x
checks=$((checks + 1))
[ $CODE != 0 ] && [ $CODE -lt 100 ] || fail "one byte of text is refused"
head -c 3000 /dev/urandom > bytes.bin
run $E_OK train --text bytes.bin $tiny --steps 5 --out y --quiet
run 4 train --data text.txt --steps 5 --out x
run $E_USAGE train --text text.txt --model 2,32,3/2,64,320,32 --steps 5 --out x
run $E_USAGE train --text text.txt --optim muom --steps 5 $tiny --out x
err_has 'did you mean'
run $E_USAGE train --text text.txt --steps 5 $tiny --recompute 1 --recompute-cheap --out x
err_has 'excludes'
head -c 300 a/model.safetensors > cut.safetensors
mkdir broken && cp a/config.json a/tokenizer.json broken && cp cut.safetensors broken/model.safetensors
run 4 train --text text.txt --init broken --steps 5 --out x
finish
