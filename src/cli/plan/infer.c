// isoflop plan infer: what one model does on one kind of device: users, first token, inter-token latency, context switches, price.
#include <math.h>
#include <string.h>

#include "cli/plan/args.h"

static const char *const EXAMPLES[] = {
    "isoflop plan infer --model llama-3.1-8b --device h100 --prompt 50k --output 1k",
    "isoflop plan infer --model yi-34b-200k --device 2xa100-80 --prompt 50k --output 250 --ideal",
    "isoflop plan infer --model deepseek-v3 --device 8xh200 --format fp8 --prompt 4k --output 1k --slo itl=30ms --json",
    "isoflop plan infer --model llama-2-70b --device rtx4090 --prompt 500 --output 200 --format int4 --flash-rate 25GB", NULL};
static const cli_opt OPTS[] = {
    {"model", CLI_TEXT, "MODEL", NULL, CLI_MODEL_HELP},
    {"device", CLI_TEXT, "[Nx]DEVICE", NULL, "a replica's devices, as in 2xa100-80 (without N: the fewest that hold one sequence)"},
    {"prompt", CLI_TEXT, "TOKENS", NULL, "tokens of a prompt, as in 50k"},
    {"output", CLI_TEXT, "TOKENS", NULL, "tokens of an answer"},
    {"batch", CLI_INT, "N", NULL, "sequences that decode together (default: as many as fit)"},
    {"format", CLI_TEXT, "NAME", "bf16", "bf16, fp8, fp4 or int4 (weights only)"},
    {"slo", CLI_TEXT, "itl=TIME", NULL, "limit on the time between tokens, for the batch size and the energy advised"},
    {"mem-share", CLI_REAL, "SHARE", "0.9", "share of a device's memory that may be used"},
    {"eps", CLI_REAL, "SHARE", "0.1", "batch advised: throughput at least this share of batch x that of one sequence"},
    {"host-kv", CLI_TEXT, "BYTES", NULL, "models with experts: also the rate with experts in host memory and this much cache there"},
    {"flash-rate", CLI_TEXT, "BYTES", NULL,
     "weights that memory does not hold are read on demand, at so many bytes a second, from flash or host memory (default: memory must hold them)"},
    {"flash-latency", CLI_TEXT, "TIME", NULL, "with --flash-rate: of one read besides, which small reads feel (default: none)"},
    {"active", CLI_TEXT, "USED[,NEW,KEPT]", NULL,
     "with --flash-rate: share of MLP neurons that a token uses, of those that the tokens before did not, and of those that memory keeps for it"},
    {"backend", CLI_TEXT, "NAME", NULL, "engine that the device's own calibration knows (isoflop hw fit --serving), as vllm (default: pooled)"},
    {"ideal", CLI_FLAG, NULL, NULL, "peak rates in place of the calibration: the roofline itself"},
    {"efficiency", CLI_TEXT, "FLOP,MEMORY", NULL, "or these shares of the peak rates, as in 0.7,0.9"},
    {"exchange", CLI_TEXT, "TIME", NULL, "with --efficiency: latency of an all-reduce, two of them a layer, as in 10us (default: none)"},
    {"bytes", CLI_TEXT, "WEIGHT,CACHE", NULL, "bytes of a weight and of a cached element in place of the format's, as in 0.5,1"},
    {"samples", CLI_INT, "N", "1", "answers to one prompt, for FLOPs that count the cache's reads (Kinetics)"},
    {"memory-rate", CLI_TEXT, "BYTES", NULL, "bytes a second of a device's memory (default: the device's)"},
    {"host-rate", CLI_TEXT, "BYTES", NULL, "bytes a second of its link to the host, each way (default: the device's)"},
    {"usd-h", CLI_REAL, "USD", NULL, "price of a device-hour (default: the device's)"},
    CLI_PLAN_OPTS,
};

static iso_status put_slo(void *self, const char *key, const char *value, iso_err *err) {
  if (strcmp(key, "itl") != 0) return iso_fail(err, ISO_EINVAL, "no limit called %s; itl is one", key);
  return iso_unit_parse(value, ISO_UNIT_S, self, err);
}

// Each way to read weights on demand, the chosen one marked.
static void print_reads(const json_t *r) {
  const json_t *o = json_object_get(r, "weights_on_demand"), *way;
  size_t i;
  if (!json_is_object(o)) return;
  printf("\n%-12s %12s %12s %14s %12s\n", "weights read", "in memory", "a token", "bytes a s", "time");
  json_array_foreach(json_object_get(o, "ways"), i, way) {
    char b[4][40];
    static const char *const KEY[] = {"held_b", "read_b", "rate_b_s", "read_s"};
    for (int k = 0; k < 4; k++) iso_unit_print(cli_at(way, KEY[k]), k < 3 ? ISO_UNIT_BYTE : ISO_UNIT_S, b[k], sizeof b[k]);
    printf("%-12s %12s %12s %14s %12s%s\n", cli_text_at(way, "name"), b[0], b[1], b[2], b[3],
           strcmp(cli_text_at(way, "name"), cli_text_at(o, "chosen")) == 0 ? " <" : "");
  }
}

static void print_plan(const json_t *r) {
  char b[40], c[40];
  cli_row("model", "%s in %s", cli_text_at(r, "model.name"), cli_text_at(r, "format"));
  cli_row("devices", "%.0f x %s", cli_at(r, "devices"), cli_text_at(r, "device.name"));
  cli_row("request", "%.0f prompt and %.0f output tokens", cli_at(r, "prompt_tok"), cli_at(r, "output_tok"));
  if (!isnan(cli_at(r, "model.context_tok")))
    cli_row("context", "up to %.0f (%s)", cli_at(r, "model.context_tok"), cli_text_at(r, "model.context_source"));
  cli_row("memory a device", "%s of weights, %s free for the cache",
          iso_unit_print(cli_at(r, "memory.weight_b_per_device"), ISO_UNIT_BYTE, b, sizeof b),
          iso_unit_print(cli_at(r, "memory.free_b_per_device"), ISO_UNIT_BYTE, c, sizeof c));
  cli_row("cache a user", "%s", iso_unit_print(cli_at(r, "memory.kv_b_per_seq"), ISO_UNIT_BYTE, b, sizeof b));
  cli_row("users", "%.0f at once (%.3g a GB more)", cli_at(r, "memory.users"), cli_at(r, "memory.users_per_gb"));
  print_reads(r);
  printf("\nat batch %.0f:\n", cli_at(r, "batch"));
  cli_row_range("first token", r, "ttft_s", ISO_UNIT_S);
  cli_row("", "bound by %s; the roofline allows %s", cli_text_at(r, "ttft_s.bound"),
          iso_unit_print(cli_at(r, "ttft_s.floor"), ISO_UNIT_S, b, sizeof b));
  if (cli_at(r, "batch") > 1) cli_row_range("all prompts at once", r, "batch_prefill_s", ISO_UNIT_S);
  cli_row_range("token after token", r, "itl_s", ISO_UNIT_S);
  cli_row("", "bound by %s; the roofline allows %s", cli_text_at(r, "itl_s.bound"),
          iso_unit_print(cli_at(r, "itl_s.floor"), ISO_UNIT_S, b, sizeof b));
  cli_row_range("a whole request", r, "request_s", ISO_UNIT_S);
  cli_row_range("context switch", r, "switch_s", ISO_UNIT_S);
  cli_row_range("output tokens a s", r, "tok_per_s", ISO_UNIT_COUNT);
  cli_row_range("energy of a prompt", r, "energy.prefill_j", ISO_UNIT_JOULE);
  cli_row_range("energy of a token", r, "energy.decode_j_per_tok", ISO_UNIT_JOULE);
  cli_row_range("1M prompt tokens", r, "usd_per_mtok_prompt", ISO_UNIT_USD);
  cli_row_range("1M output tokens", r, "usd_per_mtok_output", ISO_UNIT_USD);
  if (cli_at(r, "eflop.samples") > 1)
    cli_row("FLOPs of the samples", "%.4g to compute; the cache's reads stand for %.4g more (%.1f%% of all)", cli_at(r, "eflop.compute"),
            cli_at(r, "eflop.memory"), 100 * cli_at(r, "eflop.memory_share"));
  if (!isnan(cli_at(r, "batching.batch"))) {
    cli_row_range("advised batch", r, "batching.batch", ISO_UNIT_COUNT);
    cli_row("", "%.0f%% of the peak rate with %.0f%% of the cache", 100 * cli_at(r, "batching.of_peak_throughput"),
            100 * cli_at(r, "batching.kv_share"));
    cli_row_range("  token after token", r, "batching.itl_s", ISO_UNIT_S);
  } else
    cli_row("advised batch", "none: %s", cli_text_at(r, "batching.none"));
  if (!isnan(cli_at(r, "energy.choices.best_under_limit.j_per_tok"))) {
    cli_row_range("least energy a token", r, "energy.choices.best_under_limit.j_per_tok", ISO_UNIT_JOULE);
    cli_row("", "on %.0f devices, batch %.0f", cli_at(r, "energy.choices.best_under_limit.devices"),
            cli_at(r, "energy.choices.best_under_limit.batch"));
    cli_row_range("  token after token", r, "energy.choices.best_under_limit.itl_s", ISO_UNIT_S);
  }
  if (!isnan(cli_at(r, "experts_in_host_memory.tok_per_s"))) {
    cli_row_range("experts on the host", r, "experts_in_host_memory.tok_per_s", ISO_UNIT_COUNT);
    cli_row("", "output tokens a second, bound by the %s", cli_text_at(r, "experts_in_host_memory.bound"));
  }
  cli_row("binding", "%s", cli_text_at(r, "binding"));
  cli_row_range("shadow price", r, "shadow.itl_s_per_sequence", ISO_UNIT_S);
  cli_row("", "of each step for a sequence more");
  cli_row("intervals", "%s", cli_text_at(r, "intervals"));
  cli_row("times from", "%s", cli_text_at(r, "calibration"));
  cli_row_warnings(r);
}

// What stops more users: memory when the batch fills it, else what bounds a step.
static void add_binding(json_t *r) {
  bool full = cli_at(r, "batch") >= cli_at(r, "memory.users");
  char text[120];
  (void)snprintf(text, sizeof text, "%s%s", full ? "memory for users; a step: " : "", cli_text_at(r, "itl_s.bound"));
  json_object_set_new(r, "binding", json_string(text));
  json_object_set_new(r, "shadow",
                      json_pack("{s:O, s:o}", "itl_s_per_sequence", json_object_get(r, "itl_s_per_extra_sequence"), "users_per_gb",
                                iso_json_num(cli_at(r, "memory.users_per_gb"))));
  json_object_set_new(r, "kind", json_string("infer"));
}

// Two numbers with a comma between them.
static iso_status two(const cli_args *a, const char *name, double *x, double *y, iso_err *err) {
  const char *text = cli_text(a, name);
  char rest;
  if (!text) return ISO_OK;
  if (sscanf(text, "%lf,%lf%c", x, y, &rest) != 2 || !(*x > 0 && *y > 0))
    return iso_fail(err, ISO_EINVAL, "--%s: %.40s, expected two positive numbers as in 0.7,0.9", name, text);
  return ISO_OK;
}

// Where weights are that memory does not hold, and which of them a token needs.
static iso_status read_store(const cli_args *a, iso_serve_store *s, iso_err *err) {
  const char *active = cli_text(a, "active");
  double rate, latency;
  char rest;
  ISO_TRY(cli_quantity(a, "flash-rate", ISO_UNIT_BYTE, &rate, err));
  ISO_TRY(cli_quantity(a, "flash-latency", ISO_UNIT_S, &latency, err));
  if (!isnan(rate) && !(rate > 0)) return iso_fail(err, ISO_EINVAL, "--flash-rate: %g bytes a second, expected more than 0", rate);
  if (!isnan(rate)) s->rate_b_s = rate;
  if (!isnan(latency)) s->latency_s = latency;
  if (!active) return ISO_OK;
  int got = sscanf(active, "%lf,%lf,%lf%c", &s->used, &s->fresh, &s->kept, &rest);
  bool one = got == 1 && !strchr(active, ',') && sscanf(active, "%lf%c", &s->used, &rest) == 1;
  return one || got == 3 ? ISO_OK : iso_fail(err, ISO_EINVAL, "--active: %.40s, expected one share or three, as in 0.1,0.02,0.2", active);
}

// What the user knows better than calibration, format and descriptor.
static iso_status read_own(const cli_args *a, iso_infer_req *q, iso_serve_device *dev, iso_err *err) {
  double rate;
  ISO_TRY(two(a, "efficiency", &q->flop_eff, &q->mem_eff, err));
  ISO_TRY(two(a, "bytes", &q->weight_b, &q->kv_b, err));
  ISO_TRY(cli_quantity(a, "exchange", ISO_UNIT_S, &rate, err));
  if (!isnan(rate)) q->collective_s = rate;
  ISO_TRY(cli_quantity(a, "memory-rate", ISO_UNIT_BYTE, &rate, err));
  if (!isnan(rate)) dev->mem_b_s = rate;
  ISO_TRY(cli_quantity(a, "host-rate", ISO_UNIT_BYTE, &rate, err));
  if (!isnan(rate)) dev->host_b_s = rate;
  q->samples = (double)cli_int(a, "samples");
  double usd = cli_real(a, "usd-h");
  if (!isnan(usd) && !(usd > 0)) return iso_fail(err, ISO_EINVAL, "--usd-h: %g, expected more than 0", usd);
  if (!isnan(usd)) dev->usd_h = usd;
  return ISO_OK;
}

static iso_status plan(const cli_args *a, const iso_prices *prices, json_t **out, iso_err *err) {
  (void)prices;
  iso_infer_req q = iso_infer_req_default();
  iso_serve_shape shape;
  iso_serve_device dev;
  iso_device *d = NULL;
  const char *model = cli_text(a, "model"), *device = cli_text(a, "device"), *slo = cli_text(a, "slo");
  *out = NULL;
  if (!model || !device) return iso_fail(err, ISO_EINVAL, "--%s is missing", model ? "device" : "model");
  ISO_TRY(cli_model_serve(model, &shape, err));
  ISO_TRY(cli_quantity(a, "prompt", ISO_UNIT_TOK, &q.prompt, err));
  ISO_TRY(cli_quantity(a, "output", ISO_UNIT_TOK, &q.output, err));
  if (isnan(q.prompt) || isnan(q.output))
    return iso_fail(err, ISO_EINVAL, "--%s is missing: tokens, as in 50k", isnan(q.prompt) ? "prompt" : "output");
  ISO_TRY(cli_quantity(a, "host-kv", ISO_UNIT_BYTE, &q.host_kv_b, err));
  if (isnan(q.host_kv_b)) q.host_kv_b = 0;
  ISO_TRY(read_store(a, &q.store, err));
  if (slo) ISO_TRY(cli_pairs(slo, "--slo", put_slo, &q.slo_itl_s, err));
  if (cli_given(a, "batch") && cli_int(a, "batch") < 1) return iso_fail(err, ISO_EINVAL, "--batch must be at least 1");
  q.batch = cli_given(a, "batch") ? (double)cli_int(a, "batch") : 0;
  q.mem_share = cli_real(a, "mem-share");
  if (!(q.mem_share > 0 && q.mem_share <= 1)) return iso_fail(err, ISO_EINVAL, "--mem-share: %g, expected more than 0 and at most 1", q.mem_share);
  q.eps = cli_real(a, "eps");
  if (!(q.eps >= 0 && q.eps <= 1)) return iso_fail(err, ISO_EINVAL, "--eps: %g, expected 0 to 1", q.eps);
  q.format = cli_text(a, "format");
  q.backend = cli_text(a, "backend");
  q.ideal = cli_flag(a, "ideal");
  ISO_TRY(cli_devices(device, "--device", &q.devices, &d, err));
  q.shape = &shape;
  q.device = &dev;
  q.measured = d;
  iso_status st = iso_serve_device_from_device(d, &dev, err);
  if (st == ISO_OK) st = read_own(a, &q, &dev, err);
  if (st == ISO_OK) st = iso_infer_plan_json(&q, out, err);
  iso_device_close(d);
  if (st == ISO_OK) add_binding(*out);
  return st;
}

static int run(cli_args *a) {
  if (cli_given(a, "efficiency") && (cli_flag(a, "ideal") || cli_given(a, "backend")))
    return cli_usage(a, "--efficiency, --ideal and --backend exclude each other");
  if (cli_given(a, "exchange") && !cli_given(a, "efficiency")) return cli_usage(a, "--exchange goes with --efficiency");
  if ((cli_given(a, "flash-latency") || cli_given(a, "active")) && !cli_given(a, "flash-rate"))
    return cli_usage(a, "--flash-latency and --active go with --flash-rate");
  return cli_plan_run(a, plan, print_plan);
}

const cli_verb cli_verb_plan_infer = {
    .name = "plan infer",
    .summary = "One model on one kind of device: users in memory, time to first token, between tokens, context switch, price.",
    .examples = EXAMPLES,
    .usage = "--model MODEL --device [Nx]DEVICE --prompt TOKENS --output TOKENS [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "Times are a roofline of bytes, FLOPs, links and launches, calibrated on measured servers; intervals hold 90% of measured over\n"
        "predicted times of models that the calibration had not seen. A request longer than the model's context is warned of. " CLI_PLAN_NOTE_EXIT,
    .stops_at_once = true,
    .run = run};
