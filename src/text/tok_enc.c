// Encoding: a cache of whole pieces, a quadratic merge loop for short pieces, a heap for long ones, and documents spread over the pool.
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "text/pretok.h"
#include "text/tok_priv.h"

enum {
  SHORT_MAX = 15,        // bytes of a piece that fits a slot of the first table
  SHORT_IDS = 3,         // ids that fit there
  SHORT_SETS = 1 << 16,  // of two slots: 4 MiB
  LONG_SLOTS = 1 << 15,  // second table: 0.5 MiB, and 128 bytes a slot for pieces and their ids
  PROMPT_SHARE = 256,    // a text below PROMPT bytes gets a cache smaller by this
  PROMPT = 1 << 15,
  AHEAD = 32,      // pieces between the prefetch of a slot and its use
  LONG_MAX = 255,  // longer pieces are not kept
  SCAN_MAX = 96,   // pieces up to here are merged by scanning for the best pair
  CHUNK = 1 << 17  // bytes of text in a task of iso_tok_encode_many
};

typedef struct short_slot {
  uint64_t k0, k1;  // the bytes, zero-padded; the last byte of k1 is the length (0: free)
  int32_t id[SHORT_IDS];
  uint32_t n;
} short_slot;

typedef struct long_slot {
  uint64_t hash;
  uint32_t at;      // in `keep`: ids, then bytes
  uint16_t len, n;  // len 0: free
} long_slot;

// Linked symbols of a long piece.
typedef struct link {
  int32_t id;  // -1: joined to the one before
  uint32_t prev, next;
} link;

struct iso_tok_enc {
  const iso_tok *t;
  const iso_ctx *c;   // asked whether to stop in a piece without end; NULL: nobody is
  short_slot *small;  // 2 * sets, in `room`
  void *room;         // owned
  long_slot *big;     // owned: slots
  uint8_t *keep;      // owned: keep_cap
  uint64_t sets, slots;
  size_t keep_n, keep_cap;
  int64_t big_n;
  link *links;     // owned scratch
  uint64_t *heap;  // owned scratch: rank << 32 | position
  size_t links_cap, heap_n, heap_cap;
};

static iso_status enc_open(const iso_tok *t, uint64_t share, iso_tok_enc **out, iso_err *err) {
  *out = NULL;
  iso_tok_enc *e = calloc(1, sizeof *e);
  if (e) {
    *e = (iso_tok_enc){.t = t, .sets = SHORT_SETS / share, .slots = LONG_SLOTS / share, .keep_cap = (size_t)LONG_SLOTS * 128 / share};
    size_t bytes = 2 * e->sets * sizeof *e->small, align = bytes >= (size_t)4 << 20 ? (size_t)2 << 20 : 64;
    if (posix_memalign(&e->room, align, bytes) != 0) e->room = NULL;
    e->small = e->room;
    if (e->room) {
      iso_huge_pages(e->room, bytes);
      memset(e->room, 0, bytes);
    }
    e->big = calloc(e->slots, sizeof *e->big);
    e->keep = malloc(e->keep_cap);
    if (e->keep) iso_huge_pages(e->keep, e->keep_cap);
  }
  if (!e || !e->room || !e->big || !e->keep) {
    iso_tok_enc_close(e);
    return iso_fail(err, ISO_ENOMEM, "no memory for the piece cache of an encoder (9 MB)");
  }
  *out = e;
  return ISO_OK;
}

iso_status iso_tok_enc_open(const iso_tok *t, iso_tok_enc **out, iso_err *err) { return enc_open(t, 1, out, err); }

void iso_tok_enc_close(iso_tok_enc *e) {
  if (!e) return;
  free(e->room);
  free(e->big);
  free(e->keep);
  free(e->links);
  free(e->heap);
  free(e);
}

// Merges a short piece: always the pair of lowest rank, the leftmost first. ids has room for n. Returns the number of ids.
static int merge_scan(const iso_tok *t, const uint8_t *p, int n, int32_t *ids) {
  uint32_t rank[SCAN_MAX];
  int32_t product[SCAN_MAX];
  for (int i = 0; i < n; i++) ids[i] = t->byte_id[p[i]];
  for (int i = 0; i + 1 < n; i++) {
    const tok_pair *m = tok_pair_find(t, ids[i], ids[i + 1]);
    rank[i] = m ? m->rank : TOK_NO_RANK;
    product[i] = m ? m->product : -1;
  }
  while (n > 1) {
    int best = 0;
    uint32_t low = rank[0];
    for (int i = 1; i + 1 < n; i++) {
      if (rank[i] < low) {
        low = rank[i];
        best = i;
      }
    }
    if (low == TOK_NO_RANK) break;
    ids[best] = product[best];
    n--;
    for (int i = best + 1; i < n; i++) ids[i] = ids[i + 1];
    for (int i = best + 1; i + 1 < n; i++) {
      rank[i] = rank[i + 1];
      product[i] = product[i + 1];
    }
    for (int i = best - 1; i <= best; i++) {
      if (i < 0 || i + 1 >= n) continue;
      const tok_pair *m = tok_pair_find(t, ids[i], ids[i + 1]);
      rank[i] = m ? m->rank : TOK_NO_RANK;
      product[i] = m ? m->product : -1;
    }
  }
  return n;
}

static bool heap_push(iso_tok_enc *e, uint64_t key) {
  if (e->heap_n == e->heap_cap) {
    size_t cap = e->heap_cap ? e->heap_cap * 2 : 1024;
    uint64_t *h = realloc(e->heap, cap * sizeof *h);
    if (!h) return false;
    e->heap = h;
    e->heap_cap = cap;
  }
  size_t i = e->heap_n++;
  for (; i > 0 && e->heap[(i - 1) / 2] > key; i = (i - 1) / 2) e->heap[i] = e->heap[(i - 1) / 2];
  e->heap[i] = key;
  return true;
}

static uint64_t heap_pop(iso_tok_enc *e) {
  uint64_t top = e->heap[0], key = e->heap[--e->heap_n];
  size_t i = 0, n = e->heap_n;
  for (size_t k = 1; k < n; k = 2 * i + 1) {
    if (k + 1 < n && e->heap[k + 1] < e->heap[k]) k++;
    if (e->heap[k] >= key) break;
    e->heap[i] = e->heap[k];
    i = k;
  }
  if (n) e->heap[i] = key;
  return top;
}

static bool push_pair(iso_tok_enc *e, uint32_t i) {
  uint32_t j = e->links[i].next;
  if (j == UINT32_MAX) return true;
  const tok_pair *m = tok_pair_find(e->t, e->links[i].id, e->links[j].id);
  return !m || heap_push(e, (uint64_t)m->rank << 32 | i);
}

// Merges a long piece in O(n log n) with a heap of (rank, position) whose stale entries are skipped.
static iso_status merge_heap(iso_tok_enc *e, const uint8_t *p, size_t n, iso_ids *out, iso_err *err) {
  const iso_tok *t = e->t;
  if (n > INT32_MAX) {
    iso_fail(err, ISO_EUNSUP, "%zu bytes of text without a place to cut (a run of letters, of digits or of signs)", n);
    return iso_hint(err, ISO_EUNSUP, "is this text? insert line breaks, or split the file");
  }
  if (n > e->links_cap) {
    free(e->links);
    e->links = malloc(n * sizeof *e->links);
    e->links_cap = e->links ? n : 0;
    if (!e->links) return iso_fail(err, ISO_ENOMEM, "no memory to merge a piece of %zu bytes", n);
  }
  link *l = e->links;
  for (uint32_t i = 0; i < n; i++) l[i] = (link){.id = t->byte_id[p[i]], .prev = i ? i - 1 : UINT32_MAX, .next = i + 1 < n ? i + 1 : UINT32_MAX};
  e->heap_n = 0;
  bool ok = true;
  for (uint32_t i = 0; ok && i + 1 < n; i++) ok = push_pair(e, i);
  while (ok && e->heap_n) {
    uint64_t key = heap_pop(e);
    if (e->c && (e->heap_n & 0xffff) == 0 && iso_cancelled(e->c))
      return iso_fail(err, ISO_ECANCEL, "cancelled in a piece of %zu bytes without a place to cut", n);
    uint32_t i = (uint32_t)key, j = l[i].next;
    if (l[i].id < 0 || j == UINT32_MAX) continue;
    const tok_pair *m = tok_pair_find(t, l[i].id, l[j].id);
    if (!m || m->rank != (uint32_t)(key >> 32)) continue;
    l[i].id = m->product;
    l[j].id = -1;
    l[i].next = l[j].next;
    if (l[i].next != UINT32_MAX) l[l[i].next].prev = i;
    ok = push_pair(e, i) && (l[i].prev == UINT32_MAX || push_pair(e, l[i].prev));
  }
  if (!ok) return iso_fail(err, ISO_ENOMEM, "no memory to merge a piece of %zu bytes", n);
  for (uint32_t i = 0; i != UINT32_MAX; i = l[i].next) {
    ISO_TRY(iso_ids_room(out, 1, err));
    out->p[out->n++] = l[i].id;
  }
  return ISO_OK;
}

static void keep_long(iso_tok_enc *e, uint64_t hash, const uint8_t *p, size_t n, const int32_t *ids, size_t k) {
  size_t need = (k * sizeof *ids + n + 3) & ~(size_t)3;
  if (e->keep_n + need > e->keep_cap || (uint64_t)e->big_n * 2 > e->slots) {
    memset(e->big, 0, e->slots * sizeof *e->big);
    e->keep_n = 0;
    e->big_n = 0;
  }
  uint64_t i = hash & (e->slots - 1);
  while (e->big[i].len) i = (i + 1) & (e->slots - 1);
  e->big[i] = (long_slot){.hash = hash, .at = (uint32_t)e->keep_n, .len = (uint16_t)n, .n = (uint16_t)k};
  memcpy(e->keep + e->keep_n, ids, k * sizeof *ids);
  memcpy(e->keep + e->keep_n + k * sizeof *ids, p, n);
  e->keep_n += need;
  e->big_n++;
}

// A piece that is not in the first table: second table, else merge and remember.
static __attribute__((noinline)) iso_status encode_miss(iso_tok_enc *e, const uint8_t *p, size_t n, short_slot *home, uint64_t k0, uint64_t k1,
                                                        iso_ids *out, iso_err *err) {
  if (n > LONG_MAX) return merge_heap(e, p, n, out, err);
  uint64_t hash = iso_hash(ISO_HASH_SEED, p, n);
  for (uint64_t i = hash & (e->slots - 1); e->big[i].len; i = (i + 1) & (e->slots - 1)) {
    const long_slot *s = &e->big[i];
    if (s->hash != hash || s->len != n || memcmp(e->keep + s->at + s->n * sizeof(int32_t), p, n) != 0) continue;
    ISO_TRY(iso_ids_room(out, s->n, err));
    memcpy(out->p + out->n, e->keep + s->at, s->n * sizeof(int32_t));
    out->n += s->n;
    return ISO_OK;
  }
  int64_t before = out->n;
  if (n <= SCAN_MAX) {
    ISO_TRY(iso_ids_room(out, (int64_t)n, err));
    out->n += merge_scan(e->t, p, (int)n, out->p + out->n);
  } else {
    ISO_TRY(merge_heap(e, p, n, out, err));
  }
  size_t k = (size_t)(out->n - before);
  if (home && k <= SHORT_IDS) {
    home[1] = home[0];
    home[0] = (short_slot){.k0 = k0, .k1 = k1, .n = (uint32_t)k};
    memcpy(home[0].id, out->p + before, k * sizeof(int32_t));
  } else {
    keep_long(e, hash, p, n, out->p + before, k);
  }
  return ISO_OK;
}

// A piece on its way to the first table.
typedef struct key {
  const uint8_t *p;
  size_t n;
  uint64_t k0, k1;
  short_slot *slot;  // NULL: too long for the table
} key;

// Cuts the next piece off p[0..left) and asks the memory for its slot, which is used some pieces later: the table does not fit the L1 cache.
static inline key next_key(const iso_tok_enc *e, const uint8_t *p, size_t left) {
  key k = {.p = p, .n = iso_pretok_next(p, left)};
  if (k.n > SHORT_MAX) return k;
  uint8_t pad[16] = {0};
  const uint8_t *q = p;
  if (left < 16) q = memcpy(pad, p, left);
  uint64_t k0 = iso_load_le64(q), k1 = iso_load_le64(q + 8);
  if (k.n < 8) {
    k0 &= (UINT64_C(1) << (8 * k.n)) - 1;
    k1 = 0;
  } else {
    k1 &= (UINT64_C(1) << (8 * (k.n - 8))) - 1;
  }
  k1 |= (uint64_t)k.n << 56;
  uint64_t h = (k0 ^ k1 * UINT64_C(0xD6E8FEB86659FD93)) * UINT64_C(0x9E3779B97F4A7C15);
  k.k0 = k0, k.k1 = k1;
  k.slot = e->small + 2 * ((h ^ h >> 29) >> 8 & (e->sets - 1));
  __builtin_prefetch(k.slot, 1);
  return k;
}

// Text without special tokens.
static iso_status encode_plain(iso_tok_enc *e, const uint8_t *p, size_t n, iso_ids *out, iso_err *err) {
  const uint8_t *end = p + n;
  key keys[AHEAD];
  while (p < end) {
    int m = 0;
    for (; m < AHEAD && p < end; p += keys[m++].n) keys[m] = next_key(e, p, (size_t)(end - p));
    for (int i = 0; i < m; i++) {
      const key *k = &keys[i];
      short_slot *s = k->slot;
      const short_slot *hit = NULL;
      if (s) hit = s[0].k0 == k->k0 && s[0].k1 == k->k1 ? s : s[1].k0 == k->k0 && s[1].k1 == k->k1 ? s + 1 : NULL;
      if (out->cap - out->n < SHORT_IDS) ISO_TRY(iso_ids_room(out, SHORT_IDS + (int64_t)(end - k->p) / 4, err));
      if (hit) {
        memcpy(out->p + out->n, hit->id, sizeof hit->id);
        out->n += hit->n;
      } else {
        ISO_TRY(encode_miss(e, k->p, k->n, s, k->k0, k->k1, out, err));
      }
    }
  }
  return ISO_OK;
}

iso_status iso_tok_enc_run(iso_tok_enc *e, const void *bytes, size_t n, bool parse_specials, iso_ids *ids, iso_err *err) {
  const uint8_t *p = bytes;
  const iso_tok *t = e->t;
  if (n == 0) return ISO_OK;
  if (!parse_specials || t->n_specials == 0) return encode_plain(e, p, n, ids, err);
  bool first[256] = {false};
  for (int k = 0; k < t->n_specials; k++) first[t->bytes[t->at[t->specials[k].id]]] = true;
  size_t from = 0;
  for (size_t i = 0; i < n;) {
    const tok_special *hit = NULL;
    for (int k = 0; first[p[i]] && !hit && k < t->n_specials; k++) {
      const tok_special *s = &t->specials[k];
      if (s->n <= n - i && memcmp(p + i, t->bytes + t->at[s->id], s->n) == 0) hit = s;
    }
    if (!hit) {
      i++;
      continue;
    }
    ISO_TRY(encode_plain(e, p + from, i - from, ids, err));
    ISO_TRY(iso_ids_put(ids, &hit->id, 1, err));
    i += hit->n;
    from = i;
  }
  return encode_plain(e, p + from, n - from, ids, err);
}

iso_status iso_tok_encode(const iso_tok *t, const void *bytes, size_t n, bool parse_specials, iso_ids *ids, iso_err *err) {
  iso_tok_enc *e;
  ISO_TRY(enc_open(t, n < PROMPT ? PROMPT_SHARE : 1, &e, err));
  iso_status st = iso_tok_enc_run(e, bytes, n, parse_specials, ids, err);
  iso_tok_enc_close(e);
  return st;
}

// A stretch of one document; tasks are stretches [from, to) of the list.
typedef struct stretch {
  int64_t doc;
  const uint8_t *p;
  size_t n;
  int64_t ids;  // how many it gave
} stretch;

// Where the ids of a task are.
typedef struct made {
  int worker;
  int64_t from, n;
} made;

typedef struct many {
  const iso_ctx *c;
  const iso_tok *t;
  uint64_t share;  // of a full cache
  stretch *s;      // owned
  int64_t n, cap;
  int64_t *task;  // owned: n_tasks + 1 borders in s
  int64_t n_tasks, task_cap;
  made *made;                      // owned: one a task
  iso_ids out[ISO_POOL_MAX];       // owned: the ids of a worker's tasks, one after another
  iso_tok_enc *enc[ISO_POOL_MAX];  // owned: one a worker
  int64_t room;                    // ids that a worker's list begins with
  iso_status *st;                  // owned: one a task
  iso_err *err;                    // owned: one a task
  int64_t *at;                     // owned: where a task's ids go
  int32_t *to;
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

static void run_task(void *arg, int64_t k, int worker) {
  many *m = arg;
  iso_err *err = &m->err[k];
  if (!m->enc[worker]) {
    m->st[k] = enc_open(m->t, m->share, &m->enc[worker], err);
    if (m->st[k] == ISO_OK) m->st[k] = iso_ids_room(&m->out[worker], m->room, err);
    if (m->st[k] != ISO_OK) return;
    m->enc[worker]->c = m->c;
  }
  iso_ids *out = &m->out[worker];
  int64_t from = out->n;
  for (int64_t i = m->task[k]; i < m->task[k + 1]; i++) {
    int64_t before = out->n;
    m->st[k] = iso_tok_enc_run(m->enc[worker], m->s[i].p, m->s[i].n, false, out, err);
    if (m->st[k] != ISO_OK) return;
    m->s[i].ids = out->n - before;
  }
  m->made[k] = (made){worker, from, out->n - from};
}

static void copy_task(void *arg, int64_t k, int worker) {
  (void)worker;
  many *m = arg;
  const made *d = &m->made[k];
  if (d->n) memcpy(m->to + m->at[k], m->out[d->worker].p + d->from, (size_t)d->n * sizeof *m->to);
}

static void many_free(many *m) {
  for (int w = 0; w < ISO_POOL_MAX; w++) {
    iso_tok_enc_close(m->enc[w]);
    iso_ids_free(&m->out[w]);
  }
  free(m->s);
  free(m->task);
  free(m->made);
  free(m->st);
  free(m->err);
  free(m->at);
}

iso_status iso_tok_encode_many(iso_ctx *c, const iso_tok *t, const iso_bytes *docs, int64_t n, iso_ids *ids, int64_t *ends, iso_err *err) {
  many m = {.c = c, .t = t};
  size_t bytes = 0;
  for (int64_t d = 0; d < n; d++) bytes += docs[d].n;
  m.share = bytes < PROMPT ? PROMPT_SHARE : 1;
  iso_status st = ISO_OK;
  ISO_TRYG(plan_tasks(&m, docs, n, err));
  m.made = calloc((size_t)m.n_tasks + 1, sizeof *m.made);
  m.room = (int64_t)(bytes / 3) / iso_pool_threads(c->pool) + 64;  // some three bytes an id
  m.st = calloc((size_t)m.n_tasks + 1, sizeof *m.st);
  m.err = calloc((size_t)m.n_tasks + 1, sizeof *m.err);
  m.at = calloc((size_t)m.n_tasks + 1, sizeof *m.at);
  if (!m.made || !m.st || !m.err || !m.at) {
    st = iso_fail(err, ISO_ENOMEM, "no memory for %lld encoding tasks", (long long)m.n_tasks);
    goto done;
  }
  iso_pool_run(c->pool, m.n_tasks, run_task, &m);
  int64_t total = 0;
  for (int64_t k = 0; k < m.n_tasks; k++) {
    if (m.st[k] != ISO_OK) {
      if (err) *err = m.err[k];
      st = m.st[k];
      goto done;
    }
    m.at[k] = total;
    total += m.made[k].n;
  }
  ISO_TRYG(iso_ids_room(ids, total, err));
  int64_t at = ids->n, i = 0;
  for (int64_t d = 0; ends && d < n; d++) {
    for (; i < m.n && m.s[i].doc == d; i++) at += m.s[i].ids;
    ends[d] = at;
  }
  m.to = total ? ids->p + ids->n : NULL;
  iso_pool_run(c->pool, m.n_tasks, copy_task, &m);
  ids->n += total;
done:
  many_free(&m);
  return st;
}
