// Exact parameter and FLOP counts of a transformer shape.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plan/layout/layout.h"

enum { DIM_MAX = 1 << 24 };

iso_layout_shape iso_layout_shape_gpt(const char *name, int64_t layers, int64_t width, int64_t heads, int64_t vocab, int64_t seq) {
  iso_layout_shape s = {.layers = layers,
                        .width = width,
                        .heads = heads,
                        .kv_heads = heads,
                        .head_dim = heads > 0 ? width / heads : 0,
                        .mlp = 4 * width,
                        .vocab = vocab,
                        .seq = seq,
                        .tied = true,
                        .bias = true,
                        .learned_pos = true};
  snprintf(s.name, sizeof s.name, "%s", name ? name : "");
  return s;
}

static const struct {
  iso_layout_shape s;
  const char *source;
} NAMED[] = {
#define X(name, layers, width, heads, kv, dim, mlp, vocab, experts, used, gated, tied, gpt, source) \
  {{name, layers, width, heads, kv, dim, mlp, vocab, 0, experts, used, gated, tied, gpt, gpt}, source},
#include "plan/layout/layout_models.def"
#undef X
};

const char *iso_layout_model_name(int i, const char **source) {
  if (i < 0 || i >= (int)ISO_COUNT(NAMED)) return NULL;
  if (source) *source = NAMED[i].source;
  return NAMED[i].s.name;
}

iso_status iso_layout_shape_named(const char *name, int64_t seq, iso_layout_shape *out, iso_err *err) {
  for (size_t i = 0; i < ISO_COUNT(NAMED); i++) {
    if (strcmp(name, NAMED[i].s.name) != 0) continue;
    *out = NAMED[i].s;
    out->seq = seq;
    return iso_layout_shape_check(out, err);
  }
  iso_fail(err, ISO_EINVAL, "no model of name '%s' is known", name);
  return iso_hint(err, ISO_EINVAL, "names stand in src/plan/layout/layout_models.def: gpt3-175b, llama3-70b, mixtral-8x7b, ...; or give the shape");
}

iso_status iso_layout_shape_check(const iso_layout_shape *s, iso_err *err) {
  const struct {
    const char *name;
    int64_t v, max;
  } dim[] = {{"layers", s->layers, 1 << 16},     {"width", s->width, 1 << 20},
             {"heads", s->heads, 1 << 16},       {"kv_heads", s->kv_heads, 1 << 16},
             {"head_dim", s->head_dim, 1 << 16}, {"mlp", s->mlp, 1 << 22},
             {"vocab", s->vocab, DIM_MAX},       {"seq", s->seq, DIM_MAX},
             {"experts", s->experts, 1 << 14},   {"experts_used", s->experts_used, 1 << 14}};
  for (size_t i = 0; i < ISO_COUNT(dim); i++) {
    bool expert = i >= ISO_COUNT(dim) - 2;
    if (dim[i].v < (expert ? 0 : 1) || dim[i].v > dim[i].max)
      return iso_fail(err, ISO_EINVAL, "shape %s: %s is %lld, expected %d to %lld", s->name, dim[i].name, (long long)dim[i].v, expert ? 0 : 1,
                      (long long)dim[i].max);
  }
  if (s->heads % s->kv_heads)
    return iso_fail(err, ISO_EINVAL, "shape %s: %lld heads are no multiple of %lld kv_heads", s->name, (long long)s->heads, (long long)s->kv_heads);
  if ((s->experts > 0) != (s->experts_used > 0) || s->experts_used > s->experts)
    return iso_fail(err, ISO_EINVAL, "shape %s: a token uses %lld of %lld experts", s->name, (long long)s->experts_used, (long long)s->experts);
  double w = (double)s->width,
         block = 2 * w * (double)(s->heads + s->kv_heads) * (double)s->head_dim + 3 * w * (double)s->mlp * fmax(1, (double)s->experts);
  if (block * (double)s->layers + 2 * w * (double)(s->vocab + s->seq) > 1e17)
    return iso_fail(err, ISO_EINVAL, "shape %s: more than 1e17 parameters", s->name);
  return ISO_OK;
}

void iso_layout_count(const iso_layout_shape *s, iso_layout_counts *out) {
  int64_t w = s->width, q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim, mats = s->gated ? 3 : 2;
  int64_t attn = 2 * w * q + 2 * w * kv, mlp = mats * w * s->mlp, norm = s->bias ? 2 * w : w;
  int64_t mlp_bias = s->bias ? (mats - 1) * s->mlp + w : 0, attn_bias = s->bias ? q + 2 * kv + w : 0;
  int64_t router = w * s->experts;
  iso_layout_counts c = {0};
  c.layer_dense = attn + attn_bias + 2 * norm + router;
  c.layer_matmul = attn + router;
  if (s->experts) {
    c.layer_expert = s->experts * (mlp + mlp_bias);
    c.layer_matmul += s->experts_used * mlp;
  } else {
    c.layer_dense += mlp + mlp_bias;
    c.layer_matmul += mlp;
  }
  c.embed = w * (s->vocab + (s->learned_pos ? s->seq : 0));
  c.head = s->tied ? 0 : w * s->vocab;
  int64_t rest = c.embed + c.head + norm;
  c.params = s->layers * (c.layer_dense + c.layer_expert) + rest;
  c.active_params = s->layers * (c.layer_dense + (s->experts ? s->experts_used * (mlp + mlp_bias) : 0)) + rest;
  c.layer_flop_tok = 2 * c.layer_matmul;
  c.head_flop_tok = 2 * w * s->vocab;
  // Scores and mixing are 2 FLOPs a pair and channel each.
  c.layer_attn_flop_seq = 4 * (double)q * ((double)s->seq * ((double)s->seq + 1) / 2);
  *out = c;
}

// Forward FLOPs per sequence of all blocks: matrices and attention apart.
static void blocks(const iso_layout_shape *s, iso_layout_attn attn, double *mat, double *att, double *head) {
  iso_layout_counts c;
  iso_layout_count(s, &c);
  double seq = (double)s->seq, layers = (double)s->layers;
  *mat = layers * (double)c.layer_flop_tok * seq;
  *head = (double)c.head_flop_tok * seq;
  *att = attn == ISO_LAYOUT_ATTN_CAUSAL ? layers * c.layer_attn_flop_seq
         : attn == ISO_LAYOUT_ATTN_FULL ? layers * 4 * (double)(s->heads * s->head_dim) * seq * seq
                                        : 0;
  // "6 N": embeddings, biases and norms are parameters like any other.
  if (attn == ISO_LAYOUT_ATTN_6N) *mat = 2 * (double)c.active_params * seq - *head;
}

double iso_layout_model_flop(const iso_layout_shape *s, double sequences, iso_layout_attn attn) {
  double mat, att, head;
  blocks(s, attn, &mat, &att, &head);
  return 3 * sequences * (mat + att + head);
}

double iso_layout_hardware_flop(const iso_layout_shape *s, double sequences, iso_layout_recompute r, iso_layout_attn attn) {
  double mat, att, head;
  blocks(s, attn, &mat, &att, &head);
  double again = r == ISO_LAYOUT_FULL ? mat + att : r == ISO_LAYOUT_SELECTIVE ? att : 0;
  return sequences * (3 * (mat + att + head) + again);
}

json_t *iso_layout_shape_json(const iso_layout_shape *s) {
  iso_layout_counts c;
  iso_layout_count(s, &c);
  json_t *o = json_object();
  if (s->name[0]) json_object_set_new(o, "name", json_string(s->name));
  const struct {
    const char *key;
    int64_t v;
  } num[] = {{"layers", s->layers},     {"width", s->width},
             {"heads", s->heads},       {"kv_heads", s->kv_heads},
             {"head_dim", s->head_dim}, {"mlp", s->mlp},
             {"vocab", s->vocab},       {"seq", s->seq},
             {"experts", s->experts},   {"experts_used", s->experts_used},
             {"params", c.params},      {"active_params", c.active_params}};
  for (size_t i = 0; i < ISO_COUNT(num); i++) json_object_set_new(o, num[i].key, json_integer((json_int_t)num[i].v));
  json_object_set_new(o, "gated", json_boolean(s->gated));
  json_object_set_new(o, "tied", json_boolean(s->tied));
  return o;
}
