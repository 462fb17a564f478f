// Fitting L(N,D) = E + A/N^alpha + B/D^beta to training runs: point estimate, bootstrap intervals, predictions, warnings.
#ifndef ISO_PLAN_FIT_FIT_H
#define ISO_PLAN_FIT_FIT_H
#include "base/json.h"
#include "plan/law.h"

// Order of parameters everywhere in this file, that of the law chinchilla.
enum { ISO_FIT_LOG_A, ISO_FIT_LOG_B, ISO_FIT_LOG_E, ISO_FIT_ALPHA, ISO_FIT_BETA, ISO_FIT_P };

// Points to fit: parameters, training tokens, training FLOPs, final loss (nats per token). All positive and finite.
typedef struct iso_fit_data {
  int64_t n;
  int64_t skipped;                        // rows of the file without a loss (runs that have not ended)
  int64_t dropped;                        // rows dropped for their high loss
  double *params, *tokens, *flop, *loss;  // owned, one block at params
} iso_fit_data;
iso_status iso_fit_data_open(int64_t n, iso_fit_data *out, iso_err *err);
void iso_fit_data_close(iso_fit_data *d);
// Drops the k points of highest loss, keeping the order of the others. ISO_EINVAL when fewer than k + 1 are there.
iso_status iso_fit_data_drop_highest(iso_fit_data *d, int64_t k, iso_err *err);
// Sorts by ascending loss (stable): the order that resample files refer to.
iso_status iso_fit_data_sort(iso_fit_data *d, iso_err *err);

// How the spread of the estimate is sampled.
typedef enum iso_fit_boot {
  ISO_FIT_BOOT_AUTO,       // pairs from 60 points on and without a prior, else parametric
  ISO_FIT_BOOT_PAIRS,      // resample points with replacement (Efron 1979)
  ISO_FIT_BOOT_PARAMETRIC  // redraw log losses around the fit, the noise scale from its posterior and the prior's means from the prior
} iso_fit_boot;

// Independent Gaussians on log(A / N0^alpha), log(B / D0^beta), log E, alpha, beta; N0, D0 = anchors. Anchors near the data
// make the first two the size of each term there, which is what one can know beforehand; anchors of 1 give log A and log B.
// sd = +INFINITY leaves a parameter free. scale_sd > 0: the three terms share a factor of that log standard deviation beside, as laws
// of one recipe on different texts do.
typedef struct iso_fit_prior {
  double mean[ISO_FIT_P], sd[ISO_FIT_P], scale_sd;
  double anchor_params, anchor_tokens;
} iso_fit_prior;

typedef struct iso_fit_opts {
  double delta;       // Huber threshold on log residuals
  int64_t resamples;  // 0: no intervals
  uint64_t seed;
  double level;  // of the intervals, e.g. 0.90
  iso_fit_boot boot;
  const double *weight;        // borrowed, n non-negative weights; NULL: all 1
  const iso_fit_prior *prior;  // borrowed; NULL: none
  double noise_sd, noise_dof;  // what is known of the noise of log loss: a scaled inverse chi-squared with these
} iso_fit_opts;
// delta 1e-3, 4,000 resamples, 90%, noise 0.005 worth 2 points, no prior.
iso_fit_opts iso_fit_opts_default(void);

typedef struct iso_fit_interval {
  double mid, lo, hi;
} iso_fit_interval;

enum { ISO_FIT_WARN_MAX = 8 };
typedef struct iso_fit {
  const iso_law *law;
  int64_t n, skipped, dropped;
  double p[ISO_FIT_P];                  // estimate
  double se[ISO_FIT_P];                 // bootstrap standard deviations; NaN without resamples
  double lo[ISO_FIT_P], hi[ISO_FIT_P];  // bias-corrected percentile intervals
  double level, delta;
  double objective, grad_norm;                      // Huber sum and its largest gradient component (centred parameters)
  int starts, finalists, finalists_agree;           // starts tried, those taken to the end, and how many of these ended within 1e-9 of the best
  double noise_sd, noise_df;                        // standard deviation of log residuals, degrees of freedom used
  double condition;                                 // of the scaled Jacobian at the estimate: how far from unidentifiable
  double corr_nd;                                   // correlation of log N and log D
  double n_min, n_max, d_min, d_max, c_min, c_max;  // ranges seen
  iso_fit_boot boot;                                // the one used
  double stretch;                                   // widening of bootstrap intervals for the parameters fitted, 1 for parametric
  int64_t resamples, failed;                        // refits kept, refits that did not converge
  double *sample;                                   // owned: resamples x ISO_FIT_P
  double *sample_noise;                             // owned: noise scale of each resample (parametric); NULL for pairs
  double *resid;                                    // owned: n inflated residuals, in log loss
  uint64_t seed;
  double fit_s, refit_s;  // wall seconds of the estimate (all starts) and, with all threads, of one resample's; NaN: none
  int n_warn;
  char warn[ISO_FIT_WARN_MAX][240];
} iso_fit;

// Fits. Errors: ISO_EINVAL for fewer than 5 points (3 with a prior), fewer than 3 distinct N or D without a prior, values that are not
// positive and finite (names the row), bad options; ISO_ENUM when no start converges. Close with iso_fit_close.
iso_status iso_fit_run(iso_ctx *c, const iso_fit_data *d, const iso_fit_opts *o, iso_fit *out, iso_err *err);
void iso_fit_close(iso_fit *f);

// Loss at (N, D) and where a new run's loss falls with probability `level`: spread of the parameters and noise of one run together.
iso_status iso_fit_predict(const iso_fit *f, double params, double tokens, double level, iso_fit_interval *out, iso_err *err);

// The compute-optimal point at C = 6 N D with intervals from the resamples (those without an optimum are left out).
typedef struct iso_fit_best {
  double flop;
  iso_fit_interval params, tokens, loss;
  iso_fit_interval exponent;  // a in N* = k C^a, beta / (alpha + beta)
  int64_t used;               // resamples that have an optimum
} iso_fit_best;
iso_status iso_fit_optimum(const iso_fit *f, double flop, double level, iso_fit_best *out, iso_err *err);

// How far outside the data a question is: asked / largest seen when above the range, smallest seen / asked below it, 1 inside.
typedef struct iso_fit_reach {
  double params, tokens, flop;
} iso_fit_reach;
iso_fit_reach iso_fit_extrapolation(const iso_fit *f, double params, double tokens, double flop);

// Everything above as an object; owned by the caller.
json_t *iso_fit_json(const iso_fit *f);
json_t *iso_fit_interval_json(const iso_fit_interval *v);
#endif
