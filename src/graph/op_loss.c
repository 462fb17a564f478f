// Softmax cross-entropy: fused with the head, and on its own.
#include "graph/op.h"

static void head_loss_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double m = (double)d[0], n = (double)d[1], v = (double)d[2], products = 1 + (have[4] ? 1 : 0) + (have[5] ? 1 : 0);
  bool grads = have[4] || have[5];
  *o = (iso_opcost){2 * products * m * n * v, (grads ? 5 : 4) * m * v, products * (m * n + v * n), (have[4] ? m * n : 0) + (have[5] ? v * n : 0)};
}

// forward: loss = sum of -log softmax(x W')[target]. The gradient is known as soon as the loss is, so the forward node
// is turned into one that also writes dx and adds to dW: logits are never stored. Decomposition: linear, softmax_xent.
static iso_status head_loss_grad(iso_gradpass *p, const iso_node *n, iso_err *err) {
  bool acc;
  iso_ref dx = iso_grad_into(p, n->arg[0], &acc, err), dw = iso_grad_into(p, n->arg[1], &acc, err);
  iso_node *fused = iso_grad_fuse(p, n);
  if (!fused) return iso_fail(err, ISO_EBUG, "head_loss: not part of the forward graph");
  fused->arg[4] = dx;
  fused->arg[5] = dw;
  return ISO_OK;
}

static void softmax_xent_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double mv = (double)d[0] * (double)d[1];
  *o = (iso_opcost){0, (have[3] ? 5 : 4) * mv, mv, have[3] ? mv : 0};
}

static iso_status softmax_xent_grad(iso_gradpass *p, const iso_node *n, iso_err *err) {
  bool acc;
  iso_ref dx = iso_grad_into(p, n->arg[0], &acc, err);
  iso_node *fused = iso_grad_fuse(p, n);
  if (!fused || acc) return iso_fail(err, ISO_EBUG, "softmax_xent: not part of the forward graph, or its logits are used twice");
  fused->arg[3] = dx;
  return ISO_OK;
}

const iso_op iso_op_head_loss = {"head_loss", "rriaWAWI", ISO_K_head_loss, "", head_loss_cost, head_loss_grad};
const iso_op iso_op_softmax_xent = {"softmax_xent", "riaWWI", ISO_K_softmax_xent, "", softmax_xent_cost, softmax_xent_grad};
