// Prices pairs of heads at the size that reaches a loss and takes the cheapest.
#include "plan/gqa.h"

#include <math.h>

iso_gqa_opts iso_gqa_opts_default(void) {
  return (iso_gqa_opts){
      .loss = NAN, .context_tok = NAN, .head_dim = 64, .memory_weight = 0.9, .memory_power = 0.5, .flop_weight = 0.1, .flop_power = 1.0 / 3};
}

// Layers of a size, linear in log N between the sizes of the table; NaN outside.
static double layers_of(const iso_gqa_opts *o, double params) {
  for (int i = 0; i < o->n_sizes; i++) {
    double lo = o->size_params[i], hi = i + 1 < o->n_sizes ? o->size_params[i + 1] : lo;
    if (params == lo) return o->size_layers[i];
    if (params < lo || params >= hi) continue;
    double t = log(params / lo) / log(hi / lo);
    return o->size_layers[i] + t * (o->size_layers[i + 1] - o->size_layers[i]);
  }
  return NAN;
}

void iso_gqa_price(const iso_gqa_opts *o, const iso_gqa_pair *h, double params, double layers, iso_gqa_cost *out) {
  double each = o->context_tok * layers * o->head_dim;  // one vector a head, layer and token
  *out = (iso_gqa_cost){.params = params, .layers = layers, .flag = ISO_GQA_OK};
  out->flop = 2 * params + 4 * each * h->heads;
  out->elements = params + 2 * each * h->kv_heads;
  out->cost = o->memory_weight * pow(out->elements, o->memory_power) + o->flop_weight * pow(out->flop, o->flop_power);
}

static iso_status check(const iso_gqa_opts *o, const iso_gqa_pair *pair, int n, iso_err *err) {
  if (n < 1) return iso_fail(err, ISO_EINVAL, "gqa: no pair of heads to choose from");
  if (!(o->loss > 0 && o->loss < INFINITY)) return iso_fail(err, ISO_EINVAL, "gqa: target loss %g, expected a positive number", o->loss);
  if (!(o->context_tok > 0 && o->context_tok < INFINITY && o->head_dim > 0 && o->head_dim < INFINITY))
    return iso_fail(err, ISO_EINVAL, "gqa: context %g tokens and head dimension %g, expected positive numbers", o->context_tok, o->head_dim);
  if (!(o->memory_weight >= 0 && o->flop_weight >= 0 && o->memory_weight + o->flop_weight > 0 && o->memory_power > 0 && o->flop_power > 0))
    return iso_fail(err, ISO_EINVAL, "gqa: weights %g and %g, powers %g and %g, expected weights of 0 or more, not both 0, and positive powers",
                    o->memory_weight, o->flop_weight, o->memory_power, o->flop_power);
  if (o->n_sizes < 2) return iso_fail(err, ISO_EINVAL, "gqa: layers of %d sizes, expected two or more", o->n_sizes);
  for (int i = 0; i < o->n_sizes; i++)
    if (!(o->size_layers[i] > 0 && o->size_params[i] > (i ? o->size_params[i - 1] : 0)))
      return iso_fail(err, ISO_EINVAL, "gqa: size %d has %g parameters and %g layers, expected ascending parameters and positive layers", i + 1,
                      o->size_params[i], o->size_layers[i]);
  for (int i = 0; i < n; i++)
    if (pair[i].kv_heads < 1 || pair[i].heads < 1 || pair[i].heads % pair[i].kv_heads)
      return iso_fail(err, ISO_EINVAL, "gqa: %d query heads over %d key/value heads, expected a multiple", pair[i].heads, pair[i].kv_heads);
  return ISO_OK;
}

iso_status iso_gqa_choose(const iso_gqa_opts *o, const iso_gqa_pair *pair, int n, iso_gqa_cost *each, int *best, iso_err *err) {
  int outside = 0;
  *best = -1;
  ISO_TRY(check(o, pair, n, err));
  for (int i = 0; i < n; i++) {
    double params = iso_law_gqa.inverse(pair[i].p, NULL, 0, o->loss), layers = layers_of(o, params);
    if (isfinite(layers)) {
      iso_gqa_price(o, &pair[i], params, layers, &each[i]);
      if (*best < 0 || each[i].cost < each[*best].cost) *best = i;
      continue;
    }
    each[i] = (iso_gqa_cost){params, NAN, NAN, NAN, NAN, isnan(params) ? ISO_GQA_UNREACHABLE : ISO_GQA_OUTSIDE};
    outside += each[i].flag == ISO_GQA_OUTSIDE;
  }
  if (*best >= 0) return ISO_OK;
  iso_fail(err, ISO_ENUM, "gqa: none of %d pairs of heads reaches a loss of %g: %d need a size outside the table, %d have a floor above it", n,
           o->loss, outside, n - outside);
  return iso_hint(err, ISO_ENUM, "take a loss that the fitted runs reached, or add sizes");
}
