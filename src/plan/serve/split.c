// Sizing pools of prompt and token replicas by simulation.
#include "plan/serve/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_MOST = 512 };

static int pool_most(const iso_split_opts *o) { return o->most > 0 ? o->most : POOL_MOST; }

static iso_status check(const iso_serve_trace *t, int n, const iso_split_opts *o, iso_err *err) {
  if (t->n < 1) return iso_fail(err, ISO_EINVAL, "split: the trace is empty");
  if (n < 1 || n > ISO_SPLIT_TYPES_MAX) return iso_fail(err, ISO_EINVAL, "split: %d types, expected 1 to %d", n, ISO_SPLIT_TYPES_MAX);
  if (!(o->slo_ttft_s > 0 && o->slo_itl_s > 0 && o->attain > 0 && o->attain <= 1))
    return iso_fail(err, ISO_EINVAL, "split: limits %g s and %g s for %g of requests, expected positive numbers and a share up to 1", o->slo_ttft_s,
                    o->slo_itl_s, o->attain);
  return o->most <= 65536 ? ISO_OK : iso_fail(err, ISO_EINVAL, "split: %d replicas are too many", o->most);
}

// Simulates a choice; tokens 0 is a mixed pool.
static iso_status simulate(const iso_serve_trace *t, const iso_split_type *types, const iso_split_opts *o, iso_split_choice *c, iso_err *err) {
  int total = c->prompts + c->tokens;
  iso_sim_node *node = calloc((size_t)total, sizeof *node);
  if (!node) return iso_fail(err, ISO_ENOMEM, "split: no memory for %d replicas", total);
  for (int i = 0; i < total; i++) {
    bool token = i >= c->prompts;
    node[i] = types[token ? c->token : c->prompt].node;
    node[i].role = c->tokens == 0 ? ISO_SIM_BOTH : token ? ISO_SIM_DECODE : ISO_SIM_PREFILL;
    node[i].group = token;
  }
  iso_sim_opts so = iso_sim_opts_default(node, total);
  so.slo_ttft_s = o->slo_ttft_s;
  so.slo_itl_s = o->slo_itl_s;
  so.transfer_s = o->transfer_s;
  so.transfer_s_per_tok = o->transfer_s_per_tok;
  iso_status st = iso_sim_run(t, &so, &c->sim, err);
  free(node);
  c->usd_h = c->prompts * types[c->prompt].usd_h + (c->tokens ? c->tokens * types[c->token].usd_h : 0);
  c->watts = c->prompts * types[c->prompt].watts + (c->tokens ? c->tokens * types[c->token].watts : 0);
  return st;
}

typedef enum goal { GOAL_TTFT, GOAL_BOTH } goal;

// The least size in [1, most] of one pool (*size points into c) that reaches the goal; most + 1 when none does.
static iso_status least(const iso_serve_trace *t, const iso_split_type *types, const iso_split_opts *o, iso_split_choice *c, int *size, goal g,
                        int most, iso_err *err) {
  int lo = 0, hi = 1;  // lo fails, hi is tried
  bool found = false;
  while (!found) {
    *size = hi;
    ISO_TRY(simulate(t, types, o, c, err));
    found = (g == GOAL_TTFT ? c->sim.ttft_attained : c->sim.attained) >= o->attain;
    if (found) break;
    lo = hi;
    if (hi >= most) {
      *size = most + 1;
      return ISO_OK;
    }
    hi = 2 * hi < most ? 2 * hi : most;
  }
  while (hi - lo > 1) {
    *size = lo + (hi - lo) / 2;
    ISO_TRY(simulate(t, types, o, c, err));
    *((g == GOAL_TTFT ? c->sim.ttft_attained : c->sim.attained) >= o->attain ? &hi : &lo) = *size;
  }
  *size = hi;
  return simulate(t, types, o, c, err);
}

static double price(const iso_split_choice *c, const iso_split_opts *o) { return o->by_watts ? c->watts : c->usd_h; }

static iso_status nothing(const iso_split_opts *o, iso_err *err) {
  iso_fail(err, ISO_EBUDGET, "split: no pools of up to %d replicas attain %g s and %g s for %.3g of the requests", pool_most(o), o->slo_ttft_s,
           o->slo_itl_s, o->attain);
  return iso_hint(err, ISO_EBUDGET, "widen the limits, allow more replicas or offer faster devices");
}

iso_status iso_split_search(const iso_serve_trace *t, const iso_split_type *types, int n, const iso_split_opts *o, iso_split_choice *out,
                            iso_err *err) {
  bool any = false;
  ISO_TRY(check(t, n, o, err));
  for (int a = 0; a < n; a++) {
    iso_split_choice c = {.prompt = a, .token = a, .tokens = 1};
    ISO_TRY(least(t, types, o, &c, &c.prompts, GOAL_TTFT, pool_most(o), err));
    int few = c.prompts;
    if (few > pool_most(o)) continue;
    for (int b = 0; b < n; b++) {
      for (int extra = 0; extra < 3 && few + extra <= pool_most(o); extra++) {
        c = (iso_split_choice){.prompt = a, .token = b, .prompts = few + extra};
        ISO_TRY(least(t, types, o, &c, &c.tokens, GOAL_BOTH, pool_most(o), err));
        if (c.tokens > pool_most(o) || (any && price(&c, o) >= price(out, o))) continue;
        *out = c;
        any = true;
      }
    }
  }
  return any ? ISO_OK : nothing(o, err);
}

iso_status iso_split_mixed(const iso_serve_trace *t, const iso_split_type *types, int n, const iso_split_opts *o, iso_split_choice *out,
                           iso_err *err) {
  bool any = false;
  ISO_TRY(check(t, n, o, err));
  for (int a = 0; a < n; a++) {
    iso_split_choice c = {.prompt = a, .token = -1};
    ISO_TRY(least(t, types, o, &c, &c.prompts, GOAL_BOTH, pool_most(o), err));
    if (c.prompts > pool_most(o) || (any && price(&c, o) >= price(out, o))) continue;
    *out = c;
    any = true;
  }
  return any ? ISO_OK : nothing(o, err);
}

iso_status iso_sim_max_rate(const iso_serve_trace *t, const iso_sim_opts *o, double attain, double *rate, iso_err *err) {
  iso_trace_stats s;
  ISO_TRY(iso_serve_trace_stats(t, &s, err));
  if (!(s.rate < INFINITY)) return iso_fail(err, ISO_EINVAL, "rate: all requests arrive at once");
  iso_serve_trace fast = {malloc((size_t)t->n * sizeof *fast.at), t->n};
  if (!fast.at) return iso_fail(err, ISO_ENOMEM, "rate: no memory for %lld requests", (long long)t->n);
  double lo = 0, hi = 0.01;
  iso_sim_result r;
  iso_status st = ISO_OK;
  // Doubles until it fails, then halves the (logarithmic) interval.
  while (st == ISO_OK && (hi < INFINITY ? hi / fmax(lo, 1e-300) > 1.02 : true)) {
    double f = lo == 0 || hi == INFINITY ? fmax(0.01, 2 * lo) : sqrt(lo * hi);
    for (int64_t i = 0; i < t->n; i++) {
      fast.at[i] = t->at[i];
      fast.at[i].arrival_s /= f;
    }
    st = iso_sim_run(&fast, o, &r, err);
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
