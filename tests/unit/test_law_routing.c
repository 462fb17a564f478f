// Routed models: the laws of Clark et al. 2022 refitted to their released curves, and the dense models among these.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "plan/fit/lawfit.h"

// google-deepmind/scaling_laws_for_routing data/curves.csv.gz: validation loss at the last step, one expert a token, every other layer routed,
// seed 42. Index of the dense size, experts, loss.
static const double SIZE[] = {16527360, 27279360, 57369600, 132163584, 368123904, 1308819456};
static const double DENSE[][3] = {{0, 1, 3.162017}, {1, 1, 3.028384}, {2, 1, 2.848552}, {4, 1, 2.463254}, {5, 1, 2.242015}};
static const double SBASE[][3] = {
    {0, 2, 3.112413},   {0, 4, 3.049506},   {0, 8, 2.985504},   {0, 16, 2.900899},  {0, 32, 2.826873},  {0, 64, 2.755725},  {0, 128, 2.690777},
    {0, 256, 2.633385}, {0, 512, 2.620452}, {1, 2, 2.987224},   {1, 4, 2.930703},   {1, 8, 2.857661},   {1, 16, 2.783312},  {1, 32, 2.708336},
    {1, 64, 2.641051},  {1, 128, 2.577898}, {1, 256, 2.526046}, {1, 512, 2.489533}, {2, 2, 2.807811},   {2, 4, 2.74908},    {2, 8, 2.685567},
    {2, 16, 2.621503},  {2, 32, 2.551838},  {2, 64, 2.493833},  {2, 128, 2.438245}, {2, 256, 2.393366}, {2, 512, 2.373242}, {3, 2, 2.6193},
    {3, 4, 2.567274},   {3, 8, 2.507903},   {3, 16, 2.447408},  {3, 32, 2.397288},  {3, 64, 2.344865},  {3, 128, 2.299347}, {3, 512, 2.23684},
    {4, 2, 2.435968},   {4, 4, 2.388464},   {4, 8, 2.340457},   {4, 16, 2.293805},  {4, 32, 2.249921},  {4, 64, 2.210754},  {4, 128, 2.179566},
    {4, 256, 2.15364},  {4, 512, 2.135097}, {5, 2, 2.228787},   {5, 4, 2.186303},   {5, 8, 2.147},      {5, 16, 2.113633},  {5, 32, 2.080577},
    {5, 64, 2.054387},  {5, 128, 2.030571}, {5, 256, 2.014528}, {5, 512, 1.99908}};
static const double RLR[][3] = {
    {0, 2, 3.111443},   {0, 4, 3.056167},   {0, 8, 2.977047},   {0, 16, 2.904163},  {0, 32, 2.831408},  {0, 64, 2.760212},  {0, 128, 2.695707},
    {0, 256, 2.635197}, {0, 512, 2.583094}, {1, 2, 2.978805},   {1, 4, 2.926505},   {1, 8, 2.857215},   {1, 16, 2.783635},  {1, 32, 2.714446},
    {1, 64, 2.646629},  {1, 128, 2.589496}, {1, 256, 2.53401},  {1, 512, 2.484326}, {2, 2, 2.814597},   {2, 4, 2.753226},   {2, 8, 2.688041},
    {2, 16, 2.62491},   {2, 32, 2.564405},  {2, 64, 2.503116},  {2, 128, 2.450143}, {2, 256, 2.404837}, {2, 512, 2.366154}, {3, 2, 2.621603},
    {3, 4, 2.573614},   {3, 8, 2.515575},   {3, 16, 2.458229},  {3, 32, 2.408804},  {3, 64, 2.359724},  {3, 128, 2.318991}, {3, 256, 2.286214},
    {3, 512, 2.255926}, {4, 2, 2.44245},    {4, 4, 2.394847},   {4, 8, 2.348456},   {4, 16, 2.302313},  {4, 32, 2.263588},  {4, 64, 2.231573},
    {4, 128, 2.205384}, {4, 256, 2.181974}, {4, 512, 2.161057}, {5, 2, 2.226972},   {5, 4, 2.196732},   {5, 8, 2.159115},   {5, 16, 2.132818},
    {5, 32, 2.106091},  {5, 64, 2.084666},  {5, 128, 2.065347}, {5, 256, 2.047718}, {5, 512, 2.031533}};
static const double HASH[][3] = {
    {0, 2, 3.134685},   {0, 4, 3.098873},   {0, 8, 3.041726},   {0, 16, 2.975403},  {0, 32, 2.896204},  {0, 64, 2.825369},  {0, 128, 2.753949},
    {0, 256, 2.692028}, {0, 512, 2.641295}, {1, 2, 3.010552},   {1, 4, 2.969542},   {1, 8, 2.911448},   {1, 16, 2.847485},  {1, 64, 2.702306},
    {1, 128, 2.636433}, {1, 256, 2.582117}, {1, 512, 2.531056}, {2, 2, 2.828871},   {2, 4, 2.791194},   {2, 8, 2.739805},   {2, 16, 2.682281},
    {2, 32, 2.620802},  {2, 64, 2.556693},  {2, 128, 2.499046}, {2, 256, 2.45042},  {2, 512, 2.40754},  {3, 2, 2.639141},   {3, 4, 2.608889},
    {3, 16, 2.51084},   {3, 32, 2.459501},  {3, 64, 2.410465},  {3, 128, 2.365198}, {3, 512, 2.293412}, {4, 2, 2.451879},   {4, 4, 2.425348},
    {4, 8, 2.388532},   {4, 16, 2.350907},  {4, 32, 2.308701},  {4, 64, 2.269941},  {4, 128, 2.234888}, {4, 256, 2.209341}, {4, 512, 2.184864},
    {5, 2, 2.236571},   {5, 4, 2.216712},   {5, 8, 2.194467},   {5, 16, 2.167312},  {5, 32, 2.139254},  {5, 64, 2.11228},   {5, 128, 2.088883},
    {5, 256, 2.073848}, {5, 512, 2.056815}};

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("got %.12g, expected %.12g", got, want);
}

// A fit in log10 L that starts without the published sets ends at the set, whose root mean square residual is `rmse` powers of ten; the size
// where routing stops helping follows from it.
static void refit(const double (*row)[3], int64_t n, const char *set, double rmse, double cutoff) {
  iso_law law = iso_law_moe_routing;
  const iso_law_const *c = NULL;
  iso_law_data d;
  iso_lawfit f;
  iso_ctx *ctx;
  iso_err e = {0};
  const int64_t dense = ISO_COUNT(DENSE);
  assert_int_equal(iso_law_find_const(&law, set, &c, &e), ISO_OK);
  assert_int_equal(iso_ctx_open(1, &ctx, &e), ISO_OK);
  law.n_consts = 0;
  assert_int_equal(iso_law_data_open(&law, dense + n, &d, &e), ISO_OK);
  for (int64_t i = 0; i < dense + n; i++) {
    const double *r = i < dense ? DENSE[i] : row[i - dense];
    d.x[2 * i] = SIZE[(int)r[0]];
    d.x[2 * i + 1] = r[1];
    d.y[i] = r[2];
  }
  iso_lawfit_opts o = iso_lawfit_opts_default(&law);
  o.resamples = 0;
  if (iso_lawfit_run(ctx, &d, &o, &f, &e) != ISO_OK) fail_msg("%s", e.msg);
  print_message("%s, %lld runs: a %.5f b %.5f c %.6f d %.4f E_start %.4g E_max %.4g; rmse %.5f, cutoff %.4g\n", set, (long long)d.n, f.p[0], f.p[1],
                f.p[2], f.p[3], exp(f.p[4]), exp(f.p[5]), f.rmse / M_LN10, pow(10, -f.p[1] / f.p[2]));
  near(f.rmse / M_LN10, rmse, 2e-3);
  for (int k = 0; k < 4; k++) near(f.p[k], c->p[k], 6e-4);
  for (int k = 4; k < 6; k++) near(exp(f.p[k]), exp(c->p[k]), 1e-3);
  near(pow(10, -f.p[1] / f.p[2]), cutoff, 0.01);
  iso_lawfit_close(&f);
  iso_law_data_close(&d);
  iso_ctx_close(ctx);
}

static void test_refits(void **state) {
  (void)state;
  refit(SBASE, ISO_COUNT(SBASE), "clark2022_sbase", 0.00323, 783e9);
  refit(HASH, ISO_COUNT(HASH), "clark2022_hash", 0.00298, 89e9);
  refit(RLR, ISO_COUNT(RLR), "clark2022_rlr", 0.00323, 97.1e9);
}

// The paper's law of dense models, of two and four digits, is within 1.4% of the five dense runs.
static void test_dense(void **state) {
  (void)state;
  const iso_law_const *c = NULL;
  iso_err e = {0};
  assert_int_equal(iso_law_find_const(&iso_law_kaplan_n, "clark2022_dense", &c, &e), ISO_OK);
  for (size_t i = 0; i < ISO_COUNT(DENSE); i++) near(iso_law_kaplan_n.value(c->p, &SIZE[(int)DENSE[i][0]], NULL), DENSE[i][2], 0.014);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_refits), cmocka_unit_test(test_dense)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
