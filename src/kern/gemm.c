// Tiling of dense products over the pool, and the calls into oneDNN.
#include "kern/gemm.h"

#include <dnnl.h>
#include <string.h>

// oneDNN may be built on OpenMP: the calling worker asks it for one thread (a thread-local setting, a few nanoseconds).
extern void omp_set_num_threads(int) __attribute__((weak));
static void one_thread(void) {
  if (omp_set_num_threads) omp_set_num_threads(1);
}

void iso_gemm_f32_one(const iso_gemm *g) {
  one_thread();
  if (g->m <= 0 || g->n <= 0 || g->k <= 0) return;
  (void)dnnl_sgemm(g->ta ? 'T' : 'N', g->tb ? 'T' : 'N', g->m, g->n, g->k, 1.0f, g->a, g->lda, g->b, g->ldb, g->acc ? 1.0f : 0.0f, g->c, g->ldc);
}

typedef struct tiling {
  const iso_gemm *g;
  int64_t tm, tn, cols;  // tile sizes and tiles per row of tiles
  int64_t tiles;
} tiling;

// A 16th of the product a tile, at least 8 M multiply-adds (long enough to hide a call) and at most 128 M (many tiles for many
// cores): small tiles of a deep product would pack the same strips again and again (64ths cost a bf16 step of 10M parameters 15%). Edges are
// multiples of 48 and 64, which the micro-kernels of AVX2 (6 x 16) and AVX-512 (48 x 8) divide.
static tiling tile(const iso_gemm *g) {
  int64_t tm = g->m, tn = g->n;
  double all = (double)g->m * (double)g->n * (double)g->k, target = all / 16 < 8e6 ? 8e6 : all / 16 > 128e6 ? 128e6 : all / 16;
  while ((double)tm * (double)tn * (double)g->k > target) {
    if (tm >= tn && tm > 96)
      tm = (tm / 2 + 47) / 48 * 48;
    else if (tn > 96)
      tn = (tn / 2 + 63) / 64 * 64;
    else if (tm > 96)
      tm = (tm / 2 + 47) / 48 * 48;
    else
      break;
  }
  int64_t rows = (g->m + tm - 1) / tm, cols = (g->n + tn - 1) / tn;
  return (tiling){g, tm, tn, cols, rows * cols};
}

bool iso_gemm_start(const iso_gemm *g, int64_t i, int64_t j, int64_t m, int64_t n) {
  if (g->acc || (!g->bias && !g->residual)) return g->acc;
  for (int64_t r = i; r < i + m; r++) {
    float *c = g->c + r * g->ldc + j;
    const float *res = g->residual ? g->residual + r * g->ldc + j : NULL, *bias = g->bias ? g->bias + j : NULL;
    if (res && bias)
      for (int64_t q = 0; q < n; q++) c[q] = res[q] + bias[q];
    else if (res != c)
      memcpy(c, res ? res : bias, (size_t)n * sizeof *c);
  }
  return true;
}

static void run_tile(void *arg, int64_t t, int worker) {
  (void)worker;
  const tiling *s = arg;
  const iso_gemm *g = s->g;
  int64_t i = t / s->cols * s->tm, j = t % s->cols * s->tn;
  iso_gemm one = *g;
  one.m = g->m - i < s->tm ? g->m - i : s->tm;
  one.n = g->n - j < s->tn ? g->n - j : s->tn;
  one.a = g->a + (g->ta ? i : i * g->lda);
  one.b = g->b + (g->tb ? j * g->ldb : j);
  one.c = g->c + i * g->ldc + j;
  one.acc = iso_gemm_start(g, i, j, one.m, one.n);
  iso_gemm_f32_one(&one);
}

void iso_gemm_f32(iso_pool *pool, const iso_gemm *g) {
  tiling s = tile(g);
  iso_pool_run(pool, s.tiles, run_tile, &s);
}

// --- bf16 -------------------------------------------------------------------------------------------------------

// Room for both operands rounded to four bytes; or for two-byte ones, the smaller one padded to whole panels of 32 and a part of the other for each
// worker (kern/bf16).
size_t iso_gemm_bf16_scratch(int64_t m, int64_t n, int64_t k, int threads) {
  int64_t rounded = (m + n) * k * 4 + 64, packed = ((m < n ? m : n) + 31) / 32 * ((k + 31) / 32) * 2048 + (int64_t)threads * ISO_GEMM_BF16_WORK;
  return (size_t)(rounded > packed ? rounded : packed) + 128;
}

typedef struct rounding {
  const float *src;
  int64_t rows, cols, ld;
  float *dst;  // rows of cols floats, one after another
  const iso_bf16_ops *ops;
} rounding;

enum { ROUND_ROWS = 32 };

static void round_rows(void *arg, int64_t t, int worker) {
  (void)worker;
  const rounding *r = arg;
  int64_t i = t * ROUND_ROWS, end = i + ROUND_ROWS < r->rows ? i + ROUND_ROWS : r->rows;
  if (r->ld == r->cols) {
    r->ops->round(r->src + i * r->ld, r->dst + i * r->cols, (end - i) * r->cols);
    return;
  }
  for (; i < end; i++) r->ops->round(r->src + i * r->ld, r->dst + i * r->cols, r->cols);
}

// dst[rows,cols] = src, whose rows are `ld` apart, rounded by ops->round.
static void round_matrix(iso_pool *pool, const float *src, int64_t rows, int64_t cols, int64_t ld, float *dst, const iso_bf16_ops *ops) {
  rounding r = {src, rows, cols, ld, dst, ops};
  iso_pool_run(pool, (rows + ROUND_ROWS - 1) / ROUND_ROWS, round_rows, &r);
}

void iso_gemm_bf16(iso_pool *pool, const iso_gemm *g, unsigned char *scratch, const iso_bf16_ops *ops) {
  if (ops->gemm) {
    ops->gemm(pool, g, scratch);
    return;
  }
  int64_t ar = g->ta ? g->k : g->m, ac = g->ta ? g->m : g->k, br = g->tb ? g->n : g->k, bc = g->tb ? g->k : g->n;
  float *a = (float *)(void *)scratch, *b = a + (ar * ac + 15) / 16 * 16;
  round_matrix(pool, g->a, ar, ac, g->lda, a, ops);
  round_matrix(pool, g->b, br, bc, g->ldb, b, ops);
  iso_gemm h = *g;
  h.a = a;
  h.b = b;
  h.lda = ac;
  h.ldb = bc;
  iso_gemm_f32(pool, &h);
}
