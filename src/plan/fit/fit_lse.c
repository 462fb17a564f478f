// Vectorised objective, gradient and Hessian of the log-sum-exp fit.
#include "plan/fit/fit_lse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/fit/fit_lse_vec.h"

iso_status iso_lse_open(const double *log_n, const double *log_d, const double *log_l, int64_t n, double delta, iso_lse *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  int64_t rows = (n + ISO_LSE_LANES - 1) / ISO_LSE_LANES * ISO_LSE_LANES;
  double *mem = aligned_alloc(64, sizeof(double) * (size_t)rows * 3);
  if (!mem) return iso_fail(err, ISO_ENOMEM, "fit: no memory for %lld points", (long long)n);
  memset(mem, 0, sizeof(double) * (size_t)rows * 3);
  out->n = n;
  out->rows = rows;
  out->delta = delta;
  out->x = mem;
  out->y = mem + rows;
  out->l = mem + 2 * rows;
  for (int64_t i = 0; i < n; i++) {
    out->x_mean += log_n[i] / (double)n;
    out->y_mean += log_d[i] / (double)n;
  }
  for (int64_t i = 0; i < n; i++) {
    out->x[i] = log_n[i] - out->x_mean;
    out->y[i] = log_d[i] - out->y_mean;
    out->l[i] = log_l[i];
  }
  out->isa = iso_lse_vec_isa();
  return ISO_OK;
}

void iso_lse_close(iso_lse *s) {
  free(s->x);
  memset(s, 0, sizeof *s);
}

iso_status iso_lse_work_open(const iso_lse *s, iso_lse_work *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  size_t rows = (size_t)s->rows;
  double *m = aligned_alloc(64, sizeof(double) * rows * 9);
  if (!m) return iso_fail(err, ISO_ENOMEM, "fit: no memory for %lld points", (long long)s->n);
  memset(m, 0, sizeof(double) * rows * 9);
  double **part[] = {&out->omega, &out->l, &out->inv, &out->w1, &out->w2, &out->w3, &out->t, &out->q, &out->r};
  for (size_t k = 0; k < ISO_COUNT(part); k++) *part[k] = m + k * rows;
  out->mem = m;
  out->delta = s->delta;
  for (size_t i = 0; i < rows; i++) {
    out->omega[i] = i < (size_t)s->n ? 1 : 0;
    out->inv[i] = 1;
  }
  iso_lse_work_set_loss(s, out, s->l);
  memcpy(out->prior_mean, s->prior.mean, sizeof out->prior_mean);
  return ISO_OK;
}

void iso_lse_work_close(iso_lse_work *w) {
  free(w->mem);
  memset(w, 0, sizeof *w);
}

void iso_lse_work_set_loss(const iso_lse *s, iso_lse_work *w, const double *log_l) {
  for (int64_t i = 0; i < s->n; i++) {
    w->l[i] = log_l[i];
    w->inv[i] = exp(-log_l[i]);
  }
}

double iso_lse_eval(const iso_lse *s, iso_lse_work *w, const double *p, double *grad) {
  double g[ISO_LSE_P], f = iso_lse_vec_eval(s, w, p, g);
  for (int i = 0; i < ISO_LSE_P; i++) {
    double qi = 0;
    for (int j = 0; j < ISO_LSE_P; j++) qi += s->prior.q[i][j] * (p[j] - w->prior_mean[j]);
    g[i] += qi;
    f += 0.5 * qi * (p[i] - w->prior_mean[i]);
  }
  if (grad) memcpy(grad, g, sizeof g);
  return f;
}

void iso_lse_hess(const iso_lse *s, const iso_lse_work *w, double h[ISO_LSE_P][ISO_LSE_P]) {
  double v[ISO_LSE_H];
  iso_lse_vec_hess(s, w, v);
  int k = 0;
  for (int i = 0; i < ISO_LSE_P; i++)
    for (int j = i; j < ISO_LSE_P; j++, k++) h[i][j] = h[j][i] = v[k] + s->prior.q[i][j];
}

void iso_lse_centre(const iso_lse *s, const double *from, double *to) {
  double a = from[0] - from[3] * s->x_mean, b = from[1] - from[4] * s->y_mean;
  if (to != from) memcpy(to, from, ISO_LSE_P * sizeof *to);
  to[0] = a;
  to[1] = b;
}

void iso_lse_uncentre(const iso_lse *s, const double *from, double *to) {
  double a = from[0] + from[3] * s->x_mean, b = from[1] + from[4] * s->y_mean;
  if (to != from) memcpy(to, from, ISO_LSE_P * sizeof *to);
  to[0] = a;
  to[1] = b;
}

// Solves (H + shift diag(d)) s = -g by Cholesky; false when that matrix is not positive definite.
static bool shifted_step(double h[ISO_LSE_P][ISO_LSE_P], const double *d, double shift, const double *g, double *s) {
  enum { P = ISO_LSE_P };
  double c[P][P], z[P];
  for (int i = 0; i < P; i++) {
    for (int j = 0; j <= i; j++) {
      double v = h[i][j] + (i == j ? shift * d[i] : 0);
      for (int k = 0; k < j; k++) v -= c[i][k] * c[j][k];
      if (i == j) {
        // A pivot this small beside its diagonal is rounding, not curvature.
        if (!(v > 1e-13 * d[i])) return false;
        c[i][i] = sqrt(v);
      } else {
        c[i][j] = v / c[j][j];
      }
    }
  }
  for (int i = 0; i < P; i++) {
    double v = -g[i];
    for (int k = 0; k < i; k++) v -= c[i][k] * z[k];
    z[i] = v / c[i][i];
  }
  for (int i = P - 1; i >= 0; i--) {
    double v = z[i];
    for (int k = i + 1; k < P; k++) v -= c[k][i] * s[k];
    s[i] = v / c[i][i];
  }
  return true;
}

static double norm_inf(const double *g) {
  double m = 0;
  for (int i = 0; i < ISO_LSE_P; i++) m = fabs(g[i]) > m ? fabs(g[i]) : m;
  return m;
}

// Steps longer than this in any centred parameter leave the region where a second-order model means anything.
static const double STEP_MAX = 2.0;

static void newton(const iso_lse *s, iso_lse_work *w, const iso_lse_opts *o, double *p, iso_lse_stat *out) {
  enum { P = ISO_LSE_P };
  double g[P], gn[P], h[P][P], d[P], step[P], q[P], shift = 0;
  double f = iso_lse_eval(s, w, p, g);
  *out = (iso_lse_stat){.objective = f, .grad_norm = norm_inf(g), .evals = 1};
  while (out->iters < o->max_iter) {
    if (out->grad_norm <= o->grad_tol) break;
    iso_lse_hess(s, w, h);
    double dm = 0;
    for (int i = 0; i < P; i++) dm = fmax(dm, fabs(h[i][i]));
    for (int i = 0; i < P; i++) d[i] = fmax(fabs(h[i][i]), 1e-6 * dm);
    bool moved = false;
    for (int tries = 0; tries < 60 && !moved; tries++) {
      while (!shifted_step(h, d, shift, g, step) && shift < 1e12) shift = fmax(4 * shift, 1e-3);
      double len = norm_inf(step), slope = 0, curve = 0;
      if (!(len < INFINITY)) break;
      for (int i = 0; i < P; i++) {
        step[i] *= len > STEP_MAX ? STEP_MAX / len : 1;
        q[i] = p[i] + step[i];
        slope += g[i] * step[i];
      }
      for (int i = 0; i < P; i++)
        for (int j = 0; j < P; j++) curve += step[i] * h[i][j] * step[j];
      double fn = iso_lse_eval(s, w, q, gn), pred = -(slope + 0.5 * curve), gain = f - fn;
      out->evals++;
      // At rounding level the objective cannot tell, the gradient still can.
      moved = gain > 1e-4 * pred || (pred < 1e-13 * f && fabs(gain) <= 1e-13 * f && norm_inf(gn) < out->grad_norm);
      if (moved) {
        f = fn;
        memcpy(p, q, sizeof q);
        memcpy(g, gn, sizeof g);
        shift = gain > 0.75 * pred ? (shift < 1e-6 ? 0 : shift * 0.1) : gain < 0.25 * pred ? fmax(2 * shift, 1e-3) : shift;
      } else if (pred < 1e-14 * f) {
        break;
      } else {
        shift = fmax(4 * shift, 1e-3);
      }
    }
    out->iters++;
    out->objective = f;
    out->grad_norm = norm_inf(g);
    if (!moved) {
      iso_lse_eval(s, w, p, g);  // leave *w describing the accepted point
      break;
    }
  }
  out->converged = out->grad_norm <= fmax(o->grad_tol, 1e-9);
}

void iso_lse_solve(const iso_lse *s, iso_lse_work *w, const iso_lse_opts *o, double *p, iso_lse_stat *out) {
  newton(s, w, o, p, out);
  if (out->converged || o->once || !(out->objective < INFINITY)) return;
  double q[ISO_LSE_P];
  memcpy(q, p, sizeof q);
  iso_lse_stat again = *out;
  for (double wide = 32; wide >= 1; wide /= 2) {
    w->delta = s->delta * wide;
    newton(s, w, o, q, &again);
    out->iters += again.iters;
    out->evals += again.evals;
  }
  if (again.objective <= out->objective) {
    memcpy(p, q, sizeof q);
    out->objective = again.objective;
    out->grad_norm = again.grad_norm;
    out->converged = again.converged;
  } else {
    iso_lse_eval(s, w, p, NULL);
  }
}
