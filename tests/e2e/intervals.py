"""Checks one plan's JSON: what is predicted is an interval with one set of keys, or says why it is none; what binds and its price are there.

An interval is {"value", "lo", "hi"}, lo <= value <= hi; an end that is null comes with "interval": "none: why". An object that says so covers the
plain numbers in it. A plain number whose name is one of a time, price, loss, rate, energy or share of peak is refused anywhere else.
"""
import json
import re
import sys

PREDICTED = re.compile(
    r"(^|_)(loss|error|usd|mfu|hfu|ttft|itl|tpot|energy|co2|wall|excess)($|_)|_s$|_j$|_g$|tok_per_s|per_usd|^flop_per_tok$|_j_per_tok$|usd_h|per_mtok|^elements$|^cost$")
# What is given, published or counted, and bounds, which are no predictions.
GIVEN = {"budget", "device", "machine", "calibration", "prices", "slo", "limit_s", "law", "fit", "fits", "recipe", "rooflines", "numbers", "objective",
         "model", "job", "trace", "floor", "timeline", "bound", "untrained_loss", "usd_per_device_hour", "restart_s", "arrival_s", "deadline_s",
         "usd_h_bound", "req_per_s", "kv_bytes_per_tok", "activation_bytes_per_tok", "serve_flop_per_tok", "train_flop_per_token"}
# Of single subverbs: the loss that is asked for, FLOPs counted on a shape.
ASKED = {"heads": {"loss"}, "shape": {"flop_per_tok"}}


def walk(o, path, given, covered, wrong):
    if isinstance(o, list):
        for v in o:
            walk(v, path + "[]", given, covered, wrong)
    if not isinstance(o, dict):
        return
    none = str(o.get("interval", "")).startswith("none: ") and len(o["interval"]) > 12
    if {"value", "lo", "hi"} <= set(o):
        ends = [o["lo"], o["value"], o["hi"]]
        if o["value"] is not None and None in ends and not none and not covered:
            wrong.add(path + ": an end is null and nothing says why")
        known = [x for x in ends if x is not None]
        if known != sorted(known):
            wrong.add("%s: %s is not in order" % (path, ends))
        return
    for key in {"lo", "hi", "mid", "low", "high"} & set(o):
        wrong.add("%s.%s: intervals have the keys value, lo and hi" % (path, key))
    for key, v in o.items():
        if key in given:
            continue
        if isinstance(v, (int, float)) and not isinstance(v, bool):
            if PREDICTED.search(key) and not covered and not none:
                wrong.add("%s.%s: %r without an interval" % (path, key, v))
        else:
            walk(v, path + "." + key, given, covered or none, wrong)


def main(kind, limited):
    j = json.loads(sys.stdin.read())
    wrong = set()
    walk(j, "", GIVEN | ASKED.get(kind, set()), False, wrong)
    if j.get("kind") != kind:
        wrong.add("kind is %r" % j.get("kind"))
    if not (j.get("intervals") or j.get("interval")):
        wrong.add("nothing says where the intervals are from")
    # Several budgets have a price each.
    for o in j["budgets"] if kind == "pools" else [j] if limited == "limited" else []:
        if not isinstance(o.get("binding"), str) or not o["binding"]:
            wrong.add("no binding")
        if not isinstance(o.get("shadow"), dict) or not o["shadow"]:
            wrong.add("no shadow")
    for w in sorted(wrong)[:12]:
        print("  " + w)
    sys.exit(1 if wrong else 0)


main(*sys.argv[1:])
