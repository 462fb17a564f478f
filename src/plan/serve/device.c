// The table of serving devices.
#include "plan/serve/device.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const iso_serve_device DEVICES[] = {
#define X(n, bf16, fp8, fp4, gb, gbs, link, net, host, in_node, wi, wp, wd, usd, src) \
  {n, (bf16)*1e12, (fp8)*1e12, (fp4)*1e12, (gb)*1e9, (gbs)*1e9, (link)*1e9, (net)*1e9, (host)*1e9, in_node, wi, wp, wd, usd, src},
#include "plan/serve/devices.def"
#undef X
};

iso_status iso_serve_device_check(const iso_serve_device *d, iso_err *err) {
  const struct {
    const char *name;
    double v;
    bool optional;
  } f[] = {{"bf16_flop_s", d->bf16_flop_s, false}, {"fp8_flop_s", d->fp8_flop_s, true},
           {"fp4_flop_s", d->fp4_flop_s, true},    {"mem_b", d->mem_b, false},
           {"mem_b_s", d->mem_b_s, false},         {"link_b_s", d->link_b_s, false},
           {"net_b_s", d->net_b_s, false},         {"host_b_s", d->host_b_s, false},
           {"idle_w", d->idle_w, false},           {"prefill_w", d->prefill_w, false},
           {"decode_w", d->decode_w, false},       {"usd_h", d->usd_h, true}};
  for (size_t i = 0; i < ISO_COUNT(f); i++) {
    if (f[i].optional && isnan(f[i].v)) continue;
    if (!(f[i].v > 0 && f[i].v < INFINITY))
      return iso_fail(err, ISO_EINVAL, "device %s: %s is %g, expected a positive number", d->name, f[i].name, f[i].v);
  }
  if (d->node < 1) return iso_fail(err, ISO_EINVAL, "device %s: node is %lld, expected at least 1", d->name, (long long)d->node);
  return ISO_OK;
}

double iso_serve_device_peak(const iso_serve_device *d, int bits) {
  if (bits <= 4 && !isnan(d->fp4_flop_s)) return d->fp4_flop_s;
  if (bits <= 8 && !isnan(d->fp8_flop_s)) return d->fp8_flop_s;
  return d->bf16_flop_s;
}

const iso_serve_device *iso_serve_device_at(int i) { return i >= 0 && i < (int)ISO_COUNT(DEVICES) ? &DEVICES[i] : NULL; }

// "h200_sxm" is "h200", "a100" is "a100-80".
static bool same_device(const char *name, const char *key) {
  size_t k = 0;
  while (key[k] && tolower((unsigned char)name[k]) == key[k]) k++;
  if (!key[k]) return !name[k] || name[k] == '_';
  return !name[k] && !strcmp(key + k, "-80");
}

iso_status iso_serve_device_get(const char *name, const iso_serve_device **out, iso_err *err) {
  char known[300] = "";
  size_t at = 0;
  *out = NULL;
  for (size_t i = 0; i < ISO_COUNT(DEVICES); i++) {
    if (same_device(name, DEVICES[i].name)) {
      *out = &DEVICES[i];
      return ISO_OK;
    }
    at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", DEVICES[i].name);
  }
  return iso_fail(err, ISO_EINVAL, "device \"%.40s\" is not known; known are %s", name, known);
}

json_t *iso_serve_device_json(const iso_serve_device *d) {
  return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:s}", "name", d->name, "bf16_flop_s",
                   iso_json_num(d->bf16_flop_s), "fp8_flop_s", iso_json_num(d->fp8_flop_s), "fp4_flop_s", iso_json_num(d->fp4_flop_s), "mem_b",
                   iso_json_num(d->mem_b), "mem_b_s", iso_json_num(d->mem_b_s), "link_b_s", iso_json_num(d->link_b_s), "net_b_s",
                   iso_json_num(d->net_b_s), "host_b_s", iso_json_num(d->host_b_s), "node", (json_int_t)d->node, "idle_w", iso_json_num(d->idle_w),
                   "prefill_w", iso_json_num(d->prefill_w), "decode_w", iso_json_num(d->decode_w), "usd_h", iso_json_num(d->usd_h), "source",
                   d->source);
}
