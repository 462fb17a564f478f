// The IsoFLOP method on interpolated curves: the minimum of each curve of equal budget, and a power law through the minima.
#ifndef ISO_PLAN_FIT_ISOFLOP_CURVES_H
#define ISO_PLAN_FIT_ISOFLOP_CURVES_H
#include "plan/fit/fit.h"

// Porian et al. 2024, arXiv:2406.19146, section 3: at each budget C interpolate log loss against log N (Akima), take the minimum N*(C)
// where it lies inside the sampled sizes, and fit N* = k C^a by weighted least squares in the logarithms. How far a minimum can be told
// is found by adding noise to the losses again and again. Unlike a parabola the curve may be lopsided, and points far from the minimum
// do not move it.
enum { ISO_CURVES_MAX = 64 };

typedef struct iso_curves_opts {
  double tolerance;      // points whose budget is within this share of a level's belong to it
  const double *levels;  // borrowed; NULL: levels are found by density
  int n_levels;
  double noise_sd;  // standard deviation of a run's loss between seeds, in the loss's unit
  int64_t resamples;
  uint64_t seed;
  double level;  // of the intervals
} iso_curves_opts;
// tolerance 0.1, levels found, noise 0.002 (the paper's for RefinedWeb), 4,000 resamples, 90%.
iso_curves_opts iso_curves_opts_default(void);

typedef enum iso_curve_flag {
  ISO_CURVE_OK = 0,
  ISO_CURVE_EDGE = 1,     // the lowest point is an end of the sampled range: not used
  ISO_CURVE_UNSTABLE = 2  // with noise the lowest point is an end in more than half of the resamples: not used
} iso_curve_flag;

typedef struct iso_curve {
  double flop;              // geometric mean of the points' budgets
  int64_t n;                // different sizes; of several runs of one size the best counts
  double n_min, n_max;      // sampled range
  iso_fit_interval params;  // N*: median over the resamples (the curve's own minimum without), percentile interval
  double tokens, loss;      // at N*, tokens by interpolating them along the curve
  double sd_log_n;          // of log N*, at least a third of the mean spacing of the sizes; its inverse square is the level's weight
  double inside;            // share of resamples whose minimum lies inside
  unsigned flags;           // iso_curve_flag
} iso_curve;

typedef struct iso_curves {
  int n, used;         // levels, and those in the power law
  int64_t unassigned;  // points that belong to no level of three sizes or more
  int64_t resamples;   // in which every level that is used has a minimum inside
  double level, noise_sd;
  iso_curve at[ISO_CURVES_MAX];
  // N* = n_coef C^n_exponent, D* ~ C^d_exponent; NaN below two usable levels, intervals NaN without resamples.
  double n_coef, r2;
  iso_fit_interval n_exponent, d_exponent;
} iso_curves;

// Errors: ISO_EINVAL when values are not positive and finite, when no level has three points with distinct N, or when the noise is not
// small beside the losses. Nothing to close.
iso_status iso_curves_fit(const iso_fit_data *d, const iso_curves_opts *o, iso_curves *out, iso_err *err);
// The curves of a fit with the same data and options, for showing them: `steps` sizes of every level, evenly in the logarithm, and the
// losses there (m->n x steps each); of[i] is the level of point i, -1: none.
iso_status iso_curves_trace(const iso_fit_data *d, const iso_curves_opts *o, const iso_curves *m, int steps, double *n, double *loss, int *of,
                            iso_err *err);
// Owned by the caller: levels, n_exponent and d_exponent as {value, lo, hi}, n_coef, r2, ...
json_t *iso_curves_json(const iso_curves *m);
// {value, lo, hi}
json_t *iso_curves_exponent_json(const iso_fit_interval *v);
#endif
