// plan serve on throughputs that somebody measured: the integer program of a fleet alone.
#ifndef ISO_CLI_PLAN_RATES_H
#define ISO_CLI_PLAN_RATES_H
#include "cli/plan/args.h"

// One kind of replica: as --fleet names it, its device, dollars an hour of the whole replica, and how many there are at most (-1: any number).
typedef struct cli_rates_kind {
  const char *name;
  const iso_device_spec *device;
  double usd_h;
  int64_t most;
} cli_rates_kind;
// --throughputs FILE: a row for each size of requests: `share` of the requests, and a column for each kind with the requests a second that a
// replica of it carries of that size (0: none). Shares are scaled to add up to 1; `rate` requests a second are dealt out in `slices` parts a row
// (0: in any proportion). *out: fleet, usd_h, usd_h_bound, gap, usd_h_one_type, load_in_replicas, rows.
iso_status cli_rates_plan(const char *path, const cli_rates_kind *kind, int kinds, double rate, int slices, json_t **out, iso_err *err);
// Its table, for plans with a "throughputs" member.
void cli_rates_print(const json_t *r);
#endif
