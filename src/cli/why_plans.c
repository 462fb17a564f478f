// The explanations of each kind of plan.
#include <math.h>
#include <string.h>

#include "cli/why.h"

static const char *show(double v, iso_unit u, char *buf) { return iso_unit_print(v, u, buf, 40); }

// Price, power and figures of a device.
static void say_device(const json_t *d, cli_why *w) {
  if (!d) return;
  cli_why_say(w->sources, "device %s: %s (%s)", cli_text_at(d, "name"), cli_text_at(d, "source"), cli_text_at(d, "date"));
  if (cli_text_at(d, "price_source")[0])
    cli_why_say(w->sources, "price: $%.4g a device-hour, %s (%s)", cli_at(d, "usd_h"), cli_text_at(d, "price_source"), cli_text_at(d, "price_date"));
}

static void say_grid(const json_t *plan, cli_why *w) {
  if (!json_object_get(plan, "prices")) return;
  cli_why_say(w->sources, "grid: %.4g g of CO2e a kWh (%s), %s", cli_at(plan, "prices.g_per_kwh"), cli_text_at(plan, "prices.region"),
              cli_text_at(plan, "prices.carbon_source"));
}

static void say_warnings(const json_t *plan, cli_why *w) {
  const json_t *all = json_object_get(plan, "warnings");
  for (size_t i = 0; i < json_array_size(all); i++) cli_why_say(w->bound, "%s", json_string_value(json_array_get(all, i)));
}

// ---- train ----------------------------------------------------------------------------------------------------------

static iso_unit unit_of(const char *name) {
  iso_res r;
  return iso_res_find(name, &r, NULL) == ISO_OK ? iso_res_get(r)->unit : ISO_UNIT_COUNT;
}

static void train_bound(const json_t *p, cli_why *w) {
  const char *name, *binding = cli_text_at(p, "binding");
  const json_t *v;
  char a[40], b[40];
  json_object_foreach(json_object_get(p, "budget"), name, v) {
    double limit = json_number_value(v), used = cli_at(cli_json_at(cli_json_at(p, "use"), name), "value");
    if (strcmp(name, binding) == 0)
      cli_why_say(w->bound, "%s: all of %s is used", name, show(limit, unit_of(name), a));
    else
      cli_why_say(w->bound, "%s does not bind: %s of %s (%.3g%%)", name, show(used, unit_of(name), a), show(limit, unit_of(name), b),
                  100 * used / limit);
  }
  if (json_is_true(json_object_get(p, "memory_binds")))
    cli_why_say(w->bound, "memory: a model half an octave larger does not fit the cluster, so tokens are added instead of parameters");
  cli_why_say(w->bound, "a step is bound by %s; MFU %.1f%%", cli_text_at(p, "step.bound"), 100 * cli_at(p, "mfu"));
}

static void train_lost(const json_t *p, cli_why *w) {
  const json_t *all = json_object_get(p, "isoloss");
  const char *binding = cli_text_at(p, "binding");
  double chosen = cli_at(cli_json_at(cli_json_at(p, "use"), binding), "value"), n = cli_at(p, "params");
  bool other = strcmp(binding, "wall") == 0 || strcmp(binding, "usd") == 0 || strcmp(binding, "energy") == 0;
  char a[40];
  if (!other) {
    binding = "train_flop";
    chosen = cli_at(p, "use.train_flop.value");
  }
  for (size_t i = 0; i < json_array_size(all); i++) {
    const json_t *o = json_array_get(all, i);
    double size = cli_at(o, "params");
    if (size == n) continue;
    cli_why_lost(w, cli_at(o, binding) / chosen, "%s for the same loss at %.3g parameters (%.2gx) on %s", binding, size, size / n,
                 show(cli_at(o, "tokens"), ISO_UNIT_TOK, a));
  }
}

static void train_change(const json_t *p, cli_why *w) {
  const char *name;
  const json_t *v;
  char a[40];
  json_object_foreach(json_object_get(json_object_get(p, "shadow"), "by_limit"), name, v) {
    double per_log = cli_at(v, "loss_per_log");
    if (per_log != 0)
      cli_why_say(w->change, "1%% more %s: loss %+.3g; twice as much: about %+.3g", name, cli_at(v, "loss_per_percent"), per_log * log(2));
  }
  if (strcmp(cli_text_at(p, "binding"), "usd") == 0)
    cli_why_say(w->change, "a device-hour 10%% cheaper is worth 11%% more dollars: loss %+.3g",
                cli_at(p, "shadow.closed_form_per_log") * log(1 / 0.9));
  if (strcmp(cli_text_at(p, "binding"), "co2") == 0)
    cli_why_say(w->change, "a grid with half the carbon is worth twice the grams: about %+.3g", cli_at(p, "shadow.closed_form_per_log") * log(2));
  double lo = cli_at(p, "optimum.params.lo"), hi = cli_at(p, "optimum.params.hi");
  if (hi > lo) cli_why_say(w->change, "within the uncertainty of the law the best size is %.3g to %.3g parameters", lo, hi);
  for (int k = 0; k < 2; k++) {
    const json_t *o = cli_json_at(p, k ? "serve.in_usd" : "serve.in_flop");
    if (o)
      cli_why_say(w->change, "counting %s of serving %s: %.3g parameters on %s cost %.1f%% of the training optimum",
                  show(cli_at(p, "serve.tokens"), ISO_UNIT_TOK, a), k ? "in dollars" : "in FLOPs", cli_at(o, "params"),
                  show(cli_at(o, "tokens"), ISO_UNIT_TOK, (char[40]){0}), 100 * (1 + cli_at(o, "change")));
  }
  if (!json_object_get(p, "serve"))
    cli_why_say(w->change, "served tokens are not counted: --serve TOKENS asks for a smaller model trained for longer");
}

void cli_why_train(const json_t *p, cli_why *w) {
  train_bound(p, w);
  say_warnings(p, w);
  train_lost(p, w);
  train_change(p, w);
  cli_why_say(w->sources, "law %s, constants %s: %s", cli_text_at(p, "law.name"), cli_text_at(p, "law.set"), cli_text_at(p, "law.source"));
  cli_why_say(w->sources, "the law counts: %s", cli_text_at(p, "law.counts"));
  cli_why_say(w->sources, "batch: %s", cli_text_at(p, "batch_rule"));
  cli_why_say(w->sources, "times: %s", cli_text_at(p, "calibration.source"));
  say_device(json_object_get(p, "device"), w);
  say_grid(p, w);
}

// ---- layout ---------------------------------------------------------------------------------------------------------

static void layout_name(const json_t *l, char *buf, size_t n) {
  (void)snprintf(buf, n, "tensor %.0f, pipeline %.0f, data %.0f, context %.0f, micro-batch %.0f, ZeRO %.0f, schedule %s, recompute %s",
                 cli_at(l, "tensor"), cli_at(l, "pipeline"), cli_at(l, "data"), cli_at(l, "context"), cli_at(l, "micro_batch"), cli_at(l, "zero"),
                 cli_text_at(l, "schedule"), cli_text_at(l, "recompute"));
}

// The best of the front under one change of the chosen layout.
static void best_other(const json_t *p, const char *key, cli_why *w) {
  const json_t *front = json_object_get(p, "front"), *best = cli_json_at(p, "fastest.layout");
  char text[300];
  for (size_t i = 0; i < json_array_size(front); i++) {
    const json_t *o = json_array_get(front, i);
    if (json_equal(json_object_get(o, key), json_object_get(best, key))) continue;
    layout_name(o, text, sizeof text);
    cli_why_lost(w, cli_at(o, "step_s") / cli_at(p, "fastest.step.step_s"), "step time with another %s degree or setting on the front: %s", key,
                 text);
    return;
  }
}

void cli_why_layout(const json_t *p, cli_why *w) {
  static const char *const KEY[] = {"tensor", "pipeline", "context", "micro_batch", "recompute", "zero", "schedule"};
  const json_t *one = json_object_get(p, json_object_get(p, "given") ? "given" : "fastest"), *v;
  const char *part, *most = "";
  double largest = 0;
  char text[300], b[40], c[40];
  layout_name(json_object_get(one, "layout"), text, sizeof text);
  cli_why_say(w->bound, "%s: %s", json_object_get(p, "given") ? "given" : "chosen", text);
  cli_why_say(w->bound, "a step is bound by %s; MFU %.1f%%, its roofline would take %s of %s", cli_text_at(p, "binding"),
              100 * cli_at(one, "step.mfu"), show(cli_at(one, "step.rooflines.roofline_s"), ISO_UNIT_S, b),
              show(cli_at(one, "step.step_s"), ISO_UNIT_S, c));
  json_object_foreach(json_object_get(one, "memory"), part,
                      v) if (strncmp(part, "total", 5) && strncmp(part, "host", 4) && json_number_value(v) > largest) {
    largest = json_number_value(v);
    most = part;
  }
  cli_why_say(w->bound, "memory: %s of a device, most of it %.*s (%s)%s", show(cli_at(one, "memory.total_bytes"), ISO_UNIT_BYTE, b),
              (int)strcspn(most, "_"), most, show(largest, ISO_UNIT_BYTE, c),
              json_is_true(cli_json_at(p, "shadow.memory_binds")) ? "; it binds: 10% more would be faster" : "");
  for (size_t i = 0; i < ISO_COUNT(KEY) && json_object_get(p, "front"); i++) best_other(p, KEY[i], w);
  static const char *const GOAL[] = {"cheapest", "coolest", "smallest"};
  for (size_t i = 0; i < ISO_COUNT(GOAL); i++)
    if (json_object_get(p, GOAL[i]))
      cli_why_lost(w, cli_at(json_object_get(p, GOAL[i]), "step.step_s") / cli_at(p, "fastest.step.step_s"),
                   "step time of the %s layout (%.0f devices, %s a step)", GOAL[i], cli_at(json_object_get(p, GOAL[i]), "layout.devices"),
                   show(cli_at(json_object_get(p, GOAL[i]), "step.usd"), ISO_UNIT_USD, b));
  if (!isnan(cli_at(p, "shadow.step_s_per_gib")))
    cli_why_say(w->change, "1 GiB more a device: %s less of a step", show(cli_at(p, "shadow.step_s_per_gib"), ISO_UNIT_S, b));
  if (!isnan(cli_at(p, "shadow.step_s_per_device")))
    cli_why_say(w->change, "a device more: %s less; half of them: %s a step", show(cli_at(p, "shadow.step_s_per_device"), ISO_UNIT_S, b),
                show(cli_at(p, "shadow.step_s_with_half_the_devices"), ISO_UNIT_S, c));
  cli_why_say(w->sources, "times: %s", cli_text_at(p, "calibration.source"));
  say_device(json_object_get(p, "device"), w);
  say_grid(p, w);
}

// ---- cluster --------------------------------------------------------------------------------------------------------

void cli_why_cluster(const json_t *p, cli_why *w) {
  const char *name, *chosen = cli_text_at(p, "chosen");
  const json_t *o;
  json_t *all = json_object_get(p, "schedulers"), *own = json_object_get(all, chosen);
  char b[40], c[40];
  bool deadlines = cli_at(own, "with_deadline") > 0;
  cli_why_say(w->bound, "%s binds: nobody ends before %s (%s), %s ends after %s (%.1f%% later)", cli_text_at(p, "binding"),
              show(cli_at(p, "bound.makespan_s"), ISO_UNIT_S, b), cli_text_at(p, "bound.by"), chosen, show(cli_at(own, "makespan_s"), ISO_UNIT_S, c),
              100 * cli_at(p, "bound.gap"));
  if (deadlines) cli_why_say(w->bound, "%s keeps %.0f of %.0f deadlines", chosen, cli_at(own, "deadlines_met"), cli_at(own, "with_deadline"));
  cli_why_say(w->bound, "%.1f%% of device time is in use, %.2f%% of it restarts (%.0f of them, %s each)", 100 * cli_at(own, "utilisation"),
              100 * cli_at(own, "restart_device_h") / cli_at(own, "device_h"), cli_at(own, "restarts"), show(cli_at(p, "restart_s"), ISO_UNIT_S, b));
  json_object_foreach(all, name, o) {
    if (strcmp(name, chosen) == 0) continue;
    char met[60] = "";
    if (deadlines) (void)snprintf(met, sizeof met, "; it keeps %.0f deadlines", cli_at(o, "deadlines_met"));
    cli_why_lost(w, cli_at(o, "mean_completion_s") / cli_at(own, "mean_completion_s"), "mean completion time of %s%s", name, met);
    cli_why_lost(w, cli_at(o, "usd") / cli_at(own, "usd"), "price of %s", name);
  }
  cli_why_say(w->change, "%.0f devices more: makespan %+.3g s, mean completion %+.3g s, %+.0f deadlines", cli_at(p, "shadow.devices_more"),
              -cli_at(p, "shadow.makespan_s_saved"), -cli_at(p, "shadow.mean_completion_s_saved"), cli_at(p, "shadow.deadlines_met_more"));
  cli_why_say(w->sources, "times: %s", cli_text_at(p, "calibration.source"));
  say_device(json_object_get(p, "device"), w);
  say_grid(p, w);
}

// ---- hparams --------------------------------------------------------------------------------------------------------

void cli_why_hparams(const json_t *p, cli_why *w) {
  const json_t *laws = json_object_get(p, "laws");
  char b[40];
  if (!isnan(cli_at(p, "batch.tokens")))
    cli_why_say(w->bound, "batch of %s %s", show(cli_at(p, "batch.tokens"), ISO_UNIT_TOK, b),
                json_is_true(cli_json_at(p, "batch.given")) ? "was given"
                : json_is_true(json_object_get(p, "above_critical"))
                    ? "follows from the laws and is above the critical batch: fewer steps for more tokens"
                    : "is the power of two nearest to the laws' mean, below the critical batch");
  for (size_t i = 0; i < json_array_size(laws); i++) {
    const json_t *l = json_array_get(laws, i);
    const char *what = cli_text_at(l, "for");
    if (json_is_true(json_object_get(l, "used"))) {
      cli_why_lost(w, cli_at(l, "value") / cli_at(cli_json_at(p, what), "value"), "%s: %s (%s) says %.4g", what, cli_text_at(l, "law"),
                   cli_text_at(l, "set"), cli_at(l, "value"));
      cli_why_say(w->sources, "%s: %s", cli_text_at(l, "law"), cli_text_at(l, "source"));
    } else {
      cli_why_say(w->bound, "%s: %s %s is left out: %s", what, cli_text_at(l, "law"), cli_text_at(l, "set"), cli_text_at(l, "why_not"));
    }
  }
  cli_why_say(w->sources, "beta2: %s", cli_text_at(p, "beta2.source"));
  static const char *const TWICE[] = {"twice_the_params", "twice_the_tokens"};
  for (int k = 0; k < 2; k++) {
    const json_t *o = cli_json_at(json_object_get(p, "sensitivity"), TWICE[k]);
    cli_why_say(w->change, "%s: learning rate %.4g instead of %.4g, best batch %s", k ? "twice the tokens" : "twice the parameters", cli_at(o, "lr"),
                cli_at(p, "lr.value"), show(cli_at(o, "batch_tokens"), ISO_UNIT_TOK, b));
  }
}

// ---- serve and infer ------------------------------------------------------------------------------------------------

void cli_why_serve(const json_t *p, cli_why *w) {
  const char *type;
  const json_t *v;
  double mid = cli_at(p, "usd_h");
  cli_why_say(w->bound, "%s stops more requests on the replicas that carry most of the load", cli_text_at(p, "binding"));
  say_warnings(p, w);
  if (cli_json_at(p, "infeasible"))
    cli_why_say(w->bound, "simulated, the fleet keeps the limits for %.2f%% of the requests: %s", 100 * cli_at(p, "infeasible.attained"),
                cli_text_at(p, "infeasible.limit"));
  cli_why_say(w->bound, "no fleet costs less than $%.4g an hour by the program's bound (gap %.2f%%), at %.3g times the load",
              cli_at(p, "usd_h_bound"), 100 * cli_at(p, "gap"), cli_at(p, "headroom"));
  if (json_is_false(json_object_get(p, "slo_met"))) cli_why_say(w->bound, "the simulation misses the limits even so");
  json_object_foreach(json_object_get(p, "left_out"), type, v) cli_why_say(w->bound, "left out: %s", json_string_value(v));
  json_object_foreach(json_object_get(p, "usd_h_one_type"), type, v) {
    if (json_is_null(v))
      cli_why_say(w->bound, "%s alone does not carry every size within the limits", type);
    else if (iso_json_value(v) > mid * (1 + 1e-9))
      cli_why_lost(w, iso_json_value(v) / mid, "price of %s alone", type);
  }
  cli_why_lost(w, cli_at(p, "phase_split.split.usd_h") / mid, "price of pools split by phase");
  cli_why_say(w->change, "a request a second more: $%.3g an hour", cli_at(p, "shadow.usd_h_per_req_per_s"));
  double slow = cli_at(p, "usd_h.hi");
  if (isnan(slow))
    cli_why_say(w->change, "times at the fast end of their interval: $%.4g an hour; at the slow end no fleet keeps the limits",
                cli_at(p, "usd_h.lo"));
  else
    cli_why_say(w->change, "times at the ends of their interval: $%.4g to $%.4g an hour", cli_at(p, "usd_h.lo"), cli_at(p, "usd_h.hi"));
  cli_why_say(w->sources, "times: %s", cli_text_at(p, "calibration"));
}

void cli_why_infer(const json_t *p, cli_why *w) {
  char b[40], c[40];
  say_warnings(p, w);
  cli_why_say(w->bound, "users: %s of cache each, %s free on a device, %.0f at once", show(cli_at(p, "memory.kv_b_per_seq"), ISO_UNIT_BYTE, b),
              show(cli_at(p, "memory.free_b_per_device"), ISO_UNIT_BYTE, c), cli_at(p, "memory.users"));
  cli_why_say(w->bound, "first token: %s; token after token: %s", cli_text_at(p, "ttft_s.bound"), cli_text_at(p, "itl_s.bound"));
  cli_why_say(w->bound, "%s between tokens, of which the roofline needs %s", show(cli_at(p, "itl_s"), ISO_UNIT_S, b),
              show(cli_at(p, "itl_s.floor"), ISO_UNIT_S, c));
  const json_t *front = cli_json_at(p, "energy.choices.front");
  for (size_t i = 0; i < json_array_size(front); i++) {
    const json_t *o = json_array_get(front, i);
    cli_why_lost(w, cli_at(o, "itl_s") / cli_at(p, "itl_s"), "time between tokens on %.0f devices at batch %.0f, %s a token", cli_at(o, "devices"),
                 cli_at(o, "batch"), show(cli_at(o, "j_per_tok"), ISO_UNIT_JOULE, b));
  }
  cli_why_say(w->change, "a sequence more: %s on each step", show(cli_at(p, "shadow.itl_s_per_sequence"), ISO_UNIT_S, b));
  cli_why_say(w->change, "a GB more for the cache: %.3g users more", cli_at(p, "shadow.users_per_gb"));
  cli_why_say(w->sources, "times: %s", cli_text_at(p, "calibration"));
  cli_why_say(w->sources, "device %s: %s", cli_text_at(p, "device.name"), cli_text_at(p, "device.source"));
}

// ---- this machine, and others ---------------------------------------------------------------------------------------

void cli_why_machine(const json_t *p, cli_why *w) {
  double shadow = cli_at(p, "plan.shadow_bpb_per_log_budget");
  cli_why_say(w->bound, "%s", cli_text_at(p, "plan.why"));
  if (cli_text_at(p, "plan.binding")[0]) cli_why_say(w->bound, "%s binds", cli_text_at(p, "plan.binding"));
  if (!isnan(shadow))
    cli_why_say(w->change, "1%% more %s: %+.3g bits per byte; twice as much: about %+.3g", cli_text_at(p, "plan.binding"), shadow * log(1.01),
                shadow * log(2));
  const json_t *notes = cli_json_at(p, "summary.notes");
  for (size_t i = 0; i < json_array_size(notes); i++) cli_why_say(w->sources, "%s", json_string_value(json_array_get(notes, i)));
  cli_why_say(w->sources, "times: this machine's calibration (isoflop calibrate --show)");
}

void cli_why_other(const json_t *p, cli_why *w) {
  const char *name;
  const json_t *v;
  if (cli_text_at(p, "binding")[0]) cli_why_say(w->bound, "%s binds", cli_text_at(p, "binding"));
  say_warnings(p, w);
  json_object_foreach(json_object_get(p, "shadow"), name, v) if (json_is_number(v)) cli_why_say(w->change, "%s: %.4g", name, json_number_value(v));
  if (cli_text_at(p, "source")[0]) cli_why_say(w->sources, "%s", cli_text_at(p, "source"));
}
