// Activations of the feed-forward layer, and addition.
#ifndef ISO_KERN_VEC_MLP_H
#define ISO_KERN_VEC_MLP_H
#include "kern/kern.h"
#include "kern/vec/vec.h"

typedef struct mlp_args {
  const iso_kcall *c;
} mlp_args;

enum { MLP_ROWS = 16, FLAT = 16384 };
static inline int64_t mlp_tasks(int64_t n, int64_t per) { return (n + per - 1) / per; }

static inline void swiglu_task(void *arg, int64_t task, int worker) {
  (void)worker;
  const iso_kcall *c = ((mlp_args *)arg)->c;
  int64_t m = c->d[0], f = c->d[1], end = (task + 1) * MLP_ROWS < m ? (task + 1) * MLP_ROWS : m;
  for (int64_t i = task * MLP_ROWS; i < end; i++)
    for (int64_t j = 0; j < f; j += VL) {
      int64_t n = f - j, at = i * 2 * f + j;
      vf gv = vstream_n(c->p[0], at, n, narrow(c, 0));
      vstore_n(c->p[1], i * f + j, gv * vsigmoid(gv) * vstream_n(c->p[0], at + f, n, narrow(c, 0)), n, narrow(c, 1));
    }
}

// h = gate sigmoid(gate) up (Shazeer 2020, arXiv 2002.05202)
// shapes: gu [M,2F], gate first; h [M,F]
// numerics: exp to 2e-7 relative, result within 1e-6 relative
// cost: 6 M F vec flop; reads 2 M F, writes M F elements
static inline void swiglu_f32(const iso_kcall *c) {
  mlp_args a = {c};
  iso_pool_run(c->pool, mlp_tasks(c->d[0], MLP_ROWS), swiglu_task, &a);
}

static inline void swiglu_bwd_task(void *arg, int64_t task, int worker) {
  (void)worker;
  const iso_kcall *c = ((mlp_args *)arg)->c;
  int64_t m = c->d[0], f = c->d[1], end = (task + 1) * MLP_ROWS < m ? (task + 1) * MLP_ROWS : m;
  for (int64_t i = task * MLP_ROWS; i < end; i++)
    for (int64_t j = 0; j < f; j += VL) {
      int64_t n = f - j, at = i * 2 * f + j;
      vf gv = vstream_n(c->p[0], at, n, narrow(c, 0)), uv = vstream_n(c->p[0], at + f, n, narrow(c, 0));
      vf dv = vstream_n(c->p[1], i * f + j, n, narrow(c, 1)), s = vsigmoid(gv), silu = gv * s;
      vstore_n(c->p[2], at, dv * uv * vfma(silu, 1.0f - s, s), n, narrow(c, 2));
      vstore_n(c->p[2], at + f, dv * silu, n, narrow(c, 2));
    }
}

// forward: h = g s(g) u; dg = dh u (s + g s (1 - s)); du = dh g s
// shapes: gu, dgu [M,2F]; dh [M,F]
// numerics: as swiglu
// cost: 11 M F vec flop; reads 3 M F, writes 2 M F elements
static inline void swiglu_bwd_f32(const iso_kcall *c) {
  mlp_args a = {c};
  iso_pool_run(c->pool, mlp_tasks(c->d[0], MLP_ROWS), swiglu_bwd_task, &a);
}

// gelu(x) = x/2 (1 + tanh(k (x + 0.044715 x^3))), k = sqrt(2/pi) (Hendrycks and Gimpel 2016, arXiv 1606.08415)
static inline vf gelu_v(vf x, vf *slope) {
  const float k = 0.7978845608f, a = 0.044715f;
  vf t = vtanh(k * vfma(a * x * x, x, x));
  if (slope) *slope = 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * k * vfma(vset(3 * a), x * x, vset(1));
  return 0.5f * x * (1.0f + t);
}

typedef enum flat_kind { FLAT_GELU, FLAT_GELU_BWD, FLAT_RELU2, FLAT_RELU2_BWD, FLAT_ADD } flat_kind;
typedef struct flat_args {
  const iso_kcall *c;
  int x, dy, out;  // operands; dy may be -1
  int64_t n;
  flat_kind kind;
} flat_args;

static inline vf flat_value(flat_kind kind, vf x, vf dy) {
  vf slope, zero = vset(0);
  switch (kind) {
    case FLAT_GELU: return gelu_v(x, NULL);
    case FLAT_GELU_BWD: (void)gelu_v(x, &slope); return dy * slope;
    case FLAT_RELU2: x = vmax(x, zero); return x * x;
    case FLAT_RELU2_BWD: return dy * 2.0f * vmax(x, zero);
    case FLAT_ADD: return x + dy;
  }
  return zero;
}

static inline void flat_task(void *arg, int64_t task, int worker) {
  (void)worker;
  const flat_args *s = arg;
  int64_t end = (task + 1) * FLAT < s->n ? (task + 1) * FLAT : s->n;
  const iso_kcall *c = s->c;
  for (int64_t j = task * FLAT; j < end; j += VL) {
    int64_t n = end - j;
    vf x = vstream_n(c->p[s->x], j, n, narrow(c, s->x)), dy = s->dy < 0 ? vset(0) : vstream_n(c->p[s->dy], j, n, narrow(c, s->dy));
    vstore_n(c->p[s->out], j, flat_value(s->kind, x, dy), n, narrow(c, s->out));
  }
}

static inline void flat_run(const iso_kcall *c, flat_args a) { iso_pool_run(c->pool, mlp_tasks(a.n, FLAT), flat_task, &a); }

// Elementwise maps: shapes [M,F] flat. cost: gelu 14, gelu_bwd 27, relu2 2, relu2_bwd 3, add 1 vec flop an element.
static inline void gelu_f32(const iso_kcall *c) { flat_run(c, (flat_args){c, 0, -1, 1, c->d[0] * c->d[1], FLAT_GELU}); }
static inline void gelu_bwd_f32(const iso_kcall *c) { flat_run(c, (flat_args){c, 0, 1, 2, c->d[0] * c->d[1], FLAT_GELU_BWD}); }
static inline void relu2_f32(const iso_kcall *c) { flat_run(c, (flat_args){c, 0, -1, 1, c->d[0] * c->d[1], FLAT_RELU2}); }
static inline void relu2_bwd_f32(const iso_kcall *c) { flat_run(c, (flat_args){c, 0, 1, 2, c->d[0] * c->d[1], FLAT_RELU2_BWD}); }
static inline void add_f32(const iso_kcall *c) { flat_run(c, (flat_args){c, 0, 1, 2, c->d[0], FLAT_ADD}); }
#endif
