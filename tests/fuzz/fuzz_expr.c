// Fuzzes expressions over columns: any text is refused with a message, or has one value, which a pair of parentheses does not change.
#include "plan/fit/expr.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Names up to 12 characters exist; the longer the name, the larger its number, and every third is empty.
static int name_of(void *self, const char *name, iso_err *err) {
  (void)self;
  size_t n = strlen(name);
  if (n == 0) abort();
  if (n <= 12) return (int)n;
  iso_fail(err, ISO_EINVAL, "no name %.40s", name);
  return -1;
}
static iso_status number(void *self, int k, double *out, iso_err *err) {
  (void)self;
  *out = k % 3 ? k * 1.5 : NAN;
  return k == 11 ? iso_fail(err, ISO_EFORMAT, "column %d is no number", k) : ISO_OK;
}
static iso_status text_of(void *self, int k, const char **out, iso_err *err) {
  (void)self;
  *out = k % 2 ? "c4" : "";
  return k == 12 ? iso_fail(err, ISO_EINVAL, "column %d is no text", k) : ISO_OK;
}

// Whether s is an expression with a value.
static bool value(const char *s, double *out) {
  iso_expr *e = NULL;
  iso_err err = {0};
  iso_status st = iso_expr_open(s, name_of, NULL, &e, &err);
  if (st != ISO_OK && (!err.msg[0] || err.status != st || e)) abort();
  if (st != ISO_OK) return false;
  st = iso_expr_eval(e, number, text_of, NULL, out, &err);
  iso_expr_close(e);
  if (st != ISO_OK && (!err.msg[0] || err.status != st)) abort();
  return st == ISO_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  double plain = 0, wrapped = 0;
  char *s = malloc(size + 3);
  if (!s) return 0;
  s[0] = '(';
  memcpy(s + 1, data, size);
  s[size + 1] = 0;
  bool has = value(s + 1, &plain);
  size_t n = strlen(s + 1);
  s[n + 1] = ')';
  s[n + 2] = 0;
  // One level of parentheses more may be one too many.
  if (has && value(s, &wrapped) && !(plain == wrapped || (isnan(plain) && isnan(wrapped)))) abort();
  free(s);
  return 0;
}
