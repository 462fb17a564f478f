// Power Lines (Bergsma et al. 2025): the best timescale of AdamW's weight decay by tokens per parameter, best and critical batch by tokens.
#include "plan/laws/power_law.h"

enum { N, D, B, LR, DECAY_INPUTS };
enum { P_LOG_K, P_X, P_COUNT };

#define PAPER "Bergsma et al. 2025, Power lines: scaling laws for weight decay and batch size in LLM pre-training, arXiv:2505.13738"

static const iso_law_input INPUT[DECAY_INPUTS] = {
    [N] = {"params", "", "parameters", {"parameters", "n_params", "model_size", "n"}, NAN},
    [D] = {"tokens", "tok", "training tokens", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN},
    [B] = {"batch_tokens", "tok", "tokens of a step", {"batch_size_tokens"}, NAN},
    [LR] = {"lr", "", "peak learning rate", {"learning_rate", "peak_lr", "max_lr"}, NAN},
};
static const iso_law_param PARAM[P_COUNT] = {{"log_k", "k", true, -2, 2}, {"x", "x", false, -1, 0}};
static const iso_law_const CONSTS[] = {
    {"bergsma2025",
     true,
     {0.080657903017, -0.527},
     {0},
     {0},
     "Bergsma et al. 2025, arXiv:2505.13738, by a secondary source; R2 0.975",
     "bergsma2025"},
};

// The exponent's printed interval, -0.529 to -0.507, its halves over the normal quantile of 97.5%; the coefficient's is not printed.
static const iso_law_spread SPREADS[] = {{.up = {0, 0.010204},
                                          .down = {0, 0.0010204},
                                          .source = "interval of the exponent alone, -0.529 to -0.507, taken as 95%; none of the coefficient"}};

// ---- timescale ------------------------------------------------------------------------------------------------------

static double tau_value(const double *p, const double *x, double *g) {
  double ratio = log(x[D] / x[N]), y = exp(p[P_LOG_K] + p[P_X] * ratio);
  if (g) {
    g[P_LOG_K] = y;
    g[P_X] = y * ratio;
  }
  return y;
}

static double tau_inverse(const double *p, const double *x, int k, double y) {
  double ratio = exp((log(y) - p[P_LOG_K]) / p[P_X]);
  return k == N ? x[D] / ratio : x[N] * ratio;
}

// Oracle: what the printed law gives at 1, 20 and 1000 tokens a parameter; the paper reports about 0.21 at 20.
static iso_status tau_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double row[3][2] = {{1, 1.084}, {20, 0.22356}, {1000, 0.028447}};
  for (int i = 0; i < 3; i++) {
    double x[2] = {610e6, 610e6 * row[i][0]};
    ISO_TRY(iso_law_near(&iso_law_power_lines_tau, tau_value(CONSTS[0].p, x, NULL), row[i][1], 3e-5, "timescale", err));
  }
  return ISO_OK;
}

const iso_law iso_law_power_lines_tau = {
    .base = {.name = "power_lines_tau",
             .summary = "best timescale of AdamW's average over the run, k (D/N)^x",
             .paper = PAPER,
             .selftest = tau_selftest},
    .formula = "tau = B / (lr lambda D) = k (D/N)^x",
    .target = "ema_timescale",
    .unit = "of the run",
    .target_alias = {"tau", "tau_ema"},
    .counts = "tau is the timescale of the weights' moving average over the steps of the run, B / (lr lambda D); maximal update parametrization",
    .n_inputs = 2,
    .n_params = P_COUNT,
    .n_consts = (int)ISO_COUNT(CONSTS),
    .input = INPUT,
    .param = PARAM,
    .consts = CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = tau_value,
    .inverse = tau_inverse,
    .spread = SPREADS,
};

// ---- weight decay ---------------------------------------------------------------------------------------------------

static double decay_value(const double *p, const double *x, double *g) {
  double y = x[B] / (x[LR] * x[D] * tau_value(p, x, NULL));
  if (g) {
    g[P_LOG_K] = -y;
    g[P_X] = -y * log(x[D] / x[N]);
  }
  return y;
}

static double decay_inverse(const double *p, const double *x, int k, double y) {
  double steps = x[B] / x[LR];  // over lr: y = steps / (D tau), tau = k D^x N^-x
  if (k == B) return y * x[LR] * x[D] * tau_value(p, x, NULL);
  if (k == LR) return x[B] / (y * x[D] * tau_value(p, x, NULL));
  if (k == N) return tau_inverse(p, x, N, steps / (y * x[D]));
  return p[P_X] != -1 ? exp((log(steps / y) - p[P_LOG_K] + p[P_X] * log(x[N])) / (1 + p[P_X])) : NAN;
}

// Oracle: the definition of the timescale, whatever the batch and the rate; linear in the batch.
static iso_status decay_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_power_lines_decay;
  double x[DECAY_INPUTS] = {610e6, 12.2e9, 5e5, 2e-3}, one = decay_value(CONSTS[0].p, x, NULL);
  ISO_TRY(iso_law_near(l, x[B] / (x[LR] * one * x[D]), 0.22356, 3e-5, "timescale of the decay", err));
  x[B] *= 4;
  return iso_law_near(l, decay_value(CONSTS[0].p, x, NULL), 4 * one, 1e-12, "decay at four times the batch", err);
}

const iso_law iso_law_power_lines_decay = {
    .base = {.name = "power_lines_decay", .summary = "best weight decay = B / (lr D k (D/N)^x)", .paper = PAPER, .selftest = decay_selftest},
    .formula = "lambda = B / (lr D k (D/N)^x)",
    .target = "weight_decay",
    .unit = "of AdamW, times lr a step",
    .target_alias = {"wd", "lambda"},
    .counts = "B and D in tokens; AdamW shrinks weights by lr lambda a step; maximal update parametrization",
    .n_inputs = DECAY_INPUTS,
    .n_params = P_COUNT,
    .n_consts = (int)ISO_COUNT(CONSTS),
    .input = INPUT,
    .param = PARAM,
    .consts = CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = decay_value,
    .inverse = decay_inverse,
    .spread = SPREADS,
};

// ---- batch ----------------------------------------------------------------------------------------------------------

static const iso_law_input MIN_TOKENS = {"tokens", "tok", "tokens that the target loss takes with a small batch", {"min_tokens", "d_min"}, NAN};
static const iso_law_param BATCH_PARAM[P_COUNT] = {{"log_k", "k", true, -5, 10}, {"x", "x", false, 0, 1}};
// Exponents are confirmed, coefficients are not: sequences of 2048 tokens times 0.0306 and 0.0471.
static const iso_law_const BEST[] = {
    {"bergsma2025", false, {4.137863716136, 0.383}, {0}, {0}, "arXiv:2505.13738; the exponent is certain, the coefficient is not", "bergsma2025"}};
static const iso_law_const CRIT[] = {
    {"bergsma2025", false, {4.569136708200, 0.462}, {0}, {0}, "arXiv:2505.13738; the exponent is certain, the coefficient is not", "bergsma2025"}};

// Oracle: ten times the tokens take 2.4155 times the batch.
static iso_status best_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double lo = 1e10, hi = 1e11;
  return iso_law_near(&iso_law_power_lines_batch, iso_power1_value(BEST[0].p, &hi, NULL) / iso_power1_value(BEST[0].p, &lo, NULL), 2.4155, 2e-5,
                      "growth of the best batch in a decade", err);
}
// Oracle: 10^0.462 written out.
static iso_status crit_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double lo = 1e10, hi = 1e11;
  return iso_law_near(&iso_law_power_lines_critical, iso_power1_value(CRIT[0].p, &hi, NULL) / iso_power1_value(CRIT[0].p, &lo, NULL), 2.89734, 2e-5,
                      "growth of the critical batch in a decade", err);
}

const iso_law iso_law_power_lines_batch = {
    .base = {.name = "power_lines_batch", .summary = "batch of the lowest loss = k D^x", .paper = PAPER, .selftest = best_selftest},
    .formula = "B = k D^x",
    .target = "batch_tokens",
    .unit = "tokens",
    .target_alias = {"batch", "batch_size_tokens"},
    .counts = "B and D in tokens; the batch of the lowest loss at given parameters and tokens, decay by power_lines_decay",
    .n_inputs = 1,
    .n_params = P_COUNT,
    .n_consts = (int)ISO_COUNT(BEST),
    .input = &INPUT[D],
    .param = BATCH_PARAM,
    .consts = BEST,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = iso_power1_value,
    .inverse = iso_power1_inverse,
};

const iso_law iso_law_power_lines_critical = {
    .base = {.name = "power_lines_critical", .summary = "critical batch = k D_min^x", .paper = PAPER, .selftest = crit_selftest},
    .formula = "B_crit = k D_min^x",
    .target = "batch_tokens",
    .unit = "tokens",
    .target_alias = {"batch", "critical_batch"},
    .counts = "B and D_min in tokens; B_crit is the batch that takes twice the tokens D_min and twice the fewest steps",
    .n_inputs = 1,
    .n_params = P_COUNT,
    .n_consts = (int)ISO_COUNT(CRIT),
    .input = &MIN_TOKENS,
    .param = BATCH_PARAM,
    .consts = CRIT,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = iso_power1_value,
    .inverse = iso_power1_inverse,
};
