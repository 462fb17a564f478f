// Lifetime optima: the published table entry, the condition of the optimum, prices, and where the best way changes.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "plan/lifetime.h"

// Sardana et al.'s constants: only these exponents give their table (alpha 0.336, beta 0.283).
static void sardana(double *p) {
  p[0] = log(406.4);
  p[1] = log(410.7);
  p[2] = log(1.69);
  p[3] = 0.336;
  p[4] = 0.283;
}

// Tokens for which n parameters are the training optimum: alpha A / N^alpha = beta B / D^beta.
static double chinchilla_tokens(const double *p, double n) { return pow(p[4] * exp(p[1]) / (p[3] * exp(p[0]) * pow(n, -p[3])), 1 / p[4]); }

static iso_lifetime_job job_of(const double *p, double n, double serve_tok) {
  return (iso_lifetime_job){.law = &iso_law_chinchilla,
                            .p = p,
                            .loss = iso_law_nd(&iso_law_chinchilla, p, n, chinchilla_tokens(p, n)),
                            .serve_tok = serve_tok,
                            .train_price = 1,
                            .serve_price = 1};
}

static void near(double got, double want, double tol) {
  if (fabs(got - want) > tol * fabs(want)) fail_msg("%.9g, expected %.9g", got, want);
}

// arXiv:2401.00448: the quality of a 7B model for 1e11 served tokens is cheapest at 6B and 1.18 times the tokens.
static void test_published(void **s) {
  (void)s;
  double p[ISO_LAW_PARAM_MAX];
  sardana(p);
  iso_lifetime_job j = job_of(p, 7e9, 1e11);
  iso_lifetime_way plain = iso_lifetime_way_plain();
  iso_lifetime_point best, chin;
  iso_err err = {0};
  near(chinchilla_tokens(p, 7e9), 276.4e9, 2e-4);
  assert_int_equal(iso_lifetime_optimum(&j, &plain, &best, &err), ISO_OK);
  near(best.params, 6.000e9, 2e-4);
  near(best.tokens, 325.0e9, 2e-4);
  assert_int_equal(iso_lifetime_at(&j, &plain, 7e9, &chin, &err), ISO_OK);
  near(chin.tokens, 276.4e9, 2e-4);
  near(best.cost / chin.cost - 1, -0.0085, 6e-3);
  near(best.tokens / chin.tokens, 1.176, 3e-4);
  near(iso_lifetime_condition(&j, &best), 1, 1e-6);
  near(best.cost, 6 * best.params * best.tokens + 2 * best.params * 1e11, 1e-12);
  assert_true(fabs(iso_lifetime_condition(&j, &chin) - 1) > 0.05);
}

// Without serving it is the training optimum; the condition holds whatever is served and whatever a FLOP costs.
static void test_condition(void **s) {
  (void)s;
  double p[ISO_LAW_PARAM_MAX];
  sardana(p);
  iso_lifetime_way plain = iso_lifetime_way_plain();
  iso_lifetime_point at;
  iso_err err = {0};
  iso_lifetime_job j = job_of(p, 1e9, 0);
  assert_int_equal(iso_lifetime_optimum(&j, &plain, &at, &err), ISO_OK);
  near(at.params, 1e9, 1e-5);
  for (double q = 1e9; q < 1e15; q *= 10)
    for (double price = 0.1; price < 20; price *= 3) {
      iso_lifetime_point halved;
      j = job_of(p, 3e9, q);
      j.serve_price = price;
      assert_int_equal(iso_lifetime_optimum(&j, &plain, &at, &err), ISO_OK);
      near(iso_lifetime_condition(&j, &at), 1, 1e-5);
      assert_true(at.params < 3e9 * (1 + 1e-6));
      // A plain scan finds nothing cheaper.
      for (double n = at.params / 4; n < at.params * 4; n *= 1.05)
        if (iso_lifetime_at(&j, &plain, n, &halved, &err) == ISO_OK) assert_true(halved.cost >= at.cost * (1 - 1e-12));
    }
  // What counts is the ratio of prices times tokens: twice the price is twice the tokens.
  iso_lifetime_point twice;
  j = job_of(p, 3e9, 1e12);
  j.serve_price = 2;
  assert_int_equal(iso_lifetime_optimum(&j, &plain, &at, &err), ISO_OK);
  j = job_of(p, 3e9, 2e12);
  assert_int_equal(iso_lifetime_optimum(&j, &plain, &twice, &err), ISO_OK);
  near(at.params, twice.params, 1e-6);
}

// Compression that adds loss and halves what serving costs pays from some number of tokens on; parts add up.
static void test_ways(void **s) {
  (void)s;
  double p[ISO_LAW_PARAM_MAX];
  sardana(p);
  iso_lifetime_job j = job_of(p, 7e9, 0);
  iso_lifetime_way way[2] = {iso_lifetime_way_plain(),
                             {.name = "int8", .loss_added = 0.01, .tune_tok = 1e9, .compress_flop_per_param = 2e6, .serve_scale = 0.5}};
  iso_lifetime_point at, a, b;
  iso_err err = {0};
  int best;
  assert_int_equal(iso_lifetime_choose(&j, way, 2, &best, &at, &err), ISO_OK);
  assert_int_equal(best, 0);
  j.serve_tok = 1e15;
  assert_int_equal(iso_lifetime_choose(&j, way, 2, &best, &at, &err), ISO_OK);
  assert_int_equal(best, 1);
  near(at.train_cost + at.tune_cost + at.compress_cost + at.serve_cost, at.cost, 1e-12);
  near(at.tune_flop, 6 * at.params * 1e9, 1e-12);
  near(at.compress_cost, 2e6 * at.params, 1e-12);
  near(at.serve_cost, 0.5 * 2 * at.params * 1e15, 1e-12);
  near(iso_law_nd(&iso_law_chinchilla, p, at.params, at.tokens) + 0.01, j.loss, 1e-9);
  double q = iso_lifetime_switch(&j, &way[0], &way[1], 1e6, 1e15);
  assert_true(q > 1e6 && q < 1e15);
  j.serve_tok = q;
  assert_int_equal(iso_lifetime_optimum(&j, &way[0], &a, &err), ISO_OK);
  assert_int_equal(iso_lifetime_optimum(&j, &way[1], &b, &err), ISO_OK);
  near(a.cost, b.cost, 1e-8);
  j.serve_tok = q * 0.99;
  assert_int_equal(iso_lifetime_choose(&j, way, 2, &best, &at, &err), ISO_OK);
  assert_int_equal(best, 0);
  j.serve_tok = q * 1.01;
  assert_int_equal(iso_lifetime_choose(&j, way, 2, &best, &at, &err), ISO_OK);
  assert_int_equal(best, 1);
  assert_true(isnan(iso_lifetime_switch(&j, &way[0], &way[1], q * 2, q * 4)));
}

// Other inputs of the law count: with few distinct tokens the same loss takes a larger model.
static void test_inputs(void **s) {
  (void)s;
  const iso_law *l;
  iso_err err = {0};
  assert_int_equal(iso_law_find("data_constrained", &l, &err), ISO_OK);
  double x[ISO_LAW_INPUT_MAX];
  iso_law_absent(l, x);
  int u = iso_law_input_find(l, "unique_tokens");
  assert_true(u >= 0);
  iso_lifetime_way plain = iso_lifetime_way_plain();
  iso_lifetime_job j = {.law = l, .p = l->consts[0].p, .loss = 2.3, .serve_tok = 1e11, .train_price = 1, .serve_price = 1};
  iso_lifetime_point free_data, few;
  assert_int_equal(iso_lifetime_optimum(&j, &plain, &free_data, &err), ISO_OK);
  x[u] = free_data.tokens / 10;
  j.x = x;
  assert_int_equal(iso_lifetime_optimum(&j, &plain, &few, &err), ISO_OK);
  assert_true(few.params > free_data.params && few.cost > free_data.cost);
  near(iso_lifetime_condition(&j, &few), 1, 1e-4);
  x[l->at_params] = few.params;
  x[l->at_tokens] = few.tokens;
  near(l->value(j.p, x, NULL), 2.3, 1e-9);
}

static void test_refused(void **s) {
  (void)s;
  double p[ISO_LAW_PARAM_MAX];
  sardana(p);
  iso_lifetime_job j = job_of(p, 7e9, 1e11);
  iso_lifetime_way plain = iso_lifetime_way_plain();
  iso_lifetime_point at;
  iso_err err = {0};
  assert_int_equal(iso_lifetime_at(&j, &plain, 5e8, &at, &err), ISO_EBUDGET);
  j.loss = 1.68;
  assert_int_equal(iso_lifetime_optimum(&j, &plain, &at, &err), ISO_EBUDGET);
  j.loss = 2;
  j.serve_price = 0;
  assert_int_equal(iso_lifetime_optimum(&j, &plain, &at, &err), ISO_EINVAL);
  j.serve_price = NAN;
  assert_int_equal(iso_lifetime_optimum(&j, &plain, &at, &err), ISO_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_published), cmocka_unit_test(test_condition), cmocka_unit_test(test_ways),
                                     cmocka_unit_test(test_inputs), cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
