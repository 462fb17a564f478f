// Private to report: tables, sparklines and wrapped text on a terminal.
#ifndef ISO_REPORT_TERM_H
#define ISO_REPORT_TERM_H
#include "report/report.h"
#include "report/text.h"

typedef struct iso_term {
  iso_str *out;  // borrowed
  bool ascii, colour;
  int width;
  unsigned text;  // flags of iso_text_put for foreign text
} iso_term;
void iso_term_open(iso_term *t, const iso_report_term *o, iso_str *out);
// `text` (trusted) in an ANSI style, when colours are wanted.
void iso_term_style(iso_term *t, const char *code, const char *text);
void iso_term_head(iso_term *t, const char *text);
// Foreign text in lines of the terminal's width after `lead`; later lines are indented as far.
void iso_term_wrap(iso_term *t, const char *lead, const char *text, size_t n, unsigned flags);
// n values, one character each; NaN leaves a gap.
void iso_term_spark(iso_term *t, const double *v, int n);

enum { ISO_TERM_CELL = 80, ISO_TERM_COLUMNS = 16 };
// Cells row by row, the first row being the heads.
typedef struct iso_term_table {
  char (*cell)[ISO_TERM_CELL];  // owned
  int64_t n, cap;
  int columns;
  unsigned left;  // bit k: column k is aligned left (column 0 always is)
  bool failed;
} iso_term_table;
void iso_term_table_open(iso_term_table *g, int columns);
// Text of any bytes; NULL is a dash.
void iso_term_cell(iso_term *t, iso_term_table *g, const char *text);
// Prints and frees.
void iso_term_table_close(iso_term *t, iso_term_table *g);
#endif
