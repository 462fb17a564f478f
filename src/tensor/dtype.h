// Number formats of tensor elements.
#ifndef ISO_TENSOR_DTYPE_H
#define ISO_TENSOR_DTYPE_H
#include <string.h>

#include "base/status.h"

typedef enum iso_dtype {
#define X(name, bytes, doc) ISO_DTYPE_##name,
#include "tensor/dtypes.def"
#undef X
  ISO_DTYPE_COUNT
} iso_dtype;

size_t iso_dtype_bytes(iso_dtype t);
const char *iso_dtype_name(iso_dtype t);

// Round to nearest even; NaN stays NaN (quiet).
static inline uint16_t iso_bf16_from_f32(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)((u >> 16) | 0x40u);
  return (uint16_t)((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}
static inline float iso_f32_from_bf16(uint16_t h) {
  uint32_t u = (uint32_t)h << 16;
  float x;
  memcpy(&x, &u, 4);
  return x;
}
#endif
