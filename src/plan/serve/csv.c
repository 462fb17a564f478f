// A strict CSV reader that cuts cells out of the text it is given.
#include "plan/serve/csv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A quoted cell after its opening quote: unescapes in place, leaves c->p behind the closing quote.
static iso_status quoted(iso_serve_csv *c, char **cell, char **stop, iso_err *err) {
  char *w = c->p;
  int64_t start = c->line;
  *cell = w;
  for (;;) {
    if (c->p == c->end) return iso_fail(err, ISO_EFORMAT, "%s, line %lld: a quoted field is not closed", c->what, (long long)start);
    char ch = *c->p++;
    if (!ch) return iso_fail(err, ISO_EFORMAT, "%s, line %lld: a zero byte inside a quoted field", c->what, (long long)c->line);
    if (ch == '"') {
      if (c->p == c->end || *c->p != '"') break;
      c->p++;
    }
    c->line += ch == '\n';
    *w++ = ch;
  }
  if (c->p < c->end && *c->p != ',' && *c->p != '\n' && *c->p != '\r')
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: a character after a closing quote, expected a comma or the end of the line", c->what,
                    (long long)c->line);
  *stop = w;
  return ISO_OK;
}

static iso_status plain(iso_serve_csv *c, char **cell, char **stop, iso_err *err) {
  *cell = c->p;
  while (c->p < c->end && *c->p != ',' && *c->p != '\n' && *c->p != '\r') {
    if (*c->p == '"' || !*c->p)
      return iso_fail(err, ISO_EFORMAT, "%s, line %lld: a %s inside a plain field", c->what, (long long)c->line, *c->p ? "quote" : "zero byte");
    c->p++;
  }
  *stop = c->p;
  return ISO_OK;
}

// Reads one record into c->at; *n is 0 at the end of the text.
static iso_status record(iso_serve_csv *c, int *n, iso_err *err) {
  *n = 0;
  while (c->p < c->end && (*c->p == '\n' || *c->p == '\r')) c->line += *c->p++ == '\n';
  c->row_line = c->line;
  if (c->p == c->end) return ISO_OK;
  for (;;) {
    char *stop = NULL;
    if (*n == ISO_SERVE_CSV_COLUMNS_MAX)
      return iso_fail(err, ISO_EFORMAT, "%s, line %lld: more than %d fields", c->what, (long long)c->row_line, ISO_SERVE_CSV_COLUMNS_MAX);
    if (c->p < c->end && *c->p == '"') {
      c->p++;
      ISO_TRY(quoted(c, &c->at[*n], &stop, err));
    } else {
      ISO_TRY(plain(c, &c->at[*n], &stop, err));
    }
    ++*n;
    char sep = c->p < c->end ? *c->p : '\n';
    *stop = 0;  // overwrites the separator at most, or the byte behind the text
    if (c->p < c->end) c->p++;
    if (sep == ',') continue;
    if (sep == '\r' && c->p < c->end && *c->p == '\n') c->p++;
    c->line++;
    return ISO_OK;
  }
}

iso_status iso_serve_csv_start(iso_serve_csv *c, char *text, size_t n, const char *what, iso_err *err) {
  memset(c, 0, sizeof *c);
  c->p = text;
  c->end = text + n;
  c->what = what;
  c->line = 1;
  if (n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) c->p += 3;
  ISO_TRY(record(c, &c->columns, err));
  if (!c->columns) return iso_fail(err, ISO_EFORMAT, "%s: empty, expected a header row", what);
  for (int i = 0; i < c->columns; i++) {
    c->name[i] = c->at[i];
    for (int k = 0; k < i; k++)
      if (!strcmp(c->name[k], c->name[i])) return iso_fail(err, ISO_EFORMAT, "%s: two columns are named \"%.60s\"", what, c->name[i]);
  }
  return ISO_OK;
}

int iso_serve_csv_column(const iso_serve_csv *c, const char *name) {
  for (int i = 0; i < c->columns; i++)
    if (!strcmp(c->name[i], name)) return i;
  return -1;
}

iso_status iso_serve_csv_need(const iso_serve_csv *c, const char *name, int *column, iso_err *err) {
  *column = iso_serve_csv_column(c, name);
  return *column >= 0 ? ISO_OK : iso_fail(err, ISO_EFORMAT, "%s: no column \"%s\" in the header", c->what, name);
}

iso_status iso_serve_csv_next(iso_serve_csv *c, bool *more, iso_err *err) {
  int n = 0;
  ISO_TRY(record(c, &n, err));
  *more = n > 0;
  if (n && n != c->columns)
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: %d fields, expected %d as in the header", c->what, (long long)c->row_line, n, c->columns);
  return ISO_OK;
}

static iso_status bad_cell(const iso_serve_csv *c, int column, const char *expected, iso_err *err) {
  return iso_fail(err, ISO_EFORMAT, "%s, line %lld: %.40s is \"%.60s\", expected %s", c->what, (long long)c->row_line, c->name[column], c->at[column],
                  expected);
}

iso_status iso_serve_csv_f64(const iso_serve_csv *c, int column, double min, double max, double *out, iso_err *err) {
  char *end, range[80];
  double v = strtod(c->at[column], &end);
  snprintf(range, sizeof range, "a number from %g to %g", min, max);
  if (end == c->at[column] || *end || !(v >= min && v <= max)) return bad_cell(c, column, range, err);
  *out = v;
  return ISO_OK;
}

iso_status iso_serve_csv_i64(const iso_serve_csv *c, int column, int64_t min, int64_t max, int64_t *out, iso_err *err) {
  char *end, range[80];
  errno = 0;
  long long v = strtoll(c->at[column], &end, 10);
  snprintf(range, sizeof range, "an integer from %lld to %lld", (long long)min, (long long)max);
  if (end == c->at[column] || *end || errno || v < min || v > max) return bad_cell(c, column, range, err);
  *out = v;
  return ISO_OK;
}
