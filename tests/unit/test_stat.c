// Rank correlation against worked examples.
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
#include "base/stat.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.15g, expected %.15g", got, want);
}

// The worked example of most textbooks (IQ and hours of television, rho = -29/165), ties by hand, and what has no correlation.
static void test_rank(void **state) {
  (void)state;
  const double iq[] = {106, 100, 86, 101, 99, 103, 97, 113, 112, 110}, hours[] = {7, 27, 2, 50, 28, 29, 20, 12, 6, 17};
  const double x[] = {1, 2, 2, 3}, y[] = {10, 30, 20, 40}, flat[] = {5, 5, 5, 5};
  double rho, p;
  iso_err e;
  assert_int_equal(iso_rank_correlation(iq, hours, 10, &rho, &p, &e), ISO_OK);
  near(rho, -29.0 / 165, 1e-14);
  near(p, 0.5980042, 1e-6);  // erfc(3 * 29 / 165 / sqrt 2)
  assert_int_equal(iso_rank_correlation(x, y, 4, &rho, &p, &e), ISO_OK);
  near(rho, 4.5 / sqrt(4.5 * 5), 1e-14);
  assert_int_equal(iso_rank_correlation(y, y, 4, &rho, &p, &e), ISO_OK);
  near(rho, 1, 1e-14);
  assert_int_equal(iso_rank_correlation(x, flat, 4, &rho, &p, &e), ISO_OK);
  assert_true(isnan(rho) && isnan(p));
  assert_int_equal(iso_rank_correlation(x, y, 2, &rho, &p, &e), ISO_OK);
  assert_true(isnan(rho));
}

// Critical values of tables, and the p values that Besiroglu et al. 2024 print: chi2(5) of 238.40, 84.00 and 86.75.
static void test_chi2(void **state) {
  (void)state;
  near(iso_chi2_above(3.841459, 1), 0.05, 1e-8);
  near(iso_chi2_above(9.210340, 2), 0.01, 1e-8);
  near(iso_chi2_above(11.070498, 5), 0.05, 1e-8);
  near(iso_chi2_above(18.307038, 10), 0.05, 1e-8);
  near(iso_chi2_above(238.40, 5) / 1.69e-49, 1, 5e-3);
  near(iso_chi2_above(84.00, 5) / 1.22e-16, 1, 5e-3);
  near(iso_chi2_above(86.75, 5) / 3.23e-17, 1, 5e-3);
  near(iso_chi2_above(0, 5), 1, 0);
  assert_true(isnan(iso_chi2_above(-1, 5)) && isnan(iso_chi2_above(1, 0)));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rank), cmocka_unit_test(test_chi2)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
