// Private to layout*.c: the cost of a step in the pieces that a search computes once and combines often.
#ifndef ISO_PLAN_LAYOUT_IMPL_H
#define ISO_PLAN_LAYOUT_IMPL_H
#include "plan/layout/layout_sim.h"

typedef struct iso_lay_ctx {
  const iso_layout_job *job;
  const iso_layout_machine *mach;
  const double *cal;
  iso_layout_counts n;
  iso_num num;                               // class of 16-bit products
  bool gemm, prefill, coll[ISO_COLL_COUNT];  // tables that there are
} iso_lay_ctx;

// Seconds at full link rates, for the rooflines.
typedef struct iso_lay_raw {
  double intra, inter;
  bool table;  // the time beside it is from a table
} iso_lay_raw;

// Seconds of products in the three passes: forward, to inputs, to weights.
typedef struct iso_lay_mats {
  double f, b, w;
} iso_lay_mats;

// One block on one device for one micro-batch; depends on tensor, context, expert, micro_batch, seq_parallel and recompute.
typedef struct iso_lay_block {
  double f, b, w;                               // seconds, all included: forward, backward to inputs (and recomputation), to weights
  double gpu, launch, tensor, context, expert;  // parts of f + b + w
  double pair;                                  // of f + b + w, when what goes to experts in one pass hides behind the other (DualPipe)
  double free_bwd;                              // of gpu + launch, after the forward pass: links are idle
  double head;                                  // output layer and loss, once per micro-batch on the last stage
  double flop, head_flop;                       // executed, by this device
  double flop_s;                                // seconds of flop at full rates
  double mem_b, head_mem_b;                     // moved
  iso_lay_raw raw;
  double hop_b;  // bytes a device sends to the next stage
  bool table_attention;
} iso_lay_block;

// What does not depend on the micro-batch: tensor, pipeline, data, context, expert, zero and what it splits over, offload, and whether the
// schedule is folded like a V.
typedef struct iso_lay_data {
  double once_s, micro_s;  // data-parallel collectives per step and per micro-batch, not yet hidden
  double optim_s, offload_s, optim_mem_b;
  iso_lay_raw once, micro;
  double hop_lat_s, hop_b_s;  // to the next stage
  double hop_raw_b_s;
  bool hop_inter;
  double straggle;                                       // factor of the whole step
  double weights_b, grads_b, optim_b, host_b, gather_b;  // memory
} iso_lay_data;

// The parts of a step that add up to it.
typedef struct iso_lay_parts {
  double compute, launch, head, tensor, context, expert, bubble, p2p, data, optim, offload, fixed, straggler, contention;
  double total, flop_roof, mem_roof, intra_roof, inter_roof, roof;
} iso_lay_parts;

// ISO_EUNSUP when the job has fp8 products and the machine none.
iso_status iso_lay_fp8(const iso_layout_job *j, const iso_layout_machine *m, iso_err *err);
void iso_lay_open(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, iso_lay_ctx *out);
void iso_lay_block_cost(const iso_lay_ctx *x, const iso_layout *l, iso_lay_block *out);
void iso_lay_data_cost(const iso_lay_ctx *x, const iso_layout *l, iso_lay_data *out);
void iso_lay_combine(const iso_lay_ctx *x, const iso_layout *l, const iso_lay_block *k, const iso_lay_data *d, iso_lay_parts *out);
// The same with a pipeline that takes `span_s`, `still_s` if hops took no time. iso_lay_combine has no closed form for V_ADAPTIVE and leaves
// its waits out: a bound from below.
void iso_lay_combine_replayed(const iso_lay_ctx *x, const iso_layout *l, const iso_lay_block *k, const iso_lay_data *d, double span_s, double still_s,
                              iso_lay_parts *out);
// The times of a layout's pipeline, with and without what a caller has computed already. *times is owned by the caller.
iso_status iso_lay_pipe(const iso_lay_ctx *x, const iso_layout *l, const iso_lay_block *k, const iso_lay_data *d, double **times,
                        iso_layout_pipe *out, iso_err *err);
iso_status iso_lay_pipe_open(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout *l, double **times,
                             iso_layout_pipe *out, iso_err *err);
iso_status iso_lay_replay(const iso_layout_pipe *p, double *span_s, double *still_s, iso_err *err);
double iso_lay_joule(const iso_lay_ctx *x, int64_t devices, const iso_lay_parts *p);
double iso_lay_usd(const iso_lay_ctx *x, int64_t devices, const iso_lay_parts *p);
// Activations of the stage that needs most; static bytes come from iso_lay_data.
void iso_lay_act(const iso_layout_job *j, const iso_layout *l, double *act_b, double *work_b);
// Parameters of the fullest device of a pipeline and its tensor group, outside and inside experts.
void iso_lay_stage_params(const iso_layout_job *j, const iso_layout_counts *n, const iso_layout *l, double *dense, double *expert);
// The bubble of a V whose first device, with both ends of the model, works `extra_s` a step longer than the others.
double iso_lay_bubble_ends(iso_layout_sched s, int64_t p, int64_t m, double f, double b, double w, double extra_s);
// GPipe's or 1F1B's bubble in seconds beyond m micro-batches of the slowest stage: `per` blocks a stage, one less in the last, which has the head,
// and in the first spare - 1 (spare >= 1).
double iso_lay_bubble_uneven(iso_layout_sched s, int64_t p, int64_t m, double per, int spare, const iso_lay_block *k);
// Ranks that a local split takes of those that share a parameter, `expert` of which hold other experts; 1 without local splits.
double iso_lay_local(const iso_layout *l, double expert);
// Whether norms and what latent vectors become are computed again for the backward pass, and not kept.
bool iso_lay_latent_again(const iso_layout_job *j, const iso_layout *l);
// Copies of a stage's parameters in one pipeline: DualPipe has two.
double iso_lay_copies(const iso_layout *l);
// In how many parts something is split that ZeRO splits from stage `from` on.
double iso_lay_ways(const iso_layout *l, int from, iso_layout_split over, double expert);
// Memory that the weights of a device take, and the rest of iso_lay_data's bytes; no calibration needed.
void iso_lay_static(const iso_layout_job *j, const iso_layout_counts *n, const iso_layout *l, iso_lay_data *out);

// layout_table.c: times from job.tables; false when there is no table for them.
void iso_lay_tables(iso_lay_ctx *x);
bool iso_lay_table_block(const iso_lay_ctx *x, const iso_layout *l, double tok, iso_lay_mats *out);
bool iso_lay_table_head(const iso_lay_ctx *x, double tok, double t, double *out);
// The forward pass of flash attention of a device's heads and queries.
bool iso_lay_table_attention(const iso_lay_ctx *x, const iso_layout *l, double *out);
// `calls` collectives among n devices inside a node that share `bytes`: sweeps 1: a gather, 2: an all-reduce.
bool iso_lay_table_ring(const iso_lay_ctx *x, double n, double bytes, double sweeps, double calls, double *out);
#endif
