// L(N,D) = E + A / N^alpha + B / D^beta: the Chinchilla law, its published constants and its closed-form optimum.
#include <math.h>

#include "plan/law.h"

enum { N, D, INPUTS };
enum { P_LOG_A, P_LOG_B, P_LOG_E, P_ALPHA, P_BETA, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [N] = {"params", "", "parameters, all of them", {"parameters", "n_params", "num_params", "model_size", "n"}, NAN},
    [D] = {"tokens", "tok", "training tokens", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN},
};
static const iso_law_param PARAM[P_COUNT] = {
    {"log_a", "A", true, 0.02, 1},        {"log_b", "B", true, 0.02, 1},      {"log_e", "E", true, 0.05, 1},
    {"alpha", "alpha", false, 0.05, 1.2}, {"beta", "beta", false, 0.05, 1.2},
};

// Ranges are those of the points read off the paper's figure (Epoch's file).
#define CHINCHILLA_RANGE \
  {5.7e7, 8.1e8}, { 1.62e10, 3.18e11 }
static const iso_law_const CONSTS[] = {
    {"besiroglu2024",
     true,
     {6.17795598, 7.64273236, 0.59711196, 0.34781303, 0.36585412},
     CHINCHILLA_RANGE,
     "Besiroglu et al. 2024, arXiv:2404.10102; epoch-research/analyzing-chinchilla data_analysis.ipynb cells 24-26, five outliers dropped; "
     "MassiveText",
     "epoch_chinchilla"},
    {"besiroglu2024_all",
     true,
     {6.28204169, 9.51269708, 0.63748901, 0.35286066, 0.45596155},
     CHINCHILLA_RANGE,
     "the same notebook, cell 54: all 245 points",
     "epoch_chinchilla"},
    {"hoffmann2022",
     true,
     {6.0073404, 6.0179186, 0.5267228, 0.33917084, 0.2849083},
     CHINCHILLA_RANGE,
     "Hoffmann et al. 2022, arXiv:2203.15556, approach 3, unrounded values of the TeX source; same notebook, cell 16",
     "epoch_chinchilla"},
    {"hoffmann2022_rounded",
     true,
     {6.007337896264, 6.017863020963, 0.524728528935, 0.34, 0.28},
     CHINCHILLA_RANGE,
     "Hoffmann et al. 2022, as printed in the text: E = 1.69, A = 406.4, B = 410.7; the rounding moves the optimum: 93 tokens a parameter at "
     "5.76e23 FLOP, not 59",
     NULL},
    {"sardana2024",
     true,
     {6.007337896264, 6.017863020963, 0.524728528935, 0.336, 0.283},
     CHINCHILLA_RANGE,
     "Sardana et al. 2024, arXiv:2401.00448: E, A and B of Hoffmann et al. with exponents of three digits; only these give its table of "
     "sizes again",
     NULL},
    {"sardana2024_100",
     true,
     {1.973942127487, 3.256942025675, -1.771956841932, 0.08, 0.13},
     {0},
     {0},
     "Sardana et al. 2024, arXiv:2401.00448, table 1 by a secondary source: own runs of at most 100 tokens a parameter",
     "sardana2024_100"},
    {"sardana2024_all",
     true,
     {3.516310188763, 4.933754249760, 0.371563556432, 0.18, 0.24},
     {0},
     {0},
     "Sardana et al. 2024, arXiv:2401.00448, table 1 by a secondary source: all own runs, up to 10,000 tokens a parameter",
     "sardana2024_all"},
    {"krajewski2024_dense",
     true,
     {2.791165107813, 3.284663565406, -0.755022584278, 0.126, 0.127},
     {0},
     {0},
     "Krajewski et al. 2024, arXiv:2402.07871, dense models beside its mixtures of experts (moe_fine_grained), by a secondary source; C4",
     "krajewski2024_dense"},
};

// Standard errors of 4,000 bootstraps (notebook cells 25 and 54, that of ln E from E's; those of ln A and ln B in step with the exponents',
// within a unit of their third digit). Their correlations are not printed. These are of 40,000 refits here to the same 240 points, whose
// standard errors agree within 2%. The ridge along which refits lie is straight in E, A / N^alpha and B / D^beta at the points' means, not in
// logarithms: so correlations are those of the deviations of these terms, relative to the terms.
static const double EPOCH_CORR[P_COUNT * P_COUNT] = {
    1,          -0.2495918, 0.5915318, 0.9992426,  -0.2559028,  //
    -0.2495918, 1,          0.6059932, -0.2611204, 0.9995701,   //
    0.5915318,  0.6059932,  1,         0.5851299,  0.6040514,   //
    0.9992426,  -0.2611204, 0.5851299, 1,          -0.2678985,  //
    -0.2559028, 0.9995701,  0.6040514, -0.2678985, 1,
};
static const iso_law_spread SPREAD[ISO_COUNT(CONSTS)] = {
    {.up = {0.25747, 0.42189, 0.014123, 0.01540, 0.02060},
     .down = {0.25747, 0.42189, 0.014123, 0.01540, 0.02060},
     .corr = EPOCH_CORR,
     .source = "standard errors of 4,000 bootstraps, as printed, with correlations of refits to the same points"},
};

static double value(const double *p, const double *x, double *g) {
  double n = log(x[N]), d = log(x[D]), a = exp(p[P_LOG_A] - p[P_ALPHA] * n), b = exp(p[P_LOG_B] - p[P_BETA] * d), e = exp(p[P_LOG_E]);
  if (g) {
    g[P_LOG_A] = a;
    g[P_LOG_B] = b;
    g[P_LOG_E] = e;
    g[P_ALPHA] = -a * n;
    g[P_BETA] = -b * d;
  }
  return e + a + b;
}

static void start(const iso_law_means *m, const double *u, double *p) {
  for (int k = P_ALPHA; k <= P_BETA; k++) p[k] = PARAM[k].lo + u[k] * (PARAM[k].hi - PARAM[k].lo);
  p[P_LOG_A] = iso_law_start_term(m, N, p[P_ALPHA], u[P_LOG_A], 0.02, 1);
  p[P_LOG_B] = iso_law_start_term(m, D, p[P_BETA], u[P_LOG_B], 0.02, 1);
  p[P_LOG_E] = iso_law_start_term(m, N, 0, u[P_LOG_E], 0.05, 1);
}

// Hoffmann et al., equation 4: N* = G (C/6)^(beta/(alpha+beta)), D* = (C/6)^(alpha/(alpha+beta)) / G,
// G = (alpha A / (beta B))^(1/(alpha+beta)).
static iso_status optimum(const double *p, double flop, iso_law_point *out, iso_err *err) {
  double al = p[P_ALPHA], be = p[P_BETA];
  if (!(flop > 0 && flop < INFINITY)) return iso_fail(err, ISO_EINVAL, "chinchilla optimum: budget of %g FLOP, expected a positive finite one", flop);
  if (!(al > 0 && be > 0)) {
    iso_fail(err, ISO_EINVAL, "chinchilla optimum: alpha = %g and beta = %g, both must be positive for an optimum to exist", al, be);
    return iso_hint(err, ISO_EINVAL, "the sweep does not show that loss falls with %s: widen its range", al > 0 ? "tokens" : "parameters");
  }
  double log_g = (log(al) - log(be) + p[P_LOG_A] - p[P_LOG_B]) / (al + be), c = log(flop / ISO_LAW_FLOP_PER_PARAM_TOK);
  double x[INPUTS] = {exp(log_g + c * be / (al + be)), exp(c * al / (al + be) - log_g)};
  *out = (iso_law_point){.flop = flop, .params = x[N], .tokens = x[D], .loss = value(p, x, NULL)};
  return ISO_OK;
}

// N or D at which the other and the loss are given.
static double inverse(const double *p, const double *x, int k, double y) {
  double rest = y - exp(p[P_LOG_E]) - (k == N ? exp(p[P_LOG_B] - p[P_BETA] * log(x[D])) : exp(p[P_LOG_A] - p[P_ALPHA] * log(x[N])));
  if (!(rest > 0)) return NAN;
  return k == N ? exp((p[P_LOG_A] - log(rest)) / p[P_ALPHA]) : exp((p[P_LOG_B] - log(rest)) / p[P_BETA]);
}

// Exponents of equation 4: N* ~ C^a, D* ~ C^b, and L* - E ~ C^-(alpha beta / (alpha + beta)).
static int facts(const double *p, const double *x, iso_law_fact *out) {
  (void)x;
  double al = p[P_ALPHA], be = p[P_BETA];
  out[0] = (iso_law_fact){"exponent_params", "", "a of N* = G (C / 6)^a, beta / (alpha + beta)", be / (al + be)};
  out[1] = (iso_law_fact){"exponent_tokens", "", "b of D* = (C / 6)^b / G, alpha / (alpha + beta)", al / (al + be)};
  out[2] =
      (iso_law_fact){"coefficient", "", "G, (alpha A / (beta B))^(1 / (alpha + beta))", exp((log(al / be) + p[P_LOG_A] - p[P_LOG_B]) / (al + be))};
  out[3] = (iso_law_fact){"exponent_loss", "", "of the reducible loss at the optimum, alpha beta / (alpha + beta)", al * be / (al + be)};
  return 4;
}

// Oracle: losses and optima that follow from the published constants, to the digits given in the replication.
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_chinchilla;
  const double *p = CONSTS[0].p, *h = CONSTS[2].p;
  iso_law_point o;
  ISO_TRY(iso_law_near(l, iso_law_nd(l, p, 70e9, 1.4e12), 1.97341, 1e-5, "L(70e9, 1.4e12)", err));
  ISO_TRY(iso_law_near(l, iso_law_nd(l, p, 280e9, 300e9), 1.99907, 1e-5, "L(280e9, 300e9)", err));
  ISO_TRY(optimum(p, 1e22, &o, err));
  ISO_TRY(iso_law_near(l, o.params, 9.058e9, 3e-4, "N*(1e22)", err));
  ISO_TRY(iso_law_near(l, o.tokens / o.params, 20.32, 6e-4, "D*/N*(1e22)", err));
  ISO_TRY(iso_law_near(l, o.loss, 2.14050, 4e-5, "L*(1e22)", err));
  // Approach 3 of the paper: a = 0.46 = beta / (alpha + beta).
  return iso_law_near(l, h[P_BETA] / (h[P_ALPHA] + h[P_BETA]), 0.46, 0.011, "exponent of N*", err);
}

const iso_law iso_law_chinchilla = {
    .base = {.name = "chinchilla",
             .summary = "loss = E + A / N^alpha + B / D^beta",
             .paper = "Hoffmann et al. 2022, Training compute-optimal large language models, arXiv:2203.15556",
             .selftest = selftest},
    .formula = "L = E + A / N^alpha + B / D^beta",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = {"final_loss", "val_loss", "eval_loss", "l"},
    .counts = "N counts all parameters; every token is seen once; loss of the training distribution",
    .flops = "C = 6 N D",
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
    .inverse = inverse,
    .facts = facts,
    .spread = SPREAD,
};
