// Bits to train and serve in: closed forms and published figures of law precision, plain enumerations, refusals.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/bits.h"

// Kumar et al. 2024, appendix K, table 2, as the paper prints them.
#define A 4.299e3
#define B 1.806e4
#define ALPHA 0.4965
#define C_T 0.0598
#define G_D 0.5068
#define G_N 0.3439
#define G_POST 0.5907

static const double *published(void) { return iso_law_precision.consts[0].p; }
static const double *no_offsets(void) { return iso_law_precision.consts[1].p; }

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.12g, expected %.12g", got, want);
}

static iso_bits_point best(const iso_bits_q *q, bool whole) {
  iso_bits_point at;
  iso_err e = {0};
  if (iso_bits_best(q, whole, &at, &e) != ISO_OK) fail_msg("%s", e.msg);
  return at;
}

static void test_share(void **state) {
  (void)state;
  // N_eff / N = 1 - exp(-P / 2.6745) of weights alone, in the main text's formula.
  static const double row[3][2] = {{8, 0.94977}, {3, 0.67428}, {2, 0.52659}};
  for (int i = 0; i < 3; i++) {
    const double bits[3] = {row[i][0], 16, 16};
    near(iso_bits_share(no_offsets(), bits), row[i][1], 1e-5);
    near(iso_bits_share(no_offsets(), bits), 1 - exp(-row[i][0] / 2.6745), 1e-8);
  }
  const double all[3] = {6, 8, 10}, none[3] = {16, 20, INFINITY}, lost[3] = {16, 3, 16};
  near(iso_bits_share(published(), all), (1 - exp(0.3037 - 6 / 2.6745)) * (1 - exp(1.4072 - 8 / 2.2102)) * (1 - exp(2.4185 - 10 / 0.9578)), 1e-8);
  near(iso_bits_share(published(), none), 1, 1e-12);
  assert_true(isnan(iso_bits_share(published(), lost)));  // exp(1.4072 - 3 / 2.2102) > 1: nothing is left
}

// With all gammas equal and no offsets the best bits solve (3 / g) exp(-P / g) = (1 - exp(-P / g)) / P: 5.09 for g = 2.6745. With the paper's
// fit they are 7 to 8. Neither depends on the compute.
static void test_best_bits(void **state) {
  (void)state;
  double one[ISO_LAW_PARAM_MAX];
  memcpy(one, no_offsets(), sizeof one);
  for (int k = 0; k < 3; k++) one[iso_law_param_find(&iso_law_precision, "log_gamma_w") + k] = log(2.6745);
  for (double flop = 1e18; flop < 1e27; flop *= 100) {
    iso_bits_q q = iso_bits_q_default(one);
    q.flop = flop;
    iso_bits_point at = best(&q, false);
    near(at.widest, 5.09, 1e-3);
    near(3 / 2.6745 * exp(-at.widest / 2.6745), (1 - exp(-at.widest / 2.6745)) / at.widest, 1e-4);
    q.p = published();
    at = best(&q, false);
    near(at.widest, 7.002, 3e-4);
    assert_true(best(&q, true).widest == 7);
    near(6.0 / 16 * at.params * at.tokens * at.widest, flop, 1e-9);
    near(at.flop, flop, 1e-9);
  }
}

// At given bits Chinchilla's closed form holds for N_eff: N_eff = G sqrt(f C'), D = sqrt(f C') / G, G = (A / B)^(1 / 2 alpha).
static void test_given_bits(void **state) {
  (void)state;
  iso_bits_q q = iso_bits_q_default(published());
  q.flop = 3e21;
  q.bits[0] = 4;
  q.bits[1] = 8;
  q.bits[2] = 8;
  iso_bits_point at = best(&q, false);
  double f = iso_bits_share(published(), q.bits), root = sqrt(f * q.flop * 16 / 6 / 8), g = pow(A / B, 0.5 / ALPHA);
  near(at.effective_params, g * root, 1e-5);
  near(at.tokens, root / g, 1e-5);
  near(at.effective_params, f * at.params, 1e-12);
  // Width below the widest part costs nothing: what is left to choose is as wide at least.
  q.bits[1] = q.bits[2] = NAN;
  q.bits[0] = 10;
  at = best(&q, true);
  assert_true(at.bits[1] == at.bits[2] && at.bits[1] == 10);
  q.bits[0] = 16;
  at = best(&q, true);
  assert_true(at.bits[1] == 16 && at.widest == 16);
  near(at.share, 1, 1e-12);
}

// At a fixed size more compute asks for more bits (section 4.3.3 of the paper), and bits are where plain enumeration finds them.
static void test_fixed_size(void **state) {
  (void)state;
  double before = 0;
  for (double flop = 1e19; flop < 2e21; flop *= 10) {
    iso_bits_q q = iso_bits_q_default(published());
    q.flop = flop;
    q.params = 1e9;
    iso_bits_point at = best(&q, false);
    double least = INFINITY, where = NAN;
    for (double b = 4; b < 16; b += 0.001) {
      double x[ISO_LAW_INPUT_MAX];
      const double bits[3] = {b, b, b};
      iso_bits_inputs(1e9, flop * 16 / 6 / b / 1e9, bits, INFINITY, x);
      double l = iso_law_precision.value(published(), x, NULL);
      if (l < least) where = b;
      least = fmin(least, l);
    }
    near(at.widest, where, 3e-4);
    assert_true(at.widest > before + 0.1);
    before = at.widest;
  }
}

static void test_quantising(void **state) {
  (void)state;
  const double full[3] = {16, 16, 16}, few[3] = {8, 8, 8};
  double x[ISO_LAW_INPUT_MAX];
  // D_crit = (beta B N^gN e^(P/g) / (gD C_T))^(1 / (gD + beta)) of the main text.
  for (double bits = 3; bits < 7; bits++) {
    double want = pow(ALPHA * B * pow(1e9, G_N) * exp(bits / G_POST) / (G_D * C_T), 1 / (G_D + ALPHA));
    near(iso_bits_critical_tokens(no_offsets(), 1e9, full, bits), want, 1e-6);
  }
  // The loss of quantised weights is least there, with N_eff in place of N; and the published fit's offset makes it come earlier.
  double d = iso_bits_critical_tokens(published(), 2e9, few, 4), l[3];
  for (int i = -1; i <= 1; i++) {
    iso_bits_inputs(2e9, d * exp(0.01 * i), few, 4, x);
    l[i + 1] = iso_law_precision.value(published(), x, NULL);
  }
  assert_true(l[1] < l[0] && l[1] < l[2]);
  near(l[0] - l[1], l[2] - l[1], 0.05);
  assert_true(d < iso_bits_critical_tokens(no_offsets(), 2e9, few, 4));
  assert_true(isinf(iso_bits_critical_tokens(published(), 2e9, few, 8)));
  // delta(1e9, 20e9, 4 bits) = 0.009147 by equation 2.
  iso_bits_q q = iso_bits_q_default(no_offsets());
  q.params = 1e9;
  q.tokens = 20e9;
  q.post_bits = 4;
  for (int k = 0; k < 3; k++) q.bits[k] = 16;
  iso_bits_point at = best(&q, true);
  near(at.post_loss, 0.009147, 6e-5);
  near(at.flop, 6 * 1e9 * 20e9, 1e-12);
}

// A memory caps the size. Compared with all sizes of a grid.
static void test_memory(void **state) {
  (void)state;
  for (int post = 3; post <= 6; post++) {
    iso_bits_q q = iso_bits_q_default(published());
    q.flop = 1e21;
    q.post_bits = post;
    q.params_max = 8 * 2e9 / post;
    iso_bits_point at = best(&q, true);
    double least = INFINITY;
    for (int b = 4; b <= 16; b++)
      for (double n = 1e8; n <= q.params_max; n *= 1.002) {
        const double bits[3] = {b, b, b};
        double x[ISO_LAW_INPUT_MAX];
        iso_bits_inputs(n, q.flop * 16 / 6 / b / n, bits, post, x);
        double l = iso_law_precision.value(published(), x, NULL);
        if (l < least) least = l;
      }
    assert_true(at.loss <= least + 1e-12 && at.loss > least - 1e-4);
    assert_true(at.params <= q.params_max);
    assert_int_equal(at.at_memory, at.params == q.params_max);
  }
  // Tokens alone: the memory gives the size.
  iso_bits_q q = iso_bits_q_default(published());
  q.tokens = 1e11;
  q.params_max = 3e9;
  iso_bits_point at = best(&q, true);
  assert_true(at.params == 3e9 && at.at_memory && at.widest == 16);
}

static void test_refusals(void **state) {
  (void)state;
  iso_bits_q q = iso_bits_q_default(published());
  iso_bits_point at;
  iso_err e = {0};
  assert_int_equal(iso_bits_best(&q, true, &at, &e), ISO_EINVAL);
  q.params = 1e9;
  assert_int_equal(iso_bits_best(&q, true, &at, &e), ISO_EINVAL);
  q.tokens = 1e10;
  assert_int_equal(iso_bits_best(&q, true, &at, &e), ISO_OK);
  q.flop = 1e20;
  assert_int_equal(iso_bits_best(&q, true, &at, &e), ISO_EINVAL);
  q.tokens = NAN;
  q.params_max = 5e8;
  assert_int_equal(iso_bits_best(&q, true, &at, &e), ISO_EINVAL);
  q.params_max = INFINITY;
  q.bits[1] = q.bits[0] = q.bits[2] = 2;
  assert_int_equal(iso_bits_best(&q, true, &at, &e), ISO_ENUM);
  q.bits[1] = 0;
  assert_int_equal(iso_bits_best(&q, true, &at, &e), ISO_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_share),      cmocka_unit_test(test_best_bits),  cmocka_unit_test(test_given_bits),
                                     cmocka_unit_test(test_fixed_size), cmocka_unit_test(test_quantising), cmocka_unit_test(test_memory),
                                     cmocka_unit_test(test_refusals)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
