// The data of a fit's page.
#include "report/fit_page.h"

#include <math.h>
#include <stdlib.h>

#include "report/text.h"

enum { TRACE = 61, BUDGETS = 17 };

static void set(json_t *o, const char *key, json_t *v) { (void)json_object_set_new(o, key, v); }
static void add(json_t *a, json_t *v) { (void)json_array_append_new(a, v); }

static json_t *inputs_json(const iso_law_data *d) {
  json_t *a = json_array();
  for (int k = 0; k < d->law->n_inputs; k++) {
    double lo = INFINITY, hi = 0;
    for (int64_t i = 0; i < d->n; i++) {
      lo = fmin(lo, d->x[i * d->law->n_inputs + k]);
      hi = fmax(hi, d->x[i * d->law->n_inputs + k]);
    }
    add(a, json_pack("{s:s, s:s, s:b}", "name", d->law->input[k].name, "unit", d->law->input[k].unit, "varies", hi > lo * (1 + 1e-9)));
  }
  return a;
}

// Rows column by column; `fit` is the law's value. `level` (may be NULL) the budget that each belongs to.
static json_t *rows_json(const iso_law_data *d, const iso_lawfit *f, const int *level) {
  int m = d->law->n_inputs;
  json_t *x = json_array(), *flop = json_array(), *y = json_array(), *fit = json_array(), *line = json_array(), *of = json_array();
  for (int k = 0; k < m; k++) add(x, json_array());
  for (int64_t i = 0; i < d->n; i++) {
    for (int k = 0; k < m; k++) add(json_array_get(x, (size_t)k), iso_json_num(d->x[i * m + k]));
    add(flop, iso_json_num(d->flop[i]));
    add(y, iso_json_num(d->y[i]));
    add(fit, iso_json_num(f ? d->law->value(f->p, d->x + i * m, NULL) : NAN));
    add(line, d->line[i] ? json_integer(d->line[i]) : json_null());
    add(of, level && level[i] >= 0 ? json_integer(level[i]) : json_null());
  }
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "x", x, "train_flop", flop, "y", y, "fit", fit, "line", line, "level", of);
}

static json_t *held_json(const iso_fit_page *p) {
  json_t *a = json_array();
  for (int64_t i = 0; p->score && i < p->score->n; i++) {
    const iso_lawfit_held *h = &p->score->at[i];
    json_t *x = json_array();
    for (int k = 0; k < p->held->law->n_inputs; k++) add(x, iso_json_num(p->held->x[i * p->held->law->n_inputs + k]));
    add(a, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:I}", "x", x, "train_flop", iso_json_num(p->held->flop[i]), "y", iso_json_num(h->y),
                     "value", iso_json_num(h->v.mid), "lo", iso_json_num(h->v.lo), "hi", iso_json_num(h->v.hi), "inside", h->inside, "refused",
                     h->refused, "line", (json_int_t)p->held->line[i]));
  }
  return a;
}

static json_t *params_json(const iso_lawfit *f) {
  json_t *a = json_array();
  for (int k = 0; f && k < f->law->n_params; k++) {
    bool e = f->law->param[k].is_log;
    double v = e ? exp(f->p[k]) : f->p[k];
    add(a, json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "name", f->law->param[k].name, "sign", f->law->param[k].sign, "value", iso_json_num(v), "lo",
                     iso_json_num(e ? exp(f->lo[k]) : f->lo[k]), "hi", iso_json_num(e ? exp(f->hi[k]) : f->hi[k]), "se",
                     iso_json_num(e ? v * f->se[k] : f->se[k])));
  }
  return a;
}

// The law's N* along C, from the least budget to ten times the largest; empty for laws without a budget or without an optimum.
static json_t *optimum_json(const iso_lawfit *f) {
  json_t *a = json_array();
  if (!f || f->law->at_params < 0 || f->law->at_tokens < 0 || !(f->flop_hi > 0 && f->flop_hi < INFINITY)) return a;
  for (int i = 0; i < BUDGETS; i++) {
    iso_lawfit_best b;
    iso_err ignored = {0};
    double c = f->flop_lo * pow(10 * f->flop_hi / f->flop_lo, (double)i / (BUDGETS - 1));
    if (iso_lawfit_optimum(f, NULL, c, f->level, &b, &ignored) != ISO_OK) continue;
    add(a, json_pack("{s:f, s:o, s:o, s:o}", "train_flop", c, "params", iso_fit_interval_json(&b.params), "tokens", iso_fit_interval_json(&b.tokens),
                     "target", iso_fit_interval_json(&b.loss)));
  }
  return a;
}

// N* = coef C^a over [lo, hi], and the band of the exponent's interval, turned about the middle of the budgets: how far the line itself may
// lie off is not in it.
static json_t *power_json(const char *method, double coef, iso_fit_interval a, double lo, double hi) {
  json_t *line = json_array();
  double mid = sqrt(lo * hi);
  for (int i = 0; i < BUDGETS; i++) {
    double c = lo / 2 * pow(20 * hi / lo, (double)i / (BUDGETS - 1)), n = coef * pow(c, a.mid), at = coef * pow(mid, a.mid);
    double u = at * pow(c / mid, a.lo), v = at * pow(c / mid, a.hi);
    add(line, json_pack("{s:f, s:o, s:o, s:o}", "train_flop", c, "params", iso_json_num(n), "lo", iso_json_num(fmin(u, v)), "hi",
                        iso_json_num(fmax(u, v))));
  }
  return json_pack("{s:s, s:o, s:o, s:o}", "method", method, "coef", iso_json_num(coef), "exponent", iso_fit_interval_json(&a), "line", line);
}

static json_t *powers_json(const iso_fit_page *p) {
  json_t *a = json_array();
  double lo = INFINITY, hi = 0;
  for (int i = 0; p->curves && i < p->curves->n; i++)
    if (!p->curves->at[i].flags) {
      lo = fmin(lo, p->curves->at[i].flop);
      hi = fmax(hi, p->curves->at[i].flop);
    }
  if (p->curves && isfinite(p->curves->n_exponent.mid)) add(a, power_json("interpolated curves", p->curves->n_coef, p->curves->n_exponent, lo, hi));
  lo = INFINITY;
  hi = 0;
  for (int i = 0; p->parabolas && i < p->parabolas->n; i++)
    if (!(p->parabolas->at[i].flags & (ISO_PARABOLA_OUTSIDE | ISO_PARABOLA_CONCAVE))) {
      lo = fmin(lo, p->parabolas->at[i].flop);
      hi = fmax(hi, p->parabolas->at[i].flop);
    }
  if (p->parabolas && isfinite(p->parabolas->a.mid)) add(a, power_json("parabolas", exp(p->parabolas->log_k), p->parabolas->a, lo, hi));
  const iso_envelope *e = p->envelope;
  if (e && isfinite(e->n_exponent.mid)) add(a, power_json("envelope", e->n_coef, e->n_exponent, e->flop_lo, e->flop_hi));
  return a;
}

// The interpolated curves between the sizes tried, [[N, ...], [loss, ...]] for each level.
static iso_status traces(const iso_fit_page *p, json_t *curves, int *level, iso_err *err) {
  size_t all = (size_t)p->curves->n * TRACE;
  double *mem = malloc(sizeof *mem * (2 * all + 1));
  if (!mem) return iso_fail(err, ISO_ENOMEM, "page: no memory for %d curves", p->curves->n);
  iso_status st = iso_curves_trace(p->points, p->curves_how, p->curves, TRACE, mem, mem + all, level, err);
  for (int k = 0; k < p->curves->n && st == ISO_OK; k++) {
    json_t *n = json_array(), *y = json_array();
    for (int i = 0; i < TRACE; i++) {
      add(n, iso_json_num(mem[k * TRACE + i]));
      add(y, iso_json_num(mem[all + (size_t)(k * TRACE + i)]));
    }
    set(json_array_get(json_object_get(curves, "levels"), (size_t)k), "trace", json_pack("[o,o]", n, y));
  }
  free(mem);
  return st;
}

int iso_fit_page_checklist(const iso_fit_page *p, iso_lawfit_item *items) {
  const iso_isoflop_done done = {p->points, p->curves, p->parabolas, p->envelope};
  if (p->fit) return iso_lawfit_checklist(p->fit, p->how, p->score, items);
  return p->points ? iso_isoflop_checklist(&done, items) : 0;
}

static json_t *checklist_json(const iso_fit_page *p) {
  iso_lawfit_item items[ISO_LAWFIT_ITEMS];
  json_t *a = json_array();
  int n = iso_fit_page_checklist(p, items);
  for (int i = 0; i < n; i++)
    add(a, json_pack("{s:s, s:s, s:o}", "section", items[i].section, "question", items[i].question, "answer",
                     items[i].answer[0] ? json_string(items[i].answer) : json_null()));
  return a;
}

static void law_json(const iso_fit_page *p, json_t *o) {
  const iso_lawfit *f = p->fit;
  const iso_law *law = p->rows->law;
  json_t *warn = json_array();
  set(o, "law", f ? json_string(law->base.name) : json_null());
  set(o, "formula", f ? json_string(law->formula) : json_null());
  set(o, "at_params", law->at_params < 0 ? json_null() : json_integer(law->at_params));
  set(o, "target", json_string(law->target));
  set(o, "unit", json_string(p->metric && f && f->algorithm ? p->metric : law->unit));
  set(o, "log_residuals", json_boolean(!f || iso_law_objective_is_log(f->objective)));
  set(o, "level", iso_json_num(f ? f->level : p->curves ? p->curves->level : NAN));
  set(o, "params", params_json(f));
  set(o, "optimum", optimum_json(f));
  set(o, "checklist", checklist_json(p));
  for (int i = 0; f && i < f->n_warn; i++) add(warn, json_string(f->warn[i]));
  set(o, "warnings", warn);
}

iso_status iso_fit_page_json(const iso_fit_page *p, json_t **out, iso_err *err) {
  iso_status st = ISO_OK;
  json_t *o = json_object(), *curves = p->curves ? iso_curves_json(p->curves) : json_null();
  int *level = p->curves ? malloc(sizeof *level * (size_t)(p->rows->n + 1)) : NULL;
  *out = NULL;
  if (!o || (p->curves && !level)) {
    st = iso_fail(err, ISO_ENOMEM, "page: no memory for its data");
    goto done;
  }
  if (p->curves) ISO_TRYG(traces(p, curves, level, err));
  set(o, "source", iso_text_json(p->source));
  set(o, "metric", iso_text_json(p->metric));
  set(o, "command", iso_text_json(p->command));
  set(o, "rev", iso_text_json(p->rev));
  law_json(p, o);
  set(o, "inputs", inputs_json(p->rows));
  set(o, "rows", rows_json(p->rows, p->fit, level));
  set(o, "held", held_json(p));
  set(o, "curves", json_incref(curves));
  set(o, "parabola", p->parabolas ? iso_parabolas_json(p->parabolas) : json_null());
  set(o, "envelope", p->envelope ? iso_envelope_json(p->envelope) : json_null());
  set(o, "power", powers_json(p));
  *out = json_incref(o);
done:
  free(level);
  json_decref(curves);
  json_decref(o);
  return st;
}
