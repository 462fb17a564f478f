// Memory of layouts against what ran and what ran out of memory: 166 layouts of one model that its authors tried, and how well the fastest is found.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "unit/layout_near.h"

// Hagemann et al. 2023 (arXiv:2311.05610): Aleph-Alpha/NeurIPS-WANT-submission-efficient-parallelization-layouts
// data/llama_30B_bfloat16_256_GPUs_all_runs.xlsx, LLaMA 30B at 2,048 tokens on 256 A100-80, all rows but 19 that failed otherwise: attention (0
// not flash, 1 and 2 flash, 3 flash and a fused norm), every layer recomputed, micro-batch, tensor, pipeline, seconds of a step (0: out of memory).
enum { KERNEL, RECOMPUTED, MICRO_BATCH, TENSOR, PIPELINE, STEP_S, FUSED = 3 };
static const double RUN[][6] = {
    {3, 0, 4, 2, 1, 0},      {3, 0, 4, 2, 4, 0},      {3, 0, 4, 4, 1, 0},      {3, 0, 2, 2, 1, 0},      {3, 0, 4, 1, 2, 0},
    {3, 0, 4, 1, 1, 0},      {3, 0, 4, 4, 2, 0},      {3, 0, 2, 2, 2, 0},      {3, 0, 4, 2, 2, 0},      {3, 0, 2, 1, 4, 0},
    {3, 0, 4, 1, 4, 0},      {3, 0, 2, 1, 2, 0},      {3, 0, 2, 1, 1, 0},      {3, 0, 1, 2, 1, 0},      {3, 0, 1, 1, 2, 0},
    {3, 0, 1, 1, 1, 0},      {2, 1, 2, 2, 1, 0},      {2, 1, 4, 2, 1, 0},      {2, 1, 4, 1, 2, 0},      {2, 1, 4, 1, 1, 0},
    {2, 1, 2, 1, 1, 0},      {2, 1, 1, 1, 1, 0},      {2, 0, 4, 4, 4, 0},      {2, 0, 4, 4, 2, 0},      {2, 0, 4, 4, 1, 0},
    {2, 0, 4, 2, 4, 0},      {2, 0, 4, 2, 2, 0},      {2, 0, 4, 2, 1, 0},      {2, 0, 4, 1, 4, 0},      {2, 0, 4, 1, 2, 0},
    {2, 0, 4, 1, 1, 0},      {2, 0, 2, 4, 1, 0},      {2, 0, 2, 2, 4, 0},      {2, 0, 2, 2, 2, 0},      {2, 0, 2, 2, 1, 0},
    {2, 0, 2, 1, 4, 0},      {2, 0, 2, 1, 2, 0},      {2, 0, 2, 1, 1, 0},      {2, 0, 1, 2, 1, 0},      {2, 0, 1, 1, 4, 0},
    {2, 0, 1, 1, 2, 0},      {2, 0, 1, 1, 1, 0},      {0, 1, 4, 2, 1, 0},      {0, 1, 4, 1, 2, 0},      {0, 1, 4, 1, 1, 0},
    {0, 1, 2, 2, 1, 0},      {0, 1, 2, 1, 1, 0},      {0, 1, 1, 1, 1, 0},      {1, 1, 4, 2, 1, 0},      {1, 1, 4, 1, 2, 0},
    {1, 1, 4, 1, 1, 0},      {1, 1, 2, 2, 1, 0},      {1, 1, 2, 1, 1, 0},      {1, 1, 1, 1, 1, 0},      {0, 0, 4, 4, 4, 0},
    {0, 0, 4, 4, 2, 0},      {0, 0, 4, 4, 1, 0},      {0, 0, 4, 2, 4, 0},      {0, 0, 4, 2, 2, 0},      {0, 0, 4, 2, 1, 0},
    {0, 0, 4, 1, 4, 0},      {0, 0, 4, 1, 2, 0},      {0, 0, 4, 1, 1, 0},      {0, 0, 2, 2, 4, 0},      {0, 0, 2, 2, 2, 0},
    {0, 0, 2, 2, 1, 0},      {0, 0, 2, 1, 4, 0},      {0, 0, 2, 1, 2, 0},      {1, 0, 4, 4, 4, 0},      {1, 0, 4, 4, 2, 0},
    {1, 0, 4, 4, 1, 0},      {1, 0, 4, 2, 4, 0},      {1, 0, 4, 2, 2, 0},      {1, 0, 4, 2, 1, 0},      {1, 0, 4, 1, 4, 0},
    {1, 0, 4, 1, 2, 0},      {1, 0, 4, 1, 1, 0},      {1, 0, 2, 4, 1, 0},      {1, 0, 2, 2, 4, 0},      {1, 0, 2, 2, 2, 0},
    {1, 0, 2, 2, 1, 0},      {1, 0, 2, 1, 4, 0},      {1, 0, 2, 1, 2, 0},      {1, 0, 2, 1, 1, 0},      {1, 0, 1, 2, 1, 0},
    {1, 0, 1, 1, 4, 0},      {1, 0, 1, 1, 2, 0},      {1, 0, 1, 1, 1, 0},      {3, 0, 1, 2, 4, 22.667}, {3, 0, 1, 1, 4, 23.995},
    {3, 0, 2, 2, 4, 24.258}, {2, 0, 1, 2, 4, 24.701}, {3, 0, 4, 4, 4, 25.05},  {3, 0, 2, 4, 4, 25.323}, {1, 0, 1, 2, 4, 26.064},
    {3, 0, 2, 4, 2, 26.26},  {3, 0, 1, 4, 4, 26.279}, {3, 0, 1, 4, 2, 26.935}, {3, 0, 1, 2, 2, 28.336}, {2, 1, 1, 1, 4, 29.078},
    {2, 0, 1, 2, 2, 29.132}, {1, 1, 1, 1, 4, 29.159}, {2, 0, 2, 4, 4, 29.455}, {1, 0, 2, 4, 4, 29.549}, {1, 0, 1, 2, 2, 29.638},
    {2, 1, 2, 1, 4, 29.761}, {1, 1, 2, 1, 4, 29.961}, {2, 0, 1, 4, 4, 30.081}, {2, 1, 2, 2, 4, 31.129}, {1, 0, 1, 4, 4, 31.384},
    {2, 0, 1, 4, 2, 31.465}, {2, 0, 2, 4, 2, 31.661}, {3, 0, 1, 4, 1, 31.77},  {2, 1, 1, 2, 4, 31.805}, {2, 1, 1, 2, 2, 31.938},
    {1, 1, 2, 2, 4, 32.167}, {2, 1, 2, 2, 2, 32.273}, {1, 0, 1, 4, 2, 32.417}, {0, 1, 1, 1, 4, 32.733}, {1, 1, 1, 2, 2, 32.844},
    {0, 1, 2, 1, 4, 33.078}, {1, 1, 1, 2, 4, 33.287}, {1, 1, 4, 2, 2, 33.475}, {2, 1, 4, 2, 4, 33.695}, {1, 1, 4, 1, 4, 33.75},
    {1, 1, 4, 2, 4, 33.793}, {1, 0, 2, 4, 2, 33.965}, {2, 1, 4, 1, 4, 34.216}, {2, 1, 4, 2, 2, 34.446}, {2, 1, 1, 1, 2, 35.07},
    {1, 1, 2, 2, 2, 35.228}, {3, 0, 2, 4, 1, 35.319}, {0, 1, 2, 2, 4, 35.885}, {1, 1, 1, 1, 2, 36.418}, {0, 1, 4, 2, 4, 36.475},
    {2, 1, 4, 4, 2, 37.119}, {2, 1, 2, 1, 2, 37.765}, {1, 1, 4, 4, 2, 37.813}, {0, 1, 4, 1, 4, 37.94},  {0, 1, 1, 1, 2, 37.994},
    {1, 1, 2, 1, 2, 38.067}, {2, 1, 4, 4, 4, 38.276}, {2, 1, 2, 4, 4, 38.51},  {1, 1, 4, 4, 4, 38.604}, {2, 1, 2, 4, 2, 39.572},
    {0, 1, 4, 2, 2, 39.612}, {1, 1, 2, 4, 4, 39.647}, {2, 1, 1, 2, 1, 39.702}, {0, 1, 2, 1, 2, 39.745}, {2, 0, 1, 4, 1, 39.808},
    {2, 1, 1, 4, 2, 40.071}, {0, 1, 4, 4, 2, 40.222}, {1, 1, 2, 4, 2, 40.294}, {2, 1, 1, 4, 4, 41.014}, {0, 1, 4, 4, 4, 41.738},
    {1, 1, 1, 2, 1, 41.803}, {1, 1, 4, 4, 1, 41.84},  {1, 1, 1, 4, 4, 41.938}, {2, 1, 2, 4, 1, 42.134}, {0, 1, 4, 4, 1, 42.224},
    {1, 1, 1, 4, 2, 42.415}, {1, 0, 1, 4, 1, 43.245}, {1, 1, 2, 4, 1, 43.512}, {2, 1, 4, 4, 1, 43.921}, {2, 1, 1, 4, 1, 44.094},
    {1, 1, 1, 4, 1, 45.556}};

static iso_layout_job job(void) {
  iso_layout_job j = iso_layout_job_default();
  j.shape = llama(60, 6656, 52, 52, 17920, 128000, 2048);
  j.batch = 2048;
  j.dropout = false;
  j.grad_b = 2;
  return j;
}

static iso_layout layout_of(const double *r) {
  iso_layout l = tpd((int64_t)r[TENSOR], (int64_t)r[PIPELINE], 256 / (int64_t)(r[TENSOR] * r[PIPELINE]), (int64_t)r[MICRO_BATCH]);
  l.zero = 1;
  l.recompute = r[RECOMPUTED] > 0 ? ISO_LAYOUT_FULL : ISO_LAYOUT_KEEP;
  return l;
}

// Everything that ran fits 97% of the memory; of the 88 that did not, at most 17 (2 of 16 with the leanest kernels) are thought to.
static void test_memory(void **state) {
  (void)state;
  iso_layout_job j = job();
  iso_layout_machine m = a100();
  int ran = 0, out = 0, passed = 0, fused_out = 0, fused_passed = 0;
  for (size_t i = 0; i < ISO_COUNT(RUN); i++) {
    const double *r = RUN[i];
    iso_layout l = layout_of(r);
    iso_layout_mem k;
    iso_err e;
    j.flash = r[KERNEL] > 0;
    ok(iso_layout_check(&j, &l, &e), &e);
    iso_layout_memory(&j, &l, &k);
    bool fits = k.total_b <= 0.97 * m.mem_b;
    if (r[STEP_S] > 0 && !fits) fail_msg("row %d ran in %g s and is said to need %.1f GB", (int)i, r[STEP_S], k.total_b / 1e9);
    ran += r[STEP_S] > 0;
    if (r[STEP_S] > 0) continue;
    out++;
    passed += fits;
    fused_out += r[KERNEL] == FUSED;
    fused_passed += r[KERNEL] == FUSED && fits;
  }
  print_message("%d ran, %d ran out of memory; %d of these are thought to fit (%d of %d with fused norms)\n", ran, out, passed, fused_passed,
                fused_out);
  assert_true(ran == 78 && out == 88 && fused_out == 16);
  assert_true(passed <= 17 && fused_passed <= 2);
}

// Of layouts that ran, which one is predicted fastest: its measured seconds over the least, and the spread of log errors.
static double choice(const double (*row)[5], size_t n, int64_t gpus, double inter_b_s, double *spread) {
  iso_layout_job j = job();
  iso_layout_machine m = a100();
  iso_layout_cal c = iso_layout_cal_default();
  double least = INFINITY, best = INFINITY, chosen = NAN, sum = 0, squares = 0;
  j.flash = true;
  m.inter_b_s = inter_b_s;
  for (size_t i = 0; i < n; i++) {
    const double *r = row[i];
    iso_layout l = tpd((int64_t)r[1], (int64_t)r[2], gpus / (int64_t)(r[1] * r[2]), (int64_t)r[0]);
    iso_layout_step s;
    iso_err e;
    l.zero = 1;
    l.seq_parallel = r[3] > 0 && l.tensor > 1;
    ok(iso_layout_step_cost(&j, &m, &c, &l, &s, &e), &e);
    double off = log(r[4] / s.step_s);
    sum += off;
    squares += off * off;
    best = fmin(best, r[4]);
    if (s.step_s >= least) continue;
    least = s.step_s;
    chosen = r[4];
  }
  *spread = sqrt(squares / (double)n - sum / (double)n * sum / (double)n);
  print_message("%d layouts on %d GPUs, network of %.3g GB/s a GPU: chosen %.2f s, fastest %.2f s; mean log error %+.3f, spread %.3f\n", (int)n,
                (int)gpus, inter_b_s / 1e9, chosen, best, sum / (double)n, *spread);
  return chosen / best;
}

// The same repository's data/seqpara/llama_30B_bfloat16_64_GPUs_sequence_parallelism.xlsx, what ran: micro-batch, tensor, pipeline, sequence
// parallelism, seconds.
static const double ON_64[][5] = {{1, 1, 4, 0, 71.995}, {1, 1, 4, 1, 72.598}, {2, 2, 4, 1, 72.658}, {2, 2, 4, 0, 74.855}, {1, 2, 4, 1, 76.584},
                                  {1, 2, 2, 1, 76.843}, {4, 4, 4, 1, 77.586}, {1, 2, 4, 0, 78.434}, {1, 2, 2, 0, 80.174}, {2, 4, 2, 1, 81.061},
                                  {2, 4, 4, 1, 82.219}, {4, 4, 2, 1, 83.105}, {4, 4, 2, 1, 83.76},  {2, 4, 2, 0, 84.884}, {2, 4, 1, 1, 85.212},
                                  {1, 4, 2, 1, 85.47},  {4, 4, 4, 0, 86.437}, {4, 4, 4, 0, 86.667}, {1, 4, 4, 1, 87.684}, {1, 4, 1, 1, 89.333},
                                  {2, 4, 4, 0, 89.762}, {1, 4, 2, 0, 89.864}, {1, 4, 1, 0, 94.115}, {1, 4, 4, 0, 95.517}};

// On 64 GPUs the fastest is found. On 256 the choice loses 25% with the network of a DGX, and 6% with a sixteenth of it, which is what the runs
// look like: one number for the network halves the spread of errors too. Predictions are those that ship.
static void test_choice(void **state) {
  (void)state;
  double on_256[ISO_COUNT(RUN)][5], spread, slow;
  size_t n = 0;
  for (size_t i = 0; i < ISO_COUNT(RUN); i++) {
    const double *r = RUN[i];
    if (!(r[STEP_S] > 0) || r[KERNEL] != FUSED) continue;
    const double row[5] = {r[MICRO_BATCH], r[TENSOR], r[PIPELINE], 0, r[STEP_S]};
    memcpy(on_256[n++], row, sizeof row);
  }
  assert_int_equal(n, 11);
  near(ON_64[0][4], 71.995, 0.005, "the paper's best on 64");
  near(choice(ON_64, ISO_COUNT(ON_64), 64, 25e9, &spread), 1, 0, "choice on 64");
  assert_true(spread < 0.05);
  assert_true(choice(on_256, n, 256, 25e9, &spread) < 1.26);
  assert_true(choice(on_256, n, 256, 25e9 / 16, &slow) < 1.06);
  assert_true(slow < 0.5 * spread);
}

int main(void) {
  const struct CMUnitTest t[] = {cmocka_unit_test(test_memory), cmocka_unit_test(test_choice)};
  return cmocka_run_group_tests(t, NULL, NULL);
}
