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

typedef struct muon_part {
  int64_t row0, rows, cols, s, l;  // of the matrix; smaller and larger side
} muon_part;
static inline muon_part muon_part_of(const int64_t *d, int64_t part) {
  muon_part p = {0, d[3 + part] > 0 ? d[3 + part] : d[1], d[2], 0, 0};
  for (int64_t i = 0; i < part; i++) p.row0 += d[3 + i];
  p.s = p.rows < p.cols ? p.rows : p.cols;
  p.l = p.rows < p.cols ? p.cols : p.rows;
  return p;
}

// A small product on the calling thread, and the bytes of room that those of a part need (NULL: none).
typedef struct muon_products {
  void (*run)(const iso_gemm *g, bool symmetric, void *room);
  size_t (*room)(int64_t s, int64_t l);
  int exact;  // first steps that multiply in f32 all the same
} muon_products;
static inline void muon_product_f32(const iso_gemm *g, bool symmetric, void *room) {
  (void)symmetric;
  (void)room;
  iso_gemm_f32_one(g);
}

// Bytes of one worker: room, X and next X (rows x cols of the largest part), A and B (smaller side squared).
static inline size_t muon_bytes(const int64_t *d, const muon_products *by) {
  size_t big = 0;
  for (int64_t i = 0; i < muon_parts(d); i++) {
    muon_part p = muon_part_of(d, i);
    size_t n = (by->room ? by->room(p.s, p.l) : 0) + (size_t)(2 * p.s * p.l + 2 * p.s * p.s) * 4 + 64;
    big = n > big ? n : big;
  }
  return big / 64 * 64 + 64;
}

// y = a y + b x; NULL x: y = a y
static inline void muon_blend(float *y, float a, float b, const float *x, int64_t n) {
  vf av = vset(a), bv = vset(b);
  int64_t j = 0;
  for (; j + VL <= n; j += VL) vstore(y + j, x ? vfma(bv, vload(x + j), av * vload(y + j)) : av * vload(y + j));
  for (; j < n; j++) y[j] = x ? a * y[j] + b * x[j] : a * y[j];
}

static inline double muon_sumsq(const float *x, int64_t n) {
  double sum = 0;
  for (int64_t j0 = 0; j0 < n; j0 += 1024) {
    vf v = vset(0);
    int64_t j = j0, end = j0 + 1024 < n ? j0 + 1024 : n;
    for (; j + VL <= end; j += VL) v = vfma(vload(x + j), vload(x + j), v);
    float rest = vsum(v);
    for (; j < end; j++) rest += x[j] * x[j];
    sum += rest;
  }
  return sum;
}

// X towards its polar factor: quintic Newton-Schulz, all singular values into about [0.7, 1.2]; returns x or next, whichever holds it. With
// rows <= cols A = X X', X <- (ca + cb A + cc A^2) X; else A = X' X, X <- X (...).
static inline float *newton_schulz(float *x, float *next, float *a, float *b, const muon_part *p, int steps, const muon_products *by, void *room) {
  const float ca = 3.4445f, cb = -4.7750f, cc = 2.0315f;
  int64_t s = p->s, l = p->l;
  bool wide = p->rows <= p->cols;
  for (int i = 0; i < steps; i++) {
    void (*run)(const iso_gemm *, bool, void *) = i < by->exact ? muon_product_f32 : by->run;
    run(&(iso_gemm){.ta = !wide, .tb = wide, .m = s, .n = s, .k = l, .a = x, .lda = p->cols, .b = x, .ldb = p->cols, .c = a, .ldc = s}, true, room);
    run(&(iso_gemm){.m = s, .n = s, .k = s, .a = a, .lda = s, .b = a, .ldb = s, .c = b, .ldc = s}, true, room);
    muon_blend(b, cc, cb, a, s * s);
    for (int64_t j = 0; j < s; j++) b[j * s + j] += ca;
    iso_gemm g = {.m = p->rows, .n = p->cols, .k = s, .a = wide ? b : x, .lda = s, .b = wide ? x : b, .ldb = p->cols, .c = next, .ldc = p->cols};
    run(&g, false, room);
    float *t = x;
    x = next;
    next = t;
  }
  return x;
}

typedef struct muon_args {
  const iso_kcall *c;
  const muon_products *by;
} muon_args;

static inline void muon_task(void *arg, int64_t task, int worker) {
  const muon_args *args = arg;
  const iso_kcall *c = args->c;
  const iso_hyp *h = c->p[3];
  int64_t parts = muon_parts(c->d), layer = task / parts;
  muon_part p = muon_part_of(c->d, task % parts);
  int64_t at = (layer * c->d[1] + p.row0) * p.cols, n = p.rows * p.cols;
  float *w = (float *)c->p[0] + at, *g = (float *)c->p[1] + at, *m = (float *)c->p[2] + at, mom = (float)h->momentum;
  unsigned char *room = c->scratch + (size_t)worker * muon_bytes(c->d, args->by);
  float *x = (float *)(void *)(room + (args->by->room ? args->by->room(p.s, p.l) : 0)), *next = x + n, *a = next + n, *b = a + p.s * p.s;
  muon_blend(m, mom, 1, g, n);
  muon_blend(g, 1, mom, m, n);
  memcpy(x, g, (size_t)n * sizeof *x);
  muon_blend(x, (float)(1.0 / (sqrt(muon_sumsq(g, n)) + 1e-7)), 0, NULL, n);
  x = newton_schulz(x, next, a, b, &p, h->ns_steps, args->by, room);
  double lr = h->muon_lr * c->a[1];
  muon_blend(w, (float)(1.0 - lr * h->muon_decay * c->a[0]), -(float)(lr * 0.2 * sqrt((double)p.l)), x, n);
  memset(g, 0, (size_t)n * sizeof *g);
}

// Muon (Jordan et al. 2024): momentum m = mu m + g, Nesterov u = g + mu m, step along the polar factor of u, scaled by
// 0.2 sqrt(max(rows, cols)) so that its root mean square matches AdamW's (Liu et al. 2025, arXiv 2502.16982)
// shapes: w, g, m [L,N,K], each [N,K] cut by rows into parts that are orthogonalised on their own
// numerics: Newton-Schulz in f32, or its products in bf16; singular values within [0.68, 1.13] after five steps; one matrix a task
// cost: per part of s x l (s <= l): steps (4 s^2 l + 2 s^3) mat flop + 8 s l vec flop; reads and writes 3 s l elements
static inline void muon_by(const iso_kcall *c, const muon_products *by) {
  muon_args a = {c, by};
  iso_pool_run(c->pool, c->d[0] * muon_parts(c->d), muon_task, &a);
}
static const muon_products MUON_F32 = {muon_product_f32, NULL, 0};
static inline void muon_f32(const iso_kcall *c) { muon_by(c, &MUON_F32); }

static inline size_t optim_scratch(iso_kslot slot, const int64_t *d, int threads) {
  if (slot == ISO_K_sumsq) return (size_t)((d[0] + OPTIM_BLOCK - 1) / OPTIM_BLOCK) * 8;
  if (slot == ISO_K_muon) return muon_bytes(d, &MUON_F32) * (size_t)threads;
  return 0;
}
#endif
