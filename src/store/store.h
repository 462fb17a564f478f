// The run store: every run, point, curve, ledger row and fit in one SQLite file.
#ifndef ISO_STORE_STORE_H
#define ISO_STORE_STORE_H
#include "base/arena.h"
#include "cost/budget.h"
#include "cost/run.h"

typedef struct iso_store iso_store;
enum { ISO_RUN_ID = 27 };  // 26 characters of a ULID and NUL: sorts by time of creation

// A row of `runs`. Strings may be NULL (SQL NULL); -1 and NaN are unknown numbers. Fields marked * are filled by the store.
typedef struct iso_store_run {
  const char *id;       // *
  const char *parent;   // id of the run it belongs to
  const char *kind;     // "demo", "sweep", "train", "calibrate", "fit", ...
  const char *status;   // * "running", "done", "failed", "stopped", "interrupted" or "killed"
  const char *created;  // * ISO 8601 UTC
  const char *ended;    // *
  const char *hw_id, *command, *rev, *out_dir;
  const char *budget_json, *config_json;
  const char *result_json;  // the object that --json ends with
  const char *data_hash, *tok_hash, *graph_hash;
  const char *convention;  // which N, D and FLOP convention the numbers follow
  const char *note;        // e.g. the error of a failed run
  int64_t seed, params, tokens;
  int64_t pid;     // *
  double steal_s;  // CPU seconds that a hypervisor took away
} iso_store_run;
iso_store_run iso_store_run_blank(void);

// One grading point; a table row with its cost vector.
typedef struct iso_store_point {
  const char *run;
  bool predicted;
  const char *label;
  const char *metric;  // e.g. "bits_per_byte", "val_loss_nats"
  double quality, q_lo, q_hi, stderr_;
  double n_params, d_tokens, flops;
  iso_cost cost;
} iso_store_point;
iso_store_point iso_store_point_blank(void);

typedef struct iso_store_sample {
  int64_t step;
  double tokens, t_s, train_loss, val_loss, lr, grad_norm;
  const char *event;  // NULL, or e.g. "decay", "checkpoint"
} iso_store_sample;
iso_store_sample iso_store_sample_blank(void);

typedef struct iso_store_fit {
  const char *run, *law, *params_json, *interval_json, *source;
  double objective;
  int64_t n_points;
} iso_store_fit;

// Opens or creates the store at `path` (NULL: runs.db in isoflop's home). WAL, waits up to 10 s for other processes, brings older schemas
// up to date in one transaction and adds columns for new resources. ISO_EFORMAT: damaged or not ours (the file is left as it is),
// ISO_EUNSUP: made by a newer isoflop, ISO_EFULL, ISO_EIO. All functions are safe to call from several threads.
iso_status iso_store_open(iso_ctx *c, const char *path, iso_store **out, iso_err *err);
void iso_store_close(iso_store *s);
const char *iso_store_path(const iso_store *s);

// Starts a run: status "running", this process' id; `id` gets the new id. `kind` is required.
iso_status iso_store_begin(iso_store *s, const iso_store_run *r, char id[ISO_RUN_ID], iso_err *err);
// Writes the known fields of *r (not NULL, not -1, not NaN; never those marked *) over the row `id`.
iso_status iso_store_update(iso_store *s, const char *id, const iso_store_run *r, iso_err *err);
// "done", "failed", "stopped", or "interrupted" where nothing was saved; a killed or stopped run may go on: iso_store_resume sets it "running"
// again under this process.
iso_status iso_store_finish(iso_store *s, const char *id, const char *status, iso_err *err);
iso_status iso_store_resume(iso_store *s, const char *id, iso_err *err);

// Each call is one transaction: all rows or none.
iso_status iso_store_points_add(iso_store *s, const iso_store_point *p, int64_t n, iso_err *err);
// A step that is there already is replaced (a resumed run repeats some).
iso_status iso_store_curve_add(iso_store *s, const char *run, const iso_store_sample *p, int64_t n, iso_err *err);
iso_status iso_store_ledger_add(iso_store *s, const char *run, const iso_run_row *rows, int64_t n, iso_err *err);
iso_status iso_store_fit_add(iso_store *s, const iso_store_fit *f, iso_err *err);

// Reads. Rows and strings live in the arena. Listing first marks as "killed" the running rows whose process on this host is gone.
// kind NULL: all; parent NULL: all. Newest first, at most `limit` (<= 0: all).
iso_status iso_store_runs(iso_store *s, const char *kind, const char *parent, int64_t limit, iso_arena *a, iso_store_run **rows, int64_t *n,
                          iso_err *err);
// Run by id, by a unique prefix of it, or "latest" (NULL: latest) of a kind (NULL: any). ISO_EINVAL: none or several.
iso_status iso_store_find(iso_store *s, const char *which, const char *kind, iso_arena *a, iso_store_run *out, iso_err *err);
// Of one run (NULL: all), with `below` also of the runs under it; which: 0 measured, 1 predicted, -1 both. In order of writing.
iso_status iso_store_points(iso_store *s, const char *run, bool below, int which, iso_arena *a, iso_store_point **rows, int64_t *n, iso_err *err);
iso_status iso_store_curve(iso_store *s, const char *run, iso_arena *a, iso_store_sample **rows, int64_t *n, iso_err *err);
iso_status iso_store_ledger(iso_store *s, const char *run, iso_arena *a, iso_run_row **rows, int64_t *n, iso_err *err);
// Newest first.
iso_status iso_store_fits(iso_store *s, const char *run, const char *law, iso_arena *a, iso_store_fit **rows, int64_t *n, iso_err *err);
// The table "runs", "points", "curve", "ledger" or "fits" (of one run, or NULL: all) as an array of objects, one per row, keys = columns;
// NULL is null and columns named *_json are nested. *out is owned by the caller.
iso_status iso_store_query_json(iso_store *s, const char *table, const char *run, json_t **out, iso_err *err);
#endif
