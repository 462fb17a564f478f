// Tables as JSON: rows by column, and what was learned, so that loading learns nothing anew.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/device/table.h"

static int prior_count(iso_table_kind k) { return k == ISO_TABLE_collective ? ISO_PRIOR_MAX : 3; }

static json_t *column(const double *v, int64_t n, int64_t stride) {
  json_t *a = json_array();
  bool bad = !a;
  for (int64_t i = 0; i < n && !bad; i++) {
    double x = v[i * stride];
    bad = json_array_append_new(a, x == floor(x) && x < 0x1p53 ? json_integer((json_int_t)x) : json_real(x)) != 0;
  }
  if (!bad) return a;
  json_decref(a);
  return NULL;
}

json_t *iso_device_table_json(const iso_device_table *t) {
  iso_table_kind k = t->rows.kind;
  int cols = iso_table_cols(k), np = prior_count(k);
  json_t *rows = json_object(), *scale = json_object(), *prior = json_array();
  bool bad = !rows || !scale || !prior;
  for (int i = 0; i < cols; i++) bad |= json_object_set_new(rows, iso_table_col(k, i), column(t->rows.shape + i, t->rows.n, cols)) != 0;
  bad |= json_object_set_new(rows, "time_s", column(t->rows.time_s, t->rows.n, 1)) != 0;
  for (int j = 0; j < t->krig.f; j++) bad |= json_object_set_new(scale, iso_model_feature(k, j), json_real(t->krig.scale[j])) != 0;
  for (int i = 0; i < np; i++) bad |= json_array_append_new(prior, iso_json_num(t->prior.p[i])) != 0;
  json_t *o =
      json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:f, s:f, s:f, s:{s:I, s:f, s:f, s:f}, s:o}", "kind", iso_table_name(k), "num", iso_num_name(t->num),
                "source", t->source, "date", t->date, "prior", prior, "scale", scale, "noise", t->krig.noise, "q90", t->krig.q90, "reach", t->reach,
                "left_out", "n", (json_int_t)t->checked, "mape", t->mape, "median_error", t->median_err, "p90_error", t->p90_err, "rows", rows);
  if (o && !bad) return o;
  json_decref(o);
  return NULL;
}

// ---- reading --------------------------------------------------------------------------------------------------------

// A finite number above 0, or from 0 on.
static iso_status number(const json_t *j, const char *key, const char *what, bool zero, double *out, iso_err *err) {
  double v = NAN;
  ISO_TRY(iso_json_get_f64(j, key, what, &v, err));
  if (!((zero ? v >= 0 : v > 0) && v < INFINITY))
    return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" is %g, must be a finite number %s 0", what, key, v, zero ? "of at least" : "above");
  *out = v;
  return ISO_OK;
}

static iso_status read_column(const json_t *rows, const char *key, const char *what, double least, int64_t n, int64_t stride, double *v,
                              iso_err *err) {
  const json_t *a = json_object_get(rows, key);
  if (!json_is_array(a) || (int64_t)json_array_size(a) != n)
    return iso_fail(err, ISO_EFORMAT, "%s: rows: \"%s\" must be an array of %lld numbers, as long as the others", what, key, (long long)n);
  for (int64_t i = 0; i < n; i++) {
    const json_t *x = json_array_get(a, (size_t)i);
    double d = json_is_number(x) ? json_number_value(x) : NAN;
    if (!(d >= least && d < INFINITY))
      return iso_fail(err, ISO_EFORMAT, "%s: rows: \"%s\"[%lld] must be a number of at least %g", what, key, (long long)i, least);
    v[i * stride] = d;
  }
  return ISO_OK;
}

static iso_status read_rows(const json_t *j, iso_table_kind k, const char *what, iso_rows *out, iso_err *err) {
  const json_t *rows = json_object_get(j, "rows"), *times = json_object_get(rows, "time_s");
  int cols = iso_table_cols(k);
  if (!json_is_object(rows) || !json_is_array(times) || json_array_size(times) < 2)
    return iso_fail(err, ISO_EFORMAT, "%s: \"rows\" must hold arrays by column, with at least 2 rows", what);
  ISO_TRY(iso_rows_open(k, (int64_t)json_array_size(times), out, err));
  ISO_TRY(read_column(rows, "time_s", what, 0x1p-1000, out->n, 1, out->time_s, err));
  for (int i = 0; i < cols; i++) {
    bool op = k == ISO_TABLE_collective && i == 0;
    ISO_TRY(read_column(rows, iso_table_col(k, i), what, op ? 0 : 1, out->n, cols, out->shape + i, err));
  }
  for (int64_t i = 0; i < out->n; i++) {
    out->line[i] = i + 1;
    double op = out->shape[i * cols];
    if (k == ISO_TABLE_collective && (op != floor(op) || op >= ISO_COLL_COUNT))
      return iso_fail(err, ISO_EFORMAT, "%s: rows: \"op\"[%lld] is %g, no collective", what, (long long)i, op);
  }
  return ISO_OK;
}

static iso_status read_prior(const json_t *j, iso_table_kind k, const char *what, iso_prior *p, iso_err *err) {
  const json_t *a = json_object_get(j, "prior");
  int n = prior_count(k);
  if (!json_is_array(a) || (int)json_array_size(a) != n) return iso_fail(err, ISO_EFORMAT, "%s: \"prior\" must be an array of %d numbers", what, n);
  for (int i = 0; i < n; i++) {
    const json_t *x = json_array_get(a, (size_t)i);
    p->p[i] = json_is_number(x) ? json_number_value(x) : NAN;
    bool gap = json_is_null(x) && k == ISO_TABLE_collective;
    if (!gap && !(p->p[i] >= 0 && p->p[i] < INFINITY)) return iso_fail(err, ISO_EFORMAT, "%s: \"prior\"[%d] must be a number of at least 0", what, i);
  }
  return ISO_OK;
}

static iso_status read_krig(const iso_device_spec *s, const json_t *j, const char *what, iso_device_table *t, iso_err *err) {
  iso_table_kind k = t->rows.kind;
  int cols = iso_table_cols(k);
  const json_t *scale = json_object_get(j, "scale");
  ISO_TRY(iso_krig_open(t->rows.n, iso_model_features(k), &t->krig, err));
  for (int f = 0; f < t->krig.f; f++) ISO_TRY(number(scale, iso_model_feature(k, f), what, false, &t->krig.scale[f], err));
  ISO_TRY(number(j, "noise", what, false, &t->krig.noise, err));
  ISO_TRY(number(j, "q90", what, true, &t->krig.q90, err));
  for (int64_t i = 0; i < t->rows.n; i++) {
    const double *x = t->rows.shape + i * cols;
    iso_work w;
    iso_status st = iso_model_work(s, k, x, t->num, &w, err);
    if (st != ISO_OK) return iso_err_prefix(err, ISO_EFORMAT, "%s: row %lld", what, (long long)i);
    iso_model_feature_values(s, k, x, &w, t->krig.x + i * t->krig.f);
    t->krig.y[i] = log(t->rows.time_s[i] / iso_prior_s(&t->prior, k, x, &w));
    if (!isfinite(t->krig.y[i])) return iso_fail(err, ISO_EFORMAT, "%s: row %lld: the prior gives no time for it", what, (long long)i);
  }
  iso_krig_bind(&t->krig);
  return ISO_OK;
}

static iso_status read_text(const json_t *j, const char *key, const char *what, char *buf, size_t n, iso_err *err) {
  const char *s;
  ISO_TRY(iso_json_get_str(j, key, what, &s, err));
  if (strlen(s) >= n) return iso_fail(err, ISO_EFORMAT, "%s: \"%s\" has more than %zu characters", what, key, n - 1);
  memcpy(buf, s, strlen(s) + 1);
  return ISO_OK;
}

static iso_status read_table(const iso_device_spec *s, const json_t *j, const char *what, iso_device_table *t, iso_err *err) {
  static const char *const KEYS[] = {"kind", "num", "source", "date", "prior", "scale", "noise", "q90", "reach", "left_out", "rows", NULL};
  const char *kind, *num;
  const json_t *left_out = json_object_get(j, "left_out");
  int k = 0;
  ISO_TRY(iso_json_only_keys(j, what, KEYS, err));
  ISO_TRY(iso_json_get_str(j, "kind", what, &kind, err));
  while (k < ISO_TABLE_COUNT && strcmp(iso_table_name((iso_table_kind)k), kind) != 0) k++;
  if (k == ISO_TABLE_COUNT) return iso_fail(err, ISO_EFORMAT, "%s: \"kind\" is \"%.20s\", expected gemm, prefill, decode or collective", what, kind);
  ISO_TRY(iso_json_get_str(j, "num", what, &num, err));
  iso_status st = iso_num_find(num, &t->num, err);
  if (st != ISO_OK) {
    if (err) err->status = ISO_EFORMAT;
    return iso_err_prefix(err, ISO_EFORMAT, "%s", what);
  }
  ISO_TRY(read_text(j, "source", what, t->source, sizeof t->source, err));
  ISO_TRY(read_text(j, "date", what, t->date, sizeof t->date, err));
  ISO_TRY(read_rows(j, (iso_table_kind)k, what, &t->rows, err));
  ISO_TRY(read_prior(j, (iso_table_kind)k, what, &t->prior, err));
  ISO_TRY(number(j, "reach", what, true, &t->reach, err));
  ISO_TRY(iso_json_get_i64(left_out, "n", what, 1, INT64_MAX, &t->checked, err));
  ISO_TRY(number(left_out, "mape", what, true, &t->mape, err));
  ISO_TRY(number(left_out, "median_error", what, true, &t->median_err, err));
  ISO_TRY(number(left_out, "p90_error", what, true, &t->p90_err, err));
  return read_krig(s, j, what, t, err);
}

iso_status iso_device_table_from_json(const iso_device_spec *s, const json_t *j, const char *what, iso_device_table *out, iso_err *err) {
  iso_device_table t = {.num = ISO_NUM_bf16};
  memset(out, 0, sizeof *out);
  iso_status st = read_table(s, j, what, &t, err);
  if (st == ISO_OK)
    *out = t;
  else
    iso_device_table_close(&t);
  return st;
}
