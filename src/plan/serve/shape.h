// Shapes of models as serving sees them: what is read, computed and cached per token; dense, grouped-query, latent attention, experts.
#ifndef ISO_PLAN_SERVE_SHAPE_H
#define ISO_PLAN_SERVE_SHAPE_H
#include "base/json.h"

// Counts are of elements, not bytes. What does not apply is 0.
typedef struct iso_serve_shape {
  char name[40];
  int64_t layers, width, heads, kv_heads, head_dim, vocab;
  int64_t mlp, mlp_mats, dense_layers;                 // hidden width, matrices (3 gated, 2 plain) and number of layers with a dense MLP
  int64_t experts, used, expert_mlp, shared;           // of the other layers: experts, those used per token, their width, shared ones
  int64_t q_rank, kv_rank, rope, nope, v_dim;          // latent attention (MLA, DeepSeek-V2, arXiv:2405.04434) when kv_rank > 0
  int64_t window, window_layers;                       // layers that attend to the last `window` tokens only
  int64_t linear_layers, linear_params, linear_state;  // layers with a recurrent state instead of a cache; per layer
  int64_t top_k, index_dim;                            // sparse attention: tokens attended to, chosen by an index of index_dim elements per token
  bool mxfp4;                                          // experts are released in MXFP4 and the rest in bf16, whatever the format asked for
  bool gated;                                          // attention has an output gate of heads x head_dim
  bool tied;                                           // input and output embedding are one matrix
  double params;                                       // > 0: a stated number of parameters in place of the count (all active)
  int64_t context;                                     // tokens that it was made for, 0: not known (context.h)
  char context_source[96];
} iso_serve_shape;

// What follows from a shape.
typedef struct iso_serve_counts {
  double attention, dense, expert, head;  // parameters: all attention layers; all dense MLPs and shared experts; one expert of one layer; head
  double total, active;                   // all parameters; those that a token passes through (one embedding row counted as none)
  double moe_layers, cached_layers;       // layers with experts; with a KV cache
  double kv_per_tok;                      // cached elements per token over all layers that cache every token
  double kv_heads;                        // ways in which tensor parallelism can cut the cache: KV heads, 1 for latent attention
  double launches;                        // kernels of one step, an estimate by kind of layer (roofline.c)
  double score_decode, score_prefill;     // multiply-adds per (query token, context token) over heads and cached layers
} iso_serve_counts;

// Sizes must be positive where the kind needs them, used <= experts, kv_heads divides heads: ISO_EINVAL names the field.
iso_status iso_serve_shape_check(const iso_serve_shape *s, iso_err *err);
iso_serve_counts iso_serve_counts_of(const iso_serve_shape *s);
// A built-in shape by name: case and the part before the last '/' are ignored, and the name may go on after a built-in one
// ("meta-llama/Llama-3.1-8B-Instruct"). NULL when there is none.
const iso_serve_shape *iso_serve_shape_find(const char *name);
// How many characters of `name` (case and the part before the last '/' ignored) are `known`, which is lower case, when it ends there or goes on with
// neither letter nor digit; else 0.
size_t iso_serve_name_begins(const char *name, const char *known);
// The i-th built-in shape, NULL at the end; for listings.
const iso_serve_shape *iso_serve_shape_at(int i);
// Like find, ISO_EINVAL lists what is known.
iso_status iso_serve_shape_get(const char *name, const iso_serve_shape **out, iso_err *err);
json_t *iso_serve_shape_json(const iso_serve_shape *s);
#endif
