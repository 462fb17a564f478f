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
// Edit distance: insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
int iso_str_distance(const char *a, const char *b);
// Whether `known` is near enough to what was typed for "did you mean": a third of the characters typed may be wrong, at least one, or
// it begins with all of them, three or more.
bool iso_str_near(const char *known, const char *typed);
#endif
