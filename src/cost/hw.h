// What a machine can do: peaks, bandwidths and power, each descriptor with its source and date.
#ifndef ISO_COST_HW_H
#define ISO_COST_HW_H
#include "base/json.h"

// Rates and bandwidths are for all `threads` together; unknown is NaN.
typedef struct iso_hw {
  char id[20];          // 16 hex digits: hash of vendor, family, model, stepping, model name, isa and threads
  char name[64];        // short name, e.g. "AMD EPYC x2"
  char source[16];      // "calibrated", "datasheet" or "detected" (nothing measured yet)
  char date[24];        // ISO 8601 day of the source
  char vendor[16];      // e.g. "GenuineIntel"
  char model_name[64];  // as the operating system says it
  int64_t family, model, stepping;
  char isa[128];  // space separated: sse4_2 avx2 fma f16c avx512f avx512bw avx512_vnni avx512_bf16 amx_bf16 amx_int8 ...
  int64_t threads;
  double peak_f32_flop_s, peak_bf16_flop_s, peak_int8_op_s;  // of operands in registers, at least what a product reached
  double gemm_f32_flop_s, gemm_bf16_flop_s, gemm_int8_op_s;  // best matrix product seen
  double l1_b_s, l2_b_s, l3_b_s, dram_b_s;                   // read bandwidth
  double l1_b, l2_b, l3_b, ram_b;                            // sizes in bytes (per core for l1 and l2, of one instance)
  double idle_w, core_w;                                     // model: idle share of these threads, and more per busy core
  char energy_source[64];                                    // "rapl" or "model:<row of the power table>"
} iso_hw;

// Every number NaN, every string empty, integers 0.
iso_hw iso_hw_blank(void);
// Identity, isa, cache sizes, memory and the power estimate of this machine used with `threads` threads (0: iso_ctx_default_threads).
iso_status iso_hw_detect(int threads, iso_hw *out, iso_err *err);
// The same from the text of a /proc/cpuinfo; sizes stay unknown. For tests and for machines described elsewhere.
iso_status iso_hw_from_cpuinfo(const char *text, int threads, iso_hw *out, iso_err *err);
// Joules by the model: idle_w x wall + core_w x cpu; NaN when a figure is unknown.
double iso_hw_energy_j(const iso_hw *hw, double wall_s, double cpu_s);

json_t *iso_hw_json(const iso_hw *hw);
iso_status iso_hw_from_json(const json_t *j, const char *what, iso_hw *out, iso_err *err);
// hw/<id>.json in isoflop's home.
iso_status iso_hw_path(const char *id, char *buf, size_t n, iso_err *err);
iso_status iso_hw_save(iso_ctx *c, const iso_hw *hw, iso_err *err);
// ISO_EIO when there is none; ISO_EFORMAT when the file is damaged or of another id.
iso_status iso_hw_load(const char *id, iso_hw *out, iso_err *err);
#endif
