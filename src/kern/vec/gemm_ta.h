// Products of a transposed left operand, C (+)= A' B, in f32 or with operands rounded to bf16: the gradients of weights.
#ifndef ISO_KERN_VEC_GEMM_TA_H
#define ISO_KERN_VEC_GEMM_TA_H
#include "kern/gemm.h"
#include "kern/vec/round.h"
#include "kern/vec/vec.h"

// Rows of C whose sums stay in registers beside two vectors of columns.
#if defined(__AVX512F__)
enum { TA_ROWS = 14 };
#elif defined(__AVX2__)
enum { TA_ROWS = 6 };
#else
enum { TA_ROWS = 4 };
#endif
// Values of k that are packed at a time; the largest block of C, whose packed operands (1.2 MB) and sums stay in the second-level cache;
// blocks of a product, counting parts of k, when it is large enough.
enum { TA_COLS = 2 * VL, TA_K = 384, TA_BLOCK_ROWS = 252 / TA_ROWS * TA_ROWS, TA_BLOCK_COLS = 512, TA_TASKS = 16, TA_SUM_ROWS = 16 };

typedef struct ta_product {
  const iso_gemm *g;
  int64_t rows, cols, across;  // of a block of C; blocks along a row
  int64_t blocks, parts, part_k;
  bool round;             // operands to bf16
  float *work, *partial;  // [threads][ta_work()], and [parts][m,n] when there are several
} ta_product;

static inline int64_t ta_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
static inline int64_t ta_least(int64_t a, int64_t b) { return a < b ? a : b; }
// n in equal pieces of at most `most`, which are multiples of `unit`.
static inline int64_t ta_piece(int64_t n, int64_t most, int64_t unit) {
  int64_t pieces = (n + most - 1) / most;
  return ta_up((n + pieces - 1) / pieces, unit);
}

// How a product is cut, by its shape alone. Where C has few blocks, k is cut too, and the parts are added in order.
static inline ta_product ta_cut(int64_t m, int64_t n, int64_t k) {
  ta_product s = {.rows = ta_piece(m, TA_BLOCK_ROWS, TA_ROWS), .cols = ta_piece(n, TA_BLOCK_COLS, TA_COLS)};
  s.across = (n + s.cols - 1) / s.cols;
  s.blocks = (m + s.rows - 1) / s.rows * s.across;
  int64_t parts = ta_least((TA_TASKS + s.blocks - 1) / s.blocks, (k + TA_K / 2 - 1) / (TA_K / 2));
  s.part_k = (k + parts - 1) / parts;
  s.parts = (k + s.part_k - 1) / s.part_k;
  return s;
}
static inline int64_t ta_work(const ta_product *s) { return ta_up(TA_K * (s->rows + s->cols), VL); }
static inline size_t ta_scratch(int64_t m, int64_t n, int64_t k, int threads) {
  ta_product s = ta_cut(m, n, k);
  return (size_t)(ta_work(&s) * threads + (s.parts > 1 ? s.parts * m * n : 0)) * sizeof(float) + 64;
}

// dst[n / width][k][width] = n columns of k rows of src; what the last panel lacks is zero.
static inline __attribute__((always_inline)) void ta_pack(const float *src, int64_t ld, int64_t n, int64_t k, const int64_t width, float *dst) {
  for (int64_t q = 0; q < k; q++, src += ld) {
    float *to = dst + q * width;
    for (int64_t j = 0; j < n; j += width, to += k * width) {
      if (n - j >= width) {
        memcpy(to, src + j, (size_t)width * sizeof *to);
      } else {
        memset(to, 0, (size_t)width * sizeof *to);
        memcpy(to, src + j, (size_t)(n - j) * sizeof *to);
      }
    }
  }
}

// C[TA_ROWS, TA_COLS] (+)= one panel of A by one of B.
static inline __attribute__((always_inline)) void ta_block(int64_t k, const float *a, const float *b, float *c, int64_t ld, bool acc) {
  vf s[TA_ROWS][2];
#pragma GCC unroll 16
  for (int i = 0; i < TA_ROWS; i++) {
    __builtin_prefetch(c + i * ld, 1);
    __builtin_prefetch(c + i * ld + TA_COLS - 1, 1);
    s[i][0] = s[i][1] = vset(0);
  }
  for (int64_t q = 0; q < k; q++, a += TA_ROWS, b += TA_COLS) {
    vf b0 = vload(b), b1 = vload(b + VL);
#pragma GCC unroll 16
    for (int i = 0; i < TA_ROWS; i++) {
      vf av = vset(a[i]);
      s[i][0] = vfma(av, b0, s[i][0]);
      s[i][1] = vfma(av, b1, s[i][1]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < TA_ROWS; i++) {
    float *at = c + i * ld;
    vstore(at, acc ? vload(at) + s[i][0] : s[i][0]);
    vstore(at + VL, acc ? vload(at + VL) + s[i][1] : s[i][1]);
  }
}

// The same where C ends inside the block.
static inline void ta_edge(int64_t k, const float *a, const float *b, float *c, int64_t ld, bool acc, int64_t rows, int64_t cols) {
  float whole[TA_ROWS * TA_COLS];
  ta_block(k, a, b, whole, TA_COLS, false);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < cols; j++) c[i * ld + j] = (acc ? c[i * ld + j] : 0) + whole[i * TA_COLS + j];
}

static inline void ta_task(void *arg, int64_t t, int worker) {
  const ta_product *s = arg;
  const iso_gemm *g = s->g;
  int64_t part = t / s->blocks, block = t % s->blocks, i0 = block / s->across * s->rows, j0 = block % s->across * s->cols;
  int64_t m = ta_least(g->m - i0, s->rows), n = ta_least(g->n - j0, s->cols);
  int64_t k0 = part * s->part_k, k = ta_least(g->k - k0, s->part_k), run = ta_piece(k, TA_K, 1);
  float *a = s->work + worker * ta_work(s), *b = a + TA_K * s->rows;
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
    int64_t len = ta_least(k - q, run);
    ta_pack(g->a + (k0 + q) * g->lda + i0, g->lda, m, len, TA_ROWS, a);
    ta_pack(g->b + (k0 + q) * g->ldb + j0, g->ldb, n, len, TA_COLS, b);
    if (s->round) {
      round_bf16_f32(a, a, len * ta_up(m, TA_ROWS));
      round_bf16_f32(b, b, len * ta_up(n, TA_COLS));
    }
    for (int64_t i = 0; i < m; i += TA_ROWS)
      for (int64_t j = 0; j < n; j += TA_COLS) {
        if (m - i >= TA_ROWS && n - j >= TA_COLS)
          ta_block(len, a + i * len, b + j * len, c + i * ld + j, ld, acc);
        else
          ta_edge(len, a + i * len, b + j * len, c + i * ld + j, ld, acc, ta_least(m - i, TA_ROWS), ta_least(n - j, TA_COLS));
      }
  }
}

static inline void ta_sum_task(void *arg, int64_t t, int worker) {
  (void)worker;
  const ta_product *s = arg;
  const iso_gemm *g = s->g;
  int64_t i0 = t * TA_SUM_ROWS, rows = ta_least(g->m - i0, TA_SUM_ROWS);
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

// g->ta, not g->tb. scratch: ta_scratch(m, n, k, threads of the pool) bytes.
// numerics: sums of at most TA_K products, added in the order of k; the same for any number of threads
static inline void gemm_ta(iso_pool *pool, const iso_gemm *g, unsigned char *scratch, bool round) {
  if (g->m <= 0 || g->n <= 0 || g->k <= 0) return;
  ta_product s = ta_cut(g->m, g->n, g->k);
  s.g = g;
  s.round = round;
  s.work = (float *)(void *)(scratch + (-(uintptr_t)scratch & 63));
  s.partial = s.work + ta_work(&s) * iso_pool_threads(pool);
  iso_pool_run(pool, s.blocks * s.parts, ta_task, &s);
  if (s.parts > 1) iso_pool_run(pool, (g->m + TA_SUM_ROWS - 1) / TA_SUM_ROWS, ta_sum_task, &s);
}
#endif
