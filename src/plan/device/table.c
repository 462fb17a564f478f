// Learning a table, and predicting from it.
#include "plan/device/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/stat.h"

// Leave-one-out probes and evaluations: 500 and 200 change held-out median errors on measured A100 and H100 tables by up to 0.4 points, 0.1 mostly.
enum { PROBES = 300, EVALS = 100, ROWS_MIN = 16 };
// Tables with fewer rows per length scale than this keep the starting scales: learned ones then do no better on rows left out.
enum { ROWS_PER_SCALE = 12 };
static const double BELOW_FLOOR = 0.8, BELOW_SHARE = 0.05;
// Half the rows at less than a hundredth of the roofline, 20 us to start aside: milliseconds read as seconds.
static const double ABOVE_FLOOR = 100, ABOVE_SHARE = 0.5, START_S = 20e-6;

const char *iso_basis_name(iso_basis b) { return b == ISO_BASIS_measured ? "measured" : "model"; }

void iso_device_table_close(iso_device_table *t) {
  iso_rows_close(&t->rows);
  iso_krig_close(&t->krig);
  memset(t, 0, sizeof *t);
}

static const double *shape_of(const iso_rows *r, int64_t i) { return r->shape + i * iso_table_cols(r->kind); }

static iso_status works(const iso_device_spec *s, const iso_rows *r, iso_num t, const char *what, iso_work *w, iso_err *err) {
  int64_t below = 0, above = 0, first = -1, slow = -1;
  for (int64_t i = 0; i < r->n; i++) {
    iso_status st = iso_model_work(s, r->kind, shape_of(r, i), t, &w[i], err);
    if (st != ISO_OK) return iso_err_prefix(err, st, "%s, line %lld", what, (long long)r->line[i]);
    if (r->time_s[i] > ABOVE_FLOOR * (w[i].floor_s + START_S)) {
      if (slow < 0) slow = i;
      above++;
    }
    if (r->time_s[i] >= BELOW_FLOOR * w[i].floor_s) continue;
    if (first < 0) first = i;
    below++;
  }
  if ((double)above > ABOVE_SHARE * (double)r->n) {
    iso_fail(err, ISO_EFORMAT, "%s, line %lld: %.4g s, but %s can do this %s in %.4g s; as far off are %lld of %lld rows", what,
             (long long)r->line[slow], r->time_s[slow], s->name, iso_table_name(r->kind), w[slow].floor_s, (long long)above, (long long)r->n);
    return iso_hint(err, ISO_EFORMAT, "another device or time unit?");
  }
  if ((double)below <= BELOW_SHARE * (double)r->n) return ISO_OK;
  iso_fail(err, ISO_EFORMAT, "%s, line %lld: %.4g s, but %s needs %.4g s for this %s; so do %lld of %lld rows", what, (long long)r->line[first],
           r->time_s[first], s->name, w[first].floor_s, iso_table_name(r->kind), (long long)below, (long long)r->n);
  return iso_hint(err, ISO_EFORMAT, "another device, time unit, number class or operator (prefill and decode have the same columns)?");
}

// Fills the kriging rows: features, and log of measured over prior.
static void residuals(const iso_device_spec *s, const iso_rows *r, const iso_work *w, const iso_prior *p, iso_krig *k) {
  for (int64_t i = 0; i < r->n; i++) {
    const double *x = shape_of(r, i);
    iso_model_feature_values(s, r->kind, x, &w[i], k->x + i * k->f);
    k->y[i] = log(r->time_s[i] / iso_prior_s(p, r->kind, x, &w[i]));
  }
}

static iso_status check_rows(iso_device_table *t, iso_err *err) {
  const iso_krig *k = &t->krig;
  int64_t n = k->n < 4 * PROBES ? k->n : 4 * PROBES;
  double *near = calloc((size_t)n * 2, sizeof *near), *e = near + n;
  if (!near) return iso_fail(err, ISO_ENOMEM, "%s table: no memory for %lld checks", iso_table_name(t->rows.kind), (long long)n);
  for (int64_t i = 0; i < n; i++) {
    iso_krig_value v;
    int64_t row = i * k->n / n;
    iso_krig_at(k, k->x + row * k->f, row, &v);
    near[i] = v.near;
    e[i] = fabs(expm1(v.mean - k->y[row]));
  }
  t->reach = 2 * iso_quantile(near, n, 0.95);
  t->mape = iso_mean(e, n);
  t->median_err = iso_median(e, n);
  t->p90_err = iso_quantile(e, n, 0.9);
  t->checked = n;
  free(near);
  return ISO_OK;
}

static iso_status open_krig(const iso_device_spec *s, const iso_work *w, iso_device_table *t, iso_err *err) {
  iso_table_kind kind = t->rows.kind;
  ISO_TRY(iso_krig_open(t->rows.n, iso_model_features(kind), &t->krig, err));
  for (int j = 0; j < t->krig.f; j++) t->krig.scale[j] = iso_model_scale(kind, j);
  t->krig.noise = kind == ISO_TABLE_collective ? 0.05 : 0.02;
  residuals(s, &t->rows, w, &t->prior, &t->krig);
  iso_krig_bind(&t->krig);
  return ISO_OK;
}

static void today(char *buf, size_t n) {
  time_t now = time(NULL);
  struct tm tm;
  gmtime_r(&now, &tm);
  if (strftime(buf, n, "%Y-%m-%d", &tm) == 0) buf[0] = 0;
}

static iso_status learn(iso_pool *pool, const iso_device_spec *s, const iso_work *w, iso_device_table *t, iso_err *err) {
  ISO_TRY(iso_prior_fit(&t->rows, w, &t->prior, err));
  ISO_TRY(open_krig(s, w, t, err));
  ISO_TRY(iso_krig_learn(pool, &t->krig, PROBES, t->rows.n >= ROWS_PER_SCALE * (t->krig.f + 1) ? EVALS : 0, err));
  return check_rows(t, err);
}

// Different shapes among the rows, as far as `enough` of them.
static int different(const iso_rows *r, int enough) {
  int n = 0, cols = iso_table_cols(r->kind);
  for (int64_t i = 0; i < r->n && n < enough; i++) {
    bool seen = false;
    for (int64_t k = 0; k < i && !seen; k++) seen = memcmp(shape_of(r, k), shape_of(r, i), (size_t)cols * sizeof *r->shape) == 0;
    n += !seen;
  }
  return n;
}

iso_status iso_device_table_fit(iso_pool *pool, const iso_device_spec *s, const iso_rows *rows, iso_num num, const char *what, iso_device_table *out,
                                iso_err *err) {
  iso_device_table t = {.num = num};
  memset(out, 0, sizeof *out);
  if (rows->n < ROWS_MIN)
    return iso_fail(err, ISO_EINVAL, "%s: %lld %s rows, expected at least %d to learn from", what, (long long)rows->n, iso_table_name(rows->kind),
                    ROWS_MIN);
  int shapes = different(rows, ROWS_MIN);
  if (shapes < ROWS_MIN)
    return iso_fail(err, ISO_EINVAL, "%s: %lld %s rows of %d different shapes, expected at least %d to learn from", what, (long long)rows->n,
                    iso_table_name(rows->kind), shapes, ROWS_MIN);
  (void)snprintf(t.source, sizeof t.source, "%s", what);
  today(t.date, sizeof t.date);
  iso_work *w = calloc((size_t)rows->n, sizeof *w);
  if (!w) return iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld rows", what, (long long)rows->n);
  iso_status st = works(s, rows, num, what, w, err);
  if (st == ISO_OK) {
    st = iso_rows_join(&t.rows, rows, err);
    if (st == ISO_OK) st = learn(pool, s, w, &t, err);
    if (st != ISO_OK) iso_err_prefix(err, st, "%s", what);
  }
  free(w);
  if (st == ISO_OK)
    *out = t;
  else
    iso_device_table_close(&t);
  return st;
}

// ---- predicting -----------------------------------------------------------------------------------------------------

// Mean and interval of a log-normal whose 90% lies within `half` of log(mean); nothing below the roofline.
static iso_time bounded(double mean, double half, double floor_s, iso_basis basis) {
  return (iso_time){
      .s = {fmax(mean * exp(-half), floor_s), fmax(mean, floor_s), fmax(mean * exp(half), floor_s)}, .floor_s = floor_s, .basis = basis};
}

iso_status iso_device_table_time(const iso_device_table *tab, const iso_device_spec *s, const double *shape, iso_num t, iso_time *out, iso_err *err) {
  iso_table_kind k = tab->rows.kind;
  iso_work asked, own;
  iso_krig_value v;
  double f[ISO_KRIG_F_MAX];
  ISO_TRY(iso_model_work(s, k, shape, t, &asked, err));
  ISO_TRY(iso_model_work(s, k, shape, tab->num, &own, err));
  double prior = iso_prior_s(&tab->prior, k, shape, &asked);
  if (isnan(prior)) return iso_fail(err, ISO_EUNSUP, "%s: no measured rows like %s", s->name, iso_coll_name((iso_coll)shape[0]));
  iso_model_feature_values(s, k, shape, &own, f);
  iso_krig_at(&tab->krig, f, -1, &v);
  bool inside = v.near <= tab->reach && (k == ISO_TABLE_collective || t == tab->num || s->peak_flop_s[t] == s->peak_flop_s[tab->num]);
  *out = bounded(prior * exp(v.mean), tab->krig.q90 * sqrt(v.var), asked.floor_s, inside ? ISO_BASIS_measured : ISO_BASIS_model);
  return ISO_OK;
}

iso_status iso_device_model_time(const iso_device_spec *s, iso_table_kind k, const double *shape, iso_num t, iso_time *out, iso_err *err) {
  iso_work w;
  double lo, hi;
  iso_prior p = iso_prior_usual(k);
  ISO_TRY(iso_model_work(s, k, shape, t, &w, err));
  double mean = iso_prior_s(&p, k, shape, &w);
  iso_prior_usual_range(k, &lo, &hi);
  *out = bounded(mean, 0, w.floor_s, ISO_BASIS_model);
  out->s.lo = fmax(mean * lo, w.floor_s);
  out->s.hi = fmax(mean * hi, w.floor_s);
  return ISO_OK;
}
