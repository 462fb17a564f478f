// Batches out of shards: windows in a keyed permutation, each once an epoch, and held-out windows in order.
#include <string.h>

#include "base/rng.h"
#include "text/shard.h"

enum { ROUNDS = 8, PHASE_FROM = 8 };
// Elements of the (seed, ISO_RNG_BATCH, epoch) stream: rounds of the cipher below, then the phase.
static const uint64_t phase_element = UINT64_C(1) << 60;

int64_t iso_batch_windows(const iso_shards *s, int64_t T) {
  if (T < 1 || s->train_tokens < T + 1) return 0;
  int64_t n = (s->train_tokens - 1) / T;
  // One window less leaves room for a phase of up to T - 1 tokens; a tiny text keeps them all.
  return n >= PHASE_FROM ? n - 1 : n;
}

// A permutation of [0, n): a balanced Feistel network on 2b bits, walked until it lands below n (Black and Rogaway 2002, "Ciphers with
// arbitrary finite domains"). Eight rounds: with four, ten windows were visibly not in every order equally often.
static int64_t permute(uint64_t seed, uint64_t epoch, int64_t n, int64_t i) {
  int b = 1;
  while (((uint64_t)1 << (2 * b)) < (uint64_t)n) b++;
  uint64_t low = ((uint64_t)1 << b) - 1, v = (uint64_t)i;
  do {
    uint64_t l = v >> b, r = v & low;
    for (uint64_t k = 0; k < ROUNDS; k++) {
      uint64_t f = l ^ (iso_rng_u64(seed, ISO_RNG_BATCH, epoch, k << 40 | r) & low);
      l = r;
      r = f;
    }
    v = l << b | r;
  } while (v >= (uint64_t)n);
  return (int64_t)v;
}

int64_t iso_batch_start(const iso_shards *s, uint64_t seed, int64_t w, int64_t T) {
  int64_t n = iso_batch_windows(s, T);
  if (n == 0 || w < 0) return -1;
  uint64_t epoch = (uint64_t)(w / n);
  int64_t slack = s->train_tokens - 1 - n * T;
  if (slack > T - 1) slack = T - 1;
  return iso_rng_below(seed, ISO_RNG_BATCH, epoch, phase_element, slack + 1) + permute(seed, epoch, n, w % n) * T;
}

static bool masked(const iso_shard *s, uint64_t i) { return !iso_shard_counts(s, i); }

// Tokens at .. at+n of the training stream, over the borders of shards; with `targets`, those that the mask excludes become ISO_TARGET_NONE.
static iso_status read_stream(const iso_shards *s, int64_t at, int64_t n, bool targets, int32_t *ids, iso_err *err) {
  int lo = 0, hi = s->n_train - 1;
  while (lo < hi) {
    int mid = (lo + hi + 1) / 2;
    if (s->train_start[mid] <= (uint64_t)at)
      lo = mid;
    else
      hi = mid - 1;
  }
  for (int k = lo; n > 0 && k < s->n_train; k++) {
    uint64_t from = (uint64_t)at - s->train_start[k], left = s->train[k].n_tokens - from;
    int64_t take = (uint64_t)n < left ? n : (int64_t)left;
    ISO_TRY(iso_shard_read(&s->train[k], from, take, ids, err));
    for (int64_t i = 0; targets && s->train[k].mask && i < take; i++)
      if (masked(&s->train[k], from + (uint64_t)i)) ids[i] = ISO_TARGET_NONE;
    ids += take;
    at += take;
    n -= take;
  }
  return n == 0 ? ISO_OK : iso_fail(err, ISO_EBUG, "a window reaches %lld tokens past the training text", (long long)n);
}

iso_status iso_batch_at(const iso_shards *s, uint64_t seed, int64_t first, int64_t B, int64_t T, int32_t *inputs, int32_t *targets, iso_err *err) {
  if (B < 1 || T < 1 || first < 0)
    return iso_fail(err, ISO_EINVAL, "a batch of %lld windows of %lld tokens from window %lld", (long long)B, (long long)T, (long long)first);
  if (iso_batch_windows(s, T) == 0) {
    iso_fail(err, ISO_EINVAL, "%s: the training text has %lld tokens, a window of length %lld needs %lld", s->dir, (long long)s->train_tokens,
             (long long)T, (long long)T + 1);
    return iso_hint(err, ISO_EINVAL, "give more text, or a shorter sequence length");
  }
  for (int64_t b = 0; b < B; b++) {
    int64_t at = iso_batch_start(s, seed, first + b, T);
    ISO_TRY(read_stream(s, at, T, false, inputs + b * T, err));
    ISO_TRY(read_stream(s, at + 1, T, true, targets + b * T, err));
  }
  return ISO_OK;
}

iso_status iso_batch_fill(const iso_shards *s, uint64_t seed, int64_t step, int64_t B, int64_t T, int32_t *inputs, int32_t *targets, iso_err *err) {
  if (step < 0 || B < 1 || step > INT64_MAX / B) return iso_fail(err, ISO_EINVAL, "step %lld of batches of %lld", (long long)step, (long long)B);
  return iso_batch_at(s, seed, step * B, B, T, inputs, targets, err);
}

int64_t iso_val_windows(const iso_shards *s, int64_t T) { return T < 1 || s->val_tokens < 2 ? 0 : (s->val_tokens - 1 + T - 1) / T; }

iso_status iso_val_fill(const iso_shards *s, int64_t first, int64_t B, int64_t T, int32_t *inputs, int32_t *targets, int64_t *counted, iso_err *err) {
  if (B < 1 || T < 1 || first < 0)
    return iso_fail(err, ISO_EINVAL, "a batch of %lld windows of %lld tokens from window %lld", (long long)B, (long long)T, (long long)first);
  int64_t n = 0, windows = iso_val_windows(s, T);
  for (int64_t b = 0; b < B; b++) {
    int32_t *in = inputs + b * T, *tg = targets + b * T;
    int64_t have = 0;
    if (first + b < windows) {
      int64_t at = (first + b) * T;
      have = s->val_tokens - 1 - at < T ? s->val_tokens - 1 - at : T;
      ISO_TRY(iso_shard_read(&s->val, (uint64_t)at, have, in, err));
      ISO_TRY(iso_shard_read(&s->val, (uint64_t)at + 1, have, tg, err));
      for (int64_t i = 0; i < have; i++) {
        if (masked(&s->val, (uint64_t)(at + 1 + i)))
          tg[i] = ISO_TARGET_NONE;
        else
          n++;
      }
    }
    memset(in + have, 0, (size_t)(T - have) * sizeof *in);
    for (int64_t i = have; i < T; i++) tg[i] = ISO_TARGET_NONE;
  }
  if (counted) *counted = n;
  return ISO_OK;
}
