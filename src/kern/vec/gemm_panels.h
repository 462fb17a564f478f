// Products of packed panels, C (+)= A' B, in f32 or with operands rounded to bf16: the gradients of weights and, with AVX2, of inputs.
#ifndef ISO_KERN_VEC_GEMM_PANELS_H
#define ISO_KERN_VEC_GEMM_PANELS_H
#include "kern/gemm.h"
#include "kern/vec/round.h"
#include "kern/vec/transpose.h"
#include "kern/vec/vec.h"

// Rows of C whose sums stay in registers beside two vectors of columns; values of k that are packed at a time. With AVX2 a panel of B (16 KB)
// stays in the first-level cache while those of A (260 KB) come from the second.
#if defined(__AVX512F__)
enum { PANEL_ROWS = 14, PANEL_K = 384 };
#elif defined(__AVX2__)
enum { PANEL_ROWS = 6, PANEL_K = 256 };
#else
enum { PANEL_ROWS = 4, PANEL_K = 256 };
#endif
// The largest block of C, whose packed operands and sums stay in the caches; blocks of a product, counting parts of k, when it is large enough.
enum { PANEL_COLS = 2 * VL, PANEL_BLOCK_ROWS = 258 / PANEL_ROWS * PANEL_ROWS, PANEL_BLOCK_COLS = 512, PANEL_TASKS = 16, PANEL_SUM_ROWS = 16 };
// Rows that are packed side by side: a row of the operand is a page of its own, which no hardware prefetcher crosses.
enum { PANEL_PACK = 8 };

typedef struct panel_product {
  const iso_gemm *g;
  int64_t rows, cols, across;  // of a block of C; blocks along a row
  int64_t blocks, parts, part_k;
  bool round;             // operands to bf16
  float *work, *partial;  // [threads][panel_work()], and [parts][m,n] when there are several
} panel_product;

static inline int64_t panel_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
static inline int64_t panel_least(int64_t a, int64_t b) { return a < b ? a : b; }
// n in equal pieces of at most `most`, which are multiples of `unit`.
static inline int64_t panel_piece(int64_t n, int64_t most, int64_t unit) {
  int64_t pieces = (n + most - 1) / most;
  return panel_up((n + pieces - 1) / pieces, unit);
}

// How a product is cut, by its shape alone. Where C has few blocks, k is cut too, and the parts are added in order.
static inline panel_product panel_cut(int64_t m, int64_t n, int64_t k) {
  panel_product s = {.rows = panel_piece(m, PANEL_BLOCK_ROWS, PANEL_ROWS), .cols = panel_piece(n, PANEL_BLOCK_COLS, PANEL_COLS)};
  s.across = (n + s.cols - 1) / s.cols;
  s.blocks = (m + s.rows - 1) / s.rows * s.across;
  int64_t parts = panel_least((PANEL_TASKS + s.blocks - 1) / s.blocks, (k + PANEL_K / 2 - 1) / (PANEL_K / 2));
  s.part_k = (k + parts - 1) / parts;
  s.parts = (k + s.part_k - 1) / s.part_k;
  return s;
}
static inline int64_t panel_work(const panel_product *s) { return panel_up(PANEL_K * (s->rows + s->cols), VL); }
static inline size_t panel_scratch(int64_t m, int64_t n, int64_t k, int threads) {
  panel_product s = panel_cut(m, n, k);
  return (size_t)(panel_work(&s) * threads + (s.parts > 1 ? s.parts * m * n : 0)) * sizeof(float) + 64;
}

// dst[n / width][k][width] = n columns of k rows of src; what the last panel lacks is zero.
static inline __attribute__((always_inline)) void panel_pack(const float *src, int64_t ld, int64_t n, int64_t k, const int64_t width, float *dst) {
  for (int64_t q0 = 0; q0 < k; q0 += PANEL_PACK, src += PANEL_PACK * ld) {
    int64_t rows = panel_least(k - q0, PANEL_PACK), j = 0;
    float *to = dst + q0 * width;
    if (rows == PANEL_PACK)
      for (; j + width <= n; j += width, to += k * width)
#pragma GCC unroll 8
        for (int64_t q = 0; q < PANEL_PACK; q++) {
          memcpy(to + q * width, src + q * ld + j, (size_t)width * sizeof *to);
          __builtin_prefetch(src + (q + PANEL_PACK) * ld + j);  // may lie past the operand, where it does nothing
        }
    for (; j < n; j += width, to += k * width)
      for (int64_t q = 0; q < rows; q++) {
        const float *from = src + q * ld + j;
        int64_t have = panel_least(n - j, width);
        memset(to + q * width, 0, (size_t)width * sizeof *to);
        memcpy(to + q * width, from, (size_t)have * sizeof *to);
      }
  }
}

// The same from src[n,k]; PANEL_ROWS wide.
static inline void panel_pack_across(const float *src, int64_t ld, int64_t n, int64_t k, float *dst) {
  for (int64_t j = 0; j < n; j += PANEL_ROWS, dst += k * PANEL_ROWS, src += PANEL_ROWS * ld) {
    int64_t have = panel_least(n - j, PANEL_ROWS), q = 0;
#if defined(__AVX2__) && !defined(__AVX512F__)
    if (have == PANEL_ROWS)
      for (; q + 8 < k; q += 8) {  // a store of eight floats ends in the next value of k, which comes after it
        __m256 r[8];
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) r[i] = i < PANEL_ROWS ? _mm256_loadu_ps(src + i * ld + q) : _mm256_setzero_ps();
        transpose_8(r);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) _mm256_storeu_ps(dst + (q + i) * PANEL_ROWS, r[i]);
      }
#endif
    for (; q < k; q++)
      for (int64_t i = 0; i < PANEL_ROWS; i++) dst[q * PANEL_ROWS + i] = i < have ? src[i * ld + q] : 0;
  }
}

// C[PANEL_ROWS, PANEL_COLS] (+)= one panel of A by one of B.
static inline __attribute__((always_inline)) void panel_block(int64_t k, const float *a, const float *b, float *c, int64_t ld, bool acc) {
  vf s[PANEL_ROWS][2];
#pragma GCC unroll 16
  for (int i = 0; i < PANEL_ROWS; i++) {
    __builtin_prefetch(c + i * ld, 1);
    __builtin_prefetch(c + i * ld + PANEL_COLS - 1, 1);
    s[i][0] = s[i][1] = vset(0);
  }
  for (int64_t q = 0; q < k; q++, a += PANEL_ROWS, b += PANEL_COLS) {
    vf b0 = vload(b), b1 = vload(b + VL);
#pragma GCC unroll 16
    for (int i = 0; i < PANEL_ROWS; i++) {
      vf av = vset(a[i]);
      s[i][0] = vfma(av, b0, s[i][0]);
      s[i][1] = vfma(av, b1, s[i][1]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < PANEL_ROWS; i++) {
    float *at = c + i * ld;
    vstore(at, acc ? vload(at) + s[i][0] : s[i][0]);
    vstore(at + VL, acc ? vload(at + VL) + s[i][1] : s[i][1]);
  }
}

// The same where C may end inside the block, after `rows` and `cols`.
static inline __attribute__((always_inline)) void panel_part(int64_t k, const float *a, const float *b, float *c, int64_t ld, bool acc, int64_t rows,
                                                             int64_t cols) {
  if (rows >= PANEL_ROWS && cols >= PANEL_COLS) {
    panel_block(k, a, b, c, ld, acc);
    return;
  }
  float whole[PANEL_ROWS * PANEL_COLS];
  rows = panel_least(rows, PANEL_ROWS);
  cols = panel_least(cols, PANEL_COLS);
  panel_block(k, a, b, whole, PANEL_COLS, false);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < cols; j++) c[i * ld + j] = (acc ? c[i * ld + j] : 0) + whole[i * PANEL_COLS + j];
}

static inline void panel_task(void *arg, int64_t t, int worker) {
  const panel_product *s = arg;
  const iso_gemm *g = s->g;
  int64_t part = t / s->blocks, block = t % s->blocks, i0 = block / s->across * s->rows, j0 = block % s->across * s->cols;
  int64_t m = panel_least(g->m - i0, s->rows), n = panel_least(g->n - j0, s->cols);
  int64_t k0 = part * s->part_k, k = panel_least(g->k - k0, s->part_k), run = panel_piece(k, PANEL_K, 1);
  float *a = s->work + worker * panel_work(s), *b = a + PANEL_K * s->rows;
  float *c = g->c + i0 * g->ldc + j0;
  int64_t ld = g->ldc;
  bool acc = false;
  if (s->parts > 1) {
    c = s->partial + (part * g->m + i0) * g->n + j0;
    ld = g->n;
  } else {
    acc = iso_gemm_start(g, i0, j0, m, n);
  }
  for (int64_t q = 0; q < k; q += run, acc = true) {
    int64_t len = panel_least(k - q, run);
    if (g->ta)
      panel_pack(g->a + (k0 + q) * g->lda + i0, g->lda, m, len, PANEL_ROWS, a);
    else
      panel_pack_across(g->a + i0 * g->lda + k0 + q, g->lda, m, len, a);
    panel_pack(g->b + (k0 + q) * g->ldb + j0, g->ldb, n, len, PANEL_COLS, b);
    if (s->round) {
      round_bf16_f32(a, a, len * panel_up(m, PANEL_ROWS));
      round_bf16_f32(b, b, len * panel_up(n, PANEL_COLS));
    }
    if (VL == 16)
      for (int64_t i = 0; i < m; i += PANEL_ROWS)
        for (int64_t j = 0; j < n; j += PANEL_COLS) panel_part(len, a + i * len, b + j * len, c + i * ld + j, ld, acc, m - i, n - j);
    else
      for (int64_t j = 0; j < n; j += PANEL_COLS)
        for (int64_t i = 0; i < m; i += PANEL_ROWS) panel_part(len, a + i * len, b + j * len, c + i * ld + j, ld, acc, m - i, n - j);
  }
}

static inline void panel_sum_task(void *arg, int64_t t, int worker) {
  (void)worker;
  const panel_product *s = arg;
  const iso_gemm *g = s->g;
  int64_t i0 = t * PANEL_SUM_ROWS, rows = panel_least(g->m - i0, PANEL_SUM_ROWS);
  bool acc = iso_gemm_start(g, i0, 0, rows, g->n);
  for (int64_t i = i0; i < i0 + rows; i++)
    for (int64_t p = 0; p < s->parts; p++) {
      float *c = g->c + i * g->ldc;
      const float *x = s->partial + (p * g->m + i) * g->n;
      int64_t j = 0;
      if (!acc && p == 0) {
        memcpy(c, x, (size_t)g->n * sizeof *c);
        continue;
      }
      for (; j + VL <= g->n; j += VL) vstore(c + j, vload(c + j) + vload(x + j));
      for (; j < g->n; j++) c[j] += x[j];
    }
}

// Not g->tb. scratch: panel_scratch(m, n, k, threads of the pool) bytes.
// numerics: sums of at most PANEL_K products, added in the order of k; the same for any number of threads
static inline void gemm_panels(iso_pool *pool, const iso_gemm *g, unsigned char *scratch, bool round) {
  if (g->m <= 0 || g->n <= 0 || g->k <= 0) return;
  panel_product s = panel_cut(g->m, g->n, g->k);
  s.g = g;
  s.round = round;
  s.work = (float *)(void *)(scratch + (-(uintptr_t)scratch & 63));
  s.partial = s.work + panel_work(&s) * iso_pool_threads(pool);
  iso_pool_run(pool, s.blocks * s.parts, panel_task, &s);
  if (s.parts > 1) iso_pool_run(pool, (g->m + PANEL_SUM_ROWS - 1) / PANEL_SUM_ROWS, panel_sum_task, &s);
}
#endif
