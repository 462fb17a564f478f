// Filling and naming errors.
#include "base/status.h"

#include <stdio.h>
#include <string.h>

iso_status iso_fail(iso_err *err, iso_status st, const char *fmt, ...) {
  if (!err) return st;
  va_list ap;
  va_start(ap, fmt);
  err->status = st;
  err->hint[0] = 0;
  (void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
  va_end(ap);
  return st;
}

iso_status iso_hint(iso_err *err, iso_status st, const char *fmt, ...) {
  if (!err) return st;
  va_list ap;
  va_start(ap, fmt);
  (void)vsnprintf(err->hint, sizeof err->hint, fmt, ap);
  va_end(ap);
  return st;
}

iso_status iso_err_prefix(iso_err *err, iso_status st, const char *fmt, ...) {
  if (!err) return st;
  char head[256], old[sizeof err->msg];
  va_list ap;
  va_start(ap, fmt);
  (void)vsnprintf(head, sizeof head, fmt, ap);
  va_end(ap);
  memcpy(old, err->msg, sizeof old);
  int n = snprintf(err->msg, sizeof err->msg, "%s: ", head);
  size_t k = n < 0 ? 0 : (size_t)n < sizeof err->msg ? (size_t)n : sizeof err->msg - 1;
  (void)snprintf(err->msg + k, sizeof err->msg - k, "%s", old);
  return st;
}

const char *iso_status_name(iso_status st) {
  switch (st) {
    case ISO_OK: return "ok";
    case ISO_EINVAL: return "bad argument";
    case ISO_EIO: return "input/output error";
    case ISO_EFORMAT: return "bad format";
    case ISO_ENOMEM: return "out of memory";
    case ISO_EBUDGET: return "budget too small";
    case ISO_EUNSUP: return "not available here";
    case ISO_ECANCEL: return "stopped";
    case ISO_ENUM: return "numerical failure";
    case ISO_EFULL: return "disk full";
    case ISO_EBUG: return "internal error";
  }
  return "unknown status";
}
