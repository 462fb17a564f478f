// Offloading: which of a block's kept values go to host memory or a disk between the forward and the backward pass, and what that stalls.
#ifndef ISO_PLAN_REMAT_OFFLOAD_H
#define ISO_PLAN_REMAT_OFFLOAD_H
#include "base/status.h"

// A value that block `block` keeps.
typedef struct iso_offload_value {
  int block;
  int64_t bytes;
} iso_offload_value;
// Blocks in the order of the forward pass. A link moves b_s bytes a second out and in, each way at the same time, one transfer at a time.
typedef struct iso_offload_job {
  int blocks, values;
  const double *fwd_s, *bwd_s;     // [blocks] computing, recomputation included
  double head_s;                   // between the two passes
  const iso_offload_value *value;  // [values]
  double b_s;
} iso_offload_job;
typedef struct iso_offload_use {
  double step_s, stall_s;  // stall: step less all computing
  double link_s;           // what the transfers take, both ways
  int64_t moved_b;         // out; the same comes back
  int64_t freed_b;         // moved less the buffers of two blocks' transfers under way
} iso_offload_use;

// Plays the step: a block's values leave when it is done, and the block after next waits for them, so that two blocks' worth is on the way
// at most; they come back in reverse order, as soon as the block above next has been differentiated. `out[v]`: value v goes.
iso_status iso_offload_play(const iso_offload_job *j, const bool *out, iso_offload_use *use, iso_err *err);
// The values that free need_b with the least stall. Greedy: next the value that frees most for each second of stall that it adds, the last
// ones taken back while they are not needed. *found false: all of them free less.
iso_status iso_offload_greedy(const iso_offload_job *j, int64_t need_b, bool *out, iso_offload_use *use, bool *found, iso_err *err);
// Every choice by branch and bound, up to 24 values: a step does not get shorter by moving more.
iso_status iso_offload_exact(const iso_offload_job *j, int64_t need_b, bool *out, iso_offload_use *use, bool *found, iso_err *err);
#endif
