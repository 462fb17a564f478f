// Closed forms of the pipeline schedules: bubbles and waits for hops.
#include <math.h>

#include "plan/layout/layout_impl.h"

// Coefficients of a path: constant, per stage and per micro-batch, in twelfths.
typedef struct path_sum {
  int one, p, m;
} path_sum;
static const struct path {
  iso_layout_sched schedule;
  int mod, rest;
  path_sum f, b, w, hop;
} PATH[] = {
#define X(name, mod, rest, f1, fp, fm, b1, bp, bm, w1, wp, wm, h1, hp, hm) \
  {ISO_LAYOUT_##name, mod, rest, {f1, fp, fm}, {b1, bp, bm}, {w1, wp, wm}, {h1, hp, hm}},
#include "plan/layout/layout_paths.def"
#undef X
};

static double times(path_sum s, double p, double m) { return ((double)s.one + (double)s.p * p + (double)s.m * m) / 12; }

// Seconds that a folded schedule takes beyond its work. A chunk is half of a device's blocks.
static double fold_s(iso_layout_sched s, int64_t p, int64_t m, double f, double b, double w, double hop_s) {
  double most = 0, n = (double)p, k = (double)m;
  for (size_t i = 0; i < ISO_COUNT(PATH); i++) {
    const struct path *q = &PATH[i];
    if (q->schedule != s || p % q->mod != q->rest) continue;
    most = fmax(most, 0.5 * (times(q->f, n, k) * f + times(q->b, n, k) * b + times(q->w, n, k) * w) + times(q->hop, n, k) * hop_s);
  }
  return most;
}

double iso_layout_bubble(iso_layout_sched s, int64_t p, int64_t m, int64_t v, double f, double b, double w) {
  double n = (double)(p - 1);
  // Zero bubble: the paper states (p - 1)(f + b - w) and (p - 1)(f + b - 2 w), which these are for w <= f.
  switch (s) {
    case ISO_LAYOUT_INTERLEAVED: return n * (f + b + w) / (double)v;
    case ISO_LAYOUT_ZB_H1: return n * (b + fmax(0, f - w));
    case ISO_LAYOUT_ZB_H2: return n * fmax(0, b - f + 2 * fmax(0, f - w));
    case ISO_LAYOUT_ZB_V:
    case ISO_LAYOUT_V_HALF:
    case ISO_LAYOUT_V_MIN: return p > 1 ? fold_s(s, p, m, f, b, w, 0) : 0;
    case ISO_LAYOUT_DUALPIPE: return iso_layout_bubble_dual(p, f + b + w, b, w);
    case ISO_LAYOUT_V_ADAPTIVE: return NAN;
    default: return n * (f + b + w);
  }
}

// With p single passes each and m - p pairs beside it within 2.5% of the replay, and 0.4% on average (tests/unit/test_layout_sim.c).
double iso_layout_bubble_dual(int64_t p, double pair, double b, double w) { return p > 2 ? (double)(p / 2 - 1) * fmax(0, pair + b - 2 * w) : 0; }

double iso_layout_hops_s(iso_layout_sched s, int64_t p, int64_t m, int64_t v, double f, double b, double w, double hop_s) {
  if (p == 1) return 0;
  int64_t q = (m - 1) / p, r = (m - 1) % p;
  switch (s) {
    // Every turn of p micro-batches waits for a round trip: 2 (p - 1) hops, and 2 (r - 1) for a turn of r.
    case ISO_LAYOUT_1F1B: return (double)(2 * (p - 1) * (1 + q) + (r > 1 ? 2 * (r - 1) : 0)) * hop_s;
    case ISO_LAYOUT_INTERLEAVED: return (double)(2 * (p * v - 1)) * hop_s;
    case ISO_LAYOUT_ZB_H1: return (double)(4 * (p - 1)) * hop_s;
    case ISO_LAYOUT_ZB_V:
    case ISO_LAYOUT_V_HALF:
    case ISO_LAYOUT_V_MIN: return fold_s(s, p, m, f, b, w, hop_s) - fold_s(s, p, m, f, b, w, 0);
    // Pairs send while they work; 1.5 p - 2 at equal times of the passes.
    case ISO_LAYOUT_DUALPIPE: return (2.5 * (double)p - 4) * hop_s;
    case ISO_LAYOUT_V_ADAPTIVE: return NAN;
    default: return (double)(2 * (p - 1)) * hop_s;
  }
}

// Such a device is idle less: what it does beyond the others fills its bubbles, until those are left that equal times have, and some third of
// what unequal ones add (replays with ends of up to a third of a stage's work, tests/unit/test_layout_sim.c).
double iso_lay_bubble_ends(iso_layout_sched s, int64_t p, int64_t m, double f, double b, double w, double extra_s) {
  double even = (f + b + w) / 3, all = fold_s(s, p, m, f, b, w, 0), least = fold_s(s, p, m, even, even, even, 0);
  double left = least + (fold_s(s, p, 2 * p, f, b, w, 0) - least) / 3;
  return fmax(all - extra_s, fmin(all, left));
}

// The makespan is a longest path: it fills the stages before the slowest one, stays there, and drains.
double iso_lay_bubble_uneven(iso_layout_sched s, int64_t p, int64_t m, double per, int spare, const iso_lay_block *k) {
  double block = k->f + k->b + k->w, f = per * k->f, b = per * (k->b + k->w), n = (double)m, less = fmax(0, block - k->head);
  double front = (spare - 1) * (f + b - block), later = (double)(p - 1 - spare) * (f + b);  // later: full stages after the first one
  double slow_f = fmax(0, k->head / 3 - k->f), slow_b = fmax(0, 2 * k->head / 3 - (k->b + k->w));
  // All forward passes, then all backward ones: each wave goes at the pace of its own slowest stage.
  if (s == ISO_LAYOUT_GPIPE) return front + later + f + b - less + (n - 1) * (slow_f + slow_b - fmax(0, k->head - block));
  // 1F1B: the last full stage waits for the last one before its steady state and after it, each time by what that takes beyond a pass of its own.
  return front + later + fmax(f + b - n * less, fmax(0, b - less) + fmax(0, f - less));
}
