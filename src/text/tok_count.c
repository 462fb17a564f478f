// Counts the distinct pieces of a text over the pool, with one hash table a worker.
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "text/pretok.h"
#include "text/tok_priv.h"

enum { CHUNK = 1 << 20, SHORT_MAX = 15 };

// Pieces up to 15 bytes are their own key; longer ones are compared in the text.
typedef struct slot {
  uint64_t k0, k1;  // k1's top byte: length; 255: a long piece whose hash is k0 and length k1's low 56 bits
  const uint8_t *p;
  int64_t count;  // 0: free
} slot;

typedef struct table {
  slot *s;  // owned
  uint64_t mask;
  int64_t n;
} table;

typedef struct chunk {
  const uint8_t *p;
  size_t n;
} chunk;

typedef struct job {
  iso_ctx *c;
  bool by_line;
  chunk *chunk;  // owned
  int64_t n, cap;
  table table[ISO_POOL_MAX];
  iso_status st[ISO_POOL_MAX];
} job;

static inline uint64_t home_of(uint64_t k0, uint64_t k1) {
  uint64_t h = (k0 ^ k1 * UINT64_C(0xD6E8FEB86659FD93)) * UINT64_C(0x9E3779B97F4A7C15);
  return h ^ h >> 32;
}

static bool same(const slot *a, uint64_t k0, uint64_t k1, const uint8_t *p) {
  return a->k0 == k0 && a->k1 == k1 && (k1 >> 56 != 255 || memcmp(a->p, p, k1 & (UINT64_MAX >> 8)) == 0);
}

static bool grow(table *t) {
  uint64_t cap = t->s ? (t->mask + 1) * 2 : 1 << 10;
  slot *s = calloc(cap, sizeof *s);
  if (!s) return false;
  for (uint64_t i = 0; t->s && i <= t->mask; i++) {
    if (!t->s[i].count) continue;
    uint64_t k = home_of(t->s[i].k0, t->s[i].k1) & (cap - 1);
    while (s[k].count) k = (k + 1) & (cap - 1);
    s[k] = t->s[i];
  }
  free(t->s);
  t->s = s;
  t->mask = cap - 1;
  return true;
}

static inline bool add(table *t, uint64_t k0, uint64_t k1, const uint8_t *p, int64_t count) {
  uint64_t i = home_of(k0, k1) & t->mask;
  for (; t->s[i].count; i = (i + 1) & t->mask) {
    if (!same(&t->s[i], k0, k1, p)) continue;
    t->s[i].count += count;
    return true;
  }
  t->s[i] = (slot){k0, k1, p, count};
  return (uint64_t)++t->n * 2 <= t->mask || grow(t);
}

static bool count_text(table *t, const uint8_t *p, size_t n) {
  const uint8_t *end = p + n;
  for (size_t len; p < end; p += len) {
    size_t left = (size_t)(end - p);
    len = iso_pretok_next(p, left);
    uint64_t k0, k1;
    if (len > SHORT_MAX) {
      k0 = iso_hash(ISO_HASH_SEED, p, len);
      k1 = UINT64_C(255) << 56 | len;
    } else {
      uint8_t pad[16] = {0};
      const uint8_t *q = p;
      if (left < 16) q = memcpy(pad, p, left);
      k0 = iso_load_le64(q);
      k1 = iso_load_le64(q + 8);
      if (len < 8) {
        k0 &= (UINT64_C(1) << (8 * len)) - 1;
        k1 = 0;
      } else {
        k1 &= (UINT64_C(1) << (8 * (len - 8))) - 1;
      }
      k1 |= (uint64_t)len << 56;
    }
    if (!add(t, k0, k1, p, 1)) return false;
  }
  return true;
}

static void run_chunk(void *arg, int64_t k, int worker) {
  job *j = arg;
  table *t = &j->table[worker];
  if (j->st[worker] != ISO_OK) return;
  if (iso_cancelled(j->c)) {
    j->st[worker] = ISO_ECANCEL;
    return;
  }
  bool ok = t->s || grow(t);
  const uint8_t *p = j->chunk[k].p, *end = p + j->chunk[k].n;
  while (ok && p < end) {
    const uint8_t *nl = j->by_line ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    const uint8_t *stop = nl ? nl + 1 : end;
    ok = count_text(t, p, (size_t)(stop - p));
    p = stop;
  }
  if (!ok) j->st[worker] = ISO_ENOMEM;
}

static iso_status add_chunk(job *j, const uint8_t *p, size_t n, iso_err *err) {
  if (j->n == j->cap) {
    int64_t cap = j->cap ? j->cap * 2 : 256;
    chunk *q = realloc(j->chunk, (size_t)cap * sizeof *q);
    if (!q) return iso_fail(err, ISO_ENOMEM, "no memory for a list of %lld chunks of text", (long long)cap);
    j->chunk = q;
    j->cap = cap;
  }
  j->chunk[j->n++] = (chunk){p, n};
  return ISO_OK;
}

// Where a line may be cut off: behind the first '\n' from `at` on.
static size_t line_cut(const uint8_t *p, size_t n, size_t at) {
  const uint8_t *nl = memchr(p + at, '\n', n - at);
  return nl ? (size_t)(nl - p) + 1 : n;
}

// Documents in chunks of about CHUNK bytes; of these, evenly spread ones until max_bytes are had.
static iso_status plan_chunks(job *j, const iso_bytes *docs, int64_t n, size_t max_bytes, iso_err *err) {
  size_t total = 0;
  for (int64_t d = 0; d < n; d++) total += docs[d].n;
  size_t size = CHUNK;
  if (max_bytes && max_bytes < total && max_bytes / 16 < size) size = max_bytes / 16 + 1;
  double keep = max_bytes && max_bytes < total ? (double)max_bytes / (double)total : 1, owed = 0;
  for (int64_t d = 0; d < n; d++) {
    for (size_t at = 0, k; at < docs[d].n; at += k) {
      const uint8_t *p = docs[d].p + at;
      size_t left = docs[d].n - at;
      k = left <= size ? left : j->by_line ? line_cut(p, left, size) : iso_pretok_cut(p, left, size);
      owed += keep * (double)k;
      if (keep < 1 && owed < (double)k / 2) continue;
      owed -= (double)k;
      ISO_TRY(add_chunk(j, p, k, err));
    }
  }
  return ISO_OK;
}

static iso_status gather(job *j, tok_word **out, int64_t *n_out, iso_err *err) {
  table *t = &j->table[0];
  for (int w = 0; w < ISO_POOL_MAX; w++) {
    if (j->st[w] == ISO_ECANCEL) return iso_fail(err, ISO_ECANCEL, "cancelled while counting words");
    if (j->st[w] != ISO_OK) return iso_fail(err, ISO_ENOMEM, "no memory for a table of the text's distinct words");
  }
  for (int w = 1; w < ISO_POOL_MAX; w++) {
    const table *u = &j->table[w];
    if (u->n && !t->s && !grow(t)) return iso_fail(err, ISO_ENOMEM, "no memory for a table of words");
    for (uint64_t i = 0; u->s && i <= u->mask; i++)
      if (u->s[i].count && !add(t, u->s[i].k0, u->s[i].k1, u->s[i].p, u->s[i].count))
        return iso_fail(err, ISO_ENOMEM, "no memory for a table of words");
  }
  tok_word *w = malloc(((size_t)t->n + 1) * sizeof *w);
  if (!w) return iso_fail(err, ISO_ENOMEM, "no memory for %lld words", (long long)t->n);
  int64_t n = 0;
  for (uint64_t i = 0; t->s && i <= t->mask; i++) {
    const slot *s = &t->s[i];
    if (!s->count) continue;
    uint64_t len = s->k1 >> 56;
    w[n++] = (tok_word){.p = s->p, .n = len == 255 ? s->k1 & (UINT64_MAX >> 8) : len, .count = s->count};
  }
  *out = w;
  *n_out = n;
  return ISO_OK;
}

iso_status tok_count_words(iso_ctx *c, const iso_tok_train_opts *o, const iso_bytes *docs, int64_t n, tok_word **out, int64_t *n_out, iso_err *err) {
  *out = NULL;
  *n_out = 0;
  job *j = calloc(1, sizeof *j);
  if (!j) return iso_fail(err, ISO_ENOMEM, "no memory to count words");
  j->c = c;
  j->by_line = o->by_line;
  iso_status st = plan_chunks(j, docs, n, o->max_bytes, err);
  if (st == ISO_OK) {
    iso_pool_run(c->pool, j->n, run_chunk, j);
    st = gather(j, out, n_out, err);
  }
  for (int w = 0; w < ISO_POOL_MAX; w++) free(j->table[w].s);
  free(j->chunk);
  free(j);
  return st;
}
