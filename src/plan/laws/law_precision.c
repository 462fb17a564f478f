// Kumar et al. 2024: loss of training with few bits, as fewer effective parameters, and of quantising weights afterwards.
#include <math.h>

#include "plan/law.h"

#define PAPER "Kumar et al. 2024, Scaling laws for precision, arXiv:2411.04330"
#define SWEEP_N_LO 3e7
#define SWEEP_N_HI 2.2e8
#define SWEEP_D_LO 1.5e9
#define SWEEP_D_HI 2.6e10
#define FULL_BITS 16.0  // what a part that is not quantised is trained in

enum { N, D, BITS_W, BITS_A, BITS_KV, BITS_POST, INPUTS };
enum { P_LOG_A, P_LOG_B, P_LOG_E, P_ALPHA, P_LOG_G, P_OFF = P_LOG_G + 3, P_LOG_C = P_OFF + 3, P_GD, P_GN, P_LOG_GPOST, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [N] = {"params", "", "non-embedding parameters", {"params_no_embed", "parameters", "n_params", "n"}, NAN},
    [D] = {"tokens", "tok", "training tokens", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN},
    [BITS_W] = {"weight_bits", "bit", "integer precision of weights in training", {"w_bits", "p_w"}, INFINITY},
    [BITS_A] = {"act_bits", "bit", "integer precision of activations in training", {"a_bits", "p_a"}, INFINITY},
    [BITS_KV] = {"kv_bits", "bit", "integer precision of keys and values in training", {"p_kv"}, INFINITY},
    [BITS_POST] = {"post_bits", "bit", "precision that weights are quantised to after training", {"ptq_bits", "p_post"}, INFINITY},
};
static const iso_law_param PARAM[P_COUNT] = {
    {"log_a", "A", true, 0, 0},
    {"log_b", "B", true, 0, 0},
    {"log_e", "E", true, 0, 0},
    {"alpha", "alpha", false, 0, 0},
    {"log_gamma_w", "gamma_w", true, 0, 0},
    {"log_gamma_a", "gamma_a", true, 0, 0},
    {"log_gamma_kv", "gamma_kv", true, 0, 0},
    {"n_w", "n_w", false, 0, 0},
    {"n_a", "n_a", false, 0, 0},
    {"n_kv", "n_kv", false, 0, 0},
    {"log_c", "C", true, 0, 0},
    {"gamma_d", "gamma_D", false, 0, 0},
    {"gamma_n", "gamma_N", false, 0, 0},
    {"log_gamma_post", "gamma_post", true, 0, 0},
};
// Logarithms of 4299, 18060, 2.7648; 2.6745, 2.2102, .9578; .0598 e^1.1277; .5907.
static const iso_law_const CONSTS[] = {
    {"kumar2024",
     true,
     {8.366137716, 9.801454827, 1.0169683, 0.4965, 0.983762447, 0.7930830092, -0.04311629107, 0.3037, 1.4072, 2.4185, -1.689049618, 0.5068, 0.3439,
      -0.5264470047},
     {SWEEP_N_LO, SWEEP_D_LO, 3, 4, 4, 3},
     {SWEEP_N_HI, SWEEP_D_HI, 12, 12, 12, 16},
     "appendix K, table 2, with its offsets n_x and b of the exponents (C = .0598 e^1.1277); they give the stated best precision of 7 bits",
     "kumar2024"},
    {"kumar2024_no_offsets",
     false,
     {8.366137716, 9.801454827, 1.0169683, 0.4965, 0.983762447, 0.7930830092, -0.04311629107, 0, 0, 0, -2.816749618, 0.5068, 0.3439, -0.5264470047},
     {SWEEP_N_LO, SWEEP_D_LO, 3, 4, 4, 3},
     {SWEEP_N_HI, SWEEP_D_HI, 12, 12, 12, 16},
     "the same numbers in the formulas of the main text, which leave the fitted offsets out: best precision 3.5 bits, not the 7 to 8 stated",
     "kumar2024"},
};

// ln of 1 - exp(n - P / gamma), with its derivatives by ln gamma and n; NaN where nothing is left.
static double kept(double bits, double log_gamma, double off, double *by_log_gamma, double *by_off) {
  *by_log_gamma = *by_off = 0;
  if (isinf(bits)) return 0;
  double u = bits / exp(log_gamma), lost = exp(off - u);
  // A part that loses everything has no model left; one whose bits do not matter at all is no part of this law, and a fit is kept from it.
  if (!(lost < 1) || !(fabs(off) < 10 && fabs(log_gamma) < 3)) return NAN;
  *by_off = -lost / (1 - lost);
  *by_log_gamma = *by_off * u;
  return log1p(-lost);
}

// ln(N_eff / N) with its derivatives by the three gammas and offsets.
static double effective(const double *p, const double *x, double *by_gamma, double *by_off) {
  double f = 0;
  for (int k = 0; k < 3; k++) f += kept(x[BITS_W + k], p[P_LOG_G + k], p[P_OFF + k], &by_gamma[k], &by_off[k]);
  return f;
}

// Quantising to what a model was trained in, or more, costs nothing. Otherwise the cost reaches its full size within a bit or two of
// difference (section 5), at which it is taken.
static bool quantised(const double *x) { return isfinite(x[BITS_POST]) && x[BITS_POST] < x[BITS_W]; }

static double value(const double *p, const double *x, double *g) {
  double by_gamma[3], by_off[3], f = effective(p, x, by_gamma, by_off), n = log(x[N]) + f, d = log(x[D]), bits = x[BITS_POST];
  if (isnan(f)) return NAN;
  double a = exp(p[P_LOG_A] - p[P_ALPHA] * n), b = exp(p[P_LOG_B] - p[P_ALPHA] * d), e = exp(p[P_LOG_E]), gp = exp(p[P_LOG_GPOST]);
  double delta = quantised(x) ? exp(p[P_LOG_C] + p[P_GD] * d - p[P_GN] * n - bits / gp) : 0;
  if (g) {
    double by_n = -p[P_ALPHA] * a - p[P_GN] * delta;
    g[P_LOG_A] = a;
    g[P_LOG_B] = b;
    g[P_LOG_E] = e;
    g[P_ALPHA] = -a * n - b * d;
    for (int k = 0; k < 3; k++) {
      g[P_LOG_G + k] = by_n * by_gamma[k];
      g[P_OFF + k] = by_n * by_off[k];
    }
    g[P_LOG_C] = delta;
    g[P_GD] = delta * d;
    g[P_GN] = -delta * n;
    g[P_LOG_GPOST] = delta > 0 ? delta * bits / gp : 0;
  }
  return e + a + b + delta;
}

// A product takes both operands in the same precision, so that its cost follows the widest part: C = 6/16 N D P.
static double flop_per_tok(const double *x) {
  double bits = fmin(FULL_BITS, fmax(fmax(x[BITS_W], x[BITS_A]), x[BITS_KV]));
  return ISO_LAW_FLOP_PER_PARAM_TOK / FULL_BITS * bits * x[N];
}

static void start(const iso_law_means *m, const double *u, double *p) {
  p[P_ALPHA] = 0.1 + 0.7 * u[P_ALPHA];
  p[P_LOG_A] = iso_law_start_term(m, N, p[P_ALPHA], u[P_LOG_A], 0.02, 0.5);
  p[P_LOG_B] = iso_law_start_term(m, D, p[P_ALPHA], u[P_LOG_B], 0.02, 0.5);
  p[P_LOG_E] = iso_law_start_term(m, N, 0, u[P_LOG_E], 0.4, 1);
  for (int k = 0; k < 3; k++) {
    // What half the mean bits lose is a share of the parameters; a part that is never quantised tells nothing.
    double half = 0.5 * exp(m->log_x[BITS_W + k]);
    p[P_LOG_G + k] = log(0.8) + log(4) * u[P_LOG_G + k];
    p[P_OFF + k] = isfinite(half) ? log(0.1) + log(6) * u[P_OFF + k] + half / exp(p[P_LOG_G + k]) : 0;
  }
  p[P_GD] = 0.2 + 0.6 * u[P_GD];
  p[P_GN] = 0.2 + 0.6 * u[P_GN];
  p[P_LOG_GPOST] = log(0.3) + log(5) * u[P_LOG_GPOST];
  p[P_LOG_C] = log(m->y) + log(0.005) + log(60) * u[P_LOG_C] + 4 / exp(p[P_LOG_GPOST]) - p[P_GD] * m->log_x[D] + p[P_GN] * m->log_x[N];
}

// Without bits: Chinchilla's closed form with alpha = beta.
static iso_status optimum(const double *p, double flop, iso_law_point *out, iso_err *err) {
  if (!(flop > 0 && flop < INFINITY)) return iso_fail(err, ISO_EINVAL, "precision optimum: budget of %g FLOP, expected a positive finite one", flop);
  if (!(p[P_ALPHA] > 0)) {
    iso_fail(err, ISO_EINVAL, "precision optimum: alpha = %g, it must be positive for an optimum to exist", p[P_ALPHA]);
    return iso_hint(err, ISO_EINVAL, "the sweep does not show that loss falls with size: widen its range");
  }
  double log_g = (p[P_LOG_A] - p[P_LOG_B]) / (2 * p[P_ALPHA]), c = 0.5 * log(flop / ISO_LAW_FLOP_PER_PARAM_TOK);
  double x[INPUTS] = {exp(c + log_g), exp(c - log_g), INFINITY, INFINITY, INFINITY, INFINITY};
  *out = (iso_law_point){.flop = flop, .params = x[N], .tokens = x[D], .loss = value(p, x, NULL)};
  return ISO_OK;
}

// ln of N_eff / P with all parts in P bits: what equal compute gains.
typedef struct bits_of {
  const double *p;
} bits_of;
static double worth(void *self, double bits) {
  const double x[INPUTS] = {1, 1, bits, bits, bits, INFINITY};
  double by_gamma[3], by_off[3], f = effective(((bits_of *)self)->p, x, by_gamma, by_off);
  return isnan(f) ? INFINITY : log(bits) - f;
}

// With C = 6/16 N D P the loss falls with N_eff D = (N_eff / N) C / P: best precision whatever the budget (section 4.3).
static int facts(const double *p, const double *x, iso_law_fact *out) {
  double by_gamma[3], by_off[3], share = exp(effective(p, x, by_gamma, by_off));
  bool edge = true;
  double bits = iso_law_least(worth, &(bits_of){p}, 1, 32, 400, &edge);
  out[0] = (iso_law_fact){"effective_share", "", "N_eff / N at these bits", share};
  out[1] = (iso_law_fact){"effective_params", "", "N_eff", share * x[N]};
  out[2] = (iso_law_fact){"best_bits", "bit", "of weights, activations and caches in one precision, at equal compute, whatever the budget",
                          edge ? NAN : bits};
  return 3;
}

// Tokens beyond which more of them raise the loss of a model that is quantised: alpha B / D^alpha = gamma_D delta(D).
static double critical(const double *p, const double *x, int k) {
  double by_gamma[3], by_off[3], f = effective(p, x, by_gamma, by_off);
  if (k != D || !quantised(x) || isnan(f) || !(p[P_GD] > 0 && p[P_ALPHA] > 0)) return NAN;
  double log_ratio = log(p[P_ALPHA] / p[P_GD]) + p[P_LOG_B] - p[P_LOG_C] + p[P_GN] * (log(x[N]) + f) + x[BITS_POST] / exp(p[P_LOG_GPOST]);
  return exp(log_ratio / (p[P_GD] + p[P_ALPHA]));
}

// Oracle: the paper's best precision, 7 to 8 bits whatever the budget, where N_eff D / C is largest; shares of weights-only N_eff in the
// main text's formula.
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_precision;
  static const double SHARE[4][2] = {{16, 0.99748}, {8, 0.94977}, {3, 0.67428}, {2, 0.52659}};
  double by_gamma[3], by_off[3], best = 0, most = 0;
  for (int i = 0; i < 4; i++) {
    double x[INPUTS] = {1e9, 2e10, SHARE[i][0], INFINITY, INFINITY, INFINITY};
    ISO_TRY(iso_law_near(l, exp(effective(CONSTS[1].p, x, by_gamma, by_off)), SHARE[i][1], 1e-5, "N_eff / N by weights", err));
  }
  for (double bits = 4; bits < 16; bits += 0.001) {
    double x[INPUTS] = {1e9, 2e10, bits, bits, bits, INFINITY}, gain = exp(effective(CONSTS[0].p, x, by_gamma, by_off)) / bits;
    if (gain > most) best = bits;
    most = fmax(most, gain);
  }
  return iso_law_near(l, best, 7.002, 2e-4, "best bits of training", err);
}

const iso_law iso_law_precision = {
    .base = {.name = "precision", .summary = "loss = E + A / N_eff^alpha + B / D^alpha + cost of quantising", .paper = PAPER, .selftest = selftest},
    .formula =
        "L = E + A / N_eff^alpha + B / D^alpha + C D^gamma_D / N_eff^gamma_N exp(-P_post / gamma_post), "
        "N_eff = N prod_x (1 - exp(n_x - P_x / gamma_x)), x = w, a, kv",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = {"final_loss", "val_loss", "eval_loss", "l"},
    .counts =
        "N leaves embeddings out; integer bits, weights by channel, activations and caches by tensor; loss on Dolma. Quantising a model "
        "afterwards to fewer bits than it was trained in is priced as if trained in 16, an upper bound",
    .flops = "C = 6/16 N D P, P the widest of weights, activations and caches, at most 16",
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
    .flop_per_tok = flop_per_tok,
    .start = start,
    .optimum = optimum,
    .facts = facts,
    .best = critical,
};

// ---- cost of quantising ---------------------------------------------------------------------------------------------

enum { Q_N, Q_D, Q_BITS, Q_INPUTS };
enum { Q_LOG_C, Q_GD, Q_GN, Q_LOG_G, Q_PARAMS };

static const iso_law_input Q_INPUT[Q_INPUTS] = {
    [Q_N] = {"params", "", "non-embedding parameters", {"params_no_embed", "parameters", "n_params", "n"}, NAN},
    [Q_D] = {"tokens", "tok", "training tokens", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN},
    [Q_BITS] = {"post_bits", "bit", "precision that weights are quantised to after training", {"ptq_bits", "p_post", "bits"}, NAN},
};
static const iso_law_param Q_PARAM[Q_PARAMS] = {{"log_c", "C", true, 0, 0},
                                                {"gamma_d", "gamma_D", false, 0, 0},
                                                {"gamma_n", "gamma_N", false, 0, 0},
                                                {"log_gamma_post", "gamma_post", true, 0, 0}};
static const iso_law_const Q_CONSTS[] = {
    {"kumar2024",
     true,
     {-1.689049618, 0.5068, 0.3439, -0.5264470047},
     {SWEEP_N_LO, SWEEP_D_LO, 3},
     {SWEEP_N_HI, SWEEP_D_HI, 16},
     "appendix K, table 2: C_T = .0598, its b = 1.1277 read as the exponent's offset, as appendix K says of all of them: C = C_T e^b; GPTQ",
     "kumar2024"},
    {"kumar2024_no_offsets",
     false,
     {-2.816749618, 0.5068, 0.3439, -0.5264470047},
     {SWEEP_N_LO, SWEEP_D_LO, 3},
     {SWEEP_N_HI, SWEEP_D_HI, 16},
     "the same without b, as in equation 2: a third of it",
     "kumar2024"},
};

static double ptq(const double *p, const double *x, double *g) {
  double n = log(x[Q_N]), d = log(x[Q_D]), u = x[Q_BITS] / exp(p[Q_LOG_G]), v = exp(p[Q_LOG_C] + p[Q_GD] * d - p[Q_GN] * n - u);
  if (g) {
    g[Q_LOG_C] = v;
    g[Q_GD] = v * d;
    g[Q_GN] = -v * n;
    g[Q_LOG_G] = v * u;
  }
  return v;
}

static void ptq_start(const iso_law_means *m, const double *u, double *p) {
  p[Q_GD] = 0.1 + 0.8 * u[Q_GD];
  p[Q_GN] = 0.1 + 0.8 * u[Q_GN];
  p[Q_LOG_G] = log(0.2) + log(10) * u[Q_LOG_G];
  p[Q_LOG_C] = log(m->y) - 2 + 3 * u[Q_LOG_C] + exp(m->log_x[Q_BITS] - p[Q_LOG_G]) - p[Q_GD] * m->log_x[Q_D] + p[Q_GN] * m->log_x[Q_N];
}

static double ptq_inverse(const double *p, const double *x, int k, double y) {
  double n = k == Q_N ? 0 : p[Q_GN] * log(x[Q_N]), d = k == Q_D ? 0 : p[Q_GD] * log(x[Q_D]), u = k == Q_BITS ? 0 : x[Q_BITS] / exp(p[Q_LOG_G]);
  if (!(y > 0)) return NAN;
  double rest = p[Q_LOG_C] + d - n - u - log(y);  // what input k must make up for
  return k == Q_N ? exp(rest / p[Q_GN]) : k == Q_D ? exp(-rest / p[Q_GD]) : rest > 0 ? rest * exp(p[Q_LOG_G]) : NAN;
}

// Oracle: ratios that follow from the exponents, and the cost in the main text's formula.
static iso_status ptq_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_precision_ptq;
  const double x[Q_INPUTS] = {1e9, 20e9, 4}, more[Q_INPUTS] = {1e9, 200e9, 4}, fewer[Q_INPUTS] = {1e9, 20e9, 3};
  double at = ptq(Q_CONSTS[0].p, x, NULL);
  ISO_TRY(iso_law_near(l, ptq(Q_CONSTS[0].p, more, NULL) / at, 3.2122, 2e-5, "cost of ten times the tokens", err));
  ISO_TRY(iso_law_near(l, ptq(Q_CONSTS[0].p, fewer, NULL) / at, 5.435, 1e-4, "cost of a bit less", err));
  ISO_TRY(iso_law_near(l, ptq(Q_CONSTS[1].p, x, NULL), 0.009147, 6e-5, "cost(1e9, 20e9, 4 bits) without offset", err));
  return iso_law_near(l, at, 0.009147 * exp(1.1277), 6e-5, "cost(1e9, 20e9, 4 bits)", err);
}

const iso_law iso_law_precision_ptq = {
    .base = {.name = "precision_ptq", .summary = "loss added by quantising weights after training", .paper = PAPER, .selftest = ptq_selftest},
    .formula = "delta = C D^gamma_D / N^gamma_N exp(-P / gamma_post)",
    .target = "loss_increase",
    .unit = "nats per token",
    .target_alias = {"delta", "ptq_loss_increase", "degradation"},
    .counts = "N leaves embeddings out; trained in 16 bits, weights quantised to integers by GPTQ; loss on Dolma",
    .n_inputs = Q_INPUTS,
    .n_params = Q_PARAMS,
    .n_consts = (int)ISO_COUNT(Q_CONSTS),
    .input = Q_INPUT,
    .param = Q_PARAM,
    .consts = Q_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_HUBER_LOG,
    .delta = 1e-2,
    .value = ptq,
    .start = ptq_start,
    .inverse = ptq_inverse,
};
