// Held-out errors of operator times on measured A100, H100 and V100 tables: the limits that predictions promise.
// ctest: cost=24
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "base/stat.h"
#include "plan/device/device.h"

enum { SEEDS = 5 };

static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}

static const char *shared(const char *name) {
  static char path[512];
  const char *dir = getenv("ISOFLOP_SHARED");
  if (!dir) {
    print_message("ISOFLOP_SHARED is not set: skipped\n");
    skip();
  }
  (void)snprintf(path, sizeof path, "%s/data/%s", dir, name);
  return path;
}

static void load(const char *file, const char *device, iso_table_kind k, iso_device_spec *s, iso_rows *r) {
  iso_err e;
  ok(iso_device_spec_find(device, s, &e), &e);
  ok(iso_rows_load(shared(file), k, 2, r, &e), &e);
}

// Half calibrates, half is predicted; the medians over `seeds` random halves must keep the limits.
static void held_out(const char *file, const char *device, iso_table_kind k, int seeds, double median, double p90) {
  iso_device_spec s;
  iso_rows r;
  iso_err e;
  double med[SEEDS], hi[SEEDS], cover[SEEDS], mape[SEEDS];
  bool small = getenv("ISOFLOP_TEST_SMALL");
  if (small && strcmp(device, "h100") == 0) return;  // the same code on other rows
  load(file, device, k, &s, &r);
  if (small) seeds = 1;
  for (int i = 0; i < seeds; i++) {
    iso_device_score sc;
    ok(iso_device_score_split(NULL, &s, &r, ISO_NUM_bf16, (uint64_t)i, &sc, &e), &e);
    med[i] = sc.errors.median_error;
    hi[i] = sc.errors.p90_error;
    cover[i] = sc.coverage;
    mape[i] = sc.errors.mape;
  }
  iso_rows_close(&r);
  print_message("%s: median %.2f%%, p90 %.2f%%, mean %.2f%%, in 90%% intervals %.0f%%\n", file, 100 * iso_median(med, seeds),
                100 * iso_median(hi, seeds), 100 * iso_median(mape, seeds), 100 * iso_median(cover, seeds));
  if (!(iso_median(med, seeds) <= median && iso_median(hi, seeds) <= p90))
    fail_msg("%s: median error %g, 90%% within %g; promised %g and %g", file, iso_median(med, seeds), iso_median(hi, seeds), median, p90);
  if (!(iso_median(cover, seeds) >= 0.80)) fail_msg("%s: %g of the rows are in their 90%% intervals", file, iso_median(cover, seeds));
}

static void test_gemm(void **state) {
  (void)state;
  held_out("devices/gemm_bf16_a100.csv", "a100", ISO_TABLE_gemm, SEEDS, 0.05, 0.15);
  held_out("devices/gemm_bf16_h100.csv", "h100", ISO_TABLE_gemm, SEEDS, 0.05, 0.15);
}

static void test_attention(void **state) {
  (void)state;
  held_out("devices/attention_prefill_bf16_a100.csv", "a100", ISO_TABLE_prefill, 3, 0.03, 0.08);
  held_out("devices/attention_prefill_bf16_h100.csv", "h100", ISO_TABLE_prefill, 3, 0.04, 0.12);
  held_out("devices/attention_decode_bf16_a100.csv", "a100", ISO_TABLE_decode, 3, 0.03, 0.08);
  held_out("devices/attention_decode_bf16_h100.csv", "h100", ISO_TABLE_decode, 3, 0.03, 0.10);
}

static void test_collectives(void **state) {
  (void)state;
  held_out("devices/nccl_fp16_a100.csv", "a100", ISO_TABLE_collective, SEEDS, 0.05, 0.15);
  held_out("devices/nccl_fp16_h100.csv", "h100", ISO_TABLE_collective, SEEDS, 0.05, 0.15);
}

// Sizes below 256 MiB predict the larger ones.
static void test_allreduce(void **state) {
  (void)state;
  static const char *const DEVICES[] = {"a100", "v100"};
  for (int d = 0; d < 2; d++)
    for (int g = 2; g <= 8; g *= 2) {
      char file[80];
      iso_device_spec s;
      iso_rows r;
      iso_err e;
      iso_device_score sc;
      (void)snprintf(file, sizeof file, "planner/allreduce_%s_x%d.csv", DEVICES[d], g);
      load(file, DEVICES[d], ISO_TABLE_collective, &s, &r);
      for (int64_t i = 0; i < r.n; i++) assert_true(r.shape[3 * i + 1] == g);  // from bus bandwidths
      ok(iso_device_score_above(NULL, &s, &r, 256 * 1048576.0, &sc, &e), &e);
      print_message("%s: mean error %.2f%% of %lld sizes\n", file, 100 * sc.errors.mape, (long long)sc.errors.n);
      if (!(sc.errors.mape <= 0.05 && sc.errors.n == 96 && sc.fitted == 32))
        fail_msg("%s: mean error %g over %lld sizes", file, sc.errors.mape, (long long)sc.errors.n);
      iso_rows_close(&r);
    }
}

// No prediction is below the roofline, at measured shapes or between them, and measured rows are not either but for their noise.
static void test_floor(void **state) {
  (void)state;
  iso_device_spec s;
  iso_rows r;
  iso_device_table tab;
  iso_err e;
  load("devices/gemm_bf16_h100.csv", "h100", ISO_TABLE_gemm, &s, &r);
  r.n = 1000;
  ok(iso_device_table_fit(NULL, &s, &r, ISO_NUM_bf16, "h100", &tab, &e), &e);
  for (int m = 1; m <= 65536; m = m * 3 + 1)
    for (int n = 16; n <= 65536; n = n * 5 + 3)
      for (int k = 16; k <= 65536; k = k * 7 + 1) {
        double x[3] = {m, n, k};
        iso_time t;
        ok(iso_device_table_time(&tab, &s, x, ISO_NUM_bf16, &t, &e), &e);
        assert_true(t.s.lo >= t.floor_s && t.s.mean >= t.s.lo && t.s.hi >= t.s.mean && isfinite(t.s.hi) && t.s.mean > 1e-6);
      }
  int64_t below = 0;
  for (int64_t i = 0; i < r.n; i++) {
    iso_work w;
    ok(iso_model_work(&s, r.kind, r.shape + 3 * i, ISO_NUM_bf16, &w, &e), &e);
    below += r.time_s[i] < 0.95 * w.floor_s;
  }
  assert_true(below == 0);
  iso_device_table_close(&tab);
  iso_rows_close(&r);
}

// A table given as another operator or device is refused with a line.
static void test_wrong_table(void **state) {
  (void)state;
  iso_device_spec s;
  iso_rows r;
  iso_device_table tab;
  iso_err e = {0};
  load("devices/attention_decode_bf16_a100.csv", "a100", ISO_TABLE_prefill, &s, &r);
  assert_int_equal(iso_device_table_fit(NULL, &s, &r, ISO_NUM_bf16, "decode.csv", &tab, &e), ISO_EFORMAT);
  if (!strstr(e.msg, "decode.csv, line ") || !strstr(e.hint, "decode")) fail_msg("%s", e.msg);
  iso_rows_close(&r);
  load("devices/gemm_bf16_h100.csv", "t4", ISO_TABLE_gemm, &s, &r);
  assert_int_equal(iso_device_table_fit(NULL, &s, &r, ISO_NUM_f16, "h100.csv", &tab, &e), ISO_EFORMAT);
  iso_rows_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_gemm),      cmocka_unit_test(test_attention), cmocka_unit_test(test_collectives),
                                     cmocka_unit_test(test_allreduce), cmocka_unit_test(test_floor),     cmocka_unit_test(test_wrong_table)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
