// Bayesian linear regression of log(loss / reference) on log N and log D.
#include "plan/transfer.h"

#include <math.h>

#include "base/stat.h"

enum { C = 3, ROUNDS = 6 };

iso_transfer_prior iso_transfer_prior_default(void) {
  // Carried over without a slope, the law lay 1.3% above what runs two to three times as long as the sweep's measured (docs/decisions.md).
  return (iso_transfer_prior){.mean = {0, 0, -0.005}, .sd = {0.4, 0.007, 0.007}, .noise_sd = 0.0105, .noise_df = 12, .drift_sd = 0.006};
}

// Inverse of a symmetric positive definite matrix (its prior makes it so).
static void invert(const double a[C][C], double out[C][C]) {
  double det = 0;
  for (int i = 0; i < C; i++)
    for (int j = 0; j < C; j++) {
      int p = (j + 1) % C, q = (j + 2) % C, r = (i + 1) % C, s = (i + 2) % C;
      out[i][j] = a[p][r] * a[q][s] - a[p][s] * a[q][r];
    }
  for (int j = 0; j < C; j++) det += a[0][j] * out[j][0];
  for (int i = 0; i < C; i++)
    for (int j = 0; j < C; j++) out[i][j] /= det;
}

static void row(const iso_transfer *t, double params, double tokens, double x[C]) {
  x[0] = 1;
  x[1] = log(params) - t->log_n0;
  x[2] = log(tokens) - t->log_d0;
}

// Posterior for a given noise; returns the weighted sum of squared residuals and, in *used, how many coefficients the runs determine.
static double solve(iso_transfer *t, const iso_fit_data *d, const double *ref, const double *w, const iso_transfer_prior *prior, double *used) {
  double a[C][C] = {{0}}, b[C] = {0}, s2 = t->noise_sd * t->noise_sd, rss = 0, x[C];
  for (int64_t i = 0; i < d->n; i++) {
    double y = log(d->loss[i] / ref[i]), k = (w ? w[i] : 1) / s2;
    row(t, d->params[i], d->tokens[i], x);
    for (int p = 0; p < C; p++) {
      b[p] += k * x[p] * y;
      for (int q = 0; q < C; q++) a[p][q] += k * x[p] * x[q];
    }
  }
  *used = C;
  for (int p = 0; p < C; p++) {
    double k = 1 / (prior->sd[p] * prior->sd[p]);
    a[p][p] += k;
    b[p] += k * prior->mean[p];
  }
  invert((const double(*)[C])a, t->cov);
  for (int p = 0; p < C; p++) {
    t->c[p] = 0;
    for (int q = 0; q < C; q++) t->c[p] += t->cov[p][q] * b[q];
    *used -= t->cov[p][p] / (prior->sd[p] * prior->sd[p]);
  }
  for (int64_t i = 0; i < d->n; i++) {
    row(t, d->params[i], d->tokens[i], x);
    double r = log(d->loss[i] / ref[i]) - t->c[0] * x[0] - t->c[1] * x[1] - t->c[2] * x[2];
    rss += (w ? w[i] : 1) * r * r;
  }
  return rss;
}

iso_status iso_transfer_fit(const iso_fit_data *d, const double *ref, const double *weight, const iso_transfer_prior *prior, double level,
                            iso_transfer *out, iso_err *err) {
  double total = 0;
  *out = (iso_transfer){.noise_sd = prior->noise_sd, .drift_sd = prior->drift_sd, .level = level, .n = d->n};
  if (d->n < 1) return iso_fail(err, ISO_EINVAL, "transfer: no runs");
  if (!(level > 0 && level < 1)) return iso_fail(err, ISO_EINVAL, "transfer: level %g, expected between 0 and 1", level);
  for (int64_t i = 0; i < d->n; i++) {
    double v[] = {d->params[i], d->tokens[i], d->loss[i], ref[i], weight ? weight[i] : 1};
    for (size_t k = 0; k < ISO_COUNT(v); k++)
      if (!(v[k] > 0 && v[k] < INFINITY))
        return iso_fail(err, ISO_EINVAL, "transfer: run %lld has params %g, tokens %g, loss %g, reference %g, weight %g, expected positive numbers",
                        (long long)i + 1, v[0], v[1], v[2], v[3], v[4]);
    total += v[4];
    out->log_n0 += v[4] * log(v[0]);
    out->log_d0 += v[4] * log(v[1]);
  }
  out->log_n0 /= total;
  out->log_d0 /= total;
  double n = 0, used;
  for (int64_t i = 0; i < d->n; i++) n += weight ? weight[i] : 1;
  // Noise and coefficients depend on each other: a few rounds settle them.
  for (int k = 0; k < ROUNDS; k++) {
    double rss = solve(out, d, ref, weight, prior, &used), free = fmax(n - used, 0);
    out->df = prior->noise_df + free;
    out->noise_sd = sqrt((prior->noise_df * prior->noise_sd * prior->noise_sd + rss) / out->df);
  }
  (void)solve(out, d, ref, weight, prior, &used);
  out->t = iso_t_quantile(level, fmax(out->df, 1));
  return ISO_OK;
}

iso_est iso_transfer_loss(const iso_transfer *t, double ref, double params, double tokens) {
  double x[C], mid = 0, var = t->noise_sd * t->noise_sd + t->drift_sd * t->drift_sd;
  row(t, params, tokens, x);
  for (int i = 0; i < C; i++) {
    mid += t->c[i] * x[i];
    for (int j = 0; j < C; j++) var += x[i] * t->cov[i][j] * x[j];
  }
  double half = t->t * sqrt(var);
  return iso_est_range(ref * exp(mid - half), ref * exp(mid), ref * exp(mid + half));
}
