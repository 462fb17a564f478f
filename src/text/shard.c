// Shard files: reader with full checks, writer, and the folder that holds a data set.
#include "text/shard.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"

enum { AT_VERSION = 8, AT_WIDTH = 12, AT_FLAGS = 16, AT_VOCAB = 20, AT_TOK = 24, AT_TOKENS = 32, AT_DOCS = 40, AT_BYTES = 48, AT_TOKENS_AT = 56 };
enum { AT_DOCS_AT = 64, AT_MASK_AT = 72, AT_SIZE = 80, AT_PAYLOAD = 88, AT_HEADER = 120, MAX_SHARDS = 100000 };

static uint32_t get32(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }
static void put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}
static void put64(uint8_t *p, uint64_t v) {
  for (int i = 0; i < 8; i++) p[i] = (uint8_t)(v >> (8 * i));
}
static uint64_t align64(uint64_t v) { return (v + 63) & ~UINT64_C(63); }

// Where the sections lie.
typedef struct layout {
  uint64_t docs, mask, size;
} layout;
static layout lay_out(uint64_t tokens, uint32_t width, uint64_t docs, bool mask) {
  layout l = {.docs = align64(ISO_SHARD_HEADER + tokens * width)};
  uint64_t end = l.docs + docs * 8;
  l.mask = mask ? align64(end) : 0;
  l.size = mask ? l.mask + (tokens + 7) / 8 : end;
  return l;
}

static uint64_t payload_hash(const uint8_t *tokens, uint64_t n_token_bytes, const uint8_t *docs, uint64_t n_docs, const uint8_t *mask,
                             uint64_t n_tokens) {
  uint64_t h = iso_hash(ISO_HASH_SEED, tokens, n_token_bytes);
  h = iso_hash(h, docs, n_docs * 8);
  return mask ? iso_hash(h, mask, (n_tokens + 7) / 8) : h;
}

iso_status iso_shard_parse(const uint8_t *p, size_t size, const char *what, iso_shard *out, iso_err *err) {
  *out = (iso_shard){0};
  if (size < ISO_SHARD_HEADER || memcmp(p, "ISOSHARD", 8) != 0)
    return iso_fail(err, ISO_EFORMAT, "%s: not a token shard (%zu bytes, expected at least %d that begin with ISOSHARD)", what, size,
                    ISO_SHARD_HEADER);
  if (get32(p + AT_VERSION) != ISO_SHARD_VERSION)
    return iso_fail(err, ISO_EFORMAT, "%s: shard version %u; this program reads version %d", what, get32(p + AT_VERSION), ISO_SHARD_VERSION);
  if (iso_load_le64(p + AT_HEADER) != iso_hash(ISO_HASH_SEED, p, AT_HEADER))
    return iso_fail(err, ISO_EFORMAT, "%s: the header's checksum is wrong", what);
  iso_shard s = {.data = p, .size = size, .width = get32(p + AT_WIDTH), .flags = get32(p + AT_FLAGS), .vocab = get32(p + AT_VOCAB)};
  s.tok_hash = iso_load_le64(p + AT_TOK), s.n_tokens = iso_load_le64(p + AT_TOKENS), s.n_docs = iso_load_le64(p + AT_DOCS);
  s.source_bytes = iso_load_le64(p + AT_BYTES), s.payload_hash = iso_load_le64(p + AT_PAYLOAD);
  if ((s.width != 2 && s.width != 4) || s.vocab == 0 || s.vocab > ISO_TOK_VOCAB_MAX || (s.width == 2 && s.vocab > 65536))
    return iso_fail(err, ISO_EFORMAT, "%s: tokens of %u bytes for a vocabulary of %u", what, s.width, s.vocab);
  if (s.flags & ~(uint32_t)(ISO_SHARD_MASK | ISO_SHARD_CONTINUES)) return iso_fail(err, ISO_EFORMAT, "%s: unknown flags 0x%x", what, s.flags);
  if (s.n_tokens > size / s.width || s.n_docs > s.n_tokens)
    return iso_fail(err, ISO_EFORMAT, "%s: %llu tokens in %llu documents do not fit a file of %zu bytes", what, (unsigned long long)s.n_tokens,
                    (unsigned long long)s.n_docs, size);
  layout l = lay_out(s.n_tokens, s.width, s.n_docs, s.flags & ISO_SHARD_MASK);
  if (iso_load_le64(p + AT_TOKENS_AT) != ISO_SHARD_HEADER || iso_load_le64(p + AT_DOCS_AT) != l.docs || iso_load_le64(p + AT_MASK_AT) != l.mask ||
      iso_load_le64(p + AT_SIZE) != l.size)
    return iso_fail(err, ISO_EFORMAT, "%s: the header's offsets do not follow from its counts", what);
  if (l.size != size) {
    iso_fail(err, ISO_EFORMAT, "%s: %zu bytes, but the header says %llu", what, size, (unsigned long long)l.size);
    return iso_hint(err, ISO_EFORMAT, "the file was cut off or added to; build the data again");
  }
  s.tokens = p + ISO_SHARD_HEADER;
  s.docs = p + l.docs;
  s.mask = s.flags & ISO_SHARD_MASK ? p + l.mask : NULL;
  for (uint64_t i = 0; i < s.n_docs; i++) {
    uint64_t at = iso_load_le64(s.docs + 8 * i);
    if (at >= s.n_tokens || (i && at <= iso_load_le64(s.docs + 8 * (i - 1))))
      return iso_fail(err, ISO_EFORMAT, "%s: document %llu starts at token %llu of %llu, out of order", what, (unsigned long long)i,
                      (unsigned long long)at, (unsigned long long)s.n_tokens);
  }
  *out = s;
  return ISO_OK;
}

iso_status iso_shard_read(const iso_shard *s, uint64_t at, int64_t n, int32_t *ids, iso_err *err) {
  if (n < 0 || at > s->n_tokens || (uint64_t)n > s->n_tokens - at)
    return iso_fail(err, ISO_EINVAL, "tokens %llu .. +%lld of a shard that has %llu", (unsigned long long)at, (long long)n,
                    (unsigned long long)s->n_tokens);
  const uint8_t *p = s->tokens + at * s->width;
  uint32_t top = 0;
  for (int64_t i = 0; i < n; i++) {
    uint32_t v = s->width == 2 ? (uint32_t)p[2 * i] | (uint32_t)p[2 * i + 1] << 8 : get32(p + 4 * i);
    ids[i] = (int32_t)v;
    top = v > top ? v : top;
  }
  if (top >= s->vocab) return iso_fail(err, ISO_EFORMAT, "a shard holds token %u, its vocabulary has %u; the file is damaged", top, s->vocab);
  return ISO_OK;
}

iso_status iso_shard_verify(const iso_shard *s, const char *what, iso_err *err) {
  uint64_t h = payload_hash(s->tokens, s->n_tokens * s->width, s->docs, s->n_docs, s->mask, s->n_tokens);
  if (h != s->payload_hash) {
    iso_fail(err, ISO_EFORMAT, "%s: the checksum of the tokens is %016llx, the header says %016llx", what, (unsigned long long)h,
             (unsigned long long)s->payload_hash);
    return iso_hint(err, ISO_EFORMAT, "the file is damaged; build the data again");
  }
  int32_t ids[1024];
  for (uint64_t at = 0; at < s->n_tokens; at += 1024) {
    iso_status st = iso_shard_read(s, at, (int64_t)(s->n_tokens - at < 1024 ? s->n_tokens - at : 1024), ids, err);
    if (st != ISO_OK) return iso_err_prefix(err, st, "%s", what);
  }
  return ISO_OK;
}

struct iso_shard_writer {
  uint32_t vocab, width;
  uint64_t tok_hash, n, cap, n_docs, docs_cap, source_bytes;
  uint8_t *tokens, *mask, *docs;  // owned
  bool begun, continues, masked;
};

iso_status iso_shard_writer_open(int vocab, uint64_t tok_hash, iso_shard_writer **out, iso_err *err) {
  *out = NULL;
  if (vocab < 1 || vocab > ISO_TOK_VOCAB_MAX) return iso_fail(err, ISO_EINVAL, "shards for a vocabulary of %d", vocab);
  iso_shard_writer *w = calloc(1, sizeof *w);
  if (!w) return iso_fail(err, ISO_ENOMEM, "no memory for a shard writer");
  *w = (iso_shard_writer){.vocab = (uint32_t)vocab, .width = vocab <= 65536 ? 2 : 4, .tok_hash = tok_hash};
  *out = w;
  return ISO_OK;
}

void iso_shard_writer_close(iso_shard_writer *w) {
  if (!w) return;
  free(w->tokens);
  free(w->mask);
  free(w->docs);
  free(w);
}

iso_status iso_shard_writer_doc(iso_shard_writer *w, iso_err *err) {
  if (w->n_docs == w->docs_cap) {
    uint64_t cap = w->docs_cap ? w->docs_cap * 2 : 1024;
    uint8_t *p = realloc(w->docs, cap * 8);
    if (!p) return iso_fail(err, ISO_ENOMEM, "no memory for %llu document starts", (unsigned long long)cap);
    w->docs = p;
    w->docs_cap = cap;
  }
  w->begun = true;
  // A document without tokens is replaced by the next.
  if (w->n_docs && iso_load_le64(w->docs + 8 * (w->n_docs - 1)) == w->n) return ISO_OK;
  put64(w->docs + 8 * w->n_docs++, w->n);
  return ISO_OK;
}

iso_status iso_shard_writer_put(iso_shard_writer *w, const int32_t *ids, int64_t n, const uint8_t *counts, iso_err *err) {
  if (n <= 0) return ISO_OK;
  uint64_t need = w->n + (uint64_t)n;
  if (need > w->cap) {
    uint64_t cap = w->cap + w->cap / 2 > need ? w->cap + w->cap / 2 : need;
    cap = (cap + 4095) & ~UINT64_C(4095);
    uint8_t *t = realloc(w->tokens, cap * w->width);
    if (t) w->tokens = t;
    uint8_t *m = realloc(w->mask, cap / 8);
    if (m) w->mask = m;
    if (!t || !m) return iso_fail(err, ISO_ENOMEM, "no memory for a shard of %llu tokens", (unsigned long long)cap);
    memset(w->mask + w->cap / 8, 0, (cap - w->cap) / 8);
    w->cap = cap;
  }
  for (int64_t i = 0; i < n; i++) {
    if (ids[i] < 0 || (uint32_t)ids[i] >= w->vocab) return iso_fail(err, ISO_EINVAL, "token %d for a vocabulary of %u", (int)ids[i], w->vocab);
    uint64_t at = w->n + (uint64_t)i;
    if (w->width == 2) {
      w->tokens[2 * at] = (uint8_t)ids[i];
      w->tokens[2 * at + 1] = (uint8_t)(ids[i] >> 8);
    } else {
      put32(w->tokens + 4 * at, (uint32_t)ids[i]);
    }
    bool count = !counts || counts[i];
    w->masked |= !count;
    if (count) w->mask[at >> 3] |= (uint8_t)(1u << (at & 7));
  }
  w->continues |= w->n == 0 && !w->begun;
  w->begun = true;
  w->n = need;
  return ISO_OK;
}

void iso_shard_writer_bytes(iso_shard_writer *w, uint64_t source_bytes) { w->source_bytes += source_bytes; }
int64_t iso_shard_writer_tokens(const iso_shard_writer *w) { return (int64_t)w->n; }

static iso_status pad_to(iso_out *o, uint64_t at, iso_err *err) {
  static const uint8_t zero[64];
  uint64_t n = at - (uint64_t)iso_out_bytes(o);
  return n ? iso_out_write(o, zero, n, err) : ISO_OK;
}

iso_status iso_shard_writer_flush(iso_shard_writer *w, iso_ctx *c, const char *path, iso_err *err) {
  if (w->n_docs && iso_load_le64(w->docs + 8 * (w->n_docs - 1)) == w->n) w->n_docs--;
  layout l = lay_out(w->n, w->width, w->n_docs, w->masked);
  uint8_t h[ISO_SHARD_HEADER] = "ISOSHARD";
  put32(h + AT_VERSION, ISO_SHARD_VERSION);
  put32(h + AT_WIDTH, w->width);
  put32(h + AT_FLAGS, (w->masked ? (uint32_t)ISO_SHARD_MASK : 0) | (w->continues ? (uint32_t)ISO_SHARD_CONTINUES : 0));
  put32(h + AT_VOCAB, w->vocab);
  put64(h + AT_TOK, w->tok_hash);
  put64(h + AT_TOKENS, w->n);
  put64(h + AT_DOCS, w->n_docs);
  put64(h + AT_BYTES, w->source_bytes);
  put64(h + AT_TOKENS_AT, ISO_SHARD_HEADER);
  put64(h + AT_DOCS_AT, l.docs);
  put64(h + AT_MASK_AT, l.mask);
  put64(h + AT_SIZE, l.size);
  put64(h + AT_PAYLOAD, payload_hash(w->tokens, w->n * w->width, w->docs, w->n_docs, w->masked ? w->mask : NULL, w->n));
  put64(h + AT_HEADER, iso_hash(ISO_HASH_SEED, h, AT_HEADER));
  iso_out *o = NULL;
  ISO_TRY(iso_out_open(c, path, &o, err));
  iso_status st = iso_out_write(o, h, sizeof h, err);
  if (st == ISO_OK && w->n) st = iso_out_write(o, w->tokens, w->n * w->width, err);
  if (st == ISO_OK) st = pad_to(o, l.docs, err);
  if (st == ISO_OK && w->n_docs) st = iso_out_write(o, w->docs, w->n_docs * 8, err);
  if (st == ISO_OK && w->masked) {
    st = pad_to(o, l.mask, err);
    if (st == ISO_OK) st = iso_out_write(o, w->mask, (w->n + 7) / 8, err);
  }
  if (st != ISO_OK) {
    iso_out_abort(o);
    return st;
  }
  ISO_TRY(iso_out_commit(o, err));
  if (w->mask) memset(w->mask, 0, w->cap / 8);
  w->n = w->n_docs = w->source_bytes = 0;
  w->begun = w->continues = w->masked = false;
  return ISO_OK;
}

static iso_status open_file(iso_shards *s, int k, const char *name, iso_shard *out, iso_err *err) {
  char path[4200];
  snprintf(path, sizeof path, "%s/%s", s->dir, name);
  ISO_TRY(iso_map_open(path, &s->maps[k], err));
  ISO_TRY(iso_shard_parse(s->maps[k].data, s->maps[k].size, path, out, err));
  if (out->vocab != (uint32_t)s->vocab || out->tok_hash != s->tok_hash)
    return iso_fail(err, ISO_EFORMAT, "%s: made with another tokenizer (vocabulary %u, hash %016llx) than dataset.json says (%d, %016llx)", path,
                    out->vocab, (unsigned long long)out->tok_hash, s->vocab, (unsigned long long)s->tok_hash);
  return ISO_OK;
}

static iso_status open_all(iso_shards *s, const json_t *j, iso_err *err) {
  int64_t vocab, n;
  const char *hash;
  char *end;
  ISO_TRY(iso_json_get_i64(j, "vocab", "dataset.json", 1, ISO_TOK_VOCAB_MAX, &vocab, err));
  ISO_TRY(iso_json_get_str(j, "tokenizer_hash", "dataset.json", &hash, err));
  ISO_TRY(iso_json_get_i64(json_object_get(j, "train"), "shards", "dataset.json: train", 1, MAX_SHARDS, &n, err));
  s->vocab = (int)vocab;
  s->tok_hash = strtoull(hash, &end, 16);
  if (*end || end == hash) return iso_fail(err, ISO_EFORMAT, "%s/dataset.json: tokenizer_hash \"%.40s\" is not a hexadecimal number", s->dir, hash);
  s->train = calloc((size_t)n, sizeof *s->train);
  s->train_start = calloc((size_t)n + 1, sizeof *s->train_start);
  s->maps = calloc((size_t)n + 1, sizeof *s->maps);
  if (!s->train || !s->train_start || !s->maps) return iso_fail(err, ISO_ENOMEM, "no memory for %lld shards", (long long)n);
  s->n_train = (int)n;
  for (int k = 0; k < s->n_train; k++) {
    char name[32];
    snprintf(name, sizeof name, "train-%05d.bin", k);
    ISO_TRY(open_file(s, k, name, &s->train[k], err));
    s->train_tokens += (int64_t)s->train[k].n_tokens;
    s->train_bytes += (int64_t)s->train[k].source_bytes;
    s->train_docs += (int64_t)s->train[k].n_docs;
    s->train_start[k + 1] = (uint64_t)s->train_tokens;
  }
  ISO_TRY(open_file(s, s->n_train, "val.bin", &s->val, err));
  s->val_tokens = (int64_t)s->val.n_tokens;
  s->val_bytes = (int64_t)s->val.source_bytes;
  s->val_docs = (int64_t)s->val.n_docs;
  return ISO_OK;
}

iso_status iso_shards_open(const char *dir, iso_shards **out, iso_err *err) {
  char path[4200];
  json_t *j;
  *out = NULL;
  snprintf(path, sizeof path, "%s/dataset.json", dir);
  if (!iso_file_exists(path)) {
    iso_fail(err, ISO_EIO, "%s: there is no data set here", path);
    return iso_hint(err, ISO_EIO, "build one with: isoflop data build");
  }
  ISO_TRY(iso_json_load(path, &j, err));
  iso_shards *s = calloc(1, sizeof *s);
  iso_status st = ISO_OK;
  if (s) s->dir = strdup(dir);
  if (!s || !s->dir)
    st = iso_fail(err, ISO_ENOMEM, "%s: no memory", dir);
  else
    st = open_all(s, j, err);
  json_decref(j);
  if (st != ISO_OK) {
    iso_shards_close(s);
    return st;
  }
  *out = s;
  return ISO_OK;
}

void iso_shards_close(iso_shards *s) {
  if (!s) return;
  for (int k = 0; s->maps && k <= s->n_train; k++) iso_map_close(&s->maps[k]);
  free(s->maps);
  free(s->train);
  free(s->train_start);
  free(s->dir);
  free(s);
}

iso_status iso_shards_verify(const iso_shards *s, iso_err *err) {
  char what[4200];
  for (int k = 0; k < s->n_train; k++) {
    snprintf(what, sizeof what, "%s/train-%05d.bin", s->dir, k);
    ISO_TRY(iso_shard_verify(&s->train[k], what, err));
  }
  snprintf(what, sizeof what, "%s/val.bin", s->dir);
  return iso_shard_verify(&s->val, what, err);
}

iso_status iso_shards_tok(const iso_shards *s, iso_tok **out, iso_err *err) {
  ISO_TRY(iso_tok_load(s->dir, out, err));
  if (iso_tok_hash(*out) == s->tok_hash) return ISO_OK;
  iso_fail(err, ISO_EFORMAT, "%s/tokenizer.json has hash %016llx, but the shards beside it were made with %016llx", s->dir,
           (unsigned long long)iso_tok_hash(*out), (unsigned long long)s->tok_hash);
  iso_tok_close(*out);
  *out = NULL;
  return ISO_EFORMAT;
}
