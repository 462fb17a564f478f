// Frantar et al. 2023: loss of models whose weights are pruned while they are trained, by sparsity, non-zero parameters and tokens.
#include <math.h>

#include "plan/law.h"

enum { N, D, DENSITY, INPUTS };
enum { P_LOG_AS, P_BS, P_LOG_CS, P_BN, P_LOG_AD, P_BD, P_LOG_C, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [N] = {"params", "", "parameters that are not zero, embeddings left out", {"nonzero_params", "non_zero_params", "n_params", "n"}, NAN},
    [D] = {"tokens", "tok", "training tokens", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN},
    [DENSITY] = {"density", "", "1 - S: parameters that are not zero over all parameters", {"nonzero_share"}, 1},
};
static const iso_law_param PARAM[P_COUNT] = {
    {"log_a_s", "a_S", true, 0.02, 1}, {"b_s", "b_S", false, 0.1, 2},  {"log_c_s", "c_S", true, 0.02, 1}, {"b_n", "b_N", false, 0.05, 1},
    {"log_a_d", "a_D", true, 0.02, 1}, {"b_d", "b_D", false, 0.05, 1}, {"log_c", "c", true, 0.05, 1},
};
static const iso_law_const CONSTS[] = {
    {"frantar2023_t5",
     true,
     {2.821378886409, 0.722, 3.806662489770, 0.245, 20.352202155556, 0.203, -0.429245636774},
     {0},
     {0},
     "Frantar et al. 2023, arXiv:2309.08520, T5 on C4, fitted coefficients by a secondary source; 75% sparsity is worth 2.16 dense sizes, as stated",
     "frantar2023_t5"},
};

static double value(const double *p, const double *x, double *g) {
  double n = log(x[N]), s = log(x[DENSITY]), d = p[P_LOG_AD] - log(x[D]), as = exp(p[P_LOG_AS] + p[P_BS] * s), cs = exp(p[P_LOG_CS]);
  double by_n = exp(-p[P_BN] * n), b = exp(p[P_BD] * d), c = exp(p[P_LOG_C]);
  if (g) {
    g[P_LOG_AS] = as * by_n;
    g[P_BS] = as * by_n * s;
    g[P_LOG_CS] = cs * by_n;
    g[P_BN] = -(as + cs) * by_n * n;
    g[P_LOG_AD] = b * p[P_BD];
    g[P_BD] = b * d;
    g[P_LOG_C] = c;
  }
  return (as + cs) * by_n + b + c;
}

static void start(const iso_law_means *m, const double *u, double *p) {
  for (int k = 0; k < P_COUNT; k++) p[k] = PARAM[k].lo + u[k] * (PARAM[k].hi - PARAM[k].lo);
  p[P_LOG_AS] = iso_law_start_term(m, N, p[P_BN], u[P_LOG_AS], 0.02, 1) - p[P_BS] * m->log_x[DENSITY];
  p[P_LOG_CS] = iso_law_start_term(m, N, p[P_BN], u[P_LOG_CS], 0.02, 1);
  p[P_LOG_AD] = iso_law_start_term(m, D, 0, u[P_LOG_AD], 0.02, 1) / p[P_BD] + m->log_x[D];
  p[P_LOG_C] = iso_law_start_term(m, N, 0, u[P_LOG_C], 0.05, 1);
}

static double inverse(const double *p, const double *x, int k, double y) {
  double dense = exp(p[P_LOG_CS]), as = exp(p[P_LOG_AS]), of_s = k == DENSITY ? 0 : as * exp(p[P_BS] * log(x[DENSITY])) + dense;
  double rest = y - exp(p[P_LOG_C]) - (k == D ? of_s * exp(-p[P_BN] * log(x[N])) : exp(p[P_BD] * (p[P_LOG_AD] - log(x[D]))));
  if (!(rest > 0)) return NAN;
  if (k == D) return exp(p[P_LOG_AD] - log(rest) / p[P_BD]);
  if (k == N) return exp((log(of_s) - log(rest)) / p[P_BN]);
  rest = rest * exp(p[P_BN] * log(x[N])) - dense;
  return rest > 0 ? exp((log(rest) - p[P_LOG_AS]) / p[P_BS]) : NAN;
}

// A dense budget of non-zero parameters: (a_S + c_S) / N^b_N + (a_D / D)^b_D, Hoffmann's closed form.
static iso_status optimum(const double *p, double flop, iso_law_point *out, iso_err *err) {
  double al = p[P_BN], be = p[P_BD];
  if (!(flop > 0 && flop < INFINITY))
    return iso_fail(err, ISO_EINVAL, "weight_sparsity optimum: budget of %g FLOP, expected a positive finite one", flop);
  if (!(al > 0 && be > 0)) return iso_fail(err, ISO_EINVAL, "weight_sparsity optimum: b_N = %g and b_D = %g, both must be positive", al, be);
  double log_a = log(exp(p[P_LOG_AS]) + exp(p[P_LOG_CS])), log_b = be * p[P_LOG_AD];
  double log_g = (log(al) - log(be) + log_a - log_b) / (al + be), c = log(flop / ISO_LAW_FLOP_PER_PARAM_TOK);
  double x[INPUTS] = {exp(log_g + c * be / (al + be)), exp(c * al / (al + be) - log_g), 1};
  *out = (iso_law_point){.flop = flop, .params = x[N], .tokens = x[D], .loss = value(p, x, NULL)};
  return ISO_OK;
}

// Dense models of the same loss on the same tokens are this much larger than the parameters that are not zero.
static int facts(const double *p, const double *x, iso_law_fact *out) {
  double as = exp(p[P_LOG_AS]), cs = exp(p[P_LOG_CS]), more = pow((as + cs) / (as * pow(x[DENSITY], p[P_BS]) + cs), 1 / p[P_BN]);
  out[0] = (iso_law_fact){"dense_multiple", "", "size of the dense model of the same loss over the non-zero parameters", more};
  out[1] = (iso_law_fact){"dense_params", "", "that size", more * x[N]};
  out[2] = (iso_law_fact){"all_params", "", "parameters, zeros included", x[N] / x[DENSITY]};
  return 3;
}

// Oracle: the dense size that 75% sparsity is worth in the paper, found by the loss, and by the closed form.
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_weight_sparsity;
  static const double x[INPUTS] = {4e7, 1e10, 0.25}, dense[INPUTS] = {NAN, 1e10, 1};
  iso_law_fact f[ISO_LAW_FACT_MAX];
  double size = inverse(CONSTS[0].p, dense, N, value(CONSTS[0].p, x, NULL));
  ISO_TRY(iso_law_near(l, size / x[N], 2.16, 1e-3, "dense size of the same loss", err));
  facts(CONSTS[0].p, x, f);
  return iso_law_near(l, f[0].value, size / x[N], 1e-9, "dense size in closed form", err);
}

const iso_law iso_law_weight_sparsity = {
    .base = {.name = "weight_sparsity",
             .summary = "loss of sparse weights = (a_S (1 - S)^b_S + c_S) / N^b_N + (a_D / D)^b_D + c",
             .paper = "Frantar et al. 2023, Scaling laws for sparsely-connected foundation models, arXiv:2309.08520",
             .selftest = selftest},
    .formula = "L = (a_S (1 - S)^b_S + c_S) (1 / N)^b_N + (a_D / D)^b_D + c",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = {"final_loss", "val_loss", "eval_loss", "l"},
    .counts = "N counts the parameters that are not zero; pruned gradually in training; validation loss of span corruption on C4",
    .flops = "C = 6 N D, as if only non-zero parameters cost",
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
};
