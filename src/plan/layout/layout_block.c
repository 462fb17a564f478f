// Building blocks of pipeline schedules: clashes, their repair, peak memory, and the task lists of repeated blocks.
#include "plan/layout/layout_block.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { F, B, W, KINDS, STEP_MAX = 64, TASKS_MAX = KINDS * ISO_LAYOUT_BLOCK_CHUNKS };

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

bool iso_layout_block_place(iso_layout_block *b) {
  int64_t p = b->p, ways = 2 * b->v, at = 0;
  // Ways through the devices: forward by chunk, backward by chunk in reverse. Even ways go down, odd ones up.
  for (int64_t way = 0; way < ways; way++) {
    int kind = way < b->v ? F : B;
    int64_t chunk = way < b->v ? way : ways - 1 - way;
    for (int64_t k = 0; k < p; k++) {
      int64_t d = way % 2 ? p - 1 - k : k;
      b->slot[d][kind][chunk] = at;
      if (k + 1 < p) at += way % 2 ? b->up[d > b->cut] : b->down[d >= b->cut];
    }
    if (way + 1 < ways) at += b->turn[way];
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
  iso_layout_block b = {.p = p, .v = v, .interval = KINDS * v, .down = {down, down}, .up = {up, up}, .cut = p};
  int64_t best_peak = INT64_MAX, best_wait = INT64_MAX, best[3] = {0}, cases = 1;
  b.slot = calloc((size_t)p, sizeof *b.slot);
  if (!b.slot) return iso_fail(err, ISO_ENOMEM, "building block: no memory for %lld devices", (long long)p);
  for (int64_t i = 0; i < 2 * v - 1; i++) cases *= b.interval;
  for (int64_t k = 0; k < cases; k++) {
    int64_t wait = 0, rest = k;
    for (int64_t i = 2 * v - 2; i >= 0; i--, rest /= b.interval) wait += b.turn[i] = 1 + rest % b.interval;
    if (!iso_layout_block_place(&b)) continue;
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
  (void)iso_layout_block_place(&b);
  *out = b;
  return ISO_OK;
}

iso_status iso_layout_block_from(int64_t p, const iso_layout_weave *w, iso_layout_block *out, iso_err *err) {
  iso_layout_block b = {.p = p, .v = 2, .interval = KINDS * 2, .cut = w->cut};
  bool sound = p >= 2 && p <= ISO_LAYOUT_BLOCK_STAGES_MAX && w->cut >= 0 && w->cut <= p && w->order <= ISO_LAYOUT_ORDER_READY;
  memset(out, 0, sizeof *out);
  for (int i = 0; i < 2; i++) {
    b.down[i] = w->down[i];
    b.up[i] = w->up[i];
    sound = sound && w->down[i] >= 1 && w->down[i] <= STEP_MAX && w->up[i] >= 1 && w->up[i] <= STEP_MAX;
  }
  for (int i = 0; i < 3; i++) {
    b.turn[i] = w->turn[i];
    sound = sound && w->turn[i] >= 1;
  }
  if (!sound) return iso_fail(err, ISO_EINVAL, "building block: steps, turns or order out of range on %lld devices", (long long)p);
  b.slot = calloc((size_t)p, sizeof *b.slot);
  if (!b.slot) return iso_fail(err, ISO_ENOMEM, "building block: no memory for %lld devices", (long long)p);
  bool clear = iso_layout_block_place(&b);
  int64_t peak = clear ? iso_layout_block_peak(&b) : 0;
  if (clear && peak <= w->held) {
    *out = b;
    return ISO_OK;
  }
  free(b.slot);
  if (clear) return iso_fail(err, ISO_EINVAL, "building block: a device holds %lld chunks, the layout says %d", (long long)peak, (int)w->held);
  return iso_fail(err, ISO_EINVAL, "building block: steps %d and %d, then %d and %d clash on %lld devices", w->down[0], w->up[0], w->down[1],
                  w->up[1], (long long)p);
}

void iso_layout_block_close(iso_layout_block *b) {
  free(b->slot);
  *b = (iso_layout_block){0};
}

// ---- lists ----------------------------------------------------------------------------------------------------------

typedef struct weave {
  const iso_layout_block *b;
  const iso_layout_pace *pace;
  int64_t m, per, cap;
  bool lazy, strict;       // strict: the lists as they are
  iso_layout_slot *todo;   // owned: p x per, in the block's order
  int64_t *next;           // owned: p x (per + 1), linked lists over todo; entry 0 is the head
  double *end;             // owned: [kind][stage][micro-batch], when the task ends, +INFINITY before it has begun
  int64_t *held, *left;    // owned: per device: chunks held; tasks left of each kind and chunk
  double *busy_s, *wake;   // owned: per device: end of its last task, when it looks for the next; then its start and idle time
  int64_t *first, leaves;  // owned: a tree over devices, each node the one of its leaves that looks first
} weave;

static double *end_of(const weave *x, int kind, int64_t stage, int64_t k) { return &x->end[(kind * x->b->p * x->b->v + stage) * x->m + k]; }

// From a stage to the next one: nothing at the point of the V.
static double hop(const weave *x, int64_t from) { return x->pace && x->b->p > 1 && from + 1 != x->b->p ? x->pace->hop_s : 0; }

// When a task's inputs are there, as far as is known.
static double ready(const weave *x, int64_t d, const iso_layout_slot *s) {
  int64_t stage = iso_layout_v_stage(x->b->p, s->chunk, d), last = x->b->p * x->b->v - 1, k = s->micro_batch;
  if (s->kind == F) return stage ? *end_of(x, F, stage - 1, k) + hop(x, stage - 1) : 0;
  if (s->kind == W) return *end_of(x, B, stage, k);
  double own = *end_of(x, F, stage, k), next = stage == last ? 0 : *end_of(x, B, stage + 1, k) + hop(x, stage);
  return own > next ? own : next;
}

// The list entry before the task that device d runs now, -1 for none; then *soon is when one of those it may run will be ready. Of a kind and
// chunk the first micro-batch is ready first, so the others need no look. What is passed over keeps its order, so a forward pass may only come
// early when the memory of all that it overtakes stays under the cap.
static int64_t choose(const weave *x, int64_t d, double at, double *soon) {
  const int64_t *next = x->next + d * (x->per + 1), *left = x->left + d * TASKS_MAX;
  const iso_layout_slot *todo = x->todo + d * x->per;
  int64_t held = x->held[d], top = held, found = -1;
  bool more = left[0] + left[1] > 0, seen[TASKS_MAX];  // more: forward passes left
  int unseen = 0;
  for (int i = 0; i < TASKS_MAX; i++) unseen += !(seen[i] = !left[i] || (i < B * ISO_LAYOUT_BLOCK_CHUNKS && top >= x->cap && !x->strict));
  *soon = INFINITY;
  for (int64_t i = 0; next[i] && unseen > 0; i = next[i]) {
    const iso_layout_slot *s = &todo[next[i] - 1];
    int what = s->kind * ISO_LAYOUT_BLOCK_CHUNKS + (int)s->chunk;
    if (!seen[what]) {
      double r = ready(x, d, s);
      seen[what] = true;
      unseen--;
      if (r > at) {
        if (r < *soon) *soon = r;
      } else if (found < 0 || s->kind != W) {
        if (s->kind != W || (more && !x->lazy)) return i;
        found = i;  // a weight gradient can wait when nothing but backward passes follow
      }
    }
    held += s->kind == F ? 1 : s->kind == W ? -1 : 0;
    if (x->strict) break;
    if (held <= top) continue;
    top = held;
    if (top < x->cap) continue;
    for (int c = 0; c < ISO_LAYOUT_BLOCK_CHUNKS; c++) {
      unseen -= !seen[c];
      seen[c] = true;
    }
  }
  return found;
}

// The block's tasks every interval, by slot. Each kind and chunk comes once a micro-batch, so six sequences are merged.
static void repeat(weave *x) {
  const iso_layout_block *b = x->b;
  for (int64_t d = 0; d < b->p; d++) {
    iso_layout_slot s[TASKS_MAX] = {{0}};
    int64_t at[TASKS_MAX], kinds = KINDS * b->v;
    for (int64_t i = 0; i < kinds; i++) {
      s[i] = (iso_layout_slot){.kind = (int)(i / b->v), .chunk = i % b->v};
      at[i] = b->slot[d][s[i].kind][s[i].chunk];
    }
    for (int64_t n = 0; n < x->per; n++) {
      int64_t first = 0;
      for (int64_t i = 1; i < kinds; i++)
        if (at[i] < at[first]) first = i;
      x->next[d * (x->per + 1) + n] = n + 1;
      x->todo[d * x->per + n] = s[first];
      at[first] = ++s[first].micro_batch < x->m ? at[first] + b->interval : INT64_MAX;
    }
  }
}

static void set_wake(weave *x, int64_t d, double at) {
  x->wake[d] = at;
  for (int64_t i = (x->leaves + d) / 2; i; i /= 2) {
    int64_t a = x->first[2 * i], b = x->first[2 * i + 1];
    x->first[i] = b >= 0 && x->wake[b] < x->wake[a] ? b : a;
  }
}

// The device that waits for what a task yields looks again when it gets it.
static void tell(weave *x, const iso_layout_slot *s, int64_t stage, double end) {
  int64_t p = x->b->p, to = s->kind == F ? stage + 1 : stage - 1;
  if (s->kind == W || to < 0 || to >= p * x->b->v) return;
  int64_t d = to < p ? to : 2 * p - 1 - to;
  double at = fmax(x->busy_s[d], end + hop(x, s->kind == F ? stage : to));
  if (at < x->wake[d]) set_wake(x, d, at);
}

// Devices run tasks in the order of time. false when they wait for one another.
static bool run(weave *x, iso_layout_slot *list, double *span_s) {
  int64_t p = x->b->p, *n = x->held + p;  // n: tasks listed so far
  *span_s = 0;
  for (int64_t i = 0; i < KINDS * p * x->b->v * x->m; i++) x->end[i] = INFINITY;
  memset(x->held, 0, (size_t)(2 * p) * sizeof *x->held);
  memset(x->busy_s, 0, (size_t)(4 * p) * sizeof *x->busy_s);
  for (int64_t i = 2 * x->leaves - 1; i; i--) {
    bool leaf = i >= x->leaves;
    x->first[i] = leaf ? (i - x->leaves < p ? i - x->leaves : -1) : x->first[2 * i];
  }
  for (int64_t i = 0; i < p * TASKS_MAX; i++) x->left[i] = i % ISO_LAYOUT_BLOCK_CHUNKS < x->b->v ? x->m : 0;
  for (int64_t left = p * x->per; left;) {
    int64_t d = x->first[1], i, *next;
    double soon;
    double at = x->wake[d];
    if (!(at < INFINITY)) return false;
    i = choose(x, d, at, &soon);
    if (i < 0) {
      set_wake(x, d, soon);
      continue;
    }
    next = x->next + d * (x->per + 1);
    iso_layout_slot s = x->todo[d * x->per + next[i] - 1];
    int64_t stage = iso_layout_v_stage(p, s.chunk, d);
    double end = at + (x->pace ? x->pace->len[s.kind][stage] : 1);
    next[i] = next[next[i]];
    if (!n[d]) x->wake[p + d] = x->busy_s[d] = at;
    x->wake[2 * p + d] += at - x->busy_s[d];
    if (x->pace && x->pace->idle_s > 0 && x->wake[2 * p + d] > x->pace->idle_s) {
      *span_s = INFINITY;
      return true;
    }
    list[d * x->per + n[d]++] = s;
    *end_of(x, s.kind, stage, s.micro_batch) = x->busy_s[d] = end;
    x->held[d] += s.kind == F ? 1 : s.kind == W ? -1 : 0;
    x->left[d * TASKS_MAX + s.kind * ISO_LAYOUT_BLOCK_CHUNKS + s.chunk]--;
    *span_s = fmax(*span_s, end - x->wake[p + d]);
    set_wake(x, d, end);
    tell(x, &s, stage, end);
    left--;
  }
  return true;
}

// Lists as they are, at a pace.
static bool again(weave *x, iso_layout_slot *list, double *span_s) {
  memcpy(x->todo, list, (size_t)(x->b->p * x->per) * sizeof *list);
  for (int64_t d = 0; d < x->b->p; d++)
    for (int64_t i = 0; i <= x->per; i++) x->next[d * (x->per + 1) + i] = i < x->per ? i + 1 : 0;
  x->strict = true;
  return run(x, list, span_s);
}

iso_status iso_layout_block_lists(const iso_layout_block *b, int64_t m, const iso_layout_pace *pace, iso_layout_slot *list, double *span_s,
                                  iso_err *err) {
  weave x = {.b = b, .m = m, .per = KINDS * b->v * m, .cap = iso_layout_block_peak(b)};
  double span;
  bool slots = pace && pace->order == ISO_LAYOUT_ORDER_SLOTS;
  if (!slots) x.pace = pace;
  x.lazy = pace && pace->order == ISO_LAYOUT_ORDER_READY;
  x.todo = malloc((size_t)(b->p * x.per) * sizeof *x.todo);
  x.next = calloc((size_t)(b->p * (x.per + 1)), sizeof *x.next);
  x.end = malloc((size_t)(KINDS * b->p * b->v * m) * sizeof *x.end);
  x.held = calloc((size_t)((2 + TASKS_MAX) * b->p), sizeof *x.held);
  x.busy_s = calloc((size_t)(4 * b->p), sizeof *x.busy_s);
  for (x.leaves = 2; x.leaves < b->p;) x.leaves *= 2;
  x.first = malloc((size_t)(2 * x.leaves) * sizeof *x.first);
  iso_status st = ISO_OK;
  if (!x.todo || !x.next || !x.end || !x.held || !x.busy_s || !x.first) {
    st = iso_fail(err, ISO_ENOMEM, "building block: no memory for %lld tasks", (long long)(b->p * x.per));
  } else {
    x.left = x.held + 2 * b->p;
    x.wake = x.busy_s + b->p;
    repeat(&x);
    bool done = run(&x, list, &span);
    if (done && slots && span_s) {
      x.pace = pace;
      done = again(&x, list, &span);
    }
    if (!done)
      st = iso_fail(err, ISO_EBUG, "building block: %lld devices wait for one another at %lld micro-batches", (long long)b->p, (long long)m);
    else if (span_s)
      *span_s = span;
  }
  free(x.todo);
  free(x.next);
  free(x.end);
  free(x.held);
  free(x.busy_s);
  free(x.first);
  return st;
}
