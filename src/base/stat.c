// Textbook statistics; tests compare them with published tables.
#include "base/stat.h"

#include <math.h>
#include <stdlib.h>

double iso_mean(const double *x, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; i++) s += x[i];
  return n > 0 ? s / (double)n : NAN;
}

double iso_stdev(const double *x, int64_t n) {
  if (n < 2) return NAN;
  double m = iso_mean(x, n), s = 0;
  for (int64_t i = 0; i < n; i++) s += (x[i] - m) * (x[i] - m);
  return sqrt(s / (double)(n - 1));
}

double iso_stderr(const double *x, int64_t n) { return n < 2 ? NAN : iso_stdev(x, n) / sqrt((double)n); }

double iso_rmse(const double *x, const double *y, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; i++) s += (x[i] - y[i]) * (x[i] - y[i]);
  return n > 0 ? sqrt(s / (double)n) : NAN;
}

static int cmp_double(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double iso_quantile(double *x, int64_t n, double q) {
  if (n < 1) return NAN;
  qsort(x, (size_t)n, sizeof *x, cmp_double);
  double h = (double)(n - 1) * q;
  int64_t i = (int64_t)floor(h);
  if (i >= n - 1) return x[n - 1];
  if (i < 0) return x[0];
  return x[i] + (h - (double)i) * (x[i + 1] - x[i]);
}

double iso_median(double *x, int64_t n) { return iso_quantile(x, n, 0.5); }

typedef struct ranked {
  double v;
  int64_t at;
} ranked;

static int by_value(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  return (x->v > y->v) - (x->v < y->v);
}

// Ranks from 1 into r, equals sharing their mean.
static void ranks(const double *x, int64_t n, ranked *order, double *r) {
  for (int64_t i = 0; i < n; i++) order[i] = (ranked){x[i], i};
  qsort(order, (size_t)n, sizeof *order, by_value);
  for (int64_t i = 0, j; i < n; i = j) {
    for (j = i + 1; j < n && order[j].v == order[i].v;) j++;
    for (int64_t k = i; k < j; k++) r[order[k].at] = 0.5 * (double)(i + j + 1);
  }
}

iso_status iso_rank_correlation(const double *x, const double *y, int64_t n, double *rho, double *p, iso_err *err) {
  *rho = *p = NAN;
  if (n < 3) return ISO_OK;
  ranked *order = malloc(sizeof *order * (size_t)n);
  double *a = malloc(sizeof *a * (size_t)n), *b = malloc(sizeof *b * (size_t)n);
  if (order && a && b) {
    double m = 0.5 * (double)(n + 1), xx = 0, yy = 0, xy = 0;
    ranks(x, n, order, a);
    ranks(y, n, order, b);
    for (int64_t i = 0; i < n; i++) {
      xx += (a[i] - m) * (a[i] - m);
      yy += (b[i] - m) * (b[i] - m);
      xy += (a[i] - m) * (b[i] - m);
    }
    if (xx > 0 && yy > 0) {
      *rho = xy / sqrt(xx * yy);
      *p = 2 * iso_normal_cdf(-fabs(*rho) * sqrt((double)(n - 1)));
    }
  }
  bool done = order && a && b;
  free(order);
  free(a);
  free(b);
  return done ? ISO_OK : iso_fail(err, ISO_ENOMEM, "rank correlation: no memory for %lld pairs", (long long)n);
}

double iso_normal_cdf(double z) { return 0.5 * erfc(-z * 0.70710678118654752440); }

// Bisection on a monotone function: slow, exact to the last bits, and obviously right.
static double invert(double (*f)(double, double), double par, double p, double lo, double hi) {
  for (int i = 0; i < 200; i++) {
    double mid = 0.5 * (lo + hi);
    if (f(mid, par) < p)
      lo = mid;
    else
      hi = mid;
  }
  return 0.5 * (lo + hi);
}

static double normal_cdf2(double z, double par) {
  (void)par;
  return iso_normal_cdf(z);
}

double iso_normal_quantile(double p) { return p <= 0 ? -INFINITY : p >= 1 ? INFINITY : invert(normal_cdf2, 0, p, -40, 40); }

// P(|T| <= t) by Simpson's rule after t = sqrt(df) tan(u): density cos(u)^(df-1), smooth on [0, atan(t / sqrt(df))].
static double t_central(double t, double df) {
  double end = atan(t / sqrt(df)), c = exp(lgamma((df + 1) / 2) - lgamma(df / 2)) / sqrt(3.14159265358979323846);
  int n = 2000;
  double h = end / n, s = 0;
  for (int i = 0; i <= n; i++) s += (i == 0 || i == n ? 1 : i % 2 ? 4 : 2) * pow(cos(h * i), df - 1);
  return 2 * c * s * h / 3;
}

double iso_t_quantile(double level, double df) {
  if (!(df >= 1)) return NAN;
  return df > 1e5 ? iso_normal_quantile(0.5 + level / 2) : invert(t_central, df, level, 0, 1e4);
}

// By Q(df) = Q(df - 2) + (x/2)^(df/2 - 1) e^(-x/2) / Gamma(df/2), all terms positive, from Q(1) = erfc(sqrt(x/2)) or Q(2) = e^(-x/2).
double iso_chi2_above(double x, int df) {
  if (df < 1 || !(x >= 0)) return NAN;
  double h = x / 2, q = df % 2 ? erfc(sqrt(h)) : exp(-h);
  for (int k = df % 2 ? 3 : 4; k <= df; k += 2) q += h > 0 ? exp((k / 2.0 - 1) * log(h) - h - lgamma(k / 2.0)) : 0;
  return q;
}
