// Linear layers and the fused head with cross-entropy, on top of kern/gemm.h.
#ifndef ISO_KERN_VEC_LINEAR_H
#define ISO_KERN_VEC_LINEAR_H
#include "kern/gemm.h"
#if defined(__AMX_BF16__) || defined(__AMXBF16__)  // GCC's name and clang's
#define ISO_HAS_TILES 1
#include "kern/amx/gemm_amx.h"
#endif
#include "kern/vec/gemm_panels.h"
#include "kern/vec/round.h"

// How a table rounds the operands of its products.
static const iso_bf16_ops BF16_EMULATED = {round_bf16_f32, false, NULL, NULL}, BF16_NATIVE = {round_bf16, true, NULL, NULL};
#if defined(ISO_HAS_TILES)
static const iso_bf16_ops BF16_TILES = {round_bf16, true, iso_gemm_amx, iso_gemm_amx_bwd};
#endif
typedef enum product_kind { PRODUCT_F32, PRODUCT_BF16_EMULATED, PRODUCT_BF16_NATIVE, PRODUCT_BF16_TILES } product_kind;

static inline const iso_bf16_ops *bf16_ops(product_kind kind) {
#if defined(ISO_HAS_TILES)
  if (kind == PRODUCT_BF16_TILES) return &BF16_TILES;
#endif
  return kind == PRODUCT_F32 ? NULL : kind == PRODUCT_BF16_NATIVE ? &BF16_NATIVE : &BF16_EMULATED;
}

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
                      .residual = c->p[3]},
          c->scratch, kind);
}

typedef struct column_sum {
  const float *dy;
  float *db;
  int64_t m, n;
} column_sum;

enum { SUM_COLS = 64 };
static inline void column_sum_task(void *arg, int64_t t, int worker) {
  (void)worker;
  const column_sum *s = arg;
  int64_t j0 = t * SUM_COLS, j1 = j0 + SUM_COLS < s->n ? j0 + SUM_COLS : s->n;
  for (int64_t i = 0; i < s->m; i++) {
    const float *dy = s->dy + i * s->n;
    int64_t j = j0;
    for (; j + VL <= j1; j += VL) vstore(s->db + j, vload(s->db + j) + vload(dy + j));
    for (; j < j1; j++) s->db[j] += dy[j];
  }
}

// dW[N,K] += dy[M,N]' x[M,K]; dbias[N] += column sums of dy; dx[M,K] (+)= dy W[N,K]
// numerics: as linear; without a whole product of its own, bf16 rounds dy once for both
// cost: 2 M N K flop for each of dW and dx, M N for a bias
static inline void linear_bwd_kind(const iso_kcall *c, product_kind kind) {
  int64_t m = c->d[0], n = c->d[1], k = c->d[2];
  const iso_bf16_ops *ops = bf16_ops(kind);
  const float *dy = c->p[0], *x = c->p[1], *w = c->p[2];
  float *dw = c->p[3], *dx = c->p[5];
  unsigned char *other = c->scratch + ((size_t)(m * n) * 4 + 63) / 64 * 64;
  if (ops && ops->gemm) {
    iso_gemm gw = {.ta = true, .acc = true, .m = n, .n = k, .k = m, .a = dy, .lda = n, .b = x, .ldb = k, .c = dw, .ldc = k};
    iso_gemm gx = {.acc = c->d[3] != 0, .m = m, .n = k, .k = n, .a = dy, .lda = n, .b = w, .ldb = k, .c = dx, .ldc = k};
    if (dw && dx)
      ops->gemm_bwd(c->pool, &gw, &gx, c->scratch);
    else if (dw || dx)
      ops->gemm(c->pool, dw ? &gw : &gx, c->scratch);
    dw = dx = NULL;
  }
  if (dw && (!ops || product_is_ours(true, n, k, m, kind))) {
    product(c, &(iso_gemm){.ta = true, .acc = true, .m = n, .n = k, .k = m, .a = dy, .lda = n, .b = x, .ldb = k, .c = dw, .ldc = k}, c->scratch,
            kind);
    dw = NULL;
  }
  if (dx && (!ops || product_is_ours(false, m, k, n, kind))) {
    product(c, &(iso_gemm){.acc = c->d[3] != 0, .m = m, .n = k, .k = n, .a = dy, .lda = n, .b = w, .ldb = k, .c = dx, .ldc = k}, c->scratch, kind);
    dx = NULL;
  }
  if (ops && (dw || dx)) {
    iso_bf16_round(c->pool, dy, m, n, n, c->scratch, ops);
    dy = (const float *)(const void *)c->scratch;
  }
  if (dw) {
    iso_bf16_round(c->pool, x, m, k, k, other, ops);
    iso_gemm g = {.ta = true, .acc = true, .m = n, .n = k, .k = m, .a = dy, .lda = n, .ldb = k, .c = dw, .ldc = k};
    g.b = (const float *)(const void *)other;
    iso_gemm_rounded(c->pool, &g, ops);
  }
  if (dx) {
    iso_bf16_round(c->pool, w, n, k, k, other, ops);
    iso_gemm g = {.acc = c->d[3] != 0, .m = m, .n = k, .k = n, .a = dy, .lda = n, .ldb = k, .c = dx, .ldc = k};
    g.b = (const float *)(const void *)other;
    iso_gemm_rounded(c->pool, &g, ops);
  }
  if (c->p[4]) {
    column_sum s = {c->p[0], c->p[4], m, n};
    iso_pool_run(c->pool, (n + SUM_COLS - 1) / SUM_COLS, column_sum_task, &s);
  }
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
static inline size_t product_scratch(bool ta, int64_t m, int64_t n, int64_t k, int threads, product_kind kind) {
  return product_is_ours(ta, m, n, k, kind) ? panel_scratch(m, n, k, threads) : 0;
}
static inline size_t head_products_scratch(int64_t rows, int64_t d, int64_t v, int threads, product_kind kind) {
  return larger_size(product_scratch(true, v, d, rows, threads, kind), product_scratch(false, rows, d, v, threads, kind));
}

static inline size_t linear_scratch(iso_kslot slot, const int64_t *d, int threads, product_kind kind) {
  bool rounds = kind != PRODUCT_F32;
  if (slot == ISO_K_softmax_xent) return (size_t)d[0] * 8 + 64;
  if (slot == ISO_K_head_loss) {
    int64_t width = d[1], v = d[2], rows = head_rows(d[0], v), last = d[0] % rows ? d[0] % rows : rows;
    size_t most = larger_size(head_products_scratch(rows, width, v, threads, kind), head_products_scratch(last, width, v, threads, kind));
    if (rounds) {
      most = larger_size(most, iso_gemm_bf16_scratch(v, width, rows));
      most = larger_size(most, iso_gemm_bf16_scratch(rows, v, width) + iso_gemm_bf16_scratch(rows, width, v));
    }
    return (size_t)rows * 8 + 64 + (size_t)(rows * v + 16) * 4 + most;
  }
  if (slot == ISO_K_linear) return rounds ? iso_gemm_bf16_scratch(d[0], d[1], d[2]) : 0;
  size_t ours = larger_size(product_scratch(true, d[1], d[2], d[0], threads, kind), product_scratch(false, d[0], d[2], d[1], threads, kind));
  return larger_size(ours, rounds ? iso_gemm_bf16_bwd_scratch(d[0], d[1], d[2]) : 0);
}

static inline void linear_f32(const iso_kcall *c) { linear_kind(c, PRODUCT_F32); }
static inline void linear_bwd_f32(const iso_kcall *c) { linear_bwd_kind(c, PRODUCT_F32); }
static inline void head_loss_f32(const iso_kcall *c) { head_loss_kind(c, PRODUCT_F32); }
static inline void linear_emu(const iso_kcall *c) { linear_kind(c, PRODUCT_BF16_EMULATED); }
static inline void linear_bwd_emu(const iso_kcall *c) { linear_bwd_kind(c, PRODUCT_BF16_EMULATED); }
static inline void head_loss_emu(const iso_kcall *c) { head_loss_kind(c, PRODUCT_BF16_EMULATED); }
static inline void linear_bf16(const iso_kcall *c) { linear_kind(c, PRODUCT_BF16_NATIVE); }
static inline void linear_bwd_bf16(const iso_kcall *c) { linear_bwd_kind(c, PRODUCT_BF16_NATIVE); }
static inline void head_loss_bf16(const iso_kcall *c) { head_loss_kind(c, PRODUCT_BF16_NATIVE); }
#if defined(ISO_HAS_TILES)
static inline void linear_amx(const iso_kcall *c) { linear_kind(c, PRODUCT_BF16_TILES); }
static inline void linear_bwd_amx(const iso_kcall *c) { linear_bwd_kind(c, PRODUCT_BF16_TILES); }
static inline void head_loss_amx(const iso_kcall *c) { head_loss_kind(c, PRODUCT_BF16_TILES); }
#endif
#endif
