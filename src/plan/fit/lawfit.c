// The general fit: estimate, bootstrap, predictions, optimum, held-out rows.
#include "plan/fit/lawfit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "base/rng.h"
#include "base/stat.h"
#include "plan/fit/fit_impl.h"
#include "plan/law_ask.h"
#include "plan/fit/lawfit_impl.h"

enum { PM = ISO_LAW_PARAM_MAX, REFIT_ROUNDS = 6 };

iso_lawfit_opts iso_lawfit_opts_default(const iso_law *law) {
  return (iso_lawfit_opts){.objective = law->objective, .delta = law->delta > 0 ? law->delta : 1e-3, .starts = 400, .resamples = 1000, .level = 0.90};
}

const char *iso_lawfit_boot_name(iso_lawfit_boot b) {
  static const char *const NAME[] = {"none", "pairs", "clusters", "residuals"};
  return NAME[b];
}

static iso_lawfit_problem problem_of(const iso_law_data *d, iso_law_objective kind, double delta) {
  return (iso_lawfit_problem){.law = d->law, .n = d->n, .x = d->x, .y = d->y, .objective = kind, .delta = delta};
}

double iso_lawfit_objective(const iso_law_data *d, iso_law_objective kind, double delta, const double *p) {
  iso_lawfit_problem s = problem_of(d, kind, delta);
  return iso_lawfit_eval(&s, p, NULL);
}

// Different inputs among the rows, as far as `enough` of them.
static int distinct(const iso_law_data *d, int enough) {
  int n = 0, inputs = d->law->n_inputs;
  for (int64_t i = 0; i < d->n && n < enough; i++) {
    bool seen = false;
    for (int64_t k = 0; k < i && !seen; k++) seen = memcmp(d->x + k * inputs, d->x + i * inputs, (size_t)inputs * sizeof *d->x) == 0;
    n += !seen;
  }
  return n;
}

static iso_status check(const iso_law_data *d, const iso_lawfit_opts *o, iso_err *err) {
  const iso_law *law = d->law;
  if (d->n <= law->n_params) {
    iso_fail(err, ISO_EINVAL, "fit of %s: %lld rows, expected more than its %d parameters", law->base.name, (long long)d->n, law->n_params);
    return iso_hint(err, ISO_EINVAL, "add runs, or hold fewer of them back");
  }
  int points = distinct(d, law->n_params);
  if (points < law->n_params) {
    iso_fail(err, ISO_EINVAL, "fit of %s: %lld rows at %d different inputs, expected at least as many as its %d parameters", law->base.name,
             (long long)d->n, points, law->n_params);
    return iso_hint(err, ISO_EINVAL, "runs repeated with other seeds say nothing of the law: add runs of other sizes");
  }
  bool same = true;
  for (int64_t i = 1; i < d->n && same; i++) same = d->y[i] == d->y[0];
  if (same) {
    iso_fail(err, ISO_EINVAL, "fit of %s: all %lld rows have a %s of %g, so nothing can be told of how it changes", law->base.name, (long long)d->n,
             law->target, d->y[0]);
    return iso_hint(err, ISO_EINVAL, "is it the right column? --column %s=COLUMN takes another", law->target);
  }
  if (!(o->delta > 0 && o->delta < INFINITY)) return iso_fail(err, ISO_EINVAL, "fit: Huber delta %g, expected a positive number", o->delta);
  if (!(o->level > 0 && o->level < 1)) return iso_fail(err, ISO_EINVAL, "fit: interval level %g, expected between 0 and 1", o->level);
  if (o->resamples < 0 || o->resamples > 1000000)
    return iso_fail(err, ISO_EINVAL, "fit: %lld resamples, expected 0 to 1000000", (long long)o->resamples);
  if (o->starts < 1 || o->starts > 1000000) return iso_fail(err, ISO_EINVAL, "fit: %d starts, expected 1 to 1000000", o->starts);
  for (int64_t i = 0; i < d->n; i++) {
    iso_err e = {0};
    if (iso_law_check_inputs(law, d->x + i * law->n_inputs, &e) != ISO_OK)
      return iso_fail(err, ISO_EINVAL, "fit, row %lld: %.300s", (long long)i + 1, e.msg);
    bool ok = iso_law_objective_is_log(o->objective) ? d->y[i] > 0 && d->y[i] < INFINITY : fabs(d->y[i]) < INFINITY;
    if (!ok) {
      iso_fail(err, ISO_EINVAL, "fit, row %lld: %s = %g, expected a %sfinite number", (long long)i + 1, law->target, d->y[i],
               iso_law_objective_is_log(o->objective) ? "positive " : "");
      return iso_hint(err, ISO_EINVAL, "the objective %s takes its logarithm; huber and square do not", iso_law_objective_name(o->objective));
    }
  }
  return ISO_OK;
}

static void ranges(const iso_law_data *d, iso_lawfit *f, iso_law_means *m) {
  int k = d->law->n_inputs;
  *m = (iso_law_means){.y_min = INFINITY};
  f->flop_lo = f->flop_hi = NAN;
  for (int i = 0; i < k; i++) {
    f->x_lo[i] = INFINITY;
    f->x_hi[i] = 0;
  }
  for (int64_t r = 0; r < d->n; r++) {
    for (int i = 0; i < k; i++) {
      double v = d->x[r * k + i];
      m->log_x[i] += log(v) / (double)d->n;
      f->x_lo[i] = fmin(f->x_lo[i], v);
      f->x_hi[i] = fmax(f->x_hi[i], v);
    }
    m->y += fabs(d->y[r]) / (double)d->n;
    m->y_min = fmin(m->y_min, d->y[r]);
    f->flop_lo = fmin(f->flop_lo, d->flop[r]);
    f->flop_hi = fmax(f->flop_hi, d->flop[r]);
  }
}

// ---- bootstrap ------------------------------------------------------------------------------------------------------

typedef struct boot {
  const iso_lawfit_problem *s;
  const iso_law_data *d;
  iso_lawfit *f;
  double *weight, *y;  // owned: n a worker
  int64_t *draws;      // owned: clusters a worker
  bool *bad;           // owned: one a resample
} boot;

// Draws resample b into the worker's weights or targets; a function of (seed, b) alone.
static void draw(const boot *j, int64_t b, iso_lawfit_problem *s, double *weight, double *y, int64_t *draws) {
  const iso_lawfit *f = j->f;
  int64_t n = s->n;
  if (f->boot == ISO_LAWFIT_BOOT_RESIDUALS) {
    double wider = sqrt((double)n / (double)(n - s->law->n_params));
    for (int64_t i = 0; i < n; i++) {
      double r = wider * f->resid[iso_rng_below(f->seed, ISO_RNG_BOOTSTRAP, (uint64_t)b, (uint64_t)i, n)];
      double at = s->law->value(f->p, s->x + i * s->law->n_inputs, NULL);
      y[i] = iso_law_objective_is_log(s->objective) ? at * exp(r) : at + r;
    }
    s->y = y;
    return;
  }
  memset(draws, 0, sizeof *draws * (size_t)j->d->clusters);
  for (int64_t i = 0; i < j->d->clusters; i++) draws[iso_rng_below(f->seed, ISO_RNG_BOOTSTRAP, (uint64_t)b, (uint64_t)i, j->d->clusters)]++;
  for (int64_t i = 0; i < n; i++) weight[i] = (double)draws[j->d->cluster[i]];
  s->weight = weight;
}

static void boot_task(void *arg, int64_t b, int worker) {
  boot *j = arg;
  int64_t n = j->d->n;
  iso_lawfit_problem s = *j->s;
  double *p = j->f->sample + b * s.law->n_params;
  draw(j, b, &s, j->weight + worker * n, j->y + worker * n, j->draws + worker * j->d->clusters);
  memcpy(p, j->f->p, sizeof *p * (size_t)s.law->n_params);
  j->bad[b] = !(iso_lawfit_solve(&s, p, REFIT_ROUNDS, NULL) < INFINITY);
}

static iso_status summarise(iso_lawfit *f, const bool *bad, int64_t resamples, iso_err *err) {
  int n = f->law->n_params;
  for (int64_t b = 0; b < resamples; b++) {
    if (bad[b]) continue;
    memmove(f->sample + f->resamples * n, f->sample + b * n, sizeof(double) * (size_t)n);
    f->resamples++;
  }
  f->failed = resamples - f->resamples;
  if (f->failed * 100 > resamples)
    iso_lawfit_warn(f, "%lld of %lld refits came to nothing and are left out: intervals are too narrow", (long long)f->failed, (long long)resamples);
  double *v = malloc(sizeof *v * (size_t)(f->resamples + 1));
  if (!v) return iso_fail(err, ISO_ENOMEM, "fit: no memory for %lld resamples", (long long)resamples);
  for (int k = 0; k < n; k++) {
    for (int64_t b = 0; b < f->resamples; b++) v[b] = f->sample[b * n + k];
    f->se[k] = iso_stdev(v, f->resamples);
    iso_fit_interval iv = iso_fit_bc_interval(v, f->resamples, f->p[k], f->level, f->stretch);
    f->lo[k] = iv.lo;
    f->hi[k] = iv.hi;
  }
  free(v);
  return ISO_OK;
}

static iso_status bootstrap(iso_ctx *c, const iso_lawfit_problem *s, const iso_law_data *d, const iso_lawfit_opts *o, iso_lawfit *f, iso_err *err) {
  iso_status st = ISO_OK;
  size_t threads = (size_t)iso_pool_threads(c->pool), n = (size_t)d->n;
  boot j = {.s = s, .d = d, .f = f};
  f->boot = d->clusters < d->n ? ISO_LAWFIT_BOOT_CLUSTERS : d->n >= 5 * (int64_t)s->law->n_params ? ISO_LAWFIT_BOOT_PAIRS : ISO_LAWFIT_BOOT_RESIDUALS;
  // Residuals are widened when they are drawn.
  f->stretch = f->boot == ISO_LAWFIT_BOOT_RESIDUALS ? 1 : iso_fit_stretch(d->clusters, s->law->n_params, o->level);
  f->sample = malloc(sizeof(double) * (size_t)o->resamples * (size_t)s->law->n_params);
  j.weight = malloc(sizeof(double) * n * threads);
  j.y = malloc(sizeof(double) * n * threads);
  j.draws = malloc(sizeof(int64_t) * (size_t)d->clusters * threads);
  j.bad = calloc((size_t)o->resamples, sizeof *j.bad);
  if (!f->sample || !j.weight || !j.y || !j.draws || !j.bad) {
    st = iso_fail(err, ISO_ENOMEM, "fit: no memory for %lld resamples", (long long)o->resamples);
    goto done;
  }
  double start_s = iso_now_s(c);
  iso_pool_run(c->pool, o->resamples, boot_task, &j);
  f->refit_s = (iso_now_s(c) - start_s) / (double)o->resamples;
  st = summarise(f, j.bad, o->resamples, err);
done:
  free(j.weight);
  free(j.y);
  free(j.draws);
  free(j.bad);
  return st;
}

// ---- fit ------------------------------------------------------------------------------------------------------------

iso_status iso_lawfit_run(iso_ctx *c, const iso_law_data *d, const iso_lawfit_opts *o, iso_lawfit *out, iso_err *err) {
  iso_status st = ISO_OK;
  const iso_law *law = d->law;
  iso_law_means m;
  memset(out, 0, sizeof *out);
  ISO_TRY(check(d, o, err));
  iso_lawfit_problem s = problem_of(d, o->objective, o->delta);
  double start_s = iso_now_s(c);
  s.minimiser = out->minimiser = o->minimiser;
  s.mean = out->mean = o->mean;
  s.no_published = o->no_published;
  out->fit_s = out->refit_s = NAN;
  out->law = law;
  out->n = d->n;
  out->skipped = d->skipped;
  out->dropped = d->dropped;
  out->clusters = d->clusters;
  out->objective = o->objective;
  out->delta = o->delta;
  out->level = o->level;
  out->seed = o->seed;
  out->stretch = 1;
  for (int k = 0; k < law->n_params; k++) out->se[k] = out->lo[k] = out->hi[k] = NAN;
  for (int k = 0; k < law->n_consts && k < (int)ISO_COUNT(out->published); k++) out->published[k] = iso_lawfit_eval(&s, law->consts[k].p, NULL);
  ranges(d, out, &m);
  out->resid = malloc(sizeof(double) * (size_t)d->n);
  if (!out->resid) return iso_fail(err, ISO_ENOMEM, "fit: no memory for %lld rows", (long long)d->n);
  ISO_TRYG(iso_lawfit_multistart(&s, &m, o->starts, out, out->p, err));
  out->value = iso_lawfit_solve(&s, out->p, 40, &out->grad_norm);
  out->fit_s = iso_now_s(c) - start_s;
  ISO_TRYG(iso_lawfit_diagnose(&s, d, out, err));
  if (o->resamples > 0) ISO_TRYG(bootstrap(c, &s, d, o, out, err));
done:
  if (st != ISO_OK) iso_lawfit_close(out);
  return st;
}

void iso_lawfit_close(iso_lawfit *f) {
  free(f->sample);
  free(f->resid);
  memset(f, 0, sizeof *f);
}

// ---- questions ------------------------------------------------------------------------------------------------------

const char *iso_lawfit_axis_name(const iso_law *law, int axis) { return axis < 0 ? "" : axis < law->n_inputs ? law->input[axis].name : "train_flop"; }

double iso_lawfit_reach(const iso_lawfit *f, const double *x, int *axis) {
  double r = iso_law_reach(f->law, f->x_lo, f->x_hi, x, axis), c = iso_law_flop(f->law, x);
  double q = c > f->flop_hi ? c / f->flop_hi : c < f->flop_lo ? f->flop_lo / c : 1;
  if (!(q > r)) return r;
  if (axis) *axis = f->law->n_inputs;
  return q;
}

iso_status iso_lawfit_check_reach(const iso_lawfit *f, const double *x, double most, iso_err *err) {
  int axis;
  double r = iso_lawfit_reach(f, x, &axis);
  if (!(r > most)) return ISO_OK;
  iso_fail(err, ISO_EUNSUP, "this question lies %.3g times outside the runs in %s, and at most %.3g was allowed", r,
           iso_lawfit_axis_name(f->law, axis), most);
  return iso_hint(err, ISO_EUNSUP, "--extrapolate answers it all the same, --max-reach R moves the limit; runs nearer to it are better than either");
}

// Combines the interval of a parameter function with the noise of one run, in the residual's own space.
static iso_fit_interval with_noise(const iso_lawfit *f, iso_fit_interval v, double level, double *scratch) {
  bool is_log = iso_law_objective_is_log(f->objective);
  double wider = sqrt((double)f->n / fmax((double)(f->n - f->law->n_params), 1));
  for (int64_t i = 0; i < f->n; i++) scratch[i] = f->resid[i] * wider;
  double low = iso_quantile(scratch, f->n, (1 - level) / 2), high = iso_quantile(scratch, f->n, (1 + level) / 2);
  double a = is_log ? log(v.mid / v.lo) : v.mid - v.lo, b = is_log ? log(v.hi / v.mid) : v.hi - v.mid;
  // Without resamples the noise alone is known.
  a = hypot(isfinite(a) ? fmax(a, 0) : 0, fmin(low, 0));
  b = hypot(isfinite(b) ? fmax(b, 0) : 0, fmax(high, 0));
  return is_log ? (iso_fit_interval){v.mid, v.mid * exp(-a), v.mid * exp(b)} : (iso_fit_interval){v.mid, v.mid - a, v.mid + b};
}

iso_status iso_lawfit_predict(const iso_lawfit *f, const double *x, double level, iso_fit_interval *out, iso_err *err) {
  ISO_TRY(iso_law_check_inputs(f->law, x, err));
  if (!(level > 0 && level < 1)) return iso_fail(err, ISO_EINVAL, "predict: level %g, expected between 0 and 1", level);
  double mid = f->law->value(f->p, x, NULL);
  if (!isfinite(mid)) return iso_fail(err, ISO_ENUM, "the fitted law gives %g at these inputs: they are outside the region where it is defined", mid);
  int64_t n = f->resamples, used = 0;
  double *v = malloc(sizeof *v * (size_t)((n > f->n ? n : f->n) + 1));
  if (!v) return iso_fail(err, ISO_ENOMEM, "predict: no memory for %lld resamples", (long long)n);
  for (int64_t b = 0; b < n; b++) {
    double y = f->law->value(f->sample + b * f->law->n_params, x, NULL);
    if (isfinite(y)) v[used++] = y;
  }
  *out = iso_fit_bc_interval(v, used, mid, level, f->stretch);
  *out = with_noise(f, *out, level, v);
  free(v);
  return ISO_OK;
}

iso_status iso_lawfit_optimum_of(const iso_law *law, const double *p, const double *x, double flop, iso_law_point *pt, iso_err *err) {
  if (law->optimum && !x) return law->optimum(p, flop, pt, err);
  bool edge = false;
  ISO_TRY(iso_law_optimum_numeric(law, p, x, flop, 1e3, 1e15, NULL, NULL, pt, &edge, err));
  return edge ? iso_fail(err, ISO_ENUM, "law %s has no optimum between 1e3 and 1e15 parameters at %g FLOP", law->base.name, flop) : ISO_OK;
}

iso_status iso_lawfit_optimum(const iso_lawfit *f, const double *x, double flop, double level, iso_lawfit_best *out, iso_err *err) {
  iso_law_point pt, q;
  if (!(level > 0 && level < 1)) return iso_fail(err, ISO_EINVAL, "optimum: level %g, expected between 0 and 1", level);
  ISO_TRY(iso_lawfit_optimum_of(f->law, f->p, x, flop, &pt, err));
  int64_t n = f->resamples, used = 0;
  double *v = malloc(sizeof *v * (size_t)(3 * n + 1));
  if (!v) return iso_fail(err, ISO_ENOMEM, "optimum: no memory for %lld resamples", (long long)n);
  for (int64_t b = 0; b < n; b++) {
    if (iso_lawfit_optimum_of(f->law, f->sample + b * f->law->n_params, x, flop, &q, NULL) != ISO_OK) continue;
    v[used] = q.params;
    v[n + used] = q.tokens;
    v[2 * n + used++] = q.loss;
  }
  *out = (iso_lawfit_best){.flop = flop, .used = used};
  out->params = iso_fit_bc_interval(v, used, pt.params, level, f->stretch);
  out->tokens = iso_fit_bc_interval(v + n, used, pt.tokens, level, f->stretch);
  out->loss = iso_fit_bc_interval(v + 2 * n, used, pt.loss, level, f->stretch);
  free(v);
  return ISO_OK;
}

iso_status iso_lawfit_flop_for(const iso_lawfit *f, const double *x, double y, double level, iso_lawfit_target *out, iso_err *err) {
  double at[ISO_LAW_INPUT_MAX];
  iso_law_point pt, q;
  if (!(level > 0 && level < 1)) return iso_fail(err, ISO_EINVAL, "target: level %g, expected between 0 and 1", level);
  iso_law_absent(f->law, at);
  if (x) memcpy(at, x, sizeof *x * (size_t)f->law->n_inputs);
  ISO_TRY(iso_law_flop_for(f->law, f->p, at, y, &pt, err));
  int64_t n = f->resamples, used = 0;
  double *v = malloc(sizeof *v * (size_t)(3 * n + 1));
  if (!v) return iso_fail(err, ISO_ENOMEM, "target: no memory for %lld resamples", (long long)n);
  for (int64_t b = 0; b < n; b++) {
    if (iso_law_flop_for(f->law, f->sample + b * f->law->n_params, at, y, &q, NULL) != ISO_OK) continue;
    v[used] = q.flop;
    v[n + used] = q.params;
    v[2 * n + used++] = q.tokens;
  }
  *out = (iso_lawfit_target){.y = y, .used = used};
  out->flop = iso_fit_bc_interval(v, used, pt.flop, level, f->stretch);
  out->params = iso_fit_bc_interval(v + n, used, pt.params, level, f->stretch);
  out->tokens = iso_fit_bc_interval(v + 2 * n, used, pt.tokens, level, f->stretch);
  // Refits that never reach it say that there may be no such compute.
  if (used < n * 19 / 20) out->flop.hi = out->params.hi = out->tokens.hi = INFINITY;
  free(v);
  return ISO_OK;
}

iso_status iso_lawfit_find_best(const iso_lawfit *f, const double *x, int k, double most, double level, iso_lawfit_best_input *out, iso_err *err) {
  double at, y, far = fmin(most, 1e12), lo = f->x_lo[k] / far, hi = f->x_hi[k] * far, there[ISO_LAW_INPUT_MAX];
  if (!(level > 0 && level < 1)) return iso_fail(err, ISO_EINVAL, "best: level %g, expected between 0 and 1", level);
  ISO_TRY(iso_law_best_input(f->law, f->p, x, k, lo, hi, &at, &y, err));
  memcpy(there, x, sizeof *x * (size_t)f->law->n_inputs);
  there[k] = at;
  ISO_TRY(iso_lawfit_check_reach(f, there, most, err));
  int64_t n = f->resamples, used = 0;
  double *v = malloc(sizeof *v * (size_t)(2 * n + 1));
  if (!v) return iso_fail(err, ISO_ENOMEM, "best: no memory for %lld resamples", (long long)n);
  for (int64_t b = 0; b < n; b++)
    if (iso_law_best_input(f->law, f->sample + b * f->law->n_params, x, k, lo, hi, &v[used], &v[n + used], NULL) == ISO_OK) used++;
  *out = (iso_lawfit_best_input){.input = k, .used = used};
  out->reach = iso_lawfit_reach(f, there, &out->axis);
  out->at = iso_fit_bc_interval(v, used, at, level, f->stretch);
  out->value = iso_fit_bc_interval(v + n, used, y, level, f->stretch);
  free(v);
  return ISO_OK;
}

iso_status iso_lawfit_score_rows(const iso_lawfit *f, const iso_law_data *held, double level, double most, iso_lawfit_score *out, iso_err *err) {
  *out = (iso_lawfit_score){.n = held->n, .mean_abs = NAN, .max_abs = NAN, .bias = NAN, .inside = NAN};
  out->at = calloc((size_t)held->n + 1, sizeof *out->at);
  if (!out->at) return iso_fail(err, ISO_ENOMEM, "no memory for %lld held-out rows", (long long)held->n);
  double sum = 0, abs_sum = 0, worst = 0, inside = 0;
  for (int64_t i = 0; i < held->n; i++) {
    iso_lawfit_held *h = &out->at[i];
    const double *x = held->x + i * f->law->n_inputs;
    h->y = held->y[i];
    h->error = NAN;
    h->v = (iso_fit_interval){NAN, NAN, NAN};
    h->reach = iso_lawfit_reach(f, x, &h->axis);
    h->refused = h->reach > most;
    if (h->refused) continue;
    iso_status st = iso_lawfit_predict(f, x, level, &h->v, err);
    if (st != ISO_OK) {
      iso_lawfit_score_close(out);
      return iso_err_prefix(err, st, "held-out row %lld", (long long)i + 1);
    }
    h->error = iso_law_objective_is_log(f->objective) ? h->v.mid / h->y - 1 : h->v.mid - h->y;
    h->inside = h->v.lo <= h->y && h->y <= h->v.hi;
    sum += h->error;
    abs_sum += fabs(h->error);
    worst = fmax(worst, fabs(h->error));
    inside += h->inside;
    out->used++;
  }
  if (!out->used) return ISO_OK;
  out->bias = sum / (double)out->used;
  out->mean_abs = abs_sum / (double)out->used;
  out->max_abs = worst;
  out->inside = inside / (double)out->used;
  return ISO_OK;
}

void iso_lawfit_score_close(iso_lawfit_score *s) {
  free(s->at);
  *s = (iso_lawfit_score){0};
}
