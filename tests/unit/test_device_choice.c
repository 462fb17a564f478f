// Choosing devices: every layout enumerated by hand gives the same best, and machines short of one thing say so.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "plan/device_choice.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("%.12g, expected %.12g", got, want);
}

enum { KINDS = 3, COUNTS = 4 };
typedef struct bench {
  iso_layout_machine m[KINDS];
  iso_layout_cal cal;
  iso_choice_devices at[KINDS * COUNTS];
  iso_choice_req q;
} bench;

static void open_bench(bench *b) {
  static const char *const NAME[KINDS] = {"a100-80", "h100", "t4"};
  static const double USD_H[KINDS] = {3, 6, 0.5};
  iso_err err = {0};
  b->cal = iso_layout_cal_default();
  b->q = (iso_choice_req){.job = iso_layout_job_default(),
                          .law = &iso_law_chinchilla,
                          .set = &iso_law_chinchilla.consts[0],
                          .budget = iso_budget_none(),
                          .g_per_kwh = 400,
                          .goal = ISO_CHOICE_LOSS_PER_USD,
                          .at = b->at,
                          .max_micro_batch = 16,
                          .plain = true,
                          .flash = true};
  b->q.job.dropout = false;
  b->q.job.batch = 128;
  iso_law_absent(b->q.law, b->q.x);
  assert_int_equal(iso_layout_shape_family(1e9, 32000, 2048, &b->q.job.shape, &err), ISO_OK);
  for (int k = 0; k < KINDS; k++) {
    iso_device_spec s;
    assert_int_equal(iso_device_spec_find(NAME[k], &s, &err), ISO_OK);
    assert_int_equal(iso_layout_machine_from(&s, &b->m[k], &err), ISO_OK);
    b->m[k].usd_h = USD_H[k];
    for (int c = 0; c < COUNTS; c++) b->at[b->q.n++] = (iso_choice_devices){(int64_t)1 << (2 * c), &b->m[k], &b->cal, NULL};  // 1, 4, 16, 64
  }
}

typedef struct brute {
  int at, layouts, best_share;
  double score, step_s, usd, tokens, loss;
} brute;

// All layouts of data parallelism, priced one by one; the score written out.
static brute enumerate(const bench *b, int only_flash, int only_share) {
  brute best = {.score = -INFINITY};
  iso_layout_counts n;
  iso_layout_count(&b->q.job.shape, &n);
  for (int at = 0; at < b->q.n; at++)
    for (int code = 0; code < 2 * 4 * 3 * 16; code++) {
      int flash = code % 2, zero = code / 2 % 4, recompute = code / 8 % 3;
      iso_layout l = iso_layout_default();
      iso_layout_job job = b->q.job;
      iso_layout_step s;
      iso_layout_mem m;
      l.data = b->at[at].devices;
      l.micro_batch = 1 + code / 24;
      l.zero = zero;
      l.recompute = (iso_layout_recompute)recompute;
      job.flash = flash;
      if (only_flash >= 0 && (flash != only_flash || zero != only_share)) continue;
      if (iso_layout_step_cost(&job, b->at[at].machine, &b->cal, &l, &s, NULL) != ISO_OK) continue;
      iso_layout_memory(&job, &l, &m);
      if (m.total_b > b->at[at].machine->mem_b) continue;
      double batch_tok = 128 * 2048, steps = INFINITY;
      if (b->q.budget.tok < INFINITY) steps = fmin(steps, floor(b->q.budget.tok / batch_tok));
      if (b->q.budget.usd < INFINITY) steps = fmin(steps, floor(b->q.budget.usd / s.usd));
      if (b->q.budget.wall < INFINITY) steps = fmin(steps, floor(b->q.budget.wall / s.step_s));
      double tokens = steps * batch_tok, usd = steps * s.step_s * (double)b->at[at].devices * b->at[at].machine->usd_h / 3600;
      double loss = iso_law_nd(b->q.law, b->q.set->p, (double)n.params, tokens), score = -loss;
      if (b->q.goal == ISO_CHOICE_LOSS_PER_USD) score = (log(32000) - loss) / usd;
      if (b->q.goal == ISO_CHOICE_TOKENS_PER_USD) score = tokens / usd;
      if (b->q.goal == ISO_CHOICE_TOKENS_PER_S) score = tokens / (steps * s.step_s);
      best.layouts++;
      if (steps < 1 || score <= best.score * (1 + (score > 0 ? 1e-12 : -1e-12))) continue;
      best = (brute){at, best.layouts, zero, score, s.step_s, usd, tokens, loss};
    }
  return best;
}

// Every objective under limits in tokens, dollars and seconds: the same best as by hand, and the same best of each kind.
static void test_enumeration(void **state) {
  (void)state;
  for (int goal = 0; goal < ISO_CHOICE_GOALS; goal++)
    for (int limit = 0; limit < 3; limit++) {
      bench b = {0};
      iso_choice c;
      iso_err err = {0};
      open_bench(&b);
      b.q.goal = (iso_choice_goal)goal;
      *(limit == 0 ? &b.q.budget.tok : limit == 1 ? &b.q.budget.usd : &b.q.budget.wall) = limit == 0 ? 2e10 : limit == 1 ? 300 : 86400;
      if (iso_choice_run_all(&b.q, &c, &err) != ISO_OK) fail_msg("%s", err.msg);
      brute want = enumerate(&b, -1, 0);
      near(c.run[0].score.mean, want.score, 1e-9);
      near(c.run[0].loss.mean, want.loss, 1e-9);
      near(c.run[0].tokens.mean, want.tokens, 1e-12);
      // Steps are whole, so that choices may tie when the loss alone counts; then the dollars may differ.
      if (goal != ISO_CHOICE_LOSS) near(c.run[0].usd.mean, want.usd, 1e-9);
      if (goal == ISO_CHOICE_LOSS_PER_USD) near(c.run[0].loss_per_usd, want.score, 1e-9);
      if (goal == ISO_CHOICE_TOKENS_PER_USD) near(c.run[0].tok_per_usd, want.score, 1e-9);
      for (int i = 1; i < c.n; i++) assert_true(c.run[i].score.mean <= c.run[i - 1].score.mean);
      for (int flash = 0; flash < 2; flash++)
        for (int share = 0; share <= ISO_CHOICE_FSDP; share++) {
          int i = 0;
          while (i < c.n && (c.run[i].flash != flash || (int)c.run[i].share != share)) i++;
          brute one = enumerate(&b, flash, share);
          if (i == c.n)
            assert_true(one.score == -INFINITY);
          else
            near(c.run[i].score.mean, one.score, 1e-9);
        }
      for (int i = 0; i < c.n; i++) {
        assert_true(c.run[i].score.lo <= c.run[i].score.mean && c.run[i].score.mean <= c.run[i].score.hi);
        assert_true(c.run[i].memory.total_b <= b.at[c.run[i].at].machine->mem_b);
        assert_true(c.run[i].usd.mean <= b.q.budget.usd * (1 + 1e-9) && c.run[i].wall_s.mean <= b.q.budget.wall * (1 + 1e-9));
      }
      iso_choice_close(&c);
    }
}

// The lift of a resource is what a sweep on machines that have twice as much of it finds; the binding one is the largest.
static void test_lift(void **state) {
  (void)state;
  bench b = {0};
  iso_choice c, more;
  iso_err err = {0};
  open_bench(&b);
  b.q.budget.tok = 2e10;
  assert_int_equal(iso_choice_run_all(&b.q, &c, &err), ISO_OK);
  for (int k = 0; k < 4; k++) {
    bench d = b;
    d.q.at = &d.at[c.run[0].at];
    d.q.n = 1;
    d.q.goal = ISO_CHOICE_TOKENS_PER_S;
    iso_layout_machine m = *d.q.at->machine;
    d.at[c.run[0].at].machine = &m;
    if (k == 0) m.peak_flop_s *= 2;
    if (k == 1) m.mem_b_s *= 2;
    if (k == 2) m.mem_b *= 2;
    assert_int_equal(iso_choice_run_all(&d.q, &more, &err), ISO_OK);
    static const iso_choice_lift LIFT[] = {ISO_CHOICE_LIFT_COMPUTE, ISO_CHOICE_LIFT_MEMORY, ISO_CHOICE_LIFT_CAPACITY};
    if (k < 3)
      near(1 + c.lift[LIFT[k]], more.run[0].step.tok_s / c.run[0].step.tok_s, 1e-9);
    else
      near(more.run[0].step.tok_s, c.run[0].step.tok_s, 1e-9);
    iso_choice_close(&more);
  }
  for (int k = 0; k < ISO_CHOICE_LIFTS; k++) assert_true(c.lift[k] >= -1e-12 && c.lift[k] <= c.lift[c.binding]);
  iso_choice_close(&c);
}

// A machine that is short of one thing alone is bound by it.
static void test_binding(void **state) {
  (void)state;
  for (int k = 0; k < ISO_CHOICE_LIFTS; k++) {
    bench b = {0};
    iso_choice c;
    iso_err err = {0};
    open_bench(&b);
    iso_layout_machine *m = &b.m[0];
    b.q.at = &b.at[3];  // 64 of the first kind
    b.q.n = 1;
    b.q.budget.tok = 1e9;
    b.q.plain = false;
    m->mem_b = 1e13;
    switch (k) {
      case ISO_CHOICE_LIFT_COMPUTE: m->peak_flop_s /= 100; break;
      case ISO_CHOICE_LIFT_MEMORY: m->mem_b_s /= 1000; break;
      case ISO_CHOICE_LIFT_INTRA:
        m->per_node = 64;
        m->intra_b_s /= 1000;
        break;
      case ISO_CHOICE_LIFT_INTER: m->inter_b_s /= 1000; break;
      case ISO_CHOICE_LIFT_LAUNCH: b.cal.v[ISO_LAYOUT_CAL_launch_s] *= 1000; break;
      default:
        // Just enough for micro-batch 1 with everything computed again, half of which goes when there is more.
        m->mem_b = 2.5e9;
        b.q.job.batch = 64;
        b.q.max_micro_batch = 1;
        m->mem_b_s *= 100;
        m->intra_b_s *= 100;
        m->inter_b_s *= 100;
        m->inter_lat_s = m->intra_lat_s = 0;
        b.cal.v[ISO_LAYOUT_CAL_launch_s] = 1e-9;
        b.cal.v[ISO_LAYOUT_CAL_kernel_s] = 1e-9;
        break;
    }
    if (iso_choice_run_all(&b.q, &c, &err) != ISO_OK) fail_msg("%d: %s", k, err.msg);
    print_message("%-20s", iso_choice_lift_name((iso_choice_lift)k));
    for (int i = 0; i < ISO_CHOICE_LIFTS; i++) print_message(" %6.3f", c.lift[i]);
    print_message(" memory %.3g recompute %d\n", c.run[0].memory.total_b, (int)c.run[0].layout.recompute);
    // Capacity only ever buys what full recomputation costs, a quarter of the time: compute stays ahead of it.
    if (k == ISO_CHOICE_LIFT_CAPACITY)
      assert_true(c.lift[k] > 0.1 && c.run[0].layout.recompute == ISO_LAYOUT_FULL);
    else
      assert_int_equal(c.binding, k);
    iso_choice_close(&c);
  }
}

// Other layouts can only add to the choice; they do where the memory holds no copy.
static void test_any_layout(void **state) {
  (void)state;
  bench b = {0};
  iso_choice some, all;
  iso_err err = {0};
  open_bench(&b);
  b.q.budget.tok = 1e9;
  b.q.at = &b.at[2];
  b.q.n = 1;
  assert_int_equal(iso_choice_run_all(&b.q, &some, &err), ISO_OK);
  b.q.model_parallel = true;
  assert_int_equal(iso_choice_run_all(&b.q, &all, &err), ISO_OK);
  assert_true(all.n > some.n && all.run[0].score.mean >= some.run[0].score.mean);
  for (int i = 0; i < all.n; i++) {
    const iso_layout *l = &all.run[i].layout;
    assert_int_equal(all.run[i].share == ISO_CHOICE_MODEL, l->tensor * l->pipeline * l->context > 1);
    assert_int_equal(iso_layout_devices(l), 16);
  }
  iso_choice_close(&some);
  iso_choice_close(&all);
}

static void test_refused(void **state) {
  (void)state;
  bench b = {0};
  iso_choice c;
  iso_err err = {0};
  iso_choice_goal g;
  open_bench(&b);
  assert_int_equal(iso_choice_run_all(&b.q, &c, &err), ISO_EINVAL);  // nothing bounds it
  b.q.budget.tok = 1e9;
  b.q.job.batch = 3;
  b.q.at = &b.at[1];
  b.q.n = 1;
  assert_int_equal(iso_choice_run_all(&b.q, &c, &err), ISO_EINVAL);
  assert_non_null(strstr(err.msg, "4 x a100-80: a batch of 3"));
  b.q.job.batch = 128;
  b.at[1].devices = 12;
  assert_int_equal(iso_choice_run_all(&b.q, &c, &err), ISO_EINVAL);
  assert_non_null(strstr(err.msg, "nodes of 8"));
  b.at[1].devices = 4;
  b.m[0].usd_h = NAN;
  assert_int_equal(iso_choice_run_all(&b.q, &c, &err), ISO_EUNSUP);
  b.q.goal = ISO_CHOICE_TOKENS_PER_S;  // needs no price
  assert_int_equal(iso_choice_run_all(&b.q, &c, &err), ISO_OK);
  assert_true(isnan(c.run[0].usd.mean) && c.run[0].score.mean > 0);
  iso_choice_close(&c);
  b.m[0].mem_b = 1e9;
  assert_int_equal(iso_choice_run_all(&b.q, &c, &err), ISO_ENOMEM);
  open_bench(&b);
  memset(&b, 0, sizeof b);
  open_bench(&b);
  b.q.budget.usd = 1e-6;
  assert_int_equal(iso_choice_run_all(&b.q, &c, &err), ISO_EBUDGET);
  b.q.law = &iso_law_farseer;
  b.q.set = &iso_law_farseer.consts[0];
  assert_int_equal(iso_choice_run_all(&b.q, &c, &err), ISO_EUNSUP);
  assert_int_equal(iso_choice_goal_find("loss-per-euro", &g, &err), ISO_EINVAL);
  for (int k = 0; k < ISO_CHOICE_GOALS; k++) {
    assert_int_equal(iso_choice_goal_find(iso_choice_goal_name((iso_choice_goal)k), &g, &err), ISO_OK);
    assert_int_equal(g, k);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_enumeration), cmocka_unit_test(test_lift), cmocka_unit_test(test_binding),
                                     cmocka_unit_test(test_any_layout), cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
