// Fits seconds to work by non-negative least squares, predicts with an interval, and keeps the fit as JSON.
#include "measure/step_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/stat.h"
#include "model/arch.h"

enum { P = ISO_STEP_TERMS };
static const double LEVEL = 0.90, LEAST_REL = 0.01;
// Assumed relative error where there are no more observations than rates.
static const double BLIND_SD = 0.25;

iso_step_work iso_step_work_train(const iso_train_price *p) {
  return (iso_step_work){.flop = p->exec_flop_step, .bytes = p->bytes_step - p->update_b, .calls = (double)p->calls_step, .update_b = p->update_b};
}

iso_status iso_step_work_eval(const iso_model_config *c, int64_t batch, int64_t seq, const iso_kern_table *kern, iso_step_work *out, iso_err *err) {
  const iso_arch *arch;
  iso_graph *g;
  iso_graph_io io;
  *out = (iso_step_work){0};
  ISO_TRY(iso_config_check(c, err));
  ISO_TRY(iso_arch_find(c->arch, &arch, err));
  ISO_TRY(iso_graph_open(&g, err));
  iso_status st = arch->build(c, &(iso_build){.mode = ISO_MODE_LOSS}, g, &io, err);
  if (st == ISO_OK) {
    iso_bind b = iso_bind_batch(batch, seq);
    iso_graph_cost f = iso_pass_cost(g, ISO_SECTION_FORWARD, &b, iso_dtype_bytes(kern->elem));
    *out = (iso_step_work){.flop = f.mat_flop, .bytes = f.read_b + f.write_b, .calls = (double)f.calls};
  }
  iso_graph_close(g);
  return st;
}

static void terms(const iso_step_work *w, double x[P]) {
  x[0] = w->flop;
  x[1] = w->bytes;
  x[2] = w->calls;
  x[3] = w->update_b;
}

static double dot(const double *a, const double *b) {
  double s = 0;
  for (int i = 0; i < P; i++) s += a[i] * b[i];
  return s;
}

// ---- least squares --------------------------------------------------------------------------------------------------

// Normal equations of rows x / t (target 1), columns scaled to unit length.
typedef struct normal {
  double a[P][P], b[P], scale[P], weight;
} normal;

static normal normal_of(const iso_step_model *m) {
  normal s = {0};
  for (int i = 0; i < m->n; i++) {
    const iso_step_obs *o = &m->obs[i];
    double x[P];
    terms(&o->work, x);
    for (int j = 0; j < P; j++) {
      s.b[j] += o->weight * x[j] / o->seconds;
      for (int k = 0; k < P; k++) s.a[j][k] += o->weight * (x[j] / o->seconds) * (x[k] / o->seconds);
    }
    s.weight += o->weight;
  }
  for (int j = 0; j < P; j++) s.scale[j] = s.a[j][j] > 0 ? sqrt(s.a[j][j]) : 0;
  for (int j = 0; j < P; j++) {
    s.b[j] = s.scale[j] > 0 ? s.b[j] / s.scale[j] : 0;
    for (int k = 0; k < P; k++) s.a[j][k] = s.scale[j] > 0 && s.scale[k] > 0 ? s.a[j][k] / (s.scale[j] * s.scale[k]) : 0;
  }
  return s;
}

// Solves A y = r over the terms in `mask` by Cholesky; the others get 0. False when they are not independent.
static bool solve(const normal *s, unsigned mask, const double *r, double *y) {
  double l[P][P] = {{0}};
  int at[P], n = 0;
  for (int j = 0; j < P; j++) {
    y[j] = 0;
    if (mask >> j & 1) at[n++] = j;
  }
  for (int i = 0; i < n; i++)
    for (int j = 0; j <= i; j++) {
      double v = s->a[at[i]][at[j]];
      for (int k = 0; k < j; k++) v -= l[i][k] * l[j][k];
      if (i == j && !(v > 1e-9)) return false;  // columns have unit length
      l[i][j] = i == j ? sqrt(v) : v / l[j][j];
    }
  for (int i = 0; i < n; i++) {
    double v = r[at[i]];
    for (int k = 0; k < i; k++) v -= l[i][k] * y[at[k]];
    y[at[i]] = v / l[i][i];
  }
  for (int i = n - 1; i >= 0; i--) {
    double v = y[at[i]];
    for (int k = i + 1; k < n; k++) v -= l[k][i] * y[at[k]];
    y[at[i]] = v / l[i][i];
  }
  return true;
}

static double residual(const iso_step_model *m, const double *rate) {
  double sum = 0;
  for (int i = 0; i < m->n; i++) {
    double x[P];
    terms(&m->obs[i].work, x);
    double r = dot(rate, x) / m->obs[i].seconds - 1;
    sum += m->obs[i].weight * r * r;
  }
  return sum;
}

static int active(const iso_step_model *m, unsigned *mask) {
  int n = 0;
  *mask = 0;
  for (int j = 0; j < P; j++)
    if (m->rate[j] > 0) {
      *mask |= 1u << j;
      n++;
    }
  return n;
}

// Student's critical value; the exact one is inverted by quadrature, some milliseconds, where the expansion in 1/df (Abramowitz and Stegun
// 26.7.5) is not good to four digits.
static double t_value(int dof) {
  if (dof < 12) return iso_t_quantile(LEVEL, dof > 1 ? dof : 1);
  double z = iso_normal_quantile(0.5 + LEVEL / 2), z3 = z * z * z, v = dof;
  return z + (z3 + z) / (4 * v) + (5 * z3 * z * z + 16 * z3 + 3 * z) / (96 * v * v);
}

// The constrained optimum is the unconstrained one over its positive terms, so that the best feasible subset of four terms is it.
static void fit(iso_step_model *m) {
  normal s = normal_of(m);
  double best = INFINITY;
  unsigned mask;
  memset(m->rate, 0, sizeof m->rate);
  m->rel_sd = NAN;
  if (m->n == 0) return;
  for (unsigned k = 1; k < 1u << P; k++) {
    double y[P];
    bool ok = solve(&s, k, s.b, y);
    for (int j = 0; ok && j < P; j++) {
      ok = y[j] >= 0;
      y[j] = s.scale[j] > 0 ? y[j] / s.scale[j] : 0;
    }
    double r = ok ? residual(m, y) : INFINITY;
    if (!(r < best)) continue;
    best = r;
    memcpy(m->rate, y, sizeof m->rate);
  }
  int dof = m->n - active(m, &mask);
  m->rel_sd = dof > 0 ? sqrt(best / s.weight * m->n / dof) : BLIND_SD;
  m->t = t_value(dof);
}

iso_status iso_step_model_refit(iso_step_model *m, const iso_step_obs *obs, int64_t n, iso_err *err) {
  for (int64_t i = 0; i < n; i++) {
    double x[P], sum = 0;
    terms(&obs[i].work, x);
    bool ok = isfinite(obs[i].seconds) && obs[i].seconds > 0 && isfinite(obs[i].weight) && obs[i].weight > 0;
    for (int j = 0; j < P; j++) {
      ok = ok && isfinite(x[j]) && x[j] >= 0;
      sum += x[j];
    }
    if (!ok || !(sum > 0))
      return iso_fail(err, ISO_EINVAL, "step times: observation %lld (%g s, weight %g) must be positive and finite, and so must its work",
                      (long long)i, obs[i].seconds, obs[i].weight);
  }
  for (int64_t i = 0; i < n; i++) {
    if (m->n == ISO_STEP_OBS) {
      int out = 0;
      for (int k = 1; k < m->n; k++)
        if (m->obs[k].weight < m->obs[out].weight) out = k;
      memmove(&m->obs[out], &m->obs[out + 1], (size_t)(m->n - out - 1) * sizeof m->obs[0]);
      m->n--;
    }
    m->obs[m->n++] = obs[i];
  }
  fit(m);
  return ISO_OK;
}

iso_est iso_step_model_predict(const iso_step_model *m, const iso_step_work *w) {
  double x[P], z[P] = {0}, y[P];
  terms(w, x);
  double mean = dot(m->rate, x);
  if (m->n == 0 || !isfinite(mean)) return iso_est_unknown();
  if (!(mean > 0)) return iso_est_exact(0);
  // Relative variance of a new observation of mean weight: sd^2 (1 + z' A^-1 z mean weight), z the row x / mean.
  normal s = normal_of(m);
  unsigned mask;
  (void)active(m, &mask);
  for (int j = 0; j < P; j++) z[j] = s.scale[j] > 0 ? x[j] / (mean * s.scale[j]) : 0;
  double lever = solve(&s, mask, z, y) ? dot(z, y) * s.weight / m->n : 1;
  double rel = m->rel_sd * m->t * sqrt(1 + lever);
  rel = fmax(rel, LEAST_REL);
  return iso_est_range(mean * fmax(1 - rel, 0), mean, mean * (1 + rel));
}

// ---- keeping it -----------------------------------------------------------------------------------------------------

iso_status iso_step_model_init(const iso_ctx *c, const iso_hw *hw, iso_step_model *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  out->rel_sd = NAN;
  if (!c->kern) return iso_fail(err, ISO_EBUG, "step times: the context has no kernels");
  (void)snprintf(out->hw_id, sizeof out->hw_id, "%s", hw->id);
  (void)snprintf(out->kernels, sizeof out->kernels, "%s", c->kern->name);
  (void)snprintf(out->precision, sizeof out->precision, "%s", strstr(c->kern->name, "bf16") ? "bf16" : "f32");
  time_t now = time(NULL);
  struct tm tm;
  gmtime_r(&now, &tm);
  if (strftime(out->date, sizeof out->date, "%Y-%m-%d", &tm) == 0) out->date[0] = 0;
  return ISO_OK;
}

json_t *iso_step_model_json(const iso_step_model *m) {
  json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:[], s:o, s:[]}", "hw_id", m->hw_id, "kernels", m->kernels, "precision", m->precision, "date", m->date,
                        "rate", "rel_sd", iso_json_num(m->rel_sd), "obs");
  int bad = o ? 0 : 1;
  for (int j = 0; o && j < P; j++) bad |= json_array_append_new(json_object_get(o, "rate"), iso_json_num(m->rate[j])) != 0;
  for (int i = 0; o && i < m->n; i++) {
    const iso_step_obs *b = &m->obs[i];
    bad |= json_array_append_new(json_object_get(o, "obs"), json_pack("[f, f, f, f, f, f]", b->work.flop, b->work.bytes, b->work.calls,
                                                                      b->work.update_b, b->seconds, b->weight)) != 0;
  }
  if (!bad) return o;
  json_decref(o);
  return NULL;
}

static iso_status get_str(const json_t *j, const char *key, const char *what, char *out, size_t n, iso_err *err) {
  const char *s;
  ISO_TRY(iso_json_get_str(j, key, what, &s, err));
  if (strlen(s) >= n) return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" has %zu characters, at most %zu fit", what, key, strlen(s), n - 1);
  memcpy(out, s, strlen(s) + 1);
  return ISO_OK;
}

iso_status iso_step_model_from_json(const json_t *j, const char *what, iso_step_model *out, iso_err *err) {
  static const char *const KEYS[] = {"hw_id", "kernels", "precision", "date", "rate", "rel_sd", "obs", NULL};
  iso_step_model m = {0};
  iso_step_obs obs[ISO_STEP_OBS];
  if (!json_is_object(j)) return iso_fail(err, ISO_EFORMAT, "%s: must be a JSON object", what);
  ISO_TRY(iso_json_only_keys(j, what, KEYS, err));
  ISO_TRY(get_str(j, "hw_id", what, m.hw_id, sizeof m.hw_id, err));
  ISO_TRY(get_str(j, "kernels", what, m.kernels, sizeof m.kernels, err));
  ISO_TRY(get_str(j, "precision", what, m.precision, sizeof m.precision, err));
  ISO_TRY(get_str(j, "date", what, m.date, sizeof m.date, err));
  const json_t *a = json_object_get(j, "obs");
  size_t n = json_array_size(a);  // 0 for what is no array
  if (n < 1 || n > ISO_STEP_OBS) return iso_fail(err, ISO_EFORMAT, "%s: \"obs\" has %zu rows, expected an array of 1 to %d", what, n, ISO_STEP_OBS);
  for (size_t i = 0; i < n; i++) {
    double v[6];
    const json_t *row = json_array_get(a, i);
    if (json_array_size(row) != 6)
      return iso_fail(err, ISO_EFORMAT, "%s: row %zu of \"obs\" has %zu numbers, expected 6", what, i, json_array_size(row));
    for (size_t k = 0; k < 6; k++) {
      if (!json_is_number(json_array_get(row, k)))
        return iso_fail(err, ISO_EFORMAT, "%s: row %zu of \"obs\" holds something that is no number", what, i);
      v[k] = json_number_value(json_array_get(row, k));
    }
    obs[i] = (iso_step_obs){{v[0], v[1], v[2], v[3]}, v[4], v[5]};
  }
  // The rates are in the file for readers; the observations say the same.
  if (iso_step_model_refit(&m, obs, (int64_t)n, err) != ISO_OK)
    return iso_err_prefix(err, iso_fail(NULL, ISO_EFORMAT, "bad observation"), "%s", what);
  *out = m;
  return ISO_OK;
}

static iso_status path_of(const char *id, char *buf, size_t n, iso_err *err) {
  char hw[4200];
  ISO_TRY(iso_hw_path(id, hw, sizeof hw, err));
  hw[strlen(hw) - strlen(".json")] = 0;
  int k = snprintf(buf, n, "%s.steps.json", hw);
  if (k < 0 || (size_t)k >= n) return iso_fail(err, ISO_EINVAL, "the path of the step times of %.40s is too long", id);
  return ISO_OK;
}

iso_status iso_step_model_save(iso_ctx *c, const iso_step_model *m, iso_err *err) {
  char path[4220];
  ISO_TRY(path_of(m->hw_id, path, sizeof path, err));
  json_t *j = iso_step_model_json(m);
  if (!j) return iso_fail(err, ISO_ENOMEM, "%s: no memory", path);
  iso_status st = iso_json_save(c, path, j, err);
  json_decref(j);
  return st;
}

iso_status iso_step_model_load(const iso_ctx *c, const char *hw_id, iso_step_model *out, iso_err *err) {
  char path[4220];
  json_t *j;
  ISO_TRY(path_of(hw_id, path, sizeof path, err));
  iso_status st = iso_json_load(path, &j, err);
  if (st == ISO_EIO) return iso_hint(err, st, "run: isoflop calibrate");
  if (st == ISO_OK) {
    st = iso_step_model_from_json(j, path, out, err);
    json_decref(j);
  }
  if (st == ISO_EFORMAT) return iso_hint(err, st, "run isoflop calibrate again to replace it");
  if (st != ISO_OK) return st;
  const char *kernels = c->kern ? c->kern->name : "none";
  if (strcmp(out->hw_id, hw_id) != 0 || strcmp(out->kernels, kernels) != 0) {
    iso_fail(err, ISO_EUNSUP, "%s: step times of machine %s with %s kernels, this is %s with %s", path, out->hw_id, out->kernels, hw_id, kernels);
    return iso_hint(err, ISO_EUNSUP, "run isoflop calibrate again to replace it");
  }
  return ISO_OK;
}
