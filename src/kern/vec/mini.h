// A small matrix product in the first-level caches: the inner loop of attention.
#ifndef ISO_KERN_VEC_MINI_H
#define ISO_KERN_VEC_MINI_H
#include "kern/vec/vec.h"

#if defined(__AVX512F__)
enum { MINI_ROWS = 12 };
#elif defined(__AVX2__)
enum { MINI_ROWS = 6 };
#else
enum { MINI_ROWS = 4 };
#endif

// C[rows, nv VL] (+)= A[rows,K] B[K, nv VL] with rows and nv known when inlined, so that C stays in registers.
static inline __attribute__((always_inline)) void mini_block(const int rows, const int nv, int64_t k, const float *a, int64_t ars, int64_t acs,
                                                             const float *b, int64_t ldb, float *c, int64_t ldc, bool acc) {
  vf s[MINI_ROWS][2];
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
    for (int j = 0; j < nv; j++) s[i][j] = acc ? vload(c + i * ldc + j * VL) : vset(0);
  for (int64_t q = 0; q < k; q++) {
    vf b0 = vload(b + q * ldb), b1 = nv > 1 ? vload(b + q * ldb + VL) : b0;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
      vf av = vset(a[i * ars + q * acs]);
      s[i][0] = vfma(av, b0, s[i][0]);
      if (nv > 1) s[i][1] = vfma(av, b1, s[i][1]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
    for (int j = 0; j < nv; j++) vstore(c + i * ldc + j * VL, s[i][j]);
}

// What a causal mask leaves of a product, with the diagonal at q = i + diag: all of it; only C[i,j], j <= i + diag, is wanted;
// A[i,q] is zero for q > i + diag; A[i,q] is zero for q < i - diag.
typedef enum mini_part { MINI_ALL, MINI_C_LOWER, MINI_A_LOWER, MINI_A_UPPER } mini_part;

typedef struct mini_mask {
  mini_part part;
  int64_t diag;
} mini_mask;

// One block of rows; what the mask makes zero is left out where it fills whole blocks.
static inline __attribute__((always_inline)) void mini_rows(const int rows, bool wide, int64_t i, int64_t j, int64_t k, const float *a, int64_t ars,
                                                            int64_t acs, const float *b, int64_t ldb, float *c, int64_t ldc, bool acc,
                                                            mini_mask mask) {
  int64_t q = 0, end = k;
  if (mask.part == MINI_C_LOWER && j > i + rows - 1 + mask.diag) return;
  if (mask.part == MINI_A_LOWER && i + rows + mask.diag < k) end = i + rows + mask.diag;
  if (mask.part == MINI_A_UPPER && i > mask.diag) q = i - mask.diag;
  if (wide)
    mini_block(rows, 2, end - q, a + i * ars + q * acs, ars, acs, b + q * ldb, ldb, c + i * ldc + j, ldc, acc);
  else
    mini_block(rows, 1, end - q, a + i * ars + q * acs, ars, acs, b + q * ldb, ldb, c + i * ldc + j, ldc, acc);
}

// A right operand: panels of 2 VL columns, `panel` floats apart, whose rows are `ld` apart. Rows of a plain matrix (panel = 2 VL) that are a power
// of two long fall into few sets of the first-level cache; those of a packed one (ld = 2 VL) follow one another.
typedef struct mini_b {
  const float *at;
  int64_t ld, panel;
} mini_b;

// C[M,N] (+)= A[M,K] B[K,N]; element (i,q) of A stands at a[i ars + q acs]; N is a multiple of VL.
static void mini_gemm(int64_t m, int64_t n, int64_t k, const float *a, int64_t ars, int64_t acs, mini_b right, float *c, int64_t ldc, bool acc,
                      mini_mask mask) {
  const float *b = right.at;
  int64_t ldb = right.ld;
  for (int64_t j = 0; j < n; j += 2 * VL, b += right.panel) {
    bool wide = n - j >= 2 * VL;
    int64_t i = 0;
    for (; i + MINI_ROWS <= m; i += MINI_ROWS) mini_rows(MINI_ROWS, wide, i, j, k, a, ars, acs, b, ldb, c, ldc, acc, mask);
    for (; i + 4 <= m; i += 4) mini_rows(4, wide, i, j, k, a, ars, acs, b, ldb, c, ldc, acc, mask);
    for (; i < m; i++) mini_rows(1, wide, i, j, k, a, ars, acs, b, ldb, c, ldc, acc, mask);
  }
}
#endif
