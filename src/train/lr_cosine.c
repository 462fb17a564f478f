// Half a cosine from the peak to the floor (Loshchilov and Hutter 2017, arXiv 1608.03983).
#include <math.h>

#include "train/schedule.h"

static double decay(double p, double floor) { return floor + (1 - floor) * 0.5 * (1 + cos(3.14159265358979323846 * p)); }
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  return iso_schedule_falls(&iso_schedule_cosine, err);
}
const iso_schedule iso_schedule_cosine = {{"cosine", "half a cosine", "arXiv 1608.03983", selftest}, false, decay};
