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

// A budget at which another subset becomes the best.
typedef struct iso_pools_change {
  double seen;
  unsigned from, to;
} iso_pools_change;
// All of them in [lo, hi], ascending, at most `max`; returns how many. Choices that last for less than a twenty-fourth of an octave may be missed.
int iso_pools_changes(const iso_pool_row *pool, int n, double lo, double hi, double n0, double d, iso_pools_change *out, int max);

// Law filtering for n pools at once: one b and tau each, n0 and d shared, as mixing needs them. Inputs: samples, pool (different samples),
// number (of the pool, from 1). Parameters: log_n0, log_d, then log_b and log_tau of each pool.
enum { ISO_POOLS_FIT_MAX = 7, ISO_POOLS_INPUTS = 3 };
typedef struct iso_pools_law {
  iso_law law;  // points into this struct: do not copy it
  iso_law_param param[ISO_LAW_PARAM_MAX];
  char name[ISO_LAW_PARAM_MAX][2][24];
} iso_pools_law;
// `samples` and `error` are means of the runs to fit (geometric, and the least), for the starts. ISO_EINVAL unless 1 <= n <= 7.
iso_status iso_pools_law_open(int n, double samples, double error_min, iso_pools_law *out, iso_err *err);
// Its parameters for pools of `unique` samples each.
void iso_pools_rows(const double *p, int n, const double *unique, iso_pool_row *out, double *n0, double *d);
#endif
