// isoflop fit: scaling laws from a CSV file or from the runs of the store.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/work.h"
#include "plan/fit_csv.h"
#include "plan/isoflop_method.h"

static const char *const EXAMPLES[] = {"isoflop fit", "isoflop fit runs.csv --drop-highest 5 --flop 1e21",
                                       "isoflop fit runs.csv --predict 70B,1.4T --json", NULL};
static const cli_opt OPTS[] = {
    {"run", CLI_TEXT, "ID", NULL, "measured points of this run and the runs below it (default: the newest demo)"},
    {"store", CLI_TEXT, "FILE", NULL, "run store (default: runs.db in isoflop's home)"},
    {"method", CLI_TEXT, "NAME", "both", "parametric: L = E + A/N^alpha + B/D^beta; isoflop: parabolas at equal FLOPs; both"},
    {"flop", CLI_TEXT, "C", NULL, "print the optimum at this training compute, as in 5.76e23 or 2.5EF"},
    {"predict", CLI_TEXT, "N,D", NULL, "print the loss predicted for N parameters and D tokens"},
    {"drop-highest", CLI_INT, "K", "0", "drop the K highest losses"},
    {"where", CLI_LIST, "COL=VALUE", NULL, "use rows of the CSV whose column has this value"},
    {"bootstrap", CLI_INT, "N", "4000", "resamples for the intervals; 0: none"},
    {"level", CLI_REAL, "P", "0.9", "probability of the intervals"},
    {"delta", CLI_REAL, "X", "0.001", "Huber threshold on log residuals"},
    {"tolerance", CLI_REAL, "X", "0.1", "isoflop: runs within this share of a budget belong to it"},
    {"seed", CLI_INT, "N", "0", "seed of the resamples"},
};

typedef struct request {
  bool law, parabolas;
  double flop, n, d, level;  // NaN: not asked
} request;

typedef struct answers {
  iso_fit_data data;  // owned
  const char *source, *metric;
  char run[ISO_RUN_ID];
  bool has_fit, has_parabolas, has_compare, has_best, has_loss;
  iso_fit fit;  // owned
  iso_parabolas par;
  iso_parabolas_compare cmp;
  iso_fit_best best;
  iso_fit_interval loss;
  char note[500];  // why a part is missing
  double seconds;
} answers;

// ---- points ---------------------------------------------------------------------------------------------------------

static bool usable(const iso_store_point *p, const char *metric) {
  return p->metric && strcmp(p->metric, metric) == 0 && p->n_params > 0 && p->d_tokens > 0 && p->quality > 0 && isfinite(p->quality);
}

static iso_status copy_points(const iso_store_point *p, int64_t n, const char *metric, iso_fit_data *d, iso_err *err) {
  int64_t m = 0;
  for (int64_t i = 0; i < n; i++) m += usable(&p[i], metric);
  ISO_TRY(iso_fit_data_open(m, d, err));
  m = 0;
  for (int64_t i = 0; i < n; i++) {
    if (!usable(&p[i], metric)) continue;
    d->params[m] = p[i].n_params;
    d->tokens[m] = p[i].d_tokens;
    d->flop[m] = p[i].flops > 0 ? p[i].flops : ISO_LAW_FLOP_PER_PARAM_TOK * p[i].n_params * p[i].d_tokens;
    d->loss[m++] = p[i].quality;
  }
  return ISO_OK;
}

static iso_status from_store(const cli_args *a, answers *w, iso_err *err) {
  static const char *const METRICS[] = {"bits_per_byte", "val_loss_nats"};
  iso_store *s = NULL;
  iso_arena *arena = NULL;
  iso_store_run run;
  iso_store_point *p;
  int64_t n;
  const char *id = cli_text(a, "run");
  iso_status st;
  ISO_TRYG(cli_store_open(a, &s, err));
  ISO_TRYG(iso_arena_open(&arena, err));
  st = iso_store_find(s, id, id ? NULL : "demo", arena, &run, err);
  if (st == ISO_EINVAL && !id) iso_hint(err, st, "isoflop demo --budget 5m makes one; --run ID takes another run; a CSV file needs no store");
  if (st != ISO_OK) goto done;
  ISO_TRYG(iso_store_points(s, run.id, true, 0, arena, &p, &n, err));
  (void)snprintf(w->run, sizeof w->run, "%s", run.id);
  w->source = w->run;
  for (size_t k = 0; k < ISO_COUNT(METRICS) && w->data.n == 0; k++) {
    w->metric = METRICS[k];
    iso_fit_data_close(&w->data);
    ISO_TRYG(copy_points(p, n, METRICS[k], &w->data, err));
  }
  if (w->data.n == 0) {
    st = iso_fail(err, ISO_EINVAL, "run %s has no measured point with parameters, tokens and a loss", run.id);
    iso_hint(err, st, "isoflop runs lists the others; sweeps of isoflop demo have points");
    goto done;
  }
  if (cli_int(a, "drop-highest") > 0) st = iso_fit_data_drop_highest(&w->data, cli_int(a, "drop-highest"), err);
done:
  iso_arena_close(arena);
  iso_store_close(s);
  return st;
}

static iso_status from_csv(const cli_args *a, answers *w, iso_err *err) {
  iso_fit_csv_opts o = {.drop_highest = cli_int(a, "drop-highest")};
  o.where = cli_list(a, "where", &o.n_where);
  w->source = a->pos[0];
  w->metric = "loss";
  return iso_fit_csv_load(a->pos[0], &o, &w->data, err);
}

// ---- work -----------------------------------------------------------------------------------------------------------

static double largest_flop(const iso_fit_data *d) {
  double c = 0;
  for (int64_t i = 0; i < d->n; i++) c = fmax(c, d->flop[i]);
  return c;
}

static void missing(answers *w, const iso_err *e) { (void)snprintf(w->note, sizeof w->note, "%s", e->msg); }

static iso_status solve(const cli_args *a, const request *q, answers *w, iso_err *err) {
  double start = iso_now_s(a->ctx);
  iso_err e = {0};
  iso_fit_opts o = iso_fit_opts_default();
  iso_parabola_opts po = iso_parabola_opts_default();
  o.resamples = cli_int(a, "bootstrap");
  o.level = po.level = q->level;
  o.delta = cli_real(a, "delta");
  o.seed = (uint64_t)cli_int(a, "seed");
  po.tolerance = cli_real(a, "tolerance");
  if (q->law) {
    ISO_TRY(iso_fit_run(a->ctx, &w->data, &o, &w->fit, err));
    w->has_fit = true;
    if (isfinite(q->n)) {
      ISO_TRY(iso_fit_predict(&w->fit, q->n, q->d, q->level, &w->loss, err));
      w->has_loss = true;
    }
    if (isfinite(q->flop)) {
      ISO_TRY(iso_fit_optimum(&w->fit, q->flop, q->level, &w->best, err));
      w->has_best = true;
    }
  }
  if (q->parabolas) {
    iso_status st = iso_parabolas_fit(&w->data, &po, &w->par, &e);
    w->has_parabolas = st == ISO_OK;
    if (st != ISO_OK) {
      missing(w, &e);
      if (!q->law) {
        *err = e;
        return st;
      }
    }
  }
  if (w->has_fit && w->has_parabolas) {
    w->has_compare = iso_parabolas_against(&w->par, &w->fit, isfinite(q->flop) ? q->flop : largest_flop(&w->data), &w->cmp, &e) == ISO_OK;
    if (!w->has_compare) missing(w, &e);
  }
  w->seconds = iso_now_s(a->ctx) - start;
  return ISO_OK;
}

// How far beyond the points a question lies, as a sentence; empty inside.
static void reach_text(iso_fit_reach r, const char *what, char *buf, size_t n) {
  *buf = 0;
  if (r.params > 1 || r.tokens > 1 || r.flop > 1)
    (void)snprintf(buf, n, "%s is an extrapolation: %.3gx in parameters, %.3gx in tokens, %.3gx in FLOPs beyond the points", what, r.params, r.tokens,
                   r.flop);
}

// ---- output ---------------------------------------------------------------------------------------------------------

static void interval_row(const char *name, double v, double lo, double hi, double se) {
  printf("%-12s %14.6g", name, v);
  if (isfinite(lo)) printf("   %12.6g to %-12.6g", lo, hi);
  if (isfinite(se)) printf(" %12.3g", se);
  printf("\n");
}

static double number(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  return json_is_number(v) ? json_number_value(v) : NAN;
}

static void print_fit(const answers *w) {
  const iso_fit *f = &w->fit;
  char b[6][40];
  printf("\nL(N, D) = E + A / N^alpha + B / D^beta\n%-12s %14s   %3.0f%% interval", "parameter", "estimate", 100 * f->level);
  printf("%16s %12s\n", "", "s.e.");
  json_t *j = iso_fit_json(f);
  const char *const names[] = {"E", "A", "B", "alpha", "beta"};
  for (size_t i = 0; i < ISO_COUNT(names); i++) {
    const json_t *p = json_object_get(json_object_get(j, "params"), names[i]);
    interval_row(names[i], number(p, "value"), number(p, "lo"), number(p, "hi"), number(p, "se"));
  }
  json_decref(j);
  double ab = f->p[ISO_FIT_ALPHA] + f->p[ISO_FIT_BETA];
  printf("\n");
  cli_row("objective", "%.9g (Huber %g on log loss, summed); %d of %d best starts agree", f->objective, f->delta, f->finalists_agree, f->finalists);
  cli_row("exponents", "N* ~ C^%.4f, D* ~ C^%.4f", f->p[ISO_FIT_BETA] / ab, f->p[ISO_FIT_ALPHA] / ab);
  cli_row("noise", "%.3g%% of the loss", 100 * f->noise_sd);
  if (f->resamples > 0)
    cli_row("intervals", "%lld %s refits%s", (long long)f->resamples, f->boot == ISO_FIT_BOOT_PAIRS ? "bootstrap" : "parametric bootstrap",
            f->failed ? ", some failed" : "");
  cli_row("points span", "N %s to %s, D %s to %s, C %s to %s", iso_unit_print(f->n_min, ISO_UNIT_COUNT, b[0], 40),
          iso_unit_print(f->n_max, ISO_UNIT_COUNT, b[1], 40), iso_unit_print(f->d_min, ISO_UNIT_TOK, b[2], 40),
          iso_unit_print(f->d_max, ISO_UNIT_TOK, b[3], 40), iso_unit_print(f->c_min, ISO_UNIT_FLOP, b[4], 40),
          iso_unit_print(f->c_max, ISO_UNIT_FLOP, b[5], 40));
  for (int i = 0; i < f->n_warn; i++) cli_row(i ? "" : "warnings", "%s", f->warn[i]);
}

static void print_parabolas(const iso_parabolas *m) {
  printf("\nIsoFLOP parabolas\n%12s %7s %12s   %-26s %12s %10s  %s\n", "C (FLOP)", "points", "N*", "interval", "D* (tok)", "loss", "remark");
  for (int i = 0; i < m->n; i++) {
    const iso_parabola *p = &m->at[i];
    char range[60] = "";
    if (p->flags & ISO_PARABOLA_CONCAVE) {
      printf("%12.3e %7lld %12s   %-26s %12s %10s  opens downwards: no minimum\n", p->flop, (long long)p->n, "-", "", "-", "-");
      continue;
    }
    if (isfinite(p->params.lo) && isfinite(p->params.hi)) (void)snprintf(range, sizeof range, "%.3e to %.3e", p->params.lo, p->params.hi);
    printf("%12.3e %7lld %12.3e   %-26s %12.3e %10.4f  %s\n", p->flop, (long long)p->n, p->params.mid, range, p->tokens, p->loss,
           p->flags & ISO_PARABOLA_OUTSIDE ? "outside the sizes tried: not used" : "");
  }
  if (isfinite(m->a.mid)) {
    printf("N* = %.4g C^%.4f", exp(m->log_k), m->a.mid);
    if (isfinite(m->a.lo)) printf(" (%.0f%% interval of the exponent: %.4f to %.4f)", 100 * m->level, m->a.lo, m->a.hi);
    printf(" from %d of %d budgets\n", m->used, m->n);
  } else
    printf("no power law: %d of %d budgets have a minimum inside the sizes tried\n", m->used, m->n);
  if (m->unassigned) printf("%lld points share no budget with two others\n", (long long)m->unassigned);
}

static void print_answers(const request *q, const answers *w) {
  char text[300];
  printf("%lld points from %s, loss = %s", (long long)w->data.n, w->source, w->metric);
  if (w->data.dropped) printf("; %lld highest dropped", (long long)w->data.dropped);
  if (w->data.skipped) printf("; %lld rows without a loss skipped", (long long)w->data.skipped);
  printf("\n");
  if (w->has_fit) print_fit(w);
  if (w->has_parabolas) print_parabolas(&w->par);
  if (w->note[0]) printf("\nnot compared: %s\n", w->note);
  if (w->has_compare) printf("\n%s\n", w->cmp.text);
  if (w->has_best) {
    const iso_fit_best *b = &w->best;
    printf("\noptimum at C = %.4g FLOP\n", b->flop);
    interval_row("N*", b->params.mid, b->params.lo, b->params.hi, NAN);
    interval_row("D* (tok)", b->tokens.mid, b->tokens.lo, b->tokens.hi, NAN);
    interval_row("D*/N*", b->tokens.mid / b->params.mid, NAN, NAN, NAN);
    interval_row("loss", b->loss.mid, b->loss.lo, b->loss.hi, NAN);
    reach_text(iso_fit_extrapolation(&w->fit, b->params.mid, b->tokens.mid, b->flop), "this optimum", text, sizeof text);
    if (*text) printf("%s\n", text);
  }
  if (w->has_loss) {
    printf("\nloss at N = %.4g, D = %.4g tok\n", q->n, q->d);
    interval_row("loss", w->loss.mid, w->loss.lo, w->loss.hi, NAN);
    reach_text(iso_fit_extrapolation(&w->fit, q->n, q->d, ISO_LAW_FLOP_PER_PARAM_TOK * q->n * q->d), "this prediction", text, sizeof text);
    if (*text) printf("%s\n", text);
  }
}

static json_t *reach_json(iso_fit_reach r) { return json_pack("{s:f, s:f, s:f}", "params", r.params, "tokens", r.tokens, "train_flop", r.flop); }

static json_t *answers_json(const request *q, const answers *w) {
  json_t *j = json_pack("{s:s, s:s, s:I, s:I, s:I, s:f}", "source", w->source, "metric", w->metric, "points", (json_int_t)w->data.n, "dropped",
                        (json_int_t)w->data.dropped, "skipped", (json_int_t)w->data.skipped, "seconds", w->seconds);
  if (!j) return NULL;
  json_object_set_new(j, "fit", w->has_fit ? iso_fit_json(&w->fit) : json_null());
  json_object_set_new(j, "isoflop", w->has_parabolas ? iso_parabolas_json(&w->par) : json_null());
  if (w->has_compare)
    json_object_set_new(
        j, "compare",
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:b, s:s}", "train_flop", w->cmp.flop, "params_isoflop", w->cmp.params_parabola, "params_law",
                  w->cmp.params_law, "ratio", w->cmp.ratio, "exponent_isoflop", w->cmp.a_parabola, "exponent_law", w->cmp.a_law, "loss_penalty",
                  iso_json_num(w->cmp.loss_penalty), "agree", w->cmp.agree, "text", w->cmp.text));
  else
    json_object_set_new(j, "compare", json_null());
  if (w->has_best)
    json_object_set_new(j, "optimum",
                        json_pack("{s:f, s:o, s:o, s:o, s:o, s:o}", "train_flop", w->best.flop, "params", iso_fit_interval_json(&w->best.params),
                                  "tokens", iso_fit_interval_json(&w->best.tokens), "loss", iso_fit_interval_json(&w->best.loss), "exponent",
                                  iso_fit_interval_json(&w->best.exponent), "extrapolation",
                                  reach_json(iso_fit_extrapolation(&w->fit, w->best.params.mid, w->best.tokens.mid, w->best.flop))));
  if (w->has_loss)
    json_object_set_new(j, "prediction",
                        json_pack("{s:f, s:f, s:o, s:o}", "params", q->n, "tokens", q->d, "loss", iso_fit_interval_json(&w->loss), "extrapolation",
                                  reach_json(iso_fit_extrapolation(&w->fit, q->n, q->d, ISO_LAW_FLOP_PER_PARAM_TOK * q->n * q->d))));
  if (w->note[0]) json_object_set_new(j, "note", json_string(w->note));
  return j;
}

// ---- options --------------------------------------------------------------------------------------------------------

static int parse_request(const cli_args *a, request *q) {
  iso_err err = {0};
  const char *m = cli_text(a, "method"), *flop = cli_text(a, "flop"), *predict = cli_text(a, "predict");
  *q = (request){.flop = NAN, .n = NAN, .d = NAN, .level = cli_real(a, "level")};
  q->law = strcmp(m, "isoflop") != 0;
  q->parabolas = strcmp(m, "parametric") != 0;
  if (q->law && q->parabolas && strcmp(m, "both") != 0) return cli_usage(a, "--method %.40s: expected parametric, isoflop or both", m);
  if (!(q->level > 0 && q->level < 1)) return cli_usage(a, "--level must lie between 0 and 1");
  if (!(cli_real(a, "delta") > 0)) return cli_usage(a, "--delta must be above 0");
  if (!(cli_real(a, "tolerance") > 0)) return cli_usage(a, "--tolerance must be above 0");
  if (cli_int(a, "bootstrap") > 10000000) return cli_usage(a, "--bootstrap must be at most 10000000");
  if (a->n_pos && (cli_given(a, "run") || cli_given(a, "store"))) return cli_usage(a, "a CSV file and --run or --store exclude each other");
  if (!a->n_pos && cli_given(a, "where")) return cli_usage(a, "--where picks rows of a CSV file, and none is given");
  if ((flop || predict) && !q->law) return cli_usage(a, "--flop and --predict need the parametric law");
  if (flop && (iso_unit_parse(flop, ISO_UNIT_FLOP, &q->flop, &err) != ISO_OK || !(q->flop > 0)))
    return cli_usage(a, "--flop: %s", err.msg[0] ? err.msg : "must be above 0");
  if (predict) {
    char n[40];
    const char *comma = strchr(predict, ',');
    if (!comma || (size_t)(comma - predict) >= sizeof n) return cli_usage(a, "--predict %.60s: expected N,D as in 70B,1.4T", predict);
    memcpy(n, predict, (size_t)(comma - predict));
    n[comma - predict] = 0;
    if (iso_unit_parse(n, ISO_UNIT_COUNT, &q->n, &err) != ISO_OK || iso_unit_parse(comma + 1, ISO_UNIT_COUNT, &q->d, &err) != ISO_OK)
      return cli_usage(a, "--predict: %s", err.msg);
    if (!(q->n > 0 && q->d > 0)) return cli_usage(a, "--predict: N and D must be above 0");
  }
  return 0;
}

static int run(cli_args *a) {
  iso_err err = {0};
  request q;
  answers w = {0};
  int code = parse_request(a, &q);
  if (code) return code;
  iso_status st = a->n_pos ? from_csv(a, &w, &err) : from_store(a, &w, &err);
  if (st == ISO_OK) st = solve(a, &q, &w, &err);
  if (a->n_pos) st = cli_input(st, &err);
  if (st != ISO_OK)
    code = cli_fail(a, st, &err);
  else if (a->json)
    code = cli_put_json(answers_json(&q, &w));
  else
    print_answers(&q, &w);
  if (w.has_fit) iso_fit_close(&w.fit);
  iso_fit_data_close(&w.data);
  return code;
}

const cli_verb cli_verb_fit = {
    .name = "fit",
    .summary = "Fit scaling laws to training runs: parameters with intervals, optimum, prediction.",
    .examples = EXAMPLES,
    .usage = "[CSV | --run ID] [--flop C] [--predict N,D] [options]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .max_args = 1,
    .notes =
        "A CSV file has a header with columns for parameters (params, parameters, n_params, num_params, model_size or n), loss (loss,\n"
        "final_loss, val_loss, eval_loss or l), and tokens (tokens, train_tokens, training_tokens, n_tokens or d) or FLOPs (train_flops,\n"
        "train_flop, training_flops, training_flop, flops, flop, compute or c): the other follows from C = 6 N D. Rows without a loss are skipped.\n"
        "Points of the store are in bits per byte of held-out text.",
    .run = run};
