// The memory planner: parameters and shards against closed forms, limits met and refused, offloading never worse than without.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first.
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/remat/memory.h"

#define OK(call)                                                  \
  do {                                                            \
    iso_err ok_err_ = {0};                                        \
    iso_err *err = &ok_err_;                                      \
    if ((call) != ISO_OK) fail_msg("%s: %s", #call, ok_err_.msg); \
  } while (0)

static double at(const json_t *o, const char *a, const char *b) {
  const json_t *v = json_object_get(json_object_get(o, a), b);
  return json_is_number(v) ? json_number_value(v) : NAN;
}

static iso_memory_job job(const char *shape) {
  iso_memory_job j = iso_memory_job_default();
  OK(iso_config_parse(shape, &j.model, err));
  j.seq = j.model.ctx;
  j.batch = 4;
  j.effort.evals = 300;
  return j;
}

static void test_parameters_agree(void **state) {
  (void)state;
  static const char *const MODELS[] = {"10m", "50m", "124m", "gpt2-124m", "5,96,6/2,200,777,64"};
  for (size_t i = 0; i < ISO_COUNT(MODELS); i++) {
    iso_memory_job j = job(MODELS[i]);
    iso_layout_shape s = iso_memory_shape(&j.model);
    iso_layout_counts c;
    iso_remat_dag *d;
    int64_t params;
    double flop;
    iso_layout_count(&s, &c);
    OK(iso_remat_from_model(&j.model, 2, j.seq, 4, NULL, &d, &params, &flop, err));
    assert_int_equal(c.params, params);
    assert_true(fabs(flop / iso_layout_model_flop(&s, 2, ISO_LAYOUT_ATTN_CAUSAL) - 1) < 1e-12);
    iso_model_config back;
    OK(iso_memory_config(&s, &back, err));
    assert_true(strcmp(back.arch, j.model.arch) == 0 && back.layers == j.model.layers && back.tied == j.model.tied);
    iso_remat_close(d);
  }
  iso_layout_shape moe;
  iso_model_config c;
  iso_err e = {0};
  OK(iso_layout_shape_named("mixtral-8x7b", 4096, &moe, err));
  assert_int_equal(iso_memory_config(&moe, &c, &e), ISO_EUNSUP);
}

// ZeRO (arXiv 1910.02054): stage 1 splits the optimizer state, 2 gradients too, 3 weights too, of which two blocks are gathered.
static void test_shards(void **state) {
  (void)state;
  iso_memory_job j = job("50m");
  iso_layout_shape s = iso_memory_shape(&j.model);
  iso_layout_counts c;
  iso_layout_count(&s, &c);
  double p = (double)c.params, act = 1e8, gather = 2 * 2 * (double)c.layer_dense;
  for (int64_t limit = 110000000; limit < 1200000000; limit += 7000000) {
    j.limit_b = limit;
    double room = (double)limit - act;
    double want[3] = {12 * p / (room - 6 * p), 16 * p / (room - 2 * p), 18 * p / (room - gather)};
    for (int z = 1; z <= 3; z++) {
      int64_t n = iso_memory_shards(&j, z, (int64_t)act);
      if (want[z - 1] <= 0 || want[z - 1] > 1 << 16)
        assert_int_equal(n, 0);
      else
        assert_int_equal(n, (int64_t)ceil(want[z - 1] - 1e-9));
    }
  }
  assert_int_equal(iso_memory_shards(&j, 0, 1), 0);
}

static void test_limits(void **state) {
  (void)state;
  iso_memory_job j = job("6,128,4/4,352,1000,128");
  json_t *r;
  iso_err e = {0};
  j.limit_b = 1000;
  assert_int_equal(iso_memory_plan_json(&j, &r, &e), ISO_ENOMEM);
  assert_null(r);
  // The least that it names does, and one byte less does not.
  const char *num = strstr(e.msg, "fit: ");
  assert_non_null(num);
  int64_t least = strtoll(num + 5, NULL, 10);
  j.limit_b = least;
  OK(iso_memory_plan_json(&j, &r, err));
  assert_true(at(r, "plan", "total_bytes") <= (double)least && at(r, "plan", "extra_share") > 0.1);
  json_decref(r);
  j.limit_b = least - 1;
  assert_int_equal(iso_memory_plan_json(&j, &r, &e), ISO_ENOMEM);
  // More memory, less computing; bounds below plans.
  j.limit_b = INT64_C(1) << 40;
  OK(iso_memory_plan_json(&j, &r, err));
  double all = at(r, "plan", "total_bytes"), before = INFINITY;
  assert_true(at(r, "plan", "extra_share") == 0);
  assert_string_equal(json_string_value(json_object_get(json_object_get(r, "plan"), "kind")), "keep all");
  double statics = at(r, "bytes", "weights") + at(r, "bytes", "gradients") + at(r, "bytes", "optimizer") + at(r, "bytes", "inputs");
  assert_true(fabs(all - statics - at(r, "plan", "peak_bytes")) < 1);
  json_decref(r);
  for (int q = 1; q <= 8; q++) {
    j.limit_b = least + (int64_t)((all - (double)least) * q / 8);
    OK(iso_memory_plan_json(&j, &r, err));
    double extra = at(r, "plan", "extra_share");
    assert_true(at(r, "plan", "total_bytes") <= (double)j.limit_b && extra <= before + 1e-12);
    assert_true(at(r, "plan", "bound_share") <= extra + 1e-9 && fabs(at(r, "plan", "gap_share") - (extra - at(r, "plan", "bound_share"))) < 1e-6);
    before = extra;
    json_decref(r);
  }
  assert_true(before == 0);
}

// Host memory gives more choices, so a step is never longer; a faster link never makes it longer either.
static void test_offloading(void **state) {
  (void)state;
  iso_memory_job j = job("6,128,4/4,352,1000,128");
  json_t *r;
  iso_err e = {0};
  j.rates = (iso_remat_rates){1e12, 1e11};
  j.batch = 32;
  j.limit_b = INT64_C(1) << 40;
  OK(iso_memory_plan_json(&j, &r, err));
  double all = at(r, "plan", "total_bytes"), once = at(r, "plan", "compute_s");
  assert_true(fabs(at(r, "plan", "step_s") / once - 1) < 1e-12);
  json_decref(r);
  j.limit_b = (int64_t)(0.6 * all);
  OK(iso_memory_plan_json(&j, &r, err));
  double recompute = at(r, "plan", "step_s"), last = recompute;
  assert_true(recompute > once);
  json_decref(r);
  j.host_b = 1e12;
  for (double link = 1e8; link <= 1e13; link *= 10) {
    j.link_b_s = link;
    OK(iso_memory_plan_json(&j, &r, err));
    double step = at(r, "plan", "step_s");
    assert_true(step <= last * (1 + 1e-9) && step >= once * (1 - 1e-12) && at(r, "plan", "total_bytes") <= (double)j.limit_b);
    last = step;
    json_decref(r);
  }
  assert_true(last < once * 1.001);  // all of it hidden
  // Less than weights, gradients and optimizer state: only places off the device are left, and the disk takes what the host cannot.
  j.batch = 1;
  j.model.width *= 2;
  OK(iso_memory_plan_json(&j, &r, err));
  double params = at(r, "job", "params");
  json_decref(r);
  j.limit_b = (int64_t)(15 * params);
  OK(iso_memory_plan_json(&j, &r, err));
  assert_true(at(r, "plan", "host_bytes") >= 12 * params && at(r, "plan", "disk_bytes") == 0 && at(r, "plan", "total_bytes") <= 15 * params);
  double ram = at(r, "plan", "step_s");
  json_decref(r);
  // A slow link: gradients (4 bytes) leave beside the backward pass, the new weights (2) are waited for.
  j.limit_b = (int64_t)(17 * params);
  j.link_b_s = 1e8;
  OK(iso_memory_plan_json(&j, &r, err));
  double stall = at(r, "plan", "place_stall_s"), compute = at(r, "plan", "compute_s");
  assert_non_null(strstr(json_string_value(json_object_get(json_object_get(r, "plan"), "place")), "optimizer state"));
  assert_true(stall >= 2 * params / 1e8 + fmax(0, 4 * params / 1e8 - compute) && stall <= 6 * params / 1e8);
  json_decref(r);
  j.limit_b = (int64_t)(15 * params);
  j.link_b_s = 1e13;
  j.host_b = 6 * params;
  assert_int_equal(iso_memory_plan_json(&j, &r, &e), ISO_ENOMEM);
  j.nvme_b_s = 1e9;
  OK(iso_memory_plan_json(&j, &r, err));
  double disk = at(r, "plan", "disk_bytes");
  assert_true(disk >= 6 * params && at(r, "plan", "host_bytes") <= j.host_b * (1 + 1e-12));
  assert_true(at(r, "plan", "step_s") >= ram + 2 * 6 * params / 1e9 * (1 - 1e-9));  // read and written once a step
  json_decref(r);
}

static void test_refuses(void **state) {
  (void)state;
  iso_memory_job j = job("10m");
  json_t *r;
  iso_err e = {0};
  j.limit_b = 1 << 30;
  j.host_b = 1e9;  // no rates
  assert_int_equal(iso_memory_plan_json(&j, &r, &e), ISO_EINVAL);
  j.host_b = 0;
  j.nvme_b_s = 1e9;
  assert_int_equal(iso_memory_plan_json(&j, &r, &e), ISO_EINVAL);
  j.nvme_b_s = 0;
  j.act_b = 3;
  assert_int_equal(iso_memory_plan_json(&j, &r, &e), ISO_EINVAL);
  j.act_b = 2;
  j.weight_b = NAN;
  assert_int_equal(iso_memory_plan_json(&j, &r, &e), ISO_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_parameters_agree), cmocka_unit_test(test_shards), cmocka_unit_test(test_limits),
                                     cmocka_unit_test(test_offloading), cmocka_unit_test(test_refuses)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
