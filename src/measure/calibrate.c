// Measures peaks and bandwidths of this machine and keeps them as its hardware descriptor.
#include "measure/calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cost/rapl.h"
#include "kern/probe.h"

// Seconds given to each part; quick ones add up to about a second with three classes.
typedef struct effort {
  double arith_s, read_s;
  int sizes;                          // squares of 1024 << i
  double gemm_s[3], other_gemm_s[3];  // a size and way to share: f32; bf16 and int8
} effort;
static const effort EFFORT[] = {
    [ISO_CALIBRATE_QUICK] = {0.03, 0.025, 2, {0.05, 0.14, 0}, {0.03, 0.07, 0}},
    [ISO_CALIBRATE_FULL] = {0.4, 0.3, 3, {0.4, 0.8, 1.8}, {0.3, 0.5, 1.0}},
};
// The peak between the steps of a benchmark: long enough for two products of 4,096 on a fast core, short enough to be of the same minute.
static const effort PEAK = {.sizes = 3, .gemm_s = {0.2, 0.4, 1.0}, .other_gemm_s = {0.2, 0.4, 1.0}};
static const char PHASE[] = "calibrate";

const char *iso_precision_name(iso_precision p) { return p == ISO_PREC_bf16 ? "bf16" : "f32"; }

iso_status iso_precision_parse(const char *text, iso_precision *out, iso_err *err) {
  for (int p = ISO_PREC_f32; p <= ISO_PREC_bf16; p++)
    if (strcmp(text, iso_precision_name((iso_precision)p)) == 0) {
      *out = (iso_precision)p;
      return ISO_OK;
    }
  return iso_fail(err, ISO_EINVAL, "\"%.40s\": not a precision, expected f32 or bf16", text);
}

bool iso_calibrate_native_bf16(const char **why) {
  const iso_kern_table *k;
  iso_cpu_words w;
  iso_cpu_read(&w);
  iso_cpu cpu = iso_cpu_decode(&w);
  const char *no = NULL, *want = getenv("ISOFLOP_KERNELS");
  if (!cpu.avx512_bf16)
    no = "the CPU has no bf16 instructions (avx512_bf16)";
  else if (iso_kern_select(ISO_PREC_bf16, &k, NULL) != ISO_OK || strstr(k->name, "emulated"))
    no = want && *want ? "ISOFLOP_KERNELS chooses kernels without bf16 instructions"
                       : "the CPU multiplies bf16 more slowly than f32 (no tiles; ISOFLOP_KERNELS=avx512-bf16 does so all the same)";
  if (why) *why = no;
  return !no;
}

iso_precision iso_calibrate_precision(const iso_hw *hw) { return hw->gemm_bf16_flop_s > 1.3 * hw->gemm_f32_flop_s ? ISO_PREC_bf16 : ISO_PREC_f32; }

double iso_calibrate_product_rate(const iso_ctx *c, const iso_probe_product *p, iso_probe_share share, double seconds, unsigned char *buf) {
  double best = NAN, flop = 2.0 * (double)p->m * (double)p->n * (double)p->k, start = iso_now_s(c), now = start;
  for (int runs = 0; runs < 100000 && !iso_cancelled(c); runs++) {
    if (!iso_probe_product_run(c, p, share, buf)) break;
    double took = iso_now_s(c) - now;
    now += took;
    if (took > 0 && !(flop / took <= best)) best = flop / took;
    if (now - start >= seconds) break;
  }
  return best;
}

// The highest rate over sizes and ways to share; sizes whose single product would take twice its share of time are left out.
static iso_status gemm_peak(iso_ctx *c, iso_probe_class k, const effort *e, double ram_b, iso_meter *m, double *out, iso_err *err) {
  *out = NAN;
  for (int i = 0; i < e->sizes; i++) {
    int64_t n = INT64_C(1024) << i;
    iso_probe_product p = {.cls = k, .m = n, .n = n, .k = n, .pad = ISO_CALIBRATE_PAD};
    double seconds = k == ISO_PROBE_f32 ? e->gemm_s[i] : e->other_gemm_s[i];
    size_t bytes = iso_probe_product_bytes(&p);
    if (*out * seconds * 2 < 2.0 * (double)n * (double)n * (double)n || (double)bytes > ram_b / 8) break;
    void *buf;
    ISO_TRY(iso_mem_get(c, bytes, "matrices to calibrate with", &buf, err));
    iso_probe_product_fill(&p, buf);
    if (m) iso_meter_sample(m);
    for (int s = 0; s < ISO_PROBE_SHARES; s++) *out = fmax(*out, iso_calibrate_product_rate(c, &p, (iso_probe_share)s, seconds, buf));
    iso_mem_put(c, buf, bytes);
    if (iso_cancelled(c)) return iso_fail(err, ISO_ECANCEL, "calibration stopped");
  }
  return ISO_OK;
}

iso_status iso_calibrate_gemm_peak(iso_ctx *c, iso_precision prec, iso_calibrate_level level, double *flop_s, iso_err *err) {
  const char *why;
  *flop_s = NAN;
  if (prec == ISO_PREC_bf16 && !iso_calibrate_native_bf16(&why)) return iso_fail(err, ISO_EUNSUP, "no peak of bf16 products: %s", why);
  return gemm_peak(c, prec == ISO_PREC_bf16 ? ISO_PROBE_bf16 : ISO_PROBE_f32, level == ISO_CALIBRATE_FULL ? &PEAK : &EFFORT[level], INFINITY, NULL,
                   flop_s, err);
}

// Bytes a worker reads to stay in each level: half of L1 and L2, a quarter of its part of L3 (neighbours use it too) but well above L2,
// and beyond every cache for DRAM. NaN where a size is unknown.
static double l3_bytes(const iso_hw *h) {
  double part = h->l3_b / (double)h->threads;
  return part / 4 >= 2 * h->l2_b ? part / 4 : part / 2 >= 1.5 * h->l2_b ? part / 2 : NAN;
}

static double dram_bytes(const iso_hw *h) { return fmin(fmin(fmax(2 * h->l3_b, 0x1p26), 0x1p28), h->ram_b / 8); }

double iso_calibrate_ram_b(iso_calibrate_level level, const iso_hw *h) {
  double most = fmax(fmax(dram_bytes(h), l3_bytes(h) * (double)h->threads), h->l2_b / 2 * (double)h->threads);
  for (int i = 0; i < EFFORT[level].sizes; i++) {
    int64_t n = INT64_C(1024) << i;
    iso_probe_product p = {.cls = ISO_PROBE_f32, .m = n, .n = n, .k = n, .pad = ISO_CALIBRATE_PAD};
    double bytes = (double)iso_probe_product_bytes(&p);
    if (!(bytes > h->ram_b / 8)) most = fmax(most, bytes);
  }
  return most;
}

static iso_status bandwidth(iso_ctx *c, const effort *e, iso_meter *m, iso_hw *h, iso_err *err) {
  double all = (double)h->threads, dram = dram_bytes(h);
  struct {
    double bytes, *out;
  } level[] = {{h->l1_b / 2 * all, &h->l1_b_s}, {h->l2_b / 2 * all, &h->l2_b_s}, {l3_bytes(h) * all, &h->l3_b_s}, {dram, &h->dram_b_s}};
  double most = dram;
  for (size_t i = 0; i < ISO_COUNT(level); i++) most = fmax(most, level[i].bytes);
  void *buf;
  ISO_TRY(iso_mem_get(c, (size_t)most, "the buffer of the bandwidth probes", &buf, err));
  memset(buf, 1, (size_t)most);  // untouched pages are all one page of zeros
  if (m) iso_meter_sample(m);
  for (size_t i = 0; i < ISO_COUNT(level) && !iso_cancelled(c); i++)
    if (level[i].bytes > 0) *level[i].out = iso_probe_read(c, c->kern, buf, (size_t)level[i].bytes, e->read_s);
  iso_mem_put(c, buf, (size_t)most);
  return iso_cancelled(c) ? iso_fail(err, ISO_ECANCEL, "calibration stopped") : ISO_OK;
}

static void set_today(iso_hw *h) {
  time_t now = time(NULL);
  struct tm tm;
  gmtime_r(&now, &tm);
  if (strftime(h->date, sizeof h->date, "%Y-%m-%d", &tm) == 0) h->date[0] = 0;
}

iso_status iso_calibrate_measure(iso_ctx *c, iso_calibrate_level level, iso_meter *m, iso_hw *out, iso_err *err) {
  const effort *e = &EFFORT[level];
  const char *why;
  iso_hw *h = out;
  iso_rapl rapl;
  ISO_TRY(iso_hw_detect(iso_pool_threads(c->pool), h, err));
  if (!c->kern) return iso_fail(err, ISO_EBUG, "calibration: the context has no kernels");
  iso_note(c, ISO_EVENT_PHASE, PHASE, "measuring arithmetic, memory and matrix products of %s", h->name);
  h->peak_f32_flop_s = iso_probe_arith(c, c->kern, ISO_PROBE_f32, e->arith_s);
  h->peak_bf16_flop_s = iso_probe_arith(c, c->kern, ISO_PROBE_bf16, e->arith_s);
  h->peak_int8_op_s = iso_probe_arith(c, c->kern, ISO_PROBE_int8, e->arith_s);
  ISO_TRY(bandwidth(c, e, m, h, err));
  ISO_TRY(gemm_peak(c, ISO_PROBE_f32, e, h->ram_b, m, &h->gemm_f32_flop_s, err));
  if (iso_calibrate_native_bf16(&why))
    ISO_TRY(gemm_peak(c, ISO_PROBE_bf16, e, h->ram_b, m, &h->gemm_bf16_flop_s, err));
  else
    iso_note(c, ISO_EVENT_NOTE, PHASE, "no bf16 rate: %s", why);
  ISO_TRY(gemm_peak(c, ISO_PROBE_int8, e, h->ram_b, m, &h->gemm_int8_op_s, err));
  // A neighbour may have slowed the short probes of arithmetic: what a product reached, the units can do.
  h->peak_f32_flop_s = fmax(h->peak_f32_flop_s, h->gemm_f32_flop_s);
  h->peak_bf16_flop_s = fmax(h->peak_bf16_flop_s, h->gemm_bf16_flop_s);
  h->peak_int8_op_s = fmax(h->peak_int8_op_s, h->gemm_int8_op_s);
  if (iso_rapl_start(NULL, &rapl))
    (void)snprintf(h->energy_source, sizeof h->energy_source, "rapl");
  else
    iso_note(c, ISO_EVENT_NOTE, PHASE, "no energy counters are readable: joules are modelled (%s)", h->energy_source);
  (void)snprintf(h->source, sizeof h->source, "calibrated");
  set_today(h);
  return ISO_OK;
}

iso_status iso_calibrate(iso_ctx *c, iso_calibrate_level level, iso_meter *m, iso_hw *out, iso_err *err) {
  ISO_TRY(iso_calibrate_measure(c, level, m, out, err));
  return iso_hw_save(c, out, err);
}
