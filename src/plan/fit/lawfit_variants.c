// Refits a law with one choice changed at a time.
#include "plan/fit/lawfit_variants.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/fit/fit_impl.h"
#include "plan/fit/lawfit_impl.h"

enum { COLUMNS_MAX = 16 };

const char *iso_lawfit_choice_name(iso_lawfit_choice c) {
  static const char *const NAME[] = {"as asked", "objective", "starts", "optimiser", "rows dropped", "parameter count", "FLOP count"};
  return NAME[c];
}

// FLOPs of a training token as k N^s, N being the law's own count.
typedef struct budget {
  double k, s;
} budget;

static double budget_tokens(void *self, double params, double flop) {
  const budget *b = self;
  return flop / (b->k * pow(params, b->s));
}

typedef struct runner {
  iso_ctx *c;
  const iso_csv *t;
  const iso_law *law;
  const iso_law_data_opts *d;
  const iso_lawfit_opts *o;
  iso_lawfit_variants *v;
  const double *x;    // the other inputs of an optimum; NULL: absent
  iso_law_data rows;  // owned: as asked
  iso_lawfit asked;   // owned
} runner;

// ---- one variant ----------------------------------------------------------------------------------------------------

// FLOPs are the law's own when b is NULL.
static iso_status answer(const runner *r, const double *p, budget *b, iso_lawfit_variant *w, iso_err *err) {
  if (!r->v->ratio) {
    w->answer = r->law->value(p, r->v->x, NULL);
    return isfinite(w->answer) ? ISO_OK : iso_fail(err, ISO_ENUM, "the law is not defined at the inputs asked about");
  }
  iso_law_point pt;
  bool edge = false;
  if (b)
    ISO_TRY(iso_law_optimum_numeric(r->law, p, r->x, r->v->flop, 1e3, 1e15, budget_tokens, b, &pt, &edge, err));
  else
    ISO_TRY(iso_lawfit_optimum_of(r->law, p, r->x, r->v->flop, &pt, err));
  if (edge) return iso_fail(err, ISO_ENUM, "no optimum between 1e3 and 1e15 parameters");
  w->params = pt.params;
  w->tokens = pt.tokens;
  w->answer = pt.tokens / pt.params;
  return ISO_OK;
}

static void record(const runner *r, const iso_lawfit *f, budget *b, iso_lawfit_variant *w) {
  iso_err e = {0};
  w->n = f->n;
  memcpy(w->p, f->p, sizeof w->p);
  w->value = f->value;
  w->rmse = f->rmse;
  w->fit_s = f->fit_s;
  w->finalists = f->finalists;
  w->agree = f->agree;
  if (answer(r, f->p, b, w, &e) != ISO_OK) (void)snprintf(w->note, sizeof w->note, "%.200s", e.msg);
}

static iso_lawfit_variant *add(runner *r, iso_lawfit_choice choice) {
  if (r->v->n == ISO_LAWFIT_VARIANTS_MAX) return NULL;
  iso_lawfit_variant *w = &r->v->at[r->v->n++];
  *w = (iso_lawfit_variant){.choice = choice, .value = NAN, .rmse = NAN, .fit_s = NAN, .params = NAN, .tokens = NAN, .answer = NAN};
  return w;
}

__attribute__((format(printf, 5, 6))) static void attempt(runner *r, iso_lawfit_choice choice, const iso_law_data_opts *d, const iso_lawfit_opts *o,
                                                          const char *fmt, ...) {
  iso_lawfit_variant *w = add(r, choice);
  iso_law_data rows = {0}, held = {0};
  iso_lawfit f;
  iso_err e = {0};
  va_list ap;
  if (!w) return;
  va_start(ap, fmt);
  (void)vsnprintf(w->name, sizeof w->name, fmt, ap);
  va_end(ap);
  iso_lawfit_opts fo = *o;
  iso_law_data_opts dat = *d;
  fo.resamples = 0;
  dat.objective = fo.objective;
  iso_status st = iso_law_data_read(r->t, r->law, &dat, &rows, &held, &e);
  if (st == ISO_OK) st = iso_lawfit_run(r->c, &rows, &fo, &f, &e);
  if (st == ISO_OK) {
    record(r, &f, NULL, w);
    iso_lawfit_close(&f);
  } else {
    (void)snprintf(w->note, sizeof w->note, "%.200s", e.msg);
  }
  iso_law_data_close(&rows);
  iso_law_data_close(&held);
}

// ---- choices --------------------------------------------------------------------------------------------------------

static void objectives(runner *r) {
  static const struct {
    iso_law_objective kind;
    double delta;
  } TRY[] = {{ISO_LAW_HUBER_LOG, 1e-4}, {ISO_LAW_HUBER_LOG, 1e-3}, {ISO_LAW_HUBER_LOG, 1e-2}, {ISO_LAW_SQUARE_LOG, 0},
             {ISO_LAW_HUBER, 1e-3},     {ISO_LAW_HUBER, 1e-2},     {ISO_LAW_SQUARE, 0}};
  for (size_t i = 0; i < ISO_COUNT(TRY); i++) {
    bool huber = TRY[i].delta > 0;
    if (r->o->objective == TRY[i].kind && (!huber || r->o->delta == TRY[i].delta)) continue;
    iso_lawfit_opts o = *r->o;
    o.objective = TRY[i].kind;
    if (huber) o.delta = TRY[i].delta;
    if (huber)
      attempt(r, ISO_LAWFIT_OBJECTIVE, r->d, &o, "%s, delta %g", iso_law_objective_name(o.objective), o.delta);
    else
      attempt(r, ISO_LAWFIT_OBJECTIVE, r->d, &o, "%s", iso_law_objective_name(o.objective));
  }
}

static void starts_and_optimisers(runner *r) {
  static const int TRY[] = {1, 20, 4000};
  for (size_t i = 0; i < ISO_COUNT(TRY); i++) {
    iso_lawfit_opts o = *r->o;
    o.starts = TRY[i];
    o.no_published = true;
    if (r->o->starts != TRY[i]) attempt(r, ISO_LAWFIT_STARTS, r->d, &o, "%d start%s, no published set", TRY[i], TRY[i] > 1 ? "s" : "");
  }
  if (r->law->n_consts) {
    iso_lawfit_opts o = *r->o;
    o.no_published = true;
    attempt(r, ISO_LAWFIT_STARTS, r->d, &o, "%d starts, no published set", o.starts);
  }
  for (int mean = 0; mean < 2; mean++) {
    iso_lawfit_opts o = *r->o;
    o.minimiser = ISO_LAWFIT_PLAIN;
    o.mean = mean;
    o.no_published = true;
    attempt(r, ISO_LAWFIT_OPTIMISER, r->d, &o, "plain L-BFGS, %s over rows", mean ? "mean" : "sum");
  }
}

static void dropped(runner *r) {
  static const int64_t TRY[] = {0, 5};
  for (size_t i = 0; i < ISO_COUNT(TRY); i++) {
    iso_law_data_opts d = *r->d;
    d.drop_highest = TRY[i];
    if (r->d->drop_highest == TRY[i]) continue;
    if (TRY[i])
      attempt(r, ISO_LAWFIT_ROWS, &d, r->o, "%lld highest dropped", (long long)TRY[i]);
    else
      attempt(r, ISO_LAWFIT_ROWS, &d, r->o, "none dropped");
  }
}

// Whether a column counts parameters: one of its words is params or parameters, or it is one of the input's own names.
static bool counts_params(const runner *r, const char *name) {
  const iso_law_input *in = &r->law->input[r->law->at_params];
  char low[80];
  size_t n = strlen(name);
  if (n >= sizeof low) return false;
  for (size_t i = 0; i <= n; i++) low[i] = name[i] == ' ' || name[i] == '-' ? '_' : (char)tolower((unsigned char)name[i]);
  for (int a = 0; a < ISO_LAW_ALIAS_MAX && in->alias[a]; a++)
    if (strcmp(low, in->alias[a]) == 0) return true;
  char *rest = low;
  for (char *word = strtok_r(low, "_.", &rest); word; word = strtok_r(NULL, "_.", &rest))
    if (strcmp(word, "params") == 0 || strcmp(word, "parameters") == 0) return true;
  return false;
}

// Slope and factor of log y on log x over n rows; false when x does not vary or a value is not positive.
static bool power(const double *x, const double *y, int64_t n, budget *b) {
  double mx = 0, my = 0, sxx = 0, sxy = 0;
  for (int64_t i = 0; i < n; i++) {
    if (!(x[i] > 0 && y[i] > 0 && x[i] < INFINITY && y[i] < INFINITY)) return false;
    mx += log(x[i]) / (double)n;
    my += log(y[i]) / (double)n;
  }
  for (int64_t i = 0; i < n; i++) {
    sxx += (log(x[i]) - mx) * (log(x[i]) - mx);
    sxy += (log(x[i]) - mx) * (log(y[i]) - my);
  }
  if (!(sxx > 1e-6)) return false;
  b->s = sxy / sxx;
  b->k = exp(my - b->s * mx);
  return true;
}

// The fit as asked under another budget: FLOPs a token of each row in y.
static void other_budget(runner *r, const double *y, const char *fmt, const char *column) {
  const iso_law_data *d = &r->rows;
  double *n = malloc(sizeof *n * (size_t)(d->n + 1));
  budget b;
  if (!n) return;
  for (int64_t i = 0; i < d->n; i++) n[i] = d->x[i * r->law->n_inputs + r->law->at_params];
  bool found = power(n, y, d->n, &b);
  free(n);
  iso_lawfit_variant *w = found ? add(r, ISO_LAWFIT_FLOPS) : NULL;
  if (!w) return;
  char what[60];
  (void)snprintf(what, sizeof what, fmt, column);
  (void)snprintf(w->name, sizeof w->name, "%s: %.3g N^%.3f a token", what, b.k, b.s);
  record(r, &r->asked, &b, w);
}

// Another column of parameter counts: as the law's N, and for the FLOPs alone.
static void counted_by(runner *r, int col) {
  const char *columns[COLUMNS_MAX + 1], *name = iso_csv_name(r->t, col);
  const iso_law_data *d = &r->rows;
  iso_law_data_opts o = *r->d;
  char def[200];
  int n = 0;
  size_t len = strlen(r->law->input[r->law->at_params].name);
  if ((size_t)snprintf(def, sizeof def, "%s=%s", r->law->input[r->law->at_params].name, name) >= sizeof def) return;
  for (int i = 0; i < r->d->n_columns && n < COLUMNS_MAX; i++)
    if (strncmp(r->d->columns[i], def, len + 1) != 0) columns[n++] = r->d->columns[i];
  columns[n++] = def;
  o.columns = columns;
  o.n_columns = n;
  iso_law_data rows = {0}, held = {0};
  iso_err e = {0};
  o.objective = r->o->objective;
  if (iso_law_data_read(r->t, r->law, &o, &rows, &held, &e) == ISO_OK && rows.n == d->n) {
    double far = 0, *y = malloc(sizeof *y * (size_t)(d->n + 1));
    for (int64_t i = 0; i < d->n; i++) {
      double other = rows.x[i * r->law->n_inputs + r->law->at_params], own = d->x[i * r->law->n_inputs + r->law->at_params];
      far = fmax(far, fabs(other / own - 1));
      if (y) y[i] = iso_law_flop(r->law, rows.x + i * r->law->n_inputs) / rows.x[i * r->law->n_inputs + r->law->at_tokens];
    }
    // The same numbers under another name are no variant.
    if (far > 1e-6) {
      attempt(r, ISO_LAWFIT_COUNT, &o, r->o, "N is column %.60s", name);
      if (y) other_budget(r, y, "FLOPs of column %.40s", name);
    }
    free(y);
  }
  iso_law_data_close(&rows);
  iso_law_data_close(&held);
}

static void counts(runner *r) {
  const iso_law_data *d = &r->rows;
  if (!r->v->ratio) return;
  for (int c = 0; c < r->t->cols; c++)
    if (counts_params(r, iso_csv_name(r->t, c))) counted_by(r, c);
  // The table's own FLOPs, where tokens do not come from them.
  double far = 0, *y = malloc(sizeof *y * (size_t)(d->n + 1));
  if (!y) return;
  for (int64_t i = 0; i < d->n; i++) {
    const double *x = d->x + i * r->law->n_inputs;
    y[i] = d->flop[i] / x[r->law->at_tokens];
    far = fmax(far, fabs(d->flop[i] / iso_law_flop(r->law, x) - 1));
  }
  if (far > 1e-3) other_budget(r, y, "%s", "FLOPs of the table");
  free(y);
}

// ---- all ------------------------------------------------------------------------------------------------------------

static void place(runner *r, const iso_lawfit_variants_opts *q) {
  const iso_law_data *d = &r->rows;
  iso_lawfit_variants *v = r->v;
  int k = r->law->n_inputs;
  int64_t top = 0;
  v->ratio = r->law->at_params >= 0 && r->law->at_tokens >= 0;
  v->at_row = !q->x;
  v->flop = NAN;
  for (int64_t i = 1; i < d->n; i++) {
    bool known = isfinite(d->flop[i]) && isfinite(d->flop[top]);
    if (known ? d->flop[i] > d->flop[top] : d->x[i * k] > d->x[top * k]) top = i;
  }
  memcpy(v->x, q->x ? q->x : d->x + top * k, sizeof *v->x * (size_t)k);
  if (v->ratio) v->flop = isfinite(q->flop) ? q->flop : d->flop[top];
  // With nothing but N and D the closed form serves.
  r->x = k > 2 ? v->x : NULL;
}

// What another draw of the runs would move the answer as asked by.
static iso_status interval(const runner *r, iso_err *err) {
  const iso_lawfit *f = &r->asked;
  iso_lawfit_variants *v = r->v;
  int64_t used = 0;
  double *sample = malloc(sizeof *sample * (size_t)(f->resamples + 1));
  if (!sample) return iso_fail(err, ISO_ENOMEM, "variants: no memory for %lld resamples", (long long)f->resamples);
  for (int64_t b = 0; b < f->resamples; b++) {
    iso_lawfit_variant w = {0};
    iso_err e = {0};
    if (answer(r, f->sample + b * r->law->n_params, NULL, &w, &e) == ISO_OK) sample[used++] = w.answer;
  }
  v->asked = iso_fit_bc_interval(sample, used, v->at[0].answer, f->level, f->stretch);
  free(sample);
  return ISO_OK;
}

static void summarise(iso_lawfit_variants *v) {
  double base = v->at[0].answer;
  v->lo = v->hi = base;
  for (int c = 0; c < ISO_LAWFIT_CHOICES; c++) v->moved[c] = NAN;
  for (int i = 0; i < v->n; i++) {
    const iso_lawfit_variant *w = &v->at[i];
    if (w->note[0]) continue;
    v->fitted++;
    if (w->answer < v->lo) {
      v->lo = w->answer;
      v->lo_at = i;
    }
    if (w->answer > v->hi) {
      v->hi = w->answer;
      v->hi_at = i;
    }
    if (i == 0) continue;
    double by = v->ratio ? fabs(log(w->answer / base)) : fabs(w->answer - base);
    if (!(v->moved[w->choice] >= by)) v->moved[w->choice] = by;
    if (by > 0 && (v->most == ISO_LAWFIT_AS_ASKED || by > v->moved[v->most])) v->most = w->choice;
  }
}

iso_status iso_lawfit_variants_run(iso_ctx *c, const iso_csv *t, const iso_law *law, const iso_law_data_opts *d, const iso_lawfit_opts *o,
                                   const iso_lawfit_variants_opts *q, iso_lawfit_variants *out, iso_err *err) {
  iso_status st = ISO_OK;
  iso_law_data held = {0};
  iso_law_data_opts dat = *d;
  runner r = {.c = c, .t = t, .law = law, .d = d, .o = o, .v = out};
  *out = (iso_lawfit_variants){.law = law};
  dat.objective = o->objective;
  if (d->n_columns > COLUMNS_MAX)
    return iso_fail(err, ISO_EINVAL, "variants: %d columns are mapped, at most %d make sense", d->n_columns, COLUMNS_MAX);
  ISO_TRYG(iso_law_data_read(t, law, &dat, &r.rows, &held, err));
  ISO_TRYG(iso_lawfit_run(c, &r.rows, o, &r.asked, err));
  place(&r, q);
  iso_lawfit_variant *w = add(&r, ISO_LAWFIT_AS_ASKED);
  ISO_TRYG(answer(&r, r.asked.p, NULL, w, err));
  (void)snprintf(w->name, sizeof w->name, "as asked");
  record(&r, &r.asked, NULL, w);
  ISO_TRYG(interval(&r, err));
  objectives(&r);
  starts_and_optimisers(&r);
  dropped(&r);
  counts(&r);
  summarise(out);
done:
  iso_lawfit_close(&r.asked);
  iso_law_data_close(&r.rows);
  iso_law_data_close(&held);
  return st;
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

json_t *iso_lawfit_variants_json(const iso_lawfit_variants *v) {
  const iso_law *law = v->law;
  json_t *list = json_array(), *moved = json_object(), *x = json_object();
  for (int i = 0; i < law->n_inputs; i++) json_object_set_new(x, law->input[i].name, iso_json_num(v->x[i]));
  for (int i = 0; i < v->n; i++) {
    const iso_lawfit_variant *w = &v->at[i];
    json_t *o = json_pack("{s:s, s:s}", "choice", iso_lawfit_choice_name(w->choice), "variant", w->name), *p = json_object();
    if (w->n) {
      for (int k = 0; k < law->n_params; k++) json_object_set_new(p, law->param[k].name, iso_json_num(w->p[k]));
      json_object_set_new(o, "points", json_integer(w->n));
      json_object_set_new(o, "objective", iso_json_num(w->value));
      json_object_set_new(o, "rmse", iso_json_num(w->rmse));
      json_object_set_new(o, "fit_s", iso_json_num(w->fit_s));
      json_object_set_new(o, "finalists", json_integer(w->finalists));
      json_object_set_new(o, "finalists_agree", json_integer(w->agree));
    }
    json_object_set_new(o, "params", p);
    if (v->ratio) json_object_set_new(o, "optimum", json_pack("{s:o, s:o}", "params", iso_json_num(w->params), "tokens", iso_json_num(w->tokens)));
    json_object_set_new(o, v->ratio ? "tokens_per_param" : law->target, iso_json_num(w->answer));
    json_object_set_new(o, "note", w->note[0] ? json_string(w->note) : json_null());
    json_array_append_new(list, o);
  }
  for (int c = 1; c < ISO_LAWFIT_CHOICES; c++)
    json_object_set_new(moved, iso_lawfit_choice_name((iso_lawfit_choice)c),
                        v->ratio && isfinite(v->moved[c]) ? json_real(exp(v->moved[c])) : iso_json_num(v->moved[c]));
  json_t *o = json_pack("{s:s, s:s, s:o, s:o, s:o, s:i}", "law", law->base.name, "answer_is", v->ratio ? "tokens_per_param" : law->target,
                        "train_flop", iso_json_num(v->flop), "inputs", x, "variants", list, "fitted", v->fitted);
  json_object_set_new(o, "asked", iso_fit_interval_json(&v->asked));
  json_object_set_new(o, "spread",
                      json_pack("{s:o, s:o, s:s, s:s}", "lo", iso_json_num(v->lo), "hi", iso_json_num(v->hi), "lo_at", v->at[v->lo_at].name, "hi_at",
                                v->at[v->hi_at].name));
  json_object_set_new(o, v->ratio ? "largest_factor_by_choice" : "largest_change_by_choice", moved);
  json_object_set_new(o, "moves_most", v->most == ISO_LAWFIT_AS_ASKED ? json_null() : json_string(iso_lawfit_choice_name(v->most)));
  return o;
}
