// Task lists of the pipeline schedules and their replay.
#include "plan/layout/layout_sim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/layout/layout_block.h"
#include "plan/layout/layout_impl.h"

enum { TASKS_MAX = 1 << 24 };

typedef struct sim {
  const iso_layout_pipe *in;
  bool split, fold;    // weight gradients are tasks of their own; the model is folded like a V
  bool dual;           // micro-batches enter at both ends
  int64_t per;         // tasks a device
  iso_layout_task *t;  // borrowed: p x per
  int64_t n;           // filled so far
  double *end;         // owned: [kind][virtual stage][micro-batch], NaN until done
} sim;

static void put(sim *s, int64_t device, iso_layout_task_kind kind, int64_t chunk, int64_t k) {
  s->t[s->n++] = (iso_layout_task){.device = device, .chunk = chunk, .micro_batch = k, .kind = kind};
}

static void list_gpipe(sim *s, int64_t d) {
  for (int64_t k = 0; k < s->in->m; k++) put(s, d, ISO_LAYOUT_TASK_F, 0, k);
  for (int64_t k = 0; k < s->in->m; k++) put(s, d, ISO_LAYOUT_TASK_B, 0, k);
}

// p - d - 1 forward passes, then one forward, one backward.
static void list_1f1b(sim *s, int64_t d) {
  int64_t m = s->in->m, warm = s->in->p - d - 1 < m ? s->in->p - d - 1 : m, f = 0;
  while (f < warm) put(s, d, ISO_LAYOUT_TASK_F, 0, f++);
  for (int64_t k = 0; k < m; k++) {
    if (f < m) put(s, d, ISO_LAYOUT_TASK_F, 0, f++);
    put(s, d, ISO_LAYOUT_TASK_B, 0, k);
  }
}

// Narayanan et al. 2021: groups of p micro-batches go through a device's chunks in turn; 2 (p - d - 1) + (v - 1) p passes of lead.
static void list_interleaved(sim *s, int64_t d) {
  int64_t p = s->in->p, v = s->in->v, all = s->in->m * v, warm = 2 * (p - d - 1) + (v - 1) * p, f = 0;
  if (warm > all || s->in->m == p) warm = all;
  for (int64_t i = 0; i < all; i++) {
    while (f < all && f <= warm + i) {
      int64_t r = f % (p * v);
      put(s, d, ISO_LAYOUT_TASK_F, r / p, f / (p * v) * p + r % p);
      f++;
    }
    int64_t r = i % (p * v);
    put(s, d, ISO_LAYOUT_TASK_B, v - 1 - r / p, i / (p * v) * p + r % p);
  }
}

// Qi et al. 2023: as 1F1B, weight gradients late. H1 starts p - d passes, H2 2 (p - d) - 1; weight gradients lag by d or 2 d micro-batches,
// so that every device holds p or 2p - 1 of them.
static void list_zero_bubble(sim *s, int64_t d) {
  bool h2 = s->in->schedule == ISO_LAYOUT_ZB_H2;
  int64_t m = s->in->m, p = s->in->p, warm = h2 ? 2 * (p - d) - 1 : p - d, lag = h2 ? 2 * d : d, f = 0, w = 0;
  while (f < warm && f < m) put(s, d, ISO_LAYOUT_TASK_F, 0, f++);
  for (int64_t k = 0; k < m; k++) {
    put(s, d, ISO_LAYOUT_TASK_B, 0, k);
    if (k >= lag) put(s, d, ISO_LAYOUT_TASK_W, 0, w++);
    if (f < m) put(s, d, ISO_LAYOUT_TASK_F, 0, f++);
  }
  while (w < m) put(s, d, ISO_LAYOUT_TASK_W, 0, w++);
}

// Gradients of weights that wait on a device, in the order in which they came up.
typedef struct waiting {
  iso_layout_slot *slot;  // owned
  int64_t n, at;
} waiting;

static void put_late(sim *s, int64_t d, waiting *w) {
  put(s, d, ISO_LAYOUT_TASK_W, w->slot[w->at].chunk, w->slot[w->at].micro_batch);
  w->at++;
}

// DualPipe (arXiv:2412.19437, figure 5) on a device `r` places from its end of the pipeline; `a` is the direction that starts there. Forward
// passes of a, then of both; gradients of inputs and of weights of the other with its forward passes; pairs; gradients of both; and those of
// weights that were put off when they no longer held anybody up.
static void list_dual(sim *s, int64_t d, waiting *late) {
  int64_t p = s->in->p, h = p / 2, each = s->in->m / 2, r = d < h ? d : p - 1 - d, a = d < h ? 0 : 1, f[2] = {0}, b[2] = {0};
  late->n = late->at = 0;
#define FWD(dir) put(s, d, ISO_LAYOUT_TASK_F, dir, f[dir]++)
#define BWD(dir) (put(s, d, ISO_LAYOUT_TASK_B, dir, b[dir]), put(s, d, ISO_LAYOUT_TASK_W, dir, b[dir]++))
#define BWD_LATE(dir) (late->slot[late->n++] = (iso_layout_slot){ISO_LAYOUT_TASK_W, dir, b[dir]}, put(s, d, ISO_LAYOUT_TASK_B, dir, b[dir]++))
#define PAIR(dir) (FWD(dir), s->t[s->n - 1].paired = true, BWD(1 - (dir)))
  for (int64_t i = 0; i < 2 * (h - r - 1); i++) FWD(a);
  for (int64_t i = 0; i <= r; i++) FWD(a), FWD(1 - a);
  for (int64_t i = 0; i < h - r - 1; i++) BWD(1 - a), FWD(1 - a);
  for (int64_t i = 0; i < each - p + r + 1; i++) PAIR(a), PAIR(1 - a);
  for (int64_t i = 0; i < h - r - 1; i++) BWD(1 - a), PAIR(1 - a);
  for (int64_t i = 0; i < 2 * (r + 1); i++) {
    int64_t dir = i % 2 ? a : 1 - a;
    if (i > r) BWD_LATE(dir);
    if (i <= r) BWD(dir);
  }
  for (int64_t i = 0; i < h - r - 1; i++) {
    put_late(s, d, late);
    BWD_LATE(a);
  }
  while (late->at < late->n) put_late(s, d, late);
#undef FWD
#undef BWD
#undef BWD_LATE
#undef PAIR
}

static iso_status list_block(sim *s, iso_err *err) {
  const iso_layout_pipe *in = s->in;
  int64_t down, up;
  iso_layout_block b;
  iso_layout_pace pace = {.len = {in->f, in->b, in->w}, .hop_s = in->hop_s, .order = (iso_layout_order)in->weave.order};
  bool adaptive = in->schedule == ISO_LAYOUT_V_ADAPTIVE;
  if (adaptive) {
    ISO_TRY(iso_layout_block_from(in->p, &in->weave, &b, err));
  } else {
    if (!iso_layout_sched_steps(in->schedule, &down, &up)) return iso_fail(err, ISO_EBUG, "pipeline: no building block");
    ISO_TRY(iso_layout_block_open(in->p, in->v, down, up, &b, err));
  }
  iso_layout_slot *list = malloc((size_t)(in->p * s->per) * sizeof *list);
  iso_status st = list ? iso_layout_block_lists(&b, in->m, adaptive ? &pace : NULL, list, NULL, err)
                       : iso_fail(err, ISO_ENOMEM, "pipeline: no memory for the lists");
  for (int64_t i = 0; st == ISO_OK && i < in->p * s->per; i++)
    put(s, i / s->per, (iso_layout_task_kind)list[i].kind, list[i].chunk, list[i].micro_batch);
  free(list);
  iso_layout_block_close(&b);
  return st;
}

static int64_t stage_of(const sim *s, const iso_layout_task *t) {
  if (s->dual) return t->chunk * s->in->p + (t->chunk ? s->in->p - 1 - t->device : t->device);
  return s->fold ? iso_layout_v_stage(s->in->p, t->chunk, t->device) : t->chunk * s->in->p + t->device;
}

static double *end_of(sim *s, iso_layout_task_kind kind, int64_t stage, int64_t k) {
  return &s->end[((int64_t)kind * s->in->p * s->in->v + stage) * s->in->m + k];
}

// When a task's inputs are there: NaN while they are not.
static double ready(sim *s, const iso_layout_task *t) {
  int64_t stage = stage_of(s, t), last = s->in->p * s->in->v - 1, k = t->micro_batch, p = s->in->p;
  double hop = p > 1 ? s->in->hop_s : 0;
  bool first = s->dual ? stage % p == 0 : stage == 0;  // of its chain of stages
  if (s->dual) last = t->chunk * p + p - 1;
  // At the point of the V a device hands over to itself.
  if (t->kind == ISO_LAYOUT_TASK_F) return first ? 0 : *end_of(s, ISO_LAYOUT_TASK_F, stage - 1, k) + (s->fold && stage == p ? 0 : hop);
  if (t->kind == ISO_LAYOUT_TASK_W) return *end_of(s, ISO_LAYOUT_TASK_B, stage, k);
  double own = *end_of(s, ISO_LAYOUT_TASK_F, stage, k);
  if (stage == last) return own;
  double next = *end_of(s, ISO_LAYOUT_TASK_B, stage + 1, k) + (s->fold && stage + 1 == p ? 0 : hop);
  return own != own || next != next ? NAN : fmax(own, next);
}

static double length(const sim *s, const iso_layout_task *t) {
  int64_t k = stage_of(s, t);
  if (t->kind == ISO_LAYOUT_TASK_F) return s->in->f[k];
  if (t->kind == ISO_LAYOUT_TASK_W) return s->in->w[k];
  return s->in->b[k] + (s->split ? 0 : s->in->w[k]);
}

// A forward pass, a backward pass and its gradients of weights that run at once, from when both passes are ready; what they hand over is on
// its way before they end. False when they are not ready.
static bool run_pair(sim *s, iso_layout_task *t, double *free_s) {
  double r = fmax(ready(s, t), ready(s, t + 1)), hop = s->in->hop_s;
  if (ready(s, t) != ready(s, t) || ready(s, t + 1) != ready(s, t + 1)) return false;
  double whole = s->in->pair ? s->in->pair[t->chunk * s->in->p + t->device] : length(s, t) + length(s, t + 1) + length(s, t + 2);
  for (int i = 0; i < 3; i++) {
    t[i].start_s = fmax(r, *free_s);
    t[i].end_s = t[i].start_s + whole;
    *end_of(s, t[i].kind, stage_of(s, &t[i]), t[i].micro_batch) = t[i].end_s - fmin(hop, whole);
  }
  *free_s = t[0].end_s;
  return true;
}

// Devices in turn run what is ready; false when they wait for one another.
static bool replay(sim *s, int64_t *at, double *free_s) {
  int64_t done = 0, p = s->in->p;
  for (bool moved = true; moved && done < s->n;) {
    moved = false;
    for (int64_t d = 0; d < p; d++) {
      for (; at[d] < s->per; at[d]++, done++, moved = true) {
        iso_layout_task *t = &s->t[d * s->per + at[d]];
        if (t->paired) {
          if (!run_pair(s, t, &free_s[d])) break;
          at[d] += 2;
          done += 2;
          continue;
        }
        double r = ready(s, t);
        if (r != r) break;
        t->start_s = fmax(r, free_s[d]);
        t->end_s = free_s[d] = t->start_s + length(s, t);
        *end_of(s, t->kind, stage_of(s, t), t->micro_batch) = t->end_s;
      }
    }
  }
  return done == s->n;
}

static void measure(const sim *s, iso_layout_trace *o) {
  double v = s->dual ? 1 : (double)s->in->v;
  for (int64_t d = 0; d < s->in->p; d++) {
    const iso_layout_task *t = s->t + d * s->per;
    double busy = 0, held = 0;
    for (int64_t i = 0; i < s->per; i++) {
      bool counted = (i > 0 && t[i - 1].paired) || (i > 1 && t[i - 2].paired);
      if (!counted) busy += t[i].end_s - t[i].start_s;
      if (t[i].kind == ISO_LAYOUT_TASK_F) o->in_flight = fmax(o->in_flight, ++held / v);
      if (t[i].kind == (s->split ? ISO_LAYOUT_TASK_W : ISO_LAYOUT_TASK_B)) held--;
    }
    o->makespan_s = fmax(o->makespan_s, t[s->per - 1].end_s);
    o->span_s = fmax(o->span_s, t[s->per - 1].end_s - t[0].start_s);
    o->busy_s = fmax(o->busy_s, busy);
  }
}

iso_status iso_layout_pipe_check(const iso_layout_pipe *in, iso_err *err) {
  bool inter = in->schedule == ISO_LAYOUT_INTERLEAVED, dual = in->schedule == ISO_LAYOUT_DUALPIPE, two = dual || iso_layout_sched_v(in->schedule);
  if (in->p < 1 || in->m < 1 || in->v < 1 || (two && (in->p < 2 || in->v != 2)) || (!inter && !two && in->v != 1) || (inter && in->m % in->p) ||
      (dual && (in->p % 2 || in->m % 2 || in->m < 2 * in->p)))
    return iso_fail(err, ISO_EINVAL, "pipeline: %lld stages, %lld micro-batches, %lld chunks do not go with schedule %s", (long long)in->p,
                    (long long)in->m, (long long)in->v, iso_layout_sched_name(in->schedule));
  if ((double)in->p * (double)in->m * (double)in->v * 3 > TASKS_MAX)
    return iso_fail(err, ISO_EINVAL, "pipeline: %lld stages x %lld micro-batches x %lld chunks, more than %d tasks", (long long)in->p,
                    (long long)in->m, (long long)in->v, TASKS_MAX);
  for (int64_t k = 0; k < in->p * in->v; k++)
    if (!(in->f[k] >= 0 && in->b[k] >= 0 && in->w[k] >= 0 && in->f[k] + in->b[k] + in->w[k] < INFINITY))
      return iso_fail(err, ISO_EINVAL, "pipeline: stage %lld takes %g, %g and %g s, expected finite times", (long long)k, in->f[k], in->b[k],
                      in->w[k]);
  if (!(in->hop_s >= 0 && in->hop_s < INFINITY)) return iso_fail(err, ISO_EINVAL, "pipeline: a hop of %g s", in->hop_s);
  return ISO_OK;
}

iso_status iso_layout_simulate(const iso_layout_pipe *in, iso_layout_trace *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_layout_pipe_check(in, err));
  sim s = {.in = in, .split = iso_layout_sched_splits(in->schedule), .fold = iso_layout_sched_v(in->schedule)};
  s.dual = in->schedule == ISO_LAYOUT_DUALPIPE;
  int64_t kinds = s.split ? 3 : 2, stages = in->p * in->v;
  s.per = kinds * in->m * in->v / (s.dual ? 2 : 1);
  s.t = calloc((size_t)(s.per * in->p), sizeof *s.t);
  s.end = malloc((size_t)(3 * stages * in->m) * sizeof *s.end);
  int64_t *at = calloc((size_t)in->p, sizeof *at);
  double *free_s = calloc((size_t)in->p, sizeof *free_s);
  waiting late = {.slot = malloc((size_t)(2 * in->p) * sizeof *late.slot)};
  iso_status st = ISO_OK;
  if (!s.t || !s.end || !at || !free_s || !late.slot) {
    st = iso_fail(err, ISO_ENOMEM, "pipeline: no memory for %lld tasks", (long long)(s.per * in->p));
    goto done;
  }
  for (int64_t i = 0; i < 3 * stages * in->m; i++) s.end[i] = NAN;
  if (s.fold) ISO_TRYG(list_block(&s, err));
  for (int64_t d = 0; d < in->p && !s.fold; d++) {
    switch (in->schedule) {
      case ISO_LAYOUT_GPIPE: list_gpipe(&s, d); break;
      case ISO_LAYOUT_INTERLEAVED: list_interleaved(&s, d); break;
      case ISO_LAYOUT_1F1B: list_1f1b(&s, d); break;
      case ISO_LAYOUT_DUALPIPE: list_dual(&s, d, &late); break;
      default: list_zero_bubble(&s, d); break;
    }
  }
  if (!replay(&s, at, free_s)) {
    st = iso_fail(err, ISO_EBUG, "pipeline: schedule %s waits for itself at %lld stages, %lld micro-batches, %lld chunks",
                  iso_layout_sched_name(in->schedule), (long long)in->p, (long long)in->m, (long long)in->v);
    goto done;
  }
  measure(&s, out);
  out->task = s.t;
  out->n = s.n;
  s.t = NULL;
done:
  free(s.t);
  free(s.end);
  free(at);
  free(free_s);
  free(late.slot);
  return st;
}

void iso_layout_trace_close(iso_layout_trace *t) {
  free(t->task);
  *t = (iso_layout_trace){0};
}

iso_status iso_lay_pipe(const iso_lay_ctx *x, const iso_layout *l, const iso_lay_block *k, const iso_lay_data *d, double **times,
                        iso_layout_pipe *out, iso_err *err) {
  bool dual = l->schedule == ISO_LAYOUT_DUALPIPE;
  int64_t chain = l->pipeline * l->chunks, n = dual ? 2 * chain : chain;
  int spare;
  double per = (double)iso_layout_stage_layers(&x->job->shape, l, &spare) / (double)l->chunks;
  double *t = *times = malloc((size_t)(4 * n) * sizeof *t);
  if (!t) return iso_fail(err, ISO_ENOMEM, "pipeline: no memory for %lld stages", (long long)n);
  for (int64_t i = 0; i < n; i++) {
    int64_t at = i % chain;
    double head = at == chain - 1 ? k->head / 3 : 0;  // forward, to the inputs, to the weights
    double blocks = (double)iso_layout_stage_blocks(&x->job->shape, l, at);
    // A pair of device `at`, half of it here and half at the place of its other stage.
    double less = at == 0 || at == chain - 1 ? spare / 2.0 : 0, heads = i == chain - 1 || i == chain ? k->head / 3
                                                                        : i == 0 || i == n - 1       ? 2 * k->head / 3
                                                                                                     : 0;
    t[3 * n + i] = (per - less) * k->pair + heads;
    t[i] = blocks * k->f + head;
    t[n + i] = blocks * k->b + head;
    t[2 * n + i] = blocks * k->w + head;
  }
  *out = (iso_layout_pipe){.schedule = l->schedule, .p = l->pipeline, .m = iso_layout_micro_batches(x->job, l), .weave = l->weave};
  out->v = dual ? 2 : l->chunks;
  out->f = t;
  out->b = t + n;
  out->w = t + 2 * n;
  out->pair = dual ? t + 3 * n : NULL;
  out->hop_s = d->hop_lat_s + k->hop_b / d->hop_b_s;
  return ISO_OK;
}

iso_status iso_lay_pipe_open(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout *l, double **times,
                             iso_layout_pipe *out, iso_err *err) {
  iso_lay_ctx x;
  iso_lay_block k;
  iso_lay_data d;
  iso_layout plain = *l;
  *times = NULL;
  ISO_TRY(iso_layout_shape_check(&j->shape, err));
  ISO_TRY(iso_layout_machine_check(m, err));
  ISO_TRY(iso_layout_cal_check(c, err));
  if (l->schedule == ISO_LAYOUT_V_ADAPTIVE && !l->weave.held) plain.schedule = ISO_LAYOUT_ZB_V;  // the same rules, no building block yet
  ISO_TRY(iso_layout_check(j, &plain, err));
  iso_lay_open(j, m, c, &x);
  iso_lay_block_cost(&x, l, &k);
  iso_lay_data_cost(&x, l, &d);
  return iso_lay_pipe(&x, l, &k, &d, times, out, err);
}

iso_status iso_lay_replay(const iso_layout_pipe *p, double *span_s, double *still_s, iso_err *err) {
  iso_layout_trace t;
  iso_layout_pipe still = *p;
  ISO_TRY(iso_layout_simulate(p, &t, err));
  *span_s = t.span_s;
  iso_layout_trace_close(&t);
  still.hop_s = 0;
  ISO_TRY(iso_layout_simulate(&still, &t, err));
  *still_s = t.span_s;
  iso_layout_trace_close(&t);
  return ISO_OK;
}

iso_status iso_layout_simulate_step(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout *l,
                                    iso_layout_trace *out, iso_err *err) {
  iso_layout_pipe p;
  double *t;
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_lay_pipe_open(j, m, c, l, &t, &p, err));
  iso_status st = iso_layout_simulate(&p, out, err);
  free(t);
  return st;
}
