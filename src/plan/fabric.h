// What a cluster's network costs: switches and cables of folded Clos networks (fat trees) of any number of layers, in one plane or several.
#ifndef ISO_PLAN_FABRIC_H
#define ISO_PLAN_FABRIC_H
#include "base/status.h"

typedef struct iso_fabric_plan {
  int64_t endpoints;            // network ports of the devices together
  int64_t radix;                // ports of a switch, even
  int64_t planes;               // networks side by side, each for an equal part of the endpoints (arXiv:2505.09343, section 5.1)
  double switch_usd, link_usd;  // of a switch, and of a cable between two switches; those to the endpoints come with the endpoints
} iso_fabric_plan;
// 64 ports, one plane, and the prices that DeepSeek's two costs an endpoint leave: 4.39 k$ with two layers, 7.5 k$ with three.
iso_fabric_plan iso_fabric_plan_default(void);

typedef struct iso_fabric {
  int64_t layers;               // the fewest whose full network holds a plane's endpoints
  int64_t most;                 // endpoints that so many layers hold, over all planes
  double switches, links, usd;  // each per endpoint, of a network built to its full size
} iso_fabric;
// A full fat tree of n layers of radix k has 2 (k / 2)^n endpoints, (2 n - 1) / k switches and n - 1 cables between switches for each of them
// (Al-Fares et al. 2008, doi 10.1145/1402958.1402967, has n = 3). ISO_EINVAL names the number that makes no sense.
iso_status iso_fabric_of(const iso_fabric_plan *p, iso_fabric *out, iso_err *err);
#endif
