// The system-backed context: monotonic clock, page allocator, plain file I/O.
#include "base/ctx.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/pool.h"

static double sys_now_s(void *self) {
  (void)self;
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Big buffers come straight from the kernel: zeroed, returned at once, huge pages where possible.
enum { BIG = 1 << 20 };

static void *sys_get(void *self, size_t bytes) {
  (void)self;
  if (bytes >= BIG) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    (void)madvise(p, bytes, MADV_HUGEPAGE);
    return p;
  }
  size_t n = (bytes + 63) / 64 * 64;
  void *p = aligned_alloc(64, n ? n : 64);
  if (p) memset(p, 0, n);
  return p;
}

static void sys_put(void *self, void *p, size_t bytes) {
  (void)self;
  if (!p) return;
  if (bytes >= BIG)
    munmap(p, bytes);
  else
    free(p);
}

static ssize_t sys_write(void *self, int fd, const void *buf, size_t n) {
  (void)self;
  return write(fd, buf, n);
}
static int sys_fsync(void *self, int fd) {
  (void)self;
  return fsync(fd);
}
static int sys_rename(void *self, const char *from, const char *to) {
  (void)self;
  return rename(from, to);
}
static void sink_none(void *self, const iso_event *ev) {
  (void)self;
  (void)ev;
}

// CPUs granted by a cgroup as quota/period, or 0 when there is no limit.
static double cgroup_cpus(void) {
  double quota = -1, period = 0;
  FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
  if (f) {
    if (fscanf(f, "%lf %lf", &quota, &period) != 2) quota = -1;
    fclose(f);
  } else {
    FILE *q = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r"), *p = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r");
    if (q && p && (fscanf(q, "%lf", &quota) != 1 || fscanf(p, "%lf", &period) != 1)) quota = -1;
    if (q) fclose(q);
    if (p) fclose(p);
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

int iso_ctx_default_threads(void) {
  cpu_set_t set;
  int n = 1;
  if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
  double q = cgroup_cpus();
  if (q > 0 && ceil(q) < n) n = (int)ceil(q);
  return n < 1 ? 1 : n > ISO_POOL_MAX ? ISO_POOL_MAX : n;
}

iso_status iso_ctx_open(int threads, iso_ctx **out, iso_err *err) {
  *out = NULL;
  if (threads < 0 || threads > ISO_POOL_MAX)
    return iso_fail(err, ISO_EINVAL, "threads: %d is not between 0 (automatic) and %d", threads, ISO_POOL_MAX);
  iso_ctx *c = calloc(1, sizeof *c);
  if (!c) return iso_fail(err, ISO_ENOMEM, "no memory for a context");
  c->clock = (iso_clock){sys_now_s, NULL};
  c->alloc = (iso_alloc){sys_get, sys_put, NULL};
  c->io = (iso_io){sys_write, sys_fsync, sys_rename, NULL};
  c->sink = (iso_sink){sink_none, NULL};
  c->start_s = sys_now_s(NULL);
  iso_status st = iso_pool_open(threads ? threads : iso_ctx_default_threads(), &c->pool, err);
  if (st != ISO_OK) {
    free(c);
    return st;
  }
  *out = c;
  return ISO_OK;
}

void iso_ctx_close(iso_ctx *c) {
  if (!c) return;
  iso_pool_close(c->pool);
  free(c);
}

double iso_now_s(const iso_ctx *c) { return c->clock.now_s(c->clock.self); }
bool iso_cancelled(const iso_ctx *c) { return atomic_load_explicit(&c->cancel, memory_order_relaxed) != 0; }

iso_status iso_mem_get(const iso_ctx *c, size_t bytes, const char *what, void **out, iso_err *err) {
  *out = c->alloc.get(c->alloc.self, bytes);
  if (*out) return ISO_OK;
  iso_fail(err, ISO_ENOMEM, "no memory for %s: %.1f MiB asked", what, (double)bytes / 1048576.0);
  return iso_hint(err, ISO_ENOMEM, "use a smaller model or batch, or free memory");
}

void iso_mem_put(const iso_ctx *c, void *p, size_t bytes) { c->alloc.put(c->alloc.self, p, bytes); }

iso_event iso_event_blank(iso_event_kind kind, const char *phase) {
  return (iso_event){.kind = kind,
                     .phase = phase,
                     .text = "",
                     .loss = NAN,
                     .tok_per_s = NAN,
                     .mfu = NAN,
                     .used_frac = NAN,
                     .eta_s = NAN,
                     .predicted_loss = NAN,
                     .noise_tok = NAN};
}

void iso_emit(const iso_ctx *c, const iso_event *ev) { c->sink.event(c->sink.self, ev); }

void iso_note(const iso_ctx *c, iso_event_kind kind, const char *phase, const char *fmt, ...) {
  char buf[512];
  va_list ap;
  va_start(ap, fmt);
  (void)vsnprintf(buf, sizeof buf, fmt, ap);
  va_end(ap);
  iso_event ev = iso_event_blank(kind, phase);
  ev.text = buf;
  iso_emit(c, &ev);
}
