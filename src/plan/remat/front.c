// The best plans of a chain: every subset of a group's values, solved exactly, combined over the chain by dynamic programming.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/remat/chain_impl.h"

enum { GROUP = 2, KEEP_MAX = 12, STATES = 200000 };

// One way to treat a group of atoms: which of its forward values stay (bits by local index), and how its backward pass goes then.
typedef struct option {
  uint32_t keep;
  int64_t keep_b, fwd_b, back_b;  // kept; peaks of the forward and of the backward pass, without the value that enters
  double fwd_cost, back_cost;
  iso_remat_schedule back;  // owned; local nodes
} option;

// The options in which no value is computed more often than so many times in the backward pass.
typedef struct level {
  option *opt;          // owned
  int n, cap, n_whole;  // the first n_whole keep nothing: what ends a range
} level;

typedef struct kind {
  iso_remat_group g;  // owned
  level at[ISO_REMAT_INTERVALS + 1];
  int64_t fwd_b;  // of a forward pass that keeps nothing: peak and cost
  double fwd_cost;
} kind;

// How a point of a range came about.
typedef enum how { WHOLE, KEEP, SPLIT } how;
typedef struct point {
  int64_t peak_b;
  double cost;
  uint8_t how, atoms;  // WHOLE, KEEP: atoms of the group
  uint16_t split;      // SPLIT: atoms of the left part
  int option, right, left;
} point;
typedef struct range {
  point *p;  // owned
  int n;
} range;

struct iso_remat_front {
  const iso_remat_dag *d;
  const iso_remat_chain *c;
  kind *kind;  // owned
  int kinds;
  int *of[GROUP];    // [n] owned: the kind of the group of 1, 2 atoms that starts here; -1 none
  int64_t *alone_b;  // [n] owned: forward peak of an atom with the value that enters counted until its last reader
  int *same;         // [n (n + 1)] owned: the first range of this length and start that is equal
  range *r;          // [depths][n (n + 1)] owned; filled where same[i] == i
  int intervals;     // C, 0: any number; then there is one level and one depth
  point *tmp;        // owned
  int n_tmp, settled, cap_tmp, points;
  double grid_b;  // peak at the end of the grid
  bool grid, thinned, failed;
};

// Under a cap C, a range at depth t has been run forward t times. What ends it may compute its values C - t times, what keeps some of them runs
// forward once more, and a split leaves its left part at depth t + 1.
static int depths(const iso_remat_front *f) { return f->intervals ? f->intervals : 1; }
static int level_whole(const iso_remat_front *f, int t) { return f->intervals ? f->intervals - t : 0; }
static int level_keep(const iso_remat_front *f, int t) { return f->intervals ? f->intervals - t - 1 : 0; }
static int depth_left(const iso_remat_front *f, int t) { return f->intervals ? t + 1 : t; }

// ---- Options of a group.

static int by_option(const void *x, const void *y) {
  const option *a = x, *b = y;
  if (a->keep != b->keep) return a->keep < b->keep ? -1 : 1;
  if (a->back_b != b->back_b) return a->back_b < b->back_b ? -1 : 1;
  return 0;
}

// Runs the forward pass of a group, values outside `keep` freed after their last reader.
static void forward_of(const kind *k, uint32_t keep, option *o) {
  const iso_remat_dag *d = k->g.d;
  int w = k->g.waits, nf = k->g.forward;
  uint32_t need = keep | (1u << (nf - 1));
  for (int v = nf - 1; v >= 0; v--)
    for (int i = 0; (need >> v & 1) && i < d->node[w + v].n_in; i++) need |= 1u << (d->node[w + v].in[i] - w);
  int64_t now = 0;
  uint32_t live = 0;
  for (int v = 0; v < nf; v++) {
    if (!(need >> v & 1)) continue;
    const iso_remat_node *n = &d->node[w + v];
    if (now + n->bytes + n->work_b > o->fwd_b) o->fwd_b = now + n->bytes + n->work_b;
    now += n->bytes;
    live |= 1u << v;
    o->fwd_cost += n->cost;
    for (int u = 0; u <= v; u++) {
      bool stay = (keep >> u & 1) || u == nf - 1 || !(live >> u & 1);
      for (int j = v + 1; j < nf && !stay; j++)
        for (int i = 0; (need >> j & 1) && i < d->node[w + j].n_in; i++) stay = stay || d->node[w + j].in[i] == w + u;
      if (stay) continue;
      now -= d->node[w + u].bytes;
      live &= ~(1u << u);
    }
  }
}

static bool worse(const option *a, const option *b) {
  return a->keep_b >= b->keep_b && a->fwd_b >= b->fwd_b && a->back_b >= b->back_b && a->fwd_cost + a->back_cost >= b->fwd_cost + b->back_cost;
}

static void add_option(iso_remat_front *f, level *k, option *o) {
  for (int i = 0; i < k->n; i++)
    if (worse(o, &k->opt[i]) && (o->keep != 0 || k->opt[i].keep == 0)) {
      iso_remat_schedule_close(&o->back);
      return;
    }
  for (int i = 0; i < k->n; i++)
    if (worse(&k->opt[i], o) && (k->opt[i].keep != 0 || o->keep == 0)) {
      iso_remat_schedule_close(&k->opt[i].back);
      k->opt[i--] = k->opt[--k->n];
    }
  if (k->n == k->cap) {
    int cap = k->cap ? 2 * k->cap : 32;
    option *p = realloc(k->opt, (size_t)cap * sizeof *p);
    if (!p) {
      f->failed = true;
      iso_remat_schedule_close(&o->back);
      return;
    }
    k->opt = p;
    k->cap = cap;
  }
  k->opt[k->n++] = *o;
}

// Every peak at which the backward pass gets cheaper, from no limit downwards.
static iso_status backward_of(iso_remat_front *f, kind *k, int lv, option base, iso_err *err) {
  int64_t limit = INT64_MAX / 2;
  double once = 0;
  iso_remat_start start = {.first = k->g.waits + k->g.forward, .live = (uint64_t)base.keep << k->g.waits};
  for (int v = 0; v < k->g.waits; v++) start.live |= UINT64_C(1) << v;
  for (int v = start.first; v < k->g.d->n; v++) once += k->g.d->node[v].cost;
  for (;;) {
    iso_remat_answer a;
    option o = base;
    ISO_TRY(iso_remat_exact(k->g.d, limit, &start, f->intervals ? lv : -1, STATES, &a, &o.back, err));
    if (!a.found) {
      if (a.bound < INFINITY) f->thinned = true;  // not decided within the states allowed
      return ISO_OK;
    }
    // The peak of what was found: replayed from the start state.
    int64_t now = base.keep_b;
    for (int v = 0; v < k->g.waits; v++) now += k->g.d->node[v].bytes;
    o.back_b = now;
    for (int i = 0; i < o.back.n; i++) {
      const iso_remat_node *n = &k->g.d->node[o.back.step[i].node];
      int64_t grown = n->bytes - (n->inplace >= 0 ? k->g.d->node[n->inplace].bytes : 0), during = now + n->work_b + (grown > 0 ? grown : 0);
      if (!o.back.step[i].drop && during > o.back_b) o.back_b = during;
      now += o.back.step[i].drop ? -n->bytes : grown;
    }
    o.back_cost = a.cost - once;
    limit = o.back_b - 1;
    add_option(f, &k->at[lv], &o);
  }
}

static iso_status options(iso_remat_front *f, kind *k, int lv, iso_err *err) {
  level *at = &k->at[lv];
  int free_values = k->g.forward - (k->g.tail ? 0 : 1);
  for (uint32_t keep = 0; keep < 1u << free_values; keep++) {
    option o = {.keep = keep};
    for (int v = 0; v < k->g.forward; v++) o.keep_b += (keep >> v & 1) ? k->g.d->node[k->g.waits + v].bytes : 0;
    // A range ends with its last group: nothing is kept before its backward pass, which computes all that it reads.
    if (k->g.tail && keep) break;
    forward_of(k, keep, &o);
    if (!keep) {
      k->fwd_b = o.fwd_b;
      k->fwd_cost = o.fwd_cost;
    }
    ISO_TRY(backward_of(f, k, lv, o, err));
  }
  if (at->n) qsort(at->opt, (size_t)at->n, sizeof *at->opt, by_option);
  for (at->n_whole = 0; at->n_whole < at->n && at->opt[at->n_whole].keep == 0;) at->n_whole++;
  return f->failed ? iso_fail(err, ISO_ENOMEM, "no memory for the plans of a chain") : ISO_OK;
}

static iso_status kinds_of(iso_remat_front *f, iso_err *err) {
  int n = f->c->n;
  f->kind = calloc((size_t)n * GROUP + 1, sizeof *f->kind);
  if (!f->kind) return iso_fail(err, ISO_ENOMEM, "no memory for the plans of a chain");
  for (int g = 1; g <= GROUP; g++)
    for (int a = 0; a < n; a++) {
      kind *k = &f->kind[f->kinds];
      f->of[g - 1][a] = -1;
      if (a + g > n) continue;
      *k = (kind){0};
      ISO_TRY(iso_remat_group_open(f->d, f->c, a, g, &k->g, err));
      int same = 0;
      while (same < f->kinds && !iso_remat_group_same(&f->kind[same].g, &k->g)) same++;
      bool large = k->g.d->n > 63 || k->g.forward - (k->g.tail ? 0 : 1) > KEEP_MAX;
      if (large && g == 1)
        return iso_fail(err, ISO_EUNSUP, "an atom of %d forward and %d other values is too large to try every subset", k->g.forward,
                        k->g.d->n - k->g.forward);
      if (!large) f->of[g - 1][a] = same;
      if (large || same < f->kinds) {
        iso_remat_group_close(&k->g);
        continue;
      }
      f->kinds++;
      for (int lv = 0; lv <= f->intervals; lv++) ISO_TRY(options(f, k, lv, err));
    }
  return ISO_OK;
}

// ---- Ranges.

static int64_t out_b(const iso_remat_front *f, int atom) { return f->d->node[f->c->atom[atom].f1 - 1].bytes; }

// Forward peak of an atom, the value that enters it counted until its last reader.
static int64_t alone(const iso_remat_front *f, int a) {
  const iso_remat_dag *d = f->d;
  int f0 = f->c->atom[a].f0, f1 = f->c->atom[a].f1;
  int64_t now = f0 > 0 ? d->node[f0 - 1].bytes : 0, most = now;
  for (int v = f0; v < f1; v++) {
    if (now + d->node[v].bytes + d->node[v].work_b > most) most = now + d->node[v].bytes + d->node[v].work_b;
    now += d->node[v].bytes;
    for (int i = 0; i < d->node[v].n_in; i++) {
      int u = d->node[v].in[i];
      bool again = false;
      for (int j = v + 1; j < f1 && !again; j++)
        for (int q = 0; q < d->node[j].n_in; q++) again = again || d->node[j].in[q] == u;
      if (!again) now -= d->node[u].bytes;
    }
  }
  return most;
}

static const double NEAR = 1 - 1e-12;  // sums of the same costs in another order

// Long fronts: the cheapest point of each interval of peaks, finer at low ones.
static void take_in_grid(iso_remat_front *f, point p) {
  int i = (int)(sqrt((double)p.peak_b / f->grid_b) * f->points);
  point *q = &f->tmp[i < f->points ? i : f->points - 1];
  if (p.cost < q->cost * NEAR || (p.cost * NEAR <= q->cost && p.peak_b < q->peak_b)) *q = p;
}

static int by_peak(const void *x, const void *y) {
  const point *a = x, *b = y;
  if (a->peak_b != b->peak_b) return a->peak_b < b->peak_b ? -1 : 1;
  return a->cost < b->cost ? -1 : a->cost > b->cost;
}

// Sorts what was taken and drops what is no better than something of a lower peak. Too much is left: on with the grid.
static void settle(iso_remat_front *f) {
  int n = 0;
  qsort(f->tmp, (size_t)f->n_tmp, sizeof *f->tmp, by_peak);
  for (int i = 0; i < f->n_tmp; i++)
    if (n == 0 || f->tmp[i].cost < f->tmp[n - 1].cost * NEAR) f->tmp[n++] = f->tmp[i];
  f->n_tmp = f->settled = n;
  if (n <= f->points) return;
  point *from = f->tmp + f->points;
  memmove(from, f->tmp, (size_t)n * sizeof *from);
  for (int i = 0; i < f->points; i++) f->tmp[i] = (point){.cost = INFINITY};
  for (int i = 0; i < n; i++) take_in_grid(f, from[i]);
  f->grid = f->thinned = true;
}

// Takes a point unless a settled one is better.
static void take(iso_remat_front *f, point p) {
  if (f->grid) {
    take_in_grid(f, p);
    return;
  }
  int lo = 0, hi = f->settled;
  while (lo < hi) {
    int mid = (lo + hi) / 2;
    if (f->tmp[mid].peak_b <= p.peak_b)
      lo = mid + 1;
    else
      hi = mid;
  }
  if (lo > 0 && f->tmp[lo - 1].cost * NEAR <= p.cost) return;
  f->tmp[f->n_tmp++] = p;
  if (f->n_tmp == f->cap_tmp - f->points) settle(f);
}

// Drops what the grid holds beside its front.
static void close_grid(iso_remat_front *f) {
  int n = 0;
  for (int i = 0; i < f->points; i++)
    if (f->tmp[i].cost < INFINITY && (n == 0 || f->tmp[i].cost < f->tmp[n - 1].cost * NEAR)) f->tmp[n++] = f->tmp[i];
  f->n_tmp = n;
  f->grid = false;
}

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static int at_of(const iso_remat_front *f, int a, int len) { return f->same[(size_t)len * (size_t)f->c->n + (size_t)a]; }

static range *range_of(const iso_remat_front *f, int t, int a, int len) {
  return &f->r[(size_t)t * (size_t)f->c->n * (size_t)(f->c->n + 1) + (size_t)at_of(f, a, len)];
}

// Points that begin with a group of g atoms.
static void groups_first(iso_remat_front *f, int t, int a, int len, int g, int64_t wait) {
  int id = g <= len ? f->of[g - 1][a] : -1;
  if (id < 0) return;
  if (g == len) {
    const level *k = &f->kind[id].at[level_whole(f, t)];
    for (int i = 0; i < k->n_whole; i++)
      take(f, (point){.peak_b = k->opt[i].back_b, .cost = k->opt[i].back_cost, .how = WHOLE, .atoms = (uint8_t)g, .option = i});
    return;
  }
  const level *k = &f->kind[id].at[level_keep(f, t)];
  const range *rest = range_of(f, t, a + g, len - g);
  for (int i = 0; i < k->n; i++) {
    const option *o = &k->opt[i];
    int64_t own = most(o->fwd_b + wait, o->back_b), held = o->keep_b + out_b(f, a + g - 1);
    for (int j = 0; j < rest->n; j++)
      take(f, (point){.peak_b = most(own, held + rest->p[j].peak_b),
                      .cost = o->fwd_cost + o->back_cost + rest->p[j].cost,
                      .how = KEEP,
                      .atoms = (uint8_t)g,
                      .option = i,
                      .right = j});
  }
}

static void splits(iso_remat_front *f, int t, int a, int len, int64_t wait) {
  if (depth_left(f, t) >= depths(f)) return;
  int64_t fwd = 0;
  double cost = 0;
  for (int m = 1; m < len; m++) {
    const kind *k = &f->kind[f->of[0][a + m - 1]];
    fwd = most(fwd, m == 1 ? k->fwd_b : f->alone_b[a + m - 1]);
    cost += k->fwd_cost;
    const range *right = range_of(f, t, a + m, len - m), *left = range_of(f, depth_left(f, t), a, m);
    int64_t held = out_b(f, a + m - 1);
    for (int i = 0, j = 0; i < right->n && j < left->n;) {
      int64_t x = held + right->p[i].peak_b, y = left->p[j].peak_b;
      while (i + 1 < right->n && held + right->p[i + 1].peak_b <= y) i++;
      while (j + 1 < left->n && left->p[j + 1].peak_b <= x) j++;
      x = held + right->p[i].peak_b;
      y = left->p[j].peak_b;
      take(f, (point){.peak_b = most(fwd + wait, most(x, y)),
                      .cost = cost + right->p[i].cost + left->p[j].cost,
                      .how = SPLIT,
                      .split = (uint16_t)m,
                      .right = i,
                      .left = j});
      int64_t nx = i + 1 < right->n ? held + right->p[i + 1].peak_b : INT64_MAX, ny = j + 1 < left->n ? left->p[j + 1].peak_b : INT64_MAX;
      if (nx == INT64_MAX && ny == INT64_MAX) break;
      if (nx <= ny) i++;
      if (ny <= nx) j++;
    }
  }
}

static iso_status solve_range(iso_remat_front *f, int t, int a, int len, iso_err *err) {
  range *r = range_of(f, t, a, len);
  int64_t wait = a + len < f->c->n ? f->c->wait_b[a + len - 1] : 0;
  f->n_tmp = f->settled = 0;
  f->grid_b = 1;  // no plan needs more than all values at once, and all gradients of an atom
  for (int i = a; i < a + len; i++) {
    double back = 0;
    for (int v = f->c->atom[i].b0; v < f->c->atom[i].b1; v++) back += (double)(f->d->node[v].bytes + f->d->node[v].work_b);
    f->grid_b = fmax(f->grid_b, back);
  }
  for (int v = f->c->atom[a].f0; v < f->c->atom[a + len - 1].f1; v++) f->grid_b += (double)(f->d->node[v].bytes);
  for (int g = 1; g <= GROUP; g++) groups_first(f, t, a, len, g, wait);
  splits(f, t, a, len, wait);
  if (!f->grid) settle(f);
  if (f->grid) close_grid(f);
  r->p = malloc(((size_t)f->n_tmp + 1) * sizeof *r->p);
  if (!r->p || f->failed) return iso_fail(err, ISO_ENOMEM, "no memory for the plans of a chain");
  if (f->n_tmp) memcpy(r->p, f->tmp, (size_t)f->n_tmp * sizeof *r->p);
  r->n = f->n_tmp;
  return ISO_OK;
}

// Ranges of the same kinds at the same places are solved once: a repeated block gives few different ones of each length.
static void find_same(iso_remat_front *f) {
  int n = f->c->n;
  for (int len = 1; len <= n; len++)
    for (int a = 0; a + len <= n; a++) {
      size_t at = (size_t)len * (size_t)n + (size_t)a;
      f->same[at] = (int)at;
      for (int b = 0; b < a; b++) {
        size_t other = (size_t)len * (size_t)n + (size_t)b;
        if (f->same[other] != (int)other || a + len == n) continue;
        bool eq = f->c->atom[a].type == f->c->atom[b].type && f->of[1][a] == (len > 1 ? f->of[1][b] : f->of[1][a]);
        if (eq && len > 1) eq = f->same[(size_t)(len - 1) * (size_t)n + (size_t)a + 1] == f->same[(size_t)(len - 1) * (size_t)n + (size_t)b + 1];
        if (!eq) continue;
        f->same[at] = (int)other;
        break;
      }
    }
}

iso_status iso_remat_front_open(const iso_remat_dag *d, const iso_remat_chain *c, int points, int intervals, iso_remat_front **out, iso_err *err) {
  *out = NULL;
  if (points < 2 || points > 1 << 20) return iso_fail(err, ISO_EINVAL, "a front of %d points: expected 2 to %d", points, 1 << 20);
  if (intervals < 0 || intervals >= ISO_REMAT_INTERVALS)
    return iso_fail(err, ISO_EINVAL, "a front with %d retention intervals a value: expected 1 to %d, or 0 for any number", intervals,
                    ISO_REMAT_INTERVALS - 1);
  if (c->n > 4096) return iso_fail(err, ISO_EUNSUP, "a chain of %d atoms: expected up to 4096", c->n);
  iso_remat_front *f = calloc(1, sizeof *f);
  if (!f) return iso_fail(err, ISO_ENOMEM, "no memory for the plans of a chain");
  size_t n = (size_t)c->n;
  iso_status st = ISO_OK;
  f->d = d;
  f->c = c;
  f->points = points;
  f->intervals = intervals;
  for (int g = 0; g < GROUP; g++) f->of[g] = calloc(n + 1, sizeof *f->of[g]);
  f->cap_tmp = 4 * points + 8192;
  f->tmp = malloc((size_t)f->cap_tmp * sizeof *f->tmp);
  f->alone_b = calloc(n + 1, sizeof *f->alone_b);
  f->same = calloc(n * (n + 1), sizeof *f->same);
  f->r = calloc((size_t)depths(f) * n * (n + 1), sizeof *f->r);
  if (!f->of[0] || !f->of[1] || !f->tmp || !f->alone_b || !f->same || !f->r) {
    st = iso_fail(err, ISO_ENOMEM, "no memory for the plans of a chain of %d atoms", c->n);
    goto done;
  }
  ISO_TRYG(kinds_of(f, err));
  for (int a = 0; a < c->n; a++) f->alone_b[a] = alone(f, a);
  find_same(f);
  for (int len = 1; len <= c->n; len++)
    for (int a = 0; a + len <= c->n; a++)
      if (at_of(f, a, len) == (int)((size_t)len * n + (size_t)a))
        for (int t = 0; t < depths(f); t++) ISO_TRYG(solve_range(f, t, a, len, err));
  *out = f;
  return ISO_OK;
done:
  iso_remat_front_close(f);
  return st;
}

void iso_remat_front_close(iso_remat_front *f) {
  if (!f) return;
  for (int k = 0; f->kind && k < f->kinds; k++) {
    for (int lv = 0; lv <= f->intervals; lv++) {
      level *at = &f->kind[k].at[lv];
      for (int i = 0; i < at->n; i++) iso_remat_schedule_close(&at->opt[i].back);
      free(at->opt);
    }
    iso_remat_group_close(&f->kind[k].g);
  }
  size_t n = f->c ? (size_t)f->c->n : 0;
  for (size_t i = 0; f->r && i < (size_t)depths(f) * n * (n + 1); i++) free(f->r[i].p);
  for (int g = 0; g < GROUP; g++) free(f->of[g]);
  free(f->kind);
  free(f->alone_b);
  free(f->same);
  free(f->r);
  free(f->tmp);
  free(f);
}

static const range *all(const iso_remat_front *f) { return range_of(f, 0, 0, f->c->n); }
int iso_remat_front_count(const iso_remat_front *f) { return all(f)->n; }
iso_remat_point iso_remat_front_at(const iso_remat_front *f, int i) { return (iso_remat_point){all(f)->p[i].peak_b, all(f)->p[i].cost}; }
bool iso_remat_front_thinned(const iso_remat_front *f) { return f->thinned; }

int iso_remat_front_under(const iso_remat_front *f, int64_t limit_b) {
  const range *r = all(f);
  int i = r->n - 1;
  while (i >= 0 && r->p[i].peak_b > limit_b) i--;
  return i;
}

// ---- A point as a schedule.

static iso_status write_back(iso_remat_writer *w, const iso_remat_front *f, int a, int g, const option *o, iso_err *err) {
  iso_remat_group here;
  ISO_TRY(iso_remat_group_open(f->d, f->c, a, g, &here, err));
  iso_status st = ISO_OK;
  for (int i = 0; st == ISO_OK && i < o->back.n; i++) st = iso_remat_push(w->out, here.real[o->back.step[i].node], o->back.step[i].drop, err);
  iso_remat_group_close(&here);
  return st;
}

static iso_status write_range(iso_remat_writer *w, const iso_remat_front *f, int t, int a, int len, int i, iso_err *err) {
  const point *p = &range_of(f, t, a, len)->p[i];
  if (p->how == SPLIT) {
    ISO_TRY(iso_remat_write_forward(w, a, a + p->split, NULL, err));
    ISO_TRY(write_range(w, f, t, a + p->split, len - p->split, p->right, err));
    ISO_TRY(iso_remat_push(w->out, f->c->atom[a + p->split - 1].f1 - 1, true, err));
    return write_range(w, f, depth_left(f, t), a, p->split, p->left, err);
  }
  const level *k = &f->kind[f->of[p->atoms - 1][a]].at[p->how == KEEP ? level_keep(f, t) : level_whole(f, t)];
  const option *o = &k->opt[p->option];
  if (p->how == KEEP) {
    int f0 = f->c->atom[a].f0;
    bool *keep = calloc((size_t)f->d->n + 1, sizeof *keep);
    if (!keep) return iso_fail(err, ISO_ENOMEM, "no memory for a schedule");
    for (int v = 0; v < 32 && f0 + v < f->d->n; v++) keep[f0 + v] = o->keep >> v & 1;
    iso_status st = iso_remat_write_forward(w, a, a + p->atoms, keep, err);
    free(keep);
    ISO_TRY(st);
    ISO_TRY(write_range(w, f, t, a + p->atoms, len - p->atoms, p->right, err));
    ISO_TRY(iso_remat_push(w->out, f->c->atom[a + p->atoms - 1].f1 - 1, true, err));
  }
  return write_back(w, f, a, p->atoms, o, err);
}

iso_status iso_remat_front_schedule(const iso_remat_front *f, int i, iso_remat_schedule *out, iso_err *err) {
  iso_remat_writer w;
  *out = (iso_remat_schedule){0};
  if (i < 0 || i >= all(f)->n) return iso_fail(err, ISO_EINVAL, "no plan %d among %d", i, all(f)->n);
  ISO_TRY(iso_remat_writer_open(&w, f->d, f->c, out, err));
  iso_status st = write_range(&w, f, 0, 0, f->c->n, i, err);
  if (st != ISO_OK) iso_remat_schedule_close(out);
  iso_remat_writer_close(&w);
  return st;
}
