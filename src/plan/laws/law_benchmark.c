// Benchmark scores as a sigmoid of log compute or of loss, between chance and a ceiling.
#include <math.h>

#include "plan/law.h"

enum { X, CHANCE, CEILING, INPUTS };
enum { P_SLOPE, P_MID, P_COUNT };

#define SCORE_INPUTS                                                                                                      \
  [CHANCE] = {"chance", "", "score of guessing, 0.25 for four choices", {"floor", "chance_score", "random_baseline"}, 0}, \
  [CEILING] = {"ceiling", "", "best score there can be, below 1 where labels are wrong", {"max_score", "upper_bound"}, 1}
static const iso_law_input COMPUTE_INPUT[INPUTS] = {
    [X] = {"train_flop",
           "FLOP",
           "training compute, counted alike for all models",
           {"train_flops", "training_flop", "training_flops", "flops", "flop", "compute", "c"},
           NAN},
    SCORE_INPUTS,
};
static const iso_law_input LOSS_INPUT[INPUTS] = {
    [X] = {"loss", "nat/tok", "held-out loss, on one text for all models", {"final_loss", "val_loss", "eval_loss", "l"}, NAN},
    SCORE_INPUTS,
};
static const iso_law_param COMPUTE_PARAM[P_COUNT] = {{"slope", "k", false, 0.1, 2}, {"log_c50", "C50", true, -8, 8}};
static const iso_law_param LOSS_PARAM[P_COUNT] = {{"slope", "k", false, 0.5, 20}, {"log_l50", "L50", true, -1, 1}};

// chance + (ceiling - chance) sigmoid(z); dz holds the derivatives of z by the parameters.
static double score(const double *x, double z, const double *dz, double *g) {
  double range = x[CEILING] - x[CHANCE];
  if (!(range > 0)) return NAN;
  double s = z >= 0 ? 1 / (1 + exp(-z)) : exp(z) / (1 + exp(z));
  for (int k = 0; g && k < P_COUNT; k++) g[k] = range * s * (1 - s) * dz[k];
  return x[CHANCE] + range * s;
}

static double compute_z(const double *p, const double *x, double *dz) {
  double u = log(x[X]) - p[P_MID];
  dz[P_SLOPE] = u;
  dz[P_MID] = -p[P_SLOPE];
  return p[P_SLOPE] * u;
}

static double loss_z(const double *p, const double *x, double *dz) {
  double mid = exp(p[P_MID]), u = mid - x[X];
  dz[P_SLOPE] = u;
  dz[P_MID] = p[P_SLOPE] * mid;
  return p[P_SLOPE] * u;
}

static double compute_value(const double *p, const double *x, double *g) {
  double dz[P_COUNT], z = compute_z(p, x, dz);
  return score(x, z, dz, g);
}

static double loss_value(const double *p, const double *x, double *g) {
  double dz[P_COUNT], z = loss_z(p, x, dz);
  return score(x, z, dz, g);
}

// log(q / (1 - q)) of the score's place q between chance and ceiling.
static double logit(const double *x, double y) { return log((y - x[CHANCE]) / (x[CEILING] - y)); }

// Chance or ceiling at which z gives y.
static double bound(const double *x, double z, int k, double y) {
  double s = 1 / (1 + exp(-z));
  return k == CHANCE ? (y - x[CEILING] * s) / (1 - s) : (y - x[CHANCE] * (1 - s)) / s;
}

static double compute_inverse(const double *p, const double *x, int k, double y) {
  double dz[P_COUNT];
  return k == X ? exp(p[P_MID] + logit(x, y) / p[P_SLOPE]) : bound(x, compute_z(p, x, dz), k, y);
}

static double loss_inverse(const double *p, const double *x, int k, double y) {
  double dz[P_COUNT], l = k == X ? exp(p[P_MID]) - logit(x, y) / p[P_SLOPE] : bound(x, loss_z(p, x, dz), k, y);
  return k != X || l > 0 ? l : NAN;
}

// The middle lies around the mean of the data, which spans decades of compute but a factor of two or so of loss.
static void start_at(const iso_law_param *par, const iso_law_means *m, const double *u, double *p) {
  p[P_SLOPE] = par[P_SLOPE].lo * pow(par[P_SLOPE].hi / par[P_SLOPE].lo, u[P_SLOPE]);
  p[P_MID] = m->log_x[X] + par[P_MID].lo + u[P_MID] * (par[P_MID].hi - par[P_MID].lo);
}
static void compute_start(const iso_law_means *m, const double *u, double *p) { start_at(COMPUTE_PARAM, m, u, p); }
static void loss_start(const iso_law_means *m, const double *u, double *p) { start_at(LOSS_PARAM, m, u, p); }

// Oracle: halfway between chance and ceiling in the middle, and a straight line in logits.
static iso_status selftest_of(const iso_law *l, const double *p, double mid, double up, iso_err *err) {
  double x[INPUTS] = {mid, 0.25, 0.95}, z[3];
  ISO_TRY(iso_law_near(l, l->value(p, x, NULL), 0.6, 1e-12, "score in the middle", err));
  for (int i = 0; i < 3; i++) {
    x[X] = l == &iso_law_benchmark_compute ? mid * pow(up, i) : mid - i * up;
    z[i] = logit(x, l->value(p, x, NULL));
  }
  ISO_TRY(iso_law_near(l, z[2], 2 * z[1], 1e-9, "logit at twice the distance", err));
  return iso_law_near(l, l->inverse(p, x, X, l->value(p, x, NULL)), x[X], 1e-9, "inverse", err);
}

static iso_status compute_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double P[P_COUNT] = {0.5, 50};
  return selftest_of(&iso_law_benchmark_compute, P, exp(50), 10, err);
}

static iso_status loss_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double P[P_COUNT] = {4, 0.7};
  return selftest_of(&iso_law_benchmark_loss, P, exp(0.7), 0.2, err);
}

#define BENCHMARK_PAPER                                                                                                                             \
  "Owen 2024, How predictable is language model benchmark performance?, arXiv:2401.04757: held-out models ten times larger are predicted within 6 " \
  "percentage points on average (BIG-Bench Hard), single tasks within 18"

const iso_law iso_law_benchmark_compute = {
    .base = {.name = "benchmark_compute",
             .summary = "score = sigmoid of log training compute between chance and ceiling",
             .paper = BENCHMARK_PAPER,
             .selftest = compute_selftest},
    .formula = "score = chance + (ceiling - chance) / (1 + (C50 / C)^k)",
    .target = "score",
    .unit = "share of the full score",
    .target_alias = {"accuracy", "acc", "benchmark", "performance"},
    .counts = "scores from 0 to 1 of one benchmark and prompt; models of one kind: data and architecture move the curve",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .input = COMPUTE_INPUT,
    .param = COMPUTE_PARAM,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE,
    .value = compute_value,
    .start = compute_start,
    .inverse = compute_inverse,
    .more_is_better = true,
};

const iso_law iso_law_benchmark_loss = {
    .base = {.name = "benchmark_loss",
             .summary = "score = sigmoid of loss between chance and ceiling",
             .paper = BENCHMARK_PAPER,
             .selftest = loss_selftest},
    .formula = "score = chance + (ceiling - chance) / (1 + exp(k (L - L50)))",
    .target = "score",
    .unit = "share of the full score",
    .target_alias = {"accuracy", "acc", "benchmark", "performance"},
    .counts = "scores from 0 to 1 of one benchmark and prompt; losses of one text and tokenizer",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .input = LOSS_INPUT,
    .param = LOSS_PARAM,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE,
    .value = loss_value,
    .start = loss_start,
    .inverse = loss_inverse,
    .more_is_better = true,
};
