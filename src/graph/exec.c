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
  iso_arena_layout layout;
  void *buf[ISO_ROLE_COUNT];
  bool own[ISO_ROLE_COUNT];
  unsigned char *scratch;
  size_t scratch_bytes;
  call *calls;  // owned
  int n, cap, start[ISO_SECTION_COUNT], end[ISO_SECTION_COUNT];
  double *op_s;  // owned; profile by call
  bool profile;
};

// How a block's iteration is run: as it stands, or again for the backward section: whole, without what the kept next copy of the stream has
// already, or only what is cheap.
typedef enum run { ONCE, AGAIN, INSIDE, CHEAP } run;

// Whether a node makes nothing but the next copy of a stream.
static bool goes_on(const iso_node *n) {
  bool any = false;
  for (size_t i = 0; n->op->io[i]; i++) {
    if (n->arg[i].tensor < 0 || !strchr("waxWAX", n->op->io[i])) continue;
    if (n->arg[i].which != ISO_NEXT) return false;
    any = true;
  }
  return any;
}

static bool runs(const iso_node *n, run how, const bool *cheap) { return how == CHEAP ? iso_node_makes(n, cheap) : how != INSIDE || !goes_on(n); }

static bool recomputes(const iso_graph *g, const iso_block *b, iso_recompute re) {
  bool any = re.every > 0 ? b->count > re.every : re.layers > 0 || re.cheap;
  return any && b->section == ISO_SECTION_BACKWARD && b->count > 1 && g->block[b->of].count == b->count;
}

// Visits (block, iteration) in execution order.
typedef iso_status (*visit_fn)(void *arg, int block, int iter, run how, iso_err *err);

// What an iteration of the backward section needs again: its group when it is the group's last, itself, or its cheap values. The last
// iteration's values are still there, and so are those of the first one that keeps its own place.
static iso_status visit_again(const iso_block *k, int iter, iso_recompute re, visit_fn fn, void *arg, iso_err *err) {
  if (re.every > 0) {
    int group = iter / re.every, last = (k->count - 1) / re.every;
    bool enters = group != last && iter == (group + 1) * re.every - 1;
    for (int j = group * re.every; enters && j <= iter; j++) ISO_TRY(fn(arg, k->of, j, j < iter ? AGAIN : INSIDE, err));
    return ISO_OK;
  }
  if (iter < re.layers) return fn(arg, k->of, iter, INSIDE, err);
  return re.cheap && iter < k->count - 1 ? fn(arg, k->of, iter, CHEAP, err) : ISO_OK;
}

static iso_status visit(const iso_graph *g, iso_section section, iso_recompute re, visit_fn fn, void *arg, iso_err *err) {
  for (int b = 0; b < g->n_blocks; b++) {
    const iso_block *k = &g->block[b];
    if (k->section != section) continue;
    for (int i = 0; i < k->count; i++) {
      int iter = section == ISO_SECTION_BACKWARD ? k->count - 1 - i : i;
      if (recomputes(g, k, re)) ISO_TRY(visit_again(k, iter, re, fn, arg, err));
      ISO_TRY(fn(arg, b, iter, ONCE, err));
    }
  }
  return ISO_OK;
}

static iso_status count_calls(void *arg, int block, int iter, run how, iso_err *err) {
  iso_exec *e = arg;
  (void)iter;
  (void)how;
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
  return (unsigned char *)e->buf[t->role] + p->offset + p->stride * iso_arena_slot(e->g, &e->layout, tensor, copy);
}

static iso_status add_calls(void *arg, int block, int iter, run how, iso_err *err) {
  iso_exec *e = arg;
  const iso_block *b = &e->g->block[block];
  for (int i = 0; i < b->n_nodes; i++) {
    const iso_node *n = &b->node[i];
    if (!runs(n, how, e->layout.cheap)) continue;
    call *c = &e->calls[e->n++];
    *c = (call){.fn = e->kern->fn[n->op->slot], .node = n};
    if (!c->fn) return iso_fail(err, ISO_EUNSUP, "kernels %s have no %s", e->kern->name, n->op->name);
    c->k.pool = e->ctx->pool;
    c->k.scratch = e->scratch;
    memcpy(c->k.a, n->a, sizeof n->a);
    for (int j = 0; j < ISO_K_OPERANDS; j++) {
      int t = n->arg[j].tensor;
      c->k.p[j] = t < 0 ? NULL : iso_exec_at(e, t, copy_of(e, n->arg[j], iter));
      if (t < 0 || !e->g->tensor[t].narrow) continue;
      if (!e->kern->narrow) return iso_fail(err, ISO_EUNSUP, "kernels %s take no activations as bf16", e->kern->name);
      c->k.narrow |= 1u << j;
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
  ISO_TRYG(iso_pass_memory(g, &o->max, elem, o->train, o->re, &e->layout, err));
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
  for (int s = 0; s < ISO_SECTION_COUNT; s++) ISO_TRYG(visit(g, (iso_section)s, e->layout.re, count_calls, e, err));
  e->calls = calloc((size_t)e->cap + 1, sizeof *e->calls);
  e->op_s = calloc((size_t)e->cap + 1, sizeof *e->op_s);
  if (!e->calls || !e->op_s) {
    st = iso_fail(err, ISO_ENOMEM, "no memory for a program of %d calls", e->cap);
    goto done;
  }
  for (int s = 0; s < ISO_SECTION_COUNT; s++) {
    e->start[s] = e->n;
    ISO_TRYG(visit(g, (iso_section)s, e->layout.re, add_calls, e, err));
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
  iso_arena_layout_close(&e->layout);
  free(e->calls);
  free(e->op_s);
  free(e);
}

iso_status iso_exec_bind(iso_exec *e, const iso_bind *b, iso_err *err) {
  if (b->v[ISO_SYM_M] > e->max.v[ISO_SYM_M] || b->v[ISO_SYM_T] > e->max.v[ISO_SYM_T] || b->v[ISO_SYM_M] < 1)
    return iso_fail(err, ISO_EINVAL, "a batch of %lld rows with sequences of %lld does not fit a program for %lld rows and %lld",
                    (long long)b->v[ISO_SYM_M], (long long)b->v[ISO_SYM_T], (long long)e->max.v[ISO_SYM_M], (long long)e->max.v[ISO_SYM_T]);
  if (b->v[ISO_SYM_R] > e->max.v[ISO_SYM_R] || b->v[ISO_SYM_R] < 0)
    return iso_fail(err, ISO_EINVAL, "logits of %lld rows do not fit a program for %lld", (long long)b->v[ISO_SYM_R], (long long)e->max.v[ISO_SYM_R]);
  for (int i = 0; i < e->n; i++)
    for (int j = 0; j < ISO_K_DIMS; j++) e->calls[i].k.d[j] = iso_dim_eval(e->calls[i].node->d[j], b);
  return ISO_OK;
}

void iso_exec_run(iso_exec *e, iso_section section) {
  if (e->profile) {
    for (int i = e->start[section]; i < e->end[section]; i++) {
      if (!iso_op_works(e->calls[i].k.d)) continue;
      double t = iso_now_s(e->ctx);
      e->calls[i].fn(&e->calls[i].k);
      e->op_s[i] += iso_now_s(e->ctx) - t;
    }
    return;
  }
  for (int i = e->start[section]; i < e->end[section]; i++)
    if (iso_op_works(e->calls[i].k.d)) e->calls[i].fn(&e->calls[i].k);
}

void iso_exec_count(iso_exec *e, iso_section section, iso_kcount *count) {
  for (int i = e->start[section]; i < e->end[section]; i++) {
    if (!iso_op_works(e->calls[i].k.d)) continue;
    e->calls[i].k.count = count;
    e->calls[i].fn(&e->calls[i].k);
    e->calls[i].k.count = NULL;
  }
}

void *iso_exec_buffer(const iso_exec *e, iso_role role, int64_t *bytes) {
  if (bytes) *bytes = e->layout.bytes[role];
  return e->buf[role];
}
const iso_arena_layout *iso_exec_layout(const iso_exec *e) { return &e->layout; }
const iso_graph *iso_exec_graph(const iso_exec *e) { return e->g; }

int64_t iso_exec_bytes(const iso_exec *e) {
  int64_t n = (int64_t)e->scratch_bytes;
  for (int r = 0; r < ISO_ROLE_COUNT; r++)
    if (e->own[r]) n += e->layout.bytes[r];
  return n;
}

iso_status iso_exec_price(const iso_graph *g, const iso_exec_opts *o, const iso_kern_table *kern, int threads, int64_t *bytes, iso_err *err) {
  iso_arena_layout l;
  ISO_TRY(iso_pass_memory(g, &o->max, iso_dtype_bytes(kern->elem), o->train, o->re, &l, err));
  *bytes = (int64_t)scratch_need(g, kern, &o->max, threads);
  for (int r = 0; r < ISO_ROLE_COUNT; r++)
    if (r != ISO_ROLE_WEIGHT || !o->weights) *bytes += l.bytes[r];
  iso_arena_layout_close(&l);
  return ISO_OK;
}

// What running an iteration of block b again costs.
static iso_graph_cost iteration_cost(const iso_graph *g, const iso_block *b, run how, const bool *cheap, const iso_bind *bind, size_t elem_bytes) {
  iso_graph_cost sum = {0};
  for (int i = 0; i < b->n_nodes; i++) {
    if (!runs(&b->node[i], how, cheap)) continue;
    iso_block one = {.section = ISO_SECTION_FORWARD, .count = 1, .n_nodes = 1, .node = &b->node[i]};
    iso_graph alone = {.n_tensors = g->n_tensors, .tensor = g->tensor, .n_blocks = 1, .block = &one};
    iso_graph_cost c = iso_pass_cost(&alone, ISO_SECTION_FORWARD, bind, elem_bytes);
    sum.mat_flop += c.mat_flop;
    sum.vec_flop += c.vec_flop;
    sum.read_b += c.read_b;
    sum.write_b += c.write_b;
    sum.calls += c.calls;
  }
  return sum;
}

static void add_cost(iso_graph_cost *c, const iso_graph_cost *x, int times) {
  c->mat_flop += times * x->mat_flop;
  c->vec_flop += times * x->vec_flop;
  c->read_b += times * x->read_b;
  c->write_b += times * x->write_b;
  c->calls += times * x->calls;
}

iso_status iso_exec_cost(const iso_graph *g, iso_section section, const iso_bind *b, size_t elem_bytes, iso_recompute re, iso_graph_cost *out,
                         iso_err *err) {
  bool *cheap = calloc((size_t)g->n_tensors + 1, sizeof *cheap);
  if (!cheap) return iso_fail(err, ISO_ENOMEM, "no memory to price a program");
  *out = iso_pass_cost(g, section, b, elem_bytes);
  if (re.cheap) iso_pass_cheap(g, b, cheap);
  for (int i = 0; section == ISO_SECTION_BACKWARD && i < g->n_blocks; i++) {
    const iso_block *k = &g->block[i];
    if (!recomputes(g, k, re)) continue;
    // All groups but the last are run again, or the first layers.
    const iso_block *f = &g->block[k->of];
    int inside = re.every > 0 ? (k->count - 1) / re.every : re.layers, whole = re.every > 0 ? inside * (re.every - 1) : 0;
    iso_graph_cost all = iteration_cost(g, f, AGAIN, cheap, b, elem_bytes), in = iteration_cost(g, f, INSIDE, cheap, b, elem_bytes);
    iso_graph_cost few = iteration_cost(g, f, CHEAP, cheap, b, elem_bytes);
    add_cost(out, &all, whole);
    add_cost(out, &in, inside);
    if (re.cheap) add_cost(out, &few, k->count - 1 - inside);
  }
  free(cheap);
  return ISO_OK;
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
