// Reading for sources: bytes from a descriptor through gz or zst, and a growing buffer that moves to disk when it is large.
#ifndef ISO_TEXT_SOURCE_READ_H
#define ISO_TEXT_SOURCE_READ_H
#include "base/ctx.h"

// A stream of unpacked bytes; the compression is known by its first bytes.
typedef struct src_in src_in;
// path "-": standard input. ISO_EIO with the reason when it cannot be opened or is a folder.
iso_status src_in_open(const char *path, src_in **out, iso_err *err);
void src_in_close(src_in *s);
// Up to cap bytes; *n = 0 at the end. Broken or truncated compression is ISO_EFORMAT.
iso_status src_in_read(src_in *s, void *buf, size_t cap, size_t *n, iso_err *err);

// A buffer that only grows: memory up to 256 MiB, then an unnamed file.
typedef struct src_spool {
  uint8_t *p;  // owned: malloc'ed, or a map after src_spool_seal of a file
  size_t n, cap;
  int fd;  // -1 while in memory
  bool mapped;
} src_spool;
void src_spool_init(src_spool *s);
iso_status src_spool_put(iso_ctx *c, src_spool *s, const void *bytes, size_t n, iso_err *err);
// After the last put: p[0 .. n) is all of it.
iso_status src_spool_seal(src_spool *s, iso_err *err);
void src_spool_free(src_spool *s);
#endif
