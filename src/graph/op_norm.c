// RMSNorm and LayerNorm.
#include "graph/op.h"

static void rmsnorm_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double m = (double)d[0], n = (double)d[1];
  (void)have;
  *o = (iso_opcost){0, 4 * m * n + 4 * m, m * n + n, m * n + m};
}

// forward: y = x rstd g
static iso_status rmsnorm_grad(iso_gradpass *p, const iso_node *n, iso_err *err) {
  iso_ref dy = iso_grad_of(p, n->arg[2]);
  bool acc, unused;
  if (dy.tensor < 0) return ISO_OK;
  iso_ref dg = iso_grad_into(p, n->arg[1], &unused, err), dx = iso_grad_into(p, n->arg[0], &acc, err);
  return iso_grad_emit(
      p, &(iso_node){.op = &iso_op_rmsnorm_bwd, .arg = {n->arg[0], n->arg[1], n->arg[3], dy, dx, dg}, .d = {n->d[0], n->d[1], iso_dim_of(acc)}}, err);
}

static void rmsnorm_bwd_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double m = (double)d[0], n = (double)d[1];
  (void)have;
  *o = (iso_opcost){0, 10 * m * n + (d[2] ? m * n : 0) + 4 * m, (d[2] ? 3 : 2) * m * n + m + 2 * n, m * n + n};
}

static void layernorm_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double m = (double)d[0], n = (double)d[1];
  (void)have;
  *o = (iso_opcost){0, 7 * m * n + 5 * m, m * n + 2 * n, m * n + 2 * m};
}

// forward: y = (x - mean) rstd g + b
static iso_status layernorm_grad(iso_gradpass *p, const iso_node *n, iso_err *err) {
  iso_ref dy = iso_grad_of(p, n->arg[3]);
  bool acc, unused;
  if (dy.tensor < 0) return ISO_OK;
  iso_ref dg = iso_grad_into(p, n->arg[1], &unused, err), db = iso_grad_into(p, n->arg[2], &unused, err), dx = iso_grad_into(p, n->arg[0], &acc, err);
  return iso_grad_emit(
      p,
      &(iso_node){
          .op = &iso_op_layernorm_bwd, .arg = {n->arg[0], n->arg[1], n->arg[4], n->arg[5], dy, dx, dg, db}, .d = {n->d[0], n->d[1], iso_dim_of(acc)}},
      err);
}

static void layernorm_bwd_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double m = (double)d[0], n = (double)d[1];
  (void)have;
  *o = (iso_opcost){0, 16 * m * n + (d[2] ? m * n : 0) + 2 * m, (d[2] ? 3 : 2) * m * n + 2 * m + 3 * n, m * n + 2 * n};
}

const iso_op iso_op_rmsnorm = {"rmsnorm", "rrww", ISO_K_rmsnorm, "2", rmsnorm_cost, rmsnorm_grad};
const iso_op iso_op_rmsnorm_bwd = {"rmsnorm_bwd", "rrrrwa", ISO_K_rmsnorm_bwd, "3", rmsnorm_bwd_cost, NULL};
const iso_op iso_op_layernorm = {"layernorm", "rrrwww", ISO_K_layernorm, "", layernorm_cost, layernorm_grad};
const iso_op iso_op_layernorm_bwd = {"layernorm_bwd", "rrrrrwaa", ISO_K_layernorm_bwd, "", layernorm_bwd_cost, NULL};
