// Kaplan et al. 2020: power laws of the loss in parameters, data, compute and steps, critical batch, compute-efficient training.
#include "plan/laws/power_law.h"

#define PF_DAY_FLOP 8.64e19  // 1e15 FLOP/s for 86,400 s, the paper's unit of compute
#define PAPER "Kaplan et al. 2020, Scaling laws for neural language models, arXiv:2001.08361"
#define NON_EMBEDDING "N leaves out the embedding and position matrices; loss on WebText2's test set, BPE of 50,257, context of 1,024"
#define LOSS_NAMES \
  { "final_loss", "val_loss", "eval_loss", "test_loss", "l" }

// "Model size (768 to 1.5 billion non-embedding parameters), dataset size (22 million to 23 billion tokens)": section 3.
#define N_LO 768
#define N_HI 1.5e9
#define D_LO 2.2e7
#define D_HI 2.3e10

static const iso_law_input IN_N = {"params", "", "non-embedding parameters", {"params_no_embed", "non_embedding_params", "n_params", "n"}, NAN};
static const iso_law_input IN_FLOP = {
    "train_flop", "FLOP", "training compute 6 N B S; 1 PF-day is 8.64e19", {"train_flops", "flops", "compute", "c"}, NAN};

// ---- (X_c / x)^alpha ------------------------------------------------------------------------------------------------

enum { P_LOG_C, P_ALPHA, POWER_PARAMS };

static double power(const double *p, const double *x, double *g) {
  double u = p[P_LOG_C] - log(x[0]), v = exp(p[P_ALPHA] * u);
  if (g) {
    g[P_LOG_C] = v * p[P_ALPHA];
    g[P_ALPHA] = v * u;
  }
  return v;
}

static void power_start(const iso_law_means *m, const double *u, double *p) {
  p[P_ALPHA] = 0.01 + 0.6 * u[P_ALPHA];
  p[P_LOG_C] = iso_law_start_term(m, 0, p[P_ALPHA], u[P_LOG_C], 0.8, 1.25) / p[P_ALPHA];
}

static double power_inverse(const double *p, const double *x, int k, double y) {
  (void)x;
  (void)k;
  return y > 0 ? exp(p[P_LOG_C] - log(y) / p[P_ALPHA]) : NAN;
}

static const iso_law_param N_PARAM[POWER_PARAMS] = {{"log_c", "N_c", true, 0, 0}, {"alpha", "alpha_N", false, 0, 0}};
static const iso_law_param D_PARAM[POWER_PARAMS] = {{"log_c", "D_c", true, 0, 0}, {"alpha", "alpha_D", false, 0, 0}};
static const iso_law_param C_PARAM[POWER_PARAMS] = {{"log_c", "C_c", true, 0, 0}, {"alpha", "alpha_C", false, 0, 0}};
static const iso_law_input D_INPUT[1] = {
    {"tokens", "tok", "tokens of the training set, trained on until the test loss rises", {"dataset_tokens", "d"}, NAN}};

// Logarithms of 8.8e13, 5.4e13, 3.1e8 PF-days and 1.6e7 PF-days.
static const iso_law_const N_CONSTS[] = {
    {"kaplan2020", true, {32.10835793041, 0.076}, {N_LO}, {N_HI}, "equation 1.1: N_c = 8.8e13, trained to convergence on enough data", "kaplan2020"},
    {"clark2022_dense",
     true,
     {31.205611423640, 0.078},
     {1.65e7},
     {1.31e9},
     "Clark et al. 2022, arXiv:2202.01169, its dense models by a secondary source: N_c = 3.568e13, all with the same 130e9 tokens of MassiveText",
     "clark2022_dense"},
};
static const iso_law_const D_CONSTS[] = {
    {"kaplan2020", true, {31.62000516249, 0.095}, {D_LO}, {D_HI}, "equation 1.2: D_c = 5.4e13 tokens, large models, stopped early", "kaplan2020"}};
static const iso_law_const C_CONSTS[] = {
    {"kaplan2020_cmin",
     true,
     {65.45760220515, 0.050},
     {0},
     {0},
     "equation 1.3: C_c = 3.1e8 PF-days; compute at a batch far below the critical one, best size: the one to predict with",
     "kaplan2020_cmin"},
    {"kaplan2020_naive",
     true,
     {62.49361862991, 0.057},
     {0},
     {0},
     "table 5: C_c = 1.6e7 PF-days; compute as spent, at a fixed batch of 2^19 tokens",
     "kaplan2020_naive"},
};

static iso_status n_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const double *p = N_CONSTS[0].p, small = 1.5e9, large = 175e9, twice = 2 * small;
  ISO_TRY(iso_law_near(&iso_law_kaplan_n, p[P_LOG_C], log(8.8e13), 1e-8, "log N_c", err));
  ISO_TRY(iso_law_near(&iso_law_kaplan_n, power(p, &small, NULL), 2.30355, 3e-6, "L(1.5e9)", err));
  // "Doubling the number of parameters yields a loss that is smaller by a factor 0.95."
  ISO_TRY(iso_law_near(&iso_law_kaplan_n, power(p, &twice, NULL) / power(p, &small, NULL), 0.95, 2e-3, "L(2 N) / L(N)", err));
  return iso_law_near(&iso_law_kaplan_n, power(p, &large, NULL), 1.60439, 4e-6, "L(175e9)", err);
}

static iso_status d_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const double d = 22.9e9;
  ISO_TRY(iso_law_near(&iso_law_kaplan_d, D_CONSTS[0].p[P_LOG_C], log(5.4e13), 1e-8, "log D_c", err));
  return iso_law_near(&iso_law_kaplan_d, power(D_CONSTS[0].p, &d, NULL), 2.09119, 3e-6, "L(22.9e9 tokens)", err);
}

static iso_status c_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_kaplan_c;
  ISO_TRY(iso_law_near(l, C_CONSTS[0].p[P_LOG_C], log(3.1e8 * PF_DAY_FLOP), 1e-8, "log C_c", err));
  ISO_TRY(iso_law_near(l, C_CONSTS[1].p[P_LOG_C], log(1.6e7 * PF_DAY_FLOP), 1e-8, "log C_c (naive)", err));
  // Equation 6.8: the trend meets that of the data at some 1e4 PF-days and 1.7 nats; figure 13 shows 2.7 at one.
  const double day = PF_DAY_FLOP, far = 1e4 * PF_DAY_FLOP;
  ISO_TRY(iso_law_near(l, power(C_CONSTS[0].p, &far, NULL), 1.7, 0.02, "L(1e4 PF-days)", err));
  return iso_law_near(l, power(C_CONSTS[0].p, &day, NULL), 2.66, 2e-3, "L(1 PF-day)", err);
}

const iso_law iso_law_kaplan_n = {
    .base = {.name = "kaplan_n", .summary = "loss = (N_c / N)^alpha_N, data and steps without limit", .paper = PAPER, .selftest = n_selftest},
    .formula = "L = (N_c / N)^alpha_N",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = LOSS_NAMES,
    .counts = NON_EMBEDDING "; models trained to convergence",
    .n_inputs = 1,
    .n_params = POWER_PARAMS,
    .n_consts = (int)ISO_COUNT(N_CONSTS),
    .input = &IN_N,
    .param = N_PARAM,
    .consts = N_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = power,
    .start = power_start,
    .inverse = power_inverse,
};

const iso_law iso_law_kaplan_d = {
    .base = {.name = "kaplan_d", .summary = "loss = (D_c / D)^alpha_D, large models stopped early", .paper = PAPER, .selftest = d_selftest},
    .formula = "L = (D_c / D)^alpha_D",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = LOSS_NAMES,
    .counts = "D counts distinct tokens, seen as often as lowers the test loss; " NON_EMBEDDING,
    .n_inputs = 1,
    .n_params = POWER_PARAMS,
    .n_consts = (int)ISO_COUNT(D_CONSTS),
    .input = D_INPUT,
    .param = D_PARAM,
    .consts = D_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = power,
    .start = power_start,
    .inverse = power_inverse,
};

const iso_law iso_law_kaplan_c = {
    .base = {.name = "kaplan_c", .summary = "loss = (C_c / C)^alpha_C at the best size", .paper = PAPER, .selftest = c_selftest},
    .formula = "L = (C_c / C)^alpha_C, C and C_c in FLOP",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = LOSS_NAMES,
    .counts = NON_EMBEDDING "; C = 6 N B S in FLOP (the paper states PF-days of 8.64e19)",
    .flops = "C = 6 N B S, N without embeddings; C_min = C / (1 + B / B_crit)",
    .n_inputs = 1,
    .n_params = POWER_PARAMS,
    .n_consts = (int)ISO_COUNT(C_CONSTS),
    .input = &IN_FLOP,
    .param = C_PARAM,
    .consts = C_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = power,
    .start = power_start,
    .inverse = power_inverse,
};

// ---- critical batch and compute-efficient size ----------------------------------------------------------------------

enum { B_LOG_B, B_ALPHA, B_PARAMS };

static double batch(const double *p, const double *x, double *g) {
  double u = log(x[0]), v = exp(p[B_LOG_B] - u / p[B_ALPHA]);
  if (g) {
    g[B_LOG_B] = v;
    g[B_ALPHA] = v * u / (p[B_ALPHA] * p[B_ALPHA]);
  }
  return v;
}

static void batch_start(const iso_law_means *m, const double *u, double *p) {
  p[B_ALPHA] = 0.05 + u[B_ALPHA];
  p[B_LOG_B] = iso_law_start_term(m, 0, 1 / p[B_ALPHA], u[B_LOG_B], 0.5, 2);
}

static double batch_inverse(const double *p, const double *x, int k, double y) {
  (void)x;
  (void)k;
  return y > 0 ? exp((p[B_LOG_B] - log(y)) * p[B_ALPHA]) : NAN;
}

static const iso_law_input B_INPUT[1] = {{"loss", "nat/tok", "test loss that is reached", {"final_loss", "test_loss", "val_loss", "l"}, NAN}};
static const iso_law_param B_PARAM[B_PARAMS] = {{"log_b", "B_*", true, 0, 0}, {"alpha", "alpha_B", false, 0, 0}};
static const iso_law_const B_CONSTS[] = {
    {"kaplan2020", true, {19.11382792451, 0.21}, {0}, {0}, "equations 1.4 and 5.3: B_* = 2e8 tokens", "kaplan2020"},
    {"kaplan2020_table5", true, {19.16261808868, 0.21}, {0}, {0}, "table 5 and figure 10: B_* = 2.1e8 tokens", "kaplan2020"},
};

static iso_status batch_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_kaplan_batch;
  static const double AT[3][2] = {{3, 1.0691e6}, {2.5, 2.5473e6}, {2, 7.3715e6}};
  ISO_TRY(iso_law_near(l, B_CONSTS[0].p[B_LOG_B], log(2e8), 1e-8, "log B_*", err));
  ISO_TRY(iso_law_near(l, B_CONSTS[1].p[B_LOG_B], log(2.1e8), 1e-8, "log B_* of table 5", err));
  for (int i = 0; i < 3; i++) ISO_TRY(iso_law_near(l, batch(B_CONSTS[0].p, AT[i], NULL), AT[i][1], 3e-5, "B_crit", err));
  // "The critical batch size approximately doubles for every 13% decrease in loss": figure 10.
  const double less = 0.87 * 3;
  return iso_law_near(l, batch(B_CONSTS[0].p, &less, NULL) / batch(B_CONSTS[0].p, AT[0], NULL), 2, 0.04, "B_crit at 0.87 L over that at L", err);
}

const iso_law iso_law_kaplan_batch = {
    .base = {.name = "kaplan_batch", .summary = "critical batch = B_* / L^(1 / alpha_B)", .paper = PAPER, .selftest = batch_selftest},
    .formula = "B_crit = B_* / L^(1 / alpha_B)",
    .target = "batch_tokens",
    .unit = "tokens",
    .target_alias = {"critical_batch", "b_crit", "batch"},
    .counts = "tokens a step at which time costs twice the least steps and twice the least tokens; loss on WebText2 in nats a token",
    .n_inputs = 1,
    .n_params = B_PARAMS,
    .n_consts = (int)ISO_COUNT(B_CONSTS),
    .input = B_INPUT,
    .param = B_PARAM,
    .consts = B_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = batch,
    .start = batch_start,
    .inverse = batch_inverse,
};

enum { A_LOG_K, A_P, A_PARAMS };

static double efficient(const double *p, const double *x, double *g) {
  double u = log(x[0] / PF_DAY_FLOP), v = exp(p[A_LOG_K] + p[A_P] * u);
  if (g) {
    g[A_LOG_K] = v;
    g[A_P] = v * u;
  }
  return v;
}

static void efficient_start(const iso_law_means *m, const double *u, double *p) {
  p[A_P] = 1.2 * u[A_P];
  p[A_LOG_K] = log(m->y) - p[A_P] * (m->log_x[0] - log(PF_DAY_FLOP)) + 2 * u[A_LOG_K] - 1;
}

static double efficient_inverse(const double *p, const double *x, int k, double y) {
  (void)x;
  (void)k;
  return y > 0 ? PF_DAY_FLOP * exp((log(y) - p[A_LOG_K]) / p[A_P]) : NAN;
}

// What the laws of compute-efficient training share: one input, two parameters, this form.
#define POWER_OF_C                                                                                                                               \
  .n_inputs = 1, .n_params = A_PARAMS, .input = &IN_FLOP, .at_params = -1, .at_tokens = -1, .objective = ISO_LAW_SQUARE_LOG, .value = efficient, \
  .start = efficient_start, .inverse = efficient_inverse

static const iso_law_param N_OF_C_PARAM[A_PARAMS] = {{"log_k", "N_e", true, 0, 0}, {"p", "p_N", false, 0, 0}};
static const iso_law_param D_OF_C_PARAM[A_PARAMS] = {{"log_k", "D_e", true, 0, 0}, {"p", "p_D", false, 0, 0}};
static const iso_law_const N_OF_C_CONSTS[] = {
    {"kaplan2020", true, {20.98563010141, 0.73}, {0}, {0}, "table 6: N_e = 1.3e9 at one PF-day", "kaplan2020"}};
static const iso_law_const D_OF_C_CONSTS[] = {
    {"kaplan2020", true, {23.7189981105, 0.27}, {0}, {0}, "table 6: D_e = 2e10 tokens at one PF-day", "kaplan2020"}};

// Oracle: table 6, and what the paper says of it.
static iso_status efficient_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_kaplan_params;
  const double day = PF_DAY_FLOP, more = 10 * PF_DAY_FLOP;
  ISO_TRY(iso_law_near(l, efficient(N_OF_C_CONSTS[0].p, &day, NULL), 1.3e9, 1e-7, "N at one PF-day", err));
  // "Increasing by 5x for each 10x increase in compute; data by only 2x": figure 14.
  ISO_TRY(iso_law_near(l, efficient(N_OF_C_CONSTS[0].p, &more, NULL) / 1.3e9, 5, 0.08, "N at ten times the compute", err));
  ISO_TRY(iso_law_near(l, efficient(D_OF_C_CONSTS[0].p, &more, NULL) / 2e10, 2, 0.08, "D at ten times the compute", err));
  ISO_TRY(iso_law_near(l, efficient(D_OF_C_CONSTS[0].p, &day, NULL), 2e10, 1e-7, "D at one PF-day", err));
  // D is that of training at the critical batch, which spends 2 C_min: equation 6.7.
  ISO_TRY(iso_law_near(l, 6 * 1.3e9 * 2e10 / (2 * PF_DAY_FLOP), 1, 0.1, "6 N D over 2 C_min", err));
  return iso_law_near(l, N_OF_C_CONSTS[0].p[A_P] + D_OF_C_CONSTS[0].p[A_P], 1, 1e-12, "sum of the exponents of N and D", err);
}

const iso_law iso_law_kaplan_params = {
    .base = {.name = "kaplan_params", .summary = "compute-efficient N = N_e C^p_N", .paper = PAPER, .selftest = efficient_selftest},
    .formula = "N = N_e (C / PF-day)^p_N",
    .target = "params",
    .unit = "parameters",
    .target_alias = {"n_opt", "params_no_embed", "n"},
    .counts = "N without embeddings; C in FLOP, in PF-days of 8.64e19 inside",
    .flops = "C_min = 6 N B S at a batch far below the critical one",
    POWER_OF_C,
    .n_consts = (int)ISO_COUNT(N_OF_C_CONSTS),
    .param = N_OF_C_PARAM,
    .consts = N_OF_C_CONSTS,
};

const iso_law iso_law_kaplan_tokens = {
    .base = {.name = "kaplan_tokens", .summary = "compute-efficient D = D_e C^p_D", .paper = PAPER, .selftest = efficient_selftest},
    .formula = "D = D_e (C / PF-day)^p_D",
    .target = "tokens",
    .unit = "tokens",
    .target_alias = {"d_opt", "train_tokens", "d"},
    .counts = "D counts tokens seen once; C in FLOP, in PF-days of 8.64e19 inside",
    .flops = "C_min = 6 N B S at a batch far below the critical one; D is that of training at the critical batch, 6 N D = 2 C_min",
    POWER_OF_C,
    .n_consts = (int)ISO_COUNT(D_OF_C_CONSTS),
    .param = D_OF_C_PARAM,
    .consts = D_OF_C_CONSTS,
};

static const iso_law_param B_OF_C_PARAM[A_PARAMS] = {{"log_k", "B_e", true, 0, 0}, {"p", "p_B", false, 0, 0}};
static const iso_law_param S_OF_C_PARAM[A_PARAMS] = {{"log_k", "S_e", true, 0, 0}, {"p", "p_S", false, 0, 0}};
static const iso_law_const B_OF_C_CONSTS[] = {
    {"kaplan2020", true, {14.508657738524, 0.24}, {0}, {0}, "table 6: B_e = 2.0e6 tokens at one PF-day, by secondary sources", "kaplan2020"}};
static const iso_law_const S_OF_C_CONSTS[] = {{"kaplan2020",
                                               true,
                                               {8.594154232552, 0.03},
                                               {0},
                                               {0},
                                               "table 6: S_e = 5.4e3 steps at one PF-day, a lower bound, by secondary sources",
                                               "kaplan2020"}};

// Oracle: C_min = 6 N B S at the batch's and steps' least, so that exponents sum to 1 and at one PF-day the product is one PF-day.
static iso_status split_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_kaplan_best_batch;
  const double day = PF_DAY_FLOP, n = N_OF_C_CONSTS[0].p[A_P], b = B_OF_C_CONSTS[0].p[A_P], s = S_OF_C_CONSTS[0].p[A_P];
  ISO_TRY(iso_law_near(l, n + b + s, 1, 1e-12, "sum of the exponents of N, B and S", err));
  ISO_TRY(iso_law_near(l, efficient(B_OF_C_CONSTS[0].p, &day, NULL), 2e6, 1e-7, "B at one PF-day", err));
  ISO_TRY(iso_law_near(l, efficient(S_OF_C_CONSTS[0].p, &day, NULL), 5.4e3, 1e-7, "S at one PF-day", err));
  return iso_law_near(l, 6 * 1.3e9 * 2e6 * 5.4e3, PF_DAY_FLOP, 0.03, "6 N B S", err);
}

const iso_law iso_law_kaplan_best_batch = {
    .base = {.name = "kaplan_best_batch",
             .summary = "batch of compute-efficient training, B = B_e C^p_B",
             .paper = PAPER,
             .selftest = split_selftest},
    .formula = "B = B_e (C / PF-day)^p_B",
    .target = "efficient_batch",
    .unit = "tokens",
    .target_alias = {"b_opt"},
    .counts = "tokens a step at the critical batch of the loss that C reaches; C in FLOP, in PF-days of 8.64e19 inside",
    .flops = "C_min = 6 N B S at a batch far below the critical one",
    POWER_OF_C,
    .n_consts = (int)ISO_COUNT(B_OF_C_CONSTS),
    .param = B_OF_C_PARAM,
    .consts = B_OF_C_CONSTS,
};

const iso_law iso_law_kaplan_best_steps = {
    .base = {.name = "kaplan_best_steps",
             .summary = "least steps of compute-efficient training, S = S_e C^p_S",
             .paper = PAPER,
             .selftest = split_selftest},
    .formula = "S = S_e (C / PF-day)^p_S",
    .target = "steps",
    .unit = "steps",
    .target_alias = {"s_min", "min_steps", "n_steps"},
    .counts = "least steps, as at a batch far above the critical one; at the critical batch twice as many; C in FLOP, in PF-days of 8.64e19 inside",
    .flops = "C_min = 6 N B S at a batch far below the critical one",
    POWER_OF_C,
    .n_consts = (int)ISO_COUNT(S_OF_C_CONSTS),
    .param = S_OF_C_PARAM,
    .consts = S_OF_C_CONSTS,
};

// ---- data that a size needs -----------------------------------------------------------------------------------------

static const iso_law_param NEED_PARAM[A_PARAMS] = {{"log_k", "k", true, 0, 15}, {"x", "x", false, 0, 1.5}};
static const iso_law_const NEED_CONSTS[] = {
    {"kaplan2020", true, {8.517193191416, 0.74}, {N_LO}, {N_HI}, "equation 4.4: D >= 5e3 N^0.74 keeps overfitting below 2%", "kaplan2020"}};

// Oracle: the exponent is alpha_N / alpha_D of the joint law, and "models smaller than 1e9 parameters can be trained with minimal
// overfitting on the 22B token dataset".
static iso_status need_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_kaplan_data_needed;
  const double big = 1e9;
  ISO_TRY(iso_law_near(l, NEED_CONSTS[0].p[1], 0.076 / 0.103, 3e-3, "exponent", err));
  return iso_law_near(l, iso_power1_value(NEED_CONSTS[0].p, &big, NULL), 22e9, 0.06, "tokens for 1e9 parameters", err);
}

const iso_law iso_law_kaplan_data_needed = {
    .base = {.name = "kaplan_data_needed", .summary = "tokens that keep overfitting small, D = k N^x", .paper = PAPER, .selftest = need_selftest},
    .formula = "D >= k N^x",
    .target = "tokens",
    .unit = "tokens",
    .target_alias = {"dataset_tokens", "train_tokens", "d"},
    .counts = "distinct tokens; N without embeddings; loss within 2% of that on endless data, the spread of seeds",
    .n_inputs = 1,
    .n_params = A_PARAMS,
    .n_consts = (int)ISO_COUNT(NEED_CONSTS),
    .input = &IN_N,
    .param = NEED_PARAM,
    .consts = NEED_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = iso_power1_value,
    .inverse = iso_power1_inverse,
};
