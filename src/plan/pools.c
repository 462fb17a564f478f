// Utilities that decay with repetition, of one pool and of mixtures.
#include "plan/pools.h"

#include <math.h>
#include <stdio.h>

// Epochs further than this add nothing to double precision: 2^-60.
#define FORGOTTEN 60.0

double iso_pool_growth(double seen, double unique, double n0, double tau, double *by_log_tau) {
  double sum = log(fmin(seen, unique) / n0), slope = 0;
  for (double j = 1; j * unique < seen && j / tau < FORGOTTEN; j++) {
    double delta = exp2(-j / tau), gain = log(fmin((j + 1) * unique, seen) / (j * unique));
    sum += delta * gain;
    slope += delta * gain * log(2) * j / tau;
  }
  if (by_log_tau) *by_log_tau = slope;
  return sum;
}

double iso_pools_error(const iso_pool_row *pool, int n, unsigned use, double seen, double n0, double d) {
  double unique = 0, b = 0, slowest = 0;
  for (int i = 0; i < n; i++)
    if (use >> i & 1) unique += pool[i].unique;
  if (!(unique > 0)) return NAN;
  for (int i = 0; i < n; i++)
    if (use >> i & 1) {
      b += pool[i].b * pool[i].unique / unique;
      slowest = fmax(slowest, pool[i].tau * unique / pool[i].unique);
    }
  double log_y = -b * log(fmin(seen, unique) / n0);
  for (double j = 1; j * unique < seen && j / slowest < FORGOTTEN; j++) {
    double utility = 0;
    for (int i = 0; i < n; i++)
      if (use >> i & 1) utility += pool[i].b * pool[i].unique / unique * exp2(-j * pool[i].unique / (unique * pool[i].tau));
    log_y -= utility * log(fmin((j + 1) * unique, seen) / (j * unique));
  }
  return d + exp(log_y);
}

iso_status iso_pools_choose(const iso_pool_row *pool, int n, double seen, double n0, double d, iso_pools_choice *out, iso_err *err) {
  if (n < 1 || n > ISO_POOLS_MAX) return iso_fail(err, ISO_EINVAL, "pools: %d pools, expected 1 to %d", n, ISO_POOLS_MAX);
  if (!(seen > 0 && seen < INFINITY && n0 > 0 && n0 < INFINITY && d >= 0 && d < INFINITY))
    return iso_fail(err, ISO_EINVAL, "pools: %g samples, n0 = %g, d = %g, expected positive numbers (d may be 0)", seen, n0, d);
  for (int i = 0; i < n; i++)
    if (!(pool[i].unique > 0 && pool[i].unique < INFINITY && pool[i].b > 0 && pool[i].b < INFINITY && pool[i].tau > 0 && pool[i].tau < INFINITY))
      return iso_fail(err, ISO_EINVAL, "pools: pool %d has %g samples, b = %g, tau = %g, expected positive numbers", i + 1, pool[i].unique, pool[i].b,
                      pool[i].tau);
  *out = (iso_pools_choice){.error = INFINITY};
  for (unsigned use = 1; use < 1u << n; use++) {
    double y = iso_pools_error(pool, n, use, seen, n0, d), unique = 0;
    if (!(y < out->error)) continue;
    for (int i = 0; i < n; i++)
      if (use >> i & 1) unique += pool[i].unique;
    *out = (iso_pools_choice){use, y, seen / unique};
  }
  return ISO_OK;
}

// ---- where the choice changes ---------------------------------------------------------------------------------------

static unsigned choice_at(const iso_pool_row *pool, int n, double log_seen, double n0, double d) {
  iso_pools_choice c = {0};
  return iso_pools_choose(pool, n, exp(log_seen), n0, d, &c, NULL) == ISO_OK ? c.use : 0;
}

// The changes between a and b, whose choices are known; a change that hides a third choice is split.
static int between(const iso_pool_row *pool, int n, double a, double b, unsigned from, unsigned to, double n0, double d, iso_pools_change *out,
                   int max) {
  int m = 0;
  while (from != to && m < max) {
    double lo = a, hi = b;
    for (int i = 0; i < 50; i++) {
      double mid = 0.5 * (lo + hi);
      *(choice_at(pool, n, mid, n0, d) == from ? &lo : &hi) = mid;
    }
    unsigned next = choice_at(pool, n, hi, n0, d);
    out[m++] = (iso_pools_change){exp(hi), from, next};
    a = hi;
    from = next;
  }
  return m;
}

int iso_pools_changes(const iso_pool_row *pool, int n, double lo, double hi, double n0, double d, iso_pools_change *out, int max) {
  double at = log(lo), end = log(hi), step = log(2) / 24;
  unsigned use = choice_at(pool, n, at, n0, d);
  int m = 0;
  while (at < end && m < max) {
    double next = fmin(at + step, end);
    unsigned then = choice_at(pool, n, next, n0, d);
    m += between(pool, n, at, next, use, then, n0, d, out + m, max - m);
    at = next;
    use = then;
  }
  return m;
}

// ---- all pools in one fit -------------------------------------------------------------------------------------------

enum { SEEN, UNIQUE, NUMBER };
enum { P_LOG_N0, P_LOG_D, P_POOLS };  // then log_b, log_tau of each

static const iso_law_input POOLS_INPUT[ISO_POOLS_INPUTS] = {
    [SEEN] = {"samples", "", "samples seen, repetitions counted", {"samples_seen", "n_samples", "n"}, NAN},
    [UNIQUE] = {"pool", "", "different samples in the pool", {"unique_samples", "pool_size", "samples_per_epoch"}, NAN},
    [NUMBER] = {"number", "", "of the pool, from 1", {NULL}, NAN},
};

static double pools_value(const double *p, const double *x, double *g, int n) {
  int k = P_POOLS + 2 * ((int)x[NUMBER] - 1);
  double by_tau, growth = iso_pool_growth(x[SEEN], x[UNIQUE], exp(p[P_LOG_N0]), exp(p[k + 1]), g ? &by_tau : NULL);
  double b = exp(p[k]), y = exp(-b * growth), d = exp(p[P_LOG_D]);
  if (g) {
    for (int i = P_POOLS; i < P_POOLS + 2 * n; i++) g[i] = 0;
    g[P_LOG_N0] = b * y;
    g[P_LOG_D] = d;
    g[k] = -b * growth * y;
    g[k + 1] = -b * y * by_tau;
  }
  return y + d;
}

// A law's value knows no number of parameters: one function for each number of pools.
#define EACH_COUNT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define X(n) \
  static double value_of_##n(const double *p, const double *x, double *g) { return pools_value(p, x, g, n); }
EACH_COUNT(X)
#undef X
static double (*const POOLS_VALUE[ISO_POOLS_FIT_MAX])(const double *p, const double *x, double *g) = {
#define X(n) value_of_##n,
    EACH_COUNT(X)
#undef X
};

iso_status iso_pools_law_open(int n, double samples, double error_min, iso_pools_law *out, iso_err *err) {
  if (n < 1 || n > ISO_POOLS_FIT_MAX) return iso_fail(err, ISO_EINVAL, "pools: %d of them, a fit takes 1 to %d", n, ISO_POOLS_FIT_MAX);
  *out = (iso_pools_law){.law = iso_law_filtering};
  double s = log(samples), d = log(fmax(error_min, 1e-6));
  out->param[P_LOG_N0] = (iso_law_param){"log_n0", "n0", true, s - 12, s};
  out->param[P_LOG_D] = (iso_law_param){"log_d", "d", true, d - 4, d - 0.1};
  for (int i = 0; i < n; i++)
    for (int k = 0; k < 2; k++) {
      int at = P_POOLS + 2 * i + k;
      (void)snprintf(out->name[at][0], sizeof out->name[at][0], "log_%s_%d", k ? "tau" : "b", i + 1);
      (void)snprintf(out->name[at][1], sizeof out->name[at][1], "%s_%d", k ? "tau" : "b", i + 1);
      out->param[at] = (iso_law_param){out->name[at][0], out->name[at][1], true, k ? -0.7 : -4, k ? 2.5 : -0.5};
    }
  out->law.formula = "y = d + (n_1/n0)^-b_1 prod_j (n_j/n_j-1)^-b_j of each pool, n0 and d shared";
  out->law.n_inputs = ISO_POOLS_INPUTS;
  out->law.n_params = P_POOLS + 2 * n;
  out->law.input = POOLS_INPUT;
  out->law.param = out->param;
  out->law.value = POOLS_VALUE[n - 1];
  out->law.start = NULL;
  return ISO_OK;
}

void iso_pools_rows(const double *p, int n, const double *unique, iso_pool_row *out, double *n0, double *d) {
  *n0 = exp(p[P_LOG_N0]);
  *d = exp(p[P_LOG_D]);
  for (int i = 0; i < n; i++) out[i] = (iso_pool_row){unique[i], exp(p[P_POOLS + 2 * i]), exp(p[P_POOLS + 2 * i + 1])};
}
