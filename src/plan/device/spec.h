// Device descriptors: what an accelerator or server CPU can do by its data sheet, with source and date; compiled in or from a JSON file.
#ifndef ISO_PLAN_DEVICE_SPEC_H
#define ISO_PLAN_DEVICE_SPEC_H
#include "base/json.h"
#include "cost/hw.h"

// Number classes, ISO_NUM_f64 and so on.
typedef enum iso_num {
#define X(name, bytes, help) ISO_NUM_##name,
#include "plan/device/nums.def"
#undef X
  ISO_NUM_COUNT
} iso_num;
const char *iso_num_name(iso_num t);
double iso_num_bytes(iso_num t);  // of an element; 0.5 for 4-bit classes
// ISO_EINVAL with the names and "did you mean".
iso_status iso_num_find(const char *name, iso_num *out, iso_err *err);

// A link as one device sees it.
typedef struct iso_device_link {
  char name[48];     // "NVLink 4"; empty: no such link
  double b_s;        // bytes per second per device and direction, all its lanes together
  double latency_s;  // of one step of a collective over it
  int64_t devices;   // how many devices it joins; 0: any number
} iso_device_link;

// One device. Peaks are dense (no structured sparsity), for all units together. Unknown and unsupported are NaN.
typedef struct iso_device_spec {
  char name[32];  // lower case letters, digits, - + and .; also the stem of its file
  char aliases[96];
  char vendor[24];
  char kind[8];  // gpu, tpu or cpu
  char source[200], date[16];
  char note[160];
  int64_t units;                      // SMs, compute units, matrix units or cores, for wave quantisation; 0: unknown
  double peak_flop_s[ISO_NUM_COUNT];  // FLOP/s (operations per second for integers)
  double mem_b, mem_b_s;              // memory and its bandwidth
  double cache_b;                     // largest on-chip cache that all units share
  double tdp_w;
  double usd_h;  // of one device rented by the hour
  char price_source[120], price_date[16];
  iso_device_link intra, inter, host;  // inside a host, between hosts, to the host's memory
  double idle_w, prefill_w, decode_w;  // power of one device: waiting, in large products (prefill, training), decoding
  char power_source[96];
  double host_mem_b, host_mem_b_s, host_w;  // a device's share of its host: memory, its bandwidth, power of all but the devices
  char host_source[120];
} iso_device_spec;

// The compiled-in devices (devices.def), in the order of the list.
int64_t iso_device_spec_count(void);
iso_device_spec iso_device_spec_at(int64_t i);
// Every number NaN, every string empty.
iso_device_spec iso_device_spec_blank(void);
// By name or alias, without case, with blanks and underscores as hyphens. ISO_EINVAL with "did you mean".
iso_status iso_device_spec_find(const char *name, iso_device_spec *out, iso_err *err);
// Whether `name` is this device's name or one of its aliases.
bool iso_device_spec_is(const iso_device_spec *s, const char *name);
// A machine that isoflop calibrate measured, as a device called `name`: peaks are the best products seen.
iso_status iso_device_spec_from_hw(const iso_hw *hw, const char *name, iso_device_spec *out, iso_err *err);

// Peak of 16-bit products: bf16, else f16, else of the next wider class that there is; *t (may be NULL) says which. NaN: only narrower ones.
double iso_device_spec_peak16(const iso_device_spec *s, iso_num *t);

// Planners need numbers that a descriptor may lack. Rules of thumb stand in for them; all of these are tagged `model`.
enum { ISO_DEVICE_ESTIMATES_MAX = 16 };
typedef struct iso_device_estimate {
  const char *key;  // as in JSON; "intra.b_s" for a link's
  double value;
  const char *rule;
} iso_device_estimate;
typedef struct iso_device_estimates {
  int n;
  iso_device_estimate at[ISO_DEVICE_ESTIMATES_MAX];
} iso_device_estimates;
// The descriptor with estimates for missing links, power by phase and share of the host. Power stays NaN where the design power is unknown.
// `e` may be NULL.
iso_device_spec iso_device_spec_complete(const iso_device_spec *s, iso_device_estimates *e);

// Array of {key, value, rule, source: "model"}.
json_t *iso_device_estimates_json(const iso_device_estimates *e);

json_t *iso_device_spec_json(const iso_device_spec *s);
// Required: name, source, date, mem_b, mem_b_s and one peak. ISO_EFORMAT names the key: unknown keys, numbers that are not positive, texts too long.
iso_status iso_device_spec_from_json(const json_t *j, const char *what, iso_device_spec *out, iso_err *err);
#endif
