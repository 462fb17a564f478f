// Which points share a training budget.
#include <math.h>
#include <stdlib.h>

#include "plan/fit/isoflop_impl.h"

static int by_budget(const void *a, const void *b) {
  const iso_level_row *x = a, *y = b;
  if (x->log_c != y->log_c) return x->log_c < y->log_c ? -1 : 1;
  return (x->from > y->from) - (x->from < y->from);
}

double iso_level_budget(const iso_fit_data *d, int64_t i) {
  return d->flop[i] > 0 ? d->flop[i] : ISO_LAW_FLOP_PER_PARAM_TOK * d->params[i] * d->tokens[i];
}

static int find_levels(iso_level_row *r, int64_t n, double width, int max) {
  int levels = 0;
  while (levels < max) {
    // [i, end) is the window of free rows that starts at row i: neither end goes back as i goes on.
    int64_t best = 0, from = 0, end = 0;
    for (int64_t i = 0; i < n; i++) {
      if (r[i].level >= 0) continue;
      if (end < i) end = i;
      while (end < n && r[end].level < 0 && r[end].log_c <= r[i].log_c + width) end++;
      if (end - i > best) {
        best = end - i;
        from = i;
      }
    }
    if (best < 3) break;
    for (int64_t i = from; i < from + best; i++) r[i].level = levels;
    levels++;
  }
  return levels;
}

static int given_levels(iso_level_row *r, int64_t n, double tolerance, const double *at, int levels) {
  for (int64_t i = 0; i < n; i++) {
    double best = log1p(tolerance) + 1e-12;
    for (int k = 0; k < levels; k++) {
      double gap = fabs(r[i].log_c - log(at[k]));
      if (gap <= best) {
        best = gap;
        r[i].level = k;
      }
    }
  }
  return levels;
}

iso_status iso_level_rows(const iso_fit_data *d, double tolerance, const double *levels, int n_levels, int max, iso_level_row **out, int *n,
                          iso_err *err) {
  *out = NULL;
  *n = 0;
  if (!(tolerance > 0 && tolerance < 10)) return iso_fail(err, ISO_EINVAL, "isoflop: tolerance %g, expected between 0 and 10", tolerance);
  for (int64_t i = 0; i < d->n; i++) {
    double c = iso_level_budget(d, i);
    if (!(d->params[i] > 0 && d->loss[i] > 0 && c > 0 && d->params[i] < INFINITY && d->loss[i] < INFINITY && c < INFINITY))
      return iso_fail(err, ISO_EINVAL, "isoflop: point %lld has params %g, FLOPs %g, loss %g, expected positive finite numbers", (long long)i + 1,
                      d->params[i], c, d->loss[i]);
  }
  iso_level_row *r = calloc((size_t)d->n + 1, sizeof *r);
  if (!r) return iso_fail(err, ISO_ENOMEM, "isoflop: no memory for %lld points", (long long)d->n);
  for (int64_t i = 0; i < d->n; i++) r[i] = (iso_level_row){log(iso_level_budget(d, i)), log(d->params[i]), log(d->tokens[i]), d->loss[i], -1, i};
  qsort(r, (size_t)d->n, sizeof *r, by_budget);
  *n = levels ? given_levels(r, d->n, tolerance, levels, n_levels < max ? n_levels : max) : find_levels(r, d->n, 2 * log1p(tolerance), max);
  *out = r;
  return ISO_OK;
}

iso_status iso_level_none(const iso_fit_data *d, double tolerance, iso_err *err) {
  iso_fail(err, ISO_EINVAL, "isoflop: none of %lld points share a budget (within %g%%) with two others of different N", (long long)d->n,
           100 * tolerance);
  return iso_hint(err, ISO_EINVAL, "the method needs several model sizes at the same training FLOPs; widen the tolerance or fit the law alone");
}
