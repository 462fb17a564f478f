// Errors of formats on N(0,1): published quantizer tables, closed forms, sampling, and the capacities that follow from them.
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
#include "plan/format_mse.h"
#include "plan/law.h"

static const double PI = 3.14159265358979323846;

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.12g, expected %.12g", got, want);
}

static iso_gmse of(const char *name) {
  iso_gmse g;
  iso_err e = {0};
  if (iso_gmse_format(name, &g, &e) != ISO_OK) fail_msg("%s", e.msg);
  return g;
}

// Oracle: Max 1960 (IRE Trans. IT-6), Tables I and II: best and best evenly spaced quantizers, errors to four digits (that of the best 32 levels
// is left out: its last digits are off).
static void test_max_1960(void **state) {
  (void)state;
  static const struct {
    const char *name;
    double mse, step;
  } ROW[] = {{"uniform1", 0.3634, 1.596},   {"uniform2", 0.1188, 0.9957},   {"uniform3", 0.03744, 0.5860},
             {"uniform4", 0.01154, 0.3352}, {"uniform5", 0.003495, 0.1881}, {"lloyd1", 0.3634, NAN},
             {"lloyd2", 0.1175, NAN},       {"lloyd3", 0.03454, NAN},       {"lloyd4", 0.009497, NAN}};
  for (size_t i = 0; i < ISO_COUNT(ROW); i++) {
    iso_gmse g = of(ROW[i].name);
    near(g.mse, ROW[i].mse, 5e-4);
    if (isfinite(ROW[i].step)) near(g.scale, ROW[i].step, 3e-4);
    near(pow(4, -g.bits), g.mse, 1e-12);
  }
  // One bit in closed form: levels +-sqrt(2/pi), error 1 - 2/pi.
  near(of("uniform1").mse, 1 - 2 / PI, 1e-12);
  near(of("lloyd1").mse, 1 - 2 / PI, 1e-12);
}

// No code of B bits does better than 4^-B; the best levels do no worse than evenly spaced ones; more bits do better. At many levels the best
// error tends to sqrt(3) pi / 2 4^-B (Panter and Dite 1951).
static void test_order(void **state) {
  (void)state;
  double last = 1, last_int = 1;
  for (int b = 1; b <= 8; b++) {
    char name[20];
    snprintf(name, sizeof name, "uniform%d", b);
    double u = of(name).mse;
    snprintf(name, sizeof name, "lloyd%d", b);
    double best = of(name).mse;
    assert_true(best <= u * (1 + 1e-12) && best > pow(4, -b) && u < last);
    last = u;
    if (b == 8) near(best * pow(4, b), sqrt(3) * PI / 2, 0.03);
    if (b < 2) continue;
    snprintf(name, sizeof name, "int%d", b);
    double i = of(name).mse;
    assert_true(i > u && i < last_int);
    last_int = i;
  }
  assert_true(of("e2m1").mse > of("lloyd4").mse && of("e4m3").mse < of("e2m1").mse && of("e4m3").mse > of("lloyd8").mse);
  // Two's complement without its lowest value at two bits: -s, 0, s, with s = 1.2240 and error 0.1902, the best three levels (Max 1960).
  near(of("int2").mse, 0.1902, 5e-4);
  near(of("int2").scale, 1.2240, 2e-4);
}

// Floats: the values of FP4 (E2M1) are 0, 0.5, 1, 1.5, 2, 3, 4 and 6, and the error agrees with rounding samples.
static void test_floats(void **state) {
  (void)state;
  static const double FP4[] = {-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6};
  double scale;
  near(iso_gmse_scaled(FP4, 15, &scale), of("e2m1").mse, 1e-12);
  near(scale, of("e2m1").scale, 1e-6);
  enum { SAMPLES = 400000 };
  double sum = 0;
  for (uint64_t i = 0; i < SAMPLES; i++) {
    double z = iso_rng_normal(1, ISO_RNG_TEST, 0, i), best = INFINITY;
    for (int k = 0; k < 15; k++) best = fmin(best, fabs(z - scale * FP4[k]));
    sum += best * best / SAMPLES;
  }
  near(sum, of("e2m1").mse, 0.02);
  // A common factor of all levels changes nothing but the scale.
  double twice[15];
  for (int k = 0; k < 15; k++) twice[k] = 2 * FP4[k];
  double half;
  near(iso_gmse_scaled(twice, 15, &half), of("e2m1").mse, 1e-12);
  near(half, scale / 2, 1e-6);
  near(iso_gmse_levels((double[]){0}, 1), 1, 1e-14);
}

// Sparsity. Closed forms: 1:2 drops the smaller of two magnitudes, (1 - 2/pi) / 2; shares: 2 Phi(t) - 1 - 2 t phi(t). A group of K:M tends to
// the share M - K over M; sampling agrees for 2:4.
static void test_sparsity(void **state) {
  (void)state;
  near(of("1:2").mse, (1 - 2 / PI) / 2, 1e-10);
  double t = 0.67448975019608171, phi = exp(-t * t / 2) / sqrt(2 * PI);
  near(of("sparse0.5").mse, 0.5 - 2 * t * phi, 1e-9);
  near(of("32:64").mse, of("sparse0.5").mse, 0.07);
  assert_true(of("2:4").mse > of("4:8").mse && of("4:8").mse > of("sparse0.5").mse);
  enum { GROUPS = 100000 };
  double sum = 0;
  for (uint64_t i = 0; i < GROUPS; i++) {
    double a[4], low = INFINITY, next = INFINITY;
    for (uint64_t k = 0; k < 4; k++) a[k] = fabs(iso_rng_normal(2, ISO_RNG_TEST, 0, 4 * i + k));
    for (int k = 0; k < 4; k++) {
      if (a[k] < low) {
        next = low;
        low = a[k];
      } else {
        next = fmin(next, a[k]);
      }
    }
    sum += (low * low + next * next) / (4.0 * GROUPS);
  }
  near(sum, of("2:4").mse, 0.02);
  // All but the largest of m, and all but the smallest, share out the whole variance with what they keep.
  assert_true(of("1:8").mse > of("7:8").mse && of("1:8").mse < 1);
}

static void test_names(void **state) {
  (void)state;
  static const char *const BAD[] = {"",       "int",     "int1",     "int9", "int4x", "uniform0", "e2",    "em1", "e8m8",
                                    "sparse", "sparse1", "sparse-1", "4:2",  "2:2",   "0:4",      "2:400", "fp4", "lloyd"};
  for (size_t i = 0; i < ISO_COUNT(BAD); i++) {
    iso_gmse g;
    iso_err e = {0};
    if (iso_gmse_format(BAD[i], &g, &e) != ISO_EINVAL) fail_msg("'%s' was taken", BAD[i]);
    assert_non_null(strstr(e.hint, "2:4"));
  }
}

// Capacities order formats as their errors do and multiply: 2:4 sparse weights in 4 bits lose as two models of each loss in turn.
static void test_capacity(void **state) {
  (void)state;
  const iso_law *l = &iso_law_compressed;
  const double p[] = {6, 6, 0.5, 0.34, 0.28, 0, 0.1, -0.2};
  const char *order[] = {"lloyd8", "e4m3", "int4", "uniform3", "int2", "uniform1"};
  double last = 0;
  for (size_t i = 0; i < ISO_COUNT(order); i++) {
    double x[4] = {1e8, 1e10, of(order[i]).mse, 1}, y = l->value(p, x, NULL);
    assert_true(y > last);
    last = y;
  }
  // The N at which the dense model loses as much is N rho: rho of both is the product.
  double rho[3], dense[4] = {1e8, 1e10, 0, 1};
  for (int k = 0; k < 2; k++) {
    double x[4] = {1e8, 1e10, of(k ? "2:4" : "int4").mse, 1};
    rho[k] = l->inverse(p, dense, 0, l->value(p, x, NULL)) / 1e8;
  }
  double both[4] = {1e8, 1e10, of("int4").mse, rho[1]};
  rho[2] = l->inverse(p, dense, 0, l->value(p, both, NULL)) / 1e8;
  near(rho[2], rho[0] * rho[1], 1e-9);
  assert_true(rho[0] < 1 && rho[1] < 1 && isnan(l->value(p, (double[]){1e8, 1e10, 1, 1}, NULL)));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_max_1960), cmocka_unit_test(test_order), cmocka_unit_test(test_floats),
                                     cmocka_unit_test(test_sparsity), cmocka_unit_test(test_names), cmocka_unit_test(test_capacity)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
