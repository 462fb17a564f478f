// Clark's saturated number of experts, and the like for activation ratios: 1/h = 1/(u + k) + 1/h_max, k = 1/(1/h_start - 1/h_max).
#ifndef ISO_PLAN_LAWS_EXPERT_COUNT_H
#define ISO_PLAN_LAWS_EXPERT_COUNT_H
#include <math.h>

// log h at u: h_start at u = 0, u + h_start or so beyond, h_max at most (Clark et al. 2022, arXiv:2202.01169, equation 8; u = E - 1).
// *by_start and *by_max get its derivatives by log h_start and log h_max. NaN unless h_start < h_max.
static inline double iso_expert_log_count(double u, double log_start, double log_max, double *by_start, double *by_max) {
  double start = exp(log_start), top = exp(log_max), k = 1 / (1 / start - 1 / top), v = u + k, h = 1 / (1 / v + 1 / top), q = k / v;
  if (!(start < top && v > 0)) return NAN;
  *by_start = h * q * q / start;
  *by_max = h / top * (1 - q * q);
  return log(h);
}

// The u with this h; NaN when h is out of its range.
static inline double iso_expert_count_inverse(double h, double log_start, double log_max) {
  double k = 1 / (exp(-log_start) - exp(-log_max)), v = 1 / (1 / h - exp(-log_max));
  return v > 0 ? v - k : NAN;
}
#endif
