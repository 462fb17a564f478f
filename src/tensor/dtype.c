// Names and sizes of number formats.
#include "tensor/dtype.h"

static const struct {
  const char *name;
  size_t bytes;
} ROWS[ISO_DTYPE_COUNT] = {
#define X(name, bytes, doc) [ISO_DTYPE_##name] = {#name, bytes},
#include "tensor/dtypes.def"
#undef X
};

size_t iso_dtype_bytes(iso_dtype t) { return ROWS[t].bytes; }
const char *iso_dtype_name(iso_dtype t) { return ROWS[t].name; }
