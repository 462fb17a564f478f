// The front against the definition, checked over all pairs.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>  // needs the ones above
// clang-format on
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "cost/front.h"

enum { N = 60 };

static iso_point point(double wall, double quality) {
  iso_point p = {.cost = iso_cost_unknown(), .quality = quality, .stderr_ = NAN};
  p.cost.wall = iso_est_exact(wall);
  return p;
}

static void random_sets(void **state) {
  (void)state;
  for (uint64_t t = 0; t < 300; t++) {
    iso_point p[N];
    int64_t n = iso_rng_below(t, ISO_RNG_TEST, 0, 0, N + 1), idx[N], m, want = 0;
    for (int64_t i = 0; i < n; i++) {  // coarse values, so that there are ties
      p[i] = point((double)iso_rng_below(t, ISO_RNG_TEST, 1, (uint64_t)i, 12), (double)iso_rng_below(t, ISO_RNG_TEST, 2, (uint64_t)i, 12));
      if (iso_rng_below(t, ISO_RNG_TEST, 3, (uint64_t)i, 15) == 0) p[i].cost.wall = iso_est_unknown();
      if (iso_rng_below(t, ISO_RNG_TEST, 4, (uint64_t)i, 15) == 0) p[i].quality = NAN;
    }
    iso_err e;
    assert_int_equal(iso_front(p, n, ISO_RES_wall, idx, &m, &e), ISO_OK);
    for (int64_t i = 0; i < n; i++) {
      double c = p[i].cost.wall.mean, q = p[i].quality;
      bool on = !isnan(c) && !isnan(q), listed = false;
      for (int64_t j = 0; j < n && on; j++) {
        double cj = p[j].cost.wall.mean, qj = p[j].quality;
        if (cj <= c && qj <= q && (cj < c || qj < q || j < i)) on = false;
      }
      for (int64_t k = 0; k < m; k++) listed |= idx[k] == i;
      assert_int_equal(on, listed);
      want += on;
    }
    assert_int_equal(m, want);
    for (int64_t k = 1; k < m; k++) {
      assert_true(p[idx[k]].cost.wall.mean > p[idx[k - 1]].cost.wall.mean);
      assert_true(p[idx[k]].quality < p[idx[k - 1]].quality);
    }
  }
}

static void never_mixes(void **state) {
  (void)state;
  iso_point p[3] = {point(1, 3), point(2, 2), point(3, 1)};
  int64_t idx[3], m;
  iso_err e;
  snprintf(p[2].label, sizeof p[2].label, "odd one");
  p[2].predicted = true;
  assert_int_equal(iso_front(p, 3, ISO_RES_wall, idx, &m, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "odd one"));
  assert_int_equal(iso_front(p, 2, ISO_RES_wall, idx, &m, &e), ISO_OK);
  assert_int_equal(m, 2);
  assert_int_equal(iso_front(p, 2, ISO_RES_energy, idx, &m, &e), ISO_OK);
  assert_int_equal(m, 0);  // nothing is known about that cost
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_sets), cmocka_unit_test(never_mixes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
