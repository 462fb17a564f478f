// Carrying a reference law over: recovery, coverage, and what is refused.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rng.h"
#include "plan/transfer.h"

static double reference(double n, double d) { return 0.9 + pow(5e4 / n, 0.5) + pow(2e5 / d, 0.4); }

// Six runs on a text whose loss is `scale` times the reference, steeper in D by `slope`, with noise.
static void make(iso_fit_data *d, double *ref, double scale, double slope, double noise, uint64_t seed) {
  static const double N[] = {2e5, 6e5, 1e6}, D[] = {2e5, 6e5};
  iso_err err;
  assert_int_equal(iso_fit_data_open(6, d, &err), ISO_OK);
  for (int i = 0; i < 6; i++) {
    d->params[i] = N[i % 3];
    d->tokens[i] = D[i / 3];
    d->flop[i] = 6 * d->params[i] * d->tokens[i];
    ref[i] = reference(d->params[i], d->tokens[i]);
    d->loss[i] = scale * ref[i] * pow(d->tokens[i] / 4e5, slope) * exp(noise * iso_rng_normal(seed, ISO_RNG_TEST, 0, (uint64_t)i));
  }
}

static void test_recovers(void **s) {
  (void)s;
  iso_fit_data d;
  iso_transfer t;
  iso_err err;
  double ref[6];
  iso_transfer_prior p = iso_transfer_prior_default();
  p.sd[0] = p.sd[1] = p.sd[2] = 10;
  p.noise_sd = 1e-4;
  make(&d, ref, 1.3, -0.03, 0, 0);
  assert_int_equal(iso_transfer_fit(&d, ref, NULL, &p, 0.9, &t, &err), ISO_OK);
  assert_true(fabs(t.c[2] + 0.03) < 1e-6 && fabs(t.c[1]) < 1e-6);
  double far = reference(2e6, 5e6), want = 1.3 * far * pow(5e6 / 4e5, -0.03);
  iso_est e = iso_transfer_loss(&t, far, 2e6, 5e6);
  assert_true(fabs(e.mean / want - 1) < 1e-6);
  assert_true(e.lo < e.mean && e.mean < e.hi);
  // A prior of no width leaves the reference's slopes alone.
  p.mean[2] = 0;
  p.sd[1] = p.sd[2] = 1e-9;
  assert_int_equal(iso_transfer_fit(&d, ref, NULL, &p, 0.9, &t, &err), ISO_OK);
  assert_true(fabs(t.c[1]) < 1e-6 && fabs(t.c[2]) < 1e-6);
  p.mean[2] = -0.02;  // or where it says
  assert_int_equal(iso_transfer_fit(&d, ref, NULL, &p, 0.9, &t, &err), ISO_OK);
  assert_true(fabs(t.c[2] + 0.02) < 1e-6);
  iso_fit_data_close(&d);
}

// Where the prior says the truth, the 90% interval of a run ten times beyond the data holds in 84 to 97% of 400 sets.
static void test_covers(void **s) {
  (void)s;
  int hit = 0;
  double half = 0;
  for (uint64_t seed = 0; seed < 400; seed++) {
    iso_fit_data d;
    iso_transfer t;
    iso_err err;
    double ref[6];
    iso_transfer_prior p = iso_transfer_prior_default();
    double slope = p.mean[2] + p.sd[2] * iso_rng_normal(seed, ISO_RNG_TEST, 1, 0), scale = exp(0.3 * iso_rng_normal(seed, ISO_RNG_TEST, 1, 1));
    make(&d, ref, scale, slope, p.noise_sd, seed);
    assert_int_equal(iso_transfer_fit(&d, ref, NULL, &p, 0.9, &t, &err), ISO_OK);
    double far = reference(1e6, 4e6), run = scale * far * pow(10, slope);
    run *= exp(p.noise_sd * iso_rng_normal(seed, ISO_RNG_TEST, 1, 2) + p.drift_sd * iso_rng_normal(seed, ISO_RNG_TEST, 1, 3));
    iso_est e = iso_transfer_loss(&t, far, 1e6, 4e6);
    hit += e.lo <= run && run <= e.hi;
    half += (e.hi - e.lo) / 2 / e.mean / 400;
    iso_fit_data_close(&d);
  }
  print_message("%d of 400 held, half width %.2f%%\n", hit, 100 * half);
  assert_in_range(hit, 336, 388);
}

static void test_refuses(void **s) {
  (void)s;
  iso_fit_data d;
  iso_transfer t;
  iso_err err = {0};
  double ref[6];
  iso_transfer_prior p = iso_transfer_prior_default();
  make(&d, ref, 1, 0, 0, 0);
  ref[3] = NAN;
  assert_int_equal(iso_transfer_fit(&d, ref, NULL, &p, 0.9, &t, &err), ISO_EINVAL);
  ref[3] = 1;
  d.loss[2] = -1;
  assert_int_equal(iso_transfer_fit(&d, ref, NULL, &p, 0.9, &t, &err), ISO_EINVAL);
  d.loss[2] = 1;
  assert_int_equal(iso_transfer_fit(&d, ref, NULL, &p, 1.5, &t, &err), ISO_EINVAL);
  d.n = 0;
  assert_int_equal(iso_transfer_fit(&d, ref, NULL, &p, 0.9, &t, &err), ISO_EINVAL);
  d.n = 6;
  iso_fit_data_close(&d);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_recovers), cmocka_unit_test(test_covers), cmocka_unit_test(test_refuses)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
