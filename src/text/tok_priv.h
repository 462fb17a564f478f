// What a tokenizer holds; shared by its trainer, its file format, its encoder.
#ifndef ISO_TEXT_TOK_PRIV_H
#define ISO_TEXT_TOK_PRIV_H
#include "base/hash.h"
#include "text/tok.h"

typedef struct tok_merge {
  int32_t a, b, product;
} tok_merge;

// A slot of the pair table; key = a << 32 | b, TOK_NO_PAIR when free.
typedef struct tok_pair {
  uint64_t key;
  uint32_t rank;
  int32_t product;
} tok_pair;
#define TOK_NO_PAIR UINT64_MAX
#define TOK_NO_RANK UINT32_MAX

typedef struct tok_special {
  int32_t id;
  uint32_t n;  // bytes of its name, which is the piece of `id`
} tok_special;

struct iso_tok {
  int32_t vocab;
  uint8_t *bytes;    // owned: pieces one after another
  uint64_t *at;      // owned: vocab + 1; piece i is bytes[at[i] .. at[i+1])
  uint8_t *special;  // owned: vocab flags
  tok_merge *merge;  // owned: n_merges in order of rank
  int64_t n_merges;
  tok_pair *pair;  // owned: pair_mask + 1 slots
  uint64_t pair_mask;
  int32_t byte_id[256];
  tok_special *specials;  // owned: longest first
  int n_specials;
  int32_t eot;
  uint64_t hash;
};

// A tokenizer under construction: pieces in order of id. The arrays are owned; tok_draft_free releases what is left.
typedef struct tok_draft {
  int32_t vocab, vocab_cap;
  uint8_t *bytes;
  size_t bytes_cap;
  uint64_t *at;  // vocab + 1 used
  uint8_t *special;
  tok_merge *merge;
  int64_t n_merges, merge_cap;
} tok_draft;
iso_status tok_draft_piece(tok_draft *d, const void *bytes, size_t n, bool special, iso_err *err);
iso_status tok_draft_merge(tok_draft *d, int32_t a, int32_t b, int32_t product, iso_err *err);
void tok_draft_free(tok_draft *d);
// Checks the draft (every byte has a piece; products are joined pieces) and turns it into a tokenizer, taking its arrays.
iso_status tok_draft_finish(tok_draft *d, iso_tok **out, iso_err *err);

// A set of pieces by content: maps bytes to the id in a draft.
typedef struct tok_index {
  int32_t *slot;  // owned: id or -1
  uint64_t mask;
  int64_t n;
} tok_index;
iso_status tok_index_open(tok_index *x, int64_t expect, iso_err *err);
void tok_index_close(tok_index *x);
// Id of a piece, or -1.
int32_t tok_index_find(const tok_index *x, const tok_draft *d, const uint8_t *p, size_t n);
iso_status tok_index_add(tok_index *x, const tok_draft *d, int32_t id, iso_err *err);

// Byte with rank r in GPT-2's alphabet, and code point that stands for a byte.
uint8_t tok_alphabet_byte(int r);
uint32_t tok_byte_char(uint8_t b);

static inline uint64_t tok_pair_key(int32_t a, int32_t b) { return (uint64_t)(uint32_t)a << 32 | (uint32_t)b; }
static inline uint64_t tok_pair_home(uint64_t key) {
  uint64_t h = key * UINT64_C(0x9E3779B97F4A7C15);
  return h ^ h >> 32;
}
// The merge of (a, b), or NULL.
static inline const tok_pair *tok_pair_find(const iso_tok *t, int32_t a, int32_t b) {
  uint64_t key = tok_pair_key(a, b);
  for (uint64_t i = tok_pair_home(key) & t->pair_mask;; i = (i + 1) & t->pair_mask) {
    if (t->pair[i].key == key) return &t->pair[i];
    if (t->pair[i].key == TOK_NO_PAIR) return NULL;
  }
}

// An encoder for `text` bytes: a prompt gets a small cache. `c` is asked whether to stop in a piece without end; NULL: nobody is.
iso_status tok_enc_open(const iso_tok *t, const iso_ctx *c, size_t text, iso_tok_enc **out, iso_err *err);

// Scratch to merge long pieces with, opened by the first call (*s NULL before it). Appends the ids of a piece of n > 0 bytes in
// O(n) and a look at each merge. `c` is asked whether to stop (ISO_ECANCEL); NULL: nobody is. ISO_EUNSUP: more than INT32_MAX bytes.
typedef struct tok_long tok_long;
iso_status tok_long_merge(tok_long **s, const iso_tok *t, const iso_ctx *c, const uint8_t *p, size_t n, iso_ids *out, iso_err *err);
void tok_long_close(tok_long *s);

// Distinct pieces of a text and how often each stands in it.
typedef struct tok_word {
  const uint8_t *p;  // borrowed from the text
  uint64_t n;
  int64_t count;
} tok_word;
iso_status tok_count_words(iso_ctx *c, const iso_tok_train_opts *o, const iso_bytes *docs, int64_t n, tok_word **out, int64_t *n_out, iso_err *err);
#endif
