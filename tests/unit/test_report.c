// Reports against the data they were made from: a synthetic demo run in a store, hostile texts, unknown numbers, an empty run.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>  // needs the ones above
// clang-format on
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "plan/fit/isoflop_method.h"
#include "report/report.h"
#include "report/text.h"

typedef struct world {
  iso_ctx *c;
  iso_store *s;
  char dir[64], path[96];
  iso_err e;
} world;

#define OK(call)                                    \
  do {                                              \
    if ((call) != ISO_OK) fail_msg("%s", w->e.msg); \
  } while (0)

static int setup(void **state) {
  world *w = calloc(1, sizeof *w);
  snprintf(w->dir, sizeof w->dir, "/tmp/iso_test_report.XXXXXX");
  assert_non_null(mkdtemp(w->dir));
  snprintf(w->path, sizeof w->path, "%s/runs.db", w->dir);
  OK(iso_ctx_open(1, &w->c, &w->e));
  OK(iso_store_open(w->c, w->path, &w->s, &w->e));
  *state = w;
  return 0;
}
static int teardown(void **state) {
  world *w = *state;
  iso_store_close(w->s);
  iso_ctx_close(w->c);
  char path[128];
  for (const char *const *p = (const char *const[]){"", "-wal", "-shm", NULL}; *p; p++) {
    snprintf(path, sizeof path, "%s%s", w->path, *p);
    unlink(path);
  }
  snprintf(path, sizeof path, "%s/report.html", w->dir);
  unlink(path);
  rmdir(w->dir);
  free(w);
  return 0;
}

// A law near what small byte-level models follow, for data that looks real.
static const double LAW[] = {4.8, 6.9, 0.79, 0.42, 0.41};
static const double LEVELS[] = {4e11, 1.2e12, 3.6e12, 1.08e13};
enum { SIZES = 6, SWEEP = 4 * SIZES };

static iso_cost cost_of(double wall, double flop, double ram) {
  iso_cost c = iso_cost_unknown();
  c.wall = iso_est_exact(wall);
  c.cpu = iso_est_exact(1.9 * wall);
  c.train_flop = iso_est_exact(flop);
  c.infer_flop = iso_est_exact(0);
  c.peak_ram = iso_est_exact(ram);
  c.energy = iso_est_exact(23 * wall);
  return c;
}
static iso_cost widened(iso_cost c, double by, double rel) {
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    iso_est *e = iso_cost_at(&c, (iso_res)r);
    if (!isnan(e->mean)) *e = iso_est_rel(e->mean * by, rel);
  }
  return c;
}

static json_t *law_json(void) {
  json_t *p = json_object(), *curve = json_array();
  static const char *const NAMES[] = {"log_a", "log_b", "log_e", "alpha", "beta"}, *const PLAIN[] = {"A", "B", "E"};
  static const double REL[] = {0.11, 0.09, 0.03, 0.035, 0.03};
  for (int k = 0; k < 3; k++)
    json_object_set_new(p, PLAIN[k],
                        json_pack("{s:f,s:f,s:f,s:f}", "value", exp(LAW[k]), "se", 0.1 * exp(LAW[k]), "lo", exp(LAW[k] * (1 - REL[k] / 3)), "hi",
                                  exp(LAW[k] * (1 + REL[k] / 3))));
  for (int k = 0; k < 5; k++)
    json_object_set_new(p, NAMES[k],
                        json_pack("{s:f,s:f,s:f,s:f}", "value", LAW[k], "se", 0.02, "lo", LAW[k] * (1 - REL[k]), "hi", LAW[k] * (1 + REL[k])));
  for (int i = 0; i < 40; i++) {
    double c = 2.5e11 * pow(1600, i / 39.0), rel = 0.006 + 0.012 * i / 39.0;
    iso_law_point o;
    iso_err e;
    assert_int_equal(iso_law_chinchilla.optimum(LAW, c, &o, &e), ISO_OK);
    json_array_append_new(curve, json_pack("{s:f,s:f,s:f,s:[f,f,f]}", "train_flop", c, "params", o.params, "tokens", o.tokens, "loss",
                                           o.loss * (1 - rel), o.loss, o.loss * (1 + rel)));
  }
  return json_pack("{s:s,s:i,s:f,s:f,s:f,s:i,s:{s:[f,f],s:[f,f],s:[f,f]},s:[s],s:o,s:o}", "law", "chinchilla", "points", SWEEP, "objective", 0.01234,
                   "huber_delta", 1e-3, "level", 0.9, "resamples", 4000, "range", "params", 1e5, 4e6, "tokens", 1e5, 8e6, "train_flop", LEVELS[0],
                   LEVELS[3], "warnings", "A and alpha are weakly identified: only their combination is.", "params", p, "curve", curve);
}

static void add_curve(world *w, const char *run, double n, double tokens, double end_loss, int64_t steps) {
  iso_store_sample *s = calloc((size_t)steps, sizeof *s);
  for (int64_t i = 0; i < steps; i++) {
    double t = (double)(i + 1) / (double)steps;
    s[i] = iso_store_sample_blank();
    s[i].step = i + 1;
    s[i].tokens = tokens * t;
    s[i].t_s = 100 * t;
    s[i].train_loss =
        end_loss + (8.3 - end_loss) * exp(-9 * sqrt(t)) + 0.25 * fmax(0, 1 - t) + 0.03 * iso_rng_normal(1, ISO_RNG_TEST, (uint64_t)n, (uint64_t)i);
    s[i].lr = 3e-3 * fmin(1, 5 * (1 - t));
    if ((i + 1) % (steps / 8) == 0) s[i].val_loss = end_loss + 0.22 * fmax(0, 1 - t) + 0.12 * pow(1 - t, 4) * 8;
    if (i == steps * 4 / 5) s[i].event = "decay";
  }
  OK(iso_store_curve_add(w->s, run, s, steps, &w->e));
  free(s);
}

typedef struct texts {
  const char *title, *command, *label, *sample, *note, *why;
} texts;
static const texts PLAIN = {
    NULL,
    "isoflop demo --budget 5m --seed 3",
    NULL,
    " an apparatus for measuring the\nquantity of heat.\n\nCaloric \\Ca*lor\"ic\\, n. [L. calor heat.] (Physics)\nThe principle of heat, or the "
    "agent to which the phenomena of heat and combustion were formerly ascribed; <i>not now used</i> & obsolete.",
    "Energy is a model, not a measurement: this machine shows no RAPL counters.",
    "At what was left of the budget the law puts the optimum near 2.2M parameters; of the shapes that fit the memory limit this one has the lowest "
    "predicted loss."};

static void sweep_of(world *w, const char *root, const char *label, iso_fit_data *fit) {
  iso_store_run r = iso_store_run_blank();
  char sweep[ISO_RUN_ID], id[ISO_RUN_ID], name[64];
  r.kind = "sweep";
  r.parent = root;
  OK(iso_store_begin(w->s, &r, sweep, &w->e));
  for (int i = 0; i < SWEEP; i++) {
    double c = LEVELS[i / SIZES];
    iso_law_point o;
    OK(iso_law_chinchilla.optimum(LAW, c, &o, &w->e));
    double n = floor(o.params * pow(2, (i % SIZES - 2.4) * 0.75)), d = c / (6 * n);
    double loss = iso_law_nd(&iso_law_chinchilla, LAW, n, d) * (1 + 0.004 * iso_rng_normal(2, ISO_RNG_TEST, 0, (uint64_t)i));
    r = iso_store_run_blank();
    r.kind = "train";
    r.parent = sweep;
    r.params = (int64_t)n;
    r.tokens = (int64_t)d;
    OK(iso_store_begin(w->s, &r, id, &w->e));
    OK(iso_store_finish(w->s, id, "done", &w->e));
    snprintf(name, sizeof name, "%s %d", label ? label : "sweep", i);
    iso_store_point p[2] = {iso_store_point_blank(), iso_store_point_blank()};
    p[0].run = p[1].run = id;
    p[0].label = p[1].label = name;
    p[0].metric = "val_loss_nats";
    p[1].metric = "bits_per_byte";
    p[0].quality = loss;
    p[1].quality = loss * 0.437;
    p[0].n_params = p[1].n_params = n;
    p[0].d_tokens = p[1].d_tokens = d;
    p[0].flops = p[1].flops = c;
    p[0].cost = p[1].cost = cost_of(c / 6e10 * (0.8 + 0.4 * iso_rng_unit(3, ISO_RNG_TEST, 0, (uint64_t)i)), c, 9e7 + 16 * n);
    OK(iso_store_points_add(w->s, p, 2, &w->e));
    fit->params[i] = n;
    fit->tokens[i] = d;
    fit->flop[i] = c;
    fit->loss[i] = loss;
    if (i % SIZES == 2 || i % SIZES == 4) add_curve(w, id, n, d, loss, 160);
  }
  OK(iso_store_finish(w->s, sweep, "done", &w->e));
}

// The bill of the demo: rows of work, then totals as --json ends with.
static void ledger_of(world *w, const char *id, const char *label) {
  static const struct {
    const char *label;
    double wall, flop, ram;
  } WORK[] = {
      {"calibrate", 9.7, 0, 5.4e7}, {"data: tokenizer", 6.1, 0, 2.1e8}, {"data: shards", 2.9, 0, 1.1e8}, {"sweep", 81.4, 9.4e13 * 0.35, 1.9e8},
      {"fit", 1.2, 0, 4e7},         {"train", 181.2, 1.39e14, 3.12e8},  {"evaluate", 7.3, 0, 2.2e8},     {"export", 0.4, 0, 9e7}};
  iso_run_row row[10] = {{.id = 0}};
  int n = 0;
  for (size_t i = 0; i < ISO_COUNT(WORK); i++, n++) {
    snprintf(row[n].label, sizeof row[n].label, "%s", label && i == 0 ? label : WORK[i].label);
    row[n].id = n;
    row[n].state = ISO_ROW_SETTLED;
    row[n].measured = cost_of(WORK[i].wall, WORK[i].flop, WORK[i].ram);
    row[n].predicted = widened(row[n].measured, 1 + 0.06 * iso_rng_normal(4, ISO_RNG_TEST, 0, (uint64_t)i), 0.08);
    row[n].predicted.energy = iso_est_unknown();
    row[n].measured.energy = i == 3 ? iso_est_unknown() : row[n].measured.energy;
  }
  snprintf(row[n].label, sizeof row[n].label, "start-up");
  row[n].state = ISO_ROW_CHARGED;
  row[n].id = n;
  row[n].predicted = iso_cost_unknown();
  row[n++].measured = cost_of(0.31, 0, 1.2e7);
  OK(iso_store_ledger_add(w->s, id, row, n, &w->e));
}

// A demo as the store would hold it; the id is returned.
static void demo(world *w, const texts *t, char id[ISO_RUN_ID]) {
  iso_store_run r = iso_store_run_blank();
  iso_fit_data fit;
  iso_parabolas par;
  r.kind = "demo";
  r.command = t->command;
  r.rev = "0.1.0-4-gabc1234";
  r.budget_json = "{\"wall\": 300.0, \"peak_ram\": 629145600.0}";
  r.seed = 3;
  r.data_hash = "9f8e7d6c5b4a3921";
  r.tok_hash = "1122334455667788";
  r.convention = "N all, head once; FLOPs of the model with causal attention";
  r.out_dir = "isoflop-demo";
  r.hw_id = "0011223344556677";
  OK(iso_store_begin(w->s, &r, id, &w->e));
  OK(iso_fit_data_open(SWEEP, &fit, &w->e));
  sweep_of(w, id, t->label, &fit);
  iso_parabola_opts po = iso_parabola_opts_default();
  OK(iso_parabolas_fit(&fit, &po, &par, &w->e));
  iso_fit_data_close(&fit);
  const double n = 2.21e6, d = 1.048e7;
  double loss = iso_law_nd(&iso_law_chinchilla, LAW, n, d), got = loss * 0.9925;
  add_curve(w, id, n, d, got, 2200);
  iso_store_point p[4] = {iso_store_point_blank(), iso_store_point_blank(), iso_store_point_blank(), iso_store_point_blank()};
  for (int i = 0; i < 4; i++) {
    p[i].run = id;
    p[i].predicted = i < 2;
    p[i].label = "chosen model";
    p[i].metric = i % 2 ? "bits_per_byte" : "val_loss_nats";
    p[i].quality = (i < 2 ? loss : got) * (i % 2 ? 0.437 : 1);
    p[i].q_lo = i < 2 ? p[i].quality * 0.985 : NAN;
    p[i].q_hi = i < 2 ? p[i].quality * 1.015 : NAN;
    p[i].stderr_ = i < 2 ? NAN : 0.0021;
    p[i].n_params = n;
    p[i].d_tokens = d;
    p[i].flops = 6 * n * d;
    p[i].cost = i < 2 ? widened(cost_of(181.2, 6 * n * d, 3.12e8), 1.03, 0.06) : cost_of(181.2, 6 * n * d, 3.12e8);
  }
  OK(iso_store_points_add(w->s, p, 4, &w->e));
  ledger_of(w, id, t->label);
  iso_cost all = cost_of(291.4, 1.72e14, 3.12e8);
  json_t *iso = iso_parabolas_json(&par), *hw;
  json_object_set_new(
      iso, "text",
      json_string("At 1.39e14 FLOP the parabolas put the optimum at N = 2.0M (N* ~ C^0.49) and the law at 2.2M (1.8M to 2.7M): they agree."));
  iso_hw h = iso_hw_blank();
  snprintf(h.id, sizeof h.id, "%s", r.hw_id);
  snprintf(h.name, sizeof h.name, "EPYC x2");
  snprintf(h.model_name, sizeof h.model_name, "AMD EPYC 9V45 96-Core Processor");
  snprintf(h.source, sizeof h.source, "calibrated");
  snprintf(h.energy_source, sizeof h.energy_source, "model:AMD EPYC 9005");
  snprintf(h.date, sizeof h.date, "2025-11-25");
  h.threads = 2;
  h.gemm_f32_flop_s = 4.31e11;
  hw = iso_hw_json(&h);
  json_t *why = iso_text_json(t->why), *note = iso_text_json(t->note), *sample = iso_text_json(t->sample), *title = iso_text_json(t->title);
  json_t *summary = json_pack("{s:o,s:o,s:o,s:o,s:s,s:[o],s:o,s:{s:f,s:f,s:i,s:f,s:o,s:{s:i,s:i,s:i,s:s},s:{s:[f,f,f],s:f}}}", "title", title, "hw",
                              hw, "isoflop", iso, "sample", sample, "sample_prompt", "A calorimeter is", "notes", note, "fit", law_json(), "plan",
                              "params", n, "tokens", d, "batch_tok", 16384, "lr", 0.0042, "why", why, "config", "layers", 6, "width", 192, "heads", 6,
                              "head", "tied", "predicted", "loss", loss * 0.985, loss, loss * 1.015, "bpb", loss * 0.437);
  assert_non_null(summary);
  iso_cost predicted = widened(all, 0.98, 0.04);
  predicted.energy = iso_est_unknown();
  json_t *result = json_pack("{s:i,s:i,s:f,s:o,s:o,s:o}", "params", (int)n, "tokens", (int)d, "elapsed_s", 291.4, "predicted",
                             iso_cost_json(&predicted), "measured", iso_cost_json(&all), "summary", summary);
  char *text = json_dumps(result, JSON_REAL_PRECISION(17));
  json_decref(result);
  r = iso_store_run_blank();
  r.result_json = text;
  OK(iso_store_update(w->s, id, &r, &w->e));
  OK(iso_store_finish(w->s, id, "done", &w->e));
  free(text);
}

// The JSON of the page's data block.
static json_t *data_block(const char *html) {
  const char *from = strstr(html, "id=\"iso-data\">");
  assert_non_null(from);
  from += strlen("id=\"iso-data\">");
  const char *to = strstr(from, "</script>");
  assert_non_null(to);
  json_error_t e;
  json_t *j = json_loadb(from, (size_t)(to - from), JSON_REJECT_DUPLICATES, &e);
  if (!j) fail_msg("data block: %s", e.text);
  return j;
}

// Whether `html` has a number element with exactly this value after `anchor`.
static bool has_value(const char *html, const char *anchor, double v) {
  char want[64];
  const char *at = strstr(html, anchor);
  snprintf(want, sizeof want, "<data value=\"%.17g\">", v);
  return at && strstr(at, want);
}

// Pages and texts go to the folder ISOFLOP_REPORT_OUT, to look at.
static void keep(world *w, const char *name, const iso_str *s) {
  const char *dir = getenv("ISOFLOP_REPORT_OUT");
  char path[512];
  if (!dir) return;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  OK(iso_file_put(w->c, path, s->p, s->n, &w->e));
}

static void test_load(void **state) {
  world *w = *state;
  char id[ISO_RUN_ID];
  iso_report_data d;
  demo(w, &PLAIN, id);
  OK(iso_report_load(w->c, w->s, id, &d, &w->e));
  assert_string_equal(d.kind, "demo");
  assert_string_equal(d.budget_text, "wall=300s,peak_ram=600MiB");
  assert_int_equal(d.n_sweep, SWEEP + 1);
  assert_int_equal(d.n_levels, 4);
  int finals = 0, in_level[4] = {0};
  for (int64_t i = 0; i < d.n_sweep; i++) {
    finals += d.sweep[i].final;
    if (!d.sweep[i].final) in_level[d.sweep[i].level]++;
    assert_true(fabs(d.sweep[i].law_loss - iso_law_nd(&iso_law_chinchilla, LAW, d.sweep[i].params, d.sweep[i].tokens)) < 1e-12);
  }
  assert_int_equal(finals, 1);
  for (int k = 0; k < 4; k++) assert_int_equal(in_level[k], SIZES);
  assert_true(d.fit.known && d.fit.n_param == 5 && d.fit.n_curve == 40 && d.fit.curve_has_interval);
  assert_true(d.isoflop.n == 4 && d.plan.known && d.plan.params == 2.21e6);
  assert_int_equal(d.n_curve, 1 + 8);
  assert_true(d.bpb == d.val_loss * 0.437 || fabs(d.bpb / d.val_loss - 0.437) < 1e-12);
  assert_true(d.bpb_predicted.lo < d.bpb_predicted.mean && d.bpb_se == 0.0021);
  assert_string_equal(d.metric, "bits_per_byte");
  for (int f = 0; f < ISO_REPORT_FRONTS; f++) {  // no front mixes predicted and measured, and each is strictly better as it gets dearer
    const iso_report_front *v = &d.front[f];
    assert_true(v->n > 0);
    for (int64_t i = 0; i < v->n; i++) {
      const iso_store_point *p = &d.points[v->idx[i]], *q = i ? &d.points[v->idx[i - 1]] : NULL;
      assert_int_equal(p->predicted, v->predicted);
      if (q) assert_true(p->quality < q->quality && iso_cost_get(&p->cost, v->res).mean > iso_cost_get(&q->cost, v->res).mean);
    }
  }
  // A long curve is thinned; its validation losses and events are all there, and its train losses keep their mean.
  const iso_report_curve *c = &d.curve[0];
  assert_true(c->main && c->n_all == 2200 && c->n <= ISO_REPORT_CURVE_MAX + 9);
  int vals = 0, events = 0;
  for (int64_t i = 0; i < c->n; i++) {
    vals += !isnan(c->s[i].val_loss);
    events += c->s[i].event != NULL;
    if (i) assert_true(c->s[i].tokens > c->s[i - 1].tokens);
  }
  assert_true(vals == 8 && events == 1);
  iso_report_close(&d);
  assert_int_equal(iso_report_load(w->c, w->s, "ZZZ", &d, &w->e), ISO_EINVAL);
  assert_null(d.arena);
}

static void test_html_round_trip(void **state) {
  world *w = *state;
  char id[ISO_RUN_ID];
  iso_report_data d;
  iso_str s = {0};
  demo(w, &PLAIN, id);
  OK(iso_report_load(w->c, w->s, NULL, &d, &w->e));
  OK(iso_report_html(&d, &s, &w->e));
  char path[128], *text;
  size_t n;
  snprintf(path, sizeof path, "%s/report.html", w->dir);
  OK(iso_report_html_save(w->c, &d, path, &w->e));
  OK(iso_file_get(path, 8 << 20, &text, &n, &w->e));
  assert_int_equal(n, s.n);
  assert_memory_equal(text, s.p, n);
  free(text);
  keep(w, "demo.html", &s);
  json_t *block = data_block(s.p), *own;
  OK(iso_report_json(&d, &own, &w->e));
  assert_true(json_equal(block, own));
  assert_int_equal(json_array_size(json_object_get(block, "sweep")), d.n_sweep);
  for (int64_t i = 0; i < d.n_sweep; i++) {
    const json_t *p = json_array_get(json_object_get(block, "sweep"), (size_t)i);
    assert_true(json_real_value(json_object_get(p, "loss")) == d.sweep[i].loss);
    assert_true(json_real_value(json_object_get(p, "train_flop")) == d.sweep[i].flop);
    assert_true(has_value(s.p, "id=\"sweep-table\"", d.sweep[i].loss) && has_value(s.p, "id=\"sweep-table\"", d.sweep[i].law_loss));
  }
  assert_string_equal(json_string_value(json_object_get(block, "sample")), PLAIN.sample);
  for (int64_t i = 0; i < d.n_ledger; i++)
    for (int r = 0; r < ISO_RES_COUNT; r++) {
      double m = iso_cost_get(&d.ledger[i].measured, (iso_res)r).mean, p = iso_cost_get(&d.ledger[i].predicted, (iso_res)r).mean;
      if (m > 0) assert_true(has_value(s.p, "id=\"ledger\"", m));
      if (p > 0) assert_true(has_value(s.p, "id=\"ledger\"", p));
    }
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    iso_est p = iso_cost_get(&d.predicted, (iso_res)r);
    double m = iso_cost_get(&d.measured, (iso_res)r).mean;
    if (m > 0) assert_true(has_value(s.p, "id=\"totals\"", m));
    if (p.mean > 0)
      assert_true(has_value(s.p, "id=\"totals\"", p.mean) && has_value(s.p, "id=\"totals\"", p.lo) && has_value(s.p, "id=\"totals\"", m / p.mean));
  }
  assert_true(has_value(s.p, "class=\"cards\"", d.bpb) && has_value(s.p, "id=\"law\"", d.fit.param[3].hi));
  assert_null(strstr(s.p, "{{"));
  assert_null(strstr(s.p, "src="));  // nothing is loaded
  assert_null(strstr(s.p, "href=\"http"));
  json_decref(block);
  json_decref(own);
  iso_str_free(&s);
  iso_report_close(&d);
}

#define HOSTILE                                                                              \
  "</script><script>alert(1)</script><!--\"'&\x1b[31m\x07\x9b\xc3(\xf0\x9f\x98 \xe2\x80\xae" \
  "end"

static size_t count(const char *text, const char *what) {
  size_t n = 0;
  for (const char *p = strstr(text, what); p; p = strstr(p + 1, what)) n++;
  return n;
}
static bool valid_utf8(const char *p, size_t n) {
  for (size_t i = 0; i < n;) {
    uint32_t cp;
    size_t k = iso_text_next(p + i, n - i, &cp);
    if (cp == 0xFFFD && !(k == 3 && memcmp(p + i, "\xef\xbf\xbd", 3) == 0)) return false;
    i += k;
  }
  return true;
}

static void test_hostile(void **state) {
  world *w = *state;
  char id[ISO_RUN_ID];
  iso_report_data d, clean;
  iso_str s = {0}, c = {0};
  demo(w, &PLAIN, id);
  OK(iso_report_load(w->c, w->s, id, &clean, &w->e));
  OK(iso_report_html(&clean, &c, &w->e));
  demo(w, &(texts){HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE}, id);
  OK(iso_report_load(w->c, w->s, id, &d, &w->e));
  // The writers also take what no store would let through: raw bytes and NUL in a sample.
  d.sample = "a\0b" HOSTILE;
  d.sample_n = 3 + strlen(HOSTILE);
  OK(iso_report_html(&d, &s, &w->e));
  assert_int_equal(count(s.p, "<script"), count(c.p, "<script"));
  assert_int_equal(count(s.p, "</script"), count(c.p, "</script"));
  assert_int_equal(count(s.p, "<!--"), count(c.p, "<!--"));
  assert_int_equal(strlen(s.p), s.n);
  assert_true(valid_utf8(s.p, s.n));
  for (size_t i = 0; i < s.n; i++) assert_true((unsigned char)s.p[i] >= 0x20 || s.p[i] == '\n' || s.p[i] == '\t');
  assert_null(strstr(s.p, "\xe2\x80\xae"));  // no direction override
  assert_true(count(s.p, "&lt;/script&gt;&lt;script&gt;alert(1)") >= 5);
  json_t *block = data_block(s.p);
  const char *cmd = json_string_value(json_object_get(block, "command"));
  assert_non_null(strstr(cmd, "</script><script>alert(1)</script><!--\"'&\x1b[31m\x07\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd "));
  assert_non_null(strstr(json_string_value(json_object_get(block, "sample")),
                         "a\xef\xbf\xbd"
                         "b</script>"));
  json_decref(block);
  keep(w, "hostile.html", &s);
  for (int ascii = 0; ascii < 2; ascii++) {
    s.n = 0;
    OK(iso_report_text(&d, &(iso_report_term){.ascii = ascii}, &s, &w->e));
    assert_true(valid_utf8(s.p, s.n));
    for (size_t i = 0; i < s.n; i++) assert_true(((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f) || s.p[i] == '\n');
    for (size_t i = 0; ascii && i < s.n; i++) assert_true((unsigned char)s.p[i] < 0x7f);
  }
  iso_str_free(&s);
  iso_str_free(&c);
  iso_report_close(&d);
  iso_report_close(&clean);
}

static void test_text(void **state) {
  (void)state;
  static const struct {
    const char *in;
    unsigned flags;
    const char *out;
  } CASES[] = {
      // Unicode 15, table 3-8: maximal subparts.
      {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", 0,
       "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
       "A"},
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", 0,
       "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
       "A"},
      {"\xED\xA0\x80", 0, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"z\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 0, "z\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
      {"z\xc3\xa9\xf0\x9f\x98\x80", ISO_TEXT_ASCII, "z??"},
      {"a\nb\tc", ISO_TEXT_LINE, "a b c"},
      {"\x1b\x7f", 0, "\xe2\x90\x9b\xe2\x90\xa1"},
      {"<a href='x'>&\"", ISO_TEXT_HTML, "&lt;a href=&#39;x&#39;&gt;&amp;&quot;"},
      {"\x1b", ISO_TEXT_RAW, "\x1b"},
  };
  for (size_t i = 0; i < ISO_COUNT(CASES); i++) {
    iso_str s = {0};
    iso_text_add(&s, CASES[i].in, CASES[i].flags);
    assert_string_equal(s.p, CASES[i].out);
    iso_str_free(&s);
  }
  char b[ISO_TEXT_NUM];
  assert_string_equal(iso_text_count(NAN, false, b), "–");
  assert_string_equal(iso_text_count(NAN, true, b), "-");
  assert_string_equal(iso_text_count(0, false, b), "0");
  assert_string_equal(iso_text_count(999, false, b), "999");
  assert_string_equal(iso_text_count(999.9, false, b), "1.00k");
  assert_string_equal(iso_text_count(3110000, false, b), "3.11M");
  assert_string_equal(iso_text_count(124439808, false, b), "124M");
  assert_string_equal(iso_text_count(2.5, false, b), "2.50");
  assert_string_equal(iso_text_sci(1.39e14, false, b), "1.39e14");
  assert_string_equal(iso_text_sci(0.00099, false, b), "9.90e-4");
  assert_string_equal(iso_text_res(NAN, ISO_UNIT_BYTE, false, b), "–");
  assert_string_equal(iso_text_res(291.4, ISO_UNIT_S, false, b), "4m51s");
  assert_string_equal(iso_text_res(5e17, ISO_UNIT_FLOP, false, b), "5.00e17 FLOP");
  assert_string_equal(iso_text_fixed(NAN, 4, false, b), "–");
  assert_string_equal(iso_text_ratio(1.03, 1, true, b), "1.03x");
  assert_string_equal(iso_text_ratio(1, 0, true, b), "-");
  assert_string_equal(iso_text_ratio(NAN, 1, false, b), "–");
}

static void test_empty(void **state) {
  world *w = *state;
  iso_store_run r = iso_store_run_blank();
  char id[ISO_RUN_ID];
  iso_report_data d;
  iso_str s = {0};
  r.kind = "demo";
  r.command = "isoflop demo --budget 1s";
  r.budget_json = "[1, 2]";  // wrong types are as good as absent
  r.result_json =
      "{\"params\": \"many\", \"summary\": {\"fit\": 3, \"plan\": [], \"isoflop\": {\"levels\": [{}, 7]}, \"notes\": \"x\", \"sample\": null}}";
  r.config_json = "not JSON";
  r.note = "the budget is too small for one step";
  OK(iso_store_begin(w->s, &r, id, &w->e));
  OK(iso_store_finish(w->s, id, "failed", &w->e));
  OK(iso_report_load(w->c, w->s, id, &d, &w->e));
  OK(iso_report_html(&d, &s, &w->e));
  assert_non_null(strstr(s.p, "Nothing to show yet"));
  assert_non_null(strstr(s.p, "Status failed"));
  assert_non_null(strstr(s.p, "the budget is too small for one step"));
  assert_null(strstr(s.p, "<canvas"));
  keep(w, "empty.html", &s);
  assert_null(strstr(s.p, "nan"));
  json_decref(data_block(s.p));
  s.n = 0;
  OK(iso_report_text(&d, &(iso_report_term){0}, &s, &w->e));
  assert_non_null(strstr(s.p, "Nothing to show yet"));
  assert_null(strstr(s.p, "nan"));
  iso_report_close(&d);
  // Of no run at all.
  OK(iso_report_blank(&d, &w->e));
  s.n = 0;
  OK(iso_report_html(&d, &s, &w->e));
  OK(iso_report_text(&d, &(iso_report_term){0}, &s, &w->e));
  iso_report_close(&d);
  iso_str_free(&s);
}

// A run with a sweep and a fit in the store's own columns, no result: the law still draws its curve, sums come from the ledger.
static void test_partial(void **state) {
  world *w = *state;
  iso_store_run r = iso_store_run_blank();
  char id[ISO_RUN_ID];
  iso_report_data d;
  iso_fit_data fit;
  r.kind = "demo";
  OK(iso_store_begin(w->s, &r, id, &w->e));
  OK(iso_fit_data_open(SWEEP, &fit, &w->e));
  sweep_of(w, id, NULL, &fit);
  iso_fit_data_close(&fit);
  ledger_of(w, id, NULL);
  OK(iso_store_fit_add(w->s,
                       &(iso_store_fit){.run = id,
                                        .law = "chinchilla",
                                        .objective = NAN,
                                        .n_points = SWEEP,
                                        .source = "sweep",
                                        .params_json = "{\"A\": 2000.0, \"B\": 5000.0, \"E\": 2.3, \"alpha\": 0.42, \"beta\": 0.41}",
                                        .interval_json = "{\"alpha\": [0.4, 0.45], \"beta\": {\"lo\": 0.3, \"hi\": 0.5}}"},
                       &w->e));
  OK(iso_report_load(w->c, w->s, id, &d, &w->e));
  assert_int_equal(d.n_levels, 4);
  assert_int_equal(d.fit.n_param, 5);
  assert_true(d.fit.param[3].lo == 0.4 && d.fit.param[4].hi == 0.5 && isnan(d.fit.param[0].lo));
  assert_int_equal(d.fit.n_curve, 48);
  assert_false(d.fit.curve_has_interval);
  assert_true(fabs(d.sweep[0].law_loss - (2.3 + 2000 / pow(d.sweep[0].params, 0.42) + 5000 / pow(d.sweep[0].tokens, 0.41))) < 1e-9);
  double wall = 0, ram = 0;
  for (int64_t i = 0; i < d.n_ledger; i++) {
    if (isnan(d.ledger[i].predicted.wall.mean)) continue;
    wall += d.ledger[i].measured.wall.mean;
    ram = fmax(ram, d.ledger[i].measured.peak_ram.mean);
  }
  assert_true(d.totals_from_ledger && fabs(d.measured.wall.mean - wall) < 1e-9 && d.measured.peak_ram.mean == ram);
  assert_true(isnan(d.measured.energy.mean));  // predicted nowhere
  iso_str s = {0};
  OK(iso_report_html(&d, &s, &w->e));
  assert_null(strstr(s.p, ">nan"));
  keep(w, "partial.html", &s);
  iso_str_free(&s);
  iso_report_close(&d);
}

static void test_term(void **state) {
  world *w = *state;
  char id[ISO_RUN_ID], want[64], buf[ISO_TEXT_NUM];
  iso_report_data d;
  demo(w, &PLAIN, id);
  OK(iso_report_load(w->c, w->s, id, &d, &w->e));
  static const int WIDTHS[] = {40, 80, 132, 0};
  for (size_t k = 0; k < ISO_COUNT(WIDTHS); k++)
    for (int ascii = 0; ascii < 2; ascii++) {
      iso_str s = {0};
      OK(iso_report_text(&d, &(iso_report_term){.width = WIDTHS[k], .ascii = ascii}, &s, &w->e));
      if (WIDTHS[k] == 80) keep(w, ascii ? "demo.ascii.txt" : "demo.txt", &s);
      assert_null(strchr(s.p, 27));
      assert_null(strstr(s.p, "nan"));
      int most = WIDTHS[k] ? WIDTHS[k] : 80;
      for (const char *p = s.p, *end; *p; p = *end ? end + 1 : end) {
        end = strchrnul(p, '\n');
        bool cut = strncmp(p, "  (", 3) == 0 || most < 60;  // the line that names what did not fit; narrow headlines
        if (!cut && iso_text_columns(p, (size_t)(end - p)) > most) fail_msg("%d columns: %.*s", most, (int)(end - p), p);
      }
      // Numbers of the table are those of the data.
      const char *row = strstr(s.p, "\n  wall ");
      if (most >= 80) {
        assert_non_null(row);
        row = strndup(row + 1, strcspn(row + 1, "\n"));
        assert_non_null(strstr(row, iso_text_res(d.measured.wall.mean, ISO_UNIT_S, ascii, buf)));
        assert_non_null(strstr(row, iso_text_res(d.predicted.wall.mean, ISO_UNIT_S, ascii, buf)));
        assert_non_null(strstr(row, iso_text_ratio(d.measured.wall.mean, d.predicted.wall.mean, ascii, buf)));
        free((char *)row);
        snprintf(want, sizeof want, "%.4f bits per byte", d.bpb);
        assert_non_null(strstr(s.p, want));
        snprintf(want, sizeof want, "%.4f", d.sweep[7].loss);
        assert_non_null(strstr(s.p, want));
      }
      row = strstr(s.p, "\n  energy ");
      if (most >= 80) assert_non_null(strstr(row, ascii ? " - " : " – "));  // energy was not predicted
      iso_str_free(&s);
    }
  iso_str s = {0};
  OK(iso_report_text(&d, &(iso_report_term){.colour = true}, &s, &w->e));
  assert_non_null(strstr(s.p, "\033[1m"));
  iso_str_free(&s);
  iso_report_close(&d);
}

static void test_runs(void **state) {
  world *w = *state;
  char id[ISO_RUN_ID], first[ISO_RUN_ID];
  iso_store_run r = iso_store_run_blank(), *rows;
  iso_arena *a;
  int64_t n;
  iso_str s = {0};
  json_t *j;
  demo(w, &PLAIN, first);
  r.kind = "train\x1b[2J";
  r.out_dir = "/tmp/\xff";
  OK(iso_store_begin(w->s, &r, id, &w->e));
  OK(iso_arena_open(&a, &w->e));
  OK(iso_store_runs(w->s, NULL, NULL, 0, a, &rows, &n, &w->e));
  OK(iso_report_runs_text(rows, n, &(iso_report_term){.width = 120}, &s, &w->e));
  keep(w, "runs.txt", &s);
  assert_int_equal(count(s.p, "\n"), n + 1);
  assert_null(strchr(s.p, 27));
  first[12] = 0;
  const char *row = strstr(s.p, first);
  assert_non_null(row);
  row = strndup(row, strcspn(row, "\n"));
  assert_non_null(strstr(row, "demo"));
  assert_non_null(strstr(row, "4m51s"));
  free((char *)row);
  OK(iso_report_runs_json(rows, n, &j, &w->e));
  const json_t *list = json_object_get(j, "runs");
  assert_int_equal(json_array_size(list), n);
  const json_t *last = json_array_get(list, (size_t)n - 1), *newest = json_array_get(list, 0);
  assert_true(json_real_value(json_object_get(last, "elapsed_s")) == 291.4);
  assert_int_equal(json_integer_value(json_object_get(last, "params")), 2210000);
  assert_true(json_is_null(json_object_get(newest, "bits_per_byte")) && json_is_null(json_object_get(newest, "params")));
  assert_string_equal(json_string_value(json_object_get(newest, "out_dir")), "/tmp/\xef\xbf\xbd");
  json_decref(j);
  s.n = 0;
  OK(iso_report_runs_text(NULL, 0, &(iso_report_term){0}, &s, &w->e));
  assert_non_null(strstr(s.p, "no runs yet"));
  iso_str_free(&s);
  iso_arena_close(a);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {T(test_load),  T(test_html_round_trip), T(test_hostile), cmocka_unit_test(test_text),
                                     T(test_empty), T(test_partial),         T(test_term),    T(test_runs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
