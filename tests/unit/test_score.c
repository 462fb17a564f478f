// Errors of predictions against closed forms, the worst rows against sorting, shuffles that are permutations.
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
#include "base/rng.h"
#include "plan/score.h"

static void near(double got, double want) {
  if (!(fabs(got - want) <= 1e-12 * fmax(1, fabs(want)))) fail_msg("got %.15g, expected %.15g", got, want);
}

// Errors of 0, 10, ..., 100%, upwards and downwards in turn: means and quantiles by hand.
static void test_errors(void **state) {
  (void)state;
  double measured[11], predicted[11], sq = 0, bias = 0;
  iso_score s;
  iso_err e;
  for (int i = 0; i <= 10; i++) {
    measured[i] = 2 + i;
    double off = (i % 2 ? -1 : 1) * 0.1 * i * (i == 10 ? 0.99 : 1);
    predicted[i] = measured[i] * (1 + off);
    sq += pow(log(1 + off), 2);
    bias += off;
  }
  assert_int_equal(iso_score_of(predicted, measured, 11, &s, &e), ISO_OK);
  near(s.mape, (5.5 - 0.01) / 11);
  near(s.median_error, 0.5);
  near(s.p90_error, 0.9);
  near(s.bias, bias / 11);
  near(s.sd_log, sqrt(sq / 11));
  iso_score each[2] = {s, s};
  each[1].mape += 0.1;
  each[1].p90_error += 0.2;
  iso_score_splits k = iso_score_splits_of(each, 2);
  near(k.mape, s.mape + 0.05);
  near(k.mape_sd, 0.1 / sqrt(2));
  near(k.p90_error, s.p90_error + 0.1);
  assert_true(isnan(iso_score_splits_of(each, 0).mape) && isnan(iso_score_splits_of(each, 1).mape_sd));
  predicted[3] = 0;
  assert_int_equal(iso_score_of(predicted, measured, 11, &s, &e), ISO_ENUM);
  assert_int_equal(iso_score_of(predicted, measured, 0, &s, &e), ISO_EINVAL);
}

static void test_bias(void **state) {
  (void)state;
  const double predicted[] = {1.1, 2, 0.9, 3, 1.3}, measured[] = {1, 2, 1, 2, 1};
  const int64_t degree[] = {8, 1, 8, 2, 8};
  iso_score_bias b[ISO_SCORE_DEGREES_MAX];
  assert_int_equal(iso_score_by(predicted, measured, degree, 5, b), 3);
  assert_true(b[0].degree == 1 && b[1].degree == 2 && b[2].degree == 8 && b[2].n == 3);
  near(b[1].mean, 0.5);
  near(b[2].mean, 0.1);
  near(b[2].mape, 0.5 / 3);
}

static int down(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

static void test_worst(void **state) {
  (void)state;
  for (int n = 0; n < 60; n++) {
    double predicted[64], measured[64], e[64];
    int64_t at[ISO_SCORE_WORST];
    for (int i = 0; i < n; i++) {
      measured[i] = 1 + iso_rng_unit(1, ISO_RNG_TEST, (uint64_t)n, (uint64_t)i);
      predicted[i] = measured[i] * (0.5 + iso_rng_unit(2, ISO_RNG_TEST, (uint64_t)n, (uint64_t)i));
      e[i] = fabs(predicted[i] / measured[i] - 1);
    }
    int k = iso_score_worst(predicted, measured, n, at);
    assert_int_equal(k, n < ISO_SCORE_WORST ? n : ISO_SCORE_WORST);
    qsort(e, (size_t)n, sizeof *e, down);
    for (int i = 0; i < k; i++) near(fabs(predicted[at[i]] / measured[at[i]] - 1), e[i]);
  }
}

static void test_shuffle(void **state) {
  (void)state;
  int64_t a[50], b[50], same = 0;
  bool seen[50] = {false};
  iso_score_shuffle(3, 0, a, 50);
  iso_score_shuffle(3, 1, b, 50);
  for (int i = 0; i < 50; i++) {
    assert_true(a[i] >= 0 && a[i] < 50 && !seen[a[i]]);
    seen[a[i]] = true;
    same += a[i] == b[i];
  }
  assert_true(same < 10);
  iso_score_shuffle(3, 0, b, 50);
  assert_memory_equal(a, b, sizeof a);
}

int main(void) {
  const struct CMUnitTest t[] = {cmocka_unit_test(test_errors), cmocka_unit_test(test_bias), cmocka_unit_test(test_worst),
                                 cmocka_unit_test(test_shuffle)};
  return cmocka_run_group_tests(t, NULL, NULL);
}
