// AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101); no decay on vectors.
#include "graph/op.h"
#include "train/optim.h"

// Cost: 14 flop and 8 elements moved a parameter; state: two moments.
static iso_status emit(iso_graph *g, int b, int w, int hyp, iso_err *err) {
  int m = iso_optim_state(g, w, "adam_m"), v = iso_optim_state(g, w, "adam_v");
  if (m < 0 || v < 0) return iso_fail(err, ISO_ENOMEM, "no memory for the update graph");
  double decay = g->tensor[w].group == ISO_GROUP_VECTOR ? 0.0 : 1.0;
  iso_node n = {.op = &iso_op_adamw,
                .arg = {{w, ISO_ALL}, {g->tensor[w].grad, ISO_ALL}, {m, ISO_ALL}, {v, ISO_ALL}, iso_this(hyp)},
                .d = {iso_optim_elems(g, w)},
                .a = {decay, 1.0}};
  return iso_graph_node(g, b, &n, err);
}

static iso_status selftest(iso_ctx *c, iso_err *err) { return iso_optim_descends(&iso_optim_adamw, 0.1, c, err); }

const iso_optim iso_optim_adamw = {{"adamw", "Adam with decoupled weight decay", "arXiv 1711.05101", selftest}, emit};
