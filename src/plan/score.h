// How well predicted seconds meet measured ones: errors, bias by a degree of parallelism, worst rows, random splits.
#ifndef ISO_PLAN_SCORE_H
#define ISO_PLAN_SCORE_H
#include "base/json.h"

// An error is |predicted / measured - 1|.
typedef struct iso_score {
  int64_t n;
  double mape, median_error, p90_error;
  double bias;    // mean of predicted / measured - 1
  double sd_log;  // root mean square of log(predicted / measured)
} iso_score;
// ISO_EINVAL for no rows, ISO_ENUM for a ratio that is not positive and finite.
iso_status iso_score_of(const double *predicted, const double *measured, int64_t n, iso_score *out, iso_err *err);
// Adds the members to `o`.
void iso_score_put(json_t *o, const iso_score *s);

enum { ISO_SCORE_DEGREES_MAX = 16, ISO_SCORE_WORST = 10 };
typedef struct iso_score_bias {
  int64_t degree, n;
  double mean, mape;  // of predicted / measured - 1 and of its size
} iso_score_bias;
// Rows by degree, ascending; those of more than ISO_SCORE_DEGREES_MAX degrees are left out. Returns how many degrees.
int iso_score_by(const double *predicted, const double *measured, const int64_t *degree, int64_t n, iso_score_bias *out);
json_t *iso_score_by_json(const iso_score_bias *b, int n);
// Indices of the largest errors, largest first: at most ISO_SCORE_WORST; returns how many.
int iso_score_worst(const double *predicted, const double *measured, int64_t n, int64_t *index);

// Means over random splits; mape_sd is the standard deviation between them.
typedef struct iso_score_splits {
  int splits;
  double mape, mape_sd, median_error, p90_error;
} iso_score_splits;
enum { ISO_SCORE_SPLITS_MAX = 100 };
// n at most ISO_SCORE_SPLITS_MAX; NaN for none.
iso_score_splits iso_score_splits_of(const iso_score *each, int n);
json_t *iso_score_splits_json(const iso_score_splits *s);
// A random order of 0 .. n - 1, by seed and number.
void iso_score_shuffle(uint64_t seed, int number, int64_t *order, int64_t n);
#endif
