// The memory plan as JSON: fronts of the strategies, the choice, what each layer keeps, shards.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/unit.h"
#include "plan/remat/memory_impl.h"

enum { FRONT_SHOWN = 32 };

// ---- strategies -----------------------------------------------------------------------------------------------------

static json_t *point_json(const iso_memory *m, const iso_remat_schedule *s, const char *key, int value, iso_err *err) {
  iso_remat_use u;
  if (iso_remat_replay(m->d, s, &u, err) != ISO_OK) return NULL;
  double total = (double)u.peak_b + m->place[0].device_b + m->input_b;
  json_t *o = json_pack("{s:I, s:o, s:o, s:o, s:o}", "peak_bytes", (json_int_t)u.peak_b, "total_bytes", iso_json_num(total), "extra_flop",
                        iso_json_num(u.extra_flop), "extra_share", iso_json_num(u.extra_flop / m->flop), "extra_time_share",
                        iso_json_num(m->job->rates.flop_s > 0 ? u.extra_cost / (m->fwd_s + m->bwd_s) : NAN));
  if (o && key) json_object_set_new(o, key, json_integer(value));
  return o;
}

typedef enum form { KEEP, EVERY, SQRT, HALVES, REVOLVE, BEST } form;

static iso_status schedule_of(const iso_memory *m, form f, int i, iso_remat_schedule *s, iso_err *err) {
  switch (f) {
    case KEEP: return iso_remat_keep_all(m->d, false, s, err);
    case EVERY: return iso_remat_every(m->d, m->chain, m->step, m->steps, i, s, err);
    case SQRT: return iso_remat_every(m->d, m->chain, m->step, m->steps, iso_remat_sqrt(m->steps), s, err);
    case HALVES: return iso_remat_halves(m->d, m->chain, m->step, m->steps, s, err);
    case REVOLVE: return iso_remat_revolve(m->d, m->chain, m->step, m->steps, i, s, err);
    case BEST: return iso_remat_front_schedule(m->front, i, s, err);
  }
  return iso_fail(err, ISO_EBUG, "no strategy %d", (int)f);
}

static iso_status add_strategy(const iso_memory *m, json_t *to, form f, const char *name, const char *paper, const char *key, int from, int until,
                               int step, iso_err *err) {
  json_t *points = json_array();
  iso_status st = ISO_OK;
  for (int i = from; st == ISO_OK && i <= until; i += step) {
    iso_remat_schedule s;
    int last = f == BEST && i + step > until ? until : i;  // the front ends with its cheapest plan
    st = schedule_of(m, f, last, &s, err);
    if (st != ISO_OK) break;
    json_t *p = point_json(m, &s, key, last, err);
    iso_remat_schedule_close(&s);
    if (!p || json_array_append_new(points, p) != 0) st = iso_fail(err, ISO_ENOMEM, "no memory for a plan");
  }
  if (st != ISO_OK) {
    json_decref(points);
    return st;
  }
  json_array_append_new(to, json_pack("{s:s, s:s, s:o}", "strategy", name, "paper", paper, "points", points));
  return ISO_OK;
}

static iso_status strategies(const iso_memory *m, json_t **out, iso_err *err) {
  int n = iso_remat_front_count(m->front), thin = m->steps > 24 ? m->steps / 24 + 1 : 1;
  json_t *a = json_array();
  iso_status st;
  *out = NULL;
  ISO_TRYG(add_strategy(m, a, KEEP, "keep all", "", NULL, 0, 0, 1, err));
  ISO_TRYG(add_strategy(m, a, EVERY, "every k layers", "arXiv:1604.06174", "k", 1, m->steps - 1, thin, err));
  ISO_TRYG(add_strategy(m, a, SQRT, "sqrt(n) groups", "arXiv:1604.06174", NULL, 0, 0, 1, err));
  ISO_TRYG(add_strategy(m, a, HALVES, "recursive halves", "arXiv:1604.06174", NULL, 0, 0, 1, err));
  ISO_TRYG(add_strategy(m, a, REVOLVE, "revolve", "doi:10.1145/347837.347846", "slots", 1, m->steps, thin, err));
  ISO_TRYG(
      add_strategy(m, a, BEST, "best per block", "arXiv:1911.13214, arXiv:2304.14463", NULL, 0, n - 1, n > FRONT_SHOWN ? n / FRONT_SHOWN : 1, err));
done:
  if (st == ISO_OK)
    *out = a;
  else
    json_decref(a);
  return st;
}

// ---- the choice -----------------------------------------------------------------------------------------------------

// "norm1" of "layers.*.norm1".
static const char *tail_of(const char *path) {
  const char *s = strstr(path, ".*.");
  return s ? s + 3 : path;
}

static json_t *names(const iso_memory *m, const bool *mark, const bool *but, int layer) {
  json_t *a = json_array();
  for (int v = 0; v < m->d->n && !m->d->node[v].once; v++)
    if (m->d->node[v].layer == layer && mark[v] && !(but && but[v])) json_array_append_new(a, json_string(tail_of(m->d->node[v].name)));
  return a;
}

static double bytes_of(const iso_memory *m, const bool *mark, const bool *but, int layer) {
  double b = 0;
  for (int v = 0; v < m->d->n && !m->d->node[v].once; v++)
    if (m->d->node[v].layer == layer && mark[v] && !(but && but[v])) b += (double)m->d->node[v].bytes;
  return b;
}

// Runs of layers that keep the same.
static json_t *layers_json(const iso_memory *m, const iso_memory_choice *c) {
  json_t *rows = json_array(), *last = NULL;
  for (int l = 0; l < m->job->model.layers; l++) {
    json_t *kept = names(m, c->there, c->out, l), *host = names(m, c->out, NULL, l);
    if (last && json_equal(json_object_get(last, "kept"), kept) && json_equal(json_object_get(last, "on_host"), host)) {
      json_object_set_new(last, "to", json_integer(l));
      json_decref(kept);
      json_decref(host);
      continue;
    }
    last = json_pack("{s:i, s:i, s:o, s:o, s:o, s:o}", "from", l, "to", l, "kept", kept, "on_host", host, "kept_bytes",
                     iso_json_num(bytes_of(m, c->there, c->out, l)), "host_bytes", iso_json_num(bytes_of(m, c->out, NULL, l)));
    json_array_append_new(rows, last);
  }
  return rows;
}

static json_t *choice_json(const iso_memory *m, const iso_memory_choice *c) {
  bool timed = m->job->rates.flop_s > 0;
  double whole = m->fwd_s + m->bwd_s;
  const char *kind = c->plan.use.again ? (c->move.moved_b ? "recompute and offload" : "recompute") : c->move.moved_b ? "offload" : "keep all";
  double peak = (double)c->plan.use.peak_b - (double)c->move.freed_b;
  json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:o, s:i, s:o, s:o}", "kind", kind, "method", c->plan.method, "place", c->place->name, "peak_bytes",
                        iso_json_num(peak), "total_bytes", iso_json_num(peak + c->place->device_b + m->input_b), "recomputed", c->plan.use.again,
                        "extra_flop", iso_json_num(c->plan.use.extra_flop), "extra_share", iso_json_num(c->plan.use.extra_flop / m->flop));
  if (!o) return NULL;
  // The bound is on recomputation alone: it says nothing about plans that offload.
  bool bounded = c->move.moved_b == 0 && c->plan.bound > 0;
  json_object_set_new(o, "bound_share", iso_json_num(bounded ? fmax(0, (c->plan.bound - whole) / whole) : NAN));
  json_object_set_new(o, "gap_share", iso_json_num(bounded ? c->plan.gap / whole : NAN));
  json_object_set_new(o, "optimal", json_boolean(bounded && c->plan.optimal));
  json_object_set_new(o, "compute_s", iso_json_num(timed ? whole : NAN));
  json_object_set_new(o, "again_s", iso_json_num(timed ? c->plan.use.extra_cost : NAN));
  json_object_set_new(o, "retention_intervals", json_integer(c->plan.use.intervals));
  json_object_set_new(o, "step_s", iso_json_num(timed ? c->step : NAN));
  json_object_set_new(o, "stall_s", iso_json_num(timed ? c->move.stall_s + c->place_stall_s : NAN));
  json_object_set_new(o, "activations_to_host_bytes", json_integer((json_int_t)c->move.moved_b));
  json_object_set_new(o, "activations_link_s", iso_json_num(timed ? c->move.link_s : NAN));
  json_object_set_new(o, "activations_stall_s", iso_json_num(timed ? c->move.stall_s : NAN));
  json_object_set_new(o, "host_bytes", iso_json_num(c->place->host_b + (double)c->move.moved_b - c->disk_b));
  json_object_set_new(o, "disk_bytes", iso_json_num(c->disk_b));
  json_object_set_new(o, "place_stall_s", iso_json_num(timed ? c->place_stall_s : NAN));
  return o;
}

// ---- the rest -------------------------------------------------------------------------------------------------------

static json_t *shards_json(const iso_memory *m) {
  iso_remat_schedule s;
  iso_remat_use u = {0};
  int64_t least = iso_remat_front_at(m->front, 0).peak_b + (int64_t)m->input_b;
  if (iso_remat_keep_all(m->d, false, &s, NULL) != ISO_OK) return NULL;
  iso_status st = iso_remat_replay(m->d, &s, &u, NULL);
  iso_remat_schedule_close(&s);
  if (st != ISO_OK) return NULL;
  json_t *a = json_array();
  for (int z = 1; z <= 3; z++) {
    int64_t keep = iso_memory_shards(m->job, z, u.peak_b + (int64_t)m->input_b), few = iso_memory_shards(m->job, z, least);
    json_array_append_new(a, json_pack("{s:i, s:o, s:o}", "zero", z, "devices_keep_all", keep ? json_integer((json_int_t)keep) : json_null(),
                                       "devices_least_activations", few ? json_integer((json_int_t)few) : json_null()));
  }
  return a;
}

// null: no setting of the trainer fits.
static iso_status trainer_json(const iso_memory *m, json_t **out, iso_err *err) {
  const iso_memory_job *j = m->job;
  iso_remat_setting s;
  double rest = m->place[0].device_b + m->input_b;
  *out = json_null();
  ISO_TRY(iso_remat_trainer(&j->model, j->batch, j->seq, (size_t)j->act_b, j->limit_b - (int64_t)ceil(rest), &s, err));
  if (s.found)
    *out = json_pack("{s:i, s:i, s:b, s:I, s:o, s:o}", "recompute", s.every, "recompute_layers", s.layers, "recompute_cheap", s.cheap, "peak_bytes",
                     (json_int_t)s.act_b, "total_bytes", iso_json_num((double)s.act_b + rest), "extra_share", iso_json_num(s.extra_flop / m->flop));
  return ISO_OK;
}

static iso_status refuse(const iso_memory *m, iso_err *err) {
  char a[40], b[40], why[80] = "";
  double least = INFINITY;
  const iso_memory_place *at = NULL;
  for (int p = 0; p < m->places; p++) {
    double v = m->place[p].device_b + m->input_b + (double)iso_remat_front_at(m->front, 0).peak_b;
    double over = m->place[p].host_b - m->job->host_b;
    bool host = over <= 0 || (m->job->nvme_b_s > 0 && over <= (double)m->params * m->job->optim_b);
    if (host && v < least) {
      least = v;
      at = &m->place[p];
    }
  }
  int64_t shards = iso_memory_shards(m->job, 3, iso_remat_front_at(m->front, 0).peak_b + (int64_t)m->input_b);
  if (shards) (void)snprintf(why, sizeof why, "ZeRO-3 over %lld devices would fit; or ", (long long)shards);
  iso_fail(err, ISO_ENOMEM, "the model does not fit: %.0f bytes (%s) would be the least on one device (%s), the limit is %lld (%s)", least,
           iso_unit_print(least, ISO_UNIT_BYTE, a, sizeof a), at ? at->name : "device", (long long)m->job->limit_b,
           iso_unit_print((double)m->job->limit_b, ISO_UNIT_BYTE, b, sizeof b));
  return iso_hint(err, ISO_ENOMEM, "%stake a smaller batch%s%s", why, m->job->host_b > 0 ? "" : ", or host memory to offload to",
                  m->job->effort.intervals ? ", or allow more retention intervals" : "");
}

static json_t *bytes_json(const iso_memory *m) {
  const iso_memory_job *j = m->job;
  double p = (double)m->params;
  return json_pack("{s:I, s:o, s:o, s:o, s:o, s:I, s:I}", "limit", (json_int_t)j->limit_b, "weights", iso_json_num(p * j->weight_b), "gradients",
                   iso_json_num(p * j->grad_b), "optimizer", iso_json_num(p * j->optim_b), "inputs", iso_json_num(m->input_b), "activation_element",
                   (json_int_t)j->act_b, "least_activations", (json_int_t)iso_remat_front_at(m->front, 0).peak_b);
}

// What the cap on retention intervals costs: the plan without it.
static iso_status uncapped_json(const iso_memory_job *j, json_t **out, iso_err *err) {
  iso_memory_job any = *j;
  iso_memory m;
  iso_memory_choice c;
  any.effort.intervals = 0;
  *out = NULL;
  ISO_TRY(iso_memory_open(&any, &m, err));
  iso_status st = iso_memory_choose(&m, &c, err);
  if (st == ISO_OK && c.found) *out = choice_json(&m, &c);
  iso_memory_choice_close(&c);
  iso_memory_close(&m);
  return st;
}

iso_status iso_memory_plan_json(const iso_memory_job *j, json_t **out, iso_err *err) {
  iso_memory m;
  iso_memory_choice c;
  json_t *s = NULL, *t = NULL, *any = NULL;
  *out = NULL;
  ISO_TRY(iso_memory_open(j, &m, err));
  iso_status st = iso_memory_choose(&m, &c, err);
  if (st == ISO_OK && !c.found) st = refuse(&m, err);
  if (st == ISO_OK && j->effort.intervals) st = uncapped_json(j, &any, err);
  if (st == ISO_OK) st = strategies(&m, &s, err);
  if (st == ISO_OK) st = trainer_json(&m, &t, err);
  if (st == ISO_OK) {
    *out = json_pack("{s:s, s:{s:o, s:I, s:I, s:I, s:o, s:o}, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:i}", "kind", "memory", "job", "model",
                     iso_config_json(&j->model), "batch", (json_int_t)j->batch, "seq", (json_int_t)j->seq, "params", (json_int_t)m.params,
                     "model_flop", iso_json_num(m.model_flop), "flop", iso_json_num(m.flop), "bytes", bytes_json(&m), "plan", choice_json(&m, &c),
                     "layers", layers_json(&m, &c), "trainer", t, "shards", shards_json(&m), "strategies", s, "front_thinned",
                     iso_remat_front_thinned(m.front), "values", m.d->n);
    if (!*out) st = iso_fail(err, ISO_ENOMEM, "no memory for a plan");
    if (*out && any) {
      json_object_set_new(*out, "retention_cap", json_integer(j->effort.intervals));
      json_object_set(*out, "plan_any_intervals", any);
    }
  } else {
    json_decref(s);
    json_decref(t);
  }
  json_decref(any);
  iso_memory_choice_close(&c);
  iso_memory_close(&m);
  return st;
}
