// The report on a terminal: headline, sparklines, tables of predicted against measured.
#include "report/term.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void iso_term_open(iso_term *t, const iso_report_term *o, iso_str *out) {
  int width = o->width ? o->width : 80;
  *t = (iso_term){.out = out, .ascii = o->ascii, .colour = o->colour, .width = width < 40 ? 40 : width > 400 ? 400 : width};
  t->text = ISO_TEXT_LINE | (o->ascii ? ISO_TEXT_ASCII : 0);
}

void iso_term_style(iso_term *t, const char *code, const char *text) {
  if (t->colour)
    iso_str_fmt(t->out, "\033[%sm%s\033[0m", code, text);
  else
    iso_str_add(t->out, text);
}

void iso_term_head(iso_term *t, const char *text) {
  iso_str_add(t->out, "\n");
  iso_term_style(t, "1", text);
  iso_str_add(t->out, "\n");
}

// Spaces at the end of a line would be noise in a copy or a diff.
static void trim(iso_str *s) {
  while (s->n && s->p[s->n - 1] == ' ') s->p[--s->n] = 0;
}

static void new_line(iso_term *t, int indent) {
  trim(t->out);
  iso_str_fmt(t->out, "\n%*s", indent, "");
}

// Pads to a number of columns; longer text is cut with an ellipsis.
static void padded(iso_term *t, const char *text, int columns, bool right) {
  size_t n = strlen(text), cut = 0;
  int have = iso_text_columns(text, n), pad = columns - have;
  if (pad < 0) {
    const char *dots = t->ascii ? "~" : "…";
    for (int i = 0; i < columns - 1; i++) {
      uint32_t cp;
      cut += iso_text_next(text + cut, n - cut, &cp);
    }
    iso_str_put(t->out, text, cut);
    iso_str_add(t->out, dots);
    return;
  }
  if (right) iso_str_fmt(t->out, "%*s", pad, "");
  iso_str_add(t->out, text);
  if (!right) iso_str_fmt(t->out, "%*s", pad, "");
}

void iso_term_table_open(iso_term_table *g, int columns) { *g = (iso_term_table){.columns = columns}; }

static char *cell_of(iso_term_table *g) {
  if (g->n == g->cap) {
    int64_t cap = g->cap ? 2 * g->cap : 128;
    char(*more)[ISO_TERM_CELL] = realloc(g->cell, (size_t)cap * sizeof *more);
    if (!more) {
      g->failed = true;
      return NULL;
    }
    g->cell = more;
    g->cap = cap;
  }
  return g->cell[g->n++];
}

void iso_term_cell(iso_term *t, iso_term_table *g, const char *text) {
  char *cell = cell_of(g);
  if (!cell) return;
  iso_str s = {0};
  iso_text_add(&s, text ? text : t->ascii ? "-" : "–", t->text);
  size_t at = 0;
  for (uint32_t cp; s.p && at < s.n;) {  // no code point is cut in two
    size_t k = iso_text_next(s.p + at, s.n - at, &cp);
    if (at + k >= ISO_TERM_CELL) break;
    at += k;
  }
  if (at) memcpy(cell, s.p, at);
  cell[at] = 0;
  g->failed |= s.failed;
  iso_str_free(&s);
}

// The first column takes what is left; columns that do not fit the width are left out, from the right, and named below.
void iso_term_table_close(iso_term *t, iso_term_table *g) {
  int width[ISO_TERM_COLUMNS] = {0}, shown = g->columns, total = 0;
  int64_t rows = g->n / g->columns;
  for (int64_t i = 0; i < rows * g->columns; i++) {
    int w = iso_text_columns(g->cell[i], strlen(g->cell[i])), k = (int)(i % g->columns);
    if (w > width[k]) width[k] = w;
  }
  for (int k = 0; k < g->columns; k++) total += width[k] + (k ? 2 : 0);
  int least = width[0] < 16 ? width[0] : 16;
  while (shown > 2 && total - width[0] + least > t->width - 2) total -= width[--shown] + 2;
  if (total > t->width - 2) width[0] -= total - (t->width - 2);
  if (width[0] < 4) width[0] = 4;
  for (int64_t r = 0; r < rows; r++) {
    iso_str_add(t->out, "  ");
    if (t->colour && r == 0) iso_str_add(t->out, "\033[2m");
    for (int k = 0; k < shown; k++) {
      if (k) iso_str_add(t->out, "  ");
      padded(t, g->cell[r * g->columns + k], width[k], k > 0 && !(g->left >> k & 1));
    }
    trim(t->out);
    if (t->colour && r == 0) iso_str_add(t->out, "\033[0m");
    iso_str_add(t->out, "\n");
  }
  if (shown < g->columns) {
    iso_str_fmt(t->out, "  (%d columns do not fit %d characters:", g->columns - shown, t->width);
    for (int k = shown; k < g->columns; k++) iso_str_fmt(t->out, " %s", g->cell[k]);
    iso_str_add(t->out, ")\n");
  }
  if (g->failed) t->out->failed = true;
  free(g->cell);
  *g = (iso_term_table){0};
}

void iso_term_spark(iso_term *t, const double *v, int n) {
  static const char *const BLOCKS[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static const char *const RAMP[] = {"_", ".", "-", "=", "+", "*", "%", "#"};
  double lo = INFINITY, hi = -INFINITY;
  for (int i = 0; i < n; i++) {
    if (!isfinite(v[i])) continue;
    lo = fmin(lo, v[i]);
    hi = fmax(hi, v[i]);
  }
  for (int i = 0; i < n; i++) {
    int at = !isfinite(v[i]) ? -1 : hi > lo ? (int)fmin(7, floor(8 * (v[i] - lo) / (hi - lo))) : 0;
    iso_str_add(t->out, at < 0 ? " " : t->ascii ? RAMP[at] : BLOCKS[at]);
  }
}

void iso_term_wrap(iso_term *t, const char *lead, const char *text, size_t n, unsigned flags) {
  iso_str s = {0};
  iso_text_put(&s, text, n, flags);
  int indent = iso_text_columns(lead, strlen(lead)), room = t->width - indent;
  const char *p = s.p ? s.p : "";
  iso_str_add(t->out, lead);
  for (int column = 0; *p;) {
    if (*p == '\n' || *p == ' ' || *p == '\t') {
      if (*p == '\n') {
        new_line(t, indent);
        column = 0;
      } else if (column && column < room) {
        iso_str_add(t->out, " ");
        column++;
      }
      p++;
      continue;
    }
    size_t k = strcspn(p, " \n\t");
    int w = iso_text_columns(p, k);
    if (column && column + w > room) {
      new_line(t, indent);
      column = 0;
    }
    if (w > room) {  // a word longer than a line is broken
      k = 0;
      for (w = 0; w < room; w++) {
        uint32_t cp;
        k += iso_text_next(p + k, strlen(p + k), &cp);
      }
    }
    iso_str_put(t->out, p, k);
    p += k;
    column += w;
  }
  trim(t->out);
  iso_str_add(t->out, "\n");
  if (s.failed) t->out->failed = true;
  iso_str_free(&s);
}
