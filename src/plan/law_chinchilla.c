// L(N,D) = E + A / N^alpha + B / D^beta: the Chinchilla law, its published constants and its closed-form optimum.
#include <math.h>

#include "plan/law.h"

enum { P_LOG_A, P_LOG_B, P_LOG_E, P_ALPHA, P_BETA, P_COUNT };
static const char *const NAMES[P_COUNT] = {"log_a", "log_b", "log_e", "alpha", "beta"};

// Ranges are those of the points read off the paper's figure (Epoch's file); N counts all parameters, loss is nats per token.
#define CHINCHILLA_RANGE 5.7e7, 1.62e10, 8.1e8, 3.18e11
static const iso_law_const CONSTS[] = {
    {"besiroglu2024",
     {6.17795598, 7.64273236, 0.59711196, 0.34781, 0.36585},
     CHINCHILLA_RANGE,
     "Besiroglu et al. 2024, arXiv:2404.10102; epoch-research/analyzing-chinchilla data_analysis.ipynb cells 24-26, five outliers dropped"},
    {"besiroglu2024_all",
     {6.28204169, 9.51269708, 0.63748901, 0.35286066, 0.45596155},
     CHINCHILLA_RANGE,
     "the same notebook, cell 54: all 245 points"},
    {"hoffmann2022",
     {6.0073404, 6.0179186, 0.5267228, 0.33917084, 0.2849083},
     CHINCHILLA_RANGE,
     "Hoffmann et al. 2022, arXiv:2203.15556, approach 3, unrounded values of the TeX source; same notebook, cell 16"},
};

static double loss(const double *p, double params, double tokens) {
  return exp(p[P_LOG_E]) + exp(p[P_LOG_A] - p[P_ALPHA] * log(params)) + exp(p[P_LOG_B] - p[P_BETA] * log(tokens));
}

static double grad(const double *p, double params, double tokens, double *g) {
  double x = log(params), y = log(tokens), a = exp(p[P_LOG_A] - p[P_ALPHA] * x), b = exp(p[P_LOG_B] - p[P_BETA] * y), e = exp(p[P_LOG_E]);
  g[P_LOG_A] = a;
  g[P_LOG_B] = b;
  g[P_LOG_E] = e;
  g[P_ALPHA] = -a * x;
  g[P_BETA] = -b * y;
  return a + b + e;
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
  double log_g = (log(al) - log(be) + p[P_LOG_A] - p[P_LOG_B]) / (al + be), x = log(flop / ISO_LAW_FLOP_PER_PARAM_TOK);
  double n = exp(log_g + x * be / (al + be)), d = exp(x * al / (al + be) - log_g);
  *out = (iso_law_point){.flop = flop, .params = n, .tokens = d, .loss = loss(p, n, d)};
  return ISO_OK;
}

static iso_status near(double got, double want, double tol, const char *what, iso_err *err) {
  if (fabs(got - want) <= tol * fabs(want)) return ISO_OK;
  return iso_fail(err, ISO_EBUG, "law chinchilla: %s is %.9g, expected %.9g", what, got, want);
}

// Oracle: losses and optima that follow from the published constants, to the digits given in the replication.
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  iso_law_point o;
  const double *p = CONSTS[0].p;
  ISO_TRY(near(loss(p, 70e9, 1.4e12), 1.97341, 1e-5, "L(70e9, 1.4e12)", err));
  ISO_TRY(near(loss(p, 280e9, 300e9), 1.99907, 1e-5, "L(280e9, 300e9)", err));
  ISO_TRY(optimum(p, 1e22, &o, err));
  ISO_TRY(near(o.params, 9.058e9, 3e-4, "N*(1e22)", err));
  ISO_TRY(near(o.tokens / o.params, 20.32, 6e-4, "D*/N*(1e22)", err));
  return near(o.loss, 2.14050, 4e-5, "L*(1e22)", err);
}

const iso_law iso_law_chinchilla = {
    .base = {.name = "chinchilla",
             .summary = "loss = E + A / N^alpha + B / D^beta",
             .paper = "Hoffmann et al. 2022, Training compute-optimal large language models, arXiv:2203.15556",
             .selftest = selftest},
    .n_params = P_COUNT,
    .param = NAMES,
    .consts = CONSTS,
    .n_consts = (int)ISO_COUNT(CONSTS),
    .loss = loss,
    .grad = grad,
    .optimum = optimum,
};
