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
// How an instruction set rounds n floats to bf16 (nearest even).
typedef void (*iso_round_fn)(const float *src, void *dst, int64_t n);
struct iso_bf16_ops {
  iso_round_fn round;  // to two bytes an element when native, else to floats that bf16 can hold
  bool native;         // the CPU multiplies bf16 itself; else exact products of the rounded floats
  // A whole product, as iso_gemm_bf16; NULL: round, then oneDNN's.
  void (*gemm)(iso_pool *pool, const iso_gemm *g, unsigned char *scratch);
  // With `gemm`: dw = A' B and dx = A B2 of one A; scratch as iso_gemm_bf16_bwd_scratch().
  void (*gemm_bwd)(iso_pool *pool, const iso_gemm *dw, const iso_gemm *dx, unsigned char *scratch);
};
// dst[rows,cols] = rounded src, whose rows are `ld` apart; on the pool.
void iso_bf16_round(iso_pool *pool, const float *src, int64_t rows, int64_t cols, int64_t ld, void *dst, const iso_bf16_ops *ops);
// As iso_gemm_f32 on operands that iso_bf16_round made (a and b point to them; strides in elements); ops NULL: on plain floats.
void iso_gemm_rounded(iso_pool *pool, const iso_gemm *g, const iso_bf16_ops *ops);
// Operands rounded to bf16 on the fly, products and sums in f32. `scratch` holds iso_gemm_bf16_scratch() bytes.
void iso_gemm_bf16(iso_pool *pool, const iso_gemm *g, unsigned char *scratch, const iso_bf16_ops *ops);
size_t iso_gemm_bf16_scratch(int64_t m, int64_t n, int64_t k);
// For the gradients of a linear layer y[m,n] = x[m,k] W[n,k]'.
size_t iso_gemm_bf16_bwd_scratch(int64_t m, int64_t n, int64_t k);
// Puts the start value into the part [i, i + m) x [j, j + n) of C; true when there is one, so that the product is added to it.
bool iso_gemm_start(const iso_gemm *g, int64_t i, int64_t j, int64_t m, int64_t n);
#endif
