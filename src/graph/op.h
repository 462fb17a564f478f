// What an op is: which kernel it calls, what it costs, and how its gradient is emitted. One file op_*.c per family.
#ifndef ISO_GRAPH_OP_H
#define ISO_GRAPH_OP_H
#include "graph/graph.h"
#include "kern/kern.h"

// Work of one call, as functions of the bound dimensions. Elements, not bytes: the element size is the table's.
typedef struct iso_opcost {
  double mat_flop;     // matrix products, model count: causal half, no padding, no recomputation
  double vec_flop;     // everything else
  double read, write;  // elements moved if nothing stays in a cache
} iso_opcost;

typedef struct iso_gradpass iso_gradpass;

struct iso_op {
  const char *name;
  // One letter per kernel operand: r read, w written, a accumulated into, x read and written, i input that no
  // gradient flows to (ids, statistics); upper case when it may be absent.
  const char *io;
  iso_kslot slot;
  const char *narrow;  // the numbers of operands that may be kept as bf16, where a table takes them so (iso_pass_narrow)
  // `have[i]` tells whether operand i is present.
  void (*cost)(const int64_t *d, const bool *have, iso_opcost *out);
  // Emits the ops that carry gradients from the outputs of `n` to its inputs; NULL: no gradient exists.
  iso_status (*grad)(iso_gradpass *p, const iso_node *n, iso_err *err);
};

#define X(name) extern const iso_op iso_op_##name;
#include "graph/ops.def"
#undef X

// Whether a call with these bound dimensions does anything: the first one of every slot counts rows, sequences or elements.
static inline bool iso_op_works(const int64_t *d) { return d[0] > 0; }

// ---- for gradient rules ------------------------------------------------------------------------------------------

// The gradient of a value computed by the forward graph, or a ref with tensor < 0 when nothing flows into it.
iso_ref iso_grad_of(const iso_gradpass *p, iso_ref value);
// Where to put a contribution to the gradient of `value`; *acc says that it must be added. Tensor < 0: not wanted.
iso_ref iso_grad_into(iso_gradpass *p, iso_ref value, bool *acc, iso_err *err);
// The gradient of `value` is (the buffer of) `g` itself: residual connections. When `value` already has a gradient, an add is emitted.
iso_status iso_grad_pass_through(iso_gradpass *p, iso_ref value, iso_ref g, iso_err *err);
// Adds a node to the backward block being built.
iso_status iso_grad_emit(iso_gradpass *p, const iso_node *n, iso_err *err);
// The forward node may be changed into one that yields its gradients at once (fused losses).
iso_node *iso_grad_fuse(iso_gradpass *p, const iso_node *n);
#endif
