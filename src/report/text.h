// Private to report: text of any bytes made safe for its destination, and numbers as people read them.
#ifndef ISO_REPORT_TEXT_H
#define ISO_REPORT_TEXT_H
#include "base/json.h"
#include "base/str.h"
#include "cost/budget.h"

// How text is written. Invalid UTF-8 becomes U+FFFD, one for each maximal subpart (Unicode 15, section 3.9). Unless RAW, control characters
// become their pictures (U+2400...) and direction overrides U+FFFD, so that no text can drive a terminal or reorder a page.
enum {
  ISO_TEXT_HTML = 1,   // & < > " ' as references
  ISO_TEXT_ASCII = 2,  // anything beyond ASCII becomes '?'
  ISO_TEXT_LINE = 4,   // line breaks and tabs become spaces
  ISO_TEXT_RAW = 8     // keep control characters (for JSON, which escapes them)
};
// Appends n bytes of p (NULL: nothing).
void iso_text_put(iso_str *s, const char *p, size_t n, unsigned flags);
void iso_text_add(iso_str *s, const char *p, unsigned flags);
// The next code point of p[0..n), n > 0, in *cp; returns the bytes it took.
size_t iso_text_next(const char *p, size_t n, uint32_t *cp);
// Columns on a terminal, one for each code point.
int iso_text_columns(const char *p, size_t n);
// A JSON string of any bytes; null for NULL.
json_t *iso_text_json(const char *p);
json_t *iso_text_json_n(const char *p, size_t n);

enum { ISO_TEXT_NUM = 40 };
// "1.23M", "4.1k", "0.0213"; NaN is a dash ("-" with ascii). All return buf, ISO_TEXT_NUM bytes.
char *iso_text_count(double v, bool ascii, char *buf);
// A quantity with its unit: "1.50 GiB", "4m52s", "3.12e14 FLOP".
char *iso_text_res(double v, iso_unit u, bool ascii, char *buf);
// Fixed digits after the point.
char *iso_text_fixed(double v, int digits, bool ascii, char *buf);
// 3.12e14: three significant digits.
char *iso_text_sci(double v, bool ascii, char *buf);
// Four significant digits, e-notation outside 1e-3 ... 1e5.
char *iso_text_sig(double v, bool ascii, char *buf);
// measured / predicted as "1.03x" or "×1.03".
char *iso_text_ratio(double measured, double predicted, bool ascii, char *buf);
#endif
