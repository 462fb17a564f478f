// Fuzzes the CSV reader of `isoflop fit`: any bytes give points that are positive and finite, or an error with a message.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "plan/fit/fit_csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const where[] = {"set=a"};
  // The first byte chooses the options.
  iso_fit_csv_opts o = {.where = where, .n_where = size && (data[0] & 1), .drop_highest = size ? (data[0] >> 1) % 4 : 0};
  const char *text = size ? (const char *)data + 1 : "";
  iso_fit_data d;
  iso_err e = {0};
  iso_status st = iso_fit_csv_parse(text, size ? size - 1 : 0, "fuzz", &o, &d, &e);
  if (st != ISO_OK) {
    if (!e.msg[0] || e.status != st) abort();
    return 0;
  }
  if (d.n < 1) abort();
  for (int64_t i = 0; i < d.n; i++)
    if (!(d.params[i] > 0 && d.tokens[i] > 0 && d.flop[i] > 0 && d.loss[i] > 0 && isfinite(d.params[i] + d.tokens[i] + d.loss[i]))) abort();
  iso_fit_data_close(&d);
  return 0;
}
