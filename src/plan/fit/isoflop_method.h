// The IsoFLOP parabola method: a quadratic of loss in log N at each budget, a power law through the minima, and a comparison with the law.
#ifndef ISO_PLAN_FIT_ISOFLOP_METHOD_H
#define ISO_PLAN_FIT_ISOFLOP_METHOD_H
#include "plan/fit/fit.h"

// Hoffmann et al. 2022, arXiv:2203.15556, approach 2: at each budget C fit L = c0 + c1 log N + c2 (log N)^2, take the minimum N*(C),
// then fit log N* = log k + a log C.
enum { ISO_PARABOLA_MAX = 64 };

typedef struct iso_parabola_opts {
  double tolerance;      // points whose budget is within this share of a level's belong to it
  const double *levels;  // borrowed; NULL: levels are found by density
  int n_levels;
  double half_width;  // use points within this distance in log N of the level's lowest loss; +INFINITY: all (as in the paper)
  double level;       // of the intervals
} iso_parabola_opts;
// tolerance 0.1, levels found, all points, 90%.
iso_parabola_opts iso_parabola_opts_default(void);

typedef enum iso_parabola_flag {
  ISO_PARABOLA_OK = 0,
  ISO_PARABOLA_OUTSIDE = 1,     // the minimum lies outside the sampled range of N: an extrapolation, not used for the power law
  ISO_PARABOLA_CONCAVE = 2,     // the curve opens downwards: no minimum, not used
  ISO_PARABOLA_NO_INTERVAL = 4  // three points, or curvature not told from zero: the minimum has no interval
} iso_parabola_flag;

typedef struct iso_parabola {
  double flop;  // geometric mean of the points' budgets
  int64_t n;
  double coef[3];  // loss = coef[0] + coef[1] u + coef[2] u^2, u = log N - log_n0
  double log_n0;
  double n_min, n_max;      // sampled range
  iso_fit_interval params;  // N*, interval by Fieller's theorem with Student's t
  double tokens, loss;      // at N*, tokens = C / (6 N*)
  double rmse;
  unsigned flags;  // iso_parabola_flag
} iso_parabola;

typedef struct iso_parabolas {
  int n, used;         // levels, and those in the power law
  int64_t unassigned;  // points that belong to no level of three or more
  double level;        // of the intervals
  iso_parabola at[ISO_PARABOLA_MAX];
  // N* = exp(log_k) C^a; NaN below two usable levels, no interval below three.
  double log_k;
  iso_fit_interval a;
  double resid_sd;  // of log N* about the line; NaN below three
} iso_parabolas;

// Errors: ISO_EINVAL when values are not positive and finite or no level has three points with distinct N. Nothing to close.
iso_status iso_parabolas_fit(const iso_fit_data *d, const iso_parabola_opts *o, iso_parabolas *out, iso_err *err);

// The parabolas' optimum beside the parametric law's, at one budget.
typedef struct iso_parabolas_compare {
  double flop;
  double params_parabola, params_law, ratio;  // ratio = parabola / law
  iso_fit_interval law_params;                // of the law
  double a_parabola, a_law;
  double loss_penalty;  // by the law: relative loss added by taking the parabolas' N* instead of the law's
  bool agree;           // the parabolas' N* lies in the law's interval, or costs less than 0.5% of loss
  char text[400];       // one sentence
} iso_parabolas_compare;
// ISO_EINVAL when the power law is undefined or the law has no optimum.
iso_status iso_parabolas_against(const iso_parabolas *m, const iso_fit *f, double flop, iso_parabolas_compare *out, iso_err *err);
json_t *iso_parabolas_json(const iso_parabolas *m);
#endif
