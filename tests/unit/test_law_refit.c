// Laws refitted to published runs without their published constants: they end no higher than those, find them again, and extrapolate.
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
#include "plan/fit/lawfit.h"

static iso_ctx *ctx;

static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, expected %.12g +- %g", got, want, tol);
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

// A law without its published sets, which would otherwise be among the starts.
typedef struct refit {
  iso_law bare;
  iso_law_data d, held;
  iso_lawfit f;
  const iso_law_const *c;
  double published;
} refit;

static void run(const char *csv, const iso_law *law, const char *set, const iso_law_data_opts *o, const iso_lawfit_opts *fo, refit *r) {
  iso_csv t;
  iso_err e = {0};
  iso_law_data_opts data = *o;
  shared_csv(csv, &t);
  r->bare = *law;
  r->bare.n_consts = 0;
  data.objective = fo->objective;
  ok(iso_law_data_read(&t, &r->bare, &data, &r->d, &r->held, &e), &e);
  ok(iso_lawfit_run(ctx, &r->d, fo, &r->f, &e), &e);
  ok(iso_law_find_const(law, set, &r->c, &e), &e);
  r->published = iso_lawfit_objective(&r->d, fo->objective, fo->delta, r->c->p);
  print_message("%s on %lld rows of %s: objective %.9g, %.9g with %s, %d of %d starts agree\n", law->base.name, (long long)r->d.n, csv, r->f.value,
                r->published, set, r->f.agree, r->f.finalists);
  assert_true(r->f.value <= r->published);
  iso_csv_close(&t);
}

static void close_refit(refit *r) {
  iso_lawfit_close(&r->f);
  iso_law_data_close(&r->d);
  iso_law_data_close(&r->held);
}

// Intervals hold the published parameters.
static void covers(const refit *r) {
  for (int k = 0; k < r->bare.n_params; k++)
    if (!(r->f.lo[k] <= r->c->p[k] && r->c->p[k] <= r->f.hi[k]))
      fail_msg("%s: %s = %.6g is not in [%.6g, %.6g]", r->bare.base.name, r->bare.param[k].name, r->c->p[k], r->f.lo[k], r->f.hi[k]);
}

static void test_chinchilla(void **state) {
  (void)state;
  refit r;
  iso_lawfit_opts fo = iso_lawfit_opts_default(&iso_law_chinchilla);
  fo.resamples = 300;
  run("epoch_chinchilla.csv", &iso_law_chinchilla, "besiroglu2024", &(iso_law_data_opts){.drop_highest = 5}, &fo, &r);
  assert_int_equal(r.d.n, 240);
  covers(&r);
  // The authors' standard errors of the logarithms and exponents, from 4,000 resamples.
  static const double SE[5] = {0.258, 0.421, 0.014, 0.01540, 0.02060};
  for (int k = 0; k < 5; k++) near(r.f.se[k] / SE[k], 1, 0.25);
  close_refit(&r);
}

// The authors' percentile intervals (95%, 4,000 resamples of pairs): plain percentiles of the resamples here end within 8% of their width, and the
// intervals that are reported, bias-corrected and widened for five parameters, are as wide to a fifth.
static void test_percentiles(void **state) {
  (void)state;
  static const double CI[5][2] = {{285.214, 743.626}, {1042.357, 5810.344}, {1.769, 1.871}, {0.317, 0.373}, {0.331, 0.415}};
  refit r;
  iso_lawfit_opts fo = iso_lawfit_opts_default(&iso_law_chinchilla);
  fo.resamples = 4000;
  fo.level = 0.95;
  run("epoch_chinchilla.csv", &iso_law_chinchilla, "besiroglu2024", &(iso_law_data_opts){.drop_highest = 5}, &fo, &r);
  double *v = malloc(sizeof *v * (size_t)r.f.resamples);
  assert_non_null(v);
  for (int k = 0; k < 5; k++) {
    bool log_scale = r.bare.param[k].is_log;
    double lo = log_scale ? log(CI[k][0]) : CI[k][0], hi = log_scale ? log(CI[k][1]) : CI[k][1], end[2];
    for (int i = 0; i < 2; i++) {
      for (int64_t s = 0; s < r.f.resamples; s++) v[s] = r.f.sample[s * 5 + k];
      end[i] = iso_quantile(v, r.f.resamples, i ? 0.975 : 0.025);
    }
    print_message("%s: %.4f to %.4f, published %.4f to %.4f, reported %.4f to %.4f\n", r.bare.param[k].name, end[0], end[1], lo, hi, r.f.lo[k],
                  r.f.hi[k]);
    near(end[0], lo, 0.08 * (hi - lo));
    near(end[1], hi, 0.08 * (hi - lo));
    near((r.f.hi[k] - r.f.lo[k]) / (hi - lo), 1, 0.2);
  }
  free(v);
  close_refit(&r);
}

// Oracle: cells 34, 48 to 52 and 54 of the replication's notebook, which test Hoffmann et al.'s constants against its own on the same points,
// and its fit to all of them. The covariance is that of other refits there: chi2 238.40.
static void test_against(void **state) {
  (void)state;
  static const char *const SET[3] = {"hoffmann2022_rounded", "hoffmann2022", "besiroglu2024"};
  static const double LIKELY[2][3] = {{562.25, 837.78, 879.77}, {531.89, 714.43, 757.80}}, RATIO[2] = {84.00, 86.75}, P[2] = {1.22e-16, 3.23e-17};
  for (int all = 0; all < 2; all++) {
    refit r;
    iso_err e = {0};
    iso_lawfit_against a[3], at;
    iso_lawfit_opts fo = iso_lawfit_opts_default(&iso_law_chinchilla);
    fo.resamples = 2000;
    run("epoch_chinchilla.csv", &iso_law_chinchilla, all ? "besiroglu2024_all" : "besiroglu2024", &(iso_law_data_opts){.drop_highest = all ? 0 : 5},
        &fo, &r);
    for (int k = 0; k < 3; k++) {
      const iso_law_const *c;
      ok(iso_law_find_const(&iso_law_chinchilla, SET[k], &c, &e), &e);
      ok(iso_lawfit_test(&r.f, &r.d, c->p, &a[k], &e), &e);
      print_message("%s: log-likelihood %.2f, chi2 %.2f\n", SET[k], a[k].log_likelihood, a[k].chi2);
      near(a[k].log_likelihood, LIKELY[all][k], 0.011);
    }
    near(2 * (a[2].log_likelihood - a[1].log_likelihood), RATIO[all], 0.011);
    near(iso_chi2_above(2 * (a[2].log_likelihood - a[1].log_likelihood), 5) / P[all], 1, 0.02);
    if (!all) {
      near(a[1].chi2, 238.40, 40);
      assert_true(a[1].chi2_p < 1e-40 && a[2].chi2 < 1 && a[2].chi2_p > 0.9);
    } else {
      // Their fit to all points ends near this one, in their objective too.
      for (int k = 0; k < 5; k++) near(r.f.p[k], r.c->p[k], 0.3 * r.f.se[k]);
      near(r.f.value / r.published, 1, 0.02);
    }
    // The fit against itself.
    ok(iso_lawfit_test(&r.f, &r.d, r.f.p, &at, &e), &e);
    assert_true(at.ratio == 0 && at.chi2 == 0 && at.ratio_p == 1 && at.chi2_p == 1);
    close_refit(&r);
  }
}

// The sweep of vocabularies. The published constants come from tokens counted as characters times f(V / 1000), vocabularies being in
// thousands in the authors' program; so counted they are found again. With true tokens they are 0.46 nats off on average.
static void test_vocab(void **state) {
  (void)state;
  refit r;
  const char *theirs[] = {"tokens=num_characters*(0.00639222*log(vocab_size/1000)^2-0.15811069*log(vocab_size/1000)+1.20470122)"};
  iso_law_data_opts o = {.columns = theirs, .n_columns = 1, .rows = "train_flop>=2.18e17"};
  iso_lawfit_opts fo = iso_lawfit_opts_default(&iso_law_vocab);
  fo.resamples = 200;
  run("vocab.csv", &iso_law_vocab, "tao2024", &o, &fo, &r);
  assert_int_equal(r.d.n, 1054);
  covers(&r);
  near(r.f.value / r.published, 1, 1e-4);
  for (int k = 0; k < r.bare.n_params; k++) near(r.f.p[k], r.c->p[k], 0.2 * r.f.se[k]);
  close_refit(&r);
  // Tokens from the table's FLOPs: 6 (N + V d) D.
  fo.resamples = 0;
  o.n_columns = 0;
  run("vocab.csv", &iso_law_vocab, "tao2024", &o, &fo, &r);
  double off = 0;
  for (int64_t i = 0; i < r.d.n; i++) off += (iso_law_vocab.value(r.c->p, r.d.x + i * r.bare.n_inputs, NULL) - r.d.y[i]) / (double)r.d.n;
  near(off, 0.4617, 0.001);
  near(r.d.x[3], 1.08e9, 1);  // the smallest model's 18th of 20 stops on the way to 1.2e9 tokens
  close_refit(&r);
}

// ---- over-training --------------------------------------------------------------------------------------------------

#define FIVE_RUNS "(tokens_per_param_mult==1 && params<5e8 || params<2e7 && tokens_per_param_mult==16)"
static const char *const C4_LOSS[] = {"loss=loss_c4_val"};

// The authors' five runs, by least squares as theirs: the constants to their digits, and the errors of extrapolation that their notebook
// prints (RedPajama: 1.4B at 640 tokens a parameter 0.7103%, 6.9B at 20 tokens a parameter 0.7320%).
static void test_five_runs(void **state) {
  (void)state;
  static const char *const SETS[2][3] = {{"gadre2024_c4", "train_set=='c4_original' && (" FIVE_RUNS " || params>5e8)", "gadre2024_c4_17"},
                                         {"gadre2024_rpj", "train_set=='rpj' && (" FIVE_RUNS " || params>5e8)", "gadre2024_rpj_17"}};
  static const double TOL[4] = {2e-4, 2e-4, 1e-4, 1e-5};
  for (int i = 0; i < 2; i++) {
    refit r;
    iso_lawfit_opts fo = iso_lawfit_opts_default(&iso_law_overtraining);
    fo.resamples = 0;
    fo.objective = ISO_LAW_SQUARE;
    run("overtraining.csv", &iso_law_overtraining, SETS[i][0],
        &(iso_law_data_opts){.columns = C4_LOSS, .n_columns = 1, .rows = SETS[i][1], .holdout = "params>5e8"}, &fo, &r);
    assert_true(r.d.n == 5 && r.held.n == 3);
    for (int k = 0; k < 4; k++) near(r.f.p[k], r.c->p[k], TOL[k]);
    // What the set says its fit saw is what these rows span.
    for (int k = 0; k < 2; k++) {
      double lo = INFINITY, hi = 0;
      for (int64_t row = 0; row < r.d.n; row++) {
        lo = fmin(lo, r.d.x[2 * row + k]);
        hi = fmax(hi, r.d.x[2 * row + k]);
      }
      near(r.c->lo[k] / lo, 1, 0.02);
      near(r.c->hi[k] / hi, 1, 0.02);
    }
    for (int64_t k = 0; i == 1 && k < 3; k++) {
      const double *x = r.held.x + 2 * k;
      double error = 100 * fabs(r.bare.value(r.f.p, x, NULL) / r.held.y[k] - 1);
      if (x[1] / x[0] > 600) near(error, 0.7103, 2e-4);
      if (x[0] > 5e9) near(error, 0.7320, 2e-4);
    }
    close_refit(&r);
  }
}

static const char *const TASKS[17] = {"bigbench_operators",
                                      "pubmed_qa_labeled",
                                      "hellaswag_zeroshot",
                                      "boolq",
                                      "arc_easy",
                                      "coqa",
                                      "bigbench_dyck_languages",
                                      "lambada_openai",
                                      "bigbench_novel_concepts",
                                      "winograd",
                                      "bigbench_cs_algorithms",
                                      "commonsense_qa",
                                      "bigbench_qa_wikidata",
                                      "hellaswag",
                                      "copa",
                                      "squad",
                                      "piqa"};

// The error over 17 tasks: constants to their digits; with the loss predicted from the five runs the errors of extrapolation are those of
// the notebook, 3.6365% and 0.0464%.
static void test_errors(void **state) {
  (void)state;
  char mean[800] = "error=1-(acc_bigbench_operators";
  for (int k = 1; k < 17; k++) {
    size_t n = strlen(mean);
    snprintf(mean + n, sizeof mean - n, "+acc_%s", TASKS[k]);
  }
  snprintf(mean + strlen(mean), sizeof mean - strlen(mean), ")/17");
  const char *columns[] = {"loss=loss_c4_val", mean};
  refit r, loss;
  iso_lawfit_opts fo = iso_lawfit_opts_default(&iso_law_overtraining_error);
  fo.resamples = 0;
  run("overtraining.csv", &iso_law_overtraining_error, "gadre2024_rpj_17",
      &(iso_law_data_opts){.columns = columns,
                           .n_columns = 2,
                           .rows = "train_set=='rpj' && (" FIVE_RUNS " || params>5e8)",
                           .holdout = "params>2e9 || params>5e8 && tokens_per_param_mult>1"},
      &fo, &r);
  assert_true(r.d.n == 6 && r.held.n == 2);
  near(r.f.p[0], r.c->p[0], 1e-4);
  near(r.f.p[1], r.c->p[1], 2e-4);
  near(r.f.p[2], r.c->p[2], 2e-4);
  fo = iso_lawfit_opts_default(&iso_law_overtraining);
  fo.resamples = 0;
  fo.objective = ISO_LAW_SQUARE;
  run("overtraining.csv", &iso_law_overtraining, "gadre2024_rpj",
      &(iso_law_data_opts){.columns = C4_LOSS, .n_columns = 1, .rows = "train_set=='rpj' && " FIVE_RUNS}, &fo, &loss);
  static const double AT[2][2] = {{1439795200, 640 * 1439795200.0}, {6889410560, 20 * 6889410560.0}}, PRINTED[2] = {3.6365, 0.0464};
  for (int k = 0; k < 2; k++) {
    double l = loss.bare.value(loss.f.p, AT[k], NULL), error = r.bare.value(r.f.p, &l, NULL);
    print_message("error on 17 tasks %.5f, observed %.5f: %.4f%%\n", error, r.held.y[k], 100 * fabs(error / r.held.y[k] - 1));
    near(100 * fabs(error / r.held.y[k] - 1), PRINTED[k], 2e-3);
  }
  close_refit(&r);
  close_refit(&loss);
}

// "error=1-(acc_a+...)/n" over every column of the table whose name starts with acc_; returns n.
static int all_tasks(char *text, size_t size) {
  iso_csv t;
  int n = 0;
  shared_csv("overtraining.csv", &t);
  snprintf(text, size, "error=1-(");
  for (int c = 0; c < t.cols; c++) {
    if (strncmp(iso_csv_name(&t, c), "acc_", 4) != 0) continue;
    size_t at = strlen(text);
    snprintf(text + at, size - at, "%s%s", n++ ? "+" : "", iso_csv_name(&t, c));
  }
  size_t at = strlen(text);
  snprintf(text + at, size - at, ")/%d", n);
  iso_csv_close(&t);
  return n;
}

// The error over all 46 tasks, from the same six runs of each training set: the constants that the authors' code finds, to their digits.
static void test_all_tasks(void **state) {
  (void)state;
  static const char *const SETS[2][2] = {{"gadre2024_c4_46", "train_set=='c4_original'"}, {"gadre2024_rpj_46", "train_set=='rpj'"}};
  char mean[2400], rows[400];
  assert_int_equal(all_tasks(mean, sizeof mean), 46);
  const char *columns[] = {"loss=loss_c4_val", mean};
  for (int i = 0; i < 2; i++) {
    refit r;
    iso_lawfit_opts fo = iso_lawfit_opts_default(&iso_law_overtraining_error);
    fo.resamples = 0;
    snprintf(rows, sizeof rows, "%s && (" FIVE_RUNS " || params>5e8 && params<2e9 && tokens_per_param_mult==1)", SETS[i][1]);
    run("overtraining.csv", &iso_law_overtraining_error, SETS[i][0], &(iso_law_data_opts){.columns = columns, .n_columns = 2, .rows = rows}, &fo, &r);
    assert_int_equal(r.d.n, 6);
    near(r.f.p[0], r.c->p[0], 1e-4);
    near(r.f.p[1], r.c->p[1], 3e-4);
    near(r.f.p[2], r.c->p[2], 3e-4);
    close_refit(&r);
  }
}

// Models up to 412M parameters with 10 tokens a parameter and more predict those of 1.4B and 6.9B.
static void hold_out(const char *rows, const char *set, refit *r, iso_lawfit_score *s) {
  iso_err e = {0};
  iso_lawfit_opts fo = iso_lawfit_opts_default(&iso_law_overtraining);
  fo.resamples = 600;
  run("overtraining.csv", &iso_law_overtraining, set, &(iso_law_data_opts){.columns = C4_LOSS, .n_columns = 1, .rows = rows, .holdout = "params>5e8"},
      &fo, r);
  ok(iso_lawfit_score_rows(&r->f, &r->held, 0.9, 20, s, &e), &e);
  for (int64_t i = 0; i < s->n; i++)
    print_message("  %.3g parameters, %.3g tokens: %.5f [%.5f, %.5f], observed %.5f, %+.3f%%, %.3g times outside %s\n", r->held.x[2 * i],
                  r->held.x[2 * i + 1], s->at[i].v.mid, s->at[i].v.lo, s->at[i].v.hi, s->at[i].y, 100 * s->at[i].error, s->at[i].reach,
                  iso_lawfit_axis_name(&r->bare, s->at[i].axis));
}

// RedPajama within 0.5%. C4's 6.9B run lies 3.7% off; its interval holds it, and the question is said to be an extrapolation.
static void test_hold_out(void **state) {
  (void)state;
  refit r;
  iso_lawfit_score s;
  hold_out("train_set=='rpj' && tokens_per_param>=9.99", "gadre2024_rpj", &r, &s);
  assert_true(r.d.n == 28 && s.n == 3 && s.used == 3);
  covers(&r);
  assert_true(s.max_abs < 0.005 && s.inside == 1);
  iso_lawfit_score_close(&s);
  close_refit(&r);
  hold_out("train_set=='c4_original' && tokens_per_param>=9.99", "gadre2024_c4", &r, &s);
  assert_true(r.d.n == 27 && s.n == 3 && s.used == 3);
  covers(&r);
  bool large = false;
  for (int64_t i = 0; i < s.n; i++) {
    if (!(r.held.x[2 * i] > 5e9)) continue;
    large = true;
    assert_true(s.at[i].error < -0.03 && s.at[i].inside && s.at[i].reach > 15);
  }
  assert_true(large);
  iso_lawfit_score_close(&s);
  close_refit(&r);
}

int main(void) {
  iso_err e = {0};
  ok(iso_ctx_open(2, &ctx, &e), &e);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_chinchilla), cmocka_unit_test(test_percentiles), cmocka_unit_test(test_against),
                                     cmocka_unit_test(test_vocab),      cmocka_unit_test(test_five_runs),   cmocka_unit_test(test_errors),
                                     cmocka_unit_test(test_all_tasks),  cmocka_unit_test(test_hold_out)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  iso_ctx_close(ctx);
  return failed;
}
