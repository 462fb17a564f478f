// Encoding many documents over the pool: tasks by the text alone, whose ids are handed over in order as they come.
#include <pthread.h>
#include <stdlib.h>

#include "base/pool.h"
#include "text/pretok.h"
#include "text/tok_priv.h"

enum { CHUNK = 1 << 17 };  // bytes of text in a task

// A stretch of one document; tasks are stretches [from, to) of the list.
typedef struct stretch {
  int64_t doc;
  const uint8_t *p;
  size_t n;
  int64_t ids;  // how many it gave
} stretch;

// A task's ids until those of all tasks before it are handed over.
typedef struct made {
  iso_ids ids;  // owned
  bool done;
} made;

typedef struct many {
  const iso_ctx *c;
  const iso_tok *t;
  size_t bytes;  // of text
  stretch *s;    // owned
  int64_t n, cap;
  int64_t *task;  // owned: n_tasks + 1 borders in s
  int64_t n_tasks, task_cap;
  iso_tok_enc *enc[ISO_POOL_MAX];  // owned: one a worker
  pthread_mutex_t lock;            // of all below
  made *made;                      // owned: one a task
  int64_t handed;                  // tasks whose ids are in *ids
  iso_ids *ids;                    // the caller's
  iso_ids spare[ISO_POOL_MAX];     // owned: empty lists with room
  int n_spare;
  int64_t failed;  // the first task that failed, or n_tasks
  iso_status st;   // its
  iso_err err;
} many;

static iso_status add_stretch(many *m, stretch s, iso_err *err) {
  if (m->n == m->cap) {
    int64_t cap = m->cap ? m->cap * 2 : 1024;
    stretch *p = realloc(m->s, (size_t)cap * sizeof *p);
    if (!p) return iso_fail(err, ISO_ENOMEM, "no memory for a list of %lld stretches of text", (long long)cap);
    m->s = p;
    m->cap = cap;
  }
  m->s[m->n++] = s;
  return ISO_OK;
}

static iso_status end_task(many *m, iso_err *err) {
  if (m->n_tasks + 1 >= m->task_cap) {
    int64_t cap = m->task_cap ? m->task_cap * 2 : 64;
    int64_t *p = realloc(m->task, (size_t)cap * sizeof *p);
    if (!p) return iso_fail(err, ISO_ENOMEM, "no memory for %lld tasks", (long long)cap);
    m->task = p;
    m->task_cap = cap;
    if (m->n_tasks == 0) p[0] = 0;
  }
  m->task[++m->n_tasks] = m->n;
  return ISO_OK;
}

// Cuts documents into tasks of about CHUNK bytes, by the text alone.
static iso_status plan_tasks(many *m, const iso_bytes *docs, int64_t n, iso_err *err) {
  size_t fill = 0;
  for (int64_t d = 0; d < n; d++) {
    for (size_t at = 0; at < docs[d].n;) {
      size_t left = docs[d].n - at, k = left;
      if (left > CHUNK - fill + CHUNK / 2) k = iso_pretok_cut(docs[d].p + at, left, CHUNK - fill);
      ISO_TRY(add_stretch(m, (stretch){.doc = d, .p = docs[d].p + at, .n = k}, err));
      at += k;
      fill += k;
      if (fill >= CHUNK) {
        ISO_TRY(end_task(m, err));
        fill = 0;
      }
    }
  }
  return fill ? end_task(m, err) : ISO_OK;
}

static iso_status encode_task(many *m, int64_t k, int worker, iso_ids *out, iso_err *err) {
  if (!m->enc[worker]) ISO_TRY(tok_enc_open(m->t, m->c, m->bytes, &m->enc[worker], err));
  for (int64_t i = m->task[k]; i < m->task[k + 1]; i++) {
    int64_t before = out->n;
    ISO_TRY(iso_tok_enc_run(m->enc[worker], m->s[i].p, m->s[i].n, false, out, err));
    m->s[i].ids = out->n - before;
  }
  return ISO_OK;
}

// Appends what is next in order; lists become spare ones.
static iso_status hand_over(many *m, iso_err *err) {
  for (; m->handed < m->n_tasks && m->made[m->handed].done; m->handed++) {
    iso_ids *a = &m->made[m->handed].ids;
    ISO_TRY(iso_ids_put(m->ids, a->p, a->n, err));
    a->n = 0;
    if (m->n_spare < ISO_POOL_MAX)
      m->spare[m->n_spare++] = *a;
    else
      iso_ids_free(a);
    *a = (iso_ids){0};
  }
  return ISO_OK;
}

static void fail_task(many *m, int64_t k, iso_status st, const iso_err *err) {
  if (k >= m->failed) return;
  m->failed = k;
  m->st = st;
  m->err = *err;
}

static void run_task(void *arg, int64_t k, int worker) {
  many *m = arg;
  iso_err err = {0};
  pthread_mutex_lock(&m->lock);
  bool skip = k > m->failed;  // the tasks before it run to their end, so the failure reported does not depend on timing
  // On this thread's stack: a list's length is written with every piece, and lists of two workers in one cache line cost a tenth of the time.
  iso_ids out = {0};
  if (!skip && m->n_spare) out = m->spare[--m->n_spare];
  pthread_mutex_unlock(&m->lock);
  if (skip) return;
  iso_status st = encode_task(m, k, worker, &out, &err);
  pthread_mutex_lock(&m->lock);
  m->made[k] = (made){out, st == ISO_OK};
  if (st == ISO_OK) st = hand_over(m, &err);
  if (st != ISO_OK) fail_task(m, k, st, &err);
  pthread_mutex_unlock(&m->lock);
}

static void many_free(many *m) {
  for (int w = 0; w < ISO_POOL_MAX; w++) {
    iso_tok_enc_close(m->enc[w]);
    iso_ids_free(&m->spare[w]);
  }
  for (int64_t k = 0; m->made && k < m->n_tasks; k++) iso_ids_free(&m->made[k].ids);
  free(m->s);
  free(m->task);
  free(m->made);
  pthread_mutex_destroy(&m->lock);
}

iso_status iso_tok_encode_many(iso_ctx *c, const iso_tok *t, const iso_bytes *docs, int64_t n, iso_ids *ids, int64_t *ends, iso_err *err) {
  many m = {.c = c, .t = t, .ids = ids};
  int64_t before = ids->n;
  for (int64_t d = 0; d < n; d++) m.bytes += docs[d].n;
  iso_status st = ISO_OK;
  pthread_mutex_init(&m.lock, NULL);  // of the default kind: never fails
  ISO_TRYG(plan_tasks(&m, docs, n, err));
  m.made = calloc((size_t)m.n_tasks + 1, sizeof *m.made);
  if (!m.made) {
    st = iso_fail(err, ISO_ENOMEM, "no memory for %lld encoding tasks", (long long)m.n_tasks);
    goto done;
  }
  ISO_TRYG(iso_ids_room(ids, (int64_t)(m.bytes / 3) + 64, err));  // some three bytes an id
  m.failed = m.n_tasks;
  iso_pool_run(c->pool, m.n_tasks, run_task, &m);
  if (m.st != ISO_OK) {
    ids->n = before;
    if (err) *err = m.err;
    st = m.st;
    goto done;
  }
  int64_t at = before, i = 0;
  for (int64_t d = 0; ends && d < n; d++) {
    for (; i < m.n && m.s[i].doc == d; i++) at += m.s[i].ids;
    ends[d] = at;
  }
done:
  many_free(&m);
  return st;
}
