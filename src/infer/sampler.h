// Choosing the next token: greedy, temperature, top-k, top-p.
#ifndef ISO_INFER_SAMPLER_H
#define ISO_INFER_SAMPLER_H
#include "base/status.h"

typedef struct iso_sample_opts {
  double temperature;  // 0: the likeliest token (lowest id among equals); else logits are divided by it
  int64_t top_k;       // keep the k likeliest (Fan et al. 2018, arXiv 1805.04833); 0 keeps all
  double top_p;        // then the fewest likeliest with mass >= p of what is left (Holtzman et al. 2019, arXiv 1904.09751); 1 keeps all
} iso_sample_opts;

// ISO_EINVAL unless temperature >= 0 and finite, top_k >= 0, 0 < top_p <= 1.
iso_status iso_sample_check(const iso_sample_opts *o, iso_err *err);
// Draws an id from logits [v], a function of (logits, options, seed, step) alone; equal logits at a cut go by lower id.
// The logits are overwritten: tokens that were cut hold -infinity. Give each sequence its own seed, step its position.
// A NaN or +infinity among the logits, or nothing but -infinity, is ISO_ENUM. O(v), no allocation.
iso_status iso_sample(const iso_sample_opts *o, float *logits, int64_t v, uint64_t seed, uint64_t step, int32_t *id, iso_err *err);
#endif
