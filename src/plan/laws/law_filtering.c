// y = (n / n0)^-b + d with b halved every tau repetitions: what a data pool of one quality is worth, seen again and again.
#include <math.h>

#include "plan/pools.h"

enum { SEEN, POOL, INPUTS };
enum { P_LOG_N0, P_LOG_B, P_LOG_TAU, P_LOG_D, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [SEEN] = {"samples", "", "samples seen, repetitions counted", {"samples_seen", "n_samples", "n"}, NAN},
    [POOL] = {"pool", "", "different samples in the pool", {"unique_samples", "pool_size", "samples_per_epoch"}, NAN},
};
static const iso_law_param PARAM[P_COUNT] = {
    {"log_n0", "n0", true, -12, 0}, {"log_b", "b", true, -4, -0.5}, {"log_tau", "tau", true, -0.7, 2.5}, {"log_d", "d", true, 0.02, 0.9}};

static double value(const double *p, const double *x, double *g) {
  double by_tau, growth = iso_pool_growth(x[SEEN], x[POOL], exp(p[P_LOG_N0]), exp(p[P_LOG_TAU]), g ? &by_tau : NULL);
  double b = exp(p[P_LOG_B]), y = exp(-b * growth), d = exp(p[P_LOG_D]);
  if (g) {
    g[P_LOG_N0] = b * y;
    g[P_LOG_B] = -b * growth * y;
    g[P_LOG_TAU] = -b * y * by_tau;
    g[P_LOG_D] = d;
  }
  return y + d;
}

static void start(const iso_law_means *m, const double *u, double *p) {
  for (int k = 0; k < P_LOG_D; k++) p[k] = PARAM[k].lo + u[k] * (PARAM[k].hi - PARAM[k].lo);
  p[P_LOG_N0] += m->log_x[SEEN];
  p[P_LOG_D] = log(fmax(m->y_min, 1e-6) * (PARAM[P_LOG_D].lo + u[P_LOG_D] * (PARAM[P_LOG_D].hi - PARAM[P_LOG_D].lo)));
}

// Oracle: values of the authors' released objective (func_effective_utility of locuslab/scaling_laws_data_filtering, a = 0.1, that is
// n0 = 1e6, and no floor).
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const struct {
    double seen, b, tau, want;
  } ROW[] = {{6.4e6, 0.17, 3, 0.729372532951},
             {64e6, 0.17, 3, 0.543426267871},
             {640e6, 0.12, 1.5, 0.673503061883},
             {128e6, 0.2, 2, 0.499062163542},
             {100e6, 0.2, 2, 0.500472908933}};
  for (size_t i = 0; i < ISO_COUNT(ROW); i++) {
    double p[P_COUNT] = {log(1e6), log(ROW[i].b), log(ROW[i].tau), -INFINITY}, x[INPUTS] = {ROW[i].seen, 12.8e6};
    ISO_TRY(iso_law_near(&iso_law_filtering, value(p, x, NULL), ROW[i].want, 1e-11, "error", err));
  }
  return ISO_OK;
}

const iso_law iso_law_filtering = {
    .base = {.name = "filtering",
             .summary = "error after training on a pool of one quality, its utility decaying as it repeats",
             .paper = "Goyal et al. 2024, Scaling laws for data filtering, arXiv:2404.07177; locuslab/scaling_laws_data_filtering objective.py",
             .selftest = selftest},
    .formula = "y = d + (n_1/n0)^-b_1 prod_j (n_j/n_j-1)^-b_j, b_j = b 2^-((j-1)/tau), n_j samples after epoch j",
    .target = "error",
    .unit = "error rate",
    .target_alias = {"err", "error_rate", "y"},
    .counts = "one pool a fit (--where); pools that are to be mixed share n0 (1e5 / a of the released code) and d; one model and batch size",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .input = INPUT,
    .param = PARAM,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE,
    .value = value,
    .start = start,
};
