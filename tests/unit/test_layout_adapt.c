// The search for building blocks: the published bubbles and memories, named schedules never better, memory never a disadvantage, replays in order.
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
#include "plan/layout/layout_adapt.h"
#include "plan/layout/layout_block.h"
#include "plan/layout/layout_search.h"
#include "unit/layout_near.h"

enum { STAGES = 64 };

static double times[3][STAGES];

static iso_layout_pipe pipe_of(int64_t p, int64_t m, double f, double b, double w, double hop) {
  for (int64_t i = 0; i < 2 * p; i++) {
    times[0][i] = f / 2;
    times[1][i] = b / 2;
    times[2][i] = w / 2;
  }
  return (iso_layout_pipe){.schedule = ISO_LAYOUT_V_ADAPTIVE, .p = p, .m = m, .v = 2, .f = times[0], .b = times[1], .w = times[2], .hop_s = hop};
}

static double replay(const iso_layout_pipe *in, double *held) {
  iso_layout_trace t;
  iso_err e;
  ok(iso_layout_simulate(in, &t, &e), &e);
  double s = t.span_s;
  *held = 2 * t.in_flight;
  iso_layout_trace_close(&t);
  return s;
}

// Every point is what its replay says, in the memory that it says; a point more in memory is a point less in time.
static void check_front(const iso_layout_pipe *in, const iso_layout_adapt *a) {
  iso_layout_pipe one = *in;
  assert_true(a->n > 0 && a->blocks > 0);
  for (int64_t i = 0; i < a->n; i++) {
    double held;
    iso_layout_block b;
    iso_err e;
    one.weave = a->point[i].weave;
    near(replay(&one, &held), a->point[i].span_s, 1e-9 * a->point[i].span_s, "replay");
    assert_true(held <= (double)one.weave.held);
    // The closed form of the memory: activations live from F to W, one repetition every interval.
    ok(iso_layout_block_from(in->p, &one.weave, &b, &e), &e);
    assert_int_equal(iso_layout_block_peak(&b), one.weave.held);
    double most = 0;
    for (int64_t d = 0; d < b.p; d++) {
      double up = 0;
      for (int c = 0; c < 2; c++) up += ceil((double)(b.slot[d][2][c] + 1 - b.slot[d][0][c]) / 6);
      most = fmax(most, up);
    }
    assert_true((double)one.weave.held <= most);
    iso_layout_block_close(&b);
    if (i) assert_true(a->point[i].weave.held > a->point[i - 1].weave.held && a->point[i].span_s < a->point[i - 1].span_s);
  }
}

static iso_layout_adapt adapt(const iso_layout_pipe *in, int64_t held) {
  iso_layout_adapt a;
  iso_err e;
  ok(iso_layout_adapt_open(in, held, false, &a, &e), &e);
  check_front(in, &a);
  return a;
}

// The authors' table at equal times: V-Min, V-Half and ZB-V hold (p + 4) / 3, (p + 2) / 2 and p micro-batches and wait about two thirds, a half
// and none of 1F1B's (p - 1) (F + B + W). The search is as good at each of these memories, and no named schedule of these memories is
// better at unequal times and with hops either; nor is ZB-H1.
static void test_named(void **state) {
  (void)state;
  const double t[][4] = {{1, 1, 1, 0}, {1, 1.3, 0.8, 0.02}, {1, 2, 1, 0}};
  int better = 0, n = 0;
  for (int64_t p = 4; p <= 10; p += p == 4 ? 1 : 2)
    for (size_t k = 0; k < ISO_COUNT(t); k++)
      for (int64_t m = 2 * p; m <= 4 * p; m += 2 * p - 1) {
        iso_layout_pipe in = pipe_of(p, m, t[k][0], t[k][1], t[k][2], t[k][3]);
        iso_layout_adapt a = adapt(&in, 2 * p);
        double work = (double)m * (t[k][0] + t[k][1] + t[k][2]), one = 3 * (double)(p - 1), held;
        for (int s = ISO_LAYOUT_ZB_V; s <= ISO_LAYOUT_V_MIN; s++) {
          iso_layout_pipe named = in;
          named.schedule = (iso_layout_sched)s;
          double span = replay(&named, &held);
          const iso_layout_adapt_point *q = iso_layout_adapt_under(&a, (int64_t)held);
          assert_non_null(q);
          if (!(q->span_s <= span * (1 + 1e-12)))
            fail_msg("p %d m %d times %d: %.9g, %s takes %.9g in %g chunks", (int)p, (int)m, (int)k, q->span_s, iso_layout_sched_name(named.schedule),
                     span, held);
          better += q->span_s < span * (1 - 1e-9);
          n++;
          double bubble = q->span_s - work, want = s == ISO_LAYOUT_ZB_V ? 0 : s == ISO_LAYOUT_V_HALF ? one / 2 : 2 * one / 3;
          if (!k) assert_true(bubble >= -1e-9 && bubble <= want + (double)(p - 3) / 8 + 1e-9);
        }
        const iso_layout_adapt_point *all = iso_layout_adapt_under(&a, 2 * p);
        assert_true(all->span_s - work <= iso_layout_bubble(ISO_LAYOUT_ZB_H1, p, m, 1, t[k][0], t[k][1], t[k][2]) + 4 * (double)p * t[k][3] + 1e-9);
        assert_null(iso_layout_adapt_under(&a, a.point[0].weave.held - 1));
        iso_layout_adapt_close(&a);
      }
  print_message("faster than the named schedule in %d of %d\n", better, n);
  assert_true(better > n / 4);
}

// A search with less memory finds what the search with more found for it.
static void test_less(void **state) {
  (void)state;
  iso_layout_pipe in = pipe_of(6, 14, 1, 1.4, 0.9, 0.03);
  iso_layout_adapt a = adapt(&in, 12), b;
  for (int64_t held = a.point[0].weave.held; held <= 12; held++) {
    b = adapt(&in, held);
    const iso_layout_adapt_point *p = iso_layout_adapt_under(&a, held), *q = &b.point[b.n - 1];
    near(p->span_s, q->span_s, 0, "the same");
    assert_memory_equal(&p->weave, &q->weave, sizeof p->weave);
    iso_layout_adapt_close(&b);
  }
  iso_err e = {0};
  assert_int_equal(iso_layout_adapt_open(&in, 3, false, &b, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "hold 6 chunks at the least, the limit is 3"));
  iso_layout_adapt_close(&a);
}

// Two devices, few micro-batches, unit times: all schedules of so many chunks, depth first in the order of starts.
typedef struct partial {
  int n[2][3][2];  // micro-batches done by device, kind, chunk
  int end[3][4][4];
  int first[2], at[2];  // start of the first task (-1 none), end of the last
} partial;
static int optimum, cap, batches;

static int input_at(const partial *s, int d, int kind, int c) {
  int k = s->n[d][kind][c], g = c ? 3 - d : d;
  if (k >= batches) return -1;
  if (kind == 0) return g == 0 ? 0 : s->end[0][g - 1][k] ? s->end[0][g - 1][k] : -1;
  if (kind == 2) return s->end[1][g][k] ? s->end[1][g][k] : -1;
  if (!s->end[0][g][k] || (g < 3 && !s->end[1][g + 1][k])) return -1;
  return g < 3 && s->end[1][g + 1][k] > s->end[0][g][k] ? s->end[1][g + 1][k] : s->end[0][g][k];
}

static void every(const partial *s, int last) {
  int left = 0, span = 0;
  for (int d = 0; d < 2; d++) {
    int mine = 6 * batches, held = 0;
    for (int c = 0; c < 2; c++) {
      held += s->n[d][0][c] - s->n[d][2][c];
      for (int k = 0; k < 3; k++) mine -= s->n[d][k][c];
    }
    int from = s->at[d] > last ? s->at[d] : last;
    if (s->first[d] >= 0 && from - s->first[d] + mine > span) span = from - s->first[d] + mine;
    if (!mine && s->at[d] - s->first[d] > span) span = s->at[d] - s->first[d];
    left += mine;
    if (held > cap) return;
  }
  if (span >= optimum) return;
  if (!left) {
    optimum = span;
    return;
  }
  for (int d = 0; d < 2; d++)
    for (int k = 0; k < 3; k++)
      for (int c = 0; c < 2; c++) {
        int r = input_at(s, d, k, c), start = r > s->at[d] ? r : s->at[d];
        if (r < 0 || start < last) continue;
        partial t = *s;
        if (t.first[d] < 0) t.first[d] = start;
        t.at[d] = t.end[k][c ? 3 - d : d][s->n[d][k][c]] = start + 1;
        t.n[d][k][c]++;
        every(&t, start);
      }
}

static void test_optimum(void **state) {
  (void)state;
  for (batches = 1; batches <= 4; batches++) {
    iso_layout_pipe in = pipe_of(2, batches, 2, 2, 2, 0);
    iso_layout_adapt a = adapt(&in, 10);
    for (cap = 4; cap <= 6; cap++) {
      partial s = {.first = {-1, -1}};
      const iso_layout_adapt_point *q = iso_layout_adapt_under(&a, cap);
      assert_non_null(q);
      optimum = (int)lround(q->span_s) + 1;
      every(&s, 0);
      print_message("p 2, m %d, %d chunks: %g slots, the optimum takes %d\n", batches, cap, q->span_s, optimum);
      assert_true(optimum <= lround(q->span_s) && q->span_s <= optimum + 1);
    }
    iso_layout_adapt_close(&a);
  }
}

// Random times for every stage, blocks of every kind: each task once, no device does two at once, every input is there, hops are waited for.
static void check_trace(const iso_layout_pipe *in, const iso_layout_trace *t) {
  int64_t p = in->p, m = in->m;
  double *end = calloc((size_t)(3 * 2 * p * m), sizeof *end);
  assert_non_null(end);
  assert_int_equal(t->n, 6 * p * m);
#define END(kind, stage, k) end[((kind)*2 * p + (stage)) * m + (k)]
  for (int64_t i = 0; i < t->n; i++) {
    const iso_layout_task *k = &t->task[i];
    double *e = &END(k->kind, iso_layout_v_stage(p, k->chunk, k->device), k->micro_batch);
    assert_true(*e == 0);
    *e = k->end_s;
    if (i && t->task[i - 1].device == k->device) assert_true(k->start_s >= t->task[i - 1].end_s);
  }
  for (int64_t i = 0; i < t->n; i++) {
    const iso_layout_task *k = &t->task[i];
    int64_t s = iso_layout_v_stage(p, k->chunk, k->device), n = k->micro_batch;
    double slack = 1e-9;
    const double *len = k->kind == ISO_LAYOUT_TASK_F ? in->f : k->kind == ISO_LAYOUT_TASK_B ? in->b : in->w;
    near(k->end_s - k->start_s, len[s], slack, "length");
    if (k->kind == ISO_LAYOUT_TASK_F && s) assert_true(k->start_s >= END(0, s - 1, n) + (s == p ? 0 : in->hop_s) - slack);
    if (k->kind == ISO_LAYOUT_TASK_B) assert_true(k->start_s >= END(0, s, n) - slack);
    if (k->kind == ISO_LAYOUT_TASK_B && s + 1 < 2 * p) assert_true(k->start_s >= END(1, s + 1, n) + (s + 1 == p ? 0 : in->hop_s) - slack);
    if (k->kind == ISO_LAYOUT_TASK_W) assert_true(k->start_s >= END(1, s, n) - slack);
  }
#undef END
  free(end);
}

static void test_random(void **state) {
  (void)state;
  int runs = 0;
  for (uint64_t r = 0; r < 120; r++) {
    int64_t p = 2 + (int64_t)iso_rng_below(3, ISO_RNG_TEST, r, 0, 8), m = 1 + (int64_t)iso_rng_below(3, ISO_RNG_TEST, r, 1, 20);
    iso_layout_pipe in = pipe_of(p, m, 1, 1, 1, (double)iso_rng_below(3, ISO_RNG_TEST, r, 2, 100) / 50);
    for (int k = 0; k < 3; k++)
      for (int64_t i = 0; i < 2 * p; i++) times[k][i] = 0.05 + (double)iso_rng_below(3, ISO_RNG_TEST, r, 10 + (uint64_t)(k * STAGES + i), 100) / 50;
    for (int down = 1; down <= 5; down++)
      for (int64_t cut = 0; cut <= p; cut++)
        for (int order = 0; order < 2; order++) {
          iso_layout_weave w = {.held = 1000, .cut = (int32_t)cut, .down = {(int8_t)down, 1}, .up = {1, 1}, .order = (uint8_t)order};
          iso_layout_block b;
          iso_layout_trace t;
          iso_err e;
          for (int k = 0; k < 3; k++) w.turn[k] = (int8_t)(1 + iso_rng_below(3, ISO_RNG_TEST, r, 500 + (uint64_t)(down * 40 + cut * 3 + k), 6));
          if (iso_layout_block_from(p, &w, &b, &e) != ISO_OK) {
            assert_non_null(strstr(e.msg, "clash"));
            continue;
          }
          int64_t peak = iso_layout_block_peak(&b);
          iso_layout_block_close(&b);
          in.weave = w;
          ok(iso_layout_simulate(&in, &t, &e), &e);
          check_trace(&in, &t);
          assert_true(2 * t.in_flight <= (double)peak);
          assert_true(t.span_s >= t.busy_s - 1e-9);
          iso_layout_trace_close(&t);
          runs++;
          w.held = (int32_t)peak - 1;
          assert_int_equal(iso_layout_block_from(p, &w, &b, &e), ISO_EINVAL);
        }
  }
  print_message("%d schedules\n", runs);
  assert_true(runs > 300);
}

// A whole layout: within the limit, its parts add up to the replay, and the machine's memory or the limit given is kept. In the search nothing
// gets worse, and a block that is chosen fits and costs what it says.
static void test_layouts(void **state) {
  (void)state;
  iso_layout_machine m = a100();
  iso_layout_cal c = iso_layout_cal_default();
  iso_layout_job j = iso_layout_job_default();
  iso_layout_step s, half;
  iso_layout_mem k;
  iso_err e = {0};
  j.shape = llama(32, 8192, 64, 8, 28672, 128256, 4096);
  j.flash = true;
  j.batch = 32;
  iso_layout l = tpd(8, 8, 1, 1), less;
  l.chunks = 2;
  l.schedule = ISO_LAYOUT_V_ADAPTIVE;
  assert_int_equal(iso_layout_step_cost(&j, &m, &c, &l, &s, &e), ISO_EINVAL);
  less = l;
  ok(iso_layout_adapt_step(&j, &m, &c, 0, false, &l, NULL, &e), &e);
  ok(iso_layout_step_cost(&j, &m, &c, &l, &s, &e), &e);
  ok(iso_layout_adapt_step(&j, &m, &c, iso_layout_adapt_share(8, 0.625), false, &less, NULL, &e), &e);
  ok(iso_layout_step_cost(&j, &m, &c, &less, &half, &e), &e);
  assert_true(less.weave.held <= 10 && l.weave.held > 10 && half.step_s > s.step_s);
  const iso_layout_sched named[] = {ISO_LAYOUT_ZB_V, ISO_LAYOUT_V_HALF};
  for (int i = 0; i < 2; i++) {
    iso_layout n = tpd(8, 8, 1, 1);
    iso_layout_trace t;
    n.chunks = 2;
    n.schedule = named[i];
    ok(iso_layout_simulate_step(&j, &m, &c, &n, &t, &e), &e);
    const iso_layout_step *q = i ? &half : &s;
    double span = q->compute_s + q->launch_s + q->head_s + q->tensor_s + q->context_s + q->expert_s + q->bubble_s + q->p2p_s;
    assert_true(span <= t.span_s * (1 + 1e-9) && q->bubble_s >= 0 && q->p2p_s >= 0);
    iso_layout_trace_close(&t);
    ok(iso_layout_simulate_step(&j, &m, &c, i ? &less : &l, &t, &e), &e);
    near(t.span_s, span, 1e-9 * span, "replayed");
    iso_layout_trace_close(&t);
  }
  // As much memory as 5/8 of 1F1B's activations take: the choice fits by itself.
  iso_layout_memory(&j, &less, &k);
  m.mem_b = k.total_b;
  iso_layout tight = tpd(8, 8, 1, 1);
  tight.chunks = 2;
  tight.schedule = ISO_LAYOUT_V_ADAPTIVE;
  ok(iso_layout_adapt_step(&j, &m, &c, 0, false, &tight, NULL, &e), &e);
  assert_memory_equal(&tight.weave, &less.weave, sizeof less.weave);
  m.mem_b = k.total_b - 0.7 * k.act_b;
  assert_int_equal(iso_layout_adapt_step(&j, &m, &c, 0, false, &tight, NULL, &e), ISO_ENOMEM);
  m.mem_b = k.total_b;
  m.inter_b_s /= 8;  // ZeRO-3's gathers do not hide: pipelines win
  iso_layout_search a, b;
  iso_layout_search_opts o = iso_layout_search_opts_default(&m, 64);
  o.devices_min = 64;
  o.max_context = o.max_micro_batch = 1;
  o.offload = false;
  ok(iso_layout_search_run(&j, &m, &c, &o, &a, &e), &e);
  o.adapt = 8;
  ok(iso_layout_search_run(&j, &m, &c, &o, &b, &e), &e);
  const iso_layout_point *p = &b.best[ISO_LAYOUT_FASTEST];
  print_message("fastest %g s, with building blocks %g s (%s, %lld searched)\n", a.best[ISO_LAYOUT_FASTEST].step_s, p->step_s,
                iso_layout_sched_name(p->layout.schedule), (long long)b.adapted);
  assert_true(a.adapted == 0 && b.adapted > 0 && b.adapted <= 8 && p->step_s <= a.best[ISO_LAYOUT_FASTEST].step_s);
  int seen = 0;
  for (int64_t i = 0; i < b.n; i++) {
    if (b.front[i].layout.schedule != ISO_LAYOUT_V_ADAPTIVE) continue;
    seen++;
    ok(iso_layout_step_cost(&j, &m, &c, &b.front[i].layout, &s, &e), &e);
    iso_layout_memory(&j, &b.front[i].layout, &k);
    near(s.step_s, b.front[i].step_s, 1e-12 * s.step_s, "price");
    ok(iso_layout_fits(&m, &k, &e), &e);
  }
  assert_true(seen > 0);
  iso_layout_search_close(&a);
  iso_layout_search_close(&b);
  o.adapt = 65;
  assert_int_equal(iso_layout_search_run(&j, &m, &c, &o, &a, &e), ISO_EINVAL);
}

int main(void) {
  const struct CMUnitTest t[] = {cmocka_unit_test(test_named), cmocka_unit_test(test_less), cmocka_unit_test(test_optimum),
                                 cmocka_unit_test(test_random), cmocka_unit_test(test_layouts)};
  return cmocka_run_group_tests(t, NULL, NULL);
}
