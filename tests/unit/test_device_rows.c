// Measured tables from CSV: columns, units, collectives in their two forms, and hostile files refused with line and column.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/device/rows.h"

static void parse(const char *text, iso_table_kind k, iso_rows *r) {
  iso_err e = {0};
  if (iso_rows_parse(text, strlen(text), "t.csv", k, 2, r, &e) != ISO_OK) fail_msg("%s", e.msg);
}

static void test_columns(void **state) {
  (void)state;
  iso_rows r;
  parse("\xEF\xBB\xBF# A100\r\nk,note,M,\"n\",time ms\r\n64,\"a,b\",1,32,2.5\r\n128,,2,64,0.5", ISO_TABLE_gemm, &r);
  assert_int_equal(r.n, 2);
  assert_true(r.shape[0] == 1 && r.shape[1] == 32 && r.shape[2] == 64 && r.time_s[0] == 2.5e-3 && r.line[0] == 3);
  assert_true(r.shape[3] == 2 && r.shape[5] == 128 && r.time_s[1] == 0.5e-3 && r.line[1] == 4);
  iso_rows_close(&r);
  parse("batch,tokens,heads,kv_heads,head_dim,time_us\n2,100,8,4,128,30\n", ISO_TABLE_decode, &r);
  assert_true(r.kind == ISO_TABLE_decode && r.shape[1] == 100 && r.shape[3] == 4 && fabs(r.time_s[0] - 30e-6) < 1e-18);
  iso_rows_close(&r);
  parse("op,gpus,elements,time_s\nAll-Reduce,4,1024,1e-5\nreduce_scatter,2,3,2e-5\n", ISO_TABLE_collective, &r);
  assert_true(r.shape[0] == ISO_COLL_all_reduce && r.shape[1] == 4 && r.shape[2] == 2048);
  assert_true(r.shape[3] == ISO_COLL_reduce_scatter && r.shape[5] == 6);
  iso_rows_close(&r);
}

// nccl-tests: busbw = bytes / time x 2 (g - 1) / g. A row of an eight-way all-reduce, and one of two devices.
static void test_bus_bandwidth(void **state) {
  (void)state;
  iso_rows r, s;
  iso_err e = {0};
  parse("bytes,time_ns,busbw_gbs\n1048576,92790,19.78\n1048576,70140,14.95\n", ISO_TABLE_collective, &r);
  assert_true(r.shape[0] == ISO_COLL_all_reduce && r.shape[1] == 8 && r.shape[2] == 1048576);
  assert_true(r.shape[4] == 2 && fabs(r.time_s[1] - 70.14e-6) < 1e-15);
  parse("bytes,gpus,time_ns\n10,16,5\n", ISO_TABLE_collective, &s);
  assert_int_equal(iso_rows_join(&r, &s, &e), ISO_OK);
  assert_true(r.n == 3 && r.shape[7] == 16 && r.line[2] == 2 && r.line[1] == 3);
  iso_rows_close(&s);
  iso_rows_close(&r);
}

static void refuse(const char *text, size_t n, iso_table_kind k, const char *word) {
  iso_rows r;
  iso_err e = {0};
  iso_status st = iso_rows_parse(text, n, "t.csv", k, 2, &r, &e);
  if (st != ISO_EFORMAT) fail_msg("%s: status %d for '%s' (%s)", word, st, text, e.msg);
  if (!strstr(e.msg, word) || !strstr(e.msg, "t.csv")) fail_msg("'%s' does not say '%s'", e.msg, word);
  assert_null(r.shape);
}

static void test_hostile(void **state) {
  (void)state;
#define REFUSE(text, k, word) refuse(text, sizeof(text) - 1, ISO_TABLE_##k, word)
  REFUSE("", gemm, "is empty");
  REFUSE("m,n,k,time_ms\n", gemm, "no row");
  REFUSE("m,n,time_ms\n1,1,1\n", gemm, "line 1: no column for k");
  REFUSE("m,n,k,time\n1,1,1,1\n", gemm, "line 1: no column for the time");
  REFUSE("m,n,k,time_s,time_ms\n1,1,1,1,1\n", gemm, "two columns of times, 4 and 5");
  REFUSE("m,n,k,M,time_s\n1,1,1,1,1\n", gemm, "columns 1 and 4 are both called m");
  REFUSE("batch,tokens,heads,kv_heads,head_dim,time_ms\n1,1,1,1,1,1\n", gemm, "no column for m");
  REFUSE("m,n,k,time_ms\n1,1,1,1\n1,1,1\n", gemm, "line 3: 3 fields, expected 4");
  REFUSE("m,n,k,time_ms\n1,1,1,1\n1,1,", gemm, "line 3: 3 fields");
  REFUSE("m,n,k,time_ms\n1,1,1,\n", gemm, "line 2, column 4 (time): empty");
  REFUSE("m,n,k,time_ms\n1,1,1,nan\n", gemm, "line 2, column 4 (time): 'nan'");
  REFUSE("m,n,k,time_ms\n1,1,1,inf\n", gemm, "'inf'");
  REFUSE("m,n,k,time_ms\n1,1,1,-2\n", gemm, "'-2'");
  REFUSE("m,n,k,time_ms\n1,1,1,0\n", gemm, "'0'");
  REFUSE("m,n,k,time_ns\n1,1,1,1e-320\n", gemm, "line 2, column 4: a time too small");
  REFUSE("m,n,k,time_ms\n1,1,1,1\n0,1,1,1\n", gemm, "line 3, column 1 (m)");
  REFUSE("m,n,k,time_ms\n1.5,1,1,1\n", gemm, "column 1 (m): '1.5', expected a whole number from 1 to 1099511627776");
  REFUSE("m,n,k,time_ms\n1,1e13,1,1\n", gemm, "column 2 (n)");
  REFUSE("m,n,k,time_ms\n1,1,1,1 ms\n", gemm, "'1 ms'");
  REFUSE("m,n,k,time_ms\n1,\"1,1,1\n", gemm, "a quoted field is not closed");
  REFUSE("m,n,k,time_ms\n1,\0,1,1\n", gemm, "a zero byte");
  REFUSE("m,n,k,time_ms\r1,1,1,1\r1,1,1\r", gemm, "3 fields");
  REFUSE("batch,tokens,heads,kv_heads,head_dim,time_ms\n1,1,8,3,64,1\n", prefill, "line 2: 8 heads are no multiple of 3");
  REFUSE("gpus,bytes,time_ms,op\n2,1,1,broadcast\n", collective, "line 2, column 4 (op): \"broadcast\"");
  REFUSE("gpus,bytes,time_ms\n1,1,1\n", collective, "line 2 (gpus): 1, expected at least 2");
  REFUSE("gpus,time_ms\n2,1\n", collective, "no column for bytes or elements");
  REFUSE("bytes,time_ms\n2,1\n", collective, "no column for gpus or busbw_gbs");
  REFUSE("bytes,time_ns,busbw_gbs\n1048576,92790,40\n", collective, "line 2, column 3 (busbw_gbs): 40 GB/s is no bus bandwidth");
  REFUSE("bytes,time_ns,busbw_gbs\n1048576,92790,\n", collective, "line 2, column 3 (busbw_gbs): empty");
  iso_rows r;
  iso_err e = {0};
  assert_int_equal(iso_rows_load("/nonexistent/t.csv", ISO_TABLE_gemm, 2, &r, &e), ISO_EIO);
  assert_non_null(strstr(e.msg, "/nonexistent/t.csv"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_columns), cmocka_unit_test(test_bus_bandwidth), cmocka_unit_test(test_hostile)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
