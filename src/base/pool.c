// Workers that spin briefly, then sleep on a futex: kernels of tens of microseconds are the common case.
#include "base/pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define CPU_RELAX() __builtin_ia32_pause()
#else
#define CPU_RELAX() ((void)0)
#endif

typedef struct worker {
  pthread_t thread;
  iso_pool *pool;
  int index;
} worker;

// A job is published by bumping `epoch`; each worker takes tasks from `next` until `n`, then bumps `idle`.
struct iso_pool {
  int threads;
  _Alignas(64) atomic_uint epoch;
  _Alignas(64) atomic_llong next;
  _Alignas(64) atomic_int idle;
  _Alignas(64) atomic_int sleepers;
  atomic_int quit;
  int64_t n;
  iso_task_fn fn;
  void *arg;
  worker *w;  // owned
};

enum { SPIN = 20000 };

static void futex_wait(atomic_uint *a, unsigned seen) { syscall(SYS_futex, a, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0); }
static void futex_wake(atomic_uint *a) { syscall(SYS_futex, a, FUTEX_WAKE_PRIVATE, ISO_POOL_MAX, NULL, NULL, 0); }

static void take_tasks(iso_pool *p, int worker_index) {
  for (;;) {
    int64_t t = atomic_fetch_add_explicit(&p->next, 1, memory_order_acq_rel);
    if (t >= p->n) return;
    p->fn(p->arg, t, worker_index);
  }
}

static void *worker_main(void *arg) {
  worker *w = arg;
  iso_pool *p = w->pool;
  unsigned seen = 0;
  for (;;) {
    int spin = 0;
    while (atomic_load_explicit(&p->epoch, memory_order_acquire) == seen) {
      if (++spin < SPIN) {
        CPU_RELAX();
        continue;
      }
      atomic_fetch_add(&p->sleepers, 1);
      if (atomic_load(&p->epoch) == seen) futex_wait(&p->epoch, seen);
      atomic_fetch_sub(&p->sleepers, 1);
    }
    seen++;
    if (atomic_load(&p->quit)) return NULL;
    take_tasks(p, w->index);
    atomic_fetch_add_explicit(&p->idle, 1, memory_order_release);
  }
}

iso_status iso_pool_open(int threads, iso_pool **out, iso_err *err) {
  *out = NULL;
  if (threads < 1 || threads > ISO_POOL_MAX)
    return iso_fail(err, ISO_EINVAL, "thread pool: %d threads asked, 1 to %d possible", threads, ISO_POOL_MAX);
  iso_pool *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
  if (!p) return iso_fail(err, ISO_ENOMEM, "no memory for the thread pool");
  *p = (iso_pool){.threads = 1};
  p->w = calloc((size_t)threads, sizeof *p->w);
  if (!p->w) {
    free(p);
    return iso_fail(err, ISO_ENOMEM, "no memory for the thread pool");
  }
  for (int i = 1; i < threads; i++) {
    p->w[i] = (worker){.pool = p, .index = i};
    if (pthread_create(&p->w[i].thread, NULL, worker_main, &p->w[i]) != 0) {
      iso_pool_close(p);
      return iso_fail(err, ISO_EUNSUP, "could not start thread %d of %d", i + 1, threads);
    }
    p->threads = i + 1;
  }
  *out = p;
  return ISO_OK;
}

static void publish(iso_pool *p) {
  atomic_fetch_add(&p->epoch, 1);
  if (atomic_load(&p->sleepers) > 0) futex_wake(&p->epoch);
}

void iso_pool_close(iso_pool *p) {
  if (!p) return;
  atomic_store(&p->quit, 1);
  publish(p);
  for (int i = 1; i < p->threads; i++) pthread_join(p->w[i].thread, NULL);
  free(p->w);
  free(p);
}

int iso_pool_threads(const iso_pool *p) { return p ? p->threads : 1; }

void iso_pool_run(iso_pool *p, int64_t n, iso_task_fn fn, void *arg) {
  if (!p || p->threads == 1 || n <= 1) {
    for (int64_t t = 0; t < n; t++) fn(arg, t, 0);
    return;
  }
  p->n = n;
  p->fn = fn;
  p->arg = arg;
  atomic_store_explicit(&p->idle, 0, memory_order_relaxed);
  atomic_store_explicit(&p->next, 0, memory_order_release);
  publish(p);
  take_tasks(p, 0);
  int spin = 0;
  while (atomic_load_explicit(&p->idle, memory_order_acquire) < p->threads - 1) {
    CPU_RELAX();
    if (++spin > 4096) {  // more threads than free CPUs: let the worker run
      spin = 0;
      (void)sched_yield();
    }
  }
}
