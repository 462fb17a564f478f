// isoflop plan serve: the cheapest fleet that carries a trace of requests within latency limits.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan/args.h"
#include "cli/plan/rates.h"

static const char *const EXAMPLES[] = {
    "isoflop plan serve --model llama3-70b --trace trace.csv --slo ttft=1s,itl=50ms --fleet a10g,l4,a100,h100",
    "isoflop plan serve --model llama3-8b --trace trace.csv --slo itl=80ms,share=0.99 --fleet l4:20,a10g,2xa100 --rate 40",
    "isoflop plan serve --model llama3-8b --trace trace.csv --slo ttft=2s,itl=50ms --fleet a100,h100 --split --json",
    "isoflop plan serve --throughputs tput.csv --rate 30 --fleet a10g,a100 --usd-h a10g=1.01,a100=3.67", NULL};
static const cli_opt OPTS[] = {
    {"model", CLI_TEXT, "MODEL", NULL, CLI_MODEL_HELP},
    {"trace", CLI_TEXT, "FILE", NULL,
     "CSV of requests: TIMESTAMP, ContextTokens, GeneratedTokens, or arrival_s, prompt_tok, output_tok, or other traces' names"},
    {"throughputs", CLI_TEXT, "FILE", NULL,
     "instead of both: CSV with share, of the requests of a size, and a column for each kind: requests a second of that size on a replica"},
    {"slices", CLI_INT, "N", "0", "equal parts that the requests of a size are dealt out in (default: any proportion)"},
    {"fleet", CLI_TEXT, "KIND,...", NULL,
     "devices to choose from: [N x]DEVICE[:MOST], as in l4:20,2xa100 (N: of a replica, else the fewest that fit and multiples; MOST: replicas, of "
     "the "
     "fewest)"},
    {"slo", CLI_TEXT, "LIMITS", NULL,
     "ttft=TIME, itl=TIME (mean between a request's tokens), share=S of requests that must meet both (default: none; share 0.99)"},
    {"rate", CLI_REAL, "PER_S", NULL, "requests a second, with sizes drawn from the trace (default: the trace as it is)"},
    {"format", CLI_TEXT, "NAME", "bf16", "bf16, fp8, fp4 or int4 (weights only)"},
    {"mem-share", CLI_REAL, "SHARE", "0.9", "share of a device's memory that may be used"},
    {"usd-h", CLI_TEXT, "DEVICE=USD,...", NULL, "prices of a device-hour (default: the devices')"},
    {"split", CLI_FLAG, NULL, NULL, "also separate pools for prompts and for tokens, beside mixed pools"},
    {"split-by", CLI_TEXT, "WHAT", "usd", "with --split: pools of least price, usd, or of least power, watts"},
    {"no-simulate", CLI_FLAG, NULL, NULL, "do not check the fleet by simulating the trace"},
    {"backend", CLI_TEXT, "NAME", NULL, "engine that the device's own calibration knows (isoflop hw fit --serving), as vllm (default: pooled)"},
    {"seed", CLI_INT, "N", "0", "seed of the arrivals of --rate"},
    CLI_PLAN_OPTS,
};

typedef struct fleet {
  int n;
  char name[ISO_FLEET_TYPES_MAX][80];  // as given
  iso_serve_device dev[ISO_FLEET_TYPES_MAX];
  const iso_serve_device *at[ISO_FLEET_TYPES_MAX];
  iso_device *device[ISO_FLEET_TYPES_MAX];  // owned
  const iso_device *measured[ISO_FLEET_TYPES_MAX];
  int64_t per_replica[ISO_FLEET_TYPES_MAX], most[ISO_FLEET_TYPES_MAX];
} fleet;

static iso_status put_slo(void *self, const char *key, const char *value, iso_err *err) {
  iso_fleet_opts *o = self;
  char *end;
  if (strcmp(key, "ttft") == 0) return iso_unit_parse(value, ISO_UNIT_S, &o->slo_ttft_s, err);
  if (strcmp(key, "itl") == 0) return iso_unit_parse(value, ISO_UNIT_S, &o->slo_itl_s, err);
  if (strcmp(key, "share") != 0) return iso_fail(err, ISO_EINVAL, "no limit called %s; ttft, itl and share are", key);
  o->attain = strtod(value, &end);
  return !*end && o->attain > 0 && o->attain <= 1 ? ISO_OK : iso_fail(err, ISO_EINVAL, "share=%s: expected more than 0 and at most 1", value);
}

static iso_status read_fleet(const char *text, fleet *f, iso_err *err) {
  f->n = 0;
  for (const char *s = text;; s++) {
    char part[80], *colon, *end;
    size_t n = strcspn(s, ",");
    if (n == 0 || n >= sizeof part) return iso_fail(err, ISO_EINVAL, "--fleet %.60s: expected kinds of devices, as in l4,2xa100:10", text);
    if (f->n == ISO_FLEET_TYPES_MAX) return iso_fail(err, ISO_EINVAL, "--fleet: more than %d kinds", ISO_FLEET_TYPES_MAX);
    memcpy(part, s, n);
    part[n] = 0;
    f->most[f->n] = -1;
    if ((colon = strchr(part, ':'))) {
      *colon = 0;
      f->most[f->n] = strtoll(colon + 1, &end, 10);
      if (*end || end == colon + 1 || f->most[f->n] < 0)
        return iso_fail(err, ISO_EINVAL, "--fleet %s:%s: expected a number of replicas", part, colon + 1);
    }
    memcpy(f->name[f->n], part, sizeof part);
    ISO_TRY(cli_devices(part, "--fleet", &f->per_replica[f->n], &f->device[f->n], err));
    f->measured[f->n] = f->device[f->n];
    f->at[f->n] = &f->dev[f->n];
    ISO_TRY(iso_serve_device_from_device(f->device[f->n], &f->dev[f->n], err));
    f->n++;
    for (int k = 0; k + 1 < f->n; k++)
      if (strcmp(f->dev[k].name, f->dev[f->n - 1].name) == 0 && f->per_replica[k] == f->per_replica[f->n - 1])
        return iso_fail(err, ISO_EINVAL, "--fleet %.60s: %s is given twice", text, f->dev[k].name);
    s += n;
    if (!*s) return ISO_OK;
  }
}

static iso_status put_price(void *self, const char *key, const char *value, iso_err *err) {
  fleet *f = self;
  char *end;
  double usd = strtod(value, &end);
  bool found = false;
  if (*end || !(usd > 0 && usd < 1e6)) return iso_fail(err, ISO_EINVAL, "%s=%s: expected dollars, more than 0", key, value);
  for (int i = 0; i < f->n; i++) {
    if (!iso_device_spec_is(&f->device[i]->spec, key)) continue;
    f->dev[i].usd_h = usd;
    found = true;
  }
  return found ? ISO_OK : iso_fail(err, ISO_EINVAL, "%s is no kind of --fleet", key);
}

// The limit that stops the replicas which carry most of the load.
static void add_binding(json_t *r) {
  static const char *const BOUND[] = {"cache", "itl", "ttft", "sequences"};
  double load[ISO_COUNT(BOUND)] = {0};
  const json_t *buckets = json_object_get(r, "buckets"), *v;
  const char *type;
  for (size_t i = 0; i < json_array_size(buckets); i++) {
    const json_t *b = json_array_get(buckets, i);
    json_object_foreach(json_object_get(b, "served_by"), type, v) {
      const json_t *rate = json_object_get(json_object_get(b, "replicas"), type);
      double hold = cli_at(rate, "req_per_s") > 0 ? cli_at(b, "share") * json_number_value(v) / cli_at(rate, "req_per_s") : 0;
      for (size_t k = 0; k < ISO_COUNT(BOUND); k++)
        if (strcmp(BOUND[k], cli_text_at(rate, "bound")) == 0) load[k] += hold;
    }
  }
  size_t best = 0;
  for (size_t k = 1; k < ISO_COUNT(BOUND); k++)
    if (load[k] > load[best]) best = k;
  json_object_set_new(r, "binding", json_string(BOUND[best]));
  json_object_set_new(r, "shadow", json_pack("{s:O}", "usd_h_per_req_per_s", json_object_get(r, "usd_h_per_req_per_s")));
  json_object_set_new(r, "kind", json_string("serve"));
}

static void print_pools(const json_t *r) {
  const json_t *p = json_object_get(r, "phase_split");
  char b[40], c[40];
  if (!json_is_object(p)) return;
  if (cli_text_at(p, "split.none")[0])
    cli_row("split by phase", "%s", cli_text_at(p, "split.none"));
  else
    cli_row("split by phase", "%s an hour, %.4g kW; one mixed pool %s, %.4g kW", iso_unit_print(cli_at(p, "split.usd_h"), ISO_UNIT_USD, b, sizeof b),
            cli_at(p, "split.watts") / 1000, iso_unit_print(cli_at(p, "mixed.usd_h"), ISO_UNIT_USD, c, sizeof c), cli_at(p, "mixed.watts") / 1000);
}

// Which limit stands in the way of every fleet.
static void print_missed(const json_t *r) {
  const char *limit = cli_text_at(r, "infeasible.limit");
  if (!limit[0]) return;
  if (strcmp(limit, "replicas") == 0)
    cli_row("no fleet found", "%.2f%% of the requests keep the limits alone on a replica, but not beside each other on those to be had",
            100 * cli_at(r, "infeasible.attained_alone.slo"));
  else
    cli_row("no fleet", "keeps %s for %.4g%% of the requests: alone on a replica %.2f%% keep ttft, %.2f%% itl, %.2f%% both", limit,
            100 * cli_at(r, "slo.share"), 100 * cli_at(r, "infeasible.attained_alone.ttft"), 100 * cli_at(r, "infeasible.attained_alone.itl"),
            100 * cli_at(r, "infeasible.attained_alone.slo"));
}

// The limit is one of a request's mean time between tokens; a single gap is longer where another prompt came between.
static void print_simulation(const json_t *r) {
  char b[40], c[40];
  cli_row("simulated", "%s: %.2f%% of the requests within them", json_is_true(json_object_get(r, "slo_met")) ? "limits met" : "LIMITS MISSED",
          100 * cli_at(r, "simulation.attained.slo"));
  cli_row("", "99%% of first tokens within %s, of requests' means between tokens within %s",
          iso_unit_print(cli_at(r, "simulation.ttft_s.p99"), ISO_UNIT_S, b, sizeof b),
          iso_unit_print(cli_at(r, "simulation.tpot_s.p99"), ISO_UNIT_S, c, sizeof c));
  cli_row("", "99%% of single gaps between tokens within %s", iso_unit_print(cli_at(r, "simulation.itl_s.p99"), ISO_UNIT_S, b, sizeof b));
  print_missed(r);
}

static void print_plan(const json_t *r) {
  if (json_object_get(r, "throughputs")) {
    cli_rates_print(r);
    return;
  }
  char b[40], c[40];
  const char *type;
  const json_t *v;
  cli_row("model", "%s in %s", cli_text_at(r, "model.name"), cli_text_at(r, "format"));
  cli_row("trace", "%.0f requests, %.4g a second; prompts of %.0f tokens (median; 99%%: %.0f), answers of %.0f (%.0f)", cli_at(r, "trace.requests"),
          cli_at(r, "req_per_s"), cli_at(r, "trace.prompt_tok.median"), cli_at(r, "trace.prompt_tok.p99"), cli_at(r, "trace.output_tok.median"),
          cli_at(r, "trace.output_tok.p99"));
  printf("\n");
  bool first = true;
  json_object_foreach(json_object_get(r, "fleet"), type, v) {
    if (json_integer_value(v) == 0) continue;
    cli_row(first ? "fleet" : "", "%lld x %s (%.2f of them busy)", (long long)json_integer_value(v), type,
            iso_json_value(json_object_get(json_object_get(r, "load_in_replicas"), type)));
    first = false;
  }
  cli_row_range("price an hour", r, "usd_h", ISO_UNIT_USD);
  cli_row("bound from below", "%s (gap %.2f%%)", iso_unit_print(cli_at(r, "usd_h_bound"), ISO_UNIT_USD, b, sizeof b), 100 * cli_at(r, "gap"));
  json_object_foreach(json_object_get(r, "usd_h_one_type"), type, v)
      cli_row("", "of %s alone: %s", type, json_is_null(v) ? "does not carry it" : iso_unit_print(iso_json_value(v), ISO_UNIT_USD, c, sizeof c));
  json_object_foreach(json_object_get(r, "left_out"), type, v) cli_row("left out", "%s", json_string_value(v));
  if (json_is_boolean(json_object_get(r, "slo_met"))) print_simulation(r);
  if (cli_at(r, "headroom") > 1) cli_row("head room", "planned for %.3g times the load", cli_at(r, "headroom"));
  print_pools(r);
  cli_row("binding", "%s stops more requests on the replicas that carry most", cli_text_at(r, "binding"));
  cli_row_range("shadow price", r, "shadow.usd_h_per_req_per_s", ISO_UNIT_USD);
  cli_row("", "an hour for a request a second more");
  cli_row("intervals", "%s", cli_text_at(r, "intervals"));
  cli_row("times from", "%s", cli_text_at(r, "calibration"));
  cli_row_warnings(r);
}

// The integer program alone, on throughputs of the user's own.
static iso_status plan_rates(const cli_args *a, fleet *f, json_t **out, iso_err *err) {
  cli_rates_kind kind[ISO_FLEET_TYPES_MAX];
  double rate = cli_real(a, "rate");
  if (!cli_text(a, "fleet")) return iso_fail(err, ISO_EINVAL, "--fleet is missing");
  if (!(rate > 0)) return iso_fail(err, ISO_EINVAL, "--throughputs needs --rate, requests a second, more than 0");
  ISO_TRY(read_fleet(cli_text(a, "fleet"), f, err));
  if (cli_text(a, "usd-h")) ISO_TRY(cli_pairs(cli_text(a, "usd-h"), "--usd-h", put_price, f, err));
  for (int i = 0; i < f->n; i++)
    kind[i] = (cli_rates_kind){f->name[i], &f->device[i]->spec, f->dev[i].usd_h * (double)(f->per_replica[i] ? f->per_replica[i] : 1), f->most[i]};
  return cli_rates_plan(cli_text(a, "throughputs"), kind, f->n, rate, (int)cli_int(a, "slices"), out, err);
}

static iso_status plan_with(const cli_args *a, fleet *f, json_t **out, iso_err *err) {
  iso_serve_req q = iso_serve_req_default();
  iso_serve_shape shape;
  iso_serve_trace t = {0};
  const char *need[] = {"model", "trace", "fleet"}, *slo = cli_text(a, "slo"), *by = cli_text(a, "split-by");
  *out = NULL;
  for (size_t i = 0; i < ISO_COUNT(need); i++)
    if (!cli_text(a, need[i])) return iso_fail(err, ISO_EINVAL, "--%s is missing", need[i]);
  ISO_TRY(cli_model_serve(cli_text(a, "model"), &shape, err));
  ISO_TRY(read_fleet(cli_text(a, "fleet"), f, err));
  if (slo) ISO_TRY(cli_pairs(slo, "--slo", put_slo, &q.fleet, err));
  if (cli_text(a, "usd-h")) ISO_TRY(cli_pairs(cli_text(a, "usd-h"), "--usd-h", put_price, f, err));
  double rate = cli_real(a, "rate"), share = cli_real(a, "mem-share");
  if (rate <= 0) return iso_fail(err, ISO_EINVAL, "--rate: %g, expected more than 0", rate);
  if (!(share > 0 && share <= 1)) return iso_fail(err, ISO_EINVAL, "--mem-share: %g, expected more than 0 and at most 1", share);
  q.fleet.rate = rate;
  q.fleet.mem_share = share;
  q.fleet.simulate = !cli_flag(a, "no-simulate");
  q.fleet.seed = (uint64_t)cli_int(a, "seed");
  q.fleet.slices = (int)cli_int(a, "slices");
  q.split = cli_flag(a, "split");
  q.split_by_watts = strcmp(by, "watts") == 0;
  if (!q.split_by_watts && strcmp(by, "usd") != 0) return iso_fail(err, ISO_EINVAL, "--split-by %.40s: expected usd or watts", by);
  q.format = cli_text(a, "format");
  q.backend = cli_text(a, "backend");
  q.shape = &shape;
  q.device = f->at;
  q.measured = f->measured;
  q.n_devices = f->n;
  q.replica_devices = f->per_replica;
  q.most = f->most;
  q.trace = &t;
  ISO_TRY(iso_serve_trace_load(cli_text(a, "trace"), &t, err));
  iso_status st = iso_serve_plan_json(&q, out, err);
  iso_serve_trace_close(&t);
  if (st == ISO_OK) add_binding(*out);
  return st;
}

static iso_status plan(const cli_args *a, const iso_prices *prices, json_t **out, iso_err *err) {
  (void)prices;
  fleet *f = calloc(1, sizeof *f);
  iso_status st = !f                            ? iso_fail(err, ISO_ENOMEM, "plan serve: no memory")
                  : cli_given(a, "throughputs") ? plan_rates(a, f, out, err)
                                                : plan_with(a, f, out, err);
  for (int i = 0; f && i < ISO_FLEET_TYPES_MAX; i++) iso_device_close(f->device[i]);
  free(f);
  return st;
}

static int run(cli_args *a) {
  static const char *const OTHER[] = {"model", "trace", "slo", "format", "mem-share", "split", "split-by", "no-simulate", "backend", "seed"};
  for (size_t i = 0; cli_given(a, "throughputs") && i < ISO_COUNT(OTHER); i++)
    if (cli_given(a, OTHER[i])) return cli_usage(a, "--throughputs stands for a model and its times; --%s does not go with it", OTHER[i]);
  if (cli_given(a, "split-by") && !cli_flag(a, "split")) return cli_usage(a, "--split-by goes with --split");
  if (cli_int(a, "slices") < 0 || cli_int(a, "slices") > 1000) return cli_usage(a, "--slices: expected 0 to 1000");
  return cli_plan_run(a, plan, print_plan);
}

const cli_verb cli_verb_plan_serve = {
    .name = "plan serve",
    .summary = "The cheapest fleet of devices that serves a trace of requests within latency limits.",
    .examples = EXAMPLES,
    .usage =
        "--model MODEL --trace FILE --fleet KIND,... [--slo ttft=TIME,itl=TIME,share=S] [options] | --throughputs FILE --rate PER_S --fleet KIND,...",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "An integer program over request sizes and kinds of replicas, with a lower bound, checked by simulating the trace. Kinds that do not\n"
        "hold the model are left out; when none does, the plan is refused with the bytes and ends with 5. A fleet whose simulation misses the\n"
        "limits, more replicas of any one kind included, is shown with the limit that no fleet keeps and ends with 3.",
    .stops_at_once = true,
    .run = run};
