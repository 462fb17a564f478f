// Builds a folder of shards from text.
#include "text/data.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "text/pretok.h"

enum { DEFAULT_VOCAB = 8192, DEFAULT_SHARD = 32 << 20, BATCH = 16 << 20 };

// The stream of tokens of one part, cut into shards.
typedef struct stream {
  iso_ctx *c;
  const char *dir;
  iso_shard_writer *w;  // owned
  int64_t limit;        // tokens a shard; 0: one file
  int64_t tokens;
  int shards;
  bool val;
} stream;

static iso_status flush(stream *s, iso_err *err) {
  char path[4200];
  if (s->val)
    snprintf(path, sizeof path, "%s/val.bin", s->dir);
  else
    snprintf(path, sizeof path, "%s/train-%05d.bin", s->dir, s->shards);
  s->shards++;
  return iso_shard_writer_flush(s->w, s->c, path, err);
}

static iso_status put(stream *s, const int32_t *ids, int64_t n, iso_err *err) {
  s->tokens += n;
  while (n > 0) {
    if (s->limit && iso_shard_writer_tokens(s->w) >= s->limit) ISO_TRY(flush(s, err));
    int64_t room = s->limit ? s->limit - iso_shard_writer_tokens(s->w) : n, k = n < room ? n : room;
    ISO_TRY(iso_shard_writer_put(s->w, ids, k, NULL, err));
    ids += k;
    n -= k;
  }
  return ISO_OK;
}

// Stretches of documents that are encoded together.
typedef struct round {
  iso_bytes *text;  // owned
  bool *first;      // owned: the stretch begins a document
  int64_t *ends;    // owned
  int64_t n, cap;
  iso_ids ids;
} round_t;

static iso_status round_add(round_t *r, iso_bytes text, bool first, iso_err *err) {
  if (r->n == r->cap) {
    int64_t cap = r->cap ? r->cap * 2 : 1024;
    iso_bytes *t = realloc(r->text, (size_t)cap * sizeof *t);
    if (t) r->text = t;
    bool *q = realloc(r->first, (size_t)cap * sizeof *q);
    if (q) r->first = q;
    int64_t *e = realloc(r->ends, (size_t)cap * sizeof *e);
    if (e) r->ends = e;
    if (!t || !q || !e) return iso_fail(err, ISO_ENOMEM, "no memory for a list of %lld documents", (long long)cap);
    r->cap = cap;
  }
  r->text[r->n] = text;
  r->first[r->n++] = first;
  return ISO_OK;
}

// Encodes what the round holds and hands it to the stream; eot < 0: no separators.
static iso_status round_run(round_t *r, stream *s, const iso_tok *t, int32_t eot, iso_err *err) {
  if (iso_cancelled(s->c)) return iso_fail(err, ISO_ECANCEL, "cancelled while encoding");
  r->ids.n = 0;
  ISO_TRY(iso_tok_encode_many(s->c, t, r->text, r->n, &r->ids, r->ends, err));
  int64_t from = 0;
  for (int64_t i = 0; i < r->n; from = r->ends[i++]) {
    // A full shard is closed before a document is booked into it.
    if (s->limit && iso_shard_writer_tokens(s->w) >= s->limit) ISO_TRY(flush(s, err));
    if (r->first[i]) ISO_TRY(iso_shard_writer_doc(s->w, err));
    if (r->first[i] && eot >= 0) ISO_TRY(put(s, &eot, 1, err));
    iso_shard_writer_bytes(s->w, r->text[i].n);
    ISO_TRY(put(s, r->ids.p + from, r->ends[i] - from, err));
  }
  r->n = 0;
  return ISO_OK;
}

static iso_status encode_part(stream *s, const iso_tok *t, const iso_bytes *docs, int64_t n, iso_err *err) {
  round_t r = {0};
  iso_status st = ISO_OK;
  int32_t eot = n > 1 ? iso_tok_eot(t) : -1;
  size_t fill = 0, size = BATCH;
  for (int64_t d = 0; d < n; d++) {
    for (size_t at = 0, k; at < docs[d].n; at += k) {
      size_t left = docs[d].n - at;
      k = left <= size - fill ? left : iso_pretok_cut(docs[d].p + at, left, size - fill);
      ISO_TRYG(round_add(&r, (iso_bytes){docs[d].p + at, k}, at == 0, err));
      fill += k;
      if (fill >= size) {
        ISO_TRYG(round_run(&r, s, t, eot, err));
        fill = 0;
      }
    }
  }
  if (r.n) ISO_TRYG(round_run(&r, s, t, eot, err));
  if (eot >= 0) ISO_TRYG(put(s, &eot, 1, err));
  ISO_TRYG(flush(s, err));
done:
  free(r.text);
  free(r.first);
  free(r.ends);
  iso_ids_free(&r.ids);
  return st;
}

static iso_status write_part(iso_ctx *c, const iso_data_opts *o, const iso_tok *t, const iso_split *sp, bool val, iso_data_report *rep,
                             iso_err *err) {
  stream s = {.c = c, .dir = o->out_dir, .limit = val ? 0 : o->shard_tokens ? o->shard_tokens : DEFAULT_SHARD, .val = val};
  ISO_TRY(iso_shard_writer_open(iso_tok_vocab(t), iso_tok_hash(t), &s.w, err));
  iso_status st = encode_part(&s, t, val ? sp->val : sp->train, val ? sp->n_val : sp->n_train, err);
  iso_shard_writer_close(s.w);
  *(val ? &rep->val_tokens : &rep->train_tokens) = s.tokens;
  if (!val) rep->n_train_shards = s.shards;
  return st;
}

static json_t *hex(uint64_t v) {
  char s[24];
  snprintf(s, sizeof s, "%016llx", (unsigned long long)v);
  return json_string(s);
}

static iso_status write_manifest(iso_ctx *c, const iso_data_opts *o, const iso_docs *d, const iso_data_report *r, iso_err *err) {
  json_t *sources = json_array();
  for (int i = 0; i < d->n_src; i++) {
    const iso_source *s = &d->src[i];
    json_t *name = json_string(s->name);  // NULL when the name is not UTF-8
    json_array_append_new(sources, json_pack("{s:o, s:I, s:I, s:o}", "name", name ? name : json_null(), "bytes", (json_int_t)s->bytes, "documents",
                                             (json_int_t)s->n_docs, "hash", hex(s->hash)));
  }
  json_t *train = json_pack("{s:i, s:I, s:I, s:I}", "shards", r->n_train_shards, "tokens", (json_int_t)r->train_tokens, "documents",
                            (json_int_t)r->train_docs, "bytes", (json_int_t)r->train_bytes);
  json_t *val =
      json_pack("{s:I, s:I, s:I}", "tokens", (json_int_t)r->val_tokens, "documents", (json_int_t)r->val_docs, "bytes", (json_int_t)r->val_bytes);
  json_t *j = json_pack("{s:s, s:i, s:s, s:o, s:i, s:f, s:s, s:o, s:o, s:o}", "format", "isoflop-dataset", "version", 1, "tokenizer",
                        "tokenizer.json", "tokenizer_hash", hex(r->tok_hash), "vocab", r->vocab, "val_frac", o->val_frac > 0 ? o->val_frac : 0.02,
                        "split", d->n == 1 ? "tail" : "hash", "train", train, "val", val, "sources", sources);
  if (!j) return iso_fail(err, ISO_ENOMEM, "no memory for dataset.json");
  char path[4200];
  snprintf(path, sizeof path, "%s/dataset.json", o->out_dir);
  iso_status st = iso_json_save(c, path, j, err);
  json_decref(j);
  return st;
}

// A data set that was here before ends with its manifest, and shards beyond the new ones would only confuse.
static void forget_manifest(const char *dir) {
  char path[4200];
  snprintf(path, sizeof path, "%s/dataset.json", dir);
  (void)unlink(path);
}
static void forget_shards(const char *dir, int from) {
  char path[4200];
  do snprintf(path, sizeof path, "%s/train-%05d.bin", dir, from++);
  while (unlink(path) == 0);
}

static iso_status get_tokenizer(iso_ctx *c, const iso_data_opts *o, const iso_split *sp, iso_tok **out, iso_err *err) {
  if (o->tokenizer) return iso_tok_load(o->tokenizer, out, err);
  iso_tok_train_opts to = {
      .vocab = o->vocab ? o->vocab : DEFAULT_VOCAB, .specials = ISO_TOK_SPECIALS, .max_bytes = o->tok_max_bytes, .by_line = o->by_line};
  return iso_tok_train(c, &to, sp->train, sp->n_train, out, err);
}

iso_status iso_data_build(iso_ctx *c, const iso_data_opts *o, iso_data_report *rep, iso_err *err) {
  iso_docs *d = NULL;
  iso_split sp = {0};
  iso_tok *t = NULL;
  iso_data_report r = {0};
  double t0 = iso_now_s(c);
  if (strlen(o->out_dir) > 4000) return iso_fail(err, ISO_EINVAL, "the path of the folder is too long: %.100s..", o->out_dir);
  iso_note(c, ISO_EVENT_PHASE, "data", "reading text");
  iso_status st =
      o->n_paths ? iso_docs_open(c, o->paths, o->n_paths, &o->source, &d, err) : iso_docs_open_gcide(c, o->gcide_dir, &o->source, &d, err);
  if (st != ISO_OK) return st;
  ISO_TRYG(iso_split_make(d, o->val_frac > 0 ? o->val_frac : 0.02, &sp, err));
  ISO_TRYG(iso_mkdirs(o->out_dir, err));
  r.train_docs = sp.n_train, r.val_docs = sp.n_val;
  r.train_bytes = (int64_t)sp.train_bytes, r.val_bytes = (int64_t)sp.val_bytes;
  double t1 = iso_now_s(c);
  if (!o->tokenizer) iso_note(c, ISO_EVENT_PHASE, "data", "training the tokenizer");
  ISO_TRYG(get_tokenizer(c, o, &sp, &t, err));
  if (iso_tok_eot(t) < 0 && d->n > 1) {
    st = iso_fail(err, ISO_EINVAL, "%s: this tokenizer has no <|endoftext|>, which must separate the %lld documents", o->tokenizer, (long long)d->n);
    goto done;
  }
  double t2 = iso_now_s(c);
  iso_note(c, ISO_EVENT_PHASE, "data", "encoding");
  forget_manifest(o->out_dir);
  ISO_TRYG(iso_tok_save_hf(c, t, o->out_dir, err));
  ISO_TRYG(write_part(c, o, t, &sp, false, &r, err));
  ISO_TRYG(write_part(c, o, t, &sp, true, &r, err));
  forget_shards(o->out_dir, r.n_train_shards);
  r.vocab = iso_tok_vocab(t);
  r.tok_hash = iso_tok_hash(t);
  r.bytes_per_tok = (double)r.train_bytes / (double)r.train_tokens;
  ISO_TRYG(write_manifest(c, o, d, &r, err));
  r.read_s = t1 - t0, r.tok_train_s = t2 - t1, r.encode_s = iso_now_s(c) - t2;
  if (rep) *rep = r;
done:
  iso_tok_close(t);
  iso_split_free(&sp);
  iso_docs_close(d);
  return st;
}
