// Tao et al. 2024: the vocabulary that suits a model, by IsoFLOP power laws, by the derivative rule and by a loss law; tokens a character.
#include <math.h>

#include "plan/law.h"

#define PAPER "Tao et al. 2024, Scaling laws with vocabulary: larger models deserve larger vocabularies, arXiv:2407.13623"
#define CODE "sail-sg/scaling-with-vocab optimal_Nv_predict.py"
#define VOCAB_ALIAS \
  { "vocab_size", "vocabulary", "v" }
#define WIDTH_ALIAS \
  { "embed_dim", "d_model", "hidden_size" }
#define NNV_ALIAS \
  { "non_vocab_parameters", "non_vocab_params", "nnv" }
#define NNV_WHAT "parameters without those of the vocabulary"
// The sweep's models: 33M to 1.13B parameters outside the vocabulary, widths 512 to 2,048, vocabularies of 4,096 to 96,256.
#define NNV_LO 3.3e7
#define NNV_HI 1.13e9

// ---- loss: approach 3 -----------------------------------------------------------------------------------------------

enum { N, V, W, D, INPUTS };
enum { P_LOG_A1, P_LOG_A2, P_LOG_B, P_LOG_E, P_ALPHA1, P_ALPHA2, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [N] = {"params", "", NNV_WHAT, NNV_ALIAS, NAN},
    [V] = {"vocab", "", "entries of the vocabulary", VOCAB_ALIAS, NAN},
    [W] = {"width", "", "width of the embedding", WIDTH_ALIAS, NAN},
    [D] = {"tokens", "tok", "training tokens; characters times vocab_fertility", {"train_tokens", "training_tokens", "n_tokens"}, NAN},
};
static const iso_law_param PARAM[P_COUNT] = {{"log_a1", "A1", true, 0, 0}, {"log_a2", "A2", true, 0, 0},      {"log_b", "B", true, 0, 0},
                                             {"log_e", "E", true, 0, 0},   {"alpha1", "alpha1", false, 0, 0}, {"alpha2", "alpha2", false, 0, 0}};
static const iso_law_const CONSTS[] = {
    {"tao2024",
     true,
     {0.60507259635964727, -1.6304451065977887, 0.75335397957423378, 1.7106912476217371, 0.44660634152009615, 0.6707374679896795},
     {NNV_LO, 4096, 512, 2.6e8},
     {NNV_HI, 96256, 2048, 5.5e10},
     CODE ", approach 3: A1 = 1.8313852, A2 = .1958424, B = 2.1241123, E = 5.5327847, beta = alpha1. "
          "Best V is the paper's; losses come out 0.46 nats high on its own runs, whose tokens its fit counts as characters times f(V / 1000)",
     "tao2024"},
};

// Inputs in the units of the published constants: millions of parameters, billions of tokens.
static void scaled(const double *x, double *n, double *v, double *d) {
  *n = log(x[N] / 1e6);
  *v = log(x[V] * x[W] / 1e6);
  *d = log(x[D] / 1e9);
}

static double value(const double *p, const double *x, double *g) {
  double n, v, d;
  scaled(x, &n, &v, &d);
  double a1 = exp(p[P_LOG_A1] - p[P_ALPHA1] * n), a2 = exp(p[P_LOG_A2] - p[P_ALPHA2] * v), b = exp(p[P_LOG_B] - p[P_ALPHA1] * d);
  double e = exp(p[P_LOG_E]);
  if (g) {
    g[P_LOG_A1] = a1;
    g[P_LOG_A2] = a2;
    g[P_LOG_B] = b;
    g[P_LOG_E] = -e;
    g[P_ALPHA1] = -a1 * n - b * d;
    g[P_ALPHA2] = -a2 * v;
  }
  return a1 + a2 + b - e;
}

static void start(const iso_law_means *m, const double *u, double *p) {
  p[P_ALPHA1] = 0.1 + 0.8 * u[P_ALPHA1];
  p[P_ALPHA2] = 0.1 + 1.2 * u[P_ALPHA2];
  p[P_LOG_A1] = iso_law_start_term(m, N, p[P_ALPHA1], u[P_LOG_A1], 0.01, 1) - p[P_ALPHA1] * log(1e6);
  p[P_LOG_A2] = iso_law_start_term(m, V, p[P_ALPHA2], u[P_LOG_A2], 0.003, 0.3) + p[P_ALPHA2] * (m->log_x[W] - log(1e6));
  p[P_LOG_B] = iso_law_start_term(m, D, p[P_ALPHA1], u[P_LOG_B], 0.02, 2) - p[P_ALPHA1] * log(1e9);
  p[P_LOG_E] = iso_law_start_term(m, N, 0, u[P_LOG_E], 0.7, 4);
}

static double flop_per_tok(const double *x) { return ISO_LAW_FLOP_PER_PARAM_TOK * (x[N] + x[V] * x[W]); }

static double inverse(const double *p, const double *x, int k, double y) {
  double at[INPUTS] = {x[N], x[V], x[W], x[D]}, n, v, d;
  at[k] = 1;
  scaled(at, &n, &v, &d);
  double a1 = k == N ? 0 : exp(p[P_LOG_A1] - p[P_ALPHA1] * n), a2 = k == V || k == W ? 0 : exp(p[P_LOG_A2] - p[P_ALPHA2] * v);
  double b = k == D ? 0 : exp(p[P_LOG_B] - p[P_ALPHA1] * d), rest = y + exp(p[P_LOG_E]) - a1 - a2 - b;
  if (!(rest > 0)) return NAN;
  if (k == N) return 1e6 * exp((p[P_LOG_A1] - log(rest)) / p[P_ALPHA1]);
  if (k == D) return 1e9 * exp((p[P_LOG_B] - log(rest)) / p[P_ALPHA1]);
  return 1e6 * exp((p[P_LOG_A2] - log(rest)) / p[P_ALPHA2]) / x[k == V ? W : V];
}

// Training-optimal FLOPs of a size: N = exp(-2.4846510161625193) C^0.5.
static double flop_of(double params) { return pow(params / exp(-2.4846510161625193), 2); }

// Oracle: the vocabularies that the authors' program prints (rounded down), found here by search at fixed size and FLOPs.
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double TABLE[4][3] = {{2.87e9, 3200, 35271}, {7e9, 4096, 59547}, {30e9, 6048, 141898}, {70e9, 8192, 217961}};
  for (int i = 0; i < 4; i++) {
    double x[INPUTS] = {TABLE[i][0], NAN, TABLE[i][1], NAN}, best;
    iso_law_point pt;
    ISO_TRY(iso_law_optimum_over(&iso_law_vocab, CONSTS[0].p, x, flop_of(x[N]), x[N], V, 1e3, 1e7, &best, &pt, err));
    ISO_TRY(iso_law_near(&iso_law_vocab, best, TABLE[i][2], 4e-5, "best vocabulary", err));
  }
  return ISO_OK;
}

const iso_law iso_law_vocab = {
    .base = {.name = "vocab", .summary = "loss = -E + A1 / N^alpha1 + A2 / (V d)^alpha2 + B / D^alpha1", .paper = PAPER, .selftest = selftest},
    .formula = "L = -E + A1 / (N / 1e6)^alpha1 + A2 / (V d / 1e6)^alpha2 + B / (D / 1e9)^alpha1",
    .target = "loss",
    .unit = "nats per token, less those of the token's frequency",
    .target_alias = {"lossu", "loss_u", "unigram_normalized_loss"},
    .counts = "N leaves out the vocabulary, V d counts it once; loss is -log(p / frequency) on SlimPajama, so that vocabularies compare",
    .flops = "C = 6 (N + V d) D",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .n_consts = (int)ISO_COUNT(CONSTS),
    .input = INPUT,
    .param = PARAM,
    .consts = CONSTS,
    .at_params = N,
    .at_tokens = D,
    .objective = ISO_LAW_HUBER,
    .delta = 1e-3,
    .value = value,
    .flop_per_tok = flop_per_tok,
    .start = start,
    .inverse = inverse,
};

// ---- size by size: approaches 1 and 2 -------------------------------------------------------------------------------

enum { S_N, S_W, S_INPUTS };
enum { S_LOG_K, S_GAMMA, S_PARAMS };

static const iso_law_input S_INPUT[S_INPUTS] = {{"params", "", NNV_WHAT, NNV_ALIAS, NAN}, {"width", "", "width of the embedding", WIDTH_ALIAS, NAN}};
static const iso_law_param S_PARAM[S_PARAMS] = {{"log_k", "k", true, 0, 0}, {"gamma", "gamma", false, 0, 0}};
// Approach 1 in N: V d = exp(-1.589031299255507) C^0.4163622634135234 with N = exp(-2.4846510161625193) C^0.5.
static const iso_law_const S_CONSTS[] = {
    {"tao2024_isoflop",
     true,
     {-1.589031299255507 + 2.4846510161625193 * 0.4163622634135234 / 0.5, 0.4163622634135234 / 0.5},
     {NNV_LO},
     {NNV_HI},
     CODE ", approach 1: the best of V d and of N at each budget, joined",
     "tao2024"},
    {"tao2024_derivative",
     true,
     {0.49914091315485543, 0.8353974035228025},
     {NNV_LO},
     {NNV_HI},
     CODE ", approach 2: V d = 3145728 at 33e6, and how the vocabulary of least FLOPs a character grows",
     NULL},
};

static double size_value(const double *p, const double *x, double *g) {
  double n = log(x[S_N]), v = exp(p[S_LOG_K] + p[S_GAMMA] * n) / x[S_W];
  if (g) {
    g[S_LOG_K] = v;
    g[S_GAMMA] = v * n;
  }
  return v;
}

static void size_start(const iso_law_means *m, const double *u, double *p) {
  p[S_GAMMA] = 0.2 + u[S_GAMMA];
  p[S_LOG_K] = log(m->y) + m->log_x[S_W] - p[S_GAMMA] * m->log_x[S_N] + 2 * u[S_LOG_K] - 1;
}

static double size_inverse(const double *p, const double *x, int k, double y) {
  if (!(y > 0)) return NAN;
  if (k == S_N) return exp((log(y * x[S_W]) - p[S_LOG_K]) / p[S_GAMMA]);
  return exp(p[S_LOG_K] + p[S_GAMMA] * log(x[S_N])) / y;
}

// Oracle: the authors' table, whose program cuts V off after the point.
static iso_status size_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double TABLE[4][4] = {
      {2.87e9, 3200, 37942, 40993}, {7e9, 4096, 62280, 67450}, {30e9, 6048, 141711, 154071}, {70e9, 8192, 211860, 230861}};
  for (int i = 0; i < 4; i++)
    for (int k = 0; k < 2; k++) {
      double v = size_value(S_CONSTS[k].p, TABLE[i], NULL);
      ISO_TRY(iso_law_near(&iso_law_vocab_size, floor(v), TABLE[i][2 + k], 0, k ? "V by derivative" : "V by IsoFLOP", err));
    }
  return ISO_OK;
}

const iso_law iso_law_vocab_size = {
    .base = {.name = "vocab_size",
             .summary = "best vocabulary = k N^gamma / d, trained compute-optimally",
             .paper = PAPER,
             .selftest = size_selftest},
    .formula = "V = k N^gamma / d",
    .target = "vocab",
    .unit = "entries",
    .target_alias = VOCAB_ALIAS,
    .counts = "N leaves out the vocabulary, whose V d parameters count once; tokens in step with N, for other amounts ask law vocab",
    .flops = "C = (N / 0.0833546)^2, C = 6 (N + V d) D",
    .n_inputs = S_INPUTS,
    .n_params = S_PARAMS,
    .n_consts = (int)ISO_COUNT(S_CONSTS),
    .input = S_INPUT,
    .param = S_PARAM,
    .consts = S_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = size_value,
    .start = size_start,
    .inverse = size_inverse,
};

// ---- parameters of the vocabulary by FLOPs: approach 1 --------------------------------------------------------------

static const iso_law_input F_INPUT[1] = {{"train_flop", "FLOP", "training compute 6 (N + V d) D", {"train_flops", "flops", "compute", "c"}, NAN}};
static const iso_law_param F_PARAM[S_PARAMS] = {{"log_k", "k", true, 0, 0}, {"gamma", "gamma", false, 0, 0}};
static const iso_law_const F_CONSTS[] = {
    {"tao2024", true, {-1.589031299255507, 0.4163622634135234}, {2.18e17}, {4.4e20}, CODE ", approach 1: 0.2041233 C^0.4164", "tao2024"}};

static double flop_value(const double *p, const double *x, double *g) {
  double u = log(x[0]), v = exp(p[S_LOG_K] + p[S_GAMMA] * u);
  if (g) {
    g[S_LOG_K] = v;
    g[S_GAMMA] = v * u;
  }
  return v;
}

static void flop_start(const iso_law_means *m, const double *u, double *p) {
  p[S_GAMMA] = u[S_GAMMA];
  p[S_LOG_K] = log(m->y) - p[S_GAMMA] * m->log_x[0] + 2 * u[S_LOG_K] - 1;
}

static double flop_inverse(const double *p, const double *x, int k, double y) {
  (void)x;
  (void)k;
  return y > 0 ? exp((log(y) - p[S_LOG_K]) / p[S_GAMMA]) : NAN;
}

// Oracle: the table of sizes again, by way of the FLOPs that suit each.
static iso_status flop_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double TABLE[4][3] = {{2.87e9, 3200, 37942}, {7e9, 4096, 62280}, {30e9, 6048, 141711}, {70e9, 8192, 211860}};
  for (int i = 0; i < 4; i++) {
    double f = flop_of(TABLE[i][0]), v = flop_value(F_CONSTS[0].p, &f, NULL) / TABLE[i][1];
    ISO_TRY(iso_law_near(&iso_law_vocab_params, floor(v), TABLE[i][2], 0, "V by FLOPs", err));
  }
  return ISO_OK;
}

const iso_law iso_law_vocab_params = {
    .base = {.name = "vocab_params", .summary = "best parameters of the vocabulary = k C^gamma", .paper = PAPER, .selftest = flop_selftest},
    .formula = "V d = k C^gamma",
    .target = "vocab_params",
    .unit = "parameters",
    .target_alias = {"nv", "vocab_parameters"},
    .counts = "V d counts the vocabulary once; size and tokens at their best for C",
    .flops = "C = 6 (N + V d) D",
    .n_inputs = 1,
    .n_params = S_PARAMS,
    .n_consts = (int)ISO_COUNT(F_CONSTS),
    .input = F_INPUT,
    .param = F_PARAM,
    .consts = F_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = flop_value,
    .start = flop_start,
    .inverse = flop_inverse,
};

// ---- tokens a character ---------------------------------------------------------------------------------------------

enum { T_A, T_B, T_C, T_PARAMS };
#define V_FLAT 200000.0  // beyond it the authors take f as constant

static const iso_law_input T_INPUT[1] = {{"vocab", "", "entries of the vocabulary", VOCAB_ALIAS, NAN}};
static const iso_law_param T_PARAM[T_PARAMS] = {{"a", "a", false, 0, 0.02}, {"b", "b", false, -0.4, 0}, {"c", "c", false, 0.5, 2}};
static const iso_law_const T_CONSTS[] = {
    {"tao2024", true, {0.00639222, -0.15811069, 1.20470122}, {0}, {V_FLAT}, "sail-sg/scaling-with-vocab utils.py; BPE on SlimPajama", NULL}};

static double fertility(const double *p, const double *x, double *g) {
  double u = log(fmin(x[0], V_FLAT));
  if (g) {
    g[T_A] = u * u;
    g[T_B] = u;
    g[T_C] = 1;
  }
  return (p[T_A] * u + p[T_B]) * u + p[T_C];
}

// Oracle: the first run of the sweep, 180,820,540.85 characters in 6e7 tokens of a vocabulary of 4,096.
static iso_status fertility_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const double v = 4096;
  return iso_law_near(&iso_law_vocab_fertility, fertility(T_CONSTS[0].p, &v, NULL), 6e7 / 180820540.85207617, 1e-9, "f(4096)", err);
}

const iso_law iso_law_vocab_fertility = {
    .base = {.name = "vocab_fertility", .summary = "tokens a character = a ln(V)^2 + b ln(V) + c", .paper = PAPER, .selftest = fertility_selftest},
    .formula = "f = a ln(V)^2 + b ln(V) + c, V at most 200,000",
    .target = "tokens_per_char",
    .unit = "tokens per character",
    .target_alias = {"fertility", "f"},
    .counts = "characters of the training text; tokens of a BPE vocabulary learned on it",
    .n_inputs = 1,
    .n_params = T_PARAMS,
    .n_consts = (int)ISO_COUNT(T_CONSTS),
    .input = T_INPUT,
    .param = T_PARAM,
    .consts = T_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE,
    .value = fertility,
};
