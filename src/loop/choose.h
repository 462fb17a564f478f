// Choosing a model for what is left of a budget: every shape is priced on its graph, the law predicts its loss, the best wins.
#ifndef ISO_LOOP_CHOOSE_H
#define ISO_LOOP_CHOOSE_H
#include "loop/env.h"
#include "loop/recipe.h"

// Loss in bits per byte that a law predicts for (params, tokens), with an interval.
typedef struct iso_loss_law {
  iso_est (*bpb)(const void *self, double params, double tokens);
  const void *self;
  const char *source;
} iso_loss_law;
iso_loss_law iso_loss_law_shipped(void);

typedef struct iso_choice {
  iso_model_config config;
  iso_train_opts opts;
  iso_train_price price;
  double step_s;       // predicted seconds a step
  double tokens;       // that the run will see
  int64_t more_steps;  // to be taken: all, or those that an interrupted run lacks
  iso_est bpb;         // predicted held-out bits per byte
  iso_cost cost;       // predicted, training alone
  double eval_s;       // predicted seconds of the final evaluation
  iso_res binding;     // what limits the run
  bool timed;          // that is the clock: wall, or what seconds use up
  double shadow;       // d bpb / d log(budget of the binding resource): what a doubling would bring, over ln 2
  char why[300];
} iso_choice;

typedef struct iso_choose_opts {
  double seconds;                       // wall seconds for training and evaluation together, +INFINITY: no limit
  double other_s;                       // seconds of that which export and report will need
  iso_res clock;                        // resource that limits the seconds
  double train_flop, tokens, peak_ram;  // limits left; +INFINITY none
  double moved, infer_flop, disk;       // the same
  int64_t vocab, ctx;
  double unique_tokens;  // of the training text
  double val_tokens;     // to evaluate at the end
  uint64_t seed;
  const iso_model_config *fixed;     // this shape, or NULL to search
  const iso_train_opts *fixed_opts;  // batch, rates and steps given by the user, or NULL
  double params_max;                 // the law is not asked beyond; +INFINITY
  int64_t done;                      // steps that an interrupted run has taken: the limits are for the others
} iso_choose_opts;

// ISO_EBUDGET with the least that would do when nothing fits.
iso_status iso_choose(iso_env *e, const iso_choose_opts *o, const iso_loss_law *law, iso_choice *out, iso_err *err);
// Prices one shape under the limits; out->tokens is what they allow. false: not even one step fits (out->why says what is short).
bool iso_choose_price(iso_env *e, const iso_choose_opts *o, const iso_model_config *c, const iso_loss_law *law, iso_choice *out);
// ISO_EBUDGET for a shape that iso_choose_price refused because of `why`, with the least of every limit that one step of it would need.
iso_status iso_choose_refuse(iso_env *e, const iso_choose_opts *o, const iso_loss_law *law, const iso_model_config *c, const char *why, iso_err *err);
json_t *iso_choice_json(const iso_choice *c);
// The limits that the rest of the budget sets for a run on the environment's data at a context of `ctx`, any shape.
iso_choose_opts iso_choose_limits(iso_env *e, double other_s, int64_t ctx, uint64_t seed);
// What the whole job will have cost: what it has cost up to now, `c`, its evaluation, and `last` wall seconds for the rest.
iso_cost iso_choice_whole(iso_env *e, const iso_choice *c, iso_est last);

// job.json: {"model": ..., "options": ...} and what was predicted. Reading takes the first two, as --config gives them; the choice is priced
// under the limits that are left, steps and rates stay as they are written. `asked` (borrowed, may be NULL): what the user fixed; `done`: steps
// that an interrupted run has taken, of `steps` that it was opened for (0: of those written).
iso_status iso_choice_save(iso_env *e, const char *out_dir, const iso_choice *c, const json_t *asked, iso_err *err);
iso_status iso_choice_from_json(iso_env *e, const json_t *j, const char *what, double other_s, const iso_loss_law *law, int64_t done, int64_t steps,
                                iso_choice *out, iso_err *err);
#endif
