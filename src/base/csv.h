// CSV files in memory: RFC 4180 with a header row, read strictly, with errors that name line and column.
#ifndef ISO_BASE_CSV_H
#define ISO_BASE_CSV_H
#include "base/status.h"

// The format: quotes, doubled quotes and line breaks inside quotes; LF or CRLF; an optional UTF-8 mark; '.' as decimal point; lines that
// start with # and blank lines are skipped. Blanks around a field are dropped. Every row has as many fields as the header.
typedef struct iso_csv {
  const char *what;  // borrowed: names the source in messages
  int64_t rows;      // below the header
  int cols;
  char *text;      // owned: the fields' bytes, NUL after each
  size_t *at;      // owned: offset in `text` of every field, the header's first
  int64_t *line;   // owned: line of each row, from 1
  int64_t header;  // line of the header
} iso_csv;

// Parses n bytes; `what` must outlive *out. ISO_EFORMAT: no header, broken quotes, too few or many fields, zero bytes. Close with
// iso_csv_close, also after a failure.
iso_status iso_csv_parse(const char *text, size_t n, const char *what, iso_csv *out, iso_err *err);
// The same for a file of at most 1 GiB.
iso_status iso_csv_load(const char *path, iso_csv *out, iso_err *err);
void iso_csv_close(iso_csv *t);

// Name of a column as the header has it, and a field.
const char *iso_csv_name(const iso_csv *t, int col);
const char *iso_csv_cell(const iso_csv *t, int64_t row, int col);
// The column of exactly this name, -1 when there is none.
int iso_csv_find(const iso_csv *t, const char *name);
// The column whose name equals `name` without case and with spaces and hyphens as underscores; -1 when there is none. ISO_EFORMAT when
// there are two.
iso_status iso_csv_find_like(const iso_csv *t, const char *name, int *col, iso_err *err);
// The same, ISO_EFORMAT also when there is none.
iso_status iso_csv_need(const iso_csv *t, const char *name, int *col, iso_err *err);
// The field as a finite decimal number; NaN when it is empty. ISO_EFORMAT for other text, calling the column `name` in the message.
iso_status iso_csv_number(const iso_csv *t, int64_t row, int col, const char *name, double *out, iso_err *err);
// The same for numbers that must be above zero.
iso_status iso_csv_positive(const iso_csv *t, int64_t row, int col, const char *name, double *out, iso_err *err);
// The field as a number from min to max, or a whole number from min to max. ISO_EFORMAT also when it is empty.
iso_status iso_csv_within(const iso_csv *t, int64_t row, int col, const char *name, double min, double max, double *out, iso_err *err);
iso_status iso_csv_whole(const iso_csv *t, int64_t row, int col, const char *name, int64_t min, int64_t max, int64_t *out, iso_err *err);
// Columns from a comma-separated list of names, at most `max` of them. ISO_EINVAL for a name that is unknown, empty or given twice.
iso_status iso_csv_columns(const iso_csv *t, const char *list, int *col, int max, int *n, iso_err *err);
#endif
