// Times of a layout's products, attention and collectives from the measured tables of a device.
#include <math.h>

#include "plan/layout/layout_impl.h"

void iso_lay_tables(iso_lay_ctx *x) {
  const iso_device *d = x->job->tables;
  if (!d || !(iso_device_spec_peak16(&d->spec, &x->num) > 0)) return;
  x->gemm = d->table[ISO_TABLE_gemm] != NULL;
  x->prefill = d->table[ISO_TABLE_prefill] != NULL && x->job->flash;
  for (int op = 0; op < ISO_COLL_COUNT; op++) x->coll[op] = iso_device_has_collective(d, (iso_coll)op);
}

// Adds `times` products (m, k) x (k, n) of a forward pass and the two that its backward pass makes of each.
static bool multiply(const iso_lay_ctx *x, double m, double n, double k, double times, bool wide, iso_lay_mats *o) {
  const iso_device *d = x->job->tables;
  iso_num num = x->job->fp8 && !wide ? ISO_NUM_fp8 : x->num;
  int64_t a = (int64_t)fmax(1, ceil(m)), b = (int64_t)fmax(1, ceil(n)), c = (int64_t)fmax(1, ceil(k));
  iso_time f, i, w;
  if (iso_device_grouped_gemm_s(d, times, a, b, c, num, &f, NULL) != ISO_OK ||
      iso_device_grouped_gemm_s(d, times, a, c, b, num, &i, NULL) != ISO_OK || iso_device_grouped_gemm_s(d, times, c, b, a, num, &w, NULL) != ISO_OK)
    return false;
  o->f += f.s.mean;
  o->b += i.s.mean;
  o->w += w.s.mean;
  return true;
}

static bool product(const iso_lay_ctx *x, double m, double n, double k, double times, iso_lay_mats *o) {
  return multiply(x, m, n, k, times, false, o);
}

// Queries, keys, values and the output of attention.
static bool attention_products(const iso_lay_ctx *x, double tok, double t, iso_lay_mats *o) {
  const iso_layout_shape *s = &x->job->shape;
  iso_layout_channels c = iso_layout_channels_of(s);
  double w = (double)s->width, q = (double)c.q / t, out = (double)c.out / t;
  if (!s->kv_rank) return product(x, tok, q + (double)(c.k + c.v) / t, w, 1, o) && product(x, tok, w, out, 1, o);
  double up = (double)(s->heads * (s->head_dim - s->rope)) / t + (double)c.v / t;
  if (!product(x, tok, (double)c.latent / t, w, 1, o) || !product(x, tok, q, s->q_rank ? (double)s->q_rank : w, 1, o)) return false;
  return product(x, tok, up, (double)s->kv_rank, 1, o) && product(x, tok, w, out, 1, o);
}

bool iso_lay_table_block(const iso_lay_ctx *x, const iso_layout *l, double tok, iso_lay_mats *o) {
  const iso_layout_shape *s = &x->job->shape;
  double t = (double)l->tensor, w = (double)s->width;
  double up = (s->gated ? 2 : 1) * (double)s->mlp / t, down = (double)s->mlp / t;
  *o = (iso_lay_mats){0};
  if (!x->gemm || !attention_products(x, tok, t, o)) return false;
  if (!s->experts) return product(x, tok, up, w, 1, o) && product(x, tok, w, down, 1, o);
  // Tokens are spread evenly over the experts, as the model has it.
  double own = (double)s->experts / (double)l->expert, each = tok * (double)s->experts_used / own;
  double all = (double)s->shared;
  if (s->shared && (!product(x, tok, all * up, w, 1, o) || !product(x, tok, w, all * down, 1, o))) return false;
  return multiply(x, tok, (double)s->experts, w, 1, true, o) && product(x, each, up, w, own, o) && product(x, each, w, down, own, o);
}

bool iso_lay_table_head(const iso_lay_ctx *x, double tok, double t, double *out) {
  iso_lay_mats o = {0};
  if (!x->gemm || !multiply(x, tok, (double)x->job->shape.vocab / t, (double)x->job->shape.width, 1, true, &o)) return false;
  *out = o.f + o.b + o.w;
  return true;
}

bool iso_lay_table_attention(const iso_lay_ctx *x, const iso_layout *l, double *out) {
  const iso_layout_shape *s = &x->job->shape;
  int64_t heads = s->heads / l->tensor, kv = s->kv_heads / l->tensor;
  iso_time v;
  if (!x->prefill || heads < 1 || s->kv_rank) return false;
  if (kv < 1) kv = 1;
  if (iso_device_prefill_s(x->job->tables, l->micro_batch, s->seq, heads, kv, s->head_dim, x->num, &v, NULL) != ISO_OK) return false;
  *out = v.s.mean / (double)l->context;  // each of the group has its share of the pairs
  return true;
}

bool iso_lay_table_ring(const iso_lay_ctx *x, double n, double bytes, double sweeps, double calls, double *out) {
  iso_coll op = sweeps > 1 ? ISO_COLL_all_reduce : ISO_COLL_all_gather;
  iso_time v;
  if (!x->coll[op] || iso_device_collective_s(x->job->tables, op, (int64_t)n, ceil(bytes / calls), &v, NULL) != ISO_OK) return false;
  if (v.basis != ISO_BASIS_measured) return false;
  *out = calls * v.s.mean;
  return true;
}
