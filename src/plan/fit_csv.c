// A strict CSV reader for tables of training runs.
#include "plan/fit_csv.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"

enum { FIELDS_MAX = 256, ALIAS_MAX = 10, COL_N = 0, COL_D, COL_C, COL_LOSS, COLS, WHERE_MAX = 16, FIELD_BYTES_MAX = 1 << 16 };

static const char *const ALIAS[COLS][ALIAS_MAX] = {
    {"params", "parameters", "n_params", "num_params", "model_size", "n"},
    {"tokens", "train_tokens", "training_tokens", "n_tokens", "d"},
    {"train_flops", "train_flop", "training_flop", "training_flops", "flops", "flop", "compute", "c"},
    {"loss", "final_loss", "val_loss", "eval_loss", "l"},
};

typedef struct reader {
  const char *p, *end, *what;
  int64_t line;           // of the next byte, from 1
  int64_t row_line;       // where the current record starts
  iso_str text;           // owned: the fields' bytes, NUL after each
  size_t at[FIELDS_MAX];  // offset of each field in text
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
  if (r->text.failed) return iso_fail(err, ISO_ENOMEM, "%s: no memory for a row", r->what);
  return ISO_OK;
}

// Reads the next record that is neither blank nor a comment; r->fields is 0 at the end of the file.
static iso_status read_row(reader *r, iso_err *err) {
  r->fields = 0;
  r->text.n = 0;
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

// Trims blanks at both ends, in place.
static char *field(reader *r, int i) {
  char *s = r->text.p + r->at[i], *e = s + strlen(s);
  while (*s == ' ' || *s == '\t') s++;
  while (e > s && (e[-1] == ' ' || e[-1] == '\t')) *--e = 0;
  return s;
}

static bool same_name(const char *header, const char *name) {
  for (; *header && *name; header++, name++) {
    int c = tolower((unsigned char)*header);
    if (c == ' ' || c == '-') c = '_';
    if (c != *name) return false;
  }
  return !*header && !*name;
}

typedef struct filter {
  int col;
  const char *value;
} filter;

typedef struct columns {
  int col[COLS];  // -1: absent
  int fields;
  filter where[WHERE_MAX];
  int n_where;
} columns;

static iso_status find_where(reader *r, const iso_fit_csv_opts *o, columns *c, iso_err *err) {
  if (o->n_where > WHERE_MAX) return iso_fail(err, ISO_EINVAL, "%d filters, expected at most %d", o->n_where, WHERE_MAX);
  for (int k = 0; k < o->n_where; k++) {
    const char *eq = strchr(o->where[k], '=');
    if (!eq) return iso_fail(err, ISO_EINVAL, "filter '%s': expected COLUMN=VALUE", o->where[k]);
    int col = -1;
    for (int i = 0; i < r->fields && col < 0; i++) {
      const char *h = field(r, i);
      if (strlen(h) == (size_t)(eq - o->where[k]) && !strncmp(h, o->where[k], strlen(h))) col = i;
    }
    if (col < 0) return iso_fail(err, ISO_EINVAL, "filter '%s': %s has no column of that name", o->where[k], r->what);
    c->where[c->n_where++] = (filter){col, eq + 1};
  }
  return ISO_OK;
}

static iso_status read_header(reader *r, const iso_fit_csv_opts *o, columns *c, iso_err *err) {
  memset(c, 0, sizeof *c);
  ISO_TRY(read_row(r, err));
  if (!r->fields) return iso_fail(err, ISO_EFORMAT, "%s is empty, expected a header row such as params,tokens,loss", r->what);
  c->fields = r->fields;
  for (int k = 0; k < COLS; k++) {
    c->col[k] = -1;
    for (int a = 0; a < ALIAS_MAX && ALIAS[k][a] && c->col[k] < 0; a++)
      for (int i = 0; i < r->fields; i++) {
        if (!same_name(field(r, i), ALIAS[k][a])) continue;
        if (c->col[k] >= 0)
          return iso_fail(err, ISO_EFORMAT, "%s, line %lld: columns %d and %d are both called %s", r->what, (long long)r->row_line, c->col[k] + 1,
                          i + 1, ALIAS[k][a]);
        c->col[k] = i;
      }
  }
  const char *missing = c->col[COL_N] < 0                        ? "params"
                        : c->col[COL_LOSS] < 0                   ? "loss"
                        : c->col[COL_D] < 0 && c->col[COL_C] < 0 ? "tokens or train_flops"
                                                                 : NULL;
  if (missing) {
    iso_fail(err, ISO_EFORMAT, "%s, line %lld: no column for %s among %d", r->what, (long long)r->row_line, missing, r->fields);
    return iso_hint(err, ISO_EFORMAT,
                    "the columns are params, tokens and/or train_flops, loss; `isoflop fit --help` lists other names that are understood");
  }
  return find_where(r, o, c, err);
}

// A positive finite decimal number, or NaN for an empty field.
static iso_status number(reader *r, int col, const char *name, double *out, iso_err *err) {
  *out = NAN;
  if (col < 0) return ISO_OK;
  const char *s = field(r, col);
  if (!*s) return ISO_OK;
  char *end = NULL;
  bool plain = strspn(s, "+-.0123456789eE") == strlen(s);
  double v = plain ? strtod(s, &end) : NAN;
  if (plain && *end == 0 && v > 0 && v < INFINITY) {
    *out = v;
    return ISO_OK;
  }
  return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d (%s): '%.40s', expected a positive finite number", r->what, (long long)r->row_line,
                  col + 1, name, s);
}

static bool wanted(reader *r, const columns *c) {
  for (int k = 0; k < c->n_where; k++)
    if (strcmp(field(r, c->where[k].col), c->where[k].value) != 0) return false;
  return true;
}

// Turns the current record into v[COLS]; *keep is false for rows that are filtered out or have no loss yet.
static iso_status read_values(reader *r, const columns *c, double *v, bool *keep, int64_t *skipped, iso_err *err) {
  *keep = false;
  if (r->fields != c->fields)
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: %d fields, expected %d as in the header", r->what, (long long)r->row_line, r->fields,
                    c->fields);
  if (!wanted(r, c)) return ISO_OK;
  static const char *const NAME[COLS] = {"params", "tokens", "train_flops", "loss"};
  for (int k = 0; k < COLS; k++) ISO_TRY(number(r, c->col[k], NAME[k], &v[k], err));
  if (isnan(v[COL_LOSS])) {
    ++*skipped;
    return ISO_OK;
  }
  if (isnan(v[COL_N]))
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld, column %d (params): empty, expected a positive number", r->what, (long long)r->row_line,
                    c->col[COL_N] + 1);
  if (isnan(v[COL_D]) && isnan(v[COL_C]))
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: neither tokens nor train_flops is given", r->what, (long long)r->row_line);
  if (isnan(v[COL_D])) v[COL_D] = v[COL_C] / (ISO_LAW_FLOP_PER_PARAM_TOK * v[COL_N]);
  if (isnan(v[COL_C])) v[COL_C] = ISO_LAW_FLOP_PER_PARAM_TOK * v[COL_N] * v[COL_D];
  if (!(v[COL_D] > 0 && v[COL_D] < INFINITY && v[COL_C] < INFINITY))
    return iso_fail(err, ISO_EFORMAT, "%s, line %lld: tokens %g and train_flops %g are out of range", r->what, (long long)r->row_line, v[COL_D],
                    v[COL_C]);
  *keep = true;
  return ISO_OK;
}

static iso_status to_data(const double *v, int64_t n, int64_t skipped, const iso_fit_csv_opts *o, const char *what, iso_fit_data *out, iso_err *err) {
  if (!n) {
    iso_fail(err, ISO_EINVAL, "%s: no row with a loss%s (%lld without)", what, o->n_where ? " passes the filters" : "", (long long)skipped);
    return iso_hint(err, ISO_EINVAL, "the file needs one row per finished run below its header");
  }
  ISO_TRY(iso_fit_data_open(n, out, err));
  for (int64_t i = 0; i < n; i++) {
    out->params[i] = v[i * COLS + COL_N];
    out->tokens[i] = v[i * COLS + COL_D];
    out->flop[i] = v[i * COLS + COL_C];
    out->loss[i] = v[i * COLS + COL_LOSS];
  }
  out->skipped = skipped;
  iso_status st = iso_fit_data_drop_highest(out, o->drop_highest, err);
  if (st != ISO_OK) iso_fit_data_close(out);
  return st;
}

iso_status iso_fit_csv_parse(const char *text, size_t n, const char *what, const iso_fit_csv_opts *o, iso_fit_data *out, iso_err *err) {
  static const iso_fit_csv_opts none = {0};
  reader r = {.p = text, .end = text + n, .what = what, .line = 1};
  columns c;
  iso_status st = ISO_OK;
  double *v = NULL;
  int64_t rows = 0, cap = 0, skipped = 0;
  memset(out, 0, sizeof *out);
  if (!o) o = &none;
  if (n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) r.p += 3;
  ISO_TRYG(read_header(&r, o, &c, err));
  for (;;) {
    bool keep = false;
    ISO_TRYG(read_row(&r, err));
    if (!r.fields) break;
    if (rows == cap) {
      cap = cap ? 2 * cap : 256;
      double *more = realloc(v, sizeof *v * (size_t)(cap * COLS));
      if (!more) {
        st = iso_fail(err, ISO_ENOMEM, "%s: no memory for %lld rows", what, (long long)cap);
        goto done;
      }
      v = more;
    }
    ISO_TRYG(read_values(&r, &c, v + rows * COLS, &keep, &skipped, err));
    rows += keep;
  }
  st = to_data(v, rows, skipped, o, what, out, err);
done:
  free(v);
  iso_str_free(&r.text);
  return st;
}

iso_status iso_fit_csv_load(const char *path, const iso_fit_csv_opts *o, iso_fit_data *out, iso_err *err) {
  char *text = NULL;
  size_t n = 0;
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_file_get(path, (size_t)1 << 30, &text, &n, err));
  iso_status st = iso_fit_csv_parse(text, n, path, o, out, err);
  free(text);
  return st;
}
