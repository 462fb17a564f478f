// Fuzzes the shard reader: any bytes, also with their checksum put right, are refused or can be read to the end.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "text/shard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_shard(const uint8_t *p, size_t n) {
  iso_shard s;
  iso_err err;
  if (iso_shard_parse(p, n, "fuzz", &s, &err) != ISO_OK) return;
  (void)iso_shard_verify(&s, "fuzz", &err);
  int32_t ids[64];
  uint64_t sum = 0;
  for (uint64_t at = 0; at < s.n_tokens; at += 64) {
    int64_t k = (int64_t)(s.n_tokens - at < 64 ? s.n_tokens - at : 64);
    if (iso_shard_read(&s, at, k, ids, &err) == ISO_OK)
      for (int64_t i = 0; i < k; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= s.vocab) abort();
    for (int64_t i = 0; i < k; i++) sum += iso_shard_counts(&s, at + (uint64_t)i);
  }
  for (uint64_t i = 0; i < s.n_docs; i++) sum += iso_load_le64(s.docs + 8 * i);
  if (sum == 1) (void)iso_shard_read(&s, s.n_tokens, 1, ids, &err);
}

// A shard of n tokens made from the input: offsets and checksum follow from the counts, so that the checks behind them are reached.
static void well_formed(const uint8_t *data, size_t size) {
  uint64_t tokens = size < 2 ? 0 : data[0] % 40u, docs = size < 2 ? 0 : data[1] % 5u, width = size > 2 && data[2] & 1 ? 4 : 2;
  uint64_t docs_at = (128 + tokens * width + 63) & ~UINT64_C(63), end = docs_at + docs * 8;
  uint8_t *p = calloc(1, end);
  if (!p) return;
  memcpy(p, "ISOSHARD\1", 9);
  p[12] = (uint8_t)width, p[20] = size > 3 ? data[3] : 9;
  p[32] = (uint8_t)tokens, p[40] = (uint8_t)docs, p[56] = 128, p[64] = (uint8_t)docs_at, p[65] = (uint8_t)(docs_at >> 8), p[80] = (uint8_t)end,
  p[81] = (uint8_t)(end >> 8);
  for (size_t i = 128; i < end && i - 128 + 4 < size; i++) p[i] = i >= docs_at && i % 8 ? 0 : data[i - 128 + 4];
  uint64_t h = iso_hash(ISO_HASH_SEED, p, 120);
  memcpy(p + 120, &h, 8);
  try_shard(p, end);
  free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  try_shard(data, size);
  well_formed(data, size);
  if (size < 128) return 0;
  uint8_t *p = malloc(size);
  if (!p) return 0;
  memcpy(p, data, size);
  uint64_t h = iso_hash(ISO_HASH_SEED, p, 120);
  memcpy(p + 120, &h, 8);
  try_shard(p, size);
  free(p);
  return 0;
}
