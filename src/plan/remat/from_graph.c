// The training graph of a model as a DAG of values with costs: forward and backward calls, iteration by iteration.
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/exec.h"
#include "graph/op.h"
#include "model/arch.h"
#include "plan/remat/remat.h"

typedef struct build {
  const iso_graph *g;
  const iso_bind *bind;
  size_t elem;
  const iso_remat_rates *rates;
  iso_remat_dag *d;
  iso_arena_layout layout;
  int **value;  // [tensor][copy] the node that holds its newest value, -1 none
  int *first;   // storage of value; owned
} build;

static int64_t up(int64_t n) { return (n + 63) / 64 * 64; }  // as pass_memory.c

static int64_t copy_b(const build *b, int t) {
  const iso_tensor *x = &b->g->tensor[t];
  return up(iso_tensor_bytes(x, b->bind, b->elem));
}

static int *held(const build *b, iso_ref r, int iter) {
  const iso_tensor *t = &b->g->tensor[r.tensor];
  int copy = 0;
  if (r.which == ISO_THIS) copy = t->block < 0 ? 0 : iter;
  if (r.which == ISO_NEXT) copy = iter + 1;
  if (r.which == ISO_LAST) copy = iso_tensor_copies(b->g, t) - 1;
  return &b->value[r.tensor][copy];
}

// Tensors that pass_memory.c keeps outside its scratch.
static bool own(const build *b, int t) { return b->layout.place[t].slots > 0 && b->layout.place[t].offset < b->layout.act_saved; }

static void price(const build *b, const iso_node *n, iso_remat_node *v) {
  int64_t d[ISO_K_DIMS];
  bool have[ISO_K_OPERANDS];
  iso_opcost o = {0};
  for (int i = 0; i < ISO_K_DIMS; i++) d[i] = iso_dim_eval(n->d[i], b->bind);
  for (int i = 0; i < ISO_K_OPERANDS; i++) have[i] = n->arg[i].tensor >= 0;
  n->op->cost(d, have, &o);
  v->flop = o.mat_flop + o.vec_flop;
  v->cost = v->flop;
  if (b->rates->flop_s > 0 || b->rates->b_s > 0) {
    double f = b->rates->flop_s > 0 ? v->flop / b->rates->flop_s : 0;
    double m = b->rates->b_s > 0 ? (o.read + o.write) * (double)b->elem / b->rates->b_s : 0;
    v->cost = fmax(f, m);
  }
}

static iso_status add_input(iso_remat_node *v, int u, iso_err *err) {
  for (int i = 0; i < v->n_in; i++)
    if (v->in[i] == u) return ISO_OK;
  if (v->n_in == ISO_REMAT_INPUTS) return iso_fail(err, ISO_EUNSUP, "value %s reads more than %d values", v->name, ISO_REMAT_INPUTS);
  v->in[v->n_in++] = u;
  return ISO_OK;
}

// Operands of a call: what it reads, what it changes in place, what it makes.
static iso_status operands(build *b, const iso_block *k, const iso_node *n, int iter, iso_remat_node *v, iso_err *err) {
  v->inplace = -1;
  v->once = k->section != ISO_SECTION_FORWARD;
  for (int j = 0; n->op->io[j]; j++) {
    int t = n->arg[j].tensor;
    char io = (char)tolower((unsigned char)n->op->io[j]);
    if (t < 0) continue;
    if (b->g->tensor[t].role != ISO_ROLE_ACT) {
      v->once = v->once || io == 'a' || io == 'x';
      continue;
    }
    if (n->arg[j].which == ISO_ALL) return iso_fail(err, ISO_EUNSUP, "op %s works on all copies of %s", n->op->name, b->g->tensor[t].path);
    int *u = held(b, n->arg[j], iter);
    bool writes = io == 'w' || io == 'a' || io == 'x';
    if (*u >= 0) {
      ISO_TRY(add_input(v, *u, err));
      if (writes && v->inplace >= 0 && v->inplace != *u)
        return iso_fail(err, ISO_EUNSUP, "op %s changes two values in place (block %s)", n->op->name, k->name);
      if (writes) v->inplace = *u;
    } else if (!writes) {
      return iso_fail(err, ISO_EBUG, "op %s reads %s before it is written (block %s)", n->op->name, b->g->tensor[t].path, k->name);
    } else {
      v->bytes += copy_b(b, t);
      v->own = (v->own || v->bytes == copy_b(b, t)) && own(b, t);
      if (!v->name) v->name = b->g->tensor[t].path;
    }
  }
  if (v->inplace >= 0) {
    v->bytes += b->d->node[v->inplace].bytes;
    v->own = v->own || b->d->node[v->inplace].own;
  }
  return ISO_OK;
}

static iso_status call(build *b, const iso_block *k, const iso_node *n, int iter, iso_err *err) {
  iso_remat_node v = {.name = NULL, .layer = k->count > 1 ? iter : -1};
  int at = b->d->n;
  ISO_TRY(operands(b, k, n, iter, &v, err));
  price(b, n, &v);
  iso_remat_node *p = v.inplace >= 0 ? &b->d->node[v.inplace] : NULL;
  // In place on the newest value, which nobody can have read yet: part of making it.
  if (p && v.inplace == at - 1 && v.n_in == 1 && v.bytes == p->bytes && v.once == p->once) {
    p->cost += v.cost;
    p->flop += v.flop;
    return ISO_OK;
  }
  if (p && !v.once) return iso_fail(err, ISO_EUNSUP, "op %s changes %s in place after it was read", n->op->name, p->name);
  if (!v.name) v.name = p ? p->name : n->op->name;
  ISO_TRY(iso_remat_add(b->d, &v, &at, err));
  for (int j = 0; n->op->io[j]; j++) {
    int t = n->arg[j].tensor;
    if (t >= 0 && b->g->tensor[t].role == ISO_ROLE_ACT && strchr("wax", tolower((unsigned char)n->op->io[j]))) *held(b, n->arg[j], iter) = at;
  }
  return ISO_OK;
}

static iso_status expand(build *b, iso_err *err) {
  for (int s = ISO_SECTION_FORWARD; s <= ISO_SECTION_BACKWARD; s++)
    for (int i = 0; i < b->g->n_blocks; i++) {
      const iso_block *k = &b->g->block[i];
      if (k->section != (iso_section)s) continue;
      for (int it = 0; it < k->count; it++) {
        int iter = s == ISO_SECTION_BACKWARD ? k->count - 1 - it : it;
        for (int j = 0; j < k->n_nodes; j++) ISO_TRY(call(b, k, &k->node[j], iter, err));
      }
    }
  return ISO_OK;
}

iso_status iso_remat_from_graph(const iso_graph *g, const iso_bind *bind, size_t elem, const iso_remat_rates *r, iso_remat_dag **out, iso_err *err) {
  static const iso_remat_rates FLOPS = {0, 0};
  build b = {.g = g, .bind = bind, .elem = elem, .rates = r ? r : &FLOPS};
  iso_status st;
  int64_t copies = 0;
  *out = NULL;
  ISO_TRYG(iso_remat_open(&b.d, err));
  ISO_TRYG(iso_pass_memory(g, bind, elem, true, (iso_recompute){0}, &b.layout, err));
  for (int t = 0; t < g->n_tensors; t++) copies += iso_tensor_copies(g, &g->tensor[t]);
  b.value = calloc((size_t)g->n_tensors + 1, sizeof *b.value);
  b.first = malloc(((size_t)copies + 1) * sizeof *b.first);
  if (!b.value || !b.first) {
    st = iso_fail(err, ISO_ENOMEM, "no memory for a graph of values");
    goto done;
  }
  memset(b.first, 0xff, ((size_t)copies + 1) * sizeof *b.first);
  copies = 0;
  for (int t = 0; t < g->n_tensors; t++) {
    b.value[t] = b.first + copies;
    copies += iso_tensor_copies(g, &g->tensor[t]);
  }
  ISO_TRYG(expand(&b, err));
done:
  iso_arena_layout_close(&b.layout);
  free(b.value);
  free(b.first);
  if (st == ISO_OK)
    *out = b.d;
  else
    iso_remat_close(b.d);
  return st;
}

static iso_status training_graph(const iso_model_config *c, iso_graph **out, iso_err *err) {
  const iso_arch *arch;
  iso_graph_io io;
  *out = NULL;
  ISO_TRY(iso_config_check(c, err));
  ISO_TRY(iso_arch_find(c->arch, &arch, err));
  ISO_TRY(iso_graph_open(out, err));
  iso_status st = arch->build(c, &(iso_build){.mode = ISO_MODE_LOSS}, *out, &io, err);
  if (st == ISO_OK) st = iso_pass_gradient(*out, err);
  if (st != ISO_OK) iso_graph_close(*out);
  return st;
}

iso_status iso_remat_from_model(const iso_model_config *c, int64_t batch, int64_t seq, size_t elem, const iso_remat_rates *r, iso_remat_dag **out,
                                int64_t *params, double *model_flop, iso_err *err) {
  iso_graph *g;
  iso_bind b = iso_bind_batch(batch, seq);
  *out = NULL;
  ISO_TRY(training_graph(c, &g, err));
  if (params) *params = iso_graph_params(g).all;
  if (model_flop) *model_flop = iso_pass_cost(g, ISO_SECTION_FORWARD, &b, elem).mat_flop + iso_pass_cost(g, ISO_SECTION_BACKWARD, &b, elem).mat_flop;
  iso_status st = iso_remat_from_graph(g, &b, elem, r, out, err);
  iso_graph_close(g);
  return st;
}

iso_status iso_remat_trainer(const iso_model_config *c, int64_t batch, int64_t seq, size_t elem, int64_t room_b, iso_remat_setting *out,
                             iso_err *err) {
  iso_graph *g;
  iso_bind b = iso_bind_batch(batch, seq);
  int layers = (int)c->layers;
  iso_status st = ISO_OK;
  *out = (iso_remat_setting){0};
  ISO_TRY(training_graph(c, &g, err));
  iso_graph_cost plain = iso_pass_cost(g, ISO_SECTION_BACKWARD, &b, elem);
  for (int i = 0; i < 3 * layers; i++) {
    iso_recompute re = i < 2 * layers ? (iso_recompute){.layers = i / 2, .cheap = i % 2} : (iso_recompute){.every = i - 2 * layers + 1};
    iso_arena_layout l;
    iso_graph_cost x;
    ISO_TRYG(iso_pass_memory(g, &b, elem, true, re, &l, err));
    int64_t bytes = l.bytes[ISO_ROLE_ACT];
    iso_arena_layout_close(&l);
    if (bytes > room_b) continue;
    ISO_TRYG(iso_exec_cost(g, ISO_SECTION_BACKWARD, &b, elem, re, &x, err));
    double extra = x.mat_flop + x.vec_flop - plain.mat_flop - plain.vec_flop;
    if (out->found && (extra > out->extra_flop || (extra == out->extra_flop && bytes >= out->act_b))) continue;
    *out = (iso_remat_setting){true, re.every, re.layers, re.cheap, bytes, extra};
  }
done:
  iso_graph_close(g);
  return st;
}
