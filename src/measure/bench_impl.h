// Private to bench*.c.
#ifndef ISO_MEASURE_BENCH_IMPL_H
#define ISO_MEASURE_BENCH_IMPL_H
#include "measure/bench.h"

// Hands on a new object and drops it; NULL is ISO_ENOMEM.
iso_status iso_bench_put(iso_bench_line_fn line, void *arg, json_t *j, iso_err *err);
#endif
