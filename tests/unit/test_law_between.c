// The interval between laws: what it is made of, and how often it holds published runs that the law asked was not fitted to.
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
#include "base/csv.h"
#include "base/stat.h"
#include "plan/law_between.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.8g, expected %.8g within %g", got, want, tol);
}

// Every set is confirmed, about losses of dense models in nats per token, and of runs of its own.
static void test_sets(void **state) {
  (void)state;
  const iso_law *law, *other;
  const iso_law_const *c, *d;
  int n = 0;
  for (; (c = iso_law_between_set(n, &law)); n++) {
    assert_true(c->confirmed && c->runs && law->at_params >= 0 && law->at_tokens >= 0);
    assert_string_equal(law->unit, "nats per token");
    for (int i = 0; i < n; i++)
      if ((d = iso_law_between_set(i, &other)) && iso_law_same_runs(c, d)) fail_msg("%s and %s are of the same runs", c->name, d->name);
  }
  int all, some;
  double sd = iso_law_between_sd(1e9, 2e10, NULL, &all);
  (void)iso_law_between_sd(1e9, 2e10, "kaplan2020", &some);
  assert_true(n == all && some == n - 1 && n >= 8);
  // By hand at one point.
  double v[16];
  for (int i = 0; i < n; i++) {
    c = iso_law_between_set(i, &law);
    v[i] = log(iso_law_nd(law, c->p, 1e9, 2e10));
  }
  near(sd, iso_stdev(v, n), 1e-12);
  iso_fit_interval b = iso_law_between(2.5, 1e9, 2e10, 0.9, NULL);
  near(log(b.hi / b.mid), 1.8946 * sqrt(2) * sd, 1e-4);  // Student's t of seven degrees of freedom
  near(b.hi * b.lo, b.mid * b.mid, 1e-12);
  assert_true(isnan(iso_law_between(-1, 1e9, 2e10, 0.9, NULL).lo));
  static const double AT[] = {1e8, 1e9, 7e9, 7e10, 1e12};
  for (size_t i = 0; i < ISO_COUNT(AT); i++)
    print_message("%.0e parameters, 20 tokens each: standard deviation %.1f%%\n", AT[i], 100 * iso_law_between_sd(AT[i], 20 * AT[i], NULL, NULL));
  // Forms with and without an irreducible term part where nobody has been.
  assert_true(iso_law_between_sd(1e13, 1e15, NULL, NULL) > 2 * sd);
}

static int held, asked;

// A run's loss y within the interval of every law that was not fitted to it, made without that group of runs.
static void ask_all(double params, double tokens, double y, const char *own) {
  const iso_law *law;
  const iso_law_const *c;
  for (int i = 0; (c = iso_law_between_set(i, &law)); i++) {
    if (strcmp(c->runs, own) == 0) continue;
    iso_fit_interval b = iso_law_between(iso_law_nd(law, c->p, params, tokens), params, tokens, 0.9, own);
    asked++;
    held += b.lo <= y && y <= b.hi;
  }
}

// Each law in turn as the world: its losses in the intervals of the others. Eight laws are few, three of them by the same authors, so that
// shares above the level are no surprise; far fewer would be.
static void test_leave_one_out(void **state) {
  (void)state;
  const iso_law *law;
  const iso_law_const *c;
  held = asked = 0;
  for (double n = 1e8; n < 2e11; n *= 10)
    for (double ratio = 5; ratio < 600; ratio *= 4)
      for (int i = 0; (c = iso_law_between_set(i, &law)); i++) ask_all(n, n * ratio, iso_law_nd(law, c->p, n, n * ratio), c->runs);
  print_message("laws by the others: %d of %d held\n", held, asked);
  assert_true(held >= 0.88 * asked && held <= 0.98 * asked);
}

static double cell(const iso_csv *t, int64_t row, const char *name) {
  double v;
  int col = iso_csv_find(t, name);
  iso_err e = {0};
  if (col < 0 || iso_csv_number(t, row, col, name, &v, &e) != ISO_OK) fail_msg("%s: %s", name, e.msg);
  return v;
}

static void load(const char *name, iso_csv *t) {
  static char path[512];
  const char *shared = getenv("ISOFLOP_SHARED");
  iso_err e = {0};
  if (!shared) {
    print_message("ISOFLOP_SHARED is not set: skipped\n");
    skip();
  }
  snprintf(path, sizeof path, "%s/data/scaling/%s", shared, name);
  if (iso_csv_load(path, t, &e) != ISO_OK) fail_msg("%s", e.msg);
}

// Runs of Chinchilla's figure, on text that no other law has seen.
static void test_chinchilla(void **state) {
  (void)state;
  iso_csv t;
  load("epoch_chinchilla.csv", &t);
  held = asked = 0;
  for (int64_t i = 0; i < t.rows; i++) {
    double n = cell(&t, i, "params"), y = cell(&t, i, "loss");
    if (y < 3.44) ask_all(n, cell(&t, i, "train_flops") / (6 * n), y, "epoch_chinchilla");  // the five highest are read off wrongly
  }
  print_message("runs of Chinchilla: %d of %d held\n", held, asked);
  assert_true(t.rows == 245 && held >= 0.9 * asked);
  iso_csv_close(&t);
}

// Models trained for up to 640 tokens a parameter, most of them smaller than what laws of larger models saw.
static void test_overtraining(void **state) {
  (void)state;
  iso_csv t;
  load("overtraining.csv", &t);
  held = asked = 0;
  for (int64_t i = 0; i < t.rows; i++) {
    double y = cell(&t, i, "loss_c4_val");
    const char *set = iso_csv_cell(&t, i, iso_csv_find(&t, "train_set"));
    if (!isnan(y)) ask_all(cell(&t, i, "params"), cell(&t, i, "tokens"), y, strcmp(set, "rpj") == 0 ? "gadre2024_rpj" : "gadre2024_c4");
  }
  print_message("over-trained models: %d of %d held\n", held, asked);
  assert_true(asked >= 400 && held >= 0.9 * asked);
  iso_csv_close(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sets), cmocka_unit_test(test_leave_one_out), cmocka_unit_test(test_chinchilla),
                                     cmocka_unit_test(test_overtraining)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
