// Approach 2 of Hoffmann et al. 2022: parabolas at fixed budget and the power law through their minima.
#include "plan/fit/isoflop_method.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stat.h"
#include "plan/fit/isoflop_impl.h"

iso_parabola_opts iso_parabola_opts_default(void) { return (iso_parabola_opts){.tolerance = 0.1, .half_width = INFINITY, .level = 0.90}; }

// Normal equations of a quadratic in u (weights 1), with the inverse matrix for the covariance. False when singular.
static bool quadratic(const double *u, const double *y, int64_t n, double coef[3], double inv[3][3]) {
  double m[3][7] = {{0}};
  for (int64_t i = 0; i < n; i++) {
    double c[3] = {1, u[i], u[i] * u[i]};
    for (int a = 0; a < 3; a++) {
      for (int b = 0; b < 3; b++) m[a][b] += c[a] * c[b];
      m[a][6] += c[a] * y[i];
    }
  }
  double scale[3] = {m[0][0], m[1][1], m[2][2]};
  for (int k = 0; k < 3; k++) m[k][3 + k] = 1;
  for (int k = 0; k < 3; k++) {
    if (!(m[k][k] > 1e-11 * scale[k])) return false;
    for (int i = 0; i < 3; i++) {
      double f = i == k ? 0 : m[i][k] / m[k][k];
      for (int j = 0; j < 7; j++) m[i][j] -= f * m[k][j];
    }
  }
  for (int k = 0; k < 3; k++) {
    coef[k] = m[k][6] / m[k][k];
    for (int j = 0; j < 3; j++) inv[k][j] = m[k][3 + j] / m[k][k];
  }
  return true;
}

// Fieller 1954: the u at which slope c1 + 2 c2 u is not told from zero, t^2 Var(c1 + 2 c2 u) >= (c1 + 2 c2 u)^2.
static bool fieller(const double c[3], double inv[3][3], double var, double t, double *lo, double *hi) {
  double k = t * t * var, a = 4 * (c[2] * c[2] - k * inv[2][2]), b = 4 * (c[1] * c[2] - k * inv[1][2]), g = c[1] * c[1] - k * inv[1][1];
  double disc = b * b - 4 * a * g;
  if (!(a > 0) || disc < 0) return false;
  *lo = (-b - sqrt(disc)) / (2 * a);
  *hi = (-b + sqrt(disc)) / (2 * a);
  return true;
}

// The last critical value asked for: levels mostly have the same number of points, and a quantile costs thousands of powers.
typedef struct student {
  double level, t;
  int64_t df;
} student;

static double student_t(student *s, int64_t df) {
  if (s->df != df) *s = (student){s->level, iso_t_quantile(s->level, (double)df), df};
  return s->t;
}

// One level from n points (log N, loss) in u (overwritten with centred values) and y. False when there are not three distinct N.
static bool fit_level(double *u, const double *y, int64_t n, student *t, iso_parabola *out) {
  double mean = iso_mean(u, n), lo = INFINITY, hi = -INFINITY, rss = 0, inv[3][3];
  for (int64_t i = 0; i < n; i++) {
    u[i] -= mean;
    lo = fmin(lo, u[i]);
    hi = fmax(hi, u[i]);
  }
  out->n = n;
  out->log_n0 = mean;
  if (n < 3 || !quadratic(u, y, n, out->coef, inv)) return false;
  const double *c = out->coef;
  for (int64_t i = 0; i < n; i++) {
    double e = y[i] - c[0] - u[i] * (c[1] + u[i] * c[2]);
    rss += e * e;
  }
  out->rmse = sqrt(rss / (double)n);
  out->n_min = exp(mean + lo);
  out->n_max = exp(mean + hi);
  out->params = (iso_fit_interval){NAN, NAN, NAN};
  out->tokens = out->loss = NAN;
  if (!(c[2] > 0)) {
    out->flags = ISO_PARABOLA_CONCAVE | ISO_PARABOLA_NO_INTERVAL;
    return true;
  }
  double best = -c[1] / (2 * c[2]), ul = 0, uh = 0;
  out->params.mid = exp(mean + best);
  out->tokens = out->flop / (ISO_LAW_FLOP_PER_PARAM_TOK * out->params.mid);
  out->loss = c[0] + best * (c[1] + best * c[2]);
  if (best < lo || best > hi) out->flags |= ISO_PARABOLA_OUTSIDE;
  if (n > 3 && fieller(c, inv, rss / (double)(n - 3), student_t(t, n - 3), &ul, &uh)) {
    out->params.lo = exp(mean + ul);
    out->params.hi = exp(mean + uh);
  } else {
    out->flags |= ISO_PARABOLA_NO_INTERVAL;
  }
  return true;
}

static int by_flop(const void *a, const void *b) {
  const iso_parabola *x = a, *y = b;
  return (x->flop > y->flop) - (x->flop < y->flop);
}

// Least squares of log N* on log C over the usable levels. Unweighted: the scatter of the minima about a line, from batch size and
// learning rate being tuned per level, is larger than each parabola's own error.
static void power_law(iso_parabolas *m) {
  double x[ISO_PARABOLA_MAX], y[ISO_PARABOLA_MAX];
  int k = 0;
  for (int i = 0; i < m->n; i++) {
    if (m->at[i].flags & (ISO_PARABOLA_OUTSIDE | ISO_PARABOLA_CONCAVE)) continue;
    x[k] = log(m->at[i].flop);
    y[k++] = log(m->at[i].params.mid);
  }
  m->used = k;
  m->log_k = m->resid_sd = NAN;
  m->a = (iso_fit_interval){NAN, NAN, NAN};
  if (k < 2) return;
  double mx = iso_mean(x, k), my = iso_mean(y, k), sxx = 0, sxy = 0, rss = 0;
  for (int i = 0; i < k; i++) {
    sxx += (x[i] - mx) * (x[i] - mx);
    sxy += (x[i] - mx) * (y[i] - my);
  }
  if (!(sxx > 0)) return;
  m->a.mid = sxy / sxx;
  m->log_k = my - m->a.mid * mx;
  if (k < 3) return;
  for (int i = 0; i < k; i++) rss += pow(y[i] - m->log_k - m->a.mid * x[i], 2);
  m->resid_sd = sqrt(rss / (k - 2));
  double half = iso_t_quantile(m->level, k - 2) * m->resid_sd / sqrt(sxx);
  m->a.lo = m->a.mid - half;
  m->a.hi = m->a.mid + half;
}

// Gathers level k into u, y (those near enough the lowest loss) and fits it.
static void do_level(const iso_level_row *r, int64_t n, int k, const iso_parabola_opts *o, student *t, double *u, double *y, iso_parabolas *out) {
  int64_t m = 0, total = 0;
  double best = INFINITY, at = 0, log_c = 0;
  for (int64_t i = 0; i < n; i++) {
    if (r[i].level != k) continue;
    total++;
    if (r[i].loss < best) {
      best = r[i].loss;
      at = r[i].log_n;
    }
  }
  for (int64_t i = 0; i < n; i++) {
    if (r[i].level != k || fabs(r[i].log_n - at) > o->half_width) continue;
    u[m] = r[i].log_n;
    y[m++] = r[i].loss;
    log_c += r[i].log_c;
  }
  iso_parabola p = {.flop = exp(log_c / (double)(m ? m : 1))};
  if (m >= 3 && fit_level(u, y, m, t, &p))
    out->at[out->n++] = p;
  else
    out->unassigned += total;
}

iso_status iso_parabolas_fit(const iso_fit_data *d, const iso_parabola_opts *o, iso_parabolas *out, iso_err *err) {
  iso_level_row *r = NULL;
  int levels = 0;
  memset(out, 0, sizeof *out);
  if (!(o->level > 0 && o->level < 1)) return iso_fail(err, ISO_EINVAL, "isoflop: level %g, expected between 0 and 1", o->level);
  if (!(o->half_width > 0)) return iso_fail(err, ISO_EINVAL, "isoflop: half width %g, expected a positive number", o->half_width);
  ISO_TRY(iso_level_rows(d, o->tolerance, o->levels, o->n_levels, ISO_PARABOLA_MAX, &r, &levels, err));
  double *buf = calloc((size_t)(2 * d->n) + 1, sizeof *buf);
  if (!buf) {
    free(r);
    return iso_fail(err, ISO_ENOMEM, "isoflop: no memory for %lld points", (long long)d->n);
  }
  out->level = o->level;
  student t = {.level = o->level};
  for (int64_t i = 0; i < d->n; i++) out->unassigned += r[i].level < 0;
  for (int k = 0; k < levels; k++) do_level(r, d->n, k, o, &t, buf, buf + d->n, out);
  free(r);
  free(buf);
  if (!out->n) return iso_level_none(d, o->tolerance, err);
  qsort(out->at, (size_t)out->n, sizeof out->at[0], by_flop);
  power_law(out);
  return ISO_OK;
}

iso_status iso_parabolas_against(const iso_parabolas *m, const iso_fit *f, double flop, iso_parabolas_compare *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  if (!(m->a.mid == m->a.mid)) {
    iso_fail(err, ISO_EINVAL, "isoflop: %d of %d budgets have a minimum inside the sampled sizes, expected at least 2 for a power law", m->used,
             m->n);
    return iso_hint(err, ISO_EINVAL, "sweep more budgets, or sizes on both sides of the minimum");
  }
  iso_fit_best best;
  ISO_TRY(iso_fit_optimum(f, flop, f->level, &best, err));
  out->flop = flop;
  out->params_parabola = exp(m->log_k + m->a.mid * log(flop));
  out->params_law = best.params.mid;
  out->law_params = best.params;
  out->ratio = out->params_parabola / out->params_law;
  out->a_parabola = m->a.mid;
  out->a_law = best.exponent.mid;
  double tokens = flop / (ISO_LAW_FLOP_PER_PARAM_TOK * out->params_parabola);
  out->loss_penalty = iso_law_nd(f->law, f->p, out->params_parabola, tokens) / best.loss.mid - 1;
  bool inside = best.params.lo <= out->params_parabola && out->params_parabola <= best.params.hi;
  out->agree = inside || out->loss_penalty < 0.005;
  snprintf(out->text, sizeof out->text,
           "at %.3g FLOP the IsoFLOP parabolas put the optimum at N = %.3g (N* ~ C^%.3f) and the law at %.3g [%.3g, %.3g] (C^%.3f): they %s by a "
           "factor of %.2f in N, which the law prices at %.2f%% of the loss%s",
           flop, out->params_parabola, out->a_parabola, out->params_law, best.params.lo, best.params.hi, out->a_law,
           out->agree ? "agree, differing" : "disagree", out->ratio >= 1 ? out->ratio : 1 / out->ratio, 100 * out->loss_penalty,
           flop > f->c_max ? "; both are extrapolated" : "");
  return ISO_OK;
}

json_t *iso_parabolas_json(const iso_parabolas *m) {
  json_t *levels = json_array();
  for (int i = 0; i < m->n; i++) {
    const iso_parabola *p = &m->at[i];
    json_t *o =
        json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:[o,o,o], s:o}", "train_flop", iso_json_num(p->flop), "points", (json_int_t)p->n, "params",
                  iso_fit_interval_json(&p->params), "tokens", iso_json_num(p->tokens), "loss", iso_json_num(p->loss), "rmse", iso_json_num(p->rmse),
                  "coef", iso_json_num(p->coef[0]), iso_json_num(p->coef[1]), iso_json_num(p->coef[2]), "log_n0", iso_json_num(p->log_n0));
    json_object_set_new(o, "sampled_params", json_pack("[o,o]", iso_json_num(p->n_min), iso_json_num(p->n_max)));
    json_object_set_new(o, "outside", json_boolean(p->flags & ISO_PARABOLA_OUTSIDE));
    json_object_set_new(o, "concave", json_boolean(p->flags & ISO_PARABOLA_CONCAVE));
    json_array_append_new(levels, o);
  }
  return json_pack("{s:o, s:i, s:I, s:o, s:o, s:o, s:o}", "levels", levels, "levels_used", m->used, "points_unassigned", (json_int_t)m->unassigned,
                   "log_k", iso_json_num(m->log_k), "a", iso_fit_interval_json(&m->a), "resid_sd_log_n", iso_json_num(m->resid_sd), "level",
                   iso_json_num(m->level));
}
