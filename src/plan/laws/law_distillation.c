// Distillation scaling laws (Busbridge et al. 2025): a student's loss without a teacher, and with one of a given loss.
#include <math.h>

#include "plan/law.h"

enum { N, D, TEACHER, ALONE, INPUTS };

static const iso_law_input INPUT[INPUTS] = {
    [N] = {"params", "", "parameters of the student", {"student_params", "parameters", "n_params", "n"}, NAN},
    [D] = {"tokens", "tok", "tokens that the student is trained on", {"student_tokens", "train_tokens", "n_tokens", "d"}, NAN},
    [TEACHER] = {"teacher_loss", "nat/tok", "loss of the teacher", {"l_t"}, NAN},
    [ALONE] =
        {"supervised_loss", "nat/tok", "loss of the same student trained on the same tokens without a teacher", {"student_supervised_loss"}, NAN},
};

// ---- without a teacher ----------------------------------------------------------------------------------------------

enum { S_LOG_E, S_LOG_A, S_ALPHA, S_LOG_B, S_BETA, S_GAMMA, ALONE_PARAMS };
static const iso_law_param ALONE_PARAM[ALONE_PARAMS] = {
    {"log_e", "E", true, 0.05, 1}, {"log_a", "A", true, 0.02, 1},   {"alpha", "alpha", false, 0.1, 1},
    {"log_b", "B", true, 0.02, 1}, {"beta", "beta", false, 0.1, 1}, {"gamma", "gamma", false, 0.2, 1.2},
};
static const iso_law_const ALONE_CONSTS[] = {
    {"busbridge2025",
     true,
     {0.198850858745, 8.118207049406, 0.408, 9.808407346286, 0.431, 0.452},
     {0},
     {0},
     "Busbridge et al. 2025, arXiv:2502.08606, supervised law by a secondary source; C4",
     "busbridge2025"},
};

// The power of the sum of two powers, (A / N^alpha + B / D^beta)^gamma, and its derivatives from g[0] on in the order A, alpha, B, beta, gamma.
static double mixed(const double *p, double n, double d, double *g) {
  double a = exp(p[0] - p[1] * n), b = exp(p[2] - p[3] * d), q = a + b, y = exp(p[4] * log(q));
  if (g) {
    double by_q = p[4] * y / q;
    g[0] = by_q * a;
    g[1] = -by_q * a * n;
    g[2] = by_q * b;
    g[3] = -by_q * b * d;
    g[4] = y * log(q);
  }
  return y;
}

// N (k = 0) or D at which `mixed` is y.
static double mixed_inverse(const double *p, double n, double d, int k, double y) {
  double rest = exp(log(y) / p[4]) - (k == N ? exp(p[2] - p[3] * d) : exp(p[0] - p[1] * n));
  if (!(y > 0 && rest > 0)) return NAN;
  return k == N ? exp((p[0] - log(rest)) / p[1]) : exp((p[2] - log(rest)) / p[3]);
}

static double alone_value(const double *p, const double *x, double *g) {
  double e = exp(p[S_LOG_E]);
  if (g) g[S_LOG_E] = e;
  return e + mixed(p + S_LOG_A, log(x[N]), log(x[D]), g ? g + S_LOG_A : NULL);
}

static void alone_start(const iso_law_means *m, const double *u, double *p) {
  for (int k = 0; k < ALONE_PARAMS; k++) p[k] = ALONE_PARAM[k].lo + u[k] * (ALONE_PARAM[k].hi - ALONE_PARAM[k].lo);
  p[S_LOG_E] = iso_law_start_term(m, N, 0, u[S_LOG_E], 0.05, 1);
  p[S_LOG_A] = (iso_law_start_term(m, N, 0, u[S_LOG_A], 0.02, 1)) / p[S_GAMMA] + p[S_ALPHA] * m->log_x[N];
  p[S_LOG_B] = (iso_law_start_term(m, D, 0, u[S_LOG_B], 0.02, 1)) / p[S_GAMMA] + p[S_BETA] * m->log_x[D];
}

// A rising function of Hoffmann's sum, so his optimum.
static iso_status alone_optimum(const double *p, double flop, iso_law_point *out, iso_err *err) {
  double al = p[S_ALPHA], be = p[S_BETA];
  if (!(flop > 0 && flop < INFINITY))
    return iso_fail(err, ISO_EINVAL, "distillation_supervised optimum: budget of %g FLOP, expected a positive finite one", flop);
  if (!(al > 0 && be > 0 && p[S_GAMMA] > 0))
    return iso_fail(err, ISO_EINVAL, "distillation_supervised optimum: alpha = %g, beta = %g, gamma = %g, all must be positive", al, be, p[S_GAMMA]);
  double log_g = (log(al) - log(be) + p[S_LOG_A] - p[S_LOG_B]) / (al + be), c = log(flop / ISO_LAW_FLOP_PER_PARAM_TOK);
  double x[2] = {exp(log_g + c * be / (al + be)), exp(c * al / (al + be) - log_g)};
  *out = (iso_law_point){.flop = flop, .params = x[N], .tokens = x[D], .loss = alone_value(p, x, NULL)};
  return ISO_OK;
}

static double alone_inverse(const double *p, const double *x, int k, double y) {
  return mixed_inverse(p + S_LOG_A, log(x[N]), log(x[D]), k, y - exp(p[S_LOG_E]));
}

// Oracle: losses that the printed law gives.
static iso_status alone_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_distillation_supervised;
  static const double small[2] = {1e9, 20e9}, big[2] = {7e9, 140e9};
  ISO_TRY(iso_law_near(l, alone_value(ALONE_CONSTS[0].p, small, NULL), 2.37469, 3e-6, "L(1e9, 20e9)", err));
  return iso_law_near(l, alone_value(ALONE_CONSTS[0].p, big, NULL), 2.01881, 3e-6, "L(7e9, 140e9)", err);
}

const iso_law iso_law_distillation_supervised = {
    .base = {.name = "distillation_supervised",
             .summary = "loss without a teacher = E + (A / N^alpha + B / D^beta)^gamma",
             .paper = "Busbridge et al. 2025, Distillation scaling laws, arXiv:2502.08606",
             .selftest = alone_selftest},
    .formula = "L = E + (A / N^alpha + B / D^beta)^gamma",
    .target = "loss",
    .unit = "nats per token",
    .target_alias = {"supervised_loss", "final_loss", "val_loss", "eval_loss", "l"},
    .counts = "teachers and students alike; every token is seen once; loss of the training distribution",
    .flops = "C = 6 N D",
    .n_inputs = 2,
    .n_params = ALONE_PARAMS,
    .n_consts = (int)ISO_COUNT(ALONE_CONSTS),
    .input = INPUT,
    .param = ALONE_PARAM,
    .consts = ALONE_CONSTS,
    .at_params = N,
    .at_tokens = D,
    .objective = ISO_LAW_HUBER_LOG,
    .delta = 1e-3,
    .value = alone_value,
    .start = alone_start,
    .optimum = alone_optimum,
    .inverse = alone_inverse,
};

// ---- with a teacher -------------------------------------------------------------------------------------------------

enum { T_LOG_A, T_ALPHA, T_LOG_B, T_BETA, T_GAMMA, T_C0, T_LOG_C1, T_LOG_F1, T_LOG_D1, TAUGHT_PARAMS };
static const iso_law_param TAUGHT_PARAM[TAUGHT_PARAMS] = {
    {"log_a", "A'", true, 0.05, 1},   {"alpha", "alpha'", false, 0.1, 0.8}, {"log_b", "B'", true, 0.01, 1},
    {"beta", "beta'", false, 0.2, 1}, {"gamma", "gamma'", false, 0.2, 1.2}, {"c0", "c0", false, 0, 4},
    {"log_c1", "c1", true, 1, 8},     {"log_f1", "f1", true, -3.5, 0},      {"log_d1", "d1", true, -0.3, 0.6},
};
static const iso_law_const TAUGHT_CONSTS[] = {
    {"busbridge2025",
     false,
     {7.71556953452, 0.321, 10.0933224798, 0.637, 0.764, 2.549, 6.25881635309, -2.40794560865, 0.27383666563},
     {0},
     {0},
     "Busbridge et al. 2025, arXiv:2502.08606, not read in the paper",
     NULL},
};

static double taught_value(const double *p, const double *x, double *g) {
  double t = log(x[TEACHER]), f = exp(p[T_LOG_F1]), c = exp(p[T_LOG_C1]), z = (t - log(x[ALONE]) - p[T_LOG_D1]) / f;
  // log(1 + e^z) and its slope, both safe for z of any size.
  double soft = z > 0 ? z + log1p(exp(-z)) : log1p(exp(z)), slope = 1 / (1 + exp(-z));
  double from_teacher = exp(-p[T_C0] * t - c * f * soft), y = from_teacher * mixed(p + T_LOG_A, log(x[N]), log(x[D]), g ? g + T_LOG_A : NULL);
  if (g) {
    for (int k = T_LOG_A; k <= T_GAMMA; k++) g[k] *= from_teacher;
    g[T_C0] = -y * t;
    g[T_LOG_C1] = -y * c * f * soft;
    g[T_LOG_F1] = -y * c * f * (soft - z * slope);
    g[T_LOG_D1] = y * c * slope;
  }
  return x[TEACHER] + y;
}

static void taught_start(const iso_law_means *m, const double *u, double *p) {
  for (int k = 0; k < TAUGHT_PARAMS; k++) p[k] = TAUGHT_PARAM[k].lo + u[k] * (TAUGHT_PARAM[k].hi - TAUGHT_PARAM[k].lo);
  // The teacher's factor is e^-h for a typical run; its sum of powers then makes a share of the mean loss.
  double z = (m->log_x[TEACHER] - m->log_x[ALONE] - p[T_LOG_D1]) / exp(p[T_LOG_F1]), soft = z > 0 ? z + log1p(exp(-z)) : log1p(exp(z));
  double h = p[T_C0] * m->log_x[TEACHER] + exp(p[T_LOG_C1] + p[T_LOG_F1]) * soft;
  p[T_LOG_A] = (iso_law_start_term(m, N, 0, u[T_LOG_A], 0.02, 1) + h) / p[T_GAMMA] + p[T_ALPHA] * m->log_x[N];
  p[T_LOG_B] = (iso_law_start_term(m, D, 0, u[T_LOG_B], 0.005, 1) + h) / p[T_GAMMA] + p[T_BETA] * m->log_x[D];
}

// Sizes of the student have a closed form; losses are searched for.
static double taught_inverse(const double *p, const double *x, int k, double y) {
  if (k != N && k != D) return NAN;
  double z = (log(x[TEACHER]) - log(x[ALONE]) - p[T_LOG_D1]) / exp(p[T_LOG_F1]), soft = z > 0 ? z + log1p(exp(-z)) : log1p(exp(z));
  double h = p[T_C0] * log(x[TEACHER]) + exp(p[T_LOG_C1] + p[T_LOG_F1]) * soft;
  return mixed_inverse(p + T_LOG_A, log(x[N]), log(x[D]), k, (y - x[TEACHER]) * exp(h));
}

// Oracle: the formula in its printed order of powers, and its limit: with c1 = 0 the teacher's loss enters only as L_T + L_T^-c0 (...).
static iso_status taught_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_distillation;
  static const double x[INPUTS] = {1e9, 2e10, 2.1, 2.37};
  double p[TAUGHT_PARAMS], sum = 2243 / pow(1e9, 0.321) + 24181 / pow(2e10, 0.637), size = pow(sum, 0.764);
  double gap = pow(1 + pow(2.1 / (2.37 * 1.315), 1 / 0.09), -522.6 * 0.09);
  for (int k = 0; k < TAUGHT_PARAMS; k++) p[k] = TAUGHT_CONSTS[0].p[k];
  ISO_TRY(iso_law_near(l, taught_value(p, x, NULL), 2.1 + pow(2.1, -2.549) * gap * size, 1e-9, "student's loss", err));
  p[T_LOG_C1] = -INFINITY;
  return iso_law_near(l, taught_value(p, x, NULL), 2.1 + pow(2.1, -2.549) * size, 1e-9, "student's loss without the second factor", err);
}

const iso_law iso_law_distillation = {
    .base = {.name = "distillation",
             .summary = "loss of a student by its size, tokens, and the losses of its teacher and of itself without one",
             .paper = "Busbridge et al. 2025, Distillation scaling laws, arXiv:2502.08606",
             .selftest = taught_selftest},
    .formula = "L = L_T + L_T^-c0 (1 + (L_T / (L_S d1))^(1/f1))^(-c1 f1) (A' / N^alpha' + B' / D^beta')^gamma'",
    .target = "student_loss",
    .unit = "nats per token",
    .target_alias = {"loss", "distilled_loss", "val_loss", "eval_loss"},
    .counts = "N and D are the student's; L_S is what distillation_supervised says of it; both losses on the training distribution",
    .n_inputs = INPUTS,
    .n_params = TAUGHT_PARAMS,
    .n_consts = (int)ISO_COUNT(TAUGHT_CONSTS),
    .input = INPUT,
    .param = TAUGHT_PARAM,
    .consts = TAUGHT_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_HUBER_LOG,
    .delta = 1e-3,
    .value = taught_value,
    .start = taught_start,
    .inverse = taught_inverse,
};
