// Questions to a law: optimum by closed form or search, compute for a target, slopes, and intervals from what is known of its constants.
#ifndef ISO_PLAN_LAW_ASK_H
#define ISO_PLAN_LAW_ASK_H
#include "plan/fit/fit.h"

// The compute-optimal point with the other inputs as in x: the closed form when the law has one and they are absent, else the search over
// 1e3 to 1e15 parameters. ISO_EINVAL for a law without a budget, ISO_ENUM when the best size lies at an end.
iso_status iso_law_optimum_at(const iso_law *law, const double *p, const double *x, double flop, iso_law_point *out, iso_err *err);
// The least compute whose optimum has the target y, by bisection over 1e6 to 1e40 FLOP. ISO_ENUM when y is reached nowhere there.
iso_status iso_law_flop_for(const iso_law *law, const double *p, const double *x, double y, iso_law_point *out, iso_err *err);
// Input k at which the target is y, the others as in x: the closed form, or the first crossing of a scan of 1e-6 to 1e30. ISO_ENUM: none.
iso_status iso_law_input_for(const iso_law *law, const double *p, const double *x, int k, double y, double *out, iso_err *err);

// d ln |y| / d ln x_k and d y / d x_k at x by central differences of two widths; NaN where x_k is absent or the law not defined beside it.
double iso_law_elasticity(const iso_law *law, const double *p, const double *x, int k);
double iso_law_slope(const iso_law *law, const double *p, const double *x, int k);
// Elasticity of substitution between parameters and tokens: d ln (D/N) / d ln (slope by N / slope by D) along x's line of equal target.
// For Chinchilla's form 1 / (1 + beta s_N + alpha s_D), s the shares of alpha A / N^alpha and beta B / D^beta in their sum. NaN without a
// budget.
double iso_law_substitution(const iso_law *law, const double *p, const double *x);

// Fills out with n quantities that follow from p; NaN where there is none.
typedef void (*iso_law_ask_fn)(void *self, const double *p, double *out);
enum { ISO_LAW_ASK_MAX = 40 };
// The quantities at the constants of c, with the central interval of `level` that the published spread of the constants gives: exact where
// they move in one direction only (an exponent), else to first order in each independent direction, of logarithms of the quantities.
// Normal, of other widths above and below where the published interval is lopsided. It says where the law lies, not where a run falls:
// the noise of a run is not in it. Without a spread lo and hi are NaN. ISO_EINVAL for a bad level or correlations of no distribution.
iso_status iso_law_spread_ask(const iso_law *law, const iso_law_const *c, int n, iso_law_ask_fn ask, void *self, double level, iso_fit_interval *out,
                              iso_err *err);
// The target at x with its interval, as above.
iso_status iso_law_predict_interval(const iso_law *law, const iso_law_const *c, const double *x, double level, iso_fit_interval *out, iso_err *err);
#endif
