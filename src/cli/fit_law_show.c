// One law's fit on the terminal and as JSON.
#include <math.h>
#include <string.h>

#include "cli/fit_law.h"
#include "cli/law_args.h"

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
  cli_row("time", "%.3g s for the fit", f->fit_s);
  if (f->break_axis >= 0) cli_row("break", "strongest bend at %s = %.3g, p = %.3f", iso_lawfit_axis_name(l, f->break_axis), f->break_at, f->break_p);
  if (f->resamples > 0)
    cli_row("intervals", "%lld bootstrap refits over %s%s", (long long)f->resamples, iso_lawfit_boot_name(f->boot), f->failed ? ", some failed" : "");
  for (int i = 0; i < l->n_inputs; i++) cli_row(i ? "" : "rows span", "%s %.4g to %.4g", l->input[i].name, f->x_lo[i], f->x_hi[i]);
  if (isfinite(f->flop_hi)) cli_row("", "train_flop %.4g to %.4g", f->flop_lo, f->flop_hi);
  for (int i = 0; i < f->n_warn; i++) cli_row(i ? "" : "warnings", "%s", f->warn[i]);
}

static void print_held(const cli_law_answer *w) {
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

static void print_reach(const cli_law_answer *w, double reach, int axis) {
  if (axis >= 0) printf("an extrapolation: %.3g times outside the rows in %s\n", reach, iso_lawfit_axis_name(w->law, axis));
}

static void print_checklist(const cli_law_request *q, const cli_law_answer *w) {
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

static void print_against(const cli_law_answer *w) {
  for (int k = 0; k < w->law->n_consts; k++) {
    iso_lawfit_against t;
    if (iso_lawfit_test(&w->fit, &w->fitted, w->law->consts[k].p, &t, NULL) != ISO_OK) continue;
    printf("%s%-24s likelihood ratio %.4g, p = %.3g", k ? "" : "\npublished sets against this fit\n", w->law->consts[k].name, t.ratio, t.ratio_p);
    if (isfinite(t.chi2)) printf("; chi2(%d) = %.4g, p = %.3g", w->law->n_params, t.chi2, t.chi2_p);
    printf("\n");
  }
}

void cli_law_print(const cli_fit_source *s, const cli_law_request *q, const cli_law_answer *w) {
  char text[300];
  printf("%lld points from %s, %s in %s expected", (long long)w->fit.n, s->name, w->law->target, w->law->unit);
  if (w->fit.dropped) printf("; %lld highest dropped", (long long)w->fit.dropped);
  if (w->fit.skipped) printf("; %lld rows without %s skipped", (long long)w->fit.skipped, w->law->target);
  printf("\n");
  print_fit(&w->fit);
  print_against(w);
  if (w->has_score) print_held(w);
  if (w->has_best) {
    const iso_lawfit_best *b = &w->best;
    printf("\noptimum at C = %.4g FLOP\n", b->flop);
    interval_row(w->law->input[w->law->at_params].name, b->params.mid, b->params.lo, b->params.hi, NAN);
    interval_row(w->law->input[w->law->at_tokens].name, b->tokens.mid, b->tokens.lo, b->tokens.hi, NAN);
    interval_row(w->law->target, b->loss.mid, b->loss.lo, b->loss.hi, NAN);
    print_reach(w, w->best_reach, w->best_axis);
  }
  if (w->has_target) {
    const iso_lawfit_target *t = &w->target;
    printf("\n%s = %.6g at its optimum\n", w->law->target, t->y);
    interval_row("train_flop", t->flop.mid, t->flop.lo, t->flop.hi, NAN);
    interval_row(w->law->input[w->law->at_params].name, t->params.mid, t->params.lo, t->params.hi, NAN);
    interval_row(w->law->input[w->law->at_tokens].name, t->tokens.mid, t->tokens.lo, t->tokens.hi, NAN);
    print_reach(w, w->target_reach, w->target_axis);
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

// Whether the law's published sets agree with this fit.
static json_t *against_json(const cli_law_answer *w) {
  json_t *all = json_array();
  for (int k = 0; k < w->law->n_consts; k++) {
    const iso_law_const *c = &w->law->consts[k];
    iso_lawfit_against t;
    if (iso_lawfit_test(&w->fit, &w->fitted, c->p, &t, NULL) != ISO_OK) continue;
    json_array_append_new(all, json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "set", c->name, "df", w->law->n_params, "log_likelihood",
                                         iso_json_num(t.log_likelihood), "likelihood_ratio", iso_json_num(t.ratio), "likelihood_ratio_p",
                                         iso_json_num(t.ratio_p), "chi2", iso_json_num(t.chi2), "chi2_p", iso_json_num(t.chi2_p)));
  }
  return all;
}

json_t *cli_law_answer_json(const cli_law_request *q, const cli_law_answer *w) {
  json_t *j = json_object();
  json_object_set_new(j, "fit", iso_lawfit_json(&w->fit));
  json_object_set_new(j, "published_against_fit", against_json(w));
  json_object_set_new(j, "holdout", w->has_score ? iso_lawfit_score_json(&w->fit, &w->held, &w->score) : json_null());
  if (w->has_best)
    json_object_set_new(
        j, "optimum",
        json_pack("{s:f, s:o, s:o, s:o, s:o, s:o}", "train_flop", w->best.flop, "params", iso_fit_interval_json(&w->best.params), "tokens",
                  iso_fit_interval_json(&w->best.tokens), w->law->target, iso_fit_interval_json(&w->best.loss), "reach", iso_json_num(w->best_reach),
                  "reach_axis", w->best_axis < 0 ? json_null() : json_string(iso_lawfit_axis_name(w->law, w->best_axis))));
  if (w->has_target)
    json_object_set_new(j, "reached",
                        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", w->law->target, iso_json_num(w->target.y), "train_flop",
                                  iso_fit_interval_json(&w->target.flop), "params", iso_fit_interval_json(&w->target.params), "tokens",
                                  iso_fit_interval_json(&w->target.tokens), "reach", iso_json_num(w->target_reach), "reach_axis",
                                  w->target_axis < 0 ? json_null() : json_string(iso_lawfit_axis_name(w->law, w->target_axis))));
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
