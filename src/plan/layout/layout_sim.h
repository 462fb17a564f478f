// A pipeline schedule replayed task by task: what the closed forms of layout.h are checked against, and a timeline to draw.
#ifndef ISO_PLAN_LAYOUT_SIM_H
#define ISO_PLAN_LAYOUT_SIM_H
#include "plan/layout/layout.h"

typedef enum iso_layout_task_kind { ISO_LAYOUT_TASK_F, ISO_LAYOUT_TASK_B, ISO_LAYOUT_TASK_W } iso_layout_task_kind;

typedef struct iso_layout_task {
  int64_t device, chunk, micro_batch;
  iso_layout_task_kind kind;
  bool paired;  // DualPipe: with the next task, a backward pass of the other direction and its gradients of weights
  double start_s, end_s;
} iso_layout_task;

// Virtual stage k = chunk x p + device holds the k-th part of the model, 2p - 1 - device for the second chunk of a V. Without a zero-bubble schedule
// w is done with b. DualPipe: v is 2 for the two directions of m / 2 micro-batches each; "chunk" is the direction and virtual stage
// k = direction x p + place in that direction.
typedef struct iso_layout_pipe {
  iso_layout_sched schedule;
  int64_t p, m, v;          // stages, micro-batches, chunks a device
  const double *f, *b, *w;  // borrowed; seconds per micro-batch of each of the p v virtual stages
  const double *pair;       // DualPipe, borrowed: seconds of a pair on each device when its forward pass is of direction 0, then 1; NULL: no overlap
  double hop_s;             // from the end of a task to the start of the task it feeds on another device
  iso_layout_weave weave;   // V_ADAPTIVE
} iso_layout_pipe;

typedef struct iso_layout_trace {
  double makespan_s;  // from the first task's start to the last one's end
  double span_s;      // the longest that a device is taken, from its first task to its last; the next step may follow after it
  double busy_s;      // of the device that works most
  double in_flight;   // most micro-batches that a device holds activations for, in units of the device's whole share of the model
  int64_t n;
  iso_layout_task *task;  // owned, in order of device and start
} iso_layout_trace;

// What iso_layout_simulate refuses.
iso_status iso_layout_pipe_check(const iso_layout_pipe *p, iso_err *err);
// Runs each device's list of tasks in order (the lists are those of the papers named in layout.h). ISO_EINVAL for sizes that the schedule
// does not take, more than 2^24 tasks, or times that are negative or no numbers. Close with iso_layout_trace_close.
iso_status iso_layout_simulate(const iso_layout_pipe *p, iso_layout_trace *out, iso_err *err);
void iso_layout_trace_close(iso_layout_trace *t);
// The blocks, head and hops of a layout as the step model times them.
iso_status iso_layout_simulate_step(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout *l,
                                    iso_layout_trace *out, iso_err *err);
#endif
