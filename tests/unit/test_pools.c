// Data pools: the released code's values for mixtures, the choice by budget, derivatives, limits.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/pools.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.12g, expected %.12g", got, want);
}

static const iso_pool_row POOL[] = {{12.8e6, 0.20, 1.2}, {12.8e6, 0.16, 1.8}, {12.8e6, 0.11, 2.5}, {12.8e6, 0.06, 3.0}};

// Oracle: func_effective_utility_aggregation of the authors' code (locuslab/scaling_laws_data_filtering), a = 0.1, no floor, for the best
// one to four of these pools at three budgets. The more compute, the more of the worse pools belong in the mixture.
static void test_released_code(void **state) {
  (void)state;
  static const double SEEN[] = {32e6, 128e6, 640e6}, WANT[][4] = {{0.54785241858, 0.540582245895, 0.581022793479, 0.631782552132},
                                                                  {0.531716840917, 0.464652819329, 0.485049855146, 0.533493941925},
                                                                  {0.531651914707, 0.449639462328, 0.44079741973, 0.470958251633}};
  static const unsigned BEST[] = {3, 3, 7};
  for (int i = 0; i < 3; i++) {
    iso_pools_choice c;
    iso_err e = {0};
    for (int k = 0; k < 4; k++) near(iso_pools_error(POOL, 4, (2u << k) - 1, SEEN[i], 1e6, 0), WANT[i][k], 1e-11);
    if (iso_pools_choose(POOL, 4, SEEN[i], 1e6, 0.1, &c, &e) != ISO_OK) fail_msg("%s", e.msg);
    assert_int_equal(c.use, BEST[i]);
    near(c.error, WANT[i][BEST[i] == 7 ? 2 : 1] + 0.1, 1e-11);
    near(c.epochs, SEEN[i] / (12.8e6 * (BEST[i] == 7 ? 3 : 2)), 1e-12);
  }
  // A small budget takes the best pool alone, a very large one all that still teach.
  iso_pools_choice c;
  assert_int_equal(iso_pools_choose(POOL, 4, 5e6, 1e6, 0, &c, NULL), ISO_OK);
  assert_int_equal(c.use, 1);
  near(c.error, pow(5, -0.2), 1e-12);
}

// One pool is the law of one pool; a pool split in two equal halves of one quality is the whole, since a sample comes back as often.
static void test_consistency(void **state) {
  (void)state;
  const double p[] = {log(1e6), log(0.16), log(1.8), log(0.07)};
  for (double seen = 2e6; seen < 3e9; seen *= 3.7) {
    double x[] = {seen, 12.8e6};
    near(iso_pools_error(&POOL[1], 1, 1, seen, 1e6, 0.07), iso_law_filtering.value(p, x, NULL), 1e-12);
    iso_pool_row half[2] = {{6.4e6, 0.16, 0.9}, {6.4e6, 0.16, 0.9}}, part[2] = {{3.2e6, 0.16, 0.45}, {9.6e6, 0.16, 1.35}};
    near(iso_pools_error(half, 2, 3, seen, 1e6, 0.07), iso_law_filtering.value(p, x, NULL), 1e-12);
    near(iso_pools_error(part, 2, 3, seen, 1e6, 0.07), iso_law_filtering.value(p, x, NULL), 1e-12);
  }
}

// The growth against its definition summed epoch by epoch, its derivative against differences, and its end: repetition stops teaching.
static void test_growth(void **state) {
  (void)state;
  double by, seen = 7.3e7, unique = 1e7, tau = 1.7, sum = log(unique / 1e5), h = 1e-6;
  for (int j = 1; j < 8; j++) sum += exp2(-j / tau) * log(fmin((j + 1) * unique, seen) / (j * unique));
  near(iso_pool_growth(seen, unique, 1e5, tau, &by), sum, 1e-13);
  near(by, (iso_pool_growth(seen, unique, 1e5, tau * exp(h), NULL) - iso_pool_growth(seen, unique, 1e5, tau * exp(-h), NULL)) / (2 * h), 1e-7);
  near(iso_pool_growth(5e6, unique, 1e5, tau, NULL), log(50), 1e-14);
  near(iso_pool_growth(1e9, unique, 1e5, tau, NULL), iso_pool_growth(1e15, unique, 1e5, tau, NULL), 1e-12);
  // Without decay (tau without end) repeated samples are as good as new ones.
  near(iso_pool_growth(1e9, unique, 1e5, 1e12, NULL), log(1e4), 1e-9);
}

// Changes of the choice against a fine scan: the same subsets in the same order, each at its budget.
static void test_changes(void **state) {
  (void)state;
  iso_pools_change at[32];
  int n = iso_pools_changes(POOL, 4, 2e6, 5e10, 1e6, 0.02, at, 32), k = 0;
  iso_pools_choice c;
  assert_int_equal(iso_pools_choose(POOL, 4, 2e6, 1e6, 0.02, &c, NULL), ISO_OK);
  unsigned use = c.use;
  for (double seen = 2e6 * 1.001; seen < 5e10; seen *= 1.001) {
    assert_int_equal(iso_pools_choose(POOL, 4, seen, 1e6, 0.02, &c, NULL), ISO_OK);
    if (c.use == use) continue;
    assert_true(k < n && at[k].from == use && at[k].to == c.use);
    near(at[k].seen, seen, 1.1e-3);
    use = c.use;
    k++;
  }
  assert_int_equal(k, n);
  assert_true(n >= 2);
  assert_int_equal(iso_pools_changes(POOL, 4, 2e6, 5e10, 1e6, 0.02, at, 1), 1);
}

// The joint law is law filtering of each pool, with derivatives as central differences say.
static void test_joint_law(void **state) {
  (void)state;
  iso_pools_law l;
  iso_err e = {0};
  assert_int_equal(iso_pools_law_open(3, 1e7, 0.3, &l, &e), ISO_OK);
  assert_int_equal(l.law.n_params, 8);
  double p[8] = {log(1e6), log(0.05), log(0.2), log(1.2), log(0.16), log(1.8), log(0.11), log(2.5)}, g[8], n0, d;
  iso_pool_row row[3];
  const double unique[3] = {1e7, 2e7, 3e7};
  iso_pools_rows(p, 3, unique, row, &n0, &d);
  for (int k = 0; k < 3; k++)
    for (double seen = 3e6; seen < 1e9; seen *= 4) {
      double x[3] = {seen, unique[k], k + 1}, q[4] = {p[0], p[2 + 2 * k], p[3 + 2 * k], p[1]};
      for (int i = 0; i < 8; i++) g[i] = 1e9;
      near(l.law.value(p, x, g), iso_law_filtering.value(q, x, NULL), 1e-14);
      near(l.law.value(p, x, NULL), iso_pools_error(&row[k], 1, 1, seen, n0, d), 1e-12);
      for (int i = 0; i < 8; i++) {
        double keep = p[i], h = 1e-6;
        p[i] = keep + h;
        double up = l.law.value(p, x, NULL);
        p[i] = keep - h;
        double down = l.law.value(p, x, NULL);
        p[i] = keep;
        if (!(fabs((up - down) / (2 * h) - g[i]) < 1e-7)) fail_msg("pool %d, parameter %d: %g, differences %g", k, i, g[i], (up - down) / (2 * h));
      }
    }
  assert_int_equal(iso_pools_law_open(8, 1e7, 0.3, &l, &e), ISO_EINVAL);
}

static void test_refused(void **state) {
  (void)state;
  iso_pools_choice c;
  iso_err e = {0};
  iso_pool_row bad = {1e6, -0.1, 1};
  assert_int_equal(iso_pools_choose(POOL, 0, 1e6, 1e6, 0, &c, &e), ISO_EINVAL);
  assert_int_equal(iso_pools_choose(POOL, 17, 1e6, 1e6, 0, &c, &e), ISO_EINVAL);
  assert_int_equal(iso_pools_choose(POOL, 4, -1, 1e6, 0, &c, &e), ISO_EINVAL);
  assert_int_equal(iso_pools_choose(&bad, 1, 1e6, 1e6, 0, &c, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "b = -0.1"));
  assert_true(isnan(iso_pools_error(POOL, 4, 0, 1e6, 1e6, 0)));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_released_code), cmocka_unit_test(test_consistency), cmocka_unit_test(test_growth),
                                     cmocka_unit_test(test_changes),       cmocka_unit_test(test_joint_law),   cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
