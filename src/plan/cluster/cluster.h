// A cluster shared by training jobs: arrivals, deadlines, throughput against devices from the layout planner, and schedulers compared.
#ifndef ISO_PLAN_CLUSTER_H
#define ISO_PLAN_CLUSTER_H
#include "plan/layout/layout_search.h"

enum { ISO_CLUSTER_JOBS_MAX = 1000, ISO_CLUSTER_COUNTS_MAX = 512 };

// ---- Throughput against devices: the fastest layout of every device count (vTrain, Bang et al. 2023, arXiv:2312.12391).
typedef struct iso_cluster_point {
  int64_t devices;
  double step_s, joule;  // of an optimizer step; joule is NaN as the machine's power is
  iso_layout layout;
} iso_cluster_point;
typedef struct iso_cluster_curve {
  int n;
  iso_cluster_point at[ISO_CLUSTER_COUNTS_MAX];  // devices rise and step_s falls: counts that are no faster than a smaller one are left out
} iso_cluster_curve;

// Device counts that a job may hold: powers of two inside a node, whole nodes above (only powers of two of them with `pow2`), and all of
// `devices`. Such counts always pack: larger ones first, each on the nodes that it fills (buddy allocation with migration). Returns how
// many; with more than 256 nodes only powers of two, whatever `pow2` says.
int iso_cluster_counts(const iso_layout_machine *m, int64_t devices, bool pow2, int64_t *out);
// The fastest layout of each count. ISO_ENOMEM with the bytes when the job fits none of them, ISO_EINVAL when no layout divides it.
iso_status iso_cluster_curve_best(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const int64_t *counts, int n,
                                  iso_cluster_curve *out, iso_err *err);
// The layout of the first point of `best` with only its data-parallel degree scaled, as schedulers do that know no layouts; at least that
// point itself.
iso_status iso_cluster_curve_data(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const int64_t *counts, int n,
                                  const iso_cluster_curve *best, iso_cluster_curve *out, iso_err *err);

// ---- Jobs
typedef enum iso_cluster_curve_id { ISO_CLUSTER_BEST, ISO_CLUSTER_DATA, ISO_CLUSTER_CURVES } iso_cluster_curve_id;
typedef struct iso_cluster_job {
  char name[64], model[64];
  double arrival_s, deadline_s;  // on one clock; deadline INFINITY: none
  double steps;                  // optimizer steps, whole
  int64_t batch, seq;            // sequences a step, tokens a sequence
  int64_t devices;               // what it asks for where schedulers do not choose; 0: see iso_cluster_request
  int64_t min_devices, max_devices;
  double priority;                                     // higher goes first
  int64_t line;                                        // of the file
  const iso_cluster_curve *curve[ISO_CLUSTER_CURVES];  // borrowed
} iso_cluster_job;
typedef struct iso_cluster_jobs {
  int n;
  iso_cluster_job *at;  // owned
} iso_cluster_jobs;
// CSV with columns name, model, batch, seq, one of tokens and steps, one of arrival_s and arrival_h, and optionally deadline_s or
// deadline_h (on the clock of arrivals; empty: none), devices, min_devices, max_devices, priority. ISO_EFORMAT names line and column.
iso_status iso_cluster_jobs_parse(const char *text, size_t n, const char *what, iso_cluster_jobs *out, iso_err *err);
iso_status iso_cluster_jobs_load(const char *path, iso_cluster_jobs *out, iso_err *err);
void iso_cluster_jobs_close(iso_cluster_jobs *j);

// ---- Schedulers
typedef enum iso_cluster_sched {
  ISO_CLUSTER_FIFO,         // each job's own request, in order of arrival
  ISO_CLUSTER_SJF,          // the same, shortest run first
  ISO_CLUSTER_EDF,          // the same, earliest deadline first
  ISO_CLUSTER_ELASTIC,      // shares by deadline and marginal gain (ElasticFlow, Gu et al. 2023, doi:10.1145/3575693.3575721)
  ISO_CLUSTER_ELASTIC_DATA  // the same with ISO_CLUSTER_DATA curves: what knowing layouts is worth (arXiv:2312.12391)
} iso_cluster_sched;
enum { ISO_CLUSTER_SCHEDS = ISO_CLUSTER_ELASTIC_DATA + 1 };
const char *iso_cluster_sched_name(iso_cluster_sched s);
bool iso_cluster_sched_find(const char *name, iso_cluster_sched *out);

typedef struct iso_cluster_opts {
  int64_t devices;
  double restart_s;           // a job that has begun makes no progress for so long after its devices change
  bool backfill;              // FIFO, SJF, EDF: who fits starts, even before one that is waiting for more
  bool drop;                  // elastic: a job whose deadline cannot be kept never runs; else it runs without a promise
  double idle_w, pue, usd_h;  // of a device while it restarts or idles; its price; NaN: unknown
} iso_cluster_opts;

// What a user asks for who knows the curve and expects no queue: the fewest devices that meet the deadline; without one (or when none
// does) the count of most throughput^2 per device, the knee where twice the devices give less than 1.41 times the throughput. An index into `c`
// within the job's limits and `devices`; -1: none is allowed.
int iso_cluster_request(const iso_cluster_job *j, const iso_cluster_curve *c, int64_t devices);

typedef struct iso_cluster_segment {
  int job;
  double from_s, to_s;
  int64_t devices;
  double restart_s;  // of it, at its start, without progress
} iso_cluster_segment;
typedef struct iso_cluster_outcome {
  double start_s, end_s;  // NaN: never
  bool promised, met;     // the deadline: the scheduler promised it; it was kept
  bool dropped;           // did not run
  int restarts;           // changes of devices after it had begun
  double device_s, restart_device_s, joule;
} iso_cluster_outcome;
typedef struct iso_cluster_result {
  iso_cluster_sched sched;
  int n_jobs, finished, with_deadline, promised, met;
  double makespan_s;             // from the first arrival to the last end
  double mean_completion_s;      // from arrival to end, of jobs that ran
  double device_h, utilisation;  // held by jobs, and over all devices and the makespan
  double restart_device_h;
  int restarts;
  double usd, joule;                  // of the devices that jobs hold
  double cluster_usd, cluster_joule;  // and of idle ones until the makespan
  iso_cluster_outcome *job;           // owned, one a job
  int64_t n_segments;
  iso_cluster_segment *segment;  // owned, by start and job
} iso_cluster_result;
// Plays the jobs' arrivals and ends. Devices change hands only then, so what is planned is what happens. ISO_EINVAL for options that make
// no sense, ISO_ENOMEM when a job has no allowed count. Close with iso_cluster_result_close.
iso_status iso_cluster_simulate(const iso_cluster_jobs *j, const iso_cluster_opts *o, iso_cluster_sched s, iso_cluster_result *out, iso_err *err);
void iso_cluster_result_close(iso_cluster_result *r);

// No schedule ends earlier than this: the job that cannot be done sooner, or all device time at its most efficient count over all devices.
double iso_cluster_makespan_bound(const iso_cluster_jobs *j, int64_t devices, bool *by_device_time);

// All schedulers of `mask` (bit s: scheduler s) as one object:
//   jobs: array of {name, model, arrival_s, deadline_s, steps, request, curve}; schedulers: {NAME: {makespan_s, mean_completion_s,
//   deadlines_met, deadline_ratio, utilisation, device_h, usd, energy_j, ..., shadow: with a node more, jobs, timeline}};
//   best: {OBJECTIVE: NAME}; bound: makespan from below; binding, shadow: of the scheduler that meets most deadlines, then is done first.
// o->devices + node_devices are used for the shadow price. *out is owned by the caller.
iso_status iso_cluster_plan_json(const iso_cluster_jobs *j, const iso_cluster_opts *o, unsigned mask, int64_t node_devices, json_t **out,
                                 iso_err *err);
#endif
