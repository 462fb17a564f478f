// Published training runs: one calibration a hardware and software stack (iso_layout_fit_stack), each run is predicted from the others.
// What papers do not print (micro-batch, chunks) is what the model finds fastest among what fits, with the calibration that ships.
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
#include "plan/layout/layout_fit.h"
#include "unit/layout_near.h"

enum { RUNS_MAX = 16, CHOOSE = 0 };

typedef struct stack {
  const char *name;
  iso_layout_machine m;
  iso_layout_job job;  // numbers and kernels; the shape comes with the run
  iso_layout_row row[RUNS_MAX];
  int n;
} stack;

static stack open_stack(const char *name) {
  stack s = {.name = name, .m = a100(), .job = iso_layout_job_default()};
  return s;
}

// One run; l.micro_batch or l.chunks CHOOSE looks for the fastest.
static void run(stack *s, iso_layout_shape shape, int64_t batch, iso_layout l, double step_s) {
  iso_layout_job j = s->job;
  iso_layout_cal c = iso_layout_cal_default();
  iso_layout_step t;
  iso_layout_mem k;
  double best = INFINITY;
  bool choose = l.micro_batch == CHOOSE;
  int64_t b0 = choose ? 1 : l.micro_batch, b1 = choose ? 16 : b0, v0 = l.chunks == CHOOSE ? 1 : l.chunks, v1 = l.chunks == CHOOSE ? 16 : v0;
  assert_true(s->n < RUNS_MAX);
  j.shape = shape;
  j.batch = batch;
  for (int64_t b = b0; b <= b1; b++) {
    for (int64_t v = v0; v <= v1; v++) {
      l.micro_batch = b;
      l.chunks = v;
      l.schedule = v > 1 ? ISO_LAYOUT_INTERLEAVED : ISO_LAYOUT_1F1B;
      if (iso_layout_step_cost(&j, &s->m, &c, &l, &t, NULL) != ISO_OK) continue;
      iso_layout_memory(&j, &l, &k);
      if ((choose && k.total_b > s->m.mem_b) || t.step_s >= best) continue;
      best = t.step_s;
      s->row[s->n] = (iso_layout_row){j, l, step_s, 0};
    }
  }
  if (!(best < INFINITY)) fail_msg("%s, run %d: no layout", s->name, s->n);
  s->n++;
}

static iso_layout with(int64_t t, int64_t p, int64_t d, int64_t micro_batch, int64_t chunks, iso_layout_recompute r) {
  iso_layout l = tpd(t, p, d, micro_batch);
  l.chunks = chunks;
  l.recompute = r;
  l.seq_parallel = r == ISO_LAYOUT_SELECTIVE;
  return l;
}

// Log of measured over predicted time of every run with nothing fitted to its stack, and each stack's mean, for test_prior.
static double unfitted[64], stack_mean[16];
static int n_unfitted, n_stacks;

// Expected squares under each stack's posterior, summed over stacks and runs: of the common shift, of the difference, of a run's log-residual.
static double em_common, em_apart, em_row;

static void calibrate(const stack *s, const iso_layout_rows *r, const iso_layout_cal *base) {
  iso_layout_stack z;
  iso_err e;
  ok(iso_layout_fit_stack(r, -1, &s->m, base, &z, &e), &e);
  iso_layout_cal c = iso_layout_cal_shift(base, z.z);
  em_common += pow(z.z[ISO_LAYOUT_ARITHMETIC], 2) + pow(z.sd[ISO_LAYOUT_ARITHMETIC], 2);
  em_apart += pow(z.z[ISO_LAYOUT_COMMUNICATION] - z.z[ISO_LAYOUT_ARITHMETIC], 2) + pow(z.apart_sd, 2);
  em_row += s->n * pow(z.rows_sd, 2);
  for (int i = 0; i < s->n; i++) {
    iso_layout_step t, u;
    ok(iso_layout_step_cost(&s->row[i].job, &s->m, base, &s->row[i].layout, &t, &e), &e);
    ok(iso_layout_step_cost(&s->row[i].job, &s->m, &c, &s->row[i].layout, &u, &e), &e);
    em_row += pow(log(s->row[i].step_s / u.step_s), 2);
    unfitted[n_unfitted++] = log(s->row[i].step_s / t.step_s);
    stack_mean[n_stacks] += unfitted[n_unfitted - 1] / s->n;
  }
  n_stacks++;
  print_message("%s: arithmetic %+.2f +- %.2f, communication %+.2f +- %.2f, %.0f%% of the difference known\n ", s->name, z.z[0], z.sd[0], z.z[1],
                z.sd[1], 100 * iso_layout_stack_known(&z));
}

// Prints every run; fails where |predicted / measured MFU - 1| is above the limit.
static void judge(stack *s, double limit) {
  iso_layout_rows r = {.n = s->n, .row = s->row};
  iso_layout_cal base = iso_layout_cal_default();
  double worst = 0, sum = 0;
  assert_true(n_unfitted + s->n <= 64 && n_stacks < 16);
  calibrate(s, &r, &base);
  for (int i = 0; i < s->n; i++) {
    iso_layout_step t;
    iso_err e;
    iso_layout_stack z;
    ok(iso_layout_fit_stack(&r, i, &s->m, &base, &z, &e), &e);
    iso_layout_cal c = iso_layout_cal_shift(&base, z.z);
    ok(iso_layout_step_cost(&s->row[i].job, &s->m, &c, &s->row[i].layout, &t, &e), &e);
    double off = s->row[i].step_s / t.step_s - 1;
    print_message(" %.3f (%+.1f%%)", t.mfu_full, 100 * off);
    worst = fmax(worst, fabs(off));
    sum += fabs(off);
  }
  print_message("; mean %.1f%%, worst %.1f%%\n", 100 * sum / s->n, 100 * worst);
  if (!(worst <= limit)) fail_msg("%s: a run's MFU is off by %.1f%%", s->name, 100 * worst);
}

// Narayanan et al. 2021, tables 1 and 2: full recomputation, interleaved schedule; TFLOP/s count it.
static void test_megatron(void **state) {
  (void)state;
  const int64_t t[][8] = {
      {24, 2304, 24, 1, 1, 32, 512, 137},        {30, 3072, 32, 2, 1, 64, 512, 138},        {36, 4096, 32, 4, 1, 128, 512, 142},
      {40, 6144, 48, 8, 1, 256, 1024, 135},      {60, 10240, 80, 8, 4, 1024, 1792, 140},    {80, 12288, 96, 8, 8, 1536, 2304, 148},
      {105, 20480, 128, 8, 35, 2520, 2520, 163}, {128, 25600, 160, 8, 64, 3072, 3072, 163}, {96, 12288, 96, 8, 12, 384, 1536, 153},
      {96, 12288, 96, 8, 12, 768, 1536, 149},    {96, 12288, 96, 8, 12, 1536, 1536, 141},   {105, 20480, 128, 8, 35, 560, 2240, 171},
      {105, 20480, 128, 8, 35, 1120, 2240, 167}, {105, 20480, 128, 8, 35, 2240, 2240, 159}};
  stack s = open_stack("Megatron-LM 2021");
  for (size_t i = 0; i < ISO_COUNT(t); i++) {
    iso_layout_shape g = gpt(t[i][0], t[i][1], t[i][2]);
    double f = iso_layout_hardware_flop(&g, (double)t[i][6], ISO_LAYOUT_FULL, ISO_LAYOUT_ATTN_FULL);
    run(&s, g, t[i][6], with(t[i][3], t[i][4], t[i][5] / t[i][3] / t[i][4], CHOOSE, CHOOSE, ISO_LAYOUT_FULL),
        f / (1e12 * (double)(t[i][7] * t[i][5])));
  }
  judge(&s, 0.06);
}

// The same paper's ZeRO-3 runs, all six: every device holds a share, micro-batches of 4, 2 and 1, one a step. Arithmetic is ordinary, links are
// slow.
static void test_zero3(void **state) {
  (void)state;
  const int64_t t[][5] = {{96, 12288, 384, 1536, 144},  {96, 12288, 768, 1536, 88},   {96, 12288, 1536, 1536, 44},
                          {105, 20480, 640, 2560, 138}, {105, 20480, 1120, 2240, 98}, {105, 20480, 2240, 2240, 48}};
  stack s = open_stack("ZeRO-3 2021");
  for (size_t i = 0; i < ISO_COUNT(t); i++) {
    iso_layout_shape g = gpt(t[i][0], t[i][1], i < 3 ? 96 : 128);
    double f = iso_layout_hardware_flop(&g, (double)t[i][3], ISO_LAYOUT_FULL, ISO_LAYOUT_ATTN_FULL);
    iso_layout l = with(1, 1, t[i][2], t[i][3] / t[i][2], 1, ISO_LAYOUT_FULL);
    l.zero = 3;
    run(&s, g, t[i][3], l, f / (1e12 * (double)(t[i][4] * t[i][2])));
  }
  judge(&s, 0.10);
}

// MT-NLG 530B (arXiv:2201.11990), batch 1,920.
static void test_mt_nlg(void **state) {
  (void)state;
  const double t[][2] = {{8, 60.1}, {10, 50.2}, {12, 44.4}};
  stack s = open_stack("DeepSpeed and Megatron, MT-NLG");
  for (int i = 0; i < 3; i++) run(&s, gpt(105, 20480, 128), 1920, with(8, 35, (int64_t)t[i][0], 1, 1, ISO_LAYOUT_FULL), t[i][1]);
  judge(&s, 0.06);
}

// MegaScale (arXiv:2402.15627), 175 B on t = 8, p = 8, six chunks; its own runs with flash attention, its baseline without.
static void test_megascale(void **state) {
  (void)state;
  const double base[][3] = {{256, 768, 40.0}, {512, 768, 21.2}, {768, 768, 15.2}, {1024, 768, 11.9}, {6144, 6144, 14.78}, {8192, 6144, 12.24}};
  const double own[][3] = {{256, 768, 32.0},    {512, 768, 16.5},    {768, 768, 11.5},   {1024, 768, 8.9},
                           {3072, 6144, 23.66}, {6144, 6144, 12.21}, {8192, 6144, 9.56}, {12288, 6144, 6.34}};
  iso_layout_shape g = iso_layout_shape_gpt("175b", 96, 12288, 128, 51200, 2048);
  stack a = open_stack("Megatron-LM 2023 (MegaScale's baseline)"), b = open_stack("MegaScale");
  b.job.flash = true;
  b.job.dropout = false;
  for (size_t i = 0; i < ISO_COUNT(base); i++)
    run(&a, g, (int64_t)base[i][1], with(8, 8, (int64_t)base[i][0] / 64, 1, 6, ISO_LAYOUT_SELECTIVE), base[i][2]);
  for (size_t i = 0; i < ISO_COUNT(own); i++) {
    iso_layout l = with(8, 8, (int64_t)own[i][0] / 64, 1, 6, ISO_LAYOUT_SELECTIVE);
    l.zero = 1;
    run(&b, g, (int64_t)own[i][1], l, own[i][2]);
  }
  judge(&a, 0.10);
  judge(&b, 0.10);
}

// Efficient Parallelization Layouts (arXiv:2311.05610): flash attention, no recomputation, ZeRO-1, vocabulary of 128 k.
static void test_hagemann(void **state) {
  (void)state;
  iso_layout_shape a = llama(40, 5120, 40, 40, 13824, 128000, 8192), b = llama(60, 6656, 52, 52, 17920, 128000, 2048), b8 = b;
  b8.seq = 8192;
  const struct {
    const iso_layout_shape *s;
    int64_t batch, t, p, d;
    bool sp;
    double step_s;
  } r[] = {{&a, 512, 2, 2, 32, false, 18.410},  {&a, 512, 2, 2, 16, true, 34.840},   {&a, 512, 2, 2, 16, false, 34.840 * 0.6278 / 0.6276},
           {&b, 2048, 2, 4, 32, false, 22.667}, {&b, 2048, 1, 4, 16, false, 71.995}, {&b8, 512, 4, 4, 8, true, 49.435},
           {&b8, 512, 4, 2, 8, true, 84.367}};
  stack s = open_stack("AA-Scaling (Parallelization Layouts)");
  s.job.flash = true;
  s.job.dropout = false;
  for (size_t i = 0; i < ISO_COUNT(r); i++) {
    iso_layout l = with(r[i].t, r[i].p, r[i].d, 1, 1, ISO_LAYOUT_KEEP);
    l.zero = 1;
    l.seq_parallel = r[i].sp;
    run(&s, *r[i].s, r[i].batch, l, r[i].step_s);
  }
  judge(&s, 0.10);
}

// Korthikanti et al. 2022, table 5: full recomputation, and selective with sequence parallelism. The seconds of 22 B, 530 B and 1 T are
// checked by the MFU that the paper prints for them.
static void test_recompute(void **state) {
  (void)state;
  const struct {
    int64_t layers, width, heads, p, batch, micro_batch, chunks;
    double full_s, selective_s, mfu;
  } r[] = {{48, 6144, 64, 1, 4, 4, 1, 1.42, 1.10, 41.5},
           {96, 12288, 96, 8, 64, 1, 3, 18.13, 13.75, 51.4},
           {105, 20480, 128, 35, 280, 1, 3, 49.05, 37.83, 56.0},
           {128, 25600, 160, 64, 512, 1, 1, 94.42, 71.49, 56.3}};
  stack s = open_stack("Megatron-LM 2022 (recomputation)");
  for (size_t i = 0; i < ISO_COUNT(r); i++) {
    iso_layout_shape g = gpt(r[i].layers, r[i].width, r[i].heads);
    double f = iso_layout_model_flop(&g, (double)r[i].batch, ISO_LAYOUT_ATTN_FULL);
    near(100 * f / (8 * (double)r[i].p * r[i].selective_s * 312e12), r[i].mfu, 0.05 + (i ? 0.03 : 0.2), "printed MFU");
    run(&s, g, r[i].batch, with(8, r[i].p, 1, r[i].micro_batch, r[i].chunks, ISO_LAYOUT_FULL), r[i].full_s);
    run(&s, g, r[i].batch, with(8, r[i].p, 1, r[i].micro_batch, r[i].chunks, ISO_LAYOUT_SELECTIVE), r[i].selective_s);
  }
  judge(&s, 0.10);
}

// Llama 3 405B (arXiv:2407.21783, table 4), H100: 430, 400 and 380 TFLOP/s a GPU at 8 k, 8 k and 131 k tokens.
static void test_llama3(void **state) {
  (void)state;
  iso_layout_shape a = llama(126, 16384, 128, 8, 53248, 128256, 8192), b = a;
  b.seq = 131072;
  stack s = open_stack("Llama 3");
  s.m.peak_flop_s = 989.4e12;
  s.m.mem_b_s = 3.35e12;
  s.m.intra_b_s = 450e9;
  s.m.inter_b_s = 50e9;
  s.job.flash = true;
  s.job.dropout = false;
  const struct {
    const iso_layout_shape *s;
    int64_t batch, d, c;
    double tflops;
  } r[] = {{&a, 2048, 64, 1, 430}, {&a, 2048, 128, 1, 400}, {&b, 128, 8, 16, 380}};
  for (int i = 0; i < 3; i++) {
    iso_layout l = with(8, 16, r[i].d, 1, CHOOSE, ISO_LAYOUT_KEEP);
    l.context = r[i].c;
    l.zero = 1;
    l.seq_parallel = true;
    double f = iso_layout_model_flop(r[i].s, (double)r[i].batch, ISO_LAYOUT_ATTN_CAUSAL), n = (double)iso_layout_devices(&l);
    near(100 * r[i].tflops / 989.4, i == 0 ? 43 : i == 1 ? 41 : 38, 0.6, "printed MFU");
    run(&s, *r[i].s, r[i].batch, l, f / (r[i].tflops * 1e12 * n));
  }
  judge(&s, 0.10);
}

// What a device without runs of its own is priced with: the A100's numbers, and an interval that holds these stacks, which were fitted to none of
// them.
static void test_prior(void **state) {
  (void)state;
  iso_device *h100, *a100;
  iso_layout_cal prior, own, base = iso_layout_cal_default();
  iso_err e;
  double sq = 0;
  int inside = 0;
  iso_device_spec spec;
  ok(iso_device_spec_find("h100", &spec, &e), &e);
  ok(iso_device_new(&spec, &h100, &e), &e);
  ok(iso_device_spec_find("a100-80", &spec, &e), &e);
  ok(iso_device_new(&spec, &a100, &e), &e);
  ok(iso_layout_cal_of_device(h100, &prior, &e), &e);
  ok(iso_layout_cal_of_device(a100, &own, &e), &e);
  assert_memory_equal(prior.v, base.v, sizeof base.v);
  assert_true(own.resid_sd == base.resid_sd && strcmp(own.source, base.source) == 0);
  assert_non_null(strstr(prior.source, "prior: A100's fit"));
  assert_int_equal(n_stacks, 8);
  for (int i = 0; i < n_stacks; i++) {
    sq += stack_mean[i] * stack_mean[i] / n_stacks;
    print_message("stack %d: %+.3f\n", i, stack_mean[i]);
  }
  near(100 * prior.resid_sd, 100 * hypot(base.resid_sd, sqrt(sq)), 0.5, "spread");
  for (int i = 0; i < n_unfitted; i++) inside += fabs(unfitted[i]) <= 1.645 * prior.resid_sd;
  print_message("%d runs of %d stacks, spread of stacks %.3f; %d inside the interval\n", n_unfitted, n_stacks, sqrt(sq), inside);
  assert_true(inside >= 0.9 * n_unfitted && inside < n_unfitted);
  iso_device_close(h100);
  iso_device_close(a100);
}

// The priors of a stack's two shifts and the spread of its rows: an expectation-maximisation step over the eight stacks leaves them where they are.
static void test_priors(void **state) {
  (void)state;
  iso_layout_stack_prior p = iso_layout_stack_priors();
  assert_int_equal(n_stacks, 8);
  double common = sqrt(em_common / n_stacks), apart = sqrt(em_apart / n_stacks), row = sqrt(em_row / n_unfitted);
  print_message("priors: common %.4f, apart %.4f, row %.5f\n", common, apart, row);
  near(common, p.common_sd, 0.01, "common");
  near(apart, p.apart_sd, 0.01, "apart");
  near(row, p.row_sd, 0.0005, "row");
}

int main(void) {
  const struct CMUnitTest t[] = {cmocka_unit_test(test_megatron),  cmocka_unit_test(test_zero3),    cmocka_unit_test(test_mt_nlg),
                                 cmocka_unit_test(test_megascale), cmocka_unit_test(test_hagemann), cmocka_unit_test(test_recompute),
                                 cmocka_unit_test(test_llama3),    cmocka_unit_test(test_prior),    cmocka_unit_test(test_priors)};
  return cmocka_run_group_tests(t, NULL, NULL);
}
