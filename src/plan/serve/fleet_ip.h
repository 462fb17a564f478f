// The integer program of a fleet: how many devices of which type carry which part of each bucket of requests, at the least cost per hour.
#ifndef ISO_PLAN_SERVE_FLEET_IP_H
#define ISO_PLAN_SERVE_FLEET_IP_H
#include "base/status.h"

enum { ISO_FLEET_TYPES_MAX = 16, ISO_FLEET_BUCKETS_MAX = 128 };

// min sum_j cost_j B_j  s.t.  sum_j x_ij = 1 for every bucket,  sum_i load_ij x_ij <= B_j,  B_j whole, x_ij >= 0 (Melange, arXiv:2404.14527).
typedef struct iso_fleet_ip {
  int buckets, types;
  const double *load;   // borrowed, [bucket x types + type]: devices that the whole bucket takes; +INFINITY: the type cannot serve it
  const double *cost;   // borrowed, per device, positive
  const int64_t *most;  // borrowed, devices to be had of each type, -1: any number; NULL: any number of all
  int slices;           // a bucket is dealt out in this many equal parts (Melange's slice factor); 0: in any proportion
  int64_t node_limit;   // nodes of the search; 0: 200,000
} iso_fleet_ip;

typedef struct iso_fleet_answer {
  int64_t count[ISO_FLEET_TYPES_MAX];
  double share[ISO_FLEET_BUCKETS_MAX][ISO_FLEET_TYPES_MAX];  // x
  double used[ISO_FLEET_TYPES_MAX];                          // load on each type, <= count
  double cost, bound, gap;                                   // cost; proven lower bound; (cost - bound) / cost, 0 when optimal
  double relaxed;                                            // cost if devices could be had in fractions
  double price[ISO_FLEET_BUCKETS_MAX];                       // shadow price in the relaxation: cost of serving the bucket once more
  double single[ISO_FLEET_TYPES_MAX];                        // cost with this type alone; +INFINITY when it cannot
  int64_t nodes;
  bool optimal;  // false: node_limit was met, see gap
} iso_fleet_answer;
// Branch and bound over linear relaxations (dual simplex); bounds come from the Lagrangian at the duals, valid whatever the rounding errors.
// Errors: ISO_EINVAL for bad numbers or a bucket that no type can serve (names it); ISO_EBUDGET when `most` allows no fleet, or none was found
// within node_limit.
iso_status iso_fleet_ip_solve(const iso_fleet_ip *p, iso_fleet_answer *out, iso_err *err);
#endif
