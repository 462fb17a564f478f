// Learning-rate schedules: the factor on the peak rate, by progress of warm-up and of the run.
#ifndef ISO_TRAIN_SCHEDULE_H
#define ISO_TRAIN_SCHEDULE_H
#include "cost/plugin.h"

typedef struct iso_schedule {
  iso_plugin plugin;
  // Whether the factor stays 1 between warm-up and decay, so that the end of a run can be decided late.
  bool stable;
  // Factor in [floor, 1] at decay progress p in [0, 1] (0 at its start, 1 at the end of the run). For schedules that are not
  // stable, the decay begins when warm-up ends.
  double (*decay)(double p, double floor);
} iso_schedule;

#define X(name) extern const iso_schedule iso_schedule_##name;
#include "train/schedules.def"
#undef X
iso_status iso_schedule_find(const char *name, const iso_schedule **out, iso_err *err);
iso_status iso_schedule_selftest(iso_ctx *c, iso_err *err);
// Shared selftest: starts at 1, ends at the floor, never rises, stays within [floor, 1].
iso_status iso_schedule_falls(const iso_schedule *s, iso_err *err);
#endif
