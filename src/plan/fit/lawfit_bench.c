// Synthetic runs of any law, and how long a fit and a refit of them take.
#include "plan/fit/lawfit_bench.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "base/rng.h"

enum { TRIES = 200 };

iso_lawfit_bench_opts iso_lawfit_bench_opts_default(void) { return (iso_lawfit_bench_opts){.resamples = 100, .noise = 0.005}; }

// Where the runs of studies lie, by the name of the input; others from 1 to 100.
static void span_of(const iso_law_input *in, double *lo, double *hi) {
  static const struct {
    const char *name;
    double lo, hi;
  } SPAN[] = {
      {"params", 2e7, 4e9},
      {"tokens", 5e8, 2e11},
      {"unique_tokens", 1e8, 4e10},
      {"vocab", 4e3, 1e5},
      {"width", 500, 4000},
      {"weight_bits", 3, 12},
      {"act_bits", 4, 12},
      {"kv_bits", 4, 12},
      {"post_bits", 3, 8},
      {"experts", 1, 32},
      {"granularity", 1, 32},
      {"active_params", 2e7, 4e9},
      {"loss", 2.2, 5},
      {"train_flop", 1e18, 1e22},
      {"batch_tokens", 1e5, 4e6},
      {"lr", 1e-4, 1e-2},
      {"active_share", 0.02, 0.3},
      {"streams", 1, 16},
      {"teacher_loss", 1.9, 2.6},
      {"supervised_loss", 2, 3.2},
      {"steps", 3e3, 1e6},
      {"chance", 0.25, 0.25},
      {"dimension", 200, 3000},
      {"ceiling", 0.95, 0.95},
      {"rl_compute", 100, 5e4},
      {"capacity", 1, 1},
      {"pool", 1e6, 3e7},
      {"samples", 2, 2000},
      {"kl", 0.5, 200},
      {"gmse", 1e-4, 0.3},
  };
  *lo = 1;
  *hi = 100;
  for (size_t i = 0; i < ISO_COUNT(SPAN); i++)
    if (strcmp(SPAN[i].name, in->name) == 0) {
      *lo = SPAN[i].lo;
      *hi = SPAN[i].hi;
    }
}

// Number i of a sequence that fills [0, 1] evenly, one for each input: powers of the roots used in Roberts' additive recurrences.
static double even(int64_t i, int k) {
  static const double STEP[ISO_LAW_INPUT_MAX] = {0.7548776662, 0.5698402909, 0.4301597090, 0.3247179572,
                                                 0.2451223337, 0.1850373752, 0.1396806,    0.1054};
  double u = 0.5 + (double)(i + 1) * STEP[k];
  return u - floor(u);
}

static bool usable(const iso_law *law, double y) { return isfinite(y) && (!iso_law_objective_is_log(law->objective) || y > 0); }

// Whether the law takes usable values at p for every row, that are not all the same.
static bool values(const iso_law *law, const double *p, iso_law_data *d) {
  double lo = INFINITY, hi = -INFINITY;
  for (int64_t i = 0; i < d->n; i++) {
    d->y[i] = law->value(p, d->x + i * law->n_inputs, NULL);
    if (!usable(law, d->y[i])) return false;
    lo = fmin(lo, d->y[i]);
    hi = fmax(hi, d->y[i]);
  }
  return hi - lo > 1e-6 * fabs(hi);
}

// Parameters from which fits start: the middle of them, else the first of a sequence that will do.
static bool typical(const iso_law *law, iso_law_data *d, double *p) {
  iso_law_means m = {.y = 1, .y_min = 0.5};
  for (int k = 0; k < law->n_inputs; k++)
    for (int64_t i = 0; i < d->n; i++) m.log_x[k] += log(d->x[i * law->n_inputs + k]) / (double)d->n;
  for (int64_t t = -1; t < TRIES; t++) {
    double u[ISO_LAW_PARAM_MAX];
    for (int k = 0; k < law->n_params; k++) u[k] = t < 0 ? 0.5 : iso_rng_unit(0, ISO_RNG_TEST, (uint64_t)t, (uint64_t)k);
    if (law->start) law->start(&m, u, p);
    for (int k = 0; !law->start && k < law->n_params; k++) p[k] = law->param[k].lo + u[k] * (law->param[k].hi - law->param[k].lo);
    if (values(law, p, d)) return true;
  }
  return false;
}

iso_status iso_lawfit_synthetic(const iso_law *law, const iso_lawfit_bench_opts *o, iso_law_data *out, double *p, const char **set, iso_err *err) {
  int64_t n = o->rows ? o->rows : 20 * (int64_t)law->n_params;
  ISO_TRY(iso_law_data_open(law, n, out, err));
  for (int64_t i = 0; i < n; i++)
    for (int k = 0; k < law->n_inputs; k++) {
      double lo, hi;
      span_of(&law->input[k], &lo, &hi);
      out->x[i * law->n_inputs + k] = lo * pow(hi / lo, even(i, k));
    }
  *set = law->n_consts ? law->consts[0].name : NULL;
  if (*set) memcpy(p, law->consts[0].p, sizeof *p * (size_t)law->n_params);
  if (!*set || !values(law, p, out)) {
    *set = NULL;
    if (!typical(law, out, p)) {
      iso_law_data_close(out);
      return iso_fail(err, ISO_ENUM, "law %s: no typical parameters give it values over the typical ranges of its inputs", law->base.name);
    }
  }
  double mean = 0;
  for (int64_t i = 0; i < n; i++) mean += fabs(out->y[i]) / (double)n;
  for (int64_t i = 0; i < n; i++) {
    double z = o->noise * iso_rng_normal(o->seed, ISO_RNG_NOISE, 0, (uint64_t)i);
    out->y[i] = iso_law_objective_is_log(law->objective) ? out->y[i] * exp(z) : out->y[i] + mean * z;
    out->flop[i] = iso_law_flop(law, out->x + i * law->n_inputs);
  }
  return ISO_OK;
}

iso_status iso_lawfit_bench(iso_ctx *c, const iso_law *law, const iso_lawfit_bench_opts *o, json_t **out, iso_err *err) {
  iso_law_data d;
  iso_lawfit f;
  double p[ISO_LAW_PARAM_MAX];
  const char *set;
  ISO_TRY(iso_lawfit_synthetic(law, o, &d, p, &set, err));
  iso_lawfit_opts fo = iso_lawfit_opts_default(law);
  fo.resamples = o->resamples;
  fo.seed = o->seed;
  fo.no_published = true;
  iso_status st = iso_lawfit_run(c, &d, &fo, &f, err);
  if (st == ISO_OK) {
    *out = json_pack("{s:s, s:s, s:s?, s:i, s:I, s:i, s:o, s:o, s:I, s:i, s:o, s:o}", "bench", "fit", "law", law->base.name, "set", set, "params",
                     law->n_params, "rows", (json_int_t)d.n, "starts", f.starts, "fit_s", iso_json_num(f.fit_s), "refit_s", iso_json_num(f.refit_s),
                     "resamples", (json_int_t)f.resamples, "threads", (int)iso_pool_threads(c->pool), "rmse", iso_json_num(f.rmse), "noise_sd",
                     iso_json_num(f.noise_sd));
    if (!*out) st = iso_fail(err, ISO_ENOMEM, "bench fit: no memory for the result");
    iso_lawfit_close(&f);
  }
  iso_law_data_close(&d);
  return st;
}
