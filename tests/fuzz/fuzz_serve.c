// Fuzzes the readers of request traces and measured serving points: any bytes give usable numbers, or an error with a message.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "plan/serve/calib.h"
#include "plan/serve/trace.h"

static void check(iso_status st, const iso_err *e) {
  if (st != ISO_OK && (!e->msg[0] || e->status != st)) abort();
}

static void trace(const char *text, size_t n) {
  iso_serve_trace t;
  iso_trace_stats s;
  iso_bucket b[ISO_BUCKETS_MAX];
  iso_err e = {0};
  int buckets;
  iso_status st = iso_serve_trace_parse(text, n, "fuzz", &t, &e);
  check(st, &e);
  if (st != ISO_OK) return;
  for (int64_t i = 0; i < t.n; i++)
    if (t.at[i].prompt < 1 || t.at[i].output < 1 || !(t.at[i].arrival_s >= (i ? t.at[i - 1].arrival_s : 0))) abort();
  check(iso_serve_trace_stats(&t, &s, &e), &e);
  check(iso_serve_buckets(&t, b, &buckets, &e), &e);
  iso_serve_trace_close(&t);
}

static void points(const char *text, size_t n) {
  iso_serve_points p;
  iso_err e = {0};
  iso_calib c = iso_calib_default();
  iso_status st = iso_serve_points_parse(text, n, "fuzz", NULL, &p, &e);
  check(st, &e);
  if (st != ISO_OK) return;
  for (int64_t i = 0; i < p.n; i++) {
    double tpot, ttft;
    st = iso_calib_predict(&c, &p.at[i], &tpot, &ttft, &e);
    check(st, &e);
    if (st == ISO_OK && !(tpot > 0 && ttft > 0 && isfinite(tpot) && isfinite(ttft))) abort();
  }
  iso_serve_points_close(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!size) return 0;
  const char *text = (const char *)data + 1;  // the first byte chooses the reader
  if (data[0] & 1)
    trace(text, size - 1);
  else
    points(text, size - 1);
  return 0;
}
