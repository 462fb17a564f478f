// Enumeration of layouts with what can be shared computed once, and an archive of points that no other beats.
#include "plan/layout/layout_search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/layout/layout_adapt.h"
#include "plan/layout/layout_impl.h"

enum { DIV_MAX = 512, MICRO_MAX = 64, CHUNKS_MAX = 64, ADAPT_MAX = 64, ADAPT_TASKS = 1 << 15 };

// What ZeRO splits and over which ranks, each state at least as finely as the one before; the plain stages first.
static const struct way {
  int zero;
  iso_layout_split weights, grads, states;
  bool quantised;
} WAY[] = {
#define X(zero, weights, grads, states, quantised) {zero, ISO_LAYOUT_SPLIT_##weights, ISO_LAYOUT_SPLIT_##grads, ISO_LAYOUT_SPLIT_##states, quantised},
    X(0, ALL, ALL, ALL, false) X(1, ALL, ALL, ALL, false) X(2, ALL, ALL, ALL, false) X(3, ALL, ALL, ALL, false) X(1, ALL, ALL, LOCAL, false)
        X(2, ALL, LOCAL, ALL, false) X(2, ALL, LOCAL, LOCAL, false) X(3, HPZ, ALL, ALL, false) X(3, LOCAL, ALL, ALL, false)
            X(3, LOCAL, LOCAL, ALL, false) X(3, LOCAL, LOCAL, LOCAL, false) X(3, ALL, ALL, ALL, true) X(3, HPZ, ALL, ALL, true)
                X(3, LOCAL, ALL, ALL, true) X(3, LOCAL, LOCAL, ALL, true)
#undef X
};
enum { WAYS_PLAIN = 4, WAYS_LOCAL = 11, WAYS = ISO_COUNT(WAY) };

// Data-parallel costs of one tensor x context x expert x pipeline x data and one number of blocks a stage.
typedef struct priced {
  bool known;
  int64_t per;
  int spare;
  iso_lay_data d[WAYS][2];
} priced;

typedef struct divs {
  int n;
  int64_t v[DIV_MAX];
} divs;

// V_ADAPTIVE layouts that may be the fastest, the most promising first.
typedef struct hopes {
  int64_t n;
  struct hope {
    iso_layout layout;
    double bound_s, guess_s;  // without waits; with those of the named schedules, between their memories
  } p[ADAPT_MAX];
  int64_t n_left;  // those that there was no room for, and the least bound of them
  double left_s;
} hopes;

typedef struct search {
  iso_lay_ctx x;
  const iso_layout_search_opts *o;
  iso_layout_search *out;
  int64_t room;
  divs micro;                                           // divisors of the batch up to the largest micro-batch
  iso_lay_block block[MICRO_MAX][ISO_LAYOUT_FULL + 1];  // of the current tensor, context and expert
  priced cost[4];                                       // of the current pipeline and data: one chunk, a V, other chunks, DualPipe
  int64_t local;                                        // of the current data: neighbours of a node when there are several nodes, else 0
  hopes hope;
  int ways;  // of WAY that the current data has
  iso_status st;
  iso_err *err;
} search;

iso_layout_search_opts iso_layout_search_opts_default(const iso_layout_machine *m, int64_t devices) {
  return (iso_layout_search_opts){.devices_min = 1,
                                  .devices_max = devices,
                                  .max_tensor = 2 * m->per_node,
                                  .max_context = 64,
                                  .max_micro_batch = 64,
                                  .min_context_tok = 512,
                                  .whole_nodes = true,
                                  .offload = true,
                                  .eps = 0.01};
}

static void divisors(int64_t n, int64_t max, divs *o) {
  o->n = 0;
  for (int64_t k = 1; k <= n && k <= max && o->n < DIV_MAX; k++)
    if (n % k == 0) o->v[o->n++] = k;
}

static double cost_of(const iso_layout_point *p, int goal) {
  double v = goal == ISO_LAYOUT_FASTEST ? p->step_s : goal == ISO_LAYOUT_SMALLEST ? p->mem_b : goal == ISO_LAYOUT_CHEAPEST ? p->usd : p->joule;
  return v == v ? v : 0;  // unknown to all alike
}

static bool beats(const iso_layout_point *a, const iso_layout_point *b, double slack) {
  for (int g = 0; g < ISO_LAYOUT_GOALS; g++)
    if (!(cost_of(a, g) <= cost_of(b, g) * slack)) return false;
  return true;
}

// Keeps p unless a kept point is at least as good (within eps). Whoever beats a candidate moves to the front: neighbours fall to the same one.
static void keep(search *s, const iso_layout_point *p, double slack) {
  iso_layout_search *o = s->out;
  for (int64_t i = 0; i < o->n; i++) {
    if (!beats(&o->front[i], p, slack)) continue;
    iso_layout_point hit = o->front[i];
    o->front[i] = o->front[0];
    o->front[0] = hit;
    return;
  }
  int64_t n = 0;
  for (int64_t i = 0; i < o->n; i++)
    if (!beats(p, &o->front[i], 1)) o->front[n++] = o->front[i];
  o->n = n;
  if (o->n == s->room) {
    s->room = s->room ? 2 * s->room : 256;
    iso_layout_point *grown = realloc(o->front, (size_t)s->room * sizeof *grown);
    if (!grown) {
      s->st = iso_fail(s->err, ISO_ENOMEM, "layout search: no memory for a front of %lld points", (long long)s->room);
      return;
    }
    o->front = grown;
  }
  o->front[o->n++] = *p;
}

static void offer(search *s, const iso_layout_point *p) {
  s->out->feasible++;
  for (int g = 0; g < ISO_LAYOUT_GOALS; g++)
    if (cost_of(p, g) < cost_of(&s->out->best[g], g)) s->out->best[g] = *p;
  keep(s, p, 1 + s->o->eps);
}

static void set_way(const search *s, iso_layout *l, int way, bool offload) {
  l->zero = WAY[way].zero;
  l->weights_over = WAY[way].weights;
  l->grads_over = WAY[way].grads;
  l->states_over = WAY[way].states;
  l->quantised = WAY[way].quantised;
  l->local = way < WAYS_PLAIN ? 0 : s->local;
  l->offload = offload;
}

// One layout whose activations are known, under every way to split and place the optimizer.
static void each_way(search *s, iso_layout *l, const iso_lay_block *k, const iso_lay_data (*d)[2], double act_b) {
  const iso_layout_machine *m = s->x.mach;
  int64_t devices = iso_layout_devices(l);
  for (int way = 0; way < s->ways; way++) {
    for (int off = 0; off <= s->o->offload; off++) {
      const iso_lay_data *q = &d[way][off];
      iso_layout_point p = {.mem_b = q->weights_b + q->grads_b + q->optim_b + q->gather_b + act_b};
      set_way(s, l, way, off);
      p.layout = *l;
      s->out->tried++;
      if (p.mem_b < s->out->leanest.mem_b) s->out->leanest = p;
      bool fits = p.mem_b <= m->mem_b && q->host_b <= m->host_mem_b;
      if (!fits) s->out->too_big++;
      if (!(p.mem_b <= 1.1 * m->mem_b && q->host_b <= m->host_mem_b)) continue;
      iso_lay_parts t;
      iso_lay_combine(&s->x, l, k, q, &t);
      if (t.total < s->out->roomier_step_s) s->out->roomier_step_s = t.total;
      if (!fits) continue;
      p.step_s = t.total;
      p.usd = iso_lay_usd(&s->x, devices, &t);
      p.joule = iso_lay_joule(&s->x, devices, &t);
      offer(s, &p);
    }
  }
  set_way(s, l, 0, false);
}

static void hope_for(search *s, const struct hope *p) {
  hopes *h = &s->hope;
  int64_t room = s->o->adapt, i = h->n;
  if (h->n == room) {
    h->n_left++;
    h->left_s = fmin(h->left_s, fmin(p->bound_s, h->p[room - 1].bound_s));
  }
  while (i > 0 && p->guess_s < h->p[i - 1].guess_s) i--;
  if (i == room) return;
  if (h->n < room) h->n++;
  memmove(&h->p[i + 1], &h->p[i], (size_t)(h->n - 1 - i) * sizeof *h->p);
  h->p[i] = *p;
}

// What a schedule that holds so many chunks may wait: between V-Min, V-Half and ZB-V, which hold a third, a half and all of 2p.
static double guess_bubble(const iso_layout *l, int64_t m, double f, double b, double w) {
  int64_t p = l->pipeline;
  static const iso_layout_sched NAMED[] = {ISO_LAYOUT_V_MIN, ISO_LAYOUT_V_HALF, ISO_LAYOUT_ZB_V};
  double held[] = {(double)(2 * ((p + 4) / 3)), (double)(2 * ((p + 2) / 2)), 2 * (double)p}, bubble[3], h = (double)l->weave.held;
  for (int i = 0; i < 3; i++) bubble[i] = iso_layout_bubble(NAMED[i], p, m, 2, f, b, w);
  if (h >= held[2]) return bubble[2];
  int i = h >= held[1] || !(held[1] > held[0]) ? 1 : 0;
  return bubble[i] + (bubble[i + 1] - bubble[i]) * (h - held[i]) / fmax(1, held[i + 1] - held[i]);
}

// As each_way, for layouts whose building block is yet to be found: how much they may hold, and a bound without waits. Those that are slower
// even so than what is known cannot be the fastest.
static void each_hope(search *s, iso_layout *l, const iso_lay_block *k, const iso_lay_data (*d)[2]) {
  const iso_layout_machine *m = s->x.mach;
  int64_t p = l->pipeline, least = 2 * ((p + 4) / 3), most = iso_layout_adapt_most(p);
  if (s->o->act_share > 0) most = iso_layout_adapt_share(p, s->o->act_share);
  for (int way = 0; way < s->ways; way++)
    for (int off = 0; off <= s->o->offload; off++) {
      const iso_lay_data *q = &d[way][off];
      double act, work, held_b = q->weights_b + q->grads_b + q->optim_b + q->gather_b;
      iso_lay_parts t;
      if (!(held_b <= m->mem_b && q->host_b <= m->host_mem_b)) continue;
      iso_lay_combine(&s->x, l, k, q, &t);
      if (!(t.total < s->out->best[ISO_LAYOUT_FASTEST].step_s)) continue;
      int64_t held = most;
      for (; held >= least; held--) {
        l->weave.held = (int32_t)held;
        iso_lay_act(s->x.job, l, &act, &work);
        if (held_b + act + work <= m->mem_b) break;
      }
      if (held < least) continue;
      set_way(s, l, way, off);
      double per = (double)iso_layout_stage_layers(&s->x.job->shape, l, NULL);
      double waits = guess_bubble(l, iso_layout_micro_batches(s->x.job, l), per * k->f, per * k->b, per * k->w);
      struct hope o = {.layout = *l, .bound_s = t.total, .guess_s = t.total + waits};
      hope_for(s, &o);
      set_way(s, l, 0, false);
    }
  l->weave.held = 0;
}

// Layouts that can be faster than what is known get their building blocks.
static void adapt(search *s, const iso_layout_cal *c) {
  hopes *h = &s->hope;
  const double *best = &s->out->best[ISO_LAYOUT_FASTEST].step_s;
  for (int64_t i = 0; i < h->n && s->st == ISO_OK; i++) {
    iso_layout_point p = {.layout = h->p[i].layout};
    if (!(h->p[i].bound_s < *best)) continue;
    iso_layout_step t;
    iso_layout_mem k;
    iso_status st = iso_layout_adapt_step(s->x.job, s->x.mach, c, p.layout.weave.held, true, &p.layout, NULL, s->err);
    s->out->adapted++;
    if (st == ISO_ENOMEM || st == ISO_EINVAL) continue;  // no block holds so little
    if (st == ISO_OK) st = iso_layout_step_cost(s->x.job, s->x.mach, c, &p.layout, &t, s->err);
    if (st != ISO_OK) {
      s->st = st;
      return;
    }
    iso_layout_memory(s->x.job, &p.layout, &k);
    p.step_s = t.step_s;
    p.mem_b = k.total_b;
    p.usd = t.usd;
    p.joule = t.joule;
    s->out->tried++;
    offer(s, &p);
  }
  s->out->adapt_left = h->n_left && h->left_s < *best ? h->n_left : 0;
}

// Chunks may change how blocks fall on stages, and a V brings both ends together.
static const iso_lay_data (*price(search *s, iso_layout *l))[2] {
  bool fold = iso_layout_sched_v(l->schedule);
  int spare;
  int64_t per = iso_layout_stage_layers(&s->x.job->shape, l, &spare);
  bool dual = l->schedule == ISO_LAYOUT_DUALPIPE;
  priced *c = &s->cost[dual ? 3 : fold ? 1 : l->chunks > 1 && !(s->cost[0].known && s->cost[0].per == per && s->cost[0].spare == spare) ? 2 : 0];
  if (c->known && c->per == per && c->spare == spare) return (const iso_lay_data(*)[2])c->d;
  c->known = true;
  c->per = per;
  c->spare = spare;
  for (int way = 0; way < s->ways; way++)
    for (int off = 0; off <= s->o->offload; off++) {
      set_way(s, l, way, off);
      iso_lay_data_cost(&s->x, l, &c->d[way][off]);
    }
  set_way(s, l, 0, false);
  return (const iso_lay_data(*)[2])c->d;
}

static void each_schedule(search *s, iso_layout *l, const iso_lay_block *k) {
  int64_t p = l->pipeline, layers = s->x.job->shape.layers + s->x.job->shape.mtp;
  double act, work;
  for (int sched = ISO_LAYOUT_GPIPE; sched < ISO_LAYOUT_V_ADAPTIVE; sched++) {
    l->schedule = (iso_layout_sched)sched;
    if (p == 1 && sched != ISO_LAYOUT_1F1B) continue;
    bool inter = sched == ISO_LAYOUT_INTERLEAVED, fold = iso_layout_sched_v(l->schedule);
    for (l->chunks = inter || fold ? 2 : 1; l->chunks <= (inter ? CHUNKS_MAX : fold ? 2 : 1) && l->chunks * p <= layers + 2; l->chunks++) {
      if (iso_layout_check(s->x.job, l, NULL) != ISO_OK) continue;
      iso_lay_act(s->x.job, l, &act, &work);
      each_way(s, l, k, price(s, l), act + work);
    }
  }
  l->chunks = 2;
  l->schedule = ISO_LAYOUT_ZB_V;  // the rules of which hold
  if (s->o->adapt && p > 1 && 2 * p <= layers + 2 && iso_layout_check(s->x.job, l, NULL) == ISO_OK &&
      p * iso_layout_micro_batches(s->x.job, l) <= ADAPT_TASKS) {
    l->schedule = ISO_LAYOUT_V_ADAPTIVE;
    each_hope(s, l, k, price(s, l));
  }
  l->schedule = ISO_LAYOUT_1F1B;
  l->chunks = 1;
}

// Local splits are those of a node, for groups that have ranks in several.
static void set_local(search *s, const iso_layout *l) {
  int64_t group = l->data * l->context, near = s->x.mach->per_node / l->tensor;
  bool several = near > 1 && near < group && group % near == 0 && (near % l->expert == 0 || l->expert % near == 0);
  s->local = several ? near : 0;
  s->ways = group < 2 ? 1 : several ? (s->o->quantised ? WAYS : WAYS_LOCAL) : WAYS_PLAIN;
}

// All micro-batches and recomputations of one tensor x context x expert x pipeline x data.
static void each_micro(search *s, iso_layout *l) {
  for (size_t i = 0; i < ISO_COUNT(s->cost); i++) s->cost[i].known = false;
  set_local(s, l);
  for (int i = 0; i < s->micro.n; i++) {
    l->micro_batch = s->micro.v[i];
    if (s->x.job->batch % (l->data * l->micro_batch)) continue;
    for (int r = ISO_LAYOUT_KEEP; r <= ISO_LAYOUT_FULL; r++) {
      if (r == ISO_LAYOUT_SELECTIVE && s->x.job->flash && !s->x.job->shape.kv_rank) continue;
      l->recompute = (iso_layout_recompute)r;
      each_schedule(s, l, &s->block[i][r]);
    }
  }
  l->micro_batch = 1;
  l->recompute = ISO_LAYOUT_KEEP;
}

static bool wanted(const search *s, int64_t devices) {
  int64_t node = s->x.mach->per_node;
  return devices >= s->o->devices_min && devices <= s->o->devices_max && !(s->o->whole_nodes && devices > node && devices % node);
}

static void each_split(search *s, iso_layout *l, const divs *data) {
  const iso_layout_shape *m = &s->x.job->shape;
  for (int i = 0; i < s->micro.n; i++) {
    for (int r = ISO_LAYOUT_KEEP; r <= ISO_LAYOUT_FULL; r++) {
      l->micro_batch = s->micro.v[i];
      l->recompute = (iso_layout_recompute)r;
      iso_lay_block_cost(&s->x, l, &s->block[i][r]);
    }
  }
  l->micro_batch = 1;
  l->recompute = ISO_LAYOUT_KEEP;
  for (l->pipeline = 1; l->pipeline <= m->layers + m->mtp + 2 && l->tensor * l->context * l->pipeline <= s->o->devices_max; l->pipeline++) {
    if (!iso_layout_stage_layers(m, l, NULL)) continue;
    for (int i = 0; i < data->n && s->st == ISO_OK; i++) {
      l->data = data->v[i];
      if (!wanted(s, iso_layout_devices(l)) || l->data * l->context % l->expert) continue;
      each_micro(s, l);
    }
    l->data = 1;
  }
  l->pipeline = 1;
}

static void run(search *s) {
  const iso_layout_job *j = s->x.job;
  const iso_layout_shape *m = &j->shape;
  iso_layout l = iso_layout_default();
  divs data, expert;
  divisors(j->batch, s->o->devices_max, &data);
  divisors(j->batch, s->o->max_micro_batch < MICRO_MAX ? s->o->max_micro_batch : MICRO_MAX, &s->micro);
  divisors(m->experts ? m->experts : 1, s->o->devices_max, &expert);
  for (l.tensor = 1; l.tensor <= s->o->max_tensor && l.tensor <= s->o->devices_max; l.tensor++) {
    if (m->heads % l.tensor || m->mlp % l.tensor || m->dense_mlp % l.tensor || (m->kv_heads % l.tensor && l.tensor % m->kv_heads)) continue;
    for (l.context = 1; l.context <= s->o->max_context && l.tensor * l.context <= s->o->devices_max; l.context *= 2) {
      if (l.context > 1 && (m->seq % (2 * l.context) || m->seq / l.context < s->o->min_context_tok)) break;
      l.seq_parallel = l.tensor > 1 && m->seq % (l.context * l.tensor) == 0;
      for (int e = 0; e < expert.n && s->st == ISO_OK; e++) {
        l.expert = expert.v[e];
        each_split(s, &l, &data);
      }
      l.expert = 1;
    }
  }
}

static int by_time(const void *a, const void *b) {
  const iso_layout_point *x = a, *y = b;
  if (x->step_s != y->step_s) return x->step_s < y->step_s ? -1 : 1;
  return (x->mem_b > y->mem_b) - (x->mem_b < y->mem_b);
}

static iso_status check_opts(const iso_layout_search_opts *o, iso_err *err) {
  if (o->devices_min < 1 || o->devices_max < o->devices_min || o->devices_max > 1 << 20)
    return iso_fail(err, ISO_EINVAL, "layout search: %lld to %lld devices, expected 1 to %d", (long long)o->devices_min, (long long)o->devices_max,
                    1 << 20);
  if (o->max_tensor < 1 || o->max_context < 1 || o->max_micro_batch < 1 || o->min_context_tok < 1)
    return iso_fail(err, ISO_EINVAL, "layout search: limits of tensor %lld, context %lld, micro-batch %lld, expected at least 1",
                    (long long)o->max_tensor, (long long)o->max_context, (long long)o->max_micro_batch);
  if (o->adapt < 0 || o->adapt > ADAPT_MAX || !(o->act_share >= 0 && o->act_share <= 4))
    return iso_fail(err, ISO_EINVAL, "layout search: building blocks for %lld layouts, %g of 1F1B's activations; expected 0 to %d, 0 to 4",
                    (long long)o->adapt, o->act_share, ADAPT_MAX);
  if (!(o->eps >= 0 && o->eps < 1)) return iso_fail(err, ISO_EINVAL, "layout search: eps is %g, expected 0 to 1", o->eps);
  return ISO_OK;
}

// Nothing fits: the layout that came nearest says how much is missing.
static iso_status nothing(const search *s, iso_err *err) {
  const iso_layout_search *o = s->out;
  if (!o->tried) {
    iso_fail(err, ISO_EINVAL, "layout search: no layout of %lld to %lld devices divides %lld layers, %lld heads and a batch of %lld",
             (long long)s->o->devices_min, (long long)s->o->devices_max, (long long)s->x.job->shape.layers, (long long)s->x.job->shape.heads,
             (long long)s->x.job->batch);
    return iso_hint(err, ISO_EINVAL, "take a batch that the number of devices divides, or a range of devices");
  }
  const iso_layout *l = &o->leanest.layout;
  iso_fail(err, ISO_ENOMEM,
           "layout search: none of %lld layouts fits; the leanest (tensor %lld, pipeline %lld, data %lld, context %lld) needs %.0f bytes a device "
           "(%.2f GiB), there are %.0f (%.2f GiB)",
           (long long)o->tried, (long long)l->tensor, (long long)l->pipeline, (long long)l->data, (long long)l->context, o->leanest.mem_b,
           o->leanest.mem_b / 0x1p30, s->x.mach->mem_b, s->x.mach->mem_b / 0x1p30);
  return iso_hint(err, ISO_ENOMEM, "take more devices, devices with more memory, or a smaller model");
}

iso_status iso_layout_search_run(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout_search_opts *o,
                                 iso_layout_search *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_layout_shape_check(&j->shape, err));
  ISO_TRY(iso_layout_machine_check(m, err));
  ISO_TRY(iso_layout_cal_check(c, err));
  ISO_TRY(check_opts(o, err));
  iso_layout one = iso_layout_default();
  ISO_TRY(iso_layout_check(j, &one, err));  // the job's numbers
  ISO_TRY(iso_lay_fp8(j, m, err));
  search *s = calloc(1, sizeof *s);
  if (!s) return iso_fail(err, ISO_ENOMEM, "layout search: no memory");
  *s = (search){.o = o, .out = out, .err = err};
  iso_lay_open(j, m, c, &s->x);
  out->roomier_step_s = out->leanest.mem_b = INFINITY;
  for (int g = 0; g < ISO_LAYOUT_GOALS; g++)
    out->best[g] = (iso_layout_point){.step_s = INFINITY, .mem_b = INFINITY, .usd = INFINITY, .joule = INFINITY};
  s->hope.left_s = INFINITY;
  run(s);
  if (s->st == ISO_OK && s->o->adapt) adapt(s, c);
  if (s->st == ISO_OK && !out->feasible) s->st = nothing(s, err);
  for (int g = 0; g < ISO_LAYOUT_GOALS && s->st == ISO_OK; g++) keep(s, &out->best[g], 1);
  iso_status st = s->st;
  free(s);
  if (st != ISO_OK) {
    iso_layout_search_close(out);
    return st;
  }
  qsort(out->front, (size_t)out->n, sizeof *out->front, by_time);
  return ISO_OK;
}

void iso_layout_search_close(iso_layout_search *s) {
  free(s->front);
  s->front = NULL;
  s->n = 0;
}
