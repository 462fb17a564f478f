// isoflop plan devices: which devices, how many and which sharing train a model best for the money, and what holds the best back.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan/args.h"
#include "cli/plan/law.h"
#include "cli/why.h"
#include "plan/device_choice.h"

static const char *const EXAMPLES[] = {
    "isoflop plan devices --model gpt2-1.5b --tokens 30Btok --devices a100,h100,l4,t4 --max-devices 64",
    "isoflop plan devices --params 1B --budget usd=5000 --cluster 8xh100,16xa100-80,64xl4 --batch 1Mtok --usd-h h100=2.5",
    "isoflop plan devices --budget 1e21flop --devices a100,h100 --objective tokens-per-s --any-layout --json", NULL};
static const cli_opt OPTS[] = {
    {"model", CLI_TEXT, "MODEL", NULL, CLI_MODEL_HELP},
    {"params", CLI_TEXT, "N", NULL, "or the size of a shape of the usual family (default: the law's optimum for a budget in FLOPs)"},
    {"cluster", CLI_TEXT, "NxDEVICE,...", NULL, "devices to compare, as in 8xh100,64xl4; isoflop hw list has names"},
    {"devices", CLI_TEXT, "DEVICE,...", NULL, "kinds to compare at 1, 2, 4, ... devices"},
    {"max-devices", CLI_INT, "N", "64", "of these"},
    {"tokens", CLI_TEXT, "TOKENS", NULL, "train on so many tokens, as in 30Btok"},
    {"budget", CLI_TEXT, "BUDGET", NULL, "or on as many as this pays for: usd=5000, wall=7d, energy=5e11J, 1e21flop"},
    {"objective", CLI_TEXT, "NAME", "loss-per-usd", "loss-per-usd, tokens-per-usd, tokens-per-s or loss"},
    CLI_TRAIN_LAW_OPTS,
    {"vocab", CLI_INT, "N", "32000", "entries of the vocabulary, for a size of the family"},
    {"seq", CLI_INT, "N", "2048", "tokens a sequence"},
    {"batch", CLI_TEXT, "SIZE", NULL, "sequences of a step, or tokens as in 1Mtok (default: a batch law's)"},
    {"max-micro-batch", CLI_INT, "N", "64", "sequences a device computes at once at most"},
    {"attention", CLI_TEXT, "KIND", "both", "flash, plain (scores kept in memory) or both"},
    {"any-layout", CLI_FLAG, NULL, NULL, "also tensor, pipeline and context parallelism"},
    {"usd-h", CLI_TEXT, "DEVICE=USD,...", NULL, "prices of a device-hour (default: the devices')"},
    {"pue", CLI_REAL, "RATIO", NULL, "energy at the meter over energy of the machines (default: the prices file's, else 1.1)"},
    CLI_PLAN_OPTS,
};

enum { KINDS_MAX = 32 };
typedef struct kind {
  iso_device *device;  // owned
  iso_layout_machine machine;
  iso_layout_cal cal;
} kind;
typedef struct request {
  iso_choice_req q;
  kind *kind;  // owned: KINDS_MAX
  int kinds;
  iso_choice_devices at[ISO_CHOICE_DEVICES_MAX];
  const char *batch_rule, *size_rule;
  char batch_text[200];
} request;

// ---- the request ----------------------------------------------------------------------------------------------------

static iso_status open_kind(const cli_args *a, const iso_prices *prices, request *r, iso_device *d, const kind **out, iso_err *err) {
  for (int i = 0; i < r->kinds; i++)
    if (strcmp(r->kind[i].device->spec.name, d->spec.name) == 0) {
      iso_device_close(d);
      *out = &r->kind[i];
      return ISO_OK;
    }
  if (r->kinds == KINDS_MAX) {
    iso_device_close(d);
    return iso_fail(err, ISO_EINVAL, "more than %d kinds of devices", KINDS_MAX);
  }
  kind *k = &r->kind[r->kinds++];
  double pue = cli_real(a, "pue");
  k->device = d;
  ISO_TRY(iso_layout_machine_from_device(d, &k->machine, err));
  ISO_TRY(iso_layout_cal_of_device(d, &k->cal, err));
  if (pue < 1) return iso_fail(err, ISO_EINVAL, "--pue: %g, expected 1 or more", pue);
  k->machine.pue = !isnan(pue) ? pue : prices->pue > 1 ? prices->pue : k->machine.pue;
  *out = k;
  return ISO_OK;
}

static iso_status add(request *r, const kind *k, int64_t n, const char *what, iso_err *err) {
  for (int i = 0; i < r->q.n; i++)
    if (r->at[i].device == k->device && r->at[i].devices == n) return ISO_OK;
  if (r->q.n == ISO_CHOICE_DEVICES_MAX) return iso_fail(err, ISO_EINVAL, "%s: more than %d to compare", what, ISO_CHOICE_DEVICES_MAX);
  r->at[r->q.n++] = (iso_choice_devices){n, &k->machine, &k->cal, k->device};
  return ISO_OK;
}

// --cluster 8xh100,64xl4, or with `most` --devices h100,l4 at every power of two up to it.
static iso_status read_list(const cli_args *a, const char *name, int64_t most, const iso_prices *prices, request *r, iso_err *err) {
  const char *text = cli_text(a, name);
  char what[24];
  (void)snprintf(what, sizeof what, "--%s", name);
  for (const char *s = text; s; s = *s ? s + 1 : NULL) {
    char one[200];
    size_t len = strcspn(s, ",");
    iso_device *d;
    const kind *k = NULL;
    int64_t n;
    if (len == 0 || len >= sizeof one) return iso_fail(err, ISO_EINVAL, "%s: \"%.60s\", expected names separated by commas", what, text);
    memcpy(one, s, len);
    one[len] = 0;
    s += len;
    ISO_TRY(cli_devices(one, what, &n, &d, err));
    ISO_TRY(open_kind(a, prices, r, d, &k, err));
    if (most && n) return iso_fail(err, ISO_EINVAL, "--devices %.60s: kinds without a count; --cluster takes counts", one);
    if (!most) ISO_TRY(add(r, k, n ? n : 1, what, err));
    for (int64_t c = 1; most && c <= most; c *= 2) ISO_TRY(add(r, k, c, what, err));
    if (!*s) break;
  }
  return ISO_OK;
}

static iso_status put_price(void *self, const char *key, const char *value, iso_err *err) {
  request *r = self;
  char *end;
  double usd = strtod(value, &end);
  bool found = false;
  if (*end || !(usd > 0 && usd < INFINITY)) return iso_fail(err, ISO_EINVAL, "%s=%s: expected dollars above 0", key, value);
  for (int i = 0; i < r->kinds; i++) {
    if (!iso_device_spec_is(&r->kind[i].device->spec, key)) continue;
    r->kind[i].machine.usd_h = usd;
    found = true;
  }
  return found ? ISO_OK : iso_fail(err, ISO_EINVAL, "%s is not among the devices compared", key);
}

static iso_status read_devices(const cli_args *a, const iso_prices *prices, request *r, iso_err *err) {
  int64_t most = cli_int(a, "max-devices");
  const char *usd = cli_text(a, "usd-h");
  if (!cli_text(a, "cluster") && !cli_text(a, "devices")) {
    iso_fail(err, ISO_EINVAL, "--cluster and --devices are missing: nothing to compare");
    return iso_hint(err, ISO_EINVAL, "as in --cluster 8xh100,64xl4, or --devices a100,h100,l4 --max-devices 64");
  }
  if (cli_given(a, "max-devices") && !cli_text(a, "devices")) return iso_fail(err, ISO_EINVAL, "--max-devices goes with --devices");
  if (most < 1 || most > 1 << 20) return iso_fail(err, ISO_EINVAL, "--max-devices: %lld, expected 1 to %d", (long long)most, 1 << 20);
  r->kind = calloc(KINDS_MAX, sizeof *r->kind);
  if (!r->kind) return iso_fail(err, ISO_ENOMEM, "no memory for %d kinds of devices", KINDS_MAX);
  if (cli_text(a, "cluster")) ISO_TRY(read_list(a, "cluster", 0, prices, r, err));
  if (cli_text(a, "devices")) ISO_TRY(read_list(a, "devices", most, prices, r, err));
  return usd ? cli_pairs(usd, "--usd-h", put_price, r, err) : ISO_OK;
}

// The model: given, of a given size, or of the size that the law chooses for a budget in FLOPs.
static iso_status read_model(const cli_args *a, request *r, iso_err *err) {
  iso_choice_req *q = &r->q;
  const char *model = cli_text(a, "model");
  int64_t seq = cli_seq(a), vocab = cli_int(a, "vocab");
  double params;
  if (seq < 1 || vocab < 2) return iso_fail(err, ISO_EINVAL, "--vocab and --seq must be positive");
  ISO_TRY(cli_quantity(a, "params", ISO_UNIT_COUNT, &params, err));
  if (model && !isnan(params)) return iso_fail(err, ISO_EINVAL, "--model and --params exclude each other");
  if (model && cli_given(a, "vocab")) return iso_fail(err, ISO_EINVAL, "--vocab goes with --params: a model has its own");
  r->size_rule = model ? "--model" : "--params";
  if (model) return cli_model_layout(model, seq, &q->job.shape, err);
  if (isnan(params)) {
    iso_law_point p;
    double flop = q->budget.train_flop;
    if (!(flop < INFINITY)) {
      iso_fail(err, ISO_EINVAL, "--model and --params are missing, and no budget in FLOPs lets the law choose the size");
      return iso_hint(err, ISO_EINVAL, "isoflop plan train chooses the size for any budget on one cluster");
    }
    ISO_TRY(iso_law_optimum_numeric(q->law, q->set->p, q->x, flop, 1e3, 1e15, NULL, NULL, &p, NULL, err));
    params = p.params;
    r->size_rule = "the law's optimum for the budget";
  }
  return iso_layout_shape_family(params, vocab, seq, &q->job.shape, err);
}

static iso_status read_batch(const cli_args *a, request *r, iso_err *err) {
  iso_choice_req *q = &r->q;
  iso_layout_counts n;
  ISO_TRY(cli_batch(a, q->job.shape.seq, &q->job.batch, err));
  r->batch_rule = "--batch";
  if (q->job.batch) return ISO_OK;
  iso_layout_count(&q->job.shape, &n);
  double params = (double)n.params, tokens = fmin(q->budget.tok, q->budget.train_flop / (ISO_LAW_FLOP_PER_PARAM_TOK * params));
  if (!(tokens < INFINITY)) tokens = 20 * params;  // other budgets: by the Chinchilla ratio
  r->batch_rule = "0.5 Mtok: no law of the batch is confirmed";
  q->job.batch = cli_batch_by_law(params, tokens, q->job.shape.seq, (int64_t)exp2(round(log2(fmax(1, 5e5 / (double)q->job.shape.seq)))),
                                  &r->batch_rule, r->batch_text, sizeof r->batch_text);
  return ISO_OK;
}

static iso_status read_request(const cli_args *a, const iso_prices *prices, request *r, iso_err *err) {
  iso_choice_req *q = &r->q;
  double tokens;
  const char *how = cli_text(a, "attention");
  *q = (iso_choice_req){
      .job = iso_layout_job_default(), .at = r->at, .g_per_kwh = prices->g_per_kwh, .max_micro_batch = cli_int(a, "max-micro-batch")};
  q->job.dropout = false;
  q->model_parallel = cli_flag(a, "any-layout");
  q->flash = strcmp(how, "plain") != 0;
  q->plain = strcmp(how, "flash") != 0;
  if (q->flash && q->plain && strcmp(how, "both") != 0) return iso_fail(err, ISO_EINVAL, "--attention %.40s: expected flash, plain or both", how);
  if (q->max_micro_batch < 1 || q->max_micro_batch > 64)
    return iso_fail(err, ISO_EINVAL, "--max-micro-batch: %lld, expected 1 to 64", (long long)q->max_micro_batch);
  iso_status st = iso_choice_goal_find(cli_text(a, "objective"), &q->goal, err);
  if (st != ISO_OK) return iso_err_prefix(err, st, "--objective");
  ISO_TRY(cli_train_budget(a, &q->budget, err));
  ISO_TRY(cli_quantity(a, "tokens", ISO_UNIT_TOK, &tokens, err));
  q->budget.tok = fmin(q->budget.tok, tokens);
  if (!iso_budget_is_bounded(&q->budget)) {
    iso_fail(err, ISO_EINVAL, "--tokens and --budget are missing: how long to train");
    return iso_hint(err, ISO_EINVAL, "as in --tokens 30Btok or --budget usd=5000");
  }
  ISO_TRY(cli_train_law(a, &q->law, &q->set, q->x, err));
  ISO_TRY(read_model(a, r, err));
  ISO_TRY(read_batch(a, r, err));
  return read_devices(a, prices, r, err);
}

static void close_request(request *r) {
  for (int i = 0; i < r->kinds; i++) iso_device_close(r->kind[i].device);
  free(r->kind);
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

static json_t *est(iso_est e) { return iso_json_range(e.mean, e.lo, e.hi, "at one end the budget does not pay for a step, or a price is not known"); }

static json_t *run_json(const request *r, const iso_choice_run *c, bool all) {
  static const char *const RATES[] = {"tok_per_usd", "loss_per_usd", NULL};
  const iso_choice_devices *d = &r->at[c->at];
  json_t *o = json_pack("{s:s, s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "device", d->machine->name, "devices", (json_int_t)d->devices,
                        "attention", c->flash ? "flash" : "plain", "sharing", iso_choice_share_name(c->share), "score", est(c->score), "tok_per_s",
                        iso_json_num(c->step.tok_s), "tok_per_usd", iso_json_num(c->tok_per_usd), "loss_per_usd", iso_json_num(c->loss_per_usd),
                        "tokens", est(c->tokens), "loss", est(c->loss), "usd", est(c->usd), "wall", est(c->wall_s));
  json_object_set_new(o, "layout", iso_layout_json(&c->layout));
  json_object_set_new(o, "mfu", iso_json_num(c->step.mfu));
  iso_layout_ranges(o, &c->step);
  iso_json_scale(o, RATES, c->step.step_s / c->step.hi_s, c->step.step_s / c->step.lo_s, "the calibration tells no residuals");
  json_object_set_new(o, "memory_bytes", iso_json_num(c->memory.total_b));
  if (!all) return o;
  json_object_set_new(o, "steps", iso_json_num(c->steps));
  json_object_set_new(o, "energy", est(c->joule));
  json_object_set_new(o, "co2", est(c->co2_g));
  json_object_set_new(o, "step", iso_layout_step_json(&c->step));
  json_object_set_new(o, "memory", iso_layout_mem_json(&c->memory));
  return o;
}

static json_t *left_out_json(const request *r, const iso_choice *c) {
  json_t *all = json_array();
  for (int i = 0; i < r->q.n; i++)
    if (c->left_out[i].status != ISO_OK)
      json_array_append_new(
          all, json_pack("{s:s, s:I, s:s}", "device", r->at[i].machine->name, "devices", (json_int_t)r->at[i].devices, "why", c->left_out[i].msg));
  return all;
}

// What 1% more of the budget changes in the loss: tokens grow with every limit alike.
static json_t *shadow_json(const request *r, const iso_choice *c) {
  const iso_choice_req *q = &r->q;
  const iso_choice_run *best = &c->run[0];
  double more = iso_train_loss(q->law, q->set, q->x, c->params, iso_est_exact(1.01 * best->tokens.mean), NULL).mean;
  const char *limit = "tok";
  double used = 0;
  for (int i = 0; i < ISO_TRAIN_LIMITS; i++) {
    const double use[ISO_TRAIN_LIMITS] = {ISO_LAW_FLOP_PER_PARAM_TOK * c->params * best->tokens.mean,
                                          best->wall_s.mean,
                                          best->usd.mean,
                                          best->joule.mean,
                                          best->co2_g.mean,
                                          best->tokens.mean};
    double share = use[i] / iso_budget_get(&q->budget, iso_train_limit(i));
    if (share > used) {
      used = share;
      limit = iso_res_get(iso_train_limit(i))->name;
    }
  }
  return json_pack("{s:s, s:o, s:s}", "limit", limit, "loss_per_percent", iso_json_num(more - best->loss.mean), "interval",
                   "none: a slope at the plan");
}

static json_t *plan_json(const request *r, const iso_choice *c) {
  const iso_choice_req *q = &r->q;
  const iso_choice_run *best = &c->run[0];
  const kind *k = NULL;
  json_t *runs = json_array(), *lift = json_object();
  for (int i = 0; i < r->kinds; i++)
    if (r->kind[i].device == r->at[best->at].device) k = &r->kind[i];
  for (int i = 0; i < c->n; i++) json_array_append_new(runs, run_json(r, &c->run[i], false));
  for (int i = 0; i < ISO_CHOICE_LIFTS; i++) json_object_set_new(lift, iso_choice_lift_name((iso_choice_lift)i), iso_json_num(c->lift[i]));
  json_t *o = json_pack("{s:s, s:s, s:o, s:o, s:s, s:I, s:I, s:s}", "kind", "devices", "objective", iso_choice_goal_name(q->goal), "model",
                        iso_layout_shape_json(&q->job.shape), "params", iso_json_num(c->params), "size_rule", r->size_rule, "batch_sequences",
                        (json_int_t)q->job.batch, "batch_tokens", (json_int_t)(q->job.batch * q->job.shape.seq), "batch_rule", r->batch_rule);
  json_object_set_new(o, "law",
                      json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", q->law->base.name, "set", q->set->name, "source", q->set->source, "counts",
                                q->law->counts, "unit", q->law->unit));
  json_object_set_new(o, "untrained_loss", iso_json_num(log((double)q->job.shape.vocab)));
  json_object_set_new(o, "best", run_json(r, best, true));
  json_object_set_new(o, "binding", json_string(iso_choice_lift_name(c->binding)));
  json_object_set_new(o, "shadow", shadow_json(r, c));
  json_object_set_new(o, "lift", lift);
  json_object_set_new(o, "intervals",
                      json_string("of the loss: the law's sets and published uncertainty; of times and prices: " CLI_PLAN_STEP_INTERVALS));
  json_object_set_new(o, "alike", json_integer(c->alike));
  json_object_set_new(o, "runs", runs);
  json_object_set_new(o, "left_out", left_out_json(r, c));
  json_object_set_new(o, "search", json_pack("{s:I, s:I}", "tried", (json_int_t)c->tried, "too_big", (json_int_t)c->too_big));
  json_object_set_new(o, "calibration", iso_layout_cal_json(r->at[best->at].cal));
  json_object_set_new(o, "device", iso_device_spec_json(&k->device->spec));
  json_object_set_new(o, "usd_per_device_hour", iso_json_num(k->machine.usd_h));
  return o;
}

// ---- the table ------------------------------------------------------------------------------------------------------

static bool same_devices(const json_t *a, const json_t *b) {
  return json_equal(json_object_get(a, "device"), json_object_get(b, "device")) &&
         json_equal(json_object_get(a, "devices"), json_object_get(b, "devices"));
}

static void layout_text(const json_t *o, char *buf, size_t n) {
  const json_t *l = json_object_get(o, "layout");
  size_t at = (size_t)snprintf(buf, n, "%s, %s attention, micro-batch %.0f", cli_text_at(o, "sharing"), cli_text_at(o, "attention"),
                               cli_at(l, "micro_batch"));
  if (strcmp(cli_text_at(o, "sharing"), "model parallel") == 0)
    at += (size_t)snprintf(buf + at, n - at, ", t=%.0f,p=%.0f,d=%.0f,c=%.0f,zero=%.0f", cli_at(l, "tensor"), cli_at(l, "pipeline"), cli_at(l, "data"),
                           cli_at(l, "context"), cli_at(l, "zero"));
  if (strcmp(cli_text_at(l, "recompute"), "none") != 0 && at < n) (void)snprintf(buf + at, n - at, ", recompute %s", cli_text_at(l, "recompute"));
}

static void twice_text(const char *lift, char *buf, size_t n) {
  bool launches = strcmp(lift, iso_choice_lift_name(ISO_CHOICE_LIFT_LAUNCH)) == 0;
  (void)snprintf(buf, n, launches ? "%s twice as fast" : "twice the %s", lift);
}

static void print_runs(const json_t *r) {
  const json_t *all = json_object_get(r, "runs");
  char tok[40], wall[40], usd[40], text[200];
  printf("\n%-18s %10s %6s %10s %8s %10s %10s %12s %12s  %s\n", "devices", "tokens/s", "MFU", "tokens", "loss", "time", "price", "tokens/usd",
         "nats/usd", "how");
  for (size_t i = 0; i < json_array_size(all); i++) {
    const json_t *o = json_array_get(all, i);
    char name[60];
    bool seen = false;
    for (size_t k = 0; k < i && !seen; k++) seen = same_devices(json_array_get(all, k), o);
    if (seen) continue;
    layout_text(o, text, sizeof text);
    (void)snprintf(name, sizeof name, "%.0f x %s", cli_at(o, "devices"), cli_text_at(o, "device"));
    printf("%-18s %10.4g %5.1f%% %10s %8.4f %10s %10s %12.4g %12.4g  %s\n", name, cli_at(o, "tok_per_s"), 100 * cli_at(o, "mfu"),
           iso_unit_print(cli_at(o, "tokens.value"), ISO_UNIT_TOK, tok, sizeof tok), cli_at(o, "loss.value"),
           iso_unit_print(cli_at(o, "wall.value"), ISO_UNIT_S, wall, sizeof wall),
           iso_unit_print(cli_at(o, "usd.value"), ISO_UNIT_USD, usd, sizeof usd), cli_at(o, "tok_per_usd"), cli_at(o, "loss_per_usd"), text);
  }
}

static void print_plan(const json_t *r) {
  const json_t *best = json_object_get(r, "best"), *all = json_object_get(r, "runs"), *v;
  const char *name;
  char text[200], b[40];
  cli_row("model", "%.4g parameters (%s): %.0f layers of width %.0f", cli_at(r, "params"), cli_text_at(r, "size_rule"), cli_at(r, "model.layers"),
          cli_at(r, "model.width"));
  cli_row("batch", "%.0f sequences of %.0f tokens (%s)", cli_at(r, "batch_sequences"), cli_at(r, "model.seq"), cli_text_at(r, "batch_rule"));
  cli_row("search", "%.0f layouts tried, %.0f of them too large for the memory", cli_at(r, "search.tried"), cli_at(r, "search.too_big"));
  print_runs(r);
  layout_text(best, text, sizeof text);
  printf("\n");
  cli_row("best", "%.0f x %s: %s", cli_at(best, "devices"), cli_text_at(best, "device"), text);
  cli_row("", "by %s; %.0f other choices of devices lie within the model's error of it", cli_text_at(r, "objective"), cli_at(r, "alike"));
  cli_row_range("tokens", best, "tokens", ISO_UNIT_TOK);
  cli_row("loss", "%.4f (%.4f to %.4f), %.4f below the untrained %.4f", cli_at(best, "loss.value"), cli_at(best, "loss.lo"), cli_at(best, "loss.hi"),
          cli_at(r, "untrained_loss") - cli_at(best, "loss.value"), cli_at(r, "untrained_loss"));
  cli_row_range("time", best, "wall", ISO_UNIT_S);
  cli_row_range("price", best, "usd", ISO_UNIT_USD);
  cli_row_range("energy", best, "energy", ISO_UNIT_JOULE);
  cli_row_range("carbon", best, "co2", ISO_UNIT_GRAM);
  cli_row("memory a device", "%s", iso_unit_print(cli_at(best, "memory_bytes"), ISO_UNIT_BYTE, b, sizeof b));
  cli_row("bottleneck", "%s", cli_text_at(r, "binding"));
  json_object_foreach(json_object_get(r, "lift"), name, v) {
    twice_text(name, text, sizeof text);
    cli_row("", "%s: %+.1f%% tokens a second", text, 100 * json_number_value(v));
  }
  cli_row("shadow price", "1%% more %s: loss %+.2g", cli_text_at(r, "shadow.limit"), cli_at(r, "shadow.loss_per_percent"));
  cli_row("intervals", "%s", cli_text_at(r, "intervals"));
  printf("\non the same devices:\n");
  for (size_t i = 1; i < json_array_size(all); i++) {
    const json_t *o = json_array_get(all, i);
    if (!same_devices(o, best)) continue;
    layout_text(o, text, sizeof text);
    cli_row("", "%.1f%% of its tokens a second: %s", 100 * cli_at(o, "tok_per_s") / cli_at(best, "tok_per_s"), text);
  }
  const json_t *out = json_object_get(r, "left_out");
  for (size_t i = 0; i < json_array_size(out); i++) {
    const json_t *o = json_array_get(out, i);
    cli_row(i ? "" : "left out", "%.0f x %s: %s", cli_at(o, "devices"), cli_text_at(o, "device"), cli_text_at(o, "why"));
  }
  cli_row("loss from", "%s", cli_text_at(r, "law.source"));
  cli_row("times from", "%s", cli_text_at(r, "calibration.source"));
}

// ---- why ------------------------------------------------------------------------------------------------------------

void cli_why_devices(const json_t *p, cli_why *w) {
  const json_t *best = json_object_get(p, "best"), *all = json_object_get(p, "runs"), *out = json_object_get(p, "left_out"), *v;
  const char *name;
  char text[200];
  layout_text(best, text, sizeof text);
  cli_why_say(w->bound, "chosen by %s: %.0f x %s, %s", cli_text_at(p, "objective"), cli_at(best, "devices"), cli_text_at(best, "device"), text);
  cli_why_say(w->bound, "held back most by %s; the largest part of a step is %s, MFU %.1f%%", cli_text_at(p, "binding"),
              cli_text_at(best, "step.bound"), 100 * cli_at(best, "mfu"));
  for (size_t i = 1; i < json_array_size(all); i++) {
    const json_t *o = json_array_get(all, i);
    bool seen = false;
    for (size_t k = 0; k < i && !seen; k++) seen = same_devices(json_array_get(all, k), o);
    if (seen && !same_devices(o, best)) continue;
    layout_text(o, text, sizeof text);
    cli_why_lost(w, cli_at(best, "tok_per_usd") / cli_at(o, "tok_per_usd"), "dollars a token on %.0f x %s: %s; loss %.4f", cli_at(o, "devices"),
                 cli_text_at(o, "device"), text, cli_at(o, "loss.value"));
  }
  for (size_t i = 0; i < json_array_size(out); i++)
    cli_why_say(w->bound, "left out: %.0f x %s: %s", cli_at(json_array_get(out, i), "devices"), cli_text_at(json_array_get(out, i), "device"),
                cli_text_at(json_array_get(out, i), "why"));
  json_object_foreach(json_object_get(p, "lift"), name, v) {
    twice_text(name, text, sizeof text);
    if (json_number_value(v) >= 0.005) cli_why_say(w->change, "%s: %.1f%% more tokens a second, and a dollar", text, 100 * json_number_value(v));
  }
  cli_why_say(w->change, "%.0f other choices of devices lie within the model's error; a price a tenth lower is worth 11%%", cli_at(p, "alike"));
  cli_why_say(w->sources, "law %s, constants %s: %s", cli_text_at(p, "law.name"), cli_text_at(p, "law.set"), cli_text_at(p, "law.source"));
  cli_why_say(w->sources, "loss per dollar: nats below ln(vocabulary) = %.4f, over the dollars of the run", cli_at(p, "untrained_loss"));
  cli_why_say(w->sources, "times: %s", cli_text_at(p, "calibration.source"));
  cli_why_say(w->sources, "device %s: %s (%s); price: $%.4g a device-hour", cli_text_at(p, "device.name"), cli_text_at(p, "device.source"),
              cli_text_at(p, "device.date"), cli_at(p, "usd_per_device_hour"));
}

// ---- the verb -------------------------------------------------------------------------------------------------------

static iso_status plan(const cli_args *a, const iso_prices *prices, json_t **out, iso_err *err) {
  request *r = calloc(1, sizeof *r);
  iso_choice *c = calloc(1, sizeof *c);
  iso_status st = r && c ? ISO_OK : iso_fail(err, ISO_ENOMEM, "no memory for a sweep");
  if (st == ISO_OK) st = read_request(a, prices, r, err);
  if (st == ISO_OK) st = iso_choice_run_all(&r->q, c, err);
  if (st == ISO_OK) {
    *out = plan_json(r, c);
    json_object_set_new(*out, "prices", iso_prices_json(prices));
    iso_choice_close(c);
  }
  if (r) close_request(r);
  free(r);
  free(c);
  return st;
}

static int run(cli_args *a) { return cli_plan_run(a, plan, print_plan); }

const cli_verb cli_verb_plan_devices = {
    .name = "plan devices",
    .summary = "Which devices train a model best for the money: kind, count, micro-batch, DDP or FSDP, attention; and the bottleneck.",
    .examples = EXAMPLES,
    .usage = "--model MODEL | --params N, --tokens TOKENS | --budget BUDGET, --cluster NxDEVICE,... | --devices DEVICE,... [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "Loss per dollar is (ln V - loss reached) / dollars of the run: nats below a uniform guess over the vocabulary. With a token count all\n"
        "reach the same loss and the cheapest wins; with a budget in dollars the lowest loss does; with a budget in seconds, where more\n"
        "devices reach a lower loss for more dollars, it favours few: --objective loss or tokens-per-usd ask otherwise. "
        "Devices form whole nodes,\nand the batch is the same for all. " CLI_PLAN_NOTE_EXIT,
    .stops_at_once = true,
    .run = run};
