// The context that every entry point takes: thread pool, kernels, clock, allocator, file I/O, events, cancel flag.
#ifndef ISO_BASE_CTX_H
#define ISO_BASE_CTX_H
#include <stdatomic.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/status.h"

typedef struct iso_pool iso_pool;
typedef struct iso_kern_table iso_kern_table;  // defined in kern/kern.h; opaque here

// Seconds since an arbitrary start, never going back. Tests script it.
typedef struct iso_clock {
  double (*now_s)(void *self);
  void *self;  // borrowed
} iso_clock;

// Memory for big buffers. `zero` asks for zeroed pages. Tests make it fail.
typedef struct iso_alloc {
  void *(*get)(void *self, size_t bytes);  // 64-byte aligned, zeroed; NULL when there is none
  void (*put)(void *self, void *p, size_t bytes);
  void *self;  // borrowed
} iso_alloc;

// System calls that fail on full disks and killed processes. Tests inject faults here.
typedef struct iso_io {
  ssize_t (*write)(void *self, int fd, const void *buf, size_t n);
  int (*fsync)(void *self, int fd);
  int (*rename)(void *self, const char *from, const char *to);
  void *self;  // borrowed
} iso_io;

typedef enum iso_event_kind { ISO_EVENT_PHASE, ISO_EVENT_PROGRESS, ISO_EVENT_NOTE, ISO_EVENT_WARN } iso_event_kind;

// What a library function tells whoever watches. Numbers that do not apply are NaN.
typedef struct iso_event {
  iso_event_kind kind;
  const char *phase;  // e.g. "train", "sweep"; static string
  const char *text;   // one line; valid during the call only
  int64_t step, steps;
  double loss, tok_per_s, mfu, used_frac, eta_s, predicted_loss, noise_tok;
} iso_event;

typedef struct iso_sink {
  void (*event)(void *self, const iso_event *ev);
  void *self;  // borrowed
} iso_sink;

typedef struct iso_ctx {
  iso_pool *pool;              // owned
  const iso_kern_table *kern;  // borrowed; chosen once by iso_kern_select
  iso_clock clock;
  iso_alloc alloc;
  iso_io io;
  iso_sink sink;
  atomic_int cancel;  // 0 run, 1 save and stop, 2 stop now; set by signal handlers
  double start_s;     // clock at process start, so that budgets count from there
} iso_ctx;

// Opens a context with the system's clock, allocator and I/O and `threads` workers
// (0: what the cgroup and the affinity mask allow). Close with iso_ctx_close.
iso_status iso_ctx_open(int threads, iso_ctx **out, iso_err *err);
void iso_ctx_close(iso_ctx *c);
// Threads that this process may use: min(affinity, cgroup v2/v1 CPU quota rounded up), at least 1.
int iso_ctx_default_threads(void);

double iso_now_s(const iso_ctx *c);
bool iso_cancelled(const iso_ctx *c);
// 64-byte aligned zeroed memory, or ISO_ENOMEM with the size in the message.
iso_status iso_mem_get(const iso_ctx *c, size_t bytes, const char *what, void **out, iso_err *err);
void iso_mem_put(const iso_ctx *c, void *p, size_t bytes);
// Sends an event; all numbers NaN.
void iso_note(const iso_ctx *c, iso_event_kind kind, const char *phase, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void iso_emit(const iso_ctx *c, const iso_event *ev);
// An event with every number "does not apply".
iso_event iso_event_blank(iso_event_kind kind, const char *phase);
#endif
