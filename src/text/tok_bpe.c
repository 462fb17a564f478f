// The tokenizer object: building, pieces, hash, decoding.
#include <stdlib.h>
#include <string.h>

#include "text/tok_priv.h"

uint8_t tok_alphabet_byte(int r) {
  if (r < 94) return (uint8_t)('!' + r);
  if (r < 106) return (uint8_t)(0xA1 + r - 94);
  if (r < 188) return (uint8_t)(0xAE + r - 106);
  if (r < 221) return (uint8_t)(r - 188);
  return r < 255 ? (uint8_t)(0x7F + r - 221) : 0xAD;
}

// GPT-2 shows printable bytes as themselves and the k-th other one as code point 256 + k.
uint32_t tok_byte_char(uint8_t b) {
  if ((b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE) return b;
  if (b <= ' ') return 256u + b;
  return b == 0xAD ? 323u : 256u + 33u + (b - 0x7Fu);
}

iso_status tok_draft_piece(tok_draft *d, const void *bytes, size_t n, bool special, iso_err *err) {
  if (d->vocab >= ISO_TOK_VOCAB_MAX) return iso_fail(err, ISO_EFORMAT, "more than %d entries in a vocabulary", ISO_TOK_VOCAB_MAX);
  if (d->vocab == d->vocab_cap) {
    int32_t cap = d->vocab_cap ? d->vocab_cap * 2 : 1024;
    uint64_t *at = realloc(d->at, ((size_t)cap + 1) * sizeof *at);
    if (at) d->at = at;
    uint8_t *sp = realloc(d->special, (size_t)cap);
    if (sp) d->special = sp;
    if (!at || !sp) return iso_fail(err, ISO_ENOMEM, "no memory for a vocabulary of %d entries", (int)cap);
    if (d->vocab == 0) d->at[0] = 0;
    d->vocab_cap = cap;
  }
  size_t used = d->at[d->vocab];
  if (used + n > d->bytes_cap || !d->bytes) {
    size_t cap = (used + n) * 2 + 4096;
    uint8_t *p = realloc(d->bytes, cap);
    if (!p) return iso_fail(err, ISO_ENOMEM, "no memory for %zu bytes of vocabulary", cap);
    d->bytes = p;
    d->bytes_cap = cap;
  }
  if (n) memmove(d->bytes + used, bytes, n);
  d->special[d->vocab] = special;
  d->at[++d->vocab] = used + n;
  return ISO_OK;
}

iso_status tok_draft_merge(tok_draft *d, int32_t a, int32_t b, int32_t product, iso_err *err) {
  if (d->n_merges == d->merge_cap) {
    int64_t cap = d->merge_cap ? d->merge_cap * 2 : 1024;
    tok_merge *m = realloc(d->merge, (size_t)cap * sizeof *m);
    if (!m) return iso_fail(err, ISO_ENOMEM, "no memory for %lld merges", (long long)cap);
    d->merge = m;
    d->merge_cap = cap;
  }
  d->merge[d->n_merges++] = (tok_merge){a, b, product};
  return ISO_OK;
}

void tok_draft_free(tok_draft *d) {
  free(d->bytes);
  free(d->at);
  free(d->special);
  free(d->merge);
  *d = (tok_draft){0};
}

iso_status tok_index_open(tok_index *x, int64_t expect, iso_err *err) {
  uint64_t cap = 1024;
  while (cap < (uint64_t)expect * 2) cap *= 2;
  *x = (tok_index){.slot = malloc(cap * sizeof *x->slot), .mask = cap - 1};
  if (!x->slot) return iso_fail(err, ISO_ENOMEM, "no memory for an index of %lld pieces", (long long)expect);
  memset(x->slot, 0xFF, cap * sizeof *x->slot);
  return ISO_OK;
}

void tok_index_close(tok_index *x) {
  free(x->slot);
  *x = (tok_index){0};
}

int32_t tok_index_find(const tok_index *x, const tok_draft *d, const uint8_t *p, size_t n) {
  for (uint64_t i = iso_hash(ISO_HASH_SEED, p, n) & x->mask;; i = (i + 1) & x->mask) {
    int32_t id = x->slot[i];
    if (id < 0) return -1;
    if (d->at[id + 1] - d->at[id] == n && memcmp(d->bytes + d->at[id], p, n) == 0) return id;
  }
}

static void index_put(tok_index *x, const tok_draft *d, int32_t id) {
  uint64_t i = iso_hash(ISO_HASH_SEED, d->bytes + d->at[id], d->at[id + 1] - d->at[id]) & x->mask;
  while (x->slot[i] >= 0) i = (i + 1) & x->mask;
  x->slot[i] = id;
  x->n++;
}

iso_status tok_index_add(tok_index *x, const tok_draft *d, int32_t id, iso_err *err) {
  if ((uint64_t)(x->n + 1) * 2 > x->mask) {
    tok_index bigger;
    ISO_TRY(tok_index_open(&bigger, (x->n + 1) * 2, err));
    for (uint64_t i = 0; i <= x->mask; i++)
      if (x->slot[i] >= 0) index_put(&bigger, d, x->slot[i]);
    tok_index_close(x);
    *x = bigger;
  }
  index_put(x, d, id);
  return ISO_OK;
}

static iso_status build_pairs(iso_tok *t, iso_err *err) {
  uint64_t cap = 64;
  while (cap < (uint64_t)t->n_merges * 2) cap *= 2;
  t->pair = malloc(cap * sizeof *t->pair);
  if (!t->pair) return iso_fail(err, ISO_ENOMEM, "no memory for a table of %lld merges", (long long)t->n_merges);
  t->pair_mask = cap - 1;
  for (uint64_t i = 0; i < cap; i++) t->pair[i].key = TOK_NO_PAIR;
  for (int64_t k = 0; k < t->n_merges; k++) {
    const tok_merge *m = &t->merge[k];
    uint64_t na = t->at[m->a + 1] - t->at[m->a], nb = t->at[m->b + 1] - t->at[m->b], nc = t->at[m->product + 1] - t->at[m->product];
    const uint8_t *c = t->bytes + t->at[m->product];
    if (nc != na + nb || memcmp(c, t->bytes + t->at[m->a], na) != 0 || memcmp(c + na, t->bytes + t->at[m->b], nb) != 0)
      return iso_fail(err, ISO_EFORMAT, "merge %lld does not give its product, entry %d", (long long)k, (int)m->product);
    uint64_t key = tok_pair_key(m->a, m->b), i = tok_pair_home(key) & t->pair_mask;
    while (t->pair[i].key != TOK_NO_PAIR && t->pair[i].key != key) i = (i + 1) & t->pair_mask;
    // A pair listed twice counts with its last rank, as in Hugging Face's reader.
    t->pair[i] = (tok_pair){.key = key, .rank = (uint32_t)k, .product = m->product};
  }
  return ISO_OK;
}

static int by_length(const void *a, const void *b) {
  const tok_special *x = a, *y = b;
  return x->n != y->n ? (x->n < y->n ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}

static iso_status build_specials(iso_tok *t, iso_err *err) {
  for (int32_t i = 0; i < t->vocab; i++) t->n_specials += t->special[i] != 0;
  t->specials = calloc((size_t)t->n_specials + 1, sizeof *t->specials);
  if (!t->specials) return iso_fail(err, ISO_ENOMEM, "no memory for %d special tokens", t->n_specials);
  int k = 0;
  t->eot = -1;
  for (int32_t i = 0; i < t->vocab; i++) {
    if (!t->special[i]) continue;
    if (t->at[i + 1] == t->at[i]) return iso_fail(err, ISO_EFORMAT, "special token %d has an empty name", (int)i);
    t->specials[k++] = (tok_special){.id = i, .n = (uint32_t)(t->at[i + 1] - t->at[i])};
  }
  qsort(t->specials, (size_t)t->n_specials, sizeof *t->specials, by_length);
  t->eot = iso_tok_special(t, "<|endoftext|>");
  return ISO_OK;
}

iso_status tok_draft_finish(tok_draft *d, iso_tok **out, iso_err *err) {
  *out = NULL;
  iso_tok *t = calloc(1, sizeof *t);
  if (!t) return iso_fail(err, ISO_ENOMEM, "no memory for a tokenizer");
  *t = (iso_tok){.vocab = d->vocab, .bytes = d->bytes, .at = d->at, .special = d->special, .merge = d->merge, .n_merges = d->n_merges};
  *d = (tok_draft){0};
  iso_status st = ISO_OK;
  memset(t->byte_id, 0xFF, sizeof t->byte_id);
  for (int32_t i = 0; i < t->vocab; i++)
    if (!t->special[i] && t->at[i + 1] - t->at[i] == 1) t->byte_id[t->bytes[t->at[i]]] = i;
  for (int b = 0; b < 256; b++) {
    if (t->byte_id[b] >= 0) continue;
    st = iso_fail(err, ISO_EFORMAT, "the vocabulary has no entry for byte 0x%02X; a byte-level tokenizer needs all 256", (unsigned)b);
    goto done;
  }
  ISO_TRYG(build_pairs(t, err));
  ISO_TRYG(build_specials(t, err));
  uint64_t h = iso_hash(ISO_HASH_SEED, "isotok1", 7);
  for (int32_t i = 0; i < t->vocab; i++) {
    h = iso_hash(h, t->bytes + t->at[i], t->at[i + 1] - t->at[i]);
    h = iso_hash_word(h, t->special[i]);
  }
  for (int64_t k = 0; k < t->n_merges; k++)
    h = iso_hash_word(iso_hash_word(h, tok_pair_key(t->merge[k].a, t->merge[k].b)), (uint32_t)t->merge[k].product);
  t->hash = iso_rng_mix(h);
  *out = t;
  return ISO_OK;
done:
  iso_tok_close(t);
  return st;
}

void iso_tok_close(iso_tok *t) {
  if (!t) return;
  free(t->bytes);
  free(t->at);
  free(t->special);
  free(t->merge);
  free(t->pair);
  free(t->specials);
  free(t);
}

int iso_tok_vocab(const iso_tok *t) { return t->vocab; }
int64_t iso_tok_merges(const iso_tok *t) { return t->n_merges; }
int iso_tok_eot(const iso_tok *t) { return t->eot; }
uint64_t iso_tok_hash(const iso_tok *t) { return t->hash; }
bool iso_tok_is_special(const iso_tok *t, int id) { return id >= 0 && id < t->vocab && t->special[id]; }

bool iso_tok_piece(const iso_tok *t, int id, const uint8_t **bytes, size_t *n) {
  if (id < 0 || id >= t->vocab || t->at[id + 1] == t->at[id]) return false;
  *bytes = t->bytes + t->at[id];
  *n = t->at[id + 1] - t->at[id];
  return true;
}

int iso_tok_special(const iso_tok *t, const char *name) {
  size_t n = strlen(name);
  for (int k = 0; k < t->n_specials; k++)
    if (t->specials[k].n == n && memcmp(t->bytes + t->at[t->specials[k].id], name, n) == 0) return t->specials[k].id;
  return -1;
}

void iso_tok_merge(const iso_tok *t, int64_t k, int32_t *a, int32_t *b, int32_t *product) {
  *a = t->merge[k].a;
  *b = t->merge[k].b;
  *product = t->merge[k].product;
}

iso_status iso_tok_decode(const iso_tok *t, const int32_t *ids, int64_t n, iso_str *out, iso_err *err) {
  for (int64_t i = 0; i < n; i++) {
    const uint8_t *p;
    size_t k;
    if (!iso_tok_piece(t, ids[i], &p, &k))
      return iso_fail(err, ISO_EINVAL, "token %lld is %d, which is not in the vocabulary of %d", (long long)i, (int)ids[i], (int)t->vocab);
    iso_str_put(out, p, k);
  }
  return out->failed ? iso_fail(err, ISO_ENOMEM, "no memory for the text of %lld tokens", (long long)n) : ISO_OK;
}
