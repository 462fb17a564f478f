// Rows of `runs`: starting, updating, finishing, listing, and noticing killed processes.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "store/store_impl.h"

// Columns in the order of SELECT, and whether the caller may set them.
typedef enum col_type { COL_TEXT, COL_INT, COL_REAL } col_type;
static const struct {
  const char *name;
  col_type type;
  size_t at;
  bool mine;  // set by the store
} COLS[] = {
#define F(name, type, mine) \
  { #name, type, offsetof(iso_store_run, name), mine }
    F(id, COL_TEXT, true),           F(parent, COL_TEXT, false),    F(kind, COL_TEXT, false),        F(status, COL_TEXT, true),
    F(created, COL_TEXT, true),      F(ended, COL_TEXT, true),      F(hw_id, COL_TEXT, false),       F(command, COL_TEXT, false),
    F(rev, COL_TEXT, false),         F(out_dir, COL_TEXT, false),   F(budget_json, COL_TEXT, false), F(config_json, COL_TEXT, false),
    F(result_json, COL_TEXT, false), F(data_hash, COL_TEXT, false), F(tok_hash, COL_TEXT, false),    F(graph_hash, COL_TEXT, false),
    F(convention, COL_TEXT, false),  F(note, COL_TEXT, false),      F(seed, COL_INT, false),         F(params, COL_INT, false),
    F(tokens, COL_INT, false),       F(pid, COL_INT, true),         F(steal_s, COL_REAL, false),
#undef F
};
enum { NCOLS = (int)ISO_COUNT(COLS) };

iso_store_run iso_store_run_blank(void) { return (iso_store_run){.seed = -1, .params = -1, .tokens = -1, .pid = -1, .steal_s = NAN}; }

static void now_text(char *buf, size_t n, int64_t *ms) {
  struct timespec t;
  struct tm tm;
  clock_gettime(CLOCK_REALTIME, &t);
  gmtime_r(&t.tv_sec, &tm);
  if (strftime(buf, n, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) buf[0] = 0;
  if (ms) *ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// A ULID (github.com/ulid/spec): 48 bits of milliseconds and 80 random bits in Crockford's base 32.
static iso_status new_id(char id[ISO_RUN_ID], int64_t ms, iso_err *err) {
  static const char DIGITS[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  unsigned char r[16];
  if (getrandom(r, sizeof r, 0) != (ssize_t)sizeof r) return iso_fail(err, ISO_EIO, "run store: the system gives no random bytes");
  for (int i = 9; i >= 0; i--, ms >>= 5) id[i] = DIGITS[ms & 31];
  for (int i = 0; i < 16; i++) id[10 + i] = DIGITS[r[i] & 31];
  id[26] = 0;
  return ISO_OK;
}

// When process `pid` started, in ticks since boot; -1 when there is none or it is a zombie.
static int64_t pid_start(int64_t pid) {
  char path[48], buf[1024];
  (void)snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
  FILE *f = fopen(path, "re");
  if (!f) return -1;
  size_t n = fread(buf, 1, sizeof buf - 1, f);
  fclose(f);
  buf[n] = 0;
  const char *p = strrchr(buf, ')');  // the name before it may hold anything
  if (!p || p[1] == 0 || p[2] == 'Z' || p[2] == 'X') return -1;
  for (int field = 2; field < 22 && p; field++) p = strchr(p + 1, ' ');  // p: the space before field 22
  return p ? strtoll(p, NULL, 10) : -1;
}

static void bind_col(iso_stmt *q, const iso_store_run *r, int i) {
  const char *at = (const char *)r + COLS[i].at, *text;
  int64_t v;
  double x;
  switch (COLS[i].type) {
    case COL_TEXT:
      memcpy(&text, at, sizeof text);
      iso_stmt_text(q, text);
      break;
    case COL_INT:
      memcpy(&v, at, sizeof v);
      if (v == -1)
        iso_stmt_text(q, NULL);
      else
        iso_stmt_i64(q, v);
      break;
    case COL_REAL:
      memcpy(&x, at, sizeof x);
      iso_stmt_real(q, x);
      break;
  }
}

static iso_status no_memory(iso_err *err) { return iso_fail(err, ISO_ENOMEM, "run store: no memory for a statement"); }

// Runs "sql" built in `text` once, with the binder's parameters; counts changed rows.
static iso_status change_run(iso_store *s, iso_stmt *q, const char *id, const char *what, iso_err *err) {
  iso_status st = iso_stmt_run(q, what, err);
  if (st == ISO_OK && sqlite3_changes(s->db) == 0) st = iso_fail(err, ISO_EINVAL, "run store %s: there is no run %.30s", s->path, id);
  (void)sqlite3_finalize(q->q);
  return st;
}

iso_status iso_store_begin(iso_store *s, const iso_store_run *r, char id[ISO_RUN_ID], iso_err *err) {
  char created[32];
  int64_t ms;
  iso_stmt q;
  if (!r->kind || !*r->kind) return iso_fail(err, ISO_EINVAL, "run store: a run needs a kind");
  now_text(created, sizeof created, &ms);
  ISO_TRY(new_id(id, ms, err));
  iso_store_run row = *r;
  row.id = id;
  row.status = "running";
  row.created = created;
  row.ended = NULL;
  row.pid = getpid();
  iso_str sql = {0}, marks = {0};
  iso_str_add(&sql, "INSERT INTO runs (");
  for (int i = 0; i < NCOLS; i++) {
    iso_str_fmt(&sql, "%s, ", COLS[i].name);
    iso_str_add(&marks, "?,");
  }
  if (!marks.failed) iso_str_fmt(&sql, "host, boot, pid_start) VALUES (%s ?,?,?)", marks.p);
  (void)pthread_mutex_lock(&s->lock);
  iso_status st = sql.failed || marks.failed ? no_memory(err) : iso_store_prepare(s, sql.p, &q, err);
  if (st == ISO_OK) {
    for (int i = 0; i < NCOLS; i++) bind_col(&q, &row, i);
    iso_stmt_text(&q, s->host);
    iso_stmt_text(&q, s->boot);
    iso_stmt_i64(&q, pid_start(row.pid));
    st = iso_stmt_run(&q, "begin a run", err);
    (void)sqlite3_finalize(q.q);
  }
  (void)pthread_mutex_unlock(&s->lock);
  iso_str_free(&sql);
  iso_str_free(&marks);
  return st;
}

iso_status iso_store_update(iso_store *s, const char *id, const iso_store_run *r, iso_err *err) {
  iso_stmt q;
  iso_str sql = {0};
  for (int i = 0; i < NCOLS; i++)
    if (!COLS[i].mine) iso_str_fmt(&sql, "%s%s=coalesce(?,%s)", sql.n ? ", " : "UPDATE runs SET ", COLS[i].name, COLS[i].name);
  iso_str_add(&sql, " WHERE id=?");
  (void)pthread_mutex_lock(&s->lock);
  iso_status st = sql.failed ? no_memory(err) : iso_store_prepare(s, sql.p, &q, err);
  if (st == ISO_OK) {
    for (int i = 0; i < NCOLS; i++)
      if (!COLS[i].mine) bind_col(&q, r, i);
    iso_stmt_text(&q, id);
    st = change_run(s, &q, id, "update a run", err);
  }
  (void)pthread_mutex_unlock(&s->lock);
  iso_str_free(&sql);
  return st;
}

iso_status iso_store_finish(iso_store *s, const char *id, const char *status, iso_err *err) {
  char ended[32];
  iso_stmt q;
  if (strcmp(status, "done") != 0 && strcmp(status, "failed") != 0 && strcmp(status, "stopped") != 0 && strcmp(status, "interrupted") != 0)
    return iso_fail(err, ISO_EINVAL, "run store: a run ends as done, failed, stopped or interrupted, not \"%.20s\"", status);
  now_text(ended, sizeof ended, NULL);
  (void)pthread_mutex_lock(&s->lock);
  iso_status st = iso_store_prepare(s, "UPDATE runs SET status=?, ended=? WHERE id=?", &q, err);
  if (st == ISO_OK) {
    iso_stmt_text(&q, status);
    iso_stmt_text(&q, ended);
    iso_stmt_text(&q, id);
    st = change_run(s, &q, id, "finish a run", err);
  }
  (void)pthread_mutex_unlock(&s->lock);
  return st;
}

iso_status iso_store_resume(iso_store *s, const char *id, iso_err *err) {
  iso_stmt q;
  (void)pthread_mutex_lock(&s->lock);
  iso_status st = iso_store_prepare(s, "UPDATE runs SET status='running', ended=NULL, pid=?, pid_start=?, host=?, boot=? WHERE id=?", &q, err);
  if (st == ISO_OK) {
    iso_stmt_i64(&q, getpid());
    iso_stmt_i64(&q, pid_start(getpid()));
    iso_stmt_text(&q, s->host);
    iso_stmt_text(&q, s->boot);
    iso_stmt_text(&q, id);
    st = change_run(s, &q, id, "resume a run", err);
  }
  (void)pthread_mutex_unlock(&s->lock);
  return st;
}

// Only rows of this host can be judged. A process is gone when the machine was booted since, or its id is free or taken by a later one.
iso_status iso_store_mark_killed(iso_store *s, iso_err *err) {
  iso_stmt q, up;
  ISO_TRY(iso_store_prepare(s, "SELECT id, pid, pid_start, boot FROM runs WHERE status='running' AND host=?", &q, err));
  iso_status st = iso_store_prepare(s, "UPDATE runs SET status='killed' WHERE id=? AND status='running'", &up, err);
  int rc = SQLITE_DONE;
  iso_stmt_text(&q, s->host);
  while (st == ISO_OK && (rc = sqlite3_step(q.q)) == SQLITE_ROW) {
    const char *boot = (const char *)sqlite3_column_text(q.q, 3);
    bool alive = boot && strcmp(boot, s->boot) == 0 && pid_start(sqlite3_column_int64(q.q, 1)) == sqlite3_column_int64(q.q, 2);
    if (alive) continue;
    iso_stmt_text(&up, (const char *)sqlite3_column_text(q.q, 0));
    st = iso_stmt_run(&up, "mark a killed run", err);
  }
  if (st == ISO_OK && rc != SQLITE_DONE) st = iso_store_fail(s, rc, "read runs", err);
  (void)sqlite3_finalize(q.q);
  (void)sqlite3_finalize(up.q);
  return st;
}

static void select_cols(iso_str *sql) {
  for (int i = 0; i < NCOLS; i++) iso_str_fmt(sql, "%s%s", i ? ", " : "SELECT ", COLS[i].name);
}

static iso_status read_run(iso_stmt *q, iso_arena *a, iso_store_run *r) {
  iso_status st = ISO_OK;
  *r = iso_store_run_blank();
  for (int i = 0; i < NCOLS; i++) {
    char *at = (char *)r + COLS[i].at;
    const char *text;
    int64_t v;
    double x;
    switch (COLS[i].type) {
      case COL_TEXT:
        text = iso_col_text(q, i, a, &st);
        memcpy(at, &text, sizeof text);
        break;
      case COL_INT:
        v = sqlite3_column_type(q->q, i) == SQLITE_NULL ? -1 : sqlite3_column_int64(q->q, i);
        memcpy(at, &v, sizeof v);
        break;
      case COL_REAL:
        x = iso_col_real(q, i);
        memcpy(at, &x, sizeof x);
        break;
    }
  }
  return st;
}

// Reads the runs that `where` (with up to two text parameters) selects.
static iso_status select_runs(iso_store *s, const char *where, const char *p1, const char *p2, int64_t limit, iso_arena *a, iso_store_run **rows,
                              int64_t *n, iso_err *err) {
  iso_str sql = {0};
  iso_stmt q = {0};
  iso_gather g = {.size = sizeof(iso_store_run)};
  int rc = SQLITE_DONE;
  select_cols(&sql);
  iso_str_fmt(&sql, " FROM runs WHERE %s ORDER BY rowid DESC LIMIT ?3", where);
  iso_status st = sql.failed ? no_memory(err) : iso_store_mark_killed(s, err);
  if (st == ISO_OK) st = iso_store_prepare(s, sql.p, &q, err);
  if (st == ISO_OK) {
    iso_stmt_text(&q, p1);
    iso_stmt_text(&q, p2);
    iso_stmt_i64(&q, limit > 0 ? limit : -1);
    while (st == ISO_OK && (rc = sqlite3_step(q.q)) == SQLITE_ROW) {
      iso_store_run *r = iso_gather_next(&g);
      st = r ? read_run(&q, a, r) : ISO_ENOMEM;
    }
    if (st == ISO_OK && rc != SQLITE_DONE) st = iso_store_fail(s, rc, "read runs", err);
    (void)sqlite3_finalize(q.q);
  }
  iso_str_free(&sql);
  return iso_gather_done(&g, st, a, rows, n, err);
}

iso_status iso_store_runs(iso_store *s, const char *kind, const char *parent, int64_t limit, iso_arena *a, iso_store_run **rows, int64_t *n,
                          iso_err *err) {
  (void)pthread_mutex_lock(&s->lock);
  iso_status st = select_runs(s, "(?1 IS NULL OR kind=?1) AND (?2 IS NULL OR parent=?2)", kind, parent, limit, a, rows, n, err);
  (void)pthread_mutex_unlock(&s->lock);
  return st;
}

iso_status iso_store_find(iso_store *s, const char *which, const char *kind, iso_arena *a, iso_store_run *out, iso_err *err) {
  iso_store_run *rows;
  int64_t n;
  bool latest = !which || strcmp(which, "latest") == 0;
  (void)pthread_mutex_lock(&s->lock);
  iso_status st = select_runs(s, "(?1 IS NULL OR kind=?1) AND (?2 IS NULL OR substr(id, 1, length(?2))=upper(?2))", kind, latest ? NULL : which,
                              latest ? 1 : 2, a, &rows, &n, err);
  (void)pthread_mutex_unlock(&s->lock);
  if (st != ISO_OK) return st;
  if (n == 1) {
    *out = rows[0];
    return ISO_OK;
  }
  const char *of = kind ? " of kind " : "", *word = kind ? kind : "";
  if (latest)
    iso_fail(err, ISO_EINVAL, "run store %.200s: there is no run%s%.20s yet", s->path, of, word);
  else
    iso_fail(err, ISO_EINVAL, "run store %.200s: %s%s%.20s begins with \"%.30s\"", s->path, n ? "more than one run" : "no run", of, word, which);
  return iso_hint(err, ISO_EINVAL, n ? "give more characters of its id" : "isoflop runs lists what there is");
}
