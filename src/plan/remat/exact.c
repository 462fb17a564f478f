// The cheapest schedule of a small graph: A* over which nodes have been computed and which values are there.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "plan/remat/remat.h"

enum { PLANES = 3 };
_Static_assert(ISO_REMAT_INTERVALS < 1 << PLANES, "counts of computations fit");

// A state: nodes before `k` have been computed, the values in `live` are there. Computing costs, freeing does not; values are freed only when
// the next computation would not fit, which loses nothing since a later free is as good.
typedef struct state {
  uint64_t live;
  uint64_t times[PLANES];  // under a cap: how often each value was computed again, a bit of the number in each
  double g;
  int64_t now_b;
  int32_t parent;
  int8_t k, node;  // node: the computation or free that led here
  bool drop, closed;
} state;

typedef struct solve {
  const iso_remat_dag *d;
  int64_t limit_b, max_states;
  int again;  // computations of a value beyond the first, -1 any number
  uint64_t in[64], useful[65], need[65], result;
  double rest[65];  // cost of the first computations from k on
  state *s;
  int32_t n, cap, *table, table_cap;
  struct entry {
    double f;
    int32_t at;
  } * heap;
  int32_t n_heap, cap_heap;
} solve;

static uint64_t below(int k) { return k >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << k) - 1; }
static uint64_t bit(int v) { return UINT64_C(1) << v; }

static void prepare(solve *p) {
  const iso_remat_dag *d = p->d;
  for (int v = 0; v < d->n; v++) {
    for (int i = 0; i < d->node[v].n_in; i++) p->in[v] |= bit(d->node[v].in[i]);
    if (d->node[v].result) p->result |= bit(v);
  }
  for (int k = d->n; k >= 0; k--) {
    p->need[k] = k == d->n ? p->result : p->need[k + 1] | p->in[k];
    p->rest[k] = k == d->n ? 0 : p->rest[k + 1] + d->node[k].cost;
    // Values that something to come may still be computed from.
    p->useful[k] = p->need[k] & below(k);
    for (int v = k - 1; v >= 0; v--)
      if ((p->useful[k] & bit(v)) && !d->node[v].once) p->useful[k] |= p->in[v];
  }
}

// Values that may not be computed again.
static uint64_t spent(const solve *p, const state *s) {
  uint64_t m = p->again < 0 ? 0 : ~UINT64_C(0);
  for (int i = 0; p->again >= 0 && i < PLANES; i++) m &= p->again >> i & 1 ? s->times[i] : ~s->times[i];
  return m;
}

static void count(state *s, uint64_t v) {
  for (int i = 0; i < PLANES; i++) {
    uint64_t carry = s->times[i] & v;
    s->times[i] ^= v;
    v = carry;
  }
}

// What must still be paid: first computations, and each value again that they need, with all that it needs. +INFINITY: out of reach.
static double remaining(const solve *p, const state *s) {
  int k = s->k;
  uint64_t live = s->live, gone = spent(p, s);
  uint64_t need = p->need[k] & below(k) & ~live;
  double cost = p->rest[k];
  while (need) {
    int v = 63 - __builtin_clzll(need);
    if (p->d->node[v].once || (gone & bit(v))) return INFINITY;
    cost += p->d->node[v].cost;
    need = (need & ~bit(v)) | (p->in[v] & ~live);
  }
  return cost;
}

static bool heap_less(struct entry a, struct entry b, const state *s) {
  if (a.f != b.f) return a.f < b.f;
  return s[a.at].k > s[b.at].k || (s[a.at].k == s[b.at].k && a.at > b.at);
}

static bool heap_push(solve *p, double f, int32_t at) {
  if (p->n_heap == p->cap_heap) {
    int32_t cap = p->cap_heap ? 2 * p->cap_heap : 1024;
    struct entry *h = realloc(p->heap, (size_t)cap * sizeof *h);
    if (!h) return false;
    p->heap = h;
    p->cap_heap = cap;
  }
  int32_t i = p->n_heap++;
  struct entry e = {f, at};
  while (i > 0 && heap_less(e, p->heap[(i - 1) / 2], p->s)) {
    p->heap[i] = p->heap[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  p->heap[i] = e;
  return true;
}

static struct entry heap_pop(solve *p) {
  struct entry top = p->heap[0], e = p->heap[--p->n_heap];
  int32_t i = 0;
  for (;;) {
    int32_t c = 2 * i + 1;
    if (c >= p->n_heap) break;
    if (c + 1 < p->n_heap && heap_less(p->heap[c + 1], p->heap[c], p->s)) c++;
    if (!heap_less(p->heap[c], e, p->s)) break;
    p->heap[i] = p->heap[c];
    i = c;
  }
  if (p->n_heap) p->heap[i] = e;
  return top;
}

static int32_t slot(const state *s, int32_t cap) {
  uint64_t h = iso_rng_mix(s->live ^ (uint64_t)s->k << 57);
  for (int i = 0; i < PLANES; i++)
    if (s->times[i]) h = iso_rng_mix(h ^ s->times[i] ^ (uint64_t)i << 61);
  return (int32_t)(h & (uint64_t)(cap - 1));
}

static bool grow_table(solve *p) {
  int32_t cap = p->table_cap ? 2 * p->table_cap : 4096;
  int32_t *t = malloc((size_t)cap * sizeof *t);
  if (!t) return false;
  memset(t, 0xff, (size_t)cap * sizeof *t);
  for (int32_t i = 0; i < p->n; i++) {
    int32_t at = slot(&p->s[i], cap);
    while (t[at] >= 0) at = (at + 1) & (cap - 1);
    t[at] = i;
  }
  free(p->table);
  p->table = t;
  p->table_cap = cap;
  return true;
}

// Enters a state, or betters the one that is known. False without memory.
static bool enter(solve *p, state s) {
  s.live &= p->useful[s.k];
  for (int i = 0; i < PLANES; i++) s.times[i] &= p->useful[s.k];
  s.now_b = 0;
  for (uint64_t m = s.live; m; m &= m - 1) s.now_b += p->d->node[__builtin_ctzll(m)].bytes;
  double h = remaining(p, &s);
  if (isinf(h)) return true;
  if (2 * p->n >= p->table_cap && !grow_table(p)) return false;
  int32_t at = slot(&s, p->table_cap);
  while (p->table[at] >= 0) {
    state *o = &p->s[p->table[at]];
    if (o->live == s.live && o->k == s.k && memcmp(o->times, s.times, sizeof s.times) == 0) {
      if (o->closed || o->g <= s.g) return true;
      *o = s;
      return heap_push(p, s.g + h, p->table[at]);
    }
    at = (at + 1) & (p->table_cap - 1);
  }
  if (p->n == p->cap) {
    int32_t cap = p->cap ? 2 * p->cap : 1024;
    state *q = realloc(p->s, (size_t)cap * sizeof *q);
    if (!q) return false;
    p->s = q;
    p->cap = cap;
  }
  p->table[at] = p->n;
  p->s[p->n] = s;
  return heap_push(p, s.g + h, p->n++);
}

static bool expand(solve *p, int32_t at) {
  const iso_remat_dag *d = p->d;
  state s = p->s[at];
  uint64_t may_drop = 0, gone = spent(p, &s);
  for (int v = 0; v <= s.k && v < d->n; v++) {
    const iso_remat_node *n = &d->node[v];
    if ((s.live & bit(v)) || (p->in[v] & ~s.live)) continue;
    if (v < s.k && (n->once || !(p->useful[s.k] & ~gone & bit(v)))) continue;
    int64_t grown = n->bytes - (n->inplace >= 0 ? d->node[n->inplace].bytes : 0);
    if (s.now_b + n->work_b + (grown > 0 ? grown : 0) > p->limit_b) {
      may_drop |= s.live & ~p->in[v];
      continue;
    }
    uint64_t live = s.live | bit(v);
    if (n->inplace >= 0) live &= ~bit(n->inplace);
    state t = {.live = live, .g = s.g + n->cost, .parent = at, .k = (int8_t)(s.k + (v == s.k)), .node = (int8_t)v};
    memcpy(t.times, s.times, sizeof t.times);
    if (v < s.k && p->again >= 0) count(&t, bit(v));
    if (!enter(p, t)) return false;
  }
  for (; may_drop; may_drop &= may_drop - 1) {
    int u = __builtin_ctzll(may_drop);
    state t = {.live = s.live & ~bit(u), .g = s.g, .parent = at, .k = s.k, .node = (int8_t)u, .drop = true};
    memcpy(t.times, s.times, sizeof t.times);
    if (!enter(p, t)) return false;
  }
  return true;
}

// The path to a state as a schedule; values that no longer help are freed where the search dropped them.
static iso_status path(const solve *p, int32_t at, uint64_t had0, iso_remat_schedule *out, iso_err *err) {
  int32_t len = 0, *way;
  for (int32_t i = at; p->s[i].parent >= 0; i = p->s[i].parent) len++;
  way = malloc(((size_t)len + 1) * sizeof *way);
  if (!way) return iso_fail(err, ISO_ENOMEM, "no memory for a schedule");
  for (int32_t i = at, j = len; p->s[i].parent >= 0; i = p->s[i].parent) way[--j] = i;
  iso_status st = ISO_OK;
  // Values of the start that help nothing.
  for (uint64_t gone = had0 & ~p->s[0].live; st == ISO_OK && gone; gone &= gone - 1) st = iso_remat_push(out, __builtin_ctzll(gone), true, err);
  for (int32_t j = 0; st == ISO_OK && j < len; j++) {
    const state *s = &p->s[way[j]], *from = &p->s[s->parent];
    uint64_t had = from->live;
    if (!s->drop) {
      st = iso_remat_push(out, s->node, false, err);
      had |= bit(s->node);
      if (p->d->node[s->node].inplace >= 0) had &= ~bit(p->d->node[s->node].inplace);
    }
    for (uint64_t gone = had & ~s->live; st == ISO_OK && gone; gone &= gone - 1) st = iso_remat_push(out, __builtin_ctzll(gone), true, err);
  }
  free(way);
  return st;
}

static iso_status cheapest(const iso_remat_dag *d, int64_t limit_b, const iso_remat_start *start, int again, int64_t max_states,
                           iso_remat_answer *out, iso_remat_schedule *schedule, iso_err *err) {
  *out = (iso_remat_answer){.cost = INFINITY};
  if (schedule) *schedule = (iso_remat_schedule){0};
  if (d->n > 63) return iso_fail(err, ISO_EUNSUP, "the exact search takes graphs of up to 63 values, this one has %d", d->n);
  if (max_states > (1 << 28)) max_states = 1 << 28;
  solve *p = calloc(1, sizeof *p);
  if (!p) return iso_fail(err, ISO_ENOMEM, "no memory for the exact search");
  p->d = d;
  p->limit_b = limit_b;
  p->again = again;
  prepare(p);
  state s0 = {.parent = -1};
  if (start) {
    s0.k = (int8_t)start->first;
    s0.live = start->live;
  }
  iso_status st = enter(p, s0) ? ISO_OK : ISO_ENOMEM;
  // What is there at the start must fit as it is.
  bool fits = p->n > 0 && p->s[0].now_b <= limit_b;
  while (st == ISO_OK && fits && p->n_heap > 0) {
    struct entry e = heap_pop(p);
    state *s = &p->s[e.at];
    if (s->closed) continue;
    s->closed = true;
    out->bound = e.f;
    if (s->k == d->n && (s->live & p->result) == p->result) {
      out->found = out->optimal = true;
      out->cost = s->g;
      if (schedule) st = path(p, e.at, start ? start->live : 0, schedule, err);
      goto done;
    }
    if (p->n >= max_states) goto done;
    if (!expand(p, e.at)) st = ISO_ENOMEM;
  }
  if (st == ISO_OK) out->bound = INFINITY;
  if (st == ISO_ENOMEM) (void)iso_fail(err, ISO_ENOMEM, "no memory for %d states of the exact search", p->n);
done:
  out->states = p->n;
  if (st != ISO_OK && schedule) iso_remat_schedule_close(schedule);
  free(p->s);
  free(p->table);
  free(p->heap);
  free(p);
  return st;
}

// Whether no value is computed again more often than that.
static bool within(const iso_remat_dag *d, const iso_remat_start *start, int again, const iso_remat_schedule *s) {
  int times[64] = {0};
  for (int v = 0; v < d->n; v++) times[v] = start && v < start->first;
  for (int i = 0; i < s->n; i++) times[s->step[i].node] += !s->step[i].drop;
  for (int v = 0; v < d->n; v++)
    if (times[v] > again + 1) return false;
  return true;
}

iso_status iso_remat_exact(const iso_remat_dag *d, int64_t limit_b, const iso_remat_start *start, int again, int64_t max_states,
                           iso_remat_answer *out, iso_remat_schedule *schedule, iso_err *err) {
  if (again >= ISO_REMAT_INTERVALS)
    return iso_fail(err, ISO_EINVAL, "exact search: %d computations again, expected up to %d", again, ISO_REMAT_INTERVALS - 1);
  if (again < 0) return cheapest(d, limit_b, start, -1, max_states, out, schedule, err);
  // Mostly the cheapest of all keeps to the cap, and has far fewer states.
  iso_remat_schedule s = {0};
  ISO_TRY(cheapest(d, limit_b, start, -1, max_states, out, &s, err));
  bool kept = out->found && within(d, start, again, &s);
  if (kept && schedule)
    *schedule = s;
  else
    iso_remat_schedule_close(&s);
  if (kept || (!out->found && isinf(out->bound))) {
    if (!kept && schedule) *schedule = (iso_remat_schedule){0};
    return ISO_OK;
  }
  iso_remat_answer any = *out;
  ISO_TRY(cheapest(d, limit_b, start, again, max_states, out, schedule, err));
  out->states += any.states;
  if (any.bound > out->bound) out->bound = any.bound;
  return ISO_OK;
}
