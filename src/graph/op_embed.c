// Token and position embeddings.
#include "graph/op.h"

static void embed_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double md = (double)d[0] * (double)d[1];
  *o = (iso_opcost){0, have[2] ? md : 0, have[2] ? 2 * md : md, md};
}

// forward: y[m] = W[ids[m]] + positions[m mod T]
static iso_status embed_grad(iso_gradpass *p, const iso_node *n, iso_err *err) {
  iso_ref dy = iso_grad_of(p, n->arg[3]);
  bool acc;
  iso_ref dw = iso_grad_into(p, n->arg[1], &acc, err);
  iso_ref dpos = n->arg[2].tensor >= 0 ? iso_grad_into(p, n->arg[2], &acc, err) : iso_none();
  if (dy.tensor < 0 || dw.tensor < 0) return ISO_OK;
  return iso_grad_emit(p, &(iso_node){.op = &iso_op_embed_bwd, .arg = {n->arg[0], dy, dw, dpos}, .d = {n->d[0], n->d[1], n->d[2], n->d[3]}}, err);
}

static void embed_bwd_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double md = (double)d[0] * (double)d[1];
  *o = (iso_opcost){0, have[3] ? 2 * md : md, 2 * md, md};
}

const iso_op iso_op_embed = {"embed", "irRw", ISO_K_embed, "", embed_cost, embed_grad};
const iso_op iso_op_embed_bwd = {"embed_bwd", "iraA", ISO_K_embed_bwd, "", embed_bwd_cost, NULL};
