// Reference embedding lookup, its gradient, and addition.
#include "kern/ref/ref.h"

// y[m] = W[ids[m]] + P[m mod T], P optional (learned positions: Radford et al. 2018).
// ids i[M], W [V,D], P [T,D], y [M,D].
// exact, or one rounding.
// mat 0; vec M D if P, else 0.
void iso_ref_embed(const iso_kcall *c) {
  const int32_t *ids = c->p[0];
  const double *w = c->p[1], *pos = c->p[2];
  double *y = c->p[3], vec = 0;
  int64_t M = c->d[0], D = c->d[1], T = c->d[3];
  for (int64_t m = 0; m < M; m++) {
    for (int64_t i = 0; i < D; i++) {
      double e = w[ids[m] * D + i];
      if (pos) {
        e += pos[m % T * D + i];
        vec += 1;
      }
      y[m * D + i] = e;
    }
  }
  ref_tally(c, 0, vec);
}

// dW[ids[m]] += dy[m]; dP[m mod T] += dy[m].
// ids i[M], dy [M,D], dW [V,D], dP [T,D] or NULL.
// sums over rows in order of m.
// mat 0; vec M D, twice that with dP.
void iso_ref_embed_bwd(const iso_kcall *c) {
  const int32_t *ids = c->p[0];
  const double *dy = c->p[1];
  double *dw = c->p[2], *dpos = c->p[3], vec = 0;
  int64_t M = c->d[0], D = c->d[1], T = c->d[3];
  for (int64_t m = 0; m < M; m++) {
    for (int64_t i = 0; i < D; i++) {
      dw[ids[m] * D + i] += dy[m * D + i];
      vec += 1;
      if (dpos) {
        dpos[m % T * D + i] += dy[m * D + i];
        vec += 1;
      }
    }
  }
  ref_tally(c, 0, vec);
}

// y = a + b.
// a, b, y [n]; y may be a or b.
// one rounding.
// mat 0; vec n.
void iso_ref_add(const iso_kcall *c) {
  const double *a = c->p[0], *b = c->p[1];
  double *y = c->p[2];
  for (int64_t i = 0; i < c->d[0]; i++) y[i] = a[i] + b[i];
  ref_tally(c, 0, (double)c->d[0]);
}
