// The parts of a report that the store keeps as JSON: result, plan, fit, IsoFLOP parabolas.
#include "report/load_json.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *iso_report_object(const char *text) {
  json_t *j = text ? json_loads(text, 0, NULL) : NULL;
  if (j && !json_is_object(j)) {
    json_decref(j);
    j = NULL;
  }
  return j;
}

static double number(const json_t *v) { return json_is_number(v) ? json_number_value(v) : NAN; }
double iso_report_num(const json_t *o, const char *key) { return number(json_object_get(o, key)); }

iso_est iso_report_est(const json_t *v) {
  if (json_is_number(v)) return iso_est_exact(json_number_value(v));
  if (json_is_array(v) && json_array_size(v) == 3)
    return iso_est_range(number(json_array_get(v, 0)), number(json_array_get(v, 1)), number(json_array_get(v, 2)));
  if (!json_is_object(v)) return iso_est_unknown();
  return iso_est_range(iso_report_num(v, "lo"), iso_report_num(v, "value"), iso_report_num(v, "hi"));
}

const char *iso_report_str(iso_arena *a, const json_t *o, const char *key, size_t *n) {
  const json_t *v = json_object_get(o, key);
  if (n) *n = 0;
  if (!json_is_string(v)) return NULL;
  const char *s = iso_arena_str(a, json_string_value(v));
  if (n && s) *n = json_string_length(v);
  return s;
}

iso_status iso_report_read_result(const json_t *result, iso_report_data *d, iso_err *err) {
  (void)err;
  const json_t *p = json_object_get(result, "predicted"), *m = json_object_get(result, "measured");
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    const char *name = iso_res_get((iso_res)r)->name;
    *iso_cost_at(&d->predicted, (iso_res)r) = iso_report_est(json_object_get(p, name));
    *iso_cost_at(&d->measured, (iso_res)r) = iso_report_est(json_object_get(m, name));
  }
  d->params = iso_report_num(result, "params");
  d->tokens = iso_report_num(result, "tokens");
  d->elapsed_s = iso_report_num(result, "elapsed_s");
  d->bpb = iso_report_num(result, "bits_per_byte");
  d->val_loss = iso_report_num(result, "val_loss_nats");
  if (isnan(d->bpb)) d->bpb = iso_report_est(json_object_get(m, "bits_per_byte")).mean;
  if (isnan(d->val_loss)) d->val_loss = iso_report_est(json_object_get(m, "val_loss_nats")).mean;
  d->bpb_predicted = iso_report_est(json_object_get(p, "bits_per_byte"));
  d->val_loss_predicted = iso_report_est(json_object_get(p, "val_loss_nats"));
  return ISO_OK;
}

iso_status iso_report_read_plan(const json_t *plan, iso_report_data *d, iso_err *err) {
  iso_report_plan *o = &d->plan;
  if (!json_is_object(plan)) return ISO_OK;
  o->known = true;
  o->params = iso_report_num(plan, "params");
  o->tokens = iso_report_num(plan, "tokens");
  o->batch_tok = iso_report_num(plan, "batch_tok");
  o->lr = iso_report_num(plan, "lr");
  o->why = iso_report_str(d->arena, plan, "why", NULL);
  const json_t *config = json_object_get(plan, "config"), *p = json_object_get(plan, "predicted");
  if (json_is_string(config)) {
    o->config = iso_report_str(d->arena, plan, "config", NULL);
  } else if (json_is_object(config)) {
    char *text = json_dumps(config, JSON_REAL_PRECISION(6));
    o->config = iso_arena_str(d->arena, text);
    free(text);
    if (!o->config) return iso_fail(err, ISO_ENOMEM, "report: no memory for the plan");
  }
  o->loss = iso_report_est(json_object_get(p, "loss"));
  if (json_is_number(json_object_get(p, "loss")) && json_object_get(p, "lo"))
    o->loss = iso_est_range(iso_report_num(p, "lo"), o->loss.mean, iso_report_num(p, "hi"));
  o->bpb = iso_report_est(json_object_get(p, "bpb"));
  return ISO_OK;
}

iso_status iso_report_read_isoflop(const json_t *isoflop, iso_report_data *d, iso_err *err) {
  iso_report_isoflop *o = &d->isoflop;
  if (!json_is_object(isoflop)) return ISO_OK;
  const json_t *levels = json_object_get(isoflop, "levels");
  size_t n = json_array_size(levels);
  iso_report_parabola *at = iso_arena_get(d->arena, (n + 1) * sizeof *at);
  if (!at) return iso_fail(err, ISO_ENOMEM, "report: no memory for %zu parabolas", n);
  o->known = true;
  o->text = iso_report_str(d->arena, isoflop, "text", NULL);
  o->a = iso_report_est(json_object_get(isoflop, "a"));
  o->at = at;
  for (size_t i = 0; i < n; i++) {
    const json_t *v = json_array_get(levels, i), *coef = json_object_get(v, "coef"), *range = json_object_get(v, "sampled_params");
    iso_report_parabola p = {.flop = iso_report_num(v, "train_flop"), .log_n0 = iso_report_num(v, "log_n0"), .loss = iso_report_num(v, "loss")};
    for (size_t k = 0; k < 3; k++) p.coef[k] = number(json_array_get(coef, k));
    p.n_min = number(json_array_get(range, 0));
    p.n_max = number(json_array_get(range, 1));
    p.params = iso_report_est(json_object_get(v, "params"));
    p.outside = json_is_true(json_object_get(v, "outside"));
    p.concave = json_is_true(json_object_get(v, "concave"));
    if (p.flop > 0) at[o->n++] = p;
  }
  return ISO_OK;
}

// Value and interval of parameter `name`: in `params`, and when it has no interval there, in `interval`.
static bool param_of(const json_t *params, const json_t *interval, const char *name, iso_report_param *out) {
  const json_t *v = json_object_get(params, name), *iv = json_object_get(interval, name);
  iso_est e = iso_report_est(v);
  if (json_is_number(v)) e.lo = e.hi = NAN;
  if (json_is_array(iv) && json_array_size(iv) == 2) {
    e.lo = number(json_array_get(iv, 0));
    e.hi = number(json_array_get(iv, 1));
  } else if (json_is_object(iv) || json_is_array(iv)) {
    iso_est w = iso_report_est(iv);
    e.lo = w.lo;
    e.hi = w.hi;
  }
  *out = (iso_report_param){.name = name, .value = e.mean, .lo = e.lo, .hi = e.hi, .se = json_is_object(v) ? iso_report_num(v, "se") : NAN};
  return !isnan(e.mean);
}

// The law's internal parameters; a logarithm that is missing is taken from its plain value ("log_a" from "A").
static bool law_params(const iso_law *law, const json_t *params, double *p) {
  for (int i = 0; i < law->n_params; i++) {
    const char *name = law->param[i].name;
    iso_report_param v;
    if (!param_of(params, NULL, name, &v)) {
      char plain[2] = {strncmp(name, "log_", 4) == 0 ? (char)toupper((unsigned char)name[4]) : 0, 0};
      if (!plain[0] || !param_of(params, NULL, plain, &v) || !(v.value > 0)) return false;
      v.value = log(v.value);
    }
    p[i] = v.value;
  }
  return true;
}

// Parameters as readers know them: what is stored as log_a only is shown as A.
static iso_status shown_params(const json_t *params, const json_t *interval, iso_report_data *d, iso_err *err) {
  size_t n = json_object_size(params);
  iso_report_param *out = iso_arena_get(d->arena, (n + 1) * sizeof *out);
  if (!out) return iso_fail(err, ISO_ENOMEM, "report: no memory for %zu parameters", n);
  int k = 0;
  const char *key;
  json_t *v;
  json_object_foreach((json_t *)(uintptr_t)params, key, v) {
    iso_report_param p;
    char plain[2] = {strncmp(key, "log_", 4) == 0 ? (char)toupper((unsigned char)key[4]) : 0, 0};
    if (!param_of(params, interval, key, &p) || (plain[0] && json_object_get(params, plain))) continue;
    if (plain[0]) p = (iso_report_param){.value = exp(p.value), .lo = exp(p.lo), .hi = exp(p.hi), .se = NAN};
    p.name = iso_arena_str(d->arena, plain[0] ? plain : key);
    if (!p.name) return iso_fail(err, ISO_ENOMEM, "report: no memory for a parameter");
    out[k++] = p;
  }
  d->fit.param = out;
  d->fit.n_param = k;
  return ISO_OK;
}

static iso_status read_curve(const json_t *curve, iso_report_data *d, iso_err *err) {
  size_t n = json_array_size(curve);
  iso_report_optimum *at = iso_arena_get(d->arena, (n + 1) * sizeof *at);
  if (!at) return iso_fail(err, ISO_ENOMEM, "report: no memory for a curve of %zu points", n);
  d->fit.curve = at;
  for (size_t i = 0; i < n; i++) {
    const json_t *v = json_array_get(curve, i);
    iso_report_optimum p = {iso_report_num(v, "train_flop"), iso_report_num(v, "params"), iso_report_num(v, "tokens"),
                            iso_report_est(json_object_get(v, "loss"))};
    if (!(p.flop > 0) || isnan(p.loss.mean)) continue;
    at[d->fit.n_curve++] = p;
    if (p.loss.hi > p.loss.lo) d->fit.curve_has_interval = true;
  }
  return ISO_OK;
}

static void range_of(const json_t *range, const char *key, double *lo, double *hi) {
  const json_t *v = json_object_get(range, key);
  *lo = number(json_array_get(v, 0));
  *hi = number(json_array_get(v, 1));
}

static int64_t count_of(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  return json_is_integer(v) ? (int64_t)json_integer_value(v) : -1;
}

// Fills d->fit from an object of iso_fit_json or the bare object of parameters that a row of `fits` may hold.
static iso_status fill_fit(const json_t *whole, const json_t *params, const json_t *interval, iso_report_data *d, iso_report_law *law, iso_err *err) {
  iso_report_fit *f = &d->fit;
  iso_err ignored;
  const char *name = f->law ? f->law : iso_report_str(d->arena, whole, "law", NULL);
  f->known = true;
  f->law = name;
  const iso_law *l = NULL;
  if (name && iso_law_find(name, &l, &ignored) == ISO_OK) {
    f->formula = l->base.summary;
    if (law_params(l, params, law->p)) law->law = l;
  }
  const json_t *range = json_object_get(whole, "range");
  range_of(range, "params", &f->n_min, &f->n_max);
  range_of(range, "tokens", &f->d_min, &f->d_max);
  range_of(range, "train_flop", &f->c_min, &f->c_max);
  f->delta = iso_report_num(whole, "huber_delta");
  f->level = iso_report_num(whole, "level");
  f->noise_sd = iso_report_num(whole, "noise_sd_log_loss");
  f->resamples = count_of(whole, "resamples");
  if (isnan(f->objective)) f->objective = iso_report_num(whole, "objective");
  if (f->n_points < 0) f->n_points = count_of(whole, "points");
  ISO_TRY(shown_params(params, interval, d, err));
  return read_curve(json_object_get(whole, "curve"), d, err);
}

iso_status iso_report_read_fit(const json_t *fit, const iso_store_fit *row, iso_report_data *d, iso_report_law *law, iso_err *err) {
  law->law = NULL;
  const json_t *params = json_object_get(fit, "params");
  if (json_is_object(params)) {
    ISO_TRY(fill_fit(fit, params, json_object_get(fit, "intervals"), d, law, err));
    if (row) d->fit.source = iso_arena_str(d->arena, row->source);
    return ISO_OK;
  }
  if (!row) return ISO_OK;
  json_t *whole = iso_report_object(row->params_json), *interval = iso_report_object(row->interval_json);
  params = json_object_get(whole, "params");
  d->fit.law = iso_arena_str(d->arena, row->law);
  d->fit.source = iso_arena_str(d->arena, row->source);
  d->fit.objective = row->objective;
  d->fit.n_points = row->n_points;
  iso_status st = fill_fit(whole, json_is_object(params) ? params : whole, interval, d, law, err);
  json_decref(whole);
  json_decref(interval);
  return st;
}
