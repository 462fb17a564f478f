// Reference cross-entropy: over given logits, and fused with the linear head.
#include <math.h>

#include "kern/ref/ref.h"

// A target outside [0, V) is ignored: no loss, no count, zero gradient.
static bool counts(int32_t target, int64_t V) { return target >= 0 && target < V; }

static double scale_of(const void *hyp) { return hyp ? ((const iso_hyp *)hyp)->loss_scale : 1; }

// Loss of one row z [V] in nats: log sum exp z - z[target], added to loss[2]; dz [V] or NULL = scale (softmax(z) - 1[target]),
// may be z. Counts vec 3 V + 4, with dz 3 V + 1 more.
static double row_loss(const double *z, int64_t V, int32_t target, double scale, double *loss, double *dz, double *vec) {
  double top = -INFINITY, sum = 0;
  for (int64_t v = 0; v < V; v++) top = z[v] > top ? z[v] : top;
  for (int64_t v = 0; v < V; v++) {
    sum += exp(z[v] - top);
    *vec += 3;
  }
  double lse = top + log(sum), nats = lse - z[target];
  loss[0] += nats;
  loss[1] += 1;
  *vec += 4;
  for (int64_t v = 0; dz != NULL && v < V; v++) {
    double p = exp(z[v] - lse);
    *vec += 3;
    if (v == target) {
      p -= 1;
      *vec += 1;
    }
    dz[v] = scale * p;
  }
  return nats;
}

// loss += sum over rows of (log sum exp z - z[target]); dz = scale (softmax(z) - 1[target]).
// logits z [M,V], targets i[M] (outside 0..V-1: ignored), loss f64[2] += (nats, tokens), dz [M,V] or NULL, row loss [M] or NULL.
// largest logit subtracted before exp; sums in order.
// with n counted rows: mat 0; vec n (3 V + 4), n (3 V + 1) more with dz.
void iso_ref_softmax_xent(const iso_kcall *c) {
  const double *z = c->p[0];
  const int32_t *target = c->p[1];
  double *loss = c->p[2], *dz = c->p[3], *row = c->p[4], scale = scale_of(c->p[5]), vec = 0;
  int64_t M = c->d[0], V = c->d[1];
  for (int64_t m = 0; m < M; m++) {
    bool on = counts(target[m], V);
    double nats = on ? row_loss(z + m * V, V, target[m], scale, loss, dz ? dz + m * V : NULL, &vec) : 0;
    if (row) row[m] = nats;
    for (int64_t v = 0; dz != NULL && !on && v < V; v++) dz[m * V + v] = 0;
  }
  ref_tally(c, 0, vec);
}

// z = x W', then as softmax_xent: dx = dz W, dW += dz' x.
// x [M,D], W [V,D], targets i[M], loss f64[2] +=, dx [M,D] or NULL, dW [V,D] += or NULL, row loss [M] or NULL, hyp or NULL in p[7].
// sums in order; ignored rows are skipped (dx row 0).
// with n counted rows: mat 2 n V D for the logits, 2 n V D for dx, 2 n V D for dW; vec n (3 V + 4), n (3 V + 1) more with dx or dW.
void iso_ref_head_loss(const iso_kcall *c) {
  const double *x = c->p[0], *w = c->p[1];
  const int32_t *target = c->p[2];
  double *loss = c->p[3], *dx = c->p[4], *dw = c->p[5], *row = c->p[6], scale = scale_of(c->p[7]);
  double *z = (double *)(void *)c->scratch, mat = 0, vec = 0;
  int64_t M = c->d[0], D = c->d[1], V = c->d[2];
  for (int64_t m = 0; m < M; m++) {
    for (int64_t i = 0; dx != NULL && i < D; i++) dx[m * D + i] = 0;
    if (row) row[m] = 0;
    if (!counts(target[m], V)) continue;
    for (int64_t v = 0; v < V; v++) {
      z[v] = 0;
      for (int64_t i = 0; i < D; i++) {
        z[v] += x[m * D + i] * w[v * D + i];
        mat += 2;
      }
    }
    double nats = row_loss(z, V, target[m], scale, loss, dx || dw ? z : NULL, &vec);
    if (row) row[m] = nats;
    for (int64_t v = 0; dx != NULL && v < V; v++) {
      for (int64_t i = 0; i < D; i++) {
        dx[m * D + i] += z[v] * w[v * D + i];
        mat += 2;
      }
    }
    for (int64_t v = 0; dw != NULL && v < V; v++) {
      for (int64_t i = 0; i < D; i++) {
        dw[v * D + i] += z[v] * x[m * D + i];
        mat += 2;
      }
    }
  }
  ref_tally(c, mat, vec);
}
