// Growth of training costs: the published regression from its own 41 costs, dates in files, and what a fit refuses.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/fit/lawfit.h"

// Publication dates and costs of Cottier et al. 2024 (arXiv:2405.21015): epoch-research/training-cost-trends of 19 June 2024, cost_analysis.ipynb,
// cell 22, seven digits of 2023 dollars.
static const char COSTS[] =
    "Publication date,cost\n"
    "2023-12-06,2.982734e+07\n"
    "2023-11-22,1.296196e+07\n"
    "2023-09-06,1.034091e+07\n"
    "2023-05-10,4865570\n"
    "2023-03-15,4.058659e+07\n"
    "2022-11-28,4625551\n"
    "2022-11-08,901068.7\n"
    "2022-08-04,820296.6\n"
    "2022-06-22,344852.9\n"
    "2022-05-02,731667.6\n"
    "2022-04-04,2945950\n"
    "2022-02-10,229950\n"
    "2021-12-13,541437.4\n"
    "2021-12-08,616611.1\n"
    "2021-10-11,3704291\n"
    "2021-09-10,586408.8\n"
    "2021-07-27,84799.79\n"
    "2021-05-28,92453.38\n"
    "2021-05-04,85701.26\n"
    "2021-03-01,53844.28\n"
    "2021-01-11,139663.6\n"
    "2021-01-05,118437.4\n"
    "2020-06-17,98082.34\n"
    "2020-05-28,2056969\n"
    "2020-02-13,51659.71\n"
    "2020-01-28,206760.4\n"
    "2019-10-30,125758.1\n"
    "2019-10-23,75524.39\n"
    "2019-09-17,615532.4\n"
    "2019-09-17,106142.3\n"
    "2019-07-01,82771.08\n"
    "2018-09-28,5170.457\n"
    "2017-12-05,229918.6\n"
    "2017-10-18,613480.6\n"
    "2017-07-10,17239.59\n"
    "2017-01-23,3863.735\n"
    "2017-01-01,471445.3\n"
    "2016-11-17,615.548\n"
    "2016-10-07,12617.63\n"
    "2016-09-26,193787.1\n"
    "2015-12-08,206.3058\n";

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.12g, expected %.12g", got, want);
}

static void load(const char *text, iso_law_data *d) {
  iso_csv t;
  iso_law_data held;
  iso_law_data_opts o = {.objective = iso_law_cost_growth.objective};
  iso_err e = {0};
  if (iso_csv_parse(text, strlen(text), "costs.csv", &t, &e) != ISO_OK) fail_msg("%s", e.msg);
  if (iso_law_data_read(&t, &iso_law_cost_growth, &o, d, &held, &e) != ISO_OK) fail_msg("%s", e.msg);
  iso_law_data_close(&held);
  iso_csv_close(&t);
}

// Cells 26 and 27: 0.38198 powers of ten a year, 90% from 0.29474 to 0.46922 by ordinary least squares; constant -766.4197.
static void test_published(void **state) {
  (void)state;
  iso_law law = iso_law_cost_growth;
  iso_law_data d;
  iso_lawfit f;
  iso_ctx *ctx;
  iso_err e = {0};
  load(COSTS, &d);
  assert_int_equal(d.n, 41);
  assert_int_equal(iso_ctx_open(1, &ctx, &e), ISO_OK);
  d.law = &law;
  law.n_consts = 0;  // nothing but the data says where the fit ends
  iso_lawfit_opts o = iso_lawfit_opts_default(&law);
  o.resamples = 1000;
  o.level = 0.9;
  if (iso_lawfit_run(ctx, &d, &o, &f, &e) != ISO_OK) fail_msg("%s", e.msg);
  double lo = f.lo[1], hi = f.hi[1];
  print_message("g %.6f (%.4f to %.4f), C %.6g\n", f.p[1], lo, hi, exp(f.p[0]));
  near(f.p[1], 0.38198, 2e-5);
  near((f.p[0] - log(10) * 2020 * f.p[1]) / log(10), -766.4197, 2e-6);
  for (int k = 0; k < 2; k++) near(f.p[k], iso_law_cost_growth.consts[0].p[k], 1e-6);
  // Another kind of interval (bias-corrected bootstrap, widened for the parameters fitted): not narrower, nor much wider.
  assert_true(hi - lo > 0.46922 - 0.29474 && hi - lo < 1.3 * (0.46922 - 0.29474));
  near(lo, 0.29474, 0.1);
  near(hi, 0.46922, 0.1);
  iso_lawfit_close(&f);
  iso_law_data_close(&d);
  iso_ctx_close(ctx);
}

static void test_dates(void **state) {
  (void)state;
  iso_law_data d;
  load("cost,date\n1e6,2020-01-01\n2e6,2021-07-02\n4e6,2023.25\n", &d);
  assert_int_equal(d.n, 3);
  near(d.x[0], 2020, 1e-15);
  near(d.x[1], 2021 + 0.5 + 1 / 365.0, 1e-12);
  near(d.x[2], 2023.25, 1e-15);
  iso_law_data_close(&d);
  static const char *const BAD[] = {"date,cost\n2020-13-01,1e6\n", "date,cost\n2020-01-40,1e6\n", "date,cost\nMay 2020,1e6\n",
                                    "date,cost\n2020-05-01x,1e6\n", "date,cost\n2020-05-01,-3\n"};
  for (size_t i = 0; i < ISO_COUNT(BAD); i++) {
    iso_csv t;
    iso_law_data held;
    iso_law_data_opts o = {.objective = iso_law_cost_growth.objective};
    iso_err e = {0};
    assert_int_equal(iso_csv_parse(BAD[i], strlen(BAD[i]), "costs.csv", &t, &e), ISO_OK);
    assert_int_equal(iso_law_data_read(&t, &iso_law_cost_growth, &o, &d, &held, &e), ISO_EFORMAT);
    assert_non_null(strstr(e.msg, "line 2"));
    iso_csv_close(&t);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_published), cmocka_unit_test(test_dates)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
