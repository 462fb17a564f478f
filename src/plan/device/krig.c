// Nearest rows by a scan, a small Cholesky factor per query, and length scales by leave-one-out errors.
#include "plan/device/krig.h"

#include <math.h>
#include <nlopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/stat.h"

enum { NEAR = ISO_KRIG_NEAR, BLOCK = 256 };
// Prior variance of the local level, in units of the process variance: the mean of the neighbours is a guess, not a fact.
static const double LEVEL_VAR = 4;
static const double SCALE_MIN = 0.05, SCALE_MAX = 100, NOISE_MIN = 1e-4, NOISE_MAX = 1;

iso_status iso_krig_open(int64_t n, int f, iso_krig *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  if (n < 2 || n > ((int64_t)1 << 32) || f < 1 || f > ISO_KRIG_F_MAX)
    return iso_fail(err, ISO_EINVAL, "kriging: %lld rows of %d features, expected at least 2 rows of 1 to %d", (long long)n, f, ISO_KRIG_F_MAX);
  out->n = n;
  out->f = f;
  out->stride = (n + BLOCK - 1) / BLOCK * BLOCK;
  out->x = calloc((size_t)(n * (f + 1) + out->stride * f), sizeof *out->x);
  if (!out->x) return iso_fail(err, ISO_ENOMEM, "kriging: no memory for %lld rows", (long long)n);
  out->y = out->x + n * f;
  out->z = out->y + n;
  for (int j = 0; j < f; j++) out->scale[j] = 1;
  out->noise = 0.01;
  out->q90 = NAN;
  return ISO_OK;
}

void iso_krig_close(iso_krig *k) {
  free(k->x);
  memset(k, 0, sizeof *k);
}

void iso_krig_bind(iso_krig *k) {
  for (int j = 0; j < k->f; j++)
    for (int64_t i = 0; i < k->n; i++) k->z[j * k->stride + i] = k->x[i * k->f + j] / k->scale[j];
}

// The nearest rows found so far, by rising squared distance; ties keep the earlier row.
typedef struct nearest {
  int n;
  int64_t row[NEAR];
  double d2[NEAR];
} nearest;

static void keep(nearest *s, int64_t row, double d2) {
  int i = s->n < NEAR ? s->n++ : NEAR - 1;
  for (; i > 0 && s->d2[i - 1] > d2; i--) {
    s->d2[i] = s->d2[i - 1];
    s->row[i] = s->row[i - 1];
  }
  s->d2[i] = d2;
  s->row[i] = row;
}

static void find(const iso_krig *k, const double *q, int64_t skip, nearest *s) {
  double d2[BLOCK];
  s->n = 0;
  for (int64_t at = 0; at < k->n; at += BLOCK) {
    int64_t m = k->n - at < BLOCK ? k->n - at : BLOCK;
    for (int i = 0; i < BLOCK; i++) d2[i] = 0;
    for (int j = 0; j < k->f; j++) {
      const double *z = k->z + j * k->stride + at, qj = q[j];
      for (int i = 0; i < BLOCK; i++) d2[i] += (z[i] - qj) * (z[i] - qj);  // whole blocks: the last one runs over padding
    }
    for (int64_t i = 0; i < m; i++)
      if ((s->n < NEAR || d2[i] < s->d2[NEAR - 1]) && at + i != skip) keep(s, at + i, d2[i]);
  }
}

static double matern(double d2) {
  double r = sqrt(3 * d2);
  return (1 + r) * exp(-r);
}

// Lower Cholesky factor of the neighbours' covariance, rows packed one after another: entry (i, j) at i (i + 1) / 2 + j.
static void factor(const iso_krig *k, const nearest *s, double *l) {
  double z[ISO_KRIG_F_MAX][NEAR];
  for (int j = 0; j < k->f; j++)
    for (int i = 0; i < s->n; i++) z[j][i] = k->z[j * k->stride + s->row[i]];
  for (int i = 0; i < s->n; i++) {
    double d2[NEAR] = {0}, *li = l + i * (i + 1) / 2;
    for (int j = 0; j < k->f; j++)
      for (int c = 0; c <= i; c++) d2[c] += (z[j][i] - z[j][c]) * (z[j][i] - z[j][c]);
    for (int c = 0; c < i; c++) {
      const double *lc = l + c * (c + 1) / 2;
      double v = matern(d2[c]) + LEVEL_VAR;
      for (int t = 0; t < c; t++) v -= li[t] * lc[t];
      li[c] = v / lc[c];
    }
    double v = 1 + LEVEL_VAR + k->noise;
    for (int t = 0; t < i; t++) v -= li[t] * li[t];
    li[i] = sqrt(v);  // at least sqrt(noise) but for rounding, which stays far below NOISE_MIN
  }
}

void iso_krig_at(const iso_krig *k, const double *x, int64_t skip, iso_krig_value *out) {
  nearest s;
  double q[ISO_KRIG_F_MAX], l[NEAR * (NEAR + 1) / 2], a[NEAR], b[NEAR], mean = 0, gain = 0, known = 0;
  for (int j = 0; j < k->f; j++) q[j] = x[j] / k->scale[j];
  find(k, q, skip, &s);
  factor(k, &s, l);
  for (int i = 0; i < s.n; i++) mean += k->y[s.row[i]] / s.n;
  // With K = L L': mean + c' K^-1 (y - mean) = mean + (L^-1 c)' (L^-1 (y - mean)), and the variance falls by |L^-1 c|^2.
  for (int i = 0; i < s.n; i++) {
    const double *li = l + i * (i + 1) / 2;
    a[i] = matern(s.d2[i]) + LEVEL_VAR;
    b[i] = k->y[s.row[i]] - mean;
    for (int t = 0; t < i; t++) {
      a[i] -= li[t] * a[t];
      b[i] -= li[t] * b[t];
    }
    a[i] /= li[i];
    b[i] /= li[i];
    gain += a[i] * b[i];
    known += a[i] * a[i];
  }
  *out = (iso_krig_value){.mean = mean + gain, .var = fmax(1 + LEVEL_VAR - known, 0) + k->noise, .near = sqrt(s.d2[0])};
}

// ---- learning ---------------------------------------------------------------------------------------------------------

typedef struct search {
  iso_pool *pool;
  iso_krig *k;
  int64_t probes, stride;
  double *err, *var;  // owned: of each probe
} search;

static void probe(void *arg, int64_t task, int worker) {
  search *s = arg;
  iso_krig_value v;
  int64_t row = task * s->k->n / s->probes;
  (void)worker;
  iso_krig_at(s->k, s->k->x + row * s->k->f, row, &v);
  s->err[task] = fabs(v.mean - s->k->y[row]);
  s->var[task] = v.var;
}

// p: log scales, then log noise.
static double objective(unsigned n, const double *p, double *grad, void *arg) {
  search *s = arg;
  (void)grad;
  for (unsigned j = 0; j + 1 < n; j++) s->k->scale[j] = exp(p[j]);
  s->k->noise = exp(p[n - 1]);
  iso_krig_bind(s->k);
  iso_pool_run(s->pool, s->probes, probe, s);
  double e = iso_mean(s->err, s->probes);
  return e == e ? e : HUGE_VAL;
}

static double clamp(double v, double lo, double hi) { return fmin(fmax(v, lo), hi); }

static iso_status minimise(search *s, int max_eval, iso_err *err) {
  unsigned n = (unsigned)s->k->f + 1;
  double p[ISO_KRIG_F_MAX + 1], lo[ISO_KRIG_F_MAX + 1], hi[ISO_KRIG_F_MAX + 1], best = NAN;
  for (unsigned j = 0; j < n; j++) {
    bool scale = j + 1 < n;
    lo[j] = log(scale ? SCALE_MIN : NOISE_MIN);
    hi[j] = log(scale ? SCALE_MAX : NOISE_MAX);
    p[j] = clamp(log(scale ? s->k->scale[j] : s->k->noise), lo[j], hi[j]);
  }
  nlopt_opt o = nlopt_create(NLOPT_LN_SBPLX, n);
  if (!o) return iso_fail(err, ISO_ENOMEM, "kriging: no memory for the optimiser");
  nlopt_set_lower_bounds(o, lo);
  nlopt_set_upper_bounds(o, hi);
  nlopt_set_min_objective(o, objective, s);
  nlopt_set_initial_step1(o, 0.7);
  nlopt_set_xtol_rel(o, 1e-3);
  nlopt_set_maxeval(o, max_eval);
  if (max_eval > 0) (void)nlopt_optimize(o, p, &best);  // its verdict is how it stopped; p is the best point seen in any case
  nlopt_destroy(o);
  double got = objective(n, p, NULL, s);  // leaves scale, noise, err and var at the best point
  if (!(got < HUGE_VAL)) return iso_fail(err, ISO_ENUM, "kriging: no set of length scales predicts the %lld rows", (long long)s->k->n);
  return ISO_OK;
}

iso_status iso_krig_learn(iso_pool *pool, iso_krig *k, int64_t probes, int max_eval, iso_err *err) {
  if (k->n < 8) return iso_fail(err, ISO_EINVAL, "kriging: %lld rows, expected at least 8 to learn from", (long long)k->n);
  search s = {.pool = pool, .k = k, .probes = probes < k->n ? probes : k->n};
  s.err = calloc((size_t)s.probes * 2, sizeof *s.err);
  if (!s.err) return iso_fail(err, ISO_ENOMEM, "kriging: no memory for %lld probes", (long long)s.probes);
  s.var = s.err + s.probes;
  iso_status st = minimise(&s, max_eval, err);
  if (st == ISO_OK) {
    for (int64_t i = 0; i < s.probes; i++) s.err[i] /= sqrt(s.var[i]);
    k->q90 = iso_quantile(s.err, s.probes, 0.9);
  }
  free(s.err);
  return st;
}
