// Text of any bytes made safe for HTML, JSON and terminals; numbers as people read them.
#include "report/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { REPLACEMENT = 0xFFFD };

// Bytes that follow lead byte b, and the range of the second byte (Unicode 15, table 3-7); -1 when b starts nothing.
static int follow(unsigned char b, unsigned char *lo, unsigned char *hi) {
  *lo = 0x80;
  *hi = 0xBF;
  if (b < 0x80) return 0;
  if (b >= 0xC2 && b <= 0xDF) return 1;
  if (b >= 0xE0 && b <= 0xEF) {
    if (b == 0xE0) *lo = 0xA0;
    if (b == 0xED) *hi = 0x9F;
    return 2;
  }
  if (b >= 0xF0 && b <= 0xF4) {
    if (b == 0xF0) *lo = 0x90;
    if (b == 0xF4) *hi = 0x8F;
    return 3;
  }
  return -1;
}

size_t iso_text_next(const char *p, size_t n, uint32_t *cp) {
  const unsigned char *u = (const unsigned char *)p;
  unsigned char lo, hi;
  int more = follow(u[0], &lo, &hi);
  *cp = REPLACEMENT;
  if (more < 0) return 1;
  uint32_t v = more == 0 ? u[0] : u[0] & (0x3Fu >> more);
  for (int i = 1; i <= more; i++) {
    if ((size_t)i >= n || u[i] < lo || u[i] > hi) return (size_t)i;
    v = v << 6 | (u[i] & 0x3Fu);
    lo = 0x80;
    hi = 0xBF;
  }
  *cp = v;
  return (size_t)more + 1;
}

static void put_cp(iso_str *s, uint32_t c) {
  char b[4];
  if (c < 0x80) {
    b[0] = (char)c;
    iso_str_put(s, b, 1);
  } else if (c < 0x800) {
    b[0] = (char)(0xC0 | c >> 6);
    b[1] = (char)(0x80 | (c & 0x3F));
    iso_str_put(s, b, 2);
  } else if (c < 0x10000) {
    b[0] = (char)(0xE0 | c >> 12);
    b[1] = (char)(0x80 | (c >> 6 & 0x3F));
    b[2] = (char)(0x80 | (c & 0x3F));
    iso_str_put(s, b, 3);
  } else {
    b[0] = (char)(0xF0 | c >> 18);
    b[1] = (char)(0x80 | (c >> 12 & 0x3F));
    b[2] = (char)(0x80 | (c >> 6 & 0x3F));
    b[3] = (char)(0x80 | (c & 0x3F));
    iso_str_put(s, b, 4);
  }
}

static uint32_t harmless(uint32_t c, unsigned flags) {
  if ((c == '\n' || c == '\t') && !(flags & ISO_TEXT_LINE)) return c;
  if (c == '\n' || c == '\t' || c == 0x2028 || c == 0x2029) return ' ';
  if (c < 0x20) return 0x2400 + c;
  if (c == 0x7F) return 0x2421;
  bool bidi = (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0x200E || c == 0x200F || c == 0x061C;
  return (c >= 0x80 && c < 0xA0) || bidi ? REPLACEMENT : c;
}

void iso_text_put(iso_str *s, const char *p, size_t n, unsigned flags) {
  for (size_t i = 0; p && i < n;) {
    uint32_t c;
    i += iso_text_next(p + i, n - i, &c);
    if (!(flags & ISO_TEXT_RAW))
      c = harmless(c, flags);
    else if (c == 0)
      c = REPLACEMENT;  // many JSON readers refuse NUL
    if ((flags & ISO_TEXT_ASCII) && c > 0x7E) c = '?';
    const char *ref = NULL;
    if (flags & ISO_TEXT_HTML) ref = c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&quot;" : c == '\'' ? "&#39;" : NULL;
    if (ref)
      iso_str_add(s, ref);
    else
      put_cp(s, c);
  }
}

void iso_text_add(iso_str *s, const char *p, unsigned flags) {
  if (p) iso_text_put(s, p, strlen(p), flags);
}

int iso_text_columns(const char *p, size_t n) {
  int k = 0;
  for (size_t i = 0; i < n; k++) {
    uint32_t c;
    i += iso_text_next(p + i, n - i, &c);
  }
  return k;
}

json_t *iso_text_json_n(const char *p, size_t n) {
  if (!p) return json_null();
  iso_str s = {0};
  iso_text_put(&s, p, n, ISO_TEXT_RAW);
  json_t *j = s.failed ? NULL : json_stringn(s.p ? s.p : "", s.n);
  iso_str_free(&s);
  return j;
}

json_t *iso_text_json(const char *p) { return iso_text_json_n(p, p ? strlen(p) : 0); }

static char *dash(bool ascii, char *buf) {
  (void)snprintf(buf, ISO_TEXT_NUM, "%s", ascii ? "-" : "–");
  return buf;
}

char *iso_text_count(double v, bool ascii, char *buf) {
  static const char SUFFIX[] = {0, 'k', 'M', 'B', 'T'};
  if (isnan(v)) return dash(ascii, buf);
  double a = fabs(v);
  size_t i = 0;
  // 999.95k would print as 1000k: step up when three digits round to a thousand.
  while (i + 1 < sizeof SUFFIX && a >= 999.5) {
    a /= 1000;
    i++;
  }
  if (a >= 99999) return iso_text_sci(v, ascii, buf);
  int digits = i == 0 && a == floor(a) ? 0 : a >= 100 ? 0 : a >= 10 ? 1 : 2;
  if (i == 0 && a < 0.995 && a > 0)
    (void)snprintf(buf, ISO_TEXT_NUM, "%.3g", v);
  else
    (void)snprintf(buf, ISO_TEXT_NUM, "%s%.*f%.1s", v < 0 ? "-" : "", digits, a, i ? &SUFFIX[i] : "");
  return buf;
}

char *iso_text_sci(double v, bool ascii, char *buf) {
  if (isnan(v)) return dash(ascii, buf);
  if (isinf(v) || v == 0) {
    (void)snprintf(buf, ISO_TEXT_NUM, "%g", v);
    return buf;
  }
  char raw[32];
  (void)snprintf(raw, sizeof raw, "%.2e", v);
  char *e = strchr(raw, 'e');
  int power = 0;
  if (e) {
    (void)sscanf(e + 1, "%d", &power);
    *e = 0;
  }
  (void)snprintf(buf, ISO_TEXT_NUM, "%se%d", raw, power);
  return buf;
}

char *iso_text_res(double v, iso_unit u, bool ascii, char *buf) {
  if (isnan(v)) return dash(ascii, buf);
  if (isinf(v)) return iso_unit_print(v, u, buf, ISO_TEXT_NUM);
  switch (u) {
    case ISO_UNIT_FLOP: {
      char num[ISO_TEXT_NUM];
      (void)snprintf(buf, ISO_TEXT_NUM, "%.20s FLOP", iso_text_sci(v, ascii, num));
      return buf;
    }
    case ISO_UNIT_COUNT:
    case ISO_UNIT_TOK: return iso_text_count(v, ascii, buf);
    case ISO_UNIT_S:
      if (v == 0) return strcpy(buf, "0 s");
      if (v >= 1e-3 && v < 0.9995)
        (void)snprintf(buf, ISO_TEXT_NUM, "%.3g ms", 1000 * v);
      else
        (void)iso_unit_print(v, u, buf, ISO_TEXT_NUM);
      // "5m00s" of exactly five minutes says less than "5m".
      if (v >= 120 && fmod(v, v < 7200 ? 60 : 3600) == 0) buf[strlen(buf) - 3] = 0;
      return buf;
    default: break;
  }
  return iso_unit_print(v, u, buf, ISO_TEXT_NUM);
}

char *iso_text_fixed(double v, int digits, bool ascii, char *buf) {
  if (isnan(v)) return dash(ascii, buf);
  if (fabs(v) >= 1e7) return iso_text_sci(v, ascii, buf);
  (void)snprintf(buf, ISO_TEXT_NUM, "%.*f", digits, v);
  return buf;
}

char *iso_text_sig(double v, bool ascii, char *buf) {
  if (isnan(v)) return dash(ascii, buf);
  double a = fabs(v);
  if (a != 0 && (a >= 1e5 || a < 1e-3)) return iso_text_sci(v, ascii, buf);
  (void)snprintf(buf, ISO_TEXT_NUM, "%.4g", v);
  return buf;
}

char *iso_text_ratio(double measured, double predicted, bool ascii, char *buf) {
  double r = measured / predicted;
  if (!isfinite(r)) return dash(ascii, buf);
  (void)snprintf(buf, ISO_TEXT_NUM, r >= 100 ? (ascii ? "%.3gx" : "×%.3g") : ascii ? "%.2fx" : "×%.2f", r);
  return buf;
}
