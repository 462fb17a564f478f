// Assembling a report from the run store: the run, the runs below it, their points, curves, ledger and fits.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/load_json.h"
#include "report/text.h"

enum { DEPTH_MAX = 8, NOTES_MAX = 64 };

typedef struct node {
  iso_store_run run;
  bool sweep;  // of kind "sweep" or below one
} node;

typedef struct loader {
  iso_ctx *c;
  iso_store *s;
  iso_report_data *d;
  iso_arena *a;
  node *nodes;  // in the arena; the run itself first
  int64_t n;
  iso_store_point *points;
  int64_t n_points;
  iso_report_law law;
  const char **notes;
  iso_err *err;
} loader;

iso_status iso_report_blank(iso_report_data *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_arena_open(&out->arena, err));
  iso_est unknown = iso_est_unknown();
  out->seed = -1;
  out->steal_s = out->params = out->tokens = out->elapsed_s = out->bpb = out->bpb_se = out->val_loss = NAN;
  out->bpb_predicted = out->val_loss_predicted = unknown;
  out->predicted = out->measured = iso_cost_unknown();
  out->hw = iso_hw_blank();
  out->budget = iso_budget_none();
  out->budget_text = "none";
  out->plan = (iso_report_plan){.params = NAN, .tokens = NAN, .batch_tok = NAN, .lr = NAN, .loss = unknown, .bpb = unknown};
  out->fit = (iso_report_fit){.n_points = -1,
                              .resamples = -1,
                              .objective = NAN,
                              .delta = NAN,
                              .level = NAN,
                              .noise_sd = NAN,
                              .n_min = NAN,
                              .n_max = NAN,
                              .d_min = NAN,
                              .d_max = NAN,
                              .c_min = NAN,
                              .c_max = NAN};
  out->isoflop.a = unknown;
  static const struct {
    iso_res res;
    bool predicted;
  } FRONTS[ISO_REPORT_FRONTS] = {{ISO_RES_train_flop, false}, {ISO_RES_wall, false}, {ISO_RES_train_flop, true}, {ISO_RES_wall, true}};
  for (int i = 0; i < ISO_REPORT_FRONTS; i++) out->front[i] = (iso_report_front){.res = FRONTS[i].res, .predicted = FRONTS[i].predicted};
  return ISO_OK;
}

void iso_report_close(iso_report_data *d) {
  iso_arena_close(d->arena);
  memset(d, 0, sizeof *d);
}

// Room for n + 1 zeroed items in the arena; *out is a pointer to them, NULL on failure.
static iso_status grab(loader *l, int64_t n, size_t size, const char *what, void *out) {
  void *p = iso_arena_get(l->a, (size_t)(n + 1) * size);
  memcpy(out, &p, sizeof p);
  if (!p) return iso_fail(l->err, ISO_ENOMEM, "report: no memory for %lld %s", (long long)n, what);
  return ISO_OK;
}

static void note(loader *l, const char *text) {
  if (text && *text && l->d->n_notes < NOTES_MAX) l->notes[l->d->n_notes++] = text;
}

// The run and those below it, parents before children, older before newer.
static iso_status load_tree(loader *l, const iso_store_run *root) {
  int64_t cap = 64;
  ISO_TRY(grab(l, cap, sizeof(node), "runs", &l->nodes));
  l->nodes[0] = (node){*root, root->kind && strcmp(root->kind, "sweep") == 0};
  l->n = 1;
  int64_t from = 0;
  for (int depth = 0; depth < DEPTH_MAX; depth++) {
    int64_t to = l->n;
    for (int64_t i = from; i < to; i++) {
      iso_store_run *rows;
      int64_t n;
      ISO_TRY(iso_store_runs(l->s, NULL, l->nodes[i].run.id, 0, l->a, &rows, &n, l->err));
      if (l->n + n > cap) {
        node *more;
        cap = 2 * (l->n + n);
        ISO_TRY(grab(l, cap, sizeof(node), "runs", &more));
        memcpy(more, l->nodes, (size_t)l->n * sizeof *more);
        l->nodes = more;
      }
      for (int64_t k = n - 1; k >= 0; k--) {
        bool sweep = l->nodes[i].sweep || (rows[k].kind && strcmp(rows[k].kind, "sweep") == 0);
        l->nodes[l->n++] = (node){rows[k], sweep};
      }
    }
    from = to;
    if (from == l->n) break;
  }
  return ISO_OK;
}

static const node *node_of(const loader *l, const char *id) {
  for (int64_t i = 0; id && i < l->n; i++)
    if (strcmp(l->nodes[i].run.id, id) == 0) return &l->nodes[i];
  return &l->nodes[0];
}

static bool is_metric(const iso_store_point *p, const char *metric) { return p->metric && strcmp(p->metric, metric) == 0; }

// Measured and predicted quality of the main run: the last point of each sort outside the sweep wins over what the result says.
static void load_quality(loader *l) {
  iso_report_data *d = l->d;
  for (int64_t i = 0; i < l->n_points; i++) {
    const iso_store_point *p = &l->points[i];
    if (node_of(l, p->run)->sweep || isnan(p->quality)) continue;
    bool bpb = is_metric(p, "bits_per_byte"), loss = is_metric(p, "val_loss_nats");
    if (!bpb && !loss) continue;
    if (p->predicted) {
      *(bpb ? &d->bpb_predicted : &d->val_loss_predicted) = iso_est_range(p->q_lo, p->quality, p->q_hi);
    } else {
      *(bpb ? &d->bpb : &d->val_loss) = p->quality;
      if (bpb) d->bpb_se = p->stderr_;
      if (p->n_params > 0 && isnan(d->params)) d->params = p->n_params;
      if (p->d_tokens > 0 && isnan(d->tokens)) d->tokens = p->d_tokens;
    }
  }
  if (isnan(d->bpb_predicted.mean)) d->bpb_predicted = d->plan.bpb;
  if (isnan(d->val_loss_predicted.mean)) d->val_loss_predicted = d->plan.loss;
}

static double flop_of(const iso_store_point *p) {
  if (p->flops > 0) return p->flops;
  if (p->cost.train_flop.mean > 0) return p->cost.train_flop.mean;
  return ISO_LAW_FLOP_PER_PARAM_TOK * p->n_params * p->d_tokens;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// FLOP levels: the parabolas' own, else groups of at least three sweep points that a factor of 1.15 separates from the next.
static iso_status load_levels(loader *l, iso_report_sweep *w, int64_t n) {
  iso_report_data *d = l->d;
  double *level, *c;
  ISO_TRY(grab(l, n + d->isoflop.n, sizeof(double), "levels", &level));
  ISO_TRY(grab(l, n, sizeof(double), "levels", &c));
  int k = 0;
  if (d->isoflop.n) {
    for (; k < d->isoflop.n; k++) level[k] = d->isoflop.at[k].flop;
  } else {
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++)
      if (!w[i].final) c[m++] = w[i].flop;
    qsort(c, (size_t)m, sizeof *c, by_value);
    for (int64_t i = 0, j; i < m; i = j) {
      double sum = 0;
      for (j = i; j < m && (j == i || c[j] < 1.15 * c[j - 1]); j++) sum += log(c[j]);
      if (j - i >= 3) level[k++] = exp(sum / (double)(j - i));
    }
  }
  for (int64_t i = 0; i < n; i++) {
    double best = log(1.3);
    for (int j = 0; j < k && !w[i].final; j++) {
      double gap = fabs(log(w[i].flop / level[j]));
      if (gap > best) continue;
      best = gap;
      w[i].level = j;
    }
  }
  d->level_flop = level;
  d->n_levels = k;
  return ISO_OK;
}

static bool has_place(const iso_store_point *p, const char *metric) {
  return !p->predicted && is_metric(p, metric) && p->n_params > 0 && p->d_tokens > 0 && !isnan(p->quality);
}

static iso_status load_sweep(loader *l) {
  iso_report_sweep *w;
  int64_t k = 0, nats = 0;
  for (int64_t i = 0; i < l->n_points; i++) nats += has_place(&l->points[i], "val_loss_nats");
  l->d->law_metric = nats ? "val_loss_nats" : "bits_per_byte";
  ISO_TRY(grab(l, l->n_points, sizeof *w, "sweep points", &w));
  for (int64_t i = 0; i < l->n_points; i++) {
    const iso_store_point *p = &l->points[i];
    if (!has_place(p, l->d->law_metric)) continue;
    double law = l->law.law ? iso_law_nd(l->law.law, l->law.p, p->n_params, p->d_tokens) : NAN;
    w[k++] = (iso_report_sweep){p->run, p->label, p->n_params, p->d_tokens, flop_of(p), p->quality, p->stderr_, law, -1, !node_of(l, p->run)->sweep};
  }
  l->d->sweep = w;
  l->d->n_sweep = k;
  return load_levels(l, w, k);
}

// Loss along compute by the law itself, where the run did not store it with intervals: from the sweep to the plan.
static iso_status load_fit_curve(loader *l) {
  enum { STEPS = 48 };
  iso_report_data *d = l->d;
  iso_report_fit *f = &d->fit;
  double lo = INFINITY, hi = 0;
  for (int64_t i = 0; i < d->n_sweep; i++) {
    lo = fmin(lo, d->sweep[i].flop);
    hi = fmax(hi, d->sweep[i].flop);
  }
  if (d->plan.params > 0 && d->plan.tokens > 0) hi = fmax(hi, ISO_LAW_FLOP_PER_PARAM_TOK * d->plan.params * d->plan.tokens);
  if (f->n_curve || !l->law.law || !(hi >= lo)) return ISO_OK;
  iso_report_optimum *at;
  ISO_TRY(grab(l, STEPS, sizeof *at, "curve points", &at));
  lo /= 1.6;
  hi *= 1.6;
  f->curve = at;
  for (int i = 0; i < STEPS; i++) {
    double c = lo * pow(hi / lo, i / (STEPS - 1.0));
    iso_law_point p;
    iso_err ignored;
    iso_status st = l->law.law->optimum ? l->law.law->optimum(l->law.p, c, &p, &ignored)
                                        : iso_law_optimum_numeric(l->law.law, l->law.p, NULL, c, 1e3, 1e14, NULL, NULL, &p, NULL, &ignored);
    if (st == ISO_OK && isfinite(p.loss)) at[f->n_curve++] = (iso_report_optimum){c, p.params, p.tokens, {NAN, p.loss, NAN}};
  }
  return ISO_OK;
}

static bool kept_whole(const iso_store_sample *s) { return !isnan(s->val_loss) || s->event; }

// Means of neighbours, so that at most ISO_REPORT_CURVE_MAX samples remain beside those kept whole.
static iso_status thin(loader *l, const iso_store_sample *in, int64_t n, iso_report_curve *out) {
  iso_store_sample *s;
  out->n_all = n;
  if (n <= ISO_REPORT_CURVE_MAX) {
    out->s = in;
    out->n = n;
    return ISO_OK;
  }
  int64_t whole = 0, k = 0, size = (n + ISO_REPORT_CURVE_MAX - 1) / ISO_REPORT_CURVE_MAX;
  for (int64_t i = 0; i < n; i++) whole += kept_whole(&in[i]);
  ISO_TRY(grab(l, ISO_REPORT_CURVE_MAX + 2 * whole, sizeof *s, "samples", &s));
  for (int64_t i = 0; i < n;) {
    double sum = 0;
    int64_t m = 0, j = i;
    for (; j < n && j < i + size && !kept_whole(&in[j]); j++) {
      if (isnan(in[j].train_loss)) continue;
      sum += in[j].train_loss;
      m++;
    }
    if (j > i) {
      s[k] = in[j - 1];
      s[k++].train_loss = m ? sum / (double)m : NAN;
      i = j;
    }
    if (i < n && kept_whole(&in[i])) s[k++] = in[i++];
  }
  out->s = s;
  out->n = k;
  return ISO_OK;
}

static iso_status load_curves(loader *l) {
  iso_report_curve *c;
  int64_t k = 0;
  ISO_TRY(grab(l, l->n, sizeof *c, "curves", &c));
  for (int64_t i = 0; i < l->n; i++) {
    const iso_store_run *r = &l->nodes[i].run;
    iso_store_sample *s;
    int64_t n;
    ISO_TRY(iso_store_curve(l->s, r->id, l->a, &s, &n, l->err));
    if (!n) continue;
    c[k] = (iso_report_curve){.run = r->id, .params = r->params > 0 ? (double)r->params : NAN, .main = !l->nodes[i].sweep};
    char num[ISO_TEXT_NUM];
    const char *kind = c[k].main ? "final" : "sweep";
    c[k].label = r->params > 0 ? iso_arena_fmt(l->a, "%s %s", kind, iso_text_count(c[k].params, true, num)) : kind;
    if (!c[k].label) return iso_fail(l->err, ISO_ENOMEM, "report: no memory for a label");
    ISO_TRY(thin(l, s, n, &c[k]));
    k++;
  }
  l->d->curve = c;
  l->d->n_curve = k;
  return ISO_OK;
}

// The fronts of one sort of points; the metric is the one with more measured points, bits per byte when both have as many.
static iso_status load_fronts(loader *l) {
  iso_report_data *d = l->d;
  int64_t bpb = 0, loss = 0, k = 0;
  for (int64_t i = 0; i < l->n_points; i++) {
    bpb += !l->points[i].predicted && is_metric(&l->points[i], "bits_per_byte");
    loss += !l->points[i].predicted && is_metric(&l->points[i], "val_loss_nats");
  }
  if (!bpb && !loss) return ISO_OK;
  d->metric = bpb >= loss ? "bits_per_byte" : "val_loss_nats";
  iso_store_point *p;
  iso_point *q;
  int64_t *from, *idx;
  ISO_TRY(grab(l, l->n_points, sizeof *p, "points", &p));
  ISO_TRY(grab(l, l->n_points, sizeof *q, "points", &q));
  ISO_TRY(grab(l, l->n_points, sizeof *from, "points", &from));
  for (int64_t i = 0; i < l->n_points; i++) {
    if (!is_metric(&l->points[i], d->metric)) continue;
    p[k] = l->points[i];
    if (isnan(p[k].cost.train_flop.mean) && p[k].flops > 0) p[k].cost.train_flop = iso_est_exact(p[k].flops);
    k++;
  }
  d->points = p;
  d->n_points = k;
  for (int f = 0; f < ISO_REPORT_FRONTS; f++) {
    int64_t n = 0, m = 0;
    for (int64_t i = 0; i < k; i++) {
      if (p[i].predicted != d->front[f].predicted) continue;
      q[n] = (iso_point){.cost = p[i].cost, .quality = p[i].quality, .stderr_ = p[i].stderr_, .predicted = p[i].predicted};
      from[n++] = i;
    }
    ISO_TRY(grab(l, n, sizeof *idx, "points", &idx));
    ISO_TRY(iso_front(q, n, d->front[f].res, idx, &m, l->err));
    for (int64_t i = 0; i < m; i++) idx[i] = from[idx[i]];
    d->front[f].idx = idx;
    d->front[f].n = m;
  }
  return ISO_OK;
}

static bool known_costs(const iso_cost *c) {
  for (int r = 0; r < ISO_RES_COUNT; r++)
    if (!isnan(iso_cost_get(c, (iso_res)r).mean)) return true;
  return false;
}

// Rows of the main run; when it has none, those of the runs below it. Totals from rows with both numbers where the result has none.
static iso_status load_ledger(loader *l) {
  iso_report_data *d = l->d;
  iso_run_row *rows = NULL;
  for (int64_t i = 0; i < l->n && d->n_ledger == 0; i++) {
    ISO_TRY(iso_store_ledger(l->s, l->nodes[i].run.id, l->a, &rows, &d->n_ledger, l->err));
    d->ledger = rows;
  }
  if (known_costs(&d->predicted) || !d->n_ledger) return ISO_OK;
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    iso_est p = {0, 0, 0}, m = {0, 0, 0};
    bool any = false;
    for (int64_t i = 0; i < d->n_ledger; i++) {
      iso_est a = iso_cost_get(&d->ledger[i].predicted, (iso_res)r), b = iso_cost_get(&d->ledger[i].measured, (iso_res)r);
      if (isnan(a.mean) || isnan(b.mean)) continue;
      bool max = iso_res_get((iso_res)r)->serial == ISO_RULE_MAX;
      p = max ? iso_est_max(p, a) : iso_est_add(p, a);
      m = max ? iso_est_max(m, b) : iso_est_add(m, b);
      any = true;
    }
    if (!any) continue;
    *iso_cost_at(&d->predicted, (iso_res)r) = p;
    iso_est *at = iso_cost_at(&d->measured, (iso_res)r);
    if (isnan(at->mean)) *at = m;
    d->totals_from_ledger = true;
  }
  return ISO_OK;
}

static iso_status load_budget(loader *l, const iso_store_run *r) {
  iso_report_data *d = l->d;
  json_t *j = iso_report_object(r->budget_json);
  iso_err e = {0};
  if (j && iso_budget_from_json(j, "budget of the run", &d->budget, &e) != ISO_OK) {
    d->budget = iso_budget_none();
    note(l, iso_arena_str(l->a, e.msg));
  }
  json_decref(j);
  iso_str s = {0};
  iso_budget_print(&d->budget, &s);
  d->budget_text = s.failed || !s.p ? NULL : iso_arena_str(l->a, s.p);
  iso_str_free(&s);
  return d->budget_text ? ISO_OK : iso_fail(l->err, ISO_ENOMEM, "report: no memory for the budget");
}

static void load_hw(loader *l, const iso_store_run *r, const json_t *summary) {
  iso_report_data *d = l->d;
  iso_err ignored;
  const json_t *j = json_object_get(summary, "hw");
  if (json_is_object(j))
    d->has_hw = iso_hw_from_json(j, "hardware of the run", &d->hw, &ignored) == ISO_OK;
  else if (r->hw_id)
    d->has_hw = iso_hw_load(r->hw_id, &d->hw, &ignored) == ISO_OK;
  if (d->has_hw) return;
  d->hw = iso_hw_blank();
  if (r->hw_id) (void)snprintf(d->hw.id, sizeof d->hw.id, "%s", r->hw_id);
}

// What the reader must know before believing the rest, then what the run noted itself.
static void load_notes(loader *l, const iso_store_run *r, const json_t *summary) {
  iso_report_data *d = l->d;
  char got[ISO_TEXT_NUM], limit[ISO_TEXT_NUM];
  bool reporting = d->status && strcmp(d->status, "running") == 0 && !isnan(d->bpb);  // the run's own last act
  if (!reporting && (!d->status || strcmp(d->status, "done") != 0))
    note(l, iso_arena_fmt(l->a, "Status %.20s: the report shows what was stored so far.", d->status ? d->status : "unknown"));
  note(l, r->note);
  for (int i = 0; i < ISO_RES_COUNT; i++) {
    double max = iso_budget_get(&d->budget, (iso_res)i), used = iso_cost_get(&d->measured, (iso_res)i).mean;
    iso_unit u = iso_res_get((iso_res)i)->unit;
    if (used > max)
      note(l, iso_arena_fmt(l->a, "Budget overrun: %s is %s of %s.", iso_res_get((iso_res)i)->name, iso_text_res(used, u, true, got),
                            iso_text_res(max, u, true, limit)));
  }
  double reach = 6 * d->plan.params * d->plan.tokens / d->fit.c_max;
  if (reach > 1.5)
    note(l, iso_arena_fmt(l->a, "The law is extrapolated: the chosen model uses %.1f times the FLOPs of the largest run that was fitted.", reach));
  double n_reach = d->plan.params > d->fit.n_max ? d->plan.params / d->fit.n_max : d->fit.n_min / d->plan.params;
  if (n_reach > 1.5) note(l, iso_arena_fmt(l->a, "The chosen model's size is %.1f times outside the sizes that were fitted.", n_reach));
  iso_est q = d->bpb_predicted;
  if (d->bpb < q.lo || d->bpb > q.hi)
    note(l, iso_arena_fmt(l->a, "The measured %.4f bits per byte lie outside the predicted interval, %.4f to %.4f.", d->bpb, q.lo, q.hi));
  const json_t *fit = json_object_get(summary, "fit"), *lists[] = {json_object_get(fit, "warnings"), json_object_get(summary, "notes")};
  for (size_t k = 0; k < ISO_COUNT(lists); k++)
    for (size_t i = 0; i < json_array_size(lists[k]); i++) note(l, iso_arena_str(l->a, json_string_value(json_array_get(lists[k], i))));
}

static iso_status load_parts(loader *l, const iso_store_run *r, const json_t *result, const json_t *summary) {
  iso_report_data *d = l->d;
  iso_store_fit *fits;
  int64_t n_fits = 0;
  ISO_TRY(load_tree(l, r));
  ISO_TRY(load_budget(l, r));
  ISO_TRY(iso_store_points(l->s, r->id, true, -1, l->a, &l->points, &l->n_points, l->err));
  for (int64_t i = 0; i < l->n && !n_fits; i++) ISO_TRY(iso_store_fits(l->s, l->nodes[i].run.id, NULL, l->a, &fits, &n_fits, l->err));
  ISO_TRY(iso_report_read_result(result, d, l->err));
  ISO_TRY(iso_report_read_plan(json_object_get(summary, "plan"), d, l->err));
  ISO_TRY(iso_report_read_isoflop(json_object_get(summary, "isoflop"), d, l->err));
  ISO_TRY(iso_report_read_fit(json_object_get(summary, "fit"), n_fits ? &fits[0] : NULL, d, &l->law, l->err));
  load_hw(l, r, summary);
  load_quality(l);
  ISO_TRY(load_sweep(l));
  ISO_TRY(load_fit_curve(l));
  ISO_TRY(load_curves(l));
  ISO_TRY(load_fronts(l));
  ISO_TRY(load_ledger(l));
  if (isnan(d->params)) d->params = r->params >= 0 ? (double)r->params : d->plan.params;
  if (isnan(d->tokens) && r->tokens >= 0) d->tokens = (double)r->tokens;
  if (isnan(d->elapsed_s)) d->elapsed_s = d->measured.wall.mean;
  d->sample = iso_report_str(l->a, summary, "sample", &d->sample_n);
  d->sample_prompt = iso_report_str(l->a, summary, "sample_prompt", &d->sample_prompt_n);
  d->title = iso_report_str(l->a, summary, "title", NULL);
  load_notes(l, r, summary);
  return ISO_OK;
}

// The run asked for; the latest stands for the one that it belongs to at the top.
static iso_status find_run(loader *l, const char *run_id, iso_store_run *r) {
  ISO_TRY(iso_store_find(l->s, run_id, NULL, l->a, r, l->err));
  bool latest = !run_id || strcmp(run_id, "latest") == 0;
  for (int depth = 0; latest && r->parent && depth < DEPTH_MAX; depth++) {
    const char *parent = r->parent;
    ISO_TRY(iso_store_find(l->s, parent, NULL, l->a, r, l->err));
  }
  return ISO_OK;
}

iso_status iso_report_load(iso_ctx *c, iso_store *s, const char *run_id, iso_report_data *out, iso_err *err) {
  ISO_TRY(iso_report_blank(out, err));
  loader l = {.c = c, .s = s, .d = out, .a = out->arena, .err = err};
  iso_store_run r;
  json_t *result = NULL, *config = NULL;
  iso_status st;
  ISO_TRYG(find_run(&l, run_id, &r));
  ISO_TRYG(grab(&l, NOTES_MAX, sizeof(char *), "notes", &l.notes));
  out->notes = l.notes;
  out->id = r.id;
  out->kind = r.kind;
  out->status = r.status;
  out->created = r.created;
  out->ended = r.ended;
  out->command = r.command;
  out->rev = r.rev;
  out->out_dir = r.out_dir;
  out->convention = r.convention;
  out->data_hash = r.data_hash;
  out->tok_hash = r.tok_hash;
  out->note = r.note;
  out->seed = r.seed;
  out->steal_s = r.steal_s;
  result = iso_report_object(r.result_json);
  config = iso_report_object(r.config_json);
  const json_t *summary = json_object_get(result, "summary");
  if (!json_is_object(summary)) summary = json_object_get(config, "summary");
  ISO_TRYG(load_parts(&l, &r, result, summary));
done:
  json_decref(result);
  json_decref(config);
  if (st != ISO_OK) iso_report_close(out);
  return st;
}
