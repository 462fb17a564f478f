// The Pareto front of quality against one resource.
#include "cost/front.h"

#include <math.h>
#include <stdlib.h>

typedef struct entry {
  double cost, quality;
  int64_t i;
} entry;

// By cost, then quality, then position, so that of equal points the first is met first.
static int order(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->cost != y->cost) return x->cost < y->cost ? -1 : 1;
  if (x->quality != y->quality) return x->quality < y->quality ? -1 : 1;
  return x->i < y->i ? -1 : x->i > y->i;
}

iso_status iso_front(const iso_point *pts, int64_t n, iso_res res, int64_t *idx, int64_t *m, iso_err *err) {
  *m = 0;
  for (int64_t i = 1; i < n; i++)
    if (pts[i].predicted != pts[0].predicted) {
      iso_fail(err, ISO_EINVAL, "front: \"%.63s\" is %s and \"%.63s\" is %s; they cannot share a front", pts[0].label,
               pts[0].predicted ? "predicted" : "measured", pts[i].label, pts[i].predicted ? "predicted" : "measured");
      return iso_hint(err, ISO_EINVAL, "draw one front for predictions and one for measurements");
    }
  entry *e = malloc((size_t)(n > 0 ? n : 1) * sizeof *e);
  if (!e) return iso_fail(err, ISO_ENOMEM, "front: no memory for %lld points", (long long)n);
  int64_t k = 0;
  for (int64_t i = 0; i < n; i++) {
    double c = iso_cost_get(&pts[i].cost, res).mean;
    if (!isnan(c) && !isnan(pts[i].quality)) e[k++] = (entry){c, pts[i].quality, i};
  }
  qsort(e, (size_t)k, sizeof *e, order);
  double best = INFINITY;
  for (int64_t i = 0; i < k; i++)
    if (e[i].quality < best) {
      best = e[i].quality;
      idx[(*m)++] = e[i].i;
    }
  free(e);
  return ISO_OK;
}
