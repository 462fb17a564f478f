// Muon: orthogonalised momentum on hidden matrices (Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982), AdamW elsewhere.
#include "graph/op.h"
#include "train/optim.h"

// Cost: 5 (4 s + 2 s^2 / l) flop a parameter of an s x l matrix; state: one momentum.
static iso_status emit(iso_graph *g, int b, int w, int hyp, iso_err *err) {
  const iso_tensor *t = &g->tensor[w];
  if (t->group != ISO_GROUP_MATRIX) return iso_optim_adamw.emit(g, b, w, hyp, err);
  int m = iso_optim_state(g, w, "muon_m");
  if (m < 0) return iso_fail(err, ISO_ENOMEM, "no memory for the update graph");
  t = &g->tensor[w];
  iso_node n = {.op = &iso_op_muon,
                .arg = {{w, ISO_ALL}, {t->grad, ISO_ALL}, {m, ISO_ALL}, iso_this(hyp)},
                .d = {iso_dim_of(iso_tensor_copies(g, t)), t->dim[0], t->dim[1]},
                .a = {1.0, 1.0}};
  for (int i = 0; i < t->n_parts; i++) n.d[3 + i] = iso_dim_of(t->part[i].rows);
  return iso_graph_node(g, b, &n, err);
}

static iso_status selftest(iso_ctx *c, iso_err *err) { return iso_optim_descends(&iso_optim_muon, 0.3, c, err); }

const iso_optim iso_optim_muon = {{"muon", "orthogonalised momentum on matrices, AdamW elsewhere", "arXiv 2502.16982", selftest}, emit};
