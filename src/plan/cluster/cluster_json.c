// Schedulers compared: each one's numbers, who is best at what, the bound from below, and what a node more would change.
#include <math.h>
#include <string.h>

#include "plan/cluster/cluster.h"

// ---- jobs -----------------------------------------------------------------------------------------------------------

static json_t *curve_json(const iso_cluster_job *j) {
  const iso_cluster_curve *best = j->curve[ISO_CLUSTER_BEST], *data = j->curve[ISO_CLUSTER_DATA];
  json_t *points = json_array(), *scaled = json_array();
  for (int k = 0; k < best->n; k++) {
    const iso_cluster_point *p = &best->at[k];
    json_array_append_new(
        points, json_pack("{s:I, s:f, s:f, s:o, s:I, s:I, s:I, s:I, s:I, s:i}", "devices", (json_int_t)p->devices, "step_s", p->step_s, "tok_per_s",
                          (double)j->batch * (double)j->seq / p->step_s, "energy_j", iso_json_num(p->joule), "tensor", (json_int_t)p->layout.tensor,
                          "pipeline", (json_int_t)p->layout.pipeline, "data", (json_int_t)p->layout.data, "context", (json_int_t)p->layout.context,
                          "micro_batch", (json_int_t)p->layout.micro_batch, "zero", p->layout.zero));
  }
  for (int k = 0; k < data->n; k++)
    json_array_append_new(scaled, json_pack("{s:I, s:f}", "devices", (json_int_t)data->at[k].devices, "step_s", data->at[k].step_s));
  return json_pack("{s:s, s:I, s:I, s:o, s:o}", "model", j->model, "batch_sequences", (json_int_t)j->batch, "seq", (json_int_t)j->seq, "points",
                   points, "data_parallel_points", scaled);
}

// Jobs, and the distinct curves that they refer to by index.
static void add_jobs(const iso_cluster_jobs *j, int64_t devices, json_t *to) {
  json_t *jobs = json_array(), *curves = json_array();
  int owner[ISO_CLUSTER_JOBS_MAX], n = 0;
  for (int i = 0; i < j->n; i++) {
    const iso_cluster_job *b = &j->at[i];
    int at = 0;
    while (at < n && j->at[owner[at]].curve[ISO_CLUSTER_BEST] != b->curve[ISO_CLUSTER_BEST]) at++;
    if (at == n) {
      owner[n++] = i;
      json_array_append_new(curves, curve_json(b));
    }
    int k = iso_cluster_request(b, b->curve[ISO_CLUSTER_BEST], devices);
    const iso_cluster_point *p = k < 0 ? NULL : &b->curve[ISO_CLUSTER_BEST]->at[k];
    json_array_append_new(
        jobs, json_pack("{s:s, s:s, s:f, s:o, s:f, s:f, s:I, s:o, s:i}", "name", b->name, "model", b->model, "arrival_s", b->arrival_s, "deadline_s",
                        iso_json_num(b->deadline_s), "steps", b->steps, "priority", b->priority, "request_devices", (json_int_t)(p ? p->devices : 0),
                        "request_run_s", iso_json_num(p ? b->steps * p->step_s : NAN), "curve", at));
  }
  json_object_set_new(to, "jobs", jobs);
  json_object_set_new(to, "curves", curves);
}

// ---- schedulers -----------------------------------------------------------------------------------------------------

static json_t *outcomes(const iso_cluster_jobs *j, const iso_cluster_result *r) {
  json_t *a = json_array();
  for (int i = 0; i < j->n; i++) {
    const iso_cluster_outcome *o = &r->job[i];
    json_array_append_new(
        a, json_pack("{s:s, s:o, s:o, s:o, s:b, s:b, s:b, s:i, s:f, s:o}", "name", j->at[i].name, "start_s", iso_json_num(o->start_s), "end_s",
                     iso_json_num(o->end_s), "completion_s", iso_json_num(o->end_s - j->at[i].arrival_s), "promised", o->promised, "met", o->met,
                     "dropped", o->dropped, "restarts", o->restarts, "device_h", o->device_s / 3600, "energy_j", iso_json_num(o->joule)));
  }
  return a;
}

static json_t *timeline(const iso_cluster_jobs *j, const iso_cluster_result *r) {
  json_t *a = json_array();
  for (int64_t i = 0; i < r->n_segments; i++) {
    const iso_cluster_segment *g = &r->segment[i];
    json_array_append_new(a, json_pack("{s:s, s:f, s:f, s:I, s:f}", "job", j->at[g->job].name, "from_s", g->from_s, "to_s", g->to_s, "devices",
                                       (json_int_t)g->devices, "restart_s", g->restart_s));
  }
  return a;
}

static json_t *result_json(const iso_cluster_jobs *j, const iso_cluster_result *r, const iso_cluster_result *more, int64_t node) {
  json_t *o = json_pack("{s:i, s:f, s:o, s:i, s:i, s:i, s:o}", "finished", r->finished, "makespan_s", r->makespan_s, "mean_completion_s",
                        iso_json_num(r->mean_completion_s), "with_deadline", r->with_deadline, "deadlines_met", r->met, "promised", r->promised,
                        "deadline_ratio", iso_json_num(r->with_deadline ? (double)r->met / r->with_deadline : NAN));
  json_object_update_new(
      o, json_pack("{s:f, s:f, s:f, s:i, s:o, s:o, s:o, s:o}", "utilisation", r->utilisation, "device_h", r->device_h, "restart_device_h",
                   r->restart_device_h, "restarts", r->restarts, "usd", iso_json_num(r->usd), "energy_j", iso_json_num(r->joule), "cluster_usd",
                   iso_json_num(r->cluster_usd), "cluster_energy_j", iso_json_num(r->cluster_joule)));
  json_object_set_new(
      o, "shadow",
      json_pack("{s:I, s:f, s:o, s:i}", "devices_more", (json_int_t)node, "makespan_s_saved", r->makespan_s - more->makespan_s,
                "mean_completion_s_saved", iso_json_num(r->mean_completion_s - more->mean_completion_s), "deadlines_met_more", more->met - r->met));
  json_object_set_new(o, "jobs", outcomes(j, r));
  json_object_set_new(o, "timeline", timeline(j, r));
  return o;
}

// ---- who is best ----------------------------------------------------------------------------------------------------

enum { OBJECTIVES = 6 };
static const char *const OBJECTIVE[OBJECTIVES] = {"makespan", "mean_completion", "deadlines", "utilisation", "usd", "energy"};

// Less is better.
static double objective(const iso_cluster_result *r, int o) {
  const double v[OBJECTIVES] = {r->makespan_s, r->mean_completion_s, -r->met, -r->utilisation, r->usd, r->joule};
  return v[o];
}

// The best by an objective, and of equal ones the one that is done first; NULL when nobody knows the objective. Who leaves jobs out is not
// compared with who runs them all, save by deadlines.
static const iso_cluster_result *winner(const iso_cluster_result *r, unsigned mask, int o) {
  const iso_cluster_result *best = NULL;
  int most = 0;
  for (int s = 0; s < ISO_CLUSTER_SCHEDS; s++)
    if (mask >> s & 1 && r[s].finished > most) most = r[s].finished;
  for (int s = 0; s < ISO_CLUSTER_SCHEDS; s++) {
    double v = objective(&r[s], o);
    if (!(mask >> s & 1) || isnan(v) || (o != 2 && r[s].finished < most)) continue;
    double b = best ? objective(best, o) : INFINITY, slack = 1e-9 * fabs(b);
    if (!best || v < b - slack || (v <= b + slack && r[s].makespan_s < best->makespan_s * (1 - 1e-9))) best = &r[s];
  }
  return best;
}

static void add_best(const iso_cluster_result *r, unsigned mask, json_t *to) {
  json_t *best = json_object();
  for (int o = 0; o < OBJECTIVES; o++) {
    const iso_cluster_result *w = winner(r, mask, o);
    if (o == 2 && w && !w->with_deadline) w = NULL;
    if (w) json_object_set_new(best, OBJECTIVE[o], json_string(iso_cluster_sched_name(w->sched)));
  }
  json_object_set_new(to, "best", best);
}

static void add_binding(const iso_cluster_jobs *j, const iso_cluster_opts *o, const iso_cluster_result *w, const iso_cluster_result *more,
                        int64_t node, json_t *to) {
  bool by_time;
  double bound = iso_cluster_makespan_bound(j, o->devices, &by_time);
  json_object_set_new(to, "chosen", json_string(iso_cluster_sched_name(w->sched)));
  json_object_set_new(to, "bound",
                      json_pack("{s:f, s:s, s:f}", "makespan_s", bound, "by", by_time ? "device time" : "one job on its fastest count", "gap",
                                bound > 0 ? w->makespan_s / bound - 1 : 0));
  json_object_set_new(to, "binding", json_string(by_time ? "devices" : "the jobs' own scaling and arrivals"));
  json_object_set_new(to, "shadow",
                      json_pack("{s:I, s:f, s:f, s:i}", "devices_more", (json_int_t)node, "makespan_s_saved", w->makespan_s - more->makespan_s,
                                "mean_completion_s_saved", w->mean_completion_s - more->mean_completion_s, "deadlines_met_more", more->met - w->met));
}

iso_status iso_cluster_plan_json(const iso_cluster_jobs *j, const iso_cluster_opts *o, unsigned mask, int64_t node_devices, json_t **out,
                                 iso_err *err) {
  iso_cluster_result r[ISO_CLUSTER_SCHEDS] = {0}, more[ISO_CLUSTER_SCHEDS] = {0};
  iso_cluster_opts wider = *o;
  iso_status st = ISO_OK;
  *out = NULL;
  wider.devices += node_devices;
  if (!(mask & ((1U << ISO_CLUSTER_SCHEDS) - 1))) return iso_fail(err, ISO_EINVAL, "cluster: no scheduler was asked for");
  for (int s = 0; s < ISO_CLUSTER_SCHEDS && st == ISO_OK; s++) {
    if (!(mask >> s & 1)) continue;
    st = iso_cluster_simulate(j, o, (iso_cluster_sched)s, &r[s], err);
    if (st == ISO_OK) st = iso_cluster_simulate(j, &wider, (iso_cluster_sched)s, &more[s], err);
  }
  if (st == ISO_OK) {
    json_t *all = json_object();
    *out = json_pack("{s:I, s:f, s:b, s:b}", "devices", (json_int_t)o->devices, "restart_s", o->restart_s, "backfill", o->backfill, "drop", o->drop);
    add_jobs(j, o->devices, *out);
    for (int s = 0; s < ISO_CLUSTER_SCHEDS; s++)
      if (mask >> s & 1) json_object_set_new(all, iso_cluster_sched_name((iso_cluster_sched)s), result_json(j, &r[s], &more[s], node_devices));
    json_object_set_new(*out, "schedulers", all);
    add_best(r, mask, *out);
    const iso_cluster_result *w = winner(r, mask, 2);
    add_binding(j, o, w, &more[w->sched], node_devices, *out);
  }
  for (int s = 0; s < ISO_CLUSTER_SCHEDS; s++) {
    iso_cluster_result_close(&r[s]);
    iso_cluster_result_close(&more[s]);
  }
  return st;
}
