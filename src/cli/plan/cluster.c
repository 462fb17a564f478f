// isoflop plan cluster: training jobs that share a cluster, played under several schedulers.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan/args.h"
#include "plan/cluster/cluster.h"

static const char *const EXAMPLES[] = {"isoflop plan cluster jobs.csv --cluster 1024xa100-80",
                                       "isoflop plan cluster jobs.csv --cluster 256xh100 --scheduler edf,elastic --restart 5m --json", NULL};
static const cli_opt OPTS[] = {
    CLI_CLUSTER_OPTS,
    {"scheduler", CLI_TEXT, "NAME,...", "all", "fifo, sjf, edf, elastic, elastic-data, or all"},
    {"restart", CLI_TEXT, "TIME", "60s", "time without progress when a running job's devices change (checkpoint, launch, load)"},
    {"backfill", CLI_FLAG, NULL, NULL, "fifo, sjf, edf: a job that fits may start before one that waits for more devices"},
    {"drop", CLI_FLAG, NULL, NULL, "elastic: a job whose deadline cannot be promised does not run (default: it runs without a promise)"},
    {"pow2", CLI_FLAG, NULL, NULL, "jobs hold powers of two of nodes only (default: any number of nodes, up to 256)"},
    {"no-flash", CLI_FLAG, NULL, NULL, "attention keeps its scores in memory"},
    CLI_PLAN_OPTS,
};

// ---- tables ---------------------------------------------------------------------------------------------------------

enum { ROWS_SHOWN = 40 };

static const char *show_s(double v, char *buf) { return fabs(v) < 1e-6 ? "0 s" : iso_unit_print(fabs(v), ISO_UNIT_S, buf, 40); }

static void print_schedulers(const json_t *r) {
  const char *name;
  const json_t *o;
  char a[40], b[40], c[40], d[40];
  printf("\n%-13s %12s %12s %10s %6s %12s %12s %10s %8s\n", "scheduler", "makespan", "mean end", "deadlines", "in use", "device-hours", "price",
         "energy", "restarts");
  json_object_foreach(json_object_get(r, "schedulers"), name, o) {
    char met[40] = "-";
    if (cli_at(o, "with_deadline") > 0) (void)snprintf(met, sizeof met, "%.0f of %.0f", cli_at(o, "deadlines_met"), cli_at(o, "with_deadline"));
    printf("%-13s %12s %12s %10s %5.1f%% %12.4g %12s %10s %8.0f\n", name, iso_unit_print(cli_at(o, "makespan_s"), ISO_UNIT_S, a, sizeof a),
           iso_unit_print(cli_at(o, "mean_completion_s"), ISO_UNIT_S, b, sizeof b), met, 100 * cli_at(o, "utilisation"), cli_at(o, "device_h"),
           iso_unit_print(cli_at(o, "usd"), ISO_UNIT_USD, c, sizeof c), iso_unit_print(cli_at(o, "energy_j"), ISO_UNIT_JOULE, d, sizeof d),
           cli_at(o, "restarts"));
    if (cli_at(o, "finished") < (double)json_array_size(json_object_get(r, "jobs")))
      printf("%-13s %.0f jobs were dropped\n", "", (double)json_array_size(json_object_get(r, "jobs")) - cli_at(o, "finished"));
  }
}

static void print_timeline(const json_t *r) {
  const json_t *all = json_object_get(cli_json_at(cli_json_at(r, "schedulers"), cli_text_at(r, "chosen")), "timeline");
  char a[40], b[40], c[40];
  printf("\ntimeline of %s\n%12s %12s %8s %10s  %s\n", cli_text_at(r, "chosen"), "from", "to", "devices", "restart", "job");
  for (size_t i = 0; i < json_array_size(all) && i < ROWS_SHOWN; i++) {
    const json_t *g = json_array_get(all, i);
    printf("%12s %12s %8.0f %10s  %s\n", show_s(cli_at(g, "from_s"), a), iso_unit_print(cli_at(g, "to_s"), ISO_UNIT_S, b, sizeof b),
           cli_at(g, "devices"), cli_at(g, "restart_s") > 0 ? iso_unit_print(cli_at(g, "restart_s"), ISO_UNIT_S, c, sizeof c) : "-",
           cli_text_at(g, "job"));
  }
  if (json_array_size(all) > ROWS_SHOWN) printf("  the first %d of %zu; --json has all\n", ROWS_SHOWN, json_array_size(all));
}

static void print_plan(const json_t *r) {
  const char *what;
  const json_t *v;
  char b[40], c[40];
  cli_row("cluster", "%.0f x %s", cli_at(r, "devices"), cli_text_at(r, "machine.name"));
  cli_row("jobs", "%zu in %zu shapes; a restart takes %s", json_array_size(json_object_get(r, "jobs")), json_array_size(json_object_get(r, "curves")),
          iso_unit_print(cli_at(r, "restart_s"), ISO_UNIT_S, b, sizeof b));
  print_schedulers(r);
  printf("\n");
  json_object_foreach(json_object_get(r, "best"), what, v) {
    char name[60];
    (void)snprintf(name, sizeof name, "best %s", what);
    for (char *s = name; *s; s++) *s = *s == '_' ? ' ' : *s;
    cli_row(name, "%s", json_string_value(v));
  }
  const json_t *chosen = cli_json_at(cli_json_at(r, "schedulers"), cli_text_at(r, "chosen"));
  cli_row_range("makespan", chosen, "makespan_s", ISO_UNIT_S);
  cli_row_range("mean end", chosen, "mean_completion_s", ISO_UNIT_S);
  if (cli_at(chosen, "with_deadline") > 0) cli_row_range("deadlines", chosen, "deadlines_met", ISO_UNIT_COUNT);
  cli_row_range("price", chosen, "usd", ISO_UNIT_USD);
  cli_row("intervals", "%s", cli_text_at(r, "intervals"));
  print_timeline(r);
  printf("\n");
  cli_row("bound from below", "%s by %s; %s takes %.1f%% longer", iso_unit_print(cli_at(r, "bound.makespan_s"), ISO_UNIT_S, b, sizeof b),
          cli_text_at(r, "bound.by"), cli_text_at(r, "chosen"), 100 * cli_at(r, "bound.gap"));
  cli_row("binding", "%s", cli_text_at(r, "binding"));
  double end = cli_at(r, "shadow.makespan_s_saved"), mean = cli_at(r, "shadow.mean_completion_s_saved");
  cli_row("shadow price", "%.0f devices more: makespan %s%s, mean end %s%s, %+.0f deadlines (%s)", cli_at(r, "shadow.devices_more"),
          end < 0 ? "+" : "-", show_s(end, b), mean < 0 ? "+" : "-", show_s(mean, c), cli_at(r, "shadow.deadlines_met_more"),
          cli_text_at(r, "chosen"));
  cli_row("times from", "%s", cli_text_at(r, "calibration.source"));
  cli_row("device from", "%s (%s)", cli_text_at(r, "device.source"), cli_text_at(r, "device.date"));
  if (!isnan(cli_at(r, "machine.usd_per_hour")))
    cli_row("price from", "%s; %s a device-hour", cli_text_at(r, "price_source"),
            iso_unit_print(cli_at(r, "machine.usd_per_hour"), ISO_UNIT_USD, b, sizeof b));
}

// ---- the plan -------------------------------------------------------------------------------------------------------

static iso_status schedulers(const char *text, unsigned *mask, iso_err *err) {
  *mask = 0;
  for (const char *s = text;; s++) {
    char part[40];
    size_t n = strcspn(s, ",");
    iso_cluster_sched which;
    (void)snprintf(part, sizeof part, "%.*s", (int)(n < sizeof part ? n : sizeof part - 1), s);
    if (strcmp(part, "all") == 0) {
      *mask |= (1U << ISO_CLUSTER_SCHEDS) - 1;
    } else if (iso_cluster_sched_find(part, &which)) {
      *mask |= 1U << which;
    } else {
      iso_fail(err, ISO_EINVAL, "--scheduler: no scheduler \"%s\"", part);
      return iso_hint(err, ISO_EINVAL, "fifo, sjf, edf, elastic, elastic-data or all, with commas between them");
    }
    s += n;
    if (!*s) return ISO_OK;
  }
}

// A job's shape and numbers for the layout planner; what is wrong names the line.
static iso_status layout_job(const cli_args *a, const cli_cluster *c, const char *path, const iso_cluster_job *j, iso_layout_job *out, iso_err *err) {
  *out = iso_layout_job_default();
  iso_status st = cli_input(cli_model_in_file(j->model, j->seq, &out->shape, err), err);
  if (st != ISO_OK) return iso_err_prefix(err, st, "%s, line %lld, job %s", path, (long long)j->line, j->name);
  out->batch = j->batch;
  out->flash = !cli_flag(a, "no-flash");
  out->dropout = false;
  iso_layout_job_use(out, c->device);
  return ISO_OK;
}

// The counts that this job may hold.
static int allowed(const iso_cluster_job *j, int64_t devices, const int64_t *counts, int n, int64_t *out) {
  int k = 0;
  int64_t most = j->max_devices && j->max_devices < devices ? j->max_devices : devices;
  for (int i = 0; i < n; i++)
    if (counts[i] >= j->min_devices && counts[i] <= most) out[k++] = counts[i];
  return k;
}

// Within its limits and this cluster a job needs one count at least; the search says in bytes what is missing.
static iso_status check_fit(const cli_cluster *c, const char *path, const iso_cluster_job *j, const iso_layout_job *l, const int64_t *counts, int n,
                            iso_cluster_curve *scratch, iso_err *err) {
  int64_t own[ISO_CLUSTER_COUNTS_MAX];
  if (iso_cluster_request(j, j->curve[ISO_CLUSTER_BEST], c->devices) >= 0) return ISO_OK;
  int k = allowed(j, c->devices, counts, n, own);
  if (!k) {
    iso_fail(err, ISO_EFORMAT, "%s, line %lld: %s may hold %lld to %lld devices, no count of this cluster of %lld is among them", path,
             (long long)j->line, j->name, (long long)j->min_devices, (long long)j->max_devices, (long long)c->devices);
    return iso_hint(err, ISO_EFORMAT, "counts are powers of two inside a node and whole nodes of %lld above", (long long)c->machine.per_node);
  }
  iso_status st = iso_cluster_curve_best(l, &c->machine, &c->cal, own, k, scratch, err);
  if (st == ISO_OK) {
    st = ISO_EFORMAT;
    iso_fail(err, st, "%lld devices of those allowed are no faster than fewer, which min_devices forbids", (long long)own[0]);
  }
  return iso_err_prefix(err, cli_input(st, err), "%s, line %lld: %s, on %lld to %lld devices", path, (long long)j->line, j->name, (long long)own[0],
                        (long long)own[k - 1]);
}

// Curves of jobs, one for each distinct shape; curve[2 i] and curve[2 i + 1] belong to the i-th.
static iso_status add_curves(const cli_args *a, const cli_cluster *c, const char *path, iso_cluster_jobs *jobs, iso_cluster_curve *curve,
                             iso_err *err) {
  int64_t counts[ISO_CLUSTER_COUNTS_MAX + 1], node = c->machine.per_node;
  int n = iso_cluster_counts(&c->machine, c->devices, cli_flag(a, "pow2"), counts);
  if (n < ISO_CLUSTER_COUNTS_MAX && (c->devices + node) / node * node > counts[n - 1]) counts[n++] = (c->devices + node) / node * node;
  for (int i = 0, shapes = 0; i < jobs->n; i++) {
    iso_cluster_job *j = &jobs->at[i];
    iso_layout_job l;
    ISO_TRY(layout_job(a, c, path, j, &l, err));
    for (int k = 0; k < i && !j->curve[0]; k++) {
      const iso_cluster_job *o = &jobs->at[k];
      if (strcmp(o->model, j->model) == 0 && o->batch == j->batch && o->seq == j->seq) memcpy(j->curve, o->curve, sizeof j->curve);
    }
    if (!j->curve[0]) {
      iso_cluster_curve *best = &curve[ISO_CLUSTER_CURVES * shapes], *data = best + 1;
      // Without any count the curve is empty, and check_fit says why.
      if (iso_cluster_curve_best(&l, &c->machine, &c->cal, counts, n, best, err) == ISO_OK)
        ISO_TRY(iso_cluster_curve_data(&l, &c->machine, &c->cal, counts, n, best, data, err));
      j->curve[ISO_CLUSTER_BEST] = best;
      j->curve[ISO_CLUSTER_DATA] = data;
      shapes++;
    }
    iso_cluster_curve *scratch = &curve[ISO_CLUSTER_CURVES * jobs->n];
    ISO_TRY(check_fit(c, path, j, &l, counts, n, scratch, err));
  }
  return ISO_OK;
}

// ---- intervals ------------------------------------------------------------------------------------------------------

// 90% of the calibration's residuals, on both sides.
#define Z90 1.6448536269514722
static void scale(iso_cluster_curve *curve, int n, double by) {
  for (int i = 0; i < n; i++)
    for (int k = 0; k < curve[i].n; k++) {
      curve[i].at[k].step_s *= by;
      curve[i].at[k].joule *= by;
    }
}

// What jobs ask for was asked by the curves as predicted, and stays so when steps turn out otherwise. `before` keeps the file's own numbers.
static void hold_requests(const iso_cluster_jobs *jobs, int64_t devices, int64_t *before) {
  for (int i = 0; i < jobs->n; i++) {
    iso_cluster_job *j = &jobs->at[i];
    const iso_cluster_curve *best = j->curve[ISO_CLUSTER_BEST];
    int k = iso_cluster_request(j, best, devices);
    before[i] = j->devices;
    if (!j->devices && k >= 0) j->devices = best->at[k].devices;
  }
}

// Every schedule played again with all steps as fast and as slow as the calibration's residuals leave possible. All at once: what a
// calibration misses it misses for every job alike, so that this is the wide side.
static iso_status play_ends(const cli_cluster *c, const iso_cluster_jobs *jobs, const iso_cluster_opts *o, unsigned mask, iso_cluster_curve *curve,
                            json_t *result, iso_err *err) {
  static const char *const KEYS[] = {"makespan_s",  "mean_completion_s", "deadlines_met",           "deadline_ratio",
                                     "utilisation", "device_h",          "restart_device_h",        "usd",
                                     "energy_j",    "cluster_usd",       "cluster_energy_j",        "start_s",
                                     "end_s",       "completion_s",      "request_run_s",           "step_s",
                                     "tok_per_s",   "makespan_s_saved",  "mean_completion_s_saved", "deadlines_met_more",
                                     NULL};
  const char *chosen = cli_text_at(result, "chosen");
  double z = Z90 * c->cal.resid_sd;
  json_t *end[2] = {NULL, NULL};
  iso_status st = ISO_OK;
  json_object_set_new(
      result, "intervals",
      json_string(isfinite(z) ? "90% of the calibration's residuals, the same for every job" : "none: the calibration tells no residuals"));
  for (int k = 0; k < 2 && st == ISO_OK && isfinite(z); k++) {
    scale(curve, jobs->n * ISO_CLUSTER_CURVES, exp((2 * k - 1) * z));
    st = iso_cluster_plan_json(jobs, o, mask, c->machine.per_node, &end[k], err);
    scale(curve, jobs->n * ISO_CLUSTER_CURVES, exp((1 - 2 * k) * z));
  }
  if (st == ISO_OK) {
    iso_json_join(result, end[0], end[1], KEYS, "the calibration tells no residuals, or a job is dropped at one of their ends");
    // Another scheduler may be the one chosen at an end.
    json_object_set(result, "shadow", json_object_get(json_object_get(json_object_get(result, "schedulers"), chosen), "shadow"));
  }
  json_decref(end[0]);
  json_decref(end[1]);
  return st;
}

static iso_status add_intervals(const cli_cluster *c, const iso_cluster_jobs *jobs, const iso_cluster_opts *o, unsigned mask,
                                iso_cluster_curve *curve, json_t *result, iso_err *err) {
  int64_t *before = calloc((size_t)jobs->n + 1, sizeof *before);
  if (!before) return iso_fail(err, ISO_ENOMEM, "plan cluster: no memory for %d jobs", jobs->n);
  hold_requests(jobs, o->devices, before);
  iso_status st = play_ends(c, jobs, o, mask, curve, result, err);
  for (int i = 0; i < jobs->n; i++) jobs->at[i].devices = before[i];
  free(before);
  return st;
}

static void add_carbon(json_t *result, const iso_prices *p) {
  const char *name;
  json_t *o;
  json_object_foreach(json_object_get(result, "schedulers"), name, o) {
    double g = p->g_per_kwh / 3.6e6;
    const json_t *e = json_object_get(o, "energy_j");
    json_object_set_new(o, "co2_g", iso_json_range(cli_at(o, "energy_j") * g, cli_at(e, "lo") * g, cli_at(e, "hi") * g, "the energy has none"));
  }
  json_object_set_new(result, "prices", iso_prices_json(p));
}

static iso_status plan_with(const cli_args *a, const cli_cluster *c, iso_cluster_jobs *jobs, json_t **out, iso_err *err) {
  double restart;
  unsigned mask;
  iso_cluster_opts o = {.devices = c->devices,
                        .backfill = cli_flag(a, "backfill"),
                        .drop = cli_flag(a, "drop"),
                        .idle_w = c->machine.idle_w,
                        .pue = c->machine.pue,
                        .usd_h = c->machine.usd_h};
  ISO_TRY(schedulers(cli_text(a, "scheduler"), &mask, err));
  iso_status st = iso_unit_parse(cli_text(a, "restart"), ISO_UNIT_S, &restart, err);
  if (st != ISO_OK) return iso_err_prefix(err, st, "--restart");
  o.restart_s = restart;
  iso_cluster_curve *curve = calloc((size_t)jobs->n * ISO_CLUSTER_CURVES + 1, sizeof *curve);
  if (!curve) return iso_fail(err, ISO_ENOMEM, "plan cluster: no memory for the curves of %d jobs", jobs->n);
  st = add_curves(a, c, a->pos[0], jobs, curve, err);
  if (st == ISO_OK) st = iso_cluster_plan_json(jobs, &o, mask, c->machine.per_node, out, err);
  if (st == ISO_OK) st = add_intervals(c, jobs, &o, mask, curve, *out, err);
  free(curve);
  return st;
}

static iso_status plan(const cli_args *a, const iso_prices *prices, json_t **out, iso_err *err) {
  cli_cluster c = {0};
  iso_cluster_jobs jobs = {0};
  ISO_TRY(iso_cluster_jobs_load(a->pos[0], &jobs, err));
  iso_status st = cli_cluster_open(a, prices, &c, err);
  if (st == ISO_OK) st = plan_with(a, &c, &jobs, out, err);
  if (st == ISO_OK) {
    json_object_set_new(*out, "kind", json_string("cluster"));
    json_object_set_new(*out, "machine",
                        json_pack("{s:s, s:o, s:o, s:f}", "name", c.machine.name, "usd_per_hour", iso_json_num(c.machine.usd_h), "idle_w",
                                  iso_json_num(c.machine.idle_w), "pue", c.machine.pue));
    json_object_set_new(*out, "calibration", iso_layout_cal_json(&c.cal));
    json_object_set_new(*out, "device", iso_device_spec_json(&c.device->spec));
    json_object_set_new(*out, "price_source", json_string(cli_given(a, "usd-h") ? "--usd-h" : c.device->spec.price_source));
    add_carbon(*out, prices);
  }
  cli_cluster_close(&c);
  iso_cluster_jobs_close(&jobs);
  return st;
}

static int run(cli_args *a) { return cli_plan_run(a, plan, print_plan); }

const cli_verb cli_verb_plan_cluster = {
    .name = "plan cluster",
    .summary = "Training jobs that share a cluster: makespan, deadlines, dollars and joules under several schedulers.",
    .examples = EXAMPLES,
    .usage = "JOBS.csv --cluster NxDEVICE [--scheduler NAME,...] [--restart TIME] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .min_args = 1,
    .max_args = 1,
    .notes =
        "Columns: name, model, batch (sequences), seq, tokens or steps, arrival_s or arrival_h; optional deadline_s or deadline_h (on the clock\n"
        "of arrivals), devices (what it asks for), min_devices, max_devices, priority (higher goes first). A job's throughput on each number of\n"
        "devices is that of its fastest layout there (isoflop plan layout). fifo, sjf and edf start each job on what it asks for: its devices\n"
        "column, else the fewest that meet its deadline. elastic promises deadlines on arrival and keeps them, and moves devices to where they\n"
        "add most; elastic-data is the same with only the data-parallel degree scaled. What one run should train for so many dollars or days\n"
        "is a question for isoflop plan train.\n" CLI_PLAN_NOTE_EXIT,
    .stops_at_once = true,
    .run = run};
