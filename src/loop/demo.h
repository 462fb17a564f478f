// The whole loop in one budget: calibrate, data, plan, sweep, fit, choose, train, report.
#ifndef ISO_LOOP_DEMO_H
#define ISO_LOOP_DEMO_H
#include "loop/solo.h"

typedef struct iso_demo_opts {
  const char *const *texts;  // none: GCIDE
  int n_texts;
  const char *out_dir;
  const char *precision;
  double sweep_share;             // of the budget
  int64_t vocab, seq, max_bytes;  // <= 0: the recipe's
  uint64_t seed;
  bool plan_only;
} iso_demo_opts;

// *result: the object that --json ends with (owned by the caller). ISO_ECANCEL: stopped, the same call goes on.
iso_status iso_demo_run(iso_env *e, const iso_demo_opts *o, json_t **result, iso_err *err);
// What an interrupted demo in out_dir has used, if there is *any.
iso_status iso_demo_used(const char *out_dir, iso_cost *used, bool *any, iso_err *err);
#endif
