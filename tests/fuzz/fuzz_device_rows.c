// Fuzzes the reader of measured tables: any bytes give rows that are positive and finite, or an error with a message.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "plan/device/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  // The first byte chooses the kind.
  iso_table_kind k = size ? (iso_table_kind)(data[0] % ISO_TABLE_COUNT) : ISO_TABLE_gemm;
  const char *text = size ? (const char *)data + 1 : "";
  iso_rows r;
  iso_err e = {0};
  iso_status st = iso_rows_parse(text, size ? size - 1 : 0, "fuzz", k, 2, &r, &e);
  if (st != ISO_OK) {
    if (!e.msg[0] || e.status != st || r.shape) abort();
    return 0;
  }
  int cols = iso_table_cols(k);
  if (r.n < 1) abort();
  for (int64_t i = 0; i < r.n; i++) {
    if (!(r.time_s[i] > 0 && isfinite(r.time_s[i]) && r.line[i] >= 1)) abort();
    for (int c = 0; c < cols; c++)
      if (!(r.shape[i * cols + c] >= (k == ISO_TABLE_collective && c == 0 ? 0 : 1) && isfinite(r.shape[i * cols + c]))) abort();
  }
  iso_rows_close(&r);
  return 0;
}
