// The cost of a training step under a parallel layout: parameters, FLOPs, memory per device and seconds, all in closed form.
#ifndef ISO_PLAN_LAYOUT_H
#define ISO_PLAN_LAYOUT_H
#include "plan/device/device.h"

// ---- The model: one token stream of `seq` tokens through `layers` equal blocks.
typedef struct iso_layout_shape {
  char name[40];
  int64_t layers, width, heads, kv_heads, head_dim, mlp, vocab, seq;
  int64_t experts, experts_used;  // 0, 0: dense; else experts per layer, each of hidden width `mlp`, and how many a token uses
  // Of models with experts: shared ones that every token uses, and first layers that have one MLP of width `dense_mlp` instead.
  int64_t shared, dense_layers, dense_mlp;
  // 0, 0: a token's experts may be anywhere; else experts lie in so many groups (of nodes, when they are cut that way), and a token's in at
  // most so many of them (node-limited routing, arXiv:2412.19437).
  int64_t groups, groups_used;
  // 0, ...: heads have their own keys and values. Else latent attention (MLA, arXiv:2405.04434): ranks of the queries' (0: none) and of the
  // keys' and values' latent vectors, the part of head_dim that is rotated and shared by all heads' keys, and the channels of a value.
  int64_t q_rank, kv_rank, rope, v_dim;
  int64_t mtp;       // modules that predict further tokens in training: a block, 2 width x width and the head once more, each
  bool gated;        // three MLP matrices instead of two
  bool tied;         // the head is the embedding
  bool bias;         // linear layers have biases and norms are LayerNorms (two vectors), as in GPT-2; else one vector per norm
  bool learned_pos;  // seq x width position embeddings
} iso_layout_shape;

// GPT-3's form: kv_heads = heads, head_dim = width / heads, mlp = 4 width, tied, biases, learned positions.
iso_layout_shape iso_layout_shape_gpt(const char *name, int64_t layers, int64_t width, int64_t heads, int64_t vocab, int64_t seq);
// A published model's shape (layout_models.def) for sequences of `seq`; ISO_EINVAL when the name is unknown.
iso_status iso_layout_shape_named(const char *name, int64_t seq, iso_layout_shape *out, iso_err *err);
// The i-th name and, if asked for, its source; NULL past the last.
const char *iso_layout_model_name(int i, const char **source);
// The shape that a published family gives a model of about so many parameters: SwiGLU, RMSNorm, heads of 64 (128 above width 1024), 8 KV
// heads from width 4096 on, width / layers near 128, tied head below 4e9 (LLaMA, Llama 2 and 3). ISO_EINVAL when the vocabulary alone is
// larger.
iso_status iso_layout_shape_family(double params, int64_t vocab, int64_t seq, iso_layout_shape *out, iso_err *err);
// ISO_EINVAL names the field that is not positive, does not divide, or is too large for exact counts.
iso_status iso_layout_shape_check(const iso_layout_shape *s, iso_err *err);

typedef struct iso_layout_counts {
  int64_t params;                     // all but those of `mtp`; the head once when it is tied
  int64_t active_params;              // those that one token uses
  int64_t mtp_params;                 // of all further predictions' modules; embedding and head are shared
  int64_t layer_dense, layer_expert;  // parameters of a block outside and inside its experts (a dense MLP and shared experts are outside)
  int64_t first_dense;                // parameters of one of the first `dense_layers` blocks
  int64_t layer_matmul;               // matrix parameters of a block that one token uses: 2 FLOPs each
  int64_t latent_matmul;              // of these, those that make queries, keys and values out of latent vectors
  int64_t embed, head, norm;          // token and position embeddings; an untied head's own matrix; the last norm
  int64_t kv_per_tok;                 // elements that decoding keeps of a token, over all layers
  int64_t layer_flop_tok;             // forward FLOPs of a block's matrices per token
  int64_t head_flop_tok;              // forward FLOPs of the head per token, 2 width vocab
  double layer_attn_flop_seq;         // forward FLOPs of a block's scores and mixing per sequence, causal pairs seq (seq + 1) / 2
} iso_layout_counts;
void iso_layout_count(const iso_layout_shape *s, iso_layout_counts *out);
// Channels of all heads' queries, keys, values and results, and of the latent vectors with the rotated key.
typedef struct iso_layout_channels {
  int64_t q, k, v, out, latent;
} iso_layout_channels;
iso_layout_channels iso_layout_channels_of(const iso_layout_shape *s);

// How attention counts: causal pairs (docs/notation.md), every pair (Megatron-LM, PaLM), or not at all and embeddings do (6 N per token).
typedef enum iso_layout_attn { ISO_LAYOUT_ATTN_CAUSAL, ISO_LAYOUT_ATTN_FULL, ISO_LAYOUT_ATTN_6N } iso_layout_attn;
typedef enum iso_layout_recompute { ISO_LAYOUT_KEEP, ISO_LAYOUT_SELECTIVE, ISO_LAYOUT_FULL } iso_layout_recompute;

// FLOPs of a training step of `sequences`: forward and backward, no recomputation. 72 B s l h^2 (1 + s/6h + V/12lh) for GPT shapes with
// every pair (Narayanan et al. 2021, arXiv:2104.04473, without their recomputation).
double iso_layout_model_flop(const iso_layout_shape *s, double sequences, iso_layout_attn attn);
// The same and what is computed again: attention scores (selective; with latent attention queries, keys and values instead) or the blocks'
// forward pass (full: 96 B s l h^2 (1 + s/6h + V/16lh)).
double iso_layout_hardware_flop(const iso_layout_shape *s, double sequences, iso_layout_recompute r, iso_layout_attn attn);

// ---- The job: shape, batch, numbers and kernels of the software stack.
typedef struct iso_layout_job {
  iso_layout_shape shape;
  int64_t batch;                                  // sequences per optimizer step
  double weight_b, grad_b, grad_comm_b, optim_b;  // bytes per parameter: weight, gradient in memory, gradient on the wire, optimizer state
  bool flash;                                     // attention keeps no seq x seq scores and skips the masked half
  bool dropout;                                   // masks are kept for the backward pass
  // Products of the blocks in fp8, their inputs kept and sent to experts in fp8; router, head and attention stay at 16 bits, and so do
  // experts' results on their way back (arXiv:2412.19437). Set weight_b and optim_b to match: iso_layout_job_fp8.
  bool fp8;
  // Borrowed, NULL: none. Where this device has measured tables, their times stand for the model's shares of peak and links: GEMMs of the
  // block's and the head's shapes, flash attention's forward pass, collectives inside a node at sizes that were measured.
  const iso_device *tables;
} iso_layout_job;
// Sets job.tables to the device, unless it carries a layout calibration: one of whole steps says more than tables of operators.
void iso_layout_job_use(iso_layout_job *j, const iso_device *d);
// 2, 4, 2 and 12 bytes (mixed-precision Adam: fp32 master, two moments); no flash attention, dropout.
iso_layout_job iso_layout_job_default(void);
// fp8 with a copy of the weights of 1 byte beside the optimizer's fp32 ones.
void iso_layout_job_fp8(iso_layout_job *j);

// ---- The machine: per device, SI units; links in one direction. Unknown prices and powers are NaN and so are the costs from them.
typedef struct iso_layout_machine {
  char name[40];
  double peak_flop_s, mem_b, mem_b_s;
  double peak8_flop_s;                        // of fp8 products; NaN or 0: there are none
  double intra_b_s, intra_lat_s;              // between devices of a node
  double inter_b_s, inter_lat_s;              // a device's share of its node's network
  double host_b_s, host_mem_b, host_mem_b_s;  // link to the host; a device's share of host memory and of its bandwidth (offload)
  int64_t per_node;
  double idle_w, max_w, pue;  // power of a device with its share of the node
  double usd_h;               // price of a device-hour
} iso_layout_machine;
// A machine of such devices (src/plan/device): 16-bit peak, links, host and power of the descriptor, estimates where it lacks them
// (iso_device_spec_complete), pue 1.1. The host's share of power is drawn all the time. ISO_EUNSUP without any 16-bit or wider peak.
iso_status iso_layout_machine_from(const iso_device_spec *s, iso_layout_machine *out, iso_err *err);
iso_status iso_layout_machine_from_device(const iso_device *d, iso_layout_machine *out, iso_err *err);
iso_status iso_layout_machine_check(const iso_layout_machine *m, iso_err *err);

// ---- The layout. Ranks are numbered tensor first, then context, data, pipeline, so tensor groups are neighbours.
typedef enum iso_layout_sched {
  ISO_LAYOUT_GPIPE,        // all forward, then all backward (Huang et al. 2019)
  ISO_LAYOUT_1F1B,         // one forward, one backward (PipeDream-flush, Megatron-LM)
  ISO_LAYOUT_INTERLEAVED,  // 1F1B over `chunks` model chunks a device (arXiv:2104.04473)
  ISO_LAYOUT_ZB_H1,        // zero bubble with 1F1B's memory (arXiv:2401.10241)
  ISO_LAYOUT_ZB_H2,        // zero bubble with (2p - 1) / p of it
  // Two chunks a device, the model folded like a V: device i has stages i and 2p - 1 - i, so the first has both ends (arXiv:2405.15362).
  ISO_LAYOUT_ZB_V,    // zero bubble with 1F1B's memory
  ISO_LAYOUT_V_HALF,  // half of 1F1B's bubble and memory
  ISO_LAYOUT_V_MIN,   // a third of its memory
  // Micro-batches enter at both ends, so that device i has stages i and p - 1 - i (weights twice) and a forward pass of one direction hides
  // what a backward pass of the other sends to experts, and the reverse (arXiv:2412.19437).
  ISO_LAYOUT_DUALPIPE,
  // The building block of such schedules that waits least in a given memory (layout_adapt.h).
  ISO_LAYOUT_V_ADAPTIVE,
  ISO_LAYOUT_SCHEDS
} iso_layout_sched;

// What may go first on a device when its building block has been repeated.
typedef enum iso_layout_order {
  ISO_LAYOUT_ORDER_SLOTS,  // the order that fills bubbles when every task takes one slot
  ISO_LAYOUT_ORDER_READY   // by the tasks' own times what is ready, weight gradients when nothing else is
} iso_layout_order;
// V_ADAPTIVE: a building block (layout_block.h) and how its repetitions are ordered.
typedef struct iso_layout_weave {
  int32_t held;           // chunks whose activations a device holds at most; 0: none chosen
  int32_t cut;            // the first devices, whose steps are down[0] and up[0]; the others' are down[1] and up[1]
  int8_t down[2], up[2];  // slots from one device to the next
  int8_t turn[3];         // slots from the end of one way through the devices to the start of the next
  uint8_t order;          // iso_layout_order
} iso_layout_weave;

// Over which ranks of data x context ZeRO splits what its stage splits (Xu et al. 2025, arXiv:2501.04266).
typedef enum iso_layout_split {
  ISO_LAYOUT_SPLIT_ALL,    // over all of them
  ISO_LAYOUT_SPLIT_LOCAL,  // over `local` neighbours, each such group with a copy of all
  ISO_LAYOUT_SPLIT_HPZ     // weights alone: over all, and once more over `local` neighbours for the backward pass (ZeRO++, arXiv:2306.10209)
} iso_layout_split;

typedef struct iso_layout {
  int64_t tensor, pipeline, data, context, expert;  // devices = tensor x pipeline x data x context; expert groups are cut from data x context
  int64_t micro_batch, chunks;                      // sequences; model chunks a device (INTERLEAVED: 2 or more, V: 2, else 1)
  iso_layout_sched schedule;
  iso_layout_weave weave;  // V_ADAPTIVE alone
  iso_layout_recompute recompute;
  int zero;       // 0: copies; 1: optimizer state, 2: and gradients, 3: and weights are split over data x context (ZeRO, arXiv:1910.02054)
  int64_t local;  // neighbours of a local split, those of a node as a rule; 0: no local splits
  iso_layout_split weights_over, grads_over, states_over;
  bool quantised;     // ZeRO-3's weights travel between local groups as int8 (qwZ) and gradients as int4 by all-to-alls in two hops (qgZ)
  bool seq_parallel;  // norms and dropout split over the tensor group (arXiv:2205.05198)
  bool offload;       // optimizer state and update on the host
} iso_layout;
// One device, micro-batch 1, 1F1B, everything else off.
iso_layout iso_layout_default(void);
int64_t iso_layout_devices(const iso_layout *l);
int64_t iso_layout_micro_batches(const iso_layout_job *j, const iso_layout *l);
const char *iso_layout_sched_name(iso_layout_sched s);
bool iso_layout_sched_v(iso_layout_sched s);                    // folded like a V
bool iso_layout_sched_splits(iso_layout_sched s);               // weight gradients are tasks of their own
int64_t iso_layout_sched_least(iso_layout_sched s, int64_t p);  // micro-batches that it needs on p stages
const char *iso_layout_recompute_name(iso_layout_recompute r);
const char *iso_layout_split_name(iso_layout_split s);
// Blocks of the fullest stage. When layers (and mtp) do not divide by pipeline x chunks, *spare stages have one block less: the last, which has the
// head in its place, as in Llama 3, then the first, with the embedding, and others from the front, where most micro-batches are held. More than two
// with GPipe and 1F1B alone. 0, and *spare (may be NULL) 0, when that is not possible, or would leave stages without a block.
int64_t iso_layout_stage_layers(const iso_layout_shape *s, const iso_layout *l, int *spare);
// Blocks of one stage, 0 to pipeline x chunks - 1 in the model's order, of a layout that iso_layout_check accepts.
int64_t iso_layout_stage_blocks(const iso_layout_shape *s, const iso_layout *l, int64_t stage);
// ISO_EINVAL names the first rule that is broken.
iso_status iso_layout_check(const iso_layout_job *j, const iso_layout *l, iso_err *err);

// ---- Memory per device, of the stage that needs most (Korthikanti et al. 2022, arXiv:2205.05198).
typedef struct iso_layout_mem {
  double weights_b, grads_b, optim_b;
  double act_b;    // of all micro-batches in flight: per block s b h (34 + 5 a s / h) bytes and its parallel forms
  double work_b;   // one block while it is recomputed, and the logits with their gradient on a last stage
  double total_b;  // the sum of the above
  double host_b;   // optimizer state kept by the host
} iso_layout_mem;
// Bytes that one block keeps for one micro-batch.
double iso_layout_act_layer_b(const iso_layout_job *j, const iso_layout *l);
// Micro-batches' worth of a stage's blocks that are in flight at most, e.g. p for 1F1B, p (1 + (p - 1) / (p v)) for interleaved.
double iso_layout_in_flight(const iso_layout *l, int64_t micro_batches);
void iso_layout_memory(const iso_layout_job *j, const iso_layout *l, iso_layout_mem *out);
// ISO_ENOMEM with the bytes that are needed, those that there are, and the part that needs most.
iso_status iso_layout_fits(const iso_layout_machine *m, const iso_layout_mem *mem, iso_err *err);

// ---- Calibration: layout_cal.def.
typedef enum iso_layout_cal_id {
#define X(name, kind, start, spread, unit, help) ISO_LAYOUT_CAL_##name,
#include "plan/layout/layout_cal.def"
#undef X
  ISO_LAYOUT_CALS
} iso_layout_cal_id;
typedef struct iso_layout_cal {
  double v[ISO_LAYOUT_CALS];
  double resid_sd;  // of log seconds, on layouts of model sizes that the fit had not seen; NaN when unknown
  char source[96];
} iso_layout_cal;
// Fitted to measured multi-node A100 steps (docs/decisions.md).
iso_layout_cal iso_layout_cal_default(void);
// Where fits start and what they are held to: round values between datasheet and common practice.
iso_layout_cal iso_layout_cal_start(void);
// What a software stack is good or bad at: the logits of the shares of products, memory and optimizer move by the first number, those of the
// links by the second; seconds per kernel and launch are divided by exp of the first, latencies by exp of the second (iso_layout_fit_stack).
typedef enum iso_layout_shift_id { ISO_LAYOUT_ARITHMETIC, ISO_LAYOUT_COMMUNICATION, ISO_LAYOUT_SHIFTS } iso_layout_shift_id;
iso_layout_cal iso_layout_cal_shift(const iso_layout_cal *c, const double z[ISO_LAYOUT_SHIFTS]);
// Shares in (0,1), the rest non-negative and finite.
iso_status iso_layout_cal_check(const iso_layout_cal *c, iso_err *err);
const char *iso_layout_cal_name(int id);
json_t *iso_layout_cal_json(const iso_layout_cal *c);
// ISO_EFORMAT names the key: all numbers must be there and pass iso_layout_cal_check.
iso_status iso_layout_cal_from_json(const json_t *j, const char *what, iso_layout_cal *out, iso_err *err);
// The one that `isoflop hw fit` left with the device, else the default. ISO_EFORMAT as above.
iso_status iso_layout_cal_of_device(const iso_device *d, iso_layout_cal *out, iso_err *err);

// ---- A step.
typedef struct iso_layout_step {
  int64_t devices, micro_batches;
  // Seconds; these parts add up to step_s. Those of blocks are of the slowest stage.
  double compute_s;                      // device work of the blocks
  double launch_s;                       // waiting for the host to launch it
  double head_s;                         // output layer and loss on the last stage
  double tensor_s, context_s, expert_s;  // collectives inside blocks, not hidden
  double bubble_s, p2p_s;
  double data_s;  // data-parallel collectives, not hidden
  double optim_s, offload_s, straggler_s, fixed_s;
  double contention_s;        // what is missing to the rooflines: hidden traffic that shares a link
  double step_s, lo_s, hi_s;  // 90% interval by the calibration's spread
  double tok_s;
  double model_flop, model_flop_full, exec_flop;  // of the step: causal pairs, every pair, and what the devices execute
  double mfu, mfu_full, hfu;                      // over devices x peak x step_s
  // No layout is faster than these (seconds of a device at its full rates); roofline_s is the largest.
  double flop_roof_s, mem_roof_s, intra_roof_s, inter_roof_s, roofline_s;
  double usd, joule;                                  // of the step, with pue
  const char *bound;                                  // name of the largest part
  bool table_matrices, table_attention, table_links;  // came from job.tables; links: some of them
} iso_layout_step;
// Checks the layout, not the memory. Everything is a closed form; layout_sim.h replays the schedule.
iso_status iso_layout_step_cost(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout *l,
                                iso_layout_step *out, iso_err *err);

// Closed forms of the schedules for equal stages: seconds of forward f, backward b (to the inputs) and w (to the weights) of one
// micro-batch on one device, p stages, m micro-batches, v chunks, hop seconds c between stages.
// Span of the busiest device from its first task to its last, minus m (f + b + w). m: at least iso_layout_sched_least.
double iso_layout_bubble(iso_layout_sched s, int64_t p, int64_t m, int64_t v, double f, double b, double w);
// DualPipe when a pass each way takes `pair` seconds together: (p/2 - 1)(pair + (b + w) - 3 w) beside (m - p) pairs and p single passes each.
double iso_layout_bubble_dual(int64_t p, double pair, double b, double w);
// Schedules folded like a V: the longest of the paths that layout_paths.def lists; f <= b. DualPipe: nothing overlaps. NaN for V_ADAPTIVE,
// whose steps are replayed.
// Seconds that hops of `hop_s` between stages add to the span: exact while a hop is short beside a chunk's forward pass.
double iso_layout_hops_s(iso_layout_sched s, int64_t p, int64_t m, int64_t v, double f, double b, double w, double hop_s);

json_t *iso_layout_json(const iso_layout *l);
json_t *iso_layout_numbers_json(const iso_layout_job *j);  // bytes per parameter, and the class of products
json_t *iso_layout_mem_json(const iso_layout_mem *m);
// Numbers of o, or below it, that follow from the time of the step become intervals: times, dollars, joules, rates, utilisation.
void iso_layout_ranges(json_t *o, const iso_layout_step *s);
json_t *iso_layout_step_json(const iso_layout_step *s);
json_t *iso_layout_shape_json(const iso_layout_shape *s);
#endif
