// Fits one law or compares several, and shows what came out.
#include "cli/fit_law.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/fit_source.h"
#include "cli/law_args.h"
#include "cli/work.h"
#include "plan/fit_csv.h"

enum { LAWS_MAX = 16 };

typedef struct request {
  const iso_law *law[LAWS_MAX];
  int n_laws;
  iso_lawfit_opts fit;  // objective and delta are each law's own unless given
  bool own_objective, own_delta;
  iso_law_data_opts data;
  double most, flop;
  const char *predict, *best;
} request;

// One law's answers.
typedef struct answer {
  const iso_law *law;
  iso_law_data fitted, held;  // owned
  iso_lawfit fit;             // owned
  iso_lawfit_score score;     // owned
  bool has_best, has_loss, has_score;
  double x[ISO_LAW_INPUT_MAX];
  iso_fit_interval loss;
  double reach;
  int axis;
  iso_lawfit_best best;
  double best_reach;
  int best_axis;
  bool has_best_input;
  iso_lawfit_best_input best_input;
  char note[500];  // why it could not be fitted, in a comparison
} answer;

static void close_answer(answer *w) {
  iso_law_data_close(&w->fitted);
  iso_law_data_close(&w->held);
  iso_lawfit_close(&w->fit);
  iso_lawfit_score_close(&w->score);
}

bool cli_fit_law_misused(const cli_args *a) {
  static const char *const NEED[] = {"column", "rows", "holdout", "cluster", "objective", "starts", "best", "max-reach", "extrapolate"};
  for (size_t i = 0; i < ISO_COUNT(NEED); i++)
    if (cli_given(a, NEED[i])) {
      (void)cli_usage(a, "--%s needs --law", NEED[i]);
      return true;
    }
  return false;
}

static int parse_request(const cli_args *a, request *q) {
  iso_err err = {0};
  const char *name = cli_text(a, "law"), *kind = cli_text(a, "objective"), *flop = cli_text(a, "flop");
  *q = (request){.most = cli_flag(a, "extrapolate") ? INFINITY : cli_real(a, "max-reach"),
                 .flop = NAN,
                 .predict = cli_text(a, "predict"),
                 .best = cli_text(a, "best")};
  for (const char *s = name;; s++) {
    char one[64];
    size_t n = strcspn(s, ",");
    if (q->n_laws == LAWS_MAX || n == 0 || n >= sizeof one)
      return cli_usage(a, "--law %.80s: expected up to %d names separated by commas", name, LAWS_MAX);
    memcpy(one, s, n);
    one[n] = 0;
    if (iso_law_find(one, &q->law[q->n_laws], &err) != ISO_OK) return cli_usage(a, "--law: %s", err.msg);
    q->n_laws++;
    s += n;
    if (!*s) break;
  }
  q->fit = iso_lawfit_opts_default(q->law[0]);
  if (kind && !iso_law_objective_find(kind, &q->fit.objective))
    return cli_usage(a, "--objective %.40s: expected huber-log, huber, square-log or square", kind);
  q->own_objective = kind != NULL;
  q->own_delta = cli_given(a, "delta");
  if (q->own_delta) q->fit.delta = cli_real(a, "delta");
  if (q->own_delta && !(q->fit.delta > 0)) return cli_usage(a, "--delta must be above 0");
  if (cli_given(a, "bootstrap")) q->fit.resamples = cli_int(a, "bootstrap");
  q->fit.level = cli_real(a, "level");
  if (!(q->fit.level > 0 && q->fit.level < 1)) return cli_usage(a, "--level must lie between 0 and 1");
  q->fit.seed = (uint64_t)cli_int(a, "seed");
  if (cli_int(a, "starts") < 1 || cli_int(a, "starts") > 1000000) return cli_usage(a, "--starts must lie between 1 and 1000000");
  q->fit.starts = (int)cli_int(a, "starts");
  if (!(q->most >= 1)) return cli_usage(a, "--max-reach must be 1 or more");
  if (flop && (iso_unit_parse(flop, ISO_UNIT_FLOP, &q->flop, &err) != ISO_OK || !(q->flop > 0)))
    return cli_usage(a, "--flop: %s", err.msg[0] ? err.msg : "must be above 0");
  if (q->n_laws > 1 && !cli_text(a, "holdout"))
    return cli_usage(a, "--law with several laws compares them on held-out rows: --holdout EXPR says which");
  if (q->n_laws > 1 && (q->predict || flop || q->best)) return cli_usage(a, "--predict, --flop and --best ask one law");
  if (cli_given(a, "method") || cli_given(a, "group-by")) return cli_usage(a, "--law excludes --method and --group-by");
  q->data.columns = cli_list(a, "column", &q->data.n_columns);
  q->data.rows = cli_text(a, "rows");
  q->data.holdout = cli_text(a, "holdout");
  q->data.cluster = cli_text(a, "cluster");
  q->data.drop_highest = cli_int(a, "drop-highest");
  return 0;
}

// ---- work -----------------------------------------------------------------------------------------------------------

static iso_status fit_one(const cli_args *a, const cli_fit_source *s, const request *q, const iso_law *law, const bool *use, answer *w,
                          iso_err *err) {
  iso_lawfit_opts o = q->fit, own = iso_lawfit_opts_default(law);
  iso_law_data_opts d = q->data;
  *w = (answer){.law = law};
  if (!q->own_objective) o.objective = own.objective;
  if (!q->own_delta) o.delta = own.delta;
  d.use = use;
  d.objective = o.objective;
  ISO_TRY(iso_law_data_read(&s->table, law, &d, &w->fitted, &w->held, err));
  ISO_TRY(iso_lawfit_run(a->ctx, &w->fitted, &o, &w->fit, err));
  if (q->data.holdout) {
    ISO_TRY(iso_lawfit_score_rows(&w->fit, &w->held, o.level, q->most, &w->score, err));
    w->has_score = true;
  }
  return ISO_OK;
}

static iso_status ask(const request *q, answer *w, iso_err *err) {
  if (q->predict) {
    ISO_TRY(cli_law_inputs(w->law, q->predict, "--predict", w->x, err));
    ISO_TRY(iso_lawfit_check_reach(&w->fit, w->x, q->most, err));
    ISO_TRY(iso_lawfit_predict(&w->fit, w->x, w->fit.level, &w->loss, err));
    w->reach = iso_lawfit_reach(&w->fit, w->x, &w->axis);
    w->has_loss = true;
  }
  if (q->best) {
    double x[ISO_LAW_INPUT_MAX];
    int k;
    ISO_TRY(cli_law_best(w->law, q->best, &k, x, err));
    ISO_TRY(iso_lawfit_find_best(&w->fit, x, k, q->most, w->fit.level, &w->best_input, err));
    w->has_best_input = true;
  }
  if (isfinite(q->flop)) {
    double x[ISO_LAW_INPUT_MAX];
    ISO_TRY(iso_lawfit_optimum(&w->fit, q->predict ? w->x : NULL, q->flop, w->fit.level, &w->best, err));
    if (q->predict)
      memcpy(x, w->x, sizeof x);
    else
      iso_law_absent(w->law, x);
    x[w->law->at_params] = w->best.params.mid;
    x[w->law->at_tokens] = w->best.tokens.mid;
    ISO_TRY(iso_lawfit_check_reach(&w->fit, x, q->most, err));
    w->best_reach = iso_lawfit_reach(&w->fit, x, &w->best_axis);
    w->has_best = true;
  }
  return ISO_OK;
}

// ---- text -----------------------------------------------------------------------------------------------------------

static void interval_row(const char *name, double v, double lo, double hi, double se) {
  printf("%-14s %14.6g", name, v);
  if (isfinite(lo)) printf("   %12.6g to %-12.6g", lo, hi);
  if (isfinite(se)) printf(" %12.3g", se);
  printf("\n");
}

static void print_params(const iso_lawfit *f) {
  const iso_law *l = f->law;
  printf("\n%s\n%-14s %14s   %3.0f%% interval%16s %12s\n", l->formula, "parameter", "estimate", 100 * f->level, "", "s.e.");
  for (int k = 0; k < l->n_params; k++) {
    bool e = l->param[k].is_log;
    double v = e ? exp(f->p[k]) : f->p[k];
    interval_row(l->param[k].sign, v, e ? exp(f->lo[k]) : f->lo[k], e ? exp(f->hi[k]) : f->hi[k], e ? v * f->se[k] : f->se[k]);
  }
}

static void print_fit(const iso_lawfit *f) {
  const iso_law *l = f->law;
  bool is_huber = f->objective == ISO_LAW_HUBER || f->objective == ISO_LAW_HUBER_LOG;
  char delta[40] = "";
  print_params(f);
  printf("\n");
  if (is_huber) (void)snprintf(delta, sizeof delta, " %g", f->delta);
  cli_row("objective", "%.9g (%s%s, summed); %d of the best %d of %d starts agree", f->value, iso_law_objective_name(f->objective), delta, f->agree,
          f->finalists, f->starts);
  for (int k = 0; k < l->n_consts && k < (int)ISO_COUNT(f->published); k++)
    cli_row("", "%.9g with the constants of %s", f->published[k], l->consts[k].name);
  cli_row("residuals", "%.4g%s root mean square, R2 %.5f", f->rmse * (iso_law_objective_is_log(f->objective) ? 100 : 1),
          iso_law_objective_is_log(f->objective) ? "%" : "", f->r2);
  if (f->break_axis >= 0) cli_row("break", "strongest bend at %s = %.3g, p = %.3f", iso_lawfit_axis_name(l, f->break_axis), f->break_at, f->break_p);
  if (f->resamples > 0)
    cli_row("intervals", "%lld bootstrap refits over %s%s", (long long)f->resamples, iso_lawfit_boot_name(f->boot), f->failed ? ", some failed" : "");
  for (int i = 0; i < l->n_inputs; i++) cli_row(i ? "" : "rows span", "%s %.4g to %.4g", l->input[i].name, f->x_lo[i], f->x_hi[i]);
  if (isfinite(f->flop_hi)) cli_row("", "train_flop %.4g to %.4g", f->flop_lo, f->flop_hi);
  for (int i = 0; i < f->n_warn; i++) cli_row(i ? "" : "warnings", "%s", f->warn[i]);
}

static void print_held(const answer *w) {
  const iso_lawfit_score *s = &w->score;
  bool rel = iso_law_objective_is_log(w->fit.objective);
  printf("\nheld out\n%6s %12s %12s   %-26s %9s %8s  %s\n", "line", "observed", "predicted", "interval", "error", "reach", "inputs");
  for (int64_t i = 0; i < s->n; i++) {
    const iso_lawfit_held *h = &s->at[i];
    char inputs[300], range[60], error[30];
    cli_law_inputs_text(w->law, w->held.x + i * w->law->n_inputs, inputs, sizeof inputs);
    (void)snprintf(range, sizeof range, "%.5g to %.5g", h->v.lo, h->v.hi);
    (void)snprintf(error, sizeof error, rel ? "%+.2f%%" : "%+.4g", rel ? 100 * h->error : h->error);
    if (h->refused)
      printf("%6lld %12.6g %12s   %-26s %9s %7.3gx  %s\n", (long long)w->held.line[i], h->y, "refused", "too far out", "", h->reach, inputs);
    else
      printf("%6lld %12.6g %12.6g   %-26s %9s %7.3gx  %s%s\n", (long long)w->held.line[i], h->y, h->v.mid, range, error, h->reach, inputs,
             h->inside ? "" : "  OUTSIDE its interval");
  }
  if (s->used)
    printf("mean absolute error %.4g%s, bias %+.4g%s, largest %.4g%s; %.0f%% of %lld rows inside their %.0f%% interval\n",
           s->mean_abs * (rel ? 100 : 1), rel ? "%" : "", s->bias * (rel ? 100 : 1), rel ? "%" : "", s->max_abs * (rel ? 100 : 1), rel ? "%" : "",
           100 * s->inside, (long long)s->used, 100 * w->fit.level);
  if (s->used < s->n)
    printf("%lld row%s too far out: --max-reach moves the limit, --extrapolate lifts it\n", (long long)(s->n - s->used),
           s->n - s->used > 1 ? "s are" : " is");
}

static void print_reach(const answer *w, double reach, int axis) {
  if (axis >= 0) printf("an extrapolation: %.3g times outside the rows in %s\n", reach, iso_lawfit_axis_name(w->law, axis));
}

static void print_checklist(const request *q, const answer *w) {
  iso_lawfit_item items[ISO_LAWFIT_ITEMS];
  const char *section = "";
  int n = iso_lawfit_checklist(&w->fit, &q->data, w->has_score ? &w->score : NULL, items);
  printf("\nto repeat this fit (checklist of arXiv:2502.18969)\n");
  for (int i = 0; i < n; i++) {
    if (strcmp(section, items[i].section) != 0) printf("  %s\n", items[i].section);
    section = items[i].section;
    printf("    %s\n      %s\n", items[i].question, items[i].answer[0] ? items[i].answer : "? not in the table: say it where you publish the fit");
  }
}

static void print_answer(const cli_fit_source *s, const request *q, const answer *w) {
  char text[300];
  printf("%lld points from %s, %s in %s expected", (long long)w->fit.n, s->name, w->law->target, w->law->unit);
  if (w->fit.dropped) printf("; %lld highest dropped", (long long)w->fit.dropped);
  if (w->fit.skipped) printf("; %lld rows without %s skipped", (long long)w->fit.skipped, w->law->target);
  printf("\n");
  print_fit(&w->fit);
  if (w->has_score) print_held(w);
  if (w->has_best) {
    const iso_lawfit_best *b = &w->best;
    printf("\noptimum at C = %.4g FLOP\n", b->flop);
    interval_row(w->law->input[w->law->at_params].name, b->params.mid, b->params.lo, b->params.hi, NAN);
    interval_row(w->law->input[w->law->at_tokens].name, b->tokens.mid, b->tokens.lo, b->tokens.hi, NAN);
    interval_row(w->law->target, b->loss.mid, b->loss.lo, b->loss.hi, NAN);
    print_reach(w, w->best_reach, w->best_axis);
  }
  if (w->has_best_input) {
    const iso_lawfit_best_input *b = &w->best_input;
    printf("\nbest %s\n", w->law->input[b->input].name);
    interval_row(w->law->input[b->input].name, b->at.mid, b->at.lo, b->at.hi, NAN);
    interval_row(w->law->target, b->value.mid, b->value.lo, b->value.hi, NAN);
    print_reach(w, b->reach, b->axis);
  }
  if (w->has_loss) {
    cli_law_inputs_text(w->law, w->x, text, sizeof text);
    printf("\nat %s\n", text);
    interval_row(w->law->target, w->loss.mid, w->loss.lo, w->loss.hi, NAN);
    print_reach(w, w->reach, w->axis);
  }
  print_checklist(q, w);
}

static void print_comparison(const answer *w, int n) {
  printf("%-18s %6s %8s %12s %10s %12s %10s %10s\n", "law", "params", "points", "rmse", "held out", "mean error", "bias", "inside");
  for (int i = 0; i < n; i++) {
    const iso_lawfit_score *s = &w[i].score;
    if (w[i].note[0])
      printf("%-18s %s\n", w[i].law->base.name, w[i].note);
    else
      printf("%-18s %6d %8lld %12.5g %4lld of %-3lld %11.4g%% %9.4g%% %9.0f%%\n", w[i].law->base.name, w[i].law->n_params, (long long)w[i].fit.n,
             w[i].fit.rmse, (long long)s->used, (long long)s->n, 100 * s->mean_abs, 100 * s->bias, 100 * s->inside);
  }
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

static json_t *answer_json(const request *q, const answer *w) {
  json_t *j = json_object();
  json_object_set_new(j, "fit", iso_lawfit_json(&w->fit));
  json_object_set_new(j, "holdout", w->has_score ? iso_lawfit_score_json(&w->fit, &w->held, &w->score) : json_null());
  if (w->has_best)
    json_object_set_new(
        j, "optimum",
        json_pack("{s:f, s:o, s:o, s:o, s:o, s:o}", "train_flop", w->best.flop, "params", iso_fit_interval_json(&w->best.params), "tokens",
                  iso_fit_interval_json(&w->best.tokens), w->law->target, iso_fit_interval_json(&w->best.loss), "reach", iso_json_num(w->best_reach),
                  "reach_axis", w->best_axis < 0 ? json_null() : json_string(iso_lawfit_axis_name(w->law, w->best_axis))));
  if (w->has_best_input) {
    const iso_lawfit_best_input *b = &w->best_input;
    json_object_set_new(j, "best",
                        json_pack("{s:s, s:o, s:o, s:o, s:o}", "input", w->law->input[b->input].name, "at", iso_fit_interval_json(&b->at),
                                  w->law->target, iso_fit_interval_json(&b->value), "reach", iso_json_num(b->reach), "reach_axis",
                                  b->axis < 0 ? json_null() : json_string(iso_lawfit_axis_name(w->law, b->axis))));
  }
  if (w->has_loss) {
    json_t *x = json_object();
    for (int i = 0; i < w->law->n_inputs; i++) json_object_set_new(x, w->law->input[i].name, iso_json_num(w->x[i]));
    json_object_set_new(
        j, "prediction",
        json_pack("{s:o, s:o, s:o, s:o}", "inputs", x, w->law->target, iso_fit_interval_json(&w->loss), "reach", iso_json_num(w->reach), "reach_axis",
                  w->axis < 0 ? json_null() : json_string(iso_lawfit_axis_name(w->law, w->axis))));
  }
  json_object_set_new(j, "checklist", iso_lawfit_checklist_json(&w->fit, &q->data, w->has_score ? &w->score : NULL));
  return j;
}

static json_t *comparison_json(const answer *w, int n) {
  json_t *a = json_array();
  for (int i = 0; i < n; i++) {
    if (w[i].note[0]) {
      json_array_append_new(a, json_pack("{s:s, s:s}", "law", w[i].law->base.name, "note", w[i].note));
      continue;
    }
    json_t *held = iso_lawfit_score_json(&w[i].fit, &w[i].held, &w[i].score);
    json_array_append_new(
        a, json_pack("{s:s, s:i, s:I, s:o, s:s, s:o}", "law", w[i].law->base.name, "params", w[i].law->n_params, "points", (json_int_t)w[i].fit.n,
                     "rmse", iso_json_num(w[i].fit.rmse), "objective", iso_law_objective_name(w[i].fit.objective), "holdout", held));
  }
  return json_pack("{s:o}", "comparison", a);
}

// ---- verb -----------------------------------------------------------------------------------------------------------

static iso_status run_one(const cli_args *a, const cli_fit_source *s, const request *q, const bool *use, json_t **out, iso_err *err) {
  answer w;
  iso_status st = fit_one(a, s, q, q->law[0], use, &w, err);
  if (st == ISO_OK) st = ask(q, &w, err);
  if (st == ISO_OK && a->json)
    *out = answer_json(q, &w);
  else if (st == ISO_OK)
    print_answer(s, q, &w);
  close_answer(&w);
  return st;
}

static iso_status run_several(const cli_args *a, const cli_fit_source *s, const request *q, const bool *use, json_t **out, iso_err *err) {
  answer *w = calloc((size_t)q->n_laws, sizeof *w);
  if (!w) return iso_fail(err, ISO_ENOMEM, "no memory for %d laws", q->n_laws);
  iso_status st = ISO_OK;
  int fitted = 0;
  for (int i = 0; i < q->n_laws && st == ISO_OK; i++) {
    iso_err e = {0};
    st = fit_one(a, s, q, q->law[i], use, &w[i], &e);
    // A law that this table cannot feed is said so; the others are compared.
    if (st == ISO_EINVAL || st == ISO_EFORMAT || st == ISO_ENUM) {
      (void)snprintf(w[i].note, sizeof w[i].note, "not fitted: %.400s", e.msg);
      st = ISO_OK;
    } else {
      fitted += st == ISO_OK;
    }
    *err = e;
  }
  if (st == ISO_OK && !fitted) st = err->status;
  if (st == ISO_OK && a->json)
    *out = comparison_json(w, q->n_laws);
  else if (st == ISO_OK)
    print_comparison(w, q->n_laws);
  for (int i = 0; i < q->n_laws; i++) close_answer(&w[i]);
  free(w);
  return st;
}

int cli_fit_law(const cli_args *a) {
  iso_err err = {0};
  request q;
  cli_fit_source s = {0};
  bool *use = NULL;
  json_t *j = NULL;
  iso_fit_csv_opts o = {0};
  int code = parse_request(a, &q);
  if (code) return code;
  o.where = cli_list(a, "where", &o.n_where);
  double start = iso_now_s(a->ctx);
  iso_status st = cli_fit_source_open(a, &s, &err);
  if (st == ISO_OK) st = iso_fit_csv_rows(&s.table, &o, &use, &err);
  if (st == ISO_OK) st = (q.n_laws > 1 ? run_several : run_one)(a, &s, &q, use, &j, &err);
  if (a->n_pos) st = cli_input(st, &err);
  if (st != ISO_OK)
    code = cli_fail(a, st, &err);
  else if (a->json) {
    json_object_set_new(j, "source", json_string(s.name));
    json_object_set_new(j, "metric", json_string(s.metric));
    json_object_set_new(j, "seconds", json_real(iso_now_s(a->ctx) - start));
    code = cli_put_json(j);
  }
  free(use);
  cli_fit_source_close(&s);
  return code;
}
