// The tables and lists of the HTML report; every number is a <data> element that carries all its digits.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/html.h"
#include "report/text.h"

enum { H = ISO_TEXT_HTML | ISO_TEXT_LINE };

iso_res iso_report_res_at(int i) { return i == 0 ? ISO_RES_wall : i <= ISO_RES_wall ? (iso_res)(i - 1) : (iso_res)i; }

static bool nonzero(iso_est e) { return !isnan(e.mean) && e.mean != 0; }

bool iso_report_res_shown(const iso_report_data *d, iso_res r) {
  return nonzero(iso_cost_get(&d->predicted, r)) || nonzero(iso_cost_get(&d->measured, r)) || isfinite(iso_budget_get(&d->budget, r));
}

// <data value="all digits">shown</data>, or a dash.
static void value(iso_str *s, double v, const char *shown) {
  if (isnan(v))
    iso_str_add(s, "<span class=\"none\">–</span>");
  else
    iso_str_fmt(s, "<data value=\"%.17g\">%s</data>", v, shown);
}

typedef enum format { AS_COUNT, AS_SIG, AS_FIXED4, AS_SCI, AS_RES } format;
static char *show(double v, format f, iso_unit u, char *buf) {
  switch (f) {
    case AS_SIG: return iso_text_sig(v, false, buf);
    case AS_FIXED4: return iso_text_fixed(v, 4, false, buf);
    case AS_SCI: return iso_text_sci(v, false, buf);
    case AS_RES: return u == ISO_UNIT_FLOP && !isinf(v) ? iso_text_sci(v, false, buf) : iso_text_res(v, u, false, buf);  // the row says FLOP
    case AS_COUNT: break;
  }
  return iso_text_count(v, false, buf);
}

static void number(iso_str *s, double v, format f, iso_unit u) {
  char buf[ISO_TEXT_NUM];
  value(s, v, show(v, f, u, buf));
}

static void interval(iso_str *s, iso_est e, format f, iso_unit u) {
  if (!iso_report_has_interval(e)) return;
  iso_str_add(s, "<span class=\"iv\">");
  number(s, e.lo, f, u);
  iso_str_add(s, " – ");
  number(s, e.hi, f, u);
  iso_str_add(s, "</span>");
}

static void cell(iso_str *s, double v, format f, iso_unit u) {
  iso_str_add(s, "<td>");
  number(s, v, f, u);
  iso_str_add(s, "</td>");
}

static void card_open(iso_str *s, const char *title, bool lead) {
  iso_str_fmt(s, "<div class=\"card%s\"><h3>%s</h3>\n<div class=\"big\">", lead ? " lead" : "", title);
}

static void card_predicted(iso_str *s, iso_est e, double measured, format f, iso_unit u) {
  if (isnan(e.mean)) return;
  iso_str_add(s, "<p>predicted ");
  number(s, e.mean, f, u);
  if (iso_report_has_interval(e)) {
    bool in = measured >= e.lo && measured <= e.hi;
    iso_str_add(s, "<br>");
    number(s, e.lo, f, u);
    iso_str_add(s, " – ");
    number(s, e.hi, f, u);
    if (!isnan(measured)) iso_str_fmt(s, " <span class=\"%s\">%s</span>", in ? "in" : "off", in ? "inside" : "missed");
  }
  iso_str_add(s, "</p>");
}

// The resource that the budget speaks of: wall seconds when limited or measured, else training FLOPs.
static iso_res budget_res(const iso_report_data *d) {
  if (isfinite(d->budget.wall) || !isfinite(d->budget.train_flop)) return ISO_RES_wall;
  return ISO_RES_train_flop;
}

static void spent_card(const iso_report_data *d, iso_res r, const char *title, iso_str *s) {
  iso_est p = iso_cost_get(&d->predicted, r);
  double limit = iso_budget_get(&d->budget, r), used = iso_cost_get(&d->measured, r).mean;
  iso_unit u = iso_res_get(r)->unit;
  char buf[ISO_TEXT_NUM];
  if (r == ISO_RES_wall && isnan(used)) used = d->elapsed_s;
  if (isnan(used) && isnan(p.mean)) return;
  card_open(s, title, false);
  number(s, used, AS_RES, u);
  if (r == ISO_RES_train_flop)
    iso_str_add(s, "<small>FLOP</small>");
  else if (isfinite(limit))
    iso_str_fmt(s, "<small>of %s</small>", iso_text_res(limit, u, false, buf));
  iso_str_add(s, "</div>\n");
  if (isfinite(limit) && limit > 0 && !isnan(used))
    iso_str_fmt(s, "<div class=\"meter\" role=\"img\" aria-label=\"%.1f%% of the budget\"><i style=\"width:%.1f%%\"></i></div>", 100 * used / limit,
                fmin(100, 100 * used / limit));
  card_predicted(s, p, used, AS_RES, u);
  iso_str_add(s, "</div>\n");
}

void iso_html_cards(const iso_report_data *d, iso_str *s) {
  char buf[ISO_TEXT_NUM];
  bool bpb = !isnan(d->bpb) || !isnan(d->bpb_predicted.mean);
  if (bpb || !isnan(d->val_loss) || !isnan(d->val_loss_predicted.mean)) {
    double v = bpb ? d->bpb : d->val_loss;
    card_open(s, bpb ? "Bits per byte, held out" : "Held-out loss, nats per token", true);
    number(s, v, AS_FIXED4, ISO_UNIT_COUNT);
    iso_str_add(s, "</div>\n");
    if (bpb && !isnan(d->bpb_se)) iso_str_fmt(s, "<p>standard error %s</p>", iso_text_fixed(d->bpb_se, 4, false, buf));
    card_predicted(s, bpb ? d->bpb_predicted : d->val_loss_predicted, v, AS_FIXED4, ISO_UNIT_COUNT);
    iso_str_add(s, "</div>\n");
  }
  spent_card(d, ISO_RES_wall, budget_res(d) == ISO_RES_wall && isfinite(d->budget.wall) ? "Seconds of the budget" : "Time", s);
  spent_card(d, ISO_RES_train_flop, "Training compute", s);
  if (!isnan(d->params)) {
    card_open(s, "Parameters", false);
    number(s, d->params, AS_COUNT, ISO_UNIT_COUNT);
    iso_str_add(s, "</div>\n");
    if (d->tokens > 0 && d->params > 0) iso_str_fmt(s, "<p>%s tokens per parameter</p>", iso_text_count(d->tokens / d->params, false, buf));
    iso_str_add(s, "</div>\n");
  }
  if (!isnan(d->tokens)) {
    card_open(s, "Training tokens", false);
    number(s, d->tokens, AS_COUNT, ISO_UNIT_COUNT);
    iso_str_add(s, "</div>\n");
    if (d->plan.batch_tok > 0) iso_str_fmt(s, "<p>%s in each step</p>", iso_text_count(d->plan.batch_tok, false, buf));
    iso_str_add(s, "</div>\n");
  }
}

// Largest relative distance of measured values and interval ends from the predictions, between 10% and 100%.
static void widen(double *span, iso_est p, double m) {
  const double at[] = {p.lo, p.hi, m};
  for (size_t i = 0; i < ISO_COUNT(at); i++) {
    double x = fabs(at[i] / p.mean - 1);
    if (isfinite(x)) *span = fmin(1, fmax(*span, x));
  }
}
static double bar_span(const iso_report_data *d) {
  double span = 0.1;
  widen(&span, d->bpb_predicted, d->bpb);
  widen(&span, d->val_loss_predicted, d->val_loss);
  for (int r = 0; r < ISO_RES_COUNT; r++)
    if (iso_report_res_shown(d, (iso_res)r)) widen(&span, iso_cost_get(&d->predicted, (iso_res)r), iso_cost_get(&d->measured, (iso_res)r).mean);
  return ceil(span * 20) / 20;
}

static double bar_at(double v, iso_est p, double span) { return fmax(0, fmin(100, 50 + 50 * (v / p.mean - 1) / span)); }

static void total_row(iso_str *s, const char *name, const char *help, iso_est p, double m, double limit, format f, iso_unit u, double span) {
  char buf[ISO_TEXT_NUM];
  iso_str_fmt(s, "<tr><td>%s<span class=\"help\">%s</span></td><td>", name, help);
  number(s, p.mean, f, u);
  interval(s, p, f, u);
  iso_str_add(s, "</td><td>");
  number(s, m, f, u);
  iso_str_add(s, "</td><td>");
  value(s, isfinite(m / p.mean) ? m / p.mean : NAN, iso_text_ratio(m, p.mean, false, buf));
  iso_str_add(s, "</td><td class=\"t\">");
  if (p.mean > 0 && !isnan(m)) {
    iso_str_add(s, "<span class=\"bar\" aria-hidden=\"true\"><span class=\"mid\"></span>");
    if (iso_report_has_interval(p)) {
      double lo = bar_at(p.lo, p, span), hi = bar_at(p.hi, p, span);
      iso_str_fmt(s, "<span class=\"iv\" style=\"left:%.1f%%;width:%.1f%%\"></span>", lo, fmax(hi - lo, 0.5));
    }
    iso_str_fmt(s, "<span class=\"dot\" style=\"left:%.1f%%\"></span></span>", bar_at(m, p, span));
  }
  iso_str_add(s, "</td><td>");
  if (isfinite(limit)) {
    number(s, limit, f, u);
    if (!isnan(m)) iso_str_fmt(s, "<span class=\"iv%s\">%.1f%% used</span>", m > limit ? " off" : "", 100 * m / limit);
  }
  iso_str_add(s, "</td></tr>\n");
}

void iso_html_totals(const iso_report_data *d, iso_str *s) {
  double span = bar_span(d);
  iso_str_fmt(
      s,
      "<p class=\"cap\">%s The bar runs from −%.0f%% to +%.0f%% around the prediction; its band is the predicted "
      "interval, its dot what was measured.</p>\n<div class=\"scroll\"><table id=\"totals\">",
      d->totals_from_ledger ? "Sums over the ledger's rows that were both predicted and measured." : "The whole run, from process start to its end.",
      100 * span, 100 * span);
  iso_str_add(
      s, "<thead><tr><th>resource</th><th>predicted</th><th>measured</th><th>ratio</th><th class=\"t\"></th><th>budget</th></tr></thead><tbody>\n");
  if (!isnan(d->bpb) || !isnan(d->bpb_predicted.mean))
    total_row(s, "bits_per_byte", "held-out text", d->bpb_predicted, d->bpb, NAN, AS_FIXED4, ISO_UNIT_COUNT, span);
  if (!isnan(d->val_loss) || !isnan(d->val_loss_predicted.mean))
    total_row(s, "val_loss_nats", "held-out loss, nats per token", d->val_loss_predicted, d->val_loss, NAN, AS_FIXED4, ISO_UNIT_COUNT, span);
  for (int i = 0; i < ISO_RES_COUNT; i++) {
    iso_res r = iso_report_res_at(i);
    const iso_res_info *info = iso_res_get(r);
    if (iso_report_res_shown(d, r))
      total_row(s, info->name, info->help, iso_cost_get(&d->predicted, r), iso_cost_get(&d->measured, r).mean, iso_budget_get(&d->budget, r), AS_RES,
                info->unit, span);
  }
  iso_str_add(s, "</tbody></table></div>\n");
}

static bool in_ledger(const iso_report_data *d, iso_res r) {
  for (int64_t i = 0; i < d->n_ledger; i++)
    if (nonzero(iso_cost_get(&d->ledger[i].predicted, r)) || nonzero(iso_cost_get(&d->ledger[i].measured, r))) return true;
  return false;
}

static void ledger_cell(iso_str *s, iso_est p, iso_est m, iso_unit u) {
  char buf[ISO_TEXT_NUM];
  iso_str_add(s, "<td>");
  number(s, m.mean, AS_RES, u);
  if (!isnan(p.mean)) {
    iso_str_add(s, "<span class=\"p\">");
    number(s, p.mean, AS_RES, u);
    if (isfinite(m.mean / p.mean)) iso_str_fmt(s, " · %s", iso_text_ratio(m.mean, p.mean, false, buf));
    iso_str_add(s, "</span>");
  }
  iso_str_add(s, "</td>");
}

void iso_html_ledger(const iso_report_data *d, iso_str *s) {
  static const char *const STATES[] = {
      [ISO_ROW_OPEN] = "open", [ISO_ROW_SETTLED] = "", [ISO_ROW_RELEASED] = "released", [ISO_ROW_CHARGED] = "not reserved"};
  if (!d->n_ledger) return;
  iso_str_add(s,
              "<h3>Ledger</h3><p class=\"cap\">Work is reserved before it begins and settled after it: "
              "measured, below it predicted · measured ÷ predicted.</p>\n<div class=\"scroll\"><table id=\"ledger\"><thead><tr><th>work</th>");
  for (int i = 0; i < ISO_RES_COUNT; i++)
    if (in_ledger(d, iso_report_res_at(i))) iso_str_fmt(s, "<th>%s</th>", iso_res_get(iso_report_res_at(i))->name);
  iso_str_add(s, "</tr></thead><tbody>\n");
  for (int64_t k = 0; k < d->n_ledger; k++) {
    const iso_run_row *row = &d->ledger[k];
    iso_str_add(s, "<tr><td>");
    iso_text_add(s, row->label, H);
    if (STATES[row->state][0]) iso_str_fmt(s, " <span class=\"state\">%s</span>", STATES[row->state]);
    iso_str_add(s, "</td>");
    for (int i = 0; i < ISO_RES_COUNT; i++) {
      iso_res r = iso_report_res_at(i);
      if (in_ledger(d, r)) ledger_cell(s, iso_cost_get(&row->predicted, r), iso_cost_get(&row->measured, r), iso_res_get(r)->unit);
    }
    iso_str_add(s, "</tr>\n");
  }
  iso_str_add(s, "</tbody></table></div>\n");
}

void iso_html_sweep(const iso_report_data *d, iso_str *s) {
  iso_str_add(s,
              "<div class=\"scroll\"><table id=\"sweep-table\"><thead><tr><th>run</th><th>parameters</th><th>tokens</th><th>tokens per "
              "parameter</th><th>FLOPs</th>"
              "<th>loss</th><th>law</th><th>measured beyond the law</th></tr></thead><tbody>\n");
  for (int64_t i = 0; i < d->n_sweep; i++) {
    const iso_report_sweep *w = &d->sweep[i];
    iso_str_add(s, "<tr><td>");
    iso_text_add(s, w->label ? w->label : w->final ? "final" : "sweep", H);
    iso_str_add(s, "</td>");
    cell(s, w->params, AS_COUNT, ISO_UNIT_COUNT);
    cell(s, w->tokens, AS_COUNT, ISO_UNIT_COUNT);
    cell(s, w->tokens / w->params, AS_COUNT, ISO_UNIT_COUNT);
    cell(s, w->flop, AS_SCI, ISO_UNIT_COUNT);
    cell(s, w->loss, AS_FIXED4, ISO_UNIT_COUNT);
    cell(s, w->law_loss, AS_FIXED4, ISO_UNIT_COUNT);
    double rel = 100 * (w->loss / w->law_loss - 1);
    char buf[ISO_TEXT_NUM];
    (void)snprintf(buf, sizeof buf, "%+.2f%%", rel);
    iso_str_add(s, "<td>");
    value(s, rel, buf);
    iso_str_add(s, "</td></tr>\n");
  }
  iso_str_add(s, "</tbody></table></div>\n");
}

static double param_named(const iso_report_fit *f, const char *name) {
  for (int i = 0; i < f->n_param; i++)
    if (strcmp(f->param[i].name, name) == 0) return f->param[i].value;
  return NAN;
}

void iso_html_fit_intro(const iso_report_data *d, iso_str *s) {
  const iso_report_fit *f = &d->fit;
  double e = param_named(f, "E"), a = param_named(f, "A"), b = param_named(f, "B"), al = param_named(f, "alpha"), be = param_named(f, "beta");
  char x[5][ISO_TEXT_NUM];
  if (!isnan(e + a + b + al + be)) {
    iso_str_fmt(s, "<p class=\"formula\"><i>L</i>(<i>N</i>, <i>D</i>) = %s + %s / <i>N</i><sup>%s</sup> + %s / <i>D</i><sup>%s</sup></p>\n",
                iso_text_sig(e, false, x[0]), iso_text_sig(a, false, x[1]), iso_text_fixed(al, 3, false, x[2]), iso_text_sig(b, false, x[3]),
                iso_text_fixed(be, 3, false, x[4]));
  } else if (f->formula) {
    iso_str_add(s, "<p class=\"formula\">");
    iso_text_add(s, f->formula, H);
    iso_str_add(s, "</p>\n");
  }
  iso_str_add(s, "<p>");
  if (f->law) {
    iso_str_add(s, "The law <i>");
    iso_text_add(s, f->law, H);
    iso_str_add(s, "</i>");
  } else {
    iso_str_add(s, "A law");
  }
  if (f->n_points >= 0) iso_str_fmt(s, ", fitted to %lld runs", (long long)f->n_points);
  if (!isnan(f->delta)) iso_str_fmt(s, " by Huber loss (δ = %g) on the logarithm of the loss", f->delta);
  if (f->resamples > 0) iso_str_fmt(s, "; intervals from %lld bootstrap refits", (long long)f->resamples);
  iso_str_add(s, ".");
  if (!isnan(f->c_max)) {
    iso_str_fmt(s, " It saw %s to %s parameters,", iso_text_count(f->n_min, false, x[0]), iso_text_count(f->n_max, false, x[1]));
    iso_str_fmt(s, " %s to %s tokens and %s to %s FLOPs.", iso_text_count(f->d_min, false, x[0]), iso_text_count(f->d_max, false, x[1]),
                iso_text_sci(f->c_min, false, x[2]), iso_text_sci(f->c_max, false, x[3]));
  }
  if (f->source) {
    iso_str_add(s, " Source: ");
    iso_text_add(s, f->source, H);
    iso_str_add(s, ".");
  }
  iso_str_add(s, "</p>\n");
}

void iso_html_fit_caption(const iso_report_data *d, iso_str *s) {
  iso_str_add(s, "The curve is the law at the best size for each compute, dashed beyond what was fitted");
  if (d->fit.curve_has_interval) iso_str_fmt(s, "; the band is its %.0f%% interval", isnan(d->fit.level) ? 90 : 100 * d->fit.level);
  iso_str_add(s, ". Sweep runs lie above it because most have another size than the best.");
}

void iso_html_fit_table(const iso_report_data *d, iso_str *s) {
  const iso_report_fit *f = &d->fit;
  if (!f->n_param) return;
  iso_str_fmt(s,
              "<div class=\"scroll\"><table id=\"law\"><thead><tr><th>parameter</th><th>estimate</th><th>low</th><th>high</th><th>standard "
              "error</th></tr></thead><tbody>\n");
  for (int i = 0; i < f->n_param; i++) {
    iso_str_add(s, "<tr><td>");
    iso_text_add(s, f->param[i].name, H);
    iso_str_add(s, "</td>");
    const double v[] = {f->param[i].value, f->param[i].lo, f->param[i].hi, f->param[i].se};
    for (size_t k = 0; k < ISO_COUNT(v); k++) cell(s, v[k], AS_SIG, ISO_UNIT_COUNT);
    iso_str_add(s, "</tr>\n");
  }
  iso_str_add(s, "</tbody></table></div>\n");
  char buf[ISO_TEXT_NUM];
  if (!isnan(f->objective)) iso_str_fmt(s, "<p class=\"cap\">Objective %s.</p>\n", iso_text_sig(f->objective, false, buf));
}

// One <dt>, <dd> pair of a number with the interval that was predicted.
static void item_number(iso_str *s, const char *name, double v, format f) {
  if (isnan(v)) return;
  iso_str_fmt(s, "<dt>%s</dt><dd>", name);
  number(s, v, f, ISO_UNIT_COUNT);
  iso_str_add(s, "</dd>\n");
}
static void item_est(iso_str *s, const char *name, iso_est e, double measured) {
  if (isnan(e.mean)) return;
  iso_str_fmt(s, "<dt>%s</dt><dd>", name);
  number(s, e.mean, AS_FIXED4, ISO_UNIT_COUNT);
  if (iso_report_has_interval(e)) {
    iso_str_add(s, " (");
    number(s, e.lo, AS_FIXED4, ISO_UNIT_COUNT);
    iso_str_add(s, " – ");
    number(s, e.hi, AS_FIXED4, ISO_UNIT_COUNT);
    iso_str_add(s, ")");
  }
  if (!isnan(measured)) {
    iso_str_add(s, ", measured ");
    number(s, measured, AS_FIXED4, ISO_UNIT_COUNT);
  }
  iso_str_add(s, "</dd>\n");
}
static void item_text(iso_str *s, const char *name, const char *text) {
  if (!text || !*text) return;
  iso_str_fmt(s, "<dt>%s</dt><dd>", name);
  iso_text_add(s, text, H);
  iso_str_add(s, "</dd>\n");
}

void iso_html_plan(const iso_report_data *d, iso_str *s) {
  const iso_report_plan *p = &d->plan;
  if (p->why) {
    iso_str_add(s, "<p>");
    iso_text_add(s, p->why, H);
    iso_str_add(s, "</p>\n");
  }
  iso_str_add(s, "<dl>\n");
  item_number(s, "Parameters", p->params, AS_COUNT);
  item_number(s, "Training tokens", p->tokens, AS_COUNT);
  item_number(s, "Tokens per step", p->batch_tok, AS_COUNT);
  item_number(s, "Peak learning rate", p->lr, AS_SIG);
  item_est(s, "Loss, predicted", p->loss, d->val_loss);
  item_est(s, "Bits per byte, predicted", p->bpb, d->bpb);
  if (p->config) {
    iso_str_add(s, "<dt>Configuration</dt><dd>");
    iso_report_config(p->config, H, s);
    iso_str_add(s, "</dd>\n");
  }
  iso_str_add(s, "</dl>\n");
}

void iso_html_origin(const iso_report_data *d, iso_str *s) {
  if (d->command) {
    iso_str_add(s, "<pre>");
    iso_text_add(s, d->command, ISO_TEXT_HTML);
    iso_str_add(s, "</pre>\n");
  }
  iso_str t = {0};
  char buf[ISO_TEXT_NUM];
  iso_str_add(s, "<dl>\n");
  item_text(s, "Run", d->id);
  item_text(s, "Budget", d->budget_text);
  iso_report_machine(d, 0, &t);
  item_text(s, "Machine", t.p);
  iso_str_free(&t);
  if (d->has_hw) {
    iso_str_fmt(&t, "%s FLOP/s", iso_text_sci(d->hw.gemm_f32_flop_s, false, buf));
    if (!isnan(d->hw.gemm_f32_flop_s)) item_text(s, "Best f32 matrix product", t.p);
    iso_str_free(&t);
    item_text(s, "Energy source", d->hw.energy_source);
  }
  iso_report_when(d->created, 0, &t);
  item_text(s, "Started", t.p);
  iso_str_free(&t);
  iso_report_when(d->ended, 0, &t);
  item_text(s, "Ended", t.p);
  iso_str_free(&t);
  item_text(s, "Revision", d->rev);
  if (d->seed >= 0) iso_str_fmt(s, "<dt>Seed</dt><dd>%lld</dd>\n", (long long)d->seed);
  item_text(s, "Data", d->data_hash);
  item_text(s, "Tokenizer", d->tok_hash);
  item_text(s, "Conventions", d->convention);
  if (d->steal_s > 0) iso_str_fmt(s, "<dt>Taken by the hypervisor</dt><dd>%s of CPU time</dd>\n", iso_text_res(d->steal_s, ISO_UNIT_S, false, buf));
  item_text(s, "Output", d->out_dir);
  iso_str_add(s, "</dl>\n");
  if (t.failed) s->failed = true;
}
