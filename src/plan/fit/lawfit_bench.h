// Times the general fit: each law on synthetic runs of its own.
#ifndef ISO_PLAN_FIT_LAWFIT_BENCH_H
#define ISO_PLAN_FIT_LAWFIT_BENCH_H
#include "plan/fit/lawfit.h"

typedef struct iso_lawfit_bench_opts {
  int64_t rows;  // 0: 20 a parameter
  int64_t resamples;
  double noise;  // of the target's logarithm where the law's objective takes it, else a share of its mean
  uint64_t seed;
} iso_lawfit_bench_opts;
// 20 rows a parameter, 100 resamples, 0.5%.
iso_lawfit_bench_opts iso_lawfit_bench_opts_default(void);

// Runs of a law spread evenly in logarithms over typical ranges of its inputs. Parameters are those of its first published set (*set gets
// its name), else those from which fits start (*set NULL); p gets them. ISO_ENUM when no such parameters define the law. Close with
// iso_law_data_close.
iso_status iso_lawfit_synthetic(const iso_law *law, const iso_lawfit_bench_opts *o, iso_law_data *out, double *p, const char **set, iso_err *err);
// One law: {"bench": "fit", "law", "set", "params", "rows", "starts", "fit_s", "refit_s", "resamples", "threads", "rmse", "noise_sd"}. Published
// sets are not among the starts. *out is owned by the caller.
iso_status iso_lawfit_bench(iso_ctx *c, const iso_law *law, const iso_lawfit_bench_opts *o, json_t **out, iso_err *err);
#endif
