// Rematerialisation on small graphs: the replay's rules, the exact search against plain enumeration, the bound and the local search.
#include <stdlib.h>

#include "remat_near.h"

// ---- The judge.

static iso_remat_dag *three(void) {
  iso_remat_dag *d;
  OK(iso_remat_open(&d, err));
  OK(iso_remat_add(d, &(iso_remat_node){.name = "a", .cost = 2, .flop = 20, .bytes = 10, .inplace = -1}, NULL, err));
  OK(iso_remat_add(d, &(iso_remat_node){.name = "b", .cost = 3, .flop = 30, .bytes = 5, .work_b = 7, .n_in = 1, .in = {0}, .inplace = -1}, NULL,
                   err));
  OK(iso_remat_add(
      d, &(iso_remat_node){.name = "c", .cost = 4, .flop = 40, .bytes = 5, .n_in = 3, .in = {1, 0, 1}, .inplace = 1, .once = true, .result = true},
      NULL, err));
  assert_int_equal(d->node[2].n_in, 2);  // repeated inputs count once
  return d;
}

static void schedule(iso_remat_schedule *s, const char *text) {
  *s = (iso_remat_schedule){0};
  for (; *text; text++) OK(iso_remat_push(s, (*text | 32) - 'a', *text >= 'A' && *text <= 'Z', err));  // capitals free
}

static void test_replay_counts(void **state) {
  (void)state;
  iso_remat_dag *d = three();
  iso_remat_schedule s;
  schedule(&s, "abAac");
  iso_remat_use u = use_of(d, &s);
  assert_int_equal(u.peak_b, 22);  // b while it is computed: 10 + 5 + 7; c takes b's place: 15
  assert_int_equal(u.peak_step, 1);
  assert_true(u.cost == 11 && u.extra_cost == 2 && u.flop == 110 && u.extra_flop == 20);
  assert_int_equal(u.again, 1);
  assert_int_equal(u.intervals, 2);
  iso_remat_schedule_close(&s);
  iso_remat_close(d);
}

static void test_replay_refuses(void **state) {
  (void)state;
  static const char *const BAD[] = {"b",
                                    "aa",
                                    "aA",
                                    "abA",
                                    "abAc",
                                    "abcCab",
                                    "abc"
                                    "c",
                                    "abcC",
                                    "A",
                                    "abcb"
                                    "B"
                                    "B",
                                    "d"};
  iso_remat_dag *d = three();
  for (size_t i = 0; i < ISO_COUNT(BAD); i++) {
    iso_remat_schedule s;
    iso_remat_use u;
    iso_err e = {0};
    schedule(&s, BAD[i]);
    if (iso_remat_replay(d, &s, &u, &e) != ISO_EBUG) fail_msg("\"%s\" was taken", BAD[i]);
    iso_remat_schedule_close(&s);
  }
  iso_err e = {0};
  assert_int_equal(iso_remat_add(d, &(iso_remat_node){.name = "x", .n_in = 1, .in = {3}, .inplace = -1}, NULL, &e), ISO_EINVAL);
  assert_int_equal(iso_remat_add(d, &(iso_remat_node){.name = "x", .cost = NAN, .inplace = -1}, NULL, &e), ISO_EINVAL);
  assert_int_equal(iso_remat_add(d, &(iso_remat_node){.name = "x", .n_in = 1, .in = {0}, .inplace = 1}, NULL, &e), ISO_EINVAL);
  iso_remat_close(d);
}

// ---- Plain enumeration: the least cost of every (nodes computed in order, values there), by relaxation until nothing changes.

static double enumerate(const iso_remat_dag *d, int64_t limit) {
  int n = d->n;
  size_t states = (size_t)1 << n;
  double *cost = malloc(((size_t)n + 1) * states * sizeof *cost), best = INFINITY;
  int64_t *bytes = calloc(states, sizeof *bytes);
  for (size_t i = 0; i < ((size_t)n + 1) * states; i++) cost[i] = INFINITY;
  for (size_t m = 0; m < states; m++)
    for (int v = 0; v < n; v++) bytes[m] += (m >> v & 1) ? d->node[v].bytes : 0;
  cost[0] = 0;
  for (int k = 0; k <= n; k++)
    for (bool again = true; again;) {
      again = false;
      for (size_t m = 0; m < states; m++) {
        double c = cost[(size_t)k * states + m];
        if (isinf(c)) continue;
        for (int v = 0; v < n; v++) {
          if (m >> v & 1) {  // free it
            double *to = &cost[(size_t)k * states + (m & ~((size_t)1 << v))];
            if (c < *to) {
              *to = c;
              again = true;
            }
            continue;
          }
          const iso_remat_node *x = &d->node[v];
          bool ready = v == k || (v < k && !x->once);
          int64_t now = bytes[m] + x->bytes + x->work_b;
          for (int i = 0; i < x->n_in; i++) ready = ready && (m >> x->in[i] & 1);
          if (x->inplace >= 0) now -= x->bytes < d->node[x->inplace].bytes ? x->bytes : d->node[x->inplace].bytes;
          if (!ready || now > limit) continue;
          size_t after = (m | (size_t)1 << v) & ~(x->inplace >= 0 ? (size_t)1 << x->inplace : 0);
          double *to = &cost[(size_t)(k + (v == k)) * states + after];
          if (c + x->cost < *to) {
            *to = c + x->cost;
            again = again || v < k;
          }
        }
      }
    }
  for (size_t m = 0; m < states; m++) {
    bool whole = true;
    for (int v = 0; v < n; v++) whole = whole && (!d->node[v].result || (m >> v & 1));
    if (whole) best = fmin(best, cost[(size_t)n * states + m]);
  }
  free(cost);
  free(bytes);
  return best;
}

static void test_exact_against_enumeration(void **state) {
  (void)state;
  int graphs = small() ? 40 : 400, tight = 0, none = 0, deep = 0;
  for (int i = 0; i < graphs; i++) {
    iso_remat_dag *d = random_training((uint64_t)i, 2 + i % 5, 1 + i % 4);
    iso_remat_schedule s;
    OK(iso_remat_keep_all(d, false, &s, err));
    iso_remat_use all = use_of(d, &s);
    iso_remat_schedule_close(&s);
    assert_int_equal(all.again, 0);
    for (int64_t limit = iso_remat_least(d) - 1; limit <= all.peak_b; limit += 1 + (all.peak_b - limit) / 4) {
      iso_remat_answer a;
      double want = enumerate(d, limit), bound;
      OK(iso_remat_exact(d, limit, NULL, -1, 1 << 20, &a, &s, err));
      if (isinf(want)) {
        none++;
        assert_false(a.found);
        assert_true(isinf(a.bound));
      } else {
        if (!a.found || a.cost != want) fail_msg("graph %d under %d bytes: %g, by enumeration %g", i, (int)limit, a.cost, want);
        assert_true(a.optimal && a.bound == want);
        iso_remat_use u = use_of(d, &s);
        assert_true(u.peak_b <= limit && u.cost == want);
        tight += u.again > 0;
        deep += u.intervals > 2;
      }
      OK(iso_remat_bound(d, limit, &bound, err));
      if (bound > want + 1e-6) fail_msg("graph %d under %d bytes: bound %.9g above the optimum %.9g", i, (int)limit, bound, want);
      if (limit < iso_remat_least(d)) assert_true(isinf(want));
      iso_remat_schedule_close(&s);
    }
    iso_remat_close(d);
  }
  print_message("%d graphs: %d limits with recomputation (%d with more than two intervals of a value), %d that nothing meets\n", graphs, tight, deep,
                none);
  assert_true(tight > graphs / 4 && none > graphs / 4);
}

// The same with a cap: how often each of the values that may be repeated was computed again is part of the state.
static double enumerate_capped(const iso_remat_dag *d, int64_t limit, int cap) {
  int n = d->n, forward;
  OK(iso_remat_forward(d, &forward, err));
  size_t sets = (size_t)1 << n, counts = 1, pow[16] = {1};
  for (int v = 0; v < forward; v++) pow[v + 1] = counts *= (size_t)cap;
  size_t states = ((size_t)n + 1) * sets * counts;
  double *cost = malloc(states * sizeof *cost), best = INFINITY;
  for (size_t i = 0; i < states; i++) cost[i] = INFINITY;
  cost[0] = 0;
  for (bool again = true; again;) {
    again = false;
    for (size_t i = 0; i < states; i++) {
      size_t times = i % counts, m = i / counts % sets, k = i / counts / sets;
      int64_t bytes = 0;
      if (isinf(cost[i])) continue;
      for (int v = 0; v < n; v++) bytes += (m >> v & 1) ? d->node[v].bytes : 0;
      for (int v = 0; v < n && (size_t)v <= k; v++) {
        const iso_remat_node *x = &d->node[v];
        size_t to = i;
        double c = cost[i];
        if (m >> v & 1) {
          to -= counts << v;
        } else {
          bool first = (size_t)v == k, ready = first || (v < forward && times / pow[v] % (size_t)cap + 1 < (size_t)cap);
          int64_t now = bytes + x->bytes + x->work_b;
          for (int q = 0; q < x->n_in; q++) ready = ready && (m >> x->in[q] & 1);
          if (x->inplace >= 0) now -= x->bytes < d->node[x->inplace].bytes ? x->bytes : d->node[x->inplace].bytes;
          if (!ready || now > limit) continue;
          to += counts << v;
          if (x->inplace >= 0) to -= counts << x->inplace;
          to += first ? counts * sets : pow[v];
          c += x->cost;
        }
        if (c < cost[to]) {
          cost[to] = c;
          again = true;
        }
      }
    }
  }
  for (size_t i = (size_t)n * sets * counts; i < states; i++) {
    bool whole = true;
    for (int v = 0; v < n; v++) whole = whole && (!d->node[v].result || (i / counts % sets >> v & 1));
    if (whole) best = fmin(best, cost[i]);
  }
  free(cost);
  return best;
}

// A chain whose gradients read the value before and take no memory: with room for two values the first ones are computed again and again.
static iso_remat_dag *bare_chain(int n) {
  iso_remat_dag *d;
  OK(iso_remat_open(&d, err));
  for (int v = 0; v < 2 * n; v++) {
    iso_remat_node x = {.name = "v", .cost = 1 + v % 3, .bytes = v < n, .inplace = -1, .once = v >= n, .layer = -1};
    int of = v < n ? v : 2 * n - 1 - v;
    if (v > 0) x.in[x.n_in++] = v - 1;
    if (v > n && of > 0) x.in[x.n_in++] = of - 1;
    OK(iso_remat_add(d, &x, NULL, err));
  }
  return d;
}

typedef struct capped {
  int asked, dearer, lost;  // limits that any number of intervals meets; two of them cost more; do not do
  double two, any;          // costs where both do
} capped;

// The exact search is the enumeration's for C = 1, 2, 3, and more of them never cost more.
static void check_capped(const iso_remat_dag *d, int64_t limits, capped *o) {
  iso_remat_schedule s;
  OK(iso_remat_keep_all(d, false, &s, err));
  int64_t all = use_of(d, &s).peak_b;
  iso_remat_schedule_close(&s);
  for (int64_t limit = iso_remat_least(d); limit <= all; limit += 1 + (all - limit) / limits) {
    iso_remat_answer any, a, before = {.cost = INFINITY};
    OK(iso_remat_exact(d, limit, NULL, -1, 1 << 20, &any, NULL, err));
    for (int cap = 1; cap <= 3; cap++) {
      double want = enumerate_capped(d, limit, cap);
      OK(iso_remat_exact(d, limit, NULL, cap - 1, 1 << 20, &a, &s, err));
      if (a.found != isfinite(want) || (a.found && (a.cost != want || !a.optimal)) || a.bound != want)
        fail_msg("%d values under %d bytes, %d intervals: %g (bound %g), by enumeration %g", d->n, (int)limit, cap, a.cost, a.bound, want);
      if (a.found) {
        iso_remat_use u = use_of(d, &s);
        assert_true(u.peak_b <= limit && u.cost == want && u.intervals <= cap);
      }
      assert_true(a.cost <= before.cost && a.cost >= any.cost);
      before = a;
      iso_remat_schedule_close(&s);
      if (cap != 2 || !any.found) continue;
      o->asked++;
      o->lost += !a.found;
      o->dearer += a.found && a.cost > any.cost;
      o->two += a.found ? a.cost : 0;
      o->any += a.found ? any.cost : 0;
    }
  }
}

// At most C retention intervals a value (Moccasin). Two are nearly as good as any number on training graphs, which is the paper's claim; bare
// chains in the least memory are where they are not.
static void test_capped_against_enumeration(void **state) {
  (void)state;
  int graphs = small() ? 30 : 200;
  capped random = {0}, bare = {0};
  for (int i = 0; i < graphs; i++) {
    iso_remat_dag *d = random_training((uint64_t)(4000 + i), 2 + i % 4, 1 + i % 3);
    check_capped(d, 3, &random);
    iso_remat_close(d);
  }
  for (int n = 2; n <= 5; n++) {
    iso_remat_dag *d = bare_chain(n);
    check_capped(d, 100, &bare);
    iso_remat_close(d);
  }
  print_message("two intervals on random graphs: of %d limits %d not met, %d dearer, %.2f%% of cost; on chains of %d, %d, %d, %.2f%%\n", random.asked,
                random.lost, random.dearer, 100 * (random.two / random.any - 1), bare.asked, bare.lost, bare.dearer, 100 * (bare.two / bare.any - 1));
  assert_true(random.asked > graphs && random.lost + random.dearer <= random.asked / 20 && random.two <= 1.01 * random.any);
  assert_true(bare.lost + bare.dearer > 0);
  iso_remat_dag *d = random_training(1, 3, 2);
  iso_remat_answer a;
  iso_err e = {0};
  assert_int_equal(iso_remat_exact(d, 100, NULL, ISO_REMAT_INTERVALS, 100, &a, NULL, &e), ISO_EINVAL);
  iso_remat_close(d);
}

// The local search under a cap keeps it, and one interval is no recomputation at all.
static void test_capped_search(void **state) {
  (void)state;
  int met[4] = {0};
  for (int i = 0; i < 40; i++) {
    iso_remat_dag *d = random_training((uint64_t)(2000 + i), 6, 5);
    iso_remat_schedule s;
    OK(iso_remat_keep_all(d, false, &s, err));
    int64_t limit = use_of(d, &s).peak_b * 7 / 10;
    iso_remat_schedule_close(&s);
    for (int cap = 0; cap <= 3; cap++) {
      bool found;
      OK(iso_remat_search(d, limit, cap, 1500, 3, &found, &s, err));
      if (found) {
        iso_remat_use u = use_of(d, &s);
        assert_true(u.peak_b <= limit && (!cap || u.intervals <= cap) && (cap != 1 || u.again == 0));
        met[cap]++;
      }
      iso_remat_schedule_close(&s);
    }
    iso_remat_close(d);
  }
  print_message("limits met with any number, 1, 2, 3 intervals: %d, %d, %d, %d of 40\n", met[0], met[1], met[2], met[3]);
  assert_true(met[1] < met[2] && met[2] > 0);
}

// Stopped early, the search still has a bound.
static void test_exact_stops_with_a_bound(void **state) {
  (void)state;
  iso_remat_dag *d = random_training(7, 9, 5);
  int64_t limit = iso_remat_least(d);
  iso_remat_answer whole, part;
  OK(iso_remat_exact(d, limit, NULL, -1, 1 << 24, &whole, NULL, err));
  OK(iso_remat_exact(d, limit, NULL, -1, 4, &part, NULL, err));
  assert_false(part.found);
  assert_true(part.bound > 0 && part.bound <= whole.bound);
  iso_remat_close(d);
}

// The value of a bound is how near it comes: on these graphs it must find part of what the optimum pays beyond one computation of everything.
static void test_bound_is_of_use(void **state) {
  (void)state;
  double found = 0, paid = 0;
  for (int i = 0; i < 60; i++) {
    iso_remat_dag *d = random_training((uint64_t)(1000 + i), 6, 6);
    iso_remat_schedule s;
    iso_remat_answer a;
    double bound, once = 0;
    for (int v = 0; v < d->n; v++) once += d->node[v].cost;
    OK(iso_remat_keep_all(d, false, &s, err));
    int64_t limit = use_of(d, &s).peak_b * 4 / 5;
    iso_remat_schedule_close(&s);
    OK(iso_remat_exact(d, limit, NULL, -1, 1 << 20, &a, NULL, err));
    OK(iso_remat_bound(d, limit, &bound, err));
    if (a.found) {
      found += bound - once;
      paid += a.cost - once;
    }
    iso_remat_close(d);
  }
  print_message("the bound finds %.0f%% of the extra cost of the optimum\n", 100 * found / paid);
  assert_true(found > 0.3 * paid);
}

static void test_search(void **state) {
  (void)state;
  int met = 0, possible = 0;
  double extra = 0, least = 0;
  for (int i = 0; i < 60; i++) {
    iso_remat_dag *d = random_training((uint64_t)(2000 + i), 6, 5);
    iso_remat_schedule s, again;
    iso_remat_answer a;
    bool found, twice;
    double once = 0;
    for (int v = 0; v < d->n; v++) once += d->node[v].cost;
    OK(iso_remat_keep_all(d, false, &s, err));
    int64_t limit = use_of(d, &s).peak_b * 4 / 5;
    iso_remat_schedule_close(&s);
    OK(iso_remat_exact(d, limit, NULL, -1, 1 << 20, &a, NULL, err));
    OK(iso_remat_search(d, limit, 0, 2000, 3, &found, &s, err));
    OK(iso_remat_search(d, limit, 0, 2000, 3, &twice, &again, err));
    assert_int_equal(found, twice);
    possible += a.found;
    if (found) {
      iso_remat_use u = use_of(d, &s), v = use_of(d, &again);
      assert_true(a.found && u.peak_b <= limit && u.cost >= a.cost);
      assert_true(u.cost == v.cost && u.peak_b == v.peak_b);
      met++;
      extra += u.cost - once;
      least += a.cost - once;
    }
    iso_remat_schedule_close(&s);
    iso_remat_schedule_close(&again);
    iso_remat_close(d);
  }
  print_message("search: %d of %d limits met; extra cost %.3f times the optimum\n", met, possible, extra / least);
  assert_true(met >= possible * 8 / 10 && extra <= 1.5 * least);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_replay_counts),
                                     cmocka_unit_test(test_replay_refuses),
                                     cmocka_unit_test(test_exact_against_enumeration),
                                     cmocka_unit_test(test_capped_against_enumeration),
                                     cmocka_unit_test(test_capped_search),
                                     cmocka_unit_test(test_exact_stops_with_a_bound),
                                     cmocka_unit_test(test_bound_is_of_use),
                                     cmocka_unit_test(test_search)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
