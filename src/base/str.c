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
  int before[MAX + 1], last[MAX + 1] = {0}, row[MAX + 1] = {0};
  for (size_t j = 0; j <= nb; j++) row[j] = (int)j;
  for (size_t i = 1; i <= na; i++) {
    memcpy(before, last, sizeof before);
    memcpy(last, row, sizeof last);
    row[0] = (int)i;
    for (size_t j = 1; j <= nb; j++) {
      int best = last[j - 1] + (a[i - 1] != b[j - 1]);
      if (last[j] + 1 < best) best = last[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      bool swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swap && before[j - 2] + 1 < best) best = before[j - 2] + 1;
      row[j] = best;
    }
  }
  return row[nb];
}

bool iso_str_near(const char *known, const char *typed) {
  size_t n = strlen(typed);
  int wrong = (int)(n + 1) / 3;
  return (n >= 3 && strncmp(known, typed, n) == 0) || iso_str_distance(known, typed) <= (wrong > 1 ? wrong : 1);
}
