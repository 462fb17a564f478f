// isoflop plan layout: the parallel layouts of a training step on a cluster, or the price of a given one.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan/args.h"
#include "plan/layout/layout_adapt.h"

static const char *const EXAMPLES[] = {"isoflop plan layout --model llama3-70b --cluster 512xa100-80 --batch 4Mtok --seq 4096",
                                       "isoflop plan layout --model gpt3-175b --cluster 1024xh100 --batch 1536 --seq 2048 --tokens 300Btok --json",
                                       "isoflop plan layout --model llama3-8b --cluster 16xa100-80 --batch 256 --layout t=2,d=8,mb=2,zero=1",
                                       "isoflop plan layout --model deepseek-v3 --cluster 2048xh800 --batch 15360 --fp8 --bf16-moments", NULL};
static const cli_opt OPTS[] = {
    {"model", CLI_TEXT, "MODEL", NULL, CLI_MODEL_HELP},
    CLI_CLUSTER_OPTS,
    {"batch", CLI_TEXT, "SIZE", NULL, "sequences of an optimizer step, or tokens as in 4Mtok (within 5%: a count that divides well)"},
    {"seq", CLI_INT, "N", "4096", "tokens a sequence"},
    {"tokens", CLI_TEXT, "TOKENS", NULL, "also time, energy and price of a whole run of so many tokens, as in 300Btok"},
    {"layout", CLI_TEXT, "KEY=N,...", NULL,
     "price this layout: t, p, d, c, e (degrees), mb, v (chunks), zero, local (neighbours of local splits), weights, gradients, states "
     "(all, local, or weights=hpz), quantised, sp, schedule, held (chunks that v_adaptive may hold), recompute, offload"},
    {"activation-limit", CLI_REAL, "SHARE", NULL,
     "v_adaptive schedules hold at most this share of 1F1B's activations, as in 0.5 (default: what is left of the memory)"},
    {"blocks", CLI_INT, "N", "8", "layouts for which the search looks for a pipeline's building block (v_adaptive), 0 to 64"},
    {"measured", CLI_TEXT, "TIME", NULL, "of a step of --layout, as in 18.1s: its MFU and TFLOP/s by each convention beside the predicted ones"},
    {"quantised-collectives", CLI_FLAG, NULL, NULL, "also try ZeRO-3 with int8 weights and int4 gradients between nodes; they change the numerics"},
    {"bytes", CLI_TEXT, "W,G,O", NULL, "bytes per parameter of weights, gradients and optimizer state (default: 2,4,12, mixed-precision Adam)"},
    {"no-flash", CLI_FLAG, NULL, NULL, "attention keeps its scores in memory"},
    {"dropout", CLI_FLAG, NULL, NULL, "dropout masks are kept for the backward pass"},
    {"fp8", CLI_FLAG, NULL, NULL, "products of the blocks, what they keep and what goes to experts in fp8 (router, head and attention stay 16-bit)"},
    {"bf16-moments", CLI_FLAG, NULL, NULL, "Adam's moments in bf16: 8 bytes of optimizer state a parameter instead of 12"},
    CLI_PLAN_OPTS,
};

typedef struct given {
  iso_layout layout;
  bool seq_parallel_given;
  int64_t held;
} given;

static iso_status put_sched(iso_layout *l, const char *value, iso_err *err) {
  for (int s = ISO_LAYOUT_GPIPE; s < ISO_LAYOUT_SCHEDS; s++)
    if (strcmp(value, iso_layout_sched_name((iso_layout_sched)s)) == 0) {
      l->schedule = (iso_layout_sched)s;
      return ISO_OK;
    }
  iso_fail(err, ISO_EINVAL, "schedule %s", value);
  return iso_hint(err, ISO_EINVAL, "gpipe, 1f1b, interleaved, zb_h1, zb_h2, zb_v, v_half, v_min, dualpipe or v_adaptive");
}

static iso_status put_split(iso_layout_split *to, const char *key, const char *value, iso_err *err) {
  for (int s = ISO_LAYOUT_SPLIT_ALL; s <= ISO_LAYOUT_SPLIT_HPZ; s++)
    if (strcmp(value, iso_layout_split_name((iso_layout_split)s)) == 0) {
      *to = (iso_layout_split)s;
      return ISO_OK;
    }
  iso_fail(err, ISO_EINVAL, "%s=%s", key, value);
  return iso_hint(err, ISO_EINVAL, "all, local, or for weights hpz");
}

static iso_status put_recompute(iso_layout *l, const char *value, iso_err *err) {
  for (int r = ISO_LAYOUT_KEEP; r <= ISO_LAYOUT_FULL; r++)
    if (strcmp(value, iso_layout_recompute_name((iso_layout_recompute)r)) == 0) {
      l->recompute = (iso_layout_recompute)r;
      return ISO_OK;
    }
  iso_fail(err, ISO_EINVAL, "recompute %s", value);
  return iso_hint(err, ISO_EINVAL, "%s, %s or %s", iso_layout_recompute_name(ISO_LAYOUT_KEEP), iso_layout_recompute_name(ISO_LAYOUT_SELECTIVE),
                  iso_layout_recompute_name(ISO_LAYOUT_FULL));
}

static iso_status put_layout(void *self, const char *key, const char *value, iso_err *err) {
  given *g = self;
  iso_layout *l = &g->layout;
  const struct {
    const char *name, *other;
    int64_t *to;
  } num[] = {{"t", "tensor", &l->tensor},   {"p", "pipeline", &l->pipeline}, {"d", "data", &l->data},
             {"c", "context", &l->context}, {"e", "expert", &l->expert},     {"mb", "micro_batch", &l->micro_batch},
             {"v", "chunks", &l->chunks},   {"local", "local", &l->local},   {"held", "held_chunks", &g->held}};
  if (strcmp(key, "schedule") == 0) return put_sched(l, value, err);
  if (strcmp(key, "recompute") == 0) return put_recompute(l, value, err);
  if (strcmp(key, "weights") == 0) return put_split(&l->weights_over, key, value, err);
  if (strcmp(key, "gradients") == 0) return put_split(&l->grads_over, key, value, err);
  if (strcmp(key, "states") == 0) return put_split(&l->states_over, key, value, err);
  char *end;
  long long n = strtoll(value, &end, 10);
  if (*end || n < 0 || n > 1 << 24) return iso_fail(err, ISO_EINVAL, "%s=%s: expected a whole number", key, value);
  for (size_t i = 0; i < ISO_COUNT(num); i++)
    if (strcmp(key, num[i].name) == 0 || strcmp(key, num[i].other) == 0) {
      *num[i].to = n;
      return ISO_OK;
    }
  if (strcmp(key, "zero") == 0) {
    l->zero = (int)n;
  } else if (strcmp(key, "sp") == 0 || strcmp(key, "seq_parallel") == 0) {
    l->seq_parallel = n != 0;
    g->seq_parallel_given = true;
  } else if (strcmp(key, "offload") == 0) {
    l->offload = n != 0;
  } else if (strcmp(key, "quantised") == 0) {
    l->quantised = n != 0;
  } else {
    iso_fail(err, ISO_EINVAL, "no key %s", key);
    return iso_hint(err, ISO_EINVAL,
                    "keys are t, p, d, c, e, mb, v, zero, local, weights, gradients, states, quantised, sp, schedule, held, recompute, offload");
  }
  return ISO_OK;
}

// ---- tables ---------------------------------------------------------------------------------------------------------

static void layout_text(const json_t *l, char *buf, size_t n) {
  const struct {
    const char *key, *shown;
  } part[] = {{"tensor", "t"}, {"pipeline", "p"}, {"data", "d"}, {"context", "c"}, {"expert", "e"}, {"micro_batch", "mb"}, {"chunks", "v"}};
  size_t at = 0;
  *buf = 0;
  for (size_t i = 0; i < ISO_COUNT(part); i++) {
    double v = cli_at(l, part[i].key);
    bool always = i < 3 || strcmp(part[i].shown, "mb") == 0;
    if (v > 1 || always) at += (size_t)snprintf(buf + at, n - at, "%s%s=%.0f", at ? "," : "", part[i].shown, v);
  }
  at += (size_t)snprintf(buf + at, n - at, ",zero=%.0f,sp=%d", cli_at(l, "zero"), json_is_true(cli_json_at(l, "seq_parallel")));
  if (cli_at(l, "pipeline") > 1) at += (size_t)snprintf(buf + at, n - at, ",schedule=%s", cli_text_at(l, "schedule"));
  if (cli_json_at(l, "held_chunks")) at += (size_t)snprintf(buf + at, n - at, ",held=%.0f", cli_at(l, "held_chunks"));
  if (cli_json_at(l, "local")) {
    at += (size_t)snprintf(buf + at, n - at, ",local=%.0f", cli_at(l, "local"));
    const char *const over[][2] = {{"weights", "weights_over"}, {"gradients", "gradients_over"}, {"states", "states_over"}};
    for (size_t i = 0; i < ISO_COUNT(over); i++)
      if (strcmp(cli_text_at(l, over[i][1]), "all") != 0) at += (size_t)snprintf(buf + at, n - at, ",%s=%s", over[i][0], cli_text_at(l, over[i][1]));
    if (json_is_true(cli_json_at(l, "quantised"))) at += (size_t)snprintf(buf + at, n - at, ",quantised=1");
  }
  at += (size_t)snprintf(buf + at, n - at, ",recompute=%s", cli_text_at(l, "recompute"));
  if (json_is_true(cli_json_at(l, "offload"))) (void)snprintf(buf + at, n - at, ",offload=1");
}

// "weights 12.3 GiB, ..." or "compute 1.20 s, ...": the parts above 1% of the whole, largest first.
static void parts_text(const json_t *parts, const char *ending, double whole, iso_unit u, iso_str *s) {
  const char *key;
  const json_t *v;
  double below = INFINITY;
  for (bool more = true; more;) {
    const char *best = NULL;
    double most = 0.01 * whole;
    json_object_foreach((json_t *)(uintptr_t)parts, key, v) {
      size_t n = strlen(key), e = strlen(ending);
      double x = json_number_value(v);
      if (n <= e || strcmp(key + n - e, ending) != 0 || strncmp(key, "total", 5) == 0 || strncmp(key, "host", 4) == 0) continue;
      if (x < below && x > most) {
        most = x;
        best = key;
      }
    }
    more = best != NULL;
    if (!best) break;
    char b[40];
    iso_str_fmt(s, "%s%.*s %s", s->n ? ", " : "", (int)(strlen(best) - strlen(ending)), best, iso_unit_print(most, u, b, sizeof b));
    below = most;
  }
}

// What the pipeline waits for each number of chunks that it may hold.
static void print_trade(const json_t *a) {
  for (size_t i = 0; i < json_array_size(a); i++) {
    const json_t *o = json_array_get(a, i);
    cli_row(i ? "" : "  activations", "%.0f%% of 1F1B's (%.0f chunks): bubbles and hops %.1f%%", 100 * cli_at(o, "activation_share"),
            cli_at(o, "held_chunks"), 100 * cli_at(o, "bubble_share"));
  }
}

// One step by each convention of counting FLOPs.
static void print_rates(const char *name, const json_t *o, const char *key) {
  const json_t *r = cli_json_at(o, key);
  if (!r) return;
  cli_row(name, "MFU %.2f%% causal, %.2f%% every pair, %.2f%% by 6 N; %.1f TFLOP/s a device, %.1f with what is computed again",
          100 * cli_at(r, "mfu"), 100 * cli_at(r, "mfu_full_attention"), 100 * cli_at(r, "mfu_6n"), cli_at(r, "model_tflop_per_s_per_device"),
          cli_at(r, "hardware_tflop_per_s_per_device"));
}

// Stages that are not alike: "2 of 4 blocks, 5 of 5, 1 of 4" in the model's order.
static void print_stages(const json_t *blocks) {
  iso_str s = {0};
  size_t n = json_array_size(blocks), first = 0;
  for (size_t i = 1; i <= n; i++) {
    json_int_t k = json_integer_value(json_array_get(blocks, first));
    if (i < n && json_integer_value(json_array_get(blocks, i)) == k) continue;
    iso_str_fmt(&s, "%s%zu of %lld%s", first ? ", " : "", i - first, (long long)k, first ? "" : " blocks");
    if (i < n || first) first = i;
  }
  if (first) cli_row("  stages", "%s", s.p ? s.p : "");
  iso_str_free(&s);
}

static void print_one(const char *name, const json_t *o) {
  char text[280], b[40];
  iso_str s = {0};
  layout_text(json_object_get(o, "layout"), text, sizeof text);
  printf("\n%s: %.0f devices, %s\n", name, cli_at(o, "layout.devices"), text);
  print_stages(json_object_get(o, "stage_blocks"));
  cli_row_range("  step", o, "step.step_s", ISO_UNIT_S);
  cli_row("  utilisation", "MFU %.1f%% (%.1f%% to %.1f%%), HFU %.1f%%; %s a second", 100 * cli_at(o, "step.mfu"), 100 * cli_at(o, "step.mfu.lo"),
          100 * cli_at(o, "step.mfu.hi"), 100 * cli_at(o, "step.hfu"), iso_unit_print(cli_at(o, "step.tok_per_s"), ISO_UNIT_TOK, b, sizeof b));
  print_rates("  by convention", o, "rates");
  print_rates("  measured", o, "measured");
  if (!isnan(cli_at(o, "measured.predicted_over_measured"))) cli_row("", "predicted / measured %.3f", cli_at(o, "measured.predicted_over_measured"));
  if (json_is_false(json_object_get(o, "fits"))) cli_row("  memory", "%s", cli_text_at(o, "why_not"));
  parts_text(cli_json_at(o, "step.parts"), "_s", cli_at(o, "step.step_s"), ISO_UNIT_S, &s);
  cli_row("  step parts", "%s", s.p ? s.p : "");
  iso_str_free(&s);
  parts_text(cli_json_at(o, "memory"), "_bytes", cli_at(o, "memory.total_bytes"), ISO_UNIT_BYTE, &s);
  cli_row("  memory a device", "%s: %s", iso_unit_print(cli_at(o, "memory.total_bytes"), ISO_UNIT_BYTE, b, sizeof b), s.p ? s.p : "");
  iso_str_free(&s);
  print_trade(json_object_get(o, "activation_trade"));
  cli_row_range("  a step costs", o, "step.usd", ISO_UNIT_USD);
  cli_row_range("  and takes", o, "step.energy_j", ISO_UNIT_JOULE);
}

// The front by step time, thinned to points that need a tenth less memory than the one before.
static void print_front(const json_t *front) {
  char text[280], step[40], mem[40], usd[40], joule[40];
  double last = INFINITY;
  int shown = 0;
  printf("\n%10s %8s %6s %10s %10s %10s  %s\n", "step", "devices", "MFU", "memory", "usd", "energy", "layout");
  for (size_t i = 0; i < json_array_size(front) && shown < 10; i++) {
    const json_t *o = json_array_get(front, i);
    if (cli_at(o, "memory_bytes") > 0.9 * last) continue;
    last = cli_at(o, "memory_bytes");
    shown++;
    layout_text(o, text, sizeof text);
    printf("%10s %8.0f %5.1f%% %10s %10s %10s  %s\n", iso_unit_print(cli_at(o, "step_s"), ISO_UNIT_S, step, sizeof step), cli_at(o, "devices"),
           100 * cli_at(o, "mfu"), iso_unit_print(cli_at(o, "memory_bytes"), ISO_UNIT_BYTE, mem, sizeof mem),
           iso_unit_print(cli_at(o, "usd"), ISO_UNIT_USD, usd, sizeof usd),
           iso_unit_print(cli_at(o, "energy_j"), ISO_UNIT_JOULE, joule, sizeof joule), text);
  }
  printf("  %d of %zu points of the front, each with a tenth less memory than the one before; --json has all\n", shown, json_array_size(front));
}

static bool same_layout(const json_t *a, const json_t *b) { return json_equal(json_object_get(a, "layout"), json_object_get(b, "layout")); }

static void print_plan(const json_t *r) {
  static const char *const GOAL[] = {"fastest", "cheapest", "coolest", "smallest"};
  char b[40], c[40];
  cli_row("model", "%s: %.4g parameters, %.4g of them active; %.4g FLOPs a token", cli_text_at(r, "model.name"), cli_at(r, "model.params"),
          cli_at(r, "model.active_params"), cli_at(r, "model.train_flop_per_token"));
  cli_row("numbers", "%s products; bytes a parameter: weight %g, gradient %g, optimizer %g", cli_text_at(r, "numbers.products"),
          cli_at(r, "numbers.weight_bytes"), cli_at(r, "numbers.gradient_bytes"), cli_at(r, "numbers.optimizer_bytes"));
  cli_row("cluster", "%.0f x %s", cli_at(r, "cluster_devices"), cli_text_at(r, "machine.name"));
  cli_row("batch", "%.0f sequences of %.0f tokens, %s", cli_at(r, "batch_sequences"), cli_at(r, "model.seq"),
          iso_unit_print(cli_at(r, "batch_tokens"), ISO_UNIT_TOK, b, sizeof b));
  if (json_object_get(r, "search"))
    cli_row("search", "%.0f layouts tried, %.0f fit, %.0f on the front; building blocks searched for %.0f, %.0f more may be faster",
            cli_at(r, "search.tried"), cli_at(r, "search.feasible"), cli_at(r, "search.front"), cli_at(r, "search.building_blocks"),
            cli_at(r, "search.building_blocks_left"));
  if (json_object_get(r, "given")) print_one("given layout", json_object_get(r, "given"));
  for (size_t i = 0; i < ISO_COUNT(GOAL); i++) {
    const json_t *o = json_object_get(r, GOAL[i]);
    bool seen = false;
    for (size_t k = 0; k < i; k++) seen = seen || same_layout(o, json_object_get(r, GOAL[k]));
    if (o && !seen) print_one(GOAL[i], o);
  }
  if (json_object_get(r, "front")) print_front(json_object_get(r, "front"));
  printf("\n");
  if (json_object_get(r, "run")) {
    cli_row("run", "%s in %.0f steps", iso_unit_print(cli_at(r, "run.tokens"), ISO_UNIT_TOK, b, sizeof b), cli_at(r, "run.steps"));
    cli_row_range("  time", r, "run.wall_s", ISO_UNIT_S);
    cli_row_range("  price", r, "run.usd", ISO_UNIT_USD);
    cli_row_range("  energy", r, "run.energy_j", ISO_UNIT_JOULE);
    cli_row_range("  carbon", r, "run.co2_g", ISO_UNIT_GRAM);
  }
  cli_row("binding", "%s%s", cli_text_at(r, "binding"), json_is_true(cli_json_at(r, "shadow.memory_binds")) ? "; and memory" : "");
  if (!isnan(cli_at(r, "shadow.step_s_per_gib")))
    cli_row("shadow price", "1 GiB more a device saves %s of a step", iso_unit_print(cli_at(r, "shadow.step_s_per_gib"), ISO_UNIT_S, b, sizeof b));
  if (!isnan(cli_at(r, "shadow.step_s_per_device")))
    cli_row("", "a device more saves %s; half of them take %s a step", iso_unit_print(cli_at(r, "shadow.step_s_per_device"), ISO_UNIT_S, b, sizeof b),
            iso_unit_print(cli_at(r, "shadow.step_s_with_half_the_devices"), ISO_UNIT_S, c, sizeof c));
  cli_row("intervals", "%s", cli_text_at(r, "intervals"));
  cli_row("times from", "%s", cli_text_at(r, "calibration.source"));
  cli_row("device from", "%s (%s)", cli_text_at(r, "device.source"), cli_text_at(r, "device.date"));
  if (!isnan(cli_at(r, "machine.usd_per_hour")))
    cli_row("price from", "%s; %s a device-hour", cli_text_at(r, "price_source"),
            iso_unit_print(cli_at(r, "machine.usd_per_hour"), ISO_UNIT_USD, b, sizeof b));
}

// ---- the verb -------------------------------------------------------------------------------------------------------

// The building block of a v_adaptive layout, and what it would wait with less memory.
static iso_status choose_block(const iso_layout_job *job, const cli_cluster *c, const iso_layout_cal *cal, given *g, double share, json_t **out,
                               iso_err *err) {
  iso_layout *l = &g->layout;
  iso_layout_adapt a;
  iso_layout_trace t;
  bool adaptive = l->schedule == ISO_LAYOUT_V_ADAPTIVE;
  if (!adaptive && (g->held || !isnan(share)))
    return iso_fail(err, ISO_EINVAL, "%s goes with schedule=v_adaptive", g->held ? "--layout: held" : "--activation-limit");
  if (!adaptive) return ISO_OK;
  int64_t held = isnan(share) ? g->held : iso_layout_adapt_share(l->pipeline, share);
  if (g->held && g->held < held) held = g->held;
  l->chunks = 2;
  ISO_TRY(iso_layout_adapt_step(job, &c->machine, cal, held, false, l, &a, err));
  iso_status st = iso_layout_simulate_step(job, &c->machine, cal, l, &t, err);
  *out = json_array();
  for (int64_t i = 0; st == ISO_OK && i < a.n; i++) {
    const iso_layout_adapt_point *p = &a.point[i];
    json_array_append_new(*out, json_pack("{s:i, s:o, s:o, s:o}", "held_chunks", (int)p->weave.held, "activation_share",
                                          iso_json_num((double)p->weave.held / (2 * (double)l->pipeline)), "pipeline_s", iso_json_num(p->span_s),
                                          "bubble_share", iso_json_num(1 - t.busy_s / p->span_s)));
  }
  if (st == ISO_OK) iso_layout_trace_close(&t);
  iso_layout_adapt_close(&a);
  return st;
}

// A given layout: its price, that of a run of `tokens`, and what a measured step comes to. A step that was measured did fit.
static iso_status price(const cli_args *a, const iso_layout_job *job, const cli_cluster *c, double tokens, double share, json_t **out, iso_err *err) {
  given g = {.layout = iso_layout_default()};
  iso_layout_step s;
  double measured;
  json_t *one;
  *out = NULL;
  ISO_TRY(cli_pairs(cli_text(a, "layout"), "--layout", put_layout, &g, err));
  ISO_TRY(cli_quantity(a, "measured", ISO_UNIT_S, &measured, err));
  if (!g.seq_parallel_given) g.layout.seq_parallel = g.layout.tensor > 1;
  int64_t n = iso_layout_devices(&g.layout);
  if (n > c->devices)
    return iso_fail(err, ISO_EINVAL, "--layout: %lld devices (t x p x d x c), the cluster has %lld", (long long)n, (long long)c->devices);
  json_t *waits = NULL;
  ISO_TRY(choose_block(job, c, &c->cal, &g, share, &waits, err));
  iso_status st = iso_layout_cost_json(job, &c->machine, &c->cal, &g.layout, isnan(measured), &one, err);
  if (st == ISO_OK) st = iso_layout_step_cost(job, &c->machine, &c->cal, &g.layout, &s, err);
  if (st != ISO_OK) {
    json_decref(waits);
    json_decref(one);
    return st;
  }
  for (size_t i = 0; i < json_array_size(waits); i++) iso_layout_ranges(json_array_get(waits, i), &s);
  if (waits) json_object_set_new(one, "activation_trade", waits);
  if (!isnan(measured)) {
    json_t *m = iso_layout_rates_json(job, &c->machine, &g.layout, measured);
    json_object_set_new(m, "interval", json_string("none: measured"));
    json_object_set_new(m, "predicted_over_measured", iso_json_num(s.step_s / measured));
    if (!isnan(tokens)) json_object_set_new(m, "run_s", iso_json_num(tokens / cli_at(m, "tok_per_s")));
    json_object_set_new(one, "measured", m);
  }
  *out = json_pack("{s:o, s:I, s:I, s:o, s:o, s:o, s:s, s:o}", "model", iso_layout_shape_json(&job->shape), "batch_sequences", (json_int_t)job->batch,
                   "batch_tokens", (json_int_t)(job->batch * job->shape.seq), "numbers", iso_layout_numbers_json(job), "machine",
                   iso_layout_machine_json(&c->machine), "calibration", iso_layout_cal_json(&c->cal), "binding", cli_text_at(one, "step.bound"),
                   "given", one);
  json_object_set_new(*out, "shadow", json_pack("{s:s}", "none", "a layout that is given leaves nothing to choose by a limit"));
  if (!isnan(tokens)) json_object_set_new(*out, "run", iso_layout_run_json(job, &s, tokens));
  return ISO_OK;
}

static void add_carbon(json_t *result, const iso_prices *p) {
  const json_t *e = cli_json_at(result, "run.energy_j");
  json_t *run = json_object_get(result, "run");
  if (!e || !run) return;
  double g = p->g_per_kwh / 3.6e6;
  json_object_set_new(run, "co2_g",
                      iso_json_range(cli_at(e, "value") * g, cli_at(e, "lo") * g, cli_at(e, "hi") * g, "the calibration tells no residuals"));
  json_object_set_new(result, "prices", iso_prices_json(p));
}

static iso_status read_bytes(const cli_args *a, iso_layout_job *j, iso_err *err) {
  const char *text = cli_text(a, "bytes");
  char rest;
  if (!text) return ISO_OK;
  if (sscanf(text, "%lf,%lf,%lf%c", &j->weight_b, &j->grad_b, &j->optim_b, &rest) != 3 || !(j->weight_b > 0 && j->grad_b > 0 && j->optim_b >= 0) ||
      j->weight_b > 64 || j->grad_b > 64 || j->optim_b > 64)
    return iso_fail(err, ISO_EINVAL, "--bytes: %.40s, expected three numbers as in 2,4,12", text);
  return ISO_OK;
}

static iso_status plan(const cli_args *a, const iso_prices *prices, json_t **out, iso_err *err) {
  iso_layout_job job = iso_layout_job_default();
  cli_cluster c = {0};
  double tokens, share = cli_given(a, "activation-limit") ? cli_real(a, "activation-limit") : NAN;
  int64_t seq = cli_seq(a);
  const char *model = cli_text(a, "model"), *layout = cli_text(a, "layout");
  if (!model) return iso_fail(err, ISO_EINVAL, "--model is missing");
  if (seq < 1) return iso_fail(err, ISO_EINVAL, "--seq: %lld, expected at least 1", (long long)seq);
  ISO_TRY(cli_model_layout(model, seq, &job.shape, err));
  ISO_TRY(cli_batch(a, seq, &job.batch, err));
  if (!job.batch) return iso_fail(err, ISO_EINVAL, "--batch is missing: sequences or tokens of an optimizer step, as in --batch 4Mtok");
  if (share <= 0 || share > 4) return iso_fail(err, ISO_EINVAL, "--activation-limit: %g, expected more than 0 and at most 4", share);
  ISO_TRY(cli_quantity(a, "tokens", ISO_UNIT_TOK, &tokens, err));
  ISO_TRY(read_bytes(a, &job, err));
  job.flash = !cli_flag(a, "no-flash");
  job.dropout = cli_flag(a, "dropout");
  if (cli_flag(a, "fp8")) iso_layout_job_fp8(&job);
  if (cli_flag(a, "bf16-moments")) job.optim_b = 4 + 2 + 2;
  iso_status st = cli_cluster_open(a, prices, &c, err);
  if (st == ISO_OK) iso_layout_job_use(&job, c.device);
  if (st == ISO_OK && layout) {
    st = price(a, &job, &c, tokens, share, out, err);
  } else if (st == ISO_OK) {
    iso_layout_search_opts o = iso_layout_search_opts_default(&c.machine, c.devices);
    o.quantised = cli_flag(a, "quantised-collectives");
    o.adapt = cli_int(a, "blocks");
    o.act_share = isnan(share) ? 0 : share;
    st = iso_layout_plan_json(&job, &c.machine, &c.cal, &o, isnan(tokens) ? 0 : tokens, out, err);
  }
  if (st == ISO_OK) {
    json_object_set_new(*out, "kind", json_string("layout"));
    json_object_set_new(*out, "intervals", json_string(CLI_PLAN_STEP_INTERVALS));
    json_object_set_new(*out, "cluster_devices", json_integer((json_int_t)c.devices));
    json_object_set_new(*out, "device", iso_device_spec_json(&c.device->spec));
    json_object_set_new(*out, "price_source", json_string(cli_given(a, "usd-h") ? "--usd-h" : c.device->spec.price_source));
    add_carbon(*out, prices);
  }
  cli_cluster_close(&c);
  return st;
}

static int run(cli_args *a) {
  if (cli_given(a, "layout") && cli_flag(a, "quantised-collectives"))
    return cli_usage(a, "--layout says itself whether collectives are quantised (quantised=1); --quantised-collectives goes with the search");
  if (cli_given(a, "measured") && !cli_given(a, "layout")) return cli_usage(a, "--measured is a step of --layout");
  return cli_plan_run(a, plan, print_plan);
}

const cli_verb cli_verb_plan_layout = {
    .name = "plan layout",
    .summary = "Parallel layouts of a training step on a cluster: time, MFU, memory, dollars, joules, and what binds.",
    .examples = EXAMPLES,
    .usage = "--model MODEL --cluster NxDEVICE --batch SIZE [--seq N] [--tokens TOKENS] [--layout KEY=N,... [--measured TIME]]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "Tries every tensor x pipeline x data x context x expert split, micro-batch, schedule, recomputation, ZeRO stage, splits inside nodes\n"
        "(ZeRO++) and offload of up to so many devices. gpipe and 1f1b take any number of stages: where they do not divide the layers, the last\n"
        "has a block less, then the first, then others from the front; other schedules may have one or two such stages.\n"
        "Times are closed forms with a 90% interval, calibrated on measured multi-node steps. MFU counts causal pairs of attention; other\n"
        "conventions stand beside it. Memory is in powers of 1,024 (GiB), rates in powers of ten.\n" CLI_PLAN_NOTE_EXIT,
    .stops_at_once = true,
    .run = run};
