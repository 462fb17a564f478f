// What the data can and cannot tell: ranges, correlation, condition, noise, and warnings in words.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plan/fit/fit_impl.h"

enum { P = ISO_FIT_P };

void iso_fit_warn(iso_fit *f, const char *fmt, ...) {
  if (f->n_warn >= ISO_FIT_WARN_MAX) return;
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(f->warn[f->n_warn++], sizeof f->warn[0], fmt, ap);
  va_end(ap);
}

// Eigenvalues of a symmetric matrix by cyclic Jacobi rotations (Golub and Van Loan, 8.5); destroys a.
static void eigenvalues(double a[P][P], double *ev) {
  for (int sweep = 0; sweep < 60; sweep++) {
    double off = 0;
    for (int i = 0; i < P; i++)
      for (int j = 0; j < i; j++) off += a[i][j] * a[i][j];
    if (off < 1e-40) break;
    for (int p = 0; p < P; p++)
      for (int q = p + 1; q < P; q++) {
        if (a[p][q] == 0) continue;
        double th = (a[q][q] - a[p][p]) / (2 * a[p][q]), t = (th >= 0 ? 1 : -1) / (fabs(th) + sqrt(th * th + 1));
        double c = 1 / sqrt(t * t + 1), s = t * c;
        for (int k = 0; k < P; k++) {
          double u = a[k][p], v = a[k][q];
          a[k][p] = c * u - s * v;
          a[k][q] = s * u + c * v;
        }
        for (int k = 0; k < P; k++) {
          double u = a[p][k], v = a[q][k];
          a[p][k] = c * u - s * v;
          a[q][k] = s * u + c * v;
        }
      }
  }
  for (int i = 0; i < P; i++) ev[i] = a[i][i];
}

// J'J of the log-loss residuals, weighted, in centred parameters.
static void gauss_newton(const iso_lse *s, const iso_lse_work *w, double m[P][P]) {
  memset(m, 0, sizeof(double) * P * P);
  for (int64_t i = 0; i < s->n; i++) {
    double j[P] = {w->w1[i], w->w2[i], w->w3[i], -w->w1[i] * s->x[i], -w->w2[i] * s->y[i]};
    for (int a = 0; a < P; a++)
      for (int b = 0; b < P; b++) m[a][b] += w->omega[i] * j[a] * j[b];
  }
}

// Ratio of the largest to the smallest singular value of the Jacobian after scaling its columns to unit length.
static double condition(double m[P][P]) {
  double a[P][P], ev[P], lo = INFINITY, hi = 0;
  for (int i = 0; i < P; i++)
    for (int j = 0; j < P; j++) a[i][j] = m[i][j] / sqrt(m[i][i] * m[j][j]);
  for (int i = 0; i < P; i++)
    if (!(m[i][i] > 0)) return INFINITY;
  eigenvalues(a, ev);
  for (int i = 0; i < P; i++) {
    lo = fmin(lo, ev[i]);
    hi = fmax(hi, ev[i]);
  }
  return lo > 0 ? sqrt(hi / lo) : INFINITY;
}

// Parameters that the data, rather than the prior, determine: trace((J'J + Q)^-1 J'J) by Gaussian elimination.
static double data_params(double m[P][P], double q[P][P]) {
  double a[P][2 * P];
  for (int i = 0; i < P; i++)
    for (int j = 0; j < P; j++) {
      a[i][j] = m[i][j] + q[i][j];
      a[i][P + j] = m[i][j];
    }
  for (int k = 0; k < P; k++) {
    int piv = k;
    for (int i = k + 1; i < P; i++)
      if (fabs(a[i][k]) > fabs(a[piv][k])) piv = i;
    if (a[piv][k] == 0) return P;
    for (int j = 0; j < 2 * P; j++) {
      double t = a[k][j];
      a[k][j] = a[piv][j];
      a[piv][j] = t;
    }
    for (int i = 0; i < P; i++) {
      double r = i == k ? 0 : a[i][k] / a[k][k];
      for (int j = k; j < 2 * P; j++) a[i][j] -= r * a[k][j];
    }
  }
  double tr = 0;
  for (int i = 0; i < P; i++) tr += a[i][P + i] / a[i][i];
  return fmin(fmax(tr, 0), P);
}

static void ranges(const iso_fit_data *d, iso_fit *f) {
  f->n_min = f->d_min = f->c_min = INFINITY;
  f->n_max = f->d_max = f->c_max = 0;
  for (int64_t i = 0; i < d->n; i++) {
    double c = d->flop[i] > 0 ? d->flop[i] : ISO_LAW_FLOP_PER_PARAM_TOK * d->params[i] * d->tokens[i];
    f->n_min = fmin(f->n_min, d->params[i]);
    f->n_max = fmax(f->n_max, d->params[i]);
    f->d_min = fmin(f->d_min, d->tokens[i]);
    f->d_max = fmax(f->d_max, d->tokens[i]);
    f->c_min = fmin(f->c_min, c);
    f->c_max = fmax(f->c_max, c);
  }
}

static void warn_about(const iso_fit_opts *o, const iso_lse *s, const iso_lse_work *w, iso_fit *f) {
  double share_n = 0, share_d = 0;
  for (int64_t i = 0; i < s->n; i++) {
    share_n = fmax(share_n, w->w1[i]);
    share_d = fmax(share_d, w->w2[i]);
  }
  if (!o->prior && f->n < 12) iso_fit_warn(f, "only %lld points for %d parameters: intervals lean on the assumed noise", (long long)f->n, P);
  if (f->n_max < 4 * f->n_min) iso_fit_warn(f, "parameter counts span a factor of %.2g only: alpha is hardly identified", f->n_max / f->n_min);
  if (f->d_max < 4 * f->d_min) iso_fit_warn(f, "token counts span a factor of %.2g only: beta is hardly identified", f->d_max / f->d_min);
  if (fabs(f->corr_nd) > 0.98)
    iso_fit_warn(f, "log N and log D are correlated at %.3f: the two terms can hardly be told apart; vary N at a fixed budget", f->corr_nd);
  if (!o->prior && f->condition > 1e3) iso_fit_warn(f, "the fit is ill-conditioned (%.1e): trust its losses more than its parameters", f->condition);
  if (share_n < 0.01) iso_fit_warn(f, "A / N^alpha is below 1%% of the loss everywhere: parameters do not show in this data");
  if (share_d < 0.01) iso_fit_warn(f, "B / D^beta is below 1%% of the loss everywhere: tokens do not show in this data");
  if (exp(f->p[ISO_FIT_LOG_E]) < 1e-3)
    iso_fit_warn(f, "E is near zero: the data do not reach the flat part, so losses at larger budgets may be predicted too low");
  if (!(f->p[ISO_FIT_ALPHA] > 0 && f->p[ISO_FIT_BETA] > 0))
    iso_fit_warn(f, "alpha = %.3g, beta = %.3g: not both positive, so there is no compute optimum", f->p[ISO_FIT_ALPHA], f->p[ISO_FIT_BETA]);
}

void iso_fit_diagnose(const iso_fit_data *d, const iso_fit_opts *o, const iso_lse *s, const iso_lse_work *w, iso_fit *f) {
  ranges(d, f);
  double sxx = 0, syy = 0, sxy = 0, rss = 0, used = 0, m[P][P], q[P][P];
  for (int64_t i = 0; i < s->n; i++) {
    sxx += s->x[i] * s->x[i];
    syy += s->y[i] * s->y[i];
    sxy += s->x[i] * s->y[i];
    if (w->omega[i] > 0) {
      rss += w->r[i] * w->r[i];
      used++;
    }
  }
  f->corr_nd = sxx > 0 && syy > 0 ? sxy / sqrt(sxx * syy) : NAN;
  gauss_newton(s, w, m);
  f->condition = condition(m);
  // s->prior is in units of the Huber sum; over the same factor as in fit_chinchilla.c it is in units of r^2 / 2.
  double unit = o->noise_sd / fmin(o->delta, o->noise_sd);
  for (int i = 0; i < P; i++)
    for (int j = 0; j < P; j++) q[i][j] = s->prior.q[i][j] * unit;
  double df = fmax(used - data_params(m, q), 0);
  f->noise_df = fmax(df + o->noise_dof, 1);
  f->noise_sd = sqrt((rss + o->noise_dof * o->noise_sd * o->noise_sd) / f->noise_df);
  double inflate = sqrt(used / fmax(df, 1));
  for (int64_t i = 0; i < s->n; i++) f->resid[i] = -w->r[i] * inflate;  // r is model minus data
  warn_about(o, s, w, f);
}
