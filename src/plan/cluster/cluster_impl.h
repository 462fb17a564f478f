// Private to cluster*.c: the state of a simulation, and policies that say who holds which devices.
#ifndef ISO_PLAN_CLUSTER_IMPL_H
#define ISO_PLAN_CLUSTER_IMPL_H
#include "plan/cluster/cluster.h"

typedef enum iso_cl_phase {
  ISO_CL_AWAY,  // not yet arrived
  ISO_CL_HELD,  // has arrived; waits until running it breaks no promise
  ISO_CL_BEST,  // runs when it can
  ISO_CL_SURE,  // its deadline is promised
  ISO_CL_DROPPED,
  ISO_CL_DONE
} iso_cl_phase;

typedef struct iso_cl_live {
  iso_cl_phase phase;
  int k;         // index into its curve, -1: holds no devices
  double left;   // steps
  double pause;  // seconds of restart to come
  bool begun, promised;
  iso_cluster_outcome out;
} iso_cl_live;

typedef struct iso_cl_state {
  double now;
  bool stale;  // who holds what must be decided again
  int variant;
  iso_cl_live *at;  // one a job
} iso_cl_state;

// What is fixed during a simulation.
typedef struct iso_cl_job {
  const iso_cluster_job *job;
  const iso_cluster_curve *curve;
  int lo, hi, request;  // indices of allowed counts
  double ideal;         // the most steps a second per device among them
} iso_cl_job;
// A step up from what an elastic job is given.
typedef struct iso_cl_gain {
  int k;         // the count to go to, -1: none
  int bucket;    // its worth in twentieths: throughput added per device over the job's best throughput per device
  int64_t more;  // devices
  double ends_in;
} iso_cl_gain;

typedef struct iso_cl_sim {
  const iso_cluster_opts *o;
  iso_cluster_sched sched;
  int n;
  iso_cl_job *job;    // owned
  int *order, *key;   // owned: jobs by arrival; scratch
  int *next;          // owned: the decision, an index into the curve for each job
  iso_cl_gain *gain;  // owned; scratch
  iso_cl_state state, trial;
  double *at_s;      // owned: a profile of free devices, 2 n + 2 bounds
  int64_t *free_at;  // from at_s[i] to at_s[i + 1]
  // The record: segments that are closed, and where each job's open one began (NaN: none).
  double *since, *since_pause;
  iso_cluster_segment *segment;
  int64_t n_segments, room;
  iso_status st;
} iso_cl_sim;

static inline const iso_cluster_point *iso_cl_point(const iso_cl_sim *s, int job, int k) { return &s->job[job].curve->at[k]; }
// Seconds of restart that job i has to sit out when it holds count k from now on.
static inline double iso_cl_pause(const iso_cl_sim *s, const iso_cl_live *v, int k) { return k == v->k ? v->pause : v->begun ? s->o->restart_s : 0; }
// A deadline that is met within rounding.
static inline bool iso_cl_in_time(double end_s, double deadline_s) { return end_s <= deadline_s + 1e-9 * (1 + deadline_s); }

// Plays until `until`, or until a job ends when `one`; records what happens when `keep`. INFINITY: until nothing runs.
void iso_cl_play(iso_cl_sim *s, iso_cl_state *t, double until, bool one, bool keep);
// The decision of elastic schedulers in s->next; variant 1 gives spare devices to jobs without a promise only.
void iso_cl_elastic_decide(iso_cl_sim *s, const iso_cl_state *t);
void iso_cl_elastic_run(iso_cl_sim *s);
#endif
