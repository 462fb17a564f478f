// Several laws fitted to the same rows with the same objective, ranked by what they predict of rows held out.
#ifndef ISO_PLAN_FIT_LAWFIT_COMPARE_H
#define ISO_PLAN_FIT_LAWFIT_COMPARE_H
#include "plan/fit/lawfit.h"

typedef struct iso_lawfit_entry {
  const iso_law *law;
  char note[300];           // why it is not compared; empty when it is
  iso_law_data rows, held;  // owned
  iso_lawfit fit;           // owned
  iso_lawfit_score score;   // owned
  // Over the held-out rows that no law compared refuses: relative to the target where every one of them is positive, else differences.
  double mean_abs, max_abs, bias, inside;
  int rank, objective_rank;  // from 1, by mean_abs and by the objective on the rows fitted; 0: not compared
  // Rank correlation of the residuals (data minus law) with tokens per parameter, and its p: near 0 where the law's inputs say all there is
  // to say about the split of compute ("More compute is what you need"). NaN without N and D.
  double split_rho, split_p;
} iso_lawfit_entry;

typedef struct iso_lawfit_compare {
  int n, compared;
  iso_lawfit_entry *at;  // owned: n, compared ones first by rank, the others as given
  int64_t held, common;  // held-out rows; those that every law compared answers
  bool relative;         // of the errors
} iso_lawfit_compare;

// o decides objective, delta, starts and resamples for all; targets are those of the first law. Columns mapped in d go to the laws that
// have such an input, train_flop follows from parameters and tokens (6 N D) where a law needs it and the table has none. A law that the
// table cannot feed is left out with a note. Errors: a column that no law has, bad options; those of the last law when none can be
// fitted. Close with iso_lawfit_compare_close.
iso_status iso_lawfit_compare_run(iso_ctx *c, const iso_csv *t, const iso_law *const *laws, int n, const iso_law_data_opts *d,
                                  const iso_lawfit_opts *o, double most, iso_lawfit_compare *out, iso_err *err);
void iso_lawfit_compare_close(iso_lawfit_compare *w);
// Owned by the caller.
json_t *iso_lawfit_compare_json(const iso_lawfit_compare *w);
#endif
