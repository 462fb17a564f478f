// Byte-level BPE tokenizer: training, tokenizer.json, encoding and decoding of any bytes.
#ifndef ISO_TEXT_TOK_H
#define ISO_TEXT_TOK_H
#include "base/ctx.h"
#include "base/str.h"
#include "text/bytes.h"

// Ids of a tokenizer that we train, for a vocabulary of V entries with special tokens:
//   0 .. 255          the bytes, in the order of GPT-2's printable alphabet ('!'..'~', 0xA1..0xAC, 0xAE..0xFF, then the other bytes)
//   256 .. V-34       the products of the merges, in order of training; that is V - 33 - 256 merges
//   V-33              <|endoftext|>
//   V-32 .. V-1       <|reserved_0|> .. <|reserved_31|>
// A text with too few distinct pairs ends training early, and V is smaller. As in Hugging Face's trainer a pair whose joined bytes
// are an entry already becomes a merge without a new entry (rare: runs of one character), so there may be more merges than products.
enum { ISO_TOK_RESERVED = 32, ISO_TOK_SPECIALS = 33, ISO_TOK_VOCAB_MAX = 1 << 20 };

typedef struct iso_tok iso_tok;  // immutable once made: any number of threads may use one

typedef struct iso_tok_train_opts {
  int vocab;         // entries wanted, special tokens included: 256 + specials .. ISO_TOK_VOCAB_MAX
  int specials;      // ISO_TOK_SPECIALS, or 0 for comparisons with peers
  size_t max_bytes;  // learn from about this many bytes, taken evenly over the whole text; 0: all
  bool by_line;      // every line (with its '\n') is a text of its own, as Hugging Face's Tokenizer.train(files) reads files;
                     // false: every document is one text, as its train_from_iterator
} iso_tok_train_opts;

// Learns merges from n documents: O(N log M) with a lazily updated priority queue of pair counts over linked symbols (Zouhar et al.
// 2023, "A Formal Perspective on Byte-Pair Encoding"). Highest count first, then the smaller pair of ids, as Hugging Face's trainer.
// Counting runs on the pool; the result does not depend on the number of threads. ISO_ECANCEL when the context is cancelled.
iso_status iso_tok_train(iso_ctx *c, const iso_tok_train_opts *o, const iso_bytes *docs, int64_t n, iso_tok **out, iso_err *err);

// Reads a Hugging Face tokenizer.json (path of the file or of its folder). Takes byte-level BPE with the GPT-2 expression and no prefix
// space; anything else is ISO_EUNSUP with what was found, and malformed files are ISO_EFORMAT.
iso_status iso_tok_load(const char *path, iso_tok **out, iso_err *err);
// The same from memory; `what` names it in messages.
iso_status iso_tok_parse(const char *json, size_t n, const char *what, iso_tok **out, iso_err *err);
// Writes tokenizer.json and tokenizer_config.json into folder `dir` (which exists) such that transformers' AutoTokenizer opens them.
iso_status iso_tok_save_hf(iso_ctx *c, const iso_tok *t, const char *dir, iso_err *err);
void iso_tok_close(iso_tok *t);

int iso_tok_vocab(const iso_tok *t);       // entries; every id is in [0, vocab)
int64_t iso_tok_merges(const iso_tok *t);  // merges
int iso_tok_eot(const iso_tok *t);         // id of <|endoftext|>, or -1
uint64_t iso_tok_hash(const iso_tok *t);   // of entries, merges and special tokens: equal hashes, equal ids
bool iso_tok_is_special(const iso_tok *t, int id);
// The bytes of one entry (a special token: its name); false when id is not in [0, vocab) or has no entry.
bool iso_tok_piece(const iso_tok *t, int id, const uint8_t **bytes, size_t *n);
// The id of a special token by its name, or -1.
int iso_tok_special(const iso_tok *t, const char *name);
// Merge k in [0, merges): the pair and its product.
void iso_tok_merge(const iso_tok *t, int64_t k, int32_t *a, int32_t *b, int32_t *product);

// An encoder: a tokenizer and a bounded cache (some 9 MB) of pieces already seen. One thread at a time; ids never depend on the cache.
typedef struct iso_tok_enc iso_tok_enc;
iso_status iso_tok_enc_open(const iso_tok *t, iso_tok_enc **out, iso_err *err);
void iso_tok_enc_close(iso_tok_enc *e);
// Appends the ids of n bytes to *ids. With `parse_specials` the names of special tokens in the text become their ids (longest first);
// without, they are text like any other: so for training data and for prompts of strangers.
iso_status iso_tok_enc_run(iso_tok_enc *e, const void *bytes, size_t n, bool parse_specials, iso_ids *ids, iso_err *err);

// One text, without a cache to set up: for prompts.
iso_status iso_tok_encode(const iso_tok *t, const void *bytes, size_t n, bool parse_specials, iso_ids *ids, iso_err *err);
// Many documents over the pool, special tokens not parsed. Appends to *ids document after document with nothing between; ends[i] (n of them)
// becomes ids->n after document i. Long documents are cut at places that change no id, so one document uses all threads too.
iso_status iso_tok_encode_many(iso_ctx *c, const iso_tok *t, const iso_bytes *docs, int64_t n, iso_ids *ids, int64_t *ends, iso_err *err);
// Appends the bytes of n ids to *out; special tokens give their names. An id that is not in the vocabulary is ISO_EINVAL.
iso_status iso_tok_decode(const iso_tok *t, const int32_t *ids, int64_t n, iso_str *out, iso_err *err);
#endif
