// Private to run*.c: the tree of runs, its bookkeeping without locks or clocks, and its journal.
#ifndef ISO_COST_RUN_IMPL_H
#define ISO_COST_RUN_IMPL_H
#include <pthread.h>

#include "cost/run.h"

typedef struct iso_tree_row {
  iso_run_row row;
  int64_t run;  // id of the run it belongs to
} iso_tree_row;

// What all runs of a tree share.
typedef struct iso_tree {
  pthread_mutex_t lock;
  int64_t runs;        // ids given so far; run ids are dense from 0
  int64_t live;        // runs not yet freed
  iso_run **by_id;     // owned array; NULL once a run is gone
  int64_t *parent_of;  // owned; by run id, -1 for the root
  iso_cost final;      // what the root had spent, once it is gone
  int64_t next_id;     // of rows
  iso_tree_row *rows;  // owned
  int64_t n_rows, cap_rows;
  int fd;             // journal, -1 without
  int64_t journal_b;  // bytes of whole lines in it
  char *path;         // owned
} iso_tree;

struct iso_hold {
  iso_run *run;
  iso_hold *next;
  int64_t row;  // index into tree->rows
  double t_s;   // when it was reserved
  iso_cost est, progress;
  bool noted;  // progress is set
};

struct iso_run {
  iso_ctx *c;  // borrowed; NULL in a replay
  iso_tree *tree;
  iso_run *parent, *children, *next;  // next: among the parent's children
  iso_hold *holds;                    // owned
  int64_t id;
  iso_run_mode mode;
  iso_budget budget;
  iso_cost carried;  // from earlier lives of the journal
  iso_cost settled;  // own settled holds, charges and finished children
  double opened_s, last_s;
  bool closed;
};

// Bookkeeping. The caller holds the lock and says what time it is.
iso_status iso_tree_open(iso_tree **out, iso_err *err);
void iso_tree_free(iso_tree *t);
iso_status iso_book_open(iso_tree *t, iso_run *parent, iso_run_mode mode, const iso_budget *b, double t_s, iso_run **out, iso_err *err);
iso_status iso_book_reserve(iso_run *r, const char *label, const iso_cost *est, double t_s, iso_hold **out, iso_err *err);
void iso_book_settle(iso_hold *h, const iso_cost *measured, double t_s);
void iso_book_release(iso_hold *h);
iso_status iso_book_charge(iso_run *r, const char *label, const iso_cost *measured, double t_s, iso_err *err);
// Undoes the last iso_book_reserve.
void iso_book_undo(iso_hold *h);
// May free the run and closed ancestors.
void iso_book_close(iso_run *r);
iso_cost iso_book_spent(const iso_run *r);
iso_cost iso_book_open_cost(const iso_run *r);
iso_cost iso_book_all(const iso_run *r);  // spent and open; capacities: what is held now

// Journal. Opens, replays and locks the file; *spent gets what earlier lives used.
iso_status iso_journal_open(iso_tree *t, const char *path, iso_cost *spent, iso_err *err);
iso_status iso_journal_add_open(const iso_run *r, double t_s, iso_err *err);
// op: "reserve", "progress", "settle", "release", "charge", "close"; label and cost may be NULL; id < 0: none.
iso_status iso_journal_add(const iso_run *r, const char *op, int64_t id, const char *label, const iso_cost *cost, double t_s, bool sync,
                           iso_err *err);
#endif
