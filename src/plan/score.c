// Errors of predicted seconds.
#include "plan/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/stat.h"

iso_status iso_score_of(const double *predicted, const double *measured, int64_t n, iso_score *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  if (n < 1) return iso_fail(err, ISO_EINVAL, "no row to predict");
  double *e = malloc((size_t)n * sizeof *e), bias = 0, sq = 0;
  if (!e) return iso_fail(err, ISO_ENOMEM, "grading %lld rows: no memory", (long long)n);
  for (int64_t i = 0; i < n; i++) {
    double r = predicted[i] / measured[i];
    if (!(r > 0 && r < INFINITY)) {
      free(e);
      return iso_fail(err, ISO_ENUM, "grading: %g s predicted, %g s measured", predicted[i], measured[i]);
    }
    e[i] = fabs(r - 1);
    bias += r - 1;
    sq += log(r) * log(r);
  }
  *out = (iso_score){.n = n,
                     .mape = iso_mean(e, n),
                     .median_error = iso_median(e, n),
                     .p90_error = iso_quantile(e, n, 0.9),
                     .bias = bias / (double)n,
                     .sd_log = sqrt(sq / (double)n)};
  free(e);
  return ISO_OK;
}

void iso_score_put(json_t *o, const iso_score *s) {
  const struct {
    const char *key;
    double v;
  } num[] = {{"mape", s->mape}, {"median_error", s->median_error}, {"p90_error", s->p90_error}, {"bias", s->bias}, {"sd_log_s", s->sd_log}};
  (void)json_object_set_new(o, "rows", json_integer((json_int_t)s->n));
  for (size_t i = 0; i < ISO_COUNT(num); i++) (void)json_object_set_new(o, num[i].key, iso_json_num(num[i].v));
}

static int by_degree(const void *a, const void *b) {
  const iso_score_bias *x = a, *y = b;
  return (x->degree > y->degree) - (x->degree < y->degree);
}

int iso_score_by(const double *predicted, const double *measured, const int64_t *degree, int64_t n, iso_score_bias *o) {
  int k = 0;
  for (int64_t i = 0; i < n; i++) {
    int q = 0;
    while (q < k && o[q].degree != degree[i]) q++;
    if (q == ISO_SCORE_DEGREES_MAX) continue;
    if (q == k) o[k++] = (iso_score_bias){.degree = degree[i]};
    double e = predicted[i] / measured[i] - 1;
    o[q].n++;
    o[q].mean += e;
    o[q].mape += fabs(e);
  }
  for (int q = 0; q < k; q++) {
    o[q].mean /= (double)o[q].n;
    o[q].mape /= (double)o[q].n;
  }
  qsort(o, (size_t)k, sizeof *o, by_degree);
  return k;
}

json_t *iso_score_by_json(const iso_score_bias *b, int n) {
  json_t *a = json_array();
  for (int i = 0; i < n; i++)
    (void)json_array_append_new(a, json_pack("{s:I, s:I, s:o, s:o}", "degree", (json_int_t)b[i].degree, "rows", (json_int_t)b[i].n, "bias",
                                             iso_json_num(b[i].mean), "mape", iso_json_num(b[i].mape)));
  return a;
}

int iso_score_worst(const double *predicted, const double *measured, int64_t n, int64_t *index) {
  double worst[ISO_SCORE_WORST];
  int k = 0;
  for (int64_t i = 0; i < n; i++) {
    double e = fabs(predicted[i] / measured[i] - 1);
    int at = k < ISO_SCORE_WORST ? k++ : ISO_SCORE_WORST;
    for (; at > 0 && e > worst[at - 1]; at--) {
      if (at == ISO_SCORE_WORST) continue;
      worst[at] = worst[at - 1];
      index[at] = index[at - 1];
    }
    if (at == ISO_SCORE_WORST) continue;
    worst[at] = e;
    index[at] = i;
  }
  return k;
}

iso_score_splits iso_score_splits_of(const iso_score *each, int n) {
  iso_score_splits s = {n, NAN, NAN, NAN, NAN};
  double v[ISO_SCORE_SPLITS_MAX];
  if (n < 1) return s;
  for (int i = 0; i < n; i++) v[i] = each[i].mape;
  s.mape = iso_mean(v, n);
  s.mape_sd = n > 1 ? iso_stdev(v, n) : NAN;
  for (int i = 0; i < n; i++) v[i] = each[i].median_error;
  s.median_error = iso_mean(v, n);
  for (int i = 0; i < n; i++) v[i] = each[i].p90_error;
  s.p90_error = iso_mean(v, n);
  return s;
}

json_t *iso_score_splits_json(const iso_score_splits *s) {
  return json_pack("{s:i, s:o, s:o, s:o, s:o}", "splits", s->splits, "mape", iso_json_num(s->mape), "mape_sd", iso_json_num(s->mape_sd),
                   "median_error", iso_json_num(s->median_error), "p90_error", iso_json_num(s->p90_error));
}

void iso_score_shuffle(uint64_t seed, int number, int64_t *order, int64_t n) {
  for (int64_t i = 0; i < n; i++) order[i] = i;
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t j = iso_rng_below(seed, ISO_RNG_SPLIT, (uint64_t)number, (uint64_t)i, i + 1), swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
}
