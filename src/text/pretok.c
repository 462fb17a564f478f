// The GPT-2 pre-tokenizer as a hand-written scanner over UTF-8.
#include "text/pretok.h"

#include "text/ucd.h"

enum { OTHER = 0, LETTER = 1, NUMBER = 2, SPACE = 3, MULTI = 4 };

// Class by first byte; MULTI: decode to know.
static const uint8_t byte_class[256] = {
    ['\t' ... '\r'] = SPACE, [' '] = SPACE, ['0' ... '9'] = NUMBER, ['A' ... 'Z'] = LETTER, ['a' ... 'z'] = LETTER, [0x80 ... 0xFF] = MULTI,
};

int iso_pretok_class(uint32_t cp) {
  uint32_t b = cp >> 8;
  if (b >= UCD_BLOCKS) return OTHER;
  return (ucd_bits[ucd_index[b] * 64 + ((cp & 255) >> 2)] >> (2 * (cp & 3))) & 3;
}

// Well-formed UTF-8 by table 3-7 of the Unicode standard: no overlong forms, no surrogates, nothing above U+10FFFF.
size_t iso_utf8_next(const uint8_t *p, size_t n, uint32_t *cp) {
  uint32_t a = p[0];
  *cp = UINT32_MAX;
  if (a < 0x80) {
    *cp = a;
    return 1;
  }
  if (a < 0xC2 || a > 0xF4 || n < 2 || (p[1] & 0xC0) != 0x80) return 1;
  uint32_t b = p[1] & 0x3F;
  if (a < 0xE0) {
    *cp = (a & 0x1F) << 6 | b;
    return 2;
  }
  if (n < 3 || (p[2] & 0xC0) != 0x80) return 1;
  uint32_t c = p[2] & 0x3F;
  if (a < 0xF0) {
    uint32_t v = (a & 0x0F) << 12 | b << 6 | c;
    if (v < 0x800 || (v >= 0xD800 && v < 0xE000)) return 1;
    *cp = v;
    return 3;
  }
  if (n < 4 || (p[3] & 0xC0) != 0x80) return 1;
  uint32_t v = (a & 0x07) << 18 | b << 12 | c << 6 | (p[3] & 0x3Fu);
  if (v < 0x10000 || v > 0x10FFFF) return 1;
  *cp = v;
  return 4;
}

static __attribute__((noinline)) int multi_class(const uint8_t *p, size_t n, size_t *len) {
  uint32_t cp;
  *len = iso_utf8_next(p, n, &cp);
  return iso_pretok_class(cp);
}

static inline int class_at(const uint8_t *p, size_t n, size_t *len) {
  int c = byte_class[p[0]];
  *len = 1;
  return c == MULTI ? multi_class(p, n, len) : c;
}

// End of the run of class `c` that reaches to i.
static inline size_t run_end(const uint8_t *p, size_t n, size_t i, int c) {
  while (i < n) {
    if (byte_class[p[i]] == c) {
      i++;
      continue;
    }
    size_t len;
    if (byte_class[p[i]] != MULTI || multi_class(p + i, n - i, &len) != c) break;
    i += len;
  }
  return i;
}

// \s+(?!\S)|\s+ : a run gives its last character up to what follows, unless it is all there is.
static size_t space_end(const uint8_t *p, size_t n, size_t first) {
  size_t i = first, last = 0, len;
  while (i < n && class_at(p + i, n - i, &len) == SPACE) {
    last = i;
    i += len;
  }
  return i == n || last == 0 ? i : last;
}

// Length of 's 't 're 've 'm 'll 'd at p, or 0.
static inline size_t contraction(const uint8_t *p, size_t n) {
  if (n < 2) return 0;
  switch (p[1]) {
    case 's':
    case 't':
    case 'm':
    case 'd': return 2;
    case 'r':
    case 'v': return n > 2 && p[2] == 'e' ? 3 : 0;
    case 'l': return n > 2 && p[2] == 'l' ? 3 : 0;
    default: return 0;
  }
}

size_t iso_pretok_next(const uint8_t *p, size_t n) {
  size_t len;
  if (p[0] == '\'') {
    size_t k = contraction(p, n);
    if (k) return k;
  }
  if (p[0] == ' ' && n > 1) {
    int c = class_at(p + 1, n - 1, &len);
    return c == SPACE ? space_end(p, n, 0) : run_end(p, n, 1 + len, c);
  }
  int c = class_at(p, n, &len);
  return c == SPACE ? space_end(p, n, 0) : run_end(p, n, len, c);
}

// Class of the character that ends at p[i], i > 0. Lead bytes never continue a character, so reading backwards is exact.
static int class_before(const uint8_t *p, size_t i) {
  if (p[i - 1] < 0x80) return byte_class[p[i - 1]];
  for (size_t k = 2; k <= 4 && k <= i; k++) {
    uint32_t cp;
    if (iso_utf8_next(p + i - k, k, &cp) == k) return iso_pretok_class(cp);
    if ((p[i - k] & 0xC0) != 0x80) break;
  }
  return OTHER;
}

size_t iso_pretok_cut(const uint8_t *p, size_t n, size_t at) {
  for (size_t i = at ? at : 1; i < n; i++)
    if (byte_class[p[i]] == SPACE && class_before(p, i) != SPACE) return i;
  return n;
}
