// Local kriging: a value at a point from a Gaussian process over the nearest rows of a table, with its variance and its length scales learned.
#ifndef ISO_PLAN_DEVICE_KRIG_H
#define ISO_PLAN_DEVICE_KRIG_H
#include "base/pool.h"

enum { ISO_KRIG_F_MAX = 12, ISO_KRIG_NEAR = 32 };

// y(x) ~ GP(unknown constant, sd^2 k(r)), k(r) = (1 + sqrt(3) r) exp(-sqrt(3) r) (Matern 3/2), r^2 = sum_j ((x_j - x'_j) / scale_j)^2,
// conditioned on the ISO_KRIG_NEAR rows nearest in r (local approximate Gaussian processes, Gramacy and Apley 2015,
// doi 10.1080/10618600.2014.914442). The unknown constant is a normal of variance ISO_KRIG_CONST around the mean of those rows.
typedef struct iso_krig {
  int64_t n;                     // rows
  int f;                         // features
  double *x;                     // owned: n x f features
  double *y;                     // n values
  int64_t stride;                // n rounded up to whole blocks
  double *z;                     // f x stride: features over their scales, feature by feature; written by iso_krig_bind
  double scale[ISO_KRIG_F_MAX];  // length scales, in the unit of each feature
  double noise;                  // variance of a row's own error, in units of the process variance
  double q90;                    // 90% of rows lie within q90 sqrt(var) of what the others predict; NaN before iso_krig_learn
} iso_krig;

// What the other rows say at a point.
typedef struct iso_krig_value {
  double mean;  // of y
  double var;   // of a new row, in units of the process variance: 0 .. 1 + noise + a share of the constant's
  double near;  // r of the nearest row
} iso_krig_value;

// Memory for n rows of f features (1 <= f <= ISO_KRIG_F_MAX, n >= 2), scales 1 and noise 0.01. Fill x and y, then iso_krig_bind.
iso_status iso_krig_open(int64_t n, int f, iso_krig *out, iso_err *err);
void iso_krig_close(iso_krig *k);
// Applies `scale` to the rows; call after any change of x or scale.
void iso_krig_bind(iso_krig *k);
// The value at x (f features), leaving out row `skip` (-1: none). Needs 2 rows besides the one left out.
void iso_krig_at(const iso_krig *k, const double *x, int64_t skip, iso_krig_value *out);
// Learns scales, noise and q90 by leave-one-out errors of up to `probes` rows spread over the table (the mean absolute error is
// minimised by Subplex, Rowan 1990, from the scales given; max_eval 0 keeps scales and noise and learns q90 only). The result does not depend on the
// pool's threads; pool may be NULL. ISO_EINVAL for fewer than 8 rows, ISO_ENUM when no error is finite.
iso_status iso_krig_learn(iso_pool *pool, iso_krig *k, int64_t probes, int max_eval, iso_err *err);
#endif
