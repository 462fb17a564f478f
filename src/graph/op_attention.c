// Causal grouped-query attention: training form, its gradient, and the form with a KV cache.
#include "graph/op.h"

// d: B T H K Hd. Each query looks at itself and what came before: T (T + 1) / 2 pairs a head.
static double pairs(const int64_t *d) { return (double)d[0] * (double)d[2] * (double)d[1] * ((double)d[1] + 1) / 2; }

static void attention_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double rows = (double)d[0] * (double)d[1], q = rows * (double)(d[2] * d[4]), kv = rows * (double)(2 * d[3] * d[4]);
  (void)have;
  *o = (iso_opcost){4 * pairs(d) * (double)d[4], 4 * pairs(d) + q, q + kv, q + rows * (double)d[2]};
}

// forward: o = softmax(scale q k') v
static iso_status attention_grad(iso_gradpass *p, const iso_node *n, iso_err *err) {
  iso_ref dy = iso_grad_of(p, n->arg[1]);
  bool acc;
  if (dy.tensor < 0) return ISO_OK;
  iso_ref dqkv = iso_grad_into(p, n->arg[0], &acc, err);
  if (acc) return iso_fail(err, ISO_EUNSUP, "attention: its projection feeds another op, whose gradient cannot be added");
  return iso_grad_emit(p,
                       &(iso_node){.op = &iso_op_attention_bwd,
                                   .arg = {n->arg[0], n->arg[1], n->arg[2], dy, dqkv},
                                   .d = {n->d[0], n->d[1], n->d[2], n->d[3], n->d[4]},
                                   .a = {n->a[0]}},
                       err);
}

// Four products; the scores that the kernel recomputes are executed work, not model work.
static void attention_bwd_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double rows = (double)d[0] * (double)d[1], q = rows * (double)(d[2] * d[4]), kv = rows * (double)(2 * d[3] * d[4]);
  (void)have;
  *o = (iso_opcost){8 * pairs(d) * (double)d[4], 6 * pairs(d) + 3 * q, 3 * q + kv + rows * (double)d[2], q + kv};
}

// d: M S H K Hd; the mean number of cached positions is not known here: half of S is assumed, the upper bound is S.
static void cached_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double m = (double)d[0], seen = ((double)d[1] + 1) / 2, q = m * (double)(d[2] * d[4]), kv = m * (double)(2 * d[3] * d[4]);
  (void)have;
  *o = (iso_opcost){4 * q * seen, 5 * m * (double)d[2] * seen, q + kv + kv * seen, q + kv};
}

const iso_op iso_op_attention = {"attention", "rww", ISO_K_attention, "01", attention_cost, attention_grad};
const iso_op iso_op_attention_bwd = {"attention_bwd", "rrrrw", ISO_K_attention_bwd, "0134", attention_bwd_cost, NULL};
const iso_op iso_op_attention_cached = {"attention_cached", "rxxiiw", ISO_K_attention_cached, "", cached_cost, NULL};
