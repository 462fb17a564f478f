// Rotary position embedding, in place on the packed projection.
#include "graph/op.h"

static void rope_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double rot = (double)d[0] * (double)d[3] * (double)d[4], all = (double)d[0] * (double)d[1];
  (void)have;
  *o = (iso_opcost){0, 3 * rot, all, all};
}

// forward: x rotated by +angle in place; its gradient is rotated back in place, so the two share one buffer.
static iso_status rope_grad(iso_gradpass *p, const iso_node *n, iso_err *err) {
  iso_ref dy = iso_grad_of(p, n->arg[2]);
  if (dy.tensor < 0) return ISO_OK;
  if (n->arg[0].tensor != n->arg[2].tensor) return iso_fail(err, ISO_EUNSUP, "rope: a gradient is defined for rotation in place only");
  return iso_grad_emit(p,
                       &(iso_node){.op = &iso_op_rope,
                                   .arg = {dy, n->arg[1], dy},
                                   .d = {n->d[0], n->d[1], n->d[2], n->d[3], n->d[4], iso_dim_of(-n->d[5].coef)},
                                   .a = {n->a[0]}},
                       err);
}

const iso_op iso_op_rope = {"rope", "rIx", ISO_K_rope, "02", rope_cost, rope_grad};
