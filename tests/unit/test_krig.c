// Local kriging against a dense Gaussian process, its learning on known surfaces, and its errors.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "base/rng.h"
#include "plan/device/krig.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, expected %.12g +- %g", got, want, tol);
}

static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}

// With no more rows than neighbours the local process is the whole one. Oracle (numpy 2, float64):
//   X = [[0,0],[1,.5],[2,-1],[3,2],[.5,1.5],[2.5,.25]]; y = [.3,-.1,.7,1.1,.2,.4]; ls = [1.5,.8]; noise = .03
//   k(a,b): r = sqrt(3 * (((a[:,None]-b[None])/ls)**2).sum(-1)); (1+r)*exp(-r)
//   m = y.mean(); K = k(X,X)+4+noise*eye(n); c = k(X,q)+4; mean = m+c@solve(K,y-m); var = 5-c@solve(K,c)+noise
static void test_dense(void **state) {
  (void)state;
  static const double X[] = {0, 0, 1, 0.5, 2, -1, 3, 2, 0.5, 1.5, 2.5, 0.25}, Y[] = {0.3, -0.1, 0.7, 1.1, 0.2, 0.4};
  static const double Q[3][2] = {{1.2, 0.4}, {0, 0}, {10, 10}};
  static const double WANT[3][3] = {
      {-0.0253130087374, 0.117302418178, 0.182764268329}, {0.297150335928, 0.0588801042428, 0}, {0.556023184065, 1.31209496273, 11.0352969048}};
  iso_krig k;
  iso_krig_value v;
  iso_err e;
  ok(iso_krig_open(6, 2, &k, &e), &e);
  for (int i = 0; i < 12; i++) k.x[i] = X[i];
  for (int i = 0; i < 6; i++) k.y[i] = Y[i];
  k.scale[0] = 1.5;
  k.scale[1] = 0.8;
  k.noise = 0.03;
  iso_krig_bind(&k);
  for (int i = 0; i < 3; i++) {
    iso_krig_at(&k, Q[i], -1, &v);
    near(v.mean, WANT[i][0], 1e-10);
    near(v.var, WANT[i][1], 1e-10);
    near(v.near, WANT[i][2], 1e-10);
  }
  iso_krig_at(&k, X + 6, 3, &v);  // row 3 from the other five
  near(v.mean, 0.346642680296, 1e-10);
  near(v.var, 1.18929792089, 1e-10);
  near(v.near, 1.78000078027, 1e-10);
  iso_krig_close(&k);
}

// y = sin of one feature; the other is noise that must not matter. Rows are more than neighbours.
static void surface(iso_krig *k, int64_t n, double noise) {
  iso_err e;
  ok(iso_krig_open(n, 2, k, &e), &e);
  for (int64_t i = 0; i < n; i++) {
    k->x[2 * i] = 12 * iso_rng_unit(3, ISO_RNG_TEST, 0, (uint64_t)i);
    k->x[2 * i + 1] = 12 * iso_rng_unit(3, ISO_RNG_TEST, 1, (uint64_t)i);
    k->y[i] = sin(k->x[2 * i]) + noise * iso_rng_normal(3, ISO_RNG_TEST, 2, (uint64_t)i);
  }
  iso_krig_bind(k);
}

static double error_at(const iso_krig *k) {
  double sum = 0;
  for (int i = 0; i < 200; i++) {
    double q[2] = {1 + 0.05 * i, fmod(7.3 * i, 12)};
    iso_krig_value v;
    iso_krig_at(k, q, -1, &v);
    sum += fabs(v.mean - sin(q[0])) / 200;
  }
  return sum;
}

static void test_learn(void **state) {
  (void)state;
  iso_krig k;
  iso_pool *pool;
  iso_err e;
  double before, scale[2], noise;
  surface(&k, 300, 0.02);
  before = error_at(&k);
  ok(iso_krig_learn(NULL, &k, 150, 80, &e), &e);
  if (!(error_at(&k) < 0.25 * before && error_at(&k) < 0.02)) fail_msg("error %g after learning, %g before", error_at(&k), before);
  if (!(k.scale[1] > 5 * k.scale[0])) fail_msg("scales %g and %g: the second feature says nothing", k.scale[0], k.scale[1]);
  assert_true(k.q90 > 0 && isfinite(k.q90));
  scale[0] = k.scale[0];
  scale[1] = k.scale[1];
  noise = k.noise;
  iso_krig_close(&k);
  // The result does not depend on threads.
  surface(&k, 300, 0.02);
  ok(iso_pool_open(2, &pool, &e), &e);
  ok(iso_krig_learn(pool, &k, 150, 80, &e), &e);
  assert_true(k.scale[0] == scale[0] && k.scale[1] == scale[1] && k.noise == noise);
  iso_pool_close(pool);
  iso_krig_close(&k);
  // No evaluations: the scales stay, q90 is learned.
  surface(&k, 300, 0.02);
  ok(iso_krig_learn(NULL, &k, 150, 0, &e), &e);
  assert_true(k.scale[0] == 1 && k.scale[1] == 1 && k.q90 > 0);
  iso_krig_close(&k);
}

// Doubled rows: their noise keeps the factor regular.
static void test_doubled(void **state) {
  (void)state;
  iso_krig k;
  iso_krig_value v;
  iso_err e;
  ok(iso_krig_open(40, 1, &k, &e), &e);
  for (int i = 0; i < 40; i++) {
    k.x[i] = i / 20;
    k.y[i] = i / 20 + 0.1 * (i % 2 ? 1 : -1);
  }
  k.noise = 1e-4;
  iso_krig_bind(&k);
  iso_krig_at(&k, (double[]){0}, -1, &v);
  near(v.mean, 0, 1e-3);
  assert_true(v.var > 0 && isfinite(v.var) && v.near == 0);
  iso_krig_close(&k);
}

static void test_errors(void **state) {
  (void)state;
  iso_krig k;
  iso_err e;
  assert_int_equal(iso_krig_open(1, 2, &k, &e), ISO_EINVAL);
  assert_int_equal(iso_krig_open(5, 0, &k, &e), ISO_EINVAL);
  assert_int_equal(iso_krig_open(5, ISO_KRIG_F_MAX + 1, &k, &e), ISO_EINVAL);
  ok(iso_krig_open(7, 1, &k, &e), &e);
  assert_int_equal(iso_krig_learn(NULL, &k, 10, 10, &e), ISO_EINVAL);
  iso_krig_close(&k);
  surface(&k, 40, 0);
  for (int i = 0; i < 40; i++) k.y[i] = NAN;
  assert_int_equal(iso_krig_learn(NULL, &k, 40, 10, &e), ISO_ENUM);
  iso_krig_close(&k);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_dense), cmocka_unit_test(test_learn), cmocka_unit_test(test_doubled),
                                     cmocka_unit_test(test_errors)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
