// Measured operator tables for serving: times of a replica's products, attention and exchanges by load, sampled from a device's tables once.
#ifndef ISO_PLAN_SERVE_OPS_H
#define ISO_PLAN_SERVE_OPS_H
#include "plan/serve/roofline.h"

// Sampled twice an octave and interpolated in logarithms: simulators ask millions of times.
enum { ISO_OPS_STEP = 2, ISO_OPS_TOK = 17 * ISO_OPS_STEP + 1, ISO_OPS_SEQS = 10 * ISO_OPS_STEP + 1, ISO_OPS_CTX = 18 * ISO_OPS_STEP + 1 };
struct iso_serve_ops {
  bool products, decode, prefill, link;         // what the tables tell; products: all the rest depends on them
  double kernels;                               // of a step, timed by the tables
  double block_lb[ISO_OPS_TOK];                 // log2 seconds: products of all layers in a step of 1, sqrt 2, 2, ... tokens of the replica
  double head_lb[ISO_OPS_TOK];                  // of the head for so many sequences of a rank
  double link_lb[ISO_OPS_TOK];                  // exchanges in a step of so many tokens
  double prefill_lb[ISO_OPS_TOK];               // attention of one prompt of so many tokens, all layers
  double decode_lb[ISO_OPS_SEQS][ISO_OPS_CTX];  // attention of so many sequences of a rank that see so many tokens each, all layers
};

// Samples the tables of `d` for a replica. What there is no table for, or what tables do not tell (latent, linear and sparse attention,
// weights narrower than the products), stays with the roofline: out->products false means everything.
void iso_serve_ops_of(const iso_serve_setup *u, const iso_device *d, iso_serve_ops *out);
// Seconds at a load between samples; below the first as there, beyond the last in proportion.
double iso_serve_ops_s(const double *sample_lb, double tok);
double iso_serve_ops_decode_s(const iso_serve_ops *o, double seqs, double ctx);
// {"products": "table" or "model", "decode_attention", "prefill_attention", "links"}; o may be NULL.
json_t *iso_serve_ops_json(const iso_serve_ops *o);
#endif
