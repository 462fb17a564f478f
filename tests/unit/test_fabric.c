// Networks: counts of fat trees against their construction, published costs an endpoint, and what makes no sense.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/fabric.h"

static iso_fabric of(int64_t endpoints, int64_t radix, int64_t planes) {
  iso_fabric_plan p = iso_fabric_plan_default();
  iso_fabric f;
  iso_err e = {0};
  p.endpoints = endpoints;
  p.radix = radix;
  p.planes = planes;
  if (iso_fabric_of(&p, &f, &e) != ISO_OK) fail_msg("%s", e.msg);
  return f;
}

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.9g, expected %.9g", got, want);
}

// DeepSeek-AI 2025 (arXiv:2505.09343): 2,048 endpoints on two layers of 64 ports and 16,384 on eight such planes cost 4.39 k$ each; three layers
// hold 65,536 at 7.5 k$.
static void test_published(void **state) {
  (void)state;
  static const struct {
    int64_t endpoints, planes, layers, most;
    double usd, switches, links;
  } ROW[] = {{2048, 1, 2, 2048, 4390, 96, 2048}, {16384, 8, 2, 16384, 4390, 768, 16384}, {65536, 1, 3, 65536, 7500, 5120, 131072}};
  for (size_t i = 0; i < ISO_COUNT(ROW); i++) {
    iso_fabric f = of(ROW[i].endpoints, 64, ROW[i].planes);
    assert_true(f.layers == ROW[i].layers && f.most == ROW[i].most);
    near(f.usd, ROW[i].usd, 1e-9);
    near(f.switches * (double)ROW[i].endpoints, ROW[i].switches, 1e-12);
    near(f.links * (double)ROW[i].endpoints, ROW[i].links, 1e-12);
  }
  // Planes spare a layer: 16,384 endpoints in one network need three.
  assert_true(of(16384, 64, 1).layers == 3 && of(2049, 64, 1).layers == 3 && of(64, 64, 1).layers == 1);
  near(of(16384, 64, 1).usd, 7500, 1e-9);
}

// A tree of n layers built port by port: each pod has k/2 switches a layer; endpoints use half of the lowest switches' ports, and every other port
// but the highest layer's upper half (which has none) holds one end of a cable.
static void test_construction(void **state) {
  (void)state;
  for (int64_t k = 4; k <= 64; k += 4)
    for (int64_t n = 1; n <= 4; n++) {
      int64_t endpoints = n == 1 ? k : 2, switches = 0;
      for (int64_t i = 0; i < n && n > 1; i++) endpoints *= k / 2;
      // Lower layers: one switch for k/2 endpoints each; the highest: half as many, all of whose ports go down.
      for (int64_t i = 0; i + 1 < n; i++) switches += endpoints / (k / 2);
      switches += endpoints / k;
      iso_fabric f = of(endpoints, k, 1);
      assert_int_equal(f.layers, n);
      assert_int_equal(f.most, endpoints);
      near(f.switches * (double)endpoints, (double)switches, 1e-12);
      // Ports that are there less those of endpoints, two to a cable.
      double cables = ((double)(switches * k) - (double)endpoints) / 2;
      if (n > 1)
        near(f.links * (double)endpoints, cables, 1e-12);
      else
        assert_true(f.links == 0 && cables == 0);
      if (n > 1) assert_int_equal(of(endpoints + 1, k, 1).layers, n + 1);
    }
}

static void test_refused(void **state) {
  (void)state;
  iso_fabric_plan p = iso_fabric_plan_default();
  iso_fabric f;
  iso_err e = {0};
  assert_int_equal(iso_fabric_of(&p, &f, &e), ISO_EINVAL);
  p.endpoints = 100;
  p.radix = 7;
  assert_int_equal(iso_fabric_of(&p, &f, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "7 ports"));
  p.radix = 64;
  p.planes = 0;
  assert_int_equal(iso_fabric_of(&p, &f, &e), ISO_EINVAL);
  p.planes = 1;
  p.link_usd = NAN;
  assert_int_equal(iso_fabric_of(&p, &f, &e), ISO_EINVAL);
  p.link_usd = 1;
  p.radix = 4;
  p.endpoints = 1000000;
  assert_int_equal(iso_fabric_of(&p, &f, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "layers"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_published), cmocka_unit_test(test_construction), cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
