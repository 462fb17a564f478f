// Kaplan et al. 2020, laws of two inputs: loss by parameters and data, by parameters and steps, and by the split of compute.
#include <math.h>

#include "plan/law.h"

#define PAPER "Kaplan et al. 2020, Scaling laws for neural language models, arXiv:2001.08361"
#define NON_EMBEDDING "N leaves out the embedding and position matrices; loss on WebText2's test set, BPE of 50,257, context of 1,024"
#define LOSS_NAMES \
  { "final_loss", "val_loss", "eval_loss", "test_loss", "l" }
#define N_INPUT \
  { "params", "", "non-embedding parameters", {"params_no_embed", "non_embedding_params", "n_params", "n"}, NAN }

enum { N, D, INPUTS, S = D };

// ---- L(N,D) ---------------------------------------------------------------------------------------------------------

enum { J_LOG_N, J_LOG_D, J_ALPHA_N, J_ALPHA_D, J_PARAMS };

static const iso_law_input J_INPUT[INPUTS] = {
    [N] = N_INPUT,
    [D] = {"tokens", "tok", "tokens of the training set", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN},
};
static const iso_law_param J_PARAM[J_PARAMS] = {
    {"log_n", "N_c", true, 0, 0}, {"log_d", "D_c", true, 0, 0}, {"alpha_n", "alpha_N", false, 0, 0}, {"alpha_d", "alpha_D", false, 0, 0}};
// Logarithms of 6.4e13 and 1.8e13.
static const iso_law_const J_CONSTS[] = {{"kaplan2020",
                                          true,
                                          {31.78990419929, 30.52139287382, 0.076, 0.103},
                                          {768, 2.2e7},
                                          {1.5e9, 2.3e10},
                                          "table 2: N_c = 6.4e13, D_c = 1.8e13 tokens; 10% dropout, stopped early",
                                          "kaplan2020"}};

// ln L = alpha_D ln s, s = (N_c / N)^r + D_c / D, r = alpha_N / alpha_D.
static double joint(const double *p, const double *x, double *g) {
  double n = p[J_LOG_N] - log(x[N]), d = p[J_LOG_D] - log(x[D]), r = p[J_ALPHA_N] / p[J_ALPHA_D];
  double a = exp(r * n), b = exp(d), s = a + b, v = exp(p[J_ALPHA_D] * log(s));
  if (g) {
    double k = v * p[J_ALPHA_D] / s;
    g[J_LOG_N] = k * a * r;
    g[J_LOG_D] = k * b;
    g[J_ALPHA_N] = k * a * n / p[J_ALPHA_D];
    g[J_ALPHA_D] = v * log(s) - k * a * n * r / p[J_ALPHA_D];
  }
  return v;
}

static void joint_start(const iso_law_means *m, const double *u, double *p) {
  p[J_ALPHA_D] = 0.03 + 0.6 * u[J_ALPHA_D];
  p[J_ALPHA_N] = p[J_ALPHA_D] * (0.3 + 1.5 * u[J_ALPHA_N]);
  // Both terms are a share of s, whose logarithm is ln L / alpha_D.
  p[J_LOG_N] = m->log_x[N] + (log(m->y) / p[J_ALPHA_D] + log(0.05 + 0.95 * u[J_LOG_N])) * p[J_ALPHA_D] / p[J_ALPHA_N];
  p[J_LOG_D] = m->log_x[D] + log(m->y) / p[J_ALPHA_D] + log(0.05 + 0.95 * u[J_LOG_D]);
}

static double joint_inverse(const double *p, const double *x, int k, double y) {
  double s = exp(log(y) / p[J_ALPHA_D]), r = p[J_ALPHA_N] / p[J_ALPHA_D];
  double rest = k == N ? s - exp(p[J_LOG_D] - log(x[D])) : s - exp(r * (p[J_LOG_N] - log(x[N])));
  if (!(rest > 0)) return NAN;
  return k == N ? exp(p[J_LOG_N] - log(rest) / r) : exp(p[J_LOG_D] - log(rest));
}

// s at D = c / N is least where r (N_c / N)^r = D_c / D: N^(1+r) = r N_c^r c / D_c, c = C / 6.
static iso_status joint_optimum(const double *p, double flop, iso_law_point *out, iso_err *err) {
  double r = p[J_ALPHA_N] / p[J_ALPHA_D];
  if (!(flop > 0 && flop < INFINITY)) return iso_fail(err, ISO_EINVAL, "kaplan optimum: budget of %g FLOP, expected a positive finite one", flop);
  if (!(p[J_ALPHA_N] > 0 && p[J_ALPHA_D] > 0)) {
    iso_fail(err, ISO_EINVAL, "kaplan optimum: alpha_N = %g and alpha_D = %g, both must be positive for an optimum to exist", p[J_ALPHA_N],
             p[J_ALPHA_D]);
    return iso_hint(err, ISO_EINVAL, "the sweep does not show that loss falls with both: widen its range");
  }
  double c = log(flop / ISO_LAW_FLOP_PER_PARAM_TOK), n = (log(r) + r * p[J_LOG_N] + c - p[J_LOG_D]) / (1 + r), x[INPUTS] = {exp(n), exp(c - n)};
  *out = (iso_law_point){.flop = flop, .params = x[N], .tokens = x[D], .loss = joint(p, x, NULL)};
  return ISO_OK;
}

static iso_status joint_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_kaplan;
  const double *p = J_CONSTS[0].p;
  ISO_TRY(iso_law_near(l, p[J_LOG_N], log(6.4e13), 1e-8, "log N_c", err));
  ISO_TRY(iso_law_near(l, p[J_LOG_D], log(1.8e13), 1e-8, "log D_c", err));
  ISO_TRY(iso_law_near(l, iso_law_nd(l, p, 1.5e9, 22e9), 2.31255, 3e-6, "L(1.5e9, 22e9)", err));
  // Overfitting stays below 2% (the spread of seeds) with D >= 5e3 N^0.74: equation 4.4.
  double bound = iso_law_nd(l, p, 1e8, 5e3 * pow(1e8, 0.74)) / iso_law_nd(l, p, 1e8, 1e30) - 1;
  if (!(bound > 0.01 && bound < 0.03)) return iso_law_near(l, bound, 0.02, 0.5, "loss from overfitting at D = 5e3 N^0.74", err);
  return ISO_OK;
}

const iso_law iso_law_kaplan = {
    .base = {.name = "kaplan", .summary = "loss = [(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D", .paper = PAPER, .selftest = joint_selftest},
    .formula = "L = [(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = LOSS_NAMES,
    .counts = NON_EMBEDDING "; D counts distinct tokens, which the published runs saw several times before they were stopped",
    .flops = "C = 6 N D when every token is seen once, which the optimum supposes; the paper's own optimum is kaplan_compute's",
    .n_inputs = INPUTS,
    .n_params = J_PARAMS,
    .n_consts = (int)ISO_COUNT(J_CONSTS),
    .input = J_INPUT,
    .param = J_PARAM,
    .consts = J_CONSTS,
    .at_params = N,
    .at_tokens = D,
    .objective = ISO_LAW_HUBER_LOG,
    .delta = 1e-3,
    .value = joint,
    .start = joint_start,
    .optimum = joint_optimum,
    .inverse = joint_inverse,
};

// ---- L(N,S_min) -----------------------------------------------------------------------------------------------------

enum { S_LOG_N, S_LOG_S, S_ALPHA_N, S_ALPHA_S, S_PARAMS };

static const iso_law_input S_INPUT[INPUTS] = {
    [N] = N_INPUT,
    [S] = {"steps", "", "least steps, S / (1 + B_crit / B) of a run of S steps at batch B", {"s_min", "min_steps"}, NAN},
};
static const iso_law_param S_PARAM[S_PARAMS] = {
    {"log_n", "N_c", true, 0, 0}, {"log_s", "S_c", true, 0, 0}, {"alpha_n", "alpha_N", false, 0, 0}, {"alpha_s", "alpha_S", false, 0, 0}};
// Logarithms of 6.5e13 and 2.1e3.
static const iso_law_const S_CONSTS[] = {{"kaplan2020",
                                          true,
                                          {31.80540838582, 7.649692623712, 0.077, 0.76},
                                          {768, 0},
                                          {1.5e9, 0},
                                          "table 3: N_c = 6.5e13, S_c = 2.1e3; after warmup",
                                          "kaplan2020"}};

static double steps(const double *p, const double *x, double *g) {
  double n = p[S_LOG_N] - log(x[N]), s = p[S_LOG_S] - log(x[S]), a = exp(p[S_ALPHA_N] * n), b = exp(p[S_ALPHA_S] * s);
  if (g) {
    g[S_LOG_N] = a * p[S_ALPHA_N];
    g[S_LOG_S] = b * p[S_ALPHA_S];
    g[S_ALPHA_N] = a * n;
    g[S_ALPHA_S] = b * s;
  }
  return a + b;
}

static void steps_start(const iso_law_means *m, const double *u, double *p) {
  p[S_ALPHA_N] = 0.02 + 0.4 * u[S_ALPHA_N];
  p[S_ALPHA_S] = 0.1 + 1.2 * u[S_ALPHA_S];
  p[S_LOG_N] = iso_law_start_term(m, N, p[S_ALPHA_N], u[S_LOG_N], 0.2, 1) / p[S_ALPHA_N];
  p[S_LOG_S] = iso_law_start_term(m, S, p[S_ALPHA_S], u[S_LOG_S], 0.01, 0.7) / p[S_ALPHA_S];
}

static double steps_inverse(const double *p, const double *x, int k, double y) {
  double rest = y - (k == N ? exp(p[S_ALPHA_S] * (p[S_LOG_S] - log(x[S]))) : exp(p[S_ALPHA_N] * (p[S_LOG_N] - log(x[N]))));
  if (!(rest > 0)) return NAN;
  return k == N ? exp(p[S_LOG_N] - log(rest) / p[S_ALPHA_N]) : exp(p[S_LOG_S] - log(rest) / p[S_ALPHA_S]);
}

static iso_status steps_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_kaplan_steps;
  const double *p = S_CONSTS[0].p, end[INPUTS] = {6.5e13, INFINITY}, unit[INPUTS] = {1e30, 2.1e3};
  ISO_TRY(iso_law_near(l, p[S_LOG_S], log(2.1e3), 1e-8, "log S_c", err));
  ISO_TRY(iso_law_near(l, steps(p, end, NULL), 1, 1e-8, "L(N_c, no limit of steps)", err));
  return iso_law_near(l, steps(p, unit, NULL), 1 + pow(6.5e-17, 0.077), 1e-8, "L(1e30, S_c)", err);
}

const iso_law iso_law_kaplan_steps = {
    .base = {.name = "kaplan_steps", .summary = "loss = (N_c / N)^alpha_N + (S_c / S_min)^alpha_S", .paper = PAPER, .selftest = steps_selftest},
    .formula = "L = (N_c / N)^alpha_N + (S_c / S_min)^alpha_S",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = LOSS_NAMES,
    .counts = NON_EMBEDDING "; data without limit, steps as at a batch far above the critical one",
    .flops = "C_min = 6 N B_crit S_min",
    .n_inputs = INPUTS,
    .n_params = S_PARAMS,
    .n_consts = (int)ISO_COUNT(S_CONSTS),
    .input = S_INPUT,
    .param = S_PARAM,
    .consts = S_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_HUBER_LOG,
    .delta = 1e-3,
    .value = steps,
    .start = steps_start,
    .inverse = steps_inverse,
};

// ---- L(N,C): equation B.3 -------------------------------------------------------------------------------------------

// S_min = D / B_crit(L), so that the loss stands on both sides: L = (N_c / N)^alpha_N + (T_c / (D L^(1/alpha_B)))^alpha_S, T_c = S_c B_*.
enum { C_LOG_N, C_LOG_T, C_ALPHA_N, C_ALPHA_S, C_ALPHA_B, C_PARAMS };

static const iso_law_input C_INPUT[INPUTS] = {
    [N] = N_INPUT,
    [D] = {"tokens", "tok", "training tokens at a batch far below the critical one", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN},
};
static const iso_law_param C_PARAM[C_PARAMS] = {{"log_n", "N_c", true, 0, 0},
                                                {"log_t", "T_c", true, 0, 0},
                                                {"alpha_n", "alpha_N", false, 0, 0},
                                                {"alpha_s", "alpha_S", false, 0, 0},
                                                {"alpha_b", "alpha_B", false, 0, 0}};
static const iso_law_const C_CONSTS[] = {{"kaplan2020",
                                          true,
                                          {31.80540838582, 26.76352054822, 0.077, 0.76, 0.21},
                                          {768, 0},
                                          {1.5e9, 0},
                                          "table 3 and equation 1.4: N_c = 6.5e13, T_c = 2.1e3 x 2e8 tokens",
                                          "kaplan2020"}};

// The root L of L - a - k L^-q, which rises and is concave: Newton's steps from the left never pass it.
static double compute_loss(double a, double log_k, double q) {
  double v = a > 0 ? a : 1e-300;
  for (int i = 0; i < 400; i++) {
    double b = exp(log_k - q * log(v)), step = (a + b - v) / (1 + q * b / v);
    v += step;
    if (!(step > 1e-16 * v)) break;
  }
  return v;
}

static double compute(const double *p, const double *x, double *g) {
  double n = p[C_LOG_N] - log(x[N]), t = p[C_LOG_T] - log(x[D]), q = p[C_ALPHA_S] / p[C_ALPHA_B], a = exp(p[C_ALPHA_N] * n);
  if (!(q > 0)) return NAN;
  double v = compute_loss(a, p[C_ALPHA_S] * t, q), u = log(v), b = exp(p[C_ALPHA_S] * t - q * u), k = 1 / (1 + q * b / v);
  if (g) {
    g[C_LOG_N] = k * a * p[C_ALPHA_N];
    g[C_LOG_T] = k * b * p[C_ALPHA_S];
    g[C_ALPHA_N] = k * a * n;
    g[C_ALPHA_S] = k * b * (t - u / p[C_ALPHA_B]);
    g[C_ALPHA_B] = k * b * u * q / p[C_ALPHA_B];
  }
  return v;
}

static void compute_start(const iso_law_means *m, const double *u, double *p) {
  p[C_ALPHA_N] = 0.02 + 0.4 * u[C_ALPHA_N];
  p[C_ALPHA_S] = 0.1 + 1.2 * u[C_ALPHA_S];
  p[C_ALPHA_B] = 0.08 + 0.6 * u[C_ALPHA_B];
  p[C_LOG_N] = iso_law_start_term(m, N, p[C_ALPHA_N], u[C_LOG_N], 0.2, 1) / p[C_ALPHA_N];
  p[C_LOG_T] = iso_law_start_term(m, D, p[C_ALPHA_S], u[C_LOG_T], 0.01, 0.7) / p[C_ALPHA_S] + log(m->y) / p[C_ALPHA_B];
}

static double compute_inverse(const double *p, const double *x, int k, double y) {
  double u = log(y), q = p[C_ALPHA_S] / p[C_ALPHA_B];
  if (k == N) {
    double rest = y - exp(p[C_ALPHA_S] * (p[C_LOG_T] - log(x[D])) - q * u);
    return rest > 0 ? exp(p[C_LOG_N] - log(rest) / p[C_ALPHA_N]) : NAN;
  }
  double rest = y - exp(p[C_ALPHA_N] * (p[C_LOG_N] - log(x[N])));
  return rest > 0 ? exp(p[C_LOG_T] - u / p[C_ALPHA_B] - log(rest) / p[C_ALPHA_S]) : NAN;
}

// Equations B.6 to B.9: L = (C_c / C)^alpha_C, 1 / alpha_C = 1 / alpha_S + 1 / alpha_B + 1 / alpha_N, trained to alpha_N / alpha_S above
// the converged loss.
static iso_status compute_optimum(const double *p, double flop, iso_law_point *out, iso_err *err) {
  double an = p[C_ALPHA_N], as = p[C_ALPHA_S], ab = p[C_ALPHA_B];
  if (!(flop > 0 && flop < INFINITY))
    return iso_fail(err, ISO_EINVAL, "kaplan_compute optimum: budget of %g FLOP, expected a positive finite one", flop);
  if (!(an > 0 && as > 0 && ab > 0)) {
    iso_fail(err, ISO_EINVAL, "kaplan_compute optimum: alpha_N = %g, alpha_S = %g, alpha_B = %g, all must be positive", an, as, ab);
    return iso_hint(err, ISO_EINVAL, "the sweep does not show that loss falls with sizes and tokens: widen its range");
  }
  double ac = 1 / (1 / as + 1 / ab + 1 / an), f = log1p(an / as);
  double log_c = log(ISO_LAW_FLOP_PER_PARAM_TOK) + p[C_LOG_N] + p[C_LOG_T] + f * (1 / as + 1 / an) + log(as / an) / as;
  double n = p[C_LOG_N] + ac / an * (log(flop) - log_c) + f / an;
  *out = (iso_law_point){
      .flop = flop, .params = exp(n), .tokens = exp(log(flop / ISO_LAW_FLOP_PER_PARAM_TOK) - n), .loss = exp(ac * (log_c - log(flop)))};
  return ISO_OK;
}

// Equations 6.5 and B.6: exponents of compute of the loss, the best size, the critical batch and the least steps; they sum to 1 with N, B, S.
static int compute_facts(const double *p, const double *x, iso_law_fact *out) {
  (void)x;
  double ac = 1 / (1 / p[C_ALPHA_S] + 1 / p[C_ALPHA_B] + 1 / p[C_ALPHA_N]);
  out[0] = (iso_law_fact){"exponent_loss", "", "alpha_C, 1 / (1 / alpha_S + 1 / alpha_B + 1 / alpha_N)", ac};
  out[1] = (iso_law_fact){"exponent_params", "", "N* ~ C^(alpha_C / alpha_N)", ac / p[C_ALPHA_N]};
  out[2] = (iso_law_fact){"exponent_batch", "", "B ~ C^(alpha_C / alpha_B)", ac / p[C_ALPHA_B]};
  out[3] = (iso_law_fact){"exponent_steps", "", "S ~ C^(alpha_C / alpha_S)", ac / p[C_ALPHA_S]};
  out[4] = (iso_law_fact){"exponent_tokens", "", "D = B S ~ C^(alpha_C / alpha_B + alpha_C / alpha_S)", ac / p[C_ALPHA_B] + ac / p[C_ALPHA_S]};
  return 5;
}

static iso_status compute_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_kaplan_compute;
  const double *p = C_CONSTS[0].p, day = 8.64e19;
  iso_law_point o, far;
  ISO_TRY(iso_law_near(l, p[C_LOG_T], log(2.1e3 * 2e8), 1e-8, "log T_c", err));
  ISO_TRY(compute_optimum(p, day, &o, err));
  ISO_TRY(compute_optimum(p, 1e3 * day, &far, err));
  // B.7: alpha_C is 0.052; B.5: the loss is alpha_N / alpha_S above that of the same size without limit of steps.
  ISO_TRY(iso_law_near(l, log(o.loss / far.loss) / log(1e3), 0.052, 0.01, "alpha_C", err));
  ISO_TRY(iso_law_near(l, o.loss / iso_law_nd(l, p, o.params, 1e40), 1 + p[C_ALPHA_N] / p[C_ALPHA_S], 1e-6, "L over the converged loss", err));
  return iso_law_near(l, iso_law_nd(l, p, o.params, o.tokens), o.loss, 1e-12, "loss at the optimum", err);
}

const iso_law iso_law_kaplan_compute = {
    .base = {.name = "kaplan_compute",
             .summary = "loss by parameters and tokens at the critical batch",
             .paper = PAPER,
             .selftest = compute_selftest},
    .formula = "L = (N_c / N)^alpha_N + (T_c / (D L^(1 / alpha_B)))^alpha_S, T_c = S_c B_*",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = LOSS_NAMES,
    .counts = NON_EMBEDDING "; D = B_crit S_min, the tokens of a run at a batch far below the critical one, each seen once",
    .flops = "C_min = 6 N D; a run at the critical batch spends twice that",
    .n_inputs = INPUTS,
    .n_params = C_PARAMS,
    .n_consts = (int)ISO_COUNT(C_CONSTS),
    .input = C_INPUT,
    .param = C_PARAM,
    .consts = C_CONSTS,
    .at_params = N,
    .at_tokens = D,
    .objective = ISO_LAW_HUBER_LOG,
    .delta = 1e-3,
    .value = compute,
    .start = compute_start,
    .optimum = compute_optimum,
    .inverse = compute_inverse,
    .facts = compute_facts,
};
