// Private to store*.c: the handle, statements, and the cost columns generated from budget.def.
#ifndef ISO_STORE_STORE_IMPL_H
#define ISO_STORE_STORE_IMPL_H
#include <pthread.h>
#include <sqlite3.h>

#include "store/store.h"

struct iso_store {
  iso_ctx *c;  // borrowed
  pthread_mutex_t lock;
  sqlite3 *db;  // owned
  char *path;   // owned
  char host[65], boot[40];
};

typedef struct iso_stmt {
  iso_store *s;
  sqlite3_stmt *q;
  int at;  // next parameter, from 1
} iso_stmt;

// Cost columns with a comma in front: ", wall_lo, wall_mean, wall_hi, ..." for points, with a prefix for the ledger.
extern const char iso_store_cost_cols[], iso_store_ledger_cols[];
extern const char iso_store_cost_marks[];  // ",?,?,?" for each

// Maps a SQLite result to a status; what: "read runs", "add points".
iso_status iso_store_fail(iso_store *s, int rc, const char *what, iso_err *err);
iso_status iso_store_exec(iso_store *s, const char *sql, const char *what, iso_err *err);
// After a transaction: commits when st is OK, else rolls back. Returns the final status.
iso_status iso_store_end(iso_store *s, iso_status st, iso_err *err);
iso_status iso_store_prepare(iso_store *s, const char *sql, iso_stmt *q, iso_err *err);
void iso_stmt_text(iso_stmt *q, const char *v);  // NULL is NULL
void iso_stmt_i64(iso_stmt *q, int64_t v);
void iso_stmt_real(iso_stmt *q, double v);  // NaN and infinities are NULL
void iso_stmt_cost(iso_stmt *q, const iso_cost *c);
// Steps a statement that returns nothing, and resets it for the next row.
iso_status iso_stmt_run(iso_stmt *q, const char *what, iso_err *err);
double iso_col_real(iso_stmt *q, int i);
// In the arena; *st becomes ISO_ENOMEM when there is no memory.
const char *iso_col_text(iso_stmt *q, int i, iso_arena *a, iso_status *st);
void iso_col_cost(iso_stmt *q, int first, iso_cost *c);
// The caller holds the lock.
iso_status iso_store_mark_killed(iso_store *s, iso_err *err);

// Rows gathered before their number is known.
typedef struct iso_gather {
  char *p;  // owned
  size_t n, cap, size;
} iso_gather;
void *iso_gather_next(iso_gather *g);  // zeroed; NULL: no memory
// Moves the rows into the arena; frees the rest.
iso_status iso_gather_done(iso_gather *g, iso_status st, iso_arena *a, void *rows, int64_t *n, iso_err *err);
#endif
