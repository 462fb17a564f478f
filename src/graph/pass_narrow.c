// The narrow pass: which activations are kept as bf16.
#include <string.h>

#include "graph/op.h"

static bool may_be_narrow(const iso_node *n, int operand) {
  char digit[2] = {(char)('0' + operand), 0};
  // What is added to has to keep all its bits.
  bool adds = n->op == &iso_op_linear_bwd && operand == 5 && n->d[3].coef != 0;
  return strstr(n->op->narrow, digit) != NULL && !adds;
}

void iso_pass_narrow(iso_graph *g) {
  for (int i = 0; i < g->n_tensors; i++) {
    iso_tensor *t = &g->tensor[i];
    t->narrow = t->role == ISO_ROLE_ACT && !t->stream && !t->i32 && t->raw_bytes == 0;
  }
  for (int b = 0; b < g->n_blocks; b++)
    for (int k = 0; k < g->block[b].n_nodes; k++) {
      const iso_node *n = &g->block[b].node[k];
      for (int j = 0; j < ISO_K_OPERANDS; j++)
        if (n->arg[j].tensor >= 0 && !may_be_narrow(n, j)) g->tensor[n->arg[j].tensor].narrow = false;
    }
}
