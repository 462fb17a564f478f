// What the IsoFLOP methods share and nobody else sees: points sorted by budget, each with the level that it belongs to.
#ifndef ISO_PLAN_FIT_ISOFLOP_IMPL_H
#define ISO_PLAN_FIT_ISOFLOP_IMPL_H
#include "plan/fit/fit.h"

typedef struct iso_level_row {
  double log_c, log_n, log_d, loss;
  int level;     // -1: of none
  int64_t from;  // the point's place in the data
} iso_level_row;

// Training FLOPs of point i, 6 N D where they are not given.
double iso_level_budget(const iso_fit_data *d, int64_t i);
// Checks the points and sorts them by budget into *out (malloc'ed, d->n rows, owned by the caller). Levels are the `n_levels` budgets
// given, or, when `levels` is NULL, found: again and again the window of budgets (as wide as the tolerance on either side) that holds
// most unassigned points, 3 at least. *n gets how many there are, at most `max`. ISO_EINVAL for values that are not positive and finite
// and for a bad tolerance.
iso_status iso_level_rows(const iso_fit_data *d, double tolerance, const double *levels, int n_levels, int max, iso_level_row **out, int *n,
                          iso_err *err);
// ISO_EINVAL: no level of use among d->n points.
iso_status iso_level_none(const iso_fit_data *d, double tolerance, iso_err *err);
#endif
