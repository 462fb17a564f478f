// The few-row calibration of a hardware and software stack: shifts of arithmetic and of communication under a prior that ties them.
#include <math.h>
#include <string.h>

#include "plan/layout/layout_fit.h"

// tests/unit/test_layout_published.c, test_priors, repeats them.
#define COMMON_SD 0.565
#define APART_SD 1.26
#define ROW_SD 0.0332

enum { U = 2, ITERS = 60, TRIES = 20 };  // unknowns: the arithmetic's shift, and what the communication's is off it

iso_layout_stack_prior iso_layout_stack_priors(void) { return (iso_layout_stack_prior){COMMON_SD, APART_SD, ROW_SD}; }

typedef struct fit {
  const iso_layout_rows *r;
  int64_t skip;
  const iso_layout_machine *m;
  const iso_layout_cal *base;
} fit;

static const double PRIOR_SD[U] = {COMMON_SD, APART_SD};

static void shifts(const double u[U], double z[ISO_LAYOUT_SHIFTS]) {
  z[ISO_LAYOUT_ARITHMETIC] = u[0];
  z[ISO_LAYOUT_COMMUNICATION] = u[0] + u[1];
}

static iso_status residual(const fit *k, const double u[U], int64_t i, double *out, iso_err *err) {
  double z[ISO_LAYOUT_SHIFTS];
  iso_layout_step s;
  const iso_layout_row *w = &k->r->row[i];
  shifts(u, z);
  iso_layout_cal c = iso_layout_cal_shift(k->base, z);
  ISO_TRY(iso_layout_step_cost(&w->job, k->m, &c, &w->layout, &s, err));
  *out = log(s.step_s / w->step_s) / ROW_SD;
  return ISO_OK;
}

// Minus the log of the posterior density, but for a constant.
static iso_status objective(const fit *k, const double u[U], double *out, iso_err *err) {
  *out = 0;
  for (int i = 0; i < U; i++) *out += pow(u[i] / PRIOR_SD[i], 2) / 2;
  for (int64_t i = 0; i < k->r->n; i++) {
    double e;
    if (i == k->skip) continue;
    ISO_TRY(residual(k, u, i, &e, err));
    *out += e * e / 2;
  }
  return ISO_OK;
}

// Its gradient, and Gauss-Newton's matrix: the posterior's precision.
static iso_status normal(const fit *k, const double u[U], double a[U][U], double g[U], iso_err *err) {
  const double step = 1e-4;
  memset(a, 0, sizeof(double) * U * U);
  for (int i = 0; i < U; i++) {
    a[i][i] = 1 / (PRIOR_SD[i] * PRIOR_SD[i]);
    g[i] = u[i] * a[i][i];
  }
  for (int64_t i = 0; i < k->r->n; i++) {
    double e, lo, hi, j[U];
    if (i == k->skip) continue;
    ISO_TRY(residual(k, u, i, &e, err));
    for (int q = 0; q < U; q++) {
      double at[U] = {u[0], u[1]};
      at[q] = u[q] + step;
      ISO_TRY(residual(k, at, i, &hi, err));
      at[q] = u[q] - step;
      ISO_TRY(residual(k, at, i, &lo, err));
      j[q] = (hi - lo) / (2 * step);
    }
    for (int q = 0; q < U; q++) {
      g[q] += j[q] * e;
      for (int p = 0; p < U; p++) a[q][p] += j[q] * j[p];
    }
  }
  return ISO_OK;
}

static void invert(double a[U][U], double damp, double o[U][U]) {
  double x = a[0][0] * (1 + damp), y = a[1][1] * (1 + damp), d = x * y - a[0][1] * a[1][0];
  o[0][0] = y / d;
  o[1][1] = x / d;
  o[0][1] = o[1][0] = -a[0][1] / d;
}

// Damped Gauss-Newton steps from u; *f: the objective where they end.
static iso_status descend(const fit *k, double u[U], double *f, iso_err *err) {
  double a[U][U], v[U][U], g[U], damp = 1e-3;
  ISO_TRY(objective(k, u, f, err));
  for (int it = 0; it < ITERS; it++) {
    double gain = 0;
    ISO_TRY(normal(k, u, a, g, err));
    for (int tries = 0; tries < TRIES && !(gain > 0); tries++, damp *= 4) {
      double to[U], h;
      invert(a, damp, v);
      for (int i = 0; i < U; i++) to[i] = u[i] - fmin(fmax(v[i][0] * g[0] + v[i][1] * g[1], -1), 1);
      ISO_TRY(objective(k, to, &h, err));
      if (!(h < *f)) continue;
      gain = *f - h;
      *f = h;
      memcpy(u, to, sizeof to);
      damp /= 40;
    }
    if (!(gain > 1e-12 * (1 + *f))) break;
  }
  return ISO_OK;
}

iso_status iso_layout_fit_stack(const iso_layout_rows *r, int64_t skip, const iso_layout_machine *m, const iso_layout_cal *base,
                                iso_layout_stack *out, iso_err *err) {
  // What hides behind arithmetic leaves valleys of its own: start on both sides.
  static const double FROM[] = {0, -2, 2};
  const fit k = {r, skip, m, base};
  double u[U] = {0}, a[U][U], v[U][U], g[U], best = INFINITY, open = U;
  int64_t n = r->n - (skip >= 0);
  memset(out, 0, sizeof *out);
  if (n < 1) return iso_fail(err, ISO_EINVAL, "layout fit: no row left to calibrate on");
  for (size_t i = 0; i < ISO_COUNT(FROM); i++) {
    double to[U] = {0, FROM[i]}, f;
    ISO_TRY(descend(&k, to, &f, err));
    if (!(f < best)) continue;
    best = f;
    memcpy(u, to, sizeof u);
  }
  ISO_TRY(normal(&k, u, a, g, err));
  invert(a, 0, v);
  shifts(u, out->z);
  out->sd[ISO_LAYOUT_ARITHMETIC] = sqrt(v[0][0]);
  out->sd[ISO_LAYOUT_COMMUNICATION] = sqrt(v[0][0] + v[1][1] + 2 * v[0][1]);
  out->apart_sd = sqrt(v[1][1]);
  // The trace of J V J' is that of V (V^-1 - prior's precision).
  for (int i = 0; i < U; i++) open -= v[i][i] / (PRIOR_SD[i] * PRIOR_SD[i]);
  out->rows_sd = ROW_SD * sqrt(fmax(0, open) / (double)n);
  return ISO_OK;
}

double iso_layout_stack_known(const iso_layout_stack *s) { return 1 - pow(s->apart_sd / APART_SD, 2); }

json_t *iso_layout_stack_json(const iso_layout_stack *s) {
  return json_pack("{s:{s:f, s:f}, s:{s:f, s:f}, s:f, s:{s:f, s:f, s:f, s:s}}", "arithmetic", "shift", s->z[ISO_LAYOUT_ARITHMETIC], "sd",
                   s->sd[ISO_LAYOUT_ARITHMETIC], "communication", "shift", s->z[ISO_LAYOUT_COMMUNICATION], "sd", s->sd[ISO_LAYOUT_COMMUNICATION],
                   "difference_known_from_rows", iso_layout_stack_known(s), "prior", "common_sd", COMMON_SD, "difference_sd", APART_SD,
                   "row_sd_log_s", ROW_SD, "source", "eight published stacks");
}
