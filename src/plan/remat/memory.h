// What a device's memory must hold to train a model, and how to make it fit: recompute, offload, shard.
#ifndef ISO_PLAN_REMAT_MEMORY_H
#define ISO_PLAN_REMAT_MEMORY_H
#include "base/json.h"
#include "model/config.h"
#include "plan/layout/layout.h"
#include "plan/remat/remat.h"

typedef struct iso_memory_job {
  iso_model_config model;
  int64_t batch, seq;                // of one device and micro-batch
  int64_t act_b;                     // bytes of an activation
  double weight_b, grad_b, optim_b;  // bytes per parameter
  int64_t limit_b;                   // of the device
  iso_remat_rates rates;             // of the device; both 0: plans are compared in FLOPs and nothing is offloaded
  double link_b_s, host_b;           // to the host's memory, each way, and its bytes; 0: no offloading
  double nvme_b_s;                   // optimizer state that host_b does not hold goes to a disk of this rate; 0: none
  int points;                        // of a front at most; 0: 4096, 512 for chains of more than 64 atoms
  iso_remat_effort effort;
} iso_memory_job;
// One sequence of the model's context, mixed precision with fp32 optimizer (2, 4, 12 bytes), 20,000 schedules of search.
iso_memory_job iso_memory_job_default(void);

// The model's shape as the layout planner has it. ISO_EUNSUP: experts. `config` from a shape, for the archs that the graph can build.
iso_status iso_memory_config(const iso_layout_shape *s, iso_model_config *out, iso_err *err);
iso_layout_shape iso_memory_shape(const iso_model_config *c);

// Devices over which ZeRO stage 1 to 3 must split weights, gradients and optimizer state so that `act_b` bytes beside them fit; 0: no number.
int64_t iso_memory_shards(const iso_memory_job *j, int zero, int64_t act_b);

// {model, bytes, strategies: [{strategy, points: [{peak_bytes, total_bytes, extra_share, ...}]}], plan, layers, trainer, shards}. The plan is the
// one of the shortest step (fewest FLOPs without rates) among recomputation, offloading and both. ISO_ENOMEM with the least bytes that would
// do, and the shards that would, when nothing fits. With a cap on retention intervals (effort.intervals) also {retention_cap,
// plan_any_intervals}: the plan without it.
iso_status iso_memory_plan_json(const iso_memory_job *j, json_t **out, iso_err *err);
#endif
