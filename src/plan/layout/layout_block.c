// Building blocks of pipeline schedules: clashes, their repair, peak memory, and the task lists of repeated blocks.
#include "plan/layout/layout_block.h"

#include <stdlib.h>
#include <string.h>

enum { F, B, W, KINDS, STEP_MAX = 64, TASKS_MAX = KINDS * ISO_LAYOUT_BLOCK_CHUNKS, WINDOW = 8 };

bool iso_layout_sched_steps(iso_layout_sched s, int64_t *down, int64_t *up) {
  // Lifespans of a device's two chunks add up to 2 (down + up) p slots and 6 free a chunk each: p/3, p/2 and p micro-batches in flight.
  static const int64_t STEP[][2] = {[ISO_LAYOUT_ZB_V] = {4, 2}, [ISO_LAYOUT_V_HALF] = {2, 1}, [ISO_LAYOUT_V_MIN] = {1, 1}};
  if (s < ISO_LAYOUT_ZB_V || s > ISO_LAYOUT_V_MIN) return false;
  *down = STEP[s][0];
  *up = STEP[s][1];
  return true;
}

// ---- the block ------------------------------------------------------------------------------------------------------

static int64_t wrap(int64_t k, int64_t n) { return (k % n + n) % n; }

// The next free slot after `from`, modulo the interval; it is taken.
static int64_t take(bool *used, int64_t interval, int64_t from) {
  while (used[wrap(from, interval)]) from++;
  used[wrap(from, interval)] = true;
  return from;
}

// Fills the slots from steps and turns; false when tasks clash.
static bool place(iso_layout_block *b, int64_t down, int64_t up) {
  int64_t p = b->p, ways = 2 * b->v, start = 0;
  // Ways through the devices: forward by chunk, backward by chunk in reverse. Even ways go down, odd ones up.
  for (int64_t way = 0; way < ways; way++) {
    int kind = way < b->v ? F : B;
    int64_t chunk = way < b->v ? way : ways - 1 - way, step = way % 2 ? up : down;
    for (int64_t k = 0; k < p; k++) b->slot[way % 2 ? p - 1 - k : k][kind][chunk] = start + k * step;
    if (way + 1 < ways) start += (p - 1) * step + b->turn[way];
  }
  for (int64_t d = 0; d < p; d++) {
    bool used[TASKS_MAX] = {false};
    for (int kind = F; kind <= B; kind++)
      for (int64_t c = 0; c < b->v; c++) {
        bool *u = &used[wrap(b->slot[d][kind][c], b->interval)];
        if (*u) return false;
        *u = true;
      }
    for (int64_t c = b->v - 1; c >= 0; c--) b->slot[d][W][c] = take(used, b->interval, b->slot[d][B][c] + 1);
  }
  return true;
}

bool iso_layout_block_clashes(const iso_layout_block *b, int64_t *device) {
  for (int64_t d = 0; d < b->p; d++) {
    bool used[TASKS_MAX] = {false};
    for (int kind = F; kind < KINDS; kind++)
      for (int64_t c = 0; c < b->v; c++) {
        bool *u = &used[wrap(b->slot[d][kind][c], b->interval)];
        if (*u) {
          if (device) *device = d;
          return true;
        }
        *u = true;
      }
  }
  return false;
}

int64_t iso_layout_block_peak(const iso_layout_block *b) {
  int64_t most = 0;
  for (int64_t d = 0; d < b->p; d++)
    for (int64_t at = 0; at < b->interval; at++) {
      int64_t held = 0;
      for (int64_t c = 0; c < b->v; c++) {
        // Repetitions k with F + k interval <= at <= W + k interval
        int64_t f = at - b->slot[d][F][c], w = at - b->slot[d][W][c];
        held += (f - wrap(f, b->interval)) / b->interval - (w + wrap(-w, b->interval)) / b->interval + 1;
      }
      if (held > most) most = held;
    }
  return most;
}

iso_status iso_layout_block_open(int64_t p, int64_t v, int64_t down, int64_t up, iso_layout_block *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  if (p < 1 || p > ISO_LAYOUT_BLOCK_STAGES_MAX || v < 1 || v > ISO_LAYOUT_BLOCK_CHUNKS || down < 1 || down > STEP_MAX || up < 1 || up > STEP_MAX)
    return iso_fail(err, ISO_EINVAL, "building block: %lld devices, %lld chunks, steps %lld and %lld; expected 1 to %d, 1 or 2, 1 to %d",
                    (long long)p, (long long)v, (long long)down, (long long)up, ISO_LAYOUT_BLOCK_STAGES_MAX, STEP_MAX);
  iso_layout_block b = {.p = p, .v = v, .interval = KINDS * v};
  int64_t best_peak = INT64_MAX, best_wait = INT64_MAX, best[3] = {0}, cases = 1;
  b.slot = calloc((size_t)p, sizeof *b.slot);
  if (!b.slot) return iso_fail(err, ISO_ENOMEM, "building block: no memory for %lld devices", (long long)p);
  for (int64_t i = 0; i < 2 * v - 1; i++) cases *= b.interval;
  for (int64_t k = 0; k < cases; k++) {
    int64_t wait = 0, rest = k;
    for (int64_t i = 2 * v - 2; i >= 0; i--, rest /= b.interval) wait += b.turn[i] = 1 + rest % b.interval;
    if (!place(&b, down, up)) continue;
    int64_t peak = iso_layout_block_peak(&b);
    if (peak > best_peak || (peak == best_peak && wait >= best_wait)) continue;
    best_peak = peak;
    best_wait = wait;
    memcpy(best, b.turn, sizeof best);
  }
  if (best_peak == INT64_MAX) {
    free(b.slot);
    return iso_fail(err, ISO_EINVAL, "building block: steps %lld and %lld clash on %lld devices whatever the turns", (long long)down, (long long)up,
                    (long long)p);
  }
  memcpy(b.turn, best, sizeof best);
  (void)place(&b, down, up);
  *out = b;
  return ISO_OK;
}

void iso_layout_block_close(iso_layout_block *b) {
  free(b->slot);
  *b = (iso_layout_block){0};
}

// ---- lists ----------------------------------------------------------------------------------------------------------

typedef struct weave {
  const iso_layout_block *b;
  int64_t m, per, cap;
  iso_layout_slot *todo;  // owned: p x per, in the block's order
  int64_t *next;          // owned: p x (per + 1), linked lists over todo; entry 0 is the head
  int64_t *end;           // owned: [kind][stage][micro-batch], slot after the task, 0 until it is done
  int64_t *held, *ahead;  // owned: per device: chunks held, forward passes left
} weave;

static int64_t *end_of(const weave *x, int kind, int64_t stage, int64_t k) { return &x->end[(kind * x->b->p * x->b->v + stage) * x->m + k]; }

static bool done_by(const weave *x, int kind, int64_t stage, int64_t k, int64_t at) {
  int64_t e = *end_of(x, kind, stage, k);
  return e > 0 && e <= at;
}

static bool ready(const weave *x, int64_t d, const iso_layout_slot *s, int64_t at) {
  int64_t stage = iso_layout_v_stage(x->b->p, s->chunk, d), last = x->b->p * x->b->v - 1, k = s->micro_batch;
  if (s->kind == F) return !stage || done_by(x, F, stage - 1, k, at);
  if (s->kind == W) return done_by(x, B, stage, k, at);
  return done_by(x, F, stage, k, at) && (stage == last || done_by(x, B, stage + 1, k, at));
}

// The list entry before the task that device d runs at slot `at`, -1 for none. What is passed over keeps its order, so a forward pass may only
// come early when the memory of all that it overtakes stays under the cap.
static int64_t choose(const weave *x, int64_t d, int64_t at) {
  const int64_t *next = x->next + d * (x->per + 1);
  const iso_layout_slot *todo = x->todo + d * x->per;
  int64_t held = x->held[d], top = held, found = -1, left = WINDOW * (x->b->p + 2);
  for (int64_t i = 0; next[i] && left; i = next[i], left--) {
    const iso_layout_slot *s = &todo[next[i] - 1];
    if ((found < 0 || s->kind != W) && ready(x, d, s, at) && (s->kind != F || top < x->cap)) {
      if (x->ahead[d] || s->kind != W) return i;
      found = i;  // a weight gradient can wait when nothing but backward passes follow
    }
    held += s->kind == F ? 1 : s->kind == W ? -1 : 0;
    if (held > top) top = held;
  }
  return found;
}

static void repeat(weave *x) {
  const iso_layout_block *b = x->b;
  for (int64_t d = 0; d < b->p; d++) {
    int64_t n = 0;
    for (int64_t at = 0; n < x->per; at++)
      for (int kind = F; kind < KINDS; kind++)
        for (int64_t c = 0; c < b->v; c++) {
          int64_t since = at - b->slot[d][kind][c];
          if (since < 0 || since % b->interval || since / b->interval >= x->m) continue;
          x->next[d * (x->per + 1) + n] = n + 1;
          x->todo[d * x->per + n++] = (iso_layout_slot){.kind = kind, .chunk = c, .micro_batch = since / b->interval};
        }
    x->ahead[d] = x->m * b->v;
  }
}

static bool run(weave *x, iso_layout_slot *list) {
  int64_t p = x->b->p, left = p * x->per, idle = 0;
  int64_t *n = x->held + 2 * p;  // tasks listed so far
  for (int64_t at = 0; left && idle < 2; at++) {
    idle++;
    for (int64_t d = 0; d < p; d++) {
      int64_t i = choose(x, d, at), *next = x->next + d * (x->per + 1);
      if (i < 0) continue;
      iso_layout_slot s = x->todo[d * x->per + next[i] - 1];
      next[i] = next[next[i]];
      list[d * x->per + n[d]++] = s;
      *end_of(x, s.kind, iso_layout_v_stage(p, s.chunk, d), s.micro_batch) = at + 1;
      x->held[d] += s.kind == F ? 1 : s.kind == W ? -1 : 0;
      x->ahead[d] -= s.kind == F;
      left--;
      idle = 0;
    }
  }
  return !left;
}

iso_status iso_layout_block_lists(const iso_layout_block *b, int64_t m, iso_layout_slot *list, iso_err *err) {
  weave x = {.b = b, .m = m, .per = KINDS * b->v * m, .cap = iso_layout_block_peak(b)};
  x.todo = malloc((size_t)(b->p * x.per) * sizeof *x.todo);
  x.next = calloc((size_t)(b->p * (x.per + 1)), sizeof *x.next);
  x.end = calloc((size_t)(KINDS * b->p * b->v * m), sizeof *x.end);
  x.held = calloc((size_t)(3 * b->p), sizeof *x.held);
  iso_status st = ISO_OK;
  if (!x.todo || !x.next || !x.end || !x.held) {
    st = iso_fail(err, ISO_ENOMEM, "building block: no memory for %lld tasks", (long long)(b->p * x.per));
  } else {
    x.ahead = x.held + b->p;
    repeat(&x);
    if (!run(&x, list))
      st = iso_fail(err, ISO_EBUG, "building block: %lld devices wait for one another at %lld micro-batches", (long long)b->p, (long long)m);
  }
  free(x.todo);
  free(x.next);
  free(x.end);
  free(x.held);
  return st;
}
