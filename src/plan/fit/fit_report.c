// Questions to a finished fit: loss intervals, compute-optimal points, extrapolation, JSON.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/stat.h"
#include "plan/fit/fit_impl.h"

enum { P = ISO_FIT_P, DRAWS = 4 };

static iso_fit_interval percentile(double *v, int64_t n, double mid, double level) {
  if (n < 1) return (iso_fit_interval){mid, NAN, NAN};
  double lo = iso_quantile(v, n, (1 - level) / 2);
  return (iso_fit_interval){mid, lo, iso_quantile(v, n, (1 + level) / 2)};
}

double iso_fit_stretch(int64_t n, int params, double level) {
  double df = (double)(n - params), z = iso_normal_quantile((1 + level) / 2);
  if (df < 1) return 1;
  // Cornish-Fisher's first terms are exact to 1e-5 from 30 degrees of freedom on, and some thousand times cheaper.
  double t = df < 30 ? iso_t_quantile(level, df) : z + (z * z * z + z) / (4 * df) + (5 * pow(z, 5) + 16 * z * z * z + 3 * z) / (96 * df * df);
  return t / z * sqrt((double)n / df);
}

iso_fit_interval iso_fit_bc_interval(double *v, int64_t n, double mid, double level, double stretch) {
  if (n < 1) return (iso_fit_interval){mid, NAN, NAN};
  double below = 0;
  for (int64_t i = 0; i < n; i++) below += v[i] < mid ? 1 : v[i] == mid ? 0.5 : 0;
  // A shift beyond what n values can show would send the interval to the extremes of the sample.
  double share = fmin(fmax(below / (double)n, 0.05), 0.95), z = 2 * iso_normal_quantile(share), h = stretch * iso_normal_quantile((1 + level) / 2);
  double lo = iso_quantile(v, n, iso_normal_cdf(z - h));
  return (iso_fit_interval){mid, lo, iso_quantile(v, n, iso_normal_cdf(z + h))};
}

iso_status iso_fit_predict(const iso_fit *f, double params, double tokens, double level, iso_fit_interval *out, iso_err *err) {
  if (!(params > 0 && tokens > 0 && params < INFINITY && tokens < INFINITY))
    return iso_fail(err, ISO_EINVAL, "predict: N = %g and D = %g, expected positive finite numbers", params, tokens);
  if (!(level > 0 && level < 1)) return iso_fail(err, ISO_EINVAL, "predict: level %g, expected between 0 and 1", level);
  int64_t n = f->resamples * DRAWS;
  double mid = iso_law_nd(f->law, f->p, params, tokens), *v = malloc(sizeof *v * (size_t)(n + 1));
  if (!v) return iso_fail(err, ISO_ENOMEM, "predict: no memory for %lld draws", (long long)n);
  for (int64_t b = 0; b < f->resamples; b++) {
    double loss = iso_law_nd(f->law, f->sample + b * P, params, tokens);
    for (int64_t k = 0; k < DRAWS; k++) {
      uint64_t e = (uint64_t)(2000 + k), step = (uint64_t)b;
      double noise = f->sample_noise ? f->sample_noise[b] * iso_rng_normal(f->seed, ISO_RNG_NOISE, step, e)
                                     : f->resid[iso_rng_below(f->seed, ISO_RNG_NOISE, step, e, f->n)];
      v[b * DRAWS + k] = loss * exp(noise);
    }
  }
  *out = percentile(v, n, mid, level);
  free(v);
  return ISO_OK;
}

iso_status iso_fit_optimum(const iso_fit *f, double flop, double level, iso_fit_best *out, iso_err *err) {
  iso_law_point pt;
  if (!(level > 0 && level < 1)) return iso_fail(err, ISO_EINVAL, "optimum: level %g, expected between 0 and 1", level);
  ISO_TRY(f->law->optimum(f->p, flop, &pt, err));
  int64_t n = f->resamples, used = 0;
  double *v = malloc(sizeof *v * (size_t)(4 * n + 1));
  if (!v) return iso_fail(err, ISO_ENOMEM, "optimum: no memory for %lld resamples", (long long)n);
  for (int64_t b = 0; b < n; b++) {
    const double *p = f->sample + b * P;
    iso_law_point q;
    if (f->law->optimum(p, flop, &q, NULL) != ISO_OK) continue;
    v[used] = q.params;
    v[n + used] = q.tokens;
    v[2 * n + used] = q.loss;
    v[3 * n + used] = p[ISO_FIT_BETA] / (p[ISO_FIT_ALPHA] + p[ISO_FIT_BETA]);
    used++;
  }
  *out = (iso_fit_best){.flop = flop, .used = used};
  out->params = iso_fit_bc_interval(v, used, pt.params, level, f->stretch);
  out->tokens = iso_fit_bc_interval(v + n, used, pt.tokens, level, f->stretch);
  out->loss = iso_fit_bc_interval(v + 2 * n, used, pt.loss, level, f->stretch);
  out->exponent = iso_fit_bc_interval(v + 3 * n, used, f->p[ISO_FIT_BETA] / (f->p[ISO_FIT_ALPHA] + f->p[ISO_FIT_BETA]), level, f->stretch);
  free(v);
  return ISO_OK;
}

static double reach(double v, double lo, double hi) { return v > hi ? v / hi : v < lo ? lo / v : 1; }

iso_fit_reach iso_fit_extrapolation(const iso_fit *f, double params, double tokens, double flop) {
  return (iso_fit_reach){reach(params, f->n_min, f->n_max), reach(tokens, f->d_min, f->d_max), reach(flop, f->c_min, f->c_max)};
}

json_t *iso_fit_interval_json(const iso_fit_interval *v) { return iso_json_range(v->mid, v->lo, v->hi, "no refits were made"); }

// Estimate, interval and standard error of one internal parameter.
static json_t *param_json(const iso_fit *f, int k) {
  return json_pack("{s:o, s:o, s:o, s:o}", "value", iso_json_num(f->p[k]), "se", iso_json_num(f->se[k]), "lo", iso_json_num(f->lo[k]), "hi",
                   iso_json_num(f->hi[k]));
}

// Likewise for exp of it; the standard deviation is that of the exponentials.
static json_t *exp_json(const iso_fit *f, int k) {
  double m = 0, s = 0;
  for (int64_t b = 0; b < f->resamples; b++) m += exp(f->sample[b * P + k]) / (double)f->resamples;
  for (int64_t b = 0; b < f->resamples; b++) s += pow(exp(f->sample[b * P + k]) - m, 2);
  double se = f->resamples > 1 ? sqrt(s / (double)(f->resamples - 1)) : NAN;
  return json_pack("{s:o, s:o, s:o, s:o}", "value", iso_json_num(exp(f->p[k])), "se", iso_json_num(se), "lo", iso_json_num(exp(f->lo[k])), "hi",
                   iso_json_num(exp(f->hi[k])));
}

json_t *iso_fit_json(const iso_fit *f) {
  json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "law", f->law->base.name, "points", (json_int_t)f->n, "skipped",
                        (json_int_t)f->skipped, "dropped", (json_int_t)f->dropped, "huber_delta", iso_json_num(f->delta), "objective",
                        iso_json_num(f->objective), "grad_norm", iso_json_num(f->grad_norm), "level", iso_json_num(f->level));
  json_t *p = json_object(), *warn = json_array();
  json_object_set_new(p, "A", exp_json(f, ISO_FIT_LOG_A));
  json_object_set_new(p, "B", exp_json(f, ISO_FIT_LOG_B));
  json_object_set_new(p, "E", exp_json(f, ISO_FIT_LOG_E));
  for (int k = 0; k < P; k++) json_object_set_new(p, f->law->param[k].name, param_json(f, k));
  json_object_set_new(o, "params", p);
  json_object_set_new(o, "starts", json_integer(f->starts));
  json_object_set_new(o, "finalists", json_integer(f->finalists));
  json_object_set_new(o, "finalists_agree", json_integer(f->finalists_agree));
  json_object_set_new(o, "bootstrap",
                      json_string(f->boot == ISO_FIT_BOOT_PAIRS        ? "pairs"
                                  : f->boot == ISO_FIT_BOOT_PARAMETRIC ? "parametric"
                                                                       : "none"));
  json_object_set_new(o, "resamples", json_integer(f->resamples));
  json_object_set_new(o, "resamples_failed", json_integer(f->failed));
  json_object_set_new(o, "noise_sd_log_loss", iso_json_num(f->noise_sd));
  json_object_set_new(o, "condition", iso_json_num(f->condition));
  json_object_set_new(o, "corr_log_n_log_d", iso_json_num(f->corr_nd));
  json_object_set_new(o, "range",
                      json_pack("{s:[o,o], s:[o,o], s:[o,o]}", "params", iso_json_num(f->n_min), iso_json_num(f->n_max), "tokens",
                                iso_json_num(f->d_min), iso_json_num(f->d_max), "train_flop", iso_json_num(f->c_min), iso_json_num(f->c_max)));
  for (int i = 0; i < f->n_warn; i++) json_array_append_new(warn, json_string(f->warn[i]));
  json_object_set_new(o, "warnings", warn);
  return o;
}
