// Rules that look at training compute alone, y = k C^x: best learning rate and batch, by several papers.
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

static const iso_law_const LR[] = {
    {"deepseek2024", true, {-1.165393322358, -0.1250}, {0}, {0}, DEEPSEEK, "deepseek2024"},
    {"tian2025_moe", true, {0.146348896335, -0.1529}, {0}, {0}, TIAN, "tian2025"},
};
static const iso_law_const BATCH[] = {
    {"deepseek2024", true, {-1.231001476714, 0.3271}, {0}, {0}, DEEPSEEK "; B in tokens", "deepseek2024"},
    {"tian2025_moe", true, {-2.667868411469, 0.3644}, {0}, {0}, TIAN "; B in tokens, by its size: 7.2e6 at 1e22 FLOP", "tian2025"},
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
