// A pool of worker threads that runs numbered tasks; the caller is worker 0.
#ifndef ISO_BASE_POOL_H
#define ISO_BASE_POOL_H
#include "base/status.h"

enum { ISO_POOL_MAX = 256 };
typedef struct iso_pool iso_pool;

// One task. `worker` is in [0, threads): use it to pick scratch memory, never to decide what is computed,
// so that results do not depend on the number of threads.
typedef void (*iso_task_fn)(void *arg, int64_t task, int worker);

iso_status iso_pool_open(int threads, iso_pool **out, iso_err *err);
void iso_pool_close(iso_pool *p);
int iso_pool_threads(const iso_pool *p);
// Runs fn(arg, 0..n-1) and returns when all are done. Not re-entrant; p may be NULL (runs inline).
void iso_pool_run(iso_pool *p, int64_t n, iso_task_fn fn, void *arg);
#endif
