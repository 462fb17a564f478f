// The smooth prior of operator times and its fit to measured rows.
#include <math.h>
#include <nlopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/stat.h"
#include "plan/device/model.h"

enum { CLASSES = ISO_PRIOR_MAX / ISO_PRIOR_CLASS, C = ISO_PRIOR_CLASS };

static int class_of(double op) { return op == ISO_COLL_all_reduce ? 1 : op == ISO_COLL_alltoall ? 2 : 0; }

double iso_prior_s(const iso_prior *p, iso_table_kind k, const double *shape, const iso_work *w) {
  if (k != ISO_TABLE_collective) return p->p[0] + hypot(p->p[1] * w->compute_s, p->p[2] * w->memory_s);
  const double *c = p->p + C * class_of(shape[0]);
  return c[0] + c[1] * w->compute_s + c[2] * sqrt(w->memory_s) + c[3] * w->memory_s;
}

// Geometric means of fits to NVIDIA A100-80 and H100 SXM, 16-bit, with the libraries and NCCL of 2024.
iso_prior iso_prior_usual(iso_table_kind k) {
  static const iso_prior USUAL[ISO_TABLE_COUNT] = {
      [ISO_TABLE_gemm] = {{3.8e-6, 1.23, 1.26}},
      [ISO_TABLE_prefill] = {{12e-6, 1.92, 3.5}},
      [ISO_TABLE_decode] = {{15e-6, 1.19, 1.36}},
      [ISO_TABLE_collective] = {{6.1e-6, 0.84, 4.5e-3, 1.31, 6.1e-6, 1.67, 4.7e-3, 1.24, 8.5e-6, 0.13, 5.2e-3, 1.32}},
  };
  return USUAL[k];
}

void iso_prior_usual_range(iso_table_kind k, double *lo, double *hi) {
  static const double RANGE[ISO_TABLE_COUNT][2] = {{0.73, 1.47}, {0.75, 1.64}, {0.71, 3.9}, {0.75, 1.40}};
  *lo = RANGE[k][0];
  *hi = RANGE[k][1];
}

// ---- compute kinds --------------------------------------------------------------------------------------------------

typedef struct problem {
  const iso_rows *r;
  const iso_work *w;
  double *err;  // owned by the caller: one per row
} problem;

static double log_error(unsigned n, const double *p, double *grad, void *arg) {
  const problem *q = arg;
  iso_prior prior = {{exp(p[0]), exp(p[1]), exp(p[2])}};
  (void)n, (void)grad;
  for (int64_t i = 0; i < q->r->n; i++) q->err[i] = fabs(log(q->r->time_s[i] / iso_prior_s(&prior, q->r->kind, NULL, &q->w[i])));
  double e = iso_mean(q->err, q->r->n);
  return e == e ? e : HUGE_VAL;
}

static iso_status fit_compute(const iso_rows *r, const iso_work *w, iso_prior *out, iso_err *err) {
  double least = INFINITY, best, p[3];
  problem q = {r, w, calloc((size_t)r->n, sizeof(double))};
  nlopt_opt o = nlopt_create(NLOPT_LN_NELDERMEAD, 3);
  iso_status st = ISO_OK;
  if (!q.err || !o) {
    st = iso_fail(err, ISO_ENOMEM, "%s prior: no memory", iso_table_name(r->kind));
    goto done;
  }
  for (int64_t i = 0; i < r->n; i++) least = fmin(least, r->time_s[i]);
  p[0] = log(least);
  p[1] = p[2] = log(1.2);
  nlopt_set_min_objective(o, log_error, &q);
  nlopt_set_initial_step1(o, 0.3);
  nlopt_set_xtol_abs1(o, 1e-4);
  nlopt_set_maxeval(o, 400);
  (void)nlopt_optimize(o, p, &best);  // p is the best point seen, however it ended
  if (!(log_error(3, p, NULL, &q) < HUGE_VAL)) {
    st = iso_fail(err, ISO_ENUM, "%s prior: no launch time and efficiencies describe the %lld rows", iso_table_name(r->kind), (long long)r->n);
    goto done;
  }
  *out = (iso_prior){{exp(p[0]), exp(p[1]), exp(p[2])}};
done:
  nlopt_destroy(o);
  free(q.err);
  return st;
}

// ---- collectives ----------------------------------------------------------------------------------------------------

static void columns(const iso_rows *r, const iso_work *w, int64_t i, double *x) {
  x[0] = 1 / r->time_s[i];
  x[1] = w[i].compute_s / r->time_s[i];
  x[2] = sqrt(w[i].memory_s) / r->time_s[i];
  x[3] = w[i].memory_s / r->time_s[i];
}

// Solves the normal equations a p = b for the unknowns in `use`, the others 0; false when they are singular.
static bool solve(double a[C][C], const double *b, int use, double *p) {
  double m[C][C + 1];
  int at[C], n = 0;
  for (int i = 0; i < C; i++) {
    p[i] = 0;
    if (use >> i & 1) at[n++] = i;
  }
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < n; j++) m[i][j] = a[at[i]][at[j]];
    m[i][n] = b[at[i]];
  }
  for (int k = 0; k < n; k++) {
    // Cholesky order without pivoting: a Gram matrix; a pivot that has lost 10 digits means dependent columns.
    if (!(m[k][k] > 1e-10 * a[at[k]][at[k]])) return false;
    for (int i = 0; i < n; i++) {
      double f = i == k ? 0 : m[i][k] / m[k][k];
      for (int j = k; j <= n; j++) m[i][j] -= f * m[k][j];
    }
  }
  for (int k = 0; k < n; k++) p[at[k]] = m[k][n] / m[k][k];
  return true;
}

// Non-negative least squares in four unknowns by looking at every support (Lawson and Hanson 1974, ch. 23, enumerated).
static void least_squares(double a[C][C], const double *b, double *best) {
  double low = INFINITY;
  for (int use = 1; use < 1 << C; use++) {
    double p[C], v = 0;
    if (!solve(a, b, use, p)) continue;
    bool good = true;
    for (int i = 0; i < C; i++) {
      good &= p[i] >= 0;
      v -= b[i] * p[i];  // at a stationary point the sum of squares is a constant less b'p
    }
    if (!good || !(v < low)) continue;
    low = v;
    memcpy(best, p, sizeof p);
  }
}

// Relative errors to a power between 1 and 2 by reweighting: a few rows where a protocol changes should not bend the rest.
static void fit_class(const iso_rows *r, const iso_work *w, int cls, double *p) {
  for (int pass = 0; pass < 4; pass++) {
    double a[C][C] = {{0}}, b[C] = {0}, next[C] = {NAN, NAN, NAN, NAN};
    for (int64_t i = 0; i < r->n; i++) {
      double x[C], fit = 0;
      if (class_of(r->shape[3 * i]) != cls) continue;
      columns(r, w, i, x);
      for (int j = 0; j < C; j++) fit += pass ? p[j] * x[j] : 0;
      double weight = pass ? 1 / (fabs(fit - 1) + 0.02) : 1;
      for (int j = 0; j < C; j++) {
        for (int k = 0; k < C; k++) a[j][k] += weight * x[j] * x[k];
        b[j] += weight * x[j];
      }
    }
    least_squares(a, b, next);
    memcpy(p, next, sizeof next);
    if (!isfinite(p[0])) return;  // no rows of this class
  }
}

static iso_status fit_collective(const iso_rows *r, const iso_work *w, iso_prior *out, iso_err *err) {
  bool any = false;
  for (int c = 0; c < CLASSES; c++) {
    fit_class(r, w, c, out->p + C * c);
    any |= isfinite(out->p[C * c]);
  }
  if (!any) return iso_fail(err, ISO_ENUM, "collective prior: no latencies and rates describe the %lld rows", (long long)r->n);
  return ISO_OK;
}

iso_status iso_prior_fit(const iso_rows *r, const iso_work *work, iso_prior *out, iso_err *err) {
  *out = (iso_prior){{0}};
  return r->kind == ISO_TABLE_collective ? fit_collective(r, work, out, err) : fit_compute(r, work, out, err);
}
