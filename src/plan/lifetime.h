// What a model costs over its life: the size and tokens that reach a loss most cheaply when it is also tuned, compressed and served.
#ifndef ISO_PLAN_LIFETIME_H
#define ISO_PLAN_LIFETIME_H
#include "plan/law.h"

// FLOPs per parameter and token: 6 in training and tuning, 2 in serving (Sardana et al. 2024, arXiv:2401.00448, equation 1).
#define ISO_SERVE_FLOP_PER_PARAM_TOK 2.0

// What happens between training and serving. All zero but serve_scale = 1: nothing.
typedef struct iso_lifetime_way {
  char name[32];
  double loss_added;               // by compression, in the law's unit: training must reach that much less
  double tune_tok;                 // tokens trained on after pretraining, to no gain in the law's loss
  double compress_flop_per_param;  // e.g. 2 x calibration tokens
  double serve_scale;              // price of a served FLOP over that of the uncompressed model
} iso_lifetime_way;
iso_lifetime_way iso_lifetime_way_plain(void);

typedef struct iso_lifetime_job {
  const iso_law *law;  // one that splits a budget between parameters and tokens
  const double *p;     // its parameters
  const double *x;     // its other inputs; NULL: absent
  double loss;         // to reach, after compression
  double serve_tok;    // prompt and output tokens over the model's life
  // What a FLOP costs in training and in serving: 1 and 1 count FLOPs; dollars per FLOP (price / (peak x MFU)) count dollars (the paper's
  // equation 3).
  double train_price, serve_price;
} iso_lifetime_job;

typedef struct iso_lifetime_point {
  double params, tokens;  // of pretraining
  double train_flop, tune_flop, compress_flop, serve_flop;
  double train_cost, tune_cost, compress_cost, serve_cost, cost;  // the four add up to cost
} iso_lifetime_point;

// The life of a model of `params` parameters. ISO_EBUDGET when it reaches the loss with no number of tokens.
iso_status iso_lifetime_at(const iso_lifetime_job *j, const iso_lifetime_way *w, double params, iso_lifetime_point *out, iso_err *err);
// min over N of train_price 6 N D + serve_price 2 N Q and the way's costs, with D so that L(N, D) + loss_added = loss. serve_tok = 0: the
// training optimum. ISO_EINVAL for a law that splits no budget, ISO_EBUDGET when the loss is below what the law reaches.
iso_status iso_lifetime_optimum(const iso_lifetime_job *j, const iso_lifetime_way *w, iso_lifetime_point *out, iso_err *err);
// The condition of the optimum for the plain way: eps_N / eps_D = 1 + serve_price Q / (3 train_price D), eps the log-derivatives of the loss.
// Returns the left side over the right one; 1 at the optimum.
double iso_lifetime_condition(const iso_lifetime_job *j, const iso_lifetime_point *at);

// The cheapest of n ways, each at its own optimum; those that reach the loss with no model are left out. ISO_EBUDGET when none does.
iso_status iso_lifetime_choose(const iso_lifetime_job *j, const iso_lifetime_way *w, int n, int *best, iso_lifetime_point *out, iso_err *err);
// Served tokens in [lo, hi] from which way b costs less than way a (or the reverse), to a relative 1e-9; NaN when the same one is cheaper at
// both ends.
double iso_lifetime_switch(const iso_lifetime_job *j, const iso_lifetime_way *a, const iso_lifetime_way *b, double lo, double hi);
#endif
