// Laws without published constants: each is found again from its own runs, and what a fit is asked afterwards.
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
#include "plan/fit/lawfit.h"

static iso_ctx *ctx;

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, expected %.12g +- %g", got, want, tol);
}
static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}

// A law with made-up parameters, and the region its runs come from. lo = hi holds an input still.
typedef struct truth {
  const iso_law *law;
  double p[ISO_LAW_PARAM_MAX], lo[ISO_LAW_INPUT_MAX], hi[ISO_LAW_INPUT_MAX];
} truth;

#define L(name) &iso_law_##name
static truth TRUTH[] = {
    {L(benchmark_compute), {0.45, 50}, {1e19, 0.25, 0.95}, {1e24, 0.25, 0.95}},
    {L(benchmark_loss), {3.5, 0.75}, {1.6, 0.2, 1}, {3.2, 0.2, 1}},
    {L(rl), {0.2, 0.61, 0.3, 8}, {100}, {5e4}},
    {L(reward_bon), {0.9, 0.17}, {2}, {2000}},
    {L(reward_rl), {0.6, 0.2}, {0.5}, {200}},
    {L(shape), {2.25, 0.6, 10.15, 0.5, 12.3, 0.35, -2}, {200, 1e17}, {3000, 1e21}},
    {L(gqa), {5.5, 0.3, 0.6}, {3e7}, {3e9}},
    {L(compressed), {6, 7, 0.55, 0.35, 0.36, -0.05, 0.2, -0.4}, {3e7, 1e9, 1e-4, 1}, {3e9, 1e11, 0.3, 1}},
    {L(batch_by_size), {2, 0.2, 0.4}, {1e8, 1e9}, {1e10, 1e11}},
    {L(batch_steps), {9, 13}, {1e5}, {4e6}},
    {L(time_transfer_batch), {-7}, {5e8}, {2e11}},
    {L(time_transfer_lr), {-6, -8}, {5e8, 1e5}, {2e11, 4e6}},
    {L(filtering), {10, -1.8, 0.7, -2.3}, {1e6, 1e6}, {1e9, 3e7}},
};

// n runs of a law spread evenly in logarithms, with noise on the target or its logarithm.
static void synthetic(const truth *t, int n, double noise, uint64_t seed, iso_law_data *d) {
  static const double PHI[4] = {0.7548776662, 0.5698402909, 0.4301597090, 0.3247179572};
  const iso_law *l = t->law;
  iso_err e = {0};
  ok(iso_law_data_open(l, n, d, &e), &e);
  for (int i = 0; i < n; i++) {
    double *x = d->x + i * l->n_inputs;
    for (int k = 0; k < l->n_inputs; k++) {
      double u = 0.5 + (i + 1) * PHI[k];
      x[k] = t->lo[k] == t->hi[k] ? t->lo[k] : t->lo[k] * pow(t->hi[k] / t->lo[k], u - floor(u));
      if (!strcmp(l->input[k].name, "gmse") && i % 4 == 0) x[k] = 0;  // dense
    }
    double v = l->value(t->p, x, NULL), z = noise * iso_rng_normal(seed, ISO_RNG_TEST, 0, (uint64_t)i);
    d->y[i] = iso_law_objective_is_log(l->objective) ? v * exp(z) : v + z;
    d->flop[i] = iso_law_flop(l, x);
  }
}

// Every law without sets is in the table above; without noise its runs give the law back, also three times outside them.
static void test_recovery(void **state) {
  (void)state;
  for (int64_t k = 0; k < iso_law_count(); k++) {
    const iso_law *l = iso_law_at(k);
    const truth *t = NULL;
    for (size_t i = 0; i < ISO_COUNT(TRUTH); i++)
      if (TRUTH[i].law == l) t = &TRUTH[i];
    if (!t) {
      if (!l->n_consts) fail_msg("law %s has neither a published set nor a place in this test", l->base.name);
      continue;
    }
    iso_law_data d;
    iso_lawfit f;
    iso_err e = {0};
    double x[ISO_LAW_INPUT_MAX];
    for (int i = 0; i < l->n_inputs; i++) x[i] = t->lo[i] == t->hi[i] ? t->lo[i] : 3 * t->hi[i];
    synthetic(t, 20 * l->n_params, 0, 0, &d);
    iso_lawfit_opts fo = iso_lawfit_opts_default(l);
    fo.resamples = 0;
    ok(iso_lawfit_run(ctx, &d, &fo, &f, &e), &e);
    double want = l->value(t->p, x, NULL), got = l->value(f.p, x, NULL);
    print_message("%-20s objective %.3g, rmse %.2g, agree %d of %d, far out %.8g against %.8g\n", l->base.name, f.value, f.rmse, f.agree, f.finalists,
                  got, want);
    if (!(f.rmse < 1e-5)) fail_msg("%s: rmse %g", l->base.name, f.rmse);
    near(got, want, 2e-3 * fabs(want));
    // An estimate that is no minimum or a wrong gradient would show here.
    for (int i = 0; i < l->n_params; i++)
      if (fabs(f.p[i] - t->p[i]) > 1e-2 * fmax(1, fabs(t->p[i]))) fail_msg("%s: %s = %g, not %g", l->base.name, l->param[i].name, f.p[i], t->p[i]);
    iso_lawfit_close(&f);
    iso_law_data_close(&d);
  }
}

// Nothing is predicted without a fit: there is no set to ask.
static void test_refuses(void **state) {
  (void)state;
  for (size_t i = 0; i < ISO_COUNT(TRUTH); i++) {
    const iso_law_const *c;
    iso_err e = {0};
    if (TRUTH[i].law->n_consts) continue;
    assert_int_equal(iso_law_find_const(TRUTH[i].law, "any", &c, &e), ISO_EINVAL);
    assert_non_null(strstr(e.hint, "none"));
  }
}

// The back-test of benchmark scores: 60 models over five decades of compute with known noise, the top decade held out.
static void test_backtest(void **state) {
  (void)state;
  enum { SETS = 20, MODELS = 60 };
  const double noise = 0.03, expected = noise * sqrt(2 / 3.141592653589793);  // mean absolute error of the true curve
  const iso_law *l = L(benchmark_compute);
  double mean = 0, still = 0, inside = 0;
  for (uint64_t seed = 0; seed < SETS; seed++) {
    char text[8000];
    iso_csv t;
    iso_law_data d, held;
    iso_lawfit f;
    iso_lawfit_score s;
    iso_err e = {0};
    int at = snprintf(text, sizeof text, "model,compute,accuracy,chance\n");
    for (int i = 0; i < MODELS; i++) {
      double u = i * 0.6180339887, x[3] = {1e18 * pow(1e5, u - floor(u)), 0.25, 1}, p[2] = {0.35, 50};
      at += snprintf(text + at, sizeof text - (size_t)at, "m%d,%.6g,%.6g,0.25\n", i, x[0],
                     l->value(p, x, NULL) + noise * iso_rng_normal(seed, ISO_RNG_TEST, 0, (uint64_t)i));
    }
    ok(iso_csv_parse(text, (size_t)at, "models.csv", &t, &e), &e);
    ok(iso_law_data_read(&t, l, &(iso_law_data_opts){.holdout = "train_flop>1e22", .objective = l->objective}, &d, &held, &e), &e);
    assert_in_range(held.n, 10, 14);
    for (int64_t i = 0; i < d.n; i++) assert_true(d.x[3 * i] <= 1e22 && d.x[3 * i + 1] == 0.25 && d.x[3 * i + 2] == 1);
    iso_lawfit_opts fo = iso_lawfit_opts_default(l);
    fo.resamples = 200;
    fo.starts = 60;
    fo.seed = seed;
    ok(iso_lawfit_run(ctx, &d, &fo, &f, &e), &e);
    ok(iso_lawfit_score_rows(&f, &held, 0.9, 20, &s, &e), &e);
    assert_int_equal(s.used, held.n);
    mean += s.mean_abs / SETS;
    inside += s.inside / SETS;
    // Taking the best score seen for what is to come.
    double best = 0, err = 0;
    for (int64_t i = 0; i < d.n; i++) best = fmax(best, d.y[i]);
    for (int64_t i = 0; i < held.n; i++) err += fabs(held.y[i] - best) / (double)held.n;
    still += err / SETS;
    iso_lawfit_score_close(&s);
    iso_lawfit_close(&f);
    iso_law_data_close(&d);
    iso_law_data_close(&held);
    iso_csv_close(&t);
  }
  print_message("top decade held out: mean absolute error %.2f points, noise alone %.2f, best score so far %.2f; %.0f%% inside 90%% intervals\n",
                100 * mean, 100 * expected, 100 * still, 100 * inside);
  assert_true(mean > 0.8 * expected && mean < 1.5 * expected && mean < 0.6 * still);
  assert_true(inside > 0.8 && inside < 0.98);
}

// ScaleRL's use: a run up to half of its compute predicts the other half.
static void test_rl_extrapolation(void **state) {
  (void)state;
  const truth t = {L(rl), {0.2, 0.61, 0.3, 8}, {300}, {5e4}};
  double worst = 0, x = 1e5;
  for (uint64_t seed = 0; seed < 10; seed++) {
    iso_law_data d;
    iso_lawfit f;
    iso_err e = {0};
    iso_fit_interval v;
    synthetic(&t, 60, 0.01, seed, &d);
    iso_lawfit_opts fo = iso_lawfit_opts_default(t.law);
    fo.resamples = 100;
    ok(iso_lawfit_run(ctx, &d, &fo, &f, &e), &e);
    ok(iso_lawfit_predict(&f, &x, 0.9, &v, &e), &e);
    worst = fmax(worst, fabs(v.mid - t.law->value(t.p, &x, NULL)));
    iso_lawfit_close(&f);
    iso_law_data_close(&d);
  }
  print_message("reward at twice the compute: worst error %.4f of %.4f\n", worst, t.law->value(t.p, &x, NULL));
  assert_true(worst < 0.015);
}

// Where the target is best, with an interval: the peak of over-optimisation and the optimal dimension are in it.
static void test_best(void **state) {
  (void)state;
  for (size_t i = 3; i < ISO_COUNT(TRUTH); i++) {
    const truth *t = &TRUTH[i];
    iso_law_data d;
    iso_lawfit f;
    iso_lawfit_best_input b;
    iso_err e = {0};
    double x[ISO_LAW_INPUT_MAX] = {1, 1e19};
    if (!t->law->best) continue;
    synthetic(t, 120, iso_law_objective_is_log(t->law->objective) ? 0.003 : 0.02, 1, &d);
    iso_lawfit_opts fo = iso_lawfit_opts_default(t->law);
    fo.resamples = 200;
    ok(iso_lawfit_run(ctx, &d, &fo, &f, &e), &e);
    ok(iso_lawfit_find_best(&f, x, 0, 20, 0.9, &b, &e), &e);
    double want = t->law->best(t->p, x, 0);
    print_message("%s: best %s %.4g [%.4g, %.4g], true %.4g\n", t->law->base.name, t->law->input[0].name, b.at.mid, b.at.lo, b.at.hi, want);
    assert_true(b.at.lo <= want && want <= b.at.hi && b.at.lo > want / 2 && b.at.hi < want * 2 && b.used > 180);
    near(b.value.mid, t->law->value(t->p, (double[]){want, 1e19}, NULL), 0.02 * fabs(b.value.mid));
    // Best-of-n peaks beyond the most samples drawn: found within the limit of extrapolation, refused without one.
    bool outside = want > f.x_hi[0] * 1.001;
    assert_true(outside == (t->law == L(reward_bon)));
    assert_int_equal(iso_lawfit_find_best(&f, x, 0, 1.001, 0.9, &b, &e), outside ? ISO_ENUM : ISO_OK);
    iso_lawfit_close(&f);
    iso_law_data_close(&d);
  }
}

int main(void) {
  iso_err e = {0};
  ok(iso_ctx_open(2, &ctx, &e), &e);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_recovery), cmocka_unit_test(test_refuses), cmocka_unit_test(test_backtest),
                                     cmocka_unit_test(test_rl_extrapolation), cmocka_unit_test(test_best)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  iso_ctx_close(ctx);
  return failed;
}
