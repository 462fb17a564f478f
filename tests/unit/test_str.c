// Edit distance and what is near enough to suggest, against plain cases by hand.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>  // needs the ones above
// clang-format on

#include "base/str.h"

static void distance(void **state) {
  (void)state;
  assert_int_equal(iso_str_distance("", ""), 0);
  assert_int_equal(iso_str_distance("", "abc"), 3);
  assert_int_equal(iso_str_distance("kitten", "sitting"), 3);
  assert_int_equal(iso_str_distance("plan", "plna"), 1);
  assert_int_equal(iso_str_distance("ca", "abc"), 3);  // no edit inside a swap: optimal string alignment, Damerau has 2
  assert_int_equal(iso_str_distance("flaw", "lawn"), 2);
}

// A third of the characters typed, at least one.
static void near(void **state) {
  (void)state;
  assert_true(iso_str_near("plan", "plna"));
  assert_true(iso_str_near("chinchilla", "chinchila"));
  assert_true(iso_str_near("h100", "h10"));
  assert_true(iso_str_near("llama3-8b", "llama-3-8"));
  assert_true(iso_str_near("layout", "lay"));
  assert_false(iso_str_near("layout", "la"));
  assert_false(iso_str_near("plan", "run"));
  assert_false(iso_str_near("llama-7b", "nothing-like-it"));
  assert_false(iso_str_near("fit", "xyz"));
  assert_false(iso_str_near("wall", ""));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(distance), cmocka_unit_test(near)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
