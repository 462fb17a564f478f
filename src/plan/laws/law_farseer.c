// Farseer (Li et al. 2025): L(N,D) with a data term whose coefficient and exponent change with N.
#include <math.h>

#include "plan/law.h"

enum { N, D, INPUTS };
enum { P_A1, P_ALPHA, P_B1, P_A2, P_BETA, P_B2, P_A3, P_GAMMA, P_B3, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [N] = {"params", "", "parameters without embeddings", {"parameters", "n_params", "num_params", "model_size", "n"}, NAN},
    [D] = {"tokens", "tok", "training tokens", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN},
};
// Signed amplitudes, so none is kept as a logarithm; `start` gives them the scale of the data.
static const iso_law_param PARAM[P_COUNT] = {
    {"a1", "a1", false, -2, -0.05},   {"alpha", "alpha", false, 0.03, 0.3}, {"b1", "b1", false, -0.5, 1},
    {"a2", "a2", false, 1, 15},       {"beta", "beta", false, -0.3, -0.03}, {"b2", "b2", false, 0.02, 0.6},
    {"a3", "a3", false, -1.5, -0.05}, {"gamma", "gamma", false, 0.03, 0.3}, {"b3", "b3", false, 0.2, 0.95},
};
static const iso_law_const CONSTS[] = {
    {"li2025",
     false,
     {-0.124, 0.123, 0.424, 88.01, -0.1, -6.287, -0.021, 0.169, -0.091},
     {0},
     {0},
     "Li et al. 2025, arXiv:2506.10972, not read in the paper; bits per character",
     "farseer"},
};

static double value(const double *p, const double *x, double *g) {
  double n = log(x[N]), d = log(x[D]), n1 = exp(p[P_ALPHA] * n), n2 = exp(p[P_BETA] * n), n3 = exp(p[P_GAMMA] * n);
  double e = exp(p[P_A1] * n1 + p[P_B1]), model = exp(p[P_A3] * n3 + p[P_B3]), data = exp(p[P_A2] * n2 + p[P_B2] - e * d);
  if (g) {
    g[P_A1] = -data * e * d * n1;
    g[P_ALPHA] = g[P_A1] * p[P_A1] * n;
    g[P_B1] = -data * e * d;
    g[P_A2] = data * n2;
    g[P_BETA] = g[P_A2] * p[P_A2] * n;
    g[P_B2] = data;
    g[P_A3] = model * n3;
    g[P_GAMMA] = g[P_A3] * p[P_A3] * n;
    g[P_B3] = model;
  }
  return model + data;
}

// Amplitudes are those of the three exponents at the mean size; b2 and b3 make both terms a share of the mean loss.
static void start(const iso_law_means *m, const double *u, double *p) {
  for (int k = 0; k < P_COUNT; k++) p[k] = PARAM[k].lo + u[k] * (PARAM[k].hi - PARAM[k].lo);
  double n = m->log_x[N], e = exp(p[P_A1] + p[P_B1]);
  p[P_B2] = log(m->y * p[P_B2]) - p[P_A2] + e * m->log_x[D];
  p[P_B3] = log(m->y * p[P_B3]) - p[P_A3];
  p[P_A1] *= exp(-p[P_ALPHA] * n);
  p[P_A2] *= exp(-p[P_BETA] * n);
  p[P_A3] *= exp(-p[P_GAMMA] * n);
}

// Tokens have a closed form; N stands in every exponent and is searched for.
static double inverse(const double *p, const double *x, int k, double y) {
  double n = log(x[N]), rest = y - exp(p[P_A3] * exp(p[P_GAMMA] * n) + p[P_B3]);
  if (k != D || !(rest > 0)) return NAN;
  return exp((p[P_A2] * exp(p[P_BETA] * n) + p[P_B2] - log(rest)) / exp(p[P_A1] * exp(p[P_ALPHA] * n) + p[P_B1]));
}

// Oracle: without its dependence on N in the exponents the law is Hoffmann's with alpha -> 0 written out by hand: e^b3 + e^b2 / D^(e^b1).
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double flat[P_COUNT] = {0, 0.1, -1, 0, 0.1, 6, 0, 0.1, 0.5}, x[INPUTS] = {1e9, 1e10};
  return iso_law_near(&iso_law_farseer, value(flat, x, NULL), exp(0.5) + exp(6) / pow(1e10, exp(-1)), 1e-12, "law without N", err);
}

const iso_law iso_law_farseer = {
    .base = {.name = "farseer",
             .summary = "loss of parameters and tokens, the exponent of the tokens changing with the parameters",
             .paper = "Li et al. 2025, Predictable scale: part II, Farseer, arXiv:2506.10972",
             .selftest = selftest},
    .formula = "L = exp(a3 N^gamma + b3) + exp(a2 N^beta + b2) D^-exp(a1 N^alpha + b1)",
    .target = "loss",
    .unit = "as fitted; the paper's is bits per character",
    .target_alias = {"final_loss", "val_loss", "eval_loss", "l"},
    .counts = "N counts parameters without embeddings; every token is seen once; loss of the training distribution",
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
    .inverse = inverse,
};
