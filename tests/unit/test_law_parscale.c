// ParScale: the fit of its published losses, which are the source of its constants, and what P streams are worth in parameters.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/fit/lawfit.h"

enum { STREAMS = 4, SIZES = 6 };

// Losses of Chen et al. 2025 (arXiv:2505.10475) as in QwenLM/ParScale parametric_fit.py: rows by 1, 2, 4 and 8 streams, columns by size; the
// sizes include the prefixes.
static const double SIZE[STREAMS][SIZES] = {{535813376, 693753856, 1088376320, 1571472384, 2774773760, 4353203200},
                                            {538195842, 696738818, 1092762882, 1577522690, 2784937986, 4368529922},
                                            {540577412, 699722756, 1097148164, 1583571460, 2795100164, 4383854084},
                                            {545340552, 705690632, 1105918728, 1595669000, 2815424520, 4414502408}};
static const double STACK[STREAMS][SIZES] = {{1.1722, 1.1496, 1.1131, 1.0817, 1.0451, 1.0213},
                                             {1.1507, 1.1262, 1.094, 1.0623, 1.0244, 1.0025},
                                             {1.1354, 1.1124, 1.0808, 1.049, 1.0126, 0.9906},
                                             {1.1231, 1.0997, 1.0688, 1.0383, 1.0016, 0.9794}};
static const double PILE[STREAMS][SIZES] = {{2.1113, 2.0671, 2.0027, 1.9539, 1.8876, 1.8451},
                                            {2.0772, 2.0363, 1.973, 1.9266, 1.861, 1.8137},
                                            {2.0544, 2.0128, 1.9509, 1.904, 1.8394, 1.7938},
                                            {2.0364, 1.9933, 1.9318, 1.8856, 1.8218, 1.7772}};

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.12g, expected %.12g", got, want);
}

// The set of the law is the minimum of the authors' objective: a fit that starts without it ends there.
static void check_fit(const double loss[STREAMS][SIZES], const char *set, double *p) {
  iso_law law = iso_law_parscale;
  const iso_law_const *c = NULL;
  iso_law_data d;
  iso_lawfit f;
  iso_ctx *ctx;
  iso_err e = {0};
  assert_int_equal(iso_law_find_const(&law, set, &c, &e), ISO_OK);
  assert_int_equal(iso_ctx_open(1, &ctx, &e), ISO_OK);
  assert_int_equal(iso_law_data_open(&law, STREAMS * SIZES, &d, &e), ISO_OK);
  for (int i = 0; i < STREAMS * SIZES; i++) {
    d.x[2 * i] = SIZE[i / SIZES][i % SIZES];
    d.x[2 * i + 1] = 1 << i / SIZES;
    d.y[i] = loss[i / SIZES][i % SIZES];
  }
  law.n_consts = 0;
  iso_lawfit_opts o = iso_lawfit_opts_default(&law);
  o.resamples = 0;
  if (iso_lawfit_run(ctx, &d, &o, &f, &e) != ISO_OK) fail_msg("%s", e.msg);
  print_message("%s: objective %.6g, log E %.12g, log A %.12g, alpha %.12g, log k %.12g\n", set, f.value, f.p[0], f.p[1], f.p[2], f.p[3]);
  print_message("with the set of the law %.6g\n", iso_lawfit_objective(&d, o.objective, o.delta, c->p));
  near(iso_lawfit_objective(&d, o.objective, o.delta, c->p), f.value, 1e-9);
  if (loss == STACK) near(f.value, 3.6767e-5, 2e-5);  // by the authors' script
  for (int k = 0; k < 4; k++) near(f.p[k], c->p[k], 1e-5);
  for (int k = 0; k < 4; k++) p[k] = c->p[k];
  iso_lawfit_close(&f);
  iso_law_data_close(&d);
  iso_ctx_close(ctx);
}

static void test_fit(void **state) {
  (void)state;
  double p[ISO_LAW_PARAM_MAX];
  check_fit(STACK, "parscale2025_stack", p);
  // A fit of the same rows with the same objective by the authors' script: E, A, alpha, k.
  static const double want_stack[4] = {0.69127, 1.1307e7, 0.18939, 0.39343};
  for (int k = 0; k < 4; k++) near(k == 2 ? p[k] : exp(p[k]), want_stack[k], 3e-4);
  check_fit(PILE, "parscale2025_pile", p);
  // Parameters of a plain model that are worth P streams of 1.57B, in billions: by the authors' script.
  static const double x[2] = {1571472384, 1}, want[3] = {1.571, 1.936, 2.300};
  for (int i = 0; i < 3; i++) {
    double many[2] = {x[0], 1 << i};
    near(iso_law_parscale.inverse(p, x, 0, iso_law_parscale.value(p, many, NULL)) / 1e9, want[i], 4e-4);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_fit)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
