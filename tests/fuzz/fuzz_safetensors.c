// Fuzzes the safetensors reader: what it accepts must be covered exactly, and readable to the last byte.
#include <stdlib.h>

#include "model/fmt_safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  iso_st *s;
  iso_err err = {0};
  if (iso_st_parse(data, size, "fuzz", &s, &err) != ISO_OK) {
    if (s || !err.msg[0]) abort();
    return 0;
  }
  int64_t bytes = 0;
  unsigned sum = 0;
  for (int64_t i = 0; i < iso_st_count(s); i++) {
    const iso_st_info *t = iso_st_at(s, i);
    if (iso_st_find(s, t->name) != t) abort();
    for (int64_t k = 0; k < t->bytes; k++) sum += t->data[k];
    bytes += t->bytes;
    float *x = malloc((size_t)t->elems * sizeof *x + 1);
    if (x) (void)iso_st_read_f32(t, x, &err);
    free(x);
  }
  if (bytes > (int64_t)size - 8) abort();
  volatile unsigned sink = sum;
  (void)sink;
  iso_st_close(s);
  return 0;
}
