// Minima of interpolated IsoFLOP curves, their spread under noise, and the power law through them.
#include "plan/fit/isoflop_curves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/stat.h"
#include "plan/fit/akima.h"
#include "plan/fit/isoflop_impl.h"

iso_curves_opts iso_curves_opts_default(void) { return (iso_curves_opts){.tolerance = 0.1, .noise_sd = 0.002, .resamples = 4000, .level = 0.90}; }

// Scratch of one call; everything below `mem` is carved from it.
typedef struct work {
  double *mem;                              // owned
  double *x, *d, *loss, *y, *slope, *sort;  // one curve: log N ascending, log D, loss, log loss, slopes
  int64_t *from;                            // the points' places in the data
  iso_level_row *own;                       // owned: rows of one level
  double *star, *token;                     // of every level, `resamples` each: log N* and log D* of the resamples inside, in order
  int64_t count[ISO_CURVES_MAX];            // how many of them
} work;

static iso_status open_work(int64_t n, int64_t resamples, int levels, work *w, iso_err *err) {
  int64_t per = resamples > n ? resamples : n;
  size_t total = (size_t)(6 * n + per + 2 * levels * resamples) + 1;
  *w = (work){
      .mem = malloc(sizeof(double) * total), .from = malloc(sizeof *w->from * ((size_t)n + 1)), .own = malloc(sizeof *w->own * ((size_t)n + 1))};
  if (!w->mem || !w->from || !w->own)
    return iso_fail(err, ISO_ENOMEM, "isoflop: no memory for %lld points and %lld resamples", (long long)n, (long long)resamples);
  double **part[] = {&w->x, &w->d, &w->loss, &w->y, &w->slope};
  double *m = w->mem;
  for (size_t k = 0; k < ISO_COUNT(part); k++, m += n) *part[k] = m;
  w->sort = m;
  w->star = m + per;
  w->token = w->star + levels * resamples;
  return ISO_OK;
}

static int by_size(const void *a, const void *b) {
  const iso_level_row *x = a, *y = b;
  if (x->log_n != y->log_n) return x->log_n < y->log_n ? -1 : 1;
  return (x->loss > y->loss) - (x->loss < y->loss);
}

// Sizes within so much of each other (in log N) are one: between them the noise of two losses would pass for a slope.
#define SAME_SIZE 0.05

// Collects level k into w->x, d, loss, from, the best point of each size. Returns how many; *total counts the level's points.
static int64_t gather(const iso_level_row *r, int64_t n, int k, work *w, double *log_c, int64_t *total) {
  int64_t m = 0, at = 0;
  iso_level_row *own = w->own;
  *log_c = 0;
  for (int64_t i = 0; i < n; i++)
    if (r[i].level == k) own[at++] = r[i];
  qsort(own, (size_t)at, sizeof *own, by_size);
  for (int64_t i = 0; i < at; i++) {
    *log_c += own[i].log_c / (double)at;
    if (m && own[i].log_n - w->x[m - 1] < SAME_SIZE) {
      if (own[i].loss >= w->loss[m - 1]) continue;
      m--;
    }
    w->x[m] = own[i].log_n;
    w->d[m] = own[i].log_d;
    w->loss[m] = own[i].loss;
    w->from[m++] = own[i].from;
  }
  *total = at;
  return m;
}

// Lowest point of the curve in w->y; false when it is an end.
static bool lowest(work *w, int64_t n, double *at, double *log_loss) {
  iso_akima_slopes(w->x, w->y, n, w->slope);
  *log_loss = iso_akima_min(w->x, w->y, w->slope, n, at);
  return *at > w->x[0] && *at < w->x[n - 1];
}

static double tokens_at(const work *w, int64_t n, double at) {
  int64_t i = 0;
  while (i < n - 2 && at > w->x[i + 1]) i++;
  return w->d[i] + (w->d[i + 1] - w->d[i]) * (at - w->x[i]) / (w->x[i + 1] - w->x[i]);
}

static double median_of(const work *w, const double *v, int64_t n) {
  memcpy(w->sort, v, sizeof *v * (size_t)n);
  return iso_median(w->sort, n);
}

// One level from the n points in *w. `k` is its place among the levels kept.
static void do_curve(work *w, int64_t n, int k, const iso_curves_opts *o, iso_curve *c) {
  double at, log_loss, *star = w->star + k * o->resamples, *token = w->token + k * o->resamples;
  int64_t count = 0;
  c->n = n;
  c->n_min = exp(w->x[0]);
  c->n_max = exp(w->x[n - 1]);
  c->sd_log_n = (w->x[n - 1] - w->x[0]) / (double)(n - 1) / 3;
  c->inside = NAN;
  for (int64_t i = 0; i < n; i++) w->y[i] = log(w->loss[i]);
  if (!lowest(w, n, &at, &log_loss)) c->flags |= ISO_CURVE_EDGE;
  c->params = (iso_fit_interval){exp(at), NAN, NAN};
  c->loss = exp(log_loss);
  c->tokens = exp(tokens_at(w, n, at));
  for (int64_t b = 0; b < o->resamples; b++) {
    for (int64_t i = 0; i < n; i++)
      w->y[i] = log(w->loss[i] + o->noise_sd * iso_rng_normal(o->seed, ISO_RNG_NOISE, (uint64_t)b, (uint64_t)w->from[i]));
    if (!lowest(w, n, &at, &log_loss)) continue;
    star[count] = at;
    token[count++] = tokens_at(w, n, at);
  }
  w->count[k] = count;
  if (!o->resamples) return;
  c->inside = (double)count / (double)o->resamples;
  if (2 * count < o->resamples) c->flags |= ISO_CURVE_UNSTABLE;
  if (c->flags || count < 2) return;
  // A level whose minimum often leaves the range is known less well than the spread of those inside says.
  c->sd_log_n = fmax(c->sd_log_n, iso_stdev(star, count)) / c->inside;
  c->params.mid = exp(median_of(w, star, count));
  c->params.lo = exp(iso_quantile(w->sort, count, (1 - o->level) / 2));
  c->params.hi = exp(iso_quantile(w->sort, count, (1 + o->level) / 2));
  c->tokens = exp(median_of(w, token, count));
}

typedef struct line {
  double slope, at_zero, r2;
} line;

// Weighted least squares of y on x.
static line fit_line(const double *x, const double *y, const double *wt, int n) {
  double sw = 0, mx = 0, my = 0, sxx = 0, sxy = 0, syy = 0;
  for (int i = 0; i < n; i++) {
    sw += wt[i];
    mx += wt[i] * x[i];
    my += wt[i] * y[i];
  }
  mx /= sw;
  my /= sw;
  for (int i = 0; i < n; i++) {
    sxx += wt[i] * (x[i] - mx) * (x[i] - mx);
    sxy += wt[i] * (x[i] - mx) * (y[i] - my);
    syy += wt[i] * (y[i] - my) * (y[i] - my);
  }
  if (!(sxx > 0)) return (line){NAN, NAN, NAN};
  return (line){sxy / sxx, my - sxy / sxx * mx, syy > 0 ? sxy * sxy / (sxx * syy) : 1};
}

static void power_law(const work *w, const iso_curves_opts *o, iso_curves *m) {
  double x[ISO_CURVES_MAX], y[ISO_CURVES_MAX], z[ISO_CURVES_MAX], wt[ISO_CURVES_MAX];
  int at[ISO_CURVES_MAX], k = 0;
  int64_t full = o->resamples;
  m->n_coef = m->r2 = NAN;
  m->n_exponent = m->d_exponent = (iso_fit_interval){NAN, NAN, NAN};
  for (int i = 0; i < m->n; i++) {
    const iso_curve *c = &m->at[i];
    if (c->flags) continue;
    x[k] = log(c->flop);
    y[k] = log(c->params.mid);
    z[k] = log(c->tokens);
    wt[k] = 1 / (c->sd_log_n * c->sd_log_n);
    if (w->count[i] < full) full = w->count[i];
    at[k++] = i;
  }
  m->used = k;
  m->resamples = k ? full : 0;
  if (k < 2) return;
  line l = fit_line(x, y, wt, k);
  m->n_exponent.mid = l.slope;
  m->n_coef = exp(l.at_zero);
  m->r2 = l.r2;
  m->d_exponent.mid = fit_line(x, z, wt, k).slope;
  if (full < 2) return;
  for (int tokens = 0; tokens < 2; tokens++) {
    iso_fit_interval *v = tokens ? &m->d_exponent : &m->n_exponent;
    for (int64_t b = 0; b < full; b++) {
      for (int i = 0; i < k; i++) y[i] = (tokens ? w->token : w->star)[at[i] * o->resamples + b];
      w->sort[b] = fit_line(x, y, wt, k).slope;
    }
    v->lo = iso_quantile(w->sort, full, (1 - o->level) / 2);
    v->hi = iso_quantile(w->sort, full, (1 + o->level) / 2);
  }
}

static iso_status check(const iso_fit_data *d, const iso_curves_opts *o, iso_err *err) {
  double least = INFINITY;
  if (!(o->level > 0 && o->level < 1)) return iso_fail(err, ISO_EINVAL, "isoflop: level %g, expected between 0 and 1", o->level);
  if (o->resamples < 0 || o->resamples > 1000000)
    return iso_fail(err, ISO_EINVAL, "isoflop: %lld resamples, expected 0 to 1000000", (long long)o->resamples);
  for (int64_t i = 0; i < d->n; i++) least = fmin(least, d->loss[i]);
  if (!(o->noise_sd >= 0) || (d->n && least > 0 && !(o->noise_sd < 0.1 * least))) {
    iso_fail(err, ISO_EINVAL, "isoflop: noise %g, expected 0 or more and below a tenth of the lowest loss, %g", o->noise_sd, least);
    return iso_hint(err, ISO_EINVAL, "it is the standard deviation of a run's loss between seeds, 0.002 to 0.01 in nats");
  }
  return ISO_OK;
}

static int by_flop(const void *a, const void *b) {
  const iso_curve *x = *(const iso_curve *const *)a, *y = *(const iso_curve *const *)b;
  return (x->flop > y->flop) - (x->flop < y->flop);
}

// Levels come by their number of points; puts them in the order of their budgets.
static void sort_levels(iso_curves *m) {
  const iso_curve *order[ISO_CURVES_MAX];
  iso_curve copy[ISO_CURVES_MAX];
  for (int i = 0; i < m->n; i++) order[i] = &m->at[i];
  qsort(order, (size_t)m->n, sizeof *order, by_flop);
  for (int i = 0; i < m->n; i++) copy[i] = *order[i];
  memcpy(m->at, copy, sizeof copy[0] * (size_t)m->n);
}

iso_status iso_curves_fit(const iso_fit_data *d, const iso_curves_opts *o, iso_curves *out, iso_err *err) {
  iso_status st = ISO_OK;
  iso_level_row *r = NULL;
  work w = {0};
  int levels = 0;
  memset(out, 0, sizeof *out);
  ISO_TRY(check(d, o, err));
  ISO_TRY(iso_level_rows(d, o->tolerance, o->levels, o->n_levels, ISO_CURVES_MAX, &r, &levels, err));
  ISO_TRYG(open_work(d->n, o->resamples, levels, &w, err));
  out->level = o->level;
  out->noise_sd = o->noise_sd;
  for (int64_t i = 0; i < d->n; i++) out->unassigned += r[i].level < 0;
  for (int k = 0; k < levels; k++) {
    double log_c;
    int64_t total, m = gather(r, d->n, k, &w, &log_c, &total);
    if (m < 3) {
      out->unassigned += total;
      continue;
    }
    out->at[out->n] = (iso_curve){.flop = exp(log_c)};
    do_curve(&w, m, out->n, o, &out->at[out->n]);
    out->n++;
  }
  if (!out->n) {
    st = iso_level_none(d, o->tolerance, err);
    goto done;
  }
  power_law(&w, o, out);
  sort_levels(out);
done:
  free(r);
  free(w.mem);
  free(w.from);
  free(w.own);
  return st;
}

iso_status iso_curves_trace(const iso_fit_data *d, const iso_curves_opts *o, const iso_curves *m, int steps, double *n, double *loss, int *of,
                            iso_err *err) {
  iso_status st = ISO_OK;
  iso_level_row *r = NULL;
  work w = {0};
  int levels = 0;
  ISO_TRY(check(d, o, err));
  ISO_TRY(iso_level_rows(d, o->tolerance, o->levels, o->n_levels, ISO_CURVES_MAX, &r, &levels, err));
  ISO_TRYG(open_work(d->n, 0, levels, &w, err));
  for (int64_t i = 0; i < d->n; i++) of[i] = -1;
  for (int k = 0; k < levels; k++) {
    double log_c;
    int64_t total, rows = gather(r, d->n, k, &w, &log_c, &total);
    int at = 0;
    while (at < m->n && m->at[at].flop != exp(log_c)) at++;
    if (at == m->n) continue;
    for (int64_t i = 0; i < d->n; i++)
      if (r[i].level == k) of[r[i].from] = at;
    for (int64_t i = 0; i < rows; i++) w.y[i] = log(w.loss[i]);
    iso_akima_slopes(w.x, w.y, rows, w.slope);
    for (int i = 0; i < steps; i++) {
      double u = w.x[0] + (w.x[rows - 1] - w.x[0]) * i / (steps - 1);
      n[at * steps + i] = exp(u);
      loss[at * steps + i] = exp(iso_akima_eval(w.x, w.y, w.slope, rows, fmin(u, w.x[rows - 1])));
    }
  }
done:
  free(r);
  free(w.mem);
  free(w.from);
  free(w.own);
  return st;
}

json_t *iso_curves_exponent_json(const iso_fit_interval *v) { return iso_json_range(v->mid, v->lo, v->hi, "too few curves for one"); }

json_t *iso_curves_json(const iso_curves *m) {
  json_t *levels = json_array();
  for (int i = 0; i < m->n; i++) {
    const iso_curve *c = &m->at[i];
    json_t *o = json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "train_flop", iso_json_num(c->flop), "sizes", (json_int_t)c->n, "params",
                          iso_fit_interval_json(&c->params), "tokens", iso_json_num(c->tokens), "loss", iso_json_num(c->loss), "sd_log_params",
                          iso_json_num(c->sd_log_n), "resamples_inside", iso_json_num(c->inside));
    json_object_set_new(o, "sampled_params", json_pack("[o,o]", iso_json_num(c->n_min), iso_json_num(c->n_max)));
    json_object_set_new(o, "edge", json_boolean(c->flags & ISO_CURVE_EDGE));
    json_object_set_new(o, "unstable", json_boolean(c->flags & ISO_CURVE_UNSTABLE));
    json_array_append_new(levels, o);
  }
  return json_pack("{s:o, s:i, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:o}", "levels", levels, "levels_used", m->used, "points_unassigned",
                   (json_int_t)m->unassigned, "n_exponent", iso_curves_exponent_json(&m->n_exponent), "n_coef", iso_json_num(m->n_coef), "d_exponent",
                   iso_curves_exponent_json(&m->d_exponent), "r2", iso_json_num(m->r2), "noise_sd", iso_json_num(m->noise_sd), "resamples",
                   (json_int_t)m->resamples, "level", iso_json_num(m->level));
}
