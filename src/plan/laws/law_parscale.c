// ParScale (Chen et al. 2025): P parallel streams through one model count as 1 + k log P times its parameters.
#include <math.h>

#include "plan/law.h"

enum { N, P, INPUTS };
enum { P_LOG_E, P_LOG_A, P_ALPHA, P_LOG_K, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [N] = {"params", "", "parameters without embeddings, learnt prefixes included", {"parameters", "n_params", "model_size", "n"}, NAN},
    [P] = {"streams", "", "parallel streams of one model", {"p", "parallel_size", "n_streams"}, 1},
};
static const iso_law_param PARAM[P_COUNT] = {
    {"log_e", "E", true, 0.05, 1}, {"log_a", "A", true, 0.02, 1}, {"alpha", "alpha", false, 0.05, 1}, {"log_k", "k", true, -3, 0.5}};
#define RANGE \
  {5.358e8, 1}, { 4.415e9, 8 }
#define REFIT "refit of the 24 runs in QwenLM/ParScale parametric_fit.py with its objective; "
static const iso_law_const CONSTS[] = {
    {"parscale2025_stack",
     true,
     {-0.369315872072, 16.2409390347, 0.189358252867, -0.932784070742},
     RANGE,
     REFIT "Stack-V2 Python",
     "parscale2025_stack"},
    {"parscale2025_pile", true, {0.253546720573, 19.101333084, 0.196281453328, -1.09529059104}, RANGE, REFIT "the Pile", "parscale2025_pile"},
};

static double value(const double *p, const double *x, double *g) {
  double k = exp(p[P_LOG_K]) * log(x[P]), w = p[P_LOG_A] - log(x[N]) - log1p(k), t = exp(p[P_ALPHA] * w), e = exp(p[P_LOG_E]);
  if (!(k > -1)) return NAN;
  if (g) {
    g[P_LOG_E] = e;
    g[P_LOG_A] = t * p[P_ALPHA];
    g[P_ALPHA] = t * w;
    g[P_LOG_K] = -t * p[P_ALPHA] * k / (1 + k);
  }
  return e + t;
}

static void start(const iso_law_means *m, const double *u, double *p) {
  for (int k = 0; k < P_COUNT; k++) p[k] = PARAM[k].lo + u[k] * (PARAM[k].hi - PARAM[k].lo);
  p[P_LOG_E] = iso_law_start_term(m, N, 0, u[P_LOG_E], 0.05, 1);
  p[P_LOG_A] = iso_law_start_term(m, N, 0, u[P_LOG_A], 0.02, 1) / p[P_ALPHA] + m->log_x[N];
}

static double inverse(const double *p, const double *x, int k, double y) {
  double rest = y - exp(p[P_LOG_E]), size = exp(p[P_LOG_A] - log(rest) / p[P_ALPHA]);  // N (1 + k log P)
  if (!(rest > 0)) return NAN;
  return k == N ? size / (1 + exp(p[P_LOG_K]) * log(x[P])) : exp((size / x[N] - 1) / exp(p[P_LOG_K]));
}

static int facts(const double *p, const double *x, iso_law_fact *out) {
  out[0] = (iso_law_fact){"equivalent_params", "", "parameters of a model of one stream with this loss, N (k ln P + 1)",
                          x[N] * (exp(p[P_LOG_K]) * log(x[P]) + 1)};
  return 1;
}

// Oracle: losses that the authors' script predicts for 1.57B parameters on the Pile.
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double row[3][3] = {{1571472384, 1, 1.9542}, {1571472384, 2, 1.9275}, {1571472384, 4, 1.9062}};
  for (int i = 0; i < 3; i++) ISO_TRY(iso_law_near(&iso_law_parscale, value(CONSTS[1].p, row[i], NULL), row[i][2], 5e-5, "loss on the Pile", err));
  return ISO_OK;
}

const iso_law iso_law_parscale = {
    .base = {.name = "parscale",
             .summary = "loss of parameters and parallel streams = E + (A / (N (k ln P + 1)))^alpha",
             .paper = "Chen et al. 2025, Parallel scaling law for language models, arXiv:2505.10475",
             .selftest = selftest},
    .formula = "L = E + (A / (N (k ln P + 1)))^alpha",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = {"final_loss", "val_loss", "eval_loss", "l"},
    .counts = "N counts parameters without embeddings, with the prefixes of the streams; all runs see the same tokens",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .n_consts = (int)ISO_COUNT(CONSTS),
    .input = INPUT,
    .param = PARAM,
    .consts = CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_HUBER_LOG,
    .delta = 1e-3,
    .value = value,
    .start = start,
    .inverse = inverse,
    .facts = facts,
};
