// Token and position embeddings.
#ifndef ISO_KERN_VEC_EMBED_H
#define ISO_KERN_VEC_EMBED_H
#include "kern/kern.h"
#include "kern/vec/vec.h"

typedef struct embed_args {
  const iso_kcall *c;
} embed_args;

enum { EMBED_ROWS = 64, EMBED_COLS = 32 };

static inline void embed_task(void *arg, int64_t task, int worker) {
  (void)worker;
  const iso_kcall *c = ((embed_args *)arg)->c;
  int64_t m = c->d[0], d = c->d[1], v = c->d[2], t = c->d[3], end = (task + 1) * EMBED_ROWS < m ? (task + 1) * EMBED_ROWS : m;
  const int32_t *ids = c->p[0];
  const float *w = c->p[1], *pos = c->p[2];
  float *y = c->p[3];
  for (int64_t i = task * EMBED_ROWS; i < end; i++) {
    int64_t id = ids[i] >= 0 && ids[i] < v ? ids[i] : 0;
    memcpy(y + i * d, w + id * d, (size_t)d * sizeof *y);
    if (pos)
      for (int64_t j = 0; j < d; j++) y[i * d + j] += pos[i % t * d + j];
  }
}

// y[m] = W[ids[m]] + positions[m mod T]
// shapes: see slots.def; ids outside the vocabulary read row 0
// numerics: exact copy, one addition with positions
// cost: M D vec flop with positions, else 0; reads and writes M D elements
static inline void embed_f32(const iso_kcall *c) {
  embed_args a = {c};
  iso_pool_run(c->pool, (c->d[0] + EMBED_ROWS - 1) / EMBED_ROWS, embed_task, &a);
}

// A task owns a strip of columns, so rows are added in the order of the tokens whatever the thread count.
static inline void embed_bwd_task(void *arg, int64_t task, int worker) {
  (void)worker;
  const iso_kcall *c = ((embed_args *)arg)->c;
  int64_t m = c->d[0], d = c->d[1], v = c->d[2], t = c->d[3], j0 = task * EMBED_COLS, j1 = j0 + EMBED_COLS < d ? j0 + EMBED_COLS : d;
  const int32_t *ids = c->p[0];
  const float *dy = c->p[1];
  float *dw = c->p[2], *dpos = c->p[3];
  for (int64_t i = 0; i < m; i++) {
    int64_t id = ids[i] >= 0 && ids[i] < v ? ids[i] : 0;
    for (int64_t j = j0; j < j1; j++) dw[id * d + j] += dy[i * d + j];
    if (dpos)
      for (int64_t j = j0; j < j1; j++) dpos[i % t * d + j] += dy[i * d + j];
  }
}

// dW[ids[m]] += dy[m]; dpositions[m mod T] += dy[m]
// shapes: see slots.def
// numerics: f32 additions in token order
// cost: M D vec flop (2 M D with positions); reads 2 M D, writes M D elements
static inline void embed_bwd_f32(const iso_kcall *c) {
  embed_args a = {c};
  iso_pool_run(c->pool, (c->d[1] + EMBED_COLS - 1) / EMBED_COLS, embed_bwd_task, &a);
}
#endif
