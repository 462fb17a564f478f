// Calibration: peaks of arithmetic and matrix products per number class, read bandwidth per memory level, energy source.
#ifndef ISO_MEASURE_CALIBRATE_H
#define ISO_MEASURE_CALIBRATE_H
#include "cost/hw.h"
#include "cost/meter.h"
#include "kern/probe.h"

// quick: under 1.5 s, products up to 2,048; full: under 20 s, up to 4,096, each kept longer.
typedef enum iso_calibrate_level { ISO_CALIBRATE_QUICK, ISO_CALIBRATE_FULL } iso_calibrate_level;

// Measures this machine with the context's threads, writes hw/<id>.json in isoflop's home (source "calibrated", today's date) and *out.
// A class that the CPU has no instructions for stays NaN and an event says why. Memory: iso_calibrate_ram_b; a size that does not fit into
// an eighth of the machine's is left out. `m` (may be NULL) is sampled while buffers are held, so that its peak has them.
// ISO_ECANCEL between the parts when the context is cancelled; *out is then what was measured so far, and nothing is written.
iso_status iso_calibrate(iso_ctx *c, iso_calibrate_level level, iso_meter *m, iso_hw *out, iso_err *err);
// What iso_calibrate measures, without writing a file.
iso_status iso_calibrate_measure(iso_ctx *c, iso_calibrate_level level, iso_meter *m, iso_hw *out, iso_err *err);
// Bytes of its largest buffer on the machine `h` (sizes of memory and caches are read; unknown ones count as the least buffer): some 50 MB
// for products of 2,048 (quick), 200 MB for 4,096, or twice the last cache level, 64 to 256 MiB, that bandwidth is read from.
double iso_calibrate_ram_b(iso_calibrate_level level, const iso_hw *h);

// The GEMM peak alone, to judge steps by that are timed before and after it: the best oneDNN rate, in our tiles or with its own threads, over
// squares of 1,024, 2,048 and 4,096 (quick: the first two), leading dimension 16 above. bf16 is ISO_EUNSUP where it is emulated.
iso_status iso_calibrate_gemm_peak(iso_ctx *c, iso_precision prec, iso_calibrate_level level, double *flop_s, iso_err *err);

// Leading dimension above the width of the squares that peaks are taken from.
enum { ISO_CALIBRATE_PAD = 16 };
// Best operations per second of one product repeated for about `seconds` (once at least); buf holds iso_probe_product_bytes, filled. NaN when
// oneDNN refuses it.
double iso_calibrate_product_rate(const iso_ctx *c, const iso_probe_product *p, iso_probe_share share, double seconds, unsigned char *buf);

// The precision to train in: bf16 when its products run at more than 1.3 times the rate of f32, else f32 (so also when unknown).
iso_precision iso_calibrate_precision(const iso_hw *hw);
// Whether bf16 products run on bf16 instructions with the kernels that iso_kern_select chooses; `why` (may be NULL) says why not.
bool iso_calibrate_native_bf16(const char **why);
const char *iso_precision_name(iso_precision p);
// ISO_EINVAL names the choices.
iso_status iso_precision_parse(const char *text, iso_precision *out, iso_err *err);
#endif
