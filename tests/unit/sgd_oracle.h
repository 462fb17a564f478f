// Exactly solvable learning: one-pass SGD for least squares on Gaussian features, whose mean loss follows from a recursion over the spectrum.
#ifndef ISO_TESTS_SGD_ORACLE_H
#define ISO_TESTS_SGD_ORACLE_H
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

// The data of all models: v coordinates x_j ~ N(0, j^(-2 alpha)), target sum_j j^(-beta) x_j (Paquette et al. 2024, arXiv:2405.15074).
// A model as SGD sees it: parts of its features' spectrum with eigenvalue, number of eigenvalues, and their share of the loss before
// training; and what no training removes.
typedef struct oracle {
  int n;
  double *lambda, *count, *part;  // owned, one block at lambda
  double floor;
} oracle;

static inline oracle oracle_open(int n) {
  oracle o = {.n = n, .lambda = calloc(3 * (size_t)n, sizeof(double))};
  o.count = o.lambda + n;
  o.part = o.count + n;
  return o;
}
static inline void oracle_close(oracle *o) { free(o->lambda); }

// The structured model sees the first d coordinates as they are.
static inline oracle oracle_structured(int d, int v, double alpha, double beta) {
  oracle o = oracle_open(d);
  for (int j = v; j >= 1; j--) {
    double both = pow(j, -2 * alpha - 2 * beta);
    if (j > d) {
      o.floor += both;
      continue;
    }
    o.lambda[j - 1] = pow(j, -2 * alpha);
    o.count[j - 1] = 1;
    o.part[j - 1] = both;
  }
  return o;
}

// Eigenvalues and vectors of a symmetric matrix by cyclic Jacobi rotations: a becomes diagonal, u holds the vectors in columns.
static inline void oracle_jacobi(double *a, double *u, int d) {
  for (int i = 0; i < d * d; i++) u[i] = i % (d + 1) == 0;
  for (int sweep = 0; sweep < 30; sweep++) {
    double off = 0, diag = 0;
    for (int p = 0; p < d; p++)
      for (int q = 0; q < d; q++) *(p == q ? &diag : &off) += a[p * d + q] * a[p * d + q];
    if (off < 1e-26 * diag) return;
    for (int p = 0; p < d; p++)
      for (int q = p + 1; q < d; q++) {
        if (a[p * d + q] == 0) continue;
        double th = (a[q * d + q] - a[p * d + p]) / (2 * a[p * d + q]), t = (th >= 0 ? 1 : -1) / (fabs(th) + sqrt(th * th + 1));
        double c = 1 / sqrt(t * t + 1), s = t * c;
        for (int k = 0; k < d; k++) {
          double x = a[k * d + p], y = a[k * d + q];
          a[k * d + p] = c * x - s * y;
          a[k * d + q] = s * x + c * y;
        }
        for (int k = 0; k < d; k++) {
          double x = a[p * d + k], y = a[q * d + k];
          a[p * d + k] = c * x - s * y;
          a[q * d + k] = s * x + c * y;
        }
        for (int k = 0; k < d; k++) {
          double x = u[k * d + p], y = u[k * d + q];
          u[k * d + p] = c * x - s * y;
          u[k * d + q] = s * x + c * y;
        }
      }
  }
}

static inline double oracle_weight(uint64_t seed, int d, int i, int j) {
  return iso_rng_normal(seed, ISO_RNG_TEST, (uint64_t)i, (uint64_t)j) / sqrt(d);
}

// The random feature model sees d features W x, W of d x v independent N(0, 1/d). With K = W D W' = U L U' and g = W D b, D and b the data's
// variances and target, the best weights explain g' K^-1 g of the target's variance b' D b.
static inline oracle oracle_random(int d, int v, double alpha, double beta, uint64_t seed) {
  oracle o = oracle_open(d);
  double *w = malloc(sizeof *w * (size_t)(d * v)), *k = malloc(sizeof *k * (size_t)(d * d)), *u = malloc(sizeof *u * (size_t)(d * d));
  double *g = calloc((size_t)d, sizeof *g);
  for (int i = 0; i < d; i++)
    for (int j = 0; j < v; j++) {
      double z = oracle_weight(seed, d, i, j);
      w[i * v + j] = z * pow(j + 1, -alpha);
      g[i] += z * pow(j + 1, -2 * alpha - beta);
    }
  for (int i = 0; i < d; i++)
    for (int j = 0; j <= i; j++) {
      double s = 0;
      for (int t = 0; t < v; t++) s += w[i * v + t] * w[j * v + t];
      k[i * d + j] = k[j * d + i] = s;
    }
  oracle_jacobi(k, u, d);
  for (int j = v; j >= 1; j--) o.floor += pow(j, -2 * alpha - 2 * beta);
  for (int e = 0; e < d; e++) {
    double s = 0;
    for (int i = 0; i < d; i++) s += u[i * d + e] * g[i];
    o.lambda[e] = k[e * d + e];
    o.count[e] = 1;
    o.part[e] = s * s / o.lambda[e];
    o.floor -= o.part[e];
  }
  free(w);
  free(k);
  free(u);
  free(g);
  return o;
}

// Coordinates 1 to v in groups: single ones up to 64, then groups 3% wide, so that sums over a long power law stay short.
typedef struct oracle_coords {
  int n;
  double lambda[1000], weight[1000], both[1000];  // variance, how many, and how many times variance times target squared
} oracle_coords;

static inline void oracle_group(int v, double alpha, double beta, oracle_coords *c) {
  c->n = 0;
  for (double a = 1; a <= v;) {
    double b = a < 64 ? a + 1 : fmin(floor(a * 1.03) + 1, v + 1.0), j = sqrt(a * (b - 1));
    c->lambda[c->n] = pow(j, -2 * alpha);
    c->weight[c->n] = b - a;
    c->both[c->n++] = (b - a) * pow(j, -2 * alpha - 2 * beta);
    a = b;
  }
}

// m(z), z = x + iy, of the deterministic equivalent: m = 1 / (1 + sum_j lambda_j / (lambda_j m - z) / d), by Newton's method from the value
// nearby in *mr, *mi; steps that leave the half plane Im m < 0 of the solution become halved steps of the fixed point, which do not.
static inline void oracle_resolvent(const oracle_coords *c, double d, double x, double y, double *mr, double *mi) {
  for (int it = 0; it < 500; it++) {
    double sr = 1, si = 0, tr = 0, ti = 0;  // 1 + S, and S' = -sum lambda^2 / (lambda m - z)^2 / d
    for (int i = 0; i < c->n; i++) {
      double l = c->lambda[i], re = l * *mr - x, im = l * *mi - y, f = l / (re * re + im * im), qr = f * re, qi = -f * im, w = c->weight[i] / d;
      sr += w * qr;
      si += w * qi;
      tr -= w * (qr * qr - qi * qi);
      ti -= w * 2 * qr * qi;
    }
    // (m (1 + S) - 1) / (1 + S + m S')
    double ur = *mr * sr - *mi * si - 1, ui = *mr * si + *mi * sr, vr = sr + *mr * tr - *mi * ti, vi = si + *mr * ti + *mi * tr;
    double v2 = vr * vr + vi * vi, dr = (ur * vr + ui * vi) / v2, di = (ui * vr - ur * vi) / v2;
    if (!(*mi - di < 0) || it > 40) {
      double s2 = sr * sr + si * si;
      dr = 0.5 * (*mr - sr / s2);
      di = 0.5 * (*mi + si / s2);
    }
    *mr -= dr;
    *mi -= di;
    if (hypot(dr, di) < 1e-11 * hypot(*mr, *mi)) return;
  }
}

// The random feature model's spectrum for many features, without its randomness (Paquette et al. 2024, equation 9): densities of eigenvalues
// and of the loss are imaginary parts of the resolvent of D^1/2 W' W D^1/2, diag(1 / (lambda_j m(z) - z)), above the real axis.
static inline oracle oracle_equivalent(double d, int v, double alpha, double beta) {
  enum { PARTS = 200, FINE = 20 };
  static const double PI = 3.14159265358979323846;
  oracle o = oracle_open(PARTS);
  oracle_coords c;
  oracle_group(v, alpha, beta, &c);
  // At z = 0 the resolvent keeps xi / (lambda + xi) of each coordinate, sum_j lambda_j / (lambda_j + xi) = d.
  double lo = 1e-14, hi = 1e3;
  for (int k = 0; k < 200; k++) {
    double xi = sqrt(lo * hi), s = 0;
    for (int i = 0; i < c.n; i++) s += c.weight[i] * c.lambda[i] / (c.lambda[i] + xi);
    *(s > d ? &lo : &hi) = xi;
  }
  for (int i = 0; i < c.n; i++) o.floor += c.both[i] * hi / (c.lambda[i] + hi);
  double top = 4, h = log(top / (1e-3 * pow(d, -2 * alpha))) / (PARTS * FINE), mr = 1, mi = -1e-6;
  for (int g = 0; g < PARTS * FINE; g++) {
    double x = top * exp(-h * (g + 0.5)), y = 1e-8 * x, count = 0, part = 0;
    oracle_resolvent(&c, d, x, y, &mr, &mi);
    for (int i = 0; i < c.n; i++) {
      double re = c.lambda[i] * mr - x, im = c.lambda[i] * mi - y, q = -im / (re * re + im * im);
      count += c.weight[i] * q;
      part += c.both[i] * q;
    }
    int k = g / FINE;
    o.count[k] += fmax(count, 0) * x * h / PI;
    o.part[k] += fmax(part, 0) * x * h / PI;
    o.lambda[k] += fmax(count, 0) * x * h / PI * x;
  }
  int n = 0;
  for (int k = 0; k < PARTS; k++) {
    if (!(o.count[k] > 1e-9)) continue;
    o.lambda[n] = o.lambda[k] / o.count[k];
    o.count[n] = o.count[k];
    o.part[n++] = o.part[k];
  }
  o.n = n;
  return o;
}

static inline double oracle_trace(const oracle *o) {
  double s = 0;
  for (int i = 0; i < o->n; i++) s += o->count[i] * o->lambda[i];
  return s;
}
static inline double oracle_loss(const oracle *o, const double *part) {
  double l = o->floor;
  for (int i = 0; i < o->n; i++) l += part[i];
  return l;
}

// Mean loss after each of n ascending numbers of steps with rate eta and m samples a step (Bordelon and Pehlevan 2021, arXiv:2106.02713,
// c <- ((1 - eta l)^2 + eta^2 l^2 / m) c + eta^2 / m l loss for the squared error c of a weight, here times its eigenvalue l). Exact for
// Gaussian features: what is not explained is independent of them and acts as label noise. Summed over its steps this is the Volterra equation
// of Paquette et al.
static inline void oracle_curve(const oracle *o, double eta, double m, const int64_t *step, int n, double *loss) {
  double *part = malloc(sizeof *part * 3 * (size_t)o->n), *keep = part + o->n, *add = keep + o->n;
  memcpy(part, o->part, sizeof *part * (size_t)o->n);
  for (int i = 0; i < o->n; i++) {
    double l = eta * o->lambda[i];
    keep[i] = (1 - l) * (1 - l) + l * l / m;
    add[i] = o->count[i] * l * l / m;
  }
  int64_t t = 0;
  double now = oracle_loss(o, part);
  for (int k = 0; k < n; k++) {
    for (; t < step[k]; t++) {
      double next = o->floor;
      for (int i = 0; i < o->n; i++) {
        part[i] = keep[i] * part[i] + add[i] * now;
        next += part[i];
      }
      now = next;
    }
    loss[k] = now;
  }
  free(part);
}
#endif
