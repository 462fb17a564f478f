// The search against plain enumeration, its front, what it refuses, and the plan as JSON.
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
#include "unit/layout_near.h"

static bool beats(const double *a, const double *b, double slack) {
  for (int i = 0; i < 4; i++)
    if (!(a[i] <= b[i] * slack)) return false;
  return true;
}

typedef struct all {
  int64_t n, feasible;
  double best[4];
  double (*cost)[4];  // owned
} all;

static void add(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout *l, all *o) {
  iso_layout_step s;
  iso_layout_mem k;
  iso_err e;
  if (iso_layout_check(j, l, NULL) != ISO_OK) return;
  iso_layout_memory(j, l, &k);
  if (iso_layout_fits(m, &k, NULL) != ISO_OK) return;
  ok(iso_layout_step_cost(j, m, c, l, &s, &e), &e);
  double v[4] = {s.step_s, k.total_b, s.usd, s.joule};
  for (int i = 0; i < 4; i++) o->best[i] = fmin(o->best[i], v[i]);
  o->feasible++;
  memcpy(o->cost[o->n++], v, sizeof v);
}

// One layout whose other choices are made, under every stage of ZeRO and whatever it can split over a node's neighbours.
static void each_zero(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, iso_layout l, bool quantised, int64_t room,
                      all *o) {
  int64_t near = m->per_node / l.tensor;
  for (l.zero = 0; l.zero <= 3; l.zero++)
    for (int k = 0; k < 2 * 3 * 2 * 2 * 2; k++) {
      l.local = k & 1 ? near : 0;
      l.weights_over = (iso_layout_split)(k / 2 % 3);
      l.grads_over = (iso_layout_split)(k / 6 % 2);
      l.states_over = (iso_layout_split)(k / 12 % 2);
      l.quantised = k / 24;
      if (k > 1 && !l.local) continue;
      if ((l.quantised && !quantised) || (l.local && (near < 2 || near >= l.data * l.context))) continue;
      assert_true(o->n < room);
      add(j, m, c, &l, o);
    }
}

// Every combination of degrees up to 16 devices by the public functions alone, with sequence parallelism on and off.
static void enumerate(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, int64_t devices, bool quantised, int64_t room,
                      all *o) {
  *o = (all){.best = {INFINITY, INFINITY, INFINITY, INFINITY}, .cost = calloc((size_t)room, sizeof *o->cost)};
  assert_non_null(o->cost);
  iso_layout l = iso_layout_default();
  for (l.tensor = 1; l.tensor <= devices; l.tensor++)
    for (l.context = 1; l.tensor * l.context <= devices && l.context <= 4; l.context *= 2)
      for (l.pipeline = 1; l.tensor * l.context * l.pipeline <= devices; l.pipeline++)
        for (l.data = 1; l.tensor * l.context * l.pipeline * l.data <= devices; l.data++)
          for (l.expert = 1; l.expert <= j->shape.experts || l.expert == 1; l.expert++)
            for (l.micro_batch = 1; l.micro_batch <= 8; l.micro_batch++)
              for (int s = 0; s < ISO_LAYOUT_SCHEDS; s++)
                for (l.chunks = 1; l.chunks <= 8; l.chunks++)
                  for (int r = 0; r <= ISO_LAYOUT_FULL; r++)
                    for (int k = 0; k < 4; k++) {
                      l.schedule = (iso_layout_sched)s;
                      l.recompute = (iso_layout_recompute)r;
                      l.seq_parallel = k & 1;
                      l.offload = k & 2;
                      l.zero = 0;
                      if (l.pipeline == 1 && s != ISO_LAYOUT_1F1B) continue;  // the same step
                      if (iso_layout_check(j, &l, NULL) == ISO_OK) each_zero(j, m, c, l, quantised, room, o);
                    }
}

static void test_exhaustive(void **state) {
  (void)state;
  iso_layout_machine m = a100();
  iso_layout_cal c = iso_layout_cal_default();
  iso_layout_job j = iso_layout_job_default();
  iso_err e;
  m.per_node = 4;
  for (int moe = 0; moe < 2; moe++) {
    j.shape = moe ? llama(7, 2048, 8, 4, 4096, 32000, 4096) : gpt(8, 6144, 16);
    if (moe) {
      j.shape.experts = 4;
      j.shape.experts_used = 2;
      j.flash = true;
    }
    j.batch = 12;
    m.mem_b = moe ? 5e9 : 24e9;
    all a;
    iso_layout_search s;
    iso_layout_search_opts o = iso_layout_search_opts_default(&m, 16);
    o.max_context = 4;
    o.max_micro_batch = 8;
    o.whole_nodes = false;
    o.eps = 0;
    o.max_tensor = 16;
    o.quantised = moe;
    enumerate(&j, &m, &c, 16, o.quantised, 1 << 20, &a);
    ok(iso_layout_search_run(&j, &m, &c, &o, &s, &e), &e);
    print_message("%lld tried, %lld feasible, front %lld; enumerated %lld\n", (long long)s.tried, (long long)s.feasible, (long long)s.n,
                  (long long)a.feasible);
    assert_true(s.feasible > 1000 && s.too_big > 1000 && s.feasible < a.feasible);
    assert_int_equal(s.tried, s.feasible + s.too_big);
    for (int g = 0; g < ISO_LAYOUT_GOALS; g++) {
      const iso_layout_point *p = &s.best[g];
      double v[4] = {p->step_s, p->mem_b, p->usd, p->joule};
      near(v[g] / a.best[g], 1, 1e-12, "best");
    }
    // No enumerated layout is missing from under the front, and the front beats itself nowhere.
    for (int64_t i = 0; i < a.n; i++) {
      bool under = false;
      for (int64_t k = 0; k < s.n && !under; k++) {
        const double v[4] = {s.front[k].step_s, s.front[k].mem_b, s.front[k].usd, s.front[k].joule};
        under = beats(v, a.cost[i], 1 + 1e-12);
      }
      if (!under) fail_msg("a layout of %g s, %g bytes is better than the front", a.cost[i][0], a.cost[i][1]);
    }
    for (int64_t i = 0; i < s.n; i++) {
      const double v[4] = {s.front[i].step_s, s.front[i].mem_b, s.front[i].usd, s.front[i].joule};
      for (int64_t k = 0; k < s.n; k++) {
        const double w[4] = {s.front[k].step_s, s.front[k].mem_b, s.front[k].usd, s.front[k].joule};
        assert_true(i == k || !beats(w, v, 1));
      }
      if (i) assert_true(s.front[i].step_s >= s.front[i - 1].step_s);
    }
    // A coarser front is smaller and no point of the exact one is more than that share better.
    iso_layout_search few;
    o.eps = 0.05;
    ok(iso_layout_search_run(&j, &m, &c, &o, &few, &e), &e);
    assert_true(few.n < s.n && few.feasible == s.feasible);
    for (int64_t i = 0; i < s.n; i++) {
      const double v[4] = {s.front[i].step_s, s.front[i].mem_b, s.front[i].usd, s.front[i].joule};
      bool near_one = false;
      for (int64_t k = 0; k < few.n && !near_one; k++) {
        const double w[4] = {few.front[k].step_s, few.front[k].mem_b, few.front[k].usd, few.front[k].joule};
        near_one = beats(w, v, 1.05 + 1e-12);
      }
      assert_true(near_one);
    }
    iso_layout_search_close(&few);
    iso_layout_search_close(&s);
    free(a.cost);
  }
}

// A trillion parameters on up to 4,096 devices: every one of millions of layouts.
static void test_trillion(void **state) {
  (void)state;
  iso_layout_machine m = a100();
  iso_layout_cal c = iso_layout_cal_default();
  iso_layout_job j = iso_layout_job_default();
  iso_layout_search s;
  iso_err e = {0};
  j.shape = gpt(128, 25600, 160);
  j.batch = 3072;
  iso_layout_search_opts o = iso_layout_search_opts_default(&m, 4096);
  ok(iso_layout_search_run(&j, &m, &c, &o, &s, &e), &e);
  print_message("1T on up to 4096: %lld tried, %lld feasible, front of %lld\n", (long long)s.tried, (long long)s.feasible, (long long)s.n);
  assert_true(s.tried > 1000000 && s.feasible > 100000 && s.n > 20);
  for (int64_t i = 0; i < s.n; i++) {
    iso_layout_mem k;
    ok(iso_layout_check(&j, &s.front[i].layout, &e), &e);
    iso_layout_memory(&j, &s.front[i].layout, &k);
    ok(iso_layout_fits(&m, &k, &e), &e);
    near(k.total_b / s.front[i].mem_b, 1, 1e-12, "bytes");
    assert_true(iso_layout_devices(&s.front[i].layout) <= 4096);
  }
  // Faster than the layout that was run on 3,072 (t = 8, p = 64, interleaved; 163 TFLOP/s a GPU), for more devices.
  assert_true(s.best[ISO_LAYOUT_FASTEST].step_s < 102.63 * 3072 / 4096);
  assert_true(s.best[ISO_LAYOUT_CHEAPEST].usd < s.best[ISO_LAYOUT_FASTEST].usd);
  iso_layout_search_close(&s);
  // One node cannot hold it: the leanest layout's bytes are named.
  o = iso_layout_search_opts_default(&m, 8);
  assert_int_equal(iso_layout_search_run(&j, &m, &c, &o, &s, &e), ISO_ENOMEM);
  assert_non_null(strstr(e.msg, "there are 80000000000 (74.51 GiB)"));
  assert_null(s.front);
  o.devices_min = 9;
  assert_int_equal(iso_layout_search_run(&j, &m, &c, &o, &s, &e), ISO_EINVAL);
  // 7 stages of 19 blocks or 18 are a layout, on too few devices; 131 stages of 128 blocks are none.
  o = iso_layout_search_opts_default(&m, 7);
  o.devices_min = 7;
  j.batch = 5;
  assert_int_equal(iso_layout_search_run(&j, &m, &c, &o, &s, &e), ISO_ENOMEM);
  m.per_node = 131;
  o = iso_layout_search_opts_default(&m, 131);
  o.devices_min = 131;
  assert_int_equal(iso_layout_search_run(&j, &m, &c, &o, &s, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "no layout of 131 to 131 devices"));
  o.eps = NAN;
  assert_int_equal(iso_layout_search_run(&j, &m, &c, &o, &s, &e), ISO_EINVAL);
}

static double num(const json_t *o, const char *a, const char *b) {
  const json_t *v = json_object_get(b ? json_object_get(o, a) : o, b ? b : a);
  if (isnan(iso_json_value(v))) fail_msg("no number at %s %s", a, b ? b : "");
  return iso_json_value(v);
}

static void test_plan(void **state) {
  (void)state;
  iso_layout_machine m = a100();
  iso_layout_cal c = iso_layout_cal_default();
  iso_layout_job j = iso_layout_job_default();
  iso_err e = {0};
  json_t *p;
  j.shape = llama(80, 8192, 64, 8, 28672, 128256, 4096);
  j.flash = true;
  j.dropout = false;
  j.batch = 1024;
  iso_layout_search_opts o = iso_layout_search_opts_default(&m, 512);
  o.devices_min = 512;
  ok(iso_layout_plan_json(&j, &m, &c, &o, 1e12, &p, &e), &e);
  json_t *best = json_object_get(p, "fastest"), *step = json_object_get(best, "step"), *part;
  const char *key;
  double sum = 0;
  json_object_foreach(json_object_get(step, "parts"), key, part) sum += json_number_value(part);
  near(sum / num(step, "step_s", NULL), 1, 1e-9, "parts");
  assert_true(json_is_true(json_object_get(best, "fits")));
  near(num(best, "layout", "devices"), 512, 0, "devices");
  near(num(p, "run", "steps"), ceil(1e12 / (1024 * 4096.0)), 0, "steps");
  json_t *wall = json_object_get(json_object_get(p, "run"), "wall_s");
  assert_true(num(wall, "lo", NULL) < num(wall, "value", NULL) && num(wall, "value", NULL) < num(wall, "hi", NULL));
  assert_true(num(step, "mfu", NULL) > 0.3 && num(step, "mfu", NULL) < 0.75);
  near(num(json_array_get(json_object_get(p, "front"), 0), "step_s", NULL), num(step, "step_s", NULL), 1e-12, "the front starts with the fastest");
  assert_true(json_is_string(json_object_get(p, "binding")));
  assert_true(num(p, "shadow", "step_s_per_gib") >= 0 && num(p, "shadow", "step_s_per_device") > 0);
  json_t *chk = json_object_get(best, "schedule_check");
  if (!json_is_null(chk)) near(num(chk, "ratio", NULL), 1, 0.05, "simulated schedule");
  json_decref(p);
  // One layout: priced when it does not fit, refused when it must.
  iso_layout l = tpd(8, 1, 64, 1);
  ok(iso_layout_cost_json(&j, &m, &c, &l, false, &p, &e), &e);
  assert_true(json_is_false(json_object_get(p, "fits")) && json_is_string(json_object_get(p, "why_not")));
  json_decref(p);
  assert_int_equal(iso_layout_cost_json(&j, &m, &c, &l, true, &p, &e), ISO_ENOMEM);
  assert_null(p);
}

int main(void) {
  const struct CMUnitTest t[] = {cmocka_unit_test(test_exhaustive), cmocka_unit_test(test_trillion), cmocka_unit_test(test_plan)};
  return cmocka_run_group_tests(t, NULL, NULL);
}
