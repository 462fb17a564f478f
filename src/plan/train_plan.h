// A training run on a cluster: size, tokens and layout that a budget in any resources buys, by a scaling law and the layout planner.
#ifndef ISO_PLAN_TRAIN_PLAN_H
#define ISO_PLAN_TRAIN_PLAN_H
#include "cost/budget.h"
#include "plan/law_between.h"
#include "plan/layout/layout_search.h"

typedef struct iso_train_req {
  const iso_law *law;           // splits a budget between parameters and tokens
  const iso_law_const *set;     // confirmed; the law's other confirmed sets of the same runs (iso_law_same_runs) give the intervals
  double x[ISO_LAW_INPUT_MAX];  // its other inputs; those of parameters and tokens are not read
  iso_budget budget;            // limits on train_flop (as the law counts), wall, energy, co2, usd and tok
  const iso_layout_machine *machine;
  const iso_layout_cal *cal;
  const iso_device *device;   // its measured tables are used; NULL: none
  int64_t devices;            // there are so many; a budget in dollars, joules or grams may be best spent on fewer
  int64_t vocab, seq, batch;  // of the shapes (iso_layout_shape_family); sequences per step
  double g_per_kwh;           // of the grid, at the meter
  double unique_tok;          // tokens there are; +INFINITY: enough
} iso_train_req;

// What bounds a run: these resources grow with the tokens trained on.
enum { ISO_TRAIN_LIMITS = 6 };
iso_res iso_train_limit(int i);
// Tokens that the limits leave when one costs so much of each; +INFINITY without limits, 0 when the cost of a limited resource is unknown.
double iso_train_tokens_of(const iso_budget *b, const double *per_tok);
// The loss of a set at `tokens`, the other inputs as in x; the interval spans its law's confirmed sets of the same runs, the 90% interval of
// its own constants where their uncertainty is published, and the tokens' interval. *sets (may be NULL) gets how many they are.
iso_est iso_train_loss(const iso_law *law, const iso_law_const *set, const double *x, double params, iso_est tokens, int *sets);

// Another size that reaches the plan's loss.
typedef struct iso_train_other {
  double params, tokens, flop;
  double wall_s, usd, joule;  // NaN when the cluster's memory does not hold it
} iso_train_other;
enum { ISO_TRAIN_OTHERS_MAX = 9 };

typedef struct iso_train_plan {
  // The optimum of the continuous problem: costs per token of any size are interpolated among layout searches at every half octave.
  iso_law_point ideal;
  iso_law_point closed;                               // the law's closed form at ideal.flop; params 0 when there is none
  double params_lo, params_hi, tokens_lo, tokens_hi;  // over those sets
  // The plan: a shape near it, and the tokens that it trains on.
  iso_layout_shape shape;
  iso_layout_job job;
  double params;   // of the shape
  iso_est tokens;  // an interval when time, dollars, energy or carbon bind
  double steps;
  iso_est loss;  // by the set; over those sets and the interval of tokens
  int sets;      // how many they are
  // Where published dense laws leave such a run (law_between.h), at the tokens' ends; NaN for laws of another target. It is the interval of
  // `loss` too (`loss_is_between`) when neither other sets nor published uncertainty give one.
  iso_fit_interval between;
  int between_laws;
  bool loss_is_between;
  iso_layout layout;
  iso_layout_step step;
  iso_layout_mem memory;
  iso_est use[ISO_TRAIN_LIMITS];    // of each limit's resource
  iso_res binding;                  // the limit with the largest effect on the loss
  bool memory_binds;                // a model half an octave larger does not fit the cluster
  double shadow[ISO_TRAIN_LIMITS];  // d loss / d ln limit, by solving again with 1% more and less; 0 for what does not bind
  double shadow_closed;             // of all limits together: d loss / d ln D at fixed N, their sum by the envelope theorem
  double reach;                     // how far outside what the set's fit saw; `worst` the input, -1 inside
  int worst;
  // Repeated data (Muennighoff et al. 2023, arXiv:2305.16264): tokens / unique_tok epochs are worth effective_tok of fresh ones.
  double epochs, effective_tok, loss_effective;
  iso_train_other other[ISO_TRAIN_OTHERS_MAX];  // by size; the plan's own among them
  int others;
} iso_train_plan;

// ISO_EINVAL for a law without a budget or no limit but tokens; ISO_EUNSUP for a set that is not confirmed; ISO_EBUDGET when the budget does
// not pay for one step of the smallest model; ISO_ENOMEM, with the bytes, when no model fits the cluster.
iso_status iso_train_plan_run(const iso_train_req *q, iso_train_plan *out, iso_err *err);

// Fresh tokens that `tokens` drawn from `unique` ones are worth: U + U R* (1 - exp(-R / R*)), R = D / U - 1, R* = 15.387756 (as there).
double iso_train_effective_tok(double tokens, double unique);
#endif
