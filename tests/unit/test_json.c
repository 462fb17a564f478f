// Intervals in JSON: one set of keys, ends by factors and by other documents, reasons where an end is not known.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>  // needs the ones above
// clang-format on

#include "base/json.h"

static double at(const json_t *o, const char *key, const char *end) { return iso_json_value(json_object_get(json_object_get(o, key), end)); }

static void range(void **state) {
  (void)state;
  json_t *o = iso_json_range(2, 1, 3, "unused"), *n = iso_json_range(2, 1, NAN, "not measured"), *none = iso_json_range(NAN, NAN, NAN, "x");
  assert_true(iso_json_value(o) == 2 && json_number_value(json_object_get(o, "lo")) == 1 && json_number_value(json_object_get(o, "hi")) == 3);
  assert_null(json_object_get(o, "interval"));
  assert_true(json_is_null(json_object_get(n, "hi")) && json_number_value(json_object_get(n, "lo")) == 1);
  assert_string_equal(json_string_value(json_object_get(n, "interval")), "none: not measured");
  assert_true(json_is_null(json_object_get(none, "value")) && isnan(iso_json_value(none)));
  json_decref(o);
  json_decref(n);
  json_decref(none);
}

static void scale(void **state) {
  (void)state;
  static const char *const KEYS[] = {"time_s", NULL};
  json_t *o = json_pack("{s:f, s:f, s:[{s:f}], s:n}", "time_s", 4.0, "count", 7.0, "rows", "time_s", 2.0, "gone");
  iso_json_scale(o, KEYS, 0.5, 1.5, "x");
  iso_json_scale(o, KEYS, 9, 9, "x");  // intervals are left alone
  assert_true(at(o, "time_s", "lo") == 2 && at(o, "time_s", "value") == 4 && at(o, "time_s", "hi") == 6);
  assert_true(json_number_value(json_object_get(o, "count")) == 7 && json_is_null(json_object_get(o, "gone")));
  assert_true(at(json_array_get(json_object_get(o, "rows"), 0), "time_s", "hi") == 3);
  json_decref(o);
}

// Ends in any order, and places that only one document has.
static void join(void **state) {
  (void)state;
  static const char *const KEYS[] = {"a", "b", NULL};
  json_t *o = json_pack("{s:f, s:f, s:{s:f}}", "a", 2.0, "b", 5.0, "in", "a", 1.0), *low = json_pack("{s:f, s:{s:f}}", "a", 3.0, "in", "a", 0.5),
         *high = json_pack("{s:f, s:f, s:{s:f}}", "a", 1.0, "b", 6.0, "in", "a", 4.0);
  iso_json_join(o, low, high, KEYS, "not there");
  assert_true(at(o, "a", "lo") == 1 && at(o, "a", "hi") == 3);
  assert_true(at(json_object_get(o, "in"), "a", "lo") == 0.5 && at(json_object_get(o, "in"), "a", "hi") == 4);
  assert_true(json_is_null(json_object_get(json_object_get(o, "b"), "lo")) && at(o, "b", "hi") == 6);
  assert_string_equal(json_string_value(json_object_get(json_object_get(o, "b"), "interval")), "none: not there");
  iso_json_join(o, NULL, NULL, KEYS, "x");
  assert_true(at(o, "a", "hi") == 3);
  json_decref(o);
  json_decref(low);
  json_decref(high);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(range), cmocka_unit_test(scale), cmocka_unit_test(join)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
