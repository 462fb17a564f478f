// Elastic scheduling after ElasticFlow (Gu et al. 2023, doi:10.1145/3575693.3575721): promises by progressive filling, spare devices by gain.
//
// A job with a deadline is promised it on arrival or never: its minimum satisfactory share is the smallest cap on its devices with which it
// ends in time in what jobs of earlier deadlines leave free. Spare devices go where they add most throughput per device beside the job's
// best. Curves are not linear and restarts cost time, so that filling alone proves nothing; a promise is given only when playing the whole
// schedule to its end, with no further arrival, keeps it and all older ones. The schedule played is the one that is followed, and an arrival
// that would break it waits: no promise is broken, whatever arrives.
#include <math.h>
#include <string.h>

#include "plan/cluster/cluster_impl.h"

// ---- minimum satisfactory shares ------------------------------------------------------------------------------------

typedef struct profile {
  int n;          // intervals; the last one has no end
  double *at_s;   // begin of each
  int64_t *room;  // free devices in each
} profile;

static double ends(const profile *p, int i) { return i + 1 < p->n ? p->at_s[i + 1] : INFINITY; }

static void split(profile *p, double at_s) {
  int i = p->n - 1;
  while (i > 0 && p->at_s[i] > at_s) i--;
  if (p->at_s[i] >= at_s) return;
  memmove(p->at_s + i + 2, p->at_s + i + 1, (size_t)(p->n - i - 1) * sizeof *p->at_s);
  memmove(p->room + i + 2, p->room + i + 1, (size_t)(p->n - i - 1) * sizeof *p->room);
  p->at_s[i + 1] = at_s;
  p->room[i + 1] = p->room[i];
  p->n++;
}

// The largest allowed count up to `cap` in so much room, -1: none.
static int fits(const iso_cl_sim *s, int i, int cap, int64_t room) {
  int k = cap;
  while (k >= s->job[i].lo && iso_cl_point(s, i, k)->devices > room) k--;
  return k >= s->job[i].lo ? k : -1;
}

// When job i ends that never holds more than count `cap`. With `take`, the profile gives it its devices.
static double fill(const iso_cl_sim *s, const iso_cl_live *start, int i, int cap, profile *p, bool take) {
  iso_cl_live v = *start;
  for (int q = 0; q < p->n; q++) {
    int k = fits(s, i, cap, p->room[q]);
    double until = ends(p, q), end = INFINITY;
    v.pause = k < 0 ? 0 : iso_cl_pause(s, &v, k);
    v.k = k;
    if (k < 0) continue;
    v.begun = true;
    end = p->at_s[q] + v.pause + v.left * iso_cl_point(s, i, k)->step_s;
    if (take && end < until) split(p, end);
    if (take) p->room[q] -= iso_cl_point(s, i, k)->devices;
    if (end <= until) return end;
    double dt = until - p->at_s[q], paused = fmin(v.pause, dt);
    v.pause -= paused;
    v.left = fmax(0, v.left - (dt - paused) / iso_cl_point(s, i, k)->step_s);
  }
  return INFINITY;
}

// Promised jobs by deadline take their shares out of the profile; s->next gets what they hold now.
static void share(iso_cl_sim *s, const iso_cl_state *t) {
  profile p = {1, s->at_s, s->free_at};
  int n = 0;
  p.at_s[0] = t->now;
  p.room[0] = s->o->devices;
  for (int i = 0; i < s->n; i++) {
    s->next[i] = -1;
    if (t->at[i].phase != ISO_CL_SURE) continue;
    int at = n++;
    for (; at > 0 && s->job[i].job->deadline_s < s->job[s->key[at - 1]].job->deadline_s; at--) s->key[at] = s->key[at - 1];
    s->key[at] = i;
  }
  for (int q = 0; q < n; q++) {
    int i = s->key[q], cap = s->job[i].lo;
    const iso_cl_live *v = &t->at[i];
    double deadline = s->job[i].job->deadline_s;
    // Late even alone with the cap: no need to look at the profile.
    while (cap < s->job[i].hi && t->now + v->left * iso_cl_point(s, i, cap)->step_s > deadline) cap++;
    while (cap < s->job[i].hi && !iso_cl_in_time(fill(s, v, i, cap, &p, false), deadline)) cap++;
    s->next[i] = fits(s, i, cap, p.room[0]);
    (void)fill(s, v, i, cap, &p, true);
  }
}

// ---- spare devices --------------------------------------------------------------------------------------------------

typedef iso_cl_gain gain;

static double ends_in(const iso_cl_sim *s, const iso_cl_live *v, int i, int k) {
  return k < 0 ? INFINITY : iso_cl_pause(s, v, k) + v->left * iso_cl_point(s, i, k)->step_s;
}

// The best step up from what job i is given; restarts count as lost throughput, so that what runs stays where gains are alike.
static gain best_gain(const iso_cl_sim *s, const iso_cl_state *t, int i, int64_t room) {
  const iso_cl_live *v = &t->at[i];
  int from = s->next[i];
  int64_t has = from < 0 ? 0 : iso_cl_point(s, i, from)->devices;
  double before = ends_in(s, v, i, from), ideal = s->job[i].ideal, best = 0;
  gain g = {-1, 0, 0, INFINITY};
  for (int k = from < 0 ? s->job[i].lo : from + 1; k <= s->job[i].hi; k++) {
    int64_t more = iso_cl_point(s, i, k)->devices - has;
    double after = ends_in(s, v, i, k);
    if (more > room) break;
    if (!(after < before)) continue;
    // Steps a second until its end, all told; left > 0 while it runs.
    double worth = v->left * (1 / after - 1 / before) / (double)more / ideal;
    if (worth <= best) continue;
    best = worth;
    g = (gain){k, (int)(20 * fmin(worth, 1) + 1e-9), more, after};
  }
  return g;
}

static bool better(const iso_cl_sim *s, int a, gain x, int b, gain y) {
  double pa = s->job[a].job->priority, pb = s->job[b].job->priority;
  if (pa != pb) return pa > pb;
  // Within a twentieth gains are alike, and the job that ends first goes first: that keeps the mean completion time low.
  if (x.bucket != y.bucket) return x.bucket > y.bucket;
  return x.ends_in < y.ends_in;
}

void iso_cl_elastic_decide(iso_cl_sim *s, const iso_cl_state *t) {
  int64_t room = s->o->devices;
  int n = 0;
  share(s, t);
  for (int i = 0; i < s->n; i++) {
    iso_cl_phase f = t->at[i].phase;
    if (s->next[i] >= 0) room -= iso_cl_point(s, i, s->next[i])->devices;
    if (f == ISO_CL_BEST || (f == ISO_CL_SURE && t->variant == 0)) s->key[n++] = i;
  }
  for (int q = 0; q < n; q++) s->gain[s->key[q]] = best_gain(s, t, s->key[q], room);
  while (room > 0) {
    int who = -1;
    for (int q = 0; q < n; q++) {
      int i = s->key[q];
      // What was best may have become too much; what is best in less room can only be worse, so others stay right.
      if (s->gain[i].k >= 0 && s->gain[i].more > room) s->gain[i] = best_gain(s, t, i, room);
      if (s->gain[i].k >= 0 && (who < 0 || better(s, i, s->gain[i], who, s->gain[who]))) who = i;
    }
    if (who < 0) return;
    room -= s->gain[who].more;
    s->next[who] = s->gain[who].k;
    s->gain[who] = best_gain(s, t, who, room);
  }
}

// ---- promises -------------------------------------------------------------------------------------------------------

static bool late(const iso_cl_sim *s, const iso_cl_state *t, int i) {
  const iso_cl_live *v = &t->at[i];
  return v->promised && !iso_cl_in_time(v->phase == ISO_CL_DONE ? v->out.end_s : t->now, s->job[i].job->deadline_s);
}

// Plays the trial until every promise is kept, or one is not.
static bool holds(iso_cl_sim *s) {
  for (;;) {
    int open = 0;
    for (int i = 0; i < s->n; i++) {
      if (late(s, &s->trial, i)) return false;
      open += s->trial.at[i].phase == ISO_CL_SURE;
    }
    if (!open) return true;
    iso_cl_play(s, &s->trial, INFINITY, true, false);
    if (!s->trial.stale) return false;  // nothing runs, and a promise is open
  }
}

// Whether all promises hold when `phase` is given to job i and nothing more arrives; then it is given.
static bool settle(iso_cl_sim *s, int i, iso_cl_phase phase) {
  for (int variant = 0; variant < 2; variant++) {
    iso_cl_live *own = s->trial.at;
    memcpy(own, s->state.at, (size_t)s->n * sizeof *own);
    s->trial = (iso_cl_state){.now = s->state.now, .stale = true, .variant = variant, .at = own};
    own[i].phase = phase;
    // A job forgets its phase at its end; `promised` stays.
    own[i].promised = phase == ISO_CL_SURE;
    if (!holds(s)) continue;
    s->state.at[i].phase = phase;
    s->state.at[i].promised = phase == ISO_CL_SURE;
    s->state.variant = variant;
    s->state.stale = true;
    return true;
  }
  return false;
}

static void arrive(iso_cl_sim *s, int i) {
  bool has_deadline = s->job[i].job->deadline_s < INFINITY;
  if (has_deadline && settle(s, i, ISO_CL_SURE)) return;
  if (has_deadline && s->o->drop)
    s->state.at[i].phase = ISO_CL_DROPPED;
  else if (!settle(s, i, ISO_CL_BEST))
    s->state.at[i].phase = ISO_CL_HELD;
}

// Those that wait for promises to be kept; returns how many still do.
static int retry(iso_cl_sim *s) {
  int held = 0;
  for (int q = 0; q < s->n; q++)
    if (s->state.at[s->order[q]].phase == ISO_CL_HELD) held += !settle(s, s->order[q], ISO_CL_BEST);
  return held;
}

static bool runs(const iso_cl_sim *s) {
  for (int i = 0; i < s->n; i++)
    if (s->state.at[i].k >= 0) return true;
  return s->state.stale;
}

// Until a time, trying at every end of a job to let those run that wait.
static void play(iso_cl_sim *s, double until, int held) {
  while (s->st == ISO_OK) {
    iso_cl_play(s, &s->state, until, held > 0, true);
    if (!held || s->state.now >= until) return;
    held = retry(s);
    if (!runs(s)) return;
  }
}

void iso_cl_elastic_run(iso_cl_sim *s) {
  int held = 0;
  for (int q = 0; q < s->n; q++) {
    int i = s->order[q];
    double arrival = s->job[i].job->arrival_s;
    if (arrival > s->state.now) {
      play(s, arrival, held);
      held = retry(s);
    }
    arrive(s, i);
    held += s->state.at[i].phase == ISO_CL_HELD;
  }
  play(s, INFINITY, held);
}
