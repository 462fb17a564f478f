// Critical batch: steps against batch for one target, the batch where both cost twice the least, and how it and the rate move with tokens.
#include "plan/laws/power_law.h"

#define MCCANDLISH "McCandlish et al. 2018, An empirical model of large-batch training, arXiv:1812.06162"
#define ZHANG "Zhang et al. 2024, How does critical batch size scale in pre-training?, arXiv:2410.21676"
#define FILATOV "Filatov et al. 2024, Time transfer: on optimal learning rate and batch size in the infinite data limit, arXiv:2410.05838"

static const iso_law_input BATCH = {"batch_tokens", "tok", "tokens of a step", {"batch_size_tokens"}, NAN};
static const iso_law_input TOKENS = {"tokens", "tok", "training tokens", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN};

// ---- steps against batch --------------------------------------------------------------------------------------------

enum { P_LOG_S_MIN, P_LOG_B_CRIT, STEP_PARAMS };
static const iso_law_param STEP_PARAM[STEP_PARAMS] = {{"log_s_min", "S_min", true, 4, 14}, {"log_b_crit", "B_crit", true, 8, 18}};

static double step_value(const double *p, const double *x, double *g) {
  double s = exp(p[P_LOG_S_MIN]), more = s * exp(p[P_LOG_B_CRIT]) / x[0];
  if (g) {
    g[P_LOG_S_MIN] = s + more;
    g[P_LOG_B_CRIT] = more;
  }
  return s + more;
}

static double step_inverse(const double *p, const double *x, int k, double y) {
  (void)x;
  (void)k;
  double s = exp(p[P_LOG_S_MIN]);
  return y > s ? s * exp(p[P_LOG_B_CRIT]) / (y - s) : NAN;
}

static int step_facts(const double *p, const double *x, iso_law_fact *out) {
  double s = exp(p[P_LOG_S_MIN]), b = exp(p[P_LOG_B_CRIT]);
  out[0] = (iso_law_fact){"least_tokens", "tok", "E_min = S_min B_crit, of the smallest batches", s * b};
  out[1] = (iso_law_fact){"tokens", "tok", "E = S B at this batch", step_value(p, x, NULL) * x[0]};
  out[2] = (iso_law_fact){"steps_over_least", "", "S / S_min at this batch", 1 + b / x[0]};
  out[3] = (iso_law_fact){"tokens_over_least", "", "E / E_min at this batch", 1 + x[0] / b};
  return 4;
}

// Oracle: (S / S_min - 1)(E / E_min - 1) = 1 with E = S B and E_min = S_min B_crit; both double at B_crit.
static iso_status step_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_batch_steps;
  static const double p[STEP_PARAMS] = {9, 13};
  double s_min = exp(p[0]), b_crit = exp(p[1]);
  for (double b = b_crit / 100; b < 200 * b_crit; b *= 10) {
    double s = step_value(p, &b, NULL);
    ISO_TRY(iso_law_near(l, (s / s_min - 1) * (s * b / (s_min * b_crit) - 1), 1, 1e-12, "product of the excesses", err));
  }
  return iso_law_near(l, step_value(p, &b_crit, NULL), 2 * s_min, 1e-12, "steps at the critical batch", err);
}

const iso_law iso_law_batch_steps = {
    .base = {.name = "batch_steps", .summary = "steps to one target loss = S_min (1 + B_crit / B)", .paper = MCCANDLISH, .selftest = step_selftest},
    .formula = "S = S_min (1 + B_crit / B)",
    .target = "steps",
    .unit = "steps",
    .target_alias = {"n_steps", "iterations", "s"},
    .counts = "B in tokens; steps to one and the same loss, learning rate tuned at every batch; tokens used are S B",
    .n_inputs = 1,
    .n_params = STEP_PARAMS,
    .input = &BATCH,
    .param = STEP_PARAM,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = step_value,
    .inverse = step_inverse,
    .facts = step_facts,
};

// ---- critical batch by tokens and by parameters ---------------------------------------------------------------------

static const iso_law_param POWER_PARAM[] = {{"log_k", "k", true, -5, 12}, {"x", "x", false, 0, 1}};
static const iso_law_const BY_TOKENS[] = {
    // 93.20 * 512 (1 / 20e6)^0.47; the same as 22.8 sequences of 512 tokens at 1M training tokens.
    {"zhang2024",
     true,
     {2.871788215917, 0.47},
     {1.7e9},
     {2.4e10},
     ZHANG ": its law for N at 20 tokens a parameter, written with D = 20 N; sequences of 512 tokens",
     "zhang2024_chinchilla"},
};
static const iso_law_const BY_PARAMS[] = {
    {"zhang2024_chinchilla",
     true,
     {4.279782384488, 0.47},
     {8.5e7},
     {1.2e9},
     ZHANG ", by a secondary source: 93.20 (N / 1e6)^0.47 sequences of 512 tokens, D = 20 N",
     "zhang2024_chinchilla"},
    {"zhang2024_fixed_tokens",
     true,
     {11.468255252054, 0.087},
     {8.5e7},
     {1.2e9},
     ZHANG ", by a secondary source: 621.341 (N / 1e6)^0.087 sequences of 512 tokens, D = 3.072e9",
     "zhang2024_fixed_tokens"},
};
static const iso_law_input PARAMS = {"params", "", "parameters", {"parameters", "n_params", "model_size", "n"}, NAN};

// Oracle: the paper's table for 85M to 1.2B parameters, in sequences of 512 tokens, through both laws.
static iso_status params_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double row[4][2] = {{85e6, 752}, {151e6, 985}, {302e6, 1365}, {1200e6, 2610}};
  for (int i = 0; i < 4; i++)
    ISO_TRY(
        iso_law_near(&iso_law_critical_batch_params, iso_power1_value(BY_PARAMS[0].p, row[i], NULL) / 512, row[i][1], 6e-4, "critical batch", err));
  return ISO_OK;
}
static iso_status tokens_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double row[4][2] = {{85e6, 752}, {151e6, 985}, {302e6, 1365}, {1200e6, 2610}};
  for (int i = 0; i < 4; i++) {
    double d = 20 * row[i][0];
    ISO_TRY(iso_law_near(&iso_law_critical_batch, iso_power1_value(BY_TOKENS[0].p, &d, NULL) / 512, row[i][1], 6e-4, "critical batch", err));
  }
  return ISO_OK;
}

#define CBS "B_crit: the batch that takes 20% more steps than perfect scaling from small batches would; B and D in tokens"
const iso_law iso_law_critical_batch = {
    .base = {.name = "critical_batch", .summary = "critical batch = k D^x", .paper = ZHANG, .selftest = tokens_selftest},
    .formula = "B_crit = k D^x",
    .target = "batch_tokens",
    .unit = "tokens",
    .target_alias = {"batch", "critical_batch"},
    .counts = CBS,
    .n_inputs = 1,
    .n_params = 2,
    .n_consts = (int)ISO_COUNT(BY_TOKENS),
    .input = &TOKENS,
    .param = POWER_PARAM,
    .consts = BY_TOKENS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = iso_power1_value,
    .inverse = iso_power1_inverse,
};
const iso_law iso_law_critical_batch_params = {
    .base = {.name = "critical_batch_params",
             .summary = "critical batch = k N^x, nearly flat when tokens are fixed",
             .paper = ZHANG,
             .selftest = params_selftest},
    .formula = "B_crit = k N^x",
    .target = "batch_tokens",
    .unit = "tokens",
    .target_alias = {"batch", "critical_batch"},
    .counts = CBS,
    .n_inputs = 1,
    .n_params = 2,
    .n_consts = (int)ISO_COUNT(BY_PARAMS),
    .input = &PARAMS,
    .param = POWER_PARAM,
    .consts = BY_PARAMS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = iso_power1_value,
    .inverse = iso_power1_inverse,
};

// ---- time transfer --------------------------------------------------------------------------------------------------

static const iso_law_param SHARE[] = {{"log_c", "c", true, -14, -3}};

static double share_value(const double *p, const double *x, double *g) {
  double y = exp(p[0]) * x[0];
  if (g) g[0] = y;
  return y;
}
static double share_inverse(const double *p, const double *x, int k, double y) {
  (void)x;
  (void)k;
  return y > 0 ? y * exp(-p[0]) : NAN;
}
// Oracle: 1% of the horizon, by hand.
static iso_status share_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double p = -4.605170185988091, t = 3e10;
  return iso_law_near(&iso_law_time_transfer_batch, share_value(&p, &t, NULL), 3e8, 1e-12, "1% of 3e10", err);
}

const iso_law iso_law_time_transfer_batch = {
    .base = {.name = "time_transfer_batch",
             .summary = "critical batch = c T, proportional to the horizon",
             .paper = FILATOV,
             .selftest = share_selftest},
    .formula = "B_crit = c T",
    .target = "batch_tokens",
    .unit = "tokens",
    .target_alias = {"batch", "critical_batch"},
    .counts = "B and T in tokens; maximal update parametrization, so c holds for every width",
    .n_inputs = 1,
    .n_params = 1,
    .input = &TOKENS,
    .param = SHARE,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = share_value,
    .inverse = share_inverse,
};

enum { T, B, RATE_INPUTS };
enum { P_LOG_LR, P_LOG_C, RATE_PARAMS };
static const iso_law_input RATE_INPUT[RATE_INPUTS] = {
    [T] = {"tokens", "tok", "horizon: training tokens", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN},
    [B] = {"batch_tokens", "tok", "tokens of a step", {"batch_size_tokens"}, NAN},
};
static const iso_law_param RATE_PARAM[RATE_PARAMS] = {{"log_lr_max", "lr_max", true, -10, -2}, {"log_c", "c", true, -14, -3}};

// The smooth curve through the three regimes: the best rate of Adam-like optimizers against the batch (Li et al. 2024, surge phenomenon,
// arXiv:2405.14578) with the batch of its peak at c T.
static double rate_value(const double *p, const double *x, double *g) {
  double half = 0.5 * (log(x[B]) - p[P_LOG_C] - log(x[T])), y = exp(p[P_LOG_LR]) / cosh(half);
  if (g) {
    g[P_LOG_LR] = y;
    g[P_LOG_C] = 0.5 * y * tanh(half);
  }
  return y;
}

// Oracle: the local exponent of T is -1/2, 0 and 1/2 for batches far below, at and far above c T.
static iso_status rate_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double p[RATE_PARAMS] = {-6, -9}, ratio[3] = {1e-8, 1, 1e8}, want[3] = {-0.5, 0, 0.5};
  for (int i = 0; i < 3; i++) {
    double lo[RATE_INPUTS] = {1e10 / 1.001, 0}, hi[RATE_INPUTS] = {1e10 * 1.001, 0};
    lo[B] = hi[B] = ratio[i] * exp(p[P_LOG_C]) * 1e10;
    double slope = log(rate_value(p, hi, NULL) / rate_value(p, lo, NULL)) / log(hi[T] / lo[T]);
    ISO_TRY(iso_law_near(&iso_law_time_transfer_lr, slope + 1, want[i] + 1, 1e-6, "1 + exponent of T", err));
  }
  return ISO_OK;
}

const iso_law iso_law_time_transfer_lr = {
    .base = {.name = "time_transfer_lr",
             .summary = "best learning rate by horizon and batch, in three regimes round B = c T",
             .paper = FILATOV,
             .selftest = rate_selftest},
    .formula = "lr = lr_max 2 / ((B / (c T))^(1/2) + (c T / B)^(1/2))",
    .target = "lr",
    .unit = "a step of AdamW",
    .target_alias = {"learning_rate", "peak_lr", "max_lr"},
    .counts = "B and T in tokens; rate as T^-1/2 below c T, T^0 at it, T^1/2 above; maximal update parametrization",
    .n_inputs = RATE_INPUTS,
    .n_params = RATE_PARAMS,
    .input = RATE_INPUT,
    .param = RATE_PARAM,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = rate_value,
};
