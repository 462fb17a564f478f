// How far a fit's answer depends on how the fit is done: the same law fitted again with one choice changed at a time.
#ifndef ISO_PLAN_FIT_LAWFIT_VARIANTS_H
#define ISO_PLAN_FIT_LAWFIT_VARIANTS_H
#include "plan/fit/lawfit.h"

// The protocol of Li et al. 2025, (Mis)Fitting, arXiv:2502.18969, with what a table of runs can vary.
typedef enum iso_lawfit_choice {
  ISO_LAWFIT_AS_ASKED,
  ISO_LAWFIT_OBJECTIVE,  // Huber thresholds, squares, of the target or its logarithm
  ISO_LAWFIT_STARTS,     // how many, with the published sets among them or not
  ISO_LAWFIT_OPTIMISER,  // which one; for the plain one, sum or mean over rows
  ISO_LAWFIT_ROWS,       // none or five of the highest targets dropped
  ISO_LAWFIT_COUNT,      // another column of parameter counts
  ISO_LAWFIT_FLOPS,      // FLOPs of another parameter count, or the table's, in place of the law's
  ISO_LAWFIT_CHOICES
} iso_lawfit_choice;
const char *iso_lawfit_choice_name(iso_lawfit_choice c);  // "objective", ...

enum { ISO_LAWFIT_VARIANTS_MAX = 64 };
typedef struct iso_lawfit_variant {
  iso_lawfit_choice choice;
  char name[100];  // what is different
  char note[240];  // why there is no answer; empty when there is one
  int64_t n;       // rows fitted
  double p[ISO_LAW_PARAM_MAX], value, rmse, fit_s;
  int finalists, agree;
  double params, tokens;  // the compute-optimal point; NaN for laws without a budget
  double answer;          // tokens per parameter there, or the target at x
} iso_lawfit_variant;

typedef struct iso_lawfit_variants {
  const iso_law *law;
  bool ratio;   // the answer is tokens per parameter at `flop`; else the target at x
  bool at_row;  // x are the inputs of the row of most FLOPs (most of the first input where they are not known)
  double flop;  // NaN unless `ratio`
  double x[ISO_LAW_INPUT_MAX];
  int n, fitted;
  iso_lawfit_variant at[ISO_LAWFIT_VARIANTS_MAX];  // the first is the fit as asked
  iso_fit_interval asked;                          // its answer with the interval of the bootstrap: what another draw of runs would move
  double lo, hi;                                   // of the answers
  int lo_at, hi_at;
  double moved[ISO_LAWFIT_CHOICES];  // by choice, the largest change: of log answers when `ratio`, else of answers; NaN: nothing to vary
  iso_lawfit_choice most;            // where that is largest; ISO_LAWFIT_AS_ASKED when nothing moves
} iso_lawfit_variants;

typedef struct iso_lawfit_variants_opts {
  double flop;      // NaN: the largest among the rows fitted
  const double *x;  // borrowed: where the target is asked, and the other inputs of an optimum; NULL: see at_row
} iso_lawfit_variants_opts;
// Fits the law as *o and *d say (only that fit is bootstrapped) and with each choice changed. A variant that cannot be fitted has a note.
// Errors of the fit as asked only. Nothing to close.
iso_status iso_lawfit_variants_run(iso_ctx *c, const iso_csv *t, const iso_law *law, const iso_law_data_opts *d, const iso_lawfit_opts *o,
                                   const iso_lawfit_variants_opts *v, iso_lawfit_variants *out, iso_err *err);
// Owned by the caller.
json_t *iso_lawfit_variants_json(const iso_lawfit_variants *v);
#endif
