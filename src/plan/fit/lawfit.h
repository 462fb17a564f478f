// Fitting any law to runs: multi-start estimate, bootstrap intervals, held-out scores, limits of extrapolation, diagnostics, checklist.
#ifndef ISO_PLAN_FIT_LAWFIT_H
#define ISO_PLAN_FIT_LAWFIT_H
#include "base/csv.h"
#include "plan/fit/fit.h"

// ---- data -----------------------------------------------------------------------------------------------------------

// Runs as a law sees them: inputs, target, FLOPs.
typedef struct iso_law_data {
  const iso_law *law;
  int64_t n, skipped, dropped;  // rows; rows without a target; rows dropped for their high target
  int64_t clusters;             // groups that a bootstrap draws together; n when every row stands alone
  double *x;                    // owned: n x n_inputs
  double *y, *flop;             // owned: n each; flop NaN where it is not known
  int64_t *cluster, *line;      // owned: n each; line in the file, 0: none
} iso_law_data;
iso_status iso_law_data_open(const iso_law *law, int64_t n, iso_law_data *out, iso_err *err);
void iso_law_data_close(iso_law_data *d);

typedef struct iso_law_data_opts {
  const bool *use;             // borrowed, a flag a row; NULL: all rows
  const char *const *columns;  // borrowed "NAME=EXPR": the input or target NAME is this expression over the table's columns
  int n_columns;
  const char *rows;     // use rows where this expression holds; NULL: all
  const char *holdout;  // hold back rows where this expression holds; NULL: none
  const char *cluster;  // column whose equal values are drawn together; NULL: none
  int64_t drop_highest;
  iso_law_objective objective;  // decides whether targets must be positive
} iso_law_data_opts;
// Fills *fit with the rows to fit and *held with those held back. An input is taken from --column, from a column of its name or an alias
// (compared as in base/csv.h), tokens also from a column of FLOPs, else the law's absent value. Expressions may name columns, inputs, the
// target, train_flop and tokens_per_param. ISO_EINVAL, ISO_EFORMAT with line and column. Close both with iso_law_data_close.
iso_status iso_law_data_read(const iso_csv *t, const iso_law *law, const iso_law_data_opts *o, iso_law_data *fit, iso_law_data *held, iso_err *err);

// ---- fit ------------------------------------------------------------------------------------------------------------

// How the objective is minimised.
typedef enum iso_lawfit_minimiser {
  ISO_LAWFIT_WHITENED,  // L-BFGS in coordinates in which the Gauss-Newton matrix is 1, to the last digits whatever the scale
  // L-BFGS on the parameters as they are until a step gains 2.2e-9 (of values above 1: relative) or no derivative exceeds 1e-5: what the
  // usual library ends at by default. On small objectives that is early, so that it matters whether rows are summed or averaged
  // (Besiroglu et al. 2024, arXiv:2404.10102, on Hoffmann et al.'s fit).
  ISO_LAWFIT_PLAIN
} iso_lawfit_minimiser;

typedef struct iso_lawfit_opts {
  iso_law_objective objective;
  double delta;  // of Huber, in the residual's unit
  int starts;
  bool no_published;  // the law's published sets are no starts
  iso_lawfit_minimiser minimiser;
  bool mean;          // minimise the mean over rows, not the sum
  int64_t resamples;  // 0: no intervals
  uint64_t seed;
  double level;
} iso_lawfit_opts;
// The law's own objective and delta, 400 starts, 1,000 resamples, 90%.
iso_lawfit_opts iso_lawfit_opts_default(const iso_law *law);

typedef enum iso_lawfit_boot {
  ISO_LAWFIT_BOOT_NONE,
  ISO_LAWFIT_BOOT_PAIRS,     // rows are drawn with replacement
  ISO_LAWFIT_BOOT_CLUSTERS,  // clusters are
  ISO_LAWFIT_BOOT_RESIDUALS  // fewer than five rows a parameter: residuals are drawn and put on the fitted values
} iso_lawfit_boot;
const char *iso_lawfit_boot_name(iso_lawfit_boot b);

// Whether residuals go with an axis: an input, or train_flop at index n_inputs.
typedef struct iso_lawfit_trend {
  int axis;
  double per_decade;  // change of the residual, data minus model
  double p;           // share of permutations with as steep a slope
} iso_lawfit_trend;

enum { ISO_LAWFIT_WARN_MAX = 12, ISO_LAWFIT_OUTLIERS = 5, ISO_LAWFIT_AXES = ISO_LAW_INPUT_MAX + 1 };
typedef struct iso_lawfit {
  const iso_law *law;
  int64_t n, skipped, dropped, clusters;
  iso_law_objective objective;
  double delta;
  double p[ISO_LAW_PARAM_MAX], se[ISO_LAW_PARAM_MAX], lo[ISO_LAW_PARAM_MAX], hi[ISO_LAW_PARAM_MAX];
  double value, grad_norm;  // objective, and its gradient's length in coordinates where its curvature is 1
  iso_lawfit_minimiser minimiser;
  bool mean;                     // the minimiser saw the mean over rows; `value` is the sum all the same
  int starts, finalists, agree;  // starts tried, those taken to the end, how many of these ended within 1e-6 of the best
  double published[8];           // the objective at the law's published sets on the same rows
  double level, rmse, r2;        // root mean square of residuals (of logarithms where the objective's are); of the target
  double noise_sd;               // rmse with the parameters' degrees of freedom taken off
  double condition;              // of the Jacobian with columns of unit length
  double x_lo[ISO_LAW_INPUT_MAX], x_hi[ISO_LAW_INPUT_MAX], flop_lo, flop_hi;  // ranges seen; flop NaN: not known
  iso_lawfit_boot boot;
  double stretch;             // widening of the intervals for the parameters fitted
  int64_t resamples, failed;  // refits kept; refits that came to nothing
  uint64_t seed;
  double fit_s, refit_s;  // wall seconds of the estimate (all starts) and, with all threads, of one refit; NaN: none
  const char *algorithm;  // of another fit that is shown as this one, for the checklist; NULL: by `minimiser`
  double *sample;         // owned: resamples x n_params
  double *resid;          // owned: n, data minus model
  int n_trends;
  iso_lawfit_trend trend[ISO_LAWFIT_AXES];
  // A kink in the residuals along train_flop (or the first input that varies): a law that bends where it should not.
  int break_axis;                              // -1: too few rows to look
  double break_at, break_p, break_per_decade;  // where, share of permutations with as strong a kink, change of slope beyond it
  int n_outliers;
  int64_t outlier_line[ISO_LAWFIT_OUTLIERS];  // of the file, of `outlier`
  int64_t outlier[ISO_LAWFIT_OUTLIERS];       // rows more than five robust standard deviations off, worst first
  int n_warn;
  char warn[ISO_LAWFIT_WARN_MAX][260];
} iso_lawfit;

// ISO_EINVAL for fewer rows than parameters, for a target that the objective cannot take the logarithm of, for bad options; ISO_ENUM when
// no start gives a finite objective. Close with iso_lawfit_close.
iso_status iso_lawfit_run(iso_ctx *c, const iso_law_data *d, const iso_lawfit_opts *o, iso_lawfit *out, iso_err *err);
void iso_lawfit_close(iso_lawfit *f);
// The objective of p on these rows; +INFINITY where the law is not defined.
double iso_lawfit_objective(const iso_law_data *d, iso_law_objective kind, double delta, const double *p);

// The fast fit of the Chinchilla form (fit.h) as a general one, with the diagnostics of this file: its rows, and its estimate with a copy
// of the resamples. Close both.
iso_status iso_law_data_of(const iso_fit_data *d, iso_law_data *out, iso_err *err);
iso_status iso_lawfit_of(const iso_fit *f, const iso_law_data *d, iso_lawfit *out, iso_err *err);

// ---- questions ------------------------------------------------------------------------------------------------------

// The target at x, and where a new run falls with probability `level`: spread of the parameters (bias-corrected percentiles) and noise of
// one run (quantiles of the residuals), added as independent.
iso_status iso_lawfit_predict(const iso_lawfit *f, const double *x, double level, iso_fit_interval *out, iso_err *err);
// The largest ratio by which an input, or the FLOPs, lies outside the rows fitted; *axis (may be NULL) as in iso_lawfit_trend, -1 inside.
double iso_lawfit_reach(const iso_lawfit *f, const double *x, int *axis);
// ISO_EUNSUP when that ratio is above `most`: how to allow it is in the hint.
iso_status iso_lawfit_check_reach(const iso_lawfit *f, const double *x, double most, iso_err *err);
const char *iso_lawfit_axis_name(const iso_law *law, int axis);

typedef struct iso_lawfit_best {
  double flop;
  iso_fit_interval params, tokens, loss;
  int64_t used;  // resamples that have an optimum
} iso_lawfit_best;
// The compute-optimal point at `flop`, the other inputs as in x (NULL: absent).
iso_status iso_lawfit_optimum(const iso_lawfit *f, const double *x, double flop, double level, iso_lawfit_best *out, iso_err *err);

typedef struct iso_lawfit_target {
  double y;
  iso_fit_interval flop, params, tokens;
  int64_t used;  // resamples that reach it
} iso_lawfit_target;
// The compute whose optimum has the target y, the other inputs as in x (NULL: absent). ISO_ENUM when no compute does.
iso_status iso_lawfit_flop_for(const iso_lawfit *f, const double *x, double y, double level, iso_lawfit_target *out, iso_err *err);

// The input at which the target is best (see iso_law_best_input), and the target there.
typedef struct iso_lawfit_best_input {
  int input;
  iso_fit_interval at, value;
  int64_t used;  // resamples that have one
  double reach;
  int axis;  // as in iso_lawfit_reach
} iso_lawfit_best_input;
// Input k, the others as in x. Looked for up to `most` times outside the rows; ISO_ENUM when it is not there, ISO_EUNSUP when the others lie
// further out.
iso_status iso_lawfit_find_best(const iso_lawfit *f, const double *x, int k, double most, double level, iso_lawfit_best_input *out, iso_err *err);

typedef struct iso_lawfit_held {
  double y, error;     // observed; predicted / y - 1 for objectives of logarithms, else predicted - y
  iso_fit_interval v;  // NaN when refused
  double reach;
  int axis;
  bool inside, refused;  // y inside the interval; further out than was allowed
} iso_lawfit_held;
typedef struct iso_lawfit_score {
  int64_t n, used;                         // rows, those not refused
  iso_lawfit_held *at;                     // owned: n
  double mean_abs, max_abs, bias, inside;  // of the errors; share of intervals that hold their run. NaN when none is used
} iso_lawfit_score;
// Predicts rows that were not fitted. Rows beyond `most` times the range are refused and do not count.
iso_status iso_lawfit_score_rows(const iso_lawfit *f, const iso_law_data *held, double level, double most, iso_lawfit_score *out, iso_err *err);
void iso_lawfit_score_close(iso_lawfit_score *s);

// Whether constants p of the law agree with a fit, as Besiroglu et al. 2024 (arXiv:2404.10102) test those of Hoffmann et al.
typedef struct iso_lawfit_against {
  double log_likelihood;  // of p's residuals under Huber's density of threshold 1e-3 scales, the scale at its best
  double ratio, ratio_p;  // 2 (log-likelihood of the fit - of p), and chi-squared's tail beyond it; p 1 where the fit is no better
  double chi2, chi2_p;    // (p - fit)' cov^-1 (p - fit), cov of the refits; NaN without refits or where they leave cov singular
} iso_lawfit_against;
// Both tests have n_params degrees of freedom. d: the rows that were fitted. ISO_ENUM where p is not defined for one of them.
iso_status iso_lawfit_test(const iso_lawfit *f, const iso_law_data *d, const double *p, iso_lawfit_against *out, iso_err *err);

// ---- report ---------------------------------------------------------------------------------------------------------

// The checklist of Li et al. 2025, (Mis)Fitting, arXiv:2502.18969: what a reader needs to repeat a fit. `answer` is empty where neither
// the table nor the fit knows it.
typedef struct iso_lawfit_item {
  const char *section, *question;
  char answer[300];
} iso_lawfit_item;
enum { ISO_LAWFIT_ITEMS = 24 };
// Fills items; returns how many. `o` may be NULL.
int iso_lawfit_checklist(const iso_lawfit *f, const iso_law_data_opts *o, const iso_lawfit_score *held, iso_lawfit_item *items);

// Objects owned by the caller.
json_t *iso_lawfit_json(const iso_lawfit *f);
json_t *iso_lawfit_score_json(const iso_lawfit *f, const iso_law_data *held, const iso_lawfit_score *s);
json_t *iso_lawfit_checklist_json(const iso_lawfit *f, const iso_law_data_opts *o, const iso_lawfit_score *held);
// The law itself: formula, inputs, parameters, conventions, published sets.
json_t *iso_law_json(const iso_law *law);
// One set of constants: values, source, range, what is published of its uncertainty.
json_t *iso_law_const_json(const iso_law *law, const iso_law_const *c);
#endif
