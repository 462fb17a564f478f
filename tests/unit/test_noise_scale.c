// Gradient noise scale: expectations put in exactly, sampled gradients of known noise, error of the estimate, refusals.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "base/rng.h"
#include "plan/noise_scale.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.12g, expected %.12g", got, want);
}

// |g_B|^2 = |G|^2 + tr(Sigma) / B put in as it is comes out, whatever the two batches.
static void test_exact(void **state) {
  (void)state;
  iso_err e = {0};
  static const double batch[3][2] = {{1, 2}, {8, 512}, {4096, 524288}};
  for (int i = 0; i < 3; i++) {
    iso_noise_scale s;
    iso_noise_answer a;
    assert_int_equal(iso_noise_scale_open(batch[i][0], batch[i][1], &s, &e), ISO_OK);
    for (int k = 1; k <= 3; k++) assert_int_equal(iso_noise_scale_add(&s, 0.02 + 40.0 * k / batch[i][0], 0.02 + 40.0 * k / batch[i][1], &e), ISO_OK);
    assert_int_equal(iso_noise_scale_get(&s, &a, &e), ISO_OK);
    near(a.grad_sq, 0.02, 1e-9);
    near(a.trace, 80, 1e-12);
    near(a.batch, 4000, 1e-9);
    near(a.se, 2000 / sqrt(3), 1e-9);  // traces 40, 80, 120: standard deviation 40 of three, over |G|^2
  }
}

// Squared length of the mean gradient of `n` examples in DIM dimensions and, from the first `few` of them, of the small batch.
static void draw(uint64_t seed, uint64_t step, int few, int n, double *small_sq, double *big_sq) {
  enum { DIM = 20 };
  double part[DIM] = {0}, all[DIM] = {0};
  *small_sq = *big_sq = 0;
  for (int i = 0; i < n; i++)
    for (int k = 0; k < DIM; k++) {
      double g = 0.1 + (1 + 0.1 * k) * iso_rng_normal(seed, ISO_RNG_TEST, step, (uint64_t)(i * DIM + k));
      all[k] += g / n;
      if (i < few) part[k] += g / few;
    }
  for (int k = 0; k < DIM; k++) {
    *small_sq += part[k] * part[k];
    *big_sq += all[k] * all[k];
  }
}

// Gradients with mean 0.1 and deviations 1, 1.1, ... 2.9 in 20 dimensions: |G|^2 = 0.2, tr(Sigma) = 82.7, B_simple = 413.5. The small batch is
// part of the big one, as micro-batches are. Over 40 sets the estimate is within 2 of its standard errors 80 to 100% of the time.
static void test_sampled(void **state) {
  (void)state;
  enum { SETS = 40, STEPS = 60, FEW = 8, MANY = 256 };
  iso_err e = {0};
  int inside = 0;
  double mean = 0;
  for (uint64_t seed = 0; seed < SETS; seed++) {
    iso_noise_scale s;
    iso_noise_answer a;
    assert_int_equal(iso_noise_scale_open(FEW, MANY, &s, &e), ISO_OK);
    for (uint64_t t = 0; t < STEPS; t++) {
      double x, y;
      draw(seed, t, FEW, MANY, &x, &y);
      assert_int_equal(iso_noise_scale_add(&s, x, y, &e), ISO_OK);
    }
    assert_int_equal(iso_noise_scale_get(&s, &a, &e), ISO_OK);
    inside += fabs(a.batch - 413.5) < 2 * a.se;
    mean += a.batch / SETS;
    assert_true(a.se > 0 && a.se < 150);
  }
  print_message("mean of %d estimates %.1f, expected 413.5; %d inside two standard errors\n", SETS, mean, inside);
  near(mean, 413.5, 0.05);
  assert_in_range(inside, SETS * 80 / 100, SETS);
}

static void test_bad(void **state) {
  (void)state;
  iso_err e = {0};
  iso_noise_scale s;
  iso_noise_answer a;
  assert_int_equal(iso_noise_scale_open(8, 8, &s, &e), ISO_EINVAL);
  assert_int_equal(iso_noise_scale_open(0, 8, &s, &e), ISO_EINVAL);
  assert_int_equal(iso_noise_scale_open(8, NAN, &s, &e), ISO_EINVAL);
  assert_int_equal(iso_noise_scale_open(8, 64, &s, &e), ISO_OK);
  assert_int_equal(iso_noise_scale_get(&s, &a, &e), ISO_ENUM);
  assert_int_equal(iso_noise_scale_add(&s, -1, 1, &e), ISO_EINVAL);
  assert_int_equal(iso_noise_scale_add(&s, NAN, 1, &e), ISO_EINVAL);
  assert_int_equal(s.n, 0);
  // The big batch's gradient is the longer one: no noise to be seen.
  assert_int_equal(iso_noise_scale_add(&s, 1, 2, &e), ISO_OK);
  assert_int_equal(iso_noise_scale_get(&s, &a, &e), ISO_ENUM);
  assert_non_null(strstr(e.hint, "more steps"));
}

// Steps whose batches have sizes of their own tell the same two terms.
static void test_sizes(void **state) {
  (void)state;
  iso_err e = {0};
  iso_noise_scale s;
  iso_noise_answer a;
  assert_int_equal(iso_noise_scale_open(8, 64, &s, &e), ISO_OK);
  for (int k = 0; k < 6; k++) {
    double few = 3 + k, many = 20 + 7 * k;
    assert_int_equal(iso_noise_scale_add_at(&s, few, many, 0.5 + 30 / few, 0.5 + 30 / many, &e), ISO_OK);
  }
  assert_int_equal(iso_noise_scale_get(&s, &a, &e), ISO_OK);
  near(a.grad_sq, 0.5, 1e-12);
  near(a.batch, 60, 1e-12);
  assert_int_equal(iso_noise_scale_add_at(&s, 8, 8, 1, 1, &e), ISO_EINVAL);
  assert_int_equal(s.n, 6);
}

// After n steps the window's sums are those of a scale that got the steps it says it holds and no others.
static void test_window(void **state) {
  (void)state;
  iso_err e = {0};
  iso_noise_window w;
  assert_int_equal(iso_noise_window_open(8, 64, &w, &e), ISO_OK);
  for (int n = 1; n <= 300; n++) {
    iso_noise_scale s;
    iso_noise_answer a, b;
    assert_int_equal(iso_noise_window_add(&w, 8, 64, 2 + 1.0 / n, 1 + 0.5 / n, &e), ISO_OK);
    assert_int_equal(w.n, n);
    assert_int_equal(iso_noise_scale_open(8, 64, &s, &e), ISO_OK);
    for (int64_t k = w.old_from + 1; k <= n; k++) assert_int_equal(iso_noise_scale_add(&s, 2 + 1.0 / (double)k, 1 + 0.5 / (double)k, &e), ISO_OK);
    assert_int_equal(w.old.n, s.n);
    assert_int_equal(iso_noise_scale_get(&w.old, &a, &e), ISO_OK);
    assert_int_equal(iso_noise_scale_get(&s, &b, &e), ISO_OK);
    near(a.batch, b.batch, 1e-12);
    if (n < 16) assert_int_equal(w.old.n, n);
    if (n >= 16) assert_true(2 * w.old.n >= n && 4 * w.old.n <= 3 * n);
  }
  assert_int_equal(iso_noise_window_open(8, 8, &w, &e), ISO_EINVAL);
}

// (S/Smin - 1)(E/Emin - 1) = 1 at every batch, two and two at the critical one.
static void test_tradeoff(void **state) {
  (void)state;
  double s, x;
  iso_noise_tradeoff(1e5, 1e5, &s, &x);
  near(s, 2, 1e-12);
  near(x, 2, 1e-12);
  iso_noise_tradeoff(1e5, 2e4, &s, &x);
  near(s, 6, 1e-12);
  near((s - 1) * (x - 1), 1, 1e-12);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_exact),  cmocka_unit_test(test_sampled),  cmocka_unit_test(test_sizes),
                                     cmocka_unit_test(test_window), cmocka_unit_test(test_tradeoff), cmocka_unit_test(test_bad)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
