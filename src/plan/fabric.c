// Counts and costs of fat trees.
#include "plan/fabric.h"

#include <math.h>

enum { LAYERS_MAX = 8 };

// 3/64 S + L = 4,390 and 5/64 S + 2 L = 7,500 dollars an endpoint.
iso_fabric_plan iso_fabric_plan_default(void) {
  return (iso_fabric_plan){.endpoints = 0, .radix = 64, .planes = 1, .switch_usd = 81920, .link_usd = 550};
}

iso_status iso_fabric_of(const iso_fabric_plan *p, iso_fabric *out, iso_err *err) {
  if (p->endpoints < 1) return iso_fail(err, ISO_EINVAL, "network: %lld endpoints, expected 1 or more", (long long)p->endpoints);
  if (p->radix < 4 || p->radix % 2 || p->radix > 65536)
    return iso_fail(err, ISO_EINVAL, "network: switches of %lld ports, expected an even number from 4", (long long)p->radix);
  if (p->planes < 1 || p->planes > p->endpoints) return iso_fail(err, ISO_EINVAL, "network: %lld planes", (long long)p->planes);
  if (!(p->switch_usd >= 0 && p->link_usd >= 0 && isfinite(p->switch_usd + p->link_usd)))
    return iso_fail(err, ISO_EINVAL, "network: prices of %g and %g, expected 0 or more", p->switch_usd, p->link_usd);
  double half = (double)p->radix / 2, each = ceil((double)p->endpoints / (double)p->planes), most = (double)p->radix;
  int64_t n = 1;
  // A single switch needs no other: all of its ports are endpoints.
  for (; most < each && n < LAYERS_MAX; n++) most = 2 * pow(half, (double)n + 1);
  if (most < each)
    return iso_fail(err, ISO_EINVAL, "network: %g endpoints a plane need more than %d layers of %lld ports", each, LAYERS_MAX, (long long)p->radix);
  double layers = (double)n;
  *out = (iso_fabric){
      .layers = n, .most = (int64_t)fmin(most * (double)p->planes, 9e18), .switches = (2 * layers - 1) / (double)p->radix, .links = layers - 1};
  out->usd = out->switches * p->switch_usd + out->links * p->link_usd;
  return ISO_OK;
}
