// Documents from files of every kind, the hold-out split, and the whole way from text to shards.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>  // needs the ones above
#include <zlib.h>
#include <zstd.h>
// clang-format on

#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "text/data.h"

static iso_err err;
static void ok_at(iso_status st, const iso_err *e, int line) {
  if (st != ISO_OK) fail_msg("line %d: %s (%s)", line, e->msg, iso_status_name(st));
}
#define OK(call) ok_at((call), &err, __LINE__)

static char dir[] = "/tmp/iso_source_XXXXXX";
static iso_ctx *ctx;
static int set_up(void **state) {
  (void)state;
  return mkdtemp(dir) && iso_ctx_open(2, &ctx, &err) == ISO_OK ? 0 : -1;
}
static int tear_down(void **state) {
  (void)state;
  char cmd[64];
  snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
  iso_ctx_close(ctx);
  return system(cmd);
}
static const char *in_dir(const char *name) {
  static char ring[8][128];
  static int at;
  char *p = ring[at++ % 8];
  snprintf(p, sizeof ring[0], "%s/%s", dir, name);
  return p;
}

static void put(const char *name, const void *p, size_t n) { OK(iso_file_put(ctx, in_dir(name), p, n, &err)); }
static void put_gz(const char *name, const void *p, size_t n, bool append) {
  gzFile f = gzopen(in_dir(name), append ? "ab" : "wb");
  assert_non_null(f);
  assert_int_equal(gzwrite(f, p, (unsigned)n), n);
  assert_int_equal(gzclose(f), Z_OK);
}
static void put_zst(const char *name, const void *p, size_t n) {
  size_t cap = ZSTD_compressBound(n);
  char *buf = malloc(cap);
  assert_non_null(buf);
  size_t k = ZSTD_compress(buf, cap, p, n, 3);
  assert_false(ZSTD_isError(k));
  put(name, buf, k);
  free(buf);
}

static iso_docs *open_docs(const char *a, const char *b, size_t max_bytes) {
  const char *paths[2] = {in_dir(a), b ? in_dir(b) : NULL};
  iso_docs *d;
  iso_source_opts o = {.max_bytes = max_bytes};
  OK(iso_docs_open(ctx, paths, b ? 2 : 1, &o, &d, &err));
  return d;
}
static iso_status refuse(const char *a) {
  const char *paths[1] = {in_dir(a)};
  iso_docs *d;
  iso_status st = iso_docs_open(ctx, paths, 1, NULL, &d, &err);
  if (st == ISO_OK) iso_docs_close(d);
  return st;
}
static void check_doc(const iso_docs *d, int64_t i, const void *p, size_t n) {
  assert_true(i < d->n);
  assert_int_equal(d->doc[i].n, n);
  assert_memory_equal(d->doc[i].p, p, n);
}

static void plain_and_packed_files_agree(void **state) {
  (void)state;
  enum { N = 700000 };
  char *text = malloc(N);
  assert_non_null(text);
  for (int i = 0; i < N; i++) text[i] = (char)iso_rng_below(3, ISO_RNG_TEST, 0, (uint64_t)i, i % 3 ? 256 : 4);
  text[0] = 'x';
  put("a.txt", text, N);
  put_gz("a.gz", text, 300000, false);
  put_gz("a.gz", text + 300000, N - 300000, true);  // two members
  put_zst("a.zst", text, N);
  const char *const names[] = {"a.txt", "a.gz", "a.zst"};
  uint64_t hash = iso_hash(ISO_HASH_SEED, text, N);
  for (int k = 0; k < 3; k++) {
    iso_docs *d = open_docs(names[k], NULL, 0);
    assert_int_equal(d->n, 1);
    check_doc(d, 0, text, N);
    assert_true(d->src[0].hash == hash);
    assert_true(d->src[0].plain);
    iso_docs_close(d);
    d = open_docs(names[k], NULL, 1234);
    check_doc(d, 0, text, 1234);
    iso_docs_close(d);
    d = open_docs(names[k], "a.txt", N + 10);
    assert_int_equal(d->n, 2);
    check_doc(d, 1, text, 10);
    assert_int_equal(d->bytes, N + 10);
    iso_docs_close(d);
  }
  // Standard input.
  int keep = dup(STDIN_FILENO), f = open(in_dir("a.gz"), O_RDONLY);
  assert_true(f >= 0 && dup2(f, STDIN_FILENO) == STDIN_FILENO);
  const char *dash = "-";
  iso_docs *d;
  OK(iso_docs_open(ctx, &dash, 1, NULL, &d, &err));
  check_doc(d, 0, text, N);
  iso_docs_close(d);
  close(f);
  if (keep >= 0) dup2(keep, STDIN_FILENO), close(keep);
  free(text);
}

static void json_lines(void **state) {
  (void)state;
  static const char lines[] =
      "{\"text\": \"one\\n\\u0000\\u00e9\", \"id\": 1}\n\n  \r\n{\"text\":\"\"}\n{\"id\": 2, \"text\": \"two\"}\r\n{\"text\": \"three\"}";
  put("a.jsonl", lines, sizeof lines - 1);
  put_gz("b.jsonl.gz", lines, sizeof lines - 1, false);
  put_zst("c.ndjson.zst", lines, sizeof lines - 1);
  const char *const names[] = {"a.jsonl", "b.jsonl.gz", "c.ndjson.zst"};
  for (int k = 0; k < 3; k++) {
    iso_docs *d = open_docs(names[k], NULL, 0);
    assert_int_equal(d->n, 3);
    check_doc(d, 0, "one\n\0\xc3\xa9", 7);
    check_doc(d, 1, "two", 3);
    check_doc(d, 2, "three", 5);
    assert_false(d->src[0].plain);
    iso_docs_close(d);
    d = open_docs(names[k], NULL, 9);
    assert_int_equal(d->n, 2);
    check_doc(d, 1, "tw", 2);
    iso_docs_close(d);
  }
  put("bad.jsonl", "{\"text\": \"a\"}\n{\"text\": 3}\n", 27);
  assert_int_equal(refuse("bad.jsonl"), ISO_EFORMAT);
  assert_non_null(strstr(err.msg, "line 2"));
  put("bad.jsonl", "{\"text\": \"a\"}\n\n{\"text\": \"\xff\"}\n", 29);
  assert_int_equal(refuse("bad.jsonl"), ISO_EFORMAT);
  assert_non_null(strstr(err.msg, "line 3"));
}

static void bad_files_are_refused(void **state) {
  (void)state;
  put("empty.txt", "", 0);
  assert_int_equal(refuse("empty.txt"), ISO_EINVAL);
  assert_int_equal(refuse("missing.txt"), ISO_EIO);
  assert_non_null(strstr(err.msg, "missing.txt"));
  assert_int_equal(refuse("."), ISO_EIO);
  char text[5000], *file;
  for (int i = 0; i < 5000; i++) text[i] = (char)iso_rng_below(4, ISO_RNG_TEST, 0, (uint64_t)i, 256);
  put_gz("cut.gz", text, sizeof text, false);
  put_zst("cut.zst", text, sizeof text);
  for (int k = 0; k < 2; k++) {
    const char *name = k ? "cut.zst" : "cut.gz";
    size_t n;
    OK(iso_file_get(in_dir(name), 1 << 16, &file, &n, &err));
    put(name, file, n / 2);
    assert_int_equal(refuse(name), ISO_EFORMAT);
    file[n / 2] ^= 0x55;
    file[20] ^= 0x55;
    put(name, file, n);
    iso_status st = refuse(name);
    assert_true(st == ISO_EFORMAT || (k == 1 && st == ISO_OK));  // this zst frame has no checksum
    free(file);
  }
  iso_docs *d;
  assert_int_equal(iso_docs_open(ctx, NULL, 0, NULL, &d, &err), ISO_EINVAL);
}

static void dictionary_entries(void **state) {
  (void)state;
  // Entries: info [0,4), b [4,7), a [7,12) with two headwords; offsets in base 64 digits, sorted by headword.
  static const char dict[] = "infoBBBAAAAA", index[] = "00-database-info\tA\tE\na\tH\tF\na2\tH\tF\nb\tE\tD\n";
  put_gz("gcide.dict.dz", dict, 12, false);
  put("gcide.index", index, sizeof index - 1);
  iso_docs *d;
  OK(iso_docs_open_gcide(ctx, dir, NULL, &d, &err));
  assert_int_equal(d->n, 2);
  check_doc(d, 0, "BBB", 3);
  check_doc(d, 1, "AAAAA", 5);
  iso_docs_close(d);
  static const char *const bad[] = {"a\tH\tG\n", "a\t!\tB\n", "a\tA\n", "a\tA\t\n", "a\tHHHHHHHHHHHH\tB\n"};
  for (size_t i = 0; i < ISO_COUNT(bad); i++) {
    put("gcide.index", bad[i], strlen(bad[i]));
    assert_int_equal(iso_docs_open_gcide(ctx, dir, NULL, &d, &err), ISO_EFORMAT);
  }
  assert_int_equal(iso_docs_open_gcide(ctx, "/nonexistent", NULL, &d, &err), ISO_EIO);
  assert_non_null(strstr(err.hint, "apt-get install dict-gcide"));
}

static void real_dictionary(void **state) {
  (void)state;
  iso_docs *d;
  iso_status st = iso_docs_open_gcide(ctx, NULL, NULL, &d, &err);
  if (st == ISO_EIO) {
    print_message("skipped: dict-gcide is not installed\n");
    skip();
  }
  OK(st);
  // `zcat gcide.dict.dz | wc -c` gives 39,952,321 in Debian 12; an entry and a line break that is in none alternate.
  assert_true(d->bytes > 39700000 && d->bytes < 39952321);
  assert_true(d->n > 100000);
  iso_split s;
  OK(iso_split_make(d, 0.02, &s, &err));
  double share = (double)s.val_bytes / (double)d->bytes;
  assert_true(share > 0.017 && share < 0.023);
  iso_split_free(&s);
  iso_docs_close(d);
}

static void one_document_gives_its_tail(void **state) {
  (void)state;
  static const uint8_t text[100000];
  for (size_t n = 2; n <= sizeof text; n = n < 300 ? n + 1 : n * 3 / 2) {
    iso_bytes b = {text, n};
    iso_docs *d;
    iso_split s;
    OK(iso_docs_wrap(&b, 1, "t", &d, &err));
    OK(iso_split_make(d, 0.02, &s, &err));
    size_t want = n * 98 / 100;  // integers
    if (want < 1) want = 1;
    assert_int_equal(s.train_bytes, want);
    assert_ptr_equal(s.train[0].p, text);
    assert_ptr_equal(s.val[0].p, text + want);
    assert_int_equal(s.val_bytes, n - want);
    iso_split_free(&s);
    iso_docs_close(d);
  }
  iso_bytes one = {text, 1};
  iso_docs *d;
  iso_split s;
  OK(iso_docs_wrap(&one, 1, "t", &d, &err));
  assert_int_equal(iso_split_make(d, 0.02, &s, &err), ISO_EINVAL);
  assert_int_equal(iso_split_make(d, 0, &s, &err), ISO_EINVAL);
  assert_int_equal(iso_split_make(d, NAN, &s, &err), ISO_EINVAL);
  iso_docs_close(d);
}

static void many_documents_are_split_by_hash(void **state) {
  (void)state;
  enum { N = 50000 };
  static uint8_t text[N];
  static iso_bytes b[N];
  for (int i = 0; i < N; i++) b[i] = (iso_bytes){text + i, 1};
  for (int64_t n = 2; n <= N; n = n < 100 ? n + 1 : n * 4) {
    iso_docs *d;
    iso_split s;
    OK(iso_docs_wrap(b, n, "t", &d, &err));
    OK(iso_split_make(d, 0.02, &s, &err));
    assert_true(s.n_train >= 1 && s.n_val >= 1);
    assert_int_equal(s.n_train + s.n_val, n);
    if (n > 10000) {
      double mean = 0, sd = sqrt(0.02 * 0.98 * (double)n);
      for (int64_t i = 0; i < s.n_val; i++) mean += (double)(s.val[i].p - text) / (double)n / (double)s.n_val;
      assert_true(fabs((double)s.n_val - 0.02 * (double)n) < 4 * sd);
      assert_true(fabs(mean - 0.5) < 4 * 0.289 / sqrt((double)s.n_val));  // spread over the whole list
    }
    iso_split_free(&s);
    iso_docs_close(d);
  }
}

// Text to shards and back: the training shards hold the training documents, token by token.
static void build_and_read_back(void **state) {
  (void)state;
  iso_str lines = {0};
  for (int i = 0; i < 3000; i++) iso_str_fmt(&lines, "{\"text\": \"document %d says hello to document %d\\n\"}\n", i, i * 7);
  put("docs.jsonl", lines.p, lines.n);
  const char *path = in_dir("docs.jsonl");
  char out[128];
  snprintf(out, sizeof out, "%s/set/deep", dir);
  iso_data_opts o = {.paths = &path, .n_paths = 1, .out_dir = out, .vocab = 400, .shard_tokens = 5000};
  iso_data_report r;
  OK(iso_data_build(ctx, &o, &r, &err));
  assert_true(r.n_train_shards > 2);
  iso_shards *s;
  iso_tok *t;
  OK(iso_shards_open(out, &s, &err));
  OK(iso_shards_verify(s, &err));
  OK(iso_shards_tok(s, &t, &err));
  assert_int_equal(s->train_tokens, r.train_tokens);
  assert_int_equal(s->train_docs, r.train_docs);
  assert_int_equal(s->val_docs, r.val_docs);
  assert_int_equal(s->train_bytes, r.train_bytes);
  assert_int_equal(s->val_bytes, r.val_bytes);
  assert_int_equal(r.train_docs + r.val_docs, 3000);
  iso_docs *d = open_docs("docs.jsonl", NULL, 0);
  iso_split sp;
  OK(iso_split_make(d, 0.02, &sp, &err));
  for (int part = 0; part < 2; part++) {
    iso_ids ids = {0};
    iso_str text = {0}, want = {0};
    int64_t n = part ? s->val_tokens : s->train_tokens;
    OK(iso_ids_room(&ids, n, &err));
    for (int k = 0; part == 0 && k < s->n_train; k++) {
      OK(iso_shard_read(&s->train[k], 0, (int64_t)s->train[k].n_tokens, ids.p + s->train_start[k], &err));
      for (uint64_t i = 0; i < s->train[k].n_docs; i++)  // a document starts with its end-of-text token
        assert_int_equal(ids.p[s->train_start[k] + iso_load_le64(s->train[k].docs + 8 * i)], iso_tok_eot(t));
    }
    if (part) OK(iso_shard_read(&s->val, 0, n, ids.p, &err));
    OK(iso_tok_decode(t, ids.p, n, &text, &err));
    for (int64_t i = 0; i < (part ? sp.n_val : sp.n_train); i++) {
      iso_bytes b = part ? sp.val[i] : sp.train[i];
      iso_str_add(&want, "<|endoftext|>");
      iso_str_put(&want, b.p, b.n);
    }
    iso_str_add(&want, "<|endoftext|>");
    assert_int_equal(text.n, want.n);
    assert_memory_equal(text.p, want.p, want.n);
    iso_str_free(&text);
    iso_str_free(&want);
    iso_ids_free(&ids);
  }
  iso_shards_close(s);
  // Again, with the same tokenizer and one big shard: the old shards go.
  char tok[160];
  snprintf(tok, sizeof tok, "%s/tokenizer.json", out);
  o.tokenizer = tok;
  o.shard_tokens = 0;
  iso_data_report r2;
  OK(iso_data_build(ctx, &o, &r2, &err));
  assert_int_equal(r2.train_tokens, r.train_tokens);
  assert_int_equal(r2.n_train_shards, 1);
  assert_true(r2.tok_hash == r.tok_hash);
  snprintf(tok, sizeof tok, "%s/train-00001.bin", out);
  assert_false(iso_file_exists(tok));
  iso_tok_close(t);
  iso_split_free(&sp);
  iso_docs_close(d);
  iso_str_free(&lines);
}

// One plain file: no separators, the last 2% of its bytes held out, also when it is encoded in several rounds.
static void build_one_file(void **state) {
  (void)state;
  enum { N = 40 << 20 };
  char *text = malloc(N);
  assert_non_null(text);
  for (int i = 0; i < N; i++) text[i] = "etaoin shrdlu\n"[iso_rng_mix((uint64_t)i / 2) % 14];
  put("one.txt", text, N);
  const char *path = in_dir("one.txt");
  char out[128];
  snprintf(out, sizeof out, "%s/one", dir);
  iso_data_opts o = {.paths = &path, .n_paths = 1, .out_dir = out, .vocab = 320, .tok_max_bytes = 1 << 20};
  iso_data_report r;
  OK(iso_data_build(ctx, &o, &r, &err));
  assert_int_equal(r.train_bytes, (int64_t)N * 98 / 100);
  assert_int_equal(r.val_bytes, N - (int64_t)N * 98 / 100);
  iso_shards *s;
  iso_tok *t;
  iso_ids ids = {0};
  OK(iso_shards_open(out, &s, &err));
  OK(iso_shards_tok(s, &t, &err));
  OK(iso_tok_encode(t, text, (size_t)r.train_bytes, false, &ids, &err));
  assert_int_equal(ids.n, s->train_tokens);
  int32_t *got = malloc((size_t)ids.n * sizeof *got);
  assert_non_null(got);
  OK(iso_shard_read(&s->train[0], 0, ids.n, got, &err));
  assert_memory_equal(got, ids.p, (size_t)ids.n * sizeof *got);
  free(got);
  iso_ids_free(&ids);
  iso_tok_close(t);
  iso_shards_close(s);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain_and_packed_files_agree),
      cmocka_unit_test(json_lines),
      cmocka_unit_test(bad_files_are_refused),
      cmocka_unit_test(dictionary_entries),
      cmocka_unit_test(real_dictionary),
      cmocka_unit_test(one_document_gives_its_tail),
      cmocka_unit_test(many_documents_are_split_by_hash),
      cmocka_unit_test(build_and_read_back),
      cmocka_unit_test(build_one_file),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
