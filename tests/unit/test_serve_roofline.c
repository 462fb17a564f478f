// Roofline of serving: parameter counts, published worked examples, invariants, what does not fit, advice.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "base/rng.h"
#include "plan/serve/advisor.h"
#include "plan/serve/calib.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, expected %.12g +- %g", got, want, tol);
}
static void within(double got, double want, double share) { near(got, want, share * fabs(want)); }
static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}
static const iso_serve_shape *shape(const char *name) {
  const iso_serve_shape *s;
  iso_err e;
  ok(iso_serve_shape_get(name, &s, &e), &e);
  return s;
}
static iso_serve_device device(const char *name) {
  iso_serve_device d;
  iso_err e;
  ok(iso_serve_device_get(name, &d, &e), &e);
  return d;
}
static iso_serve_setup setup(const char *model, const char *dev, const char *format, int64_t n) {
  iso_serve_setup u;
  iso_serve_format f;
  iso_err e;
  ok(iso_serve_format_get(format, shape(model), &f, &e), &e);
  iso_serve_device d = device(dev);
  ok(iso_serve_setup_init(&u, shape(model), &d, &f, iso_serve_layout_tp(shape(model), n), &e), &e);
  return u;
}

// Parameters as the models' cards state them (billions; total, and active with one head and no embedding where stated), within 2%.
static void test_counts(void **state) {
  (void)state;
  static const struct {
    const char *name;
    double total, active;
  } card[] = {{"llama-7b", 6.738, 6.607},       {"llama-13b", 13.016, 12.85},
              {"llama-2-70b", 68.98, 68.71},    {"meta-llama/Llama-3.1-8B-Instruct", 8.03, 7.50},
              {"llama-3.1-70b", 70.55, 69.5},   {"yi-34b", 34.39, 33.93},
              {"bloom-176b", 176.2, 176.2},     {"qwen3-32b", 32.76, 31.98},
              {"qwen3-235b-a22b", 235.1, 22.0}, {"qwen3.5-397b-a17b", 397, 17},
              {"deepseek-v3", 671, 37},         {"moonshotai/Kimi-K2.5", 1026, 32},
              {"zhipuai/GLM-5", 744, 40},       {"openai/gpt-oss-120b", 116.8, 5.1}};
  for (size_t i = 0; i < ISO_COUNT(card); i++) {
    iso_serve_counts c = iso_serve_counts_of(shape(card[i].name));
    within(c.total / 1e9, card[i].total, 0.01);
    within(c.active / 1e9, card[i].active, 0.05);
  }
  near(iso_serve_counts_of(shape("deepseek-v3")).kv_per_tok, 61 * 576, 0);
  near(iso_serve_counts_of(shape("llama-3.1-70b")).kv_per_tok, 80 * 2 * 8 * 128, 0);
  for (int i = 0; iso_serve_shape_at(i); i++) {
    iso_err e;
    ok(iso_serve_shape_check(iso_serve_shape_at(i), &e), &e);
  }
  for (int64_t i = 0; i < iso_device_spec_count(); i++) {
    iso_device_spec s = iso_device_spec_at(i);
    iso_serve_device d;
    iso_err e;
    ok(iso_serve_device_from(&s, &d, &e), &e);
  }
  assert_null(iso_serve_shape_find("llama-3.1-8bit"));
  assert_ptr_equal(iso_serve_shape_find("x/DeepSeek-V3.1-NVFP4"), shape("deepseek-v3"));
}

// Fu 2024 (arXiv:2405.08944): 34B with 60 layers, 8 KV heads of 128 and a stated width of 4096, on an A100 with 2 TB/s and 20 GB/s to the
// host. The paper prints 0.91 GB, 0.89 s, 8.5 s per 250 tokens, 0.1 s for 4K; its formulas give the values asked for here to 1%.
static void test_long_context(void **state) {
  (void)state;
  iso_err e;
  iso_serve_shape s = {.name = "34b",
                       .layers = 60,
                       .width = 4096,
                       .heads = 32,
                       .kv_heads = 8,
                       .head_dim = 128,
                       .vocab = 64000,
                       .mlp = 20480,
                       .mlp_mats = 3,
                       .dense_layers = 60,
                       .params = 34e9};
  iso_serve_device d = device("a100-80");
  d.mem_b_s = 2e12;
  d.host_b_s = 20e9;
  iso_serve_format f;
  iso_serve_setup u;
  iso_serve_room r;
  iso_serve_phases p;
  iso_serve_coef c = iso_serve_coef_ideal();
  ok(iso_serve_format_get("bf16", &s, &f, &e), &e);
  ok(iso_serve_setup_init(&u, &s, &d, &f, iso_serve_layout_tp(&s, 1), &e), &e);
  near(u.weight_b, 68e9, 1);
  ok(iso_serve_capacity(&u, 4000, 1, &r, &e), &e);
  near(r.kv_b_per_seq, 0.98304e9, 1);                // exact; 0.916 GiB, printed 0.91
  near(r.seqs, 12, 0);                               // 12 GB free over 0.983 GB
  within(12 / (r.kv_b_per_seq / 0x1p30), 13, 0.02);  // 13 when a GB of memory is set against a GiB of cache
  ok(iso_serve_phases_of(&u, &c, 4000, 1, 1, 1, &p, &e), &e);
  within(p.ttft_s, 4e3 * (68e9 + 2 * 60 * 4e3 * 4096) / 312e12, 0.001);  // 0.897 s
  within(p.ttft_s, 0.89, 0.01);
  within(250 * p.itl_s, 250 * (68e9 + 0.983e9) / 2e12, 0.001);  // 8.62 s; printed 8.5 (with 0.91 GB: 8.61)
  within(250 * p.itl_s, 8.5, 0.02);
  within(p.switch_s, 2 * 0.91 / 20, 0.09);  // 0.098 s against 0.091 and a printed 0.1
  // 50K: four costs from one source. KV 12.3 GB, no second user, 14.1 s of prefill as the same formula has it, 1.2 s of switching.
  ok(iso_serve_capacity(&u, 50000, 1, &r, &e), &e);
  near(r.kv_b_per_seq, 12.288e9, 1);
  near(r.seqs, 0, 0);
  assert_int_equal(iso_serve_phases_of(&u, &c, 50000, 1, 1, 1, &p, &e), ISO_ENOMEM);
  assert_non_null(strstr(e.msg, "12.3 GB"));
  d.mem_b = 81e9;
  ok(iso_serve_setup_init(&u, &s, &d, &f, iso_serve_layout_tp(&s, 1), &e), &e);
  ok(iso_serve_phases_of(&u, &c, 50000, 1, 1, 1, &p, &e), &e);
  within(p.ttft_s, 5e4 * (68e9 + 2 * 60 * 5e4 * 4096) / 312e12, 0.001);
  within(p.ttft_s, 14.84, 0.01);
  within(250 * p.itl_s, 250 * (68 + 12.288) / 2000, 0.001);
  within(p.switch_s, 2 * 12.288 / 20, 0.001);
}

// llm-analysis (github.com/cli99/llm-analysis, examples): LLaMA on A100, context 512, batch 1; prefill and decode in ms, ideal and at
// efficiencies 0.7 and 0.9. It counts the head at every position and both halves of attention (here: one position, the causal half), and some
// traffic of activations: within 5%, and within 2.5% when its prefill is counted its way.
static void test_llm_analysis(void **state) {
  (void)state;
  static const struct {
    const char *model, *dev;
    int64_t n;
    double flop_eff, mem_eff, prefill_ms, decode_ms, prefill_tol, decode_tol;
  } row[] = {{"llama-7b", "a100-80", 1, 1, 1, 22.41, 6.73, 0.025, 0.025},       {"llama-13b", "a100-80", 1, 1, 1, 43.1, 12.94, 0.025, 0.025},
             {"llama-7b", "a100-80", 1, 0.7, 0.9, 31.89, 7.48, 0.025, 0.025},   {"llama-13b", "a100-80", 1, 0.7, 0.9, 61.38, 14.38, 0.025, 0.025},
             {"llama-13b", "a100-40", 1, 0.7, 0.9, 62.15, 18.97, 0.025, 0.025}, {"llama-13b", "a100-40", 2, 0.7, 0.9, 32.98, 10.32, 0.025, 0.025}};
  for (size_t i = 0; i < ISO_COUNT(row); i++) {
    iso_serve_setup u = setup(row[i].model, row[i].dev, "bf16", row[i].n);
    iso_serve_coef c = iso_serve_coef_efficiency(row[i].flop_eff, row[i].mem_eff);
    iso_serve_phases p;
    iso_err e;
    c.collective_s = 10e-6;  // of an all-reduce, as its two-device rows have it
    ok(iso_serve_phases_of(&u, &c, 512, 1, 1, 1, &p, &e), &e);
    double more = 512 * (2 * u.n.head + 512 * u.n.score_prefill) / (312e12 * row[i].flop_eff * (double)row[i].n);
    print_message("%s x%d: prefill %.2f ms, its way %.2f (%.2f), decode %.2f ms (%.2f)\n", row[i].model, (int)row[i].n, 1e3 * p.ttft_s,
                  1e3 * (p.ttft_s + more), row[i].prefill_ms, 1e3 * p.itl_s, row[i].decode_ms);
    within(1e3 * p.ttft_s, row[i].prefill_ms, 0.05);
    within(1e3 * (p.ttft_s + more), row[i].prefill_ms, row[i].prefill_tol);
    within(1e3 * p.itl_s, row[i].decode_ms, row[i].decode_tol);
    assert_string_equal(p.itl_bound, "memory");
    assert_string_equal(p.ttft_bound, "compute");
  }
  // Measured on the A100-40 (kipply, FasterTransformer): 63.17 and 22.0 ms, 283.6 ms for 10 tokens; the published model misses the decode time
  // by 13.8% and the total by 11.2%, and so may this one.
  iso_serve_setup u = setup("llama-13b", "a100-40", "bf16", 1);
  iso_serve_coef c = iso_serve_coef_efficiency(0.7, 0.9);
  iso_serve_phases p;
  iso_err e;
  ok(iso_serve_phases_of(&u, &c, 512, 10, 1, 1, &p, &e), &e);
  within(1e3 * p.ttft_s, 63.17, 0.06);
  within(1e3 * p.itl_s, 22.0, 0.16);
  within(1e3 * p.output_s, 283.6, 0.14);
  within(1e3 * p.output_s, 251.84, 0.025);
  // And on two: 45.45, 13.5 and 180.86 ms, which the published model misses by 27.4, 23.5 and 24.7%.
  u = setup("llama-13b", "a100-40", "bf16", 2);
  c.collective_s = 10e-6;
  ok(iso_serve_phases_of(&u, &c, 512, 10, 1, 1, &p, &e), &e);
  within(1e3 * p.ttft_s, 45.45, 0.30);
  within(1e3 * p.itl_s, 13.5, 0.26);
  within(1e3 * p.output_s, 180.86, 0.27);
  within(1e3 * p.output_s, 136.15, 0.025);
}

// The same source: decode of 7B by format (weights, cache), ms.
static void test_formats(void **state) {
  (void)state;
  static const struct { double weight_b, kv_b, ms; } row[] = {{0.5, 0.5, 1.78}, {0.5, 1, 1.85}, {0.5, 2, 1.99}, {1, 1, 3.43}};
  iso_serve_device a100 = device("a100-80");
  for (size_t i = 0; i < ISO_COUNT(row); i++) {
    iso_serve_format f = {"x", row[i].weight_b, row[i].weight_b, row[i].weight_b, row[i].kv_b, 16};
    iso_serve_setup u;
    iso_serve_phases p;
    iso_serve_coef c = iso_serve_coef_ideal();
    iso_err e;
    ok(iso_serve_setup_init(&u, shape("llama-7b"), &a100, &f, (iso_serve_layout){1, 1, 1, 1}, &e), &e);
    ok(iso_serve_phases_of(&u, &c, 512, 1, 1, 1, &p, &e), &e);
    print_message("w %.1f kv %.1f: %.3f ms (%.2f)\n", row[i].weight_b, row[i].kv_b, 1e3 * p.itl_s, row[i].ms);
    within(1e3 * p.itl_s, row[i].ms, 0.13);  // its activations' traffic (0.07 ms a byte) is not modelled
  }
}

// Llama-2-70B on two A100 at $2.21 (same source, efficiencies 0.7 and 0.9): 128 prompt and 242 output tokens at batch 1: first token after
// 0.040 s, 9.425 s in all, $0.000383 per 1k prompt tokens, $0.0478 per 1k output tokens.
static void test_dollars(void **state) {
  (void)state;
  iso_serve_setup u = setup("llama-2-70b", "a100-80", "bf16", 2);
  iso_serve_coef c = iso_serve_coef_efficiency(0.7, 0.9);
  iso_serve_phases p;
  iso_err e;
  c.collective_s = 10e-6;
  ok(iso_serve_phases_of(&u, &c, 128, 242, 1, 1, &p, &e), &e);
  double usd_s = 2 * 2.21 / 3600;
  within(p.ttft_s, 0.040, 0.09);  // there bound by memory, since its products are too few: see below
  within(242 * p.itl_s, 9.425, 0.01);
  within(usd_s * p.ttft_s / 0.128, 0.000383, 0.1);
  within(usd_s * p.itl_s * 1000, 0.0478, 0.01);
  within(242 / p.output_s, 25.57, 0.01);
  // Batch 32, 512 / 512: decode 22.981 s published. Its prefill (3.963 s) counts two MLP matrices of three: 49.9B parameters give that, 68.7B
  // give 30% more.
  ok(iso_serve_phases_of(&u, &c, 512, 512, 32, 1, &p, &e), &e);
  within(512 * p.itl_s, 22.981, 0.1);
  iso_serve_step all = {.prefill_tok = 32 * 512, .prefill_ctx = 256};
  double prefill = iso_serve_step_s(&u, &c, &all);
  within(prefill * 49.9 / 68.7, 3.963, 0.05);
  // Its tokens a second, 608.1, and dollars, $0.000297 and $0.0017 a thousand in and out, of the same times.
  double its_prefill = prefill * 49.9 / 68.7;
  within(32 * 512 / (its_prefill + 512 * p.itl_s), 608.1, 0.1);
  within(usd_s * its_prefill / (32 * 0.512), 0.000297, 0.05);
  within(usd_s * p.itl_s / 32 * 1000, 0.0017, 0.1);
}

// Splitwise's profile (splitwise-sim, data/perf_model.csv; medians in ms, eight A100 of a DGX, 128 new tokens) is of models and an engine that the
// calibration has not seen: prompts of 512 to 8,192 tokens, then batches of 2 to 64 prompts of 512; time of the prompt and of a token.
static void test_splitwise_profile(void **state) {
  (void)state;
  static const struct {
    const char *model;
    double prompt_ms[10], token_ms[10];
  } row[] = {{"bloom-176b",
              {173.8, 289.2, 540.4, 1348, 3593, 286.8, 1322, 3510, 5782, 11252},
              {48.76, 48.80, 49.36, 50.20, 51.30, 49.99, 52.95, 57.34, 65.38, 96.58}},
             {"llama-2-70b",
              {94.31, 154.5, 274.2, 661.2, 1550, 165.9, 767.6, 2084, 3525, 7554},
              {44.85, 44.97, 45.44, 46.48, 46.51, 44.56, 46.47, 50.44, 53.02, 71.61}}};
  static const double prompt[] = {512, 1024, 2048, 4096, 8192, 512, 512, 512, 512, 512}, batch[] = {1, 1, 1, 1, 1, 2, 8, 16, 32, 64};
  iso_serve_coef c = iso_calib_default().coef;
  for (size_t m = 0; m < ISO_COUNT(row); m++) {
    iso_serve_setup u = setup(row[m].model, "a100-80", "bf16", 8);
    double pre[10], tok[10];
    for (int i = 0; i < 10; i++) {
      iso_serve_step all = {.prefill_tok = batch[i] * prompt[i], .prefill_ctx = prompt[i] / 2}, one = {.seqs = batch[i], .ctx = prompt[i] + 64};
      iso_serve_work w = iso_serve_work_of(&u, &all), v = iso_serve_work_of(&u, &one);
      pre[i] = 1e3 * iso_serve_time_s(&w, &c) / row[m].prompt_ms[i];
      tok[i] = 1e3 * iso_serve_time_s(&v, &c) / row[m].token_ms[i];
      print_message("%s %4.0f x %2.0f: prompt %.2f, token %.2f of measured\n", row[m].model, prompt[i], batch[i], pre[i], tok[i]);
      // The roofline is never above a measurement.
      assert_true(1e3 * iso_serve_floor_s(&w) < row[m].prompt_ms[i] && 1e3 * iso_serve_floor_s(&v) < row[m].token_ms[i]);
    }
    // Prompts within a factor of two. Its engine took 1.6 and 3 times as long a token as today's, for whatever batch: with one factor a model,
    // fitted on batch 1 at 512 tokens, every other row is within 25%.
    for (int i = 0; i < 10; i++) {
      assert_true(pre[i] > 0.5 && pre[i] < 2);
      assert_true(tok[i] > 0.3 && tok[i] < 1);
      within(tok[i] / tok[0], 1, 0.25);
    }
  }
}

// Narayanan et al. 2023 (HELM's efficiency): a request takes F(prompt) + g x output seconds, F piecewise affine, g constant.
static void test_idealised_runtime(void **state) {
  (void)state;
  iso_serve_setup u = setup("llama-2-70b", "a100-80", "bf16", 8);
  iso_serve_coef c = iso_calib_default().coef;
  iso_serve_phases p, q, r;
  iso_err e;
  for (double prompt = 64; prompt <= 1024; prompt *= 2) {
    ok(iso_serve_phases_of(&u, &c, prompt, 1, 1, 0.9, &p, &e), &e);
    ok(iso_serve_phases_of(&u, &c, prompt, 256, 1, 0.9, &q, &e), &e);
    double g = (q.output_s - p.output_s) / 255;
    for (double output = 2; output < 256; output *= 2) {
      ok(iso_serve_phases_of(&u, &c, prompt, output, 1, 0.9, &r, &e), &e);
      within(r.output_s, p.output_s + g * (output - 1), 0.002);
    }
    // F: between prompts of once and twice the size within 2% of the line through their ends.
    ok(iso_serve_phases_of(&u, &c, 2 * prompt, 1, 1, 0.9, &q, &e), &e);
    ok(iso_serve_phases_of(&u, &c, 1.5 * prompt, 1, 1, 0.9, &r, &e), &e);
    within(r.ttft_s, (p.ttft_s + q.ttft_s) / 2, 0.02);
  }
}

// Kinetics' sizes of Qwen3 in billions, the head apart from the embedding where it is tied.
static void test_kinetics_sizes(void **state) {
  (void)state;
  static const struct {
    const char *name;
    double billions;
  } row[] = {{"qwen3-0.6b", 0.752}, {"qwen3-1.7b", 2.03}, {"qwen3-4b", 4.02}, {"qwen3-8b", 8.19}, {"qwen3-14b", 14.77}, {"qwen3-32b", 32.76}};
  for (size_t i = 0; i < ISO_COUNT(row); i++) {
    iso_serve_counts n = iso_serve_counts_of(shape(row[i].name));
    bool apart = i < 2;  // the 4B is counted as it is
    within((n.total + (apart ? n.head : 0)) / 1e9, row[i].billions, 0.002);
  }
}

// Kinetics (arXiv:2506.05333, cost_model/utils.py): TeFLOPs at 256 prompt and 16,384 output tokens, one sample; 562.5 FLOPs per element read.
static void test_eflops(void **state) {
  (void)state;
  iso_eflops a = iso_serve_eflops(0.752e9, 28, 16, 8, 128, 256, 16384, 1, 562.5), b = iso_serve_eflops(4.02e9, 36, 32, 8, 128, 256, 16384, 1, 562.5);
  within(a.compute / 1e12, 56.39, 1e-3);
  within(a.memory / 1e12, 8929.24, 1e-4);
  within(b.compute / 1e12, 213.37, 1e-3);
  within(b.memory / 1e12, 11480.45, 1e-4);
  iso_eflops c = iso_serve_eflops(0.752e9, 28, 16, 8, 128, 256, 4096, 1, 562.5), d = iso_serve_eflops(32.76e9, 64, 64, 8, 128, 256, 4096, 1, 562.5);
  within(c.memory / (c.compute + c.memory), 0.987, 0.003);
  within(d.memory / (d.compute + d.memory), 0.828, 0.003);
}

// No step beats the roofline; more work never takes less time; a wider layout never holds fewer sequences; the parts add up.
static void test_invariants(void **state) {
  (void)state;
  iso_calib cal = iso_calib_default();
  iso_serve_coef ideal = iso_serve_coef_ideal();
  for (uint64_t i = 0; i < 2000; i++) {
    int m = (int)iso_rng_below(1, ISO_RNG_TEST, 0, i, 18), k = (int)iso_rng_below(1, ISO_RNG_TEST, 1, i, iso_device_spec_count());
    const iso_serve_shape *s = iso_serve_shape_at(m);
    iso_device_spec sp = iso_device_spec_at(k);
    iso_serve_device d;
    static const char *const format[] = {"bf16", "fp8", "fp4", "int4"};
    iso_serve_format f;
    iso_serve_setup u;
    iso_err e;
    int64_t n = (int64_t)1 << iso_rng_below(1, ISO_RNG_TEST, 2, i, 4);
    ok(iso_serve_device_from(&sp, &d, &e), &e);
    ok(iso_serve_format_get(format[iso_rng_below(1, ISO_RNG_TEST, 3, i, 4)], s, &f, &e), &e);
    ok(iso_serve_setup_init(&u, s, &d, &f, iso_serve_layout_tp(s, n), &e), &e);
    iso_serve_step p = {.seqs = floor(exp(5 * iso_rng_unit(1, ISO_RNG_TEST, 4, i))),
                        .ctx = exp(11 * iso_rng_unit(1, ISO_RNG_TEST, 5, i)),
                        .prefill_tok = floor(3000 * iso_rng_unit(1, ISO_RNG_TEST, 6, i)),
                        .prefill_ctx = 700};
    iso_serve_work w = iso_serve_work_of(&u, &p);
    double t = iso_serve_time_s(&w, &cal.coef), floor_s = iso_serve_floor_s(&w);
    assert_true(floor_s > 0 && t >= floor_s && iso_serve_time_s(&w, &ideal) >= floor_s);
    near(w.mem_s, (w.weight_b + w.kv_b) / d.mem_b_s, 1e-15 + 1e-12 * w.mem_s);
    assert_true(w.weight_b <= u.weight_b * (1 + 1e-12));
    iso_serve_step more = p;
    more.seqs *= 2;
    assert_true(iso_serve_step_s(&u, &cal.coef, &more) >= t * (1 - 1e-12));
    more = p;
    more.ctx *= 2;
    assert_true(iso_serve_step_s(&u, &cal.coef, &more) >= t * (1 - 1e-12));
    more = p;
    more.prefill_tok += 512;
    assert_true(iso_serve_step_s(&u, &cal.coef, &more) >= t * (1 - 1e-12));
    iso_serve_setup wide;
    iso_serve_room a, b;
    if (s->heads % (2 * n)) continue;
    ok(iso_serve_setup_init(&wide, s, &d, &f, iso_serve_layout_tp(s, 2 * n), &e), &e);
    if (iso_serve_capacity(&u, 2000, 0.9, &a, &e) == ISO_OK) {
      ok(iso_serve_capacity(&wide, 2000, 0.9, &b, &e), &e);
      assert_true(b.seqs >= a.seqs && b.weight_b < a.weight_b);
    }
  }
}

static void test_refusals(void **state) {
  (void)state;
  iso_err e;
  iso_serve_setup u = setup("llama-3.1-70b", "h100", "bf16", 1);
  iso_serve_room r;
  iso_serve_phases p;
  iso_serve_coef c = iso_serve_coef_ideal();
  assert_int_equal(iso_serve_capacity(&u, 1000, 0.9, &r, &e), ISO_ENOMEM);
  assert_non_null(strstr(e.msg, "141.1 GB"));
  assert_int_equal(iso_serve_capacity(&u, NAN, 0.9, &r, &e), ISO_EINVAL);
  u = setup("llama-3.1-70b", "h100", "bf16", 2);
  assert_int_equal(iso_serve_phases_of(&u, &c, 50000, 1000, 64, 0.9, &p, &e), ISO_ENOMEM);
  assert_int_equal(iso_serve_phases_of(&u, &c, NAN, 10, 1, 0.9, &p, &e), ISO_EINVAL);
  assert_int_equal(iso_serve_phases_of(&u, &c, 10, 10, NAN, 0.9, &p, &e), ISO_EINVAL);
  iso_serve_format f;
  assert_int_equal(iso_serve_format_get("fp7", shape("yi-34b"), &f, &e), ISO_EINVAL);
  const iso_serve_shape *s;
  assert_int_equal(iso_serve_shape_get("gpt-9", &s, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "llama-3.1-8b"));
  iso_serve_device d;
  assert_int_equal(iso_serve_device_get("abacus", &d, &e), ISO_EINVAL);
  iso_serve_device h200 = device("h200");
  ok(iso_serve_format_get("fp8", shape("deepseek-v3"), &f, &e), &e);
  assert_int_equal(iso_serve_setup_init(&u, shape("deepseek-v3"), &h200, &f, (iso_serve_layout){4, 2, 1, 4}, &e), ISO_EINVAL);
  assert_int_equal(iso_serve_setup_init(&u, shape("yi-34b"), &h200, &f, (iso_serve_layout){3, 1, 1, 1}, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "does not divide"));
  iso_serve_shape bad = *shape("qwen3-32b");
  bad.kv_heads = 7;
  assert_int_equal(iso_serve_shape_check(&bad, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "kv_heads is 7"));
  iso_serve_device broken = device("h100");
  broken.mem_b_s = NAN;
  assert_int_equal(iso_serve_device_check(&broken, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "mem_b_s"));
}

// The advisor's batch is the best of an exhaustive scan; energy's best point is the least of its grid; the front is what a double loop finds.
static void test_advisor(void **state) {
  (void)state;
  iso_err e;
  iso_serve_setup u = setup("llama-3.1-8b", "h100", "fp8", 1);
  iso_serve_coef c = iso_calib_default().coef;
  iso_batch_advice a;
  iso_serve_room r;
  const double slo = 0.02, eps = 0.2;
  ok(iso_serve_advise(&u, &c, 1000, 200, slo, eps, 0.9, &a, &e), &e);
  ok(iso_serve_capacity(&u, 1200, 0.9, &r, &e), &e);
  double best = 0, at = 0;
  iso_serve_step one = {.seqs = 1, .ctx = 1100};
  double t1 = 1 / iso_serve_step_s(&u, &c, &one);
  for (double b = 1; b <= r.seqs; b++) {
    iso_serve_step p = {.seqs = b, .ctx = 1100};
    double itl = iso_serve_step_s(&u, &c, &p);
    if (itl <= slo && b / itl >= eps * b * t1 && b / itl > best) {
      best = b / itl;
      at = b;
    }
  }
  within(a.tok_per_s, best, 0.01);
  within(a.batch, at, 0.03);
  assert_true(a.itl_s <= slo && a.tok_per_s >= eps * a.batch * t1);
  assert_true(a.kv_share <= 1 && a.of_peak <= 1 + 1e-12 && a.replicas >= 1);
  assert_int_equal(iso_serve_advise(&u, &c, 1000, 200, 1e-4, eps, 0.9, &a, &e), ISO_EINVAL);
  assert_int_equal(iso_serve_advise(&u, &c, 1000, 200, slo, 0, 0.9, &a, &e), ISO_EINVAL);
  iso_energy_point p[ISO_ENERGY_POINTS_MAX];
  int n, k;
  ok(iso_serve_energy(&u.shape, &u.device, &u.format, &c, 1000, 200, slo, 0.9, p, &n, &k, &e), &e);
  assert_true(n > 20 && k >= 0 && p[k].itl_s <= slo);
  for (int i = 0; i < n; i++) {
    assert_true(p[i].itl_s > slo || p[i].j_per_tok >= p[k].j_per_tok);
    near(p[i].j_per_tok, 380 * (double)p[i].devices * p[i].itl_s / p[i].batch, 1e-12);
  }
  iso_serve_energy(&u.shape, &u.device, &u.format, &c, 1000, 200, 1e-9, 0.9, p, &n, &k, &e);
  assert_int_equal(k, -1);
}

// Mind the Memory Gap (arXiv:2503.08311), OPT-1.3B on an H100: a batch with 16% of the cache has 83% of the peak throughput, and four replicas fit.
// The limit on the time between tokens picks the batch; its throughput is the roofline's. Lengths are not stated where we read it: several.
static void test_advisor_published(void **state) {
  (void)state;
  static const double tokens[][2] = {{161, 338}, {500, 500}, {1000, 200}, {1500, 50}};
  iso_err e;
  iso_serve_coef c = iso_serve_coef_ideal();
  for (size_t i = 0; i < ISO_COUNT(tokens); i++) {
    for (int k = 0; k < 2; k++) {
      iso_serve_setup u = setup("opt-1.3b", "h100", "bf16", 1);
      if (k) u.device.mem_b = 64e9;
      double p = tokens[i][0], g = tokens[i][1];
      iso_serve_room r;
      iso_batch_advice a;
      ok(iso_serve_capacity(&u, p + g, 0.9, &r, &e), &e);
      iso_serve_step at = {.seqs = round(0.16 * r.seqs), .ctx = p + g / 2};
      ok(iso_serve_advise(&u, &c, p, g, iso_serve_step_s(&u, &c, &at), 1e-6, 0.9, &a, &e), &e);
      print_message("%.0f GB, %4.0f + %3.0f tokens: batch %3.0f of %3.0f, %.0f%% of the cache, %.1f%% of the peak, %.0f replicas\n",
                    u.device.mem_b / 1e9, p, g, a.batch, r.seqs, 100 * a.kv_share, 100 * a.of_peak, a.replicas);
      near(a.kv_share, 0.16, 0.01);
      near(a.of_peak, 0.83, 0.10);
      assert_true(a.replicas >= 4);
    }
  }
}

// MoE-Lens: prefix-memory efficiency 2 (p + g) / ((2 p + g) g), bound by the host when its cache is small.
static void test_offload(void **state) {
  (void)state;
  iso_err e;
  iso_serve_setup u = setup("gpt-oss-120b", "l4", "bf16", 1);
  iso_serve_coef c = iso_calib_default().coef;
  iso_offload_rate r, more;
  ok(iso_serve_offload(&u, &c, 98, 32, 70e9, &r, &e), &e);
  near(r.pme, 2 * 130.0 / ((2 * 98 + 32) * 32.0), 1e-12);
  within(r.stream_s, 128 * 3 * 2880.0 * 2880 * 36 * 0.53125 / 31.5e9, 1e-9);
  within(r.host_tok_per_s * 130 / 32, r.pme * 70e9 / (36864 * 2) / r.stream_s, 1e-9);
  // Output tokens of one pass over the experts, counted: sequences of all ages fill the cache, each holds its prompt and what it has written so far.
  int64_t held = 0, wrote = 0;
  for (int age = 0; held + 98 + age <= 70000000000 / (36864 * 2); age = (age + 1) % 32) {
    held += 98 + age;
    wrote++;
  }
  within(r.host_tok_per_s * r.stream_s, (double)wrote, 0.01);
  near(r.overlap, 130.0 / 114, 1e-12);
  near(r.tok_per_s, fmin(r.host_tok_per_s, r.device_tok_per_s), 1e-9);
  ok(iso_serve_offload(&u, &c, 98, 32, 7e12, &more, &e), &e);
  assert_string_equal(more.bound, "device");
  near(more.tok_per_s, r.device_tok_per_s, 1e-9);
  iso_serve_setup dense = setup("yi-34b", "h100", "bf16", 1);
  assert_int_equal(iso_serve_offload(&dense, &c, 98, 32, 70e9, &r, &e), ISO_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_counts),
                                     cmocka_unit_test(test_long_context),
                                     cmocka_unit_test(test_llm_analysis),
                                     cmocka_unit_test(test_splitwise_profile),
                                     cmocka_unit_test(test_idealised_runtime),
                                     cmocka_unit_test(test_kinetics_sizes),
                                     cmocka_unit_test(test_formats),
                                     cmocka_unit_test(test_dollars),
                                     cmocka_unit_test(test_eflops),
                                     cmocka_unit_test(test_invariants),
                                     cmocka_unit_test(test_refusals),
                                     cmocka_unit_test(test_advisor),
                                     cmocka_unit_test(test_advisor_published),
                                     cmocka_unit_test(test_offload)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
