// Training plans: the law's closed form again, every limit kept, shadow prices against finite differences, and what is refused.
// ctest: cost=15
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "plan/law_ask.h"
#include "plan/train_plan.h"

static iso_layout_cal CAL(void) { return iso_layout_cal_default(); }

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("%.9g, expected %.9g", got, want);
}

typedef struct bench {
  iso_layout_machine machine;
  iso_layout_cal cal;
  iso_train_req q;
} bench;

static void open_bench(bench *b, int64_t devices) {
  iso_device_spec s;
  iso_err err = {0};
  assert_int_equal(iso_device_spec_find("a100-80", &s, &err), ISO_OK);
  assert_int_equal(iso_layout_machine_from(&s, &b->machine, &err), ISO_OK);
  b->machine.usd_h = 2;
  b->machine.pue = 1.2;
  b->cal = CAL();
  b->q = (iso_train_req){.law = &iso_law_chinchilla,
                         .set = &iso_law_chinchilla.consts[0],
                         .budget = iso_budget_none(),
                         .machine = &b->machine,
                         .cal = &b->cal,
                         .devices = devices,
                         .vocab = 32000,
                         .seq = 2048,
                         .batch = 512,
                         .g_per_kwh = 400,
                         .unique_tok = INFINITY};
  iso_law_absent(b->q.law, b->q.x);
}

// FLOPs alone: the published optimum at 1e22, 9.058e9 parameters with 20.32 tokens each (Besiroglu et al. 2024), and the envelope theorem:
// dL/dlnC = -beta B / D^beta.
static void test_flops(void **s) {
  (void)s;
  bench b;
  iso_train_plan p;
  iso_err err = {0};
  open_bench(&b, 64);
  b.q.budget.train_flop = 1e22;
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_OK);
  near(p.ideal.params, 9.058e9, 1e-3);
  near(p.ideal.tokens / p.ideal.params, 20.32, 2e-3);
  near(p.ideal.loss, 2.14050, 4e-5);
  near(p.closed.params, p.ideal.params, 1e-3);
  near(p.closed.loss, p.ideal.loss, 1e-7);
  const double *c = b.q.set->p;
  double want = -c[4] * exp(c[1] - c[4] * log(p.ideal.tokens));
  near(p.shadow_closed, want, 1e-6);
  near(p.shadow[0], want, 2e-4);
  assert_int_equal(p.binding, ISO_RES_train_flop);
  // The shape is near, steps are whole, and the budget is kept within one step.
  near(p.params, p.ideal.params, 0.06);
  near(p.use[0].mean, 6 * p.params * p.tokens.mean, 1e-12);
  assert_true(p.use[0].mean <= 1e22 && p.use[0].mean > 1e22 - 6 * p.params * 2048 * 512);
  assert_true(p.tokens.lo == p.tokens.mean && p.tokens.hi == p.tokens.mean);
  // Costs follow from the step: seconds, device-hours, joules at the meter, grams.
  near(p.use[1].mean, p.steps * p.step.step_s, 1e-9);
  near(p.use[2].mean, p.use[1].mean / 3600 * 2 * (double)iso_layout_devices(&p.layout), 1e-9);
  near(p.use[3].mean, p.steps * p.step.joule, 1e-9);
  near(p.use[4].mean, p.use[3].mean / 3.6e6 * 400, 1e-9);
  near(p.use[1].hi / p.use[1].mean, p.step.hi_s / p.step.step_s, 1e-9);
  assert_true(p.loss.lo < p.loss.mean && p.loss.mean < p.loss.hi && p.sets == 3 && p.loss.hi < 2.2);
  assert_true(!p.loss_is_between && p.between_laws == 8 && p.between.lo < p.loss.lo && p.between.hi > p.loss.hi);
  // It holds what is published of the set's own constants.
  iso_fit_interval v;
  assert_int_equal(iso_law_predict_interval(b.q.law, b.q.set, (double[ISO_LAW_INPUT_MAX]){p.params, p.tokens.mean}, 0.9, &v, &err), ISO_OK);
  assert_true(v.lo < v.mid && v.mid < v.hi && p.loss.lo <= v.lo && p.loss.hi >= v.hi);
  assert_true(p.params_lo <= p.ideal.params && p.params_hi >= p.ideal.params && p.params_hi > p.params_lo);
  // A set of other text stands alone.
  assert_int_equal(iso_law_find_const(b.q.law, "krajewski2024_dense", &b.q.set, &err), ISO_OK);
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_OK);
  // No other set of these runs and no uncertainty: how far laws of other runs lie apart, at this size and tokens.
  iso_fit_interval apart = iso_law_between(p.loss.mean, p.params, p.tokens.mean, 0.9, NULL);
  assert_true(p.sets == 1 && p.loss_is_between && p.loss.lo == apart.lo && p.loss.hi == apart.hi && p.params_lo == p.params_hi);
}

// A limit in any other resource is kept and binds; of two the tighter one does.
static void test_limits(void **s) {
  (void)s;
  static const struct {
    iso_res r;
    double limit;
  } ONE[] = {{ISO_RES_wall, 10 * 86400.0}, {ISO_RES_usd, 3e4}, {ISO_RES_energy, 3e10}, {ISO_RES_co2, 3e6}};
  size_t n = getenv("ISOFLOP_TEST_SMALL") ? 2 : ISO_COUNT(ONE);  // under sanitizers: the same code, two resources
  for (size_t i = 0; i < n; i++) {
    bench b;
    iso_train_plan p, more;
    iso_err err = {0};
    open_bench(&b, 64);
    *iso_budget_at(&b.q.budget, ONE[i].r) = ONE[i].limit;
    assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_OK);
    assert_int_equal(p.binding, ONE[i].r);
    int k = 0;
    while (iso_train_limit(k) != ONE[i].r) k++;
    assert_true(p.use[k].mean <= ONE[i].limit * (1 + 1e-9) && p.use[k].mean > 0.98 * ONE[i].limit);
    near(p.shadow[k], p.shadow_closed, 0.02);
    assert_true(p.tokens.lo < p.tokens.mean && p.tokens.mean < p.tokens.hi);
    // More of it is better by about what the shadow price says.
    *iso_budget_at(&b.q.budget, ONE[i].r) = 1.2 * ONE[i].limit;
    assert_int_equal(iso_train_plan_run(&b.q, &more, &err), ISO_OK);
    near(more.ideal.loss - p.ideal.loss, p.shadow[k] * log(1.2), 0.1);
  }
  bench b;
  iso_train_plan p;
  iso_err err = {0};
  open_bench(&b, 64);
  b.q.budget.wall = 10 * 86400.0;
  b.q.budget.usd = 1e4;
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_OK);
  assert_int_equal(p.binding, ISO_RES_usd);
  assert_true(p.use[1].mean < b.q.budget.wall && p.use[2].mean <= 1e4 * (1 + 1e-9) && p.shadow[1] == 0);
  // A limit on tokens with time to spare asks for a larger model.
  b.q.budget.usd = INFINITY;
  b.q.budget.tok = 2e9;
  iso_train_plan few;
  assert_int_equal(iso_train_plan_run(&b.q, &few, &err), ISO_OK);
  assert_true(few.tokens.mean <= 2e9 && few.ideal.params > p.ideal.params);
}

// A bigger budget never predicts a worse loss, by steps of 2% and of factors. Returns whether the law's set plans at all.
static bool never_worse(const iso_law *law, const iso_law_const *set, iso_res r, double from, int64_t devices) {
  static const double STEP[] = {1.02, 1.02, 1.3, 1.02, 4, 1.02, 30};
  bench b;
  iso_train_plan p;
  iso_err err = {0};
  double limit = from, ideal = INFINITY, loss = INFINITY;
  bool any = false;
  open_bench(&b, devices);
  b.q.law = law;
  b.q.set = set;
  b.q.batch = 64;
  iso_law_absent(law, b.q.x);
  for (size_t n = 0; n < ISO_COUNT(STEP); n++) {
    *iso_budget_at(&b.q.budget, r) = limit;
    if (iso_train_plan_run(&b.q, &p, &err) != ISO_OK) break;
    any = true;
    if (!(p.ideal.loss <= ideal * (1 + 1e-9) && p.loss.mean <= loss * (1 + 1e-9)))
      fail_msg("%s, %s: %.9g, %.9g after %.9g, %.9g with %g %s", law->base.name, set->name, p.ideal.loss, p.loss.mean, ideal, loss, limit,
               iso_res_get(r)->name);
    ideal = p.ideal.loss;
    loss = p.loss.mean;
    limit *= STEP[n];
  }
  return any;
}

// Every confirmed set of every law that splits a budget, in FLOPs; one also in seconds and dollars.
static void test_never_worse(void **s) {
  (void)s;
  bool small = getenv("ISOFLOP_TEST_SMALL");
  int sets = 0;
  for (int64_t i = 0; i < iso_law_count(); i++) {
    const iso_law *law = iso_law_at(i);
    for (int k = 0; k < law->n_consts && !(small && k); k++) sets += never_worse(law, &law->consts[k], ISO_RES_train_flop, 1e19, 2);
  }
  print_message("%d sets of laws plan\n", sets);
  assert_true(sets >= (small ? 3 : 8));
  assert_true(never_worse(&iso_law_chinchilla, &iso_law_chinchilla.consts[1], ISO_RES_wall, 86400, 16));
  assert_true(never_worse(&iso_law_chinchilla, &iso_law_chinchilla.consts[0], ISO_RES_usd, 900, 32));
}

// Other sizes reach the same loss and cost more FLOPs.
static void test_others(void **s) {
  (void)s;
  bench b;
  iso_train_plan p;
  iso_err err = {0};
  open_bench(&b, 64);
  b.q.budget.train_flop = 1e21;
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_OK);
  assert_true(p.others >= 5);
  for (int i = 0; i < p.others; i++) {
    near(iso_law_nd(b.q.law, b.q.set->p, p.other[i].params, p.other[i].tokens), p.loss.mean, 1e-9);
    near(p.other[i].flop, 6 * p.other[i].params * p.other[i].tokens, 1e-12);
    assert_true(p.other[i].flop >= p.use[0].mean * (1 - 2e-3));
  }
}

// Against plain enumeration: every size in steps of a sixteenth of an octave with its own layout search, by time and by dollars.
static void test_enumeration(void **s) {
  (void)s;
  for (int k = 0; k < 2; k++) {
    bench b;
    iso_train_plan p;
    iso_err err = {0};
    open_bench(&b, 64);
    if (k)
      b.q.budget.usd = 4e4;
    else
      b.q.budget.wall = 12 * 86400.0;
    assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_OK);
    double least = INFINITY;
    for (double n = p.params / 4; n < p.params * 4; n *= exp2(getenv("ISOFLOP_TEST_SMALL") ? 0.25 : 1.0 / 16)) {
      iso_layout_shape shape;
      iso_layout_counts c;
      iso_layout_search found;
      iso_layout_search_opts o = iso_layout_search_opts_default(&b.machine, 64);
      assert_int_equal(iso_layout_shape_family(n, b.q.vocab, b.q.seq, &shape, &err), ISO_OK);
      iso_layout_count(&shape, &c);
      iso_layout_job job = p.job;
      job.shape = shape;
      if (iso_layout_search_run(&job, &b.machine, &b.cal, &o, &found, &err) != ISO_OK) continue;
      const iso_layout_point *at = &found.best[k ? ISO_LAYOUT_CHEAPEST : ISO_LAYOUT_FASTEST];
      double tokens = floor(k ? 4e4 / at->usd : 12 * 86400.0 / at->step_s) * 512 * 2048;
      least = fmin(least, iso_law_nd(b.q.law, b.q.set->p, (double)c.params, tokens));
      iso_layout_search_close(&found);
    }
    // Costs are interpolated and shapes half an octave round the optimum tried, so the plan may miss the best one by a little.
    print_message("plan %.6f, enumeration %.6f: %.4f%%\n", p.loss.mean, least, 100 * (p.loss.mean / least - 1));
    assert_true(p.loss.mean <= least * 1.001);
  }
}

// One device and endless FLOPs: the largest model that fits.
static void test_memory(void **s) {
  (void)s;
  bench b;
  iso_train_plan p;
  iso_err err = {0};
  open_bench(&b, 1);
  b.q.budget.train_flop = 1e24;
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_OK);
  assert_true(p.memory_binds && p.memory.total_b <= b.machine.mem_b && p.ideal.params < p.closed.params / 4);
  b.machine.mem_b = 1e8;
  memset(&err, 0, sizeof err);
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_ENOMEM);
  assert_non_null(strstr(err.msg, "bytes"));
}

// Muennighoff et al. 2023: worth of repeated tokens, as in their table.
static void test_repetition(void **s) {
  (void)s;
  static const double ROW[][2] = {{2, 1.96820}, {8, 6.62412}, {16, 10.58246}, {40, 15.16746}, {100, 16.36304}};
  for (size_t i = 0; i < ISO_COUNT(ROW); i++) near(iso_train_effective_tok(ROW[i][0] * 3e9, 3e9) / 3e9, ROW[i][1], 1e-5);
  near(iso_train_effective_tok(1e9, 3e9), 1e9, 0);
  bench b;
  iso_train_plan p;
  iso_err err = {0};
  open_bench(&b, 64);
  b.q.budget.train_flop = 1e21;
  b.q.unique_tok = 1e9;
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_OK);
  near(p.epochs, p.tokens.mean / 1e9, 1e-12);
  assert_true(p.loss_effective > p.loss.mean && p.effective_tok < p.tokens.mean && p.loss.hi >= p.loss_effective);
  // So few tokens that the law says more than a uniform guess over the vocabulary has.
  b.q.unique_tok = INFINITY;
  b.q.batch = 1;
  b.q.budget.train_flop = 3e13;
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_EBUDGET);
  assert_non_null(strstr(err.msg, "uniform guess has 10.37"));
}

static void test_refused(void **s) {
  (void)s;
  bench b;
  iso_train_plan p;
  iso_err err = {0};
  open_bench(&b, 64);
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_EINVAL);
  b.q.budget.tok = 1e12;
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_EINVAL);
  b.q.budget.train_flop = 1e3;
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_EBUDGET);
  b.q.budget.train_flop = 1e16;
  b.q.batch = 1 << 20;
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_EBUDGET);
  open_bench(&b, 64);
  iso_law_const unsure = b.q.law->consts[0];
  unsure.confirmed = false;
  b.q.set = &unsure;
  b.q.budget.train_flop = 1e21;
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_EUNSUP);
  open_bench(&b, 64);
  b.q.budget.usd = 1e4;
  b.machine.usd_h = NAN;
  assert_int_equal(iso_train_plan_run(&b.q, &p, &err), ISO_EUNSUP);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_flops),      cmocka_unit_test(test_limits),      cmocka_unit_test(test_never_worse),
                                     cmocka_unit_test(test_others),     cmocka_unit_test(test_enumeration), cmocka_unit_test(test_memory),
                                     cmocka_unit_test(test_repetition), cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
