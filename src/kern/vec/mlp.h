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
  const float *gu = c->p[0];
  float *h = c->p[1];
  for (int64_t i = task * MLP_ROWS; i < end; i++) {
    const float *g = gu + i * 2 * f, *u = g + f;
    float *hi = h + i * f;
    for (int64_t j = 0; j < f; j += VL) {
      int64_t n = f - j;
      if (n >= VL) {
        vf gv = vload(g + j);
        vstore(hi + j, gv * vsigmoid(gv) * vload(u + j));
      } else {
        vf gv = vload_part(g + j, n, 0);
        vstore_part(hi + j, gv * vsigmoid(gv) * vload_part(u + j, n, 0), n);
      }
    }
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
  const float *gu = c->p[0], *dh = c->p[1];
  float *dgu = c->p[2];
  for (int64_t i = task * MLP_ROWS; i < end; i++) {
    const float *g = gu + i * 2 * f, *u = g + f, *di = dh + i * f;
    float *dg = dgu + i * 2 * f, *du = dg + f;
    for (int64_t j = 0; j < f; j += VL) {
      int64_t n = f - j;
      bool full = n >= VL;
      vf gv = full ? vload(g + j) : vload_part(g + j, n, 0), uv = full ? vload(u + j) : vload_part(u + j, n, 0);
      vf dv = full ? vload(di + j) : vload_part(di + j, n, 0), s = vsigmoid(gv), silu = gv * s;
      vf og = dv * uv * vfma(silu, 1.0f - s, s), ou = dv * silu;
      if (full) {
        vstore(dg + j, og);
        vstore(du + j, ou);
      } else {
        vstore_part(dg + j, og, n);
        vstore_part(du + j, ou, n);
      }
    }
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
  const float *x, *dy;
  float *out;
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
  for (int64_t j = task * FLAT; j < end; j += VL) {
    int64_t n = end - j;
    if (n >= VL)
      vstore(s->out + j, flat_value(s->kind, vload(s->x + j), s->dy ? vload(s->dy + j) : vset(0)));
    else
      vstore_part(s->out + j, flat_value(s->kind, vload_part(s->x + j, n, 0), s->dy ? vload_part(s->dy + j, n, 0) : vset(0)), n);
  }
}

static inline void flat_run(const iso_kcall *c, flat_args a) { iso_pool_run(c->pool, mlp_tasks(a.n, FLAT), flat_task, &a); }

// Elementwise maps: shapes [M,F] flat. cost: gelu 14, gelu_bwd 27, relu2 2, relu2_bwd 3, add 1 vec flop an element.
static inline void gelu_f32(const iso_kcall *c) { flat_run(c, (flat_args){c->p[0], NULL, c->p[1], c->d[0] * c->d[1], FLAT_GELU}); }
static inline void gelu_bwd_f32(const iso_kcall *c) { flat_run(c, (flat_args){c->p[0], c->p[1], c->p[2], c->d[0] * c->d[1], FLAT_GELU_BWD}); }
static inline void relu2_f32(const iso_kcall *c) { flat_run(c, (flat_args){c->p[0], NULL, c->p[1], c->d[0] * c->d[1], FLAT_RELU2}); }
static inline void relu2_bwd_f32(const iso_kcall *c) { flat_run(c, (flat_args){c->p[0], c->p[1], c->p[2], c->d[0] * c->d[1], FLAT_RELU2_BWD}); }
static inline void add_f32(const iso_kcall *c) { flat_run(c, (flat_args){c->p[0], c->p[1], c->p[2], c->d[0], FLAT_ADD}); }
#endif
