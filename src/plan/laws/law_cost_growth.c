// Cottier et al. 2024: the cost of the dearest training runs of their time grows by the same factor each year.
#include <math.h>

#include "plan/law.h"

// Where the law's constant is its value, so that both parameters are about as sure.
#define YEAR0 2020.0
#define LN10 2.302585092994046

enum { P_LOG_C, P_GROWTH, P_COUNT };

static const iso_law_input INPUT[] = {
    {"year", "yr", "date as a year with its fraction, or as YYYY-MM-DD in files", {"date", "publication_date", "published"}, NAN}};
static const iso_law_param PARAM[P_COUNT] = {{"log_c", "C", true, 0, 1}, {"g", "g", false, -0.2, 1}};
static const iso_law_const CONSTS[] = {
    {"cottier2024",
     true,
     {11.94088147, 0.38198297},
     {2015.936},
     {2023.932},
     "epoch-research/training-cost-trends cost_analysis.ipynb of 19 June 2024, cells 26 and 27: 0.38198 (0.29474 to 0.46922, 90%) powers of ten a "
     "year from 41 models among the ten with most compute when published; amortised hardware and energy, 2023 dollars",
     "cottier2024"},
};

// The printed interval's half over the normal quantile of 95%, 1.644854.
static const iso_law_spread SPREAD[] = {
    {.up = {0, 0.053038}, .down = {0, 0.053038}, .source = "interval of the growth alone, 0.29474 to 0.46922 (90%); none of the level in 2020"}};

static double value(const double *p, const double *x, double *g) {
  double years = x[0] - YEAR0, c = exp(p[P_LOG_C] + LN10 * p[P_GROWTH] * years);
  if (g) {
    g[P_LOG_C] = c;
    g[P_GROWTH] = c * LN10 * years;
  }
  return c;
}

static void start(const iso_law_means *m, const double *u, double *p) {
  p[P_GROWTH] = PARAM[P_GROWTH].lo + u[P_GROWTH] * (PARAM[P_GROWTH].hi - PARAM[P_GROWTH].lo);
  p[P_LOG_C] = log(m->y) - 4 * u[P_LOG_C] - LN10 * p[P_GROWTH] * (exp(m->log_x[0]) - YEAR0);
}

// The year in which the cost is y.
static double inverse(const double *p, const double *x, int k, double y) {
  (void)x;
  (void)k;
  return y > 0 && p[P_GROWTH] != 0 ? YEAR0 + (log(y) - p[P_LOG_C]) / (LN10 * p[P_GROWTH]) : NAN;
}

// Oracle: 2.40981 times a year (cell 27), and the table of the regression's means in cell 29: powers of ten of dollars at 2015.0 and 2024.59596.
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  const iso_law *l = &iso_law_cost_growth;
  double at[4] = {2015, 2024.59596, 2021, 2022};
  ISO_TRY(iso_law_near(l, log10(value(CONSTS[0].p, &at[0], NULL)), 3.275944, 1e-6, "log10 cost at 2015.0", err));
  ISO_TRY(iso_law_near(l, log10(value(CONSTS[0].p, &at[1], NULL)), 6.941437, 1e-6, "log10 cost at 2024.596", err));
  return iso_law_near(l, value(CONSTS[0].p, &at[3], NULL) / value(CONSTS[0].p, &at[2], NULL), 2.40981, 1e-5, "growth in a year", err);
}

const iso_law iso_law_cost_growth = {
    .base = {.name = "cost_growth",
             .summary = "cost of frontier training runs = C 10^(g (year - 2020))",
             .paper = "Cottier et al. 2024, The rising costs of training frontier AI models, arXiv:2405.21015",
             .selftest = selftest},
    .formula = "cost = C 10^(g (year - 2020)), 10^g times a year",
    .target = "cost",
    .unit = "US dollars",
    .target_alias = {"usd", "training_cost", "cost_usd"},
    .counts =
        "runs on the frontier of their time, whose rule of choice the caller keeps; dollars of one year, without staff. Outside the years fitted "
        "the trend is assumed to hold: distance in years is not limited as other inputs' is",
    .n_inputs = 1,
    .n_params = P_COUNT,
    .n_consts = (int)ISO_COUNT(CONSTS),
    .input = INPUT,
    .param = PARAM,
    .consts = CONSTS,
    .spread = SPREAD,
    .at_params = -1,
    .at_tokens = -1,
    .objective = ISO_LAW_SQUARE_LOG,
    .value = value,
    .start = start,
    .inverse = inverse,
};
