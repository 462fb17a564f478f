// What the files of isoflop hw share.
#ifndef ISO_CLI_HW_H
#define ISO_CLI_HW_H
#include "cli/cli.h"
#include "plan/device/device.h"

// "312 TFLOP/s" and the like; "-" when unknown. Returns buf.
char *hw_rate(double v, const char *unit, char *buf, size_t n);
// The name of a file without its folders.
const char *hw_base_name(const char *path);
// hw fit and hw test: tables from the CSV files of the command line.
iso_status hw_fit(const cli_args *a, iso_err *err);
iso_status hw_test(const cli_args *a, iso_err *err);
// hw_runs.c: calibrations from --layouts and --serving. They print, or add a member to `out` when it is not NULL.
iso_status hw_fit_layouts(const cli_args *a, iso_device *d, json_t *out, iso_err *err);
iso_status hw_fit_serving(const cli_args *a, iso_device *d, json_t *out, iso_err *err);
iso_status hw_test_runs(const cli_args *a, iso_err *err);
iso_status hw_show_cals(const iso_device *d, iso_err *err);
#endif
