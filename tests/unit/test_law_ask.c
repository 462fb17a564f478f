// Questions to laws: optima two ways, inverses, slopes in closed form, and intervals against refits, published quantiles and closed forms.
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
#include "plan/law_ask.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.12g, expected %.12g within %g", got, want, tol);
}
static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}
static const iso_law_const *set_of(const iso_law *l, const char *name) {
  const iso_law_const *c = NULL;
  iso_err e = {0};
  ok(iso_law_find_const(l, name, &c, &e), &e);
  return c;
}

// ---- optima ---------------------------------------------------------------------------------------------------------

// d target / d ln N along the budget, by central differences.
static double along(const iso_law *l, const double *p, const double *x, double flop, double log_n) {
  const double h = 1e-4;
  double y[2];
  for (int i = 0; i < 2; i++) {
    double at[ISO_LAW_INPUT_MAX];
    memcpy(at, x, sizeof at);
    at[l->at_params] = exp(log_n + (i ? h : -h));
    at[l->at_tokens] = 1;
    at[l->at_tokens] = flop / iso_law_flop(l, at);
    y[i] = l->value(p, at, NULL);
  }
  return (y[1] - y[0]) / (2 * h);
}

// Every law that splits a budget, without its optional inputs and with them: golden section against bisection of the slope along the budget.
// Where a closed form exists it is a third answer.
static void test_optima(void **state) {
  (void)state;
  static const struct {
    const char *name;
    double value;
  } OTHER[] = {{"vocab", 32000}, {"width", 1024},  {"weight_bits", 6}, {"act_bits", 7},  {"kv_bits", 6},    {"post_bits", 5},
               {"experts", 16},  {"density", 0.3}, {"granularity", 8}, {"gmse", 0.0115}, {"capacity", 0.8}, {"active_share", 0.1}};
  int checked = 0, closed = 0;
  for (int64_t k = 0; k < iso_law_count(); k++) {
    const iso_law *l = iso_law_at(k);
    for (int c = 0; l->at_params >= 0 && l->at_tokens >= 0 && c < l->n_consts; c++)
      for (int with = 0; with < 2; with++)
        for (double flop = 1e18; flop < 2e24; flop *= 1e3) {
          double x[ISO_LAW_INPUT_MAX];
          const double *p = l->consts[c].p;
          iso_law_point pt;
          iso_err e = {0};
          iso_law_absent(l, x);
          for (int i = 0; i < l->n_inputs; i++)
            for (size_t o = 0; o < ISO_COUNT(OTHER); o++)
              if (!strcmp(OTHER[o].name, l->input[i].name) && (with || isnan(x[i]))) x[i] = OTHER[o].value;
          // Some four epochs, whatever the budget: far more of them are worth nothing, and then no size is best.
          int u = iso_law_input_find(l, "unique_tokens");
          if (with && u >= 0) x[u] = 0.25 * sqrt(20 * flop / 6);
          iso_law searched = *l;
          searched.optimum = NULL;
          if (iso_law_optimum_at(&searched, p, x, flop, &pt, &e) != ISO_OK) {
            // Farseer's constants, which are not confirmed, want sizes beyond 1e15 for large budgets.
            if (!l->consts[c].confirmed) continue;
            fail_msg("%s, %s: %s", l->base.name, l->consts[c].name, e.msg);
          }
          double lo = log(pt.params) - 1, hi = log(pt.params) + 1;
          if (!(along(l, p, x, flop, lo) < 0 && along(l, p, x, flop, hi) > 0)) fail_msg("%s: no minimum at %g", l->base.name, pt.params);
          for (int i = 0; i < 60; i++) {
            double mid = 0.5 * (lo + hi);
            *(along(l, p, x, flop, mid) < 0 ? &lo : &hi) = mid;
          }
          // A minimum of values is known to the square root of their rounding, and data_constrained has a kink.
          if (fabs(lo - log(pt.params)) > 2e-4)
            fail_msg("%s, %s, %g FLOP: N* %.8g and %.8g", l->base.name, l->consts[c].name, flop, pt.params, exp(lo));
          checked++;
          if (with || !l->optimum) continue;
          iso_law_point exact;
          ok(iso_law_optimum_at(l, p, x, flop, &exact, &e), &e);
          near(exact.params, pt.params, 1e-6);
          near(exact.loss, pt.loss, 1e-12);
          closed++;
        }
  }
  print_message("%d optima two ways, %d with a closed form\n", checked, closed);
  assert_true(checked > 100 && closed > 40);
}

// Compute for a target is the inverse of the optimum; an input for a target that of the value, by closed form and by scan.
static void test_inverse(void **state) {
  (void)state;
  iso_err e = {0};
  const iso_law *l = &iso_law_chinchilla;
  const double *p = set_of(l, "besiroglu2024")->p;
  double x[ISO_LAW_INPUT_MAX], n, d;
  iso_law_point a, b;
  iso_law_absent(l, x);
  // Closed form of the reducible loss at the optimum: (G^-alpha A + G^beta B) (C / 6)^-(alpha beta / (alpha + beta)).
  double al = p[3], be = p[4], g = pow(al * exp(p[0]) / (be * exp(p[1])), 1 / (al + be)), y = 2.0;
  double flop = 6 * pow((y - exp(p[2])) / (pow(g, -al) * exp(p[0]) + pow(g, be) * exp(p[1])), -(al + be) / (al * be));
  ok(iso_law_flop_for(l, p, x, y, &a, &e), &e);
  near(a.flop, flop, 1e-9);
  near(a.loss, y, 1e-12);
  ok(iso_law_optimum_at(l, p, x, a.flop, &b, &e), &e);
  near(a.params, b.params, 1e-12);
  assert_int_equal(iso_law_flop_for(l, p, x, 1.5, &a, &e), ISO_ENUM);
  assert_non_null(strstr(e.msg, "1.5 is not among them"));
  // With another input, through the search: 8 experts.
  const iso_law *m = &iso_law_moe_joint;
  double mx[3] = {NAN, NAN, 8};
  ok(iso_law_optimum_at(m, m->consts[0].p, mx, 1e21, &a, &e), &e);
  ok(iso_law_flop_for(m, m->consts[0].p, mx, a.loss, &b, &e), &e);
  near(b.flop, 1e21, 1e-6);
  // Inputs: closed form and scan agree; what is never reached is an error; what is missing is named.
  iso_law bare = *l;
  bare.inverse = NULL;
  x[0] = 1e9;
  ok(iso_law_input_for(l, p, x, 1, 2.5, &n, &e), &e);
  ok(iso_law_input_for(&bare, p, x, 1, 2.5, &d, &e), &e);
  near(n, d, 1e-10);
  x[1] = n;
  near(l->value(p, x, NULL), 2.5, 1e-12);
  assert_int_equal(iso_law_input_for(l, p, x, 1, 2.0, &n, &e), ISO_ENUM);
  assert_int_equal(iso_law_input_for(l, p, (double[]){NAN, NAN}, 1, 2.5, &n, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "needs params"));
  assert_int_equal(iso_law_optimum_at(m, m->consts[0].p, (double[]){NAN, NAN, NAN}, 1e21, &a, &e), ISO_EINVAL);
  assert_int_equal(iso_law_optimum_at(&iso_law_kaplan_n, iso_law_kaplan_n.consts[0].p, x, 1e21, &a, &e), ISO_EINVAL);
}

// ---- slopes ---------------------------------------------------------------------------------------------------------

// Chinchilla's in closed form: elasticities -alpha a / L, -beta b / L; the elasticity of substitution is 0.762 and 0.737 at the optimum
// of the two sets, as published, and 1 / (1 + beta s_N + alpha s_D) anywhere. A product of powers has 1.
static void test_slopes(void **state) {
  (void)state;
  iso_err e = {0};
  const iso_law *l = &iso_law_chinchilla;
  static const char *const SET[2] = {"hoffmann2022", "besiroglu2024"};
  static const double SIGMA[2] = {0.762, 0.737};
  for (int k = 0; k < 2; k++) {
    const double *p = set_of(l, SET[k])->p;
    iso_law_point pt;
    ok(l->optimum(p, 5.76e23, &pt, &e), &e);
    double x[2] = {pt.params, pt.tokens}, off[2] = {175e9, 300e9};
    near(iso_law_substitution(l, p, x), SIGMA[k], 7e-4);
    double a = exp(p[0]) * pow(off[0], -p[3]), b = exp(p[1]) * pow(off[1], -p[4]), y = l->value(p, off, NULL);
    near(iso_law_elasticity(l, p, off, 0), -p[3] * a / y, 1e-8);
    near(iso_law_elasticity(l, p, off, 1), -p[4] * b / y, 1e-8);
    near(iso_law_slope(l, p, off, 1), -p[4] * b / off[1], 1e-8);
    double sn = p[3] * a / (p[3] * a + p[4] * b);
    near(iso_law_substitution(l, p, off), 1 / (1 + p[4] * sn + p[3] * (1 - sn)), 1e-4);
  }
  assert_true(isnan(iso_law_substitution(&iso_law_kaplan_n, iso_law_kaplan_n.consts[0].p, (double[]){1e9})));
  // Powers: elasticities are the exponents.
  const double *p = iso_law_step_lr.consts[0].p, x[2] = {1e9, 1e11};
  near(iso_law_elasticity(&iso_law_step_lr, p, x, 0), -0.713, 1e-9);
  near(iso_law_elasticity(&iso_law_step_lr, p, x, 1), 0.307, 1e-9);
}

// ---- intervals ------------------------------------------------------------------------------------------------------

typedef struct at_flop {
  double flop;
} at_flop;
static void ask_size(void *self, const double *p, double *out) {
  iso_law_point pt = {.params = NAN, .tokens = NAN, .loss = NAN};
  (void)iso_law_chinchilla.optimum(p, ((at_flop *)self)->flop, &pt, NULL);
  out[0] = log(pt.params);
  out[1] = log(pt.tokens);
  out[2] = pt.loss;
}

// Oracle: 4,000 refits to Epoch's points here. Standard errors of the set are the published ones.
static void test_epoch(void **state) {
  (void)state;
  const char *shared = getenv("ISOFLOP_SHARED");
  char path[512];
  iso_err e = {0};
  iso_ctx *ctx;
  iso_fit_data d;
  iso_fit f;
  const iso_law *l = &iso_law_chinchilla;
  const iso_law_const *c = set_of(l, "besiroglu2024");
  const iso_law_spread *s = iso_law_spread_of(l, c);
  if (!shared) {
    print_message("ISOFLOP_SHARED is not set: skipped\n");
    skip();
  }
  snprintf(path, sizeof path, "%s/data/scaling/epoch_chinchilla.csv", shared);
  ok(iso_ctx_open(2, &ctx, &e), &e);
  ok(iso_fit_csv_load(path, &(iso_fit_csv_opts){.drop_highest = 5}, &d, &e), &e);
  iso_fit_opts o = iso_fit_opts_default();
  ok(iso_fit_run(ctx, &d, &o, &f, &e), &e);
  // Deviations of E, A / N^alpha and B / D^beta at the points' means, relative to the terms.
  double m[5] = {0}, cov[5][5] = {{0}}, at[2] = {0}, n = (double)f.resamples;
  for (int64_t i = 0; i < d.n; i++) {
    at[0] += log(d.params[i]) / (double)d.n;
    at[1] += log(d.tokens[i]) / (double)d.n;
  }
  double *dev = malloc(sizeof *dev * 5 * (size_t)f.resamples);
  for (int64_t b = 0; b < f.resamples; b++) {
    const double *q = f.sample + 5 * b;
    for (int k = 0; k < 2; k++) dev[5 * b + k] = expm1(q[k] - f.p[k] - (q[3 + k] - f.p[3 + k]) * at[k]) + (q[3 + k] - f.p[3 + k]) * at[k];
    dev[5 * b + 2] = expm1(q[2] - f.p[2]);
    for (int k = 3; k < 5; k++) dev[5 * b + k] = q[k] - f.p[k];
    for (int k = 0; k < 5; k++) m[k] += dev[5 * b + k] / n;
  }
  for (int64_t b = 0; b < f.resamples; b++)
    for (int i = 0; i < 5; i++)
      for (int j = 0; j < 5; j++) cov[i][j] += (dev[5 * b + i] - m[i]) * (dev[5 * b + j] - m[j]) / (n - 1);
  free(dev);
  for (int i = 0; i < 5; i++) {
    near(sqrt(cov[i][i]), s->up[i], 0.06);
    for (int j = 0; j < 5; j++) {
      // Fisher's z has a standard deviation of 1 / sqrt(n - 3); the refits' tails are heavier.
      double r = cov[i][j] / sqrt(cov[i][i] * cov[j][j]);
      if (i != j && fabs(atanh(r) - atanh(s->corr[5 * i + j])) > 0.15) fail_msg("correlation %d %d: %.7f and %.7f", i, j, r, s->corr[5 * i + j]);
    }
  }
  // Optima: widths within a fifth of those of the refits' intervals, which are not symmetric.
  for (double flop = 1e20; flop < 1e25; flop *= 100) {
    iso_fit_interval v[3];
    iso_fit_best b;
    ok(iso_law_spread_ask(l, c, 3, ask_size, &(at_flop){flop}, 0.9, v, &e), &e);
    ok(iso_fit_optimum(&f, flop, 0.9, &b, &e), &e);
    print_message("%.0e FLOP: N* %.3g [%.3g, %.3g], refits [%.3g, %.3g]; L* [%.4f, %.4f], refits [%.4f, %.4f]\n", flop, exp(v[0].mid), exp(v[0].lo),
                  exp(v[0].hi), b.params.lo, b.params.hi, v[2].lo, v[2].hi, b.loss.lo, b.loss.hi);
    near(v[0].hi - v[0].lo, log(b.params.hi / b.params.lo), 0.2);
    near(v[1].hi - v[1].lo, log(b.tokens.hi / b.tokens.lo), 0.2);
    near(v[2].hi - v[2].lo, b.loss.hi - b.loss.lo, 0.25);
  }
  iso_fit_close(&f);
  iso_fit_data_close(&d);
  iso_ctx_close(ctx);
}

// Oracle: quantiles of the 1,000 rows of step-law/steplaw data/1004_fitted_lr_bs_scaling_model_parameters.csv, put into the law row by row.
static void test_step(void **state) {
  (void)state;
  iso_err e = {0};
  iso_fit_interval v;
  static const double X[2][2] = {{1e9, 1e11}, {3e8, 2e10}};
  static const double LR[2][2] = {{0.0015453513, 0.0017865862}, {0.0022974232, 0.0024878708}};
  static const double BATCH[2][2] = {{1028744.56, 1187191.74}, {424884.30, 459430.31}};
  for (int i = 0; i < 2; i++) {
    ok(iso_law_predict_interval(&iso_law_step_lr, set_of(&iso_law_step_lr, "li2025_bootstrap"), X[i], 0.9, &v, &e), &e);
    near(v.lo, LR[i][0], 0.006);
    near(v.hi, LR[i][1], 0.006);
    ok(iso_law_predict_interval(&iso_law_step_batch, set_of(&iso_law_step_batch, "li2025_bootstrap"), &X[i][1], 0.9, &v, &e), &e);
    near(v.lo, BATCH[i][0], 0.006);
    near(v.hi, BATCH[i][1], 0.006);
  }
}

typedef struct pick {
  int k;
} pick;
static void ask_param(void *self, const double *p, double *out) { *out = p[((pick *)self)->k]; }

// Lopsided intervals come out as they were published, at their own level; a line turns about the middle of its budgets; closed forms of
// one normal constant.
static void test_lopsided(void **state) {
  (void)state;
  iso_err e = {0};
  iso_fit_interval v;
  static const struct {
    const char *set;
    double level, lo, hi, middle;
  } ROW[] = {{"chinchilla1", 0.8, 0.488, 0.502, 1.342e20},      {"chinchilla2", 0.8, 0.462, 0.534, 1.342e20},
             {"porian_kaplan", 0.95, 0.8235, 0.8460, 5.657e17}, {"porian_head", 0.95, 0.6915, 0.7169, 5.657e17},
             {"porian_warmup", 0.95, 0.5914, 0.6173, 5.657e17}, {"porian_cosine", 0.95, 0.5598, 0.5885, 5.657e17},
             {"porian_tuned", 0.95, 0.4907, 0.5045, 5.657e17}};
  const iso_law *l = &iso_law_allocation_params;
  for (size_t i = 0; i < ISO_COUNT(ROW); i++) {
    const iso_law_const *c = set_of(l, ROW[i].set);
    ok(iso_law_spread_ask(l, c, 1, ask_param, &(pick){1}, ROW[i].level, &v, &e), &e);
    near(v.lo, ROW[i].lo, 2e-3);
    near(v.hi, ROW[i].hi, 2e-3);
    ok(iso_law_predict_interval(l, c, &ROW[i].middle, 0.9, &v, &e), &e);
    near(v.lo, v.hi, 2e-3);
    // A thousandfold above the middle the size moves by the exponent's halves times ln 1000.
    double far = 1000 * ROW[i].middle;
    ok(iso_law_predict_interval(l, c, &far, ROW[i].level, &v, &e), &e);
    near(log(v.hi / v.mid), (ROW[i].hi - c->p[1]) * log(1000), 0.06);
    near(log(v.mid / v.lo), (c->p[1] - ROW[i].lo) * log(1000), 0.06);
  }
  // Power Lines: the exponent's interval at 20 tokens a parameter.
  double x[2] = {1e9, 2e10}, year = 12;
  ok(iso_law_predict_interval(&iso_law_power_lines_tau, &iso_law_power_lines_tau.consts[0], x, 0.95, &v, &e), &e);
  near(v.lo, 1.084 * pow(20, -0.529), 2e-3);
  near(v.hi, 1.084 * pow(20, -0.507), 4e-3);
  // A doubling time of 4.5 to 14.3 months.
  ok(iso_law_predict_interval(&iso_law_algorithmic_progress, &iso_law_algorithmic_progress.consts[0], &year, 0.95, &v, &e), &e);
  near(v.lo, exp2(12 / 14.3), 0.01);
  near(v.hi, exp2(12 / 4.5), 0.08);
}

// Without a published uncertainty there is no interval, and with one it holds the value, widens with the level, and its correlations are
// those of a distribution.
static void test_every_set(void **state) {
  (void)state;
  iso_err e = {0};
  int known = 0, unknown = 0;
  for (int64_t i = 0; i < iso_law_count(); i++) {
    const iso_law *l = iso_law_at(i);
    for (int c = 0; c < l->n_consts; c++) {
      const iso_law_spread *s = iso_law_spread_of(l, &l->consts[c]);
      iso_fit_interval v, wide;
      int k = 0;
      while (s && k < l->n_params && !(s->up[k] > 0)) k++;
      ok(iso_law_spread_ask(l, &l->consts[c], 1, ask_param, &(pick){k}, 0.5, &v, &e), &e);
      ok(iso_law_spread_ask(l, &l->consts[c], 1, ask_param, &(pick){k}, 0.95, &wide, &e), &e);
      assert_true(v.mid == l->consts[c].p[k]);
      if (s) {
        assert_true(wide.lo < v.lo && v.lo < v.mid && v.mid < v.hi && v.hi < wide.hi);
        assert_true(s->source[0] && l->consts[c].confirmed);
        known++;
      } else {
        assert_true(isnan(v.lo) && isnan(v.hi));
        unknown++;
      }
    }
  }
  print_message("%d sets with a published uncertainty, %d without\n", known, unknown);
  assert_true(known >= 16 && unknown > 30);
  const iso_law *l = &iso_law_chinchilla;
  iso_fit_interval v;
  iso_law bad = *l;
  static const double NONE[25] = {1, 2, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1};
  iso_law_spread wrong[16] = {{.up = {1, 1, 1, 1, 1}, .down = {1, 1, 1, 1, 1}, .corr = NONE, .source = "none"}};
  bad.spread = wrong;
  assert_int_equal(iso_law_spread_ask(&bad, &bad.consts[0], 1, ask_param, &(pick){0}, 0.9, &v, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "no distribution"));
  assert_int_equal(iso_law_spread_ask(l, &l->consts[0], 1, ask_param, &(pick){0}, 1, &v, &e), ISO_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_optima),   cmocka_unit_test(test_inverse), cmocka_unit_test(test_slopes),
                                     cmocka_unit_test(test_epoch),    cmocka_unit_test(test_step),    cmocka_unit_test(test_lopsided),
                                     cmocka_unit_test(test_every_set)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
