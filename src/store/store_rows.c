// Points, curves, ledger rows and fits: writing in one transaction each, reading into an arena.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/store_impl.h"

iso_store_point iso_store_point_blank(void) {
  return (iso_store_point){
      .quality = NAN, .q_lo = NAN, .q_hi = NAN, .stderr_ = NAN, .n_params = NAN, .d_tokens = NAN, .flops = NAN, .cost = iso_cost_unknown()};
}
iso_store_sample iso_store_sample_blank(void) {
  return (iso_store_sample){.tokens = NAN, .t_s = NAN, .train_loss = NAN, .val_loss = NAN, .lr = NAN, .grad_norm = NAN};
}

// Binds row i of a batch.
typedef void (*bind_fn)(iso_stmt *q, const void *rows, int64_t i, const char *run);

// Takes sql's text; one transaction for n rows.
static iso_status add_rows(iso_store *s, iso_str *sql, const char *what, bind_fn bind, const void *rows, int64_t n, const char *run, iso_err *err) {
  iso_stmt q = {0};
  (void)pthread_mutex_lock(&s->lock);
  iso_status st = sql->failed ? iso_fail(err, ISO_ENOMEM, "run store: no memory for a statement") : iso_store_prepare(s, sql->p, &q, err);
  if (st == ISO_OK) st = iso_store_exec(s, "BEGIN IMMEDIATE", what, err);
  if (st == ISO_OK) {
    for (int64_t i = 0; st == ISO_OK && i < n; i++) {
      bind(&q, rows, i, run);
      st = iso_stmt_run(&q, what, err);
    }
    if (st == ISO_EINVAL) iso_hint(err, st, "every row belongs to a run that iso_store_begin made");
    st = iso_store_end(s, st, err);
  }
  (void)sqlite3_finalize(q.q);
  (void)pthread_mutex_unlock(&s->lock);
  iso_str_free(sql);
  return st;
}

// A query's parameters, its reader and the size of a row.
typedef struct query {
  const char *p1, *p2;
  iso_status (*read)(iso_stmt *q, iso_arena *a, void *row);
  size_t size;
} query;

static iso_status read_rows(iso_store *s, iso_str *sql, const query *in, iso_arena *a, void *rows, int64_t *n, iso_err *err) {
  iso_stmt q = {0};
  iso_gather g = {.size = in->size};
  int rc = SQLITE_DONE;
  (void)pthread_mutex_lock(&s->lock);
  iso_status st = sql->failed ? ISO_ENOMEM : iso_store_prepare(s, sql->p, &q, err);
  if (st == ISO_OK) {
    iso_stmt_text(&q, in->p1);
    if (sqlite3_bind_parameter_count(q.q) > 1) iso_stmt_text(&q, in->p2);
    while (st == ISO_OK && (rc = sqlite3_step(q.q)) == SQLITE_ROW) {
      void *row = iso_gather_next(&g);
      st = row ? in->read(&q, a, row) : ISO_ENOMEM;
    }
    if (st == ISO_OK && rc != SQLITE_DONE) st = iso_store_fail(s, rc, "read", err);
  }
  (void)sqlite3_finalize(q.q);
  (void)pthread_mutex_unlock(&s->lock);
  iso_str_free(sql);
  return iso_gather_done(&g, st, a, rows, n, err);
}

static void bind_point(iso_stmt *q, const void *rows, int64_t i, const char *run) {
  const iso_store_point *p = (const iso_store_point *)rows + i;
  (void)run;
  iso_stmt_text(q, p->run);
  iso_stmt_i64(q, p->predicted);
  iso_stmt_text(q, p->label);
  iso_stmt_text(q, p->metric);
  const double v[] = {p->quality, p->q_lo, p->q_hi, p->stderr_, p->n_params, p->d_tokens, p->flops};
  for (size_t k = 0; k < ISO_COUNT(v); k++) iso_stmt_real(q, v[k]);
  iso_stmt_cost(q, &p->cost);
}

#define POINT_COLS "run, predicted, label, metric, quality, q_lo, q_hi, stderr, n_params, d_tokens, flops"

iso_status iso_store_points_add(iso_store *s, const iso_store_point *p, int64_t n, iso_err *err) {
  iso_str sql = {0};
  iso_str_fmt(&sql, "INSERT INTO points (" POINT_COLS "%s) VALUES (?,?,?,?,?,?,?,?,?,?,?%s)", iso_store_cost_cols, iso_store_cost_marks);
  return add_rows(s, &sql, "add points", bind_point, p, n, NULL, err);
}

static iso_status read_point(iso_stmt *q, iso_arena *a, void *row) {
  iso_store_point *p = row;
  iso_status st = ISO_OK;
  p->run = iso_col_text(q, 0, a, &st);
  p->predicted = sqlite3_column_int(q->q, 1) != 0;
  p->label = iso_col_text(q, 2, a, &st);
  p->metric = iso_col_text(q, 3, a, &st);
  double *const v[] = {&p->quality, &p->q_lo, &p->q_hi, &p->stderr_, &p->n_params, &p->d_tokens, &p->flops};
  for (size_t k = 0; k < ISO_COUNT(v); k++) *v[k] = iso_col_real(q, 4 + (int)k);
  iso_col_cost(q, 4 + (int)ISO_COUNT(v), &p->cost);
  return st;
}

iso_status iso_store_points(iso_store *s, const char *run, bool below, int which, iso_arena *a, iso_store_point **rows, int64_t *n, iso_err *err) {
  iso_str sql = {0};
  query q = {.p1 = run, .read = read_point, .size = sizeof(iso_store_point)};
  if (below) iso_str_add(&sql, "WITH RECURSIVE tree(id) AS (SELECT ?1 UNION SELECT r.id FROM runs r JOIN tree ON r.parent=tree.id) ");
  iso_str_fmt(&sql, "SELECT " POINT_COLS "%s FROM points WHERE (?1 IS NULL OR run %s)%s ORDER BY id", iso_store_cost_cols,
              below ? "IN (SELECT id FROM tree)" : "= ?1",
              which < 0 ? ""
              : which   ? " AND predicted"
                        : " AND NOT predicted");
  return read_rows(s, &sql, &q, a, rows, n, err);
}

static void bind_sample(iso_stmt *q, const void *rows, int64_t i, const char *run) {
  const iso_store_sample *p = (const iso_store_sample *)rows + i;
  iso_stmt_text(q, run);
  iso_stmt_i64(q, p->step);
  const double v[] = {p->tokens, p->t_s, p->train_loss, p->val_loss, p->lr, p->grad_norm};
  for (size_t k = 0; k < ISO_COUNT(v); k++) iso_stmt_real(q, v[k]);
  iso_stmt_text(q, p->event);
}

iso_status iso_store_curve_add(iso_store *s, const char *run, const iso_store_sample *p, int64_t n, iso_err *err) {
  iso_str sql = {0};
  iso_str_add(&sql, "INSERT OR REPLACE INTO curve (run, step, tokens, t_s, train_loss, val_loss, lr, grad_norm, event) VALUES (?,?,?,?,?,?,?,?,?)");
  return add_rows(s, &sql, "add a curve", bind_sample, p, n, run, err);
}

static iso_status read_sample(iso_stmt *q, iso_arena *a, void *row) {
  iso_store_sample *p = row;
  iso_status st = ISO_OK;
  p->step = sqlite3_column_int64(q->q, 0);
  double *const v[] = {&p->tokens, &p->t_s, &p->train_loss, &p->val_loss, &p->lr, &p->grad_norm};
  for (size_t k = 0; k < ISO_COUNT(v); k++) *v[k] = iso_col_real(q, 1 + (int)k);
  p->event = iso_col_text(q, 7, a, &st);
  return st;
}

iso_status iso_store_curve(iso_store *s, const char *run, iso_arena *a, iso_store_sample **rows, int64_t *n, iso_err *err) {
  iso_str sql = {0};
  query q = {.p1 = run, .read = read_sample, .size = sizeof(iso_store_sample)};
  iso_str_add(&sql, "SELECT step, tokens, t_s, train_loss, val_loss, lr, grad_norm, event FROM curve WHERE run=? ORDER BY step");
  return read_rows(s, &sql, &q, a, rows, n, err);
}

static const char *const STATES[] = {
    [ISO_ROW_OPEN] = "open", [ISO_ROW_SETTLED] = "settled", [ISO_ROW_RELEASED] = "released", [ISO_ROW_CHARGED] = "charged"};

static void bind_ledger(iso_stmt *q, const void *rows, int64_t i, const char *run) {
  const iso_run_row *p = (const iso_run_row *)rows + i;
  iso_stmt_text(q, run);
  iso_stmt_i64(q, p->id);
  iso_stmt_text(q, p->label);
  iso_stmt_text(q, STATES[p->state]);
  iso_stmt_cost(q, &p->predicted);
  iso_stmt_cost(q, &p->measured);
}

iso_status iso_store_ledger_add(iso_store *s, const char *run, const iso_run_row *rows, int64_t n, iso_err *err) {
  iso_str sql = {0};
  iso_str_fmt(&sql, "INSERT INTO ledger (run, seq, label, state%s) VALUES (?,?,?,?%s%s)", iso_store_ledger_cols, iso_store_cost_marks,
              iso_store_cost_marks);
  return add_rows(s, &sql, "add to the ledger", bind_ledger, rows, n, run, err);
}

static iso_status read_ledger(iso_stmt *q, iso_arena *a, void *row) {
  iso_run_row *p = row;
  (void)a;
  p->id = sqlite3_column_int64(q->q, 0);
  const char *label = (const char *)sqlite3_column_text(q->q, 1), *state = (const char *)sqlite3_column_text(q->q, 2);
  (void)snprintf(p->label, sizeof p->label, "%s", label ? label : "");
  for (size_t k = 0; k < ISO_COUNT(STATES); k++)
    if (state && strcmp(state, STATES[k]) == 0) p->state = (iso_row_state)k;
  iso_col_cost(q, 3, &p->predicted);
  iso_col_cost(q, 3 + 3 * ISO_RES_COUNT, &p->measured);
  return ISO_OK;
}

iso_status iso_store_ledger(iso_store *s, const char *run, iso_arena *a, iso_run_row **rows, int64_t *n, iso_err *err) {
  iso_str sql = {0};
  query q = {.p1 = run, .read = read_ledger, .size = sizeof(iso_run_row)};
  iso_str_fmt(&sql, "SELECT seq, label, state%s FROM ledger WHERE run=? ORDER BY id", iso_store_ledger_cols);
  return read_rows(s, &sql, &q, a, rows, n, err);
}

static void bind_fit(iso_stmt *q, const void *rows, int64_t i, const char *created) {
  const iso_store_fit *f = (const iso_store_fit *)rows + i;
  const char *const text[] = {f->run, created, f->law, f->source, f->params_json, f->interval_json};
  for (size_t k = 0; k < ISO_COUNT(text); k++) iso_stmt_text(q, text[k]);
  iso_stmt_real(q, f->objective);
  iso_stmt_i64(q, f->n_points);
}

iso_status iso_store_fit_add(iso_store *s, const iso_store_fit *f, iso_err *err) {
  iso_str sql = {0};
  char created[32];
  time_t now = time(NULL);
  struct tm tm;
  gmtime_r(&now, &tm);
  if (strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) created[0] = 0;
  iso_str_add(&sql, "INSERT INTO fits (run, created, law, source, params_json, interval_json, objective, n_points) VALUES (?,?,?,?,?,?,?,?)");
  return add_rows(s, &sql, "add a fit", bind_fit, f, 1, created, err);
}

static iso_status read_fit(iso_stmt *q, iso_arena *a, void *row) {
  iso_store_fit *f = row;
  iso_status st = ISO_OK;
  f->run = iso_col_text(q, 0, a, &st);
  f->law = iso_col_text(q, 1, a, &st);
  f->source = iso_col_text(q, 2, a, &st);
  f->params_json = iso_col_text(q, 3, a, &st);
  f->interval_json = iso_col_text(q, 4, a, &st);
  f->objective = iso_col_real(q, 5);
  f->n_points = sqlite3_column_int64(q->q, 6);
  return st;
}

iso_status iso_store_fits(iso_store *s, const char *run, const char *law, iso_arena *a, iso_store_fit **rows, int64_t *n, iso_err *err) {
  iso_str sql = {0};
  query q = {.p1 = run, .p2 = law, .read = read_fit, .size = sizeof(iso_store_fit)};
  iso_str_add(&sql,
              "SELECT run, law, source, params_json, interval_json, objective, n_points FROM fits"
              " WHERE (?1 IS NULL OR run=?1) AND (?2 IS NULL OR law=?2) ORDER BY id DESC");
  return read_rows(s, &sql, &q, a, rows, n, err);
}

// One column as JSON; NULL: no memory.
static json_t *column_json(sqlite3_stmt *q, int i) {
  const char *name = sqlite3_column_name(q, i), *text, *tail = strlen(name) > 5 ? name + strlen(name) - 5 : "";
  json_t *v = NULL;
  switch (sqlite3_column_type(q, i)) {
    case SQLITE_INTEGER: return json_integer(sqlite3_column_int64(q, i));
    case SQLITE_FLOAT: return iso_json_num(sqlite3_column_double(q, i));
    case SQLITE_TEXT:
      text = (const char *)sqlite3_column_text(q, i);
      if (text && strcmp(tail, "_json") == 0) v = json_loads(text, JSON_DECODE_ANY, NULL);
      if (!v && text) v = json_string(text);
      return v ? v : json_string("?");  // not UTF-8
    default: return json_null();
  }
}

iso_status iso_store_query_json(iso_store *s, const char *table, const char *run, json_t **out, iso_err *err) {
  static const char *const TABLES[] = {"runs", "points", "curve", "ledger", "fits"};
  size_t t = 0;
  char sql[160];
  iso_stmt q = {0};
  *out = NULL;
  while (t < ISO_COUNT(TABLES) && strcmp(TABLES[t], table) != 0) t++;
  if (t == ISO_COUNT(TABLES)) {
    iso_fail(err, ISO_EINVAL, "run store: no table \"%.40s\"", table);
    return iso_hint(err, ISO_EINVAL, "known: runs, points, curve, ledger, fits");
  }
  (void)snprintf(sql, sizeof sql, "SELECT * FROM %s WHERE ?1 IS NULL OR %s=?1 ORDER BY %s", TABLES[t], t == 0 ? "id" : "run",
                 strcmp(table, "curve") == 0 ? "run, step" : "rowid");
  (void)pthread_mutex_lock(&s->lock);
  iso_status st = t == 0 ? iso_store_mark_killed(s, err) : ISO_OK;
  if (st == ISO_OK) st = iso_store_prepare(s, sql, &q, err);
  json_t *rows = json_array();
  if (st == ISO_OK) {
    int rc = SQLITE_DONE;
    bool bad = !rows;
    iso_stmt_text(&q, run);
    while (!bad && (rc = sqlite3_step(q.q)) == SQLITE_ROW) {
      json_t *o = json_object();
      for (int i = 0; !bad && i < sqlite3_column_count(q.q); i++) bad = json_object_set_new(o, sqlite3_column_name(q.q, i), column_json(q.q, i)) != 0;
      bad |= json_array_append_new(rows, o) != 0;
    }
    if (bad)
      st = iso_fail(err, ISO_ENOMEM, "run store: no memory for JSON");
    else if (rc != SQLITE_DONE)
      st = iso_store_fail(s, rc, "read", err);
  }
  (void)sqlite3_finalize(q.q);
  (void)pthread_mutex_unlock(&s->lock);
  if (st == ISO_OK)
    *out = rows;
  else
    json_decref(rows);
  return st;
}
