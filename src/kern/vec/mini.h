// A small matrix product on unpacked operands in the first-level caches: the inner loop of attention.
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

// C[M,N] (+)= A[M,K] B[K,N]; element (i,q) of A stands at a[i ars + q acs]; N is a multiple of VL.
static void mini_gemm(int64_t m, int64_t n, int64_t k, const float *a, int64_t ars, int64_t acs, const float *b, int64_t ldb, float *c, int64_t ldc,
                      bool acc) {
  for (int64_t j = 0; j < n; j += 2 * VL) {
    bool wide = n - j >= 2 * VL;
    int64_t i = 0;
    for (; i + MINI_ROWS <= m; i += MINI_ROWS) {
      if (wide)
        mini_block(MINI_ROWS, 2, k, a + i * ars, ars, acs, b + j, ldb, c + i * ldc + j, ldc, acc);
      else
        mini_block(MINI_ROWS, 1, k, a + i * ars, ars, acs, b + j, ldb, c + i * ldc + j, ldc, acc);
    }
    for (; i + 4 <= m; i += 4) {
      if (wide)
        mini_block(4, 2, k, a + i * ars, ars, acs, b + j, ldb, c + i * ldc + j, ldc, acc);
      else
        mini_block(4, 1, k, a + i * ars, ars, acs, b + j, ldb, c + i * ldc + j, ldc, acc);
    }
    for (; i < m; i++) {
      if (wide)
        mini_block(1, 2, k, a + i * ars, ars, acs, b + j, ldb, c + i * ldc + j, ldc, acc);
      else
        mini_block(1, 1, k, a + i * ars, ars, acs, b + j, ldb, c + i * ldc + j, ldc, acc);
    }
  }
}
#endif
