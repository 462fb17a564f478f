// The gradient noise scale from squared gradient lengths at two batch sizes.
#include "plan/noise_scale.h"

#include <math.h>

iso_status iso_noise_scale_open(double small, double big, iso_noise_scale *out, iso_err *err) {
  if (!(small > 0 && small < big && big < INFINITY))
    return iso_fail(err, ISO_EINVAL, "noise scale: batches of %g and %g, expected 0 < small < big", small, big);
  *out = (iso_noise_scale){.small = small, .big = big};
  return ISO_OK;
}

iso_status iso_noise_scale_add(iso_noise_scale *s, double small_sq, double big_sq, iso_err *err) {
  return iso_noise_scale_add_at(s, s->small, s->big, small_sq, big_sq, err);
}

iso_status iso_noise_scale_add_at(iso_noise_scale *s, double small, double big, double small_sq, double big_sq, iso_err *err) {
  if (!(small > 0 && small < big && big < INFINITY))
    return iso_fail(err, ISO_EINVAL, "noise scale: batches of %g and %g, expected 0 < small < big", small, big);
  if (!(small_sq >= 0 && small_sq < INFINITY && big_sq >= 0 && big_sq < INFINITY))
    return iso_fail(err, ISO_EINVAL, "noise scale: squared gradient lengths %g and %g, expected finite numbers from 0", small_sq, big_sq);
  double g = (big * big_sq - small * small_sq) / (big - small), t = (small_sq - big_sq) / (1 / small - 1 / big);
  double n = (double)++s->n, dg = g - s->mean_g, dt = t - s->mean_s;
  s->mean_g += dg / n;
  s->mean_s += dt / n;
  s->var_g += dg * (g - s->mean_g);
  s->var_s += dt * (t - s->mean_s);
  s->cov += dg * (t - s->mean_s);
  return ISO_OK;
}

iso_status iso_noise_scale_get(const iso_noise_scale *s, iso_noise_answer *out, iso_err *err) {
  double g = s->mean_g, t = s->mean_s, n = (double)s->n;
  *out = (iso_noise_answer){.grad_sq = g, .trace = t, .batch = NAN, .se = NAN};
  if (s->n == 0) return iso_fail(err, ISO_ENUM, "noise scale: no step was added");
  if (!(g > 0 && t > 0)) {
    iso_fail(err, ISO_ENUM, "noise scale: |G|^2 = %g and tr(Sigma) = %g after %lld steps, both must be positive", g, t, (long long)s->n);
    return iso_hint(err, ISO_ENUM, "average over more steps, or take batches further apart than %g and %g", s->small, s->big);
  }
  out->batch = t / g;
  // Var(t/g) to first order: (var t - 2 r cov + r^2 var g) / g^2 of the means.
  if (s->n > 1) out->se = sqrt(fmax(s->var_s - 2 * out->batch * s->cov + out->batch * out->batch * s->var_g, 0) / (n * (n - 1))) / g;
  return ISO_OK;
}

// The first window is kept until so many steps are there twice.
#define FIRST_STEPS 8

iso_status iso_noise_window_open(double small, double big, iso_noise_window *out, iso_err *err) {
  *out = (iso_noise_window){0};
  ISO_TRY(iso_noise_scale_open(small, big, &out->old, err));
  out->young = out->old;
  return ISO_OK;
}

iso_status iso_noise_window_add(iso_noise_window *w, double small, double big, double small_sq, double big_sq, iso_err *err) {
  ISO_TRY(iso_noise_scale_add_at(&w->old, small, big, small_sq, big_sq, err));
  ISO_TRY(iso_noise_scale_add_at(&w->young, small, big, small_sq, big_sq, err));
  w->n++;
  if (w->n != (w->young_from ? 2 * w->young_from : FIRST_STEPS)) return ISO_OK;
  if (w->young_from) {
    w->old = w->young;
    w->old_from = w->young_from;
  }
  w->young = (iso_noise_scale){.small = w->young.small, .big = w->young.big};
  w->young_from = w->n;
  return ISO_OK;
}

void iso_noise_tradeoff(double noise, double batch, double *steps, double *examples) {
  *steps = 1 + noise / batch;
  *examples = 1 + batch / noise;
}
