// Where laws put a budget: closed forms and statements of the papers against searches over the laws themselves.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/law.h"

#define PF_DAY_FLOP 8.64e19

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.12g, expected %.12g within %g", got, want, tol);
}
static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}

// Equation B.16: compute to reach the optimum's loss with n times the best size, over the optimum's.
static double excess(double n) { return n * pow(1 + 0.76 / 0.077 * (1 - pow(1 / n, 0.077)), -1 / 0.76); }

// Kaplan et al., appendix B: exponents, distance from the published trends, and what a size beside the best one costs.
static void test_kaplan(void **state) {
  (void)state;
  iso_err e = {0};
  const iso_law *l = &iso_law_kaplan_compute;
  const double *p = l->consts[0].p;
  iso_law_point a, b;
  ok(l->optimum(p, 1e-6 * PF_DAY_FLOP, &a, &e), &e);
  ok(l->optimum(p, PF_DAY_FLOP, &b, &e), &e);
  double ac = 1 / (1 / 0.76 + 1 / 0.21 + 1 / 0.077);
  near(log(a.loss / b.loss) / log(1e6), ac, 1e-9);
  near(log(b.params / a.params) / log(1e6), ac / 0.077, 1e-9);
  near(ac, 0.052, 0.01);
  // N = 1.3e9 C^0.73 and L = (3.1e8 / C)^0.05 are fits of their own: "0.71, which matches to within a few percent".
  for (double c = 1e-6; c < 2; c *= 10) {
    double flop = c * PF_DAY_FLOP, n = iso_law_kaplan_params.value(iso_law_kaplan_params.consts[0].p, &flop, NULL);
    ok(l->optimum(p, flop, &a, &e), &e);
    print_message("%g PF-days: N = %.3g, published %.3g; L = %.4f, published %.4f\n", c, a.params, n, a.loss,
                  iso_law_kaplan_c.value(iso_law_kaplan_c.consts[0].p, &flop, NULL));
    assert_true(a.params / n > 0.4 && a.params / n < 1.1);
    near(a.loss, iso_law_kaplan_c.value(iso_law_kaplan_c.consts[0].p, &flop, NULL), 0.055);
  }
  // "Models between 0.6x and 2.2x the optimal size can be used with only a 20% increase in compute"; 2.2x takes 45% fewer steps.
  double small = iso_law_tokens_for_loss(l, p, 0.6 * b.params, b.loss), large = iso_law_tokens_for_loss(l, p, 2.2 * b.params, b.loss);
  near(0.6 * small / b.tokens, excess(0.6), 1e-6);
  near(2.2 * large / b.tokens, excess(2.2), 1e-6);
  assert_true(0.6 * small / b.tokens < 1.2);
  near(2.2 * large / b.tokens, 1.2, 0.005);
  near(large / b.tokens, 0.55, 0.02);
  // The critical batch at the optimum and its steps give the tokens back: D = B_crit S_min.
  double batch = iso_law_kaplan_batch.value(iso_law_kaplan_batch.consts[0].p, &b.loss, NULL), x[2] = {b.params, b.tokens / batch};
  near(iso_law_kaplan_steps.value(iso_law_kaplan_steps.consts[0].p, x, NULL), b.loss, 1e-9);
}

// Muennighoff et al.: left out, unique tokens are as many as are trained on; the best split of 9.2e21 FLOPs over 25e9 of them is the one
// that the authors prefer; what an epoch is worth at its margin.
static void test_repeated(void **state) {
  (void)state;
  iso_err e = {0};
  const iso_law *l = &iso_law_data_constrained;
  const double *p = l->consts[0].p;
  for (double n = 1e7; n < 1e12; n *= 10) {
    double x[3] = {n, 2e10, 2e10}, more[3] = {n, 2e10, 9e10};
    assert_true(l->value(p, x, NULL) == iso_law_nd(l, p, n, 2e10) && l->value(p, more, NULL) == l->value(p, x, NULL));
    double plain = exp(p[2]) + exp(p[0]) / pow(n, p[3]) + exp(p[1]) / pow(2e10, p[3]);
    if (n < 1e9)
      near(l->value(p, x, NULL), plain, 1e-12);
    else
      assert_true(l->value(p, x, NULL) > plain);
  }
  double x[3] = {NAN, NAN, 25e9}, flop = 6 * 6.34e9 * 242e9;
  iso_law_point best, at = {.loss = INFINITY};
  bool edge = true;
  ok(iso_law_optimum_numeric(l, p, x, flop, 1e6, 1e13, NULL, NULL, &best, &edge, &e), &e);
  for (double n = 1e9; n < 2e10; n *= 1.0005) {
    double y[3] = {n, flop / (6 * n), 25e9}, loss = l->value(p, y, NULL);
    if (loss < at.loss) at = (iso_law_point){flop, n, y[1], loss};
  }
  print_message("best of 25e9 unique tokens: %.4g parameters, %.4g tokens, %.7f\n", best.params, best.tokens, best.loss);
  assert_false(edge);
  near(best.params, at.params, 1e-3);
  near(best.loss, at.loss, 1e-9);
  // The authors' efficient point was read off a grid.
  near(best.params, 6.34e9, 0.1);
  assert_true(best.loss <= 2.2256440889984477);
  // Past U the worth of one more token falls by exp(-1 / R_D*) an epoch.
  double g[3] = {1e6, 4e9, 1e9}, slope[2];
  for (int i = 0; i < 2; i++) {
    double up[3] = {g[0], g[1] + 1e4, g[2]}, down[3] = {g[0], g[1] - 1e4, g[2]};
    slope[i] = (l->value(p, up, NULL) - l->value(p, down, NULL)) * pow(1e9 * (1 + 15.387756 * -expm1((1 - g[1] / g[2]) / 15.387756)), 1 + p[3]);
    g[1] += g[2];
  }
  near(slope[1] / slope[0], exp(-1 / 15.387756), 1e-4);
}

// The ratio of tokens to parameters does not depend on the budget, and is the least of the loss in M at fixed C.
static void test_overtraining(void **state) {
  (void)state;
  iso_err e = {0};
  const iso_law *l = &iso_law_overtraining;
  for (int c = 0; c < l->n_consts; c++) {
    iso_law_point a, b;
    ok(l->optimum(l->consts[c].p, 1e18, &a, &e), &e);
    ok(l->optimum(l->consts[c].p, 1e24, &b, &e), &e);
    near(a.tokens / a.params, b.tokens / b.params, 1e-9);
    // In the paper's own variables.
    const double *p = l->consts[c].p;
    double eta = p[3] / 2, m = a.tokens / a.params;
    near(exp(p[2]) + (exp(p[0]) * pow(m, eta) + exp(p[1]) * pow(m, -eta)) * pow(1e18, -eta), a.loss, 1e-12);
  }
}

// d L / d V at fixed FLOPs and size: more vocabulary against fewer tokens.
static double vocab_slope(const double *p, double n, double width, double flop, double vocab) {
  double all = (n + vocab * width) / 1e6, d = flop / 1e15 / (6 * all), nv = vocab * width / 1e6;
  return -p[5] * exp(p[1]) * pow(nv, -p[5] - 1) + p[4] * exp(p[2]) * pow(d, -p[4]) / all;
}

static void test_vocab(void **state) {
  (void)state;
  iso_err e = {0};
  const iso_law *l = &iso_law_vocab;
  const double *p = l->consts[0].p;
  static const double SIZE[5][2] = {{1e8, 768}, {2.87e9, 3200}, {7e9, 4096}, {30e9, 6048}, {70e9, 8192}};
  for (int i = 0; i < 5; i++)
    for (double over = 0.2; over < 7; over *= 3) {
      double flop = over * pow(SIZE[i][0] / 0.0833546, 2), lo = log(10), hi = log(1e9), best, x[4] = {NAN, NAN, SIZE[i][1], NAN};
      for (int k = 0; k < 200; k++) {
        double mid = 0.5 * (lo + hi);
        *(vocab_slope(p, SIZE[i][0], SIZE[i][1], flop, exp(mid)) < 0 ? &lo : &hi) = mid;
      }
      iso_law_point pt;
      ok(iso_law_optimum_over(l, p, x, flop, SIZE[i][0], 1, 10, 1e9, &best, &pt, &e), &e);
      near(best, exp(lo), 1e-5);
      near(6 * (pt.params + best * SIZE[i][1]) * pt.tokens, flop, 1e-12);
    }
}

// Approach 2: the vocabulary of least FLOPs a character, d/dV (N + V d) f(V) = 0, grows as N^0.8354 in V d over the seven sizes.
static void test_vocab_derivative(void **state) {
  (void)state;
  enum { SIZES = 7 };
  static const double N[SIZES] = {33e6, 85e6, 151e6, 302e6, 631e6, 1130e6, 2870e6}, D[SIZES] = {512, 768, 768, 1024, 1536, 2048, 3200};
  const double *f = iso_law_vocab_fertility.consts[0].p;
  double nv[SIZES], best = NAN, least = INFINITY;
  for (int i = 0; i < SIZES; i++) {
    double lo = log(100), hi = log(2e5);
    for (int k = 0; k < 200; k++) {
      double u = 0.5 * (lo + hi), v = exp(u),
             slope = D[i] * iso_law_vocab_fertility.value(f, &v, NULL) + (N[i] + D[i] * v) / v * (2 * f[0] * u + f[1]);
      *(slope < 0 ? &lo : &hi) = u;
    }
    nv[i] = exp(lo) * D[i];
  }
  // Their fit: growth from the smallest size, Huber's loss of delta 1e-3 in logarithms.
  for (double gamma = 0.7; gamma < 1; gamma += 1e-6) {
    double sum = 0;
    for (int i = 1; i < SIZES; i++) {
      double r = fabs(gamma * log(N[i] / N[0]) - log(nv[i] / nv[0]));
      sum += r > 1e-3 ? 1e-3 * (r - 0.5e-3) : 0.5 * r * r;
    }
    if (sum < least) best = gamma;
    least = fmin(least, sum);
  }
  print_message("gamma %.7f\n", best);
  near(best, iso_law_vocab_size.consts[1].p[1], 1e-5);
}

// Kumar et al.: equation 16 with its cost of P / 16, and equation 13, tokens beyond which a quantised model gets worse.
static void test_precision(void **state) {
  (void)state;
  iso_err e = {0};
  const iso_law *l = &iso_law_precision;
  const double *p = l->consts[0].p;
  for (double bits = 5; bits <= 12; bits++) {
    double x[6] = {NAN, NAN, bits, bits, bits, INFINITY}, al = p[3], f = 1, flop = 1e20;
    for (int k = 0; k < 3; k++) f *= 1 - exp(p[7 + k] - bits / exp(p[4 + k]));
    iso_law_point best;
    bool edge;
    ok(iso_law_optimum_numeric(l, p, x, flop, 1e5, 1e13, NULL, NULL, &best, &edge, &e), &e);
    near(best.params, pow(exp(p[0] - p[1]) * pow(f, -al), 1 / (2 * al)) * sqrt(flop / (6.0 / 16 * bits)), 1e-6);
    near(6.0 / 16 * bits * best.params * best.tokens, flop, 1e-12);
  }
  // Weights alone save no FLOPs.
  double weights[6] = {1e9, 1e10, 4, INFINITY, INFINITY, INFINITY};
  near(iso_law_flop(l, weights), 6e19, 1e-12);
  for (double bits = 3; bits < 6; bits++) {
    double lo = log(1e8), hi = log(1e14), gp = exp(p[13]), n = 3e7;
    double crit = pow(p[3] * exp(p[1]) * pow(n, p[12]) * exp(bits / gp) / (p[11] * exp(p[10])), 1 / (p[11] + p[3]));
    for (int k = 0; k < 200; k++) {
      double a = lo + (hi - lo) / 3, b = hi - (hi - lo) / 3;
      double xa[6] = {n, exp(a), INFINITY, INFINITY, INFINITY, bits}, xb[6] = {n, exp(b), INFINITY, INFINITY, INFINITY, bits};
      *(l->value(p, xa, NULL) < l->value(p, xb, NULL) ? &hi : &lo) = l->value(p, xa, NULL) < l->value(p, xb, NULL) ? b : a;
    }
    near(exp(0.5 * (lo + hi)), crit, 1e-5);
  }
  // The cost alone is what quantising adds to a model that was trained in 16 bits; to no fewer bits than it was trained in it adds nothing.
  double whole[6] = {1e8, 1e10, INFINITY, INFINITY, INFINITY, 4}, none[6] = {1e8, 1e10, INFINITY, INFINITY, INFINITY, INFINITY};
  double alone[3] = {1e8, 1e10, 4}, same[6] = {1e8, 1e10, 4, INFINITY, INFINITY, 4}, kept[6] = {1e8, 1e10, 4, INFINITY, INFINITY, INFINITY};
  near(l->value(p, whole, NULL) - l->value(p, none, NULL), iso_law_precision_ptq.value(iso_law_precision_ptq.consts[0].p, alone, NULL), 1e-9);
  assert_true(l->value(p, same, NULL) == l->value(p, kept, NULL));
  // Activations at 3 bits have nothing left: such runs "often diverge".
  double lost[6] = {1e8, 1e10, INFINITY, 3, INFINITY, INFINITY};
  assert_true(isnan(l->value(p, lost, NULL)));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_kaplan), cmocka_unit_test(test_repeated),         cmocka_unit_test(test_overtraining),
                                     cmocka_unit_test(test_vocab),  cmocka_unit_test(test_vocab_derivative), cmocka_unit_test(test_precision)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
