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

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rank)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
