// Merging a long piece: a list of positions for every merge, taken in order of rank.
#include <stdlib.h>
#include <string.h>

#include "text/tok_priv.h"

enum {
  AHEAD = 8,             // positions between the prefetch of a symbol and its use
  KEEP = 16,             // positions that a list holds on to between pieces
  KEEP_BYTES = 1 << 20,  // longer pieces keep no scratch
  ASK_EVERY = 0xff       // lists between two looks at the cancel flag
};
#define NONE UINT32_MAX

// A symbol, at the position of its first byte.
typedef struct link {
  int32_t id;
  uint32_t prev, next;  // positions, or NONE
  uint32_t rank;        // of the merge with the next symbol; TOK_NO_RANK: there is none, or this position is inside of a symbol
} link;

// Where a merge may be made, in order of place: v[head .. n). Entries whose place has another rank by now are skipped. Lists fill from the
// left by themselves: two places where the same two symbols meet came to them by the same merges, for none crossed their ends, and of two
// equal merges the left one is made first, so that the right place is never ahead of the left one.
typedef struct list {
  uint32_t *v;  // owned
  uint32_t head, n, cap;
} list;

struct tok_long {
  link *l;  // owned
  size_t cap;
  list *list;         // owned: one a rank
  uint64_t *some;     // owned: bit r: list r has entries
  uint64_t n, words;  // ranks, words of `some`
};

static tok_long *open_lists(const iso_tok *t) {
  tok_long *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->n = (uint64_t)t->n_merges;
  s->words = s->n / 64 + 1;
  s->list = calloc(s->n + 1, sizeof *s->list);
  s->some = calloc(s->words, sizeof *s->some);
  if (s->list && s->some) return s;
  tok_long_close(s);
  return NULL;
}

void tok_long_close(tok_long *s) {
  if (!s) return;
  for (uint64_t r = 0; s->list && r < s->n; r++) free(s->list[r].v);
  free(s->list);
  free(s->some);
  free(s->l);
  free(s);
}

static bool grow(list *q) {
  if (q->head) {
    memmove(q->v, q->v + q->head, (q->n - q->head) * sizeof *q->v);
    q->n -= q->head;
    q->head = 0;
    if (q->n < q->cap / 2) return true;
  }
  uint32_t cap = q->cap ? q->cap * 2 : KEEP;
  uint32_t *v = realloc(q->v, (size_t)cap * sizeof *v);
  if (!v) return false;
  q->v = v;
  q->cap = cap;
  return true;
}

static inline bool push(tok_long *s, uint32_t rank, uint32_t at) {
  list *q = &s->list[rank];
  if (q->n == q->cap && !grow(q)) return false;
  s->some[rank / 64] |= UINT64_C(1) << (rank & 63);
  q->v[q->n++] = at;
  return true;
}

// Looks up what merges at i and lists it. In *low the lowest rank listed.
static inline bool find(tok_long *s, const iso_tok *t, uint32_t i, uint32_t *low) {
  link *a = &s->l[i];
  const tok_pair *m = a->next == NONE ? NULL : tok_pair_find(t, a->id, s->l[a->next].id);
  a->rank = m ? m->rank : TOK_NO_RANK;
  if (!m) return true;
  if (m->rank < *low) *low = m->rank;
  return push(s, m->rank, i);
}

// Makes the merge of this rank wherever it is listed, from the left, until the list is empty or a lower rank turns up: the return value
// is the lowest rank listed meanwhile, or `rank`. *left counts symbols.
static uint32_t run_list(tok_long *s, const iso_tok *t, uint32_t rank, size_t *left, bool *ok) {
  list *q = &s->list[rank];
  link *l = s->l;
  uint32_t low = rank;
  while (*ok && q->head < q->n && low == rank) {
    if (q->n - q->head > AHEAD) __builtin_prefetch(&l[q->v[q->head + AHEAD]], 1);
    uint32_t i = q->v[q->head++];
    if (l[i].rank != rank) continue;
    uint32_t j = l[i].next, prev = l[i].prev;
    l[i].id = t->merge[rank].product;
    l[i].next = l[j].next;
    l[j].rank = TOK_NO_RANK;
    if (l[i].next != NONE) l[l[i].next].prev = i;
    --*left;
    *ok = (prev == NONE || find(s, t, prev, &low)) && find(s, t, i, &low);
  }
  return low;
}

static void clear(tok_long *s, uint32_t rank) {
  list *q = &s->list[rank];
  s->some[rank / 64] &= ~(UINT64_C(1) << (rank & 63));
  if (q->cap > KEEP) {
    free(q->v);
    q->v = NULL;
    q->cap = 0;
  }
  q->head = q->n = 0;
}

// Runs all lists. A merge lists a lower rank than its own only where the tokenizer has two ways to one entry.
static iso_status run(tok_long *s, const iso_tok *t, const iso_ctx *c, size_t *left, bool ok) {
  for (uint64_t w = 0, runs = 0; ok && w < s->words; runs++) {
    if (!s->some[w]) {
      w++;
      continue;
    }
    if (c && (runs & ASK_EVERY) == 0 && iso_cancelled(c)) return ISO_ECANCEL;
    uint32_t rank = (uint32_t)(w * 64 + (uint64_t)__builtin_ctzll(s->some[w])), low = run_list(s, t, rank, left, &ok);
    if (s->list[rank].head == s->list[rank].n) clear(s, rank);
    w = low / 64;
  }
  return ok ? ISO_OK : ISO_ENOMEM;
}

static iso_status merge(tok_long *s, const iso_tok *t, const iso_ctx *c, const uint8_t *p, size_t n, iso_ids *out, iso_err *err) {
  if (n > s->cap) {
    free(s->l);
    s->l = malloc(n * sizeof *s->l);
    s->cap = s->l ? n : 0;
    if (!s->l) return iso_fail(err, ISO_ENOMEM, "no memory to merge a piece of %zu bytes", n);
    iso_huge_pages(s->l, n * sizeof *s->l);
  }
  link *l = s->l;
  bool ok = true;
  uint32_t low = 0, last = (uint32_t)n - 1;
  for (uint32_t i = 0; i <= last; i++) l[i] = (link){.id = t->byte_id[p[i]], .prev = i ? i - 1 : NONE, .next = i < last ? i + 1 : NONE};
  for (uint32_t i = 0; ok && i <= last; i++) ok = find(s, t, i, &low);
  size_t left = n;
  iso_status st = run(s, t, c, &left, ok);
  if (st == ISO_ECANCEL) return iso_fail(err, st, "cancelled in a piece of %zu bytes without a place to cut", n);
  if (st != ISO_OK) return iso_fail(err, st, "no memory to merge a piece of %zu bytes", n);
  ISO_TRY(iso_ids_room(out, (int64_t)left, err));
  for (uint32_t i = 0; i != NONE; i = l[i].next) out->p[out->n++] = l[i].id;
  return ISO_OK;
}

iso_status tok_long_merge(tok_long **s, const iso_tok *t, const iso_ctx *c, const uint8_t *p, size_t n, iso_ids *out, iso_err *err) {
  if (n > INT32_MAX) {
    iso_fail(err, ISO_EUNSUP, "%zu bytes of text without a place to cut (a run of letters, of digits or of signs)", n);
    return iso_hint(err, ISO_EUNSUP, "is this text? insert line breaks, or split the file");
  }
  if (!*s) *s = open_lists(t);
  if (!*s) return iso_fail(err, ISO_ENOMEM, "no memory to merge a piece of %zu bytes", n);
  iso_status st = merge(*s, t, c, p, n, out, err);
  if (st != ISO_OK || n > KEEP_BYTES) {  // lists with entries left, or large ones
    tok_long_close(*s);
    *s = NULL;
  }
  return st;
}
