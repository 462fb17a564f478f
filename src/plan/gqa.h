// Cost-optimal grouped-query attention: which query and key/value heads, and how large a model, reach a loss at least inference cost.
#ifndef ISO_PLAN_GQA_H
#define ISO_PLAN_GQA_H
#include "plan/law.h"

// Chen et al. 2025, arXiv:2503.09579. Heads are free of the width, so that a larger model with fewer heads may reach the same loss. At
// context T with l layers and head dimension d_h a token costs C = 2 N + 4 T l d_h heads FLOPs and M = N + 2 T l d_h kv_heads elements of
// memory. Of all pairs the one that reaches the target loss at least
//   memory_weight M^memory_power + flop_weight C^flop_power
// is chosen. Both C and M grow with N, so each pair is taken at the N where its law (law gqa) meets the loss.
typedef struct iso_gqa_pair {
  int heads, kv_heads;  // heads is a multiple of kv_heads
  double p[3];          // of law gqa, in its order
} iso_gqa_pair;

typedef struct iso_gqa_opts {
  double loss, context_tok, head_dim;
  // Layers by size: ascending params, interpolated in log N; a size outside them is refused.
  int n_sizes;
  const double *size_params, *size_layers;  // borrowed
  double memory_weight, memory_power, flop_weight, flop_power;
} iso_gqa_opts;
// 0.9 M^(1/2) + 0.1 C^(1/3) and a head dimension of 64, as in the paper; loss, context and sizes are the caller's.
iso_gqa_opts iso_gqa_opts_default(void);

typedef enum iso_gqa_flag {
  ISO_GQA_OK,
  ISO_GQA_UNREACHABLE,  // the loss lies below this pair's E
  ISO_GQA_OUTSIDE       // the size it needs lies outside the table of layers
} iso_gqa_flag;

typedef struct iso_gqa_cost {
  double params, layers, flop, elements, cost;  // FLOPs a token, elements of memory; NaN unless OK
  iso_gqa_flag flag;
} iso_gqa_cost;

// C, M and cost of a model of `params` parameters with `layers` layers and this pair.
void iso_gqa_price(const iso_gqa_opts *o, const iso_gqa_pair *h, double params, double layers, iso_gqa_cost *out);
// Prices n pairs into each[n]; *best gets the cheapest. ISO_EINVAL for bad options or heads that do not divide, ISO_ENUM when no pair reaches
// the loss inside the table.
iso_status iso_gqa_choose(const iso_gqa_opts *o, const iso_gqa_pair *pair, int n, iso_gqa_cost *each, int *best, iso_err *err);
#endif
