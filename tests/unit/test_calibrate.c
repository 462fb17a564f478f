// Calibration: products against sums by hand, counted work on a scripted clock, what is written, and the choice of precision.
// clang-format off
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>  // needs the ones above
// clang-format on

#include "base/json.h"
#include "measure/bench.h"
#include "measure/calibrate.h"

static iso_ctx *open_ctx(int threads) {
  iso_ctx *c;
  iso_err err = {0};
  if (iso_ctx_open(threads, &c, &err) != ISO_OK || iso_kern_select(ISO_PREC_f32, &c->kern, &err) != ISO_OK) fail_msg("%s", err.msg);
  return c;
}

// Every look at the clock is a quarter of a second later.
static double ticking(void *self) {
  double *t = self;
  *t += 0.25;
  return *t;
}

// Operand values as iso_probe_product_fill documents them: r = index mod 31 over both operands as they lie in the buffer.
static double operand(iso_probe_class k, size_t at) { return k == ISO_PROBE_int8 ? (double)(at % 31) : ((double)(at % 31) - 15) / 16; }

static void products_are_right(void **state) {
  (void)state;
  iso_ctx *c = open_ctx(2);
  static const iso_probe_product CASES[] = {{.cls = ISO_PROBE_f32, .m = 70, .n = 33, .k = 45, .pad = 16},
                                            {.cls = ISO_PROBE_f32, .ta = true, .m = 70, .n = 33, .k = 45, .pad = 3},
                                            {.cls = ISO_PROBE_f32, .tb = true, .m = 7, .n = 50, .k = 64},
                                            {.cls = ISO_PROBE_int8, .m = 70, .n = 33, .k = 45, .pad = 16},
                                            {.cls = ISO_PROBE_int8, .ta = true, .m = 71, .n = 33, .k = 45, .pad = 16},
                                            {.cls = ISO_PROBE_bf16, .tb = true, .m = 70, .n = 33, .k = 45, .pad = 16}};
  bool bf16 = iso_calibrate_native_bf16(NULL);
  for (size_t i = 0; i < ISO_COUNT(CASES); i++) {
    const iso_probe_product *p = &CASES[i];
    if (p->cls == ISO_PROBE_bf16 && !bf16) continue;
    size_t elem = p->cls == ISO_PROBE_f32 ? 4 : p->cls == ISO_PROBE_bf16 ? 2 : 1, bytes = iso_probe_product_bytes(p);
    int64_t lda = (p->ta ? p->m : p->k) + p->pad, ldb = (p->tb ? p->k : p->n) + p->pad, ldc = p->n + p->pad;
    size_t a_bytes = ((size_t)(lda * (p->ta ? p->k : p->m)) * elem + 63) / 64 * 64,
           b_bytes = ((size_t)(ldb * (p->tb ? p->n : p->k)) * elem + 63) / 64 * 64;
    unsigned char *buf = aligned_alloc(64, bytes);
    for (int share = 0; share < ISO_PROBE_SHARES; share++) {
      memset(buf, 0, bytes);
      iso_probe_product_fill(p, buf);
      if (!iso_probe_product_run(c, p, (iso_probe_share)share, buf)) continue;  // a oneDNN without threads of its own
      const unsigned char *out = buf + a_bytes + b_bytes;
      for (int64_t r = 0; r < p->m; r++)
        for (int64_t j = 0; j < p->n; j++) {
          double want = 0, got;
          for (int64_t q = 0; q < p->k; q++)
            want += operand(p->cls, (size_t)(p->ta ? q * lda + r : r * lda + q)) *
                    operand(p->cls, a_bytes / elem + (size_t)(p->tb ? j * ldb + q : q * ldb + j));
          if (p->cls == ISO_PROBE_int8) {
            int32_t v;
            memcpy(&v, out + (r * ldc + j) * 4, 4);
            got = v;
          } else {
            float v;
            memcpy(&v, out + (r * ldc + j) * 4, 4);
            got = (double)v;
          }
          assert_true(fabs(got - want) <= (p->cls == ISO_PROBE_int8 ? 0 : 1e-4));
        }
    }
    free(buf);
  }
  iso_ctx_close(c);
}

// On a clock that ticks a quarter of a second a look, a probe of one worker and one second does five looks: the start and four rounds.
static void probes_count_their_work(void **state) {
  (void)state;
  iso_ctx *c = open_ctx(1);
  double t = 0;
  c->clock = (iso_clock){ticking, &t};
  float sink = 0;
  double flop = c->kern->probes->fma_f32(4096, &sink), bytes;
  // 4096 rounds of twelve vectors of 4, 8 or 16 lanes, two operations each.
  int lanes = strcmp(c->kern->name, "avx512") == 0 ? 16 : strcmp(c->kern->name, "avx2") == 0 ? 8 : 4;
  assert_true(flop == 2.0 * lanes * 12 * 4096 && sink > 0);
  double rate = iso_probe_arith(c, c->kern, ISO_PROBE_f32, 1.0);
  assert_true(fabs(rate / (4 * flop / 1.0) - 1) < 1e-12);
  float *buf = aligned_alloc(64, 65536 * 4);
  for (int i = 0; i < 65536; i++) buf[i] = 1;
  bytes = c->kern->probes->read(buf, 65536, &sink);
  assert_true(bytes == 65536 * 4);
  t = 0;
  rate = iso_probe_read(c, c->kern, buf, 65536 * 4, 1.0);
  assert_true(fabs(rate / (4 * 65536 * 4 / 1.0) - 1) < 1e-12);
  assert_true(isnan(iso_probe_read(c, c->kern, buf, 512, 1.0)));
  free(buf);
  iso_ctx_close(c);
}

// What bits are read decides the sink: a loop that skipped some would miss them.
static void reads_touch_everything(void **state) {
  (void)state;
  iso_ctx *c = open_ctx(1);
  uint32_t *buf = aligned_alloc(64, 512 * 4);
  for (int at = 0; at < 512; at++) {
    float sink = 0;
    memset(buf, 0, 512 * 4);
    buf[at] = 1;
    c->kern->probes->read((const float *)(const void *)buf, 512, &sink);
    assert_true(sink == 1);
  }
  free(buf);
  iso_ctx_close(c);
}

static void precision_needs_a_clear_gain(void **state) {
  (void)state;
  iso_hw h = iso_hw_blank();
  iso_precision p;
  iso_err err = {0};
  assert_int_equal(iso_calibrate_precision(&h), ISO_PREC_f32);
  h.gemm_f32_flop_s = 100e9;
  assert_int_equal(iso_calibrate_precision(&h), ISO_PREC_f32);  // no bf16
  h.gemm_bf16_flop_s = 129e9;
  assert_int_equal(iso_calibrate_precision(&h), ISO_PREC_f32);
  h.gemm_bf16_flop_s = 131e9;
  assert_int_equal(iso_calibrate_precision(&h), ISO_PREC_bf16);
  assert_int_equal(iso_precision_parse("bf16", &p, &err), ISO_OK);
  assert_int_equal(p, ISO_PREC_bf16);
  assert_int_equal(iso_precision_parse("fp16", &p, &err), ISO_EINVAL);
  const char *why = "";
  if (!iso_calibrate_native_bf16(&why)) {
    double rate;
    assert_non_null(why);
    iso_ctx *c = open_ctx(1);
    assert_int_equal(iso_calibrate_gemm_peak(c, ISO_PREC_bf16, ISO_CALIBRATE_QUICK, &rate, &err), ISO_EUNSUP);
    iso_ctx_close(c);
  } else
    assert_null(why);
}

// By hand: twice the last cache between 64 and 256 MiB, squares of f32 with rows of n + 16, and nothing beyond an eighth of the memory.
static void memory_is_that_of_the_largest_buffer(void **state) {
  (void)state;
  iso_hw h = iso_hw_blank();
  h.threads = 2;
  h.ram_b = 0x1p35;
  h.l1_b = 0x1p15;
  h.l2_b = 0x1p21;
  h.l3_b = 0x1p23;
  assert_true(iso_calibrate_ram_b(ISO_CALIBRATE_QUICK, &h) == 0x1p26);
  assert_true(iso_calibrate_ram_b(ISO_CALIBRATE_FULL, &h) == 3.0 * 4 * 4096 * 4112);
  h.l3_b = 100 * 0x1p20;
  assert_true(iso_calibrate_ram_b(ISO_CALIBRATE_QUICK, &h) == 200 * 0x1p20);
  h.l3_b = 260 * 0x1p20;
  assert_true(iso_calibrate_ram_b(ISO_CALIBRATE_QUICK, &h) == 0x1p28);
  h.l3_b = NAN;
  assert_true(iso_calibrate_ram_b(ISO_CALIBRATE_QUICK, &h) == 0x1p26);
  h.l2_b = NAN;
  h.ram_b = 0x1p28;  // an eighth is 32 MiB: squares of 1,024 only
  assert_true(iso_calibrate_ram_b(ISO_CALIBRATE_FULL, &h) == 0x1p25);
}

// A real quick run: numbers are positive or unknown, and what is stored reads back. How high they are, no test can know.
static void calibration_is_kept(void **state) {
  (void)state;
  iso_ctx *c = open_ctx(0);
  iso_err err = {0};
  iso_hw h, back;
  char dir[] = "/tmp/iso_calibrate_XXXXXX";
  assert_non_null(mkdtemp(dir));
  setenv("ISOFLOP_HOME", dir, 1);
  iso_meter m;
  iso_cost cost;
  iso_meter_start(c, NULL, &m);
  if (iso_calibrate(c, ISO_CALIBRATE_QUICK, &m, &h, &err) != ISO_OK) fail_msg("%s", err.msg);
  iso_meter_stop(&m, &cost);
  assert_true(cost.peak_ram.mean >= iso_calibrate_ram_b(ISO_CALIBRATE_QUICK, &h));  // the buffers are gone by the end
  assert_string_equal(h.source, "calibrated");
  assert_int_equal(strlen(h.date), 10);
  assert_true(h.peak_f32_flop_s > 0 && h.gemm_f32_flop_s > 0 && h.gemm_int8_op_s > 0 && h.dram_b_s > 0);
  assert_true(isnan(h.gemm_bf16_flop_s) == !iso_calibrate_native_bf16(NULL));
  assert_true(h.l1_b_s > 0 || isnan(h.l1_b));
  assert_int_equal(iso_hw_load(h.id, &back, &err), ISO_OK);
  assert_true(back.gemm_f32_flop_s == h.gemm_f32_flop_s && back.dram_b_s == h.dram_b_s);
  atomic_store(&c->cancel, 1);
  assert_int_equal(iso_calibrate(c, ISO_CALIBRATE_QUICK, NULL, &h, &err), ISO_ECANCEL);
  iso_ctx_close(c);
}

// ---- bench ----------------------------------------------------------------------------------------------------------

typedef struct lines {
  json_t *all;
  int n;
} lines;

static iso_status keep(void *arg, json_t *line, iso_err *err) {
  (void)err;
  lines *l = arg;
  json_array_append(l->all, line);
  l->n++;
  return ISO_OK;
}

static double num(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  if (!json_is_number(v)) fail_msg("no number \"%s\"", key);
  return json_number_value(v);
}

// The FLOP count of a small shape by hand, whatever the clock says.
static void bench_train_counts_model_flops(void **state) {
  (void)state;
  iso_ctx *c = open_ctx(0);
  iso_err err = {0};
  lines l = {json_array(), 0};
  iso_bench_train_opts o = {.model = "2,64,4/2,160,512,32", .batch = 3, .steps = 3, .warmup = 1, .profile = true};
  if (iso_bench_train(c, &o, keep, &l, &err) != ISO_OK) fail_msg("%s", err.msg);
  assert_int_equal(l.n, 1);
  const json_t *r = json_array_get(l.all, 0);
  double params = 512 * 64 + 64 + 2 * (64 * (4 + 2 * 2) * 16 + 64 * 64 + 3 * 64 * 160 + 2 * 64), tokens = 3 * 32;
  assert_true(num(r, "params") == params);
  double median = num(json_object_get(r, "step_s"), "median"), flop = 6 * params * tokens + 6.0 * 2 * 3 * 32 * 32 * 64;
  assert_true(fabs(num(r, "model_flop_per_s") * median / flop - 1) < 1e-9);
  assert_true(fabs(num(r, "tok_per_s") * median / tokens - 1) < 1e-9);
  assert_true(fabs(num(r, "mfu") * num(r, "gemm_peak_flop_per_s") / num(r, "model_flop_per_s") - 1) < 1e-9);
  assert_true(num(r, "mem_bytes") > 16 * params && num(r, "steps") == 3);
  assert_true(fabs(num(r, "loss") - log(512)) < 1);  // random ids
  assert_true(json_array_size(json_object_get(r, "profile")) > 8);
  assert_false(json_is_true(json_object_get(r, "emulated")));
  json_decref(l.all);
  iso_ctx_close(c);
}

static void bench_tokenizer_gives_the_same_ids_for_any_threads(void **state) {
  (void)state;
  iso_ctx *c = open_ctx(2);
  iso_err err = {0};
  lines l = {json_array(), 0};
  iso_bench_tokenizer_opts o = {.file = "tests/reference/bpe_text.txt", .vocab = 300, .repeats = 2};
  FILE *f = fopen(o.file, "re");
  if (!f) skip();
  fclose(f);
  if (iso_bench_tokenizer(c, &o, keep, &l, &err) != ISO_OK) fail_msg("%s", err.msg);
  assert_int_equal(l.n, 3);
  const json_t *one = json_array_get(l.all, 1), *two = json_array_get(l.all, 2);
  assert_string_equal(json_string_value(json_object_get(json_array_get(l.all, 0), "phase")), "train");
  assert_true(num(json_array_get(l.all, 0), "vocab") == 300);
  assert_true(num(one, "threads") == 1 && num(two, "threads") == 2 && num(one, "tokens") > 100 && num(one, "tokens") == num(two, "tokens"));
  assert_string_equal(json_string_value(json_object_get(one, "ids_crc32")), json_string_value(json_object_get(two, "ids_crc32")));
  json_decref(l.all);
  iso_ctx_close(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(products_are_right),
                                     cmocka_unit_test(probes_count_their_work),
                                     cmocka_unit_test(reads_touch_everything),
                                     cmocka_unit_test(precision_needs_a_clear_gain),
                                     cmocka_unit_test(memory_is_that_of_the_largest_buffer),
                                     cmocka_unit_test(calibration_is_kept),
                                     cmocka_unit_test(bench_train_counts_model_flops),
                                     cmocka_unit_test(bench_tokenizer_gives_the_same_ids_for_any_threads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
