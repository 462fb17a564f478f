// The serving simulator: against a simulator that steps through every iteration, queueing theory, closed forms; traces and their statistics.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// clang-format off: cmocka.h needs the standard headers before it
#include <cmocka.h>
// clang-format on
#include "base/rng.h"
#include "plan/serve/calib.h"
#include "plan/serve/sim.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, expected %.12g +- %g", got, want, tol);
}
static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}
static bool small(void) { return getenv("ISOFLOP_TEST_SMALL") != NULL; }

// Seconds affine in everything: fixed, per prompt token, per prompt token x context, per sequence, per cached token.
typedef struct affine {
  double fixed, tok, tok_ctx, seq, ctx;
} affine;
static double affine_step(const void *self, double tok, double tok_ctx, double seqs, double ctx) {
  const affine *a = self;
  return a->fixed + tok * (a->tok + tok_ctx * a->tok_ctx) + seqs * a->seq + ctx * a->ctx;
}

// ---- a plain simulator of one node: every iteration, every count from scratch ----

typedef struct plain {
  int prompt, output, made, need;
  double arrive, first, last;
  int where;     // 0 not come, 1 waiting, 2 prefill, 3 running, 4 done
  int64_t rank;  // order in its list
} plain;

static int pick_ranked(const plain *q, int n, int where, bool latest) {
  int best = -1;
  for (int i = 0; i < n; i++)
    if (q[i].where == where && (best < 0 || (latest ? q[i].rank > q[best].rank : q[i].rank < q[best].rank))) best = i;
  return best;
}

static int count_in(const plain *q, int n, int where) {
  int c = 0;
  for (int i = 0; i < n; i++) c += q[i].where == where;
  return c;
}

static double held(const plain *q, int n, bool whole) {
  double s = 0;
  for (int i = 0; i < n; i++)
    if (q[i].where == 2 || q[i].where == 3) s += q[i].prompt + (whole ? q[i].output : q[i].made);
  return s;
}

static bool may_enter(const plain *q, int n, const iso_sim_node *c, int r) {
  int in = count_in(q, n, 2) + count_in(q, n, 3);
  if (in >= c->max_seqs) return false;
  if (c->reserve) return held(q, n, true) + q[r].prompt + q[r].output <= c->kv_tok;
  return held(q, n, false) + q[r].prompt + q[r].made + 1 + (in ? 0.01 * c->kv_tok : 0) <= c->kv_tok;
}

// Runs to the end; returns the number of preemptions. *gaps sums the times between tokens of a request.
static int64_t run_plain(plain *q, int n, const iso_sim_node *c, double *gaps) {
  double now = 0;
  int64_t stamp = 0, front = 0, preemptions = 0;
  *gaps = 0;
  for (;;) {
    int come = -1;
    for (int i = 0; i < n; i++)
      if (q[i].where == 0 && (come < 0 || q[i].arrive < q[come].arrive)) come = i;
    bool busy = count_in(q, n, 1) + count_in(q, n, 2) + count_in(q, n, 3) > 0;
    if (!busy && come < 0) return preemptions;
    if (!busy) now = fmax(now, q[come].arrive);
    for (int i = 0; i < n; i++) {
      if (q[i].where != 0 || q[i].arrive > now) continue;
      q[i].where = 1;
      q[i].rank = ++stamp;
    }
    while (!c->reserve && count_in(q, n, 2) + count_in(q, n, 3) > 1 && held(q, n, false) + count_in(q, n, 2) + count_in(q, n, 3) > c->kv_tok) {
      int r = count_in(q, n, 2) ? pick_ranked(q, n, 2, true) : pick_ranked(q, n, 3, true);
      q[r].need = q[r].prompt + q[r].made;
      q[r].where = 1;
      q[r].rank = --front;
      preemptions++;
    }
    // Prompt tokens of this iteration.
    int decoding = count_in(q, n, 3);
    double budget = fmax(1, (double)c->chunk_tok - (c->exclusive ? 0 : decoding)), tok = 0, weighted = 0;
    int64_t seen = INT64_MIN;
    while (tok < budget) {
      int r = -1;
      for (int i = 0; i < n; i++)
        if (q[i].where == 2 && q[i].rank > seen && (r < 0 || q[i].rank < q[r].rank)) r = i;
      if (r < 0) {
        r = pick_ranked(q, n, 1, false);
        if (r < 0 || !may_enter(q, n, c, r) || (c->exclusive && tok > 0 && tok + q[r].need > budget)) break;
        q[r].where = 2;
        q[r].rank = ++stamp;
      }
      seen = q[r].rank;
      double take = c->exclusive ? q[r].need : fmin(q[r].need, budget - tok), before = q[r].prompt + q[r].made - q[r].need;
      weighted += take * (before + take / 2);
      q[r].need -= (int)take;
      tok += take;
    }
    bool decode = decoding > 0 && (tok == 0 || !c->exclusive);
    double ctx = 0;
    for (int i = 0; i < n; i++)
      if (q[i].where == 3) ctx += q[i].prompt + q[i].made;
    now += c->step(c->self, tok, tok > 0 ? weighted / tok : 0, decode ? decoding : 0, decode ? ctx : 0);
    for (int i = 0; decode && i < n; i++) {
      if (q[i].where != 3) continue;
      *gaps += now - q[i].last;
      q[i].last = now;
      if (++q[i].made == q[i].output) q[i].where = 4;
    }
    int r;
    while ((r = pick_ranked(q, n, 2, false)) >= 0 && q[r].need == 0) {
      if (q[r].made == 0)
        q[r].first = now;
      else
        *gaps += now - q[r].last;
      q[r].last = now;
      q[r].where = ++q[r].made == q[r].output ? 4 : 3;
      q[r].rank = ++stamp;
    }
  }
}

static void compare(uint64_t seed, const iso_sim_node *node, int n, double rate, int64_t *preemptions) {
  iso_serve_request *at = calloc((size_t)n, sizeof *at);
  plain *q = calloc((size_t)n, sizeof *q);
  double *first = malloc((size_t)n * sizeof *first), *last = malloc((size_t)n * sizeof *last), now = 0, gaps = 0, sum = 0;
  for (int i = 0; i < n; i++) {
    now += -log(1 - iso_rng_unit(seed, ISO_RNG_TEST, 0, (uint64_t)i)) / rate;
    at[i] = (iso_serve_request){i ? now : 0, (int32_t)(1 + iso_rng_below(seed, ISO_RNG_TEST, 1, (uint64_t)i, 700)),
                                (int32_t)(1 + iso_rng_below(seed, ISO_RNG_TEST, 2, (uint64_t)i, 90))};
    q[i] = (plain){.prompt = at[i].prompt, .output = at[i].output, .need = at[i].prompt, .arrive = at[i].arrival_s};
  }
  int64_t want = run_plain(q, n, node, &gaps);
  iso_serve_trace t = {at, n};
  iso_sim_opts o = iso_sim_opts_default(node, 1);
  iso_sim_result r;
  iso_err e;
  o.first_s = first;
  o.finish_s = last;
  ok(iso_sim_run(&t, &o, &r, &e), &e);
  for (int i = 0; i < n; i++) {
    if (fabs(first[i] - q[i].first) > 1e-6 || fabs(last[i] - q[i].last) > 1e-6)
      fail_msg("seed %d, request %d: first %.9g, last %.9g; stepped through %.9g, %.9g", (int)seed, i, first[i], last[i], q[i].first, q[i].last);
    sum += last[i] - first[i];
  }
  assert_int_equal(r.preemptions, want);
  near(sum, gaps, 1e-6 * (1 + gaps));
  near(r.itl.mean * (r.output_tok - n), gaps, 1e-6 * (1 + gaps));  // every gap is in the histogram once
  assert_true(r.stretches < r.iterations);
  assert_true(r.kv_peak <= 1 + 1e-12);
  *preemptions += want;
  free(at);
  free(q);
  free(first);
  free(last);
}

// The same first and last token of every request, whatever the policy, at light and heavy load, with a cache that forces preemption.
static void test_against_plain(void **state) {
  (void)state;
  const affine a = {4e-3, 3e-5, 2e-9, 1e-4, 4e-7};
  int64_t preemptions = 0;
  int n = small() ? 60 : 250;
  for (uint64_t seed = 0; seed < (small() ? 8 : 24); seed++) {
    iso_sim_node node = {.step = affine_step,
                         .self = &a,
                         .kv_tok = seed % 3 == 0 ? 2000 : 20000,
                         .max_seqs = seed % 5 == 0 ? 7 : 64,
                         .chunk_tok = seed % 2 ? 512 : 190,
                         .exclusive = seed % 4 >= 2,
                         .reserve = seed % 8 >= 6};
    compare(seed, &node, n, seed % 6 < 3 ? 4 : 30, &preemptions);
  }
  print_message("%lld preemptions\n", (long long)preemptions);
  assert_true(preemptions > (small() ? 0 : 20));
}

// One server, one sequence, one token: M/D/1. Mean wait = rho S / (2 (1 - rho)) (Pollaczek-Khinchine), 3%.
static void test_queue(void **state) {
  (void)state;
  const affine a = {0.01, 0, 0, 0, 0};
  iso_sim_node node = {.step = affine_step,
                       .self = &a,
                       .kv_tok = 1000,
                       .max_seqs = 1,
                       .chunk_tok = 100,
                       .exclusive = true,
                       .idle_w = 10,
                       .prefill_w = 100,
                       .decode_w = 50};
  iso_serve_request one = {0, 100, 1};
  iso_serve_trace from = {&one, 1}, t;
  iso_err e;
  for (double rho = 0.3; rho < 0.9; rho += 0.25) {
    iso_sim_opts o = iso_sim_opts_default(&node, 1);
    iso_sim_result r;
    ok(iso_serve_trace_draw(&from, small() ? 100000 : 400000, rho / 0.01, 7, &t, &e), &e);
    ok(iso_sim_run(&t, &o, &r, &e), &e);
    double wait = r.ttft.mean - 0.01, want = rho * 0.01 / (2 * (1 - rho));
    print_message("rho %.2f: mean wait %.5f s, %.5f by theory\n", rho, wait, want);
    near(wait / want, 1, small() ? 0.06 : 0.03);
    near(r.busy, rho, 0.01);
    near(r.prefill_j, (double)t.n * 0.01 * 100, 1e-6 * r.prefill_j);
    near(r.idle_j, (r.span_s - (double)t.n * 0.01) * 10, 1e-6 * r.idle_j);
    near(r.decode_j, 0, 0);
    iso_serve_trace_close(&t);
  }
}

// A burst of equal requests in batches of 32: prompts in one iteration, then 63 decode iterations, again and again.
static void test_burst(void **state) {
  (void)state;
  const affine a = {2e-3, 1e-5, 0, 1e-4, 1e-7};
  iso_sim_node node = {
      .step = affine_step, .self = &a, .kv_tok = 1e9, .max_seqs = 32, .chunk_tok = 32 * 128, .exclusive = true, .prefill_w = 300, .decode_w = 200};
  iso_serve_request at[320];
  for (int i = 0; i < 320; i++) at[i] = (iso_serve_request){0, 128, 64};
  iso_serve_trace t = {at, 320};
  iso_sim_opts o = iso_sim_opts_default(&node, 1);
  iso_sim_result r;
  iso_err e;
  o.slo_ttft_s = 1;
  double prefill = 2e-3 + 32 * 128 * 1e-5, decode = 0;
  for (int i = 0; i < 63; i++) decode += 2e-3 + 32 * 1e-4 + 1e-7 * 32 * (129 + i);
  ok(iso_sim_run(&t, &o, &r, &e), &e);
  near(r.span_s, 10 * (prefill + decode), 1e-9);
  near(r.tok_per_s, 320 * 64 / r.span_s, 1e-6);
  near(r.prefill_j, 10 * prefill * 300, 1e-6);
  near(r.decode_j, 10 * decode * 200, 1e-6);
  near(r.j_per_tok, (r.prefill_j + r.decode_j) / (320 * 64), 1e-12);
  near(r.tpot.mean, decode / 63, 1e-9);
  near(r.itl.p50 / (decode / 63), 1, 0.02);
  near(r.itl.max, 2e-3 + 32 * 1e-4 + 1e-7 * 32 * (129 + 62), 1e-12);
  near(r.busy, 1, 1e-9);
  int in_time = 0;
  for (int k = 0; k < 10; k++) in_time += 32 * (k * (prefill + decode) + prefill <= 1);
  near(r.attained, in_time / 320.0, 1e-12);
}

// Two pools: a request alone takes prefill, transfer and one decode iteration per further token; groups account for their tokens.
static void test_phases(void **state) {
  (void)state;
  const affine a = {2e-3, 1e-5, 0, 0, 0}, b = {5e-3, 1e-5, 0, 0, 0};
  iso_sim_node node[3] = {{.step = affine_step, .self = &a, .kv_tok = 1e5, .max_seqs = 8, .chunk_tok = 4096, .role = ISO_SIM_PREFILL},
                          {.step = affine_step, .self = &b, .kv_tok = 1e5, .max_seqs = 8, .chunk_tok = 4096, .role = ISO_SIM_DECODE, .group = 1},
                          {.step = affine_step, .self = &b, .kv_tok = 1e5, .max_seqs = 8, .chunk_tok = 4096, .role = ISO_SIM_DECODE, .group = 1}};
  iso_serve_request at[3] = {{0, 1000, 11}, {10, 500, 1}, {20, 99999, 1}};
  iso_serve_trace t = {at, 3};
  double first[3], last[3];
  iso_sim_opts o = iso_sim_opts_default(node, 3);
  iso_sim_result r;
  iso_err e;
  o.transfer_s = 0.001;
  o.transfer_s_per_tok = 1e-6;
  o.first_s = first;
  o.finish_s = last;
  ok(iso_sim_run(&t, &o, &r, &e), &e);
  near(first[0], 0.012, 1e-12);
  near(last[0], 0.012 + 0.002 + 10 * 0.005, 1e-12);
  near(last[1], 10.007, 1e-12);
  near(r.itl.max, 0.002 + 0.005, 1e-12);  // the second token waits for the cache
  near(r.group_tok[0], 3, 0);
  near(r.group_tok[1], 10, 0);
  near(r.output_tok, 13, 0);
  // Larger than a cache: refused, counted as a miss, NaN.
  at[2].prompt = 200000;
  ok(iso_sim_run(&t, &o, &r, &e), &e);
  assert_int_equal(r.refused, 1);
  assert_true(isnan(first[2]) && isnan(last[2]));
  near(r.attained, 2.0 / 3, 1e-12);
  node[0].role = ISO_SIM_BOTH;
  assert_int_equal(iso_sim_run(&t, &o, &r, &e), ISO_EINVAL);
}

static int odd_group(void *self, const iso_serve_request *r) {
  (void)self;
  return r->prompt % 2;
}
static double bad_step(const void *self, double tok, double tok_ctx, double seqs, double ctx) {
  (void)self;
  return tok + tok_ctx + seqs + ctx > 500 ? NAN : 0.01;
}

// Routing: by group as told, within a group to the node that owes least; four nodes carry four times what one does.
static void test_nodes(void **state) {
  (void)state;
  const affine a = {5e-3, 2e-5, 0, 1e-4, 1e-7};
  iso_sim_node node[5];
  for (int i = 0; i < 5; i++)
    node[i] = (iso_sim_node){.step = affine_step,
                             .self = &a,
                             .kv_tok = 60000,
                             .max_seqs = 48,
                             .chunk_tok = 1024,
                             .group = i == 4,
                             .idle_w = 1,
                             .prefill_w = 2,
                             .decode_w = 3};
  iso_serve_request sizes[2] = {{0, 600, 120}, {0, 301, 60}};
  iso_serve_trace from = {sizes, 2}, t;
  iso_err e;
  iso_sim_result one, four, r;
  iso_sim_opts o = iso_sim_opts_default(node, 1);
  ok(iso_serve_trace_draw(&from, 4000, 8, 1, &t, &e), &e);
  o.slo_ttft_s = 1;
  ok(iso_sim_run(&t, &o, &one, &e), &e);
  iso_serve_trace_close(&t);
  ok(iso_serve_trace_draw(&from, 16000, 32, 1, &t, &e), &e);
  o.nodes = 4;
  ok(iso_sim_run(&t, &o, &four, &e), &e);
  near(four.tok_per_s / one.tok_per_s, 4, 0.1);
  near(four.ttft.mean / one.ttft.mean, 1, 0.35);
  assert_true(four.ttft.p99 < one.ttft.p99 * 1.2);
  o.nodes = 5;
  o.pick = odd_group;
  ok(iso_sim_run(&t, &o, &r, &e), &e);
  double even = 0;
  for (int64_t i = 0; i < t.n; i++) even += t.at[i].prompt % 2 == 0;
  near(r.group_requests[0], even, 0);
  near(r.group_requests[1], (double)t.n - even, 0);
  near(r.group_tok[0] + r.group_tok[1], r.output_tok, 1e-6);
  near(r.idle_j + r.prefill_j + r.decode_j, r.j_per_tok * r.output_tok, 1e-6 * r.j_per_tok * r.output_tok);
  o.nodes = 4;  // group 1 is gone
  assert_int_equal(iso_sim_run(&t, &o, &r, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "group 1"));
  o.pick = NULL;
  node[2].step = bad_step;
  assert_int_equal(iso_sim_run(&t, &o, &r, &e), ISO_ENUM);
  assert_non_null(strstr(e.msg, "node 2"));
  node[2].step = affine_step;
  node[1].kv_tok = NAN;
  assert_int_equal(iso_sim_run(&t, &o, &r, &e), ISO_EINVAL);
  iso_serve_trace_close(&t);
}

// A million requests on one node of a real step function. The rate is printed, not judged: no test reads a clock to pass.
static void test_million(void **state) {
  (void)state;
  static const iso_serve_request sizes[] = {{0, 374, 44}, {0, 396, 109}, {0, 1020, 129}, {0, 1154, 211}, {0, 4142, 601}, {0, 91, 16}, {0, 2400, 300}};
  iso_serve_trace from = {(iso_serve_request *)(uintptr_t)sizes, ISO_COUNT(sizes)}, t;
  iso_sim_server s;
  iso_serve_format f;
  iso_serve_device d;
  iso_err e;
  const iso_serve_shape *m = iso_serve_shape_find("llama-3.1-8b");
  ok(iso_serve_device_get("h100", &d, &e), &e);
  ok(iso_serve_format_get("fp8", m, &f, &e), &e);
  ok(iso_serve_setup_init(&s.setup, m, &d, &f, iso_serve_layout_tp(m, 1), &e), &e);
  s.coef = iso_calib_default().coef;
  iso_sim_node node;
  iso_sim_result r;
  ok(iso_sim_node_of(&s, 0.9, &node, &e), &e);
  iso_sim_opts o = iso_sim_opts_default(&node, 1);
  ok(iso_serve_trace_draw(&from, small() ? 50000 : 1000000, 18, 1, &t, &e), &e);
  clock_t before = clock();
  ok(iso_sim_run(&t, &o, &r, &e), &e);
  double cpu_s = (double)(clock() - before) / CLOCKS_PER_SEC;
  print_message("%lld requests, %lld iterations in %lld stretches, %.2f s: %.0f requests/s\n", (long long)t.n, (long long)r.iterations,
                (long long)r.stretches, cpu_s, (double)t.n / cpu_s);
  assert_int_equal(r.refused, 0);
  assert_true(r.stretches < r.iterations && r.iterations > t.n);
  near(r.e2e.mean * (double)t.n, r.ttft.mean * (double)t.n + r.itl.mean * (r.output_tok - (double)t.n), 1e-6 * r.e2e.mean * (double)t.n);
  near(r.group_tok[0], r.output_tok, 0.5);
  assert_true(r.busy > 0.5 && r.busy <= 1 + 1e-9);
  iso_serve_trace_close(&t);
}

// Published statistics of the Azure traces (Splitwise, recomputed from the files).
static void test_azure(void **state) {
  (void)state;
  static const struct {
    const char *file;
    int64_t n;
    double span, rate, in[3], out[3], cv;
  } want[] = {{"azure_llm_code_2023.csv", 8819, 3435.9, 2.567, {1469, 2047.85, 7436}, {13, 27.88, 251}, 13.15},
              {"azure_llm_conv_2023.csv", 19366, 3501.7, 5.530, {1020, 1154.70, 4142}, {129, 211.13, 601}, 1.094}};
  const char *shared = getenv("ISOFLOP_SHARED");
  if (!shared) {
    print_message("ISOFLOP_SHARED is not set: skipped\n");
    skip();
  }
  for (int k = 0; k < 2; k++) {
    char path[512];
    iso_serve_trace t;
    iso_trace_stats s;
    iso_err e;
    iso_bucket b[ISO_BUCKETS_MAX];
    int n;
    double share = 0, in = 0, out = 0;
    snprintf(path, sizeof path, "%s/data/serving/%s", shared, want[k].file);
    ok(iso_serve_trace_load(path, &t, &e), &e);
    ok(iso_serve_trace_stats(&t, &s, &e), &e);
    assert_int_equal(s.n, want[k].n);
    near(s.span_s, want[k].span, 0.05);
    near(s.rate, want[k].rate, 0.0005);
    near(s.prompt_median, want[k].in[0], 0);
    near(s.prompt_mean, want[k].in[1], 0.005);
    near(s.prompt_p99, want[k].in[2], 0.5);
    near(s.output_median, want[k].out[0], 0);
    near(s.output_mean, want[k].out[1], 0.005);
    near(s.output_p99, want[k].out[2], 0.5);
    near(s.gap_cv, want[k].cv, 0.005);
    ok(iso_serve_buckets(&t, b, &n, &e), &e);
    for (int i = 0; i < n; i++) {
      share += b[i].share;
      in += b[i].share * b[i].prompt;
      out += b[i].share * b[i].output;
      assert_int_equal(iso_bucket_cell(b[i].prompt, b[i].output), b[i].cell);
    }
    near(share, 1, 1e-12);
    near(in, s.prompt_mean, 1e-9);
    near(out, s.output_mean, 1e-9);
    iso_serve_trace_close(&t);
  }
}

static iso_status parse(const char *text, iso_serve_trace *t, iso_err *e) { return iso_serve_trace_parse(text, strlen(text), "trace", t, e); }
static void refused(const char *text, const char *word) {
  iso_serve_trace t;
  iso_err e = {0};
  assert_int_equal(parse(text, &t, &e), ISO_EFORMAT);
  if (!strstr(e.msg, word)) fail_msg("\"%s\" does not name \"%s\"", e.msg, word);
  assert_null(t.at);
}

static void test_traces(void **state) {
  (void)state;
  iso_serve_trace t, d;
  iso_trace_stats s;
  iso_err e;
  // Leap day, end of the year, a fraction, CRLF, no final line break, out of order.
  ok(parse("TIMESTAMP,ContextTokens,GeneratedTokens\r\n2024-02-29 23:59:59.5,10,2\r\n2024-03-01 00:00:00.25,20,3\r\n2024-02-28 23:59:59.5,30,4", &t,
           &e),
     &e);
  assert_int_equal(t.n, 3);
  near(t.at[0].arrival_s, 0, 0);
  assert_int_equal(t.at[0].prompt, 30);
  near(t.at[1].arrival_s, 86400, 1e-6);
  near(t.at[2].arrival_s, 86400.75, 1e-6);
  ok(iso_serve_trace_draw(&t, 20000, 50, 3, &d, &e), &e);
  ok(iso_serve_trace_stats(&d, &s, &e), &e);
  near(s.rate, 50, 1.5);
  near(s.gap_cv, 1, 0.03);
  near(s.prompt_mean, 20, 0.3);
  iso_serve_trace_close(&d);
  assert_int_equal(iso_serve_trace_draw(&t, 10, -1, 3, &d, &e), ISO_EINVAL);
  iso_serve_trace_close(&t);
  ok(parse("arrival_s,prompt_tok,output_tok,note\n0.5,1,1,x\n2.5,7,9,\"a, b\"\n", &t, &e), &e);
  near(t.at[1].arrival_s, 2, 1e-12);
  iso_serve_trace_close(&t);
  refused("TIMESTAMP,ContextTokens\n", "GeneratedTokens");
  refused("TIMESTAMP,ContextTokens,GeneratedTokens\n", "no request");
  refused("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", "yesterday");
  refused("TIMESTAMP,ContextTokens,GeneratedTokens\n2024-13-01 00:00:00,1,1\n", "2024-13-01");
  refused("TIMESTAMP,ContextTokens,GeneratedTokens\nnan,1,1\n", "nan");
  refused("TIMESTAMP,ContextTokens,GeneratedTokens\n1,0,1\n", "line 2, column 2 (ContextTokens): '0'");
  refused("TIMESTAMP,ContextTokens,GeneratedTokens\n1,5,-3\n", "(GeneratedTokens): '-3'");
  refused("TIMESTAMP,ContextTokens,GeneratedTokens\n1,5,99999999999999999999\n", "GeneratedTokens");
  refused("TIMESTAMP,timestamp\n", "both called TIMESTAMP");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_plain), cmocka_unit_test(test_queue), cmocka_unit_test(test_burst),
                                     cmocka_unit_test(test_phases),        cmocka_unit_test(test_nodes), cmocka_unit_test(test_million),
                                     cmocka_unit_test(test_azure),         cmocka_unit_test(test_traces)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
