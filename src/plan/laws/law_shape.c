// err = alpha x^-a + (beta x^b + xi) C^-c + eps: one shape dimension of a model against compute.
#include <math.h>

#include "plan/law.h"

enum { X, C, INPUTS };
enum { P_LOG_ALPHA, P_A, P_LOG_BETA, P_B, P_LOG_XI, P_C, P_LOG_EPS, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [X] = {"dimension", "", "the dimension that is varied, the others large", {"width", "depth", "mlp", "d_model", "layers", "d_ff", "x"}, NAN},
    [C] = {"train_flop", "FLOP", "training compute", {"train_flops", "training_flop", "training_flops", "flops", "flop", "compute", "c"}, NAN},
};
static const iso_law_param PARAM[P_COUNT] = {
    {"log_alpha", "alpha", true, 0.02, 1}, {"a", "a", false, 0.2, 1.5},  {"log_beta", "beta", true, 0.02, 1}, {"b", "b", false, 0.2, 1.5},
    {"log_xi", "xi", true, 0.02, 1},       {"c", "c", false, 0.05, 0.8}, {"log_eps", "eps", true, 0.05, 1}};

static double value(const double *p, const double *x, double *g) {
  double u = log(x[X]), t = log(x[C]);
  double size = exp(p[P_LOG_ALPHA] - p[P_A] * u), cost = exp(p[P_LOG_BETA] + p[P_B] * u - p[P_C] * t), data = exp(p[P_LOG_XI] - p[P_C] * t),
         eps = exp(p[P_LOG_EPS]);
  if (g) {
    g[P_LOG_ALPHA] = size;
    g[P_A] = -size * u;
    g[P_LOG_BETA] = cost;
    g[P_B] = cost * u;
    g[P_LOG_XI] = data;
    g[P_C] = -(cost + data) * t;
    g[P_LOG_EPS] = eps;
  }
  return size + cost + data + eps;
}

static void start(const iso_law_means *m, const double *u, double *p) {
  p[P_A] = PARAM[P_A].lo + u[P_A] * (PARAM[P_A].hi - PARAM[P_A].lo);
  p[P_B] = PARAM[P_B].lo + u[P_B] * (PARAM[P_B].hi - PARAM[P_B].lo);
  p[P_C] = PARAM[P_C].lo + u[P_C] * (PARAM[P_C].hi - PARAM[P_C].lo);
  p[P_LOG_ALPHA] = iso_law_start_term(m, X, p[P_A], u[P_LOG_ALPHA], 0.02, 1);
  p[P_LOG_XI] = iso_law_start_term(m, C, p[P_C], u[P_LOG_XI], 0.02, 1);
  p[P_LOG_BETA] = iso_law_start_term(m, C, p[P_C], u[P_LOG_BETA], 0.02, 1) - p[P_B] * m->log_x[X];
  p[P_LOG_EPS] = iso_law_start_term(m, X, 0, u[P_LOG_EPS], 0.05, 1);
}

// Alabdulmohsin et al., equation 4: x* = (alpha a C^c / (beta b))^(1 / (a + b)), which grows as C^s with s = c / (a + b).
static double best(const double *p, const double *x, int k) {
  if (k != X || !(p[P_A] > 0 && p[P_B] > 0)) return NAN;
  return exp((p[P_LOG_ALPHA] - p[P_LOG_BETA] + log(p[P_A] / p[P_B]) + p[P_C] * log(x[C])) / (p[P_A] + p[P_B]));
}

// Compute, or the dimension on its falling side (none in closed form), at which the error is y.
static double inverse(const double *p, const double *x, int k, double y) {
  if (k != C) return NAN;
  double u = log(x[X]), left = y - exp(p[P_LOG_ALPHA] - p[P_A] * u) - exp(p[P_LOG_EPS]);
  return left > 0 ? exp(log((exp(p[P_LOG_BETA] + p[P_B] * u) + exp(p[P_LOG_XI])) / left) / p[P_C]) : NAN;
}

// Oracle: with alpha = beta and a = b = c = 1/2 the closed form is x* = sqrt(C), its error 2 alpha C^(-1/4) + xi C^(-1/2) + eps.
static iso_status selftest(iso_ctx *ctx, iso_err *err) {
  (void)ctx;
  const iso_law *l = &iso_law_shape;
  const double p[P_COUNT] = {log(3), 0.5, log(3), 0.5, log(2), 0.5, log(0.1)};
  double x[INPUTS] = {NAN, 1e8};
  x[X] = best(p, x, X);
  ISO_TRY(iso_law_near(l, x[X], 1e4, 1e-12, "x*(1e8)", err));
  return iso_law_near(l, value(p, x, NULL), 6e-2 + 2e-4 + 0.1, 1e-12, "error at x*(1e8)", err);
}

const iso_law iso_law_shape = {
    .base = {.name = "shape",
             .summary = "error by one shape dimension (width, depth or MLP) and compute",
             .paper = "Alabdulmohsin et al. 2023, Getting ViT in shape, arXiv:2305.13035; its vision transformers scale with s = c / (a + b) of 0.45 "
                      "(depth), 0.22 (width) and 0.6 (MLP)",
             .selftest = selftest},
    .formula = "err = alpha x^-a + (beta x^b + xi) C^-c + eps",
    .target = "error",
    .unit = "error rate or loss",
    .target_alias = {"err", "error_rate", "loss", "val_loss", "final_loss"},
    .counts =
        "a star-shaped sweep: one dimension varied, the others so large that they do not matter; the paper prints s only, so fit each dimension",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .input = INPUT,
    .param = PARAM,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = value,
    .start = start,
    .inverse = inverse,
    .best = best,
};
