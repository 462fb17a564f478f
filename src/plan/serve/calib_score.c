// A serving calibration on the points of one system: errors, ranking, choices, biases, and the same for points not fitted to.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stat.h"
#include "plan/serve/calib_impl.h"

// Parts that are left out in turn when the file has one model.
enum { PARTS = 3, FEWEST = 10 };

typedef struct check {
  const iso_serve_points *p;
  iso_calib_table t;
  int64_t n;            // rows of the system
  bool *use, *drop;     // owned; by row
  int *part;            // owned: which rows are left out together
  double *tpot, *ttft;  // owned: predicted, by row
  double *x, *y;        // owned: predicted and measured, gathered
  int64_t *at, *deg;    // owned: rows gathered; a degree of each, an order
} check;

static void close_check(check *k) {
  iso_calib_table_close(&k->t);
  free(k->use);
  free(k->drop);
  free(k->part);
  free(k->tpot);
  free(k->at);
}

static const iso_serve_point *point(const check *k, int64_t row) { return &k->p->at[k->t.row[row].point]; }

static iso_status open_check(check *k, const iso_serve_points *p, const char *system, iso_err *err) {
  memset(k, 0, sizeof *k);
  k->p = p;
  ISO_TRY(iso_calib_table_open(p, &k->t, err));
  size_t n = (size_t)k->t.n + 1;
  k->use = calloc(n, sizeof *k->use);
  k->drop = calloc(n, sizeof *k->drop);
  k->part = calloc(n, sizeof *k->part);
  k->tpot = calloc(4 * n, sizeof *k->tpot);
  k->at = calloc(2 * n, sizeof *k->at);
  iso_status st = ISO_OK;
  if (!k->use || !k->drop || !k->part || !k->tpot || !k->at)
    st = iso_fail(err, ISO_ENOMEM, "calibration: no memory for %lld points", (long long)k->t.n);
  if (st == ISO_OK) {
    k->ttft = k->tpot + n;
    k->x = k->ttft + n;
    k->y = k->x + n;
    k->deg = k->at + n;
    for (int64_t i = 0; i < k->t.n; i++) k->n += k->use[i] = !system || strcmp(point(k, i)->device.name, system) == 0;
    if (!k->n)
      st = iso_fail(err, ISO_EINVAL, "%lld usable points of %lld, none of them on %s", (long long)p->used, (long long)p->n,
                    system ? system : "any system");
  }
  if (st != ISO_OK) close_check(k);
  return st;
}

// Predicted and measured seconds of the rows that `pick` chooses among the system's, and which they are.
static int64_t gather(check *k, const bool *pick, bool ttft) {
  int64_t n = 0;
  for (int64_t i = 0; i < k->t.n; i++) {
    if (!k->use[i] || (pick && !pick[i])) continue;
    k->x[n] = ttft ? k->ttft[i] : k->tpot[i];
    k->y[n] = ttft ? point(k, i)->ttft_s : point(k, i)->tpot_s;
    k->at[n++] = i;
  }
  return n;
}

static void predict(check *k, const iso_calib *c, int64_t i) { iso_calib_predict_row(c, point(k, i), &k->t.row[i], &k->tpot[i], &k->ttft[i]); }

// ---- one score ----

static bool same_choice(const iso_serve_point *a, const iso_serve_point *b) {
  return a->prompt == b->prompt && a->output == b->output && a->in_flight == b->in_flight && a->split == b->split && a->together == b->together &&
         a->layout.tp * a->layout.dp == b->layout.tp * b->layout.dp && strcmp(a->model, b->model) == 0 && strcmp(a->system, b->system) == 0 &&
         strcmp(a->precision, b->precision) == 0;
}

// x, y and at are gathered.
static void choose(const check *k, int64_t n, iso_calib_score *out) {
  double sum = 0;
  out->regret_worst = NAN;
  for (int64_t i = 0; i < n; i++) {
    int64_t best = i, members = 0, seen = 0;
    double least = INFINITY;
    for (int64_t j = 0; j < n; j++) {
      if (!same_choice(point(k, k->at[i]), point(k, k->at[j]))) continue;
      seen += j < i;
      members++;
      if (k->x[j] < k->x[best]) best = j;
      least = fmin(least, k->y[j]);
    }
    if (seen || members < 2) continue;
    double regret = k->y[best] / least - 1;
    sum += regret;
    out->regret_worst = fmax(out->regret_worst, regret);
    out->choices++;
  }
  out->regret = out->choices ? sum / (double)out->choices : NAN;
}

static iso_status models(check *k, iso_calib_score *out, iso_err *err) {
  bool *mine = k->drop;
  for (int64_t i = 0; i < k->t.n; i++) {
    const iso_serve_point *q = point(k, i);
    iso_score s;
    bool first = k->use[i];
    for (int m = 0; m < out->models && first; m++) first = strcmp(out->model[m].name, q->model) != 0;
    if (!first) continue;
    if (out->models == ISO_CALIB_MODELS_MAX) return iso_fail(err, ISO_EINVAL, "calibration: more than %d models", ISO_CALIB_MODELS_MAX);
    iso_calib_model *m = &out->model[out->models++];
    memcpy(m->name, q->model, sizeof m->name);
    for (int64_t j = 0; j < k->t.n; j++) mine[j] = strcmp(point(k, j)->model, q->model) == 0;
    m->points = gather(k, mine, true);
    ISO_TRY(iso_score_of(k->x, k->y, m->points, &s, err));
    m->ttft_error = s.median_error;
    (void)gather(k, mine, false);
    ISO_TRY(iso_score_of(k->x, k->y, m->points, &s, err));
    m->error = s.median_error;
    for (int64_t j = 0; j < m->points; j++) k->x[j] /= k->y[j];
    m->ratio = iso_median(k->x, m->points);
  }
  return ISO_OK;
}

// Scores what tpot and ttft hold.
static iso_status score(check *k, iso_calib_score *out, iso_err *err) {
  ISO_TRY(models(k, out, err));
  ISO_TRY(iso_calib_rank(k->p, &k->t, k->tpot, k->use, &out->tau, err));
  int64_t n = gather(k, NULL, true);
  ISO_TRY(iso_score_of(k->x, k->y, n, &out->ttft, err));
  (void)gather(k, NULL, false);
  ISO_TRY(iso_score_of(k->x, k->y, n, &out->tpot, err));
  choose(k, n, out);
  for (int64_t i = 0; i < n; i++) k->deg[i] = point(k, k->at[i])->layout.tp;
  out->n_tensor = iso_score_by(k->x, k->y, k->deg, n, out->tensor);
  for (int64_t i = 0; i < n; i++) k->deg[i] = point(k, k->at[i])->layout.dp;
  out->n_ranks = iso_score_by(k->x, k->y, k->deg, n, out->ranks);
  for (int64_t i = 0; i < n; i++) k->deg[i] *= point(k, k->at[i])->layout.tp;
  out->n_devices = iso_score_by(k->x, k->y, k->deg, n, out->devices);
  out->n_worst = iso_score_worst(k->x, k->y, n, out->worst);
  for (int i = 0; i < out->n_worst; i++) {
    out->worst_s[i] = k->x[out->worst[i]];
    out->worst[i] = k->t.row[k->at[out->worst[i]]].point;
  }
  return ISO_OK;
}

iso_status iso_calib_score_points(const iso_serve_points *p, const char *system, const iso_calib *c, iso_calib_score *out, iso_err *err) {
  check k;
  memset(out, 0, sizeof *out);
  ISO_TRY(open_check(&k, p, system, err));
  for (int64_t i = 0; i < k.t.n; i++) predict(&k, c, i);
  iso_status st = score(&k, out, err);
  close_check(&k);
  return st;
}

// ---- fits that have not seen the points ----

// Two thirds of all points calibrate; the system's among the rest are predicted. *any is false when there are none.
static iso_status split(check *k, uint64_t seed, int number, iso_score *tpot, iso_score *ttft, bool *any, iso_err *err) {
  iso_calib *c = malloc(sizeof *c);
  int64_t cut = 2 * k->t.n / 3;
  *any = false;
  if (!c) return iso_fail(err, ISO_ENOMEM, "calibration: no memory");
  iso_score_shuffle(seed, number, k->deg, k->t.n);
  for (int64_t i = 0; i < k->t.n; i++) k->drop[k->deg[i]] = i >= cut;
  iso_status st = iso_calib_table_fit(&k->t, k->drop, c, err);
  for (int64_t i = 0; st == ISO_OK && i < k->t.n; i++)
    if (k->drop[i]) predict(k, c, i);
  free(c);
  ISO_TRY(st);
  int64_t n = gather(k, k->drop, true);
  if (!n) return ISO_OK;
  *any = true;
  ISO_TRY(iso_score_of(k->x, k->y, n, ttft, err));
  (void)gather(k, k->drop, false);
  return iso_score_of(k->x, k->y, n, tpot, err);
}

static iso_status splits_of(check *k, int splits, uint64_t seed, iso_calib_system *out, iso_err *err) {
  iso_score tpot[ISO_SCORE_SPLITS_MAX], ttft[ISO_SCORE_SPLITS_MAX];
  int n = 0;
  for (int s = 0; s < splits; s++) {
    bool any;
    ISO_TRY(split(k, seed, s, &tpot[n], &ttft[n], &any, err));
    n += any;
  }
  out->tpot = iso_score_splits_of(tpot, n);
  out->ttft = iso_score_splits_of(ttft, n);
  return ISO_OK;
}

// Which rows are left out together: those of one shape, or thirds when the file has one. Returns how many parts.
static int find_parts(check *k, uint64_t seed, int number, bool *by_model) {
  int parts = 0;
  for (int64_t i = 0; i < k->t.n; i++) {
    int64_t j = 0;
    while (j < i && !iso_calib_same_model(point(k, i), point(k, j), true)) j++;
    k->part[i] = j < i ? k->part[j] : parts++;
  }
  *by_model = parts > 1;
  if (*by_model) return parts;
  iso_score_shuffle(seed, number, k->deg, k->t.n);
  for (int64_t i = 0; i < k->t.n; i++) k->part[k->deg[i]] = (int)(i % PARTS);
  return PARTS;
}

static iso_status leave_out(check *k, int part, iso_err *err) {
  bool mine = false;
  for (int64_t i = 0; i < k->t.n; i++) {
    k->drop[i] = k->part[i] == part;
    mine |= k->drop[i] && k->use[i];
  }
  if (!mine) return ISO_OK;
  iso_calib *c = malloc(sizeof *c);
  if (!c) return iso_fail(err, ISO_ENOMEM, "calibration: no memory");
  iso_status st = iso_calib_table_fit(&k->t, k->drop, c, err);
  for (int64_t i = 0; st == ISO_OK && i < k->t.n; i++)
    if (k->drop[i]) predict(k, c, i);
  free(c);
  return st == ISO_OK ? ISO_OK : iso_err_prefix(err, st, "with one model left out");
}

// 5% and 95% quantiles of measured over predicted.
static void interval(check *k, bool ttft, double *lo, double *hi) {
  int64_t n = gather(k, NULL, ttft);
  for (int64_t i = 0; i < n; i++) k->y[i] /= k->x[i];
  *lo = iso_quantile(k->y, n, 0.05);
  *hi = iso_quantile(k->y, n, 0.95);
}

static iso_status run_check(check *k, int splits, uint64_t seed, iso_calib_system *out, iso_err *err) {
  ISO_TRY(iso_calib_table_fit(&k->t, NULL, &out->all, err));
  ISO_TRY(splits_of(k, splits, seed, out, err));
  int parts = find_parts(k, seed, splits, &out->by_model);
  for (int p = 0; p < parts; p++) ISO_TRY(leave_out(k, p, err));
  ISO_TRY(score(k, &out->out, err));
  interval(k, false, &out->all.lo, &out->all.hi);
  interval(k, true, &out->all.ttft_lo, &out->all.ttft_hi);
  return ISO_OK;
}

iso_status iso_calib_check_system(const iso_serve_points *p, const char *system, int splits, uint64_t seed, iso_calib_system *out, iso_err *err) {
  check k;
  memset(out, 0, sizeof *out);
  if (splits < 0 || splits > ISO_SCORE_SPLITS_MAX)
    return iso_fail(err, ISO_EINVAL, "calibration: %d splits, expected 0 to %d", splits, ISO_SCORE_SPLITS_MAX);
  if (2 * p->used / 3 < FEWEST)
    return iso_fail(err, ISO_EINVAL, "calibration: %lld usable points of %lld, expected at least %d: %d in two thirds of them", (long long)p->used,
                    (long long)p->n, (3 * FEWEST + 1) / 2, FEWEST);
  ISO_TRY(open_check(&k, p, system, err));
  iso_status st = run_check(&k, splits, seed, out, err);
  close_check(&k);
  return st;
}
