// A bump allocator for short lives: take many, free all at once.
#ifndef ISO_BASE_ARENA_H
#define ISO_BASE_ARENA_H
#include "base/status.h"

typedef struct iso_arena iso_arena;
iso_status iso_arena_open(iso_arena **out, iso_err *err);
void iso_arena_close(iso_arena *a);
// Zeroed, 16-byte aligned memory that lives until iso_arena_close; NULL when there is none.
void *iso_arena_get(iso_arena *a, size_t bytes);
// A copy of s; NULL when there is no memory or s is NULL.
char *iso_arena_str(iso_arena *a, const char *s);
char *iso_arena_fmt(iso_arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#endif
