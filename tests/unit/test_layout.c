// Layouts: published parameter counts, FLOPs, memory and MFU arithmetic; rules; what every step must obey.
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
#include "unit/layout_near.h"

static iso_layout_counts counts(iso_layout_shape s) {
  iso_err e;
  iso_layout_counts c;
  ok(iso_layout_shape_check(&s, &e), &e);
  iso_layout_count(&s, &c);
  return c;
}

// Narayanan et al. 2021, table 1 (four digits), and public counts of open models.
static void test_params(void **state) {
  (void)state;
  const struct {
    int64_t layers, width, heads;
    double billions;
  } t[] = {{24, 2304, 24, 1.7},   {30, 3072, 32, 3.6},    {36, 4096, 32, 7.5},      {40, 6144, 48, 18.4},
           {60, 10240, 80, 76.1}, {80, 12288, 96, 145.6}, {105, 20480, 128, 529.6}, {128, 25600, 160, 1008.0}};
  for (size_t i = 0; i < ISO_COUNT(t); i++) {
    iso_layout_counts c = counts(gpt(t[i].layers, t[i].width, t[i].heads));
    near((double)c.params / 1e9, t[i].billions, 0.05, "Megatron-LM table 1");
    double l = (double)t[i].layers, h = (double)t[i].width;
    // P = 12 l h^2 (1 + 13/(12 h) + (V + s)/(12 l h)); the formula leaves out the last norm, 2 h
    near((double)c.params, 12 * l * h * h * (1 + 13 / (12 * h) + (51200.0 + 2048) / (12 * l * h)) + 2 * h, 1e-12 * (double)c.params, "P");
  }
  assert_int_equal(counts(iso_layout_shape_gpt("gpt2", 12, 768, 12, 50257, 1024)).params, 124439808);
  assert_int_equal(counts(llama(32, 4096, 32, 32, 11008, 32000, 2048)).params, 6738415616);       // Llama 7B
  assert_int_equal(counts(llama(80, 8192, 64, 64, 22016, 32000, 2048)).params, 65285660672);      // Llama 65B
  assert_int_equal(counts(llama(80, 8192, 64, 8, 28672, 128256, 8192)).params, 70553706496);      // Llama 3 70B
  assert_int_equal(counts(llama(126, 16384, 128, 8, 53248, 128256, 8192)).params, 405853388800);  // Llama 3.1 405B
  iso_layout_shape mixtral = llama(32, 4096, 32, 8, 14336, 32000, 4096);
  mixtral.experts = 8;
  mixtral.experts_used = 2;
  assert_int_equal(counts(mixtral).params, 46702792704);
  assert_int_equal(counts(mixtral).active_params, 12879925248);
  // PaLM 540B, 62B and 8B (arXiv:2204.02311, table 1): heads x head_dim is not the width, one key and value head.
  const int64_t palm[][4] = {{118, 18432, 48, 540}, {64, 8192, 32, 62}, {32, 4096, 16, 8}};
  const double total[] = {540.35e9, 62.50e9, 8.63e9};
  for (int i = 0; i < 3; i++) {
    iso_layout_shape s = {.name = "palm",
                          .layers = palm[i][0],
                          .width = palm[i][1],
                          .heads = palm[i][2],
                          .kv_heads = 1,
                          .head_dim = 256,
                          .mlp = 4 * palm[i][1],
                          .vocab = 256000,
                          .seq = 2048,
                          .gated = true,
                          .tied = true};
    near((double)counts(s).params, total[i], 0.01e9, "PaLM");
    // 238.3 k tokens/s on 6,144 TPU v4: MFU 46.2% with attention, 45.7% without (appendix B)
    if (i) continue;
    double rate = 238.3e3 / 2048 / (6144 * 275e12);
    near(100 * rate * iso_layout_model_flop(&s, 1, ISO_LAYOUT_ATTN_FULL), 46.2, 0.05, "PaLM MFU");
    near(100 * rate * iso_layout_model_flop(&s, 1, ISO_LAYOUT_ATTN_6N), 45.7, 0.05, "PaLM MFU without attention");
  }
}

// Every name, and published totals in billions (a decoder of the name's shape; Mixtral's active parameters too).
static void test_names(void **state) {
  (void)state;
  iso_err e = {0};
  iso_layout_shape s;
  iso_layout_counts c;
  const struct {
    const char *name;
    double billions, tol;
  } t[] = {{"gpt2-124m", 0.12444, 1e-5}, {"gpt2-1.5b", 1.5576, 1e-4},   {"gpt3-175b", 174.6, 0.05},     {"mt-nlg-530b", 529.6, 0.05},
           {"megatron-1t", 1008, 0.5},   {"palm-540b", 540.35, 0.01},   {"llama-7b", 6.738, 5e-4},      {"llama-13b", 13.016, 5e-4},
           {"llama-33b", 32.529, 5e-4},  {"llama-65b", 65.286, 5e-4},   {"llama2-70b", 68.977, 5e-4},   {"llama3-8b", 8.030, 5e-4},
           {"llama3-70b", 70.554, 5e-4}, {"llama3-405b", 405.85, 0.01}, {"mixtral-8x7b", 46.703, 5e-4}, {"deepseek-v2", 235.7, 0.05},
           {"deepseek-v3", 671.0, 0.05}};
  int n = 0;
  for (const char *source, *name; (name = iso_layout_model_name(n, &source)); n++) {
    ok(iso_layout_shape_named(name, n < 2 ? 1024 : 2048, &s, &e), &e);  // learned positions are parameters
    assert_true(source[0] != 0 && s.seq == (n < 2 ? 1024 : 2048));
    iso_layout_count(&s, &c);
    assert_string_equal(name, t[n].name);
    near((double)c.params / 1e9, t[n].billions, t[n].tol, name);
  }
  assert_int_equal(n, ISO_COUNT(t));
  assert_int_equal(iso_layout_shape_named("llama9", 2048, &s, &e), ISO_EINVAL);
}

static double megatron_flop(iso_layout_shape s, double batch) { return iso_layout_hardware_flop(&s, batch, ISO_LAYOUT_FULL, ISO_LAYOUT_ATTN_FULL); }

// F = 96 B s l h^2 (1 + s/6h + V/16lh), seconds at the printed TFLOP/s, and days for 300 B tokens (table 2).
static void test_flops(void **state) {
  (void)state;
  const struct {
    int64_t layers, width, heads, gpus, batch;
    double tflops, iter_s;
  } t[] = {{24, 2304, 24, 32, 512, 137, 3.53},        {30, 3072, 32, 64, 512, 138, 3.70},        {36, 4096, 32, 128, 512, 142, 3.70},
           {40, 6144, 48, 256, 1024, 135, 9.40},      {60, 10240, 80, 1024, 1792, 140, 16.06},   {80, 12288, 96, 1536, 2304, 148, 24.82},
           {105, 20480, 128, 2520, 2520, 163, 54.08}, {128, 25600, 160, 3072, 3072, 163, 102.63}};
  for (size_t i = 0; i < ISO_COUNT(t); i++) {
    double l = (double)t[i].layers, h = (double)t[i].width, b = (double)t[i].batch, s = 2048, v = 51200;
    double f = megatron_flop(gpt(t[i].layers, t[i].width, t[i].heads), b);
    near(f, 96 * b * s * l * h * h * (1 + s / (6 * h) + v / (16 * l * h)), 1e-12 * f, "F");
    near(f / (t[i].tflops * 1e12 * (double)t[i].gpus), t[i].iter_s, 0.005, "seconds");
  }
  const struct {
    int64_t layers, width, heads, gpus, batch;
    double tflops, days;
  } d[] = {{96, 12288, 96, 384, 1536, 153, 84.7},    {96, 12288, 96, 768, 1536, 149, 43.5},    {96, 12288, 96, 1536, 1536, 141, 23.0},
           {105, 20480, 128, 560, 2240, 171, 156.1}, {105, 20480, 128, 2240, 2240, 159, 42.0}, {96, 12288, 96, 384, 1536, 144, 90.0},
           {105, 20480, 128, 640, 2560, 138, 169.2}, {105, 20480, 128, 1120, 2240, 98, 136.2}};
  for (size_t i = 0; i < ISO_COUNT(d); i++) {
    double b = (double)d[i].batch, steps = 300e9 / (b * 2048), f = megatron_flop(gpt(d[i].layers, d[i].width, d[i].heads), b);
    near(steps * f / (d[i].tflops * 1e12 * (double)d[i].gpus) / 86400, d[i].days, 0.05, "days");
  }
  const double nlg[][3] = {{2240, 126, 59.97}, {2800, 121, 49.96}, {3360, 113, 44.58}};  // MT-NLG 530B, batch 1,920
  for (int i = 0; i < 3; i++) near(megatron_flop(gpt(105, 20480, 128), 1920) / (nlg[i][0] * nlg[i][1] * 1e12), nlg[i][2], 0.005, "MT-NLG");
  // Causal pairs are s (s + 1) / 2 of s^2.
  iso_layout_shape s = gpt(2, 256, 4);
  double full = iso_layout_model_flop(&s, 1, ISO_LAYOUT_ATTN_FULL), half = iso_layout_model_flop(&s, 1, ISO_LAYOUT_ATTN_CAUSAL);
  near(full - half, 3.0 * 2 * 4 * 256 * (2048.0 * 2048 - 2048.0 * 2049 / 2), 1, "masked half");
}

// MFU of MegaScale's tables (arXiv:2402.15627), Parallelization Layouts (2311.05610), Llama 65B and the recomputation paper, to their digits.
static void test_mfu_arithmetic(void **state) {
  (void)state;
  iso_layout_shape s = iso_layout_shape_gpt("175b", 96, 12288, 128, 51200, 2048);
  const double megatron[][4] = {{256, 40.0, 39.3e3, 53.0},   {512, 21.2, 74.1e3, 49.9},    {768, 15.2, 103.8e3, 46.7},
                                {1024, 11.9, 132.7e3, 44.7}, {6144, 14.78, 851.6e3, 47.8}, {8192, 12.24, 1027.9e3, 43.3}};
  for (size_t i = 0; i < ISO_COUNT(megatron); i++) {
    const double *r = megatron[i];
    double batch = i < 4 ? 768 : 6144, tok_flop = iso_layout_model_flop(&s, 1, ISO_LAYOUT_ATTN_FULL) / 2048;
    near(100 * tok_flop * r[2] / (r[0] * 312e12), r[3], 0.05 + r[3] * 50 / r[2], "Megatron-LM in MegaScale");  // tokens/s are rounded
    near(batch * 2048 / r[1], r[2], 50 + r[2] * (i < 4 ? 0.05 : 0.005) / r[1], "tokens/s");
  }
  // MegaScale's own rows leave out what its sliding window saves: 66.2, 59.7, 55.7 by this count.
  const double own[][4] = {{768, 256, 32.0, 66.2}, {6144, 3072, 23.66, 59.7}, {6144, 12288, 6.34, 55.7}};
  for (int i = 0; i < 3; i++)
    near(100 * iso_layout_model_flop(&s, own[i][0], ISO_LAYOUT_ATTN_FULL) / (own[i][1] * own[i][2] * 312e12), own[i][3], 0.06, "MegaScale");
  iso_layout_shape a = llama(40, 5120, 40, 40, 13824, 128000, 8192), b = llama(60, 6656, 52, 52, 17920, 128000, 2048), b8 = b;
  b8.seq = 8192;
  const struct {
    const iso_layout_shape *s;
    double batch, gpus, step_s, mfu;
  } h[] = {{&a, 512, 128, 18.410, 0.5941}, {&a, 512, 64, 34.840, 0.6278},   {&b, 2048, 256, 22.667, 0.4922},
           {&b, 2048, 64, 71.995, 0.6198}, {&b8, 512, 128, 49.435, 0.5140}, {&b8, 512, 64, 84.367, 0.6022}};
  for (size_t i = 0; i < ISO_COUNT(h); i++) {  // 6 N with both vocabulary matrices and every pair of attention
    double f = iso_layout_model_flop(h[i].s, h[i].batch, ISO_LAYOUT_ATTN_6N), l = (double)h[i].s->layers, t = (double)h[i].s->seq;
    f += h[i].batch * 12 * l * (double)h[i].s->width * t * t;
    near(f / (h[i].gpus * 312e12 * h[i].step_s), h[i].mfu, 0.0011, "Parallelization Layouts");
  }
  iso_layout_shape big = llama(80, 8192, 64, 64, 22016, 32000, 2048);
  near(100 * iso_layout_model_flop(&big, 1, ISO_LAYOUT_ATTN_6N) * 380 / 2048 / 312e12, 47.7, 0.06, "Llama 65B, 6 N");
  near(380 * (iso_layout_model_flop(&big, 1, ISO_LAYOUT_ATTN_6N) / 2048 + 12.0 * 80 * 8192 * 2048) / 312e10, 49.6, 0.1, "and attention");
  near(1.4e12 / 380 / 2048 / 86400, 20.8, 0.05, "days for 1.4 T tokens");
  iso_layout_shape k = gpt(96, 12288, 96);
  near(100 * iso_layout_model_flop(&k, 64, ISO_LAYOUT_ATTN_FULL) / (64 * 13.75 * 312e12), 51.39, 0.005, "recomputation paper");
  near(100 * (18.13 / 13.75 - 1), 31.9, 0.05, "gain");
}

// Korthikanti et al. 2022: bytes to every printed digit, shares of figure 7.
static void test_memory(void **state) {
  (void)state;
  iso_layout_job j = iso_layout_job_default();
  iso_layout_mem m;
  j.shape = gpt(96, 12288, 96);
  j.batch = 64;
  iso_layout l = tpd(8, 8, 1, 1);
  l.schedule = ISO_LAYOUT_INTERLEAVED;
  l.chunks = 3;
  near(18 * 12 * 96 * 12288.0 * 12288 / 64 / 0x1p30, 45.5625, 1e-12, "weights and optimizer, by hand");
  iso_layout_counts c;
  iso_layout_count(&j.shape, &c);
  near(18 * 96 * (double)c.layer_matmul / 64 / 0x1p30, 45.5625, 1e-12, "weights and optimizer");
  iso_layout_memory(&j, &l, &m);
  near(m.act_b / 0x1p30, 66.8438, 6e-5, "tensor parallel");
  double base = m.act_b;
  l.seq_parallel = true;
  iso_layout_memory(&j, &l, &m);
  near(100 * m.act_b / base, 61.96, 5e-3, "sequence parallel");
  l.recompute = ISO_LAYOUT_SELECTIVE;
  iso_layout_memory(&j, &l, &m);
  near(m.act_b / 0x1p30, 12.3516, 6e-5, "both");
  near(100 * m.act_b / base, 18.48, 5e-3, "both");
  l.seq_parallel = false;
  iso_layout_memory(&j, &l, &m);
  near(100 * m.act_b / base, 56.52, 5e-3, "selective");
  l.recompute = ISO_LAYOUT_FULL;
  iso_layout_memory(&j, &l, &m);
  near(100 * m.act_b / base, 8.70, 5e-3, "full");
  // s b h (34 + 5 a s / h) of one block alone
  iso_layout one = iso_layout_default();
  double sbh = 2048.0 * 12288;
  near(iso_layout_act_layer_b(&j, &one), sbh * (34 + 5 * 96 * 2048 / 12288.0), 1e-9 * sbh, "one block");
  // 18 bytes a parameter, and what ZeRO leaves of 2 + 4 + 12 (arXiv:1910.02054, figure 1, with fp32 gradients)
  j.shape = gpt(24, 2304, 24);
  iso_layout_count(&j.shape, &c);
  iso_layout d = tpd(1, 1, 64, 1);
  const double left[] = {18, 2 + 4 + 12 / 64.0, 2 + 16 / 64.0, 18 / 64.0};
  for (d.zero = 0; d.zero <= 3; d.zero++) {
    iso_layout_memory(&j, &d, &m);
    near((m.weights_b + m.grads_b + m.optim_b) / (double)c.params, left[d.zero], 1e-9, "ZeRO");
  }
  d.zero = 0;
  d.offload = true;
  iso_layout_memory(&j, &d, &m);
  near(m.host_b / (double)c.params, 12, 1e-9, "offloaded");
  assert_true(m.optim_b == 0);
  // In flight: p, p (1 + (p-1)/(p v)), 2p - 1, m
  iso_layout q = tpd(1, 8, 1, 1);
  near(iso_layout_in_flight(&q, 64), 8, 0, "1f1b");
  near(iso_layout_in_flight(&q, 3), 3, 0, "few micro-batches");
  q.schedule = ISO_LAYOUT_ZB_H2;
  near(iso_layout_in_flight(&q, 64), 15, 0, "zb_h2");
  q.schedule = ISO_LAYOUT_GPIPE;
  near(iso_layout_in_flight(&q, 64), 64, 0, "gpipe");
}

// Both ends of a V are on the first device, which holds all of the vocabulary; activations are those of the schedule.
static void test_folded_memory(void **state) {
  (void)state;
  iso_layout_job j = iso_layout_job_default();
  iso_layout_counts c;
  iso_layout_mem m;
  j.shape = llama(32, 4096, 32, 8, 14336, 128256, 4096);
  j.batch = 64;
  iso_layout_count(&j.shape, &c);
  iso_layout q = tpd(1, 4, 1, 1);
  double blocks = 8 * (double)c.layer_dense;
  iso_layout_memory(&j, &q, &m);
  near(m.weights_b, 2 * (blocks + (double)c.embed + 4096), 0, "1f1b: the last stage has the head and the last norm");
  q.schedule = ISO_LAYOUT_ZB_V;
  q.chunks = 2;
  iso_layout_memory(&j, &q, &m);
  near(m.weights_b, 2 * (blocks + (double)(c.embed + c.head) + 4096), 0, "zb_v: both");
  double full = m.act_b;
  q.schedule = ISO_LAYOUT_V_HALF;
  iso_layout_memory(&j, &q, &m);
  near(m.act_b / full, 3 / 4.0, 1e-12, "v_half on 4 stages");
  q = tpd(1, 16, 1, 1);
  iso_layout_memory(&j, &q, &m);
  full = m.act_b;
  q.chunks = 2;
  for (int s = ISO_LAYOUT_ZB_V; s <= ISO_LAYOUT_V_MIN; s++) {
    q.schedule = (iso_layout_sched)s;
    iso_layout_memory(&j, &q, &m);
    near(m.act_b / full, s == ISO_LAYOUT_ZB_V ? 1 : s == ISO_LAYOUT_V_HALF ? 9 / 16.0 : 6 / 16.0, 1e-12, "activations over 1F1B's");
  }
}

static void refuse(const iso_layout_job *j, iso_layout l, const char *word) {
  iso_err e = {0};
  if (iso_layout_check(j, &l, &e) != ISO_EINVAL || !strstr(e.msg, word)) fail_msg("expected a refusal with '%s', got '%s'", word, e.msg);
}

static void test_rules(void **state) {
  (void)state;
  iso_layout_job j = iso_layout_job_default();
  iso_layout_machine m = a100();
  iso_err e = {0};
  j.shape = gpt(24, 2048, 16);
  j.batch = 96;
  iso_layout l = tpd(4, 4, 2, 2);
  ok(iso_layout_check(&j, &l, &e), &e);
  refuse(&j, tpd(3, 1, 1, 1), "16 heads");
  refuse(&j, tpd(1, 25, 1, 1), "24 layers are too few for pipeline x chunks = 25 stages");
  refuse(&j, tpd(1, 1, 5, 1), "96 sequences");
  refuse(&j, tpd(0, 1, 1, 1), "tensor is 0");
  refuse(&j, tpd(1, 1, 1, -3), "micro_batch is -3");
#define WITH(field, value, word) \
  do {                           \
    iso_layout k = l;            \
    k.field = value;             \
    refuse(&j, k, word);         \
  } while (0)
  WITH(zero, 4, "zero is 4");
  WITH(chunks, 2, "2 chunks with schedule 1f1b");
  WITH(schedule, ISO_LAYOUT_INTERLEAVED, "two chunks");
  WITH(schedule, ISO_LAYOUT_SCHEDS, "number 10");
  WITH(recompute, (iso_layout_recompute)-1, "number -1");
  WITH(expert, 2, "dense model");
  WITH(context, 3, "positions");
  WITH(context, INT64_MAX, "context is");
  iso_layout k = tpd(1, 4, 48, 1);
  k.schedule = ISO_LAYOUT_ZB_H1;
  refuse(&j, k, "needs 4 micro-batches, got 2");
  k = tpd(1, 4, 16, 1);
  k.schedule = ISO_LAYOUT_INTERLEAVED;
  k.chunks = 3;
  refuse(&j, k, "6 micro-batches");
  k = tpd(1, 4, 16, 1);
  k.schedule = ISO_LAYOUT_V_MIN;
  refuse(&j, k, "1 chunks with schedule v_min, expected 2");
  k.chunks = 2;
  refuse(&j, k, "needs 8 micro-batches, got 6");
  k = tpd(1, 2, 1, 1);
  k.chunks = 2;
  k.schedule = ISO_LAYOUT_V_HALF;
  refuse(&j, k, "needs 4 stages");
  k = tpd(1, 2, 1, 1);
  k.zero = 1;
  refuse(&j, k, "nothing to split");
  k.zero = 0;
  k.seq_parallel = true;
  refuse(&j, k, "tensor is 1");
  // Llama 3: 126 blocks on 16 stages of 8, head and embedding in place of one each.
  iso_layout_shape big = llama(126, 16384, 128, 8, 53248, 128256, 8192);
  int spare = 0;
  k = tpd(8, 16, 1, 1);
  assert_int_equal(iso_layout_stage_layers(&big, &k, &spare), 8);
  assert_int_equal(spare, 2);
  // Three short stages or more: with GPipe and 1F1B alone.
  big.layers = 125;
  j.shape = big;
  j.batch = 32;
  assert_int_equal(iso_layout_stage_layers(&big, &k, &spare), 8);
  assert_int_equal(spare, 3);
  ok(iso_layout_check(&j, &k, &e), &e);
  const int64_t blocks[16] = {7, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7};
  for (int i = 0; i < 16; i++) assert_int_equal(iso_layout_stage_blocks(&big, &k, i), blocks[i]);
  k.schedule = ISO_LAYOUT_ZB_H1;
  assert_int_equal(iso_layout_stage_layers(&big, &k, NULL), 0);
  refuse(&j, k, "125 layers, nor one or two more, do not divide by pipeline x chunks = 16 as schedule zb_h1 needs");
  // Shapes, machines and calibrations that make no sense
  iso_layout_shape s = gpt(24, 2048, 16);
  s.kv_heads = 5;
  assert_int_equal(iso_layout_shape_check(&s, &e), ISO_EINVAL);
  s = gpt(INT64_MAX, 2048, 16);
  assert_int_equal(iso_layout_shape_check(&s, &e), ISO_EINVAL);
  s = gpt(24, 2048, 0);
  assert_int_equal(iso_layout_shape_check(&s, &e), ISO_EINVAL);
  m.mem_b_s = NAN;
  assert_int_equal(iso_layout_machine_check(&m, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "mem_b_s is nan"));
  iso_layout_cal c = iso_layout_cal_default();
  ok(iso_layout_cal_check(&c, &e), &e);
  c.v[ISO_LAYOUT_CAL_gemm_eff] = 1.1;
  assert_int_equal(iso_layout_cal_check(&c, &e), ISO_EINVAL);
  c = iso_layout_cal_start();
  ok(iso_layout_cal_check(&c, &e), &e);
  c.v[ISO_LAYOUT_CAL_fixed_s] = NAN;
  assert_int_equal(iso_layout_cal_check(&c, &e), ISO_EINVAL);
}

// What does not fit is refused with the bytes that are needed and those that there are.
static void test_refuses_bytes(void **state) {
  (void)state;
  iso_layout_job j = iso_layout_job_default();
  iso_layout_machine m = a100();
  iso_layout_mem k;
  iso_err e = {0};
  char want[64];
  j.shape = gpt(96, 12288, 96);
  j.batch = 8;
  iso_layout l = tpd(8, 1, 1, 1);
  iso_layout_memory(&j, &l, &k);
  assert_int_equal(iso_layout_fits(&m, &k, &e), ISO_ENOMEM);
  snprintf(want, sizeof want, "needs %.0f bytes", k.total_b);
  assert_non_null(strstr(e.msg, want));
  assert_non_null(strstr(e.msg, "has 80000000000 (74.51 GiB); optimizer state take"));
  j.shape = gpt(24, 2304, 24);
  iso_layout_memory(&j, &l, &k);
  ok(iso_layout_fits(&m, &k, &e), &e);
  l.offload = true;
  m.host_mem_b = 1e9;
  iso_layout_memory(&j, &l, &k);
  assert_int_equal(iso_layout_fits(&m, &k, &e), ISO_ENOMEM);
  assert_non_null(strstr(e.msg, "host"));
}

static double parts(const iso_layout_step *s) {
  return s->compute_s + s->launch_s + s->head_s + s->tensor_s + s->context_s + s->expert_s + s->bubble_s + s->p2p_s + s->data_s + s->optim_s +
         s->offload_s + s->straggler_s + s->fixed_s + s->contention_s;
}

// Bounds worked out here from bytes and FLOPs alone, not taken from the step's own rooflines.
static void check_bounds(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout *l, const iso_layout_step *s) {
  double n = (double)s->devices, t = (double)l->tensor, w = (double)j->shape.width,
         tok = (double)j->batch * (double)j->shape.seq / (double)(l->data * l->context);
  double blocks = floor((double)j->shape.layers / (double)l->pipeline);
  near(parts(s), s->step_s, 1e-12 * s->step_s, "parts");
  assert_true(s->mfu > 0 && s->mfu <= s->hfu * (1 + 1e-12) && s->hfu <= 1);
  assert_true(s->step_s >= iso_layout_model_flop(&j->shape, (double)j->batch, ISO_LAYOUT_ATTN_CAUSAL) / (n * m->peak_flop_s));
  assert_true(s->step_s >= s->roofline_s);
  if (s->lo_s == s->lo_s) assert_true(s->lo_s <= s->step_s && s->step_s <= s->hi_s && s->lo_s >= s->roofline_s);
  assert_true(s->bubble_s >= 0 && s->p2p_s >= 0 && s->data_s >= 0 && s->straggler_s >= 0);
  if (l->pipeline == 1) assert_true(s->bubble_s == 0 && s->p2p_s == 0);
  // Four all-reduces a block and micro-batch of two-byte activations, on links inside a node.
  if (l->tensor <= m->per_node) assert_true(s->step_s >= blocks * 4 * 2 * (t - 1) / t * 2 * tok * w / m->intra_b_s);
  // Weights are read for forward, inputs and weights' gradients of every micro-batch (dense matrices alone).
  double read =
      3 * (double)s->micro_batches * blocks * j->weight_b * 2 * w * (double)(j->shape.heads + j->shape.kv_heads) * (double)j->shape.head_dim / t;
  assert_true(s->step_s >= read / m->mem_b_s);
}

static void test_invariants(void **state) {
  (void)state;
  iso_layout_machine m = a100();
  iso_layout_job j = iso_layout_job_default();
  iso_layout_step s;
  iso_err e;
  iso_layout_shape shape[] = {gpt(32, 4096, 32), gpt(64, 8192, 64), llama(32, 4096, 32, 8, 14336, 32000, 4096), gpt(16, 256, 16)};
  shape[2].experts = 8;
  shape[2].experts_used = 2;
  iso_layout_cal cals[4] = {iso_layout_cal_default(), iso_layout_cal_start()};
  cals[2] = iso_layout_cal_shift(&cals[0], (double[]){5, 5});
  cals[3] = iso_layout_cal_shift(&cals[0], (double[]){-3, -3});
  cals[2].v[ISO_LAYOUT_CAL_overlap] = 0.999;
  for (int i = 0; i < 6000; i++) {
    j.shape = shape[i % 4];
    j.batch = 64 << (i / 4 % 3);
    j.flash = i & 16;
    iso_layout_machine slow = m;
    if (i & 32) slow.inter_b_s = 1e8;  // links that bind
    if (i & 64) slow.intra_b_s = 2e9;
    iso_layout l = random_layout(&j, (uint64_t)i);
    ok(iso_layout_step_cost(&j, &slow, &cals[i / 128 % 4], &l, &s, &e), &e);
    check_bounds(&j, &slow, &l, &s);
  }
}

// The bubble's share falls with the number of micro-batches; a stage, more chunks and zero-bubble schedules shrink it.
static void test_bubble(void **state) {
  (void)state;
  iso_layout_machine m = a100();
  iso_layout_cal c = iso_layout_cal_default();
  iso_layout_job j = iso_layout_job_default();
  iso_layout_step s;
  iso_err e;
  j.shape = gpt(48, 8192, 64);
  double before = 1;
  for (int64_t b = 8; b <= 1024; b *= 2) {
    iso_layout l = tpd(8, 8, 1, 1);
    j.batch = b;
    ok(iso_layout_step_cost(&j, &m, &c, &l, &s, &e), &e);
    assert_true(s.bubble_s / s.step_s < before && s.bubble_s > 0);
    before = s.bubble_s / s.step_s;
  }
  j.batch = 32;
  double by[5];
  const iso_layout_sched order[] = {ISO_LAYOUT_1F1B, ISO_LAYOUT_INTERLEAVED, ISO_LAYOUT_ZB_H1, ISO_LAYOUT_ZB_H2};
  for (int i = 0; i < 4; i++) {
    iso_layout l = tpd(8, 8, 1, 1);
    l.schedule = order[i];
    l.chunks = i == 1 ? 3 : 1;
    ok(iso_layout_step_cost(&j, &m, &c, &l, &s, &e), &e);
    by[i] = s.bubble_s;
  }
  for (int i = 0; i < ISO_LAYOUT_V_ADAPTIVE; i++) near(iso_layout_bubble((iso_layout_sched)i, 1, 8, 2, 1, 2, 1), 0, 0, "one stage");
  double fold[ISO_LAYOUT_SCHEDS];
  for (int i = ISO_LAYOUT_ZB_V; i <= ISO_LAYOUT_V_MIN; i++) {
    before = 1;
    for (int64_t b = 16; b <= 1024; b *= 2) {
      iso_layout l = tpd(8, 8, 1, 1);
      l.chunks = 2;
      l.schedule = (iso_layout_sched)i;
      j.batch = b;
      ok(iso_layout_step_cost(&j, &m, &c, &l, &s, &e), &e);
      assert_true(s.bubble_s / s.step_s < before && s.bubble_s >= 0);
      before = s.bubble_s / s.step_s;
      if (b == 32) fold[i] = s.bubble_s;
    }
  }
  assert_true(fold[ISO_LAYOUT_ZB_V] < fold[ISO_LAYOUT_V_HALF] && fold[ISO_LAYOUT_V_HALF] < fold[ISO_LAYOUT_V_MIN]);
  assert_true(fold[ISO_LAYOUT_V_HALF] < by[0]);
  // A tied embedding has nothing to be summed with at the other end of a V.
  iso_layout v = tpd(8, 8, 1, 1);
  iso_layout_machine slow = m;
  slow.inter_b_s = 1e8;
  ok(iso_layout_step_cost(&j, &slow, &c, &v, &s, &e), &e);
  assert_true(s.data_s > 0);
  v.schedule = ISO_LAYOUT_ZB_V;
  v.chunks = 2;
  ok(iso_layout_step_cost(&j, &slow, &c, &v, &s, &e), &e);
  near(s.data_s, 0, 0, "tied ends");
  near(by[1], by[0] / 3, 1e-9 * by[0], "interleaved: a v-th");
  assert_true(by[3] < by[2] && by[2] < by[0]);
  // Equal times: B, B/3 and none of it, B = (p - 1)/(m + p - 1) (zero-bubble README table); 1F1B at p = 4, m = 16: .15789.
  near(iso_layout_bubble(ISO_LAYOUT_1F1B, 4, 16, 1, 1, 1, 1) / (48 + 9), 0.15789, 5e-6, "1f1b");
  near(iso_layout_bubble(ISO_LAYOUT_ZB_H1, 4, 16, 1, 1, 1, 1), 3, 0, "zb_h1");
  near(iso_layout_bubble(ISO_LAYOUT_ZB_H2, 4, 16, 1, 1, 1, 1), 0, 0, "zb_h2");
  near(iso_layout_bubble(ISO_LAYOUT_INTERLEAVED, 16, 32, 8, 1, 1, 1) / 96, 15.0 / (8 * 32), 1e-15, "Llama 3: (PP - 1)/(V M)");
}

// Over random layouts of every schedule: twice the micro-batches never have a larger share of bubble, and one stage has none. V-Half and V-Min
// wait in every micro-batch whose passes take unequal times (2 B / 3 + O(n), arXiv:2405.15362): their share falls where they are equal.
static void test_bubble_falls(void **state) {
  (void)state;
  iso_layout_machine m = a100();
  iso_layout_cal c = iso_layout_cal_default();
  iso_layout_job j = iso_layout_job_default();
  iso_layout_step s;
  iso_err e;
  int stages = 0, kinds = 0;
  iso_layout_shape shape[] = {gpt(32, 4096, 32), gpt(64, 8192, 64), llama(48, 6144, 48, 8, 16384, 32000, 4096)};
  for (int i = 0; i < 2000; i++) {
    j.shape = shape[i % 3];
    j.batch = 128;
    j.flash = i & 8;
    iso_layout l = random_layout(&j, 500000 + (uint64_t)i);
    double before = INFINITY;
    for (int k = 0; k < 5; k++) {
      j.batch = 128 << k;
      ok(iso_layout_step_cost(&j, &m, &c, &l, &s, &e), &e);
      double share = s.bubble_s / s.step_s;
      bool waits = l.schedule == ISO_LAYOUT_V_HALF || l.schedule == ISO_LAYOUT_V_MIN;
      if (!waits && !(share <= before * (1 + 1e-9)))
        fail_msg("layout %d, schedule %d, batch %d: bubble %g after %g", i, l.schedule, (int)j.batch, share, before);
      if (l.pipeline == 1) assert_true(s.bubble_s == 0);
      before = share;
    }
    stages += l.pipeline > 1;
    kinds |= l.pipeline > 1 ? 1 << l.schedule : 0;
  }
  assert_true(stages > 500 && kinds == (1 << ISO_LAYOUT_V_ADAPTIVE) - 1);
  for (int k = 0; k < ISO_LAYOUT_V_ADAPTIVE; k++)
    for (int64_t p = 4; p <= 32; p++) {
      double before = INFINITY;
      for (int64_t n = 2 * p; n <= 64 * p; n += p) {
        double bubble = iso_layout_bubble((iso_layout_sched)k, p, n, 2, 1, 1, 1), share = bubble / (3 * (double)n + bubble);
        if (!(share <= before && share >= 0)) fail_msg("schedule %d, %d stages, %d micro-batches: %g after %g", k, (int)p, (int)n, share, before);
        before = share;
      }
    }
}

// More of what helps never hurts: a faster machine, a better stack, less to send.
static void test_monotone(void **state) {
  (void)state;
  iso_layout_machine m = a100();
  iso_layout_cal c = iso_layout_cal_default();
  iso_layout_job j = iso_layout_job_default();
  iso_layout_step a, b;
  iso_err e;
  j.shape = gpt(32, 4096, 32);
  j.batch = 128;
  for (int i = 0; i < 400; i++) {
    iso_layout l = random_layout(&j, 100000 + (uint64_t)i);
    iso_layout_machine fast = m;
    double *what[] = {&fast.peak_flop_s, &fast.mem_b_s, &fast.intra_b_s, &fast.inter_b_s, &fast.host_b_s};
    *what[i % 5] *= 1.5;
    iso_layout_cal better = iso_layout_cal_shift(&c, (double[]){0.3, 0.3});
    ok(iso_layout_step_cost(&j, &m, &c, &l, &a, &e), &e);
    ok(iso_layout_step_cost(&j, &fast, &c, &l, &b, &e), &e);
    if (!(b.step_s <= a.step_s * (1 + 1e-12)))
      fail_msg("layout %d (%d %d p%d m%d la %g): %g s on a faster machine, %g s before", i, l.schedule, l.zero, (int)l.pipeline, (int)a.micro_batches,
               a.launch_s, b.step_s, a.step_s);
    ok(iso_layout_step_cost(&j, &m, &better, &l, &b, &e), &e);
    assert_true(b.step_s < a.step_s);
  }
}

// Dollars and joules are what the clock and the watts say; unknown prices give unknown costs.
static void test_costs(void **state) {
  (void)state;
  iso_layout_machine m = a100();
  iso_layout_cal c = iso_layout_cal_default();
  iso_layout_job j = iso_layout_job_default();
  iso_layout_step s;
  iso_err e;
  j.shape = gpt(40, 6144, 48);
  j.batch = 1024;
  iso_layout l = tpd(8, 1, 32, 8);
  l.recompute = ISO_LAYOUT_FULL;
  ok(iso_layout_step_cost(&j, &m, &c, &l, &s, &e), &e);
  near(s.usd, 256 * s.step_s / 3600 * 3.67, 1e-9 * s.usd, "usd");
  assert_true(s.joule > 256 * m.pue * m.idle_w * s.step_s && s.joule < 256 * m.pue * m.max_w * s.step_s);
  near(s.tok_s, 1024 * 2048 / s.step_s, 1e-9 * s.tok_s, "tokens/s");
  near(s.hi_s / s.step_s, exp(1.6448536 * c.resid_sd), 1e-6, "interval");
  m.usd_h = NAN;
  ok(iso_layout_step_cost(&j, &m, &c, &l, &s, &e), &e);
  assert_true(isnan(s.usd));
}

int main(void) {
  const struct CMUnitTest t[] = {cmocka_unit_test(test_params),         cmocka_unit_test(test_names),         cmocka_unit_test(test_flops),
                                 cmocka_unit_test(test_mfu_arithmetic), cmocka_unit_test(test_memory),        cmocka_unit_test(test_folded_memory),
                                 cmocka_unit_test(test_rules),          cmocka_unit_test(test_refuses_bytes), cmocka_unit_test(test_invariants),
                                 cmocka_unit_test(test_bubble),         cmocka_unit_test(test_bubble_falls),  cmocka_unit_test(test_monotone),
                                 cmocka_unit_test(test_costs)};
  return cmocka_run_group_tests(t, NULL, NULL);
}
