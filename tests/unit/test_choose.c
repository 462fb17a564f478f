// The planner of one run: what the clock leaves open widens a loss's interval, and nothing else does.
// clang-format off
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>  // needs the ones above
// clang-format on

#include "base/rng.h"
#include "loop/choose.h"

// Bits per byte fall by 0.1 for each e-fold of tokens, known to 0.01.
static iso_est tenth(const void *self, double params, double tokens) {
  (void)self;
  (void)params;
  double l = 2 - 0.1 * log(tokens / 1e6);
  return iso_est_range(l - 0.01, l, l + 0.01);
}

// Steps at 1e-11 s a FLOP, seen with relative errors of up to `noise`.
static void learn_steps(iso_step_model *m, double noise) {
  iso_step_obs o[24];
  iso_err err = {0};
  for (uint64_t i = 0; i < 24; i++) {
    o[i].work = (iso_step_work){.flop = 1e9 * pow(1e3, iso_rng_unit(1, ISO_RNG_TEST, i, 0))};
    o[i].seconds = 1e-11 * o[i].work.flop * (1 + noise * (i % 2 ? 1 : -1));
    o[i].weight = 1;
  }
  assert_int_equal(iso_step_model_refit(m, o, 24, &err), ISO_OK);
}

// Half widths below and above the mean.
static void widths(iso_env *e, const iso_choose_opts *o, double *below, double *above) {
  const iso_loss_law law = {tenth, NULL, "test"};
  iso_model_config c;
  iso_choice x;
  assert_true(iso_recipe_shape(4, 2048, 256, &c));
  if (!iso_choose_price(e, o, &c, &law, &x)) fail_msg("%s", x.why);
  assert_true(fabs(x.shadow + 0.1) < 1e-3);
  *below = x.bpb.mean - x.bpb.lo;
  *above = x.bpb.hi - x.bpb.mean;
}

static void near(double got, double want) {
  if (!(fabs(got / want - 1) < 0.01)) fail_msg("got %.6g, expected %.6g", got, want);
}

static void test_pace(void **state) {
  (void)state;
  iso_err err = {0};
  iso_env e = {.pace = 1};
  double below, above;
  if (iso_ctx_open(1, &e.ctx, &err) != ISO_OK || iso_kern_select(ISO_PREC_f32, &e.ctx->kern, &err) != ISO_OK) fail_msg("%s", err.msg);
  iso_choose_opts clock = {.seconds = 60, .train_flop = INFINITY, .tokens = INFINITY, .peak_ram = INFINITY, .moved = INFINITY};
  clock.infer_flop = clock.disk = clock.params_max = INFINITY;
  clock.vocab = 2048, clock.ctx = 256, clock.unique_tokens = 1e8, clock.val_tokens = 1e4;
  iso_choose_opts tokens = clock;
  tokens.tokens = 1e5;
  learn_steps(&e.steps, 0.3);
  widths(&e, &clock, &below, &above);
  double more = 0.1 * log(1.12);  // as far as a pace goes
  near(below, hypot(0.01, more));
  near(above, hypot(0.01, more));
  widths(&e, &tokens, &below, &above);
  near(below, 0.01);
  near(above, 0.01);
  e.steps = (iso_step_model){0};
  learn_steps(&e.steps, 1e-9);  // the step model then says 1% either way
  widths(&e, &clock, &below, &above);
  near(below, hypot(0.01, -0.1 * log(0.99)));
  near(above, hypot(0.01, 0.1 * log(1.01)));
  iso_ctx_close(e.ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_pace)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
