// Hernandez et al. 2021: what pretraining is worth in data of the target distribution; Ho et al. 2024: what years of research are worth.
#include "plan/laws/power_law.h"

enum { N, D, INPUTS };

static const iso_law_input INPUT[INPUTS] = {
    [N] = {"params", "", "non-embedding parameters", {"params_no_embed", "parameters", "n_params", "model_size", "n"}, NAN},
    [D] = {"finetune_chars", "", "characters of the target distribution fine-tuned on", {"finetuning_data", "d_f"}, NAN},
};
static const iso_law_param PARAM[] = {{"log_k", "k", true, -5, 15}, {"beta", "beta", false, 0, 1}, {"alpha", "alpha", false, 0, 1}};
#define BY "Hernandez et al. 2021, arXiv:2102.01293, by a secondary source: "
static const iso_law_const CONSTS[] = {
    {"hernandez2021_text", true, {9.852194258149, 0.38, 0.18}, {0}, {0}, BY "pretrained on text, fine-tuned on Python", "hernandez2021_text"},
    {"hernandez2021_mix",
     true,
     {12.254862809700, 0.38, 0.096},
     {0},
     {0},
     BY "pretrained on half text and half other code, fine-tuned on Python",
     "hernandez2021_mix"},
};

static double value(const double *p, const double *x, double *g) { return iso_power_value(INPUTS, p, x, g); }
static double inverse(const double *p, const double *x, int k, double y) { return iso_power_inverse(INPUTS, p, x, k, y); }

static int facts(const double *p, const double *x, iso_law_fact *out) {
  double t = value(p, x, NULL);
  out[0] = (iso_law_fact){"multiplier", "", "(D_F + D_T) / D_F, what pretraining multiplies the data by", (x[D] + t) / x[D]};
  return 1;
}

// Oracle: the printed laws with powers of ten written out, at 1e10 parameters and 1e5 characters.
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double x[INPUTS] = {1e10, 1e5};
  ISO_TRY(iso_law_near(&iso_law_transfer, value(CONSTS[0].p, x, NULL), 1.9e4 * pow(10, 3.8 + 0.9), 1e-9, "D_T from text", err));
  return iso_law_near(&iso_law_transfer, value(CONSTS[1].p, x, NULL), 2.1e5 * pow(10, 3.8 + 0.48), 1e-9, "D_T from the mixture", err);
}

const iso_law iso_law_transfer = {
    .base = {.name = "transfer",
             .summary = "data transferred by pretraining: D_T = k D_F^alpha N^beta",
             .paper = "Hernandez et al. 2021, Scaling laws for transfer, arXiv:2102.01293",
             .selftest = selftest},
    .formula = "D_T = k D_F^alpha N^beta",
    .target = "transferred_chars",
    .unit = "characters",
    .target_alias = {"effective_data_transferred", "d_t"},
    .counts =
        "N leaves embeddings out; D_T is the further data of the target distribution that training from scratch would need for the same loss; "
        "where D_F is at most a tenth of what such training needs",
    .n_inputs = INPUTS,
    .n_params = (int)ISO_COUNT(PARAM),
    .n_consts = (int)ISO_COUNT(CONSTS),
    .input = INPUT,
    .param = PARAM,
    .consts = CONSTS,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = value,
    .inverse = inverse,
    .facts = facts,
};

// ---- algorithms -----------------------------------------------------------------------------------------------------

static const iso_law_input TIME[] = {{"months", "month", "time between two states of the art", {"months_apart"}, NAN}};
static const iso_law_param DOUBLING[] = {{"log_doubling", "T_2", true, 0, 5}};
static const iso_law_const PACE[] = {
    {"ho2024",
     true,
     {2.128231705849},
     {0},
     {0},
     "Ho et al. 2024, arXiv:2403.05812, by a secondary source: effective compute of language models doubles every 8.4 "
     "months (4.5 to 14.3)",
     "ho2024"}};
// ln(14.3 / 8.4) and ln(8.4 / 4.5) over the normal quantile of 97.5%, 1.959964.
static const iso_law_spread PACE_SPREAD[] = {
    {.up = {0.271448}, .down = {0.318452}, .source = "interval of the doubling time, 4.5 to 14.3 months, taken as 95%"}};

static double pace_value(const double *p, const double *x, double *g) {
  double u = M_LN2 * x[0] / exp(p[0]), y = exp(u);
  if (g) g[0] = -y * u;
  return y;
}
static double pace_inverse(const double *p, const double *x, int k, double y) {
  (void)x;
  (void)k;
  return y > 1 ? log(y) / M_LN2 * exp(p[0]) : NAN;
}
// Oracle: the doubling time itself, and a year by hand: 2^(12 / 8.4).
static iso_status pace_selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  static const double once = 8.4, year = 12;
  ISO_TRY(iso_law_near(&iso_law_algorithmic_progress, pace_value(PACE[0].p, &once, NULL), 2, 1e-11, "gain of 8.4 months", err));
  return iso_law_near(&iso_law_algorithmic_progress, pace_value(PACE[0].p, &year, NULL), 2.69180, 2e-6, "gain of a year", err);
}

const iso_law iso_law_algorithmic_progress = {
    .base = {.name = "algorithmic_progress",
             .summary = "effective compute over compute = 2^(months / T_2)",
             .paper = "Ho et al. 2024, Algorithmic progress in language models, arXiv:2403.05812",
             .selftest = pace_selftest},
    .formula = "C_eff / C = 2^(months / T_2)",
    .target = "compute_gain",
    .unit = "times",
    .target_alias = {"effective_compute", "gain"},
    .counts = "compute that the earlier algorithms would need for the same loss, over that of the later ones",
    .n_inputs = 1,
    .n_params = 1,
    .n_consts = (int)ISO_COUNT(PACE),
    .input = TIME,
    .param = DOUBLING,
    .consts = PACE,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = pace_value,
    .inverse = pace_inverse,
    .spread = PACE_SPREAD,
};
