// Choosing the next token: greedy, temperature, top-k, top-p.
#include "infer/sampler.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

iso_status iso_sample_check(const iso_sample_opts *o, iso_err *err) {
  if (!(o->temperature >= 0) || isinf(o->temperature))
    return iso_fail(err, ISO_EINVAL, "temperature %g: must be 0 (greedy) or a positive number", o->temperature);
  if (o->top_k < 0) return iso_fail(err, ISO_EINVAL, "top-k %lld: must be 0 (all) or more", (long long)o->top_k);
  if (!(o->top_p > 0 && o->top_p <= 1)) return iso_fail(err, ISO_EINVAL, "top-p %g: must be above 0 and at most 1", o->top_p);
  return ISO_OK;
}

// An unsigned key in the order of the floats (-0 below +0 does no harm); no NaN reaches it.
static uint32_t key_of(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  return u >> 31 ? ~u : u | 0x80000000u;
}

// Cuts to the likeliest tokens whose weights first reach `need`, by radix selection: four rounds fix the key of the last
// one kept, a byte a round, from sums of weights per byte value. A token's weight is 1, or exp((x - top) / temperature).
static void keep_top(float *x, int64_t v, double need, bool count, double top, double temperature) {
  uint32_t prefix = 0, mask = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    double sum[256] = {0};
    int last = -1;  // the lowest byte value with a token
    for (int64_t i = 0; i < v; i++) {
      uint32_t k = key_of(x[i]);
      if (x[i] == -INFINITY || (k & mask) != prefix) continue;
      int byte = (int)(k >> shift & 255u);
      sum[byte] += count ? 1 : exp(((double)x[i] - top) / temperature);
      if (last < 0 || byte < last) last = byte;
    }
    int b = 255;
    while (b > last && need > sum[b]) need -= sum[b--];
    prefix |= (uint32_t)b << shift;
    mask |= 255u << shift;
  }
  for (int64_t i = 0; i < v; i++) {
    uint32_t k = key_of(x[i]);
    if (k > prefix) continue;
    if (k == prefix && need > 0)
      need -= count ? 1 : exp(((double)x[i] - top) / temperature);
    else
      x[i] = -INFINITY;
  }
}

static double mass(const float *x, int64_t v, double top, double temperature) {
  double sum = 0;
  for (int64_t i = 0; i < v; i++) sum += exp(((double)x[i] - top) / temperature);
  return sum;
}

iso_status iso_sample(const iso_sample_opts *o, float *x, int64_t v, uint64_t seed, uint64_t step, int32_t *id, iso_err *err) {
  ISO_TRY(iso_sample_check(o, err));
  if (v < 1) return iso_fail(err, ISO_EINVAL, "sampling from %lld tokens", (long long)v);
  int64_t best = 0;
  for (int64_t i = 0; i < v; i++) {
    if (isnan(x[i]) || x[i] == INFINITY) return iso_fail(err, ISO_ENUM, "sampling: the logit of token %lld is %g", (long long)i, (double)x[i]);
    if (x[i] > x[best]) best = i;
  }
  double top = (double)x[best];
  if (top == -INFINITY) return iso_fail(err, ISO_ENUM, "sampling: all %lld logits are -infinity", (long long)v);
  *id = (int32_t)best;
  if (o->temperature == 0) return ISO_OK;
  if (o->top_k > 0 && o->top_k < v) keep_top(x, v, (double)o->top_k, true, top, o->temperature);
  if (o->top_p < 1) keep_top(x, v, o->top_p * mass(x, v, top, o->temperature), false, top, o->temperature);
  double at = iso_rng_unit(seed, ISO_RNG_SAMPLE, step, 0) * mass(x, v, top, o->temperature);
  for (int64_t i = 0; i < v; i++) {
    if (x[i] == -INFINITY) continue;
    double w = exp(((double)x[i] - top) / o->temperature);
    // Rounding may leave a rest after the last token: it goes to the last one that has any mass.
    if (w > 0) *id = (int32_t)i;
    if ((at -= w) < 0) break;
  }
  return ISO_OK;
}
