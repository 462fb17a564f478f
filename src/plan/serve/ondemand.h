// Weights that device memory does not hold, read from flash or host memory when they are needed (LLM in a flash, arXiv:2312.11514).
#ifndef ISO_PLAN_SERVE_ONDEMAND_H
#define ISO_PLAN_SERVE_ONDEMAND_H
#include "plan/serve/roofline.h"

// Where the weights are, and which of them a token needs. A neuron of an MLP is a row of the matrices before its activation and a column of the
// one after it.
typedef struct iso_serve_store {
  double rate_b_s;     // of large reads, into one device
  double latency_s;    // of one read besides: reads of b bytes come at 1 / (1 / rate_b_s + latency_s / b) bytes a second
  double used;         // share of MLP neurons that a token uses, as a predictor finds them before they are read; NaN: all are read
  double fresh, kept;  // share that the tokens just before did not use, and share that memory keeps for that; NaN: no such window
} iso_serve_store;

// One way to read, each a step beyond the one before: "all" (nothing is kept in memory), "held" (what memory holds stays there, experts
// last), "routed" (of the experts elsewhere only those that tokens go to, evenly), "predicted" (of the MLPs only the used neurons, each matrix's row
// on its own), "windowed" (the fresh ones only), "bundled" (a neuron's rows stored together).
typedef struct iso_serve_reads {
  const char *name;
  double held_b;    // in memory
  double read_b;    // bytes of one decoding step
  double rate_b_s;  // at which they come
  double read_s;
} iso_serve_reads;
enum { ISO_SERVE_READS_MAX = 5 };

// For `batch` sequences of `tok` tokens in `mem_share` of memory; bytes are of one device. Sequences of a batch use neurons independently of each
// other, which is the most that they can read. Fills at[0..*n) and puts the fastest but "all", at[*best], into *u: its weight_b becomes what memory
// holds, and steps take the reads' time on top (u->fetch). Prompts need every weight. Operator tables behind *u keep their times of whole products.
// ISO_EINVAL for shares that make no sense, ISO_EUNSUP for shares of a model with experts, ISO_ENOMEM when the cache, or what "predicted" and later
// ways must hold, does not fit.
iso_status iso_serve_on_demand(iso_serve_setup *u, const iso_serve_store *s, double tok, double batch, double mem_share,
                               iso_serve_reads at[ISO_SERVE_READS_MAX], int *n, int *best, iso_err *err);
// {chosen, ways: [{name, held_b, read_b, rate_b_s, read_s}]}
json_t *iso_serve_reads_json(const iso_serve_reads *at, int n, int best);
#endif
