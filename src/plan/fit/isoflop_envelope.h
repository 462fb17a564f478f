// The envelope method: which size has the lowest loss after each amount of compute, and a power law through the sizes.
#ifndef ISO_PLAN_FIT_ISOFLOP_ENVELOPE_H
#define ISO_PLAN_FIT_ISOFLOP_ENVELOPE_H
#include "plan/fit/fit.h"

// Hoffmann et al. 2022, arXiv:2203.15556, approach 1: for every size interpolate the loss over training compute, at each of many budgets
// take the size that is lowest, and fit N* = k C^a. Each size wins a stretch of budgets; it counts as one point at the stretch's middle
// (in log C), weighed by its length, since a line through the steps themselves comes out too flat. Sizes at an end of the range, and
// those whose neighbours were not trained over their whole stretch, do not count: what would have beaten them is not there.
typedef struct iso_envelope_opts {
  int bins;           // budgets, evenly spaced in log C over the data
  int64_t resamples;  // refits to a random 80% of the sizes (as in the paper); 0: no intervals
  uint64_t seed;
  double level;  // of the intervals
} iso_envelope_opts;
// 1,500 budgets, 100 resamples, 90%.
iso_envelope_opts iso_envelope_opts_default(void);

typedef struct iso_envelope {
  int64_t sizes, short_sizes;  // sizes with three or more token counts; those with fewer, left out
  int64_t steps;               // sizes that count
  double flop_lo, flop_hi;     // budgets their stretches cover
  double n_lo, n_hi;           // the sizes themselves
  // N* = n_coef C^n_exponent, D* ~ C^d_exponent; NaN below two steps. Intervals are the spread over subsets, NaN below 20 that can be fitted.
  double n_coef, r2;
  iso_fit_interval n_exponent, d_exponent;
  int64_t resamples;  // subsets that could be fitted
  double level;
} iso_envelope;

// ISO_EINVAL when values are not positive and finite, for bad options, and when fewer than three sizes have three token counts. Nothing to
// close.
iso_status iso_envelope_fit(const iso_fit_data *d, const iso_envelope_opts *o, iso_envelope *out, iso_err *err);
// Owned by the caller.
json_t *iso_envelope_json(const iso_envelope *m);
#endif
