// L = E + A / (N rho)^alpha + B / D^beta with rho from a format's error on Gaussian numbers: models in compressed representations.
#include <math.h>

#include "plan/law.h"

enum { N, D, GMSE, OTHER, INPUTS };
// The first five as in the Chinchilla law.
enum { P_LOG_A, P_LOG_B, P_LOG_E, P_ALPHA, P_BETA, P_LOG_L0, P_LOG_F, P_LOG_C, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [N] = {"params", "", "parameters without embeddings", {"parameters", "n_params", "num_params", "model_size", "n"}, NAN},
    [D] = {"tokens", "tok", "training tokens", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN},
    [GMSE] = {"gmse", "", "mean squared error of the format on N(0,1) (isoflop law gmse FORMAT)", {"gaussian_mse", "format_mse"}, 0},
    [OTHER] = {"capacity", "", "rho of further representations at once: their product", {"rho", "other_capacity"}, 1},
};
static const iso_law_param PARAM[P_COUNT] = {
    {"log_a", "A", true, 0.02, 1},      {"log_b", "B", true, 0.02, 1},      {"log_e", "E", true, 0.05, 1}, {"alpha", "alpha", false, 0.05, 1.2},
    {"beta", "beta", false, 0.05, 1.2}, {"log_l0", "L0", true, -0.3, 0.05}, {"log_f", "F", true, -1, 1},   {"log_c", "c", true, -1, 1}};

// log rho; fills d with its derivatives by log L0, log F and log c unless NULL. A format without error is the dense model itself, whatever
// L0: that factor is what training through a quantizer loses. NaN where the error is not below that of storing nothing.
static double log_capacity(const double *p, double gmse, double *d) {
  if (d) d[0] = d[1] = d[2] = 0;
  if (gmse == 0) return 0;
  if (!(gmse < 1)) return NAN;
  double z = exp(p[P_LOG_F]) * -log(gmse) / log(4), t = tanh(z), c = exp(p[P_LOG_C]);
  if (d) {
    d[0] = 1;
    d[1] = c * (1 - t * t) / t * z;
    d[2] = c * log(t);
  }
  return p[P_LOG_L0] + c * log(t);
}

static double value(const double *p, const double *x, double *g) {
  double d[3], rho = log_capacity(p, x[GMSE], d), n = log(x[N]) + rho + log(x[OTHER]), t = log(x[D]);
  double a = exp(p[P_LOG_A] - p[P_ALPHA] * n), b = exp(p[P_LOG_B] - p[P_BETA] * t), e = exp(p[P_LOG_E]);
  if (g) {
    g[P_LOG_A] = a;
    g[P_LOG_B] = b;
    g[P_LOG_E] = e;
    g[P_ALPHA] = -a * n;
    g[P_BETA] = -b * t;
    for (int k = 0; k < 3; k++) g[P_LOG_L0 + k] = -a * p[P_ALPHA] * d[k];
  }
  return e + a + b;
}

static void start(const iso_law_means *m, const double *u, double *p) {
  for (int k = P_ALPHA; k < P_COUNT; k++) p[k] = PARAM[k].lo + u[k] * (PARAM[k].hi - PARAM[k].lo);
  p[P_LOG_A] = iso_law_start_term(m, N, p[P_ALPHA], u[P_LOG_A], 0.02, 1);
  p[P_LOG_B] = iso_law_start_term(m, D, p[P_BETA], u[P_LOG_B], 0.02, 1);
  p[P_LOG_E] = iso_law_start_term(m, N, 0, u[P_LOG_E], 0.05, 1);
}

// Of the dense model.
static iso_status optimum(const double *p, double flop, iso_law_point *out, iso_err *err) { return iso_law_chinchilla.optimum(p, flop, out, err); }

static double inverse(const double *p, const double *x, int k, double y) {
  if (k == D) {
    double rest = y - value(p, (double[]){x[N], INFINITY, x[GMSE], x[OTHER]}, NULL);
    return rest > 0 ? exp((p[P_LOG_B] - log(rest)) / p[P_BETA]) : NAN;
  }
  double rest = y - exp(p[P_LOG_E]) - exp(p[P_LOG_B] - p[P_BETA] * log(x[D]));
  if (!(rest > 0)) return NAN;
  double n = (p[P_LOG_A] - log(rest)) / p[P_ALPHA];  // log of N rho, all representations counted
  if (k == N) return exp(n - log_capacity(p, x[GMSE], NULL) - log(x[OTHER]));
  if (k == OTHER) return exp(n - log_capacity(p, x[GMSE], NULL) - log(x[N]));
  double t = exp((n - log(x[N]) - log(x[OTHER]) - p[P_LOG_L0]) / exp(p[P_LOG_C]));
  return t < 1 ? exp(-log(4) * atanh(t) / exp(p[P_LOG_F])) : NAN;
}

// Oracle: with F = c = 1 an error of 1/4 (an ideal code of one bit) has capacity L0 tanh 1; capacities multiply; no error is dense.
static iso_status selftest(iso_ctx *ctx, iso_err *err) {
  (void)ctx;
  const iso_law *l = &iso_law_compressed;
  const double p[P_COUNT] = {log(400), log(400), log(1.7), 0.34, 0.28, log(0.9), 0, 0};
  double x[INPUTS] = {1e8, 1e10, 0.25, 1}, dense[INPUTS] = {0.9e8 * tanh(1), 1e10, 0, 1};
  ISO_TRY(iso_law_near(l, value(p, x, NULL), value(p, dense, NULL), 1e-14, "loss at rho = 0.9 tanh 1", err));
  x[OTHER] = 0.5;
  dense[N] /= 2;
  ISO_TRY(iso_law_near(l, value(p, x, NULL), value(p, dense, NULL), 1e-14, "loss at half of it", err));
  ISO_TRY(iso_law_near(l, value(p, dense, NULL), iso_law_nd(&iso_law_chinchilla, p, dense[N], 1e10), 1e-14, "the dense law", err));
  return iso_law_near(l, inverse(p, x, GMSE, value(p, x, NULL)), 0.25, 1e-9, "the error that a loss allows", err);
}

const iso_law iso_law_compressed = {
    .base = {.name = "compressed",
             .summary = "loss of models trained in sparse or quantized representations",
             .paper = "Panferov et al. 2025, Unified scaling laws for compressed representations, arXiv:2506.01863",
             .selftest = selftest},
    .formula = "L = E + A / (N rho)^alpha + B / D^beta, rho = L0 tanh(F log_1/4 GMSE)^c",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = {"final_loss", "val_loss", "eval_loss", "l"},
    .counts =
        "N without embeddings; one kind of representation with one training method a fit, dense runs (gmse 0) among them, else A and L0 are not "
        "told apart; capacities multiply",
    .flops = "C = 6 N D, as if dense",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .input = INPUT,
    .param = PARAM,
    .at_params = N,
    .at_tokens = D,
    .objective = ISO_LAW_HUBER_LOG,
    .delta = 1e-4,
    .value = value,
    .start = start,
    .optimum = optimum,
    .inverse = inverse,
};
