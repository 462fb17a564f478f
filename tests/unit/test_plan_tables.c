// Planners on measured tables: made by a known roofline, they give what the planners' own model gives at the same shares of peak.
// ctest: cost=13
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
#include "plan/layout/layout_search.h"
#include "plan/serve/plan_json.h"
#include "unit/layout_near.h"

static double size_of(uint64_t kind, uint64_t i, uint64_t j, double lo, double hi) {
  return floor(lo * pow(hi / lo, iso_rng_unit(11, ISO_RNG_TEST, kind * 100 + j, i)));
}

static void shape_of(iso_table_kind k, int64_t i, double *x) {
  uint64_t n = (uint64_t)i;
  if (k == ISO_TABLE_gemm) {
    for (uint64_t j = 0; j < 3; j++) x[j] = size_of(k, n, j, j ? 256 : 1, 33000);
  } else if (k == ISO_TABLE_collective) {
    x[0] = i % 2 ? ISO_COLL_all_gather : ISO_COLL_all_reduce;
    x[1] = (double)(2 << i / 2 % 3);
    x[2] = size_of(k, n, 2, 1e3, 3e9);
  } else {
    x[3] = size_of(k, n, 3, 1, 32);
    x[0] = size_of(k, n, 0, 1, k == ISO_TABLE_decode ? 512 : 16);
    x[1] = size_of(k, n, 1, 128, 20000);
    x[2] = x[3] * (double)(1 << n % 4);
    x[4] = 128;
  }
}

// Tables by law: `flop` and `mem` of the peaks, attention's products at `attention` of them, collectives at `link` of the link with a
// latency of `lat_s` a step.
typedef struct law {
  double flop, mem, attention, link, lat_s;
} law;
static iso_device *device_by(const law *w) {
  enum { N = 500 };
  iso_device_spec s;
  iso_device *d;
  iso_err e;
  ok(iso_device_spec_find("a100-80", &s, &e), &e);
  s.cache_b = NAN;
  ok(iso_device_new(&s, &d, &e), &e);
  for (int k = 0; k < ISO_TABLE_COUNT; k++) {
    iso_rows r;
    ok(iso_rows_open((iso_table_kind)k, N, &r, &e), &e);
    for (int64_t i = 0; i < N; i++) {
      double *x = r.shape + i * iso_table_cols((iso_table_kind)k);
      iso_work q;
      shape_of((iso_table_kind)k, i, x);
      r.line[i] = i + 2;
      ok(iso_model_work(&s, (iso_table_kind)k, x, ISO_NUM_bf16, &q, &e), &e);
      double rate = k == ISO_TABLE_gemm ? w->flop : w->attention;
      r.time_s[i] = k == ISO_TABLE_collective
                        ? q.memory_s / w->link + q.compute_s / s.intra.latency_s * w->lat_s * (x[0] == ISO_COLL_all_reduce ? 2 : 1)
                        : fmax(q.compute_s / rate, q.memory_s / w->mem);
    }
    ok(iso_device_fit(NULL, d, &r, ISO_NUM_bf16, "law", &e), &e);
    iso_rows_close(&r);
  }
  return d;
}

static void close_to(double got, double want, double share, const char *what) {
  print_message("  %s: %.4g by tables, %.4g by the model\n", what, got, want);
  if (!(fabs(got / want - 1) <= share)) fail_msg("%s: %g by tables, %g by the model", what, got, want);
}

static void layouts_by(const law *w, const iso_device *d, const iso_layout_job *plain, const iso_layout *l, double share) {
  iso_layout_machine m = a100();
  iso_layout_cal c = iso_layout_cal_default();
  iso_layout_job j = *plain;
  iso_layout_step a, b;
  iso_err e;
  c.v[ISO_LAYOUT_CAL_gemm_eff] = w->flop;
  c.v[ISO_LAYOUT_CAL_mem_eff] = w->mem;
  c.v[ISO_LAYOUT_CAL_intra_eff] = w->link;
  c.v[ISO_LAYOUT_CAL_lat_mult] = w->lat_s / m.intra_lat_s;
  ok(iso_layout_step_cost(&j, &m, &c, l, &a, &e), &e);
  assert_true(!a.table_matrices && !a.table_attention && !a.table_links);
  j.tables = d;
  ok(iso_layout_step_cost(&j, &m, &c, l, &b, &e), &e);
  assert_true(b.table_matrices && b.table_attention == j.flash && b.table_links);
  close_to(b.step_s, a.step_s, share, "step");
  close_to(b.compute_s, a.compute_s, share, "compute");
  close_to(b.head_s, a.head_s, share, "head");
  if (l->tensor > 1) close_to(b.tensor_s, a.tensor_s, share, "tensor links");
  // A table is no multiple of the model: other numbers in the calibration change nothing that the table tells.
  c.v[ISO_LAYOUT_CAL_gemm_eff] = 0.05;
  c.v[ISO_LAYOUT_CAL_intra_eff] = 0.05;
  ok(iso_layout_step_cost(&j, &m, &c, l, &a, &e), &e);
  assert_true(a.head_s == b.head_s && a.tensor_s == b.tensor_s);
  json_t *s = iso_layout_step_json(&b);
  assert_string_equal(json_string_value(json_object_get(json_object_get(s, "source"), "matrices")), "table");
  json_decref(s);
}

static void test_layouts(void **state) {
  (void)state;
  const law fast = {0.8, 0.9, 0.6, 0.75, 12e-6}, slow = {0.4, 0.45, 0.3, 0.4, 40e-6};  // attention: 0.75 of products, as the model has it
  iso_layout_job j = iso_layout_job_default();
  j.flash = true;
  j.batch = 64;
  j.shape = gpt(32, 4096, 32);
  iso_layout l = tpd(4, 1, 2, 4), one = tpd(1, 4, 2, 2);
  iso_layout_job moe = j;
  moe.shape = llama(32, 4096, 32, 8, 14336, 32000, 4096);
  moe.shape.experts = 8;
  moe.shape.experts_used = 2;
  iso_device *d = device_by(&fast), *e = device_by(&slow);
  layouts_by(&fast, d, &j, &l, 0.04);
  layouts_by(&slow, e, &j, &l, 0.04);
  layouts_by(&fast, d, &j, &one, 0.04);
  layouts_by(&fast, d, &moe, &l, 0.04);
  // A product in groups pays the launch once; one group is the product.
  iso_time t1, t8, tg;
  iso_err err;
  ok(iso_device_gemm_s(d, 512, 1024, 4096, ISO_NUM_bf16, &t1, &err), &err);
  ok(iso_device_grouped_gemm_s(d, 1, 512, 1024, 4096, ISO_NUM_bf16, &tg, &err), &err);
  ok(iso_device_grouped_gemm_s(d, 8, 512, 1024, 4096, ISO_NUM_bf16, &t8, &err), &err);
  assert_true(tg.s.mean == t1.s.mean && t8.s.mean <= 8 * t1.s.mean && t8.s.mean >= 7 * t1.s.mean && t8.s.lo >= t8.floor_s);
  near(t8.floor_s, 8 * t1.floor_s, 1e-12, "floor");
  assert_int_equal(iso_device_grouped_gemm_s(d, 0, 512, 1024, 4096, ISO_NUM_bf16, &t8, &err), ISO_EINVAL);
  iso_layout_job used = j;
  iso_layout_job_use(&used, d);
  assert_ptr_equal(used.tables, d);
  iso_device_set_cal(e, ISO_DEVICE_CAL_layout, json_object());
  iso_layout_job_use(&used, e);
  assert_null(used.tables);
  // The search prices with tables what step_cost prices with them.
  iso_layout_machine m = a100();
  iso_layout_cal c = iso_layout_cal_default();
  iso_layout_search_opts o = iso_layout_search_opts_default(&m, 8);
  iso_layout_search s;
  iso_layout_step t;
  j.tables = d;
  ok(iso_layout_search_run(&j, &m, &c, &o, &s, &err), &err);
  ok(iso_layout_step_cost(&j, &m, &c, &s.best[ISO_LAYOUT_FASTEST].layout, &t, &err), &err);
  near(s.best[ISO_LAYOUT_FASTEST].step_s / t.step_s, 1, 1e-12, "search");
  assert_true(t.table_matrices);
  iso_layout_search_close(&s);
  iso_device_close(d);
  iso_device_close(e);
}

static void serving_by(const law *w, const iso_device *d, const char *model, int64_t n, double share) {
  iso_serve_device dev;
  iso_serve_setup u;
  iso_serve_format f;
  iso_serve_ops *o = calloc(1, sizeof *o);
  iso_err e;
  const iso_serve_shape *s = iso_serve_shape_find(model);
  assert_true(o && s);
  ok(iso_serve_device_from_device(d, &dev, &e), &e);
  ok(iso_serve_format_get("bf16", s, &f, &e), &e);
  ok(iso_serve_setup_init(&u, s, &dev, &f, iso_serve_layout_tp(s, n), &e), &e);
  iso_serve_coef c = iso_serve_coef_efficiency(w->flop, w->mem);
  c.link = 1 / w->link;
  c.collective_s = 2 * (double)(n - 1) * w->lat_s;
  iso_serve_ops_of(&u, d, o);
  assert_true(o->products && o->decode && o->prefill && o->link == (n > 1));
  const iso_serve_step step[] = {
      {.seqs = 1, .ctx = 2000}, {.seqs = 16, .ctx = 3000}, {.seqs = 40, .ctx = 777}, {.prefill_tok = 4096, .prefill_ctx = 2048}};
  for (size_t i = 0; i < ISO_COUNT(step); i++) {
    iso_serve_step p = step[i];
    double model_s = iso_serve_step_s(&u, &c, &p);
    u.ops = o;
    double table_s = iso_serve_step_s(&u, &c, &p);
    u.ops = NULL;
    close_to(table_s, model_s, share, p.seqs > 0 ? "decode" : "prefill");
  }
  // Decoding and prompts in one step share their products: no less than the longer, no more than both.
  iso_serve_step both = {.seqs = 16, .ctx = 3000, .prefill_tok = 512, .prefill_ctx = 256}, dec = both, pre = both;
  dec.prefill_tok = pre.seqs = 0;
  u.ops = o;
  double t = iso_serve_step_s(&u, &c, &both), a = iso_serve_step_s(&u, &c, &dec), b = iso_serve_step_s(&u, &c, &pre);
  assert_true(t >= fmax(a, b) * 0.999 && t <= (a + b) * 1.02);
  // Nothing but tables: calibrated factors of what they tell change nothing.
  c.mem = c.flop = c.prefill = c.link = 100;
  assert_true(iso_serve_step_s(&u, &c, &both) == t);
  free(o);
}

static void test_serving(void **state) {
  (void)state;
  const law fast = {0.8, 0.9, 0.8, 0.75, 12e-6}, slow = {0.4, 0.45, 0.4, 0.4, 40e-6};
  iso_device *d = device_by(&fast), *s = device_by(&slow);
  serving_by(&fast, d, "llama-3.1-8b", 1, 0.06);
  serving_by(&fast, d, "llama-3.1-70b", 4, 0.06);
  serving_by(&slow, s, "llama-3.1-8b", 1, 0.06);
  // Latent attention has no table; a plan says which times are whose.
  iso_serve_device dev;
  iso_serve_format f;
  iso_serve_setup u;
  iso_err e;
  iso_serve_ops *o = calloc(1, sizeof *o);
  assert_non_null(o);
  ok(iso_serve_device_from_device(d, &dev, &e), &e);
  const iso_serve_shape *v3 = iso_serve_shape_find("deepseek-v3");
  ok(iso_serve_format_get("bf16", v3, &f, &e), &e);
  ok(iso_serve_setup_init(&u, v3, &dev, &f, iso_serve_layout_tp(v3, 8), &e), &e);
  iso_serve_ops_of(&u, d, o);
  assert_false(o->products);
  free(o);
  iso_infer_req q = iso_infer_req_default();
  json_t *j, *k;
  q.shape = iso_serve_shape_find("llama-3.1-8b");
  q.device = &dev;
  q.prompt = 1000;
  q.output = 200;
  q.batch = 8;
  ok(iso_infer_plan_json(&q, &j, &e), &e);
  q.measured = s;
  ok(iso_infer_plan_json(&q, &k, &e), &e);
  assert_string_equal(json_string_value(json_object_get(json_object_get(j, "source"), "products")), "model");
  assert_string_equal(json_string_value(json_object_get(json_object_get(k, "source"), "products")), "table");
  assert_string_equal(json_string_value(json_object_get(json_object_get(k, "source"), "links")), "model");
  double slower = json_number_value(json_object_get(json_object_get(k, "itl_s"), "value")) /
                  json_number_value(json_object_get(json_object_get(j, "itl_s"), "value"));
  assert_true(slower > 1.3);  // 0.45 of the bandwidth where the calibration has 1 / 1.19 of it and more launches
  json_decref(j);
  json_decref(k);
  // A calibration that came with the device is used unless another is given.
  iso_calib cal = iso_calib_default();
  cal.coef.mem *= 3;
  snprintf(cal.source, sizeof cal.source, "own");
  iso_device *bare;
  ok(iso_device_new(&d->spec, &bare, &e), &e);
  iso_device_set_cal(bare, ISO_DEVICE_CAL_serving, iso_calib_json(&cal));
  q.measured = bare;
  ok(iso_infer_plan_json(&q, &j, &e), &e);
  assert_string_equal(json_string_value(json_object_get(j, "calibration")), "own");
  json_decref(j);
  iso_calib given = iso_calib_default();
  q.calib = &given;
  ok(iso_infer_plan_json(&q, &j, &e), &e);
  assert_string_equal(json_string_value(json_object_get(j, "calibration")), given.source);
  json_decref(j);
  // Tables of a device that has both give way.
  q.calib = NULL;
  q.measured = s;
  iso_device_set_cal(s, ISO_DEVICE_CAL_serving, iso_calib_json(&cal));
  ok(iso_infer_plan_json(&q, &j, &e), &e);
  assert_string_equal(json_string_value(json_object_get(json_object_get(j, "source"), "products")), "model");
  json_decref(j);
  iso_device_close(bare);
  iso_device_close(d);
  iso_device_close(s);
}

// Tables of a device with 0.4 to 0.45 of its peaks need more replicas than those of one with twice that.
static void test_fleet(void **state) {
  (void)state;
  const law fast = {0.8, 0.9, 0.8, 0.75, 12e-6}, slow = {0.4, 0.45, 0.4, 0.4, 40e-6};
  iso_device *d = device_by(&fast), *s = device_by(&slow);
  iso_serve_device dev;
  iso_err e;
  json_t *j;
  ok(iso_serve_device_from_device(d, &dev, &e), &e);
  iso_serve_request sizes[] = {{0, 500, 100}, {0, 1500, 200}};
  iso_serve_trace from = {sizes, 2}, trace;
  iso_serve_req r = iso_serve_req_default();
  const iso_serve_device *kind[] = {&dev};
  const iso_device *measured[] = {d};
  double usd[2];
  ok(iso_serve_trace_draw(&from, 1000, 8, 2, &trace, &e), &e);
  r.shape = iso_serve_shape_find("llama-3.1-8b");
  r.device = kind;
  r.n_devices = 1;
  r.trace = &trace;
  r.measured = measured;
  r.fleet.slo_ttft_s = 5;
  r.fleet.slo_itl_s = 0.1;
  r.fleet.attain = 0.95;
  for (int i = 0; i < 2; i++) {
    measured[0] = i ? s : d;
    ok(iso_serve_plan_json(&r, &j, &e), &e);
    usd[i] = json_number_value(json_object_get(json_object_get(j, "usd_h"), "value"));
    const char *name = json_object_iter_key(json_object_iter(json_object_get(j, "source")));
    assert_string_equal(json_string_value(json_object_get(json_object_get(json_object_get(j, "source"), name), "decode_attention")), "table");
    json_decref(j);
  }
  print_message("  fleet: $%.2f and $%.2f an hour\n", usd[0], usd[1]);
  assert_true(usd[1] > usd[0]);
  iso_serve_trace_close(&trace);
  iso_device_close(d);
  iso_device_close(s);
}

int main(void) {
  const struct CMUnitTest t[] = {cmocka_unit_test(test_layouts), cmocka_unit_test(test_serving), cmocka_unit_test(test_fleet)};
  if (getenv("ISOFLOP_TEST_SMALL")) return cmocka_run_group_tests_name("layouts", ((const struct CMUnitTest[]){t[0]}), NULL, NULL);
  return cmocka_run_group_tests(t, NULL, NULL);
}
