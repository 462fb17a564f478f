// BPE training in O(N log M): linked symbols, positions of every pair, and a priority queue of pair counts that is updated lazily.
#include <stdlib.h>
#include <string.h>

#include "text/tok_priv.h"

#define NONE UINT32_MAX

// A pair of adjacent symbols, how often it stands in the text, and where in the distinct words.
typedef struct pair {
  uint64_t key;
  int64_t count;
  uint32_t *pos;  // in a block of the arena; rising unless `mixed`
  uint32_t n;
  bool mixed;
} pair;

typedef struct entry {
  int64_t count;
  uint64_t key;
  uint32_t pair;
} entry;

typedef struct block {
  struct block *next;
  size_t used, cap;
  uint32_t v[];
} block;

// What one merge does to pairs with neighbour x on one side.
typedef struct delta {
  int64_t gain, loss;  // of the pair with the product, of the pair with the merged symbol
  uint32_t n;          // positions gained
  uint32_t pair;       // slot of the gained pair, once known
  uint32_t fill;
} delta;

typedef struct spot {
  uint32_t x, pos;
} spot;

// One side of the current merge.
typedef struct side {
  delta *d;        // owned: by neighbour
  uint32_t *seen;  // owned: neighbours touched
  uint32_t n_seen;
  spot *spot;  // owned: gained positions in order
  size_t n, cap;
} side;

typedef struct trainer {
  // Words one after another with a separator (id NONE) before the first and after each. A symbol that spans [i, i+k) has its id at i and
  // its length k at both ends, so that both neighbours are found in O(1).
  uint32_t *id, *len, *word;  // owned: n_pos
  uint32_t n_pos;
  int64_t *count;  // owned: by word
  pair *pair;      // owned
  uint32_t n_pairs, pairs_cap;
  uint32_t *slot;  // owned hash table: index in pair, NONE
  uint64_t mask;
  entry *heap;  // owned
  size_t heap_n, heap_cap;
  block *arena;  // owned
  side left, right;
  tok_draft d;
  tok_index index;
  iso_err *err;
} trainer;

static iso_status no_memory(trainer *t) {
  return iso_fail(t->err, ISO_ENOMEM, "no memory to train a tokenizer on %u symbols of distinct words", t->n_pos);
}

static uint32_t *take(trainer *t, size_t n) {
  if (!t->arena || t->arena->cap - t->arena->used < n) {
    size_t cap = n > t->n_pos / 4 + 1024 ? n : t->n_pos / 4 + 1024;
    block *b = malloc(sizeof *b + cap * sizeof(uint32_t));
    if (!b) return NULL;
    *b = (block){.next = t->arena, .cap = cap};
    t->arena = b;
  }
  uint32_t *p = t->arena->v + t->arena->used;
  t->arena->used += n;
  return p;
}

static uint32_t find_pair(const trainer *t, uint64_t key) {
  for (uint64_t i = tok_pair_home(key) & t->mask;; i = (i + 1) & t->mask) {
    uint32_t k = t->slot[i];
    if (k == NONE || t->pair[k].key == key) return k;
  }
}

static bool rehash(trainer *t, uint64_t cap) {
  uint32_t *slot = malloc(cap * sizeof *slot);
  if (!slot) return false;
  memset(slot, 0xFF, cap * sizeof *slot);
  for (uint32_t k = 0; k < t->n_pairs; k++) {
    uint64_t i = tok_pair_home(t->pair[k].key) & (cap - 1);
    while (slot[i] != NONE) i = (i + 1) & (cap - 1);
    slot[i] = k;
  }
  free(t->slot);
  t->slot = slot;
  t->mask = cap - 1;
  return true;
}

// The pair's index, made when it is new; NONE without memory.
static uint32_t get_pair(trainer *t, uint64_t key) {
  uint32_t k = find_pair(t, key);
  if (k != NONE) return k;
  if (t->n_pairs == t->pairs_cap) {
    uint32_t cap = t->pairs_cap * 2;
    pair *p = realloc(t->pair, (size_t)cap * sizeof *p);
    if (!p) return NONE;
    t->pair = p;
    t->pairs_cap = cap;
  }
  k = t->n_pairs++;
  t->pair[k] = (pair){.key = key};
  if ((uint64_t)t->n_pairs * 2 > t->mask) return rehash(t, (t->mask + 1) * 2) ? k : NONE;
  uint64_t i = tok_pair_home(key) & t->mask;
  while (t->slot[i] != NONE) i = (i + 1) & t->mask;
  t->slot[i] = k;
  return k;
}

// Highest count first, then the smaller pair of ids.
static bool before(const entry *a, const entry *b) { return a->count != b->count ? a->count > b->count : a->key < b->key; }

static void sift_down(entry *h, size_t n, size_t i, entry e) {
  for (size_t k = 2 * i + 1; k < n; k = 2 * i + 1) {
    if (k + 1 < n && before(&h[k + 1], &h[k])) k++;
    if (!before(&h[k], &e)) break;
    h[i] = h[k];
    i = k;
  }
  h[i] = e;
}

static bool push(trainer *t, uint32_t k) {
  if (t->heap_n == t->heap_cap) {
    size_t cap = t->heap_cap ? t->heap_cap * 2 : 1 << 10;
    entry *h = realloc(t->heap, cap * sizeof *h);
    if (!h) return false;
    t->heap = h;
    t->heap_cap = cap;
  }
  entry e = {t->pair[k].count, t->pair[k].key, k};
  size_t i = t->heap_n++;
  for (; i > 0 && before(&e, &t->heap[(i - 1) / 2]); i = (i - 1) / 2) t->heap[i] = t->heap[(i - 1) / 2];
  t->heap[i] = e;
  return true;
}

static iso_status lay_out_words(trainer *t, const tok_word *w, int64_t n) {
  uint64_t total = 1;
  int64_t kept = 0;
  for (int64_t i = 0; i < n; i++) {
    if (w[i].n < 2) continue;
    total += w[i].n + 1;
    kept++;
  }
  if (total >= NONE) {
    iso_fail(t->err, ISO_EUNSUP, "the distinct words of this text have %llu bytes together; training takes at most 4 Gi", (unsigned long long)total);
    return iso_hint(t->err, ISO_EUNSUP, "train the tokenizer on a part of the text (max_bytes)");
  }
  t->n_pos = (uint32_t)total;
  t->id = malloc(total * sizeof *t->id);
  t->len = malloc(total * sizeof *t->len);
  t->word = malloc(total * sizeof *t->word);
  t->count = malloc(((size_t)kept + 1) * sizeof *t->count);
  if (!t->id || !t->len || !t->word || !t->count) return no_memory(t);
  uint32_t rank_of[256];
  for (uint32_t r = 0; r < 256; r++) rank_of[tok_alphabet_byte((int)r)] = r;
  uint32_t at = 0, word = 0;
  t->id[at] = NONE, t->word[at] = 0, t->len[at++] = 1;
  for (int64_t i = 0; i < n; i++) {
    if (w[i].n < 2) continue;
    for (uint64_t k = 0; k <= w[i].n; k++, at++) {
      t->id[at] = k < w[i].n ? rank_of[w[i].p[k]] : NONE;
      t->len[at] = 1;
      t->word[at] = word;
    }
    t->count[word++] = w[i].count;
  }
  return ISO_OK;
}

static iso_status count_pairs(trainer *t) {
  t->pairs_cap = 1 << 10;
  t->pair = malloc((size_t)t->pairs_cap * sizeof *t->pair);
  if (!t->pair || !rehash(t, 1 << 12)) return no_memory(t);
  uint32_t *index = malloc(65536 * sizeof *index);  // of a pair of bytes
  if (!index) return no_memory(t);
  memset(index, 0xFF, 65536 * sizeof *index);
  iso_status st = ISO_OK;
  for (uint32_t i = 1; i + 1 < t->n_pos; i++) {
    uint32_t a = t->id[i], b = t->id[i + 1];
    if (a == NONE || b == NONE) continue;
    uint32_t *k = &index[a << 8 | b];
    if (*k == NONE) *k = get_pair(t, tok_pair_key((int32_t)a, (int32_t)b));
    if (*k == NONE) {
      st = no_memory(t);
      goto done;
    }
    t->pair[*k].count += t->count[t->word[i]];
    t->pair[*k].n++;
  }
  for (uint32_t k = 0; k < t->n_pairs; k++) {
    t->pair[k].pos = take(t, t->pair[k].n);
    if (!t->pair[k].pos || !push(t, k)) {
      st = no_memory(t);
      goto done;
    }
    t->pair[k].n = 0;
  }
  for (uint32_t i = 1; i + 1 < t->n_pos; i++) {
    if (t->id[i] == NONE || t->id[i + 1] == NONE) continue;
    pair *p = &t->pair[index[t->id[i] << 8 | t->id[i + 1]]];
    p->pos[p->n++] = i;
  }
done:
  free(index);
  return st;
}

static inline delta *touch(side *s, uint32_t x) {
  delta *d = &s->d[x];
  if (d->gain == 0 && d->loss == 0) s->seen[s->n_seen++] = x;
  return d;
}

static inline bool gain(side *s, uint32_t x, uint32_t pos, int64_t count) {
  if (s->n == s->cap) {
    size_t cap = s->cap ? s->cap * 2 : 1 << 10;
    spot *p = realloc(s->spot, cap * sizeof *p);
    if (!p) return false;
    s->spot = p;
    s->cap = cap;
  }
  delta *d = touch(s, x);
  d->gain += count;
  d->n++;
  s->spot[s->n++] = (spot){x, pos};
  return true;
}

static uint64_t side_key(bool left, uint32_t x, uint32_t y) {
  return left ? tok_pair_key((int32_t)x, (int32_t)y) : tok_pair_key((int32_t)y, (int32_t)x);
}

// Books the gains of one side: of pairs (x, product) or (product, x).
static bool book_gains(trainer *t, side *s, bool left, uint32_t product) {
  for (uint32_t i = 0; i < s->n_seen; i++) {
    delta *d = &s->d[s->seen[i]];
    if (!d->n) continue;
    d->pair = get_pair(t, side_key(left, s->seen[i], product));
    if (d->pair == NONE) return false;
    pair *p = &t->pair[d->pair];
    p->count += d->gain;
    uint32_t *pos = take(t, (size_t)p->n + d->n);
    if (!pos) return false;
    if (p->n) {
      memcpy(pos, p->pos, p->n * sizeof *pos);
      p->mixed = true;
    }
    p->pos = pos;
    d->fill = p->n;
    p->n += d->n;
  }
  for (size_t i = 0; i < s->n; i++) {
    delta *d = &s->d[s->spot[i].x];
    t->pair[d->pair].pos[d->fill++] = s->spot[i].pos;
  }
  return true;
}

// Books the losses, of pairs (x, a) or (b, x); after the gains of both sides, for "abab" gives (product, a) and takes it again.
static void book_losses(trainer *t, const side *s, bool left, uint32_t merged) {
  for (uint32_t i = 0; i < s->n_seen; i++) {
    const delta *d = &s->d[s->seen[i]];
    if (d->loss) t->pair[find_pair(t, side_key(left, s->seen[i], merged))].count -= d->loss;
  }
}

// Queues what gained, once both sides are booked, and clears the side.
static bool queue_gains(trainer *t, side *s) {
  bool ok = true;
  for (uint32_t i = 0; i < s->n_seen; i++) {
    delta *d = &s->d[s->seen[i]];
    if (ok && d->n && t->pair[d->pair].count > 0) ok = push(t, d->pair);
    *d = (delta){0};
  }
  s->n_seen = 0;
  s->n = 0;
  return ok;
}

static int by_position(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

// Replaces every pair (a, b) by the product, left to right in each word.
static iso_status merge_pair(trainer *t, uint32_t k, uint32_t product) {
  uint32_t a = (uint32_t)(t->pair[k].key >> 32), b = (uint32_t)t->pair[k].key;
  if (t->pair[k].mixed) qsort(t->pair[k].pos, t->pair[k].n, sizeof(uint32_t), by_position);
  const uint32_t *pos = t->pair[k].pos;
  for (uint32_t i = 0; i < t->pair[k].n; i++) {
    uint32_t p = pos[i];
    if (t->id[p] != a) continue;
    uint32_t q = p + t->len[p];
    if (t->id[q] != b) continue;
    uint32_t end = q + t->len[q], prev = p - t->len[p - 1], l = t->id[prev], r = t->id[end];
    int64_t count = t->count[t->word[p]];
    t->id[q] = NONE;
    t->id[p] = product;
    t->len[p] = t->len[end - 1] = end - p;
    if (l != NONE) {
      touch(&t->left, l)->loss += count;
      if (!gain(&t->left, l, prev, count)) return no_memory(t);
    }
    if (r != NONE) {
      touch(&t->right, r)->loss += count;
      if (!gain(&t->right, r, p, count)) return no_memory(t);
    }
  }
  bool ok = book_gains(t, &t->left, true, product) && book_gains(t, &t->right, false, product);
  if (ok) {
    book_losses(t, &t->left, true, a);
    book_losses(t, &t->right, false, b);
  }
  t->pair[k].count = 0;
  t->pair[k].n = 0;
  ok = queue_gains(t, &t->left) && ok;
  ok = queue_gains(t, &t->right) && ok;
  return ok ? ISO_OK : no_memory(t);
}

// The id for the joined bytes of a pair: an entry that has them already (then only the merge is new), or a new one.
static iso_status product_of(trainer *t, uint32_t a, uint32_t b, uint8_t **buf, size_t *cap, int32_t *out) {
  tok_draft *d = &t->d;
  size_t na = d->at[a + 1] - d->at[a], nb = d->at[b + 1] - d->at[b];
  if (na + nb > *cap) {
    uint8_t *p = realloc(*buf, (na + nb) * 2);
    if (!p) return no_memory(t);
    *buf = p;
    *cap = (na + nb) * 2;
  }
  memcpy(*buf, d->bytes + d->at[a], na);
  memcpy(*buf + na, d->bytes + d->at[b], nb);
  *out = tok_index_find(&t->index, d, *buf, na + nb);
  if (*out >= 0) return ISO_OK;
  *out = d->vocab;
  ISO_TRY(tok_draft_piece(d, *buf, na + nb, false, t->err));
  return tok_index_add(&t->index, d, *out, t->err);
}

static iso_status run_merges(iso_ctx *c, trainer *t, int32_t vocab) {
  uint8_t *buf = NULL;
  size_t cap = 0;
  iso_status st = ISO_OK;
  while (t->d.vocab < vocab && t->heap_n) {
    entry top = t->heap[0];
    int64_t now = t->pair[top.pair].count;
    if (now != top.count && now > 0) {  // stale: put it where it belongs
      top.count = now;
      sift_down(t->heap, t->heap_n, 0, top);
      continue;
    }
    entry last = t->heap[--t->heap_n];
    if (t->heap_n) sift_down(t->heap, t->heap_n, 0, last);
    if (now <= 0) continue;
    if ((t->d.n_merges & 63) == 0 && iso_cancelled(c)) {
      st = iso_fail(t->err, ISO_ECANCEL, "cancelled after %lld merges", (long long)t->d.n_merges);
      break;
    }
    int32_t product = -1, a = (int32_t)(top.key >> 32), b = (int32_t)(uint32_t)top.key;
    ISO_TRYG(product_of(t, (uint32_t)a, (uint32_t)b, &buf, &cap, &product));
    ISO_TRYG(tok_draft_merge(&t->d, a, b, product, t->err));
    ISO_TRYG(merge_pair(t, top.pair, (uint32_t)product));
  }
done:
  free(buf);
  return st;
}

static iso_status open_sides(trainer *t, int32_t vocab) {
  for (int k = 0; k < 2; k++) {
    side *s = k ? &t->right : &t->left;
    s->d = calloc((size_t)vocab, sizeof *s->d);
    s->seen = malloc((size_t)vocab * sizeof *s->seen);
    if (!s->d || !s->seen) return no_memory(t);
  }
  return ISO_OK;
}

static void trainer_free(trainer *t) {
  free(t->id);
  free(t->len);
  free(t->word);
  free(t->count);
  free(t->pair);
  free(t->slot);
  free(t->heap);
  for (block *b = t->arena, *next; b; b = next) {
    next = b->next;
    free(b);
  }
  for (int k = 0; k < 2; k++) {
    side *s = k ? &t->right : &t->left;
    free(s->d);
    free(s->seen);
    free(s->spot);
  }
  tok_draft_free(&t->d);
  tok_index_close(&t->index);
}

iso_status iso_tok_train(iso_ctx *c, const iso_tok_train_opts *o, const iso_bytes *docs, int64_t n, iso_tok **out, iso_err *err) {
  *out = NULL;
  if (o->specials != 0 && o->specials != ISO_TOK_SPECIALS)
    return iso_fail(err, ISO_EINVAL, "a tokenizer has 0 or %d special tokens, not %d", ISO_TOK_SPECIALS, o->specials);
  if (o->vocab < 256 + o->specials || o->vocab > ISO_TOK_VOCAB_MAX)
    return iso_fail(err, ISO_EINVAL, "a vocabulary of %d entries: at least %d (256 bytes and %d special tokens) and at most %d are possible",
                    o->vocab, 256 + o->specials, o->specials, ISO_TOK_VOCAB_MAX);
  trainer t = {.err = err};
  tok_word *words = NULL;
  int64_t n_words = 0;
  iso_status st = tok_index_open(&t.index, o->vocab, err);
  if (st != ISO_OK) return st;
  for (int r = 0; r < 256; r++) {
    uint8_t b = tok_alphabet_byte(r);
    ISO_TRYG(tok_draft_piece(&t.d, &b, 1, false, err));
    ISO_TRYG(tok_index_add(&t.index, &t.d, r, err));
  }
  ISO_TRYG(tok_count_words(c, o, docs, n, &words, &n_words, err));
  ISO_TRYG(lay_out_words(&t, words, n_words));
  free(words);
  words = NULL;
  ISO_TRYG(count_pairs(&t));
  ISO_TRYG(open_sides(&t, o->vocab));
  ISO_TRYG(run_merges(c, &t, o->vocab - o->specials));
  if (o->specials) ISO_TRYG(tok_draft_piece(&t.d, "<|endoftext|>", 13, true, err));
  for (int k = 0; k + 1 < o->specials; k++) {
    char name[32];
    int len = snprintf(name, sizeof name, "<|reserved_%d|>", k);
    ISO_TRYG(tok_draft_piece(&t.d, name, (size_t)len, true, err));
  }
  ISO_TRYG(tok_draft_finish(&t.d, out, err));
done:
  free(words);
  trainer_free(&t);
  return st;
}
