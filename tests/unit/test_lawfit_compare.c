// Laws ranked on held-out rows: the law that made the runs wins, errors and correlations by hand, laws that a table cannot feed.
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
#include "base/stat.h"
#include "base/str.h"
#include "plan/fit/lawfit_bench.h"
#include "plan/fit/lawfit_compare.h"

static iso_ctx *ctx;

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, expected %.12g +- %g", got, want, tol);
}
static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}

// 60 runs of the Chinchilla form, all trained far beyond the optimum, so that the split of compute shows.
static void table(iso_str *text) {
  iso_str_add(text, "params,steps,loss,lr\n");
  for (int i = 0; i < 6; i++)
    for (int k = 0; k < 10; k++) {
      double n = 1e7 * pow(3, i), d = 30 * n * pow(1.7, k);
      iso_str_fmt(text, "%.17g,%.17g,%.17g,%.17g\n", n, d / 1e6, 1.8 + 480 / pow(n, 0.35) + 2100 / pow(d, 0.37), 0.01 / pow(n, 0.1));
    }
}

static void test_ranks(void **state) {
  (void)state;
  iso_str text = {0};
  iso_csv t;
  iso_err e = {0};
  iso_lawfit_compare w;
  table(&text);
  ok(iso_csv_parse(text.p, text.n, "t.csv", &t, &e), &e);
  const iso_law *laws[] = {&iso_law_compute_only, &iso_law_vocab, &iso_law_step_lr, &iso_law_chinchilla};
  const char *columns[] = {"tokens=steps*1e6"};
  iso_law_data_opts d = {.columns = columns, .n_columns = 1, .holdout = "params>2e9"};
  iso_lawfit_opts o = iso_lawfit_opts_default(&iso_law_chinchilla);
  o.resamples = 40;
  ok(iso_lawfit_compare_run(ctx, &t, laws, 4, &d, &o, 1e6, &w, &e), &e);
  assert_true(w.n == 4 && w.compared == 2 && w.held == 10 && w.common == 10 && w.relative);
  const iso_lawfit_entry *best = &w.at[0], *second = &w.at[1];
  assert_true(best->law == &iso_law_chinchilla && best->rank == 1 && best->objective_rank == 1 && best->mean_abs < 1e-4);
  assert_true(second->law == &iso_law_compute_only && second->rank == 2 && second->objective_rank == 2 && second->mean_abs > 0.01);
  assert_true(best->fit.fit_s > 0 && best->fit.refit_s > 0);
  assert_non_null(strstr(w.at[2].note, "no column for vocab"));
  assert_non_null(strstr(w.at[3].note, "predicts lr"));
  // FLOPs were made from N and D; errors and the correlation once more from their definitions.
  double mean = 0, ratio[50], rho, p;
  for (int64_t i = 0; i < second->held.n; i++) {
    const double *x = best->held.x + 2 * i;
    near(second->held.x[i] / (6 * x[0] * x[1]), 1, 1e-12);
    mean += fabs(iso_law_compute_only.value(second->fit.p, second->held.x + i, NULL) / second->held.y[i] - 1) / 10;
  }
  near(second->mean_abs, mean, 1e-12);
  assert_int_equal(best->rows.n, 50);
  for (int i = 0; i < 50; i++) ratio[i] = best->rows.x[2 * i + 1] / best->rows.x[2 * i];
  ok(iso_rank_correlation(second->fit.resid, ratio, 50, &rho, &p, &e), &e);
  assert_true(rho == second->split_rho && fabs(rho) > 0.5 && second->split_p < 1e-3);
  json_t *j = iso_lawfit_compare_json(&w);
  assert_int_equal(json_array_size(json_object_get(j, "comparison")), 4);
  json_decref(j);
  iso_lawfit_compare_close(&w);
  // Within a small reach the two laws refuse different rows and are ranked by what both answer: N lies 3 times outside, C up to 9.
  ok(iso_lawfit_compare_run(ctx, &t, laws, 4, &d, &o, 3.5, &w, &e), &e);
  int64_t both = 0;
  for (int64_t i = 0; i < w.held; i++) both += !w.at[0].score.at[i].refused && !w.at[1].score.at[i].refused;
  assert_true(w.common == both && both > 0 && both < w.held);
  iso_lawfit_compare_close(&w);
  // Nobody's column; nothing to rank by; no law at all.
  const char *none[] = {"colour=params"};
  d.columns = none;
  assert_int_equal(iso_lawfit_compare_run(ctx, &t, laws, 4, &d, &o, 20, &w, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "colour"));
  d = (iso_law_data_opts){.columns = columns, .n_columns = 1, .holdout = "params>1e15"};
  assert_int_equal(iso_lawfit_compare_run(ctx, &t, laws, 4, &d, &o, 20, &w, &e), ISO_EINVAL);
  assert_true(!w.at);
  iso_csv_close(&t);
  iso_str_free(&text);
}

// Every law has synthetic runs of its own, which its parameters explain exactly without noise; the timed fit finds the noise put in.
static void test_synthetic(void **state) {
  (void)state;
  iso_lawfit_bench_opts o = iso_lawfit_bench_opts_default();
  o.noise = 0;
  for (int64_t k = 0; k < iso_law_count(); k++) {
    const iso_law *law = iso_law_at(k);
    iso_law_data d;
    iso_err e = {0};
    double p[ISO_LAW_PARAM_MAX];
    const char *set;
    ok(iso_lawfit_synthetic(law, &o, &d, p, &set, &e), &e);
    assert_int_equal(d.n, 20 * law->n_params);
    near(iso_lawfit_objective(&d, law->objective, 1e-3, p), 0, 1e-20);
    if (set) assert_memory_equal(p, law->consts[0].p, sizeof(double) * (size_t)law->n_params);
    for (int64_t i = 1; i < d.n; i++) assert_true(isfinite(d.y[i]));
    iso_law_data_close(&d);
  }
  json_t *j;
  iso_err e = {0};
  o = iso_lawfit_bench_opts_default();
  o.rows = 400;
  ok(iso_lawfit_bench(ctx, &iso_law_chinchilla, &o, &j, &e), &e);
  near(json_number_value(json_object_get(j, "noise_sd")), 0.005, 0.0005);
  assert_true(json_number_value(json_object_get(j, "fit_s")) > 0 && json_number_value(json_object_get(j, "refit_s")) > 0);
  assert_int_equal(json_integer_value(json_object_get(j, "starts")), 400);
  json_decref(j);
}

int main(void) {
  iso_err e = {0};
  ok(iso_ctx_open(2, &ctx, &e), &e);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranks), cmocka_unit_test(test_synthetic)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  iso_ctx_close(ctx);
  return failed;
}
