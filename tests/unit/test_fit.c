// The fit: derivatives, published numbers, recovery, interval coverage, priors, predictions, bench, bad data.
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
#include "plan/fit/fit_bench.h"
#include "plan/fit/fit_csv.h"
#include "plan/fit/fit_impl.h"

static iso_ctx *ctx;

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, expected %.12g +- %g", got, want, tol);
}

static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}

static const double *truth(void) { return iso_law_chinchilla.consts[0].p; }

// Epoch's 240 points, or a skip.
static const char *epoch_path(void) {
  static char path[512];
  const char *shared = getenv("ISOFLOP_SHARED");
  if (!shared) {
    print_message("ISOFLOP_SHARED is not set: skipped\n");
    skip();
  }
  snprintf(path, sizeof path, "%s/data/scaling/epoch_chinchilla.csv", shared);
  return path;
}

static void load_epoch(iso_fit_data *d) {
  iso_err e;
  iso_fit_csv_opts o = {.drop_highest = 5};
  ok(iso_fit_csv_load(epoch_path(), &o, d, &e), &e);
  assert_int_equal(d->n, 240);
  assert_int_equal(d->dropped, 5);
}

// A grid of `budgets` x `sizes` runs whose losses follow p, times exp(noise z).
static void make_sweep(iso_fit_data *d, int budgets, int sizes, const double *p, double noise, uint64_t seed) {
  ok(iso_fit_data_open(budgets * sizes, d, NULL), NULL);
  for (int i = 0; i < budgets * sizes; i++) {
    double flop = 1e18 * pow(4, i / sizes);
    d->flop[i] = flop;
    d->params[i] = 1e8 * sqrt(flop / 1e18) * pow(2, i % sizes - (sizes - 1) / 2.0);
    d->tokens[i] = flop / 6 / d->params[i];
    d->loss[i] = iso_law_nd(&iso_law_chinchilla, p, d->params[i], d->tokens[i]) * exp(noise * iso_rng_normal(seed, ISO_RNG_TEST, 0, (uint64_t)i));
  }
}

static void open_lse(const iso_fit_data *d, double delta, iso_lse *s, iso_lse_work *w) {
  iso_fit_opts o = iso_fit_opts_default();
  o.delta = delta;
  ok(iso_fit_open_problem(d, &o, s, NULL), NULL);
  ok(iso_lse_work_open(s, w, NULL), NULL);
}

// Central differences at points with a wide and a narrow delta and odd weights; the oracle is the objective itself, checked against
// libm right below.
static void test_derivatives(void **state) {
  (void)state;
  iso_fit_data d;
  iso_lse s;
  iso_lse_work w;
  make_sweep(&d, 3, 7, truth(), 0.02, 1);
  d.loss[1] *= 50;  // far residuals leave the range where log's first term is zero
  d.loss[2] /= 50;
  for (int wide = 0; wide < 2; wide++) {
    open_lse(&d, wide ? 1.0 : 1e-3, &s, &w);
    double p[5], g[5], gu[5], gd[5], h[5][5];
    iso_lse_centre(&s, truth(), p);
    p[0] += 0.05;
    p[4] -= 0.02;
    for (int i = 0; i < d.n; i++) w.omega[i] = i % 4;
    s.prior.q[3][3] = 0.7;
    w.prior_mean[3] = 0.5;
    double f = iso_lse_eval(&s, &w, p, g), want = 0.35 * (p[3] - 0.5) * (p[3] - 0.5);
    iso_lse_hess(&s, &w, h);
    for (int i = 0; i < d.n; i++) {
      double u[5];
      iso_lse_uncentre(&s, p, u);
      double r = log(iso_law_nd(&iso_law_chinchilla, u, d.params[i], d.tokens[i])) - log(d.loss[i]), a = fabs(r), dl = s.delta;
      want += (i % 4) * (a <= dl ? r * r / 2 : dl * (a - dl / 2));
      near(w.r[i], r, 1e-14);
    }
    near(f, want, 1e-14 * fabs(want) + 1e-16);
    for (int i = 0; i < 5; i++) {
      double at = p[i], step = 1e-6;
      p[i] = at + step;
      double up = iso_lse_eval(&s, &w, p, gu);
      p[i] = at - step;
      double down = iso_lse_eval(&s, &w, p, gd);
      p[i] = at;
      near(g[i], (up - down) / (2 * step), 1e-7 * (fabs(g[i]) + fabs(f)));
      for (int j = 0; j < 5; j++) near(h[i][j], (gu[j] - gd[j]) / (2 * step), 1e-5 * (fabs(h[i][i]) + fabs(h[j][j])));
    }
    iso_lse_close(&s);
    iso_lse_work_close(&w);
  }
  iso_fit_data_close(&d);
}

// Every instruction set that this CPU has gives the same bits.
static void test_same_bits(void **state) {
  (void)state;
  iso_fit_data d;
  iso_lse s;
  iso_lse_work w;
  make_sweep(&d, 4, 9, truth(), 0.02, 2);
  open_lse(&d, 1e-3, &s, &w);
  double p[5], g[2][5], h[2][5][5], f[2];
  iso_lse_centre(&s, truth(), p);
  int best = s.isa;
  for (int isa = 0; isa <= best; isa++) {
    s.isa = isa;
    f[isa > 0] = iso_lse_eval(&s, &w, p, g[isa > 0]);
    iso_lse_hess(&s, &w, h[isa > 0]);
    if (!isa) continue;
    assert_memory_equal(&f[0], &f[1], sizeof f[0]);
    assert_memory_equal(g[0], g[1], sizeof g[0]);
    assert_memory_equal(h[0], h[1], sizeof h[0]);
  }
  // Far-off parameters stay finite.
  double far[5] = {500, -900, 200, 60, -40};
  assert_true(isfinite(iso_lse_eval(&s, &w, far, g[0])));
  iso_lse_close(&s);
  iso_lse_work_close(&w);
  iso_fit_data_close(&d);
}

// Oracle: Besiroglu et al. 2024 on the same points: objective at their parameters, estimates within their standard errors, and their
// 4,000-resample standard errors.
static void test_epoch(void **state) {
  (void)state;
  static const double SE[5] = {0.258, 0.421, 0.014, 0.01540, 0.02060};
  iso_fit_data d;
  iso_fit f;
  iso_err e;
  load_epoch(&d);
  iso_lse s;
  iso_lse_work w;
  open_lse(&d, 1e-3, &s, &w);
  double p[5];
  iso_lse_centre(&s, truth(), p);
  double published = iso_lse_eval(&s, &w, p, NULL);
  iso_fit_opts o = iso_fit_opts_default();
  o.resamples = 1000;
  ok(iso_fit_run(ctx, &d, &o, &f, &e), &e);
  assert_true(f.objective <= published);
  near(f.objective, 0.0010182740178, 1e-12);  // SciPy's BFGS from the published parameters, 0.0010182740178006010
  assert_true(f.grad_norm < 1e-9);
  assert_true(f.finalists_agree > f.finalists / 2);
  for (int k = 0; k < 5; k++) {
    near(f.p[k], truth()[k], SE[k]);
    near(f.se[k], SE[k], 0.15 * SE[k]);
    assert_true(f.lo[k] < f.p[k] && f.p[k] < f.hi[k]);
  }
  near(exp(f.p[0]), 482.00572, 124.5);
  near(exp(f.p[1]), 2085.43420, 1293.3);
  near(exp(f.p[2]), 1.81686, 0.02566);
  assert_int_equal(f.failed, 0);
  assert_int_equal(f.n_warn, 0);
  assert_int_equal(f.boot, ISO_FIT_BOOT_PAIRS);
  iso_fit_best b;
  ok(iso_fit_optimum(&f, 5.76e23, 0.9, &b, &e), &e);
  assert_true(b.params.lo < 70e9 && 70e9 < b.params.hi);  // Chinchilla itself lies in the replication's optimal range
  near(iso_fit_extrapolation(&f, 10 * f.n_max, f.d_min / 4, f.c_max).params, 10, 1e-12);
  near(iso_fit_extrapolation(&f, 10 * f.n_max, f.d_min / 4, f.c_max).tokens, 4, 1e-12);
  near(iso_fit_extrapolation(&f, 10 * f.n_max, f.d_min / 4, f.c_max).flop, 1, 1e-12);
  json_t *j = iso_fit_json(&f);
  near(json_real_value(json_object_get(json_object_get(json_object_get(j, "params"), "alpha"), "value")), f.p[3], 0);
  json_decref(j);
  iso_fit_close(&f);
  iso_lse_close(&s);
  iso_lse_work_close(&w);
  iso_fit_data_close(&d);
}

static void test_recovery(void **state) {
  (void)state;
  static const double LAW[][5] = {{6.17795598, 7.64273236, 0.59711196, 0.34781, 0.36585}, {4, 9, -0.5, 0.2, 0.5}, {9, 5, 0.9, 0.6, 0.22}};
  for (size_t k = 0; k < ISO_COUNT(LAW); k++) {
    iso_fit_data d;
    iso_fit f;
    iso_err e;
    make_sweep(&d, 4, 7, LAW[k], 0, 0);
    iso_fit_opts o = iso_fit_opts_default();
    o.resamples = 0;
    ok(iso_fit_run(ctx, &d, &o, &f, &e), &e);
    for (int i = 0; i < 5; i++) near(f.p[i], LAW[k][i], 1e-6);
    assert_true(f.objective < 1e-18);
    assert_true(isnan(f.se[0]));
    iso_fit_close(&f);
    iso_fit_data_close(&d);
  }
}

// 200 synthetic data sets with Epoch's sizes: the 90% interval of each exponent holds the truth in 84 to 96% of them, and that of a new
// run's loss, outside the data, likewise.
static void test_coverage(void **state) {
  (void)state;
  enum { SETS = 200 };
  iso_fit_data d;
  iso_err e;
  load_epoch(&d);
  int alpha = 0, beta = 0, loss = 0;
  for (uint64_t seed = 0; seed < SETS; seed++) {
    for (int64_t i = 0; i < d.n; i++)
      d.loss[i] = iso_law_nd(&iso_law_chinchilla, truth(), d.params[i], d.tokens[i]) * exp(0.01 * iso_rng_normal(seed, ISO_RNG_TEST, 0, (uint64_t)i));
    iso_fit f;
    iso_fit_opts o = iso_fit_opts_default();
    o.resamples = 300;
    ok(iso_fit_run(ctx, &d, &o, &f, &e), &e);
    alpha += f.lo[3] <= truth()[3] && truth()[3] <= f.hi[3];
    beta += f.lo[4] <= truth()[4] && truth()[4] <= f.hi[4];
    iso_fit_interval v;
    ok(iso_fit_predict(&f, 70e9, 1.4e12, 0.9, &v, &e), &e);
    double run = iso_law_nd(&iso_law_chinchilla, truth(), 70e9, 1.4e12) * exp(0.01 * iso_rng_normal(seed, ISO_RNG_TEST, 1, 0));
    loss += v.lo <= run && run <= v.hi;
    iso_fit_close(&f);
  }
  iso_fit_data_close(&d);
  print_message("coverage of 90%% intervals over %d sets: alpha %.3f, beta %.3f, loss of a new run %.3f\n", SETS, alpha / (double)SETS,
                beta / (double)SETS, loss / (double)SETS);
  assert_in_range(alpha, SETS * 84 / 100, SETS * 96 / 100);
  assert_in_range(beta, SETS * 84 / 100, SETS * 96 / 100);
  assert_in_range(loss, SETS * 84 / 100, SETS * 96 / 100);
}

// Nine points of a small sweep with a weak prior: intervals of a loss three times beyond the data hold in at least 84% of 100 sets.
static void test_small_sweep(void **state) {
  (void)state;
  int hit = 0;
  double p[5] = {log(0.9) + 0.35 * log(1e8), log(1.3) + 0.37 * log(2e9), log(1.7), 0.35, 0.37}, half = 0;
  iso_fit_prior prior = {.mean = {0, 0, 0.5, 0.35, 0.35}, .sd = {1, 1, 0.5, 0.1, 0.1}, .anchor_params = 1e8, .anchor_tokens = 2e9};
  for (uint64_t seed = 0; seed < 100; seed++) {
    iso_fit_data d;
    iso_fit f;
    iso_err e;
    iso_fit_interval v;
    make_sweep(&d, 3, 3, p, 0.004, seed);
    iso_fit_opts o = iso_fit_opts_default();
    o.prior = &prior;
    o.resamples = 200;
    ok(iso_fit_run(ctx, &d, &o, &f, &e), &e);
    assert_int_equal(f.boot, ISO_FIT_BOOT_PARAMETRIC);
    ok(iso_fit_predict(&f, 3 * f.n_max, 3 * f.d_max, 0.9, &v, &e), &e);
    double run = iso_law_nd(&iso_law_chinchilla, p, 3 * f.n_max, 3 * f.d_max) * exp(0.004 * iso_rng_normal(seed, ISO_RNG_TEST, 1, 0));
    hit += v.lo <= run && run <= v.hi;
    half += (v.hi - v.lo) / 2 / v.mid / 100;
    iso_fit_close(&f);
    iso_fit_data_close(&d);
  }
  print_message("small sweeps with a prior: %d of 100 held, half width %.2f%%\n", hit, 100 * half);
  assert_true(hit >= 84);
  assert_true(half < 0.04);
}

// A prior of no width pins the parameter, one of infinite width changes nothing.
static void test_prior_limits(void **state) {
  (void)state;
  iso_fit_data d;
  iso_fit free_fit, loose, tight;
  iso_err e;
  make_sweep(&d, 3, 7, truth(), 0.01, 3);
  iso_fit_opts o = iso_fit_opts_default();
  o.resamples = 0;
  ok(iso_fit_run(ctx, &d, &o, &free_fit, &e), &e);
  iso_fit_prior prior = {.anchor_params = 1, .anchor_tokens = 1, .sd = {INFINITY, INFINITY, INFINITY, INFINITY, INFINITY}};
  o.prior = &prior;
  ok(iso_fit_run(ctx, &d, &o, &loose, &e), &e);
  prior.mean[0] = 5.5;
  prior.sd[0] = 1e-6;
  ok(iso_fit_run(ctx, &d, &o, &tight, &e), &e);
  for (int k = 0; k < 5; k++) near(loose.p[k], free_fit.p[k], 1e-6 * (1 + fabs(free_fit.p[k])));
  near(tight.p[0], 5.5, 1e-6);
  assert_true(fabs(free_fit.p[0] - 5.5) > 1e-3);
  assert_true(tight.objective >= free_fit.objective);
  iso_fit_close(&tight);
  // Anchored: the prior is on log(A / N0^alpha), whatever alpha does.
  prior.anchor_params = 1e8;
  prior.anchor_tokens = 2e9;
  prior.mean[0] = -0.2;
  prior.mean[4] = 0.3;
  prior.sd[4] = 1e-6;
  prior.mean[1] = 0.1;
  prior.sd[1] = 1e-6;
  ok(iso_fit_run(ctx, &d, &o, &tight, &e), &e);
  near(tight.p[0] - tight.p[3] * log(1e8), -0.2, 1e-6);
  near(tight.p[1] - tight.p[4] * log(2e9), 0.1, 1e-6);
  near(tight.p[4], 0.3, 1e-6);
  iso_fit_close(&tight);
  // With a common scale the three terms may move, but only together.
  prior.mean[2] = 0.5;
  prior.sd[2] = 1e-6;
  prior.scale_sd = 10;
  ok(iso_fit_run(ctx, &d, &o, &tight, &e), &e);
  double moved = tight.p[2] - 0.5;
  assert_true(fabs(moved) > 1e-3);
  near(tight.p[0] - tight.p[3] * log(1e8), -0.2 + moved, 1e-5);
  near(tight.p[1] - tight.p[4] * log(2e9), 0.1 + moved, 1e-5);
  iso_fit_close(&free_fit);
  iso_fit_close(&loose);
  iso_fit_close(&tight);
  iso_fit_data_close(&d);
}

// Weight 2 is the point twice; the result does not depend on the number of threads.
static void test_weights_and_threads(void **state) {
  (void)state;
  iso_fit_data d, twice;
  iso_fit a, b;
  iso_err e;
  double weight[21];
  make_sweep(&d, 3, 7, truth(), 0.01, 4);
  ok(iso_fit_data_open(24, &twice, &e), &e);
  for (int i = 0; i < 24; i++) {
    int k = i < 21 ? i : i - 21;
    twice.params[i] = d.params[k];
    twice.tokens[i] = d.tokens[k];
    twice.flop[i] = d.flop[k];
    twice.loss[i] = d.loss[k];
    weight[k] = k < 3 ? 2 : 1;
  }
  iso_fit_opts o = iso_fit_opts_default();
  o.resamples = 0;
  ok(iso_fit_run(ctx, &twice, &o, &b, &e), &e);
  o.weight = weight;
  ok(iso_fit_run(ctx, &d, &o, &a, &e), &e);
  near(a.objective, b.objective, 1e-15);
  for (int k = 0; k < 5; k++) near(a.p[k], b.p[k], 1e-7 * (1 + fabs(b.p[k])));
  iso_fit_close(&a);
  iso_fit_close(&b);
  o.weight = NULL;
  for (int boot = ISO_FIT_BOOT_PAIRS; boot <= ISO_FIT_BOOT_PARAMETRIC; boot++) {
    iso_ctx *one;
    ok(iso_ctx_open(1, &one, &e), &e);
    o.resamples = 50;
    o.boot = boot;
    ok(iso_fit_run(ctx, &d, &o, &a, &e), &e);
    ok(iso_fit_run(one, &d, &o, &b, &e), &e);
    assert_int_equal(a.resamples, b.resamples);
    assert_memory_equal(a.sample, b.sample, sizeof(double) * (size_t)a.resamples * ISO_FIT_P);
    iso_fit_close(&a);
    iso_fit_close(&b);
    iso_ctx_close(one);
  }
  iso_fit_data_close(&d);
  iso_fit_data_close(&twice);
}

static void refuse(iso_fit_data *d, const iso_fit_opts *o, const char *word) {
  iso_fit f;
  iso_err e = {0};
  assert_int_equal(iso_fit_run(ctx, d, o, &f, &e), ISO_EINVAL);
  if (!strstr(e.msg, word)) fail_msg("'%s' does not say '%s'", e.msg, word);
}

static void test_bad_data(void **state) {
  (void)state;
  iso_fit_data d;
  iso_fit_opts o = iso_fit_opts_default();
  make_sweep(&d, 3, 7, truth(), 0.01, 5);
  double keep = d.loss[4];
  d.loss[4] = NAN;
  refuse(&d, &o, "point 5 has loss = nan");
  d.loss[4] = keep;
  d.tokens[0] = 0;
  refuse(&d, &o, "tokens");
  d.tokens[0] = 1e9;
  o.delta = 0;
  refuse(&d, &o, "delta");
  o = iso_fit_opts_default();
  d.n = 3;
  refuse(&d, &o, "3 points, expected at least 5");
  d.n = 0;
  refuse(&d, &o, "0 points");
  d.n = 21;
  for (int i = 0; i < 21; i++) d.params[i] = 1e8;
  refuse(&d, &o, "all 21 points have parameter counts of 1e+08");
  for (int i = 0; i < 21; i++) d.params[i] = i % 2 ? 1e8 : 2e8;
  refuse(&d, &o, "2 distinct parameter counts");
  for (int i = 0; i < 21; i++) d.loss[i] = 2.5;
  refuse(&d, &o, "all 21 points have a loss of 2.5");
  iso_err e;
  assert_int_equal(iso_fit_data_drop_highest(&d, 21, &e), ISO_EINVAL);
  iso_fit_data_close(&d);
}

// Proportional N and D: the fit says that it cannot tell the terms apart.
static void test_warnings(void **state) {
  (void)state;
  iso_fit_data d;
  iso_fit f;
  iso_err e;
  make_sweep(&d, 2, 5, truth(), 0.001, 6);
  for (int i = 0; i < d.n; i++) {
    d.params[i] = 1e8 * (1 + 0.1 * i);
    d.tokens[i] = 20 * d.params[i];
    d.loss[i] = iso_law_nd(&iso_law_chinchilla, truth(), d.params[i], d.tokens[i]);
  }
  iso_fit_opts o = iso_fit_opts_default();
  o.resamples = 20;
  ok(iso_fit_run(ctx, &d, &o, &f, &e), &e);
  const char *words[] = {"only 10 points", "parameter counts span", "token counts span", "correlated"};
  for (size_t k = 0; k < ISO_COUNT(words); k++) {
    bool found = false;
    for (int i = 0; i < f.n_warn; i++) found |= strstr(f.warn[i], words[k]) != NULL;
    if (!found) fail_msg("no warning says '%s'", words[k]);
  }
  iso_fit_close(&f);
  iso_fit_data_close(&d);
}

// Resamples from a file: the identity gives the full fit's objective; bad files name the line.
static void test_bench(void **state) {
  (void)state;
  const char *csv = epoch_path();
  char path[] = "/tmp/isoflop_resamples_XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  FILE *fp = fdopen(fd, "w");
  fputs("# identity, then the first row only\n", fp);
  for (int i = 0; i < 240; i++) fprintf(fp, "%d%c", i, i == 239 ? '\n' : ' ');
  fclose(fp);
  iso_err e = {0};
  json_t *j = NULL;
  iso_fit_bench_opts o = {.csv = csv, .drop_highest = 5, .resamples = path, .repeats = 2, .objectives = true};
  ok(iso_fit_bench(ctx, &o, &j, &e), &e);
  assert_int_equal(json_integer_value(json_object_get(j, "fits")), 1);
  near(json_real_value(json_array_get(json_object_get(j, "objectives"), 0)), 0.0010182740178, 1e-12);
  assert_true(json_real_value(json_object_get(j, "fits_per_s")) > 0);
  json_decref(j);
  fp = fopen(path, "a");
  fputs("0 1 240\n", fp);
  fclose(fp);
  assert_int_equal(iso_fit_bench(ctx, &o, &j, &e), ISO_EFORMAT);
  assert_non_null(strstr(e.msg, "line 3, entry 3"));
  assert_null(j);
  remove(path);
  o.resamples = NULL;
  o.count = 50;
  o.objectives = false;
  ok(iso_fit_bench(ctx, &o, &j, &e), &e);
  assert_int_equal(json_integer_value(json_object_get(j, "unconverged")), 0);
  json_decref(j);
}

int main(void) {
  iso_err e;
  if (iso_ctx_open(0, &ctx, &e) != ISO_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_derivatives),  cmocka_unit_test(test_same_bits),
      cmocka_unit_test(test_epoch),        cmocka_unit_test(test_recovery),
      cmocka_unit_test(test_coverage),     cmocka_unit_test(test_small_sweep),
      cmocka_unit_test(test_prior_limits), cmocka_unit_test(test_weights_and_threads),
      cmocka_unit_test(test_bad_data),     cmocka_unit_test(test_warnings),
      cmocka_unit_test(test_bench),
  };
  int bad = cmocka_run_group_tests(tests, NULL, NULL);
  iso_ctx_close(ctx);
  return bad;
}
