// The step model: planted rates come back, rates stay non-negative, intervals cover, files come back equal or are refused.
// clang-format off
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>  // needs the ones above
// clang-format on

#include "base/file.h"
#include "base/rng.h"
#include "measure/step_model.h"

static iso_ctx *open_ctx(void) {
  iso_ctx *c;
  iso_err err = {0};
  if (iso_ctx_open(0, &c, &err) != ISO_OK || iso_kern_select(ISO_PREC_f32, &c->kern, &err) != ISO_OK) fail_msg("%s", err.msg);
  return c;
}

// Work over three decades, terms moving independently.
static iso_step_work random_work(uint64_t seed, uint64_t i) {
  double u[4];
  for (uint64_t k = 0; k < 4; k++) u[k] = iso_rng_unit(seed, ISO_RNG_TEST, i, k);
  return (iso_step_work){.flop = 1e9 * pow(1e3, u[0]), .bytes = 1e7 * pow(1e3, u[1]), .calls = 20 * pow(20, u[2]), .update_b = 1e6 * pow(1e3, u[3])};
}

static double seconds_of(const double *rate, const iso_step_work *w) {
  return rate[0] * w->flop + rate[1] * w->bytes + rate[2] * w->calls + rate[3] * w->update_b;
}

static const double RATE[4] = {6e-12, 2e-11, 8e-6, 5e-11};

static void planted_rates_come_back(void **state) {
  (void)state;
  iso_step_model m = {0};
  iso_step_obs o[20];
  iso_err err = {0};
  for (uint64_t i = 0; i < 20; i++) {
    o[i].work = random_work(1, i);
    o[i].seconds = seconds_of(RATE, &o[i].work);
    o[i].weight = 1 + (double)(i % 3);
  }
  assert_int_equal(iso_step_model_refit(&m, o, 20, &err), ISO_OK);
  for (int k = 0; k < 4; k++) assert_true(fabs(m.rate[k] / RATE[k] - 1) < 1e-6);
  assert_true(m.rel_sd < 1e-6);
  iso_step_work w = random_work(2, 0);
  iso_est e = iso_step_model_predict(&m, &w);
  assert_true(fabs(e.mean / seconds_of(RATE, &w) - 1) < 1e-6 && e.lo < e.mean && e.mean < e.hi);
  assert_true(fabs((e.hi - e.mean) / e.mean - 0.01) < 1e-9);  // never narrower than 1%
}

// The oracle of non-negative least squares are the Karush-Kuhn-Tucker conditions: the gradient vanishes where a rate is positive and
// points outwards (is not negative) where it is 0.
static void rates_are_never_negative_and_optimal(void **state) {
  (void)state;
  iso_err err = {0};
  int zeros = 0;
  for (uint64_t trial = 0; trial < 200; trial++) {
    iso_step_model m = {0};
    iso_step_obs o[12];
    for (uint64_t i = 0; i < 12; i++) {
      o[i].work = random_work(100 + trial, i);
      o[i].seconds = seconds_of(RATE, &o[i].work) * exp(0.5 * iso_rng_normal(trial, ISO_RNG_TEST, 7, i));
      o[i].weight = 1 + (double)(i % 2);
    }
    assert_int_equal(iso_step_model_refit(&m, o, 12, &err), ISO_OK);
    for (int k = 0; k < 4; k++) {
      double grad = 0, size = 0;
      for (int i = 0; i < 12; i++) {
        double x[4] = {o[i].work.flop, o[i].work.bytes, o[i].work.calls, o[i].work.update_b}, r = seconds_of(m.rate, &o[i].work) / o[i].seconds - 1;
        grad += o[i].weight * x[k] / o[i].seconds * r;
        size += o[i].weight * x[k] / o[i].seconds;
      }
      assert_true(m.rate[k] >= 0);
      zeros += m.rate[k] == 0;
      if (m.rate[k] > 0)
        assert_true(fabs(grad) < 1e-7 * size);
      else
        assert_true(grad > -1e-7 * size);
    }
  }
  assert_in_range(zeros, 20, 600);  // else the constraint was never tried
}

// 90% intervals hold the truth in about 90% of 1,000 fresh cases: binomial standard deviation 1%, and the fit itself is noisy.
static void intervals_cover(void **state) {
  (void)state;
  iso_err err = {0};
  int held = 0;
  for (uint64_t trial = 0; trial < 1000; trial++) {
    iso_step_model m = {0};
    iso_step_obs o[16];
    for (uint64_t i = 0; i < 16; i++) {
      o[i].work = random_work(5000 + trial, i);
      o[i].seconds = seconds_of(RATE, &o[i].work) * (1 + 0.05 * iso_rng_normal(trial, ISO_RNG_TEST, 8, i));
      o[i].weight = 1;
    }
    assert_int_equal(iso_step_model_refit(&m, o, 16, &err), ISO_OK);
    iso_step_work w = random_work(9000 + trial, 0);
    double truth = seconds_of(RATE, &w) * (1 + 0.05 * iso_rng_normal(trial, ISO_RNG_TEST, 9, 0));
    iso_est e = iso_step_model_predict(&m, &w);
    held += e.lo <= truth && truth <= e.hi;
  }
  print_message("intervals held the truth in %d of 1000\n", held);
  assert_in_range(held, 860, 940);
}

static void weights_prefer_what_is_near(void **state) {
  (void)state;
  iso_err err = {0};
  iso_step_model m = {0};
  iso_step_obs o[8];
  for (uint64_t i = 0; i < 8; i++) {  // the same work, timed when the machine was twice as slow, and later
    o[i].work = random_work(3, 0);
    o[i].seconds = i < 4 ? 2.0 : 1.0;
    o[i].weight = i < 4 ? 1 : 100;
  }
  assert_int_equal(iso_step_model_refit(&m, o, 8, &err), ISO_OK);
  double t = iso_step_model_predict(&m, &o[0].work).mean;
  assert_true(t > 1.0 && t < 1.01);
}

static void full_models_drop_the_oldest_light_one(void **state) {
  (void)state;
  iso_err err = {0};
  iso_step_model m = {0};
  for (int i = 0; i < ISO_STEP_OBS + 3; i++) {
    iso_step_obs o = {random_work(4, (uint64_t)i), 1.0 + i, i < 2 ? 5 : 1};
    assert_int_equal(iso_step_model_refit(&m, &o, 1, &err), ISO_OK);
  }
  assert_int_equal(m.n, ISO_STEP_OBS);
  assert_true(m.obs[0].seconds == 1 && m.obs[1].seconds == 2 && m.obs[2].seconds == 6);
}

static void bad_observations_change_nothing(void **state) {
  (void)state;
  iso_err err = {0};
  iso_step_model m = {0}, was;
  iso_step_obs good = {random_work(5, 0), 1, 1};
  assert_true(isnan(iso_step_model_predict(&m, &good.work).mean));
  assert_int_equal(iso_step_model_refit(&m, &good, 1, &err), ISO_OK);
  was = m;
  iso_step_obs bad[] = {{good.work, 0, 1},        {good.work, NAN, 1},         {good.work, 1, -1},
                        {good.work, INFINITY, 1}, {.seconds = 1, .weight = 1}, {.work.flop = NAN, .seconds = 1, .weight = 1}};
  for (size_t i = 0; i < ISO_COUNT(bad); i++) {
    iso_step_obs two[2] = {good, bad[i]};
    assert_int_equal(iso_step_model_refit(&m, two, 2, &err), ISO_EINVAL);
  }
  assert_memory_equal(&m, &was, sizeof m);
}

static void files_come_back_equal_or_are_refused(void **state) {
  (void)state;
  iso_ctx *c = open_ctx();
  iso_err err = {0};
  iso_hw hw = iso_hw_blank();
  iso_step_model m, back;
  char dir[] = "/tmp/iso_steps_XXXXXX", path[256];
  assert_non_null(mkdtemp(dir));
  setenv("ISOFLOP_HOME", dir, 1);
  strcpy(hw.id, "0123456789abcdef");
  assert_int_equal(iso_step_model_load(c, hw.id, &back, &err), ISO_EIO);
  assert_int_equal(iso_step_model_init(c, &hw, &m, &err), ISO_OK);
  for (uint64_t i = 0; i < 9; i++) {
    iso_step_obs o = {random_work(6, i), 0.1 / 3 * (double)(i + 1), 1};
    assert_int_equal(iso_step_model_refit(&m, &o, 1, &err), ISO_OK);
  }
  assert_int_equal(iso_step_model_save(c, &m, &err), ISO_OK);
  assert_int_equal(iso_step_model_load(c, hw.id, &back, &err), ISO_OK);
  assert_int_equal(back.n, 9);
  assert_memory_equal(back.obs, m.obs, 9 * sizeof m.obs[0]);
  assert_memory_equal(back.rate, m.rate, sizeof m.rate);
  assert_string_equal(back.kernels, c->kern->name);
  assert_string_equal(back.precision, "f32");
  // Other kernels.
  iso_kern_table other = *c->kern;
  const iso_kern_table *was = c->kern;
  other.name = "other";
  c->kern = &other;
  assert_int_equal(iso_step_model_load(c, hw.id, &back, &err), ISO_EUNSUP);
  c->kern = was;
  // Another machine's file under this one's name, then a damaged one.
  strcpy(m.hw_id, "aaaa");
  assert_int_equal(iso_step_model_save(c, &m, &err), ISO_OK);
  char from[256];
  (void)snprintf(from, sizeof from, "%s/hw/aaaa.steps.json", dir);
  (void)snprintf(path, sizeof path, "%s/hw/%s.steps.json", dir, hw.id);
  assert_int_equal(rename(from, path), 0);
  assert_int_equal(iso_step_model_load(c, hw.id, &back, &err), ISO_EUNSUP);
  static const char *const BAD[] = {
      "{",
      "[]",
      "{\"hw_id\": 1}",
      "{\"hw_id\":\"a\",\"kernels\":\"b\",\"precision\":\"f32\",\"date\":\"d\",\"rate\":[],\"rel_sd\":0,\"obs\":[]}",
      "{\"hw_id\":\"a\",\"kernels\":\"b\",\"precision\":\"f32\",\"date\":\"d\",\"rate\":[],\"rel_sd\":0,\"obs\":[[1,2,3,4,-1,1]]}",
      "{\"hw_id\":\"a\",\"kernels\":\"b\",\"precision\":\"f32\",\"date\":\"d\",\"rate\":[],\"rel_sd\":0,\"obs\":[[1,2,3,4,\"1\",1]]}"};
  for (size_t i = 0; i < ISO_COUNT(BAD); i++) {
    assert_int_equal(iso_file_put(c, path, BAD[i], strlen(BAD[i]), &err), ISO_OK);
    assert_int_equal(iso_step_model_load(c, hw.id, &back, &err), ISO_EFORMAT);
  }
  iso_ctx_close(c);
}

// A real quick run, small under sanitizers: numbers are finite, rates are not negative, and predictions of what was timed are near it on the
// whole (no clock decides: they are the fit's own residuals).
static void a_real_run_gives_finite_rates(void **state) {
  (void)state;
  iso_ctx *c = open_ctx();
  iso_err err = {0};
  iso_hw hw = iso_hw_blank();
  iso_step_model m;
  strcpy(hw.id, "run");
  if (iso_calibrate_steps(c, ISO_CALIBRATE_QUICK, &hw, NULL, NULL, &m, &err) != ISO_OK) fail_msg("%s", err.msg);
  assert_true(m.n >= 2 && isfinite(m.rel_sd));
  double sum = 0;
  for (int k = 0; k < ISO_STEP_TERMS; k++) {
    assert_true(isfinite(m.rate[k]) && m.rate[k] >= 0);
    sum += m.rate[k];
  }
  assert_true(sum > 0);
  iso_model_config shape;
  iso_train_opts o = iso_train_defaults();
  iso_train_price price;
  o.batch = 2;
  assert_int_equal(iso_config_parse("4,192,3/3,512,2048,256", &shape, &err), ISO_OK);
  assert_int_equal(iso_train_price_of(&shape, &o, c->kern, 1, &price, &err), ISO_OK);
  iso_step_work w = iso_step_work_train(&price);
  iso_est e = iso_step_model_predict(&m, &w);
  assert_true(isfinite(e.mean) && e.mean > 0 && e.lo <= e.mean && e.mean <= e.hi);
  atomic_store(&c->cancel, 1);
  assert_int_equal(iso_calibrate_steps(c, ISO_CALIBRATE_QUICK, &hw, NULL, NULL, &m, &err), ISO_ECANCEL);
  iso_ctx_close(c);
}

// The work of a forward pass, by hand for one layer: QKV 2 M D (H + 2K) Hd, out 2 M D^2, MLP 6 M D F, head 2 M D V, attention 2 T^2/2-ish.
static void forward_work_is_a_third_of_a_step(void **state) {
  (void)state;
  iso_ctx *c = open_ctx();
  iso_err err = {0};
  iso_model_config shape;
  iso_train_opts o = iso_train_defaults();
  iso_train_price price;
  iso_step_work w;
  o.optim = "adamw";
  o.batch = 3;
  o.seq = 64;
  assert_int_equal(iso_config_parse("2,64,4/2,160,512,64", &shape, &err), ISO_OK);
  assert_int_equal(iso_train_price_of(&shape, &o, c->kern, 1, &price, &err), ISO_OK);
  assert_int_equal(iso_step_work_eval(&shape, 3, 64, c->kern, &w, &err), ISO_OK);
  iso_step_work t = iso_step_work_train(&price);
  // Every product has two more in the backward pass; attention recomputes nothing in the model count.
  assert_true(fabs(3 * w.flop / t.flop - 1) < 1e-9);
  assert_true(w.calls > 0 && w.calls < t.calls && w.update_b == 0 && t.update_b > 0);
  double m = 3 * 64, want = 2 * m * 512 * 64 + 2 * (2 * m * 64 * (4 + 2 * 2) * 16 + 2 * m * 64 * 64 + 6 * m * 64 * 160);
  assert_true(w.flop > want && w.flop - want < 2 * 3 * 2.1 * 64 * 65 * 64);  // the rest is attention
  iso_ctx_close(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(planted_rates_come_back),
                                     cmocka_unit_test(rates_are_never_negative_and_optimal),
                                     cmocka_unit_test(intervals_cover),
                                     cmocka_unit_test(weights_prefer_what_is_near),
                                     cmocka_unit_test(full_models_drop_the_oldest_light_one),
                                     cmocka_unit_test(bad_observations_change_nothing),
                                     cmocka_unit_test(files_come_back_equal_or_are_refused),
                                     cmocka_unit_test(a_real_run_gives_finite_rates),
                                     cmocka_unit_test(forward_work_is_a_third_of_a_step)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
