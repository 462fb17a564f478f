// Akima's slopes, and minima of the cubic pieces in closed form.
#include "plan/fit/akima.h"

#include <math.h>

// Chord i of the extended curve, 0 <= i < n + 3: two before the first point, n - 1 between points, two after the last.
static double chord(const double *x, const double *y, int64_t n, int64_t i) {
  if (i >= 2 && i <= n) return (y[i - 1] - y[i - 2]) / (x[i - 1] - x[i - 2]);
  if (n == 2) return (y[1] - y[0]) / (x[1] - x[0]);
  if (i < 2) {
    double a = chord(x, y, n, 2), b = chord(x, y, n, 3);
    return a - (double)(2 - i) * (b - a);
  }
  double a = chord(x, y, n, n), b = chord(x, y, n, n - 1);
  return a + (double)(i - n) * (a - b);
}

void iso_akima_slopes(const double *x, const double *y, int64_t n, double *slope) {
  double widest = 0;
  for (int64_t i = 0; i < n; i++) {
    double f1 = fabs(chord(x, y, n, i + 3) - chord(x, y, n, i + 2)), f2 = fabs(chord(x, y, n, i + 1) - chord(x, y, n, i));
    widest = fmax(widest, f1 + f2);
  }
  for (int64_t i = 0; i < n; i++) {
    double m0 = chord(x, y, n, i), m1 = chord(x, y, n, i + 1), m2 = chord(x, y, n, i + 2), m3 = chord(x, y, n, i + 3);
    double f1 = fabs(m3 - m2), f2 = fabs(m1 - m0);
    // Where the chords do not change on either side both weights are rounding errors.
    slope[i] = f1 + f2 > 1e-9 * widest ? (f1 * m1 + f2 * m2) / (f1 + f2) : 0.5 * (m0 + m3);
  }
}

// y = y0 + u (s0 + u (c + u d)) on a piece, u = x - x0.
static void piece(const double *x, const double *y, const double *slope, int64_t i, double *c, double *d) {
  double h = x[i + 1] - x[i], m = (y[i + 1] - y[i]) / h;
  *c = (3 * m - 2 * slope[i] - slope[i + 1]) / h;
  *d = (slope[i] + slope[i + 1] - 2 * m) / (h * h);
}

double iso_akima_eval(const double *x, const double *y, const double *slope, int64_t n, double at) {
  int64_t i = 0;
  double c, d;
  while (i < n - 2 && at > x[i + 1]) i++;
  piece(x, y, slope, i, &c, &d);
  double u = at - x[i];
  return y[i] + u * (slope[i] + u * (c + u * d));
}

// The u in (0, h) where the slope s + 2 c u + 3 d u^2 turns from falling to rising; NaN when there is none.
static double turning(double s, double c, double d, double h) {
  double disc = c * c - 3 * d * s;
  if (!(disc > 0)) return NAN;
  // Of the two roots (-c +- sqrt(disc)) / (3 d) the one with + has positive curvature; this form also holds as d goes to 0.
  double root = sqrt(disc), u = c > 0 ? -s / (c + root) : (root - c) / (3 * d);
  return u > 0 && u < h ? u : NAN;
}

double iso_akima_min(const double *x, const double *y, const double *slope, int64_t n, double *at) {
  double best = INFINITY;
  for (int64_t i = 0; i < n; i++) {
    if (y[i] < best) {
      best = y[i];
      *at = x[i];
    }
    if (i == n - 1) break;
    double c, d;
    piece(x, y, slope, i, &c, &d);
    double u = turning(slope[i], c, d, x[i + 1] - x[i]), v = y[i] + u * (slope[i] + u * (c + u * d));
    if (v < best) {
      best = v;
      *at = x[i] + u;
    }
  }
  return best;
}
