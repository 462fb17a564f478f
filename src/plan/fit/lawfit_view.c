// The fast Chinchilla fit seen as a general one, so that whatever shows a fit needs one kind only.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/fit/lawfit_impl.h"

iso_status iso_law_data_of(const iso_fit_data *d, iso_law_data *out, iso_err *err) {
  const iso_law *law = &iso_law_chinchilla;
  ISO_TRY(iso_law_data_open(law, d->n, out, err));
  out->skipped = d->skipped;
  out->dropped = d->dropped;
  for (int64_t i = 0; i < d->n; i++) {
    out->x[2 * i + law->at_params] = d->params[i];
    out->x[2 * i + law->at_tokens] = d->tokens[i];
    out->flop[i] = d->flop[i];
    out->y[i] = d->loss[i];
  }
  return ISO_OK;
}

iso_status iso_lawfit_of(const iso_fit *f, const iso_law_data *d, iso_lawfit *out, iso_err *err) {
  int n = f->law->n_params;
  iso_lawfit_problem s = {.law = f->law, .n = d->n, .x = d->x, .y = d->y, .objective = ISO_LAW_HUBER_LOG, .delta = f->delta};
  size_t sample = sizeof(double) * (size_t)(f->resamples * n);
  *out = (iso_lawfit){.law = f->law,
                      .n = f->n,
                      .skipped = f->skipped,
                      .dropped = f->dropped,
                      .clusters = f->n,
                      .objective = ISO_LAW_HUBER_LOG,
                      .delta = f->delta,
                      .value = f->objective,
                      .grad_norm = f->grad_norm,
                      .starts = f->starts,
                      .finalists = f->finalists,
                      .agree = f->finalists_agree,
                      .level = f->level,
                      .flop_lo = f->c_min,
                      .flop_hi = f->c_max,
                      .boot = f->resamples ? f->boot == ISO_FIT_BOOT_PAIRS ? ISO_LAWFIT_BOOT_PAIRS : ISO_LAWFIT_BOOT_RESIDUALS : ISO_LAWFIT_BOOT_NONE,
                      .stretch = f->stretch,
                      .resamples = f->resamples,
                      .failed = f->failed,
                      .seed = f->seed,
                      .fit_s = f->fit_s,
                      .refit_s = f->refit_s,
                      .algorithm = "Newton's method with exact second derivatives on the log-sum-exp form, until it converges to rounding"};
  memcpy(out->p, f->p, sizeof f->p);
  memcpy(out->se, f->se, sizeof f->se);
  memcpy(out->lo, f->lo, sizeof f->lo);
  memcpy(out->hi, f->hi, sizeof f->hi);
  out->x_lo[f->law->at_params] = f->n_min;
  out->x_hi[f->law->at_params] = f->n_max;
  out->x_lo[f->law->at_tokens] = f->d_min;
  out->x_hi[f->law->at_tokens] = f->d_max;
  for (int k = 0; k < f->law->n_consts && k < (int)ISO_COUNT(out->published); k++) out->published[k] = iso_lawfit_eval(&s, f->law->consts[k].p, NULL);
  out->resid = malloc(sizeof(double) * (size_t)(d->n + 1));
  out->sample = malloc(sample + 1);
  if (!out->resid || !out->sample) {
    iso_lawfit_close(out);
    return iso_fail(err, ISO_ENOMEM, "fit: no memory for %lld rows and %lld resamples", (long long)d->n, (long long)f->resamples);
  }
  if (f->resamples) memcpy(out->sample, f->sample, sample);
  iso_status st = iso_lawfit_diagnose(&s, d, out, err);
  if (st != ISO_OK) iso_lawfit_close(out);
  return st;
}
