// Inner loops that measure one instruction set: independent multiply-adds on registers, and reads.
#ifndef ISO_KERN_VEC_PROBE_H
#define ISO_KERN_VEC_PROBE_H
#include "kern/probe.h"
#include "kern/vec/vec.h"

// Chains kept in flight: two units times a latency of four or five, and registers left for the operands.
enum { PROBE_CHAINS = 12 };

// s = s / 2 + 1 stays between 1 and 2; VL lanes, two operations each.
static double probe_fma_f32(int64_t rounds, float *sink) {
  vf s[PROBE_CHAINS], a = vset(0.5f), b = vset(1.0f);
  for (int i = 0; i < PROBE_CHAINS; i++) s[i] = vset(1.0f + 0.01f * (float)i);
  for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 16
    for (int i = 0; i < PROBE_CHAINS; i++) s[i] = vfma(s[i], a, b);
  }
  vf t = s[0];
  for (int i = 1; i < PROBE_CHAINS; i++) t += s[i];
  *sink += vsum(t);
  return 2.0 * VL * PROBE_CHAINS * (double)rounds;
}

// Bits are combined by exclusive or, which every port can do, so that loads are what is measured.
static double probe_read(const float *p, int64_t n, float *sink) {
  enum { STREAMS = 8 };
  vi s[STREAMS] = {0};
  for (int64_t i = 0; i < n; i += STREAMS * VL) {
#pragma GCC unroll 8
    for (int j = 0; j < STREAMS; j++) s[j] ^= (vi)vload(p + i + j * VL);
  }
  vi t = s[0];
  for (int j = 1; j < STREAMS; j++) t ^= s[j];
  for (int j = 0; j < VL; j++) *sink += (float)(t[j] & 1);
  return 4.0 * (double)n;
}

#if defined(__AVX512F__) && defined(__GNUC__)
// 16 lanes of two products each.
static __attribute__((target("avx512bf16"))) double probe_dot_bf16(int64_t rounds, float *sink) {
  __m512 s[PROBE_CHAINS];
  __m512bh a = (__m512bh)_mm512_set1_epi32(0x3F803F80), b = (__m512bh)_mm512_set1_epi32(0x3C003C00);
  for (int i = 0; i < PROBE_CHAINS; i++) s[i] = _mm512_set1_ps((float)i);
  for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 16
    for (int i = 0; i < PROBE_CHAINS; i++) s[i] = _mm512_dpbf16_ps(s[i], a, b);
  }
  vf t = (vf)s[0];
  for (int i = 1; i < PROBE_CHAINS; i++) t += (vf)s[i];
  *sink += vsum(t);
  return 2.0 * 32 * PROBE_CHAINS * (double)rounds;
}

// 16 lanes of four products each.
static __attribute__((target("avx512vnni"))) double probe_dot_int8(int64_t rounds, float *sink) {
  __m512i s[PROBE_CHAINS], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-2);
  for (int i = 0; i < PROBE_CHAINS; i++) s[i] = _mm512_set1_epi32(i);
  for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 16
    for (int i = 0; i < PROBE_CHAINS; i++) s[i] = _mm512_dpbusd_epi32(s[i], a, b);
  }
  for (int i = 1; i < PROBE_CHAINS; i++) s[0] = _mm512_add_epi32(s[0], s[i]);
  *sink += (float)_mm512_reduce_add_epi32(s[0]);
  return 2.0 * 64 * PROBE_CHAINS * (double)rounds;
}
#elif defined(__AVX2__)
// Without VNNI a product of u8 and s8 takes three instructions: pairs into 16 bits, pairs into 32, and the sum.
static double probe_dot_int8(int64_t rounds, float *sink) {
  __m256i s[PROBE_CHAINS], a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(-2), one = _mm256_set1_epi16(1);
  for (int i = 0; i < PROBE_CHAINS; i++) s[i] = _mm256_set1_epi32(i);
  for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 16
    for (int i = 0; i < PROBE_CHAINS; i++) {
      __asm__("" : "+x"(a));  // else the product is the same each time and leaves the loop
      s[i] = _mm256_add_epi32(s[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), one));
    }
  }
  for (int i = 1; i < PROBE_CHAINS; i++) s[0] = _mm256_add_epi32(s[0], s[i]);
  vi t = (vi)s[0];
  for (int j = 0; j < VL; j++) *sink += (float)(t[j] & 0xFF);
  return 2.0 * 32 * PROBE_CHAINS * (double)rounds;
}
#endif

static const iso_kern_probes vec_probes = {
    .fma_f32 = probe_fma_f32,
    .read = probe_read,
#if defined(__AVX512F__) && defined(__GNUC__)
    .dot_bf16 = probe_dot_bf16,
    .dot_int8 = probe_dot_int8,
#elif defined(__AVX2__)
    .dot_int8 = probe_dot_int8,
#endif
};
#endif
