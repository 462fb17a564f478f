// Linear from the peak to the floor over the whole run (Defazio et al. 2023, arXiv 2310.07831).
#include "train/schedule.h"

static double decay(double p, double floor) { return 1 - (1 - floor) * p; }
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  return iso_schedule_falls(&iso_schedule_linear, err);
}
const iso_schedule iso_schedule_linear = {{"linear", "linear decay after warm-up", "arXiv 2310.07831", selftest}, false, decay};
