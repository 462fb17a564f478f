// RMSNorm and LayerNorm, forward and backward.
#ifndef ISO_KERN_VEC_NORM_H
#define ISO_KERN_VEC_NORM_H
#include "kern/kern.h"
#include "kern/vec/vec.h"

typedef struct norm_args {
  const iso_kcall *c;
} norm_args;

enum { NORM_ROWS = 32 };
static inline int64_t norm_tasks(int64_t m) { return (m + NORM_ROWS - 1) / NORM_ROWS; }

// sum of x[j] y[j] over d elements, VL partial sums
static inline float dot_row(const float *x, const float *y, int64_t d) {
  vf s = vset(0);
  int64_t j = 0;
  for (; j + VL <= d; j += VL) s = vfma(vload(x + j), vload(y + j), s);
  float r = vsum(s);
  for (; j < d; j++) r += x[j] * y[j];
  return r;
}

static inline void rmsnorm_task(void *arg, int64_t task, int worker) {
  (void)worker;
  const iso_kcall *c = ((norm_args *)arg)->c;
  int64_t m = c->d[0], d = c->d[1], end = (task + 1) * NORM_ROWS < m ? (task + 1) * NORM_ROWS : m;
  const float *x = c->p[0], *g = c->p[1];
  float *rstd = c->p[3];
  for (int64_t i = task * NORM_ROWS; i < end; i++) {
    const float *xi = x + i * d;
    float r = 1.0f / sqrtf(dot_row(xi, xi, d) / (float)d + (float)c->a[0]);
    rstd[i] = r;
    for (int64_t j = 0; j < d; j += VL)
      vstore_n(c->p[2], i * d + j, vload_n(xi, j, d - j, false) * r * vload_n(g, j, d - j, false), d - j, narrow(c, 2));
  }
}

// y = x g / sqrt(mean(x^2) + eps) (Zhang and Sennrich 2019, arXiv 1910.07467)
// shapes: x, y [M,D]; g [D]; rstd [M]
// numerics: mean in VL f32 partial sums, relative error of y below D eps / VL + 4 eps
// cost: 4 M D + 3 M vec flop; reads M D + D, writes M D + M elements
static inline void rmsnorm_f32(const iso_kcall *c) {
  norm_args a = {c};
  iso_pool_run(c->pool, norm_tasks(c->d[0]), rmsnorm_task, &a);
}

// Adds the rows of partial[tasks,d] to out[d], in order.
static inline void add_partials(const float *partial, int64_t tasks, int64_t d, int64_t stride, float *out) {
  for (int64_t t = 0; t < tasks; t++)
    for (int64_t j = 0; j < d; j++) out[j] += partial[t * stride + j];
}

static inline void rmsnorm_bwd_task(void *arg, int64_t task, int worker) {
  (void)worker;
  const iso_kcall *c = ((norm_args *)arg)->c;
  int64_t m = c->d[0], d = c->d[1], end = (task + 1) * NORM_ROWS < m ? (task + 1) * NORM_ROWS : m;
  bool acc = c->d[2] != 0;
  const float *x = c->p[0], *g = c->p[1], *rstd = c->p[2];
  float *dx = c->p[4], *dg = (float *)(void *)c->scratch + task * d;
  memset(dg, 0, (size_t)d * sizeof *dg);
  for (int64_t i = task * NORM_ROWS; i < end; i++) {
    float r = rstd[i];
    vf s = vset(0);
    for (int64_t j = 0; j < d; j += VL) {
      int64_t n = d - j;
      s = vfma(vstream_n(c->p[3], i * d + j, n, narrow(c, 3)) * vload_n(g, j, n, false), vload_n(x, i * d + j, n, false), s);
    }
    float k = vsum(s) * r * r * r / (float)d;
    for (int64_t j = 0; j < d; j += VL) {
      int64_t n = d - j;
      vf xv = vload_n(x, i * d + j, n, false), t = vload_n(c->p[3], i * d + j, n, narrow(c, 3)) * r;
      vf dv = t * vload_n(g, j, n, false) - k * xv;
      vstore_n(dg, j, vload_n(dg, j, n, false) + t * xv, n, false);
      vstore_n(dx, i * d + j, acc ? vload_n(dx, i * d + j, n, false) + dv : dv, n, false);
    }
  }
}

// forward: y = x g r, r = (mean(x^2) + eps)^-1/2; dx = r g dy - x r^3 / D sum(dy g x); dg += sum over rows of dy x r
// shapes: x, dy, dx [M,D]; g, dg [D]; rstd [M]
// numerics: as rmsnorm; dg by blocks of NORM_ROWS rows added in order
// cost: about 10 M D vec flop; reads 2 M D (3 when accumulating), writes M D elements
static inline void rmsnorm_bwd_f32(const iso_kcall *c) {
  norm_args a = {c};
  iso_pool_run(c->pool, norm_tasks(c->d[0]), rmsnorm_bwd_task, &a);
  add_partials((const float *)(const void *)c->scratch, norm_tasks(c->d[0]), c->d[1], c->d[1], c->p[5]);
}

static inline void layernorm_task(void *arg, int64_t task, int worker) {
  (void)worker;
  const iso_kcall *c = ((norm_args *)arg)->c;
  int64_t m = c->d[0], d = c->d[1], end = (task + 1) * NORM_ROWS < m ? (task + 1) * NORM_ROWS : m;
  const float *x = c->p[0], *g = c->p[1], *b = c->p[2];
  float *y = c->p[3], *mean = c->p[4], *rstd = c->p[5];
  for (int64_t i = task * NORM_ROWS; i < end; i++) {
    const float *xi = x + i * d;
    float *yi = y + i * d, mu = 0, var = 0;
    for (int64_t j = 0; j < d; j++) mu += xi[j];
    mu /= (float)d;
    for (int64_t j = 0; j < d; j++) yi[j] = xi[j] - mu;  // two passes: no cancellation
    var = dot_row(yi, yi, d) / (float)d;
    float r = 1.0f / sqrtf(var + (float)c->a[0]);
    for (int64_t j = 0; j < d; j++) yi[j] = yi[j] * r * g[j] + b[j];
    mean[i] = mu;
    rstd[i] = r;
  }
}

// y = (x - mean) g / sqrt(var + eps) + b (Ba et al. 2016, arXiv 1607.06450)
// shapes: x, y [M,D]; g, b [D]; mean, rstd [M]
// numerics: two-pass variance, f32
// cost: 7 M D + 4 M vec flop; reads M D + 2 D, writes M D + 2 M elements
static inline void layernorm_f32(const iso_kcall *c) {
  norm_args a = {c};
  iso_pool_run(c->pool, norm_tasks(c->d[0]), layernorm_task, &a);
}

static inline void layernorm_bwd_task(void *arg, int64_t task, int worker) {
  (void)worker;
  const iso_kcall *c = ((norm_args *)arg)->c;
  int64_t m = c->d[0], d = c->d[1], end = (task + 1) * NORM_ROWS < m ? (task + 1) * NORM_ROWS : m;
  bool acc = c->d[2] != 0;
  const float *x = c->p[0], *g = c->p[1], *mean = c->p[2], *rstd = c->p[3], *dy = c->p[4];
  float *dx = c->p[5], *dg = (float *)(void *)c->scratch + task * 2 * d, *db = dg + d;
  memset(dg, 0, (size_t)d * 2 * sizeof *dg);
  for (int64_t i = task * NORM_ROWS; i < end; i++) {
    const float *xi = x + i * d, *dyi = dy + i * d;
    float *dxi = dx + i * d, mu = mean[i], r = rstd[i], s1 = 0, s2 = 0;
    for (int64_t j = 0; j < d; j++) {
      float h = (xi[j] - mu) * r, t = dyi[j] * g[j];
      s1 += t;
      s2 += t * h;
      dg[j] += dyi[j] * h;
      db[j] += dyi[j];
    }
    s1 /= (float)d;
    s2 /= (float)d;
    for (int64_t j = 0; j < d; j++) {
      float h = (xi[j] - mu) * r, t = r * (dyi[j] * g[j] - s1 - h * s2);
      dxi[j] = acc ? dxi[j] + t : t;
    }
  }
}

// h = (x - mean) rstd; dx = rstd (g dy - mean(g dy) - h mean(g dy h)); dg += dy h; db += dy
// shapes: x, dy, dx [M,D]; g, dg, db [D]; mean, rstd [M]
// numerics: f32 sums along D; dg, db by blocks of NORM_ROWS rows added in order
// cost: about 16 M D vec flop; reads 2 M D (3 when accumulating), writes M D elements
static inline void layernorm_bwd_f32(const iso_kcall *c) {
  norm_args a = {c};
  int64_t tasks = norm_tasks(c->d[0]), d = c->d[1];
  iso_pool_run(c->pool, tasks, layernorm_bwd_task, &a);
  const float *partial = (const float *)(const void *)c->scratch;
  add_partials(partial, tasks, d, 2 * d, c->p[6]);
  add_partials(partial + d, tasks, d, 2 * d, c->p[7]);
}

static inline size_t norm_scratch(iso_kslot slot, const int64_t *d) {
  if (slot == ISO_K_rmsnorm_bwd) return (size_t)(norm_tasks(d[0]) * d[1]) * 4;
  if (slot == ISO_K_layernorm_bwd) return (size_t)(norm_tasks(d[0]) * d[1]) * 8;
  return 0;
}
#endif
