// Blocks of doubling size; a request larger than a block gets its own.
#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct block {
  struct block *next;
  size_t used, size;
  _Alignas(16) unsigned char data[];
} block;

struct iso_arena {
  block *head;  // owned list
};

iso_status iso_arena_open(iso_arena **out, iso_err *err) {
  *out = calloc(1, sizeof **out);
  return *out ? ISO_OK : iso_fail(err, ISO_ENOMEM, "no memory for an arena");
}

void iso_arena_close(iso_arena *a) {
  if (!a) return;
  for (block *b = a->head; b;) {
    block *next = b->next;
    free(b);
    b = next;
  }
  free(a);
}

void *iso_arena_get(iso_arena *a, size_t bytes) {
  if (bytes > SIZE_MAX / 4) return NULL;
  size_t n = (bytes + 15) / 16 * 16;
  block *b = a->head;
  if (!b || b->size - b->used < n) {
    size_t size = b ? b->size * 2 : 4096;
    if (size > (1u << 20)) size = 1u << 20;
    if (size < n) size = n;
    block *fresh = calloc(1, sizeof *fresh + size);
    if (!fresh) return NULL;
    fresh->size = size;
    fresh->next = b;
    a->head = b = fresh;
  }
  void *p = b->data + b->used;
  b->used += n;
  return p;
}

char *iso_arena_str(iso_arena *a, const char *s) {
  if (!s) return NULL;
  size_t n = strlen(s) + 1;
  char *p = iso_arena_get(a, n);
  if (p) memcpy(p, s, n);
  return p;
}

char *iso_arena_fmt(iso_arena *a, const char *fmt, ...) {
  va_list ap, ap2;
  va_start(ap, fmt);
  va_copy(ap2, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  char *p = n < 0 ? NULL : iso_arena_get(a, (size_t)n + 1);
  if (p) (void)vsnprintf(p, (size_t)n + 1, fmt, ap2);
  va_end(ap2);
  return p;
}
