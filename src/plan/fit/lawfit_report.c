// A law, its fit and its score on held-out rows as JSON, and the reproducibility checklist.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plan/fit/lawfit.h"

static json_t *texts(const char *const *v, int max) {
  json_t *a = json_array();
  for (int i = 0; i < max && v[i]; i++) json_array_append_new(a, json_string(v[i]));
  return a;
}

static json_t *param_json(const iso_law_param *d, double value, double lo, double hi, double se) {
  json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:o}", "sign", d->sign, "value", iso_json_num(value), "lo", iso_json_num(lo), "hi", iso_json_num(hi),
                        "se", iso_json_num(se));
  if (d->is_log) json_object_set_new(o, "exp", iso_json_num(exp(value)));
  return o;
}

// Standard errors of the constants as published, of logarithms where the law keeps those.
static json_t *spread_json(const iso_law *law, const iso_law_const *c) {
  const iso_law_spread *s = iso_law_spread_of(law, c);
  json_t *se = json_object();
  if (!s) {
    json_decref(se);
    return json_null();
  }
  for (int k = 0; k < law->n_params; k++)
    if (s->up[k] > 0 || s->down[k] > 0) json_object_set_new(se, law->param[k].name, json_pack("{s:f, s:f}", "up", s->up[k], "down", s->down[k]));
  return json_pack("{s:s, s:o, s:b}", "source", s->source, "se", se, "correlated", s->corr != NULL);
}

json_t *iso_law_const_json(const iso_law *law, const iso_law_const *c) {
  json_t *p = json_object(), *signs = json_object(), *range = json_object();
  for (int k = 0; k < law->n_params; k++) {
    json_object_set_new(p, law->param[k].name, iso_json_num(c->p[k]));
    json_object_set_new(signs, law->param[k].sign, iso_json_num(law->param[k].is_log ? exp(c->p[k]) : c->p[k]));
  }
  for (int i = 0; i < law->n_inputs; i++)
    if (c->hi[i] > 0) json_object_set_new(range, law->input[i].name, json_pack("[o,o]", iso_json_num(c->lo[i]), iso_json_num(c->hi[i])));
  return json_pack("{s:s, s:b, s:o, s:o, s:o, s:s, s:s?, s:o}", "name", c->name, "confirmed", c->confirmed, "params", p, "constants", signs, "range",
                   range, "source", c->source, "runs", c->runs, "uncertainty", spread_json(law, c));
}

json_t *iso_law_json(const iso_law *law) {
  json_t *inputs = json_array(), *params = json_array(), *sets = json_array();
  for (int i = 0; i < law->n_inputs; i++) {
    const iso_law_input *in = &law->input[i];
    json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:b}", "name", in->name, "unit", in->unit, "what", in->what, "columns",
                          texts(in->alias, ISO_LAW_ALIAS_MAX), "required", isnan(in->absent));
    if (!isnan(in->absent)) json_object_set_new(o, "absent", isfinite(in->absent) ? json_real(in->absent) : json_string("infinite"));
    json_array_append_new(inputs, o);
  }
  for (int k = 0; k < law->n_params; k++)
    json_array_append_new(params, json_pack("{s:s, s:s, s:b}", "name", law->param[k].name, "sign", law->param[k].sign, "log", law->param[k].is_log));
  for (int i = 0; i < law->n_consts; i++) json_array_append_new(sets, iso_law_const_json(law, &law->consts[i]));
  json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "law", law->base.name, "summary", law->base.summary, "formula", law->formula,
                        "target", law->target, "unit", law->unit, "paper", law->base.paper, "inputs", inputs, "params", params, "sets", sets);
  json_object_set_new(o, "target_columns", texts(law->target_alias, ISO_LAW_ALIAS_MAX));
  json_object_set_new(o, "conventions", json_pack("{s:s, s:s?}", "counts", law->counts, "flops", law->flops));
  json_object_set_new(o, "objective", json_string(iso_law_objective_name(law->objective)));
  json_object_set_new(o, "huber_delta", law->delta > 0 ? json_real(law->delta) : json_null());
  return o;
}

static json_t *range_json(double lo, double hi) { return json_pack("[o,o]", iso_json_num(lo), iso_json_num(hi)); }

static json_t *diagnostics_json(const iso_lawfit *f) {
  json_t *trends = json_array(), *rows = json_array();
  for (int i = 0; i < f->n_trends; i++)
    json_array_append_new(trends, json_pack("{s:s, s:o, s:o}", "axis", iso_lawfit_axis_name(f->law, f->trend[i].axis), "residual_per_decade",
                                            iso_json_num(f->trend[i].per_decade), "p", iso_json_num(f->trend[i].p)));
  for (int i = 0; i < f->n_outliers; i++) json_array_append_new(rows, json_integer((json_int_t)f->outlier_line[i]));
  json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "rmse", iso_json_num(f->rmse), "noise_sd", iso_json_num(f->noise_sd), "r2",
                        iso_json_num(f->r2), "condition", iso_json_num(f->condition), "trends", trends, "outlier_lines", rows);
  json_object_set_new(o, "residuals_of", json_string(iso_law_objective_is_log(f->objective) ? "log target" : "target"));
  if (f->break_axis >= 0)
    json_object_set_new(o, "break",
                        json_pack("{s:s, s:o, s:o, s:o}", "axis", iso_lawfit_axis_name(f->law, f->break_axis), "at", iso_json_num(f->break_at),
                                  "residual_per_decade", iso_json_num(f->break_per_decade), "p", iso_json_num(f->break_p)));
  else
    json_object_set_new(o, "break", json_null());
  return o;
}

json_t *iso_lawfit_json(const iso_lawfit *f) {
  const iso_law *law = f->law;
  json_t *p = json_object(), *range = json_object(), *published = json_array(), *warn = json_array();
  for (int k = 0; k < law->n_params; k++)
    json_object_set_new(p, law->param[k].name, param_json(&law->param[k], f->p[k], f->lo[k], f->hi[k], f->se[k]));
  for (int i = 0; i < law->n_inputs; i++) json_object_set_new(range, law->input[i].name, range_json(f->x_lo[i], f->x_hi[i]));
  json_object_set_new(range, "train_flop", range_json(f->flop_lo, f->flop_hi));
  for (int k = 0; k < law->n_consts && k < (int)ISO_COUNT(f->published); k++)
    json_array_append_new(published, json_pack("{s:s, s:o}", "name", law->consts[k].name, "value", iso_json_num(f->published[k])));
  for (int i = 0; i < f->n_warn; i++) json_array_append_new(warn, json_string(f->warn[i]));
  json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "law", law->base.name, "formula", law->formula, "target", law->target, "points",
                        (json_int_t)f->n, "skipped", (json_int_t)f->skipped, "dropped", (json_int_t)f->dropped, "params", p);
  json_object_set_new(o, "objective",
                      json_pack("{s:s, s:o, s:o, s:o, s:o}", "kind", iso_law_objective_name(f->objective), "huber_delta", iso_json_num(f->delta),
                                "value", iso_json_num(f->value), "grad_norm", iso_json_num(f->grad_norm), "published", published));
  json_object_set_new(o, "starts", json_integer(f->starts));
  json_object_set_new(o, "fit_s", iso_json_num(f->fit_s));
  json_object_set_new(o, "refit_s", iso_json_num(f->refit_s));
  json_object_set_new(o, "finalists", json_integer(f->finalists));
  json_object_set_new(o, "finalists_agree", json_integer(f->agree));
  json_object_set_new(
      o, "bootstrap",
      json_pack("{s:s, s:I, s:I, s:I, s:o, s:I}", "kind", iso_lawfit_boot_name(f->boot), "resamples", (json_int_t)f->resamples, "failed",
                (json_int_t)f->failed, "clusters", (json_int_t)f->clusters, "level", iso_json_num(f->level), "seed", (json_int_t)f->seed));
  json_object_set_new(o, "range", range);
  json_object_set_new(o, "diagnostics", diagnostics_json(f));
  json_object_set_new(o, "warnings", warn);
  return o;
}

json_t *iso_lawfit_score_json(const iso_lawfit *f, const iso_law_data *held, const iso_lawfit_score *s) {
  json_t *rows = json_array();
  for (int64_t i = 0; i < s->n; i++) {
    const iso_lawfit_held *h = &s->at[i];
    json_t *o = json_object();
    json_object_set_new(o, "line", json_integer(held->line[i]));
    for (int k = 0; k < f->law->n_inputs; k++) json_object_set_new(o, f->law->input[k].name, iso_json_num(held->x[i * f->law->n_inputs + k]));
    json_object_set_new(o, "observed", iso_json_num(h->y));
    json_object_set_new(o, "predicted", h->refused ? json_null() : iso_fit_interval_json(&h->v));
    json_object_set_new(o, "error", iso_json_num(h->error));
    json_object_set_new(o, "inside", h->refused ? json_null() : json_boolean(h->inside));
    json_object_set_new(o, "reach", iso_json_num(h->reach));
    json_object_set_new(o, "reach_axis", h->axis < 0 ? json_null() : json_string(iso_lawfit_axis_name(f->law, h->axis)));
    json_object_set_new(o, "refused", json_boolean(h->refused));
    json_array_append_new(rows, o);
  }
  return json_pack("{s:I, s:I, s:s, s:o, s:o, s:o, s:o, s:o}", "points", (json_int_t)s->n, "used", (json_int_t)s->used, "error_is",
                   iso_law_objective_is_log(f->objective) ? "relative" : "absolute", "mean_abs_error", iso_json_num(s->mean_abs), "max_abs_error",
                   iso_json_num(s->max_abs), "bias", iso_json_num(s->bias), "inside_interval", iso_json_num(s->inside), "rows", rows);
}

// ---- checklist ------------------------------------------------------------------------------------------------------

typedef struct list {
  iso_lawfit_item *at;
  int n;
  const char *section;
} list;

__attribute__((format(printf, 3, 4))) static void ask(list *l, const char *question, const char *fmt, ...) {
  if (l->n >= ISO_LAWFIT_ITEMS) return;
  iso_lawfit_item *i = &l->at[l->n++];
  i->section = l->section;
  i->question = question;
  i->answer[0] = 0;
  if (!fmt) return;
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(i->answer, sizeof i->answer, fmt, ap);
  va_end(ap);
}

static void names_of(const iso_lawfit *f, char *inputs, char *params, char *spans, size_t n) {
  *inputs = *params = *spans = 0;
  for (int i = 0; i < f->law->n_inputs; i++) {
    size_t a = strlen(inputs), b = strlen(spans);
    (void)snprintf(inputs + a, n - a, "%s%s", i ? ", " : "", f->law->input[i].name);
    (void)snprintf(spans + b, n - b, "%s%s %.4g to %.4g", i ? ", " : "", f->law->input[i].name, f->x_lo[i], f->x_hi[i]);
  }
  for (int k = 0; k < f->law->n_params; k++) {
    size_t a = strlen(params);
    (void)snprintf(params + a, n - a, "%s%s", k ? ", " : "", f->law->param[k].sign);
  }
}

static void form(list *l, const iso_lawfit *f, const char *inputs, const char *params) {
  l->section = "form";
  ask(l, "What is the form of the law?", "%s", f->law->formula);
  ask(l, "Which variables does it relate?", "%s to %s (%s)", inputs, f->law->target, f->law->unit);
  ask(l, "Which parameters are fitted?", "%s; none is held fixed", params);
  ask(l, "Where does the form come from?", "%s", f->law->base.paper);
}

static void training(list *l, const iso_lawfit *f, const char *spans) {
  l->section = "training";
  ask(l, "How many models are trained?", "%lld rows in %lld clusters are fitted", (long long)f->n, (long long)f->clusters);
  ask(l, "At which sizes, on how much data?", "%s", spans);
  ask(l, "How are parameters, tokens and FLOPs counted?", "expected: %s%s%s", f->law->counts, f->law->flops ? "; " : "",
      f->law->flops ? f->law->flops : "");
  ask(l, "On which data, in which mixture; is any of it repeated?", NULL);
  ask(l, "Which architecture, shapes and tokenizer?", NULL);
  ask(l, "How are optimizer, schedule, batch size and learning rate chosen at each size?", NULL);
}

static void collection(list *l, const iso_lawfit *f, const iso_law_data_opts *o, const iso_lawfit_score *held) {
  l->section = "data collection";
  ask(l, "Is the target measured at the end of runs or at checkpoints within them?", NULL);
  ask(l, "Which metric, on which held-out data?", "%s, expected in %s", f->law->target, f->law->unit);
  if (o && (o->n_columns || o->rows)) {
    char cols[200] = "";
    for (int i = 0; i < o->n_columns; i++) {
      size_t a = strlen(cols);
      (void)snprintf(cols + a, sizeof cols - a, "%s%.90s", i ? "; " : "", o->columns[i]);
    }
    ask(l, "Are values modified before the fit?", "%s%s%.80s", cols, o->rows ? " rows where " : "", o->rows ? o->rows : "");
  } else {
    ask(l, "Are values modified before the fit?", "no, columns are taken as they are");
  }
  ask(l, "Are all rows used?", "%lld without a target skipped, %lld highest dropped, %lld held out%s%.100s", (long long)f->skipped,
      (long long)f->dropped, (long long)(held ? held->n : 0), o && o->holdout ? " where " : "", o && o->holdout ? o->holdout : "");
}

static void algorithm(list *l, const iso_lawfit *f, const iso_lawfit_score *held) {
  l->section = "fitting";
  bool is_huber = f->objective == ISO_LAW_HUBER || f->objective == ISO_LAW_HUBER_LOG;
  const char *over = f->mean ? "averaged" : "summed";
  if (is_huber)
    ask(l, "Which objective?", "%s, delta %g, %s over rows", iso_law_objective_name(f->objective), f->delta, over);
  else
    ask(l, "Which objective?", "%s, %s over rows", iso_law_objective_name(f->objective), over);
  ask(l, "Which algorithm, with which settings?", "%s",
      f->algorithm                          ? f->algorithm
      : f->minimiser == ISO_LAWFIT_WHITENED ? "L-BFGS (NLopt) in coordinates whitened by the Gauss-Newton matrix, until a round gains less than 1e-12"
                                            : "L-BFGS (NLopt) on the parameters, until a step gains less than 2.2e-9 or the gradient is below 1e-5");
  ask(l, "How is it initialised?", "%d starts spread over the parameters' ranges%s; the best %d to the end, %d of them agree", f->starts,
      f->algorithm ? "" : " and the published sets", f->finalists, f->agree);
  ask(l, "Are parameters bounded?", "no; positive ones are fitted as logarithms");
  if (f->boot == ISO_LAWFIT_BOOT_NONE)
    ask(l, "How uncertain are the parameters?", "not asked for");
  else
    ask(l, "How uncertain are the parameters?", "%lld bootstrap refits over %s, %.0f%% bias-corrected percentile intervals, seed %llu",
        (long long)f->resamples, iso_lawfit_boot_name(f->boot), 100 * f->level, (unsigned long long)f->seed);
  if (held && held->used)
    ask(l, "How is the fit checked?",
        "root mean square residual %.4g, R2 %.5f; %lld held-out rows: mean absolute error %.4g, %.0f%% inside their interval", f->rmse, f->r2,
        (long long)held->used, held->mean_abs, 100 * held->inside);
  else
    ask(l, "How is the fit checked?", "root mean square residual %.4g, R2 %.5f on the rows fitted; none is held out", f->rmse, f->r2);
}

int iso_lawfit_checklist(const iso_lawfit *f, const iso_law_data_opts *o, const iso_lawfit_score *held, iso_lawfit_item *items) {
  char inputs[280], params[280], spans[280];
  list l = {.at = items};
  names_of(f, inputs, params, spans, sizeof inputs);
  form(&l, f, inputs, params);
  training(&l, f, spans);
  collection(&l, f, o, held);
  algorithm(&l, f, held);
  return l.n;
}

json_t *iso_lawfit_checklist_json(const iso_lawfit *f, const iso_law_data_opts *o, const iso_lawfit_score *held) {
  iso_lawfit_item items[ISO_LAWFIT_ITEMS];
  json_t *a = json_array();
  int n = iso_lawfit_checklist(f, o, held, items);
  for (int i = 0; i < n; i++)
    json_array_append_new(a, json_pack("{s:s, s:s, s:o}", "section", items[i].section, "question", items[i].question, "answer",
                                       items[i].answer[0] ? json_string(items[i].answer) : json_null()));
  return a;
}
