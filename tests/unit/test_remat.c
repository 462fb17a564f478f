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
      OK(iso_remat_exact(d, limit, NULL, 1 << 20, &a, &s, err));
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

// Stopped early, the search still has a bound.
static void test_exact_stops_with_a_bound(void **state) {
  (void)state;
  iso_remat_dag *d = random_training(7, 9, 5);
  int64_t limit = iso_remat_least(d);
  iso_remat_answer whole, part;
  OK(iso_remat_exact(d, limit, NULL, 1 << 24, &whole, NULL, err));
  OK(iso_remat_exact(d, limit, NULL, 4, &part, NULL, err));
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
    OK(iso_remat_exact(d, limit, NULL, 1 << 20, &a, NULL, err));
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
    OK(iso_remat_exact(d, limit, NULL, 1 << 20, &a, NULL, err));
    OK(iso_remat_search(d, limit, 2000, 3, &found, &s, err));
    OK(iso_remat_search(d, limit, 2000, 3, &twice, &again, err));
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
                                     cmocka_unit_test(test_exact_stops_with_a_bound),
                                     cmocka_unit_test(test_bound_is_of_use),
                                     cmocka_unit_test(test_search)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
