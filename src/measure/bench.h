// The measurements behind `isoflop bench`: matrix products, training steps, tokenizer, fit; one JSON object per line.
#ifndef ISO_MEASURE_BENCH_H
#define ISO_MEASURE_BENCH_H
#include "base/json.h"
#include "kern/kern.h"
#include "plan/fit/fit_bench.h"

// Takes one object (borrowed for the call). Anything but ISO_OK ends the bench with that status.
typedef iso_status (*iso_bench_line_fn)(void *arg, json_t *line, iso_err *err);

typedef struct iso_bench_gemm_opts {
  iso_precision prec;
  int64_t max;     // largest square; 0: 4096
  double seconds;  // spent on each size and way to share; 0: 0.5
} iso_bench_gemm_opts;
// One line a square (1024, 2048, 4096 up to max) and then the products of a training step of the 10M, 50M and 124M shapes
// ({"bench": "gemm", "m", "n", "k", "precision", "our_flop_per_s", "library_flop_per_s"}), last a line with gemm_peak_flop_per_s.
// bf16 where the CPU has none is emulated; the lines then say "emulated": true and have no library rate.
iso_status iso_bench_gemm(iso_ctx *c, const iso_bench_gemm_opts *o, iso_bench_line_fn line, void *arg, iso_err *err);

typedef struct iso_bench_train_opts {
  const char *model;  // 10m, 50m, 124m, gpt2-124m or a shape, see iso_config_parse
  iso_precision prec;
  int64_t batch, seq;  // 0: of the bench table, else 8 and the model's
  int64_t steps;       // timed; 0: 9
  int64_t warmup;      // untimed; 0: 2
  bool profile;        // add seconds by op of one more step
} iso_bench_train_opts;
// AdamW, clip 1.0, random ids that depend on position alone. The GEMM peak is taken before, between and after the timed steps, its median
// judges them. One line: bench, model, params, batch, seq, precision, emulated, threads, cpu, kernels, steps, tok_per_s (of the median step),
// model_flop_per_s (6 x params x tokens + causal attention), exec_flop_per_s, gemm_peak_flop_per_s, gemm_peaks, mfu,
// step_s {median, min, max}, mem_bytes, loss, and `profile` [{op, seconds, share, calls}] when asked.
iso_status iso_bench_train(iso_ctx *c, const iso_bench_train_opts *o, iso_bench_line_fn line, void *arg, iso_err *err);

typedef struct iso_bench_tokenizer_opts {
  const char *file;  // any text
  int vocab;         // 0: 8192
  int repeats;       // 0: 3
  const char *out;   // an existing folder that gets the tokenizer's files, so that peers encode with the same merges; NULL: none
} iso_bench_tokenizer_opts;
// Trains on the file by lines without special tokens, as Hugging Face's Tokenizer.train(files), and encodes the file as one document. Lines:
// phase "train" (context's threads) and "encode" at 1 thread and at the context's: threads, seconds (median), seconds_min, seconds_max,
// mb_per_s (10^6 bytes, of the median), tokens, vocab, bytes, ids_crc32 (zlib's CRC-32 of the ids as little-endian u32).
iso_status iso_bench_tokenizer(iso_ctx *c, const iso_bench_tokenizer_opts *o, iso_bench_line_fn line, void *arg, iso_err *err);

// iso_fit_bench, its lists spread over lines of their own: {"resample": i, "objective": f, ...} each, then the summary.
iso_status iso_bench_fit(iso_ctx *c, const iso_fit_bench_opts *o, iso_bench_line_fn line, void *arg, iso_err *err);
#endif
