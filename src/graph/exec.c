// Ahead-of-time compilation and the hot loop: one indirect call per kernel, nothing looked up.
#include "graph/exec.h"

#include <stdlib.h>
#include <string.h>

#include "graph/op.h"

typedef struct call {
  iso_kern_fn fn;
  const iso_node *node;
  iso_kcall k;
} call;

struct iso_exec {
  iso_ctx *ctx;
  const iso_graph *g;
  const iso_kern_table *kern;
  iso_bind max;
  iso_layout layout;
  void *buf[ISO_ROLE_COUNT];
  bool own[ISO_ROLE_COUNT];
  unsigned char *scratch;
  size_t scratch_bytes;
  call *calls;  // owned
  int n, cap, start[ISO_SECTION_COUNT], end[ISO_SECTION_COUNT];
  double *op_s;  // owned; profile by call
  bool profile;
};

static bool recomputes(const iso_graph *g, const iso_block *b, int every) {
  return b->section == ISO_SECTION_BACKWARD && every > 0 && b->count > every && g->block[b->of].count == b->count;
}

// Visits (block, iteration) in execution order; `again` marks recomputation.
typedef iso_status (*visit_fn)(void *arg, int block, int iter, bool again, iso_err *err);

static iso_status visit(const iso_graph *g, iso_section section, int every, visit_fn fn, void *arg, iso_err *err) {
  for (int b = 0; b < g->n_blocks; b++) {
    const iso_block *k = &g->block[b];
    if (k->section != section) continue;
    bool re = recomputes(g, k, every);
    for (int i = 0; i < k->count; i++) {
      int iter = section == ISO_SECTION_BACKWARD ? k->count - 1 - i : i;
      int group = re ? iter / every : 0, last = (k->count - 1) / (re ? every : k->count);
      bool enters = re && group != last && iter == (group + 1) * every - 1;
      for (int j = group * every; enters && j <= iter; j++) ISO_TRY(fn(arg, k->of, j, true, err));
      ISO_TRY(fn(arg, b, iter, false, err));
    }
  }
  return ISO_OK;
}

static iso_status count_calls(void *arg, int block, int iter, bool again, iso_err *err) {
  iso_exec *e = arg;
  (void)iter;
  (void)again;
  (void)err;
  e->cap += e->g->block[block].n_nodes;
  return ISO_OK;
}

static int copy_of(const iso_exec *e, iso_ref r, int iter) {
  const iso_tensor *t = &e->g->tensor[r.tensor];
  switch (r.which) {
    case ISO_THIS: return t->block < 0 ? 0 : iter;
    case ISO_NEXT: return iter + 1;
    case ISO_FIRST:
    case ISO_ALL: return 0;
    case ISO_LAST: return iso_tensor_copies(e->g, t) - 1;
  }
  return 0;
}

void *iso_exec_at(const iso_exec *e, int tensor, int copy) {
  const iso_tensor *t = &e->g->tensor[tensor];
  const iso_place *p = &e->layout.place[tensor];
  return (unsigned char *)e->buf[t->role] + p->offset + p->stride * iso_layout_slot(e->g, &e->layout, tensor, copy);
}

static iso_status add_calls(void *arg, int block, int iter, bool again, iso_err *err) {
  iso_exec *e = arg;
  const iso_block *b = &e->g->block[block];
  (void)again;
  for (int i = 0; i < b->n_nodes; i++) {
    const iso_node *n = &b->node[i];
    call *c = &e->calls[e->n++];
    *c = (call){.fn = e->kern->fn[n->op->slot], .node = n};
    if (!c->fn) return iso_fail(err, ISO_EUNSUP, "kernels %s have no %s", e->kern->name, n->op->name);
    c->k.pool = e->ctx->pool;
    c->k.scratch = e->scratch;
    memcpy(c->k.a, n->a, sizeof n->a);
    for (int j = 0; j < ISO_K_OPERANDS; j++) {
      int t = n->arg[j].tensor;
      c->k.p[j] = t < 0 ? NULL : iso_exec_at(e, t, copy_of(e, n->arg[j], iter));
    }
  }
  return ISO_OK;
}

// The largest scratch of any call at the compiled maxima.
static size_t scratch_need(const iso_graph *g, const iso_kern_table *kern, const iso_bind *max, int threads) {
  size_t need = 64;
  for (int b = 0; b < g->n_blocks; b++)
    for (int i = 0; i < g->block[b].n_nodes; i++) {
      const iso_node *n = &g->block[b].node[i];
      int64_t d[ISO_K_DIMS];
      for (int j = 0; j < ISO_K_DIMS; j++) d[j] = iso_dim_eval(n->d[j], max);
      size_t s = kern->scratch ? kern->scratch(n->op->slot, d, threads) : 0;
      if (s > need) need = s;
    }
  return (need + 63) / 64 * 64;
}

iso_status iso_exec_open(iso_ctx *c, const iso_graph *g, const iso_exec_opts *o, iso_exec **out, iso_err *err) {
  *out = NULL;
  iso_exec *e = calloc(1, sizeof *e);
  if (!e) return iso_fail(err, ISO_ENOMEM, "no memory for a program");
  e->ctx = c;
  e->g = g;
  e->kern = o->kern ? o->kern : c->kern;
  e->max = o->max;
  size_t elem = iso_dtype_bytes(e->kern->elem);
  iso_status st;
  ISO_TRYG(iso_pass_memory(g, &o->max, elem, o->train, o->every, &e->layout, err));
  static const char *const WHAT[ISO_ROLE_COUNT] = {"weights", "gradients", "optimizer state", "activations", "the KV cache", "inputs"};
  for (int r = 0; r < ISO_ROLE_COUNT; r++) {
    if (r == ISO_ROLE_WEIGHT && o->weights)
      e->buf[r] = o->weights;
    else if (e->layout.bytes[r] > 0) {
      ISO_TRYG(iso_mem_get(c, (size_t)e->layout.bytes[r], WHAT[r], &e->buf[r], err));
      e->own[r] = true;
    }
  }
  e->scratch_bytes = scratch_need(g, e->kern, &o->max, iso_pool_threads(c->pool));
  void *scratch;
  ISO_TRYG(iso_mem_get(c, e->scratch_bytes, "kernel scratch", &scratch, err));
  e->scratch = scratch;
  for (int s = 0; s < ISO_SECTION_COUNT; s++) ISO_TRYG(visit(g, (iso_section)s, e->layout.every, count_calls, e, err));
  e->calls = calloc((size_t)e->cap + 1, sizeof *e->calls);
  e->op_s = calloc((size_t)e->cap + 1, sizeof *e->op_s);
  if (!e->calls || !e->op_s) {
    st = iso_fail(err, ISO_ENOMEM, "no memory for a program of %d calls", e->cap);
    goto done;
  }
  for (int s = 0; s < ISO_SECTION_COUNT; s++) {
    e->start[s] = e->n;
    ISO_TRYG(visit(g, (iso_section)s, e->layout.every, add_calls, e, err));
    e->end[s] = e->n;
  }
  ISO_TRYG(iso_exec_bind(e, &o->max, err));
  *out = e;
  return ISO_OK;
done:
  iso_exec_close(e);
  return st;
}

void iso_exec_close(iso_exec *e) {
  if (!e) return;
  for (int r = 0; r < ISO_ROLE_COUNT; r++)
    if (e->own[r]) iso_mem_put(e->ctx, e->buf[r], (size_t)e->layout.bytes[r]);
  if (e->scratch) iso_mem_put(e->ctx, e->scratch, e->scratch_bytes);
  iso_layout_close(&e->layout);
  free(e->calls);
  free(e->op_s);
  free(e);
}

iso_status iso_exec_bind(iso_exec *e, const iso_bind *b, iso_err *err) {
  if (b->v[ISO_SYM_M] > e->max.v[ISO_SYM_M] || b->v[ISO_SYM_T] > e->max.v[ISO_SYM_T] || b->v[ISO_SYM_M] < 1)
    return iso_fail(err, ISO_EINVAL, "a batch of %lld rows with sequences of %lld does not fit a program for %lld rows and %lld",
                    (long long)b->v[ISO_SYM_M], (long long)b->v[ISO_SYM_T], (long long)e->max.v[ISO_SYM_M], (long long)e->max.v[ISO_SYM_T]);
  for (int i = 0; i < e->n; i++)
    for (int j = 0; j < ISO_K_DIMS; j++) e->calls[i].k.d[j] = iso_dim_eval(e->calls[i].node->d[j], b);
  return ISO_OK;
}

void iso_exec_run(iso_exec *e, iso_section section) {
  if (e->profile) {
    for (int i = e->start[section]; i < e->end[section]; i++) {
      double t = iso_now_s(e->ctx);
      e->calls[i].fn(&e->calls[i].k);
      e->op_s[i] += iso_now_s(e->ctx) - t;
    }
    return;
  }
  for (int i = e->start[section]; i < e->end[section]; i++) e->calls[i].fn(&e->calls[i].k);
}

void iso_exec_count(iso_exec *e, iso_section section, iso_kcount *count) {
  for (int i = e->start[section]; i < e->end[section]; i++) {
    e->calls[i].k.count = count;
    e->calls[i].fn(&e->calls[i].k);
    e->calls[i].k.count = NULL;
  }
}

void *iso_exec_buffer(const iso_exec *e, iso_role role, int64_t *bytes) {
  if (bytes) *bytes = e->layout.bytes[role];
  return e->buf[role];
}
const iso_layout *iso_exec_layout(const iso_exec *e) { return &e->layout; }
const iso_graph *iso_exec_graph(const iso_exec *e) { return e->g; }

int64_t iso_exec_bytes(const iso_exec *e) {
  int64_t n = (int64_t)e->scratch_bytes;
  for (int r = 0; r < ISO_ROLE_COUNT; r++)
    if (e->own[r]) n += e->layout.bytes[r];
  return n;
}

iso_status iso_exec_price(const iso_graph *g, const iso_exec_opts *o, const iso_kern_table *kern, int threads, int64_t *bytes, iso_err *err) {
  iso_layout l;
  ISO_TRY(iso_pass_memory(g, &o->max, iso_dtype_bytes(kern->elem), o->train, o->every, &l, err));
  *bytes = (int64_t)scratch_need(g, kern, &o->max, threads);
  for (int r = 0; r < ISO_ROLE_COUNT; r++)
    if (r != ISO_ROLE_WEIGHT || !o->weights) *bytes += l.bytes[r];
  iso_layout_close(&l);
  return ISO_OK;
}

iso_graph_cost iso_exec_cost(const iso_graph *g, iso_section section, const iso_bind *b, size_t elem_bytes, int every) {
  iso_graph_cost c = iso_pass_cost(g, section, b, elem_bytes);
  for (int i = 0; section == ISO_SECTION_BACKWARD && i < g->n_blocks; i++) {
    const iso_block *k = &g->block[i];
    if (!recomputes(g, k, every)) continue;
    // All groups but the last are run again: their share of the forward block.
    double again = (double)((k->count - 1) / every * every) / (double)k->count;
    iso_block fwd = g->block[k->of];
    iso_graph one = {.n_tensors = g->n_tensors, .tensor = g->tensor, .n_blocks = 1, .block = &fwd};
    iso_graph_cost f = iso_pass_cost(&one, ISO_SECTION_FORWARD, b, elem_bytes);
    c.mat_flop += again * f.mat_flop;
    c.vec_flop += again * f.vec_flop;
    c.read_b += again * f.read_b;
    c.write_b += again * f.write_b;
    c.calls += (int64_t)(again * (double)f.calls);
  }
  return c;
}

void iso_exec_profile(iso_exec *e, bool on) {
  e->profile = on;
  memset(e->op_s, 0, (size_t)e->n * sizeof *e->op_s);
}

int iso_exec_times(const iso_exec *e, iso_op_time *out, int max) {
  int n = 0;
  for (int i = 0; i < e->n; i++) {
    int j = 0;
    while (j < n && strcmp(out[j].op, e->calls[i].node->op->name) != 0) j++;
    if (j == max) continue;
    if (j == n) out[n++] = (iso_op_time){e->calls[i].node->op->name, 0, 0};
    out[j].s += e->op_s[i];
    out[j].calls++;
  }
  return n;
}
