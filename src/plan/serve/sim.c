// Runs a trace over replicas: routing, hand-over between phases, and what comes out of it.
#include "plan/serve/sim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/stat.h"
#include "plan/serve/sim_impl.h"

enum { BINS_PER_DECADE = 200, DECADES_BELOW = 6 };

double iso_sim_server_step(const void *self, double prefill_tok, double prefill_ctx, double seqs, double ctx_tok) {
  const iso_sim_server *s = self;
  iso_serve_step p = {.seqs = seqs, .ctx = seqs > 0 ? ctx_tok / seqs : 0, .prefill_tok = prefill_tok, .prefill_ctx = prefill_ctx};
  return iso_serve_step_s(&s->setup, &s->coef, &p);
}

iso_status iso_sim_node_of(const iso_sim_server *s, double share, iso_sim_node *o, iso_err *err) {
  iso_serve_room room;
  ISO_TRY(iso_serve_capacity(&s->setup, 4096, share, &room, err));
  const iso_serve_device *d = &s->setup.device;
  double n = (double)s->setup.devices;
  *o = (iso_sim_node){.step = iso_sim_server_step,
                      .self = s,
                      .kv_tok = room.cache_tok,
                      .max_seqs = 256,
                      .chunk_tok = 2048,
                      .idle_w = d->idle_w * n,
                      .prefill_w = d->prefill_w * n,
                      .decode_w = d->decode_w * n};
  return ISO_OK;
}

iso_sim_opts iso_sim_opts_default(const iso_sim_node *node, int nodes) {
  return (iso_sim_opts){.node = node, .nodes = nodes, .slo_ttft_s = INFINITY, .slo_itl_s = INFINITY};
}

// ---- histogram ----

static int bin_of(double v) {
  double b = (log10(v) + DECADES_BELOW) * BINS_PER_DECADE;
  return b < 0 || isnan(b) ? 0 : b >= SIM_BINS ? SIM_BINS - 1 : (int)b;
}

static double edge_of(int bin) { return pow(10, (double)bin / BINS_PER_DECADE - DECADES_BELOW); }

void sim_hist_add(sim_hist *h, double first, double last, double k, double weight) {
  double lo = fmin(first, last), hi = fmax(first, last);
  int a = bin_of(lo), b = bin_of(hi);
  h->sum += k * weight * (first + last) / 2;
  h->max = fmax(h->max, hi);
  if (a == b) {
    h->count[a] += k * weight;
    return;
  }
  double from = lo;
  for (int i = a; i <= b; i++) {
    double to = i == b ? hi : edge_of(i + 1);
    h->count[i] += k * weight * (to - from) / (hi - lo);
    from = to;
  }
}

void sim_hist_quantiles(const sim_hist *h, iso_sim_quantiles *o) {
  double total = 0, at = 0, *out[] = {&o->p50, &o->p90, &o->p99};
  const double q[] = {0.5, 0.9, 0.99};
  size_t k = 0;
  for (int i = 0; i < SIM_BINS; i++) total += h->count[i];
  *o = (iso_sim_quantiles){.mean = total > 0 ? h->sum / total : NAN, .p50 = NAN, .p90 = NAN, .p99 = NAN, .max = total > 0 ? h->max : NAN};
  for (int i = 0; i < SIM_BINS && total > 0; i++) {
    while (k < ISO_COUNT(q) && at + h->count[i] >= q[k] * total) {
      double part = h->count[i] > 0 ? (q[k] * total - at) / h->count[i] : 0, lo = edge_of(i);
      *out[k++] = fmin(h->max, lo + part * (edge_of(i + 1) - lo));
    }
    at += h->count[i];
  }
}

// ---- the run ----

typedef struct run {
  const iso_serve_trace *t;
  const iso_sim_opts *o;
  sim_req *req;      // owned
  sim_node *node;    // owned
  bool *refused;     // owned
  double *value;     // owned: for quantiles
  sim_tally *tally;  // owned
  int groups;
} run;

static iso_status check_node(const iso_sim_node *n, int i, iso_err *err) {
  if (!n->step) return iso_fail(err, ISO_EINVAL, "simulation: node %d has no step function", i);
  if (n->group < 0 || n->group >= ISO_SIM_GROUPS_MAX)
    return iso_fail(err, ISO_EINVAL, "simulation: node %d is of group %d, expected 0 to %d", i, n->group, ISO_SIM_GROUPS_MAX - 1);
  if (!(n->kv_tok >= 1 && n->kv_tok < 1e15))
    return iso_fail(err, ISO_EINVAL, "simulation: node %d caches %g tokens, expected at least 1", i, n->kv_tok);
  if (n->max_seqs < 1 || n->max_seqs > INT32_MAX)
    return iso_fail(err, ISO_EINVAL, "simulation: node %d takes %lld sequences, expected at least 1", i, (long long)n->max_seqs);
  if (n->chunk_tok < 1 || n->chunk_tok > INT32_MAX)
    return iso_fail(err, ISO_EINVAL, "simulation: node %d processes %lld tokens an iteration, expected at least 1", i, (long long)n->chunk_tok);
  if (!(n->idle_w >= 0 && n->prefill_w >= 0 && n->decode_w >= 0 && n->idle_w + n->prefill_w + n->decode_w < INFINITY))
    return iso_fail(err, ISO_EINVAL, "simulation: node %d draws %g, %g, %g W, expected numbers of 0 or more", i, n->idle_w, n->prefill_w,
                    n->decode_w);
  return ISO_OK;
}

static iso_status check(const iso_serve_trace *t, const iso_sim_opts *o, iso_err *err) {
  bool role[3] = {false};
  if (t->n < 1 || t->n > INT32_MAX - 1)
    return iso_fail(err, ISO_EINVAL, "simulation: %lld requests, expected 1 to %d", (long long)t->n, INT32_MAX - 1);
  if (o->nodes < 1) return iso_fail(err, ISO_EINVAL, "simulation: no nodes");
  for (int i = 0; i < o->nodes; i++) {
    ISO_TRY(check_node(&o->node[i], i, err));
    role[o->node[i].role] = true;
  }
  bool first = !o->first_at_s, second = !o->first_only;
  if (!first && !second) return iso_fail(err, ISO_EINVAL, "simulation: first tokens alone are asked for, and given");
  if (!first || !second) {
    if (role[ISO_SIM_BOTH] || role[ISO_SIM_PREFILL] != first || role[ISO_SIM_DECODE] != second)
      return iso_fail(err, ISO_EINVAL, "simulation: half a split takes %s nodes alone", first ? "prefill" : "decode");
  } else if (role[ISO_SIM_PREFILL] != role[ISO_SIM_DECODE]) {
    return iso_fail(err, ISO_EINVAL, "simulation: prefill nodes need decode nodes and the other way round");
  }
  if (!(o->need >= 0 && o->need <= 1)) return iso_fail(err, ISO_EINVAL, "simulation: a share of %g is needed, expected 0 to 1", o->need);
  if (role[ISO_SIM_BOTH] && role[ISO_SIM_PREFILL]) return iso_fail(err, ISO_EINVAL, "simulation: nodes of one phase and of both cannot be mixed");
  if (!(o->transfer_s >= 0 && o->transfer_s_per_tok >= 0)) return iso_fail(err, ISO_EINVAL, "simulation: transfer times must be 0 or more");
  for (int64_t i = 0; i < t->n; i++) {
    const iso_serve_request *r = &t->at[i];
    if (r->prompt < 1 || r->output < 1 || r->prompt > ISO_TRACE_TOKENS_MAX || r->output > ISO_TRACE_TOKENS_MAX || !(r->arrival_s >= 0) ||
        (i && r->arrival_s < t->at[i - 1].arrival_s))
      return iso_fail(err, ISO_EINVAL, "simulation: request %lld (at %g s, %d and %d tokens) is out of order or has no tokens", (long long)i,
                      r->arrival_s, (int)r->prompt, (int)r->output);
  }
  return ISO_OK;
}

static iso_status open_run(run *u, const iso_serve_trace *t, const iso_sim_opts *o, iso_err *err) {
  size_t n = (size_t)(t->n > 0 ? t->n : 0), nodes = (size_t)(o->nodes > 0 ? o->nodes : 0);  // check() has refused others
  *u = (run){.t = t, .o = o};
  u->req = calloc(n, sizeof *u->req);
  u->node = calloc(nodes, sizeof *u->node);
  u->refused = calloc(n, sizeof *u->refused);

  u->value = malloc(n * sizeof *u->value);
  u->tally = calloc(1, sizeof *u->tally);
  if (!u->req || !u->node || !u->refused || !u->value || !u->tally)
    return iso_fail(err, ISO_ENOMEM, "simulation: no memory for %lld requests", (long long)t->n);
  u->tally->at = t->at;
  u->tally->requests = t->n;
  u->tally->slo_ttft_s = o->slo_ttft_s;
  u->tally->slo_itl_s = o->slo_itl_s;
  u->tally->need = o->need;
  for (int64_t i = 0; i < t->n; i++)
    u->req[i] = (sim_req){
        .ready_s = t->at[i].arrival_s, .first_s = NAN, .last_s = NAN, .prompt = t->at[i].prompt, .output = t->at[i].output, .need = t->at[i].prompt};
  for (int i = 0; i < o->nodes; i++) {
    ISO_TRY(sim_node_open(&u->node[i], &o->node[i], u->req, u->tally, err));
    u->node[i].hand_over = o->node[i].role == ISO_SIM_PREFILL;
    if (o->node[i].group >= u->groups) u->groups = o->node[i].group + 1;
  }
  return ISO_OK;
}

static void close_run(run *u) {
  for (int i = 0; u->node && i < u->o->nodes; i++) sim_node_close(&u->node[i]);
  free(u->req);
  free(u->node);
  free(u->refused);
  free(u->value);
  free(u->tally);
}

static iso_status node_status(const run *u, iso_err *err) {
  for (int i = 0; i < u->o->nodes; i++) {
    if (u->node[i].status == ISO_ENOMEM) return iso_fail(err, ISO_ENOMEM, "simulation: no memory for the requests of node %d", i);
    if (u->node[i].status != ISO_OK) return iso_fail(err, ISO_ENUM, "simulation: the step function of node %d gave no positive finite time", i);
  }
  return ISO_OK;
}

// Advances the nodes of a phase to the request's ready time and hands it to the one that owes least.
static void route(run *u, int32_t r, bool decode, int group) {
  sim_req *q = &u->req[r];
  sim_node *best = NULL;
  for (int i = 0; i < u->o->nodes; i++) {
    sim_node *n = &u->node[i];
    const iso_sim_node *c = n->cfg;
    if ((c->role == ISO_SIM_DECODE) != decode || (group >= 0 && c->group != group)) continue;
    sim_node_advance(n, q->ready_s);
    double size = (double)q->prompt + (c->role == ISO_SIM_PREFILL ? 1 : q->output);
    if (size > c->kv_tok) continue;
    if (!best || n->load_tok < best->load_tok) best = n;
  }
  if (best) {
    sim_node_take(best, r);
    return;
  }
  if (!decode || !sim_late(u->tally, r, q->first_s)) sim_missed(u->tally);
  u->refused[r] = true;
}

static void drain(run *u, bool decode) {
  for (int i = 0; i < u->o->nodes; i++)
    if ((u->node[i].cfg->role == ISO_SIM_DECODE) == decode) sim_node_advance(&u->node[i], INFINITY);
}

typedef struct ready {
  double at;
  int32_t req;
} ready;

static int by_ready(const void *a, const void *b) {
  const ready *x = a, *y = b;
  if (x->at != y->at) return x->at < y->at ? -1 : 1;
  return (x->req > y->req) - (x->req < y->req);
}

// Second phase: requests whose first token came from a prefill node, in the order in which their caches arrive.
static iso_status decode_phase(run *u, iso_err *err) {
  ready *list = malloc((size_t)u->t->n * sizeof *list);
  int64_t n = 0;
  if (!list) return iso_fail(err, ISO_ENOMEM, "simulation: no memory for %lld hand-overs", (long long)u->t->n);
  for (int64_t i = 0; i < u->t->n; i++) {
    sim_req *q = &u->req[i];
    if (u->refused[i] || q->output == 1) continue;
    q->ready_s = q->first_s + u->o->transfer_s + u->o->transfer_s_per_tok * q->prompt;
    q->need = 0;
    list[n++] = (ready){q->ready_s, (int32_t)i};
  }
  qsort(list, (size_t)n, sizeof *list, by_ready);
  for (int64_t i = 0; i < n && !u->tally->stopped; i++) route(u, list[i].req, true, -1);
  free(list);
  drain(u, true);
  return ISO_OK;
}

// First tokens that came from elsewhere.
static void take_first(run *u) {
  for (int64_t i = 0; i < u->t->n; i++) {
    sim_req *q = &u->req[i];
    q->first_s = q->last_s = u->o->first_at_s[i];
    q->made = 1;
    u->refused[i] = isnan(q->first_s);
    if (u->refused[i] || sim_late(u->tally, (int32_t)i, q->first_s)) sim_missed(u->tally);
  }
}

static iso_status first_phase(run *u, iso_err *err) {
  for (int64_t i = 0; i < u->t->n && !u->tally->stopped; i++) {
    int group = u->o->pick ? u->o->pick(u->o->pick_self, &u->t->at[i]) : -1;
    if (group < -1 || group >= u->groups)
      return iso_fail(err, ISO_EINVAL, "simulation: request %lld was sent to group %d, expected 0 to %d", (long long)i, group, u->groups - 1);
    route(u, (int32_t)i, false, group);
  }
  drain(u, false);
  return ISO_OK;
}

// ---- results ----

// Quantiles of u->value[0..n), which are sorted in place.
static iso_sim_quantiles quantiles(run *u, int64_t n) {
  if (!n) return (iso_sim_quantiles){NAN, NAN, NAN, NAN, NAN};
  iso_sim_quantiles q = {.mean = iso_mean(u->value, n), .p50 = iso_quantile(u->value, n, 0.5)};
  q.p90 = u->value[(int64_t)(0.9 * (double)(n - 1))];
  q.p99 = u->value[(int64_t)(0.99 * (double)(n - 1))];
  q.max = u->value[n - 1];
  return q;
}

static double tpot_s(const sim_req *q) { return q->output > 1 ? (q->last_s - q->first_s) / (q->output - 1) : 0; }

static void latencies(run *u, iso_sim_result *r) {
  int64_t n = u->t->n, done = 0, many = 0, ok = 0, first_ok = 0, mean_ok = 0;
  for (int64_t i = 0; i < n; i++) {
    const sim_req *q = &u->req[i];
    if (u->refused[i]) continue;
    bool a = q->first_s - u->t->at[i].arrival_s <= u->o->slo_ttft_s, b = tpot_s(q) <= u->o->slo_itl_s;
    first_ok += a;
    mean_ok += b;
    ok += a && b;
    r->output_tok += q->output;
    r->prompt_tok += q->prompt;
    r->span_s = fmax(r->span_s, q->last_s);
    u->value[done++] = q->first_s - u->t->at[i].arrival_s;
  }
  r->refused = n - done;
  r->ttft = quantiles(u, done);
  for (int64_t i = 0, k = 0; i < n; i++)
    if (!u->refused[i]) u->value[k++] = u->req[i].last_s - u->t->at[i].arrival_s;
  r->e2e = quantiles(u, done);
  for (int64_t i = 0; i < n; i++)
    if (!u->refused[i] && u->req[i].output > 1) u->value[many++] = tpot_s(&u->req[i]);
  r->tpot = quantiles(u, many);
  r->attained = (double)ok / (double)n;
  r->ttft_attained = (double)first_ok / (double)n;
  r->tpot_attained = (double)mean_ok / (double)n;
  r->req_per_s = r->span_s > 0 ? (double)done / r->span_s : NAN;
  r->tok_per_s = r->span_s > 0 ? r->output_tok / r->span_s : NAN;
}

static void totals(run *u, iso_sim_result *r) {
  double nodes[ISO_SIM_GROUPS_MAX] = {0}, busy = 0, seq = 0;
  for (int i = 0; i < u->o->nodes; i++) {
    const sim_node *n = &u->node[i];
    int g = n->cfg->group;
    double share = r->span_s > 0 ? n->busy_s / r->span_s : 0;
    busy += n->busy_s;
    seq += n->seq_s;
    r->busy += share / (double)u->o->nodes;
    r->group_busy[g] += share;
    r->group_tok[g] += n->emitted_tok;
    r->group_requests[g] += (double)n->requests;
    nodes[g]++;
    r->kv_peak = fmax(r->kv_peak, n->kv_peak / n->cfg->kv_tok);
    r->idle_j += fmax(0, r->span_s - n->busy_s) * n->cfg->idle_w;
  }
  for (int g = 0; g < ISO_SIM_GROUPS_MAX; g++)
    if (nodes[g] > 0) r->group_busy[g] /= nodes[g];
  r->mean_seqs = busy > 0 ? seq / busy : 0;
  r->preemptions = u->tally->preemptions;
  r->iterations = u->tally->iterations;
  r->stretches = u->tally->stretches;
  r->prefill_j = u->tally->prefill_j;
  r->decode_j = u->tally->decode_j;
  r->j_per_tok = r->output_tok > 0 ? (r->idle_j + r->prefill_j + r->decode_j) / r->output_tok : NAN;
  sim_hist_quantiles(&u->tally->itl, &r->itl);
}

iso_status iso_sim_run(const iso_serve_trace *t, const iso_sim_opts *o, iso_sim_result *r, iso_err *err) {
  run u;
  memset(r, 0, sizeof *r);
  ISO_TRY(check(t, o, err));
  iso_status st = open_run(&u, t, o, err);
  if (st == ISO_OK && o->first_at_s) take_first(&u);
  if (st == ISO_OK && !o->first_at_s) st = first_phase(&u, err);
  if (st == ISO_OK) st = node_status(&u, err);
  if (st == ISO_OK && o->node[0].role != ISO_SIM_BOTH && !o->first_only && !u.tally->stopped) st = decode_phase(&u, err);
  if (st == ISO_OK) st = node_status(&u, err);
  if (st == ISO_OK) {
    r->requests = t->n;
    r->attained = (double)(t->n - u.tally->missed) / (double)t->n;
    for (int64_t i = 0; i < t->n && !u.tally->stopped; i++) {
      if (o->first_s) o->first_s[i] = u.refused[i] ? NAN : u.req[i].first_s;
      if (o->finish_s) o->finish_s[i] = u.refused[i] ? NAN : u.req[i].last_s;
    }
    if (!(o->need > 0)) {
      latencies(&u, r);
      totals(&u, r);
    }
  }
  close_run(&u);
  return st;
}

static json_t *quantiles_json(const iso_sim_quantiles *q) {
  return json_pack("{s:o, s:o, s:o, s:o, s:o}", "mean", iso_json_num(q->mean), "p50", iso_json_num(q->p50), "p90", iso_json_num(q->p90), "p99",
                   iso_json_num(q->p99), "max", iso_json_num(q->max));
}

json_t *iso_sim_result_json(const iso_sim_result *r) {
  return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:o, s:o, s:o}, s:{s:o, s:o, s:o}, s:{s:o, s:o, s:o, s:o}}",
                   "requests", (json_int_t)r->requests, "refused", (json_int_t)r->refused, "preemptions", (json_int_t)r->preemptions, "iterations",
                   (json_int_t)r->iterations, "span_s", iso_json_num(r->span_s), "req_per_s", iso_json_num(r->req_per_s), "tok_per_s",
                   iso_json_num(r->tok_per_s), "ttft_s", quantiles_json(&r->ttft), "tpot_s", quantiles_json(&r->tpot), "itl_s",
                   quantiles_json(&r->itl), "e2e_s", quantiles_json(&r->e2e), "attained", "slo", iso_json_num(r->attained), "ttft",
                   iso_json_num(r->ttft_attained), "tpot", iso_json_num(r->tpot_attained), "utilisation", "busy", iso_json_num(r->busy), "mean_seqs",
                   iso_json_num(r->mean_seqs), "kv_peak", iso_json_num(r->kv_peak), "energy", "idle_j", iso_json_num(r->idle_j), "prefill_j",
                   iso_json_num(r->prefill_j), "decode_j", iso_json_num(r->decode_j), "j_per_tok", iso_json_num(r->j_per_tok));
}
