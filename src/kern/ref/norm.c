// Reference RMSNorm and LayerNorm with their gradients.
#include <math.h>

#include "kern/ref/ref.h"

// y = x rstd g, rstd = 1 / sqrt(mean(x^2) + eps) (Zhang and Sennrich 2019, arXiv 1910.07467).
// x [M,D], g [D], y [M,D], rstd [M].
// sum over D in order.
// mat 0; vec M (4 D + 4).
void iso_ref_rmsnorm(const iso_kcall *c) {
  const double *x = c->p[0], *g = c->p[1];
  double *y = c->p[2], *rstd = c->p[3], vec = 0;
  int64_t M = c->d[0], D = c->d[1];
  for (int64_t m = 0; m < M; m++, x += D, y += D) {
    double s = 0;
    for (int64_t i = 0; i < D; i++) {
      s += x[i] * x[i];
      vec += 2;
    }
    rstd[m] = 1 / sqrt(s / (double)D + c->a[0]);
    vec += 4;
    for (int64_t i = 0; i < D; i++) {
      y[i] = x[i] * rstd[m] * g[i];
      vec += 2;
    }
  }
  ref_tally(c, 0, vec);
}

// with h = x rstd and e = dy g: dx = rstd (e - h mean(e h)), dg += dy h; dx adds to what is there when d[2] is 1.
// x, dy, dx [M,D], g, dg [D], rstd [M].
// sums over D, and over M for dg, in order.
// mat 0; vec M (11 D + 1), M D more when dx accumulates.
void iso_ref_rmsnorm_bwd(const iso_kcall *c) {
  const double *x = c->p[0], *g = c->p[1], *rstd = c->p[2], *dy = c->p[3];
  double *dx = c->p[4], *dg = c->p[5], vec = 0;
  int64_t M = c->d[0], D = c->d[1];
  for (int64_t m = 0; m < M; m++, x += D, dy += D, dx += D) {
    double mean = 0;
    for (int64_t i = 0; i < D; i++) {
      double h = x[i] * rstd[m];
      dg[i] += dy[i] * h;
      mean += dy[i] * g[i] * h;
      vec += 6;
    }
    mean /= (double)D;
    vec += 1;
    for (int64_t i = 0; i < D; i++) {
      double h = x[i] * rstd[m], v = rstd[m] * (dy[i] * g[i] - h * mean);
      vec += 5;
      if (c->d[2]) {
        v += dx[i];
        vec += 1;
      }
      dx[i] = v;
    }
  }
  ref_tally(c, 0, vec);
}

// y = (x - mean) rstd g + b, rstd = 1 / sqrt(var + eps), var divides by D (Ba et al. 2016, arXiv 1607.06450).
// x [M,D], g, b [D], y [M,D], mean, rstd [M].
// two passes, sums over D in order.
// mat 0; vec M (8 D + 5).
void iso_ref_layernorm(const iso_kcall *c) {
  const double *x = c->p[0], *g = c->p[1], *b = c->p[2];
  double *y = c->p[3], *mean = c->p[4], *rstd = c->p[5], vec = 0;
  int64_t M = c->d[0], D = c->d[1];
  for (int64_t m = 0; m < M; m++, x += D, y += D) {
    double s = 0, q = 0;
    for (int64_t i = 0; i < D; i++) {
      s += x[i];
      vec += 1;
    }
    mean[m] = s / (double)D;
    for (int64_t i = 0; i < D; i++) {
      double z = x[i] - mean[m];
      q += z * z;
      vec += 3;
    }
    rstd[m] = 1 / sqrt(q / (double)D + c->a[0]);
    vec += 5;
    for (int64_t i = 0; i < D; i++) {
      y[i] = (x[i] - mean[m]) * rstd[m] * g[i] + b[i];
      vec += 4;
    }
  }
  ref_tally(c, 0, vec);
}

// with h = (x - mean) rstd and e = dy g: dx = rstd (e - mean(e) - h mean(e h)), dg += dy h, db += dy.
// x, dy, dx [M,D], g, dg, db [D], mean, rstd [M]; dx adds to what is there when d[2] is 1.
// sums over D, and over M for dg and db, in order.
// mat 0; vec M (16 D + 2), M D more when dx accumulates.
void iso_ref_layernorm_bwd(const iso_kcall *c) {
  const double *x = c->p[0], *g = c->p[1], *mean = c->p[2], *rstd = c->p[3], *dy = c->p[4];
  double *dx = c->p[5], *dg = c->p[6], *db = c->p[7], vec = 0;
  int64_t M = c->d[0], D = c->d[1];
  for (int64_t m = 0; m < M; m++, x += D, dy += D, dx += D) {
    double s1 = 0, s2 = 0;
    for (int64_t i = 0; i < D; i++) {
      double h = (x[i] - mean[m]) * rstd[m], e = dy[i] * g[i];
      dg[i] += dy[i] * h;
      db[i] += dy[i];
      s1 += e;
      s2 += e * h;
      vec += 9;
    }
    s1 /= (double)D;
    s2 /= (double)D;
    vec += 2;
    for (int64_t i = 0; i < D; i++) {
      double h = (x[i] - mean[m]) * rstd[m], v = rstd[m] * (dy[i] * g[i] - s1 - h * s2);
      vec += 7;
      if (c->d[2]) {
        v += dx[i];
        vec += 1;
      }
      dx[i] = v;
    }
  }
  ref_tally(c, 0, vec);
}
