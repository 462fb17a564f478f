// Activations of the feed-forward layer, and addition.
#include "graph/op.h"

static iso_status unary_grad(iso_gradpass *p, const iso_node *n, const iso_op *bwd, iso_err *err) {
  iso_ref dy = iso_grad_of(p, n->arg[1]);
  bool acc;
  if (dy.tensor < 0) return ISO_OK;
  iso_ref dx = iso_grad_into(p, n->arg[0], &acc, err);
  if (acc) return iso_fail(err, ISO_EUNSUP, "%s: its input feeds another op, whose gradient cannot be added", n->op->name);
  return iso_grad_emit(p, &(iso_node){.op = bwd, .arg = {n->arg[0], dy, dx}, .d = {n->d[0], n->d[1]}}, err);
}

// forward: h = gate sigmoid(gate) up
static iso_status swiglu_grad(iso_gradpass *p, const iso_node *n, iso_err *err) { return unary_grad(p, n, &iso_op_swiglu_bwd, err); }
// forward: y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
static iso_status gelu_grad(iso_gradpass *p, const iso_node *n, iso_err *err) { return unary_grad(p, n, &iso_op_gelu_bwd, err); }
// forward: y = max(x, 0)^2
static iso_status relu2_grad(iso_gradpass *p, const iso_node *n, iso_err *err) { return unary_grad(p, n, &iso_op_relu2_bwd, err); }
// forward: y = a + b
static iso_status add_grad(iso_gradpass *p, const iso_node *n, iso_err *err) {
  iso_ref dy = iso_grad_of(p, n->arg[2]);
  if (dy.tensor < 0) return ISO_OK;
  ISO_TRY(iso_grad_pass_through(p, n->arg[0], dy, err));
  return iso_grad_pass_through(p, n->arg[1], dy, err);
}

static void elementwise(const int64_t *d, double flop, double read, double write, iso_opcost *o) {
  double n = (double)d[0] * (double)d[1];
  *o = (iso_opcost){0, flop * n, read * n, write * n};
}
static void swiglu_cost(const int64_t *d, const bool *h, iso_opcost *o) {
  (void)h;
  elementwise(d, 6, 2, 1, o);
}
static void swiglu_bwd_cost(const int64_t *d, const bool *h, iso_opcost *o) {
  (void)h;
  elementwise(d, 11, 3, 2, o);
}
static void gelu_cost(const int64_t *d, const bool *h, iso_opcost *o) {
  (void)h;
  elementwise(d, 9, 1, 1, o);
}
static void gelu_bwd_cost(const int64_t *d, const bool *h, iso_opcost *o) {
  (void)h;
  elementwise(d, 20, 2, 1, o);
}
static void relu2_cost(const int64_t *d, const bool *h, iso_opcost *o) {
  (void)h;
  elementwise(d, 2, 1, 1, o);
}
static void relu2_bwd_cost(const int64_t *d, const bool *h, iso_opcost *o) {
  (void)h;
  elementwise(d, 3, 2, 1, o);
}
static void add_cost(const int64_t *d, const bool *h, iso_opcost *o) {
  (void)h;
  *o = (iso_opcost){0, (double)d[0], 2 * (double)d[0], (double)d[0]};
}

const iso_op iso_op_swiglu = {"swiglu", "rw", ISO_K_swiglu, "01", swiglu_cost, swiglu_grad};
const iso_op iso_op_swiglu_bwd = {"swiglu_bwd", "rrw", ISO_K_swiglu_bwd, "012", swiglu_bwd_cost, NULL};
const iso_op iso_op_gelu = {"gelu", "rw", ISO_K_gelu, "01", gelu_cost, gelu_grad};
const iso_op iso_op_gelu_bwd = {"gelu_bwd", "rrw", ISO_K_gelu_bwd, "012", gelu_bwd_cost, NULL};
const iso_op iso_op_relu2 = {"relu2", "rw", ISO_K_relu2, "01", relu2_cost, relu2_grad};
const iso_op iso_op_relu2_bwd = {"relu2_bwd", "rrw", ISO_K_relu2_bwd, "012", relu2_bwd_cost, NULL};
const iso_op iso_op_add = {"add", "rrw", ISO_K_add, "", add_cost, add_grad};
