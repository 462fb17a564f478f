// Linear layers and the fused head with cross-entropy, on top of kern/gemm.h.
#ifndef ISO_KERN_VEC_LINEAR_H
#define ISO_KERN_VEC_LINEAR_H
#include "kern/gemm.h"
#if defined(__AVX512BF16__)
#include "kern/bf16/gemm.h"
#endif
#include "kern/vec/gemm_panels.h"
#include "kern/vec/round.h"

// How a table rounds the operands of its products.
#if defined(__AVX512BF16__)
static const iso_bf16_ops BF16_OPS = {NULL, gemm_blocks};
#else
static const iso_bf16_ops BF16_OPS = {round_bf16_f32, NULL};
#endif
typedef enum product_kind { PRODUCT_F32, PRODUCT_BF16_EMULATED, PRODUCT_BF16_BLOCKS } product_kind;
static inline const iso_bf16_ops *bf16_ops(product_kind kind) { return kind == PRODUCT_F32 ? NULL : &BF16_OPS; }

// Which f32 products are ours (kern/vec/gemm_panels.h): those of a transposed A, where oneDNN is slow, and with AVX2 those of plain operands, where
// a row length near a power of two halves its rate; small ones are not worth cutting.
static inline bool product_is_ours(bool ta, int64_t m, int64_t n, int64_t k, product_kind kind) {
  return (VL == 8 || (VL == 16 && ta)) && kind <= PRODUCT_BF16_EMULATED && (double)m * (double)n * (double)k > 4e6;
}

static inline void product(const iso_kcall *c, const iso_gemm *g, unsigned char *scratch, product_kind kind) {
  if (!g->tb && product_is_ours(g->ta, g->m, g->n, g->k, kind))
    gemm_panels(c->pool, g, scratch, kind != PRODUCT_F32);
  else if (kind == PRODUCT_F32)
    iso_gemm_f32(c->pool, g);
  else
    iso_gemm_bf16(c->pool, g, scratch, bf16_ops(kind));
}

// y[M,N] = x[M,K] W[N,K]' + bias[N] + residual[M,N]
// numerics: f32 sums of length K in oneDNN's order: |error| <= K eps sum |x||w|; bf16: operands rounded first
// cost: 2 M N K flop (+ M N per start operand); reads M K + N K (+ M N), writes M N elements
static inline void linear_kind(const iso_kcall *c, product_kind kind) {
  int64_t m = c->d[0], n = c->d[1], k = c->d[2];
  product(c,
          &(iso_gemm){.tb = true,
                      .m = m,
                      .n = n,
                      .k = k,
                      .a = c->p[0],
                      .lda = k,
                      .b = c->p[1],
                      .ldb = k,
                      .c = c->p[4],
                      .ldc = n,
                      .bias = c->p[2],
                      .residual = c->p[3],
                      .a_narrow = narrow(c, 0),
                      .c_narrow = narrow(c, 4)},
          c->scratch, kind);
}

enum { SUM_COLS = 64 };
static inline void column_sum_task(void *arg, int64_t t, int worker) {
  (void)worker;
  const iso_kcall *c = arg;
  int64_t n = c->d[1], j0 = t * SUM_COLS, j1 = j0 + SUM_COLS < n ? j0 + SUM_COLS : n;
  float *db = c->p[4];
  for (int64_t i = 0; i < c->d[0]; i++)
    for (int64_t j = j0; j < j1; j += VL)
      vstore_n(db, j, vload_n(db, j, j1 - j, false) + vload_n(c->p[0], i * n + j, j1 - j, narrow(c, 0)), j1 - j, false);
}

// dW[N,K] += dy[M,N]' x[M,K]; dbias[N] += column sums of dy; dx[M,K] (+)= dy W[N,K]
// numerics: as linear
// cost: 2 M N K flop for each of dW and dx, M N for a bias
static inline void linear_bwd_kind(const iso_kcall *c, product_kind kind) {
  int64_t m = c->d[0], n = c->d[1], k = c->d[2];
  const float *dy = c->p[0];
  iso_gemm dw = {.ta = true, .acc = true, .m = n, .n = k, .k = m, .a = dy, .lda = n, .b = c->p[1], .ldb = k, .c = c->p[3], .ldc = k};
  dw.a_narrow = narrow(c, 0), dw.b_narrow = narrow(c, 1);
  iso_gemm dx = {.acc = c->d[3] != 0, .m = m, .n = k, .k = n, .a = dy, .lda = n, .b = c->p[2], .ldb = k, .c = c->p[5], .ldc = k};
  dx.a_narrow = narrow(c, 0), dx.c_narrow = narrow(c, 5);
  if (dw.c) product(c, &dw, c->scratch, kind);
  if (dx.c) product(c, &dx, c->scratch, kind);
  if (c->p[4]) iso_pool_run(c->pool, (n + SUM_COLS - 1) / SUM_COLS, column_sum_task, (void *)(uintptr_t)c);
}

// ---- softmax and cross-entropy ----------------------------------------------------------------------------------

typedef struct xent {
  const float *logits;  // [rows,V]
  const int32_t *targets;
  float *dlogits, *row_loss;  // may be NULL
  double *sums;               // [rows]: nats of each row, negative when it is ignored
  int64_t rows, v;
  float scale;
} xent;

enum { XENT_ROWS = 4 };
static inline void xent_task(void *arg, int64_t task, int worker) {
  (void)worker;
  const xent *s = arg;
  int64_t end = (task + 1) * XENT_ROWS < s->rows ? (task + 1) * XENT_ROWS : s->rows, v = s->v, body = v / VL * VL;
  for (int64_t i = task * XENT_ROWS; i < end; i++) {
    const float *x = s->logits + i * v;
    float *dx = s->dlogits ? s->dlogits + i * v : NULL;
    int32_t y = s->targets[i];
    bool counted = y >= 0 && y < v;
    s->sums[i] = -1;
    if (s->row_loss) s->row_loss[i] = 0;
    if (!counted) {
      if (dx) memset(dx, 0, (size_t)v * sizeof *dx);
      continue;
    }
    vf mv = vset(-INFINITY), nan = vset(0);
    for (int64_t j = 0; j < body; j += VL) {
      vf xv = vload(x + j);
      mv = vmax(mv, xv);
      nan += xv - xv;  // 0 for finite values: max would drop a NaN
    }
    float m = vhmax(mv), bad = vsum(nan);
    for (int64_t j = body; j < v; j++) {
      m = x[j] > m ? x[j] : m;
      bad += x[j] - x[j];
    }
    vf sv = vset(0), shift = vset(m);
    double sum = 0;
    float xy = x[y];
    int64_t j = 0;
    for (; j < body; j += VL) {
      vf e = vexp(vload(x + j) - shift);
      sv += e;
      if (dx) vstore(dx + j, e);
    }
    if (j < v) {
      vf e = vexp(vload_part(x + j, v - j, -INFINITY) - shift);
      sv += e;
      if (dx) vstore_part(dx + j, e, v - j);
    }
    sum = vsum(sv);
    double nats = log(sum) + (double)m - (double)xy + (double)bad;
    s->sums[i] = nats < 0 ? 0 : nats;  // rounding may give -1e-8; NaN stays NaN
    if (s->row_loss) s->row_loss[i] = (float)nats;
    if (!dx) continue;
    float f = (float)((double)s->scale / sum) + bad;
    for (j = 0; j < body; j += VL) vstore(dx + j, vset(f) * vload(dx + j));
    for (; j < v; j++) dx[j] *= f;
    dx[y] -= s->scale;
  }
}

static inline void xent_run(iso_pool *pool, xent *s, double *loss) {
  iso_pool_run(pool, (s->rows + XENT_ROWS - 1) / XENT_ROWS, xent_task, s);
  for (int64_t i = 0; i < s->rows; i++)
    if (!(s->sums[i] < 0)) {
      loss[0] += s->sums[i];
      loss[1] += 1;
    }
}

// l = -log softmax(logits)[target]; dlogits = scale (softmax - onehot)
// numerics: max subtracted, exp to 2e-7, row sum in f32 lanes, logarithm and totals in f64
// cost: about 6 M V vec flop; reads and writes M V elements
static inline void softmax_xent_f32(const iso_kcall *c) {
  const iso_hyp *h = c->p[5];
  xent s = {c->p[0], c->p[1], c->p[3], c->p[4], (double *)(void *)c->scratch, c->d[0], c->d[1], h ? (float)h->loss_scale : 1.0f};
  xent_run(c->pool, &s, c->p[2]);
}

// Rows whose logits are held at once: few enough to stay near the caches, but at least 256, since every chunk reads W and adds to dW[V,D].
static inline int64_t head_rows(int64_t m, int64_t v) {
  int64_t r = (int64_t)4 * 1024 * 1024 / v / 16 * 16;
  r = r < 256 ? 256 : r > 1024 ? 1024 : r;
  return r < m ? r : m;
}

// logits = x W' by chunks of rows that never leave the caches for long; loss, dx = dlogits W, dW += dlogits' x
// (the fusion of Hsu et al. 2024, arXiv 2410.10989, on CPU)
// numerics: as linear and softmax_xent
// cost: 2 M V D flop for the loss, 6 M V D with gradients; scratch rows V
static inline void head_loss_kind(const iso_kcall *c, product_kind kind) {
  int64_t m = c->d[0], d = c->d[1], v = c->d[2], rows = head_rows(m, v);
  const float *x = c->p[0], *w = c->p[1];
  const int32_t *targets = c->p[2];
  float *dx = c->p[4], *dw = c->p[5], *row_loss = c->p[6];
  const iso_hyp *h = c->p[7];
  double *sums = (double *)(void *)c->scratch;
  float *logits = (float *)(void *)(c->scratch + (size_t)(rows * 8 + 63) / 64 * 64);
  unsigned char *rest = (unsigned char *)(logits + (rows * v + 15) / 16 * 16);
  for (int64_t i = 0; i < m; i += rows) {
    int64_t n = m - i < rows ? m - i : rows;
    product(c, &(iso_gemm){.tb = true, .m = n, .n = v, .k = d, .a = x + i * d, .lda = d, .b = w, .ldb = d, .c = logits, .ldc = v}, rest, kind);
    xent s = {logits, targets + i, dx || dw ? logits : NULL, row_loss ? row_loss + i : NULL, sums, n, v, h ? (float)h->loss_scale : 1.0f};
    xent_run(c->pool, &s, c->p[3]);
    if (dx) product(c, &(iso_gemm){.m = n, .n = d, .k = v, .a = logits, .lda = v, .b = w, .ldb = d, .c = dx + i * d, .ldc = d}, rest, kind);
    if (dw)
      product(c, &(iso_gemm){.ta = true, .acc = true, .m = v, .n = d, .k = n, .a = logits, .lda = v, .b = x + i * d, .ldb = d, .c = dw, .ldc = d},
              rest, kind);
  }
}

static inline size_t larger_size(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t product_scratch(bool ta, bool tb, int64_t m, int64_t n, int64_t k, int threads, product_kind kind) {
  if (!tb && product_is_ours(ta, m, n, k, kind)) return panel_scratch(m, n, k, threads);
  return kind == PRODUCT_F32 ? 0 : iso_gemm_bf16_scratch(m, n, k, threads);
}
// Of the products y[M,N] = x[M,K] W[N,K]', dW and dx.
static inline size_t gradients_scratch(int64_t m, int64_t n, int64_t k, int threads, product_kind kind) {
  return larger_size(product_scratch(true, false, n, k, m, threads, kind), product_scratch(false, false, m, k, n, threads, kind));
}

static inline size_t linear_scratch(iso_kslot slot, const int64_t *d, int threads, product_kind kind) {
  if (slot == ISO_K_softmax_xent) return (size_t)d[0] * 8 + 64;
  if (slot == ISO_K_head_loss) {
    int64_t width = d[1], v = d[2], rows = head_rows(d[0], v), last = d[0] % rows ? d[0] % rows : rows;
    size_t most = larger_size(gradients_scratch(rows, v, width, threads, kind), gradients_scratch(last, v, width, threads, kind));
    most = larger_size(most, product_scratch(false, true, rows, v, width, threads, kind));
    return (size_t)rows * 8 + 64 + (size_t)(rows * v + 16) * 4 + most;
  }
  if (slot == ISO_K_linear) return product_scratch(false, true, d[0], d[1], d[2], threads, kind);
  return gradients_scratch(d[0], d[1], d[2], threads, kind);
}

static inline void linear_f32(const iso_kcall *c) { linear_kind(c, PRODUCT_F32); }
static inline void linear_bwd_f32(const iso_kcall *c) { linear_bwd_kind(c, PRODUCT_F32); }
static inline void head_loss_f32(const iso_kcall *c) { head_loss_kind(c, PRODUCT_F32); }
static inline void linear_emu(const iso_kcall *c) { linear_kind(c, PRODUCT_BF16_EMULATED); }
static inline void linear_bwd_emu(const iso_kcall *c) { linear_bwd_kind(c, PRODUCT_BF16_EMULATED); }
static inline void head_loss_emu(const iso_kcall *c) { head_loss_kind(c, PRODUCT_BF16_EMULATED); }
static inline void linear_blocks(const iso_kcall *c) { linear_kind(c, PRODUCT_BF16_BLOCKS); }
static inline void linear_bwd_blocks(const iso_kcall *c) { linear_bwd_kind(c, PRODUCT_BF16_BLOCKS); }
#endif
