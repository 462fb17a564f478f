// L(C) = E + A / C^a: loss by training compute alone, and Cerebras-GPT's line for 20 tokens a parameter.
#include <math.h>

#include "plan/law.h"

enum { P_LOG_A, P_LOG_E, P_ALPHA, P_COUNT };

static const iso_law_input INPUT[] = {{"train_flop", "FLOP", "training compute", {"flop", "train_flops", "compute", "c"}, NAN}};
static const iso_law_param PARAM[P_COUNT] = {{"log_a", "A", true, 0.02, 1}, {"log_e", "E", true, 0.05, 1}, {"a", "a", false, 0.02, 0.6}};
static const iso_law_const CONSTS[] = {
    {"cerebras2023",
     true,
     {3.865267346818, -0.680033541415, 0.0737},
     {2.6e18},
     {2.3e22},
     "Dey et al. 2023, Cerebras-GPT, arXiv:2304.03208, by a secondary source: (C / 5.984e22)^-0.0737 + 0.5066 on the Pile's test set, 20 tokens a "
     "parameter; FLOPs of its models from 111M to 13B as their model cards have them",
     "cerebras2023"},
};

static double value(const double *p, const double *x, double *g) {
  double c = log(x[0]), a = exp(p[P_LOG_A] - p[P_ALPHA] * c), e = exp(p[P_LOG_E]);
  if (g) {
    g[P_LOG_A] = a;
    g[P_LOG_E] = e;
    g[P_ALPHA] = -a * c;
  }
  return e + a;
}

static void start(const iso_law_means *m, const double *u, double *p) {
  p[P_ALPHA] = PARAM[P_ALPHA].lo + u[P_ALPHA] * (PARAM[P_ALPHA].hi - PARAM[P_ALPHA].lo);
  p[P_LOG_A] = iso_law_start_term(m, 0, p[P_ALPHA], u[P_LOG_A], 0.02, 1);
  p[P_LOG_E] = iso_law_start_term(m, 0, 0, u[P_LOG_E], 0.05, 1);
}

static double inverse(const double *p, const double *x, int k, double y) {
  (void)x;
  (void)k;
  double rest = y - exp(p[P_LOG_E]);
  return rest > 0 ? exp((p[P_LOG_A] - log(rest)) / p[P_ALPHA]) : NAN;
}

// Oracle: the formula as printed; at its scale the first term is 1.
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  double unit = 5.984e22, small = 1e19;
  ISO_TRY(iso_law_near(&iso_law_compute_only, value(CONSTS[0].p, &unit, NULL), 1.5066, 1e-9, "L(5.984e22)", err));
  return iso_law_near(&iso_law_compute_only, value(CONSTS[0].p, &small, NULL), pow(1e19 / 5.984e22, -0.0737) + 0.5066, 1e-9, "L(1e19)", err);
}

const iso_law iso_law_compute_only = {
    .base = {.name = "compute_only",
             .summary = "loss = E + A / C^a, however the compute is split",
             .paper = "More compute is what you need (loss by compute alone); Dey et al. 2023, Cerebras-GPT, arXiv:2304.03208",
             .selftest = selftest},
    .formula = "L = E + A / C^a",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = {"final_loss", "val_loss", "eval_loss", "l"},
    .counts = "any split of C into parameters and tokens; the published set is for 20 tokens a parameter on the Pile",
    .flops = "C: all training FLOPs, about 6 N D",
    .n_inputs = 1,
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
    .start = start,
    .inverse = inverse,
};
