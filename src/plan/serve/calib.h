// Calibration of serving times on measured points: seven numbers for all systems and one factor per (system, backend, precision).
#ifndef ISO_PLAN_SERVE_CALIB_H
#define ISO_PLAN_SERVE_CALIB_H
#include "plan/score.h"
#include "plan/serve/points.h"

enum { ISO_CALIB_GROUPS_MAX = 128, ISO_CALIB_EFFECTS_MAX = 96, ISO_CALIB_MODELS_MAX = 64 };

// The factor of one (system, backend, precision): the median of measured over computed time, drawn to the pooled one by few points.
typedef struct iso_calib_group {
  char system[32], backend[16], precision[8];  // system: the device's name
  int64_t points;
  double scale, ttft_scale;
} iso_calib_group;
// A term of the pooled factor, log scale = base + system + backend + precision: what a group without points gets.
typedef struct iso_calib_effect {
  int kind;  // 0 system, 1 backend, 2 precision
  char name[32];
  double log_scale, log_ttft;
} iso_calib_effect;

typedef struct iso_calib {
  iso_serve_coef coef;  // additive (overlap false), scale 1
  // time to first token = fixed_s + prefill x prefill time + step x decode step + queue x prefill time x prompts in flight per prefill worker
  double ttft_fixed_s, ttft_prefill, ttft_step, ttft_queue;
  double base, ttft_base;
  iso_calib_group group[ISO_CALIB_GROUPS_MAX];
  iso_calib_effect effect[ISO_CALIB_EFFECTS_MAX];
  int groups, effects;
  int64_t points;
  double lo, hi, ttft_lo, ttft_hi;  // 90% of measured / predicted of models that were left out; NaN until iso_calib_check_run fills them
  char source[96];
} iso_calib;

// Fits all used points of p, but those whose drop[i] is true (drop may be NULL). Least absolute error of log time; the seven numbers by
// Nelder-Mead from a fixed start, so that equal points give equal results. Errors: ISO_EINVAL with fewer than 10 points or too many groups.
iso_status iso_calib_fit(const iso_serve_points *p, const bool *drop, iso_calib *out, iso_err *err);
// Fitted to the 1,467 usable points of a public collection (dense and MoE models of 8B to 1T parameters on H100 to GB300, three engines); without
// groups: scale 1, and the interval says what that costs.
iso_calib iso_calib_default(void);

// coef with the factor of a group (the pooled one when it has no points).
iso_serve_coef iso_calib_coef(const iso_calib *c, const char *system, const char *backend, const char *precision);
// Predicted seconds of a point. ISO_EINVAL when it is skipped.
iso_status iso_calib_predict(const iso_calib *c, const iso_serve_point *p, double *tpot_s, double *ttft_s, iso_err *err);

// Each model predicted from the others.
typedef struct iso_calib_model {
  char name[64];
  int64_t points;
  double error, ratio, ttft_error;  // medians of |predicted / measured - 1|, of predicted / measured, and of the former for TTFT
} iso_calib_model;
// Kendall's tau-b between predicted and measured over the configurations of each (model, system, prompt, output) that has four or more.
typedef struct iso_calib_tau {
  double mean, min;
  int64_t groups;
} iso_calib_tau;
typedef struct iso_calib_check {
  int64_t points;
  double error, mean_error, p90_error;  // of time per output token: median, mean, 90th percentile of |predicted / measured - 1|
  double ttft_error, ttft_p90_error;
  iso_calib_tau tau;
  double lo, hi, ttft_lo, ttft_hi;  // 5% and 95% quantiles of measured / predicted
  iso_calib_model model[ISO_CALIB_MODELS_MAX];
  int models;
} iso_calib_check;
// by_shape: models of one shape (DeepSeek-V3 and R1, say) are left out together, so that none is predicted from its twin.
// Needs two models or more: ISO_EINVAL.
iso_status iso_calib_check_run(const iso_serve_points *p, bool by_shape, iso_calib_check *out, iso_err *err);
json_t *iso_calib_json(const iso_calib *c);
// ISO_EFORMAT names the key: factors must be positive, seconds not negative. What iso_calib_json wrote comes back bit for bit.
iso_status iso_calib_from_json(const json_t *j, const char *what, iso_calib *out, iso_err *err);
// The one that `isoflop hw fit` left with the device, else the default. ISO_EFORMAT as above.
iso_status iso_calib_of_device(const iso_device *d, iso_calib *out, iso_err *err);
json_t *iso_calib_check_json(const iso_calib_check *c);

// ---- One system: what `isoflop hw fit --serving` and `hw test --serving` tell.

// Predictions of the points of one system (a device's name; NULL: of all) beside what was measured.
typedef struct iso_calib_score {
  iso_score tpot, ttft;
  iso_calib_tau tau;
  // Over (model, precision, prompt, output, requests in flight, devices) with two or more configurations: measured time per output token of
  // the one predicted fastest over the best, minus 1. NaN without a choice.
  double regret, regret_worst;
  int64_t choices;
  int n_tensor, n_ranks, n_devices, n_worst, models;
  iso_score_bias tensor[ISO_SCORE_DEGREES_MAX], ranks[ISO_SCORE_DEGREES_MAX], devices[ISO_SCORE_DEGREES_MAX];  // of time per output token
  iso_calib_model model[ISO_CALIB_MODELS_MAX];
  int64_t worst[ISO_SCORE_WORST];  // indices of points
  double worst_s[ISO_SCORE_WORST];
} iso_calib_score;
// Every used point of the system predicted with `c`. ISO_EINVAL when there is none.
iso_status iso_calib_score_points(const iso_serve_points *p, const char *system, const iso_calib *c, iso_calib_score *out, iso_err *err);
json_t *iso_calib_score_json(const iso_calib_score *s, const iso_serve_points *p);

typedef struct iso_calib_system {
  iso_calib all;                // fitted to every used point of every system; its intervals are those of the points left out
  iso_score_splits tpot, ttft;  // fitted to two thirds of the points, on the system's among the rest
  iso_calib_score out;          // every model (shape) left out in turn; with one model in the file, every third of the points
  bool by_model;
} iso_calib_system;
// `seed` numbers the splits, of which there are at most ISO_SCORE_SPLITS_MAX. ISO_EINVAL when no point is of the system, or too few in all.
iso_status iso_calib_check_system(const iso_serve_points *p, const char *system, int splits, uint64_t seed, iso_calib_system *out, iso_err *err);
json_t *iso_calib_system_json(const iso_calib_system *c, const iso_serve_points *p);
#endif
