// Fits serving times to measured points.
#include "plan/serve/calib_impl.h"

#include <math.h>
#include <nlopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stat.h"

enum { SHRINK = 6 };

static const double TIME_START[ISO_CALIB_TIME_N] = {1.2, 1.5, 1.5, 2.3, 5e-6, 4e-6, 20e-6};
static const double TTFT_START[ISO_CALIB_TTFT_N] = {0.05, 1, 2, 0.01};

static int group_of(const iso_calib_table *t, const iso_serve_point *p) {
  for (int i = 0; i < t->groups; i++)
    if (!strcmp(t->group[i].system, p->device.name) && !strcmp(t->group[i].backend, p->backend) && !strcmp(t->group[i].precision, p->precision))
      return i;
  return -1;
}

// The prefill time of one prompt at peak: on its own attention rank, whose share of the replica's devices works alone.
static iso_status prefill_of(const iso_serve_point *p, const iso_serve_setup *decode, double *seconds, iso_err *err) {
  iso_serve_setup u = *decode;
  if (p->split) ISO_TRY(iso_serve_setup_init(&u, p->shape, &p->device, &decode->format, p->prefill, err));
  iso_serve_step s = {.prefill_tok = p->prompt, .prefill_ctx = p->prompt / 2};
  *seconds = iso_serve_work_of(&u, &s).prefill_s * fmin((double)u.layout.dp, 8);
  return ISO_OK;
}

static iso_status fill_row(const iso_serve_point *p, iso_calib_row *r, iso_err *err) {
  iso_serve_setup u;
  ISO_TRY(iso_serve_point_setup(p, &u, err));
  ISO_TRY(prefill_of(p, &u, &r->prefill_s, err));
  iso_serve_work w = iso_serve_mean_work(&u, p->in_flight, p->prompt, p->output, !p->split && !p->together);
  const double x[ISO_CALIB_TIME_N] = {w.mem_s, w.flop_s, w.link_s, w.prefill_s, w.launches, w.collectives, w.net_collectives};
  memcpy(r->x, x, sizeof x);
  r->floor_s = iso_serve_floor_s(&w);
  r->queue = p->in_flight * p->workers / p->prefill_workers;
  if (p->together) {
    r->prefill_s *= p->in_flight;
    r->queue = 0;
  }
  r->log_tpot = log(p->tpot_s);
  r->log_ttft = log(p->ttft_s);
  return ISO_OK;
}

iso_status iso_calib_table_open(const iso_serve_points *p, iso_calib_table *t, iso_err *err) {
  memset(t, 0, sizeof *t);
  t->row = calloc((size_t)p->used + 1, sizeof *t->row);
  if (!t->row) return iso_fail(err, ISO_ENOMEM, "calibration: no memory for %lld points", (long long)p->used);
  for (int64_t i = 0; i < p->n; i++) {
    const iso_serve_point *q = &p->at[i];
    if (q->skip != ISO_POINT_USED) continue;
    iso_calib_row *r = &t->row[t->n];
    iso_status st = fill_row(q, r, err);
    r->point = i;
    r->group = group_of(t, q);
    if (st == ISO_OK && r->group < 0) {
      if (t->groups == ISO_CALIB_GROUPS_MAX) {
        st = iso_fail(err, ISO_EINVAL, "calibration: more than %d kinds of (system, backend, precision)", ISO_CALIB_GROUPS_MAX);
      } else {
        iso_calib_group *g = &t->group[t->groups];
        snprintf(g->system, sizeof g->system, "%s", q->device.name);
        memcpy(g->backend, q->backend, sizeof g->backend);
        memcpy(g->precision, q->precision, sizeof g->precision);
        r->group = t->groups++;
      }
    }
    if (st != ISO_OK) {
      iso_calib_table_close(t);
      return iso_err_prefix(err, st, "line %lld", (long long)q->line);
    }
    t->n++;
  }
  return ISO_OK;
}

void iso_calib_table_close(iso_calib_table *t) {
  free(t->row);
  memset(t, 0, sizeof *t);
}

// One fit over part of a table: which rows, and residuals by group.
typedef struct job {
  const iso_calib_table *t;
  const bool *drop;  // by row; NULL: none
  int64_t *order;    // owned: kept rows sorted by group
  double *resid, *sorted;
  int64_t n, from[ISO_CALIB_GROUPS_MAX + 1];  // where each group's rows start
  bool ttft;
} job;

static double tpot_of(const iso_calib_row *r, const double *theta) {
  double t = 0;
  for (int i = 0; i < ISO_CALIB_TIME_N; i++) t += r->x[i] * theta[i];
  return fmax(t, r->floor_s);
}

static double ttft_of(const iso_calib_row *r, const double *theta) {
  return theta[0] + r->prefill_s * (theta[1] + theta[3] * r->queue) + theta[2] * exp(r->log_step);
}

static void residuals(job *j, const double *theta) {
  for (int64_t i = 0; i < j->n; i++) {
    const iso_calib_row *r = &j->t->row[j->order[i]];
    j->resid[i] = j->ttft ? r->log_ttft - log(ttft_of(r, theta)) : r->log_tpot - log(tpot_of(r, theta));
  }
}

static double group_median(job *j, int g) {
  int64_t k = j->from[g + 1] - j->from[g];
  memcpy(j->sorted, j->resid + j->from[g], (size_t)k * sizeof *j->sorted);
  return iso_median(j->sorted, k);
}

// Sum of absolute log residuals about each group's median; medians and parameters are held near 1 and the start, weakly, since groups with
// one model each leave a factor between them free.
static double objective(unsigned n, const double *log_theta, double *grad, void *self) {
  job *j = self;
  const double *start = j->ttft ? TTFT_START : TIME_START;
  double theta[ISO_CALIB_TIME_N], sum = 0;
  (void)grad;
  for (unsigned i = 0; i < n; i++) {
    double d = log_theta[i] - log(start[i]);
    theta[i] = exp(log_theta[i]);
    sum += 0.5 * d * d;
  }
  residuals(j, theta);
  for (int g = 0; g < j->t->groups; g++) {
    if (j->from[g + 1] == j->from[g]) continue;
    double m = group_median(j, g);
    for (int64_t i = j->from[g]; i < j->from[g + 1]; i++) sum += fabs(j->resid[i] - m);
    sum += 3 * m * m;
  }
  return sum;
}

static iso_status minimise(job *j, double *theta, iso_err *err) {
  unsigned n = j->ttft ? ISO_CALIB_TTFT_N : ISO_CALIB_TIME_N;
  const double *start = j->ttft ? TTFT_START : TIME_START;
  double x[ISO_CALIB_TIME_N], best = 0;
  for (unsigned i = 0; i < n; i++) x[i] = log(start[i]);
  nlopt_opt o = nlopt_create(NLOPT_LN_NELDERMEAD, n);
  if (!o) return iso_fail(err, ISO_ENOMEM, "calibration: no memory for the optimiser");
  nlopt_set_min_objective(o, objective, j);
  nlopt_set_maxeval(o, 1500);
  nlopt_set_xtol_rel(o, 1e-5);
  nlopt_set_initial_step1(o, 0.3);
  nlopt_result r = nlopt_optimize(o, x, &best);
  nlopt_destroy(o);
  if (r < 0 && r != NLOPT_ROUNDOFF_LIMITED) return iso_fail(err, ISO_ENUM, "calibration: the optimiser failed (NLopt code %d)", (int)r);
  for (unsigned i = 0; i < n; i++) theta[i] = exp(x[i]);
  return ISO_OK;
}

static void job_close(job *j) {
  free(j->order);
  free(j->resid);
  free(j->sorted);
}

static iso_status job_open(job *j, const iso_calib_table *t, const bool *drop, iso_err *err) {
  memset(j, 0, sizeof *j);
  j->t = t;
  j->drop = drop;
  size_t n = (size_t)t->n + 1;
  j->order = malloc(n * sizeof *j->order);
  j->resid = malloc(n * sizeof *j->resid);
  j->sorted = malloc(n * sizeof *j->sorted);
  if (!j->order || !j->resid || !j->sorted) {
    job_close(j);
    return iso_fail(err, ISO_ENOMEM, "calibration: no memory for %lld points", (long long)t->n);
  }
  for (int g = 0; g < t->groups; g++) {
    j->from[g] = j->n;
    for (int64_t i = 0; i < t->n; i++)
      if (t->row[i].group == g && !(drop && drop[i])) j->order[j->n++] = i;
  }
  j->from[t->groups] = j->n;
  if (j->n >= 10) return ISO_OK;
  job_close(j);
  return iso_fail(err, ISO_EINVAL, "calibration: %lld usable points, expected at least 10", (long long)j->n);
}

static const char *effect_key(const iso_calib_group *g, int kind) { return kind == 0 ? g->system : kind == 1 ? g->backend : g->precision; }

static iso_calib_effect *effect_find(const iso_calib *c, int kind, const char *name) {
  for (int i = 0; i < c->effects; i++)
    if (c->effect[i].kind == kind && !strcmp(c->effect[i].name, name)) return (iso_calib_effect *)(uintptr_t)&c->effect[i];
  return NULL;
}

static double *effect_value(iso_calib_effect *e, bool ttft) { return ttft ? &e->log_ttft : &e->log_scale; }

// base + system + backend + precision of a group; unknown names add nothing.
static double pooled(const iso_calib *c, const char *system, const char *backend, const char *precision, bool ttft) {
  const char *key[3] = {system, backend, precision};
  double v = ttft ? c->ttft_base : c->base;
  for (int k = 0; k < 3; k++) {
    iso_calib_effect *e = effect_find(c, k, key[k]);
    if (e) v += *effect_value(e, ttft);
  }
  return v;
}

// Ridge regression of the groups' medians on the three names, weights min(points, 30), penalty 10, by coordinate descent (it converges
// linearly; 200 rounds are far more than needed for a few dozen names).
static void pool(iso_calib *c, const double *median, bool ttft) {
  double *base = ttft ? &c->ttft_base : &c->base;
  *base = 0;
  for (int round = 0; round < 200; round++) {
    double num = 0, den = 1e-12;
    for (int g = 0; g < c->groups; g++) {
      const iso_calib_group *q = &c->group[g];
      double w = fmin((double)q->points, 30);
      num += w * (median[g] - (pooled(c, q->system, q->backend, q->precision, ttft) - *base));
      den += w;
    }
    *base = num / den;
    for (int i = 0; i < c->effects; i++) {
      iso_calib_effect *e = &c->effect[i];
      double *v = effect_value(e, ttft), en = 0, ed = 10;
      for (int g = 0; g < c->groups; g++) {
        const iso_calib_group *q = &c->group[g];
        if (strcmp(effect_key(q, e->kind), e->name) != 0) continue;
        double w = fmin((double)q->points, 30);
        en += w * (median[g] - (pooled(c, q->system, q->backend, q->precision, ttft) - *v));
        ed += w;
      }
      *v = en / ed;
    }
  }
}

// Group factors from the residuals of a finished fit.
static void factors(job *j, const double *theta, iso_calib *c, bool ttft) {
  double median[ISO_CALIB_GROUPS_MAX];
  j->ttft = ttft;
  residuals(j, theta);
  int k = 0;
  for (int g = 0; g < j->t->groups; g++)
    if (j->from[g + 1] > j->from[g]) median[k++] = group_median(j, g);
  pool(c, median, ttft);
  for (int g = 0; g < c->groups; g++) {
    iso_calib_group *q = &c->group[g];
    double n = (double)q->points, v = (n * median[g] + SHRINK * pooled(c, q->system, q->backend, q->precision, ttft)) / (n + SHRINK);
    *(ttft ? &q->ttft_scale : &q->scale) = exp(v);
  }
}

static iso_status name_groups(const job *j, iso_calib *c, iso_err *err) {
  for (int g = 0; g < j->t->groups; g++) {
    if (j->from[g + 1] == j->from[g]) continue;
    iso_calib_group *q = &c->group[c->groups++];
    *q = j->t->group[g];
    q->points = j->from[g + 1] - j->from[g];
    for (int k = 0; k < 3; k++) {
      if (effect_find(c, k, effect_key(q, k))) continue;
      if (c->effects == ISO_CALIB_EFFECTS_MAX)
        return iso_fail(err, ISO_EINVAL, "calibration: more than %d names of systems, backends and precisions", ISO_CALIB_EFFECTS_MAX);
      iso_calib_effect *e = &c->effect[c->effects++];
      e->kind = k;
      snprintf(e->name, sizeof e->name, "%s", effect_key(q, k));
    }
  }
  return ISO_OK;
}

iso_status iso_calib_table_fit(iso_calib_table *t, const bool *drop, iso_calib *c, iso_err *err) {
  job j;
  double theta[ISO_CALIB_TIME_N], first[ISO_CALIB_TTFT_N];
  memset(c, 0, sizeof *c);
  ISO_TRY(job_open(&j, t, drop, err));
  iso_status st = name_groups(&j, c, err);
  if (st == ISO_OK) st = minimise(&j, theta, err);
  if (st == ISO_OK) {
    c->coef = (iso_serve_coef){.mem = theta[0],
                               .flop = theta[1],
                               .link = theta[2],
                               .prefill = theta[3],
                               .launch_s = theta[4],
                               .collective_s = theta[5],
                               .net_s = theta[6],
                               .scale = 1};
    factors(&j, theta, c, false);
    for (int64_t i = 0; i < t->n; i++) {
      iso_calib_row alone = t->row[i];
      alone.x[3] = 0;
      t->row[i].log_step = log(tpot_of(&alone, theta));
    }
    j.ttft = true;
    st = minimise(&j, first, err);
  }
  if (st == ISO_OK) {
    c->ttft_fixed_s = first[0];
    c->ttft_prefill = first[1];
    c->ttft_step = first[2];
    c->ttft_queue = first[3];
    factors(&j, first, c, true);
    c->points = j.n;
    c->lo = c->hi = c->ttft_lo = c->ttft_hi = NAN;
    snprintf(c->source, sizeof c->source, "fitted to %lld measured points", (long long)j.n);
  }
  job_close(&j);
  return st;
}

iso_status iso_calib_fit(const iso_serve_points *p, const bool *drop, iso_calib *out, iso_err *err) {
  iso_calib_table t;
  ISO_TRY(iso_calib_table_open(p, &t, err));
  bool *rows = calloc((size_t)t.n + 1, sizeof *rows);
  iso_status st = ISO_OK;
  if (!rows) st = iso_fail(err, ISO_ENOMEM, "calibration: no memory for %lld points", (long long)t.n);
  for (int64_t i = 0; rows && drop && i < t.n; i++) rows[i] = drop[t.row[i].point];
  if (st == ISO_OK) st = iso_calib_table_fit(&t, rows, out, err);
  free(rows);
  iso_calib_table_close(&t);
  return st;
}

iso_calib iso_calib_default(void) {
  return (iso_calib){
      .coef =
          {.mem = 1.189, .flop = 0.937, .link = 8.75, .prefill = 1.859, .launch_s = 4.55e-6, .collective_s = 8.58e-6, .net_s = 5.15e-5, .scale = 1},
      .ttft_fixed_s = 0.0071,
      .ttft_prefill = 3.68,
      .ttft_step = 15.3,
      .ttft_queue = 0.161,
      .points = 1467,
      .lo = 0.63,
      .hi = 1.61,
      .ttft_lo = 0.33,
      .ttft_hi = 4.1,
      .source = "built in: 1,467 measured points"};
}

static void scales(const iso_calib *c, const char *system, const char *backend, const char *precision, double *tpot, double *ttft) {
  iso_device_spec d;
  if (iso_device_spec_find(system, &d, NULL) == ISO_OK) system = d.name;  // "h100_sxm" is "h100-sxm"
  for (int i = 0; i < c->groups; i++) {
    const iso_calib_group *g = &c->group[i];
    if (strcmp(g->system, system) || strcmp(g->backend, backend) || strcmp(g->precision, precision)) continue;
    *tpot = g->scale;
    *ttft = g->ttft_scale;
    return;
  }
  *tpot = exp(pooled(c, system, backend, precision, false));
  *ttft = exp(pooled(c, system, backend, precision, true));
}

iso_serve_coef iso_calib_coef(const iso_calib *c, const char *system, const char *backend, const char *precision) {
  iso_serve_coef k = c->coef;
  double ttft;
  scales(c, system, backend, precision, &k.scale, &ttft);
  return k;
}

void iso_calib_predict_row(const iso_calib *c, const iso_serve_point *p, iso_calib_row *r, double *tpot_s, double *ttft_s) {
  const double theta[ISO_CALIB_TIME_N] = {c->coef.mem,      c->coef.flop,         c->coef.link, c->coef.prefill,
                                          c->coef.launch_s, c->coef.collective_s, c->coef.net_s};
  const double first[ISO_CALIB_TTFT_N] = {c->ttft_fixed_s, c->ttft_prefill, c->ttft_step, c->ttft_queue};
  double a, b;
  iso_calib_row alone = *r;
  alone.x[3] = 0;
  r->log_step = log(tpot_of(&alone, theta));
  scales(c, p->device.name, p->backend, p->precision, &a, &b);
  *tpot_s = fmax(tpot_of(r, theta) * a, r->floor_s);
  *ttft_s = ttft_of(r, first) * b;
}

iso_status iso_calib_predict(const iso_calib *c, const iso_serve_point *p, double *tpot_s, double *ttft_s, iso_err *err) {
  iso_calib_row r = {0};
  ISO_TRY(fill_row(p, &r, err));
  iso_calib_predict_row(c, p, &r, tpot_s, ttft_s);
  return ISO_OK;
}
