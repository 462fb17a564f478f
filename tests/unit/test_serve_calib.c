// Calibration on measured serving points: what the columns mean, each model from the others, ranking, recovery, bad files.
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
#include "plan/serve/calib.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, expected %.12g +- %g", got, want, tol);
}
static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}

// The shared points, or a skip.
static void load(iso_serve_points *p) {
  const char *shared = getenv("ISOFLOP_SHARED");
  char path[512];
  iso_err e;
  if (!shared) {
    print_message("ISOFLOP_SHARED is not set: skipped\n");
    skip();
  }
  snprintf(path, sizeof path, "%s/data/serving/measured_serving.csv", shared);
  ok(iso_serve_points_load(path, NULL, p, &e), &e);
}

static int64_t devices(const iso_serve_layout *l) { return l->tp * l->dp; }

// The same measurement stands in the file several times, with degrees written differently: the reading must make them one. Under the reading
// that batch_size is the replica's (not per attention rank) the pairs with different attention_dp would disagree.
static void test_columns(void **state) {
  (void)state;
  iso_serve_points p;
  load(&p);
  int64_t differ = 0, agree = 0, ranks = 0;
  for (int64_t i = 0; i < p.n; i++) {
    for (int64_t k = 0; k < i; k++) {
      const iso_serve_point *a = &p.at[i], *b = &p.at[k];
      if (a->skip || b->skip || a->split || b->split || a->ttft_s != b->ttft_s || a->tpot_s != b->tpot_s || strcmp(a->system, b->system) ||
          a->prompt != b->prompt || a->output != b->output)
        continue;
      if (a->batch == b->batch && !memcmp(&a->file, &b->file, sizeof a->file)) continue;
      differ++;
      ranks += a->batch != b->batch;
      agree += a->in_flight == b->in_flight && devices(&a->layout) == devices(&b->layout) && a->layout.tp == b->layout.tp;
    }
  }
  print_message("%lld rows, %lld used; %lld equal measurements written differently, %lld with another batch size, %lld agree as read\n",
                (long long)p.n, (long long)p.used, (long long)differ, (long long)ranks, (long long)agree);
  assert_int_equal(p.n, 2151);
  assert_int_equal(p.used, 1467);
  assert_int_equal(p.skipped[ISO_POINT_NO_BATCH], 684);
  assert_true(differ >= 20 && ranks >= 6);
  assert_int_equal(agree, differ);
  iso_serve_points_close(&p);
}

// The targets: time per output token of each model from the others, median error at most 35% (20% is aimed at), mean Kendall tau at least 0.6.
static void judge(bool by_shape) {
  iso_serve_points p;
  iso_calib_check c;
  iso_err e;
  load(&p);
  ok(iso_calib_check_run(&p, by_shape, &c, &e), &e);
  for (int i = 0; i < c.models; i++)
    print_message("  %-36s %4lld points, error %.3f, ratio %.2f, TTFT error %.3f\n", c.model[i].name, (long long)c.model[i].points, c.model[i].error,
                  c.model[i].ratio, c.model[i].ttft_error);
  print_message("left out by %s: median error %.3f, mean %.3f, 90th percentile %.3f; TTFT median %.3f; tau %.3f (least %.2f) over %lld groups\n",
                by_shape ? "shape" : "model", c.error, c.mean_error, c.p90_error, c.ttft_error, c.tau.mean, c.tau.min, (long long)c.tau.groups);
  assert_int_equal(c.points, 1467);
  assert_true(c.error <= 0.20);
  assert_true(c.p90_error <= 0.55);
  assert_true(c.ttft_error <= 0.55);
  assert_true(c.tau.mean >= 0.8);
  assert_in_range(c.tau.groups, 80, 120);
  assert_true(c.lo > 0.5 && c.hi < 2);
  json_t *j = iso_calib_check_json(&c);
  assert_int_equal(json_array_size(json_object_get(j, "models")), c.models);
  json_decref(j);
  iso_serve_points_close(&p);
}

// A fixed batch takes its prompts at once, so that four take four times one's prefill, and then decodes with no prompt between its tokens.
static void test_static(void **state) {
  (void)state;
  const char *text =
      "backend,model,system,precision,mode,prompt_tok,output_tok,batch_size,tp_size,pp_size,attention_dp_size,moe_tp_size,moe_ep_size,ttft_ms,tpot_"
      "ms\n"
      "x,bloom-176b,a100,bf16,static,512,128,1,8,1,,,,174,49\nx,bloom-176b,a100,bf16,static,512,128,4,8,1,,,,640,51\n"
      "x,bloom-176b,a100,bf16,agg,512,128,4,8,1,,,,640,51\n";
  iso_serve_points p;
  iso_calib c = iso_calib_default();
  iso_err e;
  double tpot[3], ttft[3];
  c.ttft_fixed_s = c.ttft_step = c.ttft_queue = 0;
  ok(iso_serve_points_parse(text, strlen(text), "points.csv", NULL, &p, &e), &e);
  assert_true(p.used == 3 && p.at[0].together && p.at[1].together && !p.at[2].together && !p.at[1].split);
  for (int i = 0; i < 3; i++) ok(iso_calib_predict(&c, &p.at[i], &tpot[i], &ttft[i], &e), &e);
  assert_true(fabs(ttft[1] / ttft[0] - 4) < 1e-9 && fabs(ttft[2] / ttft[0] - 1) < 1e-9);
  assert_true(tpot[1] < tpot[2] && tpot[1] > tpot[0]);
  iso_serve_points_close(&p);
  const char *bad =
      "backend,model,system,precision,mode,prompt_tok,output_tok,batch_size,tp_size,pp_size,attention_dp_size,moe_tp_size,moe_ep_size,ttft_ms,tpot_"
      "ms\nx,bloom-176b,a100,bf16,still,512,128,1,8,1,,,,1,1\n";
  assert_int_equal(iso_serve_points_parse(bad, strlen(bad), "points.csv", NULL, &p, &e), ISO_EFORMAT);
  assert_non_null(strstr(e.msg, "agg, disagg or static"));
}

static void test_by_model(void **state) {
  (void)state;
  judge(false);
}
static void test_by_shape(void **state) {
  (void)state;
  judge(true);
}

// What ships is the fit to these points; its interval holds about 90% of them without any group's factor.
static void test_default(void **state) {
  (void)state;
  iso_serve_points p;
  iso_calib c, d = iso_calib_default();
  iso_err e;
  load(&p);
  ok(iso_calib_fit(&p, NULL, &c, &e), &e);
  near(d.coef.mem / c.coef.mem, 1, 0.02);
  near(d.coef.flop / c.coef.flop, 1, 0.05);
  near(d.coef.link / c.coef.link, 1, 0.05);
  near(d.coef.prefill / c.coef.prefill, 1, 0.02);
  near(d.coef.launch_s / c.coef.launch_s, 1, 0.02);
  near(d.coef.collective_s / c.coef.collective_s, 1, 0.05);
  near(d.coef.net_s / c.coef.net_s, 1, 0.05);
  int64_t in = 0;
  for (int64_t i = 0; i < p.n; i++) {
    double tpot, ttft;
    if (p.at[i].skip) {
      assert_int_equal(iso_calib_predict(&d, &p.at[i], &tpot, &ttft, &e), ISO_EINVAL);
      continue;
    }
    ok(iso_calib_predict(&d, &p.at[i], &tpot, &ttft, &e), &e);
    in += p.at[i].tpot_s >= d.lo * tpot && p.at[i].tpot_s <= d.hi * tpot;
  }
  print_message("built-in interval holds %.3f of the points\n", (double)in / (double)p.used);
  assert_in_range(in, p.used * 88 / 100, p.used * 96 / 100);
  json_t *j = iso_calib_json(&c);
  assert_int_equal(json_array_size(json_object_get(j, "groups")), c.groups);
  json_decref(j);
  iso_serve_points_close(&p);
}

// The check of one system is the check of all when it is told of all; of one it predicts that one's points, from fits to every system's.
static void test_system(void **state) {
  (void)state;
  iso_serve_points p;
  iso_calib_check all;
  iso_calib_system *s = calloc(1, sizeof *s);
  iso_calib_score *saved = calloc(1, sizeof *saved);
  iso_calib *back = calloc(1, sizeof *back);
  iso_err e;
  assert_true(s && saved && back);
  load(&p);
  ok(iso_calib_check_run(&p, true, &all, &e), &e);
  ok(iso_calib_check_system(&p, NULL, 0, 1, s, &e), &e);
  assert_true(s->by_model && s->out.tpot.n == 1467);
  near(s->out.tpot.median_error, all.error, 1e-12);
  near(s->out.ttft.p90_error, all.ttft_p90_error, 1e-12);
  near(s->out.tau.mean, all.tau.mean, 1e-12);
  near(s->all.lo, all.lo, 1e-12);
  ok(iso_calib_check_system(&p, "h200", 20, 1, s, &e), &e);
  print_message(
      "H200: %lld of %lld points; two thirds -> third %.1f%% (median %.1f%%, 90%% %.1f%%); left out: %.1f%%, %.1f%%, %.1f%%; tau %.2f; regret %.1f%% "
      "of %lld choices\n",
      (long long)s->out.tpot.n, (long long)s->all.points, 100 * s->tpot.mape, 100 * s->tpot.median_error, 100 * s->tpot.p90_error,
      100 * s->out.tpot.mape, 100 * s->out.tpot.median_error, 100 * s->out.tpot.p90_error, s->out.tau.mean, 100 * s->out.regret,
      (long long)s->out.choices);
  int64_t n = 0, used = 0;
  for (int64_t i = 0; i < p.n; i++) used += !p.at[i].skip && !strcmp(p.at[i].system, "h200_sxm");
  for (int i = 0; i < s->out.n_tensor; i++) n += s->out.tensor[i].n;
  assert_true(used == s->out.tpot.n && n == used && s->all.points == 1467);
  assert_true(s->tpot.splits == 20 && s->tpot.median_error < 0.15 && s->out.tpot.median_error < 0.30);
  for (int i = 0; i < s->out.n_worst; i++) {
    const iso_serve_point *q = &p.at[s->out.worst[i]];
    assert_string_equal(q->device.name, "h200");
    assert_true(i == 0 || fabs(s->out.worst_s[i] / q->tpot_s - 1) <= fabs(s->out.worst_s[i - 1] / p.at[s->out.worst[i - 1]].tpot_s - 1));
  }
  // Through JSON bit for bit, and then the same predictions.
  json_t *j = iso_calib_json(&s->all), *again;
  ok(iso_calib_from_json(j, "c", back, &e), &e);
  again = iso_calib_json(back);
  assert_true(json_equal(j, again));
  ok(iso_calib_score_points(&p, "h200", back, saved, &e), &e);
  assert_true(saved->tpot.median_error <= s->out.tpot.median_error && saved->tpot.n == used);
  double a, b, x, y;
  ok(iso_calib_predict(&s->all, &p.at[0], &a, &b, &e), &e);
  ok(iso_calib_predict(back, &p.at[0], &x, &y, &e), &e);
  assert_true(a == x && b == y);
  json_decref(again);
  again = iso_calib_system_json(s, &p);
  assert_int_equal(json_array_size(json_object_get(json_object_get(again, "left_out"), "worst")), ISO_SCORE_WORST);
  json_decref(again);
  json_object_set_new(json_object_get(j, "time"), "memory", json_real(-1));
  assert_int_equal(iso_calib_from_json(j, "c", back, &e), ISO_EFORMAT);
  assert_non_null(strstr(e.msg, "\"memory\" is -1"));
  json_object_del(j, "groups");
  json_object_set_new(json_object_get(j, "time"), "memory", json_real(1));
  assert_int_equal(iso_calib_from_json(j, "c", back, &e), ISO_EFORMAT);
  assert_non_null(strstr(e.msg, "groups"));
  json_decref(j);
  assert_int_equal(iso_calib_check_system(&p, "t4", 1, 1, s, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "none of them on t4"));
  iso_serve_points_close(&p);
  free(s);
  free(saved);
  free(back);
}

// Points made by known coefficients and group factors: the fit predicts new ones of the same kind, and all ranks are right.
static void test_recovery(void **state) {
  (void)state;
  static const char *const model[] = {"llama-3.1-8b", "llama-3.1-70b", "qwen3-32b", "gpt-oss-120b"}, *const sys[] = {"h100_sxm", "b200_sxm"};
  const iso_serve_coef truth = {.mem = 1.4, .flop = 1.2, .link = 2, .prefill = 3, .launch_s = 8e-6, .collective_s = 1e-5, .net_s = 2e-5, .scale = 1};
  iso_serve_points p = {calloc(400, sizeof *p.at), 400, 400, {400}};
  for (int i = 0; i < 400; i++) {
    iso_serve_point *q = &p.at[i];
    iso_serve_setup u;
    iso_err e;
    int k = i % 4, s = i / 4 % 2;
    int64_t n = k == 1 ? 4 : 2;
    snprintf(q->backend, sizeof q->backend, "engine");
    snprintf(q->model, sizeof q->model, "%s", model[k]);
    snprintf(q->system, sizeof q->system, "%s", sys[s]);
    snprintf(q->precision, sizeof q->precision, "fp8");
    q->line = i + 2;
    q->shape = iso_serve_shape_find(model[k]);
    ok(iso_serve_device_get(sys[s], &q->device, &e), &e);
    q->layout = q->file = iso_serve_layout_tp(q->shape, n);
    q->in_flight = q->batch = (double)(1 << (i / 8 % 8));
    q->prompt = i % 3 ? 1024 : 8192;
    q->output = 512;
    q->workers = q->prefill_workers = 1;
    q->tpot_s = 1;
    ok(iso_serve_point_setup(q, &u, &e), &e);
    iso_serve_work w = iso_serve_mean_work(&u, q->in_flight, q->prompt, q->output, true);
    q->tpot_s = iso_serve_time_s(&w, &truth) * (s ? 1.3 : 0.9) * exp(0.02 * iso_rng_normal(3, ISO_RNG_TEST, 0, (uint64_t)i));
    q->ttft_s = 0.1 + 5 * w.prefill_s;
  }
  iso_calib c;
  iso_calib_check k;
  iso_err e;
  ok(iso_calib_fit(&p, NULL, &c, &e), &e);
  double worst = 0;
  for (int i = 0; i < 400; i++) {
    double tpot, ttft;
    ok(iso_calib_predict(&c, &p.at[i], &tpot, &ttft, &e), &e);
    worst = fmax(worst, fabs(tpot / p.at[i].tpot_s - 1));
  }
  ok(iso_calib_check_run(&p, true, &k, &e), &e);
  print_message("recovery: worst error %.3f; left out: median %.3f, tau %.3f\n", worst, k.error, k.tau.mean);
  assert_true(worst < 0.15);
  assert_true(k.error < 0.12 && k.tau.mean > 0.95);
  // A group without points gets the pooled factor: between the two systems' for a third, each system's own for another engine.
  double a = iso_calib_coef(&c, "h100_sxm", "engine", "fp8").scale, b = iso_calib_coef(&c, "b200_sxm", "engine", "fp8").scale;
  double third = iso_calib_coef(&c, "h200_sxm", "engine", "fp8").scale, other = iso_calib_coef(&c, "b200_sxm", "another", "fp8").scale;
  near(b / a, 1.3 / 0.9, 0.06);
  assert_true(third > a && third < b && other > third);
  p.at[7].skip = ISO_POINT_MODEL;
  bool drop[400] = {false};
  for (int i = 0; i < 395; i++) drop[i] = true;
  assert_int_equal(iso_calib_fit(&p, drop, &c, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "at least 10"));
  iso_serve_points_close(&p);
}

static iso_status parse(const char *text, iso_serve_points *p, iso_err *e) {
  return iso_serve_points_parse(text, strlen(text), "points", NULL, p, e);
}

#define HEAD \
  "backend,model,system,precision,mode,prompt_tok,output_tok,batch_size,tp_size,pp_size,attention_dp_size,moe_tp_size,moe_ep_size,ttft_ms,tpot_ms\n"
static void refused(const char *text, const char *word) {
  iso_serve_points p;
  iso_err e = {0};
  assert_int_equal(parse(text, &p, &e), ISO_EFORMAT);
  if (!strstr(e.msg, word)) fail_msg("\"%s\" does not name \"%s\"", e.msg, word);
  assert_null(p.at);
}

static void test_files(void **state) {
  (void)state;
  iso_serve_points p;
  iso_err e;
  ok(parse(HEAD "trtllm,deepseek-ai/DeepSeek-R1,h200_sxm,fp8,agg,8192,1024,2,1,1,64,8,8,8863,61.2\r\n"
                "trtllm,\"deepseek-ai/DeepSeek-R1\",h200_sxm,fp8,agg,8192,1024,16,1,1,8,1,8,8863,61.2\n"
                "vllm,who/knows,h200_sxm,fp8,agg,8192,1024,16,1,1,8,1,8,8863,61.2\n"
                "vllm,qwen3-32b,tpu,fp8,agg,8192,1024,16,1,1,,1,1,8863,61.2\n"
                "vllm,qwen3-32b,h100_sxm,fp8,agg,8192,1024,,1,1,,1,1,8863,61.2\n"
                "vllm,qwen3-32b,h100_sxm,fp8,agg,8192,1024,4,1,2,,1,1,8863,61.2\n"
                "vllm,Qwen/Qwen3-235B-A22B-FP8,h200_sxm,fp8,agg,2000,100,5,1,1,,4,1,494,42.6\n",
           &p, &e),
     &e);
  assert_int_equal(p.n, 7);
  assert_int_equal(p.used, 3);
  for (int i = 0; i < 2; i++) {
    near(p.at[i].in_flight, 128, 0);
    assert_int_equal(p.at[i].layout.tp, 1);
    assert_int_equal(p.at[i].layout.dp, 8);
  }
  assert_int_equal(p.at[2].skip, ISO_POINT_MODEL);
  assert_int_equal(p.at[3].skip, ISO_POINT_DEVICE);
  assert_int_equal(p.at[4].skip, ISO_POINT_NO_BATCH);
  assert_int_equal(p.at[5].skip, ISO_POINT_PIPELINE);
  near(p.at[6].in_flight, 20, 0);  // attention ranks follow from moe_tp x moe_ep / tp
  iso_serve_points_close(&p);
  // A device of the caller's own stands for its name, and before a compiled-in one of that name.
  const char *card = HEAD "vllm,qwen3-32b,card,fp8,agg,8192,1024,4,1,1,,1,1,10,6\n";
  iso_device_spec own;
  ok(iso_device_spec_find("h100", &own, &e), &e);
  snprintf(own.name, sizeof own.name, "card");
  own.mem_b_s = 1e12;
  ok(parse(card, &p, &e), &e);
  assert_int_equal(p.at[0].skip, ISO_POINT_DEVICE);
  iso_serve_points_close(&p);
  ok(iso_serve_points_parse(card, strlen(card), "points", &own, &p, &e), &e);
  assert_true(p.at[0].skip == ISO_POINT_USED && p.at[0].device.mem_b_s == 1e12);
  iso_serve_points_close(&p);
  refused("", "header");
  refused("a,b\n1,2\n", "no column");
  refused(HEAD, "no row");
  refused(HEAD "vllm,qwen3-32b,h100_sxm,fp8,agg,8192,1024,4,1,1,,1,1,nan,61.2\n", "(ttft_ms): 'nan'");
  refused(HEAD "vllm,qwen3-32b,h100_sxm,fp8,agg,8192,1024,4,1,1,,1,1,10,0\n", "(tpot_ms): '0'");
  refused(HEAD "vllm,qwen3-32b,h100_sxm,fp8,agg,8192,1024,4.5,1,1,,1,1,10,6\n", "(batch_size): '4.5'");
  refused(HEAD "vllm,qwen3-32b,h100_sxm,fp8,both,8192,1024,4,1,1,,1,1,10,6\n", "mode");
  refused(HEAD "vllm,qwen3-32b,h100_sxm,fp3,agg,8192,1024,4,1,1,,1,1,10,6\n", "precision");
  refused(HEAD "vllm,qwen3-32b,h100_sxm,fp8,agg,8192,1024,4,1,1,,1,1,10\n", "14 fields");
  refused(HEAD "vllm,\"qwen3-32b,h100_sxm,fp8,agg\n", "not closed");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_columns),  cmocka_unit_test(test_static),  cmocka_unit_test(test_by_model),
                                     cmocka_unit_test(test_by_shape), cmocka_unit_test(test_default), cmocka_unit_test(test_recovery),
                                     cmocka_unit_test(test_files),    cmocka_unit_test(test_system)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
