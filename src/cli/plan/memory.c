// isoflop plan memory: how to train a model within a device's memory: what to keep, recompute, offload or shard.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan/args.h"
#include "cli/why.h"
#include "plan/remat/memory.h"
#include "report/report.h"

static const char *const EXAMPLES[] = {"isoflop plan memory --model 124m --batch 16 --seq 1024 --limit 8GiB",
                                       "isoflop plan memory --model llama3-8b --batch 1 --seq 8192 --device h100 --host-memory 500GiB",
                                       "isoflop plan memory --model 12,768,12/12,2048,50257,1024 --batch 8 --limit 4GiB --precision f32 --json",
                                       NULL};
static const cli_opt OPTS[] = {
    {"model", CLI_TEXT, "MODEL", NULL,
     "preset (10m, 50m, 124m, gpt2-124m), layers,width,heads/kv_heads,mlp,vocab[,seq], a known model, or a config.json"},
    {"batch", CLI_TEXT, "SIZE", "1", "sequences of a micro-batch on this device, or tokens as in 32ktok"},
    {"seq", CLI_TEXT, "TOKENS", NULL, "tokens of a sequence (default: a preset's own, else 4096)"},
    {"limit", CLI_TEXT, "BYTES", NULL, "memory of the device, as in 24GiB (default: the memory of --device)"},
    {"precision", CLI_TEXT, "CLASS", "bf16", "bf16: values of 2 bytes; 2, 4 and 12 of weight, gradient and optimizer. f32: values of 4; 4, 4 and 8"},
    {"bytes", CLI_TEXT, "W,G,O", NULL, "bytes per parameter of weights, gradients and optimizer state instead"},
    {"device", CLI_TEXT, "DEVICE", NULL, "compare in seconds on this device, as isoflop hw list has them (default: in FLOPs)"},
    {"efficiency", CLI_REAL, "SHARE", "0.5", "of the device's peak rates that kernels reach"},
    {"host-memory", CLI_TEXT, "BYTES", NULL, "host memory for this device: plans may offload to it"},
    {"host-rate", CLI_TEXT, "BYTES", NULL, "bytes a second of the link to the host, each way (default: the device's)"},
    {"nvme-rate", CLI_TEXT, "BYTES", NULL, "bytes a second of a disk for optimizer state that host memory does not hold"},
    {"retention-intervals", CLI_INT, "C", "0",
     "a value is there in at most so many stretches of time, computed anew for each (Moccasin takes 2): 1 to 5; 0: any number, which is never "
     "worse"},
    {"store", CLI_TEXT, "FILE", NULL, "run store that keeps the plan (default: runs.db in isoflop's home)"},
};

// ---- printing -------------------------------------------------------------------------------------------------------

static void print_list(const json_t *a, char *buf, size_t n) {
  size_t at = 0;
  buf[0] = 0;
  for (size_t i = 0; i < json_array_size(a) && at < n; i++)
    at += (size_t)snprintf(buf + at, n - at, "%s%s", i ? " " : "", json_string_value(json_array_get(a, i)));
}

static void print_layers(const json_t *r) {
  const json_t *rows = json_object_get(r, "layers");
  for (size_t i = 0; i < json_array_size(rows); i++) {
    const json_t *o = json_array_get(rows, i);
    char name[40], kept[200], host[200], b[40];
    double from = cli_at(o, "from"), to = cli_at(o, "to");
    print_list(json_object_get(o, "kept"), kept, sizeof kept);
    print_list(json_object_get(o, "on_host"), host, sizeof host);
    (void)snprintf(name, sizeof name, to > from ? "layers %.0f to %.0f" : "layer %.0f", from, to);
    cli_row(name, "keep %s, %s each%s%s", kept[0] ? kept : "nothing", iso_unit_print(cli_at(o, "kept_bytes"), ISO_UNIT_BYTE, b, sizeof b),
            host[0] ? "; on the host: " : "", host);
  }
}

// The points of the front, and for each strategy its own at most `max` of them.
static void print_strategies(const json_t *r, size_t max) {
  const json_t *all = json_object_get(r, "strategies");
  bool timed = !isnan(cli_at(r, "plan.step_s"));
  printf("\n%-18s %12s %14s%s\n", "strategy", "peak", "extra FLOPs", timed ? "     extra time" : "");
  for (size_t i = 0; i < json_array_size(all); i++) {
    const json_t *s = json_array_get(all, i), *p = json_object_get(s, "points");
    size_t n = json_array_size(p), step = n > max ? (n - 1) / (max - 1) + 1 : 1;
    for (size_t k = 0; k < n; k += step) {
      const json_t *o = json_array_get(p, k + step >= n && n > 1 ? n - 1 : k);
      char name[60], b[40];
      double v = isnan(cli_at(o, "k")) ? cli_at(o, "slots") : cli_at(o, "k");
      (void)snprintf(name, sizeof name, isnan(v) ? "%s" : "%s, %.0f", cli_text_at(s, "strategy"), v);
      printf("%-18s %12s %12.2f %%", name, iso_unit_print(cli_at(o, "total_bytes"), ISO_UNIT_BYTE, b, sizeof b), 100 * cli_at(o, "extra_share"));
      if (timed) printf("   %10.2f %%", 100 * cli_at(o, "extra_time_share"));
      printf("\n");
    }
  }
}

static void print_shards(const json_t *r) {
  const json_t *a = json_object_get(r, "shards");
  for (size_t i = 0; i < json_array_size(a); i++) {
    const json_t *o = json_array_get(a, i);
    char name[24], all[24] = "no number of", few[24] = "no number";
    if (!isnan(cli_at(o, "devices_keep_all"))) (void)snprintf(all, sizeof all, "%.0f", cli_at(o, "devices_keep_all"));
    if (!isnan(cli_at(o, "devices_least_activations"))) (void)snprintf(few, sizeof few, "%.0f", cli_at(o, "devices_least_activations"));
    (void)snprintf(name, sizeof name, "ZeRO-%.0f", cli_at(o, "zero"));
    cli_row(name, "%s devices keep all activations; %s at the least activations", all, few);
  }
}

static void print_trainer(const json_t *r) {
  const json_t *t = json_object_get(r, "trainer");
  char flags[80], b[40];
  size_t n = 0;
  if (!json_is_object(t)) {
    cli_row("isoflop train", "no setting of its own fits");
    return;
  }
  flags[0] = 0;
  if (cli_at(t, "recompute") > 0) n += (size_t)snprintf(flags + n, sizeof flags - n, " --recompute %.0f", cli_at(t, "recompute"));
  if (cli_at(t, "recompute_layers") > 0)
    n += (size_t)snprintf(flags + n, sizeof flags - n, " --recompute-layers %.0f", cli_at(t, "recompute_layers"));
  if (json_is_true(json_object_get(t, "recompute_cheap"))) (void)snprintf(flags + n, sizeof flags - n, " --recompute-cheap");
  cli_row("isoflop train", "%s: %s, %.2f%% of the step's FLOPs again", flags[0] ? flags + 1 : "keeps all",
          iso_unit_print(cli_at(t, "total_bytes"), ISO_UNIT_BYTE, b, sizeof b), 100 * cli_at(t, "extra_share"));
}

static void print_plan(const json_t *r) {
  char a[40], b[40], c[40], text[200];
  iso_model_config m;
  const json_t *p = json_object_get(r, "plan");
  if (iso_config_from_json(cli_json_at(r, "job.model"), &m, NULL) == ISO_OK) cli_row("model", "%s", iso_config_print(&m, text, sizeof text));
  cli_row("batch", "%.0f x %.0f tokens, %.4g parameters, %s a step", cli_at(r, "job.batch"), cli_at(r, "job.seq"), cli_at(r, "job.params"),
          iso_unit_print(cli_at(r, "job.flop"), ISO_UNIT_FLOP, a, sizeof a));
  cli_row("limit", "%s", iso_unit_print(cli_at(r, "bytes.limit"), ISO_UNIT_BYTE, a, sizeof a));
  cli_row("weights", "%s, gradients %s, optimizer state %s", iso_unit_print(cli_at(r, "bytes.weights"), ISO_UNIT_BYTE, a, sizeof a),
          iso_unit_print(cli_at(r, "bytes.gradients"), ISO_UNIT_BYTE, b, sizeof b),
          iso_unit_print(cli_at(r, "bytes.optimizer"), ISO_UNIT_BYTE, c, sizeof c));
  cli_row("plan", "%s (%s), %s", cli_text_at(p, "kind"), cli_text_at(p, "method"), cli_text_at(p, "place"));
  cli_row("peak", "%s, of which activations %s", iso_unit_print(cli_at(p, "total_bytes"), ISO_UNIT_BYTE, a, sizeof a),
          iso_unit_print(cli_at(p, "peak_bytes"), ISO_UNIT_BYTE, b, sizeof b));
  if (!isnan(cli_at(r, "retention_cap")))
    cli_row("intervals", "%.0f of a value at most, of %.0f allowed; any number: %.0f, %.2f%% of the step's FLOPs again",
            cli_at(p, "retention_intervals"), cli_at(r, "retention_cap"), cli_at(r, "plan_any_intervals.retention_intervals"),
            100 * cli_at(r, "plan_any_intervals.extra_share"));
  cli_row("computed again", "%.0f values, %.2f%% of the step's FLOPs", cli_at(p, "recomputed"), 100 * cli_at(p, "extra_share"));
  if (!isnan(cli_at(p, "gap_share")))
    cli_row("bound", "no schedule on this device computes less than %.2f%% more; gap %.3f%%%s", 100 * cli_at(p, "bound_share"),
            100 * cli_at(p, "gap_share"), json_is_true(json_object_get(p, "optimal")) ? ", optimal" : "");
  if (!isnan(cli_at(p, "step_s")))
    cli_row("step", "%s: computing once %s, again %s, stalls %s", iso_unit_print(cli_at(p, "step_s"), ISO_UNIT_S, a, sizeof a),
            iso_unit_print(cli_at(p, "compute_s"), ISO_UNIT_S, b, sizeof b), iso_unit_print(cli_at(p, "again_s"), ISO_UNIT_S, text, sizeof text),
            iso_unit_print(cli_at(p, "stall_s"), ISO_UNIT_S, c, sizeof c));
  if (cli_at(p, "host_bytes") > 0)
    cli_row("on the host", "%s, of which activations %s (%s on the link, %s of it not hidden)",
            iso_unit_print(cli_at(p, "host_bytes"), ISO_UNIT_BYTE, text, sizeof text),
            iso_unit_print(cli_at(p, "activations_to_host_bytes"), ISO_UNIT_BYTE, a, sizeof a),
            iso_unit_print(cli_at(p, "activations_link_s"), ISO_UNIT_S, b, sizeof b),
            iso_unit_print(cli_at(p, "activations_stall_s"), ISO_UNIT_S, c, sizeof c));
  if (cli_at(p, "disk_bytes") > 0) cli_row("on the disk", "%s", iso_unit_print(cli_at(p, "disk_bytes"), ISO_UNIT_BYTE, a, sizeof a));
  cli_row("binding", "%s", cli_text_at(r, "binding"));
  cli_row("shadow price", "a tenth more memory: %.2f%% of the step's FLOPs again instead of %.2f%%",
          100 * cli_at(r, "shadow.extra_share_with_10_percent_more_memory"), 100 * cli_at(p, "extra_share"));
  cli_row("interval", "%s", cli_text_at(r, "interval"));
  print_layers(r);
  print_trainer(r);
  print_shards(r);
  print_strategies(r, 12);
}

// ---- the request ----------------------------------------------------------------------------------------------------

static iso_status read_model(const cli_args *a, iso_memory_job *j, iso_err *err) {
  const char *text = cli_text(a, "model");
  double seq;
  if (!text) return iso_fail(err, ISO_EINVAL, "--model is missing, as in --model 124m");
  ISO_TRY(cli_quantity(a, "seq", ISO_UNIT_TOK, &seq, err));
  if (!isnan(seq) && (seq != floor(seq) || seq > 1 << 24))
    return iso_fail(err, ISO_EINVAL, "--seq: %g, expected a whole number up to %d", seq, 1 << 24);
  j->seq = isnan(seq) ? 4096 : (int64_t)seq;
  if (iso_config_parse(text, &j->model, NULL) == ISO_OK) {
    if (isnan(seq)) j->seq = j->model.ctx;
    if (strcmp(j->model.arch, "gpt2") == 0 && j->seq > j->model.ctx)
      return iso_fail(err, ISO_EINVAL, "--seq: %lld tokens, the model has positions for %lld", (long long)j->seq, (long long)j->model.ctx);
    return ISO_OK;
  }
  iso_layout_shape s;
  if (isnan(seq) && cli_model_seq(text)) j->seq = cli_model_seq(text);
  ISO_TRY(cli_model_layout(text, j->seq, &s, err));
  return iso_memory_config(&s, &j->model, err);
}

static iso_status read_bytes(const cli_args *a, iso_memory_job *j, iso_num *class, iso_err *err) {
  const char *p = cli_text(a, "precision"), *t = cli_text(a, "bytes");
  char rest;
  if (strcmp(p, "f32") == 0) {
    j->act_b = 4;
    j->weight_b = j->grad_b = 4;
    j->optim_b = 8;
    *class = ISO_NUM_f32;
  } else if (strcmp(p, "bf16") != 0) {
    return iso_fail(err, ISO_EINVAL, "--precision: %.40s, expected bf16 or f32", p);
  }
  if (t && (sscanf(t, "%lf,%lf,%lf%c", &j->weight_b, &j->grad_b, &j->optim_b, &rest) != 3))
    return iso_fail(err, ISO_EINVAL, "--bytes: %.40s, expected three numbers as in 2,4,12", t);
  return ISO_OK;
}

static iso_status read_device(const cli_args *a, iso_memory_job *j, iso_num class, iso_err *err) {
  double share = cli_real(a, "efficiency"), limit, host, link, disk;
  const char *name = cli_text(a, "device");
  ISO_TRY(cli_quantity(a, "limit", ISO_UNIT_BYTE, &limit, err));
  ISO_TRY(cli_quantity(a, "host-memory", ISO_UNIT_BYTE, &host, err));
  ISO_TRY(cli_quantity(a, "host-rate", ISO_UNIT_BYTE, &link, err));
  ISO_TRY(cli_quantity(a, "nvme-rate", ISO_UNIT_BYTE, &disk, err));
  if (!(share > 0 && share <= 1)) return iso_fail(err, ISO_EINVAL, "--efficiency: %g, expected more than 0 and at most 1", share);
  if (!name && (!isnan(host) || !isnan(link) || !isnan(disk) || cli_given(a, "efficiency")))
    return iso_fail(err, ISO_EINVAL, "--host-memory, --host-rate, --nvme-rate and --efficiency need --device, whose rates they are compared with");
  if (isnan(host) && (!isnan(link) || !isnan(disk))) return iso_fail(err, ISO_EINVAL, "--host-rate and --nvme-rate need --host-memory");
  if (name) {
    iso_device *d;
    ISO_TRY(iso_device_open(name, &d, err));
    double peak = d->spec.peak_flop_s[class];
    if (class == ISO_NUM_bf16 && !isfinite(peak)) peak = d->spec.peak_flop_s[ISO_NUM_f16];
    j->rates = (iso_remat_rates){share * peak, share * d->spec.mem_b_s};
    if (isnan(limit)) limit = d->spec.mem_b;
    if (isnan(link)) link = d->spec.host.b_s;
    iso_device_close(d);
    if (!isfinite(peak)) return iso_fail(err, ISO_EUNSUP, "--device %.40s: no peak rate for %s is known", name, iso_num_name(class));
  }
  if (isnan(limit)) return iso_fail(err, ISO_EINVAL, "--limit is missing: bytes, as in --limit 24GiB, or a --device");
  j->limit_b = limit < 9e18 ? (int64_t)limit : INT64_MAX / 2;
  if (isnan(host)) return ISO_OK;
  if (!isfinite(link)) return iso_fail(err, ISO_EINVAL, "--device %.40s: its link to the host is not known, give --host-rate", name);
  j->host_b = host;
  j->link_b_s = link;
  j->nvme_b_s = isnan(disk) ? 0 : disk;
  return ISO_OK;
}

// What a tenth more memory saves of the step's FLOPs, by the points of all strategies; it is what binds when anything is computed again or moved.
static void put_binding(json_t *r) {
  const json_t *all = json_object_get(r, "strategies");
  double limit = cli_at(r, "bytes.limit"), extra = cli_at(r, "plan.extra_share"), least = extra;
  for (size_t i = 0; i < json_array_size(all); i++) {
    const json_t *points = json_object_get(json_array_get(all, i), "points");
    for (size_t k = 0; k < json_array_size(points); k++)
      if (cli_at(json_array_get(points, k), "total_bytes") <= 1.1 * limit) least = fmin(least, cli_at(json_array_get(points, k), "extra_share"));
  }
  bool binds = extra > 0 || cli_at(r, "plan.host_bytes") > 0;
  json_object_set_new(r, "binding", json_string(binds ? "memory" : "none: everything fits"));
  json_object_set_new(r, "shadow",
                      json_pack("{s:s, s:f, s:f}", "interval", "none: counted on the graph", "extra_share_per_gib",
                                (extra - least) / (0.1 * limit / 0x1p30), "extra_share_with_10_percent_more_memory", least));
  json_object_set_new(r, "interval",
                      json_string("none: bytes and FLOPs are counted on the graph; seconds are those of --efficiency, which is given"));
}

static iso_status plan(const cli_args *a, const iso_prices *prices, json_t **out, iso_err *err) {
  (void)prices;
  iso_memory_job j = iso_memory_job_default();
  iso_num class = ISO_NUM_bf16;
  *out = NULL;
  ISO_TRY(read_model(a, &j, err));
  ISO_TRY(cli_batch(a, j.seq, &j.batch, err));
  int64_t c = cli_int(a, "retention-intervals");
  if (c < 0 || c >= ISO_REMAT_INTERVALS)
    return iso_fail(err, ISO_EINVAL, "--retention-intervals: %lld, expected 1 to %d, or 0 for any number", (long long)c, ISO_REMAT_INTERVALS - 1);
  j.effort.intervals = (int)c;
  ISO_TRY(read_bytes(a, &j, &class, err));
  ISO_TRY(read_device(a, &j, class, err));
  ISO_TRY(iso_memory_plan_json(&j, out, err));
  put_binding(*out);
  return ISO_OK;
}

static int run(cli_args *a) { return cli_plan_run(a, plan, print_plan); }

// ---- isoflop why ----------------------------------------------------------------------------------------------------

static const char *bytes(double v, char *buf) { return iso_unit_print(v, ISO_UNIT_BYTE, buf, 40); }

void cli_why_memory(const json_t *p, cli_why *w) {
  char a[40], b[40];
  double limit = cli_at(p, "bytes.limit"), total = cli_at(p, "plan.total_bytes"), extra = cli_at(p, "plan.extra_share");
  cli_why_say(w->bound, "memory: %s of %s are used, %.2f%% of the step's FLOPs are computed again", bytes(total, a), bytes(limit, b), 100 * extra);
  cli_why_say(w->bound, "weights, gradients and optimizer state take %s, the least activations %s",
              bytes(cli_at(p, "bytes.weights") + cli_at(p, "bytes.gradients") + cli_at(p, "bytes.optimizer"), a),
              bytes(cli_at(p, "bytes.least_activations"), b));
  if (isfinite(cli_at(p, "plan.bound_share")))
    cli_why_say(w->bound, "no schedule within the limit computes less than %.2f%% more", 100 * cli_at(p, "plan.bound_share"));
  const json_t *all = cli_json_at(p, "strategies");
  double less = INFINITY, then = NAN;
  for (size_t i = 0; i < json_array_size(all); i++) {
    const json_t *points = cli_json_at(json_array_get(all, i), "points");
    double best = INFINITY;
    for (size_t k = 0; k < json_array_size(points); k++) {
      double bytes_of = cli_at(json_array_get(points, k), "total_bytes"), share = cli_at(json_array_get(points, k), "extra_share");
      if (bytes_of <= limit) best = fmin(best, share);
      if (bytes_of > limit && share < extra && bytes_of < less) {
        less = bytes_of;
        then = share;
      }
    }
    const char *name = cli_text_at(json_array_get(all, i), "strategy");
    if (isfinite(best))
      cli_why_lost(w, (1 + best) / (1 + extra), "FLOPs of a step by '%s', within the same limit", name);
    else
      cli_why_say(w->bound, "'%s' does not come below the limit", name);
  }
  if (isfinite(less)) cli_why_say(w->change, "%s more: %.2f%% are computed again", bytes(less - limit, a), 100 * then);
  cli_why_say(w->sources, "bytes and FLOPs: counted on the training graph, values in it %.0f", cli_at(p, "values"));
}

const cli_verb cli_verb_plan_memory = {
    .name = "plan memory",
    .summary = "Train a model within a device's memory: what to keep, recompute, offload or shard.",
    .examples = EXAMPLES,
    .usage = "--model MODEL --batch SIZE [--seq TOKENS] --limit BYTES [--device DEVICE [--host-memory BYTES]] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "Peaks are of the values that are there at once in isoflop's own training graph (attention and head keep no score or logit matrices), plus\n"
        "weights, gradients, optimizer state and inputs; kernels' scratch comes on top. The bound holds for every schedule that recomputes on the\n"
        "device. Seconds are rooflines at --efficiency of the device's rates; the host's own time for updates is not counted.\n" CLI_PLAN_NOTE_EXIT,
    .stops_at_once = true,
    .run = run};
