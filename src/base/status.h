// Status codes and the error record that every fallible function fills in.
#ifndef ISO_BASE_STATUS_H
#define ISO_BASE_STATUS_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// 0 is success, errors are negative. The CLI maps them to exit codes (cli/exit.h).
typedef enum iso_status {
  ISO_OK = 0,
  ISO_EINVAL = -1,   // an argument or a combination of arguments makes no sense
  ISO_EIO = -2,      // the operating system refused a read, write, open, rename
  ISO_EFORMAT = -3,  // bytes from outside do not follow their format
  ISO_ENOMEM = -4,   // memory could not be had, or a memory limit would be passed
  ISO_EBUDGET = -5,  // the work does not fit the budget
  ISO_EUNSUP = -6,   // known, but not available here
  ISO_ECANCEL = -7,  // the user asked to stop; state has been saved
  ISO_ENUM = -8,     // numbers went wrong (NaN, divergence, no convergence)
  ISO_EFULL = -9,    // no space left on the device
  ISO_EBUG = -10     // an internal contract was broken
} iso_status;

// What went wrong, where, and what to do about it. Plain storage, no ownership; copy freely.
typedef struct iso_err {
  iso_status status;
  char msg[480];   // one sentence: what, where, expected and actual
  char hint[240];  // what to do; may be empty
} iso_err;

// Fills *err (which may be NULL) and returns `st`, so that `return iso_fail(...)` reads well.
iso_status iso_fail(iso_err *err, iso_status st, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
// Adds a hint ("what to do") to an error that has just been filled; returns err->status.
iso_status iso_hint(iso_err *err, iso_status st, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
// Puts "prefix: " in front of the message, e.g. the file name; returns `st`.
iso_status iso_err_prefix(iso_err *err, iso_status st, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
// A short word for a status, e.g. "bad format".
const char *iso_status_name(iso_status st);

// Passes a failure up. Use only where nothing is held; else `goto done`.
#define ISO_TRY(call)                              \
  do {                                             \
    iso_status iso_try_st_ = (call);               \
    if (iso_try_st_ != ISO_OK) return iso_try_st_; \
  } while (0)
// Same, for functions with one `done:` label and a variable `st`.
#define ISO_TRYG(call)           \
  do {                           \
    st = (call);                 \
    if (st != ISO_OK) goto done; \
  } while (0)

#define ISO_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#endif
