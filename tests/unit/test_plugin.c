// Plugin lookup and selftests, on plugins made for the test.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>  // needs the ones above
// clang-format on
#include <string.h>

#include "cost/plugin.h"

static iso_status good(iso_ctx *c, iso_err *e) {
  (void)c;
  (void)e;
  return ISO_OK;
}
static iso_status bad(iso_ctx *c, iso_err *e) {
  (void)c;
  return iso_fail(e, ISO_ENUM, "two is not three");
}

static void plugins(void **state) {
  (void)state;
  static const iso_plugin A = {"adamw", "a", "p", good}, M = {"muon", "m", "p", good}, B = {"broken", "b", "p", bad};
  const iso_plugin *const list[] = {&A, &M, &B}, *got;
  iso_err e;
  assert_int_equal(iso_plugin_find(list, 3, "optimizer", "muon", &got, &e), ISO_OK);
  assert_ptr_equal(got, &M);
  assert_int_equal(iso_plugin_find(list, 3, "optimizer", "adam", &got, &e), ISO_EINVAL);
  assert_string_equal(e.hint, "did you mean \"adamw\"?");
  assert_string_equal(e.msg, "unknown optimizer \"adam\"; known: adamw, muon, broken");
  assert_int_equal(iso_plugin_find(list, 0, "law", "x", &got, &e), ISO_EINVAL);
  assert_int_equal(iso_plugin_selftest(list, 2, "optimizer", NULL, &e), ISO_OK);
  assert_int_equal(iso_plugin_selftest(list, 3, "optimizer", NULL, &e), ISO_ENUM);
  assert_string_equal(e.msg, "selftest of optimizer broken: two is not three");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(plugins)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
