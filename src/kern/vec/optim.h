// Optimizer updates and the gradient norm.
#ifndef ISO_KERN_VEC_OPTIM_H
#define ISO_KERN_VEC_OPTIM_H
#include "kern/gemm.h"
#include "kern/vec/vec.h"

enum { OPTIM_BLOCK = 16384 };

static inline void sumsq_task(void *arg, int64_t task, int worker) {
  (void)worker;
  const iso_kcall *c = arg;
  int64_t n = c->d[0], end = (task + 1) * OPTIM_BLOCK < n ? (task + 1) * OPTIM_BLOCK : n, j = task * OPTIM_BLOCK;
  const float *g = c->p[0];
  vf s = vset(0);
  for (; j + VL <= end; j += VL) s = vfma(vload(g + j), vload(g + j), s);
  double r = vsum(s);
  for (; j < end; j++) r += (double)g[j] * (double)g[j];
  ((double *)(void *)c->scratch)[task] = r;
}

// hyp.grad_sumsq += sum of g^2
// shapes: g [n]
// numerics: f32 lanes within blocks of OPTIM_BLOCK, f64 over blocks in order
// cost: 2 n vec flop; reads n elements
static inline void sumsq_f32(const iso_kcall *c) {
  int64_t tasks = (c->d[0] + OPTIM_BLOCK - 1) / OPTIM_BLOCK;
  iso_pool_run(c->pool, tasks, sumsq_task, (void *)(uintptr_t)c);
  for (int64_t i = 0; i < tasks; i++) ((iso_hyp *)c->p[1])->grad_sumsq += ((const double *)(const void *)c->scratch)[i];
}

static inline void adamw_task(void *arg, int64_t task, int worker) {
  (void)worker;
  const iso_kcall *c = arg;
  const iso_hyp *h = c->p[4];
  int64_t n = c->d[0], end = (task + 1) * OPTIM_BLOCK < n ? (task + 1) * OPTIM_BLOCK : n;
  float *w = c->p[0], *g = c->p[1], *m = c->p[2], *v = c->p[3];
  double lr = h->lr * c->a[1];
  float b1 = (float)h->beta1, b2 = (float)h->beta2, clip = (float)iso_hyp_clip_factor(h), keep = (float)(1.0 - lr * h->weight_decay * c->a[0]);
  float step = (float)(lr / h->bias1), root = (float)(1.0 / sqrt(h->bias2)), eps = (float)h->eps;
  int64_t j = task * OPTIM_BLOCK;
  for (; j < end; j += VL) {
    int64_t part = end - j;
    bool full = part >= VL;
    vf gv = (full ? vload(g + j) : vload_part(g + j, part, 0)) * clip, mv = full ? vload(m + j) : vload_part(m + j, part, 0);
    vf vv = full ? vload(v + j) : vload_part(v + j, part, 0), wv = full ? vload(w + j) : vload_part(w + j, part, 0);
    mv = vfma(vset(b1), mv, (1.0f - b1) * gv);
    vv = vfma(vset(b2), vv, (1.0f - b2) * gv * gv);
    wv = wv * keep - step * mv / (vsqrt(vv) * root + eps);
    if (full) {
      vstore(m + j, mv);
      vstore(v + j, vv);
      vstore(w + j, wv);
      vstore(g + j, vset(0));
    } else {
      vstore_part(m + j, mv, part);
      vstore_part(v + j, vv, part);
      vstore_part(w + j, wv, part);
      vstore_part(g + j, vset(0), part);
    }
  }
}

// AdamW with decoupled decay (Loshchilov and Hutter 2019, arXiv 1711.05101): m = b1 m + (1-b1) g, v = b2 v + (1-b2) g^2,
// w = w (1 - lr wd) - lr (m / bias1) / (sqrt(v / bias2) + eps); g is clipped by the global norm first and zeroed after
// shapes: all [n]
// numerics: f32
// cost: 14 n vec flop; reads 4 n, writes 4 n elements
static inline void adamw_f32(const iso_kcall *c) {
  iso_pool_run(c->pool, (c->d[0] + OPTIM_BLOCK - 1) / OPTIM_BLOCK, adamw_task, (void *)(uintptr_t)c);
}

// ---- Muon -------------------------------------------------------------------------------------------------------

static inline int64_t muon_parts(const int64_t *d) {
  int64_t n = 0;
  while (n < 4 && d[3 + n] > 0) n++;
  return n ? n : 1;
}

// Floats of one worker: X, next X (rows x cols of the largest part), A and B (smaller side squared).
static inline size_t muon_floats(const int64_t *d) {
  size_t big = 0;
  for (int64_t i = 0; i < muon_parts(d); i++) {
    size_t r = (size_t)(d[3 + i] > 0 ? d[3 + i] : d[1]), k = (size_t)d[2], s = r < k ? r : k, n = 2 * r * k + 2 * s * s + 64;
    big = n > big ? n : big;
  }
  return big;
}

// X (s x l, s <= l) towards its polar factor: quintic Newton-Schulz, all singular values into about [0.7, 1.2].
static inline void newton_schulz(float *x, float *next, float *a, float *b, int64_t s, int64_t l, int steps) {
  const float ca = 3.4445f, cb = -4.7750f, cc = 2.0315f;
  for (int i = 0; i < steps; i++) {
    iso_gemm_f32_one(&(iso_gemm){.tb = true, .m = s, .n = s, .k = l, .a = x, .lda = l, .b = x, .ldb = l, .c = a, .ldc = s});
    iso_gemm_f32_one(&(iso_gemm){.m = s, .n = s, .k = s, .a = a, .lda = s, .b = a, .ldb = s, .c = b, .ldc = s});
    for (int64_t j = 0; j < s * s; j++) b[j] = cb * a[j] + cc * b[j];
    for (int64_t j = 0; j < s; j++) b[j * s + j] += ca;
    iso_gemm_f32_one(&(iso_gemm){.m = s, .n = l, .k = s, .a = b, .lda = s, .b = x, .ldb = l, .c = next, .ldc = l});
    float *t = x;
    x = next;
    next = t;
  }
  if (steps & 1) memcpy(next, x, (size_t)(s * l) * sizeof *x);  // the caller looks at the first buffer
}

static inline void muon_task(void *arg, int64_t task, int worker) {
  const iso_kcall *c = arg;
  const iso_hyp *h = c->p[3];
  int64_t parts = muon_parts(c->d), layer = task / parts, part = task % parts, cols = c->d[2], row0 = 0;
  for (int64_t i = 0; i < part; i++) row0 += c->d[3 + i];
  int64_t rows = c->d[3 + part] > 0 ? c->d[3 + part] : c->d[1], at = (layer * c->d[1] + row0) * cols, n = rows * cols;
  bool flip = rows > cols;
  int64_t s = flip ? cols : rows, l = flip ? rows : cols;
  float *w = (float *)c->p[0] + at, *g = (float *)c->p[1] + at, *m = (float *)c->p[2] + at, mom = (float)h->momentum;
  float *x = (float *)(void *)(c->scratch + (size_t)worker * (muon_floats(c->d) * 4 / 64 * 64 + 64)), *next = x + n, *a = next + n, *b = a + s * s;
  double norm = 0;
  for (int64_t j = 0; j < n; j++) {
    m[j] = mom * m[j] + g[j];
    g[j] = mom * m[j] + g[j];
  }
  for (int64_t j0 = 0; j0 < n; j0 += 1024) {
    float sq = 0;
    for (int64_t j = j0; j < j0 + 1024 && j < n; j++) sq += g[j] * g[j];
    norm += sq;
  }
  float inv = (float)(1.0 / (sqrt(norm) + 1e-7));
  if (flip)
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = 0; j < cols; j++) x[j * rows + i] = g[i * cols + j] * inv;
  else
    for (int64_t j = 0; j < n; j++) x[j] = g[j] * inv;
  newton_schulz(x, next, a, b, s, l, h->ns_steps);
  double lr = h->muon_lr * c->a[1];
  float keep = (float)(1.0 - lr * h->muon_decay * c->a[0]), step = (float)(lr * 0.2 * sqrt((double)l));
  if (flip)
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = 0; j < cols; j++) w[i * cols + j] = w[i * cols + j] * keep - step * x[j * rows + i];
  else
    for (int64_t j = 0; j < n; j++) w[j] = w[j] * keep - step * x[j];
  memset(g, 0, (size_t)n * sizeof *g);
}

// Muon (Jordan et al. 2024): momentum m = mu m + g, Nesterov u = g + mu m, step along the polar factor of u, scaled by
// 0.2 sqrt(max(rows, cols)) so that its root mean square matches AdamW's (Liu et al. 2025, arXiv 2502.16982)
// shapes: w, g, m [L,N,K], each [N,K] cut by rows into parts that are orthogonalised on their own
// numerics: f32 Newton-Schulz; singular values within [0.68, 1.13] after five steps; one matrix a task
// cost: per part of s x l (s <= l): steps (4 s^2 l + 2 s^3) mat flop + 8 s l vec flop; reads and writes 3 s l elements
static inline void muon_f32(const iso_kcall *c) { iso_pool_run(c->pool, c->d[0] * muon_parts(c->d), muon_task, (void *)(uintptr_t)c); }

static inline size_t optim_scratch(iso_kslot slot, const int64_t *d, int threads) {
  if (slot == ISO_K_sumsq) return (size_t)((d[0] + OPTIM_BLOCK - 1) / OPTIM_BLOCK) * 8;
  if (slot == ISO_K_muon) return (muon_floats(d) * 4 / 64 * 64 + 64) * (size_t)threads;
  return 0;
}
#endif
