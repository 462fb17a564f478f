// Offloading: the timeline against closed forms, the exact choice against plain enumeration, greed against both.
#include <stdlib.h>

#include "plan/remat/offload.h"
#include "remat_near.h"

enum { N = 9 };

static iso_offload_job uniform(double *fwd, double *bwd, iso_offload_value *v, double f, double b, double b_s) {
  for (int i = 0; i < N; i++) {
    fwd[i] = f;
    bwd[i] = b;
    v[i] = (iso_offload_value){i, 100};
  }
  return (iso_offload_job){.blocks = N, .values = N, .fwd_s = fwd, .bwd_s = bwd, .value = v, .b_s = b_s};
}

static void test_timeline(void **state) {
  (void)state;
  double fwd[N], bwd[N];
  iso_offload_value v[N];
  bool out[N];
  iso_offload_use u;
  memset(out, true, sizeof out);
  // A slow link, T = 100 / 20 = 5 s a block over 2 and 4 s of computing: f, then the link alone both ways, then b.
  iso_offload_job j = uniform(fwd, bwd, v, 2, 4, 20);
  OK(iso_offload_play(&j, out, &u, err));
  assert_true(fabs(u.step_s - (2 + 2 * N * 5 + 4)) < 1e-9);
  assert_true(fabs(u.stall_s - (u.step_s - 6 * N)) < 1e-9 && u.link_s == 2 * N * 5);
  assert_int_equal(u.moved_b, 100 * N);
  assert_int_equal(u.freed_b, 100 * (N - 2));
  // A fast one, T = 1 s: all but the last block's is hidden, which turns round at once: out and in, 2 s.
  j = uniform(fwd, bwd, v, 2, 4, 100);
  OK(iso_offload_play(&j, out, &u, err));
  assert_true(fabs(u.stall_s - 2) < 1e-9);
  out[N - 1] = false;
  OK(iso_offload_play(&j, out, &u, err));
  assert_true(u.stall_s == 0 && u.step_s == 6 * N);
  // The head's time hides that turn.
  out[N - 1] = true;
  j.head_s = 2;
  OK(iso_offload_play(&j, out, &u, err));
  assert_true(u.stall_s == 0 && u.step_s == 6 * N + 2);
  // One block over a slow link, T = 100 s: block 2 waits for it to leave (2 + 100), seven blocks run forward and back to block 2 (14 + 28),
  // then it may come back: 100, and 4 to differentiate it.
  j = uniform(fwd, bwd, v, 2, 4, 1);
  memset(out, false, sizeof out);
  out[0] = true;
  OK(iso_offload_play(&j, out, &u, err));
  assert_true(fabs(u.step_s - (2 + 100 + 14 + 28 + 100 + 4)) < 1e-9);
  // Nothing moved.
  memset(out, false, sizeof out);
  OK(iso_offload_play(&j, out, &u, err));
  assert_true(u.stall_s == 0 && u.moved_b == 0 && u.freed_b == 0);
}

static void test_refuses(void **state) {
  (void)state;
  double t[1] = {1};
  bool out[32] = {false};
  iso_offload_use u;
  bool found;
  iso_err e = {0};
  iso_offload_value v[32] = {{1, 5}};
  iso_offload_job j = {.blocks = 1, .values = 1, .fwd_s = t, .bwd_s = t, .value = v, .b_s = 1};
  assert_int_equal(iso_offload_play(&j, out, &u, &e), ISO_EINVAL);
  v[0].block = 0;
  j.b_s = 0;
  assert_int_equal(iso_offload_play(&j, out, &u, &e), ISO_EINVAL);
  j.b_s = 1;
  j.values = 32;
  assert_int_equal(iso_offload_exact(&j, 1, out, &u, &found, &e), ISO_EUNSUP);
}

// Random small steps: every choice played.
static void test_exact_and_greedy(void **state) {
  (void)state;
  double greedy_s = 0, exact_s = 0;
  int found_n = 0, refused = 0, same = 0;
  for (uint64_t seed = 0; seed < (small() ? 80 : 200); seed++) {
    double fwd[6], bwd[6];
    iso_offload_value v[11];
    bool out[11], pick[11];
    int64_t all = 0;
    for (int i = 0; i < 6; i++) {
      fwd[i] = 1 + iso_rng_unit(seed, ISO_RNG_TEST, 0, (uint64_t)i);
      bwd[i] = 2 * fwd[i];
    }
    for (int i = 0; i < 11; i++) {
      v[i] =
          (iso_offload_value){(int)iso_rng_below(seed, ISO_RNG_TEST, 1, (uint64_t)i, 6), 1 + iso_rng_below(seed, ISO_RNG_TEST, 2, (uint64_t)i, 20)};
      all += v[i].bytes;
    }
    iso_offload_job j = {
        .blocks = 6, .values = 11, .fwd_s = fwd, .bwd_s = bwd, .head_s = 0.5, .value = v, .b_s = 4 + 10 * iso_rng_unit(seed, ISO_RNG_TEST, 3, 0)};
    int64_t need = 1 + iso_rng_below(seed, ISO_RNG_TEST, 4, 0, all * 7 / 10);
    iso_offload_use u, g;
    bool found, met;
    double best = INFINITY;
    for (int m = 0; m < 1 << 11; m++) {
      for (int i = 0; i < 11; i++) out[i] = m >> i & 1;
      OK(iso_offload_play(&j, out, &u, err));
      if (u.freed_b >= need) best = fmin(best, u.step_s);
    }
    OK(iso_offload_exact(&j, need, pick, &u, &found, err));
    OK(iso_offload_greedy(&j, need, out, &g, &met, err));
    assert_int_equal(found, best < INFINITY);
    assert_true(!met || found);
    if (!found) {
      refused++;
      continue;
    }
    assert_true(fabs(u.step_s - best) < 1e-9 && u.freed_b >= need);
    iso_offload_use again;
    OK(iso_offload_play(&j, pick, &again, err));
    assert_true(again.step_s == u.step_s && again.freed_b == u.freed_b);
    if (!met) continue;
    OK(iso_offload_play(&j, out, &again, err));
    assert_true(again.step_s == g.step_s && g.freed_b >= need && g.step_s >= best - 1e-9);
    found_n++;
    same += g.stall_s <= u.stall_s + 1e-9;
    greedy_s += g.step_s;
    exact_s += u.step_s;
  }
  print_message("greed takes %.2f%% longer than the best choice, as long in %d of %d; %d needs could not be met\n", 100 * (greedy_s / exact_s - 1),
                same, found_n, refused);
  assert_true(found_n > 20 && refused > 0 && greedy_s <= 1.05 * exact_s);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_timeline), cmocka_unit_test(test_refuses), cmocka_unit_test(test_exact_and_greedy)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
