// Vectors of floats as wide as the including translation unit's target: 16 (AVX-512), 8 (AVX2) or 4 lanes.
#ifndef ISO_KERN_VEC_VEC_H
#define ISO_KERN_VEC_VEC_H
#include <math.h>
#include <stdint.h>
#include <string.h>
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
  vi m = a > b;
  return (vf)((m & (vi)a) | (~m & (vi)b));
}
static inline vf vmin(vf a, vf b) {
  vi m = a < b;
  return (vf)((m & (vi)a) | (~m & (vi)b));
}
// Fixed pairwise tree, so that every table sums a vector the same way for its width.
static inline float vsum(vf v) {
  float t[VL];
  memcpy(t, &v, sizeof t);
  for (int w = VL / 2; w > 0; w /= 2)
    for (int i = 0; i < w; i++) t[i] += t[i + w];
  return t[0];
}
static inline float vhmax(vf v) {
  float t[VL], m;
  memcpy(t, &v, sizeof t);
  m = t[0];
  for (int i = 1; i < VL; i++) m = t[i] > m ? t[i] : m;
  return m;
}

// e^x by 2^k times a polynomial of degree 6 on [-ln2/2, ln2/2] (minimax, Cephes-like split of ln 2); relative error
// below 2e-7. Below -87.3 it is 0 (flushed), above 88.3 it saturates at e^88.3; NaN stays NaN.
static inline vf vexp(vf x) {
  vi tiny = x<-87.3f, big = x> 88.3f;
  vf xc = (vf)((big & (vi)vset(88.3f)) | (~big & (vi)x));
  xc = (vf)((tiny & (vi)vset(-87.3f)) | (~tiny & (vi)xc));
  vf magic = vset(12582912.0f), k = vfma(xc, vset(1.44269504f), magic);
  vi ki = (vi)k;
  k -= magic;
  vf r = vfma(k, vset(-0.693359375f), xc);
  r = vfma(k, vset(2.12194440e-4f), r);
  vf p = vset(1.9875691500e-4f);
  p = vfma(p, r, vset(1.3981999507e-3f));
  p = vfma(p, r, vset(8.3334519073e-3f));
  p = vfma(p, r, vset(4.1665795894e-2f));
  p = vfma(p, r, vset(1.6666665459e-1f));
  p = vfma(p, r, vset(5.0000001201e-1f));
  p = vfma(p * r, r, r + 1.0f);
  vi e = (ki + 127) << 23;  // the low bits of `magic + k` hold k
  vf y = p * (vf)e;
  return (vf)(~tiny & (vi)y);
}
static inline vf vsigmoid(vf x) { return 1.0f / (1.0f + vexp(-x)); }
// tanh(x) = 1 - 2 / (1 + e^2x).
static inline vf vtanh(vf x) { return 1.0f - 2.0f / (1.0f + vexp(x + x)); }
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
#endif
