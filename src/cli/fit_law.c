// Fits one law, and hands comparisons, variants and pages to their files.
#include "cli/fit_law.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/fit_plot.h"
#include "cli/law_args.h"
#include "cli/work.h"
#include "plan/fit/expr.h"
#include "plan/fit/fit_csv.h"

void cli_law_answer_close(cli_law_answer *w) {
  iso_law_data_close(&w->fitted);
  iso_law_data_close(&w->held);
  iso_lawfit_close(&w->fit);
  iso_lawfit_score_close(&w->score);
}

// Quantiles of a handful of refits are no interval, and the estimate may lie outside it.
bool cli_resamples_misused(const cli_args *a) {
  int64_t n = cli_int(a, "bootstrap");
  if (n <= 0 || n >= CLI_RESAMPLES_MIN) return false;
  (void)cli_usage(a, "--bootstrap %lld: expected %d or more resamples, or 0 for no intervals", (long long)n, CLI_RESAMPLES_MIN);
  return true;
}

bool cli_fit_law_misused(const cli_args *a) {
  static const char *const NEED[] = {"column", "rows",   "holdout",   "cluster",     "objective", "starts",
                                     "best",   "target", "max-reach", "extrapolate", "variants"};
  for (size_t i = 0; i < ISO_COUNT(NEED); i++)
    if (cli_given(a, NEED[i])) {
      (void)cli_usage(a, "--%s needs --law", NEED[i]);
      return true;
    }
  return false;
}

static int any_name(void *self, const char *name, iso_err *err) {
  (void)self;
  (void)name;
  (void)err;
  return 0;
}

// An expression that cannot be read is a wrong call, whatever the file has.
static int check_expressions(const cli_args *a) {
  static const char *const WHICH[] = {"rows", "holdout"};
  int n;
  const char *const *columns = cli_list(a, "column", &n);
  for (int i = 0; i < (int)ISO_COUNT(WHICH) + n; i++) {
    bool column = i >= (int)ISO_COUNT(WHICH);
    const char *name = column ? "column" : WHICH[i], *text = column ? strchr(columns[i - (int)ISO_COUNT(WHICH)], '=') : cli_text(a, name);
    iso_expr *e;
    iso_err err = {0};
    if (column && text) text++;
    if (!text) continue;
    if (iso_expr_open(text, any_name, NULL, &e, &err) != ISO_OK) return cli_usage(a, "--%s: %s", name, err.msg);
    iso_expr_close(e);
  }
  return 0;
}

static int parse_request(const cli_args *a, cli_law_request *q) {
  iso_err err = {0};
  const char *name = cli_text(a, "law"), *kind = cli_text(a, "objective"), *flop = cli_text(a, "flop"), *what = name ? "law" : "compare";
  if (name && cli_given(a, "compare")) return cli_usage(a, "--law and --compare exclude each other: --compare takes all the names");
  if (!name) name = cli_text(a, "compare");
  *q = (cli_law_request){.most = cli_flag(a, "extrapolate") ? INFINITY : cli_real(a, "max-reach"),
                         .flop = NAN,
                         .target = cli_real(a, "target"),
                         .predict = cli_text(a, "predict"),
                         .best = cli_text(a, "best"),
                         .plot = cli_text(a, "plot"),
                         .variants = cli_flag(a, "variants")};
  for (const char *s = name;; s++) {
    char one[64];
    size_t n = strcspn(s, ",");
    if (q->n_laws == CLI_LAWS_MAX || n == 0 || n >= sizeof one)
      return cli_usage(a, "--%s %.80s: expected up to %d names separated by commas", what, name, CLI_LAWS_MAX);
    memcpy(one, s, n);
    one[n] = 0;
    if (iso_law_find(one, &q->law[q->n_laws], &err) != ISO_OK) {
      (void)iso_err_prefix(&err, ISO_EINVAL, "--%s", what);
      return cli_fail(a, ISO_EINVAL, &err);
    }
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
  if (cli_resamples_misused(a)) return EXIT_USAGE;
  q->fit.level = cli_real(a, "level");
  if (!(q->fit.level > 0 && q->fit.level < 1)) return cli_usage(a, "--level must lie between 0 and 1");
  q->fit.seed = (uint64_t)cli_int(a, "seed");
  if (cli_int(a, "starts") < 1 || cli_int(a, "starts") > 1000000) return cli_usage(a, "--starts must lie between 1 and 1000000");
  q->fit.starts = (int)cli_int(a, "starts");
  if (!(q->most >= 1)) return cli_usage(a, "--max-reach must be 1 or more");
  if (flop && (iso_unit_parse(flop, ISO_UNIT_FLOP, &q->flop, &err) != ISO_OK || !(q->flop > 0)))
    return cli_usage(a, "--flop: %s", err.msg[0] ? err.msg : "must be above 0");
  q->compare = cli_given(a, "compare") || q->n_laws > 1;
  if (q->compare && !cli_text(a, "holdout")) return cli_usage(a, "laws are compared on held-out rows: --holdout EXPR says which");
  if (q->compare && (q->predict || flop || q->best || cli_given(a, "target")))
    return cli_usage(a, "--predict, --flop, --best and --target ask one law");
  if (q->compare && (q->plot || q->variants)) return cli_usage(a, "--plot and --variants take one law");
  if (q->variants && (q->plot || q->best || cli_given(a, "target"))) return cli_usage(a, "--variants excludes --plot, --best and --target");
  if (cli_given(a, "method") || cli_given(a, "group-by")) return cli_usage(a, "--law and --compare exclude --method and --group-by");
  q->data.columns = cli_list(a, "column", &q->data.n_columns);
  q->data.rows = cli_text(a, "rows");
  q->data.holdout = cli_text(a, "holdout");
  q->data.cluster = cli_text(a, "cluster");
  q->data.drop_highest = cli_int(a, "drop-highest");
  return check_expressions(a);
}

// ---- work -----------------------------------------------------------------------------------------------------------

iso_status cli_law_fit(const cli_args *a, const cli_fit_source *s, const cli_law_request *q, const iso_law *law, const bool *use, cli_law_answer *w,
                       iso_err *err) {
  iso_lawfit_opts o = q->fit, own = iso_lawfit_opts_default(law);
  iso_law_data_opts d = q->data;
  *w = (cli_law_answer){.law = law};
  if (!q->own_objective) o.objective = own.objective;
  if (!q->own_delta) o.delta = own.delta;
  d.use = use;
  d.objective = o.objective;
  ISO_TRY(iso_law_data_read(&s->table, law, &d, &w->fitted, &w->held, err));
  ISO_TRY(iso_lawfit_run(a->ctx, &w->fitted, &o, &w->fit, err));
  if (q->data.holdout && w->held.n == 0) {
    iso_fail(err, ISO_EINVAL, "%s: --holdout %.80s holds no row back", s->name, q->data.holdout);
    return iso_hint(err, ISO_EINVAL, "it must hold for rows that have a %s", law->target);
  }
  if (q->data.holdout) {
    ISO_TRY(iso_lawfit_score_rows(&w->fit, &w->held, o.level, q->most, &w->score, err));
    w->has_score = true;
  }
  return ISO_OK;
}

static iso_status ask(const cli_law_request *q, cli_law_answer *w, iso_err *err) {
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
  if (isfinite(q->target)) {
    double x[ISO_LAW_INPUT_MAX];
    ISO_TRY(iso_lawfit_flop_for(&w->fit, q->predict ? w->x : NULL, q->target, w->fit.level, &w->target, err));
    iso_law_absent(w->law, x);
    if (q->predict) memcpy(x, w->x, sizeof x);
    x[w->law->at_params] = w->target.params.mid;
    x[w->law->at_tokens] = w->target.tokens.mid;
    ISO_TRY(iso_lawfit_check_reach(&w->fit, x, q->most, err));
    w->target_reach = iso_lawfit_reach(&w->fit, x, &w->target_axis);
    w->has_target = true;
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

// ---- verb -----------------------------------------------------------------------------------------------------------

static iso_status run_one(const cli_args *a, const cli_fit_source *s, const cli_law_request *q, const bool *use, json_t **out, iso_err *err) {
  cli_law_answer w;
  iso_status st = cli_law_fit(a, s, q, q->law[0], use, &w, err);
  if (st == ISO_OK) st = ask(q, &w, err);
  if (st == ISO_OK && q->plot) st = cli_law_plot(a, s, q, &w, err);
  if (st == ISO_OK && a->json)
    *out = cli_law_answer_json(q, &w);
  else if (st == ISO_OK)
    cli_law_print(s, q, &w);
  cli_law_answer_close(&w);
  return st;
}

int cli_fit_law(const cli_args *a) {
  iso_err err = {0};
  cli_law_request q;
  cli_fit_source s = {0};
  bool *use = NULL;
  json_t *j = NULL;
  iso_fit_csv_opts o = {0};
  int code = parse_request(a, &q);
  if (code) return code;
  o.where = cli_list(a, "where", &o.n_where);
  if (q.plot && cli_plot_check(q.plot, &err) != ISO_OK) return cli_fail(a, cli_input(ISO_EINVAL, &err), &err);
  double start = iso_now_s(a->ctx);
  iso_status st = cli_fit_source_open(a, &s, &err);
  if (st == ISO_OK) st = iso_fit_csv_rows(&s.table, &o, &use, &err);
  if (st == ISO_OK) st = (q.compare ? cli_law_compare : q.variants ? cli_law_variants : run_one)(a, &s, &q, use, &j, &err);
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
