// Muennighoff et al. 2023: the Chinchilla law when tokens repeat, whose worth decays, as does that of parameters beyond the data.
#include <math.h>

#include "plan/law.h"

enum { N, D, U, INPUTS };
enum { P_LOG_A, P_LOG_B, P_LOG_E, P_ALPHA, P_LOG_RD, P_LOG_RN, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [N] = {"params", "", "parameters, all of them", {"parameters", "n_params", "num_params", "model_size", "n"}, NAN},
    [D] = {"tokens", "tok", "training tokens, repeats included", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN},
    [U] = {"unique_tokens", "tok", "distinct tokens; more than are trained on is as many", {"unique", "dataset_tokens", "u"}, INFINITY},
};
static const iso_law_param PARAM[P_COUNT] = {
    {"log_a", "A", true, 0, 0},      {"log_b", "B", true, 0, 0},     {"log_e", "E", true, 0, 0},
    {"alpha", "alpha", false, 0, 0}, {"log_rd", "R_D*", true, 0, 0}, {"log_rn", "R_N*", true, 0, 0},
};
static const iso_law_const CONSTS[] = {
    {"muennighoff2023",
     true,
     {6.255414, 7.3049974, 0.6254804, 0.3526596, 2.7335721282528, 1.6695434348359},
     {7e6, 1e8, 0},
     {9e9, 9e11, 0},
     "huggingface/datablations utils/parametric_fit.ipynb cells 7 and 29: 182 runs on C4, alpha = beta, R_D* = 15.387756, R_N* = 5.309743",
     "muennighoff2023"},
};

// u + u r (1 - exp(-x / r)), x = v / u - 1 repeats: v itself below u. With its derivatives by ln u and ln r.
static double decayed(double v, double u, double r, double *by_log_u, double *by_log_r) {
  *by_log_u = *by_log_r = 0;
  if (!(v > u)) return v;
  double x = v / u - 1, gone = exp(-x / r), kept = -expm1(-x / r);
  *by_log_u = u * (1 + r * kept) - v * gone;
  *by_log_r = u * (r * kept - x * gone);
  return u * (1 + r * kept);
}

// N' and D' replace N and D: section 3 of the paper. U_N = N_opt(U_D) = G^2 U_D, G^2 = (A / B)^(1 / alpha).
static double value(const double *p, const double *x, double *g) {
  double al = p[P_ALPHA], ud = fmin(x[U], x[D]), log_un = (p[P_LOG_A] - p[P_LOG_B]) / al + log(ud), n_u, n_r, d_u, d_r;
  if (!(al > 0)) return NAN;
  double nn = decayed(x[N], exp(log_un), exp(p[P_LOG_RN]), &n_u, &n_r), dd = decayed(x[D], ud, exp(p[P_LOG_RD]), &d_u, &d_r);
  double n = log(nn), d = log(dd), a = exp(p[P_LOG_A] - al * n), b = exp(p[P_LOG_B] - al * d), e = exp(p[P_LOG_E]);
  if (g) {
    double by_n = -al * a / nn * n_u;
    g[P_LOG_A] = a + by_n / al;
    g[P_LOG_B] = b - by_n / al;
    g[P_LOG_E] = e;
    g[P_ALPHA] = -a * n - b * d - by_n * (p[P_LOG_A] - p[P_LOG_B]) / (al * al);
    g[P_LOG_RD] = -al * b / dd * d_r;
    g[P_LOG_RN] = -al * a / nn * n_r;
  }
  return e + a + b;
}

static void start(const iso_law_means *m, const double *u, double *p) {
  p[P_ALPHA] = 0.08 + 0.8 * u[P_ALPHA];
  p[P_LOG_A] = iso_law_start_term(m, N, p[P_ALPHA], u[P_LOG_A], 0.02, 1);
  p[P_LOG_B] = iso_law_start_term(m, D, p[P_ALPHA], u[P_LOG_B], 0.02, 1);
  p[P_LOG_E] = iso_law_start_term(m, N, 0, u[P_LOG_E], 0.05, 1);
  p[P_LOG_RD] = log(1) + u[P_LOG_RD] * log(60);
  p[P_LOG_RN] = log(0.5) + u[P_LOG_RN] * log(60);
}

// Without repeats N* = N_opt(D*): neither is in excess, and Chinchilla's closed form with alpha = beta holds.
static iso_status optimum(const double *p, double flop, iso_law_point *out, iso_err *err) {
  if (!(flop > 0 && flop < INFINITY))
    return iso_fail(err, ISO_EINVAL, "data_constrained optimum: budget of %g FLOP, expected a positive finite one", flop);
  if (!(p[P_ALPHA] > 0)) {
    iso_fail(err, ISO_EINVAL, "data_constrained optimum: alpha = %g, it must be positive for an optimum to exist", p[P_ALPHA]);
    return iso_hint(err, ISO_EINVAL, "the sweep does not show that loss falls with size: widen its range");
  }
  double log_g = (p[P_LOG_A] - p[P_LOG_B]) / (2 * p[P_ALPHA]), c = 0.5 * log(flop / ISO_LAW_FLOP_PER_PARAM_TOK);
  double x[INPUTS] = {exp(c + log_g), exp(c - log_g), INFINITY};
  *out = (iso_law_point){.flop = flop, .params = x[N], .tokens = x[D], .loss = value(p, x, NULL)};
  return ISO_OK;
}

static int facts(const double *p, const double *x, iso_law_fact *out) {
  double ud = fmin(x[U], x[D]), un = exp((p[P_LOG_A] - p[P_LOG_B]) / p[P_ALPHA]) * ud, rd = exp(p[P_LOG_RD]), rn = exp(p[P_LOG_RN]), u, r;
  bool known = x[N] > 0 && x[D] > 0;
  double dd = known ? decayed(x[D], ud, rd, &u, &r) : NAN, nn = known ? decayed(x[N], un, rn, &u, &r) : NAN;
  out[0] = (iso_law_fact){"epochs", "", "D / U", known ? x[D] / ud : NAN};
  out[1] = (iso_law_fact){"effective_tokens", "tok", "D', fresh tokens that are worth as much", dd};
  out[2] = (iso_law_fact){"effective_epochs", "", "D' / U", dd / ud};
  out[3] = (iso_law_fact){"token_efficiency", "", "D' / D, what a token is worth on average", dd / x[D]};
  out[4] = (iso_law_fact){"effective_params", "", "N', parameters in excess of the unique tokens' best size discounted", nn};
  out[5] = (iso_law_fact){"unique_params", "", "N_opt(U), the best size for the unique tokens", known ? un : NAN};
  out[6] = (iso_law_fact){"most_epochs", "", "what endless repetition is worth, 1 + R_D*", 1 + rd};
  out[7] = (iso_law_fact){"most_params", "", "most of N' over N_opt(U), 1 + R_N*", 1 + rn};
  return 8;
}

// Oracle: the two losses that the authors' README prints, and the table of what repeats are worth.
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_data_constrained;
  const double *p = CONSTS[0].p, large[INPUTS] = {8.67e9, 178e9, 25e9}, small[INPUTS] = {6.34e9, 242e9, 25e9};
  static const double WORTH[5][2] = {{2, 1.96820}, {8, 6.62412}, {16, 10.58246}, {40, 15.16746}, {100, 16.36304}};
  ISO_TRY(iso_law_near(l, exp(p[P_LOG_RD]), 15.387756, 1e-8, "R_D*", err));
  ISO_TRY(iso_law_near(l, exp(p[P_LOG_RN]), 5.309743, 1e-8, "R_N*", err));
  ISO_TRY(iso_law_near(l, value(p, small, NULL), 2.2256440889984477, 1e-8, "L(6.34e9, 242e9, U = 25e9)", err));
  ISO_TRY(iso_law_near(l, value(p, large, NULL), 2.2269634075087867, 1e-8, "L(8.67e9, 178e9, U = 25e9)", err));
  for (int i = 0; i < 5; i++) {
    // The tokens that give the loss of so many epochs, once over: a model small enough not to be in excess of them.
    double once[INPUTS] = {1e6, NAN, INFINITY}, epochs[INPUTS] = {1e6, 1e9 * WORTH[i][0], 1e9};
    once[D] = iso_law_solve(l, p, once, D, value(p, epochs, NULL), 1e8, 1e12);
    ISO_TRY(iso_law_near(l, once[D] / 1e9, WORTH[i][1], 1e-5, "D' / U", err));
  }
  // Parameters are worth at most 1 + R_N* = 6.3097 times N_opt(U).
  double most, by_u, by_r;
  most = decayed(1e15, 1e9, exp(p[P_LOG_RN]), &by_u, &by_r);
  return iso_law_near(l, most / 1e9, 6.3097, 1e-5, "most of N' / U_N", err);
}

const iso_law iso_law_data_constrained = {
    .base = {.name = "data_constrained",
             .summary = "loss with repeated tokens: E + A / N'^alpha + B / D'^alpha",
             .paper = "Muennighoff et al. 2023, Scaling data-constrained language models, arXiv:2305.16264",
             .selftest = selftest},
    .formula =
        "L = E + A / N'^alpha + B / D'^alpha, D' = U + U R_D* (1 - exp((1 - D / U) / R_D*)), "
        "N' = U_N + U_N R_N* (1 - exp((1 - N / U_N) / R_N*)), U_N = min(N, (A / B)^(1 / alpha) U)",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = {"final_loss", "val_loss", "eval_loss", "l"},
    .counts = "N counts all parameters; D counts repeats, U does not; loss on C4's validation text",
    .flops = "C = 6 N D, repeats included",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .n_consts = (int)ISO_COUNT(CONSTS),
    .input = INPUT,
    .param = PARAM,
    .consts = CONSTS,
    .at_params = N,
    .at_tokens = D,
    .objective = ISO_LAW_HUBER_LOG,
    .delta = 1e-3,
    .value = value,
    .start = start,
    .optimum = optimum,
    .facts = facts,
};
