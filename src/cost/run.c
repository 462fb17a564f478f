// Runs: the public, locked, journaled side of the bookkeeping.
#include "cost/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cost/run_impl.h"

static void lock(iso_tree *t) { (void)pthread_mutex_lock(&t->lock); }

// Frees the tree when the last run has gone.
static void unlock(iso_tree *t) {
  bool gone = t->live == 0;
  (void)pthread_mutex_unlock(&t->lock);
  if (!gone) return;
  if (t->fd >= 0) close(t->fd);
  iso_tree_free(t);
}

static iso_status open_root(iso_ctx *c, const iso_budget *b, iso_run_mode mode, const char *journal, iso_run **out, iso_err *err) {
  iso_tree *t;
  iso_cost carried = iso_cost_zero();
  iso_run *r = NULL;
  double now = iso_now_s(c);
  ISO_TRY(iso_tree_open(&t, err));
  iso_status st = journal ? iso_journal_open(t, journal, &carried, err) : ISO_OK;
  if (st == ISO_OK) st = iso_book_open(t, NULL, mode, b, now, &r, err);
  if (st == ISO_OK) {
    r->c = c;
    r->carried = carried;
    st = iso_journal_add_open(r, now, err);
  }
  if (st == ISO_OK) {
    *out = r;
    return ISO_OK;
  }
  if (r) iso_book_close(r);
  lock(t);
  unlock(t);  // nothing lives in it: frees it
  return st;
}

iso_status iso_run_open(iso_ctx *c, const iso_budget *budget, iso_run *parent, iso_run_mode mode, const char *journal, iso_run **out, iso_err *err) {
  *out = NULL;
  if (!parent) return open_root(c, budget, mode, journal, out, err);
  if (journal) return iso_fail(err, ISO_EINVAL, "run: a journal belongs to the outermost run; this one has a parent");
  iso_tree *t = parent->tree;
  iso_run *r;
  lock(t);
  double now = iso_now_s(c);
  iso_status st = iso_book_open(t, parent, mode, budget, now, &r, err);
  if (st == ISO_OK) {
    r->c = c;
    st = iso_journal_add_open(r, now, err);
    if (st == ISO_OK)
      *out = r;
    else
      iso_book_close(r);
  }
  unlock(t);
  return st;
}

void iso_run_close(iso_run *r) {
  if (!r) return;
  iso_tree *t = r->tree;
  lock(t);
  (void)iso_journal_add(r, "close", -1, NULL, NULL, iso_now_s(r->c), false, NULL);
  iso_book_close(r);
  unlock(t);
}

static int64_t row_id(const iso_hold *h) { return h->run->tree->rows[h->row].row.id; }

iso_status iso_run_reserve(iso_run *r, const char *label, const iso_cost *estimate, iso_hold **out, iso_err *err) {
  iso_tree *t = r->tree;
  iso_hold *h;
  *out = NULL;
  for (int k = 0; k < ISO_RES_COUNT; k++) {
    iso_est e = iso_cost_get(estimate, (iso_res)k);
    if (e.lo < 0 || e.mean < 0 || e.hi < 0 || e.lo > e.hi)
      return iso_fail(err, ISO_EINVAL, "%.60s: the estimate of %s is %g to %g", label, iso_res_get((iso_res)k)->name, e.lo, e.hi);
  }
  lock(t);
  double now = iso_now_s(r->c);
  iso_status st = iso_book_reserve(r, label, estimate, now, &h, err);
  if (st == ISO_OK) {
    for (iso_run *up = r; st == ISO_OK && up; up = up->parent) {
      iso_cost all = iso_book_all(up);
      if (!iso_budget_fits(&up->budget, &all, NULL)) st = iso_budget_refuse(&up->budget, &all, estimate, label, err);
    }
    if (st == ISO_OK) st = iso_journal_add(r, "reserve", row_id(h), label, estimate, now, false, err);
    if (st == ISO_OK)
      *out = h;
    else
      iso_book_undo(h);
  }
  unlock(t);
  return st;
}

iso_status iso_run_progress(iso_hold *h, const iso_cost *so_far, iso_err *err) {
  iso_run *r = h->run;
  lock(r->tree);
  h->progress = *so_far;
  h->noted = true;
  iso_status st = iso_journal_add(r, "progress", row_id(h), NULL, so_far, iso_now_s(r->c), true, err);
  unlock(r->tree);
  return st;
}

iso_status iso_run_settle(iso_hold *h, const iso_cost *measured, iso_err *err) {
  iso_run *r = h->run;
  lock(r->tree);
  double now = iso_now_s(r->c);
  iso_status st = iso_journal_add(r, "settle", row_id(h), NULL, measured, now, true, err);
  iso_book_settle(h, measured, now);
  unlock(r->tree);
  return st;
}

void iso_run_release(iso_hold *h) {
  if (!h) return;
  iso_run *r = h->run;
  lock(r->tree);
  (void)iso_journal_add(r, "release", row_id(h), NULL, NULL, iso_now_s(r->c), false, NULL);
  iso_book_release(h);
  unlock(r->tree);
}

static iso_status charge(iso_run *r, const char *label, const iso_cost *measured, iso_err *err) {
  double now = iso_now_s(r->c);
  ISO_TRY(iso_book_charge(r, label, measured, now, err));
  return iso_journal_add(r, "charge", r->tree->next_id - 1, label, measured, now, true, err);
}

iso_status iso_run_charge(iso_run *r, const char *label, const iso_cost *measured, iso_err *err) {
  lock(r->tree);
  iso_status st = charge(r, label, measured, err);
  unlock(r->tree);
  return st;
}

iso_status iso_run_true_up(iso_run *r, const char *label, iso_err *err) {
  iso_status st = ISO_OK;
  lock(r->tree);
  double booked = iso_book_spent(r).wall.mean - r->carried.wall.mean, gap = iso_now_s(r->c) - r->c->start_s - booked;
  if (gap > 0) {
    iso_cost c = iso_cost_of(ISO_RES_wall, iso_est_exact(gap));
    st = charge(r, label, &c, err);
  }
  unlock(r->tree);
  return st;
}

static iso_cost locked(iso_run *r, iso_cost (*of)(const iso_run *)) {
  lock(r->tree);
  iso_cost c = of(r);
  unlock(r->tree);
  return c;
}
iso_cost iso_run_spent(iso_run *r) { return locked(r, iso_book_spent); }
iso_cost iso_run_reserved(iso_run *r) { return locked(r, iso_book_open_cost); }

iso_budget iso_run_budget(iso_run *r) { return r->budget; }

// The most that everything under `r` together may reach in resource k, given the limits above it.
static double allowed(const iso_run *r, iso_res k) {
  double own = iso_budget_get(&r->budget, k);
  const iso_run *p = r->parent;
  if (!p) return own;
  double top = allowed(p, k);
  if (!(top < INFINITY)) return own;
  const iso_res_info *i = iso_res_get(k);
  iso_cost all_p = iso_book_all(p), all_r = iso_book_all(r);
  double others = iso_cost_get(&all_p, k).hi - iso_cost_get(&all_r, k).hi;
  if (p->mode == ISO_RUN_PARALLEL && i->parallel == ISO_RULE_MAX) others = iso_cost_get(&p->carried, k).hi + r->opened_s - p->opened_s;
  if (p->mode == ISO_RUN_SERIAL && i->serial == ISO_RULE_MAX) others = 0;
  top -= others;
  return isnan(top) || top < own ? top : own;
}

iso_budget iso_run_left(iso_run *r) {
  iso_budget left;
  lock(r->tree);
  iso_cost all = iso_book_all(r);
  double now = iso_now_s(r->c);
  for (int k = 0; k < ISO_RES_COUNT; k++) {
    const iso_res_info *i = iso_res_get((iso_res)k);
    double top = allowed(r, (iso_res)k), used = iso_cost_get(&all, (iso_res)k).hi;
    if (r->mode == ISO_RUN_PARALLEL && i->parallel == ISO_RULE_MAX) used = iso_cost_get(&r->carried, (iso_res)k).hi + now - r->opened_s;
    if (r->mode == ISO_RUN_SERIAL && i->serial == ISO_RULE_MAX) used = 0;
    double v = top < INFINITY || isnan(top) ? top - used : INFINITY;
    *iso_budget_at(&left, (iso_res)k) = v > 0 ? v : 0;  // unknown use leaves nothing
  }
  unlock(r->tree);
  return left;
}

bool iso_run_overrun(iso_run *r, iso_res *res) {
  iso_cost spent = iso_run_spent(r);
  for (int k = 0; k < ISO_RES_COUNT; k++) {
    double limit = iso_budget_get(&r->budget, (iso_res)k);
    if (!(iso_cost_get(&spent, (iso_res)k).mean > limit * (1 + 1e-12))) continue;
    if (res) *res = (iso_res)k;
    return true;
  }
  return false;
}

iso_status iso_run_rows(iso_run *r, iso_run_row **rows, int64_t *n, iso_err *err) {
  iso_tree *t = r->tree;
  iso_status st = ISO_OK;
  *n = 0;
  lock(t);
  *rows = malloc((size_t)(t->n_rows ? t->n_rows : 1) * sizeof **rows);
  if (!*rows) st = iso_fail(err, ISO_ENOMEM, "no memory for %lld ledger rows", (long long)t->n_rows);
  for (int64_t i = 0; st == ISO_OK && i < t->n_rows; i++) {
    int64_t id = t->rows[i].run;
    while (id > r->id) id = t->parent_of[id];  // parents have lower ids
    if (id == r->id) (*rows)[(*n)++] = t->rows[i].row;
  }
  unlock(t);
  return st;
}
