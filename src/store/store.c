// Opening the run store: schema, versions, damaged files, and the small layer over SQLite that the rest uses.
#include "store/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "store/store_impl.h"

enum { APP_ID = 0x49534F46, VERSION = 1, BUSY_MS = 10000, CHECK_B = 64 << 20 };

const char iso_store_cost_cols[] = ""
#define X(name, unit, serial, parallel, kind, scope, help) ", " #name "_lo, " #name "_mean, " #name "_hi"
#include "cost/budget.def"
#undef X
    ;
const char iso_store_ledger_cols[] = ""
#define X(name, unit, serial, parallel, kind, scope, help) ", predicted_" #name "_lo, predicted_" #name "_mean, predicted_" #name "_hi"
#include "cost/budget.def"
#undef X
#define X(name, unit, serial, parallel, kind, scope, help) ", measured_" #name "_lo, measured_" #name "_mean, measured_" #name "_hi"
#include "cost/budget.def"
#undef X
    ;
const char iso_store_cost_marks[] = ""
#define X(name, unit, serial, parallel, kind, scope, help) ",?,?,?"
#include "cost/budget.def"
#undef X
    ;

// From version i to i + 1. Cost columns are added afterwards, so that a new resource needs no new version.
static const char *const STEPS[VERSION] = {
    "CREATE TABLE runs (id TEXT PRIMARY KEY, parent TEXT REFERENCES runs(id), kind TEXT NOT NULL, status TEXT NOT NULL,"
    " created TEXT NOT NULL, ended TEXT, host TEXT, boot TEXT, pid INTEGER, pid_start INTEGER, hw_id TEXT, command TEXT, rev TEXT,"
    " out_dir TEXT, budget_json TEXT, config_json TEXT, result_json TEXT, data_hash TEXT, tok_hash TEXT, graph_hash TEXT,"
    " convention TEXT, note TEXT, seed INTEGER, params INTEGER, tokens INTEGER, steal_s REAL);"
    "CREATE INDEX runs_parent ON runs(parent);"
    "CREATE TABLE points (id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(id), predicted INTEGER NOT NULL, label TEXT,"
    " metric TEXT, quality REAL, q_lo REAL, q_hi REAL, stderr REAL, n_params REAL, d_tokens REAL, flops REAL);"
    "CREATE INDEX points_run ON points(run);"
    "CREATE TABLE curve (run TEXT NOT NULL REFERENCES runs(id), step INTEGER NOT NULL, tokens REAL, t_s REAL, train_loss REAL,"
    " val_loss REAL, lr REAL, grad_norm REAL, event TEXT, PRIMARY KEY (run, step)) WITHOUT ROWID;"
    "CREATE TABLE ledger (id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(id), seq INTEGER, label TEXT, state TEXT);"
    "CREATE INDEX ledger_run ON ledger(run);"
    "CREATE TABLE fits (id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(id), created TEXT, law TEXT, source TEXT,"
    " params_json TEXT, interval_json TEXT, objective REAL, n_points INTEGER);"
    "CREATE INDEX fits_run ON fits(run);",
};

iso_status iso_store_fail(iso_store *s, int rc, const char *what, iso_err *err) {
  const char *msg = s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);
  iso_status st = ISO_EIO;
  switch (rc & 0xff) {
    case SQLITE_FULL: st = ISO_EFULL; break;
    case SQLITE_NOMEM: st = ISO_ENOMEM; break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: st = ISO_EFORMAT; break;
    case SQLITE_CONSTRAINT: st = ISO_EINVAL; break;
    default: break;
  }
  iso_fail(err, st, "run store %s: cannot %s: %s", s->path, what, msg);
  if (st == ISO_EFORMAT)
    iso_hint(err, st, "the file is left as it is; move it away to start a new store, or try: sqlite3 '%.120s' .recover", s->path);
  if (st == ISO_EFULL) iso_hint(err, st, "free some space; what was stored before is untouched");
  if ((rc & 0xff) == SQLITE_READONLY) iso_hint(err, st, "give another --store, or set ISOFLOP_HOME to a folder that can be written");
  if ((rc & 0xff) == SQLITE_BUSY) iso_hint(err, st, "another process holds the store; try again when it is done");
  return st;
}

iso_status iso_store_exec(iso_store *s, const char *sql, const char *what, iso_err *err) {
  int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
  return rc == SQLITE_OK ? ISO_OK : iso_store_fail(s, rc, what, err);
}

iso_status iso_store_end(iso_store *s, iso_status st, iso_err *err) {
  if (st == ISO_OK) st = iso_store_exec(s, "COMMIT", "commit", err);
  if (st != ISO_OK && !sqlite3_get_autocommit(s->db)) (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
  return st;
}

iso_status iso_store_prepare(iso_store *s, const char *sql, iso_stmt *q, iso_err *err) {
  *q = (iso_stmt){s, NULL, 1};
  int rc = sqlite3_prepare_v2(s->db, sql, -1, &q->q, NULL);
  return rc == SQLITE_OK ? ISO_OK : iso_store_fail(s, rc, "read the schema", err);
}

void iso_stmt_text(iso_stmt *q, const char *v) { (void)sqlite3_bind_text(q->q, q->at++, v, -1, SQLITE_TRANSIENT); }
void iso_stmt_i64(iso_stmt *q, int64_t v) { (void)sqlite3_bind_int64(q->q, q->at++, v); }
void iso_stmt_real(iso_stmt *q, double v) {
  if (isfinite(v))
    (void)sqlite3_bind_double(q->q, q->at++, v);
  else
    (void)sqlite3_bind_null(q->q, q->at++);
}
void iso_stmt_cost(iso_stmt *q, const iso_cost *c) {
  for (int r = 0; r < ISO_RES_COUNT; r++) {
    iso_est e = iso_cost_get(c, (iso_res)r);
    iso_stmt_real(q, e.lo);
    iso_stmt_real(q, e.mean);
    iso_stmt_real(q, e.hi);
  }
}

iso_status iso_stmt_run(iso_stmt *q, const char *what, iso_err *err) {
  int rc = sqlite3_step(q->q);
  iso_status st = rc == SQLITE_DONE ? ISO_OK : iso_store_fail(q->s, rc, what, err);
  (void)sqlite3_reset(q->q);
  q->at = 1;
  return st;
}

double iso_col_real(iso_stmt *q, int i) { return sqlite3_column_type(q->q, i) == SQLITE_NULL ? NAN : sqlite3_column_double(q->q, i); }

const char *iso_col_text(iso_stmt *q, int i, iso_arena *a, iso_status *st) {
  const char *v = (const char *)sqlite3_column_text(q->q, i), *copy = iso_arena_str(a, v);
  if (v && !copy) *st = ISO_ENOMEM;
  return copy;
}

void iso_col_cost(iso_stmt *q, int first, iso_cost *c) {
  for (int r = 0; r < ISO_RES_COUNT; r++, first += 3)
    *iso_cost_at(c, (iso_res)r) = iso_est_range(iso_col_real(q, first), iso_col_real(q, first + 1), iso_col_real(q, first + 2));
}

void *iso_gather_next(iso_gather *g) {
  if (g->n == g->cap) {
    size_t cap = g->cap ? 2 * g->cap : 64;
    char *p = realloc(g->p, cap * g->size);
    if (!p) return NULL;
    g->p = p;
    g->cap = cap;
  }
  return memset(g->p + g->size * g->n++, 0, g->size);
}

iso_status iso_gather_done(iso_gather *g, iso_status st, iso_arena *a, void *rows, int64_t *n, iso_err *err) {
  void *p = st == ISO_OK ? iso_arena_get(a, g->n ? g->n * g->size : 1) : NULL;
  if (st == ISO_OK && !p) st = ISO_ENOMEM;
  if (st == ISO_ENOMEM) iso_fail(err, st, "run store: no memory for %zu rows", g->n);
  if (st == ISO_OK && g->n) memcpy(p, g->p, g->n * g->size);
  memcpy(rows, &p, sizeof p);
  *n = st == ISO_OK ? (int64_t)g->n : 0;
  free(g->p);
  *g = (iso_gather){0};
  return st;
}

// The first integer of a query.
static iso_status query_int(iso_store *s, const char *sql, int64_t *v, iso_err *err) {
  iso_stmt q;
  ISO_TRY(iso_store_prepare(s, sql, &q, err));
  int rc = sqlite3_step(q.q);
  *v = rc == SQLITE_ROW ? sqlite3_column_int64(q.q, 0) : 0;
  (void)sqlite3_finalize(q.q);
  return rc == SQLITE_ROW ? ISO_OK : iso_store_fail(s, rc, "read", err);
}

// Adds the columns of `list` (", a, b") that `table` lacks.
static iso_status add_columns(iso_store *s, const char *table, const char *list, iso_err *err) {
  iso_stmt q;
  iso_str have = {0};
  char sql[200];
  (void)snprintf(sql, sizeof sql, "SELECT name FROM pragma_table_info('%s')", table);
  ISO_TRY(iso_store_prepare(s, sql, &q, err));
  int rc;
  iso_str_add(&have, " ");
  while ((rc = sqlite3_step(q.q)) == SQLITE_ROW) iso_str_fmt(&have, "%s ", (const char *)sqlite3_column_text(q.q, 0));
  (void)sqlite3_finalize(q.q);
  iso_status st = rc == SQLITE_DONE ? ISO_OK : iso_store_fail(s, rc, "read the schema", err);
  if (st == ISO_OK && have.failed) st = iso_fail(err, ISO_ENOMEM, "run store: no memory");
  for (const char *p = list + 2; st == ISO_OK && *p;) {
    char word[80];
    int n = (int)strcspn(p, ",");
    (void)snprintf(word, sizeof word, " %.*s ", n, p);
    (void)snprintf(sql, sizeof sql, "ALTER TABLE %s ADD COLUMN %.*s REAL", table, n, p);
    if (!strstr(have.p, word)) st = iso_store_exec(s, sql, "add a column", err);
    p += n;
    p += strspn(p, ", ");
  }
  iso_str_free(&have);
  return st;
}

// Inside a transaction: another process may have been first.
static iso_status migrate(iso_store *s, iso_err *err) {
  int64_t version, app, tables;
  ISO_TRY(query_int(s, "PRAGMA user_version", &version, err));
  ISO_TRY(query_int(s, "PRAGMA application_id", &app, err));
  ISO_TRY(query_int(s, "SELECT count(*) FROM sqlite_master", &tables, err));
  if (app != APP_ID && (tables > 0 || version != 0 || app != 0)) {
    iso_fail(err, ISO_EFORMAT, "run store %s: an SQLite file of another program", s->path);
    return iso_hint(err, ISO_EFORMAT, "give another path; the file is left as it is");
  }
  if (version > VERSION) {
    iso_fail(err, ISO_EUNSUP, "run store %s: schema version %lld, this isoflop knows %d", s->path, (long long)version, VERSION);
    return iso_hint(err, ISO_EUNSUP, "use a newer isoflop, or set ISOFLOP_HOME to another folder");
  }
  for (int64_t v = version < 0 ? 0 : version; v < VERSION; v++) ISO_TRY(iso_store_exec(s, STEPS[v], "make the tables", err));
  ISO_TRY(add_columns(s, "points", iso_store_cost_cols, err));
  ISO_TRY(add_columns(s, "ledger", iso_store_ledger_cols, err));
  if (version == VERSION) return ISO_OK;
  char sql[96];
  (void)snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d", APP_ID, VERSION);
  return iso_store_exec(s, sql, "set the version", err);
}

// A store that is not huge is looked through, so that damage shows now and not in the middle of a run.
static iso_status check_pages(iso_store *s, iso_err *err) {
  struct stat info;
  iso_stmt q;
  if (stat(s->path, &info) != 0 || info.st_size > CHECK_B) return ISO_OK;
  ISO_TRY(iso_store_prepare(s, "PRAGMA quick_check(1)", &q, err));
  int rc = sqlite3_step(q.q);
  iso_status st = ISO_OK;
  if (rc != SQLITE_ROW) {
    st = iso_store_fail(s, rc, "check", err);
  } else if (strcmp((const char *)sqlite3_column_text(q.q, 0), "ok") != 0) {
    st = iso_fail(err, ISO_EFORMAT, "run store %s: damaged: %.200s", s->path, (const char *)sqlite3_column_text(q.q, 0));
    iso_hint(err, st, "the file is left as it is; move it away to start a new store, or try: sqlite3 '%.120s' .recover", s->path);
  }
  (void)sqlite3_finalize(q.q);
  return st;
}

static void read_word(const char *path, char *buf, size_t n) {
  FILE *f = fopen(path, "re");
  buf[0] = 0;
  if (!f) return;
  if (!fgets(buf, (int)n, f)) buf[0] = 0;
  fclose(f);
  buf[strcspn(buf, "\n")] = 0;
}

// A store that may be read but not written, or whose folder takes no journal.
static bool read_only(const char *path) {
  char dir[4200];
  const char *slash = strrchr(path, '/');
  (void)snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
  return access(path, F_OK) == 0 && (access(path, W_OK) != 0 || access(dir, W_OK) != 0);
}

// Nobody writes to it meanwhile, says "immutable": SQLite then needs neither locks nor a journal beside it.
static iso_status open_read_only(iso_store *s, iso_err *err) {
  iso_str uri = {0};
  int64_t version = 0, app = 0;
  iso_str_add(&uri, "file:");
  for (const char *p = s->path; *p; p++) iso_str_fmt(&uri, strchr("?#%", *p) ? "%%%02X" : "%c", (unsigned char)*p);
  iso_str_add(&uri, "?immutable=1");
  int rc = uri.failed ? SQLITE_NOMEM : sqlite3_open_v2(uri.p, &s->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_FULLMUTEX, NULL);
  iso_str_free(&uri);
  if (rc != SQLITE_OK) return iso_store_fail(s, rc, "open", err);
  ISO_TRY(query_int(s, "PRAGMA user_version", &version, err));
  ISO_TRY(query_int(s, "PRAGMA application_id", &app, err));
  ISO_TRY(check_pages(s, err));
  if (app == APP_ID && version == VERSION) return ISO_OK;
  return iso_fail(err, ISO_EFORMAT, "run store %s: not a store of this isoflop, and it cannot be written", s->path);
}

static iso_status prepare_db(iso_store *s, iso_err *err) {
  if (read_only(s->path)) return open_read_only(s, err);
  int rc = sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL);
  if (rc != SQLITE_OK) return iso_store_fail(s, rc, "open", err);
  (void)sqlite3_busy_timeout(s->db, BUSY_MS);
  int64_t any;
  ISO_TRY(query_int(s, "SELECT count(*) FROM sqlite_master", &any, err));  // reads the header: nothing is written to a foreign file
  ISO_TRY(check_pages(s, err));
  ISO_TRY(iso_store_exec(s, "BEGIN IMMEDIATE", "lock", err));
  ISO_TRY(iso_store_end(s, migrate(s, err), err));
  return iso_store_exec(s, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON", "set up", err);
}

iso_status iso_store_open(iso_ctx *c, const char *path, iso_store **out, iso_err *err) {
  char home[4096];
  *out = NULL;
  if (!path) {
    ISO_TRY(iso_home_path("runs.db", home, sizeof home, err));
    path = home;
  }
  iso_store *s = calloc(1, sizeof *s);
  if (!s || !(s->path = strdup(path))) {
    free(s);
    return iso_fail(err, ISO_ENOMEM, "run store %s: no memory", path);
  }
  s->c = c;
  (void)pthread_mutex_init(&s->lock, NULL);
  if (gethostname(s->host, sizeof s->host - 1) != 0) s->host[0] = 0;
  read_word("/proc/sys/kernel/random/boot_id", s->boot, sizeof s->boot);
  iso_status st = prepare_db(s, err);
  if (st == ISO_OK)
    *out = s;
  else
    iso_store_close(s);
  return st;
}

void iso_store_close(iso_store *s) {
  if (!s) return;
  (void)sqlite3_close(s->db);
  (void)pthread_mutex_destroy(&s->lock);
  free(s->path);
  free(s);
}

const char *iso_store_path(const iso_store *s) { return s->path; }
