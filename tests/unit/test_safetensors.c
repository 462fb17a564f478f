// safetensors: golden bytes, round trips, truncation at every byte, hostile headers, shards, failing disks.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// clang-format off: cmocka.h needs what stands above
#include <cmocka.h>
// clang-format on

#include "base/file.h"
#include "base/rng.h"
#include "model/fmt_safetensors.h"

static char dir[64];
static iso_ctx *ctx;

static int setup(void **state) {
  (void)state;
  iso_err err;
  strcpy(dir, "/tmp/isoflop_st_XXXXXX");
  return !mkdtemp(dir) || iso_ctx_open(1, &ctx, &err) != ISO_OK;
}

static int teardown(void **state) {
  (void)state;
  char cmd[100];
  (void)snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
  iso_ctx_close(ctx);
  return system(cmd);
}

static const char *in_dir(const char *name) {
  static char path[4][128];
  static int k;
  k = (k + 1) % 4;
  (void)snprintf(path[k], sizeof path[k], "%s/%s", dir, name);
  return path[k];
}

static iso_err bad;  // of calls that must succeed
#define OK(call)                                              \
  do {                                                        \
    if ((call) != ISO_OK) fail_msg("%s: %s", #call, bad.msg); \
  } while (0)

// A file's bytes: header text (padded to pad) and data. Returns the length.
static size_t make(unsigned char *out, const char *head, size_t pad, const void *data, size_t n) {
  size_t k = strlen(head), len = (k + pad - 1) / pad * pad;
  for (int i = 0; i < 8; i++) out[i] = (unsigned char)(len >> 8 * i);
  memcpy(out + 8, head, k);
  memset(out + 8 + k, ' ', len - k);
  if (n) memcpy(out + 8 + len, data, n);
  return 8 + len + n;
}

// What safetensors 0.8.0 (Python, save_file of numpy arrays a = float32 [[1, -2, 0.5], [3, 4, 5]], b = int64 7, metadata k: value)
// writes; its file was compared with these bytes once.
static const char GOLDEN_HEAD[] =
    "{\"__metadata__\":{\"k\":\"value\"},\"b\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],"
    "\"data_"
    "offsets\":[8,32]}}";

static size_t golden(unsigned char *out) {
  unsigned char data[32] = {7};
  const float a[6] = {1, -2, 0.5f, 3, 4, 5};
  memcpy(data + 8, a, 24);
  return make(out, GOLDEN_HEAD, 8, data, 32);
}

static void test_golden(void **state) {
  (void)state;
  unsigned char want[512];
  const float a[6] = {1, -2, 0.5f, 3, 4, 5};
  const int64_t b = 7, shape[2] = {2, 3};
  size_t n = golden(want), got_n;
  iso_st_writer *w;
  OK(iso_st_writer_open(&w, &bad));
  OK(iso_st_add(w, "a", ISO_ST_F32, 2, shape, a, &bad));
  OK(iso_st_add(w, "b", ISO_ST_I64, 0, NULL, &b, &bad));
  OK(iso_st_meta(w, "k", "value", &bad));
  assert_int_equal(iso_st_writer_bytes(w), n);
  const char *path = in_dir("golden.safetensors");
  OK(iso_st_commit(ctx, w, path, &bad));
  iso_st_writer_close(w);
  char *got;
  OK(iso_file_get(path, 1 << 20, &got, &got_n, &bad));
  assert_int_equal(got_n, n);
  assert_memory_equal(got, want, n);
  free(got);
  iso_st *s;
  OK(iso_st_open(path, &s, &bad));
  assert_int_equal(iso_st_count(s), 2);
  assert_string_equal(iso_st_at(s, 0)->name, "a");
  assert_string_equal(iso_st_metadata(s, "k"), "value");
  assert_null(iso_st_metadata(s, "x"));
  assert_null(iso_st_find(s, "c"));
  const iso_st_info *t = iso_st_find(s, "a");
  float x[6];
  int64_t y = 0;
  char text[80];
  assert_string_equal(iso_st_describe(t, text, sizeof text), "F32 [2,3]");
  OK(iso_st_read_f32(t, x, &bad));
  assert_memory_equal(x, a, sizeof a);
  OK(iso_st_read_f32_part(t, 4, 2, x, &bad));
  assert_true(x[0] == 4 && x[1] == 5);
  OK(iso_st_take(s, "b", ISO_ST_I64, 1, &y, &bad));
  assert_int_equal(y, 7);
  iso_err err;
  assert_int_equal(iso_st_take(s, "b", ISO_ST_F32, 1, &y, &err), ISO_EFORMAT);
  assert_int_equal(iso_st_take(s, "b", ISO_ST_I64, 2, &y, &err), ISO_EFORMAT);
  assert_int_equal(iso_st_take(s, "z", ISO_ST_I64, 1, &y, &err), ISO_EFORMAT);
  assert_int_equal(iso_st_read_f32(iso_st_find(s, "b"), x, &err), ISO_EUNSUP);
  assert_int_equal(iso_st_read_f32_part(t, 4, 3, x, &err), ISO_EBUG);
  iso_st_close(s);
}

// Every proper prefix and every file with bytes appended is refused; an exact-size heap copy lets ASan see over-reads.
static void test_truncation(void **state) {
  (void)state;
  unsigned char full[512];
  size_t n = golden(full);
  full[n] = 0;
  for (size_t k = 0; k <= n + 1; k++) {
    unsigned char *p = malloc(k ? k : 1);
    memcpy(p, full, k);
    iso_st *s;
    iso_err err = {0};
    iso_status st = iso_st_parse(p, k, "cut", &s, &err);
    assert_int_equal(st, k == n ? ISO_OK : ISO_EFORMAT);
    assert_true(k == n || (s == NULL && strstr(err.msg, "cut")));
    iso_st_close(s);
    free(p);
  }
}

static void test_hostile(void **state) {
  (void)state;
#define T(dtype, shape, at) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" at "}"
  static const struct {
    const char *head, *says;
  } CASES[] = {
      {"[1]", "does not start"},
      {" {}", "does not start"},
      {"{\"a\":1}", "object"},
      {"{\"a\":" T("F32", "[4]", "[0,16]") "}x", "JSON"},
      {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"a\":" T("F32", "[2]", "[8,16]") "}", "duplicate"},
      {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[1]", "[12,16]") "}", "hole"},
      {"{\"a\":" T("F32", "[3]", "[4,16]") "}", "hole"},
      {"{\"a\":" T("F32", "[3]", "[0,12]") ",\"b\":" T("F32", "[2]", "[8,16]") "}", "overlap"},
      {"{\"a\":" T("F32", "[4]", "[0,16]") ",\"b\":" T("F32", "[4]", "[0,16]") "}", "overlap"},
      {"{\"a\":" T("F32", "[3]", "[0,12]") "}", "the file has 16"},
      {"{\"a\":" T("F32", "[5]", "[0,20]") "}", "cut short"},
      {"{\"a\":" T("F32", "[4]", "[0,15]") "}", "say otherwise"},
      {"{\"a\":" T("F16", "[4]", "[0,16]") "}", "say otherwise"},
      {"{\"a\":" T("F32", "[4]", "[16,0]") "}", "say otherwise"},
      {"{\"a\":" T("F32", "[4]", "[-16,0]") "}", "say otherwise"},
      {"{\"a\":" T("F32", "[-4]", "[0,16]") "}", "not a size"},
      {"{\"a\":" T("F32", "[4.0]", "[0,16]") "}", "not a size"},
      {"{\"a\":" T("F32", "[4294967296,4294967296]", "[0,16]") "}", "too many"},
      {"{\"a\":" T("F64", "[2305843009213693952]", "[0,16]") "}", "too many"},
      {"{\"a\":" T("F32", "[9223372036854775807,3,0]", "[0,0]") "}", "too many"},
      {"{\"a\":" T("F32", "[99999999999999999999]", "[0,16]") "}", "JSON"},
      {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,4]", "[0,16]") "}", "dimensions"},
      {"{\"a\":" T("F33", "[4]", "[0,16]") "}", "dtype"},
      {"{\"a\":" T("F32", "4", "[0,16]") "}", "shape"},
      {"{\"a\":" T("F32", "[4]", "[0]") "}", "two integers"},
      {"{\"a\":" T("F32", "[4]", "[0,16.0]") "}", "two integers"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", "two integers"},
      {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}", "shape"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16],\"x\":1}}", "unknown key"},
      {"{\"__metadata__\":{\"k\":1},\"a\":" T("F32", "[4]", "[0,16]") "}", "not a string"},
      {"{\"__metadata__\":[],\"a\":" T("F32", "[4]", "[0,16]") "}", "not an object"},
      {"{\"a\\u0000\":" T("F32", "[4]", "[0,16]") "}", "JSON"},
      {"{\"a\xff\":" T("F32", "[4]", "[0,16]") "}", "JSON"},
      {"{}", "the file has 16"},
  };
  const unsigned char data[16] = {0};
  unsigned char buf[1024];
  for (size_t i = 0; i < ISO_COUNT(CASES); i++) {
    iso_st *s;
    iso_err err = {0};
    size_t n = make(buf, CASES[i].head, 1, data, 16);
    iso_status st = iso_st_parse(buf, n, "f", &s, &err);
    if (st != ISO_EFORMAT || !strstr(err.msg, CASES[i].says)) fail_msg("case %zu: status %d, \"%s\" lacks \"%s\"", i, st, err.msg, CASES[i].says);
    assert_null(s);
  }
  for (int i = 0; i < 8; i++) {  // header lengths far beyond the file
    iso_st *s;
    iso_err err;
    size_t n = golden(buf);
    buf[i] = 0xff;
    assert_int_equal(iso_st_parse(buf, n, "f", &s, &err), ISO_EFORMAT);
  }
  const char *fine[] = {"{\"a\":" T("F32", "[4]", "[0,16]") "}", "{\"a\":" T("BF16", "[0,3]", "[0,0]") ",\"b\":" T("U8", "[2,2,4]", "[0,16]") "}",
                        "{\"b\":" T("U8", "[15]", "[1,16]") ",\"a\":" T("BOOL", "[]", "[0,1]") "}",
                        "{\"b\":" T("F8_E4M3", "[16]", "[0,16]") ",\"z\":" T("F64", "[0]", "[16,16]") "} \n"};
  for (size_t i = 0; i < ISO_COUNT(fine); i++) {
    iso_st *s;
    size_t n = make(buf, fine[i], 1, data, 16);
    OK(iso_st_parse(buf, n, "f", &s, &bad));
    iso_st_close(s);
  }
}

// Every f16 and bf16 pattern against the definition of the formats.
static void test_halves(void **state) {
  (void)state;
  unsigned char *buf = malloc(4 * 65536 + 512);
  uint16_t *all = malloc(2 * 65536);
  float *x = malloc(4 * 65536);
  for (int i = 0; i < 65536; i++) all[i] = (uint16_t)i;
  const char *heads[2] = {"{\"a\":" T("F16", "[65536]", "[0,131072]") "}", "{\"a\":" T("BF16", "[65536]", "[0,131072]") "}"};
  for (int k = 0; k < 2; k++) {
    iso_st *s;
    size_t n = make(buf, heads[k], 1, all, 131072);  // pad 1: the data is not aligned
    OK(iso_st_parse(buf, n, "f", &s, &bad));
    OK(iso_st_read_f32(iso_st_find(s, "a"), x, &bad));
    iso_st_close(s);
    int eb = k ? 8 : 5, mb = 15 - eb, bias = (1 << (eb - 1)) - 1;
    for (int i = 0; i < 65536; i++) {
      int e = i >> mb & ((1 << eb) - 1), m = i & ((1 << mb) - 1);
      double v = e == 0 ? ldexp(m, 1 - bias - mb) : e == (1 << eb) - 1 ? (m ? NAN : INFINITY) : ldexp(m + (1 << mb), e - bias - mb);
      if (i >> 15) v = -v;
      assert_true(isnan(v) ? isnan(x[i]) : (double)x[i] == v && !!signbit(x[i]) == (i >> 15 != 0));
    }
  }
  free(buf);
  free(all);
  free(x);
}

static iso_status squares(void *arg, int64_t first, int64_t n, void *out, iso_err *err) {
  (void)err;
  int64_t *calls = arg;
  (*calls)++;
  for (int64_t i = 0; i < n; i++) ((int32_t *)out)[i] = (int32_t)((first + i) * (first + i));
  return ISO_OK;
}

static void test_writer(void **state) {
  (void)state;
  enum { N = 300000 };
  const unsigned char bytes[3] = {1, 2, 3};
  const int64_t three = 3, many = N, none[2] = {0, 5}, minus = -1, huge[2] = {INT64_MAX, 2};
  int64_t calls = 0;
  iso_st_writer *w;
  iso_err err;
  OK(iso_st_writer_open(&w, &bad));
  OK(iso_st_add(w, "x\"\n\xc3\xa9", ISO_ST_U8, 1, &three, bytes, &bad));
  OK(iso_st_add_fill(w, "sq", ISO_ST_I32, 1, &many, squares, &calls, &bad));
  OK(iso_st_add(w, "empty", ISO_ST_F32, 2, none, NULL, &bad));
  assert_int_equal(iso_st_add(w, "sq", ISO_ST_U8, 1, &three, bytes, &err), ISO_EINVAL);
  assert_int_equal(iso_st_add(w, "__metadata__", ISO_ST_U8, 1, &three, bytes, &err), ISO_EINVAL);
  assert_int_equal(iso_st_add(w, "neg", ISO_ST_U8, 1, &minus, bytes, &err), ISO_EINVAL);
  assert_int_equal(iso_st_add(w, "huge", ISO_ST_U8, 2, huge, bytes, &err), ISO_EINVAL);
  assert_int_equal(iso_st_add(w, "rank", ISO_ST_U8, 9, huge, bytes, &err), ISO_EINVAL);
  assert_int_equal(iso_st_add(w, "\xff", ISO_ST_U8, 1, &three, bytes, &err), ISO_EINVAL);
  assert_int_equal(iso_st_meta(w, "k", "\xff", &err), ISO_EINVAL);
  const char *path = in_dir("w.safetensors");
  OK(iso_st_commit(ctx, w, path, &bad));
  assert_true(calls > 1);  // in pieces
  iso_st *s;
  OK(iso_st_open(path, &s, &bad));
  assert_int_equal(iso_st_count(s), 3);
  int32_t *got = malloc(N * 4);
  OK(iso_st_take(s, "sq", ISO_ST_I32, N, got, &bad));
  for (int64_t i = 0; i < N; i++) assert_int_equal(got[i], (int32_t)(i * i));
  assert_int_equal((uintptr_t)iso_st_find(s, "sq")->data % 8, 0);  // four-byte elements go before bytes
  unsigned char b3[3];
  OK(iso_st_take(s, "x\"\n\xc3\xa9", ISO_ST_U8, 3, b3, &bad));
  assert_memory_equal(b3, bytes, 3);
  iso_st_close(s);
  free(got);
  iso_st_writer_close(w);
}

static ssize_t disk_full(void *self, int fd, const void *buf, size_t n) {
  int64_t *left = self;
  if ((int64_t)n > *left) {
    errno = ENOSPC;
    return -1;
  }
  *left -= (int64_t)n;
  return write(fd, buf, n);
}

static iso_status refuse(void *arg, int64_t first, int64_t n, void *out, iso_err *err) {
  (void)arg, (void)first, (void)n, (void)out;
  return iso_fail(err, ISO_ENUM, "refused");
}

// A disk that fills up or a filler that fails leaves the old file, and nothing else.
static void test_failures(void **state) {
  (void)state;
  const int64_t many = 200000;
  float *x = calloc((size_t)many, 4);
  const char *path = in_dir("f.safetensors");
  iso_st_writer *w;
  OK(iso_st_writer_open(&w, &bad));
  OK(iso_file_put(ctx, path, "old", 3, &bad));
  OK(iso_st_add(w, "a", ISO_ST_F32, 1, &many, x, &bad));
  int64_t left = 1000;
  iso_io keep = ctx->io;
  ctx->io.write = disk_full;
  ctx->io.self = &left;
  iso_err err = {0};
  assert_int_equal(iso_st_commit(ctx, w, path, &err), ISO_EFULL);
  ctx->io = keep;
  OK(iso_st_add_fill(w, "b", ISO_ST_F32, 1, &many, refuse, NULL, &bad));
  assert_int_equal(iso_st_commit(ctx, w, path, &err), ISO_ENUM);
  char *text, cmd[100];
  size_t n;
  OK(iso_file_get(path, 100, &text, &n, &bad));
  assert_string_equal(text, "old");
  free(text);
  (void)snprintf(cmd, sizeof cmd, "! ls %s | grep -q tmp", dir);
  assert_int_equal(system(cmd), 0);
  iso_st_writer_close(w);
  free(x);
  iso_st *s;
  assert_int_equal(iso_st_open(in_dir("absent"), &s, &err), ISO_EIO);
  OK(iso_file_put(ctx, path, "", 0, &bad));
  assert_int_equal(iso_st_open(path, &s, &err), ISO_EFORMAT);
}

static void write_shard(const char *file, const char *name, float value) {
  const int64_t one = 1;
  iso_st_writer *w;
  OK(iso_st_writer_open(&w, &bad));
  OK(iso_st_add(w, name, ISO_ST_F32, 1, &one, &value, &bad));
  OK(iso_st_commit(ctx, w, in_dir(file), &bad));
  iso_st_writer_close(w);
}

static iso_status open_index(const char *text, iso_st **s, iso_err *err) {
  const char *path = in_dir("model.safetensors.index.json");
  OK(iso_file_put(ctx, path, text, strlen(text), &bad));
  return iso_st_open(path, s, err);
}

static void test_shards(void **state) {
  (void)state;
  iso_st *s;
  iso_err err = {0};
  write_shard("one.safetensors", "a", 1);
  write_shard("two.safetensors", "b", 2);
  write_shard("again.safetensors", "a", 3);
  assert_int_equal(open_index("{\"metadata\":{\"total_size\":8},\"weight_map\":{\"b\":\"two.safetensors\",\"a\":\"one.safetensors\"}}", &s, &err),
                   ISO_OK);
  float x[2];
  OK(iso_st_take(s, "a", ISO_ST_F32, 1, x, &bad));
  OK(iso_st_take(s, "b", ISO_ST_F32, 1, x + 1, &bad));
  assert_true(x[0] == 1 && x[1] == 2 && iso_st_count(s) == 2);
  iso_st_close(s);
  static const struct {
    const char *text, *says;
    iso_status st;
  } CASES[] = {
      {"{\"weight_map\":{\"b\":\"one.safetensors\"}}", "where the index puts it", ISO_EFORMAT},
      {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\",\"c\":\"two.safetensors\"}}", "where the index puts it", ISO_EFORMAT},
      {"{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"again.safetensors\"}}", "two shards", ISO_EFORMAT},
      {"{\"weight_map\":{\"a\":\"../one.safetensors\"}}", "plain file name", ISO_EFORMAT},
      {"{\"weight_map\":{\"a\":\"\"}}", "plain file name", ISO_EFORMAT},
      {"{\"weight_map\":{\"a\":1}}", "not a file name", ISO_EFORMAT},
      {"{\"weight_map\":{\"a\":\"gone.safetensors\"}}", "gone", ISO_EIO},
      {"{}", "weight_map", ISO_EFORMAT},
      {"{", "JSON", ISO_EFORMAT}};
  for (size_t i = 0; i < ISO_COUNT(CASES); i++) {
    iso_status st = open_index(CASES[i].text, &s, &err);
    if (st != CASES[i].st || !strstr(err.msg, CASES[i].says)) fail_msg("case %zu: status %d, \"%s\" lacks \"%s\"", i, st, err.msg, CASES[i].says);
    assert_null(s);
  }
  const int64_t one = 1;  // a shard with a tensor that the index does not list
  iso_st_writer *w;
  OK(iso_st_writer_open(&w, &bad));
  OK(iso_st_add(w, "a", ISO_ST_F32, 1, &one, x, &bad));
  OK(iso_st_add(w, "q", ISO_ST_F32, 1, &one, x, &bad));
  OK(iso_st_commit(ctx, w, in_dir("both.safetensors"), &bad));
  iso_st_writer_close(w);
  assert_int_equal(open_index("{\"weight_map\":{\"a\":\"both.safetensors\"}}", &s, &err), ISO_EFORMAT);
  assert_non_null(strstr(err.msg, "the index does not"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden), cmocka_unit_test(test_truncation), cmocka_unit_test(test_hostile),
                                     cmocka_unit_test(test_halves), cmocka_unit_test(test_writer),     cmocka_unit_test(test_failures),
                                     cmocka_unit_test(test_shards)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
