// Rules that look at training compute alone, y = k C^x: best learning rate, batch, parameters and tokens, by several papers.
#include "plan/laws/power_law.h"

static const iso_law_input FLOP[] = {
    {"train_flop", "FLOP", "training compute, as the set's paper counts it", {"flop", "train_flops", "compute", "c"}, NAN}};
static const iso_law_param FALLING[] = {{"log_k", "k", true, -5, 5}, {"x", "x", false, -0.5, 0}};
static const iso_law_param RISING[] = {{"log_k", "k", true, -20, 5}, {"x", "x", false, 0, 1}};

#define RULE(law, what, says, sign, goal, in, also, how, test, par, sets)                                                            \
  {                                                                                                                                  \
    .base = {.name = law, .summary = what, .paper = says, .selftest = test}, .formula = sign " = k C^x", .target = goal, .unit = in, \
    .target_alias = {also}, .counts = how, .flops = "C as the set's paper counts it", .n_inputs = 1, .n_params = 2,                  \
    .n_consts = (int)ISO_COUNT(sets), .input = FLOP, .param = par, .consts = sets, .at_params = -1, .at_tokens = -1,                 \
    .objective = ISO_LAW_SQUARE_LOG, .value = iso_power1_value, .inverse = iso_power1_inverse,                                       \
  }

#define DEEPSEEK "DeepSeek-AI 2024, arXiv:2401.02954, by a secondary source; C = M D, M the FLOPs of a token without embeddings, attention included"
#define TIAN "Tian et al. 2025, arXiv:2507.17702, mixtures of experts, by a secondary source"

// ---- learning rate and batch ----------------------------------------------------------------------------------------

static const iso_law_const LR[] = {
    {"deepseek2024", true, {-1.165393322358, -0.1250}, {0}, {0}, DEEPSEEK},
    {"tian2025_moe", true, {0.146348896335, -0.1529}, {0}, {0}, TIAN},
};
static const iso_law_const BATCH[] = {
    {"deepseek2024", true, {-1.231001476714, 0.3271}, {0}, {0}, DEEPSEEK "; B in tokens"},
    {"tian2025_moe", true, {-2.667868411469, 0.3644}, {0}, {0}, TIAN "; B in tokens, by its size: 7.2e6 at 1e22 FLOP"},
};

static double at(const iso_law_const *c, double flop) { return iso_power1_value(c->p, &flop, NULL); }

// Oracle: published coefficients with powers of ten written out: lr(1e16) = 0.3118 / 100, B(1e20) = 0.2920 * 10^6.542.
static iso_status lr_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  ISO_TRY(iso_law_near(&iso_law_budget_lr, at(&LR[0], 1e16), 0.003118, 1e-9, "lr(1e16), DeepSeek", err));
  return iso_law_near(&iso_law_budget_lr, at(&LR[1], 1e20), 1.1576 * 8.7498e-4, 1e-4, "lr(1e20), mixtures of experts", err);
}
static iso_status batch_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  ISO_TRY(iso_law_near(&iso_law_budget_batch, at(&BATCH[0], 1e20), 0.2920 * 3.48337e6, 1e-4, "B(1e20), DeepSeek", err));
  return iso_law_near(&iso_law_budget_batch, at(&BATCH[1], 1e25), 0.0694 * 1.28825e9, 1e-4, "B(1e25), mixtures of experts", err);
}

const iso_law iso_law_budget_lr =
    RULE("budget_lr", "best peak learning rate = k C^x", "DeepSeek-AI 2024, arXiv:2401.02954; Tian et al. 2025, arXiv:2507.17702", "lr", "lr",
         "a step of AdamW", "learning_rate", "runs of the best split of C; batch chosen as well", lr_selftest, FALLING, LR);
const iso_law iso_law_budget_batch =
    RULE("budget_batch", "best batch = k C^x", "DeepSeek-AI 2024, arXiv:2401.02954; Tian et al. 2025, arXiv:2507.17702", "B", "batch_tokens",
         "tokens", "batch", "B in tokens; runs of the best split of C; learning rate chosen as well", batch_selftest, RISING, BATCH);

// ---- allocation -----------------------------------------------------------------------------------------------------

#define PORIAN "Porian et al. 2024, arXiv:2406.19146, RefinedWeb, data of formll/resolving-scaling-law-discrepancies; "
static const iso_law_const PARAMS[] = {
    {"porian2024_tuned",
     true,
     {-2.129220194243, 0.4969},
     {1.25e16},
     {2.56e19},
     PORIAN "head counted, warm-up and decay scaled, learning rate, batch and beta2 tuned"},
    {"porian2024_cosine", true, {-5.345408974082, 0.5715}, {1.25e16}, {2.56e19}, PORIAN "head counted, warm-up and decay scaled, nothing tuned"},
    {"porian2024_warmup", true, {-6.550080834710, 0.6020}, {1.25e16}, {2.56e19}, PORIAN "head counted, warm-up scaled"},
    {"porian2024_head", true, {-11.273908564500, 0.7065}, {1.25e16}, {2.56e19}, PORIAN "Kaplan's runs with the head's parameters and FLOPs counted"},
    {"porian2024_kaplan", true, {-16.978006049396, 0.8353}, {1.25e16}, {2.56e19}, PORIAN "Kaplan's way of counting and training"},
};
// Llama 3's printed pair does not give back its own worked number, 16.55T tokens at 3.8e25 FLOP: with x = 0.53 it gives 10.5T.
static const iso_law_const TOKENS[] = {
    {"deepseek2024", true, {1.763291405249, 0.4757}, {0}, {0}, DEEPSEEK "; C / D* is M"},
    {"llama3_2024",
     false,
     {-1.237874356002, 0.53},
     {0},
     {0},
     "Llama team 2024, arXiv:2407.21783, by a secondary source; with the two printed digits of x it gives 10.5T tokens where the paper says 16.55T"},
};

// Oracle: parameters at Chinchilla's budget, 5.88e23 FLOP, that the paper's steps imply.
static iso_status params_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double want[] = {77e9, 183e9, 292e9, 787e9, 3e12};
  for (int i = 0; i < 5; i++) ISO_TRY(iso_law_near(&iso_law_budget_params, at(&PARAMS[i], 5.88e23), want[i], 0.011, "N*(5.88e23)", err));
  return ISO_OK;
}
// Oracle: M* D* = C, M* = 0.1715 C^0.5243 from the same paper.
static iso_status tokens_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  for (double flop = 1e17; flop < 1e26; flop *= 1e4)
    ISO_TRY(iso_law_near(&iso_law_budget_tokens, at(&TOKENS[0], flop) * 0.1715 * pow(flop, 0.5243), flop, 2e-4, "M* D*", err));
  return ISO_OK;
}

const iso_law iso_law_budget_params =
    RULE("budget_params", "compute-optimal parameters = k C^x",
         "Porian et al. 2024, Resolving discrepancies in compute-optimal scaling of language models, arXiv:2406.19146", "N*", "params", "parameters",
         "n_params", "N as the set says; minima of IsoFLOP curves", params_selftest, RISING, PARAMS);
const iso_law iso_law_budget_tokens =
    RULE("budget_tokens", "compute-optimal training tokens = k C^x", "DeepSeek-AI 2024, arXiv:2401.02954; Llama team 2024, arXiv:2407.21783", "D*",
         "tokens", "tokens", "train_tokens", "D in tokens of the set's own tokenizer; minima of IsoFLOP curves", tokens_selftest, RISING, TOKENS);
