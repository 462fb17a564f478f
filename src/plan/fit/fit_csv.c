// Training runs out of a table: which columns hold what, filters, groups.
#include "plan/fit/fit_csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ALIAS_MAX = 10, COL_N = 0, COL_D, COL_C, COL_LOSS, COLS, WHERE_MAX = 16, GROUPS_MAX = 1000 };

static const char *const NAME[COLS] = {"params", "tokens", "train_flops", "loss"};
static const char *const ALIAS[COLS][ALIAS_MAX] = {
    {"params", "parameters", "n_params", "num_params", "model_size", "n"},
    {"tokens", "train_tokens", "training_tokens", "n_tokens", "d"},
    {"train_flops", "train_flop", "training_flop", "training_flops", "flops", "flop", "compute", "c"},
    {"loss", "final_loss", "val_loss", "eval_loss", "l"},
};

iso_status iso_fit_csv_rows(const iso_csv *t, const iso_fit_csv_opts *o, bool **out, iso_err *err) {
  int col[WHERE_MAX];
  *out = NULL;
  if (o->n_where > WHERE_MAX) return iso_fail(err, ISO_EINVAL, "%d filters, expected at most %d", o->n_where, WHERE_MAX);
  for (int k = 0; k < o->n_where; k++) {
    const char *eq = strchr(o->where[k], '=');
    if (!eq) return iso_fail(err, ISO_EINVAL, "filter '%s': expected COLUMN=VALUE", o->where[k]);
    col[k] = -1;
    for (int i = 0; i < t->cols && col[k] < 0; i++) {
      const char *h = iso_csv_name(t, i);
      if (strlen(h) == (size_t)(eq - o->where[k]) && !strncmp(h, o->where[k], strlen(h))) col[k] = i;
    }
    if (col[k] < 0) return iso_fail(err, ISO_EINVAL, "filter '%s': %s has no column of that name", o->where[k], t->what);
  }
  bool *use = malloc((size_t)t->rows + 1);
  if (!use) return iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld rows", t->what, (long long)t->rows);
  for (int64_t r = 0; r < t->rows; r++) {
    use[r] = true;
    for (int k = 0; k < o->n_where; k++) use[r] = use[r] && strcmp(iso_csv_cell(t, r, col[k]), strchr(o->where[k], '=') + 1) == 0;
  }
  *out = use;
  return ISO_OK;
}

iso_status iso_fit_csv_hint_like(const iso_csv *t, const char *name, iso_err *err) {
  const char *like = NULL;
  for (int i = 0; i < t->cols && !like; i++)
    if (strstr(iso_csv_name(t, i), name)) like = iso_csv_name(t, i);
  if (like) return iso_hint(err, ISO_EFORMAT, "--law NAME --column %s=COLUMN names it; this table has '%.60s'", name, like);
  return iso_hint(err, ISO_EFORMAT, "--law NAME --column %s=COLUMN names it", name);
}

static iso_status find_columns(const iso_csv *t, int col[COLS], iso_err *err) {
  for (int k = 0; k < COLS; k++) {
    col[k] = -1;
    for (int a = 0; a < ALIAS_MAX && ALIAS[k][a] && col[k] < 0; a++) ISO_TRY(iso_csv_find_like(t, ALIAS[k][a], &col[k], err));
    for (const char *const *s = iso_law_synonyms(ALIAS[k][0]); *s && col[k] < 0; s++) ISO_TRY(iso_csv_find_like(t, *s, &col[k], err));
  }
  const char *missing = col[COL_N] < 0 ? "params" : col[COL_LOSS] < 0 ? "loss" : col[COL_D] < 0 && col[COL_C] < 0 ? "tokens or train_flops" : NULL;
  if (missing) {
    iso_fail(err, ISO_EFORMAT, "%s, line %lld: no column for %s among %d", t->what, (long long)t->header, missing, t->cols);
    for (int i = 0; i < t->cols; i++)
      if (strcmp(missing, "loss") == 0 && strstr(iso_csv_name(t, i), missing)) return iso_fit_csv_hint_like(t, missing, err);
    return iso_hint(err, ISO_EFORMAT,
                    "the columns are params, tokens and/or train_flops, loss; `isoflop fit --help` lists other names that are understood");
  }
  return ISO_OK;
}

// Turns row r into v[COLS]; *keep is false for rows that have no loss yet.
static iso_status read_values(const iso_csv *t, int64_t r, const int *col, double *v, bool *keep, iso_err *err) {
  for (int k = 0; k < COLS; k++) {
    v[k] = NAN;
    if (col[k] >= 0) ISO_TRY(iso_csv_positive(t, r, col[k], NAME[k], &v[k], err));
  }
  *keep = !isnan(v[COL_LOSS]);
  if (!*keep) return ISO_OK;
  long long line = (long long)t->line[r];
  if (isnan(v[COL_N]))
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d (params): empty, expected a positive number", t->what, line, col[COL_N] + 1);
  if (isnan(v[COL_D]) && isnan(v[COL_C])) return iso_fail(err, ISO_EFORMAT, "%s, line %lld: neither tokens nor train_flops is given", t->what, line);
  if (isnan(v[COL_D])) v[COL_D] = v[COL_C] / (ISO_LAW_FLOP_PER_PARAM_TOK * v[COL_N]);
  if (isnan(v[COL_C])) v[COL_C] = ISO_LAW_FLOP_PER_PARAM_TOK * v[COL_N] * v[COL_D];
  if (!(v[COL_D] > 0 && v[COL_D] < INFINITY && v[COL_C] < INFINITY))
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: tokens %g and train_flops %g are out of range", t->what, line, v[COL_D], v[COL_C]);
  return ISO_OK;
}

static iso_status to_data(const double *v, int64_t n, int64_t skipped, const iso_fit_csv_opts *o, const char *what, iso_fit_data *out, iso_err *err) {
  if (!n) {
    iso_fail(err, ISO_EINVAL, "%s: no row with a loss%s (%lld without)", what, o->n_where ? " passes the filters" : "", (long long)skipped);
    return iso_hint(err, ISO_EINVAL, "the file needs one row per finished run below its header");
  }
  ISO_TRY(iso_fit_data_open(n, out, err));
  for (int64_t i = 0; i < n; i++) {
    out->params[i] = v[i * COLS + COL_N];
    out->tokens[i] = v[i * COLS + COL_D];
    out->flop[i] = v[i * COLS + COL_C];
    out->loss[i] = v[i * COLS + COL_LOSS];
  }
  out->skipped = skipped;
  iso_status st = iso_fit_data_drop_highest(out, o->drop_highest, err);
  if (st != ISO_OK) iso_fit_data_close(out);
  return st;
}

iso_status iso_fit_csv_points(const iso_csv *t, const bool *use, const iso_fit_csv_opts *o, iso_fit_data *out, iso_err *err) {
  static const iso_fit_csv_opts none = {0};
  iso_status st = ISO_OK;
  bool *own = NULL;
  double *v = NULL;
  int col[COLS];
  int64_t n = 0, skipped = 0;
  memset(out, 0, sizeof *out);
  if (!o) o = &none;
  ISO_TRYG(find_columns(t, col, err));
  if (!use) {
    ISO_TRYG(iso_fit_csv_rows(t, o, &own, err));
    use = own;
  }
  v = malloc(sizeof *v * ((size_t)t->rows * COLS + 1));
  if (!v) {
    st = iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld rows", t->what, (long long)t->rows);
    goto done;
  }
  for (int64_t r = 0; r < t->rows; r++) {
    bool keep = false;
    if (!use[r]) continue;
    ISO_TRYG(read_values(t, r, col, v + n * COLS, &keep, err));
    n += keep;
    skipped += !keep;
  }
  st = to_data(v, n, skipped, o, t->what, out, err);
done:
  free(v);
  free(own);
  return st;
}

static bool same_group(const iso_csv *t, int64_t a, int64_t b, const int *col, int n_col) {
  for (int k = 0; k < n_col; k++)
    if (strcmp(iso_csv_cell(t, a, col[k]), iso_csv_cell(t, b, col[k])) != 0) return false;
  return true;
}

iso_status iso_fit_csv_groups(const iso_csv *t, const bool *use, const int *col, int n_col, iso_fit_groups *out, iso_err *err) {
  *out = (iso_fit_groups){0};
  out->of = malloc(sizeof *out->of * ((size_t)t->rows + 1));
  out->first = malloc(sizeof *out->first * GROUPS_MAX);
  if (!out->of || !out->first) {
    iso_fit_groups_close(out);
    return iso_fail(err, ISO_ENOMEM, "%s: no memory for the groups of %lld rows", t->what, (long long)t->rows);
  }
  for (int64_t r = 0; r < t->rows; r++) {
    out->of[r] = -1;
    if (use && !use[r]) continue;
    int64_t g = 0;
    while (g < out->n && !same_group(t, r, out->first[g], col, n_col)) g++;
    if (g == GROUPS_MAX) {
      iso_fit_groups_close(out);
      return iso_fail(err, ISO_EINVAL, "%s: more than %d groups; group by columns that name a protocol or a data set", t->what, GROUPS_MAX);
    }
    if (g == out->n) out->first[out->n++] = r;
    out->of[r] = g;
  }
  return ISO_OK;
}

void iso_fit_groups_close(iso_fit_groups *g) {
  free(g->of);
  free(g->first);
  *g = (iso_fit_groups){0};
}

iso_status iso_fit_csv_parse(const char *text, size_t n, const char *what, const iso_fit_csv_opts *o, iso_fit_data *out, iso_err *err) {
  iso_csv t;
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_csv_parse(text, n, what, &t, err));
  iso_status st = iso_fit_csv_points(&t, NULL, o, out, err);
  iso_csv_close(&t);
  return st;
}

iso_status iso_fit_csv_load(const char *path, const iso_fit_csv_opts *o, iso_fit_data *out, iso_err *err) {
  iso_csv t;
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_csv_load(path, &t, err));
  iso_status st = iso_fit_csv_points(&t, NULL, o, out, err);
  iso_csv_close(&t);
  return st;
}
