// From text to a folder of shards in one call: read, split, train or load the tokenizer, encode, write.
#ifndef ISO_TEXT_DATA_H
#define ISO_TEXT_DATA_H
#include "text/shard.h"
#include "text/source.h"

typedef struct iso_data_opts {
  const char *const *paths;  // text files; none and !docs: GCIDE from Debian's package
  int n_paths;
  const char *gcide_dir;  // NULL: where the package puts it
  const char *out_dir;    // created
  const char *tokenizer;  // a tokenizer.json (or its folder) to use; NULL: train one
  int vocab;              // entries when training one; 0: 8192
  size_t tok_max_bytes;   // iso_tok_train_opts.max_bytes
  bool by_line;           // iso_tok_train_opts.by_line
  double val_frac;        // held out; 0: 0.02
  int64_t shard_tokens;   // at most so many tokens a training shard; 0: 32 Mi
  iso_source_opts source;
} iso_data_opts;

typedef struct iso_data_report {
  int64_t train_tokens, val_tokens, train_docs, val_docs;
  int64_t train_bytes, val_bytes;  // of source text
  double bytes_per_tok;            // training text: bytes / tokens, separators included
  int vocab, n_train_shards;
  uint64_t tok_hash;
  double read_s, tok_train_s, encode_s;  // wall seconds of each part
} iso_data_report;

// Builds the folder. The tokenizer learns from the training part alone. With more than one document in a part, <|endoftext|> opens
// every document and closes the last one; a single document has none. Text is never parsed for special tokens. Shards are written before
// dataset.json, and dataset.json last, so that a folder without it is an unfinished one.
iso_status iso_data_build(iso_ctx *c, const iso_data_opts *o, iso_data_report *rep, iso_err *err);
#endif
