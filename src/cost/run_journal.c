// The journal of a tree of runs: one JSON object per line, appended, and replayed into the same bookkeeping after a kill.
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "cost/run_impl.h"

enum { JOURNAL_LIMIT = 1 << 30 };

static iso_status os_fail(iso_err *err, const char *path, const char *verb) {
  int e = errno;
  iso_status st = e == ENOSPC || e == EDQUOT ? ISO_EFULL : ISO_EIO;
  iso_fail(err, st, "journal %s: cannot %s: %s", path, verb, strerror(e));
  return st == ISO_EFULL ? iso_hint(err, st, "free some space; what was there before is untouched") : st;
}

static iso_status write_line(const iso_run *r, const char *text, bool sync, iso_err *err) {
  iso_tree *t = r->tree;
  const iso_io *io = &r->c->io;
  for (size_t n = strlen(text), k = 0; k < n;) {
    ssize_t w = io->write(io->self, t->fd, text + k, n - k);
    if (w < 0 && errno == EINTR) continue;
    if (w == 0) errno = ENOSPC;
    if (w <= 0) {
      iso_status st = os_fail(err, t->path, "write");
      if (ftruncate(t->fd, t->journal_b) == 0) (void)lseek(t->fd, t->journal_b, SEEK_SET);  // no torn line in the middle
      return st;
    }
    k += (size_t)w;
  }
  t->journal_b += (int64_t)strlen(text);
  if (sync && io->fsync(io->self, t->fd) != 0) return os_fail(err, t->path, "fsync");
  return ISO_OK;
}

// Takes o.
static iso_status put_object(const iso_run *r, json_t *o, bool bad, bool sync, iso_err *err) {
  char *text = bad ? NULL : json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17));
  json_decref(o);
  iso_str line = {0};
  if (text) iso_str_fmt(&line, "%s\n", text);
  free(text);
  iso_status st =
      line.n && !line.failed ? write_line(r, line.p, sync, err) : iso_fail(err, ISO_ENOMEM, "journal %s: no memory for a line", r->tree->path);
  iso_str_free(&line);
  return st;
}

static int set(json_t *o, const char *key, json_t *v) { return json_object_set_new(o, key, v) != 0; }

iso_status iso_journal_add_open(const iso_run *r, double t_s, iso_err *err) {
  if (r->tree->fd < 0) return ISO_OK;
  json_t *o = json_object();
  int bad = set(o, "op", json_string("open")) | set(o, "run", json_integer(r->id)) | set(o, "t", json_real(t_s)) |
            set(o, "mode", json_string(r->mode == ISO_RUN_PARALLEL ? "parallel" : "serial")) | set(o, "budget", iso_budget_json(&r->budget));
  if (r->parent)
    bad |= set(o, "parent", json_integer(r->parent->id));
  else
    bad |= set(o, "pid", json_integer(getpid()));
  return put_object(r, o, bad, r->parent == NULL, err);
}

// Without unknown resources, which read back as unknown: shorter lines.
static json_t *short_cost(const iso_cost *c) {
  json_t *o = iso_cost_json(c), *v;
  const char *key;
  void *tmp;
  if (o) json_object_foreach_safe(o, tmp, key, v) if (json_is_null(v)) json_object_del(o, key);
  return o;
}

// Bytes that are not UTF-8 cannot stand in JSON.
static json_t *text_json(const char *s) {
  json_t *v = json_string(s);
  return v ? v : json_string("?");
}

iso_status iso_journal_add(const iso_run *r, const char *op, int64_t id, const char *label, const iso_cost *cost, double t_s, bool sync,
                           iso_err *err) {
  if (r->tree->fd < 0) return ISO_OK;
  json_t *o = json_object();
  int bad = set(o, "op", json_string(op)) | set(o, "run", json_integer(r->id)) | set(o, "t", json_real(t_s));
  if (id >= 0) bad |= set(o, "id", json_integer(id));
  if (label) bad |= set(o, "label", text_json(label));
  if (cost) bad |= set(o, "cost", short_cost(cost));
  return put_object(r, o, bad, sync, err);
}

// --- replay ---

typedef struct replay {
  iso_tree *t;     // owned; the current life of the journal
  iso_cost spent;  // of the lives before it
  int64_t open;    // reservations that kills left behind
} replay;

static iso_hold *find_hold(const replay *p, const iso_run *r, int64_t id) {
  for (iso_hold *h = r->holds; h; h = h->next)
    if (p->t->rows[h->row].row.id == id) return h;
  return NULL;
}

// Ends a life that has no "close" line: what was open counts at its last progress note, else at its mean.
static void end_life(replay *p) {
  iso_tree *t = p->t;
  if (!t) return;
  for (int64_t i = t->runs - 1; i >= 0; i--)
    for (iso_run *r = t->by_id[i]; r && r->holds;) {
      iso_hold *h = r->holds;
      iso_cost used;
      p->open++;
      for (int k = 0; k < ISO_RES_COUNT; k++) {
        iso_est e = iso_est_exact(iso_cost_get(&h->est, (iso_res)k).mean);
        if (h->noted) e = iso_cost_get(&h->progress, (iso_res)k);
        *iso_cost_at(&used, (iso_res)k) = e;
      }
      iso_book_settle(h, &used, h->t_s + used.wall.mean);  // in a span, the end of the work; unknown moves nothing
    }
  for (int64_t i = t->runs - 1; i >= 0; i--)  // children before parents
    if (t->by_id[i] && !t->by_id[i]->closed) iso_book_close(t->by_id[i]);
  p->spent = t->final;  // its `carried` held the lives before
  iso_tree_free(t);
  p->t = NULL;
}

static iso_status replay_open(replay *p, const json_t *o, double t_s, const char *what, iso_err *err) {
  iso_budget b = iso_budget_none();
  const char *mode;
  int64_t parent = -1, id = 0;
  iso_run *r;
  ISO_TRY(iso_json_get_str(o, "mode", what, &mode, err));
  ISO_TRY(iso_json_get_i64(o, "run", what, 0, INT32_MAX, &id, err));
  ISO_TRY(iso_json_opt_i64(o, "parent", what, 0, INT32_MAX, &parent, err));
  if (parent < 0) {
    end_life(p);
    ISO_TRY(iso_tree_open(&p->t, err));
  }
  if (!p->t || id != p->t->runs || parent >= p->t->runs || (parent >= 0 && !p->t->by_id[parent]))
    return iso_fail(err, ISO_EFORMAT, "%s: run %lld does not follow from the lines before", what, (long long)id);
  iso_run_mode m = strcmp(mode, "parallel") == 0 ? ISO_RUN_PARALLEL : ISO_RUN_SERIAL;
  ISO_TRY(iso_book_open(p->t, parent < 0 ? NULL : p->t->by_id[parent], m, &b, t_s, &r, err));
  if (parent < 0) r->carried = p->spent;
  return ISO_OK;
}

static iso_status replay_line(replay *p, const json_t *o, const char *what, iso_err *err) {
  const char *op, *label = "";
  double t_s;
  int64_t run = 0, id = -1;
  iso_cost cost = iso_cost_unknown();
  iso_hold *h;
  if (!json_is_object(o)) return iso_fail(err, ISO_EFORMAT, "%s: not a JSON object", what);
  ISO_TRY(iso_json_get_str(o, "op", what, &op, err));
  ISO_TRY(iso_json_get_f64(o, "t", what, &t_s, err));
  if (strcmp(op, "open") == 0) return replay_open(p, o, t_s, what, err);
  ISO_TRY(iso_json_get_i64(o, "run", what, 0, INT32_MAX, &run, err));
  ISO_TRY(iso_json_opt_i64(o, "id", what, 0, INT64_MAX, &id, err));
  if (!p->t || run >= p->t->runs || !p->t->by_id[run] || p->t->by_id[run]->closed)
    return iso_fail(err, ISO_EFORMAT, "%s: run %lld is not open", what, (long long)run);
  iso_run *r = p->t->by_id[run];
  if (strcmp(op, "close") == 0) {
    iso_book_close(r);
    return ISO_OK;
  }
  const json_t *c = json_object_get(o, "cost");
  if (c) ISO_TRY(iso_cost_from_json(c, what, &cost, err));
  if (strcmp(op, "reserve") == 0 || strcmp(op, "charge") == 0) {
    ISO_TRY(iso_json_get_str(o, "label", what, &label, err));
    p->t->next_id = id < 0 ? p->t->next_id : id;
    if (op[0] == 'r') return iso_book_reserve(r, label, &cost, t_s, &h, err);
    return iso_book_charge(r, label, &cost, t_s, err);
  }
  h = find_hold(p, r, id);
  if (!h) return iso_fail(err, ISO_EFORMAT, "%s: reservation %lld is not open", what, (long long)id);
  if (strcmp(op, "settle") == 0)
    iso_book_settle(h, &cost, t_s);
  else if (strcmp(op, "release") == 0)
    iso_book_release(h);
  else if (strcmp(op, "progress") == 0) {
    h->progress = cost;
    h->noted = true;
  } else {
    return iso_fail(err, ISO_EFORMAT, "%s: unknown operation \"%.20s\"", what, op);
  }
  return ISO_OK;
}

// Replays all whole lines; *whole gets their bytes.
static iso_status replay_text(const char *path, const char *text, size_t n, iso_cost *spent, int64_t *open, int64_t *whole, iso_err *err) {
  replay p = {.spent = iso_cost_zero()};
  iso_status st = ISO_OK;
  size_t at = 0;
  for (int64_t line = 1; st == ISO_OK; line++) {
    const char *nl = memchr(text + at, '\n', n - at);
    if (!nl) break;
    char what[300];
    json_t *o;
    (void)snprintf(what, sizeof what, "journal %.240s, line %lld", path, (long long)line);
    st = iso_json_parse(text + at, (size_t)(nl - text) - at, what, &o, err);
    if (st != ISO_OK) break;
    st = replay_line(&p, o, what, err);
    json_decref(o);
    at = (size_t)(nl - text) + 1;
  }
  end_life(&p);
  if (st == ISO_EFORMAT) iso_hint(err, st, "the file is kept; move it away to start from nothing spent");
  *spent = p.spent;
  *open = p.open;
  *whole = (int64_t)at;
  return st;
}

iso_status iso_run_recover(const char *journal, iso_cost *spent, int64_t *open, iso_err *err) {
  char *text;
  size_t n;
  int64_t whole;
  *spent = iso_cost_zero();
  *open = 0;
  if (!iso_file_exists(journal)) return ISO_OK;
  ISO_TRY(iso_file_get(journal, JOURNAL_LIMIT, &text, &n, err));
  iso_status st = replay_text(journal, text, n, spent, open, &whole, err);
  free(text);
  return st;
}

iso_status iso_journal_open(iso_tree *t, const char *path, iso_cost *spent, iso_err *err) {
  char *text = NULL;
  size_t n = 0;
  int64_t killed = 0, whole = 0;
  iso_status st = ISO_OK;
  t->path = strdup(path);
  if (!t->path) return iso_fail(err, ISO_ENOMEM, "journal %s: no memory", path);
  t->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (t->fd < 0) return os_fail(err, path, "open");
  if (flock(t->fd, LOCK_EX | LOCK_NB) != 0) {
    st = iso_fail(err, ISO_EIO, "journal %s: another process is running on it", path);
    iso_hint(err, st, "wait for it, or stop it first");
  }
  if (st == ISO_OK) st = iso_file_get(path, JOURNAL_LIMIT, &text, &n, err);
  if (st == ISO_OK) st = replay_text(path, text, n, spent, &killed, &whole, err);
  free(text);
  if (st == ISO_OK && (size_t)whole < n && ftruncate(t->fd, whole) != 0) st = os_fail(err, path, "cut a torn line off");
  if (st == ISO_OK && lseek(t->fd, whole, SEEK_SET) < 0) st = os_fail(err, path, "seek");
  t->journal_b = whole;
  if (st != ISO_OK) {
    close(t->fd);
    t->fd = -1;
  }
  return st;
}
