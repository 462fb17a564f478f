// A reference law carried over to a new text by a few short runs.
#ifndef ISO_PLAN_TRANSFER_H
#define ISO_PLAN_TRANSFER_H
#include "cost/budget.h"
#include "plan/fit/fit.h"

// log(loss / reference) = c0 + c1 log(N / N0) + c2 log(D / D0) + noise: the reference knows the shape of the law far from the runs, the runs
// know the level on this text. c has independent Gaussians as its prior; N0 and D0 are the weighted geometric means of the runs.
typedef struct iso_transfer_prior {
  double mean[3], sd[3];      // of c0, c1, c2
  double noise_sd, noise_df;  // of log loss from run to run, and how many observations that is worth
  double drift_sd;            // of log loss where the reference is asked beyond the runs: what its form cannot express
} iso_transfer_prior;
// mean 0, 0, -0.005; sd 0.4, 0.007, 0.007; noise 0.0105 worth 12 runs; drift 0.006.
iso_transfer_prior iso_transfer_prior_default(void);

typedef struct iso_transfer {
  double c[3], cov[3][3];  // posterior
  double log_n0, log_d0;
  double noise_sd, df, drift_sd;
  double level, t;  // of intervals, and Student's quantile for it
  int64_t n;
} iso_transfer;

// `ref` holds the reference loss at each run of `d`; `weight` (NULL: all 1) how much each counts. ISO_EINVAL: no runs, or values that are
// not positive and finite.
iso_status iso_transfer_fit(const iso_fit_data *d, const double *ref, const double *weight, const iso_transfer_prior *prior, double level,
                            iso_transfer *out, iso_err *err);
// The loss of a new run of (params, tokens) whose reference loss is `ref`, with the interval that holds it with probability `level`.
iso_est iso_transfer_loss(const iso_transfer *t, double ref, double params, double tokens);
#endif
