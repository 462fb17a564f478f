// Linear layers: y = x W' + bias + residual.
#include "graph/op.h"

static void linear_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double m = (double)d[0], n = (double)d[1], k = (double)d[2], start = (have[2] ? 1 : 0) + (have[3] ? 1 : 0);
  *o = (iso_opcost){2 * m * n * k, start * m * n, m * k + n * k + (have[3] ? m * n : 0) + (have[2] ? n : 0), m * n};
}

// forward: y = x W' + bias + residual; dx = dy W, dW += dy' x, dbias += sum of dy, dresidual = dy
static iso_status linear_grad(iso_gradpass *p, const iso_node *n, iso_err *err) {
  iso_ref dy = iso_grad_of(p, n->arg[4]);
  bool acc;
  if (dy.tensor < 0) return ISO_OK;
  iso_ref dw = iso_grad_into(p, n->arg[1], &acc, err);
  iso_ref db = n->arg[2].tensor >= 0 ? iso_grad_into(p, n->arg[2], &acc, err) : iso_none();
  iso_ref dx = iso_grad_into(p, n->arg[0], &acc, err);
  iso_ref x = dw.tensor >= 0 ? n->arg[0] : iso_none(), w = dx.tensor >= 0 ? n->arg[1] : iso_none();
  if (dw.tensor >= 0 || db.tensor >= 0 || dx.tensor >= 0)
    ISO_TRY(iso_grad_emit(
        p, &(iso_node){.op = &iso_op_linear_bwd, .arg = {dy, x, w, dw, db, dx}, .d = {n->d[0], n->d[1], n->d[2], iso_dim_of(dx.tensor >= 0 && acc)}},
        err));
  return n->arg[3].tensor >= 0 ? iso_grad_pass_through(p, n->arg[3], dy, err) : ISO_OK;
}

static void linear_bwd_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double m = (double)d[0], n = (double)d[1], k = (double)d[2];
  *o = (iso_opcost){.read = m * n};  // once for both products
  if (have[3]) {
    o->mat_flop += 2 * m * n * k;
    o->read += m * k + n * k;
    o->write += n * k;
  }
  if (have[4]) {
    o->vec_flop += m * n;
    o->read += n;
    o->write += n;
  }
  if (have[5]) {
    o->mat_flop += 2 * m * n * k;
    o->read += n * k + (d[3] ? m * k : 0);
    o->write += m * k;
  }
}

const iso_op iso_op_linear = {"linear", "rrRRw", ISO_K_linear, "04", linear_cost, linear_grad};
const iso_op iso_op_linear_bwd = {"linear_bwd", "rRRAAW", ISO_K_linear_bwd, "015", linear_bwd_cost, NULL};
