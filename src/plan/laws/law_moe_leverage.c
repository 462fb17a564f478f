// Efficiency leverage: how many times less compute a mixture of experts needs than a dense model for the same loss (Tian et al. 2025).
#include <math.h>

#include "plan/law.h"
#include "plan/laws/expert_count.h"

enum { SHARE, G, FLOP, INPUTS };
enum { P_A, P_D, P_GAMMA, P_BETA, P_LOG_START, P_LOG_MAX, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [SHARE] = {"active_share", "", "A: active experts over all experts", {"activation_ratio"}, NAN},
    [G] = {"granularity", "", "2 width / width of an expert", {"g"}, NAN},
    [FLOP] = {"train_flop", "FLOP", "training compute of the mixture", {"flop", "train_flops", "compute", "c"}, NAN},
};
static const iso_law_param PARAM[P_COUNT] = {
    {"a", "a", false, 0, 2},
    {"d", "d", false, -0.15, 0},
    {"gamma", "gamma", false, 0, 0.05},
    {"beta", "beta", false, -0.3, 0},
    {"log_a_start", "A_start", true, -6, -3},
    {"log_a_max", "A_max", true, 0, 40},
};
// The bases of the logarithms are not printed with the constants; these are the only ones with which the paper's 7.2 comes out.
static const iso_law_const CONSTS[] = {
    {"tian2025",
     true,
     {1.23, -0.0761, 0.0167, -0.117, -4.11659017117, 38.5052875856},
     {0},
     {0},
     "Tian et al. 2025, arXiv:2507.17702, fitted coefficients by a secondary source; bases of the logarithms by the paper's worked example",
     "tian2025"},
};

static double value(const double *p, const double *x, double *g) {
  double by_start, by_max, h = iso_expert_log_count(x[SHARE], p[P_LOG_START], p[P_LOG_MAX], &by_start, &by_max);
  double c = log10(x[FLOP]), k = log2(x[G]), e = p[P_A] + p[P_D] * c + p[P_GAMMA] * k * k + p[P_BETA] * k, y = exp(h * e);
  if (!(h == h)) return NAN;
  if (g) {
    g[P_A] = y * h;
    g[P_D] = y * h * c;
    g[P_GAMMA] = y * h * k * k;
    g[P_BETA] = y * h * k;
    g[P_LOG_START] = y * e * by_start;
    g[P_LOG_MAX] = y * e * by_max;
  }
  return y;
}

// Compute and the activation ratio have a closed form; granularity has two answers and is searched for.
static double inverse(const double *p, const double *x, int k, double y) {
  double s, t, q = log2(x[G]), fine = p[P_GAMMA] * q * q + p[P_BETA] * q;
  if (k == FLOP) {
    double h = iso_expert_log_count(x[SHARE], p[P_LOG_START], p[P_LOG_MAX], &s, &t);
    return pow(10, (log(y) / h - fine - p[P_A]) / p[P_D]);
  }
  if (k == SHARE) return iso_expert_count_inverse(pow(y, 1 / (p[P_A] + p[P_D] * log10(x[FLOP]) + fine)), p[P_LOG_START], p[P_LOG_MAX]);
  return NAN;
}

// EL falls with the exponent, a parabola of log2 G, as h is below 1.
static double best(const double *p, const double *x, int k) {
  (void)x;
  return k == G && p[P_GAMMA] > 0 ? exp2(-p[P_BETA] / (2 * p[P_GAMMA])) : NAN;
}

static int facts(const double *p, const double *x, iso_law_fact *out) {
  out[0] = (iso_law_fact){"best_granularity", "", "2^(-beta / (2 gamma)), whatever the budget", best(p, x, G)};
  return 1;
}

// Oracle: the paper's worked example, leverage above 7 at A = 3.1%, G = 12 and 1e22 FLOP, and its best granularity, about 11.
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_moe_leverage;
  const double *p = CONSTS[0].p;
  double x[INPUTS] = {0.031, 12, 1e22};
  ISO_TRY(iso_law_near(l, value(p, x, NULL), 7.2, 0.01, "leverage at A = 0.031, G = 12, C = 1e22", err));
  return iso_law_near(l, exp2(-p[P_BETA] / (2 * p[P_GAMMA])), 11, 0.04, "best granularity", err);
}

const iso_law iso_law_moe_leverage = {
    .base = {.name = "moe_leverage",
             .summary = "mixture of experts: dense compute over its own at the same loss",
             .paper = "Tian et al. 2025, Towards greater leverage: scaling laws for efficient mixture-of-experts language models, arXiv:2507.17702",
             .selftest = selftest},
    .formula = "EL = h^(a + d log10 C + gamma (log2 G)^2 + beta log2 G), 1/h = 1/(A + 1/(1/A_start - 1/A_max)) + 1/A_max",
    .target = "leverage",
    .unit = "times",
    .target_alias = {"efficiency_leverage", "el"},
    .counts = "A counts active experts over all; G = 2 width / expert width; leverage 7 means that a dense model needs 7 times the compute",
    .flops = "C of the mixture, its active parameters",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .n_consts = (int)ISO_COUNT(CONSTS),
    .input = INPUT,
    .param = PARAM,
    .consts = CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_HUBER_LOG,
    .delta = 1e-3,
    .value = value,
    .inverse = inverse,
    .best = best,
    .more_is_better = true,
    .facts = facts,
};
