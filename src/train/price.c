// What a training step costs, read off its graph.
#include "train/trainer.h"

iso_status iso_train_price_of(const iso_model_config *c, const iso_train_opts *o, const iso_kern_table *kern, int threads, iso_train_price *out,
                              iso_err *err) {
  const iso_arch *arch;
  const iso_optim *optim;
  iso_graph *g;
  iso_graph_io io;
  *out = (iso_train_price){0};
  ISO_TRY(iso_config_check(c, err));
  ISO_TRY(iso_train_opts_check(o, err));
  ISO_TRY(iso_arch_find(c->arch, &arch, err));
  ISO_TRY(iso_optim_find(o->optim, &optim, err));
  ISO_TRY(iso_graph_open(&g, err));
  iso_status st;
  ISO_TRYG(arch->build(c, &(iso_build){.mode = ISO_MODE_LOSS}, g, &io, err));
  ISO_TRYG(iso_pass_gradient(g, err));
  ISO_TRYG(iso_optim_build(optim, g, &io, err));
  if (kern->narrow) iso_pass_narrow(g);
  int64_t micro = o->micro > 0 ? o->micro : o->batch;
  double times = (double)(o->batch / micro);
  iso_bind b = iso_bind_batch(micro, o->seq);
  size_t elem = iso_dtype_bytes(kern->elem);
  iso_graph_cost f = iso_pass_cost(g, ISO_SECTION_FORWARD, &b, elem), k = iso_pass_cost(g, ISO_SECTION_BACKWARD, &b, elem);
  iso_recompute re = iso_train_recompute(o);
  iso_graph_cost x;
  ISO_TRYG(iso_exec_cost(g, ISO_SECTION_BACKWARD, &b, elem, re, &x, err));
  iso_graph_cost n = iso_pass_cost(g, ISO_SECTION_NORM, &b, elem), u = iso_pass_cost(g, ISO_SECTION_UPDATE, &b, elem);
  out->params = iso_graph_params(g).all;
  out->model_flop_step = times * (f.mat_flop + k.mat_flop);
  out->update_flop = u.mat_flop;
  double norms = o->measure_gns ? 2 : 1;  // the first micro-batch's as well
  out->update_b = u.read_b + u.write_b + norms * n.read_b;
  out->exec_flop_step = times * (f.mat_flop + x.mat_flop) + u.mat_flop;
  out->bytes_step = times * (f.read_b + f.write_b + x.read_b + x.write_b) + out->update_b;
  out->calls_step = (int64_t)(times * (double)(f.calls + x.calls)) + (int64_t)norms * n.calls + u.calls;
  iso_exec_opts eo = {.max = b, .train = true, .re = re};
  ISO_TRYG(iso_exec_price(g, &eo, kern, threads, &out->mem_b, err));
  out->mem_b += 8 * o->batch * o->seq;
done:
  iso_graph_close(g);
  return st;
}
