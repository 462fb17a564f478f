// Every feasible layout of up to so many devices, and the front of step time, memory, dollars and joules among them.
#ifndef ISO_PLAN_LAYOUT_SEARCH_H
#define ISO_PLAN_LAYOUT_SEARCH_H
#include "plan/layout/layout.h"

typedef struct iso_layout_search_opts {
  int64_t devices_min, devices_max;  // equal: exactly so many
  int64_t max_tensor, max_context, max_micro_batch;
  int64_t min_context_tok;  // context parallelism leaves a device at least so many tokens of a sequence
  bool whole_nodes;         // above one node, only multiples of a node's devices
  bool offload;             // try optimizer state on the host
  bool quantised;           // try ZeRO-3 with quantised collectives (they change the numerics)
  // Building blocks are searched (layout_adapt.h) for so many layouts at most, those whose V_ADAPTIVE bound is best: 0 for no such layouts.
  int64_t adapt;
  double act_share;  // V_ADAPTIVE holds at most this share of 1F1B's activations; 0: what the memory leaves
  double eps;        // front: leave out what is within this share of another point in all four costs; 0: exact
} iso_layout_search_opts;
// All of 1 to `devices`: tensor up to two nodes, context up to 64 and 512 tokens, micro-batch up to 64, whole nodes, offload, nothing
// quantised, no building blocks, 1%.
iso_layout_search_opts iso_layout_search_opts_default(const iso_layout_machine *m, int64_t devices);

typedef struct iso_layout_point {
  iso_layout layout;
  double step_s, mem_b, usd, joule;  // usd and joule of a step; NaN as the machine's prices are
} iso_layout_point;

typedef enum iso_layout_goal { ISO_LAYOUT_FASTEST, ISO_LAYOUT_SMALLEST, ISO_LAYOUT_CHEAPEST, ISO_LAYOUT_COOLEST, ISO_LAYOUT_GOALS } iso_layout_goal;

typedef struct iso_layout_search {
  int64_t adapted, adapt_left;       // V_ADAPTIVE: layouts whose block was searched; those left, if one of them may be faster than the fastest
  int64_t tried, too_big, feasible;  // tried = too_big + feasible; layouts that are never better than a tried one are left out (see below)
  int64_t n;
  iso_layout_point *front;                  // owned, by step_s
  iso_layout_point best[ISO_LAYOUT_GOALS];  // exact, whatever eps is
  iso_layout_point leanest;                 // needs least memory, feasible or not
  double roomier_step_s;                    // fastest when devices had 10% more memory
} iso_layout_search;
// Runs through tensor x context x expert x pipeline x data x micro-batch x schedule and chunks x recomputation x ZeRO and
// what it splits inside nodes (ZeRO++, where the group spans several) x offload. Left out:
// tensor groups without sequence parallelism where that is possible (the same traffic, more memory), selective recomputation with flash
// attention and no latent one (nothing is kept that it would drop). ISO_EINVAL for options that make no sense; ISO_ENOMEM, with the bytes that are
// missing, when nothing fits. Close with iso_layout_search_close.
iso_status iso_layout_search_run(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout_search_opts *o,
                                 iso_layout_search *out, iso_err *err);
void iso_layout_search_close(iso_layout_search *s);

// The plan of `isoflop plan layout` as one object:
//   model, numbers, machine, calibration; best: {layout, memory, step, schedule_check} for the fastest; fastest/smallest/cheapest/coolest;
//   front: array of {layout, step_s, step_s_lo, step_s_hi, memory_bytes, usd, energy_j, mfu}; search: counts; binding: the part that takes
//   most of the fastest step, and whether memory binds; shadow: seconds of a step saved per GiB more per device and per device more;
//   run (tokens > 0): steps, seconds, usd, joules of a whole run of so many tokens with intervals.
// Errors as iso_layout_search_run. *out is owned by the caller.
iso_status iso_layout_plan_json(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout_search_opts *o,
                                double tokens, json_t **out, iso_err *err);
// One given layout: {layout, memory, fits, step, schedule_check}. Errors: a broken rule; what does not fit is said in `fits`, or with
// `must_fit` is ISO_ENOMEM.
iso_status iso_layout_cost_json(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout *l, bool must_fit,
                                json_t **out, iso_err *err);
// Parts of both: the machine; a run of so many tokens in steps like this one; and a step of so many seconds by each convention of counting
// FLOPs that papers use: mfu, mfu_full_attention, mfu_6n, hfu_full_attention, TFLOP/s a device.
json_t *iso_layout_machine_json(const iso_layout_machine *m);
json_t *iso_layout_run_json(const iso_layout_job *j, const iso_layout_step *s, double tokens);
json_t *iso_layout_rates_json(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout *l, double step_s);
#endif
