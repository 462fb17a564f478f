// Times bootstrap refits of the Chinchilla form on one core.
#ifndef ISO_PLAN_FIT_FIT_BENCH_H
#define ISO_PLAN_FIT_FIT_BENCH_H
#include "plan/fit/fit.h"

typedef struct iso_fit_bench_opts {
  const char *csv;        // borrowed path
  int64_t drop_highest;   // 5 for Epoch's file
  const char *resamples;  // borrowed path of a resample file; NULL: `count` resamples drawn from `seed`
  int64_t count;
  uint64_t seed;
  int repeats;      // times the whole batch is fitted, 1 or more
  bool objectives;  // put every refit's objective into the output
} iso_fit_bench_opts;

// A resample file is text: one resample a line, as many 0-based row indices as there are points, separated by blanks or commas.
// Rows are counted in ascending order of loss, after the drop. Blank lines and lines that start with # are skipped.
// *out (owned by the caller): fits, points, fits_per_s and ms_per_fit of the fastest repeat, seconds (of every repeat), cpu_s, threads (1),
// iters_per_fit, evals_per_fit, unconverged, grid_s (the full fit's grid of starts), starts, objective, params, and `objectives` if asked.
// Errors: those of the CSV reader and of iso_fit_run; ISO_EFORMAT with the line of a bad resample.
iso_status iso_fit_bench(iso_ctx *c, const iso_fit_bench_opts *o, json_t **out, iso_err *err);
#endif
