// The memory planner: static bytes, plans of every strategy, offloading, shards, and the choice under a limit.
#include "plan/remat/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/remat/memory_impl.h"

enum { SHARDS_MAX = 1 << 16, BASES = 24 };

iso_memory_job iso_memory_job_default(void) {
  return (iso_memory_job){.batch = 1, .act_b = 2, .weight_b = 2, .grad_b = 4, .optim_b = 12, .effort = {.evals = 20000, .states = 300000, .seed = 1}};
}

iso_status iso_memory_config(const iso_layout_shape *s, iso_model_config *out, iso_err *err) {
  if (s->kv_rank)
    return iso_fail(err, ISO_EUNSUP, "model %s: graphs with latent attention cannot be built, so their memory cannot be planned", s->name);
  if (s->experts) return iso_fail(err, ISO_EUNSUP, "model %s: graphs with experts cannot be built, so their memory cannot be planned", s->name);
  *out = (iso_model_config){.vocab = s->vocab,
                            .width = s->width,
                            .layers = s->layers,
                            .heads = s->heads,
                            .kv_heads = s->kv_heads,
                            .head_dim = s->head_dim,
                            .mlp = s->mlp,
                            .ctx = s->seq,
                            .tied = s->tied,
                            .norm_eps = 1e-5,
                            .rope_theta = 10000};
  strcpy(out->arch, s->gated ? "llama" : "gpt2");
  return iso_config_check(out, err);
}

iso_layout_shape iso_memory_shape(const iso_model_config *c) {
  bool gpt = strcmp(c->arch, "gpt2") == 0;
  return (iso_layout_shape){.layers = c->layers,
                            .width = c->width,
                            .heads = c->heads,
                            .kv_heads = c->kv_heads,
                            .head_dim = c->head_dim,
                            .mlp = c->mlp,
                            .vocab = c->vocab,
                            .seq = c->ctx,
                            .gated = !gpt,
                            .tied = c->tied,
                            .bias = gpt,
                            .learned_pos = gpt};
}

// ---- shards ---------------------------------------------------------------------------------------------------------

static double sharded_b(const iso_memory_job *j, int zero, int64_t n) {
  iso_layout_job job = iso_layout_job_default();
  iso_layout l = iso_layout_default();
  iso_layout_mem m, whole;
  job.shape = iso_memory_shape(&j->model);
  job.batch = j->batch * n;
  job.weight_b = j->weight_b;
  job.grad_b = j->grad_b;
  job.optim_b = j->optim_b;
  l.micro_batch = j->batch;
  l.data = n;
  l.zero = 2;
  iso_layout_memory(&job, &l, &whole);
  l.zero = zero;
  iso_layout_memory(&job, &l, &m);
  // Activations are the graph's; of the working space only the gathered weights are of interest.
  return m.weights_b + m.grads_b + m.optim_b + (m.work_b - whole.work_b);
}

int64_t iso_memory_shards(const iso_memory_job *j, int zero, int64_t act_b) {
  double room = (double)(j->limit_b - act_b);
  int64_t lo = 1, hi = SHARDS_MAX;
  if (zero < 1 || zero > 3 || sharded_b(j, zero, hi) > room) return 0;
  while (lo < hi) {
    int64_t mid = (lo + hi) / 2;
    if (sharded_b(j, zero, mid) <= room)
      hi = mid;
    else
      lo = mid + 1;
  }
  return lo;
}

// ---- where weights, gradients and optimizer state are ---------------------------------------------------------------

// What is left on the device: embedding and head, and two layers of what comes and goes.
static void places(iso_memory *m) {
  const iso_memory_job *j = m->job;
  iso_layout_counts n;
  iso_layout_shape s = iso_memory_shape(&j->model);
  iso_layout_count(&s, &n);
  double p = (double)m->params, two = 2 * (double)n.layer_dense, rest = p - (double)(s.layers * n.layer_dense);
  if (two + rest > p) two = p - rest;
  double w = j->weight_b, g = j->grad_b, o = j->optim_b;
  m->place[0] = (iso_memory_place){"device", p * (w + g + o), 0, 0, 0, 0};
  // ZeRO-Offload (arXiv 2101.06840): gradients leave during the backward pass, new weights come when the host has made them.
  m->place[1] = (iso_memory_place){"optimizer state on the host", p * (w + g), p * o, p * g, 0, p * w};
  m->place[2] = (iso_memory_place){"optimizer state and gradients on the host", p * w + (two + rest) * g, p * (o + g), p * g, 0, p * w};
  // ZeRO-Infinity (arXiv 2104.07857): weights come for the forward and again for the backward pass.
  m->place[3] = (iso_memory_place){"weights, gradients and optimizer state on the host", (two + rest) * (w + g), p * (o + g + w), p * g, p * w, 0};
  m->places = j->host_b > 0 ? 4 : 1;
}

// Bytes of optimizer state that only the disk holds; -1 when there is no room.
static double on_disk(const iso_memory *m, const iso_memory_place *q, double moved_b) {
  double over = q->host_b + moved_b - m->job->host_b;
  if (over <= 0) return 0;
  return m->job->nvme_b_s > 0 && over <= (double)m->params * m->job->optim_b && q->host_b > 0 ? over : -1;
}

// Seconds that transfers of a place add to a step: what computing does not hide. in_s: the link's other traffic in the backward pass.
static double place_stall(const iso_memory *m, const iso_memory_place *q, double disk_b, double in_s) {
  const iso_memory_job *j = m->job;
  double stall = 0;
  if (q->host_b > 0) {
    stall += fmax(0, q->grads_out_b / j->link_b_s - m->bwd_s) + q->weights_after_b / j->link_b_s;
    stall += fmax(0, q->weights_in_b / j->link_b_s - m->fwd_s) + fmax(0, q->weights_in_b / j->link_b_s + in_s - m->bwd_s);
  }
  return stall + (disk_b > 0 ? 2 * disk_b / j->nvme_b_s : 0);
}

// ---- the choice -----------------------------------------------------------------------------------------------------

static iso_status values_there(const iso_memory *m, const iso_remat_schedule *s, bool *there, iso_err *err) {
  int nf;
  ISO_TRY(iso_remat_forward(m->d, &nf, err));
  memset(there, 0, (size_t)m->d->n * sizeof *there);
  for (int i = 0; i < s->n && (s->step[i].drop || s->step[i].node < nf); i++) there[s->step[i].node] = !s->step[i].drop;
  return ISO_OK;
}

void iso_memory_choice_close(iso_memory_choice *c) {
  iso_remat_plan_close(&c->plan);
  free(c->out);
  free(c->there);
  *c = (iso_memory_choice){0};
}

// Takes or closes c.
static void better(iso_memory_choice *best, iso_memory_choice *c) {
  if (c->found && (!best->found || c->step < best->step * (1 - 1e-9))) {
    iso_memory_choice_close(best);
    *best = *c;
    *c = (iso_memory_choice){0};
  } else {
    iso_memory_choice_close(c);
  }
}

// A schedule, and values of it on the host until its peak fits.
static iso_status with_offload(const iso_memory *m, const iso_memory_place *q, int64_t room_b, iso_memory_choice *c, iso_err *err) {
  int n = m->d->n, layers = (int)m->job->model.layers, values = 0;
  double *t = calloc(2 * (size_t)layers, sizeof *t);
  iso_offload_value *v = calloc((size_t)n + 1, sizeof *v);
  int *node = calloc((size_t)n + 1, sizeof *node);
  bool *out = calloc((size_t)n + 1, sizeof *out);
  iso_status st = ISO_ENOMEM;
  c->there = calloc((size_t)n + 1, sizeof *c->there);
  c->out = calloc((size_t)n + 1, sizeof *c->out);
  if (!t || !v || !node || !out || !c->there || !c->out) goto done;
  ISO_TRYG(values_there(m, &c->plan.schedule, c->there, err));
  for (int i = 0; i < n; i++) {
    const iso_remat_node *x = &m->d->node[i];
    if (x->layer >= 0) t[(x->once ? layers : 0) + x->layer] += x->cost;
    if (x->layer < 0 || x->once || !c->there[i]) continue;
    node[values] = i;
    v[values++] = (iso_offload_value){x->layer, x->bytes};
  }
  for (int l = 0; l < layers; l++) t[layers + l] += c->plan.use.extra_cost / layers;
  iso_offload_job j = {.blocks = layers, .values = values, .fwd_s = t, .bwd_s = t + layers, .value = v, .b_s = m->job->link_b_s};
  bool found = false;
  if (room_b < c->plan.use.peak_b) {
    ISO_TRYG(iso_offload_greedy(&j, c->plan.use.peak_b - room_b, out, &c->move, &found, err));
  } else {
    found = true;
  }
  c->disk_b = on_disk(m, q, (double)c->move.moved_b);
  c->found = found && c->disk_b >= 0;
  for (int i = 0; i < values; i++) c->out[node[i]] = out[i];
  c->place_stall_s = place_stall(m, q, fmax(0, c->disk_b), (double)c->move.moved_b / fmax(1, m->job->link_b_s));
  c->step = c->plan.use.cost + c->move.stall_s + c->place_stall_s;
  c->place = q;
done:
  free(t);
  free(v);
  free(node);
  free(out);
  return st == ISO_ENOMEM ? iso_fail(err, st, "no memory to plan offloading") : st;
}

static iso_status offload_from(const iso_memory *m, const iso_memory_place *q, int64_t room_b, int at, iso_memory_choice *best, iso_err *err) {
  iso_memory_choice c = {0};
  // Computing alone takes longer than the best plan so far.
  if (at >= 0 && best->found && iso_remat_front_at(m->front, at).cost + m->bwd_s >= best->step) return ISO_OK;
  iso_status st = at < 0 ? iso_remat_keep_all(m->d, false, &c.plan.schedule, err) : iso_remat_front_schedule(m->front, at, &c.plan.schedule, err);
  if (st == ISO_OK) st = iso_remat_replay(m->d, &c.plan.schedule, &c.plan.use, err);
  c.plan.method = at < 0 ? "keep all" : "per block";
  if (st == ISO_OK) st = with_offload(m, q, room_b, &c, err);
  if (st == ISO_OK)
    better(best, &c);
  else
    iso_memory_choice_close(&c);
  return st;
}

// Offloading from keeping all, and from plans of the front that are too large, their peaks in equal ratios.
static iso_status offloads(const iso_memory *m, const iso_memory_place *q, int64_t room_b, iso_memory_choice *best, iso_err *err) {
  int n = iso_remat_front_count(m->front), last = -1;
  ISO_TRY(offload_from(m, q, room_b, -1, best, err));
  double top = (double)iso_remat_front_at(m->front, n - 1).peak_b, low = fmax((double)room_b, (double)iso_remat_front_at(m->front, 0).peak_b);
  for (int k = BASES; k >= 0; k--) {
    int at = iso_remat_front_under(m->front, (int64_t)(low * pow(fmax(1, top / low), (double)k / BASES)));
    if (at < 0 || at == last) continue;
    last = at;
    ISO_TRY(offload_from(m, q, room_b, at, best, err));
  }
  return ISO_OK;
}

iso_status iso_memory_choose(const iso_memory *m, iso_memory_choice *best, iso_err *err) {
  *best = (iso_memory_choice){0};
  for (int p = 0; p < m->places; p++) {
    const iso_memory_place *q = &m->place[p];
    iso_memory_choice c = {0};
    int64_t room_b = m->job->limit_b - (int64_t)ceil(q->device_b + m->input_b);
    if (room_b <= 0) continue;
    iso_status st = iso_remat_solve(m->d, m->front, &m->job->effort, room_b, &c.plan, err);
    if (st == ISO_OK && c.plan.found) {
      st = with_offload(m, q, room_b, &c, err);
      if (st == ISO_OK) better(best, &c);
    }
    if (st == ISO_OK && m->job->host_b > 0) st = offloads(m, q, room_b, best, err);
    if (st != ISO_OK) {
      iso_memory_choice_close(&c);
      iso_memory_choice_close(best);
      return st;
    }
    iso_memory_choice_close(&c);
  }
  return ISO_OK;
}

// ---- the model ------------------------------------------------------------------------------------------------------

static iso_status check(const iso_memory_job *j, iso_err *err) {
  const struct {
    const char *name;
    double v;
    bool zero;
  } num[] = {{"bytes of a weight", j->weight_b, false},  {"bytes of a gradient", j->grad_b, true},   {"bytes of optimizer state", j->optim_b, true},
             {"FLOPs a second", j->rates.flop_s, true},  {"bytes a second", j->rates.b_s, true},     {"host memory", j->host_b, true},
             {"link bytes a second", j->link_b_s, true}, {"disk bytes a second", j->nvme_b_s, true}, {"limit", (double)j->limit_b, false}};
  ISO_TRY(iso_config_check(&j->model, err));
  if (j->batch < 1 || j->seq < 1 || j->batch > 1 << 20 || j->seq > 1 << 24)
    return iso_fail(err, ISO_EINVAL, "memory: %lld sequences of %lld tokens, expected 1 to %d of 1 to %d", (long long)j->batch, (long long)j->seq,
                    1 << 20, 1 << 24);
  if (j->act_b != 2 && j->act_b != 4 && j->act_b != 8)
    return iso_fail(err, ISO_EINVAL, "memory: activations of %lld bytes, expected 2, 4 or 8", (long long)j->act_b);
  for (size_t i = 0; i < ISO_COUNT(num); i++)
    if (!(num[i].zero ? num[i].v >= 0 : num[i].v > 0) || isinf(num[i].v))
      return iso_fail(err, ISO_EINVAL, "memory: %s: %g, expected %s", num[i].name, num[i].v, num[i].zero ? "0 or more" : "more than 0");
  if (j->effort.intervals < 0 || j->effort.intervals >= ISO_REMAT_INTERVALS)
    return iso_fail(err, ISO_EINVAL, "memory: %d retention intervals a value, expected 1 to %d, or 0 for any number", j->effort.intervals,
                    ISO_REMAT_INTERVALS - 1);
  if (j->host_b > 0 && !(j->link_b_s > 0 && j->rates.flop_s > 0 && j->rates.b_s > 0))
    return iso_fail(err, ISO_EINVAL, "memory: offloading needs the device's rates and that of its link to the host");
  if (j->nvme_b_s > 0 && !(j->host_b > 0)) return iso_fail(err, ISO_EINVAL, "memory: a disk is reached through host memory, of which none is given");
  return ISO_OK;
}

iso_status iso_memory_open(const iso_memory_job *j, iso_memory *m, iso_err *err) {
  *m = (iso_memory){.job = j, .input_b = 8 * (double)j->batch * (double)j->seq};
  iso_status st;
  ISO_TRY(check(j, err));
  ISO_TRYG(iso_remat_from_model(&j->model, j->batch, j->seq, (size_t)j->act_b, &j->rates, &m->d, &m->params, &m->model_flop, err));
  ISO_TRYG(iso_remat_chain_open(m->d, &m->chain, err));
  ISO_TRYG(iso_remat_layers(m->d, m->chain, &m->step, &m->steps, err));
  ISO_TRYG(iso_remat_front_open(m->d, m->chain, j->points > 0 ? j->points : m->chain->n > 64 ? 512 : 4096, j->effort.intervals, &m->front, err));
  for (int v = 0; v < m->d->n; v++) *(m->d->node[v].once ? &m->bwd_s : &m->fwd_s) += m->d->node[v].cost;
  for (int v = 0; v < m->d->n; v++) m->flop += m->d->node[v].flop;
  places(m);
done:
  if (st != ISO_OK) iso_memory_close(m);
  return st;
}

void iso_memory_close(iso_memory *m) {
  iso_remat_front_close(m->front);
  iso_remat_chain_close(m->chain);
  iso_remat_close(m->d);
  free(m->step);
  *m = (iso_memory){0};
}
