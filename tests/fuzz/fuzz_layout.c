// Any bytes as a table of measured layouts: refused with a reason, or rows that the model can price.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "plan/layout/layout_fit.h"

static void check(bool ok) {
  if (!ok) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  iso_device_spec a100;
  iso_layout_machine m;
  iso_layout_cal c = iso_layout_cal_default();
  iso_layout_rows r;
  iso_err e = {0};
  check(iso_device_spec_find("a100-80", &a100, &e) == ISO_OK && iso_layout_machine_from(&a100, &m, &e) == ISO_OK);
  if (iso_layout_rows_parse((const char *)data, size, "fuzz", &m, &r, &e) != ISO_OK) {
    check(e.msg[0] != 0 && !r.row);
    return 0;
  }
  for (int64_t i = 0; i < r.n && i < 64; i++) {
    iso_layout_step s;
    iso_layout_mem k;
    iso_layout_memory(&r.row[i].job, &r.row[i].layout, &k);
    check(k.total_b > 0 && k.total_b < INFINITY);
    check(iso_layout_step_cost(&r.row[i].job, &m, &c, &r.row[i].layout, &s, &e) == ISO_OK);
    check(s.step_s >= s.roofline_s && s.mfu <= s.hfu * (1 + 1e-12) && s.hfu <= 1);
  }
  iso_layout_rows_close(&r);
  return 0;
}
