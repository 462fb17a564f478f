// Samples of a device's operator tables for one replica.
#include "plan/serve/ops.h"

#include <math.h>
#include <string.h>

typedef struct sampler {
  const iso_serve_setup *u;
  const iso_device *d;
  iso_num num, cache;  // classes of products and of attention
  bool failed;
} sampler;

static int64_t whole(double v) { return (int64_t)fmax(1, round(v)); }

static double take(sampler *s, iso_status st, const iso_time *t) {
  s->failed |= st != ISO_OK || !(t->s.mean > 0);
  return s->failed ? 0 : t->s.mean;
}

static double grouped(sampler *s, double groups, double m, double n, double k) {
  iso_time t;
  return take(s, iso_device_grouped_gemm_s(s->d, groups, whole(m), whole(n), whole(k), s->num, &t, NULL), &t);
}
static double product(sampler *s, double m, double n, double k) { return grouped(s, 1, m, n, k); }

// All layers for `tok` tokens of the replica.
static double blocks(sampler *s, double tok) {
  const iso_serve_shape *h = &s->u->shape;
  const iso_serve_layout *l = &s->u->layout;
  double tp = (double)l->tp, w = (double)h->width, q = (double)(h->heads * h->head_dim) / tp, m = fmax(1, tok / (double)l->dp);
  double kv = 2 * fmax(1, (double)h->kv_heads / tp) * (double)h->head_dim, moe = s->u->n.moe_layers, dense = (double)h->dense_layers;
  double t = (double)h->layers * (product(s, m, q * (h->gated ? 2 : 1) + kv, w) + product(s, m, w, q));
  if (dense > 0) t += dense * (product(s, m, (double)((h->mlp_mats - 1) * h->mlp) / tp, w) + product(s, m, w, (double)h->mlp / tp));
  if (moe > 0) {
    double e = (double)h->experts, hit = e * iso_serve_reached(h, tok), own = hit / (double)l->moe_ep, each = tok * (double)h->used / hit;
    double x = (double)h->expert_mlp / (double)l->moe_tp, shared = (double)(h->shared * h->expert_mlp) / tp;
    t += moe * (product(s, m, e, w) + grouped(s, own, each, 2 * x, w) + grouped(s, own, each, w, x));
    if (h->shared > 0) t += moe * (product(s, m, 2 * shared, w) + product(s, m, w, shared));
  }
  return t;
}

static double prompt(sampler *s, double tok) {
  const iso_serve_shape *h = &s->u->shape;
  double tp = (double)s->u->layout.tp;
  iso_time t;
  int64_t kv = whole((double)h->kv_heads / tp), heads = whole((double)h->heads / tp);
  return s->u->n.cached_layers * take(s, iso_device_prefill_s(s->d, 1, whole(tok), heads, kv, h->head_dim, s->cache, &t, NULL), &t);
}

static double decode(sampler *s, double seqs, double ctx) {
  const iso_serve_shape *h = &s->u->shape;
  double tp = (double)s->u->layout.tp;
  iso_time t;
  int64_t kv = whole((double)h->kv_heads / tp), heads = whole((double)h->heads / tp);
  return s->u->n.cached_layers * take(s, iso_device_decode_s(s->d, whole(seqs), whole(ctx) - 1, heads, kv, h->head_dim, s->cache, &t, NULL), &t);
}

// Two all-reduces a layer.
static double exchange(sampler *s, double tok) {
  iso_time t;
  double bytes = ceil(tok) * (double)s->u->shape.width * 2;
  return 2 * (double)s->u->shape.layers * take(s, iso_device_collective_s(s->d, ISO_COLL_all_reduce, s->u->layout.tp, bytes, &t, NULL), &t);
}

static double head(sampler *s, double seqs) {
  return product(s, seqs, (double)s->u->shape.vocab / (double)s->u->layout.tp, (double)s->u->shape.width);
}

static double at(int i) { return exp2((double)i / ISO_OPS_STEP); }

static bool sample(sampler *s, double (*fn)(sampler *s, double tok), double *out) {
  s->failed = false;
  for (int i = 0; i < ISO_OPS_TOK && !s->failed; i++) out[i] = log2(fn(s, at(i)));
  return !s->failed;
}

// The class whose elements are as wide as `bytes`, among those the device has; false when there is none.
static bool class_of(const iso_device_spec *d, int bits, double bytes, iso_num *out) {
  *out = ISO_NUM_COUNT;
  if (bits <= 4 && d->peak_flop_s[ISO_NUM_fp4] > 0)
    *out = ISO_NUM_fp4;
  else if (bits <= 8 && d->peak_flop_s[ISO_NUM_fp8] > 0)
    *out = ISO_NUM_fp8;
  else if (!(iso_device_spec_peak16(d, out) > 0))
    return false;
  return fabs(bytes / iso_num_bytes(*out) - 1) < 0.2;
}

void iso_serve_ops_of(const iso_serve_setup *u, const iso_device *d, iso_serve_ops *o) {
  const iso_serve_shape *h = &u->shape;
  const iso_serve_format *f = &u->format;
  sampler s = {.u = u, .d = d};
  memset(o, 0, sizeof *o);
  bool plain = h->kv_rank == 0 && h->linear_layers == 0 && h->top_k == 0 && h->index_dim == 0 && !(h->params > 0);
  if (!plain || !d->table[ISO_TABLE_gemm] || !class_of(&d->spec, f->bits, f->weight_b, &s.num)) return;
  if (u->n.moe_layers > 0 && fabs(f->expert_b / iso_num_bytes(s.num) - 1) > 0.2) return;
  o->products = sample(&s, blocks, o->block_lb) && sample(&s, head, o->head_lb);
  if (!o->products) return;
  o->kernels = 1 + 2 * (double)h->layers + 2 * (double)h->dense_layers + u->n.moe_layers * (h->shared > 0 ? 5 : 3);
  bool cache = class_of(&d->spec, f->kv_b < 1.5 ? 8 : 16, f->kv_b, &s.cache);
  o->prefill = cache && d->table[ISO_TABLE_prefill] && sample(&s, prompt, o->prefill_lb);
  o->decode = cache && d->table[ISO_TABLE_decode] != NULL;
  s.failed = false;
  for (int i = 0; o->decode && i < ISO_OPS_SEQS; i++)
    for (int k = 0; k < ISO_OPS_CTX && !s.failed; k++) o->decode_lb[i][k] = log2(decode(&s, at(i), at(k)));
  o->decode &= !s.failed;
  if (o->decode) o->kernels += u->n.cached_layers;
  o->link = u->layout.dp == 1 && u->layout.tp > 1 && u->devices <= u->device.node && iso_device_has_collective(d, ISO_COLL_all_reduce) &&
            sample(&s, exchange, o->link_lb);
}

// Where v lies among n samples: index of the one below, the part beyond it, and what is beyond the last as a factor.
static int place(double v, int n, double *part, double *beyond) {
  double x = fmax(0, log2(v) * ISO_OPS_STEP);
  *beyond = fmax(1, v / at(n - 1));
  if (!(x < n - 1)) {
    *part = 1;
    return n - 2;
  }
  int i = (int)x;
  *part = x - i;
  return i;
}

double iso_serve_ops_s(const double *lb, double tok) {
  double part, beyond;
  int i = place(tok, ISO_OPS_TOK, &part, &beyond);
  return beyond * exp2(lb[i] + part * (lb[i + 1] - lb[i]));
}

double iso_serve_ops_decode_s(const iso_serve_ops *o, double seqs, double ctx) {
  double p, q, more, longer;
  int i = place(seqs, ISO_OPS_SEQS, &p, &more), k = place(ctx, ISO_OPS_CTX, &q, &longer);
  double a = o->decode_lb[i][k] + q * (o->decode_lb[i][k + 1] - o->decode_lb[i][k]);
  double b = o->decode_lb[i + 1][k] + q * (o->decode_lb[i + 1][k + 1] - o->decode_lb[i + 1][k]);
  return more * longer * exp2(a + p * (b - a));
}

json_t *iso_serve_ops_json(const iso_serve_ops *o) {
  const char *const word[] = {"model", "table"};
  bool on = o && o->products;
  return json_pack("{s:s, s:s, s:s, s:s}", "products", word[on], "decode_attention", word[on && o->decode], "prefill_attention",
                   word[on && o->prefill], "links", word[on && o->link]);
}
