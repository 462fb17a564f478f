// Counting parameters, cache elements and kernels of a served model, and the built-in shapes.
#include "plan/serve/shape.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const iso_serve_shape SHAPES[] = {
#define X(n, ...) {.name = n, __VA_ARGS__},
#include "plan/serve/shapes.def"
#undef X
};

static iso_status size_error(const iso_serve_shape *s, const char *field, int64_t v, const char *expected, iso_err *err) {
  return iso_fail(err, ISO_EINVAL, "model %s: %s is %lld, expected %s", s->name, field, (long long)v, expected);
}

static iso_status check_attention(const iso_serve_shape *s, iso_err *err) {
  const int64_t max = 1 << 24;
  if (s->heads < 1 || s->heads > max) return size_error(s, "heads", s->heads, "a positive number", err);
  if (s->kv_heads < 1 || s->heads % s->kv_heads) return size_error(s, "kv_heads", s->kv_heads, "a divisor of heads", err);
  if (s->kv_rank > 0) {
    if (s->kv_rank > max || s->q_rank < 1 || s->q_rank > max) return size_error(s, "q_rank", s->q_rank, "positive ranks with latent attention", err);
    if (s->rope < 1 || s->nope < 1 || s->v_dim < 1 || s->rope > max || s->nope > max || s->v_dim > max)
      return size_error(s, "rope, nope or v_dim", s->v_dim, "positive numbers with latent attention", err);
  } else if (s->head_dim < 1 || s->head_dim > max) {
    return size_error(s, "head_dim", s->head_dim, "a positive number", err);
  }
  if (s->linear_layers < 0 || s->linear_layers >= s->layers) return size_error(s, "linear_layers", s->linear_layers, "0 to layers - 1", err);
  if (s->linear_layers > 0 && (s->linear_params < 1 || s->linear_state < 1))
    return size_error(s, "linear_params", s->linear_params, "positive numbers of parameters and state elements", err);
  if (s->window_layers < 0 || s->window_layers + s->linear_layers > s->layers)
    return size_error(s, "window_layers", s->window_layers, "0 to the attention layers", err);
  if (s->window_layers > 0 && s->window < 1) return size_error(s, "window", s->window, "a positive number", err);
  if (s->top_k < 0 || s->index_dim < 0) return size_error(s, "top_k", s->top_k, "0 or a positive number", err);
  return ISO_OK;
}

iso_status iso_serve_shape_check(const iso_serve_shape *s, iso_err *err) {
  const int64_t max = 1 << 24;
  if (s->layers < 1 || s->layers > 100000) return size_error(s, "layers", s->layers, "1 to 100000", err);
  if (s->width < 1 || s->width > max) return size_error(s, "width", s->width, "a positive number", err);
  if (s->vocab < 1 || s->vocab > (1 << 28)) return size_error(s, "vocab", s->vocab, "a positive number", err);
  ISO_TRY(check_attention(s, err));
  if (s->dense_layers < 0 || s->dense_layers > s->layers) return size_error(s, "dense_layers", s->dense_layers, "0 to layers", err);
  if (s->dense_layers > 0 && (s->mlp < 1 || s->mlp > max)) return size_error(s, "mlp", s->mlp, "a positive number", err);
  if (s->dense_layers > 0 && (s->mlp_mats < 2 || s->mlp_mats > 3)) return size_error(s, "mlp_mats", s->mlp_mats, "2 or 3", err);
  if (s->dense_layers < s->layers) {
    if (s->experts < 1 || s->experts > max) return size_error(s, "experts", s->experts, "a positive number: not every layer is dense", err);
    if (s->used < 1 || s->used > s->experts) return size_error(s, "used", s->used, "1 to experts", err);
    if (s->expert_mlp < 1 || s->expert_mlp > max) return size_error(s, "expert_mlp", s->expert_mlp, "a positive number", err);
    if (s->shared < 0 || s->shared > max) return size_error(s, "shared", s->shared, "0 or a positive number", err);
  }
  if (!(s->params >= 0 && s->params < INFINITY))
    return iso_fail(err, ISO_EINVAL, "model %s: params is %g, expected a finite number", s->name, s->params);
  if (s->params > 0 && s->dense_layers < s->layers)
    return iso_fail(err, ISO_EINVAL, "model %s: a stated number of parameters is for dense models only", s->name);
  return ISO_OK;
}

// Parameters of one attention layer that keeps a cache.
static double attention_params(const iso_serve_shape *s) {
  double d = (double)s->width, h = (double)s->heads;
  if (s->kv_rank > 0) {
    double q = (double)s->q_rank, c = (double)s->kv_rank, nope = (double)s->nope, rope = (double)s->rope, v = (double)s->v_dim;
    return d * q + q * h * (nope + rope) + d * (c + rope) + c * h * (nope + v) + h * v * d;
  }
  double hd = (double)s->head_dim;
  return d * (h * (s->gated ? 2 : 1) + 2 * (double)s->kv_heads) * hd + h * hd * d;
}

// Kernels per layer of each kind, counted off the usual fused implementations: norm, projections, rotation with cache write, attention and
// its reduction; routing, permutation, two grouped products and the reduction of experts. Only their proportions matter, the time of one is fitted.
static double launches(const iso_serve_shape *s) {
  double full = (double)(s->layers - s->linear_layers), moe = (double)(s->layers - s->dense_layers);
  double attention = s->kv_rank > 0 ? 10 : s->gated ? 7 : 6;
  if (s->index_dim > 0) attention += 5;
  return full * attention + 8 * (double)s->linear_layers + 3 * (double)s->dense_layers + moe * (8 + (s->shared > 0 ? 3 : 0));
}

iso_serve_counts iso_serve_counts_of(const iso_serve_shape *s) {
  iso_serve_counts c = {0};
  double d = (double)s->width, full = (double)(s->layers - s->linear_layers);
  c.moe_layers = (double)(s->layers - s->dense_layers);
  c.cached_layers = full;
  c.attention = full * attention_params(s) + (double)s->linear_layers * (double)s->linear_params;
  c.expert = 3 * d * (double)s->expert_mlp;
  c.dense = (double)s->mlp_mats * d * (double)s->mlp * (double)s->dense_layers + c.expert * (double)s->shared * c.moe_layers;
  c.head = d * (double)s->vocab;
  c.total = c.attention + c.dense + c.expert * (double)s->experts * c.moe_layers + c.head * (s->tied ? 1 : 2);
  c.active = c.attention + c.dense + c.expert * (double)s->used * c.moe_layers + c.head;
  if (s->params > 0) {
    c.total = c.active = s->params;
    c.dense = s->params - c.attention - c.head;
  }
  double h = (double)s->heads;
  if (s->kv_rank > 0) {
    c.kv_per_tok = full * (double)(s->kv_rank + s->rope);
    c.kv_heads = 1;
    c.score_decode = full * h * (double)(2 * s->kv_rank + s->rope);  // weights absorbed: scores and values in the latent space
    c.score_prefill = full * h * (double)(s->nope + s->rope + s->v_dim);
  } else {
    c.kv_per_tok = full * 2 * (double)(s->kv_heads * s->head_dim);
    c.kv_heads = (double)s->kv_heads;
    c.score_decode = c.score_prefill = full * h * 2 * (double)s->head_dim;
  }
  c.launches = launches(s);
  return c;
}

const iso_serve_shape *iso_serve_shape_at(int i) { return i >= 0 && i < (int)ISO_COUNT(SHAPES) ? &SHAPES[i] : NULL; }

// "deepseek-v3" goes on as "deepseek-v3.1", "kimi-k2" as "kimi-k2.5", but "llama3-8b" not as "llama3-8bit".
size_t iso_serve_name_begins(const char *name, const char *known) {
  const char *slash = strrchr(name, '/');
  size_t n = strlen(known), k = 0;
  if (slash) name = slash + 1;
  while (k < n && tolower((unsigned char)name[k]) == known[k]) k++;
  return k == n && !isalnum((unsigned char)name[n]) ? n : 0;
}

const iso_serve_shape *iso_serve_shape_find(const char *name) {
  const iso_serve_shape *best = NULL;
  size_t longest = 0;
  for (size_t i = 0; i < ISO_COUNT(SHAPES); i++) {
    size_t n = iso_serve_name_begins(name, SHAPES[i].name);
    if (n <= longest) continue;
    best = &SHAPES[i];
    longest = n;
  }
  return best;
}

iso_status iso_serve_shape_get(const char *name, const iso_serve_shape **out, iso_err *err) {
  *out = iso_serve_shape_find(name);
  if (*out) return ISO_OK;
  char known[400] = "";
  size_t at = 0;
  for (size_t i = 0; i < ISO_COUNT(SHAPES) && at < sizeof known; i++)
    at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", SHAPES[i].name);
  return iso_fail(err, ISO_EINVAL, "model \"%.60s\" is not known; known are %s", name, known);
}

json_t *iso_serve_shape_json(const iso_serve_shape *s) {
  iso_serve_counts c = iso_serve_counts_of(s);
  return json_pack("{s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:s, s:o, s:o}", "name", s->name, "params_total", iso_json_num(c.total),
                   "params_active", iso_json_num(c.active), "layers", (json_int_t)s->layers, "width", (json_int_t)s->width, "heads",
                   (json_int_t)s->heads, "kv_heads", (json_int_t)s->kv_heads, "experts", (json_int_t)s->experts, "experts_per_token",
                   (json_int_t)s->used, "kv_elements_per_token", iso_json_num(c.kv_per_tok), "params_convention",
                   s->params > 0 ? "as stated" : "counted: all matrices, embedding and head", "context_tok",
                   iso_json_num(s->context ? (double)s->context : NAN), "context_source", s->context ? json_string(s->context_source) : json_null());
}
