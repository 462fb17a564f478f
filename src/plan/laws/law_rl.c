// R = R0 + (A - R0) / (1 + (Cmid / C)^B): performance of reinforcement learning as a sigmoid of its compute.
#include <math.h>

#include "plan/law.h"

enum { C, INPUTS };
enum { P_R0, P_A, P_LOG_B, P_LOG_CMID, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [C] = {"rl_compute",
           "",
           "compute of the run so far, in any one unit (GPU hours in the paper)",
           {"gpu_hours", "rl_flop", "rl_flops", "train_flop", "train_flops", "compute", "c"},
           NAN},
};
static const iso_law_param PARAM[P_COUNT] = {
    {"r0", "R0", false, 0, 0.5}, {"asymptote", "A", false, 0.2, 1}, {"log_b", "B", true, -1, 1.5}, {"log_cmid", "Cmid", true, -5, 5}};

static double value(const double *p, const double *x, double *g) {
  double b = exp(p[P_LOG_B]), u = log(x[C]) - p[P_LOG_CMID], z = b * u;
  double s = z >= 0 ? 1 / (1 + exp(-z)) : exp(z) / (1 + exp(z)), ds = (p[P_A] - p[P_R0]) * s * (1 - s);
  if (g) {
    g[P_R0] = 1 - s;
    g[P_A] = s;
    g[P_LOG_B] = ds * z;
    g[P_LOG_CMID] = -ds * b;
  }
  return p[P_R0] + (p[P_A] - p[P_R0]) * s;
}

static void start(const iso_law_means *m, const double *u, double *p) {
  p[P_R0] = m->y_min * u[P_R0];
  p[P_A] = m->y * (1 + 2 * u[P_A]);
  p[P_LOG_B] = PARAM[P_LOG_B].lo + u[P_LOG_B] * (PARAM[P_LOG_B].hi - PARAM[P_LOG_B].lo);
  p[P_LOG_CMID] = m->log_x[C] + PARAM[P_LOG_CMID].lo + u[P_LOG_CMID] * (PARAM[P_LOG_CMID].hi - PARAM[P_LOG_CMID].lo);
}

static double inverse(const double *p, const double *x, int k, double y) {
  (void)x;
  (void)k;
  double q = (y - p[P_R0]) / (p[P_A] - y);
  return q > 0 ? exp(p[P_LOG_CMID] + log(q) / exp(p[P_LOG_B])) : NAN;
}

// Oracle: half of the gain at Cmid, 27/28 of it at 3 Cmid with B = 3, the asymptote far out.
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_rl;
  const double p[P_COUNT] = {0.25, 0.61, log(3), log(2000)};
  double x = 2000;
  ISO_TRY(iso_law_near(l, value(p, &x, NULL), 0.43, 1e-12, "R(Cmid)", err));
  x = 6000;  // 1 / (1 + 3^-3) = 27/28
  ISO_TRY(iso_law_near(l, value(p, &x, NULL), 0.25 + 0.36 * 27 / 28, 1e-12, "R(3 Cmid)", err));
  x = 1e9;
  ISO_TRY(iso_law_near(l, value(p, &x, NULL), 0.61, 1e-12, "R far out", err));
  return iso_law_near(l, inverse(p, NULL, C, 0.5), 2000 * cbrt(0.25 / 0.11), 1e-12, "C at R = 0.5", err);
}

const iso_law iso_law_rl = {
    .base = {.name = "rl",
             .summary = "reward = sigmoid of the compute of reinforcement learning",
             .paper = "Khatri et al. 2025, The art of scaling reinforcement learning compute for LLMs, arXiv:2510.13786",
             .selftest = selftest},
    .formula = "R = R0 + (A - R0) / (1 + (Cmid / C)^B)",
    .target = "reward",
    .unit = "share of tasks solved",
    .target_alias = {"pass_rate", "mean_reward", "score", "accuracy", "r"},
    .counts = "mean reward on held-out prompts of the training distribution; A is what the recipe can reach, B and Cmid how fast",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .input = INPUT,
    .param = PARAM,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE,
    .value = value,
    .start = start,
    .inverse = inverse,
    .more_is_better = true,
};
