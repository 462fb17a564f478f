// Optimizers: plugins that emit update ops for each weight, so that pricing and execution see the same graph.
#ifndef ISO_TRAIN_OPTIM_H
#define ISO_TRAIN_OPTIM_H
#include "cost/plugin.h"
#include "graph/graph.h"
#include "model/arch.h"

typedef struct iso_optim {
  iso_plugin plugin;
  // Adds to block `b` what turns the gradient of weight tensor `w` into a step: state tensors (role OPTIM) and nodes.
  iso_status (*emit)(iso_graph *g, int b, int w, int hyp, iso_err *err);
} iso_optim;

#define X(name) extern const iso_optim iso_optim_##name;
#include "train/optims.def"
#undef X
iso_status iso_optim_find(const char *name, const iso_optim **out, iso_err *err);
iso_status iso_optim_selftest(iso_ctx *c, iso_err *err);
// Adds the NORM and UPDATE sections for every weight that has a gradient.
iso_status iso_optim_build(const iso_optim *o, iso_graph *g, const iso_graph_io *io, iso_err *err);

// ---- for optim_*.c --------------------------------------------------------------------------------------------------
// A state tensor shaped like weight `w`, e.g. "adam_m(embed)"; -1 without memory.
int iso_optim_state(iso_graph *g, int w, const char *kind);
// Elements of all copies of `w` as a dimension.
iso_dim iso_optim_elems(const iso_graph *g, int w);
// The selftest that every optimizer shares: it must bring a least-squares problem below a hundredth of its first loss.
iso_status iso_optim_descends(const iso_optim *o, double lr, iso_ctx *c, iso_err *err);
#endif
