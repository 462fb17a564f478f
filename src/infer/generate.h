// Generating tokens from a prompt, with what it took.
#ifndef ISO_INFER_GENERATE_H
#define ISO_INFER_GENERATE_H
#include "infer/sampler.h"
#include "infer/session.h"

typedef struct iso_generate_opts {
  int64_t max_new;  // most tokens to generate
  iso_sample_opts sample;
  uint64_t seed;
  int32_t eos;  // generation ends after this id; -1: none
} iso_generate_opts;

typedef enum iso_stop {
  ISO_STOP_LENGTH,   // max_new tokens
  ISO_STOP_EOS,      // the last token is eos
  ISO_STOP_CONTEXT,  // the model's context is full
  ISO_STOP_CALLER,   // the callback said so
  ISO_STOP_CANCEL    // the context's cancel flag
} iso_stop;

typedef struct iso_generate_stats {
  int64_t prompt_tok, tok;     // fed before, and generated (eos included)
  double prefill_s, decode_s;  // until the first logits; after them
  double flop;                 // model count
  iso_stop stop;
} iso_generate_stats;

// Called with each new token; false stops.
typedef bool (*iso_token_fn)(void *arg, int32_t id);

// Continues n prompt ids (at least one, at most the model's ctx) in a session of its own. Stats are valid on ISO_OK.
iso_status iso_generate(iso_model *m, const int32_t *prompt, int64_t n, const iso_generate_opts *o, iso_token_fn each, void *arg,
                        iso_generate_stats *out, iso_err *err);
// What iso_generate will take when nothing stops it early: FLOPs (model count) and bytes beside the weights.
iso_status iso_generate_price(const iso_model *m, int64_t n, const iso_generate_opts *o, double *flop, int64_t *bytes, iso_err *err);
#endif
