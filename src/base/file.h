// Whole files and maps: atomic writes (write, fsync, rename), reads with a size limit, read-only maps.
#ifndef ISO_BASE_FILE_H
#define ISO_BASE_FILE_H
#include "base/ctx.h"

// A file being written under a temporary name beside `path`; it appears at `path` only on commit.
typedef struct iso_out iso_out;
iso_status iso_out_open(iso_ctx *c, const char *path, iso_out **out, iso_err *err);
// Buffered. A full disk is ISO_EFULL and names the path.
iso_status iso_out_write(iso_out *o, const void *buf, size_t n, iso_err *err);
int64_t iso_out_bytes(const iso_out *o);
// Flushes, fsyncs, renames, fsyncs the folder, and closes in every case.
iso_status iso_out_commit(iso_out *o, iso_err *err);
// Removes the temporary file and closes. NULL is allowed.
void iso_out_abort(iso_out *o);

// Writes `n` bytes to `path` atomically.
iso_status iso_file_put(iso_ctx *c, const char *path, const void *buf, size_t n, iso_err *err);
// Reads a whole file of at most `limit` bytes; *out is malloc'ed, NUL-terminated and owned by the caller.
iso_status iso_file_get(const char *path, size_t limit, char **out, size_t *n, iso_err *err);

// A read-only private map of a whole file; size 0 gives data NULL.
typedef struct iso_map {
  const unsigned char *data;  // owned mapping
  size_t size;
} iso_map;
iso_status iso_map_open(const char *path, iso_map *out, iso_err *err);
void iso_map_close(iso_map *m);

bool iso_file_exists(const char *path);
// `path` from the root, links resolved, in buf; as it is when it does not exist or does not fit.
const char *iso_path_abs(const char *path, char *buf, size_t n);
// Creates a folder and its parents (0777 less umask).
iso_status iso_mkdirs(const char *path, iso_err *err);
// $ISOFLOP_HOME, else $XDG_DATA_HOME/isoflop, else $HOME/.local/share/isoflop; created. `buf` gets the path of `name` in it.
iso_status iso_home_path(const char *name, char *buf, size_t n, iso_err *err);
#endif
