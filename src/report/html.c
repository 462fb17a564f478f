// The HTML report: web/report.html filled in with a run's data, its style, its script and Chart.js.
#include "report/html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "gen_chart_js.h"
#include "gen_charts_js.h"
#include "gen_report_css.h"
#include "gen_report_js.h"
#include "gen_report_template.h"
#include "report/template.h"
#include "report/text.h"

enum { H = ISO_TEXT_HTML | ISO_TEXT_LINE };

// A name of the template: what {{name}} writes, and whether {{?name}} ... {{/name}} is kept.
typedef struct slot {
  const char *name;
  void (*write)(const iso_report_data *d, iso_str *s);
  bool (*keep)(const iso_report_data *d);
} slot;

// "5 minutes": in whole units where it is one.
static void title_seconds(double v, iso_str *s) {
  double unit = fmod(v, 3600) == 0 ? 3600 : fmod(v, 60) == 0 ? 60 : 1;
  iso_str_fmt(s, "%.6g %s%s", v / unit, unit == 3600 ? "hour" : unit == 60 ? "minute" : "second", v == unit ? "" : "s");
}

void iso_report_title(const iso_report_data *d, unsigned flags, iso_str *s) {
  char buf[ISO_TEXT_NUM];
  int n = 0;
  if (d->title) {
    iso_text_add(s, d->title, flags);
    return;
  }
  if (!iso_budget_is_bounded(&d->budget)) {
    iso_str_add(s, "A ");
    iso_text_add(s, d->kind ? d->kind : "nameless", flags);
    iso_str_add(s, " run");
    return;
  }
  iso_str_add(s, "What ");
  for (int i = 0; i < ISO_RES_COUNT; i++) {
    double limit = iso_budget_get(&d->budget, iso_report_res_at(i));
    if (!isfinite(limit)) continue;
    iso_str_add(s, n++ ? " and " : "");
    if (i == 0 && limit >= 1 && limit < 86400)
      title_seconds(limit, s);
    else
      iso_text_add(s, iso_text_res(limit, iso_res_get(iso_report_res_at(i))->unit, (flags & ISO_TEXT_ASCII) != 0, buf), flags);
  }
  iso_str_add(s, " bought");
}

void iso_report_when(const char *t, unsigned flags, iso_str *s) {
  if (t && strlen(t) == 20 && t[10] == 'T' && t[19] == 'Z') {
    char day[17];
    memcpy(day, t, 16);
    day[10] = ' ';
    day[16] = 0;
    iso_text_add(s, day, flags);
    iso_str_add(s, " UTC");
  } else {
    iso_text_add(s, t, flags);
  }
}

void iso_report_machine(const iso_report_data *d, unsigned flags, iso_str *s) {
  if (!d->has_hw) {
    if (d->hw.id[0]) {
      iso_str_add(s, "machine ");
      iso_text_add(s, d->hw.id, flags);
    }
    return;
  }
  iso_text_add(s, d->hw.model_name[0] ? d->hw.model_name : d->hw.name, flags);
  iso_str_fmt(s, ", %lld thread%s", (long long)d->hw.threads, d->hw.threads == 1 ? "" : "s");
}

void iso_report_config(const char *config, unsigned flags, iso_str *s) {
  json_t *j = json_loads(config, 0, NULL);
  const char *key;
  json_t *v;
  bool first = true;
  if (!json_is_object(j))
    iso_text_add(s, config, flags);
  else
    json_object_foreach(j, key, v) {
      char *text = json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
      if (!first) iso_str_add(s, flags & ISO_TEXT_ASCII ? ", " : " · ");
      first = false;
      iso_text_add(s, key, flags);
      iso_str_add(s, " ");
      iso_text_add(s, json_is_string(v) ? json_string_value(v) : text, flags);
      free(text);
    }
  json_decref(j);
}

void iso_html_sub(const iso_report_data *d, iso_str *s) {
  iso_str part = {0};
  bool first = true;
  for (int i = 0; i < 3; i++) {
    part.n = 0;
    if (i == 0) iso_report_when(d->created, H, &part);
    if (i == 1) iso_report_machine(d, H, &part);
    if (i == 2) iso_text_add(&part, d->status, H);
    if (!part.n) continue;
    iso_str_fmt(s, "%s%s", first ? "" : " · ", part.p);
    first = false;
  }
  if (part.failed) s->failed = true;
  iso_str_free(&part);
}

static void w_title(const iso_report_data *d, iso_str *s) { iso_report_title(d, H, s); }
static void w_kind(const iso_report_data *d, iso_str *s) { iso_text_add(s, d->kind, H); }
static void w_css(const iso_report_data *d, iso_str *s) {
  (void)d;
  iso_str_put(s, iso_report_css, iso_report_css_n);
}
static void w_js(const iso_report_data *d, iso_str *s) {
  (void)d;
  iso_str_put(s, iso_charts_js, iso_charts_js_n);
  iso_str_put(s, iso_report_js, iso_report_js_n);
}
static void w_chart(const iso_report_data *d, iso_str *s) {
  (void)d;
  iso_str_put(s, iso_chart_js, iso_chart_js_n);
}
static void w_notes(const iso_report_data *d, iso_str *s) {
  for (int64_t i = 0; i < d->n_notes; i++) {
    iso_str_add(s, "<li>");
    iso_text_add(s, d->notes[i], H);
    iso_str_add(s, "</li>\n");
  }
}
static void w_isoflop_text(const iso_report_data *d, iso_str *s) {
  if (!d->isoflop.text) return;
  iso_str_add(s, "<figcaption>");
  iso_text_add(s, d->isoflop.text, H);
  iso_str_add(s, "</figcaption>");
}
static void w_front_intro(const iso_report_data *d, iso_str *s) {
  (void)d;
  iso_str_add(s,
              "Lower is better. A point is on the front when no other of its kind is both cheaper and better. Each point is priced with its own "
              "training only. Measured and predicted points have a front each.");
}
static void w_sample(const iso_report_data *d, iso_str *s) {
  iso_str_add(s, "<pre class=\"sample\">");
  if (d->sample_prompt_n) {
    iso_str_add(s, "<b>");
    iso_text_put(s, d->sample_prompt, d->sample_prompt_n, ISO_TEXT_HTML);
    iso_str_add(s, "</b>");
  }
  iso_text_put(s, d->sample, d->sample_n, ISO_TEXT_HTML);
  iso_str_add(s, "</pre>");
}
static void w_sweep_n(const iso_report_data *d, iso_str *s) { iso_str_fmt(s, "%lld", (long long)d->n_sweep); }
static void w_foot(const iso_report_data *d, iso_str *s) {
  iso_str_add(s, "Made by isoflop");
  if (d->rev) {
    iso_str_add(s, " ");
    iso_text_add(s, d->rev, H);
  }
  iso_str_add(s, ". This page is one file and loads nothing from elsewhere. Charts by Chart.js (MIT).");
}
static void w_data(const iso_report_data *d, iso_str *s) {
  json_t *j = NULL;
  iso_err ignored;
  if (iso_report_json(d, &j, &ignored) != ISO_OK) s->failed = true;
  iso_template_json(j, s);
  json_decref(j);
}

static bool has_cards(const iso_report_data *d) {
  iso_str s = {0};
  iso_html_cards(d, &s);
  bool any = s.n > 0;
  iso_str_free(&s);
  return any;
}
static bool has_bill(const iso_report_data *d) {
  bool any = d->n_ledger > 0;
  for (int r = 0; r < ISO_RES_COUNT; r++)
    any = any || !isnan(iso_cost_get(&d->predicted, (iso_res)r).mean) || !isnan(iso_cost_get(&d->measured, (iso_res)r).mean);
  return any;
}
static int64_t sweep_points(const iso_report_data *d) {
  int64_t n = 0;
  for (int64_t i = 0; i < d->n_sweep; i++) n += !d->sweep[i].final;
  return n;
}
static bool has_notes(const iso_report_data *d) { return d->n_notes > 0; }
static bool has_isoflop(const iso_report_data *d) { return sweep_points(d) > 0; }
static bool has_fit(const iso_report_data *d) { return d->fit.known; }
static bool has_plan(const iso_report_data *d) { return d->plan.known; }
static bool has_curves(const iso_report_data *d) { return d->n_curve > 0; }
static bool has_front(const iso_report_data *d) { return d->n_points > 0; }
static bool has_sample(const iso_report_data *d) { return d->sample_n > 0; }
static bool has_sweep(const iso_report_data *d) { return d->n_sweep > 0; }
static bool is_empty(const iso_report_data *d) {
  return isnan(d->bpb) && isnan(d->val_loss) && !d->n_sweep && !d->n_curve && !has_bill(d) && !d->fit.known && !d->plan.known && !d->sample_n &&
         !d->n_points;
}

static const slot SLOTS[] = {
    {"title", w_title, NULL},
    {"css", w_css, NULL},
    {"kind", w_kind, NULL},
    {"sub", iso_html_sub, NULL},
    {"empty", NULL, is_empty},
    {"cards", iso_html_cards, has_cards},
    {"notes", w_notes, has_notes},
    {"isoflop", NULL, has_isoflop},
    {"isoflop_text", w_isoflop_text, NULL},
    {"fit", NULL, has_fit},
    {"fit_intro", iso_html_fit_intro, NULL},
    {"fit_caption", iso_html_fit_caption, NULL},
    {"fit_table", iso_html_fit_table, NULL},
    {"plan", iso_html_plan, has_plan},
    {"curves", NULL, has_curves},
    {"bill", NULL, has_bill},
    {"totals", iso_html_totals, NULL},
    {"ledger", iso_html_ledger, NULL},
    {"front", NULL, has_front},
    {"front_intro", w_front_intro, NULL},
    {"sample", w_sample, has_sample},
    {"sweep", iso_html_sweep, has_sweep},
    {"sweep_n", w_sweep_n, NULL},
    {"origin", iso_html_origin, NULL},
    {"foot", w_foot, NULL},
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

iso_status iso_report_html(const iso_report_data *d, iso_str *out, iso_err *err) {
  const iso_template t = {"web/report.html", (const char *)iso_report_template, d, write_slot, keep_slot};
  ISO_TRY(iso_template_fill(&t, out, err));
  return out->failed ? iso_fail(err, ISO_ENOMEM, "report: no memory for the HTML document") : ISO_OK;
}

iso_status iso_report_html_save(iso_ctx *c, const iso_report_data *d, const char *path, iso_err *err) {
  iso_str s = {0};
  iso_status st = iso_report_html(d, &s, err);
  if (st == ISO_OK) st = iso_file_put(c, path, s.p, s.n, err);
  iso_str_free(&s);
  return st;
}
