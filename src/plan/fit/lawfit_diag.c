// What the residuals of a fit say: noise, trends, a break, outliers, and how well the parameters are told apart.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/stat.h"
#include "plan/fit/lawfit_impl.h"

enum { PM = ISO_LAW_PARAM_MAX, PERMUTATIONS = 499, KINKS = 24 };

void iso_lawfit_warn(iso_lawfit *f, const char *fmt, ...) {
  if (f->n_warn >= ISO_LAWFIT_WARN_MAX) return;
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(f->warn[f->n_warn++], sizeof f->warn[0], fmt, ap);
  va_end(ap);
}

// Ratio of the largest to the smallest eigenvalue's root of J'J with columns of unit length, in the residuals' derivatives.
static double condition(const iso_lawfit_problem *s, const double *p) {
  int n = s->law->n_params;
  double a[PM][PM] = {{0}}, jac[PM];
  for (int64_t i = 0; i < s->n; i++) {
    iso_lawfit_residual(s, p, i, jac);
    for (int j = 0; j < n; j++)
      for (int k = 0; k < n; k++) a[j][k] += jac[j] * jac[k];
  }
  double scale[PM];
  for (int j = 0; j < n; j++) {
    if (!(a[j][j] > 0)) return INFINITY;
    scale[j] = sqrt(a[j][j]);
  }
  for (int j = 0; j < n; j++)
    for (int k = 0; k < n; k++) a[j][k] /= scale[j] * scale[k];
  // Cyclic Jacobi rotations (Golub and Van Loan, 8.5).
  for (int sweep = 0; sweep < 60; sweep++)
    for (int u = 0; u < n; u++)
      for (int v = u + 1; v < n; v++) {
        if (fabs(a[u][v]) < 1e-300) continue;
        double th = (a[v][v] - a[u][u]) / (2 * a[u][v]), t = (th >= 0 ? 1 : -1) / (fabs(th) + sqrt(th * th + 1));
        double c = 1 / sqrt(t * t + 1), d = t * c;
        for (int k = 0; k < n; k++) {
          double x = a[k][u], y = a[k][v];
          a[k][u] = c * x - d * y;
          a[k][v] = d * x + c * y;
        }
        for (int k = 0; k < n; k++) {
          double x = a[u][k], y = a[v][k];
          a[u][k] = c * x - d * y;
          a[v][k] = d * x + c * y;
        }
      }
  double lo = INFINITY, hi = 0;
  for (int k = 0; k < n; k++) {
    lo = fmin(lo, a[k][k]);
    hi = fmax(hi, a[k][k]);
  }
  return lo > 0 ? sqrt(hi / lo) : INFINITY;
}

// log10 of an axis' values; false when they do not vary or are not all known.
static bool axis_values(const iso_law_data *d, int axis, double *out) {
  double lo = INFINITY, hi = -INFINITY;
  for (int64_t i = 0; i < d->n; i++) {
    double v = axis < d->law->n_inputs ? d->x[i * d->law->n_inputs + axis] : d->flop[i];
    if (!(v > 0 && v < INFINITY)) return false;
    out[i] = log10(v);
    lo = fmin(lo, out[i]);
    hi = fmax(hi, out[i]);
  }
  return hi - lo > 0.01;
}

static double slope(const double *t, const double *r, int64_t n) {
  double mt = iso_mean(t, n), sxx = 0, sxy = 0;
  for (int64_t i = 0; i < n; i++) {
    sxx += (t[i] - mt) * (t[i] - mt);
    sxy += (t[i] - mt) * r[i];
  }
  return sxy / sxx;
}

// Fisher and Yates' shuffle, number `k`.
static void shuffle(double *r, int64_t n, uint64_t seed, uint64_t k) {
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t j = iso_rng_below(seed, ISO_RNG_NOISE, k, (uint64_t)i, i + 1);
    double v = r[i];
    r[i] = r[j];
    r[j] = v;
  }
}

// The hinge max(t - at, 0) with its straight-line part taken out: its length squared, and the vector in h.
static double hinge(const double *t, int64_t n, double at, double *h) {
  double mt = iso_mean(t, n), mh = 0, sxx = 0, sxh = 0, len = 0;
  for (int64_t i = 0; i < n; i++) {
    h[i] = fmax(t[i] - at, 0);
    mh += h[i] / (double)n;
  }
  for (int64_t i = 0; i < n; i++) {
    sxx += (t[i] - mt) * (t[i] - mt);
    sxh += (t[i] - mt) * (h[i] - mh);
  }
  for (int64_t i = 0; i < n; i++) {
    h[i] -= mh + sxh / sxx * (t[i] - mt);
    len += h[i] * h[i];
  }
  return len;
}

// The strongest kink among K hinges (n numbers each, unit length; `bend` their original lengths): how much it explains, which one, and
// its coefficient.
static double strongest(const double *h, const double *bend, int k, const double *r, int64_t n, int *which, double *coef) {
  double best = -1;
  for (int j = 0; j < k; j++) {
    double c = 0;
    for (int64_t i = 0; i < n; i++) c += h[j * n + i] * r[i];
    if (c * c <= best) continue;
    best = c * c;
    *which = j;
    *coef = c / bend[j];
  }
  return best;
}

// A two-phase regression of the residuals on log10 of an axis, its kink searched over, and the significance of the best kink by
// permutations (which takes the search into account).
static void find_break(const iso_law_data *d, int axis, const double *t, const double *resid, double *r, double *h, double *sorted, iso_lawfit *f) {
  double at[KINKS], bend[KINKS], coef = 0, none;
  int64_t n = d->n;
  int k = 0, which = 0, other;
  memcpy(sorted, t, sizeof *t * (size_t)n);
  for (int j = 0; j < KINKS; j++) {
    double a = iso_quantile(sorted, n, 0.1 + 0.8 * j / (KINKS - 1.0));
    if (k && a - at[k - 1] < 1e-6) continue;
    double len = hinge(t, n, a, h + k * n);
    if (!(len > 1e-12)) continue;
    at[k] = a;
    bend[k] = sqrt(len);
    for (int64_t i = 0; i < n; i++) h[k * n + i] /= bend[k];
    k++;
  }
  if (k < 2) return;
  memcpy(r, resid, sizeof *r * (size_t)n);
  double best = strongest(h, bend, k, r, n, &which, &coef);
  int64_t above = 1;
  for (int i = 0; i < PERMUTATIONS; i++) {
    shuffle(r, n, f->seed, (uint64_t)(1000 + i));
    above += strongest(h, bend, k, r, n, &other, &none) >= best;
  }
  f->break_axis = axis;
  f->break_at = pow(10, at[which]);
  f->break_per_decade = coef;
  f->break_p = (double)above / (PERMUTATIONS + 1);
}

static void trend(const iso_law_data *d, int axis, const double *t, const double *resid, double *r, iso_lawfit *f) {
  memcpy(r, resid, sizeof *r * (size_t)d->n);
  double b = slope(t, r, d->n);
  int64_t above = 1;
  for (int i = 0; i < PERMUTATIONS; i++) {
    shuffle(r, d->n, f->seed, (uint64_t)(2000 + i));
    above += fabs(slope(t, r, d->n)) >= fabs(b);
  }
  f->trend[f->n_trends++] = (iso_lawfit_trend){axis, b, (double)above / (PERMUTATIONS + 1)};
}

// Finds rows far off, and writes the residuals to `clipped` with their distance from the median cut at three robust standard deviations,
// so that a few of these rows do not hide what the others say.
static void outliers(const iso_law_data *d, iso_lawfit *f, double *scratch, double *clipped) {
  // 1.4826 times the median distance from the median is the standard deviation of a normal.
  memcpy(scratch, f->resid, sizeof *scratch * (size_t)f->n);
  double mid = iso_median(scratch, f->n);
  for (int64_t i = 0; i < f->n; i++) scratch[i] = fabs(f->resid[i] - mid);
  double sd = 1.4826 * iso_median(scratch, f->n);
  for (int64_t i = 0; i < f->n; i++) clipped[i] = mid + fmin(fmax(f->resid[i] - mid, -3 * sd), 3 * sd);
  // Residuals of rounding alone have no outliers.
  while (f->n_outliers < ISO_LAWFIT_OUTLIERS && f->rmse > 1e-12) {
    int64_t worst = -1;
    for (int64_t i = 0; i < f->n; i++) {
      bool seen = false;
      for (int k = 0; k < f->n_outliers; k++) seen = seen || f->outlier[k] == i;
      if (!seen && fabs(f->resid[i] - mid) > 5 * sd && (worst < 0 || fabs(f->resid[i] - mid) > fabs(f->resid[worst] - mid))) worst = i;
    }
    if (worst < 0) return;
    f->outlier_line[f->n_outliers] = d->line[worst];
    f->outlier[f->n_outliers++] = worst;
  }
}

static void warn_about(iso_lawfit *f) {
  const iso_law *law = f->law;
  bool is_log = iso_law_objective_is_log(f->objective);
  double unit = is_log ? 100 : 1;
  const char *sign = is_log ? "%" : "";
  if (f->n < 3 * law->n_params)
    iso_lawfit_warn(f, "only %lld rows for %d parameters: intervals lean on the form of the law", (long long)f->n, law->n_params);
  for (int i = 0; i < law->n_inputs; i++) {
    bool fixed = f->x_hi[i] <= f->x_lo[i] * (1 + 1e-9);
    if (fixed && isnan(law->input[i].absent))
      iso_lawfit_warn(f, "%s has one value only: what the law says about it rests on its form", law->input[i].name);
    if (!fixed && isfinite(f->x_hi[i]) && f->x_hi[i] < 4 * f->x_lo[i] && law->input[i].unit[0] != 'b')
      iso_lawfit_warn(f, "%s spans a factor of %.2g only", law->input[i].name, f->x_hi[i] / f->x_lo[i]);
  }
  if (f->condition > 1e4)
    iso_lawfit_warn(f, "the parameters can hardly be told apart (condition %.1e): trust predictions near the rows more than parameters",
                    f->condition);
  for (int i = 0; i < f->n_trends; i++)
    if (f->trend[i].p <= 0.01)
      iso_lawfit_warn(f, "residuals go with %s, %+.2g%s a decade (p = %.3f): the law misses something there",
                      iso_lawfit_axis_name(law, f->trend[i].axis), unit * f->trend[i].per_decade, sign, f->trend[i].p);
  if (f->break_axis >= 0 && f->break_p <= 0.01)
    iso_lawfit_warn(f, "residuals bend at %s = %.3g, by %+.2g%s a decade beyond it (p = %.3f): one law may not hold on both sides",
                    iso_lawfit_axis_name(law, f->break_axis), f->break_at, unit * f->break_per_decade, sign, f->break_p);
  if (f->n_outliers)
    iso_lawfit_warn(f, "%d row%s more than five robust standard deviations off, worst at line %lld", f->n_outliers,
                    f->n_outliers > 1 ? "s lie" : " lies", (long long)f->outlier_line[0]);
  if (f->agree < 2) iso_lawfit_warn(f, "the best of %d starts was reached once only: there may be better ones", f->starts);
}

static void noise(const iso_lawfit_problem *s, const iso_law_data *d, iso_lawfit *f) {
  double rss = 0, mean = iso_mean(d->y, d->n), res = 0, tot = 0;
  for (int64_t i = 0; i < d->n; i++) {
    f->resid[i] = -iso_lawfit_residual(s, f->p, i, NULL);
    double e = s->law->value(f->p, s->x + i * s->law->n_inputs, NULL) - d->y[i];
    rss += f->resid[i] * f->resid[i];
    res += e * e;
    tot += (d->y[i] - mean) * (d->y[i] - mean);
  }
  f->rmse = sqrt(rss / (double)d->n);
  f->noise_sd = sqrt(rss / (double)(d->n - s->law->n_params));
  f->r2 = tot > 0 ? 1 - res / tot : NAN;
}

iso_status iso_lawfit_diagnose(const iso_lawfit_problem *s, const iso_law_data *d, iso_lawfit *f, iso_err *err) {
  size_t n = (size_t)d->n;
  double *mem = malloc(sizeof *mem * n * (4 + KINKS));
  if (!mem) return iso_fail(err, ISO_ENOMEM, "fit: no memory for the residuals of %lld rows", (long long)d->n);
  double *t = mem, *r = mem + n, *sorted = mem + 2 * n, *clipped = mem + 3 * n, *h = mem + 4 * n;
  f->break_axis = -1;
  f->break_at = f->break_p = f->break_per_decade = NAN;
  noise(s, d, f);
  f->condition = condition(s, f->p);
  outliers(d, f, r, clipped);
  if (d->n >= 8 && f->rmse > 1e-12) {
    // train_flop first: the break is looked for along it where it is known.
    for (int axis = d->law->n_inputs; axis >= 0; axis--) {
      if (!axis_values(d, axis, t)) continue;
      trend(d, axis, t, clipped, r, f);
      if (f->break_axis < 0 && d->n >= 12) find_break(d, axis, t, clipped, r, h, sorted, f);
    }
  }
  warn_about(f);
  free(mem);
  return ISO_OK;
}
