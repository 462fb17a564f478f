// Growable strings and edit distance.
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(iso_str *s, size_t more) {
  if (s->failed) return false;
  if (s->n + more + 1 <= s->cap) return true;
  size_t cap = s->cap ? s->cap : 256;
  while (cap < s->n + more + 1) cap *= 2;
  char *p = realloc(s->p, cap);
  if (!p) {
    s->failed = true;
    return false;
  }
  s->p = p;
  s->cap = cap;
  return true;
}

void iso_str_put(iso_str *s, const void *bytes, size_t n) {
  if (!reserve(s, n)) return;
  if (n) memcpy(s->p + s->n, bytes, n);
  s->n += n;
  s->p[s->n] = 0;
}

void iso_str_add(iso_str *s, const char *text) { iso_str_put(s, text, strlen(text)); }

void iso_str_fmt(iso_str *s, const char *fmt, ...) {
  va_list ap, ap2;
  va_start(ap, fmt);
  va_copy(ap2, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n >= 0 && reserve(s, (size_t)n)) {
    (void)vsnprintf(s->p + s->n, (size_t)n + 1, fmt, ap2);
    s->n += (size_t)n;
  }
  va_end(ap2);
}

void iso_str_free(iso_str *s) {
  free(s->p);
  *s = (iso_str){0};
}

int iso_str_distance(const char *a, const char *b) {
  enum { MAX = 63 };
  size_t na = strlen(a), nb = strlen(b);
  if (na > MAX || nb > MAX) return MAX;
  int row[MAX + 1];
  for (size_t j = 0; j <= nb; j++) row[j] = (int)j;
  for (size_t i = 1; i <= na; i++) {
    int diag = row[0];
    row[0] = (int)i;
    for (size_t j = 1; j <= nb; j++) {
      int up = row[j], best = diag + (a[i - 1] != b[j - 1]);
      if (up + 1 < best) best = up + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      diag = up;
      row[j] = best;
    }
  }
  return row[nb];
}
