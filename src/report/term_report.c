// The sections of the terminal report.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/html.h"
#include "report/term.h"

typedef enum format { AS_COUNT, AS_SIG, AS_FIXED4, AS_SCI, AS_RES } format;

static const char *show(iso_term *t, double v, format f, iso_unit u, char *buf) {
  switch (f) {
    case AS_SIG: return iso_text_sig(v, t->ascii, buf);
    case AS_FIXED4: return iso_text_fixed(v, 4, t->ascii, buf);
    case AS_SCI: return iso_text_sci(v, t->ascii, buf);
    case AS_RES: return iso_text_res(v, u, t->ascii, buf);
    case AS_COUNT: break;
  }
  return iso_text_count(v, t->ascii, buf);
}

static void cell(iso_term *t, iso_term_table *g, double v, format f, iso_unit u) {
  char buf[ISO_TEXT_NUM];
  iso_term_cell(t, g, show(t, v, f, u, buf));
}
static void cells(iso_term *t, iso_term_table *g, const char *const *text, size_t n) {
  for (size_t i = 0; i < n; i++) iso_term_cell(t, g, text[i]);
}
static const char *range_sign(const iso_term *t) { return t->ascii ? " .. " : " – "; }

static void headline(iso_term *t, const iso_report_data *d) {
  iso_str s = {0};
  iso_report_title(d, t->text, &s);
  if (s.p) iso_term_style(t, "1", s.p);
  iso_str_add(t->out, "\n");
  s.n = 0;
  iso_report_when(d->created, t->text, &s);
  const char *parts[] = {d->kind, d->id, d->status};
  for (size_t i = 0; i < ISO_COUNT(parts); i++) {
    if (!parts[i]) continue;
    iso_str_add(&s, s.n ? "  " : "");
    iso_text_add(&s, parts[i], t->text);
  }
  iso_str_add(&s, "  ");
  iso_report_machine(d, t->text, &s);
  if (s.p) iso_term_wrap(t, "", s.p, s.n, t->text);
  if (s.failed) t->out->failed = true;
  iso_str_free(&s);
  char a[ISO_TEXT_NUM], b[ISO_TEXT_NUM], c[ISO_TEXT_NUM];
  bool bpb = !isnan(d->bpb) || isnan(d->val_loss);
  double v = bpb ? d->bpb : d->val_loss;
  iso_est p = bpb ? d->bpb_predicted : d->val_loss_predicted;
  if (isnan(v) && isnan(p.mean) && isnan(d->params)) return;
  iso_str_add(t->out, "\n  ");
  iso_term_style(t, "1;33", show(t, v, AS_FIXED4, ISO_UNIT_COUNT, a));
  iso_str_add(t->out, bpb ? " bits per byte on held-out text" : " nats per token on held-out text");
  if (!isnan(p.mean)) iso_str_fmt(t->out, "\n  predicted %s", show(t, p.mean, AS_FIXED4, ISO_UNIT_COUNT, a));
  if (iso_report_has_interval(p)) {
    iso_str_fmt(t->out, " (%s%s%s)", show(t, p.lo, AS_FIXED4, ISO_UNIT_COUNT, a), range_sign(t), show(t, p.hi, AS_FIXED4, ISO_UNIT_COUNT, b));
    bool in = v >= p.lo && v <= p.hi;
    iso_str_add(t->out, " ");
    if (!isnan(v)) iso_term_style(t, in ? "32" : "31", in ? "inside" : "missed");
  }
  iso_str_fmt(t->out, "\n  %s parameters, %s tokens, %s", show(t, d->params, AS_COUNT, ISO_UNIT_COUNT, a),
              show(t, d->tokens, AS_COUNT, ISO_UNIT_COUNT, b), show(t, d->elapsed_s, AS_RES, ISO_UNIT_S, c));
  if (isfinite(d->budget.wall)) iso_str_fmt(t->out, " of %s", iso_text_res(d->budget.wall, ISO_UNIT_S, t->ascii, a));
  iso_str_add(t->out, "\n");
}

static void notes(iso_term *t, const iso_report_data *d) {
  if (!d->n_notes) return;
  iso_term_head(t, "Notes");
  for (int64_t i = 0; i < d->n_notes; i++) iso_term_wrap(t, t->ascii ? "  * " : "  • ", d->notes[i], strlen(d->notes[i]), t->text);
}

// Column k of `columns` shows samples from n^(k / columns) on: most of a loss curve happens early.
static void spark_log(iso_term *t, const double *v, int64_t n, int columns) {
  double mean[400];
  if (columns > (int)ISO_COUNT(mean)) columns = (int)ISO_COUNT(mean);
  for (int k = 0; k < columns; k++) {
    int64_t from = (int64_t)pow((double)n, (double)k / columns) - 1, to = (int64_t)pow((double)n, (double)(k + 1) / columns);
    mean[k] = 0;
    if (to <= from) to = from + 1;
    if (to > n) to = n;
    for (int64_t i = from; i < to; i++) mean[k] += v[i] / (double)(to - from);
  }
  iso_term_spark(t, mean, columns);
}

static void spark_of(iso_term *t, const iso_report_curve *c) {
  double *v = malloc((size_t)(c->n + 1) * sizeof *v);
  char a[ISO_TEXT_NUM], b[ISO_TEXT_NUM];
  int64_t n = 0;
  if (!v) {
    t->out->failed = true;
    return;
  }
  for (int64_t i = 0; i < c->n; i++)
    if (isfinite(c->s[i].train_loss)) v[n++] = c->s[i].train_loss;
  bool train = n > 0;
  for (int64_t i = 0; i < c->n && !train; i++)
    if (isfinite(c->s[i].val_loss)) v[n++] = c->s[i].val_loss;
  if (n) {
    iso_str_fmt(t->out, "  %-14.14s ", c->label);
    if (t->colour) iso_str_add(t->out, c->main ? "\033[33m" : "\033[36m");
    spark_log(t, v, n, t->width - 36);
    if (t->colour) iso_str_add(t->out, "\033[0m");
    iso_str_fmt(t->out, " %s %s %s\n", show(t, v[0], AS_FIXED4, ISO_UNIT_COUNT, a), t->ascii ? "->" : "→",
                show(t, v[n - 1], AS_FIXED4, ISO_UNIT_COUNT, b));
  }
  free(v);
}

static void curves(iso_term *t, const iso_report_data *d) {
  if (!d->n_curve) return;
  iso_term_head(t, "Training loss (steps on a log scale)");
  for (int main_first = 1; main_first >= 0; main_first--)
    for (int64_t i = 0; i < d->n_curve; i++)
      if (d->curve[i].main == (main_first == 1)) spark_of(t, &d->curve[i]);
}

static void bill_row(iso_term *t, iso_term_table *g, const char *name, iso_est p, double m, double limit, format f, iso_unit u) {
  char a[ISO_TEXT_NUM], text[ISO_TEXT_NUM];
  iso_term_cell(t, g, name);
  cell(t, g, p.mean, f, u);
  cell(t, g, m, f, u);
  iso_term_cell(t, g, iso_text_ratio(m, p.mean, t->ascii, a));
  (void)snprintf(text, sizeof text, "%+.1f%% %+.1f%%", 100 * (p.lo / p.mean - 1), 100 * (p.hi / p.mean - 1));
  iso_term_cell(t, g, iso_report_has_interval(p) && p.mean > 0 ? text : NULL);
  cell(t, g, isfinite(limit) ? limit : NAN, f, u);
}

static void bill(iso_term *t, const iso_report_data *d) {
  static const char *const HEAD[] = {"resource", "predicted", "measured", "ratio", "interval", "budget"};
  iso_term_table g;
  bool any = !isnan(d->bpb_predicted.mean) || !isnan(d->bpb);
  for (int i = 0; i < ISO_RES_COUNT; i++) any = any || iso_report_res_shown(d, (iso_res)i);
  if (!any) return;
  iso_term_head(t, d->totals_from_ledger ? "The bill (rows of the ledger with both numbers)" : "The bill");
  iso_term_table_open(&g, (int)ISO_COUNT(HEAD));
  cells(t, &g, HEAD, ISO_COUNT(HEAD));
  if (!isnan(d->bpb) || !isnan(d->bpb_predicted.mean)) bill_row(t, &g, "bits_per_byte", d->bpb_predicted, d->bpb, NAN, AS_FIXED4, ISO_UNIT_COUNT);
  if (!isnan(d->val_loss) || !isnan(d->val_loss_predicted.mean))
    bill_row(t, &g, "val_loss_nats", d->val_loss_predicted, d->val_loss, NAN, AS_FIXED4, ISO_UNIT_COUNT);
  for (int i = 0; i < ISO_RES_COUNT; i++) {
    iso_res r = iso_report_res_at(i);
    if (!iso_report_res_shown(d, r)) continue;
    iso_unit u = iso_res_get(r)->unit;
    bill_row(t, &g, iso_res_get(r)->name, iso_cost_get(&d->predicted, r), iso_cost_get(&d->measured, r).mean, iso_budget_get(&d->budget, r),
             u == ISO_UNIT_FLOP ? AS_SCI : AS_RES, u);
  }
  iso_term_table_close(t, &g);
}

static void ledger(iso_term *t, const iso_report_data *d) {
  static const char *const HEAD[] = {"work", "s predicted", "s measured", "ratio", "FLOPs", "peak bytes", "joules"};
  iso_term_table g;
  char a[ISO_TEXT_NUM];
  if (!d->n_ledger) return;
  iso_term_head(t, "Ledger");
  iso_term_table_open(&g, (int)ISO_COUNT(HEAD));
  cells(t, &g, HEAD, ISO_COUNT(HEAD));
  for (int64_t i = 0; i < d->n_ledger; i++) {
    const iso_run_row *r = &d->ledger[i];
    const iso_cost *c = r->state == ISO_ROW_OPEN ? &r->predicted : &r->measured;
    iso_term_cell(t, &g, r->label);
    cell(t, &g, r->predicted.wall.mean, AS_RES, ISO_UNIT_S);
    cell(t, &g, r->measured.wall.mean, AS_RES, ISO_UNIT_S);
    iso_term_cell(t, &g, r->state == ISO_ROW_OPEN ? "open" : iso_text_ratio(r->measured.wall.mean, r->predicted.wall.mean, t->ascii, a));
    cell(t, &g, c->train_flop.mean + c->infer_flop.mean, AS_SCI, ISO_UNIT_COUNT);
    cell(t, &g, c->peak_ram.mean, AS_RES, ISO_UNIT_BYTE);
    cell(t, &g, c->energy.mean, AS_RES, ISO_UNIT_JOULE);
  }
  iso_term_table_close(t, &g);
}

static void fit(iso_term *t, const iso_report_data *d) {
  const iso_report_fit *f = &d->fit;
  char a[ISO_TEXT_NUM], b[ISO_TEXT_NUM], c[ISO_TEXT_NUM];
  if (!f->known && !d->isoflop.known) return;
  iso_term_head(t, "Fitted law");
  if (f->known) {
    iso_str s = {0};
    iso_text_add(&s, f->formula ? f->formula : f->law ? f->law : "unnamed law", t->text);
    if (f->n_points >= 0) iso_str_fmt(&s, ", %lld runs", (long long)f->n_points);
    if (!isnan(f->objective)) iso_str_fmt(&s, ", objective %s", show(t, f->objective, AS_SIG, ISO_UNIT_COUNT, a));
    if (!isnan(f->c_max))
      iso_str_fmt(&s, ", FLOPs %s to %s", show(t, f->c_min, AS_SCI, ISO_UNIT_COUNT, a), show(t, f->c_max, AS_SCI, ISO_UNIT_COUNT, b));
    if (s.p) iso_term_wrap(t, "  ", s.p, s.n, t->text);
    s.n = 0;
    for (int i = 0; i < f->n_param; i++) {
      const iso_report_param *p = &f->param[i];
      iso_str_add(&s, i ? ", " : "");
      iso_text_add(&s, p->name, t->text);
      iso_str_fmt(&s, " %s", show(t, p->value, AS_SIG, ISO_UNIT_COUNT, a));
      if (p->hi > p->lo)
        iso_str_fmt(&s, " (%s%s%s)", show(t, p->lo, AS_SIG, ISO_UNIT_COUNT, b), range_sign(t), show(t, p->hi, AS_SIG, ISO_UNIT_COUNT, c));
    }
    if (s.n) iso_term_wrap(t, "  ", s.p, s.n, t->text);
    if (s.failed) t->out->failed = true;
    iso_str_free(&s);
  }
  if (d->isoflop.text) iso_term_wrap(t, "  IsoFLOP: ", d->isoflop.text, strlen(d->isoflop.text), t->text);
}

static void sweep(iso_term *t, const iso_report_data *d) {
  static const char *const HEAD[] = {"run", "FLOPs", "parameters", "tokens", "tok/param", "loss", "law", "off by"};
  iso_term_table g;
  char a[ISO_TEXT_NUM];
  if (!d->n_sweep) return;
  iso_term_head(t, "Sweep");
  iso_term_table_open(&g, (int)ISO_COUNT(HEAD));
  cells(t, &g, HEAD, ISO_COUNT(HEAD));
  for (int64_t i = 0; i < d->n_sweep; i++) {
    const iso_report_sweep *w = &d->sweep[i];
    iso_term_cell(t, &g, w->label ? w->label : w->final ? "final" : "sweep");
    cell(t, &g, w->flop, AS_SCI, ISO_UNIT_COUNT);
    cell(t, &g, w->params, AS_COUNT, ISO_UNIT_COUNT);
    cell(t, &g, w->tokens, AS_COUNT, ISO_UNIT_COUNT);
    cell(t, &g, w->tokens / w->params, AS_COUNT, ISO_UNIT_COUNT);
    cell(t, &g, w->loss, AS_FIXED4, ISO_UNIT_COUNT);
    cell(t, &g, w->law_loss, AS_FIXED4, ISO_UNIT_COUNT);
    (void)snprintf(a, sizeof a, "%+.2f%%", 100 * (w->loss / w->law_loss - 1));
    iso_term_cell(t, &g, isnan(w->law_loss) ? NULL : a);
  }
  iso_term_table_close(t, &g);
}

static void plan(iso_term *t, const iso_report_data *d) {
  const iso_report_plan *p = &d->plan;
  char a[ISO_TEXT_NUM], b[ISO_TEXT_NUM];
  if (!p->known) return;
  iso_term_head(t, "Chosen model");
  iso_str_fmt(t->out, "  %s parameters on %s tokens", show(t, p->params, AS_COUNT, ISO_UNIT_COUNT, a),
              show(t, p->tokens, AS_COUNT, ISO_UNIT_COUNT, b));
  if (!isnan(p->batch_tok)) iso_str_fmt(t->out, ", %s a step", show(t, p->batch_tok, AS_COUNT, ISO_UNIT_COUNT, a));
  if (!isnan(p->lr)) iso_str_fmt(t->out, ", peak learning rate %s", show(t, p->lr, AS_SIG, ISO_UNIT_COUNT, a));
  iso_str_add(t->out, "\n");
  if (p->config) {
    iso_str s = {0};
    iso_report_config(p->config, t->text, &s);
    if (s.p) iso_term_wrap(t, "  ", s.p, s.n, t->text);
    iso_str_free(&s);
  }
  if (p->why) iso_term_wrap(t, "  ", p->why, strlen(p->why), t->text);
}

static void front(iso_term *t, const iso_report_data *d) {
  bool bpb = d->metric && strcmp(d->metric, "bits_per_byte") == 0;
  for (int f = 0; f < ISO_REPORT_FRONTS; f++) {
    const iso_report_front *v = &d->front[f];
    bool flop = v->res == ISO_RES_train_flop;
    iso_term_table g;
    if (!v->n) continue;
    iso_term_head(t, v->predicted ? (flop ? "Predicted front, FLOPs" : "Predicted front, seconds")
                     : flop       ? "Measured front, FLOPs"
                                  : "Measured front, seconds");
    iso_term_table_open(&g, 4);
    iso_term_cell(t, &g, "point");
    iso_term_cell(t, &g, flop ? "FLOPs" : "seconds");
    iso_term_cell(t, &g, bpb ? "bits per byte" : "loss");
    iso_term_cell(t, &g, "parameters");
    for (int64_t i = 0; i < v->n; i++) {
      const iso_store_point *p = &d->points[v->idx[i]];
      iso_term_cell(t, &g, p->label);
      cell(t, &g, iso_cost_get(&p->cost, v->res).mean, flop ? AS_SCI : AS_RES, ISO_UNIT_S);
      cell(t, &g, p->quality, AS_FIXED4, ISO_UNIT_COUNT);
      cell(t, &g, p->n_params, AS_COUNT, ISO_UNIT_COUNT);
    }
    iso_term_table_close(t, &g);
  }
}

static void sample(iso_term *t, const iso_report_data *d) {
  if (!d->sample_n) return;
  unsigned flags = t->text & ~(unsigned)ISO_TEXT_LINE;
  iso_str s = {0};
  iso_term_head(t, "Sample");
  iso_str_put(&s, d->sample_prompt, d->sample_prompt ? d->sample_prompt_n : 0);
  iso_str_put(&s, d->sample, d->sample_n);
  iso_term_wrap(t, "  ", s.p, s.n, flags);
  if (s.failed) t->out->failed = true;
  iso_str_free(&s);
}

iso_status iso_report_text(const iso_report_data *d, const iso_report_term *o, iso_str *out, iso_err *err) {
  iso_term t;
  iso_term_open(&t, o, out);
  headline(&t, d);
  notes(&t, d);
  plan(&t, d);
  curves(&t, d);
  bill(&t, d);
  ledger(&t, d);
  fit(&t, d);
  sweep(&t, d);
  front(&t, d);
  if (isnan(d->bpb) && isnan(d->val_loss) && !d->n_ledger && !d->n_sweep && !d->n_curve && !d->fit.known && !d->plan.known)
    iso_str_add(out, "\n  Nothing to show yet: the store has no measurement, curve, fit or ledger of this run.\n");
  sample(&t, d);
  if (d->command) {
    iso_term_head(&t, "To reproduce");
    iso_term_wrap(&t, "  ", d->command, strlen(d->command), t.text);
  }
  return out->failed ? iso_fail(err, ISO_ENOMEM, "report: no memory for its text") : ISO_OK;
}
