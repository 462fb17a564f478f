// Budgets: parsing against hand-written values, round trips, and cost algebra against brute force over sets of leaves.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>  // needs the ones above
// clang-format on
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "cost/budget.h"

static void parses(void **state) {
  (void)state;
  iso_budget b;
  iso_err e;
  assert_int_equal(iso_budget_parse("5m,600MiB", &b, &e), ISO_OK);
  assert_true(b.wall == 300 && b.peak_ram == 600 * 1048576.0 && isinf(b.energy) && isinf(b.train_flop));
  assert_int_equal(iso_budget_parse(" train_flop=5e17, wall = 90s,peak_ram=400MiB,energy=2kJ,usd=$0.10 ", &b, &e), ISO_OK);
  assert_true(b.train_flop == 5e17 && b.wall == 90 && b.peak_ram == 419430400 && b.energy == 2000 && b.usd == 0.10);
  assert_int_equal(iso_budget_parse("2e14flop,2Wh,5gCO2e,$3,300Mtok,instr=1e12,disk=1GB,cpu=1h30m,moved=4GiB,infer_flop=1PF", &b, &e), ISO_OK);
  assert_true(b.train_flop == 2e14 && b.energy == 7200 && b.co2 == 5 && b.usd == 3 && b.tok == 3e8 && b.instr == 1e12);
  assert_true(b.disk == 1e9 && b.cpu == 5400 && b.moved == 4294967296.0 && b.infer_flop == 1e15 && isinf(b.wall) && isinf(b.peak_ram));
  assert_true(iso_budget_is_bounded(&b));
  assert_int_equal(iso_budget_parse("$2.5M,wall=30d", &b, &e), ISO_OK);
  assert_true(b.usd == 2.5e6 && b.wall == 30 * 86400.0);
  b = iso_budget_none();
  assert_false(iso_budget_is_bounded(&b));
}

static void refuses(void **state) {
  (void)state;
  static const char *const BAD[][2] = {{"", "empty"},
                                       {"5m,", "empty"},
                                       {",5m", "empty"},
                                       {"5m,90s", "twice"},
                                       {"5m,wall=90s", "twice"},
                                       {"wall=1s,wall=1s", "twice"},
                                       {"5parsec", "unknown unit"},
                                       {"wall=5GiB", "unit"},
                                       {"5", "without a unit"},
                                       {"$3k5", "without a unit"},
                                       {"$3x", "a dollar amount"},
                                       {"0s", "more than zero"},
                                       {"wall=0", "more than zero"},
                                       {"-5s", "negative"},
                                       {"wall=-5s", "negative"},
                                       {"wall=", "no number"},
                                       {"=5s", "unknown resource"},
                                       {"wall=nan", "number"},
                                       {"wall=inf", "number"},
                                       {"wall=1e999s", "finite"},
                                       {"wal=5s", "unknown resource"}};
  for (size_t i = 0; i < ISO_COUNT(BAD); i++) {
    iso_budget b = iso_budget_none();
    b.wall = 77;
    iso_err e = {0};
    assert_int_equal(iso_budget_parse(BAD[i][0], &b, &e), ISO_EINVAL);
    if (!strstr(e.msg, BAD[i][1])) fail_msg("\"%s\": %s", BAD[i][0], e.msg);
    assert_true(b.wall == 77);  // untouched
  }
  iso_budget b;
  iso_err e;
  iso_budget_parse("wal=5s", &b, &e);
  assert_string_equal(e.hint, "did you mean \"wall\"?");
  iso_budget_parse("train-flop=5", &b, &e);
  assert_string_equal(e.hint, "did you mean \"train_flop\"?");
  char big[400];
  memset(big, '1', sizeof big - 1);
  big[399] = 0;
  assert_int_equal(iso_budget_parse(big, &b, &e), ISO_EINVAL);
}

static void prints_what_it_parses(void **state) {
  (void)state;
  iso_err e;
  iso_str s = {0};
  iso_budget b;
  iso_budget_parse("600MiB,5m,1.5e17flop", &b, &e);
  iso_budget_print(&b, &s);
  assert_string_equal(s.p, "train_flop=1.5e17flop,wall=300s,peak_ram=600MiB");
  iso_str_free(&s);
  for (int t = 0; t < 2000; t++) {
    b = iso_budget_none();
    for (int r = 0; r < ISO_RES_COUNT; r++) {
      double u = iso_rng_unit(t, ISO_RNG_TEST, 0, r), v = exp(iso_rng_normal(t, ISO_RNG_TEST, 1, r) * 15);
      if (u < 0.3) *iso_budget_at(&b, (iso_res)r) = u < 0.15 ? v : ceil(v);
    }
    iso_budget_print(&b, &s);
    iso_budget c = iso_budget_none(), d = iso_budget_none();
    if (iso_budget_is_bounded(&b))
      assert_int_equal(iso_budget_parse(s.p, &c, &e), ISO_OK);
    else
      assert_string_equal(s.p, "none");
    assert_memory_equal(&b, &c, sizeof b);
    json_t *j = iso_budget_json(&b);
    assert_int_equal(iso_budget_from_json(j, "budget", &d, &e), ISO_OK);
    assert_memory_equal(&b, &d, sizeof b);
    json_decref(j);
    iso_str_free(&s);
  }
}

static void json(void **state) {
  (void)state;
  static const struct {
    const char *text;
    iso_status st;
  } CASES[] = {{"{\"wall\":\"5m\",\"energy\":null}", ISO_OK},
               {"{\"wal\":1}", ISO_EFORMAT},
               {"{\"wall\":0}", ISO_EINVAL},
               {"{\"wall\":-1}", ISO_EINVAL},
               {"{\"wall\":[1]}", ISO_EFORMAT},
               {"[1]", ISO_EFORMAT},
               {"{\"wall\":\"5GiB\"}", ISO_EINVAL}};
  iso_err e;
  for (size_t i = 0; i < ISO_COUNT(CASES); i++) {
    json_t *j;
    iso_budget b;
    assert_int_equal(iso_json_parse(CASES[i].text, strlen(CASES[i].text), "t", &j, &e), ISO_OK);
    assert_int_equal(iso_budget_from_json(j, "t", &b, &e), CASES[i].st);
    if (CASES[i].st == ISO_OK) assert_true(b.wall == 300 && isinf(b.energy));
    json_decref(j);
  }
  iso_cost c = iso_cost_unknown(), d;
  c.wall = iso_est_exact(12.5);
  c.energy = iso_est_range(1, 2, 3.25);
  json_t *j = iso_cost_json(&c);
  char *text = json_dumps(j, JSON_COMPACT);
  assert_non_null(strstr(text, "\"wall\":12.5"));
  assert_non_null(strstr(text, "\"energy\":[1.0,2.0,3.25]"));
  assert_non_null(strstr(text, "\"instr\":null"));
  free(text);
  assert_int_equal(iso_cost_from_json(j, "c", &d, &e), ISO_OK);
  assert_true(d.wall.hi == 12.5 && d.energy.lo == 1 && d.energy.mean == 2 && d.energy.hi == 3.25 && isnan(d.instr.mean) && isnan(d.cpu.lo));
  json_object_set_new(j, "wall", json_pack("[f,f,f]", 3.0, 2.0, 1.0));
  assert_int_equal(iso_cost_from_json(j, "c", &d, &e), ISO_EFORMAT);
  json_decref(j);
}

// --- algebra ---

enum { LEAVES = 11 };
typedef struct tree {
  iso_cost leaf[LEAVES];
  bool beside[LEAVES][LEAVES];  // the lowest common ancestor is parallel
} tree;

// A random series-parallel tree over leaves [a, b): returns its cost by the functions under test, fills `beside` for the oracle.
static iso_cost grow(tree *t, int a, int b, uint64_t seed) {
  if (b - a == 1) {
    iso_cost *c = &t->leaf[a];
    for (int r = 0; r < ISO_RES_COUNT; r++) {
      double m = (double)iso_rng_below(seed, ISO_RNG_TEST, (uint64_t)a, (uint64_t)r, 1000),
             w = (double)iso_rng_below(seed, ISO_RNG_TEST, (uint64_t)a, 100 + (uint64_t)r, 5);
      *iso_cost_at(c, (iso_res)r) = iso_est_range(m, m + w, m + 2 * w);
    }
    return *c;
  }
  int cut = a + 1 + (int)iso_rng_below(seed, ISO_RNG_TEST, 1000 + (uint64_t)a, (uint64_t)b, b - a - 1);
  bool parallel = iso_rng_u64(seed, ISO_RNG_TEST, 2000 + (uint64_t)a, (uint64_t)b) & 1;
  for (int i = a; i < cut; i++)
    for (int j = cut; j < b; j++) t->beside[i][j] = t->beside[j][i] = parallel;
  iso_cost x = grow(t, a, cut, seed), y = grow(t, cut, b, seed);
  return parallel ? iso_cost_parallel(x, y) : iso_cost_serial(x, y);
}

// Heaviest set of leaves that are pairwise side by side (or pairwise one after another).
static iso_est heaviest(const tree *t, iso_res r, bool beside) {
  iso_est best = iso_est_exact(0);
  for (unsigned m = 1; m < 1u << LEAVES; m++) {
    iso_est sum = iso_est_exact(0);
    bool ok = true;
    for (int i = 0; i < LEAVES && ok; i++) {
      if (!(m >> i & 1)) continue;
      for (int j = 0; j < i; j++)
        if ((m >> j & 1) && t->beside[i][j] != beside) ok = false;
      sum = iso_est_add(sum, iso_cost_get(&t->leaf[i], r));
    }
    if (!ok) continue;
    if (sum.lo > best.lo) best.lo = sum.lo;
    if (sum.mean > best.mean) best.mean = sum.mean;
    if (sum.hi > best.hi) best.hi = sum.hi;
  }
  return best;
}

static void check_est(iso_est a, iso_est b) { assert_true(a.lo == b.lo && a.mean == b.mean && a.hi == b.hi); }

static void random_trees(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 60; seed++) {
    tree t = {0};
    iso_cost c = grow(&t, 0, LEAVES, seed);
    check_est(c.wall, heaviest(&t, ISO_RES_wall, false));         // the critical path
    check_est(c.peak_ram, heaviest(&t, ISO_RES_peak_ram, true));  // the heaviest antichain
    check_est(c.disk, heaviest(&t, ISO_RES_disk, true));
    for (int r = 0; r < ISO_RES_COUNT; r++) {
      if (r == ISO_RES_wall || r == ISO_RES_peak_ram || r == ISO_RES_disk) continue;
      iso_est sum = iso_est_exact(0);
      for (int i = 0; i < LEAVES; i++) sum = iso_est_add(sum, iso_cost_get(&t.leaf[i], (iso_res)r));
      check_est(iso_cost_get(&c, (iso_res)r), sum);
    }
  }
}

static void repeats(void **state) {
  (void)state;
  tree t = {0};
  iso_cost one = grow(&t, 0, 4, 5), serial = iso_cost_zero(), parallel = iso_cost_zero();
  for (int n = 0; n < 5; n++) {
    iso_cost a = iso_cost_times(one, n), b = iso_cost_abreast(one, n);
    for (int r = 0; r < ISO_RES_COUNT; r++) {
      check_est(iso_cost_get(&a, (iso_res)r), iso_cost_get(&serial, (iso_res)r));
      check_est(iso_cost_get(&b, (iso_res)r), iso_cost_get(&parallel, (iso_res)r));
    }
    serial = iso_cost_serial(serial, one);
    parallel = iso_cost_parallel(parallel, one);
  }
  iso_cost none = iso_cost_times(iso_cost_unknown(), 0);
  assert_true(none.wall.hi == 0 && none.peak_ram.mean == 0);
}

static void unknown_never_fits(void **state) {
  (void)state;
  iso_cost known = iso_cost_zero(), some = iso_cost_zero();
  some.peak_ram = some.energy = iso_est_unknown();
  for (int flip = 0; flip < 2; flip++) {
    iso_cost s = flip ? iso_cost_serial(known, some) : iso_cost_serial(some, known),
             p = flip ? iso_cost_parallel(known, some) : iso_cost_parallel(some, known);
    assert_true(isnan(s.peak_ram.hi) && isnan(s.energy.lo) && isnan(p.peak_ram.mean) && isnan(p.energy.hi) && s.wall.hi == 0);
  }
  iso_budget b = iso_budget_none();
  iso_res r = ISO_RES_COUNT;
  iso_cost all = iso_cost_unknown();
  assert_true(iso_budget_fits(&b, &all, &r));
  b.wall = 10;
  all = iso_cost_zero();
  all.wall = iso_est_range(1, 2, 10);
  assert_true(iso_budget_fits(&b, &all, &r));
  all.wall.hi = 10.001;
  assert_false(iso_budget_fits(&b, &all, &r));
  assert_int_equal(r, ISO_RES_wall);
  b.energy = 1;
  all.energy = iso_est_exact(50);  // fifty times over is worse than a little over
  assert_false(iso_budget_fits(&b, &all, &r));
  assert_int_equal(r, ISO_RES_energy);
  b.instr = b.cpu = 5;
  all.instr = iso_est_unknown();
  assert_false(iso_budget_fits(&b, &all, &r));
  assert_int_equal(r, ISO_RES_instr);
  all.cpu = iso_est_unknown();  // the first unknown
  assert_false(iso_budget_fits(&b, &all, &r));
  assert_int_equal(r, ISO_RES_cpu);
}

static void left(void **state) {
  (void)state;
  iso_budget b = iso_budget_none();
  iso_cost s = iso_cost_zero();
  b.wall = 100;
  b.peak_ram = 1000;
  b.energy = b.cpu = 5;
  s.wall = iso_est_range(10, 20, 30);
  s.peak_ram = iso_est_exact(900);
  s.energy = iso_est_unknown();
  s.cpu = iso_est_exact(6);
  iso_budget l = iso_budget_left(&b, &s);
  assert_true(l.wall == 70 && l.peak_ram == 1000 && l.energy == 0 && l.cpu == 0 && isinf(l.usd));
}

// The budget that a refusal advises must do, and little less must not.
static void advice(void **state) {
  (void)state;
  int refused = 0;
  for (uint64_t t = 0; t < 400; t++) {
    iso_budget b = iso_budget_none(), more;
    iso_cost c = iso_cost_zero();
    iso_err e = {0};
    for (int r = 0; r < ISO_RES_COUNT; r++) {
      double u = iso_rng_unit(t, ISO_RNG_TEST, 3, (uint64_t)r);
      *iso_cost_at(&c, (iso_res)r) = iso_est_exact(exp(iso_rng_normal(t, ISO_RNG_TEST, 4, (uint64_t)r) * 8 + 10));
      if (u < 0.2) *iso_budget_at(&b, (iso_res)r) = exp(iso_rng_normal(t, ISO_RNG_TEST, 5, (uint64_t)r) * 8 + 10);
    }
    if (iso_budget_fits(&b, &c, NULL)) continue;
    refused++;
    assert_int_equal(iso_budget_refuse(&b, &c, &c, "the sweep", &e), ISO_EBUDGET);
    assert_non_null(strstr(e.msg, "the sweep"));
    const char *text = strstr(e.hint, "--budget ");
    assert_non_null(text);
    assert_int_equal(iso_budget_parse(text + 9, &more, &e), ISO_OK);
    assert_true(iso_budget_fits(&more, &c, NULL));
    for (int r = 0; r < ISO_RES_COUNT; r++) {
      double m = iso_budget_get(&more, (iso_res)r), need = iso_cost_get(&c, (iso_res)r).hi;
      if (m < INFINITY && need > 1e9) assert_true(m <= need * 1.02);
      if (iso_budget_get(&b, (iso_res)r) < need) assert_true(m < INFINITY);
    }
  }
  assert_true(refused > 100);
  iso_budget b = iso_budget_none();
  iso_cost c = iso_cost_unknown();
  iso_err e;
  b.instr = 5;
  assert_int_equal(iso_budget_refuse(&b, &c, &c, "x", &e), ISO_EBUDGET);
  assert_non_null(strstr(e.msg, "unknown"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parses),       cmocka_unit_test(refuses), cmocka_unit_test(prints_what_it_parses), cmocka_unit_test(json),
      cmocka_unit_test(random_trees), cmocka_unit_test(repeats), cmocka_unit_test(unknown_never_fits),    cmocka_unit_test(left),
      cmocka_unit_test(advice)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
