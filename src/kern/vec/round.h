// Rounding to bf16, nearest even; NaN stays NaN (as iso_bf16_from_f32).
#ifndef ISO_KERN_VEC_ROUND_H
#define ISO_KERN_VEC_ROUND_H
#include "kern/gemm.h"
#include "kern/vec/vec.h"

// The rounded bits in the upper halves; the lower halves are not cleared.
static inline vi round_bits(vf x) {
  vi u = (vi)x, nan = x != x;
  return (nan & (u | 0x400000)) | (~nan & (u + 0x7FFF + ((u >> 16) & 1)));
}

// dst[n] as floats that bf16 can hold
static inline void round_bf16_f32(const float *src, float *d, int64_t n) {
  int64_t j = 0;
  for (; j + VL <= n; j += VL) vstore(d + j, (vf)(round_bits(vload(src + j)) & (int32_t)0xFFFF0000));
  for (; j < n; j++) d[j] = iso_f32_from_bf16(iso_bf16_from_f32(src[j]));
}
#endif
