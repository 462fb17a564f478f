// Finding schedules and their common test.
#include "train/schedule.h"

#include <math.h>

static const iso_plugin *const SCHEDULES[] = {
#define X(name) &iso_schedule_##name.plugin,
#include "train/schedules.def"
#undef X
};

iso_status iso_schedule_find(const char *name, const iso_schedule **out, iso_err *err) {
  const iso_plugin *p;
  ISO_TRY(iso_plugin_find(SCHEDULES, ISO_COUNT(SCHEDULES), "schedule", name, &p, err));
  *out = (const iso_schedule *)(const void *)p;  // the plugin header is the first member
  return ISO_OK;
}

iso_status iso_schedule_selftest(iso_ctx *c, iso_err *err) { return iso_plugin_selftest(SCHEDULES, ISO_COUNT(SCHEDULES), "schedule", c, err); }

iso_status iso_schedule_falls(const iso_schedule *s, iso_err *err) {
  const double floor = 0.1;
  double last = 1;
  for (int i = 0; i <= 1000; i++) {
    double f = s->decay(i / 1000.0, floor);
    if (!(f <= last + 1e-12 && f >= floor - 1e-12)) return iso_fail(err, ISO_EBUG, "%s: factor %g at %d/1000 after %g", s->plugin.name, f, i, last);
    last = f;
  }
  if (fabs(s->decay(0, floor) - 1) > 1e-12 || fabs(last - floor) > 1e-12)
    return iso_fail(err, ISO_EBUG, "%s: does not go from 1 to the floor", s->plugin.name);
  return ISO_OK;
}
