// What a serving calibration is worth: each model from the others, random splits, ranking, the choice among configurations.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stat.h"
#include "plan/serve/calib_impl.h"

bool iso_calib_same_model(const iso_serve_point *a, const iso_serve_point *b, bool by_shape) {
  if (!by_shape) return !strcmp(a->model, b->model);
  iso_serve_counts x = iso_serve_counts_of(a->shape), y = iso_serve_counts_of(b->shape);
  return x.total == y.total && x.kv_per_tok == y.kv_per_tok && a->shape->layers == b->shape->layers;
}

static bool same_load(const iso_serve_point *a, const iso_serve_point *b) {
  return a->prompt == b->prompt && a->output == b->output && !strcmp(a->model, b->model) && !strcmp(a->system, b->system);
}

static bool same_layout(const iso_serve_layout *a, const iso_serve_layout *b) {
  return a->tp == b->tp && a->dp == b->dp && a->moe_tp == b->moe_tp && a->moe_ep == b->moe_ep;
}

static bool same_config(const iso_serve_point *a, const iso_serve_point *b) {
  return a->split == b->split && a->together == b->together && a->batch == b->batch && a->workers == b->workers && same_layout(&a->file, &b->file) &&
         !strcmp(a->backend, b->backend) && !strcmp(a->precision, b->precision);
}

// Kendall's tau-b; NaN when either side is constant.
static double kendall(const double *x, const double *y, int64_t n) {
  double s = 0, a = 0, b = 0;
  for (int64_t i = 0; i < n; i++) {
    for (int64_t k = 0; k < i; k++) {
      double p = (x[i] > x[k]) - (x[i] < x[k]), q = (y[i] > y[k]) - (y[i] < y[k]);
      s += p * q;
      a += p * p;
      b += q * q;
    }
  }
  return a > 0 && b > 0 ? s / sqrt(a * b) : NAN;
}

// One (model, system, prompt, output): mean measured and predicted per configuration, then tau. Marks its rows as done.
static double group_tau(const iso_serve_points *p, const iso_calib_table *t, const double *pred, int64_t first, bool *done, double *x, double *y,
                        int64_t *rep, int64_t *configs) {
  int64_t k = 0;
  for (int64_t i = first; i < t->n; i++) {
    const iso_serve_point *q = &p->at[t->row[i].point];
    if (done[i] || !same_load(&p->at[t->row[first].point], q)) continue;
    double sx = 0, sy = 0, m = 0;
    for (int64_t h = i; h < t->n; h++) {
      const iso_serve_point *r = &p->at[t->row[h].point];
      if (done[h] || !same_load(q, r) || !same_config(q, r)) continue;
      done[h] = true;
      sx += r->tpot_s;
      sy += pred[h];
      m++;
    }
    x[k] = sx / m;
    y[k] = sy / m;
    rep[k++] = i;
  }
  *configs = k;
  return k >= 4 ? kendall(x, y, k) : NAN;
}

iso_status iso_calib_rank(const iso_serve_points *p, const iso_calib_table *t, const double *pred, const bool *use, iso_calib_tau *out,
                          iso_err *err) {
  size_t n = (size_t)t->n + 1;
  bool *done = calloc(n, sizeof *done);
  double *x = malloc(2 * n * sizeof *x), sum = 0;
  int64_t *rep = malloc(n * sizeof *rep);
  bool ok = done && x && rep;
  *out = (iso_calib_tau){.mean = NAN, .min = INFINITY};
  for (int64_t i = 0; ok && i < t->n; i++) done[i] = use && !use[i];
  for (int64_t i = 0; ok && i < t->n; i++) {
    int64_t configs = 0;
    if (done[i]) continue;
    double tau = group_tau(p, t, pred, i, done, x, x + n, rep, &configs);
    if (isnan(tau)) continue;
    sum += tau;
    out->min = fmin(out->min, tau);
    out->groups++;
  }
  if (out->groups)
    out->mean = sum / (double)out->groups;
  else
    out->min = NAN;
  free(done);
  free(x);
  free(rep);
  return ok ? ISO_OK : iso_fail(err, ISO_ENOMEM, "calibration: no memory to rank %lld points", (long long)t->n);
}

// Predicts the rows of the model of row `first` from all others.
static iso_status leave_out(const iso_serve_points *p, iso_calib_table *t, int64_t first, bool by_shape, bool *drop, bool *done, double *tpot,
                            double *ttft, iso_calib_model *m, double *buf, iso_err *err) {
  const iso_serve_point *q = &p->at[t->row[first].point];
  iso_calib *c = malloc(sizeof *c);
  if (!c) return iso_fail(err, ISO_ENOMEM, "calibration: no memory");
  for (int64_t i = 0; i < t->n; i++) drop[i] = iso_calib_same_model(&p->at[t->row[i].point], q, by_shape);
  iso_status st = iso_calib_table_fit(t, drop, c, err);
  int64_t k = 0, n = t->n;
  for (int64_t i = 0; st == ISO_OK && i < n; i++) {
    if (!drop[i]) continue;
    const iso_serve_point *r = &p->at[t->row[i].point];
    done[i] = true;
    iso_calib_predict_row(c, r, &t->row[i], &tpot[i], &ttft[i]);
    buf[k] = fabs(tpot[i] / r->tpot_s - 1);
    buf[n + k] = tpot[i] / r->tpot_s;
    buf[2 * n + k++] = fabs(ttft[i] / r->ttft_s - 1);
  }
  free(c);
  if (st != ISO_OK) return iso_err_prefix(err, st, "without %s", by_shape ? q->shape->name : q->model);
  snprintf(m->name, sizeof m->name, "%s", by_shape ? q->shape->name : q->model);
  m->points = k;
  m->error = iso_median(buf, k);
  m->ratio = iso_median(buf + n, k);
  m->ttft_error = iso_median(buf + 2 * n, k);
  return ISO_OK;
}

static void summarise(const iso_serve_points *p, const iso_calib_table *t, const double *tpot, const double *ttft, double *buf, iso_calib_check *o) {
  for (int pass = 0; pass < 2; pass++) {
    double *e = buf, *r = buf + t->n;
    for (int64_t i = 0; i < t->n; i++) {
      const iso_serve_point *q = &p->at[t->row[i].point];
      double got = pass ? q->ttft_s : q->tpot_s, want = pass ? ttft[i] : tpot[i];
      e[i] = fabs(want / got - 1);
      r[i] = got / want;
    }
    double mean = iso_mean(e, t->n);
    *(pass ? &o->ttft_error : &o->error) = iso_median(e, t->n);
    *(pass ? &o->ttft_p90_error : &o->p90_error) = iso_quantile(e, t->n, 0.9);
    *(pass ? &o->ttft_lo : &o->lo) = iso_quantile(r, t->n, 0.05);
    *(pass ? &o->ttft_hi : &o->hi) = iso_quantile(r, t->n, 0.95);
    if (!pass) o->mean_error = mean;
  }
  o->points = t->n;
}

iso_status iso_calib_check_run(const iso_serve_points *p, bool by_shape, iso_calib_check *out, iso_err *err) {
  iso_calib_table t;
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_calib_table_open(p, &t, err));
  size_t n = (size_t)t.n + 1;
  bool *drop = calloc(n, sizeof *drop), *done = calloc(n, sizeof *done);
  double *tpot = malloc(n * sizeof *tpot), *ttft = malloc(n * sizeof *ttft), *buf = malloc(3 * n * sizeof *buf);
  iso_status st = drop && done && tpot && ttft && buf ? ISO_OK : iso_fail(err, ISO_ENOMEM, "calibration: no memory for %lld points", (long long)t.n);
  for (int64_t i = 0; st == ISO_OK && i < t.n; i++) {
    if (done[i]) continue;
    if (out->models == ISO_CALIB_MODELS_MAX) {
      st = iso_fail(err, ISO_EINVAL, "calibration: more than %d models", ISO_CALIB_MODELS_MAX);
      break;
    }
    st = leave_out(p, &t, i, by_shape, drop, done, tpot, ttft, &out->model[out->models], buf, err);
    out->models += st == ISO_OK;
  }
  if (st == ISO_OK) summarise(p, &t, tpot, ttft, buf, out);
  if (st == ISO_OK) st = iso_calib_rank(p, &t, tpot, NULL, &out->tau, err);
  free(drop);
  free(done);
  free(tpot);
  free(ttft);
  free(buf);
  iso_calib_table_close(&t);
  return st;
}
