// Plays training jobs on a shared cluster: arrivals, ends, restarts, and the schedulers that give each job what it asks for.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/cluster/cluster_impl.h"

static const char *const NAMES[ISO_CLUSTER_SCHEDS] = {"fifo", "sjf", "edf", "elastic", "elastic-data"};

const char *iso_cluster_sched_name(iso_cluster_sched s) { return NAMES[s]; }

bool iso_cluster_sched_find(const char *name, iso_cluster_sched *out) {
  for (int i = 0; i < ISO_CLUSTER_SCHEDS; i++)
    if (strcmp(name, NAMES[i]) == 0) {
      *out = (iso_cluster_sched)i;
      return true;
    }
  return false;
}

// ---- requests -------------------------------------------------------------------------------------------------------

// Allowed counts are lo to hi; none when hi < lo.
static void limits(const iso_cluster_job *j, const iso_cluster_curve *c, int64_t devices, int *lo, int *hi) {
  int64_t most = j->max_devices && j->max_devices < devices ? j->max_devices : devices;
  for (*lo = 0; *lo < c->n && c->at[*lo].devices < j->min_devices;) ++*lo;
  for (*hi = c->n - 1; *hi >= 0 && c->at[*hi].devices > most;) --*hi;
}

int iso_cluster_request(const iso_cluster_job *j, const iso_cluster_curve *c, int64_t devices) {
  int lo, hi, best;
  limits(j, c, devices, &lo, &hi);
  if (hi < lo) return -1;
  if (j->devices) {
    // The curve leaves out counts that are no faster than fewer devices; those are held then.
    for (best = hi; best > lo && c->at[best].devices > j->devices;) best--;
    return best;
  }
  best = lo;
  for (int k = lo; k <= hi; k++) {
    const iso_cluster_point *p = &c->at[k], *q = &c->at[best];
    if (j->deadline_s < INFINITY && j->arrival_s + j->steps * p->step_s <= j->deadline_s) return k;
    if (p->step_s * p->step_s * (double)p->devices < q->step_s * q->step_s * (double)q->devices) best = k;
  }
  return best;
}

double iso_cluster_makespan_bound(const iso_cluster_jobs *j, int64_t devices, bool *by_device_time) {
  double first = INFINITY, last = -INFINITY, device_s = 0;
  for (int i = 0; i < j->n; i++) {
    const iso_cluster_job *b = &j->at[i];
    double run = INFINITY, cheap = INFINITY;
    for (int c = 0; c < ISO_CLUSTER_CURVES; c++) {
      int lo, hi;
      limits(b, b->curve[c], devices, &lo, &hi);
      for (int k = lo; k <= hi; k++) {
        const iso_cluster_point *p = &b->curve[c]->at[k];
        run = fmin(run, b->steps * p->step_s);
        cheap = fmin(cheap, b->steps * p->step_s * (double)p->devices);
      }
    }
    first = fmin(first, b->arrival_s);
    last = fmax(last, b->arrival_s + run);
    device_s += cheap;
  }
  if (by_device_time) *by_device_time = device_s / (double)devices > last - first;
  return fmax(last - first, device_s / (double)devices);
}

// ---- the decision of queues -----------------------------------------------------------------------------------------

static double queue_key(const iso_cl_sim *s, int i) {
  const iso_cl_job *j = &s->job[i];
  if (s->sched == ISO_CLUSTER_SJF) return j->job->steps * j->curve->at[j->request].step_s;
  return s->sched == ISO_CLUSTER_EDF ? j->job->deadline_s : j->job->arrival_s;
}

// Whether a waits before b: priority, then the scheduler's key, then arrival.
static bool ahead(const iso_cl_sim *s, int a, int b) {
  const iso_cluster_job *x = s->job[a].job, *y = s->job[b].job;
  double ka = queue_key(s, a), kb = queue_key(s, b);
  if (x->priority != y->priority) return x->priority > y->priority;
  if (ka != kb) return ka < kb;
  return x->arrival_s != y->arrival_s ? x->arrival_s < y->arrival_s : a < b;
}

static void queue_decide(iso_cl_sim *s, const iso_cl_state *t) {
  int64_t room = s->o->devices;
  for (int i = 0; i < s->n; i++) {
    s->next[i] = t->at[i].k;
    if (t->at[i].k >= 0) room -= iso_cl_point(s, i, t->at[i].k)->devices;
  }
  for (;;) {
    int best = -1;
    for (int i = 0; i < s->n; i++) {
      if (t->at[i].phase != ISO_CL_BEST || s->next[i] >= 0) continue;
      if (s->o->backfill && iso_cl_point(s, i, s->job[i].request)->devices > room) continue;
      if (best < 0 || ahead(s, i, best)) best = i;
    }
    if (best < 0 || iso_cl_point(s, best, s->job[best].request)->devices > room) return;
    s->next[best] = s->job[best].request;
    room -= iso_cl_point(s, best, s->next[best])->devices;
  }
}

// ---- playing --------------------------------------------------------------------------------------------------------

static void close_segment(iso_cl_sim *s, const iso_cl_state *t, int i) {
  if (s->n_segments == s->room) {
    int64_t room = s->room ? 2 * s->room : 64;
    iso_cluster_segment *grown = realloc(s->segment, (size_t)room * sizeof *grown);
    if (!grown) {
      s->st = ISO_ENOMEM;
      return;
    }
    s->segment = grown;
    s->room = room;
  }
  double spent = s->since_pause[i] - t->at[i].pause;
  if (t->now > s->since[i])
    s->segment[s->n_segments++] = (iso_cluster_segment){i, s->since[i], t->now, iso_cl_point(s, i, t->at[i].k)->devices, spent > 0 ? spent : 0};
  s->since[i] = NAN;
}

// Hands devices over as s->next says.
static void apply(iso_cl_sim *s, iso_cl_state *t, bool keep) {
  for (int i = 0; i < s->n; i++) {
    iso_cl_live *v = &t->at[i];
    int k = s->next[i];
    if (k == v->k) continue;
    if (keep && v->k >= 0) close_segment(s, t, i);
    if (k >= 0) {
      v->pause = v->begun ? s->o->restart_s : 0;
      if (v->begun)
        v->out.restarts++;
      else
        v->out.start_s = t->now;
      v->begun = true;
    } else {
      v->pause = 0;
    }
    v->k = k;
    if (keep && k >= 0) {
      s->since[i] = t->now;
      s->since_pause[i] = v->pause;
    }
  }
}

static double ends_in(const iso_cl_sim *s, const iso_cl_state *t, int i) {
  const iso_cl_live *v = &t->at[i];
  return v->k < 0 ? INFINITY : v->pause + v->left * iso_cl_point(s, i, v->k)->step_s;
}

// Everybody's progress over dt; a job that ends within rounding of it has ended. Returns whether one has.
static bool pass(iso_cl_sim *s, iso_cl_state *t, double dt, double to, bool keep) {
  bool ended = false;
  double slack = 1e-12 * (1 + fabs(to));
  for (int i = 0; i < s->n; i++) {
    iso_cl_live *v = &t->at[i];
    if (v->k < 0) continue;
    const iso_cluster_point *p = iso_cl_point(s, i, v->k);
    bool over = ends_in(s, t, i) <= dt + slack;
    double paused = fmin(v->pause, dt), steps = over ? v->left : fmin(v->left, (dt - paused) / p->step_s);
    v->pause -= paused;
    v->left -= steps;
    v->out.device_s += (double)p->devices * dt;
    v->out.restart_device_s += (double)p->devices * paused;
    v->out.joule += steps * p->joule + paused * (double)p->devices * s->o->idle_w * s->o->pue;
    if (!over) continue;
    double was = t->now;
    t->now = to;
    if (keep) close_segment(s, t, i);
    t->now = was;
    v->left = 0;
    v->k = -1;
    v->phase = ISO_CL_DONE;
    v->out.end_s = to;
    ended = true;
  }
  return ended;
}

void iso_cl_play(iso_cl_sim *s, iso_cl_state *t, double until, bool one, bool keep) {
  while (s->st == ISO_OK) {
    if (t->stale) {
      if (s->sched >= ISO_CLUSTER_ELASTIC)
        iso_cl_elastic_decide(s, t);
      else
        queue_decide(s, t);
      apply(s, t, keep);
      t->stale = false;
    }
    double dt = INFINITY;
    for (int i = 0; i < s->n; i++) dt = fmin(dt, ends_in(s, t, i));
    double to = t->now + dt;
    bool ends = dt < INFINITY && to <= until;
    if (!ends) {
      if (until == INFINITY) return;
      to = until;
      dt = to - t->now;
    }
    t->stale = pass(s, t, dt, to, keep);
    t->now = to;
    // At `until` itself nothing is decided yet: an arrival may be due then.
    if (t->now >= until || (one && t->stale)) return;
  }
}

// ---- a simulation ---------------------------------------------------------------------------------------------------

static int by_arrival(const iso_cl_sim *s, int a, int b) {
  const iso_cluster_job *x = s->job[a].job, *y = s->job[b].job;
  if (x->arrival_s != y->arrival_s) return x->arrival_s < y->arrival_s ? -1 : 1;
  if (x->priority != y->priority) return x->priority > y->priority ? -1 : 1;
  if (x->deadline_s != y->deadline_s) return x->deadline_s < y->deadline_s ? -1 : 1;
  return a - b;
}

static void sim_close(iso_cl_sim *s) {
  free(s->job);
  free(s->order);
  free(s->key);
  free(s->gain);
  free(s->next);
  free(s->state.at);
  free(s->trial.at);
  free(s->at_s);
  free(s->free_at);
  free(s->since);
  free(s->since_pause);
  free(s->segment);
}

static iso_status sim_open(const iso_cluster_jobs *j, const iso_cluster_opts *o, iso_cluster_sched sched, iso_cl_sim *s, iso_err *err) {
  size_t n = (size_t)j->n;
  *s = (iso_cl_sim){.o = o, .sched = sched, .n = j->n};
  s->job = calloc(n, sizeof *s->job);
  s->order = calloc(n, sizeof *s->order);
  s->key = calloc(n, sizeof *s->key);
  s->gain = calloc(n, sizeof *s->gain);
  s->next = calloc(n, sizeof *s->next);
  s->state.at = calloc(n, sizeof *s->state.at);
  s->trial.at = calloc(n, sizeof *s->trial.at);
  s->at_s = calloc(2 * n + 3, sizeof *s->at_s);
  s->free_at = calloc(2 * n + 3, sizeof *s->free_at);
  s->since = calloc(n, sizeof *s->since);
  s->since_pause = calloc(n, sizeof *s->since_pause);
  if (!s->job || !s->order || !s->key || !s->gain || !s->next || !s->state.at || !s->trial.at || !s->at_s || !s->free_at || !s->since ||
      !s->since_pause)
    return iso_fail(err, ISO_ENOMEM, "cluster: no memory for %d jobs", j->n);
  for (int i = 0; i < s->n; i++) {
    const iso_cluster_job *b = &j->at[i];
    const iso_cluster_curve *c = b->curve[sched == ISO_CLUSTER_ELASTIC_DATA ? ISO_CLUSTER_DATA : ISO_CLUSTER_BEST];
    s->job[i] = (iso_cl_job){.job = b, .curve = c};
    limits(b, c, o->devices, &s->job[i].lo, &s->job[i].hi);
    s->job[i].request = iso_cluster_request(b, c, o->devices);
    if (s->job[i].request < 0)
      return iso_fail(err, ISO_ENOMEM, "cluster: %s fits on no allowed number of devices: %lld to %lld of %lld, its layouts need %lld or more",
                      b->name, (long long)b->min_devices, (long long)b->max_devices, (long long)o->devices, (long long)(c->n ? c->at[0].devices : 0));
    for (int k = s->job[i].lo; k <= s->job[i].hi; k++) s->job[i].ideal = fmax(s->job[i].ideal, 1 / (c->at[k].step_s * (double)c->at[k].devices));
    s->state.at[i] = (iso_cl_live){.k = -1, .left = b->steps, .out = {.start_s = NAN, .end_s = NAN}};
    int at = i;
    for (; at > 0 && by_arrival(s, i, s->order[at - 1]) < 0; at--) s->order[at] = s->order[at - 1];
    s->order[at] = i;
  }
  s->state.now = s->job[s->order[0]].job->arrival_s;
  return ISO_OK;
}

static void queue_run(iso_cl_sim *s) {
  for (int i = 0; i < s->n; i++) {
    double arrival = s->job[s->order[i]].job->arrival_s;
    if (arrival > s->state.now) iso_cl_play(s, &s->state, arrival, false, true);
    s->state.at[s->order[i]].phase = ISO_CL_BEST;
    s->state.stale = true;
  }
  iso_cl_play(s, &s->state, INFINITY, false, true);
}

static int by_start(const void *a, const void *b) {
  const iso_cluster_segment *x = a, *y = b;
  if (x->from_s != y->from_s) return x->from_s < y->from_s ? -1 : 1;
  return x->job - y->job;
}

static void sum_up(iso_cl_sim *s, iso_cluster_result *r) {
  double first = s->job[s->order[0]].job->arrival_s, last = first, device_s = 0, wait = 0, restart_s = 0;
  r->sched = s->sched;
  r->n_jobs = s->n;
  for (int i = 0; i < s->n; i++) {
    const iso_cluster_job *j = s->job[i].job;
    const iso_cl_live *v = &s->state.at[i];
    iso_cluster_outcome *o = &r->job[i];
    *o = v->out;
    o->promised = v->promised;
    o->dropped = v->phase == ISO_CL_DROPPED;
    o->met = o->end_s == o->end_s && j->deadline_s < INFINITY && iso_cl_in_time(o->end_s, j->deadline_s);
    r->with_deadline += j->deadline_s < INFINITY;
    r->met += o->met;
    r->promised += o->promised;
    r->restarts += o->restarts;
    r->joule += o->joule;
    device_s += o->device_s;
    restart_s += o->restart_device_s;
    if (v->phase != ISO_CL_DONE) continue;
    r->finished++;
    wait += o->end_s - j->arrival_s;
    last = fmax(last, o->end_s);
  }
  r->makespan_s = last - first;
  r->mean_completion_s = r->finished ? wait / r->finished : NAN;
  double all_s = (double)s->o->devices * r->makespan_s;
  r->utilisation = all_s > 0 ? device_s / all_s : 0;
  r->device_h = device_s / 3600;
  r->restart_device_h = restart_s / 3600;
  r->usd = r->device_h * s->o->usd_h;
  r->cluster_usd = all_s / 3600 * s->o->usd_h;
  r->cluster_joule = r->joule + (all_s - device_s) * s->o->idle_w * s->o->pue;
  r->segment = s->segment;
  r->n_segments = s->n_segments;
  s->segment = NULL;
  if (r->n_segments) qsort(r->segment, (size_t)r->n_segments, sizeof *r->segment, by_start);
}

static iso_status check(const iso_cluster_jobs *j, const iso_cluster_opts *o, iso_err *err) {
  if (j->n < 1 || j->n > ISO_CLUSTER_JOBS_MAX) return iso_fail(err, ISO_EINVAL, "cluster: %d jobs, expected 1 to %d", j->n, ISO_CLUSTER_JOBS_MAX);
  if (o->devices < 1 || o->devices > 1 << 20)
    return iso_fail(err, ISO_EINVAL, "cluster: %lld devices, expected 1 to %d", (long long)o->devices, 1 << 20);
  if (!(o->restart_s >= 0 && o->restart_s < INFINITY))
    return iso_fail(err, ISO_EINVAL, "cluster: a restart of %g s, expected 0 or more", o->restart_s);
  for (int i = 0; i < j->n; i++) {
    const iso_cluster_job *b = &j->at[i];
    if (!(b->deadline_s > b->arrival_s) || !(b->arrival_s >= 0 && b->arrival_s < INFINITY) || !(b->steps >= 1 && b->steps < INFINITY))
      return iso_fail(err, ISO_EINVAL, "cluster: %s: arrival %g s, deadline %g s, %g steps", b->name, b->arrival_s, b->deadline_s, b->steps);
    for (int c = 0; c < ISO_CLUSTER_CURVES; c++)
      if (!b->curve[c]) return iso_fail(err, ISO_EINVAL, "cluster: %s has no curve", b->name);
  }
  return ISO_OK;
}

iso_status iso_cluster_simulate(const iso_cluster_jobs *j, const iso_cluster_opts *o, iso_cluster_sched sched, iso_cluster_result *out,
                                iso_err *err) {
  iso_cl_sim s = {0};
  memset(out, 0, sizeof *out);
  ISO_TRY(check(j, o, err));
  iso_status st = sim_open(j, o, sched, &s, err);
  if (st == ISO_OK) {
    out->job = calloc((size_t)j->n, sizeof *out->job);
    if (!out->job) st = iso_fail(err, ISO_ENOMEM, "cluster: no memory for %d outcomes", j->n);
  }
  if (st == ISO_OK) {
    if (sched >= ISO_CLUSTER_ELASTIC)
      iso_cl_elastic_run(&s);
    else
      queue_run(&s);
    st = s.st == ISO_OK ? ISO_OK : iso_fail(err, s.st, "cluster: no memory for the timeline of %d jobs", j->n);
  }
  if (st == ISO_OK)
    sum_up(&s, out);
  else
    iso_cluster_result_close(out);
  sim_close(&s);
  return st;
}

void iso_cluster_result_close(iso_cluster_result *r) {
  free(r->job);
  free(r->segment);
  memset(r, 0, sizeof *r);
}
