// Token shards: memory-mapped files of token ids with their documents, an optional loss mask and checksums.
#ifndef ISO_TEXT_SHARD_H
#define ISO_TEXT_SHARD_H
#include "base/ctx.h"
#include "text/bytes.h"
#include "text/tok.h"

// Layout, little-endian. Offsets are from the start of the file and multiples of 64; gaps are zero.
//   0  "ISOSHARD"      8  u32 version = 1    12  u32 token width (2 or 4)   16  u32 flags            20  u32 vocabulary
//  24  u64 iso_tok_hash                      32  u64 tokens                 40  u64 documents        48  u64 source bytes
//  56  u64 tokens at   64  u64 documents at  72  u64 mask at (0: none)      80  u64 size of the file
//  88  u64 payload hash                      96  zero                      120  u64 iso_hash of bytes 0 .. 120
// tokens[n]; documents: u64 start[n_docs] (index of a document's first token, its <|endoftext|> when
// it has one; strictly rising); mask: 1 bit a token, low bit first, 1 = this
// token counts as a target. The sections lie in this order without holes but the padding. Payload hash: iso_hash over the tokens, chained over
// the documents, chained over the mask.
enum { ISO_SHARD_VERSION = 1, ISO_SHARD_HEADER = 128, ISO_SHARD_MASK = 1, ISO_SHARD_CONTINUES = 2 };
// ISO_SHARD_CONTINUES: the first document began in the shard before.

typedef struct iso_shard {
  const uint8_t *data;  // borrowed: the whole file
  size_t size;
  uint32_t width, flags, vocab;
  uint64_t tok_hash, n_tokens, n_docs, source_bytes, payload_hash;
  const uint8_t *tokens, *docs, *mask;  // into data; mask may be NULL
} iso_shard;

// Checks a shard in memory: magic, version, header hash, sizes and offsets without overflow, document starts. Does not read the tokens.
// `what` names it in messages; every failure is ISO_EFORMAT.
iso_status iso_shard_parse(const uint8_t *data, size_t size, const char *what, iso_shard *out, iso_err *err);
// Reads all of it: payload hash, every id below the vocabulary.
iso_status iso_shard_verify(const iso_shard *s, const char *what, iso_err *err);
// ids[i] = token at + i, i in [0, n); at + n <= n_tokens. ISO_EFORMAT when an id is not below the vocabulary.
iso_status iso_shard_read(const iso_shard *s, uint64_t at, int64_t n, int32_t *ids, iso_err *err);
static inline bool iso_shard_counts(const iso_shard *s, uint64_t i) { return !s->mask || ((s->mask[i >> 3] >> (i & 7)) & 1); }

// Collects the tokens of one shard in memory and writes it at once, atomically.
typedef struct iso_shard_writer iso_shard_writer;
iso_status iso_shard_writer_open(int vocab, uint64_t tok_hash, iso_shard_writer **out, iso_err *err);
void iso_shard_writer_close(iso_shard_writer *w);
// The next token begins a document. Call before the first tokens unless the first document continues from an earlier shard.
iso_status iso_shard_writer_doc(iso_shard_writer *w, iso_err *err);
// Appends n ids; counts (n of 0 or 1, NULL: all count) is the loss mask.
iso_status iso_shard_writer_put(iso_shard_writer *w, const int32_t *ids, int64_t n, const uint8_t *counts, iso_err *err);
void iso_shard_writer_bytes(iso_shard_writer *w, uint64_t source_bytes);  // adds to the count of source bytes
int64_t iso_shard_writer_tokens(const iso_shard_writer *w);
// Writes to `path` and empties the writer for the next shard (whose first document continues unless iso_shard_writer_doc is called).
iso_status iso_shard_writer_flush(iso_shard_writer *w, iso_ctx *c, const char *path, iso_err *err);

// A folder: train-00000.bin .., val.bin, dataset.json, tokenizer.json and tokenizer_config.json.
typedef struct iso_shards {
  char *dir;              // owned
  iso_shard *train;       // owned array
  uint64_t *train_start;  // owned: n_train + 1; index of each shard's first token in the training stream
  int n_train;
  iso_shard val;
  int64_t train_tokens, val_tokens, train_bytes, val_bytes, train_docs, val_docs;
  int vocab;
  uint64_t tok_hash;
  struct iso_map *maps;  // owned: n_train + 1, the last is val
} iso_shards;
// Opens and checks every shard and that they agree with each other. ISO_EFORMAT names the file that is wrong.
iso_status iso_shards_open(const char *dir, iso_shards **out, iso_err *err);
void iso_shards_close(iso_shards *s);
iso_status iso_shards_verify(const iso_shards *s, iso_err *err);
// The tokenizer that lies beside the shards; ISO_EFORMAT when its hash is another.
iso_status iso_shards_tok(const iso_shards *s, iso_tok **out, iso_err *err);

// A target that does not count (masked or padding).
enum { ISO_TARGET_NONE = -1 };
// Training windows. inputs[B*T], targets[B*T] (row-major, [b][t]): target = next token, ISO_TARGET_NONE where masked.
// Row b of step s is window number s * B + b of an endless sequence: in each epoch every window of T tokens is drawn exactly once, in an order
// that is a Feistel permutation keyed by (seed, epoch), and window borders shift by a phase in [0, T) keyed by the same. So resuming needs the step
// alone, and nothing is stored. ISO_EINVAL when the training text has fewer than T + 1 tokens.
iso_status iso_batch_fill(const iso_shards *s, uint64_t seed, int64_t step, int64_t B, int64_t T, int32_t *inputs, int32_t *targets, iso_err *err);
// The same from window number `first` on, for runs whose B or T changes.
iso_status iso_batch_at(const iso_shards *s, uint64_t seed, int64_t first, int64_t B, int64_t T, int32_t *inputs, int32_t *targets, iso_err *err);
// Windows in an epoch at length T (0: too few tokens), and the first token of window number w of the sequence above.
int64_t iso_batch_windows(const iso_shards *s, int64_t T);
int64_t iso_batch_start(const iso_shards *s, uint64_t seed, int64_t w, int64_t T);

// Held-out windows in order: window w covers inputs val[w*T .. w*T+T) and their next tokens; what lies past the end is padding (input 0, target
// ISO_TARGET_NONE). *counted (may be NULL): targets that count. Windows 0 .. iso_val_windows-1 score every held-out token but the first once.
int64_t iso_val_windows(const iso_shards *s, int64_t T);
iso_status iso_val_fill(const iso_shards *s, int64_t first, int64_t B, int64_t T, int32_t *inputs, int32_t *targets, int64_t *counted, iso_err *err);
#endif
