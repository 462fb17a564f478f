// Reserve before, settle after: one budget shared by nested, concurrent pieces of work, journaled so that a kill loses nothing.
#ifndef ISO_COST_RUN_H
#define ISO_COST_RUN_H
#include "cost/budget.h"

typedef struct iso_run iso_run;
typedef struct iso_hold iso_hold;  // an open reservation; owned by its run, gone after settle, release or close

// How the holds and children of one run combine. SERIAL: one after another (seconds add, peaks do not). PARALLEL: at the same time
// (peaks add; seconds span from opening to the last settlement or the latest expected end on the context's clock).
typedef enum iso_run_mode { ISO_RUN_SERIAL, ISO_RUN_PARALLEL } iso_run_mode;

// One line of the ledger.
typedef enum iso_row_state { ISO_ROW_OPEN, ISO_ROW_SETTLED, ISO_ROW_RELEASED, ISO_ROW_CHARGED } iso_row_state;
typedef struct iso_run_row {
  char label[64];
  int64_t id;  // rising in the order of reservation over the whole tree
  iso_row_state state;
  iso_cost predicted;  // unknown for a charge
  iso_cost measured;   // unknown while open
} iso_run_row;

// All functions are safe to call from several threads on one tree of runs; one lock per tree.

// Opens a run under `budget` and, with `parent`, also under every ancestor's. Only a root has a journal (NULL: none); its children write
// to it too. An existing journal is continued: what it says was spent is booked (see iso_run_recover) and a torn last line is cut off.
iso_status iso_run_open(iso_ctx *c, const iso_budget *budget, iso_run *parent, iso_run_mode mode, const char *journal, iso_run **out, iso_err *err);
// Drops open holds, hands the spent cost to the parent. A parent may be closed before its children; memory goes with the last of them.
void iso_run_close(iso_run *r);

// Takes `estimate` (at its high end) out of what is left here and at every ancestor. ISO_EBUDGET names the binding resource, what is
// left and the least budget that would do. Capacities are held until settled or released.
iso_status iso_run_reserve(iso_run *r, const char *label, const iso_cost *estimate, iso_hold **out, iso_err *err);
// Notes in the journal what a hold has used so far (for recovery after a kill); the hold stays open.
iso_status iso_run_progress(iso_hold *h, const iso_cost *so_far, iso_err *err);
// Replaces the reservation by what was measured, even when that is more. Where a meter saw nothing (NaN), the high estimate is booked,
// and the ledger row keeps the NaN. The journal is fsynced; a failing write is returned, the booking stands, the hold is gone.
iso_status iso_run_settle(iso_hold *h, const iso_cost *measured, iso_err *err);
// Gives everything back.
void iso_run_release(iso_hold *h);
// Books work that was not reserved (start-up, overheads). It happened, so no limit refuses it.
iso_status iso_run_charge(iso_run *r, const char *label, const iso_cost *measured, iso_err *err);
// Books as `label` the wall seconds since the process started (ctx->start_s) that no settled row of this run and its children has.
// For a serial root between phases, with nothing running, so that seconds count from start to exit.
iso_status iso_run_true_up(iso_run *r, const char *label, iso_err *err);

// What has been settled, here and below (capacities: the highest seen).
iso_cost iso_run_spent(iso_run *r);
// What open holds here and below hold.
iso_cost iso_run_reserved(iso_run *r);
// The tightest limits left on the way to the root, after spent and reserved.
iso_budget iso_run_left(iso_run *r);
iso_budget iso_run_budget(iso_run *r);
// True when what was settled is beyond a limit of this run; *res (may be NULL) gets the resource.
bool iso_run_overrun(iso_run *r, iso_res *res);
// Rows of this run and those below it, in order of reservation. *rows is malloc'ed and owned by the caller (free).
iso_status iso_run_rows(iso_run *r, iso_run_row **rows, int64_t *n, iso_err *err);

// Sums what the runs of a journal had spent. Reservations that a kill left open count at their last progress note, and at their mean
// estimate when there is none (`open` gets their number). A torn last line is ignored; a bad line before it is ISO_EFORMAT. A missing
// or empty file has spent nothing.
iso_status iso_run_recover(const char *journal, iso_cost *spent, int64_t *open, iso_err *err);
#endif
