// The envelope method: exponents of known laws, what does not count, noise, bad input.
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
#include "plan/fit/isoflop_envelope.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, expected %.12g +- %g", got, want, tol);
}
static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s", e->msg);
}

// Curves of `sizes` sizes a factor `ratio` apart, `points` a size a factor `grow` apart in tokens, by the Chinchilla law at p.
static void curves(iso_fit_data *d, const double *p, int sizes, double ratio, int points, double grow, double noise, uint64_t seed) {
  ok(iso_fit_data_open(sizes * points, d, NULL), NULL);
  for (int i = 0; i < d->n; i++) {
    d->params[i] = 2e7 * pow(ratio, i / points);
    d->tokens[i] = d->params[i] * pow(grow, i % points);
    d->flop[i] = 6 * d->params[i] * d->tokens[i];
    d->loss[i] = iso_law_nd(&iso_law_chinchilla, p, d->params[i], d->tokens[i]) * exp(noise * iso_rng_normal(seed, ISO_RNG_TEST, 0, (uint64_t)i));
  }
}

// Oracle: the law's own exponent beta / (alpha + beta), for a nearly even split and a lopsided one, and its own N* at one budget.
static void test_known_exponents(void **state) {
  (void)state;
  static const double LOPSIDED[ISO_FIT_P] = {6.0, 9.8, 0.5, 0.30, 0.45};
  for (int k = 0; k < 2; k++) {
    const double *p = k ? LOPSIDED : iso_law_chinchilla.consts[0].p;
    double a = p[ISO_FIT_BETA] / (p[ISO_FIT_ALPHA] + p[ISO_FIT_BETA]);
    iso_fit_data d;
    iso_envelope m;
    iso_law_point best;
    iso_err e = {0};
    iso_envelope_opts o = iso_envelope_opts_default();
    curves(&d, p, 14, 1.5, 30, 1.25, 0, 0);
    ok(iso_envelope_fit(&d, &o, &m, &e), &e);
    ok(iso_law_chinchilla.optimum(p, 1e19, &best, &e), &e);
    print_message("a = %.5f [%.4f, %.4f], true %.5f; b = %.5f; N*(1e19) %.4g, true %.4g; %lld steps of %lld, R2 %.6f\n", m.n_exponent.mid,
                  m.n_exponent.lo, m.n_exponent.hi, a, m.d_exponent.mid, m.n_coef * pow(1e19, m.n_exponent.mid), best.params, (long long)m.steps,
                  (long long)m.sizes, m.r2);
    assert_int_equal(m.sizes, 14);
    assert_in_range(m.steps, 5, 12);  // never the first or last size
    near(m.n_exponent.mid, a, 0.003);
    near(m.d_exponent.mid, 1 - a, 0.003);
    near(m.n_coef * pow(1e19, m.n_exponent.mid) / best.params, 1, 0.02);
    assert_true(m.n_exponent.lo <= m.n_exponent.mid && m.n_exponent.mid <= m.n_exponent.hi && m.n_exponent.hi - m.n_exponent.lo < 0.03);
    assert_true(m.n_lo > 2.5e7 && m.flop_lo < m.flop_hi);
    // A grid of budgets twice as fine changes little.
    double once = m.n_exponent.mid;
    o.bins = 3000;
    o.resamples = 0;
    ok(iso_envelope_fit(&d, &o, &m, &e), &e);
    near(m.n_exponent.mid, once, 5e-4);
    assert_true(isnan(m.n_exponent.lo) && m.resamples == 0);
    iso_fit_data_close(&d);
  }
}

// Small sizes that stopped early win no stretch against sizes trained on: the line does not move, and the steps beside the hole fall out.
static void test_stopped_early(void **state) {
  (void)state;
  const double *p = iso_law_chinchilla.consts[0].p;
  double a = p[ISO_FIT_BETA] / (p[ISO_FIT_ALPHA] + p[ISO_FIT_BETA]);
  iso_fit_data d;
  iso_envelope all, cut;
  iso_err e = {0};
  iso_envelope_opts o = iso_envelope_opts_default();
  curves(&d, p, 14, 1.5, 30, 1.25, 0, 0);
  ok(iso_envelope_fit(&d, &o, &all, &e), &e);
  int64_t n = 0;
  for (int64_t i = 0; i < d.n; i++) {
    if (i / 30 < 6 && i % 30 > 12) continue;  // 15 tokens a parameter: sizes 0 to 5 never reach their best stretch's end
    d.params[n] = d.params[i];
    d.tokens[n] = d.tokens[i];
    d.flop[n] = d.flop[i];
    d.loss[n++] = d.loss[i];
  }
  d.n = n;
  ok(iso_envelope_fit(&d, &o, &cut, &e), &e);
  print_message("steps %lld, cut %lld; a = %.4f, true %.4f\n", (long long)all.steps, (long long)cut.steps, cut.n_exponent.mid, a);
  assert_true(cut.steps < all.steps && cut.steps >= 2);
  near(cut.n_exponent.mid, a, 0.01);
  iso_fit_data_close(&d);
}

// With 0.2% noise on every loss of 20 sets the mean exponent is right and the spread over subsets has the right size.
static void test_noise(void **state) {
  (void)state;
  enum { SETS = 20 };
  const double *p = iso_law_chinchilla.consts[0].p;
  double a = p[ISO_FIT_BETA] / (p[ISO_FIT_ALPHA] + p[ISO_FIT_BETA]), mean = 0, worst = 0;
  for (uint64_t seed = 0; seed < SETS; seed++) {
    iso_fit_data d;
    iso_envelope m;
    iso_err e = {0};
    iso_envelope_opts o = iso_envelope_opts_default();
    curves(&d, p, 20, 1.4, 30, 1.25, 0.002, seed);
    ok(iso_envelope_fit(&d, &o, &m, &e), &e);
    mean += m.n_exponent.mid / SETS;
    worst = fmax(worst, fabs(m.n_exponent.mid - a));
    iso_fit_data_close(&d);
  }
  print_message("mean exponent %.4f, true %.4f, furthest off %.4f\n", mean, a, worst);
  near(mean, a, 0.02);
  assert_true(worst < 0.06);
}

static void test_bad(void **state) {
  (void)state;
  iso_fit_data d;
  iso_envelope m;
  iso_err e = {0};
  iso_envelope_opts o = iso_envelope_opts_default();
  curves(&d, iso_law_chinchilla.consts[0].p, 6, 1.5, 2, 2, 0, 0);
  assert_int_equal(iso_envelope_fit(&d, &o, &m, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "token counts"));
  iso_fit_data_close(&d);
  // Three sizes with one step: no power law, said so by NaN.
  curves(&d, iso_law_chinchilla.consts[0].p, 3, 1.5, 30, 1.25, 0, 0);
  ok(iso_envelope_fit(&d, &o, &m, &e), &e);
  assert_true(m.steps == 1 && isnan(m.n_exponent.mid));
  json_t *j = iso_envelope_json(&m);
  assert_true(json_is_null(json_object_get(json_object_get(j, "n_exponent"), "value")));
  json_decref(j);
  d.loss[5] = -1;
  assert_int_equal(iso_envelope_fit(&d, &o, &m, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "point 6"));
  d.loss[5] = 3;
  o.bins = 5;
  assert_int_equal(iso_envelope_fit(&d, &o, &m, &e), ISO_EINVAL);
  o = iso_envelope_opts_default();
  o.level = 1;
  assert_int_equal(iso_envelope_fit(&d, &o, &m, &e), ISO_EINVAL);
  iso_fit_data_close(&d);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_known_exponents), cmocka_unit_test(test_stopped_early), cmocka_unit_test(test_noise),
                                     cmocka_unit_test(test_bad)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
