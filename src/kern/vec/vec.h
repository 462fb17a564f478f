// Vectors of floats as wide as the including translation unit's target: 16 (AVX-512), 8 (AVX2) or 4 lanes.
#ifndef ISO_KERN_VEC_VEC_H
#define ISO_KERN_VEC_VEC_H
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kern/kern.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { VL = 16 };
#elif defined(__AVX2__)
enum { VL = 8 };
#else
enum { VL = 4 };
#endif
typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));

static inline vf vload(const float *p) {
  vf v;
  memcpy(&v, p, sizeof v);
  return v;
}
static inline void vstore(float *p, vf v) { memcpy(p, &v, sizeof v); }
static inline vf vset(float x) { return x - (vf){0}; }
static inline vi viset(int32_t x) { return x - (vi){0}; }

// a * b + c, fused where the target has the instruction.
static inline vf vfma(vf a, vf b, vf c) {
#if defined(__AVX512F__)
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}
static inline vf vmax(vf a, vf b) {
#if defined(__AVX512F__)
  return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#endif
  vi m = a > b;
  return (vf)((m & (vi)a) | (~m & (vi)b));
}
static inline vf vmin(vf a, vf b) {
#if defined(__AVX512F__)
  return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#endif
  vi m = a < b;
  return (vf)((m & (vi)a) | (~m & (vi)b));
}
// Fixed pairwise tree, so that every table sums a vector the same way for its width.
static inline float vsum(vf v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)v);  // by halves, as below
#endif
  float t[VL];
  memcpy(t, &v, sizeof t);
  for (int w = VL / 2; w > 0; w /= 2)
    for (int i = 0; i < w; i++) t[i] += t[i + w];
  return t[0];
}
static inline float vhmax(vf v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)v);
#endif
  float t[VL], m;
  memcpy(t, &v, sizeof t);
  m = t[0];
  for (int i = 1; i < VL; i++) m = t[i] > m ? t[i] : m;
  return m;
}

// e^x by 2^k times a polynomial of degree 6 on [-ln2/2, ln2/2] (minimax, Cephes-like split of ln 2); relative error
// below 2e-7. Below -87.3 it is 0 (flushed), above 88.3 it saturates at e^88.3; NaN stays NaN.
static inline vf vexp(vf x) {
#if defined(__AVX512F__)
  __m512 at = _mm512_min_ps(_mm512_set1_ps(88.3f), (__m512)x);  // NaN comes through
  vf k = (vf)_mm512_roundscale_ps(_mm512_mul_ps(at, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), xc = (vf)at;
#else
  vi tiny = x<-87.3f, big = x> 88.3f;
  vf xc = (vf)((big & (vi)vset(88.3f)) | (~big & (vi)x));
  xc = (vf)((tiny & (vi)vset(-87.3f)) | (~tiny & (vi)xc));
  vf magic = vset(12582912.0f), k = vfma(xc, vset(1.44269504f), magic);
  vi ki = (vi)k;
  k -= magic;
#endif
  vf r = vfma(k, vset(-0.693359375f), xc);
  r = vfma(k, vset(2.12194440e-4f), r);
  vf p = vset(1.9875691500e-4f);
  p = vfma(p, r, vset(1.3981999507e-3f));
  p = vfma(p, r, vset(8.3334519073e-3f));
  p = vfma(p, r, vset(4.1665795894e-2f));
  p = vfma(p, r, vset(1.6666665459e-1f));
  p = vfma(p, r, vset(5.0000001201e-1f));
  p = vfma(p * r, r, r + 1.0f);
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_scalef_ps(_mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-87.3f), _CMP_NLT_UQ), (__m512)p, (__m512)k);
#else
  vi e = (ki + 127) << 23;  // the low bits of `magic + k` hold k
  vf y = p * (vf)e;
  return (vf)(~tiny & (vi)y);
#endif
}
// 1/x for x in [1, 1e38]; relative error 2^-24 and less.
static inline vf vreciprocal(vf x) {
#if defined(__AVX512F__)
  vf y = (vf)_mm512_rcp14_ps((__m512)x);
  return vfma(y, vfma(-x, y, vset(1)), y);
#else
  return 1.0f / x;
#endif
}
static inline vf vsigmoid(vf x) { return vreciprocal(1.0f + vexp(vmin(vset(87), -x))); }
// tanh(x) = 1 - 2 / (1 + e^2x).
static inline vf vtanh(vf x) { return 1.0f - 2.0f * vreciprocal(1.0f + vexp(vmin(vset(87), x + x))); }
static inline vf vsqrt(vf x) {
#if defined(__AVX512F__)
  return (vf)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
  return (vf)_mm256_sqrt_ps((__m256)x);
#else
  for (int i = 0; i < VL; i++) x[i] = sqrtf(x[i]);
  return x;
#endif
}
// The first n < VL floats at p, the rest `fill`.
static inline vf vload_part(const float *p, int64_t n, float fill) {
  vf v = vset(fill);
  memcpy(&v, p, (size_t)n * 4);
  return v;
}
static inline void vstore_part(float *p, vf v, int64_t n) { memcpy(p, &v, (size_t)n * 4); }

// ---- operands kept as floats or, when narrow, as bf16 ----------------------------------------------------------------

static inline bool narrow(const iso_kcall *c, int i) { return c->narrow >> i & 1; }

// Elements at .. at + VL of p.
static inline vf vload_as(const void *p, int64_t at, bool is_narrow) {
  if (!is_narrow) return vload((const float *)p + at);
#if defined(__AVX512F__)
  return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)((const uint16_t *)p + at))), 16);
#else
  uint16_t h[VL];
  vi bits = {0};
  memcpy(h, (const uint16_t *)p + at, sizeof h);
  for (int i = 0; i < VL; i++) bits[i] = h[i] << 16;
  return (vf)bits;
#endif
}
static inline void vstore_as(void *p, int64_t at, vf v, bool is_narrow) {
  if (!is_narrow) {
    vstore((float *)p + at, v);
    return;
  }
#if defined(__AVX512BF16__)
  _mm256_storeu_si256((__m256i *)(void *)((uint16_t *)p + at), (__m256i)_mm512_cvtneps_pbh((__m512)v));
#else
  for (int i = 0; i < VL; i++) ((uint16_t *)p)[at + i] = iso_bf16_from_f32(v[i]);
#endif
}
// The same of the first n, the rest 0.
static inline vf vload_n(const void *p, int64_t at, int64_t n, bool is_narrow) {
  if (n >= VL) return vload_as(p, at, is_narrow);
  if (!is_narrow) return vload_part((const float *)p + at, n, 0);
  uint16_t h[VL] = {0};
  memcpy(h, (const uint16_t *)p + at, (size_t)n * sizeof *h);
  return vload_as(h, 0, true);
}
// vload_n; of narrow elements what lies 8 KiB further on is sent for: the hardware alone brings them at half of memory's rate (floats at all of it).
static inline vf vstream_n(const void *p, int64_t at, int64_t n, bool is_narrow) {
  enum { ELEMS_AHEAD = 4096 };
  if (is_narrow) __builtin_prefetch((const uint16_t *)p + at + ELEMS_AHEAD);
  return vload_n(p, at, n, is_narrow);
}
static inline void vstore_n(void *p, int64_t at, vf v, int64_t n, bool is_narrow) {
  if (n >= VL) {
    vstore_as(p, at, v, is_narrow);
  } else if (!is_narrow) {
    vstore_part((float *)p + at, v, n);
  } else {
    uint16_t h[VL];
    vstore_as(h, 0, v, true);
    memcpy((uint16_t *)p + at, h, (size_t)n * sizeof *h);
  }
}
#endif
