// The project's only statistics: moments, errors, quantiles, Student t, bootstrap indices.
#ifndef ISO_BASE_STAT_H
#define ISO_BASE_STAT_H
#include "base/status.h"

double iso_mean(const double *x, int64_t n);
// Sample standard deviation (divides by n - 1); NaN for n < 2.
double iso_stdev(const double *x, int64_t n);
// Standard error of the mean, stdev / sqrt(n).
double iso_stderr(const double *x, int64_t n);
// sqrt(mean((x - y)^2)).
double iso_rmse(const double *x, const double *y, int64_t n);
// Quantile q in [0,1] by linear interpolation of order statistics (type 7 of Hyndman and Fan 1996); sorts x in place.
double iso_quantile(double *x, int64_t n, double q);
double iso_median(double *x, int64_t n);
// Rank correlation of x and y (Spearman 1904; ties get their mean rank) and its two-sided p by the normal approximation, in which rho has
// variance 1 / (n - 1). NaN both when fewer than three pairs, or when one of them is constant. ISO_ENOMEM.
iso_status iso_rank_correlation(const double *x, const double *y, int64_t n, double *rho, double *p, iso_err *err);
// Two-sided critical value of Student's t: P(|T| <= t) = level, `df` degrees of freedom.
double iso_t_quantile(double level, double df);
// Standard normal cumulative distribution and its inverse.
double iso_normal_cdf(double z);
double iso_normal_quantile(double p);
// P(X > x) for chi-squared with `df` degrees of freedom, relatively exact far out.
double iso_chi2_above(double x, int df);
#endif
