// The CSV reader: dialect, aliases, derived columns, filters, groups, and errors that name line and column.
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
#include "plan/fit/fit_csv.h"

static void parse(const char *text, const iso_fit_csv_opts *o, iso_fit_data *d) {
  iso_err e = {0};
  if (iso_fit_csv_parse(text, strlen(text), "t.csv", o, d, &e) != ISO_OK) fail_msg("%s", e.msg);
}

static void refuse(const char *text, size_t n, const iso_fit_csv_opts *o, iso_status want, const char *word) {
  iso_fit_data d;
  iso_err e = {0};
  iso_status st = iso_fit_csv_parse(text, n, "t.csv", o, &d, &e);
  if (st != want) fail_msg("status %d, expected %d (%s)", st, want, e.msg);
  if (!strstr(e.msg, word)) fail_msg("'%s' does not say '%s'", e.msg, word);
}

static void test_dialect(void **state) {
  (void)state;
  iso_fit_data d;
  parse(
      "\xEF\xBB\xBF# sweep of May\r\n\"Model Size\",note,Loss,\"Train-Flops\"\r\n\r\n1e8,\"a \"\"b\"\",\r\nc\", 3.5 ,6e17\r\n# "
      "end\r\n2e8,,3.25,\"1.2e18\"",
      NULL, &d);
  assert_int_equal(d.n, 2);
  assert_true(d.params[0] == 1e8 && d.loss[0] == 3.5 && d.flop[0] == 6e17);
  assert_true(fabs(d.tokens[0] / 1e9 - 1) < 1e-15);  // C / (6 N)
  assert_true(d.params[1] == 2e8 && d.loss[1] == 3.25);
  iso_fit_data_close(&d);
  parse("n,D,l,c\n1e6,2e7,4.5,\n2e6,2e7,4.25,2.5e14\n3e6,,4,3.6e14\n4e6,1e7,,1\n", NULL, &d);
  assert_int_equal(d.n, 3);
  assert_int_equal(d.skipped, 1);
  assert_true(fabs(d.flop[0] / 1.2e14 - 1) < 1e-15);  // 6 N D
  assert_true(d.flop[1] == 2.5e14 && d.tokens[1] == 2e7);
  assert_true(fabs(d.tokens[2] / 2e7 - 1) < 1e-15);
  iso_fit_data_close(&d);
}

static void test_filters_and_drop(void **state) {
  (void)state;
  iso_fit_data d;
  const char *where[] = {"set=rw", "decay=long"};
  iso_fit_csv_opts o = {.where = where, .n_where = 2, .drop_highest = 1};
  parse("set,decay,params,tokens,loss\nrw,long,1,1,3\nowt,long,2,1,3\nrw,short,x,1,3\nrw,long,3,1,9\nrw,long,4,1,2\n", &o, &d);
  assert_int_equal(d.n, 2);
  assert_int_equal(d.dropped, 1);
  assert_true(d.params[0] == 1 && d.params[1] == 4);
  iso_err e;
  assert_int_equal(iso_fit_data_sort(&d, &e), ISO_OK);
  assert_true(d.params[0] == 4 && d.loss[1] == 3);
  iso_fit_data_close(&d);
}

static void test_errors(void **state) {
  (void)state;
#define REFUSE(text, word) refuse(text, sizeof(text) - 1, NULL, ISO_EFORMAT, word)
  REFUSE("", "is empty");
  REFUSE("# only a comment\n", "is empty");
  REFUSE("params,loss\n1,2\n", "no column for tokens or train_flops");
  REFUSE("tokens,loss\n1,2\n", "no column for params");
  REFUSE("params,tokens\n1,2\n", "no column for loss");
  REFUSE("params,tokens,loss,LOSS\n", "columns 3 and 4 are both called loss");
  REFUSE("params,tokens,loss\n1,2,3\n1,2\n", "line 3: 2 fields, expected 3");
  REFUSE("params,tokens,loss\n1,2,3,4\n", "line 2: 4 fields, expected 3");
  REFUSE("params,tokens,loss\n1,abc,3\n", "line 2, column 2 (tokens): 'abc'");
  REFUSE("params,tokens,loss\n1,2,nan\n", "column 3 (loss)");
  REFUSE("params,tokens,loss\n1,-2,3\n", "column 2 (tokens)");
  REFUSE("params,tokens,loss\n1,1e999,3\n", "column 2 (tokens)");
  REFUSE("params,tokens,loss\n0x10,2,3\n", "column 1 (params)");
  REFUSE("params,tokens,loss\n,2,3\n", "line 2, column 1 (params): empty");
  REFUSE("params,tokens,loss\n1,,3\n", "neither tokens nor train_flops");
  REFUSE("params,tokens,loss\n1,\"2,3\n", "line 2, column 2: a quoted field is not closed");
  REFUSE("params,tokens,note,loss\n1,2,\"a\nb\",3\n1,2,,x\n", "line 4, column 4 (loss)");
  REFUSE("params,tokens,loss\n1,\"2\"x,3\n", "after the closing quote");
  REFUSE("params,tokens,loss\n1,2\"2,3\n", "a quote inside a field");
  REFUSE("params,tokens,loss\n1,\0,3\n", "a zero byte");
  REFUSE("params;tokens;loss\n1;2;3\n", "line 1: fields are separated by semicolons, expected commas");
  REFUSE("params\ttokens\tloss\n1\t2\t3\n", "separated by tabs");
  const char *bad[] = {"set"}, *unknown[] = {"set=a"}, *none[] = {"params=5"};
  const char *text = "params,tokens,loss\n1,2,3\n";
  refuse(text, strlen(text), &(iso_fit_csv_opts){.where = bad, .n_where = 1}, ISO_EINVAL, "COLUMN=VALUE");
  refuse(text, strlen(text), &(iso_fit_csv_opts){.where = unknown, .n_where = 1}, ISO_EINVAL, "no column of that name");
  refuse(text, strlen(text), &(iso_fit_csv_opts){.where = none, .n_where = 1}, ISO_EINVAL, "passes the filters");
  refuse(text, strlen(text), &(iso_fit_csv_opts){.drop_highest = 1}, ISO_EINVAL, "cannot drop");
  // Hints: a value that is not known, and a loss by another name.
  iso_fit_data none_d;
  iso_err h = {0};
  assert_int_equal(iso_fit_csv_parse("params,tokens,loss\n1,2,NaN\n", 27, "t.csv", NULL, &none_d, &h), ISO_EFORMAT);
  assert_non_null(strstr(h.hint, "leave the field empty"));
  assert_int_equal(iso_fit_csv_parse("params,tokens,loss_c4\n1,2,3\n", 28, "t.csv", NULL, &none_d, &h), ISO_EFORMAT);
  assert_non_null(strstr(h.hint, "--column loss=COLUMN names it; this table has 'loss_c4'"));
  // Fields with a range.
  iso_csv t;
  double v;
  int64_t k;
  int col;
  iso_err e = {0};
  assert_int_equal(iso_csv_parse("a,b\n1e3,\n2.5,nan\n", 17, "t.csv", &t, &e), ISO_OK);
  assert_true(iso_csv_need(&t, "A", &col, &e) == ISO_OK && col == 0 && iso_csv_need(&t, "c", &col, &e) == ISO_EFORMAT);
  assert_non_null(strstr(e.msg, "line 1: no column 'c'"));
  assert_true(iso_csv_whole(&t, 0, 0, "a", 1, 1000, &k, &e) == ISO_OK && k == 1000);
  assert_true(iso_csv_whole(&t, 0, 0, "a", 1, 999, &k, &e) == ISO_EFORMAT && iso_csv_whole(&t, 1, 0, "a", 1, 9, &k, &e) == ISO_EFORMAT);
  assert_non_null(strstr(e.msg, "line 3, column 1 (a): '2.5', expected a whole number from 1 to 9"));
  assert_true(iso_csv_within(&t, 1, 0, "a", 2.5, 3, &v, &e) == ISO_OK && v == 2.5 && iso_csv_within(&t, 1, 0, "a", 2.6, 3, &v, &e) == ISO_EFORMAT);
  assert_true(iso_csv_within(&t, 0, 1, "b", -1, 1, &v, &e) == ISO_EFORMAT && iso_csv_whole(&t, 1, 1, "b", -1, 1, &k, &e) == ISO_EFORMAT);
  iso_csv_close(&t);
  iso_fit_data d;
  assert_int_equal(iso_fit_csv_load("/nonexistent/runs.csv", NULL, &d, &e), ISO_EIO);
  assert_non_null(strstr(e.msg, "/nonexistent/runs.csv"));
}

static void test_groups(void **state) {
  (void)state;
  static const char TEXT[] = "set,decay,params,tokens,loss\nrw,long,1,1,3\nowt,long,2,1,3\nrw,long,3,1,9\nrw,short,4,1,2\nowt,long,5,1,\n";
  iso_csv t;
  iso_fit_groups g;
  iso_fit_data d;
  iso_err e = {0};
  int col[3], n;
  bool use[5] = {true, true, true, false, true};
  assert_int_equal(iso_csv_parse(TEXT, sizeof TEXT - 1, "t.csv", &t, &e), ISO_OK);
  assert_int_equal(iso_csv_columns(&t, "decay,set", col, 3, &n, &e), ISO_OK);
  assert_true(n == 2 && col[0] == 1 && col[1] == 0);
  assert_int_equal(iso_fit_csv_groups(&t, NULL, col, n, &g, &e), ISO_OK);
  assert_true(g.n == 3 && g.of[0] == 0 && g.of[1] == 1 && g.of[2] == 0 && g.of[3] == 2 && g.of[4] == 1 && g.first[2] == 3);
  iso_fit_groups_close(&g);
  assert_int_equal(iso_fit_csv_groups(&t, use, col + 1, 1, &g, &e), ISO_OK);
  assert_true(g.n == 2 && g.of[3] == -1);
  iso_fit_groups_close(&g);
  assert_int_equal(iso_fit_csv_points(&t, use, NULL, &d, &e), ISO_OK);
  assert_true(d.n == 3 && d.skipped == 1 && d.params[2] == 3);
  iso_fit_data_close(&d);
  assert_int_equal(iso_csv_columns(&t, "decay,sett", col, 3, &n, &e), ISO_EINVAL);
  assert_non_null(strstr(e.hint, "set"));
  assert_int_equal(iso_csv_columns(&t, "decay,decay", col, 3, &n, &e), ISO_EINVAL);
  assert_int_equal(iso_csv_columns(&t, "decay,,set", col, 3, &n, &e), ISO_EINVAL);
  assert_int_equal(iso_csv_columns(&t, "decay,set", col, 1, &n, &e), ISO_EINVAL);
  iso_csv_close(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_dialect), cmocka_unit_test(test_filters_and_drop), cmocka_unit_test(test_groups),
                                     cmocka_unit_test(test_errors)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
