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

// Room for rounded operands of four bytes, or for two-byte ones padded to whole panels of 32 (kern/amx).
static int64_t panels(int64_t n) { return (n + 31) / 32; }
static size_t larger(int64_t a, int64_t b) { return (size_t)(a > b ? a : b) + 256; }
size_t iso_gemm_bf16_scratch(int64_t m, int64_t n, int64_t k) { return larger((m + n) * k * 4, (panels(m) + panels(n)) * panels(k) * 2048); }
size_t iso_gemm_bf16_bwd_scratch(int64_t m, int64_t n, int64_t k) {
  int64_t more = m > n ? m : n;  // dy, and one after the other x and W; or dy twice
  return larger((m * n + more * k) * 4, (2 * panels(m) * panels(n) + panels(more) * panels(k)) * 2048);
}

typedef struct rounding {
  const float *src;
  int64_t rows, cols, ld;
  unsigned char *dst;  // rows of cols elements, one after another
  const iso_bf16_ops *ops;
} rounding;

enum { ROUND_ROWS = 32 };

static void round_rows(void *arg, int64_t t, int worker) {
  (void)worker;
  const rounding *r = arg;
  int64_t i = t * ROUND_ROWS, end = i + ROUND_ROWS < r->rows ? i + ROUND_ROWS : r->rows;
  size_t elem = r->ops->native ? 2 : 4;
  if (r->ld == r->cols) {
    r->ops->round(r->src + i * r->ld, r->dst + (size_t)(i * r->cols) * elem, (end - i) * r->cols);
    return;
  }
  for (; i < end; i++) r->ops->round(r->src + i * r->ld, r->dst + (size_t)(i * r->cols) * elem, r->cols);
}

typedef uint16_t bf16;
extern dnnl_status_t dnnl_gemm_bf16bf16f32(char transa, char transb, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k, float alpha, const bf16 *a,
                                           dnnl_dim_t lda, const bf16 *b, dnnl_dim_t ldb, float beta, float *c, dnnl_dim_t ldc);

static void run_tile_native(void *arg, int64_t t, int worker) {
  (void)worker;
  const tiling *s = arg;
  const iso_gemm *g = s->g;
  int64_t i = t / s->cols * s->tm, j = t % s->cols * s->tn;
  int64_t m = g->m - i < s->tm ? g->m - i : s->tm, n = g->n - j < s->tn ? g->n - j : s->tn;
  const bf16 *a = (const bf16 *)(const void *)g->a + (g->ta ? i : i * g->lda), *b = (const bf16 *)(const void *)g->b + (g->tb ? j * g->ldb : j);
  bool acc = iso_gemm_start(g, i, j, m, n);
  one_thread();
  (void)dnnl_gemm_bf16bf16f32(g->ta ? 'T' : 'N', g->tb ? 'T' : 'N', m, n, g->k, 1.0f, a, g->lda, b, g->ldb, acc ? 1.0f : 0.0f, g->c + i * g->ldc + j,
                              g->ldc);
}

void iso_bf16_round(iso_pool *pool, const float *src, int64_t rows, int64_t cols, int64_t ld, void *dst, const iso_bf16_ops *ops) {
  rounding r = {src, rows, cols, ld, dst, ops};
  iso_pool_run(pool, (rows + ROUND_ROWS - 1) / ROUND_ROWS, round_rows, &r);
}

void iso_gemm_rounded(iso_pool *pool, const iso_gemm *g, const iso_bf16_ops *ops) {
  tiling s = tile(g);
  iso_pool_run(pool, s.tiles, ops && ops->native ? run_tile_native : run_tile, &s);
}

void iso_gemm_bf16(iso_pool *pool, const iso_gemm *g, unsigned char *scratch, const iso_bf16_ops *ops) {
  if (ops->gemm) {
    ops->gemm(pool, g, scratch);
    return;
  }
  int64_t ar = g->ta ? g->k : g->m, ac = g->ta ? g->m : g->k, br = g->tb ? g->n : g->k, bc = g->tb ? g->k : g->n;
  unsigned char *bs = scratch + ((size_t)(ar * ac) * (ops->native ? 2 : 4) + 63) / 64 * 64;
  iso_bf16_round(pool, g->a, ar, ac, g->lda, scratch, ops);
  iso_bf16_round(pool, g->b, br, bc, g->ldb, bs, ops);
  iso_gemm h = *g;
  h.a = (const float *)(const void *)scratch;
  h.b = (const float *)(const void *)bs;
  h.lda = ac;
  h.ldb = bc;
  iso_gemm_rounded(pool, &h, ops);
}
