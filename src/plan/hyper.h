// Hyperparameters by scaling laws: every registered law of the learning rate, the batch, the weight decay, asked for one run.
#ifndef ISO_PLAN_HYPER_H
#define ISO_PLAN_HYPER_H
#include "cost/budget.h"
#include "plan/law.h"

// What is known of the run; NaN is not known. Laws name their inputs params, tokens, train_flop, batch_tokens, lr, loss.
typedef struct iso_hyper_run {
  double params, tokens, train_flop, batch_tok, lr, loss;
} iso_hyper_run;

// One law with one of its published sets.
typedef struct iso_hyper_row {
  const iso_law *law;
  const iso_law_const *set;  // NULL: the law has none
  bool applies;              // every input is known
  bool confirmed;            // else its value is not for use
  bool critical;             // of the critical batch: an upper bound, no optimum
  bool experts;              // fitted to mixtures of experts
  double value;              // NaN unless it applies and is confirmed
  double lo, hi;             // 90% interval from what is published of its constants; NaN: nothing is
  double reach;              // outside what its fit saw
  const char *missing;       // the first input that is not known, else NULL
} iso_hyper_row;
enum { ISO_HYPER_ROWS_MAX = 64 };

// All laws of a target ("lr", "batch_tokens", "weight_decay", "ema_timescale", or an alias of it); returns how many rows, at most
// ISO_HYPER_ROWS_MAX.
int iso_hyper_list(const char *target, const iso_hyper_run *run, iso_hyper_row *out);
// The geometric mean over laws (the first confirmed set of each that applies; of experts' sets only with `experts`), and the spread between
// all their confirmed sets, with their own intervals, as the interval. `critical` chooses between best values and critical ones. NaN when no law
// applies.
iso_est iso_hyper_pick(const iso_hyper_row *rows, int n, bool critical, bool experts, int *laws);

// What published runs used.
typedef struct iso_hyper_recipe {
  const char *name;
  double params, tokens, lr, batch_tok, weight_decay, beta1, beta2;
  const char *source;
} iso_hyper_recipe;
// The i-th, NULL past the last; and the one nearest in log parameters.
const iso_hyper_recipe *iso_hyper_recipe_at(int i);
const iso_hyper_recipe *iso_hyper_recipe_near(double params);

// beta2 of Adam by batch: the moving average of squared gradients keeps its half-life in tokens (Marek et al. 2025, arXiv:2507.07101),
// anchored at 0.95 for 4M tokens a step (LLaMA, arXiv:2302.13971). Within 0.9 and 0.9999.
double iso_hyper_beta2(double batch_tok);
#endif
