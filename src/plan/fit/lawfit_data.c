// Rows of a table as a law's inputs and target.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/fit/expr.h"
#include "plan/fit/fit_csv.h"
#include "plan/fit/lawfit.h"

enum { MAP_MAX = 16, NAME_INPUT = 1000, NAME_TARGET = 2000, NAME_FLOP, NAME_RATIO };

iso_status iso_law_data_open(const iso_law *law, int64_t n, iso_law_data *out, iso_err *err) {
  size_t rows = (size_t)n + 1;
  *out = (iso_law_data){.law = law, .n = n, .clusters = n};
  out->x = calloc(rows * (size_t)law->n_inputs, sizeof *out->x);
  out->y = calloc(rows, sizeof *out->y);
  out->flop = calloc(rows, sizeof *out->flop);
  out->cluster = calloc(rows, sizeof *out->cluster);
  out->line = calloc(rows, sizeof *out->line);
  if (!out->x || !out->y || !out->flop || !out->cluster || !out->line) {
    iso_law_data_close(out);
    return iso_fail(err, ISO_ENOMEM, "law data: no memory for %lld rows", (long long)n);
  }
  for (int64_t i = 0; i < n; i++) {
    out->cluster[i] = i;
    out->flop[i] = NAN;
  }
  return ISO_OK;
}

void iso_law_data_close(iso_law_data *d) {
  free(d->x);
  free(d->y);
  free(d->flop);
  free(d->cluster);
  free(d->line);
  *d = (iso_law_data){0};
}

// Where an input or the target comes from.
typedef struct origin {
  int col;         // -1: not a column
  iso_expr *expr;  // owned; NULL: not an expression
} origin;

typedef struct reader {
  const iso_csv *t;
  const iso_law *law;
  const iso_law_data_opts *o;
  origin input[ISO_LAW_INPUT_MAX], target;
  int flop_col, cluster_col;
  iso_expr *rows, *holdout;  // owned
  int64_t row;               // being read
  double x[ISO_LAW_INPUT_MAX], y, flop;
} reader;

static int find(const iso_csv *t, const char *name) {
  int c = iso_csv_find(t, name);
  if (c < 0 && iso_csv_find_like(t, name, &c, NULL) != ISO_OK) return -1;
  return c;
}

static iso_status find_any(const iso_csv *t, const char *name, const char *const *alias, int *col, iso_err *err) {
  *col = iso_csv_find(t, name);
  // One of exactly this name goes before others like it; of two, neither does.
  bool twice = false;
  for (int i = *col + 1; *col >= 0 && i < t->cols; i++) twice = twice || strcmp(iso_csv_name(t, i), name) == 0;
  if (*col < 0 || twice) ISO_TRY(iso_csv_find_like(t, name, col, err));
  for (int a = 0; a < ISO_LAW_ALIAS_MAX && alias[a] && *col < 0; a++) ISO_TRY(iso_csv_find_like(t, alias[a], col, err));
  for (const char *const *s = iso_law_synonyms(name); *s && *col < 0; s++) ISO_TRY(iso_csv_find_like(t, *s, col, err));
  return ISO_OK;
}

static int unknown(const reader *r, const char *name, iso_err *err) {
  iso_fail(err, ISO_EINVAL, "%s has no column called '%.80s', and law %s no such input", r->t->what, name, r->law->base.name);
  iso_hint(err, ISO_EINVAL, "names other than letters, digits, _ and . go between backquotes");
  return -1;
}

// Names in --column: columns only.
static int column_name(void *self, const char *name, iso_err *err) {
  const reader *r = self;
  int c = find(r->t, name);
  return c >= 0 ? c : unknown(r, name, err);
}

// Names in --rows and --holdout: columns, inputs, the target, and what follows from them.
static int any_name(void *self, const char *name, iso_err *err) {
  const reader *r = self;
  int c = iso_csv_find(r->t, name), k = iso_law_input_find(r->law, name);
  if (c >= 0) return c;
  if (k >= 0) return NAME_INPUT + k;
  if (strcmp(name, r->law->target) == 0) return NAME_TARGET;
  if (strcmp(name, "train_flop") == 0) return NAME_FLOP;
  for (const char *const *s = iso_law_synonyms("train_flop"); *s; s++)
    if (strcmp(name, *s) == 0) return NAME_FLOP;
  if (strcmp(name, "tokens_per_param") == 0 && r->law->at_params >= 0 && r->law->at_tokens >= 0) return NAME_RATIO;
  c = find(r->t, name);
  return c >= 0 ? c : unknown(r, name, err);
}

static iso_status number_of(void *self, int k, double *out, iso_err *err) {
  const reader *r = self;
  if (k >= NAME_RATIO) {
    *out = r->x[r->law->at_tokens] / r->x[r->law->at_params];
    return ISO_OK;
  }
  if (k >= NAME_INPUT) {
    *out = k == NAME_FLOP ? r->flop : k == NAME_TARGET ? r->y : r->x[k - NAME_INPUT];
    return ISO_OK;
  }
  return iso_csv_number(r->t, r->row, k, iso_csv_name(r->t, k), out, err);
}

static iso_status text_of(void *self, int k, const char **out, iso_err *err) {
  const reader *r = self;
  if (k >= NAME_INPUT) return iso_fail(err, ISO_EINVAL, "an expression compares a number of law %s with a text", r->law->base.name);
  *out = iso_csv_cell(r->t, r->row, k);
  return ISO_OK;
}

static iso_status map_columns(reader *r, iso_err *err) {
  for (int i = 0; i < r->o->n_columns; i++) {
    const char *def = r->o->columns[i], *eq = strchr(def, '=');
    char name[80];
    if (!eq || eq == def || (size_t)(eq - def) >= sizeof name) return iso_fail(err, ISO_EINVAL, "column '%.120s': expected NAME=EXPRESSION", def);
    memcpy(name, def, (size_t)(eq - def));
    name[eq - def] = 0;
    int k = iso_law_input_find(r->law, name);
    bool target = strcmp(name, r->law->target) == 0;
    if (k < 0 && !target) {
      iso_fail(err, ISO_EINVAL, "column '%.120s': law %s has no input or target called %s", def, r->law->base.name, name);
      return iso_hint(err, ISO_EINVAL, "isoflop law show %s lists them", r->law->base.name);
    }
    origin *o = target ? &r->target : &r->input[k];
    if (o->expr) return iso_fail(err, ISO_EINVAL, "column '%.120s': %s is given twice", def, name);
    // A column whose name is no expression, as in loss=val.loss-2, is taken as it stands.
    o->col = iso_csv_find(r->t, eq + 1);
    if (o->col < 0) ISO_TRY(iso_expr_open(eq + 1, column_name, r, &o->expr, err));
  }
  return ISO_OK;
}

static iso_status open_reader(const iso_csv *t, const iso_law *law, const iso_law_data_opts *o, reader *r, iso_err *err) {
  static const char *const NONE[ISO_LAW_ALIAS_MAX] = {NULL};
  *r = (reader){.t = t, .law = law, .o = o, .target = {.col = -1}, .cluster_col = -1};
  for (int i = 0; i < law->n_inputs; i++) r->input[i].col = -1;
  ISO_TRY(map_columns(r, err));
  for (int i = 0; i < law->n_inputs; i++) {
    origin *in = &r->input[i];
    if (in->col < 0 && !in->expr) ISO_TRY(find_any(t, law->input[i].name, law->input[i].alias, &in->col, err));
  }
  if (r->target.col < 0 && !r->target.expr) ISO_TRY(find_any(t, law->target, law->target_alias, &r->target.col, err));
  ISO_TRY(find_any(t, "train_flop", NONE, &r->flop_col, err));
  if (r->target.col < 0 && !r->target.expr) {
    iso_fail(err, ISO_EFORMAT, "%s, line %lld: no column for %s (%s)", t->what, (long long)t->header, law->target, law->unit);
    return iso_fit_csv_hint_like(t, law->target, err);
  }
  for (int i = 0; i < law->n_inputs; i++) {
    bool from_flop = i == law->at_tokens && r->flop_col >= 0;
    if (r->input[i].col >= 0 || r->input[i].expr || from_flop || !isnan(law->input[i].absent)) continue;
    iso_fail(err, ISO_EFORMAT, "%s, line %lld: no column for %s (%s)", t->what, (long long)t->header, law->input[i].name, law->input[i].what);
    return iso_hint(err, ISO_EFORMAT, "--column %s=EXPRESSION says how it follows from the columns there are", law->input[i].name);
  }
  if (o->cluster && (r->cluster_col = iso_csv_find(t, o->cluster)) < 0)
    return iso_fail(err, ISO_EINVAL, "%s has no column called '%.80s'", t->what, o->cluster);
  if (o->rows) ISO_TRY(iso_expr_open(o->rows, any_name, r, &r->rows, err));
  if (o->holdout) ISO_TRY(iso_expr_open(o->holdout, any_name, r, &r->holdout, err));
  return ISO_OK;
}

static void close_reader(reader *r) {
  for (int i = 0; i < r->law->n_inputs; i++) iso_expr_close(r->input[i].expr);
  iso_expr_close(r->target.expr);
  iso_expr_close(r->rows);
  iso_expr_close(r->holdout);
}

// A date as a year with its fraction: YYYY-MM-DD (months of a twelfth, days of a 365th), or a number.
static iso_status year_of(const reader *r, int col, const char *name, double *out, iso_err *err) {
  const char *s = iso_csv_cell(r->t, r->row, col);
  int y, m, d, n = 0;
  if (sscanf(s, "%4d-%2d-%2d%n", &y, &m, &d, &n) != 3 || s[n]) return iso_csv_number(r->t, r->row, col, name, out, err);
  if (m < 1 || m > 12 || d < 1 || d > 31)
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d (%s): \"%.40s\", expected a date as YYYY-MM-DD or a year", r->t->what,
                    (long long)r->t->line[r->row], col + 1, name, s);
  *out = y + (m - 1) / 12.0 + (d - 1) / 365.0;
  return ISO_OK;
}

static iso_status value_of(reader *r, const origin *o, const char *name, double *out, iso_err *err) {
  if (o->expr) {
    iso_status st = iso_expr_eval(o->expr, number_of, text_of, r, out, err);
    return st == ISO_OK ? st : iso_err_prefix(err, st, "%s", name);
  }
  if (o->col >= 0) return iso_csv_number(r->t, r->row, o->col, name, out, err);
  *out = NAN;
  return ISO_OK;
}

// Reads row `row`; *has_y is false when it has no target yet.
static iso_status read_row(reader *r, int64_t row, bool *has_y, iso_err *err) {
  const iso_law *law = r->law;
  r->row = row;
  r->flop = NAN;
  ISO_TRY(value_of(r, &r->target, law->target, &r->y, err));
  *has_y = !isnan(r->y);
  if (!*has_y) return ISO_OK;
  if (r->flop_col >= 0) ISO_TRY(iso_csv_positive(r->t, row, r->flop_col, "train_flop", &r->flop, err));
  for (int i = 0; i < law->n_inputs; i++) {
    const origin *o = &r->input[i];
    bool date = !o->expr && o->col >= 0 && strcmp(law->input[i].unit, "yr") == 0;
    ISO_TRY(date ? year_of(r, o->col, law->input[i].name, &r->x[i], err) : value_of(r, o, law->input[i].name, &r->x[i], err));
    if (isnan(r->x[i])) r->x[i] = law->input[i].absent;
  }
  if (law->at_tokens >= 0 && isnan(r->x[law->at_tokens]) && r->flop > 0) {
    r->x[law->at_tokens] = 1;
    r->x[law->at_tokens] = r->flop / iso_law_flop(law, r->x);
  }
  if (isnan(r->flop)) r->flop = iso_law_flop(law, r->x);
  return ISO_OK;
}

// Refuses a row that is to be used but cannot be.
static iso_status check_row(const reader *r, iso_err *err) {
  const iso_law *law = r->law;
  long long line = (long long)r->t->line[r->row];
  for (int i = 0; i < law->n_inputs; i++)
    if (r->x[i] != law->input[i].absent && (!(r->x[i] > 0) || (!isfinite(r->x[i]) && law->input[i].absent != INFINITY)))
      return iso_fail(err, ISO_EFORMAT, "%s, line %lld: %s = %g, expected a positive finite number", r->t->what, line, law->input[i].name, r->x[i]);
  bool ok = iso_law_objective_is_log(r->o->objective) ? r->y > 0 && r->y < INFINITY : fabs(r->y) < INFINITY;
  if (!ok) {
    iso_fail(err, ISO_EFORMAT, "%s, line %lld: %s = %g, expected a %sfinite number", r->t->what, line, law->target, r->y,
             iso_law_objective_is_log(r->o->objective) ? "positive " : "");
    return iso_hint(err, ISO_EFORMAT, "--objective huber or square takes no logarithm of it");
  }
  return ISO_OK;
}

static void put_row(const reader *r, iso_law_data *d) {
  int64_t i = d->n++;
  memcpy(d->x + i * r->law->n_inputs, r->x, sizeof(double) * (size_t)r->law->n_inputs);
  d->y[i] = r->y;
  d->flop[i] = r->flop;
  d->line[i] = r->t->line[r->row];
  d->cluster[i] = r->cluster_col < 0 ? i : r->row;  // the row stands for its text until all are there
}

// Numbers clusters by the text of their column, in the order of their first rows.
static void number_clusters(const reader *r, iso_law_data *d) {
  d->clusters = d->n;
  for (int64_t i = 0; i < d->n && r->cluster_col < 0; i++) d->cluster[i] = i;
  if (r->cluster_col < 0) return;
  int64_t n = 0;
  for (int64_t i = 0; i < d->n; i++) {
    int64_t row = d->cluster[i], same = -1;
    d->line[i] = -row - 1;
    // Clusters are runs with some checkpoints each, so that a search backwards ends early.
    for (int64_t k = i - 1; k >= 0 && same < 0; k--)
      if (strcmp(iso_csv_cell(r->t, -d->line[k] - 1, r->cluster_col), iso_csv_cell(r->t, row, r->cluster_col)) == 0) same = d->cluster[k];
    d->cluster[i] = same >= 0 ? same : n++;
  }
  for (int64_t i = 0; i < d->n; i++) d->line[i] = r->t->line[-d->line[i] - 1];
  d->clusters = n;
}

static iso_status drop_highest(iso_law_data *d, int64_t k, iso_err *err) {
  if (k < 0 || k >= d->n) return iso_fail(err, ISO_EINVAL, "cannot drop the %lld highest of %lld rows", (long long)k, (long long)d->n);
  int m = d->law->n_inputs;
  for (; k > 0; k--) {
    int64_t worst = 0;
    for (int64_t i = 1; i < d->n; i++)
      if (d->y[i] > d->y[worst]) worst = i;
    size_t rest = (size_t)(d->n - worst - 1);
    memmove(d->x + worst * m, d->x + (worst + 1) * m, sizeof *d->x * rest * (size_t)m);
    memmove(d->y + worst, d->y + worst + 1, sizeof *d->y * rest);
    memmove(d->flop + worst, d->flop + worst + 1, sizeof *d->flop * rest);
    memmove(d->line + worst, d->line + worst + 1, sizeof *d->line * rest);
    memmove(d->cluster + worst, d->cluster + worst + 1, sizeof *d->cluster * rest);
    d->n--;
    d->dropped++;
  }
  return ISO_OK;
}

iso_status iso_law_data_read(const iso_csv *t, const iso_law *law, const iso_law_data_opts *o, iso_law_data *fit, iso_law_data *held, iso_err *err) {
  reader r;
  iso_status st = ISO_OK;
  int64_t skipped = 0;
  *fit = *held = (iso_law_data){0};
  ISO_TRYG(open_reader(t, law, o, &r, err));
  ISO_TRYG(iso_law_data_open(law, t->rows, fit, err));
  ISO_TRYG(iso_law_data_open(law, t->rows, held, err));
  fit->n = held->n = 0;
  for (int64_t row = 0; row < t->rows; row++) {
    bool has_y = false;
    double take = 1, hold = 0;
    if (o->use && !o->use[row]) continue;
    ISO_TRYG(read_row(&r, row, &has_y, err));
    if (!has_y) {
      skipped++;
      continue;
    }
    if (r.rows) ISO_TRYG(iso_expr_eval(r.rows, number_of, text_of, &r, &take, err));
    if (r.holdout) ISO_TRYG(iso_expr_eval(r.holdout, number_of, text_of, &r, &hold, err));
    if (take == 0 || isnan(take)) continue;
    ISO_TRYG(check_row(&r, err));
    put_row(&r, hold != 0 && !isnan(hold) ? held : fit);
  }
  fit->skipped = skipped;
  if (o->drop_highest) ISO_TRYG(drop_highest(fit, o->drop_highest, err));
  number_clusters(&r, fit);
  number_clusters(&r, held);
  if (fit->n == 0) {
    st = iso_fail(err, ISO_EINVAL, "%s: no row is left to fit (%lld held out, %lld without %s)", t->what, (long long)held->n, (long long)skipped,
                  law->target);
    iso_hint(err, st, "look at --where, --rows and --holdout");
  }
done:
  close_reader(&r);
  if (st != ISO_OK) {
    iso_law_data_close(fit);
    iso_law_data_close(held);
  }
  return st;
}
