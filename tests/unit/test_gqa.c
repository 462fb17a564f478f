// Cost-optimal heads: the choice against enumeration of sizes and pairs, the effect of the context, what is refused.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/gqa.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.12g, expected %.12g", got, want);
}

static const double SIZE[] = {3e7, 1e8, 4e8, 1.5e9, 6e9}, LAYERS[] = {6, 12, 24, 28, 36};
// Fewer heads need a larger model for the same loss.
static const iso_gqa_pair PAIR[] = {
    {32, 32, {5.30, 0.28, 0.55}}, {32, 8, {5.312, 0.28, 0.55}}, {16, 4, {5.335, 0.28, 0.55}}, {8, 1, {5.38, 0.28, 0.55}}, {4, 1, {5.42, 0.28, 0.55}}};
enum { PAIRS = ISO_COUNT(PAIR) };

static iso_gqa_opts opts(double context, double loss) {
  iso_gqa_opts o = iso_gqa_opts_default();
  o.context_tok = context;
  o.loss = loss;
  o.n_sizes = ISO_COUNT(SIZE);
  o.size_params = SIZE;
  o.size_layers = LAYERS;
  return o;
}

// Formulas by hand: 2 N + 4 T l d_h heads, N + 2 T l d_h kv_heads.
static void test_price(void **state) {
  (void)state;
  iso_gqa_opts o = opts(1000, 2.4);
  iso_gqa_cost c;
  iso_gqa_price(&o, &PAIR[1], 1e9, 10, &c);
  near(c.flop, 2e9 + 4 * 1000.0 * 10 * 64 * 32, 1e-15);
  near(c.elements, 1e9 + 2 * 1000.0 * 10 * 64 * 8, 1e-15);
  near(c.cost, 0.9 * sqrt(c.elements) + 0.1 * cbrt(c.flop), 1e-14);
}

// Oracle: every pair at 4,000 sizes; the cheapest that is good enough costs no less than the choice, and hardly more.
static void test_enumeration(void **state) {
  (void)state;
  for (double context = 500; context < 2e6; context *= 4)
    for (double loss = 2.3; loss < 2.6; loss += 0.05) {
      iso_gqa_opts o = opts(context, loss);
      iso_gqa_cost each[PAIRS], c;
      int best;
      iso_err e = {0};
      if (iso_gqa_choose(&o, PAIR, PAIRS, each, &best, &e) != ISO_OK) fail_msg("%s", e.msg);
      double least = INFINITY;
      for (int h = 0; h < (int)PAIRS; h++)
        for (int i = 0; i <= 4000; i++) {
          double n = 3e7 * pow(200, i / 4000.0), t = 0, l = 36;
          if (iso_law_gqa.value(PAIR[h].p, &n, NULL) > loss) continue;
          for (int k = 0; k < 4; k++)
            if (n >= SIZE[k] && n < SIZE[k + 1]) {
              t = log(n / SIZE[k]) / log(SIZE[k + 1] / SIZE[k]);
              l = LAYERS[k] + t * (LAYERS[k + 1] - LAYERS[k]);
            }
          iso_gqa_price(&o, &PAIR[h], n, l, &c);
          least = fmin(least, c.cost);
        }
      assert_true(each[best].cost <= least * (1 + 1e-12) && each[best].cost > least * 0.998);
      near(iso_law_gqa.value(PAIR[best].p, &each[best].params, NULL), loss, 1e-12);
    }
}

// The paper's finding: with a long context a larger model with fewer heads is cheaper at the same loss.
static void test_context(void **state) {
  (void)state;
  iso_gqa_cost each[PAIRS];
  int first, last = -1, fewer = 0;
  iso_err e = {0};
  for (double context = 100; context < 4e6; context *= 2) {
    iso_gqa_opts o = opts(context, 2.4);
    assert_int_equal(iso_gqa_choose(&o, PAIR, PAIRS, each, &first, &e), ISO_OK);
    if (last >= 0) {
      assert_true(PAIR[first].heads <= PAIR[last].heads && each[first].params >= each[0].params);
      fewer += PAIR[first].heads < PAIR[last].heads;
    }
    last = first;
  }
  assert_true(fewer >= 2 && PAIR[last].heads <= 8);
  // With memory alone counted only the key/value heads matter.
  iso_gqa_opts o = opts(1e6, 2.4);
  o.flop_weight = 0;
  assert_int_equal(iso_gqa_choose(&o, PAIR, PAIRS, each, &first, &e), ISO_OK);
  assert_int_equal(PAIR[first].kv_heads, 1);
}

static void test_refused(void **state) {
  (void)state;
  iso_gqa_cost each[PAIRS];
  int best;
  iso_err e = {0};
  iso_gqa_opts o = opts(1e4, 1.7);  // below every floor, e^0.55 = 1.733
  assert_int_equal(iso_gqa_choose(&o, PAIR, PAIRS, each, &best, &e), ISO_ENUM);
  assert_true(each[0].flag == ISO_GQA_UNREACHABLE && best == -1 && isnan(each[0].cost));
  assert_non_null(strstr(e.msg, "5 have a floor above it"));
  o = opts(1e4, 1.8);  // sizes far beyond the table
  assert_int_equal(iso_gqa_choose(&o, PAIR, PAIRS, each, &best, &e), ISO_ENUM);
  assert_int_equal(each[2].flag, ISO_GQA_OUTSIDE);
  o = opts(-1, 2.4);
  assert_int_equal(iso_gqa_choose(&o, PAIR, PAIRS, each, &best, &e), ISO_EINVAL);
  o = opts(1e4, 2.4);
  o.n_sizes = 1;
  assert_int_equal(iso_gqa_choose(&o, PAIR, PAIRS, each, &best, &e), ISO_EINVAL);
  o = opts(1e4, 2.4);
  o.memory_weight = o.flop_weight = 0;
  assert_int_equal(iso_gqa_choose(&o, PAIR, PAIRS, each, &best, &e), ISO_EINVAL);
  o = opts(1e4, 2.4);
  iso_gqa_pair odd = {6, 4, {5, 0.3, 0.5}};
  assert_int_equal(iso_gqa_choose(&o, &odd, 1, each, &best, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "6 query heads over 4"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_price), cmocka_unit_test(test_enumeration), cmocka_unit_test(test_context),
                                     cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
