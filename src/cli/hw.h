// What the files of isoflop hw share.
#ifndef ISO_CLI_HW_H
#define ISO_CLI_HW_H
#include "cli/cli.h"
#include "plan/device/device.h"

// "312 TFLOP/s" and the like; "-" when unknown. Returns buf.
char *hw_rate(double v, const char *unit, char *buf, size_t n);
// hw fit and hw test: tables from the CSV files of the command line.
iso_status hw_fit(const cli_args *a, iso_err *err);
iso_status hw_test(const cli_args *a, iso_err *err);
#endif
