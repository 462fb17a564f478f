// Serving plans as JSON: what one model does on one kind of device, and which fleet carries a trace.
#ifndef ISO_PLAN_SERVE_PLAN_JSON_H
#define ISO_PLAN_SERVE_PLAN_JSON_H
#include "plan/serve/advisor.h"
#include "plan/serve/calib.h"
#include "plan/serve/context.h"
#include "plan/serve/fleet.h"
#include "plan/serve/ondemand.h"
#include "plan/serve/ops.h"
#include "plan/serve/split.h"

// Coefficients of a device, and 90% of measured over predicted time that goes with them; hi is NaN for peak rates, of which nothing is known.
typedef struct iso_serve_rates {
  iso_serve_coef coef;
  double lo, hi, ttft_lo, ttft_hi;
  char source[96];
} iso_serve_rates;
// `calib`, else what `measured` (may be NULL) was calibrated to, else the default; `ideal`: peak rates. ISO_EFORMAT for a bad calibration.
iso_status iso_serve_rates_of(const iso_calib *calib, const iso_device *measured, const char *backend, const iso_serve_device *d, const char *format,
                              bool ideal, iso_serve_rates *out, iso_err *err);

// `isoflop plan infer`: one model on one layout. Pointers are borrowed.
typedef struct iso_infer_req {
  const iso_serve_shape *shape;
  const iso_serve_device *device;
  const char *format;     // NULL: bf16
  int64_t devices;        // 0: the fewest (a power of two up to a node) that hold one sequence
  double prompt, output;  // tokens
  double batch;           // 0: as many as fit
  double mem_share;       // of a device's memory, in (0, 1]
  double slo_itl_s;       // for the advice; +INFINITY: none
  double eps;             // of the batching advisor
  double host_kv_b;       // > 0: also the rate with experts in host memory and this much cache there
  iso_serve_store store;  // of weights that memory does not hold, read on demand; rate_b_s 0: none, memory must hold them
  // What `device` was made from, or NULL: its own serving calibration is used unless `calib` says otherwise. A device without one has its
  // operator tables stand for the roofline where there are any (ops.h).
  const iso_device *measured;
  const iso_calib *calib;                  // NULL: the measured device's, else iso_calib_default
  const char *backend;                     // of the calibration; NULL: pooled
  bool ideal;                              // peak rates in place of a calibration
  double flop_eff, mem_eff, collective_s;  // NaN, or peak rates times these two shares, and so many seconds an exchange between devices
  double weight_b, kv_b;                   // 0, or bytes of a weight and of a cached element in place of the format's
  double samples;                          // answers to one prompt, for FLOPs with the cache's reads among them (iso_serve_eflops)
} iso_infer_req;
// bf16, 90% of memory, no limit, eps 0.1, one sample.
iso_infer_req iso_infer_req_default(void);
#define ISO_SERVE_INTERVALS "90% of measured over predicted times of models that the calibration had not seen; bytes are counted"
// A time or what grows with it, from lo to hi times `mid` but never below the floor, with what bounds it where that is known.
json_t *iso_serve_interval_json(double mid, double lo, double hi, double floor_s, const char *bound);
// *out: memory, users, ttft_s (of one prompt), batch_prefill_s (of all of the batch at once), itl_s, switch_s, throughput, energy, cost, eflop,
// advice. Predicted times carry {value, lo, hi, floor, bound}; lo and hi span
// 90% of measured over predicted of models that a calibration had not seen, and what follows from times (advice, energy, price) is worked out
// at both ends too. `source` says which times come from tables, `warnings` that the request is longer than the model's context. Errors:
// ISO_ENOMEM names the bytes that do not fit. With a store, batch 0 is one sequence where weights are read from it, devices 0 is one device.
iso_status iso_infer_plan_json(const iso_infer_req *q, json_t **out, iso_err *err);

// `isoflop plan serve`: the cheapest fleet for a trace.
typedef struct iso_serve_req {
  const iso_serve_shape *shape;
  const char *format;                     // NULL: bf16
  const iso_serve_device *const *device;  // kinds to choose from
  int n_devices;
  const int64_t *replica_devices;  // devices of a replica by kind, 0: the fewest that fit, or 2, 4, 8 times them; NULL: 0 for all
  const int64_t *most;             // replicas to be had by kind, -1: any number; NULL: any
  const iso_serve_trace *trace;
  iso_fleet_opts fleet;
  bool split;                         // also pools split by phase, beside mixed pools of one type
  bool split_by_watts;                // of least provisioned power, else of least rent
  const iso_device *const *measured;  // by kind, as iso_infer_req's; NULL: none
  const iso_calib *calib;
  const iso_calib *const *calib_of;  // by kind, in place of calib; NULL: calib for all
  const char *backend;
} iso_serve_req;
iso_serve_req iso_serve_req_default(void);
// *out: the fleet with its cost as {value, lo, hi} (lo and hi: planned with times at the calibration's interval, not simulated), bound and gap,
// buckets, the simulation, and the pools when asked for. Device kinds that cannot hold the model are left out and listed under "left_out" with
// the reason; ISO_ENOMEM when all are. Other errors as iso_fleet_plan_run's.
iso_status iso_serve_plan_json(const iso_serve_req *q, json_t **out, iso_err *err);
#endif
