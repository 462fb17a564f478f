// A device as planners use it: its descriptor, the tables fitted to a user's measurements, and predicted times of operators.
#ifndef ISO_PLAN_DEVICE_DEVICE_H
#define ISO_PLAN_DEVICE_DEVICE_H
#include "base/arena.h"
#include "plan/device/table.h"

// Calibrations of whole planners that a device carries: training layouts (plan/layout) and serving (plan/serve). Kept as the JSON objects
// that those libraries write and read.
typedef enum iso_device_cal { ISO_DEVICE_CAL_layout, ISO_DEVICE_CAL_serving, ISO_DEVICE_CAL_COUNT } iso_device_cal;
const char *iso_device_cal_key(iso_device_cal c);  // "layout_calibration", "serving_calibration"

typedef struct iso_device {
  iso_device_spec spec;
  iso_device_table *table[ISO_TABLE_COUNT];  // owned; NULL: not measured
  json_t *cal[ISO_DEVICE_CAL_COUNT];         // owned; NULL: not fitted
} iso_device;

// A device of this descriptor without tables. Close with iso_device_close.
iso_status iso_device_new(const iso_device_spec *spec, iso_device **out, iso_err *err);
// By name or alias: hw/<name>.device.json in isoflop's home when there is one, else the compiled-in descriptor. A text with a slash or that
// ends in .json is a path. ISO_EINVAL with "did you mean" for an unknown name, ISO_EFORMAT for a damaged file.
iso_status iso_device_open(const char *name_or_path, iso_device **out, iso_err *err);
void iso_device_close(iso_device *d);
// hw/<name>.device.json in isoflop's home. ISO_EINVAL for a name that is no file name.
iso_status iso_device_path(const char *name, char *buf, size_t n, iso_err *err);
iso_status iso_device_save(iso_ctx *c, const iso_device *d, iso_err *err);
// Names of the devices saved in isoflop's home, sorted, in an arena.
iso_status iso_device_saved(iso_arena *a, const char *const **names, int64_t *n, iso_err *err);
json_t *iso_device_json(const iso_device *d);
// The descriptor's keys, and optionally "tables": an array, and the calibrations' objects. "estimates", which hw show prints, are made again and not
// read.
iso_status iso_device_from_json(const json_t *j, const char *what, iso_device **out, iso_err *err);

// Takes over a reference to `j` in place of the calibration there; NULL: none.
void iso_device_set_cal(iso_device *d, iso_device_cal c, json_t *j);

// Fits a table to rows and puts it in place of the one of that kind. As iso_device_table_fit.
iso_status iso_device_fit(iso_pool *pool, iso_device *d, const iso_rows *rows, iso_num t, const char *what, iso_err *err);

// Seconds of an operator on one device of this kind: from the table when there is one, else the roofline with usual efficiencies. All return
// ISO_EINVAL for sizes that are not positive and ISO_EUNSUP when the device has no such number class or link.
//
// C(m,n) = A(m,k) B(k,n), operands of class t.
iso_status iso_device_gemm_s(const iso_device *d, int64_t m, int64_t n, int64_t k, iso_num t, iso_time *out, iso_err *err);
// `groups` such products in one kernel, as experts' are: the fixed seconds of a launch are paid once. groups need not be whole.
iso_status iso_device_grouped_gemm_s(const iso_device *d, double groups, int64_t m, int64_t n, int64_t k, iso_num t, iso_time *out, iso_err *err);
// Causal attention of `batch` sequences of `tokens` new tokens: (B, T, H, Hd) on (B, T, K, Hd).
iso_status iso_device_prefill_s(const iso_device *d, int64_t batch, int64_t tokens, int64_t heads, int64_t kv_heads, int64_t head_dim, iso_num t,
                                iso_time *out, iso_err *err);
// One new token in each of `batch` sequences that attends to itself and `cached` tokens.
iso_status iso_device_decode_s(const iso_device *d, int64_t batch, int64_t cached, int64_t heads, int64_t kv_heads, int64_t head_dim, iso_num t,
                               iso_time *out, iso_err *err);
// A collective among `gpus` devices with a buffer of `bytes` (as in iso_rows): over the link inside a host while it joins that many, else
// over the one between hosts. One device alone takes no time.
iso_status iso_device_collective_s(const iso_device *d, iso_coll op, int64_t gpus, double bytes, iso_time *out, iso_err *err);
// Whether there is a table with rows of this collective.
bool iso_device_has_collective(const iso_device *d, iso_coll op);
#endif
