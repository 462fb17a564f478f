// A strict CSV reader: one pass over the bytes into one text block and one array of offsets.
#include "base/csv.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/str.h"

enum { FIELDS_MAX = 256, FIELD_BYTES_MAX = 1 << 16 };

typedef struct reader {
  const char *p, *end, *what;
  int64_t line;           // of the next byte, from 1
  int64_t row_line;       // where the current record starts
  iso_str text;           // owned: the fields' bytes so far, NUL after each
  size_t at[FIELDS_MAX];  // offset of each field of the current record in text
  int fields;
} reader;

// One quoted field after its opening quote.
static iso_status read_quoted(reader *r, iso_err *err) {
  int64_t start = r->line;
  for (;;) {
    if (r->p == r->end)
      return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d: a quoted field is not closed before the end of the file", r->what,
                      (long long)start, r->fields);
    char ch = *r->p++;
    if (ch == '"') {
      if (r->p == r->end || *r->p != '"') break;
      r->p++;
    }
    r->line += ch == '\n';
    iso_str_put(&r->text, &ch, 1);
  }
  if (r->p < r->end && *r->p != ',' && *r->p != '\n' && *r->p != '\r')
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d: a character after the closing quote, expected a comma or the end of the line",
                    r->what, (long long)r->line, r->fields);
  return ISO_OK;
}

static iso_status read_field(reader *r, iso_err *err) {
  if (r->fields == FIELDS_MAX)
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: more than %d fields in one row", r->what, (long long)r->row_line, FIELDS_MAX);
  size_t from = r->text.n;
  r->at[r->fields++] = from;
  if (r->p < r->end && *r->p == '"') {
    r->p++;
    ISO_TRY(read_quoted(r, err));
  } else {
    const char *q = r->p;
    while (r->p < r->end && *r->p != ',' && *r->p != '\n' && *r->p != '\r') {
      if (*r->p == '"')
        return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d: a quote inside a field that does not start with one", r->what,
                        (long long)r->line, r->fields);
      r->p++;
    }
    iso_str_put(&r->text, q, (size_t)(r->p - q));
  }
  if (r->text.n - from > FIELD_BYTES_MAX)
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d: a field of more than %d bytes", r->what, (long long)r->row_line, r->fields,
                    FIELD_BYTES_MAX);
  if (r->text.n > from && memchr(r->text.p + from, 0, r->text.n - from))
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d: a zero byte; this is not a text file", r->what, (long long)r->row_line, r->fields);
  iso_str_put(&r->text, "", 1);
  if (r->text.failed) return iso_fail(err, ISO_ENOMEM, "%s: no memory for its text", r->what);
  return ISO_OK;
}

// Reads the next record that is neither blank nor a comment; r->fields is 0 at the end of the file.
static iso_status read_row(reader *r, iso_err *err) {
  r->fields = 0;
  while (r->p < r->end && (*r->p == '#' || *r->p == '\n' || *r->p == '\r')) {
    if (*r->p == '#')
      while (r->p < r->end && *r->p != '\n') r->p++;
    if (r->p < r->end) r->line += *r->p++ == '\n';
  }
  r->row_line = r->line;
  if (r->p == r->end) return ISO_OK;
  for (;;) {
    ISO_TRY(read_field(r, err));
    if (r->p < r->end && *r->p == ',') {
      r->p++;
      continue;
    }
    if (r->p < r->end && *r->p == '\r') r->p++;
    if (r->p < r->end && *r->p == '\n') {
      r->p++;
      r->line++;
    }
    return ISO_OK;
  }
}

static bool blank(char c) { return c == ' ' || c == '\t'; }

// Drops blanks at both ends of the field at `at`; returns where it starts then.
static size_t trim(char *text, size_t at) {
  size_t e = at + strlen(text + at);
  while (blank(text[at])) at++;
  while (e > at && blank(text[e - 1])) text[--e] = 0;
  return at;
}

// Appends the current record to *t; *cap is the room in rows.
static iso_status keep_row(reader *r, iso_csv *t, int64_t *cap, bool header, iso_err *err) {
  if (!header && r->fields != t->cols)
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: %d fields, expected %d as in the header", r->what, (long long)r->row_line, r->fields, t->cols);
  if (header) t->cols = r->fields;
  int64_t row = header ? 0 : t->rows + 1;
  if (row >= *cap) {
    int64_t more = *cap ? 2 * *cap : 256;
    size_t *at = realloc(t->at, sizeof *at * (size_t)(more * t->cols));
    if (at) t->at = at;
    int64_t *line = at ? realloc(t->line, sizeof *line * (size_t)more) : NULL;
    if (line) t->line = line;
    if (!at || !line) return iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld rows", r->what, (long long)more);
    *cap = more;
  }
  for (int i = 0; i < t->cols; i++) t->at[row * t->cols + i] = trim(r->text.p, r->at[i]);
  if (header) {
    t->header = r->row_line;
  } else {
    t->line[t->rows++] = r->row_line;
  }
  return ISO_OK;
}

// One column whose name holds other marks between words is a table of another kind.
static iso_status check_header(const iso_csv *t, iso_err *err) {
  const char *at = t->cols == 1 ? strpbrk(iso_csv_name(t, 0), ";\t") : NULL;
  if (!at) return ISO_OK;
  const char *mark = *at == ';' ? "semicolons" : "tabs";
  iso_fail(err, ISO_EFORMAT, "%s, line %lld: fields are separated by %s, expected commas", t->what, (long long)t->header, mark);
  return iso_hint(err, ISO_EFORMAT, "write commas between fields and '.' in numbers: tr '%s' ,", *at == ';' ? ";" : "\\t");
}

iso_status iso_csv_parse(const char *text, size_t n, const char *what, iso_csv *out, iso_err *err) {
  reader r = {.p = text, .end = text + n, .what = what, .line = 1};
  iso_status st = ISO_OK;
  int64_t cap = 0;
  *out = (iso_csv){.what = what};
  if (n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) r.p += 3;
  ISO_TRYG(read_row(&r, err));
  if (!r.fields) {
    st = iso_fail(err, ISO_EFORMAT, "%s is empty, expected a header row", what);
    goto done;
  }
  ISO_TRYG(keep_row(&r, out, &cap, true, err));
  out->text = r.text.p;
  ISO_TRYG(check_header(out, err));
  for (;;) {
    ISO_TRYG(read_row(&r, err));
    if (!r.fields) break;
    ISO_TRYG(keep_row(&r, out, &cap, false, err));
  }
done:
  out->text = r.text.p;
  if (st != ISO_OK) iso_csv_close(out);
  return st;
}

iso_status iso_csv_load(const char *path, iso_csv *out, iso_err *err) {
  char *text = NULL;
  size_t n = 0;
  *out = (iso_csv){.what = path};
  ISO_TRY(iso_file_get(path, (size_t)1 << 30, &text, &n, err));
  iso_status st = iso_csv_parse(text, n, path, out, err);
  free(text);
  return st;
}

void iso_csv_close(iso_csv *t) {
  free(t->text);
  free(t->at);
  free(t->line);
  *t = (iso_csv){0};
}

const char *iso_csv_name(const iso_csv *t, int col) { return t->text + t->at[col]; }
const char *iso_csv_cell(const iso_csv *t, int64_t row, int col) { return t->text + t->at[(row + 1) * t->cols + col]; }

int iso_csv_find(const iso_csv *t, const char *name) {
  for (int i = 0; i < t->cols; i++)
    if (strcmp(iso_csv_name(t, i), name) == 0) return i;
  return -1;
}

static bool same_name(const char *a, const char *b) {
  for (; *a && *b; a++, b++) {
    int x = tolower((unsigned char)*a), y = tolower((unsigned char)*b);
    if (x == ' ' || x == '-') x = '_';
    if (y == ' ' || y == '-') y = '_';
    if (x != y) return false;
  }
  return !*a && !*b;
}

iso_status iso_csv_find_like(const iso_csv *t, const char *name, int *col, iso_err *err) {
  *col = -1;
  for (int i = 0; i < t->cols; i++) {
    if (!same_name(iso_csv_name(t, i), name)) continue;
    if (*col >= 0)
      return iso_fail(err, ISO_EFORMAT, "%s, line %lld: columns %d and %d are both called %s", t->what, (long long)t->header, *col + 1, i + 1, name);
    *col = i;
  }
  return ISO_OK;
}

iso_status iso_csv_need(const iso_csv *t, const char *name, int *col, iso_err *err) {
  ISO_TRY(iso_csv_find_like(t, name, col, err));
  return *col >= 0 ? ISO_OK : iso_fail(err, ISO_EFORMAT, "%s, line %lld: no column '%s'", t->what, (long long)t->header, name);
}

static iso_status number(const iso_csv *t, int64_t row, int col, const char *name, bool positive, double *out, iso_err *err) {
  *out = NAN;
  const char *s = iso_csv_cell(t, row, col);
  if (!*s) return ISO_OK;
  char *end = NULL;
  bool plain = strspn(s, "+-.0123456789eE") == strlen(s);
  double v = plain ? strtod(s, &end) : NAN;
  if (plain && *end == 0 && fabs(v) < INFINITY && (v > 0 || !positive)) {
    *out = v;
    return ISO_OK;
  }
  iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d (%s): '%.40s', expected a %sfinite number", t->what, (long long)t->line[row], col + 1, name, s,
           positive ? "positive " : "");
  static const char *const UNKNOWN[] = {"nan", "na", "n/a", "null", "none", "-", "?"};
  for (size_t i = 0; i < ISO_COUNT(UNKNOWN); i++)
    if (strcasecmp(s, UNKNOWN[i]) == 0) return iso_hint(err, ISO_EFORMAT, "leave the field empty where the value is not known");
  return ISO_EFORMAT;
}

iso_status iso_csv_number(const iso_csv *t, int64_t row, int col, const char *name, double *out, iso_err *err) {
  return number(t, row, col, name, false, out, err);
}

iso_status iso_csv_positive(const iso_csv *t, int64_t row, int col, const char *name, double *out, iso_err *err) {
  return number(t, row, col, name, true, out, err);
}

static iso_status outside(const iso_csv *t, int64_t row, int col, const char *name, const char *expected, iso_err *err) {
  return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d (%s): '%.40s', expected %s", t->what, (long long)t->line[row], col + 1, name,
                  iso_csv_cell(t, row, col), expected);
}

iso_status iso_csv_within(const iso_csv *t, int64_t row, int col, const char *name, double min, double max, double *out, iso_err *err) {
  char expected[80];
  (void)snprintf(expected, sizeof expected, "a number from %g to %g", min, max);
  if (number(t, row, col, name, false, out, NULL) == ISO_OK && *out >= min && *out <= max) return ISO_OK;
  return outside(t, row, col, name, expected, err);
}

iso_status iso_csv_whole(const iso_csv *t, int64_t row, int col, const char *name, int64_t min, int64_t max, int64_t *out, iso_err *err) {
  char expected[80];
  double v;
  (void)snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)min, (long long)max);
  // 1e3 is one too; beyond 2^53 doubles skip whole numbers.
  bool good =
      number(t, row, col, name, false, &v, NULL) == ISO_OK && v == floor(v) && fabs(v) <= 9007199254740992.0 && v >= (double)min && v <= (double)max;
  *out = good ? (int64_t)v : 0;
  return good ? ISO_OK : outside(t, row, col, name, expected, err);
}

iso_status iso_csv_columns(const iso_csv *t, const char *list, int *col, int max, int *n, iso_err *err) {
  *n = 0;
  for (const char *s = list;; s++) {
    size_t len = strcspn(s, ",");
    char name[200];
    if (len == 0 || len >= sizeof name) return iso_fail(err, ISO_EINVAL, "column list '%.80s': an empty or overlong name", list);
    memcpy(name, s, len);
    name[len] = 0;
    int c = iso_csv_find(t, name);
    if (c < 0) {
      const char *best = NULL;
      for (int i = 0; i < t->cols; i++)
        if (!best || iso_str_distance(name, iso_csv_name(t, i)) < iso_str_distance(name, best)) best = iso_csv_name(t, i);
      iso_fail(err, ISO_EINVAL, "%s has no column called '%.80s'", t->what, name);
      return best && iso_str_near(best, name) ? iso_hint(err, ISO_EINVAL, "the nearest of its %d columns is '%.80s'", t->cols, best) : ISO_EINVAL;
    }
    for (int i = 0; i < *n; i++)
      if (col[i] == c) return iso_fail(err, ISO_EINVAL, "column list '%.80s': %.80s is there twice", list, name);
    if (*n == max) return iso_fail(err, ISO_EINVAL, "column list '%.80s': more than %d columns", list, max);
    col[(*n)++] = c;
    s += len;
    if (!*s) return ISO_OK;
  }
}
