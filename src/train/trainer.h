// The training loop: steps over a graph with gradients and updates, bounded in steps or by a clock.
#ifndef ISO_TRAIN_TRAINER_H
#define ISO_TRAIN_TRAINER_H
#include "model/model.h"
#include "train/optim.h"
#include "train/schedule.h"

// Everything that decides the result of a run bounded in steps, plus how it is executed.
typedef struct iso_train_opts {
  const char *optim, *schedule;  // plugin names
  double lr;                     // peak rate of AdamW's groups
  double muon_lr;                // peak rate of Muon's matrices; 0: lr
  double weight_decay, beta1, beta2, eps, momentum, clip;
  int ns_steps;        // Newton-Schulz iterations of Muon
  double lr_floor;     // last factor of the schedule
  int64_t batch, seq;  // sequences per step, tokens per sequence
  int64_t micro;       // sequences per micro-batch, divides batch; 0: batch
  int64_t steps;       // length of the run; with a deadline: the most that it may take
  int64_t warmup;      // steps of linear warm-up
  double decay;        // share of the run (of its steps, or of its time) spent decaying, for stable schedules
  uint64_t seed;
  int recompute;         // keep activations of every k-th layer only; 0 keeps all
  int recompute_layers;  // or: the first so many layers keep nothing but their input
  int recompute_cheap;   // 1: the others do not keep what takes no matrix product, either
  bool measure_gns;      // tell the gradient's length over the first micro-batch too; needs two of them
} iso_train_opts;
static inline iso_recompute iso_train_recompute(const iso_train_opts *o) {
  return (iso_recompute){o->recompute, o->recompute_layers, o->recompute_cheap != 0};
}
iso_train_opts iso_train_defaults(void);
json_t *iso_train_opts_json(const iso_train_opts *o);
// Unknown keys are errors; names are checked against the plugins and owned by them (static).
iso_status iso_train_opts_from_json(const json_t *j, iso_train_opts *out, iso_err *err);
iso_status iso_train_opts_check(const iso_train_opts *o, iso_err *err);

// Where training ids come from: fills inputs and targets [n, t] of windows first .. first + n - 1; targets < 0 do not count.
typedef iso_status (*iso_batch_fn)(void *arg, int64_t first_window, int64_t n, int64_t t, int32_t *inputs, int32_t *targets, iso_err *err);

// What a step did.
typedef struct iso_step_info {
  int64_t step;    // steps done, this one included
  int64_t tokens;  // tokens seen so far
  double loss;     // nats per token of this batch, before the update
  double grad_norm, lr;
  double step_s;
  // With measure_gns: squared length of the mean gradient of the first micro-batch, and the tokens counted in it and in the batch; NaN
  // without, and for a step in which either has none.
  double micro_sq, micro_tok, batch_tok;
  bool decaying;
} iso_step_info;
// Called after every step; anything but ISO_OK ends the run with that status.
typedef iso_status (*iso_step_fn)(void *arg, const iso_step_info *info, iso_err *err);

typedef struct iso_trainer iso_trainer;
// `m` is trained in place and borrowed. All memory is taken here.
iso_status iso_trainer_open(iso_ctx *c, iso_model *m, const iso_train_opts *o, iso_batch_fn batch, void *batch_arg, iso_trainer **out, iso_err *err);
void iso_trainer_close(iso_trainer *t);
// Clock time (iso_now_s) by which the last step, fully decayed, must be done; +INFINITY: steps alone bound the run.
// The schedule then follows the clock: decay starts when its share of the time is left, and ends in time.
void iso_trainer_deadline(iso_trainer *t, double deadline_s);
// Decides, at the stable rate, that the run ends `steps` steps from here: decay begins at once. At most the opened length.
void iso_trainer_end_in(iso_trainer *t, int64_t steps);
// Repeats a run bit for bit: factor[n] of each step as iso_trainer_factors told; borrowed for the life of the trainer.
void iso_trainer_replay(iso_trainer *t, const double *factor, int64_t n);
// The schedule's factor at each step so far.
const double *iso_trainer_factors(const iso_trainer *t, int64_t *n);
// Trains to the end of the schedule. ISO_ECANCEL when the context is cancelled (the state is whole: save it), ISO_ENUM on NaN or divergence.
iso_status iso_trainer_run(iso_trainer *t, iso_step_fn on_step, void *arg, iso_err *err);
// Trains `steps` steps at the stable rate (after warm-up), without decay: the trunk of several runs (arXiv 2405.18392).
iso_status iso_trainer_trunk(iso_trainer *t, int64_t steps, iso_step_fn on_step, void *arg, iso_err *err);
// Trains `steps` steps of decay from here.
iso_status iso_trainer_branch(iso_trainer *t, int64_t steps, iso_step_fn on_step, void *arg, iso_err *err);
int64_t iso_trainer_step(const iso_trainer *t);
int64_t iso_trainer_tokens(const iso_trainer *t);
// Smoothed seconds a step, NaN before the second one.
double iso_trainer_step_s(const iso_trainer *t);
iso_exec *iso_trainer_exec(iso_trainer *t);
const iso_train_opts *iso_trainer_opts(const iso_trainer *t);

// A copy of weights, optimizer state and position, to come back to. Bytes = iso_snapshot_bytes.
typedef struct iso_snapshot iso_snapshot;
iso_status iso_snapshot_take(iso_trainer *t, iso_snapshot **out, iso_err *err);
void iso_snapshot_restore(iso_trainer *t, const iso_snapshot *s);
void iso_snapshot_close(iso_snapshot *s);

// ---- checkpoints (checkpoint.c) -------------------------------------------------------------------------------------
// One safetensors file: weights and optimizer states by canonical path, position, schedule and options as metadata, plus `extra` (the
// caller's own JSON). Atomic: a killed process leaves the old file.
iso_status iso_trainer_save(iso_trainer *t, const char *path, const json_t *extra, iso_err *err);
// Continues bit for bit; the options must be those of the checkpoint. *extra (may be NULL) is owned by the caller.
iso_status iso_trainer_load(iso_trainer *t, const char *path, json_t **extra, iso_err *err);

// ---- price (price.c) ------------------------------------------------------------------------------------------------
typedef struct iso_train_price {
  double model_flop_step;  // matrix products of a step, forward and backward, recomputation left out
  double exec_flop_step;   // with recomputation and optimizer
  double update_flop, update_b;
  double bytes_step;  // moved if nothing stays in caches
  int64_t mem_b;      // what a trainer allocates, weights included
  int64_t params;
  int64_t calls_step;  // kernel launches
} iso_train_price;
// From the graph alone; nothing is allocated for the model.
iso_status iso_train_price_of(const iso_model_config *c, const iso_train_opts *o, const iso_kern_table *kern, int threads, iso_train_price *out,
                              iso_err *err);

// ---- shared with checkpoint.c ---------------------------------------------------------------------------------------
typedef struct iso_train_state {
  int64_t step, window, tokens;
  double decay_p;  // progress of decay, negative before it starts
  double loss_ema, loss_best;
  int64_t end;  // step after which the run is over
} iso_train_state;
iso_train_state *iso_trainer_state(iso_trainer *t);
iso_graph *iso_trainer_graph(iso_trainer *t);
iso_model *iso_trainer_model(iso_trainer *t);
iso_status iso_trainer_set_factors(iso_trainer *t, const double *f, int64_t n, iso_err *err);
#endif
