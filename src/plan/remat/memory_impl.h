// Shared by memory.c and memory_json.c: a job opened, and a choice made for it.
#ifndef ISO_PLAN_REMAT_MEMORY_IMPL_H
#define ISO_PLAN_REMAT_MEMORY_IMPL_H
#include "plan/remat/memory.h"
#include "plan/remat/offload.h"

// Where weights, gradients and optimizer state live, and what a step moves for that.
typedef struct iso_memory_place {
  const char *name;
  double device_b, host_b;
  double grads_out_b;      // during the backward pass
  double weights_in_b;     // during each of the two passes
  double weights_after_b;  // after the update
} iso_memory_place;

typedef struct iso_memory {
  const iso_memory_job *job;
  iso_remat_dag *d;        // owned
  iso_remat_chain *chain;  // owned
  iso_remat_front *front;  // owned
  int *step, steps;        // owned; layers of the chain
  int64_t params;
  double model_flop, flop;  // of a step: matrix products, all
  double fwd_s, bwd_s;      // cost of the passes: seconds, or FLOPs without rates
  double input_b;
  iso_memory_place place[4];
  int places;
} iso_memory;

typedef struct iso_memory_choice {
  bool found;
  const iso_memory_place *place;
  iso_remat_plan plan;   // owned
  iso_offload_use move;  // activations on the host
  bool *there, *out;     // [n] owned: kept between the passes; kept on the host
  double disk_b, place_stall_s;
  double step;  // cost with everything
} iso_memory_choice;

iso_status iso_memory_open(const iso_memory_job *j, iso_memory *m, iso_err *err);
void iso_memory_close(iso_memory *m);
// found false: nothing fits.
iso_status iso_memory_choose(const iso_memory *m, iso_memory_choice *best, iso_err *err);
void iso_memory_choice_close(iso_memory_choice *c);
#endif
