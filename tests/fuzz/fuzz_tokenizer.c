// Fuzzes the tokenizer: any bytes survive training, encoding and decoding, and any tokenizer.json is refused or works.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/pretok.h"
#include "text/tok.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const iso_tok *t, const uint8_t *p, size_t n, bool specials) {
  iso_ids ids = {0};
  iso_str back = {0};
  if (iso_tok_encode(t, p, n, specials, &ids, NULL) != ISO_OK || iso_tok_decode(t, ids.p, ids.n, &back, NULL) != ISO_OK) abort();
  if (back.n != n || (n && memcmp(back.p, p, n) != 0)) abort();
  iso_ids_free(&ids);
  iso_str_free(&back);
}

static void pieces_join(const uint8_t *p, size_t n) {
  size_t cut = n ? iso_pretok_cut(p, n, n / 2) : 0;
  for (size_t at = 0, k; at < n; at += k) {
    k = iso_pretok_next(p + at, n - at);
    if (k == 0 || k > n - at || (at < cut && at + k > cut)) abort();
    if (at < cut && iso_pretok_next(p + at, cut - at) != k) abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  pieces_join(data, size);
  iso_tok *t = NULL;
  iso_ctx c = {0};  // no pool: everything runs in this thread
  iso_bytes docs[2] = {{data, size / 2}, {data + size / 2, size - size / 2}};
  iso_tok_train_opts o = {.vocab = 256 + ISO_TOK_SPECIALS + 64, .specials = ISO_TOK_SPECIALS, .by_line = size & 1};
  if (iso_tok_train(&c, &o, docs, 2, &t, NULL) != ISO_OK) abort();
  round_trip(t, data, size, false);
  round_trip(t, data, size, true);
  iso_ids ids = {0};
  int64_t ends[2];
  if (iso_tok_encode_many(&c, t, docs, 2, &ids, ends, NULL) != ISO_OK || ends[1] != ids.n) abort();
  iso_ids_free(&ids);
  iso_tok_close(t);
  if (iso_tok_parse((const char *)data, size, "fuzz", &t, NULL) == ISO_OK) {
    round_trip(t, data, size, false);
    iso_tok_close(t);
  }
  return 0;
}
