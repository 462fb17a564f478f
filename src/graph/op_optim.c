// Optimizer updates and the gradient norm.
#include "graph/op.h"

static void sumsq_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  (void)have;
  *o = (iso_opcost){0, 2 * (double)d[0], (double)d[0], 0};
}

static void adamw_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double n = (double)d[0];
  (void)have;
  *o = (iso_opcost){0, 14 * n, 4 * n, 4 * n};
}

// The Newton-Schulz steps are a setting of the step (iso_hyp), five unless told otherwise.
static void muon_cost(const int64_t *d, const bool *have, iso_opcost *o) {
  double layers = (double)d[0], cols = (double)d[2], elems = (double)d[1] * cols, mat = 0;
  const int steps = 5;
  (void)have;
  for (int i = 0; i < 4; i++) {
    double rows = (double)(d[3 + i] > 0 ? d[3 + i] : i == 0 ? d[1] : 0), s = rows < cols ? rows : cols, l = rows < cols ? cols : rows;
    mat += steps * (4 * s * s * l + 2 * s * s * s);
  }
  *o = (iso_opcost){layers * mat, layers * elems * 12, layers * elems * 3, layers * elems * 3};
}

const iso_op iso_op_sumsq = {"sumsq", "ra", ISO_K_sumsq, "", sumsq_cost, NULL};
const iso_op iso_op_adamw = {"adamw", "xxxxi", ISO_K_adamw, "", adamw_cost, NULL};
const iso_op iso_op_muon = {"muon", "xxxi", ISO_K_muon, "", muon_cost, NULL};
