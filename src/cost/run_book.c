// Bookkeeping of a tree of runs: what is spent, what is open, and how both combine up the tree.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cost/run_impl.h"

iso_status iso_tree_open(iso_tree **out, iso_err *err) {
  iso_tree *t = calloc(1, sizeof *t);
  *out = NULL;
  if (!t || pthread_mutex_init(&t->lock, NULL) != 0) {
    free(t);
    return iso_fail(err, ISO_ENOMEM, "no memory for a run");
  }
  t->fd = -1;
  t->final = iso_cost_zero();
  *out = t;
  return ISO_OK;
}

void iso_tree_free(iso_tree *t) {
  pthread_mutex_destroy(&t->lock);
  free(t->parent_of);
  free(t->by_id);
  free(t->rows);
  free(t->path);
  free(t);
}

iso_status iso_book_open(iso_tree *t, iso_run *parent, iso_run_mode mode, const iso_budget *b, double t_s, iso_run **out, iso_err *err) {
  iso_run *r = calloc(1, sizeof *r);
  size_t n = (size_t)t->runs + 1;
  int64_t *ids = realloc(t->parent_of, n * sizeof *ids);
  if (ids) t->parent_of = ids;
  iso_run **by_id = realloc(t->by_id, n * sizeof *by_id);
  if (by_id) t->by_id = by_id;
  *out = NULL;
  if (!r || !ids || !by_id) {
    free(r);
    return iso_fail(err, ISO_ENOMEM, "no memory for a run");
  }
  *r = (iso_run){.tree = t, .parent = parent, .id = t->runs, .mode = mode, .budget = *b, .opened_s = t_s, .last_s = t_s};
  r->carried = r->settled = iso_cost_zero();
  ids[t->runs] = parent ? parent->id : -1;
  by_id[t->runs++] = r;
  t->live++;
  if (parent) {
    r->next = parent->children;
    parent->children = r;
  }
  *out = r;
  return ISO_OK;
}

static iso_status add_row(iso_run *r, const char *label, iso_row_state state, const iso_cost *predicted, const iso_cost *measured, iso_err *err) {
  iso_tree *t = r->tree;
  if (t->n_rows == t->cap_rows) {
    int64_t cap = t->cap_rows ? 2 * t->cap_rows : 16;
    iso_tree_row *grown = realloc(t->rows, (size_t)cap * sizeof *grown);
    if (!grown) return iso_fail(err, ISO_ENOMEM, "no memory for a ledger of %lld rows", (long long)cap);
    t->rows = grown;
    t->cap_rows = cap;
  }
  iso_tree_row *x = &t->rows[t->n_rows++];
  memset(x, 0, sizeof *x);
  x->run = r->id;
  x->row.id = t->next_id++;
  x->row.state = state;
  x->row.predicted = *predicted;
  x->row.measured = *measured;
  (void)snprintf(x->row.label, sizeof x->row.label, "%s", label);
  return ISO_OK;
}

iso_status iso_book_reserve(iso_run *r, const char *label, const iso_cost *est, double t_s, iso_hold **out, iso_err *err) {
  iso_cost unknown = iso_cost_unknown();
  iso_hold *h = calloc(1, sizeof *h);
  *out = NULL;
  if (!h) return iso_fail(err, ISO_ENOMEM, "no memory for a reservation");
  iso_status st = add_row(r, label, ISO_ROW_OPEN, est, &unknown, err);
  if (st != ISO_OK) {
    free(h);
    return st;
  }
  *h = (iso_hold){.run = r, .next = r->holds, .row = r->tree->n_rows - 1, .t_s = t_s, .est = *est};
  r->holds = h;
  *out = h;
  return ISO_OK;
}

static void unlink_hold(iso_hold *h) {
  iso_hold **at = &h->run->holds;
  while (*at != h) at = &(*at)->next;
  *at = h->next;
  free(h);
}

void iso_book_undo(iso_hold *h) {
  h->run->tree->n_rows--;
  h->run->tree->next_id--;
  unlink_hold(h);
}

static void touch(iso_run *r, double t_s) {
  for (; r; r = r->parent)
    if (t_s > r->last_s) r->last_s = t_s;
}

void iso_book_settle(iso_hold *h, const iso_cost *measured, double t_s) {
  iso_run *r = h->run;
  iso_run_row *row = &r->tree->rows[h->row].row;
  iso_cost booked = *measured;
  row->state = ISO_ROW_SETTLED;
  row->measured = *measured;
  for (int k = 0; k < ISO_RES_COUNT; k++) {  // what no meter saw is taken for the most that was allowed
    iso_est *e = iso_cost_at(&booked, (iso_res)k);
    if (isnan(e->hi)) *e = iso_est_exact(iso_cost_get(&h->est, (iso_res)k).hi);
  }
  r->settled = iso_cost_serial(r->settled, booked);
  touch(r, t_s);
  unlink_hold(h);
}

void iso_book_release(iso_hold *h) {
  h->run->tree->rows[h->row].row.state = ISO_ROW_RELEASED;
  unlink_hold(h);
}

iso_status iso_book_charge(iso_run *r, const char *label, const iso_cost *measured, double t_s, iso_err *err) {
  iso_cost unknown = iso_cost_unknown();
  ISO_TRY(add_row(r, label, ISO_ROW_CHARGED, &unknown, measured, err));
  r->settled = iso_cost_serial(r->settled, *measured);
  touch(r, t_s);
  return ISO_OK;
}

void iso_book_close(iso_run *r) {
  r->closed = true;
  while (r->holds) iso_book_release(r->holds);
  while (r && r->closed && !r->children) {
    iso_run *p = r->parent;
    if (p) {
      iso_run **at = &p->children;
      while (*at != r) at = &(*at)->next;
      *at = r->next;
      p->settled = iso_cost_serial(p->settled, iso_book_spent(r));
    } else {
      r->tree->final = iso_book_spent(r);
    }
    r->tree->by_id[r->id] = NULL;
    r->tree->live--;
    free(r);
    r = p;
  }
}

// Seconds: they add one after another and overlap side by side.
static bool timelike(const iso_res_info *i) { return i->serial == ISO_RULE_SUM && i->parallel == ISO_RULE_MAX; }
static bool capacity(const iso_res_info *i) { return i->kind == ISO_KIND_CAPACITY; }

static iso_est spent_res(const iso_run *r, iso_res k) {
  const iso_res_info *i = iso_res_get(k);
  iso_est e = iso_cost_get(&r->settled, k), carried = iso_cost_get(&r->carried, k);
  if (r->mode == ISO_RUN_PARALLEL && timelike(i)) return iso_est_add(carried, iso_est_exact(r->last_s - r->opened_s));
  e = capacity(i) ? iso_est_max(carried, e) : iso_est_add(carried, e);
  for (const iso_run *c = r->children; c; c = c->next) {
    iso_est x = spent_res(c, k);
    e = capacity(i) ? iso_est_max(e, x) : iso_est_add(e, x);
  }
  return e;
}

static iso_est all_res(const iso_run *r, iso_res k) {
  const iso_res_info *i = iso_res_get(k);
  bool parallel = r->mode == ISO_RUN_PARALLEL, span = parallel && timelike(i), max = span || (capacity(i) && !parallel);
  iso_est e = iso_est_exact(0);
  if (span)
    e = iso_est_exact(r->last_s - r->opened_s);
  else if (!capacity(i))
    e = iso_est_add(iso_cost_get(&r->carried, k), iso_cost_get(&r->settled, k));
  for (const iso_hold *h = r->holds; h; h = h->next) {
    iso_est x = iso_cost_get(&h->est, k);
    if (span) x = iso_est_add(x, iso_est_exact(h->t_s - r->opened_s));
    e = max ? iso_est_max(e, x) : iso_est_add(e, x);
  }
  for (const iso_run *c = r->children; c; c = c->next) {
    iso_est x = all_res(c, k);
    if (span) x = iso_est_add(x, iso_est_exact(c->opened_s - r->opened_s));
    e = max ? iso_est_max(e, x) : iso_est_add(e, x);
  }
  return span ? iso_est_add(e, iso_cost_get(&r->carried, k)) : e;
}

static iso_est open_res(const iso_run *r, iso_res k) {
  const iso_res_info *i = iso_res_get(k);
  if (capacity(i)) return all_res(r, k);
  if (r->mode == ISO_RUN_PARALLEL && timelike(i)) {
    iso_est a = all_res(r, k), s = spent_res(r, k);
    return iso_est_max(iso_est_range(a.lo - s.lo, a.mean - s.mean, a.hi - s.hi), iso_est_exact(0));
  }
  iso_est e = iso_est_exact(0);
  for (const iso_hold *h = r->holds; h; h = h->next) e = iso_est_add(e, iso_cost_get(&h->est, k));
  for (const iso_run *c = r->children; c; c = c->next) e = iso_est_add(e, open_res(c, k));
  return e;
}

static iso_cost each(const iso_run *r, iso_est (*of)(const iso_run *, iso_res)) {
  iso_cost c;
  for (int k = 0; k < ISO_RES_COUNT; k++) *iso_cost_at(&c, (iso_res)k) = of(r, (iso_res)k);
  return c;
}
iso_cost iso_book_spent(const iso_run *r) { return each(r, spent_res); }
iso_cost iso_book_open_cost(const iso_run *r) { return each(r, open_res); }
iso_cost iso_book_all(const iso_run *r) { return each(r, all_res); }
