// Finding optimizers, and the update sections of a training graph.
#include "train/optim.h"

#include <math.h>

#include "base/rng.h"
#include "graph/exec.h"
#include "graph/op.h"

static const iso_plugin *const OPTIMS[] = {
#define X(name) &iso_optim_##name.plugin,
#include "train/optims.def"
#undef X
};

iso_status iso_optim_find(const char *name, const iso_optim **out, iso_err *err) {
  const iso_plugin *p;
  ISO_TRY(iso_plugin_find(OPTIMS, ISO_COUNT(OPTIMS), "optimizer", name, &p, err));
  *out = (const iso_optim *)(const void *)p;  // the plugin header is the first member
  return ISO_OK;
}

iso_status iso_optim_selftest(iso_ctx *c, iso_err *err) { return iso_plugin_selftest(OPTIMS, ISO_COUNT(OPTIMS), "optimizer", c, err); }

int iso_optim_state(iso_graph *g, int w, const char *kind) {
  iso_tensor t = g->tensor[w];
  char *path = iso_arena_fmt(g->arena, "%s(%s)", kind, t.path);
  if (!path) return -1;
  t.path = path;
  t.role = ISO_ROLE_OPTIM;
  t.n_parts = 0;
  return iso_graph_tensor(g, &t);
}

iso_dim iso_optim_elems(const iso_graph *g, int w) {
  iso_dim n = iso_dim_of(iso_tensor_copies(g, &g->tensor[w]));
  for (int i = 0; i < g->tensor[w].rank; i++) n = iso_dim_mul(n, g->tensor[w].dim[i]);
  return n;
}

iso_status iso_optim_build(const iso_optim *o, iso_graph *g, const iso_graph_io *io, iso_err *err) {
  int norm = iso_graph_block(g, "gradient norm", ISO_SECTION_NORM, 1, -1), weights = g->n_tensors;
  if (norm < 0) return iso_fail(err, ISO_ENOMEM, "no memory for the update graph");
  for (int w = 0; w < weights; w++) {
    if (g->tensor[w].role != ISO_ROLE_WEIGHT || g->tensor[w].grad < 0) continue;
    iso_node n = {.op = &iso_op_sumsq, .arg = {{g->tensor[w].grad, ISO_ALL}, iso_this(io->hyp)}, .d = {iso_optim_elems(g, w)}};
    ISO_TRY(iso_graph_node(g, norm, &n, err));
  }
  int update = iso_graph_block(g, "update", ISO_SECTION_UPDATE, 1, -1);
  if (update < 0) return iso_fail(err, ISO_ENOMEM, "no memory for the update graph");
  for (int w = 0; w < weights; w++)
    if (g->tensor[w].role == ISO_ROLE_WEIGHT && g->tensor[w].grad >= 0) ISO_TRY(o->emit(g, update, w, io->hyp, err));
  return ISO_OK;
}

// min over W of ||W - A||^2 / 2 for a fixed random A: gradient W - A, minimum 0.
iso_status iso_optim_descends(const iso_optim *o, double lr, iso_ctx *c, iso_err *err) {
  enum { N = 24, K = 16, STEPS = 300 };
  iso_graph *g = NULL;
  iso_exec *e = NULL;
  iso_graph_io io = {0};
  iso_status st;
  double first = 0, loss = 0;
  ISO_TRYG(iso_graph_open(&g, err));
  iso_tensor t = {
      .path = "w", .axes = "NK", .role = ISO_ROLE_WEIGHT, .rank = 2, .dim = {iso_dim_of(N), iso_dim_of(K)}, .block = -1, .group = ISO_GROUP_MATRIX};
  int w = iso_graph_tensor(g, &t);
  t.path = "g";
  t.role = ISO_ROLE_GRAD;
  int grad = iso_graph_tensor(g, &t);
  g->tensor[w].grad = grad;
  io.hyp = iso_graph_tensor(g, &(iso_tensor){.path = "hyp", .role = ISO_ROLE_INPUT, .raw_bytes = (int64_t)sizeof(iso_hyp), .block = -1});
  ISO_TRYG(iso_optim_build(o, g, &io, err));
  ISO_TRYG(iso_exec_open(c, g, &(iso_exec_opts){.max = iso_bind_batch(1, 1), .train = true}, &e, err));
  float *x = iso_exec_at(e, w, 0), *gr = iso_exec_at(e, grad, 0);
  iso_hyp *h = iso_exec_at(e, io.hyp, 0);
  for (int step = 1; step <= STEPS; step++) {
    double rate = lr * (1 - (double)(step - 1) / STEPS);
    *h = (iso_hyp){.lr = rate,
                   .muon_lr = rate,
                   .beta1 = 0.9,
                   .beta2 = 0.95,
                   .eps = 1e-8,
                   .bias1 = 1 - pow(0.9, step),
                   .bias2 = 1 - pow(0.95, step),
                   .momentum = 0.9,
                   .ns_steps = 5};
    loss = 0;
    for (int i = 0; i < N * K; i++) {
      gr[i] = x[i] - (float)iso_rng_normal(1, ISO_RNG_TEST, 0, (uint64_t)i);
      loss += 0.5 * (double)gr[i] * (double)gr[i];
    }
    if (step == 1) first = loss;
    iso_exec_run(e, ISO_SECTION_NORM);
    if (fabs(h->grad_sumsq - 2 * loss) > 1e-4 * loss) st = iso_fail(err, ISO_EBUG, "gradient norm %g, expected %g", h->grad_sumsq, 2 * loss);
    if (st != ISO_OK) goto done;
    iso_exec_run(e, ISO_SECTION_UPDATE);
  }
  if (!(loss < 0.01 * first)) st = iso_fail(err, ISO_EBUG, "%s: least squares went from %g to %g only", o->plugin.name, first, loss);
done:
  iso_exec_close(e);
  iso_graph_close(g);
  return st;
}
