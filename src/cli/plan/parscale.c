// isoflop plan parscale: parameters against parallel streams of one model, in memory and time of serving.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan/args.h"
#include "cli/plan/fit.h"
#include "cli/why.h"
#include "plan/fit/lawfit.h"
#include "plan/serve/streams.h"

static const char *const EXAMPLES[] = {"isoflop plan parscale --model 36,1536,16/2,8320,151936 --device a100-80 --prompt 64 --output 64",
                                       "isoflop plan parscale --device l4 --prompt 1k --output 200 --memory-limit 4GiB --slo itl=20ms --json", NULL};
static const cli_opt OPTS[] = {
    {"model", CLI_TEXT, "MODEL", NULL, "streams for this model (default: the best size of a published family within the limits)"},
    {"device", CLI_TEXT, "[Nx]DEVICE", NULL, "a replica's devices, as in 2xa100-80"},
    {"prompt", CLI_TEXT, "TOKENS", NULL, "tokens of a prompt"},
    {"output", CLI_TEXT, "TOKENS", NULL, "tokens of an answer"},
    {"batch", CLI_INT, "N", "1", "requests that decode together"},
    {"streams", CLI_INT, "N", "8", "most streams, a power of two; the law saw 8"},
    {"prefix", CLI_INT, "TOKENS", "48", "learnt prefix of each stream"},
    {"format", CLI_TEXT, "NAME", "bf16", "bf16, fp8, fp4 or int4 (weights only)"},
    {"memory-limit", CLI_TEXT, "BYTES", NULL, "weights and caches on a device (default: 90% of its memory)"},
    {"slo", CLI_TEXT, "NAME=TIME,...", NULL, "limits: ttft, itl (between tokens), request"},
    {"set", CLI_TEXT, "NAME", "parscale2025_pile", "published constants of law parscale: parscale2025_pile or parscale2025_stack"},
    {"fit", CLI_TEXT, "FILE", NULL, "instead: FILE.json of isoflop fit --law parscale --json, or a CSV to fit it to"},
    {"backend", CLI_TEXT, "NAME", NULL, "engine that the calibration knows: vllm, sglang, trtllm (default: pooled)"},
    {"ideal", CLI_FLAG, NULL, NULL, "peak rates in place of the calibration"},
    CLI_PLAN_FIT_OPTS,
    CLI_PLAN_OPTS,
};
#define NO_INTERVAL "none for losses: these constants come without refits"
#define MEM_SHARE 0.9
#define FAMILY_VOCAB 32000

enum { ROWS_MAX = 16, TTFT = 0, ITL, REQUEST, LIMITS };
static const char *const LIMIT[LIMITS] = {"ttft", "itl", "request"};

typedef struct row {
  double streams;
  bool fits;
  iso_serve_shape shape;
  double params;  // the law's N: without embeddings, with what the streams add
  double loss, equal;
  iso_streams_cost cost;
  // A plain model of the same loss, as this one with more layers.
  double plain_memory_b, plain_s[LIMITS];
  double reach;
  const char *why_not, *over;  // the limit that it, or the next larger model of the family, breaks; "" when none
} row;

typedef struct answer {
  cli_plan_fit law;  // owned
  double level, prompt, output, batch, prefix, memory_b, limit_s[LIMITS];
  int64_t devices;
  iso_serve_device device;
  iso_serve_format format;
  iso_serve_rates rates;
  bool given;  // shape
  iso_serve_shape shape;
  int64_t most;  // streams
  row r[ROWS_MAX];
  int rows, best;  // best: -1 when nothing fits
} answer;

// ---- costs ----------------------------------------------------------------------------------------------------------

static iso_status setup_of(const answer *o, const iso_serve_shape *s, iso_serve_setup *u, iso_err *err) {
  return iso_serve_setup_init(u, s, &o->device, &o->format, iso_serve_layout_tp(s, o->devices), err);
}

static double body(const iso_serve_counts *n) { return n->attention + n->dense; }

static iso_status cost_of(const answer *o, const iso_serve_shape *s, double streams, row *r, iso_err *err) {
  iso_serve_setup u;
  *r = (row){.streams = streams, .shape = *s, .over = ""};
  ISO_TRY(setup_of(o, s, &u, err));
  ISO_TRY(iso_serve_streams_cost(&u, &o->rates.coef, streams, o->prefix, o->prompt, o->output, o->batch, &r->cost, err));
  r->params = body(&u.n) + r->cost.extra_params;
  const double t[LIMITS] = {r->cost.ttft_s, r->cost.itl_s, r->cost.request_s};
  r->fits = r->cost.weight_b + r->cost.cache_b <= o->memory_b;
  r->why_not = r->fits ? "" : "memory";
  for (int i = 0; i < LIMITS && r->fits; i++) {
    if (t[i] <= o->limit_s[i]) continue;
    r->fits = false;
    r->why_not = LIMIT[i];
  }
  return ISO_OK;
}

// The plain model with `params` parameters in its body: between two whole numbers of layers costs are interpolated.
static iso_status plain(const answer *o, row *r, double params, iso_err *err) {
  iso_serve_counts n = iso_serve_counts_of(&r->shape);
  double layers = params / (body(&n) / (double)r->shape.layers), at = fmax(1, floor(layers)), w = layers - at;
  row a[2];
  for (int i = 0; i < 2; i++) {
    iso_serve_shape s = r->shape;
    s.layers = (int64_t)at + i;
    s.dense_layers = s.layers;
    ISO_TRY(cost_of(o, &s, 1, &a[i], err));
  }
  const iso_streams_cost *x = &a[0].cost, *y = &a[1].cost;
  r->plain_memory_b = (1 - w) * (x->weight_b + x->cache_b) + w * (y->weight_b + y->cache_b);
  r->plain_s[TTFT] = (1 - w) * x->ttft_s + w * y->ttft_s;
  r->plain_s[ITL] = (1 - w) * x->itl_s + w * y->itl_s;
  r->plain_s[REQUEST] = (1 - w) * x->request_s + w * y->request_s;
  return ISO_OK;
}

static double equal_params(const double *p, double params, double streams) {
  const double x[2] = {params, streams}, one[2] = {params, 1};
  return iso_law_parscale.inverse(p, one, 0, iso_law_parscale.value(p, x, NULL));
}

// The largest model of the family that keeps within the limits with so many streams; the smallest when none does.
static iso_status largest(const answer *o, double streams, row *out, iso_err *err) {
  bool first = true;
  const char *over = "";
  for (double n = 2e7; n < 4e12; n *= pow(2, 1.0 / 16)) {
    iso_layout_shape s;
    row r;
    if (iso_layout_shape_family(n, FAMILY_VOCAB, 2048, &s, NULL) != ISO_OK || s.heads % o->devices) continue;
    iso_serve_shape serve = cli_serve_shape_of(&s);
    ISO_TRY(cost_of(o, &serve, streams, &r, err));
    if (!r.fits && !over[0]) over = r.why_not;
    if (first || (r.fits && (r.params > out->params || !out->fits))) {
      *out = r;
      if (r.fits) over = "";
    }
    first = false;
    if (!r.fits && r.cost.weight_b > o->memory_b) break;  // larger ones hold even less
  }
  if (!first) out->over = over;
  return first ? iso_fail(err, ISO_EINVAL, "--device: no shape of the family can be split over %lld devices", (long long)o->devices) : ISO_OK;
}

static iso_status solve(answer *o, iso_err *err) {
  const double *p = o->law.p;
  const iso_serve_shape *given = o->given ? &o->shape : NULL;
  int64_t most = o->most;
  o->rows = 0;
  o->best = -1;
  for (int64_t streams = 1; streams <= most && o->rows < ROWS_MAX; streams *= 2) {
    row *r = &o->r[o->rows];
    if (given)
      ISO_TRY(cost_of(o, given, (double)streams, r, err));
    else
      ISO_TRY(largest(o, (double)streams, r, err));
    const double x[2] = {r->params, r->streams};
    r->loss = iso_law_parscale.value(p, x, NULL);
    r->equal = equal_params(p, r->params, r->streams);
    r->reach = iso_law_reach(&iso_law_parscale, o->law.x_lo, o->law.x_hi, x, NULL);
    ISO_TRY(plain(o, r, r->equal, err));
    if (r->fits && (o->best < 0 || r->loss < o->r[o->best].loss)) o->best = o->rows;
    o->rows++;
  }
  if (o->best >= 0) return ISO_OK;
  const row *r = &o->r[0];
  if (strcmp(r->why_not, "memory") == 0)
    return iso_fail(err, ISO_ENOMEM, "%s takes %.4g GB of weights and %.4g GB of cache on a device with one stream, %.4g GB may be used",
                    r->shape.name, r->cost.weight_b / 1e9, r->cost.cache_b / 1e9, o->memory_b / 1e9);
  return iso_fail(err, ISO_EUNSUP, "--slo: %s does not meet its limit on %s with one stream: ttft %.4g s, itl %.4g s, request %.4g s", r->shape.name,
                  r->why_not, r->cost.ttft_s, r->cost.itl_s, r->cost.request_s);
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

static json_t *time_json(const answer *o, double mid, double floor_s, const char *bound) {
  return iso_serve_interval_json(mid, o->rates.lo, o->rates.hi, floor_s, bound);
}

// How many times more the plain model of equal loss adds to one stream of the same model than its streams do.
static json_t *times(double plain, double streams, double one) { return iso_json_num(streams > one ? (plain - one) / (streams - one) : NAN); }

static iso_status row_json(const answer *o, const row *r, json_t **out, iso_err *err) {
  int64_t n = o->law.fit.resamples;
  double *v = malloc((size_t)(2 * n + 1) * sizeof *v);
  const double x[2] = {r->params, r->streams};
  const iso_streams_cost *c = &r->cost;
  row one;
  if (!v) return iso_fail(err, ISO_ENOMEM, "no memory for %lld refits", (long long)n);
  for (int64_t i = 0; i < n; i++) {
    const double *p = cli_plan_fit_sample(&o->law, i);
    v[i] = iso_law_parscale.value(p, x, NULL);
    v[n + i] = equal_params(p, r->params, r->streams);
  }
  iso_status st = cost_of(o, &r->shape, 1, &one, err);
  if (st == ISO_OK)
    *out = json_pack("{s:f, s:s, s:f, s:f, s:f, s:o, s:o, s:f, s:f, s:f, s:o, s:o, s:f, s:b, s:s, s:f, s:{s:o, s:f, s:f, s:f, s:f, s:o, s:o}}",
                     "streams", r->streams, "model", r->shape.name, "layers", (double)r->shape.layers, "params", r->params, "extra_params",
                     c->extra_params, "loss", cli_plan_fit_range(r->loss, v, n, o->level), "equal_params",
                     cli_plan_fit_range(r->equal, v + n, n, o->level), "weight_b", c->weight_b, "cache_b", c->cache_b, "memory_b",
                     c->weight_b + c->cache_b, "ttft_s", time_json(o, c->ttft_s, c->ttft_floor_s, c->ttft_bound), "itl_s",
                     time_json(o, c->itl_s, c->itl_floor_s, c->itl_bound), "request_s", c->request_s, "fits", r->fits, "why_not", r->why_not, "reach",
                     r->reach, "plain", "params", cli_plan_fit_range(r->equal, v + n, n, o->level), "memory_b", r->plain_memory_b, "ttft_s",
                     r->plain_s[TTFT], "itl_s", r->plain_s[ITL], "request_s", r->plain_s[REQUEST], "memory_increase_times",
                     times(r->plain_memory_b, c->weight_b + c->cache_b, one.cost.weight_b + one.cost.cache_b), "request_increase_times",
                     times(r->plain_s[REQUEST], c->request_s, one.cost.request_s));
  static const char *const TIMES[] = {"request_s", "ttft_s", "itl_s", NULL};
  iso_json_scale(*out, TIMES, o->rates.lo, o->rates.hi, "rates at peak say nothing of their error");
  free(v);
  return st;
}

// The limit that holds the best row back, and what a tenth more of it takes off the loss, by solving again.
static json_t *shadow_json(const answer *o, const char *binding) {
  answer *more = malloc(sizeof *more);
  double *limit = NULL;
  json_t *j = NULL;
  if (!more) return json_null();
  *more = *o;
  if (strcmp(binding, "memory") == 0) limit = &more->memory_b;
  for (int i = 0; i < LIMITS; i++)
    if (strcmp(binding, LIMIT[i]) == 0) limit = &more->limit_s[i];
  if (limit) *limit *= 1.1;
  if (limit && solve(more, NULL) == ISO_OK)
    j = json_pack("{s:s, s:f, s:s}", "limit", binding, "loss_with_10_percent_more", more->r[more->best].loss - o->r[o->best].loss, "interval",
                  "none: a difference at the plan");
  free(more);
  return j ? j : json_pack("{s:s}", "none", "no limit of memory or time holds the best row back");
}

static iso_status answer_json(const cli_args *a, const void *self, json_t **out, iso_err *err) {
  (void)a;
  const answer *o = self;
  json_t *rows = json_array(), *limits = json_object();
  iso_status st = ISO_OK;
  for (int i = 0; i < o->rows && st == ISO_OK; i++) {
    json_t *j = NULL;
    st = row_json(o, &o->r[i], &j, err);
    if (j) json_array_append_new(rows, j);
  }
  if (st != ISO_OK) {
    json_decref(rows);
    json_decref(limits);
    return st;
  }
  for (int i = 0; i < LIMITS; i++) json_object_set_new(limits, LIMIT[i], iso_json_num(o->limit_s[i]));
  const row *b = &o->r[o->best];
  bool last = o->best + 1 == o->rows;
  const char *binding = o->given ? last ? "streams asked for" : o->r[o->best + 1].why_not : b->over;
  *out = json_pack("{s:s, s:s, s:I, s:s, s:f, s:f, s:f, s:f, s:f, s:o, s:b, s:o, s:O, s:s, s:f, s:s, s:s, s:o, s:f}", "kind", "parscale", "device",
                   o->device.name, "devices", (json_int_t)o->devices, "format", o->format.name, "prompt_tok", o->prompt, "output_tok", o->output,
                   "batch", o->batch, "prefix_tok", o->prefix, "memory_limit_b", o->memory_b, "limit_s", limits, "model_given", o->given, "streams",
                   rows, "best", json_array_get(rows, (size_t)o->best), "binding", binding, "train_flop_times", b->streams, "intervals",
                   o->law.fit.resamples ? "refits of the law; times: the calibration's" : NO_INTERVAL, "calibration", o->rates.source, "fit",
                   cli_plan_fit_json(&o->law), "level", o->level);
  if (!*out) return iso_fail(err, ISO_EBUG, "plan parscale: its result has no JSON");
  json_object_set_new(*out, "shadow", shadow_json(o, binding));
  return ISO_OK;
}

// ---- the table ------------------------------------------------------------------------------------------------------

static void print_plan(const json_t *r) {
  const json_t *rows = json_object_get(r, "streams"), *b = json_object_get(r, "best");
  char s[40], t[40], u[40], v[40];
  cli_row("best", "%.0f streams of %.4g parameters: loss %.4f, as a plain model of %.4g", cli_at(b, "streams"), cli_at(b, "params"),
          cli_at(b, "loss.value"), cli_at(b, "equal_params.value"));
  cli_row_range("loss", b, "loss", ISO_UNIT_COUNT);
  cli_row_range("as many parameters", b, "equal_params", ISO_UNIT_COUNT);
  cli_row("devices", "%.0f x %s, %s, batch %.0f of %.0f prompt and %.0f output tokens", cli_at(r, "devices"), cli_text_at(r, "device"),
          cli_text_at(r, "format"), cli_at(r, "batch"), cli_at(r, "prompt_tok"), cli_at(r, "output_tok"));
  cli_row_range("first token", b, "ttft_s", ISO_UNIT_S);
  cli_row_range("token after token", b, "itl_s", ISO_UNIT_S);
  cli_row("training", "%.0f times the FLOPs of one stream on the same tokens", cli_at(r, "train_flop_times"));
  cli_row("binding", "%s", cli_text_at(r, "binding"));
  if (!isnan(cli_at(r, "shadow.loss_with_10_percent_more")))
    cli_row("shadow price", "a tenth more of %s: loss %+.3g", cli_text_at(r, "shadow.limit"), cli_at(r, "shadow.loss_with_10_percent_more"));
  cli_row("times from", "%s", cli_text_at(r, "calibration"));
  cli_row("intervals", "%s", cli_text_at(r, "intervals"));
  printf("\n%7s %11s %8s %11s %10s %10s %10s | %10s %10s\n%7s %11s %8s %11s %10s %10s %10s | %10s %10s\n", "", "", "", "plain", "", "token", "",
         "plain", "plain", "streams", "parameters", "loss", "equivalent", "memory", "to token", "request", "memory", "request");
  for (size_t i = 0; i < json_array_size(rows); i++) {
    const json_t *o = json_array_get(rows, i);
    char note[80] = "";
    if (cli_text_at(o, "why_not")[0])
      (void)snprintf(note, sizeof note, "  over its limit: %s", cli_text_at(o, "why_not"));
    else if (cli_at(o, "reach") > 1)
      (void)snprintf(note, sizeof note, "  %.3g times outside the law's runs", cli_at(o, "reach"));
    printf("%7.0f %11.4g %8.4f %11.4g %10s %10s %10s | %10s", cli_at(o, "streams"), cli_at(o, "params"), cli_at(o, "loss.value"),
           cli_at(o, "equal_params.value"), iso_unit_print(cli_at(o, "memory_b"), ISO_UNIT_BYTE, s, sizeof s),
           iso_unit_print(cli_at(o, "itl_s"), ISO_UNIT_S, t, sizeof t), iso_unit_print(cli_at(o, "request_s"), ISO_UNIT_S, u, sizeof u),
           iso_unit_print(cli_at(o, "plain.memory_b"), ISO_UNIT_BYTE, v, sizeof v));
    printf(" %10s%s\n", iso_unit_print(cli_at(o, "plain.request_s"), ISO_UNIT_S, s, sizeof s), note);
  }
}

void cli_why_parscale(const json_t *p, cli_why *w) {
  const json_t *rows = json_object_get(p, "streams"), *b = json_object_get(p, "best");
  cli_why_say(w->bound, "%s; a token is bound by %s", cli_text_at(p, "binding"), cli_text_at(b, "itl_s.bound"));
  for (size_t i = 0; i < json_array_size(rows); i++) {
    const json_t *o = json_array_get(rows, i);
    if (cli_text_at(o, "why_not")[0])
      cli_why_say(w->bound, "%.0f streams of %.4g parameters: over the limit on %s", cli_at(o, "streams"), cli_at(o, "params"),
                  cli_text_at(o, "why_not"));
    else if (cli_at(o, "streams") != cli_at(b, "streams"))
      cli_why_lost(w, cli_at(o, "loss.value") / cli_at(b, "loss.value"), "loss of %.0f streams of %.4g parameters", cli_at(o, "streams"),
                   cli_at(o, "params"));
  }
  cli_why_lost(w, cli_at(b, "plain.memory_b") / cli_at(b, "memory_b"), "memory of a plain model of equal loss, %.4g parameters",
               cli_at(b, "plain.params"));
  cli_why_lost(w, cli_at(b, "plain.request_s") / cli_at(b, "request_s"), "time of a request of that plain model");
  cli_why_say(w->change,
              "a larger batch: streams multiply it, and past the point where products outweigh the weights' bytes each costs its full time");
  cli_why_say(w->change, "training must pay for it: %.4g times the FLOPs of one stream, unless streams are added at its end",
              cli_at(p, "train_flop_times"));
  cli_why_say(w->sources, "law parscale: %s (%s)", cli_text_at(p, "fit.source"), cli_text_at(p, "fit.paper"));
  cli_why_say(w->sources, "times: %s; intervals: %s", cli_text_at(p, "calibration"), cli_text_at(p, "intervals"));
}

// ---- the verb -------------------------------------------------------------------------------------------------------

static iso_status put_slo(void *self, const char *key, const char *value, iso_err *err) {
  double *limit = self;
  for (int i = 0; i < LIMITS; i++)
    if (strcmp(key, LIMIT[i]) == 0) return iso_unit_parse(value, ISO_UNIT_S, &limit[i], err);
  return iso_fail(err, ISO_EINVAL, "no limit called %s; ttft, itl and request are", key);
}

static iso_status read(const cli_args *a, answer *o, iso_err *err) {
  const char *slo = cli_text(a, "slo"), *device = cli_text(a, "device");
  double room;
  iso_device *d = NULL;
  if (!device) return iso_fail(err, ISO_EINVAL, "--device is missing");
  o->level = cli_real(a, "level");
  o->batch = (double)cli_int(a, "batch");
  o->prefix = (double)cli_int(a, "prefix");
  for (int i = 0; i < LIMITS; i++) o->limit_s[i] = INFINITY;
  ISO_TRY(cli_quantity(a, "prompt", ISO_UNIT_TOK, &o->prompt, err));
  ISO_TRY(cli_quantity(a, "output", ISO_UNIT_TOK, &o->output, err));
  ISO_TRY(cli_quantity(a, "memory-limit", ISO_UNIT_BYTE, &room, err));
  if (isnan(o->prompt) || isnan(o->output))
    return iso_fail(err, ISO_EINVAL, "--%s is missing: tokens, as in 1k", isnan(o->prompt) ? "prompt" : "output");
  if (o->batch < 1) return iso_fail(err, ISO_EINVAL, "--batch must be at least 1");
  if (o->prefix < 0) return iso_fail(err, ISO_EINVAL, "--prefix must be at least 0");
  if (slo) ISO_TRY(cli_pairs(slo, "--slo", put_slo, o->limit_s, err));
  ISO_TRY(cli_devices(device, "--device", &o->devices, &d, err));
  if (!o->devices) o->devices = 1;
  iso_status st = iso_serve_device_from_device(d, &o->device, err);
  if (st == ISO_OK) st = iso_serve_rates_of(NULL, d, cli_text(a, "backend"), &o->device, cli_text(a, "format"), cli_flag(a, "ideal"), &o->rates, err);
  iso_device_close(d);
  o->memory_b = isnan(room) ? MEM_SHARE * o->device.mem_b : fmin(room, o->device.mem_b);
  return st;
}

static iso_status solve_all(const cli_args *a, void *self, iso_err *err) {
  answer *o = self;
  const iso_law_const *c;
  const char *model = cli_text(a, "model");
  o->most = cli_int(a, "streams");
  if (o->most < 1 || o->most > 1 << (ROWS_MAX - 1)) return iso_fail(err, ISO_EINVAL, "--streams must lie between 1 and %d", 1 << (ROWS_MAX - 1));
  o->given = model != NULL;
  ISO_TRY(read(a, o, err));
  if (model) ISO_TRY(cli_model_serve(model, &o->shape, err));
  ISO_TRY(iso_serve_format_get(cli_text(a, "format"), &o->shape, &o->format, err));
  ISO_TRY(iso_law_find_const(&iso_law_parscale, cli_text(a, "set"), &c, err));
  ISO_TRY(cli_plan_fit_open(a, &iso_law_parscale, c, "params, streams, loss", &o->law, err));
  return solve(o, err);
}

static void close_all(void *self) { cli_plan_fit_close(&((answer *)self)->law); }

static int run(cli_args *a) {
  static const cli_plan_answer ANSWER = {sizeof(answer), solve_all, answer_json, close_all, print_plan};
  return cli_plan_run_answer(a, &ANSWER);
}

const cli_verb cli_verb_plan_parscale = {
    .name = "plan parscale",
    .summary = "Parameters or parallel streams of one model: loss, memory and time of serving, and the best of both within limits.",
    .examples = EXAMPLES,
    .usage = "--device [Nx]DEVICE --prompt TOKENS --output TOKENS [--model MODEL] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "Chen et al. 2025 (arXiv:2505.10475): P streams of N parameters are worth N (1 + k ln P), at equal training tokens. A plain model of\n"
        "equal loss stands beside each: the same one with more layers. Times as plan infer's; activations are not counted. " CLI_PLAN_NOTE_EXIT,
    .stops_at_once = true,
    .run = run};
