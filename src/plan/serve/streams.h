// Parallel streams of one model in serving: what P passes with shared weights take in memory and time.
#ifndef ISO_PLAN_SERVE_STREAMS_H
#define ISO_PLAN_SERVE_STREAMS_H
#include "plan/serve/roofline.h"

// ParScale (Chen et al. 2025, arXiv:2505.10475): each token passes P times, each pass with a learnt prefix of keys and values in every layer and
// a cache of its own; two linear layers, P width to width and width to P, weigh the P outputs. Embedding and head run once a token. So P streams
// cost a P times larger batch: weights are read once.
typedef struct iso_streams_cost {
  double extra_params;              // prefixes and the layers that weigh the outputs
  double weight_b, cache_b;         // on one device: weights with the extra ones; caches of the batch
  double ttft_s, itl_s, request_s;  // as iso_serve_phases has them
  double ttft_floor_s, itl_floor_s;
  const char *ttft_bound, *itl_bound;
} iso_streams_cost;

// The authors' prefix (configuration_qwen2_parscale.py of QwenLM/ParScale).
#define ISO_STREAMS_PREFIX_TOK 48

// Parameters that P streams add; none for one. Dense models with keys and values per head: ISO_EUNSUP for others.
iso_status iso_serve_streams_params(const iso_serve_shape *s, double streams, double prefix_tok, double *out, iso_err *err);
// `batch` requests of prompt and output tokens decode together, each on `streams` streams. Whether it fits is the caller's to say. The extra
// weights are cut over the devices as the others. ISO_EINVAL for numbers that make no sense.
iso_status iso_serve_streams_cost(const iso_serve_setup *u, const iso_serve_coef *c, double streams, double prefix_tok, double prompt, double output,
                                  double batch, iso_streams_cost *out, iso_err *err);
#endif
