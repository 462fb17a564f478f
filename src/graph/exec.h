// Compiles a graph into a flat list of kernel calls over planned buffers, and runs it.
#ifndef ISO_GRAPH_EXEC_H
#define ISO_GRAPH_EXEC_H
#include "graph/graph.h"

typedef struct iso_exec iso_exec;

typedef struct iso_exec_opts {
  const iso_kern_table *kern;  // NULL: the context's
  iso_bind max;                // largest M, T and R that will be bound
  bool train;                  // keep what the backward section needs
  iso_recompute re;            // what the backward section computes again
  // Buffers to share with another exec over a graph with the same weights: NULL allocates. Not owned when given.
  void *weights;
} iso_exec_opts;

// `g` is borrowed and must outlive the exec. Allocates every buffer; nothing is allocated afterwards.
iso_status iso_exec_open(iso_ctx *c, const iso_graph *g, const iso_exec_opts *o, iso_exec **out, iso_err *err);
void iso_exec_close(iso_exec *e);
// Gives the symbols their values for the following runs. Calls without rows (R = 0) are passed over.
iso_status iso_exec_bind(iso_exec *e, const iso_bind *b, iso_err *err);
// Runs the calls of a section, in order.
void iso_exec_run(iso_exec *e, iso_section section);
// Same, adding what ref kernels count.
void iso_exec_count(iso_exec *e, iso_section section, iso_kcount *count);
// Address of a copy of a tensor (copy 0 for single ones).
void *iso_exec_at(const iso_exec *e, int tensor, int copy);
void *iso_exec_buffer(const iso_exec *e, iso_role role, int64_t *bytes);
const iso_arena_layout *iso_exec_layout(const iso_exec *e);
const iso_graph *iso_exec_graph(const iso_exec *e);
// Everything that the exec allocated, in bytes: buffers and kernel scratch.
int64_t iso_exec_bytes(const iso_exec *e);
// The same number before anything is allocated: what the planner charges as memory.
iso_status iso_exec_price(const iso_graph *g, const iso_exec_opts *o, const iso_kern_table *kern, int threads, int64_t *bytes, iso_err *err);
// Executed work of a section, recomputation included (pass_cost leaves it out).
iso_status iso_exec_cost(const iso_graph *g, iso_section section, const iso_bind *b, size_t elem_bytes, iso_recompute re, iso_graph_cost *out,
                         iso_err *err);
// Seconds spent per op since the last call, summed by op name into a JSON-free table; only while profiling is on.
void iso_exec_profile(iso_exec *e, bool on);
typedef struct iso_op_time {
  const char *op;
  double s;
  int64_t calls;
} iso_op_time;
int iso_exec_times(const iso_exec *e, iso_op_time *out, int max);
#endif
