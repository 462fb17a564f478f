// Shapes: the law found again in runs made by it, exponents and optima in closed form, and lists checked by counting.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/ctx.h"
#include "base/rng.h"
#include "plan/shape_fit.h"

static iso_ctx *ctx;

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("%.9g, expected %.9g", got, want);
}

// Made-up laws, a value range each; C from 1e17 to 1e21. In the law's order: log alpha, a, log beta, b, log xi, c, log eps.
static const double P[ISO_SHAPE_DIMS][7] = {
    {2.25, 0.6, 10.15, 0.5, 12.3, 0.35, -2}, {0.5, 0.7, 11, 0.8, 12, 0.36, -2}, {2.5, 0.5, 10, 0.45, 12, 0.34, -2}};
static const double LO[ISO_SHAPE_DIMS] = {200, 4, 800}, HI[ISO_SHAPE_DIMS] = {3000, 64, 12000};

// A star: every dimension alone, rows evenly in logarithms. Names as other tables have them.
static void table(char *text, size_t size, int rows, double noise, uint64_t seed, int dims) {
  static const char *const NAME[ISO_SHAPE_DIMS] = {"Width", "layers", "mlp"};
  size_t at = (size_t)snprintf(text, size, "dimension,value,train_flop,error\n");
  for (int i = 0; i < rows; i++)
    for (int d = 0; d < dims; d++) {
      double u = (i + 1) * 0.7548776662, v = (i + 1) * 0.5698402909;
      double x[2] = {LO[d] * pow(HI[d] / LO[d], u - floor(u)), 1e17 * pow(1e4, v - floor(v))};
      double y = iso_law_shape.value(P[d], x, NULL) * exp(noise * iso_rng_normal(seed, ISO_RNG_TEST, (uint64_t)d, (uint64_t)i));
      at += (size_t)snprintf(text + at, size - at, "%s,%.9g,%.9g,%.12g\n", NAME[d], x[0], x[1], y);
    }
  assert_true(at < size);
}

static iso_status fits(const char *text, int64_t resamples, double flop, iso_shape_fits *f, iso_err *err) {
  iso_csv t;
  iso_shape_fit_opts o = {.flop = flop, .most = 20, .fit = iso_lawfit_opts_default(&iso_law_shape)};
  o.fit.resamples = resamples;
  o.fit.starts = resamples ? 60 : 400;
  iso_status st = iso_csv_parse(text, strlen(text), "runs.csv", &t, err);
  if (st == ISO_OK) st = iso_shape_fits_run(ctx, &t, &o, f, err);
  iso_csv_close(&t);
  return st;
}

// Equation 4 of the paper: x* = (alpha a C^c / (beta b))^(1 / (a + b)), s = c / (a + b).
static double best_of(int d, double flop) {
  const double *p = P[d];
  return pow(exp(p[0]) * p[1] * pow(flop, p[5]) / (exp(p[2]) * p[3]), 1 / (p[1] + p[3]));
}
static double exponent_of(int d) { return P[d][5] / (P[d][1] + P[d][3]); }

static void test_recovery(void **state) {
  (void)state;
  static char text[60000];
  const double flop = 1e20;
  iso_shape_fits f;
  iso_err err = {0};
  table(text, sizeof text, 140, 0, 0, ISO_SHAPE_DIMS);
  if (fits(text, 0, flop, &f, &err) != ISO_OK) fail_msg("%s", err.msg);
  for (int d = 0; d < ISO_SHAPE_DIMS; d++) {
    const iso_shape_fit *o = &f.of[d];
    assert_true(o->there && o->found && o->rows == 140);
    near(o->s.mid, exponent_of(d), 5e-3);
    near(o->best.mid, best_of(d, flop), 1e-2);
  }
  // What a shape loses is the sum over the dimensions, at the law's own values.
  iso_layout_shape s = {.width = 1000, .layers = 20, .mlp = 5000};
  double want = 0, x[2] = {1000, flop};
  for (int d = 0; d < ISO_SHAPE_DIMS; d++) {
    x[0] = d == 0 ? 1000 : d == 1 ? 20 : 5000;
    double there = iso_law_shape.value(P[d], x, NULL);
    x[0] = best_of(d, flop);
    want += there - iso_law_shape.value(P[d], x, NULL);
  }
  near(iso_shape_fits_excess(&f, &s), want, 0.02);
  assert_true(want > 0);
  iso_shape_fits_close(&f);
}

// Intervals hold the truth, and one dimension alone is answered alone.
static void test_intervals(void **state) {
  (void)state;
  static char text[60000];
  iso_shape_fits f;
  iso_err err = {0};
  table(text, sizeof text, 140, 0.002, 7, 1);
  if (fits(text, 100, 1e20, &f, &err) != ISO_OK) fail_msg("%s", err.msg);
  const iso_shape_fit *o = &f.of[ISO_SHAPE_WIDTH];
  assert_true(o->there && o->found && !f.of[ISO_SHAPE_DEPTH].there && !f.of[ISO_SHAPE_MLP].there);
  print_message("s %g (%g to %g), true %g; width %g (%g to %g), true %g\n", o->s.mid, o->s.lo, o->s.hi, exponent_of(0), o->best.mid, o->best.lo,
                o->best.hi, best_of(0, 1e20));
  assert_true(o->s.lo < exponent_of(0) && exponent_of(0) < o->s.hi && o->s.hi - o->s.lo < 0.5);
  assert_true(o->best.lo < best_of(0, 1e20) && best_of(0, 1e20) < o->best.hi && o->best.hi < 3 * o->best.lo);
  iso_shape_fits_close(&f);
}

static void test_bad_tables(void **state) {
  (void)state;
  static const struct {
    const char *text, *says;
    iso_status st;
  } BAD[] = {{"value,train_flop,error\n1,2,3\n", "dimension", ISO_EFORMAT},
             {"dimension,value,train_flop,error\nheight,2,3,4\n", "line 2: dimension \"height\"", ISO_EFORMAT},
             {"dimension,value,train_flop,error\nwidth,-2,3,4\n", "width of runs.csv", ISO_EFORMAT},
             {"dimension,value,train_flop,error\nwidth,20,1e18,0.4\n", "width of runs.csv", ISO_EINVAL},
             {"dimension,value,train_flop,error\n", "no rows", ISO_EINVAL}};
  for (size_t i = 0; i < ISO_COUNT(BAD); i++) {
    iso_shape_fits f;
    iso_err err = {0};
    iso_status st = fits(BAD[i].text, 0, 1e20, &f, &err);
    if (st != BAD[i].st || !strstr(err.msg, BAD[i].says)) fail_msg("%zu: %s: %s", i, iso_status_name(st), err.msg);
  }
  iso_shape_dim d;
  assert_true(iso_shape_dim_find("D_FF", &d) && d == ISO_SHAPE_MLP);
  assert_false(iso_shape_dim_find("heads", &d));
}

// Costs of a shape by hand: width 128, 3 layers, 2 heads of 64, mlp 256, vocabulary 1,000, 64 tokens, gated, tied.
static void test_costs(void **state) {
  (void)state;
  iso_layout_shape s = {
      .layers = 3, .width = 128, .heads = 2, .kv_heads = 2, .head_dim = 64, .mlp = 256, .vocab = 1000, .seq = 64, .gated = true, .tied = true};
  iso_shape_cost c = iso_shape_cost_of(&s);
  double block = 4 * 128 * 128 + 3 * 128 * 256, norms = 3 * 2 * 128 + 128;
  near(c.params, 3 * block + 1000 * 128 + norms, 1e-12);
  // Forward 2 a weight and 4 x width a causal pair, 32.5 of them a token; backward twice that.
  near(c.flop_tok, 3 * (2 * (3 * block + 1000 * 128) + 3 * 4 * 128 * 32.5), 1e-12);
  near(c.kv_b_tok, 2 * 2 * 3 * 128, 1e-12);
}

// Every shape is as large as it must be; no depth one off would be nearer; nothing is listed twice.
static void check_list(const iso_layout_shape *like, bool by_flop, double within) {
  iso_shape_cost *all;
  int64_t n;
  iso_err err = {0};
  assert_int_equal(iso_shape_list(like, by_flop, within, &all, &n, &err), ISO_OK);
  iso_shape_cost ref = iso_shape_cost_of(like);
  double want = by_flop ? ref.flop_tok : ref.params;
  int given = 0;
  assert_true(n > 10);
  for (int64_t i = 0; i < n; i++) {
    iso_layout_shape s = all[i].shape;
    double off = fabs((by_flop ? all[i].flop_tok : all[i].params) / want - 1);
    given += all[i].given;
    assert_true(off <= within && iso_layout_shape_check(&s, &err) == ISO_OK && s.vocab == like->vocab && s.seq == like->seq);
    for (int64_t j = 0; j < i; j++) assert_false(all[j].shape.width == s.width && all[j].shape.mlp == s.mlp && all[j].shape.layers == s.layers);
    assert_true(i == 0 || all[i - 1].shape.width >= s.width);
    for (int more = -1; more <= 1 && !all[i].given; more += 2) {
      s.layers = all[i].shape.layers + more;
      if (s.layers < 1) continue;
      iso_shape_cost c = iso_shape_cost_of(&s);
      assert_true(fabs((by_flop ? c.flop_tok : c.params) / want - 1) >= off);
    }
  }
  assert_int_equal(given, 1);
  free(all);
}

static void test_list(void **state) {
  (void)state;
  iso_layout_shape s, gpt = iso_layout_shape_gpt("gpt", 12, 768, 12, 50257, 1024);
  iso_err err = {0};
  assert_int_equal(iso_layout_shape_family(1e9, 32000, 2048, &s, &err), ISO_OK);
  for (int by_flop = 0; by_flop < 2; by_flop++) {
    check_list(&s, by_flop, 0.05);
    check_list(&gpt, by_flop, 0.05);
  }
  iso_shape_cost *all;
  int64_t n;
  assert_int_equal(iso_shape_list(&s, false, 0, &all, &n, &err), ISO_EINVAL);
  assert_int_equal(iso_layout_shape_named("mixtral-8x7b", 2048, &s, &err), ISO_OK);
  assert_int_equal(iso_shape_list(&s, false, 0.05, &all, &n, &err), ISO_EUNSUP);
}

static int setup(void **state) {
  (void)state;
  iso_err e = {0};
  return iso_ctx_open(2, &ctx, &e) != ISO_OK;
}
static int teardown(void **state) {
  (void)state;
  iso_ctx_close(ctx);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_recovery), cmocka_unit_test(test_intervals), cmocka_unit_test(test_bad_tables),
                                     cmocka_unit_test(test_costs), cmocka_unit_test(test_list)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
