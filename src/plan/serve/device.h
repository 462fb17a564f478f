// A serving device: what the serving planner needs of an iso_device_spec, estimates filled in.
#ifndef ISO_PLAN_SERVE_DEVICE_H
#define ISO_PLAN_SERVE_DEVICE_H
#include "plan/device/device.h"

// Peaks are dense (no sparsity). A precision without units of its own runs at the next wider one's rate and is NaN here.
typedef struct iso_serve_device {
  char name[32];
  double bf16_flop_s, fp8_flop_s, fp4_flop_s;
  double mem_b, mem_b_s;               // capacity and bandwidth of one device
  double link_b_s;                     // to peers of its node, one direction
  double net_b_s;                      // to devices of other nodes, one direction
  double host_b_s;                     // to host memory, one direction
  int64_t node;                        // devices that share the fast link
  double idle_w, prefill_w, decode_w;  // power of one device: waiting, in prefill, in decode
  double usd_h;                        // rent of one device for an hour
  char source[200];                    // of the figures, and what is estimated
} iso_serve_device;

// 16-bit, fp8 and fp4 peaks, memory, links, power and price of a descriptor, with estimates where it lacks them (iso_device_spec_complete).
// ISO_EUNSUP without any 16-bit or wider peak.
iso_status iso_serve_device_from(const iso_device_spec *s, iso_serve_device *out, iso_err *err);
iso_status iso_serve_device_from_device(const iso_device *d, iso_serve_device *out, iso_err *err);
// A compiled-in device by any of its names ("h100", "a100-80", "h200_sxm"). ISO_EINVAL as iso_device_spec_find.
iso_status iso_serve_device_get(const char *name, iso_serve_device *out, iso_err *err);

// Every number must be positive and finite but fp8_flop_s, fp4_flop_s, usd_h and the three powers, which may be NaN (unknown). ISO_EINVAL
// names the field.
iso_status iso_serve_device_check(const iso_serve_device *d, iso_err *err);
// Peak FLOP/s at a width of 16, 8 or 4 bits.
double iso_serve_device_peak(const iso_serve_device *d, int bits);
json_t *iso_serve_device_json(const iso_serve_device *d);
#endif
