// A growable byte string for building text.
#ifndef ISO_BASE_STR_H
#define ISO_BASE_STR_H
#include "base/status.h"

// Zero-initialise; `p` is always NUL-terminated once non-NULL. Out of memory sets `failed` and drops further text.
typedef struct iso_str {
  char *p;  // owned; free with iso_str_free
  size_t n, cap;
  bool failed;
} iso_str;
void iso_str_put(iso_str *s, const void *bytes, size_t n);
void iso_str_add(iso_str *s, const char *text);
void iso_str_fmt(iso_str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void iso_str_free(iso_str *s);
// Edit distance (insertions, deletions, substitutions), for "did you mean".
int iso_str_distance(const char *a, const char *b);
#endif
