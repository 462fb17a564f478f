// Data pools of different quality: what a mixture is worth after a number of samples, and which pools to train on.
#ifndef ISO_PLAN_POOLS_H
#define ISO_PLAN_POOLS_H
#include "plan/law.h"

// Goyal et al. 2024, arXiv:2404.07177. In epoch j (from 0) a pool's utility is b delta_j, delta_j = 2^(-j / tau); training from n to n'
// samples multiplies the error's reducible part by (n'/n)^(-b delta_j).
//
// The logarithm of the factor by which `seen` samples of a pool of `unique` have grown usefully: log(n_1/n0) + sum_j delta_j log(n_j+1/n_j).
// *by_log_tau (may be NULL) gets its derivative by log tau.
double iso_pool_growth(double seen, double unique, double n0, double tau, double *by_log_tau);

typedef struct iso_pool_row {
  double unique;  // different samples
  double b, tau;  // utility, and the repetitions that halve it (of law filtering)
} iso_pool_row;

enum { ISO_POOLS_MAX = 16 };
typedef struct iso_pools_choice {
  unsigned use;   // bit i: pool i is taken
  double error;   // predicted
  double epochs;  // samples seen over different samples taken
} iso_pools_choice;

// The error after `seen` samples drawn evenly from the pools in `use`, without training on the mixture: in each epoch its utility is the
// mean of the pools', each with a half-life as many times longer as the mixture is larger than the pool, since that much later a sample comes
// back (for pools of one size, the paper's theorem 1; the others by the shares of samples). n0 and d are shared.
double iso_pools_error(const iso_pool_row *pool, int n, unsigned use, double seen, double n0, double d);
// The best subset of n <= 16 pools for a budget of `seen` samples, all subsets tried. ISO_EINVAL for bad numbers.
iso_status iso_pools_choose(const iso_pool_row *pool, int n, double seen, double n0, double d, iso_pools_choice *out, iso_err *err);
#endif
