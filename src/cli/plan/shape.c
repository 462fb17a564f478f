// isoflop plan shape: shapes of equal parameters and of equal FLOPs, ranked by step time, by a fitted shape law, or by measurement.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "cli/plan/args.h"
#include "cli/why.h"
#include "plan/shape_fit.h"
#include "plan/shape_rank.h"

static const char *const EXAMPLES[] = {"isoflop plan shape --params 1B --cluster 8xa100-80",
                                       "isoflop plan shape --flop 1e20 --data sweep.csv --params 400M",
                                       "isoflop plan shape --rank downstream --data runs.csv --json", NULL};
static const cli_opt OPTS[] = {
    {"params", CLI_TEXT, "N", NULL, "size: the usual family's shape and those of as many parameters, and of as many FLOPs a token"},
    {"model", CLI_TEXT, "MODEL", NULL, "or those like this model: a name, layers,width,heads/kv_heads,mlp,vocab, or a config.json"},
    {"flop", CLI_TEXT, "C", NULL, "training compute: where the shape law is asked; alone, the size that law chinchilla gives it"},
    {"data", CLI_TEXT, "FILE", NULL, "runs: dimension,value,train_flop,error for the law; params,flops,loss,score[,speed,name] for --rank"},
    {"rank", CLI_TEXT, "QUALITY", NULL, "upstream (loss) or downstream (score): rank the runs of --data as they were measured"},
    {"within", CLI_REAL, "SHARE", NULL, "sizes this close count as equal (default: 0.05, with --rank 0.1)"},
    {"aspect", CLI_TEXT, "LO,HI", "33,715",
     "list shapes of width / layers from LO to HI; at 33 and 715 losses are within 3% (arXiv:2001.08361, section 3.1)"},
    {"vocab", CLI_INT, "N", "32000", "entries of the vocabulary, for --params"},
    {"seq", CLI_INT, "N", "2048", "tokens a sequence"},
    {"batch", CLI_TEXT, "SIZE", "256", "sequences of a step on --cluster, or tokens as in 1Mtok"},
    {"top", CLI_INT, "N", "12", "rows of each table"},
    {"level", CLI_REAL, "P", "0.9", "of intervals"},
    {"bootstrap", CLI_INT, "N", "300", "resamples for intervals"},
    {"starts", CLI_INT, "N", "200", "starts of the fit"},
    {"seed", CLI_INT, "N", "0", "of resampling"},
    {"max-reach", CLI_REAL, "R", "20", "refuse the law's optimum further outside the runs than this ratio"},
    CLI_CLUSTER_OPTS,
    CLI_PLAN_OPTS,
};

enum { TOP_MAX = 1000 };
typedef struct request {
  double flop, within, aspect_lo, aspect_hi, level;
  const char *data, *rank;
  bool sized;  // there is a shape to compare with
  iso_layout_shape like;
  const char *size_rule;
  bool on_cluster;
  cli_cluster cluster;
  int64_t batch, top;
} request;

// ---- the request ----------------------------------------------------------------------------------------------------

static iso_status read_size(const cli_args *a, request *r, iso_err *err) {
  const char *model = cli_text(a, "model");
  int64_t seq = cli_seq(a), vocab = cli_int(a, "vocab");
  double params;
  ISO_TRY(cli_quantity(a, "params", ISO_UNIT_COUNT, &params, err));
  if (seq < 1 || vocab < 2) return iso_fail(err, ISO_EINVAL, "--vocab and --seq must be positive");
  if (model && !isnan(params)) return iso_fail(err, ISO_EINVAL, "--model and --params exclude each other");
  if (model && cli_given(a, "vocab")) return iso_fail(err, ISO_EINVAL, "--vocab goes with --params: a model has its own");
  r->sized = model || !isnan(params) || (!isnan(r->flop) && !r->data);
  if (!r->sized) return ISO_OK;
  r->size_rule = model ? "--model" : "--params";
  if (model) return cli_model_layout(model, seq, &r->like, err);
  if (isnan(params)) {
    iso_law_point p;
    r->size_rule = "optimum of law chinchilla, besiroglu2024";
    const iso_law_const *set;
    ISO_TRY(iso_law_find_const(&iso_law_chinchilla, "besiroglu2024", &set, err));
    ISO_TRY(iso_law_chinchilla.optimum(set->p, r->flop, &p, err));
    params = p.params;
  }
  return iso_layout_shape_family(params, vocab, seq, &r->like, err);
}

static iso_status check_modes(const cli_args *a, request *r, iso_err *err) {
  if (r->rank && strcmp(r->rank, "upstream") != 0 && strcmp(r->rank, "downstream") != 0)
    return iso_fail(err, ISO_EINVAL, "--rank %.40s: expected upstream or downstream", r->rank);
  if (r->rank && !r->data) {
    iso_fail(err, ISO_EINVAL, "--rank needs --data: a ranking is measured, no law gives it");
    return iso_hint(err, ISO_EINVAL, "a CSV file with params, flops, loss and score of each run");
  }
  static const char *const OTHER[] = {"params", "model", "flop", "cluster", "vocab", "seq", "batch", "aspect", "starts", "max-reach"};
  for (size_t i = 0; i < ISO_COUNT(OTHER) && r->rank; i++)
    if (cli_given(a, OTHER[i])) return iso_fail(err, ISO_EINVAL, "--rank and --%s exclude each other: the runs are ranked as they are", OTHER[i]);
  if (r->data && !r->rank && isnan(r->flop)) {
    iso_fail(err, ISO_EINVAL, "--data needs --flop, the training compute to ask the law at, or --rank");
    return iso_hint(err, ISO_EINVAL, "as in --flop 1e21");
  }
  if (!r->data && isnan(r->flop) && !cli_text(a, "params") && !cli_text(a, "model"))
    return iso_fail(err, ISO_EINVAL, "--params, --model, --flop and --data are missing: nothing to shape");
  static const char *const FIT[] = {"level", "bootstrap", "seed", "starts", "max-reach"};
  for (size_t i = 0; i < ISO_COUNT(FIT) && !r->data; i++)
    if (cli_given(a, FIT[i])) return iso_fail(err, ISO_EINVAL, "--%s goes with --data", FIT[i]);
  return ISO_OK;
}

static iso_status read_request(const cli_args *a, const iso_prices *prices, request *r, iso_err *err) {
  *r = (request){.data = cli_text(a, "data"),
                 .rank = cli_text(a, "rank"),
                 .within = cli_real(a, "within"),
                 .top = cli_int(a, "top"),
                 .level = cli_real(a, "level")};
  ISO_TRY(cli_quantity(a, "flop", ISO_UNIT_FLOP, &r->flop, err));
  ISO_TRY(check_modes(a, r, err));
  if (isnan(r->within)) r->within = r->rank ? 0.1 : 0.05;
  if (r->top < 1 || r->top > TOP_MAX) return iso_fail(err, ISO_EINVAL, "--top: %lld, expected 1 to %d", (long long)r->top, TOP_MAX);
  if (r->rank) return ISO_OK;
  const char *aspect = cli_text(a, "aspect");
  int end = 0;
  if (sscanf(aspect, "%lf,%lf%n", &r->aspect_lo, &r->aspect_hi, &end) != 2 || aspect[end] || !(r->aspect_lo > 0 && r->aspect_lo <= r->aspect_hi))
    return iso_fail(err, ISO_EINVAL, "--aspect %.40s: expected LO,HI as in 33,715", aspect);
  ISO_TRY(read_size(a, r, err));
  static const char *const NEED[] = {"usd-h", "pue", "memory-limit", "batch"};
  for (size_t i = 0; i < ISO_COUNT(NEED) && !cli_text(a, "cluster"); i++)
    if (cli_given(a, NEED[i])) return iso_fail(err, ISO_EINVAL, "--%s goes with --cluster", NEED[i]);
  if (!cli_text(a, "cluster")) return ISO_OK;
  if (!r->sized) return iso_fail(err, ISO_EINVAL, "--cluster goes with --params or --model: what is timed are shapes");
  ISO_TRY(cli_batch(a, r->like.seq, &r->batch, err));
  ISO_TRY(cli_cluster_open(a, prices, &r->cluster, err));
  r->on_cluster = true;
  return ISO_OK;
}

// ---- shapes of equal parameters or FLOPs ----------------------------------------------------------------------------

typedef struct row {
  iso_shape_cost c;
  double excess, step_s, usd;  // NaN: no law, no cluster, or it does not fit
  iso_fit_interval range;      // of excess
} row;

// What ranks: the law's excess where there is one, else step time, else what is not held equal.
static double key_of(const row *r, bool law, bool cluster, bool by_flop) {
  double v = law ? r->excess : cluster ? r->step_s : by_flop ? -r->c.params : r->c.flop_tok;
  return isnan(v) ? INFINITY : v;
}

typedef struct keyed {
  row r;
  double key;
} keyed;
static int by_key(const void *a, const void *b) {
  const keyed *x = a, *y = b;
  return x->key != y->key ? (x->key > y->key) - (x->key < y->key)
                          : (x->r.c.shape.width < y->r.c.shape.width) - (x->r.c.shape.width > y->r.c.shape.width);
}

// The fastest layout on the cluster's devices.
static iso_status time_row(const request *r, row *o, iso_err *err) {
  iso_layout_job job = iso_layout_job_default();
  iso_layout_search_opts s = iso_layout_search_opts_default(&r->cluster.machine, r->cluster.devices);
  iso_layout_search found;
  iso_err e = {0};
  job.shape = o->c.shape;
  job.batch = r->batch;
  job.flash = true;
  job.dropout = false;
  iso_layout_job_use(&job, r->cluster.device);
  s.devices_min = r->cluster.devices;
  s.eps = 0.5;  // only the fastest matters
  iso_status st = iso_layout_search_run(&job, &r->cluster.machine, &r->cluster.cal, &s, &found, &e);
  if (st == ISO_ENOMEM || (st == ISO_EINVAL && !o->c.given)) return ISO_OK;  // no time: it does not fit or divide
  if (st != ISO_OK) {
    if (err) *err = e;
    return st;
  }
  o->step_s = found.best[ISO_LAYOUT_FASTEST].step_s;
  o->usd = found.best[ISO_LAYOUT_FASTEST].usd;
  iso_layout_search_close(&found);
  return ISO_OK;
}

static json_t *interval(const iso_fit_interval *v) {
  return iso_json_range(v->mid, v->lo, v->hi, "too few refits, or a calibration without residuals");
}

// A time or price of a step with 90% of the calibration's residuals; lo and hi are null when it tells none.
static json_t *with_residuals(double v, double sd) {
  const double spread = exp(1.6448536269514722 * sd);
  const iso_fit_interval i = {.mid = v, .lo = v / spread, .hi = v * spread};
  return interval(&i);
}

static json_t *row_json(const request *q, const row *r) {
  const iso_shape_cost *c = &r->c;
  const iso_layout_shape *s = &c->shape;
  json_t *o =
      json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "layers", (json_int_t)s->layers, "width", (json_int_t)s->width, "heads", (json_int_t)s->heads,
                "kv_heads", (json_int_t)s->kv_heads, "head_dim", (json_int_t)s->head_dim, "mlp", (json_int_t)s->mlp, "given", c->given);
  const struct {
    const char *name;
    double v;
  } num[] = {{"params", c->params},
             {"flop_per_tok", c->flop_tok},
             {"kv_bytes_per_tok", c->kv_b_tok},
             {"activation_bytes_per_tok", c->act_b_tok},
             {"excess_error", r->excess},
             {"step_s", r->step_s},
             {"step_usd", r->usd}};
  for (size_t i = 0; i < ISO_COUNT(num); i++) json_object_set_new(o, num[i].name, iso_json_num(num[i].v));
  if (!isnan(r->excess)) json_object_set_new(o, "excess_error", interval(&r->range));
  if (q->on_cluster && !isnan(r->step_s)) {
    json_object_set_new(o, "step_s", with_residuals(r->step_s, q->cluster.cal.resid_sd));
    json_object_set_new(o, "step_usd", with_residuals(r->usd, q->cluster.cal.resid_sd));
  }
  return o;
}

static iso_status list_json(const request *r, const iso_shape_fits *law, bool by_flop, json_t **out, iso_err *err) {
  iso_shape_cost *all;
  int64_t n;
  ISO_TRY(iso_shape_list(&r->like, by_flop, r->within, &all, &n, err));
  keyed *k = calloc((size_t)n, sizeof *k);
  iso_status st = k ? ISO_OK : iso_fail(err, ISO_ENOMEM, "no memory for %lld shapes", (long long)n);
  int64_t m = 0;
  for (int64_t i = 0; i < n && st == ISO_OK; i++) {
    double aspect = (double)all[i].shape.width / (double)all[i].shape.layers;
    if (!all[i].given && (aspect < r->aspect_lo || aspect > r->aspect_hi)) continue;
    keyed *o = &k[m++];
    o->r = (row){.c = all[i], .excess = law ? iso_shape_fits_excess(law, &all[i].shape) : NAN, .step_s = NAN, .usd = NAN};
    if (law) st = iso_shape_fits_excess_range(law, &all[i].shape, r->level, &o->r.range, err);
    if (st == ISO_OK && r->on_cluster) st = time_row(r, &o->r, err);
    o->key = key_of(&o->r, law != NULL, r->on_cluster, by_flop);
  }
  if (st == ISO_OK) {
    qsort(k, (size_t)m, sizeof *k, by_key);
    *out = json_array();
    for (int64_t i = 0; i < m; i++) json_array_append_new(*out, row_json(r, &k[i].r));
  }
  free(k);
  free(all);
  return st;
}

// ---- the law --------------------------------------------------------------------------------------------------------

static json_t *law_json(const iso_shape_fits *f) {
  json_t *o = json_object();
  for (int d = 0; d < ISO_SHAPE_DIMS; d++) {
    const iso_shape_fit *one = &f->of[d];
    if (!one->there) continue;
    json_t *j = json_pack("{s:o, s:o}", "rows", iso_json_num(one->rows), "s", interval(&one->s));
    json_object_set_new(j, "best", one->found ? interval(&one->best) : json_null());
    json_object_set_new(j, "error", one->found ? interval(&one->error) : json_null());
    if (!one->found) json_object_set_new(j, "why_not", json_string(one->why.msg));
    json_object_set_new(j, "fit", iso_lawfit_json(&one->law));
    json_object_set_new(o, iso_shape_dim_name((iso_shape_dim)d), j);
  }
  return o;
}

static iso_status fit_law(const cli_args *a, const request *r, iso_shape_fits *out, iso_err *err) {
  iso_csv t = {0};
  iso_shape_fit_opts o = {.flop = r->flop, .most = cli_real(a, "max-reach"), .fit = iso_lawfit_opts_default(&iso_law_shape)};
  o.fit.level = cli_real(a, "level");
  o.fit.resamples = cli_int(a, "bootstrap");
  o.fit.seed = (uint64_t)cli_int(a, "seed");
  if (!(o.fit.level > 0 && o.fit.level < 1)) return iso_fail(err, ISO_EINVAL, "--level must lie between 0 and 1");
  if (o.fit.resamples < 0 || o.fit.resamples > 100000) return iso_fail(err, ISO_EINVAL, "--bootstrap must lie between 0 and 100000");
  if (cli_int(a, "starts") < 1 || cli_int(a, "starts") > 1000000) return iso_fail(err, ISO_EINVAL, "--starts must lie between 1 and 1000000");
  if (!(o.most >= 1)) return iso_fail(err, ISO_EINVAL, "--max-reach must be 1 or more");
  o.fit.starts = (int)cli_int(a, "starts");
  iso_status st = iso_csv_load(r->data, &t, err);
  if (st == ISO_OK) st = iso_shape_fits_run(a->ctx, &t, &o, out, err);
  iso_csv_close(&t);
  return cli_input(st, err);
}

// ---- the ranking ----------------------------------------------------------------------------------------------------

static json_t *tau_json(const iso_shape_tau *t) {
  json_t *o = iso_json_range(t->tau, t->lo, t->hi, "too alike or too few");
  (void)json_object_update_new(o, json_pack("{s:I, s:I, s:I}", "pairs", (json_int_t)t->pairs, "concordant", (json_int_t)t->concordant, "discordant",
                                            (json_int_t)t->discordant));
  return o;
}

static json_t *rank_json(const iso_shape_run *run, const iso_shape_rank *k) {
  json_t *rows = json_array(), *clash = json_array();
  for (int64_t i = 0; i < k->n; i++) {
    int64_t at = k->order[i];
    const iso_shape_run *r = &run[at];
    json_t *by = json_object(), *other = json_object();
    for (int a = 0; a < ISO_SHAPE_AXES; a++) {
      const char *axis = iso_shape_axis_name((iso_shape_axis)a);
      if (a == ISO_SHAPE_SPEED && isnan(r->speed)) continue;
      json_object_set_new(by, axis, k->beaten_by[at][a] >= 0 ? json_string(run[k->beaten_by[at][a]].name) : json_null());
      json_object_set_new(other, axis, json_boolean(k->other_front[at][a]));
    }
    json_array_append_new(
        rows, json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", r->name, "line", (json_int_t)r->line, "params",
                        iso_json_num(r->params), "flops", iso_json_num(r->flop), "speed", iso_json_num(r->speed), "upstream",
                        iso_json_num(r->upstream), "downstream", iso_json_num(r->downstream), "beaten_by", by, "on_front_of_other_quality", other));
  }
  for (int64_t i = 0; i < k->n_clash; i++) {
    const iso_shape_clash *c = &k->clash[i];
    json_array_append_new(clash, json_pack("{s:s, s:s, s:b, s:b, s:o, s:o}", "better_upstream", run[c->up].name, "better_downstream",
                                           run[c->down].name, "equal_params", c->params, "equal_flops", c->flop, "loss_difference",
                                           iso_json_num(c->d_loss), "score_difference", iso_json_num(c->d_score)));
  }
  return json_pack("{s:o, s:o, s:{s:o, s:o, s:o}}", "runs", rows, "disagreements", clash, "kendall_tau", "equal_params",
                   tau_json(&k->tau[ISO_SHAPE_TAU_PARAMS]), "equal_flops", tau_json(&k->tau[ISO_SHAPE_TAU_FLOP]), "all",
                   tau_json(&k->tau[ISO_SHAPE_TAU_ALL]));
}

static iso_status rank_runs(const cli_args *a, const request *r, json_t **out, iso_err *err) {
  iso_csv t = {0};
  iso_shape_run *run = NULL;
  iso_shape_rank k = {0};
  int64_t n = 0;
  iso_shape_rank_opts o = iso_shape_rank_opts_default();
  o.downstream = strcmp(r->rank, "downstream") == 0;
  o.within = r->within;
  o.level = cli_real(a, "level");
  o.seed = (uint64_t)cli_int(a, "seed");
  o.resamples = cli_int(a, "bootstrap");
  iso_status st = iso_csv_load(r->data, &t, err);
  if (st == ISO_OK) st = iso_shape_runs_read(&t, &run, &n, err);
  st = cli_input(st, err);
  if (st == ISO_OK) st = iso_shape_rank_run(run, n, &o, &k, err);
  if (st == ISO_OK) {
    *out = rank_json(run, &k);
    json_object_set_new(*out, "rank", json_string(r->rank));
    json_object_set_new(*out, "level", json_real(o.level));
  }
  iso_shape_rank_close(&k);
  free(run);
  iso_csv_close(&t);
  return st;
}

// ---- tables ---------------------------------------------------------------------------------------------------------

static void print_list(const json_t *r, const char *key, const char *title) {
  const json_t *all = json_object_get(r, key);
  double top = cli_at(r, "top");
  char kv[40], act[40], step[40];
  if (!all) return;
  printf("\n%s\n%6s %6s %6s %4s %6s %11s %11s %10s %10s %10s %11s\n", title, "layers", "width", "heads", "kv", "mlp", "parameters", "FLOP/token",
         "KV/token", "act/token", json_object_get(r, "cluster") ? "step" : "", json_object_get(r, "law") ? "excess" : "");
  for (size_t i = 0; i < json_array_size(all); i++) {
    const json_t *o = json_array_get(all, i);
    bool given = json_is_true(json_object_get(o, "given"));
    char excess[40] = "";
    if ((double)i >= top && !given) continue;
    if (!isnan(cli_at(o, "excess_error"))) (void)snprintf(excess, sizeof excess, "%+.5g", cli_at(o, "excess_error"));
    printf("%6.0f %6.0f %6.0f %4.0f %6.0f %11.4g %11.4g %10s %10s %10s %11s%s\n", cli_at(o, "layers"), cli_at(o, "width"), cli_at(o, "heads"),
           cli_at(o, "kv_heads"), cli_at(o, "mlp"), cli_at(o, "params"), cli_at(o, "flop_per_tok"),
           iso_unit_print(cli_at(o, "kv_bytes_per_tok"), ISO_UNIT_BYTE, kv, sizeof kv),
           iso_unit_print(cli_at(o, "activation_bytes_per_tok"), ISO_UNIT_BYTE, act, sizeof act),
           !json_object_get(r, "cluster") ? ""
           : isnan(cli_at(o, "step_s"))   ? "no fit"
                                          : iso_unit_print(cli_at(o, "step_s"), ISO_UNIT_S, step, sizeof step),
           excess, given ? "  the one given" : "");
  }
  if ((double)json_array_size(all) > top) printf("  %.0f of %zu; --top shows more, --json all\n", top, json_array_size(all));
}

static void print_law(const json_t *r) {
  const char *name;
  const json_t *v;
  printf("\nbest dimensions at C = %.4g FLOP, err = alpha x^-a + (beta x^b + xi) C^-c + eps\n", cli_at(r, "flop"));
  json_object_foreach(json_object_get(r, "law"), name, v) {
    cli_row(name, "grows as C^s, s = %.4g (%.4g to %.4g), by %.0f runs", cli_at(v, "s.value"), cli_at(v, "s.lo"), cli_at(v, "s.hi"),
            cli_at(v, "rows"));
    if (json_is_null(json_object_get(v, "best")))
      cli_row("", "no optimum: %s", cli_text_at(v, "why_not"));
    else
      cli_row("", "x* = %.5g (%.5g to %.5g), error %.5g there", cli_at(v, "best.value"), cli_at(v, "best.lo"), cli_at(v, "best.hi"),
              cli_at(v, "error.value"));
  }
}

static void tau_row(const char *name, const json_t *t) {
  double v = cli_at(t, "value");
  if (isnan(v))
    cli_row(name, "no pairs that differ");
  else if (isnan(cli_at(t, "lo")))
    cli_row(name, "%.3f over %.0f pairs, too alike or too few for an interval", v, cli_at(t, "pairs"));
  else
    cli_row(name, "%.3f (%.3f to %.3f) over %.0f pairs", v, cli_at(t, "lo"), cli_at(t, "hi"), cli_at(t, "pairs"));
}

static void beaten_text(const json_t *o, const char *axis, char *buf, size_t n) {
  const json_t *by = json_object_get(json_object_get(o, "beaten_by"), axis);
  bool other = json_is_true(json_object_get(json_object_get(o, "on_front_of_other_quality"), axis));
  (void)snprintf(buf, n, "%.18s%s", !by ? "-" : json_is_null(by) ? "front" : json_string_value(by), other ? " *" : "");
}

static void print_rank(const json_t *r) {
  const json_t *all = json_object_get(r, "runs"), *clash = json_object_get(r, "disagreements");
  double top = cli_at(r, "top");
  const char *other = strcmp(cli_text_at(r, "rank"), "upstream") == 0 ? "downstream" : "upstream";
  printf("%zu runs by %s, sizes equal within %g%%; beaten at equal parameters, FLOPs, speed by; * on the front of %s\n", json_array_size(all),
         cli_text_at(r, "rank"), 100 * cli_at(r, "within"), other);
  printf("%-24s %11s %11s %10s %10s %10s  %-20s %-20s %-20s\n", "run", "parameters", "FLOPs", "speed", "upstream", "downstream", "parameters",
         "FLOPs", "speed");
  for (size_t i = 0; i < json_array_size(all); i++) {
    const json_t *o = json_array_get(all, i);
    char by[ISO_SHAPE_AXES][40], speed[40] = "-";
    if ((double)i >= top) break;
    for (int a = 0; a < ISO_SHAPE_AXES; a++) beaten_text(o, iso_shape_axis_name((iso_shape_axis)a), by[a], sizeof by[a]);
    if (!isnan(cli_at(o, "speed"))) (void)snprintf(speed, sizeof speed, "%.4g", cli_at(o, "speed"));
    printf("%-24.24s %11.4g %11.4g %10s %10.5g %10.5g  %-20s %-20s %-20s\n", cli_text_at(o, "name"), cli_at(o, "params"), cli_at(o, "flops"), speed,
           cli_at(o, "upstream"), cli_at(o, "downstream"), by[0], by[1], by[2]);
  }
  if ((double)json_array_size(all) > top) printf("  %.0f of %zu; --top shows more, --json all\n", top, json_array_size(all));
  printf("\nKendall's tau between the orders by loss and by score\n");
  tau_row("  equal parameters", cli_json_at(r, "kendall_tau.equal_params"));
  tau_row("  equal FLOPs", cli_json_at(r, "kendall_tau.equal_flops"));
  tau_row("  all", cli_json_at(r, "kendall_tau.all"));
  for (size_t i = 0; i < json_array_size(clash) && (double)i < top; i++) {
    const json_t *c = json_array_get(clash, i);
    bool p = json_is_true(json_object_get(c, "equal_params")), f = json_is_true(json_object_get(c, "equal_flops"));
    cli_row(i ? "" : "disagreements", "%s has the lower loss by %.4g, %s the higher score by %.4g, at equal %s", cli_text_at(c, "better_upstream"),
            cli_at(c, "loss_difference"), cli_text_at(c, "better_downstream"), cli_at(c, "score_difference"),
            p && f ? "parameters and FLOPs"
            : p    ? "parameters"
                   : "FLOPs");
  }
}

static void print_plan(const json_t *r) {
  if (json_object_get(r, "rank")) {
    print_rank(r);
    return;
  }
  if (json_object_get(r, "model"))
    cli_row("like", "%.0f layers of width %.0f, %.4g parameters (%s)", cli_at(r, "model.layers"), cli_at(r, "model.width"), cli_at(r, "model.params"),
            cli_text_at(r, "size_rule"));
  if (json_object_get(r, "model")) cli_row("ranked by", "%s", cli_text_at(r, "ranked_by"));
  if (json_object_get(r, "law")) print_law(r);
  const json_t *first = json_array_get(json_object_get(r, "equal_params"), 0);
  cli_row_range("first: step", first, "step_s", ISO_UNIT_S);
  cli_row_range("first: excess", first, "excess_error", ISO_UNIT_COUNT);
  cli_row("intervals", "%s", cli_text_at(r, "intervals"));
  print_list(r, "equal_params", "equal parameters");
  print_list(r, "equal_flops", "equal training FLOPs a token");
}

// ---- why ------------------------------------------------------------------------------------------------------------

static void why_rank(const json_t *p, cli_why *w) {
  const json_t *all = json_object_get(p, "runs"), *clash = json_object_get(p, "disagreements");
  for (int a = 0; a < ISO_SHAPE_AXES; a++) {
    const char *axis = iso_shape_axis_name((iso_shape_axis)a);
    int front = 0, both = 0, of = 0;
    for (size_t i = 0; i < json_array_size(all); i++) {
      const json_t *o = json_array_get(all, i), *by = json_object_get(json_object_get(o, "beaten_by"), axis);
      of += by != NULL;
      front += json_is_null(by);
      both += json_is_null(by) && json_is_true(json_object_get(json_object_get(o, "on_front_of_other_quality"), axis));
    }
    if (of)
      cli_why_say(w->bound, "at equal %s %d of %d runs are beaten by none in %s quality, %d of them by none in the other either", axis, front, of,
                  cli_text_at(p, "rank"), both);
  }
  for (size_t i = 0; i < json_array_size(clash) && i < 5; i++) {
    const json_t *c = json_array_get(clash, i);
    cli_why_say(w->change, "%s instead of %s when the score counts, not the loss", cli_text_at(c, "better_downstream"),
                cli_text_at(c, "better_upstream"));
  }
  cli_why_say(w->sources, "the runs of %s as measured; no law", cli_text_at(p, "data"));
}

void cli_why_shape(const json_t *p, cli_why *w) {
  static const char *const LIST[] = {"equal_params", "equal_flops"};
  const char *name;
  const json_t *v;
  if (json_object_get(p, "rank")) {
    why_rank(p, w);
    return;
  }
  if (json_object_get(p, "model")) cli_why_say(w->bound, "ranked by %s", cli_text_at(p, "ranked_by"));
  json_object_foreach(json_object_get(p, "law"), name, v) {
    cli_why_say(w->bound, "%s: best %.4g at %.3g FLOP (%.4g to %.4g), by %.0f runs", name, cli_at(v, "best.value"), cli_at(p, "flop"),
                cli_at(v, "best.lo"), cli_at(v, "best.hi"), cli_at(v, "rows"));
    cli_why_say(w->change, "ten times the compute: %s x%.3g", name, pow(10, cli_at(v, "s.value")));
  }
  for (size_t k = 0; k < ISO_COUNT(LIST); k++) {
    const json_t *all = json_object_get(p, LIST[k]), *best = json_array_get(all, 0);
    for (size_t i = 0; i < json_array_size(all); i++) {
      const json_t *o = json_array_get(all, i);
      if (!json_is_true(json_object_get(o, "given"))) continue;
      if (!isnan(cli_at(o, "excess_error")))
        cli_why_say(w->change, "%.0f layers of width %.0f, mlp %.0f at %s: error lower by %.4g than of the one given, by the law",
                    cli_at(best, "layers"), cli_at(best, "width"), cli_at(best, "mlp"), LIST[k],
                    cli_at(o, "excess_error") - cli_at(best, "excess_error"));
      if (!isnan(cli_at(o, "step_s")))
        cli_why_lost(w, cli_at(o, "step_s") / cli_at(best, "step_s"),
                     "step time of the one given beside the first at %s: %.0f layers of width %.0f, mlp %.0f", LIST[k], cli_at(best, "layers"),
                     cli_at(best, "width"), cli_at(best, "mlp"));
    }
  }
  if (json_object_get(p, "law"))
    cli_why_say(w->sources, "law shape (arXiv:2305.13035) fitted to %s, one dimension at a time", cli_text_at(p, "data"));
  if (json_object_get(p, "calibration")) cli_why_say(w->sources, "times: %s", cli_text_at(p, "calibration.source"));
  if (!json_object_get(p, "law"))
    cli_why_say(w->sources, "costs only: which of them learns best is measured (--data), no published law gives it for language models");
}

// ---- the verb -------------------------------------------------------------------------------------------------------

static iso_status shapes(const cli_args *a, const request *r, json_t **out, iso_err *err) {
  iso_shape_fits f = {0};
  json_t *o = json_object(), *list;
  bool law = r->data != NULL;
  iso_status st = law ? fit_law(a, r, &f, err) : ISO_OK;
  if (st == ISO_OK && law) {
    json_object_set_new(o, "law", law_json(&f));
    bool any = false;
    for (int d = 0; d < ISO_SHAPE_DIMS; d++) any = any || f.of[d].found;
    law = any;
  }
  for (int by_flop = 0; by_flop < 2 && r->sized && st == ISO_OK; by_flop++) {
    st = list_json(r, law ? &f : NULL, by_flop, &list, err);
    if (st == ISO_OK) json_object_set_new(o, by_flop ? "equal_flops" : "equal_params", list);
  }
  iso_shape_fits_close(&f);
  if (st != ISO_OK) {
    json_decref(o);
    return st;
  }
  if (r->sized) {
    json_object_set_new(o, "model", iso_layout_shape_json(&r->like));
    json_object_set_new(o, "size_rule", json_string(r->size_rule));
    json_object_set_new(o, "ranked_by",
                        json_string(law             ? "the error above the law's best, summed over the dimensions that were fitted"
                                    : r->on_cluster ? "step time on the cluster"
                                                    : "FLOPs a token at equal parameters, parameters at equal FLOPs"));
  }
  if (r->on_cluster) {
    json_object_set_new(o, "cluster",
                        json_pack("{s:s, s:I, s:I}", "name", r->cluster.machine.name, "devices", (json_int_t)r->cluster.devices, "batch_sequences",
                                  (json_int_t)r->batch));
    json_object_set_new(o, "calibration", iso_layout_cal_json(&r->cluster.cal));
  }
  bool times = r->on_cluster && isfinite(r->cluster.cal.resid_sd);
  json_object_set_new(o, "intervals",
                      json_string(law && times    ? "of excesses by refits of the law; of times 90% of the calibration's residuals"
                                  : law           ? "by refits of the law"
                                  : times         ? "90% of the calibration's residuals"
                                  : r->on_cluster ? "none: the calibration tells no residuals"
                                                  : "none: costs of shapes are counted"));
  *out = o;
  return ISO_OK;
}

static iso_status plan(const cli_args *a, const iso_prices *prices, json_t **out, iso_err *err) {
  request r;
  iso_status st = read_request(a, prices, &r, err);
  if (st == ISO_OK) st = r.rank ? rank_runs(a, &r, out, err) : shapes(a, &r, out, err);
  if (st == ISO_OK) {
    json_object_set_new(*out, "kind", json_string("shape"));
    json_object_set_new(*out, "flop", iso_json_num(r.flop));
    json_object_set_new(*out, "within", json_real(r.within));
    json_object_set_new(*out, "top", json_integer((json_int_t)r.top));
    if (r.data) json_object_set_new(*out, "data", json_string(r.data));
  }
  cli_cluster_close(&r.cluster);
  return st;
}

static int run(cli_args *a) { return cli_plan_run(a, plan, print_plan); }

const cli_verb cli_verb_plan_shape = {
    .name = "plan shape",
    .summary = "Depth, width and MLP: shapes of equal parameters and FLOPs by step time, a fitted shape law, or as runs were measured.",
    .examples = EXAMPLES,
    .usage = "--params N | --model MODEL | --flop C, [--data FILE [--rank QUALITY]] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .notes =
        "Without --data no shape is said to learn better than another: the tables have costs only. With it the law of each dimension is fitted to\n"
        "runs that vary it alone, the others so large that they do not matter. --rank uses no law: a run is beaten at equal parameters, FLOPs\n"
        "or speed by a better one that takes no more, within --within.",
    .stops_at_once = true,
    .run = run};
