// The op graph: blocks of nodes over tensors with symbolic dimensions; a repeated block is stored once, with a count.
#ifndef ISO_GRAPH_GRAPH_H
#define ISO_GRAPH_GRAPH_H
#include "base/arena.h"
#include "graph/dim.h"
#include "kern/kern.h"

typedef struct iso_op iso_op;
typedef struct iso_graph iso_graph;

typedef enum iso_role {
  ISO_ROLE_WEIGHT,
  ISO_ROLE_GRAD,   // of a weight
  ISO_ROLE_OPTIM,  // optimizer state
  ISO_ROLE_ACT,    // activations and their gradients
  ISO_ROLE_KV,
  ISO_ROLE_INPUT,  // ids, targets, hyperparameters, losses: written and read by the caller
  ISO_ROLE_COUNT
} iso_role;

// How a weight is used, which decides its optimizer, decay and initial scale.
typedef enum iso_group { ISO_GROUP_MATRIX, ISO_GROUP_EMBED, ISO_GROUP_HEAD, ISO_GROUP_VECTOR } iso_group;

enum { ISO_RANK_MAX = 3, ISO_PARTS_MAX = 4 };

// Rows of a packed weight that have a name of their own outside (q, k, v of one projection).
typedef struct iso_part {
  const char *name;  // "model.layers.*.self_attn.q_proj.weight"; * is the iteration
  int64_t rows;
} iso_part;

typedef struct iso_tensor {
  const char *path;  // canonical, e.g. "layers.*.attn.qkv"
  const char *axes;  // one letter per dimension (docs/notation.md), e.g. "FD"
  iso_role role;
  bool i32;           // 4-byte integers; otherwise elements of the table's type
  bool narrow;        // or bf16, see iso_pass_narrow
  int64_t raw_bytes;  // > 0: opaque bytes (hyperparameters, f64 sums), dimensions unused
  int rank;
  iso_dim dim[ISO_RANK_MAX];
  int block;    // the block whose iterations own a copy each; -1: one copy
  bool stream;  // iteration i reads copy i and writes copy i + 1
  bool saved;   // an activation that the backward pass reads
  bool frozen;  // a weight without gradient
  iso_group group;
  double init_std;  // weights: normal with this deviation; 0 with init_one false: zeros
  bool init_one;
  int n_parts;
  iso_part part[ISO_PARTS_MAX];
  int grad;  // index of its gradient tensor, -1 none
} iso_tensor;

// Which copy of a tensor: of the running iteration, the next one (streams), or all of them as one array.
typedef enum iso_which { ISO_THIS, ISO_NEXT, ISO_FIRST, ISO_LAST, ISO_ALL } iso_which;
typedef struct iso_ref {
  int tensor;  // -1: absent
  iso_which which;
} iso_ref;

// A kernel call in symbols: operands, dimensions and attributes in the order of kern/slots.def.
typedef struct iso_node {
  const iso_op *op;
  iso_ref arg[ISO_K_OPERANDS];
  iso_dim d[ISO_K_DIMS];
  double a[ISO_K_ATTRS];
} iso_node;

// NORM measures the gradients, UPDATE spends them: between the two the caller may refuse a step.
typedef enum iso_section { ISO_SECTION_FORWARD, ISO_SECTION_BACKWARD, ISO_SECTION_NORM, ISO_SECTION_UPDATE, ISO_SECTION_COUNT } iso_section;

typedef struct iso_block {
  const char *name;
  iso_section section;
  int count;  // iterations; a backward block runs them from last to first
  int of;     // backward: the forward block that it differentiates, else -1
  int n_nodes, cap;
  iso_node *node;  // in the graph's arena
} iso_block;

struct iso_graph {
  iso_arena *arena;  // owned
  int n_tensors, cap_tensors, n_blocks, cap_blocks;
  iso_tensor *tensor;
  iso_block *block;
};

iso_status iso_graph_open(iso_graph **out, iso_err *err);
void iso_graph_close(iso_graph *g);
// Starts a block; nodes go to the newest block. Returns its index, or -1 without memory.
int iso_graph_block(iso_graph *g, const char *name, iso_section section, int count, int of);
// Adds a tensor (the struct is copied, strings too); -1 without memory.
int iso_graph_tensor(iso_graph *g, const iso_tensor *t);
// Checks operands against the op's io letters and adds the node to block b.
iso_status iso_graph_node(iso_graph *g, int b, const iso_node *n, iso_err *err);

static inline iso_ref iso_this(int t) { return (iso_ref){t, ISO_THIS}; }
static inline iso_ref iso_none(void) { return (iso_ref){-1, ISO_THIS}; }
// Elements of one copy.
int64_t iso_tensor_elems(const iso_tensor *t, const iso_bind *b);
// Copies of a tensor: 1, or the count of its block, plus one for streams.
int iso_tensor_copies(const iso_graph *g, const iso_tensor *t);

// Parameters by role: all weights, each tied weight once; `embed` counts embedding and position tables that are not also the head.
typedef struct iso_param_count {
  int64_t all, embed, head, matrix, vector;
} iso_param_count;
iso_param_count iso_graph_params(const iso_graph *g);

// ---- passes -------------------------------------------------------------------------------------------------------

// Adds the backward section for the loss node (the last node of the last forward block).
iso_status iso_pass_gradient(iso_graph *g, iso_err *err);

// Keeps as bf16 every activation that only operands touch which may be kept so: what products round anyway, and what lies between them. The stream,
// which sums up layers, stays as it is. For tables that take it (iso_kern_table.narrow); after the gradient pass.
void iso_pass_narrow(iso_graph *g);
// Elements of one copy of t in bytes.
int64_t iso_tensor_bytes(const iso_tensor *t, const iso_bind *b, size_t elem_bytes);
// Bytes that one call of a node reads and writes: its op's elements, those of narrow operands at their width.
void iso_node_bytes(const iso_graph *g, const iso_node *n, const iso_bind *b, size_t elem_bytes, double *read, double *write);

// Sums over the nodes of `section`, each block once, times its count. Recomputation is not counted here.
typedef struct iso_graph_cost {
  double mat_flop, vec_flop, read_b, write_b;
  int64_t calls;
} iso_graph_cost;
iso_graph_cost iso_pass_cost(const iso_graph *g, iso_section section, const iso_bind *b, size_t elem_bytes);

// Where every tensor lives. Offsets in bytes within the buffer of its role.
typedef struct iso_place {
  int64_t offset, stride;  // stride between copies
  int slots;               // copies that exist at once; copy i is at slot i % slots unless checkpointed
} iso_place;

// What the backward pass computes again instead of finding it kept. All zero: nothing. `every` stands alone.
typedef struct iso_recompute {
  int every;   // groups of this many iterations keep only the stream between them (Chen et al. 2016, arXiv 1604.06174)
  int layers;  // the first so many iterations keep only their stream; below the count
  bool cheap;  // the others do not keep what takes no matrix product: norms, activations
} iso_recompute;

typedef struct iso_arena_layout {
  iso_place *place;                // [n_tensors], owned
  bool *cheap;                     // [n_tensors], owned: computed again in every iteration but the last
  int64_t bytes[ISO_ROLE_COUNT];   // per buffer
  int64_t act_saved, act_scratch;  // parts of bytes[ISO_ROLE_ACT]
  iso_recompute re;
} iso_arena_layout;

// Liveness within blocks, one arena for all activations. `train` keeps what the backward section reads, but for what `re` computes again.
iso_status iso_pass_memory(const iso_graph *g, const iso_bind *max, size_t elem_bytes, bool train, iso_recompute re, iso_arena_layout *out,
                           iso_err *err);
void iso_arena_layout_close(iso_arena_layout *l);
// Marks ([n_tensors]) the kept values of repeated forward blocks that ops without matrix products make from other kept values.
void iso_pass_cheap(const iso_graph *g, const iso_bind *b, bool *cheap);
// Whether running this node again makes such values and nothing else.
bool iso_node_makes(const iso_node *n, const bool *cheap);
// Slot of copy i of a tensor under recomputation, see pass_memory.c.
int iso_arena_slot(const iso_graph *g, const iso_arena_layout *l, int tensor, int copy);
#endif
