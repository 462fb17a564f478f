// Levenberg-Marquardt calibration of the layout model.
#include "plan/layout/layout_fit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  bool share;
  double start, spread;
} CALS[ISO_LAYOUT_CALS] = {
#define F true
#define P false
#define X(name, kind, start, spread, unit, help) {kind, start, spread},
#include "plan/layout/layout_cal.def"
#undef X
#undef F
#undef P
};

#define C(name) ISO_LAYOUT_CAL_##name

iso_layout_fit_opts iso_layout_fit_opts_default(bool nodes) {
  iso_layout_fit_opts o = {.base = iso_layout_cal_start(), .prior = 0.1, .robust = 0.05, .max_iter = 60};
  const iso_layout_cal_id both[] = {C(gemm_eff), C(mem_eff), C(kernel_s), C(launch_s), C(sharp), C(intra_eff), C(lat_mult), C(optim_eff), C(fixed_s)};
  const iso_layout_cal_id one[] = {C(launch_tp_s), C(unfused_s), C(head_extra)}, many[] = {C(inter_eff), C(overlap), C(jitter)};
  memcpy(o.free, both, sizeof both);
  memcpy(o.free + ISO_COUNT(both), nodes ? many : one, sizeof one);
  o.n_free = (int)(ISO_COUNT(both) + ISO_COUNT(one));
  if (!nodes) {
    o.base.v[C(overlap)] = 0.5;
    o.base.v[C(jitter)] = 0;
    o.base.v[C(inter_eff)] = iso_layout_cal_default().v[C(inter_eff)];  // no row sees it; plans over several nodes will
  } else {
    o.base.v[C(launch_tp_s)] = o.base.v[C(unfused_s)] = o.base.v[C(head_extra)] = 0;
  }
  return o;
}

iso_layout_fit_opts iso_layout_fit_opts_for(const iso_layout_rows *r, const iso_layout_machine *m) {
  bool nodes = false;
  for (int64_t i = 0; i < r->n; i++) nodes |= iso_layout_devices(&r->row[i].layout) > m->per_node;
  iso_layout_fit_opts o = iso_layout_fit_opts_default(nodes);
  if (2 * r->n / 3 >= o.n_free) return o;
  o.n_free = 0;
  o.base = iso_layout_cal_default();
  return o;
}

static double to_z(int id, double v) { return CALS[id].share ? log(v / (1 - v)) : log(v); }
static double from_z(int id, double z) { return CALS[id].share ? 1 / (1 + exp(-z)) : exp(z); }

// Bounds keep exp and the p-norm finite; a fit that wants to go there has lost the number.
static double clamp_z(int id, double z) {
  if (id == C(sharp)) return fmin(fmax(z, 0), log(60));
  return CALS[id].share ? fmin(fmax(z, -7), 7) : fmin(fmax(z, -25), 5);
}

typedef struct prob {
  const iso_layout_rows *r;
  const int64_t *pick;
  int64_t n;
  const iso_layout_machine *m;
  const iso_layout_fit_opts *o;
  double *res, *jac;  // n and n_free x n
} prob;

static iso_layout_cal cal_at(const iso_layout_fit_opts *o, const double *z) {
  iso_layout_cal c = o->base;
  for (int k = 0; k < o->n_free; k++) c.v[o->free[k]] = from_z(o->free[k], z[k]);
  return c;
}

static iso_status residuals(const prob *p, const double *z, double *out, iso_err *err) {
  iso_layout_cal c = cal_at(p->o, z);
  iso_layout_step s;
  for (int64_t i = 0; i < p->n; i++) {
    const iso_layout_row *w = &p->r->row[p->pick ? p->pick[i] : i];
    ISO_TRY(iso_layout_step_cost(&w->job, p->m, &c, &w->layout, &s, err));
    out[i] = log(s.step_s / w->step_s);
  }
  return ISO_OK;
}

// Pseudo-Huber: d^2 (sqrt(1 + (r/d)^2) - 1), and the weight that makes least squares have its gradient.
static double loss(double r, double d, double *weight) {
  if (!(d < INFINITY)) {
    *weight = 1;
    return r * r / 2;
  }
  double k = sqrt(1 + r * r / (d * d));
  *weight = 1 / k;
  return d * d * (k - 1);
}

static double objective(const prob *p, const double *z, const double *res) {
  double f = 0, w;
  for (int64_t i = 0; i < p->n; i++) f += loss(res[i], p->o->robust, &w);
  for (int k = 0; k < p->o->n_free; k++) {
    int id = p->o->free[k];
    f += pow(p->o->prior * (z[k] - to_z(id, CALS[id].start)) / CALS[id].spread, 2) / 2;
  }
  return f;
}

// Solves (A + mu diag A) x = b in place by Gauss elimination on a positive definite matrix; false when it is not.
static bool solve(int n, double a[][ISO_LAYOUT_FREE_MAX], double mu, const double *b, double *x) {
  double m[ISO_LAYOUT_FREE_MAX][ISO_LAYOUT_FREE_MAX + 1];
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < n; j++) m[i][j] = a[i][j];
    m[i][i] += mu * a[i][i];
    m[i][n] = b[i];
  }
  for (int k = 0; k < n; k++) {
    if (!(m[k][k] > 1e-14 * a[k][k])) return false;
    for (int i = k + 1; i < n; i++) {
      double f = m[i][k] / m[k][k];
      for (int j = k; j <= n; j++) m[i][j] -= f * m[k][j];
    }
  }
  for (int k = n - 1; k >= 0; k--) {
    x[k] = m[k][n];
    for (int j = k + 1; j < n; j++) x[k] -= m[k][j] * x[j];
    x[k] /= m[k][k];
  }
  return true;
}

// Normal equations at z; residuals are in p->res. Forward differences: the model is smooth but for its maxima.
static iso_status normal(const prob *p, const double *z, double a[][ISO_LAYOUT_FREE_MAX], double *b, iso_err *err) {
  const iso_layout_fit_opts *o = p->o;
  const double step = 1e-5;
  double at[ISO_LAYOUT_FREE_MAX];
  for (int k = 0; k < o->n_free; k++) {
    double *col = p->jac + k * p->n;
    memcpy(at, z, sizeof at);
    at[k] += step;
    ISO_TRY(residuals(p, at, col, err));
    for (int64_t i = 0; i < p->n; i++) col[i] = (col[i] - p->res[i]) / step;
  }
  memset(a, 0, sizeof(double) * ISO_LAYOUT_FREE_MAX * ISO_LAYOUT_FREE_MAX);
  memset(b, 0, sizeof(double) * ISO_LAYOUT_FREE_MAX);
  for (int64_t i = 0; i < p->n; i++) {
    double w;
    loss(p->res[i], o->robust, &w);
    for (int k = 0; k < o->n_free; k++) {
      double jk = p->jac[k * p->n + i];
      b[k] -= w * jk * p->res[i];
      for (int q = 0; q <= k; q++) a[k][q] += w * jk * p->jac[q * p->n + i];
    }
  }
  for (int k = 0; k < o->n_free; k++) {
    int id = o->free[k];
    double pw = pow(o->prior / CALS[id].spread, 2);
    a[k][k] += pw + 1e-12;
    b[k] -= pw * (z[k] - to_z(id, CALS[id].start));
    for (int q = 0; q < k; q++) a[q][k] = a[k][q];
  }
  return ISO_OK;
}

static iso_status descend(const prob *p, double *z, iso_layout_fit *out, iso_err *err) {
  double a[ISO_LAYOUT_FREE_MAX][ISO_LAYOUT_FREE_MAX], b[ISO_LAYOUT_FREE_MAX], dz[ISO_LAYOUT_FREE_MAX], to[ISO_LAYOUT_FREE_MAX] = {0}, mu = 1e-2;
  int n = p->o->n_free;
  double *trial = p->jac;  // free until the next derivative
  ISO_TRY(residuals(p, z, p->res, err));
  double f = objective(p, z, p->res);
  for (out->iters = 0; out->iters < p->o->max_iter; out->iters++) {
    ISO_TRY(normal(p, z, a, b, err));
    bool better = false;
    double gain = 0;
    for (int tries = 0; tries < 12 && !better; tries++, mu *= 4) {
      if (!solve(n, a, mu, b, dz)) continue;
      for (int k = 0; k < n; k++) to[k] = clamp_z(p->o->free[k], z[k] + fmin(fmax(dz[k], -2), 2));
      ISO_TRY(residuals(p, to, trial, err));
      double g = objective(p, to, trial);
      if (!(g < f)) continue;
      better = true;
      gain = f - g;
      f = g;
      memcpy(z, to, sizeof to);
      memcpy(p->res, trial, (size_t)p->n * sizeof *trial);
      mu /= 40;
    }
    if (!better || gain < 1e-7 * f) break;
  }
  out->objective = f;
  return f < INFINITY ? ISO_OK : iso_fail(err, ISO_ENUM, "layout fit: the objective is not finite");
}

static iso_status check_opts(const iso_layout_fit_opts *o, int64_t n, iso_err *err) {
  if (o->n_free < 1 || o->n_free > ISO_LAYOUT_FREE_MAX)
    return iso_fail(err, ISO_EINVAL, "layout fit: %d free numbers, expected 1 to %d", o->n_free, ISO_LAYOUT_FREE_MAX);
  for (int k = 0; k < o->n_free; k++) {
    if ((unsigned)o->free[k] >= ISO_LAYOUT_CALS) return iso_fail(err, ISO_EINVAL, "layout fit: no calibrated number %d", (int)o->free[k]);
    for (int q = 0; q < k; q++)
      if (o->free[k] == o->free[q]) return iso_fail(err, ISO_EINVAL, "layout fit: %s is free twice", iso_layout_cal_name(o->free[k]));
  }
  if (n < o->n_free) return iso_fail(err, ISO_EINVAL, "layout fit: %lld rows for %d free numbers", (long long)n, o->n_free);
  if (!(o->prior >= 0 && o->prior < INFINITY && o->robust > 0))
    return iso_fail(err, ISO_EINVAL, "layout fit: prior %g, robust %g, expected non-negative and positive", o->prior, o->robust);
  return iso_layout_cal_check(&o->base, err);
}

iso_status iso_layout_fit_run(const iso_layout_rows *r, const int64_t *pick, int64_t n_pick, const iso_layout_machine *m,
                              const iso_layout_fit_opts *o, iso_layout_fit *out, iso_err *err) {
  prob p = {.r = r, .pick = pick, .n = pick ? n_pick : r->n, .m = m, .o = o};
  memset(out, 0, sizeof *out);
  ISO_TRY(check_opts(o, p.n, err));
  p.res = malloc((size_t)p.n * sizeof *p.res);
  p.jac = malloc((size_t)p.n * ISO_LAYOUT_FREE_MAX * sizeof *p.jac);
  double z[ISO_LAYOUT_FREE_MAX] = {0}, sum = 0, sq = 0;
  iso_status st = ISO_OK;
  if (!p.res || !p.jac) {
    st = iso_fail(err, ISO_ENOMEM, "layout fit: no memory for %lld rows", (long long)p.n);
    goto done;
  }
  for (int k = 0; k < o->n_free; k++) z[k] = to_z(o->free[k], CALS[o->free[k]].start);
  ISO_TRYG(descend(&p, z, out, err));
  for (int64_t i = 0; i < p.n; i++) {
    sum += fabs(expm1(p.res[i]));
    sq += p.res[i] * p.res[i];
  }
  out->cal = cal_at(o, z);
  out->n = p.n;
  out->mape = sum / (double)p.n;
  out->resid_sd = sqrt(sq / fmax(1, (double)(p.n - o->n_free)));
  out->cal.resid_sd = out->resid_sd;
  snprintf(out->cal.source, sizeof out->cal.source, "fit of %d numbers to %lld measured steps on %s", o->n_free, (long long)p.n, m->name);
done:
  free(p.res);
  free(p.jac);
  return st;
}
