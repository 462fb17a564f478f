// The building blocks that wait least in a given memory, for the times at hand: Qi et al. 2024's adaptive schedules (arXiv:2405.15362).
#ifndef ISO_PLAN_LAYOUT_ADAPT_H
#define ISO_PLAN_LAYOUT_ADAPT_H
#include "plan/layout/layout_sim.h"

typedef struct iso_layout_adapt_point {
  iso_layout_weave weave;  // weave.held chunks are held at most
  double span_s;           // as iso_layout_trace has it
} iso_layout_adapt_point;

// What a pipeline pays for less memory: every number of chunks held for which some block is faster than all with fewer.
typedef struct iso_layout_adapt {
  int64_t n, blocks;              // blocks that were tried
  iso_layout_adapt_point *point;  // owned; held rises, span falls
} iso_layout_adapt;

// Tries blocks whose first devices advance by one pair of steps and the others by another, every cut between them (at most 8; quick: 4) and
// every wait at the turns (the shortest two, quick: one, of those that hold the same; quick: those that hold three quarters of held_max), among them
// those of V-Min, V-Half and ZB-V. pipe: p, m, times and hop; schedule, v and weave are not read. Of the blocks that hold the same, the best at few
// micro-batches are replayed with all. More memory is never slower, unless quick: what needs less is among what is compared. ISO_EINVAL for sizes and
// times that iso_layout_simulate refuses, and for a held_max below what any block holds, which is then named.
iso_status iso_layout_adapt_open(const iso_layout_pipe *pipe, int64_t held_max, bool quick, iso_layout_adapt *out, iso_err *err);
void iso_layout_adapt_close(iso_layout_adapt *a);
// The fastest that holds at most so many chunks; NULL: none.
const iso_layout_adapt_point *iso_layout_adapt_under(const iso_layout_adapt *a, int64_t held);

// Chooses the building block of a V_ADAPTIVE layout, whose other fields are set, by the times of the step model. held_max: chunks; 0: what the
// machine's memory leaves. *waits (may be NULL) gets all choices up to there. ISO_ENOMEM when the memory does not hold the leanest block.
iso_status iso_layout_adapt_step(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, int64_t held_max, bool quick,
                                 iso_layout *l, iso_layout_adapt *waits, iso_err *err);
// Chunks that `share` of the activations of 1F1B's first device are: 2 p share, rounded down.
int64_t iso_layout_adapt_share(int64_t p, double share);
// No block here holds more: 1F1B's activations and what the turns add.
int64_t iso_layout_adapt_most(int64_t p);
#endif
