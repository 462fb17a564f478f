// The search for building blocks: enumerated steps, cuts and turns, ranked by memory, replayed.
#include "plan/layout/layout_adapt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/layout/layout_block.h"
#include "plan/layout/layout_impl.h"

enum { CUTS = 8, BEST = 2, WAITS = 2, CUTS_QUICK = 4, WAITS_QUICK = 1, FINALS = 4, TURNS = 6 * 6 * 6 };

// Slots down and up: sums of 2 to 6, a third of 1F1B's memory to all of it.
static const int8_t STEP[][2] = {{1, 1}, {2, 1}, {3, 1}, {4, 1}, {4, 2}, {5, 1}};
enum { STEPS = ISO_COUNT(STEP) };

typedef struct found {
  iso_layout_weave weave;
  double span_s;
} found;

typedef struct adapt {
  const iso_layout_pipe *pipe;
  bool quick;
  int64_t held_min, held_max, least;  // least: that any block without clashes holds
  iso_layout_block b;                 // scratch
  iso_layout_slot *list;              // owned
  found (*best)[BEST];                // owned, [held_max + 1]
  int64_t blocks;
  double least_s;  // work of the device that has least, a micro-batch
  iso_err *err;
} adapt;

static iso_layout_weave weave_of(const iso_layout_block *b, int64_t held) {
  iso_layout_weave w = {.held = (int32_t)held, .cut = (int32_t)b->cut};
  for (int i = 0; i < 2; i++) {
    w.down[i] = (int8_t)b->down[i];
    w.up[i] = (int8_t)b->up[i];
  }
  for (int i = 0; i < 3; i++) w.turn[i] = (int8_t)b->turn[i];
  return w;
}

static iso_status span(adapt *a, const iso_layout_block *b, int64_t m, int order, double idle_s, double *out) {
  iso_layout_pace pace = {.len = {a->pipe->f, a->pipe->b, a->pipe->w}, .hop_s = a->pipe->hop_s, .order = (iso_layout_order)order, .idle_s = idle_s};
  return iso_layout_block_lists(b, m, &pace, a->list, out, a->err);
}

static void offer(adapt *a, const found *f) {
  found *at = a->best[f->weave.held];
  int i = BEST;
  while (i > 0 && f->span_s < at[i - 1].span_s) i--;
  if (i == BEST) return;
  for (int k = BEST - 1; k > i; k--) at[k] = at[k - 1];
  at[i] = *f;
}

typedef struct turns {
  int64_t held, wait, turn[3];
} turns;

static int by_held(const void *x, const void *y) {
  const turns *a = x, *b = y;
  if (a->held != b->held) return a->held < b->held ? -1 : 1;
  if (a->wait != b->wait) return a->wait < b->wait ? -1 : 1;
  return memcmp(a->turn, b->turn, sizeof a->turn);
}

// One pair of steps and a cut: of the turns without a clash, for each number of chunks held the shortest.
static iso_status each_turn(adapt *a) {
  iso_layout_block *b = &a->b;
  turns all[TURNS];
  int n = 0, same = 0;
  for (int k = 0; k < TURNS; k++) {
    turns *t = &all[n];
    t->wait = 0;
    for (int i = 0, rest = k; i < 3; i++, rest /= 6) t->wait += t->turn[i] = b->turn[i] = 1 + rest % 6;
    if (!iso_layout_block_place(b)) continue;
    t->held = iso_layout_block_peak(b);
    if (t->held < a->least) a->least = t->held;
    if (t->held >= a->held_min && t->held <= a->held_max) n++;
  }
  qsort(all, (size_t)n, sizeof *all, by_held);
  int64_t few = a->pipe->m < 2 * b->p ? a->pipe->m : 2 * b->p;
  for (int k = 0; k < n; k++) {
    same = k && all[k].held == all[k - 1].held ? same + 1 : 0;
    if (same >= (a->quick ? WAITS_QUICK : WAITS)) continue;
    memcpy(b->turn, all[k].turn, sizeof b->turn);
    (void)iso_layout_block_place(b);
    found f = {.weave = weave_of(b, all[k].held)};
    a->blocks++;
    // Above half of 1F1B's memory the order by slots is the better one, but for a few.
    bool both = !a->quick || a->held_max < b->p + 4;
    for (int order = ISO_LAYOUT_ORDER_SLOTS; order <= (both ? ISO_LAYOUT_ORDER_READY : ISO_LAYOUT_ORDER_SLOTS); order++) {
      f.weave.order = (uint8_t)order;
      double worst = a->best[f.weave.held][BEST - 1].span_s - (double)few * a->least_s;
      ISO_TRY(span(a, b, few, order, worst < INFINITY ? fmax(worst, 1e-300) : 0, &f.span_s));
      offer(a, &f);
    }
  }
  return ISO_OK;
}

static iso_status each_block(adapt *a) {
  iso_layout_block *b = &a->b;
  int64_t cuts = a->quick ? CUTS_QUICK : CUTS, by = (b->p - 1 + cuts - 1) / cuts;
  for (int s = 0; s < STEPS; s++)
    for (int t = 0; t < STEPS; t++)
      for (int64_t cut = s == t ? b->p : by; cut < (s == t ? b->p + 1 : b->p); cut += by) {
        b->cut = cut;
        b->down[0] = STEP[s][0];
        b->up[0] = STEP[s][1];
        b->down[1] = STEP[t][0];
        b->up[1] = STEP[t][1];
        ISO_TRY(each_turn(a));
      }
  return ISO_OK;
}

// All micro-batches: a block in its order.
static iso_status replayed(adapt *a, found *f) {
  iso_layout_pipe in = *a->pipe;
  iso_layout_trace t;
  in.schedule = ISO_LAYOUT_V_ADAPTIVE;
  in.v = 2;
  in.weave = f->weave;
  ISO_TRY(iso_layout_simulate(&in, &t, a->err));
  f->span_s = t.span_s;
  iso_layout_trace_close(&t);
  return ISO_OK;
}

// The schedules that have a name, as they are.
static iso_status named(adapt *a, int schedule, found *f) {
  int64_t down, up, p = a->pipe->p;
  iso_layout_block b;
  f->span_s = INFINITY;
  if (!iso_layout_sched_steps((iso_layout_sched)schedule, &down, &up)) return ISO_OK;
  ISO_TRY(iso_layout_block_open(p, 2, down, up, &b, a->err));
  int64_t held = iso_layout_block_peak(&b);
  f->weave = weave_of(&b, held);
  f->weave.order = ISO_LAYOUT_ORDER_SLOTS;
  iso_layout_block_close(&b);
  return held <= a->held_max ? replayed(a, f) : ISO_OK;
}

static void put(iso_layout_adapt *out, const found *f) {
  if (out->n && !(f->span_s < out->point[out->n - 1].span_s * (1 - 1e-12))) return;
  out->point[out->n++] = (iso_layout_adapt_point){f->weave, f->span_s};
}

// quick: leaves the FINALS that are best at few micro-batches.
static void thin(adapt *a) {
  double best[FINALS + 1];
  int n = 0;
  for (int64_t held = 0; held <= a->held_max; held++)
    for (int i = 0; i < BEST; i++) {
      double v = a->best[held][i].span_s;
      int k = n < FINALS ? n++ : FINALS;
      for (; k > 0 && v < best[k - 1]; k--) best[k] = best[k - 1];
      best[k] = v;
    }
  for (int64_t held = 0; held <= a->held_max && n == FINALS; held++)
    for (int i = 0; i < BEST; i++)
      if (a->best[held][i].span_s > best[FINALS - 1]) a->best[held][i].span_s = INFINITY;
}

static iso_status front(adapt *a, iso_layout_adapt *out) {
  found fixed[3];
  if (a->quick) thin(a);
  for (int s = 0; s < 3; s++) ISO_TRY(named(a, ISO_LAYOUT_ZB_V + s, &fixed[s]));
  for (int64_t held = 0; held <= a->held_max; held++) {
    found best = {.span_s = INFINITY};
    for (int i = 0; i < BEST; i++) {
      found *f = &a->best[held][i];
      if (!(f->span_s < INFINITY)) continue;
      ISO_TRY(replayed(a, f));
      if (f->span_s < best.span_s) best = *f;
    }
    for (int s = 0; s < 3; s++)
      if (fixed[s].span_s < best.span_s && fixed[s].weave.held == held) best = fixed[s];
    if (best.span_s < INFINITY) put(out, &best);
  }
  return ISO_OK;
}

static iso_status run(adapt *a, iso_layout_adapt *out) {
  iso_err *err = a->err;
  int64_t p = a->pipe->p;
  a->b = (iso_layout_block){.p = p, .v = 2, .interval = 6, .slot = calloc((size_t)p, sizeof *a->b.slot)};
  a->list = malloc((size_t)(6 * p * a->pipe->m) * sizeof *a->list);
  a->best = malloc((size_t)(a->held_max + 1) * sizeof *a->best);
  out->point = malloc((size_t)(a->held_max + 1) * sizeof *out->point);
  if (!a->b.slot || !a->list || !a->best || !out->point)
    return iso_fail(err, ISO_ENOMEM, "building blocks: no memory for %lld tasks", (long long)(6 * p * a->pipe->m));
  for (int64_t h = 0; h <= a->held_max; h++)
    for (int i = 0; i < BEST; i++) a->best[h][i].span_s = INFINITY;
  a->least = INT64_MAX;
  a->least_s = INFINITY;
  for (int64_t d = 0; d < p; d++) {
    const iso_layout_pipe *t = a->pipe;
    int64_t o = 2 * p - 1 - d;
    a->least_s = fmin(a->least_s, t->f[d] + t->b[d] + t->w[d] + t->f[o] + t->b[o] + t->w[o]);
  }
  ISO_TRY(each_block(a));
  ISO_TRY(front(a, out));
  out->blocks = a->blocks;
  if (!out->n)
    return iso_fail(err, ISO_EINVAL, "building blocks: %lld devices hold %lld chunks at the least, the limit is %lld", (long long)p,
                    (long long)a->least, (long long)a->held_max);
  return ISO_OK;
}

iso_status iso_layout_adapt_open(const iso_layout_pipe *pipe, int64_t held_max, bool quick, iso_layout_adapt *out, iso_err *err) {
  iso_layout_pipe in = *pipe;
  adapt a = {.pipe = pipe, .quick = quick, .err = err};
  *out = (iso_layout_adapt){0};
  in.schedule = ISO_LAYOUT_V_ADAPTIVE;
  in.v = 2;
  ISO_TRY(iso_layout_pipe_check(&in, err));
  a.held_max = held_max < 0 ? 0 : held_max;
  if (a.held_max > iso_layout_adapt_most(pipe->p)) a.held_max = iso_layout_adapt_most(pipe->p);
  a.held_min = quick ? a.held_max * 3 / 4 : 0;
  iso_status st = run(&a, out);
  free(a.b.slot);
  free(a.list);
  free(a.best);
  if (st != ISO_OK) iso_layout_adapt_close(out);
  return st;
}

void iso_layout_adapt_close(iso_layout_adapt *a) {
  free(a->point);
  *a = (iso_layout_adapt){0};
}

const iso_layout_adapt_point *iso_layout_adapt_under(const iso_layout_adapt *a, int64_t held) {
  const iso_layout_adapt_point *best = NULL;
  for (int64_t i = 0; i < a->n && a->point[i].weave.held <= held; i++) best = &a->point[i];
  return best;
}

int64_t iso_layout_adapt_share(int64_t p, double share) { return (int64_t)floor(2 * (double)p * share + 1e-9); }
int64_t iso_layout_adapt_most(int64_t p) { return 2 * p + 6; }

// The most chunks whose activations fit beside all else; 0: none.
static int64_t room(const iso_layout_job *j, const iso_layout_machine *m, iso_layout l) {
  iso_layout_mem k;
  for (l.weave.held = (int32_t)iso_layout_adapt_most(l.pipeline); l.weave.held > 0; l.weave.held--) {
    iso_layout_memory(j, &l, &k);
    if (k.total_b <= m->mem_b) break;
  }
  return l.weave.held;
}

iso_status iso_layout_adapt_step(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, int64_t held_max, bool quick,
                                 iso_layout *l, iso_layout_adapt *waits, iso_err *err) {
  iso_layout_adapt a;
  iso_layout_pipe pipe;
  double *times;
  if (l->schedule != ISO_LAYOUT_V_ADAPTIVE)
    return iso_fail(err, ISO_EINVAL, "layout: schedule %s is no building block to choose", iso_layout_sched_name(l->schedule));
  l->weave = (iso_layout_weave){0};
  int64_t fits = room(j, m, *l), most = held_max && held_max < fits ? held_max : fits;
  ISO_TRY(iso_lay_pipe_open(j, m, c, l, &times, &pipe, err));
  iso_status st = iso_layout_adapt_open(&pipe, most, quick, &a, err);
  free(times);
  if (st == ISO_EINVAL && most == fits) {
    st = ISO_ENOMEM;
    if (err) err->status = st;
  }
  if (st != ISO_OK) return st;
  l->weave = a.point[a.n - 1].weave;
  if (waits)
    *waits = a;
  else
    iso_layout_adapt_close(&a);
  return ISO_OK;
}
