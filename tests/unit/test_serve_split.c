// Phase splitting: the search against trying every pool, halves of a simulation against the whole, bounds on price and size.
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
#include "plan/serve/split.h"

enum { TYPES = 3, MOST = 6, REQUESTS = 60 };

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, expected %.12g +- %g", got, want, tol);
}
static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}
static double draw(uint64_t seed, int what, uint64_t i) { return iso_rng_unit(seed, ISO_RNG_TEST, (uint64_t)what, i); }

typedef struct speed {
  double base, tok, seq, ctx;
} speed;
static double step(const void *self, double tok, double tok_ctx, double seqs, double ctx) {
  const speed *s = self;
  (void)tok_ctx;
  return s->base + s->tok * tok + s->seq * seqs + s->ctx * ctx;
}

typedef struct world {
  speed speed[TYPES];
  iso_split_type type[TYPES];
  iso_serve_request at[REQUESTS];
  iso_serve_trace t;
  iso_split_opts o;
} world;

// Bursts of requests; types that differ in speed on prompts and on tokens, in cache and in price.
static void make(uint64_t seed, world *w) {
  *w = (world){.t = {w->at, REQUESTS}};
  double now = 0;
  for (int i = 0; i < REQUESTS; i++) {
    if (i % 10 == 0) now += 3 * draw(seed, 0, (uint64_t)i);
    now += 0.05 * draw(seed, 1, (uint64_t)i);
    w->at[i] = (iso_serve_request){i ? now : 0, 1 + (int32_t)(1500 * draw(seed, 2, (uint64_t)i)), 1 + (int32_t)(60 * draw(seed, 3, (uint64_t)i))};
  }
  for (int j = 0; j < TYPES; j++) {
    w->speed[j] =
        (speed){5e-3 + 5e-3 * draw(seed, 4, (uint64_t)j), 1e-4 * (0.3 + draw(seed, 5, (uint64_t)j)), 2e-3 * draw(seed, 6, (uint64_t)j), 1e-7};
    w->type[j].node =
        (iso_sim_node){.step = step, .self = &w->speed[j], .kv_tok = 6000 + 9000 * draw(seed, 7, (uint64_t)j), .max_seqs = 16, .chunk_tok = 2048};
    w->type[j].usd_h = 1 + floor(8 * draw(seed, 8, (uint64_t)j));
    w->type[j].watts = 100 + 900 * draw(seed, 9, (uint64_t)j);
    snprintf(w->type[j].name, sizeof w->type[j].name, "t%d", j);
  }
  w->o = (iso_split_opts){.slo_ttft_s = 0.12 + draw(seed, 10, 0),
                          .slo_itl_s = 0.006 + 0.03 * draw(seed, 11, 0),
                          .attain = 0.8 + 0.19 * draw(seed, 12, 0),
                          .transfer_s = 1e-3,
                          .transfer_s_per_tok = 1e-7,
                          .by_watts = seed % 2,
                          .most = MOST};
}

static int pools(const world *w, int a, int prompts, int b, int tokens, iso_sim_node *node) {
  for (int i = 0; i < prompts + tokens; i++) {
    node[i] = w->type[i < prompts ? a : b].node;
    node[i].role = !tokens ? ISO_SIM_BOTH : i < prompts ? ISO_SIM_PREFILL : ISO_SIM_DECODE;
    node[i].group = i >= prompts;
  }
  return prompts + tokens;
}

static iso_sim_result whole(const world *w, int a, int prompts, int b, int tokens) {
  iso_sim_node node[2 * MOST + 4];
  iso_sim_opts so = iso_sim_opts_default(node, pools(w, a, prompts, b, tokens, node));
  iso_sim_result r;
  iso_err e;
  so.slo_ttft_s = w->o.slo_ttft_s;
  so.slo_itl_s = w->o.slo_itl_s;
  so.transfer_s = w->o.transfer_s;
  so.transfer_s_per_tok = w->o.transfer_s_per_tok;
  ok(iso_sim_run(&w->t, &so, &r, &e), &e);
  return r;
}

static double price(const world *w, int a, int prompts, int b, int tokens) {
  const iso_split_type *p = &w->type[a], *q = &w->type[b];
  return w->o.by_watts ? prompts * p->watts + tokens * q->watts : prompts * p->usd_h + tokens * q->usd_h;
}

// Whole simulations of every pool, smallest first: the least prompt pool that keeps first tokens, it and two more, the least token pool behind each.
static bool try_all(const world *w, iso_split_choice *best) {
  bool any = false;
  for (int a = 0; a < TYPES; a++) {
    int few = 1;
    while (few <= MOST && !(whole(w, a, few, a, 1).ttft_attained >= w->o.attain)) few++;
    for (int b = 0; b < TYPES; b++)
      for (int p = few; p < few + 3 && p <= MOST; p++) {
        int t = 1;
        while (t <= MOST && !(whole(w, a, p, b, t).attained >= w->o.attain)) t++;
        if (t > MOST || (any && price(w, a, p, b, t) >= price(w, best->prompt, best->prompts, best->token, best->tokens))) continue;
        *best = (iso_split_choice){.prompt = a, .token = b, .prompts = p, .tokens = t};
        any = true;
      }
  }
  return any;
}

// Whether more replicas never attain less, which the search takes for granted.
static bool monotone(const world *w) {
  for (int a = 0; a < TYPES; a++) {
    double first = 0;
    for (int p = 1; p <= MOST; p++) {
      double now = whole(w, a, p, a, 1).ttft_attained;
      if (now < first) return false;
      first = now;
    }
    for (int b = 0; b < TYPES; b++)
      for (int p = 1; p <= MOST; p++) {
        double last = 0;
        for (int t = 1; t <= MOST; t++) {
          double both = whole(w, a, p, b, t).attained;
          if (both < last) return false;
          last = both;
        }
      }
  }
  return true;
}

static bool try_mixed(const world *w, int from, iso_split_choice *best) {
  bool any = false;
  for (int a = 0; a < TYPES; a++) {
    int p = from;
    while (p <= MOST && !(whole(w, a, p, a, 0).attained >= w->o.attain)) p++;
    if (p > MOST || (any && price(w, a, p, a, 0) >= price(w, best->prompt, best->prompts, best->prompt, 0))) continue;
    *best = (iso_split_choice){.prompt = a, .token = -1, .prompts = p};
    any = true;
  }
  return any;
}

// The same pools as trying all of them, or none where there are none; where a replica more can do harm (a burst is dealt out otherwise), pools
// that keep the limits and are no cheaper.
static void test_exhaustive(void **state) {
  (void)state;
  int found = 0, none = 0, odd = 0;
  for (uint64_t seed = 0; seed < 120; seed++) {
    world w;
    iso_split_choice want, got;
    iso_err e;
    make(seed, &w);
    iso_status st = iso_split_search(&w.t, w.type, TYPES, &w.o, &got, &e);
    if (!try_all(&w, &want)) {
      assert_int_equal(st, ISO_EBUDGET);
      none++;
      continue;
    }
    bool even = monotone(&w);
    if (!even) {
      odd++;
      if (st != ISO_OK) continue;
    }
    ok(st, &e);
    found += even;
    if (!even)
      assert_true(price(&w, got.prompt, got.prompts, got.token, got.tokens) >= price(&w, want.prompt, want.prompts, want.token, want.tokens));
    if (even && (got.prompt != want.prompt || got.token != want.token || got.prompts != want.prompts || got.tokens != want.tokens))
      fail_msg("seed %d: %d x %d + %d x %d, all tried: %d x %d + %d x %d", (int)seed, got.prompts, got.prompt, got.tokens, got.token, want.prompts,
               want.prompt, want.tokens, want.token);
    near(w.o.by_watts ? got.watts : got.usd_h, price(&w, got.prompt, got.prompts, got.token, got.tokens), 1e-9);
    iso_sim_result r = whole(&w, got.prompt, got.prompts, got.token, got.tokens);
    near(got.sim.attained, r.attained, 0);
    near(got.sim.e2e.p99, r.e2e.p99, 0);
  }
  print_message("%d with pools, %d without, %d where more is not always better\n", found, none, odd);
  assert_true(found > 20 && none > 3);
}

static void test_mixed(void **state) {
  (void)state;
  int found = 0;
  for (uint64_t seed = 0; seed < 60; seed++) {
    world w;
    iso_split_choice want, got;
    iso_err e;
    make(seed, &w);
    w.o.from = (int)(seed % 3);
    iso_status st = iso_split_mixed(&w.t, w.type, TYPES, &w.o, &got, &e);
    if (!try_mixed(&w, w.o.from > 1 ? w.o.from : 1, &want)) {
      assert_int_equal(st, ISO_EBUDGET);
      continue;
    }
    ok(st, &e);
    found++;
    assert_int_equal(got.prompt, want.prompt);
    assert_int_equal(got.prompts, want.prompts);
    assert_true(got.sim.attained >= w.o.attain);
    // Nothing is cheaper than the cheapest.
    double cost = w.o.by_watts ? got.watts : got.usd_h;
    w.o.below = cost;
    assert_int_equal(iso_split_mixed(&w.t, w.type, TYPES, &w.o, &got, &e), ISO_EBUDGET);
    w.o.below = cost * 1.0001;
    ok(iso_split_mixed(&w.t, w.type, TYPES, &w.o, &got, &e), &e);
    assert_int_equal(got.prompts, want.prompts);
  }
  assert_true(found > 20);
}

// Half a split behind the other gives the first and last tokens of both at once; a run that only asks for a share tells the same.
static void test_halves(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 30; seed++) {
    world w;
    iso_sim_node node[5];
    double first[REQUESTS], last[REQUESTS], alone[REQUESTS], behind[REQUESTS];
    iso_sim_result r, half;
    iso_err e;
    make(seed, &w);
    iso_sim_opts so = iso_sim_opts_default(node, pools(&w, 0, 2, 1, 3, node));
    so.slo_ttft_s = w.o.slo_ttft_s;
    so.slo_itl_s = w.o.slo_itl_s;
    so.transfer_s = w.o.transfer_s;
    so.first_s = first;
    so.finish_s = last;
    ok(iso_sim_run(&w.t, &so, &r, &e), &e);
    iso_sim_opts pre = so, post = so;
    pre.nodes = 2;
    pre.first_only = true;
    pre.first_s = alone;
    pre.finish_s = NULL;
    ok(iso_sim_run(&w.t, &pre, &half, &e), &e);
    near(half.ttft_attained, r.ttft_attained, 0);
    post.node = node + 2;
    post.nodes = 3;
    post.first_at_s = alone;
    post.first_s = NULL;
    post.finish_s = behind;
    ok(iso_sim_run(&w.t, &post, &half, &e), &e);
    near(half.attained, r.attained, 0);
    for (int i = 0; i < REQUESTS; i++)
      if (!isnan(last[i])) assert_true(alone[i] == first[i] && behind[i] == last[i]);
    for (double need = 0.05; need <= 1; need += 0.05) {
      so.need = post.need = need;
      ok(iso_sim_run(&w.t, &so, &half, &e), &e);
      assert_true((half.attained >= need) == (r.attained >= need));
      ok(iso_sim_run(&w.t, &post, &half, &e), &e);
      assert_true((half.attained >= need) == (r.attained >= need));
    }
    so.need = 2;
    assert_int_equal(iso_sim_run(&w.t, &so, &half, &e), ISO_EINVAL);
    pre.nodes = 5;
    assert_int_equal(iso_sim_run(&w.t, &pre, &half, &e), ISO_EINVAL);
    post.first_only = true;
    assert_int_equal(iso_sim_run(&w.t, &post, &half, &e), ISO_EINVAL);
  }
}

static void test_refusals(void **state) {
  (void)state;
  world w;
  iso_split_choice c;
  iso_err e;
  make(1, &w);
  w.o.from = -1;
  assert_int_equal(iso_split_mixed(&w.t, w.type, TYPES, &w.o, &c, &e), ISO_EINVAL);
  w.o.from = 0;
  w.o.below = NAN;
  assert_int_equal(iso_split_search(&w.t, w.type, TYPES, &w.o, &c, &e), ISO_EINVAL);
  w.o.below = 0;
  w.o.most = 1 << 20;
  assert_int_equal(iso_split_search(&w.t, w.type, TYPES, &w.o, &c, &e), ISO_EINVAL);
  w.o.most = MOST;
  w.t.n = 0;
  assert_int_equal(iso_split_search(&w.t, w.type, TYPES, &w.o, &c, &e), ISO_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_exhaustive), cmocka_unit_test(test_mixed), cmocka_unit_test(test_halves),
                                     cmocka_unit_test(test_refusals)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
