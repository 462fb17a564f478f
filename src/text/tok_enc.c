// Encoding: a cache of whole pieces, and a quadratic merge loop for short pieces.
#include <stdlib.h>
#include <string.h>

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
  SCAN_MAX = 96    // pieces up to here are merged by scanning for the best pair
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
  tok_long *scratch;  // owned
};

iso_status tok_enc_open(const iso_tok *t, const iso_ctx *c, size_t text, iso_tok_enc **out, iso_err *err) {
  uint64_t share = text < PROMPT ? PROMPT_SHARE : 1;
  *out = NULL;
  iso_tok_enc *e = calloc(1, sizeof *e);
  if (e) {
    *e = (iso_tok_enc){.t = t, .c = c, .sets = SHORT_SETS / share, .slots = LONG_SLOTS / share, .keep_cap = (size_t)LONG_SLOTS * 128 / share};
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

iso_status iso_tok_enc_open(const iso_tok *t, iso_tok_enc **out, iso_err *err) { return tok_enc_open(t, NULL, PROMPT, out, err); }

void iso_tok_enc_close(iso_tok_enc *e) {
  if (!e) return;
  free(e->room);
  free(e->big);
  free(e->keep);
  tok_long_close(e->scratch);
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
  if (n > LONG_MAX) return tok_long_merge(&e->scratch, e->t, e->c, p, n, out, err);
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
    ISO_TRY(tok_long_merge(&e->scratch, e->t, e->c, p, n, out, err));
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
  ISO_TRY(tok_enc_open(t, NULL, n, &e, err));
  iso_status st = iso_tok_enc_run(e, bytes, n, parse_specials, ids, err);
  iso_tok_enc_close(e);
  return st;
}
