// Grading tables on rows that they have not seen.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/device/table.h"

static iso_status predict(const iso_device_table *tab, const iso_device_spec *s, const iso_rows *rows, iso_num t, double *predicted,
                          iso_device_score *sc, iso_err *err) {
  int64_t inside = 0;
  for (int64_t i = 0; i < rows->n; i++) {
    iso_time p;
    iso_status st = iso_device_table_time(tab, s, rows->shape + i * iso_table_cols(rows->kind), t, &p, err);
    if (st != ISO_OK) return iso_err_prefix(err, st, "line %lld", (long long)rows->line[i]);
    predicted[i] = p.s.mean;
    inside += rows->time_s[i] >= p.s.lo && rows->time_s[i] <= p.s.hi;
    sc->measured += p.basis == ISO_BASIS_measured;
  }
  sc->coverage = (double)inside / (double)rows->n;
  return iso_score_of(predicted, rows->time_s, rows->n, &sc->errors, err);
}

iso_status iso_device_score_rows(const iso_device_table *tab, const iso_device_spec *s, const iso_rows *rows, iso_num t, iso_device_score *out,
                                 iso_err *err) {
  int cols = iso_table_cols(rows->kind);
  iso_device_score sc = {.kind = rows->kind, .fitted = tab->rows.n};
  int64_t worst[ISO_SCORE_WORST];
  double *predicted = calloc((size_t)rows->n, sizeof *predicted);
  if (!predicted) return iso_fail(err, ISO_ENOMEM, "grading %lld rows: no memory", (long long)rows->n);
  iso_status st = predict(tab, s, rows, t, predicted, &sc, err);
  if (st == ISO_OK) {
    sc.n_worst = iso_score_worst(predicted, rows->time_s, rows->n, worst);
    for (int i = 0; i < sc.n_worst; i++) {
      iso_device_error *e = &sc.worst[i];
      *e = (iso_device_error){.line = rows->line[worst[i]], .measured_s = rows->time_s[worst[i]], .predicted_s = predicted[worst[i]]};
      memcpy(e->shape, rows->shape + worst[i] * cols, sizeof(double) * (size_t)cols);
    }
    *out = sc;
  }
  free(predicted);
  return st;
}

// ---- splits ---------------------------------------------------------------------------------------------------------

static void copy_row(const iso_rows *from, int64_t i, iso_rows *to, int64_t at) {
  int cols = iso_table_cols(from->kind);
  memcpy(to->shape + at * cols, from->shape + i * cols, sizeof(double) * (size_t)cols);
  to->time_s[at] = from->time_s[i];
  to->line[at] = from->line[i];
}

// Fits to the rows whose `held` is 0 and grades the others.
static iso_status score_held(iso_pool *pool, const iso_device_spec *s, const iso_rows *r, iso_num t, const char *held, iso_device_score *out,
                             iso_err *err) {
  iso_rows part[2] = {{.n = 0}, {.n = 0}};
  iso_device_table tab = {.num = t};
  int64_t count[2] = {0, 0};
  iso_status st = ISO_OK;
  for (int64_t i = 0; i < r->n; i++) count[(int)held[i]]++;
  for (int k = 0; k < 2; k++) ISO_TRYG(iso_rows_open(r->kind, count[k] ? count[k] : 1, &part[k], err));
  count[0] = count[1] = 0;
  for (int64_t i = 0; i < r->n; i++) copy_row(r, i, &part[(int)held[i]], count[(int)held[i]]++);
  part[0].n = count[0];
  if (!count[1]) {
    st = iso_fail(err, ISO_EINVAL, "no row is held out of %lld", (long long)r->n);
    goto done;
  }
  ISO_TRYG(iso_device_table_fit(pool, s, &part[0], t, "calibration rows", &tab, err));
  st = iso_device_score_rows(&tab, s, &part[1], t, out, err);
done:
  for (int k = 0; k < 2; k++) iso_rows_close(&part[k]);
  iso_device_table_close(&tab);
  return st;
}

iso_status iso_device_score_split(iso_pool *pool, const iso_device_spec *s, const iso_rows *rows, iso_num t, uint64_t seed, iso_device_score *out,
                                  iso_err *err) {
  int64_t *order = calloc((size_t)rows->n, sizeof *order);
  char *held = calloc((size_t)rows->n, 1);
  iso_status st = ISO_OK;
  if (!order || !held) {
    st = iso_fail(err, ISO_ENOMEM, "splitting %lld rows: no memory", (long long)rows->n);
    goto done;
  }
  iso_score_shuffle(seed, 0, order, rows->n);
  for (int64_t i = (rows->n + 1) / 2; i < rows->n; i++) held[order[i]] = 1;
  st = score_held(pool, s, rows, t, held, out, err);
done:
  free(order);
  free(held);
  return st;
}

iso_status iso_device_score_above(iso_pool *pool, const iso_device_spec *s, const iso_rows *rows, double bytes, iso_device_score *out, iso_err *err) {
  if (rows->kind != ISO_TABLE_collective) return iso_fail(err, ISO_EINVAL, "a split by bytes is for collectives, not %s", iso_table_name(rows->kind));
  char *held = calloc((size_t)rows->n, 1);
  if (!held) return iso_fail(err, ISO_ENOMEM, "splitting %lld rows: no memory", (long long)rows->n);
  for (int64_t i = 0; i < rows->n; i++) held[i] = rows->shape[3 * i + 2] >= bytes;
  iso_status st = score_held(pool, s, rows, ISO_NUM_bf16, held, out, err);
  if (st == ISO_EINVAL) iso_err_prefix(err, st, "rows below %g bytes calibrate, larger ones are predicted", bytes);
  free(held);
  return st;
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

static json_t *shape_json(iso_table_kind k, const double *shape) {
  json_t *o = json_object();
  for (int i = 0; i < iso_table_cols(k); i++)
    (void)json_object_set_new(
        o, iso_table_col(k, i),
        k == ISO_TABLE_collective && i == 0 ? json_string(iso_coll_name((iso_coll)shape[0])) : json_integer((json_int_t)shape[i]));
  return o;
}

json_t *iso_device_score_json(const iso_device_score *sc) {
  json_t *worst = json_array();
  for (int i = 0; i < sc->n_worst; i++) {
    const iso_device_error *e = &sc->worst[i];
    (void)json_array_append_new(
        worst, json_pack("{s:I, s:o, s:f, s:f, s:f}", "line", (json_int_t)e->line, "shape", shape_json(sc->kind, e->shape), "measured_s",
                         e->measured_s, "predicted_s", e->predicted_s, "error", e->predicted_s / e->measured_s - 1));
  }
  return json_pack("{s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:o}", "kind", iso_table_name(sc->kind), "n", (json_int_t)sc->errors.n, "fitted",
                   (json_int_t)sc->fitted, "mape", sc->errors.mape, "median_error", sc->errors.median_error, "p90_error", sc->errors.p90_error,
                   "bias", sc->errors.bias, "coverage", sc->coverage, "measured", (json_int_t)sc->measured, "worst", worst);
}
