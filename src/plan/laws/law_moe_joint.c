// Mixtures of experts by number of experts: the joint law (Ludziejewski et al. 2025) and routed models at fixed data (Clark et al. 2022).
#include <math.h>

#include "plan/law.h"
#include "plan/laws/expert_count.h"

// ---- joint law ------------------------------------------------------------------------------------------------------

enum { N, D, E, JOINT_INPUTS };
enum { J_LOG_A, J_DELTA, J_ALPHA, J_GAMMA, J_LOG_B, J_OMEGA, J_BETA, J_ZETA, J_LOG_C, J_LOG_START, J_LOG_MAX, JOINT_PARAMS };

static const iso_law_input JOINT_INPUT[JOINT_INPUTS] = {
    [N] = {"active_params", "", "parameters that one token uses", {"n_act", "active_parameters"}, NAN},
    [D] = {"tokens", "tok", "training tokens", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN},
    [E] = {"experts", "", "experts of a layer, one of them active; 1 is a dense model", {"n_experts", "e"}, 1},
};
static const iso_law_param JOINT_PARAM[JOINT_PARAMS] = {
    {"log_a", "a", true, 0.05, 1},          {"delta", "delta", false, -0.6, 0},
    {"alpha", "alpha", false, -0.6, -0.08}, {"gamma", "gamma", false, -0.03, 0.03},
    {"log_b", "b", true, 0.05, 1},          {"omega", "omega", false, 0, 1},
    {"beta", "beta", false, -0.6, -0.08},   {"zeta", "zeta", false, -0.06, 0.03},
    {"log_c", "c", true, 0.05, 1},          {"log_e_start", "E_start", true, 0.2, 1.6},
    {"log_e_max", "E_max", true, 4, 7},
};
static const iso_law_const JOINT_CONSTS[] = {
    {"ludziejewski2025",
     true,
     {3.581015808238, -0.2285, -0.1889, 0.0098, 3.582963228522, 0.5529, -0.1775, -0.0259, 0.310201593882, 0.729093307333, 5.671438674573},
     {0},
     {0},
     "Ludziejewski et al. 2025, arXiv:2502.05172, fitted coefficients",
     "ludziejewski2025"},
};

static double joint_value(const double *p, const double *x, double *g) {
  double by_start, by_max, h = iso_expert_log_count(x[E] - 1, p[J_LOG_START], p[J_LOG_MAX], &by_start, &by_max);
  double n = log(x[N]), d = log(x[D]), c = exp(p[J_LOG_C]);
  double a = exp(p[J_LOG_A] + p[J_DELTA] * h + (p[J_ALPHA] + p[J_GAMMA] * h) * n);
  double b = exp(p[J_LOG_B] + p[J_OMEGA] * h + (p[J_BETA] + p[J_ZETA] * h) * d);
  if (!(h == h)) return NAN;
  if (g) {
    double by_h = a * (p[J_DELTA] + p[J_GAMMA] * n) + b * (p[J_OMEGA] + p[J_ZETA] * d);
    g[J_LOG_A] = a;
    g[J_DELTA] = a * h;
    g[J_ALPHA] = a * n;
    g[J_GAMMA] = a * h * n;
    g[J_LOG_B] = b;
    g[J_OMEGA] = b * h;
    g[J_BETA] = b * d;
    g[J_ZETA] = b * h * d;
    g[J_LOG_C] = c;
    g[J_LOG_START] = by_h * by_start;
    g[J_LOG_MAX] = by_h * by_max;
  }
  return a + b + c;
}

static void joint_start(const iso_law_means *m, const double *u, double *p) {
  for (int k = 0; k < JOINT_PARAMS; k++) p[k] = JOINT_PARAM[k].lo + u[k] * (JOINT_PARAM[k].hi - JOINT_PARAM[k].lo);
  double h = m->log_x[E] > p[J_LOG_START] ? m->log_x[E] : p[J_LOG_START];
  p[J_LOG_A] = iso_law_start_term(m, N, -p[J_ALPHA] - p[J_GAMMA] * h, u[J_LOG_A], 0.05, 1) - p[J_DELTA] * h;
  p[J_LOG_B] = iso_law_start_term(m, D, -p[J_BETA] - p[J_ZETA] * h, u[J_LOG_B], 0.05, 1) - p[J_OMEGA] * h;
  p[J_LOG_C] = iso_law_start_term(m, N, 0, u[J_LOG_C], 0.05, 1);
}

// At a given number of experts the law is c + m N^mu + n D^nu; log m, mu, log n, nu (the paper's table 4).
static void at_experts(const double *p, double experts, double *out) {
  double s, t, h = iso_expert_log_count(experts - 1, p[J_LOG_START], p[J_LOG_MAX], &s, &t);
  out[0] = p[J_LOG_A] + p[J_DELTA] * h;
  out[1] = p[J_ALPHA] + p[J_GAMMA] * h;
  out[2] = p[J_LOG_B] + p[J_OMEGA] * h;
  out[3] = p[J_BETA] + p[J_ZETA] * h;
}

static int joint_facts(const double *p, const double *x, iso_law_fact *out) {
  double m[4], s, t;
  at_experts(p, x[E], m);
  out[0] = (iso_law_fact){"effective_experts", "", "the saturating count of experts",
                          exp(iso_expert_log_count(x[E] - 1, p[J_LOG_START], p[J_LOG_MAX], &s, &t))};
  out[1] = (iso_law_fact){"m", "", "of L = m N^mu + n D^nu + c at these experts", exp(m[0])};
  out[2] = (iso_law_fact){"mu", "", "exponent of N at these experts", m[1]};
  out[3] = (iso_law_fact){"n", "", "of L = m N^mu + n D^nu + c at these experts", exp(m[2])};
  out[4] = (iso_law_fact){"nu", "", "exponent of D at these experts", m[3]};
  out[5] = (iso_law_fact){"exponent_params", "", "a of N* ~ C^a at these experts, nu / (mu + nu)", m[3] / (m[1] + m[3])};
  return 6;
}

// One expert, so Hoffmann's closed form with alpha = -mu and beta = -nu.
static iso_status joint_optimum(const double *p, double flop, iso_law_point *out, iso_err *err) {
  double m[4];
  at_experts(p, 1, m);
  double al = -m[1], be = -m[3];
  if (!(flop > 0 && flop < INFINITY)) return iso_fail(err, ISO_EINVAL, "moe_joint optimum: budget of %g FLOP, expected a positive finite one", flop);
  if (!(al > 0 && be > 0))
    return iso_fail(err, ISO_EINVAL, "moe_joint optimum: mu = %g and nu = %g at one expert, both must be negative", m[1], m[3]);
  double log_g = (log(al) - log(be) + m[0] - m[2]) / (al + be), c = log(flop / ISO_LAW_FLOP_PER_PARAM_TOK);
  double x[JOINT_INPUTS] = {exp(log_g + c * be / (al + be)), exp(c * al / (al + be) - log_g), 1};
  *out = (iso_law_point){.flop = flop, .params = x[N], .tokens = x[D], .loss = joint_value(p, x, NULL)};
  return ISO_OK;
}

// Sizes have a closed form, the number of experts is searched for.
static double joint_inverse(const double *p, const double *x, int k, double y) {
  double m[4];
  if (k == E) return NAN;
  at_experts(p, x[E], m);
  double rest = y - exp(p[J_LOG_C]) - (k == N ? exp(m[2] + m[3] * log(x[D])) : exp(m[0] + m[1] * log(x[N])));
  if (!(rest > 0)) return NAN;
  return k == N ? exp((log(rest) - m[0]) / m[1]) : exp((log(rest) - m[2]) / m[3]);
}

// Oracle: table 4 of the paper (coefficients at 2 and 8 experts, to what the digits of the constants leave) and a
// row of its table 1.
static iso_status joint_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_moe_joint;
  static const double want[2][5] = {{2, 27.7982, -0.1780, 66.8401, -0.2065}, {8, 21.8330, -0.1676, 119.9126, -0.2338}};
  for (int i = 0; i < 2; i++) {
    double m[4];
    at_experts(JOINT_CONSTS[0].p, want[i][0], m);
    ISO_TRY(iso_law_near(l, exp(m[0]), want[i][1], 2e-3, "m of table 4", err));
    ISO_TRY(iso_law_near(l, m[1], want[i][2], 5e-4, "mu of table 4", err));
    ISO_TRY(iso_law_near(l, exp(m[2]), want[i][3], 2e-3, "n of table 4", err));
    ISO_TRY(iso_law_near(l, m[3], want[i][4], 5e-4, "nu of table 4", err));
  }
  iso_law_point o;
  ISO_TRY(joint_optimum(JOINT_CONSTS[0].p, 1e22, &o, err));
  ISO_TRY(iso_law_near(l, o.params, 18.8e9, 0.015, "N_act of table 1", err));
  return iso_law_near(l, o.tokens, 88.6e9, 0.015, "D of table 1", err);
}

const iso_law iso_law_moe_joint = {
    .base = {.name = "moe_joint",
             .summary = "mixture of experts: loss of active parameters, tokens and the number of experts",
             .paper = "Ludziejewski et al. 2025, Joint MoE scaling laws, arXiv:2502.05172",
             .selftest = joint_selftest},
    .formula = "L = a h^delta N^(alpha + gamma ln h) + b h^omega D^(beta + zeta ln h) + c, 1/h = 1/(E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = {"final_loss", "val_loss", "eval_loss", "l"},
    .counts = "N counts the parameters that a token uses, one expert of E; every token is seen once; loss of the training distribution",
    .flops = "C = 6 N D, N active",
    .n_inputs = JOINT_INPUTS,
    .n_params = JOINT_PARAMS,
    .n_consts = (int)ISO_COUNT(JOINT_CONSTS),
    .input = JOINT_INPUT,
    .param = JOINT_PARAM,
    .consts = JOINT_CONSTS,
    .at_params = N,
    .at_tokens = D,
    .objective = ISO_LAW_HUBER_LOG,
    .delta = 1e-3,
    .value = joint_value,
    .start = joint_start,
    .optimum = joint_optimum,
    .inverse = joint_inverse,
    .facts = joint_facts,
};

// ---- routed models at fixed data ------------------------------------------------------------------------------------

enum { ROUTED = 1, CLARK_INPUTS };
enum { C_A, C_B, C_C, C_D, C_LOG_START, C_LOG_MAX, CLARK_PARAMS };

static const iso_law_input CLARK_INPUT[CLARK_INPUTS] = {
    [N] = {"params", "", "parameters of the dense model that is routed", {"parameters", "n_params", "model_size", "n"}, NAN},
    [ROUTED] = {"experts", "", "experts of a routed layer, one of them active", {"n_experts", "num_experts", "e"}, NAN},
};
static const iso_law_param CLARK_PARAM[CLARK_PARAMS] = {
    {"a", "a", false, -0.15, -0.03}, {"b", "b", false, -0.3, -0.02},           {"c", "c", false, 0, 0.03},
    {"d", "d", false, 0.5, 1.5},     {"log_e_start", "E_start", true, 0.2, 2}, {"log_e_max", "E_max", true, 4, 7},
};
#define CURVES "refitted to the released curves of google-deepmind/scaling_laws_for_routing, one expert a token, every other layer routed"
#define TABLE_3 \
  "Clark et al. 2022, arXiv:2202.01169, table 3 by a secondary source; c has two digits, too few for the size where routing stops helping"
static const iso_law_const CLARK_CONSTS[] = {
    {"clark2022_sbase", true, {-0.0830, -0.1180, 0.00992, 1.1136, 0.729961153683, 5.475207533345}, {0}, {0}, "S-BASE, " CURVES, "clark2022_sbase"},
    {"clark2022_hash", true, {-0.0874, -0.1384, 0.01264, 1.1595, 1.451379607776, 6.05748634265}, {0}, {0}, "hash layers, " CURVES, "clark2022_hash"},
    {"clark2022_rlr_table", true, {-0.083, -0.126, 0.012, 1.111, 0.631271776842, 6.152694396098}, {0}, {0}, "RL-R, " TABLE_3, "clark2022_rlr"},
    {"clark2022_sbase_table", true, {-0.082, -0.108, 0.009, 1.104, 0.613562701217, 5.750914121388}, {0}, {0}, "S-BASE, " TABLE_3, "clark2022_sbase"},
    {"clark2022_hash_table",
     true,
     {-0.087, -0.136, 0.012, 1.157, 1.429114358303, 6.169068744639},
     {0},
     {0},
     "hash layers, " TABLE_3,
     "clark2022_hash"},
    {"clark2022_rlr", true, {-0.08273, -0.12342, 0.011233, 1.1070, 0.543428332310, 6.152839072025}, {0}, {0}, "RL-R, " CURVES, "clark2022_rlr"},
};

static double clark_value(const double *p, const double *x, double *g) {
  double by_start, by_max, h = iso_expert_log_count(x[ROUTED] - 1, p[C_LOG_START], p[C_LOG_MAX], &by_start, &by_max);
  double n = log10(x[N]), e = h / M_LN10, y = exp(M_LN10 * (p[C_A] * n + p[C_B] * e + p[C_C] * n * e + p[C_D]));
  if (!(h == h)) return NAN;
  if (g) {
    double by_h = y * (p[C_B] + p[C_C] * n);
    g[C_A] = y * M_LN10 * n;
    g[C_B] = y * h;
    g[C_C] = y * h * n;
    g[C_D] = y * M_LN10;
    g[C_LOG_START] = by_h * by_start;
    g[C_LOG_MAX] = by_h * by_max;
  }
  return y;
}

static double clark_inverse(const double *p, const double *x, int k, double y) {
  double s, t, h = iso_expert_log_count(x[ROUTED] - 1, p[C_LOG_START], p[C_LOG_MAX], &s, &t) / M_LN10, n = log10(x[N]), v = log10(y) - p[C_D];
  if (k == N) return pow(10, (v - p[C_B] * h) / (p[C_A] + p[C_C] * h));
  return 1 + iso_expert_count_inverse(pow(10, (v - p[C_A] * n) / (p[C_B] + p[C_C] * n)), p[C_LOG_START], p[C_LOG_MAX]);
}

// Equations 6 to 9: the size where routing stops helping, and the dense model of the same loss.
static int clark_facts(const double *p, const double *x, iso_law_fact *out) {
  double s, t, e = iso_expert_log_count(x[ROUTED] - 1, p[C_LOG_START], p[C_LOG_MAX], &s, &t) / M_LN10, e0 = p[C_LOG_START] / M_LN10, n = log10(x[N]);
  out[0] = (iso_law_fact){"cutoff_params", "", "size beyond which routing does not help, 10^(-b / c)", pow(10, -p[C_B] / p[C_C])};
  out[1] = (iso_law_fact){"effective_experts", "", "the saturating count of experts", pow(10, e)};
  out[2] = (iso_law_fact){"effective_params", "", "dense parameters of the same loss",
                          pow(10, (p[C_A] * n + p[C_B] * (e - e0) + p[C_C] * n * e) / (p[C_A] + p[C_C] * e0))};
  return 3;
}

// Oracle: losses that the printed tables give for 370M parameters and 64 experts, and the size 10^(-b/c) beyond which routing does not help
// by the refits.
static iso_status clark_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_moe_routing;
  static const double x[CLARK_INPUTS] = {370e6, 64}, want[3] = {2.2863, 2.2282, 2.2533}, cutoff[2] = {783e9, 89e9};
  for (int i = 0; i < 3; i++) ISO_TRY(iso_law_near(l, clark_value(CLARK_CONSTS[2 + i].p, x, NULL), want[i], 3e-5, "L(370M, 64 experts)", err));
  for (int i = 0; i < 2; i++)
    ISO_TRY(iso_law_near(l, pow(10, -CLARK_CONSTS[i].p[C_B] / CLARK_CONSTS[i].p[C_C]), cutoff[i], 0.02, "size where routing stops helping", err));
  return ISO_OK;
}

const iso_law iso_law_moe_routing = {
    .base = {.name = "moe_routing",
             .summary = "mixture of experts at fixed data: log L bilinear in log N and the log of a saturating number of experts",
             .paper = "Clark et al. 2022, Unified scaling laws for routed language models, arXiv:2202.01169",
             .selftest = clark_selftest},
    .formula = "log10 L = a log10 N + b log10 h + c log10 N log10 h + d, 1/h = 1/(E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = {"final_loss", "val_loss", "eval_loss", "l"},
    .counts = "N counts the dense model that is routed, not its experts; all runs see the same number of tokens; validation loss",
    .n_inputs = CLARK_INPUTS,
    .n_params = CLARK_PARAMS,
    .n_consts = (int)ISO_COUNT(CLARK_CONSTS),
    .input = CLARK_INPUT,
    .param = CLARK_PARAM,
    .consts = CLARK_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = clark_value,
    .inverse = clark_inverse,
    .facts = clark_facts,
};
