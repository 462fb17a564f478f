// Expressions: values against arithmetic by hand, names and texts, and what is refused.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/fit/expr.h"

// Names a, b, `odd name-1`, set with values 3, 0.5, 7 and text "c4"; empty is NaN.
static const char *const NAMES[] = {"a", "b", "odd name-1", "set", "empty"};
static const double VALUES[] = {3, 0.5, 7, 11, NAN};

static int name_of(void *self, const char *name, iso_err *err) {
  (void)self;
  for (size_t i = 0; i < ISO_COUNT(NAMES); i++)
    if (!strcmp(NAMES[i], name)) return (int)i;
  iso_fail(err, ISO_EINVAL, "no name %s", name);
  return -1;
}
static iso_status num(void *self, int k, double *out, iso_err *err) {
  (void)self;
  (void)err;
  *out = VALUES[k];
  return ISO_OK;
}
static iso_status text(void *self, int k, const char **out, iso_err *err) {
  (void)self;
  (void)err;
  *out = k == 3 ? "c4" : "3";
  return ISO_OK;
}

static double eval(const char *s) {
  iso_expr *e;
  iso_err err = {0};
  double v;
  if (iso_expr_open(s, name_of, NULL, &e, &err) != ISO_OK) fail_msg("%s: %s", s, err.msg);
  if (iso_expr_eval(e, num, text, NULL, &v, &err) != ISO_OK) fail_msg("%s: %s", s, err.msg);
  iso_expr_close(e);
  return v;
}

static void test_values(void **state) {
  (void)state;
  static const struct {
    const char *s;
    double v;
  } T[] = {{"1+2*3", 7},
           {"(1+2)*3", 9},
           {"2^3^2", 512},
           {"-2^2", -4},
           {"2^-1", 0.5},
           {"10-4-3", 3},
           {"12/4/3", 1},
           {" a * b ", 1.5},
           {"70B", 70e9},
           {"1.4T/70B", 20},
           {"2.5PF", 2.5e15},
           {"1e21", 1e21},
           {"1e-3*a", 3e-3},
           {"`odd name-1`+1", 8},
           {"log(exp(2))", 2},
           {"sqrt(16)+min(a,b)+max(a, b)", 7.5},
           {"a>b", 1},
           {"a>=3 && b<0.5", 0},
           {"a>=3 && b<=0.5", 1},
           {"a==3 || b==9", 1},
           {"!(a==3)", 0},
           {"!a==0", 1},
           {"a!=3", 0},
           {"set=='c4'", 1},
           {"\"c4\"!=set", 0},
           {"set == \"rpj\" || set == 'c4' && a < 4", 1},
           {"a==b", 0},
           {"empty>0", 0},
           {"empty<=0", 0},
           {"(((((a)))))", 3},
           {".5+a", 3.5}};
  for (size_t i = 0; i < ISO_COUNT(T); i++)
    if (fabs(eval(T[i].s) - T[i].v) > 1e-12 * fabs(T[i].v)) fail_msg("%s = %.17g, expected %.17g", T[i].s, eval(T[i].s), T[i].v);
}

static void test_refused(void **state) {
  (void)state;
  static const char *const BAD[] = {"",        "1+",   "(1",       "1)",       "a b",     "nobody>1", "f(1)", "log 1", "log(1,2)", "min(1)",
                                    "set='c4", "'c4'", "set<'c4'", "'a'=='b'", "'c4'==3", "3=='c4'",  "a=3",  "`a",    "1e",       "3parsec",
                                    "a &&",    "&& a", "a||",      "--",       "1..2",    "a^",       "a>b>", "``",    "sqrt(",    "#"};
  for (size_t i = 0; i < ISO_COUNT(BAD); i++) {
    iso_expr *e = NULL;
    iso_err err = {0};
    iso_status st = iso_expr_open(BAD[i], name_of, NULL, &e, &err);
    if (st != ISO_EINVAL) fail_msg("'%s' is not refused", BAD[i]);
    assert_true(err.msg[0] && !e);
  }
  char deep[500] = "", many[3000] = "a";
  for (int i = 0; i < 60; i++) strcat(deep, "(");
  for (int i = 0; i < 300; i++) strcat(many, "+1");
  iso_expr *e;
  iso_err err = {0};
  assert_int_equal(iso_expr_open(deep, name_of, NULL, &e, &err), ISO_EINVAL);
  assert_int_equal(iso_expr_open(many, name_of, NULL, &e, &err), ISO_EINVAL);
  assert_non_null(strstr(err.msg, "too long"));
  assert_int_equal(iso_expr_open("a+", name_of, NULL, &e, NULL), ISO_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
