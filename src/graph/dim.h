// Symbolic dimensions: an integer times powers of the symbols that bind at launch.
#ifndef ISO_GRAPH_DIM_H
#define ISO_GRAPH_DIM_H
#include "base/status.h"

// What may differ from launch to launch (docs/notation.md). M counts rows: B*T in training, any set of tokens when decoding, where R of them get
// logits.
typedef enum iso_sym { ISO_SYM_B, ISO_SYM_T, ISO_SYM_M, ISO_SYM_R, ISO_SYM_COUNT } iso_sym;

// coef * B^pow[0] * T^pow[1] * M^pow[2] * R^pow[3]
typedef struct iso_dim {
  int64_t coef;
  int8_t pow[ISO_SYM_COUNT];
} iso_dim;

// Values of the symbols. Compiled maxima bound what a launch may bind.
typedef struct iso_bind {
  int64_t v[ISO_SYM_COUNT];
} iso_bind;

static inline iso_dim iso_dim_of(int64_t n) { return (iso_dim){n, {0}}; }
static inline iso_dim iso_dim_sym(iso_sym s) {
  iso_dim d = {1, {0}};
  d.pow[s] = 1;
  return d;
}
static inline iso_dim iso_dim_mul(iso_dim a, iso_dim b) {
  iso_dim d = {a.coef * b.coef, {0}};
  for (int i = 0; i < ISO_SYM_COUNT; i++) d.pow[i] = (int8_t)(a.pow[i] + b.pow[i]);
  return d;
}
static inline int64_t iso_dim_eval(iso_dim d, const iso_bind *b) {
  int64_t n = d.coef;
  for (int i = 0; i < ISO_SYM_COUNT; i++)
    for (int k = 0; k < d.pow[i]; k++) n *= b->v[i];
  return n;
}
static inline bool iso_dim_same(iso_dim a, iso_dim b) {
  bool same = a.coef == b.coef;
  for (int i = 0; i < ISO_SYM_COUNT; i++) same = same && a.pow[i] == b.pow[i];
  return same;
}
// Rows of B sequences of T tokens: M = B*T. No R: such graphs have no logits.
static inline iso_bind iso_bind_batch(int64_t b, int64_t t) { return (iso_bind){{b, t, b * t, 0}}; }
#endif
