// y = k x_1^e_1 ... x_n^e_n, the form of most rules for hyperparameters: value, derivatives and inverse.
#ifndef ISO_PLAN_LAWS_POWER_LAW_H
#define ISO_PLAN_LAWS_POWER_LAW_H
#include <math.h>

#include "plan/law.h"

// p = {log k, e_1, ..., e_n}; linear in logarithms, so that a fit of squared logarithms ends anywhere it starts.
static inline double iso_power_value(int n, const double *p, const double *x, double *g) {
  double u = p[0];
  for (int i = 0; i < n; i++) u += p[1 + i] * log(x[i]);
  double y = exp(u);
  if (g) g[0] = y;
  for (int i = 0; g && i < n; i++) g[1 + i] = y * log(x[i]);
  return y;
}

static inline double iso_power_inverse(int n, const double *p, const double *x, int k, double y) {
  double u = log(y) - p[0];
  for (int i = 0; i < n; i++) u -= i == k ? 0 : p[1 + i] * log(x[i]);
  return p[1 + k] != 0 ? exp(u / p[1 + k]) : NAN;
}

// The case of one input, as a law's callbacks.
static inline double iso_power1_value(const double *p, const double *x, double *g) { return iso_power_value(1, p, x, g); }
static inline double iso_power1_inverse(const double *p, const double *x, int k, double y) { return iso_power_inverse(1, p, x, k, y); }
#endif
