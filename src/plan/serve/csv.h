// Reads CSV rows in place: header names, strict field counts, typed cells with errors that name line and column.
#ifndef ISO_PLAN_SERVE_CSV_H
#define ISO_PLAN_SERVE_CSV_H
#include "base/status.h"

enum { ISO_SERVE_CSV_COLUMNS_MAX = 64 };

// RFC 4180 with LF or CRLF, an optional UTF-8 mark and a header row; blank lines are skipped. Cells are cut out of the caller's text.
typedef struct iso_serve_csv {
  char *p, *end;                          // borrowed; rewritten while reading
  const char *what;                       // borrowed; names the source in messages
  int64_t line, row_line;                 // of the next byte, and of the current row; from 1
  int columns;                            // of the header
  char *name[ISO_SERVE_CSV_COLUMNS_MAX];  // header cells
  char *at[ISO_SERVE_CSV_COLUMNS_MAX];    // cells of the current row
} iso_serve_csv;

// `text` has n bytes and one more that may be written (iso_file_get leaves it). ISO_EFORMAT without a header, with a repeated name, or with
// more than ISO_SERVE_CSV_COLUMNS_MAX columns.
iso_status iso_serve_csv_start(iso_serve_csv *c, char *text, size_t n, const char *what, iso_err *err);
// Index of a column, or -1.
int iso_serve_csv_column(const iso_serve_csv *c, const char *name);
// The same, ISO_EFORMAT when it is missing.
iso_status iso_serve_csv_need(const iso_serve_csv *c, const char *name, int *column, iso_err *err);
// Reads the next row; *more is false at the end. ISO_EFORMAT on broken quotes or a row with another number of fields than the header.
iso_status iso_serve_csv_next(iso_serve_csv *c, bool *more, iso_err *err);
// A cell of the current row as a number in [min, max]; an empty cell is ISO_EFORMAT.
iso_status iso_serve_csv_f64(const iso_serve_csv *c, int column, double min, double max, double *out, iso_err *err);
iso_status iso_serve_csv_i64(const iso_serve_csv *c, int column, int64_t min, int64_t max, int64_t *out, iso_err *err);
#endif
