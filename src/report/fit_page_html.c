// The document of a fit's page: web/fit.html filled in with its tables, data, style and scripts.
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "gen_chart_js.h"
#include "gen_charts_js.h"
#include "gen_fit_js.h"
#include "gen_fit_template.h"
#include "gen_report_css.h"
#include "report/fit_page.h"
#include "report/template.h"
#include "report/text.h"

enum { H = ISO_TEXT_HTML | ISO_TEXT_LINE };

static void number(iso_str *s, double v) {
  char buf[ISO_TEXT_NUM];
  if (isnan(v))
    iso_str_add(s, "<span class=\"none\">–</span>");
  else
    iso_str_fmt(s, "<data value=\"%.17g\">%s</data>", v, iso_text_sig(v, false, buf));
}

static void cell(iso_str *s, double v) {
  iso_str_add(s, "<td>");
  number(s, v);
  iso_str_add(s, "</td>");
}

static void range(iso_str *s, double lo, double hi) {
  iso_str_add(s, "<td>");
  if (isfinite(lo) && isfinite(hi)) {
    number(s, lo);
    iso_str_add(s, " – ");
    number(s, hi);
  } else {
    number(s, NAN);
  }
  iso_str_add(s, "</td>");
}

static void w_title(const iso_fit_page *p, iso_str *s) {
  if (p->fit) {
    iso_str_fmt(s, "%s fitted to ", p->rows->law->base.name);
  } else {
    iso_str_add(s, "IsoFLOP methods on ");
  }
  const char *base = p->source ? strrchr(p->source, '/') : NULL;
  iso_text_add(s, base ? base + 1 : p->source, H);
}

static void w_sub(const iso_fit_page *p, iso_str *s) {
  iso_str_fmt(s, "%lld rows", (long long)p->rows->n);
  if (p->held && p->held->n) iso_str_fmt(s, ", %lld held out", (long long)p->held->n);
  iso_str_add(s, " · ");
  iso_text_add(s, p->source, H);
}

static void w_formula(const iso_fit_page *p, iso_str *s) { iso_text_add(s, p->rows->law->formula, H); }

static void w_warnings(const iso_fit_page *p, iso_str *s) {
  for (int i = 0; p->fit && i < p->fit->n_warn; i++) {
    iso_str_add(s, "<li>");
    iso_text_add(s, p->fit->warn[i], H);
    iso_str_add(s, "</li>\n");
  }
}

static void w_params(const iso_fit_page *p, iso_str *s) {
  const iso_lawfit *f = p->fit;
  iso_str_fmt(s,
              "<div class=\"scroll\"><table id=\"params\"><thead><tr><th>parameter</th><th>estimate</th><th>%.0f%% interval</th><th>s.e.</th></tr>"
              "</thead><tbody>\n",
              100 * f->level);
  for (int k = 0; k < f->law->n_params; k++) {
    bool e = f->law->param[k].is_log;
    double v = e ? exp(f->p[k]) : f->p[k];
    iso_str_add(s, "<tr><td>");
    iso_text_add(s, f->law->param[k].sign, H);
    iso_str_add(s, "</td>");
    cell(s, v);
    range(s, e ? exp(f->lo[k]) : f->lo[k], e ? exp(f->hi[k]) : f->hi[k]);
    cell(s, e ? v * f->se[k] : f->se[k]);
    iso_str_add(s, "</tr>\n");
  }
  iso_str_add(s, "</tbody></table></div>\n<p class=\"cap\">");
  iso_str_fmt(s, "Objective %s", iso_law_objective_name(f->objective));
  if (f->objective == ISO_LAW_HUBER || f->objective == ISO_LAW_HUBER_LOG) iso_str_fmt(s, " with delta %g", f->delta);
  iso_str_add(s, ": ");
  number(s, f->value);
  iso_str_add(s, "; residuals ");
  number(s, f->rmse);
  iso_str_fmt(s, " root mean square%s, R² ", iso_law_objective_is_log(f->objective) ? " of the logarithm" : "");
  number(s, f->r2);
  iso_str_fmt(s, "; %d of the best %d of %d starts agree.</p>", f->agree, f->finalists, f->starts);
}

static void w_resid_charts(const iso_fit_page *p, iso_str *s) {
  const iso_lawfit *f = p->fit;
  for (int k = 0; k <= f->law->n_inputs; k++) {
    double lo = k < f->law->n_inputs ? f->x_lo[k] : f->flop_lo, hi = k < f->law->n_inputs ? f->x_hi[k] : f->flop_hi;
    if (!(hi > lo * (1 + 1e-9))) continue;
    iso_str_fmt(
        s,
        "<figure><div class=\"chart\"><canvas id=\"c-res-%d\" data-axis=\"%d\" role=\"img\" aria-label=\"Residuals against %s\"></canvas></div>"
        "</figure>\n",
        k, k, iso_lawfit_axis_name(f->law, k));
  }
}

static void w_held(const iso_fit_page *p, iso_str *s) {
  const iso_lawfit_score *h = p->score;
  const iso_law *law = p->held->law;
  bool rel = iso_law_objective_is_log(p->fit->objective);
  iso_str_add(s, "<div class=\"scroll\"><table id=\"held\"><thead><tr><th>line</th>");
  for (int k = 0; k < law->n_inputs; k++) iso_str_fmt(s, "<th>%s</th>", law->input[k].name);
  iso_str_fmt(s, "<th>observed</th><th>predicted</th><th>%.0f%% interval</th><th>error%s</th><th class=\"t\">verdict</th></tr></thead><tbody>\n",
              100 * p->fit->level, rel ? ", relative" : "");
  for (int64_t i = 0; i < h->n; i++) {
    const iso_lawfit_held *r = &h->at[i];
    iso_str_fmt(s, "<tr><td>%lld</td>", (long long)p->held->line[i]);
    for (int k = 0; k < law->n_inputs; k++) cell(s, p->held->x[i * law->n_inputs + k]);
    cell(s, r->y);
    cell(s, r->v.mid);
    range(s, r->v.lo, r->v.hi);
    cell(s, r->error);
    iso_str_fmt(s, "<td class=\"t %s\">%s</td></tr>\n",
                r->refused  ? "none"
                : r->inside ? "in"
                            : "off",
                r->refused  ? "refused: too far out"
                : r->inside ? "inside"
                            : "outside");
  }
  iso_str_add(s, "</tbody></table></div>\n<p class=\"cap\">Mean absolute error ");
  number(s, h->mean_abs);
  iso_str_add(s, ", bias ");
  number(s, h->bias);
  iso_str_add(s, ", largest ");
  number(s, h->max_abs);
  iso_str_fmt(s, "; %lld of %lld rows answered.</p>", (long long)h->used, (long long)h->n);
}

static void level_row(iso_str *s, const char *method, double flop, int64_t n, iso_fit_interval params, double loss, const char *remark) {
  iso_str_fmt(s, "<tr><td>%s</td>", method);
  cell(s, flop);
  iso_str_fmt(s, "<td>%lld</td>", (long long)n);
  cell(s, params.mid);
  range(s, params.lo, params.hi);
  cell(s, loss);
  iso_str_fmt(s, "<td class=\"t\">%s</td></tr>\n", remark);
}

static void power_row(iso_str *s, const char *method, double coef, iso_fit_interval a, double level) {
  if (!isfinite(a.mid)) return;
  iso_str_fmt(s, "<p>%s: N* = ", method);
  number(s, coef);
  iso_str_add(s, " C<sup>a</sup>, a = ");
  number(s, a.mid);
  if (isfinite(a.lo)) {
    iso_str_fmt(s, ", %.0f%% interval ", 100 * level);
    number(s, a.lo);
    iso_str_add(s, " – ");
    number(s, a.hi);
  }
  iso_str_add(s, ".</p>\n");
}

static void w_powers(const iso_fit_page *p, iso_str *s) {
  if (p->curves) power_row(s, "Interpolated curves", p->curves->n_coef, p->curves->n_exponent, p->curves->level);
  if (p->parabolas) power_row(s, "Parabolas", exp(p->parabolas->log_k), p->parabolas->a, p->parabolas->level);
  if (p->envelope) power_row(s, "Envelope", p->envelope->n_coef, p->envelope->n_exponent, p->envelope->level);
  if (!p->text) return;
  iso_str_add(s, "<p>");
  iso_text_add(s, p->text, H);
  iso_str_add(s, "</p>\n");
}

static void w_levels(const iso_fit_page *p, iso_str *s) {
  iso_str_add(s,
              "<div class=\"scroll\"><table id=\"levels\"><thead><tr><th>method</th><th>C (FLOP)</th><th>sizes</th><th>N*</th><th>interval</th>"
              "<th>target</th><th class=\"t\">remark</th></tr></thead><tbody>\n");
  for (int i = 0; p->curves && i < p->curves->n; i++) {
    const iso_curve *c = &p->curves->at[i];
    level_row(s, "curve", c->flop, c->n, c->params, c->loss,
              c->flags & ISO_CURVE_EDGE       ? "at the edge of the sizes tried: not used"
              : c->flags & ISO_CURVE_UNSTABLE ? "with noise mostly at the edge: not used"
                                              : "");
  }
  for (int i = 0; p->parabolas && i < p->parabolas->n; i++) {
    const iso_parabola *c = &p->parabolas->at[i];
    level_row(s, "parabola", c->flop, c->n, c->params, c->loss,
              c->flags & ISO_PARABOLA_CONCAVE   ? "opens downwards: no minimum"
              : c->flags & ISO_PARABOLA_OUTSIDE ? "outside the sizes tried: not used"
                                                : "");
  }
  iso_str_add(s, "</tbody></table></div>\n");
}

static void w_checklist(const iso_fit_page *p, iso_str *s) {
  iso_lawfit_item items[ISO_LAWFIT_ITEMS];
  const char *section = "";
  int n = iso_fit_page_checklist(p, items);
  for (int i = 0; i < n; i++) {
    if (strcmp(section, items[i].section) != 0) iso_str_fmt(s, "%s<h3>%s</h3>\n<dl>\n", i ? "</dl>\n" : "", items[i].section);
    section = items[i].section;
    iso_str_add(s, "<dt>");
    iso_text_add(s, items[i].question, H);
    iso_str_add(s, items[i].answer[0] ? "</dt><dd>" : "</dt><dd class=\"none\">");
    iso_text_add(s, items[i].answer[0] ? items[i].answer : "not in the table: say it where you publish the fit", H);
    iso_str_add(s, "</dd>\n");
  }
  iso_str_add(s, "</dl>\n");
}

static void w_origin(const iso_fit_page *p, iso_str *s) {
  const struct { const char *name, *value; } row[] = {{"Command", p->command}, {"Runs", p->source}, {"Target", p->metric}, {"Revision", p->rev}};
  iso_str_add(s, "<dl>\n");
  for (size_t i = 0; i < ISO_COUNT(row); i++) {
    if (!row[i].value) continue;
    iso_str_fmt(s, "<dt>%s</dt><dd>", row[i].name);
    iso_text_add(s, row[i].value, H);
    iso_str_add(s, "</dd>\n");
  }
  iso_str_add(s, "</dl>\n");
}

static void w_css(const iso_fit_page *p, iso_str *s) {
  (void)p;
  iso_str_put(s, iso_report_css, iso_report_css_n);
}
static void w_js(const iso_fit_page *p, iso_str *s) {
  (void)p;
  iso_str_put(s, iso_charts_js, iso_charts_js_n);
  iso_str_put(s, iso_fit_js, iso_fit_js_n);
}
static void w_chart(const iso_fit_page *p, iso_str *s) {
  (void)p;
  iso_str_put(s, iso_chart_js, iso_chart_js_n);
}
static void w_data(const iso_fit_page *p, iso_str *s) {
  json_t *j = NULL;
  iso_err ignored;
  if (iso_fit_page_json(p, &j, &ignored) != ISO_OK) s->failed = true;
  iso_template_json(j, s);
  json_decref(j);
}

static bool has_fit(const iso_fit_page *p) { return p->fit != NULL; }
static bool has_warnings(const iso_fit_page *p) { return p->fit && p->fit->n_warn > 0; }
static bool has_checklist(const iso_fit_page *p) { return p->fit || p->points; }
static bool has_levels(const iso_fit_page *p) { return p->curves || p->parabolas; }
static bool has_power(const iso_fit_page *p) {
  iso_lawfit_best b;
  iso_err ignored = {0};
  if (p->curves || p->parabolas || p->envelope) return true;
  if (!p->fit || p->fit->law->at_params < 0 || p->fit->law->at_tokens < 0 || !(p->fit->flop_hi > 0)) return false;
  iso_lawfit bare = *p->fit;
  bare.resamples = 0;
  return iso_lawfit_optimum(&bare, NULL, bare.flop_hi, bare.level, &b, &ignored) == ISO_OK;
}
static bool has_held(const iso_fit_page *p) { return p->fit && p->score && p->score->n > 0; }

typedef struct slot {
  const char *name;
  void (*write)(const iso_fit_page *p, iso_str *s);
  bool (*keep)(const iso_fit_page *p);
} slot;
static const slot SLOTS[] = {
    {"title", w_title, NULL},
    {"sub", w_sub, NULL},
    {"css", w_css, NULL},
    {"formula", w_formula, NULL},
    {"warnings", w_warnings, has_warnings},
    {"fit", NULL, has_fit},
    {"params", w_params, NULL},
    {"resid_charts", w_resid_charts, NULL},
    {"held", w_held, has_held},
    {"isoflop", NULL, has_levels},
    {"power", NULL, has_power},
    {"powers", w_powers, NULL},
    {"levels", w_levels, NULL},
    {"checklist", w_checklist, has_checklist},
    {"origin", w_origin, NULL},
    {"data", w_data, NULL},
    {"chart_js", w_chart, NULL},
    {"js", w_js, NULL},
};

static const slot *find_slot(const char *name) {
  for (size_t i = 0; i < ISO_COUNT(SLOTS); i++)
    if (strcmp(SLOTS[i].name, name) == 0) return &SLOTS[i];
  return NULL;
}

static bool write_slot(const void *self, const char *name, iso_str *s) {
  const slot *at = find_slot(name);
  if (!at || !at->write) return false;
  at->write(self, s);
  return true;
}

static int keep_slot(const void *self, const char *name) {
  const slot *at = find_slot(name);
  return !at || !at->keep ? -1 : at->keep(self);
}

iso_status iso_fit_page_html(const iso_fit_page *p, iso_str *out, iso_err *err) {
  const iso_template t = {"web/fit.html", (const char *)iso_fit_template, p, write_slot, keep_slot};
  ISO_TRY(iso_template_fill(&t, out, err));
  return out->failed ? iso_fail(err, ISO_ENOMEM, "page: no memory for the HTML document") : ISO_OK;
}

iso_status iso_fit_page_save(iso_ctx *c, const iso_fit_page *p, const char *path, iso_err *err) {
  iso_str s = {0};
  iso_status st = iso_fit_page_html(p, &s, err);
  if (st == ISO_OK) st = iso_file_put(c, path, s.p, s.n, err);
  iso_str_free(&s);
  return st;
}
