// What physics says of an operator on a device: work, the roofline that no time can beat, a smooth prior, features for learning.
#ifndef ISO_PLAN_DEVICE_MODEL_H
#define ISO_PLAN_DEVICE_MODEL_H
#include "plan/device/krig.h"
#include "plan/device/rows.h"
#include "plan/device/spec.h"

// Seconds that an operator needs at the device's data-sheet rates, everything else being free.
typedef struct iso_work {
  double compute_s;  // FLOPs / peak; of a collective: steps x latency of the link (1 us when unknown)
  double memory_s;   // bytes / bandwidth; of a collective: bytes per device on the wire / link
  double floor_s;    // no time is below this: as above, but bytes that the on-chip cache can hold, and in-network reduction, are free
} iso_work;

// Shape columns as in iso_rows; t is the class of the operands (accumulators and outputs have the same width, in f32 at most).
// ISO_EINVAL for sizes that are not positive and finite, ISO_EUNSUP when the device has no peak of that class or no such link.
iso_status iso_model_work(const iso_device_spec *s, iso_table_kind k, const double *shape, iso_num t, iso_work *out, iso_err *err);

// The prior: one smooth time for every shape, in a few parameters.
//   compute kinds  p0 + hypot(p1 compute_s, p2 memory_s)
//   collectives    p0 + p1 compute_s + p2 sqrt(memory_s) + p3 memory_s, apart for {all_gather, reduce_scatter}, all_reduce, alltoall;
//                  the root is what pipelining costs when the number of segments is optimal (Sanders, Speck, Traeff 2009,
//                  doi 10.1016/j.parco.2009.09.001)
enum { ISO_PRIOR_MAX = 12, ISO_PRIOR_CLASS = 4 };
typedef struct iso_prior {
  double p[ISO_PRIOR_MAX];  // seconds, factors, roots of seconds; NaN: no rows of that class of collectives
} iso_prior;
// What is usual: the means of fits to A100 and H100 (bf16), for devices without measurements.
iso_prior iso_prior_usual(iso_table_kind k);
// 5% and 95% quantiles of measured time over the usual prior on A100 and H100.
void iso_prior_usual_range(iso_table_kind k, double *lo, double *hi);
double iso_prior_s(const iso_prior *p, iso_table_kind k, const double *shape, const iso_work *w);
// Least mean absolute log error over the rows. `work` has one entry a row. ISO_ENUM when no parameters are finite.
iso_status iso_prior_fit(const iso_rows *r, const iso_work *work, iso_prior *out, iso_err *err);

// Features of a shape, in octaves; at most ISO_KRIG_F_MAX.
int iso_model_features(iso_table_kind k);
const char *iso_model_feature(iso_table_kind k, int i);
// Length scale that learning starts from.
double iso_model_scale(iso_table_kind k, int i);
void iso_model_feature_values(const iso_device_spec *s, iso_table_kind k, const double *shape, const iso_work *w, double *f);
#endif
