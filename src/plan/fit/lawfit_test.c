// Tests whether given constants agree with a fit: likelihood ratio under Huber's density, and distance in the covariance of the refits.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/stat.h"
#include "plan/fit/lawfit_impl.h"

enum { PM = ISO_LAW_PARAM_MAX };
#define SHAPE 1e-3  // threshold in scales: all but the smallest residuals count linearly

typedef struct sample {
  const double *r;
  int64_t n;
} sample;

// Less the log-likelihood of the residuals at scale exp(u), over n.
static double minus_log_likelihood(void *self, double u) {
  const sample *s = self;
  const double inner = sqrt(2 * 3.14159265358979323846) * erf(SHAPE / sqrt(2)), outer = 2 * exp(-0.5 * SHAPE * SHAPE) / SHAPE;
  double scale = exp(u), sum = 0;
  for (int64_t i = 0; i < s->n; i++) {
    double a = fabs(s->r[i]) / scale;
    sum += a <= SHAPE ? 0.5 * a * a : SHAPE * (a - 0.5 * SHAPE);
  }
  return sum / (double)s->n + log(inner + outer) + u;
}

static iso_status log_likelihood(const iso_lawfit *f, const iso_law_data *d, const double *p, double *r, double *out, iso_err *err) {
  iso_lawfit_problem s = {.law = f->law, .n = d->n, .x = d->x, .y = d->y, .objective = f->objective, .delta = f->delta};
  double most = 0;
  for (int64_t i = 0; i < d->n; i++) {
    r[i] = iso_lawfit_residual(&s, p, i, NULL);
    if (!isfinite(r[i]))
      return iso_fail(err, ISO_ENUM, "law %s is not defined for row %lld with these constants", f->law->base.name, (long long)i + 1);
    most = fmax(most, fabs(r[i]));
  }
  sample at = {r, d->n};
  *out = INFINITY;
  if (!(most > 0)) return ISO_OK;
  double u = iso_law_least(minus_log_likelihood, &at, log(most) - 40, log(most) + 5, 200, NULL);
  *out = -(double)d->n * minus_log_likelihood(&at, u);
  return ISO_OK;
}

// v' cov^-1 v by Cholesky's factor of the correlations; NaN when they are singular.
static double distance(const iso_lawfit *f, const double *v) {
  int n = f->law->n_params;
  double m[PM] = {0}, c[PM][PM] = {{0}}, sd[PM], z[PM], sum = 0, many = (double)f->resamples;
  if (f->resamples <= n) return NAN;
  for (int64_t b = 0; b < f->resamples; b++)
    for (int k = 0; k < n; k++) m[k] += f->sample[b * n + k] / many;
  for (int64_t b = 0; b < f->resamples; b++)
    for (int i = 0; i < n; i++)
      for (int j = 0; j <= i; j++) c[i][j] += (f->sample[b * n + i] - m[i]) * (f->sample[b * n + j] - m[j]) / (many - 1);
  for (int k = 0; k < n; k++) sd[k] = sqrt(c[k][k]);
  for (int i = 0; i < n; i++) {
    double rest = v[i] / sd[i];
    for (int j = 0; j <= i; j++) {
      double s = c[i][j] / (sd[i] * sd[j]);
      for (int k = 0; k < j; k++) s -= c[i][k] * c[j][k];
      c[i][j] = i == j ? sqrt(s) : s / c[j][j];
    }
    if (!(c[i][i] > 1e-7)) return NAN;
    for (int j = 0; j < i; j++) rest -= c[i][j] * z[j];
    z[i] = rest / c[i][i];
    sum += z[i] * z[i];
  }
  return sum;
}

iso_status iso_lawfit_test(const iso_lawfit *f, const iso_law_data *d, const double *p, iso_lawfit_against *out, iso_err *err) {
  double v[PM], own, *r = malloc(sizeof *r * (size_t)(d->n + 1));
  *out = (iso_lawfit_against){NAN, NAN, NAN, NAN, NAN};
  if (!r) return iso_fail(err, ISO_ENOMEM, "law %s: no memory for %lld residuals", f->law->base.name, (long long)d->n);
  iso_status st = log_likelihood(f, d, f->p, r, &own, err);
  if (st == ISO_OK) st = log_likelihood(f, d, p, r, &out->log_likelihood, err);
  free(r);
  if (st != ISO_OK) return st;
  int df = f->law->n_params;
  out->ratio = 2 * (own - out->log_likelihood);
  out->ratio_p = out->ratio > 0 ? iso_chi2_above(out->ratio, df) : 1;
  for (int k = 0; k < df; k++) v[k] = p[k] - f->p[k];
  out->chi2 = distance(f, v);
  out->chi2_p = iso_chi2_above(out->chi2, df);
  return ISO_OK;
}
