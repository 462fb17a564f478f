// Counter-based random numbers: a value is a function of (seed, stream, step, element), so nothing needs to be stored.
#ifndef ISO_BASE_RNG_H
#define ISO_BASE_RNG_H
#include <math.h>
#include <stdint.h>

// Streams keep uses apart; add one here for each new use.
enum { ISO_RNG_INIT = 1, ISO_RNG_BATCH = 2, ISO_RNG_SAMPLE = 3, ISO_RNG_BOOTSTRAP = 4, ISO_RNG_NOISE = 5, ISO_RNG_TEST = 6, ISO_RNG_SPLIT = 7 };

// The finaliser of splitmix64 (Steele, Lea, Flood 2014, doi 10.1145/2660193.2660195): a bijection with full avalanche.
static inline uint64_t iso_rng_mix(uint64_t z) {
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}
static inline uint64_t iso_rng_u64(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element) {
  uint64_t h = iso_rng_mix(seed + UINT64_C(0x9E3779B97F4A7C15));
  h = iso_rng_mix(h + UINT64_C(0x9E3779B97F4A7C15) * (stream + 1));
  h = iso_rng_mix(h + UINT64_C(0xD1B54A32D192ED03) * (step + 1));
  return iso_rng_mix(h + UINT64_C(0x9E3779B97F4A7C15) * (element + 1));
}
// Uniform in [0, 1), 53 bits.
static inline double iso_rng_unit(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element) {
  return (double)(iso_rng_u64(seed, stream, step, element) >> 11) * 0x1p-53;
}
// Standard normal by Box-Muller; elements 2k and 2k+1 share a pair of uniforms.
static inline double iso_rng_normal(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element) {
  double u = iso_rng_unit(seed, stream, step, element & ~UINT64_C(1)), v = iso_rng_unit(seed, stream, step, element | 1);
  double r = sqrt(-2.0 * log(1.0 - u)), a = 6.283185307179586 * v;
  return element & 1 ? r * sin(a) : r * cos(a);
}
// Uniform integer in [0, n), n > 0, by multiply-shift (bias below n / 2^64).
static inline int64_t iso_rng_below(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element, int64_t n) {
  return (int64_t)(((unsigned __int128)iso_rng_u64(seed, stream, step, element) * (unsigned __int128)(uint64_t)n) >> 64);
}
#endif
