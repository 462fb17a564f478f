// Fleets: the integer program against enumeration, Melange's example and relations, phase splitting, plans as JSON.
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
#include "plan/serve/plan_json.h"

static void near(double got, double want, double tol) {
  if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, expected %.12g +- %g", got, want, tol);
}
static void ok(iso_status st, const iso_err *e) {
  if (st != ISO_OK) fail_msg("%s: %s", iso_status_name(st), e->msg);
}
static bool small(void) { return getenv("ISOFLOP_TEST_SMALL") != NULL; }

// A trace of the shared folder, or a skip.
static void load(const char *name, iso_serve_trace *t) {
  const char *shared = getenv("ISOFLOP_SHARED");
  char path[512];
  iso_err e;
  if (!shared) {
    print_message("ISOFLOP_SHARED is not set: skipped\n");
    skip();
  }
  snprintf(path, sizeof path, "%s/data/serving/%s", shared, name);
  ok(iso_serve_trace_load(path, t, &e), &e);
}

// Melange's README: throughputs A10G [[2,1],[5,2]], A100 [[20,20],[40,20]], workload [[.2,.1],[.5,.2]] at 30 requests/s, slice factor 1:
// three A10G and one A100-80GB at $6.70. Finer slices cannot cost more; any proportion costs least.
static void test_melange_example(void **state) {
  (void)state;
  const double share[4] = {0.2, 0.1, 0.5, 0.2}, tput[4][2] = {{2, 20}, {1, 20}, {5, 40}, {2, 20}}, cost[2] = {1.01, 3.67};
  double load_of[8], last = INFINITY;
  for (int i = 0; i < 8; i++) load_of[i] = 30 * share[i / 2] / tput[i / 2][i % 2];
  static iso_fleet_answer a;
  iso_err e;
  iso_fleet_ip p = {4, 2, load_of, cost, NULL, 1, 0};
  ok(iso_fleet_ip_solve(&p, &a, &e), &e);
  assert_int_equal(a.count[0], 3);
  assert_int_equal(a.count[1], 1);
  near(a.cost, 6.7, 1e-12);
  assert_true(a.optimal && a.gap == 0);
  near(a.single[0], 12 * 1.01, 1e-12);
  near(a.single[1], 2 * 3.67, 1e-12);
  for (int s = 1; s <= 64; s *= 2) {
    p.slices = s;
    ok(iso_fleet_ip_solve(&p, &a, &e), &e);
    assert_true(a.cost <= last + 1e-12);
    last = a.cost;
  }
  p.slices = 0;
  ok(iso_fleet_ip_solve(&p, &a, &e), &e);
  assert_true(a.cost <= last + 1e-12 && a.cost >= a.relaxed);
}

// ---- enumeration ----

typedef struct brute {
  const iso_fleet_ip *p;
  double used[4], best;
} brute;

static void deal_out(brute *b, int i, int j, int left) {
  const iso_fleet_ip *p = b->p;
  if (i == p->buckets) {
    double cost = 0;
    for (int k = 0; k < p->types; k++) {
      double n = ceil(b->used[k] - 1e-7);
      if (p->most && p->most[k] >= 0 && n > (double)p->most[k]) return;
      cost += n * p->cost[k];
    }
    b->best = fmin(b->best, cost);
    return;
  }
  if (j == p->types - 1) {
    double l = p->load[i * p->types + j];
    if (left > 0 && !(l < INFINITY)) return;
    double add = left > 0 ? l * left / p->slices : 0;
    b->used[j] += add;
    deal_out(b, i + 1, 0, p->slices);
    b->used[j] -= add;
    return;
  }
  for (int k = 0; k <= left; k++) {
    double l = p->load[i * p->types + j];
    if (k > 0 && !(l < INFINITY)) return;
    double add = k > 0 ? l * k / p->slices : 0;
    b->used[j] += add;
    deal_out(b, i, j + 1, left - k);
    b->used[j] -= add;
  }
}

static void random_program(uint64_t seed, int buckets, int types, double *load_of, double *cost, double scale) {
  for (int j = 0; j < types; j++) cost[j] = 0.5 + 5 * iso_rng_unit(seed, ISO_RNG_TEST, 9, (uint64_t)j);
  for (int i = 0; i < buckets * types; i++) {
    load_of[i] = scale * (0.05 + iso_rng_unit(seed, ISO_RNG_TEST, 10, (uint64_t)i)) / cost[i % types];
    if (i % types && iso_rng_unit(seed, ISO_RNG_TEST, 11, (uint64_t)i) < 0.15) load_of[i] = INFINITY;
  }
}

static void check_answer(const iso_fleet_ip *p, const iso_fleet_answer *a) {
  double used[4] = {0}, cost = 0;
  for (int i = 0; i < p->buckets; i++) {
    double sum = 0;
    for (int j = 0; j < p->types; j++) {
      double x = a->share[i][j];
      assert_true(x >= 0 && (x == 0 || p->load[i * p->types + j] < INFINITY));
      if (p->slices) near(x * p->slices, round(x * p->slices), 1e-6);
      if (x > 0) used[j] += x * p->load[i * p->types + j];
      sum += x;
    }
    near(sum, 1, 1e-9);
  }
  for (int j = 0; j < p->types; j++) {
    assert_true(used[j] <= (double)a->count[j] + 1e-6);
    cost += (double)a->count[j] * p->cost[j];
  }
  near(cost, a->cost, 1e-9);
  assert_true(a->bound <= a->cost + 1e-9 && a->relaxed <= a->cost + 1e-9);
}

// Every way of dealing out the slices: the search finds the least cost, with and without limits on the devices.
static void test_enumeration(void **state) {
  (void)state;
  static iso_fleet_answer a;
  int limited = 0, refused = 0;
  for (uint64_t seed = 0; seed < (small() ? 60 : 300); seed++) {
    double load_of[16], cost[4];
    int64_t most[4];
    int types = 2 + (int)(seed % 3), buckets = 2 + (int)(seed / 3 % 3);
    iso_err e;
    random_program(seed, buckets, types, load_of, cost, 4);
    for (int j = 0; j < types; j++) most[j] = seed % 2 ? -1 : (int64_t)iso_rng_below(seed, ISO_RNG_TEST, 12, (uint64_t)j, 4);
    iso_fleet_ip p = {buckets, types, load_of, cost, most, 1 + (int)(seed % 3), 0};
    brute b = {.p = &p, .best = INFINITY};
    deal_out(&b, 0, 0, p.slices);
    iso_status st = iso_fleet_ip_solve(&p, &a, &e);
    limited += seed % 2 == 0;
    if (!(b.best < INFINITY)) {
      assert_int_equal(st, ISO_EBUDGET);
      refused++;
      continue;
    }
    ok(st, &e);
    if (fabs(a.cost - b.best) > 1e-9 || !a.optimal)
      fail_msg("seed %d: cost %.9g, enumeration finds %.9g (optimal %d)", (int)seed, a.cost, b.best, a.optimal);
    check_answer(&p, &a);
  }
  print_message("%d with limits, %d of them without a fleet\n", limited, refused);
  assert_true(refused > 3);
}

// Two types in any proportion: for each number of the first, filling it with the buckets that it serves best relative to the second is optimal.
static void test_proportions(void **state) {
  (void)state;
  static iso_fleet_answer a;
  for (uint64_t seed = 0; seed < 200; seed++) {
    double load_of[40], cost[4], total = 0, best = INFINITY;
    int order[20], n = 20;
    iso_err e;
    random_program(seed, n, 2, load_of, cost, 1);
    for (int i = 0; i < n; i++) {
      if (!(load_of[2 * i + 1] < INFINITY)) load_of[2 * i + 1] = 3;
      order[i] = i;
      total += load_of[2 * i];
    }
    for (int i = 1; i < n; i++)
      for (int k = i; k > 0 && load_of[2 * order[k]] / load_of[2 * order[k] + 1] < load_of[2 * order[k - 1]] / load_of[2 * order[k - 1] + 1]; k--) {
        int x = order[k];
        order[k] = order[k - 1];
        order[k - 1] = x;
      }
    for (int first = 0; first <= (int)ceil(total); first++) {
      double room = first, rest = 0;
      for (int k = 0; k < n; k++) {
        double l = load_of[2 * order[k]], take = fmin(1, room / l);
        room -= take * l;
        rest += (1 - take) * load_of[2 * order[k] + 1];
      }
      best = fmin(best, first * cost[0] + ceil(rest - 1e-7) * cost[1]);
    }
    iso_fleet_ip p = {n, 2, load_of, cost, NULL, 0, 0};
    ok(iso_fleet_ip_solve(&p, &a, &e), &e);
    check_answer(&p, &a);
    near(a.cost, best, 1e-6);
    // The shadow price of a bucket is what serving it twice adds to the relaxation, to first order a bound from below.
    double sum = 0;
    for (int i = 0; i < n; i++) sum += a.price[i];
    near(sum, a.relaxed, 1e-6);
  }
}

static void test_ip_refusals(void **state) {
  (void)state;
  static iso_fleet_answer a;
  iso_err e;
  double load_of[4] = {1, 2, INFINITY, INFINITY}, cost[2] = {1, 2};
  iso_fleet_ip p = {2, 2, load_of, cost, NULL, 0, 0};
  assert_int_equal(iso_fleet_ip_solve(&p, &a, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "bucket 1"));
  load_of[2] = NAN;
  assert_int_equal(iso_fleet_ip_solve(&p, &a, &e), ISO_EINVAL);
  load_of[2] = load_of[3] = 1;
  cost[1] = 0;
  assert_int_equal(iso_fleet_ip_solve(&p, &a, &e), ISO_EINVAL);
  cost[1] = 2;
  // Stopped early: an answer, an honest gap, a bound below the optimum that the full search proves.
  double many[160], price[4];
  random_program(5, 40, 4, many, price, 1);
  iso_fleet_ip q = {40, 4, many, price, NULL, 3, 2};
  ok(iso_fleet_ip_solve(&q, &a, &e), &e);
  double rough = a.cost, bound = a.bound, gap = a.gap;
  check_answer(&q, &a);
  q.node_limit = 100000;
  ok(iso_fleet_ip_solve(&q, &a, &e), &e);
  print_message("2 nodes: cost %.4f, gap %.4f; %lld nodes: cost %.4f, gap %.4f\n", rough, gap, (long long)a.nodes, a.cost, a.gap);
  assert_true(rough >= a.cost - 1e-9 && bound <= a.cost + 1e-9);
  near(gap, (rough - bound) / rough, 1e-9);
}

// ---- from models to fleets ----

static int types_for(const char *model, const char *format, iso_fleet_type *type) {
  static const char *const name[] = {"l4", "a10g", "a100-80", "h100"};
  static const double usd_h[] = {0.70, 1.01, 3.67, 7.516};  // Melange's prices
  iso_serve_coef c = iso_calib_default().coef;
  int n = 0;
  for (int i = 0; i < 4; i++) {
    iso_serve_device d;
    iso_err e;
    ok(iso_serve_device_get(name[i], &d, &e), &e);
    d.usd_h = usd_h[i];
    if (iso_fleet_type_of(iso_serve_shape_find(model), &d, format, &c, 0, 4096, 0.9, &type[n], &e) == ISO_OK) n++;
  }
  return n;
}

// Rates: the limit holds and one more sequence breaks it (or the cache); a wider limit never serves less.
static void test_rates(void **state) {
  (void)state;
  iso_fleet_type type[4];
  iso_err e;
  assert_int_equal(types_for("llama-2-7b", "bf16", type), 4);
  const double size[][2] = {{25, 25}, {250, 250}, {1000, 200}, {2000, 2000}, {8000, 100}};
  for (int j = 0; j < 4; j++) {
    for (size_t i = 0; i < ISO_COUNT(size); i++) {
      double last = 0;
      for (double slo = 0.01; slo < 0.5; slo *= 1.5) {
        iso_fleet_rate r;
        ok(iso_fleet_rate_of(&type[j], size[i][0], size[i][1], INFINITY, slo, 0.9, &r, &e), &e);
        assert_true(r.req_per_s >= last - 1e-12);
        last = r.req_per_s;
        if (!(r.req_per_s > 0)) continue;
        assert_true(r.itl_s <= slo);
        near(r.req_per_s, r.seqs / (r.ttft_s + (size[i][1] - 1) * r.itl_s), 1e-9 * r.req_per_s);
        iso_serve_work more = iso_serve_mean_work(&type[j].server.setup, r.seqs + 1, size[i][0], size[i][1], true);
        if (!strcmp(r.bound, "itl")) assert_true(iso_serve_time_s(&more, &type[j].server.coef) > slo);
      }
    }
  }
  // Melange: low-end devices give more tokens per dollar on small requests, high-end ones on large requests.
  iso_fleet_rate r[4];
  for (int j = 0; j < 4; j++) ok(iso_fleet_rate_of(&type[j], 25, 25, INFINITY, 0.12, 0.9, &r[j], &e), &e);
  assert_true(r[0].usd_per_mtok < r[2].usd_per_mtok && r[0].usd_per_mtok < r[3].usd_per_mtok * 1.01);
  for (int j = 0; j < 4; j++) ok(iso_fleet_rate_of(&type[j], 2000, 2000, INFINITY, 0.12, 0.9, &r[j], &e), &e);
  print_message("2000 + 2000 tokens, $ per million: L4 %.2f, A10G %.2f, A100 %.2f, H100 %.2f\n", r[0].usd_per_mtok, r[1].usd_per_mtok,
                r[2].usd_per_mtok, r[3].usd_per_mtok);
  assert_true(r[2].usd_per_mtok < r[3].usd_per_mtok && r[3].usd_per_mtok < r[1].usd_per_mtok && r[1].usd_per_mtok < r[0].usd_per_mtok);
}

// Melange on a real trace at several rates: the mix never costs more than any one type, saves up to three quarters, and the simulation of the
// fleet meets the limits that it was planned for.
static void test_fleet(void **state) {
  (void)state;
  iso_serve_trace t;
  iso_fleet_type type[4];
  static iso_fleet_plan p;
  iso_err e;
  load("azure_llm_conv_2023.csv", &t);
  int n = types_for("llama-2-7b", "bf16", type);
  iso_fleet_opts o = iso_fleet_opts_default();
  o.slo_itl_s = 0.12;
  o.simulate = false;
  double most = 0, least_usd_s = INFINITY;
  for (double rate = 1; rate <= 32; rate *= 2) {
    o.rate = rate;
    ok(iso_fleet_plan_run(&t, type, n, &o, &p, &e), &e);
    assert_true(p.answer.optimal);
    print_message("%2.0f requests/s: $%.2f/h of", rate, p.answer.cost);
    for (int j = 0; j < n; j++) print_message(" %lld %s", (long long)p.answer.count[j], type[j].name);
    print_message("; saved against one type:");
    for (int j = 0; j < n; j++) {
      double saved = 1 - p.answer.cost / p.answer.single[j];
      print_message(" %.0f%%", 100 * saved);
      assert_true(saved >= -1e-9);
      most = fmax(most, saved);
    }
    print_message("\n");
    assert_true(p.answer.cost / rate <= least_usd_s * 1.35);
    least_usd_s = fmin(least_usd_s, p.answer.cost / rate);
    near(p.shadow_usd_h * rate, p.answer.relaxed, 0.02 * p.answer.relaxed);
  }
  assert_true(most > 0.65 && most < 0.85);  // published: up to 77%
  // Tighter limits cost more, and the low end leaves the fleet.
  o.rate = 16;
  double wide = 0;
  for (int k = 0; k < 2; k++) {
    o.slo_itl_s = k ? 0.04 : 0.12;
    ok(iso_fleet_plan_run(&t, type, n, &o, &p, &e), &e);
    if (k) assert_true(p.answer.cost > wide);
    wide = p.answer.cost;
  }
  // With arrivals simulated: met, and never cheaper than the program without head room.
  o.slo_itl_s = 0.12;
  o.slo_ttft_s = 5;
  o.attain = 0.95;
  o.rate = 8;
  ok(iso_fleet_plan_run(&t, type, n, &o, &p, &e), &e);
  double without = p.answer.cost;
  o.simulate = true;
  ok(iso_fleet_plan_run(&t, type, n, &o, &p, &e), &e);
  print_message("8 requests/s, first token in 5 s: $%.2f/h with head room %.2f, %.3f attained, p99 of the first token %.2f s\n", p.answer.cost,
                p.headroom, p.sim.attained, p.sim.ttft.p99);
  assert_true(p.met && p.sim.attained >= 0.95 && p.answer.cost >= without - 1e-9);
  // No type alone attains the share for less, with the head room that it needs for itself; the bound holds.
  for (int k = 0; k < 3; k++) {
    iso_fleet_plan one;
    o.slo_itl_s = k == 1 ? 0.05 : 0.12;
    o.slo_ttft_s = k == 2 ? 1 : 5;
    ok(iso_fleet_plan_run(&t, type, n, &o, &p, &e), &e);
    assert_true(p.met && p.answer.bound <= p.answer.cost + 1e-9 && p.answer.gap >= 0 && p.answer.gap < 1);
    for (int j = 0; j < n; j++)
      if (iso_fleet_plan_run(&t, &type[j], 1, &o, &one, &e) == ISO_OK && one.met) assert_true(p.answer.cost <= one.answer.cost + 1e-9);
  }
  o.slo_itl_s = 0.12;
  // Prompts that no type processes in time may be as many as may miss; they are served all the same.
  o.slo_ttft_s = 0.3;
  o.attain = 0.9;
  ok(iso_fleet_plan_run(&t, type, n, &o, &p, &e), &e);
  assert_true(p.met && p.over_share > 0 && p.over_share < 0.1 && p.sim.refused == 0);
  o.attain = 1 - p.over_share / 2;
  assert_int_equal(iso_fleet_plan_run(&t, type, n, &o, &p, &e), ISO_EBUDGET);
  assert_non_null(strstr(e.msg, "ttft"));
  o.slo_itl_s = 1e-4;
  assert_int_equal(iso_fleet_plan_run(&t, type, n, &o, &p, &e), ISO_EBUDGET);
  assert_non_null(strstr(e.msg, "itl"));
  for (int j = 0; j < n; j++) type[j].most = 0;
  o.slo_itl_s = 0.12;
  o.slo_ttft_s = 5;
  o.attain = 0.95;
  assert_int_equal(iso_fleet_plan_run(&t, type, n, &o, &p, &e), ISO_EBUDGET);
  iso_serve_trace_close(&t);
}

// Melange's tighter limit, 40 ms: the mix never costs more than a type alone and saves up to half (published: 9 to 68%, on other traces).
static void test_tight_limit(void **state) {
  (void)state;
  iso_serve_trace t;
  iso_fleet_type type[4];
  static iso_fleet_plan p;
  iso_err e;
  double most = 0;
  load("azure_llm_conv_2023.csv", &t);
  int n = types_for("llama-2-7b", "bf16", type);
  iso_fleet_opts o = iso_fleet_opts_default();
  o.slo_itl_s = 0.04;
  o.simulate = false;
  for (o.rate = 1; o.rate <= 32; o.rate *= 2) {
    ok(iso_fleet_plan_run(&t, type, n, &o, &p, &e), &e);
    for (int j = 0; j < n; j++) {
      if (!(p.answer.single[j] < INFINITY)) continue;
      assert_true(p.answer.cost <= p.answer.single[j] + 1e-9);
      most = fmax(most, 1 - p.answer.cost / p.answer.single[j]);
    }
  }
  print_message("40 ms a token: saved up to %.0f%%\n", 100 * most);
  assert_true(most > 0.4 && most <= 0.68);
  iso_serve_trace_close(&t);
}

// Requests in bursts of 64 at once, a minute apart.
static void bursts(iso_serve_request *at, int64_t n, int32_t prompt, int32_t other, int32_t output) {
  for (int64_t i = 0; i < n; i++) at[i] = (iso_serve_request){60.0 * (double)(i / 64), i % 2 ? other : prompt, output};
}

// The program sees the mean load; bursts need more. The fleet found keeps the limits, and one replica less does not.
static void test_bursts(void **state) {
  (void)state;
  iso_serve_request at[640];
  iso_serve_trace t = {at, 640};
  iso_fleet_type type[4];
  static iso_fleet_plan p;
  iso_err e;
  int n = types_for("llama-2-7b", "bf16", type);
  iso_fleet_opts o = iso_fleet_opts_default();
  o.slo_ttft_s = 1.5;
  o.slo_itl_s = 0.06;
  bursts(at, 640, 1000, 1000, 100);
  ok(iso_fleet_plan_run(&t, type, n, &o, &p, &e), &e);
  assert_true(p.met && !p.missed && p.sim.attained >= o.attain && p.answer.bound <= p.answer.cost);
  int64_t total = 0, most = -1;
  for (int j = 0; j < n; j++) total += p.answer.count[j];
  print_message("bursts of 64: %lld replicas at $%.2f/h, the steady load takes %.2f\n", (long long)total, p.answer.cost, p.answer.relaxed);
  assert_true(total >= 4);
  for (int j = 0; j < n; j++)
    if (p.answer.count[j] == total) {
      most = type[j].most = total - 1;
      ok(iso_fleet_plan_run(&t, &type[j], 1, &o, &p, &e), &e);
      assert_true(!p.met && p.sim.attained < o.attain && p.answer.count[0] <= total - 1);
      assert_string_equal(p.missed, "replicas");  // alone each would do
      near(p.alone, 1, 0);
      type[j].most = -1;
    }
  assert_true(most > 0);
}

// The mean size of a bucket is in time, the larger half of it is not on any type: no fleet keeps the first token's limit.
static void test_missed(void **state) {
  (void)state;
  iso_serve_request at[640];
  iso_serve_trace t = {at, 640};
  iso_fleet_type type[4];
  static iso_fleet_plan p;
  iso_err e;
  int n = types_for("llama-2-7b", "bf16", type);
  iso_fleet_opts o = iso_fleet_opts_default();
  o.slo_itl_s = 0.06;
  bursts(at, 640, 1050, 1990, 100);
  double mean = INFINITY, large = INFINITY;
  for (int j = 0; j < n; j++) {
    mean = fmin(mean, iso_sim_server_step(&type[j].server, 1520, 760, 0, 0));
    large = fmin(large, iso_sim_server_step(&type[j].server, 1990, 995, 0, 0));
  }
  o.slo_ttft_s = (mean + large) / 2;
  ok(iso_fleet_plan_run(&t, type, n, &o, &p, &e), &e);
  assert_true(!p.met);
  assert_string_equal(p.missed, "ttft");
  near(p.alone_ttft, 0.5, 0);
  near(p.alone_itl, 1, 0);
  json_t *j = iso_fleet_plan_json(&p, type, n);
  assert_string_equal(json_string_value(json_object_get(json_object_get(j, "infeasible"), "limit")), "ttft");
  json_decref(j);
}

// ---- phase splitting ----

static double along(const double *x, const double *y, int n, double v) {
  int i = 1;
  if (v <= x[0]) return y[0];
  while (i < n - 1 && v > x[i]) i++;
  return y[i - 1] + (y[i] - y[i - 1]) * (v - x[i - 1]) / (x[i] - x[i - 1]);
}

// BLOOM-176B on a DGX-A100, medians of Splitwise's profile (splitwise-sim, data/perf_model.csv), linear between.
static double bloom_step(const void *self, double tok, double tok_ctx, double seqs, double ctx) {
  static const double prompt[] = {0, 512, 1024, 2048, 4096, 8192}, prompt_s[] = {0.05, 0.1738, 0.2892, 0.5404, 1.348, 3.593};
  static const double batch[] = {1, 2, 8, 16, 32, 64}, token_s[] = {0.04876, 0.04999, 0.05295, 0.05734, 0.06538, 0.09658};
  (void)self;
  (void)tok_ctx;
  (void)ctx;
  return tok > 0 ? along(prompt, prompt_s, 6, tok + seqs) : along(batch, token_s, 6, seqs);
}

// The highest rate of a trace on so many replicas of a type: all for both phases (tokens 0), or split.
static double top_rate(const iso_serve_trace *t, const iso_split_type *type, const iso_split_opts *so, int prompts, int tokens) {
  iso_sim_node node[256];
  iso_err e;
  double rate;
  assert_true(prompts + tokens <= (int)ISO_COUNT(node));
  for (int i = 0; i < prompts + tokens; i++) {
    node[i] = type->node;
    node[i].role = tokens == 0 ? ISO_SIM_BOTH : i < prompts ? ISO_SIM_PREFILL : ISO_SIM_DECODE;
  }
  iso_sim_opts o = iso_sim_opts_default(node, prompts + tokens);
  o.slo_ttft_s = so->slo_ttft_s;
  o.slo_itl_s = so->slo_itl_s;
  o.transfer_s = tokens > 0 ? so->transfer_s : 0;
  ok(iso_sim_max_rate(t, &o, so->attain, &rate, &e), &e);
  return rate;
}

// Splitwise: separate pools need about half the machines of a mixed one under a limit on time per token of 1.5 times the uncontended one
// (published: 2.15 times the throughput on the same machines), and its pools of H100
// are 35 : 5 for coding, 25 : 15 for conversation (here A100, whose profile is at hand).
static void test_splitwise(void **state) {
  (void)state;
  static const struct {
    const char *file;
    double prompt_share, tol;
  } want[] = {{"azure_llm_code_2023.csv", 35.0 / 40, 0.08}, {"azure_llm_conv_2023.csv", 25.0 / 40, 0.11}};
  double shares[2];
  for (int k = 0; k < 2; k++) {
    iso_serve_trace t;
    iso_split_choice split, mixed;
    iso_err e;
    load(want[k].file, &t);
    double speed = small() ? 1 : 3;
    for (int64_t i = 0; i < t.n; i++) t.at[i].arrival_s /= speed;
    iso_split_type type = {
        "dgx-a100",
        {.step = bloom_step, .kv_tok = 120000, .max_seqs = 64, .chunk_tok = 2048, .idle_w = 504, .prefill_w = 3200, .decode_w = 2000},
        17.68,
        6500};
    iso_split_opts o = {.slo_ttft_s = 2, .slo_itl_s = 1.5 * 0.04876, .attain = 0.9, .transfer_s = 0.008};
    ok(iso_split_search(&t, &type, 1, &o, &split, &e), &e);
    ok(iso_split_mixed(&t, &type, 1, &o, &mixed, &e), &e);
    double share = (double)split.prompts / (split.prompts + split.tokens), gain = (double)mixed.prompts / (split.prompts + split.tokens);
    print_message("%s: %d prompt and %d token machines (%.3f, published %.3f), mixed %d: %.2f times as many\n", want[k].file, split.prompts,
                  split.tokens, share, want[k].prompt_share, mixed.prompts, gain);
    assert_true(split.sim.attained >= 0.9 && mixed.sim.attained >= 0.9);
    near(share, want[k].prompt_share, want[k].tol);
    shares[k] = share;
    near(gain, 2.15, 0.4);
    near(split.usd_h, 17.68 * (split.prompts + split.tokens), 1e-9);
    near(mixed.watts, 6500.0 * mixed.prompts, 1e-9);
    assert_true(split.sim.itl.p99 < mixed.sim.itl.p99);
    // On the same machines, so at the same cost and power.
    double apart = top_rate(&t, &type, &o, split.prompts, split.tokens), together = top_rate(&t, &type, &o, split.prompts + split.tokens, 0);
    print_message("  on %d machines %.2f requests/s apart, %.2f together: %.2f times\n", split.prompts + split.tokens, apart, together,
                  apart / together);
    // Published: 2.35 times, on which trace is not said where we read it; bursts of the coding trace part more.
    if (k)
      near(apart / together, 2.35, 0.25);
    else
      assert_true(apart / together > 2.35 && apart / together < 3.5);
    // One machine less in either pool misses: the sizes are least.
    o.most = split.prompts - 1;
    if (split.prompts > split.tokens) assert_int_equal(iso_split_search(&t, &type, 1, &o, &split, &e), ISO_EBUDGET);
    iso_serve_trace_close(&t);
  }
  assert_true(shares[0] > shares[1] + 0.2);
}

// Hardware ratios that Splitwise states: bandwidth 1.64, memory 1.00, power 1.75, cost 2.16 at its prices; iso-power 70, iso-cost 86 A100 for 40
// H100.
static void test_ratios(void **state) {
  (void)state;
  iso_serve_device a, h;
  iso_err e;
  ok(iso_serve_device_get("a100", &a, &e), &e);
  ok(iso_serve_device_get("h100", &h, &e), &e);
  near(h.mem_b_s / a.mem_b_s, 1.64, 0.005);
  near(h.mem_b / a.mem_b, 1, 0);
  near(h.prefill_w / a.prefill_w, 1.75, 1e-9);
  near(40 * h.prefill_w / a.prefill_w, 70, 1e-9);
  near(4.76 / 2.21, 2.16, 0.01);
  near(floor(40 * 4.76 / 2.21), 86, 0);
  near(70 * 17.68 / (40 * 38.08), 0.8, 0.02);  // "20% lower cost": the A100 of equal power
}

// The rate found attains the share; 4% more does not.
static void test_max_rate(void **state) {
  (void)state;
  iso_serve_request one = {0, 100, 20};
  iso_serve_trace from = {&one, 1}, t;
  iso_sim_node node = {.step = bloom_step, .kv_tok = 120000, .max_seqs = 64, .chunk_tok = 2048};
  iso_sim_opts o = iso_sim_opts_default(&node, 1);
  iso_err e;
  double rate;
  ok(iso_serve_trace_draw(&from, 4000, 1, 3, &t, &e), &e);
  o.slo_ttft_s = 0.5;
  o.slo_itl_s = 0.1;
  ok(iso_sim_max_rate(&t, &o, 0.9, &rate, &e), &e);
  iso_trace_stats s;
  ok(iso_serve_trace_stats(&t, &s, &e), &e);
  for (int k = 0; k < 2; k++) {
    double f = rate / s.rate * (k ? 1.04 : 1);
    iso_serve_trace fast = {malloc((size_t)t.n * sizeof *fast.at), t.n};
    iso_sim_result r;
    for (int64_t i = 0; i < t.n; i++) {
      fast.at[i] = t.at[i];
      fast.at[i].arrival_s /= f;
    }
    ok(iso_sim_run(&fast, &o, &r, &e), &e);
    if (k)
      assert_true(r.attained < 0.9);
    else
      assert_true(r.attained >= 0.9);
    iso_serve_trace_close(&fast);
  }
  o.slo_ttft_s = 1e-6;
  ok(iso_sim_max_rate(&t, &o, 0.9, &rate, &e), &e);
  near(rate, 0, 0);
  iso_serve_trace_close(&t);
}

// ---- JSON ----

static double num(const json_t *o, const char *path) {
  char buf[128];
  snprintf(buf, sizeof buf, "%s", path);
  for (char *p = strtok(buf, "/"); p; p = strtok(NULL, "/")) {
    o = json_object_get(o, p);
    if (!o) fail_msg("no \"%s\" in %s", p, path);
  }
  return iso_json_value(o);
}

static void test_infer_json(void **state) {
  (void)state;
  iso_infer_req q = iso_infer_req_default();
  iso_serve_device h100;
  iso_err e;
  json_t *j;
  q.shape = iso_serve_shape_find("llama3-70b");
  ok(iso_serve_device_get("h100", &h100, &e), &e);
  q.device = &h100;
  q.format = "fp8";
  q.prompt = 50000;
  q.output = 1000;
  q.slo_itl_s = 0.05;
  ok(iso_infer_plan_json(&q, &j, &e), &e);
  near(num(j, "devices"), 2, 0);  // 71 GB of weights leave no room for 51k tokens on one
  near(num(j, "memory/kv_b_per_seq"), 51000.0 * 163840, 1);
  double users = num(j, "memory/users");
  near(users, floor((0.9 * 80e9 - num(j, "memory/weight_b_per_device")) / (51000.0 * 163840 / 2)), 0);
  static const char *const key[] = {"ttft_s", "itl_s", "request_s", "tok_per_s"};
  for (size_t i = 0; i < ISO_COUNT(key); i++) {
    char lo[40], mid[40], hi[40];
    snprintf(lo, sizeof lo, "%s/lo", key[i]);
    snprintf(mid, sizeof mid, "%s/value", key[i]);
    snprintf(hi, sizeof hi, "%s/hi", key[i]);
    assert_true(num(j, lo) <= num(j, mid) && num(j, mid) <= num(j, hi));
  }
  assert_true(num(j, "itl_s/value") >= num(j, "itl_s/floor") && num(j, "ttft_s/value") >= num(j, "ttft_s/floor"));
  near(num(j, "tok_per_s/value"), users / num(j, "itl_s/value"), 1e-6);
  near(num(j, "usd_per_mtok_output/value"), 2 * 6.88 / 3600 * num(j, "itl_s/value") / users * 1e6, 1e-6);
  assert_true(num(j, "itl_s_per_extra_sequence/value") > 0);
  assert_true(num(j, "energy/choices/best_under_limit/itl_s") <= 0.05);
  assert_string_equal(json_string_value(json_object_get(json_object_get(j, "ttft_s"), "bound")), "compute");
  json_decref(j);
  q.ideal = true;
  q.batch = 1;
  ok(iso_infer_plan_json(&q, &j, &e), &e);
  near(num(j, "itl_s/value"), num(j, "itl_s/floor"), 0.05 * num(j, "itl_s/floor"));
  assert_true(isnan(num(j, "itl_s/hi")));  // null: peak rates have no interval
  json_decref(j);
  q.devices = 1;
  assert_int_equal(iso_infer_plan_json(&q, &j, &e), ISO_ENOMEM);
  assert_null(j);
  assert_non_null(strstr(e.msg, "GB"));
  q.devices = 0;
  q.prompt = NAN;
  assert_int_equal(iso_infer_plan_json(&q, &j, &e), ISO_EINVAL);
  q.prompt = 1e8;
  assert_int_equal(iso_infer_plan_json(&q, &j, &e), ISO_ENOMEM);
  // Experts in host memory.
  q = iso_infer_req_default();
  q.shape = iso_serve_shape_find("gpt-oss-120b");
  ok(iso_serve_device_get("h100", &h100, &e), &e);
  q.device = &h100;
  q.prompt = 98;
  q.output = 32;
  q.host_kv_b = 70e9;
  ok(iso_infer_plan_json(&q, &j, &e), &e);
  assert_true(num(j, "experts_in_host_memory/tok_per_s") > 0);
  json_decref(j);
  q.shape = iso_serve_shape_find("llama3-8b");
  assert_int_equal(iso_infer_plan_json(&q, &j, &e), ISO_EINVAL);
  assert_null(j);
}

static void test_serve_json(void **state) {
  (void)state;
  iso_serve_device dev[3];
  const iso_serve_device *d[3] = {&dev[0], &dev[1], &dev[2]};
  iso_serve_request sizes[] = {{0, 200, 100}, {0, 1000, 200}, {0, 3000, 400}};
  iso_serve_trace from = {sizes, 3}, t;
  iso_serve_req q = iso_serve_req_default();
  iso_err e;
  json_t *j;
  ok(iso_serve_device_get("a10g", &dev[0], &e), &e);
  ok(iso_serve_device_get("a100", &dev[1], &e), &e);
  ok(iso_serve_device_get("h100", &dev[2], &e), &e);
  ok(iso_serve_trace_draw(&from, 2000, 6, 2, &t, &e), &e);
  q.shape = iso_serve_shape_find("llama3-8b");
  q.device = d;
  q.n_devices = 3;
  q.trace = &t;
  q.fleet.slo_ttft_s = 2;
  q.fleet.slo_itl_s = 0.08;
  q.fleet.attain = 0.95;
  q.split = true;
  ok(iso_serve_plan_json(&q, &j, &e), &e);
  assert_true(json_is_true(json_object_get(j, "slo_met")));
  assert_true(num(j, "usd_h/lo") <= num(j, "usd_h/value") && num(j, "usd_h/value") <= num(j, "usd_h/hi"));
  assert_true(num(j, "usd_h_bound") <= num(j, "usd_h/value") + 1e-9 && num(j, "gap") >= 0);
  assert_true(num(j, "simulation/attained/slo") >= 0.95);
  const char *name;
  json_t *v;
  double cost = 0;
  json_object_foreach(json_object_get(j, "fleet"), name, v) {
    iso_serve_device x;
    const char *kind = strchr(name, 'x');  // "2xa100-80" or "a100-80"
    bool several = kind && name[0] >= '1' && name[0] <= '9';
    ok(iso_serve_device_get(several ? kind + 1 : name, &x, &e), &e);
    cost += (double)json_integer_value(v) * x.usd_h * (several ? atof(name) : 1);
  }
  near(cost, num(j, "usd_h/value"), 1e-9);
  assert_true(num(j, "phase_split/split/usd_h") > 0 && num(j, "phase_split/mixed/usd_h") > 0);
  json_decref(j);
  // A model that none of the devices holds, one that some do not.
  q.shape = iso_serve_shape_find("deepseek-v3");
  assert_int_equal(iso_serve_plan_json(&q, &j, &e), ISO_ENOMEM);
  assert_null(j);
  q.shape = iso_serve_shape_find("llama3-70b");
  q.split = false;
  q.fleet.slo_itl_s = 0.2;
  q.fleet.slo_ttft_s = 10;
  q.n_devices = 3;
  int64_t replica[3] = {1, 0, 0};
  q.replica_devices = replica;
  ok(iso_serve_plan_json(&q, &j, &e), &e);
  assert_non_null(json_object_get(json_object_get(j, "left_out"), "a10g"));
  assert_non_null(json_object_get(json_object_get(j, "fleet"), "2xh100-sxm"));
  json_decref(j);
  q.n_devices = 0;
  assert_int_equal(iso_serve_plan_json(&q, &j, &e), ISO_EINVAL);
  iso_serve_trace_close(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_melange_example), cmocka_unit_test(test_enumeration), cmocka_unit_test(test_proportions),
                                     cmocka_unit_test(test_ip_refusals),     cmocka_unit_test(test_rates),       cmocka_unit_test(test_fleet),
                                     cmocka_unit_test(test_bursts),          cmocka_unit_test(test_missed),      cmocka_unit_test(test_tight_limit),
                                     cmocka_unit_test(test_splitwise),       cmocka_unit_test(test_ratios),      cmocka_unit_test(test_max_rate),
                                     cmocka_unit_test(test_infer_json),      cmocka_unit_test(test_serve_json)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
