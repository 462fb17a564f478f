// Dense f32 matrix products: tiles fixed by shape alone, each one single-threaded oneDNN call from our pool.
#ifndef ISO_KERN_GEMM_H
#define ISO_KERN_GEMM_H
#include "kern/kern.h"

// C[M,N] = A' B' + start, row-major; A' is A[M,K] or, when ta, the transpose of A[K,M]; B' likewise.
// start is C itself when acc, else bias[N] (NULL: 0) + residual[M,N] (NULL: 0, rows ldc apart).
typedef struct iso_gemm {
  bool ta, tb, acc;
  int64_t m, n, k;
  const float *a, *b;
  float *c;
  int64_t lda, ldb, ldc;
  const float *bias, *residual;
  bool a_narrow, b_narrow, c_narrow;  // kept as bf16, strides in elements: for kernels with products of their own (kern/bf16)
} iso_gemm;

// Runs on the pool. The result is the same for any number of threads.
void iso_gemm_f32(iso_pool *pool, const iso_gemm *g);
// One single-threaded product on the calling thread.
void iso_gemm_f32_one(const iso_gemm *g);
// How an instruction set multiplies bf16.
struct iso_bf16_ops {
  // Without `gemm`: n floats to the nearest that bf16 can hold (ties to even), whose products are exact in f32.
  void (*round)(const float *src, float *dst, int64_t n);
  // The CPU's own products, as iso_gemm_bf16; NULL: it has none that pay.
  void (*gemm)(iso_pool *pool, const iso_gemm *g, unsigned char *scratch);
};
// Operands rounded to bf16 on the fly, products and sums in f32. `scratch` holds iso_gemm_bf16_scratch() bytes.
void iso_gemm_bf16(iso_pool *pool, const iso_gemm *g, unsigned char *scratch, const iso_bf16_ops *ops);
size_t iso_gemm_bf16_scratch(int64_t m, int64_t n, int64_t k, int threads);
// Bytes that a worker packs at a time; at most half of a second-level cache of 1 MiB.
enum { ISO_GEMM_BF16_WORK = 512 << 10 };
// Puts the start value into the part [i, i + m) x [j, j + n) of C; true when there is one, so that the product is added to it.
bool iso_gemm_start(const iso_gemm *g, int64_t i, int64_t j, int64_t m, int64_t n);
#endif
