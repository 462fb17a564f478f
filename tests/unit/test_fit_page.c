// The page of a fit: its data block is the JSON, curves go through their runs, lines and bands by hand, hostile names stay text.
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
#include "report/fit_page.h"

static iso_ctx *ctx;

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, expected %.12g +- %g", got, want, tol);
}
static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}

static double loss(double n, double d) { return 1.8 + 480 / pow(n, 0.35) + 2100 / pow(d, 0.37); }

// Five budgets of nine sizes, without noise.
static void points(iso_fit_data *d) {
  iso_err e = {0};
  ok(iso_fit_data_open(45, d, &e), &e);
  for (int i = 0; i < 45; i++) {
    double c = pow(10, 18 + i / 9), n = 0.07 * sqrt(c) * pow(1.4, i % 9 - 4);
    d->params[i] = n;
    d->flop[i] = c;
    d->tokens[i] = c / (6 * n);
    d->loss[i] = loss(n, c / (6 * n));
  }
}

static double at(const json_t *a, size_t i) { return json_number_value(json_array_get(a, i)); }
static const json_t *get(const json_t *o, const char *k) {
  const json_t *v = json_object_get(o, k);
  if (!v) fail_msg("no %s", k);
  return v;
}

static json_t *block_of(const char *html) {
  const char *from = strstr(html, "id=\"iso-data\">");
  assert_non_null(from);
  from += strlen("id=\"iso-data\">");
  json_error_t je;
  json_t *j = json_loadb(from, (size_t)(strstr(from, "</script>") - from), 0, &je);
  if (!j) fail_msg("data block: %s", je.text);
  return j;
}

// Each trace meets the lowest point of its level and ends at the sizes tried; the runs' levels are theirs.
static void check_curves(const json_t *block, const iso_fit_data *d) {
  const json_t *levels = get(get(block, "curves"), "levels");
  assert_int_equal(json_array_size(levels), 5);
  for (size_t k = 0; k < 5; k++) {
    const json_t *trace = get(json_array_get(levels, k), "trace"), *n = json_array_get(trace, 0), *y = json_array_get(trace, 1);
    size_t m = json_array_size(n);
    near(at(n, 0) / d->params[9 * k], 1, 1e-9);
    near(at(n, m - 1) / d->params[9 * k + 8], 1, 1e-9);
    near(at(y, 0), d->loss[9 * k], 1e-9);
    near(at(y, (m - 1) / 2), d->loss[9 * k + 4], 1e-9);  // the middle of nine sizes
    for (size_t i = 0; i < 9; i++) assert_true(at(get(get(block, "rows"), "level"), 9 * k + i) == (double)k);
  }
}

// The law's optimum along C and the power lines.
static void check_lines(const json_t *block, const iso_lawfit *f, const iso_curves *cur) {
  iso_err e = {0};
  const json_t *opt = get(block, "optimum"), *power = get(block, "power");
  assert_true(json_array_size(opt) == 17 && json_array_size(power) == 2);
  for (size_t i = 0; i < 17; i++) {
    iso_law_point best;
    const json_t *o = json_array_get(opt, i);
    ok(iso_law_chinchilla.optimum(f->p, json_number_value(get(o, "train_flop")), &best, &e), &e);
    near(json_number_value(get(get(o, "params"), "value")) / best.params, 1, 1e-9);
  }
  const json_t *line = get(json_array_get(power, 0), "line");
  for (size_t i = 0; i < json_array_size(line); i++) {
    const json_t *q = json_array_get(line, i);
    double n = json_number_value(get(q, "params"));
    near(n / (cur->n_coef * pow(json_number_value(get(q, "train_flop")), cur->n_exponent.mid)), 1, 1e-9);
    assert_true(json_number_value(get(q, "lo")) <= n * (1 + 1e-12) && json_number_value(get(q, "hi")) >= n * (1 - 1e-12));
  }
}

static void test_page(void **state) {
  (void)state;
  iso_fit_data d;
  iso_law_data rows;
  iso_fit fast;
  iso_lawfit f;
  iso_curves cur;
  iso_parabolas par;
  iso_err e = {0};
  iso_fit_opts fo = iso_fit_opts_default();
  iso_curves_opts co = iso_curves_opts_default();
  iso_parabola_opts po = iso_parabola_opts_default();
  points(&d);
  fo.resamples = co.resamples = 200;
  co.noise_sd = 1e-5;
  ok(iso_fit_run(ctx, &d, &fo, &fast, &e), &e);
  ok(iso_law_data_of(&d, &rows, &e), &e);
  ok(iso_lawfit_of(&fast, &rows, &f, &e), &e);
  ok(iso_curves_fit(&d, &co, &cur, &e), &e);
  ok(iso_parabolas_fit(&d, &po, &par, &e), &e);
  // The view is the fast fit: the same objective and prediction.
  near(iso_lawfit_objective(&rows, f.objective, f.delta, f.p), fast.objective, 1e-15);
  double x[2] = {1e10, 2e11};
  iso_fit_interval v, w;
  ok(iso_lawfit_predict(&f, x, 0.9, &v, &e), &e);
  ok(iso_fit_predict(&fast, 1e10, 2e11, 0.9, &w, &e), &e);
  near(v.mid, w.mid, 1e-12);
  iso_fit_page p = {.source = "a</script><b>.csv",
                    .metric = "loss",
                    .command = "isoflop fit \"x\"<y>",
                    .rev = "abc",
                    .rows = &rows,
                    .fit = &f,
                    .points = &d,
                    .curves = &cur,
                    .curves_how = &co,
                    .parabolas = &par,
                    .text = "they <agree>"};
  json_t *own, *block;
  iso_str s = {0};
  ok(iso_fit_page_html(&p, &s, &e), &e);
  ok(iso_fit_page_json(&p, &own, &e), &e);
  block = block_of(s.p);
  assert_true(json_equal(block, own));
  assert_string_equal(json_string_value(get(block, "source")), p.source);
  assert_true(!strstr(s.p, "a</script><b>") && strstr(s.p, "a&lt;/script&gt;&lt;b&gt;.csv") && strstr(s.p, "they &lt;agree&gt;"));
  assert_true(!strstr(s.p, "{{") || strstr(s.p, "{{") > strstr(s.p, "iso-data"));  // no slot is left in the markup
  for (int i = 0; i < 45; i++) {
    assert_true(at(get(get(block, "rows"), "y"), (size_t)i) == d.loss[i]);
    near(at(get(get(block, "rows"), "fit"), (size_t)i), d.loss[i], 1e-6);
  }
  check_curves(block, &d);
  check_lines(block, &f, &cur);
  char value[64];
  snprintf(value, sizeof value, "<data value=\"%.17g\">", f.p[ISO_FIT_ALPHA]);
  assert_true(strstr(s.p, "id=\"params\"") && strstr(s.p, value) && strstr(s.p, "arXiv:2502.18969") && strstr(s.p, "Newton"));
  assert_null(strstr(s.p, "id=\"held\""));
  json_decref(block);
  json_decref(own);
  iso_str_free(&s);
  // Methods alone: no law, no residuals, no checklist of one.
  p.fit = NULL;
  ok(iso_fit_page_html(&p, &s, &e), &e);
  block = block_of(s.p);
  assert_true(json_is_null(get(block, "law")) && json_array_size(get(block, "params")) == 0 && json_array_size(get(block, "checklist")) == 18);
  assert_true(strstr(s.p, "5 of 5 budgets with a minimum inside") && strstr(s.p, "arXiv:2406.19146"));
  assert_true(!strstr(s.p, "c-resid\"") && strstr(s.p, "c-isoflop\"") && !strstr(s.p, "id=\"params\""));
  json_decref(block);
  iso_str_free(&s);
  iso_lawfit_close(&f);
  iso_fit_close(&fast);
  iso_law_data_close(&rows);
  iso_fit_data_close(&d);
}

int main(void) {
  iso_err e = {0};
  ok(iso_ctx_open(2, &ctx, &e), &e);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_page)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  iso_ctx_close(ctx);
  return failed;
}
