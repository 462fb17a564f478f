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
} iso_gemm;

// Runs on the pool. The result is the same for any number of threads.
void iso_gemm_f32(iso_pool *pool, const iso_gemm *g);
// One single-threaded product on the calling thread.
void iso_gemm_f32_one(const iso_gemm *g);
// Operands rounded to bf16 on the fly (nearest even), products and sums in f32 (emulation; exact products).
// `scratch` holds iso_gemm_bf16_scratch() bytes.
void iso_gemm_bf16(iso_pool *pool, const iso_gemm *g, unsigned char *scratch, bool native);
size_t iso_gemm_bf16_scratch(int64_t m, int64_t n, int64_t k);
#endif
