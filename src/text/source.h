// Documents from files: plain text, JSON lines, gz, zst, standard input and Debian's GCIDE dictionary; and the hold-out split.
#ifndef ISO_TEXT_SOURCE_H
#define ISO_TEXT_SOURCE_H
#include "base/ctx.h"
#include "text/bytes.h"

typedef enum iso_source_format {
  ISO_SOURCE_AUTO,  // .jsonl or .ndjson (before .gz or .zst) is JSON lines, else plain text; compression is known by its magic bytes
  ISO_SOURCE_TEXT,
  ISO_SOURCE_JSONL
} iso_source_format;

typedef struct iso_source_opts {
  size_t max_bytes;  // stop after so many bytes of text over all files; 0: no limit
  iso_source_format format;
} iso_source_opts;

// A file that was read, for the record.
typedef struct iso_source {
  char *name;      // owned; path as given, "-" or "gcide"
  uint64_t bytes;  // of text taken
  uint64_t hash;   // iso_hash chained over its documents
  int64_t n_docs;
  bool plain;  // plain text: one document
} iso_source;

// Documents: borrowed ranges into maps and buffers that this owns.
typedef struct iso_docs {
  iso_bytes *doc;  // owned array of n
  int64_t n;
  size_t bytes;     // sum of lengths
  iso_source *src;  // owned array of n_src
  int n_src;
  struct iso_docs_mem *mem;  // owned
} iso_docs;

// Reads files in order. A plain file is one document (a map of the file: 10 GB of text need no memory of their own). A line of JSON
// lines is one document, its string "text"; empty lines are skipped. gz and zst are unpacked into memory, and into an unnamed file in
// $TMPDIR (/var/tmp) from 256 MiB on. "-" is standard input. Empty documents are dropped. ISO_EINVAL when there is no text at all.
iso_status iso_docs_open(iso_ctx *c, const char *const *paths, int n, const iso_source_opts *o, iso_docs **out, iso_err *err);
// The GNU Collaborative International Dictionary of English as Debian's dict-gcide installs it: one document an entry, in the order of the
// file. `dir` NULL: /usr/share/dictd. When it is missing the hint says how to install it.
iso_status iso_docs_open_gcide(iso_ctx *c, const char *dir, const iso_source_opts *o, iso_docs **out, iso_err *err);
// Documents that the caller owns and keeps until iso_docs_close.
iso_status iso_docs_wrap(const iso_bytes *doc, int64_t n, const char *name, iso_docs **out, iso_err *err);
void iso_docs_close(iso_docs *d);

// A split of documents into training and held-out parts, both borrowed from the iso_docs.
typedef struct iso_split {
  iso_bytes *train, *val;  // owned arrays
  int64_t n_train, n_val;
  size_t train_bytes, val_bytes;
} iso_split;
// One document: its last `frac` (0 < frac < 1) of bytes are held out: training gets exactly floor(bytes * (1 - frac)) bytes.
// Several: document i is held out when the hash of i is below frac, and at least one each way. Why a hash of the index: a tail is biased
// when files are sorted (a dictionary's last 2% begins with W to Z); the hash of the index depends on nothing else (no seed, no threads),
// stays the same when documents are appended, and every document has the same chance.
iso_status iso_split_make(const iso_docs *d, double frac, iso_split *out, iso_err *err);
void iso_split_free(iso_split *s);
#endif
