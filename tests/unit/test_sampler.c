// Sampling: kept sets against an enumeration by sorting, drawn frequencies by chi-square against the exact softmax, errors.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off: cmocka.h needs what stands above
#include <cmocka.h>
// clang-format on

#include "base/rng.h"
#include "infer/sampler.h"

enum { V = 40, DRAWS = 60000 };

static const float *by;
static int by_logit(const void *a, const void *b) {
  int i = *(const int *)a, j = *(const int *)b;
  return by[i] != by[j] ? (by[i] < by[j] ? 1 : -1) : i - j;
}

// Exact probabilities: sort, cut to k, cut to the first prefix with mass >= p, renormalise. Returns how many are kept.
static int enumerate(const float *logits, const iso_sample_opts *o, double *prob) {
  int order[V], keep = V;
  double w[V], all = 0, sum = 0;
  for (int i = 0; i < V; i++) order[i] = i;
  by = logits;
  qsort(order, V, sizeof *order, by_logit);
  if (o->top_k > 0 && o->top_k < V) keep = (int)o->top_k;
  while (keep > 0 && logits[order[keep - 1]] == -INFINITY) keep--;
  for (int i = 0; i < keep; i++) all += w[i] = exp(((double)logits[order[i]] - (double)logits[order[0]]) / o->temperature);
  int n = 0;
  while (n < keep && (n == 0 || (o->top_p < 1 ? sum < o->top_p * all : true))) sum += w[n++];
  for (int i = 0; i < V; i++) prob[i] = 0;
  for (int i = 0; i < n; i++) prob[order[i]] = w[i] / sum;
  return n;
}

static void fill(float *x, uint64_t which) {
  for (int i = 0; i < V; i++) x[i] = (float)(1.5 * iso_rng_normal(which, ISO_RNG_TEST, 1, (uint64_t)i) - (double)(which % 3) * 4);
  if (which % 2)
    for (int i = 0; i < V; i += 5) x[i] = x[(i + 7) % V];  // ties
  if (which % 4 == 2) x[3] = x[17] = -INFINITY;
}

static const iso_sample_opts CASES[] = {{1, 0, 1},      {0.7, 0, 1},        {2.5, 0, 1},        {1, 1, 1},      {1, 7, 1},
                                        {1, V, 1},      {1, 2 * V, 1},      {1, 0, 0.5},        {1.3, 0, 0.95}, {1, 0, 1e-9},
                                        {0.9, 12, 0.8}, {1.1, 3, 0.999999}, {1, 0, 0.999999999}};

static void test_kept(void **state) {
  (void)state;
  for (uint64_t which = 0; which < 40; which++)
    for (size_t k = 0; k < ISO_COUNT(CASES); k++) {
      float x[V], y[V];
      double prob[V];
      int32_t id;
      fill(x, which);
      memcpy(y, x, sizeof x);
      int n = enumerate(x, &CASES[k], prob), kept = 0;
      assert_int_equal(iso_sample(&CASES[k], x, V, which, k, &id, NULL), ISO_OK);
      for (int i = 0; i < V; i++) {
        kept += x[i] != -INFINITY;
        if ((x[i] != -INFINITY) != (prob[i] > 0)) fail_msg("logits %d, case %zu: token %d", (int)which, k, i);
        assert_true(x[i] == -INFINITY || x[i] == y[i]);
      }
      assert_int_equal(kept, n);
      assert_true(prob[id] > 0);
    }
}

// Pearson's statistic over cells with at least 5 expected draws (the rest pooled) stays below its 1 - 1e-6 quantile,
// by the Wilson-Hilferty approximation; the draws are fixed by the seed, so the test cannot flicker.
static void test_distribution(void **state) {
  (void)state;
  for (uint64_t which = 0; which < 3; which++)
    for (size_t k = 0; k < ISO_COUNT(CASES); k++) {
      float x[V], y[V];
      double prob[V], count[V] = {0}, chi = 0, rest = 0, rest_n = 0;
      fill(x, which);
      int n = enumerate(x, &CASES[k], prob), cells = 0;
      for (int i = 0; i < DRAWS; i++) {
        int32_t id;
        memcpy(y, x, sizeof x);
        assert_int_equal(iso_sample(&CASES[k], y, V, 100 + which, (uint64_t)i, &id, NULL), ISO_OK);
        count[id]++;
      }
      for (int i = 0; i < V; i++) {
        double want = DRAWS * prob[i];
        assert_true(prob[i] > 0 || count[i] == 0);
        if (want < 5) {
          rest += want;
          rest_n += count[i];
          continue;
        }
        chi += (count[i] - want) * (count[i] - want) / want;
        cells++;
      }
      if (rest >= 5) {
        chi += (rest_n - rest) * (rest_n - rest) / rest;
        cells++;
      }
      double df = cells - 1, q = df * pow(1 - 2 / (9 * df) + 4.753 * sqrt(2 / (9 * df)), 3);
      if (df < 1 ? n > 1 && chi > 1 : chi > q) fail_msg("logits %d, case %zu: chi-square %.1f with %g degrees of freedom", (int)which, k, chi, df);
    }
}

// The same seed over steps, and the same step over seeds, are both independent draws.
static void test_seeds(void **state) {
  (void)state;
  int hits = 0;
  for (uint64_t i = 0; i < 20000; i++) {
    float x[2] = {0, 0};
    int32_t a, b;
    assert_int_equal(iso_sample(&CASES[0], x, 2, i, 9, &a, NULL), ISO_OK);
    assert_int_equal(iso_sample(&CASES[0], x, 2, i + 1, 9, &b, NULL), ISO_OK);
    hits += a == b;
  }
  assert_true(abs(hits - 10000) < 350);  // five standard deviations
}

static void test_greedy(void **state) {
  (void)state;
  float x[5] = {-1, 3, -INFINITY, 3, 2};
  int32_t id;
  assert_int_equal(iso_sample(&(iso_sample_opts){0, 0, 1}, x, 5, 1, 1, &id, NULL), ISO_OK);
  assert_int_equal(id, 1);
  float tiny[3] = {-1e30f, 0, -1e30f};  // a temperature so low that other weights vanish
  assert_int_equal(iso_sample(&(iso_sample_opts){1e-300, 0, 0.5}, tiny, 3, 1, 1, &id, NULL), ISO_OK);
  assert_int_equal(id, 1);
  float wide[300];  // ties beyond the cut go by lower id
  for (int i = 0; i < 300; i++) wide[i] = i % 2 ? -0.5f : 0.25f;
  assert_int_equal(iso_sample(&(iso_sample_opts){1, 152, 1}, wide, 300, 1, 1, &id, NULL), ISO_OK);
  assert_true(wide[1] == -0.5f && wide[3] == -0.5f && wide[5] == -INFINITY && wide[298] == 0.25f);
}

static void test_errors(void **state) {
  (void)state;
  const iso_sample_opts wrong[] = {{-1, 0, 1}, {NAN, 0, 1}, {INFINITY, 0, 1}, {1, -1, 1}, {1, 0, 0}, {1, 0, 1.5}, {1, 0, NAN}};
  iso_err err = {0};
  int32_t id;
  float x[3] = {0, 1, 2};
  for (size_t i = 0; i < ISO_COUNT(wrong); i++) {
    assert_int_equal(iso_sample_check(&wrong[i], &err), ISO_EINVAL);
    assert_int_equal(iso_sample(&wrong[i], x, 3, 0, 0, &id, &err), ISO_EINVAL);
  }
  const float values[] = {NAN, INFINITY};
  for (int k = 0; k < 2; k++)
    for (int at = 0; at < 3; at++)
      for (int t = 0; t < 2; t++) {
        float y[3] = {0, 1, 2};
        y[at] = values[k];
        assert_int_equal(iso_sample(&(iso_sample_opts){t, 0, 1}, y, 3, 0, 0, &id, &err), ISO_ENUM);
        char text[32];
        (void)snprintf(text, sizeof text, "token %d ", at);
        assert_non_null(strstr(err.msg, text));
      }
  float none[3] = {-INFINITY, -INFINITY, -INFINITY};
  assert_int_equal(iso_sample(&CASES[0], none, 3, 0, 0, &id, &err), ISO_ENUM);
  assert_int_equal(iso_sample(&CASES[0], none, 0, 0, 0, &id, &err), ISO_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept), cmocka_unit_test(test_distribution), cmocka_unit_test(test_seeds),
                                     cmocka_unit_test(test_greedy), cmocka_unit_test(test_errors)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
