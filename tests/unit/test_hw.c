// Hardware descriptors: known cpuinfo texts, files that come back equal, files that are damaged.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>  // needs the ones above
// clang-format on
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cost/hw.h"

static const char AMD[] =
    "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC 9R45\nstepping\t: 1\n"
    "flags\t\t: fpu sse4_2 avx avx2 fma f16c bmi2 avx512f avx512bw avx512dq avx512vl avx512_vnni avx512_bf16 avx_vnni xavx512_fp16\n\n"
    "processor\t: 1\nvendor_id\t: GenuineIntel\nmodel name\t: other\n";
static const char ARM[] =
    "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16 sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\nCPU revision\t: 1\n";

static void reads_cpuinfo(void **state) {
  (void)state;
  iso_hw h, k;
  iso_err e;
  assert_int_equal(iso_hw_from_cpuinfo(AMD, 2, &h, &e), ISO_OK);
  assert_string_equal(h.vendor, "AuthenticAMD");
  assert_string_equal(h.model_name, "AMD EPYC 9R45");
  assert_string_equal(h.isa, "sse4_2 avx avx2 fma f16c bmi2 avx_vnni avx512f avx512bw avx512dq avx512vl avx512_vnni avx512_bf16");
  assert_string_equal(h.energy_source, "model:epyc-9755");
  assert_true(h.family == 26 && h.model == 2 && h.stepping == 1 && h.threads == 2 && isnan(h.peak_f32_flop_s) && isnan(h.l1_b));
  // 500 W over 128 cores; all cores busy must draw the design power, idle a quarter of it.
  assert_true(fabs(128 * h.core_w + 64 * h.idle_w - 500) < 1e-9 && fabs(64 * h.idle_w - 125) < 1e-9);
  assert_int_equal(strlen(h.id), 16);
  assert_int_equal(iso_hw_from_cpuinfo(AMD, 2, &k, &e), ISO_OK);
  assert_string_equal(h.id, k.id);
  assert_int_equal(iso_hw_from_cpuinfo(AMD, 1, &k, &e), ISO_OK);
  assert_string_not_equal(h.id, k.id);
  assert_int_equal(iso_hw_from_cpuinfo(ARM, 4, &h, &e), ISO_OK);
  assert_string_equal(h.isa, "asimd asimddp bf16 i8mm sve");
  assert_true(h.family == 0x41 && h.model == 0xd40);
  assert_string_equal(h.energy_source, "model:generic-6w-core");
  assert_int_equal(iso_hw_from_cpuinfo("", 1, &h, &e), ISO_OK);
  assert_string_equal(h.vendor, "unknown");
  assert_int_equal(iso_hw_from_cpuinfo("model name", 1, &h, &e), ISO_OK);
}

static void this_machine(void **state) {
  (void)state;
  iso_hw h;
  iso_err e;
  assert_int_equal(iso_hw_detect(0, &h, &e), ISO_OK);
  assert_int_equal(h.threads, iso_ctx_default_threads());
  assert_true(h.ram_b > 1e8 && h.ram_b <= (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE));
  long l1 = sysconf(_SC_LEVEL1_DCACHE_SIZE);
  if (l1 > 0 && !isnan(h.l1_b)) assert_true(h.l1_b == (double)l1);
  assert_string_equal(h.source, "detected");
  assert_int_equal(strlen(h.date), 10);
}

static void comes_back_equal(void **state) {
  (void)state;
  char home[] = "/tmp/iso_test_hw.XXXXXX", path[256], cmd[64];
  iso_hw h, k;
  iso_err e;
  iso_ctx *c;
  assert_non_null(mkdtemp(home));
  setenv("ISOFLOP_HOME", home, 1);
  assert_int_equal(iso_ctx_open(1, &c, &e), ISO_OK);
  assert_int_equal(iso_hw_from_cpuinfo(AMD, 2, &h, &e), ISO_OK);
  assert_int_equal(iso_hw_load(h.id, &k, &e), ISO_EIO);
  assert_non_null(strstr(e.hint, "calibrate"));
  h.gemm_f32_flop_s = 1.0 / 3 * 1e12;
  h.dram_b_s = 7.5e10;
  assert_int_equal(iso_hw_save(c, &h, &e), ISO_OK);
  assert_int_equal(iso_hw_load(h.id, &k, &e), ISO_OK);
  json_t *a = iso_hw_json(&h), *b = iso_hw_json(&k);
  assert_true(json_equal(a, b) && k.gemm_f32_flop_s == h.gemm_f32_flop_s && isnan(k.peak_int8_op_s));
  assert_true(json_is_null(json_object_get(a, "peak_int8_op_s")));
  json_decref(b);
  static const char *const BAD[] = {"{\"threads\":0}", "{\"id\":5}", "{\"l1_b\":-1}", "{\"l1_b\":\"x\"}",
                                    "{\"vendor\":\"a name that is far too long\"}"};
  for (size_t i = 0; i < ISO_COUNT(BAD); i++) {
    json_t *j = json_deep_copy(a), *change = json_loads(BAD[i], 0, NULL);
    json_object_update(j, change);
    assert_int_equal(iso_hw_from_json(j, "x", &k, &e), ISO_EFORMAT);
    json_decref(j);
    json_decref(change);
  }
  json_decref(a);
  assert_int_equal(iso_hw_path(h.id, path, sizeof path, &e), ISO_OK);
  char other[256];
  assert_int_equal(iso_hw_path("another", other, sizeof other, &e), ISO_OK);
  assert_int_equal(link(path, other), 0);
  assert_int_equal(iso_hw_load("another", &k, &e), ISO_EFORMAT);  // a descriptor under the name of another machine
  assert_int_equal(truncate(path, 40), 0);
  assert_int_equal(iso_hw_load(h.id, &k, &e), ISO_EFORMAT);
  assert_non_null(strstr(e.hint, "calibrate"));
  assert_int_equal(iso_hw_path("../x", path, sizeof path, &e), ISO_EINVAL);
  snprintf(cmd, sizeof cmd, "rm -r %s", home);
  assert_int_equal(system(cmd), 0);
  iso_ctx_close(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(reads_cpuinfo), cmocka_unit_test(this_machine), cmocka_unit_test(comes_back_equal)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
