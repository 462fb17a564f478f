// Building blocks: 1F1B and the V schedules by their steps, clashes, peaks counted slot by slot, lists that are whole and in order.
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
#include "plan/layout/layout_block.h"
#include "unit/layout_near.h"

enum { F, B, W };

static iso_layout_block block(int64_t p, int64_t v, int64_t down, int64_t up) {
  iso_layout_block b;
  iso_err e;
  ok(iso_layout_block_open(p, v, down, up, &b, &e), &e);
  return b;
}

// What a device holds when the block is repeated 60 times, counted slot by slot.
static int64_t counted_peak(const iso_layout_block *b) {
  int64_t most = 0, end = 60 * b->interval + 40 * b->p + 100;
  for (int64_t d = 0; d < b->p; d++)
    for (int64_t at = 0; at < end; at++) {
      int64_t held = 0;
      for (int64_t k = 0; k < 60; k++)
        for (int64_t c = 0; c < b->v; c++) held += b->slot[d][F][c] + k * b->interval <= at && at <= b->slot[d][W][c] + k * b->interval;
      if (held > most) most = held;
    }
  return most;
}

// A pass waits for the one before it, and the peak is the sum of lifespans over the interval, up to rounding.
static void check_block(const iso_layout_block *b) {
  int64_t last = b->p * b->v - 1, peak = iso_layout_block_peak(b);
  int64_t slot[3][2 * 64];
  double lo = 0, hi = 0;
  for (int64_t d = 0; d < b->p; d++) {
    double sum = 0, up = 0;
    for (int64_t c = 0; c < b->v; c++) {
      for (int k = F; k <= W; k++) slot[k][iso_layout_v_stage(b->p, c, d)] = b->slot[d][k][c];
      double life = (double)(b->slot[d][W][c] + 1 - b->slot[d][F][c]) / (double)b->interval;
      sum += life;
      up += ceil(life - 1e-9);
    }
    lo = fmax(lo, sum);
    hi = fmax(hi, up);
  }
  assert_true((double)peak >= lo - 1e-9 && (double)peak <= hi);
  for (int64_t s = 0; s <= last; s++) {
    if (s) assert_true(slot[F][s] > slot[F][s - 1] && slot[B][s - 1] > slot[B][s]);
    assert_true(slot[W][s] > slot[B][s] && slot[B][s] > slot[F][s]);
  }
  assert_false(iso_layout_block_clashes(b, NULL));
  assert_int_equal(peak, counted_peak(b));
}

static void test_blocks(void **state) {
  (void)state;
  for (int64_t p = 2; p <= 24; p++) {
    // In units of a chunk: 1F1B holds p; the V schedules 2p, 2 floor((p + 2) / 2) and 2 floor((p + 4) / 3) (the authors' table).
    const int64_t want[][4] = {{1, 1, 2, p}, {2, 4, 2, 2 * p}, {2, 2, 1, (p + 2) / 2 * 2}, {2, 1, 1, (p + 4) / 3 * 2}};
    for (size_t i = 0; i < ISO_COUNT(want); i++) {
      iso_layout_block b = block(p, want[i][0], want[i][1], want[i][2]);
      check_block(&b);
      assert_int_equal(iso_layout_block_peak(&b), want[i][3]);
      iso_layout_block_close(&b);
    }
  }
}

// A V holds the same on every device (up to a chunk), which is what it is for; 1F1B's first device holds most.
static void test_balance(void **state) {
  (void)state;
  for (int v = 1; v <= 2; v++) {
    iso_layout_block b = v == 1 ? block(16, 1, 1, 2) : block(16, 2, 2, 1);
    double lo = INFINITY, hi = 0;
    for (int64_t d = 0; d < b.p; d++) {
      double life = 0;
      for (int64_t c = 0; c < b.v; c++) life += (double)(b.slot[d][W][c] + 1 - b.slot[d][F][c]) / (double)b.interval;
      lo = fmin(lo, life);
      hi = fmax(hi, life);
    }
    if (v == 1) assert_true(hi > 10 * lo);
    if (v == 2) assert_true(hi - lo <= 2);
    iso_layout_block_close(&b);
  }
}

// Repair is needed: some turns clash, and a block that is made to clash is found out, with the device.
static void test_clash(void **state) {
  (void)state;
  iso_layout_block b = block(6, 2, 1, 1);
  int64_t device = -1;
  assert_true(b.turn[0] != b.turn[1]);  // equal turns of one slot put F of one way on the next way's slots at six devices
  b.slot[3][W][0] = b.slot[3][F][1] + 5 * b.interval;
  assert_true(iso_layout_block_clashes(&b, &device));
  assert_int_equal(device, 3);
  iso_layout_block_close(&b);
  iso_err e = {0};
  // In an interval of three, passes that go down and up a slot a device meet somewhere, whatever the turn
  assert_int_equal(iso_layout_block_open(8, 1, 1, 1, &b, &e), ISO_EINVAL);
  assert_non_null(strstr(e.msg, "clash on 8 devices"));
  assert_int_equal(iso_layout_block_open(0, 1, 1, 2, &b, &e), ISO_EINVAL);
  assert_int_equal(iso_layout_block_open(4, 3, 1, 2, &b, &e), ISO_EINVAL);
  assert_int_equal(iso_layout_block_open(4, 2, 0, 2, &b, &e), ISO_EINVAL);
}

// Lists hold every task once, never more than the block's peak, and weight gradients follow those of inputs.
static void test_lists(void **state) {
  (void)state;
  const int64_t steps[][2] = {{4, 2}, {2, 1}, {1, 1}, {3, 1}};
  for (size_t i = 0; i < ISO_COUNT(steps); i++)
    for (int64_t p = 2; p <= 12; p += 2)
      for (int64_t m = 1; m <= 3 * p; m++) {
        iso_layout_block b = block(p, 2, steps[i][0], steps[i][1]);
        int64_t per = 6 * m, peak = 0;
        iso_layout_slot *list = calloc((size_t)(p * per), sizeof *list);
        bool *seen = calloc((size_t)(p * per), sizeof *seen);
        iso_err e;
        assert_true(list && seen);
        ok(iso_layout_block_lists(&b, m, NULL, list, NULL, &e), &e);
        for (int64_t d = 0; d < p; d++) {
          int64_t held = 0;
          for (int64_t k = 0; k < per; k++) {
            const iso_layout_slot *s = &list[d * per + k];
            bool *at = &seen[(d * 6 + 2 * s->kind + s->chunk) * m + s->micro_batch];
            assert_true(!*at && (!s->micro_batch || at[-1]));
            *at = true;
            if (s->kind) assert_true(at[-2 * m]);
            held += s->kind == F ? 1 : s->kind == W ? -1 : 0;
            if (held > peak) peak = held;
          }
          assert_int_equal(held, 0);
        }
        assert_true(peak <= iso_layout_block_peak(&b) && (m < 2 * p || peak == iso_layout_block_peak(&b)));
        free(list);
        free(seen);
        iso_layout_block_close(&b);
      }
}

int main(void) {
  const struct CMUnitTest t[] = {cmocka_unit_test(test_blocks), cmocka_unit_test(test_balance), cmocka_unit_test(test_clash),
                                 cmocka_unit_test(test_lists)};
  return cmocka_run_group_tests(t, NULL, NULL);
}
