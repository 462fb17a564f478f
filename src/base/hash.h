// 64-bit hash of bytes: FNV-1a over 8-byte little-endian words with folded 128-bit products and the splitmix64 finaliser.
// Stable across machines, not cryptographic.
#ifndef ISO_BASE_HASH_H
#define ISO_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/rng.h"

// FNV-1a's offset basis (Fowler, Noll, Vo; draft-eastlake-fnv). Start with it or chain a former hash.
#define ISO_HASH_SEED UINT64_C(0xcbf29ce484222325)
// FNV's own prime has few bits, and its product loses the high ones: over whole words that lets inputs with two bits changed collide.
// Instead an odd number near 2^64 / golden ratio, and both halves of the product.
#define ISO_HASH_FACTOR UINT64_C(0x9e3779b97f4a7c15)

static inline uint64_t iso_load_le64(const void *p) {
  uint64_t v;
  memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  v = __builtin_bswap64(v);
#endif
  return v;
}

// One word folded in.
static inline uint64_t iso_hash_word(uint64_t h, uint64_t w) {
  unsigned __int128 p = (unsigned __int128)(h ^ w) * ISO_HASH_FACTOR;
  return (uint64_t)p ^ (uint64_t)(p >> 64);
}

// Hash of n bytes, chained after h. iso_hash(iso_hash(s, a), b) differs from the hash of the joined bytes (lengths are mixed in).
static inline uint64_t iso_hash(uint64_t h, const void *bytes, size_t n) {
  const unsigned char *p = bytes;
  size_t left = n;
  for (; left >= 8; p += 8, left -= 8) h = iso_hash_word(h, iso_load_le64(p));
  uint64_t tail = 0;
  for (size_t i = 0; i < left; i++) tail |= (uint64_t)p[i] << (8 * i);
  return iso_rng_mix(iso_hash_word(iso_hash_word(h, tail), (uint64_t)n));
}
#endif
