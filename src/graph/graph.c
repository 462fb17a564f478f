// Building graphs, counting their elements and parameters.
#include "graph/graph.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "graph/op.h"

iso_status iso_graph_open(iso_graph **out, iso_err *err) {
  *out = calloc(1, sizeof **out);
  if (!*out) return iso_fail(err, ISO_ENOMEM, "no memory for a graph");
  iso_status st = iso_arena_open(&(*out)->arena, err);
  if (st != ISO_OK) {
    free(*out);
    *out = NULL;
  }
  return st;
}

void iso_graph_close(iso_graph *g) {
  if (!g) return;
  iso_arena_close(g->arena);
  free(g);
}

// Doubles an array that lives in the arena; the old one stays until the graph closes.
static void *grow(iso_arena *a, void *old, int *cap, int used, size_t elem) {
  if (used < *cap) return old;
  int n = *cap ? *cap * 2 : 16;
  void *p = iso_arena_get(a, (size_t)n * elem);
  if (!p) return NULL;
  if (used) memcpy(p, old, (size_t)used * elem);
  *cap = n;
  return p;
}

int iso_graph_block(iso_graph *g, const char *name, iso_section section, int count, int of) {
  iso_block *b = grow(g->arena, g->block, &g->cap_blocks, g->n_blocks, sizeof *b);
  if (!b) return -1;
  g->block = b;
  g->block[g->n_blocks] = (iso_block){.name = iso_arena_str(g->arena, name), .section = section, .count = count, .of = of};
  return g->n_blocks++;
}

int iso_graph_tensor(iso_graph *g, const iso_tensor *t) {
  iso_tensor *a = grow(g->arena, g->tensor, &g->cap_tensors, g->n_tensors, sizeof *a);
  if (!a) return -1;
  g->tensor = a;
  iso_tensor *x = &g->tensor[g->n_tensors];
  *x = *t;
  x->grad = -1;
  x->path = iso_arena_str(g->arena, t->path);
  x->axes = iso_arena_str(g->arena, t->axes ? t->axes : "");
  for (int i = 0; i < x->n_parts; i++) x->part[i].name = iso_arena_str(g->arena, t->part[i].name);
  return g->n_tensors++;
}

iso_status iso_graph_node(iso_graph *g, int b, const iso_node *n, iso_err *err) {
  if (b < 0 || b >= g->n_blocks) return iso_fail(err, ISO_EBUG, "%s: no block %d", n->op->name, b);
  size_t operands = strlen(n->op->io);
  for (size_t i = 0; i < ISO_K_OPERANDS; i++) {
    bool have = i < operands && n->arg[i].tensor >= 0;
    if (i < operands && !have && islower((unsigned char)n->op->io[i]))
      return iso_fail(err, ISO_EBUG, "%s: operand %zu is missing (block %s)", n->op->name, i, g->block[b].name);
    if (have && n->arg[i].tensor >= g->n_tensors)
      return iso_fail(err, ISO_EBUG, "%s: operand %zu names tensor %d of %d", n->op->name, i, n->arg[i].tensor, g->n_tensors);
  }
  iso_block *k = &g->block[b];
  iso_node *p = grow(g->arena, k->node, &k->cap, k->n_nodes, sizeof *p);
  if (!p) return iso_fail(err, ISO_ENOMEM, "no memory for a graph node");
  k->node = p;
  k->node[k->n_nodes] = *n;
  for (size_t i = operands; i < ISO_K_OPERANDS; i++) k->node[k->n_nodes].arg[i] = iso_none();
  k->n_nodes++;
  return ISO_OK;
}

int64_t iso_tensor_elems(const iso_tensor *t, const iso_bind *b) {
  int64_t n = 1;
  for (int i = 0; i < t->rank; i++) n *= iso_dim_eval(t->dim[i], b);
  return n;
}

int64_t iso_tensor_bytes(const iso_tensor *t, const iso_bind *b, size_t elem_bytes) {
  if (t->raw_bytes > 0) return t->raw_bytes;
  return iso_tensor_elems(t, b) * (int64_t)(t->i32 ? sizeof(int32_t) : t->narrow ? iso_dtype_bytes(ISO_DTYPE_bf16) : elem_bytes);
}

int iso_tensor_copies(const iso_graph *g, const iso_tensor *t) {
  if (t->block < 0) return 1;
  return g->block[t->block].count + (t->stream ? 1 : 0);
}

iso_param_count iso_graph_params(const iso_graph *g) {
  iso_param_count c = {0};
  iso_bind one = {{1, 1, 1}};
  for (int i = 0; i < g->n_tensors; i++) {
    const iso_tensor *t = &g->tensor[i];
    if (t->role != ISO_ROLE_WEIGHT) continue;
    int64_t n = iso_tensor_elems(t, &one) * iso_tensor_copies(g, t);
    c.all += n;
    switch (t->group) {
      case ISO_GROUP_MATRIX: c.matrix += n; break;
      case ISO_GROUP_EMBED: c.embed += n; break;
      case ISO_GROUP_HEAD: c.head += n; break;
      case ISO_GROUP_VECTOR: c.vector += n; break;
    }
  }
  return c;
}
