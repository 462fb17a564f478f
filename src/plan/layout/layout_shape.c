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
#define X(n, l, w, h, kv, hd, f, v, ex, used, g, t, gpt, src) \
  {{.name = n,                                                \
    .layers = l,                                              \
    .width = w,                                               \
    .heads = h,                                               \
    .kv_heads = kv,                                           \
    .head_dim = hd,                                           \
    .mlp = f,                                                 \
    .vocab = v,                                               \
    .experts = ex,                                            \
    .experts_used = used,                                     \
    .gated = g,                                               \
    .tied = t,                                                \
    .bias = gpt,                                              \
    .learned_pos = gpt},                                      \
   src},
#define MOE(n, src, ...) {{.name = n, .gated = true, __VA_ARGS__}, src},
#include "plan/layout/layout_models.def"
#undef X
#undef MOE
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

// What only models with experts and only latent attention have.
static iso_status check_kinds(const iso_layout_shape *s, iso_err *err) {
  if (!s->experts && (s->shared || s->dense_layers || s->groups || s->mtp))
    return iso_fail(err, ISO_EINVAL, "shape %s: shared experts, first dense layers, groups of experts and mtp need experts", s->name);
  if ((s->dense_layers > 0) != (s->dense_mlp > 0) || (s->experts && s->dense_layers >= s->layers))
    return iso_fail(err, ISO_EINVAL, "shape %s: %lld of %lld layers have an MLP of width %lld instead of experts", s->name,
                    (long long)s->dense_layers, (long long)s->layers, (long long)s->dense_mlp);
  if ((s->groups > 0) != (s->groups_used > 0) || s->groups_used > s->groups || (s->groups && s->experts % s->groups) ||
      s->experts_used * s->groups > s->groups_used * s->experts)
    return iso_fail(err, ISO_EINVAL, "shape %s: %lld of %lld experts in at most %lld of %lld groups", s->name, (long long)s->experts_used,
                    (long long)s->experts, (long long)s->groups_used, (long long)s->groups);
  if (!s->kv_rank && (s->q_rank || s->rope || s->v_dim))
    return iso_fail(err, ISO_EINVAL, "shape %s: q_rank, rope and v_dim go with latent attention, and kv_rank is 0", s->name);
  if (s->kv_rank && (s->v_dim < 1 || s->rope < 1 || s->rope >= s->head_dim || s->kv_heads != s->heads || s->bias))
    return iso_fail(err, ISO_EINVAL,
                    "shape %s: latent attention with v_dim %lld, rope %lld of head_dim %lld, %lld of %lld kv_heads%s; expected positive channels, "
                    "rope below head_dim, a key a head and no biases",
                    s->name, (long long)s->v_dim, (long long)s->rope, (long long)s->head_dim, (long long)s->kv_heads, (long long)s->heads,
                    s->bias ? " and biases" : "");
  return ISO_OK;
}

iso_status iso_layout_shape_check(const iso_layout_shape *s, iso_err *err) {
  const struct {
    const char *name;
    int64_t v, max;
  } dim[] = {{"layers", s->layers, 1 << 16},
             {"width", s->width, 1 << 20},
             {"heads", s->heads, 1 << 16},
             {"kv_heads", s->kv_heads, 1 << 16},
             {"head_dim", s->head_dim, 1 << 16},
             {"mlp", s->mlp, 1 << 22},
             {"vocab", s->vocab, DIM_MAX},
             {"seq", s->seq, DIM_MAX},
             {"experts", s->experts, 1 << 14},
             {"experts_used", s->experts_used, 1 << 14},
             {"shared", s->shared, 1 << 14},
             {"dense_layers", s->dense_layers, 1 << 16},
             {"dense_mlp", s->dense_mlp, 1 << 22},
             {"groups", s->groups, 1 << 14},
             {"groups_used", s->groups_used, 1 << 14},
             {"q_rank", s->q_rank, 1 << 16},
             {"kv_rank", s->kv_rank, 1 << 16},
             {"rope", s->rope, 1 << 16},
             {"v_dim", s->v_dim, 1 << 16},
             {"mtp", s->mtp, 16}};
  for (size_t i = 0; i < ISO_COUNT(dim); i++) {
    bool may_lack = i >= 8;
    if (dim[i].v < (may_lack ? 0 : 1) || dim[i].v > dim[i].max)
      return iso_fail(err, ISO_EINVAL, "shape %s: %s is %lld, expected %d to %lld", s->name, dim[i].name, (long long)dim[i].v, may_lack ? 0 : 1,
                      (long long)dim[i].max);
  }
  if (s->heads % s->kv_heads)
    return iso_fail(err, ISO_EINVAL, "shape %s: %lld heads are no multiple of %lld kv_heads", s->name, (long long)s->heads, (long long)s->kv_heads);
  if ((s->experts > 0) != (s->experts_used > 0) || s->experts_used > s->experts)
    return iso_fail(err, ISO_EINVAL, "shape %s: a token uses %lld of %lld experts", s->name, (long long)s->experts_used, (long long)s->experts);
  ISO_TRY(check_kinds(s, err));
  double w = (double)s->width, mlp = 3 * w * fmax((double)s->dense_mlp, (double)s->mlp * fmax(1, (double)(s->experts + s->shared)));
  double block = 2 * w * (double)(s->heads + s->kv_heads) * (double)s->head_dim + mlp;
  if (block * (double)s->layers + 2 * w * (double)(s->vocab + s->seq) > 1e17)
    return iso_fail(err, ISO_EINVAL, "shape %s: more than 1e17 parameters", s->name);
  return ISO_OK;
}

iso_layout_channels iso_layout_channels_of(const iso_layout_shape *s) {
  int64_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
  if (!s->kv_rank) return (iso_layout_channels){.q = q, .k = kv, .v = kv, .out = q};
  int64_t v = s->heads * s->v_dim;
  return (iso_layout_channels){.q = q, .k = q, .v = v, .out = v, .latent = s->q_rank + s->kv_rank + s->rope};
}

void iso_layout_count(const iso_layout_shape *s, iso_layout_counts *out) {
  iso_layout_channels ch = iso_layout_channels_of(s);
  int64_t w = s->width, q = ch.q, kv = ch.k, mats = s->gated ? 3 : 2;
  int64_t mlp = mats * w * s->mlp, norm = s->bias ? 2 * w : w, moe = s->layers - s->dense_layers;
  int64_t mlp_bias = s->bias ? (mats - 1) * s->mlp + w : 0, attn_bias = s->bias ? q + 2 * kv + w : 0, attn = 2 * w * q + 2 * w * kv;
  int64_t router = w * s->experts;
  iso_layout_counts c = {0};
  if (s->kv_rank) {
    // Queries from their latent vector or from the block's input; of keys the unrotated part, and values.
    c.latent_matmul = s->q_rank * q + s->kv_rank * s->heads * (s->head_dim - s->rope + s->v_dim);
    attn = w * (ch.latent + (s->q_rank ? 0 : q) + ch.out) + c.latent_matmul;
    attn_bias = s->q_rank + s->kv_rank;  // norms of the latent vectors
  }
  int64_t attn_norm = attn + attn_bias + 2 * norm;
  c.layer_dense = attn_norm + router + s->shared * (mlp + mlp_bias);
  c.layer_matmul = attn + router + s->shared * mlp;
  if (s->experts) {
    c.layer_expert = s->experts * (mlp + mlp_bias);
    c.layer_matmul += s->experts_used * mlp;
  } else {
    c.layer_dense += mlp + mlp_bias;
    c.layer_matmul += mlp;
  }
  if (s->dense_layers) c.first_dense = attn_norm + mats * w * s->dense_mlp + (s->bias ? (mats - 1) * s->dense_mlp + w : 0);
  c.embed = w * (s->vocab + (s->learned_pos ? s->seq : 0));
  c.head = s->tied ? 0 : w * s->vocab;
  c.norm = norm;
  int64_t rest = c.embed + c.head + norm + s->dense_layers * c.first_dense;
  c.params = moe * (c.layer_dense + c.layer_expert) + rest;
  c.active_params = moe * (c.layer_dense + (s->experts ? s->experts_used * (mlp + mlp_bias) : 0)) + rest;
  // A block, and a matrix that joins its normed inputs.
  c.mtp_params = s->mtp * (c.layer_dense + c.layer_expert + 2 * w * w + 2 * norm);
  c.kv_per_tok = s->layers * (s->kv_rank ? s->kv_rank + s->rope : ch.k + ch.v);
  c.layer_flop_tok = 2 * c.layer_matmul;
  c.head_flop_tok = 2 * w * s->vocab;
  // Scores and mixing are 2 FLOPs a pair and channel each.
  c.layer_attn_flop_seq = 2 * (double)(q + ch.out) * ((double)s->seq * ((double)s->seq + 1) / 2);
  *out = c;
}

// Forward FLOPs per sequence of all blocks: matrices, what latent vectors become, and attention apart.
static void blocks(const iso_layout_shape *s, iso_layout_attn attn, double *mat, double *latent, double *att, double *head) {
  iso_layout_counts c;
  iso_layout_channels ch = iso_layout_channels_of(s);
  iso_layout_count(s, &c);
  double seq = (double)s->seq, layers = (double)s->layers, first = (double)s->dense_layers;
  // One MLP instead of router and experts.
  double less = 2 * (double)s->width * (double)(s->experts + (s->gated ? 3 : 2) * (s->mlp * (s->experts_used + s->shared) - s->dense_mlp));
  *mat = (layers * (double)c.layer_flop_tok - first * less) * seq;
  *latent = layers * 2 * (double)c.latent_matmul * seq;
  *head = (double)c.head_flop_tok * seq;
  *att = attn == ISO_LAYOUT_ATTN_CAUSAL ? layers * c.layer_attn_flop_seq
         : attn == ISO_LAYOUT_ATTN_FULL ? layers * 2 * (double)(ch.q + ch.out) * seq * seq
                                        : 0;
  // "6 N": embeddings, biases and norms are parameters like any other.
  if (attn == ISO_LAYOUT_ATTN_6N) *mat = 2 * (double)c.active_params * seq - *head;
}

double iso_layout_model_flop(const iso_layout_shape *s, double sequences, iso_layout_attn attn) {
  double mat, latent, att, head;
  blocks(s, attn, &mat, &latent, &att, &head);
  return 3 * sequences * (mat + att + head);
}

double iso_layout_hardware_flop(const iso_layout_shape *s, double sequences, iso_layout_recompute r, iso_layout_attn attn) {
  double mat, latent, att, head;
  blocks(s, attn, &mat, &latent, &att, &head);
  double again = r == ISO_LAYOUT_FULL ? mat + att : r == ISO_LAYOUT_SELECTIVE ? (s->kv_rank ? latent : att) : 0;
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
  const struct {
    const char *key;
    int64_t v;
  } more[] = {{"shared", s->shared},
              {"dense_layers", s->dense_layers},
              {"dense_mlp", s->dense_mlp},
              {"groups", s->groups},
              {"groups_used", s->groups_used},
              {"q_rank", s->q_rank},
              {"kv_rank", s->kv_rank},
              {"rope", s->rope},
              {"v_dim", s->v_dim},
              {"mtp", s->mtp},
              {"mtp_params", c.mtp_params}};
  for (size_t i = 0; i < ISO_COUNT(more); i++)
    if (more[i].v) json_object_set_new(o, more[i].key, json_integer((json_int_t)more[i].v));
  json_object_set_new(o, "kv_bytes_per_token", json_integer((json_int_t)(2 * c.kv_per_tok)));
  json_object_set_new(o, "train_flop_per_token", iso_json_num(iso_layout_model_flop(s, 1, ISO_LAYOUT_ATTN_CAUSAL) / (double)s->seq));
  json_object_set_new(o, "gated", json_boolean(s->gated));
  json_object_set_new(o, "tied", json_boolean(s->tied));
  return o;
}
