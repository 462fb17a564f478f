// An IsoFLOP sweep inside a share of the budget: several sizes, each at several budgets from one trunk.
#ifndef ISO_LOOP_SWEEP_H
#define ISO_LOOP_SWEEP_H
#include "loop/choose.h"
#include "plan/fit/isoflop_method.h"
#include "plan/transfer.h"

enum { ISO_SWEEP_SHAPES = 4, ISO_SWEEP_LEVELS = 3, ISO_SWEEP_POINTS = ISO_SWEEP_SHAPES * ISO_SWEEP_LEVELS };

// One size of the plan. Steps at which each level's branch ends; its decay is the recipe's share of that.
typedef struct iso_sweep_model {
  int ladder;  // index of the shape
  iso_model_config config;
  iso_train_opts opts;
  iso_train_price price;
  int64_t steps[ISO_SWEEP_LEVELS];
  double pass_s;   // predicted seconds of one pass of held-out windows
  double seconds;  // predicted, evaluation included
  iso_cost cost;
} iso_sweep_model;

// How a plan was made: with it the very same plan is made again, whatever is left of the budget.
typedef struct iso_sweep_key {
  double flop;       // of the largest level; 0: no key
  int64_t eval_tok;  // asked for
  int spread;
} iso_sweep_key;

typedef struct iso_sweep_plan {
  iso_sweep_key key;
  int n;
  iso_sweep_model model[ISO_SWEEP_SHAPES];
  double flop[ISO_SWEEP_LEVELS];  // 6 N D of each level
  int64_t eval_tok;               // held-out tokens that a branch is scored on
  int64_t full_tok;               // and that the first model is scored on once, to tell how hard that sample is; 0: not at all
  iso_cost cost;                  // of all
} iso_sweep_plan;

typedef struct iso_sweep_opts {
  double seconds, train_flop, peak_ram, tokens, moved;  // what the sweep may use
  double share;                                         // of the budget that these are, for advice
  iso_sweep_key key;                                    // of an interrupted sweep, or none
  int64_t vocab, ctx;
  uint64_t seed;
  double unique_tokens, val_tokens;
} iso_sweep_opts;

// Sizes around the law's optimum for the sweep's own budgets, priced on their graphs. ISO_EBUDGET when not even tiny runs fit.
iso_status iso_sweep_plan_make(iso_env *e, const iso_sweep_opts *o, const iso_loss_law *law, iso_sweep_plan *out, iso_err *err);

// A measured point.
typedef struct iso_sweep_point {
  double params, tokens, flop;  // flop = 6 N D, the convention of the fit
  double nats;                  // on the sample of held-out tokens
  double bpb;                   // corrected for how hard the sample is
  double seconds;
  int ladder, level;
} iso_sweep_point;
typedef struct iso_sweep_result {
  int n;
  iso_sweep_point p[ISO_SWEEP_POINTS];
  double step_s[ISO_SWEEP_SHAPES];
} iso_sweep_result;
// Runs what of the plan is not in *io yet; each model is metered, stored as a run of kind "sweep", and its step time teaches the
// environment's step model. Ends early, with a note, when the wall clock says so. `saved` is called after each model.
typedef void (*iso_sweep_saved_fn)(void *arg, const iso_sweep_result *r);
iso_status iso_sweep_run(iso_env *e, const iso_sweep_plan *p, const iso_sweep_opts *o, double deadline_s, iso_sweep_saved_fn saved, void *arg,
                         iso_sweep_result *io, iso_err *err);
json_t *iso_sweep_key_json(const iso_sweep_key *k);
iso_status iso_sweep_key_from_json(const json_t *j, iso_sweep_key *out, iso_err *err);
json_t *iso_sweep_json(const iso_sweep_result *r);
iso_status iso_sweep_from_json(const json_t *j, iso_sweep_result *out, iso_err *err);

// What the sweep says: the shipped law carried over to this text, which the planner asks; the Chinchilla form fitted to the sweep with the
// shipped one's as a weak prior, and the parabolas, beside it. All in bits per byte.
typedef struct iso_sweep_fit {
  iso_transfer transfer;
  iso_fit fit;
  bool has_parabolas;
  iso_parabolas parabolas;
  char parabolas_text[300];  // why there are none
} iso_sweep_fit;
iso_status iso_sweep_fit_run(iso_env *e, const iso_sweep_result *r, int64_t resamples, uint64_t seed, iso_sweep_fit *out, iso_err *err);
void iso_sweep_fit_close(iso_sweep_fit *f);
// The carried-over law as the planner's; f is borrowed.
iso_loss_law iso_sweep_law(const iso_sweep_fit *f);
#endif
