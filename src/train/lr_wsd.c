// Warmup-stable-decay: constant, then linear to the floor (Hu et al. 2024, arXiv 2404.06395; Haegele et al. 2024, arXiv 2405.18392).
#include "train/schedule.h"

static double decay(double p, double floor) { return 1 - (1 - floor) * p; }
static iso_status selftest(iso_ctx *c, iso_err *err) {
  (void)c;
  return iso_schedule_falls(&iso_schedule_wsd, err);
}
const iso_schedule iso_schedule_wsd = {{"wsd", "constant, then a linear decay", "arXiv 2405.18392", selftest}, true, decay};
