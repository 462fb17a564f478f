// Points of quality against cost, and the Pareto front among them.
#ifndef ISO_COST_FRONT_H
#define ISO_COST_FRONT_H
#include "cost/budget.h"

typedef struct iso_point {
  iso_cost cost;
  double quality;  // lower is better: a loss
  double stderr_;  // standard error of quality, NaN when unknown
  bool predicted;
  char label[64];
} iso_point;

// Indices of the points that no other beats in both quality and mean cost of `res`, by rising cost (and so falling loss); of equal points
// the first. Points with an unknown cost or loss are left out. idx holds n; *m gets the count. ISO_EINVAL when predicted and measured
// points are mixed.
iso_status iso_front(const iso_point *pts, int64_t n, iso_res res, int64_t *idx, int64_t *m, iso_err *err);
#endif
