// Serving calibrations and their checks as JSON.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/serve/calib_impl.h"

static const char *const KIND[] = {"system", "backend", "precision"};

// Numbers of a calibration by object and key; `factor`: must be positive, else not negative.
typedef struct number {
  const char *object, *key;
  double *v;
  bool factor;
} number;
enum { NUMBERS = 11 };
static void numbers_of(iso_calib *c, number *o) {
  const number n[NUMBERS] = {{"time", "memory", &c->coef.mem, true},
                             {"time", "compute", &c->coef.flop, true},
                             {"time", "link", &c->coef.link, true},
                             {"time", "prefill", &c->coef.prefill, true},
                             {"time", "launch_s", &c->coef.launch_s, false},
                             {"time", "collective_s", &c->coef.collective_s, false},
                             {"time", "net_collective_s", &c->coef.net_s, false},
                             {"ttft", "fixed_s", &c->ttft_fixed_s, false},
                             {"ttft", "prefill", &c->ttft_prefill, true},
                             {"ttft", "step", &c->ttft_step, false},
                             {"ttft", "queue", &c->ttft_queue, false}};
  memcpy(o, n, sizeof n);
}

json_t *iso_calib_json(const iso_calib *c) {
  iso_calib copy = *c;
  number n[NUMBERS];
  json_t *o = json_pack("{s:s, s:I, s:{}, s:{}}", "source", c->source, "points", (json_int_t)c->points, "time", "ttft");
  json_t *groups = json_array(), *effects = json_array();
  numbers_of(&copy, n);
  for (int i = 0; i < NUMBERS; i++) (void)json_object_set_new(json_object_get(o, n[i].object), n[i].key, json_real(*n[i].v));
  for (int i = 0; i < c->groups; i++) {
    const iso_calib_group *g = &c->group[i];
    (void)json_array_append_new(groups, json_pack("{s:s, s:s, s:s, s:I, s:f, s:f}", KIND[0], g->system, KIND[1], g->backend, KIND[2], g->precision,
                                                  "points", (json_int_t)g->points, "scale", g->scale, "ttft_scale", g->ttft_scale));
  }
  for (int i = 0; i < c->effects; i++) {
    const iso_calib_effect *e = &c->effect[i];
    (void)json_array_append_new(
        effects, json_pack("{s:s, s:s, s:f, s:f}", "of", KIND[e->kind], "name", e->name, "log_scale", e->log_scale, "log_ttft", e->log_ttft));
  }
  (void)json_object_set_new(o, "interval", json_pack("[o,o]", iso_json_num(c->lo), iso_json_num(c->hi)));
  (void)json_object_set_new(o, "ttft_interval", json_pack("[o,o]", iso_json_num(c->ttft_lo), iso_json_num(c->ttft_hi)));
  (void)json_object_set_new(o, "groups", groups);
  (void)json_object_set_new(o, "pooled", json_pack("{s:f, s:f, s:o}", "log_scale", c->base, "log_ttft", c->ttft_base, "effects", effects));
  return o;
}

static iso_status read_positive(const json_t *o, const char *key, const char *what, bool factor, double *out, iso_err *err) {
  ISO_TRY(iso_json_get_f64(o, key, what, out, err));
  if (*out < INFINITY && (*out > 0 || (*out == 0 && !factor))) return ISO_OK;
  return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" is %g, expected a %s number", what, key, *out, factor ? "positive" : "non-negative");
}

static iso_status read_log(const json_t *o, const char *key, const char *what, double *out, iso_err *err) {
  ISO_TRY(iso_json_get_f64(o, key, what, out, err));
  return fabs(*out) < 100 ? ISO_OK : iso_fail(err, ISO_EFORMAT, "%s: \"%s\" is %g, expected -100 to 100", what, key, *out);
}

static iso_status read_name(const json_t *o, const char *key, const char *what, char *out, size_t n, iso_err *err) {
  const char *s;
  ISO_TRY(iso_json_get_str(o, key, what, &s, err));
  if (strlen(s) >= n) return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" is longer than %zu bytes", what, key, n - 1);
  memcpy(out, s, strlen(s) + 1);
  return ISO_OK;
}

// [lo, hi], or [null, null] when unknown.
static iso_status read_interval(const json_t *j, const char *key, const char *what, double *lo, double *hi, iso_err *err) {
  const json_t *a = json_object_get(j, key), *x = json_array_get(a, 0), *y = json_array_get(a, 1);
  *lo = *hi = NAN;
  if (json_array_size(a) == 2 && json_is_null(x) && json_is_null(y)) return ISO_OK;
  if (json_array_size(a) == 2 && json_is_number(x) && json_is_number(y)) {
    *lo = json_number_value(x);
    *hi = json_number_value(y);
    if (*lo > 0 && *lo <= *hi && *hi < INFINITY) return ISO_OK;
  }
  return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" must be two positive numbers, the lower first", what, key);
}

static iso_status read_groups(const json_t *a, const char *what, iso_calib *c, iso_err *err) {
  if (!json_is_array(a) || json_array_size(a) > ISO_CALIB_GROUPS_MAX)
    return iso_fail(err, ISO_EFORMAT, "%s: \"groups\" must be an array of at most %d", what, ISO_CALIB_GROUPS_MAX);
  for (; c->groups < (int)json_array_size(a); c->groups++) {
    const json_t *o = json_array_get(a, (size_t)c->groups);
    iso_calib_group *g = &c->group[c->groups];
    char where[160];
    snprintf(where, sizeof where, "%.120s: group %d", what, c->groups);
    ISO_TRY(read_name(o, KIND[0], where, g->system, sizeof g->system, err));
    ISO_TRY(read_name(o, KIND[1], where, g->backend, sizeof g->backend, err));
    ISO_TRY(read_name(o, KIND[2], where, g->precision, sizeof g->precision, err));
    ISO_TRY(iso_json_get_i64(o, "points", where, 1, INT32_MAX, &g->points, err));
    ISO_TRY(read_positive(o, "scale", where, true, &g->scale, err));
    ISO_TRY(read_positive(o, "ttft_scale", where, true, &g->ttft_scale, err));
  }
  return ISO_OK;
}

static iso_status read_pooled(const json_t *j, const char *what, iso_calib *c, iso_err *err) {
  const json_t *p = json_object_get(j, "pooled"), *a = json_object_get(p, "effects");
  char where[160];
  snprintf(where, sizeof where, "%.120s: pooled", what);
  ISO_TRY(read_log(p, "log_scale", where, &c->base, err));
  ISO_TRY(read_log(p, "log_ttft", where, &c->ttft_base, err));
  if (!json_is_array(a) || json_array_size(a) > ISO_CALIB_EFFECTS_MAX)
    return iso_fail(err, ISO_EFORMAT, "%s: \"effects\" must be an array of at most %d", where, ISO_CALIB_EFFECTS_MAX);
  for (; c->effects < (int)json_array_size(a); c->effects++) {
    const json_t *o = json_array_get(a, (size_t)c->effects);
    iso_calib_effect *e = &c->effect[c->effects];
    const char *of;
    ISO_TRY(iso_json_get_str(o, "of", where, &of, err));
    for (e->kind = 0; e->kind < 3 && strcmp(of, KIND[e->kind]) != 0; e->kind++) {
    }
    if (e->kind == 3) return iso_fail(err, ISO_EFORMAT, "%s: \"of\" is \"%.20s\", expected system, backend or precision", where, of);
    ISO_TRY(read_name(o, "name", where, e->name, sizeof e->name, err));
    ISO_TRY(read_log(o, "log_scale", where, &e->log_scale, err));
    ISO_TRY(read_log(o, "log_ttft", where, &e->log_ttft, err));
  }
  return ISO_OK;
}

static iso_status read_calib(const json_t *j, const char *what, iso_calib *c, iso_err *err) {
  static const char *const KEYS[] = {"source", "points", "time", "ttft", "interval", "ttft_interval", "groups", "pooled", NULL};
  number n[NUMBERS];
  memset(c, 0, sizeof *c);
  c->coef.scale = 1;
  ISO_TRY(iso_json_only_keys(j, what, KEYS, err));
  ISO_TRY(read_name(j, "source", what, c->source, sizeof c->source, err));
  ISO_TRY(iso_json_get_i64(j, "points", what, 1, INT32_MAX, &c->points, err));
  numbers_of(c, n);
  for (int i = 0; i < NUMBERS; i++) {
    char where[160];
    snprintf(where, sizeof where, "%.120s: %s", what, n[i].object);
    ISO_TRY(read_positive(json_object_get(j, n[i].object), n[i].key, where, n[i].factor, n[i].v, err));
  }
  ISO_TRY(read_interval(j, "interval", what, &c->lo, &c->hi, err));
  ISO_TRY(read_interval(j, "ttft_interval", what, &c->ttft_lo, &c->ttft_hi, err));
  ISO_TRY(read_groups(json_object_get(j, "groups"), what, c, err));
  return read_pooled(j, what, c, err);
}

iso_status iso_calib_from_json(const json_t *j, const char *what, iso_calib *out, iso_err *err) {
  iso_calib *c = malloc(sizeof *c);
  if (!c) return iso_fail(err, ISO_ENOMEM, "%s: no memory", what);
  iso_status st = read_calib(j, what, c, err);
  if (st == ISO_OK) *out = *c;
  free(c);
  return st;
}

iso_status iso_calib_of_device(const iso_device *d, iso_calib *out, iso_err *err) {
  char what[80];
  *out = iso_calib_default();
  if (!d->cal[ISO_DEVICE_CAL_serving]) return ISO_OK;
  snprintf(what, sizeof what, "%s: serving_calibration", d->spec.name);
  return iso_calib_from_json(d->cal[ISO_DEVICE_CAL_serving], what, out, err);
}

static json_t *models_json(const iso_calib_model *model, int n) {
  json_t *a = json_array();
  for (int i = 0; i < n; i++)
    (void)json_array_append_new(a, json_pack("{s:s, s:I, s:o, s:o, s:o}", "name", model[i].name, "points", (json_int_t)model[i].points,
                                             "median_error", iso_json_num(model[i].error), "median_ratio", iso_json_num(model[i].ratio),
                                             "ttft_median_error", iso_json_num(model[i].ttft_error)));
  return a;
}

static json_t *tau_json(const iso_calib_tau *t) {
  return json_pack("{s:o, s:o, s:I}", "mean", iso_json_num(t->mean), "min", iso_json_num(t->min), "groups", (json_int_t)t->groups);
}

json_t *iso_calib_check_json(const iso_calib_check *c) {
  return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:[o,o], s:o}", "points", (json_int_t)c->points, "median_error", iso_json_num(c->error),
                   "mean_error", iso_json_num(c->mean_error), "p90_error", iso_json_num(c->p90_error), "ttft_median_error",
                   iso_json_num(c->ttft_error), "ttft_p90_error", iso_json_num(c->ttft_p90_error), "kendall_tau", tau_json(&c->tau), "interval",
                   iso_json_num(c->lo), iso_json_num(c->hi), "models", models_json(c->model, c->models));
}

static json_t *worst_json(const iso_calib_score *s, const iso_serve_points *p) {
  json_t *a = json_array();
  for (int i = 0; i < s->n_worst; i++) {
    const iso_serve_point *q = &p->at[s->worst[i]];
    (void)json_array_append_new(
        a, json_pack("{s:I, s:s, s:s, s:s, s:f, s:f, s:f, s:I, s:I, s:f, s:f, s:f}", "line", (json_int_t)q->line, "model", q->model, "backend",
                     q->backend, "precision", q->precision, "prompt_tok", q->prompt, "output_tok", q->output, "in_flight", q->in_flight, "tensor",
                     (json_int_t)q->layout.tp, "attention_ranks", (json_int_t)q->layout.dp, "measured_s", q->tpot_s, "predicted_s", s->worst_s[i],
                     "error", s->worst_s[i] / q->tpot_s - 1));
  }
  return a;
}

json_t *iso_calib_score_json(const iso_calib_score *s, const iso_serve_points *p) {
  json_t *o = json_object(), *ttft = json_object();
  iso_score_put(o, &s->tpot);
  iso_score_put(ttft, &s->ttft);
  (void)json_object_set_new(o, "ttft", ttft);
  (void)json_object_set_new(o, "kendall_tau", tau_json(&s->tau));
  (void)json_object_set_new(o, "regret", iso_json_num(s->regret));
  (void)json_object_set_new(o, "regret_worst", iso_json_num(s->regret_worst));
  (void)json_object_set_new(o, "choices", json_integer((json_int_t)s->choices));
  (void)json_object_set_new(o, "bias_by_tensor", iso_score_by_json(s->tensor, s->n_tensor));
  (void)json_object_set_new(o, "bias_by_attention_ranks", iso_score_by_json(s->ranks, s->n_ranks));
  (void)json_object_set_new(o, "bias_by_devices", iso_score_by_json(s->devices, s->n_devices));
  (void)json_object_set_new(o, "models", models_json(s->model, s->models));
  (void)json_object_set_new(o, "worst", worst_json(s, p));
  return o;
}

json_t *iso_calib_system_json(const iso_calib_system *c, const iso_serve_points *p) {
  return json_pack("{s:I, s:I, s:o, s:o, s:o, s:s, s:o}", "rows", (json_int_t)c->all.points, "rows_of_device", (json_int_t)c->out.tpot.n,
                   "calibration", iso_calib_json(&c->all), "held_out_third", iso_score_splits_json(&c->tpot), "held_out_third_ttft",
                   iso_score_splits_json(&c->ttft), "left_out_by", c->by_model ? "model" : "thirds of the rows", "left_out",
                   iso_calib_score_json(&c->out, p));
}
