// Devices: descriptors and their files, rooflines, tables learned from synthetic measurements, saving, and what is refused.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "base/file.h"
#include "base/rng.h"
#include "plan/device/device.h"

static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}

static void near(double got, double want, double rel) {
  if (!(fabs(got / want - 1) <= rel)) fail_msg("got %.12g, expected %.12g +- %g", got, want, rel);
}

static iso_device_spec spec(const char *name) {
  iso_device_spec s;
  iso_err e;
  ok(iso_device_spec_find(name, &s, &e), &e);
  return s;
}

// ---- descriptors ----------------------------------------------------------------------------------------------------

static void test_list(void **state) {
  (void)state;
  static const char *const NAMES[] = {"v100",   "a100-40", "a100-80", "h100-sxm", "h200",       "b200",     "mi250x", "mi300x",
                                      "tpu-v4", "tpu-v5e", "tpu-v3",  "tpu-v5p",  "rtx-a6000",  "b300",     "gb200",  "gb300",
                                      "l4",     "a10g",    "t4",      "rtx4090",  "xeon-8480+", "epyc-9654"};
  iso_device_spec s;
  iso_err e;
  for (size_t i = 0; i < ISO_COUNT(NAMES); i++) ok(iso_device_spec_find(NAMES[i], &s, &e), &e);
  for (int64_t i = 0; i < iso_device_spec_count(); i++) {
    s = iso_device_spec_at(i);
    // The table obeys the rules for users' files, says where it is from, and its texts are not cut.
    json_t *j = iso_device_spec_json(&s);
    iso_device_spec back;
    assert_non_null(j);
    ok(iso_device_spec_from_json(j, s.name, &back, &e), &e);
    json_t *again = iso_device_spec_json(&back);
    assert_true(json_equal(j, again));
    json_decref(j);
    json_decref(again);
    assert_true(strlen(s.source) > 10 && strlen(s.date) >= 7 && s.units > 0 && s.intra.b_s > 0 && s.inter.b_s > 0);
    assert_true(!isfinite(s.usd_h) || (strlen(s.price_source) > 3 && strlen(s.price_date) >= 4));
    assert_true(strlen(s.source) + 1 < sizeof s.source && strlen(s.note) + 1 < sizeof s.note && strlen(s.price_source) + 1 < sizeof s.price_source);
    for (int64_t k = 0; k < i; k++) {
      iso_device_spec other = iso_device_spec_at(k);
      assert_false(iso_device_spec_is(&other, s.name));
    }
  }
  // Published figures: NVIDIA's data sheets (dense), AMD's, Google's documentation.
  assert_true(spec("A100").peak_flop_s[ISO_NUM_bf16] == 312e12 && spec("a100").mem_b_s == 2039e9 && spec("a100 40gb").mem_b_s == 1555e9);
  assert_true(spec("h100").peak_flop_s[ISO_NUM_bf16] == 989.4e12 && spec("h100").mem_b_s == 3350e9 && spec("H200").mem_b == 141e9);
  assert_true(spec("b200").peak_flop_s[ISO_NUM_bf16] == 2250e12 && spec("mi300x").peak_flop_s[ISO_NUM_bf16] == 1307.4e12);
  assert_true(spec("tpu_v5p").peak_flop_s[ISO_NUM_bf16] == 459e12 && spec("v5e").peak_flop_s[ISO_NUM_bf16] == 197e12);
  assert_true(isnan(spec("v100").peak_flop_s[ISO_NUM_bf16]) && isnan(spec("mi250x").usd_h) && isnan(spec("tpu-v5e").tdp_w));
  near(spec("mi250x").peak_flop_s[ISO_NUM_bf16], 2 * spec("gcd").peak_flop_s[ISO_NUM_bf16], 1e-3);
}

// Dense peaks in TFLOP/s (tf32, 16 bits, int8), GB, GB/s, links of both directions in GB/s, watts, as data sheets and the tables of training
// frameworks have them; 0: neither lists it. Peaks of f64 and f32 are those of matrix units (A100: 19.5 of 9.7 and 19.5).
static void test_figures(void **state) {
  (void)state;
  static const struct {
    const char *name;
    double tf32, half, int8, gb, gb_s, link, watt;
  } row[] = {{"v100", 0, 125, 0, 16, 900, 300, 300},
             {"v100-32", 0, 125, 0, 32, 900, 300, 300},
             {"a100-40", 156, 312, 624, 40, 1555, 600, 400},
             {"a100-80", 156, 312, 624, 80, 2039, 600, 400},
             {"a100-pcie", 156, 312, 624, 80, 1935, 64, 300},
             {"h100-sxm", 494.7, 989.4, 1978.9, 80, 3350, 900, 700},
             {"h100-pcie", 378, 756.5, 1513, 80, 2000, 128, 350},
             {"b200", 1125, 2250, 4500, 180, 8000, 1800, 1000},
             {"a10g", 35, 70, 140, 24, 600, 64, 300},
             {"t4", 0, 65, 130, 16, 320, 32, 70},
             {"mi250x", 0, 383, 383, 128, 3277, 800, 560},
             {"tpu-v4", 0, 275, 275, 34.36, 1200, 600, 192},
             {"tpu-v5e", 0, 197, 393, 17.18, 819, 400, 0},
             {"rtx4090", 82.6, 165.2, 660.6, 24, 1008, 64, 450},
             {"rtx-a6000", 77.4, 154.8, 309.7, 48, 768, 64, 300},
             {"tpu-v3", 0, 123, 0, 34.36, 900, 664, 262},
             {"xeon-8480+", 0, 114.7, 229, 512, 307.2, 0, 350}};
  for (size_t i = 0; i < ISO_COUNT(row); i++) {
    iso_device_spec s = spec(row[i].name);
    near(iso_device_spec_peak16(&s, NULL) / 1e12, row[i].half, 1e-3);
    if (row[i].tf32 > 0)
      near(s.peak_flop_s[ISO_NUM_tf32] / 1e12, row[i].tf32, 1e-3);
    else
      assert_true(isnan(s.peak_flop_s[ISO_NUM_tf32]));
    if (row[i].int8 > 0) near(s.peak_flop_s[ISO_NUM_int8] / 1e12, row[i].int8, 2e-3);
    near(s.mem_b / 1e9, row[i].gb, 1e-3);
    near(s.mem_b_s / 1e9, row[i].gb_s, 1e-3);
    if (row[i].link > 0) near(2 * s.intra.b_s / 1e9, row[i].link, 0.02);
    if (row[i].watt > 0)
      near(s.tdp_w, row[i].watt, 0);
    else
      assert_true(isnan(s.tdp_w));
  }
}

// Peaks of the other classes in T(FL)OP/s, and usable memory; NAN: not supported, 0: not looked at.
static void test_other_peaks(void **state) {
  (void)state;
  static const struct {
    const char *name;
    double f64, f32, fp8, int8, int4, fp4;
  } row[] = {
      {"v100", 7.8, 15.7, NAN, NAN, NAN, NAN},        {"a100-40", 19.5, 19.5, NAN, 624, 1248, NAN},
      {"a100-80", 19.5, 19.5, NAN, 624, 1248, NAN},   {"h100-sxm", 67, 67, 1978.9, 1978.9, NAN, NAN},
      {"h100-pcie", 51, 51, 1513, 1513, NAN, NAN},    {"b200", 40, 80, 4500, 4500, NAN, 9000},
      {"a10g", NAN, 31.2, NAN, 140, 0, NAN},          {"t4", 0.25, 8.1, NAN, 130, 0, NAN},
      {"mi250x", 95.7, 95.7, NAN, 383, NAN, NAN},     {"mi250x-gcd", 47.9, 47.9, NAN, 191.5, NAN, NAN},
      {"tpu-v4", NAN, NAN, NAN, 275, NAN, NAN},       {"tpu-v5e", NAN, NAN, NAN, 393, NAN, NAN},
      {"rtx4090", 1.29, 82.6, 330.3, 660.6, 0, NAN},  {"rtx-a6000", NAN, 38.7, NAN, 309.7, 0, NAN},
      {"xeon-8480+", 3.58, 7.17, NAN, 229, NAN, NAN},
  };
  for (size_t i = 0; i < ISO_COUNT(row); i++) {
    iso_device_spec s = spec(row[i].name);
    const double want[] = {row[i].f64, row[i].f32, row[i].fp8, row[i].int8, row[i].int4, row[i].fp4};
    const iso_num num[] = {ISO_NUM_f64, ISO_NUM_f32, ISO_NUM_fp8, ISO_NUM_int8, ISO_NUM_int4, ISO_NUM_fp4};
    for (size_t k = 0; k < ISO_COUNT(want); k++) {
      double got = s.peak_flop_s[num[k]] / 1e12;
      if (want[k] == 0) continue;
      if (isnan(want[k]) ? !isnan(got) : !(fabs(got / want[k] - 1) < (want[k] < 1 ? 0.02 : 3e-3)))
        fail_msg("%s: %s is %g T/s, the sheet says %g", row[i].name, iso_num_name(num[k]), got, want[k]);
    }
  }
  // What follows from clocks and units: 56 cores at 2.0 GHz with 1,024 bf16 FLOPs a cycle, eight channels of DDR5-4800, two dies a package.
  iso_device_spec x = spec("xeon-8480+"), pkg = spec("mi250x"), die = spec("mi250x-gcd");
  near(x.peak_flop_s[ISO_NUM_bf16], 56 * 2.0e9 * 1024, 1e-3);
  near(x.mem_b_s, 8 * 4800e6 * 8, 1e-9);
  near(pkg.mem_b, 2 * die.mem_b, 1e-12);
  near(pkg.mem_b_s, 2 * die.mem_b_s, 1e-12);
  near(pkg.mem_b_s, 3.28e12, 2e-3);
}

// Prices of a device-hour on demand, with the hosts that they are an eighth of; each is dated.
static void test_prices(void **state) {
  (void)state;
  static const struct {
    const char *name;
    double usd_h, tol;
  } row[] = {{"v100", 6.32 / 8, 1e-9},   {"a100-40", 21.957642 / 8, 2e-4}, {"a100-80", 3.67, 1e-9},   {"h100-sxm", 55.04 / 8, 1e-9},
             {"h200", 63.296 / 8, 1e-9}, {"b200", 113.9328 / 8, 2e-4},     {"l4", 0.8048, 1e-9},      {"a10g", 1.01, 5e-3},
             {"t4", 0.526, 1e-9},        {"mi300x", 48.0 / 8, 1e-9},       {"tpu-v4", 3.22, 1e-9},    {"tpu-v5e", 1.20, 1e-9},
             {"tpu-v5p", 4.20, 1e-9},    {"rtx4090", 0.69, 1e-9},          {"rtx-a6000", 1.09, 1e-9}, {"xeon-8480+", 112 * 0.05, 1e-9}};
  for (size_t i = 0; i < ISO_COUNT(row); i++) {
    iso_device_spec s = spec(row[i].name);
    near(s.usd_h, row[i].usd_h, row[i].tol);
    assert_true(s.price_source[0] && strlen(s.price_date) >= 4);
  }
  // AMD lists none of the package, and nobody rents out a die.
  assert_true(isnan(spec("mi250x").usd_h) && isnan(spec("mi250x-gcd").usd_h));
}

// What a descriptor lacks is estimated and said; what it has is kept.
static void test_estimates(void **state) {
  (void)state;
  iso_device_estimates e;
  iso_num t;
  iso_device_spec s = spec("a100"), c = iso_device_spec_complete(&s, &e);
  json_t *a = iso_device_spec_json(&s), *b = iso_device_spec_json(&c);
  assert_true(e.n == 0 && json_equal(a, b));
  json_decref(a);
  json_decref(b);
  // Splitwise's watts, DGX A100's host: 6.5 kW less eight times 400 W, 2 TB and 8 channels of DDR4-3200 on each of two CPUs.
  assert_true(s.idle_w == 63 && s.prefill_w == 400 && s.decode_w == 250 && s.host_w == 412.5 && s.host_mem_b == 256e9);
  near(s.host_mem_b_s, 2 * 8 * 3200e6 * 8 / 8, 1e-9);
  assert_true(iso_device_spec_peak16(&s, &t) == 312e12 && t == ISO_NUM_bf16);
  s = spec("t4");
  c = iso_device_spec_complete(&s, &e);
  assert_true(isnan(s.idle_w) && c.idle_w == 0.15 * 70 && c.prefill_w == 70 && c.decode_w == 0.6 * 70 && e.n == 6);
  assert_string_equal(e.at[0].key, "idle_w");
  assert_true(iso_device_spec_peak16(&s, &t) == 65e12 && t == ISO_NUM_f16);
  // No design power, no estimate of it.
  s = spec("tpu-v5e");
  c = iso_device_spec_complete(&s, &e);
  assert_true(isnan(c.idle_w) && isnan(c.host_w) && c.host_mem_b == 2 * s.mem_b);
  // Nothing but the required numbers: alone in its host.
  s = iso_device_spec_blank();
  s.mem_b = 1e9;
  s.mem_b_s = 1e10;
  s.peak_flop_s[ISO_NUM_int8] = 1e12;
  c = iso_device_spec_complete(&s, &e);
  assert_true(c.intra.devices == 1 && c.intra.b_s == c.inter.b_s && c.inter.b_s > 0 && c.host.b_s > 0);
  assert_true(isnan(iso_device_spec_peak16(&s, NULL)));
}

static void test_names(void **state) {
  (void)state;
  iso_device_spec s;
  iso_err e = {0};
  iso_num t;
  assert_int_equal(iso_device_spec_find("h1000", &s, &e), ISO_EINVAL);
  assert_non_null(strstr(e.hint, "did you mean \"h100-sxm\""));
  assert_non_null(strstr(e.msg, "a100-80"));
  assert_int_equal(iso_device_spec_find("abacus-with-beads", &s, &e), ISO_EINVAL);
  assert_non_null(strstr(e.hint, "hw list"));
  ok(iso_num_find("fp8", &t, &e), &e);
  assert_true(t == ISO_NUM_fp8 && iso_num_bytes(ISO_NUM_fp4) == 0.5 && iso_num_bytes(ISO_NUM_bf16) == 2);
  assert_int_equal(iso_num_find("bf17", &t, &e), ISO_EINVAL);
  assert_non_null(strstr(e.hint, "bf16"));
}

static void refuse_spec(const char *text, const char *word) {
  iso_device *d;
  iso_err e = {0};
  json_t *j;
  ok(iso_json_parse(text, strlen(text), "d.json", &j, &e), &e);
  iso_status st = iso_device_from_json(j, "d.json", &d, &e);
  json_decref(j);
  if (st != ISO_EFORMAT || !strstr(e.msg, word) || d) fail_msg("%s: status %d, '%s' for %s", word, st, e.msg, text);
}

#define GOOD "\"name\": \"x1\", \"source\": \"me\", \"date\": \"2026\", \"mem_b\": 1e9, \"mem_b_s\": 1e11"
static void test_bad_descriptors(void **state) {
  (void)state;
  iso_device *d;
  iso_err e;
  json_t *j = json_pack("{s:s, s:s, s:s, s:f, s:f, s:{s:f}}", "name", "x1", "source", "me", "date", "2026", "mem_b", 1e9, "mem_b_s", 1e11,
                        "peak_flop_s", "f32", 1e12);
  ok(iso_device_from_json(j, "d.json", &d, &e), &e);
  assert_true(d->spec.peak_flop_s[ISO_NUM_f32] == 1e12 && isnan(d->spec.usd_h) && isnan(d->spec.intra.b_s));
  iso_device_close(d);
  json_decref(j);
  refuse_spec("[]", "must be a JSON object");
  refuse_spec("{}", "\"name\" is missing");
  refuse_spec("{" GOOD "}", "\"peak_flop_s\" must be an object");
  refuse_spec("{" GOOD ", \"peak_flop_s\": {}}", "\"peak_flop_s\" must be an object");
  refuse_spec("{" GOOD ", \"peak_flop_s\": {\"bf15\": 1e12}}", "unknown number class \"bf15\"");
  refuse_spec("{" GOOD ", \"peak_flop_s\": {\"bf16\": -1}}", "must be a positive finite number");
  refuse_spec("{" GOOD ", \"peak_flop_s\": {\"bf16\": null}}", "must be a positive finite number");
  refuse_spec("{" GOOD ", \"peak_flop_s\": {\"bf16\": 1e12}, \"tdp\": 5}", "unknown key \"tdp\"");
  refuse_spec("{" GOOD ", \"peak_flop_s\": {\"bf16\": 1e12}, \"tdp_w\": 0}", "\"tdp_w\" is 0");
  refuse_spec("{" GOOD ", \"peak_flop_s\": {\"bf16\": 1e12}, \"intra\": {\"name\": \"x\"}}", "\"b_s\" is missing");
  refuse_spec("{" GOOD ", \"peak_flop_s\": {\"bf16\": 1e12}, \"tables\": 3}", "\"tables\" must be an array");
  refuse_spec("{" GOOD ", \"peak_flop_s\": {\"bf16\": 1e12}, \"tables\": [{}]}", "table 0: \"kind\" is missing");
  refuse_spec("{\"name\": \"../x\", \"source\": \"me\", \"date\": \"2026\", \"mem_b\": 1e9, \"mem_b_s\": 1e11, \"peak_flop_s\": {\"f32\": 1}}",
              "\"name\"");
}

// ---- rooflines ------------------------------------------------------------------------------------------------------

static void test_rooflines(void **state) {
  (void)state;
  iso_device_spec s = spec("a100");
  iso_work w;
  iso_err e;
  double big[] = {8192, 8192, 8192}, thin[] = {1, 16384, 16384}, small[] = {16, 512, 512};
  ok(iso_model_work(&s, ISO_TABLE_gemm, big, ISO_NUM_bf16, &w, &e), &e);
  near(w.compute_s, 2.0 * 8192 * 8192 * 8192 / 312e12, 1e-12);
  near(w.floor_s, w.compute_s, 1e-12);
  ok(iso_model_work(&s, ISO_TABLE_gemm, thin, ISO_NUM_bf16, &w, &e), &e);
  near(w.memory_s, 2.0 * (16384.0 * 16384 + 2 * 16384) / 2039e9, 1e-12);
  near(w.floor_s, (2.0 * (16384.0 * 16384 + 2 * 16384) - 40 * 1048576) / 2039e9, 1e-12);
  ok(iso_model_work(&s, ISO_TABLE_gemm, small, ISO_NUM_bf16, &w, &e), &e);
  near(w.floor_s, w.compute_s, 1e-12);  // everything fits the cache
  // Causal half of the scores and values; a token of decode reads the whole cache.
  double attn[] = {2, 1024, 32, 8, 128};
  ok(iso_model_work(&s, ISO_TABLE_prefill, attn, ISO_NUM_bf16, &w, &e), &e);
  near(w.compute_s, 4.0 * 2 * 32 * 128 * 1024 * 1025 / 2 / 312e12, 1e-12);
  ok(iso_model_work(&s, ISO_TABLE_decode, attn, ISO_NUM_bf16, &w, &e), &e);
  near(w.memory_s, 2.0 * 2 * 128 * (2 * 32 + 2 * 8 * 1025) / 2039e9, 1e-12);
  double fp8[] = {64, 64, 64};
  assert_int_equal(iso_model_work(&s, ISO_TABLE_gemm, fp8, ISO_NUM_fp8, &w, &e), ISO_EUNSUP);
  // Collectives: (g - 1) / g of the buffer, twice for all_reduce, over NVLink inside the host and the network beyond it.
  double inside[] = {ISO_COLL_all_reduce, 8, 1e9}, beyond[] = {ISO_COLL_all_gather, 16, 1e9}, alone[] = {ISO_COLL_all_gather, 1, 1e9};
  ok(iso_model_work(&s, ISO_TABLE_collective, inside, ISO_NUM_bf16, &w, &e), &e);
  near(w.memory_s, 2 * 1e9 * 7 / 8 / 300e9, 1e-12);
  near(w.compute_s, 7e-6, 1e-12);
  near(w.floor_s, 1e9 * 7 / 8 / 300e9, 1e-12);
  ok(iso_model_work(&s, ISO_TABLE_collective, beyond, ISO_NUM_bf16, &w, &e), &e);
  near(w.memory_s, 1e9 * 15 / 16 / 25e9, 1e-12);
  near(w.compute_s, 9 * 5e-6, 1e-12);
  assert_int_equal(iso_model_work(&s, ISO_TABLE_collective, alone, ISO_NUM_bf16, &w, &e), ISO_EINVAL);
}

static void test_without_tables(void **state) {
  (void)state;
  iso_device_spec s = spec("l4");
  iso_device *d;
  iso_time t, u;
  iso_err e;
  ok(iso_device_new(&s, &d, &e), &e);
  ok(iso_device_gemm_s(d, 4096, 4096, 4096, ISO_NUM_bf16, &t, &e), &e);
  assert_true(t.basis == ISO_BASIS_model && t.s.lo <= t.s.mean && t.s.mean < t.s.hi && t.s.lo >= t.floor_s);
  near(t.floor_s, 2 * pow(4096, 3) / 121e12, 1e-12);
  assert_true(t.s.mean > t.floor_s && t.s.mean < 2 * t.floor_s);
  ok(iso_device_gemm_s(d, 4096, 4096, 4096, ISO_NUM_fp8, &u, &e), &e);
  assert_true(u.s.mean < 0.7 * t.s.mean);
  ok(iso_device_gemm_s(d, 1, 1, 1, ISO_NUM_bf16, &t, &e), &e);
  assert_true(t.s.mean > 1e-6);  // a launch
  ok(iso_device_prefill_s(d, 1, 512, 8, 8, 64, ISO_NUM_f16, &t, &e), &e);
  ok(iso_device_decode_s(d, 1, 0, 8, 8, 64, ISO_NUM_f16, &t, &e), &e);
  ok(iso_device_collective_s(d, ISO_COLL_all_reduce, 1, 1e9, &t, &e), &e);
  assert_true(t.s.mean == 0 && t.s.hi == 0);
  ok(iso_device_collective_s(d, ISO_COLL_all_reduce, 2, 1e9, &t, &e), &e);
  assert_true(t.s.mean > 1e9 / 31.5e9);
  assert_int_equal(iso_device_gemm_s(d, 0, 1, 1, ISO_NUM_bf16, &t, &e), ISO_EINVAL);
  assert_int_equal(iso_device_gemm_s(d, 1, -4, 1, ISO_NUM_bf16, &t, &e), ISO_EINVAL);
  assert_int_equal(iso_device_gemm_s(d, 1, 1, 1, ISO_NUM_fp4, &t, &e), ISO_EUNSUP);
  assert_int_equal(iso_device_collective_s(d, ISO_COLL_all_reduce, 2, NAN, &t, &e), ISO_EINVAL);
  assert_int_equal(iso_device_collective_s(d, ISO_COLL_all_reduce, 0, 1, &t, &e), ISO_EINVAL);
  iso_device_close(d);
}

// ---- synthetic tables -----------------------------------------------------------------------------------------------

// Rows of a device whose law is known: launch 5 us, 1/1.3 of the peak, 1/1.2 of the bandwidth, times a smooth efficiency and noise.
static void measure(const iso_device_spec *s, iso_table_kind k, int64_t n, double wobble, double noise, iso_rows *r) {
  iso_err e;
  int cols = iso_table_cols(k);
  ok(iso_rows_open(k, n, r, &e), &e);
  for (int64_t i = 0; i < n; i++) {
    double *x = r->shape + i * cols;
    iso_work w;
    for (int j = 0; j < cols; j++) x[j] = floor(pow(2, (k == ISO_TABLE_gemm ? 13 : 7) * iso_rng_unit(9, ISO_RNG_TEST, (uint64_t)j, (uint64_t)i)));
    if (k != ISO_TABLE_gemm) x[2] *= x[3];
    ok(iso_model_work(s, k, x, ISO_NUM_bf16, &w, &e), &e);
    r->line[i] = i + 2;
    r->time_s[i] = (5e-6 + hypot(1.3 * w.compute_s, 1.2 * w.memory_s)) *
                   exp(wobble * sin(log2(x[0])) + noise * iso_rng_normal(9, ISO_RNG_TEST, 99, (uint64_t)i));
  }
}

static void test_prior(void **state) {
  (void)state;
  iso_device_spec s = spec("a100");
  iso_rows r;
  iso_prior p;
  iso_err e;
  measure(&s, ISO_TABLE_gemm, 500, 0, 0, &r);
  iso_work *w = calloc(500, sizeof *w);
  assert_non_null(w);
  for (int i = 0; i < 500; i++) ok(iso_model_work(&s, r.kind, r.shape + 3 * i, ISO_NUM_bf16, &w[i], &e), &e);
  ok(iso_prior_fit(&r, w, &p, &e), &e);
  near(p.p[0], 5e-6, 2e-3);
  near(p.p[1], 1.3, 2e-3);
  near(p.p[2], 1.2, 2e-3);
  iso_rows_close(&r);
  // Collectives are linear in their parameters: found again to rounding, zeros included; a class without rows has none.
  ok(iso_rows_open(ISO_TABLE_collective, 60, &r, &e), &e);
  static const double WANT[8] = {7e-6, 0.8, 0, 1.25, 4e-6, 0, 3e-3, 1.1};
  for (int i = 0; i < 60; i++) {
    double *x = r.shape + 3 * i;
    x[0] = i % 2 ? ISO_COLL_all_reduce : i % 4 ? ISO_COLL_all_gather : ISO_COLL_reduce_scatter;
    x[1] = 2 << (i / 2 % 3);
    x[2] = 512 * pow(2, i / 3);
    ok(iso_model_work(&s, r.kind, x, ISO_NUM_bf16, &w[i], &e), &e);
    const double *c = WANT + (i % 2 ? 4 : 0);
    r.time_s[i] = c[0] + c[1] * w[i].compute_s + c[2] * sqrt(w[i].memory_s) + c[3] * w[i].memory_s;
  }
  ok(iso_prior_fit(&r, w, &p, &e), &e);
  for (int i = 0; i < 8; i++)
    if (!(fabs(p.p[i] - WANT[i]) <= 1e-6 * WANT[i] + 1e-12)) fail_msg("parameter %d: %.12g, expected %.12g", i, p.p[i], WANT[i]);
  assert_true(isnan(p.p[8]) && isnan(p.p[11]));
  free(w);
  iso_rows_close(&r);
}

static void test_learned(void **state) {
  (void)state;
  iso_device_spec s = spec("a100");
  static const iso_table_kind KINDS[] = {ISO_TABLE_gemm, ISO_TABLE_decode};
  for (size_t i = 0; i < ISO_COUNT(KINDS); i++) {
    iso_rows r;
    iso_device_score sc, again;
    iso_err e;
    measure(&s, KINDS[i], 600, 0.2, 0.01, &r);
    ok(iso_device_score_split(NULL, &s, &r, ISO_NUM_bf16, 1, &sc, &e), &e);
    // The wobble is 12% in the mean, noise 0.8%: what is left must be near the noise.
    if (!(sc.errors.median_error < 0.03 && sc.errors.p90_error < 0.10 && fabs(sc.errors.bias) < 0.02))
      fail_msg("%s: median %g, p90 %g, bias %g", iso_table_name(KINDS[i]), sc.errors.median_error, sc.errors.p90_error, sc.errors.bias);
    if (!(sc.coverage > 0.82 && sc.coverage < 0.98)) fail_msg("%s: %g of the rows are in 90%% intervals", iso_table_name(KINDS[i]), sc.coverage);
    assert_true(sc.errors.n == 300 && sc.fitted == 300 && sc.measured > 270 && sc.n_worst == ISO_SCORE_WORST);
    for (int k = 1; k < sc.n_worst; k++)
      assert_true(fabs(sc.worst[k].predicted_s / sc.worst[k].measured_s - 1) <= fabs(sc.worst[k - 1].predicted_s / sc.worst[k - 1].measured_s - 1));
    ok(iso_device_score_split(NULL, &s, &r, ISO_NUM_bf16, 1, &again, &e), &e);
    assert_true(again.errors.mape == sc.errors.mape);
    iso_rows_close(&r);
  }
}

// Answers carry their basis: inside the table, beyond it, in another number class.
static void test_basis_and_file(void **state) {
  (void)state;
  iso_device_spec s = spec("h100");
  iso_device *d, *back, *saved;
  iso_rows r;
  iso_time t, u;
  iso_err e;
  char home[] = "/tmp/isoflop-device.XXXXXX", path[4200], dir[64];
  assert_non_null(mkdtemp(home));
  setenv("ISOFLOP_HOME", home, 1);
  iso_ctx *c;
  ok(iso_ctx_open(1, &c, &e), &e);
  ok(iso_device_new(&s, &d, &e), &e);
  measure(&s, ISO_TABLE_gemm, 400, 0.1, 0.01, &r);
  ok(iso_device_fit(NULL, d, &r, ISO_NUM_bf16, "synthetic", &e), &e);
  ok(iso_device_gemm_s(d, 700, 900, 1100, ISO_NUM_bf16, &t, &e), &e);
  assert_true(t.basis == ISO_BASIS_measured && t.s.lo < t.s.mean && t.s.mean < t.s.hi && t.s.hi < 1.3 * t.s.mean);
  ok(iso_device_gemm_s(d, 700, 900, 1100, ISO_NUM_f16, &u, &e), &e);  // as wide and as fast
  assert_true(u.basis == ISO_BASIS_measured && u.s.mean == t.s.mean);
  ok(iso_device_gemm_s(d, 8000, 8000, 8000, ISO_NUM_bf16, &t, &e), &e);
  ok(iso_device_gemm_s(d, 8000, 8000, 8000, ISO_NUM_fp8, &u, &e), &e);
  assert_true(u.basis == ISO_BASIS_model);
  near(u.s.mean / t.s.mean, 0.5, 0.03);
  ok(iso_device_gemm_s(d, 1 << 24, 1 << 24, 64, ISO_NUM_bf16, &t, &e), &e);
  assert_true(t.basis == ISO_BASIS_model && t.s.mean >= t.floor_s && t.s.mean < 3 * t.floor_s);
  // Saved, found by any of its names, and predicting the same to the last bit.
  ok(iso_device_save(c, d, &e), &e);
  ok(iso_device_path("h100-sxm", path, sizeof path, &e), &e);
  ok(iso_device_open("h100", &saved, &e), &e);
  ok(iso_device_open(path, &back, &e), &e);
  for (int i = 0; i < 50; i++) {
    int64_t m = 1 + 37 * i, n = 8 << (i % 8), k = 64 + i;
    ok(iso_device_gemm_s(d, m, n, k, ISO_NUM_bf16, &t, &e), &e);
    ok(iso_device_gemm_s(i % 2 ? saved : back, m, n, k, ISO_NUM_bf16, &u, &e), &e);
    assert_true(t.s.mean == u.s.mean && t.s.lo == u.s.lo && t.s.hi == u.s.hi && t.basis == u.basis);
  }
  iso_arena *arena;
  const char *const *names;
  int64_t n;
  ok(iso_arena_open(&arena, &e), &e);
  ok(iso_device_saved(arena, &names, &n, &e), &e);
  assert_true(n == 1 && strcmp(names[0], "h100-sxm") == 0);
  iso_arena_close(arena);
  // A damaged file is refused by name, and nothing falls back to the compiled-in device silently.
  ok(iso_file_put(c, path, "{\"name\": 3}", 11, &e), &e);
  iso_device *bad;
  assert_int_equal(iso_device_open("h100", &bad, &e), ISO_EFORMAT);
  assert_non_null(strstr(e.msg, "h100-sxm.device.json"));
  (void)unlink(path);
  ok(iso_device_open("h100", &bad, &e), &e);
  assert_null(bad->table[ISO_TABLE_gemm]);
  iso_device_close(bad);
  assert_int_equal(iso_device_path("../up", path, sizeof path, &e), ISO_EINVAL);
  iso_rows_close(&r);
  iso_device_close(d);
  iso_device_close(back);
  iso_device_close(saved);
  iso_ctx_close(c);
  (void)snprintf(dir, sizeof dir, "%s/hw", home);
  (void)rmdir(dir);
  (void)rmdir(home);
}

// Hostile tables in a device file: each change of one key is refused.
static void test_bad_tables(void **state) {
  (void)state;
  iso_device_spec s = spec("a100");
  iso_device *d, *bad;
  iso_rows r;
  iso_err e;
  measure(&s, ISO_TABLE_gemm, 40, 0, 0.01, &r);
  ok(iso_device_new(&s, &d, &e), &e);
  ok(iso_device_fit(NULL, d, &r, ISO_NUM_bf16, "t", &e), &e);
  static const struct {
    const char *key, *value, *word;
  } CASES[] = {{"kind", "\"gem\"", "\"kind\" is \"gem\""},
               {"num", "\"bf15\"", "unknown number class"},
               {"num", "\"fp8\"", "no peak for fp8"},
               {"prior", "[1e-6, 1]", "array of 3"},
               {"prior", "[1e-6, 1, -1]", "\"prior\"[2]"},
               {"prior", "[0, 0, 0]", "gives no time"},
               {"scale", "{}", "\"m\" is missing"},
               {"noise", "0", "\"noise\" is 0"},
               {"q90", "-1", "\"q90\" is -1"},
               {"reach", "null", "\"reach\""},
               {"left_out", "null", "\"n\""},
               {"rows", "{\"time_s\": [1, 2], \"m\": [1], \"n\": [1, 2], \"k\": [1, 2]}", "\"m\" must be an array of 2"},
               {"rows", "{\"time_s\": [1, -2], \"m\": [1, 1], \"n\": [1, 2], \"k\": [1, 2]}", "\"time_s\"[1]"},
               {"rows", "{\"time_s\": [1, 2], \"m\": [0, 1], \"n\": [1, 2], \"k\": [1, 2]}", "\"m\"[0]"},
               {"rows", "{\"time_s\": [1]}", "at least 2 rows"},
               {"extra", "1", "unknown key \"extra\""}};
  for (size_t i = 0; i < ISO_COUNT(CASES); i++) {
    json_t *j = iso_device_json(d);
    assert_non_null(j);
    json_object_set_new(json_array_get(json_object_get(j, "tables"), 0), CASES[i].key, json_loads(CASES[i].value, JSON_DECODE_ANY, NULL));
    iso_status st = iso_device_from_json(j, "d.json", &bad, &e);
    json_decref(j);
    if (st != ISO_EFORMAT || !strstr(e.msg, CASES[i].word)) fail_msg("%s = %s: status %d, '%s'", CASES[i].key, CASES[i].value, st, e.msg);
  }
  json_t *j = iso_device_json(d), *tables = json_object_get(j, "tables");
  json_array_append(tables, json_array_get(tables, 0));
  assert_int_equal(iso_device_from_json(j, "d.json", &bad, &e), ISO_EFORMAT);
  assert_non_null(strstr(e.msg, "a second table of gemm"));
  json_decref(j);
  // Few rows; rows of a faster device; a class that the device lacks.
  r.n = 15;
  assert_int_equal(iso_device_fit(NULL, d, &r, ISO_NUM_bf16, "few.csv", &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "few.csv: 15 gemm rows"));
  r.n = 40;
  assert_int_equal(iso_device_fit(NULL, d, &r, ISO_NUM_fp8, "t.csv", &e), ISO_EUNSUP);
  for (int i = 0; i < 40; i++) r.time_s[i] *= 1e-3;
  assert_int_equal(iso_device_fit(NULL, d, &r, ISO_NUM_bf16, "t.csv", &e), ISO_EFORMAT);
  if (!strstr(e.msg, "t.csv, line ") || !strstr(e.hint, "unit")) fail_msg("%s", e.msg);
  iso_rows_close(&r);
  iso_device_close(d);
}

static void test_from_calibration(void **state) {
  (void)state;
  iso_hw hw = iso_hw_blank();
  iso_device_spec s;
  iso_err e;
  (void)snprintf(hw.name, sizeof hw.name, "box x4");
  (void)snprintf(hw.id, sizeof hw.id, "00ff");
  (void)snprintf(hw.date, sizeof hw.date, "2026-01-02");
  hw.threads = 4;
  hw.dram_b_s = 40e9;
  hw.ram_b = 16e9;
  hw.idle_w = 5;
  hw.core_w = 3;
  assert_int_equal(iso_device_spec_from_hw(&hw, "my-box", &s, &e), ISO_EINVAL);
  assert_non_null(strstr(e.hint, "isoflop calibrate"));
  hw.gemm_f32_flop_s = 300e9;
  ok(iso_device_spec_from_hw(&hw, "My Box", &s, &e), &e);
  assert_string_equal(s.name, "my-box");
  assert_true(s.peak_flop_s[ISO_NUM_f32] == 300e9 && isnan(s.peak_flop_s[ISO_NUM_bf16]) && s.tdp_w == 17 && s.units == 4 && s.mem_b == 16e9);
  assert_non_null(strstr(s.source, "id 00ff"));
  assert_int_equal(iso_device_spec_from_hw(&hw, "a/b", &s, &e), ISO_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_list),
                                     cmocka_unit_test(test_figures),
                                     cmocka_unit_test(test_other_peaks),
                                     cmocka_unit_test(test_prices),
                                     cmocka_unit_test(test_estimates),
                                     cmocka_unit_test(test_names),
                                     cmocka_unit_test(test_bad_descriptors),
                                     cmocka_unit_test(test_rooflines),
                                     cmocka_unit_test(test_without_tables),
                                     cmocka_unit_test(test_prior),
                                     cmocka_unit_test(test_learned),
                                     cmocka_unit_test(test_basis_and_file),
                                     cmocka_unit_test(test_bad_tables),
                                     cmocka_unit_test(test_from_calibration)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
