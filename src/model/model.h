// A model in memory: config, weights, and the programs that run over them.
#ifndef ISO_MODEL_MODEL_H
#define ISO_MODEL_MODEL_H
#include "graph/exec.h"
#include "model/arch.h"
#include "model/config.h"

// Weights of one model: one buffer laid out by the arch's graph (f32).
typedef struct iso_model {
  iso_ctx *ctx;
  iso_model_config config;
  iso_graph *g;  // owned; LOSS graph without gradients: the layout of the weights
  iso_graph_io io;
  iso_arena_layout layout;  // owned; of g
  float *weights;           // owned
  int64_t weight_bytes;
} iso_model;

// Weights are zero until iso_model_init or a loader fills them.
iso_status iso_model_open(iso_ctx *c, const iso_model_config *config, iso_model **out, iso_err *err);
void iso_model_close(iso_model *m);
// Random start: normal(0, init_std) by tensor from (seed, tensor, element); the same for any machine.
void iso_model_init(iso_model *m, uint64_t seed);
// Address of copy `layer` of weight tensor `t` (index into m->g).
float *iso_model_weight(const iso_model *m, int t, int layer);
// Parameters, the head counted once when it is tied.
int64_t iso_model_params(const iso_model *m);

// Visits every weight by its name in model files: rows x cols (cols 1 for vectors) at `w`. Stops at the first failure.
typedef struct iso_named_weight {
  char name[128];
  float *w;  // row-major [rows, cols]
  int64_t rows, cols;
  int rank;
} iso_named_weight;
typedef iso_status (*iso_weight_fn)(void *arg, const iso_named_weight *w, iso_err *err);
iso_status iso_model_each(const iso_model *m, iso_weight_fn fn, void *arg, iso_err *err);

// ---- held-out loss --------------------------------------------------------------------------------------------------

typedef struct iso_loss {
  double nats;     // summed over tokens
  int64_t tokens;  // predicted tokens
  double nats_per_tok;
} iso_loss;
// Evaluates a stream of ids in windows of `t` tokens (each id but the first of a window's input is predicted once;
// windows overlap by one id; a shorter last window is padded and masked), `b` windows at a time.
// limit_tok > 0: evenly spaced windows up to about that many tokens.
typedef struct iso_eval iso_eval;
iso_status iso_eval_open(iso_model *m, int64_t b, int64_t t, iso_eval **out, iso_err *err);
// Evaluations stop between batches once the context's clock is past this; out->tokens tells how far they came. +INFINITY: never (the default).
void iso_eval_deadline(iso_eval *e, double end_s);
void iso_eval_close(iso_eval *e);
// Get ids through a callback so that shards need not be copied: fill(arg, start, n, out) writes ids[start, start + n).
typedef void (*iso_ids_fn)(void *arg, int64_t start, int64_t n, int32_t *out);
iso_status iso_eval_run(iso_eval *e, iso_ids_fn ids, void *arg, int64_t n_ids, int64_t limit_tok, iso_loss *out, iso_err *err);
// FLOPs (model count) of evaluating n tokens, and bytes that iso_eval_open allocates.
double iso_eval_flop(const iso_model_config *c, int64_t n_tok, int64_t t);
#endif
