// What the files of the fit share and nobody else sees.
#ifndef ISO_PLAN_FIT_FIT_IMPL_H
#define ISO_PLAN_FIT_FIT_IMPL_H
#include "plan/fit/fit.h"
#include "plan/fit/fit_lse.h"

// Refuses data and options that cannot be fitted, naming the row or the option.
iso_status iso_fit_check(const iso_fit_data *d, const iso_fit_opts *o, iso_err *err);
// The logarithms of checked data as a problem without a prior. Close with iso_lse_close.
iso_status iso_fit_open_problem(const iso_fit_data *d, const iso_fit_opts *o, iso_lse *s, iso_err *err);
// Fills ranges, correlation, condition, noise and warnings from the estimate in *f; *w holds shares and residuals there.
void iso_fit_diagnose(const iso_fit_data *d, const iso_fit_opts *o, const iso_lse *s, const iso_lse_work *w, iso_fit *f);
// Adds a warning; beyond ISO_FIT_WARN_MAX they are dropped.
void iso_fit_warn(iso_fit *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Centred parameters of the best of a grid of starts; counts in *f. ISO_ENUM when none converges.
iso_status iso_fit_multistart(const iso_lse *s, iso_lse_work *w, iso_fit *f, double *p, iso_err *err);
// Samples the spread of the estimate at centred `p` into f->sample, f->sample_noise, f->se, f->lo, f->hi.
iso_status iso_fit_bootstrap(iso_ctx *c, const iso_lse *s, const iso_fit_opts *o, const double *p, iso_fit *f, iso_err *err);
// Bias-corrected percentile interval (Efron 1981) of an estimate `mid` from n bootstrap values, its half width in standard units times
// `stretch`; sorts v. NaN ends when n is 0. Plain percentiles cover too often here (93% for 90% on synthetic Epoch data): Huber's small
// delta makes the estimate nearly a median, whose bootstrap is wide and skewed; the correction alone gives 89%, with the stretch 90%.
iso_fit_interval iso_fit_bc_interval(double *v, int64_t n, double mid, double level, double stretch);
// What resampling n points for `params` parameters leaves out: residuals shrunk by the fitted parameters and Student's t for the normal (Hesterberg
// 2015, doi 10.1080/00031305.2015.1089789, "expanded percentile").
double iso_fit_stretch(int64_t n, int params, double level);
extern const iso_lse_opts ISO_FIT_SOLVE;
#endif
