// Step Law (Li et al. 2025): the best peak learning rate by parameters and tokens, the best batch by tokens.
#include "plan/laws/power_law.h"

enum { N, D, LR_INPUTS };

static const iso_law_input LR_INPUT[LR_INPUTS] = {
    [N] = {"params", "", "parameters without embeddings", {"parameters", "n_params", "model_size", "n"}, NAN},
    [D] = {"tokens", "tok", "training tokens", {"train_tokens", "training_tokens", "n_tokens", "d"}, NAN},
};
static const iso_law_param LR_PARAM[] = {{"log_k", "k", true, -5, 5}, {"alpha", "alpha", false, -1, 0}, {"beta", "beta", false, 0, 1}};
// The dense runs that the authors released.
#define STEP_FILE "mean of the 1,000 bootstrap fits in step-law/steplaw data/1004_fitted_lr_bs_scaling_model_parameters.csv"
static const iso_law_const LR_CONSTS[] = {
    {"li2025",
     true,
     {0.582215619853, -0.713, 0.307},
     {2.146e8, 4e9},
     {1.074e9, 1e11},
     "Li et al. 2025, arXiv:2503.04715, the law as printed",
     "step_law"},
    {"li2025_bootstrap", true, {0.586307790740, -0.712922291187, 0.307490950412}, {2.146e8, 4e9}, {1.074e9, 1e11}, STEP_FILE, "step_law"},
};
// Standard deviations and correlations of the 1,000 bootstrap fits of that file. The printed law is their mean, rounded.
#define REFITS "standard deviations and correlations of the authors' 1,000 bootstrap fits"
static const double LR_CORR[] = {1, -0.728046363, -0.429925754, -0.728046363, 1, -0.305066069, -0.429925754, -0.305066069, 1};
#define LR_SPREAD \
  { .up = {0.623748436, 0.029857758, 0.019139275}, .down = {0.623748436, 0.029857758, 0.019139275}, .corr = LR_CORR, .source = REFITS }
static const iso_law_spread LR_SPREADS[] = {LR_SPREAD, LR_SPREAD};
static double lr_value(const double *p, const double *x, double *g) { return iso_power_value(2, p, x, g); }
static double lr_inverse(const double *p, const double *x, int k, double y) { return iso_power_inverse(2, p, x, k, y); }

// Oracle: rates that the printed law gives, and the bootstrap's at 1B parameters and 100B tokens, which differs by the rounding only.
static iso_status lr_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double big[LR_INPUTS] = {1e9, 1e11}, small[LR_INPUTS] = {215e6, 11.4e9};
  ISO_TRY(iso_law_near(&iso_law_step_lr, lr_value(LR_CONSTS[0].p, big, NULL), 1.6325e-3, 5e-5, "lr(1e9, 1e11)", err));
  ISO_TRY(iso_law_near(&iso_law_step_lr, lr_value(LR_CONSTS[0].p, small, NULL), 2.508e-3, 2e-4, "lr(215e6, 11.4e9)", err));
  return iso_law_near(&iso_law_step_lr, lr_value(LR_CONSTS[1].p, big, NULL), 1.6325e-3, 0.03, "lr(1e9, 1e11), bootstrap", err);
}

const iso_law iso_law_step_lr = {
    .base = {.name = "step_lr",
             .summary = "best peak learning rate = k N^alpha D^beta",
             .paper = "Li et al. 2025, Predictable scale: part I, Step Law, arXiv:2503.04715",
             .selftest = lr_selftest},
    .formula = "lr = k N^alpha D^beta",
    .target = "lr",
    .unit = "a step of AdamW",
    .target_alias = {"learning_rate", "peak_lr", "max_lr"},
    .counts = "N counts parameters without embeddings; AdamW, cosine decay to a fixed final rate of 1e-5, batch chosen as well",
    .n_inputs = LR_INPUTS,
    .n_params = (int)ISO_COUNT(LR_PARAM),
    .n_consts = (int)ISO_COUNT(LR_CONSTS),
    .input = LR_INPUT,
    .param = LR_PARAM,
    .consts = LR_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = lr_value,
    .inverse = lr_inverse,
    .spread = LR_SPREADS,
};

static const iso_law_param BATCH_PARAM[] = {{"log_k", "k", true, -5, 5}, {"beta", "beta", false, 0, 1}};
static const iso_law_const BATCH_CONSTS[] = {
    {"li2025", true, {-0.544727175442, 0.571}, {4e9}, {1e11}, "Li et al. 2025, arXiv:2503.04715, the law as printed", "step_law"},
    {"li2025_bootstrap", true, {-0.543542173610, 0.570944364690}, {4e9}, {1e11}, STEP_FILE, "step_law"},
};

static const double BATCH_CORR[] = {1, -0.998637794, -0.998637794, 1};
#define BATCH_SPREAD \
  { .up = {0.437240936, 0.018668635}, .down = {0.437240936, 0.018668635}, .corr = BATCH_CORR, .source = REFITS }
static const iso_law_spread BATCH_SPREADS[] = {BATCH_SPREAD, BATCH_SPREAD};

// Oracle: batches that the printed law gives.
static iso_status batch_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double big[] = {1e11}, small[] = {11.4e9};
  ISO_TRY(iso_law_near(&iso_law_step_batch, iso_power1_value(BATCH_CONSTS[0].p, big, NULL), 1.1077e6, 5e-5, "B(1e11)", err));
  ISO_TRY(iso_law_near(&iso_law_step_batch, iso_power1_value(BATCH_CONSTS[0].p, small, NULL), 3.206e5, 2e-4, "B(11.4e9)", err));
  return iso_law_near(&iso_law_step_batch, iso_power1_value(BATCH_CONSTS[1].p, big, NULL), 1.1077e6, 0.01, "B(1e11), bootstrap", err);
}

const iso_law iso_law_step_batch = {
    .base = {.name = "step_batch",
             .summary = "best batch = k D^beta, whatever the size of the model",
             .paper = "Li et al. 2025, Predictable scale: part I, Step Law, arXiv:2503.04715",
             .selftest = batch_selftest},
    .formula = "B = k D^beta",
    .target = "batch_tokens",
    .unit = "tokens",
    .target_alias = {"batch", "batch_size_tokens"},
    .counts = "B and D in tokens; the batch of the lowest final loss, learning rate chosen as well",
    .n_inputs = 1,
    .n_params = (int)ISO_COUNT(BATCH_PARAM),
    .n_consts = (int)ISO_COUNT(BATCH_CONSTS),
    .input = &LR_INPUT[D],
    .param = BATCH_PARAM,
    .consts = BATCH_CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = iso_power1_value,
    .inverse = iso_power1_inverse,
    .spread = BATCH_SPREADS,
};

// ---- batch by size and tokens ---------------------------------------------------------------------------------------

static const iso_law_param BY_SIZE_PARAM[] = {{"log_k", "k", true, -5, 10}, {"alpha", "alpha", false, -0.5, 0.8}, {"beta", "beta", false, 0, 1}};

// Oracle: the product written out in powers of ten.
static iso_status by_size_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double p[] = {0, 0.25, 0.5}, x[LR_INPUTS] = {1e8, 1e10};
  return iso_law_near(&iso_law_batch_by_size, lr_value(p, x, NULL), 1e7, 1e-12, "B(1e8, 1e10)", err);
}

const iso_law iso_law_batch_by_size = {
    .base = {.name = "batch_by_size",
             .summary = "best batch = k N^alpha D^beta",
             .paper =
                 "Yin et al. 2024, Towards precise scaling laws for video diffusion transformers, arXiv:2411.17470, whose constants are for video",
             .selftest = by_size_selftest},
    .formula = "B = k N^alpha D^beta",
    .target = "batch_tokens",
    .unit = "tokens",
    .target_alias = {"batch", "batch_size_tokens"},
    .counts = "B and D in tokens; learning rate chosen as well, by step_lr's form; losses at these follow chinchilla's form, off the best size too",
    .n_inputs = LR_INPUTS,
    .n_params = (int)ISO_COUNT(BY_SIZE_PARAM),
    .input = LR_INPUT,
    .param = BY_SIZE_PARAM,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = lr_value,
    .inverse = lr_inverse,
};
