// N* = k C^a and D* = k C^b: how published studies split a compute budget between parameters and tokens.
#include <math.h>

#include "plan/law.h"

enum { C, INPUTS };
enum { P_LOG_K, P_EXPONENT, P_COUNT };

static const iso_law_input INPUT[INPUTS] = {
    [C] = {"train_flop",
           "FLOP",
           "training compute, as the set counts it",
           {"train_flops", "training_flop", "training_flops", "flops", "flop", "compute", "c"},
           NAN},
};
static const iso_law_param PARAM[P_COUNT] = {{"log_k", "k", true, 0.5, 2}, {"exponent", "a", false, 0.1, 1}};

// Hoffmann et al. print exponents to two digits and project sizes in Tables 3 and A3. The sets below are the least squares lines of
// log N and log D on log C through those points; the printed exponents are their roundings.
#define ISOFLOP_RANGE \
  {6e18}, { 3e21 }
#define PORIAN_RANGE \
  {1.25e16}, { 2.56e19 }
#define NANOCHAT_RANGE \
  {1e18}, { 1e19 }
#define NANOCHAT "karpathy/nanochat dev/LOG.md, its own runs, parameters of all matrices but the embeddings: "
#define PORIAN "Porian et al. 2024, arXiv:2406.19146, released results for RefinedWeb: "
#define PORIAN_OWT2 "Porian et al. 2024, arXiv:2406.19146, released results for OpenWebText2: "
static const iso_law_const PARAMS_SETS[] = {
    {"chinchilla1",
     true,
     {-2.311031, 0.498099},
     {0},
     {0},
     "Hoffmann et al. 2022, arXiv:2203.15556, approach 1 (envelope of training curves): line through Table 3, off by at most 1.3%; printed "
     "exponent 0.50, 10th to 90th percentile 0.488 to 0.502; FLOPs and parameters with embeddings",
     "hoffmann2022_curves"},
    {"chinchilla2",
     true,
     {-1.931870, 0.489942},
     ISOFLOP_RANGE,
     "the same paper, approach 2 (IsoFLOP parabolas, nine budgets): line through Table A3, off by at most 3.3%; printed exponent 0.49 (0.462 to "
     "0.534)",
     "hoffmann2022_isoflop"},
    {"kaplan2020",
     true,
     {-12.525399023869163, 0.73},
     {0},
     {0},
     "Kaplan et al. 2020, arXiv:2001.08361: N = 1.3e9 C^0.73, C in PF-days of 8.64e19 FLOP, as quoted in secondary notes; parameters without "
     "embeddings, compute at the critical batch",
     "kaplan2020"},
    {"porian_kaplan",
     true,
     {-16.978006, 0.8353},
     PORIAN_RANGE,
     PORIAN "Kaplan's protocol, 0.8353 (0.8235 to 0.8460); head not counted, long warmup",
     "porian2024_kaplan"},
    {"porian_head", true, {-11.273909, 0.7065}, PORIAN_RANGE, PORIAN "the last layer counted, 0.7065 (0.6915 to 0.7169)", "porian2024_head"},
    {"porian_warmup", true, {-6.550081, 0.6020}, PORIAN_RANGE, PORIAN "and warmup scaled to the run, 0.6020 (0.5914 to 0.6173)", "porian2024_warmup"},
    {"porian_cosine",
     true,
     {-5.345409, 0.5715},
     PORIAN_RANGE,
     PORIAN "and cosine decay to the budget, 0.5715 (0.5598 to 0.5885)",
     "porian2024_cosine"},
    {"porian_tuned",
     true,
     {-2.129220, 0.4969},
     PORIAN_RANGE,
     PORIAN "learning rate, batch and beta2 tuned at a constant rate, 0.4969 (0.4907 to 0.5045); all parameters",
     "porian2024_tuned"},
    {"nanochat",
     true,
     {-3.862756, 0.54},
     NANOCHAT_RANGE,
     NANOCHAT "printed exponent through the middle of its four budgets, off by at most 5%",
     "nanochat_isoflop"},
    {"porian_head_attention",
     true,
     {-11.661808, 0.71706},
     PORIAN_RANGE,
     PORIAN "porian_head with attention's FLOPs counted too, 0.7171 (0.7029 to 0.7273)",
     "porian2024_head_attention"},
    {"porian_warmup_attention",
     true,
     {-7.308546, 0.62225},
     PORIAN_RANGE,
     PORIAN "porian_warmup with attention's FLOPs counted too, 0.6223 (0.6072 to 0.6320)",
     "porian2024_warmup_attention"},
    {"porian_cosine_attention",
     true,
     {-5.437212, 0.57719},
     PORIAN_RANGE,
     PORIAN "porian_cosine with attention's FLOPs counted too, 0.5772 (0.5620 to 0.5925)",
     "porian2024_cosine_attention"},
    {"porian_tuned_attention",
     true,
     {-2.382137, 0.50527},
     PORIAN_RANGE,
     PORIAN "porian_tuned with attention's FLOPs counted too, 0.5053 (0.4962 to 0.5123)",
     "porian2024_tuned_attention"},
    {"porian_kaplan_tuned",
     true,
     {-11.623634, 0.71149},
     PORIAN_RANGE,
     PORIAN "Kaplan's FLOPs and warmup, but tuned at a constant rate, 0.7115 (0.7026 to 0.7214)",
     "porian2024_kaplan_tuned"},
    {"porian_owt2_kaplan",
     true,
     {-18.169922, 0.86351},
     PORIAN_RANGE,
     PORIAN_OWT2 "Kaplan's protocol, 0.8635 (0.8186 to 0.8974)",
     "porian2024_owt2_kaplan"},
    {"porian_owt2_head",
     true,
     {-10.962841, 0.69850},
     PORIAN_RANGE,
     PORIAN_OWT2 "the last layer counted, 0.6985 (0.6644 to 0.7245)",
     "porian2024_owt2_head"},
    {"porian_owt2_warmup",
     true,
     {-6.631867, 0.60320},
     PORIAN_RANGE,
     PORIAN_OWT2 "and warmup scaled to the run, 0.6032 (0.5702 to 0.6287)",
     "porian2024_owt2_warmup"},
    {"porian_owt2_cosine",
     true,
     {-5.433954, 0.57430},
     PORIAN_RANGE,
     PORIAN_OWT2 "and cosine decay to the budget, 0.5743 (0.5423 to 0.6056)",
     "porian2024_owt2_cosine"},
    {"porian_owt2_tuned",
     true,
     {-3.058992, 0.51845},
     PORIAN_RANGE,
     PORIAN_OWT2 "tuned at a constant rate, 0.5185 (0.4931 to 0.5414)",
     "porian2024_owt2_tuned"},
};
// Tokens. Llama 3's printed pair (0.53, 0.29) is cut, not rounded: it gives 10.5 T tokens where the paper extrapolates to 16.55 T at 3.8e25
// FLOP. Of the pairs that start with these digits only exponents between 0.5372 and 0.5378 reach 16.55 T; they agree within 1%.
static const iso_law_const TOKENS_SETS[] = {
    {"chinchilla1",
     true,
     {0.528322, 0.501854},
     {0},
     {0},
     "Hoffmann et al. 2022, arXiv:2203.15556, approach 1: line through Table 3, off by at most 5.2%; printed exponent 0.50, 10th to 90th "
     "percentile 0.501 to 0.512",
     "hoffmann2022_curves"},
    {"chinchilla2",
     true,
     {0.142162, 0.510020},
     ISOFLOP_RANGE,
     "the same paper, approach 2: line through Table A3, off by at most 2.6%; printed exponent 0.51 (0.483 to 0.529)",
     "hoffmann2022_isoflop"},
    {"llama3",
     true,
     {-1.221143, 0.5375},
     {6e18},
     {1e22},
     "Llama 3, arXiv:2407.21783: D* = 0.29 C^0.53 as quoted in secondary notes, its digits completed so that 3.8e25 FLOP give the paper's 16.55 T "
     "tokens",
     "llama3_isoflop"},
    {"deepseek",
     true,
     {1.763292, 0.4757},
     {0},
     {0},
     "DeepSeek LLM, arXiv:2401.02954: D* = 5.8316 C^0.4757 as quoted in secondary notes; C = M D with M FLOPs per token without embeddings, "
     "attention counted",
     "deepseek2024"},
    {"porian_tuned",
     true,
     {0.349752, 0.50284},
     PORIAN_RANGE,
     PORIAN "tuned optimizer at a constant rate: N* times its tokens per parameter, 11.929 C^0.00594",
     "porian2024_tuned"},
    {"nanochat",
     true,
     {0.626423, 0.49},
     NANOCHAT_RANGE,
     NANOCHAT "printed exponent through the middle of its four budgets, off by at most 3%; about 10.5 tokens a parameter",
     "nanochat_isoflop"},
};
// FLOPs of a token, the size of a model as DeepSeek LLM counts it: 72 layers width^2 + 12 layers width context (both in training).
static const iso_law_const MODEL_SETS[] = {
    {"deepseek",
     true,
     {-1.763172, 0.5243},
     {0},
     {0},
     "DeepSeek LLM, arXiv:2401.02954: M* = 0.1715 C^0.5243 as quoted in secondary notes; C = M D",
     "deepseek2024"},
};

// What is printed of exponents: intervals, their halves over the normal quantile of their level. The line turns about the middle of the
// budgets (its logarithm times the exponent's error is the coefficient's, of opposite sign), which says nothing of its level.
#define ALONE "; the exponent's alone, about the middle of the budgets"
static const double TURN[] = {1, -1, -1, 1};
#define SPREAD_OF(middle, above, below, text) \
  { .up = {(middle) * (below), above}, .down = {(middle) * (above), below}, .corr = TURN, .source = text ALONE }
#define ISOFLOP_MIDDLE 46.3456  // ln of 1.34e20 FLOP
#define PORIAN_MIDDLE 40.8768   // ln of 5.66e17 FLOP
static const iso_law_spread PARAMS_SPREADS[ISO_COUNT(PARAMS_SETS)] = {
    [0] = SPREAD_OF(ISOFLOP_MIDDLE, 0.003044, 0.007880, "80% interval of the exponent, 0.488 to 0.502"),
    [1] = SPREAD_OF(ISOFLOP_MIDDLE, 0.034379, 0.021803, "80% interval of the exponent, 0.462 to 0.534"),
    [3] = SPREAD_OF(PORIAN_MIDDLE, 0.005459, 0.006021, "95% interval of the exponent, 0.8235 to 0.8460"),
    [4] = SPREAD_OF(PORIAN_MIDDLE, 0.005306, 0.007653, "95% interval of the exponent, 0.6915 to 0.7169"),
    [5] = SPREAD_OF(PORIAN_MIDDLE, 0.007806, 0.005408, "95% interval of the exponent, 0.5914 to 0.6173"),
    [6] = SPREAD_OF(PORIAN_MIDDLE, 0.008674, 0.005969, "95% interval of the exponent, 0.5598 to 0.5885"),
    [7] = SPREAD_OF(PORIAN_MIDDLE, 0.003878, 0.003163, "95% interval of the exponent, 0.4907 to 0.5045"),
    [9] = SPREAD_OF(PORIAN_MIDDLE, 0.005225, 0.007225, "95% interval of the exponent, 0.7029 to 0.7273"),
    [10] = SPREAD_OF(PORIAN_MIDDLE, 0.004975, 0.007679, "95% interval of the exponent, 0.6072 to 0.6320"),
    [11] = SPREAD_OF(PORIAN_MIDDLE, 0.007811, 0.007750, "95% interval of the exponent, 0.5620 to 0.5925"),
    [12] = SPREAD_OF(PORIAN_MIDDLE, 0.003587, 0.004628, "95% interval of the exponent, 0.4962 to 0.5123"),
    [13] = SPREAD_OF(PORIAN_MIDDLE, 0.005056, 0.004536, "95% interval of the exponent, 0.7026 to 0.7214"),
    [14] = SPREAD_OF(PORIAN_MIDDLE, 0.017291, 0.022914, "95% interval of the exponent, 0.8186 to 0.8974"),
    [15] = SPREAD_OF(PORIAN_MIDDLE, 0.013266, 0.017398, "95% interval of the exponent, 0.6644 to 0.7245"),
    [16] = SPREAD_OF(PORIAN_MIDDLE, 0.013010, 0.016837, "95% interval of the exponent, 0.5702 to 0.6287"),
    [17] = SPREAD_OF(PORIAN_MIDDLE, 0.015970, 0.016327, "95% interval of the exponent, 0.5423 to 0.6056"),
    [18] = SPREAD_OF(PORIAN_MIDDLE, 0.011709, 0.012934, "95% interval of the exponent, 0.4931 to 0.5414"),
};
static const iso_law_spread TOKENS_SPREADS[ISO_COUNT(TOKENS_SETS)] = {
    [0] = SPREAD_OF(ISOFLOP_MIDDLE, 0.007917, 0.000666, "80% interval of the exponent, 0.501 to 0.512"),
    [1] = SPREAD_OF(ISOFLOP_MIDDLE, 0.014810, 0.021084, "80% interval of the exponent, 0.483 to 0.529"),
};

static double value(const double *p, const double *x, double *g) {
  double c = log(x[C]), y = exp(p[P_LOG_K] + p[P_EXPONENT] * c);
  if (g) {
    g[P_LOG_K] = y;
    g[P_EXPONENT] = y * c;
  }
  return y;
}

static void start(const iso_law_means *m, const double *u, double *p) {
  p[P_EXPONENT] = PARAM[P_EXPONENT].lo + u[P_EXPONENT] * (PARAM[P_EXPONENT].hi - PARAM[P_EXPONENT].lo);
  p[P_LOG_K] = iso_law_start_term(m, C, -p[P_EXPONENT], u[P_LOG_K], PARAM[P_LOG_K].lo, PARAM[P_LOG_K].hi);
}

static double inverse(const double *p, const double *x, int k, double y) {
  (void)x;
  (void)k;
  return exp((log(y) - p[P_LOG_K]) / p[P_EXPONENT]);
}

// Oracle: rows of the papers' tables and the sizes that a budget of 5.88e23 FLOP gets under each of Porian's protocols.
static iso_status params_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_allocation_params;
  static const struct {
    int set;
    double flop, want, tol;
  } ROW[] = {{0, 5.76e23, 67e9, 0.013}, {0, 1.92e19, 4e8, 0.013},    {1, 6.88e23, 67e9, 0.033}, {1, 1.20e20, 1e9, 0.033},
             {2, 8.64e19, 1.3e9, 1e-9}, {3, 5.88e23, 3.03e12, 3e-3}, {4, 5.88e23, 787e9, 3e-3}, {5, 5.88e23, 292e9, 3e-3},
             {6, 5.88e23, 183e9, 3e-3}, {7, 5.88e23, 77e9, 3e-3},    {8, 1e18, 110.68e6, 0.05}, {8, 1e19, 381.76e6, 0.05}};
  for (size_t i = 0; i < ISO_COUNT(ROW); i++)
    ISO_TRY(iso_law_near(l, value(PARAMS_SETS[ROW[i].set].p, &ROW[i].flop, NULL), ROW[i].want, ROW[i].tol, PARAMS_SETS[ROW[i].set].name, err));
  return ISO_OK;
}

static iso_status tokens_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_allocation_tokens;
  static const struct {
    int set;
    double flop, want, tol;
  } ROW[] = {{0, 5.76e23, 1.5e12, 0.053}, {0, 1.21e20, 20.2e9, 0.053}, {1, 1.20e20, 20.0e9, 0.027}, {1, 1.18e25, 7.1e12, 0.027},
             {2, 3.8e25, 16.55e12, 1e-4}, {5, 1e18, 1.2415e9, 0.03},   {5, 1e19, 3.8069e9, 0.03}};
  for (size_t i = 0; i < ISO_COUNT(ROW); i++)
    ISO_TRY(iso_law_near(l, value(TOKENS_SETS[ROW[i].set].p, &ROW[i].flop, NULL), ROW[i].want, ROW[i].tol, TOKENS_SETS[ROW[i].set].name, err));
  return ISO_OK;
}

const iso_law iso_law_allocation_params = {
    .base = {.name = "allocation_params",
             .summary = "optimal parameters N* = k C^a for a compute budget",
             .paper = "Hoffmann et al. 2022, Training compute-optimal large language models, arXiv:2203.15556, approaches 1 and 2; Kaplan et al. "
                      "2020, arXiv:2001.08361; Porian et al. 2024, arXiv:2406.19146; karpathy/nanochat",
             .selftest = params_selftest},
    .formula = "N* = k C^a",
    .target = "params",
    .unit = "parameters",
    .target_alias = {"parameters", "n_params", "n_opt", "n_star", "n"},
    .counts = "each set counts parameters and FLOPs its own way: with or without embeddings, the head and attention (see its source)",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .n_consts = (int)ISO_COUNT(PARAMS_SETS),
    .input = INPUT,
    .param = PARAM,
    .consts = PARAMS_SETS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = value,
    .start = start,
    .inverse = inverse,
    .spread = PARAMS_SPREADS,
};

const iso_law iso_law_allocation_tokens = {
    .base = {.name = "allocation_tokens",
             .summary = "optimal training tokens D* = k C^a for a compute budget",
             .paper =
                 "Hoffmann et al. 2022, arXiv:2203.15556, approaches 1 and 2; Llama 3, arXiv:2407.21783; DeepSeek LLM, arXiv:2401.02954; Porian et "
                 "al. 2024, arXiv:2406.19146",
             .selftest = tokens_selftest},
    .formula = "D* = k C^a",
    .target = "tokens",
    .unit = "tokens",
    .target_alias = {"train_tokens", "training_tokens", "d_opt", "d_star", "d"},
    .counts = "tokens of each study's tokenizer, seen once; FLOPs as the set counts them (see its source)",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .n_consts = (int)ISO_COUNT(TOKENS_SETS),
    .input = INPUT,
    .param = PARAM,
    .consts = TOKENS_SETS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = value,
    .start = start,
    .inverse = inverse,
    .spread = TOKENS_SPREADS,
};

// Oracle: C = M D with the law of tokens, so that exponents sum to 1 and coefficients multiply to 1.
static iso_status model_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_allocation_flop_per_tok;
  static const double flop = 1e20;
  ISO_TRY(iso_law_near(l, value(MODEL_SETS[0].p, &flop, NULL), 0.1715 * pow(10, 10.486), 1e-6, "M*(1e20)", err));
  return iso_law_near(l, value(MODEL_SETS[0].p, &flop, NULL) * value(TOKENS_SETS[3].p, &flop, NULL), flop, 2e-3, "M D", err);
}

const iso_law iso_law_allocation_flop_per_tok = {
    .base = {.name = "allocation_flop_per_tok",
             .summary = "optimal FLOPs per training token M* = k C^a for a compute budget",
             .paper = "DeepSeek LLM, arXiv:2401.02954",
             .selftest = model_selftest},
    .formula = "M* = k C^a",
    .target = "flop_per_tok",
    .unit = "FLOP per token",
    .target_alias = {"m_opt", "m"},
    .counts = "the size of a model as its training FLOPs per token, 72 layers width^2 + 12 layers width context: no embeddings, attention counted",
    .flops = "C = M D",
    .n_inputs = INPUTS,
    .n_params = P_COUNT,
    .n_consts = (int)ISO_COUNT(MODEL_SETS),
    .input = INPUT,
    .param = PARAM,
    .consts = MODEL_SETS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = value,
    .start = start,
    .inverse = inverse,
};
