// Utilities that decay with repetition, of one pool and of mixtures.
#include "plan/pools.h"

#include <math.h>

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
