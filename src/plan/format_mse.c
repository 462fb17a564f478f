// Errors of formats on Gaussian numbers: level grids, floats, Lloyd-Max, magnitude sparsity.
#include "plan/format_mse.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stat.h"

enum { BITS_MAX = 8, LEVELS_MAX = 1 << BITS_MAX, GROUP_MAX = 64 };

static double density(double z) { return exp(-0.5 * z * z) / sqrt(2 * 3.14159265358979323846); }

// Mass, first and second moment of N(0,1) between a and b.
static void moments(double a, double b, double m[3]) {
  double fa = isinf(a) ? 0 : density(a), fb = isinf(b) ? 0 : density(b);
  // Both tails as upper ones, where the difference of small masses keeps its digits.
  m[0] = a > 0 ? iso_normal_cdf(-a) - iso_normal_cdf(-b) : iso_normal_cdf(b) - iso_normal_cdf(a);
  m[1] = fa - fb;
  m[2] = m[0] + (isinf(a) ? 0 : a * fa) - (isinf(b) ? 0 : b * fb);
}

static double middle(const double *v, int n, int i, double s) { return i <= 0 ? -INFINITY : i >= n ? INFINITY : 0.5 * s * (v[i - 1] + v[i]); }

static double mse_at(const double *v, int n, double s) {
  double sum = 0;
  for (int i = 0; i < n; i++) {
    double m[3], y = s * v[i];
    moments(middle(v, n, i, s), middle(v, n, i + 1, s), m);
    sum += m[2] - 2 * y * m[1] + y * y * m[0];
  }
  return sum;
}

double iso_gmse_levels(const double *level, int n) { return mse_at(level, n, 1); }

double iso_gmse_scaled(const double *level, int n, double *scale) {
  double top = fmax(fabs(level[0]), fabs(level[n - 1])), lo = log(0.05 / top), hi = log(40 / top), at = lo, best = INFINITY;
  enum { SCAN = 200 };
  for (int i = 0; i <= SCAN; i++) {
    double u = lo + (hi - lo) * i / SCAN, e = mse_at(level, n, exp(u));
    if (e < best) {
      best = e;
      at = u;
    }
  }
  double h = (hi - lo) / SCAN, a = at - h, b = at + h;
  for (int i = 0; i < 80; i++) {
    double u = b - 0.6180339887498949 * (b - a), v = a + 0.6180339887498949 * (b - a);
    if (mse_at(level, n, exp(u)) <= mse_at(level, n, exp(v)))
      b = v;
    else
      a = u;
  }
  double s = exp(0.5 * (a + b));
  if (scale) *scale = s;
  return mse_at(level, n, s);
}

// ---- grids ----------------------------------------------------------------------------------------------------------

static void uniform(int bits, double *v) {
  int n = 1 << bits;
  for (int i = 0; i < n; i++) v[i] = i - 0.5 * (n - 1);
}

// One round towards the best levels, Lloyd 1957, Max 1960: levels are the means m1 / m0 of their cells, cells end midway between levels.
static void to_means(double *v, int n) {
  double m[3], a = -INFINITY;
  for (int i = 0; i < n; i++) {
    double b = middle(v, n, i + 1, 1);
    moments(a, b, m);
    v[i] = m[1] / m[0];
    a = b;
  }
}

// Newton's step on v m0 = m1, a system of three diagonals. Returns the largest move.
static double newton(double *v, int n) {
  double f[LEVELS_MAX], up[LEVELS_MAX], m[3], moved = 0;
  for (int i = 0; i < n; i++) {
    double a = middle(v, n, i, 1), b = middle(v, n, i + 1, 1);
    moments(a, b, m);
    double left = i ? 0.5 * density(a) * (v[i] - a) : 0, right = i < n - 1 ? 0.5 * density(b) * (v[i] - b) : 0;
    double pivot = m[0] + right - left + (i ? left * up[i - 1] : 0);
    up[i] = right / pivot;
    f[i] = (v[i] * m[0] - m[1] + (i ? left * f[i - 1] : 0)) / pivot;
  }
  for (int i = n - 2; i >= 0; i--) f[i] -= up[i] * f[i + 1];
  for (int i = 0; i < n; i++) {
    v[i] -= f[i];
    moved = fmax(moved, fabs(f[i]));
  }
  return moved;
}

// Starts at the levels of the best compander for many of them (Panter and Dite 1951), quantiles of N(0, 3). Rounds come near slowly but
// surely, Newton's method from there gets all digits.
static double lloyd(int bits, double *v) {
  int n = 1 << bits;
  for (int i = 0; i < n; i++) v[i] = sqrt(3) * iso_normal_quantile((i + 0.5) / n);
  for (int i = 0; i < 8 * n; i++) to_means(v, n);
  for (int i = 0; i < 50 && newton(v, n) > 1e-12; i++)
    ;
  return iso_gmse_levels(v, n);
}

// The values of a float with x exponent and y mantissa bits, both signs, ascending. Codes that some formats keep for infinity and NaN count as
// the largest numbers: where the scale is best these lie beyond all data. Returns how many.
static int floats(int x, int y, double *v) {
  int bias = (1 << (x - 1)) - 1, codes = 1 << (x + y), n = 0;
  double pos[LEVELS_MAX];
  for (int c = 0; c < codes; c++) {
    int e = c >> y, f = c & ((1 << y) - 1);
    pos[c] = e ? ldexp(1 + ldexp(f, -y), e - bias) : ldexp(f, 1 - bias - y);
  }
  for (int c = codes - 1; c > 0; c--) v[n++] = -pos[c];
  for (int c = 0; c < codes; c++) v[n++] = pos[c];
  return n;
}

// ---- sparsity -------------------------------------------------------------------------------------------------------

// The mean square of what is dropped when the share s of least magnitude is.
static double sparse(double s) {
  double t = iso_normal_quantile(0.5 + 0.5 * s), m[3];
  moments(-t, t, m);
  return m[2];
}

// Dropped are the m - k least magnitudes of every m: a number of magnitude z is among them when at least k of the m - 1 others are larger,
// so the error is the mean of z^2 P(Binomial(m - 1, P(|Z| > z)) >= k).
static double grouped(int k, int m) {
  enum { STEPS = 20000 };
  const double top = 12, h = top / STEPS;
  double sum = 0;
  for (int i = 0; i <= STEPS; i++) {
    double z = i * h, q = 2 * iso_normal_cdf(-z), p = 1 - q, below = 0, term = pow(p, m - 1);
    for (int j = 0; j < k; j++) {
      below += term;
      term = p > 0 ? term * (m - 1 - j) / (j + 1) * q / p : 0;
    }
    double f = z * z * 2 * density(z) * (1 - below);
    sum += f * (i == 0 || i == STEPS ? 1 : i % 2 ? 4 : 2);  // Simpson's rule
  }
  return sum * h / 3;
}

// ---- names ----------------------------------------------------------------------------------------------------------

static bool whole(const char *s, const char *word, int lo, int hi, int *out) {
  size_t n = strlen(word);
  char *end;
  if (strncmp(s, word, n) != 0 || s[n] < '0' || s[n] > '9') return false;
  long v = strtol(s + n, &end, 10);
  *out = (int)v;
  return !*end && v >= lo && v <= hi;
}

static bool pair_of(const char *s, const char *first, char between, int *a, int *b) {
  char *end;
  size_t n = strlen(first);
  if (strncmp(s, first, n) != 0 || s[n] < '0' || s[n] > '9') return false;
  long x = strtol(s + n, &end, 10);
  if (*end != between || end[1] < '0' || end[1] > '9') return false;
  long y = strtol(end + 1, &end, 10);
  if (*end || x > 1000 || y > 1000) return false;
  *a = (int)x;
  *b = (int)y;
  return true;
}

iso_status iso_gmse_format(const char *name, iso_gmse *out, iso_err *err) {
  double v[2 * LEVELS_MAX] = {0};
  int b, k, m;
  char *end = NULL;
  *out = (iso_gmse){NAN, NAN, NAN};
  if (whole(name, "uniform", 1, BITS_MAX, &b)) {
    uniform(b, v);
    out->mse = iso_gmse_scaled(v, 1 << b, &out->scale);
  } else if (whole(name, "int", 2, BITS_MAX, &b)) {
    for (int i = 1 - (1 << (b - 1)); i < 1 << (b - 1); i++) v[i + (1 << (b - 1)) - 1] = i;
    out->mse = iso_gmse_scaled(v, (1 << b) - 1, &out->scale);
  } else if (whole(name, "lloyd", 1, BITS_MAX, &b)) {
    out->mse = lloyd(b, v);
  } else if (pair_of(name, "e", 'm', &k, &m) && k >= 1 && k + m + 1 <= BITS_MAX) {
    out->mse = iso_gmse_scaled(v, floats(k, m, v), &out->scale);
  } else if (strncmp(name, "sparse", 6) == 0 && name[6]) {
    double s = strtod(name + 6, &end);
    if (!*end && s > 0 && s < 1) out->mse = sparse(s);
  } else if (pair_of(name, "", ':', &k, &m) && k >= 1 && k < m && m <= GROUP_MAX) {
    out->mse = grouped(k, m);
  }
  if (isnan(out->mse)) {
    iso_fail(err, ISO_EINVAL, "'%.40s' is no number format or sparsity known here", name);
    return iso_hint(err, ISO_EINVAL, "expected uniformB, intB or lloydB with 1 to %d bits, eXmY (e2m1), sparseS (sparse0.5) or K:M (2:4)", BITS_MAX);
  }
  out->bits = -log(out->mse) / log(4);
  return ISO_OK;
}
