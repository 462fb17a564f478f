// The cost pass: every block once, times its count.
#include <string.h>

#include "graph/op.h"

void iso_node_bytes(const iso_graph *g, const iso_node *n, const iso_bind *bind, size_t elem_bytes, double *read, double *write) {
  int64_t d[ISO_K_DIMS];
  bool have[ISO_K_OPERANDS];
  iso_opcost o = {0};
  for (int j = 0; j < ISO_K_DIMS; j++) d[j] = iso_dim_eval(n->d[j], bind);
  for (int j = 0; j < ISO_K_OPERANDS; j++) have[j] = n->arg[j].tensor >= 0;
  n->op->cost(d, have, &o);
  *read = o.read * (double)elem_bytes;
  *write = o.write * (double)elem_bytes;
  for (size_t j = 0; n->op->io[j]; j++) {
    const iso_tensor *t = have[j] ? &g->tensor[n->arg[j].tensor] : NULL;
    if (!t || !t->narrow) continue;
    double saved = (double)(iso_tensor_elems(t, bind) * ((int64_t)elem_bytes - (int64_t)iso_dtype_bytes(ISO_DTYPE_bf16)));
    if (strchr("rRxX", n->op->io[j])) *read -= saved;
    if (strchr("wWxX", n->op->io[j])) *write -= saved;
  }
}

iso_graph_cost iso_pass_cost(const iso_graph *g, iso_section section, const iso_bind *bind, size_t elem_bytes) {
  iso_graph_cost c = {0};
  for (int b = 0; b < g->n_blocks; b++) {
    const iso_block *k = &g->block[b];
    if (k->section != section) continue;
    for (int i = 0; i < k->n_nodes; i++) {
      const iso_node *n = &k->node[i];
      int64_t d[ISO_K_DIMS];
      bool have[ISO_K_OPERANDS];
      iso_opcost o = {0};
      for (int j = 0; j < ISO_K_DIMS; j++) d[j] = iso_dim_eval(n->d[j], bind);
      if (!iso_op_works(d)) continue;
      for (int j = 0; j < ISO_K_OPERANDS; j++) have[j] = n->arg[j].tensor >= 0;
      n->op->cost(d, have, &o);
      double times = (double)k->count, read, write;
      iso_node_bytes(g, n, bind, elem_bytes, &read, &write);
      c.mat_flop += times * o.mat_flop;
      c.vec_flop += times * o.vec_flop;
      c.read_b += times * read;
      c.write_b += times * write;
      c.calls += k->count;
    }
  }
  return c;
}
