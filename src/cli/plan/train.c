// isoflop plan train: what a budget buys on a cluster: parameters, tokens, loss, layout, time, dollars, energy, carbon, and what binds.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan/args.h"
#include "cli/plan/law.h"
#include "plan/law_ask.h"
#include "plan/ledger.h"
#include "plan/lifetime.h"
#include "plan/train_plan.h"

static const char *const EXAMPLES[] = {
    "isoflop plan train --budget 1e24flop --cluster 1024xh100",
    "isoflop plan train --budget usd=2e6,wall=30d --cluster 512xa100-80 --region FR --serve 2e13tok",
    "isoflop plan train --budget 1e22flop --cluster 64xh100 --law chinchilla --set hoffmann2022 --unique-tokens 100Btok --json", NULL};
static const cli_opt OPTS[] = {
    {"budget", CLI_TEXT, "BUDGET", NULL, "of the run: FLOPs, seconds, dollars, joules, grams of CO2e, tokens, as in 1e24flop or usd=2e6,wall=30d"},
    CLI_CLUSTER_OPTS,
    CLI_TRAIN_LAW_OPTS,
    {"vocab", CLI_INT, "N", "32000", "entries of the vocabulary"},
    {"seq", CLI_INT, "N", "4096", "tokens a sequence"},
    {"batch", CLI_TEXT, "SIZE", NULL, "sequences of a step, or tokens as in 4Mtok (default: a batch law's at the planned tokens)"},
    {"unique-tokens", CLI_TEXT, "TOKENS", NULL, "tokens that there are; more are repetitions"},
    {"capex", CLI_REAL, "USD", NULL, "purchase price of a device with its share of server and network: also the bill of owning"},
    {"amortise", CLI_TEXT, "HOW", "life", "its price: over a life of six years at 85% use, or by progress, as prices of the same performance fall"},
    {"age", CLI_REAL, "YEARS", "0", "years from buying the devices to the run, with --amortise progress"},
    {"network-share", CLI_REAL, "SHARE", NULL, "of the cluster's hardware that is network and not in --capex (default: 0; 0.19 by progress)"},
    {"server-ratio", CLI_REAL, "RATIO", NULL, "--capex over the price of the device alone, to split the bill; 1.64 on average, 1.66 A100, 1.69 V100"},
    {"staff", CLI_REAL, "USD", "0", "staff of the run"},
    {"embodied", CLI_REAL, "KG", "462.5", "CO2e of making a device with its share of the server, spread over six years at 85% use"},
    {"idle-share", CLI_REAL, "SHARE", "0", "device-hours that are held idle, as a share of those in use"},
    {"serve", CLI_TEXT, "TOKENS", NULL, "tokens served over the model's life: also the size that is cheapest with them"},
    {"compress", CLI_TEXT, "WAY,...", NULL, "NAME:LOSS:PRICE[:TOKENS], as in int8:0.002:0.5: loss added, price of a served FLOP, tokens tuned on"},
    {"serve-device", CLI_TEXT, "[Nx]DEVICE", NULL, "that serves (default: the cluster's)"},
    {"serve-prompt", CLI_TEXT, "TOKENS", "1k", "tokens of a served prompt, for its price"},
    {"serve-output", CLI_TEXT, "TOKENS", "300", "tokens of an answer"},
    CLI_PLAN_OPTS,
};

enum { WAYS_MAX = 8 };
typedef struct request {
  iso_train_req q;
  cli_cluster cluster;
  const char *batch_rule;
  char batch_text[200];
  double serve_tok, serve_prompt, serve_output;
  iso_lifetime_way way[WAYS_MAX];  // the first is plain
  int ways;
} request;

// ---- the request ----------------------------------------------------------------------------------------------------

// --compress int8:0.002:0.5,int4:0.03:0.3:1Btok
static iso_status read_ways(const cli_args *a, request *r, iso_err *err) {
  const char *text = cli_text(a, "compress");
  r->way[0] = iso_lifetime_way_plain();
  r->ways = 1;
  if (text && !cli_text(a, "serve")) return iso_fail(err, ISO_EINVAL, "--compress goes with --serve TOKENS");
  for (const char *s = text; s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL) {
    iso_lifetime_way w = iso_lifetime_way_plain();
    char tokens[40] = "";
    int n = 0, got = sscanf(s, "%31[^:,]:%lf:%lf%n:%39[^,]", w.name, &w.loss_added, &w.serve_scale, &n, tokens);
    bool ends = got == 4 || (got == 3 && (s[n] == 0 || s[n] == ','));
    if (got < 3 || !ends || !(w.loss_added >= 0) || !(w.serve_scale > 0))
      return iso_fail(err, ISO_EINVAL, "--compress %.60s: expected NAME:LOSS:PRICE[:TOKENS],... as in int8:0.002:0.5", s);
    if (got == 4) {
      iso_status st = iso_unit_parse(tokens, ISO_UNIT_TOK, &w.tune_tok, err);
      if (st != ISO_OK) return iso_err_prefix(err, st, "--compress %s", w.name);
    }
    if (r->ways == WAYS_MAX) return iso_fail(err, ISO_EINVAL, "--compress: more than %d ways", WAYS_MAX - 1);
    r->way[r->ways++] = w;
  }
  return ISO_OK;
}

static iso_status read_request(const cli_args *a, const iso_prices *prices, request *r, iso_err *err) {
  iso_train_req *q = &r->q;
  *r = (request){0};
  *q = (iso_train_req){.vocab = cli_int(a, "vocab"), .seq = cli_int(a, "seq"), .g_per_kwh = prices->g_per_kwh};
  if (q->vocab < 2 || q->seq < 1) return iso_fail(err, ISO_EINVAL, "--vocab and --seq must be positive");
  ISO_TRY(cli_train_budget(a, &q->budget, err));
  if (!iso_budget_is_bounded(&q->budget)) {
    iso_fail(err, ISO_EINVAL, "--budget is missing");
    return iso_hint(err, ISO_EINVAL, "as in --budget 1e24flop, --budget usd=2e6 or --budget wall=30d,energy=5e12J");
  }
  ISO_TRY(cli_train_law(a, &q->law, &q->set, q->x, err));
  ISO_TRY(cli_batch(a, q->seq, &q->batch, err));
  ISO_TRY(cli_quantity(a, "unique-tokens", ISO_UNIT_TOK, &q->unique_tok, err));
  ISO_TRY(cli_quantity(a, "serve", ISO_UNIT_TOK, &r->serve_tok, err));
  ISO_TRY(cli_quantity(a, "serve-prompt", ISO_UNIT_TOK, &r->serve_prompt, err));
  ISO_TRY(cli_quantity(a, "serve-output", ISO_UNIT_TOK, &r->serve_output, err));
  ISO_TRY(read_ways(a, r, err));
  if (isnan(q->unique_tok)) q->unique_tok = INFINITY;
  // A law of repeated data chooses with it; others are asked at the fresh tokens' worth afterwards.
  int unique = iso_law_input_find(q->law, "unique_tokens");
  if (unique >= 0 && q->unique_tok < INFINITY) q->x[unique] = q->unique_tok;
  ISO_TRY(cli_cluster_open(a, prices, &r->cluster, err));
  q->machine = &r->cluster.machine;
  q->cal = &r->cluster.cal;
  q->device = r->cluster.device;
  q->devices = r->cluster.devices;
  return ISO_OK;
}

// The plan. Without --batch the batch follows from the tokens and the tokens from the batch: twice round is enough, batches are powers of two.
static iso_status solve(request *r, iso_train_plan *p, iso_err *err) {
  r->batch_rule = "--batch";
  if (r->q.batch) return iso_train_plan_run(&r->q, p, err);
  r->batch_rule = "4 Mtok: no law of the batch is confirmed";
  r->q.batch = (int64_t)exp2(round(log2(fmax(1, 4e6 / (double)r->q.seq))));
  // A first batch that a small budget can pay for.
  iso_law_point guess;
  double flop = r->q.budget.train_flop;
  if (flop < INFINITY && iso_law_optimum_numeric(r->q.law, r->q.set->p, r->q.x, flop, 1e3, 1e15, NULL, NULL, &guess, NULL, NULL) == ISO_OK)
    r->q.batch = cli_batch_by_law(guess.params, guess.tokens, r->q.seq, r->q.batch, &r->batch_rule, r->batch_text, sizeof r->batch_text);
  for (int i = 0; i < 2; i++) {
    ISO_TRY(iso_train_plan_run(&r->q, p, err));
    int64_t b = cli_batch_by_law(p->params, p->tokens.mean, r->q.seq, r->q.batch, &r->batch_rule, r->batch_text, sizeof r->batch_text);
    if (b == r->q.batch) return ISO_OK;
    r->q.batch = b;
  }
  return iso_train_plan_run(&r->q, p, err);
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

static json_t *est(iso_est e) { return iso_json_range(e.mean, e.lo, e.hi, "its price on this device is not known"); }

#define NO_SPREAD "no uncertainty of the law's constants is published, and no other confirmed set was fitted to the same runs"

// One set of constants at tokens that are certain says nothing of its error: no interval, rather than one of no width.
static json_t *loss_json(const iso_train_plan *p) {
  bool known = p->loss.hi > p->loss.lo;
  return iso_json_range(p->loss.mean, known ? p->loss.lo : NAN, known ? p->loss.hi : NAN, NO_SPREAD);
}

static const char *loss_interval(const iso_train_req *q, const iso_train_plan *p) {
  if (q->unique_tok < INFINITY && p->loss_effective > p->loss.mean)
    return "spread of the law's confirmed sets that were fitted to the same runs, of the published uncertainty of its constants where there is any "
           "(90%), of the tokens that are reached, and up to the loss with repetition";
  if (p->loss_is_between)
    return "between laws: no uncertainty of the law's constants is published, and no other confirmed set was fitted to the same runs, so this is how "
           "far published laws of dense models, each of other text, tokenizer and recipe, lie from a run (90%), and of the tokens that are reached";
  if (p->sets > 1)
    return "spread of the law's confirmed sets that were fitted to the same runs, of the published uncertainty of its constants where there is any "
           "(90%), and of the tokens that are reached";
  if (p->loss.hi > p->loss.lo)
    return "of the tokens that are reached, and of the published uncertainty of the law's constants where there is any (90%); no other confirmed "
           "set was fitted to the same runs";
  return "none: " NO_SPREAD;
}

// The continuous optimum at the constants of p: its size, tokens and loss.
enum { BEST_PARAMS, BEST_TOKENS, BEST_LOSS, BESTS };
typedef struct best_ask {
  const iso_train_req *q;
  double flop;
} best_ask;
static void ask_best(void *self, const double *p, double *out) {
  const best_ask *a = self;
  iso_law_point at;
  for (int i = 0; i < BESTS; i++) out[i] = NAN;
  if (iso_law_optimum_at(a->q->law, p, a->q->x, a->flop, &at, NULL) != ISO_OK) return;
  out[BEST_PARAMS] = at.params;
  out[BEST_TOKENS] = at.tokens;
  out[BEST_LOSS] = at.loss;
}

// From the published uncertainty of the constants and from other sets of the same runs, whichever reaches further.
static json_t *optimum_json(const iso_train_req *q, const iso_train_plan *p) {
  best_ask ask = {q, p->ideal.flop};
  iso_fit_interval v[BESTS];
  const double value[BESTS] = {p->ideal.params, p->ideal.tokens, p->ideal.loss};
  double lo[BESTS] = {p->params_lo, p->tokens_lo, NAN}, hi[BESTS] = {p->params_hi, p->tokens_hi, NAN};
  static const char *const KEY[BESTS] = {"params", "tokens", "loss"};
  json_t *o = json_object();
  if (iso_law_spread_ask(q->law, q->set, BESTS, ask_best, &ask, 0.9, v, NULL) != ISO_OK)
    for (int i = 0; i < BESTS; i++) v[i] = (iso_fit_interval){NAN, NAN, NAN};
  for (int i = 0; i < BESTS; i++) {
    bool sets = p->sets > 1 && hi[i] > lo[i], spread = v[i].hi > v[i].lo;
    // The spread is round the law's own optimum; here it widens what the cluster's costs have moved.
    double up = spread ? value[i] * v[i].hi / v[i].mid : NAN, down = spread ? value[i] * v[i].lo / v[i].mid : NAN;
    json_object_set_new(
        o, KEY[i], iso_json_range(value[i], fmin(sets ? fmin(lo[i], value[i]) : NAN, down), fmax(sets ? fmax(hi[i], value[i]) : NAN, up), NO_SPREAD));
  }
  json_object_set_new(o, "train_flop", iso_json_num(p->ideal.flop));
  if (p->closed.params > 0)
    json_object_set_new(o, "closed_form",
                        json_pack("{s:o, s:o, s:o, s:s}", "params", iso_json_num(p->closed.params), "tokens", iso_json_num(p->closed.tokens),
                                  q->law->target, iso_json_num(p->closed.loss), "interval", "none: the law's own answer, beside the one above"));
  return o;
}

static json_t *shadow_json(const iso_train_req *q, const iso_train_plan *p) {
  json_t *o = json_object();
  double sum = 0;
  for (int i = 0; i < ISO_TRAIN_LIMITS; i++) {
    if (iso_budget_get(&q->budget, iso_train_limit(i)) == INFINITY) continue;
    sum += p->shadow[i];
    json_object_set_new(
        o, iso_res_get(iso_train_limit(i))->name,
        json_pack("{s:o, s:o}", "loss_per_log", iso_json_num(p->shadow[i]), "loss_per_percent", iso_json_num(p->shadow[i] * log(1.01))));
  }
  return json_pack("{s:s, s:o, s:o, s:o}", "interval", "none: slopes at the plan; the loss itself is less certain than they are", "by_limit", o,
                   "closed_form_per_log", iso_json_num(p->shadow_closed), "numeric_over_closed_form", iso_json_num(sum / p->shadow_closed));
}

// Other sizes; a smaller one pays from so many served tokens on, counted in FLOPs (6 N D once, 2 N a token).
static json_t *others_json(const iso_train_plan *p) {
  static const char *const TIMES[] = {"wall", "usd", "energy", NULL}, *const LAW[] = {"tokens", "train_flop", "pays_from_served_tokens", NULL};
  json_t *all = json_array();
  double flop = p->use[0].mean, per_tok = ISO_SERVE_FLOP_PER_PARAM_TOK * p->params;
  for (int i = 0; i < p->others; i++) {
    const iso_train_other *o = &p->other[i];
    double pays = o->params < p->params ? iso_ledger_crossover(flop, per_tok, o->flop, ISO_SERVE_FLOP_PER_PARAM_TOK * o->params) : NAN;
    json_array_append_new(
        all, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "params", iso_json_num(o->params), "tokens", iso_json_num(o->tokens), "train_flop",
                       iso_json_num(o->flop), "wall", iso_json_num(o->wall_s), "usd", iso_json_num(o->usd), "energy", iso_json_num(o->joule),
                       "serve_flop_per_tok", iso_json_num(ISO_SERVE_FLOP_PER_PARAM_TOK * o->params), "pays_from_served_tokens", iso_json_num(pays)));
  }
  iso_json_scale(all, TIMES, p->step.lo_s / p->step.step_s, p->step.hi_s / p->step.step_s, "memory does not hold it, or its price is not known");
  iso_json_scale(all, LAW, NAN, NAN, "on the law's curve of equal loss, at the constants taken");
  return all;
}

static json_t *life_json(const iso_lifetime_job *j, const iso_lifetime_point *best, const iso_lifetime_point *plan) {
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "params", iso_json_num(best->params), "tokens", iso_json_num(best->tokens),
                   "train", iso_json_num(best->train_cost), "serve", iso_json_num(best->serve_cost), "total", iso_json_num(best->cost),
                   "total_of_training_optimum", iso_json_num(plan->cost), "change", iso_json_num(best->cost / plan->cost - 1), "foc_ratio",
                   iso_json_num(iso_lifetime_condition(j, best)), "tokens_over_training_optimum", iso_json_num(best->tokens / plan->tokens));
}

// What a served token costs on the device that serves, by the roofline at --serve-prompt and --serve-output; NaN where it is not known.
static iso_status serve_price(const cli_args *a, const request *r, const iso_train_plan *p, double *usd_tok, json_t *o, iso_err *err) {
  const char *name = cli_text(a, "serve-device");
  iso_infer_req q = iso_infer_req_default();
  iso_serve_shape shape;
  iso_serve_device dev;
  iso_device *d = NULL;
  json_t *plan;
  *usd_tok = NAN;
  if (name) ISO_TRY(cli_devices(name, "--serve-device", &q.devices, &d, err));
  iso_status st = iso_serve_device_from_device(d ? d : r->cluster.device, &dev, err);
  shape = cli_serve_shape_of(&p->shape);
  q.shape = &shape;
  q.device = &dev;
  q.measured = d ? d : r->cluster.device;
  q.prompt = r->serve_prompt;
  q.output = r->serve_output;
  if (st == ISO_OK) st = iso_infer_plan_json(&q, &plan, err);
  iso_device_close(d);
  if (st != ISO_OK) return iso_err_prefix(err, st, "--serve");
  double prompt = cli_at(plan, "usd_per_mtok_prompt") / 1e6, output = cli_at(plan, "usd_per_mtok_output") / 1e6;
  *usd_tok = (q.prompt * prompt + q.output * output) / (q.prompt + q.output);
  json_object_set_new(o, "serve_device", json_pack("{s:s, s:o}", "name", dev.name, "devices", json_real(cli_at(plan, "devices"))));
  double wide[2];
  static const char *const END[] = {"lo", "hi"};
  for (int k = 0; k < 2; k++)
    wide[k] = (q.prompt * cli_at(json_object_get(plan, "usd_per_mtok_prompt"), END[k]) +
               q.output * cli_at(json_object_get(plan, "usd_per_mtok_output"), END[k])) /
              (q.prompt + q.output);
  json_object_set_new(o, "usd_per_mtok", iso_json_range(*usd_tok * 1e6, wide[0], wide[1], "its price is not known"));
  json_decref(plan);
  return ISO_OK;
}

// Each way of serving at its own optimum, and from how many served tokens on it is cheaper than the plain one.
static json_t *ways_json(const iso_lifetime_job *j, const request *r, const char *unit) {
  json_t *all = json_array();
  iso_lifetime_point p;
  int best;
  if (iso_lifetime_choose(j, r->way, r->ways, &best, &p, NULL) != ISO_OK) best = -1;
  for (int i = 0; i < r->ways; i++) {
    const iso_lifetime_way *w = &r->way[i];
    bool can = iso_lifetime_optimum(j, w, &p, NULL) == ISO_OK;
    double from = i ? iso_lifetime_switch(j, &r->way[0], w, 1e3, 1e18) : NAN;
    json_t *o = json_pack("{s:s, s:o, s:o, s:s, s:b, s:o}", "name", w->name, "loss_added", iso_json_num(w->loss_added), "serve_price",
                          iso_json_num(w->serve_scale), "unit", unit, "best", i == best, "pays_from_served_tokens", iso_json_num(from));
    const struct {
      const char *key;
      double v;
    } num[] = {{"params", p.params},  {"tokens", p.tokens},    {"train", p.train_cost},
               {"tune", p.tune_cost}, {"serve", p.serve_cost}, {"total", p.cost}};
    for (size_t k = 0; k < ISO_COUNT(num); k++) json_object_set_new(o, num[k].key, can ? iso_json_num(num[k].v) : json_null());
    json_array_append_new(all, o);
  }
  return all;
}

// The sizes that are cheapest over the whole life for the plan's loss, in FLOPs and in dollars.
static iso_status serve_json(const cli_args *a, const request *r, const iso_train_plan *p, json_t *result, iso_err *err) {
  const iso_train_req *q = &r->q;
  iso_lifetime_job
      j = {.law = q->law, .p = q->set->p, .x = q->x, .loss = p->loss.mean, .serve_tok = r->serve_tok, .train_price = 1, .serve_price = 1},
      usd = j;
  iso_lifetime_point best, train, at;
  double usd_tok;
  if (isnan(r->serve_tok)) return ISO_OK;
  json_t *o = json_pack("{s:o, s:s}", "tokens", iso_json_num(r->serve_tok), "interval",
                        "none: at the plan's loss and the middle of prices, which say how the split moves, not how far the whole is off");
  json_object_set_new(result, "serve", o);
  iso_lifetime_job none = j;
  none.serve_tok = 0;
  ISO_TRY(iso_lifetime_optimum(&none, &r->way[0], &train, err));
  ISO_TRY(serve_price(a, r, p, &usd_tok, o, err));
  usd.train_price = p->use[2].mean / p->use[0].mean;
  usd.serve_price = usd_tok / (ISO_SERVE_FLOP_PER_PARAM_TOK * p->params);
  bool priced = usd.train_price > 0 && usd.serve_price > 0;
  for (int k = 0; k < 1 + priced; k++) {
    const iso_lifetime_job *job = k ? &usd : &j;
    ISO_TRY(iso_lifetime_optimum(job, &r->way[0], &best, err));
    ISO_TRY(iso_lifetime_at(job, &r->way[0], train.params, &at, err));
    json_object_set_new(o, k ? "in_usd" : "in_flop", life_json(job, &best, &at));
  }
  if (r->ways > 1) json_object_set_new(o, "ways", ways_json(priced ? &usd : &j, r, priced ? "usd" : "flop"));
  return ISO_OK;
}

static json_t *warnings(const iso_train_req *q, const iso_train_plan *p) {
  json_t *w = json_array();
  char text[300];
  if (p->worst >= 0) {
    (void)snprintf(text, sizeof text, "an extrapolation: %.3g times outside what the fit of %s saw of %s", p->reach, q->set->name,
                   q->law->input[p->worst].name);
    json_array_append_new(w, json_string(text));
  }
  if (!iso_law_range_known(q->law, q->set))
    json_array_append_new(w, json_string("what the law's fit saw is not known, so that nothing tells whether this is an extrapolation"));
  if (p->epochs > 4) {
    (void)snprintf(text, sizeof text,
                   "%.3g epochs: repeated tokens are worth less beyond 4 (arXiv:2305.16264); %.3g tokens are worth %.3g fresh ones", p->epochs,
                   p->tokens.mean, p->effective_tok);
    json_array_append_new(w, json_string(text));
  }
  if (p->epochs > 4 && p->loss_effective > p->loss.mean)
    json_array_append_new(
        w, json_string("the law counts a repeated token like a fresh one: --law data_constrained chooses size and tokens by their worth"));
  if (p->binding == ISO_RES_train_flop && p->closed.params > 0 && p->ideal.params > 1.02 * p->closed.params) {
    (void)snprintf(text, sizeof text, "a vocabulary of %lld leaves no smaller model: the law's optimum has %.3g parameters", (long long)q->vocab,
                   p->closed.params);
    json_array_append_new(w, json_string(text));
  }
  if (p->use[1].mean > 3 * 365.25 * 86400)
    json_array_append_new(w, json_string("more than three years: no cluster is kept for that long; bound wall as well"));
  int64_t used = iso_layout_devices(&p->layout);
  if (2 * used <= q->devices && p->binding != ISO_RES_train_flop) {
    (void)snprintf(text, sizeof text, "%lld of %lld devices: more are faster and less efficient; bound wall as well to use them", (long long)used,
                   (long long)q->devices);
    json_array_append_new(w, json_string(text));
  }
  if (p->steps < 1000) json_array_append_new(w, json_string("fewer than 1,000 steps: take a smaller --batch"));
  if (p->memory_binds) json_array_append_new(w, json_string("memory binds: a model half an octave larger does not fit this cluster"));
  return w;
}

static json_t *plan_json(const request *r, const iso_train_plan *p) {
  const iso_train_req *q = &r->q;
  json_t *o = json_object(), *use = json_object();
  for (int i = 0; i < ISO_TRAIN_LIMITS; i++) json_object_set_new(use, iso_res_get(iso_train_limit(i))->name, est(p->use[i]));
  json_object_set_new(o, "kind", json_string("train"));
  json_object_set_new(o, "budget", iso_budget_json(&q->budget));
  json_object_set_new(o, "law",
                      json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", q->law->base.name, "set", q->set->name, "source", q->set->source, "counts",
                                q->law->counts, "unit", q->law->unit, "paper", q->law->base.paper));
  json_object_set_new(
      o, "cluster", json_pack("{s:I, s:s, s:o}", "devices", (json_int_t)q->devices, "name", q->machine->name, "pue", iso_json_num(q->machine->pue)));
  json_object_set_new(o, "device", iso_device_spec_json(&r->cluster.device->spec));
  json_object_set_new(o, "optimum", optimum_json(q, p));
  json_object_set_new(o, "model", iso_layout_shape_json(&p->shape));
  json_object_set_new(o, "params", iso_json_num(p->params));
  json_object_set_new(o, "tokens", est(p->tokens));
  json_object_set_new(o, "tokens_per_param", est(iso_est_scale(p->tokens, 1 / p->params)));
  json_object_set_new(o, "steps", est(iso_est_scale(p->tokens, p->steps / p->tokens.mean)));
  json_object_set_new(o, "batch_sequences", json_integer((json_int_t)q->batch));
  json_object_set_new(o, "batch_tokens", json_integer((json_int_t)(q->batch * q->seq)));
  json_object_set_new(o, "batch_rule", json_string(r->batch_rule));
  json_object_set_new(o, "loss", loss_json(p));
  json_object_set_new(o, "loss_interval", json_string(loss_interval(q, p)));
  if (p->between_laws > 0)
    json_object_set_new(o, "loss_between_laws",
                        json_pack("{s:i, s:o, s:o, s:o}", "laws", p->between_laws, "value", iso_json_num(p->between.mid), "lo",
                                  iso_json_num(p->between.lo), "hi", iso_json_num(p->between.hi)));
  json_object_set_new(o, "layout", iso_layout_json(&p->layout));
  json_object_set_new(o, "step", iso_layout_step_json(&p->step));
  json_object_set_new(o, "memory", iso_layout_mem_json(&p->memory));
  json_object_set_new(o, "mfu", iso_json_num(p->step.mfu));
  iso_layout_ranges(o, &p->step);
  json_object_set_new(o, "intervals", json_string("of the loss: see loss_interval; of times, prices and energy: " CLI_PLAN_STEP_INTERVALS));
  json_object_set_new(o, "calibration", iso_layout_cal_json(q->cal));
  json_object_set_new(o, "use", use);
  json_object_set_new(o, "binding", json_string(iso_res_get(p->binding)->name));
  json_object_set_new(o, "memory_binds", json_boolean(p->memory_binds));
  json_object_set_new(o, "shadow", shadow_json(q, p));
  json_object_set_new(o, "isoloss", others_json(p));
  if (q->unique_tok < INFINITY)
    json_object_set_new(o, "data",
                        json_pack("{s:o, s:o, s:o, s:o, s:o}", "unique_tokens", iso_json_num(q->unique_tok), "epochs", iso_json_num(p->epochs),
                                  "effective_tokens", iso_json_num(p->effective_tok), "loss_with_repetition",
                                  iso_json_range(p->loss_effective, NAN, NAN, "the upper end of the loss's own interval"), "missing_tokens",
                                  iso_json_num(fmax(0, p->tokens.mean - q->unique_tok))));
  json_object_set_new(o, "warnings", warnings(q, p));
  json_object_set_new(
      o, "conventions",
      json_string("train_flop: as the law counts, 6 N D unless it says otherwise; mfu: causal pairs of attention, no recomputation, of the "
                  "dense 16-bit peak; energy: at the meter, PUE with it; loss: in the law's unit, not to be compared between laws"));
  return o;
}

// How the purchase price becomes a cost of the run.
static iso_status amortise(const cli_args *a, iso_ledger_run *l, iso_err *err) {
  static const char *const BY_PRICE[] = {"amortise", "age", "network-share", "server-ratio"};
  const char *how = cli_text(a, "amortise");
  bool progress = strcmp(how, "progress") == 0;
  if (!progress && strcmp(how, "life") != 0) return iso_fail(err, ISO_EINVAL, "--amortise %.40s: expected life or progress", how);
  for (size_t i = 0; i < ISO_COUNT(BY_PRICE); i++)
    if (cli_given(a, BY_PRICE[i]) && !cli_given(a, "capex")) return iso_fail(err, ISO_EINVAL, "--%s needs --capex", BY_PRICE[i]);
  if (!progress && cli_given(a, "age")) return iso_fail(err, ISO_EINVAL, "--age needs --amortise progress: over a life its price does not fall");
  l->progress_oom = progress ? ISO_LEDGER_PROGRESS_OOM : 0;
  l->age_y = cli_real(a, "age");
  l->network_share = cli_given(a, "network-share") ? cli_real(a, "network-share") : progress ? ISO_LEDGER_NETWORK_SHARE : 0;
  l->server_ratio = cli_real(a, "server-ratio");
  return ISO_OK;
}

// The bill part by part: energy at the meter, grams, dollars of renting and owning.
static iso_status bill_json(const cli_args *a, const request *r, const iso_train_plan *p, const iso_prices *prices, json_t *result, iso_err *err) {
  const iso_layout_machine *m = r->q.machine;
  iso_ledger_run l = iso_ledger_run_default();
  iso_ledger bill;
  l.device_h = p->use[1].mean / 3600 * (double)iso_layout_devices(&p->layout);
  l.active_w = p->use[3].mean / m->pue / (l.device_h * 3600);
  l.idle_kwh = cli_real(a, "idle-share") * l.device_h * m->idle_w / 1e3;
  l.pue = m->pue;
  l.g_per_kwh = prices->g_per_kwh;
  l.embodied_g = cli_real(a, "embodied") * 1e3;
  l.rent_usd_h = m->usd_h;
  l.capex_usd = cli_real(a, "capex");
  l.usd_per_kwh = prices->usd_per_kwh;
  l.staff_usd = cli_real(a, "staff");
  ISO_TRY(amortise(a, &l, err));
  ISO_TRY(iso_ledger_of(&l, &bill, err));
  json_t *o = iso_ledger_json(&bill), *end[2] = {NULL, NULL};
  for (int k = 0; k < 2; k++) {
    iso_ledger_run at = l;
    at.device_h *= (k ? p->use[1].hi : p->use[1].lo) / p->use[1].mean;
    at.idle_kwh *= at.device_h / l.device_h;
    if (iso_ledger_of(&at, &bill, NULL) == ISO_OK) end[k] = iso_ledger_json(&bill);
  }
  static const char *const PARTS[] = {"active",  "idle",   "overhead", "embodied", "total",     "hardware",   "device", "server",
                                      "network", "energy", "own",      "rent",     "own_total", "rent_total", NULL};
  iso_json_join(o, end[0], end[1], PARTS, "the time of the run has none");
  json_decref(end[0]);
  json_decref(end[1]);
  json_object_set_new(o, "device_h", iso_json_num(l.device_h));
  json_object_set_new(o, "own_after_h", iso_json_num(iso_ledger_own_after_h(&l)));
  json_object_set_new(o, "amortised", json_string(l.progress_oom > 0 ? "by progress: Cottier et al. 2024, arXiv:2405.21015" : "over the life"));
  json_object_set_new(o, "embodied_source",
                      json_string(cli_given(a, "embodied") ? "--embodied" : "Luccioni et al. 2022, arXiv:2211.02001, section 4.1"));
  json_object_set_new(result, "ledger", o);
  return ISO_OK;
}

// ---- the table ------------------------------------------------------------------------------------------------------

static void print_shadow(const json_t *r) {
  const char *name;
  const json_t *v;
  // What binds comes first.
  for (int rest = 0; rest < 2; rest++)
    json_object_foreach(json_object_get(json_object_get(r, "shadow"), "by_limit"), name,
                        v) if (rest != (strcmp(name, cli_text_at(r, "binding")) == 0))
        cli_row(rest ? "" : "shadow price", "1%% more %s: loss %+.2g (%+.4g per e-fold)", name, cli_at(v, "loss_per_percent"),
                cli_at(v, "loss_per_log"));
  cli_row("", "closed form %+.4g per e-fold; numeric over closed form %.4f", cli_at(r, "shadow.closed_form_per_log"),
          cli_at(r, "shadow.numeric_over_closed_form"));
}

static void print_serve(const json_t *r) {
  static const char *const IN[] = {"in_flop", "in_usd"};
  char b[40], c[40], d[40];
  if (!json_object_get(r, "serve")) return;
  printf("\nthe same loss when %s are served as well:\n", iso_unit_print(cli_at(r, "serve.tokens"), ISO_UNIT_TOK, b, sizeof b));
  for (int k = 0; k < 2; k++) {
    const json_t *o = json_object_get(json_object_get(r, "serve"), IN[k]);
    iso_unit u = k ? ISO_UNIT_USD : ISO_UNIT_FLOP;
    if (!o) continue;
    cli_row(k ? "least dollars" : "least FLOPs", "%.4g parameters, %s: %s training + %s serving, %.2f%% of the training optimum's",
            cli_at(o, "params"), iso_unit_print(cli_at(o, "tokens"), ISO_UNIT_TOK, b, sizeof b), iso_unit_print(cli_at(o, "train"), u, c, sizeof c),
            iso_unit_print(cli_at(o, "serve"), u, d, sizeof d), 100 * (1 + cli_at(o, "change")));
  }
  const json_t *ways = cli_json_at(r, "serve.ways");
  for (size_t i = 0; i < json_array_size(ways); i++) {
    const json_t *o = json_array_get(ways, i);
    double from = cli_at(o, "pays_from_served_tokens");
    iso_unit u = strcmp(cli_text_at(o, "unit"), "usd") == 0 ? ISO_UNIT_USD : ISO_UNIT_FLOP;
    if (isnan(cli_at(o, "total")))
      cli_row(cli_text_at(o, "name"), "cannot reach this loss");
    else
      cli_row(cli_text_at(o, "name"), "%s in all at %.4g parameters%s%s%s", iso_unit_print(cli_at(o, "total"), u, b, sizeof b), cli_at(o, "params"),
              isnan(from) ? "" : "; pays from ", isnan(from) ? "" : iso_unit_print(from, ISO_UNIT_TOK, c, sizeof c),
              json_is_true(json_object_get(o, "best")) ? "; the cheapest" : "");
  }
  if (!isnan(cli_at(r, "serve.usd_per_mtok"))) {
    cli_row_range("served at", r, "serve.usd_per_mtok", ISO_UNIT_USD);
    cli_row("", "a million tokens on %.0f x %s", cli_at(r, "serve.serve_device.devices"), cli_text_at(r, "serve.serve_device.name"));
  }
}

static void print_others(const json_t *r) {
  char b[40], c[40], d[40], e[40], f[40];
  const json_t *all = json_object_get(r, "isoloss");
  printf("\nthe same loss at other sizes:\n%12s %12s %12s %12s %12s %12s  %s\n", "parameters", "tokens", "FLOP", "time", "price", "energy",
         "pays when so many tokens are served");
  for (size_t i = 0; i < json_array_size(all); i++) {
    const json_t *o = json_array_get(all, i);
    double pays = cli_at(o, "pays_from_served_tokens");
    printf("%12.4g %12s %12.4g %12s %12s %12s%s%s\n", cli_at(o, "params"), iso_unit_print(cli_at(o, "tokens"), ISO_UNIT_TOK, b, sizeof b),
           cli_at(o, "train_flop"), iso_unit_print(cli_at(o, "wall"), ISO_UNIT_S, c, sizeof c),
           iso_unit_print(cli_at(o, "usd"), ISO_UNIT_USD, d, sizeof d), iso_unit_print(cli_at(o, "energy"), ISO_UNIT_JOULE, e, sizeof e),
           isnan(pays) ? "" : "  ", isnan(pays) ? "" : iso_unit_print(pays, ISO_UNIT_TOK, f, sizeof f));
  }
}

static void print_bill(const json_t *r) {
  char b[40], c[40], d[40], e[40];
  cli_row("  of it", "%s devices, %s idle, %s overhead; and %s to make them",
          iso_unit_print(cli_at(r, "ledger.co2_g.active"), ISO_UNIT_GRAM, b, sizeof b),
          iso_unit_print(cli_at(r, "ledger.co2_g.idle"), ISO_UNIT_GRAM, c, sizeof c),
          iso_unit_print(cli_at(r, "ledger.co2_g.overhead"), ISO_UNIT_GRAM, d, sizeof d),
          iso_unit_print(cli_at(r, "ledger.co2_g.embodied"), ISO_UNIT_GRAM, e, sizeof e));
  if (isnan(cli_at(r, "ledger.usd.own"))) return;
  cli_row("owned instead", "%s: %s of hardware and %s of electricity", iso_unit_print(cli_at(r, "ledger.usd.own"), ISO_UNIT_USD, b, sizeof b),
          iso_unit_print(cli_at(r, "ledger.usd.hardware"), ISO_UNIT_USD, c, sizeof c),
          iso_unit_print(cli_at(r, "ledger.usd.energy"), ISO_UNIT_USD, d, sizeof d));
  cli_row("", "%s of it network; hardware amortised %s", iso_unit_print(cli_at(r, "ledger.usd.network"), ISO_UNIT_USD, b, sizeof b),
          cli_text_at(r, "ledger.amortised"));
  if (!isnan(cli_at(r, "ledger.usd.device")))
    cli_row("", "%.1f%% devices, %.1f%% servers, %.1f%% network, %.1f%% electricity",
            100 * cli_at(r, "ledger.usd.device") / cli_at(r, "ledger.usd.own"), 100 * cli_at(r, "ledger.usd.server") / cli_at(r, "ledger.usd.own"),
            100 * cli_at(r, "ledger.usd.network") / cli_at(r, "ledger.usd.own"), 100 * cli_at(r, "ledger.usd.energy") / cli_at(r, "ledger.usd.own"));
  if (!isnan(cli_at(r, "ledger.own_after_h"))) cli_row("", "a device of one's own pays after %.3g hours of use", cli_at(r, "ledger.own_after_h"));
}

static void print_plan(const json_t *r) {
  char b[40], c[40];
  cli_row("law", "%s, %s", cli_text_at(r, "law.name"), cli_text_at(r, "law.set"));
  cli_row("cluster", "%.0f x %s", cli_at(r, "cluster.devices"), cli_text_at(r, "cluster.name"));
  cli_row("optimum", "%.4g parameters on %s: %.5f", cli_at(r, "optimum.params"),
          iso_unit_print(cli_at(r, "optimum.tokens"), ISO_UNIT_TOK, b, sizeof b), cli_at(r, "optimum.loss"));
  if (!isnan(cli_at(r, "optimum.params.lo")))
    cli_row("", "within the law's uncertainty: %.3g to %.3g on %s to %s", cli_at(r, "optimum.params.lo"), cli_at(r, "optimum.params.hi"),
            iso_unit_print(cli_at(r, "optimum.tokens.lo"), ISO_UNIT_TOK, b, sizeof b),
            iso_unit_print(cli_at(r, "optimum.tokens.hi"), ISO_UNIT_TOK, c, sizeof c));
  printf("\n");
  cli_row("model", "%.4g parameters: %.0f layers of width %.0f, %.0f heads (%.0f kv), mlp %.0f", cli_at(r, "params"), cli_at(r, "model.layers"),
          cli_at(r, "model.width"), cli_at(r, "model.heads"), cli_at(r, "model.kv_heads"), cli_at(r, "model.mlp"));
  cli_row_range("tokens", r, "tokens", ISO_UNIT_TOK);
  cli_row("", "%.3g a parameter, %.0f steps of %s (%s)", cli_at(r, "tokens_per_param"), cli_at(r, "steps"),
          iso_unit_print(cli_at(r, "batch_tokens"), ISO_UNIT_TOK, b, sizeof b), cli_text_at(r, "batch_rule"));
  if (isnan(cli_at(r, "loss.lo")))
    cli_row("loss", "%.4f %s; interval %s", cli_at(r, "loss.value"), cli_text_at(r, "law.unit"), cli_text_at(r, "loss_interval"));
  else
    cli_row("loss", "%.4f (%.4f to %.4f%s) %s", cli_at(r, "loss.value"), cli_at(r, "loss.lo"), cli_at(r, "loss.hi"),
            strncmp(cli_text_at(r, "loss_interval"), "between laws", 12) == 0 ? ", between laws" : "", cli_text_at(r, "law.unit"));
  if (cli_json_at(r, "loss_between_laws") && strncmp(cli_text_at(r, "loss_interval"), "between laws", 12) != 0)
    cli_row("", "%.3g to %.3g on other text, by how far %.0f published laws lie apart", cli_at(r, "loss_between_laws.lo"),
            cli_at(r, "loss_between_laws.hi"), cli_at(r, "loss_between_laws.laws"));
  cli_row("layout", "%.0f devices: tensor %.0f, pipeline %.0f, data %.0f, context %.0f, micro-batch %.0f, ZeRO %.0f, schedule %s, recompute %s",
          cli_at(r, "layout.devices"), cli_at(r, "layout.tensor"), cli_at(r, "layout.pipeline"), cli_at(r, "layout.data"),
          cli_at(r, "layout.context"), cli_at(r, "layout.micro_batch"), cli_at(r, "layout.zero"), cli_text_at(r, "layout.schedule"),
          cli_text_at(r, "layout.recompute"));
  if (cli_json_at(r, "layout.local"))
    cli_row("", "weights split over %s, gradients over %s, optimizer states over %s; local: %.0f neighbours", cli_text_at(r, "layout.weights_over"),
            cli_text_at(r, "layout.gradients_over"), cli_text_at(r, "layout.states_over"), cli_at(r, "layout.local"));
  cli_row("", "MFU %.1f%%, %s of memory a device; a step is bound by %s", 100 * cli_at(r, "mfu"),
          iso_unit_print(cli_at(r, "memory.total_bytes"), ISO_UNIT_BYTE, b, sizeof b), cli_text_at(r, "step.bound"));
  cli_row_range("training FLOPs", r, "use.train_flop", ISO_UNIT_FLOP);
  cli_row_range("time", r, "use.wall", ISO_UNIT_S);
  cli_row_range("price", r, "use.usd", ISO_UNIT_USD);
  cli_row_range("energy", r, "use.energy", ISO_UNIT_JOULE);
  cli_row_range("carbon", r, "use.co2", ISO_UNIT_GRAM);
  print_bill(r);
  if (json_object_get(r, "data"))
    cli_row("data", "%.3g epochs of %s, worth %s fresh tokens: loss %.4f", cli_at(r, "data.epochs"),
            iso_unit_print(cli_at(r, "data.unique_tokens"), ISO_UNIT_TOK, b, sizeof b),
            iso_unit_print(cli_at(r, "data.effective_tokens"), ISO_UNIT_TOK, c, sizeof c), cli_at(r, "data.loss_with_repetition"));
  cli_row("binding", "%s%s", cli_text_at(r, "binding"), json_is_true(json_object_get(r, "memory_binds")) ? "; and the cluster's memory" : "");
  print_shadow(r);
  print_others(r);
  print_serve(r);
  printf("\n");
  cli_row("loss from", "%s", cli_text_at(r, "law.source"));
  cli_row("times from", "%s", cli_text_at(r, "calibration.source"));
  const json_t *w = json_object_get(r, "warnings");
  for (size_t i = 0; i < json_array_size(w); i++) cli_row("note", "%s", json_string_value(json_array_get(w, i)));
}

// ---- the verb -------------------------------------------------------------------------------------------------------

static iso_status plan(const cli_args *a, const iso_prices *prices, json_t **out, iso_err *err) {
  request r;
  iso_train_plan p;
  *out = NULL;
  iso_status st = read_request(a, prices, &r, err);
  if (st == ISO_OK) st = solve(&r, &p, err);
  if (st == ISO_OK) {
    *out = plan_json(&r, &p);
    json_object_set_new(*out, "prices", iso_prices_json(prices));
    st = bill_json(a, &r, &p, prices, *out, err);
    if (st == ISO_OK) st = serve_json(a, &r, &p, *out, err);
  }
  cli_cluster_close(&r.cluster);
  return st;
}

static int run(cli_args *a) { return cli_plan_run(a, plan, print_plan); }

const cli_verb cli_verb_plan_train = {
    .name = "plan train",
    .summary = "What a budget buys on a cluster: parameters, tokens, loss, layout, time, dollars, energy, carbon.",
    .examples = EXAMPLES,
    .usage = "--budget BUDGET --cluster NxDEVICE [--law NAME] [--serve TOKENS] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "The law gives the loss, the layout planner what a token costs at each size on this cluster. FLOPs of the budget count as the law\n"
        "counts them. Where time, dollars, energy or carbon bind, the interval is one of tokens and loss. " CLI_PLAN_NOTE_EXIT,
    .stops_at_once = true,
    .run = run};
