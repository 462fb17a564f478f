// The general fit: agreement with the fast one, recovery, intervals, expressions over columns, held-out rows, limits, diagnostics.
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
#include "base/rng.h"
#include "plan/fit/fit_csv.h"
#include "plan/fit/lawfit.h"

static iso_ctx *ctx;

// Under sanitizers: the same code, fewer repetitions.
static bool small(void) { return getenv("ISOFLOP_TEST_SMALL") != NULL; }

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, expected %.12g +- %g", got, want, tol);
}
static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}

static void shared_csv(const char *name, iso_csv *t) {
  static char path[512];
  const char *shared = getenv("ISOFLOP_SHARED");
  iso_err e = {0};
  if (!shared) {
    print_message("ISOFLOP_SHARED is not set: skipped\n");
    skip();
  }
  snprintf(path, sizeof path, "%s/data/scaling/%s", shared, name);
  ok(iso_csv_load(path, t, &e), &e);
}

static void open_ctx(void) {
  iso_err e = {0};
  ok(iso_ctx_open(2, &ctx, &e), &e);
}

// Runs of a law at p on a grid of `n` points between lo and hi (evenly in logarithms, by a low-discrepancy sequence), with noise.
static void synthetic(const iso_law *l, const double *p, int n, const double *lo, const double *hi, double noise, uint64_t seed, iso_law_data *d) {
  iso_err e = {0};
  static const double PHI[ISO_LAW_INPUT_MAX] = {0.7548776662, 0.5698402909, 0.4301597090, 0.3247179572,
                                                0.2451223337, 0.1850373752, 0.1396806,    0.1054};
  ok(iso_law_data_open(l, n, d, &e), &e);
  for (int i = 0; i < n; i++) {
    double *x = d->x + i * l->n_inputs;
    for (int k = 0; k < l->n_inputs; k++) {
      double u = 0.5 + (i + 1) * PHI[k];
      x[k] = lo[k] == hi[k] ? lo[k] : lo[k] * pow(hi[k] / lo[k], u - floor(u));
    }
    double v = l->value(p, x, NULL), z = iso_rng_normal(seed, ISO_RNG_TEST, 0, (uint64_t)i);
    d->y[i] = iso_law_objective_is_log(l->objective) ? v * exp(noise * z) : v + noise * z;
    d->flop[i] = iso_law_flop(l, x);
  }
}

// Epoch's 240 points: the general fit ends where the fast one does, and below the published parameters.
static void test_chinchilla(void **state) {
  (void)state;
  iso_csv t;
  iso_law_data d, held;
  iso_lawfit f;
  iso_fit fast;
  iso_fit_data points;
  iso_err e = {0};
  shared_csv("epoch_chinchilla.csv", &t);
  iso_law_data_opts o = {.drop_highest = 5};
  ok(iso_law_data_read(&t, &iso_law_chinchilla, &o, &d, &held, &e), &e);
  assert_true(d.n == 240 && d.dropped == 5 && held.n == 0);
  iso_lawfit_opts fo = iso_lawfit_opts_default(&iso_law_chinchilla);
  fo.resamples = 200;
  ok(iso_lawfit_run(ctx, &d, &fo, &f, &e), &e);
  ok(iso_fit_csv_points(&t, NULL, &(iso_fit_csv_opts){.drop_highest = 5}, &points, &e), &e);
  iso_fit_opts quick = iso_fit_opts_default();
  quick.resamples = 400;
  ok(iso_fit_run(ctx, &points, &quick, &fast, &e), &e);
  print_message("objective %.12g, fast %.12g, published %.12g\n", f.value, fast.objective, f.published[0]);
  near(f.value, fast.objective, 1e-9);
  assert_true(f.value <= f.published[0] && f.published[0] == iso_lawfit_objective(&d, fo.objective, fo.delta, iso_law_chinchilla.consts[0].p));
  for (int k = 0; k < 5; k++) {
    near(f.p[k], fast.p[k], 0.02 * fast.se[k]);
    near(f.se[k], fast.se[k], 0.25 * fast.se[k]);
    // The intervals hold the replication's parameters.
    assert_true(f.lo[k] <= iso_law_chinchilla.consts[0].p[k] && iso_law_chinchilla.consts[0].p[k] <= f.hi[k]);
  }
  iso_lawfit_best b;
  iso_fit_best fb;
  ok(iso_lawfit_optimum(&f, NULL, 5.76e23, 0.9, &b, &e), &e);
  ok(iso_fit_optimum(&fast, 5.76e23, 0.9, &fb, &e), &e);
  near(b.params.mid / fb.params.mid, 1, 1e-3);
  near(b.params.hi / fb.params.hi, 1, 0.2);
  iso_fit_close(&fast);
  iso_fit_data_close(&points);
  iso_lawfit_close(&f);
  iso_law_data_close(&d);
  iso_law_data_close(&held);
  iso_csv_close(&t);
}

// Without noise every law gives its own constants' values back (without constants: those of parameters in the middle of where fits start): the
// objective is zero to rounding and predictions agree far out.
static void test_recovery(void **state) {
  (void)state;
  for (int64_t k = 0; k < iso_law_count(); k++) {
    const iso_law *l = iso_law_at(k);
    if (!l->n_consts || (small() && k % 5)) continue;  // without sets: test_law_fitted.c
    iso_law_data d;
    iso_lawfit f;
    iso_err e = {0};
    double lo[ISO_LAW_INPUT_MAX], hi[ISO_LAW_INPUT_MAX], x[ISO_LAW_INPUT_MAX];
    double p[ISO_LAW_PARAM_MAX];
    iso_law bare = *l;
    memcpy(p, l->consts[0].p, sizeof p);
    for (int i = 0; i < l->n_inputs; i++) {
      static const struct {
        const char *name;
        double lo, hi;
      } SPAN[] = {{"params", 2e7, 4e9},       {"tokens", 5e8, 2e11},        {"unique_tokens", 1e8, 4e10},
                  {"vocab", 4e3, 1e5},        {"width", 500, 4000},         {"weight_bits", 3, 12},
                  {"act_bits", 4, 12},        {"kv_bits", 4, 12},           {"post_bits", 3, 8},
                  {"experts", 1, 32},         {"granularity", 1, 32},       {"active_params", 2e7, 4e9},
                  {"loss", 2.2, 5},           {"train_flop", 1e18, 1e22},   {"batch_tokens", 1e5, 4e6},
                  {"lr", 1e-4, 1e-2},         {"active_share", 0.02, 0.3},  {"streams", 1, 16},
                  {"teacher_loss", 1.9, 2.6}, {"supervised_loss", 2, 3.2},  {"steps", 3e3, 1e6},
                  {"density", 0.1, 0.9},      {"finetune_chars", 1e5, 1e8}, {"months", 1, 60},
                  {"year", 2016, 2024}};
      lo[i] = hi[i] = NAN;
      for (size_t s = 0; s < ISO_COUNT(SPAN); s++)
        if (!strcmp(SPAN[s].name, l->input[i].name)) {
          lo[i] = SPAN[s].lo;
          hi[i] = SPAN[s].hi;
        }
      if (isnan(lo[i])) fail_msg("no span for an input called %s", l->input[i].name);
      x[i] = hi[i] > 2000 && lo[i] > 0.9 * hi[i] ? hi[i] + 20 : 3 * hi[i];  // years are far out sooner
    }
    bare.n_consts = 0;  // the published sets are no starts here
    synthetic(&bare, p, 20 * l->n_params, lo, hi, 0, 0, &d);
    iso_lawfit_opts fo = iso_lawfit_opts_default(l);
    fo.resamples = 0;
    ok(iso_lawfit_run(ctx, &d, &fo, &f, &e), &e);
    double want = l->value(p, x, NULL), got = l->value(f.p, x, NULL);
    print_message("%-20s objective %.3g, rmse %.2g, agree %d of %d, far out %.8g against %.8g\n", l->base.name, f.value, f.rmse, f.agree, f.finalists,
                  got, want);
    if (!(f.rmse < 1e-5 * (iso_law_objective_is_log(l->objective) ? 1 : fabs(want)))) fail_msg("%s: rmse %g", l->base.name, f.rmse);
    near(got, want, 2e-3 * fabs(want));
    iso_lawfit_close(&f);
    iso_law_data_close(&d);
  }
}

// 60 noisy sets of 60 runs: 90% intervals of the exponents and of a new run's loss, three times outside the data, hold in 80 to 98%.
static void test_coverage(void **state) {
  (void)state;
  enum { SETS = 60 };
  const iso_law *l = &iso_law_chinchilla;
  const double *p = l->consts[0].p;
  static const double LO[2] = {3e7, 6e8}, HI[2] = {1e9, 4e10};
  int alpha = 0, beta = 0, loss = 0;
  for (uint64_t seed = 0; seed < (small() ? 3 : SETS); seed++) {
    iso_law_data d;
    iso_lawfit f;
    iso_err e = {0};
    iso_fit_interval v;
    synthetic(l, p, 60, LO, HI, 0.004, seed, &d);
    iso_lawfit_opts fo = iso_lawfit_opts_default(l);
    fo.resamples = 100;
    fo.starts = 60;
    ok(iso_lawfit_run(ctx, &d, &fo, &f, &e), &e);
    alpha += f.lo[3] <= p[3] && p[3] <= f.hi[3];
    beta += f.lo[4] <= p[4] && p[4] <= f.hi[4];
    double x[2] = {3e9, 1.2e11}, run = l->value(p, x, NULL) * exp(0.004 * iso_rng_normal(seed, ISO_RNG_TEST, 1, 0));
    ok(iso_lawfit_predict(&f, x, 0.9, &v, &e), &e);
    loss += v.lo <= run && run <= v.hi;
    iso_lawfit_close(&f);
    iso_law_data_close(&d);
  }
  if (small()) return;
  print_message("coverage of 90%% intervals over %d sets: alpha %.3f, beta %.3f, loss of a new run %.3f\n", SETS, alpha / (double)SETS,
                beta / (double)SETS, loss / (double)SETS);
  assert_in_range(alpha, SETS * 80 / 100, SETS * 98 / 100 + 1);
  assert_in_range(beta, SETS * 80 / 100, SETS * 98 / 100 + 1);
  assert_in_range(loss, SETS * 80 / 100, SETS * 98 / 100 + 1);
}

static const char TABLE[] =
    "run,N,steps,val_loss,set,train_flops\n"
    "a,1e8,1000,3.5,c4,\n"
    "a,1e8,2000,3.4,c4,\n"
    "b,2e8,1000,3.3,c4,1e18\n"
    "b,2e8,,3.2,c4,3.6e18\n"
    "c,4e8,4000,,c4,\n"
    "d,4e8,4000,3.0,rpj,\n"
    "e,8e8,9000,2.9,c4,\n";

static void read_table(const iso_law_data_opts *o, iso_law_data *d, iso_law_data *h) {
  iso_csv t;
  iso_err e = {0};
  ok(iso_csv_parse(TABLE, sizeof TABLE - 1, "t.csv", &t, &e), &e);
  ok(iso_law_data_read(&t, &iso_law_chinchilla, o, d, h, &e), &e);
  iso_csv_close(&t);
}

static void refuse_table(const iso_law_data_opts *o, const char *word) {
  iso_csv t;
  iso_law_data d, h;
  iso_err e = {0};
  ok(iso_csv_parse(TABLE, sizeof TABLE - 1, "t.csv", &t, &e), &e);
  assert_int_not_equal(iso_law_data_read(&t, &iso_law_chinchilla, o, &d, &h, &e), ISO_OK);
  if (!strstr(e.msg, word)) fail_msg("'%s' does not say '%s'", e.msg, word);
  assert_true(!d.x && !h.x);
  iso_csv_close(&t);
}

static void test_columns(void **state) {
  (void)state;
  iso_law_data d, h;
  const char *cols[] = {"tokens=steps*1e6"};
  iso_law_data_opts o = {.columns = cols, .n_columns = 1, .rows = "set=='c4'", .holdout = "params>5e8", .cluster = "run"};
  read_table(&o, &d, &h);
  assert_true(d.n == 4 && h.n == 1 && d.skipped == 1 && d.clusters == 2);
  assert_true(d.x[0] == 1e8 && d.x[1] == 1e9 && d.y[0] == 3.5 && d.line[0] == 2 && d.cluster[0] == 0 && d.cluster[1] == 0 && d.cluster[2] == 1);
  near(d.flop[0], 6e17, 1);         // 6 N D
  near(d.flop[2], 1e18, 1);         // the column's
  near(d.x[7], 3.6e18 / 1.2e9, 1);  // no steps: tokens from FLOPs
  assert_true(h.x[0] == 8e8 && h.line[0] == 8);
  iso_law_data_close(&d);
  iso_law_data_close(&h);
  o = (iso_law_data_opts){.columns = cols, .n_columns = 1, .holdout = "train_flop>2e18 || tokens_per_param<6", .drop_highest = 1};
  read_table(&o, &d, &h);
  assert_true(d.n == 1 && h.n == 4 && d.dropped == 1 && d.y[0] == 3.4);
  iso_law_data_close(&d);
  iso_law_data_close(&h);
  const char *bad[] = {"tokens=stepss*1e6"}, *none[] = {"tokens"}, *nobody[] = {"width=N"}, *twice[] = {"tokens=steps*2", "tokens=steps*3"};
  refuse_table(&(iso_law_data_opts){.rows = "N>0"}, "line 2: tokens = nan");  // neither steps nor FLOPs on that line
  refuse_table(&(iso_law_data_opts){.columns = bad, .n_columns = 1}, "no column called 'stepss'");
  refuse_table(&(iso_law_data_opts){.columns = none, .n_columns = 1}, "NAME=EXPRESSION");
  refuse_table(&(iso_law_data_opts){.columns = nobody, .n_columns = 1}, "no input or target called width");
  refuse_table(&(iso_law_data_opts){.columns = twice, .n_columns = 2}, "given twice");
  refuse_table(&(iso_law_data_opts){.columns = cols, .n_columns = 1, .rows = "set>'c4'"}, "expected a number");
  refuse_table(&(iso_law_data_opts){.columns = cols, .n_columns = 1, .rows = "set>3"}, "'c4', expected a finite number");
  refuse_table(&(iso_law_data_opts){.columns = cols, .n_columns = 1, .rows = "N<0"}, "no row is left");
  refuse_table(&(iso_law_data_opts){.columns = cols, .n_columns = 1, .cluster = "runs"}, "no column called 'runs'");
}

// Limits of extrapolation, and a kink that is put into the data.
static void test_limits_and_break(void **state) {
  (void)state;
  const iso_law *l = &iso_law_chinchilla;
  static const double LO[2] = {3e7, 6e8}, HI[2] = {3e9, 6e10};
  iso_law_data d, held;
  iso_lawfit f;
  iso_lawfit_score s;
  iso_err e = {0};
  int axis;
  synthetic(l, l->consts[0].p, 80, LO, HI, 0.003, 4, &d);
  iso_lawfit_opts fo = iso_lawfit_opts_default(l);
  fo.resamples = 100;
  ok(iso_lawfit_run(ctx, &d, &fo, &f, &e), &e);
  assert_true(f.break_p > 0.01 && f.n_outliers == 0 && f.agree >= 2);
  for (int i = 0; i < f.n_trends; i++) assert_true(f.trend[i].p > 0.01);
  double in[2] = {1e9, 1e10}, far[2] = {30 * f.x_hi[0], 1e10};
  near(iso_lawfit_reach(&f, in, &axis), 1, 0);
  assert_int_equal(axis, -1);
  near(iso_lawfit_reach(&f, far, &axis), 30, 1e-9);
  assert_string_equal(iso_lawfit_axis_name(l, axis), "params");
  ok(iso_lawfit_check_reach(&f, far, 31, &e), &e);
  assert_int_equal(iso_lawfit_check_reach(&f, far, 20, &e), ISO_EUNSUP);
  assert_non_null(strstr(e.msg, "30 times outside the runs in params"));
  assert_non_null(strstr(e.hint, "--extrapolate"));
  // FLOPs may lie further out than every input.
  double corner[2] = {3 * f.x_hi[0], 3 * f.x_hi[1]};
  assert_true(iso_lawfit_reach(&f, corner, &axis) > 3 && !strcmp(iso_lawfit_axis_name(l, axis), "train_flop"));
  ok(iso_law_data_open(l, 2, &held, &e), &e);
  memcpy(held.x, in, sizeof in);
  memcpy(held.x + 2, far, sizeof far);
  held.y[0] = l->value(l->consts[0].p, in, NULL);
  held.y[1] = l->value(l->consts[0].p, far, NULL);
  ok(iso_lawfit_score_rows(&f, &held, 0.9, 20, &s, &e), &e);
  assert_true(s.n == 2 && s.used == 1 && s.at[1].refused && s.at[0].inside && s.mean_abs < 0.005 && s.inside == 1);
  iso_lawfit_score_close(&s);
  ok(iso_lawfit_score_rows(&f, &held, 0.9, INFINITY, &s, &e), &e);
  assert_true(s.used == 2 && !s.at[1].refused && fabs(s.at[1].error) < 0.03);
  iso_lawfit_score_close(&s);
  iso_law_data_close(&held);
  // JSON and checklist say what was done.
  iso_lawfit_item items[ISO_LAWFIT_ITEMS];
  int n = iso_lawfit_checklist(&f, NULL, NULL, items), open = 0;
  for (int i = 0; i < n; i++) open += !items[i].answer[0];
  assert_true(n == 20 && open == 4);
  json_t *j = iso_lawfit_json(&f);
  assert_non_null(j);
  near(json_number_value(json_object_get(json_object_get(json_object_get(j, "params"), "alpha"), "value")), f.p[3], 0);
  json_decref(j);
  iso_lawfit_close(&f);
  // Above 3e19 FLOPs losses stop falling as they should: 4% a decade. And one row is off by a lot.
  for (int64_t i = 0; i < d.n; i++) d.y[i] *= exp(0.04 * fmax(log10(d.flop[i] / 3e19), 0));
  d.y[7] *= 1.3;
  ok(iso_lawfit_run(ctx, &d, &fo, &f, &e), &e);
  print_message("break at %.3g, %.3f a decade, p = %.3f\n", f.break_at, f.break_per_decade, f.break_p);
  assert_true(f.break_p <= 0.01 && f.break_at > 3e18 && f.break_at < 3e20 && f.break_per_decade > 0.005);
  assert_true(f.n_outliers >= 1 && f.outlier[0] == 7);
  bool said = false;
  for (int i = 0; i < f.n_warn; i++) said = said || strstr(f.warn[i], "residuals bend at train_flop");
  assert_true(said);
  iso_lawfit_close(&f);
  // Clusters are drawn whole; the seed decides everything, whatever the threads.
  for (int64_t i = 0; i < d.n; i++) d.cluster[i] = i / 8;
  d.clusters = 10;
  iso_lawfit g;
  iso_ctx *one;
  fo.resamples = 40;
  ok(iso_ctx_open(1, &one, &e), &e);
  ok(iso_lawfit_run(ctx, &d, &fo, &f, &e), &e);
  ok(iso_lawfit_run(one, &d, &fo, &g, &e), &e);
  assert_int_equal(f.boot, ISO_LAWFIT_BOOT_CLUSTERS);
  assert_memory_equal(f.lo, g.lo, sizeof f.lo);
  assert_memory_equal(f.p, g.p, sizeof f.p);
  iso_lawfit_close(&f);
  iso_lawfit_close(&g);
  iso_ctx_close(one);
  iso_law_data_close(&d);
}

static void test_bad(void **state) {
  (void)state;
  const iso_law *l = &iso_law_chinchilla;
  static const double LO[2] = {3e7, 6e8}, HI[2] = {3e9, 6e10};
  iso_law_data d;
  iso_lawfit f;
  iso_err e = {0};
  iso_lawfit_opts fo = iso_lawfit_opts_default(l);
  synthetic(l, l->consts[0].p, 30, LO, HI, 0.003, 4, &d);
  d.n = 5;
  assert_int_equal(iso_lawfit_run(ctx, &d, &fo, &f, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "5 rows, expected more than its 5 parameters"));
  d.n = 30;
  iso_law_data flat;
  synthetic(l, l->consts[0].p, 30, LO, HI, 0, 4, &flat);
  for (int i = 0; i < 30; i++) flat.y[i] = 2.5;
  assert_int_equal(iso_lawfit_run(ctx, &flat, &fo, &f, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "all 30 rows have a loss of 2.5"));
  iso_law_data_close(&flat);
  d.y[3] = -1;
  assert_int_equal(iso_lawfit_run(ctx, &d, &fo, &f, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "row 4"));
  fo.objective = ISO_LAW_HUBER;
  d.y[3] = NAN;
  assert_int_equal(iso_lawfit_run(ctx, &d, &fo, &f, &e), ISO_EINVAL);
  d.y[3] = 3;
  d.x[4] = INFINITY;
  assert_int_equal(iso_lawfit_run(ctx, &d, &fo, &f, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "row 3"));
  d.x[4] = 1e8;
  fo.delta = 0;
  assert_int_equal(iso_lawfit_run(ctx, &d, &fo, &f, &e), ISO_EINVAL);
  fo.delta = 1e-3;
  fo.level = 1;
  assert_int_equal(iso_lawfit_run(ctx, &d, &fo, &f, &e), ISO_EINVAL);
  fo.level = 0.9;
  fo.resamples = 0;
  ok(iso_lawfit_run(ctx, &d, &fo, &f, &e), &e);
  double x[2] = {1e9, -1};
  iso_fit_interval v;
  assert_int_equal(iso_lawfit_predict(&f, x, 0.9, &v, &e), ISO_EINVAL);
  assert_true(isnan(f.lo[0]) && f.boot == ISO_LAWFIT_BOOT_NONE);
  iso_lawfit_close(&f);
  iso_law_data_close(&d);
}

int main(void) {
  open_ctx();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_chinchilla), cmocka_unit_test(test_recovery),         cmocka_unit_test(test_coverage),
                                     cmocka_unit_test(test_columns),    cmocka_unit_test(test_limits_and_break), cmocka_unit_test(test_bad)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  iso_ctx_close(ctx);
  return failed;
}
