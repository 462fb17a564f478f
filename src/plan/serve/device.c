// Serving devices from descriptors.
#include "plan/serve/device.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

iso_status iso_serve_device_from(const iso_device_spec *spec, iso_serve_device *out, iso_err *err) {
  iso_device_estimates e;
  iso_device_spec s = iso_device_spec_complete(spec, &e);
  double peak = iso_device_spec_peak16(&s, NULL);
  if (!(peak > 0)) return iso_fail(err, ISO_EUNSUP, "%s has no peak for bf16, f16 or a wider class", s.name);
  *out = (iso_serve_device){.bf16_flop_s = peak,
                            .fp8_flop_s = s.peak_flop_s[ISO_NUM_fp8],
                            .fp4_flop_s = s.peak_flop_s[ISO_NUM_fp4],
                            .mem_b = s.mem_b,
                            .mem_b_s = s.mem_b_s,
                            .link_b_s = s.intra.b_s,
                            .net_b_s = s.inter.b_s,
                            .host_b_s = s.host.b_s,
                            .node = s.intra.devices > 0 ? s.intra.devices : INT32_MAX,
                            .idle_w = s.idle_w,
                            .prefill_w = s.prefill_w,
                            .decode_w = s.decode_w,
                            .usd_h = s.usd_h};
  snprintf(out->name, sizeof out->name, "%s", s.name);
  int at = snprintf(out->source, sizeof out->source, "%.140s, %s", s.source, s.date);
  for (int i = 0; i < e.n && at > 0 && (size_t)at < sizeof out->source; i++)
    at += snprintf(out->source + at, sizeof out->source - (size_t)at, "%s%s", i ? ", " : "; model: ", e.at[i].key);
  return iso_serve_device_check(out, err);
}

iso_status iso_serve_device_from_device(const iso_device *d, iso_serve_device *out, iso_err *err) {
  return iso_serve_device_from(&d->spec, out, err);
}

iso_status iso_serve_device_get(const char *name, iso_serve_device *out, iso_err *err) {
  iso_device_spec s;
  ISO_TRY(iso_device_spec_find(name, &s, err));
  return iso_serve_device_from(&s, out, err);
}

iso_status iso_serve_device_check(const iso_serve_device *d, iso_err *err) {
  const struct {
    const char *name;
    double v;
    bool optional;
  } f[] = {{"bf16_flop_s", d->bf16_flop_s, false},
           {"fp8_flop_s", d->fp8_flop_s, true},
           {"fp4_flop_s", d->fp4_flop_s, true},
           {"mem_b", d->mem_b, false},
           {"mem_b_s", d->mem_b_s, false},
           {"link_b_s", d->link_b_s, false},
           {"net_b_s", d->net_b_s, false},
           {"host_b_s", d->host_b_s, false},
           {"idle_w", d->idle_w, true},
           {"prefill_w", d->prefill_w, true},
           {"decode_w", d->decode_w, true},
           {"usd_h", d->usd_h, true}};
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

json_t *iso_serve_device_json(const iso_serve_device *d) {
  return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:s}", "name", d->name, "bf16_flop_s",
                   iso_json_num(d->bf16_flop_s), "fp8_flop_s", iso_json_num(d->fp8_flop_s), "fp4_flop_s", iso_json_num(d->fp4_flop_s), "mem_b",
                   iso_json_num(d->mem_b), "mem_b_s", iso_json_num(d->mem_b_s), "link_b_s", iso_json_num(d->link_b_s), "net_b_s",
                   iso_json_num(d->net_b_s), "host_b_s", iso_json_num(d->host_b_s), "node", (json_int_t)d->node, "idle_w", iso_json_num(d->idle_w),
                   "prefill_w", iso_json_num(d->prefill_w), "decode_w", iso_json_num(d->decode_w), "usd_h", iso_json_num(d->usd_h), "source",
                   d->source);
}
