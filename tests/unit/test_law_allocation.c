// Allocation laws: the sets are the least squares lines through the papers' tables, with exponents inside the printed intervals.
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

static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}

// Hoffmann et al. 2022, Tables 3 (approach 1) and A3 (approach 2): FLOPs, parameters, tokens.
static const double TABLE[2][9][3] = {
    {{1.92e19, 4e8, 8.0e9},
     {1.21e20, 1e9, 20.2e9},
     {1.23e22, 1e10, 205.1e9},
     {5.76e23, 67e9, 1.5e12},
     {3.85e24, 175e9, 3.7e12},
     {9.90e24, 280e9, 5.9e12},
     {3.43e25, 520e9, 11.0e12},
     {1.27e26, 1e12, 21.2e12},
     {1.30e28, 1e13, 216.2e12}},
    {{1.84e19, 4e8, 7.7e9},
     {1.20e20, 1e9, 20.0e9},
     {1.32e22, 1e10, 219.5e9},
     {6.88e23, 67e9, 1.7e12},
     {4.54e24, 175e9, 4.3e12},
     {1.18e25, 280e9, 7.1e12},
     {4.19e25, 520e9, 13.4e12},
     {1.59e26, 1e12, 26.5e12},
     {1.75e28, 1e13, 292.0e12}},
};
static const double PRINTED[2][2][2] = {{{0.488, 0.502}, {0.501, 0.512}}, {{0.462, 0.534}, {0.483, 0.529}}};

static void test_tables(void **state) {
  (void)state;
  iso_ctx *ctx;
  iso_err e = {0};
  ok(iso_ctx_open(1, &ctx, &e), &e);
  for (int approach = 0; approach < 2; approach++)
    for (int tokens = 0; tokens < 2; tokens++) {
      const iso_law *l = tokens ? &iso_law_allocation_tokens : &iso_law_allocation_params;
      const iso_law_const *c;
      iso_law_data d;
      iso_lawfit f;
      ok(iso_law_find_const(l, approach ? "chinchilla2" : "chinchilla1", &c, &e), &e);
      ok(iso_law_data_open(l, 9, &d, &e), &e);
      for (int i = 0; i < 9; i++) {
        d.x[i] = TABLE[approach][i][0];
        d.y[i] = TABLE[approach][i][1 + tokens];
      }
      iso_lawfit_opts o = iso_lawfit_opts_default(l);
      o.resamples = 0;
      ok(iso_lawfit_run(ctx, &d, &o, &f, &e), &e);
      if (fabs(f.p[0] - c->p[0]) > 2e-5 || fabs(f.p[1] - c->p[1]) > 1e-6)
        fail_msg("%s %s: fitted %.7f %.7f, set has %.7f %.7f", l->base.name, c->name, f.p[0], f.p[1], c->p[0], c->p[1]);
      assert_true(f.p[1] > PRINTED[approach][tokens][0] && f.p[1] < PRINTED[approach][tokens][1]);
      iso_lawfit_close(&f);
      iso_law_data_close(&d);
    }
  iso_ctx_close(ctx);
}

// C = 6 N D holds between the two laws of one approach to within the tables' roundings.
static void test_both_halves(void **state) {
  (void)state;
  for (int set = 0; set < 2; set++)
    for (double c = 1e19; c < 1e26; c *= 10) {
      double n = iso_law_allocation_params.value(iso_law_allocation_params.consts[set].p, &c, NULL);
      double d = iso_law_allocation_tokens.value(iso_law_allocation_tokens.consts[set].p, &c, NULL);
      assert_true(fabs(6 * n * d / c - 1) < 0.05);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_tables), cmocka_unit_test(test_both_halves)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
