// Pipeline schedules made by repeating one building block (Qi et al. 2024, arXiv:2405.15362), with slots that no two tasks share.
#ifndef ISO_PLAN_LAYOUT_BLOCK_H
#define ISO_PLAN_LAYOUT_BLOCK_H
#include "plan/layout/layout.h"

enum { ISO_LAYOUT_BLOCK_CHUNKS = 2, ISO_LAYOUT_BLOCK_STAGES_MAX = 1 << 14 };

// What one micro-batch does: a slot for the forward pass, the gradients of inputs and those of weights of each chunk on each device; every
// task takes one slot. The next micro-batch does the same `interval` slots later. Chunk 0 goes down the devices, chunk 1 comes back up.
typedef struct iso_layout_block {
  int64_t p, v, interval;
  int64_t down[2], up[2], cut;                    // slots from one device to the next: [0] from the first `cut` devices on, [1] from the others
  int64_t turn[2 * ISO_LAYOUT_BLOCK_CHUNKS - 1];  // slots from the end of one way through the devices to the start of the next
  int64_t (*slot)[3][ISO_LAYOUT_BLOCK_CHUNKS];    // owned, per device: [F, B, W][chunk]
} iso_layout_block;

// A block in which passes down the devices advance by `down` slots a device and passes up by `up`. The waits at the turns repair clashes: of
// those without any, the ones that hold fewest activations are taken, then the shortest. Weight gradients get the next free slot. One chunk,
// steps of 1 and 2: 1F1B; two chunks, (1, 1): V-Min, (2, 1): V-Half, (4, 2): ZB-V. ISO_EINVAL when sizes make no sense or no turns help.
// Close with iso_layout_block_close.
iso_status iso_layout_block_open(int64_t p, int64_t v, int64_t down, int64_t up, iso_layout_block *out, iso_err *err);
// The block of two chunks that w says. ISO_EINVAL when a number is out of range, tasks clash, or more than w->held chunks are held.
iso_status iso_layout_block_from(int64_t p, const iso_layout_weave *w, iso_layout_block *out, iso_err *err);
// Fills the slots from steps and turns; false when tasks clash.
bool iso_layout_block_place(iso_layout_block *b);
void iso_layout_block_close(iso_layout_block *b);
// Two tasks of a device that fall on the same slot in the long run; *device (may be NULL) gets the first such device.
bool iso_layout_block_clashes(const iso_layout_block *b, int64_t *device);
// Chunks whose activations a device holds at most in the long run: those whose life, from F to the end of W, spans a slot. About the sum over
// chunks of lifespan / interval.
int64_t iso_layout_block_peak(const iso_layout_block *b);
// Steps of the schedules that are building blocks; false for the others.
bool iso_layout_sched_steps(iso_layout_sched s, int64_t *down, int64_t *up);

// Where a device stands in the model: chunk 1 of a V comes back up.
static inline int64_t iso_layout_v_stage(int64_t p, int64_t chunk, int64_t device) { return chunk ? 2 * p - 1 - device : device; }

// A task in a device's list; kind 0: F, 1: B, 2: W.
typedef struct iso_layout_slot {
  int kind;
  int64_t chunk, micro_batch;
} iso_layout_slot;
// How long tasks take: seconds of F, B and W of each virtual stage, and of a hop from one device to another.
typedef struct iso_layout_pace {
  const double *len[3];
  double hop_s;
  iso_layout_order order;
  double idle_s;  // a device that has idled longer ends the run; 0: none
} iso_layout_pace;
// The lists of all devices for m micro-batches: the block repeated, squeezed, and its bubbles filled with later tasks that are ready and do
// not raise the peak; once a device has no forward pass left, gradients of inputs go before those of weights. NULL pace: a slot a task.
// list: p x 3 v m. *span_s (may be NULL): the longest that a device is taken, at this pace; +INFINITY beyond pace.idle_s. ISO_ENOMEM; ISO_EBUG when
// devices wait for one another.
iso_status iso_layout_block_lists(const iso_layout_block *b, int64_t m, const iso_layout_pace *pace, iso_layout_slot *list, double *span_s,
                                  iso_err *err);
#endif
