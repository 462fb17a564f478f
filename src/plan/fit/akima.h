// Akima's interpolation of a curve through points, and where it is lowest.
#ifndef ISO_PLAN_FIT_AKIMA_H
#define ISO_PLAN_FIT_AKIMA_H
#include <stdint.h>

// Cubic pieces whose slope at a point is the mean of the slopes on either side, weighted by how little these change further out, so that
// one odd point does not make the whole curve swing (Akima 1970, doi 10.1145/321607.321609). x is strictly ascending, n >= 2; slope gets
// the n derivatives. Beyond the ends the chords go on with constant second differences, as in the paper.
void iso_akima_slopes(const double *x, const double *y, int64_t n, double *slope);
// The curve at `at` in [x[0], x[n-1]].
double iso_akima_eval(const double *x, const double *y, const double *slope, int64_t n, double at);
// The lowest point of the curve; *at gets where it is (the leftmost of equals).
double iso_akima_min(const double *x, const double *y, const double *slope, int64_t n, double *at);
#endif
