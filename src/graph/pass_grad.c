// The gradient pass: walks forward blocks and nodes in reverse and lets each op emit its backward ops.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "graph/op.h"

struct iso_gradpass {
  iso_graph *g;
  int fwd, bwd;  // block being differentiated and the one being built
  int node;      // forward node at work
  int *grad;     // [cap] gradient tensor of each tensor, -1 none; owned
  int cap;
  int *stream_grad;  // [cap] the single gradient buffer of each stream, -1 none; owned
  bool *needs;       // [cap] whether a gradient of this tensor is wanted; owned
};

static bool writes(char io) { return strchr("wWaAxX", io) != NULL; }
static bool reads_value(char io) { return io == 'r' || io == 'R'; }

// Grows the side tables when backward tensors are added.
static iso_status track(iso_gradpass *p, iso_err *err) {
  if (p->g->n_tensors <= p->cap) return ISO_OK;
  int n = p->g->n_tensors * 2;
  int *a = realloc(p->grad, (size_t)n * sizeof *a), *b;
  if (a) p->grad = a;
  b = realloc(p->stream_grad, (size_t)n * sizeof *b);
  if (b) p->stream_grad = b;
  bool *c = realloc(p->needs, (size_t)n * sizeof *c);
  if (c) p->needs = c;
  if (!a || !b || !c) return iso_fail(err, ISO_ENOMEM, "no memory for the gradient pass");
  for (int i = p->cap; i < n; i++) {
    a[i] = b[i] = -1;
    c[i] = false;
  }
  p->cap = n;
  return ISO_OK;
}

iso_ref iso_grad_of(const iso_gradpass *p, iso_ref value) {
  const iso_tensor *t = &p->g->tensor[value.tensor];
  if (t->stream) return iso_this(p->stream_grad[value.tensor]);
  return iso_this(p->grad[value.tensor]);
}

static int new_grad(iso_gradpass *p, int value, iso_role role, int block, iso_err *err) {
  const iso_tensor *t = &p->g->tensor[value];
  char *path = iso_arena_fmt(p->g->arena, "d(%s)", t->path);
  iso_tensor d = *t;
  d.path = path;
  d.role = role;
  d.block = block;
  d.stream = d.saved = false;
  int i = path ? iso_graph_tensor(p->g, &d) : -1;
  if (i < 0)
    (void)iso_fail(err, ISO_ENOMEM, "no memory for the gradient of %s", t->path);
  else if (track(p, err) != ISO_OK)
    return -1;
  return i;
}

iso_ref iso_grad_into(iso_gradpass *p, iso_ref value, bool *acc, iso_err *err) {
  *acc = false;
  int v = value.tensor;
  if (v < 0 || !p->needs[v]) return iso_none();
  iso_tensor *t = &p->g->tensor[v];
  if (t->role == ISO_ROLE_WEIGHT) {
    if (t->grad < 0) {
      int i = new_grad(p, v, ISO_ROLE_GRAD, t->block, err);
      if (i < 0) return iso_none();
      p->g->tensor[v].grad = i;
    }
    *acc = true;
    return (iso_ref){p->g->tensor[v].grad, value.which};
  }
  int *slot = t->stream ? &p->stream_grad[v] : &p->grad[v];
  *acc = *slot >= 0;
  if (*slot < 0) {
    // A stream's gradient lives across iterations; any other one within a single backward iteration.
    int i = new_grad(p, v, ISO_ROLE_ACT, t->stream ? -1 : p->bwd, err);
    if (i < 0) return iso_none();
    if (p->g->tensor[v].stream)
      p->stream_grad[v] = i;
    else
      p->grad[v] = i;
    return iso_this(i);
  }
  return iso_this(*slot);
}

iso_status iso_grad_pass_through(iso_gradpass *p, iso_ref value, iso_ref g, iso_err *err) {
  int v = value.tensor;
  if (!p->needs[v]) return ISO_OK;
  iso_tensor *t = &p->g->tensor[v];
  int *slot = t->stream ? &p->stream_grad[v] : &p->grad[v];
  if (*slot == g.tensor) return ISO_OK;
  if (*slot < 0) {
    *slot = g.tensor;
    return ISO_OK;
  }
  iso_dim n = {1, {0}};
  for (int i = 0; i < t->rank; i++) n = iso_dim_mul(n, t->dim[i]);
  return iso_grad_emit(p, &(iso_node){.op = &iso_op_add, .arg = {iso_this(*slot), g, iso_this(*slot)}, .d = {n}}, err);
}

iso_status iso_grad_emit(iso_gradpass *p, const iso_node *n, iso_err *err) {
  ISO_TRY(iso_graph_node(p->g, p->bwd, n, err));
  return track(p, err);
}

iso_node *iso_grad_fuse(iso_gradpass *p, const iso_node *n) {
  iso_node *own = &p->g->block[p->fwd].node[p->node];
  return own->op == n->op ? own : NULL;
}

// A tensor needs a gradient when a trainable weight flows into it.
static void mark_needs(iso_gradpass *p) {
  iso_graph *g = p->g;
  for (int i = 0; i < g->n_tensors; i++) p->needs[i] = g->tensor[i].role == ISO_ROLE_WEIGHT && !g->tensor[i].frozen;
  for (int b = 0; b < g->n_blocks; b++)
    for (int round = 0; round < (g->block[b].count > 1 ? 2 : 1); round++)  // a stream reaches its own block's start
      for (int k = 0; k < g->block[b].n_nodes; k++) {
        const iso_node *n = &g->block[b].node[k];
        bool flows = false;
        for (size_t i = 0; n->op->io[i]; i++) flows = flows || (n->arg[i].tensor >= 0 && reads_value(n->op->io[i]) && p->needs[n->arg[i].tensor]);
        for (size_t i = 0; n->op->io[i]; i++)
          if (flows && n->arg[i].tensor >= 0 && writes(n->op->io[i]) && g->tensor[n->arg[i].tensor].role == ISO_ROLE_ACT)
            p->needs[n->arg[i].tensor] = true;
      }
}

// Forward activations that a backward node reads must outlive the forward pass.
static void mark_saved(iso_graph *g, int first_backward) {
  for (int b = first_backward; b < g->n_blocks; b++)
    for (int k = 0; k < g->block[b].n_nodes; k++) {
      const iso_node *n = &g->block[b].node[k];
      for (size_t i = 0; n->op->io[i]; i++) {
        int t = n->arg[i].tensor;
        if (t >= 0 && g->tensor[t].role == ISO_ROLE_ACT && g->tensor[t].block >= 0 && g->block[g->tensor[t].block].section == ISO_SECTION_FORWARD)
          g->tensor[t].saved = true;
      }
    }
}

iso_status iso_pass_gradient(iso_graph *g, iso_err *err) {
  iso_gradpass p = {.g = g};
  int blocks = g->n_blocks;
  iso_status st = track(&p, err);
  if (st != ISO_OK) goto done;
  mark_needs(&p);
  for (int b = blocks - 1; b >= 0; b--) {
    p.fwd = b;
    char *name = iso_arena_fmt(g->arena, "d(%s)", g->block[b].name);
    p.bwd = name ? iso_graph_block(g, name, ISO_SECTION_BACKWARD, g->block[b].count, b) : -1;
    if (p.bwd < 0) {
      st = iso_fail(err, ISO_ENOMEM, "no memory for the gradient pass");
      goto done;
    }
    for (int k = g->block[b].n_nodes - 1; k >= 0; k--) {
      iso_node n = g->block[b].node[k];
      p.node = k;
      if (!n.op->grad) {
        st = iso_fail(err, ISO_EUNSUP, "op %s has no gradient", n.op->name);
        goto done;
      }
      iso_err inner = {0};
      st = n.op->grad(&p, &n, &inner);
      if (st == ISO_OK && inner.status != ISO_OK) st = inner.status;
      if (st != ISO_OK) {
        if (err) *err = inner;
        goto done;
      }
    }
    // Values of the previous block are new values: only streams carry their gradient over.
    for (int i = 0; i < p.cap; i++) p.grad[i] = -1;
  }
  mark_saved(g, blocks);
done:
  free(p.grad);
  free(p.stream_grad);
  free(p.needs);
  return st;
}
