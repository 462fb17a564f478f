// Prices by hand arithmetic, and overrides from files and the environment.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>  // needs the ones above
// clang-format on
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cost/price.h"

static void near(double a, double b) {
  if (!(fabs(a - b) <= 1e-9 * fabs(b))) fail_msg("%.12g, expected %.12g", a, b);
}

static void applies(void **state) {
  (void)state;
  iso_prices p = iso_prices_default();
  iso_err e;
  iso_cost c = iso_cost_zero();
  assert_string_equal(p.region, "world");
  assert_true(p.g_per_kwh > 450 && p.g_per_kwh < 500);
  assert_int_equal(iso_prices_region(&p, "de", &e), ISO_OK);
  c.energy = iso_est_range(1.8e6, 3.6e6, 7.2e6);  // half, one, two kWh
  c.wall = iso_est_exact(7200);
  iso_price_apply(&p, 4, &c);
  near(c.co2.lo, 380.95 / 2);
  near(c.co2.mean, 380.95);
  near(c.co2.hi, 2 * 380.95);
  near(c.usd.mean, 2 * 4 * 0.05);  // two hours of four cores
  p.rented = false;
  p.usd_per_kwh = 0.3;
  p.pue = 1.5;
  iso_price_apply(&p, 4, &c);
  near(c.usd.mean, 0.45);
  near(c.co2.mean, 380.95 * 1.5);
  c.energy = iso_est_unknown();
  iso_price_apply(&p, 4, &c);
  assert_true(isnan(c.co2.mean) && isnan(c.usd.hi));
  assert_int_equal(iso_prices_region(&p, "Atlantis", &e), ISO_EINVAL);
}

// Grams of a kWh in 2023 (codecarbon's global_energy_mix.json); the EU of 27 and the world are means of that file by TWh. Then of sources of
// energy, by the same package.
static void regions(void **state) {
  (void)state;
  static const struct {
    const char *code;
    double g;
  } ROW[] = {{"IN", 713.441}, {"CN", 582.317},    {"DE", 380.95},  {"GB", 237.589}, {"NO", 30.08},     {"CA", 170.043}, {"BR", 98.348},
             {"JP", 485.392}, {"AU", 548.692},    {"ZA", 707.686}, {"EU", 243.83},  {"world", 480.62}, {"coal", 995},   {"petroleum", 816},
             {"gas", 743},    {"geothermal", 38}, {"hydro", 26},   {"nuclear", 29}, {"solar", 48},     {"wind", 26}};
  iso_prices p = iso_prices_default();
  iso_err e;
  for (size_t i = 0; i < sizeof ROW / sizeof *ROW; i++) {
    assert_int_equal(iso_prices_region(&p, ROW[i].code, &e), ISO_OK);
    near(p.g_per_kwh, ROW[i].g);
  }
}

static void overrides(void **state) {
  (void)state;
  char path[] = "/tmp/iso_test_price.XXXXXX";
  int fd = mkstemp(path);
  iso_prices p;
  iso_err e;
  assert_true(fd >= 0);
  static const struct {
    const char *text;
    iso_status st;
  } CASES[] = {{"{\"region\":\"FR\",\"rented\":false,\"usd_per_kwh\":0.2}", ISO_OK},
               {"{\"regio\":\"FR\"}", ISO_EFORMAT},
               {"{\"region\":\"XX\"}", ISO_EINVAL},
               {"{\"pue\":0.5}", ISO_EFORMAT},
               {"{\"g_per_kwh\":-1}", ISO_EFORMAT},
               {"{\"g_per_kwh\":\"many\"}", ISO_EFORMAT},
               {"[]", ISO_EFORMAT},
               {"{", ISO_EFORMAT},
               {"{\"region\":\"my roof\",\"g_per_kwh\":40,\"date\":\"2025-06-01\"}", ISO_OK}};
  for (size_t i = 0; i < ISO_COUNT(CASES); i++) {
    FILE *f = fopen(path, "w");
    fputs(CASES[i].text, f);
    fclose(f);
    assert_int_equal(iso_prices_get(path, &p, &e), CASES[i].st);
    if (CASES[i].st != ISO_OK) assert_non_null(strstr(e.msg, path));
    if (i == 0) {
      near(p.g_per_kwh, 56.039);
      assert_true(!p.rented && p.usd_per_kwh == 0.2 && p.usd_per_core_h == 0.05);
      assert_string_equal(p.price_source, path);
      assert_non_null(strstr(p.carbon_source, "2023"));
    }
  }
  assert_string_equal(p.region, "my roof");
  assert_string_equal(p.carbon_source, path);
  assert_true(p.g_per_kwh == 40);
  setenv("ISOFLOP_PRICES", path, 1);
  assert_int_equal(iso_prices_get(NULL, &p, &e), ISO_OK);
  assert_string_equal(p.date, "2025-06-01");
  json_t *j = iso_prices_json(&p);
  assert_true(json_number_value(json_object_get(j, "g_per_kwh")) == 40 && json_is_true(json_object_get(j, "rented")));
  json_decref(j);
  setenv("ISOFLOP_PRICES", "/nonexistent", 1);
  assert_int_equal(iso_prices_get(NULL, &p, &e), ISO_EIO);
  unsetenv("ISOFLOP_PRICES");
  close(fd);
  unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(applies), cmocka_unit_test(regions), cmocka_unit_test(overrides)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
