// Sizing pools of prompt and token replicas by simulation.
#include "plan/serve/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_MOST = 512, EXTRA = 3 };  // prompt pools tried: the least and up to two replicas more

static int pool_most(const iso_split_opts *o) { return o->most > 0 ? o->most : POOL_MOST; }

static iso_status check(const iso_serve_trace *t, int n, const iso_split_opts *o, iso_err *err) {
  if (t->n < 1) return iso_fail(err, ISO_EINVAL, "split: the trace is empty");
  if (n < 1 || n > ISO_SPLIT_TYPES_MAX) return iso_fail(err, ISO_EINVAL, "split: %d types, expected 1 to %d", n, ISO_SPLIT_TYPES_MAX);
  if (!(o->slo_ttft_s > 0 && o->slo_itl_s > 0 && o->attain > 0 && o->attain <= 1))
    return iso_fail(err, ISO_EINVAL, "split: limits %g s and %g s for %g of requests, expected positive numbers and a share up to 1", o->slo_ttft_s,
                    o->slo_itl_s, o->attain);
  if (o->from < 0 || !(o->below >= 0)) return iso_fail(err, ISO_EINVAL, "split: at least %d replicas for less than %g", o->from, o->below);
  return o->most <= 65536 ? ISO_OK : iso_fail(err, ISO_EINVAL, "split: %d replicas are too many", o->most);
}

// Pools over one trace. Time to first token depends on the prompt pool alone, so a prompt pool is simulated once and its first tokens serve all
// token pools; a pool that could not beat the best choice so far is not simulated at all, one that fails only until it has failed.
typedef struct search {
  const iso_serve_trace *t;
  const iso_split_type *types;
  const iso_split_opts *o;
  iso_sim_node *node;            // owned: pool_most of each phase
  double *first[EXTRA];          // owned: first tokens from pools of the least size and more
  bool attained[EXTRA];          // their limit
  const iso_split_choice *best;  // NULL: none yet
} search;

static iso_status open_search(search *s, const iso_serve_trace *t, const iso_split_type *types, const iso_split_opts *o, iso_err *err) {
  *s = (search){.t = t, .types = types, .o = o, .node = calloc(2 * (size_t)pool_most(o), sizeof *s->node)};
  bool none = !s->node;
  for (int i = 0; i < EXTRA; i++) none |= !(s->first[i] = malloc((size_t)t->n * sizeof *s->first[i]));
  return none ? iso_fail(err, ISO_ENOMEM, "split: no memory for %lld requests", (long long)t->n) : ISO_OK;
}

static void close_search(search *s) {
  free(s->node);
  for (int i = 0; i < EXTRA; i++) free(s->first[i]);
}

static void put(iso_sim_node *node, int n, const iso_split_type *type, iso_sim_role role, int group) {
  for (int i = 0; i < n; i++) {
    node[i] = type->node;
    node[i].role = role;
    node[i].group = group;
  }
}

static iso_sim_opts opts_of(const search *s, int nodes) {
  iso_sim_opts so = iso_sim_opts_default(s->node, nodes);
  so.slo_ttft_s = s->o->slo_ttft_s;
  so.slo_itl_s = s->o->slo_itl_s;
  so.transfer_s = s->o->transfer_s;
  so.transfer_s_per_tok = s->o->transfer_s_per_tok;
  so.need = s->o->attain;
  return so;
}

// Whether n replicas attain the share: of a prompt pool its first tokens (kept in first[extra]), of a token pool behind first[extra], of a mixed
// pool everything.
static iso_status attains(search *s, const iso_split_type *type, iso_sim_role role, int n, int extra, bool *yes, iso_err *err) {
  iso_sim_opts so = opts_of(s, n);
  iso_sim_result r;
  put(s->node, n, type, role, 0);
  if (role == ISO_SIM_PREFILL) {
    so.first_only = true;
    so.first_s = s->first[extra];
  } else if (role == ISO_SIM_DECODE) {
    so.first_at_s = s->first[extra];
  }
  ISO_TRY(iso_sim_run(s->t, &so, &r, err));
  *yes = r.attained >= s->o->attain;
  return ISO_OK;
}

// The least size in [1, most] that attains the share, most + 1 when none does. Larger pools are taken to attain no less; where a bound on the price
// has cut `most`, it is tried first, since then it mostly fails.
static iso_status least(search *s, const iso_split_type *type, iso_sim_role role, int extra, int most, int *size, iso_err *err) {
  int first = role == ISO_SIM_BOTH && s->o->from > 1 ? s->o->from : 1;
  int lo = first - 1, hi = first;  // lo fails or is not asked for, hi is tried
  bool cut = most < pool_most(s->o), yes = false;
  *size = most + 1;
  if (most < first) return ISO_OK;
  if (cut) {
    ISO_TRY(attains(s, type, role, most, extra, &yes, err));
    if (!yes) return ISO_OK;
  }
  for (yes = false; !yes;) {
    yes = cut && hi == most;
    if (!yes) ISO_TRY(attains(s, type, role, hi, extra, &yes, err));
    if (yes) break;
    lo = hi;
    if (hi >= most) return ISO_OK;
    hi = 2 * hi < most ? 2 * hi : most;
  }
  while (hi - lo > 1) {
    int mid = lo + (hi - lo) / 2;
    ISO_TRY(attains(s, type, role, mid, extra, &yes, err));
    *(yes ? &hi : &lo) = mid;
  }
  *size = hi;
  return ISO_OK;
}

static void put_price(const search *s, iso_split_choice *c) {
  c->usd_h = c->prompts * s->types[c->prompt].usd_h + (c->tokens ? c->tokens * s->types[c->token].usd_h : 0);
  c->watts = c->prompts * s->types[c->prompt].watts + (c->tokens ? c->tokens * s->types[c->token].watts : 0);
}

static double price(const search *s, iso_split_choice c) {
  put_price(s, &c);
  return s->o->by_watts ? c.watts : c.usd_h;
}

// The largest pool with which c is cheaper than the best so far; *size points into c.
static int affordable(const search *s, iso_split_choice *c, int *size) {
  if (!s->best && !(s->o->below > 0)) return pool_most(s->o);
  double target = s->best ? price(s, *s->best) : s->o->below;
  *size = 0;
  int lo = 0, hi = pool_most(s->o) + 1;
  while (hi - lo > 1) {
    *size = lo + (hi - lo) / 2;
    *(price(s, *c) < target ? &lo : &hi) = *size;
  }
  return lo;
}

// Everything about a choice: its whole simulation.
static iso_status describe(search *s, iso_split_choice *c, iso_err *err) {
  bool mixed = c->tokens == 0;
  iso_sim_opts so = opts_of(s, c->prompts + c->tokens);
  so.need = 0;
  put(s->node, c->prompts, &s->types[c->prompt], mixed ? ISO_SIM_BOTH : ISO_SIM_PREFILL, 0);
  if (!mixed) put(s->node + c->prompts, c->tokens, &s->types[c->token], ISO_SIM_DECODE, 1);
  put_price(s, c);
  return iso_sim_run(s->t, &so, &c->sim, err);
}

static iso_status nothing(const iso_split_opts *o, iso_err *err) {
  iso_fail(err, ISO_EBUDGET, "split: no pools of up to %d replicas attain %g s and %g s for %.3g of the requests", pool_most(o), o->slo_ttft_s,
           o->slo_itl_s, o->attain);
  return iso_hint(err, ISO_EBUDGET, "widen the limits, allow more replicas or offer faster devices");
}

// Token pools behind `few` and more replicas of type a for prompts.
static iso_status pair(search *s, int a, int few, int b, bool *fresh, iso_split_choice *out, iso_err *err) {
  for (int extra = 0; extra < EXTRA && few + extra <= pool_most(s->o); extra++) {
    iso_split_choice c = {.prompt = a, .token = b, .prompts = few + extra};
    int most = affordable(s, &c, &c.tokens);
    if (most < 1) return ISO_OK;
    if (fresh[extra]) ISO_TRY(attains(s, &s->types[a], ISO_SIM_PREFILL, few + extra, extra, &s->attained[extra], err));
    fresh[extra] = false;
    if (!s->attained[extra]) continue;
    ISO_TRY(least(s, &s->types[b], ISO_SIM_DECODE, extra, most, &c.tokens, err));
    if (c.tokens > most) continue;
    *out = c;
    s->best = out;
  }
  return ISO_OK;
}

static iso_status pairs(search *s, int n, iso_split_choice *out, iso_err *err) {
  for (int a = 0; a < n; a++) {
    bool fresh[EXTRA];
    int few, most = 0;
    for (int b = 0; b < n; b++) {
      iso_split_choice c = {.prompt = a, .token = b, .tokens = 1};
      int can = affordable(s, &c, &c.prompts);
      if (can > most) most = can;
    }
    ISO_TRY(least(s, &s->types[a], ISO_SIM_PREFILL, 0, most, &few, err));
    if (few > most) continue;
    for (int i = 0; i < EXTRA; i++) fresh[i] = true;
    for (int b = 0; b < n; b++) ISO_TRY(pair(s, a, few, b, fresh, out, err));
  }
  return ISO_OK;
}

iso_status iso_split_search(const iso_serve_trace *t, const iso_split_type *types, int n, const iso_split_opts *o, iso_split_choice *out,
                            iso_err *err) {
  search s;
  ISO_TRY(check(t, n, o, err));
  iso_status st = open_search(&s, t, types, o, err);
  if (st == ISO_OK) st = pairs(&s, n, out, err);
  if (st == ISO_OK) st = s.best ? describe(&s, out, err) : nothing(o, err);
  close_search(&s);
  return st;
}

iso_status iso_split_mixed(const iso_serve_trace *t, const iso_split_type *types, int n, const iso_split_opts *o, iso_split_choice *out,
                           iso_err *err) {
  search s;
  ISO_TRY(check(t, n, o, err));
  iso_status st = open_search(&s, t, types, o, err);
  for (int a = 0; st == ISO_OK && a < n; a++) {
    iso_split_choice c = {.prompt = a, .token = -1};
    int most = affordable(&s, &c, &c.prompts);
    st = least(&s, &types[a], ISO_SIM_BOTH, 0, most, &c.prompts, err);
    if (st != ISO_OK || c.prompts > most) continue;
    *out = c;
    s.best = out;
  }
  if (st == ISO_OK) st = s.best ? describe(&s, out, err) : nothing(o, err);
  close_search(&s);
  return st;
}

iso_status iso_sim_max_rate(const iso_serve_trace *t, const iso_sim_opts *o, double attain, double *rate, iso_err *err) {
  iso_trace_stats s;
  ISO_TRY(iso_serve_trace_stats(t, &s, err));
  if (!(s.rate < INFINITY)) return iso_fail(err, ISO_EINVAL, "rate: all requests arrive at once");
  iso_serve_trace fast = {malloc((size_t)t->n * sizeof *fast.at), t->n};
  if (!fast.at) return iso_fail(err, ISO_ENOMEM, "rate: no memory for %lld requests", (long long)t->n);
  double lo = 0, hi = 0.01;
  iso_sim_opts ask = *o;
  iso_sim_result r;
  iso_status st = ISO_OK;
  ask.need = attain;
  // Doubles until it fails, then halves the (logarithmic) interval.
  while (st == ISO_OK && (hi < INFINITY ? hi / fmax(lo, 1e-300) > 1.02 : true)) {
    double f = lo == 0 || hi == INFINITY ? fmax(0.01, 2 * lo) : sqrt(lo * hi);
    for (int64_t i = 0; i < t->n; i++) {
      fast.at[i] = t->at[i];
      fast.at[i].arrival_s /= f;
    }
    st = iso_sim_run(&fast, &ask, &r, err);
    if (st != ISO_OK) break;
    if (r.attained >= attain) {
      if (lo == 0) hi = INFINITY;
      lo = f;
      if (lo > 1e6) break;
    } else {
      if (lo == 0) break;
      hi = f;
    }
  }
  free(fast.at);
  *rate = lo * s.rate;
  return st;
}

json_t *iso_split_choice_json(const iso_split_choice *c, const iso_split_type *types) {
  json_t *pools = json_object();
  json_object_set_new(pools, c->tokens ? "prompt" : "mixed", json_pack("{s:s, s:i}", "type", types[c->prompt].name, "replicas", c->prompts));
  if (c->tokens) json_object_set_new(pools, "token", json_pack("{s:s, s:i}", "type", types[c->token].name, "replicas", c->tokens));
  return json_pack("{s:o, s:o, s:o, s:o}", "pools", pools, "usd_h", iso_json_num(c->usd_h), "watts", iso_json_num(c->watts), "simulation",
                   iso_sim_result_json(&c->sim));
}
