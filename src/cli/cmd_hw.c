// isoflop hw: devices to plan for, from data sheets, calibrations and measured tables.
#include <math.h>
#include <string.h>

#include "cli/hw.h"
#include "cli/work.h"

static const char *const EXAMPLES[] = {"isoflop hw list",
                                       "isoflop hw show h100",
                                       "isoflop hw add mybox --from-calibration",
                                       "isoflop hw fit h100 --gemm gemm.csv --attention prefill:attn.csv --collectives nccl.csv",
                                       "isoflop hw fit a100 --layouts steps.csv --serving points.csv",
                                       "isoflop hw test h100 --gemm gemm.csv --json",
                                       NULL};
static const cli_opt OPTS[] = {
    {"from-calibration", CLI_FLAG, NULL, NULL, "add: this machine as isoflop calibrate measured it"},
    {"from", CLI_TEXT, "FILE", NULL, "add: a descriptor in JSON, with the keys that hw show --json prints"},
    {"gemm", CLI_LIST, "FILE", NULL, "fit, test: CSV with m, n, k and a time: C(m,n) = A(m,k) B(k,n)"},
    {"attention", CLI_LIST, "FILE", NULL,
     "fit, test: CSV with batch, tokens, heads, kv_heads, head_dim and a time; its name says prefill or decode, or prefill:FILE, decode:FILE"},
    {"collectives", CLI_LIST, "FILE", NULL, "fit, test: CSV with op, gpus, bytes (or elements, of the class's size) and a time"},
    {"allreduce", CLI_LIST, "FILE", NULL, "fit, test: CSV with bytes, a time, and gpus or busbw_gbs"},
    {"layouts", CLI_TEXT, "FILE", NULL,
     "fit, test: CSV of measured training steps: gpus, global_batch, micro_batch, d_model, heads, layers, seq_len, tensor, data, pipeline, "
     "one of iteration_ms, iteration_s, tflops (a device, recomputation with it) and mfu (every pair of attention); optional: vocab, kv_heads, mlp, "
     "head_dim, gated, tied, experts, experts_used, context, expert, chunks, zero, seq_parallel, recompute, schedule, flash, dropout, offload"},
    {"serving", CLI_TEXT, "FILE", NULL,
     "fit, test: CSV of measured serving: backend, model, system, precision, mode (agg, disagg, static: a batch of prompts at once), prompt_tok, "
     "output_tok, batch_size, tp_size, pp_size, "
     "attention_dp_size, moe_tp_size, moe_ep_size, ttft_ms, tpot_ms"},
    {"num", CLI_TEXT, "CLASS", "bf16", "number class that was measured: f64, f32, tf32, bf16, f16, fp8, int8, fp4, int4"},
    {"seed", CLI_INT, "N", "0",
     "fit, test: which random rows calibrate (half of a table, two thirds of runs); the others are predicted (test: not what is saved)"},
    {"above", CLI_TEXT, "SIZE", "256MiB", "test --allreduce: smaller sizes calibrate, the others are predicted"},
    {"saved", CLI_FLAG, NULL, NULL, "test: refuse when hw fit has saved nothing to predict from"},
};

char *hw_rate(double v, const char *unit, char *buf, size_t n) {
  static const struct {
    double at;
    const char *prefix;
  } STEPS[] = {{1e15, "P"}, {1e12, "T"}, {1e9, "G"}, {1e6, "M"}};
  (void)snprintf(buf, n, isfinite(v) ? "%.4g %s" : "-", v, unit);
  for (size_t i = 0; i < ISO_COUNT(STEPS); i++)
    if (v >= STEPS[i].at) {
      (void)snprintf(buf, n, "%.4g %s%s", v / STEPS[i].at, STEPS[i].prefix, unit);
      break;
    }
  return buf;
}

// ---- list -----------------------------------------------------------------------------------------------------------

static const char *const CALS[ISO_DEVICE_CAL_COUNT] = {"layouts", "serving"};

static json_t *cals_json(const iso_device *d) {
  json_t *a = json_array();
  for (int k = 0; k < ISO_DEVICE_CAL_COUNT; k++)
    if (d->cal[k]) (void)json_array_append_new(a, json_string(CALS[k]));
  return a;
}

static json_t *kinds_json(const iso_device *d) {
  json_t *a = json_array();
  for (int k = 0; k < ISO_TABLE_COUNT; k++)
    if (d->table[k]) (void)json_array_append_new(a, json_string(iso_table_name((iso_table_kind)k)));
  return a;
}

static void list_row(const iso_device *d, bool saved, iso_str *out) {
  const iso_device_spec *s = &d->spec;
  char tables[64] = "", bf16[24], price[24] = "-", tdp[16] = "-";
  double peak = isfinite(s->peak_flop_s[ISO_NUM_bf16]) ? s->peak_flop_s[ISO_NUM_bf16] : s->peak_flop_s[ISO_NUM_f16];
  for (int k = 0; k < ISO_TABLE_COUNT; k++)
    if (d->table[k]) {
      size_t n = strlen(tables);
      (void)snprintf(tables + n, sizeof tables - n, "%s%s", n ? " " : "", iso_table_name((iso_table_kind)k));
    }
  if (isfinite(s->usd_h)) (void)snprintf(price, sizeof price, "%.2f", s->usd_h);
  if (isfinite(s->tdp_w)) (void)snprintf(tdp, sizeof tdp, "%.0f", s->tdp_w);
  iso_str_fmt(out, "%-14s %-12.12s %-4s %14s %8.0f %9.0f %6s %7s", s->name, s->vendor, s->kind, hw_rate(peak, "FLOP/s", bf16, sizeof bf16),
              s->mem_b / 1e9, s->mem_b_s / 1e9, tdp, price);
  if (saved) iso_str_fmt(out, "  saved%s%s", tables[0] ? " " : "", tables);
  for (int k = 0; k < ISO_DEVICE_CAL_COUNT; k++)
    if (d->cal[k]) iso_str_fmt(out, " %s", CALS[k]);
  iso_str_add(out, "\n");
}

static json_t *list_json(const iso_device *d, bool saved) {
  json_t *j = iso_device_spec_json(&d->spec);
  if (j) {
    json_object_set_new(j, "saved", json_boolean(saved));
    json_object_set_new(j, "tables", kinds_json(d));
    json_object_set_new(j, "calibrations", cals_json(d));
  }
  return j;
}

// Compiled-in devices with their saved versions, then saved ones of other names. A damaged file is an error that names it.
static iso_status for_all(iso_arena *arena, void (*fn)(void *arg, const iso_device *d, bool saved), void *arg, iso_err *err) {
  const char *const *names;
  int64_t n, known = iso_device_spec_count();
  ISO_TRY(iso_device_saved(arena, &names, &n, err));
  for (int64_t i = 0; i < known + n; i++) {
    iso_device *d;
    iso_device_spec s;
    bool saved = i >= known;
    const char *name;
    if (!saved) {
      s = iso_device_spec_at(i);
      name = s.name;
      for (int64_t k = 0; k < n; k++) saved |= strcmp(names[k], name) == 0;
    } else {
      name = names[i - known];
      if (iso_device_spec_find(name, &s, NULL) == ISO_OK && strcmp(s.name, name) == 0) continue;  // listed above
    }
    ISO_TRY(iso_device_open(name, &d, err));
    fn(arg, d, saved);
    iso_device_close(d);
  }
  return ISO_OK;
}

static void add_row(void *arg, const iso_device *d, bool saved) { list_row(d, saved, arg); }

static void append_one(void *arg, const iso_device *d, bool saved) { (void)json_array_append_new(arg, list_json(d, saved)); }

static iso_status list(const cli_args *a, iso_err *err) {
  iso_arena *arena;
  iso_str text = {0};
  ISO_TRY(iso_arena_open(&arena, err));
  json_t *rows = json_array();
  iso_str_fmt(&text, "%-14s %-12s %-4s %14s %8s %9s %6s %7s  %s\n", "name", "vendor", "kind", "16-bit", "GB", "GB/s", "W", "$/h", "tables");
  iso_status st = a->json ? for_all(arena, append_one, rows, err) : for_all(arena, add_row, &text, err);
  if (st == ISO_OK && a->json)
    (void)cli_put_json(json_pack("{s:O}", "devices", rows));
  else if (st == ISO_OK)
    fputs(text.p ? text.p : "", stdout);
  iso_str_free(&text);
  json_decref(rows);
  iso_arena_close(arena);
  return st;
}

// ---- show -----------------------------------------------------------------------------------------------------------

static void show_link(const char *what, const iso_device_link *l) {
  char rate[40], lat[40] = "";
  if (!l->name[0]) return;
  if (isfinite(l->latency_s)) (void)snprintf(lat, sizeof lat, ", %.3g us a step", l->latency_s * 1e6);
  cli_row(what, "%s: %s per device and direction%s", l->name, hw_rate(l->b_s, "B/s", rate, sizeof rate), lat);
  if (l->devices) cli_row("", "joins %lld devices", (long long)l->devices);
}

static void show_text(const iso_device *d) {
  const iso_device_spec *s = &d->spec;
  char b[3][40];
  cli_row("device", "%s (%s %s)%s%s", s->name, s->vendor, s->kind, s->aliases[0] ? ", also " : "", s->aliases);
  cli_row("source", "%s, %s", s->source, s->date);
  if (s->note[0]) cli_row("note", "%s", s->note);
  cli_row("figures", "peaks without sparsity, of matrix units where there are any; powers of ten (GB, TB/s, TFLOP/s)");
  for (int i = 0; i < ISO_NUM_COUNT; i++)
    if (isfinite(s->peak_flop_s[i]))
      cli_row(iso_num_name((iso_num)i), "%s", hw_rate(s->peak_flop_s[i], i >= ISO_NUM_int8 && i != ISO_NUM_fp4 ? "OP/s" : "FLOP/s", b[0], 40));
  if (s->units) cli_row("units", "%lld", (long long)s->units);
  cli_row("memory", "%s at %s", hw_rate(s->mem_b, "B", b[0], 40), hw_rate(s->mem_b_s, "B/s", b[1], 40));
  if (isfinite(s->cache_b)) cli_row("shared cache", "%s", iso_unit_print(s->cache_b, ISO_UNIT_BYTE, b[0], 40));
  show_link("inside a host", &s->intra);
  show_link("between hosts", &s->inter);
  show_link("to the host", &s->host);
  if (isfinite(s->tdp_w)) cli_row("design power", "%.4g W", s->tdp_w);
  if (isfinite(s->prefill_w))
    cli_row("power by phase", "idle %.4g W, prefill and training %.4g W, decode %.4g W: %s", s->idle_w, s->prefill_w, s->decode_w, s->power_source);
  if (isfinite(s->host_mem_b))
    cli_row("share of the host", "%s at %s, %.4g W: %s", hw_rate(s->host_mem_b, "B", b[0], 40), hw_rate(s->host_mem_b_s, "B/s", b[1], 40), s->host_w,
            s->host_source);
  if (isfinite(s->usd_h)) cli_row("price", "$%.4g an hour: %s, %s", s->usd_h, s->price_source, s->price_date);
  for (int k = 0; k < ISO_TABLE_COUNT; k++) {
    const iso_device_table *t = d->table[k];
    if (!t) continue;
    cli_row(iso_table_name((iso_table_kind)k), "%lld rows of %s, fitted %s", (long long)t->rows.n, t->source, t->date);
    cli_row("", "a row from the others: median error %.1f%%, 90%% within %.1f%%", 100 * t->median_err, 100 * t->p90_err);
  }
  iso_device_estimates e;
  (void)iso_device_spec_complete(s, &e);
  for (int i = 0; i < e.n; i++) cli_row(i ? "" : "planners take", "%s = %.4g, model: %s", e.at[i].key, e.at[i].value, e.at[i].rule);
}

static iso_status show(const cli_args *a, iso_err *err) {
  iso_device *d;
  iso_status st = ISO_OK;
  ISO_TRY(iso_device_open(a->pos[1], &d, err));
  if (a->json) {
    iso_device_estimates e;
    json_t *j = iso_device_json(d);
    (void)iso_device_spec_complete(&d->spec, &e);
    if (j) (void)json_object_set_new(j, "estimates", iso_device_estimates_json(&e));
    (void)cli_put_json(j);
  } else {
    show_text(d);
    st = cli_input(hw_show_cals(d, err), err);
  }
  iso_device_close(d);
  return st;
}

// ---- add ------------------------------------------------------------------------------------------------------------

static iso_status calibrated(const cli_args *a, iso_device **out, iso_err *err) {
  iso_hw here, known;
  iso_device_spec s;
  ISO_TRY(iso_hw_detect(iso_pool_threads(a->ctx->pool), &here, err));
  ISO_TRY(iso_hw_load(here.id, &known, err));
  ISO_TRY(iso_device_spec_from_hw(&known, a->pos[1], &s, err));
  return iso_device_new(&s, out, err);
}

static iso_status described(const cli_args *a, iso_device **out, iso_err *err) {
  json_t *j;
  ISO_TRY(iso_json_load(cli_text(a, "from"), &j, err));
  if (json_is_object(j)) (void)json_object_set_new(j, "name", json_string(a->pos[1]));
  iso_status st = iso_device_from_json(j, cli_text(a, "from"), out, err);
  json_decref(j);
  return st;
}

static iso_status add(const cli_args *a, iso_err *err) {
  iso_device *d = NULL;
  iso_device_spec s;
  char path[4200];
  if (iso_device_spec_find(a->pos[1], &s, NULL) == ISO_OK && strcmp(s.name, a->pos[1]) != 0)
    return iso_fail(err, ISO_EINVAL, "\"%s\" is another name of %s: take that one to replace it, or a new one", a->pos[1], s.name);
  iso_status st = iso_device_path(a->pos[1], path, sizeof path, err);
  if (st == ISO_OK) st = cli_flag(a, "from-calibration") ? calibrated(a, &d, err) : described(a, &d, err);
  if (st == ISO_OK) st = iso_device_save(a->ctx, d, err);
  if (st == ISO_OK) {
    if (a->json)
      (void)cli_put_json(json_pack("{s:s, s:s}", "name", d->spec.name, "path", path));
    else {
      show_text(d);
      cli_row("saved", "%s", path);
    }
  }
  iso_device_close(d);
  return st;
}

static int run(cli_args *a) {
  static const char *const ACTIONS[] = {"list", "show", "add", "fit", "test"};
  enum { LIST, SHOW, ADD, FIT, TEST };
  iso_err err = {0};
  iso_status st = ISO_OK;
  int what = cli_action(a, ACTIONS, (int)ISO_COUNT(ACTIONS));
  bool tables = cli_given(a, "gemm") || cli_given(a, "attention") || cli_given(a, "collectives") || cli_given(a, "allreduce");
  bool runs = cli_given(a, "layouts") || cli_given(a, "serving");
  bool origin = cli_given(a, "from") || cli_given(a, "from-calibration");
  if (what < 0) return EXIT_USAGE;
  if (what == LIST && a->n_pos > 1) return cli_usage(a, "hw list takes no name; hw show %s describes one", a->pos[1]);
  if (what != LIST && a->n_pos < 2) return cli_usage(a, "hw %s needs a device, as in hw %s h100", ACTIONS[what], ACTIONS[what]);
  if ((tables || runs) && what != FIT && what != TEST) return cli_usage(a, "tables and runs are for hw fit and hw test");
  if (!tables && !runs && (what == FIT || what == TEST))
    return cli_usage(a, "hw %s needs --gemm, --attention, --collectives, --allreduce, --layouts or --serving", ACTIONS[what]);
  if (what == TEST && runs && (tables || (cli_given(a, "layouts") && cli_given(a, "serving"))))
    return cli_usage(a, "hw test takes one of tables, --layouts and --serving at a time");
  if (origin && what != ADD) return cli_usage(a, "--from and --from-calibration are for hw add");
  if (what == ADD && cli_given(a, "from") == cli_given(a, "from-calibration"))
    return cli_usage(a, "hw add needs one of --from-calibration and --from FILE");
  switch (what) {
    case LIST: st = list(a, &err); break;
    case SHOW: st = show(a, &err); break;
    case ADD: st = add(a, &err); break;
    case FIT: st = hw_fit(a, &err); break;
    default: st = runs ? hw_test_runs(a, &err) : hw_test(a, &err); break;
  }
  return st == ISO_OK ? EXIT_DONE : cli_fail(a, st, &err);
}

const cli_verb cli_verb_hw = {
    .name = "hw",
    .summary = "Devices to plan for: data sheets, this machine, and operator times predicted from measured tables.",
    .examples = EXAMPLES,
    .usage = "list | show NAME | add NAME --from-calibration | fit NAME --gemm FILE... | fit NAME --layouts FILE | test NAME --gemm FILE...",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .min_args = 1,
    .max_args = 2,
    .notes =
        "NAME is a device of hw list, one of its other names, or a JSON file (show, test). fit replaces what is given and saves\n"
        "hw/NAME.device.json in isoflop's home, which from then on stands for that device. Times are columns time_s, time_ms, time_us or time_ns.\n"
        "A predicted time is the roofline (FLOPs over the peak, bytes over the bandwidth, launch, tiles and waves) times an efficiency that is\n"
        "interpolated among the measured rows; it is tagged measured inside the table and model beyond it. Errors are |predicted / measured - 1|.\n"
        "--layouts and --serving calibrate the planners of training layouts and of serving on whole runs; plan layout, serve and infer then use the\n"
        "device's own calibration. Their errors are those of rows left out: random thirds, and each model size or model in turn. hw test predicts\n"
        "every row from what hw fit has saved; without that, or with --seed or --above, it calibrates on a part of the rows (half of a table, two\n"
        "thirds of runs in 20 random splits) and predicts the others. Fewer than 18 measured steps calibrate two numbers, of arithmetic and of\n"
        "communication, and each is predicted from the others; what they leave open stays near what published stacks show.",
    .stops_at_once = true,
    .run = run};
