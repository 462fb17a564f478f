// L = a N^-b + E for one pair of query and key/value heads: what cost-optimal grouped-query attention is chosen from (plan/gqa.h).
#include <math.h>

#include "plan/law.h"

enum { N, INPUTS };
enum { P_LOG_A, P_B, P_LOG_E, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [N] = {"params", "", "parameters of a model with this pair of heads", {"parameters", "n_params", "num_params", "model_size", "n"}, NAN}};
static const iso_law_param PARAM[P_COUNT] = {{"log_a", "a", true, 0.02, 1}, {"b", "b", false, 0.05, 1.2}, {"log_e", "E", true, 0.05, 1}};

static double value(const double *p, const double *x, double *g) {
  double n = log(x[N]), a = exp(p[P_LOG_A] - p[P_B] * n), e = exp(p[P_LOG_E]);
  if (g) {
    g[P_LOG_A] = a;
    g[P_B] = -a * n;
    g[P_LOG_E] = e;
  }
  return a + e;
}

static void start(const iso_law_means *m, const double *u, double *p) {
  p[P_B] = PARAM[P_B].lo + u[P_B] * (PARAM[P_B].hi - PARAM[P_B].lo);
  p[P_LOG_A] = iso_law_start_term(m, N, p[P_B], u[P_LOG_A], PARAM[P_LOG_A].lo, PARAM[P_LOG_A].hi);
  p[P_LOG_E] = iso_law_start_term(m, N, 0, u[P_LOG_E], PARAM[P_LOG_E].lo, PARAM[P_LOG_E].hi);
}

static double inverse(const double *p, const double *x, int k, double y) {
  (void)x;
  (void)k;
  double rest = y - exp(p[P_LOG_E]);
  return rest > 0 ? exp((p[P_LOG_A] - log(rest)) / p[P_B]) : NAN;
}

// Oracle: 2 + 100 / sqrt(1e6) and the size that reaches it.
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const double p[P_COUNT] = {log(100), 0.5, log(2)}, n = 1e6;
  ISO_TRY(iso_law_near(&iso_law_gqa, value(p, &n, NULL), 2.1, 1e-12, "L(1e6)", err));
  return iso_law_near(&iso_law_gqa, inverse(p, NULL, N, 2.1), 1e6, 1e-9, "N at L = 2.1", err);
}

const iso_law iso_law_gqa = {
    .base = {.name = "gqa",
             .summary = "loss of models with one pair of query and key/value heads",
             .paper = "Chen et al. 2025, Cost-optimal grouped-query attention for long-context modeling, arXiv:2503.09579",
             .selftest = selftest},
    .formula = "L = a N^-b + E",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = {"final_loss", "val_loss", "eval_loss", "l"},
    .counts = "one pair (query heads, key/value heads), head dimension free of the width; one recipe of tokens and context for all sizes",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .input = INPUT,
    .param = PARAM,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_HUBER_LOG,
    .delta = 1e-3,
    .value = value,
    .start = start,
    .inverse = inverse,
};
