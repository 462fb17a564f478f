// Fleet choice: throughput of each type for each size, the program, and the simulation that checks it.
#include "plan/serve/fleet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLICAS_MAX = 4096, SEQS_MAX = 256 };

static const double HEADROOM[] = {1, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2, 2.5, 3, 4, 6, 9, 14, 20};

iso_status iso_fleet_type_of(const iso_serve_shape *s, const iso_serve_device *d, const char *format, const iso_serve_coef *c, int64_t devices,
                             double tok, double mem_share, iso_fleet_type *o, iso_err *err) {
  iso_serve_format f;
  iso_serve_room room;
  memset(o, 0, sizeof *o);
  ISO_TRY(iso_serve_format_get(format, s, &f, err));
  if (!(d->usd_h > 0)) {
    iso_fail(err, ISO_EUNSUP, "device %s: no price is known", d->name);
    return iso_hint(err, ISO_EUNSUP, "put usd_h into what isoflop hw show %s --json prints, and add it: isoflop hw add %s --from FILE", d->name,
                    d->name);
  }
  int64_t from = devices > 0 ? devices : 1, to = devices > 0 ? devices : d->node;
  iso_status st = ISO_OK;
  for (int64_t n = from; n <= to; n *= 2) {
    if (devices == 0 && s->heads % n) break;
    ISO_TRY(iso_serve_setup_init(&o->server.setup, s, d, &f, iso_serve_layout_tp(s, n), err));
    st = iso_serve_capacity(&o->server.setup, tok, mem_share, &room, err);
    if (st == ISO_OK && room.seqs < 1)
      st = iso_fail(err, ISO_ENOMEM, "%s on %lld x %s: a cache of %g tokens takes %.1f GB of a device, %.1f GB are free", s->name, (long long)n,
                    d->name, tok, room.kv_dev_b_per_seq / 1e9, room.free_b / 1e9);
    if (st == ISO_OK) {
      if (n > 1)
        snprintf(o->name, sizeof o->name, "%lldx%s", (long long)n, d->name);
      else
        snprintf(o->name, sizeof o->name, "%s", d->name);
      o->server.coef = *c;
      o->usd_h = d->usd_h * (double)n;
      o->most = -1;
      return ISO_OK;
    }
    if (st != ISO_ENOMEM) return st;
  }
  return st;
}

static double itl_at(const iso_fleet_type *t, double seqs, double prompt, double output) {
  iso_serve_work w = iso_serve_mean_work(&t->server.setup, seqs, prompt, output, true);
  return iso_serve_time_s(&w, &t->server.coef);
}

iso_status iso_fleet_rate_of(const iso_fleet_type *t, double prompt, double output, double slo_ttft_s, double slo_itl_s, double mem_share,
                             iso_fleet_rate *o, iso_err *err) {
  iso_serve_room room;
  memset(o, 0, sizeof *o);
  ISO_TRY(iso_serve_capacity(&t->server.setup, prompt + output, mem_share, &room, err));
  double most = fmin(room.seqs, SEQS_MAX), lo = 1, hi = most;
  o->bound = most < 1 ? "cache" : most < SEQS_MAX ? "cache" : "sequences";
  if (most < 1) return ISO_OK;
  iso_serve_step pre = {.prefill_tok = prompt, .prefill_ctx = prompt / 2};
  o->ttft_s = iso_serve_step_s(&t->server.setup, &t->server.coef, &pre);
  o->itl_s = itl_at(t, 1, prompt, output);
  if (o->ttft_s > slo_ttft_s || o->itl_s > slo_itl_s) {
    o->bound = o->ttft_s > slo_ttft_s ? "ttft" : "itl";
    return ISO_OK;
  }
  if (itl_at(t, most, prompt, output) > slo_itl_s) {
    o->bound = "itl";
    while (hi - lo > 1) {
      double mid = floor((lo + hi) / 2);
      *(itl_at(t, mid, prompt, output) <= slo_itl_s ? &lo : &hi) = mid;
    }
    most = lo;
  }
  o->seqs = most;
  o->itl_s = itl_at(t, most, prompt, output);
  o->req_per_s = most / (o->ttft_s + fmax(0, output - 1) * o->itl_s);
  o->usd_per_mtok = t->usd_h / 3600 / (o->req_per_s * (prompt + output)) * 1e6;
  return ISO_OK;
}

iso_fleet_opts iso_fleet_opts_default(void) {
  return (iso_fleet_opts){.slo_ttft_s = INFINITY, .slo_itl_s = INFINITY, .attain = 0.99, .rate = NAN, .mem_share = 0.9, .simulate = true, .seed = 1};
}

static iso_status check(const iso_serve_trace *t, int n, const iso_fleet_opts *o, iso_err *err) {
  if (t->n < 1) return iso_fail(err, ISO_EINVAL, "fleet: the trace is empty");
  if (n < 1 || n > ISO_FLEET_TYPES_MAX) return iso_fail(err, ISO_EINVAL, "fleet: %d types, expected 1 to %d", n, ISO_FLEET_TYPES_MAX);
  if (!(o->slo_ttft_s > 0 && o->slo_itl_s > 0))
    return iso_fail(err, ISO_EINVAL, "fleet: latency limits %g s and %g s, expected positive numbers", o->slo_ttft_s, o->slo_itl_s);
  if (!(o->attain > 0 && o->attain <= 1)) return iso_fail(err, ISO_EINVAL, "fleet: share of requests %g, expected a number in (0, 1]", o->attain);
  if (!isnan(o->rate) && !(o->rate > 0 && o->rate < INFINITY))
    return iso_fail(err, ISO_EINVAL, "fleet: rate %g, expected a positive number", o->rate);
  return ISO_OK;
}

// Rates of one bucket on all types; *any is whether one can serve it.
static iso_status bucket_rates(const iso_fleet_type *types, int n, const iso_bucket *b, double ttft_s, double itl_s, double share,
                               iso_fleet_rate *out, bool *any, iso_err *err) {
  *any = false;
  for (int j = 0; j < n; j++) {
    ISO_TRY(iso_fleet_rate_of(&types[j], b->prompt, b->output, ttft_s, itl_s, share, &out[j], err));
    *any |= out[j].req_per_s > 0;
  }
  return ISO_OK;
}

static iso_status no_type(const iso_fleet_type *types, int n, const iso_fleet_opts *o, const iso_fleet_plan *p, int i, iso_err *err) {
  const iso_fleet_rate *r = &p->rate[i][n - 1];
  iso_fail(err, ISO_EBUDGET,
           "fleet: no type serves requests of %.0f prompt and %.0f output tokens within the limits (%.3g of all are too large); %s is "
           "bound by %s (alone: first token %.3g s, %.3g s a token)",
           p->bucket[i].prompt, p->bucket[i].output, p->over_share, types[n - 1].name, r->bound, r->ttft_s, r->itl_s);
  return iso_hint(err, ISO_EBUDGET, "the limits are %g s and %g s for %g of the requests; widen them or offer a faster type", o->slo_ttft_s,
                  o->slo_itl_s, o->attain);
}

// Rates of all types for all buckets. What nobody can serve in time may be as much as may miss.
static iso_status rates(const iso_fleet_type *types, int n, const iso_fleet_opts *o, iso_fleet_plan *p, iso_err *err) {
  int worst = -1;
  for (int i = 0; i < p->buckets; i++) {
    bool any;
    ISO_TRY(bucket_rates(types, n, &p->bucket[i], o->slo_ttft_s, o->slo_itl_s, o->mem_share, p->rate[i], &any, err));
    p->over[i] = !any;
    if (any) continue;
    p->over_share += p->bucket[i].share;
    if (worst < 0 || p->bucket[i].share > p->bucket[worst].share) worst = i;
  }
  if (p->over_share > 1 - o->attain) return no_type(types, n, o, p, worst, err);
  for (int i = 0; i < p->buckets; i++) {
    bool any;
    if (!p->over[i]) continue;
    ISO_TRY(bucket_rates(types, n, &p->bucket[i], INFINITY, INFINITY, o->mem_share, p->rate[i], &any, err));
    if (!any) return no_type(types, n, o, p, i, err);
  }
  return ISO_OK;
}

static iso_status solve(const iso_fleet_type *types, int n, const iso_fleet_opts *o, iso_fleet_plan *p, iso_err *err) {
  double load[ISO_BUCKETS_MAX * ISO_FLEET_TYPES_MAX], cost[ISO_FLEET_TYPES_MAX];
  int64_t most[ISO_FLEET_TYPES_MAX];
  for (int j = 0; j < n; j++) {
    cost[j] = types[j].usd_h;
    most[j] = types[j].most;
  }
  for (int i = 0; i < p->buckets; i++)
    for (int j = 0; j < n; j++) {
      double r = p->rate[i][j].req_per_s;
      load[i * n + j] = r > 0 ? p->headroom * p->req_per_s * p->bucket[i].share / r : INFINITY;
    }
  iso_fleet_ip ip = {p->buckets, n, load, cost, most, o->slices, o->node_limit};
  ISO_TRY(iso_fleet_ip_solve(&ip, &p->answer, err));
  p->shadow_usd_h = 0;
  for (int i = 0; i < p->buckets; i++) p->shadow_usd_h += p->answer.price[i] / p->req_per_s / p->headroom;
  return ISO_OK;
}

// Sends each size to types in the program's proportions: always to the one that is farthest behind its share.
typedef struct dealer {
  const iso_fleet_plan *p;
  int types;
  int index[ISO_BUCKETS_MAX];  // bucket of a cell
  double sent[ISO_BUCKETS_MAX][ISO_FLEET_TYPES_MAX];
  double total[ISO_BUCKETS_MAX];
} dealer;

static int deal(void *self, const iso_serve_request *r) {
  dealer *d = self;
  int b = d->index[iso_bucket_cell(r->prompt, r->output)], best = -1;
  double lag = -INFINITY;
  d->total[b]++;
  for (int j = 0; j < d->types; j++) {
    double share = d->p->answer.share[b][j], behind = share * d->total[b] - d->sent[b][j];
    if (share > 1e-9 && behind > lag) {
      lag = behind;
      best = j;
    }
  }
  d->sent[b][best]++;
  return best;
}

// need: iso_sim_opts.need.
static iso_status simulate(const iso_serve_trace *t, const iso_fleet_type *types, int n, const iso_fleet_opts *o, double need, iso_fleet_plan *p,
                           iso_err *err) {
  dealer *d = calloc(1, sizeof *d);
  iso_sim_node *node = NULL;
  int64_t total = 0;
  iso_status st = ISO_OK;
  for (int j = 0; j < n; j++) total += p->answer.count[j];
  if (total > REPLICAS_MAX) {
    st = iso_fail(err, ISO_EINVAL, "fleet: %lld replicas are too many to simulate (%d)", (long long)total, REPLICAS_MAX);
    (void)iso_hint(err, st, "--no-simulate plans them by the program alone");
  }
  if (st == ISO_OK) node = calloc((size_t)total + 1, sizeof *node);
  if (st == ISO_OK && (!d || !node)) st = iso_fail(err, ISO_ENOMEM, "fleet: no memory to simulate");
  int k = 0;
  for (int j = 0; st == ISO_OK && j < n; j++) {
    for (int64_t i = 0; st == ISO_OK && i < p->answer.count[j]; i++) {
      st = iso_sim_node_of(&types[j].server, o->mem_share, &node[k], err);
      node[k++].group = j;
    }
  }
  if (st == ISO_OK) {
    d->p = p;
    d->types = n;
    for (int i = 0; i < p->buckets; i++) d->index[p->bucket[i].cell] = i;
    iso_sim_opts so = iso_sim_opts_default(node, k);
    so.pick = deal;
    so.pick_self = d;
    so.slo_ttft_s = o->slo_ttft_s;
    so.slo_itl_s = o->slo_itl_s;
    so.need = need;
    st = iso_sim_run(t, &so, &p->sim, err);
    p->simulated = st == ISO_OK;
    p->met = p->simulated && p->sim.attained >= o->attain;
  }
  free(d);
  free(node);
  return st;
}

static iso_status plan_at(const iso_fleet_type *types, int n, const iso_fleet_opts *o, double headroom, iso_fleet_plan *p, int64_t *replicas,
                          iso_err *err) {
  p->headroom = headroom;
  ISO_TRY(solve(types, n, o, p, err));
  *replicas = 0;
  for (int j = 0; j < n; j++) *replicas += p->answer.count[j];
  return ISO_OK;
}

// Plans with growing head room until the simulation attains the share, or there are no more replicas.
static iso_status with_headroom(const iso_serve_trace *use, const iso_fleet_type *types, int n, const iso_fleet_opts *o, iso_fleet_plan *p,
                                iso_err *err) {
  int64_t replicas;
  p->met = p->simulated = false;
  ISO_TRY(plan_at(types, n, o, HEADROOM[0], p, &replicas, err));
  if (!o->simulate) return ISO_OK;
  size_t k = 0;
  for (;; k++) {
    ISO_TRY(simulate(use, types, n, o, o->attain, p, err));
    if (p->met || k + 1 == ISO_COUNT(HEADROOM)) break;
    iso_status st = plan_at(types, n, o, HEADROOM[k + 1], p, &replicas, err);
    if (st == ISO_OK && replicas <= REPLICAS_MAX) continue;
    if (st != ISO_OK && st != ISO_EBUDGET) return st;
    ISO_TRY(plan_at(types, n, o, HEADROOM[k], p, &replicas, err));
    break;
  }
  return simulate(use, types, n, o, 0, p, err);
}

// The whole program beside a pool of type j alone, at its head room and with the sizes that it cannot serve in time counted as misses: its bound
// and prices stay, the fleet is type j's.
static iso_status put_alone(const iso_fleet_type *types, int n, int j, const iso_fleet_opts *o, const iso_fleet_plan *alone,
                            const iso_split_choice *pool, iso_fleet_plan *p, iso_err *err) {
  bool any;
  int64_t replicas;
  for (int i = 0; i < p->buckets; i++) {
    if (alone->over[i] && !p->over[i]) ISO_TRY(bucket_rates(types, n, &p->bucket[i], INFINITY, INFINITY, o->mem_share, p->rate[i], &any, err));
    p->over[i] = alone->over[i];
  }
  p->over_share = alone->over_share;
  ISO_TRY(plan_at(types, n, o, fmax(1, pool->prompts / alone->answer.used[0]), p, &replicas, err));
  iso_fleet_answer *a = &p->answer;
  for (int k = 0; k < n; k++) {
    a->count[k] = k == j ? pool->prompts : 0;
    a->used[k] = k == j ? alone->answer.used[0] : 0;
    for (int i = 0; i < p->buckets; i++) a->share[i][k] = k == j ? alone->answer.share[i][0] : 0;
  }
  a->cost = pool->usd_h;
  a->bound = fmin(a->bound, a->cost);
  a->gap = 1 - a->bound / a->cost;
  a->optimal = a->gap == 0;
  p->simulated = p->met = true;
  p->sim = pool->sim;
  return ISO_OK;
}

// The least replicas of one type, no fewer than carry the load, that attain the share for less than `below` dollars an hour. ISO_EBUDGET: none do.
static iso_status pool_of(const iso_serve_trace *use, const iso_fleet_type *type, const iso_fleet_opts *o, int64_t from, double below,
                          iso_split_choice *out, iso_err *err) {
  iso_split_type pool = {.usd_h = type->usd_h};
  int64_t most = type->most >= 0 && type->most < REPLICAS_MAX ? type->most : REPLICAS_MAX;
  if (from < 1 || from > most)
    return iso_fail(err, ISO_EBUDGET, "fleet: %lld replicas of %s, %lld at most", (long long)from, type->name, (long long)most);
  ISO_TRY(iso_sim_node_of(&type->server, o->mem_share, &pool.node, err));
  iso_split_opts so = {.slo_ttft_s = o->slo_ttft_s,
                       .slo_itl_s = o->slo_itl_s,
                       .attain = o->attain,
                       .most = (int)most,
                       .from = (int)from,
                       .below = below < INFINITY ? below : 0};
  return iso_split_mixed(use, &pool, 1, &so, out, err);
}

// The program fills every type of a mixed fleet to the brim and serves every size in time that it can: requests of one size wait for a type while
// another idles, and head room grows in steps. One type alone may need so much less of it, or miss so few requests, that it attains the share for
// less.
static iso_status one_type(const iso_serve_trace *use, const iso_fleet_type *types, int n, const iso_fleet_opts *o, iso_fleet_plan *p, iso_err *err) {
  iso_fleet_plan *alone = malloc(sizeof *alone);
  iso_status st = alone ? ISO_OK : iso_fail(err, ISO_ENOMEM, "fleet: no memory to compare types");
  for (int j = 0; st == ISO_OK && j < n; j++) {
    iso_split_choice pool;
    int64_t from;
    *alone = *p;
    alone->over_share = 0;
    if (rates(&types[j], 1, o, alone, NULL) != ISO_OK || plan_at(&types[j], 1, o, 1, alone, &from, NULL) != ISO_OK) continue;
    st = pool_of(use, &types[j], o, from, p->met ? p->answer.cost : INFINITY, &pool, err);
    if (st == ISO_OK)
      st = put_alone(types, n, j, o, alone, &pool, p, err);
    else if (st == ISO_EBUDGET)
      st = ISO_OK;
  }
  free(alone);
  return st;
}

// Every request alone on every type, by the same simulation: what no number of replicas can better.
static iso_status why_missed(const iso_serve_trace *use, const iso_fleet_type *types, int n, const iso_fleet_opts *o, iso_fleet_plan *p,
                             iso_err *err) {
  const double apart_s = 1e5;  // longer than any request takes
  size_t count = (size_t)use->n;
  iso_serve_trace t = {malloc(count * sizeof *t.at), use->n};
  double *first = malloc(count * sizeof *first), *last = malloc(count * sizeof *last);
  unsigned char *kept = calloc(count, 1);  // bits: first token, between tokens, both
  int64_t sum[3] = {0};
  iso_status st = t.at && first && last && kept ? ISO_OK : iso_fail(err, ISO_ENOMEM, "fleet: no memory for %lld requests", (long long)use->n);
  for (int64_t i = 0; st == ISO_OK && i < t.n; i++) t.at[i] = (iso_serve_request){apart_s * (double)i, use->at[i].prompt, use->at[i].output};
  for (int j = 0; st == ISO_OK && j < n; j++) {
    iso_sim_node node;
    iso_sim_result r;
    st = iso_sim_node_of(&types[j].server, o->mem_share, &node, err);
    iso_sim_opts so = iso_sim_opts_default(&node, 1);
    so.first_s = first;
    so.finish_s = last;
    if (st == ISO_OK) st = iso_sim_run(&t, &so, &r, err);
    for (int64_t i = 0; st == ISO_OK && i < t.n; i++) {
      bool soon = first[i] - t.at[i].arrival_s <= o->slo_ttft_s;
      bool even = t.at[i].output < 2 ? !isnan(first[i]) : (last[i] - first[i]) / (t.at[i].output - 1) <= o->slo_itl_s;
      kept[i] |= (unsigned char)(soon | even << 1 | (soon && even) << 2);
    }
  }
  for (int64_t i = 0; st == ISO_OK && i < t.n; i++)
    for (int b = 0; b < 3; b++) sum[b] += kept[i] >> b & 1;
  p->alone_ttft = (double)sum[0] / (double)use->n;
  p->alone_itl = (double)sum[1] / (double)use->n;
  p->alone = (double)sum[2] / (double)use->n;
  p->missed = p->alone >= o->attain ? "replicas" : p->alone_ttft < o->attain ? "ttft" : p->alone_itl < o->attain ? "itl" : "ttft and itl";
  free(t.at);
  free(first);
  free(last);
  free(kept);
  return st;
}

iso_status iso_fleet_plan_run(const iso_serve_trace *t, const iso_fleet_type *types, int n, const iso_fleet_opts *o, iso_fleet_plan *p,
                              iso_err *err) {
  iso_serve_trace drawn = {0};
  const iso_serve_trace *use = t;
  memset(p, 0, sizeof *p);
  ISO_TRY(check(t, n, o, err));
  ISO_TRY(iso_serve_trace_stats(t, &p->stats, err));
  ISO_TRY(iso_serve_buckets(t, p->bucket, &p->buckets, err));
  p->req_per_s = isnan(o->rate) ? p->stats.rate : o->rate;
  if (!(p->req_per_s < INFINITY)) return iso_fail(err, ISO_EINVAL, "fleet: all requests arrive at once, which is no rate; give one (--rate)");
  ISO_TRY(rates(types, n, o, p, err));
  if (o->simulate && !isnan(o->rate)) {
    ISO_TRY(iso_serve_trace_draw(t, t->n, o->rate, o->seed, &drawn, err));
    use = &drawn;
  }
  iso_status st = with_headroom(use, types, n, o, p, err);
  if (st == ISO_OK && o->simulate) st = one_type(use, types, n, o, p, err);
  if (st == ISO_OK && o->simulate && !p->met) st = why_missed(use, types, n, o, p, err);
  iso_serve_trace_close(&drawn);
  return st;
}

// ---- JSON ----

static json_t *shares_json(const iso_fleet_plan *p, const iso_fleet_type *types, int n, int i) {
  json_t *a = json_object();
  for (int j = 0; j < n; j++)
    if (p->answer.share[i][j] > 1e-9) json_object_set_new(a, types[j].name, json_real(p->answer.share[i][j]));
  return a;
}

static json_t *buckets_json(const iso_fleet_plan *p, const iso_fleet_type *types, int n) {
  json_t *a = json_array();
  for (int i = 0; i < p->buckets; i++) {
    json_t *rates_of = json_object();
    for (int j = 0; j < n; j++) {
      const iso_fleet_rate *r = &p->rate[i][j];
      json_object_set_new(rates_of, types[j].name,
                          json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "req_per_s", iso_json_num(r->req_per_s), "in_flight",
                                    iso_json_num(r->seqs), "ttft_s", iso_json_num(r->ttft_s), "tpot_s", iso_json_num(r->itl_s), "usd_per_mtok",
                                    iso_json_num(r->req_per_s > 0 ? r->usd_per_mtok : NAN), "bound", r->bound, "source", "model"));
    }
    json_array_append_new(
        a, json_pack("{s:o, s:o, s:o, s:b, s:o, s:o, s:o}", "prompt_tok", iso_json_num(p->bucket[i].prompt), "output_tok",
                     iso_json_num(p->bucket[i].output), "share", iso_json_num(p->bucket[i].share), "over_limits", p->over[i], "served_by",
                     shares_json(p, types, n, i), "usd_h_shadow", iso_json_num(p->answer.price[i]), "replicas", rates_of));
  }
  return a;
}

static json_t *missed_json(const iso_fleet_plan *p) {
  return json_pack("{s:s, s:o, s:{s:o, s:o, s:o}}", "limit", p->missed, "attained", iso_json_num(p->sim.attained), "attained_alone", "slo",
                   iso_json_num(p->alone), "ttft", iso_json_num(p->alone_ttft), "itl", iso_json_num(p->alone_itl));
}

json_t *iso_fleet_plan_json(const iso_fleet_plan *p, const iso_fleet_type *types, int n) {
  json_t *fleet = json_object(), *single = json_object(), *used = json_object();
  for (int j = 0; j < n; j++) {
    json_object_set_new(fleet, types[j].name, json_integer((json_int_t)p->answer.count[j]));
    json_object_set_new(single, types[j].name, iso_json_num(p->answer.single[j]));
    json_object_set_new(used, types[j].name, iso_json_num(p->answer.used[j]));
  }
  json_t *o =
      json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "fleet", fleet, "load_in_replicas", used, "usd_h",
                iso_json_num(p->answer.cost), "usd_h_bound", iso_json_num(p->answer.bound), "usd_h_relaxed", iso_json_num(p->answer.relaxed), "gap",
                iso_json_num(p->answer.gap), "optimal", p->answer.optimal, "nodes", (json_int_t)p->answer.nodes, "usd_h_one_type", single,
                "usd_h_per_req_per_s", iso_json_num(p->shadow_usd_h), "headroom", iso_json_num(p->headroom), "req_per_s", iso_json_num(p->req_per_s),
                "trace", iso_trace_stats_json(&p->stats), "buckets", buckets_json(p, types, n), "slo_met",
                p->simulated ? json_boolean(p->met) : json_null(), "simulation", p->simulated ? iso_sim_result_json(&p->sim) : json_null());
  if (p->missed) json_object_set_new(o, "infeasible", missed_json(p));
  return o;
}
