// Shards: what is written is read, damage is refused, and batches draw every window once an epoch.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>  // needs the ones above
// clang-format on

#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "text/shard.h"

static iso_err err;
static void ok_at(iso_status st, const iso_err *e, int line) {
  if (st != ISO_OK) fail_msg("line %d: %s (%s)", line, e->msg, iso_status_name(st));
}
#define OK(call) ok_at((call), &err, __LINE__)

static uint64_t draws;
static int64_t rnd(int64_t n) { return iso_rng_below(2, ISO_RNG_TEST, 0, draws++, n); }

static char dir[] = "/tmp/iso_shard_XXXXXX";
static iso_ctx *ctx;
static int set_up(void **state) {
  (void)state;
  return mkdtemp(dir) && iso_ctx_open(1, &ctx, &err) == ISO_OK ? 0 : -1;
}
static int tear_down(void **state) {
  (void)state;
  char cmd[64];
  snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
  iso_ctx_close(ctx);
  return system(cmd);
}

static const char *in_dir(const char *name) {
  static char path[128];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  return path;
}

// Writes n random tokens in documents that start at multiples of 7; masked: every third token does not count.
static void write_some(const char *name, int vocab, int n, bool masked, int32_t *ids) {
  iso_shard_writer *w;
  OK(iso_shard_writer_open(vocab, 77, &w, &err));
  for (int i = 0; i < n; i++) {
    ids[i] = (int32_t)rnd(vocab);
    uint8_t counts = i % 3 != 2;
    if (i % 7 == 0) OK(iso_shard_writer_doc(w, &err));
    OK(iso_shard_writer_put(w, &ids[i], 1, masked ? &counts : NULL, &err));
  }
  iso_shard_writer_bytes(w, 12345);
  OK(iso_shard_writer_flush(w, ctx, in_dir(name), &err));
  iso_shard_writer_close(w);
}

static void reads_what_was_written(void **state) {
  (void)state;
  enum { N = 9001 };
  int32_t ids[N], got[N];
  for (int k = 0; k < 4; k++) {
    int vocab = k & 1 ? 65537 : 65536;
    bool masked = k & 2;
    write_some("a.bin", vocab, N, masked, ids);
    iso_map m;
    iso_shard s;
    OK(iso_map_open(in_dir("a.bin"), &m, &err));
    OK(iso_shard_parse(m.data, m.size, "a.bin", &s, &err));
    OK(iso_shard_verify(&s, "a.bin", &err));
    assert_int_equal(s.width, vocab > 65536 ? 4 : 2);
    assert_int_equal(s.vocab, vocab);
    assert_int_equal(s.n_tokens, N);
    assert_int_equal(s.n_docs, (N + 6) / 7);
    assert_int_equal(s.source_bytes, 12345);
    assert_int_equal(s.tok_hash, 77);
    assert_int_equal(s.flags, masked ? ISO_SHARD_MASK : 0);
    OK(iso_shard_read(&s, 0, N, got, &err));
    assert_memory_equal(got, ids, sizeof ids);
    for (uint64_t i = 0; i < N; i++) assert_int_equal(iso_shard_counts(&s, i), !masked || i % 3 != 2);
    for (uint64_t i = 0; i < s.n_docs; i++) assert_int_equal(iso_load_le64(s.docs + 8 * i), 7 * i);
    assert_int_equal(iso_shard_read(&s, N - 1, 2, got, &err), ISO_EINVAL);
    assert_int_equal(iso_shard_read(&s, UINT64_MAX, 2, got, &err), ISO_EINVAL);
    iso_map_close(&m);
  }
}

// The bytes on disk, spelled out, so that the format cannot drift.
static void layout_is_as_documented(void **state) {
  (void)state;
  iso_shard_writer *w;
  OK(iso_shard_writer_open(300, UINT64_C(0x1122334455667788), &w, &err));
  int32_t ids[3] = {1, 258, 299};
  OK(iso_shard_writer_put(w, ids, 3, NULL, &err));
  OK(iso_shard_writer_doc(w, &err));
  OK(iso_shard_writer_put(w, ids, 2, (const uint8_t[]){1, 0}, &err));
  OK(iso_shard_writer_flush(w, ctx, in_dir("b.bin"), &err));
  iso_shard_writer_close(w);
  char *p;
  size_t n;
  OK(iso_file_get(in_dir("b.bin"), 4096, &p, &n, &err));
  assert_int_equal(n, 257);
  const uint8_t head[88] = {'I', 'S', 'O',  'S',  'H',  'A',  'R',  'D',  1,    0,    0, 0, 2,   0, 0, 0, 3, 0, 0, 0, 44,  1,
                            0,   0,   0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 5, 0, 0,   0, 0, 0, 0, 0, 1, 0, 0,   0,
                            0,   0,   0,    0,    0,    0,    0,    0,    0,    0,    0, 0, 128, 0, 0, 0, 0, 0, 0, 0, 192, 0,
                            0,   0,   0,    0,    0,    0,    0,    1,    0,    0,    0, 0, 0,   0, 1, 1, 0, 0, 0, 0, 0,   0};
  assert_memory_equal(p, head, sizeof head);
  const uint8_t tokens[10] = {1, 0, 2, 1, 43, 1, 1, 0, 2, 1}, docs[8] = {3}, mask = 0x0F;
  assert_memory_equal(p + 128, tokens, 10);
  assert_memory_equal(p + 192, docs, 8);
  assert_memory_equal(p + 256, &mask, 1);
  free(p);
}

static void damage_is_refused(void **state) {
  (void)state;
  enum { N = 500 };
  int32_t ids[N];
  write_some("c.bin", 1000, N, true, ids);
  char *file;
  size_t n;
  OK(iso_file_get(in_dir("c.bin"), 1 << 16, &file, &n, &err));
  uint8_t *p = malloc(n + 1);
  assert_non_null(p);
  iso_shard s;
  for (size_t k = 0; k <= n + 1; k++) {  // every length but the right one
    if (k == n) continue;
    memcpy(p, file, k < n ? k : n);
    assert_int_equal(iso_shard_parse(p, k, "cut", &s, &err), ISO_EFORMAT);
  }
  for (size_t k = 0; k < n; k++) {  // every byte changed: refused at once or by verify, padding apart
    memcpy(p, file, n);
    p[k] ^= 0x41;
    bool padding = (k >= 128 + 2 * N && k < 1152) || (k >= 1152 + 8 * 72 && k < 1728);
    iso_status st = iso_shard_parse(p, n, "bad", &s, &err);
    if (k < 128) assert_int_equal(st, ISO_EFORMAT);
    if (st == ISO_OK) st = iso_shard_verify(&s, "bad", &err);
    if (!padding && st != ISO_EFORMAT) fail_msg("byte %zu of %zu changed: %s", k, n, iso_status_name(st));
  }
  // A liar with good checksums: an id outside the vocabulary is found when it is read.
  memcpy(p, file, n);
  p[20] = 10, p[21] = 0;  // vocabulary 10
  uint64_t h = iso_hash(ISO_HASH_SEED, p, 120);
  memcpy(p + 120, &h, 8);
  int32_t got[N];
  OK(iso_shard_parse(p, n, "liar", &s, &err));
  assert_int_equal(iso_shard_read(&s, 0, N, got, &err), ISO_EFORMAT);
  // Counts near 2^64 must not wrap.
  for (int field = 32; field <= 48; field += 8) {
    for (int shift = 0; shift < 64; shift++) {
      memcpy(p, file, n);
      uint64_t v = UINT64_MAX << shift;
      memcpy(p + field, &v, 8);
      h = iso_hash(ISO_HASH_SEED, p, 120);
      memcpy(p + 120, &h, 8);
      iso_status st = iso_shard_parse(p, n, "huge", &s, &err);
      assert_int_equal(st, field == 48 ? ISO_OK : ISO_EFORMAT);
    }
  }
  // 2^63 tokens of two bytes are 0 bytes in 64 bits: a header whose other fields agree with that must still be refused.
  memcpy(p, file, n);
  static const uint64_t wrapped[8] = {UINT64_C(1) << 63, 0, 0, 128, 128, 0, 128, 0};
  memcpy(p + 32, wrapped, sizeof wrapped);
  p[16] = 0;
  h = iso_hash(ISO_HASH_SEED, p, 120);
  memcpy(p + 120, &h, 8);
  assert_int_equal(iso_shard_parse(p, 128, "wrap", &s, &err), ISO_EFORMAT);
  free(p);
  free(file);
}

static ssize_t full_disk(void *self, int fd, const void *buf, size_t n) {
  (void)self, (void)fd, (void)buf, (void)n;
  return 0;
}
static void full_disk_leaves_the_old_file(void **state) {
  (void)state;
  int32_t ids[100];
  write_some("d.bin", 100, 50, false, ids);
  iso_io keep = ctx->io;
  ctx->io.write = full_disk;
  iso_shard_writer *w;
  OK(iso_shard_writer_open(100, 77, &w, &err));
  OK(iso_shard_writer_put(w, ids, 50, NULL, &err));
  assert_int_equal(iso_shard_writer_flush(w, ctx, in_dir("d.bin"), &err), ISO_EFULL);
  ctx->io = keep;
  assert_int_equal(iso_shard_writer_tokens(w), 50);  // nothing lost: another try works
  OK(iso_shard_writer_flush(w, ctx, in_dir("d.bin"), &err));
  iso_shard_writer_close(w);
}

// A folder of three shards of 100 + 1 + 402 tokens, token i = i.
static void write_folder(int64_t val) {
  int at = 0;
  const int sizes[3] = {100, 1, 402};
  iso_shard_writer *w;
  OK(iso_shard_writer_open(1000, 5, &w, &err));
  for (int k = 0; k < 3; k++) {
    char name[32];
    for (int i = 0; i < sizes[k]; i++, at++) {
      uint8_t counts = at % 10 != 0;
      OK(iso_shard_writer_put(w, &at, 1, k == 2 ? &counts : NULL, &err));
    }
    snprintf(name, sizeof name, "train-%05d.bin", k);
    OK(iso_shard_writer_flush(w, ctx, in_dir(name), &err));
  }
  for (int i = 0; i < val; i++) OK(iso_shard_writer_put(w, &i, 1, NULL, &err));
  OK(iso_shard_writer_flush(w, ctx, in_dir("val.bin"), &err));
  iso_shard_writer_close(w);
  const char json[] = "{\"vocab\": 1000, \"tokenizer_hash\": \"0000000000000005\", \"train\": {\"shards\": 3}}";
  OK(iso_file_put(ctx, in_dir("dataset.json"), json, sizeof json - 1, &err));
}

static void every_window_once_an_epoch(void **state) {
  (void)state;
  write_folder(20);
  iso_shards *s;
  OK(iso_shards_open(dir, &s, &err));
  OK(iso_shards_verify(s, &err));
  assert_int_equal(s->train_tokens, 503);
  assert_int_equal(s->train[1].flags & ISO_SHARD_CONTINUES, ISO_SHARD_CONTINUES);
  for (int T = 1; T <= 502; T = T < 70 ? T + 3 : T + 80) {
    int64_t n = iso_batch_windows(s, T), last_phase = -1;
    int phases = 0, orders = 0;
    assert_true(n >= 1 && n <= 502 / T && n >= 502 / T - 1);
    int64_t *first = malloc((size_t)n * sizeof *first);
    assert_non_null(first);
    for (int epoch = 0; epoch < 4; epoch++) {
      uint8_t seen[503] = {0};
      int64_t phase = 503, moved = 0;
      for (int64_t w = 0; w < n; w++) {
        int64_t at = iso_batch_start(s, 42, epoch * n + w, T);
        assert_true(at >= 0 && at + T < 503);
        for (int64_t i = at; i < at + T; i++) assert_int_equal(seen[i]++, 0);  // windows never overlap: n of them, each once
        if (at < phase) phase = at;
        if (epoch == 0)
          first[w] = at;
        else
          moved += first[w] / T != at / T;
      }
      assert_true(phase < T);
      phases += phase != last_phase;
      last_phase = phase;
      orders += moved > n / 2;
    }
    if (n >= 40) assert_int_equal(orders, 3);  // every later epoch has another order
    if (T >= 20 && n >= 8) assert_true(phases >= 3);
    free(first);
  }
  iso_shards_close(s);
}

static void batches_hold_the_text(void **state) {
  (void)state;
  enum { B = 3, T = 37 };
  write_folder(20);
  iso_shards *s;
  OK(iso_shards_open(dir, &s, &err));
  int32_t in[B * T], tg[B * T], in2[2 * T], tg2[2 * T];
  for (int64_t step = 0; step < 40; step++) {
    OK(iso_batch_fill(s, 7, step, B, T, in, tg, &err));
    for (int b = 0; b < B; b++) {
      int64_t at = iso_batch_start(s, 7, step * B + b, T);
      for (int t = 0; t < T; t++) {
        assert_int_equal(in[b * T + t], at + t);
        int64_t next = at + t + 1;
        assert_int_equal(tg[b * T + t], next >= 101 && next % 10 == 0 ? ISO_TARGET_NONE : next);
      }
    }
    OK(iso_batch_at(s, 7, step * B + 1, 2, T, in2, tg2, &err));
    assert_memory_equal(in2, in + T, sizeof in2);
    assert_memory_equal(tg2, tg + T, sizeof tg2);
  }
  assert_int_equal(iso_batch_windows(s, 503), 0);
  assert_int_equal(iso_batch_fill(s, 7, 0, 1, 503, in, tg, &err), ISO_EINVAL);
  assert_int_equal(iso_batch_fill(s, 7, -1, 1, 5, in, tg, &err), ISO_EINVAL);
  // Another seed gives another order.
  int differ = 0;
  for (int64_t w = 0; w < 10; w++) differ += iso_batch_start(s, 7, w, T) != iso_batch_start(s, 8, w, T);
  assert_true(differ > 5);
  iso_shards_close(s);
}

// Order of windows: for small n, every position is taken by every window about equally often (chi-square, 5 sigma).
static void permutation_is_fair(void **state) {
  (void)state;
  write_folder(20);
  iso_shards *s;
  OK(iso_shards_open(dir, &s, &err));
  enum { T = 45, N = 10, EPOCHS = 4000 };
  assert_int_equal(iso_batch_windows(s, T), N);
  static int count[N][N];
  for (int e = 0; e < EPOCHS; e++) {
    int64_t phase = 503, at[N];
    for (int w = 0; w < N; w++) {
      at[w] = iso_batch_start(s, 1, (int64_t)e * N + w, T);
      if (at[w] < phase) phase = at[w];
    }
    for (int w = 0; w < N; w++) count[w][(at[w] - phase) / T]++;
  }
  double chi = 0, want = EPOCHS / (double)N;
  for (int i = 0; i < N * N; i++) chi += (count[i / N][i % N] - want) * (count[i / N][i % N] - want) / want;
  // (N - 1)^2 = 81 degrees of freedom: mean 81, deviation 12.7.
  assert_true(chi > 81 - 4 * 12.7 && chi < 81 + 5 * 12.7);
  iso_shards_close(s);
}

static void held_out_text_is_scored_once(void **state) {
  (void)state;
  for (int64_t val = 0; val <= 21; val++) {
    write_folder(val);
    iso_shards *s;
    OK(iso_shards_open(dir, &s, &err));
    enum { B = 2, T = 5 };
    int32_t in[B * T], tg[B * T];
    int64_t counted, total = 0, next = 1;
    for (int64_t w = 0; w < iso_val_windows(s, T) + 2; w += B) {
      OK(iso_val_fill(s, w, B, T, in, tg, &counted, &err));
      total += counted;
      for (int i = 0; i < B * T; i++) {
        if (tg[i] == ISO_TARGET_NONE) {
          assert_int_equal(in[i], 0);
          continue;
        }
        assert_int_equal(tg[i], next);
        assert_int_equal(in[i], next - 1);
        next++;
      }
    }
    assert_int_equal(total, val > 0 ? val - 1 : 0);
    iso_shards_close(s);
  }
}

static void folders_that_disagree_are_refused(void **state) {
  (void)state;
  write_folder(20);
  iso_shards *s;
  const char *const bad[] = {"",
                             "{}",
                             "{\"vocab\": 999, \"tokenizer_hash\": \"5\", \"train\": {\"shards\": 3}}",
                             "{\"vocab\": 1000, \"tokenizer_hash\": \"6\", \"train\": {\"shards\": 3}}",
                             "{\"vocab\": 1000, \"tokenizer_hash\": \"x\", \"train\": {\"shards\": 3}}",
                             "{\"vocab\": 1000, \"tokenizer_hash\": \"5\", \"train\": {\"shards\": 1e9}}",
                             "{\"vocab\": 1000, \"tokenizer_hash\": \"5\", \"train\": []}"};
  for (size_t i = 0; i < ISO_COUNT(bad); i++) {
    OK(iso_file_put(ctx, in_dir("dataset.json"), bad[i], strlen(bad[i]), &err));
    assert_int_equal(iso_shards_open(dir, &s, &err), ISO_EFORMAT);
  }
  const char four[] = "{\"vocab\": 1000, \"tokenizer_hash\": \"5\", \"train\": {\"shards\": 4}}";
  OK(iso_file_put(ctx, in_dir("dataset.json"), four, sizeof four - 1, &err));
  assert_int_equal(iso_shards_open(dir, &s, &err), ISO_EIO);
  unlink(in_dir("dataset.json"));
  assert_int_equal(iso_shards_open(dir, &s, &err), ISO_EIO);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_what_was_written),
      cmocka_unit_test(layout_is_as_documented),
      cmocka_unit_test(damage_is_refused),
      cmocka_unit_test(full_disk_leaves_the_old_file),
      cmocka_unit_test(every_window_once_an_epoch),
      cmocka_unit_test(batches_hold_the_text),
      cmocka_unit_test(permutation_is_fair),
      cmocka_unit_test(held_out_text_is_scored_once),
      cmocka_unit_test(folders_that_disagree_are_refused),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
