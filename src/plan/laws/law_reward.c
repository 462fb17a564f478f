// Reward-model over-optimisation: the true reward rises and falls as a policy moves away from its start.
#include <math.h>

#include "plan/law.h"

enum { X, INPUTS };
enum { P_ALPHA, P_BETA, P_COUNT };

static const iso_law_input BON_INPUT[INPUTS] = {
    [X] = {"samples", "", "answers drawn, of which the proxy's best is kept", {"best_of", "n_samples", "n"}, NAN}};
static const iso_law_input RL_INPUT[INPUTS] = {[X] = {"kl", "nat", "KL divergence of the policy from its start", {"kl_divergence", "kl_nats"}, NAN}};
static const iso_law_param PARAM[P_COUNT] = {{"alpha", "alpha", false, 0.5, 1.5}, {"beta", "beta", false, 0.01, 0.15}};

// KL of best-of-n from one sample (an upper bound that is met for continuous rewards).
static double kl_of_best(double n) { return n > 1 ? log(n) - (n - 1) / n : 0; }

// n > 1 with this KL: Newton in log n, on ln n - 1 + 1/n, convex and rising, from above.
static double best_of_kl(double kl) {
  double u = kl + 1;
  for (int i = 0; i < 100; i++) {
    double f = u - 1 + exp(-u) - kl, step = f / (1 - exp(-u));
    u -= step;
    if (fabs(step) < 1e-15 * u) break;
  }
  return exp(u);
}

static double bon_value(const double *p, const double *x, double *g) {
  double kl = kl_of_best(x[X]), d = sqrt(kl);
  if (!(x[X] >= 1)) return NAN;
  if (g) {
    g[P_ALPHA] = d;
    g[P_BETA] = -kl;
  }
  return d * (p[P_ALPHA] - p[P_BETA] * d);
}

static double rl_value(const double *p, const double *x, double *g) {
  double d = sqrt(x[X]), l = 0.5 * log(x[X]);
  if (g) {
    g[P_ALPHA] = d;
    g[P_BETA] = -d * l;
  }
  return d * (p[P_ALPHA] - p[P_BETA] * l);
}

// Both parameters are in the reward's unit.
static void start(const iso_law_means *m, const double *u, double *p) {
  for (int k = 0; k < P_COUNT; k++) p[k] = PARAM[k].lo * pow(PARAM[k].hi / PARAM[k].lo, u[k]) * m->y;
}

// On the rising side.
static double bon_inverse(const double *p, const double *x, int k, double y) {
  (void)x;
  (void)k;
  double disc = p[P_ALPHA] * p[P_ALPHA] - 4 * p[P_BETA] * y, d = 2 * y / (p[P_ALPHA] + sqrt(disc));
  return disc >= 0 && d > 0 ? best_of_kl(d * d) : NAN;
}

// d* = alpha / (2 beta), R* = alpha^2 / (4 beta).
static double bon_best(const double *p, const double *x, int k) {
  (void)x;
  (void)k;
  double d = p[P_ALPHA] / (2 * p[P_BETA]);
  return p[P_BETA] > 0 && d > 0 ? best_of_kl(d * d) : NAN;
}

// d* = exp(alpha / beta - 1), R* = beta d*.
static double rl_best(const double *p, const double *x, int k) {
  (void)x;
  (void)k;
  return p[P_BETA] > 0 ? exp(2 * (p[P_ALPHA] / p[P_BETA] - 1)) : NAN;
}

static int bon_facts(const double *p, const double *x, iso_law_fact *out) {
  double kl = x[X] >= 1 ? kl_of_best(x[X]) : NAN, d = p[P_ALPHA] / (2 * p[P_BETA]);
  out[0] = (iso_law_fact){"kl", "nat", "ln n - (n - 1) / n", kl};
  out[1] = (iso_law_fact){"distance", "", "d = sqrt(KL)", sqrt(kl)};
  out[2] = (iso_law_fact){"peak_distance", "", "d* = alpha / (2 beta)", d > 0 ? d : NAN};
  out[3] = (iso_law_fact){"peak_reward", "", "alpha^2 / (4 beta)", d > 0 ? p[P_ALPHA] * d / 2 : NAN};
  return 4;
}

static int rl_facts(const double *p, const double *x, iso_law_fact *out) {
  double d = exp(p[P_ALPHA] / p[P_BETA] - 1);
  bool peak = p[P_BETA] > 0;
  out[0] = (iso_law_fact){"distance", "", "d = sqrt(KL)", sqrt(x[X])};
  out[1] = (iso_law_fact){"peak_distance", "", "d* = exp(alpha / beta - 1)", peak ? d : NAN};
  out[2] = (iso_law_fact){"peak_reward", "", "beta exp(alpha / beta - 1)", peak ? p[P_BETA] * d : NAN};
  return 3;
}

// Oracle: the paper's KL(n), rewards at the peaks.
static iso_status bon_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_reward_bon;
  static const double KL[][2] = {{4, 0.636294}, {100, 3.615170}, {1000, 5.908755}}, P[P_COUNT] = {1, 0.2};
  for (size_t i = 0; i < ISO_COUNT(KL); i++) {
    ISO_TRY(iso_law_near(l, kl_of_best(KL[i][0]), KL[i][1], 1e-6, "KL(n)", err));
    ISO_TRY(iso_law_near(l, best_of_kl(kl_of_best(KL[i][0])), KL[i][0], 1e-12, "n(KL)", err));
  }
  double n = bon_best(P, NULL, X);
  ISO_TRY(iso_law_near(l, kl_of_best(n), 6.25, 1e-12, "KL at the peak", err));
  return iso_law_near(l, bon_value(P, &n, NULL), 1.25, 1e-12, "reward at the peak", err);
}

static iso_status rl_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_reward_rl;
  static const double P[P_COUNT] = {1, 0.4};
  double kl = rl_best(P, NULL, X);
  ISO_TRY(iso_law_near(l, sqrt(kl), exp(1.5), 1e-12, "distance at the peak", err));
  return iso_law_near(l, rl_value(P, &kl, NULL), 0.4 * exp(1.5), 1e-12, "reward at the peak", err);
}

#define GAO "Gao et al. 2022, Scaling laws for reward model overoptimization, arXiv:2210.10760"
#define REWARD_COUNTS \
  "reward of a gold model minus that of the start, d = sqrt(KL); alpha and beta depend on the proxy's size and data and are printed in figures only"

const iso_law iso_law_reward_bon = {
    .base = {.name = "reward_bon", .summary = "true reward of the best of n by a proxy reward", .paper = GAO, .selftest = bon_selftest},
    .formula = "R = d (alpha - beta d), d^2 = KL = ln n - (n - 1) / n",
    .target = "reward",
    .unit = "gold reward",
    .target_alias = {"gold_reward", "true_reward", "r"},
    .counts = REWARD_COUNTS,
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .input = BON_INPUT,
    .param = PARAM,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE,
    .value = bon_value,
    .start = start,
    .inverse = bon_inverse,
    .best = bon_best,
    .facts = bon_facts,
    .more_is_better = true,
};

const iso_law iso_law_reward_rl = {
    .base = {.name = "reward_rl", .summary = "true reward of a policy trained on a proxy reward", .paper = GAO, .selftest = rl_selftest},
    .formula = "R = d (alpha - beta ln d), d^2 = KL",
    .target = "reward",
    .unit = "gold reward",
    .target_alias = {"gold_reward", "true_reward", "r"},
    .counts = REWARD_COUNTS,
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .input = RL_INPUT,
    .param = PARAM,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE,
    .value = rl_value,
    .start = start,
    .best = rl_best,
    .facts = rl_facts,
    .more_is_better = true,
};
