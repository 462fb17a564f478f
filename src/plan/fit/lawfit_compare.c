// Fits laws to the same rows and ranks them by held-out error.
#include "plan/fit/lawfit_compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/stat.h"

enum { COLUMNS_MAX = 16 };

// The columns mapped for one law, and room for one made up here.
typedef struct mapping {
  const char *at[COLUMNS_MAX + 1];
  int n;
  char flop[400];
} mapping;

static bool has_name(const iso_law *law, const char *def) {
  char name[80];
  const char *eq = strchr(def, '=');
  if (!eq || (size_t)(eq - def) >= sizeof name) return true;  // the reader says what is wrong
  memcpy(name, def, (size_t)(eq - def));
  name[eq - def] = 0;
  return iso_law_input_find(law, name) >= 0 || strcmp(law->target, name) == 0;
}

static void map_for(const iso_law *law, const iso_law_data_opts *d, mapping *m) {
  m->n = 0;
  for (int i = 0; i < d->n_columns && m->n < COLUMNS_MAX; i++)
    if (has_name(law, d->columns[i])) m->at[m->n++] = d->columns[i];
}

// What stands for input k of the Chinchilla form: a mapped expression or a column between backquotes; false when there is neither.
static bool source_of(const iso_csv *t, const iso_law_data_opts *d, int k, char *buf, size_t size) {
  const iso_law_input *in = &iso_law_chinchilla.input[k];
  size_t n = strlen(in->name);
  int col = -1;
  for (int i = 0; i < d->n_columns; i++)
    if (strncmp(d->columns[i], in->name, n) == 0 && d->columns[i][n] == '=') {
      const char *e = d->columns[i] + n + 1;
      bool plain = iso_csv_find(t, e) >= 0;
      return (size_t)snprintf(buf, size, plain ? "`%s`" : "(%s)", e) < size;
    }
  (void)iso_csv_find_like(t, in->name, &col, NULL);
  for (int a = 0; a < ISO_LAW_ALIAS_MAX && in->alias[a] && col < 0; a++) (void)iso_csv_find_like(t, in->alias[a], &col, NULL);
  return col >= 0 && (size_t)snprintf(buf, size, "`%s`", iso_csv_name(t, col)) < size;
}

// Adds train_flop = 6 N D for a law that needs it.
static bool add_flop(const iso_csv *t, const iso_law *law, const iso_law_data_opts *d, mapping *m) {
  char n[150], tok[150];
  int k = iso_law_input_find(law, "train_flop");
  if (k < 0 || strcmp(law->input[k].name, "train_flop") != 0 || m->n > COLUMNS_MAX) return false;
  if (!source_of(t, d, iso_law_chinchilla.at_params, n, sizeof n) || !source_of(t, d, iso_law_chinchilla.at_tokens, tok, sizeof tok)) return false;
  if ((size_t)snprintf(m->flop, sizeof m->flop, "train_flop=6*%s*%s", n, tok) >= sizeof m->flop) return false;
  m->at[m->n++] = m->flop;
  return true;
}

static iso_status read_rows(const iso_csv *t, const iso_law *law, const iso_law_data_opts *d, iso_law_data *rows, iso_law_data *held, iso_err *err) {
  iso_law_data_opts o = *d;
  mapping m;
  map_for(law, d, &m);
  o.columns = m.at;
  o.n_columns = m.n;
  iso_status st = iso_law_data_read(t, law, &o, rows, held, err);
  if (st != ISO_EFORMAT || !add_flop(t, law, d, &m)) return st;
  iso_err second = {0};
  o.n_columns = m.n;
  return iso_law_data_read(t, law, &o, rows, held, &second) == ISO_OK ? ISO_OK : st;
}

static bool same_rows(const iso_law_data *a, const iso_law_data *b) {
  return a->n == b->n && memcmp(a->line, b->line, sizeof *a->line * (size_t)a->n) == 0;
}

static iso_status fit(iso_ctx *c, const iso_csv *t, const iso_law_data_opts *d, const iso_lawfit_opts *o, double most, const iso_lawfit_entry *first,
                      iso_lawfit_entry *w, iso_err *err) {
  ISO_TRY(read_rows(t, w->law, d, &w->rows, &w->held, err));
  if (first != w && strcmp(w->law->target, first->law->target) != 0)
    return iso_fail(err, ISO_EINVAL, "it predicts %s, the others %s", w->law->target, first->law->target);
  if (w->held.n == 0) return iso_fail(err, ISO_EINVAL, "no row is held out");
  if (first->rows.n && (!same_rows(&first->rows, &w->rows) || !same_rows(&first->held, &w->held)))
    return iso_fail(err, ISO_EINVAL, "it would be fitted to other rows (%lld of %lld) than %s (%lld)", (long long)w->rows.n,
                    (long long)(w->rows.n + w->held.n), first->law->base.name, (long long)first->rows.n);
  ISO_TRY(iso_lawfit_run(c, &w->rows, o, &w->fit, err));
  return iso_lawfit_score_rows(&w->fit, &w->held, o->level, most, &w->score, err);
}

// Correlation of every law's residuals with D / N, where the rows have both.
static iso_status splits(const iso_csv *t, const iso_law_data_opts *d, iso_lawfit_compare *w, iso_err *err) {
  iso_law_data rows = {0}, held = {0};
  iso_err e = {0};
  iso_status st = ISO_OK;
  double *ratio = NULL;
  if (read_rows(t, &iso_law_chinchilla, d, &rows, &held, &e) != ISO_OK) return ISO_OK;
  ratio = malloc(sizeof *ratio * (size_t)(rows.n + 1));
  if (!ratio) {
    st = iso_fail(err, ISO_ENOMEM, "comparison: no memory for %lld rows", (long long)rows.n);
    goto done;
  }
  for (int64_t i = 0; i < rows.n; i++) ratio[i] = rows.x[2 * i + iso_law_chinchilla.at_tokens] / rows.x[2 * i + iso_law_chinchilla.at_params];
  for (int i = 0; i < w->n; i++)
    if (!w->at[i].note[0] && same_rows(&w->at[i].rows, &rows))
      ISO_TRYG(iso_rank_correlation(w->at[i].fit.resid, ratio, rows.n, &w->at[i].split_rho, &w->at[i].split_p, err));
done:
  free(ratio);
  iso_law_data_close(&rows);
  iso_law_data_close(&held);
  return st;
}

// Errors over the rows that nobody refuses.
static void score(iso_lawfit_compare *w) {
  const iso_lawfit_entry *one = NULL;
  for (int i = 0; i < w->n; i++)
    if (!w->at[i].note[0]) one = &w->at[i];
  w->held = one ? one->held.n : 0;
  w->relative = true;
  for (int64_t r = 0; r < w->held; r++) w->relative = w->relative && one->held.y[r] > 0;
  for (int64_t r = 0; r < w->held; r++) {
    bool answered = true;
    for (int i = 0; i < w->n; i++) answered = answered && (w->at[i].note[0] || !w->at[i].score.at[r].refused);
    if (!answered) continue;
    w->common++;
    for (int i = 0; i < w->n; i++) {
      iso_lawfit_entry *v = &w->at[i];
      if (v->note[0]) continue;
      const iso_lawfit_held *h = &v->score.at[r];
      double by = w->relative ? h->v.mid / h->y - 1 : h->v.mid - h->y;
      v->mean_abs += fabs(by);
      v->bias += by;
      v->inside += h->inside;
      v->max_abs = fmax(v->max_abs, fabs(by));
    }
  }
  for (int i = 0; i < w->n; i++) {
    iso_lawfit_entry *v = &w->at[i];
    double n = v->note[0] || !w->common ? NAN : (double)w->common;
    v->mean_abs /= n;
    v->bias /= n;
    v->inside /= n;
    if (isnan(n)) v->max_abs = NAN;
  }
}

// A law that is not compared comes last; equals as they were given.
static bool before(const iso_lawfit_entry *a, const iso_lawfit_entry *b) {
  if (!a->note[0] != !b->note[0]) return !a->note[0];
  return a->mean_abs < b->mean_abs;
}

static void rank(iso_lawfit_compare *w) {
  for (int i = 1; i < w->n; i++)
    for (int k = i; k > 0 && before(&w->at[k], &w->at[k - 1]); k--) {
      iso_lawfit_entry v = w->at[k];
      w->at[k] = w->at[k - 1];
      w->at[k - 1] = v;
    }
  for (int i = 0; i < w->n; i++) {
    iso_lawfit_entry *v = &w->at[i];
    if (v->note[0]) continue;
    v->rank = w->common ? i + 1 : 0;
    v->objective_rank = 1;
    for (int k = 0; k < w->n; k++) v->objective_rank += !w->at[k].note[0] && w->at[k].fit.value < v->fit.value;
  }
}

static iso_status check_columns(const iso_law *const *laws, int n, const iso_law_data_opts *d, iso_err *err) {
  if (d->n_columns > COLUMNS_MAX)
    return iso_fail(err, ISO_EINVAL, "comparison: %d columns are mapped, at most %d make sense", d->n_columns, COLUMNS_MAX);
  for (int k = 0; k < d->n_columns; k++) {
    bool known = false;
    for (int i = 0; i < n; i++) known = known || has_name(laws[i], d->columns[k]);
    if (!known) return iso_fail(err, ISO_EINVAL, "column '%.120s': no law of the comparison has such an input or target", d->columns[k]);
  }
  return ISO_OK;
}

iso_status iso_lawfit_compare_run(iso_ctx *c, const iso_csv *t, const iso_law *const *laws, int n, const iso_law_data_opts *d,
                                  const iso_lawfit_opts *o, double most, iso_lawfit_compare *out, iso_err *err) {
  iso_law_data_opts dat = *d;
  iso_status st = ISO_OK;
  const iso_lawfit_entry *first = NULL;
  iso_err e = {0};
  *out = (iso_lawfit_compare){.n = n};
  ISO_TRY(check_columns(laws, n, d, err));
  dat.objective = o->objective;
  out->at = calloc((size_t)n, sizeof *out->at);
  if (!out->at) return iso_fail(err, ISO_ENOMEM, "comparison: no memory for %d laws", n);
  for (int i = 0; i < n; i++) {
    iso_lawfit_entry *w = &out->at[i];
    w->law = laws[i];
    w->split_rho = w->split_p = NAN;
    e = (iso_err){0};
    st = fit(c, t, &dat, o, most, first ? first : &out->at[i], w, &e);
    // A law that this table cannot feed is said so; the others are compared.
    if (st == ISO_EINVAL || st == ISO_EFORMAT || st == ISO_ENUM) {
      (void)snprintf(w->note, sizeof w->note, "%.280s", e.msg);
    } else if (st != ISO_OK) {
      *err = e;
      goto done;
    } else {
      if (!first) first = w;
      out->compared++;
    }
  }
  if (!out->compared) {
    *err = e;
    st = e.status;
    goto done;
  }
  ISO_TRYG(splits(t, &dat, out, err));
  score(out);
  rank(out);
done:
  if (st != ISO_OK) iso_lawfit_compare_close(out);
  return st;
}

void iso_lawfit_compare_close(iso_lawfit_compare *w) {
  for (int i = 0; i < w->n && w->at; i++) {
    iso_law_data_close(&w->at[i].rows);
    iso_law_data_close(&w->at[i].held);
    iso_lawfit_close(&w->at[i].fit);
    iso_lawfit_score_close(&w->at[i].score);
  }
  free(w->at);
  *w = (iso_lawfit_compare){0};
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

json_t *iso_lawfit_compare_json(const iso_lawfit_compare *w) {
  json_t *list = json_array();
  for (int i = 0; i < w->n; i++) {
    const iso_lawfit_entry *v = &w->at[i];
    const iso_lawfit *f = &v->fit;
    if (v->note[0]) {
      json_array_append_new(list, json_pack("{s:n, s:s, s:s}", "rank", "law", v->law->base.name, "note", v->note));
      continue;
    }
    json_t *o = json_pack("{s:i, s:s, s:i, s:I, s:o, s:o, s:o, s:o}", "rank", v->rank, "law", v->law->base.name, "params", v->law->n_params, "points",
                          (json_int_t)f->n, "mean_abs_error", iso_json_num(v->mean_abs), "max_abs_error", iso_json_num(v->max_abs), "bias",
                          iso_json_num(v->bias), "inside_interval", iso_json_num(v->inside));
    json_object_set_new(o, "objective", json_string(iso_law_objective_name(f->objective)));
    json_object_set_new(o, "objective_value", iso_json_num(f->value));
    json_object_set_new(o, "objective_rank", json_integer(v->objective_rank));
    json_object_set_new(o, "rmse", iso_json_num(f->rmse));
    json_object_set_new(o, "fit_s", iso_json_num(f->fit_s));
    json_object_set_new(o, "refit_s", iso_json_num(f->refit_s));
    json_object_set_new(o, "residuals_with_tokens_per_param",
                        json_pack("{s:o, s:o}", "rho", iso_json_num(v->split_rho), "p", iso_json_num(v->split_p)));
    json_object_set_new(o, "holdout", iso_lawfit_score_json(f, &v->held, &v->score));
    json_array_append_new(list, o);
  }
  return json_pack("{s:o, s:I, s:I, s:s}", "comparison", list, "held_out", (json_int_t)w->held, "held_out_common", (json_int_t)w->common, "error_is",
                   w->relative ? "relative" : "absolute");
}
