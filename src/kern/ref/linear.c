// Reference linear layer and its gradients.
#include "kern/ref/ref.h"

// y = x W' + bias + residual.
// x [M,K], W [N,K], bias [N] or NULL, residual [M,N] or NULL, y [M,N].
// sum over K in order.
// mat 2 M N K; vec M N for a bias, M N for a residual.
void iso_ref_linear(const iso_kcall *c) {
  const double *x = c->p[0], *w = c->p[1], *bias = c->p[2], *res = c->p[3];
  double *y = c->p[4], mat = 0, vec = 0;
  int64_t M = c->d[0], N = c->d[1], K = c->d[2];
  for (int64_t m = 0; m < M; m++) {
    for (int64_t n = 0; n < N; n++) {
      double s = 0;
      for (int64_t k = 0; k < K; k++) {
        s += x[m * K + k] * w[n * K + k];
        mat += 2;
      }
      if (bias) {
        s += bias[n];
        vec += 1;
      }
      if (res) {
        s += res[m * N + n];
        vec += 1;
      }
      y[m * N + n] = s;
    }
  }
  ref_tally(c, mat, vec);
}

// dW += dy' x; dbias += column sums of dy; dx = dy W, or dx += dy W when d[3] is 1.
// dy [M,N], x [M,K] (read with dW), W [N,K] (read with dx), dW [N,K] or NULL, dbias [N] or NULL, dx [M,K] or NULL.
// sums over M in order, onto dW and dbias; sums over N in order, onto dx when accumulating.
// mat 2 M N K for each of dW and dx; vec M N for a bias.
void iso_ref_linear_bwd(const iso_kcall *c) {
  const double *dy = c->p[0], *x = c->p[1], *w = c->p[2];
  double *dw = c->p[3], *db = c->p[4], *dx = c->p[5], mat = 0, vec = 0;
  int64_t M = c->d[0], N = c->d[1], K = c->d[2];
  for (int64_t n = 0; n < N; n++) {
    for (int64_t k = 0; dw != NULL && k < K; k++) {
      double s = dw[n * K + k];
      for (int64_t m = 0; m < M; m++) {
        s += dy[m * N + n] * x[m * K + k];
        mat += 2;
      }
      dw[n * K + k] = s;
    }
    for (int64_t m = 0; db != NULL && m < M; m++) {
      db[n] += dy[m * N + n];
      vec += 1;
    }
  }
  for (int64_t m = 0; dx != NULL && m < M; m++) {
    for (int64_t k = 0; k < K; k++) {
      double s = c->d[3] ? dx[m * K + k] : 0;
      for (int64_t n = 0; n < N; n++) {
        s += dy[m * N + n] * w[n * K + k];
        mat += 2;
      }
      dx[m * K + k] = s;
    }
  }
  ref_tally(c, mat, vec);
}
