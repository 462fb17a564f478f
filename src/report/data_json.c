// A report's data as one JSON object.
#include <math.h>

#include "report/report.h"
#include "report/text.h"

static void set(json_t *o, const char *key, json_t *v) { (void)json_object_set_new(o, key, v); }
static void num(json_t *o, const char *key, double v) { set(o, key, iso_json_num(v)); }
static void text(json_t *o, const char *key, const char *v) { set(o, key, iso_text_json(v)); }
static void count(json_t *o, const char *key, int64_t v) { set(o, key, v < 0 ? json_null() : json_integer((json_int_t)v)); }

// [lo, mean, hi]; null when unknown.
static json_t *est(iso_est e) {
  if (isnan(e.mean)) return json_null();
  return json_pack("[o,o,o]", iso_json_num(e.lo), iso_json_num(e.mean), iso_json_num(e.hi));
}

// Known resources only.
static json_t *cost(const iso_cost *c) {
  json_t *o = json_object();
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    iso_est e = iso_cost_get(c, (iso_res)r);
    if (!isnan(e.mean)) set(o, iso_res_get((iso_res)r)->name, est(e));
  }
  return o;
}

static json_t *plan_json(const iso_report_plan *p) {
  json_t *o = json_object();
  if (!p->known) return o;
  num(o, "params", p->params);
  num(o, "tokens", p->tokens);
  num(o, "batch_tok", p->batch_tok);
  num(o, "lr", p->lr);
  text(o, "config", p->config);
  text(o, "why", p->why);
  set(o, "loss", est(p->loss));
  set(o, "bpb", est(p->bpb));
  return o;
}

static json_t *fit_json(const iso_report_fit *f) {
  json_t *o = json_object(), *params = json_array(), *curve = json_array();
  set(o, "params", params);
  set(o, "curve", curve);
  if (!f->known) return o;
  text(o, "law", f->law);
  text(o, "formula", f->formula);
  text(o, "source", f->source);
  count(o, "points", f->n_points);
  count(o, "resamples", f->resamples);
  num(o, "objective", f->objective);
  num(o, "huber_delta", f->delta);
  num(o, "level", f->level);
  num(o, "noise_sd_log_loss", f->noise_sd);
  num(o, "c_min", f->c_min);
  num(o, "c_max", f->c_max);
  num(o, "n_min", f->n_min);
  num(o, "n_max", f->n_max);
  num(o, "d_min", f->d_min);
  num(o, "d_max", f->d_max);
  for (int i = 0; i < f->n_param; i++) {
    json_t *p = json_object();
    text(p, "name", f->param[i].name);
    num(p, "value", f->param[i].value);
    num(p, "lo", f->param[i].lo);
    num(p, "hi", f->param[i].hi);
    num(p, "se", f->param[i].se);
    (void)json_array_append_new(params, p);
  }
  for (int i = 0; i < f->n_curve; i++) {
    const iso_report_optimum *c = &f->curve[i];
    json_t *p = json_object();
    num(p, "train_flop", c->flop);
    num(p, "params", c->params);
    num(p, "tokens", c->tokens);
    set(p, "loss", est(c->loss));
    (void)json_array_append_new(curve, p);
  }
  return o;
}

static json_t *isoflop_json(const iso_report_isoflop *m) {
  json_t *o = json_object(), *levels = json_array();
  text(o, "text", m->text);
  set(o, "a", est(m->a));
  set(o, "levels", levels);
  for (int i = 0; i < m->n; i++) {
    const iso_report_parabola *p = &m->at[i];
    json_t *v = json_object();
    num(v, "train_flop", p->flop);
    set(v, "coef", json_pack("[o,o,o]", iso_json_num(p->coef[0]), iso_json_num(p->coef[1]), iso_json_num(p->coef[2])));
    num(v, "log_n0", p->log_n0);
    num(v, "n_min", p->n_min);
    num(v, "n_max", p->n_max);
    set(v, "params", est(p->params));
    num(v, "loss", p->loss);
    set(v, "outside", json_boolean(p->outside));
    set(v, "concave", json_boolean(p->concave));
    (void)json_array_append_new(levels, v);
  }
  return o;
}

static json_t *sweep_json(const iso_report_data *d) {
  json_t *list = json_array();
  for (int64_t i = 0; i < d->n_sweep; i++) {
    const iso_report_sweep *w = &d->sweep[i];
    json_t *o = json_object();
    text(o, "run", w->run);
    text(o, "label", w->label);
    num(o, "params", w->params);
    num(o, "tokens", w->tokens);
    num(o, "train_flop", w->flop);
    num(o, "loss", w->loss);
    num(o, "loss_se", w->loss_se);
    num(o, "law_loss", w->law_loss);
    count(o, "level", w->level);
    set(o, "final", json_boolean(w->final));
    (void)json_array_append_new(list, o);
  }
  return list;
}

// Samples column by column: a curve of 400 samples is then a few kB.
static json_t *curves_json(const iso_report_data *d) {
  json_t *list = json_array();
  for (int64_t i = 0; i < d->n_curve; i++) {
    const iso_report_curve *c = &d->curve[i];
    json_t *o = json_object();
    json_t *step = json_array(), *tok = json_array(), *t = json_array(), *train = json_array(), *val = json_array(), *lr = json_array();
    json_t *event = json_array();
    text(o, "run", c->run);
    text(o, "label", c->label);
    num(o, "params", c->params);
    set(o, "main", json_boolean(c->main));
    count(o, "samples", c->n_all);
    for (int64_t k = 0; k < c->n; k++) {
      const iso_store_sample *s = &c->s[k];
      (void)json_array_append_new(step, json_integer((json_int_t)s->step));
      (void)json_array_append_new(tok, iso_json_num(s->tokens));
      (void)json_array_append_new(t, iso_json_num(s->t_s));
      (void)json_array_append_new(train, iso_json_num(s->train_loss));
      (void)json_array_append_new(val, iso_json_num(s->val_loss));
      (void)json_array_append_new(lr, iso_json_num(s->lr));
      if (s->event) (void)json_array_append_new(event, json_pack("[o,o]", iso_json_num(s->tokens), iso_text_json(s->event)));
    }
    set(o, "step", step);
    set(o, "tokens", tok);
    set(o, "t_s", t);
    set(o, "train_loss", train);
    set(o, "val_loss", val);
    set(o, "lr", lr);
    set(o, "events", event);
    (void)json_array_append_new(list, o);
  }
  return list;
}

static json_t *ledger_json(const iso_report_data *d) {
  static const char *const STATES[] = {
      [ISO_ROW_OPEN] = "open", [ISO_ROW_SETTLED] = "settled", [ISO_ROW_RELEASED] = "released", [ISO_ROW_CHARGED] = "charged"};
  json_t *list = json_array();
  for (int64_t i = 0; i < d->n_ledger; i++) {
    json_t *o = json_object();
    text(o, "label", d->ledger[i].label);
    text(o, "state", STATES[d->ledger[i].state]);
    set(o, "predicted", cost(&d->ledger[i].predicted));
    set(o, "measured", cost(&d->ledger[i].measured));
    (void)json_array_append_new(list, o);
  }
  return list;
}

static void points_json(const iso_report_data *d, json_t *o) {
  json_t *points = json_array(), *fronts = json_array();
  for (int64_t i = 0; i < d->n_points; i++) {
    const iso_store_point *p = &d->points[i];
    json_t *v = json_object();
    text(v, "run", p->run);
    text(v, "label", p->label);
    set(v, "predicted", json_boolean(p->predicted));
    num(v, "quality", p->quality);
    num(v, "lo", p->q_lo);
    num(v, "hi", p->q_hi);
    num(v, "stderr", p->stderr_);
    num(v, "params", p->n_params);
    num(v, "tokens", p->d_tokens);
    set(v, "cost", cost(&p->cost));
    (void)json_array_append_new(points, v);
  }
  for (int f = 0; f < ISO_REPORT_FRONTS; f++) {
    json_t *v = json_object(), *idx = json_array();
    text(v, "resource", iso_res_get(d->front[f].res)->name);
    set(v, "predicted", json_boolean(d->front[f].predicted));
    for (int64_t i = 0; i < d->front[f].n; i++) (void)json_array_append_new(idx, json_integer((json_int_t)d->front[f].idx[i]));
    set(v, "points", idx);
    (void)json_array_append_new(fronts, v);
  }
  text(o, "metric", d->metric);
  set(o, "points", points);
  set(o, "fronts", fronts);
}

iso_status iso_report_json(const iso_report_data *d, json_t **out, iso_err *err) {
  json_t *o = json_object(), *notes = json_array(), *levels = json_array();
  *out = o;
  if (!o || !notes || !levels) {
    json_decref(o);
    json_decref(notes);
    json_decref(levels);
    *out = NULL;
    return iso_fail(err, ISO_ENOMEM, "report: no memory for its data");
  }
  const struct {
    const char *key, *value;
  } head[] = {{"title", d->title},
              {"id", d->id},
              {"kind", d->kind},
              {"status", d->status},
              {"created", d->created},
              {"ended", d->ended},
              {"command", d->command},
              {"rev", d->rev},
              {"out_dir", d->out_dir},
              {"data_hash", d->data_hash},
              {"tok_hash", d->tok_hash},
              {"note", d->note},
              {"convention", d->convention},
              {"budget_text", d->budget_text}};
  for (size_t i = 0; i < ISO_COUNT(head); i++) text(o, head[i].key, head[i].value);
  count(o, "seed", d->seed);
  num(o, "steal_s", d->steal_s);
  set(o, "hw", d->has_hw ? iso_hw_json(&d->hw) : json_null());
  set(o, "budget", iso_budget_json(&d->budget));
  set(o, "plan", plan_json(&d->plan));
  num(o, "params", d->params);
  num(o, "tokens", d->tokens);
  num(o, "elapsed_s", d->elapsed_s);
  num(o, "bits_per_byte", d->bpb);
  num(o, "bits_per_byte_se", d->bpb_se);
  num(o, "val_loss_nats", d->val_loss);
  set(o, "bits_per_byte_predicted", est(d->bpb_predicted));
  set(o, "val_loss_predicted", est(d->val_loss_predicted));
  set(o, "predicted", cost(&d->predicted));
  set(o, "measured", cost(&d->measured));
  set(o, "totals_from_ledger", json_boolean(d->totals_from_ledger));
  set(o, "ledger", ledger_json(d));
  text(o, "law_metric", d->law_metric);
  set(o, "sweep", sweep_json(d));
  for (int i = 0; i < d->n_levels; i++) (void)json_array_append_new(levels, iso_json_num(d->level_flop[i]));
  set(o, "levels", levels);
  set(o, "fit", fit_json(&d->fit));
  set(o, "isoflop", isoflop_json(&d->isoflop));
  set(o, "curves", curves_json(d));
  points_json(d, o);
  set(o, "sample", iso_text_json_n(d->sample, d->sample_n));
  set(o, "sample_prompt", iso_text_json_n(d->sample_prompt, d->sample_prompt_n));
  for (int64_t i = 0; i < d->n_notes; i++) (void)json_array_append_new(notes, iso_text_json(d->notes[i]));
  set(o, "notes", notes);
  return ISO_OK;
}
