// A serving device as a plain struct: dense peaks by precision, memory, links, power by phase, price; and a table of common ones.
#ifndef ISO_PLAN_SERVE_DEVICE_H
#define ISO_PLAN_SERVE_DEVICE_H
#include "base/json.h"

// Peaks are dense (no sparsity). A precision without units of its own runs at the next wider one's rate and is NaN here.
typedef struct iso_serve_device {
  char name[24];
  double bf16_flop_s, fp8_flop_s, fp4_flop_s;
  double mem_b, mem_b_s;               // capacity and bandwidth of one device
  double link_b_s;                     // to peers of its node, one direction
  double net_b_s;                      // to devices of other nodes, one direction
  double host_b_s;                     // to host memory, one direction
  int64_t node;                        // devices that share the fast link
  double idle_w, prefill_w, decode_w;  // power of one device: waiting, in prefill, in decode
  double usd_h;                        // rent of one device for an hour
  char source[96];                     // of the figures, and their date
} iso_serve_device;

// Every number must be positive and finite but fp8_flop_s, fp4_flop_s and usd_h, which may be NaN (unknown). ISO_EINVAL names the field.
iso_status iso_serve_device_check(const iso_serve_device *d, iso_err *err);
// Peak FLOP/s at a width of 16, 8 or 4 bits.
double iso_serve_device_peak(const iso_serve_device *d, int bits);
// A built-in device by name ("h100", "a100-80", "h200_sxm"), case ignored; ISO_EINVAL lists what is known.
iso_status iso_serve_device_get(const char *name, const iso_serve_device **out, iso_err *err);
const iso_serve_device *iso_serve_device_at(int i);
json_t *iso_serve_device_json(const iso_serve_device *d);
#endif
