// Mean squared error of number formats and sparsity patterns on N(0,1) data.
#ifndef ISO_PLAN_FORMAT_MSE_H
#define ISO_PLAN_FORMAT_MSE_H
#include "base/status.h"

// Nearest of n ascending levels for N(0,1) numbers, exactly, by the normal distribution's moments between midpoints.
double iso_gmse_levels(const double *level, int n);
// The same with the levels multiplied by the scale that makes it least; *scale may be NULL.
double iso_gmse_scaled(const double *level, int n, double *scale);

typedef struct iso_gmse {
  double mse;
  double bits;   // log base 1/4 of it: the bits of an ideal code with this error (rate-distortion bound 4^-bits)
  double scale;  // distance of neighbouring levels (uniform, int) or value of 1.0 (floats) in standard deviations; NaN: none
} iso_gmse;
// Names: uniformB (2^B evenly spaced levels), intB (two's complement without its lowest value, so 2^B - 1 with zero), lloydB (the best 2^B
// levels), eXmY (floats with subnormals, every code a number; e2m1 is FP4), sparseS (the share S in (0,1) of smallest magnitude
// set to zero), K:M (all but the K largest of each M set to zero). ISO_EINVAL otherwise.
iso_status iso_gmse_format(const char *name, iso_gmse *out, iso_err *err);
#endif
