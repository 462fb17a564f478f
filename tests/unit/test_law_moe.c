// Laws for mixtures of experts: published tables and allocations, the number of experts that is worth having, and what it saves.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/law.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.12g, expected %.12g", got, want);
}

static const double *constants(const iso_law *l, const char *name) {
  const iso_law_const *c = NULL;
  assert_int_equal(iso_law_find_const(l, name, &c, NULL), ISO_OK);
  return c->p;
}

// The least loss at a budget, granularity held (> 0) or chosen among powers of two; *best gets it.
static iso_law_point fine_grained(double flop, double granularity, double *best) {
  const iso_law *l = &iso_law_moe_fine_grained;
  iso_law_point least = {.loss = INFINITY}, o;
  for (double g = granularity > 0 ? granularity : 1; g <= (granularity > 0 ? granularity : 256); g *= 2) {
    double x[4] = {1, 1, g, 64};
    bool edge = true;
    assert_int_equal(iso_law_optimum_numeric(l, l->consts[0].p, x, flop, 1e6, 1e17, NULL, NULL, &o, &edge, NULL), ISO_OK);
    assert_false(edge);
    if (o.loss >= least.loss) continue;
    least = o;
    if (best) *best = g;
  }
  return least;
}

// Krajewski et al., table 2: granularity, active parameters (12 of 8 * 64 + 4 parts of all), tokens and loss of the best mixture.
static void test_fine_grained(void **state) {
  (void)state;
  static const double row[4][5] = {{2.95e18, 8, 1.03e8, 4.37e9, 3.109},
                                   {1.93e20, 16, 1.02e9, 28.94e9, 2.472},
                                   {6.46e21, 32, 7.13e9, 137.6e9, 2.060},
                                   {4.97e25, 64, 1.01e12, 7.94e12, 1.356}};
  for (int i = 0; i < 4; i++) {
    double g = 0;
    iso_law_point o = fine_grained(row[i][0], 0, &g);
    print_message("F %.3g: G %g, active N %.4g, D %.4g, L %.5g\n", row[i][0], g, o.params * 12 / 516, o.tokens, o.loss);
    near(g, row[i][1], 0);
    near(o.loss, row[i][4], 4e-4);
    near(o.params * 12 / 516, row[i][2], 0.006);
    near(o.tokens, row[i][3], 0.025);
    // The budget is spent: the price of the router and of the active parameters, 4096 layers^2 being width^2.
    double layers = cbrt(o.params / (516 * 4096.0)), price = (72 * 4096 * layers * layers + 14 * 64 * layers * 64 * g) * layers;
    near(price * o.tokens, row[i][0], 1e-9);
  }
}

// How much more compute a dense model needs for the loss of the best mixture: 20 times at 1e20 in the paper, and the gap widens.
static void test_dense_multiplier(void **state) {
  (void)state;
  const double *dense = constants(&iso_law_chinchilla, "krajewski2024_dense"), flop[2] = {1e20, 1e25}, want[2] = {21.3, 32};
  for (int i = 0; i < 2; i++) {
    double lo = log(flop[i]), hi = lo + log(1e4), loss = fine_grained(flop[i], 0, NULL).loss;
    for (int k = 0; k < 60; k++) {
      iso_law_point o;
      double mid = 0.5 * (lo + hi);
      assert_int_equal(iso_law_chinchilla.optimum(dense, exp(mid), &o, NULL), ISO_OK);
      if (o.loss > loss)
        lo = mid;
      else
        hi = mid;
    }
    print_message("dense over mixture at %.0e FLOP: %.2f\n", flop[i], exp(lo) / flop[i]);
    near(exp(lo) / flop[i], want[i], 0.01);
  }
}

// Ludziejewski et al., table 1: active parameters and tokens of the optimum with 1, 2 and 8 experts. Printed digits, then 1.2%.
static void test_joint(void **state) {
  (void)state;
  const iso_law *l = &iso_law_moe_joint;
  static const double experts[3] = {1, 2, 8}, flop[3] = {1e20, 1e21, 1e22};
  static const double n[3][3] = {{1.7e9, 1.5e9, 0.99e9}, {5.7e9, 5e9, 3.8e9}, {18.8e9, 17.4e9, 14.4e9}};
  static const double digit[3][3] = {{1e8, 1e8, 1e7}, {1e8, 1e8, 1e8}, {1e8, 1e8, 1e8}};
  static const double d[3][3] = {{9.7e9, 11.4e9, 17e9}, {29.3e9, 33e9, 44.3e9}, {88.6e9, 96e9, 115.8e9}};
  for (int i = 0; i < 3; i++)
    for (int k = 0; k < 3; k++) {
      double x[3] = {1, 1, experts[k]};
      iso_law_point o;
      bool edge = true;
      assert_int_equal(iso_law_optimum_numeric(l, l->consts[0].p, x, flop[i], 1e6, 1e14, NULL, NULL, &o, &edge, NULL), ISO_OK);
      assert_false(edge);
      if (fabs(o.params - n[i][k]) > fmax(0.5 * digit[i][k], 0.012 * n[i][k])) fail_msg("N %g, expected %g", o.params, n[i][k]);
      near(o.tokens, d[i][k], 0.012);
      near(6 * o.params * o.tokens, flop[i], 1e-9);
      // A number of experts has no closed form: it is searched for.
      x[0] = o.params;
      x[1] = o.tokens;
      near(iso_law_solve(l, l->consts[0].p, (double[]){x[0], x[1], NAN}, 2, o.loss, 0.9, 20), experts[k], 1e-6);
    }
}

// Routing helps below 10^(-b/c) parameters and harms above: the loss falls and rises with experts there.
static void test_routing(void **state) {
  (void)state;
  const iso_law *l = &iso_law_moe_routing;
  for (int c = 0; c < 2; c++) {
    const double *p = l->consts[c].p;
    double cutoff = pow(10, -p[1] / p[2]);
    double below[2][2] = {{cutoff / 2, 8}, {cutoff / 2, 64}}, above[2][2] = {{cutoff * 2, 8}, {cutoff * 2, 64}},
           at[2][2] = {{cutoff, 8}, {cutoff, 64}};
    assert_true(l->value(p, below[1], NULL) < l->value(p, below[0], NULL) * (1 - 1e-5));
    assert_true(l->value(p, above[1], NULL) > l->value(p, above[0], NULL) * (1 + 1e-5));
    near(l->value(p, at[1], NULL), l->value(p, at[0], NULL), 1e-12);
    // More experts than E_max say nothing: the count saturates.
    double many[2] = {1e9, 1e7}, more[2] = {1e9, 1e9};
    near(l->value(p, more, NULL), l->value(p, many, NULL), 1e-4);
  }
}

// The best share of active parameters by search against an exhaustive grid of sizes and shares.
static void test_sparsity(void **state) {
  (void)state;
  const iso_law *l = &iso_law_moe_sparsity;
  const double *p = l->consts[0].p;
  double x[3] = {1, 1, 1}, flop = 1e20, share, least = INFINITY;
  iso_law_point o;
  assert_int_equal(iso_law_optimum_over(l, p, x, flop, 10e9, 2, 0.01, 1, &share, &o, NULL), ISO_OK);
  for (double s = 0.01; s <= 1; s *= 1.0005) {
    double y[3] = {10e9, flop / (6 * 10e9 * s), s};
    least = fmin(least, l->value(p, y, NULL));
  }
  print_message("10B parameters at 1e20 FLOP: best active share %.3f, loss %.5f\n", share, o.loss);
  assert_true(share > 0.011 && share < 0.99);
  assert_true(o.loss <= least && o.loss > least - 1e-5);
  near(6 * o.params * share * o.tokens, flop, 1e-9);
}

// Leverage: best granularity by a scan, more of it with fewer active experts and with more compute; closed forms against the search.
static void test_leverage(void **state) {
  (void)state;
  iso_law l = iso_law_moe_leverage;
  const double *p = l.consts[0].p;
  double x[3] = {0.031, 12, 1e22}, best = 0, most = 0, y = l.value(p, x, NULL);
  near(y, 7.2, 0.01);
  for (double g = 1; g < 64; g *= 1.001) {
    double at[3] = {x[0], g, x[2]}, v = l.value(p, at, NULL);
    if (v > most) {
      most = v;
      best = g;
    }
  }
  near(best, exp2(0.117 / (2 * 0.0167)), 1e-3);
  near(best, 11, 0.04);
  double dense[3] = {0.5, 12, 1e22}, small[3] = {0.031, 12, 1e19};
  assert_true(l.value(p, dense, NULL) < 0.5 * y && l.value(p, small, NULL) < y);
  double flop = iso_law_solve(&l, p, x, 2, 5, 1e15, 1e25), share = iso_law_solve(&l, p, x, 0, 5, 1e-3, 1);
  l.inverse = NULL;
  near(iso_law_solve(&l, p, x, 2, 5, 1e15, 1e25), flop, 1e-9);
  near(iso_law_solve(&l, p, x, 0, 5, 1e-3, 1), share, 1e-9);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fine_grained), cmocka_unit_test(test_dense_multiplier), cmocka_unit_test(test_joint),
      cmocka_unit_test(test_routing),      cmocka_unit_test(test_sparsity),         cmocka_unit_test(test_leverage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
