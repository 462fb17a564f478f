// Bits to train and to serve in: the point of law precision that a compute budget or an inference memory leaves best.
#ifndef ISO_PLAN_BITS_H
#define ISO_PLAN_BITS_H
#include "plan/law.h"

// Kumar et al. 2024, arXiv:2411.04330. Bits of weights, activations and caches in that order; ISO_BITS_FULL or more are those of a part that
// is not quantised. A run costs C = 6/16 N D P, P the widest part.
enum { ISO_BITS_PARTS = 3, ISO_BITS_FULL = 16 };

typedef struct iso_bits_q {
  const double *p;              // of law precision, in its order
  double flop;                  // NaN: not bounded
  double params, tokens;        // NaN: chosen
  double bits[ISO_BITS_PARTS];  // of training; NaN: chosen, one number for all that are
  double post_bits;             // weights are quantised to so many after training; INFINITY: not
  double params_max;            // what memory holds; INFINITY: any number
} iso_bits_q;
// Nothing given: NaN, and INFINITY for the last two.
iso_bits_q iso_bits_q_default(const double *p);

typedef struct iso_bits_point {
  double params, tokens, flop;
  double bits[ISO_BITS_PARTS];     // ISO_BITS_FULL for parts that are not quantised
  double widest;                   // P of the cost
  double share, effective_params;  // N_eff / N, N_eff
  double loss, post_loss;          // loss with quantising, and what of it quantising adds
  bool at_memory;                  // params = params_max
} iso_bits_point;

// The best point. `whole`: bits that are chosen are whole numbers. Parts that are chosen are as wide as the widest given one at least, because
// width below it costs nothing. Two of flop, params and tokens are enough, or flop alone, or tokens with params_max. ISO_EINVAL when they are
// not, or when all three are given; ISO_ENUM when no loss is finite.
iso_status iso_bits_best(const iso_bits_q *q, bool whole, iso_bits_point *out, iso_err *err);
// N_eff / N; NaN when a part loses everything.
double iso_bits_share(const double *p, const double bits[ISO_BITS_PARTS]);
// Tokens beyond which more of them raise the loss of weights quantised to `post` bits; +INFINITY when they are not quantised below training.
double iso_bits_critical_tokens(const double *p, double params, const double bits[ISO_BITS_PARTS], double post);
// x of law precision.
void iso_bits_inputs(double params, double tokens, const double bits[ISO_BITS_PARTS], double post, double x[ISO_LAW_INPUT_MAX]);
#endif
