// The minimiser of the general fit: whitened L-BFGS from many starts.
#include <math.h>
#include <nlopt.h>
#include <stdlib.h>
#include <string.h>

#include "plan/fit/lawfit_impl.h"

enum { PM = ISO_LAW_PARAM_MAX, ROUND_EVALS = 60, PLAIN_EVALS = 15000 };

double iso_lawfit_residual(const iso_lawfit_problem *s, const double *p, int64_t i, double *jac) {
  double v = s->law->value(p, s->x + i * s->law->n_inputs, jac);
  if (!iso_law_objective_is_log(s->objective)) return v - s->y[i];
  if (!(v > 0)) return INFINITY;
  for (int k = 0; jac && k < s->law->n_params; k++) jac[k] /= v;
  return log(v) - log(s->y[i]);
}

static bool huber(const iso_lawfit_problem *s) { return s->objective == ISO_LAW_HUBER || s->objective == ISO_LAW_HUBER_LOG; }

double iso_lawfit_eval(const iso_lawfit_problem *s, const double *p, double *grad) {
  double f = 0, jac[PM];
  int n = s->law->n_params;
  if (grad) memset(grad, 0, sizeof *grad * (size_t)n);
  for (int64_t i = 0; i < s->n; i++) {
    double wt = s->weight ? s->weight[i] : 1;
    if (wt == 0) continue;
    double r = iso_lawfit_residual(s, p, i, grad ? jac : NULL), a = fabs(r);
    if (!(a < INFINITY)) return INFINITY;
    bool far = huber(s) && a > s->delta;
    f += wt * (far ? s->delta * (a - 0.5 * s->delta) : 0.5 * r * r);
    double psi = wt * (far ? copysign(s->delta, r) : r);
    for (int k = 0; grad && k < n; k++) grad[k] += psi * jac[k];
  }
  for (int k = 0; grad && k < n; k++)
    if (!(fabs(grad[k]) < INFINITY)) return INFINITY;
  return f < INFINITY ? f : INFINITY;
}

// Coordinates z with p = p0 + L^-T z, L L' the Gauss-Newton matrix of the objective at p0 (residuals beyond delta weighted by
// delta / |r|, as in iteratively reweighted least squares), and the objective divided by its value at p0.
typedef struct white {
  const iso_lawfit_problem *s;
  int n;
  double p0[PM], l[PM][PM], scale;
  double best, best_p[PM];  // the lowest point evaluated
} white;

// Cholesky factor of a matrix with ones on its diagonal, after adding `ridge` to them.
static bool cholesky(double a[PM][PM], int n, double ridge, double l[PM][PM]) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j <= i; j++) {
      double v = a[i][j] + (i == j ? ridge : 0);
      for (int k = 0; k < j; k++) v -= l[i][k] * l[j][k];
      if (i == j) {
        if (!(v > 1e-15)) return false;
        l[i][i] = sqrt(v);
      } else {
        l[i][j] = v / l[j][j];
      }
    }
  return true;
}

static bool whiten(const iso_lawfit_problem *s, const double *p, double value, white *w) {
  double a[PM][PM] = {{0}}, jac[PM], unit[PM];
  w->s = s;
  w->n = s->law->n_params;
  memcpy(w->p0, p, sizeof *p * (size_t)w->n);
  memcpy(w->best_p, p, sizeof *p * (size_t)w->n);
  w->best = value;
  w->scale = value > 0 ? 1 / value : 1;
  for (int64_t i = 0; i < s->n; i++) {
    double wt = s->weight ? s->weight[i] : 1;
    if (wt == 0) continue;
    double r = fabs(iso_lawfit_residual(s, p, i, jac));
    wt *= w->scale * (huber(s) && r > s->delta ? s->delta / r : 1);
    for (int j = 0; j < w->n; j++)
      for (int k = 0; k <= j; k++) a[j][k] += wt * jac[j] * jac[k];
  }
  for (int j = 0; j < w->n; j++) {
    // A parameter that the rows do not show keeps its own scale and stays where it is.
    unit[j] = a[j][j] > 0 ? sqrt(a[j][j]) : 1;
    if (!(unit[j] < INFINITY)) return false;
  }
  for (int j = 0; j < w->n; j++)
    for (int k = 0; k <= j; k++) a[j][k] = j == k ? 1 : a[j][k] / (unit[j] * unit[k]);
  for (double ridge = 1e-10; ridge < 1e3; ridge *= 100) {
    if (!cholesky(a, w->n, ridge, w->l)) continue;
    for (int j = 0; j < w->n; j++)
      for (int k = 0; k <= j; k++) w->l[j][k] *= unit[j];
    return true;
  }
  return false;
}

static void to_p(const white *w, const double *z, double *p) {
  for (int i = w->n - 1; i >= 0; i--) {
    double v = z[i];
    for (int k = i + 1; k < w->n; k++) v -= w->l[k][i] * (p[k] - w->p0[k]);
    p[i] = w->p0[i] + v / w->l[i][i];
  }
}

static void to_white(const white *w, const double *g, double *gz) {
  for (int i = 0; i < w->n; i++) {
    double v = g[i] * w->scale;
    for (int k = 0; k < i; k++) v -= w->l[i][k] * gz[k];
    gz[i] = v / w->l[i][i];
  }
}

static double objective(unsigned n, const double *z, double *grad, void *arg) {
  white *w = arg;
  double p[PM], g[PM];
  to_p(w, z, p);
  double f = iso_lawfit_eval(w->s, p, grad ? g : NULL);
  if (f < w->best) {
    w->best = f;
    memcpy(w->best_p, p, sizeof *p * n);
  }
  if (!(f < INFINITY)) {
    // A wall for the line search: large, and rising away from the start of the round.
    for (unsigned i = 0; grad && i < n; i++) grad[i] = z[i];
    double far = 0;
    for (unsigned i = 0; i < n; i++) far += z[i] * z[i];
    return 1e6 + 0.5 * far;
  }
  if (grad) to_white(w, g, grad);
  return f * w->scale;
}

// ---- L-BFGS on the parameters as they are -----------------------------------------------------------------------------

typedef struct plain {
  const iso_lawfit_problem *s;
  nlopt_opt opt;
  double scale, best, best_p[PM];
} plain;

static double plain_objective(unsigned n, const double *p, double *grad, void *arg) {
  enum { WALL = 1000000 };
  plain *w = arg;
  double g[PM], f = iso_lawfit_eval(w->s, p, g), most = 0;
  for (unsigned i = 0; grad && i < n; i++) grad[i] = f < INFINITY ? w->scale * g[i] : 0;
  if (!(f < INFINITY)) return WALL;
  for (unsigned i = 0; i < n; i++) most = fmax(most, fabs(w->scale * g[i]));
  if (f < w->best) {
    w->best = f;
    memcpy(w->best_p, p, sizeof *p * n);
    if (most <= 1e-5) nlopt_force_stop(w->opt);
  }
  return w->scale * f;
}

static double solve_plain(const iso_lawfit_problem *s, double *p, double f) {
  plain w = {.s = s, .scale = s->mean ? 1 / (double)s->n : 1, .best = INFINITY};
  double x[PM], least;
  w.opt = nlopt_create(NLOPT_LD_LBFGS, (unsigned)s->law->n_params);
  if (!w.opt) return f;
  memcpy(x, p, sizeof *x * (size_t)s->law->n_params);
  nlopt_set_min_objective(w.opt, plain_objective, &w);
  nlopt_set_ftol_abs(w.opt, 2.2e-9);
  nlopt_set_ftol_rel(w.opt, 2.2e-9);
  nlopt_set_maxeval(w.opt, PLAIN_EVALS);
  (void)nlopt_optimize(w.opt, x, &least);
  nlopt_destroy(w.opt);
  if (!(w.best <= f)) return f;
  memcpy(p, w.best_p, sizeof *p * (size_t)s->law->n_params);
  return w.best;
}

double iso_lawfit_solve(const iso_lawfit_problem *s, double *p, int rounds, double *grad_norm) {
  int n = s->law->n_params;
  double f = iso_lawfit_eval(s, p, NULL), z[PM], g[PM], gz[PM], least;
  white w;
  if (grad_norm) *grad_norm = NAN;
  if (!(f < INFINITY)) return INFINITY;
  if (s->minimiser == ISO_LAWFIT_PLAIN) f = solve_plain(s, p, f);
  for (int k = 0; k < rounds && f > 0 && s->minimiser == ISO_LAWFIT_WHITENED; k++) {
    if (!whiten(s, p, f, &w)) break;
    nlopt_opt opt = nlopt_create(NLOPT_LD_LBFGS, (unsigned)n);
    if (!opt) break;
    memset(z, 0, sizeof z);
    nlopt_set_min_objective(opt, objective, &w);
    nlopt_set_maxeval(opt, ROUND_EVALS);
    nlopt_set_ftol_rel(opt, 1e-15);
    // Its status says little here: near a minimum the line search often finds nothing lower and fails. The lowest point counts.
    (void)nlopt_optimize(opt, z, &least);
    nlopt_destroy(opt);
    double gain = f - w.best;
    f = w.best;
    memcpy(p, w.best_p, sizeof *p * (size_t)n);
    if (gain <= 1e-12 * f) break;
  }
  if (grad_norm && f > 0 && whiten(s, p, f, &w)) {
    double sum = 0;
    (void)iso_lawfit_eval(s, p, g);
    to_white(&w, g, gz);
    for (int i = 0; i < n; i++) sum += gz[i] * gz[i];
    *grad_norm = sqrt(sum);
  }
  return f;
}

typedef struct candidate {
  double f, p[PM];
} candidate;

static int by_value(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  return (x->f > y->f) - (x->f < y->f);
}

// Point i of a sequence that fills the unit cube evenly: multiples of the powers of the root of x^(d+1) = x + 1, modulo 1.
static void spread(int64_t i, int d, double *u) {
  double root = 2;
  for (int k = 0; k < 60; k++) root = pow(1 + root, 1.0 / (d + 1));
  for (int k = 0; k < d; k++) {
    double v = 0.5 + (double)(i + 1) * pow(1 / root, k + 1);
    u[k] = v - floor(v);
  }
}

iso_status iso_lawfit_multistart(const iso_lawfit_problem *s, const iso_law_means *m, int starts, iso_lawfit *f, double *p, iso_err *err) {
  enum { FIRST = 40, FINAL = 10, FIRST_ROUNDS = 3, FINAL_ROUNDS = 40 };
  const iso_law *law = s->law;
  int n = law->n_params, total = 0;
  candidate *at = calloc((size_t)(starts + law->n_consts), sizeof *at);
  if (!at) return iso_fail(err, ISO_ENOMEM, "fit: no memory for %d starts", starts);
  for (int64_t i = 0; i < starts; i++) {
    double u[PM];
    candidate *c = &at[total];
    spread(i, n, u);
    if (law->start) law->start(m, u, c->p);
    for (int k = 0; !law->start && k < n; k++) c->p[k] = law->param[k].lo + u[k] * (law->param[k].hi - law->param[k].lo);
    c->f = iso_lawfit_eval(s, c->p, NULL);
    total += c->f < INFINITY;
  }
  for (int i = 0; i < law->n_consts && !s->no_published; i++) {
    candidate *c = &at[total];
    memcpy(c->p, law->consts[i].p, sizeof c->p);
    c->f = iso_lawfit_eval(s, c->p, NULL);
    total += c->f < INFINITY;
  }
  f->starts = starts + (s->no_published ? 0 : law->n_consts);
  if (!total) {
    free(at);
    iso_fail(err, ISO_ENUM, "fit of %s: none of %d starts gives a finite objective for %lld rows", law->base.name, f->starts, (long long)s->n);
    return iso_hint(err, ISO_ENUM, "look at the units of the inputs: isoflop law show %s", law->base.name);
  }
  qsort(at, (size_t)total, sizeof *at, by_value);
  int first = total < FIRST ? total : FIRST, final = first < FINAL ? first : FINAL;
  for (int i = 0; i < first; i++) at[i].f = iso_lawfit_solve(s, at[i].p, FIRST_ROUNDS, NULL);
  qsort(at, (size_t)first, sizeof *at, by_value);
  for (int i = 0; i < final; i++) at[i].f = iso_lawfit_solve(s, at[i].p, FINAL_ROUNDS, NULL);
  qsort(at, (size_t) final, sizeof *at, by_value);
  f->finalists = final;
  f->value = at[0].f;
  for (int i = 0; i < final; i++) f->agree += at[i].f <= at[0].f * (1 + 1e-6) + 1e-18;
  memcpy(p, at[0].p, sizeof *p * (size_t)n);
  free(at);
  return ISO_OK;
}
